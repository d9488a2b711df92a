// The room Reconstruct: the latent that explains an image, its reconstruction, and the path between
// the latents of two images.

import { LinesView } from "../charts/lines.js";
import { toError } from "../engine/failure.js";
import { paintSigned, pictureOf, saveSheet } from "../image/tiles.js";
import { energyRange, perPixel } from "../image/words.js";
import { announce } from "../ui/cards.js";
import { byId, make, setText } from "../ui/dom.js";
import { numberField } from "../ui/fields.js";
import { compact, energyText, integer } from "../ui/format.js";
import { complain, fillReadings } from "../ui/readings.js";
import { ImageRoom } from "./image.js";
import { PlaneView, planeHint } from "./plane.js";
import { RANGES } from "./settings.js";
import { scoreParts } from "./words.js";

/** @import { Interpolation, PriorModel } from "../contract/prior.js" */
/** @import { Seen } from "./image.js" */
/** @import { App } from "./stages.js" */

/** An image kept as an end of the path. @typedef {{ name: string, pixels: Uint8Array, made: Uint8Array, latent: Float32Array, plane: [number, number] }} Kept */

export class ReconstructRoom {
  /** @type {Record<"a" | "b", Kept | null>} */
  kept = { a: null, b: null };
  /** @type {Interpolation | null} */
  way = null;
  #walk = 0;
  /** A path was requested and is pending. */
  #asking = false;
  #problem = byId("r-way-problem", HTMLParagraphElement);
  #trace = new LinesView(byId("r-trace", HTMLDivElement), byId("r-trace-table", HTMLDivElement), { xLabel: "gradient step", caption: "Score after each gradient step", range: energyRange });
  #energies = new LinesView(byId("r-energies", HTMLDivElement), byId("r-energies-table", HTMLDivElement), { xLabel: "frame", caption: "Prior energy of each frame of the path", range: energyRange });
  #plane = new PlaneView({ host: byId("r-plane", HTMLDivElement), legend: byId("r-legend", HTMLDivElement), twin: byId("r-plane-table", HTMLDivElement) });
  #kind = byId("r-kind", HTMLSelectElement);

