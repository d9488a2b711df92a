// The display of the race, without a browser: what it says of both sides, and when it draws. It runs in a
// folder of its own, beside charts and tiles that a test scripts.

import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { defaultState } from "../../../race/url.js";
import { setGlobal } from "../engine/scripted.js";
import { fakeDocument } from "./document.js";

/** @import { FakeElement } from "./document.js" */
/** @typedef {import("node:test").TestContext} TestContext */

const folder = mkdtempSync(join(tmpdir(), "mixwell-race-"));
after(() => rmSync(folder, { recursive: true }));
for (const name of ["race", "charts", "ui"]) mkdirSync(join(folder, name));
for (const name of ["race/race.js", "charts/store.js", "ui/dom.js", "ui/format.js"]) copyFileSync(fileURLToPath(new URL(`../../../${name}`, import.meta.url)), join(folder, name));
writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
/** A class that notes how it is made and called. @param {string} name @param {string[]} methods */
const noting = (name, methods) => `export class ${name} {\n  calls = [];\n  constructor(...args) { this.made = args; globalThis.made${name}.push(this); }\n${methods.map((method) => `  ${method}(...args) { this.calls.push(["${method}", ...args]); globalThis.on${name}?.("${method}"); }\n`).join("")}}\n`;
writeFileSync(join(folder, "charts/trace.js"), noting("TraceChart", ["start", "rebuild", "draw", "fillTable"]));
writeFileSync(join(folder, "race/tiles.js"), noting("Tiles", ["layOut", "show", "paint", "follow"]));

/** @typedef {{ made: any[], calls: [method: string, ...args: any[]][] }} Noted */

const CONFIG = { ...defaultState().config, chains: 3, warmup: 10 };
const INFO = { config: CONFIG, traced: ["energy", "tilt", "pc2"], gradients_per_transition: 2 };

/** @param {object} change */
const summary = (change = {}) => ({ name: "energy", chains: 3, draws: 40, mean: 1.5, sd: 0.5, mcse_mean: 0.05, rhat: 1.005, ess_bulk: 210, ess_tail: 190, status: { kind: "converged" }, ...change });
/** @param {"pixel" | "latent"} space @param {object} change @returns {any} */
const side = (space, change = {}) => ({
  space, chains: 3, gradients: 1200, transitions: 50, warming_up: false, images: new Uint8Array(0), traces: { energy: [1, 2, 3], tilt: [4, 5, 6], pc2: [7, 8, 9] }, trace_clock: [1200],
  summaries: [summary()], rhat_max: 1.005, ess_bulk_min: 210, ess_per_1000_gradients: 20, acceptance: 0.574, e_bfmi: null, step_size: 0.012, drift: 0.5, noise: 1.5, temperature: 2.25, broken_chains: 0, ...change,
});
/** @param {object} pixel @param {object} latent @param {number} index @returns {any} */
const frameOf = (pixel = {}, latent = {}, index = 1) => ({ index, elapsed_ms: 1, sides: [side("pixel", pixel), side("latent", latent)] });

