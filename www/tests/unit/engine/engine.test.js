// The worker that holds the wasm module. It runs here in a folder of its own, beside two builds that a
// test scripts, with the global scope of a worker.

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Clock, Scope, seen, setGlobal, settled } from "./scripted.js";

/** @typedef {import("node:test").TestContext} TestContext */

const folder = mkdtempSync(join(tmpdir(), "mixwell-engine-"));
after(() => rmSync(folder, { recursive: true }));
for (const name of ["engine.js", "failure.js"]) copyFileSync(fileURLToPath(new URL(`../../../engine/${name}`, import.meta.url)), join(folder, name));
writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
for (const build of ["cpu", "webgpu"]) {
  writeFileSync(join(folder, `mixwell-${build}.js`), `export default (options) => globalThis.scriptedBuild.init("${build}", options);\nexport const start = () => globalThis.scriptedBuild.start("${build}");\n`);
}

/** Limits that are just enough. */
const ENOUGH = { maxStorageBufferBindingSize: 67_108_864, maxBufferSize: 67_108_864, maxComputeWorkgroupStorageSize: 16_384, maxComputeInvocationsPerWorkgroup: 256, maxStorageBuffersPerShaderStage: 8 };
const INFO = { vendor: "acme", architecture: "a1", description: "Acme 1", device: "", isFallbackAdapter: false };

let engines = 0;
/**
 * A fresh engine.
 * @param {TestContext} t
 * @param {object} [world]
 * @param {any} [world.gpu] navigator.gpu
 * @param {any} [world.session] what the build starts
 * @param {(build: string, options: any) => Promise<unknown>} [world.init]
 */
async function begin(t, { gpu, session = {}, init = async () => {} } = {}) {
  const scope = new Scope();
  setGlobal(t, "self", scope);
  setGlobal(t, "navigator", { gpu });
  /** @type {string[]} */
  const started = [];
  setGlobal(t, "scriptedBuild", { init, start: async (/** @type {string} */ build) => (started.push(build), session) });
  /** @type {unknown[][]} */
  const logged = [];
  const log = console.error;
  console.error = (...parts) => void logged.push(parts);
  t.after(() => (console.error = log));
  await import(`${pathToFileURL(join(folder, "engine.js"))}?${(engines += 1)}`);
  let calls = 0;
  /** The reply as it was posted. @param {string} op @param {unknown[]} args */
  const ask = async (op, ...args) => {
    const call = (calls += 1);
    scope.receive({ call, op, args });
    return seen(() => scope.posted.find(({ data }) => data.call === call), `the answer to ${op}`);
  };
  return {
    scope,
    started,
    logged,
    ask,
    /** @param {string} op @param {unknown[]} args */
    call: async (op, ...args) => {
      const { data } = await ask(op, ...args);
      assert.equal(data.error, undefined, `${op}: ${data.error?.message}`);
      return data.value;
    },
    /** @param {string} op @param {unknown[]} args */
    error: async (op, ...args) => {
      const { data } = await ask(op, ...args);
      assert.ok(data.error && !("value" in data), `${op} should fail`);
      return data.error;
    },
    failures: () => scope.posted.filter(({ data }) => "failure" in data).map(({ data }) => data.failure),
  };
}

/** @param {object} [limits] */
const adapter = (limits = {}) => ({ limits: { ...ENOUGH, ...limits }, info: INFO });

