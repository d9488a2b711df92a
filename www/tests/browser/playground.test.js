// The Playground as a visitor meets it, on the CPU build (the page's own choice), and one look at
// the WebGPU build. Set MIXWELL_TAKEOUT to a path to keep the exported draws for takeout/check.py.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { assertAccessible, errorCard, goTo, hashOf, LONGEST_TEST_MS, LONGEST_WEBGPU_TEST_MS, noticeText, phase, ready, shot, startSession, stateOf } from "./harness.js";

/** @import { Page } from "playwright-core" */
/** @import { PlayFrame, PlayInfo, PlayPath } from "../../contract/playground.js" */

const timeout = LONGEST_TEST_MS;
/** Cheap, and mixing well enough for statistics to exist. */
const SMALL = { chains: 4, "a-warmup": 5, b: "none" };

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
afterEach(() => session.tidy());
after(() => session?.end());

/** @param {Record<string, string | number>} [hash] @param {object} [more] */
const open = (hash = SMALL, more = {}) => session.open({ hash, room: "playground.html", ...more });

/**
 * The last frame with the bits of its floats.
 * @param {Page} page
 */
function look(page) {
  return page.evaluate(() => {
    const frame = /** @type {PlayFrame} */ (/** @type {any} */ (globalThis).mixwellTest.lastFrame());
    const bits = (/** @type {Float32Array} */ values) => [...new Uint32Array(Float32Array.from(values).buffer)];
    return {
      replayed: frame.replayed,
      sides: frame.sides.map((side) => ({ clock: side.clock, transitions: side.transitions, warming: side.warming_up, draws: side.draws, step: side.step_size, temperature: side.temperature, noise: side.noise, positions: bits(side.positions), energies: bits(side.energies), finite: [...side.positions, ...side.energies].every(Number.isFinite) })),
    };
  });
}

/** What must be equal after a replay. @param {Awaited<ReturnType<typeof look>>} seen */
const states = ({ sides }) => sides.map(({ clock, transitions, step, positions, energies }) => ({ clock, transitions, step, positions, energies }));

/** @param {Page} page @returns {Promise<PlayInfo>} */
const infoOf = (page) => page.evaluate(() => JSON.parse(JSON.stringify(/** @type {any} */ (globalThis).mixwellTest.info())));

/**
 * Does something, and waits for the frame that comes of it and for the page to rest.
 * @param {Page} page
 * @param {() => Promise<unknown>} action
 */
async function settled(page, action) {
  await page.evaluate(() => {
    const global = /** @type {any} */ (globalThis);
    global.frameBefore = global.mixwellTest.lastFrame();
  });
  await action();
  await page.waitForFunction(
    () => {
      const { mixwellTest, frameBefore } = /** @type {any} */ (globalThis);
      const { phase } = document.documentElement.dataset;
      const frame = mixwellTest.lastFrame();
      return phase === "failed" || (frame !== null && frame !== frameBefore && phase === "ready" && !mixwellTest.busy());
    },
    undefined,
    { timeout: 60_000 },
  );
  assert.equal(await phase(page), "ready", await page.locator("#card").innerText());
}

/** @param {Page} page @param {number} times @param {string} [key] */
async function step(page, times, key) {
  for (let taken = 0; taken < times; taken += 1) await settled(page, () => (key ? page.keyboard.press(key) : page.locator("#step").click()));
}

/** @param {Page} page @param {number} gradients */
async function runTo(page, gradients) {
  await page.locator("#play").click();
  await page.waitForFunction((least) => Number(document.documentElement.dataset.clock) >= least || document.documentElement.dataset.phase === "failed", gradients, { timeout: 60_000 });
  await settled(page, () => page.locator("#play").click());
}

/** @param {Page} page @param {number} clock */
const scrubTo = (page, clock) =>
  settled(page, () =>
    page.locator("#scrub").evaluate((slider, value) => {
      /** @type {HTMLInputElement} */ (slider).value = String(value);
      slider.dispatchEvent(new Event("input", { bubbles: true }));
      slider.dispatchEvent(new Event("change", { bubbles: true }));
    }, clock),
  );

/** @param {Page} page @param {string} field @param {string} value */
async function fill(page, field, value) {
  await page.locator(field).fill(value);
  await page.locator(field).press("Tab");
}

/** The cells of a row of the numbers. @param {Page} page @param {string} label */
const row = (page, label) => page.locator("#numbers tr", { has: page.locator("abbr", { hasText: new RegExp(`^${label}$`) }) }).locator("td .main").allInnerTexts();

