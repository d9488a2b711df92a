// The wasm module, and the engine worker that holds it: what may be asked of either, and what they
// report of the device. Each room's own calls are in the file of that room.

import type { MixwellError } from "./errors.js";
import type { Card } from "./models.js";
import type { Playground } from "./playground.js";
import type { Prior } from "./prior.js";
import type { Frame, ModelInfo, RaceConfig, RaceInfo } from "./race.js";
import type { Studio } from "./studio.js";

/** Where the tensors live. */
export type Runtime = "webgpu" | "cpu";

/** Where they shall live; "auto" is WebGPU on a graphics processor, else the CPU. */
export type Choice = Runtime | "auto";

/** Adapter facts, as found. */
export interface DeviceReport {
  runtime: Runtime;
  /** Why not WebGPU, when it is not, with numbers where there are any; empty otherwise. */
  reason: string;
  /** The same as a kind; "asked" when the address says ?runtime=cpu, "broken" when the WebGPU build did not start or failed its self-test, "software" when the adapter computes on the CPU; null on WebGPU. */
  reason_kind: "no-webgpu" | "no-adapter" | "limits" | "asked" | "broken" | "software" | null;
  vendor: string;
  architecture: string;
  description: string;
  fallback_adapter: boolean;
  limits: Record<string, number>;
}

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
  /** The Playground (playground.d.ts); needs no model. */
  playground(): Promise<Playground>;
  /** The rooms Generate, Compose and Score (studio.d.ts); it loads its own model. */
  studio(): Promise<Studio>;
  /** The room Prior (prior.d.ts); it loads its own model. */
  prior(): Promise<Prior>;
  free(): void;
}
export interface WasmModule {
  default(options?: { module_or_path?: string | URL }): Promise<unknown>;
  /** Initialises the device (once per worker). */
  start(): Promise<WasmSession>;
}

/** What the engine (engine/engine.js) does for its owner: the race's conductor (race/worker.js), or the page of the Playground, the Studio or Prior. */
export interface EngineCalls {
  /** Looks at the adapter, needs no wasm. */
  check(choice: Choice): DeviceReport;
  /** Fetches and starts the build. */
  start(runtime: Runtime): null;
  load(card: Card, weights: Uint8Array): ModelInfo;
  configure(config: RaceConfig): RaceInfo;
  reset(seed: number): { frame: Frame; checkpoint: Uint8Array };
  advance(transitions: number): { frame: Frame; checkpoint: Uint8Array };
  restore(checkpoint: Uint8Array): { frame: Frame; checkpoint: Uint8Array };
  /** Calls a method of the Playground; engine/session.js has the types that go with the name. */
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