test("the check reports the adapter as found, or why there is none", async (t) => {
  const clock = new Clock(t);
  /** @type {unknown[]} */
  const options = [];
  const gpu = { requestAdapter: async (/** @type {unknown} */ wanted) => (options.push(wanted), adapter()) };
  const engine = await begin(t, { gpu });
  const asked = engine.call("check", "auto");
  await clock.pass(0);
  const found = { vendor: "acme", architecture: "a1", description: "Acme 1", fallback_adapter: false };
  assert.deepEqual(await asked, { runtime: "webgpu", reason: "", reason_kind: null, ...found, limits: ENOUGH });
  assert.deepEqual(options, [{ powerPreference: "high-performance" }]);
  const cpu = { runtime: "cpu", vendor: "", architecture: "", description: "", fallback_adapter: false, limits: {} };
  assert.deepEqual(await engine.call("check", "cpu"), { ...cpu, reason: "The CPU build was requested.", reason_kind: "asked" });
  assert.equal(options.length, 1, "the adapter is left alone");

  const without = await begin(t);
  assert.deepEqual(await without.call("check", "auto"), { ...cpu, reason: "This browser does not offer WebGPU (navigator.gpu is missing).", reason_kind: "no-webgpu" });
  without.scope.isSecureContext = false;
  assert.match((await without.call("check", "auto")).reason, /secure address/);
});

test("a software adapter is left for the CPU build, unless it is asked for", async (t) => {
  const clock = new Clock(t);
  for (const software of [{ isFallbackAdapter: true }, { architecture: "swiftshader" }, { description: "llvmpipe (LLVM 15, 256 bits)" }, { device: "Microsoft Basic Render Driver" }]) {
    const engine = await begin(t, { gpu: { requestAdapter: async () => ({ ...adapter(), info: { ...INFO, ...software } }) } });
    for (const [choice, expected] of [["auto", ["cpu", "software"]], ["webgpu", ["webgpu", null]], ["cpu", ["cpu", "asked"]]]) {
      const asked = engine.call("check", choice);
      await clock.pass(0);
      const { runtime, reason_kind } = await asked;
      assert.deepEqual([runtime, reason_kind], expected, JSON.stringify(software));
    }
  }
});

test("an adapter that is too small for the model is named, with the limits in question", async (t) => {
  const clock = new Clock(t);
  for (const name of /** @type {(keyof typeof ENOUGH)[]} */ (Object.keys(ENOUGH))) {
    const engine = await begin(t, { gpu: { requestAdapter: async () => adapter({ [name]: ENOUGH[name] - 1 }) } });
    const asked = engine.call("check", "auto");
    await clock.pass(0);
    const report = await asked;
    assert.deepEqual([report.runtime, report.reason_kind, report.vendor, report.limits[name]], ["cpu", "limits", "acme", ENOUGH[name] - 1]);
    assert.equal(report.reason, `The graphics adapter is too small: ${name} is ${(ENOUGH[name] - 1).toLocaleString("en")}, but the model needs ${ENOUGH[name].toLocaleString("en")}.`);
  }
});

test("an adapter is asked for three times, a little later each time", async (t) => {
  const clock = new Clock(t);
  let asked = 0;
  // A request may give nothing, or fail.
  const gpu = { requestAdapter: async () => ((asked += 1) === 1 ? null : asked === 2 ? Promise.reject(new Error("busy")) : adapter()) };
  const engine = await begin(t, { gpu });
  const late = engine.call("check", "auto");
  await clock.pass(299);
  assert.equal(asked, 1);
  await clock.pass(1);
  assert.equal(asked, 2);
  await clock.pass(1199);
  assert.equal(asked, 2);
  await clock.pass(1);
  assert.equal((await late).runtime, "webgpu");

  const never = await begin(t, { gpu: { requestAdapter: async () => null } });
  clock.waits.length = 0;
  const none = never.call("check", "auto");
  await clock.pass(60_000);
  assert.deepEqual([(await none).reason_kind, clock.waits], ["no-adapter", [0, 300, 1200]]);
});

test("a browser without WebAssembly is told so", async (t) => {
  const engine = await begin(t);
  setGlobal(t, "WebAssembly", undefined);
  assert.deepEqual((({ kind, message }) => [kind, message])(await engine.error("check", "cpu")), ["unsupported", "This browser has no WebAssembly."]);
});

