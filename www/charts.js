// The trace of one side: a line per chain against the gradient clock, the warm-up shaded.

import uPlot from "./vendor/uPlot.esm.js";
import { make, setText, table } from "./dom.js";
import { axisLabel, compact, integer } from "./format.js";
import { colour } from "./theme.js";
import { median } from "./traces.js";

/** @import { TraceStore } from "./traces.js" */
/** @import { Space } from "./protocol.js" */

const HEIGHT = 248;
const TABLE_ROWS = 16;
const FONT = "12px system-ui, sans-serif";

/** What the cursor shows on one side, it shows on the other. */
const SYNC = "race";

/** Steps between the clock's labels: there is no half gradient. */
const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

export class TraceChart {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {TraceStore | null} */
  #store = null;
  #name = "energy";
  #chain = /** @type {number | null} */ (null);
  #end = 1;
  /** @type {[number, number] | null} */
  #range = null;

  /**
   * @param {object} parts
   * @param {Space} parts.space
   * @param {HTMLElement} parts.plot
   * @param {HTMLElement} parts.readout
   * @param {HTMLElement} parts.table
   */
  constructor({ space, plot, readout, table }) {
    this.space = space;
    this.host = plot;
    this.readout = readout;
    this.table = table;
    new ResizeObserver(() => this.#plot?.setSize({ width: this.host.clientWidth, height: HEIGHT })).observe(plot);
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
    this.#plot = new uPlot(this.#options(this.#store.chains), this.#data(), this.host);
  }

  /**
   * @param {object} view
   * @param {string} view.name
   * @param {number | null} view.chain
   * @param {number} view.end right edge, the same on both sides
   * @param {[number, number] | null} view.range
   */
  draw({ name, chain, end, range }) {
    if (!this.#plot) return;
    [this.#name, this.#chain, this.#end, this.#range] = [name, chain, end, range];
    this.#plot.setData(/** @type {uPlot.AlignedData} */ (this.#data()), true);
    this.#read();
  }

  /** @returns {uPlot.AlignedData} */
  #data() {
    const store = this.#store;
    const lines = store?.values.get(this.#name) ?? Array.from({ length: store?.chains ?? 0 }, () => []);
    return [store?.clock ?? [], ...lines];
  }

  /**
   * @param {number} chains
   * @returns {uPlot.Options}
   */
  #options(chains) {
    const line = colour(`--${this.space}`);
    const faint = line.replace(/^rgb\((.*)\)$/, `rgba($1, ${chains > 24 ? 0.3 : 0.45})`);
    const ink = colour("--ink");
    const axis = { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    return {
      width: this.host.clientWidth || 320,
      height: HEIGHT,
      legend: { show: false },
      padding: [12, 12, 0, 0],
      cursor: { y: false, points: { show: false }, drag: { setScale: false, x: false, y: false }, sync: { key: SYNC } },
      scales: {
        x: { time: false, range: () => [0, this.#end] },
        y: { range: () => padded(this.#range) },
      },
      axes: [
        { ...axis, size: 30, gap: 6, label: "∇E per chain", labelSize: 20, labelFont: FONT, incrs: WHOLE, values: (_, ticks) => ticks.map(integer) },
        { ...axis, size: 58, gap: 6, values: (_, ticks, _axis, _space, increment) => ticks.map((tick) => axisLabel(tick, increment)) },
      ],
      series: [
        {},
        ...Array.from({ length: chains }, (_, chain) => ({
          stroke: () => (chain === this.#chain ? ink : faint),
          points: { show: false },
          width: 1,
        })),
      ],
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
    const end = Math.min(store.warmupEnd ?? this.#end, this.#end);
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
   * The followed chain once more, on top and wider: told by weight, not by colour alone.
   * @param {uPlot} plot
   * @param {string} ink
   */
  #emphasise(plot, ink) {
    const line = this.#chain === null ? undefined : plot.data[this.#chain + 1];
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
    if (!store || store.clock.length === 0) return setText(this.readout, "No draws yet.");
    const at = this.#plot?.cursor.idx ?? store.clock.length - 1;
    const values = (store.values.get(this.#name) ?? []).map((line) => line[at] ?? NaN).filter(Number.isFinite);
    values.sort((a, b) => a - b);
    const own = this.#chain === null ? undefined : store.values.get(this.#name)?.[this.#chain]?.[at];
    const followed = own === undefined ? "" : ` · chain ${/** @type {number} */ (this.#chain) + 1}: ${compact(own, 4)}`;
    setText(this.readout, `∇E ${integer(store.clock[at] ?? 0)} · median ${compact(median(values), 4)} · chains ${compact(values[0], 4)} to ${compact(values.at(-1), 4)}${followed}`);
  }

  fillTable() {
    const store = this.#store;
    if (!store || store.clock.length === 0) return this.table.replaceChildren(make("p", { class: "hint" }, "No draws yet."));
    const chain = this.#chain;
    const head = ["∇E per chain", "lowest", "median", "highest", ...(chain === null ? [] : [`chain ${chain + 1}`])];
    const rows = store.table(this.#name, TABLE_ROWS).map((row) => [
      integer(row.clock),
      compact(row.least, 4),
      compact(row.median, 4),
      compact(row.most, 4),
      ...(chain === null ? [] : [compact(row.chains[chain], 4)]),
    ]);
    this.table.replaceChildren(table(head, rows, `${this.#name} over the chains, ${this.space} space, at ${rows.length} of ${integer(store.draws)} draws`));
  }
}

/**
 * @param {[number, number] | null} range
 * @returns {[number, number]}
 */
function padded(range) {
  if (!range) return [0, 1];
  const [least, most] = range;
  // A constant trace still needs an axis.
  const pad = 0.08 * (most - least) || Math.max(1e-6, 0.05 * Math.abs(most));
  // More room above than below: the R-hat is printed there.
  return [least - pad, most + 2.5 * pad];
}
