// The race's conductor, with an engine that a test scripts, a server and a cache in memory, and a clock
// that a test moves.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Clock, failing, Scope, ScriptedWorker, seen, setGlobal, settled } from "../engine/scripted.js";

/** @typedef {import("node:test").TestContext} TestContext */

const CONTENTS = /** @type {Record<string, string>} */ ({ "card.json": '{"name":"tiny"}', "weights.safetensors": "0123456789".repeat(50) });
const files = Object.entries(CONTENTS).map(([path, text]) => ({ path, bytes: Buffer.byteLength(text), sha256: createHash("sha256").update(text).digest("hex") }));
const MANIFEST = { version: 1, models: ["tiny", "other"].map((name) => ({ name, title: name, spaces: ["pixel", "latent"], files })) };

const GPU = { runtime: "webgpu", reason_kind: null };
const CPU = { runtime: "cpu", reason_kind: "asked" };
/** @param {boolean} passed */
const info = (passed) => ({ shape: [1, 2, 2], self_test: { passed, max_relative_error: 0.25, tolerance: 1e-3 } });
/** @param {number} index */
function frameOf(index) {
  const shared = new Float32Array([1, 2]);
  const side = () => ({ images: new Uint8Array(4), trace_clock: new Float32Array(1), traces: { energy: shared, pc1: new Float32Array(1) } });
  return { index, sides: [side(), side()] };
}

let conductors = 0;
/**
 * A fresh conductor.
 * @param {TestContext} t
 * @param {Record<string, any>} [answers] of the engine
 * @param {object} [world]
 * @param {(path: string, signal: AbortSignal | null | undefined) => Response | undefined} [world.serve] may replace an answer of the server
 * @param {object | undefined} [world.caches]
 */
async function begin(t, answers = {}, world = {}) {
  const clock = new Clock(t);
  const scope = new Scope();
  setGlobal(t, "self", scope);
  setGlobal(t, "Worker", ScriptedWorker);
  /** @type {string[]} */
  const fetched = [];
  setGlobal(t, "fetch", async (/** @type {URL} */ url, /** @type {RequestInit} */ init) => {
    const path = url.pathname.split("/race/models/")[1] ?? url.pathname;
    fetched.push(path);
    init.signal?.throwIfAborted();
    return world.serve?.(path, init.signal) ?? (path === "manifest.json" ? Response.json(MANIFEST) : new Response(CONTENTS[path.split("/")[1] ?? ""]));
  });
  /** @type {Map<string, Response>} */
  const stored = new Map();
  const cache = {
    match: async (/** @type {string} */ url) => stored.get(url)?.clone(),
    put: async (/** @type {string} */ url, /** @type {Response} */ response) => void stored.set(url, response),
    delete: async (/** @type {any} */ request) => stored.delete(request.url ?? request),
    keys: async () => [...stored.keys()].map((url) => ({ url })),
  };
  setGlobal(t, "caches", "caches" in world ? world.caches : { open: async () => cache });
  setGlobal(t, "navigator", { storage: { estimate: async () => ({ usage: 5, quota: 900 }) } });
  let frames = 0;
  const result = () => ({ frame: frameOf((frames += 1)), checkpoint: `state ${frames}` });
  ScriptedWorker.begin({
    check: (/** @type {string} */ choice) => (choice === "cpu" ? CPU : GPU),
    start: null,
    load: () => info(true),
    configure: (/** @type {object} */ config) => ({ config: { ...config, filled: true }, traced: ["energy"], gradients_per_transition: 1 }),
    reset: result,
    restore: result,
    lose_device: null,
    ...answers,
  });
  await import(`../../../race/worker.js?${(conductors += 1)}`);
  let last = 0;
  const posted = () => scope.posted.map(({ data }) => data);
  /** @param {string} type @param {object} [more] */
  const send = (type, more) => {
    scope.receive({ type, id: (last += 1), ...more });
    return last;
  };
  /** @param {string} type @param {number} [id] */
  const reply = (type, id) => seen(() => posted().find((data) => data.type === type && (id === undefined || data.id === id)), `“${type}” for ${id}`);
  /** Sends a request and waits for its answer. @param {string} type @param {object} more @param {string} answer */
  const ask = (type, more, answer) => reply(answer, send(type, more));
  return {
    clock,
    scope,
    fetched,
    stored,
    posted,
    send,
    reply,
    ask,
    result,
    /** What was posted since the last call, as type and id. @returns {[string, number][]} */
    news: ((seenBefore = 0) => () => {
      const fresh = posted().slice(seenBefore);
      seenBefore = posted().length;
      return fresh.map(({ type, id }) => /** @type {[string, number]} */ ([type, id]));
    })(),
    /** Up to a configured race. @param {object} [check] */
    ready: async (check = { choice: "auto" }) => {
      await ask("check", check, "checked");
      await ask("load", { model: "tiny" }, "loaded");
      await ask("configure", { config: { seed: 7 } }, "configured");
    },
  };
}
/** The engine of the moment. */
const engine = () => /** @type {ScriptedWorker} */ (ScriptedWorker.all.at(-1));
/** The ops that it was asked for. @param {ScriptedWorker} [worker] */
const ops = (worker = engine()) => worker.asked.map(([op]) => op);
const lost = failing("device-lost", "The driver went away.");

