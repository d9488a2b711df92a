// The room Stages: chains on one stage's prior, decoded, in the latent plane and in numbers, beside
// the stages that were visited before.

import { Failure } from "../engine/failure.js";
import { imageOf } from "../image/image.js";
import { pictureOf, SampleGrid, saveSheet } from "../image/tiles.js";
import { byEnergy, mean } from "../image/words.js";
import { Panel } from "../model/panel.js";
import { Run } from "../model/run.js";
import { announce } from "../ui/cards.js";
import { byId, icon, make, setText, table } from "../ui/dom.js";
import { compact, energyText, integer, percent, rhat, tidy } from "../ui/format.js";
import { fillReadings } from "../ui/readings.js";
import { randomSeed } from "../ui/shell.js";
import { HistogramView, LossView } from "./charts.js";
import { PlaneView, planeHint } from "./plane.js";
import { endedText, gridName, ratioText, sirText, stageName, subscript, worst } from "./words.js";

/** @import { PriorConfig, PriorFrame, PriorModel } from "../contract/prior.js" */
/** @import { DeskOf } from "../model/run.js" */

/**
 * What a room needs from the page.
 * @typedef {object} App
 * @property {DeskOf<"prior">} desk
 * @property {() => PriorModel | null} model
 * @property {() => string} modelName
 * @property {() => PriorConfig} config
 * @property {(change: Partial<PriorConfig>) => void} change of settings
 * @property {() => number} steps of a reconstruction
 * @property {() => { frames: number, way: "line" | "sphere" }} interpolation
 * @property {(error: unknown) => void} fail
 * @property {() => void} busy a run began or ended
 * @property {() => void} settled a run paused: fields about it can be updated
 * @property {(image: Uint8Array, name: string) => void} reconstruct opens an image in Reconstruct
 * @property {(image: Uint8Array, name: string) => void} score opens an image in Anomaly
 */

/** With reduced motion, the picture still changes, but slowly enough not to flicker. */
const CALM_EVERY_MS = 600;
/** Tables are updated less often than frames. */
const TABLES_EVERY_MS = 400;
/** Points in a chain's trail. */
const TRAIL = 60;
/** A run pauses after this many transitions, so that a forgotten tab does not compute forever. */
const REST = 5000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** The record of a visit to a stage. @typedef {{ stage: number, sampler: string, frame: PriorFrame }} Visit */

/** @extends {Panel<PriorConfig, App>} */
export class StagesRoom extends Panel {
  /** @type {Run<PriorConfig, PriorFrame>} */
  run;
  /** @type {number[][]} */
  #trails = [];
  /** One for each stage and sampler of this session, the latest. @type {Map<string, Visit>} */
  #visits = new Map();
  #lastPaint = -Infinity;
  #lastTables = -Infinity;
  /** The displayed frame. @type {PriorFrame | null} */
  #shown = null;
  /** A restart was requested while another is active. */
  #wish = false;
  /** Whether the run continues after the starts are made. */
  #on = false;
  /** @type {Promise<void> | null} */
  #beginning = null;
  #progress = byId("p-progress", HTMLProgressElement);
  #buttons = { main: byId("p-main", HTMLButtonElement), step: byId("p-step", HTMLButtonElement), reset: byId("p-reset", HTMLButtonElement), seed: byId("p-new", HTMLButtonElement), save: byId("p-save", HTMLButtonElement) };
  #loss = new LossView(byId("p-loss", HTMLDivElement), byId("p-loss-table", HTMLDivElement));
  #histogram = new HistogramView(byId("p-ratio", HTMLDivElement), byId("p-ratio-table", HTMLDivElement));

