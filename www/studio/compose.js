// The room Compose: a list of conditions, an image to fill in, and the images that the chains make.

import { Failure } from "../engine/failure.js";
import { outline, readImage } from "../image/image.js";
import { fileButton } from "../image/intake.js";
import { PaintPad } from "../image/pad.js";
import { pictureOf } from "../image/tiles.js";
import { shareText } from "../image/words.js";
import { announce } from "../ui/cards.js";
import { byId, make, setText, table } from "../ui/dom.js";
import { compact, percent } from "../ui/format.js";
import { complain } from "../ui/readings.js";
import { SettingsForm } from "./form.js";
import { RunPanel } from "./panel.js";
import { MOST_CONDITIONS, RANGES } from "./settings.js";
import { conflictSummary, conflictWord, shareOfClass, verdictOf } from "./words.js";

/** @import { Condition, StudioConfig, StudioFrame, StudioModel } from "../contract/studio.js" */
/** @import { App } from "./panel.js" */
/** @import { Setting } from "./settings.js" */
/** @import { ClassCondition } from "./url.js" */

/** Maximum number of class buttons. */
const MOST_CHIPS = 20;
/** Tables are updated less often than frames. */
const TABLES_EVERY_MS = 500;
const ROLE_NAMES = /** @type {Record<Condition["role"], string>} */ ({ all: "All of (AND)", any: "Any of (OR)", none: "None of (NOT)" });

/**
 * A condition in the list.
 * @typedef {object} Item
 * @property {number} key
 * @property {Condition["of"]} of
 * @property {Condition["role"]} role
 * @property {number} weight
 * @property {string} name
 */

export class ComposeRoom {
  /** @type {Item[]} */
  items = [];
  #next = 1;
  /** Keys of the conditions of the displayed run. @type {number[]} */
  #running = [];
  /** The same for the requested run, with the pixels that it keeps. */
  #asked = { keys: /** @type {number[]} */ ([]), known: /** @type {Uint8Array | null} */ (null) };
  #lastTables = -Infinity;
  #list = byId("c-list", HTMLOListElement);
  #imageProblem = byId("c-image-problem", HTMLParagraphElement);
  #inpaintProblem = byId("c-inpaint-problem", HTMLParagraphElement);
  #inpaintOn = byId("c-inpaint-on", HTMLInputElement);
  /** Shape of the images in the list. */
  #shape = "";