/** @param {TestContext} t */
async function begin(t) {
  const page = fakeDocument(t);
  /** @type {{ TraceChart: Noted[], Tiles: Noted[] }} */
  const made = { TraceChart: [], Tiles: [] };
  setGlobal(t, "madeTraceChart", made.TraceChart);
  setGlobal(t, "madeTiles", made.Tiles);
  const clock = { now: 10_000 };
  t.mock.method(performance, "now", () => clock.now);
  const { Race } = await import(`${pathToFileURL(join(folder, "race/race.js"))}`);
  /** @type {[string, unknown][]} */
  const told = [];
  const race = new Race({ onFollow: (/** @type {unknown} */ chain) => told.push(["follow", chain]), onTraced: (/** @type {unknown} */ name) => told.push(["traced", name]) });
  const text = (/** @type {string} */ id) => page.byId(id).textContent;
  return {
    ...page,
    race,
    told,
    clock,
    text,
    charts: made.TraceChart,
    tiles: made.Tiles,
    /** @param {object} [change] of the state @param {object} [info] */
    start: (change = {}, info = {}) => race.start({ ...INFO, ...info }, { ...defaultState(), config: CONFIG, ...change }, [1, 4, 5]),
    /** A frame, drawn completely. @param {object} [pixel] @param {object} [latent] */
    show: (pixel, latent) => {
      race.push(frameOf(pixel, latent));
      race.settle();
    },
    /** Of the pixel side. @returns {[string | undefined, string]} */
    verdict: () => [page.byId("pixel-verdict").dataset.kind, text("pixel-verdict")],
    /** The rows of numbers: label, pixel, latent. */
    rows: () => page.byId("numbers").rows.map((row) => {
      const [left, head, right] = row.children;
      return [/** @type {string} */ (head?.parts[0]), .../** @type {FakeElement[]} */ ([left, right]).map((cell) => cell.children.map(({ textContent }) => textContent).filter(Boolean).join(" | "))];
    }),
    /** The last view of each chart. */
    views: () => made.TraceChart.map(({ calls }) => calls.findLast(([method]) => method === "draw")?.[1]),
    /** How often it was called on the first side. @param {"TraceChart" | "Tiles"} what @param {string} method */
    count: (what, method) => made[what][0]?.calls.filter(([name]) => name === method).length,
  };
}

test("the verdict of a side goes by its chains, the warm-up, R-hat and the effective draws, in this order", async (t) => {
  const { start, show, verdict, race } = await begin(t);
  assert.deepEqual(verdict(), ["wait", "not started"]);
  assert.equal(race.summary(), "");
  start();
  const short = [summary({ status: { kind: "too_short" } })];
  const none = { rhat_max: null };
  const infinite = summary({ rhat: null, status: { kind: "not_converged" } });
  for (const [change, kind, words] of /** @type {[object, string, string][]} */ ([
    [{ broken_chains: 1, warming_up: true }, "stuck", "1 chain has broken"],
    [{ broken_chains: 2 }, "stuck", "2 chains have broken"],
    [{ warming_up: true, transitions: 0 }, "wait", "at the start"],
    [{ warming_up: true, transitions: 1 }, "wait", "warming up"],
    [{ ...none, summaries: [summary({ rhat: null, status: { kind: "too_short" } })] }, "wait", "too few draws to say"],
    [{ ...none, summaries: [summary({ status: { kind: "not_converged" } }), summary({ rhat: null, status: { kind: "constant" } })] }, "wait", "too few draws to say"],
    [{ ...none, summaries: [summary(), infinite] }, "stuck", "not mixed · max R-hat ∞"],
    [{ rhat_max: 1.005, summaries: [summary(), summary()] }, "mixed", "mixed · max R-hat 1.005"],
    [{ rhat_max: 1.01, summaries: [summary(), ...short] }, "wait", "mixed, few draws yet · max R-hat 1.010"],
    [{ rhat_max: 1.011, summaries: short }, "wait", "nearly mixed · max R-hat 1.011"],
    [{ rhat_max: 1.1, summaries: short }, "wait", "nearly mixed · max R-hat 1.10"],
    [{ rhat_max: 1.11, summaries: short }, "stuck", "not mixed · max R-hat 1.11"],
  ])) {
    show(change);
    assert.deepEqual(verdict(), [kind, words]);
    assert.equal(race.summary(), `pixel: ${words}, latent: mixed · max R-hat 1.005`);
  }
});

test("a verdict has its icon, keeps its parts on one line, and is written only on a change", async (t) => {
  const { start, show, byId } = await begin(t);
  start();
  show({ rhat_max: 1.11, summaries: [] });
  show();
  const element = byId("pixel-verdict");
  const [icon, words] = element.children;
  assert.equal(icon?.children[0]?.attributes.href, "#i-mixed");
  assert.deepEqual(words?.parts.map((part) => (typeof part === "string" ? part : [part.tag, part.textContent])), [["span", "mixed"], " · ", ["span", "max R-hat 1.005"]]);
  const before = element.writes;
  show();
  assert.equal(element.writes, before);
  show({ rhat_max: 1.006 });
  show({ rhat_max: 1.006, warming_up: true });
  assert.equal(element.writes, before + 2);
});

