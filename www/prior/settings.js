// The settings of the room Prior: what each accepts, as the crate declares it. A model recommends defaults.

import { PRIOR, SAMPLER } from "../contract/generated/settings.js";
import { rangeOf, whole } from "../url/address.js";

/** @import { PriorConfig } from "../contract/prior.js" */

export const SAMPLERS = /** @type {const} */ (["ula", "mala", "hmc", "sir"]);
export const WAYS = /** @type {const} */ (["line", "sphere"]);

/** @typedef {Exclude<keyof PriorConfig, "sampler">} NumberSetting */
/** In the order of the address. @type {readonly NumberSetting[]} */
export const NUMBERS = ["stage", "count", "seed", "step_size", "warmup", "temperature", "start_scale", "proposals"];

export const RANGES = /** @satisfies {Record<NumberSetting | "steps" | "frames", import("../url/address.js").Range>} */ ({
  stage: whole(0, 64),
  count: rangeOf(PRIOR.count),
  seed: rangeOf(PRIOR.seed),
  step_size: rangeOf(SAMPLER.step_size),
  warmup: rangeOf(PRIOR.warmup),
  temperature: rangeOf(PRIOR.temperature),
  start_scale: rangeOf(PRIOR.start_scale),
  proposals: rangeOf(PRIOR.proposals),
  steps: whole(1, 1000),
  frames: whole(2, 32),
});

/** Images of an interpolation. */
export const FRAMES = 12;
