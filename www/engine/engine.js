// The compute engine: a worker that holds only the wasm module. It may block on a long frame, panic or
// lose its device. Its owner (the race's conductor worker.js, or the page of the Playground, the Studio
// or Prior) stays responsive and can always replace it.

import { Failure, toError } from "./failure.js";

/** @import { MixwellError } from "../contract/errors.js" */
/** @import { Playground } from "../contract/playground.js" */
/** @import { Prior } from "../contract/prior.js" */
/** @import { Frame } from "../contract/race.js" */
/** @import { Choice, DeviceReport, EngineCalls, EngineReply, EngineRequest, Runtime, WasmModule, WasmSession } from "../contract/session.js" */
/** @import { Studio } from "../contract/studio.js" */

const scope = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** Limits that the largest model needs; wgpu requests no more than this. */
const NEEDED_LIMITS = /** @type {const} */ ({
  maxStorageBufferBindingSize: 64 * 2 ** 20,
  maxBufferSize: 64 * 2 ** 20,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBuffersPerShaderStage: 8,
});

/** Delays before each request for an adapter. */
const ADAPTER_WAITS_MS = [0, 300, 1200];

/** @type {WasmSession | null} */
let session = null;
/** @type {Playground | null} */
let playground = null;
/** @type {Studio | null} */
let studio = null;
/** @type {Prior | null} */
let prior = null;
/** @type {GPUDevice[]} */
const devices = [];
/** The panic hook writes to console.error just before the trap, whose own text is only "unreachable". */
let lastPanic = "";

/** @param {EngineReply} reply @param {Transferable[]} [transfer] */
function post(reply, transfer = []) {
  scope.postMessage(reply, transfer);
}

/** @param {unknown} thrown @returns {MixwellError} */
function describe(thrown) {
  const error = toError(thrown);
  if ((typeof WebAssembly === "object" && thrown instanceof WebAssembly.RuntimeError) || lastPanic) {
    const text = lastPanic || error.message;
    const kind = /memory allocation|out of memory/i.test(text) ? "out-of-memory" : "panic";
    return { kind, message: text.split("\n", 2).join(" ").trim(), detail: [text, error.detail].join("\n\n") };
  }
  return error;
}

/** @param {unknown} thrown */
function fail(thrown) {
  post({ failure: describe(thrown) });
}

const consoleError = console.error.bind(console);
console.error = (...parts) => {
  const text = parts.map(String).join(" ");
  if (/panicked at/.test(text)) lastPanic = text;
  consoleError(...parts);
};

// A panic inside a spawned future settles no promise; it only arrives here.
scope.addEventListener("error", (event) => {
  event.preventDefault();
  fail(event.error ?? new Failure("panic", event.message));
});
scope.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  fail(event.reason);
});

// The wasm side does not expose its device, so it is recorded at its creation.
if (typeof GPUAdapter !== "undefined") {
  const requestDevice = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await requestDevice.call(this, descriptor);
    devices.push(device);
    device.lost.then((info) => {
      fail(new Failure("device-lost", info.message || `The GPU device was lost (${info.reason}).`, `reason: ${info.reason}`));
    });
    // A rejected command could leave finite but wrong numbers, so it ends the run.
    device.addEventListener("uncapturederror", ({ error }) => {
      const kind = error instanceof GPUOutOfMemoryError ? "out-of-memory" : "panic";
      fail(new Failure(kind, `The GPU rejected a command: ${error.message}`));
    });
    return device;
  };
}

/**
 * @param {Choice} choice
 * @returns {Promise<DeviceReport>}
 */
async function check(choice) {
  if (typeof WebAssembly !== "object") throw new Failure("unsupported", "This browser has no WebAssembly.");
  if (choice === "cpu") return cpuReport("asked", "The CPU build was requested.");
  if (!navigator.gpu) {
    const why = scope.isSecureContext ? "This browser does not offer WebGPU (navigator.gpu is missing)." : "WebGPU needs a secure address (https, or localhost).";
    return cpuReport("no-webgpu", why);
  }
  const adapter = await findAdapter(navigator.gpu);
  if (!adapter) return cpuReport("no-adapter", "The browser has WebGPU but found no usable graphics adapter.");
  /** @type {Record<string, number>} */
  const limits = {};
  /** @type {string[]} */
  const small = [];
  for (const [name, need] of Object.entries(NEEDED_LIMITS)) {
    const has = adapter.limits[/** @type {keyof typeof NEEDED_LIMITS} */ (name)];
    limits[name] = has;
    if (has < need) small.push(`${name} is ${has.toLocaleString("en")}, but the model needs ${need.toLocaleString("en")}`);
  }
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
  const found = { vendor, architecture, description, fallback_adapter: isFallbackAdapter, limits };
  if (small.length > 0) return { ...cpuReport("limits", `The graphics adapter is too small: ${small.join("; ")}.`), ...found };
  if (choice === "auto" && isSoftware(adapter.info)) {
    const name = [vendor, architecture, description].filter(Boolean).join(" ") || "unnamed";
    return { ...cpuReport("software", `The graphics adapter (${name}) itself computes on the CPU, and more slowly than this page's CPU build.`), ...found };
  }
  return { runtime: "webgpu", reason: "", reason_kind: null, ...found };
}