test("the sides are compared by effective draws per gradient, and doubt is told", async (t) => {
  const { start, show, text } = await begin(t);
  start();
  const of = (/** @type {object} */ pixel, /** @type {object} */ latent) => (show(pixel, latent), text("conclusion"));
  const draws = (/** @type {number | null} */ count) => ({ ess_per_1000_gradients: count });
  assert.equal(of({ rhat_max: null }, {}), "The statistics begin after the warm-up.");
  assert.equal(of({}, { rhat_max: null }), "The statistics begin after the warm-up.");
  for (const [a, b] of [[null, 5], [5, null], [0, 5], [5, 0]]) assert.equal(of(draws(a ?? null), draws(b ?? null)), "After 1,200 ∇E per chain there is no effective sample size to compare yet.");
  assert.equal(of({ ...draws(10), gradients: 1 }, { ...draws(40), gradients: 1500 }), "After 1,500 ∇E per chain, a gradient gives 4.0 times as many effective draws in latent space.");
  assert.equal(of(draws(40), draws(10)), "After 1,200 ∇E per chain, a gradient gives 4.0 times as many effective draws in pixel space.");
  for (const [a, b] of [[10, 10], [10, 10.9], [10.9, 10]]) assert.match(of(draws(a ?? 0), draws(b ?? 0)), /, a gradient gives about as many effective draws on both sides\.$/);
  assert.match(of(draws(10), draws(11)), /1\.1 times as many effective draws in latent space\.$/);
  // The ESS of chains that disagree is too high: the doubt is about the side that lost.
  assert.match(of({ ...draws(10), rhat_max: 1.2 }, draws(40)), /latent space\. The pixel chains still disagree \(R-hat 1\.20\), so even their ESS is too high\.$/);
  assert.match(of(draws(40), { ...draws(10), rhat_max: 1.2 }), /pixel space\. The latent chains still disagree \(R-hat 1\.20\)/);
  assert.match(of({ ...draws(10), rhat_max: 1.1 }, draws(40)), /latent space\.$/);
  assert.match(of(draws(10), { ...draws(40), rhat_max: 1.2 }), /latent space\.$/);
});

test("the numbers of both sides stand beside each other, each with its label", async (t) => {
  const { start, show, rows, byId } = await begin(t);
  start();
  show({ rhat_max: 1.2 }, { drift: 0, ess_bulk_min: null, acceptance: 1 });
  const first = [
    ["R-hat", "1.20", "1.005"],
    ["Bulk ESS", "210", "–"],
    ["ESS per 1000 ∇E", "20.0", "20.0"],
    ["Acceptance", "57 %", "100 %"],
    ["Step size ε", "0.012", "0.012"],
    ["Temperature T", "2.25 | σ 1.5, a 0.5", "2.25"],
  ];
  if (CONFIG.sampler === "ula") first[3] = ["Acceptance", "always", "always"];
  assert.deepEqual(rows(), first);
  const { writes } = byId("numbers");
  show({ rhat_max: 1.3 }, {});
  assert.deepEqual([rows()[0], byId("numbers").writes], [["R-hat", "1.30", "1.005"], writes], "the rows stay");
  // Rows that only some races have.
  show({}, { e_bfmi: 0.31 });
  assert.deepEqual(rows().slice(6), [["E-BFMI", "–", "0.310"]]);
  show({ broken_chains: 2 });
  assert.deepEqual(rows().slice(6), [["Broken chains", "2", "0"]]);
  show({ broken_chains: 1 }, { e_bfmi: 0.31 });
  assert.deepEqual(rows().slice(6), [["E-BFMI", "–", "0.310"], ["Broken chains", "1", "0"]]);
  for (const [sampler, words] of [["ula", "always"], ["mala", "57 %"]]) {
    start({}, { config: { ...CONFIG, sampler } });
    show();
    assert.equal(rows()[3]?.[1], words);
  }
});

