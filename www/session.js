// The page's one engine: started, asked one thing at a time, replaced when it is lost. Serves the
// Playground, the Studio and Prior, which differ in the calls that they may make.

import { Engine } from "./engine-host.js";
import { Failure } from "./failure.js";

/** @import { DeviceReport, EngineCalls, Runtime } from "./protocol.js" */
/** @import { Playground } from "./play-protocol.js" */
/** @import { Prior } from "./prior-protocol.js" */
/** @import { Studio } from "./studio-protocol.js" */

/** The engine's op of each, and what it may be asked. @typedef {{ play: Playground, studio: Studio, prior: Prior }} Rooms */
/**
 * @template Call
 * @typedef {Call extends (...args: infer Args) => infer Answer ? { args: Args, answer: Awaited<Answer> } : never} Shape
 */

/** @template {keyof Rooms} Op */
export class Session {
  /** @type {Engine | null} */
  #engine = null;
  /** The last question asked; the next one waits for its answer, whatever that is. */
  #last = /** @type {Promise<unknown>} */ (Promise.resolve());
  /** Questions without an answer yet. */
  pending = 0;
  /** @type {DeviceReport | null} */
  report = null;

  /**
   * @param {Op} op
   * @param {(error: unknown) => void} onFailure when the engine is lost while nobody waits for an answer
   */
  constructor(op, onFailure) {
    this.op = op;
    this.onFailure = onFailure;
  }

  /**
   * A fresh engine, in place of the one before.
   * @param {Runtime} wanted
   * @returns {Promise<DeviceReport>} with the runtime that it became, and why
   */
  async start(wanted) {
    this.#engine?.terminate();
    const engine = new Engine((error, told) => {
      if (this.#engine !== engine) return;
      this.#engine = null;
      if (!told) this.onFailure(error);
    });
    this.#engine = engine;
    this.#last = Promise.resolve();
    const report = await engine.call("check", wanted === "cpu");
    await engine.call("start", report.runtime);
    this.report = report;
    return report;
  }

  /**
   * @template {keyof Rooms[Op] & string} Method
   * @param {Method} method
   * @param {Shape<Rooms[Op][Method]>["args"]} args
   * @returns {Promise<Shape<Rooms[Op][Method]>["answer"]>}
   */
  ask(method, ...args) {
    const engine = this.#engine;
    if (!engine) return Promise.reject(new Failure("panic", "The engine is not running."));
    this.pending += 1;
    const call = /** @type {(op: string, method: string, args: unknown[]) => Promise<unknown>} */ (/** @type {unknown} */ (engine.call.bind(engine)));
    const answer = this.#last.then(() => call(this.op, method, args)).finally(() => (this.pending -= 1));
    this.#last = answer.catch(() => {});
    return /** @type {Promise<any>} */ (answer);
  }

  /** Random words of this device beside the host's. @param {Parameters<EngineCalls["random_words"]>} args */
  words(...args) {
    const engine = this.#engine;
    if (!engine) return Promise.reject(new Failure("panic", "The engine is not running."));
    return engine.call("random_words", ...args);
  }

  /** Ends the engine; nothing is asked of it any more. */
  end() {
    const engine = this.#engine;
    this.#engine = null;
    engine?.terminate();
  }

  /** For the tests. */
  loseDevice() {
    return this.#engine?.call("lose_device");
  }
}
