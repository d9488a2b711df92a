// The draws for the charts, thinned so that memory and drawing time stay bounded in long runs: when
// the store is full, every second draw is dropped and the stride doubles.

/** @import { SideFrame } from "../contract/race.js" */

export const CAPACITY = 1024;

export class TraceStore {
  /**
   * @param {number} chains
   * @param {string[]} names
   * @param {number} warmup warm-up transitions, excluded from statistics
   */
  constructor(chains, names, warmup) {
    this.chains = chains;
    this.warmup = warmup;
    /** Draws seen, including thinned ones. */
    this.draws = 0;
    /** Clock at the end of the warm-up; null during it. */
    this.warmupEnd = /** @type {number | null} */ (warmup === 0 ? 0 : null);
    this.stride = 1;
    /** @type {number[]} */
    this.clock = [];
    /** @type {Map<string, number[][]>} per quantity, per chain */
    this.values = new Map(names.map((name) => [name, Array.from({ length: chains }, () => [])]));
  }

  /** @param {Pick<SideFrame, "gradients" | "transitions" | "trace_clock" | "traces">} frame */
  push(frame) {
    // A restored frame has no new draws and an older clock: later draws will arrive again.
    if (frame.trace_clock.length === 0) this.#rewind(frame.gradients, frame.transitions);
    frame.trace_clock.forEach((clock, draw) => {
      this.draws += 1;
      if (this.draws === this.warmup) this.warmupEnd = clock;
      if (this.draws % this.stride !== 0) return;
      this.clock.push(clock);
      for (const [name, chains] of this.values) {
        const fresh = frame.traces[name];
        chains.forEach((line, chain) => line.push(fresh?.[draw * this.chains + chain] ?? NaN));
      }
      if (this.clock.length >= CAPACITY) this.#thin();
    });
  }

  /**
   * @param {number} clock
   * @param {number} draws
   */
  #rewind(clock, draws) {
    let keep = this.clock.length;
    while (keep > 0 && /** @type {number} */ (this.clock[keep - 1]) > clock) keep -= 1;
    this.clock.length = keep;
    for (const chains of this.values.values()) for (const line of chains) line.length = keep;
    this.draws = Math.min(this.draws, draws);
    if (this.draws < this.warmup) this.warmupEnd = null;
  }

  #thin() {
    // Keeps the draws whose number is a multiple of the new stride.
    const second = (/** @type {unknown} */ _, /** @type {number} */ index) => index % 2 === 1;
    this.clock = this.clock.filter(second);
    for (const chains of this.values.values()) {
      chains.forEach((line, chain) => (chains[chain] = line.filter(second)));
    }
    this.stride *= 2;
  }

  /**
   * Range of the last three quarters of the draws. The distant starts would flatten the rest.
   * @param {string} name
   * @returns {[number, number] | null}
   */
  range(name) {
    let [least, most] = [Infinity, -Infinity];
    for (const line of this.values.get(name) ?? []) {
      for (let draw = Math.floor(line.length / 4); draw < line.length; draw += 1) {
        const value = /** @type {number} */ (line[draw]);
        if (value < least) least = value;
        if (value > most) most = value;
      }
    }
    return least <= most ? [least, most] : null;
  }

  /**
   * Evenly spaced draws for the table beside the chart.
   * @param {string} name
   * @param {number} rows
   */
  table(name, rows) {
    const lines = this.values.get(name) ?? [];
    const count = Math.min(rows, this.clock.length);
    return Array.from({ length: count }, (_, row) => {
      const draw = count === 1 ? 0 : Math.round((row * (this.clock.length - 1)) / (count - 1));
      const chains = lines.map((line) => /** @type {number} */ (line[draw]));
      const sorted = chains.filter(Number.isFinite).sort((a, b) => a - b);
      const clock = /** @type {number} */ (this.clock[draw]);
      return { clock, least: sorted[0], median: median(sorted), most: sorted.at(-1), chains };
    });
  }
}

/** @param {number[]} sorted */
export function median(sorted) {
  const half = Math.floor(sorted.length / 2);
  const [below, above] = [sorted[half - 1], sorted[half]];
  return sorted.length % 2 === 1 || below === undefined || above === undefined ? above : (below + above) / 2;
}
