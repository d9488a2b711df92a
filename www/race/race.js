// The display of the race: chain images, traces and numbers of both sides.

import { TraceStore } from "../charts/store.js";
import { TraceChart } from "../charts/trace.js";
import { byId, icon, make, setText, table } from "../ui/dom.js";
import { compact, integer, percent, rhat, tidy } from "../ui/format.js";
import { Tiles } from "./tiles.js";

/** @import { Frame, RaceInfo, SideFrame, Space } from "../contract/race.js" */
/** @import { Summary } from "../contract/statistics.js" */
/** @import { PageState } from "./url.js" */

const SPACES = /** @type {const} */ (["pixel", "latent"]);
/** Lines cost more than pixels: the charts are drawn less often than the images. */
const CHART_EVERY_MS = 80;
/** The charts may take this share of the page's time. */
const CHART_SHARE = 0.2;
const TABLE_EVERY_MS = 1000;
/** With reduced motion, images still change, but slowly enough not to flicker. */
const CALM_EVERY_MS = 600;

/** @type {Record<string, [label: string, text: string]>} */
const QUANTITIES = {
  energy: ["energy E", "The energy that each chain samples; low is likely. Each space has its own energy for the same model, so the two scales differ."],
  tilt: ["tilt U(x)", "What the energy-based model adds to the flow, or to the Gaussian cloud of latents. The same function on both sides, on the same scale."],
};

/**
 * One row of the comparison: its label, its hint, and its text for a side.
 * @typedef {object} Row
 * @property {string} label
 * @property {string} hint
 * @property {(side: SideFrame, race: RaceInfo) => string} value
 * @property {(side: SideFrame) => string} [small]
 * @property {(sides: SideFrame[]) => boolean} [when]
 */

/** @type {Row[]} */
const ROWS = [
  { label: "R-hat", hint: "largest over all traced quantities; the goal is 1.01 or less", value: (side) => rhat(side.rhat_max) },
  { label: "Bulk ESS", hint: "equivalent independent draws, smallest over the quantities", value: (side) => compact(side.ess_bulk_min) },
  { label: "ESS per 1000 ∇E", hint: "effective draws per gradient", value: (side) => compact(side.ess_per_1000_gradients) },
  { label: "Acceptance", hint: "of proposals", value: (side, { config }) => (config.sampler === "ula" ? "always" : percent(side.acceptance)) },
  { label: "Step size ε", hint: "currently used", value: (side) => tidy(side.step_size) },
  { label: "Temperature T", hint: "= σ²/(2a), from the noise and drift in use", value: (side) => tidy(side.temperature), small: (side) => (side.drift > 0 ? `σ ${tidy(side.noise)}, a ${tidy(side.drift)}` : "") },
  { label: "E-BFMI", hint: "below 0.3 the random momenta are too weak", value: (side) => compact(side.e_bfmi), when: (sides) => sides.some((side) => side.e_bfmi !== null) },
  { label: "Broken chains", hint: "energy is no longer finite", value: (side) => integer(side.broken_chains), when: (sides) => sides.some((side) => side.broken_chains > 0) },
];

export class Race {
  #tiles;
  #charts;
  #clock = byId("clock", HTMLElement);
  #phaseLabel = byId("phase-label", HTMLElement);
  #phase = byId("phase", HTMLElement);
  #numbers = byId("numbers", HTMLTableSectionElement);
  #conclusion = byId("conclusion", HTMLParagraphElement);
  #all = byId("all-statistics", HTMLDivElement);
  #traced = byId("traced", HTMLSelectElement);
  #follow = byId("follow", HTMLSelectElement);
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  /** @type {Row[]} rows on display */
  #rows = [];

  /** @type {RaceInfo | null} */
  #race = null;
  /** @type {PageState | null} */
  #state = null;
  /** @type {TraceStore[]} */
  #stores = [];
  /** @type {Frame | null} */
  #frame = null;
  #drawing = 0;
  #lastChart = 0;
  #chartCost = 0;
  #lastTable = 0;
  #lastImages = 0;

