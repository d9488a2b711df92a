// The Playground's settings: what each accepts, and where it starts, as the crate declares them. The form,
// the lessons and the address read them here.

import { LEARN_DEFAULTS, PLAYGROUND, PLAYGROUND_DEFAULTS, PLAYGROUND_SAMPLER, SAMPLER, SAMPLERS as DECLARED } from "../contract/generated/settings.js";
import { rangeOf, real, whole } from "../url/address.js";

/** @import { LearnConfig, PlayConfig, PlaySampler, PlaySide, SamplerConfig } from "../contract/playground.js" */

/** ∇E per second of each chain; 0: as fast as it goes. */
export const PACES = /** @type {const} */ ([2, 10, 60, 300, 1500, 0]);

/** @type {readonly PlaySampler[]} */
export const SAMPLERS = DECLARED.map(({ name }) => name);
export const STARTS = /** @type {const} */ (["dispersed", "mode", "superchains"]);
export const SPACES = /** @type {const} */ (["data", "latent"]);

export const RANGES = /** @satisfies {Record<string, import("../url/address.js").Range>} */ ({
  seed: rangeOf(PLAYGROUND.seed),
  chains: rangeOf(PLAYGROUND.chains),
  superchains: rangeOf(PLAYGROUND.superchains),
  eps: rangeOf(SAMPLER.step_size),
  T: rangeOf(SAMPLER.temperature),
  leapfrog: rangeOf(SAMPLER.leapfrog_steps),
  depth: rangeOf(SAMPLER.max_tree_depth),
  noise: rangeOf(SAMPLER.noise),
  clip: rangeOf(SAMPLER.clip),
  friction: rangeOf(SAMPLER.friction),
  rungs: rangeOf(SAMPLER.rungs),
  hottest: rangeOf(SAMPLER.hottest),
  warmup: rangeOf(SAMPLER.warmup),
  accept: rangeOf(SAMPLER.target_accept),
  chain: whole(1, PLAYGROUND.chains.kind === "count" ? PLAYGROUND.chains.max : 1),
  at: real(0, 10000000),
  iterations: rangeOf(PLAYGROUND.flow_iterations),
  steps: rangeOf(PLAYGROUND.steps),
  hidden: rangeOf(PLAYGROUND.hidden),
});

/**
 * @param {PlaySampler} sampler
 * @returns {SamplerConfig}
 */
export function samplerConfig(sampler) {
  return { ...PLAYGROUND_SAMPLER, sampler };
}

/**
 * @param {PlaySampler} sampler
 * @param {Partial<SamplerConfig>} [settings]
 * @param {PlaySide["space"]} [space]
 * @returns {PlaySide}
 */
export function side(sampler, settings = {}, space = "data") {
  return { sampler: { ...samplerConfig(sampler), ...settings }, space };
}

/** @returns {PlayConfig} */
export const defaultConfig = () => structuredClone(PLAYGROUND_DEFAULTS);

/** @returns {LearnConfig} */
export const defaultLearn = () => structuredClone(LEARN_DEFAULTS);
