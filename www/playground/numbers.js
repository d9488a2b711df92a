// The table of statistics, the verdicts, the temperature meters and their advice.

import { byId, icon, make, setText, table } from "../ui/dom.js";
import { compact, integer, percent, rhat, tidy } from "../ui/format.js";

/** @import { PlayInfo, PlaySideFrame, PlayStatistics, SamplerInfo } from "../contract/playground.js" */
/** @import { Summary } from "../contract/statistics.js" */

const NAMES = /** @type {const} */ (["a", "b"]);
/** Ends of the temperature meter, as powers of ten. */
const COLD = -4;
const HOT = 2;
/** Minimum draws for a comparison of costs. */
const MIN_COMPARED = 50;
/** Relative tolerance for equal temperatures. */
const SAME_T = 0.02;

/**
 * The data of one side.
 * @typedef {object} Side
 * @property {PlaySideFrame} frame
 * @property {PlayStatistics | null} statistics the newest available; they may be slightly older than the frame
 * @property {SamplerInfo} sampler
 * @property {number} target requested temperature
 */

/**
 * One row: its label, its hint, and its text for a side.
 * @typedef {object} Row
 * @property {string} label
 * @property {string} hint
 * @property {string} long longer text, for the title
 * @property {(statistics: PlayStatistics, side: Side) => string} value
 * @property {(statistics: PlayStatistics, side: Side) => string} [small]
 * @property {(sides: Side[]) => boolean} [when]
 */

/** @type {(pick: (statistics: PlayStatistics) => unknown) => (sides: Side[]) => boolean} */
const known = (pick) => (sides) => sides.some(({ statistics }) => statistics !== null && pick(statistics) !== null);
/** @param {Side[]} sides @param {string[]} names */
const someAre = (sides, names) => sides.some(({ sampler }) => names.includes(sampler.name));

/** @type {Row[]} */
const ROWS = [
  { label: "R-hat", hint: "largest over the quantities; the goal is 1.01", long: "Spread between the chains compared with spread within them, rank-normalised and split. 1 means agreement.", value: (own) => rhatOf(own) },
  { label: "Nested R-hat", hint: "between superchains", long: "Has each group of chains forgotten its common start?", value: (own) => rhat(own.nested_rhat), when: known((own) => own.nested_rhat) },
  { label: "Bulk ESS", hint: "equivalent independent draws, smallest over the quantities", long: "Effective sample size of the middle of the distribution.", value: (own) => compact(own.ess_bulk_min) },
  { label: "Tail ESS", hint: "the same for the 5 % and 95 % ends", long: "Effective sample size of the 5 % and 95 % quantiles, smallest over the quantities.", value: (own) => compact(least(own.summaries.map(({ ess_tail }) => ess_tail))) },
  { label: "ESS per 1000 ∇E", hint: "effective draws per gradient", long: "Bulk ESS over the gradients of all chains together, after warm-up.", value: (own) => compact(own.ess_per_1000_gradients) },
  { label: "ESS per second", hint: "on this device; not replayed", long: "Bulk ESS over the compute time alone. The only number here that changes from run to run.", value: (own) => compact(own.ess_per_second) },
  { label: "Acceptance", hint: "of proposals; “shadow” where the sampler has no test", long: "For samplers that always accept: the mean acceptance of the omitted test. Below 100 %, their draws are biased.", value: (own) => percent(own.acceptance), small: (_, { sampler }) => (sampler.tested ? "" : "shadow") },
  { label: "Divergences", hint: "paths whose energy error exploded", long: "HMC and NUTS transitions after warm-up whose energy error exceeded 1000 or is not a number.", value: (own, { sampler }) => (GLIDES.includes(sampler.name) ? integer(own.divergences) : "–"), when: (sides) => someAre(sides, GLIDES) },
  { label: "Tree saturation", hint: "NUTS paths that ended at the largest tree", long: "If many paths end at the limit, raise the tree depth.", value: (own) => share(own.saturated), when: known((own) => own.saturated) },
  { label: "E-BFMI", hint: "below 0.3 the random momenta are too weak", long: "How well momentum refreshment changes the energy.", value: (own) => compact(own.e_bfmi), when: known((own) => own.e_bfmi) },
  { label: "Clipped", hint: "share of gradient components that were clipped", long: "A clipped gradient is not the gradient of any energy.", value: (own) => share(own.clipped), when: known((own) => own.clipped) },
  { label: "KSD", hint: "distance to the target’s shape; misses distant modes", long: "Kernel Stein discrepancy of up to 400 draws. It should fall to that of as many exact draws. It does not detect a missing distant mode.", value: (own) => compact(own.ksd), small: (own) => (own.ksd_exact === null ? "" : `exact draws: ${compact(own.ksd_exact)}`) },
  { label: "Step size ε", hint: "currently used", long: "The warm-up may have changed the value in the settings.", value: (_, { frame }) => tidy(frame.step_size), small: (_, { frame }) => (frame.drift > 0 ? `σ ${tidy(frame.noise)}, a ${tidy(frame.drift)}` : "") },
  { label: "Broken chains", hint: "energy is no longer finite", long: "Their energy is not finite.", value: (own) => integer(own.broken_chains), when: (sides) => sides.some(({ statistics }) => (statistics?.broken_chains ?? 0) > 0) },
];
const GLIDES = ["hmc", "nuts"];

