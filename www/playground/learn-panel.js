// "Learn it live": displays how a flow and a tilt learn a density. learning.js asks the engine.

import { LinesView, looseRange } from "../charts/lines.js";
import { byId, make, setText } from "../ui/dom.js";
import { numberField } from "../ui/fields.js";
import { compact, integer } from "../ui/format.js";
import { RANGES } from "./settings.js";
import { paintSurface } from "./surface.js";

/** @import { LearnConfig, LearnFrame, Surface, TargetInfo } from "../contract/playground.js" */
/** @import { NumberField } from "../ui/fields.js" */

/** Maximum points of the loss chart; longer histories are averaged. */
const POINTS = 400;

export class LearnPanel {
  #start = byId("learn-start", HTMLButtonElement);
  #stop = byId("learn-stop", HTMLButtonElement);
  #run = byId("learn-run", HTMLButtonElement);
  #text = byId("learn-text", HTMLParagraphElement);
  #progress = byId("learn-progress", HTMLProgressElement);
  #loss;
  #kl;
  #source = make("select", { id: "f-learn-from" });
  /** @type {Map<keyof LearnConfig, NumberField>} */
  #fields = new Map();
  /** @type {LearnConfig | null} */
  #config = null;
  /** @type {number[]} */
  #losses = [];
  /** @type {{ at: number[], flow: (number | null)[], model: (number | null)[] }} */
  #divergences = { at: [], flow: [], model: [] };
  /** @type {{ learn: Surface | null, now: Surface | null }} */
  #surfaces = { learn: null, now: null };

