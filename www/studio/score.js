// The room Score: one image, the model's input, and how typical the model finds it.

import { LinesView } from "../charts/lines.js";
import { inverted, readImage } from "../image/image.js";
import { bar, changesText, ImageSource, invertHint, originalOf, originalText } from "../image/source.js";
import { paintSigned, pictureOf } from "../image/tiles.js";
import { aurocText, energyRange, percentileText, perPixel, shareText, typicality } from "../image/words.js";
import { announce } from "../ui/cards.js";
import { byId, icon, make, setText, table } from "../ui/dom.js";
import { compact, energyText, integer, tidy } from "../ui/format.js";
import { complain, fillReadings } from "../ui/readings.js";
import { blockMeans, gradientSummary, verdictOf } from "./words.js";

/** @import { Descent, Score, StudioModel } from "../contract/studio.js" */
/** @import { Given } from "../image/source.js" */
/** @import { App } from "./panel.js" */

/** Steps of a gradient descent. */
const WALK = 300;
/** Pictures shown of a descent. */
const STRIP = 10;
const CALL_MS = 150;
/** Rows and columns of the gradient table. */
const BLOCKS = 7;

/** An image with its score. @typedef {{ intake: Given, invert: boolean, pixels: Uint8Array, score: Score }} Scored */

export class ScoreRoom {
  /** The displayed result. @type {Scored | null} */
  current = null;
  /** The newest request wins. */
  #attempt = 0;
  /** The pending request. @type {{ intake: Scored["intake"], invert: boolean } | null} */
  #wish = null;
  #walk = 0;
  /** @type {Descent[]} */
  descents = [];
  #problem = byId("s-problem", HTMLParagraphElement);
  #invert = byId("s-invert", HTMLInputElement);
  #walkButton = byId("s-walk", HTMLButtonElement);
  #chart = new LinesView(byId("s-chart", HTMLDivElement), byId("s-chart-table", HTMLDivElement), { xLabel: "step", caption: "Energy at each step of the descent", range: energyRange });