  /** @param {App} app */
  constructor(app) {
    super(app, byId("p-problem", HTMLParagraphElement));
    const { session } = app.desk;
    this.grid = new SampleGrid(byId("p-grid", HTMLDivElement), () => this.#chosen());
    this.plane = new PlaneView({ host: byId("p-plane", HTMLDivElement), legend: byId("p-legend", HTMLDivElement), twin: byId("p-plane-table", HTMLDivElement), onPick: (chain) => this.grid.choose(chain) });
    this.run = new Run(
      app.desk,
      {
        begin: (config) => session.ask("begin", config),
        advance: (transitions) => session.ask("advance", transitions),
        at: ({ transitions }) => transitions,
        of: ({ sir, transitions }) => (sir ? transitions : Infinity),
      },
      { onFrame: (frame) => this.#onFrame(frame), onPhase: () => this.#onPhase() },
    );
    const { main, step, reset, seed, save } = this.#buttons;
    main.addEventListener("click", () => void this.toggle());
    step.addEventListener("click", () => void this.step());
    reset.addEventListener("click", () => void this.reset());
    seed.addEventListener("click", () => void this.newSeed());
    save.addEventListener("click", () => void this.attempt(() => this.save()));
    byId("p-reconstruct", HTMLButtonElement).addEventListener("click", () => this.#withChosen(app.reconstruct));
    byId("p-score", HTMLButtonElement).addEventListener("click", () => this.#withChosen(app.score));
    this.#onPhase();
  }

  /** @override */
  get current() {
    return this.run;
  }

  /**
   * Restarts with the current settings. A slider requests this often; only the newest request is used.
   * @param {boolean} on whether the run continues after the starts
   */
  again(on) {
    this.#wish = true;
    this.#on = on;
    this.#beginning ??= this.attempt(async () => {
      try {
        // Lets the promise be stored before it can settle.
        await null;
        while (this.#wish) {
          this.#wish = false;
          await this.run.begin(this.app.config());
        }
      } finally {
        this.#beginning = null;
        this.#wish = false;
      }
      if (this.#on || this.run.frame?.sir) void this.resume();
    });
    return this.#beginning;
  }

  /** The stage or a setting changed: the displayed run no longer matches it. */
  changed() {
    if (this.app.model()) void this.again(this.#beginning ? this.#on : this.run.phase === "running");
  }

  /** The main button: run, pause or continue. */
  toggle() {
    if (!this.app.model()) return Promise.resolve();
    if (this.#beginning) {
      this.#on = !this.#on;
      this.#onPhase();
      return this.#beginning;
    }
    if (this.run.phase === "running") return this.attempt(() => this.run.pause());
    if (this.run.phase === "paused") return this.resume();
    return this.again(true);
  }

  /** Returns to the starts, with the same seed. */
  reset() {
    return this.app.model() ? this.again(false) : Promise.resolve();
  }

  newSeed() {
    this.app.change({ seed: randomSeed() });
    return this.#beginning ?? Promise.resolve();
  }

  /** The engine was replaced during a restart, or before any run. */
  recovered() {
    const { config } = this.run;
    if (!config || JSON.stringify(config) !== JSON.stringify(this.app.config())) void this.again(false);
  }

  /** @param {PriorModel} model @param {boolean} another */
  setModel(model, another) {
    if (another) {
      this.run.forget();
      this.#visits.clear();
      this.#trails = [];
      this.#shown = null;
      this.grid.layOut(0, [1, 1, 1]);
      byId("p-grid", HTMLDivElement).hidden = true;
      this.plane.setModel(model);
      planeHint(byId("p-plane-hint", HTMLParagraphElement), model, "Large points: the chains now; lines: recent positions of the first eight.");
      this.#showVisits();
    }
    setText(byId("p-method", HTMLParagraphElement), model.method);
    this.showStage();
    this.#onPhase();
  }

  /** Shows the facts of the selected stage, before any frame. */
  showStage() {
    const model = this.app.model();
    if (!model) return;
    const { stage } = this.app.config();
    this.#loss.show(model.stages, stage);
    const info = model.stages.find((each) => each.stage === stage);
    const last = info?.checks.at(-1);
    setText(
      byId("p-loss-text", HTMLParagraphElement),
      info && last
        ? `Stage ${stage}: ${endedText(info)}. Its last held-out loss is ${compact(last.loss)}; ln 2 ≈ 0.693 means that the classifier is guessing, so nothing is left to correct.`
        : "Stage 0 is the start: no classifier, nothing learned. Each later stage adds one classifier.",
    );
    byId("p-loss", HTMLDivElement).setAttribute("aria-label", model.stages.map(({ stage: number, checks }) => (checks.length === 0 ? "" : `Stage ${number}: held-out loss from ${compact(checks[0]?.loss)} to ${compact(checks.at(-1)?.loss)}.`)).join(" ").trim() || "The card has no checks.");
  }

  /** @param {PriorFrame} frame */
  #onFrame(frame) {
    const model = this.app.model();
    if (!model) return;
    const count = frame.energies.length;
    if (this.grid.count !== count) this.grid.layOut(count, model.shape);
    if (frame.transitions === 0) {
      this.#trails = Array.from({ length: Math.min(8, count) }, (_, chain) => (frame.sir ? [] : [...frame.plane.slice(2 * chain, 2 * chain + 2)]));
      byId("p-grid", HTMLDivElement).hidden = false;
      byId("p-empty", HTMLParagraphElement).hidden = true;
    }
    const { chains, points } = frame.path;
    for (let at = 0; at < points.length; at += 2) this.#trails[(at / 2) % chains]?.push(points[at] ?? NaN, points[at + 1] ?? NaN);
    this.#trails = this.#trails.map((trail) => trail.slice(-2 * TRAIL));
    // Starts alone are not a visit: an earlier record stays until a new run moves.
    if (frame.transitions > 0 || frame.sir) this.#visits.set(`${frame.stage} ${frame.sampler}`, { stage: frame.stage, sampler: frame.sampler, frame });
    const last = this.#shown?.transitions ?? 0;
    if (frame.transitions > 0 && Math.floor(frame.transitions / REST) > Math.floor(last / REST) && last > 0 && this.run.phase === "running") void this.attempt(() => this.run.pause());
    const now = performance.now();
    if (calm.matches && now - this.#lastPaint < CALM_EVERY_MS && frame.transitions > 0 && this.run.phase === "running") return;
    this.#lastPaint = now;
    this.#paint(frame);
  }

  /** @param {PriorFrame} frame */
  #paint(frame) {
    this.#shown = frame;
    this.grid.show(frame.images);
    this.#drawPlane();
    const who = frame.sir ? "samples" : "chains";
    this.#histogram.draw(frame.ratio, who);
    byId("p-ratio", HTMLDivElement).hidden = frame.ratio === null;
    byId("p-ratio-keys", HTMLParagraphElement).hidden = frame.ratio === null;
    const words = ratioText(frame.ratio, frame.stage, who);
    setText(byId("p-ratio-text", HTMLParagraphElement), words);
    byId("p-ratio", HTMLDivElement).setAttribute("aria-label", `Histogram of the log ratio. ${words}`);
    this.#showProgress(frame);
    const now = performance.now();
    if (this.run.phase === "running" && frame.transitions > 0 && now - this.#lastTables < TABLES_EVERY_MS) return;
    this.#lastTables = now;
    this.#showNumbers(frame);
    this.#showVisits();
    this.#showDetails();
  }

  #drawPlane() {
    const frame = this.#shown;
    if (!frame) return;
    this.plane.draw({ chains: frame.plane, what: frame.sir ? "samples" : "chains now", trails: this.#trails, chosen: this.grid.chosen });
    this.plane.describe(`Latent plane: ${integer(frame.energies.length)} ${frame.sir ? "samples" : "chains"} of ${stageName(frame.stage)} over the latents of the training images. The table below holds where they lie.`);
  }

  /** @param {PriorFrame} frame */
  #showProgress(frame) {
    const warmup = this.run.config?.warmup ?? 0;
    this.#progress.max = Math.max(1, warmup);
    this.#progress.value = frame.sir ? 1 : Math.min(frame.transitions, warmup);
    this.#progress.hidden = frame.sir !== null || warmup === 0 || frame.transitions >= warmup;
    const counted = frame.transitions - warmup;
    setText(
      byId("p-progress-text", HTMLParagraphElement),
      frame.sir ? `${integer(frame.sir.proposals)} proposals weighted` : frame.transitions === 0 ? "At the starts" : counted < 0 ? `Warm-up ${integer(frame.transitions)} of ${integer(warmup)}` : `${integer(counted)} draws per chain${warmup > 0 ? `, after ${integer(warmup)} of warm-up` : ""}`,
    );
  }

  /** @param {PriorFrame} frame */
  #showNumbers(frame) {
    const { rhat: worstRhat, bulk, tail } = worst(frame.diagnostics);
    const moved = frame.transitions > 0;
    const rows = /** @type {[string, string, string][]} */ (
      frame.sir
        ? [
            ["Weights’ ESS", compact(frame.sir.ess), `of ${integer(frame.sir.proposals)} proposals`],
            ["Different proposals", integer(frame.sir.distinct), `among ${integer(frame.energies.length)} samples`],
            ["Mean energy", energyText(mean(frame.energies) ?? NaN), `of E${subscript(frame.stage)}; low is likely`],
            ["Temperature T", tidy(frame.temperature), ""],
          ]
        : [
            ["Worst R-hat", rhat(worstRhat), "1: the chains agree; the goal is 1.01 or less"],
            ["Smallest ESS", `${compact(bulk)} · ${compact(tail)}`, "bulk · tail: equivalent independent draws"],
            ["Mean energy", energyText(mean(frame.energies) ?? NaN), `of E${subscript(frame.stage)}; low is likely`],
            [frame.tested ? "Acceptance" : "Shadow acceptance", moved ? percent(frame.acceptance) : "–", frame.tested ? "share of proposals accepted" : "of the omitted test"],
            ["T = σ²/(2a)", tidy(frame.temperature), `a = ${tidy(frame.drift)}, σ = ${tidy(frame.noise)}`],
            ["Gradients", integer(frame.gradients), "∇E per chain so far"],
          ]
    );
    fillReadings(byId("p-numbers", HTMLDListElement), rows);
    setText(byId("p-verdict", HTMLParagraphElement), this.#verdict(frame));
    const host = byId("p-diagnostics", HTMLDivElement);
    byId("p-diagnostics-part", HTMLDetailsElement).hidden = frame.sir !== null;
    host.replaceChildren(
      frame.diagnostics.length === 0
        ? make("p", { class: "hint" }, "They need at least 8 draws after the warm-up.")
        : table(["Quantity", "R-hat", "Bulk ESS", "Tail ESS"], frame.diagnostics.map((each) => [each.name, rhat(each.rhat), compact(each.bulk_ess), compact(each.tail_ess)]), "R-hat and effective sample sizes of this run"),
    );
  }

  /** @param {PriorFrame} frame */
  #verdict(frame) {
    if (frame.sir) return sirText(frame.sir, frame.energies.length);
    if (frame.transitions === 0) return "These are the starts: nothing has moved yet. Press Run.";
    if (frame.warmup || frame.diagnostics.length === 0) return "Too early to say: R-hat and ESS need draws after the warm-up.";
    if (frame.converged) return "Converged: R-hat and ESS say that the chains agree and there are enough draws.";
    return "Not converged: the chains do not agree yet, or there are too few draws. Continue the run.";
  }

  #showVisits() {
    const visits = [...this.#visits.values()].sort((a, b) => a.stage - b.stage || a.sampler.localeCompare(b.sampler));
    const host = byId("p-visits", HTMLDivElement);
    if (visits.length === 0) return host.replaceChildren(make("p", { class: "hint" }, "Every stage whose chains you run gets a row here."));
    const rows = visits.map(({ stage, sampler, frame }) => {
      const { rhat: r, bulk, tail } = worst(frame.diagnostics);
      const name = sampler === "sir" ? "SIR" : sampler.toUpperCase();
      const ess = frame.sir ? [compact(frame.sir.ess), `of ${integer(frame.sir.proposals)}`] : [compact(bulk), compact(tail)];
      return [`${stage}, ${name}`, integer(frame.transitions), rhat(r), ...ess, energyText(mean(frame.energies) ?? NaN), frame.sir ? "–" : percent(frame.acceptance), tidy(frame.temperature), integer(frame.gradients)];
    });
    host.replaceChildren(table(["Stage, sampler", "Transitions", "Worst R-hat", "Bulk ESS", "Tail ESS", "Mean energy", "Acceptance", "T", "Gradients"], rows, "Stages visited in this session, the latest run of each sampler"));
    return undefined;
  }

  #onPhase() {
    const { phase, frame } = this.run;
    const on = phase === "running" || (phase === "beginning" && this.#on);
    const [name, label] = on ? ["pause", "Pause"] : phase === "paused" && (frame?.transitions ?? 0) > 0 ? ["play", "Continue"] : ["play", "Run"];
    const { main, step, reset, seed, save } = this.#buttons;
    const loaded = this.app.model() !== null;
    const drawn = frame?.sir != null;
    const text = drawn && !on ? "Draw again" : label;
    if (main.textContent !== text) main.replaceChildren(icon(name), make("span", {}, text));
    main.disabled = seed.disabled = reset.disabled = !loaded;
    step.disabled = !loaded || drawn;
    save.disabled = frame === null;
    this.app.busy();
    if (phase === "beginning") return;
    if (phase === "running") return announce("Running.");
    if (!frame) return;
    this.#settle();
    if (phase === "done") announce(`Drawn: ${integer(frame.energies.length)} samples of ${stageName(frame.stage)}. ${this.#verdict(frame)}`);
    else announce(frame.transitions === 0 ? `At the starts of ${stageName(frame.stage)}.` : `Paused at transition ${integer(frame.transitions)}. ${this.#verdict(frame)}`);
  }

  /** The model became available or unavailable. */
  refresh() {
    this.#onPhase();
  }

  /** Updates everything for a paused grid, with the text of each sample. */
  #settle() {
    const { frame } = this.run;
    if (!frame) return;
    this.#lastTables = -Infinity;
    this.#paint(frame);
    this.app.settled();
    this.grid.describe((index) => ({ label: `Chain ${index + 1}, energy ${energyText(frame.energies[index] ?? NaN)}`, caption: "" }));
  }

  #chosen() {
    this.#showDetails();
    this.#drawPlane();
  }

  #showDetails() {
    const [frame, model, index] = [this.#shown, this.app.model(), this.grid.chosen];
    byId("p-details", HTMLElement).hidden = frame === null || index === null;
    if (!frame || !model || index === null) return;
    const title = `${frame.sir ? "Sample" : "Chain"} ${index + 1}`;
    setText(byId("p-details-title", HTMLHeadingElement), title);
    byId("p-details-picture", HTMLDivElement).replaceChildren(pictureOf(imageOf(frame.images, index, model.shape), model.shape, `${title}, enlarged`));
    const place = byEnergy(frame.energies).indexOf(index) + 1;
    byId("p-details-text", HTMLDivElement).replaceChildren(make("p", {}, make("strong", {}, `Energy ${energyText(frame.energies[index] ?? NaN)}`), `, ${place === 1 ? "the lowest" : `number ${place} from the lowest`} of ${frame.energies.length}. Position in the plane, marked by the ring: ${compact(frame.plane[2 * index])}, ${compact(frame.plane[2 * index + 1])}.`));
  }

  /** The chosen sample, else the first. */
  get chosen() {
    const [frame, model] = [this.run.frame, this.app.model()];
    if (!frame || !model) return null;
    const index = this.grid.chosen ?? 0;
    return { image: imageOf(frame.images, index, model.shape), name: `sample ${index + 1} of stage ${frame.stage}` };
  }

  /** @param {(image: Uint8Array, name: string) => void} use */
  #withChosen(use) {
    const { chosen } = this;
    if (chosen) use(chosen.image, chosen.name);
  }

  async save() {
    const [frame, model, config] = [this.run.frame, this.app.model(), this.run.config];
    if (!frame || !model || !config) throw new Failure("bad-config", "There is nothing to save yet.");
    await saveSheet(frame.images, this.grid.order, model.shape, gridName(this.app.modelName(), frame, config.seed));
  }

  /** Redraws in another theme, or after the room was hidden. */
  rebuild() {
    this.#loss.rebuild();
    this.#histogram.rebuild();
    this.plane.repaint();
  }
}