test("the check starts the engine that is asked for, and reports it", async (t) => {
  const { ask } = await begin(t);
  assert.deepEqual((await ask("check", { choice: "auto" }, "checked")).report, GPU);
  assert.deepEqual(engine().asked, [["check", "auto"], ["start", "webgpu"]]);
  assert.deepEqual((await ask("check", { choice: "cpu" }, "checked")).report, CPU);
  assert.deepEqual(ScriptedWorker.all.map(({ ended }) => ended), [true, false]);
});

test("the list has the models, those that are stored, and the room that there is", async (t) => {
  const { ask, fetched } = await begin(t);
  const list = async () => (({ manifest, cached, quota }) => ({ names: manifest.models.map((/** @type {{ name: string }} */ { name }) => name), cached, quota }))(await ask("list", {}, "listed"));
  assert.deepEqual(await list(), { names: ["tiny", "other"], cached: [], quota: { usage: 5, quota: 900 } });
  await ask("check", { choice: "auto" }, "checked");
  await ask("load", { model: "tiny" }, "loaded");
  assert.deepEqual((await list()).cached, ["tiny"]);
  assert.deepEqual(fetched, ["manifest.json", "tiny/card.json", "tiny/weights.safetensors", "manifest.json"], "a list is fresh, a load takes the last one");
  for (const [navigator, quota] of /** @type {const} */ ([
    [{}, null],
    [{ storage: {} }, null],
    [{ storage: { estimate: async () => { throw new Error("denied"); } } }, null],
    [{ storage: { estimate: async () => ({}) } }, { usage: 0, quota: 0 }],
  ])) {
    setGlobal(t, "navigator", navigator);
    assert.deepEqual((await list()).quota, quota);
  }
  const other = await begin(t);
  await other.ask("check", { choice: "auto" }, "checked");
  await other.ask("load", { model: "other" }, "loaded");
  assert.equal(other.fetched[0], "manifest.json", "a load without a list fetches it");
});

test("a model is downloaded, compiled and told, and the next visit has it", async (t) => {
  const { ask, send, news, fetched, reply, stored } = await begin(t);
  await ask("check", { choice: "auto" }, "checked");
  news();
  const id = send("load", { model: "tiny" });
  const loaded = await reply("loaded", id);
  assert.deepEqual([loaded.info, loaded.from_cache, loaded.cached, loaded.report], [info(true), false, true, GPU]);
  const types = news();
  assert.ok(types.every((news) => news[1] === id));
  assert.deepEqual(types.slice(-2).map(([type]) => type), ["compiling", "loaded"]);
  assert.deepEqual(engine().asked.at(-1), ["load", { name: "tiny" }, new TextEncoder().encode(CONTENTS["weights.safetensors"])]);
  const again = await ask("load", { model: "tiny" }, "loaded");
  assert.deepEqual([again.from_cache, fetched.length], [true, 3]);
  assert.equal((await ask("forget", { model: "tiny" }, "forgotten")).model, "tiny");
  assert.equal(stored.size, 0);
  const { error } = await ask("load", { model: "missing" }, "failed");
  assert.deepEqual([error.kind, error.message], ["bad-model", "The manifest has no model named missing."]);
});

