// The Race's address: the settings of the race, and what of it is looked at.

import { NEEDED } from "../model/files.js";
import { Address, choice, flag, MODEL_NAME, number, pattern } from "../url/address.js";
import { defaultConfig, NAMES, PACES, RANGES } from "./settings.js";

/** @import { Manifest } from "../contract/models.js" */
/** @import { RaceConfig } from "../contract/race.js" */
/** @import { Field } from "../url/address.js" */

/**
 * @typedef {object} PageState
 * @property {RaceConfig} config
 * @property {number} pace transitions per frame
 * @property {string} traced the quantity in the trace
 * @property {number | null} chain the followed chain, counted from 0
 */

/**
 * The models that can race: those that can be sampled in both spaces, with the files that a race needs.
 * @param {Manifest} manifest
 * @returns {Manifest}
 */
export function racing(manifest) {
  const models = manifest.models.filter(({ spaces }) => ["pixel", "latent"].every((space) => spaces.includes(space)));
  return { ...manifest, models: models.map((model) => ({ ...model, files: model.files.filter(({ path }) => NEEDED.some((needed) => needed === path)) })) };
}

/** @returns {PageState} */
export function defaultState() {
  return { config: defaultConfig(), pace: 2, traced: "energy", chain: null };
}

/** @type {Record<string, Field<PageState>>} */
const fields = {
  model: pattern(MODEL_NAME, "a model's name", ({ config }) => config.model, ({ config }, name) => (config.model = name)),
  seed: number(RANGES.seed, ({ config }) => config.seed, ({ config }, value) => (config.seed = value)),
  chains: number(RANGES.chains, ({ config }) => config.chains, ({ config }, value) => (config.chains = value)),
  sampler: choice(NAMES, ({ config }) => config.sampler, ({ config }, name) => (config.sampler = name), "ula, mala or hmc"),
  leapfrog: number(RANGES.leapfrog, ({ config }) => config.leapfrog_steps, ({ config }, value) => (config.leapfrog_steps = value)),
  warmup: number(RANGES.warmup, ({ config }) => config.warmup, ({ config }, value) => (config.warmup = value)),
  adapt: flag(({ config }) => config.adapt, ({ config }, on) => (config.adapt = on)),
  accept: number(RANGES.accept, ({ config }) => config.target_accept, ({ config }, value) => (config.target_accept = value), "auto"),
  start: number(RANGES.start, ({ config }) => config.start_scale, ({ config }, value) => (config.start_scale = value)),
  match: flag(({ config }) => config.match_temperature, ({ config }, on) => (config.match_temperature = on)),
  "pixel-eps": number(RANGES.eps, ({ config }) => config.pixel.step_size, ({ config }, value) => (config.pixel.step_size = value), "auto"),
  "latent-eps": number(RANGES.eps, ({ config }) => config.latent.step_size, ({ config }, value) => (config.latent.step_size = value), "auto"),
  "pixel-T": number(RANGES.T, ({ config }) => config.pixel.temperature, ({ config }, value) => (config.pixel.temperature = value)),
  "latent-T": number(RANGES.T, ({ config }) => config.latent.temperature, ({ config }, value) => (config.latent.temperature = value)),
  pace: choice(PACES.map(String), ({ pace }) => String(pace), (state, pace) => (state.pace = Number(pace))),
  trace: pattern(/^[a-z][a-z0-9_]{0,31}$/, "the name of a traced quantity", ({ traced }) => traced, (state, name) => (state.traced = name)),
  chain: number(RANGES.chain, ({ chain }) => (chain === null ? null : chain + 1), (state, value) => (state.chain = value === null ? null : value - 1), "none"),
};

/** @type {Address<PageState>} */
export const address = new Address({
  fields,
  defaults: defaultState,
  settle: (state) => {
    const { config } = state;
    // One number per pair of sides: the switch and two different temperatures cannot both hold.
    if (config.match_temperature) config.pixel.temperature = config.latent.temperature;
    if (state.chain === null || state.chain < config.chains) return [];
    const problem = `“chain” is ${state.chain + 1}, but there are ${config.chains} chains`;
    state.chain = null;
    return [problem];
  },
});
