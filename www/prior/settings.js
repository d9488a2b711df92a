// The settings of the room Prior: what each accepts. A model recommends where they start.

import { real, whole } from "../url/address.js";

/** @import { PriorConfig } from "../contract/prior.js" */

export const SAMPLERS = /** @type {const} */ (["ula", "mala", "hmc", "sir"]);
export const WAYS = /** @type {const} */ (["line", "sphere"]);

/** @typedef {Exclude<keyof PriorConfig, "sampler">} NumberSetting */
/** In the order of the address. @type {readonly NumberSetting[]} */
export const NUMBERS = ["stage", "count", "seed", "step_size", "warmup", "temperature", "start_scale", "proposals"];

export const RANGES = /** @satisfies {Record<NumberSetting | "steps" | "frames", import("../url/address.js").Range>} */ ({
  stage: whole(0, 64),
  count: whole(4, 256),
  seed: whole(0, 4294967295),
  step_size: real(0.00001, 5),
  warmup: whole(0, 1000),
  temperature: real(0.05, 20),
  start_scale: real(0.01, 3),
  proposals: whole(4, 100000),
  steps: whole(1, 1000),
  frames: whole(2, 32),
});

/** Images of an interpolation. */
export const FRAMES = 12;