  /**
   * @param {App} app
   * @param {() => { image: Uint8Array, name: string } | null} sample one of the model's own
   */
  constructor(app, sample) {
    this.app = app;
    this.source = new ImageSource({ prefix: "s", label: "Drawing to score", shape: () => app.model()?.shape ?? null, take: (file) => this.take(file), use: (pixels, name) => this.scoreImage(pixels, name), attempt: (action) => this.#try(action) });
    this.#invert.addEventListener("change", () => {
      const { current } = this;
      if (current) void this.score(current.intake, this.#invert.checked);
    });
    this.#walkButton.addEventListener("click", () => void this.walk());

    const own = make("button", { type: "button", "data-test": "sample" }, "A sample of the model");
    own.addEventListener("click", () => {
      const found = sample();
      if (!found) return setText(this.#problem, "There are no samples yet: generate some in the room Generate first.");
      return void this.scoreImage(found.image, found.name);
    });
    byId("s-tests", HTMLDivElement).append(own);
  }

  /** @param {() => Promise<unknown> | void} action */
  async #try(action) {
    setText(this.#problem, "");
    try {
      await action();
    } catch (error) {
      if (!complain(error, this.#problem)) this.app.fail(error);
    }
  }

  /** @param {Blob} file */
  take(file) {
    return this.#try(async () => {
      const model = this.app.model();
      if (!model) return;
      const intake = await readImage(file, model.shape);
      await this.#score(intake, false);
    });
  }

  /** An image that already has the model's size. @param {Uint8Array} pixels @param {string} name */
  scoreImage(pixels, name) {
    return this.score({ pixels, name, changes: [], original: null }, false);
  }

  /** @param {Scored["intake"]} intake @param {boolean} invert */
  score(intake, invert) {
    return this.#try(() => this.#score(intake, invert));
  }

  /** @param {Scored["intake"]} intake @param {boolean} invert */
  async #score(intake, invert) {
    const model = this.app.model();
    if (!model) return;
    const mine = ++this.#attempt;
    this.#walk += 1;
    this.#wish = { intake, invert };
    announce(`Scoring ${intake.name}.`);
    const pixels = invert ? inverted(intake.pixels) : intake.pixels;
    const score = await this.app.desk.session.ask("score", pixels);
    if (mine !== this.#attempt) return;
    this.#wish = null;
    // Only a successful result replaces the old image.
    this.current = { intake, invert, pixels, score };
    this.descents = [];
    this.#show();
  }

  /** Another model: the scores change. @param {StudioModel} model @param {boolean} another */
  setModel(model, another) {
    this.source.pad.setShape(model.shape);
    const host = byId("s-failures", HTMLElement);
    host.hidden = model.known_failures.length === 0;
    byId("s-failures-list", HTMLUListElement).replaceChildren(...model.known_failures.map((text) => make("li", {}, text)));
    setText(byId("s-invert-text", HTMLSpanElement), invertHint(this.app.modelName()));
    if (!another) return;
    this.#attempt += 1;
    this.#walk += 1;
    const { current } = this;
    this.current = null;
    this.descents = [];
    byId("s-result", HTMLDivElement).hidden = true;
    // The image stays if its shape fits the new model.
    if (current && current.intake.pixels.length === model.shape.reduce((a, b) => a * b, 1)) void this.score(current.intake, current.invert);
  }

  /** The engine was replaced: repeats a pending request. */
  recovered() {
    const wish = this.#wish;
    if (wish) void this.score(wish.intake, wish.invert);
  }

  /** Ends a descent; its pictures stay. */
  pause() {
    this.#walk += 1;
  }

  #show() {
    const [current, model] = [this.current, this.app.model()];
    if (!current || !model) return;
    const { intake, invert, score } = current;
    byId("s-result", HTMLDivElement).hidden = false;
    this.#invert.checked = invert;
    this.#showSeen(current, model);
    this.#showScore(score, model);
    this.#showClasses(score, model);
    this.#showHeat();
    this.#showWalk();
    const own = score.percentiles[0];
    const set = model.sets[0];
    announce(`Scored ${intake.name}: energy ${energyText(score.energy)}${own && set ? `, ${typicality(own.ood ?? own.energy)} (${set.title})` : ""}.`);
    document.documentElement.dataset.scored = String(Number(document.documentElement.dataset.scored ?? 0) + 1);
  }

  /** @param {Scored} current @param {StudioModel} model */
  #showSeen({ intake, invert, pixels }, model) {
    const [, height, width] = model.shape;
    byId("s-original", HTMLDivElement).replaceChildren(originalOf(intake, model.shape));
    setText(byId("s-original-text", HTMLElement), originalText(intake));
    byId("s-seen", HTMLDivElement).replaceChildren(pictureOf(pixels, model.shape, "The image as the model sees it"));
    setText(byId("s-seen-text", HTMLElement), `As the model sees it, ${width}×${height}`);
    setText(byId("s-changes", HTMLParagraphElement), changesText(intake, invert));
  }

