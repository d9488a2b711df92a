// A canvas of cells to paint with pointer or keyboard. This file decides where a dab falls and
// whether it erases; the owner decides what a dab does.

/** @typedef {{ row: number, column: number }} Cell */

export class PaintSurface {
  /** Where the keyboard paints next. @type {Cell} */
  cursor = { row: 0, column: 0 };
  /** Where the pointer was last, while it is down. @type {Cell | null} */
  #stroke = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {object} owner
   * @param {() => { rows: number, columns: number }} owner.size
   * @param {boolean} [owner.upwards] whether row 0 is the lowest
   * @param {(cell: Cell, erase: boolean) => void} owner.dab erase: with Shift or the secondary button
   * @param {() => void} [owner.done] after each stroke
   * @param {(cell: Cell) => void} owner.tell after each key: announces the cursor position to screen readers
   * @param {() => void} owner.repaint
   */
  constructor(canvas, { size, upwards = false, dab, done = () => {}, tell, repaint }) {
    this.canvas = canvas;
    this.size = size;
    this.upwards = upwards;
    this.done = done;
    this.tell = tell;
    this.repaint = repaint;
    /** @param {Cell} cell @param {boolean} erase */
    this.dab = (cell, erase) => {
      this.cursor = cell;
      dab(cell, erase);
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#stroke = this.#cell(event);
      this.dab(this.#stroke, erases(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.#stroke) return;
      const [from, to] = [this.#stroke, this.#cell(event)];
      // Fills the gaps between pointer events of a fast stroke.
      const steps = Math.max(1, Math.abs(to.column - from.column), Math.abs(to.row - from.row));
      for (let step = 1; step <= steps; step += 1) {
        const share = step / steps;
        this.dab({ row: Math.round(from.row + share * (to.row - from.row)), column: Math.round(from.column + share * (to.column - from.column)) }, erases(event));
      }
      this.#stroke = to;
    });
    for (const type of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(type, () => {
        if (this.#stroke) this.done();
        this.#stroke = null;
      });
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    for (const type of ["focus", "blur"]) canvas.addEventListener(type, repaint);
  }

  /** The cell's size on the canvas. */
  get cell() {
    const { rows, columns } = this.size();
    return { width: this.canvas.width / columns, height: this.canvas.height / rows };
  }

  /** Draws the cursor while the canvas has the focus. @param {CanvasRenderingContext2D} context @param {string} colour @param {number} lineWidth */
  outlineCursor(context, colour, lineWidth) {
    if (document.activeElement !== this.canvas) return;
    const { width, height } = this.cell;
    const { row, column } = this.cursor;
    context.strokeStyle = colour;
    context.lineWidth = lineWidth;
    context.strokeRect(column * width, (this.upwards ? this.size().rows - 1 - row : row) * height, width, height);
  }

  /** @param {PointerEvent} event @returns {Cell} */
  #cell({ clientX, clientY }) {
    const { rows, columns } = this.size();
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const row = inside(Math.floor(((clientY - top) / height) * rows), rows);
    return { row: this.upwards ? rows - 1 - row : row, column: inside(Math.floor(((clientX - left) / width) * columns), columns) };
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { row, column } = this.cursor;
    const { rows, columns } = this.size();
    const up = this.upwards ? 1 : -1;
    /** @type {Record<string, [number, number]>} rows, columns */
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [up, 0], ArrowDown: [-up, 0] };
    const move = moves[event.key];
    if (move) {
      this.cursor = { row: inside(row + move[0], rows), column: inside(column + move[1], columns) };
      this.repaint();
    } else if (event.key === " ") {
      this.dab(this.cursor, event.shiftKey);
      this.done();
    } else return;
    this.tell(this.cursor);
    event.preventDefault();
    event.stopPropagation();
  }
}

/** @param {PointerEvent} event */
function erases({ buttons, shiftKey }) {
  return shiftKey || (buttons & 2) !== 0;
}

/** @param {number} index @param {number} count */
function inside(index, count) {
  return Math.min(count - 1, Math.max(0, index));
}
