// One run of the engine: begun, advanced in calls short enough to pause between, paused, and replayed
// when the engine was used for something else or was replaced. Every state is a function of the
// config, so a replay gives the same run. Used by the Studio and Prior.

/** @import { Session } from "../engine/session.js" */

/** Target time of a call: long enough to be worth a frame, short enough to pause. */
const CALL_MS = 150;
/** Minimum number of frames shown per run. */
const LEAST_FRAMES = 24;

/**
 * The engine holds one run at a time; `held` is its owner.
 * @template {keyof import("../engine/session.js").Rooms} Op
 * @typedef {{ session: Session<Op>, held: object | null }} DeskOf
 */
/** @typedef {DeskOf<"studio">} Desk */
/** @typedef {"idle" | "beginning" | "running" | "paused" | "stopped" | "done"} RunPhase */
/**
 * How a run is made and counted.
 * @template Config, Frame
 * @typedef {object} Walk
 * @property {(config: Config) => Promise<Frame>} begin
 * @property {(transitions: number) => Promise<Frame>} advance
 * @property {(frame: Frame) => number} at transitions so far
 * @property {(frame: Frame) => number} of transitions in all; Infinity: runs until paused
 */

/**
 * @template Config
 * @template {{ energies: Float32Array, elapsed_ms: number }} Frame
 */
export class Run {
  /** @type {RunPhase} */
  phase = "idle";
  /** The config it was begun with. @type {Config | null} */
  config = null;
  /** @type {Frame | null} */
  frame = null;
  /** The engine was lost during the run. */
  interrupted = false;
  /** Values for the charts. */
  history = { steps: /** @type {number[]} */ ([]), energies: /** @type {(number | null)[]} */ ([]) };
  /** Transitions per call, from measured speed. */
  #per = 1;
  /** Frames of an older run are dropped. */
  #era = 0;
  /** One loop at a time. @type {Promise<void>} */
  #loop = Promise.resolve();

  /**
   * @param {{ held: object | null }} desk
   * @param {Walk<Config, Frame>} walk
   * @param {object} listeners
   * @param {(frame: Frame) => void} listeners.onFrame
   * @param {() => void} listeners.onPhase
   */
  constructor(desk, walk, { onFrame, onPhase }) {
    this.desk = desk;
    this.walk = walk;
    this.onFrame = onFrame;
    this.onPhase = onPhase;
  }

  get active() {
    return this.phase === "running" || this.phase === "beginning";
  }

  /** Whether there is a run to continue. */
  get open() {
    return this.phase === "running" || this.phase === "paused";
  }

