// The owner's side of the engine: calls as promises; one owner; replaceable.

import { Failure } from "./failure.js";

/** @import { MixwellError } from "../contract/errors.js" */
/** @import { EngineCalls, EngineReply, EngineRequest } from "../contract/session.js" */

/** @type {ReadonlySet<import("../contract/errors.js").ErrorKind>} */
const FATAL = new Set(["panic", "device-lost", "out-of-memory"]);

export class Engine {
  /** @type {Map<number, { resolve: (value: any) => void, reject: (error: unknown) => void }>} */
  #waiting = new Map();
  #next = 1;
  #worker;
  /** @type {Failure | null} */
  #dead = null;

  /** @param {(error: Failure, told: boolean) => void} onFailure called once, when this engine can no longer be used; told: waiting calls are rejected too */
  constructor(onFailure) {
    this.onFailure = onFailure;
    this.#worker = new Worker(new URL("./engine.js", import.meta.url), { type: "module", name: "mixwell engine" });
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#die(new Failure("network", event.message || "engine.js did not load."));
    });
  }

  /**
   * @template {keyof EngineCalls} Op
   * @param {Op} op
   * @param {Parameters<EngineCalls[Op]>} args
   * @returns {Promise<ReturnType<EngineCalls[Op]>>}
   */
  call(op, ...args) {
    if (this.#dead) return Promise.reject(this.#dead);
    const call = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(call, { resolve, reject });
      this.#worker.postMessage(/** @satisfies {EngineRequest} */ ({ call, op, args }));
    });
  }

  /** Ends the worker and whatever it was computing. */
  terminate() {
    this.onFailure = () => {};
    this.#die(new Failure("aborted", "The engine was stopped."));
  }

  /** @param {EngineReply} reply */
  #receive(reply) {
    if ("failure" in reply) return this.#die(failure(reply.failure));
    if ("error" in reply) {
      const error = failure(reply.error);
      // After a trap the wasm memory is in an unknown state, so later calls are refused.
      if (FATAL.has(error.kind)) return this.#die(error);
      this.#waiting.get(reply.call)?.reject(error);
    } else {
      this.#waiting.get(reply.call)?.resolve(reply.value);
    }
    this.#waiting.delete(reply.call);
  }

  /** @param {Failure} error */
  #die(error) {
    if (this.#dead) return;
    this.#dead = error;
    this.#worker.terminate();
    // The owner first: it must know of the loss before the waiting calls reject.
    this.onFailure(error, this.#waiting.size > 0);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** @param {MixwellError} error */
function failure({ kind, message, detail }) {
  return new Failure(kind, message, detail);
}
