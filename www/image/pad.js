// A drawing canvas of the model's size, for pointer or keyboard. For in-painting it also has a mask
// of the pixels to keep and to fill.

import { make, setText } from "../ui/dom.js";
import { colour } from "../ui/theme.js";
import { outline, rgbaOf } from "./image.js";
import { PaintSurface } from "./surface.js";

/** @import { Shape } from "./image.js" */
/** @import { Cell } from "./surface.js" */

/** Canvas size in screen pixels; the model's pixels are enlarged to it. */
const SIDE = 336;
const GREYS = /** @type {const} */ ([["255", "White"], ["190", "Light grey"], ["128", "Grey"], ["64", "Dark grey"], ["0", "Black"]]);
/** @typedef {"paint" | "erase" | "keep" | "fill"} Tool */
/** @type {Record<Tool, string>} */
const TOOLS = { paint: "Paint", erase: "Erase", keep: "Mark as kept", fill: "Mark to fill" };

/** Common masks. */
const PRESETS = /** @type {Record<string, { label: string, keeps: (row: number, column: number) => boolean }>} */ ({
  top: { label: "Keep top half", keeps: (row) => row < 0.5 },
  bottom: { label: "Keep bottom half", keeps: (row) => row >= 0.5 },
  left: { label: "Keep left half", keeps: (_, column) => column < 0.5 },
  right: { label: "Keep right half", keeps: (_, column) => column >= 0.5 },
  frame: { label: "Fill the middle", keeps: (row, column) => Math.max(Math.abs(row - 0.5), Math.abs(column - 0.5)) > 0.25 },
  all: { label: "Keep all", keeps: () => true },
});

export class PaintPad {
  /** @type {Shape} */
  #shape = [1, 28, 28];
  #image = new Uint8Array(784);
  #known = new Uint8Array(784).fill(1);
  /** @type {PaintSurface} */
  #surface;