export class Numbers {
  #body = byId("numbers", HTMLTableSectionElement);
  #conclusion = byId("conclusion", HTMLParagraphElement);
  #all = byId("all-statistics", HTMLDivElement);
  /** @type {Row[]} */
  #rows = [];
  #width = 0;
  /** @type {Side[]} */
  #sides = [];

  /**
   * @param {object} listeners
   * @param {(side: number) => void} listeners.onMatch set the noise for the requested T
   * @param {(side: number) => void} listeners.onTest switch to the sampler with a test
   */
  constructor({ onMatch, onTest }) {
    this.onMatch = onMatch;
    this.onTest = onTest;
    this.#all.closest("details")?.addEventListener("toggle", () => this.#fillAll());
    NAMES.forEach((name, index) =>
      byId(`${name}-advice`, HTMLParagraphElement).addEventListener("click", ({ target }) => {
        if (!(target instanceof HTMLButtonElement)) return;
        if (target.dataset.way === "match") this.onMatch(index);
        else this.onTest(index);
      }),
    );
  }

  /** @param {Side[]} sides @param {PlayInfo} info */
  show(sides, info) {
    this.#sides = sides;
    const rows = ROWS.filter((row) => row.when?.(sides) ?? true);
    if (sides.length !== this.#width || rows.length !== this.#rows.length || rows.some((row, index) => row !== this.#rows[index])) {
      [this.#rows, this.#width] = [rows, sides.length];
      this.#body.replaceChildren(...rows.map((row) => emptyRow(row, sides.length)));
    }
    rows.forEach((row, index) => {
      const cells = this.#body.rows[index]?.querySelectorAll("td") ?? [];
      sides.forEach((side, column) => {
        const [main, small] = cells[column]?.children ?? [];
        if (main) setText(main, side.statistics ? row.value(side.statistics, side) : "–");
        if (small) setText(small, side.statistics ? (row.small?.(side.statistics, side) ?? "") : "");
      });
    });
    setText(this.#conclusion, sides.length > 1 ? compare(sides) : "");
    sides.forEach((side, index) => {
      const name = NAMES[index] ?? "a";
      setText(byId(`${name}-head`, HTMLSpanElement), side.sampler.title);
      verdict(name, ...judge(side));
      thermometer(name, side);
      advise(name, side, info);
    });
    this.#fillAll();
  }

  #fillAll() {
    if (!this.#all.closest("details")?.open) return;
    const rows = this.#sides.flatMap(({ statistics }, index) =>
      (statistics?.summaries ?? []).map((summary) => [
        this.#sides.length > 1 ? `${summary.name}, side ${index + 1}` : summary.name,
        summary.rhat === null && summary.status.kind === "not_converged" ? "∞" : rhat(summary.rhat),
        compact(summary.ess_bulk),
        compact(summary.ess_tail),
        compact(summary.mean, 4),
        compact(summary.mcse_mean),
        compact(summary.sd),
        STATUS[summary.status.kind],
      ]),
    );
    this.#all.replaceChildren(table(["Quantity", "R-hat", "Bulk ESS", "Tail ESS", "Mean", "MCSE of the mean", "SD", "State"], rows, "Statistics of every quantity, over the draws after warm-up"));
  }
}

/** @type {Record<Summary["status"]["kind"], string>} */
const STATUS = { converged: "converged", not_converged: "not converged", too_short: "too few draws", constant: "constant", non_finite: "not finite" };

/** @param {(number | null)[]} values */
function least(values) {
  const numbers = values.filter((value) => value !== null);
  return numbers.length > 0 ? Math.min(...numbers) : null;
}

/** @param {number | null} value */
function share(value) {
  return value === null ? "–" : value > 0 && value < 0.01 ? "< 1 %" : percent(value);
}

/** @param {PlayStatistics} statistics */
function stuck({ summaries }) {
  return summaries.some((summary) => summary.rhat === null && summary.status.kind === "not_converged");
}

/** @param {PlayStatistics} statistics */
function rhatOf(statistics) {
  return stuck(statistics) ? "∞" : rhat(statistics.rhat_max);
}

/** @param {Side} side @returns {["mixed" | "stuck" | "wait", string]} */
export function judge({ frame, statistics, sampler }) {
  const broken = statistics?.broken_chains ?? 0;
  if (broken > 0) return ["stuck", `${broken} ${broken === 1 ? "chain has" : "chains have"} broken`];
  if (frame.transitions === 0) return ["wait", "at the start"];
  if (frame.warming_up) return ["wait", "warming up"];
  if (!statistics) return ["wait", "running"];
  if (stuck(statistics)) return ["stuck", "chains disagree · R-hat ∞"];
  if (statistics.rhat_max === null) return ["wait", "too few draws to say"];
  const number = `R-hat ${rhat(statistics.rhat_max)}`;
  // R-hat shows only that the chains agree, not that they agree on the right distribution.
  const agree = sampler.tested ? "chains agree" : "chains agree, without a test";
  if (statistics.summaries.every(({ status }) => status.kind === "converged")) return ["mixed", `${agree} · ${number}`];
  if (statistics.rhat_max <= 1.01) return ["wait", `${agree}, few draws · ${number}`];
  return statistics.rhat_max <= 1.1 ? ["wait", `nearly agree · ${number}`] : ["stuck", `chains disagree · ${number}`];
}

/** @param {"a" | "b"} name @param {"mixed" | "stuck" | "wait"} kind @param {string} text */
function verdict(name, kind, text) {
  const element = byId(`${name}-verdict`, HTMLParagraphElement);
  if (element.dataset.kind === kind && element.textContent === text) return;
  element.dataset.kind = kind;
  element.replaceChildren(icon(kind), make("span", { class: "words" }, text));
}

/** @param {"a" | "b"} name @param {Side} side */
function thermometer(name, { frame, target }) {
  const meter = byId(`${name}-thermo`, HTMLDivElement);
  const place = (/** @type {number} */ T) => Math.min(1, Math.max(0, (Math.log10(Math.max(T, 1e-12)) - COLD) / (HOT - COLD)));
  const cold = frame.temperature < target * (1 - SAME_T);
  const hot = frame.temperature > target * (1 + SAME_T);
  const words = cold ? "colder than requested" : hot ? "hotter than requested" : "as requested";
  // Gibbs has neither noise nor drift.
  const T = frame.temperature > 0 ? frame.temperature : target;
  const text = frame.drift > 0 ? `T = σ²/(2a) = ${tidy(T)}, ${words}` : `T = ${tidy(T)}, ${words}`;
  const [label, bar] = meter.children;
  if (label) setText(label, text);
  meter.dataset.state = cold ? "cold" : hot ? "hot" : "right";
  meter.setAttribute("aria-valuenow", String(Math.min(HOT, Math.max(COLD, Math.log10(T)))));
  meter.setAttribute("aria-valuetext", text);
  const [goal, now] = bar?.children ?? [];
  if (goal instanceof HTMLElement) goal.style.left = `${100 * place(target)}%`;
  if (now instanceof HTMLElement) now.style.left = `${100 * place(T)}%`;
}

/** @param {"a" | "b"} name @param {Side} side @param {PlayInfo} info */
function advise(name, { frame, sampler, target }, info) {
  const element = byId(`${name}-advice`, HTMLParagraphElement);
  const off = sampler.settings.includes("noise") && Math.abs(frame.temperature / target - 1) > SAME_T;
  const canTest = info.target.steps.mala !== undefined || info.config.target === "learned";
  const state = `${sampler.name}/${off}/${sampler.tested}`;
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  const button = (/** @type {string} */ way, /** @type {string} */ text) => make("button", { type: "button", "data-way": way }, text);
  element.replaceChildren(
    ...(off ? [button("match", `Match T = ${tidy(target)}`)] : []),
    ...(!sampler.tested ? [make("span", {}, "No accept/reject test: the draws are biased."), ...(canTest ? [button("test", "Switch to MALA")] : [])] : []),
  );
}

/** @param {Side[]} sides */
function compare([first, second]) {
  const [a, b] = [first?.statistics, second?.statistics];
  if (!a || !b || !first || !second || a.rhat_max === null || b.rhat_max === null) return "";
  const [x, y] = [a.ess_per_1000_gradients, b.ess_per_1000_gradients];
  if (!x || !y) return "";
  if (Math.min(...[a, b].map(({ summaries }) => summaries[0]?.draws ?? 0)) < MIN_COMPARED) return "The two sides can be compared after a few more draws.";
  if (Math.min(a.rhat_max, b.rhat_max) > 1.1) return "The chains disagree on both sides, so they cannot be compared yet: ESS means little while R-hat is far from 1.";
  const [winner, loser, ratio] = y >= x ? [second, first, y / x] : [first, second, x / y];
  const name = (/** @type {Side} */ side) => (first.sampler.name === second.sampler.name ? `side ${side === first ? 1 : 2}` : side.sampler.title);
  if (ratio < 1.1) return "A gradient gives about as many effective draws on both sides.";
  const doubt = (loser.statistics?.rhat_max ?? 1) > 1.1 ? ` The chains of ${name(loser)} still disagree, so even their ESS is too high.` : "";
  const caveat = !winner.sampler.tested ? " But it has no accept/reject test: its draws are cheaper and biased." : "";
  return `A gradient gives ${compact(ratio, 2)} times as many effective draws with ${name(winner)}.${doubt}${caveat}`;
}

/** @param {Row} row @param {number} sides */
function emptyRow({ label, hint, long }, sides) {
  const cell = () => make("td", {}, make("span", { class: "main" }), make("small", {}));
  const head = make("th", { scope: "row" }, make("abbr", { title: long }, label), make("small", {}, hint));
  return make("tr", {}, cell(), head, ...(sides > 1 ? [cell()] : []));
}

/** One sentence on the state of the run, for the status line. @param {Side[]} sides */
export function summary(sides) {
  return sides.map((side, index) => `${sides.length > 1 ? `side ${index + 1}, ` : ""}${side.sampler.title}: ${judge(side)[1]}`).join("; ");
}