test("a browser that does not store the model says so", async (t) => {
  const { ask, send, reply } = await begin(t, {}, { caches: undefined });
  await ask("check", { choice: "auto" }, "checked");
  const id = send("load", { model: "tiny" });
  const note = await reply("note", id);
  assert.equal(note.kind, "quota");
  assert.match(note.message, /kept in memory only/);
  assert.equal((await reply("loaded", id)).cached, false);
});

test("a model counts as forgotten when it is gone, and not before", async (t) => {
  const cache = { keys: async () => { throw new Error("the disk is gone"); } };
  const { ask } = await begin(t, {}, { caches: { open: async () => cache } });
  assert.equal((await ask("forget", { model: "tiny" }, "failed")).error.message, "the disk is gone");
});

test("a graphics adapter that fails the self-test is left for the CPU, with a note", async (t) => {
  let loads = 0;
  const { ask, send, reply } = await begin(t, { load: () => info((loads += 1) > 1) });
  await ask("check", { choice: "auto" }, "checked");
  const id = send("load", { model: "tiny" });
  const note = await reply("note", id);
  assert.deepEqual([note.kind, /^The self-test failed .* The model runs on the CPU instead\.$/.test(note.message)], ["self-test", true]);
  const { report } = await reply("loaded", id);
  assert.deepEqual([report.runtime, report.reason_kind], ["cpu", "broken"]);
});

/** A body that a test sends piece by piece. */
function pieces() {
  /** @type {ReadableStreamDefaultController<Uint8Array>} */
  let controller;
  const body = new ReadableStream({ start: (given) => void (controller = given) });
  return { response: () => new Response(body), send: (/** @type {string} */ text) => controller.enqueue(new TextEncoder().encode(text)), end: () => controller.close(), fail: (/** @type {unknown} */ error) => controller.error(error) };
}

test("progress is told at most every 50 ms, and never an old number for longer", async (t) => {
  const { response, send, end } = pieces();
  const { clock, ask, send: request, posted, reply, fetched } = await begin(t, {}, { serve: (path) => (path.endsWith("weights.safetensors") ? response() : undefined) });
  await ask("check", { choice: "auto" }, "checked");
  const id = request("load", { model: "tiny" });
  const progress = () => posted().filter(({ type }) => type === "progress").map(({ file, loaded, total }) => [file, loaded, total]);
  const told = /** @type {[string, number, number][]} */ ([["card.json", 0, 515]]);
  const text = CONTENTS["weights.safetensors"] ?? "";
  await seen(() => fetched.includes("tiny/weights.safetensors"), "the request for the second file");
  send(text.slice(0, 100));
  await settled();
  await clock.pass(49);
  assert.deepEqual(progress(), told);
  await clock.pass(1);
  told.push(["weights.safetensors", 115, 515]);
  assert.deepEqual(progress(), told);
  await clock.pass(49);
  send(text.slice(100, 200));
  await settled();
  assert.deepEqual(progress(), told);
  await clock.pass(1);
  told.push(["weights.safetensors", 215, 515]);
  assert.deepEqual(progress(), told);
  await clock.pass(50);
  // After a pause, at once.
  send(text.slice(200, 300));
  await settled();
  told.push(["weights.safetensors", 315, 515]);
  assert.deepEqual(progress(), told);
  // The end, at once.
  send(text.slice(300));
  end();
  await reply("loaded", id);
  assert.deepEqual(progress().slice(told.length), [["weights.safetensors", 515, 515], ["weights.safetensors", 515, 515]]);
  assert.ok(posted().every((message) => message.type !== "progress" || message.id === id));
  const count = progress().length;
  await clock.pass(10_000);
  assert.equal(progress().length, count, "nothing comes later");
});

