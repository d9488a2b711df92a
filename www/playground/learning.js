// Learns a density step by step through the engine. The panel shows the progress.

import { toError } from "../engine/failure.js";
import { announce } from "../ui/cards.js";
import { byId } from "../ui/dom.js";
import { LearnPanel } from "./learn-panel.js";
import { plain } from "./room.js";
import { samplerConfig, side } from "./settings.js";
import { presetState } from "./url.js";

/** @import { LearnConfig } from "../contract/playground.js" */
/** @import { Conductor } from "./conductor.js" */
/** @import { Room } from "./room.js" */
/** @import { PlayState } from "./url.js" */

/** Interval between pictures of the learned surface. */
const CALL_MS = 200;
/** Iterations of the first call, before any timing, and of the longest call. */
const FIRST_CALL = 5;
const LONGEST_CALL = 200;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Learning {
  /** Number of the current learning; changing it stops the loop. */
  #current = 0;

  /** @param {Room} room @param {Conductor} conductor @param {(state: PlayState) => void} setState */
  constructor(room, conductor, setState) {
    this.room = room;
    this.conductor = conductor;
    this.panel = new LearnPanel({
      onStart: () => void this.learn().catch(conductor.fail),
      onStop: () => this.stop(),
      onRun: () => void this.runOnLearned(),
      onChange: (config) => setState({ ...room.state, learn: config }),
    });
  }

  stop() {
    this.#current += 1;
  }

  /** The engine failed. */
  fail() {
    this.stop();
    this.panel.state("idle");
  }

  /**
   * @param {LearnConfig} config
   * @param {() => boolean} goesOn
   * @returns {Promise<boolean>} whether it finished
   */
  async through(config, goesOn) {
    const { session } = this.conductor;
    let frame = await session.ask("learn", config);
    this.panel.push(frame, config);
    let size = FIRST_CALL;
    while (frame.stage !== "done") {
      if (!goesOn()) return false;
      const started = performance.now();
      frame = await session.ask("learn_step", size);
      this.panel.push(frame, config);
      document.documentElement.dataset.learned = `${frame.stage} ${frame.iteration}`;
      const took = Math.max(1, performance.now() - started);
      size = Math.max(1, Math.min(LONGEST_CALL, Math.round((size * CALL_MS) / took)));
      // Lets the page paint and handle Stop between two calls.
      await new Promise((resolve) => setTimeout(resolve));
    }
    this.room.learned = structuredClone(config);
    await this.conductor.refreshTargets();
    return true;
  }

  async learn() {
    const { room, conductor, panel } = this;
    if (!room.on) return;
    await conductor.pause();
    const mine = ++this.#current;
    const config = structuredClone(room.state.learn);
    byId("learn", HTMLDetailsElement).open = true;
    // The true surface is the room's: the target learned is the one shown.
    if (room.info?.config.target !== config.target) await conductor.change({ ...room.state, config: { ...plain(room.state.config), target: config.target } });
    if (room.info?.config.target !== config.target) return panel.tell("This density is not available to learn from.");
    panel.begin(room.info.surface);
    panel.state("busy");
    announce("Learning.");
    try {
      const done = await this.through(config, () => mine === this.#current && room.phase !== "failed");
      panel.state(room.learned ? "done" : "idle");
      announce(done ? "Learned. Chains can run on it now." : "Learning was stopped.");
      const { lesson } = room.state;
      if (!done) panel.tell("Stopped. Press Learn to start again from the beginning.");
      else if (lesson !== null && presetState(lesson).config.target === "learned") await this.runOnLearned();
    } catch (error) {
      panel.state(room.learned ? "done" : "idle");
      const problem = toError(error);
      if (problem.kind !== "bad-config") throw error;
      panel.tell(problem.message);
    }
  }

  /** The same sampler in the plane and in the flow's latent space. */
  async runOnLearned() {
    const { state } = this.room;
    const own = state.config.sides[0]?.sampler ?? samplerConfig("mala");
    // Gibbs needs conditional distributions, which are unknown for a flow.
    const sampler = own.sampler === "gibbs" ? samplerConfig("mala") : own;
    const both = /** @type {const} */ (["data", "latent"]).map((space) => ({ ...side(sampler.sampler, { ...sampler, step_size: null, noise: null }), space }));
    await this.conductor.change({ ...state, config: { ...state.config, target: "learned", sides: both } }, true);
    byId("a-figure", HTMLElement).scrollIntoView({ block: "start", behavior: calm.matches ? "auto" : "smooth" });
  }
}
