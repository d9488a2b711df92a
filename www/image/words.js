// Wording of numbers for the rooms that show images. Pure functions.

/** @import { Percentile, ReferenceSet } from "../contract/studio.js" */
/** @import { Shape } from "./image.js" */

/**
 * Shares near 0 or 1 keep a decimal: 99.8 % is not "all".
 * @param {number} share in [0, 1]
 */
export function shareText(share) {
  const percent = 100 * share;
  if (percent > 0 && percent < 0.1) return "< 0.1 %";
  if (percent < 100 && percent > 99.9) return "> 99.9 %";
  return percent > 0 && percent < 100 && (percent < 2 || percent > 98) ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`;
}

/** @param {Percentile} percentile */
export function percentileText({ below, low, high }) {
  return `${shareText(below)} (${shareText(low)} to ${shareText(high)})`;
}

/**
 * A percentile among real images in words.
 * @param {Percentile} percentile
 */
export function typicality({ below, low, high }) {
  if (high < 0.02) return "more typical than nearly all of them";
  if (below < 0.1) return "more typical than most of them";
  if (low > 0.99) return "less typical than nearly all of them";
  if (below > 0.95) return "less typical than most of them";
  return "as typical as they are";
}

/** @param {ReferenceSet["auroc"]} auroc */
export function aurocText(auroc) {
  return auroc ? `${auroc.value.toFixed(3)} (${auroc.low.toFixed(3)} to ${auroc.high.toFixed(3)})` : "–";
}

/**
 * Samples sorted by energy, lowest first; values that are not finite come last.
 * @param {Float32Array} energies
 * @returns {number[]} samples in order
 */
export function byEnergy(energies) {
  return Array.from(energies, (_, sample) => sample).sort((a, b) => {
    const [left, right] = [energies[a] ?? NaN, energies[b] ?? NaN];
    return (Number.isFinite(left) ? left : Infinity) - (Number.isFinite(right) ? right : Infinity) || a - b;
  });
}

/** @param {Float32Array} values the finite ones count */
export function mean(values) {
  const finite = values.filter(Number.isFinite);
  return finite.length === 0 ? null : finite.reduce((sum, value) => sum + value, 0) / finite.length;
}

/**
 * The axis of an energy chart. In a long run, the first steps from noise would flatten the rest.
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function energyRange(values) {
  if (values.length === 0) return [0, 1];
  const sorted = values.toSorted((a, b) => a - b);
  const [least, most] = [sorted[0] ?? 0, sorted[Math.floor((values.length < 60 ? 1 : 0.98) * (sorted.length - 1))] ?? 1];
  const pad = 0.08 * (most - least) || Math.max(0.1, 0.02 * Math.abs(most));
  return [least - pad, most + pad];
}

/**
 * A gradient over the pixels, channels summed.
 * @param {Float32Array} gradient [C, H, W]
 * @param {Shape} shape
 */
export function perPixel(gradient, [channels, height, width]) {
  const size = height * width;
  return Float32Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel += 1) sum += gradient[channel * size + i] ?? 0;
    return sum;
  });
}
