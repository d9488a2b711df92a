// The charts under the surfaces: traces, ranks, and small line charts, each with a table twin.

import uPlot from "./vendor/uPlot.esm.js";
import { make, setText, table } from "./dom.js";
import { axisLabel, compact, integer, rhat } from "./format.js";
import { faded } from "./play-surface.js";
import { colour } from "./theme.js";
import { median } from "./traces.js";

/** @import { TraceStore } from "./traces.js" */

const TRACE_HEIGHT = 236;
const SMALL_HEIGHT = 172;
const TABLE_ROWS = 16;
const FONT = "12px system-ui, sans-serif";
/** What the cursor shows on one side, it shows on the other. */
const SYNC = "play";
/** Steps between labels where there is no half of a thing. */
const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
/** Steps of the other axes. uPlot's own have 2.5 among them, whose ticks would need another decimal. */
const ROUND = Array.from({ length: 17 }, (_, power) => [1, 2, 5].map((step) => Number(`${step}e${power - 7}`))).flat();
/** Rank plots beyond this many chains would be too small to read. */
const RANKED = 24;

/** @typedef {"a" | "b"} SideName */

/** Widths follow the layout. @param {HTMLElement} host @param {() => uPlot | null} plot @param {number} height */
function fit(host, plot, height) {
  new ResizeObserver(() => {
    if (host.clientWidth > 0) plot()?.setSize({ width: host.clientWidth, height });
  }).observe(host);
}