test("the clock counts gradients, and draws from the end of the warm-up", async (t) => {
  const { start, show, text } = await begin(t);
  const shown = () => ["clock", "phase-label", "phase"].map(text);
  start();
  show({}, { warming_up: true, transitions: 4, gradients: 2400 });
  assert.deepEqual(shown(), ["2,400", "Warm-up", "4 of 10"]);
  show({}, { transitions: 1250 });
  assert.deepEqual(shown(), ["1,200", "Draws", "1,240"]);
  show({}, { transitions: 4 });
  assert.deepEqual(shown(), ["1,200", "Draws", "0"]);
  start({}, { config: { ...CONFIG, warmup: 1 } });
  show({}, { warming_up: true, transitions: 0 });
  assert.deepEqual(shown(), ["1,200", "Warm-up", "0 of 1"]);
  start({}, { config: { ...CONFIG, warmup: 0 } });
  show({}, { warming_up: true, transitions: 0 });
  assert.deepEqual(shown(), ["1,200", "Draws", "0"], "a race without a warm-up has none");
});

test("the printed R-hat is that of the traced quantity, or says why there is none", async (t) => {
  const { start, show, text } = await begin(t);
  start({ traced: "tilt" });
  assert.equal(text("pixel-badge"), "R-hat after warm-up");
  const tilt = (/** @type {object} */ change) => ({ summaries: [summary(), summary({ name: "tilt", ...change })] });
  for (const [change, words] of /** @type {[object, string][]} */ ([
    [tilt({ rhat: 1.234 }), "R-hat 1.23"],
    [tilt({ rhat: null, status: { kind: "constant" } }), "R-hat – (constant)"],
    [tilt({ rhat: null, status: { kind: "non_finite" } }), "R-hat – (not finite)"],
    [tilt({ rhat: null, status: { kind: "too_short" } }), "R-hat – (too few draws)"],
    [{ summaries: [summary()] }, "R-hat – (too few draws)"],
    [{ summaries: [], warming_up: true }, "R-hat after warm-up"],
  ])) {
    show(change);
    assert.equal(text("pixel-badge"), words);
  }
});

test("energies have a scale each, other quantities share one", async (t) => {
  const { start, show, views, race } = await begin(t);
  start({ chain: 1 });
  // Nothing is known yet: the axis spans a fifth of the warm-up, 0.2 × 10 transitions × 2 gradients.
  assert.deepEqual(views(), [0, 1].map(() => ({ name: "energy", chain: 1, end: 4, range: null })));
  show({}, { trace_clock: [1100], traces: { energy: [-1, -2, -3], tilt: [0, 5, 9], pc2: [0, 0, 0] } });
  assert.deepEqual(views(), [[1, 3], [-3, -1]].map((range) => ({ name: "energy", chain: 1, end: 1200, range })));
  show({ trace_clock: [1300] }, { trace_clock: [1250], traces: { energy: [-1, -2, -3], tilt: [0, 5, 9], pc2: [0, 0, 0] } });
  assert.deepEqual(views().map(({ end }) => end), [1300, 1300], "both axes end with the last draw of either side");
  race.view({ ...defaultState(), config: CONFIG, traced: "tilt", chain: null });
  assert.deepEqual(views(), [0, 1].map(() => ({ name: "tilt", chain: null, end: 1300, range: [0, 9] })));
  // A race without the wanted quantity shows its first.
  race.view({ ...defaultState(), config: CONFIG, traced: "pc9" });
  assert.equal(views()[0].name, "energy");
  start({ traced: "tilt" }, { config: { ...CONFIG, warmup: 0 } });
  assert.deepEqual(views()[0], { name: "tilt", chain: null, end: 8, range: null }, "without a warm-up it spans that of 20 transitions");
  race.push(frameOf({ trace_clock: [], traces: {} }, {}));
  race.settle();
  assert.deepEqual(views().map(({ range }) => range), [[4, 6], [4, 6]], "a side without draws takes the other's scale");
});

