// The Studio's settings: what each accepts, as the crate declares it. A model recommends defaults.

import { STUDIO } from "../contract/generated/settings.js";
import { rangeOf } from "../url/address.js";

/** @typedef {"seed" | "count" | "steps" | "rounds" | "temperature" | "truncation" | "beta"} Setting */
/** In the order of the address. @type {readonly Setting[]} */
export const SETTINGS = ["seed", "count", "steps", "rounds", "temperature", "truncation", "beta"];

export const RANGES = /** @satisfies {Record<Setting | "weight", import("../url/address.js").Range>} */ ({
  seed: rangeOf(STUDIO.seed),
  count: rangeOf(STUDIO.count),
  steps: rangeOf(STUDIO.steps),
  rounds: rangeOf(STUDIO.rounds),
  temperature: rangeOf(STUDIO.temperature),
  truncation: rangeOf(STUDIO.truncation),
  beta: rangeOf(STUDIO.beta),
  weight: rangeOf(STUDIO.weight),
});

export const ROLES = /** @type {const} */ (["all", "any", "none"]);
/** More would be neither readable nor quick. */
export const MOST_CONDITIONS = 8;
