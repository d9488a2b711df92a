// Shared by Reconstruct and Anomaly: one image of the visitor, and its reconstruction. The image never
// leaves the machine.

import { toError } from "../engine/failure.js";
import { inverted, readImage } from "../image/image.js";
import { changesText, ImageSource, invertHint, originalOf, originalText } from "../image/source.js";
import { pictureOf } from "../image/tiles.js";
import { announce } from "../ui/cards.js";
import { byId, make, setText } from "../ui/dom.js";
import { complain } from "../ui/readings.js";

/** @import { PriorModel, Reconstruction } from "../contract/prior.js" */
/** @import { Given } from "../image/source.js" */
/** @import { App } from "./stages.js" */

/** An image with its reconstruction. @typedef {{ given: Given, invert: boolean, pixels: Uint8Array, result: Reconstruction }} Seen */

export class ImageRoom {
  /** The displayed result. @type {Seen | null} */
  current = null;
  /** The newest request wins. */
  #attempt = 0;
  /** The pending request. @type {{ given: Given, invert: boolean } | null} */
  #wish = null;
  /** Shape of the image. */
  #shape = "";

  /**
   * @param {App} app
   * @param {object} room
   * @param {"r" | "a"} room.prefix of its ids
   * @param {string} room.label of the pad
   * @param {() => { image: Uint8Array, name: string } | null} room.sample one of the model's own
   * @param {(seen: Seen, model: PriorModel) => string} room.show and returns the text for screen readers
   */
  constructor(app, { prefix, label, sample, show }) {
    this.app = app;
    this.prefix = prefix;
    this.show = show;
    this.problem = byId(`${prefix}-problem`, HTMLParagraphElement);
    this.invert = byId(`${prefix}-invert`, HTMLInputElement);
    this.waiting = byId(`${prefix}-waiting`, HTMLDivElement);
    this.source = new ImageSource({ prefix, label, shape: () => app.model()?.shape ?? null, take: (file) => this.take(file), use: (pixels, name) => this.use(pixels, name), attempt: (action) => this.attempt(action) });
    const own = make("button", { type: "button", "data-test": "sample" }, "A sample of the prior");
    own.addEventListener("click", () => {
      const found = sample();
      if (found) void this.use(found.image, found.name);
      else setText(this.problem, "There are no samples yet: make some in the room Stages first.");
    });
    byId(`${prefix}-tests`, HTMLDivElement).append(own);
    this.invert.addEventListener("change", () => {
      const { current } = this;
      if (current) void this.look(current.given, this.invert.checked);
    });
    byId(`${prefix}-stop`, HTMLButtonElement).addEventListener("click", () => this.stop());
  }

  /** @param {() => Promise<unknown> | void} action */
  async attempt(action) {
    setText(this.problem, "");
    try {
      await action();
    } catch (error) {
      if (!complain(error, this.problem)) this.app.fail(error);
    }
  }

  /** @param {Blob} file */
  take(file) {
    return this.attempt(async () => {
      const model = this.app.model();
      if (model) await this.#look(await readImage(file, model.shape), false);
    });
  }

  /** An image that already has the model's size. @param {Uint8Array} pixels @param {string} name */
  use(pixels, name) {
    return this.look({ pixels, name, changes: [], original: null }, false);
  }

  /** @param {Given} given @param {boolean} invert */
  look(given, invert) {
    return this.attempt(() => this.#look(given, invert));
  }

  /** Repeats the request for the same image after a change of settings. */
  again() {
    const { current } = this;
    return current ? this.look(current.given, current.invert) : Promise.resolve();
  }

  /** @param {Given} given @param {boolean} invert */
  async #look(given, invert) {
    const model = this.app.model();
    if (!model) return;
    const mine = ++this.#attempt;
    this.#wish = { given, invert };
    const steps = this.app.steps();
    this.#wait(`Finding the latent of ${given.name}: ${steps} gradient steps.`);
    const pixels = invert ? inverted(given.pixels) : given.pixels;
    try {
      const result = await this.app.desk.session.ask("reconstruct", pixels, steps);
      if (mine !== this.#attempt) return;
      this.#wish = null;
      // Only a successful result replaces the old image.
      this.current = { given, invert, pixels, result };
      this.#shape = model.shape.join();
      this.#show();
    } catch (error) {
      // A refused request is settled; a request lost with the engine is repeated.
      if (mine === this.#attempt && toError(error).kind.startsWith("bad-")) this.#wish = null;
      throw error;
    } finally {
      if (mine === this.#attempt) this.#wait(null);
    }
  }

  /** Stops waiting; a late answer is dropped. */
  stop() {
    if (!this.#wish) return;
    this.#attempt += 1;
    this.#wish = null;
    this.#wait(null);
    this.invert.checked = this.current?.invert ?? false;
    announce("Stopped. The last result is kept.");
  }

  /** @param {string | null} text */
  #wait(text) {
    this.waiting.hidden = text === null;
    if (text === null) return;
    setText(byId(`${this.prefix}-waiting-text`, HTMLParagraphElement), text);
    announce(text);
  }

  /** @param {PriorModel} model @param {boolean} another */
  setModel(model, another) {
    this.source.pad.setShape(model.shape);
    setText(byId(`${this.prefix}-invert-text`, HTMLSpanElement), invertHint(this.app.modelName()));
    if (!another) return;
    this.#attempt += 1;
    this.#wait(null);
    this.#wish = null;
    const { current } = this;
    this.current = null;
    byId(`${this.prefix}-result`, HTMLDivElement).hidden = true;
    // The image stays if its shape fits the new model.
    if (current && this.#shape === model.shape.join()) void this.look(current.given, current.invert);
  }

  /** The engine was replaced: repeats a pending request. */
  recovered() {
    const wish = this.#wish;
    if (wish) void this.look(wish.given, wish.invert);
  }

  #show() {
    const [current, model] = [this.current, this.app.model()];
    if (!current || !model) return;
    const { prefix } = this;
    const { given, invert, pixels } = current;
    byId(`${prefix}-result`, HTMLDivElement).hidden = false;
    this.invert.checked = invert;
    const [, height, width] = model.shape;
    byId(`${prefix}-original`, HTMLDivElement).replaceChildren(originalOf(given, model.shape));
    setText(byId(`${prefix}-original-text`, HTMLElement), originalText(given));
    byId(`${prefix}-seen`, HTMLDivElement).replaceChildren(pictureOf(pixels, model.shape, "The image as the model sees it"));
    setText(byId(`${prefix}-seen-text`, HTMLElement), `As the model sees it, ${width}×${height}`);
    byId(`${prefix}-made`, HTMLDivElement).replaceChildren(pictureOf(current.result.image, model.shape, "Its reconstruction"));
    setText(byId(`${prefix}-changes`, HTMLParagraphElement), changesText(given, invert));
    announce(this.show(current, model));
    const { dataset } = document.documentElement;
    dataset.seen = String(Number(dataset.seen ?? 0) + 1);
  }

  /** Redraws in another theme. */
  rebuild() {
    this.source.pad.repaint();
    const [current, model] = [this.current, this.app.model()];
    if (current && model) this.show(current, model);
  }
}
