// A grid of chain images: one small canvas per chain, enlarged without smoothing to show the
// model's pixels.

import { make } from "../ui/dom.js";
import { channels, colour } from "../ui/theme.js";

/** @import { SideFrame } from "../contract/race.js" */

export class Tiles {
  /** @type {HTMLCanvasElement[]} */
  #canvases = [];
  /** @type {Uint8Array | null} */
  #images = null;
  #height = 0;
  #width = 0;

  /**
   * @param {HTMLElement} grid
   * @param {(chain: number | null) => void} onFollow
   */
  constructor(grid, onFollow) {
    this.grid = grid;
    this.onFollow = onFollow;
    grid.addEventListener("click", ({ target }) => {
      const chain = this.#canvases.indexOf(/** @type {HTMLCanvasElement} */ (target));
      if (chain >= 0) onFollow(this.#canvases[chain]?.getAttribute("aria-selected") === "true" ? null : chain);
    });
    grid.addEventListener("keydown", (event) => this.#onKey(event));
  }

  /**
   * @param {number} chains
   * @param {number} height
   * @param {number} width
   */
  layOut(chains, height, width) {
    [this.#height, this.#width] = [height, width];
    this.#images = null;
    this.#canvases = Array.from({ length: chains }, (_, chain) => {
      const canvas = make("canvas", { role: "option", "aria-label": `Chain ${chain + 1}`, "aria-selected": "false", tabindex: chain === 0 ? "0" : "-1" });
      [canvas.width, canvas.height] = [width, height];
      return canvas;
    });
    this.grid.style.setProperty("--columns", String(columnsFor(chains)));
    this.grid.dataset.many = String(chains > 16);
    this.grid.replaceChildren(...this.#canvases);
  }

  /** @param {SideFrame} frame */
  show(frame) {
    this.#images = frame.images;
    this.paint();
  }

  /** Redraws, for example after a change of theme. */
  paint() {
    const images = this.#images;
    if (!images) return;
    const shades = inkScale();
    const size = this.#height * this.#width;
    this.#canvases.forEach((canvas, chain) => {
      const context = canvas.getContext("2d");
      if (!context) return;
      const picture = context.createImageData(this.#width, this.#height);
      const pixels = new Uint32Array(picture.data.buffer);
      for (let i = 0; i < size; i += 1) pixels[i] = shades[images[chain * size + i] ?? 0] ?? 0;
      context.putImageData(picture, 0, 0);
    });
  }

  /** @param {number | null} chain */
  follow(chain) {
    this.#canvases.forEach((canvas, index) => {
      canvas.setAttribute("aria-selected", String(index === chain));
      canvas.tabIndex = index === (chain ?? 0) ? 0 : -1;
    });
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const from = this.#canvases.indexOf(/** @type {HTMLCanvasElement} */ (event.target));
    if (from < 0) return;
    // The number of columns depends on the width of the window.
    const top = this.#canvases[0]?.offsetTop;
    const inRow = Math.max(1, this.#canvases.filter((canvas) => canvas.offsetTop === top).length);
    /** @type {Record<string, number>} */
    const moves = { ArrowLeft: from - 1, ArrowRight: from + 1, ArrowUp: from - inRow, ArrowDown: from + inRow, Home: 0, End: this.#canvases.length - 1 };
    if (event.key === "Escape") this.onFollow(null);
    else if (event.key === "Enter") this.onFollow(from);
    else {
      const to = moves[event.key];
      if (to === undefined) return;
      const next = this.#canvases[to];
      if (next) {
        this.onFollow(to);
        next.focus();
      }
    }
    event.preventDefault();
    event.stopPropagation();
  }
}

/**
 * Few chains get large tiles; many chains still fit above the fold.
 * @param {number} chains
 */
function columnsFor(chains) {
  if (chains <= 6) return chains;
  if (chains <= 12) return 6;
  if (chains <= 32) return 8;
  return 12;
}

/** Grey value → paper-to-ink colour of the current theme, packed as a canvas wants it. */
function inkScale() {
  const paper = channels(colour("--paper"));
  const ink = channels(colour("--pen"));
  const packed = new Uint32Array(256);
  const bytes = new Uint8Array(packed.buffer);
  for (let value = 0; value < 256; value += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      const [from, to] = [paper[channel] ?? 0, ink[channel] ?? 255];
      bytes[4 * value + channel] = Math.round(from + ((to - from) * value) / 255);
    }
    bytes[4 * value + 3] = 255;
  }
  return packed;
}
