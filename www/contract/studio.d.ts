// The contract between the Studio (www/studio.html: the rooms Generate, Compose and Score) and the
// wasm module (src/studio/, src/web.rs). Like the Playground, the page owns one engine worker
// (engine.js, op "studio") and asks it one thing at a time. Errors are MixwellError.

import type { SelfTest } from "./models.js";
import type { Stat } from "./statistics.js";

/** An image or a batch, row by row, channel by channel ([n, C, H, W]), one byte a value: 0 … 255. */
export type Pixels = Uint8Array;

/** What the page needs to know of a loaded model. */
export interface StudioModel {
  name: string;
  title: string;
  /** "clel", "flow-ebm", … */
  system: string;
  /** [channels, height, width] */
  shape: [number, number, number];
  parameters: number;
  /** Names of the data's classes. */
  classes: string[];
  /** Compose and Score's OOD score need latents: the model has an encoder and class means. */
  latents: boolean;
  /** A classifier that had no part in the model is loaded, and its accuracy on the test set. */
  classifier: { title: string; accuracy: number } | null;
  /** Names of the sets that scores are compared with; the first is the model's own test set. */
  sets: ReferenceSet[];
  /** What a newcomer meets. */
  defaults: StudioConfig;
  /** Whether `rounds` above 1 means anything: the model was trained with augmented chains. */
  augments: boolean;
  /** How samples are made, in a sentence or two, with the true temperature. */
  method: string;
  self_test: SelfTest;
  known_failures: string[];
  licence: string;
}

export interface ReferenceSet {
  name: string;
  title: string;
  images: number;
  /** Area under the ROC curve for telling this set from the model's own test set by the OOD score, with a 95% bootstrap interval; null for the own set. */
  auroc: { value: number; low: number; high: number } | null;
  /** The same by the energy alone. */
  auroc_energy: { value: number; low: number; high: number } | null;
}

/** One condition of a composition. */
export interface Condition {
  /** A class mean's latent, by index, or the latent of an image. */
  of: { class: number } | { image: Pixels };
  /** all: AND. any: OR among those marked so. none: NOT. */
  role: "all" | "any" | "none";
  /** > 0, at most 10; multiplies β. */
  weight: number;
}

export interface StudioConfig {
  seed: number;
  /** Images: 1 … 256. */
  count: number;
  /** Langevin (or MALA) transitions of a round: 1 … 2000. */
  steps: number;
  /** Rounds: each begins by augmenting the images (crop, flip, …), the move that lets CLEL's chains mix. 1 … 50. 1: no augmentation. */
  rounds: number;
  /** Multiple of the temperature that the model was trained at: 0.01 … 100. The frame tells the T that comes out. */
  temperature: number;
  /** Scale of the start noise about its centre: 0 … 2; below 1 "truncates". */
  truncation: number;
  /** β of the conditions: 0 … 1000. */
  beta: number;
  conditions: Condition[];
  /** Pixels to keep: `known` has H × W bytes, 1 where the pixel of `image` is kept; the chain fills the rest. */
  inpaint: { image: Pixels; known: Uint8Array } | null;
}

export interface StudioFrame {
  step: number;
  /** steps × rounds */
  of: number;
  round: number;
  images: Pixels;
  /** E of each image by the model alone (no conditions). */
  energies: Float32Array;
  /** Terms of what the chains walk on: "model" (½‖f‖² or so), then one for each condition. */
  terms: StudioTerm[];
  /** Mean over the images of the cosine between the terms' gradients, row by row (terms × terms): −1 they fight, 1 they agree; NaN where a gradient is 0. Empty without conditions. */
  conflict: Float32Array;
  /** The classifier's probabilities, images × classes, or null. */
  verdict: Float32Array | null;
  /** a, σ and T = σ²/(2a) of x ← x − a∇E + σξ. */
  drift: number;
  noise: number;
  temperature: number;
  /** Of the last transitions; a shadow for samplers without a test. */
  acceptance: Stat;
  tested: boolean;
  /** Root mean square change of a pixel since the last frame, in [0, 1] units. */
  displacement: number;
  elapsed_ms: number;
}

export interface StudioTerm {
  /** "model", "class 3: Dress", "image". */
  name: string;
  role: "model" | "all" | "any" | "none";
  /** Mean over the images of this term's energy. */
  energy: number;
  /** Mean of cos(g(f(x)), z) for a condition; null for the model. */
  cosine: Stat;
}

export interface Score {
  /** E of the image. */
  energy: number;
  /** E − 0.1 cos(h(x), g(f(x))), the paper's OOD score; null without an encoder. */
  ood: Stat;
  /** One for each reference set, in order: share of the set's images that score below this one, with a 95% interval of that share (binomial: Wilson). Higher energy = less typical. */
  percentiles: { energy: Percentile; ood: Percentile | null }[];
  /** ∇E at the image, [C, H, W]: where a darker or brighter pixel would change the energy most. */
  gradient: Float32Array;
  /** cos with each class mean, or null. */
  class_cosines: Float32Array | null;
  /** The classifier's probabilities, or null. */
  verdict: Float32Array | null;
  elapsed_ms: number;
}

export interface Percentile {
  /** In [0, 1]. */
  below: number;
  low: number;
  high: number;
}

export interface Descent {
  step: number;
  image: Pixels;
  energy: number;
  /** Root mean square of ∇E. */
  gradient: number;
  elapsed_ms: number;
}

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
