// Wording of Prior's numbers, and the data of its charts. Pure functions.

import { shareText, typicality } from "../image/words.js";
import { compact, integer } from "../ui/format.js";

/** @import { PriorDiagnostic, PriorFrame, RatioHistogram, Reconstruction, ScoreSet, StageInfo } from "../contract/prior.js" */
/** @import { Stat } from "../contract/statistics.js" */

/** The loss of a classifier that can only guess: −log ½. */
export const CHANCE = Math.LN2;
export const SAMPLER_NAMES = /** @type {Record<string, string>} */ ({ ula: "Langevin (ULA)", mala: "MALA", hmc: "HMC", sir: "SIR (no chain)" });

/** @param {number} stage */
export function stageName(stage) {
  return stage === 0 ? "stage 0: N(0, I)" : `stage ${stage}: after ${stage} ratio${stage === 1 ? "" : "s"}`;
}

/** Why a stage of the training ended, as a clause. @param {StageInfo} info */
export function endedText({ ended, iterations }) {
  const why = /** @type {Record<string, string>} */ ({
    plateau: "its held-out loss no longer fell",
    "at chance": "the classifier could no longer distinguish the two",
    longest: "it reached the longest time that a stage may take",
    "end of training": "the training ended",
  })[ended];
  return iterations === 0 ? "nothing was learned for it" : `${integer(iterations)} iterations; ended because ${why ?? (ended || "of a reason that the card does not give")}`;
}

/**
 * The worst of a run's diagnostics, by which a stage is rated.
 * @param {PriorDiagnostic[]} diagnostics
 * @returns {{ rhat: Stat, bulk: Stat, tail: Stat }}
 */
export function worst(diagnostics) {
  const all = (/** @type {"rhat" | "bulk_ess" | "tail_ess"} */ name) => diagnostics.map((each) => each[name]);
  const known = (/** @type {Stat[]} */ values) => (values.length > 0 && values.every((value) => value !== null) ? /** @type {number[]} */ (values) : null);
  const [rhats, bulks, tails] = [known(all("rhat")), known(all("bulk_ess")), known(all("tail_ess"))];
  return { rhat: rhats && Math.max(...rhats), bulk: bulks && Math.min(...bulks), tail: tails && Math.min(...tails) };
}

/**
 * A sentence or two on the importance weights.
 * @param {NonNullable<PriorFrame["sir"]>} sir
 * @param {number} count samples taken
 */
export function sirText({ ess, proposals, distinct }, count) {
  const head = `The weights of ${integer(proposals)} proposals from N(0, I) have an effective sample size of ${compact(ess)}. The ${integer(count)} samples contain ${integer(distinct)} different proposal${distinct === 1 ? "" : "s"}.`;
  if (ess < count) return `${head} This is too small: a few proposals carry nearly all the weight, so the same images repeat, and regions that N(0, I) rarely proposes are missing. Use more proposals, an earlier stage, or a chain.`;
  return `${head} This is enough for this many samples.`;
}

/**
 * Overlap of two histograms, from 0 to 1.
 * @param {RatioHistogram} ratio
 */
export function overlap({ prior, posterior }) {
  return prior.reduce((sum, share, bin) => sum + Math.min(share, posterior[bin] ?? 0), 0);
}

/** @param {RatioHistogram | null} ratio @param {number} stage @param {string} who "chains" or "samples" */
export function ratioText(ratio, stage, who) {
  if (!ratio) return "Stage 0 is N(0, I) itself: it has no classifier, so there is no ratio yet. Move the slider to a later stage.";
  const common = overlap(ratio);
  const judged = common > 0.8 ? `the ${who} already look like the data to classifier ${stage}` : common > 0.5 ? `the ${who} look somewhat like the data to classifier ${stage}` : `classifier ${stage} still separates the ${who} from the data`;
  return `The two overlap by ${Math.round(100 * common)} %: ${judged}.`;
}

/**
 * Held-out losses of all stages, in sequence on one axis.
 * @param {StageInfo[]} stages
 */
export function lossLines(stages) {
  /** @type {number[]} */
  const x = [];
  /** @type {{ stage: number, from: number, to: number }[]} */
  const spans = [];
  /** @type {{ stage: number, at: number, loss: number }[]} */
  const points = [];
  let before = 0;
  for (const { stage, iterations, checks } of stages) {
    if (checks.length === 0) continue;
    const length = Math.max(iterations, ...checks.map(({ iteration }) => iteration));
    for (const { iteration, loss } of checks) {
      points.push({ stage, at: x.length, loss });
      x.push(before + iteration);
    }
    spans.push({ stage, from: before, to: before + length });
    before += length;
  }
  const lines = spans.map(({ stage }) => ({ stage, values: x.map((_, at) => points.find((point) => point.at === at && point.stage === stage)?.loss ?? null) }));
  return { x, lines, spans };
}

