// The card in the middle of the page (loading, consent, errors) and the notices above it.

import { byId, copyWith, icon, make } from "./dom.js";
import { WAY_LABELS, WHY_CPU, WORDS } from "./errors.js";
import { integer, megabytes } from "./format.js";

/** @import { ErrorKind, MixwellError } from "../contract/errors.js" */
/** @import { DeviceReport } from "../contract/session.js" */
/** @import { Way, Words } from "./errors.js" */

const card = byId("card", HTMLDivElement);
const notices = byId("notices", HTMLUListElement);
const status = byId("status", HTMLParagraphElement);

/**
 * For screen readers: changes of state only, never a running number.
 * @param {string} message
 */
export function announce(message) {
  if (status.textContent !== message) status.textContent = message;
}

export function hideCard() {
  card.hidden = true;
  card.replaceChildren();
}

/**
 * @param {string} className
 * @param {...Node} content
 */
function showCard(className, ...content) {
  card.className = `card ${className}`;
  card.removeAttribute("role");
  card.replaceChildren(...content);
  card.hidden = false;
}

/**
 * @param {string} label
 * @param {() => void} onClick
 * @param {string} [className]
 */
function button(label, onClick, className = "") {
  const element = make("button", { type: "button", class: className }, label);
  element.addEventListener("click", onClick);
  return element;
}

/** @param {string} title @param {string} text */
export function showWaiting(title, text) {
  showCard("waiting", make("h2", {}, title), make("p", {}, text), make("progress", { "aria-label": title }));
  announce(title);
}

/**
 * @param {string} title
 * @param {number} bytes
 * @param {() => void} abort
 * @returns {(file: string, loaded: number, total: number) => void}
 */
export function showDownload(title, bytes, abort) {
  const heading = `Downloading ${title}`;
  const bar = make("progress", { max: String(bytes), value: "0", "aria-label": heading });
  const text = make("p", { class: "bytes" }, `0 of ${integer(bytes)} bytes`);
  showCard(
    "waiting",
    make("h2", {}, heading),
    make("p", {}, `A one-time download of ${megabytes(bytes)}. The file is checked against its SHA-256, then kept in this browser for the next visit.`),
    bar,
    text,
    make("div", { class: "ways" }, button("Stop the download", abort)),
  );
  announce(`${heading}, ${megabytes(bytes)}`);
  return (file, loaded, total) => {
    bar.max = total;
    bar.value = loaded;
    text.textContent = `${integer(loaded)} of ${integer(total)} bytes · ${file}`;
  };
}

/**
 * @param {string} title
 * @param {number} bytes
 * @param {string} why
 * @returns {Promise<void>} resolves when the visitor agrees
 */
export function askToDownload(title, bytes, why) {
  return new Promise((resolve) => {
    showCard(
      "waiting",
      make("h2", {}, `${title}: ${megabytes(bytes)} to download`),
      make("p", {}, why),
      make("div", { class: "ways" }, button(`Download ${megabytes(bytes)}`, resolve, "primary")),
    );
    announce(`${title} needs a download of ${megabytes(bytes)}.`);
  });
}

/**
 * A room’s own texts for failures, where the general ones do not fit.
 * @template {string} [Ways=Way]
 * @typedef {object} OwnWords
 * @property {Partial<Record<ErrorKind, Partial<Omit<Words, "ways"> & { ways: Ways[] }>>>} [texts]
 * @property {Partial<Record<Ways, string>>} [labels] of buttons
 * @property {Ways[]} [ways] the same for every failure, the best first
 */

/**
 * @template {Way} [Ways=Way]
 * @param {MixwellError} error
 * @param {DeviceReport | null} report included in the copied text
 * @param {(way: Ways) => unknown} go
 * @param {OwnWords<Ways>} [own]
 */
export function showError(error, report, go, own = {}) {
  const { title, text, ways } = { ...WORDS[error.kind], ...own.texts?.[error.kind] };
  const labels = { ...WAY_LABELS, ...own.labels };
  const offered = /** @type {Ways[]} */ (own.ways ?? ways).filter((way) => way !== "cpu" || report?.runtime !== "cpu");
  const technical = [`mixwell: ${error.kind}`, error.message, error.detail, `device: ${JSON.stringify(report)}`, `browser: ${navigator.userAgent}`, `address: ${location.href}`].filter(Boolean).join("\n");
  const copy = button("Copy the report", () => copyWith(copy, technical, announce), "quiet");
  const heading = make("h2", { tabindex: "-1" }, title);
  showCard(
    "bad",
    heading,
    make("p", {}, text),
    make("p", { class: "technical" }, error.message),
    make("div", { class: "ways" }, ...offered.map((way, index) => button(labels[way], () => go(way), index === 0 ? "primary" : "")), copy),
    make("details", { class: "twin" }, make("summary", {}, "Technical text"), make("pre", {}, technical)),
  );
  card.setAttribute("role", "alert");
  card.dataset.kind = error.kind;
  heading.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest" });
}

/**
 * A note that interrupts nothing. One per key: a newer note replaces the older one.
 * @param {string} key
 * @param {string} title
 * @param {string} text
 * @param {Node[]} more what follows the text
 */
export function notice(key, title, text, ...more) {
  dismiss(key);
  const item = make("li", { "data-key": key }, make("div", {}, make("strong", {}, title), ` ${text} `, ...more));
  const close = button("", () => item.remove(), "quiet close");
  close.setAttribute("aria-label", `Dismiss: ${title}`);
  close.append(icon("stuck"));
  item.append(close);
  notices.append(item);
  announce(`${title} ${text}`);
}

/** @param {string} key */
export function dismiss(key) {
  for (const item of notices.querySelectorAll("li")) if (item.dataset.key === key) item.remove();
}

/**
 * Records the runtime for style sheets and tests. On the CPU, a notice says why.
 * @param {DeviceReport} report
 * @param {string} consequence what it means for the visitor; follows the reason
 */
export function tellRuntime({ runtime, reason, reason_kind }, consequence = "The model and the numbers are the same, but slower to compute.") {
  document.documentElement.dataset.runtime = runtime;
  dismiss("cpu");
  if (reason_kind === "software") {
    const other = new URL(location.href);
    other.searchParams.set("runtime", "webgpu");
    notice("cpu", WHY_CPU.software, `${reason} The model and the numbers are the same.`, make("a", { href: other.href }, "Use WebGPU all the same"));
  } else if (reason_kind) notice("cpu", WHY_CPU[reason_kind], `${reason} ${consequence}`);
}

/** Name of the graphics adapter, as far as the browser gives it. @param {DeviceReport} report */
export function adapterName({ vendor, architecture, description }) {
  return [vendor, architecture, description].filter(Boolean).join(" ") || "an unnamed adapter";
}
