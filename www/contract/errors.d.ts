// Every failure, in the one shape that crosses the worker boundary.

/** Every failure the page can show; each has its own text and ways forward (www/ui/errors.js). */
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
