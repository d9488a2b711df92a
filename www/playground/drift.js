// Compares the same run on both builds, to check that a replay on another device is the same run. The
// random words must agree bit for bit. The chains cannot, because devices round differently and
// chaotic paths amplify rounding.

import { Session } from "../engine/session.js";

/** @import { PlayConfig, PlayFrame } from "../contract/playground.js" */
/** @import { DeviceReport } from "../contract/session.js" */

/** ∇E per chain in the comparison. */
export const COMPARED = 60;

/**
 * @typedef {object} Drift
 * @property {DeviceReport} report report of the session that should run on WebGPU
 * @property {boolean | null} words whether the random words are the same; null: the device uses the host's
 * @property {number} transitions number compared, on the side with more transitions
 * @property {number} first largest difference of a coordinate after one transition, relative to max(1, |x|)
 * @property {number} largest the same over all transitions
 */

/**
 * Largest relative difference of the coordinates in two frames, over the first `draws` draws.
 * @param {PlayFrame} a
 * @param {PlayFrame} b
 * @param {number} draws
 */
export function apart(a, b, draws) {
  let largest = 0;
  for (const [s, side] of a.sides.entries()) {
    const other = b.sides[s];
    const chains = side.energies.length;
    for (const [name, values] of Object.entries(side.values)) {
      // Skipped: the energy is a function of the coordinates, on another scale.
      if (name === "energy") continue;
      const theirs = other?.values[name] ?? new Float32Array();
      const end = Math.min(values.length, theirs.length, draws * chains);
      for (let i = 0; i < end; i += 1) {
        const [x, y] = [values[i] ?? NaN, theirs[i] ?? NaN];
        // NaN on both sides is agreement; NaN on one side is not.
        const gap = Object.is(x, y) ? 0 : Math.abs(x - y) / Math.max(1, Math.abs(x));
        largest = Math.max(largest, Number.isNaN(gap) ? Infinity : gap);
      }
    }
  }
  return largest;
}

/**
 * Computes the beginning of a run on the CPU build and on the WebGPU build.
 * @param {PlayConfig} config of a built-in target; drawings and learned densities exist in one engine only
 * @returns {Promise<Drift>}
 */
export async function measureDrift(config) {
  /** @param {"cpu" | "webgpu"} runtime */
  const run = async (runtime) => {
    const session = new Session("play", () => {});
    try {
      const report = await session.start(runtime);
      const { host, device } = await session.words(config.seed, 0, 16, 10);
      await session.ask("configure", config);
      return { report, host, device, frame: await session.ask("advance", COMPARED, false) };
    } finally {
      session.end();
    }
  };
  // In sequence: two compilations at once would be slower.
  const cpu = await run("cpu");
  const gpu = await run("webgpu");
  const same = (/** @type {Uint32Array} */ words) => words.length === cpu.host.length && words.every((word, i) => word === cpu.host[i]);
  return {
    report: gpu.report,
    words: gpu.device ? same(gpu.device) && same(gpu.host) : null,
    transitions: Math.max(...cpu.frame.sides.map(({ draws }) => draws)),
    first: apart(cpu.frame, gpu.frame, 1),
    largest: apart(cpu.frame, gpu.frame, Infinity),
  };
}
