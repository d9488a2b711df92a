// The Playground's state: the settings in the address, the run accepted by the engine, and its draws.
// Every part of the page reads it; only the conductor changes it.

import { defaultConfig } from "./settings.js";
import { SideStore } from "./store.js";

/** @import { LearnConfig, PlayConfig, PlayFrame, PlayInfo, PlayStatistics, SamplerInfo, TargetInfo } from "../contract/playground.js" */
/** @import { Side } from "./numbers.js" */
/** @import { Panel, PlayState } from "./url.js" */

/** The two sides, as ids and custom properties name them. */
export const NAMES = /** @type {const} */ (["a", "b"]);
/** Minimum draws for ranks and statistics, as in the engine. */
export const MIN_DRAWS = 4;
/** Maximum number of values kept per side, 4 bytes each. The engine keeps slightly more. */
const MAX_VALUES = 11e6;

/** @typedef {"loading" | "ready" | "running" | "failed"} Phase */

export class Room {
  /** @type {Phase} */
  phase = "loading";
  /** Requested settings. @type {PlayState} */
  state;
  /** @type {SamplerInfo[]} */
  samplers = [];
  /** @type {TargetInfo[]} */
  targets = [];
  /** The run as the engine accepted it. @type {PlayInfo | null} */
  info = null;
  /** The newest frame. @type {PlayFrame | null} */
  frame = null;
  /** The newest statistics of each side. @type {(PlayStatistics | null)[]} */
  statistics = [];
  /** @type {SideStore[]} */
  stores = [];
  /** Largest clock reached in this run; a replay up to it gives the same draws. */
  farthest = 0;
  /** The config that the "learned" density was learned with. @type {LearnConfig | null} */
  learned = null;

  /** @param {PlayState} state */
  constructor(state) {
    this.state = state;
  }

  /** Whether there are chains. */
  get on() {
    return this.phase === "ready" || this.phase === "running";
  }

  /** ∇E per chain so far. */
  get clock() {
    return Math.max(0, ...(this.frame?.sides.map(({ clock }) => clock) ?? []));
  }

  /** The quantity in the charts: the requested one, if this target has it. */
  get quantity() {
    const traced = this.info?.traced ?? [];
    return traced.includes(this.state.quantity) ? this.state.quantity : (traced[1] ?? traced[0] ?? "energy");
  }

  /** Whether the run has reached its maximum length. */
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

  /** The sampler of a side. @param {number} index */
  sampler(index) {
    const own = this.info?.config.sides[index]?.sampler;
    return this.samplers.find(({ name }) => name === own?.sampler);
  }

  /** @param {Panel} panel */
  shows(panel) {
    return !this.state.hide.includes(panel);
  }

  /** The config for the engine. A density that is not learned yet is replaced by the target it will learn from. */
  wanted() {
    const config = structuredClone(this.state.config);
    const { learn, drawn } = this.state;
    if (config.target === "learned" && !this.learned) Object.assign(config, plain(config), { target: learn.target === "drawn" && !drawn ? defaultConfig().target : learn.target });
    return config;
  }

  /** Starts an empty run. @param {PlayInfo} info */
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

/** The config without settings of another target. @param {PlayConfig} config */
export function plain(config) {
  return { ...config, sides: config.sides.map(({ sampler }) => ({ sampler: { ...sampler, step_size: null, noise: null }, space: /** @type {const} */ ("data") })) };
}
