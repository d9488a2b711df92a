// The contract between the Playground (www/playground.html) and the wasm module (src/play/, src/web.rs).
// The Playground needs no conductor: its page owns one engine worker (engine.js) and asks it one
// thing at a time. All calls are of the class `Playground` below; errors are MixwellError.

import type { Stat, Summary } from "./statistics.js";

/** Names in the address, the command line and model cards; the registry is src/sampler/mod.rs. */
export type PlaySampler = "rwm" | "ula" | "sgld" | "mala" | "hmc" | "nuts" | "underdamped" | "tempering" | "gibbs";

/** What the page needs to know of a sampler to offer it. */
export interface SamplerInfo {
  name: PlaySampler;
  title: string;
  /** One sentence for people. */
  description: string;
  /** It has a Metropolis test (or NUTS's equivalent), so its acceptance is real and not a shadow. */
  tested: boolean;
  /** Acceptance that warm-up aims at; null: it does not adapt. */
  target_accept: number | null;
  /** Which of the optional settings below it listens to. */
  settings: ("step_size" | "temperature" | "leapfrog_steps" | "max_tree_depth" | "noise" | "clip" | "friction" | "rungs" | "hottest" | "adapt_mass")[];
}

/** Settings of a sampler: the struct SamplerConfig of src/sampler/mod.rs, used by all. */
export interface SamplerConfig {
  sampler: PlaySampler;
  /** ε; null: the target's recommendation. */
  step_size: number | null;
  /** T of the target p ∝ exp(−E/T). */
  temperature: number;
  /** HMC: 1 … 1000. */
  leapfrog_steps: number;
  /** NUTS: 1 … 10; a trajectory has at most 2^depth − 1 leapfrog steps. */
  max_tree_depth: number;
  /** SGLD: σ of the noise, set apart from the drift a = ε²/2; T = σ²/(2a) is what comes out. null: a hundredth of ε, the field's habit of hardly any noise. */
  noise: number | null;
  /** SGLD: each component of ∇E is clamped to ±clip; null: no clip. */
  clip: number | null;
  /** Underdamped Langevin: γ. */
  friction: number;
  /** Parallel tempering: temperatures, 2 … 16, of which the first is T. */
  rungs: number;
  /** Parallel tempering: temperature of the hottest rung, as a multiple of T. */
  hottest: number;
  /** Learn a diagonal mass (preconditioner) from the warm-up. */
  adapt_mass: boolean;
  warmup: number;
  /** Keep the step size as given during the warm-up. */
  no_adapt: boolean;
  target_accept: number | null;
  /** Always 1 in the page. */
  groups: number;
}

/** A 2-D density, or two chosen coordinates of a larger one. */
export interface TargetInfo {
  name: string;
  title: string;
  /** One or two sentences: what it is and what it teaches. */
  description: string;
  dim: number;
  /** Names of all coordinates; the first two are the plane that is drawn. */
  coordinates: string[];
  /** x0, x1, y0, y1 of the plane. */
  bounds: [number, number, number, number];
  /** Gibbs can walk on it. */
  conditionals: boolean;
  /** Recommended step size of each sampler that has one. */
  steps: Partial<Record<PlaySampler, number>>;
  /** Where "mode" starts lie, in the plane. */
  mode: [number, number];
}

export interface PlaySide {
  sampler: SamplerConfig;
  /** "data" everywhere; "latent" only on the target "learned". */
  space: "data" | "latent";
}

/** Everything that the chains depend on: the same config replays the same chains, bit for bit on one device. */
export interface PlayConfig {
  /** A target's name; "drawn" after draw(), "learned" after a finished learn. */
  target: string;
  seed: number;
  /** 2 … 1000 on each side. */
  chains: number;
  /** dispersed: over the whole plane; mode: all at one mode; superchains: `superchains` groups, each from one point of its own. */
  start: "dispersed" | "mode" | "superchains";
  /** Divides `chains`; groups of nested R-hat. 1: no nested R-hat. */
  superchains: number;
  /** One or two. */
  sides: PlaySide[];
}

/** The exact law of one coordinate: density on a grid, by quadrature or in closed form. The grid may reach beyond the plane. */
export interface Marginal {
  name: string;
  grid: Float32Array;
  density: Float32Array;
  mean: number;
  sd: number;
}

/** −log of the exact density of the first two coordinates (marginal where there are more), less its minimum, row by row from y0 up. */
export interface Surface {
  width: number;
  height: number;
  bounds: [number, number, number, number];
  energy: Float32Array;
}

