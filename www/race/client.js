// The page's side of the worker protocol: requests are promises, other messages are events.

import { Failure } from "../engine/failure.js";

/** @import { MixwellError } from "../contract/errors.js" */
/** @import { Reply, Request } from "../contract/race.js" */

/**
 * @template {Reply["type"]} Type
 * @typedef {Extract<Reply, { type: Type }>} ReplyOf
 */
/** @typedef {{ [Type in Request["type"]]: Omit<Extract<Request, { type: Type }>, "id"> }[Request["type"]]} Message */

/** Replies that settle no request and may come any number of times. */
const EVENTS = new Set(["progress", "compiling", "note", "recovered"]);

export class Client {
  /** @type {Map<number, { resolve: (reply: any) => void, reject: (error: unknown) => void }>} */
  #waiting = new Map();
  #next = 1;
  #worker;
  /** True once the worker is dead; a new client is needed. */
  dead = false;

  /**
   * @param {object} listeners
   * @param {(reply: Reply) => void} listeners.event every message besides the answers to requests
   * @param {(error: MixwellError) => void} listeners.failed failures that no request waits for
   */
  constructor({ event, failed }) {
    this.event = event;
    this.failed = failed;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "mixwell" });
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", (failure) => {
      failure.preventDefault();
      // A worker whose script did not load never answers.
      this.dead = true;
      // A script that fails to run gives a message; one that did not load gives none.
      const error = failure.message ? new Failure("unsupported", failure.message) : new Failure("network", "The worker script (worker.js) did not load.");
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
      this.failed(error);
    });
  }

  /** The id that the next request will get; frames of earlier requests have smaller ones. */
  get next() {
    return this.#next;
  }

  /**
   * @template {Reply["type"]} Type
   * @param {Message} message
   * @param {Type} _answer the type of the answer
   * @returns {Promise<ReplyOf<Type>>}
   */
  request(message, _answer) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.send(message), { resolve, reject });
    });
  }

  /**
   * For requests without an answer.
   * @param {Message} message
   * @returns {number}
   */
  send(message) {
    const id = this.#next++;
    this.#worker.postMessage({ ...message, id });
    return id;
  }

  terminate() {
    this.#worker.terminate();
  }

  /** @param {Reply} reply */
  #receive(reply) {
    const waiting = this.#waiting.get(reply.id);
    if (reply.type === "failed") {
      const { kind, message, detail } = reply.error;
      this.#waiting.delete(reply.id);
      if (waiting) waiting.reject(new Failure(kind, message, detail));
      else this.failed(reply.error);
      return;
    }
    if (EVENTS.has(reply.type)) return this.event(reply);
    this.#waiting.delete(reply.id);
    if (reply.type === "frame") this.event(reply);
    waiting?.resolve(reply);
  }
}
