// Sources of one image: drop, file dialog, clipboard, drawing pad and built-in test images, with the
// changes made to it. Used by Score and the rooms of Prior.

import { byId, make } from "../ui/dom.js";
import { testImage } from "./image.js";
import { clipboardImage, fileButton } from "./intake.js";
import { PaintPad } from "./pad.js";
import { pictureOf } from "./tiles.js";
import { percentileText } from "./words.js";

/** @import { Percentile } from "../contract/studio.js" */
/** @import { Intake, Shape, Test } from "./image.js" */

/** An image with its changes; images drawn or made here have no original. @typedef {Omit<Intake, "original"> & { original: Intake["original"] | null }} Given */

/** @type {Record<Test, string>} */
const TESTS = { grey: "Flat grey", black: "Flat black", white: "Flat white", noise: "Noise", checks: "Checkerboard" };

export class ImageSource {
  /**
   * @param {object} room
   * @param {string} room.prefix of its ids
   * @param {string} room.label of the pad
   * @param {() => Shape | null} room.shape null: no model is loaded
   * @param {(file: Blob) => unknown} room.take
   * @param {(pixels: Uint8Array, name: string) => unknown} room.use an image of the model's size
   * @param {(action: () => Promise<unknown>) => unknown} room.attempt runs the action and shows a failure
   */
  constructor({ prefix, label, shape, take, use, attempt }) {
    const part = (/** @type {string} */ name) => byId(`${prefix}-${name}`, HTMLButtonElement);
    fileButton(part("file"), byId(`${prefix}-file-input`, HTMLInputElement), take);
    part("paste").addEventListener("click", () => void attempt(async () => take(await clipboardImage())));
    const host = byId(`${prefix}-draw`, HTMLDivElement);
    this.pad = new PaintPad(byId(`${prefix}-draw-pad`, HTMLDivElement), { id: `${prefix}-draw`, label });
    const opener = part("draw-open");
    opener.addEventListener("click", () => {
      host.hidden = !host.hidden;
      opener.setAttribute("aria-expanded", String(!host.hidden));
      if (!host.hidden) this.pad.canvas.focus();
    });
    part("draw-use").addEventListener("click", () => void use(this.pad.image, "the drawing"));
    byId(`${prefix}-tests`, HTMLDivElement).append(
      ...Object.entries(TESTS).map(([kind, text]) => {
        const chip = make("button", { type: "button", "data-test": kind }, text);
        chip.addEventListener("click", () => {
          const size = shape();
          if (size) void use(testImage(/** @type {Test} */ (kind), size), text);
        });
        return chip;
      }),
    );
  }
}

/** @param {string} model its name */
export function invertHint(model) {
  return /mnist/.test(model) ? "MNIST and Fashion-MNIST images are bright objects on black; most photographs are the other way round." : "Bright becomes dark.";
}

/** The original image. @param {Given} given @param {Shape} shape of the model */
export function originalOf({ original, name, pixels }, shape) {
  if (!original) return pictureOf(pixels, shape, name);
  const { rgba, width, height } = original;
  const canvas = make("canvas", { role: "img", "aria-label": `${name}, as it came`, class: width < 64 ? "pixels" : "" });
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d")?.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}

/** @param {Given} given */
export function originalText({ original, name }) {
  return original ? `${name}, ${original.full[0]}×${original.full[1]}` : name;
}

/** The changes made to it. @param {Given} given @param {boolean} invert */
export function changesText({ changes }, invert) {
  const all = [...changes, ...(invert ? ["inverted"] : [])];
  return all.length === 0 ? "Nothing was changed." : `Changed: ${all.join("; ")}.`;
}

/**
 * A share with its interval.
 * @param {string} name
 * @param {Percentile} percentile
 */
export function bar(name, { below, low, high }) {
  const band = make("i", { class: "band" });
  const mark = make("i", { class: "mark" });
  band.style.left = `${100 * low}%`;
  band.style.width = `${Math.max(0.4, 100 * (high - low))}%`;
  mark.style.left = `${100 * below}%`;
  return make("div", { class: "bar-row" }, make("span", { class: "bar-name" }, name), make("span", { class: "bar", "aria-hidden": "true" }, band, mark), make("span", { class: "bar-text" }, percentileText({ below, low, high })));
}