/** Range of the loss axis: always includes chance, with space for the stages' names above. @param {number[]} values @returns {[number, number]} */
export function lossRange(values) {
  const [least, most] = [Math.min(CHANCE, ...values), Math.max(CHANCE, ...values)];
  return [least - 0.06 * (most - least) - 0.01, most + 0.25 * (most - least) + 0.02];
}

/**
 * Bounds of the plane: they hold the posterior without its most distant points, and a standard normal.
 * @param {Float32Array} plane pairs x, y
 * @returns {[x0: number, x1: number, y0: number, y1: number]}
 */
export function planeBounds(plane) {
  const bounds = [0, 1].map((axis) => {
    const values = Array.from({ length: plane.length >> 1 }, (_, i) => plane[2 * i + axis] ?? 0)
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    const at = (/** @type {number} */ share) => values[Math.round(share * (values.length - 1))] ?? 0;
    const [least, most] = [Math.min(-3, at(0.002)), Math.max(3, at(0.998))];
    const pad = 0.06 * (most - least);
    return [least - pad, most + pad];
  });
  const [[x0 = -3, x1 = 3] = [], [y0 = -3, y1 = 3] = []] = bounds;
  // Same scale in both directions, as in the latent space.
  const half = Math.max(x1 - x0, y1 - y0) / 2;
  const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return [x - half, x + half, y - half, y + half];
}

/**
 * Centre and spread of some points.
 * @param {Float32Array} plane pairs x, y
 * @param {(index: number) => boolean} [which]
 */
export function cloud(plane, which = () => true) {
  let [n, sx, sy, xx, yy] = [0, 0, 0, 0, 0];
  for (let i = 0; i < plane.length >> 1; i += 1) {
    const [x, y] = [plane[2 * i] ?? NaN, plane[2 * i + 1] ?? NaN];
    if (!which(i) || !Number.isFinite(x + y)) continue;
    [n, sx, sy, xx, yy] = [n + 1, sx + x, sy + y, xx + x * x, yy + y * y];
  }
  const [mx, my] = [sx / n, sy / n];
  return { n, x: mx, y: my, sx: Math.sqrt(Math.max(0, xx / n - mx * mx)), sy: Math.sqrt(Math.max(0, yy / n - my * my)) };
}

/** Mark of a class in the plane: its name if that is short, else its number. @param {string[]} classes @param {number} index */
export function classMark(classes, index) {
  const name = classes[index] ?? "";
  return name.length > 0 && name.length <= 2 ? name : String(index);
}

/**
 * The parts of a score; their sum is the score.
 * @param {Reconstruction} result
 * @returns {{ name: string, value: number, meaning: string }[]}
 */
export function scoreParts({ terms: { reconstruction, gaussian, ratios } }) {
  return [
    { name: "Misfit ‖x − g(z)‖²/(2σ²)", value: reconstruction, meaning: "what the reconstruction gets wrong" },
    { name: "Distance ½‖z‖²", value: gaussian, meaning: "how far z is from the origin" },
    ...Array.from(ratios, (value, index) => ({ name: `Ratio ${index + 1}: −f${subscript(index + 1)}(z)`, value: -value, meaning: value > 0 ? "more like the data’s latents: lowers the score" : "less like the data’s latents: raises the score" })),
  ];
}

/** @param {number} number */
export function subscript(number) {
  return String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)] ?? digit);
}

/**
 * The score of an image in sentences.
 * @param {Reconstruction} result
 * @param {ScoreSet[]} sets
 */
export function anomalyText({ score, percentiles }, sets) {
  const [own, set] = [percentiles[0], sets[0]];
  if (!own || !set) return `Its score is ${compact(score, 4)}. This model has no reference scores, so there is nothing to compare it with.`;
  return `${shareText(own.below)} of the ${integer(set.images)} images of ${set.title} score lower: ${typicality(own)}.`;
}

/** @param {string} model @param {PriorFrame} frame @param {number} seed */
export function gridName(model, { stage, sampler, transitions }, seed) {
  return `${model}-stage${stage}-${sampler}-seed${seed}${sampler === "sir" ? "" : `-step${transitions}`}.png`;
}
