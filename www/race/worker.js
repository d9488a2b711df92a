// The conductor: handles the protocol with the page, downloads models, paces the frames and
// restarts the engine when its device is lost. It never computes, so it always answers at once.

import { Failure, toError } from "../engine/failure.js";
import { Keeper, Losses } from "../engine/keeper.js";
import { Loader } from "../model/loader.js";

/** @import { Manifest } from "../contract/models.js" */
/** @import { Frame, RaceConfig, Reply, Request } from "../contract/race.js" */
/** @import { Choice, DeviceReport, EngineCalls } from "../contract/session.js" */
/** @import { LoadedModel } from "../model/loader.js" */

const scope = /** @type {DedicatedWorkerGlobalScope} */ (/** @type {unknown} */ (self));

/** A longer frame would make the display stutter. */
const LONGEST_FRAME_MS = 250;
/** Frames need not come faster than the screen refreshes. */
const SHORTEST_FRAME_MS = 16;
const PROGRESS_EVERY_MS = 50;
const REBUILD_ATTEMPTS = 3;

const loader = new Loader({ base: new URL("./models/", import.meta.url) });

const keeper = new Keeper(onLoss);
const losses = new Losses();
/** @type {Manifest | null} */
let manifest = null;
/** @type {LoadedModel | null} */
let model = null;
/** @type {RaceConfig | null} */
let config = null;
/** @type {Uint8Array | null} */
let checkpoint = null;
/** Resolves when the current rebuild is done. */
let ready = Promise.resolve();
let rebuilding = false;
/** What the page asked for. @type {Choice} */
let choice = "auto";

/** @type {{ id: number } | null} the run that should continue */
let running = null;
/** Resolves when the last frame of the last run has been sent. */
let pumped = Promise.resolve();
/** @type {AbortController | null} */
let download = null;
/** Requests other than pause and abort, one after another. */
let queue = Promise.resolve();

/** @param {Reply} reply @param {Transferable[]} [transfer] */
function post(reply, transfer = []) {
  scope.postMessage(reply, transfer);
}

/** @param {number} id @param {unknown} thrown */
function fail(id, thrown) {
  const { kind, message, detail } = toError(thrown);
  post({ type: "failed", id, error: { kind, message, detail } });
}

/** @param {number} id @param {{ frame: Frame, checkpoint: Uint8Array }} result */
function postFrame(id, result) {
  checkpoint = result.checkpoint;
  const buffers = result.frame.sides.flatMap((side) => [side.images.buffer, side.trace_clock.buffer, ...Object.values(side.traces).map((trace) => trace.buffer)]);
  post({ type: "frame", id, frame: result.frame }, /** @type {Transferable[]} */ ([...new Set(buffers)]));
}

/**
 * Called when an engine dies. Only a lost device is rebuilt at once; after a panic the same state
 * would panic again, so the page decides.
 * @param {Failure} error
 * @param {boolean} told a waiting call will report it
 */
function onLoss(error, told) {
  if (rebuilding) return;
  if (error.kind !== "device-lost" || !model || !config) {
    if (!told) fail(0, error);
    return;
  }
  losses.add();
  ready = rebuild(error);
  // Callers that await `ready` get the failure; this avoids an unhandled rejection.
  ready.catch(() => {});
}

/** @param {Failure} cause */
async function rebuild(cause) {
  const kind = keeper.report?.reason_kind;
  const wanted = kind === "asked" || kind === "broken" ? "cpu" : choice;
  rebuilding = true;
  try {
    const enough = losses.tooMany("", cause.detail);
    if (enough) throw enough;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await revive(wanted);
        break;
      } catch (error) {
        if (attempt === REBUILD_ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
      }
    }
  } catch (error) {
    running = null;
    fail(0, error);
    throw error;
  } finally {
    rebuilding = false;
  }
}

/** A new engine with the model, the settings and the last checkpoint of the old one. @param {Choice} wanted */
async function revive(wanted) {
  if (!model || !config) return;
  const found = await keeper.startSomehow(wanted);
  await keeper.call("load", model.card, model.weights);
  await keeper.call("configure", config);
  const result = checkpoint ? await keeper.call("restore", checkpoint) : await keeper.call("reset", config.seed);
  post({ type: "recovered", id: 0, report: found, message: `The compute device was lost. It was restarted${found.runtime === "cpu" ? " on the CPU" : ""}, and the chains continue from their last state.` });
  postFrame(running?.id ?? 0, result);
}

/**
 * A call that survives the loss of the device: it waits for the rebuild and repeats.
 * @template {keyof EngineCalls} Op
 * @param {Op} op
 * @param {Parameters<EngineCalls[Op]>} args
 * @returns {Promise<ReturnType<EngineCalls[Op]>>}
 */