test("a race starts with its chains and quantities to choose from", async (t) => {
  const { start, byId, text, charts, tiles, race, count } = await begin(t);
  start();
  const choices = (/** @type {string} */ id) => byId(id).children.map(({ textContent, value }) => [textContent, value]);
  assert.deepEqual(choices("traced"), [["energy E", "energy"], ["tilt U(x)", "tilt"], ["pc2", "pc2"]]);
  assert.deepEqual(choices("follow"), [["no chain", "none"], ["chain 1", "0"], ["chain 2", "1"], ["chain 3", "2"]]);
  for (const { calls } of tiles) assert.deepEqual(calls, [["layOut", 3, 4, 5], ["follow", null]]);
  for (const { calls } of charts) {
    const store = calls[0]?.[1];
    assert.deepEqual([calls[0]?.[0], store.chains, store.warmup, [...store.values.keys()]], ["start", 3, 10, INFO.traced]);
  }
  assert.deepEqual([byId("traced").value, byId("follow").value, text("follow-text")], ["energy", "none", "Choose one to follow its chain on both sides."]);
  assert.match(text("traced-text"), /^The energy that each chain samples/);
  assert.equal(byId("pixel-plot").attributes["aria-label"], "Trace of energy E in pixel space, one line per chain. The table below holds the same values.");
  const view = (/** @type {object} */ change) => race.view({ ...defaultState(), config: CONFIG, ...change });
  view({ chain: 2, traced: "pc2" });
  assert.deepEqual([byId("traced").value, byId("follow").value, text("follow-text")], ["pc2", "2", "Chain 3 is framed here and drawn bold below."]);
  assert.deepEqual(tiles.map(({ calls }) => calls.at(-1)), [["follow", 2], ["follow", 2]]);
  assert.match(text("traced-text"), /^The image’s coordinate along principal component 2 /);
  start({ traced: "other" }, { traced: ["other"] });
  assert.match(text("traced-text"), /^The same function of the image on both sides/);
  const filled = count("TraceChart", "fillTable") ?? 0;
  view({ traced: "energy" });
  assert.deepEqual([byId("traced").value, count("TraceChart", "fillTable")], ["other", filled + 1]);
});

test("what a person chooses is told", async (t) => {
  const { byId, told, tiles } = await begin(t);
  byId("traced").choose("tilt");
  byId("follow").choose("2");
  byId("follow").choose("none");
  tiles[1]?.made[1](1);
  assert.deepEqual(told, [["traced", "tilt"], ["follow", 2], ["follow", null], ["follow", 1]]);
  assert.equal(tiles[0]?.made[0], byId("pixel-tiles"));
});

test("a fresh start drops the draws of the last race", async (t) => {
  const { start, race, charts } = await begin(t);
  start();
  race.push(frameOf({}, {}, 1));
  race.push(frameOf({}, {}, 2));
  const store = (/** @type {number} */ index) => charts[index]?.calls.findLast(([method]) => method === "start")?.[1];
  assert.deepEqual([store(0).draws, store(1).draws], [2, 2]);
  race.push(frameOf({}, {}, 0));
  assert.deepEqual([store(0).draws, store(1).draws], [1, 1]);
  assert.deepEqual(store(1).values.get("tilt"), [[4], [5], [6]]);
});

test("a frame is drawn with the next picture of the screen, however many came, charts and tables less often", async (t) => {
  const { start, race, paint, clock, count, waiting } = await begin(t);
  start();
  const drawn = () => [count("Tiles", "show"), count("TraceChart", "draw"), count("TraceChart", "fillTable")];
  const [, charts = 0, tables = 0] = drawn();
  const since = () => drawn().map((each, index) => Number(each) - Number([0, charts, tables][index]));
  /** @param {number} ms since the last frame */
  const next = (ms) => {
    clock.now += ms;
    race.push(frameOf());
    return paint();
  };
  race.push(frameOf());
  assert.equal(next(0), 1, "two frames, one picture");
  assert.deepEqual(since(), [1, 1, 1]);
  next(80);
  assert.deepEqual(since(), [2, 1, 1]);
  next(1);
  assert.deepEqual(since(), [3, 2, 1]);
  next(919);
  assert.deepEqual(since(), [4, 3, 1]);
  next(1);
  assert.deepEqual(since(), [5, 3, 2]);
  // What is drawn at once is not drawn again.
  race.push(frameOf());
  race.settle();
  assert.deepEqual([since(), waiting.size], [[6, 4, 3], 0]);
});

