// The Playground's address: the settings of the run, and what of it is looked at. Only what differs
// from the defaults (or from the lesson's preset) is written, so that links stay short.

import { Address, choice, flag, number, pattern } from "../url/address.js";
import { decodeGrid, encodeGrid } from "./grid.js";
import { LESSONS } from "./lessons.js";
import { defaultConfig, defaultLearn, PACES, RANGES, SAMPLERS, side, SPACES, STARTS } from "./settings.js";

/** @import { LearnConfig, PlayConfig, SamplerConfig } from "../contract/playground.js" */
/** @import { Field, Range } from "../url/address.js" */

/** The parts of the page that can be hidden, as the address and the Share dialog name them. */
export const PANELS = /** @type {const} */ ({
  setup: "Target, samplers and settings",
  transport: "Buttons and clock",
  marginals: "Marginals beside the surface",
  legend: "Legend of the energy",
  path: "Path of a transition",
  trace: "Trace",
  ranks: "Rank plot",
  running: "Running R-hat",
  autocorrelation: "Autocorrelation",
  numbers: "Numbers",
  make: "Draw and learn",
  check: "Check us",
});
/** @typedef {keyof typeof PANELS} Panel */

/**
 * @typedef {object} PlayState
 * @property {PlayConfig} config as wished for: null where the target or sampler decides
 * @property {number} pace ∇E per second of each chain; 0: as fast as it goes
 * @property {string} quantity
 * @property {number | null} chain the chosen one, counted from 0
 * @property {number | null} lesson 1 …
 * @property {boolean} embed
 * @property {Panel[]} hide
 * @property {Uint8Array | null} drawn
 * @property {number | null} at the clock to begin at; only in shared links
 * @property {LearnConfig} learn
 */

/** @returns {PlayState} */
export function defaultState() {
  return { config: defaultConfig(), pace: 60, quantity: "x", chain: null, lesson: null, embed: false, hide: [], drawn: null, at: null, learn: defaultLearn() };
}

/**
 * What a lesson starts from, or the plain defaults.
 * @param {number | null} lesson
 * @returns {PlayState}
 */
export function presetState(lesson) {
  const state = defaultState();
  const preset = lesson === null ? undefined : LESSONS[lesson - 1]?.preset;
  if (!preset) return state;
  const { sides, learn, ...rest } = structuredClone(preset);
  const { target, seed, chains, start, superchains, ...view } = rest;
  Object.assign(state, view);
  Object.assign(state.config, Object.fromEntries(Object.entries({ target, seed, chains, start, superchains }).filter(([, value]) => value !== undefined)));
  Object.assign(state.learn, learn ?? {});
  state.config.sides = sides.map(({ sampler, space, ...settings }) => side(sampler, settings, space ?? "data"));
  state.lesson = lesson;
  return state;
}

/**
 * @param {(state: PlayState) => string} get
 * @param {(state: PlayState, name: string) => void} set
 * @returns {Field<PlayState>}
 */
const name = (get, set) => pattern(/^[a-z][a-z0-9_-]{0,47}$/i, "a name", get, set);

/**
 * The keys of one side's settings, for example "a-eps".
 * @param {0 | 1} index
 * @param {"a" | "b"} prefix
 * @returns {Record<string, Field<PlayState>>}
 */
function sideFields(index, prefix) {
  const samplerOf = (/** @type {PlayState} */ state) => state.config.sides[index]?.sampler;
  /**
   * @param {Range} range
   * @param {keyof SamplerConfig} key
   * @param {string} [empty]
   * @returns {Field<PlayState>}
   */
  const setting = (range, key, empty) =>
    number(
      range,
      (state) => /** @type {number | null | undefined} */ (samplerOf(state)?.[key]),
      (state, value) => {
        const sampler = samplerOf(state);
        if (sampler) Object.assign(sampler, { [key]: value });
      },
      empty,
    );
  /** @param {"adapt_mass" | "no_adapt"} key @param {boolean} when the value that "on" stands for @returns {Field<PlayState>} */
  const toggle = (key, when) =>
    flag(
      (state) => {
        const value = samplerOf(state)?.[key];
        return value === undefined ? undefined : value === when;
      },
      (state, on) => {
        const sampler = samplerOf(state);
        if (sampler) sampler[key] = on === when;
      },
    );
  return {
    [`${prefix}-eps`]: setting(RANGES.eps, "step_size", "auto"),
    [`${prefix}-T`]: setting(RANGES.T, "temperature"),
    [`${prefix}-leapfrog`]: setting(RANGES.leapfrog, "leapfrog_steps"),
    [`${prefix}-depth`]: setting(RANGES.depth, "max_tree_depth"),
    [`${prefix}-noise`]: setting(RANGES.noise, "noise", "auto"),
    [`${prefix}-clip`]: setting(RANGES.clip, "clip", "none"),
    [`${prefix}-friction`]: setting(RANGES.friction, "friction"),
    [`${prefix}-rungs`]: setting(RANGES.rungs, "rungs"),
    [`${prefix}-hottest`]: setting(RANGES.hottest, "hottest"),
    [`${prefix}-warmup`]: setting(RANGES.warmup, "warmup"),
    [`${prefix}-accept`]: setting(RANGES.accept, "target_accept", "auto"),
    [`${prefix}-mass`]: toggle("adapt_mass", true),
    [`${prefix}-adapt`]: toggle("no_adapt", false),
    [`${prefix}-space`]: choice(
      SPACES,
      (state) => state.config.sides[index]?.space,
      (state, space) => {
        const own = state.config.sides[index];
        if (own) own.space = space;
      },
    ),
  };
}