  /** @param {Score} score @param {StudioModel} model */
  #showScore(score, model) {
    const [own, set] = [score.percentiles[0], model.sets[0]];
    const judged = own ? (own.ood ?? own.energy) : null;
    setText(
      byId("s-conclusion", HTMLParagraphElement),
      judged && set ? `Compared with the ${integer(set.images)} images of ${set.title}: ${typicality(judged)}.` : "This model has no reference scores, so there is nothing to compare the energy with.",
    );
    fillReadings(byId("s-numbers", HTMLDListElement), [
      ["Energy E", energyText(score.energy), "low is likely"],
      ["OOD score", score.ood === null ? "–" : energyText(score.ood), score.ood === null ? "needs an encoder" : "E − 0.1 cos(h, g∘f): low is typical"],
    ]);
    byId("s-bars", HTMLDivElement).replaceChildren(
      ...model.sets.map((reference, index) => {
        const percentile = score.percentiles[index];
        const parts = percentile ? [...(percentile.ood ? [bar("OOD score", percentile.ood)] : []), bar("Energy", percentile.energy)] : [];
        const auroc = reference.auroc ?? reference.auroc_energy;
        return make(
          "div",
          { class: "reference" },
          make("h3", {}, reference.title, " ", make("small", {}, `${integer(reference.images)} images`)),
          ...parts,
          make("p", { class: "hint" }, auroc ? `Distinguished from the model’s own test set with AUROC ${[reference.auroc ? `${aurocText(reference.auroc)} by the OOD score` : "", reference.auroc_energy ? `${aurocText(reference.auroc_energy)} by the energy` : ""].filter(Boolean).join(", ")}.` : "The model’s own test set, which it should find typical."),
        );
      }),
      ...(model.sets.length > 0 ? [make("p", { class: "hint" }, "Each bar is the share of the set that scores lower than this image. At 0 %, the image looks more typical than all of them. The band is the 95 % interval.")] : []),
    );
    byId("s-table", HTMLDivElement).replaceChildren(
      table(
        ["Set", "Images", "Energy: share below (95 %)", "OOD: share below (95 %)", "AUROC by OOD (95 %)", "AUROC by energy (95 %)"],
        model.sets.map((reference, index) => {
          const percentile = score.percentiles[index];
          return [reference.title, integer(reference.images), percentile ? percentileText(percentile.energy) : "–", percentile?.ood ? percentileText(percentile.ood) : "–", aurocText(reference.auroc), aurocText(reference.auroc_energy)];
        }),
        "Percentiles of this image against each reference set, and AUROC of each set",
      ),
    );
  }

  /** @param {Score} score @param {StudioModel} model */
  #showClasses(score, model) {
    /** @type {Node[]} */
    const parts = [];
    if (score.class_cosines) {
      const nearest = model.classes.map((name, index) => ({ name, cosine: score.class_cosines?.[index] ?? NaN })).sort((a, b) => b.cosine - a.cosine);
      parts.push(make("h3", {}, "Nearest classes by cosine"), make("ol", { class: "nearest" }, ...nearest.slice(0, 5).map(({ name, cosine }) => make("li", {}, make("span", {}, name), " ", make("b", {}, compact(cosine, 2))))));
    } else parts.push(make("p", { class: "hint" }, "This model has no encoder, so it has no classes."));
    if (score.verdict && model.classifier) {
      const best = verdictOf(score.verdict, 0, model.classes).slice(0, 3);
      parts.push(make("h3", {}, "Independent classifier ", make("small", {}, `accuracy ${(100 * model.classifier.accuracy).toFixed(1)} %`)), make("ol", { class: "nearest" }, ...best.map(({ name, probability }) => make("li", {}, make("span", {}, name), " ", make("b", {}, shareText(probability))))), make("p", { class: "hint" }, "It always names one of its classes, even for an image that is none of them."));
    }
    byId("s-classes", HTMLDivElement).replaceChildren(...parts);
  }

  #showHeat() {
    const [current, model] = [this.current, this.app.model()];
    if (!current || !model) return;
    const [channels, height, width] = model.shape;
    const pixels = perPixel(current.score.gradient, model.shape);
    const canvas = byId("s-heat", HTMLCanvasElement);
    const largest = paintSigned(canvas, pixels, height, width);
    const summary = gradientSummary(pixels, height, width);
    canvas.setAttribute("aria-label", `Heat map of the gradient. ${summary}`);
    setText(byId("s-heat-text", HTMLParagraphElement), `${summary}${channels > 1 ? " Channels are summed." : ""}`);
    byId("s-heat-legend", HTMLDivElement).replaceChildren(
      make("p", {}, make("b", {}, compact(largest, 2)), " a brighter pixel raises the energy"),
      make("span", { class: "heat-ramp", "aria-hidden": "true" }),
      make("p", {}, make("b", {}, compact(-largest, 2)), " a brighter pixel lowers it"),
      make("p", { class: "hint" }, "The tint is proportional to the square root."),
    );
    const blocks = blockMeans(pixels, height, width, BLOCKS);
    byId("s-heat-table", HTMLDivElement).replaceChildren(
      table(["Rows", ...(blocks[0] ?? []).map((_, column) => `columns ${Math.floor((column * width) / BLOCKS) + 1}–${Math.floor(((column + 1) * width) / BLOCKS)}`)], blocks.map((values, row) => [`${Math.floor((row * height) / blocks.length) + 1}–${Math.floor(((row + 1) * height) / blocks.length)}`, ...values.map((value) => compact(value, 2))]), "Mean of the gradient in blocks of pixels"),
    );
  }

  // Gradient descent

  walk() {
    return this.#try(async () => {
      const model = this.app.model();
      if (this.#walkButton.dataset.on) {
        this.pause();
        return;
      }
      const { current } = this;
      if (!current || !model) return;
      const mine = ++this.#walk;
      this.#walkState(true);
      this.descents = [];
      let count = 1;
      try {
        const { session } = this.app.desk;
        const { gradient } = current.score;
        /** @type {Descent} */
        let frame = { step: 0, image: current.pixels, energy: current.score.energy, gradient: Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0) / gradient.length), elapsed_ms: 0 };
        /** @type {Uint8Array | null} */
        let start = current.pixels;
        while (mine === this.#walk) {
          this.descents.push(frame);
          this.#showWalk();
          if (frame.step >= WALK) break;
          const started = performance.now();
          frame = await session.ask("descend", start, Math.min(count, WALK - frame.step));
          start = null;
          const took = Math.max(1, frame.elapsed_ms, performance.now() - started);
          count = Math.max(1, Math.min(2 * count, Math.ceil(WALK / 30), Math.floor((count * CALL_MS) / took)));
          await new Promise((resolve) => (document.hidden ? setTimeout(resolve) : requestAnimationFrame(resolve)));
        }
      } finally {
        this.#walkState(false);
      }
      const [first, last] = [this.descents[0], this.descents.at(-1)];
      if (first && last) announce(`The descent ${last.step >= WALK ? "ended" : "stopped"} at step ${integer(last.step)}: energy ${energyText(first.energy)} to ${energyText(last.energy)}.`);
    });
  }

  /** @param {boolean} on */
  #walkState(on) {
    if (on) this.#walkButton.dataset.on = "yes";
    else delete this.#walkButton.dataset.on;
    this.#walkButton.replaceChildren(icon(on ? "stop" : "play"), make("span", {}, on ? "Stop" : "Descend"));
  }

  #showWalk() {
    const model = this.app.model();
    const { descents } = this;
    const strip = byId("s-strip", HTMLDivElement);
    if (!model || descents.length === 0) {
      strip.replaceChildren();
      setText(byId("s-walk-text", HTMLParagraphElement), "");
      this.#chart.draw([], []);
      byId("s-chart", HTMLDivElement).hidden = true;
      return;
    }
    byId("s-chart", HTMLDivElement).hidden = false;
    const count = Math.min(STRIP, descents.length);
    strip.replaceChildren(
      ...Array.from({ length: count }, (_, index) => {
        const frame = /** @type {Descent} */ (descents[count === 1 ? 0 : Math.round((index * (descents.length - 1)) / (count - 1))]);
        return make("figure", {}, pictureOf(frame.image, model.shape, `Step ${frame.step}, energy ${energyText(frame.energy)}`), make("figcaption", {}, String(frame.step)));
      }),
    );
    const [first, last] = [/** @type {Descent} */ (descents[0]), /** @type {Descent} */ (descents.at(-1))];
    setText(byId("s-walk-text", HTMLParagraphElement), `Step ${integer(last.step)} of ${WALK}: energy ${energyText(first.energy)} → ${energyText(last.energy)}, root mean square of ∇E ${tidy(last.gradient)}.`);
    this.#chart.draw(descents.map(({ step }) => step), [{ label: "energy", colour: "--ink", values: descents.map(({ energy }) => (Number.isFinite(energy) ? energy : null)) }]);
    byId("s-chart", HTMLDivElement).setAttribute("aria-label", `Energy during the descent, ${integer(last.step)} steps, from ${energyText(first.energy)} to ${energyText(last.energy)}. The table below holds the same values.`);
  }

  /** Redraws in another theme. */
  rebuild() {
    this.#chart.rebuild();
    this.#showHeat();
    this.source.pad.repaint();
  }
}
