// The room Prior and the wasm module. One call at a time. All types but the class are generated from the
// crate; errors are MixwellError.

import type { Interpolation as BareInterpolation, PriorConfig, PriorFrame as BareFrame, PriorModel, Reconstruction as BareReconstruction } from "./generated/types.js";
import type { Timed } from "./statistics.js";
import type { Pixels } from "./studio.js";

export type { Percentile, PriorConfig, PriorDiagnostic, PriorModel, RatioHistogram, ScoreSet, StageInfo } from "./generated/types.js";

export type PriorFrame = Timed<BareFrame>;
export type Reconstruction = Timed<BareReconstruction>;
export type Interpolation = Timed<BareInterpolation>;

/** The wasm class (`session.prior()`); one call at a time. */
export interface Prior {
  /**
   * @param card text of card.json
   * @param scores text of scores.json, if the model has one
   */
  load(card: string, weights: Uint8Array, scores: string | null): Promise<PriorModel>;
  /** Checks the config (bad numbers are errors, never clamped) and shows the starts; "sir" is done at once. When it throws, the last run stays. */
  begin(config: PriorConfig): Promise<PriorFrame>;
  /** So many transitions more; "sir" answers its last frame. */
  advance(transitions: number): Promise<PriorFrame>;
  /** Infers z of an image by gradient steps on its posterior energy, without noise, from z = 0. */
  reconstruct(image: Pixels, steps: number): Promise<Reconstruction>;
  /** Decodes the way between two latents: a straight line, or along the sphere (norms interpolated). */
  interpolate(from: Float32Array, to: Float32Array, frames: number, sphere: boolean): Promise<Interpolation>;
}