test("the room is accessible in light, in dark and on a phone, with everything open", { timeout }, async () => {
  const page = await open({ chains: 4, "a-warmup": 3, "b-warmup": 3, lesson: 1, b: "hmc" });
  await step(page, 8);
  await page.keyboard.press("c");
  await page.keyboard.press("p");
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.path() !== null);
  for (const details of await page.locator("details").all()) await details.evaluate((element) => void (/** @type {HTMLDetailsElement} */ (element).open = true));
  await page.waitForFunction(() => !(/** @type {any} */ (globalThis).mixwellTest.busy()));
  for (const [name, colorScheme, width] of /** @type {const} */ ([["light", "light", 1280], ["dark", "dark", 1280], ["phone", "light", 390], ["phone-dark", "dark", 390]])) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: width < 500 ? 844 : 1000 });
    await page.waitForTimeout(200);
    await assertAccessible(page, name);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out to the side`);
    await shot(page, `play-${name}`, true);
  }
  assert.doesNotMatch(await page.locator("body").innerText(), /\[object|undefined|\bNaN\b|\bnull\b/, "every value has words");
  assert.match((await page.locator("#a-surface").getAttribute("aria-label")) ?? "", /Eight modes.*4 chains.*squares.*gradients/s, "the picture has words");
  assert.match((await page.locator("#a-ranks-plot").getAttribute("aria-label")) ?? "", /4 chains/);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.getByRole("button", { name: /Keys/ }).click();
  await page.getByRole("dialog").waitFor();
  await assertAccessible(page, "help");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Share" }).click();
  await assertAccessible(page, "share");
  await shot(page, "play-share");
  assert.deepEqual(page.complaints, []);
});

test("play, pause, step, back, reset and new seed, by button and by key", { timeout }, async () => {
  const page = await open({ ...SMALL, seed: 5, pace: 1500 });
  const start = states(await look(page));
  assert.equal(start[0].transitions, 0);
  await step(page, 1);
  const one = states(await look(page));
  assert.equal(one[0].transitions, 1);
  assert.equal(one[0].clock, 1, "one transition of MALA is one gradient");
  assert.notDeepEqual(one[0].positions, start[0].positions);
  await page.locator("h1").click();
  await step(page, 1, ".");
  await step(page, 1, "ArrowRight");
  const three = states(await look(page));
  assert.equal(three[0].transitions, 3);
  await settled(page, () => page.keyboard.press("ArrowLeft"));
  assert.equal((await look(page)).sides[0].transitions, 2);
  await settled(page, () => page.locator("#back").click());
  assert.deepEqual(states(await look(page)), one, "back is the state that was there");
  await page.locator("h1").click();
  await settled(page, () => page.keyboard.press("r"));
  assert.deepEqual(states(await look(page)), start, "reset is the same start");

  await page.keyboard.press(" ");
  assert.equal(await phase(page), "running");
  await page.waitForFunction(() => Number(document.documentElement.dataset.clock) > 60);
  await shot(page, "play-running");
  await settled(page, () => page.keyboard.press(" "));
  const paused = await look(page);
  await page.waitForTimeout(400);
  assert.deepEqual(states(await look(page)), states(paused), "a pause is a pause");
  assert.match(await page.locator("#status").innerText(), /^Paused\. .*R-hat|few draws|warming/);
  await shot(page, "play-paused");

  await settled(page, () => page.keyboard.press("n"));
  const { config } = await stateOf(page);
  assert.notEqual(config.seed, 5);
  assert.match(page.url(), new RegExp(`[#&]seed=${config.seed}(&|$)`));
  assert.notDeepEqual((await look(page)).sides[0].positions, start[0].positions);
  await settled(page, () => page.locator("#new-seed").click());
  assert.notEqual((await stateOf(page)).config.seed, config.seed);
  await settled(page, () => goTo(page, hashOf({ ...SMALL, seed: 5, pace: 1500 })));
  assert.deepEqual(states(await look(page)), start, "back at the first seed");

  const pace = (await stateOf(page)).pace;
  await page.keyboard.press("[");
  assert.notEqual((await stateOf(page)).pace, pace);
  await page.keyboard.press("]");
  assert.equal((await stateOf(page)).pace, pace);
  await page.keyboard.press("s");
  assert.ok(await page.locator("#settings").evaluate((element) => /** @type {HTMLDetailsElement} */ (element).open));
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  assert.deepEqual(page.complaints, []);
});

