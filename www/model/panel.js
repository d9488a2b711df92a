// Base of the panels of a run: mild failures are shown beside the buttons, others are passed to the
// page.

import { setText } from "../ui/dom.js";
import { complain } from "../ui/readings.js";

/**
 * What a panel needs from its page.
 * @template Config
 * @typedef {object} AppOf
 * @property {() => unknown} model null: none is loaded
 * @property {() => Config} config of the settings
 * @property {(error: unknown) => void} fail
 */

/**
 * @template Config
 * @template {AppOf<Config>} App
 */
export class Panel {
  /**
   * @param {App} app
   * @param {HTMLElement} problem where mild failures are shown
   */
  constructor(app, problem) {
    this.app = app;
    this.problem = problem;
  }

  /** The config of a new run; throws a Failure that says what is missing. @returns {Config} */
  wanted() {
    return this.app.config();
  }

  /** @returns {Pick<import("./run.js").Run<Config, any>, "open" | "begin" | "go" | "step">} */
  get current() {
    throw new Error("A panel names its run.");
  }

  /** @param {() => Promise<unknown>} action */
  async attempt(action) {
    try {
      setText(this.problem, "");
      await action();
    } catch (error) {
      if (!complain(error, this.problem)) this.app.fail(error);
    }
  }

  /** Continues the run, also after the engine was replaced. */
  resume() {
    return this.attempt(() => this.current.go());
  }

  /** One transition; begins a new run if there is none. */
  step() {
    if (!this.app.model()) return Promise.resolve();
    return this.attempt(async () => {
      if (!this.current.open) await this.current.begin(this.wanted());
      await this.current.step();
    });
  }
}