async function compute(op, ...args) {
  for (;;) {
    await ready;
    try {
      return await keeper.call(op, ...args);
    } catch (error) {
      if (toError(error).kind !== "device-lost" || !model || !config) throw error;
    }
  }
}

/** Ends the run, if there is one, and waits for its last frame. */
async function halt() {
  running = null;
  await pumped;
}

/** @param {number} id @param {number} pace */
async function pump(id, pace) {
  let msPerTransition = 0;
  while (running?.id === id) {
    const fit = msPerTransition > 0 ? Math.floor(LONGEST_FRAME_MS / msPerTransition) : 1;
    const transitions = Math.max(1, Math.min(pace, fit));
    const start = performance.now();
    try {
      postFrame(id, await compute("advance", transitions));
    } catch (error) {
      running = null;
      if (toError(error).kind !== "aborted") fail(id, error);
      return;
    }
    const took = performance.now() - start;
    const cost = took / transitions;
    msPerTransition = msPerTransition > 0 ? 0.7 * msPerTransition + 0.3 * cost : cost;
    if (took < SHORTEST_FRAME_MS) await new Promise((resolve) => setTimeout(resolve, SHORTEST_FRAME_MS - took));
  }
}

/** @param {number} id @param {string} name */
async function load(id, name) {
  manifest ??= await loader.manifest();
  const wanted = manifest.models.find((candidate) => candidate.name === name);
  if (!wanted) throw new Failure("bad-model", `The manifest has no model named ${name}.`);
  download = new AbortController();
  let [last, timer] = [-Infinity, 0];
  const loaded = await loader
    .model(wanted, {
      signal: download.signal,
      progress: (file, received, total) => {
        clearTimeout(timer);
        const tell = () => {
          last = performance.now();
          post({ type: "progress", id, file, loaded: received, total });
        };
        // A throttled update is sent a little later, so that a stalled download does not show an old number.
        const wait = last + PROGRESS_EVERY_MS - performance.now();
        if (wait <= 0 || received >= total) tell();
        else timer = setTimeout(tell, wait);
      },
      note: (kind, message) => post({ type: "note", id, kind, message }),
    })
    .finally(() => {
      clearTimeout(timer);
      download = null;
    });
  post({ type: "compiling", id });
  // The previous model's race must not return if the device is lost during this load.
  config = null;
  checkpoint = null;
  const info = await keeper.loadTested(
    () => compute("load", loaded.card, loaded.weights),
    (reason) => post({ type: "note", id, kind: "self-test", message: `${reason} The model runs on the CPU instead.` }),
  );
  model = loaded;
  post({ type: "loaded", id, info, from_cache: loaded.from_cache, cached: loaded.cached, report: /** @type {DeviceReport} */ (keeper.report) });
}

/** @param {Request} request */
async function answer(request) {
  const { id } = request;
  switch (request.type) {
    case "check": {
      // The engine first: a hung device would never finish its frame.
      keeper.end();
      await halt();
      [model, config, checkpoint] = [null, null, null];
      losses.forget();
      ready = Promise.resolve();
      choice = request.choice;
      return post({ type: "checked", id, report: await keeper.startSomehow(choice) });
    }
    case "list": {
      manifest = await loader.manifest();
      const estimate = await navigator.storage?.estimate?.().catch(() => null);
      const quota = estimate ? { usage: estimate.usage ?? 0, quota: estimate.quota ?? 0 } : null;
      return post({ type: "listed", id, manifest, cached: await loader.cached(manifest), quota });
    }
    case "load":
      await halt();
      return load(id, request.model);
    case "forget":
      await loader.forget(request.model);
      return post({ type: "forgotten", id, model: request.model });
    case "configure": {
      await halt();
      const race = await compute("configure", request.config);
      config = race.config;
      checkpoint = null;
      return post({ type: "configured", id, race });
    }
    case "reset": {
      await halt();
      const result = await compute("reset", request.seed);
      if (config) config = { ...config, seed: request.seed };
      return postFrame(id, result);
    }
    case "step":
      await halt();
      return postFrame(id, await compute("advance", 1));
    case "run":
      await halt();
      running = { id };
      post({ type: "running", id });
      pumped = pump(id, request.pace);
      return;
    case "lose-device":
      await ready;
      await keeper.call("lose_device").catch(() => {});
      return;
    case "pause":
    case "abort":
      return;
  }
}

scope.addEventListener("message", ({ data }) => {
  const request = /** @type {Request} */ (data);
  if (request.type === "pause") {
    running = null;
    return post({ type: "paused", id: request.id });
  }
  if (request.type === "abort") return download?.abort();
  queue = queue.then(() => answer(request)).catch((error) => fail(request.id, error));
});
