// All displays of the run: surfaces, traces, numbers, and the charts that the engine computes from all
// draws. Each is redrawn as often as its cost allows.

import { LinesView, rhatRange } from "../charts/lines.js";
import { ROUND } from "../charts/parts.js";
import { TraceStore } from "../charts/store.js";
import { TraceChart } from "../charts/trace.js";
import { byId, setText, table } from "../ui/dom.js";
import { capital, compact, integer, rhat } from "../ui/format.js";
import { Numbers } from "./numbers.js";
import { RanksView } from "./ranks.js";
import { MIN_DRAWS, NAMES } from "./room.js";
import { SurfaceView } from "./surface.js";

/** @import { Marginal, PlayFrame } from "../contract/playground.js" */
/** @import { Session } from "../engine/session.js" */
/** @import { Room } from "./room.js" */
/** @import { SideStore } from "./store.js" */
/** @import { View } from "./surface.js" */

/** Maximum lines in a trace; more would be unreadable and slow. */
const MAX_LINES = 48;
/** Minimum time between drawings of the traces, which cost more than points. */
const TRACE_EVERY_MS = 90;
/** Share of the time that the traces may take. */
const TRACE_SHARE = 0.25;
const DESCRIBE_EVERY_MS = 1500;
/** With reduced motion, the picture still changes, but slowly enough not to flicker. */
const CALM_EVERY_MS = 600;
/** Maximum chains in the table of positions. */
const MAX_ROWS = 50;
const BINS = 20;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
/** The ids of a side's parts. @param {number} index */
const nameOf = (index) => NAMES[index] ?? "a";