  /** @param {RunPhase} phase */
  #set(phase) {
    if (phase === this.phase) return;
    this.phase = phase;
    this.onPhase();
  }

  /**
   * Begins a new run. If the engine refuses the config, the last run stays.
   * @param {Config} config
   */
  async begin(config) {
    const before = this.phase;
    this.interrupted = false;
    await this.pause();
    const era = ++this.#era;
    this.#set("beginning");
    try {
      const frame = await this.walk.begin(config);
      if (era !== this.#era) {
        // The engine now holds a run that is not shown.
        this.desk.held = null;
        return;
      }
      this.desk.held = this;
      // The engine accepts the config unchanged. Our copy has its images as bytes.
      this.config = config;
      this.history = { steps: [], energies: [] };
      this.#per = 1;
      this.#push(frame);
      this.#set("paused");
    } catch (error) {
      if (era === this.#era) this.#set(before === "running" || before === "beginning" ? "paused" : before);
      throw error;
    }
  }

  /** Runs to the end, or until paused. */
  async go() {
    if (this.phase !== "paused") return;
    this.interrupted = false;
    this.#set("running");
    await (this.#loop = this.#advance());
  }

  async #advance() {
    const era = this.#era;
    const { walk } = this;
    const goesOn = () => era === this.#era && this.phase === "running";
    try {
      await this.#ensure(goesOn);
      while (goesOn() && this.frame && walk.at(this.frame) < walk.of(this.frame)) {
        const started = performance.now();
        const most = Math.max(1, Math.ceil(walk.of(this.frame) / LEAST_FRAMES));
        const count = Math.max(1, Math.min(most, Math.floor(this.#per)));
        const frame = await walk.advance(count);
        if (era !== this.#era) return;
        this.#push(frame);
        const took = Math.max(1, frame.elapsed_ms, performance.now() - started);
        // The first call may include compilation, so its timing is not representative.
        this.#per = Math.max(1, Math.min(2 * count + 1, (0.5 * this.#per + 0.5 * ((count * CALL_MS) / took))));
        // Lets the page paint between two calls, without waiting on a hidden page.
        await new Promise((resolve) => (document.hidden ? setTimeout(resolve) : requestAnimationFrame(resolve)));
      }
      if (goesOn()) this.#set("done");
    } catch (error) {
      if (era === this.#era && this.phase === "running") {
        this.interrupted = true;
        this.#set("paused");
      }
      throw error;
    }
  }

  /** Brings the engine to the state of this run. @param {() => boolean} goesOn */
  async #ensure(goesOn) {
    const { walk } = this;
    if (this.desk.held === this || !this.config || !this.frame) return;
    this.desk.held = null;
    const goal = walk.at(this.frame);
    let step = walk.at(await walk.begin(this.config));
    while (step < goal) {
      if (!goesOn()) return;
      step = walk.at(await walk.advance(Math.max(1, Math.min(Math.floor(this.#per), goal - step))));
    }
    this.desk.held = this;
  }

  /**
   * The engine was lost. The loop must not continue with a new engine that never began this run, so
   * it ends here, and go() replays.
   */
  interrupt() {
    if (this.phase !== "running") return;
    this.#era += 1;
    this.interrupted = true;
    this.#set("paused");
  }

  /** One transition. */
  async step() {
    await this.pause();
    if (this.phase !== "paused") return;
    const era = this.#era;
    await this.#ensure(() => era === this.#era);
    if (era !== this.#era) return;
    const frame = await this.walk.advance(1);
    if (era !== this.#era) return;
    this.#push(frame);
    if (this.walk.at(frame) >= this.walk.of(frame)) this.#set("done");
  }

  /** Resolves when the current call has been shown. */
  async pause() {
    if (this.phase === "running") this.#set("paused");
    await this.#loop.catch(() => {});
  }

  /** Ends the run; its last frame stays on the screen. */
  async stop() {
    await this.pause();
    if (this.phase === "paused") this.#set("stopped");
  }

  /** Resets to the state before any run. */
  forget() {
    this.#era += 1;
    this.config = this.frame = null;
    this.history = { steps: [], energies: [] };
    if (this.desk.held === this) this.desk.held = null;
    this.#set("idle");
  }

  /** @param {Frame} frame */
  #push(frame) {
    this.frame = frame;
    this.history.steps.push(this.walk.at(frame));
    const finite = frame.energies.filter(Number.isFinite);
    this.history.energies.push(finite.length === 0 ? null : finite.reduce((sum, value) => sum + value, 0) / finite.length);
    this.onFrame(frame);
  }
}

/**
 * Pauses the visible run when the page is hidden.
 * @template {{ run: { phase: string, pause: () => Promise<unknown> }, resume: () => unknown }} Panel
 * @param {() => Panel | null} now the panel on the screen
 * @param {(error: unknown) => void} fail
 * @returns {(() => void) | null} resumes the run, if it still exists; null: nothing ran
 */
export function restOf(now, fail) {
  const panel = now();
  if (panel?.run.phase !== "running") return null;
  panel.run.pause().catch(fail);
  return () => {
    if (panel.run.phase === "paused" && panel === now()) void panel.resume();
  };
}
