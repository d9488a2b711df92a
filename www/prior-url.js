// Prior's state as the address's hash: the room, then everything that its numbers depend on, so that
// a link shows them again. Images are too large for an address and are not in it. Pure.

import { inRange, wording } from "./play-url.js";
import { MODEL_NAME, readPairs } from "./studio-url.js";

/** @import { PriorConfig } from "./prior-protocol.js" */

export const ROOMS = /** @type {const} */ (["stages", "reconstruct", "anomaly"]);
/** @typedef {typeof ROOMS[number]} Room */
export const SAMPLERS = /** @type {const} */ (["ula", "mala", "hmc", "sir"]);
export const WAYS = /** @type {const} */ (["line", "sphere"]);

/** Smallest and largest accepted value of each number; the form uses the same. */
export const RANGES = /** @type {const} */ ({
  stage: [0, 64],
  count: [4, 256],
  seed: [0, 4294967295],
  step_size: [0.00001, 5],
  warmup: [0, 1000],
  temperature: [0.05, 20],
  start_scale: [0.01, 3],
  proposals: [4, 100000],
  steps: [1, 1000],
  frames: [2, 32],
});
/** @typedef {Exclude<keyof PriorConfig, "sampler">} NumberSetting */
/** @type {readonly NumberSetting[]} */
export const NUMBERS = ["stage", "count", "seed", "step_size", "warmup", "temperature", "start_scale", "proposals"];
/** @type {ReadonlySet<keyof typeof RANGES>} */
export const WHOLE = new Set(/** @type {(keyof typeof RANGES)[]} */ (["stage", "count", "seed", "warmup", "proposals", "steps", "frames"]));

/**
 * @typedef {object} PriorState
 * @property {Room} room
 * @property {string | null} model null: the first that there is
 * @property {Partial<PriorConfig>} settings what is missing, the model recommends
 * @property {number | null} steps of a reconstruction; null: the model's own
 * @property {number} frames of an interpolation
 * @property {typeof WAYS[number]} way
 */

/** @returns {PriorState} */
export function defaultState() {
  return { room: "stages", model: null, settings: {}, steps: null, frames: 12, way: "line" };
}

/**
 * @param {PriorState} state
 * @returns {string} starts with "#"
 */
export function formatState({ room, model, settings, steps, frames, way }) {
  const { sampler } = settings;
  const pairs = [
    ...(model === null ? [] : [`model=${encodeURIComponent(model)}`]),
    ...(sampler === undefined ? [] : [`sampler=${sampler}`]),
    ...NUMBERS.flatMap((name) => (settings[name] === undefined ? [] : [`${name}=${settings[name] ?? "auto"}`])),
    ...(steps === null ? [] : [`steps=${steps}`]),
    `frames=${frames}`,
    `way=${way}`,
  ];
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
 * @returns {{ state: PriorState, problems: string[] }}
 */
export function parseState(hash) {
  const state = defaultState();
  const problems = readPairs(hash, ROOMS, (room) => (state.room = room), (key, text) => read(state, key, text));
  return { state, problems };
}

/**
 * @param {PriorState} state
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
  if (key === "sampler") {
    const sampler = SAMPLERS.find((name) => name === text);
    if (!sampler) return SAMPLERS.join(", ");
    state.settings.sampler = sampler;
    return null;
  }
  if (key === "way") {
    const way = WAYS.find((name) => name === text);
    if (!way) return WAYS.join(" or ");
    state.way = way;
    return null;
  }
  const name = /** @type {(keyof typeof RANGES)[]} */ (Object.keys(RANGES)).find((candidate) => candidate === key);
  if (!name) return undefined;
  const empty = name === "step_size" ? "auto" : undefined;
  const value = text === empty ? null : inRange(RANGES[name], WHOLE.has(name), text);
  if (value === undefined) return wording(RANGES[name], WHOLE.has(name), empty);
  if (name === "step_size") state.settings.step_size = value;
  else if (value !== null) {
    if (name === "steps" || name === "frames") state[name] = value;
    else state.settings[name] = value;
  }
  return null;
}