test("the build that is asked for is started, with its wasm file beside it", async (t) => {
  /** @type {[string, string][]} */
  const loaded = [];
  const engine = await begin(t, { init: async (build, { module_or_path }) => void loaded.push([build, String(module_or_path)]) });
  for (const build of ["cpu", "webgpu"]) assert.equal(await engine.call("start", build), null);
  assert.deepEqual(engine.started, ["cpu", "webgpu"]);
  assert.deepEqual(loaded, ["cpu", "webgpu"].map((build) => [build, String(pathToFileURL(join(folder, `mixwell-${build}_bg.wasm`)))]));
});

test("a build that does not load is told from one that does not start", async (t) => {
  const broken = await begin(t, { init: async () => { throw new TypeError("404"); } });
  for (const [build, title] of /** @type {const} */ ([["cpu", "CPU"], ["webgpu", "WebGPU"]])) {
    const { kind, message, detail } = await broken.error("start", build);
    assert.deepEqual([kind, message], ["network", `The ${title} build did not load: 404`]);
    assert.match(detail, /TypeError: 404/);
  }
  const full = await begin(t, { init: async () => { throw new RangeError("could not allocate memory"); } });
  assert.equal((await full.error("start", "cpu")).kind, "out-of-memory");
  const missing = await begin(t);
  const { kind, message } = await missing.error("start", "none");
  assert.deepEqual([kind, message.slice(0, 39)], ["network", "The WebGPU build did not load: Cannot f"]);
  const lost = await begin(t);
  setGlobal(t, "scriptedBuild", { init: async () => {}, start: async () => { throw { kind: "no-adapter", message: "none", detail: "wgpu" }; } });
  assert.deepEqual(await lost.error("start", "webgpu"), { kind: "no-adapter", message: "none", detail: "wgpu" });
});

test("nothing is computed before a build is started", async (t) => {
  const engine = await begin(t);
  for (const [op, ...args] of [["load", {}, null], ["configure", {}], ["reset", 1], ["advance", 1], ["restore", null], ["play", "info", []], ["studio", "info", []], ["prior", "info", []], ["random_words", 1, 2, 3, 4]]) {
    const { kind, message } = await engine.error(/** @type {string} */ (op), ...args);
    assert.deepEqual([kind, message], ["panic", "The engine was asked to compute before it was started."], String(op));
  }
});

test("each call reaches the session with its arguments, and a frame comes with its checkpoint", async (t) => {
  /** @type {unknown[][]} */
  const asked = [];
  const plain = (/** @type {string} */ name) => async (/** @type {unknown[]} */ ...args) => (asked.push([name, ...args]), `${name} done`);
  const session = { load: plain("load"), configure: plain("configure"), reset: plain("reset"), advance: plain("advance"), restore: plain("restore"), random_words: plain("words"), checkpoint: () => `state after ${asked.length}` };
  const engine = await begin(t, { session });
  await engine.call("start", "cpu");
  assert.equal(await engine.call("load", "card", "weights"), "load done");
  assert.equal(await engine.call("configure", "config"), "configure done");
  assert.deepEqual(await engine.call("reset", 7), { frame: "reset done", checkpoint: "state after 3" });
  assert.deepEqual(await engine.call("advance", 5), { frame: "advance done", checkpoint: "state after 4" });
  assert.deepEqual(await engine.call("restore", "saved"), { frame: "restore done", checkpoint: "state after 5" });
  assert.equal(await engine.call("random_words", 1, 2, 3, 4), "words done");
  assert.deepEqual(asked, [["load", "card", "weights"], ["configure", "config"], ["reset", 7], ["advance", 5], ["restore", "saved"], ["words", 1, 2, 3, 4]]);
});

