// The address of the room Prior: the room's part, then everything that its numbers depend on, so that
// a link shows them again. Images are too large for an address and are not in it.

import { Address, choice, MODEL_NAME, number, pattern } from "../url/address.js";
import { FRAMES, NUMBERS, RANGES, SAMPLERS, WAYS } from "./settings.js";

/** @import { PriorConfig } from "../contract/prior.js" */
/** @import { Field } from "../url/address.js" */

export const ROOMS = /** @type {const} */ (["stages", "reconstruct", "anomaly"]);
/** @typedef {typeof ROOMS[number]} Room */

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
  return { room: "stages", model: null, settings: {}, steps: null, frames: FRAMES, way: "line" };
}

/** @type {Record<string, Field<PriorState>>} */
const fields = {
  model: pattern(MODEL_NAME, "a model's name", ({ model }) => model, (state, name) => (state.model = name)),
  sampler: choice(SAMPLERS, ({ settings }) => settings.sampler, ({ settings }, name) => (settings.sampler = name), SAMPLERS.join(", ")),
  ...Object.fromEntries(
    NUMBERS.map((name) => [name, /** @type {Field<PriorState>} */ (number(RANGES[name], ({ settings }) => settings[name], ({ settings }, value) => (settings[name] = value), name === "step_size" ? "auto" : undefined))]),
  ),
  steps: number(RANGES.steps, ({ steps }) => steps ?? undefined, (state, value) => (state.steps = value)),
  frames: number(RANGES.frames, ({ frames }) => frames, (state, value) => (state.frames = value)),
  way: choice(WAYS, ({ way }) => way, (state, way) => (state.way = way), WAYS.join(" or ")),
};

/** @type {Address<PriorState, Room>} */
export const address = new Address({ fields, defaults: defaultState, rooms: ROOMS });
