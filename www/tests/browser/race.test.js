// The race on WebGPU: that it starts, computes the right numbers, obeys its controls and survives
// the loss of its device.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, afterEach, before, test } from "node:test";
import { assertSame, distanceFromNative, goTo, hashOf, LONGEST_TEST_MS, look, model, nativeHash, nativeReport, NO_NATIVE, noticeText, phase, ready, reportOf, restarted, row, shot, SMALL, startSession, stateOf, step, weights } from "./harness.js";

/** @import { Page } from "playwright-core" */

const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const timeout = LONGEST_TEST_MS;
/** The promise. */
const PAUSE_MS = 100;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
afterEach(() => session.tidy());
after(() => session?.end());

/** @param {Page} page @param {string} where */
async function assertAccessible(page, where) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.addScriptTag({ path: AXE });
  const { violations, passes } = await page.evaluate(() => /** @type {any} */ (globalThis).axe.run());
  assert.ok(passes.length > 10, `axe looked at ${passes.length} rules`);
  const told = violations.map((/** @type {any} */ { id, help, nodes }) => `${id}: ${help}: ${nodes.map((/** @type {any} */ node) => node.html.slice(0, 120)).join(" | ")}`);
  assert.deepEqual(told, [], where);
}

test("the page loads, runs on WebGPU and complains about nothing", { timeout }, async () => {
  const { server, open } = session;
  // Half of the weights, so that the download can be looked at.
  server.fault(weights.path, { kind: "hold", bytes: weights.bytes >> 1 });
  const page = await open({ hash: { ...SMALL, model: model.name }, wait: false });
  const bytes = model.files.filter(({ path }) => ["card.json", "weights.safetensors"].includes(path)).reduce((sum, file) => sum + file.bytes, 0);
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  const card = page.locator("#card");
  await card.getByRole("heading", { name: model.title }).waitFor();
  assert.ok((await card.innerText()).includes(size), `the card tells ${size}: ${await card.innerText()}`);
  await page.locator("#card .bytes", { hasText: /weights\.safetensors/ }).waitFor();
  await shot(page, "downloading");
  server.heal();
  await ready(page);

  assert.match(await page.title(), /mixwell/);
  assert.equal(await page.locator("h1").innerText(), "One model, two walks");
  for (const name of ["Play", "Step", "Reset", "New seed"]) {
    const button = page.getByRole("group", { name: "Race controls" }).getByRole("button", { name, exact: true });
    assert.ok(await button.isEnabled(), `${name} can be pressed`);
  }
  const report = await reportOf(page);
  assert.equal(report.runtime, "webgpu", report.reason);
  assert.equal(report.reason_kind, null);
  assert.equal(await page.locator("#notices li").count(), 0, "no notice");
  assert.equal(server.count("/mixwell-webgpu_bg.wasm"), 1, "the WebGPU build was loaded");
  assert.equal(server.count("/mixwell-cpu_bg.wasm"), 0, "the CPU build was not");
  const about = await page.locator("#model-info").innerText();
  assert.match(about, /WebGPU on /);
  assert.match(about, /Self-test passed/);
  assert.ok((await page.locator("#f-model option:checked").textContent())?.includes(size), "the model's size stands in the settings");

  const start = await look(page);
  assert.equal(start.index, 0);
  assert.deepEqual(start.sides.map(({ space }) => space), ["pixel", "latent"]);
  // g(z₀) is computed on each side; a value on the edge may round to the next grey.
  const apart = Math.max(...start.sides[0].images.map((grey, i) => Math.abs(grey - start.sides[1].images[i])));
  assert.ok(apart <= 1, `both sides start at the same images; ${apart} grey levels apart`);
  assert.ok(new Set(start.sides[0].images).size > 10, "the images are no plain colour");
  await shot(page, "ready");
  await step(page, 3);
  await shot(page, "three-steps");
  assert.deepEqual(page.complaints, []);

  // A listener that hears nothing proves nothing.
  const engine = page.workers().find((worker) => worker.url().endsWith("/engine.js"));
  assert.ok(engine, "the engine is a worker");
  const heard = page.waitForEvent("console", (message) => message.text() === "can you hear me");
  await engine.evaluate(() => console.error("can you hear me"));
  await heard;
  assert.deepEqual(page.complaints, ["can you hear me"]);
});

