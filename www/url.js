// The whole state of the page as the address's hash, so that a link shows what its sender saw.
// Pure functions: nothing here touches the document.

import { NEEDED } from "./model-files.js";

/** @import { Manifest, RaceConfig, SamplerName } from "./protocol.js" */

/**
 * @typedef {object} PageState
 * @property {RaceConfig} config
 * @property {number} pace transitions per frame
 * @property {string} traced the quantity in the trace
 * @property {number | null} chain the followed chain, counted from 0
 */

export const PACES = /** @type {const} */ ([1, 2, 5, 10, 20, 50]);

/** Acceptance at which each sampler explores fastest, by the usual theory. */
export const TARGET_ACCEPT = /** @type {const} */ ({ ula: 0.57, mala: 0.57, hmc: 0.8 });

/** Smallest and largest accepted value of each number; the form uses the same. */
export const RANGES = /** @type {const} */ ({
  seed: [0, 4294967295],
  chains: [4, 64],
  leapfrog: [1, 50],
  warmup: [0, 5000],
  accept: [0.1, 0.99],
  start: [0.1, 5],
  eps: [0.00001, 5],
  T: [0.01, 100],
  chain: [1, 64],
});

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
  return {
    config: {
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
    },
    pace: 2,
    traced: "energy",
    chain: null,
  };
}

/**
 * How one key of the address is read and written.
 * @typedef {object} Field
 * @property {(state: PageState) => string} write
 * @property {(state: PageState, text: string) => string | null} read null when taken, else what would be
 */

/** @type {Record<string, Field>} */
const FIELDS = {
  model: {
    write: ({ config }) => config.model,
    read: ({ config }, text) => {
      if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(text)) return "a model's name";
      config.model = text;
      return null;
    },
  },
  seed: number("seed", true, ({ config }) => config.seed, ({ config }, value) => (config.seed = value)),
  chains: number("chains", true, ({ config }) => config.chains, ({ config }, value) => (config.chains = value)),
  sampler: {
    write: ({ config }) => config.sampler,
    read: ({ config }, text) => {
      if (!Object.hasOwn(TARGET_ACCEPT, text)) return "ula, mala or hmc";
      config.sampler = /** @type {SamplerName} */ (text);
      return null;
    },
  },
  leapfrog: number("leapfrog", true, ({ config }) => config.leapfrog_steps, ({ config }, value) => (config.leapfrog_steps = value)),
  warmup: number("warmup", true, ({ config }) => config.warmup, ({ config }, value) => (config.warmup = value)),
  adapt: flag(({ config }) => config.adapt, ({ config }, on) => (config.adapt = on)),
  accept: number("accept", false, ({ config }) => config.target_accept, ({ config }, value) => (config.target_accept = value)),
  start: number("start", false, ({ config }) => config.start_scale, ({ config }, value) => (config.start_scale = value)),
  match: flag(({ config }) => config.match_temperature, ({ config }, on) => (config.match_temperature = on)),
  "pixel-eps": stepSize("pixel"),
  "latent-eps": stepSize("latent"),
  "pixel-T": number("T", false, ({ config }) => config.pixel.temperature, ({ config }, value) => (config.pixel.temperature = value)),
  "latent-T": number("T", false, ({ config }) => config.latent.temperature, ({ config }, value) => (config.latent.temperature = value)),
  pace: {
    write: ({ pace }) => String(pace),
    read: (state, text) => {
      const pace = PACES.find((candidate) => String(candidate) === text);
      if (pace === undefined) return `one of ${PACES.join(", ")}`;
      state.pace = pace;
      return null;
    },
  },
  trace: {
    write: ({ traced }) => traced,
    read: (state, text) => {
      if (!/^[a-z][a-z0-9_]{0,31}$/.test(text)) return "the name of a traced quantity";
      state.traced = text;
      return null;
    },
  },
  chain: {
    write: ({ chain }) => (chain === null ? "none" : String(chain + 1)),
    read: (state, text) => {
      const value = text === "none" ? null : inRange("chain", true, text);
      if (value === undefined) return `none, or a whole number from ${RANGES.chain.join(" to ")}`;
      state.chain = value === null ? null : value - 1;
      return null;
    },
  },
};

