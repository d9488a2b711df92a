// The rank plot of one side: a small histogram per chain, with a table twin.

import { cleared, onWidth } from "../charts/parts.js";
import { table } from "../ui/dom.js";
import { compact, integer } from "../ui/format.js";
import { colour, faded } from "../ui/theme.js";

/** Maximum number of chains in the plot; more would be too small to read. */
const RANKED = 24;

export class RanksView {
  /** @type {{ bins: number, counts: number[][], expected: number } | null} */
  #chart = null;
  #chain = /** @type {number | null} */ (null);

  /** @param {"a" | "b"} side @param {HTMLElement} host @param {HTMLElement} twin */
  constructor(side, host, twin) {
    this.side = side;
    this.host = host;
    this.twin = twin;
    const canvas = host.querySelector("canvas");
    if (!canvas) throw new Error("The rank plot has no canvas.");
    this.canvas = canvas;
    onWidth(host, () => this.rebuild());
    twin.closest("details")?.addEventListener("toggle", () => this.fillTable());
  }

  /** @param {{ bins: number, counts: number[][], expected: number }} chart @param {number | null} chain */
  draw(chart, chain) {
    [this.#chart, this.#chain] = [chart, chain];
    this.rebuild();
    this.fillTable();
  }

  rebuild() {
    const chart = this.#chart;
    const width = this.host.clientWidth;
    if (!chart) return;
    const shown = chart.counts.slice(0, RANKED);
    const columns = Math.min(shown.length, width < 340 ? 4 : shown.length <= 12 ? 6 : 8);
    const rows = Math.ceil(shown.length / columns);
    const [gap, cell] = [10, 46];
    const height = rows * (cell + gap + 14);
    const context = cleared(this.canvas, width, height);
    if (!context) return;
    const each = (width - gap * (columns - 1)) / columns;
    const [own, ink, muted] = [colour(`--${this.side}`), colour("--ink"), colour("--muted")];
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "top";
    shown.forEach((counts, chain) => {
      const left = (chain % columns) * (each + gap);
      const bottom = Math.floor(chain / columns) * (cell + gap + 14) + cell;
      const bar = each / chart.bins;
      // The top is twice the expected height; higher bars are cut off and clearly not level.
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

  /** Describes how many chains have ranks that pile up: a bin above twice the expected count. */
  describe() {
    const chart = this.#chart;
    if (!chart || chart.expected === 0) return;
    const piled = chart.counts.filter((counts) => counts.some((count) => count > 2 * chart.expected + 6)).length;
    const more = chart.counts.length > RANKED ? ` The first ${RANKED} are drawn.` : "";
    this.host.setAttribute("aria-label", `Rank plot of ${chart.counts.length} chains, dashed line: level. The ranks of ${piled} of them pile up in one place.${more}`);
  }

  fillTable() {
    const chart = this.#chart;
    if (!chart || !this.twin.closest("details")?.open) return;
    const head = ["Chain", ...Array.from({ length: chart.bins }, (_, bin) => `${Math.round((100 * bin) / chart.bins)} %`)];
    const rows = chart.counts.map((counts, chain) => [String(chain + 1), ...counts.map(integer)]);
    this.twin.replaceChildren(table(head, rows, `Counts of ranks over all chains, in ${chart.bins} equal parts; ${compact(chart.expected)} are expected in each`));
  }
}
