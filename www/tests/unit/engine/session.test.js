// The page's engine: one question at a time, and what happens to them when it is lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Session } from "../../../engine/session.js";
import { failing, ScriptedWorker, setGlobal, settled } from "./scripted.js";

/** @type {string[]} */
let lost = [];
/** A session of the Studio. @param {import("node:test").TestContext} t @param {Record<string, any>} answers */
async function begin(t, answers = {}) {
  setGlobal(t, "Worker", ScriptedWorker);
  ScriptedWorker.begin({ check: { runtime: "cpu" }, start: null, ...answers });
  lost = [];
  const session = /** @type {any} */ (new Session("studio", (error) => lost.push(/** @type {Error} */ (error).message)));
  await session.start("cpu");
  return { session, worker: /** @type {ScriptedWorker} */ (ScriptedWorker.all[0]) };
}
/** @param {ScriptedWorker} worker */
const questions = (worker) => worker.requests.filter(({ op }) => op === "studio");

test("a question waits for the answer to the one before", async (t) => {
  const { session, worker } = await begin(t);
  const answers = [session.ask("first", 1, 2), session.ask("second"), session.ask("third")];
  await settled();
  assert.deepEqual(questions(worker).map(({ args }) => args), [["first", [1, 2]]]);
  assert.equal(session.pending, 3);
  worker.tell({ call: questions(worker)[0]?.call, value: "one" });
  assert.equal(await answers[0], "one");
  await settled();
  assert.equal(session.pending, 2);
  assert.deepEqual(questions(worker)[1]?.args, ["second", []]);
  // An error is one question's own.
  worker.tell({ call: questions(worker)[1]?.call, error: { kind: "bad-config", message: "no", detail: "" } });
  await assert.rejects(answers[1], { kind: "bad-config" });
  await settled();
  worker.tell({ call: questions(worker)[2]?.call, value: "three" });
  assert.equal(await answers[2], "three");
  await settled();
  assert.equal(session.pending, 0);
  assert.deepEqual(lost, []);
});

test("a new engine does not wait for the questions to the old one, and does not get them", async (t) => {
  const { session, worker } = await begin(t);
  const old = [session.ask("long"), session.ask("queued")];
  const ends = Promise.allSettled(old);
  await settled();
  await session.start("cpu");
  const [, next] = ScriptedWorker.all;
  const fresh = session.ask("fresh");
  await settled();
  assert.deepEqual((await ends).map((end) => end.status === "rejected" && end.reason.kind), ["aborted", "aborted"]);
  assert.deepEqual(questions(/** @type {ScriptedWorker} */ (next)).map(({ args }) => args[0]), ["fresh"]);
  next?.tell({ call: questions(/** @type {ScriptedWorker} */ (next))[0]?.call, value: 5 });
  assert.equal(await fresh, 5);
  assert.equal(questions(worker).length, 1);
  assert.equal(session.pending, 0);
});

test("a loss is told to the page only where no question waits for it", async (t) => {
  const first = await begin(t);
  first.worker.fail(failing("device-lost", "while idle"));
  assert.deepEqual(lost, ["while idle"]);
  const second = await begin(t);
  const asked = second.session.ask("long");
  await settled();
  second.worker.fail(failing("device-lost", "while asked"));
  await assert.rejects(asked, { message: "while asked" });
  assert.deepEqual(lost, []);
});

test("random words and the loss of the device go past the queue", async (t) => {
  const { session, worker } = await begin(t, { random_words: (/** @type {number[]} */ ...args) => args, lose_device: "lost" });
  session.ask("long").catch(() => {});
  await settled();
  assert.deepEqual(await session.words(1, 2, 3, 4), [1, 2, 3, 4]);
  assert.equal(await session.loseDevice(), "lost");
  assert.deepEqual(worker.asked.slice(-2), [["random_words", 1, 2, 3, 4], ["lose_device"]]);
});