  /**
   * @param {object} listeners
   * @param {() => void} listeners.onStart
   * @param {() => void} listeners.onStop
   * @param {() => void} listeners.onRun
   * @param {(config: LearnConfig) => void} listeners.onChange
   */
  constructor({ onStart, onStop, onRun, onChange }) {
    /** @param {Partial<LearnConfig>} part */
    const change = (part) => {
      if (!this.#config) return;
      this.#config = { ...this.#config, ...part };
      onChange(this.#config);
    };
    byId("learn-form", HTMLFormElement).addEventListener("submit", (event) => event.preventDefault());
    this.#start.addEventListener("click", onStart);
    this.#stop.addEventListener("click", onStop);
    this.#run.addEventListener("click", onRun);
    this.#source.addEventListener("change", () => change({ target: this.#source.value }));
    /** @type {[keyof LearnConfig, keyof typeof RANGES, string][]} */
    const numbers = [
      ["flow_iterations", "iterations", "Flow iterations"],
      ["tilt_iterations", "iterations", "Tilt iterations"],
      ["steps", "steps", "Coupling steps"],
      ["hidden", "hidden", "Hidden width"],
      ["seed", "seed", "Seed"],
    ];
    const host = byId("learn-fields", HTMLDivElement);
    host.append(make("div", { class: "field" }, make("label", { for: "f-learn-from" }, "Learn from draws of"), this.#source));
    for (const [key, range, label] of numbers) {
      const field = numberField({ id: `f-learn-${key.replaceAll("_", "-")}`, label, range: RANGES[range], onChange: (value) => change({ [key]: Number(value) }) });
      this.#fields.set(key, field);
      host.append(field.element);
    }
    this.#loss = new LinesView(byId("loss-plot", HTMLDivElement), byId("loss-table", HTMLDivElement), { xLabel: "iteration", caption: "Loss over the iterations, in nats", range: looseRange });
    this.#kl = new LinesView(byId("kl-plot", HTMLDivElement), byId("kl-table", HTMLDivElement), { xLabel: "iteration", caption: "Kullback–Leibler divergences over the iterations, in nats", range: (values) => [0, looseRange(values)[1]] });
    for (const id of ["learn-true", "learn-now"]) new ResizeObserver(() => this.repaint()).observe(byId(id, HTMLDivElement));
  }

  /** @param {TargetInfo[]} targets */
  offer(targets) {
    this.#source.replaceChildren(...targets.filter(({ dim, name }) => dim === 2 && name !== "learned").map(({ title, name }) => new Option(title, name)));
    if (this.#config) this.show(this.#config);
  }

  /** @param {LearnConfig} config */
  show(config) {
    this.#config = config;
    this.#source.value = config.target;
    for (const [key, field] of this.#fields) field.show(Number(config[key]));
  }

  /** @param {"idle" | "busy" | "done"} state */
  state(state) {
    this.#start.disabled = state === "busy";
    this.#stop.disabled = state !== "busy";
    this.#run.disabled = state !== "done";
    this.#progress.hidden = state !== "busy";
  }

  /** @param {Surface | null} truth */
  begin(truth) {
    this.#losses = [];
    this.#divergences = { at: [], flow: [], model: [] };
    this.#surfaces = { learn: truth, now: null };
    byId("learning", HTMLDivElement).hidden = false;
    this.repaint();
  }

  /** @param {LearnFrame} frame @param {LearnConfig} config */
  push(frame, config) {
    for (const loss of frame.losses) this.#losses.push(loss);
    const done = frame.stage === "flow" ? frame.iteration : config.flow_iterations + (frame.stage === "done" ? config.tilt_iterations : frame.iteration);
    if (frame.kl_flow !== null || frame.kl_model !== null) {
      this.#divergences.at.push(done);
      this.#divergences.flow.push(frame.kl_flow);
      this.#divergences.model.push(frame.kl_model);
    }
    if (frame.surface) this.#surfaces.now = frame.surface;
    this.#progress.value = done / (config.flow_iterations + config.tilt_iterations);
    const newest = (/** @type {(number | null)[]} */ values) => values.findLast((value) => value !== null) ?? null;
    const kls = `KL(data‖flow) ${compact(newest(this.#divergences.flow))}, KL(data‖model) ${compact(newest(this.#divergences.model))} nats`;
    const where = { flow: `Flow, ${integer(frame.iteration)} of ${integer(frame.of)}`, tilt: `Tilt, ${integer(frame.iteration)} of ${integer(frame.of)}`, done: "Learned" }[frame.stage];
    setText(this.#text, `${where}. ${kls}.`);
    this.#drawCharts();
    this.repaint();
  }

  /** @param {string} text */
  tell(text) {
    setText(this.#text, text);
  }

  #drawCharts() {
    const block = Math.max(1, Math.ceil(this.#losses.length / POINTS));
    const count = Math.floor(this.#losses.length / block);
    const means = Array.from({ length: count }, (_, i) => this.#losses.slice(i * block, (i + 1) * block).reduce((a, b) => a + b, 0) / block);
    this.#loss.draw(means.map((_, i) => (i + 1) * block), [{ label: "loss", colour: "--ink", values: means }]);
    const { at, flow, model } = this.#divergences;
    this.#kl.draw(at, [
      { label: "KL(data‖flow)", colour: "--a", values: flow },
      { label: "KL(data‖model)", colour: "--b", values: model, dash: [6, 3] },
    ]);
  }

  /** Another theme. */
  rebuild() {
    this.#loss.rebuild();
    this.#kl.rebuild();
    this.repaint();
  }

  repaint() {
    for (const [id, surface] of /** @type {const} */ ([["learn-true", this.#surfaces.learn], ["learn-now", this.#surfaces.now]])) {
      const host = byId(id, HTMLDivElement);
      const canvas = host.querySelector("canvas");
      const size = host.clientWidth;
      const context = canvas?.getContext("2d");
      if (!canvas || !context || size === 0) continue;
      canvas.width = canvas.height = Math.round(size * devicePixelRatio);
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      context.clearRect(0, 0, size, size);
      if (surface) paintSurface(context, surface, { x: 0, y: 0, width: size, height: size });
    }
  }
}
