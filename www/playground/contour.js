// Contour lines of a surface by marching squares. Pure functions.

/** @import { Surface } from "../contract/playground.js" */

/** Contour levels above the minimum: the energies at which a Gaussian is 1, 2, 3, … sd from its mean. */
export const LEVELS = /** @type {const} */ ([0.5, 2, 4.5, 8, 12.5, 18]);

/**
 * Line segments in grid coordinates, four numbers each: x, y of one end and of the other.
 * @param {Pick<Surface, "width" | "height" | "energy">} surface
 * @param {number} level
 * @returns {number[]}
 */
export function contour({ width, height, energy }, level) {
  /** @type {number[]} */
  const lines = [];
  for (let y = 0; y + 1 < height; y += 1) {
    for (let x = 0; x + 1 < width; x += 1) {
      const at = y * width + x;
      // Corners counter-clockwise from the lower left; no line where energies are not finite.
      const corners = [energy[at], energy[at + 1], energy[at + width + 1], energy[at + width]];
      /** @type {number[]} */
      const ends = [];
      for (let edge = 0; edge < 4; edge += 1) {
        const [from, to] = [corners[edge] ?? NaN, corners[(edge + 1) % 4] ?? NaN];
        if (from < level === to < level || !Number.isFinite(from + to)) continue;
        const share = (level - from) / (to - from);
        const [dx, dy] = /** @type {[number, number]} */ (EDGES[edge]?.(share));
        ends.push(x + dx, y + dy);
      }
      // Four crossings are a saddle: edges come in order, so lines between neighbours never cross.
      lines.push(...ends.slice(0, ends.length - (ends.length % 4)));
    }
  }
  return lines;
}

/** Position in the cell of a fraction along each edge. @type {((share: number) => [number, number])[]} */
const EDGES = [(share) => [share, 0], (share) => [1, share], (share) => [1 - share, 1], (share) => [0, 1 - share]];
