// The error card in this room's words. Notices and the waiting card are the race's own (cards.js).

import { announce } from "./cards.js";
import { byId, copyWith, make } from "./dom.js";
import { WORDS } from "./errors.js";

/** @import { DeviceReport, ErrorKind, MixwellError } from "./protocol.js" */

/** @typedef {"restart" | "cpu" | "defaults" | "reload"} Way */

/** @type {Record<Way, string>} */
const LABELS = {
  restart: "Restart and replay the run",
  cpu: "Restart on the CPU",
  defaults: "Go back to the defaults",
  reload: "Reload the page",
};

/** Where the race's words speak of its models or downloads, these stand in. @type {Partial<Record<ErrorKind, string>>} */
const TEXTS = {
  network: "A part of the engine could not be fetched. Check the connection and try again.",
  "out-of-memory": "The device has too little memory left for this run. Fewer chains need less, and closing other tabs can help.",
  "device-lost": "Driver updates, sleep and overload do this. Nothing of the run is gone: every draw is a function of its seed, so a restart replays it to the same moment.",
  panic: "This is a defect of mixwell. The message below helps to find it; please copy it into a report. The page itself is fine: a restart replays the run to the moment it had reached.",
  unsupported: "It lacks something that the page cannot do without: WebAssembly, or module workers. A recent version of any large browser has both.",
};

/**
 * @param {MixwellError} error
 * @param {DeviceReport | null} report goes into the copied text
 * @param {(way: Way) => void} go
 */
export function showFailure(error, report, go) {
  const card = byId("card", HTMLDivElement);
  const title = error.kind === "device-lost" ? "The compute device went away" : error.kind === "network" ? "The engine did not load" : error.kind === "unsupported" ? "This browser cannot run the playground" : WORDS[error.kind].title;
  /** @type {Way[]} */
  const ways = ["restart", ...(report?.runtime === "webgpu" ? /** @type {Way[]} */ (["cpu"]) : []), "defaults", "reload"];
  const technical = [`mixwell: ${error.kind}`, error.message, error.detail, `device: ${JSON.stringify(report)}`, `browser: ${navigator.userAgent}`, `address: ${location.href}`].filter(Boolean).join("\n");
  const buttons = ways.map((way, index) => {
    const button = make("button", { type: "button", class: index === 0 ? "primary" : "" }, LABELS[way]);
    button.addEventListener("click", () => go(way));
    return button;
  });
  const copy = make("button", { type: "button", class: "quiet" }, "Copy the report");
  copy.addEventListener("click", () => copyWith(copy, technical, announce));
  const heading = make("h2", { tabindex: "-1" }, title);
  card.className = "card bad";
  card.setAttribute("role", "alert");
  card.dataset.kind = error.kind;
  card.replaceChildren(
    heading,
    make("p", {}, TEXTS[error.kind] ?? WORDS[error.kind].text),
    make("p", { class: "technical" }, error.message),
    make("div", { class: "ways" }, ...buttons, copy),
    make("details", { class: "twin" }, make("summary", {}, "Technical text"), make("pre", {}, technical)),
  );
  card.hidden = false;
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}
