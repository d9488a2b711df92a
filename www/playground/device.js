// The compute device of the run, and the comparison of the run on both devices.

import { toError } from "../engine/failure.js";
import { adapterName, notice } from "../ui/cards.js";
import { byId, setText } from "../ui/dom.js";
import { WHY_CPU } from "../ui/errors.js";
import { integer } from "../ui/format.js";
import { measureDrift } from "./drift.js";

/** @import { DeviceReport, Runtime } from "../contract/session.js" */
/** @import { Conductor } from "./conductor.js" */
/** @import { Room } from "./room.js" */

export class DevicePanel {
  #select = byId("f-runtime", HTMLSelectElement);
  #button = byId("drift", HTMLButtonElement);
  #text = byId("drift-text", HTMLParagraphElement);

  /** @param {Room} room @param {Conductor} conductor */
  constructor(room, conductor) {
    this.room = room;
    this.conductor = conductor;
    this.#select.addEventListener("change", () => this.#change().catch(conductor.fail));
    this.#button.addEventListener("click", () => this.#compare().catch(conductor.fail));
  }

  /** @param {DeviceReport} report */
  show(report) {
    this.#select.value = report.runtime;
    setText(byId("machine-text", HTMLParagraphElement), report.runtime === "cpu" ? "The smaller build, and the faster one for densities this small." : `On ${adapterName(report)}. For densities this small, the CPU is usually faster.`);
  }

  /** Moves the run to the other build and replays it to the same clock. */
  async #change() {
    const { conductor, room } = this;
    const wanted = /** @type {Runtime} */ (this.#select.value);
    const before = conductor.session.report?.runtime;
    conductor.runtime = wanted;
    if (wanted === before) return;
    const { clock } = room;
    await conductor.boot(clock);
    // If the other build does not start, the page returns to the previous one.
    if (room.phase === "failed" && wanted === "webgpu" && (before ?? "cpu") === "cpu") {
      conductor.runtime = "cpu";
      await conductor.boot(clock);
      notice("cpu", WHY_CPU.broken, "The run continues from where it was.");
    }
  }

  async #compare() {
    const { info } = this.room;
    if (!info || this.#button.disabled) return;
    const { config } = info;
    if (config.target === "drawn" || config.target === "learned") return setText(this.#text, "A drawn or learned density exists on one device only. Choose another target to compare.");
    await this.conductor.pause();
    this.#button.disabled = true;
    setText(this.#text, "Running the first transitions on the CPU, then on the graphics adapter …");
    try {
      const drift = await measureDrift(config);
      if (drift.report.runtime === "cpu") return setText(this.#text, `There is no second device to compare with: ${drift.report.reason}`);
      const words = drift.words === null ? "The device uses the host’s random numbers." : drift.words ? "The random numbers are identical bit for bit." : "The random numbers DIFFER: please report this.";
      setText(this.#text, `${words} The chains differ by ${drift.first.toExponential(1)} after one transition, and by at most ${drift.largest.toExponential(1)} within ${integer(drift.transitions)} transitions (relative to the larger of 1 and the coordinate). Devices round differently, and chaotic paths amplify rounding.`);
    } catch (error) {
      setText(this.#text, `The comparison failed: ${toError(error).message}`);
    } finally {
      this.#button.disabled = false;
    }
  }
}
