// The latent plane: the first two principal components of the training images' latents, the latents
// as faint dots in their classes' colours, and a room's own marks: chains with trails, single
// latents, the path between two. Two canvases: one static, one redrawn per frame.

import { make, setText, table } from "../ui/dom.js";
import { compact, integer, percent } from "../ui/format.js";
import { colour, faded } from "../ui/theme.js";
import { classMark, cloud, planeBounds } from "./words.js";

/** @import { PriorModel } from "../contract/prior.js" */

const LEFT = 34;
const BOTTOM = 34;
const TOP = 8;
const FONT = "12px system-ui, sans-serif";
/** Maximum distance of a click from a point, in CSS pixels. */
const REACH = 18;
/** Number of colours; with more classes, colours repeat and the marks distinguish them. */
const COLOURS = 10;

/**
 * Items drawn on the plane.
 * @typedef {object} Layer
 * @property {Float32Array} [chains] current states, pairs x, y
 * @property {string} [what] name of the points
 * @property {number[][]} [trails] of the first chains, oldest first, pairs x, y
 * @property {number | null} [chosen] chain
 * @property {{ x: number, y: number, label: string }[]} [marks]
 * @property {Float32Array} [way] pairs x, y
 */

export class PlaneView {
  /** @type {HTMLCanvasElement} */
  #base;
  /** @type {HTMLCanvasElement} */
  #live;
  /** @type {PriorModel | null} */
  #model = null;
  /** @type {Layer} */
  #layer = {};
  /** @type {[x0: number, x1: number, y0: number, y1: number]} */
  #bounds = [-3, 3, -3, 3];
  #width = 0;
  #height = 0;
  /** The only class shown. @type {number | null} */
  #alone = null;

