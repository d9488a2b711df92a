// "Draw your own density": a grid of 32 × 32 cells, painted with the pointer or the keyboard.

import { PaintSurface } from "../image/surface.js";
import { byId, setText } from "../ui/dom.js";
import { colour } from "../ui/theme.js";
import { emptyGrid, isEmpty, paint, SIDE } from "./grid.js";

export class DrawPanel {
  #canvas = byId("draw-canvas", HTMLCanvasElement);
  #brush = byId("draw-brush", HTMLSelectElement);
  #erase = byId("draw-erase", HTMLInputElement);
  #problem = byId("draw-problem", HTMLParagraphElement);
  #told = byId("draw-cursor", HTMLParagraphElement);
  #grid = emptyGrid();
  #surface = new PaintSurface(this.#canvas, {
    size: () => ({ rows: SIDE, columns: SIDE }),
    // The density's y axis points up.
    upwards: true,
    dab: ({ row, column }, erase) => {
      paint(this.#grid, column, row, Number(this.#brush.value), erase || this.#erase.checked);
      setText(this.#problem, "");
      this.repaint();
    },
    tell: ({ row, column }) => {
      const at = this.#grid[row * SIDE + column] ?? 0;
      setText(this.#told, `Column ${column + 1}, row ${row + 1} from below: ${at === 0 ? "empty" : `${Math.round((100 * at) / 255)} % paint`}.`);
    },
    repaint: () => this.repaint(),
  });

  /**
   * @param {object} listeners
   * @param {(grid: Uint8Array) => void} listeners.onUse
   */
  constructor({ onUse }) {
    this.#surface.cursor = { row: SIDE / 2, column: SIDE / 2 };
    byId("draw-use", HTMLButtonElement).addEventListener("click", () => {
      if (isEmpty(this.#grid)) return setText(this.#problem, "Nothing is drawn yet, and an empty plane is not a density. Paint something first.");
      setText(this.#problem, "");
      onUse(this.#grid.slice());
    });
    byId("draw-clear", HTMLButtonElement).addEventListener("click", () => this.show(emptyGrid()));
    byId("draw", HTMLDetailsElement).addEventListener("toggle", () => this.repaint());
    this.repaint();
  }

  /** @param {Uint8Array} grid */
  show(grid) {
    this.#grid = grid.slice();
    setText(this.#problem, "");
    this.repaint();
  }

  /** The engine's message about an unusable drawing. @param {string} message */
  complain(message) {
    setText(this.#problem, message);
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
    this.#surface.outlineCursor(context, colour("--latent"), 2);
  }
}
