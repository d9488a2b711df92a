// "Draw your own density": a grid of 32 × 32 cells, painted with the pointer or the keyboard.

import { byId, setText } from "./dom.js";
import { emptyGrid, isEmpty, paint, SIDE } from "./play-grid.js";
import { colour } from "./theme.js";

export class DrawPanel {
  #canvas = byId("draw-canvas", HTMLCanvasElement);
  #brush = byId("draw-brush", HTMLSelectElement);
  #erase = byId("draw-erase", HTMLInputElement);
  #problem = byId("draw-problem", HTMLParagraphElement);
  #told = byId("draw-cursor", HTMLParagraphElement);
  #grid = emptyGrid();
  #cursor = { column: SIDE / 2, row: SIDE / 2 };
  /** @type {{ column: number, row: number } | null} where the pointer was last, while it is down */
  #stroke = null;

  /**
   * @param {object} listeners
   * @param {(grid: Uint8Array) => void} listeners.onUse
   */
  constructor({ onUse }) {
    byId("draw-use", HTMLButtonElement).addEventListener("click", () => {
      if (isEmpty(this.#grid)) return setText(this.#problem, "Nothing is drawn yet, and an empty plane has no density. Paint something first.");
      setText(this.#problem, "");
      onUse(this.#grid.slice());
    });
    byId("draw-clear", HTMLButtonElement).addEventListener("click", () => this.show(emptyGrid()));
    const canvas = this.#canvas;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#stroke = this.#cell(event);
      this.#dab(this.#stroke, this.#erases(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#stroke) return;
      const [from, to] = [this.#stroke, this.#cell(event)];
      // A quick hand skips cells; the brush does not.
      const steps = Math.max(1, Math.abs(to.column - from.column), Math.abs(to.row - from.row));
      for (let step = 1; step <= steps; step += 1) {
        const share = step / steps;
        this.#dab({ column: Math.round(from.column + share * (to.column - from.column)), row: Math.round(from.row + share * (to.row - from.row)) }, this.#erases(event));
      }
      this.#stroke = to;
    });
    for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => (this.#stroke = null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("focus", () => this.repaint());
    canvas.addEventListener("blur", () => this.repaint());
    byId("draw", HTMLDetailsElement).addEventListener("toggle", () => this.repaint());
    this.repaint();
  }

  /** @param {Uint8Array} grid */
  show(grid) {
    this.#grid = grid.slice();
    setText(this.#problem, "");
    this.repaint();
  }

  /** What the engine says to a drawing that it cannot use. @param {string} message */
  complain(message) {
    setText(this.#problem, message);
  }

  /** @param {PointerEvent} event */
  #erases({ buttons, shiftKey }) {
    return this.#erase.checked || shiftKey || (buttons & 2) !== 0;
  }

  /** @param {PointerEvent} event */
  #cell({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const within = (/** @type {number} */ share) => Math.min(SIDE - 1, Math.max(0, Math.floor(share * SIDE)));
    return { column: within((clientX - left) / width), row: SIDE - 1 - within((clientY - top) / height) };
  }

  /** @param {{ column: number, row: number }} cell @param {boolean} erase */
  #dab({ column, row }, erase) {
    this.#cursor = { column, row };
    paint(this.#grid, column, row, Number(this.#brush.value), erase);
    setText(this.#problem, "");
    this.repaint();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { column, row } = this.#cursor;
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const move = moves[event.key];
    if (move) {
      const within = (/** @type {number} */ value) => Math.min(SIDE - 1, Math.max(0, value));
      this.#cursor = { column: within(column + move[0]), row: within(row + move[1]) };
      this.repaint();
    } else if (event.key === " ") {
      this.#dab(this.#cursor, this.#erase.checked || event.shiftKey);
    } else return;
    const at = this.#grid[this.#cursor.row * SIDE + this.#cursor.column] ?? 0;
    setText(this.#told, `Column ${this.#cursor.column + 1}, row ${this.#cursor.row + 1} from below: ${at === 0 ? "empty" : `${Math.round((100 * at) / 255)} % paint`}.`);
    event.preventDefault();
    event.stopPropagation();
  }

  repaint() {
    const context = this.#canvas.getContext("2d");
    if (!context) return;
    const cell = this.#canvas.width / SIDE;
    context.fillStyle = colour("--paper");
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.fillStyle = colour("--pen");
    for (let row = 0; row < SIDE; row += 1) {
      for (let column = 0; column < SIDE; column += 1) {
        const value = this.#grid[row * SIDE + column] ?? 0;
        if (value === 0) continue;
        context.globalAlpha = 0.15 + (0.85 * value) / 255;
        context.fillRect(column * cell, (SIDE - 1 - row) * cell, cell, cell);
      }
    }
    context.globalAlpha = 1;
    if (document.activeElement !== this.#canvas) return;
    context.strokeStyle = colour("--latent");
    context.lineWidth = 2;
    context.strokeRect(this.#cursor.column * cell, (SIDE - 1 - this.#cursor.row) * cell, cell, cell);
  }
}
