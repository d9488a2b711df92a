// A grid of images, one small canvas each, enlarged without smoothing; one can be chosen. The order may
// differ from the engine's: "position" is the page's index, "sample" the engine's.

import { announce } from "../ui/cards.js";
import { make, setText } from "../ui/dom.js";
import { colour } from "../ui/theme.js";
import { rgbaOf } from "./image.js";

/** @import { Shape } from "./image.js" */

/** A saved grid is enlarged to about this width. */
const SHEET_WIDTH = 1600;

export class SampleGrid {
  /** @type {{ tile: HTMLDivElement, canvas: HTMLCanvasElement, caption: HTMLSpanElement }[]} */
  #tiles = [];
  #images = /** @type {Uint8Array} */ (new Uint8Array());
  /** @type {Shape} */
  #shape = [1, 1, 1];
  /** Sample at each position. @type {number[]} */
  #order = [];
  /** @type {number | null} the chosen sample */
  chosen = null;

  /**
   * @param {HTMLElement} grid role listbox
   * @param {(sample: number | null) => void} onChoose
   */
  constructor(grid, onChoose) {
    this.grid = grid;
    this.onChoose = onChoose;
    grid.addEventListener("click", ({ target }) => {
      const position = this.#tiles.findIndex(({ tile }) => target instanceof Node && tile.contains(target));
      if (position >= 0) this.choose(this.#order[position] ?? null);
    });
    grid.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get count() {
    return this.#tiles.length;
  }

  /** @param {number} count @param {Shape} shape */
  layOut(count, shape) {
    this.#shape = shape;
    this.#order = Array.from({ length: count }, (_, position) => position);
    this.chosen = null;
    this.#tiles = this.#order.map((sample) => {
      const canvas = make("canvas", { "aria-hidden": "true" });
      [canvas.height, canvas.width] = [shape[1], shape[2]];
      const caption = make("span", { class: "tile-caption", "aria-hidden": "true" });
      const tile = make("div", { role: "option", "aria-label": `Sample ${sample + 1}`, "aria-selected": "false", tabindex: sample === 0 ? "0" : "-1" }, canvas, caption);
      return { tile, canvas, caption };
    });
    this.grid.style.setProperty("--columns", String(columnsFor(count)));
    this.grid.replaceChildren(...this.#tiles.map(({ tile }) => tile));
  }

  /** @param {Uint8Array} images */
  show(images) {
    this.#images = images;
    this.#tiles.forEach(({ canvas }, position) => paintImage(canvas, images, this.#order[position] ?? 0, this.#shape));
  }

  /** @param {number[]} order */
  arrange(order) {
    if (order.length !== this.#tiles.length || order.every((sample, position) => sample === this.#order[position])) return;
    this.#order = order;
    this.show(this.#images);
    this.#mark();
  }

  get order() {
    return this.#order;
  }

  /**
   * Sets the text of each sample: its screen-reader label and its caption.
   * @param {(sample: number) => { label: string, caption: string }} words
   */
  describe(words) {
    this.#tiles.forEach(({ tile, caption }, position) => {
      const { label, caption: text } = words(this.#order[position] ?? 0);
      tile.setAttribute("aria-label", label);
      setText(caption, text);
    });
  }

  /** @param {number | null} sample */
  choose(sample) {
    this.chosen = sample;
    this.#mark();
    this.onChoose(sample);
  }

  #mark() {
    const at = this.chosen === null ? 0 : Math.max(0, this.#order.indexOf(this.chosen));
    this.#tiles.forEach(({ tile }, position) => {
      tile.setAttribute("aria-selected", String(this.chosen !== null && position === at));
      tile.tabIndex = position === at ? 0 : -1;
    });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = this.#tiles.findIndex(({ tile }) => tile === event.target);
    if (from < 0) return;
    // The number of columns depends on the width of the window.
    const top = this.#tiles[0]?.tile.offsetTop;
    const inRow = Math.max(1, this.#tiles.filter(({ tile }) => tile.offsetTop === top).length);
    /** @type {Record<string, number>} */
    const moves = { ArrowLeft: from - 1, ArrowRight: from + 1, ArrowUp: from - inRow, ArrowDown: from + inRow, Home: 0, End: this.#tiles.length - 1 };
    if (event.key === "Escape") this.choose(null);
    else if (event.key === "Enter" || event.key === " ") this.choose(this.#order[from] ?? null);
    else {
      const to = moves[event.key];
      if (to === undefined) return;
      this.#tiles.forEach(({ tile }, position) => (tile.tabIndex = position === (this.#tiles[to] ? to : from) ? 0 : -1));
      this.#tiles[to]?.tile.focus();
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} images
 * @param {number} index
 * @param {Shape} shape
 */
export function paintImage(canvas, images, index, shape) {
  const [, height, width] = shape;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d")?.putImageData(new ImageData(rgbaOf(images, index, shape), width, height), 0, 0);
}

/**
 * Signed values as a picture: orange above 0, blue below.
 * @param {HTMLCanvasElement} canvas
 * @param {Float32Array} values [H, W]
 * @param {number} height
 * @param {number} width
 * @returns {number} the largest magnitude, which has the full tint
 */
export function paintSigned(canvas, values, height, width) {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  [canvas.width, canvas.height] = [width, height];
  const ramp = [channelsOf("--latent"), channelsOf("--surface"), channelsOf("--pixel")];
  const picture = new ImageData(width, height);
  values.forEach((value, i) => {
    const t = largest > 0 ? value / largest : 0;
    const end = ramp[t < 0 ? 0 : 2] ?? [0, 0, 0];
    // The square root makes small values visible: most are near 0.
    const share = Math.sqrt(Math.abs(t));
    for (let channel = 0; channel < 3; channel += 1) picture.data[4 * i + channel] = Math.round((ramp[1]?.[channel] ?? 0) * (1 - share) + (end[channel] ?? 0) * share);
    picture.data[4 * i + 3] = 255;
  });
  canvas.getContext("2d")?.putImageData(picture, 0, 0);
  return largest;
}

/** @param {string} name of a colour */
function channelsOf(name) {
  return (colour(name).match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
}

/**
 * One image as a labelled canvas.
 * @param {Uint8Array} image
 * @param {Shape} shape
 * @param {string} label
 */
export function pictureOf(image, shape, label) {
  const canvas = make("canvas", { role: "img", "aria-label": label, class: "pixels" });
  paintImage(canvas, image, 0, shape);
  return canvas;
}

/**
 * Few images get large tiles.
 * @param {number} count
 */
export function columnsFor(count) {
  if (count <= 16) return Math.max(1, Math.ceil(Math.sqrt(count)));
  if (count <= 64) return 8;
  return count <= 144 ? 12 : 16;
}

/**
 * The grid as a PNG; each model pixel is a square of `scale` pixels.
 * @param {Uint8Array} images
 * @param {number[]} order
 * @param {Shape} shape
 * @param {number} scale
 * @param {number} [columns]
 * @returns {Promise<Blob>}
 */
export async function sheetOf(images, order, shape, scale, columns = Math.min(order.length, columnsFor(order.length))) {
  const [, height, width] = shape;
  const gap = scale;
  const rows = Math.ceil(order.length / columns);
  const sheet = new OffscreenCanvas(columns * (width * scale + gap) + gap, rows * (height * scale + gap) + gap);
  const one = new OffscreenCanvas(width, height);
  const [context, small] = [sheet.getContext("2d"), one.getContext("2d")];
  if (!context || !small) throw new Error("There is not enough memory for the picture.");
  context.imageSmoothingEnabled = false;
  context.fillStyle = "#808080";
  context.fillRect(0, 0, sheet.width, sheet.height);
  order.forEach((sample, position) => {
    small.putImageData(new ImageData(rgbaOf(images, sample, shape), width, height), 0, 0);
    context.drawImage(one, gap + (position % columns) * (width * scale + gap), gap + Math.floor(position / columns) * (height * scale + gap), width * scale, height * scale);
  });
  return sheet.convertToBlob({ type: "image/png" });
}

/**
 * Downloads the grid as a PNG.
 * @param {Uint8Array} images
 * @param {number[]} order
 * @param {Shape} shape
 * @param {string} name of the file
 * @param {number} [columns]
 */
export async function saveSheet(images, order, shape, name, columns) {
  const scale = Math.max(2, Math.min(16, Math.floor(SHEET_WIDTH / ((columns ?? Math.ceil(Math.sqrt(order.length))) * (shape[2] + 1)))));
  const blob = await sheetOf(images, order, shape, scale, columns);
  const link = make("a", { download: name, href: URL.createObjectURL(blob) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  announce(`${name} is in your downloads.`);
}
