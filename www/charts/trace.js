// The trace of one side: a line per chain against the gradient clock, the warm-up shaded, with a
// line of text and a table of the same values.

import uPlot from "uplot";
import { make, setText, table } from "../ui/dom.js";
import { axisLabel, compact, integer } from "../ui/format.js";
import { colour, faded } from "../ui/theme.js";
import { axisStyle, fit, FONT, scaledFont, WHOLE } from "./parts.js";
import { median } from "./store.js";

/** @import { TraceStore } from "./store.js" */

const TABLE_ROWS = 16;
/** More chains than this are drawn fainter, to stay distinguishable. */
const CROWDED = 24;
const CROWDED_ALPHA = 0.3;

/**
 * Settings that differ between rooms.
 * @typedef {object} Style
 * @property {string} colour a custom property
 * @property {number} alpha of a line
 * @property {number} height in CSS pixels
 * @property {string} sync charts with the same key share their cursor
 * @property {string} where text for the side in the table's caption; may be empty
 * @property {{ x: { size: number, gap: number }, y: { size: number, gap: number, incrs?: number[] } }} axes
 */

export class TraceChart {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {TraceStore | null} */
  #store = null;
  #view = { name: "energy", chain: /** @type {number | null} */ (null), end: 1, range: /** @type {[number, number] | null} */ (null) };

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.plot
   * @param {HTMLElement} parts.readout
   * @param {HTMLElement} parts.table
   * @param {Style} style
   */
  constructor(parts, style) {
    this.parts = parts;
    this.style = style;
    fit(parts.plot, () => this.#plot, style.height);
  }

  /** @param {TraceStore} store */
  start(store) {
    this.#store = store;
    this.rebuild();
  }

  /** Colours are read once per plot, so a new theme needs a new plot. */
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
  }

  /** @returns {uPlot.AlignedData} */
  #data() {
    const store = this.#store;
    const lines = store?.values.get(this.#view.name) ?? Array.from({ length: store?.chains ?? 0 }, () => []);
    return [store?.clock ?? [], ...lines];
  }

  /** @param {number} chains @returns {uPlot.Options} */
  #options(chains) {
    const { style } = this;
    const line = faded(colour(style.colour), chains > CROWDED ? CROWDED_ALPHA : style.alpha);
    const ink = colour("--ink");
    return {
      width: this.parts.plot.clientWidth || 320,
      height: style.height,
      legend: { show: false },
      padding: [12, 12, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { setScale: false, x: false, y: false }, sync: { key: style.sync } },
      scales: { x: { time: false, range: () => [0, this.#view.end] }, y: { range: () => padded(this.#view.range) } },
      axes: [
        { ...axisStyle(), ...style.axes.x, label: "∇E per chain", labelSize: 20, labelFont: FONT, incrs: WHOLE, values: (_, ticks) => ticks.map(integer) },
        { ...axisStyle(), ...style.axes.y, values: (_, ticks, _axis, _space, increment) => ticks.map((tick) => axisLabel(tick, increment)) },
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
    ctx.font = scaledFont();
    [ctx.textAlign, ctx.textBaseline] = ["left", "bottom"];
    if (right - bbox.left > ctx.measureText("warm-up").width + 16 * devicePixelRatio) {
      ctx.fillText("warm-up", bbox.left + 8 * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
    }
    ctx.restore();
  }

  /**
   * Draws the chosen chain again, on top and wider, so that it differs by weight, not by colour alone.
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

  /** Fills the table, if it is open. */
  fillTable() {
    if (!this.parts.table.closest("details")?.open) return;
    const store = this.#store;
    if (!store || store.clock.length === 0) return this.parts.table.replaceChildren(make("p", { class: "hint" }, "No draws yet."));
    const { name, chain } = this.#view;
    const head = ["∇E per chain", "lowest", "median", "highest", ...(chain === null ? [] : [`chain ${chain + 1}`])];
    const rows = store
      .table(name, TABLE_ROWS)
      .map((row) => [integer(row.clock), compact(row.least, 4), compact(row.median, 4), compact(row.most, 4), ...(chain === null ? [] : [compact(row.chains[chain], 4)])]);
    this.parts.table.replaceChildren(table(head, rows, `${name} over the chains${this.style.where} at ${rows.length} of ${integer(store.draws)} draws`));
  }
}

/** @param {[number, number] | null} range @returns {[number, number]} */
function padded(range) {
  if (!range) return [0, 1];
  const [least, most] = range;
  // A constant trace still needs an axis.
  const pad = 0.08 * (most - least) || Math.max(1e-6, 0.05 * Math.abs(most));
  // More space above than below, for the printed R-hat.
  return [least - pad, most + 2.5 * pad];
}
