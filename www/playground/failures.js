// What the Playground says of failures where the general words speak of models and downloads.

/** @import { DeviceReport } from "../contract/session.js" */
/** @import { OwnWords } from "../ui/cards.js" */

/** @typedef {"restart" | "cpu" | "defaults" | "reload"} Way */

/** @param {DeviceReport | null} report @returns {OwnWords<Way>} */
export function failureWords(report) {
  return {
    // The CPU is where the Playground starts, so it is a way forward only from WebGPU.
    ways: report?.runtime === "webgpu" ? ["restart", "cpu", "defaults", "reload"] : ["restart", "defaults", "reload"],
    labels: { restart: "Restart and replay the run", cpu: "Restart on the CPU" },
    texts: {
      network: { title: "The engine did not load", text: "A part of the engine could not be fetched. Check the connection and try again." },
      "out-of-memory": { text: "The device has too little memory left for this run. Fewer chains need less, and closing other tabs can help." },
      "device-lost": { title: "The compute device went away", text: "Driver updates, sleep and overload do this. Nothing of the run is gone: every draw is a function of its seed, so a restart replays it to the same moment." },
      panic: { text: "This is a defect of mixwell. The message below helps to find it; please copy it into a report. The page itself is fine: a restart replays the run to the moment it had reached." },
      unsupported: { title: "This browser cannot run the playground" },
    },
  };
}
