// Runs the chains: starts the engine, asks it one thing at a time, and moves the clock forwards and
// back. Every draw is a function of the configuration, so rewinding, changing the device and
// recovering a lost engine are all replays.

import { toError } from "../engine/failure.js";
import { Session } from "../engine/session.js";
import { announce, dismiss, hideCard, notice, showError, showWaiting, tellRuntime } from "../ui/cards.js";
import { integer } from "../ui/format.js";
import { askedRuntime } from "../ui/shell.js";
import { failureWords } from "./failures.js";
import { SIDE } from "./grid.js";
import { plain } from "./room.js";
import { defaultConfig } from "./settings.js";

/** @import { LearnConfig, PlayConfig, PlayFrame, PlayInfo } from "../contract/playground.js" */
/** @import { DeviceReport, Runtime } from "../contract/session.js" */
/** @import { Way } from "./failures.js" */
/** @import { Phase, Room } from "./room.js" */
/** @import { PlayState } from "./url.js" */
/** @import { Views } from "./views.js" */

/** Longest time of one call to the engine, so that pause and slider respond. */
const LONGEST_CALL_MS = 90;
/** Share of the time for statistics and for charts computed from all draws. */
const STATISTICS_SHARE = 0.2;
const STATISTICS_EVERY_MS = 350;
const CHARTS_EVERY_MS = 1500;
/** Clocks closer than this count as equal. */
const SLACK = 0.25;

/**
 * Callbacks to the rest of the page.
 * @typedef {object} Page
 * @property {(state: PlayState) => void} setState
 * @property {(phase: Phase) => void} onPhase
 * @property {(report: DeviceReport) => void} onDevice
 * @property {() => void} onOffer the engine listed its targets and samplers
 * @property {(info: PlayInfo) => void} onStart a new run was accepted
 * @property {() => void} onDrawn the drawing changed
 * @property {(message: string) => void} onBadDrawing
 * @property {() => void} onLeave the chains move on, so the inspected transition is past
 * @property {() => void} onSeek the clock was changed
 * @property {() => Promise<void>} onArrive the chains reached the new clock
 * @property {(recipe: LearnConfig, goesOn: () => boolean) => Promise<void>} relearn on a fresh engine
 * @property {() => void} onFail
 * @property {() => void} onDefaults restores the default settings
 */

export class Conductor {
  /** The newest request wins: results of older ones are dropped. */
  #attempt = 0;
  /** Frames requested before the last configure() belong to older chains. */
  era = 0;
  /** Runs are numbered, so that a replaced loop ends. */
  #runs = 0;
  /** @type {Runtime} */
  runtime = askedRuntime === "webgpu" ? "webgpu" : "cpu";
  /** Settings of the last accepted run, to return to. @type {PlayConfig | null} */
  #good = null;
  /** The drawing in the engine. */
  #held = "";
  /** Measured milliseconds of one gradient of all chains, and of the statistics over all draws. */
  #cost = { gradient: 0.5, statistics: 0, charts: 0 };
  #stepping = false;
  #seeking = false;
  /** The newest target of a slider drag. @type {{ clock: number, last: boolean } | null} */
  #wish = null;
  /** @type {Views} */
  views = /** @type {any} */ (null);

  /** @param {Room} room @param {Page} page */
  constructor(room, page) {
    this.room = room;
    this.page = page;
    /** @type {Session<"play">} */
    this.session = new Session("play", (error) => this.fail(error));
  }

  /** Whether a call or a seek is active. */
  get busy() {
    return this.session.pending > 0 || this.#seeking || this.#stepping || this.views.charting;
  }

