// Converts any thrown value to the protocol's MixwellError, so that every failure has a kind.
// Used on both sides of the worker boundary.

/** @import { ErrorKind, MixwellError } from "../contract/errors.js" */

/** @type {ReadonlySet<string>} */
const KINDS = new Set(
  /** @satisfies {ErrorKind[]} */ ([
    "no-webgpu",
    "no-adapter",
    "limits",
    "network",
    "checksum",
    "out-of-memory",
    "device-lost",
    "panic",
    "aborted",
    "quota",
    "bad-config",
    "bad-model",
    "bad-image",
    "self-test",
    "unsupported",
  ]),
);

/** A throwable MixwellError, with a stack. */
export class Failure extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {string} message what happened, with numbers
   * @param {string} [detail] technical text for the copy button
   */
  constructor(kind, message, detail = "") {
    super(message);
    this.name = "Failure";
    this.kind = kind;
    this.detail = detail;
  }
}

/**
 * The plain object that crosses postMessage.
 * @param {unknown} thrown
 * @param {ErrorKind} [otherwise] the kind if none can be inferred; an unexpected exception is a panic
 * @returns {MixwellError}
 */
export function toError(thrown, otherwise = "panic") {
  const shaped = /** @type {Partial<MixwellError> & { name?: string, stack?: string } | null} */ (
    typeof thrown === "object" ? thrown : null
  );
  const message = String(shaped?.message ?? thrown);
  const detail = String(shaped?.detail || shaped?.stack || "");
  if (shaped?.kind !== undefined && KINDS.has(shaped.kind)) return { kind: shaped.kind, message, detail };
  return { kind: guessKind(shaped?.name ?? "", message) ?? otherwise, message, detail };
}

/**
 * Browsers use different messages; these patterns cover Chromium, Firefox and Safari.
 * @param {string} name
 * @param {string} message
 * @returns {ErrorKind | null}
 */
function guessKind(name, message) {
  if (name === "AbortError") return "aborted";
  if (name === "QuotaExceededError") return "quota";
  if (/out of memory|memory allocation|allocation failed|could not allocate/i.test(message)) return "out-of-memory";
  if (/device (was |is )?lost/i.test(message)) return "device-lost";
  if (/failed to fetch|load failed|networkerror|importing a module script failed|error loading dynamically/i.test(message)) {
    return "network";
  }
  return null;
}
