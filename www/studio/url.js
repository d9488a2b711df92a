// The Studio's address: the room, then everything that a run depends on, so that a link replays it.
// Images are too large for an address and are not in it.

import { Address, inRange, MODEL_NAME, number, pattern } from "../url/address.js";
import { MOST_CONDITIONS, RANGES, ROLES, SETTINGS } from "./settings.js";

/** @import { Condition, StudioConfig } from "../contract/studio.js" */
/** @import { Field } from "../url/address.js" */
/** @import { Setting } from "./settings.js" */

export const ROOMS = /** @type {const} */ (["generate", "compose", "score"]);
/** @typedef {typeof ROOMS[number]} Room */

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

/** @type {Record<string, Field<StudioState>>} */
const fields = {
  model: pattern(MODEL_NAME, "a model's name", ({ model }) => model, (state, name) => (state.model = name)),
  ...Object.fromEntries(SETTINGS.map((name) => [name, /** @type {Field<StudioState>} */ (number(RANGES[name], ({ settings }) => settings[name] ?? undefined, ({ settings }, value) => (settings[name] = value)))])),
  classes: {
    write: ({ classes }) => (classes.length === 0 ? null : classes.map((condition) => `${condition.class}-${condition.role}-${condition.weight}`).join("_")),
    read: (state, text) => {
      const classes = text.split("_").map(readClass);
      if (classes.length > MOST_CONDITIONS || classes.some((condition) => condition === null)) return `at most ${MOST_CONDITIONS} of NUMBER-ROLE-WEIGHT, as in 3-all-1_5-none-0.5`;
      state.classes = classes.filter((condition) => condition !== null);
      return null;
    },
  },
};

/** @type {Address<StudioState, Room>} */
export const address = new Address({ fields, defaults: defaultState, rooms: ROOMS });

/** @param {string} text @returns {ClassCondition | null} */
function readClass(text) {
  const [, index, name, weightText] = /^(\d{1,4})-([a-z]+)-([\d.]+)$/.exec(text) ?? [];
  const role = ROLES.find((candidate) => candidate === name);
  const weight = inRange(RANGES.weight, weightText ?? "");
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