test("an abort stops the download at once, and nothing more is told of it", async (t) => {
  const { response, send, fail } = pieces();
  const { clock, ask, send: request, posted, reply, news, fetched } = await begin(t, {}, { serve: (path, signal) => {
    if (!path.endsWith("weights.safetensors")) return undefined;
    signal?.addEventListener("abort", () => fail(signal.reason));
    return response();
  } });
  await ask("check", { choice: "auto" }, "checked");
  // Without a download there is nothing to stop.
  request("abort");
  const id = request("load", { model: "tiny" });
  await seen(() => fetched.includes("tiny/weights.safetensors"), "the request for the second file");
  send("0123");
  await settled();
  news();
  request("abort");
  assert.equal((await reply("failed", id)).error.kind, "aborted");
  await clock.pass(10_000);
  assert.deepEqual(news(), [["failed", id]]);
  assert.ok(posted().every(({ type }) => type !== "compiling"));
});

test("requests are answered one after another, and a failure is its own request's", async (t) => {
  const { ask, send, reply, news, posted, result } = await begin(t);
  await ask("check", { choice: "auto" }, "checked");
  await ask("load", { model: "tiny" }, "loaded");
  news();
  ScriptedWorker.answers = { ...ScriptedWorker.answers, configure: undefined, advance: result };
  const [first, second] = [send("configure", { config: { seed: 7 } }), send("step")];
  await settled();
  assert.deepEqual([ops().at(-1), news()], ["configure", []]);
  // A pause does not wait.
  const pause = send("pause");
  assert.deepEqual(news(), [["paused", pause]]);
  engine().tell({ call: engine().requests.at(-1)?.call, error: { kind: "bad-config", message: "chains is 900", detail: "why" } });
  await reply("frame", second);
  assert.deepEqual(news(), [["failed", first], ["frame", second]]);
  assert.deepEqual(posted().find(({ type }) => type === "failed").error, { kind: "bad-config", message: "chains is 900", detail: "why" });
});

test("a step is one transition, a reset starts from its seed, and a frame is given away whole", async (t) => {
  const { ask, ready, scope, result } = await begin(t);
  await ready();
  ScriptedWorker.answers.advance = result;
  assert.equal((await ask("reset", { seed: 9 }, "frame")).frame.index, 1);
  assert.equal((await ask("step", {}, "frame")).frame.index, 2);
  assert.deepEqual(engine().asked.slice(-2), [["reset", 9], ["advance", 1]]);
  const { data, transfer } = /** @type {{ data: any, transfer: unknown[] }} */ (scope.posted.at(-1));
  const buffers = data.frame.sides.flatMap((/** @type {any} */ side) => [side.images, side.trace_clock, side.traces.energy, side.traces.pc1].map(({ buffer }) => buffer));
  assert.deepEqual([transfer.length, new Set(transfer)], [7, new Set(buffers)]);
});

/**
 * Frames that take so long per transition, one after another; then none.
 * @param {Awaited<ReturnType<typeof begin>>} race
 * @param {number[]} costs
 */
function frames({ clock, result }, costs) {
  const left = [...costs];
  ScriptedWorker.answers.advance = (/** @type {number} */ transitions) => {
    const cost = left.shift();
    if (cost === undefined) return undefined;
    clock.now += cost * transitions;
    return result();
  };
}
const advances = () => engine().asked.filter(([op]) => op === "advance").map(([, transitions]) => transitions);

