// The Playground’s texts for failures, where the general ones mention models and downloads.

/** @import { DeviceReport } from "../contract/session.js" */
/** @import { OwnWords } from "../ui/cards.js" */

/** @typedef {"restart" | "cpu" | "defaults" | "reload"} Way */

/** @param {DeviceReport | null} report @returns {OwnWords<Way>} */
export function failureWords(report) {
  return {
    // The Playground starts on the CPU, so moving there is an option only from WebGPU.
    ways: report?.runtime === "webgpu" ? ["restart", "cpu", "defaults", "reload"] : ["restart", "defaults", "reload"],
    labels: { restart: "Restart and replay the run", cpu: "Restart on the CPU" },
    texts: {
      network: { title: "The engine did not load", text: "A part of the engine could not be downloaded. Check the connection and try again." },
      "out-of-memory": { text: "The device does not have enough free memory for this run. Use fewer chains, or close other tabs." },
      "device-lost": { title: "The compute device was lost", text: "Driver updates, sleep and overload can cause this. The run is not lost: every draw is a function of the seed, so a restart replays it to the same point." },
      panic: { text: "This is a bug in mixwell. Please include the message below in a bug report. The page still works: a restart replays the run to the same point." },
      unsupported: { title: "This browser cannot run the playground" },
    },
  };
}