/** @type {Record<string, Field<PlayState>>} */
const fields = {
  // The lesson stands first: its preset is what the other keys change.
  lesson: choice(
    LESSONS.map((_, index) => String(index + 1)),
    ({ lesson }) => (lesson === null ? null : String(lesson)),
    (state, lesson) => Object.assign(state, presetState(Number(lesson))),
    `a number from 1 to ${LESSONS.length}`,
  ),
  embed: {
    write: ({ embed }) => (embed ? "" : null),
    read: (state, text) => {
      if (!["", "on", "off"].includes(text)) return "on or off, or stand alone";
      state.embed = text !== "off";
      return null;
    },
  },
  target: name(({ config }) => config.target, ({ config }, target) => (config.target = target)),
  seed: number(RANGES.seed, ({ config }) => config.seed, ({ config }, value) => (config.seed = value)),
  chains: number(RANGES.chains, ({ config }) => config.chains, ({ config }, value) => (config.chains = value)),
  start: choice(STARTS, ({ config }) => config.start, ({ config }, start) => (config.start = start)),
  superchains: number(RANGES.superchains, ({ config }) => config.superchains, ({ config }, value) => (config.superchains = value)),
  // The samplers stand before their settings: naming one resets what belonged to the other.
  a: choice(SAMPLERS, ({ config }) => config.sides[0]?.sampler.sampler, ({ config }, sampler) => (config.sides[0] = side(sampler))),
  b: choice(
    ["none", ...SAMPLERS],
    ({ config }) => config.sides[1]?.sampler.sampler ?? "none",
    ({ config }, sampler) => {
      if (sampler === "none") config.sides.length = 1;
      else config.sides[1] = side(sampler);
    },
  ),
  ...sideFields(0, "a"),
  ...sideFields(1, "b"),
  pace: choice(PACES.map(String), ({ pace }) => String(pace), (state, pace) => (state.pace = Number(pace))),
  show: name(({ quantity }) => quantity, (state, quantity) => (state.quantity = quantity)),
  chain: number(RANGES.chain, ({ chain }) => (chain === null ? null : chain + 1), (state, value) => (state.chain = value === null ? null : value - 1), "none"),
  drawn: {
    write: ({ drawn }) => (drawn ? encodeGrid(drawn) : null),
    read: (state, text) => {
      const grid = decodeGrid(text);
      if (!grid) return "a drawing from this page";
      state.drawn = grid;
      return null;
    },
  },
  "learn-from": name(({ learn }) => learn.target, ({ learn }, target) => (learn.target = target)),
  "learn-seed": number(RANGES.seed, ({ learn }) => learn.seed, ({ learn }, value) => (learn.seed = value)),
  "learn-flow": number(RANGES.iterations, ({ learn }) => learn.flow_iterations, ({ learn }, value) => (learn.flow_iterations = value)),
  "learn-tilt": number(RANGES.iterations, ({ learn }) => learn.tilt_iterations, ({ learn }, value) => (learn.tilt_iterations = value)),
  "learn-steps": number(RANGES.steps, ({ learn }) => learn.steps, ({ learn }, value) => (learn.steps = value)),
  "learn-hidden": number(RANGES.hidden, ({ learn }) => learn.hidden, ({ learn }, value) => (learn.hidden = value)),
  at: number(RANGES.at, ({ at }) => at ?? undefined, (state, value) => (state.at = value)),
  hide: {
    write: ({ hide }) => (hide.length > 0 ? hide.join(",") : null),
    read: (state, text) => {
      const names = text.split(",");
      if (!names.every((panel) => Object.hasOwn(PANELS, panel))) return `some of ${Object.keys(PANELS).join(", ")}`;
      state.hide = /** @type {Panel[]} */ ([...new Set(names)]);
      return null;
    },
  },
};

/** @type {Address<PlayState>} */
export const address = new Address({
  fields,
  defaults: defaultState,
  brief: true,
  settle: (state, given) => {
    const { config } = state;
    /** @type {string[]} */
    const problems = [];
    if (config.sides.length < 2) {
      const orphan = [...given].find((key) => key.startsWith("b-"));
      if (orphan) problems.push(`“${orphan}” belongs to a second side, and there is none`);
    }
    if (config.chains % config.superchains !== 0) {
      problems.push(`${config.chains} chains cannot be divided into ${config.superchains} superchains`);
      config.superchains = 1;
    }
    if (state.chain !== null && state.chain >= config.chains) {
      problems.push(`“chain” is ${state.chain + 1}, but there are ${config.chains} chains`);
      state.chain = null;
    }
    if (config.target === "drawn" && !state.drawn) {
      problems.push("the drawing of the drawn density is missing");
      config.target = defaultConfig().target;
    }
    return problems;
  },
});
