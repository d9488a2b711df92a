// What a worker lives in, scripted by a test: its global scope, workers that answer from a table, and a
// clock that moves only when it is told to.

import assert from "node:assert/strict";

/** @import { ErrorKind, MixwellError } from "../../../contract/errors.js" */

/** An error as a worker reports it. @param {ErrorKind} kind @param {string} message */
export const failing = (kind, message) => new Error(message, { cause: kind });

/** @param {Error} error @returns {MixwellError} */
const reported = (error) => ({ kind: /** @type {ErrorKind} */ (error.cause ?? "panic"), message: error.message, detail: "" });

/**
 * A worker that answers each op with a value, with what a function makes of the arguments, or with an
 * error. An op without an answer waits for ever.
 */
export class ScriptedWorker extends EventTarget {
  /** Every worker since the last `begin`. @type {ScriptedWorker[]} */
  static all = [];
  /** @type {Record<string, any>} */
  static answers = {};
  /** What it was asked. @type {[op: string, ...args: any[]][]} */
  asked = [];
  /** The same requests as they came. @type {{ call: number, op: string, args: any[] }[]} */
  requests = [];
  ended = false;

  /** @param {Record<string, any>} answers */
  static begin(answers) {
    [this.all, this.answers] = [[], answers];
  }

  /** @param {URL} url @param {WorkerOptions} [options] */
  constructor(url, options) {
    super();
    this.url = url;
    this.options = options;
    ScriptedWorker.all.push(this);
  }

  /** @param {{ call: number, op: string, args: any[] }} request */
  postMessage(request) {
    const { call, op, args } = request;
    this.asked.push([op, ...args]);
    this.requests.push(request);
    const answer = ScriptedWorker.answers[op];
    const given = typeof answer === "function" ? answer(...args) : answer;
    if (given === undefined) return;
    queueMicrotask(() => this.tell(given instanceof Error ? { call, error: reported(given) } : { call, value: given }));
  }

  /** @param {unknown} data */
  tell(data) {
    if (!this.ended) this.dispatchEvent(new MessageEvent("message", { data }));
  }

  /** Nobody asked. @param {Error} error */
  fail(error) {
    this.tell({ failure: reported(error) });
  }

  terminate() {
    this.ended = true;
  }
}

/** The global scope of a worker: what it posted, and what comes in. */
export class Scope extends EventTarget {
  isSecureContext = true;
  /** @type {{ data: any, transfer: unknown[] }[]} */
  posted = [];

  /** @param {any} data @param {unknown[]} transfer */
  postMessage(data, transfer) {
    this.posted.push({ data, transfer });
  }

  /** @param {unknown} data */
  receive(data) {
    this.dispatchEvent(new MessageEvent("message", { data }));
  }
}

/** A property of the global scope, until the test ends. @param {import("node:test").TestContext} t @param {string} name @param {unknown} value */
export function setGlobal(t, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    if (before) Object.defineProperty(globalThis, name, before);
    else Reflect.deleteProperty(globalThis, name);
  });
}

/** Lets everything happen that waits for no timer. */
export async function settled() {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Waits for something that needs no timer, but more than a few turns: a hash, the body of an answer.
 * @template T
 * @param {() => T | undefined | false} look
 * @param {string} what
 * @returns {Promise<T>}
 */
export async function seen(look, what) {
  const end = process.hrtime.bigint() + 2_000_000_000n;
  for (;;) {
    const found = look();
    if (found) return found;
    assert.ok(process.hrtime.bigint() < end, `${what} did not come`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** setTimeout and performance.now, moved by a test. */
export class Clock {
  now = 1000;
  /** Every wait that was asked for, in milliseconds. @type {number[]} */
  waits = [];
  /** @type {Map<number, { at: number, run: () => void }>} */
  #timers = new Map();
  #next = 1;

  /** @param {import("node:test").TestContext} t */
  constructor(t) {
    t.mock.method(performance, "now", () => this.now);
    setGlobal(t, "setTimeout", (/** @type {() => void} */ run, ms = 0) => {
      this.waits.push(ms);
      this.#timers.set(this.#next, { at: this.now + ms, run });
      return this.#next++;
    });
    setGlobal(t, "clearTimeout", (/** @type {number} */ timer) => this.#timers.delete(timer));
  }

  /** @param {number} ms */
  async pass(ms) {
    const end = this.now + ms;
    for (;;) {
      await settled();
      const [first] = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at);
      if (!first) break;
      const [timer, { at, run }] = first;
      this.#timers.delete(timer);
      this.now = Math.max(this.now, at);
      run();
    }
    this.now = Math.max(this.now, end);
  }
}