test("a frame has as many transitions as the pace says, or as many as fit into a quarter of a second", async (t) => {
  const race = await begin(t);
  await race.ready();
  frames(race, [25, 25, 30, 30, 1000]);
  race.send("run", { pace: 50 });
  await settled();
  // The first frame measures. Then 250 / 25, 250 / 25, 250 / 26.5, 250 / 27.6, and one where none fits.
  assert.deepEqual(advances(), [1, 10, 10, 9, 9, 1]);
  for (const [costs, pace, expected] of /** @type {[number[], number, number[]][]} */ ([
    [[20, 20, 20], 5, [1, 5, 5, 5]],
    [[25.1], 50, [1, 9]],
    // A fast device; then one slow frame, of which the average takes three tenths: 250 / 30.35.
    [[0.5, 0.5, 100], 50, [1, 50, 50, 8]],
  ])) {
    const other = await begin(t);
    await other.ready();
    frames(other, costs);
    other.send("run", { pace });
    await other.clock.pass(1000);
    assert.deepEqual(advances(), expected);
  }
});

test("frames come no faster than every 16 ms", async (t) => {
  const race = await begin(t);
  await race.ready();
  race.clock.waits.length = 0;
  frames(race, [6, 4, 16, 1]);
  const id = race.send("run", { pace: 1 });
  await settled();
  assert.deepEqual([advances().length, race.clock.waits], [1, [10]]);
  await race.clock.pass(10);
  assert.deepEqual([advances().length, race.clock.waits], [2, [10, 12]]);
  await race.clock.pass(12);
  assert.deepEqual([advances().length, race.clock.waits], [4, [10, 12, 15]]);
  await race.clock.pass(15);
  assert.equal(advances().length, 5);
  assert.deepEqual(race.news().slice(-5), [["running", id], ["frame", id], ["frame", id], ["frame", id], ["frame", id]]);
});

test("after a pause comes the frame under way, and none after it", async (t) => {
  const race = await begin(t);
  await race.ready();
  race.news();
  frames(race, []);
  const run = race.send("run", { pace: 2 });
  await settled();
  const pause = race.send("pause");
  assert.deepEqual(race.news(), [["running", run], ["paused", pause]]);
  engine().tell({ call: engine().requests.at(-1)?.call, value: race.result() });
  await race.clock.pass(1000);
  assert.deepEqual([race.news(), advances()], [[["frame", run]], [1]]);
});

test("what is asked after a pause waits for the frame under way", async (t) => {
  const race = await begin(t);
  await race.ready();
  frames(race, []);
  const run = race.send("run", { pace: 2 });
  await settled();
  race.send("pause");
  race.news();
  const reset = race.send("reset", { seed: 1 });
  await settled();
  assert.deepEqual(race.news(), []);
  engine().tell({ call: engine().requests.at(-1)?.call, value: race.result() });
  await race.clock.pass(1000);
  await race.reply("frame", reset);
  assert.deepEqual(race.news(), [["frame", run], ["frame", reset]]);
});

test("a run that rests between two frames computes nothing on the next engine", async (t) => {
  const race = await begin(t);
  await race.ready();
  frames(race, [1]);
  const run = race.send("run", { pace: 1 });
  await race.reply("frame", run);
  race.news();
  const id = race.send("check", { choice: "auto" });
  await race.clock.pass(1000);
  await race.reply("checked", id);
  await race.clock.pass(1000);
  assert.deepEqual([race.news(), ops()], [[["checked", id]], ["check", "start"]]);
});

test("every other request ends the run first", async (t) => {
  for (const [type, more, answer] of /** @type {const} */ ([["step", {}, "frame"], ["reset", { seed: 1 }, "frame"], ["configure", { config: { seed: 1 } }, "configured"], ["load", { model: "tiny" }, "loaded"], ["run", { pace: 1 }, "running"], ["check", { choice: "auto" }, "checked"]])) {
    const race = await begin(t);
    await race.ready();
    race.news();
    frames(race, [20]);
    const run = race.send("run", { pace: 1 });
    await settled();
    assert.deepEqual([race.news(), advances()], [[["running", run], ["frame", run]], [1, 1]], type);
    const waiting = engine().requests.at(-1);
    const id = race.send(type, more);
    await settled();
    if (type !== "check") {
      assert.deepEqual(race.news(), [], `${type} waits for the frame under way`);
      frames(race, [20]);
      engine().tell({ call: waiting?.call, value: race.result() });
    }
    await race.clock.pass(1000);
    await race.reply(answer, id);
    await settled();
    const news = race.news().filter(([kind]) => !["progress", "compiling"].includes(kind));
    // The check ends the engine, and with it the frame.
    const last = type === "check" ? [] : [["frame", run]];
    assert.deepEqual(news.slice(0, last.length + 1), [...last, [answer, id]]);
    assert.equal(news.filter(([, of]) => of === run).length, last.length, `${type} ended the run`);
  }
});