  /**
   * @param {HTMLElement} host
   * @param {object} options
   * @param {string} options.id prefix of its ids
   * @param {string} options.label
   * @param {boolean} [options.mask]
   * @param {() => void} [options.onChange] after each stroke
   */
  constructor(host, { id, label, mask = false, onChange = () => {} }) {
    this.mask = mask;
    this.onChange = onChange;
    const help = make("p", { class: "hint", id: `${id}-help` }, "Paint with mouse, finger or pen. With the keyboard: arrow keys move the cursor, ", make("kbd", {}, "Space"), " paints", ...(mask ? [" or marks"] : [", ", make("kbd", {}, "Shift"), " ", make("kbd", {}, "Space"), " erases"]), ".");
    this.told = make("p", { class: "hint pad-told", "aria-live": "polite" });
    this.canvas = make("canvas", { class: "pad", id: `${id}-canvas`, width: String(SIDE), height: String(SIDE), tabindex: "0", role: "application", "aria-label": label, "aria-describedby": `${id}-help` });
    this.tool = make("select", { id: `${id}-tool` });
    for (const [name, text] of Object.entries(TOOLS)) if (mask || name === "paint" || name === "erase") this.tool.append(new Option(text, name));
    this.grey = make("select", { id: `${id}-ink` }, ...GREYS.map(([value, text]) => new Option(text, value)));
    this.rgb = make("input", { id: `${id}-colour`, type: "color", value: "#ffffff" });
    this.brush = make("select", { id: `${id}-brush` }, new Option("1 pixel", "0.6"), new Option("3 pixels", "1.6", true, true), new Option("6 pixels", "3.1"));
    const clear = make("button", { type: "button", id: `${id}-clear` }, "All black");
    clear.addEventListener("click", () => {
      this.#image.fill(0);
      this.#done();
    });
    /** @param {string} text @param {HTMLElement} field */
    const labelled = (text, field) => make("label", { class: "field inline" }, make("span", {}, text), field);
    this.greyField = labelled("Ink", this.grey);
    this.rgbField = labelled("Ink", this.rgb);
    const presets = Object.entries(PRESETS).map(([name, { label: text }]) => {
      const button = make("button", { type: "button", "data-preset": name }, text);
      button.addEventListener("click", () => this.preset(name));
      return button;
    });
    host.append(
      make("div", { class: "pad-frame" }, this.canvas),
      make(
        "div",
        { class: "pad-tools" },
        help,
        make("div", { class: "pad-row" }, labelled("Tool", this.tool), this.greyField, this.rgbField, labelled("Brush", this.brush)),
        ...(mask ? [make("div", { class: "ways", role: "group", "aria-label": "What is kept" }, ...presets)] : []),
        make("div", { class: "ways" }, clear),
        this.told,
      ),
    );
    this.#surface = new PaintSurface(this.canvas, {
      size: () => ({ rows: this.#shape[1], columns: this.#shape[2] }),
      dab: (cell, erase) => this.#dab(cell, erase ? "erase" : /** @type {Tool} */ (this.tool.value)),
      done: () => this.#done(),
      tell: (cell) => this.#tell(cell),
      repaint: () => this.repaint(),
    });
    this.#surface.cursor = { row: 14, column: 14 };
    this.setShape(this.#shape);
  }

  /** @param {Shape} shape clears an image of another size */
  setShape(shape) {
    const [channels, height, width] = shape;
    this.greyField.hidden = channels !== 1;
    this.rgbField.hidden = channels === 1;
    if (shape.join() !== this.#shape.join()) {
      this.#shape = shape;
      this.#image = new Uint8Array(channels * height * width);
      this.#known = new Uint8Array(height * width).fill(1);
      this.#surface.cursor = { row: height >> 1, column: width >> 1 };
    }
    this.repaint();
  }

  /** @param {Uint8Array} image */
  show(image) {
    this.#image = image.slice();
    this.#done();
  }

  /** @param {string} name of a mask */
  preset(name) {
    const keeps = PRESETS[name]?.keeps;
    if (!keeps) return;
    const [, height, width] = this.#shape;
    this.#known.forEach((_, i) => (this.#known[i] = keeps((Math.floor(i / width) + 0.5) / height, ((i % width) + 0.5) / width) ? 1 : 0));
    this.#done();
  }

  get image() {
    return this.#image.slice();
  }

  /** 1 where a pixel is kept. */
  get known() {
    return this.#known.slice();
  }

  get blank() {
    return this.#image.every((value) => value === 0);
  }

  /** @returns {number[]} one value for each channel */
  #ink() {
    if (this.#shape[0] === 1) return [Number(this.grey.value)];
    return [1, 3, 5].map((at) => parseInt(this.rgb.value.slice(at, at + 2), 16));
  }

  /** @param {Cell} at @param {Tool} tool */
  #dab(at, tool) {
    const [, height, width] = this.#shape;
    const radius = Number(this.brush.value);
    const ink = this.#ink();
    const reach = Math.ceil(radius);
    for (let row = Math.max(0, at.row - reach); row <= Math.min(height - 1, at.row + reach); row += 1) {
      for (let column = Math.max(0, at.column - reach); column <= Math.min(width - 1, at.column + reach); column += 1) {
        if (Math.hypot(row - at.row, column - at.column) > radius) continue;
        const i = row * width + column;
        if (tool === "keep" || tool === "fill") this.#known[i] = tool === "keep" ? 1 : 0;
        else ink.forEach((value, channel) => (this.#image[channel * height * width + i] = tool === "erase" ? 0 : value));
      }
    }
    this.repaint();
  }

  /** @param {Cell} cell */
  #tell({ row, column }) {
    const [, height, width] = this.#shape;
    const i = row * width + column;
    const values = this.#ink().map((_, channel) => this.#image[channel * height * width + i] ?? 0);
    setText(this.told, `Row ${row + 1}, column ${column + 1}: ${values.join(" ")} of 255${this.mask ? (this.#known[i] === 1 ? ", kept" : ", to fill") : ""}.`);
  }

  #done() {
    this.repaint();
    this.onChange();
  }

  repaint() {
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const [, height, width] = this.#shape;
    const small = new OffscreenCanvas(width, height);
    small.getContext("2d")?.putImageData(new ImageData(rgbaOf(this.#image, 0, this.#shape), width, height), 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, SIDE, SIDE);
    const [across, down] = [SIDE / width, SIDE / height];
    if (this.mask) this.#paintMask(context, across, down);
    this.#surface.outlineCursor(context, colour("--pad-cursor"), 3);
  }

  /** Hatches the pixels to fill and outlines those to keep. @param {OffscreenCanvasRenderingContext2D | CanvasRenderingContext2D} context @param {number} across @param {number} down */
  #paintMask(context, across, down) {
    const [, height, width] = this.#shape;
    context.strokeStyle = "rgb(128 128 128 / 90%)";
    context.lineWidth = 1.5;
    for (let i = 0; i < height * width; i += 1) {
      if (this.#known[i] === 1) continue;
      const [x, y] = [(i % width) * across, Math.floor(i / width) * down];
      context.fillStyle = "rgb(128 128 128 / 35%)";
      context.fillRect(x, y, across, down);
      context.beginPath();
      context.moveTo(x, y + down);
      context.lineTo(x + across, y);
      context.stroke();
    }
    for (const [style, lineWidth] of /** @type {const} */ ([["#000", 4], ["#fff", 2]])) {
      context.strokeStyle = style;
      context.lineWidth = lineWidth;
      context.beginPath();
      for (const [x0, y0, x1, y1] of outline(this.#known, height, width)) {
        context.moveTo(x0 * across, y0 * down);
        context.lineTo(x1 * across, y1 * down);
      }
      context.stroke();
    }
  }
}