  /**
   * @param {App} app
   * @param {object} listeners
   * @param {() => void} listeners.onChange the conditions changed, so the address must be updated
   * @param {(name: Setting, value: number) => void} listeners.onSetting
   * @param {() => { image: Uint8Array, name: string } | null} listeners.chosen the sample chosen in Generate
   */
  constructor(app, { onChange, onSetting, chosen }) {
    this.app = app;
    this.onChange = onChange;
    this.panel = new RunPanel(app, {
      prefix: "c",
      verb: "Compose",
      sample: "Result",
      config: () => this.config(),
      onFrame: (frame, settled) => this.#onFrame(frame, settled),
      caption: (frame, sample) => this.#caption(frame, sample),
    });
    this.settings = new SettingsForm(byId("c-fields", HTMLDivElement), "c", ["beta", "count", "steps", "rounds", "temperature", "truncation", "seed"], onSetting);
    /** @param {File | Blob} file */
    this.take = (file) => void this.#tryImage(this.#imageProblem, async (shape) => {
      const { pixels, name } = await readImage(file, shape);
      this.add({ image: pixels }, name);
    });
    fileButton(byId("c-file", HTMLButtonElement), byId("c-file-input", HTMLInputElement), this.take);
    fileButton(byId("c-inpaint-file", HTMLButtonElement), byId("c-inpaint-input", HTMLInputElement), (file) => this.takeInpaint(file));
    const withChosen = (/** @type {HTMLElement} */ place, /** @type {(image: Uint8Array, name: string) => void} */ use) => {
      const sample = this.panel.chosen ?? chosen();
      if (!sample) return setText(place, "No sample is chosen. Generate some and click one, or choose one of the results here.");
      setText(place, "");
      use(sample.image, sample.name);
    };
    byId("c-sample", HTMLButtonElement).addEventListener("click", () => withChosen(this.#imageProblem, (image, name) => this.add({ image }, name)));
    byId("c-inpaint-sample", HTMLButtonElement).addEventListener("click", () => withChosen(this.#inpaintProblem, (image) => this.#useInpaint(image)));

    const drawHost = byId("c-draw", HTMLDivElement);
    this.drawPad = new PaintPad(drawHost, { id: "c-draw", label: "Drawing of a condition" });
    const useDrawing = make("button", { type: "button", class: "primary", id: "c-draw-use" }, "Add the drawing");
    useDrawing.addEventListener("click", () => {
      if (this.drawPad.blank) return setText(this.#imageProblem, "Nothing is drawn yet. Paint something first.");
      this.add({ image: this.drawPad.image }, "drawing");
    });
    drawHost.append(make("div", { class: "ways" }, useDrawing));
    const opener = byId("c-draw-open", HTMLButtonElement);
    opener.addEventListener("click", () => {
      drawHost.hidden = !drawHost.hidden;
      opener.setAttribute("aria-expanded", String(!drawHost.hidden));
      if (!drawHost.hidden) this.drawPad.canvas.focus();
    });

    this.inpaintPad = new PaintPad(byId("c-inpaint-pad", HTMLDivElement), { id: "c-inpaint", label: "Image to fill in, and its mask", mask: true, onChange: () => this.#inpaintChanged() });
    this.#inpaintOn.addEventListener("change", () => {
      if (this.#inpaintOn.checked && this.inpaintPad.known.every((value) => value === 1)) this.inpaintPad.preset("top");
      this.panel.outdated();
    });
    byId("c-inpaint", HTMLDetailsElement).addEventListener("toggle", () => this.inpaintPad.repaint());
  }

  /** @param {Blob} file */
  takeInpaint(file) {
    void this.#tryImage(this.#inpaintProblem, async (shape) => {
      const { pixels, changes } = await readImage(file, shape);
      this.#useInpaint(pixels);
      setText(byId("c-inpaint-text", HTMLParagraphElement), `${changes.length > 0 ? `Changed: ${changes.join("; ")}. ` : ""}The outlined part is kept exactly; the chain fills the hatched part.`);
    });
  }

  /** Whether a pasted image goes to the in-painting editor. */
  get inpaintHasFocus() {
    return byId("c-inpaint", HTMLDetailsElement).contains(document.activeElement);
  }

  /** @param {Uint8Array} image */
  #useInpaint(image) {
    if (this.inpaintPad.known.every((value) => value === 1)) this.inpaintPad.preset("top");
    this.inpaintPad.show(image);
    this.#inpaintOn.checked = true;
    announce("The image is in the in-painting editor.");
  }

  #inpaintChanged() {
    setText(this.#inpaintProblem, "");
    if (this.#inpaintOn.checked) this.panel.outdated();
  }

  /** @param {HTMLElement} place @param {(shape: StudioModel["shape"]) => Promise<void>} action */
  async #tryImage(place, action) {
    const model = this.app.model();
    if (!model) return;
    setText(place, "");
    try {
      await action(model.shape);
    } catch (error) {
      if (!complain(error, place)) this.app.fail(error);
    }
  }

  /** @returns {StudioConfig} */
  config() {
    const on = this.#inpaintOn.checked;
    if (this.items.length === 0 && !on) throw new Failure("bad-config", "There is nothing to compose yet. Press a class, add an image, or open In-painting.");
    const known = this.inpaintPad.known;
    if (on && known.every((value) => value === 1)) throw new Failure("bad-config", "In-painting is on, but no pixel is marked to be filled. Press “Keep top half”, or paint with “Mark to fill”.");
    this.#asked = { keys: this.items.map(({ key }) => key), known: on ? known : null };
    return { ...this.app.config(), conditions: this.items.map(({ of, role, weight }) => ({ of, role, weight })), inpaint: on ? { image: this.inpaintPad.image, known } : null };
  }

  /** The outline of the kept part, drawn over each result. @param {Uint8Array} known */
  #outlineImage(known) {
    const [, height = 1, width = 1] = this.app.model()?.shape ?? [];
    const path = outline(known, height, width).map(([x0, y0, x1, y1]) => `M${x0} ${y0}L${x1} ${y1}`).join("");
    const line = (/** @type {string} */ stroke, /** @type {number} */ size) => `<path d='${path}' fill='none' stroke='${stroke}' stroke-width='${size}' vector-effect='non-scaling-stroke'/>`;
    return `url("data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 ${width} ${height}' preserveAspectRatio='none'>${line("#000", 3)}${line("#fff", 1.25)}</svg>`)}")`;
  }

  /** @param {Condition["of"]} of @param {string} name @param {Condition["role"]} [role] @param {number} [weight] */
  add(of, name, role = "all", weight = 1) {
    if (this.items.length >= MOST_CONDITIONS) return setText(this.#imageProblem, `There are ${MOST_CONDITIONS} conditions already; remove one first.`);
    this.items.push({ key: this.#next++, of, role, weight, name });
    this.#changed();
    announce(`Added: ${name}. ${this.items.length} ${this.items.length === 1 ? "condition" : "conditions"}.`);
  }

  #changed() {
    setText(this.#imageProblem, "");
    setText(this.panel.problem, "");
    this.#render();
    this.panel.outdated();
    this.onChange();
  }

  /** The conditions that fit in the address: the classes. @returns {ClassCondition[]} */
  get classes() {
    return this.items.flatMap(({ of, role, weight }) => ("class" in of ? [{ class: of.class, role, weight }] : []));
  }

  /** Sets the conditions from an address; conditions with images stay. @param {ClassCondition[]} classes @param {string[]} names */
  setClasses(classes, names) {
    const images = this.items.filter(({ of }) => "image" in of);
    const known = classes.filter((condition) => condition.class < names.length);
    this.items = [...known.map((condition) => ({ key: this.#next++, of: { class: condition.class }, role: condition.role, weight: condition.weight, name: names[condition.class] ?? "" })), ...images];
    this.#render();
    return known.length;
  }

  /** Another model. @param {StudioModel} model @param {boolean} another false: the same model was loaded again */
  setModel(model, another) {
    byId("c-body", HTMLDivElement).hidden = !model.latents;
    const missing = byId("c-missing", HTMLParagraphElement);
    missing.hidden = model.latents;
    setText(missing, `${model.title} cannot compose: conditions need an encoder’s latents, and it has no encoder. Choose a CLEL model above.`);
    for (const pad of [this.drawPad, this.inpaintPad]) pad.setShape(model.shape);
    if (this.#shape !== "" && this.#shape !== model.shape.join()) {
      this.items = this.items.filter(({ of }) => "class" in of);
      this.#inpaintOn.checked = false;
    }
    this.#shape = model.shape.join();
    if (another) this.#offer(model);
  }

  /** @param {StudioModel} model */
  #offer({ classes }) {
    const host = byId("c-classes", HTMLDivElement);
    const addClass = (/** @type {number} */ index) => this.add({ class: index }, classes[index] ?? `class ${index}`);
    if (classes.length <= MOST_CHIPS) {
      host.replaceChildren(
        ...classes.map((name, index) => {
          const chip = make("button", { type: "button" }, name);
          chip.addEventListener("click", () => addClass(index));
          return chip;
        }),
      );
      return;
    }
    const select = make("select", { id: "c-class", "aria-label": "Class" }, ...classes.map((name, index) => new Option(name, String(index))));
    const button = make("button", { type: "button" }, "Add");
    button.addEventListener("click", () => addClass(Number(select.value)));
    host.replaceChildren(select, button);
  }

  #render() {
    const model = this.app.model();
    this.#list.replaceChildren(...this.items.map((item) => this.#row(item, model)));
    const images = this.items.some(({ of }) => "image" in of);
    const note = byId("c-address", HTMLParagraphElement);
    note.hidden = !images;
    setText(note, "A condition is an image. Images are too large for the address, so a link does not include them.");
    setText(this.panel.empty, this.items.length === 0 ? "Press a class, or add an image. Then press Compose." : "Press Compose to make images that meet the conditions.");
    this.#liveTerms(this.panel.run.frame);
  }

  /** @param {Item} item @param {StudioModel | null} model */
  #row(item, model) {
    const { key, of, name } = item;
    const picture = "image" in of && model ? pictureOf(of.image, model.shape, name) : make("span", { class: "glyph", "aria-hidden": "true" }, name.slice(0, 2));
    const role = make("select", { id: `c-role-${key}`, "aria-label": `Role of ${name}` }, ...Object.entries(ROLE_NAMES).map(([value, text]) => new Option(text, value, value === item.role, value === item.role)));
    role.addEventListener("change", () => {
      item.role = /** @type {Condition["role"]} */ (role.value);
      this.#touched();
    });
    const weight = make("input", { type: "number", id: `c-weight-${key}`, min: String(RANGES.weight.least), max: String(RANGES.weight.most), step: "0.1", value: String(item.weight), "aria-label": `Weight of ${name}` });
    weight.addEventListener("change", () => {
      const value = Number(weight.value);
      const good = Number.isFinite(value) && value >= RANGES.weight.least && value <= RANGES.weight.most;
      weight.setAttribute("aria-invalid", String(!good));
      if (!good) return setText(this.#imageProblem, `A weight must be a number from ${RANGES.weight.least} to ${RANGES.weight.most}, not “${weight.value}”. Nothing was changed.`);
      setText(this.#imageProblem, "");
      item.weight = value;
      this.#touched();
    });
    const remove = make("button", { type: "button", class: "quiet" }, "Remove");
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => {
      this.items = this.items.filter((other) => other !== item);
      this.#changed();
      announce(`Removed: ${name}.`);
      // Otherwise the focus would move to the top of the page.
      const next = this.#list.querySelector("select") ?? byId("c-file", HTMLButtonElement);
      if (next instanceof HTMLElement) next.focus();
    });
    return make(
      "li",
      { "data-key": String(key) },
      make("div", { class: "condition-picture" }, picture),
      make("div", { class: "condition-body" }, make("strong", {}, name), make("p", { class: "live hint" }, ""), make("div", { class: "condition-fields" }, role, make("label", { class: "weight" }, make("span", {}, "×"), weight), remove)),
    );
  }

  /** A field of a condition changed; the focus is kept. */
  #touched() {
    this.panel.outdated();
    this.onChange();
  }

  /** @param {StudioFrame | null} frame */
  #liveTerms(frame) {
    for (const row of this.#list.children) {
      const live = row.querySelector(".live");
      const at = row instanceof HTMLElement ? this.#running.indexOf(Number(row.dataset.key)) : -1;
      const term = at < 0 ? undefined : frame?.terms[at + 1];
      if (live) setText(live, term ? `mean energy ${compact(term.energy, 3)} · cosine ${compact(term.cosine, 2)}` : "not in the run yet");
    }
  }

  /** The engine accepted the requested run. */
  #begun() {
    this.#running = this.#asked.keys;
    const grid = byId("c-grid", HTMLDivElement);
    if (this.#asked.known) grid.style.setProperty("--kept", this.#outlineImage(this.#asked.known));
    else grid.style.removeProperty("--kept");
  }

  /** @param {StudioFrame | null} frame @param {boolean} settled */
  #onFrame(frame, settled) {
    if (frame?.step === 0) this.#begun();
    this.#liveTerms(frame);
    const now = performance.now();
    if (!settled && now - this.#lastTables < TABLES_EVERY_MS) return;
    this.#lastTables = now;
    this.#showVerdict(frame);
    this.#showConflict(frame);
  }

  /** @param {StudioFrame | null} frame */
  #showVerdict(frame) {
    const model = this.app.model();
    const host = byId("c-verdict-table", HTMLDivElement);
    const text = byId("c-verdict-text", HTMLParagraphElement);
    byId("c-verdict", HTMLElement).hidden = !frame;
    const verdict = frame?.verdict;
    if (!frame || !verdict || !model?.classifier) {
      host.replaceChildren();
      return setText(text, "There is no classifier for this model’s data, so the results cannot be checked independently.");
    }
    setText(text, `Independent classifier (accuracy ${percent1(model.classifier.accuracy)} on the test set); it is not part of the energy that made the images.`);
    const rows = this.items
      .filter(({ key }) => this.#running.includes(key))
      .map(({ of, name, role }) => {
        const wish = role === "none" ? "few" : "many";
        if (!("class" in of)) return [name, ROLE_NAMES[role], "an image has no class to check", wish];
        const { hits, images } = shareOfClass(verdict, model.classes, of.class);
        return [name, ROLE_NAMES[role], `${hits} of ${images} (${percent(hits / Math.max(1, images))})`, wish];
      });
    host.replaceChildren(rows.length > 0 ? table(["Condition", "Role", "Results in its class", "Wanted"], rows, "Share of the results that the classifier assigns to each condition’s class") : make("p", { class: "hint" }, "No condition is a class."));
  }

  /** @param {StudioFrame | null} frame */
  #showConflict(frame) {
    const section = byId("c-conflict", HTMLElement);
    section.hidden = !frame || frame.conflict.length === 0;
    if (!frame || section.hidden) return;
    const { terms, conflict } = frame;
    setText(byId("c-conflict-text", HTMLParagraphElement), `${conflictSummary(terms, conflict)} Cosine 1: the gradients point the same way; −1: in opposite directions.`);
    const head = make("tr", {}, make("td"), ...terms.map(({ name }) => make("th", { scope: "col" }, name)));
    const rows = terms.map((term, row) =>
      make(
        "tr",
        {},
        make("th", { scope: "row" }, term.name),
        ...terms.map((_, column) => {
          if (row === column) return make("td", { class: "self" }, "–");
          const cosine = conflict[row * terms.length + column] ?? NaN;
          const cell = make("td", {}, make("b", {}, compact(cosine, 2)), " ", make("small", {}, conflictWord(cosine)));
          const strength = Number.isFinite(cosine) ? Math.round(38 * Math.min(1, Math.abs(cosine))) : 0;
          cell.style.background = `color-mix(in srgb, var(${cosine < 0 ? "--pixel" : "--latent"}) ${strength}%, transparent)`;
          return cell;
        }),
      ),
    );
    byId("c-conflict-table", HTMLDivElement).replaceChildren(make("table", { class: "matrix" }, make("caption", { class: "visually-hidden" }, "Mean cosine between the gradients of each pair of terms"), make("thead", {}, head), make("tbody", {}, ...rows)));
  }

  /** @param {StudioFrame} frame @param {number} sample */
  #caption(frame, sample) {
    const model = this.app.model();
    if (!frame.verdict || !model?.classifier) return "";
    const best = verdictOf(frame.verdict, sample, model.classes)[0];
    return best ? `${best.name} ${shareText(best.probability)}` : "";
  }

  rebuild() {
    this.panel.rebuild();
    this.drawPad.repaint();
    this.inpaintPad.repaint();
  }
}

/** One decimal, to distinguish accuracies of 91 and 91.9 %. @param {number} share */
function percent1(share) {
  return `${(100 * share).toFixed(1)} %`;
}
