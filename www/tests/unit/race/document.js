// As much of a document as the display of the race needs, without a browser.

/** @typedef {import("node:test").TestContext} TestContext */

import { setGlobal } from "../engine/scripted.js";

/** Stands for every class of element. */
export class FakeElement extends EventTarget {
  /** @type {(FakeElement | string)[]} */
  parts = [];
  /** @type {Record<string, string>} */
  attributes = {};
  /** @type {Record<string, string>} */
  dataset = {};
  value = "";
  /** How often its content was written. */
  writes = 0;
  /** @type {FakeElement | null} */
  around = null;

  /** @param {string} [tag] */
  constructor(tag = "") {
    super();
    this.tag = tag;
  }
  /** @returns {string} */
  get textContent() {
    return this.parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  }
  set textContent(text) {
    this.replaceChildren(text);
  }
  get children() {
    return this.parts.filter((part) => part instanceof FakeElement);
  }
  get rows() {
    return this.querySelectorAll("tr");
  }
  /** @param {(FakeElement | string)[]} parts */
  append(...parts) {
    this.parts.push(...parts);
  }
  /** @param {(FakeElement | string)[]} parts */
  replaceChildren(...parts) {
    this.writes += 1;
    this.parts = parts;
  }
  /** @param {string} name @param {string} value */
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  /** @param {string} tag @returns {FakeElement[]} */
  querySelectorAll(tag) {
    return this.children.flatMap((child) => [...(child.tag === tag ? [child] : []), ...child.querySelectorAll(tag)]);
  }
  closest() {
    return this.around;
  }
  /** @param {string} value a choice of a person */
  choose(value) {
    this.value = value;
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {TestContext} t */
export function fakeDocument(t) {
  for (const kind of ["", "Div", "TableSection", "Paragraph", "Select", "Span"]) setGlobal(t, `HTML${kind}Element`, FakeElement);
  /** @type {Map<string, FakeElement>} */
  const elements = new Map();
  const byId = (/** @type {string} */ id) => {
    if (!elements.has(id)) elements.set(id, new FakeElement());
    return /** @type {FakeElement} */ (elements.get(id));
  };
  /** Those around tables. */
  const twins = [new FakeElement("details"), new FakeElement("details")];
  setGlobal(t, "document", {
    getElementById: byId,
    createElement: (/** @type {string} */ tag) => new FakeElement(tag),
    createElementNS: (/** @type {string} */ _, /** @type {string} */ tag) => new FakeElement(tag),
    querySelectorAll: (/** @type {string} */ selector) => (selector === "#race details.twin" ? twins : []),
  });
  setGlobal(t, "Option", class extends FakeElement {
    /** @param {string} text @param {string} value */
    constructor(text, value) {
      super("option");
      [this.parts, this.value] = [[text], value];
    }
  });
  const calm = { matches: false };
  setGlobal(t, "matchMedia", (/** @type {string} */ query) => (query === "(prefers-reduced-motion: reduce)" ? calm : { matches: true }));
  /** @type {Map<number, () => void>} */
  const waiting = new Map();
  let last = 0;
  setGlobal(t, "requestAnimationFrame", (/** @type {() => void} */ draw) => (waiting.set((last += 1), draw), last));
  setGlobal(t, "cancelAnimationFrame", (/** @type {number} */ request) => waiting.delete(request));
  return {
    byId,
    twins,
    calm,
    /** How many draws the next picture of the screen makes. */
    waiting,
    /** The next picture of the screen. */
    paint: () => {
      const draws = [...waiting.values()];
      waiting.clear();
      for (const draw of draws) draw();
      return draws.length;
    },
  };
}
