// The race on WebGPU. A software adapter takes 18 CPU seconds for a transition of the shipped model
// and a minute of CPU to start (94 % of both in matrix products), so these tests share one page,
// take few steps, and leave to race.test.js what is the same on the CPU build. Each of them can
// still run alone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { assertAsNative, assertPausedAtOnce, assertSame, frameFrom, goTo, hashOf, LONGEST_WEBGPU_TEST_MS, look, model, nativeHash, nativeReport, NO_NATIVE, noticeText, pauseBy, phase, ready, reportOf, restarted, row, runFor, seenBy, shot, SMALL, startSession, stateOf, step, watch, weights } from "./harness.js";

/** @import { WatchedPage } from "./harness.js" */

const timeout = LONGEST_WEBGPU_TEST_MS;

/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;
/** @type {WatchedPage | null} */
let shared = null;
before(async () => {
  session = await startSession();
});
after(() => session?.end());

/** A page that stands at the start of a race. @param {Record<string, string | number>} hash */
async function racePage(hash) {
  const page = shared;
  if (!page) return (shared = await session.open({ hash, runtime: "webgpu" }));
  if ((await phase(page)) === "running") await page.keyboard.press(" ");
  page.complaints.length = 0;
  await restarted(page, () => goTo(page, hashOf(hash)));
  return page;
}

test("the page loads, runs on WebGPU and complains about nothing", { timeout }, async () => {
  const { server, open } = session;
  // Half of the weights, so that the download can be looked at.
  server.fault(weights.path, { kind: "hold", bytes: weights.bytes >> 1 });
  const page = await open({ hash: { ...SMALL, model: model.name }, runtime: "webgpu", wait: false });
  shared = page;
  const bytes = model.files.filter(({ path }) => ["card.json", "weights.safetensors"].includes(path)).reduce((sum, file) => sum + file.bytes, 0);
  const size = `${(bytes / 1e6).toFixed(1)} MB`;
  const card = page.locator("#card");
  await card.getByRole("heading", { name: model.title }).waitFor({ timeout: 60_000 });
  assert.ok((await card.innerText()).includes(size), `the card tells ${size}: ${await card.innerText()}`);
  await page.locator("#card .bytes", { hasText: /weights\.safetensors/ }).waitFor();
  await shot(page, "downloading");
  server.heal();
  await ready(page);

  assert.match(await page.title(), /mixwell/);
  assert.equal(await page.locator("h1").innerText(), "One model, two spaces");
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
  assert.deepEqual(page.complaints, []);

  // A listener that hears nothing proves nothing.
  const engine = page.workers().find((worker) => worker.url().endsWith("/engine.js"));
  assert.ok(engine, "the engine is a worker");
  const heard = page.waitForEvent("console", (message) => message.text() === "can you hear me");
  await engine.evaluate(() => console.error("can you hear me"));
  await heard;
  assert.deepEqual(page.complaints, ["can you hear me"]);
});

test("twenty steps on both sides give the numbers of the native CPU run", { timeout, skip: nativeReport() ? false : NO_NATIVE }, async (t) => {
  const native = nativeReport();
  const page = await racePage(nativeHash(native));
  assert.equal((await reportOf(page)).runtime, "webgpu");
  await assertAsNative(page, native, t);
  await shot(page, "parity");
  assert.deepEqual(page.complaints, []);
});

test("pause answers within 100 ms while the adapter is busy, and a reset is exact", { timeout }, async (t) => {
  const page = await racePage({ ...SMALL, pace: 50 });
  await watch(page);
  const start = await look(page);
  await step(page, 1, ".");
  const once = await look(page);
  for (const side of [0, 1]) {
    assert.equal(once.sides[side].gradients, 1);
    assert.deepEqual(once.sides[side].clock, [1]);
  }
  const click = () => page.locator("#play").click();
  const space = () => page.keyboard.press(" ");
  for (const press of [click, space, click]) {
    await page.locator("h1").click();
    await runFor(page, 1, press);
    await pauseBy(page, press);
  }
  await assertPausedAtOnce(page, t, 3);
  await shot(page, "webgpu-paused");

  await restarted(page, () => page.keyboard.press("r"));
  assertSame(await look(page), start, "after a reset");
  await step(page);
  assertSame(await look(page), once, "a step after a reset");
  await restarted(page, () => page.keyboard.press("n"));
  assert.notEqual((await stateOf(page)).config.seed, SMALL.seed);
  assert.notDeepEqual((await look(page)).sides[1].images, start.sides[1].images);
  assert.deepEqual(page.complaints, []);
});

test("MALA and HMC walk on both sides", { timeout }, async () => {
  for (const [sampler, gradients] of /** @type {const} */ ([["mala", 1], ["hmc", 2]])) {
    const page = await racePage({ ...SMALL, sampler, leapfrog: 2 });
    await step(page);
    const { sides } = await look(page);
    const acceptance = await row(page, "Acceptance");
    for (const [s, side] of sides.entries()) {
      assert.equal(side.gradients, gradients, sampler);
      assert.ok(side.energy.length === SMALL.chains && side.energy.every(Number.isFinite), `${sampler}: ${side.energy}`);
      assert.ok(side.acceptance !== null && side.acceptance >= 0 && side.acceptance <= 1, `${side.acceptance}`);
      assert.equal(acceptance[s], `${Math.round(100 * side.acceptance)} %`);
    }
    assert.deepEqual(await row(page, "Temperature T"), ["1", "1"]);
    await shot(page, `webgpu-${sampler}`);
    assert.deepEqual(page.complaints, []);
  }
});

test("a killed device comes back while running, and the chains go on from their last state", { timeout }, async (t) => {
  const page = await racePage({ ...SMALL, pace: 1 });
  await watch(page);
  await runFor(page, 1, () => page.locator("#play").click());
  const before = performance.now();
  await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
  const told = await noticeText(page, "recovered");
  t.diagnostic(`back after ${((performance.now() - before) / 1000).toFixed(1)} s`);
  assert.match(told, /device was lost/i);
  assert.match(told, /continue from their last state/);
  await shot(page, "device-recovered");
  await frameFrom(page, (await look(page)).index + 1);
  assert.equal(await phase(page), "running", "it runs on by itself");
  assert.equal((await reportOf(page)).runtime, "webgpu");
  await pauseBy(page, () => page.keyboard.press(" "));

  const { frames } = await seenBy(page);
  const clocks = frames.map(({ clock }) => clock);
  assert.deepEqual(clocks, clocks.toSorted((a, b) => a - b), "the clock never went back");
  // The frame of the restored state is the one frame that came twice.
  const twice = frames.filter((frame, i) => i > 0 && frames[i - 1].index === frame.index);
  assert.equal(twice.length, 1, `frames ${frames.map(({ index }) => index)}`);
  const [first, again] = frames.filter(({ index }) => index === twice[0].index);
  assert.ok(first.images === again.images, "the restored images are the last ones");
  const next = frames.find(({ index }) => index === twice[0].index + 1);
  assert.ok(next && next.clock === again.clock + 1 && next.images !== again.images, "and they move on");
});
