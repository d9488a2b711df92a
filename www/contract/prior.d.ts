// The contract between the room Prior (www/prior.html) and the wasm module (src/prior.rs,
// src/web.rs). Like the Studio, the page owns one engine worker (engine.js, op "prior") and asks it one
// thing at a time. Errors are MixwellError.

import type { SelfTest } from "./models.js";
import type { Stat } from "./statistics.js";
import type { Percentile, Pixels } from "./studio.js";

/** What the page needs to know of a loaded model: a generator x = g(z) + σε and a prior of z in stages. */
export interface PriorModel {
  name: string;
  title: string;
  /** [channels, height, width] */
  shape: [number, number, number];
  /** Dimension of z. */
  latent: number;
  /** Standard deviation of the observation noise, of values in [0, 1]. */
  sigma: number;
  parameters: number;
  /** Names of the data's classes. */
  classes: string[];
  /** Stage 0 is N(0, I); stage k is p_k(z) ∝ p_0(z) exp(f_1(z) + … + f_k(z)). */
  stages: StageInfo[];
  /** Latents of training images, drawn from their posteriors when training ended. */
  posterior: {
    /** Projection on the first two principal components of all of them, pairs x, y. */
    plane: Float32Array;
    /** Class of each one's image. */
    labels: Uint8Array;
  };
  /** Share of the latents' variance along the two axes of every projection. */
  explained: [number, number];
  /** Sets that anomaly scores are placed in, the model's own test set first; empty if none were measured. */
  sets: ScoreSet[];
  defaults: PriorConfig;
  /** Gradient steps that a reconstruction takes if not told otherwise. */
  steps: number;
  method: string;
  self_test: SelfTest;
  known_failures: string[];
  licence: string;
}

export interface StageInfo {
  /** 0 … K */
  stage: number;
  /** Iterations of training that it took; 0 for stage 0. */
  iterations: number;
  /** Why it ended: "plateau", "at chance", "longest", "end of training"; "" for stage 0. */
  ended: string;
  /** Logistic loss on held-out latents (ln 2 = 0.693: chance) and accuracy, at each check. */
  checks: { iteration: number; loss: number; accuracy: number }[];
}

export interface ScoreSet {
  name: string;
  title: string;
  images: number;
  /** Area under the ROC curve for telling this set from the model's own, with a 95% interval; null for the own set. */
  auroc: { value: number; low: number; high: number } | null;
}

export interface PriorConfig {
  seed: number;
  /** Which prior: 0 … number of stages. */
  stage: number;
  /** "ula" (Langevin), "mala", "hmc", or "sir" (sampling-importance-resampling from N(0, I): no chain). */
  sampler: string;
  /** Chains, or samples of "sir": 4 … 256. */
  count: number;
  /** Step size; null: the model's own for this sampler. */
  step_size: number | null;
  /** Transitions that adapt the step size and are not counted: 0 … 1000. */
  warmup: number;
  /** Scale of the starts, N(0, scale²): (0, 3]; above 1: over-dispersed, as R-hat asks. */
  start_scale: number;
  /** Temperature T of the prior, p ∝ exp(−E/T): [0.05, 20]. */
  temperature: number;
  /** Proposals of "sir": count … 100000. */
  proposals: number;
}

export interface PriorFrame {
  stage: number;
  sampler: string;
  /** Transitions so far, warm-up included; 0: the starts. */
  transitions: number;
  warmup: boolean;
  /** g(z) of every chain, [count, C, H, W]. */
  images: Pixels;
  /** Present states, projected: pairs x, y, one of each chain. */
  plane: Float32Array;
  /** All states since the last frame of the first (at most eight) chains, projected: transitions × chains × 2. */
  path: { chains: number; points: Float32Array };
  /** E_k(z) of each chain. */
  energies: Float32Array;
  /** R-hat and ESS of the draws after warm-up; empty before there are 8 of them. */
  diagnostics: PriorDiagnostic[];
  /** Whether every one passes R-hat ≤ 1.01 and ESS ≥ 100 a chain's worth, as everywhere. */
  converged: boolean;
  /** How the classifier that made this stage tells its prior from the posterior; null at stage 0. */
  ratio: RatioHistogram | null;
  /** Mean acceptance since the last frame; a shadow for "ula"; null for "sir". */
  acceptance: Stat;
  tested: boolean;
  step_size: number;
  /** a and σ of z ← z − a∇E + σξ, and T = σ²/(2a). */
  drift: number;
  noise: number;
  temperature: number;
  /** Gradient evaluations of each chain so far. */
  gradients: number;
  /** "sir": (Σw)²/Σw² of the proposals' weights, their number, and how many proposals were taken at least once; null otherwise. */
  sir: { ess: number; proposals: number; distinct: number } | null;
  elapsed_ms: number;
}

export interface PriorDiagnostic {
  /** "energy", "log ratio", "pc1", "pc2", … (of the image). */
  name: string;
  rhat: Stat;
  bulk_ess: Stat;
  tail_ess: Stat;
}

/** Of f_stage(z) = log r_stage(z), what the classifier that made this stage sees. Shares, not counts. */
export interface RatioHistogram {
  /** One more than counts. */
  edges: Float32Array;
  /** Under the chains of this frame: they already follow p_stage, so this should cover `posterior`. */
  prior: Float32Array;
  /** Under the training images' posteriors. */
  posterior: Float32Array;
}

export interface Reconstruction {
  /** The posterior's z, `latent` numbers. */
  latent: Float32Array;
  /** It, projected. */
  plane: [number, number];
  /** g(z). */
  image: Pixels;
  /** Mean squared difference a value, in [0, 1] units. */
  mse: number;
  /** Anomaly score: ‖x − g(z)‖²/(2σ²) + ½‖z‖² − Σ f_j(z). High: unlike the data. */
  score: number;
  /** Its parts. */
  terms: { reconstruction: number; gaussian: number; ratios: Float32Array };
  /** Where the score stands in each of `sets`: share of that set that scores below, with a 95% interval. */
  percentiles: Percentile[];
  /** The score after each gradient step. */
  trace: Float32Array;
  elapsed_ms: number;
}

export interface Interpolation {
  /** [frames, C, H, W] */
  images: Pixels;
  /** E_K(z) along the way: high where the path leaves the prior. */
  energies: Float32Array;
  plane: Float32Array;
  elapsed_ms: number;
}

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
