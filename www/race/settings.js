// The Race's settings: what each accepts, and where it starts, as the crate declares them. The form and the
// address read them here.

import { RACE, RACE_DEFAULTS, RACE_SAMPLERS, SAMPLER, SAMPLERS } from "../contract/generated/settings.js";
import { rangeOf, whole } from "../url/address.js";

/** @import { RaceConfig, SamplerName } from "../contract/race.js" */

/** Transitions per frame. */
export const PACES = /** @type {const} */ ([1, 2, 5, 10, 20, 50]);

/** The samplers that race. */
export const NAMES = RACE_SAMPLERS;

/** The acceptance that a sampler's warm-up aims at; null: it does not adapt. @param {SamplerName} name */
export const targetAcceptance = (name) => SAMPLERS.find((sampler) => sampler.name === name)?.target_accept ?? null;

export const RANGES = /** @satisfies {Record<string, import("../url/address.js").Range>} */ ({
  seed: rangeOf(RACE.seed),
  chains: rangeOf(RACE.chains),
  leapfrog: rangeOf(RACE.leapfrog_steps),
  warmup: rangeOf(RACE.warmup),
  accept: rangeOf(SAMPLER.target_accept),
  start: rangeOf(RACE.start_scale),
  eps: rangeOf(SAMPLER.step_size),
  T: rangeOf(SAMPLER.temperature),
  chain: whole(1, RACE.chains.kind === "count" ? RACE.chains.max : 1),
});

/** @returns {RaceConfig} */
export const defaultConfig = () => structuredClone(RACE_DEFAULTS);
