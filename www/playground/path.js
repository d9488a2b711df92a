// The last transition of one chain, point by point and in words.

import { byId, make, setText, table } from "../ui/dom.js";
import { compact, integer, percent } from "../ui/format.js";

/** @import { PlayPath, SamplerInfo } from "../contract/playground.js" */

/** Milliseconds between two points of an animated path. */
const BEAT_MS = 110;

export class PathPanel {
  /** @type {{ path: PlayPath, side: number, chain: number, sampler: SamplerInfo } | null} */
  #held = null;
  #shown = 0;
  #timer = 0;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #text = byId("path-text", HTMLParagraphElement);
  #table = byId("path-table", HTMLDivElement);

  /**
   * @param {object} listeners
   * @param {(side: number) => Promise<boolean>} listeners.fetch gets the path of the chosen chain and calls hold(); false if there is none
   * @param {() => void} listeners.onChange redraw
   */
  constructor({ fetch, onChange }) {
    this.fetch = fetch;
    this.onChange = onChange;
    byId("path-first", HTMLButtonElement).addEventListener("click", () => this.#go(() => 1));
    byId("path-next", HTMLButtonElement).addEventListener("click", () => this.#go((shown, all) => Math.min(all, shown + 1)));
    byId("path-all", HTMLButtonElement).addEventListener("click", () => this.whole());
    byId("path-hide", HTMLButtonElement).addEventListener("click", () => {
      this.forget();
      this.onChange();
    });
    byId("path-side", HTMLSelectElement).addEventListener("change", async () => {
      if (this.#held) await this.refresh();
    });
    this.#table.closest("details")?.addEventListener("toggle", () => this.#fillTable());
    this.forget();
  }

  get visible() {
    return this.#held !== null;
  }

  get path() {
    return this.#held?.path ?? null;
  }

  get side() {
    return Number(byId("path-side", HTMLSelectElement).value);
  }

  /** The part of the path that a side's surface draws. @param {number} side */
  view(side) {
    const held = this.#held;
    if (!held || held.side !== side || this.#shown === 0) return null;
    return { path: held.path, shown: this.#shown, line: held.sampler.name !== "nuts" };
  }

  /** @param {PlayPath} path @param {number} side @param {number} chain @param {SamplerInfo} sampler */
  hold(path, side, chain, sampler) {
    clearTimeout(this.#timer);
    this.#held = { path, side, chain, sampler };
    this.#shown = path.points.length / 2;
    this.#tell();
  }

  /** The chains have moved on. @param {string} [why] */
  forget(why = "Choose a chain (click its point, use the list, or press c) to inspect its last move.") {
    clearTimeout(this.#timer);
    this.#held = null;
    this.#shown = 0;
    setText(this.#text, why);
    this.#fillTable();
  }

  /** The same chain's path after another transition. */
  async refresh() {
    if (!(await this.fetch(this.side))) this.forget();
    this.onChange();
  }

  /** Shows the whole path, one point per beat. */
  whole() {
    return this.#go((_, all) => all, true);
  }

  /** @param {(shown: number, all: number) => number} move @param {boolean} [animate] */
  async #go(move, animate = false) {
    clearTimeout(this.#timer);
    const fresh = !this.#held;
    if (fresh && !(await this.fetch(this.side))) return;
    const all = (this.#held?.path.points.length ?? 0) / 2;
    if (fresh) this.#shown = 0;
    if (animate && !this.#calm.matches && all <= 400) {
      // Restarts, unless it is half way.
      if (this.#shown >= all) this.#shown = 0;
      return this.#beat(all);
    }
    this.#shown = move(this.#shown, all);
    this.#tell();
    this.onChange();
  }

  /** @param {number} all */
  #beat(all) {
    this.#shown += 1;
    // Text only at the end: the live region should not read every point.
    if (this.#shown >= all) this.#tell();
    else this.#timer = setTimeout(() => this.#beat(all), Math.min(BEAT_MS, 2400 / all));
    this.onChange();
  }

  #tell() {
    const held = this.#held;
    if (!held) return;
    const { path, chain, sampler } = held;
    const all = path.points.length / 2;
    const energy = (/** @type {number} */ at) => compact(path.energies[at], 4);
    const who = `Chain ${chain + 1}, transition ${integer(path.transition)}`;
    if (this.#shown < all) {
      setText(this.#text, `${who}: point ${this.#shown} of ${all}${this.#shown === 1 ? ", the start" : ""}; E = ${energy(this.#shown - 1)}.`);
    } else {
      setText(this.#text, `${who}: from E = ${energy(0)} ${all > 2 ? `over ${integer(all - 1)} points to` : "to a proposal at"} E = ${energy(all - 1)}. ${outcome(path, sampler)}`);
    }
    this.#fillTable();
  }

  #fillTable() {
    if (!this.#table.closest("details")?.open) return;
    const path = this.#held?.path;
    if (!path) return this.#table.replaceChildren(make("p", { class: "hint" }, "No path yet."));
    const rows = Array.from(path.energies, (energy, at) => [at === 0 ? "start" : String(at), compact(path.points[2 * at], 4), compact(path.points[2 * at + 1], 4), compact(energy, 4)]);
    this.#table.replaceChildren(table(["Point", "first coordinate", "second coordinate", "E"], rows, "Evaluated points of the transition, in order"));
  }
}

/** @param {PlayPath} path @param {SamplerInfo} sampler */
function outcome({ moved, acceptance }, sampler) {
  if (sampler.name === "gibbs") return "Gibbs draws from exact conditional distributions, so nothing is rejected.";
  if (sampler.name === "nuts") return moved ? `One of these points, the ring, was drawn with probability proportional to its weight. Mean acceptance along the path: ${percent(acceptance)}.` : "The start itself was drawn, so the chain stays.";
  if (!sampler.tested || acceptance === null) return "Accepted: this sampler has no accept/reject test.";
  return moved ? `Accepted, with probability ${percent(acceptance)}.` : `Rejected (the cross); the acceptance probability was ${percent(acceptance)}. The chain stays where it was, and that counts as a draw.`;
}
