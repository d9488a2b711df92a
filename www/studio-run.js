// One run of the engine as the page sees it: begun, advanced in calls short enough to stop between,
// paused, and replayed when the engine meanwhile did something else or was replaced. Every state is
// a function of the config, so that a replay is the run.

/** @import { StudioConfig, StudioFrame } from "./studio-protocol.js" */
/** @import { Session } from "./session.js" */

/** A call should take about so long: long enough to be worth its frame, short enough to stop. */
const CALL_MS = 150;
/** A run shows at least so many pictures of its way. */
const LEAST_FRAMES = 24;

/** The engine holds one run at a time; whose it is stands here. @typedef {{ session: Session<"studio">, held: Run | null }} Desk */
/** @typedef {"idle" | "beginning" | "running" | "paused" | "stopped" | "done"} RunPhase */

export class Run {
  /** @type {RunPhase} */
  phase = "idle";
  /** As it was begun. @type {StudioConfig | null} */
  config = null;
  /** @type {StudioFrame | null} */
  frame = null;
  /** The engine was lost under it. */
  interrupted = false;
  /** What the charts show. */
  history = { steps: /** @type {number[]} */ ([]), energies: /** @type {(number | null)[]} */ ([]) };
  /** Transitions in a call, as measured. */
  #per = 1;
  /** Frames of an older run are dropped. */
  #era = 0;
  /** One loop at a time. @type {Promise<void>} */
  #loop = Promise.resolve();

  /**
   * @param {Desk} desk
   * @param {object} listeners
   * @param {(frame: StudioFrame) => void} listeners.onFrame
   * @param {() => void} listeners.onPhase
   */
  constructor(desk, { onFrame, onPhase }) {
    this.desk = desk;
    this.onFrame = onFrame;
    this.onPhase = onPhase;
  }

  get active() {
    return this.phase === "running" || this.phase === "beginning";
  }

  /** Whether there is something to go on with. */
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
   * A new run. When the engine refuses the config, the last one stays.
   * @param {StudioConfig} config
   */
  async begin(config) {
    const before = this.phase;
    this.interrupted = false;
    await this.pause();
    const era = ++this.#era;
    this.#set("beginning");
    try {
      const frame = await this.desk.session.ask("begin", config);
      if (era !== this.#era) {
        // The engine now holds a run that nobody shows.
        this.desk.held = null;
        return;
      }
      this.desk.held = this;
      // Accepted as it was sent, for the engine changes nothing. Ours has its images as bytes.
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

  /** Runs to the end, or until somebody pauses. */
  async go() {
    if (this.phase !== "paused") return;
    this.interrupted = false;
    this.#set("running");
    await (this.#loop = this.#advance());
  }

  async #advance() {
    const era = this.#era;
    const goesOn = () => era === this.#era && this.phase === "running";
    try {
      await this.#ensure(goesOn);
      while (goesOn() && this.frame && this.frame.step < this.frame.of) {
        const started = performance.now();
        const most = Math.max(1, Math.ceil(this.frame.of / LEAST_FRAMES));
        const count = Math.max(1, Math.min(most, Math.floor(this.#per)));
        const frame = await this.desk.session.ask("advance", count);
        if (era !== this.#era) return;
        this.#push(frame);
        const took = Math.max(1, frame.elapsed_ms, performance.now() - started);
        // The first call may compile: it says little, and the next ones say more.
        this.#per = Math.max(1, Math.min(2 * count + 1, (0.5 * this.#per + 0.5 * ((count * CALL_MS) / took))));
        // The page paints between two calls; a hidden one must not wait for that.
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

  /** The engine stands where this run stands. @param {() => boolean} goesOn */
  async #ensure(goesOn) {
    const { session } = this.desk;
    if (this.desk.held === this || !this.config || !this.frame) return;
    this.desk.held = null;
    let { step } = await session.ask("begin", this.config);
    while (step < this.frame.step) {
      if (!goesOn()) return;
      ({ step } = await session.ask("advance", Math.max(1, Math.min(Math.floor(this.#per), this.frame.step - step))));
    }
    this.desk.held = this;
  }

  /**
   * The engine is gone. The loop may not know it yet, between two calls, and must not go on with an
   * engine that never began this run: it ends here, and go() replays.
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
    const frame = await this.desk.session.ask("advance", 1);
    if (era !== this.#era) return;
    this.#push(frame);
    if (frame.step >= frame.of) this.#set("done");
  }

  /** Returns when the call under way has been shown. */
  async pause() {
    if (this.phase === "running") this.#set("paused");
    await this.#loop.catch(() => {});
  }

  /** Ends the run; what it made stays on the screen. */
  async stop() {
    await this.pause();
    if (this.phase === "paused") this.#set("stopped");
  }

  /** Nothing was ever made. */
  forget() {
    this.#era += 1;
    this.config = this.frame = null;
    this.history = { steps: [], energies: [] };
    if (this.desk.held === this) this.desk.held = null;
    this.#set("idle");
  }

  /** @param {StudioFrame} frame */
  #push(frame) {
    this.frame = frame;
    this.history.steps.push(frame.step);
    const finite = frame.energies.filter(Number.isFinite);
    this.history.energies.push(finite.length === 0 ? null : finite.reduce((sum, value) => sum + value, 0) / finite.length);
    this.onFrame(frame);
  }
}
