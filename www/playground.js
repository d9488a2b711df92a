// Starts the Playground and holds it together: the address, the engine, the clock, the panels.
// The page owns one engine and asks it one thing at a time. Every draw is a function of the
// configuration, so rewinding, another device and a lost engine are all the same thing: a replay.

import { announce, dismiss, hideCard, notice, showWaiting } from "./cards.js";
import { byId, icon, make, setText, table } from "./dom.js";
import { WHY_CPU } from "./errors.js";
import { toError } from "./failure.js";
import { compact, integer, rhat, tidy } from "./format.js";
import { setUpKeys } from "./keys.js";
import { showFailure } from "./play-cards.js";
import { LinesView, RanksView, rhatRange, rhatText, TraceView } from "./play-charts.js";
import { DrawPanel } from "./play-draw.js";
import { fileName, toArviz, toCsv } from "./play-export.js";
import { emptyGrid, SIDE } from "./play-grid.js";
import { measureDrift } from "./play-drift.js";
import { LearnPanel } from "./play-learn.js";
import { LESSONS } from "./play-lessons.js";
import { Numbers, summary } from "./play-numbers.js";
import { PathPanel } from "./play-path.js";
import { Settings } from "./play-settings.js";
import { ShareDialog } from "./play-share.js";
import { SideStore } from "./play-store.js";
import { paintLegend, SurfaceView } from "./play-surface.js";
import { defaultState, formatState, PACES, parseState, presetState, samplerConfig, side as freshSide } from "./play-url.js";
import { Session } from "./session.js";
import { setUpTheme } from "./theme.js";
import { TraceStore } from "./traces.js";

/** @import { LearnConfig, PlayConfig, PlayFrame, PlayInfo, PlayStatistics, SamplerInfo, TargetInfo } from "./play-protocol.js" */
/** @import { Runtime } from "./protocol.js" */
/** @import { Way } from "./play-cards.js" */
/** @import { PlayState } from "./play-url.js" */

const NAMES = /** @type {const} */ (["a", "b"]);
/** Lines of a trace; more are neither readable nor quick. */
const MAX_LINES = 48;
/** Values of one side that are kept, 4 bytes each. The engine keeps as many and a few more. */
const MAX_VALUES = 11e6;
/** One question to the engine should not take longer: pause and slider want an answer. */
const LONGEST_CALL_MS = 90;
/** Statistics, and the charts that are computed from all draws, may take this share of the time. */
const STATISTICS_SHARE = 0.2;
const STATISTICS_EVERY_MS = 350;
const CHARTS_EVERY_MS = 1500;
/** Lines are costlier than points. */
const TRACE_EVERY_MS = 90;
const TRACE_SHARE = 0.25;
const DESCRIBE_EVERY_MS = 1500;
/** With reduced motion the picture still has to change, but not flicker. */
const CALM_EVERY_MS = 600;
/** A picture of the learning every so often. */
const LEARN_CALL_MS = 200;
/** Clocks closer than this are the same. */
const SLACK = 0.25;
/** Without draws there is nothing to rank; the engine's own least number. */
const MIN_DRAWS = 4;

const query = new URLSearchParams(location.search);
const root = document.documentElement;
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const play = byId("play", HTMLButtonElement);
const transport = ["back", "step", "reset", "new-seed"].map((id) => byId(id, HTMLButtonElement));
const scrub = byId("scrub", HTMLInputElement);
const runtimeSelect = byId("f-runtime", HTMLSelectElement);
const quantitySelect = byId("f-quantity", HTMLSelectElement);
const chainSelect = byId("f-chain", HTMLSelectElement);
const paceSelect = byId("pace", HTMLSelectElement);

/** @type {"loading" | "ready" | "running" | "failed"} */
let phase = "loading";
/** The newest wish wins: whatever an older one still waits for is dropped. */
let attempt = 0;
/** Frames that were asked for before the last configure() belong to older chains. */
let era = 0;
/** @type {Runtime} */
let runtime = query.get("runtime") === "webgpu" ? "webgpu" : "cpu";
/** @type {SamplerInfo[]} */
let samplers = [];
/** @type {TargetInfo[]} */
let targets = [];
/** @type {PlayInfo | null} */
let info = null;
/** @type {PlayFrame | null} */
let lastFrame = null;
/** The newest statistics of each side. @type {(PlayStatistics | null)[]} */
let statistics = [];
/** Wishes of the last run that the engine accepted, to go back to. @type {PlayConfig | null} */
let good = null;
/** The drawing and the learned density that the engine holds. @type {string} */
let held = "";
/** @type {LearnConfig | null} */
let learned = null;
/** Farthest clock of this run; replaying up to it changes nothing. */
let farthest = 0;
/** @type {SideStore[]} */
let stores = [];
/** @type {TraceStore[]} */
let traces = [];
let state = readAddress();

const session = new Session("play", (error) => fail(error));
const surfaces = NAMES.map((name, index) => new SurfaceView(byId(`${name}-surface`, HTMLDivElement), name, (chain) => pick(chain, index)));
const traceViews = NAMES.map((name) => new TraceView(name, { plot: byId(`${name}-trace-plot`, HTMLDivElement), readout: byId(`${name}-readout`, HTMLElement), table: byId(`${name}-trace-table`, HTMLDivElement) }));
const ranksViews = NAMES.map((name) => new RanksView(name, byId(`${name}-ranks-plot`, HTMLDivElement), byId(`${name}-ranks-table`, HTMLDivElement)));
const runningViews = NAMES.map((name) => new LinesView(byId(`${name}-running-plot`, HTMLDivElement), byId(`${name}-running-table`, HTMLDivElement), { xLabel: "draws per chain", caption: "R-hat after so many draws", range: rhatRange, goal: 1.01, text: rhatText }));
const autoViews = NAMES.map((name) => new LinesView(byId(`${name}-auto-plot`, HTMLDivElement), byId(`${name}-auto-table`, HTMLDivElement), { xLabel: "lag", caption: "Autocorrelation of the first chains", range: (values) => [values.reduce((a, b) => Math.min(a, b), -0.25), 1.02], goal: 0 }));
const numbers = new Numbers({ onMatch: matchTemperature, onTest: takeTest });
const settings = new Settings({ onChange: (next) => change(next) });
const pathPanel = new PathPanel({ fetch: fetchPath, onChange: () => drawSurfaces() });
const drawPanel = new DrawPanel({ onUse: (grid) => change({ ...state, drawn: grid, config: { ...plain(state.config), target: "drawn" } }) });
const learnPanel = new LearnPanel({ onStart: () => void learn().catch(fail), onStop: () => (learning += 1), onRun: runOnLearned, onChange: (config) => setState({ ...state, learn: config }) });
new ShareDialog(() => ({ state, clock: clockNow() }));

