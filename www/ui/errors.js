// Every failure has its own words and its own ways forward.

/** @import { ErrorKind } from "../contract/errors.js" */

/**
 * @typedef {"retry" | "cpu" | "restart" | "reload" | "defaults" | "forget" | "small"} Way
 * @typedef {object} Words
 * @property {string} title
 * @property {string} text what it means and what helps
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
    text: "The race can run on the CPU, only slower. For WebGPU use a recent Chrome, Edge, Safari or Firefox.",
    ways: ["cpu", "retry"],
  },
  "no-adapter": {
    title: "No graphics adapter",
    text: "The browser knows WebGPU but may not use a graphics adapter here. Hardware acceleration may be switched off, or the driver may be blocked. The CPU does the same sums, only slower.",
    ways: ["cpu", "retry"],
  },
  limits: {
    title: "The graphics adapter is too small",
    text: "The model needs more than this adapter offers. The CPU does the same sums, only slower.",
    ways: ["cpu", "retry"],
  },
  network: {
    title: "The download did not get through",
    text: "A file could not be fetched. Check the connection and try again; of a large file, only the part that is still missing is asked for.",
    ways: ["retry", "reload"],
  },
  checksum: {
    title: "The model’s file is damaged",
    text: "What arrived is not what the manifest promises, so it was neither used nor stored. A broken connection or a stale copy in between can cause this; a new download usually helps.",
    ways: ["retry", "forget"],
  },
  "out-of-memory": {
    title: "Out of memory",
    text: "The device has too little memory left for this many chains. Fewer chains need less, and closing other tabs can help.",
    ways: ["small", "cpu", "reload"],
  },
  "device-lost": {
    title: "The graphics device keeps going away",
    text: "The device was lost and could not be rebuilt for good. Driver updates, sleep and overload do this. The race can start again, or move to the CPU.",
    ways: ["restart", "cpu", "reload"],
  },
  panic: {
    title: "The engine crashed",
    text: "This is a defect of mixwell. The message below helps to find it; please copy it into a report. The page itself is fine and can start again with the same settings.",
    ways: ["restart", "cpu", "defaults"],
  },
  aborted: {
    title: "The download was stopped",
    text: "Nothing was stored that is not complete and checked. You can start the download again at any time.",
    ways: ["retry"],
  },
  quota: {
    title: "The model is not stored",
    text: "There is no room for it, or the browser keeps nothing here. The race runs from memory; the next visit downloads the model again.",
    ways: ["retry"],
  },
  "bad-config": {
    title: "These settings do not work together",
    text: "The engine refused them, for the reason below.",
    ways: ["defaults", "retry"],
  },
  "bad-model": {
    title: "The model cannot be used",
    text: "Its files or its card do not fit this version of the page. Another model may work, and so may a reload.",
    ways: ["defaults", "reload"],
  },
  "bad-image": {
    title: "This image cannot be used",
    text: "PNG, JPEG, WebP, GIF and AVIF can, up to 40 megapixels. Nothing that was there before is lost.",
    ways: ["retry"],
  },
  "self-test": {
    title: "This device computes wrong energies",
    text: "Before its first use the model is checked against known answers. They do not agree here, so nothing computed on this device could be trusted.",
    ways: ["retry", "cpu"],
  },
  unsupported: {
    title: "This browser cannot run the race",
    text: "It lacks something that the page cannot do without: WebAssembly, or module workers. A recent version of any large browser has both.",
    ways: ["reload"],
  },
};

/** Titles of the notice that tells why the CPU is used. */
export const WHY_CPU = {
  "no-webgpu": "Running on the CPU: no WebGPU.",
  "no-adapter": "Running on the CPU: no graphics adapter.",
  limits: "Running on the CPU: the graphics adapter is too small.",
  asked: "Running on the CPU.",
  broken: "Running on the CPU: WebGPU did not work here.",
};