/**
 * Whether an adapter is a program on the CPU: SwiftShader (Chrome), llvmpipe or lavapipe (Mesa), WARP (Windows).
 * @param {GPUAdapterInfo} info
 */
function isSoftware({ isFallbackAdapter, vendor, architecture, device, description }) {
  return isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|softpipe|basic render/i.test(`${vendor} ${architecture} ${device} ${description}`);
}

/**
 * While its GPU process starts or restarts, a browser may briefly report no adapter, and the page
 * would stay on the CPU build. So the request is repeated.
 * @param {GPU} gpu
 */
async function findAdapter(gpu) {
  for (const wait of ADAPTER_WAITS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
    if (adapter) return adapter;
  }
  return null;
}

/**
 * @param {Exclude<DeviceReport["reason_kind"], null>} reason_kind
 * @param {string} reason
 * @returns {DeviceReport}
 */
function cpuReport(reason_kind, reason) {
  return { runtime: "cpu", reason, reason_kind, vendor: "", architecture: "", description: "", fallback_adapter: false, limits: {} };
}

/** @param {Runtime} runtime */
async function start(runtime) {
  const script = new URL(`./mixwell-${runtime}.js`, import.meta.url);
  /** @type {WasmModule} */
  let wasm;
  try {
    wasm = await import(script.href);
    await wasm.default({ module_or_path: new URL(`./mixwell-${runtime}_bg.wasm`, import.meta.url) });
  } catch (error) {
    const { kind, message, detail } = toError(error, "network");
    throw new Failure(kind, `The ${runtime === "cpu" ? "CPU" : "WebGPU"} build did not load: ${message}`, detail);
  }
  session = await wasm.start();
  [playground, studio, prior] = [null, null, null];
  return null;
}

function running() {
  if (!session) throw new Failure("panic", "The engine was asked to compute before it was started.");
  return session;
}

/** @param {Frame} frame */
function withCheckpoint(frame) {
  return { frame, checkpoint: running().checkpoint() };
}

/**
 * @param {object} room
 * @param {string} method
 * @param {unknown[]} args
 */
function ask(room, method, args) {
  const run = /** @type {Record<string, unknown>} */ (room)[method];
  if (typeof run !== "function") throw new Failure("panic", `This build has no ${method}().`);
  return run.apply(room, args);
}

/** @type {{ [Op in keyof EngineCalls]: (...args: Parameters<EngineCalls[Op]>) => Promise<ReturnType<EngineCalls[Op]>> }} */
const calls = {
  check,
  start,
  load: (card, weights) => running().load(card, weights),
  configure: (config) => running().configure(config),
  reset: async (seed) => withCheckpoint(await running().reset(seed)),
  advance: async (transitions) => withCheckpoint(await running().advance(transitions)),
  restore: async (checkpoint) => withCheckpoint(await running().restore(checkpoint)),
  play: async (method, args) => ask((playground ??= await running().playground()), method, args),
  studio: async (method, args) => ask((studio ??= await running().studio()), method, args),
  prior: async (method, args) => ask((prior ??= await running().prior()), method, args),
  random_words: (seed, step, chains, dim) => running().random_words(seed, step, chains, dim),
  lose_device: async () => {
    for (const device of devices) device.destroy();
    // The CPU build has no device; the rehearsal reports the same failure.
    if (devices.length === 0) fail(new Failure("device-lost", "The compute device was lost (rehearsal)."));
    return null;
  },
};

scope.addEventListener("message", async ({ data }) => {
  const { call, op, args } = /** @type {EngineRequest} */ (data);
  try {
    const run = /** @type {(...args: unknown[]) => Promise<unknown>} */ (calls[op]);
    const value = await run(...args);
    post({ call, value }, buffersOf(value));
  } catch (error) {
    post({ call, error: describe(error) });
  }
});

/**
 * Large arrays of an answer are transferred instead of copied, unless they are views of wasm memory.
 * @param {unknown} value
 * @returns {Transferable[]}
 */
function buffersOf(value) {
  /** @type {Set<ArrayBuffer>} */
  const buffers = new Set();
  /** @param {unknown} part */
  const visit = (part) => {
    if (typeof part !== "object" || part === null) return;
    if (!ArrayBuffer.isView(part)) Object.values(part).forEach(visit);
    else if (part.byteLength === part.buffer.byteLength) buffers.add(/** @type {ArrayBuffer} */ (part.buffer));
  };
  visit(value);
  return [...buffers];
}
