// The Studio's settings: what each accepts. A model recommends where they start.

import { real, whole } from "../url/address.js";

/** @typedef {"seed" | "count" | "steps" | "rounds" | "temperature" | "truncation" | "beta"} Setting */
/** In the order of the address. @type {readonly Setting[]} */
export const SETTINGS = ["seed", "count", "steps", "rounds", "temperature", "truncation", "beta"];

export const RANGES = /** @satisfies {Record<Setting | "weight", import("../url/address.js").Range>} */ ({
  seed: whole(0, 4294967295),
  count: whole(1, 256),
  steps: whole(1, 2000),
  rounds: whole(1, 50),
  temperature: real(0.01, 100),
  truncation: real(0, 2),
  beta: real(0, 1000),
  weight: real(0.01, 10),
});

export const ROLES = /** @type {const} */ (["all", "any", "none"]);
/** More would be neither readable nor quick. */
export const MOST_CONDITIONS = 8;