test("a run that fails says so once, and can be started again", async (t) => {
  const race = await begin(t, { advance: failing("bad-config", "no") });
  await race.ready();
  race.news();
  const run = race.send("run", { pace: 1 });
  await race.reply("failed", run);
  await race.clock.pass(1000);
  assert.deepEqual(race.news(), [["running", run], ["failed", run]]);
  // It is over: a loss now is that of an idle race.
  engine().fail(lost);
  await race.reply("recovered");
  await settled();
  assert.deepEqual(race.news(), [["recovered", 0], ["frame", 0]]);
  frames(race, [20]);
  const next = race.send("run", { pace: 1 });
  await race.reply("frame", next);
  assert.deepEqual(race.news(), [["running", next], ["frame", next]]);
});

test("a run goes on from its last state on a new device", async (t) => {
  const race = await begin(t);
  await race.ready();
  frames(race, [20]);
  const run = race.send("run", { pace: 3 });
  await race.reply("frame", run);
  await settled();
  race.news();
  const [old] = ScriptedWorker.all;
  assert.deepEqual(old?.asked.at(-1), ["advance", 3]);
  old?.fail(lost);
  const recovered = await race.reply("recovered");
  assert.equal(recovered.message, "The compute device was lost. It was restarted, and the chains continue from their last state.");
  assert.deepEqual([recovered.id, recovered.report], [0, GPU]);
  await settled();
  assert.deepEqual(engine().asked, [["check", "auto"], ["start", "webgpu"], ["load", ...(old?.asked.find(([op]) => op === "load")?.slice(1) ?? [])], ["configure", { seed: 7, filled: true }], ["restore", "state 1"], ["advance", 3]]);
  assert.deepEqual(race.news(), [["recovered", 0], ["frame", run]]);
  // The restored state is the one to return to.
  engine().fail(lost);
  await seen(() => ScriptedWorker.all.length === 3 && ops().includes("restore"), "the second rebuild");
  assert.deepEqual(engine().asked[4], ["restore", "state 2"]);
});

test("an idle race is rebuilt too, on the kind of device that it had", async (t) => {
  for (const [report, wanted, where] of /** @type {const} */ ([
    [{ runtime: "cpu", reason_kind: "asked" }, "cpu", " on the CPU"],
    [{ runtime: "cpu", reason_kind: "broken" }, "cpu", " on the CPU"],
    [{ runtime: "cpu", reason_kind: "no-adapter" }, "auto", ""],
    [{ runtime: "webgpu", reason_kind: null }, "auto", ""],
  ])) {
    const race = await begin(t, { check: () => report });
    await race.ready();
    race.news();
    ScriptedWorker.answers.check = (/** @type {string} */ choice) => (choice === "cpu" ? CPU : GPU);
    engine().fail(lost);
    assert.match((await race.reply("recovered")).message, new RegExp(`restarted${where}, and`));
    await settled();
    assert.deepEqual(engine().asked[0], ["check", wanted], report.reason_kind ?? "webgpu");
    // Nothing was computed yet, so it starts from its seed.
    assert.deepEqual(engine().asked.at(-1), ["reset", 7]);
    assert.deepEqual(race.news(), [["recovered", 0], ["frame", 0]]);
  }
});