/** @param {typeof phase} next */
function setPhase(next) {
  phase = next;
  root.dataset.phase = next;
  const on = next === "ready" || next === "running";
  for (const button of [play, ...transport]) button.disabled = !on;
  scrub.disabled = !on;
  byId("bench", HTMLDivElement).toggleAttribute("inert", !on);
  const [name, label] = next === "running" ? ["pause", "Pause"] : ["play", "Play"];
  if (play.textContent !== label) play.replaceChildren(icon(name), make("span", {}, label));
}

function readAddress() {
  const { state: read, problems } = parseState(location.hash);
  dismiss("address");
  if (problems.length > 0) notice("address", "Part of the address could not be read.", `${problems.join("; ")}. The defaults are used for ${problems.length === 1 ? "it" : "these"}.`);
  return read;
}

/** @param {PlayState} next */
function setState(next) {
  state = next;
  // Replaced, not pushed: a slider should not fill the visitor's history.
  history.replaceState(null, "", formatState(state));
  settings.show(state);
  learnPanel.show(state.learn);
  paceSelect.value = String(state.pace);
  chainSelect.value = state.chain === null ? "none" : String(state.chain);
  quantitySelect.value = quantity();
  root.toggleAttribute("data-embed", state.embed);
  if (root.dataset.hide !== state.hide.join(" ")) {
    root.dataset.hide = state.hide.join(" ");
    for (const panel of document.querySelectorAll("[data-panel]")) if (panel instanceof HTMLElement) panel.hidden = state.hide.some((name) => name === panel.dataset.panel);
    for (const view of surfaces) view.repaint();
  }
  showLesson();
}

/** The quantity of the charts: the wish, if this target has it. */
function quantity() {
  const traced = info?.traced ?? [];
  return traced.includes(state.quantity) ? state.quantity : (traced[1] ?? traced[0] ?? "energy");
}

const clockNow = () => Math.max(0, ...(lastFrame?.sides.map(({ clock }) => clock) ?? []));

/** Wishes without what belongs to another target. @param {PlayConfig} config */
function plain(config) {
  return { ...config, sides: config.sides.map(({ sampler }) => ({ sampler: { ...sampler, step_size: null, noise: null }, space: /** @type {const} */ ("data") })) };
}

/** What the engine is asked for: a density that is not learned yet is replaced by what it will be learned from. */
function wanted() {
  const config = structuredClone(state.config);
  if (config.target === "learned" && !learned) Object.assign(config, plain(config), { target: state.learn.target === "drawn" && !state.drawn ? defaultState().config.target : state.learn.target });
  return config;
}

/**
 * From nothing to a run. Also the way back after every failure: everything is replayed.
 * @param {number} [clock] where to go
 */