  /**
   * @param {object} parts
   * @param {HTMLElement} parts.host
   * @param {HTMLElement} parts.legend
   * @param {HTMLElement} parts.twin in a details element
   * @param {(chain: number | null) => void} [parts.onPick]
   */
  constructor({ host, legend, twin, onPick }) {
    this.host = host;
    this.legend = legend;
    this.twin = twin;
    this.#base = make("canvas", { "aria-hidden": "true" });
    this.#live = make("canvas", { "aria-hidden": "true" });
    host.append(this.#base, this.#live);
    if (onPick) host.addEventListener("click", (event) => onPick(this.#nearest(event)));
    new ResizeObserver(() => {
      if (host.clientWidth !== this.#width) this.repaint();
    }).observe(host);
    twin.closest("details")?.addEventListener("toggle", () => this.fillTable());
  }

  /** @param {PriorModel} model */
  setModel(model) {
    this.#model = model;
    this.#bounds = planeBounds(model.posterior.plane);
    this.#alone = null;
    this.#layer = {};
    const present = [...new Set(model.posterior.labels)].sort((a, b) => a - b);
    this.legend.replaceChildren(
      ...present.map((index) => {
        const name = model.classes[index] ?? String(index);
        const mark = classMark(model.classes, index);
        const chip = make("button", { type: "button", "aria-pressed": "false", "data-class": String(index) }, make("i", { "aria-hidden": "true" }), make("span", {}, mark === name ? name : `${mark} ${name}`));
        chip.style.setProperty("--own", `var(--class-${index % COLOURS})`);
        chip.addEventListener("click", () => this.#single(this.#alone === index ? null : index));
        return chip;
      }),
    );
    this.repaint();
    this.fillTable();
  }

  /** @param {number | null} index of a class */
  #single(index) {
    this.#alone = index;
    for (const chip of this.legend.querySelectorAll("button")) chip.setAttribute("aria-pressed", String(chip.dataset.class === String(index)));
    this.#drawBase();
  }

  /** @param {Layer} layer */
  draw(layer) {
    this.#layer = layer;
    this.#drawLive();
    this.fillTable();
  }

  /** Redraws everything, after a change of size or theme. */
  repaint() {
    this.#width = this.host.clientWidth;
    if (!this.#model || this.#width === 0) return;
    this.#height = Math.round((this.#width - LEFT) * 0.86) + BOTTOM + TOP;
    for (const canvas of [this.#base, this.#live]) {
      canvas.width = Math.round(this.#width * devicePixelRatio);
      canvas.height = Math.round(this.#height * devicePixelRatio);
      canvas.style.height = `${this.#height}px`;
    }
    this.host.style.height = `${this.#height}px`;
    this.#drawBase();
    this.#drawLive();
  }

  get #box() {
    return { x: LEFT, y: TOP, width: this.#width - LEFT - 1, height: this.#height - BOTTOM - TOP };
  }

  /** The bounds, widened to the aspect ratio of the box, so that both axes have the same scale. */
  get #view() {
    const [x0, x1, y0, y1] = this.#bounds;
    const { width, height } = this.#box;
    const half = Math.max(x1 - x0, y1 - y0) / 2;
    const across = (half * width) / Math.min(width, height);
    const down = (half * height) / Math.min(width, height);
    const [x, y] = [(x0 + x1) / 2, (y0 + y1) / 2];
    return { x0: x - across, x1: x + across, y0: y - down, y1: y + down };
  }

  /** @param {number} x @param {number} y @returns {[number, number]} CSS pixels; points outside are moved to the edge */
  #at(x, y) {
    const { x0, x1, y0, y1 } = this.#view;
    const box = this.#box;
    const within = (/** @type {number} */ share) => Math.min(1.01, Math.max(-0.01, share));
    return [box.x + box.width * within((x - x0) / (x1 - x0)), box.y + box.height * within((y1 - y) / (y1 - y0))];
  }

  /** @param {HTMLCanvasElement} canvas */
  #fresh(canvas) {
    const context = canvas.getContext("2d");
    if (!context || !this.#model || this.#width === 0) return null;
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.#width, this.#height);
    context.font = FONT;
    return context;
  }

  #drawBase() {
    const [context, model] = [this.#fresh(this.#base), this.#model];
    if (!context || !model) return;
    const box = this.#box;
    const { x0, x1, y0, y1 } = this.#view;
    const [muted, line, edge] = [colour("--muted"), colour("--line"), colour("--edge")];
    context.fillStyle = colour("--surface");
    context.fillRect(box.x, box.y, box.width, box.height);
    context.lineWidth = 1;
    const step = x1 - x0 > 14 ? 4 : x1 - x0 > 7 ? 2 : 1;
    context.fillStyle = muted;
    for (let tick = Math.ceil(x0 / step) * step; tick <= x1; tick += step) {
      const [x] = this.#at(tick, 0);
      context.strokeStyle = line;
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, box.y);
      context.lineTo(Math.round(x) + 0.5, box.y + box.height);
      context.stroke();
      [context.textAlign, context.textBaseline] = ["center", "top"];
      if (x > box.x + 8 && x < box.x + box.width - 8) context.fillText(integer(tick), x, box.y + box.height + 4);
    }
    for (let tick = Math.ceil(y0 / step) * step; tick <= y1; tick += step) {
      const [, y] = this.#at(0, tick);
      context.strokeStyle = line;
      context.beginPath();
      context.moveTo(box.x, Math.round(y) + 0.5);
      context.lineTo(box.x + box.width, Math.round(y) + 0.5);
      context.stroke();
      [context.textAlign, context.textBaseline] = ["right", "middle"];
      if (y > box.y + 6 && y < box.y + box.height - 6) context.fillText(integer(tick), box.x - 5, y);
    }
    [context.textAlign, context.textBaseline] = ["center", "alphabetic"];
    context.fillText(`first component (${percent(model.explained[0])} of the variance)`, box.x + box.width / 2, this.#height - 3);
    context.save();
    context.translate(10, box.y + box.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(`second (${percent(model.explained[1])})`, 0, 0);
    context.restore();
    context.strokeStyle = edge;
    context.strokeRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    const { plane, labels } = model.posterior;
    const radius = labels.length > 4000 ? 1.3 : 1.9;
    const colours = Array.from({ length: COLOURS }, (_, index) => colour(`--class-${index}`));
    labels.forEach((label, i) => {
      const [x, y] = this.#at(plane[2 * i] ?? NaN, plane[2 * i + 1] ?? NaN);
      if (!Number.isFinite(x + y)) return;
      context.fillStyle = faded(colours[label % COLOURS] ?? muted, this.#alone === null ? 0.42 : this.#alone === label ? 0.9 : 0.07);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    });
    // Text marks too: colours alone do not distinguish ten classes.
    context.font = `700 ${FONT.replace("12px", "14px")}`;
    [context.textAlign, context.textBaseline, context.lineJoin] = ["center", "middle", "round"];
    for (const index of new Set(labels)) {
      if (this.#alone !== null && this.#alone !== index) continue;
      const centre = cloud(plane, (i) => labels[i] === index);
      const [x, y] = this.#at(centre.x, centre.y);
      const text = classMark(model.classes, index);
      [context.strokeStyle, context.lineWidth] = [colour("--surface"), 4];
      context.strokeText(text, x, y);
      context.fillStyle = colours[index % COLOURS] ?? muted;
      context.fillText(text, x, y);
    }
    context.restore();
  }

  #drawLive() {
    const context = this.#fresh(this.#live);
    if (!context) return;
    const { chains, trails = [], chosen = null, marks = [], way } = this.#layer;
    const box = this.#box;
    const [ink, paper, accent] = [colour("--ink"), colour("--surface"), colour("--pixel")];
    context.save();
    context.beginPath();
    context.rect(box.x, box.y, box.width, box.height);
    context.clip();
    context.lineJoin = "round";
    for (const trail of trails) {
      const points = Array.from({ length: trail.length >> 1 }, (_, i) => this.#at(trail[2 * i] ?? NaN, trail[2 * i + 1] ?? NaN));
      context.lineWidth = 1.1;
      for (let i = 1; i < points.length; i += 1) {
        const [[ax, ay], [bx, by]] = [points[i - 1] ?? [NaN, NaN], points[i] ?? [NaN, NaN]];
        if (!Number.isFinite(ax + ay + bx + by)) continue;
        context.strokeStyle = faded(ink, 0.05 + 0.5 * (i / points.length) ** 1.5);
        context.beginPath();
        context.moveTo(ax, ay);
        context.lineTo(bx, by);
        context.stroke();
      }
    }
    if (chains) {
      const count = chains.length >> 1;
      const radius = count <= 16 ? 4.5 : count <= 64 ? 3.6 : 2.8;
      for (let chain = 0; chain < count; chain += 1) {
        const [x, y] = this.#at(chains[2 * chain] ?? NaN, chains[2 * chain + 1] ?? NaN);
        if (!Number.isFinite(x + y)) continue;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        [context.fillStyle, context.strokeStyle, context.lineWidth] = [ink, paper, 1.4];
        context.fill();
        context.stroke();
      }
      if (chosen !== null && chosen < count) {
        const [x, y] = this.#at(chains[2 * chosen] ?? NaN, chains[2 * chosen + 1] ?? NaN);
        for (const [style, width] of /** @type {const} */ ([[paper, 6], [accent, 3]])) {
          [context.strokeStyle, context.lineWidth] = [style, width];
          context.beginPath();
          context.arc(x, y, radius + 5, 0, 2 * Math.PI);
          context.stroke();
        }
      }
    }
    if (way) {
      const points = Array.from({ length: way.length >> 1 }, (_, i) => this.#at(way[2 * i] ?? NaN, way[2 * i + 1] ?? NaN));
      for (const [style, width] of /** @type {const} */ ([[paper, 5], [ink, 2]])) {
        [context.strokeStyle, context.lineWidth] = [style, width];
        context.beginPath();
        for (const [x, y] of points) context.lineTo(x, y);
        context.stroke();
      }
      for (const [x, y] of points) {
        context.beginPath();
        context.arc(x, y, 3.4, 0, 2 * Math.PI);
        [context.fillStyle, context.strokeStyle, context.lineWidth] = [paper, ink, 1.6];
        context.fill();
        context.stroke();
      }
    }
    context.font = `700 ${FONT.replace("12px", "13px")}`;
    [context.textAlign, context.textBaseline] = ["center", "middle"];
    for (const { x, y, label } of marks) {
      const [left, top] = this.#at(x, y);
      context.beginPath();
      context.arc(left, top, 10.5, 0, 2 * Math.PI);
      [context.fillStyle, context.strokeStyle, context.lineWidth] = [accent, paper, 2];
      context.fill();
      context.stroke();
      context.fillStyle = colour("--on-accent");
      context.fillText(label, left, top + 0.5);
    }
    context.restore();
  }

  /** @param {MouseEvent} event */
  #nearest({ clientX, clientY }) {
    const { chains } = this.#layer;
    if (!chains) return null;
    const { left, top } = this.host.getBoundingClientRect();
    let [best, reach] = [/** @type {number | null} */ (null), REACH];
    for (let chain = 0; chain < chains.length >> 1; chain += 1) {
      const [x, y] = this.#at(chains[2 * chain] ?? NaN, chains[2 * chain + 1] ?? NaN);
      const distance = Math.hypot(clientX - left - x, clientY - top - y);
      if (distance < reach) [best, reach] = [chain, distance];
    }
    return best;
  }

  /** @param {string} text */
  describe(text) {
    this.host.setAttribute("aria-label", text);
  }

  /** Table of the centre and spread of each class and of the chains. */
  fillTable() {
    const model = this.#model;
    if (!this.twin.closest("details")?.open) return;
    if (!model) return this.twin.replaceChildren(make("p", { class: "hint" }, "Nothing yet."));
    const { plane, labels } = model.posterior;
    const { chains, what = "chains now", marks = [], way } = this.#layer;
    const row = (/** @type {string} */ name, /** @type {ReturnType<typeof cloud>} */ { n, x, y, sx, sy }) => [name, integer(n), compact(x), compact(y), n > 1 ? compact(sx) : "–", n > 1 ? compact(sy) : "–"];
    const rows = [
      ...(chains ? [row(what, cloud(chains))] : []),
      ...marks.map(({ x, y, label }) => row(label, { n: 1, x, y, sx: 0, sy: 0 })),
      ...(way ? Array.from({ length: way.length >> 1 }, (_, i) => row(`way, frame ${i + 1}`, { n: 1, x: way[2 * i] ?? NaN, y: way[2 * i + 1] ?? NaN, sx: 0, sy: 0 })) : []),
      row("latents, all", cloud(plane)),
      ...[...new Set(labels)].sort((a, b) => a - b).map((index) => row(`latents of ${model.classes[index] ?? index}`, cloud(plane, (i) => labels[i] === index))),
    ];
    this.twin.replaceChildren(table(["What", "Points", "First: mean", "Second: mean", "First: SD", "Second: SD"], rows, "Positions of the points in the latent plane"));
  }
}

/**
 * Explains the marks below the plane.
 * @param {HTMLElement} place
 * @param {PriorModel} model
 * @param {string} more
 */
export function planeHint(place, model, more) {
  setText(place, `Faint dots: latents of ${integer(model.posterior.labels.length)} training images, one colour per class; press a class to show it alone. ${more} These two directions hold ${percent(model.explained[0] + model.explained[1])} of the latents’ variance: points that look close here may be far apart in the other ${integer(model.latent - 2)}.`);
}
