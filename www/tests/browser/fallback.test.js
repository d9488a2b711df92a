// Without WebGPU, or with a broken one: the CPU build takes over, and says why.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { chooseWay, errorCard, LONGEST_TEST_MS, look, noticeText, phase, ready, reportOf, shot, SMALL, startSession, step } from "./harness.js";

const timeout = LONGEST_TEST_MS;
/** @type {Awaited<ReturnType<typeof startSession>>} */
let session;

describe("a browser without WebGPU", () => {
  before(async () => {
    session = await startSession({ webgpu: false });
  });
  afterEach(() => session.tidy());
  after(() => session?.end());

  test("runs on the CPU and says why", { timeout }, async () => {
    const { server, open } = session;
    const page = await open({ hash: SMALL });
    const report = await reportOf(page);
    assert.equal(report.runtime, "cpu");
    assert.ok(["no-adapter", "no-webgpu"].includes(report.reason_kind), report.reason_kind);
    const notice = await noticeText(page, "cpu");
    assert.match(notice, /Running on the CPU: no (WebGPU|graphics adapter)\./);
    assert.match(notice, /slower/);
    assert.equal(server.count("/mixwell-webgpu_bg.wasm"), 0, "the WebGPU build is not even loaded");
    assert.equal(server.count("/mixwell-cpu_bg.wasm"), 1);
    const start = await look(page);
    await step(page, 3);
    const after = await look(page);
    for (const side of [0, 1]) {
      assert.equal(after.sides[side].gradients, 3);
      assert.ok(after.sides[side].energy.every(Number.isFinite));
      assert.notDeepEqual(after.sides[side].images, start.sides[side].images);
    }
    await shot(page, "no-webgpu");
    assert.deepEqual(page.complaints, []);
  });
});

describe("a browser with WebGPU", () => {
  before(async () => {
    session = await startSession();
  });
  afterEach(() => session.tidy());
  after(() => session?.end());

  test("uses the CPU when asked to, and says so", { timeout }, async () => {
    const page = await session.open({ hash: SMALL, cpu: true });
    assert.equal((await reportOf(page)).reason_kind, "asked");
    assert.match(await noticeText(page, "cpu"), /Running on the CPU\. The CPU build was requested\./);
    await step(page, 1);
    await shot(page, "cpu-asked");
    assert.deepEqual(page.complaints, []);
  });

  test("a software adapter is left for the CPU build, with a way to use it all the same", { timeout }, async () => {
    const { server } = session;
    const page = await session.open({ hash: SMALL });
    assert.equal((await reportOf(page)).reason_kind, "software");
    assert.match(await noticeText(page, "cpu"), /there is no graphics processor\. The graphics adapter \(.*swiftshader.*\) itself computes on the CPU/i);
    assert.equal(server.count("/mixwell-webgpu_bg.wasm"), 0, "the WebGPU build is not even loaded");
    await step(page, 1);
    await shot(page, "software");
    assert.deepEqual(page.complaints, []);
    const link = page.locator("#notices a", { hasText: "Use WebGPU all the same" });
    const { searchParams, hash } = new URL(String(await link.evaluate((a) => /** @type {HTMLAnchorElement} */ (a).href)));
    assert.equal(searchParams.get("runtime"), "webgpu");
    assert.match(hash, /seed=7/, "the settings are kept");
  });

  test("a WebGPU build that does not load gives way to the CPU build", { timeout }, async () => {
    const { server, open } = session;
    server.fault("/mixwell-webgpu_bg.wasm", { kind: "missing" });
    const page = await open({ hash: SMALL, runtime: "webgpu" });
    assert.equal((await reportOf(page)).reason_kind, "broken");
    assert.match(await noticeText(page, "cpu"), /WebGPU did not work here\..*did not start/);
    await step(page, 1);
    await shot(page, "webgpu-broken");
  });

  test("an adapter that is there only at the second asking is used", { timeout }, async () => {
    const { server, open } = session;
    const once = "const { requestAdapter } = GPU.prototype; GPU.prototype.requestAdapter = async function () { GPU.prototype.requestAdapter = requestAdapter; return null; };\n";
    server.fault("/engine.js", { kind: "preface", script: once });
    // Without its build, which takes a minute to start on a software adapter.
    server.fault("/mixwell-webgpu_bg.wasm", { kind: "missing" });
    const page = await open({ hash: SMALL, runtime: "webgpu" });
    assert.equal((await reportOf(page)).reason_kind, "broken", "WebGPU was tried, not given up for want of an adapter");
    assert.ok(server.count("/mixwell-webgpu_bg.wasm") > 0);
  });

  test("a crash of the engine shows what happened and a way on", { timeout }, async () => {
    const page = await session.open({ hash: SMALL, cpu: true });
    const engine = page.workers().find((worker) => worker.url().endsWith("/engine.js"));
    assert.ok(engine, "the engine is a worker");
    // As a panic inside a spawned future arrives: outside of every promise.
    await engine.evaluate(() => {
      setTimeout(() => {
        throw new Error("panicked at a rehearsal");
      });
    });
    assert.match(await errorCard(page, "panic"), /panicked at a rehearsal/);
    const copy = page.getByRole("button", { name: "Copy the report" });
    assert.ok(await copy.isEnabled());
    await shot(page, "crash");
    await chooseWay(page, "Start again");
    await ready(page);
    await step(page, 1);
  });

  test("a device that keeps going away is given up, with a way on", { timeout }, async () => {
    const page = await session.open({ hash: SMALL, cpu: true });
    for (let loss = 1; loss <= 3; loss += 1) {
      await page.locator('#notices li[data-key="recovered"]').evaluateAll((items) => items.forEach((item) => item.remove()));
      const before = await look(page);
      await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
      await noticeText(page, "recovered");
      // While it rested, nothing may have changed.
      const after = await look(page);
      assert.equal(after.index, before.index);
      assert.ok(after.tiles.join() === before.tiles.join(), "the images stayed");
      assert.equal(await phase(page), "ready");
      await step(page, 1);
    }
    await page.evaluate(() => /** @type {any} */ (globalThis).mixwellTest.loseDevice());
    assert.match(await errorCard(page, "device-lost"), /lost 4 times/);
    await shot(page, "device-lost-for-good");
    await chooseWay(page, "Start again");
    await ready(page);
    await step(page, 1);
  });
});
