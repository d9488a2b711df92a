// Prior's charts: the ratio's histogram, and the classifiers' losses over the stages. Each has a
// table twin.

import { LinesView } from "../charts/lines.js";
import { cleared, FONT, onWidth, scaledFont } from "../charts/parts.js";
import { make, table } from "../ui/dom.js";
import { axisLabel, compact, integer } from "../ui/format.js";
import { colour, faded } from "../ui/theme.js";
import { CHANCE, lossLines, lossRange } from "./words.js";

/** @import uPlot from "uplot" */
/** @import { RatioHistogram, StageInfo } from "../contract/prior.js" */

const HEIGHT = 190;
const LEFT = 40;
const BOTTOM = 38;
const TOP = 10;

/** Two histograms with the same bins: the posterior filled, the prior outlined. */
export class HistogramView {
  /** @type {RatioHistogram | null} */
  #ratio = null;
  #who = "chains";
  #canvas = make("canvas", { "aria-hidden": "true" });

  /** @param {HTMLElement} host @param {HTMLElement} twin in a details element */
  constructor(host, twin) {
    this.host = host;
    this.twin = twin;
    host.append(this.#canvas);
    onWidth(host, () => this.rebuild());
    twin.closest("details")?.addEventListener("toggle", () => this.fillTable());
  }

  /** @param {RatioHistogram | null} ratio @param {string} who name of the prior's samples */
  draw(ratio, who) {
    [this.#ratio, this.#who] = [ratio, who];
    this.rebuild();
    this.fillTable();
  }

  rebuild() {
    const [ratio, width] = [this.#ratio, this.host.clientWidth];
    const context = cleared(this.#canvas, width, HEIGHT);
    if (!context || !ratio) return;
    const { edges, prior, posterior } = ratio;
    const [from, to] = [edges[0] ?? 0, edges.at(-1) ?? 1];
    const most = Math.max(1e-6, ...prior, ...posterior) * 1.06;
    const [ink, muted, blue] = [colour("--ink"), colour("--muted"), colour("--latent")];
    const x = (/** @type {number} */ value) => LEFT + ((width - LEFT - 10) * (value - from)) / (to - from || 1);
    const y = (/** @type {number} */ share) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - share / most);
    context.font = FONT;
    context.lineWidth = 1;
    const up = niceStep(most, 3);
    for (let tick = 0; tick <= most; tick += up) {
      context.strokeStyle = colour("--line");
      context.beginPath();
      context.moveTo(LEFT, Math.round(y(tick)) + 0.5);
      context.lineTo(width - 10, Math.round(y(tick)) + 0.5);
      context.stroke();
      [context.fillStyle, context.textAlign, context.textBaseline] = [muted, "right", "middle"];
      context.fillText(`${axisLabel(100 * tick, 100 * up)} %`, LEFT - 5, y(tick));
    }
    const along = niceStep(to - from, Math.max(2, Math.floor(width / 90)));
    [context.textAlign, context.textBaseline] = ["center", "top"];
    for (let tick = Math.ceil(from / along) * along; tick <= to + 1e-9; tick += along) context.fillText(axisLabel(tick, along), Math.min(width - 14, x(tick)), HEIGHT - BOTTOM + 5);
    context.textBaseline = "alphabetic";
    context.fillText("log ratio of this stage’s classifier", LEFT + (width - LEFT) / 2, HEIGHT - 4);
    context.fillStyle = faded(blue, 0.38);
    posterior.forEach((share, bin) => context.fillRect(x(edges[bin] ?? 0), y(share), x(edges[bin + 1] ?? 0) - x(edges[bin] ?? 0), y(0) - y(share)));
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x(from), y(0));
    prior.forEach((share, bin) => {
      context.lineTo(x(edges[bin] ?? 0), y(share));
      context.lineTo(x(edges[bin + 1] ?? 0), y(share));
    });
    context.lineTo(x(to), y(0));
    context.stroke();
    if (from < 0 && to > 0) {
      [context.strokeStyle, context.lineWidth] = [muted, 1];
      context.setLineDash([2, 4]);
      context.beginPath();
      context.moveTo(Math.round(x(0)) + 0.5, TOP);
      context.lineTo(Math.round(x(0)) + 0.5, HEIGHT - BOTTOM);
      context.stroke();
      context.setLineDash([]);
    }
  }

  fillTable() {
    if (!this.twin.closest("details")?.open) return;
    const ratio = this.#ratio;
    if (!ratio) return this.twin.replaceChildren(make("p", { class: "hint" }, "Stage 0 has no ratio."));
    const share = (/** @type {number | undefined} */ value) => `${compact(100 * (value ?? NaN))} %`;
    const rows = Array.from(ratio.prior, (value, bin) => [`${compact(ratio.edges[bin])} to ${compact(ratio.edges[bin + 1])}`, share(value), share(ratio.posterior[bin])]);
    this.twin.replaceChildren(table(["Log ratio", this.#who, "data’s latents"], rows, "Shares in each bin of the log ratio"));
  }
}

/** A round label distance. @param {number} span @param {number} count about so many */
function niceStep(span, count) {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  return (([1, 2, 5, 10].find((step) => step * power >= rough) ?? 10) * power);
}

/** The classifiers' held-out losses, stage after stage, with a horizontal line at chance. */
export class LossView extends LinesView {
  /** @type {StageInfo[]} */
  #stages = [];
  #stage = 0;

  /** @param {HTMLElement} host @param {HTMLElement} twin */
  constructor(host, twin) {
    super(host, twin, { xLabel: "iteration of the training", caption: "Held-out loss and accuracy at every check", range: lossRange, goal: CHANCE, right: 24, over: (plot) => this.#words(plot) });
  }

  /** @param {StageInfo[]} stages @param {number} stage the selected one */
  show(stages, stage) {
    [this.#stages, this.#stage] = [stages, stage];
    const { x, lines } = lossLines(stages);
    this.draw(x, lines.map((line) => ({ label: `stage ${line.stage}`, colour: line.stage === stage ? "--ink" : "--edge", values: line.values })));
  }

  /** @param {uPlot} plot */
  #words(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    const { spans } = lossLines(this.#stages);
    ctx.save();
    ctx.font = scaledFont();
    [ctx.textAlign, ctx.textBaseline] = ["center", "top"];
    for (const { stage, from, to } of spans) {
      const [left, right] = [plot.valToPos(from, "x", true), plot.valToPos(to, "x", true)];
      if (stage === this.#stage) {
        ctx.fillStyle = colour("--shade");
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
      }
      ctx.fillStyle = colour(stage === this.#stage ? "--ink" : "--muted");
      const text = right - left > 64 * ratio ? `stage ${stage}` : String(stage);
      ctx.fillText(text, (left + right) / 2, bbox.top + 2 * ratio);
    }
    ctx.restore();
  }

  fillTable() {
    if (!this.twin.closest("details")?.open) return;
    const rows = this.#stages.flatMap(({ stage, checks }) => checks.map(({ iteration, loss, accuracy }) => [`stage ${stage}`, integer(iteration), compact(loss), `${compact(100 * accuracy)} %`]));
    this.twin.replaceChildren(rows.length > 0 ? table(["Classifier", "Iteration", "Held-out loss", "Held-out accuracy"], rows, this.style.caption) : make("p", { class: "hint" }, "The card has no checks."));
  }
}
