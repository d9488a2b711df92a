// The owner's side of the engine, with a worker that a test scripts.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Engine } from "../../../engine/host.js";
import { failing, ScriptedWorker, setGlobal } from "./scripted.js";

/** @type {[kind: string, message: string, told: boolean][]} */
let lost = [];
/** @param {import("node:test").TestContext} t @param {Record<string, any>} answers */
function begin(t, answers = {}) {
  setGlobal(t, "Worker", ScriptedWorker);
  ScriptedWorker.begin(answers);
  const engine = new Engine(({ kind, message }, told) => lost.push([kind, message, told]));
  return { engine, worker: /** @type {ScriptedWorker} */ (ScriptedWorker.all[0]) };
}
beforeEach(() => {
  lost = [];
});

test("answers reach the calls that they belong to, in whatever order they come", async (t) => {
  const { engine, worker } = begin(t);
  assert.match(String(worker.url), /\/engine\/engine\.js$/);
  assert.equal(worker.options?.type, "module");
  const calls = [engine.call("reset", 1), engine.call("reset", 2), engine.call("advance", 3)];
  assert.deepEqual(worker.requests.map(({ op, args }) => [op, args]), [["reset", [1]], ["reset", [2]], ["advance", [3]]]);
  const numbers = worker.requests.map(({ call }) => call);
  assert.deepEqual(numbers, [1, 2, 3], "they count up");
  for (const number of numbers.toReversed()) worker.tell({ call: number, value: `answer ${number}` });
  assert.deepEqual(await Promise.all(calls), ["answer 1", "answer 2", "answer 3"]);
});

test("an error of one call leaves the engine alive, unless its memory may be damaged", async (t) => {
  for (const kind of /** @type {const} */ (["bad-config", "network", "aborted"])) {
    const { engine, worker } = begin(t, { configure: failing(kind, "no"), reset: 5 });
    await assert.rejects(engine.call("configure", /** @type {any} */ ({})), { name: "Failure", kind, message: "no" });
    assert.equal(await engine.call("reset", 1), 5);
    assert.equal(worker.ended, false, kind);
  }
  assert.deepEqual(lost, []);
  for (const kind of /** @type {const} */ (["panic", "device-lost", "out-of-memory"])) {
    lost = [];
    const { engine, worker } = begin(t, { configure: failing(kind, "gone"), reset: 5 });
    const other = engine.call("advance", 1);
    other.catch(() => {});
    await assert.rejects(engine.call("configure", /** @type {any} */ ({})), { kind, message: "gone" });
    await assert.rejects(other, { kind, message: "gone" });
    assert.ok(worker.ended);
    await assert.rejects(engine.call("reset", 1), { kind, message: "gone" });
    assert.equal(worker.asked.length, 2, "a dead engine is asked no more");
    assert.deepEqual(lost, [[kind, "gone", true]]);
  }
});

test("a worker whose script fails is a lost engine, and says why where the browser does", async (t) => {
  for (const [message, told] of /** @type {const} */ ([["", "engine.js did not load."], ["SyntaxError: no", "SyntaxError: no"]])) {
    lost = [];
    const { engine, worker } = begin(t);
    const call = engine.call("check", "auto");
    call.catch(() => {});
    const event = Object.assign(new Event("error", { cancelable: true }), { message });
    worker.dispatchEvent(event);
    assert.ok(event.defaultPrevented, "it is not reported a second time");
    await assert.rejects(call, { kind: "network", message: told });
    assert.deepEqual(lost, [["network", told, true]]);
  }
});

test("whoever ends the engine is not told of its end, but a waiting call is", async (t) => {
  const { engine, worker } = begin(t);
  const call = engine.call("advance", 1);
  engine.terminate();
  await assert.rejects(call, { kind: "aborted", message: "The engine was stopped." });
  await assert.rejects(engine.call("advance", 1), { kind: "aborted" });
  assert.ok(worker.ended);
  worker.ended = false;
  worker.fail(failing("device-lost", "gone"));
  assert.deepEqual(lost, []);
});

test("the owner knows of the loss before the waiting calls do, and only once", async (t) => {
  const { engine, worker } = begin(t);
  /** @type {string[]} */
  const order = [];
  engine.onFailure = (_, told) => order.push(`owner, ${told ? "told" : "untold"}`);
  const call = engine.call("advance", 1).catch(() => order.push("call"));
  worker.fail(failing("device-lost", "gone"));
  await call;
  worker.ended = false;
  worker.fail(failing("panic", "again"));
  assert.deepEqual(order, ["owner, told", "call"]);
  await assert.rejects(engine.call("advance", 1), { kind: "device-lost" });
});
