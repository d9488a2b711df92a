// Small line charts, each with a table twin.

import uPlot from "uplot";
import { make, table } from "../ui/dom.js";
import { axisLabel, compact, integer } from "../ui/format.js";
import { colour } from "../ui/theme.js";
import { axisStyle, fit, FONT, ROUND, WHOLE } from "./parts.js";

const HEIGHT = 172;
const TABLE_ROWS = 16;

/**
 * A line of a small chart.
 * @typedef {object} Line
 * @property {string} label
 * @property {string} colour name of a CSS custom property
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
   * @param {number} [style.goal] a horizontal goal line
   * @param {(value: number | null) => string} [style.text]
   * @param {number} [style.right] extra space at the right, for a long last label
   * @param {(plot: uPlot) => void} [style.over] draws additional marks
   */
  constructor(host, twin, style) {
    this.host = host;
    this.twin = twin;
    this.style = style;
    fit(host, () => this.#plot, HEIGHT);
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
      height: HEIGHT,
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

/** R-hat's axis: always includes the goal, and is not stretched by large early values. @param {number[]} values @returns {[number, number]} */
export function rhatRange(values) {
  const late = values.slice(Math.floor(values.length / 3));
  return [0.99, Math.min(6, Math.max(1.06, 1 + 1.15 * (late.reduce((a, b) => Math.max(a, b), 1) - 1)))];
}

/** @param {number[]} values @returns {[number, number]} */
export function looseRange(values) {
  if (values.length === 0) return [0, 1];
  const sorted = values.toSorted((a, b) => a - b);
  // The first losses of a new network would flatten the rest.
  const [least, most] = [sorted[0] ?? 0, sorted[Math.floor(0.98 * (sorted.length - 1))] ?? 1];
  const pad = 0.08 * (most - least) || 0.1;
  return [least - pad, most + pad];
}