test("a room is opened at its first question, and anew after another start", async (t) => {
  /** @type {string[]} */
  const opened = [];
  const open = (/** @type {string} */ room) => async () => {
    opened.push(room);
    return { number: opened.length, whole: 1, ask(/** @type {number[]} */ ...args) { return [room, this.number, ...args]; } };
  };
  const engine = await begin(t, { session: { playground: open("playground"), studio: open("studio"), prior: open("prior") } });
  await engine.call("start", "cpu");
  const ops = [["play", "playground"], ["studio", "studio"], ["prior", "prior"]];
  for (const round of [1, 2]) {
    for (const [index, [op, room]] of ops.entries()) assert.deepEqual(await engine.call(/** @type {string} */ (op), "ask", [round, 8]), [room, index + 1, round, 8]);
  }
  await engine.call("start", "cpu");
  for (const [index, [op, room]] of ops.entries()) assert.deepEqual(await engine.call(/** @type {string} */ (op), "ask", []), [room, index + 4]);
  for (const name of ["missing", "whole"]) assert.deepEqual((({ kind, message }) => [kind, message])(await engine.error("play", name, [])), ["panic", `This build has no ${name}().`]);
});

test("an error that the crate names keeps its kind, and a trap is a panic", async (t) => {
  /** @type {unknown} */
  let thrown;
  const engine = await begin(t, { session: { configure: async () => { throw thrown; } } });
  await engine.call("start", "cpu");
  thrown = { kind: "bad-config", message: "chains is 900", detail: "config.rs" };
  assert.deepEqual(await engine.error("configure", {}), thrown);
  console.error("a warning of the browser");
  assert.equal((await engine.error("configure", {})).kind, "bad-config", "not everything that is logged is a panic");
  thrown = new WebAssembly.RuntimeError("unreachable");
  const trap = await engine.error("configure", {});
  assert.deepEqual([trap.kind, trap.message], ["panic", "unreachable"]);
  assert.match(trap.detail, /^unreachable\n\nRuntimeError: unreachable\n/);
  thrown = new WebAssembly.RuntimeError("memory allocation of 64 bytes failed");
  assert.equal((await engine.error("configure", {})).kind, "out-of-memory");
});

test("the text of a panic is what the hook wrote before the trap", async (t) => {
  for (const [text, kind, message] of /** @type {const} */ ([
    ["panicked at src/x.rs:1:2:\nindex out of bounds\nnote: more", "panic", "panicked at src/x.rs:1:2: index out of bounds"],
    ["panicked at src/alloc.rs:1:2:\nOut of memory", "out-of-memory", "panicked at src/alloc.rs:1:2: Out of memory"],
  ])) {
    // The trap may come as itself, or as whatever a promise made of it.
    for (const thrown of [new WebAssembly.RuntimeError("unreachable"), new Error("the future was dropped")]) {
      const engine = await begin(t, { session: { configure: async () => { console.error(text, 5); throw thrown; } } });
      await engine.call("start", "cpu");
      const error = await engine.error("configure", {});
      assert.equal(error.kind, kind);
      assert.equal(error.message, kind === "panic" ? message : `${message} 5`);
      assert.ok(error.detail.startsWith(`${text} 5\n\n`) && error.detail.includes(thrown.message), error.detail);
      assert.deepEqual(engine.logged, [[text, 5]], "the console still has it");
    }
  }
});

test("what nobody waits for is told as a failure", async (t) => {
  const { scope, failures } = await begin(t);
  /** @param {string} type @param {object} more */
  const happens = (type, more) => {
    const event = Object.assign(new Event(type, { cancelable: true }), more);
    scope.dispatchEvent(event);
    assert.ok(event.defaultPrevented, type);
  };
  happens("error", { error: new RangeError("out of memory"), message: "Uncaught" });
  happens("error", { error: null, message: "Script error." });
  happens("unhandledrejection", { reason: { kind: "device-lost", message: "gone", detail: "" } });
  assert.deepEqual(failures().map(({ kind, message }) => [kind, message]), [["out-of-memory", "out of memory"], ["panic", "Script error."], ["device-lost", "gone"]]);
  assert.deepEqual(scope.posted[0]?.transfer, []);
});

