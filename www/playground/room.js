// What the Playground knows: the wishes of the address, what the engine said of them, and the draws of
// the run. Every part of the page reads it here; the conductor is the one that changes it.

import { defaultConfig } from "./settings.js";
import { SideStore } from "./store.js";

/** @import { LearnConfig, PlayConfig, PlayFrame, PlayInfo, PlayStatistics, SamplerInfo, TargetInfo } from "../contract/playground.js" */
/** @import { Side } from "./numbers.js" */
/** @import { Panel, PlayState } from "./url.js" */

/** The two sides, as ids and custom properties name them. */
export const NAMES = /** @type {const} */ (["a", "b"]);
/** Without draws there is nothing to rank; the engine's own least number. */
export const MIN_DRAWS = 4;
/** Values of one side that are kept, 4 bytes each. The engine keeps as many and a few more. */
const MAX_VALUES = 11e6;

/** @typedef {"loading" | "ready" | "running" | "failed"} Phase */

export class Room {
  /** @type {Phase} */
  phase = "loading";
  /** As wished for. @type {PlayState} */
  state;
  /** @type {SamplerInfo[]} */
  samplers = [];
  /** @type {TargetInfo[]} */
  targets = [];
  /** The run as the engine accepted it. @type {PlayInfo | null} */
  info = null;
  /** The newest. @type {PlayFrame | null} */
  frame = null;
  /** The newest statistics of each side. @type {(PlayStatistics | null)[]} */
  statistics = [];
  /** @type {SideStore[]} */
  stores = [];
  /** Farthest clock of this run; replaying up to it changes nothing. */
  farthest = 0;
  /** What the density "learned" was learned from. @type {LearnConfig | null} */
  learned = null;

  /** @param {PlayState} state */
  constructor(state) {
    this.state = state;
  }

  /** Whether chains stand or run. */
  get on() {
    return this.phase === "ready" || this.phase === "running";
  }

  /** ∇E per chain so far. */
  get clock() {
    return Math.max(0, ...(this.frame?.sides.map(({ clock }) => clock) ?? []));
  }

  /** The quantity of the charts: the wish, if this target has it. */
  get quantity() {
    const traced = this.info?.traced ?? [];
    return traced.includes(this.state.quantity) ? this.state.quantity : (traced[1] ?? traced[0] ?? "energy");
  }

  /** Whether the run has grown as long as it may. */
  get full() {
    return !this.stores.every((store) => store.size < MAX_VALUES);
  }

  /** @returns {Side[]} */
  get sides() {
    return (this.frame?.sides ?? []).flatMap((frame, index) => {
      const own = this.info?.config.sides[index]?.sampler;
      const sampler = this.sampler(index);
      return own && sampler ? [{ frame, statistics: this.statistics[index] ?? null, sampler, target: own.temperature }] : [];
    });
  }

  /** The sampler that runs on a side. @param {number} index */
  sampler(index) {
    const own = this.info?.config.sides[index]?.sampler;
    return this.samplers.find(({ name }) => name === own?.sampler);
  }

  /** @param {Panel} panel */
  shows(panel) {
    return !this.state.hide.includes(panel);
  }

  /** What the engine is asked for: a density that is not learned yet is replaced by what it will be learned from. */
  wanted() {
    const config = structuredClone(this.state.config);
    const { learn, drawn } = this.state;
    if (config.target === "learned" && !this.learned) Object.assign(config, plain(config), { target: learn.target === "drawn" && !drawn ? defaultConfig().target : learn.target });
    return config;
  }

  /** An empty run. @param {PlayInfo} info */
  start(info) {
    const { config, traced, target } = info;
    this.info = info;
    this.stores = config.sides.map(() => new SideStore(config.chains, traced, target.bounds));
    this.statistics = config.sides.map(() => null);
    this.frame = null;
    this.farthest = 0;
  }

  /** @param {PlayFrame} frame */
  push(frame) {
    frame.sides.forEach((side, index) => {
      this.stores[index]?.push(side, frame.replayed);
      if (side.statistics) this.statistics[index] = side.statistics;
      else if (frame.replayed || side.transitions === 0) this.statistics[index] = null;
    });
    this.frame = frame;
    this.farthest = Math.max(this.farthest, this.clock);
  }
}

/** Wishes without what belongs to another target. @param {PlayConfig} config */
export function plain(config) {
  return { ...config, sides: config.sides.map(({ sampler }) => ({ sampler: { ...sampler, step_size: null, noise: null }, space: /** @type {const} */ ("data") })) };
}
