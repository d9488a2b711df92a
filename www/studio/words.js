// Wording of the Studio’s numbers. Pure functions.

import { compact, tidy } from "../ui/format.js";

/** @import { StudioTerm } from "../contract/studio.js" */

/**
 * A word for how far two gradients agree.
 * @param {number} cosine
 */
export function conflictWord(cosine) {
  if (!Number.isFinite(cosine)) return "no gradient";
  if (cosine <= -0.5) return "oppose";
  if (cosine <= -0.1) return "disagree";
  if (cosine < 0.1) return "unrelated";
  if (cosine < 0.5) return "agree";
  return "agree strongly";
}

/**
 * One sentence on the two terms that disagree most.
 * @param {StudioTerm[]} terms
 * @param {Float32Array} conflict terms × terms
 */
export function conflictSummary(terms, conflict) {
  /** @type {{ a: string, b: string, cosine: number } | null} */
  let worst = null;
  terms.forEach((term, row) => {
    for (let column = 0; column < row; column += 1) {
      const cosine = conflict[row * terms.length + column] ?? NaN;
      if (Number.isFinite(cosine) && (!worst || cosine < worst.cosine)) worst = { a: terms[column]?.name ?? "", b: term.name, cosine };
    }
  });
  if (!worst) return "There are no two gradients to compare.";
  const { a, b, cosine } = /** @type {{ a: string, b: string, cosine: number }} */ (worst);
  return cosine < -0.1 ? `“${a}” and “${b}” disagree most: the cosine of their gradients is ${compact(cosine, 2)}.` : `No two terms disagree; the least agreement is between “${a}” and “${b}” (${compact(cosine, 2)}).`;
}

/**
 * The classifier's probabilities for one image.
 * @param {Float32Array} verdict images × classes
 * @param {number} image
 * @param {string[]} classes
 * @returns {{ name: string, index: number, probability: number }[]} most probable first
 */
export function verdictOf(verdict, image, classes) {
  return classes.map((name, index) => ({ name, index, probability: verdict[image * classes.length + index] ?? NaN })).sort((a, b) => b.probability - a.probability);
}

/**
 * Number of images that the classifier assigns to a class.
 * @param {Float32Array} verdict
 * @param {string[]} classes
 * @param {number} wanted
 */
export function shareOfClass(verdict, classes, wanted) {
  const images = Math.floor(verdict.length / classes.length);
  let hits = 0;
  for (let image = 0; image < images; image += 1) if (verdictOf(verdict, image, classes)[0]?.index === wanted) hits += 1;
  return { hits, images };
}

/**
 * The sampled temperature in words, whatever was requested.
 * @param {number} temperature
 */
export function temperatureWord(temperature) {
  if (!Number.isFinite(temperature)) return "";
  if (temperature < 0.9) return "colder than the model’s distribution";
  if (temperature > 1.1) return "hotter than the model’s distribution";
  return "the model’s distribution";
}

/** @param {string} model @param {number} seed @param {number} temperature @param {number} step */
export function sheetName(model, seed, temperature, step) {
  return `${model}-seed${seed}${temperature === 1 ? "" : `-T${tidy(temperature)}`}-step${step}.png`;
}

/**
 * Means over blocks, which make the gradient's table readable.
 * @param {Float32Array} pixels [H, W]
 * @param {number} height
 * @param {number} width
 * @param {number} blocks in each direction
 * @returns {number[][]}
 */
export function blockMeans(pixels, height, width, blocks) {
  const [across, down] = [Math.min(blocks, width), Math.min(blocks, height)];
  return Array.from({ length: down }, (_, row) =>
    Array.from({ length: across }, (_, column) => {
      const [top, bottom] = [Math.floor((row * height) / down), Math.floor(((row + 1) * height) / down)];
      const [left, right] = [Math.floor((column * width) / across), Math.floor(((column + 1) * width) / across)];
      let sum = 0;
      for (let y = top; y < bottom; y += 1) for (let x = left; x < right; x += 1) sum += pixels[y * width + x] ?? 0;
      return sum / ((bottom - top) * (right - left));
    }),
  );
}

/**
 * One sentence on where a gradient is largest.
 * @param {Float32Array} pixels [H, W]
 * @param {number} height
 * @param {number} width
 */
export function gradientSummary(pixels, height, width) {
  let largest = 0;
  pixels.forEach((value, i) => {
    if (Math.abs(value) > Math.abs(pixels[largest] ?? 0)) largest = i;
  });
  const value = pixels[largest] ?? 0;
  if (value === 0 || !Number.isFinite(value)) return "The gradient is 0 everywhere.";
  const rows = Array.from({ length: height }, (_, row) => pixels.subarray(row * width, (row + 1) * width).reduce((sum, part) => sum + Math.abs(part), 0));
  const total = rows.reduce((sum, part) => sum + part, 0);
  const top = rows.slice(0, Math.floor(height / 2)).reduce((sum, part) => sum + part, 0);
  return `Largest in row ${Math.floor(largest / width) + 1}, column ${(largest % width) + 1}: ${compact(value, 3)}, so a ${value > 0 ? "darker" : "brighter"} pixel there would lower the energy most. The upper half carries ${Math.round((100 * top) / total)} % of the gradient.`;
}
