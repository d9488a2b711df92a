// The rooms Generate, Compose and Score, and the wasm module. One call at a time. All types but the class
// are generated from the crate; errors are MixwellError.

import type { Descent as BareDescent, Score as BareScore, StudioConfig, StudioFrame as BareFrame, StudioModel } from "./generated/types.js";
import type { Timed } from "./statistics.js";

export type { Condition, Percentile, ReferenceSet, StudioConfig, StudioModel, StudioTerm } from "./generated/types.js";

/** Images as bytes, [N, C, H, W] row-major. */
export type Pixels = Uint8Array;
export type StudioFrame = Timed<BareFrame>;
export type Score = Timed<BareScore>;
export type Descent = Timed<BareDescent>;

/** The wasm class (`await session.studio()`); one call at a time. */
export interface Studio {
  /**
   * @param card text of card.json
   * @param classifier card and weights of models/classifier-DATA, if there is one
   * @param scores text of scores.json, if the model has one
   */
  load(card: string, weights: Uint8Array, classifier: { card: string; weights: Uint8Array } | null, scores: string | null): Promise<StudioModel>;
  /** Checks the config (bad numbers are errors, never clamped) and makes the start images; no transition yet. When it throws, the last run stays. */
  begin(config: StudioConfig): Promise<StudioFrame>;
  /** So many transitions more (never beyond the last). */
  advance(transitions: number): Promise<StudioFrame>;
  score(image: Pixels): Promise<Score>;
  /** Plain gradient descent (no noise) from an image: begins there with `image`, goes on with null. */
  descend(image: Pixels | null, steps: number): Promise<Descent>;
}