test("charts that are slow to draw are drawn less often", async (t) => {
  const { start, race, paint, clock, count } = await begin(t);
  start();
  // A draw of 100 ms may take a fifth of the time.
  setGlobal(t, "onTraceChart", (/** @type {string} */ method) => void (method === "draw" && (clock.now += 50)));
  race.push(frameOf());
  paint();
  const drawn = count("TraceChart", "draw") ?? 0;
  clock.now += 400;
  race.push(frameOf());
  paint();
  assert.equal(count("TraceChart", "draw"), drawn);
  clock.now += 1;
  race.push(frameOf());
  paint();
  assert.equal(count("TraceChart", "draw"), drawn + 1);
});

test("with reduced motion the images change at most every 0.6 s, and the last one is shown", async (t) => {
  const { start, race, paint, clock, count, calm } = await begin(t);
  calm.matches = true;
  start();
  const next = (/** @type {number} */ ms) => {
    clock.now += ms;
    race.push(frameOf());
    paint();
    return count("Tiles", "show");
  };
  assert.deepEqual([next(0), next(600), next(1)], [1, 1, 2]);
  race.push(frameOf());
  race.settle();
  assert.equal(count("Tiles", "show"), 3);
});

test("nothing is drawn before a frame has come, nor of a race that is over", async (t) => {
  const { start, race, paint, count } = await begin(t);
  race.settle();
  race.view(defaultState());
  assert.deepEqual([count("Tiles", "show"), count("TraceChart", "draw")], [0, 0]);
  start();
  race.push(frameOf());
  start();
  paint();
  assert.equal(count("Tiles", "show"), 0);
});

test("new colours repaint everything", async (t) => {
  const { start, race, count } = await begin(t);
  start();
  const before = count("TraceChart", "draw") ?? 0;
  race.repaint();
  assert.deepEqual([count("Tiles", "paint"), count("TraceChart", "rebuild"), count("TraceChart", "draw")], [1, 1, before + 1]);
});

test("the table of all statistics is filled while it is open", async (t) => {
  const { start, show, byId, twins, count } = await begin(t);
  start();
  const all = byId("all-statistics");
  show();
  assert.equal(all.writes, 0, "no details around it");
  all.around = Object.assign(/** @type {FakeElement} */ (twins[0]), { open: false });
  show({ summaries: [summary(), summary({ name: "pc2", rhat: null, status: { kind: "non_finite" } })] }, { summaries: [summary({ name: "tilt", mean: 12.345, status: { kind: "not_converged" } })] });
  assert.equal(all.writes, 0);
  const filled = count("TraceChart", "fillTable") ?? 0;
  Object.assign(all.around, { open: true });
  twins[1]?.dispatchEvent(new Event("toggle"));
  assert.equal(count("TraceChart", "fillTable"), filled + 1);
  assert.deepEqual(all.querySelectorAll("tr").map((row) => row.children.map(({ textContent }) => textContent)), [
    ["Quantity", "R-hat", "Bulk ESS", "Tail ESS", "Mean", "SD", "MCSE", "State"],
    ["energy E, pixel", "1.005", "210", "190", "1.500", "0.500", "0.0500", "converged"],
    ["pc2, pixel", "–", "210", "190", "1.500", "0.500", "0.0500", "not finite"],
    ["tilt U(x), latent", "1.005", "210", "190", "12.35", "0.500", "0.0500", "not converged"],
  ]);
});
