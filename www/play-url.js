// The Playground's whole state as the address's hash, so that a link shows what its sender saw.
// Pure functions: nothing here touches the document.

import { decodeGrid, encodeGrid } from "./play-grid.js";
import { LESSONS } from "./play-lessons.js";

/** @import { LearnConfig, PlayConfig, PlaySampler, PlaySide, SamplerConfig } from "./play-protocol.js" */

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

export const PACES = /** @type {const} */ ([2, 10, 60, 300, 1500, 0]);

/** @type {readonly PlaySampler[]} */
export const SAMPLERS = ["rwm", "ula", "sgld", "mala", "hmc", "nuts", "underdamped", "tempering", "gibbs"];
export const STARTS = /** @type {const} */ (["dispersed", "mode", "superchains"]);
export const SPACES = /** @type {const} */ (["data", "latent"]);

/** Smallest and largest accepted value of each number; the form uses the same. */
export const RANGES = /** @type {const} */ ({
  seed: [0, 4294967295],
  chains: [2, 1000],
  superchains: [1, 500],
  eps: [0.00001, 100],
  T: [0.001, 1000],
  leapfrog: [1, 1000],
  depth: [1, 10],
  noise: [0.0000001, 100],
  clip: [0.0001, 1000000],
  friction: [0.001, 1000],
  rungs: [2, 16],
  hottest: [1, 1000],
  warmup: [0, 10000],
  accept: [0.05, 0.99],
  chain: [1, 1000],
  at: [0, 10000000],
  iterations: [10, 20000],
  steps: [1, 12],
  hidden: [4, 128],
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

/** @returns {PlayState} */
export function defaultState() {
  return {
    config: { target: "eight-modes", seed: 7, chains: 12, start: "dispersed", superchains: 1, sides: [side("mala"), side("nuts")] },
    pace: 60,
    quantity: "x",
    chain: null,
    lesson: null,
    embed: false,
    hide: [],
    drawn: null,
    at: null,
    learn: { target: "eight-modes", seed: 1, flow_iterations: 1500, tilt_iterations: 1500, steps: 6, hidden: 32 },
  };
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
 * How one key of the address is read and written.
 * @typedef {object} Field
 * @property {(state: PlayState) => string | null} write null: this state has no such thing
 * @property {(state: PlayState, text: string) => string | null} read null when taken, else what would be
 */

/**
 * @param {string} text
 * @param {keyof typeof RANGES | readonly [number, number]} range
 * @param {boolean} whole
 * @returns {number | undefined}
 */
export function inRange(range, whole, text) {
  // Number() reads "", " " and "0x10" as numbers; an address should not.
  if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return undefined;
  const value = Number(text);
  const [least, most] = typeof range === "string" ? RANGES[range] : range;
  if (!Number.isFinite(value) || value < least || value > most || (whole && !Number.isInteger(value))) return undefined;
  return value;
}

/**
 * @param {keyof typeof RANGES | readonly [number, number]} range
 * @param {boolean} whole
 * @param {string} [empty] the word for null, where there may be none
 */
export function wording(range, whole, empty) {
  const [least, most] = (typeof range === "string" ? RANGES[range] : range).map((bound) => bound.toLocaleString("en", { maximumFractionDigits: 10 }));
  return `${empty ? `${empty}, or ` : ""}a ${whole ? "whole " : ""}number from ${least} to ${most}`;
}

/**
 * @param {keyof typeof RANGES} range
 * @param {boolean} whole
 * @param {(state: PlayState) => number | null | undefined} get undefined: this state has no such thing
 * @param {(state: PlayState, value: any) => void} set
 * @param {string} [empty]
 * @returns {Field}
 */
function number(range, whole, get, set, empty) {
  return {
    write: (state) => {
      const value = get(state);
      return value === undefined ? null : String(value ?? empty);
    },
    read: (state, text) => {
      const value = empty !== undefined && text === empty ? null : inRange(range, whole, text);
      if (value === undefined) return wording(range, whole, empty);
      set(state, value);
      return null;
    },
  };
}

/**
 * @param {readonly string[]} names
 * @param {(state: PlayState) => string | undefined} get
 * @param {(state: PlayState, name: any) => void} set
 * @returns {Field}
 */
function choice(names, get, set) {
  return {
    write: (state) => get(state) ?? null,
    read: (state, text) => {
      if (!names.includes(text)) return `one of ${names.join(", ")}`;
      set(state, text);
      return null;
    },
  };
}

/**
 * @param {(state: PlayState) => string} get
 * @param {(state: PlayState, name: string) => void} set
 * @returns {Field}
 */
function name(get, set) {
  return {
    write: get,
    read: (state, text) => {
      if (!/^[a-z][a-z0-9_-]{0,47}$/i.test(text)) return "a name";
      set(state, text);
      return null;
    },
  };
}

/**
 * The keys of one side's settings, for example "a-eps".
 * @param {0 | 1} index
 * @param {"a" | "b"} prefix
 * @returns {Record<string, Field>}
 */
function sideFields(index, prefix) {
  const of = (/** @type {PlayState} */ state) => state.config.sides[index];
  /**
   * @param {keyof typeof RANGES} range
   * @param {boolean} whole
   * @param {keyof SamplerConfig} key
   * @param {string} [empty]
   */
  const setting = (range, whole, key, empty) =>
    number(
      range,
      whole,
      (state) => /** @type {number | null | undefined} */ (of(state)?.sampler[key]),
      (state, value) => {
        const sampler = of(state)?.sampler;
        if (sampler) Object.assign(sampler, { [key]: value });
      },
      empty,
    );
  /** @param {"adapt_mass" | "no_adapt"} key @param {boolean} when the value that "on" stands for */
  const flag = (key, when) =>
    choice(
      ["on", "off"],
      (state) => {
        const value = of(state)?.sampler[key];
        return value === undefined ? undefined : value === when ? "on" : "off";
      },
      (state, text) => {
        const sampler = of(state)?.sampler;
        if (sampler) sampler[key] = (text === "on") === when;
      },
    );
  return {
    [`${prefix}-eps`]: setting("eps", false, "step_size", "auto"),
    [`${prefix}-T`]: setting("T", false, "temperature"),
    [`${prefix}-leapfrog`]: setting("leapfrog", true, "leapfrog_steps"),
    [`${prefix}-depth`]: setting("depth", true, "max_tree_depth"),
    [`${prefix}-noise`]: setting("noise", false, "noise", "auto"),
    [`${prefix}-clip`]: setting("clip", false, "clip", "none"),
    [`${prefix}-friction`]: setting("friction", false, "friction"),
    [`${prefix}-rungs`]: setting("rungs", true, "rungs"),
    [`${prefix}-hottest`]: setting("hottest", false, "hottest"),
    [`${prefix}-warmup`]: setting("warmup", true, "warmup"),
    [`${prefix}-accept`]: setting("accept", false, "target_accept", "auto"),
    [`${prefix}-mass`]: flag("adapt_mass", true),
    [`${prefix}-adapt`]: flag("no_adapt", false),
    [`${prefix}-space`]: choice(
      SPACES,
      (state) => of(state)?.space,
      (state, space) => {
        const own = of(state);
        if (own) own.space = space;
      },
    ),
  };
}

/** @type {Record<string, Field>} */
const FIELDS = {
  target: name(({ config }) => config.target, ({ config }, target) => (config.target = target)),
  seed: number("seed", true, ({ config }) => config.seed, ({ config }, value) => (config.seed = value)),
  chains: number("chains", true, ({ config }) => config.chains, ({ config }, value) => (config.chains = value)),
  start: choice(STARTS, ({ config }) => config.start, ({ config }, start) => (config.start = start)),
  superchains: number("superchains", true, ({ config }) => config.superchains, ({ config }, value) => (config.superchains = value)),
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
  chain: number("chain", true, ({ chain }) => (chain === null ? null : chain + 1), (state, value) => (state.chain = value === null ? null : value - 1), "none"),
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
  "learn-seed": number("seed", true, ({ learn }) => learn.seed, ({ learn }, value) => (learn.seed = value)),
  "learn-flow": number("iterations", true, ({ learn }) => learn.flow_iterations, ({ learn }, value) => (learn.flow_iterations = value)),
  "learn-tilt": number("iterations", true, ({ learn }) => learn.tilt_iterations, ({ learn }, value) => (learn.tilt_iterations = value)),
  "learn-steps": number("steps", true, ({ learn }) => learn.steps, ({ learn }, value) => (learn.steps = value)),
  "learn-hidden": number("hidden", true, ({ learn }) => learn.hidden, ({ learn }, value) => (learn.hidden = value)),
  at: number("at", false, ({ at }) => at ?? undefined, (state, value) => (state.at = value)),
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

/**
 * Only what differs from the defaults (or from the lesson's preset), so that links stay short.
 * @param {PlayState} state
 * @returns {string} starts with "#"
 */
export function formatState(state) {
  const base = presetState(state.lesson);
  /** @type {string[]} */
  const pairs = [];
  if (state.lesson !== null) pairs.push(`lesson=${state.lesson}`);
  if (state.embed) pairs.push("embed");
  for (const [key, field] of Object.entries(FIELDS)) {
    const text = field.write(state);
    if (text === null || text === field.write(base)) continue;
    pairs.push(`${key}=${encodeURIComponent(text).replaceAll("%2C", ",")}`);
    // Reading this key gives the side its sampler's defaults, so the rest is compared with those.
    if (key === "a" || key === "b") field.read(base, text);
  }
  return `#${pairs.join("&")}`;
}

/**
 * Reads as much of an address as makes sense. What does not keeps its default and is told.
 * @param {string} hash with or without "#"
 * @returns {{ state: PlayState, problems: string[] }}
 */
export function parseState(hash) {
  /** @type {string[]} */
  const problems = [];
  /** @type {Map<string, string>} */
  const given = new Map();
  let [lesson, embed] = [/** @type {number | null} */ (null), false];
  for (const pair of hash.replace(/^#/, "").split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const key = equals < 0 ? pair : pair.slice(0, equals);
    const raw = equals < 0 ? "" : pair.slice(equals + 1);
    if (key !== "lesson" && key !== "embed" && !Object.hasOwn(FIELDS, key)) {
      problems.push(`“${shorten(key)}” is not a setting`);
    } else if (given.has(key)) {
      problems.push(`“${key}” is given twice; the first counts`);
    } else {
      given.set(key, raw);
    }
  }
  const chosen = given.get("lesson");
  if (chosen !== undefined) {
    lesson = LESSONS.findIndex((_, index) => String(index + 1) === chosen) + 1 || null;
    if (lesson === null) problems.push(`“lesson” should be a number from 1 to ${LESSONS.length}, not “${shorten(chosen)}”`);
  }
  const switched = given.get("embed");
  if (switched !== undefined) {
    embed = switched === "" || switched === "on";
    if (!embed && switched !== "off") problems.push(`“embed” should stand alone, or be on or off, not “${shorten(switched)}”`);
  }
  const state = { ...presetState(lesson), embed };
  // In the order of FIELDS, not of the address: the sampler before its settings.
  for (const [key, field] of Object.entries(FIELDS)) {
    const raw = given.get(key);
    if (raw === undefined) continue;
    const text = decode(raw);
    const wanted = text === null ? "text that can be decoded" : field.read(state, text);
    if (wanted) problems.push(`“${key}” should be ${wanted}, not “${shorten(text ?? raw)}”`);
  }
  const { config } = state;
  if (config.sides.length < 2) {
    const orphans = [...given.keys()].filter((key) => key.startsWith("b-"));
    if (orphans.length > 0) problems.push(`“${orphans[0]}” belongs to a second side, and there is none`);
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
    config.target = defaultState().config.target;
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
