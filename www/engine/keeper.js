// Keeps one engine for its owner: starts it on the available device, moves it to the CPU if WebGPU
// does not work, and replaces it when lost. Used by the race's worker and, through Session, by the
// pages of the other rooms.

import { Failure, toError } from "./failure.js";
import { Engine } from "./host.js";

/** @import { SelfTest } from "../contract/models.js" */
/** @import { Choice, DeviceReport, EngineCalls } from "../contract/session.js" */

export class Keeper {
  /** @type {Engine | null} */
  #engine = null;
  #onLoss;
  /** Report of the last start. @type {DeviceReport | null} */
  report = null;

  /** @param {(error: Failure, told: boolean) => void} onLoss the engine can no longer be used; told: waiting calls are rejected too */
  constructor(onLoss) {
    this.#onLoss = onLoss;
  }

  /** Runtime of the last started engine, if known. */
  get #runtime() {
    return this.report?.runtime;
  }

  /**
   * Starts a new engine in place of the previous one.
   * @param {Choice} wanted
   * @returns {Promise<DeviceReport>} with the actual runtime, and the reason
   */
  async start(wanted) {
    this.end();
    this.report = null;
    // A dead engine stays until another starts, and refuses every call with the reason of its failure.
    const engine = new Engine((error, told) => {
      if (this.#engine === engine) this.#onLoss(error, told);
    });
    this.#engine = engine;
    const report = await engine.call("check", wanted);
    this.report = report;
    await engine.call("start", report.runtime);
    return report;
  }

  /**
   * The same, but falls back to the CPU build if the WebGPU build does not start.
   * @param {Choice} wanted
   */
  async startSomehow(wanted) {
    try {
      return await this.start(wanted);
    } catch (error) {
      const { kind, message } = toError(error);
      // If even the check failed, or another start was requested, the CPU build would not help.
      if (this.#runtime !== "webgpu" || kind === "aborted") throw error;
      return this.moveToCpu(`The WebGPU build did not start: ${message}`);
    }
  }

  /** WebGPU is available but does not work. @param {string} reason */
  async moveToCpu(reason) {
    const report = await this.start("cpu");
    this.report = { ...report, reason_kind: "broken", reason };
    return this.report;
  }

  /**
   * Loads a model and checks its self-test. A device that fails it computes finite but wrong numbers,
   * so the CPU takes over.
   * @template {{ self_test: SelfTest }} Info
   * @param {() => Promise<Info>} load
   * @param {(reason: string) => void} moving called before the CPU build starts
   * @returns {Promise<Info>}
   */
  async loadTested(load, moving) {
    const tested = async () => {
      const info = await load();
      const { passed, max_relative_error: error, tolerance } = info.self_test;
      if (!passed) throw new Failure("self-test", `Energies are off by ${error.toExponential(1)}; at most ${tolerance.toExponential(1)} is allowed.`);
      return info;
    };
    try {
      return await tested();
    } catch (error) {
      const { kind, message } = toError(error);
      if (kind !== "self-test" || this.#runtime !== "webgpu") throw error;
      const reason = `The self-test failed on this graphics adapter: ${message}`;
      moving(reason);
      await this.moveToCpu(reason);
      return tested();
    }
  }

  /**
   * @template {keyof EngineCalls} Op
   * @param {Op} op
   * @param {Parameters<EngineCalls[Op]>} args
   * @returns {Promise<ReturnType<EngineCalls[Op]>>}
   */
  call(op, ...args) {
    return this.caller()(op, ...args);
  }

  /**
   * The current engine's calls, bound: a queued question must not reach a later engine.
   * @returns {Engine["call"]}
   */
  caller() {
    const engine = this.#engine;
    return engine ? engine.call.bind(engine) : () => Promise.reject(new Failure("panic", "The engine is not running."));
  }

  /** Ends the engine and whatever it was computing. */
  end() {
    const engine = this.#engine;
    this.#engine = null;
    engine?.terminate();
  }
}

/** A device lost more often than this within a minute is given up. */
const MOST_LOSSES = 3;

/** Counts the losses of the last minute. */
export class Losses {
  /** @type {number[]} */
  #times = [];

  add() {
    const now = performance.now();
    this.#times = [...this.#times.filter((time) => now - time < 60_000), now];
  }

  /**
   * @param {string} [more] message of the last loss
   * @param {string} [detail] technical text
   * @returns {Failure | null} the failure, if there were too many losses
   */
  tooMany(more = "", detail = "") {
    const count = this.#times.length;
    return count > MOST_LOSSES ? new Failure("device-lost", `The device was lost ${count} times within a minute. ${more}`.trim(), detail) : null;
  }

  forget() {
    this.#times = [];
  }
}
