// The Playground and the wasm module. The page owns one engine worker (engine/engine.js) and asks it one
// thing at a time. All types but the class are generated from the crate; errors are MixwellError.

import type { LearnConfig, LearnFrame, PlayChart, PlayConfig, PlayFrame, PlayInfo, PlayPath, SamplerInfo, TargetInfo } from "./generated/types.js";

export type {
  LearnConfig,
  LearnFrame,
  Marginal,
  PlayChart,
  PlayConfig,
  PlayFrame,
  PlayInfo,
  PlayPath,
  PlaySide,
  PlaySideFrame,
  PlayStatistics,
  SamplerConfig,
  SamplerInfo,
  SamplerName as PlaySampler,
  Surface,
  TargetInfo,
} from "./generated/types.js";

/** The wasm class (`await session.playground()`); one call at a time. */
export interface Playground {
  samplers(): SamplerInfo[];
  targets(): TargetInfo[];
  /** Default settings on a target. */
  defaults(target: string): PlayConfig;
  /** side × side grey values, row by row from y0 up, 0 = empty; side is 32. Throws when nothing is drawn. */
  draw(grid: Uint8Array, side: number): TargetInfo;
  /** Checks, completes, starts: no transition yet. When it throws, the last run stays. */
  configure(config: PlayConfig): Promise<PlayInfo>;
  /** Runs every side until its clock is at least the farthest side's clock before + `gradients` (one transition at least). 0: shows the state. */
  advance(gradients: number, statistics: boolean): Promise<PlayFrame>;
  /** Replays to the last transition of each side at or before this clock. It goes back only: a clock beyond the run leaves it where it is (the page runs on first). */
  seek(clock: number, statistics: boolean): Promise<PlayFrame>;
  path(side: number, chain: number): Promise<PlayPath>;
  chart(side: number, kind: PlayChart["kind"], quantity: string): PlayChart;
  learn(config: LearnConfig): Promise<LearnFrame>;
  /** So many iterations more; stage "done" makes the target "learned". */
  learn_step(iterations: number): Promise<LearnFrame>;
}
