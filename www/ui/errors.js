// What the page says about each kind of failure, and the buttons it offers.

/** @import { ErrorKind } from "../contract/errors.js" */

/**
 * @typedef {"retry" | "cpu" | "restart" | "reload" | "defaults" | "forget" | "small"} Way
 * @typedef {object} Words
 * @property {string} title
 * @property {string} text what happened and what helps
 * @property {Way[]} ways buttons, the best first
 */

/** @type {Record<Way, string>} */
export const WAY_LABELS = {
  retry: "Try again",
  cpu: "Use the CPU instead",
  restart: "Start again",
  reload: "Reload the page",
  defaults: "Go back to the defaults",
  forget: "Delete the cached copy and try again",
  small: "Try with 4 chains",
};

/** @type {Record<ErrorKind, Words>} */
export const WORDS = {
  "no-webgpu": {
    title: "No WebGPU in this browser",
    text: "The page can run on the CPU instead, but slower. For WebGPU, use a recent Chrome, Edge, Safari or Firefox.",
    ways: ["cpu", "retry"],
  },
  "no-adapter": {
    title: "No graphics adapter",
    text: "The browser supports WebGPU but offers no graphics adapter. Hardware acceleration may be off, or the driver may be blocked. The CPU computes the same results, but slower.",
    ways: ["cpu", "retry"],
  },
  limits: {
    title: "The graphics adapter is too small",
    text: "The model needs more than this adapter offers. The CPU computes the same results, but slower.",
    ways: ["cpu", "retry"],
  },
  network: {
    title: "The download failed",
    text: "A file could not be downloaded. Check the connection and try again. For a large file, only the missing part is requested.",
    ways: ["retry", "reload"],
  },
  checksum: {
    title: "The model’s file is damaged",
    text: "The download does not match the manifest, so it was neither used nor stored. A broken connection or a stale cached copy can cause this. A new download usually helps.",
    ways: ["retry", "forget"],
  },
  "out-of-memory": {
    title: "Out of memory",
    text: "The device does not have enough free memory for this many chains. Use fewer chains, or close other tabs.",
    ways: ["small", "cpu", "reload"],
  },
  "device-lost": {
    title: "The graphics device was lost repeatedly",
    text: "The device was restarted, but was lost again. Driver updates, sleep and overload can cause this. Start again, or use the CPU.",
    ways: ["restart", "cpu", "reload"],
  },
  panic: {
    title: "The engine crashed",
    text: "This is a bug in mixwell. Please include the message below in a bug report. The page still works and can start again with the same settings.",
    ways: ["restart", "cpu", "defaults"],
  },
  aborted: {
    title: "The download was stopped",
    text: "Only complete, verified files are stored. You can start the download again at any time.",
    ways: ["retry"],
  },
  quota: {
    title: "The model is not stored",
    text: "The browser’s storage is full or blocked. The model runs from memory, and the next visit downloads it again.",
    ways: ["retry"],
  },
  "bad-config": {
    title: "These settings do not work together",
    text: "The engine rejected them for the reason below.",
    ways: ["defaults", "retry"],
  },
  "bad-model": {
    title: "The model cannot be used",
    text: "Its files or its card do not fit this version of the page. Try another model, or reload the page.",
    ways: ["defaults", "reload"],
  },
  "bad-image": {
    title: "This image cannot be used",
    text: "Use PNG, JPEG, WebP, GIF or AVIF, up to 40 megapixels. The previous image is unchanged.",
    ways: ["retry"],
  },
  "self-test": {
    title: "This device computes wrong energies",
    text: "Before its first use, the model is checked against known answers. They do not match on this device, so its results cannot be trusted.",
    ways: ["retry", "cpu"],
  },
  unsupported: {
    title: "This browser cannot run the page",
    text: "The page needs WebAssembly and module workers. A recent version of any major browser has both.",
    ways: ["reload"],
  },
};

/** Titles of the notice that says why the CPU is used. */
export const WHY_CPU = {
  "no-webgpu": "Running on the CPU: no WebGPU.",
  "no-adapter": "Running on the CPU: no graphics adapter.",
  limits: "Running on the CPU: the graphics adapter is too small.",
  asked: "Running on the CPU.",
  broken: "Running on the CPU: WebGPU did not work here.",
  software: "Running on the CPU: there is no graphics processor.",
};