  /** @param {Phase} next */
  #setPhase(next) {
    this.room.phase = next;
    document.documentElement.dataset.phase = next;
    this.page.onPhase(next);
  }

  // Starting

  /**
   * Starts the engine and the run. Also used after every failure, with a replay.
   * @param {number} [clock] clock to replay to
   */
  async boot(clock = this.room.state.at ?? 0) {
    const { room, session } = this;
    const mine = ++this.#attempt;
    this.#setPhase("loading");
    try {
      showWaiting("Starting the engine", this.runtime === "cpu" ? "About half a megabyte of WebAssembly; everything is computed on your machine." : "The graphics adapter compiles its shaders. The first time takes a few seconds.");
      [this.#held, room.info] = ["", null];
      const recipe = room.learned;
      room.learned = null;
      const report = await session.start(this.runtime);
      if (mine !== this.#attempt) return;
      // Only a visitor who requested WebGPU needs the reason for the CPU.
      tellRuntime(this.runtime === "cpu" ? { ...report, reason_kind: null } : report, "The numbers are the same.");
      this.runtime = report.runtime;
      this.page.onDevice(report);
      [room.samplers, room.targets] = [await session.ask("samplers"), await session.ask("targets")];
      if (mine !== this.#attempt) return;
      this.page.onOffer();
      if (recipe && room.state.config.target === "learned") {
        await this.#useDrawing();
        await this.page.relearn(recipe, () => mine === this.#attempt);
      }
      await this.#prepare(mine, clock);
    } catch (error) {
      if (mine === this.#attempt) this.fail(error);
    }
  }

  /** The engine's targets changed: a new drawing or learned density. */
  async refreshTargets() {
    this.room.targets = await this.session.ask("targets");
    this.page.onOffer();
  }

  /** Passes a new drawing to the engine. */
  async #useDrawing() {
    const { drawn } = this.room.state;
    const drawing = drawn ? drawn.join() : "";
    if (!drawn || drawing === this.#held) return;
    await this.session.ask("draw", drawn, SIDE);
    this.#held = drawing;
    await this.refreshTargets();
  }

  /** @param {number} mine @param {number} [clock] */
  async #prepare(mine, clock = 0) {
    const { room, page } = this;
    const { drawn, config, learn } = room.state;
    if (drawn && (config.target === "drawn" || learn.target === "drawn" || this.#held === "")) {
      try {
        await this.#useDrawing();
      } catch (error) {
        const { kind, message } = toError(error);
        if (kind !== "bad-config") throw error;
        page.onBadDrawing(message);
        page.setState({ ...room.state, drawn: null, config: this.#good ?? { ...room.state.config, target: defaultConfig().target } });
      }
      if (mine !== this.#attempt) return;
    }
    const { target } = room.wanted();
    if (!room.targets.some(({ name }) => name === target)) {
      const instead = room.targets.find(({ name }) => name === defaultConfig().target) ?? room.targets[0];
      if (!instead) throw new Error("The engine has no targets.");
      notice("target", "This target is not available.", `“${target}” is not in the list, so ${instead.title} is shown.`);
      page.setState({ ...room.state, config: { ...plain(room.state.config), target: instead.name } });
    }
    await this.#configure(mine, clock);
  }

  /** @param {number} mine @param {number} clock @returns {Promise<void>} */
  async #configure(mine, clock) {
    const { room, page, session } = this;
    const { config } = room.state;
    this.era += 1;
    const own = this.era;
    /** @type {PlayInfo} */
    let accepted;
    try {
      accepted = await session.ask("configure", room.wanted());
    } catch (error) {
      const problem = toError(error);
      if (mine !== this.#attempt) return;
      if (problem.kind !== "bad-config") throw error;
      const back = this.#good && this.#good !== config ? this.#good : defaultConfig();
      if (back === config || JSON.stringify(back) === JSON.stringify(config)) throw error;
      const kept = back === this.#good;
      notice("config", "The engine refused these settings.", `${problem.message} ${kept ? "The last good run is kept." : "The defaults are used."}`);
      page.setState({ ...room.state, config: back });
      return this.#configure(mine, kept ? room.clock : 0);
    }
    if (mine !== this.#attempt || own !== this.era) return;
    if (room.state.config !== config) return this.#configure(mine, clock);
    this.#good = config;
    room.start(accepted);
    page.onStart(accepted);
    this.views.start();
    const frame = clock > 0 ? await this.#replay(0, clock, true, () => mine === this.#attempt && own === this.era) : await session.ask("advance", 0, false);
    if (mine !== this.#attempt) return;
    if (room.state.at !== null) page.setState({ ...room.state, at: null });
    this.#push(frame);
    hideCard();
    this.#setPhase("ready");
    await this.settle();
    announce(clock > 0 ? `Replayed to ${integer(room.clock)} gradients.` : "Ready. All chains are at their starts.");
  }

  /** @param {PlayFrame} frame */
  #push(frame) {
    if (!this.room.info) return;
    this.room.push(frame);
    this.views.push(frame);
  }

  /** Draws pending frames, and computes the statistics for a paused run. */
  async settle() {
    const { room, views } = this;
    views.hurry();
    const own = this.era;
    if (room.frame?.sides.some((side, index) => side.transitions > 0 && (!side.statistics || !room.statistics[index]))) {
      const frame = await this.session.ask("advance", 0, true);
      if (own !== this.era) return;
      this.#push(frame);
    }
    views.draw();
    await views.updateCharts();
    views.draw();
  }

  // Running

  async run() {
    const { room, session } = this;
    if (room.phase !== "ready" || this.#isFull()) return;
    this.#setPhase("running");
    announce("Running.");
    this.page.onLeave();
    const mine = ++this.#runs;
    const own = this.era;
    const cost = this.#cost;
    let owed = 1;
    let [last, lastStatistics, lastCharts] = [performance.now(), -Infinity, performance.now()];
    const goesOn = () => room.phase === "running" && mine === this.#runs && own === this.era;
    while (goesOn()) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      if (!goesOn()) return;
      const now = performance.now();
      const most = Math.max(1, LONGEST_CALL_MS / cost.gradient);
      const { pace } = room.state;
      // After a delay, the page does not catch up in one long call.
      owed = pace === 0 ? most / 2 : Math.min(most, owed + (pace * Math.min(500, now - last)) / 1000);
      last = now;
      if (owed < 1) continue;
      const before = room.clock;
      const wantsStatistics = now - lastStatistics > Math.max(STATISTICS_EVERY_MS, cost.statistics / STATISTICS_SHARE);
      const frame = await session.ask("advance", Math.floor(owed), wantsStatistics);
      if (own !== this.era) return;
      this.#push(frame);
      const took = performance.now() - now;
      const done = Math.max(1, room.clock - before);
      owed -= done;
      if (wantsStatistics) {
        lastStatistics = now;
        cost.statistics = Math.max(0, took - done * cost.gradient);
      } else cost.gradient = 0.8 * cost.gradient + 0.2 * Math.max(0.0005, took / done);
      if (this.#isFull()) return this.pause();
      if (now - lastCharts > Math.max(CHARTS_EVERY_MS, cost.charts / STATISTICS_SHARE)) {
        const asked = performance.now();
        await this.views.updateCharts();
        cost.charts = performance.now() - asked;
        lastCharts = performance.now();
      }
    }
  }

  /** Whether the run has reached its maximum length; shows a notice if so. */
  #isFull() {
    if (!this.room.full) return false;
    notice("long", "The run has reached its maximum length.", "You can still inspect, rewind and export it. With fewer chains, a run can be longer.");
    return true;
  }

  async pause() {
    if (this.room.phase !== "running") return;
    this.#runs += 1;
    this.#setPhase("ready");
    await this.settle();
  }

  /** At least one transition on each side. */
  async step() {
    // A held key repeats faster than a slow device can step.
    if (this.#stepping || !this.room.on || this.#isFull()) return;
    this.#stepping = true;
    try {
      await this.pause();
      const own = this.era;
      const frame = await this.session.ask("advance", 1, true);
      if (own !== this.era) return;
      this.#push(frame);
      await this.#arrive();
    } finally {
      this.#stepping = false;
    }
  }

  async #arrive() {
    await this.settle();
    await this.page.onArrive();
  }

  async back() {
    if (this.#stepping || !this.room.on) return;
    this.#stepping = true;
    try {
      await this.pause();
      const now = this.room.clock;
      // Clocks are means over the chains and are rounded, but every transition costs at least one
      // gradient.
      if (now > 0) await this.seek(Math.max(...this.room.stores.map((store) => store.before(now - SLACK))) + SLACK, true);
    } finally {
      this.#stepping = false;
    }
  }

  /**
   * Moves the run to a clock. Backwards, the engine replays; forwards, it runs, and any overshoot is
   * taken back, so that a clock always means the same state.
   * @param {number} from
   * @param {number} to
   * @param {boolean} statistics
   * @param {() => boolean} goesOn checked between calls; long moves are split
   */
  async #replay(from, to, statistics, goesOn) {
    while (from < to) {
      const part = Math.max(1, (2 * LONGEST_CALL_MS) / this.#cost.gradient);
      const { sides: now } = await this.session.ask("advance", Math.min(part, to - from), false);
      if (!goesOn()) break;
      from = Math.max(...now.map(({ clock }) => clock));
    }
    // Transitions that were run but not shown are missing from the stored draws; the replayed frame has all.
    return this.session.ask("seek", to, statistics);
  }

  /**
   * Replays to a clock. During a drag, only the newest target counts.
   * @param {number} clock
   * @param {boolean} last the slider was released
   */
  async seek(clock, last) {
    this.#wish = { clock, last };
    if (this.#seeking) return;
    this.#seeking = true;
    const own = this.era;
    try {
      await this.pause();
      let done = false;
      while (this.#wish && own === this.era) {
        const { clock: to, last: final } = this.#wish;
        this.#wish = null;
        const frame = await this.#replay(this.room.clock, to, final, () => own === this.era && !this.#wish);
        if (own !== this.era) return;
        this.#push(frame);
        done = final;
      }
      if (!done) return;
      this.page.onSeek();
      await this.#arrive();
      announce(`At ${integer(this.room.clock)} gradients.`);
    } finally {
      this.#seeking = false;
    }
  }

  /** Returns to the start, with the same or a new seed. @param {number} seed */
  async reset(seed) {
    const { room } = this;
    if (!room.on) return;
    const again = room.phase === "running" && seed !== room.state.config.seed;
    await this.pause();
    if (seed !== room.state.config.seed) {
      await this.change({ ...room.state, config: { ...room.state.config, seed } });
      if (again) await this.run();
      return;
    }
    await this.seek(0, false);
    room.farthest = 0;
    this.page.onLeave();
    await this.settle();
    announce(`Back at the start, seed ${seed}.`);
  }

  /** A frame with the statistics of exactly these draws, or null if the chains were replaced meanwhile. */
  async freshStatistics() {
    const own = this.era;
    const frame = await this.session.ask("advance", 0, true);
    if (own !== this.era) return null;
    this.#push(frame);
    return frame;
  }

  // Changes

  /**
   * New settings: restarts the chains, and continues running if they were running.
   * @param {PlayState} next
   * @param {boolean} [restart] restart even with unchanged settings, because the density changed
   * @returns {Promise<void>}
   */
  async change(next, restart = false) {
    const { room } = this;
    const { config, drawn } = room.state;
    const wasRunning = room.phase === "running";
    const sameRun = JSON.stringify([next.config, next.drawn]) === JSON.stringify([config, drawn]) && next.at === null;
    this.page.setState(next);
    if (next.drawn && next.drawn !== drawn) this.page.onDrawn();
    if (room.phase === "failed") return this.boot();
    // Changes of the display only.
    if (sameRun && !restart && room.phase !== "loading") {
      this.views.draw();
      return this.views.updateCharts().catch(this.fail);
    }
    const mine = ++this.#attempt;
    if (room.phase === "loading" && !room.info) return this.boot();
    try {
      this.#runs += 1;
      if (room.phase === "running") this.#setPhase("ready");
      dismiss("config");
      await this.#prepare(mine, next.at ?? 0);
      if (mine === this.#attempt && wasRunning) await this.run();
    } catch (error) {
      if (mine === this.#attempt) this.fail(error);
    }
  }

  // Failure and recovery

  fail = (/** @type {unknown} */ thrown) => {
    this.#attempt += 1;
    this.#runs += 1;
    this.#seeking = this.#stepping = false;
    this.#setPhase("failed");
    this.page.onFail();
    const { report } = this.session;
    showError(toError(thrown), report, (/** @type {Way} */ way) => this.#go(way), failureWords(report));
  };

  /** Actions of the error card. @param {Way} way */
  #go(way) {
    if (way === "reload") return location.reload();
    if (way === "cpu") this.runtime = "cpu";
    const { clock } = this.room;
    if (way === "defaults") {
      this.room.learned = null;
      this.page.onDefaults();
    }
    return this.boot(way === "defaults" ? 0 : clock);
  }
}
