// Collects all draws of one side for the histograms, trails, table and export. No side effects.

/** @import { PlaySideFrame } from "../contract/playground.js" */

export const BINS = 48;
/** Past positions of each chain kept for the trails. */
export const TRAIL = 24;

export class SideStore {
  /** @type {number[]} */
  clocks = [];
  /** Numbers of draws after and during warm-up. */
  kept = 0;
  warmup = 0;
  /** @type {Float32Array[]} positions of the last draws, oldest first, chains × 2 each */
  trail = [];
  /** @type {Map<string, Float32Array[]>} per quantity, a block for every frame, draw-major */
  #blocks = new Map();
  /** @type {[Float64Array, Float64Array]} counts of the draws after warm-up along x and y */
  #counts = [new Float64Array(BINS), new Float64Array(BINS)];
  /** @type {[[number, number], [number, number]]} sum and sum of squares along x and y, after warm-up */
  #sums = [
    [0, 0],
    [0, 0],
  ];

  /**
   * @param {number} chains
   * @param {string[]} traced "energy", then the coordinates
   * @param {[number, number, number, number]} bounds
   */
  constructor(chains, traced, bounds) {
    this.chains = chains;
    this.traced = traced;
    this.bounds = bounds;
    this.clear();
  }

  clear() {
    [this.clocks, this.trail, this.kept, this.warmup] = [[], [], 0, 0];
    this.#blocks = new Map(this.traced.map((name) => [name, []]));
    this.#counts = [new Float64Array(BINS), new Float64Array(BINS)];
    this.#sums = [
      [0, 0],
      [0, 0],
    ];
  }

  get draws() {
    return this.kept + this.warmup;
  }

  /** Number of stored values, a measure of memory. */
  get size() {
    return this.draws * this.chains * this.traced.length;
  }

  /** @param {PlaySideFrame} frame @param {boolean} replayed */
  push(frame, replayed) {
    if (replayed) this.clear();
    if (this.trail.length === 0 && frame.draws === 0) this.trail = [frame.positions];
    const fresh = frame.clocks.length;
    if (fresh === 0) return;
    for (const clock of frame.clocks) this.clocks.push(clock);
    for (const [name, blocks] of this.#blocks) blocks.push(frame.values[name] ?? new Float32Array(fresh * this.chains).fill(NaN));
    const [xs, ys] = this.traced.slice(1, 3).map((name) => frame.values[name]);
    for (let draw = 0; draw < fresh; draw += 1) {
      if (frame.warmup[draw]) this.warmup += 1;
      else {
        this.kept += 1;
        this.#count(0, xs, draw);
        this.#count(1, ys, draw);
      }
      if (draw >= fresh - TRAIL && xs && ys) this.#follow(xs, ys, draw);
    }
  }

  /** @param {0 | 1} axis @param {Float32Array | undefined} values @param {number} draw */
  #count(axis, values, draw) {
    const counts = this.#counts[axis];
    const sums = this.#sums[axis];
    if (!values) return;
    const [from, to] = axis === 0 ? [this.bounds[0], this.bounds[1]] : [this.bounds[2], this.bounds[3]];
    for (let chain = 0; chain < this.chains; chain += 1) {
      const value = values[draw * this.chains + chain] ?? NaN;
      sums[0] += value;
      sums[1] += value * value;
      const bin = Math.floor((BINS * (value - from)) / (to - from));
      if (bin >= 0 && bin < BINS) counts[bin] = (counts[bin] ?? 0) + 1;
    }
  }

  /** @param {Float32Array} xs @param {Float32Array} ys @param {number} draw */
  #follow(xs, ys, draw) {
    const positions = new Float32Array(2 * this.chains);
    for (let chain = 0; chain < this.chains; chain += 1) {
      positions[2 * chain] = xs[draw * this.chains + chain] ?? NaN;
      positions[2 * chain + 1] = ys[draw * this.chains + chain] ?? NaN;
    }
    this.trail.push(positions);
    if (this.trail.length > TRAIL) this.trail.shift();
  }

  /**
   * Density of the draws along an axis, as heights of BINS bars; null before the first draw after warm-up.
   * @param {0 | 1} axis
   */
  histogram(axis) {
    const [from, to] = axis === 0 ? [this.bounds[0], this.bounds[1]] : [this.bounds[2], this.bounds[3]];
    const all = this.kept * this.chains;
    const counts = this.#counts[axis];
    if (all === 0) return null;
    const scale = BINS / ((to - from) * all);
    return Array.from(counts, (count) => count * scale);
  }

  /** Mean and standard deviation of the draws along an axis. @param {0 | 1} axis */
  moments(axis) {
    const n = this.kept * this.chains;
    const [sum, squares] = this.#sums[axis];
    if (n < 2) return null;
    const mean = sum / n;
    return { mean, sd: Math.sqrt(Math.max(0, (squares - n * mean * mean) / (n - 1))) };
  }

  /**
   * The draws after warm-up, a row for each chain.
   * @param {string} name
   * @returns {number[][]}
   */
  matrix(name) {
    const rows = Array.from({ length: this.chains }, () => /** @type {number[]} */ ([]));
    let draw = 0;
    for (const block of this.#blocks.get(name) ?? []) {
      for (let at = 0; at < block.length; at += this.chains, draw += 1) {
        if (draw < this.warmup) continue;
        rows.forEach((row, chain) => row.push(block[at + chain] ?? NaN));
      }
    }
    return rows;
  }

  /** The clock of the last transition before this one; 0 before the first. @param {number} clock */
  before(clock) {
    let [low, high] = [0, this.clocks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {number} */ (this.clocks[middle]) < clock) low = middle + 1;
      else high = middle;
    }
    return this.clocks[low - 1] ?? 0;
  }
}