/** @param {TestContext} t */
function graphics(t) {
  /** @type {unknown[]} */
  const descriptors = [];
  class Device extends EventTarget {
    destroyed = 0;
    lose = /** @type {(info: { message: string, reason: string }) => void} */ (() => {});
    lost = new Promise((resolve) => (this.lose = resolve));
    destroy() {
      this.destroyed += 1;
    }
  }
  class Adapter {
    device = new Device();
    /** @param {unknown} descriptor */
    async requestDevice(descriptor) {
      descriptors.push(descriptor);
      return this.device;
    }
  }
  class OutOfMemory extends Error {}
  setGlobal(t, "GPUAdapter", Adapter);
  setGlobal(t, "GPUOutOfMemoryError", OutOfMemory);
  return { Adapter, OutOfMemory, descriptors };
}

test("a lost device is told with the browser's reason", async (t) => {
  const { Adapter, descriptors } = graphics(t);
  const { failures } = await begin(t);
  const [first, second] = [new Adapter(), new Adapter()];
  assert.equal(await first.requestDevice("wanted"), first.device, "the build gets its device");
  assert.equal(await second.requestDevice("other"), second.device);
  assert.deepEqual(descriptors, ["wanted", "other"]);
  first.device.lose({ message: "The driver crashed.", reason: "unknown" });
  second.device.lose({ message: "", reason: "destroyed" });
  await settled();
  assert.deepEqual(failures(), [
    { kind: "device-lost", message: "The driver crashed.", detail: "reason: unknown" },
    { kind: "device-lost", message: "The GPU device was lost (destroyed).", detail: "reason: destroyed" },
  ]);
});

test("a command that the device rejects ends the run", async (t) => {
  const { Adapter, OutOfMemory } = graphics(t);
  const { failures } = await begin(t);
  const { device } = await (async (adapter = new Adapter()) => (await adapter.requestDevice({}), adapter))();
  for (const error of [new Error("no such binding"), new OutOfMemory("too much")]) device.dispatchEvent(Object.assign(new Event("uncapturederror"), { error }));
  assert.deepEqual(failures().map(({ kind, message }) => [kind, message]), [["panic", "The GPU rejected a command: no such binding"], ["out-of-memory", "The GPU rejected a command: too much"]]);
});

test("a rehearsed loss destroys every device, and is told where there is none", async (t) => {
  const { Adapter } = graphics(t);
  const engine = await begin(t);
  const adapters = [new Adapter(), new Adapter()];
  for (const adapter of adapters) await adapter.requestDevice({});
  assert.equal(await engine.call("lose_device"), null);
  assert.deepEqual(adapters.map(({ device }) => device.destroyed), [1, 1]);
  assert.deepEqual(engine.failures(), [], "the device itself tells of its loss");
  const cpu = await begin(t);
  assert.equal(await cpu.call("lose_device"), null);
  assert.deepEqual(cpu.failures().map(({ kind, message }) => [kind, message]), [["device-lost", "The compute device was lost (rehearsal)."]]);
});

test("whole arrays of an answer are given away once, and views of wasm memory are copied", async (t) => {
  const memory = new Uint8Array(64);
  const [images, trace] = [new Uint8Array(4), new Float32Array(2)];
  const frame = { index: 0, none: null, sides: [{ images, traces: { energy: trace, again: trace } }, { images: memory.subarray(0, 8), tail: new Float32Array(memory.buffer, 32) }] };
  const engine = await begin(t, { session: { reset: async () => frame, checkpoint: () => memory.subarray(8, 16), configure: async () => "text", load: async () => null } });
  await engine.call("start", "cpu");
  const { data, transfer } = await engine.ask("reset", 1);
  assert.equal(data.value.frame, frame);
  assert.deepEqual(new Set(transfer), new Set([images.buffer, trace.buffer]));
  assert.equal(transfer.length, 2);
  for (const op of ["configure", "load"]) assert.deepEqual((await engine.ask(op, {})).transfer, []);
});