  /**
   * @param {object} listeners
   * @param {(chain: number | null) => void} listeners.onFollow
   * @param {(name: string) => void} listeners.onTraced
   */
  constructor({ onFollow, onTraced }) {
    this.#tiles = SPACES.map((space) => new Tiles(byId(`${space}-tiles`, HTMLDivElement), onFollow));
    this.#charts = SPACES.map(
      (space) =>
        new TraceChart(
          { plot: byId(`${space}-plot`, HTMLDivElement), readout: byId(`${space}-readout`, HTMLElement), table: byId(`${space}-table`, HTMLDivElement) },
          { colour: `--${space}`, alpha: 0.45, height: 248, sync: "race", where: `, ${space} space,`, axes: { x: { size: 30, gap: 6 }, y: { size: 58, gap: 6 } } },
        ),
    );
    this.#traced.addEventListener("change", () => onTraced(this.#traced.value));
    this.#follow.addEventListener("change", () => onFollow(this.#follow.value === "none" ? null : Number(this.#follow.value)));
    for (const details of document.querySelectorAll("#race details.twin")) details.addEventListener("toggle", () => this.#fillTables());
    for (const space of SPACES) verdict(space, "wait", "not started");
  }

  /**
   * @param {RaceInfo} race
   * @param {PageState} state
   * @param {[number, number, number]} shape
   */
  start(race, state, [, height, width]) {
    [this.#race, this.#state, this.#frame] = [race, state, null];
    for (const tiles of this.#tiles) tiles.layOut(race.config.chains, height, width);
    this.#traced.replaceChildren(...race.traced.map((name) => new Option(labelOf(name), name)));
    const chains = Array.from({ length: race.config.chains }, (_, chain) => new Option(`chain ${chain + 1}`, String(chain)));
    this.#follow.replaceChildren(new Option("no chain", "none"), ...chains);
    this.#empty();
    this.view(state);
  }

  #empty() {
    const race = this.#race;
    if (!race) return;
    this.#stores = SPACES.map(() => new TraceStore(race.config.chains, race.traced, race.config.warmup));
    this.#charts.forEach((chart, side) => chart.start(/** @type {TraceStore} */ (this.#stores[side])));
  }

  /** The displayed quantity or chain changed, but not the race. @param {PageState} state */
  view(state) {
    this.#state = state;
    const name = this.#name();
    this.#traced.value = name;
    setText(byId("traced-text", HTMLParagraphElement), QUANTITIES[name]?.[1] ?? textOf(name));
    for (const tiles of this.#tiles) tiles.follow(state.chain);
    this.#follow.value = String(state.chain ?? "none");
    setText(byId("follow-text", HTMLSpanElement), state.chain === null ? "Choose one to follow its chain on both sides." : `Chain ${state.chain + 1} is framed here and drawn bold below.`);
    this.#drawCharts();
    this.#fillTables();
  }

  /** @param {Frame} frame */
  push(frame) {
    // Index 0 is a fresh start: data of the previous race is dropped.
    if (frame.index === 0) this.#empty();
    frame.sides.forEach((side, index) => this.#stores[index]?.push(side));
    this.#frame = frame;
    this.#drawing ||= requestAnimationFrame(() => this.#draw());
  }

  /** Colours have changed. */
  repaint() {
    for (const tiles of this.#tiles) tiles.paint();
    for (const chart of this.#charts) chart.rebuild();
    this.#drawCharts();
  }

  /** Draws pending frames, so that the last frame of a run is shown completely. */
  settle() {
    this.#lastChart = this.#lastTable = this.#lastImages = -Infinity;
    this.#draw();
  }

  /** One sentence on the state of the race, for the status line. */
  summary() {
    const sides = this.#frame?.sides ?? [];
    return sides.map((side) => `${side.space}: ${judge(side)[1]}`).join(", ");
  }

  #name() {
    const traced = this.#race?.traced ?? [];
    const wanted = this.#state?.traced ?? "energy";
    return traced.includes(wanted) ? wanted : (traced[0] ?? "energy");
  }

  #draw() {
    cancelAnimationFrame(this.#drawing);
    this.#drawing = 0;
    const [frame, race] = [this.#frame, this.#race];
    if (!frame || !race) return;
    const now = performance.now();
    if (!this.#calm.matches || now - this.#lastImages > CALM_EVERY_MS) {
      this.#lastImages = now;
      frame.sides.forEach((side, index) => this.#tiles[index]?.show(side));
    }
    if (now - this.#lastChart > Math.max(CHART_EVERY_MS, this.#chartCost / CHART_SHARE)) {
      this.#lastChart = now;
      this.#drawCharts();
      this.#showNumbers(frame, race);
      this.#chartCost = performance.now() - now;
    }
    if (now - this.#lastTable > TABLE_EVERY_MS) {
      this.#lastTable = now;
      this.#fillTables();
    }
  }

  #drawCharts() {
    const [state, race] = [this.#state, this.#race];
    if (!state || !race) return;
    const name = this.#name();
    const ends = this.#stores.map((store) => store.clock.at(-1) ?? 0);
    // Until the first draws arrive, the axis spans the warm-up.
    const end = Math.max(...ends, (race.config.warmup || 20) * race.gradients_per_transition * 0.2);
    const ranges = this.#stores.map((store) => store.range(name));
    // Energies have different scales; every other quantity is the same function on both sides.
    const shared = name === race.traced[0] ? null : union(ranges);
    this.#charts.forEach((chart, side) => chart.draw({ name, chain: state.chain, end, range: shared ?? ranges[side] ?? null }));
    SPACES.forEach((space, side) => {
      const summary = this.#frame?.sides[side]?.summaries.find((candidate) => candidate.name === name);
      const badge = byId(`${space}-badge`, HTMLSpanElement);
      setText(badge, badgeText(summary, this.#frame?.sides[side]));
      byId(`${space}-plot`, HTMLDivElement).setAttribute("aria-label", `Trace of ${labelOf(name)} in ${space} space, one line per chain. The table below holds the same values.`);
    });
  }

  /** @param {Frame} frame @param {RaceInfo} race */
  #showNumbers(frame, race) {
    const [pixel, latent] = frame.sides;
    if (!pixel || !latent) return;
    setText(this.#clock, integer(latent.gradients));
    const warming = latent.warming_up && race.config.warmup > 0;
    setText(this.#phaseLabel, warming ? "Warm-up" : "Draws");
    setText(this.#phase, warming ? `${integer(latent.transitions)} of ${integer(race.config.warmup)}` : integer(Math.max(0, latent.transitions - race.config.warmup)));
    frame.sides.forEach((side) => verdict(side.space, ...judge(side)));

    const rows = ROWS.filter((row) => row.when?.(frame.sides) ?? true);
    if (rows.length !== this.#rows.length || rows.some((row, index) => row !== this.#rows[index])) {
      this.#rows = rows;
      this.#numbers.replaceChildren(...rows.map(emptyRow));
    }
    rows.forEach((row, index) => {
      const cells = this.#numbers.rows[index]?.querySelectorAll("td") ?? [];
      [pixel, latent].forEach((side, column) => {
        const [main, small] = cells[column]?.children ?? [];
        if (main) setText(main, row.value(side, race));
        if (small) setText(small, row.small?.(side) ?? "");
      });
    });
    setText(this.#conclusion, conclude(pixel, latent));
  }

  #fillTables() {
    for (const chart of this.#charts) chart.fillTable();
    const frame = this.#frame;
    if (!frame || !this.#all.closest("details")?.open) return;
    const rows = frame.sides.flatMap((side) =>
      side.summaries.map((summary) => [
        `${labelOf(summary.name)}, ${side.space}`,
        rhat(summary.rhat),
        compact(summary.ess_bulk),
        compact(summary.ess_tail),
        compact(summary.mean, 4),
        compact(summary.sd),
        compact(summary.mcse_mean),
        STATUS[summary.status.kind],
      ]),
    );
    this.#all.replaceChildren(table(["Quantity", "R-hat", "Bulk ESS", "Tail ESS", "Mean", "SD", "MCSE", "State"], rows, "Statistics of every traced quantity on both sides, over the draws after warm-up"));
  }
}

const SEPARATOR = " · ";

/** @type {Record<Summary["status"]["kind"], string>} */
const STATUS = {
  converged: "converged",
  not_converged: "not converged",
  too_short: "too few draws",
  constant: "constant",
  non_finite: "not finite",
};

/** @param {string} name */
function labelOf(name) {
  return QUANTITIES[name]?.[0] ?? name;
}

/** @param {string} name */
function textOf(name) {
  const component = /^pc(\d+)$/.exec(name);
  return component
    ? `The image’s coordinate along principal component ${component[1]} of the training images. The same function on both sides, on the same scale.`
    : "The same function of the image on both sides, on the same scale.";
}

/**
 * @param {SideFrame} side
 * @returns {["mixed" | "stuck" | "wait", string]}
 */
function judge(side) {
  if (side.broken_chains > 0) return ["stuck", `${side.broken_chains} ${side.broken_chains === 1 ? "chain has" : "chains have"} broken`];
  if (side.warming_up) return ["wait", side.transitions === 0 ? "at the start" : "warming up"];
  if (side.rhat_max === null) {
    const stuck = side.summaries.some((summary) => summary.rhat === null && summary.status.kind === "not_converged");
    return stuck ? ["stuck", `not mixed${SEPARATOR}max R-hat ∞`] : ["wait", "too few draws to say"];
  }
  const number = `max R-hat ${rhat(side.rhat_max)}`;
  if (side.summaries.every((summary) => summary.status.kind === "converged")) return ["mixed", `mixed${SEPARATOR}${number}`];
  if (side.rhat_max <= 1.01) return ["wait", `mixed, few draws yet${SEPARATOR}${number}`];
  return side.rhat_max <= 1.1 ? ["wait", `nearly mixed${SEPARATOR}${number}`] : ["stuck", `not mixed${SEPARATOR}${number}`];
}

/**
 * @param {Space} space
 * @param {"mixed" | "stuck" | "wait"} kind
 * @param {string} text
 */
function verdict(space, kind, text) {
  const element = byId(`${space}-verdict`, HTMLParagraphElement);
  if (element.dataset.kind === kind && element.textContent === text) return;
  element.dataset.kind = kind;
  // Each part stays on one line: a broken "max R-hat 1.02" reads badly on a phone.
  const parts = text.split(SEPARATOR).map((part) => make("span", {}, part));
  const words = make("span", { class: "words" }, ...parts.flatMap((part, index) => (index === 0 ? [part] : [SEPARATOR, part])));
  element.replaceChildren(icon(kind), words);
}

/**
 * @param {Summary | undefined} summary
 * @param {SideFrame | undefined} side
 */
function badgeText(summary, side) {
  if (!summary || !side || summary.rhat === null) {
    if (summary?.status.kind === "constant") return "R-hat – (constant)";
    if (summary?.status.kind === "non_finite") return "R-hat – (not finite)";
    return side?.warming_up === false ? "R-hat – (too few draws)" : "R-hat after warm-up";
  }
  return `R-hat ${rhat(summary.rhat)}`;
}

/**
 * @param {SideFrame} pixel
 * @param {SideFrame} latent
 */
function conclude(pixel, latent) {
  if (pixel.rhat_max === null || latent.rhat_max === null) return "The statistics begin after the warm-up.";
  const [a, b] = [pixel.ess_per_1000_gradients, latent.ess_per_1000_gradients];
  const clock = `After ${integer(latent.gradients)} ∇E per chain`;
  if (!a || !b) return `${clock} there is no effective sample size to compare yet.`;
  const [winner, ratio] = b >= a ? ["latent", b / a] : ["pixel", a / b];
  const gain = ratio < 1.1 ? "a gradient gives about as many effective draws on both sides" : `a gradient gives ${compact(ratio, 2)} times as many effective draws in ${winner} space`;
  const loser = winner === "latent" ? pixel : latent;
  const doubt = /** @type {number} */ (loser.rhat_max) > 1.1 ? ` The ${loser.space} chains still disagree (R-hat ${rhat(loser.rhat_max)}), so even their ESS is too high.` : "";
  return `${clock}, ${gain}.${doubt}`;
}

/** @param {Row} row */
function emptyRow({ label, hint }) {
  const cell = () => make("td", {}, make("span", { class: "main" }), make("small", {}));
  return make("tr", {}, cell(), make("th", { scope: "row" }, label, make("small", {}, hint)), cell());
}

/** @param {([number, number] | null)[]} ranges */
function union(ranges) {
  const known = ranges.filter((range) => range !== null);
  if (known.length === 0) return null;
  return /** @type {[number, number]} */ ([Math.min(...known.map(([least]) => least)), Math.max(...known.map(([, most]) => most))]);
}
