// Facts about the loaded model and the device it runs on.

import { adapterName } from "../ui/cards.js";
import { byId, make, table } from "../ui/dom.js";
import { compact, integer, megabytes } from "../ui/format.js";

/** @import { ManifestModel } from "../contract/models.js" */
/** @import { ModelInfo } from "../contract/race.js" */
/** @import { DeviceReport } from "../contract/session.js" */

/**
 * @param {object} facts
 * @param {ModelInfo} facts.info
 * @param {ManifestModel} facts.files
 * @param {DeviceReport} facts.report
 * @param {boolean} facts.cached
 * @param {() => void} facts.forget
 */
export function showModel({ info, files, report, cached, forget }) {
  const { card, parameters, self_test: test } = info;
  const bytes = files.files.reduce((sum, file) => sum + file.bytes, 0);
  const metrics = flat(card.metrics);
  const storage = make("p", {}, cached ? `Stored in this browser (${megabytes(bytes)}). ` : `In memory only (${megabytes(bytes)}). `);
  if (cached) {
    const button = make("button", { type: "button", class: "quiet", id: "forget" }, "Delete the stored copy");
    button.addEventListener("click", forget);
    storage.append(button);
  }
  byId("model-info", HTMLDivElement).replaceChildren(
    make("p", {}, make("strong", {}, `${card.title}. `), card.description),
    make("p", {}, `${integer(parameters)} parameters. Trained on ${card.data.name}. Licence: ${card.licence}.`),
    ...(metrics.length > 0 ? [make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Metrics of the model" }, table(["Metric", "Value"], metrics, `Metrics of ${card.title}`))] : []),
    ...(card.known_failures.length > 0 ? [make("h3", {}, "Known failures"), make("ul", {}, ...card.known_failures.map((text) => make("li", {}, text)))] : []),
    make("h3", {}, "Device"),
    make("p", {}, describeDevice(report)),
    make("p", {}, `Self-test passed: energies agree with the card’s within ${test.max_relative_error.toExponential(1)} (allowed ${test.tolerance.toExponential(1)}).`),
    storage,
  );
}

/**
 * Rows of name and text. A group of metrics gives one row per metric, a list of numbers one row.
 * @param {Record<string, unknown>} metrics
 * @param {string} [prefix]
 * @returns {string[][]}
 */
function flat(metrics, prefix = "") {
  return Object.entries(metrics).flatMap(([name, value]) => {
    // Lists of numbers only; records, such as the checks of each stage, have a chart in Prior.
    if (Array.isArray(value)) return value.every((item) => typeof item === "number") ? [[prefix + name, value.map((item) => compact(item, 4)).join(", ")]] : [];
    if (value !== null && typeof value === "object") return flat(/** @type {Record<string, unknown>} */ (value), `${prefix}${name} `);
    return [[prefix + name, typeof value === "number" ? compact(value, 4) : String(value)]];
  });
}

/** @param {DeviceReport} report */
function describeDevice(report) {
  if (report.runtime === "cpu") return `CPU build. ${report.reason}`;
  return `WebGPU on ${adapterName(report)}${report.fallback_adapter ? " (a software adapter: correct, but slow)" : ""}.`;
}