/**
 * @param {keyof typeof RANGES} range
 * @param {boolean} whole
 * @param {string} text
 * @returns {number | undefined}
 */
export function inRange(range, whole, text) {
  // Number() reads "", " " and "0x10" as numbers; an address should not.
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  const [least, most] = RANGES[range];
  if (!Number.isFinite(value) || value < least || value > most || (whole && !Number.isInteger(value))) return undefined;
  return value;
}

/**
 * @param {keyof typeof RANGES} range
 * @param {boolean} whole
 * @param {(state: PageState) => number} get
 * @param {(state: PageState, value: number) => void} set
 * @returns {Field}
 */
function number(range, whole, get, set) {
  return {
    write: (state) => String(get(state)),
    read: (state, text) => {
      const value = inRange(range, whole, text);
      if (value === undefined) return `a ${whole ? "whole " : ""}number from ${RANGES[range].join(" to ")}`;
      set(state, value);
      return null;
    },
  };
}

/**
 * @param {(state: PageState) => boolean} get
 * @param {(state: PageState, on: boolean) => void} set
 * @returns {Field}
 */
function flag(get, set) {
  return {
    write: (state) => (get(state) ? "on" : "off"),
    read: (state, text) => {
      if (text !== "on" && text !== "off") return "on or off";
      set(state, text === "on");
      return null;
    },
  };
}

/**
 * @param {"pixel" | "latent"} side
 * @returns {Field}
 */
function stepSize(side) {
  return {
    write: ({ config }) => (config[side].step_size === null ? "auto" : String(config[side].step_size)),
    read: ({ config }, text) => {
      const value = text === "auto" ? null : inRange("eps", false, text);
      if (value === undefined) return `auto, or a number from ${RANGES.eps.join(" to ")}`;
      config[side].step_size = value;
      return null;
    },
  };
}

/**
 * @param {PageState} state
 * @returns {string} starts with "#"
 */
export function formatState(state) {
  const pairs = Object.entries(FIELDS).map(([key, field]) => `${key}=${encodeURIComponent(field.write(state))}`);
  return `#${pairs.join("&")}`;
}

/**
 * Reads as much of an address as makes sense. What does not keeps its default and is told.
 * @param {string} hash with or without "#"
 * @returns {{ state: PageState, problems: string[] }}
 */
export function parseState(hash) {
  const state = defaultState();
  /** @type {string[]} */
  const problems = [];
  /** @type {Set<string>} */
  const seen = new Set();
  for (const pair of hash.replace(/^#/, "").split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const field = Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined;
    if (!field) {
      problems.push(`“${shorten(key)}” is not a setting`);
      continue;
    }
    if (seen.has(key)) {
      problems.push(`“${key}” is given twice; the first counts`);
      continue;
    }
    seen.add(key);
    const text = decode(equals < 0 ? "" : pair.slice(equals + 1));
    const wanted = text === null ? "text that can be decoded" : field.read(state, text);
    if (wanted) problems.push(`“${key}” should be ${wanted}, not “${shorten(text ?? pair.slice(equals + 1))}”`);
  }
  // The target belongs to the sampler, unless the address has its own.
  if (!seen.has("accept")) state.config.target_accept = TARGET_ACCEPT[state.config.sampler];
  // One number per pair of sides: the switch and two different temperatures cannot both hold.
  if (state.config.match_temperature) state.config.pixel.temperature = state.config.latent.temperature;
  if (state.chain !== null && state.chain >= state.config.chains) {
    problems.push(`“chain” is ${state.chain + 1}, but there are ${state.config.chains} chains`);
    state.chain = null;
  }
  return { state, problems };
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** @param {string} text */
function shorten(text) {
  return text.length > 24 ? `${text.slice(0, 24)}…` : text;
}