test("a race that is configured anew does not return to the old one's state", async (t) => {
  const race = await begin(t);
  await race.ready();
  await race.ask("reset", { seed: 11 }, "frame");
  engine().fail(lost);
  await race.reply("recovered");
  assert.deepEqual(engine().asked.slice(-2), [["configure", { seed: 11, filled: true }], ["restore", "state 1"]], "the seed is the one of the reset");
  await settled();
  await race.ask("configure", { config: { seed: 3 } }, "configured");
  race.scope.posted.length = 0;
  engine().fail(lost);
  await race.reply("recovered");
  assert.deepEqual(engine().asked.slice(-2), [["configure", { seed: 3, filled: true }], ["reset", 3]]);
});

test("a rebuild is tried three times, a little later each time", async (t) => {
  for (const failures of [2, 3]) {
    const race = await begin(t);
    await race.ready();
    frames(race, [20]);
    const run = race.send("run", { pace: 1 });
    await race.reply("frame", run);
    await settled();
    race.news();
    race.clock.waits.length = 0;
    let left = failures;
    // A loss during the rebuild is no second loss.
    ScriptedWorker.answers.load = () => ((left -= 1) >= 0 ? lost : info(true));
    engine().fail(lost);
    await race.clock.pass(499);
    assert.equal(ScriptedWorker.all.length, 2);
    await race.clock.pass(1);
    assert.equal(ScriptedWorker.all.length, 3);
    await race.clock.pass(999);
    assert.equal(ScriptedWorker.all.length, 3);
    await race.clock.pass(1);
    await race.clock.pass(10_000);
    assert.equal(ScriptedWorker.all.length, 4);
    assert.deepEqual(race.clock.waits, [500, 1000]);
    if (failures === 2) assert.deepEqual(race.news(), [["recovered", 0], ["frame", run]]);
    else {
      assert.deepEqual(race.news(), [["failed", 0], ["failed", run]]);
      for (const { error } of race.posted().slice(-2)) assert.deepEqual([error.kind, error.message], ["device-lost", "The driver went away."]);
      const step = race.send("step");
      assert.equal((await race.reply("failed", step)).error.kind, "device-lost");
      // The way back.
      ScriptedWorker.answers.load = info(true);
      await race.ask("check", { choice: "auto" }, "checked");
      await race.ask("load", { model: "tiny" }, "loaded");
    }
  }
});

test("a device that is lost a fourth time within a minute is given up, until the next check", async (t) => {
  const race = await begin(t);
  await race.ready();
  const lose = async () => {
    race.scope.posted.length = 0;
    engine().tell({ failure: { kind: "device-lost", message: "gone", detail: "reason: unknown" } });
    return seen(() => race.posted().find(({ type }) => type === "recovered" || type === "failed"), "the end of the rebuild");
  };
  for (let loss = 1; loss <= 3; loss += 1) assert.equal((await lose()).type, "recovered", `loss ${loss}`);
  await settled();
  const engines = ScriptedWorker.all.length;
  const { id, error } = await lose();
  assert.deepEqual([id, error], [0, { kind: "device-lost", message: "The device was lost 4 times within a minute.", detail: "reason: unknown" }]);
  assert.equal(ScriptedWorker.all.length, engines);
  race.scope.posted.length = 0;
  await race.ready();
  for (let loss = 1; loss <= 3; loss += 1) assert.equal((await lose()).type, "recovered", "the check forgets");
  // A run that rests between two frames ends without a failure of its own.
  await settled();
  frames(race, [1]);
  const run = race.send("run", { pace: 1 });
  await race.reply("frame", run);
  assert.equal((await lose()).id, 0);
  await race.clock.pass(1000);
  assert.deepEqual(race.posted().map(({ type, id: of }) => [type, of]), [["failed", 0]]);
});