export class Views {
  #room;
  #session;
  #pathOf;
  /** @type {TraceStore[]} */
  #stores = [];
  #request = 0;
  #last = { surface: 0, trace: 0, words: 0 };
  #traceCost = 0;
  #charting = false;
  #chartAgain = false;
  #scrub = byId("scrub", HTMLInputElement);
  /** Whether the slider is being dragged; if so, it is not moved. */
  scrubbing = false;
  #surfaces;
  #traces = NAMES.map(
    (name) =>
      new TraceChart(
        { plot: byId(`${name}-trace-plot`, HTMLDivElement), readout: byId(`${name}-readout`, HTMLElement), table: byId(`${name}-trace-table`, HTMLDivElement) },
        { colour: `--${name}`, alpha: 0.5, height: 236, sync: "play", where: "", axes: { x: { size: 28, gap: 5 }, y: { size: 46, gap: 5, incrs: ROUND } } },
      ),
  );
  #ranks = NAMES.map((name) => new RanksView(name, byId(`${name}-ranks-plot`, HTMLDivElement), byId(`${name}-ranks-table`, HTMLDivElement)));
  #running = NAMES.map((name) => new LinesView(byId(`${name}-running-plot`, HTMLDivElement), byId(`${name}-running-table`, HTMLDivElement), { xLabel: "draws per chain", caption: "R-hat by draws per chain", range: rhatRange, goal: 1.01, text: rhat }));
  #auto = NAMES.map((name) => new LinesView(byId(`${name}-auto-plot`, HTMLDivElement), byId(`${name}-auto-table`, HTMLDivElement), { xLabel: "lag", caption: "Autocorrelation of the first chains", range: (values) => [values.reduce((a, b) => Math.min(a, b), -0.25), 1.02], goal: 0 }));
  #numbers;

  /**
   * @param {Room} room
   * @param {Session<"play">} session
   * @param {object} listeners
   * @param {(chain: number | null, side: number) => void} listeners.onPick
   * @param {(side: number) => void} listeners.onMatch
   * @param {(side: number) => void} listeners.onTest
   * @param {(side: number) => View["path"]} listeners.pathOf
   * @param {() => number} listeners.era frames and charts requested in an earlier era belong to older chains
   */
  constructor(room, session, { onPick, onMatch, onTest, pathOf, era }) {
    this.#room = room;
    this.#session = session;
    this.#pathOf = pathOf;
    this.era = era;
    this.#surfaces = NAMES.map((name, index) => new SurfaceView(byId(`${name}-surface`, HTMLDivElement), name, (chain) => onPick(chain, index)));
    this.#numbers = new Numbers({ onMatch, onTest });
    NAMES.forEach((name, index) => {
      byId(`${name}-chains-table`, HTMLDivElement).closest("details")?.addEventListener("toggle", () => this.#describe());
      byId(`${name}-trace-table`, HTMLDivElement).closest("details")?.addEventListener("toggle", () => this.#traces[index]?.fillTable());
    });
  }

  get charting() {
    return this.#charting;
  }

  /** Clears the panels for a new run. */
  start() {
    const { info, samplers } = this.#room;
    if (!info) return;
    const { config, target } = info;
    const sides = config.sides.length;
    byId("room", HTMLElement).dataset.sides = String(sides);
    for (const part of ["figure", "trace", "ranks", "running", "auto"]) byId(`b-${part}`, HTMLElement).toggleAttribute("data-absent", sides < 2);
    for (const id of ["b-head-cell", "path-side-field", "check-side-field"]) byId(id, HTMLElement).toggleAttribute("data-absent", sides < 2);
    if (sides < 2) byId("path-side", HTMLSelectElement).value = byId("check-side", HTMLSelectElement).value = "0";
    this.#freshTraces();
    config.sides.forEach(({ sampler, space }, index) => {
      const title = samplers.find(({ name }) => name === sampler.sampler)?.title ?? sampler.sampler;
      setText(byId(`${nameOf(index)}-title`, HTMLSpanElement), capital(target.name === "learned" ? `${title}, ${space === "latent" ? "latent space" : "data space"}` : title));
      this.#surfaces[index]?.start(info, /** @type {SideStore} */ (this.#room.stores[index]), title);
    });
    this.#emptyCharts();
  }

  #freshTraces() {
    const { info } = this.#room;
    if (!info) return;
    const { config, traced } = info;
    this.#stores = config.sides.map(({ sampler }) => new TraceStore(Math.min(config.chains, MAX_LINES), traced, sampler.warmup));
    this.#stores.forEach((store, index) => this.#traces[index]?.start(store));
  }

  /** The room has a new frame. @param {PlayFrame} frame */
  push(frame) {
    if (frame.replayed) this.#freshTraces();
    const chains = this.#room.info?.config.chains ?? 0;
    frame.sides.forEach(({ clock, transitions, clocks, values }, index) => {
      const store = this.#stores[index];
      store?.push({ gradients: clock, transitions, trace_clock: clocks, traces: chains > store.chains ? fewer(values, chains, store.chains) : values });
    });
    document.documentElement.dataset.clock = String(this.#room.clock);
    this.#request ||= requestAnimationFrame(() => this.draw());
  }

  /** Makes the next drawing redraw everything. */
  hurry() {
    this.#last = { surface: -Infinity, trace: -Infinity, words: -Infinity };
  }

  /** The displayed quantity or chain changed; descriptions may lag. */
  hurryPictures() {
    this.#last.surface = this.#last.trace = -Infinity;
  }

  draw() {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
    if (!this.#room.frame || !this.#room.info) return;
    const now = performance.now();
    if (!calm.matches || now - this.#last.surface > CALM_EVERY_MS) {
      this.#last.surface = now;
      this.drawSurfaces();
    }
    if (now - this.#last.trace > Math.max(TRACE_EVERY_MS, this.#traceCost / TRACE_SHARE)) {
      this.#last.trace = now;
      this.#drawTraces();
      this.#showNumbers();
      this.#traceCost = performance.now() - now;
    }
    if (now - this.#last.words > DESCRIBE_EVERY_MS) {
      this.#last.words = now;
      this.#describe();
    }
  }

  drawSurfaces() {
    this.#room.frame?.sides.forEach((side, index) => this.#surfaces[index]?.draw(side, { chain: this.#room.state.chain, path: this.#pathOf(index) }));
  }

  #drawTraces() {
    const { frame, info, quantity: name, state, statistics } = this.#room;
    const end = Math.max(20, ...this.#stores.map((store) => store.clock.at(-1) ?? 0));
    // One scale for both sides, so that differences are visible.
    const ranges = this.#stores.map((store) => store.range(name)).filter((range) => range !== null);
    const range = ranges.length > 0 ? /** @type {[number, number]} */ ([Math.min(...ranges.map(([least]) => least)), Math.max(...ranges.map(([, most]) => most))]) : null;
    this.#stores.forEach((store, index) => {
      const trace = this.#traces[index];
      trace?.draw({ name, chain: state.chain !== null && state.chain < store.chains ? state.chain : null, end, range });
      trace?.fillTable();
    });
    NAMES.forEach((side, index) => {
      const own = statistics[index]?.summaries.find((candidate) => candidate.name === name);
      const warming = frame?.sides[index]?.warming_up;
      const number = own?.rhat !== null && own ? rhat(own.rhat) : own?.status.kind === "not_converged" ? "∞" : own?.status.kind === "constant" ? "– (constant)" : warming === false ? "– (too few draws)" : "after warm-up";
      setText(byId(`${side}-badge`, HTMLSpanElement), `R-hat ${number}`);
      const some = (info?.config.chains ?? 0) > MAX_LINES ? ` The first ${MAX_LINES} chains are drawn.` : "";
      byId(`${side}-trace-plot`, HTMLDivElement).setAttribute("aria-label", `Trace of ${name}, side ${index + 1}, one line per chain. R-hat ${number}.${some} The table below holds the same values.`);
    });
  }

  #showNumbers() {
    const { frame, info, clock, farthest, sides } = this.#room;
    const first = frame?.sides[0];
    if (!first || !info) return;
    setText(byId("clock", HTMLElement), integer(clock));
    const warmup = info.config.sides[0]?.sampler.warmup ?? 0;
    const warming = first.warming_up && warmup > 0;
    setText(byId("phase-label", HTMLElement), warming ? "Warm-up" : "Draws");
    setText(byId("phase", HTMLElement), warming ? `${integer(first.transitions)} of ${integer(warmup)}` : integer(Math.max(0, first.transitions - warmup)));
    this.#scrub.max = String(Math.max(1, farthest));
    if (!this.scrubbing) this.#scrub.value = String(clock);
    this.#scrub.setAttribute("aria-valuetext", `${integer(clock)} of ${integer(farthest)} gradients`);
    this.#scrub.style.setProperty("--share", String(clock / Math.max(1, farthest)));
    this.#numbers.show(sides, info);
  }

  /** Descriptions of the pictures, and the open tables. */
  #describe() {
    const { frame, info, stores } = this.#room;
    this.#surfaces.forEach((view, index) => {
      if (index < stores.length) view.describe();
    });
    this.#ranks.forEach((view) => view.describe());
    frame?.sides.forEach((side, index) => {
      const host = byId(`${nameOf(index)}-chains-table`, HTMLDivElement);
      if (!host.closest("details")?.open || !info) return;
      const [first = "x", second = "y"] = info.target.coordinates;
      const chains = Math.min(MAX_ROWS, side.energies.length);
      const rows = Array.from({ length: chains }, (_, chain) => [String(chain + 1), compact(side.positions[2 * chain], 4), compact(side.positions[2 * chain + 1], 4), compact(side.energies[chain], 4)]);
      const exactOnes = [0, 1].flatMap((axis) => {
        const exact = info.marginals.find(({ name }) => name === info.target.coordinates[axis]);
        const own = stores[index]?.moments(/** @type {0 | 1} */ (axis));
        return exact ? [[exact.name, compact(own?.mean, 4), meanText(exact), compact(own?.sd, 4), compact(exact.sd, 4)]] : [];
      });
      host.replaceChildren(
        ...(exactOnes.length > 0 ? [table(["Marginal", "mean of draws", "exact mean", "SD of draws", "exact SD"], exactOnes, "Marginals: draws after warm-up against the exact distribution")] : []),
        table(["Chain", first, second, "E"], rows, `Positions of ${chains} of ${side.energies.length} chains now`),
      );
    });
  }

  /** Ranks, running R-hat, and the autocorrelation if open. */
  async updateCharts() {
    this.#chartAgain = true;
    if (this.#charting) return;
    this.#charting = true;
    try {
      while (this.#chartAgain && this.#room.info) {
        this.#chartAgain = false;
        const [own, name] = [this.era(), this.#room.quantity];
        for (let index = 0; index < this.#room.stores.length; index += 1) {
          if ((this.#room.stores[index]?.kept ?? 0) < MIN_DRAWS) {
            this.#emptyCharts(index);
            continue;
          }
          if (this.#room.shows("ranks")) {
            const chart = await this.#session.ask("chart", index, "ranks", name);
            if (own !== this.era()) return;
            if (chart.kind === "ranks") this.#ranks[index]?.draw(chart, this.#room.state.chain);
          }
          if (this.#room.shows("running")) {
            const chart = await this.#session.ask("chart", index, "running", name);
            if (own !== this.era()) return;
            if (chart.kind === "running") this.#drawRunning(index, chart);
          }
          if (this.#room.shows("autocorrelation") && byId("auto", HTMLDetailsElement).open) {
            const chart = await this.#session.ask("chart", index, "autocorrelation", name);
            if (own !== this.era()) return;
            if (chart.kind === "autocorrelation") this.#drawAutocorrelation(index, chart.lags);
          }
        }
      }
    } finally {
      this.#charting = false;
    }
  }

  /** @param {number} [only] */
  #emptyCharts(only) {
    const chains = this.#room.info?.config.chains ?? 0;
    this.#room.stores.forEach((_, index) => {
      if (only !== undefined && only !== index) return;
      this.#ranks[index]?.draw({ bins: BINS, counts: Array.from({ length: chains }, () => Array.from({ length: BINS }, () => 0)), expected: 0 }, this.#room.state.chain);
      this.#drawRunning(index, { draws: [], rhat: [], nested: [] });
      this.#drawAutocorrelation(index, []);
      byId(`${nameOf(index)}-ranks-plot`, HTMLDivElement).setAttribute("aria-label", "Rank plot: no draws after warm-up yet.");
    });
  }

  /** @param {number} index @param {{ draws: number[], rhat: (number | null)[], nested: (number | null)[] }} chart */
  #drawRunning(index, { draws, rhat: values, nested }) {
    const name = nameOf(index);
    this.#running[index]?.draw(draws, [{ label: "R-hat", colour: `--${name}`, values }, ...(nested.some((value) => value !== null) ? [{ label: "nested R-hat (dashed)", colour: "--ink", dash: [5, 4], values: nested }] : [])]);
    const last = values.at(-1);
    byId(`${name}-running-plot`, HTMLDivElement).setAttribute("aria-label", last === undefined ? "Running R-hat: no draws after warm-up yet." : `R-hat of ${this.#room.quantity} by draws per chain: ${rhat(last)} after ${integer(draws.at(-1) ?? 0)} draws. Dotted line: the goal, 1.01.`);
  }

  /** @param {number} index @param {number[][]} lags */
  #drawAutocorrelation(index, lags) {
    const name = nameOf(index);
    this.#auto[index]?.draw(
      Array.from({ length: lags[0]?.length ?? 0 }, (_, lag) => lag),
      lags.map((values, chain) => ({ label: `chain ${chain + 1}`, colour: chain === this.#room.state.chain ? "--ink" : `--${name}`, values })),
    );
    byId(`${name}-auto-plot`, HTMLDivElement).setAttribute("aria-label", lags.length === 0 ? "Autocorrelation: no draws after warm-up yet." : `Autocorrelation of ${this.#room.quantity} in the first ${lags.length} chains, up to lag ${(lags[0]?.length ?? 1) - 1}.`);
  }

  /** Panels were shown or hidden. */
  repaintSurfaces() {
    for (const view of this.#surfaces) view.repaint();
  }

  /** Redraws in another theme. */
  rebuild() {
    this.repaintSurfaces();
    for (const view of [...this.#traces, ...this.#ranks, ...this.#running, ...this.#auto]) view.rebuild();
  }
}

/** The first chains only. @param {Record<string, Float32Array>} values @param {number} chains @param {number} few */
function fewer(values, chains, few) {
  return Object.fromEntries(
    Object.entries(values).map(([name, all]) => [name, Float32Array.from({ length: (all.length / chains) * few }, (_, i) => all[Math.floor(i / few) * chains + (i % few)] ?? NaN)]),
  );
}

/** The mean, with rounding errors of the quadrature set to 0. @param {Marginal} marginal */
function meanText({ mean, sd }) {
  return compact(Math.abs(mean) < 1e-9 * sd ? 0 : mean, 4);
}
