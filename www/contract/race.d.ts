// The Race: its settings, its frames, and the messages between its page and its worker (race/worker.js).
// `tsc --checkJs` holds the JavaScript to these files; the Rust side produces the same shapes with serde.

import type { ErrorKind, MixwellError } from "./errors.js";
import type { Card, Manifest, SelfTest } from "./models.js";
import type { DeviceReport } from "./session.js";
import type { Stat, Summary } from "./statistics.js";

/** The space in which the chains move. */
export type Space = "pixel" | "latent";
/** Sampler names, as in the command line and the model card. */
export type SamplerName = "ula" | "mala" | "hmc";
/** Settings of one side of the race. */
export interface SideConfig {
  /** Step size ε: a drift of a = ε²/2 along −∇E and noise of σ = ε·√T for Langevin, the leapfrog step for HMC. null: the model card's recommendation. */
  step_size: number | null;
  /** Temperature T of the target p ∝ exp(−E/T). Shown as T = σ²/(2a). */
  temperature: number;
}

/** Everything that a race depends on: the same config and seed replay the same chains. */
export interface RaceConfig {
  /** Folder name under models/, e.g. "flow-ebm-mnist". */
  model: string;
  seed: number;
  /** 2 … 64, the same number on both sides. */
  chains: number;
  sampler: SamplerName;
  /** Leapfrog steps per HMC transition, 1 … 50. */
  leapfrog_steps: number;
  /** Adapt the step size to `target_accept` during warm-up (MALA and HMC; never for ULA). */
  adapt: boolean;
  /** Warm-up transitions, not counted in any statistic. */
  warmup: number;
  target_accept: number;
  /** Keep the pixel side's temperature equal to the latent side's. */
  match_temperature: boolean;
  /** Standard deviation of the over-dispersed starts z₀ ~ N(0, s²I); the pixel side starts at g(z₀). */
  start_scale: number;
  pixel: SideConfig;
  latent: SideConfig;
}

export interface SideFrame {
  space: Space;
  /** ∇E evaluations per chain so far: the race's clock. */
  gradients: number;
  transitions: number;
  warming_up: boolean;
  /** chains × height × width grey values, row-major. */
  images: Uint8Array;
  /** New values since the last frame, per traced quantity: draw-major, `chains` values for each draw. Warm-up draws included. */
  traces: Record<string, Float32Array>;
  /** The gradient clock of each new draw (same length as draws). */
  trace_clock: Float32Array;
  /** Same order as RaceInfo.traced; over the draws after warm-up. */
  summaries: Summary[];
  /** Largest R-hat over all traced quantities. */
  rhat_max: Stat;
  /** Smallest bulk ESS over the traced quantities, and the same per 1000 gradient evaluations of all chains together. */
  ess_bulk_min: Stat;
  ess_per_1000_gradients: Stat;
  /** Mean acceptance probability after warm-up (during it: so far); null for ULA. */
  acceptance: Stat;
  /** E-BFMI, smallest over the chains; null unless HMC. */
  e_bfmi: Stat;
  /** Current step size ε, drift a, noise σ, T = σ²/(2a). */
  step_size: number;
  drift: number;
  noise: number;
  temperature: number;
  /** Chains whose state became non-finite (0 in health). */
  broken_chains: number;
}

export interface Frame {
  /** Counts up from 0 at reset (the start states, before any step). */
  index: number;
  sides: SideFrame[]; // pixel first, latent second
  /** Wall-clock milliseconds of this frame's compute, both sides. */
  elapsed_ms: number;
}

export interface ModelInfo {
  card: Card;
  /** channels, height, width */
  shape: [number, number, number];
  parameters: number;
  /** Result of the known-answer self-test on this device: energies against the card's. */
  self_test: SelfTest;
}

export interface RaceInfo {
  /** The config as accepted: nulls filled in, numbers clamped never (bad ones are errors). */
  config: RaceConfig;
  /** Names of the traced quantities, the first is each side's own energy. */
  traced: string[];
  /** Gradient evaluations per transition. */
  gradients_per_transition: number;
}

/**
 * Page → worker. `id` comes back in the answer; ids count up from 1. `pause` and `abort` are
 * answered at once, everything else in the order of arrival. `check` starts a fresh compute
 * engine: the way back after a panic, and the way to the CPU build.
 */
export type Request =
  | { type: "check"; id: number; force_cpu?: boolean }
  | { type: "list"; id: number }
  | { type: "load"; id: number; model: string }
  | { type: "abort"; id: number } // stops a running download
  | { type: "forget"; id: number; model: string } // deletes the cached files
  | { type: "configure"; id: number; config: RaceConfig }
  | { type: "run"; id: number; pace: number } // frames until paused; pace = most transitions per frame (a slow device sends shorter frames)
  | { type: "pause"; id: number }
  | { type: "step"; id: number } // one frame with one transition on each side
  | { type: "reset"; id: number; seed: number }
  | { type: "lose-device"; id: number }; // tests: destroys the GPU device as a driver crash would

/**
 * Worker → page. Frames carry the id of the request that made them (run, step or reset), so that
 * late frames of an older run can be told apart. id 0: nobody asked (a device lost while idle).
 */
export type Reply =
  | { type: "checked"; id: number; report: DeviceReport }
  | { type: "listed"; id: number; manifest: Manifest; cached: string[]; quota: { usage: number; quota: number } | null }
  | { type: "progress"; id: number; file: string; loaded: number; total: number } // bytes over all files of the model; `file` is the one in flight
  | { type: "compiling"; id: number } // the GPU pipelines are being built; the first step is slow
  | { type: "loaded"; id: number; info: ModelInfo; from_cache: boolean; cached: boolean; report: DeviceReport } // cached: kept for the next visit; report: a failed self-test may have moved the session to the CPU build
  | { type: "forgotten"; id: number; model: string }
  | { type: "configured"; id: number; race: RaceInfo }
  | { type: "running"; id: number }
  | { type: "paused"; id: number }
  | { type: "frame"; id: number; frame: Frame }
  | { type: "recovered"; id: number; message: string; report: DeviceReport } // after device loss: rebuilt, going on; the restored frame follows
  | { type: "note"; id: number; kind: ErrorKind; message: string } // not fatal
  | { type: "failed"; id: number; error: MixwellError };