async function boot(clock = state.at ?? 0) {
  const mine = ++attempt;
  setPhase("loading");
  try {
    showWaiting("Starting the engine", runtime === "cpu" ? "Half a megabyte of WebAssembly, then everything is computed here." : "The graphics adapter compiles its programs. The first time takes a few seconds.");
    [held, info] = ["", null];
    const recipe = learned;
    learned = null;
    const report = await session.start(runtime);
    if (mine !== attempt) return;
    tellRuntime();
    runtime = report.runtime;
    [samplers, targets] = [await session.ask("samplers"), await session.ask("targets")];
    if (mine !== attempt) return;
    offer();
    if (recipe && state.config.target === "learned") {
      await useDrawing();
      showWaiting("Learning again", "The engine was replaced, and with it went the learned density. The same seed learns the same one.");
      if (await learnThrough(recipe, () => mine === attempt)) learnPanel.state("done");
    }
    await prepare(mine, clock);
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

function tellRuntime() {
  const report = session.report;
  if (!report) return;
  root.dataset.runtime = report.runtime;
  runtimeSelect.value = report.runtime;
  dismiss("cpu");
  if (runtime === "webgpu" && report.reason_kind) notice("cpu", WHY_CPU[report.reason_kind], `${report.reason} The numbers are the same.`);
  const name = [report.vendor, report.architecture, report.description].filter(Boolean).join(" ");
  setText(byId("machine-text", HTMLParagraphElement), report.runtime === "cpu" ? "The smaller build, and the faster one for densities as small as these." : `On ${name || "an adapter that keeps its name to itself"}. For densities as small as these the CPU is usually faster.`);
}

function offer() {
  settings.offer(samplers, targets);
  learnPanel.offer(targets);
}

/** Hands the drawing to the engine, if there is a new one. */
async function useDrawing() {
  const drawing = state.drawn ? state.drawn.join() : "";
  if (!state.drawn || drawing === held) return;
  await session.ask("draw", state.drawn, SIDE);
  held = drawing;
  targets = await session.ask("targets");
  offer();
}

/** @param {number} mine @param {number} [clock] */
async function prepare(mine, clock = 0) {
  if (state.drawn && (state.config.target === "drawn" || state.learn.target === "drawn" || held === "")) {
    try {
      await useDrawing();
    } catch (error) {
      const { kind, message } = toError(error);
      if (kind !== "bad-config") throw error;
      drawPanel.complain(message);
      setState({ ...state, drawn: null, config: good ?? { ...state.config, target: defaultState().config.target } });
    }
    if (mine !== attempt) return;
  }
  const { target } = wanted();
  if (!targets.some(({ name }) => name === target)) {
    const instead = targets.find(({ name }) => name === defaultState().config.target) ?? targets[0];
    if (!instead) throw new Error("The engine has no targets.");
    notice("target", "There is no such target here.", `“${target}” is not in the list, so ${instead.title} is shown.`);
    setState({ ...state, config: { ...plain(state.config), target: instead.name } });
  }
  await configure(mine, clock);
}

/** @param {number} mine @param {number} clock */
async function configure(mine, clock) {
  const { config } = state;
  era += 1;
  const own = era;
  /** @type {PlayInfo} */
  let accepted;
  try {
    accepted = await session.ask("configure", wanted());
  } catch (error) {
    const problem = toError(error);
    if (mine !== attempt) return;
    if (problem.kind !== "bad-config") throw error;
    const back = good && good !== config ? good : defaultState().config;
    if (back === config || JSON.stringify(back) === JSON.stringify(config)) throw error;
    notice("config", "The engine refused these settings.", `${problem.message} ${back === good ? "The last good run stays." : "The defaults are used."}`);
    setState({ ...state, config: back });
    return configure(mine, back === good ? clockNow() : 0);
  }
  if (mine !== attempt || own !== era) return;
  if (state.config !== config) return configure(mine, clock);
  good = config;
  info = accepted;
  start(accepted);
  const frame = clock > 0 ? await replay(0, clock, true, () => mine === attempt && own === era) : await session.ask("advance", 0, false);
  if (mine !== attempt) return;
  if (state.at !== null) setState({ ...state, at: null });
  push(frame);
  hideCard();
  setPhase("ready");
  await settle();
  announce(clock > 0 ? `Replayed to ${integer(clockNow())} gradients.` : "Ready. All chains stand at their starts.");
}

/** Empty panels for a run. @param {PlayInfo} accepted */
function start(accepted) {
  const { config, traced, target } = accepted;
  const sides = config.sides.length;
  byId("room", HTMLElement).dataset.sides = String(sides);
  for (const part of ["figure", "trace", "ranks", "running", "auto"]) byId(`b-${part}`, HTMLElement).toggleAttribute("data-absent", sides < 2);
  for (const id of ["b-head-cell", "path-side-field", "check-side-field"]) byId(id, HTMLElement).toggleAttribute("data-absent", sides < 2);
  if (sides < 2) byId("path-side", HTMLSelectElement).value = byId("check-side", HTMLSelectElement).value = "0";
  stores = config.sides.map(() => new SideStore(config.chains, traced, target.bounds));
  statistics = config.sides.map(() => null);
  [lastFrame, farthest] = [null, 0];
  pathPanel.forget();
  quantitySelect.replaceChildren(...traced.map((name) => new Option(name === "energy" ? "energy E" : name, name)));
  quantitySelect.value = quantity();
  chainSelect.replaceChildren(new Option("none", "none"), ...Array.from({ length: config.chains }, (_, chain) => new Option(String(chain + 1), String(chain))));
  chainSelect.value = state.chain === null ? "none" : String(state.chain);
  settings.accepted(accepted);
  traces = [];
  freshTraces();
  config.sides.forEach(({ sampler, space }, index) => {
    const name = NAMES[index] ?? "a";
    const title = samplers.find((candidate) => candidate.name === sampler.sampler)?.title ?? sampler.sampler;
    setText(byId(`${name}-title`, HTMLSpanElement), capital(target.name === "learned" ? `${title}, ${space === "latent" ? "latent space" : "data space"}` : title));
    surfaces[index]?.start(accepted, /** @type {SideStore} */ (stores[index]), title);
  });
  emptyCharts();
}

function freshTraces() {
  if (!info) return;
  const { config, traced } = info;
  traces = config.sides.map(({ sampler }) => new TraceStore(Math.min(config.chains, MAX_LINES), traced, sampler.warmup));
  traces.forEach((store, index) => traceViews[index]?.start(store));
}

/** @param {PlayFrame} frame */
function push(frame) {
  if (!info) return;
  if (frame.replayed) freshTraces();
  const { chains } = info.config;
  frame.sides.forEach((side, index) => {
    stores[index]?.push(side, frame.replayed);
    const store = traces[index];
    store?.push(/** @type {any} */ ({ gradients: side.clock, transitions: side.transitions, trace_clock: side.clocks, traces: chains > store.chains ? fewer(side.values, chains, store.chains) : side.values }));
    if (side.statistics) statistics[index] = side.statistics;
    else if (frame.replayed || side.transitions === 0) statistics[index] = null;
  });
  lastFrame = frame;
  farthest = Math.max(farthest, clockNow());
  root.dataset.clock = String(clockNow());
  drawing ||= requestAnimationFrame(() => draw());
}

/** The first chains only. @param {Record<string, Float32Array>} values @param {number} chains @param {number} few */
function fewer(values, chains, few) {
  return Object.fromEntries(
    Object.entries(values).map(([name, all]) => [name, Float32Array.from({ length: (all.length / chains) * few }, (_, i) => all[Math.floor(i / few) * chains + (i % few)] ?? NaN)]),
  );
}

// Drawing

let drawing = 0;
let [lastSurface, lastTrace, traceCost, lastWords] = [0, 0, 0, 0];

function draw() {
  cancelAnimationFrame(drawing);
  drawing = 0;
  if (!lastFrame || !info) return;
  const now = performance.now();
  if (!calm.matches || now - lastSurface > CALM_EVERY_MS) {
    lastSurface = now;
    drawSurfaces();
  }
  if (now - lastTrace > Math.max(TRACE_EVERY_MS, traceCost / TRACE_SHARE)) {
    lastTrace = now;
    drawTraces();
    showNumbers();
    traceCost = performance.now() - now;
  }
  if (now - lastWords > DESCRIBE_EVERY_MS) {
    lastWords = now;
    describe();
  }
}

function drawSurfaces() {
  lastFrame?.sides.forEach((side, index) => surfaces[index]?.draw(side, { chain: state.chain, path: pathPanel.view(index) }));
}

function drawTraces() {
  const name = quantity();
  const ends = traces.map((store) => store.clock.at(-1) ?? 0);
  const end = Math.max(20, ...ends);
  // One scale for both sides: where they differ, that is the point.
  const ranges = traces.map((store) => store.range(name)).filter((range) => range !== null);
  const range = ranges.length > 0 ? /** @type {[number, number]} */ ([Math.min(...ranges.map(([least]) => least)), Math.max(...ranges.map(([, most]) => most))]) : null;
  traces.forEach((store, index) => traceViews[index]?.draw({ name, chain: state.chain !== null && state.chain < store.chains ? state.chain : null, end, range }));
  NAMES.forEach((side, index) => {
    const own = statistics[index]?.summaries.find((candidate) => candidate.name === name);
    const warming = lastFrame?.sides[index]?.warming_up;
    const number = own?.rhat !== null && own ? rhat(own.rhat) : own?.status.kind === "not_converged" ? "∞" : own?.status.kind === "constant" ? "– (constant)" : warming === false ? "– (too few draws)" : "after warm-up";
    setText(byId(`${side}-badge`, HTMLSpanElement), `R-hat ${number}`);
    const some = (info?.config.chains ?? 0) > MAX_LINES ? ` The first ${MAX_LINES} chains are drawn.` : "";
    byId(`${side}-trace-plot`, HTMLDivElement).setAttribute("aria-label", `Trace of ${name}, side ${index + 1}, one line per chain. R-hat ${number}.${some} The table below holds the same values.`);
  });
}

function sides() {
  return (lastFrame?.sides ?? []).flatMap((frame, index) => {
    const own = info?.config.sides[index]?.sampler;
    const sampler = samplers.find(({ name }) => name === own?.sampler);
    return own && sampler ? [{ frame, statistics: statistics[index] ?? null, sampler, target: own.temperature }] : [];
  });
}

function showNumbers() {
  const frame = lastFrame;
  const first = frame?.sides[0];
  if (!frame || !first || !info) return;
  const clock = clockNow();
  setText(byId("clock", HTMLElement), integer(clock));
  const warmup = info.config.sides[0]?.sampler.warmup ?? 0;
  const warming = first.warming_up && warmup > 0;
  setText(byId("phase-label", HTMLElement), warming ? "Warm-up" : "Draws");
  setText(byId("phase", HTMLElement), warming ? `${integer(first.transitions)} of ${integer(warmup)}` : integer(Math.max(0, first.transitions - warmup)));
  scrub.max = String(Math.max(1, farthest));
  if (!scrubbing) scrub.value = String(clock);
  scrub.setAttribute("aria-valuetext", `${integer(clock)} of ${integer(farthest)} gradients`);
  scrub.style.setProperty("--share", String(clock / Math.max(1, farthest)));
  numbers.show(sides(), info);
}

/** Words for what is drawn, and the tables that are open. */
function describe() {
  surfaces.forEach((view, index) => {
    if (index < stores.length) view.describe();
  });
  ranksViews.forEach((view) => view.describe());
  lastFrame?.sides.forEach((side, index) => {
    const host = byId(`${NAMES[index] ?? "a"}-chains-table`, HTMLDivElement);
    if (!host.closest("details")?.open || !info) return;
    const [first = "x", second = "y"] = info.target.coordinates;
    const chains = Math.min(50, side.energies.length);
    const rows = Array.from({ length: chains }, (_, chain) => [String(chain + 1), compact(side.positions[2 * chain], 4), compact(side.positions[2 * chain + 1], 4), compact(side.energies[chain], 4)]);
    const laws = [0, 1].flatMap((axis) => {
      const exact = info?.marginals.find(({ name }) => name === info?.target.coordinates[axis]);
      const own = stores[index]?.moments(/** @type {0 | 1} */ (axis));
      return exact ? [[exact.name, compact(own?.mean, 4), meanText(exact), compact(own?.sd, 4), compact(exact.sd, 4)]] : [];
    });
    host.replaceChildren(
      ...(laws.length > 0 ? [table(["Marginal", "mean of draws", "exact mean", "SD of draws", "exact SD"], laws, "Marginals: draws after warm-up against the exact law")] : []),
      table(["Chain", first, second, "E"], rows, `Positions of ${chains} of ${side.energies.length} chains now`),
    );
  });
}

/** A mean that is 0 but for the rounding of its quadrature. @param {import("./play-protocol.js").Marginal} marginal */
function meanText({ mean, sd }) {
  return compact(Math.abs(mean) < 1e-9 * sd ? 0 : mean, 4);
}

/** Draws what was held back, and computes what a resting page should show. */
async function settle() {
  lastSurface = lastTrace = lastWords = -Infinity;
  const own = era;
  if (lastFrame?.sides.some((side, index) => side.transitions > 0 && (!side.statistics || !statistics[index]))) {
    const frame = await session.ask("advance", 0, true);
    if (own !== era) return;
    push(frame);
  }
  draw();
  await updateCharts();
  draw();
}

let [charting, chartAgain] = [false, false];

/** Ranks, running R-hat, and the autocorrelation where it is open. */
async function updateCharts() {
  chartAgain = true;
  if (charting) return;
  charting = true;
  try {
    while (chartAgain && info) {
      chartAgain = false;
      const [own, name] = [era, quantity()];
      for (let index = 0; index < stores.length; index += 1) {
        if ((stores[index]?.kept ?? 0) < MIN_DRAWS) {
          emptyCharts(index);
          continue;
        }
        if (shows("ranks")) {
          const chart = await session.ask("chart", index, "ranks", name);
          if (own !== era) return;
          if (chart.kind === "ranks") ranksViews[index]?.draw(chart, state.chain);
        }
        if (shows("running")) {
          const chart = await session.ask("chart", index, "running", name);
          if (own !== era) return;
          if (chart.kind === "running") drawRunning(index, chart);
        }
        if (shows("autocorrelation") && byId("auto", HTMLDetailsElement).open) {
          const chart = await session.ask("chart", index, "autocorrelation", name);
          if (own !== era) return;
          if (chart.kind === "autocorrelation") drawAutocorrelation(index, chart.lags);
        }
      }
    }
  } finally {
    charting = false;
  }
}

/** @param {string} panel */
const shows = (panel) => !state.hide.some((name) => name === panel);

/** @param {number} [only] */
function emptyCharts(only) {
  const chains = info?.config.chains ?? 0;
  stores.forEach((_, index) => {
    if (only !== undefined && only !== index) return;
    ranksViews[index]?.draw({ bins: 20, counts: Array.from({ length: chains }, () => Array.from({ length: 20 }, () => 0)), expected: 0 }, state.chain);
    drawRunning(index, { draws: [], rhat: [], nested: [] });
    drawAutocorrelation(index, []);
    byId(`${NAMES[index] ?? "a"}-ranks-plot`, HTMLDivElement).setAttribute("aria-label", "Rank plot: no draws after warm-up yet.");
  });
}

/** @param {number} index @param {{ draws: number[], rhat: (number | null)[], nested: (number | null)[] }} chart */
function drawRunning(index, { draws, rhat: plain, nested }) {
  const colour = `--${NAMES[index] ?? "a"}`;
  runningViews[index]?.draw(draws, [{ label: "R-hat", colour, values: plain }, ...(nested.some((value) => value !== null) ? [{ label: "nested R-hat (dashed)", colour: "--ink", dash: [5, 4], values: nested }] : [])]);
  const last = plain.at(-1);
  byId(`${NAMES[index] ?? "a"}-running-plot`, HTMLDivElement).setAttribute("aria-label", last === undefined ? "Running R-hat: no draws after warm-up yet." : `R-hat of ${quantity()} as the draws come in; after ${integer(draws.at(-1) ?? 0)} draws per chain it is ${rhat(last)}. Dotted line: the goal, 1.01.`);
}

/** @param {number} index @param {number[][]} lags */
function drawAutocorrelation(index, lags) {
  const name = NAMES[index] ?? "a";
  autoViews[index]?.draw(
    Array.from({ length: lags[0]?.length ?? 0 }, (_, lag) => lag),
    lags.map((values, chain) => ({ label: `chain ${chain + 1}`, colour: chain === state.chain ? "--ink" : `--${name}`, values })),
  );
  byId(`${name}-auto-plot`, HTMLDivElement).setAttribute("aria-label", lags.length === 0 ? "Autocorrelation: no draws after warm-up yet." : `Autocorrelation of ${quantity()} in the first ${lags.length} chains, up to lag ${(lags[0]?.length ?? 1) - 1}.`);
}

// Running

/** Milliseconds of one gradient of all chains, as measured. */
let cost = 0.5;
let statisticsCost = 0;
/** Runs are numbered, so that a loop that was replaced knows. */
let runs = 0;

async function run() {
  if (phase !== "ready" || isFull()) return;
  setPhase("running");
  announce("Running.");
  pathPanel.forget();
  const mine = ++runs;
  const own = era;
  let owed = 1;
  let [last, lastStatistics, lastCharts] = [performance.now(), -Infinity, performance.now()];
  const goesOn = () => phase === "running" && mine === runs && own === era;
  while (goesOn()) {
    await new Promise((resolve) => requestAnimationFrame(resolve));
    if (!goesOn()) return;
    const now = performance.now();
    const most = Math.max(1, LONGEST_CALL_MS / cost);
    // A page that was held up does not catch up in one long call.
    owed = state.pace === 0 ? most / 2 : Math.min(most, owed + (state.pace * Math.min(500, now - last)) / 1000);
    last = now;
    if (owed < 1) continue;
    const before = clockNow();
    const wantsStatistics = now - lastStatistics > Math.max(STATISTICS_EVERY_MS, statisticsCost / STATISTICS_SHARE);
    const frame = await session.ask("advance", Math.floor(owed), wantsStatistics);
    if (own !== era) return;
    push(frame);
    const took = performance.now() - now;
    const done = Math.max(1, clockNow() - before);
    owed -= done;
    if (wantsStatistics) {
      lastStatistics = now;
      statisticsCost = Math.max(0, took - done * cost);
    } else cost = 0.8 * cost + 0.2 * Math.max(0.0005, took / done);
    if (isFull()) return pause();
    if (now - lastCharts > Math.max(CHARTS_EVERY_MS, chartCost / STATISTICS_SHARE)) {
      const asked = performance.now();
      await updateCharts();
      chartCost = performance.now() - asked;
      lastCharts = performance.now();
    }
  }
}
let chartCost = 0;

/** Whether the run has grown as long as it may; says so, too. */
function isFull() {
  if (stores.every((store) => store.size < MAX_VALUES)) return false;
  notice("long", "The run is as long as the page keeps.", "Everything can still be looked at, rewound and taken away. Fewer chains run longer.");
  return true;
}

async function pause() {
  if (phase !== "running") return;
  runs += 1;
  setPhase("ready");
  await settle();
}

function toggle() {
  if (phase === "running") {
    pause()
      .then(() => announce(`Paused. ${summary(sides())}.`))
      .catch(fail);
  } else run().catch(fail);
}

let stepping = false;
/** One transition, at least, on each side. */
async function step() {
  // A key held down repeats faster than a slow device steps.
  if (stepping || (phase !== "ready" && phase !== "running") || isFull()) return;
  stepping = true;
  try {
    await pause();
    const own = era;
    const frame = await session.ask("advance", 1, true);
    if (own !== era) return;
    push(frame);
    await afterMove();
  } finally {
    stepping = false;
  }
}

async function afterMove() {
  await settle();
  if (pathPanel.visible) await pathPanel.refresh();
}

async function back() {
  if (stepping || (phase !== "ready" && phase !== "running")) return;
  stepping = true;
  try {
    await pause();
    const now = clockNow();
    // Clocks are means over the chains and lose some digits on their way, but no transition is
    // cheaper than one gradient.
    if (now > 0) await seek(Math.max(...stores.map((store) => store.before(now - SLACK))) + SLACK, true);
  } finally {
    stepping = false;
  }
}

/**
 * The run as it is at a clock. Backwards the engine replays; forwards it has to run, and what it ran
 * too far is taken back, so that a clock always means the same state.
 * @param {number} from
 * @param {number} to
 * @param {boolean} statistics
 * @param {() => boolean} goesOn asked between calls; a long way is gone in parts
 */
async function replay(from, to, statistics, goesOn) {
  while (from < to) {
    const part = Math.max(1, (2 * LONGEST_CALL_MS) / cost);
    const { sides: now } = await session.ask("advance", Math.min(part, to - from), false);
    if (!goesOn()) break;
    from = Math.max(...now.map(({ clock }) => clock));
  }
  // What was run but not shown would be missing from the draws: the replayed frame has all of them.
  return session.ask("seek", to, statistics);
}

/** @type {{ clock: number, last: boolean } | null} */
let wish = null;
let [seeking, scrubbing] = [false, false];

/**
 * Replays to a clock. While a hand drags, only the newest wish counts.
 * @param {number} clock
 * @param {boolean} last the hand has let go
 */
async function seek(clock, last) {
  wish = { clock, last };
  if (seeking) return;
  seeking = true;
  const own = era;
  try {
    await pause();
    let done = false;
    while (wish && own === era) {
      const { clock: to, last: final } = wish;
      wish = null;
      const frame = await replay(clockNow(), to, final, () => own === era && !wish);
      if (own !== era) return;
      push(frame);
      done = final;
    }
    if (!done) return;
    if (!pathPanel.visible) pathPanel.forget();
    await afterMove();
    announce(`At ${integer(clockNow())} gradients.`);
  } finally {
    seeking = false;
  }
}

/** Back to the start, with the same seed or another. @param {number} seed */
async function reset(seed) {
  if (phase !== "ready" && phase !== "running") return;
  const again = phase === "running" && seed !== state.config.seed;
  await pause();
  if (seed !== state.config.seed) {
    await change({ ...state, config: { ...state.config, seed } });
    if (again) await run();
    return;
  }
  await seek(0, false);
  farthest = 0;
  pathPanel.forget();
  await settle();
  announce(`Back at the start, seed ${seed}.`);
}

function newSeed() {
  // Six digits are plenty of runs and still fit into a conversation.
  const [random = 0] = crypto.getRandomValues(new Uint32Array(1));
  return reset(random % 1_000_000);
}

// Changes

/**
 * New settings: the chains start again, and go on if they were running.
 * @param {PlayState} next
 * @param {boolean} [restart] also when the settings are the same: the density behind them is not
 */
async function change(next, restart = false) {
  const wasRunning = phase === "running";
  const sameRun = JSON.stringify([next.config, next.drawn]) === JSON.stringify([state.config, state.drawn]) && next.at === null;
  const drawnBefore = state.drawn;
  setState(next);
  if (next.drawn && next.drawn !== drawnBefore) drawPanel.show(next.drawn);
  if (phase === "failed") return boot();
  // What is looked at, not what is computed.
  if (sameRun && !restart && phase !== "loading") {
    draw();
    return updateCharts().catch(fail);
  }
  const mine = ++attempt;
  if (phase === "loading" && !info) return boot();
  try {
    runs += 1;
    if (phase === "running") setPhase("ready");
    dismiss("config");
    await prepare(mine, next.at ?? 0);
    if (mine === attempt && wasRunning) await run();
  } catch (error) {
    if (mine === attempt) fail(error);
  }
}

/** @param {Partial<Pick<PlayState, "chain" | "quantity" | "pace">>} part */
function look(part) {
  setState({ ...state, ...part });
  if (!info) return;
  lastSurface = lastTrace = -Infinity;
  draw();
  if (part.quantity !== undefined) updateCharts().catch(fail);
  else emphasise();
}

/** The chosen chain, also among the ranks. */
function emphasise() {
  if (phase === "ready") updateCharts().catch(fail);
}

/** @param {number | null} chain @param {number} side */
function pick(chain, side) {
  if (phase !== "ready" && phase !== "running") return;
  if (chain !== null) byId("path-side", HTMLSelectElement).value = String(side);
  look({ chain: chain === state.chain ? null : chain });
  announce(state.chain === null ? "No chain chosen." : `Chain ${state.chain + 1} chosen.`);
  if (pathPanel.visible) pathPanel.refresh().catch(fail);
}

function nextChain() {
  if (!info) return;
  look({ chain: state.chain === null ? 0 : (state.chain + 1) % info.config.chains });
  announce(`Chain ${(state.chain ?? 0) + 1} chosen.`);
  if (pathPanel.visible) pathPanel.refresh().catch(fail);
}

/** The path of the chosen chain's last transition, made again. @param {number} side */
async function fetchPath(side) {
  if (!info || (phase !== "ready" && phase !== "running")) return false;
  await pause();
  const frame = lastFrame?.sides[side];
  if (!frame || frame.transitions === 0) {
    pathPanel.forget("There is no transition yet: take a step first.");
    return false;
  }
  if (state.chain === null) look({ chain: 0 });
  const own = era;
  const chain = state.chain ?? 0;
  const path = await session.ask("path", side, chain);
  const sampler = samplers.find(({ name }) => name === info?.config.sides[side]?.sampler.sampler);
  if (own !== era || !sampler) return false;
  pathPanel.hold({ ...path, transition: frame.transitions }, side, chain, sampler);
  return true;
}

/** SGLD with the noise that its drift asks for. @param {number} index */
function matchTemperature(index) {
  const step = lastFrame?.sides[index]?.step_size;
  const config = structuredClone(state.config);
  const own = config.sides[index]?.sampler;
  if (!own || !step) return;
  // σ = ε√T, to the digits that a reader will see in the address.
  own.step_size = Number(step.toPrecision(5));
  own.noise = Number((own.step_size * Math.sqrt(own.temperature)).toPrecision(5));
  void change({ ...state, config });
  announce(`The noise now matches T = ${tidy(own.temperature)}.`);
}

/** The same move with a test. @param {number} index */
function takeTest(index) {
  const config = structuredClone(state.config);
  const own = config.sides[index];
  if (!own) return;
  const { warmup, temperature } = own.sampler;
  config.sides[index] = { ...own, sampler: { ...samplerConfig("mala"), warmup, temperature } };
  void change({ ...state, config });
  announce("Switched to MALA, which tests its moves.");
}

// Learning

/** The learning under way; another number stops it. */
let learning = 0;

/**
 * @param {LearnConfig} config
 * @param {() => boolean} goesOn
 * @returns {Promise<boolean>} whether it came to its end
 */
async function learnThrough(config, goesOn) {
  let frame = await session.ask("learn", config);
  learnPanel.push(frame, config);
  let size = 5;
  while (frame.stage !== "done") {
    if (!goesOn()) return false;
    const started = performance.now();
    frame = await session.ask("learn_step", size);
    learnPanel.push(frame, config);
    root.dataset.learned = `${frame.stage} ${frame.iteration}`;
    const took = Math.max(1, performance.now() - started);
    size = Math.max(1, Math.min(200, Math.round((size * LEARN_CALL_MS) / took)));
    // The page breathes between two calls, and a stop is heard.
    await new Promise((resolve) => setTimeout(resolve));
  }
  learned = structuredClone(config);
  targets = await session.ask("targets");
  offer();
  return true;
}

async function learn() {
  if (phase !== "ready" && phase !== "running") return;
  await pause();
  const mine = ++learning;
  const config = structuredClone(state.learn);
  byId("learn", HTMLDetailsElement).open = true;
  // The true surface is that of the room: what is learned is what is shown.
  if (info?.config.target !== config.target) await change({ ...state, config: { ...plain(state.config), target: config.target } });
  if (info?.config.target !== config.target) return learnPanel.tell("This density cannot be learned from: it is not there.");
  learnPanel.begin(info.surface);
  learnPanel.state("busy");
  announce("Learning.");
  try {
    const done = await learnThrough(config, () => mine === learning && phase !== "failed");
    learnPanel.state(learned ? "done" : "idle");
    announce(done ? "Learned. Chains can run on it now." : "Learning was stopped.");
    if (!done) learnPanel.tell("Stopped. Learning starts from the beginning when you press Learn again.");
    else if (state.lesson !== null && presetState(state.lesson).config.target === "learned") await runOnLearned();
  } catch (error) {
    learnPanel.state(learned ? "done" : "idle");
    const problem = toError(error);
    if (problem.kind !== "bad-config") throw error;
    learnPanel.tell(problem.message);
  }
}

/** The same sampler in the plane and in the flow's latent space. */
async function runOnLearned() {
  const own = state.config.sides[0]?.sampler ?? samplerConfig("mala");
  // Gibbs needs conditional laws, and nobody knows those of a flow.
  const sampler = own.sampler === "gibbs" ? samplerConfig("mala") : own;
  const both = /** @type {const} */ (["data", "latent"]).map((space) => ({ ...freshSide(sampler.sampler, { ...sampler, step_size: null, noise: null }), space }));
  await change({ ...state, config: { ...state.config, target: "learned", sides: both } }, true);
  byId("a-figure", HTMLElement).scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
}

// Lessons

let shownLesson = /** @type {number | null} */ (null);

function showLesson() {
  const { lesson } = state;
  byId("lesson", HTMLElement).hidden = lesson === null;
  root.toggleAttribute("data-lesson", lesson !== null);
  for (const link of document.querySelectorAll("#lessons a")) {
    if (link.getAttribute("href") === `#lesson=${lesson}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (lesson === shownLesson) return;
  const moved = shownLesson !== null || root.dataset.started === "yes";
  shownLesson = lesson;
  if (lesson === null) return;
  LESSONS.forEach((_, index) => (byId(`lesson-${index + 1}`, HTMLDivElement).hidden = index + 1 !== lesson));
  setText(byId("lesson-number", HTMLParagraphElement), `Lesson ${lesson} of ${LESSONS.length}`);
  const title = byId("lesson-title", HTMLHeadingElement);
  setText(title, LESSONS[lesson - 1]?.title ?? "");
  byId("lesson-previous", HTMLButtonElement).disabled = lesson === 1;
  byId("lesson-next", HTMLButtonElement).disabled = lesson === LESSONS.length;
  if (moved && phase !== "failed") title.focus({ preventScroll: true });
}

/** @param {number | null} lesson */
function openLesson(lesson) {
  const { embed, hide } = state;
  // Closing keeps the run: the reader may have made it into something.
  if (lesson === null) return setState({ ...state, lesson: null });
  return change({ ...presetState(lesson), embed, hide });
}

// Taking the draws away

/** @param {"json" | "csv"} kind */
async function takeAway(kind) {
  const problem = byId("check-problem", HTMLParagraphElement);
  setText(problem, "");
  if (!info || (phase !== "ready" && phase !== "running")) return setText(problem, "There are no chains yet.");
  await pause();
  const index = Number(byId("check-side", HTMLSelectElement).value);
  const store = stores[index];
  if (!store || store.kept < MIN_DRAWS) return setText(problem, `There are ${store?.kept ?? 0} draws per chain after the warm-up, and the statistics need at least ${MIN_DRAWS}. Let the chains run first.`);
  const own = era;
  // Numbers of just these draws, not of a moment ago.
  const frame = await session.ask("advance", 0, true);
  const side = frame.sides[index];
  if (own !== era || !side?.statistics) return;
  push(frame);
  const run = { config: info.config, side: index, device: session.report?.runtime ?? "", clock: side.clock, names: info.traced, draws: (/** @type {string} */ name) => store.matrix(name), statistics: side.statistics };
  const text = kind === "csv" ? toCsv(run) : toArviz(run);
  const link = make("a", { download: fileName(run, kind), href: URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  announce(`${integer(store.kept)} draws of ${integer(store.chains)} chains are on their way to your downloads.`);
}

// Failing, and going on

/** @param {unknown} thrown */
function fail(thrown) {
  attempt += 1;
  runs += 1;
  learning += 1;
  seeking = stepping = false;
  setPhase("failed");
  learnPanel.state("idle");
  showFailure(toError(thrown), session.report, go);
}

/** The ways forward of the error card. @param {Way} way */
function go(way) {
  if (way === "reload") return location.reload();
  if (way === "cpu") runtime = "cpu";
  const clock = clockNow();
  if (way === "defaults") {
    learned = null;
    setState(defaultState());
  }
  return boot(way === "defaults" ? 0 : clock);
}

/** The same run on the other build, replayed to the same clock. */
async function changeRuntime() {
  runtime = /** @type {Runtime} */ (runtimeSelect.value);
  if (runtime === session.report?.runtime) return;
  const clock = clockNow();
  const before = session.report?.runtime ?? "cpu";
  await boot(clock);
  // A build that does not start is no reason to leave the visitor without one.
  if (phase === "failed" && runtime === "webgpu" && before === "cpu") {
    runtime = "cpu";
    await boot(clock);
    notice("cpu", WHY_CPU.broken, "The run goes on where it was.");
  }
}

/** How far this run is from itself on the other device. */
async function compareDevices() {
  const button = byId("drift", HTMLButtonElement);
  const text = byId("drift-text", HTMLParagraphElement);
  if (!info || button.disabled) return;
  const { config } = info;
  if (config.target === "drawn" || config.target === "learned") return setText(text, "A drawing or a learned model lives on one device only. Choose one of the other targets to compare.");
  await pause();
  button.disabled = true;
  setText(text, "Running the first transitions on the CPU, then on the graphics adapter …");
  try {
    const drift = await measureDrift(config);
    if (drift.report.runtime === "cpu") return setText(text, `There is no second device to compare with: ${drift.report.reason}`);
    const words = drift.words === null ? "The device takes its random numbers from the host." : drift.words ? "The random words are the same to the last bit." : "The random words DIFFER: please report this.";
    setText(text, `${words} After one transition the chains are ${drift.first.toExponential(1)} apart, within ${integer(drift.transitions)} transitions at most ${drift.largest.toExponential(1)} (relative to the larger of 1 and the coordinate): devices round differently, and where paths are chaotic, rounding grows.`);
  } catch (error) {
    setText(text, `The comparison failed: ${toError(error).message}`);
  } finally {
    button.disabled = false;
  }
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Wiring

play.addEventListener("click", toggle);
byId("back", HTMLButtonElement).addEventListener("click", () => back().catch(fail));
byId("step", HTMLButtonElement).addEventListener("click", () => step().catch(fail));
byId("reset", HTMLButtonElement).addEventListener("click", () => reset(state.config.seed).catch(fail));
byId("new-seed", HTMLButtonElement).addEventListener("click", () => newSeed().catch(fail));
scrub.addEventListener("input", () => {
  scrubbing = true;
  seek(Number(scrub.value), false).catch(fail);
});
scrub.addEventListener("change", () => {
  scrubbing = false;
  seek(Number(scrub.value), true).catch(fail);
});
paceSelect.replaceChildren(...PACES.map((pace) => new Option(pace === 0 ? "as fast as it goes" : `${integer(pace)} ∇E a second`, String(pace))));
paceSelect.addEventListener("change", () => look({ pace: Number(paceSelect.value) }));
quantitySelect.addEventListener("change", () => look({ quantity: quantitySelect.value }));
chainSelect.addEventListener("change", () => {
  look({ chain: chainSelect.value === "none" ? null : Number(chainSelect.value) });
  if (pathPanel.visible) pathPanel.refresh().catch(fail);
});
byId("drift", HTMLButtonElement).addEventListener("click", () => compareDevices().catch(fail));
runtimeSelect.addEventListener("change", () => changeRuntime().catch(fail));
byId("defaults", HTMLButtonElement).addEventListener("click", async () => {
  try {
    const target = wanted().target;
    await change({ ...state, lesson: null, chain: null, config: await session.ask("defaults", target) });
  } catch (error) {
    fail(error);
  }
});
byId("auto", HTMLDetailsElement).addEventListener("toggle", () => updateCharts().catch(fail));
for (const name of NAMES) {
  byId(`${name}-chains-table`, HTMLDivElement).closest("details")?.addEventListener("toggle", describe);
  byId(`${name}-trace-table`, HTMLDivElement).closest("details")?.addEventListener("toggle", () => traceViews[NAMES.indexOf(name)]?.fillTable());
}
byId("check-json", HTMLButtonElement).addEventListener("click", () => takeAway("json").catch(fail));
byId("check-csv", HTMLButtonElement).addEventListener("click", () => takeAway("csv").catch(fail));
byId("lesson-previous", HTMLButtonElement).addEventListener("click", () => openLesson((state.lesson ?? 2) - 1));
byId("lesson-next", HTMLButtonElement).addEventListener("click", () => openLesson((state.lesson ?? 0) + 1));
byId("lesson-again", HTMLButtonElement).addEventListener("click", () => openLesson(state.lesson));
byId("lesson-close", HTMLButtonElement).addEventListener("click", () => {
  openLesson(null);
  byId("room", HTMLElement).focus();
});
byId("lesson-learn", HTMLButtonElement).addEventListener("click", () => {
  byId("learn", HTMLDetailsElement).scrollIntoView({ block: "start" });
  learn().catch(fail);
});
byId("embed-link", HTMLAnchorElement).addEventListener("click", ({ currentTarget }) => {
  // With the moment that is on the screen.
  if (currentTarget instanceof HTMLAnchorElement) currentTarget.href = location.pathname + formatState({ ...state, embed: false, hide: [], at: Math.ceil(100 * clockNow()) / 100 });
});
// The hash is the page's state, so this one link must not become it.
document.querySelector("a.skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  byId("room", HTMLElement).focus();
});

/** @param {number} by */
function changePace(by) {
  const pace = PACES[PACES.indexOf(/** @type {typeof PACES[number]} */ (state.pace)) + by];
  if (pace === undefined) return;
  look({ pace });
  announce(paceSelect.selectedOptions[0]?.text ?? "");
}

const settingsPanel = byId("settings", HTMLDetailsElement);
const stepNow = () => void step().catch(fail);
setUpKeys({
  " ": toggle,
  ".": stepNow,
  ArrowRight: stepNow,
  ArrowLeft: () => void back().catch(fail),
  r: () => void reset(state.config.seed).catch(fail),
  n: () => void newSeed().catch(fail),
  "[": () => changePace(-1),
  "]": () => changePace(1),
  c: nextChain,
  p: () => void pathPanel.whole().catch(fail),
  s: () => {
    settingsPanel.open = !settingsPanel.open;
    if (settingsPanel.open) settingsPanel.querySelector("summary")?.focus();
  },
});
setUpTheme(() => {
  for (const view of surfaces) view.repaint();
  for (const view of [...traceViews, ...ranksViews, ...runningViews, ...autoViews, learnPanel]) view.rebuild();
  drawPanel.repaint();
  if (info) draw();
});

window.addEventListener("hashchange", () => change(readAddress()));

// A hidden page must not heat anybody's lap.
let resume = false;
document.addEventListener("visibilitychange", () => {
  if (document.hidden && phase === "running") {
    resume = true;
    pause().catch(fail);
  } else if (!document.hidden && resume) {
    resume = false;
    if (phase === "ready") run().catch(fail);
  }
});

// For the browser tests, which cannot break a driver.
if (query.has("test")) {
  Object.assign(globalThis, {
    mixwellTest: {
      loseDevice: () => void session.loseDevice()?.catch(fail),
      lastFrame: () => lastFrame,
      statistics: () => statistics,
      report: () => session.report,
      state: () => state,
      info: () => info,
      path: () => pathPanel.path,
      draws: (/** @type {number} */ side, /** @type {string} */ name) => stores[side]?.matrix(name),
      busy: () => session.pending > 0 || seeking || stepping || charting,
    },
  });
}

window.addEventListener("error", (event) => {
  if (event instanceof ErrorEvent && event.error) fail(event.error);
});
window.addEventListener("unhandledrejection", (event) => fail(event.reason));
paintLegend(byId("ramp", HTMLSpanElement));
setState(state);
drawPanel.show(state.drawn ?? emptyGrid());
// From here on the page shows its own cards; early.js may have given up on a slow start already.
root.dataset.started = "yes";
byId("fallback", HTMLDivElement).hidden = true;
byId("stage", HTMLDivElement).hidden = false;
boot();