test("rewinding and scrubbing give the very states that were there, and the run goes on from them", { timeout }, async () => {
  // Two sides whose transitions cost differently, over more transitions than the engine keeps states of.
  const page = await open({ chains: 6, a: "mala", b: "hmc", "a-warmup": 20, "b-warmup": 20, "b-leapfrog": 3, pace: 300 });
  await step(page, 40);
  const early = states(await look(page));
  await runTo(page, 400);
  await step(page, 1);
  const late = states(await look(page));
  /** @param {number} side @returns {Promise<number[][]>} */
  const drawsOf = (side) => page.evaluate((index) => /** @type {any} */ (globalThis).mixwellTest.draws(index, "energy"), side);
  const draws = [await drawsOf(0), await drawsOf(1)];

  // A clock holds the last transition of each side at or before it, so the cheaper side may have
  // room for one or two more than it had when the other one arrived.
  await scrubTo(page, Math.max(...early.map(({ clock }) => clock)));
  const back = await look(page);
  assert.ok(back.replayed);
  assert.deepEqual(states(back)[1], early[1], "the side that sets the clock stands where it stood");
  assert.ok(states(back)[0].transitions - early[0].transitions <= 3);
  const far = Math.max(...late.map(({ clock }) => clock));
  assert.ok(Number(await page.locator("#scrub").getAttribute("max")) >= far, "the way forward is still there");

  await scrubTo(page, far);
  assert.deepEqual(states(await look(page))[1], late[1], "forward again, to the last bit");
  for (const side of [0, 1]) {
    const again = await drawsOf(side);
    assert.deepEqual(again.map((row, chain) => row.slice(0, draws[side][chain].length)), draws[side], "all draws are the same");
  }

  await scrubTo(page, 0);
  assert.ok((await look(page)).sides.every(({ transitions }) => transitions === 0));
  await runTo(page, far);
  await scrubTo(page, far);
  assert.deepEqual(states(await look(page))[1], late[1], "playing on from the start leads to the same place");
  assert.deepEqual((await drawsOf(1)).length, draws[1].length);
  assert.deepEqual(page.complaints, []);
});

test("every sampler walks, and shows only its own settings", { timeout }, async () => {
  const page = await open();
  const { samplers, targets } = await page.evaluate(async () => ({ samplers: Array.from(document.querySelectorAll("#f-a-sampler option"), (option) => /** @type {HTMLOptionElement} */ (option).value), targets: Array.from(document.querySelectorAll("#f-target option"), (option) => /** @type {HTMLOptionElement} */ (option).value) }));
  assert.deepEqual(samplers, ["rwm", "ula", "sgld", "mala", "hmc", "nuts", "underdamped", "tempering", "gibbs"]);
  assert.ok(targets.length >= 5, `${targets}`);
  await page.locator("#settings > summary").click();
  const own = /** @type {Record<string, string[]>} */ ({ rwm: ["eps", "T"], ula: ["eps", "T"], sgld: ["eps", "noise", "clip"], mala: ["eps", "T"], hmc: ["eps", "T", "leapfrog"], nuts: ["eps", "T", "depth"], underdamped: ["eps", "T", "friction"], tempering: ["eps", "T", "rungs", "hottest"] });
  for (const [sampler, fields] of Object.entries(own)) {
    await settled(page, () => goTo(page, hashOf({ ...SMALL, a: sampler, seed: 11 })));
    await step(page, 7);
    const [side] = (await look(page)).sides;
    assert.ok(side.finite && side.transitions === 7, sampler);
    assert.ok(side.clock >= 7, `${sampler}: ${side.clock}`);
    const shown = await page.locator("#a-settings input[type=text]").evaluateAll((inputs) => inputs.map((input) => input.id));
    assert.deepEqual(shown.filter((id) => !/warmup|accept/.test(id)), fields.map((field) => `f-a-${field}`), sampler);
    if (["hmc", "nuts"].includes(sampler)) assert.match((await row(page, "Divergences"))[0], /^\d+$/);
    const untested = sampler === "ula" || sampler === "sgld";
    assert.equal(await page.locator("#a-advice", { hasText: "No accept/reject test" }).count(), untested ? 1 : 0, sampler);
    assert.equal(await page.locator("#numbers small", { hasText: /^shadow$/ }).count(), untested ? 1 : 0, sampler);
  }
  assert.deepEqual(page.complaints, []);
});