function axisStyle() {
  return { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
}

export class TraceView {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {TraceStore | null} */
  #store = null;
  #view = { name: "energy", chain: /** @type {number | null} */ (null), end: 1, range: /** @type {[number, number] | null} */ (null) };

  /**
   * @param {SideName} side
   * @param {object} parts
   * @param {HTMLElement} parts.plot
   * @param {HTMLElement} parts.readout
   * @param {HTMLElement} parts.table
   */
  constructor(side, parts) {
    this.side = side;
    this.parts = parts;
    fit(parts.plot, () => this.#plot, TRACE_HEIGHT);
  }

  /** @param {TraceStore} store */
  start(store) {
    this.#store = store;
    this.rebuild();
  }

  /** The colours are read once per plot, so a new theme means a new plot. */
  rebuild() {
    if (!this.#store) return;
    this.#plot?.destroy();
    this.#plot = new uPlot(this.#options(this.#store.chains), this.#data(), this.parts.plot);
  }

  /**
   * @param {object} view
   * @param {string} view.name
   * @param {number | null} view.chain
   * @param {number} view.end right edge, the same on both sides
   * @param {[number, number] | null} view.range
   */
  draw(view) {
    this.#view = view;
    this.#plot?.setData(this.#data(), true);
    this.#read();
    if (this.parts.table.closest("details")?.open) this.fillTable();
  }

  /** @returns {uPlot.AlignedData} */
  #data() {
    const store = this.#store;
    const lines = store?.values.get(this.#view.name) ?? Array.from({ length: store?.chains ?? 0 }, () => []);
    return [store?.clock ?? [], ...lines];
  }

  /** @param {number} chains @returns {uPlot.Options} */
  #options(chains) {
    const line = faded(colour(`--${this.side}`), chains > 24 ? 0.3 : 0.5);
    const ink = colour("--ink");
    return {
      width: this.parts.plot.clientWidth || 320,
      height: TRACE_HEIGHT,
      legend: { show: false },
      padding: [12, 12, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { setScale: false, x: false, y: false }, sync: { key: SYNC } },
      scales: { x: { time: false, range: () => [0, this.#view.end] }, y: { range: () => padded(this.#view.range) } },
      axes: [
        { ...axisStyle(), size: 28, gap: 5, label: "∇E per chain", labelSize: 20, labelFont: FONT, incrs: WHOLE, values: (_, ticks) => ticks.map(integer) },
        { ...axisStyle(), size: 46, gap: 5, incrs: ROUND, values: (_, ticks, _axis, _space, increment) => ticks.map((tick) => axisLabel(tick, increment)) },
      ],
      series: [{}, ...Array.from({ length: chains }, () => ({ stroke: line, points: { show: false }, width: 1 }))],
      hooks: {
        drawClear: [(plot) => this.#shade(plot)],
        draw: [(plot) => this.#emphasise(plot, ink)],
        setCursor: [() => this.#read()],
      },
    };
  }

  /** @param {uPlot} plot */
  #shade(plot) {
    const store = this.#store;
    if (!store || store.warmup === 0) return;
    const { ctx, bbox } = plot;
    const end = Math.min(store.warmupEnd ?? this.#view.end, this.#view.end);
    const right = Math.min(plot.valToPos(end, "x", true), bbox.left + bbox.width);
    if (right <= bbox.left) return;
    ctx.save();
    ctx.fillStyle = colour("--shade");
    ctx.fillRect(bbox.left, bbox.top, right - bbox.left, bbox.height);
    ctx.fillStyle = colour("--muted");
    ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
    [ctx.textAlign, ctx.textBaseline] = ["left", "bottom"];
    if (right - bbox.left > ctx.measureText("warm-up").width + 16 * devicePixelRatio) {
      ctx.fillText("warm-up", bbox.left + 8 * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
    }
    ctx.restore();
  }

  /**
   * The chosen chain once more, on top and wider: told by weight, not by colour alone.
   * @param {uPlot} plot
   * @param {string} ink
   */
  #emphasise(plot, ink) {
    const line = this.#view.chain === null ? undefined : plot.data[this.#view.chain + 1];
    if (!line) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.beginPath();
    plot.data[0].forEach((clock, draw) => {
      const value = line[draw];
      if (value === null || value === undefined || !Number.isFinite(value)) return;
      ctx.lineTo(plot.valToPos(clock, "x", true), plot.valToPos(value, "y", true));
    });
    ctx.strokeStyle = ink;
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.stroke();
    ctx.restore();
  }

  /** One line of text under the chart: the draw below the cursor, or the last one. */
  #read() {
    const store = this.#store;
    if (!store || store.clock.length === 0) return setText(this.parts.readout, "No draws yet.");
    const { name, chain } = this.#view;
    const at = this.#plot?.cursor.idx ?? store.clock.length - 1;
    const values = (store.values.get(name) ?? []).map((line) => line[at] ?? NaN).filter(Number.isFinite);
    values.sort((a, b) => a - b);
    const own = chain === null ? undefined : store.values.get(name)?.[chain]?.[at];
    const followed = own === undefined || chain === null ? "" : ` · chain ${chain + 1}: ${compact(own, 4)}`;
    setText(this.parts.readout, `∇E ${integer(store.clock[at] ?? 0)} · median ${compact(median(values), 4)} · chains ${compact(values[0], 4)} to ${compact(values.at(-1), 4)}${followed}`);
  }

  fillTable() {
    const store = this.#store;
    if (!store || store.clock.length === 0) return this.parts.table.replaceChildren(make("p", { class: "hint" }, "No draws yet."));
    const { name, chain } = this.#view;
    const head = ["∇E per chain", "lowest", "median", "highest", ...(chain === null ? [] : [`chain ${chain + 1}`])];
    const rows = store
      .table(name, TABLE_ROWS)
      .map((row) => [integer(row.clock), compact(row.least, 4), compact(row.median, 4), compact(row.most, 4), ...(chain === null ? [] : [compact(row.chains[chain], 4)])]);
    this.parts.table.replaceChildren(table(head, rows, `${name} over the chains at ${rows.length} of ${integer(store.draws)} draws`));
  }
}

/**
 * A line of a small chart.
 * @typedef {object} Line
 * @property {string} label
 * @property {string} colour a custom property
 * @property {number[]} [dash]
 * @property {(number | null)[]} values
 */

export class LinesView {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {{ x: number[], lines: Line[] }} */
  #data = { x: [], lines: [] };
  #shape = "";

  /**
   * @param {HTMLElement} host
   * @param {HTMLElement} twin
   * @param {object} style
   * @param {string} style.xLabel
   * @param {string} style.caption of the table
   * @param {(values: number[]) => [number, number]} style.range
   * @param {number} [style.goal] a level line
   * @param {(value: number | null) => string} [style.text]
   * @param {number} [style.right] room beside the plot, where the last label is long
   * @param {(plot: uPlot) => void} [style.over] draws what lines cannot say
   */
  constructor(host, twin, style) {
    this.host = host;
    this.twin = twin;
    this.style = style;
    fit(host, () => this.#plot, SMALL_HEIGHT);
    twin.closest("details")?.addEventListener("toggle", () => this.fillTable());
  }

  /** @param {number[]} x @param {Line[]} lines */
  draw(x, lines) {
    this.#data = { x, lines };
    const shape = lines.map(({ label, colour: name }) => `${label}/${name}`).join();
    if (!this.#plot || shape !== this.#shape) {
      this.#shape = shape;
      this.rebuild();
    } else this.#plot.setData(this.#aligned());
    this.fillTable();
  }

  rebuild() {
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#shape === "") return;
    this.#plot = new uPlot(this.#options(), this.#aligned(), this.host);
  }

  /** @returns {uPlot.AlignedData} */
  #aligned() {
    const { x, lines } = this.#data;
    return /** @type {uPlot.AlignedData} */ ([x, ...lines.map(({ values }) => values)]);
  }

  /** @returns {uPlot.Options} */
  #options() {
    const { style } = this;
    return {
      width: this.host.clientWidth || 320,
      height: SMALL_HEIGHT,
      legend: { show: false },
      padding: [10, style.right ?? 12, 0, 0],
      cursor: { show: false },
      scales: {
        x: { time: false, range: (_, from, to) => [Math.min(0, from ?? 0), Math.max(to ?? 1, 1)] },
        y: { range: () => style.range(this.#data.lines.flatMap(({ values }) => values.filter((value) => value !== null).filter(Number.isFinite))) },
      },
      axes: [
        { ...axisStyle(), size: 26, gap: 5, label: style.xLabel, labelSize: 20, labelFont: FONT, incrs: WHOLE, values: (_, ticks) => ticks.map(integer) },
        { ...axisStyle(), size: 46, gap: 5, incrs: ROUND, values: (_, ticks, _axis, _space, increment) => ticks.map((tick) => axisLabel(tick, increment)) },
      ],
      series: [{}, ...this.#data.lines.map((line) => ({ stroke: colour(line.colour), width: 1.8, points: { show: false }, spanGaps: true, ...(line.dash ? { dash: line.dash } : {}) }))],
      hooks: { drawClear: [(plot) => this.#level(plot)], draw: [(plot) => style.over?.(plot)] },
    };
  }

  /** @param {uPlot} plot */
  #level(plot) {
    const { goal } = this.style;
    if (goal === undefined) return;
    const { ctx, bbox } = plot;
    const y = plot.valToPos(goal, "y", true);
    if (y < bbox.top || y > bbox.top + bbox.height) return;
    ctx.save();
    ctx.strokeStyle = colour("--ink");
    ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  }

  fillTable() {
    if (!this.twin.closest("details")?.open) return;
    const { x, lines } = this.#data;
    if (x.length === 0) return this.twin.replaceChildren(make("p", { class: "hint" }, "Nothing yet."));
    const text = this.style.text ?? ((/** @type {number | null} */ value) => compact(value));
    const count = Math.min(TABLE_ROWS, x.length);
    const rows = Array.from({ length: count }, (_, row) => {
      const at = count === 1 ? 0 : Math.round((row * (x.length - 1)) / (count - 1));
      return [integer(x[at] ?? 0), ...lines.map(({ values }) => text(values[at] ?? null))];
    });
    this.twin.replaceChildren(table([this.style.xLabel, ...lines.map(({ label }) => label)], rows, this.style.caption));
  }
}

/** R-hat's axis: its goal always in sight, and never squeezed by a bad beginning. @param {number[]} values @returns {[number, number]} */
export function rhatRange(values) {
  const late = values.slice(Math.floor(values.length / 3));
  return [0.99, Math.min(6, Math.max(1.06, 1 + 1.15 * (late.reduce((a, b) => Math.max(a, b), 1) - 1)))];
}

/** @param {number[]} values @returns {[number, number]} */
export function looseRange(values) {
  if (values.length === 0) return [0, 1];
  const sorted = values.toSorted((a, b) => a - b);
  // The first losses of a fresh network would flatten all that follows.
  const [least, most] = [sorted[0] ?? 0, sorted[Math.floor(0.98 * (sorted.length - 1))] ?? 1];
  const pad = 0.08 * (most - least) || 0.1;
  return [least - pad, most + pad];
}

export const rhatText = rhat;

export class RanksView {
  /** @type {{ bins: number, counts: number[][], expected: number } | null} */
  #chart = null;
  #chain = /** @type {number | null} */ (null);

  /** @param {SideName} side @param {HTMLElement} host @param {HTMLElement} twin */
  constructor(side, host, twin) {
    this.side = side;
    this.host = host;
    this.twin = twin;
    const canvas = host.querySelector("canvas");
    if (!canvas) throw new Error("The rank plot has no canvas.");
    this.canvas = canvas;
    let width = 0;
    new ResizeObserver(() => {
      if (host.clientWidth !== width) this.rebuild();
      width = host.clientWidth;
    }).observe(host);
    twin.closest("details")?.addEventListener("toggle", () => this.fillTable());
  }

  /** @param {{ bins: number, counts: number[][], expected: number }} chart @param {number | null} chain */
  draw(chart, chain) {
    [this.#chart, this.#chain] = [chart, chain];
    this.rebuild();
    this.fillTable();
  }

  rebuild() {
    const [chart, context] = [this.#chart, this.canvas.getContext("2d")];
    const width = this.host.clientWidth;
    if (!chart || !context || width === 0) return;
    const shown = chart.counts.slice(0, RANKED);
    const columns = Math.min(shown.length, width < 340 ? 4 : shown.length <= 12 ? 6 : 8);
    const rows = Math.ceil(shown.length / columns);
    const [gap, cell] = [10, 46];
    const height = rows * (cell + gap + 14);
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.canvas.style.height = `${height}px`;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    const each = (width - gap * (columns - 1)) / columns;
    const [own, ink, muted] = [colour(`--${this.side}`), colour("--ink"), colour("--muted")];
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    shown.forEach((counts, chain) => {
      const left = (chain % columns) * (each + gap);
      const bottom = Math.floor(chain / columns) * (cell + gap + 14) + cell;
      const bar = each / chart.bins;
      // Twice the expected height is the top: what is higher is cut off, and plainly not level.
      const scale = chart.expected > 0 ? cell / (2.6 * chart.expected) : 0;
      context.fillStyle = faded(own, chain === this.#chain ? 1 : 0.6);
      counts.forEach((count, bin) => context.fillRect(left + bin * bar, bottom - Math.min(cell, count * scale), Math.max(1, bar - 0.5), Math.min(cell, count * scale)));
      context.fillStyle = muted;
      context.fillRect(left, bottom, each, 1);
      context.fillStyle = chain === this.#chain ? ink : muted;
      context.fillText(String(chain + 1), left, bottom + 3);
      if (chart.expected === 0) return;
      context.strokeStyle = ink;
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(left, Math.round(bottom - chart.expected * scale) + 0.5);
      context.lineTo(left + each, Math.round(bottom - chart.expected * scale) + 0.5);
      context.stroke();
      context.setLineDash([]);
    });
  }

  /** Share of the chains whose ranks pile up: a bin beyond twice what is expected. */
  describe() {
    const chart = this.#chart;
    if (!chart || chart.expected === 0) return;
    const piled = chart.counts.filter((counts) => counts.some((count) => count > 2 * chart.expected + 6)).length;
    const more = chart.counts.length > RANKED ? ` The first ${RANKED} are drawn.` : "";
    this.host.setAttribute("aria-label", `Rank plot of ${chart.counts.length} chains, dashed line: level. ${piled} of them have ranks that pile up in a place.${more}`);
  }

  fillTable() {
    const chart = this.#chart;
    if (!chart || !this.twin.closest("details")?.open) return;
    const head = ["Chain", ...Array.from({ length: chart.bins }, (_, bin) => `${Math.round((100 * bin) / chart.bins)} %`)];
    const rows = chart.counts.map((counts, chain) => [String(chain + 1), ...counts.map(integer)]);
    this.twin.replaceChildren(table(head, rows, `Counts of ranks over all chains, in ${chart.bins} equal parts; ${compact(chart.expected)} are expected in each`));
  }
}

/** @param {[number, number] | null} range @returns {[number, number]} */
function padded(range) {
  if (!range) return [0, 1];
  const [least, most] = range;
  // A constant trace still needs an axis.
  const pad = 0.08 * (most - least) || Math.max(1e-6, 0.05 * Math.abs(most));
  // More room above than below: the R-hat is printed there.
  return [least - pad, most + 2.5 * pad];
}
