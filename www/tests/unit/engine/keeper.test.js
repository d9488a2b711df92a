// The keeper with a worker that a test scripts, and losses of the device, counted.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Keeper, Losses } from "../../../engine/keeper.js";

/** What a worker answers to each call: a value, or an error to report. */
let answers = {};
/** Every worker so far, with what it was asked. */
let workers = [];

class FakeWorker extends EventTarget {
  asked = [];
  ended = false;
  constructor() {
    super();
    workers.push(this);
  }
  postMessage({ call, op, args }) {
    this.asked.push([op, ...args]);
    const answer = answers[op];
    const given = typeof answer === "function" ? answer(...args) : answer;
    if (given === undefined) return;
    queueMicrotask(() => this.tell(given instanceof Error ? { call, error: { kind: given.cause ?? "panic", message: given.message, detail: "" } } : { call, value: given }));
  }
  tell(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
  terminate() {
    this.ended = true;
  }
}

const GPU = { runtime: "webgpu" };
const CPU = { runtime: "cpu" };
const real = globalThis.Worker;
beforeEach(() => {
  workers = [];
  answers = { check: (choice) => (choice === "cpu" ? CPU : GPU), start: null };
  globalThis.Worker = FakeWorker;
});
afterEach(() => {
  globalThis.Worker = real;
});
const failing = (kind, message) => new Error(message, { cause: kind });

test("an engine starts on the device that the check finds, or on the one that is wanted", async () => {
  const keeper = new Keeper(() => assert.fail("nothing was lost"));
  assert.deepEqual(await keeper.start("webgpu"), GPU);
  assert.deepEqual(workers[0].asked, [["check", "webgpu"], ["start", "webgpu"]]);
  assert.deepEqual(await keeper.start("cpu"), CPU);
  assert.ok(workers[0].ended && !workers[1].ended, "one engine at a time");
  assert.deepEqual(workers[1].asked, [["check", "cpu"], ["start", "cpu"]]);
  assert.deepEqual(keeper.report, CPU);
  keeper.end();
  assert.ok(workers[1].ended);
  await assert.rejects(keeper.call("load"), { message: "The engine is not running." });
});

test("where the WebGPU build does not start, the CPU build does, and the report says why", async () => {
  answers.start = (runtime) => (runtime === "webgpu" ? failing("device-lost", "no such adapter") : null);
  const keeper = new Keeper(() => {});
  const report = await keeper.startSomehow("webgpu");
  assert.deepEqual([report.runtime, report.reason_kind], ["cpu", "broken"]);
  assert.match(report.reason, /no such adapter/);
  assert.equal(keeper.report, report);
  assert.equal(workers.length, 2);
});

test("the CPU build is not tried where it would not help", async () => {
  // It failed itself; the check failed; another start was asked for.
  for (const [wanted, change, kind] of [
    ["cpu", { start: failing("network", "no file") }, "network"],
    ["webgpu", { check: failing("network", "no file") }, "network"],
    ["webgpu", { start: failing("aborted", "another start") }, "aborted"],
  ]) {
    workers = [];
    answers = { check: (choice) => (choice === "cpu" ? CPU : GPU), start: null, ...change };
    await assert.rejects(new Keeper(() => {}).startSomehow(wanted), { kind });
    assert.equal(workers.length, 1, `${wanted}, ${kind}`);
  }
});

const info = (passed) => ({ self_test: { passed, max_relative_error: 0.25, tolerance: 1e-3 } });

test("a graphics adapter that fails the self-test is left for the CPU, and the model is loaded again there", async () => {
  const keeper = new Keeper(() => {});
  await keeper.start("webgpu");
  const told = [];
  let loads = 0;
  const loaded = await keeper.loadTested(async () => info((loads += 1) > 1), (reason) => told.push(reason));
  assert.deepEqual([loads, loaded.self_test.passed, keeper.report?.runtime], [2, true, "cpu"]);
  assert.match(told[0], /self-test failed.*off by 2.5e-1; at most 1.0e-3/);
  assert.equal(keeper.report?.reason, told[0]);
});

test("a CPU that fails the self-test is an error, and so is any other failure of a load", async () => {
  for (const [runtime, load, kind] of [
    ["cpu", async () => info(false), "self-test"],
    ["webgpu", async () => info(false), "self-test"],
    ["webgpu", async () => { throw failing("network", "no file"); }, undefined],
  ]) {
    const keeper = new Keeper(() => {});
    await keeper.start(runtime);
    await assert.rejects(keeper.loadTested(load, () => {}), kind ? { kind } : { message: "no file" });
  }
  const keeper = new Keeper(() => {});
  await keeper.start("webgpu");
  assert.equal((await keeper.loadTested(async () => info(true), () => assert.fail("it passed"))).self_test.passed, true);
  assert.equal(keeper.report?.runtime, "webgpu");
});

test("the loss of the current engine is told, that of a replaced one is not", async () => {
  const lost = [];
  const keeper = new Keeper((error, told) => lost.push([error.kind, told]));
  await keeper.start("webgpu");
  workers[0].tell({ failure: { kind: "device-lost", message: "gone", detail: "" } });
  const first = [...lost];
  // A dead engine refuses with the reason of its failure.
  await assert.rejects(keeper.call("load"), { kind: "device-lost", message: "gone" });
  await keeper.start("cpu");
  workers[0].tell({ failure: { kind: "device-lost", message: "gone", detail: "" } });
  assert.deepEqual([first, lost], [[["device-lost", false]], [["device-lost", false]]]);
  // With a call waiting, whoever waits is told too.
  answers.load = undefined;
  const waiting = keeper.call("load");
  workers[1].tell({ failure: { kind: "out-of-memory", message: "too much", detail: "" } });
  await assert.rejects(waiting, { kind: "out-of-memory" });
  assert.deepEqual(lost[1], ["out-of-memory", true]);
});

test("three losses within a minute are borne, the fourth is not", (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const losses = new Losses();
  for (let loss = 1; loss <= 3; loss += 1) {
    losses.add();
    assert.equal(losses.tooMany(), null, `loss ${loss}`);
    now += 1000;
  }
  losses.add();
  const told = losses.tooMany("The driver went away.", "reason: unknown");
  assert.equal(told?.kind, "device-lost");
  assert.equal(told?.message, "The device was lost 4 times within a minute. The driver went away.");
  assert.equal(told?.detail, "reason: unknown");
  now += 61_000;
  losses.add();
  assert.equal(losses.tooMany(), null, "what lies a minute back is forgotten");
});