test("the thermometer tells what SGLD samples, “Match T” sets it right, and one click takes the test", { timeout }, async () => {
  const page = await open({ ...SMALL, a: "sgld" });
  await step(page, 1);
  assert.ok((await look(page)).sides[0].temperature < 0.01);
  assert.match(await page.locator("#a-thermo").innerText(), /colder than requested/);
  await shot(page, "play-cold");
  await settled(page, () => page.getByRole("button", { name: "Match T = 1" }).click());
  await step(page, 1);
  assert.ok(Math.abs((await look(page)).sides[0].temperature - 1) < 1e-3);
  assert.match(await page.locator("#a-thermo").innerText(), /as requested/);
  await settled(page, () => page.getByRole("button", { name: "Switch to MALA" }).click());
  assert.equal((await stateOf(page)).config.sides[0].sampler.sampler, "mala");
  assert.equal(await page.getByRole("button", { name: "Switch to MALA" }).count(), 0);
  assert.deepEqual(page.complaints, []);
});

test("a path is told step by step and ends in words", { timeout }, async () => {
  const page = await open({ ...SMALL, a: "hmc", "a-leapfrog": 4 });
  await page.getByRole("button", { name: "Whole path" }).click();
  assert.match(await page.locator("#path-text").innerText(), /take a step first/);
  await step(page, 3);
  const before = await look(page);
  await step(page, 1);
  await page.keyboard.press("c");
  await page.keyboard.press("c");
  assert.equal((await stateOf(page)).chain, 1);
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.path() !== null);
  const path = await page.evaluate(() => {
    const found = /** @type {PlayPath} */ (/** @type {any} */ (globalThis).mixwellTest.path());
    return { ...found, points: [...found.points], bits: [...new Uint32Array(Float32Array.from(found.points).buffer)], energies: [...found.energies] };
  });
  assert.equal(path.points.length, 2 * 5, "the start and four leapfrog steps");
  assert.equal(path.energies.length, 5);
  assert.deepEqual(path.bits.slice(0, 2), before.sides[0].positions.slice(2, 4), "it starts where the chain was");
  const now = await look(page);
  if (!path.moved) assert.deepEqual(now.sides[0].positions.slice(2, 4), before.sides[0].positions.slice(2, 4));
  assert.match(await page.locator("#path-text").innerText(), /Chain 2, transition 4: point 1 of 5, the start/);
  await page.getByRole("button", { name: "Next point" }).click();
  assert.match(await page.locator("#path-text").innerText(), /point 2 of 5/);
  await page.locator("h1").click();
  await page.keyboard.press("p");
  await page.waitForFunction(() => /Accepted|Rejected/.test(document.getElementById("path-text")?.textContent ?? ""));
  await shot(page, "play-path");
  // A click on a point chooses its chain.
  const box = await page.locator("#a-surface").boundingBox();
  const at = await page.evaluate(() => {
    const { lastFrame, info } = /** @type {any} */ (globalThis).mixwellTest;
    const [x0, x1, y0, y1] = info().target.bounds;
    const [x, y] = lastFrame().sides[0].positions;
    return [(x - x0) / (x1 - x0), (y1 - y) / (y1 - y0)];
  });
  assert.ok(box);
  const margin = Math.round(Math.min(64, 0.13 * box.width));
  const width = Math.floor(box.width) - 36 - margin;
  await page.locator("#a-surface").click({ position: { x: 36 + width * at[0], y: margin + Math.round(width * 0.86) * at[1] } });
  assert.notEqual((await stateOf(page)).chain, null);
  assert.match(page.url(), /[#&]chain=\d/);
  assert.deepEqual(page.complaints, []);
});

test("the address holds every setting, and reloading it restores them", { timeout }, async () => {
  const page = await open();
  await page.locator("#settings > summary").click();
  await settled(page, () => page.locator("#f-target").selectOption("banana"));
  await settled(page, () => page.locator("#f-a-sampler").selectOption("hmc"));
  await settled(page, () => page.locator("#f-b-sampler").selectOption("sgld"));
  /** @type {[string, string][]} */
  const entries = [["#f-a-leapfrog", "7"], ["#f-a-eps", "0.05"], ["#f-a-T", "2"], ["#f-a-warmup", "12"], ["#f-a-accept", "0.7"], ["#f-b-noise", "0.02"], ["#f-b-clip", "5"], ["#f-chains", "6"], ["#f-superchains", "3"], ["#f-seed", "99"]];
  for (const [field, value] of entries) await settled(page, () => fill(page, field, value));
  await settled(page, () => page.locator("#f-start").selectOption("superchains"));
  await settled(page, () => page.locator("#f-a-mass").check());
  await settled(page, () => page.locator("#f-a-adapt").uncheck());
  await page.locator("#pace").selectOption("300");
  await page.locator("#f-quantity").selectOption({ index: 2 });
  await page.locator("#f-chain").selectOption({ value: "4" });
  const state = await stateOf(page);
  const [a, b] = state.config.sides;
  assert.deepEqual(
    [state.config.target, state.config.chains, state.config.superchains, state.config.start, state.config.seed, a.sampler.sampler, a.sampler.leapfrog_steps, a.sampler.step_size, a.sampler.temperature, a.sampler.warmup, a.sampler.target_accept, a.sampler.adapt_mass, a.sampler.no_adapt, b.sampler.sampler, b.sampler.noise, b.sampler.clip, state.pace, state.chain],
    ["banana", 6, 3, "superchains", 99, "hmc", 7, 0.05, 2, 12, 0.7, true, true, "sgld", 0.02, 5, 300, 4],
  );
  const { config: accepted } = await infoOf(page);
  assert.equal(accepted.sides[0].sampler.step_size, 0.05);
  assert.equal(accepted.superchains, 3);
  const positions = (await look(page)).sides[0].positions;
  assert.deepEqual(positions.slice(0, 2), positions.slice(2, 4), "superchains begin at one point");
  assert.notDeepEqual(positions.slice(0, 2), positions.slice(4, 6));
  const shown = () => page.locator("#form input:not([type=range]), #form select, #pace, #f-quantity, #f-chain").evaluateAll((fields) => fields.map((field) => [field.id, field instanceof HTMLInputElement && field.type === "checkbox" ? field.checked : /** @type {HTMLInputElement} */ (field).value]));
  const fields = await shown();
  await page.reload();
  await ready(page);
  assert.deepEqual(await stateOf(page), state);
  assert.deepEqual(await shown(), fields);
  assert.deepEqual((await look(page)).sides[0].positions, positions, "the same chains");
  assert.deepEqual(page.complaints, []);
});

test("a mangled address is told and does no harm", { timeout }, async () => {
  const page = await open({}, { rawHash: "#chains=0&seed=8&a=magic&b=none&a-eps=NaN&nonsense&target=../x&drawn=@@&hide=all&lesson=99" });
  const text = await noticeText(page, "address");
  for (const part of ["chains", "magic", "a-eps", "nonsense", "target", "drawn", "hide", "lesson"]) assert.match(text, new RegExp(part), part);
  assert.equal((await stateOf(page)).config.seed, 8);
  await step(page, 1);
  await settled(page, () => goTo(page, "#target=atlantis&b=none"));
  assert.match(await noticeText(page, "target"), /atlantis/);
  await step(page, 1);
  // What only the engine knows to be wrong.
  await settled(page, () => goTo(page, "#target=banana&a=gibbs&b=none"));
  assert.match(await noticeText(page, "config"), /refused/);
  await step(page, 1);
  assert.deepEqual(page.complaints, []);
});

test("bad input is told beside its field, and nothing else happens", { timeout }, async () => {
  const page = await open();
  await step(page, 2);
  await page.locator("#settings > summary").click();
  const before = states(await look(page));
  for (const [field, values] of /** @type {const} */ ([["#f-chains", ["0", "1", "100000", "NaN", "", "2.5"]], ["#f-a-eps", ["0", "NaN", "1e9", "-1"]], ["#f-a-T", ["0", "abc"]], ["#f-seed", ["-1", "1e99"]], ["#f-superchains", ["3"]]])) {
    for (const value of values) {
      await fill(page, field, value);
      assert.match(await page.locator(`${field}-problem`).innerText(), /Nothing was changed/, `${field} = ${value}`);
      assert.equal(await page.locator(field).getAttribute("aria-invalid"), "true");
    }
  }
  await shot(page, "play-bad-input");
  await page.waitForTimeout(400);
  assert.deepEqual(states(await look(page)), before, "the run stays");
  await step(page, 1);
  await settled(page, () => fill(page, "#f-chains", "6"));
  assert.equal(await page.locator("#f-chains-problem").innerText(), "");
  assert.equal((await look(page)).sides[0].positions.length, 12);
  // The engine's own refusal: the last good run stays.
  await step(page, 3);
  const good = states(await look(page));
  await settled(page, () => goTo(page, "#target=banana&a=gibbs&b=none&chains=6"));
  assert.match(await noticeText(page, "config"), /last good run/);
  assert.deepEqual(states(await look(page)), good);
  await step(page, 1);
  assert.deepEqual(page.complaints, []);
});

test("a density is drawn by hand and by keys, is sampled, and travels in the address", { timeout }, async () => {
  const page = await open();
  await page.locator("#draw > summary").click();
  await page.getByRole("button", { name: "Use it" }).click();
  assert.match(await page.locator("#draw-problem").innerText(), /Nothing is drawn/);
  await page.locator("#draw-canvas").focus();
  for (const key of ["ArrowLeft", "ArrowUp", " "]) await page.keyboard.press(key);
  assert.match(await page.locator("#draw-cursor").innerText(), /Column 16, row 18 from below: \d+ % paint/);
  await page.keyboard.press("Shift+Space");
  assert.match(await page.locator("#draw-cursor").innerText(), /empty/);
  await page.keyboard.press("Space");
  const box = await page.locator("#draw-canvas").boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + 60, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + 60, box.y + 250, { steps: 4 });
  await page.mouse.up();
  await settled(page, () => page.getByRole("button", { name: "Use it" }).click());
  assert.equal((await infoOf(page)).config.target, "drawn");
  assert.match(page.url(), /[#&]drawn=[\w-]+/);
  await step(page, 12);
  assert.ok((await look(page)).sides[0].finite);
  await shot(page, "play-drawn");
  const seen = states(await look(page));
  await page.reload();
  await ready(page);
  await step(page, 12);
  assert.deepEqual(states(await look(page)), seen, "the link draws the same density");
  await page.locator("#draw > summary").click();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByRole("button", { name: "Use it" }).click();
  assert.match(await page.locator("#draw-problem").innerText(), /Nothing is drawn/);
  assert.deepEqual(page.complaints, []);
});

test("lessons have their presets, which the reader changes", { timeout }, async () => {
  const page = await open({ lesson: 1 });
  const presets = [["eight-modes", "dispersed", ["mala"]], ["eight-modes", "dispersed", ["sgld", "ula"]], ["eight-modes", "mode", ["mala"]], ["gaussian", "dispersed", ["mala", "ula"]], ["funnel", "dispersed", ["hmc", "nuts"]]];
  for (const [index, [target, start, samplers]] of presets.entries()) {
    if (index > 0) await settled(page, () => page.locator("#lesson-next").click());
    const { config } = await infoOf(page);
    assert.deepEqual([config.target, config.start, config.sides.map(({ sampler }) => sampler.sampler)], [target, start, samplers]);
    assert.match(page.url(), new RegExp(`#lesson=${index + 1}$`));
    assert.match(await page.locator("#lesson").innerText(), new RegExp(`Lesson ${index + 1} of 6[^]*Try\\.`));
    assert.equal(await page.locator(".lesson-text:visible").count(), 1);
    await step(page, 2);
    assert.ok((await look(page)).sides.every(({ finite }) => finite), `lesson ${index + 1}`);
    await shot(page, `play-lesson-${index + 1}`);
  }
  await page.locator("#settings > summary").click();
  await settled(page, () => fill(page, "#f-chains", "4"));
  assert.match(page.url(), /#lesson=5&chains=4$/);
  await settled(page, () => page.locator("#lesson-again").click());
  assert.match(page.url(), /#lesson=5$/);
  await settled(page, () => page.locator("#lesson-previous").click());
  await page.locator("#lesson-close").click();
  assert.ok(!(await page.locator("#lesson").isVisible()));
  assert.equal((await infoOf(page)).config.target, "gaussian", "closing keeps the run");
  assert.deepEqual(page.complaints, []);
});

test("a density is learned live, and chains run on it in both spaces", { timeout }, async () => {
  const page = await open({ lesson: 6, chains: 4, "a-warmup": 2, "b-warmup": 2, "learn-flow": 60, "learn-tilt": 20, "learn-steps": 2, "learn-hidden": 8 });
  assert.equal((await infoOf(page)).config.target, "eight-modes", "before it is learned, the run is on what it will be learned from");
  await page.locator("#learn > summary").click();
  // Stopped in the middle first.
  await page.getByRole("button", { name: "Learn", exact: true }).click();
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await page.waitForFunction(() => !(/** @type {HTMLButtonElement} */ (document.getElementById("learn-start")).disabled));
  assert.equal((await infoOf(page)).config.target, "eight-modes");
  await settled(page, async () => {
    await page.getByRole("button", { name: "Learn it now" }).click();
    await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.info()?.config.target === "learned" || document.documentElement.dataset.phase === "failed", undefined, { timeout: 120_000 });
  });
  const { config } = await infoOf(page);
  assert.deepEqual(config.sides.map(({ sampler, space }) => [sampler.sampler, space]), [["mala", "data"], ["mala", "latent"]]);
  assert.match(await page.locator("#learn-text").innerText(), /Learned\. KL\(data‖flow\) [\d.]+, KL\(data‖model\) [\d.]+ nats/);
  await step(page, 6);
  const seen = states(await look(page));
  assert.ok((await look(page)).sides.every(({ finite }) => finite));
  await shot(page, "play-learned", true);
  // The engine goes, and with it the learned density: the same seed learns it again.
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  await errorCard(page, "device-lost");
  await settled(page, () => page.getByRole("button", { name: "Restart and replay the run" }).click());
  assert.equal((await infoOf(page)).config.target, "learned");
  assert.deepEqual(states(await look(page)), seen);
  await settled(page, () => page.locator("#f-target").selectOption("banana"));
  await settled(page, () => page.getByRole("button", { name: /Run chains on it/ }).click());
  assert.equal((await infoOf(page)).config.sides.length, 2);
  await settled(page, () => page.locator("#settings > summary").click().then(() => page.locator("#f-a-space").selectOption("latent")));
  assert.equal((await infoOf(page)).config.sides[0].space, "latent");
});

test("embedding hides what it says, and the Share dialog writes it", { timeout }, async () => {
  const page = await open();
  await step(page, 9);
  const seen = states(await look(page));
  await page.getByRole("button", { name: "Share" }).click();
  await page.getByLabel("Begin at this moment").check();
  await page.locator("#share").getByLabel("Trace", { exact: true }).check();
  await page.locator("#share").getByLabel("Marginals beside the surface").check();
  const link = await page.locator("#share-link").inputValue();
  assert.match(link, /[#&]hide=(marginals,trace|trace,marginals)/);
  assert.match(link, /[#&]at=9(&|$)/);
  const snippet = await page.locator("#share-embed").inputValue();
  assert.match(snippet, /^<iframe src="http[^"<>]*#embed[^"<>]*" title="[^"]+"/);
  assert.doesNotMatch(snippet, /&(?!amp;)/);
  await page.keyboard.press("Escape");
  const address = (/<iframe src="([^"]+)"/.exec(snippet) ?? [])[1].replaceAll("&amp;", "&");
  // A new document: another hash alone would be no visit.
  await page.goto("about:blank");
  await page.goto(address.replace("#", "?test#"));
  await ready(page);
  assert.deepEqual(states(await look(page)), seen, "it begins at the moment that was shared");
  for (const part of ["header.site", "footer.site", ".lede", "#lessons", "#glossary", "#a-trace", "#make"]) assert.ok(!(await page.locator(part).first().isVisible()), part);
  for (const part of ["#play", "#a-surface", "#numbers", "#embed-link"]) assert.ok(await page.locator(part).isVisible(), part);
  await assertAccessible(page, "embedded");
  await shot(page, "play-embed");
  assert.deepEqual(page.complaints, []);
});

test("the draws can be taken away, with our numbers beside them", { timeout }, async () => {
  const page = await open({ target: "two-modes", chains: 4, a: "mala", b: "hmc", "a-warmup": 30, "b-warmup": 30, "b-leapfrog": 3, pace: 1500, start: "superchains", superchains: 2 });
  await page.getByRole("button", { name: "Draws as CSV" }).click();
  assert.match(await page.locator("#check-problem").innerText(), /at least 4/);
  await runTo(page, 400);
  /** @param {string} name */
  const take = async (name) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
    return { name: download.suggestedFilename(), text: readFileSync(await download.path(), "utf8") };
  };
  const { names, kept } = await page.evaluate(() => {
    const { info, draws } = /** @type {any} */ (globalThis).mixwellTest;
    return { names: info().traced, kept: draws(0, "energy") };
  });
  const csv = await take("Draws as CSV");
  const lines = csv.text.trimEnd().split("\n");
  assert.equal(lines[0], ["chain", "draw", ...names].join(","));
  assert.equal(lines.length, 1 + 4 * kept[0].length);
  assert.equal(Number(lines[1].split(",")[2]), kept[0][0]);
  const json = await take("Draws for ArviZ (JSON)");
  assert.match(json.name, /^mixwell-.*-mala-7\.json$/);
  const run = JSON.parse(json.text);
  assert.deepEqual(run.posterior.energy, kept);
  assert.deepEqual(Object.keys(run.posterior), names);
  assert.equal(run.sample_stats.lp[3].length, kept[0].length);
  const numbers = JSON.parse(run.attrs.numbers);
  for (const name of names) for (const what of ["rhat", "ess_bulk", "ess_tail", "mcse_mean"]) assert.ok(Number.isFinite(numbers[name][what]), `${name} ${what}`);
  assert.equal(JSON.parse(run.attrs.config).chains, 4);
  await page.locator("#check-side").selectOption({ value: "1" });
  assert.match((await take("Draws for ArviZ (JSON)")).name, /-hmc-7\.json$/);
  for (const file of ["check.py", "check.R"]) {
    const href = await page.getByRole("link", { name: file }).getAttribute("href");
    const response = await page.request.get(new URL(href ?? "", page.url()).href);
    assert.match(await response.text(), /mcse_mean/, file);
  }
  assert.match((await row(page, "Nested R-hat"))[0], /^\d/);
  const { MIXWELL_TAKEOUT: path } = process.env;
  if (path) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, json.text);
  }
  assert.deepEqual(page.complaints, []);
});

test("autocorrelation is computed when it is opened, and every chart has a table", { timeout }, async () => {
  const page = await open({ ...SMALL, pace: 300 });
  await runTo(page, 60);
  assert.equal(await page.locator("#a-auto-plot canvas").count(), 0);
  await page.locator("#auto > summary").click();
  await page.locator("#a-auto-plot canvas").waitFor();
  for (const [twin, least] of /** @type {const} */ ([["#a-auto-table", 5], ["#a-trace-table", 5], ["#a-ranks-table", 4], ["#a-running-table", 3], ["#a-chains-table", 4], ["#all-statistics", 3]])) {
    await page.locator(`details:has(> ${twin}) > summary`).click();
    await page.locator(`${twin} tbody tr`).first().waitFor();
    assert.ok((await page.locator(`${twin} tbody tr`).count()) >= least, twin);
  }
  // A panel that is hidden is not computed either.
  await goTo(page, `${hashOf(SMALL)}&hide=ranks,running`);
  await page.locator("#a-ranks").waitFor({ state: "hidden" });
  await step(page, 1);
  assert.deepEqual(page.complaints, []);
});

test("a lost engine shows a card, and a restart replays the run to where it was", { timeout }, async () => {
  const page = await open({ ...SMALL, a: "nuts", "a-depth": 3 });
  await step(page, 12);
  const seen = states(await look(page));
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  assert.match(await errorCard(page, "device-lost"), /replays it to the same point/);
  await shot(page, "play-lost");
  await settled(page, () => page.getByRole("button", { name: "Restart and replay the run" }).click());
  assert.deepEqual(states(await look(page)), seen);
  await step(page, 1);
  // While it runs, too.
  await page.locator("#play").click();
  await page.waitForTimeout(200);
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  await errorCard(page, "device-lost");
  await settled(page, () => page.getByRole("button", { name: "Go back to the defaults" }).click());
  await step(page, 1);
});

test("the WebGPU build runs the same chains, or the page says why not", { timeout: LONGEST_WEBGPU_TEST_MS }, async () => {
  const page = await open();
  await step(page, 3);
  const seen = await page.evaluate(() => [.../** @type {any} */ (globalThis).mixwellTest.lastFrame().sides[0].positions]);
  await page.evaluate(() => {
    const global = /** @type {any} */ (globalThis);
    global.frameBefore = global.mixwellTest.lastFrame();
  });
  await page.locator("#f-runtime").selectOption("webgpu");
  await page.waitForFunction(() => /** @type {any} */ (globalThis).mixwellTest.lastFrame() !== /** @type {any} */ (globalThis).frameBefore && document.documentElement.dataset.phase === "ready", undefined, { timeout: 300_000 });
  const report = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.report());
  if (report.runtime === "cpu") assert.match(await noticeText(page, "cpu"), /WebGPU|adapter/);
  const now = await page.evaluate(() => [.../** @type {any} */ (globalThis).mixwellTest.lastFrame().sides[0].positions]);
  assert.equal((await look(page)).sides[0].transitions, 3);
  for (const [index, value] of now.entries()) assert.ok(Math.abs(value - seen[index]) < 1e-3 * Math.max(1, Math.abs(value)), `${value} against ${seen[index]}`);
  assert.deepEqual(page.complaints, []);
});

test("both devices make the same random words, and their chains differ by rounding only", { timeout: LONGEST_WEBGPU_TEST_MS }, async (t) => {
  // MALA on a Gaussian contracts: what rounding begins stays small. The step is fixed, since an
  // adapted one would differ too.
  const page = await open({ target: "gaussian", a: "mala", "a-adapt": "off", b: "none", chains: 8 });
  await page.locator("#drift").click();
  const text = page.locator("#drift-text");
  await text.filter({ hasText: /random|no second device|failed/ }).waitFor({ timeout: 600_000 });
  const said = await text.innerText();
  t.diagnostic(said);
  assert.match(said, /random numbers are identical bit for bit/);
  const [first, largest] = [...said.matchAll(/\d\.\de[+-]\d+/g)].map(([number]) => Number(number));
  assert.ok(first < 1e-5 && largest < 1e-3, said);
  assert.ok(largest > 0, "two devices that round alike everywhere are one device");
  await shot(page, "play-drift", true);
  assert.deepEqual(page.complaints, []);
});
