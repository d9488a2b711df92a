// Texts beside controls and results: complaints, and lists of named numbers.

import { toError } from "../engine/failure.js";
import { make, setText } from "./dom.js";

/** Failures shown beside their control; all others stop the page. */
const MILD = new Set(["bad-config", "bad-image"]);

/**
 * Shows a mild failure beside its cause.
 * @param {unknown} thrown
 * @param {HTMLElement} place
 * @returns {boolean} whether the failure was mild
 */
export function complain(thrown, place) {
  const { kind, message } = toError(thrown);
  // The engine was replaced on purpose, and its replacement continues the work.
  if (kind === "aborted") return true;
  if (!MILD.has(kind)) return false;
  setText(place, message);
  return true;
}

/**
 * @param {HTMLDListElement} list
 * @param {[name: string, value: string, hint: string][]} rows
 */
export function fillReadings(list, rows) {
  if (list.children.length === rows.length) {
    rows.forEach(([name, value, hint], index) => {
      const [dt, dd, small] = [list.children[index]?.querySelector("dt"), list.children[index]?.querySelector("dd b"), list.children[index]?.querySelector("small")];
      if (dt) setText(dt, name);
      if (dd) setText(dd, value);
      if (small) setText(small, hint);
    });
    return;
  }
  list.replaceChildren(...rows.map(([name, value, hint]) => make("div", {}, make("dt", {}, name), make("dd", {}, make("b", {}, value), " ", make("small", {}, hint)))));
}
