// Shared by Generate and Compose: the buttons, the grid, the details of the chosen sample, the numbers
// and the energy chart.

import { LinesView } from "../charts/lines.js";
import { Failure } from "../engine/failure.js";
import { imageOf } from "../image/image.js";
import { pictureOf, SampleGrid, saveSheet } from "../image/tiles.js";
import { byEnergy, energyRange, mean, shareText } from "../image/words.js";
import { Panel } from "../model/panel.js";
import { Run } from "../model/run.js";
import { announce } from "../ui/cards.js";
import { byId, icon, make, setText } from "../ui/dom.js";
import { energyText, integer, percent, tidy } from "../ui/format.js";
import { fillReadings } from "../ui/readings.js";
import { randomSeed } from "../ui/shell.js";
import { sheetName, temperatureWord, verdictOf } from "./words.js";

/** @import { StudioConfig, StudioFrame, StudioModel } from "../contract/studio.js" */
/** @import { Desk } from "../model/run.js" */

/**
 * What a room needs from the page.
 * @typedef {object} App
 * @property {Desk} desk
 * @property {() => StudioModel | null} model
 * @property {() => string} modelName
 * @property {() => StudioConfig} config of the settings, without conditions
 * @property {(seed: number) => void} setSeed
 * @property {(error: unknown) => void} fail
 * @property {() => void} busy a run began or ended
 * @property {(image: Uint8Array, name: string) => void} addCondition
 * @property {(image: Uint8Array, name: string) => void} scoreImage
 */

/** With reduced motion, the picture still changes, but slowly enough not to flicker. */
const CALM_EVERY_MS = 600;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** @extends {Panel<StudioConfig, App>} */
export class RunPanel extends Panel {
  /** @type {Run<StudioConfig, StudioFrame>} */
  run;
  #lastPaint = -Infinity;
  /** The displayed frame. @type {StudioFrame | null} */
  #shown = null;