export interface PlayInfo {
  /** As accepted: nulls filled in; bad numbers are errors, never clamped. */
  config: PlayConfig;
  target: TargetInfo;
  surface: Surface;
  /** Of the coordinates that have one. */
  marginals: Marginal[];
  /** Traced quantities in order: "energy", then the coordinates. */
  traced: string[];
}

export interface PlayStatistics {
  /** One for each traced quantity, over the draws after warm-up. */
  summaries: Summary[];
  rhat_max: Stat;
  ess_bulk_min: Stat;
  ess_per_1000_gradients: Stat;
  /** By the wall clock of the compute alone; it is the one number here that does not replay. */
  ess_per_second: Stat;
  /** Nested R-hat, largest over the quantities; null with fewer than 2 superchains, too few draws, or scattered starts, whose own spread would hide within the groups. */
  nested_rhat: Stat;
  /** Kernelised Stein discrepancy (inverse multiquadric) of up to 400 draws, and that of as many exact draws: it should come down to it. null where T ≠ 1 or there are too few draws. */
  ksd: Stat;
  ksd_exact: Stat;
  /** Mean acceptance, of the test or, for a sampler without one, of the test that it did not take (shadow Metropolis). */
  acceptance: Stat;
  /** Divergent transitions after warm-up (HMC, NUTS: energy error above 1000 or not finite). */
  divergences: number;
  /** SGLD: share of gradient components that the clip cut. */
  clipped: Stat;
  /** NUTS: share of transitions that reached the largest tree. */
  saturated: Stat;
  /** Smallest E-BFMI; HMC and NUTS. */
  e_bfmi: Stat;
  /** Chains whose energy is not finite. */
  broken_chains: number;
}

export interface PlaySideFrame {
  /** Mean ∇E evaluations per chain so far, the starting one left out: the common clock. */
  clock: number;
  transitions: number;
  /** Whether the next transition belongs to the warm-up. */
  warming_up: boolean;
  /** In the plane, chains × 2. */
  positions: Float32Array;
  /** E of every chain. */
  energies: Float32Array;
  /** New draws since the last frame: their number, clocks, whether they are warm-up, and for each traced quantity draw-major values (draws × chains). */
  draws: number;
  clocks: Float32Array;
  warmup: Uint8Array;
  values: Record<string, Float32Array>;
  /** ε now, and of x ← x − a∇E + σξ: a, σ, and T = σ²/(2a). */
  step_size: number;
  drift: number;
  noise: number;
  temperature: number;
  /** null unless asked for. */
  statistics: PlayStatistics | null;
}

export interface PlayFrame {
  sides: PlaySideFrame[];
  elapsed_ms: number;
  /** After seek(): the buffers hold all draws up to here, not only new ones. */
  replayed: boolean;
}

/** The last transition of one chain, made again with every evaluated point written down. */
export interface PlayPath {
  /** In the plane, n × 2, in order of evaluation: start, then leapfrog positions or the proposal. */
  points: Float32Array;
  energies: Float32Array;
  /** Where the chain went. */
  end: [number, number];
  /** Whether it moved; a rejected proposal leaves it where it was. */
  moved: boolean;
  /** Acceptance probability; null without a test. */
  acceptance: Stat;
  /** Counted from 0. */
  transition: number;
}

export type PlayChart =
  | { kind: "ranks"; /** chains × bins, counts of ranks over all chains */ bins: number; counts: number[][]; expected: number }
  | { kind: "running"; /** R-hat after so many draws (post warm-up), and nested R-hat */ draws: number[]; rhat: Stat[]; nested: Stat[] }
  | { kind: "autocorrelation"; /** one row for each chain (the first 8), from lag 0 */ lags: number[][] };

export interface LearnConfig {
  /** A 2-D target to learn from, or "drawn". */
  target: string;
  seed: number;
  flow_iterations: number; // default 1500
  tilt_iterations: number; // default 1500
  /** Coupling steps and hidden width of the flow: weak on purpose, so that the tilt has work. */
  steps: number; // default 6
  hidden: number; // default 32
}

export interface LearnFrame {
  stage: "flow" | "tilt" | "done";
  /** Within the stage. */
  iteration: number;
  of: number;
  /** New losses since the last frame: flow, −log q in nats; tilt, mean U(data) − mean U(samples). */
  losses: Float32Array;
  /** By quadrature on the surface's grid, in nats; null while not yet known (they are computed now and then). */
  kl_flow: Stat;
  kl_model: Stat;
  /** −log of the learned density so far, less its minimum; null except when the KL is new. */
  surface: Surface | null;
  elapsed_ms: number;
}

/** The wasm class (`await session.playground()`); one call at a time. */
export interface Playground {
  samplers(): SamplerInfo[];
  targets(): TargetInfo[];
  /** What a newcomer meets on a target. */
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
