// The page's engine: started, asked one thing at a time, replaced when lost. Used by the Playground,
// the Studio and Prior, which differ in the calls they make.

import { Keeper } from "./keeper.js";

/** @import { Playground } from "../contract/playground.js" */
/** @import { Prior } from "../contract/prior.js" */
/** @import { Choice, EngineCalls } from "../contract/session.js" */
/** @import { Studio } from "../contract/studio.js" */

/** The engine op of each room, and its calls. @typedef {{ play: Playground, studio: Studio, prior: Prior }} Rooms */
/**
 * @template Call
 * @typedef {Call extends (...args: infer Args) => infer Answer ? { args: Args, answer: Awaited<Answer> } : never} Shape
 */

/** @template {keyof Rooms} Op */
export class Session extends Keeper {
  /** The last question; the next one waits until it settles. */
  #last = /** @type {Promise<unknown>} */ (Promise.resolve());
  /** Questions without an answer yet. */
  pending = 0;

  /**
   * @param {Op} op
   * @param {(error: unknown) => void} onFailure called when the engine is lost while no call is waiting
   */
  constructor(op, onFailure) {
    super((error, told) => {
      if (!told) onFailure(error);
    });
    this.op = op;
  }

  /** @override @param {Choice} wanted */
  start(wanted) {
    // Questions to the previous engine are dropped.
    this.#last = Promise.resolve();
    return super.start(wanted);
  }

  /**
   * @template {keyof Rooms[Op] & string} Method
   * @param {Method} method
   * @param {Shape<Rooms[Op][Method]>["args"]} args
   * @returns {Promise<Shape<Rooms[Op][Method]>["answer"]>}
   */
  ask(method, ...args) {
    this.pending += 1;
    const call = /** @type {(op: string, method: string, args: unknown[]) => Promise<unknown>} */ (/** @type {unknown} */ (this.caller()));
    const answer = this.#last.then(() => call(this.op, method, args)).finally(() => (this.pending -= 1));
    this.#last = answer.catch(() => {});
    return /** @type {Promise<any>} */ (answer);
  }

  /** Random words of this device beside the host's. @param {Parameters<EngineCalls["random_words"]>} args */
  words(...args) {
    return this.call("random_words", ...args);
  }

  /** For the tests. */
  loseDevice() {
    return this.call("lose_device");
  }
}