  /**
   * @param {App} app
   * @param {object} room
   * @param {"g" | "c"} room.prefix of its ids
   * @param {string} room.verb on the button
   * @param {string} room.sample word for one of its images
   * @param {() => StudioConfig} room.config throws a Failure that says what is missing
   * @param {(frame: StudioFrame | null, settled: boolean) => void} room.onFrame
   * @param {(frame: StudioFrame, sample: number) => string} room.caption
   */
  constructor(app, room) {
    const { prefix } = room;
    super(app, byId(`${prefix}-problem`, HTMLParagraphElement));
    this.room = room;
    const button = (/** @type {string} */ name) => byId(`${prefix}-${name}`, HTMLButtonElement);
    this.buttons = { main: button("main"), step: button("step"), stop: button("stop"), seed: button("new"), save: button("save") };
    this.progress = byId(`${prefix}-progress`, HTMLProgressElement);
    this.progressText = byId(`${prefix}-progress-text`, HTMLParagraphElement);
    this.host = byId(`${prefix}-grid`, HTMLDivElement);
    this.empty = byId(`${prefix}-empty`, HTMLParagraphElement);
    this.details = byId(`${prefix}-details`, HTMLElement);
    this.numbers = byId(`${prefix}-numbers`, HTMLDListElement);
    this.plot = byId(`${prefix}-chart`, HTMLDivElement);
    this.chart = new LinesView(this.plot, byId(`${prefix}-chart-table`, HTMLDivElement), { xLabel: "step", caption: "Mean energy over the images at each step", range: energyRange });
    this.grid = new SampleGrid(this.host, () => this.#showDetails());
    const { session } = app.desk;
    const walk = {
      begin: (/** @type {StudioConfig} */ config) => session.ask("begin", config),
      advance: (/** @type {number} */ transitions) => session.ask("advance", transitions),
      at: (/** @type {StudioFrame} */ { step }) => step,
      of: (/** @type {StudioFrame} */ { of }) => of,
    };
    this.run = new Run(app.desk, walk, { onFrame: (frame) => this.#onFrame(frame), onPhase: () => this.#onPhase() });
    this.buttons.main.addEventListener("click", () => void this.toggle());
    this.buttons.step.addEventListener("click", () => void this.step());
    this.buttons.stop.addEventListener("click", () => void this.attempt(() => this.run.stop()));
    this.buttons.seed.addEventListener("click", () => void this.newSeed());
    this.buttons.save.addEventListener("click", () => void this.attempt(() => this.save()));
    button("use").addEventListener("click", () => this.#withChosen((image, name) => app.addCondition(image, name)));
    button("score").addEventListener("click", () => this.#withChosen((image, name) => app.scoreImage(image, name)));
    if (room.prefix === "g") byId("g-sort", HTMLInputElement).addEventListener("change", () => this.#settle());
    this.#onPhase();
  }

  /** @override */
  get current() {
    return this.run;
  }

  /** @override */
  wanted() {
    return this.room.config();
  }

  /** The main button: begin, pause or continue. */
  toggle() {
    if (!this.app.model()) return Promise.resolve();
    return this.attempt(async () => {
      if (this.run.phase === "beginning") return;
      if (this.run.phase === "running") return this.run.pause();
      if (this.run.phase !== "paused") await this.run.begin(this.room.config());
      await this.run.go();
    });
  }

  /** A new seed; restarts the run if there is one. */
  newSeed() {
    const again = this.run.frame !== null;
    this.app.setSeed(randomSeed());
    if (!again) return Promise.resolve();
    return this.attempt(async () => {
      await this.run.stop();
      await this.run.begin(this.room.config());
      await this.run.go();
    });
  }

  /** Settings or conditions changed: the current run no longer matches them. */
  outdated() {
    if (this.run.active || this.run.open) void this.attempt(() => this.run.stop());
  }

  /** Clears the samples of the previous model. */
  forget() {
    this.run.forget();
    this.#shown = null;
    this.grid.layOut(0, [1, 1, 1]);
    this.host.hidden = true;
    this.empty.hidden = false;
    this.details.hidden = true;
    byId(`${this.room.prefix}-run`, HTMLElement).hidden = true;
    this.numbers.replaceChildren();
    this.chart.draw([], []);
    setText(this.problem, "");
    this.room.onFrame(null, true);
  }

  /** @param {StudioFrame} frame */
  #onFrame(frame) {
    const model = this.app.model();
    if (!model) return;
    const count = frame.energies.length;
    if (this.grid.count !== count) this.grid.layOut(count, model.shape);
    if (frame.step === 0) {
      this.grid.arrange(Array.from({ length: count }, (_, sample) => sample));
      this.host.hidden = false;
      this.empty.hidden = true;
      byId(`${this.room.prefix}-run`, HTMLElement).hidden = false;
      // On a phone, the grid may be below the settings.
      const { top, bottom } = this.host.getBoundingClientRect();
      if (top > 0.8 * innerHeight || bottom < 0) this.host.scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
    }
    const now = performance.now();
    if (calm.matches && now - this.#lastPaint < CALM_EVERY_MS && frame.step < frame.of) return;
    this.#lastPaint = now;
    this.#paint(frame);
  }

  /** @param {StudioFrame} frame */
  #paint(frame) {
    this.#shown = frame;
    this.grid.show(frame.images);
    this.progress.max = frame.of;
    this.progress.value = frame.step;
    setText(this.progressText, `Step ${integer(frame.step)} of ${integer(frame.of)}${(this.run.config?.rounds ?? 1) > 1 ? `, round ${frame.round} of ${this.run.config?.rounds}` : ""}`);
    this.#showNumbers(frame);
    const { steps, energies } = this.run.history;
    this.chart.draw(steps, [{ label: "mean energy", colour: "--ink", values: energies }]);
    this.#showDetails();
    this.room.onFrame(frame, false);
  }

  #onPhase() {
    const { phase } = this.run;
    const { verb } = this.room;
    const [name, label] = phase === "running" || phase === "beginning" ? ["pause", "Pause"] : phase === "paused" ? ["play", "Continue"] : ["play", verb];
    const { main, step, stop, save } = this.buttons;
    if (main.textContent !== label) main.replaceChildren(icon(name), make("span", {}, label));
    const on = this.app.model() !== null;
    main.disabled = this.buttons.seed.disabled = step.disabled = !on;
    stop.disabled = !this.run.open && phase !== "beginning";
    save.disabled = this.run.frame === null;
    this.app.busy();
    if (phase === "running" || phase === "beginning") return announce("Running.");
    if (phase === "idle") return;
    this.#settle();
    const step_ = this.run.frame ? ` at step ${integer(this.run.frame.step)} of ${integer(this.run.frame.of)}` : "";
    if (phase === "done") announce(`Done: ${integer(this.run.frame?.energies.length ?? 0)} images. Mean energy ${energyText(mean(this.run.frame?.energies ?? new Float32Array()) ?? NaN)}.`);
    else announce(phase === "paused" ? `Paused${step_}.` : `Stopped${step_}. The images stay.`);
  }

  /** The model became available or unavailable. */
  refresh() {
    this.#onPhase();
  }

  /** Updates a paused grid: its order and the text of each sample. */
  #settle() {
    const frame = this.run.frame;
    if (!frame) return;
    if (frame !== this.#shown) this.#paint(frame);
    const sorted = this.room.prefix === "g" && byId("g-sort", HTMLInputElement).checked;
    this.grid.arrange(sorted ? byEnergy(frame.energies) : Array.from(frame.energies, (_, sample) => sample));
    const { sample } = this.room;
    this.grid.describe((index) => {
      const caption = this.room.caption(frame, index);
      return { label: `${sample} ${index + 1}, energy ${energyText(frame.energies[index] ?? NaN)}${caption === "" ? "" : `, ${caption}`}`, caption };
    });
    this.#showDetails();
    this.room.onFrame(frame, true);
  }

  /** @param {StudioFrame} frame */
  #showNumbers(frame) {
    const started = frame.step > 0;
    const rows = /** @type {[string, string, string][]} */ ([
      ["Mean energy", energyText(mean(frame.energies) ?? NaN), "low is likely"],
      ["T = σ²/(2a)", tidy(frame.temperature), temperatureWord(frame.temperature)],
      ["Drift a", tidy(frame.drift), "the step along −∇E"],
      ["Noise σ", tidy(frame.noise), "of each step"],
      [frame.tested ? "Acceptance" : "Shadow acceptance", started ? percent(frame.acceptance) : "–", frame.tested ? "share of steps accepted" : "of the omitted test"],
      ["Displacement", started ? tidy(frame.displacement) : "–", "mean change per pixel since the last frame (RMS; 1: black to white)"],
    ]);
    fillReadings(this.numbers, rows);
    const { steps } = this.run.history;
    const energies = this.run.history.energies.filter((value) => value !== null);
    this.plot.setAttribute("aria-label", steps.length < 2 ? "Mean energy: no step yet." : `Mean energy over ${integer(frame.step)} steps, from ${energyText(energies[0] ?? NaN)} to ${energyText(energies.at(-1) ?? NaN)}. The table below holds the same values.`);
  }

  #showDetails() {
    const { prefix, sample } = this.room;
    const [frame, model, index] = [this.#shown, this.app.model(), this.grid.chosen];
    this.details.hidden = frame === null || index === null;
    if (!frame || !model || index === null) return;
    const title = `${sample} ${index + 1}`;
    setText(byId(`${prefix}-details-title`, HTMLHeadingElement), title);
    byId(`${prefix}-details-picture`, HTMLDivElement).replaceChildren(pictureOf(imageOf(frame.images, index, model.shape), model.shape, `${title}, enlarged`));
    const place = byEnergy(frame.energies).indexOf(index) + 1;
    const words = [make("p", {}, make("strong", {}, `Energy ${energyText(frame.energies[index] ?? NaN)}`), `, ${place === 1 ? "the lowest" : `number ${place} from the lowest`} of ${frame.energies.length}.`)];
    if (frame.verdict && model.classifier) {
      const best = verdictOf(frame.verdict, index, model.classes).slice(0, 3);
      words.push(make("p", {}, `Classifier: ${best.map(({ name, probability }) => `${name} ${shareText(probability)}`).join(", ")}.`));
    } else words.push(make("p", { class: "hint" }, "There is no classifier for this data."));
    byId(`${prefix}-details-text`, HTMLDivElement).replaceChildren(...words);
    byId(`${prefix}-use`, HTMLButtonElement).hidden = !model.latents;
  }

  /** The chosen sample's image and name. */
  get chosen() {
    const [frame, model, index] = [this.run.frame, this.app.model(), this.grid.chosen];
    if (!frame || !model || index === null) return null;
    return { image: imageOf(frame.images, index, model.shape), name: `sample ${index + 1} of seed ${this.run.config?.seed ?? ""}` };
  }

  /** @param {(image: Uint8Array, name: string) => void} use */
  #withChosen(use) {
    const { chosen } = this;
    if (chosen) use(chosen.image, chosen.name);
  }

  async save() {
    const [frame, model, config] = [this.run.frame, this.app.model(), this.run.config];
    if (!frame || !model || !config) throw new Failure("bad-config", "There is nothing to save yet.");
    await saveSheet(frame.images, this.grid.order, model.shape, sheetName(this.app.modelName(), config.seed, config.temperature, frame.step));
  }

  /** Redraws in another theme. */
  rebuild() {
    this.chart.rebuild();
  }
}
