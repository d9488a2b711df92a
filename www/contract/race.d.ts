// The Race: its settings, its frames, and the messages between its page and its worker (race/worker.js).
// What crosses to the wasm module is generated from the crate.

import type { ErrorKind, MixwellError } from "./errors.js";
import type { Card, Manifest, SelfTest } from "./models.js";
import type { Choice, DeviceReport } from "./session.js";
import type { RaceConfig, RaceFrame } from "./generated/types.js";
import type { Timed } from "./statistics.js";

export type { RaceConfig, RaceSideConfig as SideConfig, RaceSideFrame as SideFrame, SamplerName, Space } from "./generated/types.js";

/** Both sides at one moment: pixel first, latent second. */
export type Frame = Timed<RaceFrame>;

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
  | { type: "check"; id: number; choice: Choice }
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
