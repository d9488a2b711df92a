// Small words beside what was pressed or computed: complaints, and lists of named numbers.

import { toError } from "../engine/failure.js";
import { make, setText } from "./dom.js";

/** Complaints that belong beside what was pressed; all else ends what the page was doing. */
const MILD = new Set(["bad-config", "bad-image"]);

/**
 * Says a mild failure beside its cause.
 * @param {unknown} thrown
 * @param {HTMLElement} place
 * @returns {boolean} whether it was one
 */
export function complain(thrown, place) {
  const { kind, message } = toError(thrown);
  // The engine was replaced, on purpose: whoever did that goes on.
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