  /**
   * @param {App} app
   * @param {object} listeners
   * @param {() => { image: Uint8Array, name: string } | null} listeners.sample
   * @param {(steps: number) => void} listeners.onSteps
   * @param {(change: { frames?: number, way?: "line" | "sphere" }) => void} listeners.onWay
   */
  constructor(app, { sample, onSteps, onWay }) {
    this.app = app;
    this.image = new ImageRoom(app, { prefix: "r", label: "Drawing to reconstruct", sample, show: (seen, model) => this.#show(seen, model) });
    this.steps = numberField({ id: "r-steps", label: "Gradient steps", range: RANGES.steps, onChange: (value) => onSteps(Number(value)) });
    byId("r-steps-host", HTMLDivElement).append(this.steps.element);
    this.frames = numberField({ id: "r-frames", label: "Frames", range: RANGES.frames, onChange: (value) => onWay({ frames: Number(value) }) });
    byId("r-frames-host", HTMLDivElement).append(this.frames.element);
    this.#kind.addEventListener("change", () => onWay({ way: this.#kind.value === "sphere" ? "sphere" : "line" }));
    for (const end of /** @type {const} */ (["a", "b"])) byId(`r-keep-${end}`, HTMLButtonElement).addEventListener("click", () => this.#keep(end));
    byId("r-go", HTMLButtonElement).addEventListener("click", () => void this.interpolate());
    byId("r-swap", HTMLButtonElement).addEventListener("click", () => {
      [this.kept.a, this.kept.b] = [this.kept.b, this.kept.a];
      this.#keepsChanged();
    });
    byId("r-way-stop", HTMLButtonElement).addEventListener("click", () => {
      this.#walk += 1;
      this.#asking = false;
      byId("r-way-waiting", HTMLDivElement).hidden = true;
      announce("Stopped. The last result is kept.");
    });
    byId("r-save", HTMLButtonElement).addEventListener("click", () => void this.#try(() => this.save()));
    byId("r-to-anomaly", HTMLButtonElement).addEventListener("click", () => {
      const { current } = this.image;
      if (current) app.score(current.pixels, current.given.name);
    });
    this.#keepsChanged();
  }

  /** @param {() => Promise<unknown>} action */
  async #try(action) {
    setText(this.#problem, "");
    try {
      await action();
    } catch (error) {
      if (!complain(error, this.#problem)) this.app.fail(error);
    }
  }

  /** @param {PriorModel} model @param {boolean} another */
  setModel(model, another) {
    if (another) {
      // Latents of another model do not apply to this one.
      this.kept = { a: null, b: null };
      this.#plane.setModel(model);
      planeHint(byId("r-plane-hint", HTMLParagraphElement), model, "x: the image’s latent; A and B: the images you keep; the line: the path between them.");
      this.#keepsChanged();
    }
    this.image.setModel(model, another);
  }

  /** The engine was replaced: repeats pending requests. */
  recovered() {
    this.image.recovered();
    if (this.#asking) void this.interpolate();
  }

  /** @param {{ steps: number, frames: number, way: "line" | "sphere" }} wanted */
  showSettings({ steps, frames, way }) {
    this.steps.show(steps, "Gradient descent on the latent’s energy, from z = 0, without noise.");
    this.frames.show(frames, "Images on the path, including both ends.");
    this.#kind.value = way;
  }

  /** @param {Seen} seen @param {PriorModel} model */
  #show({ given, pixels, result }, model) {
    const [channels, height, width] = model.shape;
    const difference = perPixel(Float32Array.from(pixels, (value, i) => (value - (result.image[i] ?? 0)) / 255 / channels), model.shape);
    const canvas = byId("r-difference", HTMLCanvasElement);
    const largest = paintSigned(canvas, difference, height, width);
    const words = `Largest difference of a pixel: ${compact(largest, 2)} (1: black to white).`;
    canvas.setAttribute("aria-label", `Difference between the image and its reconstruction. ${words}`);
    setText(byId("r-difference-hint", HTMLParagraphElement), `${words} Orange: the image is brighter than its reconstruction; blue: darker. The tint is proportional to the square root.`);
    fillReadings(byId("r-numbers", HTMLDListElement), [
      ["Mean squared error", compact(result.mse, 3), "per value, on a scale from 0 to 1; 0 is a perfect copy"],
      ["Score", compact(result.score, 4), "sum of all parts; high: unlike the data"],
      ["σ", compact(model.sigma, 2), "noise per pixel in the model"],
    ]);
    const parts = scoreParts(result);
    const most = Math.max(1e-9, ...parts.map(({ value }) => Math.abs(value)));
    byId("r-parts", HTMLDivElement).replaceChildren(
      ...parts.map(({ name, value, meaning }) => {
        const fill = make("i", { class: value < 0 ? "below" : "above" });
        fill.style.width = `${(50 * Math.abs(value)) / most}%`;
        return make("div", { class: "part-row" }, make("span", { class: "part-name" }, name, " ", make("small", {}, meaning)), make("span", { class: "part-bar", "aria-hidden": "true" }, fill), make("b", {}, compact(value)));
      }),
      make("div", { class: "part-row sum" }, make("span", { class: "part-name" }, "Score"), make("span", { class: "part-bar" }), make("b", {}, compact(result.score, 4))),
    );
    const { trace } = result;
    this.#trace.draw(Array.from(trace, (_, step) => step + 1), [{ label: "score", colour: "--ink", values: Array.from(trace, (value) => (Number.isFinite(value) ? value : null)) }]);
    const [first, last] = [trace[0] ?? NaN, trace.at(-1) ?? NaN];
    byId("r-trace", HTMLDivElement).setAttribute("aria-label", `Score over ${integer(trace.length)} gradient steps, from ${compact(first, 4)} to ${compact(last, 4)}. The table below holds the same values.`);
    this.#drawPlane();
    return `Reconstructed ${given.name}: mean squared error ${compact(result.mse, 3)}, score ${compact(result.score, 4)}.`;
  }

  #drawPlane() {
    const { current } = this.image;
    const marks = [
      ...(current ? [{ x: current.result.plane[0], y: current.result.plane[1], label: "x" }] : []),
      ...(/** @type {const} */ (["a", "b"])).flatMap((end) => {
        const kept = this.kept[end];
        return kept ? [{ x: kept.plane[0], y: kept.plane[1], label: end.toUpperCase() }] : [];
      }),
    ];
    this.#plane.draw({ marks, ...(this.way ? { way: this.way.plane } : {}) });
    this.#plane.describe(`Latent plane with ${marks.map(({ label }) => label).join(", ") || "no mark yet"}${this.way ? " and the path from A to B" : ""} over the latents of the training images. The table below holds where they lie.`);
  }

  // The path between two images

  /** @param {"a" | "b"} end */
  #keep(end) {
    const { current } = this.image;
    if (!current) return;
    const { given, pixels, result } = current;
    this.kept[end] = { name: given.name, pixels, made: result.image, latent: result.latent, plane: result.plane };
    this.#keepsChanged();
    announce(`${given.name} is kept as ${end.toUpperCase()}.`);
  }

  #keepsChanged() {
    const model = this.app.model();
    this.#walk += 1;
    this.#asking = false;
    this.way = null;
    for (const end of /** @type {const} */ (["a", "b"])) {
      const kept = this.kept[end];
      const place = byId(`r-kept-${end}`, HTMLDivElement);
      place.replaceChildren(kept && model ? pictureOf(kept.made, model.shape, `${end.toUpperCase()}: reconstruction of ${kept.name}`) : make("span", { class: "glyph", "aria-hidden": "true" }, end.toUpperCase()));
      setText(byId(`r-kept-${end}-text`, HTMLElement), kept ? `${end.toUpperCase()}: ${kept.name}` : `${end.toUpperCase()}: nothing yet`);
    }
    const ready = this.kept.a !== null && this.kept.b !== null;
    byId("r-go", HTMLButtonElement).disabled = !ready;
    byId("r-swap", HTMLButtonElement).disabled = !this.kept.a && !this.kept.b;
    setText(byId("r-way-text", HTMLParagraphElement), ready ? "" : "Reconstruct an image above and keep it as A, then another one and keep it as B.");
    this.#showWay();
    this.#drawPlane();
  }

  interpolate() {
    return this.#try(async () => {
      const { a, b } = this.kept;
      if (!a || !b || !this.app.model()) return;
      const mine = ++this.#walk;
      const { frames, way } = this.app.interpolation();
      announce(`Interpolating from A to B in ${frames} frames.`);
      byId("r-way-waiting", HTMLDivElement).hidden = false;
      this.#asking = true;
      try {
        const found = await this.app.desk.session.ask("interpolate", a.latent, b.latent, frames, way === "sphere");
        if (mine !== this.#walk) return;
        this.#asking = false;
        this.way = found;
        this.#showWay();
        this.#drawPlane();
        const highest = found.energies.reduce((most, value, index) => (value > (found.energies[most] ?? -Infinity) ? index : most), 0);
        const words = `Prior energy from ${energyText(found.energies[0] ?? NaN)} at A to ${energyText(found.energies.at(-1) ?? NaN)} at B, highest at frame ${highest + 1} with ${energyText(found.energies[highest] ?? NaN)}: ${highest === 0 || highest === found.energies.length - 1 ? "no frame in between is less likely than the ends" : "there the path is least like the data’s latents"}.`;
        setText(byId("r-way-text", HTMLParagraphElement), words);
        byId("r-energies", HTMLDivElement).setAttribute("aria-label", `Prior energy along the path. ${words}`);
        announce(words);
      } catch (error) {
        if (toError(error).kind.startsWith("bad-")) this.#asking = false;
        throw error;
      } finally {
        if (mine === this.#walk) byId("r-way-waiting", HTMLDivElement).hidden = true;
      }
    });
  }

  #showWay() {
    const [model, way] = [this.app.model(), this.way];
    byId("r-way", HTMLDivElement).hidden = way === null;
    byId("r-save", HTMLButtonElement).disabled = way === null;
    byId("r-way-waiting", HTMLDivElement).hidden = true;
    const strip = byId("r-strip", HTMLDivElement);
    if (!way || !model) {
      strip.replaceChildren();
      this.#energies.draw([], []);
      return;
    }
    const size = model.shape.reduce((product, side) => product * side, 1);
    strip.replaceChildren(
      ...Array.from(way.energies, (energy, frame) =>
        make("figure", {}, pictureOf(way.images.subarray(frame * size, (frame + 1) * size), model.shape, `Frame ${frame + 1}, prior energy ${energyText(energy)}`), make("figcaption", {}, frame === 0 ? "A" : frame === way.energies.length - 1 ? "B" : String(frame + 1))),
      ),
    );
    this.#energies.draw(Array.from(way.energies, (_, frame) => frame + 1), [{ label: "prior energy", colour: "--ink", values: Array.from(way.energies, (value) => (Number.isFinite(value) ? value : null)) }]);
  }

  async save() {
    const [model, way] = [this.app.model(), this.way];
    if (!model || !way) return;
    const count = way.energies.length;
    await saveSheet(way.images, Array.from({ length: count }, (_, frame) => frame), model.shape, `${this.app.modelName()}-way-${this.app.interpolation().way}.png`, count);
  }

  /** Redraws in another theme, or after the room was hidden. */
  rebuild() {
    this.image.rebuild();
    this.#trace.rebuild();
    this.#energies.rebuild();
    this.#plane.repaint();
  }
}
