// The race as a visitor meets it: looks, controls, samplers, a lost device. All of it is the same
// for both builds; the CPU build is far faster than a software WebGPU adapter. What only WebGPU
// can show is in webgpu.test.js.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { assertAccessible, assertAsNative, assertPausedAtOnce, assertSame, frameFrom, goTo, hashOf, LONGEST_TEST_MS, look, nativeHash, nativeReport, NO_NATIVE, noticeText, pauseBy, phase, reportOf, restarted, row, runFor, shot, SMALL, startSession, stateOf, step, watch } from "./harness.js";

/** @import { Page } from "playwright-core" */

const timeout = LONGEST_TEST_MS;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
before(async () => {
  session = await startSession();
});
afterEach(() => session.tidy());
after(() => session?.end());

test("the page is accessible in light, in dark and on a phone", { timeout }, async () => {
  const page = await session.open({ hash: SMALL, cpu: true });
  await step(page, 2);
  for (const details of await page.locator("details").all()) await details.evaluate((element) => void (/** @type {HTMLDetailsElement} */ (element).open = true));
  for (const [name, colorScheme, width] of /** @type {const} */ ([["light", "light", 1280], ["dark", "dark", 1280], ["phone", "light", 390], ["phone-dark", "dark", 390]])) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: width < 500 ? 844 : 1100 });
    await assertAccessible(page, name);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: nothing sticks out to the side`);
    await shot(page, `page-${name}`, true);
  }
  assert.doesNotMatch(await page.locator("body").innerText(), /\[object|undefined|\bNaN\b/, "every value has words");
  await page.getByRole("button", { name: "Keys and help" }).or(page.getByRole("button", { name: "Keys" })).first().click();
  await page.getByRole("dialog").waitFor();
  await assertAccessible(page, "help");
  await shot(page, "help");
  assert.deepEqual(page.complaints, []);
});

test("twenty steps of the CPU build give the numbers of the native CPU run", { timeout, skip: nativeReport() ? false : NO_NATIVE }, async (t) => {
  const native = nativeReport();
  const page = await session.open({ hash: nativeHash(native), cpu: true });
  await assertAsNative(page, native, t);
});

test("play, pause, step, reset and new seed do exactly what they say, by button and by key", { timeout }, async (t) => {
  const page = await session.open({ hash: { ...SMALL, pace: 50 }, cpu: true });
  await watch(page);
  const click = () => page.locator("#play").click();
  const space = () => page.keyboard.press(" ");
  for (const [count, press] of [click, space, click, space, click].entries()) {
    // Space would press the button that has the focus, which is another way to the same end.
    await page.locator("h1").click();
    await runFor(page, 2, press);
    if (count === 0) await shot(page, "running");
    await pauseBy(page, press);
  }
  await assertPausedAtOnce(page, t, 5);
  await shot(page, "paused");

  // The frame under way may still arrive, and nothing after it.
  const { index: paused } = await look(page);
  const longest = await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.lastFrame().elapsed_ms);
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
  await step(page, 1, "ArrowRight");

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

test("each sampler walks on both sides, with its own acceptance, clock and T", { timeout }, async () => {
  const page = await session.open({ hash: { ...SMALL, sampler: "ula" }, cpu: true });
  const LEAPFROG = 2;
  for (const [sampler, gradients] of /** @type {const} */ ([["ula", 1], ["mala", 1], ["hmc", LEAPFROG]])) {
    // ULA is what the page started with.
    if (sampler !== "ula") await restarted(page, () => goTo(page, hashOf({ ...SMALL, sampler, leapfrog: LEAPFROG, "latent-T": 0.5 })));
    assert.equal((await row(page, "Acceptance")).includes("always"), sampler === "ula", `${sampler} at its start`);
    await step(page, 3);
    const { sides } = await look(page);
    const acceptance = await row(page, "Acceptance");
    for (const [s, side] of sides.entries()) {
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
    if (sampler !== "hmc") assert.deepEqual(await row(page, "E-BFMI"), []);
    await shot(page, `sampler-${sampler}`);
  }
  assert.deepEqual(page.complaints, []);
});

test("chains that were restored from their last state are the chains that were never disturbed", { timeout }, async () => {
  const page = await session.open({ hash: { ...SMALL, pace: 1 }, cpu: true });
  await watch(page);
  await runFor(page, 3, () => page.locator("#play").click());
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  await noticeText(page, "recovered");
  await frameFrom(page, (await look(page)).index + 3);
  assert.equal(await phase(page), "running", "it runs on by itself");
  await pauseBy(page, () => page.keyboard.press(" "));
  assert.equal((await reportOf(page)).runtime, "cpu");
  // A step settles the frame that was under way when the pause came.
  await step(page);
  const disturbed = await look(page);
  await restarted(page, () => page.keyboard.press("r"));
  await step(page, disturbed.sides[0].transitions);
  assertSame(await look(page), disturbed, "after as many steps as the disturbed race took");
});
