// The Studio's state as the address's hash: the room, then everything that a run depends on, so
// that a link replays it. Images are too large for an address and are not in it. Pure.

import { inRange, wording } from "./play-url.js";

/** @import { Condition, StudioConfig } from "./studio-protocol.js" */

export const ROOMS = /** @type {const} */ (["generate", "compose", "score"]);
/** @typedef {typeof ROOMS[number]} Room */
export const ROLES = /** @type {const} */ (["all", "any", "none"]);

/** Smallest and largest accepted value of each number; the form uses the same. */
export const RANGES = /** @type {const} */ ({
  seed: [0, 4294967295],
  count: [1, 256],
  steps: [1, 2000],
  rounds: [1, 50],
  temperature: [0.01, 100],
  truncation: [0, 2],
  beta: [0, 1000],
  weight: [0.01, 10],
});
/** @typedef {"seed" | "count" | "steps" | "rounds" | "temperature" | "truncation" | "beta"} Setting */
/** @type {readonly Setting[]} */
export const SETTINGS = ["seed", "count", "steps", "rounds", "temperature", "truncation", "beta"];
/** @type {ReadonlySet<Setting>} */
export const WHOLE = new Set(/** @type {Setting[]} */ (["seed", "count", "steps", "rounds"]));
export const MODEL_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** More would be neither readable nor quick. */
export const MOST_CONDITIONS = 8;

/** @typedef {{ class: number, role: Condition["role"], weight: number }} ClassCondition */
/**
 * @typedef {object} StudioState
 * @property {Room} room
 * @property {string | null} model null: the first that there is
 * @property {Record<Setting, number | null>} settings null: what the model recommends
 * @property {ClassCondition[]} classes
 */

/** @returns {StudioState} */
export function defaultState() {
  return { room: "generate", model: null, settings: { seed: null, count: null, steps: null, rounds: null, temperature: null, truncation: null, beta: null }, classes: [] };
}

/**
 * @param {StudioState} state
 * @returns {string} starts with "#"
 */
export function formatState({ room, model, settings, classes }) {
  const pairs = [...(model === null ? [] : [`model=${encodeURIComponent(model)}`]), ...SETTINGS.flatMap((name) => (settings[name] === null ? [] : [`${name}=${settings[name]}`]))];
  if (classes.length > 0) pairs.push(`classes=${classes.map((condition) => `${condition.class}-${condition.role}-${condition.weight}`).join("_")}`);
  return `#${[room, ...pairs].join("&")}`;
}

/**
 * The room, when an address names nothing else: then all else stays as it is.
 * @param {string} hash
 * @returns {Room | null}
 */
export function bareRoom(hash) {
  const name = hash.replace(/^#/, "");
  return ROOMS.find((room) => room === name) ?? null;
}

/**
 * Reads as much of an address as makes sense. What does not keeps its default and is told.
 * @param {string} hash with or without "#"
 * @returns {{ state: StudioState, problems: string[] }}
 */
export function parseState(hash) {
  const state = defaultState();
  const problems = readPairs(hash, ROOMS, (room) => (state.room = room), (key, text) => read(state, key, text));
  return { state, problems };
}

/**
 * An address of a room and pairs, as the Studio's and Prior's are.
 * @template {string} Name
 * @param {string} hash with or without "#"
 * @param {readonly Name[]} rooms
 * @param {(room: Name) => void} enter
 * @param {(key: string, text: string) => string | null | undefined} take null when taken, else what would be; undefined: no such key
 * @returns {string[]} what could not be read
 */
export function readPairs(hash, rooms, enter, take) {
  /** @type {string[]} */
  const problems = [];
  /** @type {Set<string>} */
  const seen = new Set();
  hash
    .replace(/^#/, "")
    .split("&")
    .forEach((pair, index) => {
      if (pair === "") return;
      const room = rooms.find((name) => name === pair);
      if (index === 0 && room) return enter(room);
      const equals = pair.indexOf("=");
      const key = equals < 0 ? pair : pair.slice(0, equals);
      const text = decode(equals < 0 ? "" : pair.slice(equals + 1));
      if (seen.has(key)) return void problems.push(`“${shorten(key)}” is given twice; the first counts`);
      seen.add(key);
      const wanted = take(key, text ?? "");
      if (wanted === undefined) return void problems.push(index === 0 && equals < 0 ? `there is no room “${shorten(key)}”` : `“${shorten(key)}” is not a setting`);
      if (wanted) problems.push(`“${key}” should be ${wanted}, not “${shorten(text ?? pair.slice(equals + 1))}”`);
      return undefined;
    });
  return problems;
}

/**
 * @param {StudioState} state
 * @param {string} key
 * @param {string} text
 * @returns {string | null | undefined} null when taken, else what would be; undefined: no such key
 */
function read(state, key, text) {
  if (key === "model") {
    if (!MODEL_NAME.test(text)) return "a model's name";
    state.model = text;
    return null;
  }
  if (key === "classes") {
    const classes = text.split("_").map(readClass);
    if (classes.length > MOST_CONDITIONS || classes.some((condition) => condition === null)) return `at most ${MOST_CONDITIONS} of NUMBER-ROLE-WEIGHT, as in 3-all-1_5-none-0.5`;
    state.classes = classes.filter((condition) => condition !== null);
    return null;
  }
  const setting = SETTINGS.find((name) => name === key);
  if (!setting) return undefined;
  const value = inRange(RANGES[setting], WHOLE.has(setting), text);
  if (value === undefined) return wording(RANGES[setting], WHOLE.has(setting));
  state.settings[setting] = value;
  return null;
}

/** @param {string} text @returns {ClassCondition | null} */
function readClass(text) {
  const [, index, name, number] = /^(\d{1,4})-([a-z]+)-([\d.]+)$/.exec(text) ?? [];
  const role = ROLES.find((candidate) => candidate === name);
  const weight = inRange(RANGES.weight, false, number ?? "");
  return role && weight !== undefined ? { class: Number(index), role, weight } : null;
}

/**
 * What the engine is asked for.
 * @param {StudioState} state
 * @param {StudioConfig} defaults
 * @returns {StudioConfig} without conditions
 */
export function configOf({ settings }, defaults) {
  const config = { ...defaults, conditions: [], inpaint: null };
  for (const name of SETTINGS) config[name] = settings[name] ?? defaults[name];
  return config;
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
