// What every page does around its room: it reads and writes the address, reports failures, pauses when
// hidden, and takes over from early.js. The HTML of the shell is in shell.html.

import { dismiss, notice } from "./cards.js";
import { byId } from "./dom.js";

/** @import { Choice } from "../contract/session.js" */
/** @import { Address } from "../url/address.js" */

const query = new URLSearchParams(location.search);

/** Runtime requested in the address, ?runtime=cpu or ?runtime=webgpu; else "auto". @type {Choice} */
export const askedRuntime = chosen(query.get("runtime"));

/** @param {string | null} asked @returns {Choice} */
function chosen(asked) {
  return asked === "cpu" || asked === "webgpu" ? asked : "auto";
}

/**
 * The state in the address, with a notice about parts that could not be read.
 * @template {object} State
 * @param {Pick<Address<State, any>, "parse">} address
 * @returns {State}
 */
export function readAddress(address) {
  const { state, problems } = address.parse(location.hash);
  dismiss("address");
  if (problems.length > 0) notice("address", "Part of the address could not be read.", `${problems.join("; ")}. The default ${problems.length === 1 ? "is" : "values are"} used instead.`);
  return state;
}

/** Replaced, not pushed: a slider should not fill the visitor's history. @param {string} hash */
export function writeAddress(hash) {
  history.replaceState(null, "", hash);
}

/** Six digits give enough seeds and are easy to quote. */
export function randomSeed() {
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return random % 1_000_000;
}

/** Uncaught errors are shown on the error card. @param {(error: unknown) => void} fail */
export function reportErrors(fail) {
  window.addEventListener("error", (event) => {
    if (event instanceof ErrorEvent && event.error) fail(event.error);
  });
  window.addEventListener("unhandledrejection", (event) => fail(event.reason));
}

/**
 * Pauses the computation while the page is hidden.
 * @param {() => (() => void) | null} rest pauses the run and returns a function that resumes it; null: nothing ran
 */
export function restWhenHidden(rest) {
  let resume = /** @type {(() => void) | null} */ (null);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) resume = rest() ?? resume;
    else {
      resume?.();
      resume = null;
    }
  });
}

/** With ?test, exposes hooks to the browser tests. @param {object} hooks */
export function offerToTests(hooks) {
  if (query.has("test")) Object.assign(globalThis, { mixwellTest: hooks });
}

/** Opens or closes the settings; on opening, the focus goes to their start. @param {HTMLDetailsElement} settings */
export function toggleSettings(settings) {
  settings.open = !settings.open;
  if (settings.open) settings.querySelector("summary")?.focus();
}

/** From here on the page shows its own cards. early.js may have timed out on a slow start already. */
export function takeOver() {
  // The hash is the page's state, so this link must not change it.
  const skip = document.querySelector("a.skip");
  if (skip instanceof HTMLAnchorElement) {
    const target = byId(skip.hash.slice(1), HTMLElement);
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      target.focus();
    });
  }
  document.documentElement.dataset.started = "yes";
  byId("fallback", HTMLDivElement).hidden = true;
  byId("stage", HTMLDivElement).hidden = false;
}