test("the page is accessible in light, in dark and on a phone", { timeout }, async () => {
  // The CPU build shows the same page, and more: its notice.
  const page = await session.open({ hash: SMALL, cpu: true });
  await step(page, 2);
  for (const details of await page.locator("details").all()) await details.evaluate((element) => void (/** @type {HTMLDetailsElement} */ (element).open = true));
  for (const [name, colorScheme, width] of /** @type {const} */ ([["light", "light", 1280], ["dark", "dark", 1280], ["phone", "light", 390], ["phone-dark", "dark", 390]])) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: width < 500 ? 844 : 900 });
    await assertAccessible(page, name);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out to the side`);
    await shot(page, `page-${name}`, true);
  }
  await page.getByRole("button", { name: "Keys and help" }).or(page.getByRole("button", { name: "Keys" })).first().click();
  await page.getByRole("dialog").waitFor();
  await assertAccessible(page, "help");
  await shot(page, "help");
});

// Tolerance: see distance below.
test("twenty steps on both sides give the numbers of the native CPU run", { timeout, skip: nativeReport() ? false : NO_NATIVE }, async (t) => {
  const native = nativeReport();
  const page = await session.open({ hash: nativeHash(native) });
  assert.equal((await reportOf(page)).runtime, "webgpu");
  for (const { space, distance, travelled } of await distanceFromNative(page, native)) {
    t.diagnostic(`${space}: energies differ by ${distance.toExponential(1)} at most, relative; the chains travelled ${travelled.toExponential(1)}`);
    assert.ok(travelled > 1e-2, `${space}: the chains moved (${travelled})`);
    assert.ok(distance < 1e-3, `${space}: relative difference ${distance}`);
  }
  await shot(page, "parity");
  assert.deepEqual(page.complaints, []);
});

/**
 * Notes in the page itself how long each pause takes: from the moment the browser received the
 * key or click to the moment the page, having the worker's answer, says that it is paused.
 * Notes the clock of every frame too.
 * @param {Page} page
 */
async function watch(page) {
  await page.evaluate(() => {
    const seen = { pauses: /** @type {number[]} */ ([]), clocks: /** @type {number[]} */ ([]) };
    Object.assign(globalThis, { seen });
    const root = document.documentElement;
    const status = /** @type {HTMLElement} */ (document.getElementById("status"));
    let asked = 0;
    for (const type of ["keydown", "click"]) {
      addEventListener(
        type,
        (event) => {
          if (root.dataset.phase === "running") asked = event.timeStamp;
        },
        { capture: true },
      );
    }
    new MutationObserver(() => {
      if (status.textContent?.startsWith("Paused.")) seen.pauses.push(performance.now() - asked);
    }).observe(status, { childList: true, characterData: true, subtree: true });
    new MutationObserver(() => seen.clocks.push(Number(root.dataset.clock))).observe(root, { attributes: true, attributeFilter: ["data-clock"] });
  });
}

/** @param {Page} page @returns {Promise<{ pauses: number[], clocks: number[] }>} */
const seenBy = (page) => page.evaluate(() => /** @type {any} */ (globalThis).seen);

/** Presses play and waits for so many new frames. @param {Page} page @param {number} frames @param {() => Promise<void>} press */
async function runFor(page, frames, press) {
  const { index } = await look(page);
  await press();
  await page.waitForFunction((least) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index >= least, index + frames, { timeout: 120_000 });
  assert.equal(await phase(page), "running");
}

test("pause answers within 100 ms, step and reset do exactly what they say", { timeout }, async (t) => {
  const page = await session.open({ hash: { ...SMALL, pace: 50 } });
  await watch(page);
  const click = () => page.locator("#play").click();
  const space = () => page.keyboard.press(" ");
  await step(page); // compiles
  for (const [count, press] of [click, space, click, space, click].entries()) {
    // Space would press the button that has the focus, which is another way to the same end.
    await page.locator("h1").click();
    await runFor(page, 2, press);
    if (count === 0) await shot(page, "running");
    const before = (await seenBy(page)).pauses.length;
    await press();
    await page.waitForFunction((least) => /** @type {any} */ (globalThis).seen.pauses.length > least, before);
    assert.equal(await phase(page), "ready");
  }
  const { pauses } = await seenBy(page);
  t.diagnostic(`pauses took ${pauses.map((ms) => ms.toFixed(1)).join(", ")} ms`);
  assert.equal(pauses.length, 5);
  assert.ok(Math.max(...pauses) <= PAUSE_MS, `pauses took ${pauses} ms`);
  await shot(page, "paused");

  // The frame under way may still arrive, and nothing after it.
  const longest = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.lastFrame().elapsed_ms);
  const { index: paused } = await look(page);
  await page.waitForTimeout(Math.min(20_000, 500 + 4 * longest));
  const { index: still, sides: rest } = await look(page);
  assert.ok(still - paused <= 1, `${still - paused} frames came after the pause`);

  // One step is one transition on each side, which is one gradient for Langevin.
  await step(page, 1, ".");
  const stepped = await look(page);
  for (const side of [0, 1]) {
    assert.equal(stepped.sides[side].gradients, rest[side].gradients + 1);
    assert.equal(stepped.sides[side].transitions, rest[side].transitions + 1);
    assert.deepEqual(stepped.sides[side].clock, [stepped.sides[side].gradients]);
    assert.notDeepEqual(stepped.sides[side].bits, rest[side].bits, "the chains moved");
  }
  assert.equal(await page.evaluate(() => document.documentElement.dataset.clock), String(stepped.sides[0].gradients));

  // The same seed is the same race, to the last bit, at the start and after some steps.
  await restarted(page, () => page.keyboard.press("r"));
  const start = await look(page);
  assert.equal(start.sides[0].gradients, 0);
  await step(page, 2);
  const once = await look(page);
  assert.notDeepEqual(once.tiles, start.tiles);
  await restarted(page, () => page.locator("#reset").click());
  assertSame(await look(page), start, "after a reset");
  await step(page, 2);
  assertSame(await look(page), once, "two steps after a reset");

  // Another seed is another race, and the address knows it.
  await restarted(page, () => page.keyboard.press("n"));
  const other = await look(page);
  const { config } = await stateOf(page);
  assert.notEqual(config.seed, SMALL.seed);
  assert.match(page.url(), new RegExp(`[#&]seed=${config.seed}(&|$)`));
  assert.notDeepEqual(other.sides[1].images, start.sides[1].images);
  await restarted(page, () => page.locator("#new-seed").click());
  assert.notEqual((await stateOf(page)).config.seed, config.seed);
  await restarted(page, () => goTo(page, hashOf({ ...SMALL, pace: 50 })));
  assertSame(await look(page), start, "back at the first seed");
  assert.deepEqual(page.complaints, []);
});