test("what cannot be rebuilt is told: to whoever waits, or else to the page", async (t) => {
  const idle = await begin(t);
  await idle.ask("check", { choice: "auto" }, "checked");
  engine().fail(lost);
  assert.equal((await idle.reply("failed", 0)).error.message, "The driver went away.", "no model is loaded");
  const loaded = await begin(t);
  await loaded.ask("check", { choice: "auto" }, "checked");
  await loaded.ask("load", { model: "tiny" }, "loaded");
  engine().fail(lost);
  assert.equal((await loaded.reply("failed", 0)).error.message, "The driver went away.", "no race is configured");
  for (const kind of /** @type {const} */ (["panic", "out-of-memory"])) {
    const race = await begin(t);
    await race.ready();
    race.news();
    engine().fail(failing(kind, "trap"));
    assert.equal((await race.reply("failed", 0)).error.kind, kind);
    await race.clock.pass(10_000);
    assert.deepEqual([race.news(), ScriptedWorker.all.length], [[["failed", 0]], 1], "the same state would fail again");
  }
  const waiting = await begin(t);
  await waiting.ready();
  waiting.news();
  const step = waiting.send("step");
  await settled();
  engine().fail(failing("panic", "trap"));
  await waiting.reply("failed", step);
  await settled();
  assert.deepEqual(waiting.news(), [["failed", step]], "once");
});

test("a device lost while a model loads does not bring the last model back", async (t) => {
  const race = await begin(t);
  await race.ready();
  ScriptedWorker.answers.load = undefined;
  const id = race.send("load", { model: "other" });
  await seen(() => ops().filter((op) => op === "load").length === 2, "the load");
  race.news();
  engine().fail(lost);
  assert.equal((await race.reply("failed", id)).error.kind, "device-lost");
  await race.clock.pass(10_000);
  assert.deepEqual([race.news(), ScriptedWorker.all.length], [[["failed", id]], 1]);
});

test("a rebuild asks for one thing after another", async (t) => {
  const race = await begin(t);
  await race.ready();
  const { configure } = ScriptedWorker.answers;
  for (const [op, before] of /** @type {const} */ ([["load", ["check", "start"]], ["configure", ["check", "start", "load"]]])) {
    ScriptedWorker.answers = { ...ScriptedWorker.answers, load: info(true), configure, [op]: undefined };
    const old = engine();
    old.fail(lost);
    await seen(() => engine() !== old && ops().includes(op), op);
    await settled();
    assert.deepEqual(ops(), [...before, op]);
    race.scope.posted.length = 0;
    engine().tell({ call: engine().requests.at(-1)?.call, value: op === "load" ? info(true) : configure({ seed: 7 }) });
    await race.reply("recovered");
    await settled();
  }
});

test("a load during a rebuild wins over it", async (t) => {
  const race = await begin(t);
  await race.ready();
  ScriptedWorker.answers.load = failing("network", "no");
  engine().fail(lost);
  await seen(() => ops().includes("load") && ScriptedWorker.all.length === 2, "the first attempt");
  await settled();
  ScriptedWorker.answers.load = info(true);
  race.news();
  const id = race.send("load", { model: "other" });
  await seen(() => race.posted().some(({ type, id: of }) => type === "compiling" && of === id), "the download");
  await race.clock.pass(10_000);
  await race.reply("loaded", id);
  assert.deepEqual([race.news().filter(([type]) => type !== "progress"), ScriptedWorker.all.length], [[["compiling", id], ["loaded", id]], 2]);
});

test("a check during a rebuild wins over it", async (t) => {
  const race = await begin(t);
  await race.ready();
  ScriptedWorker.answers.load = failing("network", "no");
  engine().fail(lost);
  await seen(() => ops().includes("load") && ScriptedWorker.all.length === 2, "the first attempt");
  await settled();
  race.news();
  const id = race.send("check", { choice: "auto" });
  await race.reply("checked", id);
  await race.clock.pass(10_000);
  assert.deepEqual([race.news(), ScriptedWorker.all.length], [[["checked", id]], 3]);
  // And the loss of the new engine, which has no model, is told.
  engine().fail(lost);
  await race.reply("failed", 0);
});

test("a rehearsed loss asks the engine, and does not complain where that fails", async (t) => {
  const race = await begin(t, { lose_device: failing("bad-config", "no") });
  await race.ready();
  race.news();
  race.send("lose-device");
  const pause = race.send("pause");
  await settled();
  assert.deepEqual([ops().at(-1), race.news()], ["lose_device", [["paused", pause]]]);
});
