// The drawn density: 32 × 32 cells of sixteen shades, and its encoding in the address. Pure functions.

export const SIDE = 32;
/** Shades of a cell besides empty. Few, so that the address holds the drawing exactly. */
export const SHADES = 15;
const STEP = 255 / SHADES;
/** Longest run that one byte can encode. */
const RUN = 16;

/** @returns {Uint8Array} row by row from the bottom up, 0 = empty */
export function emptyGrid() {
  return new Uint8Array(SIDE * SIDE);
}

/** @param {Uint8Array} grid */
export function isEmpty(grid) {
  return grid.every((value) => value === 0);
}

/**
 * The nearest shade that the address can hold.
 * @param {number} value 0 … 255
 */
export function shade(value) {
  return Math.round(Math.min(255, Math.max(0, value)) / STEP) * STEP;
}

/**
 * A round brush with a soft edge: a density of only 0 and 1 would have walls.
 * @param {Uint8Array} grid changed in place
 * @param {number} column
 * @param {number} row from the bottom
 * @param {number} radius in cells
 * @param {boolean} erase
 */
export function paint(grid, column, row, radius, erase) {
  const reach = Math.ceil(radius);
  for (let y = Math.max(0, row - reach); y <= Math.min(SIDE - 1, row + reach); y += 1) {
    for (let x = Math.max(0, column - reach); x <= Math.min(SIDE - 1, column + reach); x += 1) {
      const distance = Math.hypot(x - column, y - row);
      if (distance > radius) continue;
      const ink = shade(255 * Math.min(1, 1.15 - (0.75 * distance) / Math.max(1, radius)));
      const at = y * SIDE + x;
      grid[at] = erase ? 0 : Math.max(grid[at] ?? 0, ink);
    }
  }
}

/**
 * Runs of equal shades, a byte each, in base64url. A typical drawing takes a few hundred characters.
 * @param {Uint8Array} grid
 */
export function encodeGrid(grid) {
  /** @type {number[]} */
  const bytes = [];
  for (let at = 0; at < grid.length; ) {
    const value = Math.round((grid[at] ?? 0) / STEP);
    let run = 1;
    while (run < RUN && at + run < grid.length && Math.round((grid[at + run] ?? 0) / STEP) === value) run += 1;
    bytes.push((value << 4) | (run - 1));
    at += run;
  }
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

/**
 * @param {string} text
 * @returns {Uint8Array | null} null if the text is not a drawing
 */
export function decodeGrid(text) {
  if (!/^[A-Za-z0-9_-]{1,1400}$/.test(text)) return null;
  let bytes;
  try {
    bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const grid = emptyGrid();
  let at = 0;
  for (const character of bytes) {
    const byte = character.charCodeAt(0);
    const run = (byte & 15) + 1;
    if (at + run > grid.length) return null;
    grid.fill((byte >> 4) * STEP, at, at + run);
    at += run;
  }
  return at === grid.length && !isEmpty(grid) ? grid : null;
}