test("each sampler walks on both sides, with its own acceptance and T", { timeout }, async () => {
  const page = await session.open({ hash: { ...SMALL, sampler: "ula" } });
  const LEAPFROG = 2;
  for (const [sampler, gradients] of /** @type {const} */ ([["ula", 1], ["mala", 1], ["hmc", LEAPFROG]])) {
    // ULA is what the page started with.
    if (sampler !== "ula") await restarted(page, () => goTo(page, hashOf({ ...SMALL, sampler, leapfrog: LEAPFROG, "latent-T": 0.5 })));
    assert.equal((await row(page, "Acceptance")).includes("always"), sampler === "ula", `${sampler} at its start`);
    await step(page, 3);
    const seen = await look(page);
    const acceptance = await row(page, "Acceptance");
    for (const [s, side] of seen.sides.entries()) {
      assert.equal(side.gradients, 3 * gradients, sampler);
      assert.deepEqual(side.clock, [3 * gradients]);
      assert.ok(side.energy.length === SMALL.chains && side.energy.every(Number.isFinite), `${sampler}: ${side.energy}`);
      assert.equal(side.broken_chains, 0);
      if (sampler === "ula") {
        assert.equal(side.acceptance, null);
        assert.equal(acceptance[s], "always");
      } else {
        assert.ok(side.acceptance !== null && side.acceptance >= 0 && side.acceptance <= 1, `${side.acceptance}`);
        assert.equal(acceptance[s], `${Math.round(100 * side.acceptance)} %`);
      }
    }
    const T = sampler === "ula" ? "1" : "0.5";
    assert.deepEqual(await row(page, "Temperature T"), [T, T], "the pixel side follows");
    assert.equal((await row(page, "E-BFMI")).length, sampler === "hmc" ? 2 : 0);
    await shot(page, `sampler-${sampler}`);
  }
  assert.deepEqual(page.complaints, []);
});

test("a killed device comes back and the chains go on from their last state", { timeout }, async (t) => {
  const page = await session.open({ hash: { ...SMALL, pace: 1 } });
  await watch(page);
  await runFor(page, 2, () => page.locator("#play").click());
  const lost = (await seenBy(page)).clocks.at(-1) ?? 0;
  const began = performance.now();
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  const told = await noticeText(page, "recovered");
  t.diagnostic(`back after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  assert.match(told, /device was lost/i);
  assert.match(told, /go on from their last state/);
  const { index } = await look(page);
  await page.waitForFunction((least) => /** @type {any} */ (globalThis).mixwellTest.lastFrame().index >= least, index + 2, { timeout: 120_000 });
  assert.equal(await phase(page), "running", "it runs on by itself");
  await shot(page, "device-recovered");
  await page.keyboard.press(" ");
  await page.waitForFunction(() => document.getElementById("status")?.textContent?.startsWith("Paused."));
  assert.equal((await reportOf(page)).runtime, "webgpu");

  // A step settles the frame that was under way when the pause came.
  await step(page);
  const { clocks } = await seenBy(page);
  assert.ok((clocks.at(-1) ?? 0) > lost, `the clock went on: ${clocks}`);
  assert.deepEqual(clocks, clocks.toSorted((a, b) => a - b), "the clock never went back");

  // The same chains as if nothing had happened.
  const disturbed = await look(page);
  await restarted(page, () => page.keyboard.press("r"));
  await step(page, disturbed.sides[0].transitions);
  const undisturbed = await look(page);
  assert.deepEqual(disturbed.sides.map(({ energy }) => energy), undisturbed.sides.map(({ energy }) => energy));
  assert.ok(disturbed.tiles.join() === undisturbed.tiles.join(), "and the same images");
});
