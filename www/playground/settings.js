// The Playground's settings: what each accepts, and where it starts. The form, the lessons and the
// address read them here.

import { real, whole } from "../url/address.js";

/** @import { LearnConfig, PlayConfig, PlaySampler, PlaySide, SamplerConfig } from "../contract/playground.js" */

/** ∇E per second of each chain; 0: as fast as it goes. */
export const PACES = /** @type {const} */ ([2, 10, 60, 300, 1500, 0]);

/** @type {readonly PlaySampler[]} */
export const SAMPLERS = ["rwm", "ula", "sgld", "mala", "hmc", "nuts", "underdamped", "tempering", "gibbs"];
export const STARTS = /** @type {const} */ (["dispersed", "mode", "superchains"]);
export const SPACES = /** @type {const} */ (["data", "latent"]);

export const RANGES = /** @satisfies {Record<string, import("../url/address.js").Range>} */ ({
  seed: whole(0, 4294967295),
  chains: whole(2, 1000),
  superchains: whole(1, 500),
  eps: real(0.00001, 100),
  T: real(0.001, 1000),
  leapfrog: whole(1, 1000),
  depth: whole(1, 10),
  noise: real(0.0000001, 100),
  clip: real(0.0001, 1000000),
  friction: real(0.001, 1000),
  rungs: whole(2, 16),
  hottest: real(1, 1000),
  warmup: whole(0, 10000),
  accept: real(0.05, 0.99),
  chain: whole(1, 1000),
  at: real(0, 10000000),
  iterations: whole(10, 20000),
  steps: whole(1, 12),
  hidden: whole(4, 128),
});

/**
 * @param {PlaySampler} sampler
 * @returns {SamplerConfig}
 */
export function samplerConfig(sampler) {
  return {
    sampler,
    step_size: null,
    temperature: 1,
    leapfrog_steps: 10,
    max_tree_depth: 6,
    noise: null,
    clip: null,
    friction: 1,
    rungs: 5,
    hottest: 20,
    adapt_mass: false,
    warmup: 100,
    no_adapt: false,
    target_accept: null,
    groups: 1,
  };
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
export function defaultConfig() {
  return { target: "eight-modes", seed: 7, chains: 12, start: "dispersed", superchains: 1, sides: [side("mala"), side("nuts")] };
}

/** @returns {LearnConfig} */
export function defaultLearn() {
  return { target: "eight-modes", seed: 1, flow_iterations: 1500, tilt_iterations: 1500, steps: 6, hidden: 32 };
}
