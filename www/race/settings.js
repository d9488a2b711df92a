// The Race's settings: what each accepts, and where it starts. The form and the address read them here.

import { real, whole } from "../url/address.js";

/** @import { RaceConfig } from "../contract/race.js" */

/** Transitions per frame. */
export const PACES = /** @type {const} */ ([1, 2, 5, 10, 20, 50]);

/** Acceptance at which each sampler explores fastest, by the usual theory. */
export const TARGET_ACCEPT = /** @type {const} */ ({ ula: 0.57, mala: 0.57, hmc: 0.8 });

export const RANGES = /** @satisfies {Record<string, import("../url/address.js").Range>} */ ({
  seed: whole(0, 4294967295),
  chains: whole(4, 64),
  leapfrog: whole(1, 50),
  warmup: whole(0, 5000),
  accept: real(0.1, 0.99),
  start: real(0.1, 5),
  eps: real(0.00001, 5),
  T: real(0.01, 100),
  chain: whole(1, 64),
});

/** @returns {RaceConfig} */
export function defaultConfig() {
  return {
    model: "flow-ebm-mnist",
    seed: 7,
    chains: 12,
    sampler: "mala",
    leapfrog_steps: 10,
    adapt: true,
    warmup: 50,
    target_accept: TARGET_ACCEPT.mala,
    match_temperature: true,
    start_scale: 1.2,
    pixel: { step_size: null, temperature: 1 },
    latent: { step_size: null, temperature: 1 },
  };
}
