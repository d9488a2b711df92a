// The contract between the page, the worker and the wasm module. One place, read by all:
// `tsc --checkJs` holds the JavaScript to it; the Rust side (`src/web.rs`, `src/race.rs`)
// produces the same shapes with serde.

import type { Playground } from "./play-protocol.js";
import type { Prior } from "./prior-protocol.js";
import type { Studio } from "./studio-protocol.js";

/** What the chains walk in. */
export type Space = "pixel" | "latent";
/** Sampler names, as in the command line and the model card. */
export type SamplerName = "ula" | "mala" | "hmc";
/** Where the tensors live. */
export type Runtime = "webgpu" | "cpu";

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

/** A statistic that may be undefined (too few draws, constant or non-finite chains) is null. */
export type Stat = number | null;

/** Convergence diagnostics of one traced quantity (src/diagnostics). */
export interface Summary {
  /** "energy", "tilt", "pc1", "pc2", … */
  name: string;
  chains: number;
  draws: number;
  mean: Stat;
  sd: Stat;
  mcse_mean: Stat;
  /** null beside "not_converged" is ∞: every half chain is stuck, at different values. */
  rhat: Stat;
  ess_bulk: Stat;
  ess_tail: Stat;
  status: { kind: "converged" | "not_converged" | "too_short" | "constant" | "non_finite" };
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

/** models/NAME/card.json, the part the page uses. */
export interface Card {
  name: string;
  title: string;
  description: string;
  system: string;
  data: { name: string; classes: string[]; shape: [number, number, number] };
  licence: string;
  metrics: Record<string, number | string>;
  known_failures: string[];
  [more: string]: unknown;
}

/** One file of a model. `path` is relative to models/NAME/; `sha256` is 64 lower-case hex digits. */
export interface ManifestFile {
  path: string;
  bytes: number;
  sha256: string;
}

export interface ManifestModel {
  name: string;
  title: string;
  /** "flow-ebm", "clel", "latent-prior", "classifier": a room offers the systems that it knows. Missing in manifests older than Prior. */
  system?: string;
  /** Spaces that it can be sampled in, e.g. "pixel" and "latent"; empty: it is no energy-based model but a classifier. */
  spaces: string[];
  /** Holds at least "card.json" and "weights.safetensors"; the Race downloads these two only, the Studio and Prior "scores.json" too. */
  files: ManifestFile[];
}

/** models/manifest.json: every file of every model with its length and SHA-256. */
export interface Manifest {
  version: 1;
  models: ManifestModel[];
}

/** Energies of known states on this device against the card's. */
export interface SelfTest {
  passed: boolean;
  max_relative_error: number;
  tolerance: number;
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

/** Adapter facts, as found. */
export interface DeviceReport {
  runtime: Runtime;
  /** Why not WebGPU, when it is not, with numbers where there are any; empty otherwise. */
  reason: string;
  /** The same as a kind; "asked" when the address says ?runtime=cpu, "broken" when the WebGPU build did not start or failed its self-test; null on WebGPU. */
  reason_kind: "no-webgpu" | "no-adapter" | "limits" | "asked" | "broken" | null;
  vendor: string;
  architecture: string;
  description: string;
  fallback_adapter: boolean;
  limits: Record<string, number>;
}

/** Every failure the page can show; each has its own text and ways forward (www/errors.js). */
export type ErrorKind =
  | "no-webgpu" // navigator.gpu is missing
  | "no-adapter" // requestAdapter() gave null
  | "limits" // adapter limits below the need, with numbers
  | "network"
  | "checksum"
  | "out-of-memory"
  | "device-lost"
  | "panic"
  | "aborted"
  | "quota" // cache full: goes on from memory, a note only
  | "bad-config"
  | "bad-model"
  | "bad-image" // what was dropped, pasted or chosen cannot be used as an image
  | "self-test"
  | "unsupported"; // no WebAssembly, no module workers, …

export interface MixwellError {
  kind: ErrorKind;
  /** What happened, with numbers where there are any. */
  message: string;
  /** Stack or technical text, for the copy button. */
  detail: string;
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

/** The wasm module's one class, as the worker sees it (src/web.rs). Both builds (mixwell-webgpu, mixwell-cpu) have it. */
export interface WasmSession {
  /** Loads weights; throws MixwellError-shaped objects. */
  load(card: Card, weights: Uint8Array): Promise<ModelInfo>;
  configure(config: RaceConfig): Promise<RaceInfo>;
  /** Start states and empty statistics, from the seed. */
  reset(seed: number): Promise<Frame>;
  /** `transitions` transitions on each side (equal gradient counts), then one frame. */
  advance(transitions: number): Promise<Frame>;
  /**
   * All that the race needs to go on after a lost device: chain states, counters, adaptation and
   * what the statistics need. Called after every frame: keep it small and synchronous.
   */
  checkpoint(): Uint8Array;
  /** After load() and configure() on a fresh session. Its frame has the saved index and no new draws. */
  restore(checkpoint: Uint8Array): Promise<Frame>;
  random_words(seed: number, step: number, chains: number, dim: number): Promise<{ host: Uint32Array; device: Uint32Array | null }>;
  /** The second room (www/play-protocol.d.ts); needs no model. */
  playground(): Promise<Playground>;
  /** The rooms Generate, Compose and Score (www/studio-protocol.d.ts); it loads its own model. */
  studio(): Promise<Studio>;
  /** The room Prior (www/prior-protocol.d.ts); it loads its own model. */
  prior(): Promise<Prior>;
  free(): void;
}
export interface WasmModule {
  default(options?: { module_or_path?: string | URL }): Promise<unknown>;
  /** Initialises the device (once per worker). */
  start(): Promise<WasmSession>;
}

/** What the engine (www/engine.js) does for its owner: the race's conductor (www/worker.js), or the page of the Playground, the Studio or Prior. */
export interface EngineCalls {
  /** Looks at the adapter, needs no wasm. */
  check(force_cpu: boolean): DeviceReport;
  /** Fetches and starts the build. */
  start(runtime: Runtime): null;
  load(card: Card, weights: Uint8Array): ModelInfo;
  configure(config: RaceConfig): RaceInfo;
  reset(seed: number): { frame: Frame; checkpoint: Uint8Array };
  advance(transitions: number): { frame: Frame; checkpoint: Uint8Array };
  restore(checkpoint: Uint8Array): { frame: Frame; checkpoint: Uint8Array };
  /** Calls a method of the Playground; www/session.js has the types that go with the name. */
  play(method: keyof Playground, args: unknown[]): unknown;
  /** The same for the Studio. */
  studio(method: keyof Studio, args: unknown[]): unknown;
  /** And for Prior. */
  prior(method: keyof Prior, args: unknown[]): unknown;
  /** Random words as the host and as the device makes them; device is null where it takes the host's. */
  random_words(seed: number, step: number, chains: number, dim: number): { host: Uint32Array; device: Uint32Array | null };
  lose_device(): null;
}
export interface EngineRequest {
  call: number;
  op: keyof EngineCalls;
  args: unknown[];
}
/** `failure` is unsolicited: the device was lost, or the wasm panicked where no promise waits. */
export type EngineReply =
  | { call: number; value: unknown }
  | { call: number; error: MixwellError }
  | { failure: MixwellError };
