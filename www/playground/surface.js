// One side's picture: the energy surface with its contour lines, the chains on it with fading
// trails, the exact marginals with the draws' histograms, and a path. Two canvases: one drawn per
// configuration, one per frame.

import { make, setText } from "../ui/dom.js";
import { compact, integer } from "../ui/format.js";
import { channels, colour, faded } from "../ui/theme.js";
import { contour, LEVELS } from "./contour.js";
import { BINS } from "./store.js";

/** @import { PlayInfo, PlayPath, PlaySideFrame, Surface } from "../contract/playground.js" */
/** @import { SideStore } from "./store.js" */

const LEFT = 36;
const BOTTOM = 22;
const FONT = "12px system-ui, sans-serif";
/** Above this energy, the surface is plain background. */
const TOP_ENERGY = LEVELS[LEVELS.length - 1] ?? 18;
/** Maximum distance of a click from a point, in CSS pixels. */
const REACH = 22;
/** Maximum number of trail segments drawn. */
const SEGMENTS = 2400;

/**
 * Items drawn besides the chains.
 * @typedef {object} View
 * @property {number | null} chain
 * @property {{ path: PlayPath, shown: number, line: boolean } | null} path the first `shown` points are drawn
 */

/** @typedef {{ x: number, y: number, width: number, height: number }} Box */

export class SurfaceView {
  /** @type {HTMLCanvasElement} */
  #base;
  /** @type {HTMLCanvasElement} */
  #live;
  /** @type {PlayInfo | null} */
  #info = null;
  /** @type {SideStore | null} */
  #store = null;
  /** @type {PlaySideFrame | null} */
  #frame = null;
  /** @type {View} */
  #view = { chain: null, path: null };
  /** @type {Box} the plane, without the marginals */
  #box = { x: 0, y: 0, width: 1, height: 1 };
  #width = 0;
  #height = 0;
  #title = "";

  /**
   * @param {HTMLElement} host with two canvases
   * @param {"a" | "b"} side
   * @param {(chain: number | null) => void} onPick
   */
  constructor(host, side, onPick) {
    const [base, live] = host.querySelectorAll("canvas");
    if (!base || !live) throw new Error("The surface has no canvases.");
    this.host = host;
    this.side = side;
    [this.#base, this.#live] = [base, live];
    host.addEventListener("click", (event) => onPick(this.#nearest(event)));
    new ResizeObserver(() => {
      if (host.clientWidth !== this.#width) this.repaint();
    }).observe(host);
  }

  /** @param {PlayInfo} info @param {SideStore} store @param {string} title of the sampler */
  start(info, store, title) {
    [this.#info, this.#store, this.#frame, this.#title] = [info, store, null, title];
    this.#view = { chain: this.#view.chain, path: null };
    this.repaint();
  }

  /** @param {PlaySideFrame} frame @param {View} view */
  draw(frame, view) {
    [this.#frame, this.#view] = [frame, view];
    this.#drawLive();
  }

  /** Redraws everything, after a change of size, theme or panels. */
  repaint() {
    if (!this.#info || this.host.clientWidth === 0) return;
    this.#layOut();
    this.#drawBase();
    this.#drawLive();
  }

  #layOut() {
    this.#width = this.host.clientWidth;
    const hidden = document.documentElement.dataset.hide?.split(" ").includes("marginals");
    const margin = hidden ? 8 : Math.round(Math.min(64, 0.13 * this.#width));
    const width = this.#width - LEFT - margin;
    const height = Math.round(width * 0.86);
    this.#box = { x: LEFT, y: margin, width, height };
    this.#height = height + margin + BOTTOM;
    for (const canvas of [this.#base, this.#live]) {
      canvas.width = Math.round(this.#width * devicePixelRatio);
      canvas.height = Math.round(this.#height * devicePixelRatio);
      canvas.style.height = `${this.#height}px`;
    }
  }

  /** @param {number} x @param {number} y @returns {[number, number]} CSS pixels */
  #at(x, y) {
    const [x0, x1, y0, y1] = this.#info?.target.bounds ?? [0, 1, 0, 1];
    const box = this.#box;
    return [box.x + (box.width * (x - x0)) / (x1 - x0), box.y + (box.height * (y1 - y)) / (y1 - y0)];
  }

  #drawBase() {
    const info = this.#info;
    const context = fresh(this.#base);
    if (!info || !context) return;
    const box = this.#box;
    paintSurface(context, info.surface, box);
    context.strokeStyle = colour("--edge");
    context.lineWidth = 1;
    context.strokeRect(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1);

    const [x0, x1, y0, y1] = info.target.bounds;
    context.fillStyle = colour("--muted");
    context.font = FONT;
    [context.textAlign, context.textBaseline] = ["center", "top"];
    for (const tick of ticks(x0, x1)) context.fillText(label(tick), this.#at(tick, 0)[0], box.y + box.height + 5);
    [context.textAlign, context.textBaseline] = ["right", "middle"];
    for (const tick of ticks(y0, y1)) context.fillText(label(tick), box.x - 6, this.#at(0, tick)[1]);
    const [first = "x", second = "y"] = info.target.coordinates;
    context.font = `italic 14px ui-serif, Georgia, serif`;
    context.fillStyle = colour("--ink");
    [context.textAlign, context.textBaseline] = ["right", "bottom"];
    context.fillText(first, box.x + box.width - 6, box.y + box.height - 4);
    [context.textAlign, context.textBaseline] = ["left", "top"];
    context.fillText(second, box.x + 7, box.y + 5);
  }

  #drawLive() {
    const context = fresh(this.#live);
    const [info, store, frame] = [this.#info, this.#store, this.#frame];
    if (!context || !info || !store) return;
    if (this.#box.y > 10) for (const axis of /** @type {const} */ ([0, 1])) this.#drawMarginal(context, axis);
    context.save();
    context.beginPath();
    context.rect(this.#box.x, this.#box.y, this.#box.width, this.#box.height);
    context.clip();
    if (frame) {
      this.#drawTrails(context, store, frame);
      this.#drawPoints(context, frame);
    }
    if (this.#view.path) this.#drawPath(context, this.#view.path);
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {0 | 1} axis */
  #drawMarginal(context, axis) {
    const [info, store] = [this.#info, this.#store];
    if (!info || !store) return;
    const box = this.#box;
    const name = info.target.coordinates[axis];
    const exact = info.marginals.find((marginal) => marginal.name === name);
    const bars = store.histogram(axis);
    const most = Math.max(exact?.density.reduce((a, b) => Math.max(a, b), 0) ?? 0, 1e-9);
    // The exact curve sets the scale; a spike of draws is cut off.
    const room = box.y - 8;
    const scale = room / (1.35 * most);
    const [from, to] = axis === 0 ? info.target.bounds.slice(0, 2) : info.target.bounds.slice(2);
    const along = (/** @type {number} */ value) => (axis === 0 ? this.#at(value, 0)[0] : this.#at(0, value)[1]);
    const zero = axis === 0 ? box.y - 2 : box.x + box.width + 2;
    context.save();
    context.beginPath();
    // The distribution may reach beyond the drawn plane.
    if (axis === 0) context.rect(box.x, 0, box.width, box.y);
    else context.rect(box.x + box.width, box.y, this.#width, box.height);
    context.clip();
    const up = (/** @type {number} */ height) => (axis === 0 ? zero - Math.min(room, height * scale) : zero + Math.min(room, height * scale));
    if (bars && from !== undefined && to !== undefined) {
      context.fillStyle = faded(colour(`--${this.side}`), 0.34);
      context.strokeStyle = faded(colour(`--${this.side}`), 0.55);
      context.lineWidth = 1;
      context.beginPath();
      bars.forEach((height, bin) => {
        const [a, b] = [along(from + ((to - from) * bin) / BINS), along(from + ((to - from) * (bin + 1)) / BINS)];
        const end = up(height);
        if (axis === 0) context.rect(a, end, b - a, zero - end);
        else context.rect(zero, b, end - zero, a - b);
      });
      context.fill();
      context.stroke();
    }
    if (exact) {
      context.beginPath();
      exact.grid.forEach((value, i) => {
        const [a, b] = [along(value), up(exact.density[i] ?? 0)];
        if (axis === 0) context.lineTo(a, b);
        else context.lineTo(b, a);
      });
      context.strokeStyle = colour("--ink");
      context.lineWidth = 1.6;
      context.stroke();
    }
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context @param {SideStore} store @param {PlaySideFrame} frame */
  #drawTrails(context, store, frame) {
    const chains = frame.positions.length / 2;
    const past = store.trail.slice(-Math.max(2, Math.floor(SEGMENTS / chains)));
    const stroke = colour(`--${this.side}`);
    context.lineWidth = 1.2;
    for (let age = 1; age < past.length; age += 1) {
      const [from, to] = [past[age - 1], past[age]];
      if (!from || !to) continue;
      context.beginPath();
      for (let chain = 0; chain < chains; chain += 1) {
        context.moveTo(...this.#at(from[2 * chain] ?? 0, from[2 * chain + 1] ?? 0));
        context.lineTo(...this.#at(to[2 * chain] ?? 0, to[2 * chain + 1] ?? 0));
      }
      context.strokeStyle = faded(stroke, 0.7 * (age / past.length) ** 1.5);
      context.stroke();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {PlaySideFrame} frame */
  #drawPoints(context, frame) {
    const chains = frame.positions.length / 2;
    const radius = chains <= 16 ? 5 : chains <= 64 ? 4 : chains <= 250 ? 3 : 2;
    const [own, paper, ink] = [colour(`--${this.side}`), colour("--surface"), colour("--ink")];
    for (let chain = 0; chain < chains; chain += 1) {
      const [x, y] = this.#at(frame.positions[2 * chain] ?? NaN, frame.positions[2 * chain + 1] ?? NaN);
      if (!Number.isFinite(x + y)) continue;
      const chosen = chain === this.#view.chain;
      const size = chosen ? radius + 2 : radius;
      context.beginPath();
      if (this.side === "a") context.rect(x - size, y - size, 2 * size, 2 * size);
      else context.arc(x, y, size * 1.12, 0, 2 * Math.PI);
      // Hollow during warm-up; the halo keeps the shape visible on any background.
      context.lineWidth = frame.warming_up ? 4 : 2.5;
      context.strokeStyle = paper;
      context.stroke();
      context.fillStyle = frame.warming_up ? paper : own;
      context.fill();
      if (frame.warming_up) {
        context.lineWidth = 1.8;
        context.strokeStyle = own;
        context.stroke();
      }
      if (!chosen) continue;
      context.beginPath();
      context.arc(x, y, size + 7, 0, 2 * Math.PI);
      context.lineWidth = 2;
      context.strokeStyle = ink;
      context.stroke();
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {NonNullable<View["path"]>} shown */
  #drawPath(context, { path, shown, line }) {
    const points = Array.from({ length: Math.min(shown, path.points.length / 2) }, (_, i) => this.#at(path.points[2 * i] ?? 0, path.points[2 * i + 1] ?? 0));
    const [ink, paper] = [colour("--ink"), colour("--surface")];
    const trace = () => {
      context.beginPath();
      for (const point of points) context.lineTo(...point);
      context.stroke();
    };
    [context.strokeStyle, context.lineWidth, context.lineJoin] = [faded(paper, 0.8), 5, "round"];
    if (line) trace();
    [context.strokeStyle, context.lineWidth] = [ink, 2];
    // A NUTS trajectory grows at both ends, so lines in order of evaluation would zigzag.
    if (!line) context.setLineDash([1, 4]);
    trace();
    context.setLineDash([]);
    points.forEach(([x, y], index) => {
      context.beginPath();
      context.arc(x, y, index === 0 ? 4.5 : 3, 0, 2 * Math.PI);
      context.fillStyle = index === 0 ? paper : ink;
      context.fill();
      context.strokeStyle = index === 0 ? ink : paper;
      context.lineWidth = index === 0 ? 2 : 1;
      context.stroke();
    });
    if (points.length < path.points.length / 2) return;
    const last = points.at(-1);
    if (!path.moved && last) {
      context.beginPath();
      for (const [dx, dy] of /** @type {const} */ ([[-1, -1], [-1, 1]])) {
        context.moveTo(last[0] + 7 * dx, last[1] + 7 * dy);
        context.lineTo(last[0] - 7 * dx, last[1] - 7 * dy);
      }
      [context.strokeStyle, context.lineWidth] = [ink, 2.5];
      context.stroke();
    }
    context.beginPath();
    context.arc(...this.#at(...path.end), 10, 0, 2 * Math.PI);
    [context.strokeStyle, context.lineWidth] = [ink, 2.5];
    context.stroke();
  }

  /** @param {MouseEvent} event */
  #nearest({ clientX, clientY }) {
    const frame = this.#frame;
    const { left, top } = this.host.getBoundingClientRect();
    let [nearest, least] = [/** @type {number | null} */ (null), REACH];
    for (let chain = 0; frame && chain < frame.positions.length / 2; chain += 1) {
      const [x, y] = this.#at(frame.positions[2 * chain] ?? NaN, frame.positions[2 * chain + 1] ?? NaN);
      const distance = Math.hypot(x - (clientX - left), y - (clientY - top));
      if (distance < least) [nearest, least] = [chain, distance];
    }
    return nearest;
  }

  /** Describes the picture in words; throttled. */
  describe() {
    const [info, frame, store] = [this.#info, this.#frame, this.#store];
    if (!info || !frame || !store) return;
    const [name = "x", other = "y"] = info.target.coordinates;
    const shape = this.side === "a" ? "squares" : "circles";
    const [x, y] = [range(frame.positions, 0), range(frame.positions, 1)];
    const words = [
      `Energy surface of ${info.target.title} with ${integer(info.config.chains)} chains of ${this.#title}, drawn as ${frame.warming_up ? "hollow " : ""}${shape}, after ${integer(frame.clock)} gradients.`,
      x && y ? `The chains lie between ${name} ${compact(x[0])} and ${compact(x[1])}, ${other} ${compact(y[0])} and ${compact(y[1])}.` : "",
      ...[0, 1].map((axis) => {
        const exact = info.marginals.find((marginal) => marginal.name === info.target.coordinates[axis]);
        const own = store.moments(/** @type {0 | 1} */ (axis));
        return exact && own ? `${exact.name}: mean ${compact(own.mean)}, exact ${compact(Math.abs(exact.mean) < 1e-9 * exact.sd ? 0 : exact.mean)}; standard deviation ${compact(own.sd)}, exact ${compact(exact.sd)}.` : "";
      }),
    ];
    const text = words.filter(Boolean).join(" ");
    if (this.host.getAttribute("aria-label") !== text) this.host.setAttribute("aria-label", text);
  }
}

/**
 * The canvas's context, cleared and scaled to CSS pixels.
 * @param {HTMLCanvasElement} canvas
 */
function fresh(canvas) {
  const context = canvas.getContext("2d");
  context?.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context?.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

/**
 * Draws tint and contour lines of a surface into a box.
 * @param {CanvasRenderingContext2D} context
 * @param {Surface} surface
 * @param {Box} box
 */
export function paintSurface(context, surface, box) {
  const { width, height, energy } = surface;
  const [low, high] = [channels(colour("--low")), channels(colour("--high"))];
  const raster = new OffscreenCanvas(width, height);
  const pen = raster.getContext("2d");
  if (!pen) return;
  const picture = pen.createImageData(width, height);
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const value = energy[row * width + column] ?? Infinity;
      // The square root gives low energies most of the shades. NaN is drawn as high energy.
      const share = value < TOP_ENERGY ? Math.sqrt(Math.max(0, value) / TOP_ENERGY) : 1;
      const at = 4 * ((height - 1 - row) * width + column);
      for (let channel = 0; channel < 3; channel += 1) {
        const [from, to] = [low[channel] ?? 0, high[channel] ?? 255];
        picture.data[at + channel] = from + (to - from) * share;
      }
      picture.data[at + 3] = 255;
    }
  }
  pen.putImageData(picture, 0, 0);
  context.save();
  context.beginPath();
  context.rect(box.x, box.y, box.width, box.height);
  context.clip();
  context.imageSmoothingQuality = "high";
  // Grid points include the corners of the plane; pixel centres lie half a pixel inside.
  const [cellX, cellY] = [box.width / (width - 1), box.height / (height - 1)];
  context.drawImage(raster, box.x - cellX / 2, box.y - cellY / 2, cellX * width, cellY * height);
  LEVELS.forEach((level, index) => {
    const lines = contour(surface, level);
    context.beginPath();
    for (let i = 0; i < lines.length; i += 4) {
      context.moveTo(box.x + (lines[i] ?? 0) * cellX, box.y + box.height - (lines[i + 1] ?? 0) * cellY);
      context.lineTo(box.x + (lines[i + 2] ?? 0) * cellX, box.y + box.height - (lines[i + 3] ?? 0) * cellY);
    }
    context.strokeStyle = faded(colour("--contour"), 0.75 - 0.1 * index);
    context.lineWidth = 1;
    context.stroke();
  });
  context.restore();
}

/** Draws the colour ramp as a strip with its levels. @param {HTMLElement} host */
export function paintLegend(host) {
  const stops = [0, ...LEVELS].map((level) => {
    const share = 100 * Math.sqrt(level / TOP_ENERGY);
    return `color-mix(in srgb, var(--high) ${share}%, var(--low)) ${share}%`;
  });
  const strip = make("span", { class: "strip" });
  strip.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  const marks = [0, ...LEVELS].map((level) => {
    const mark = make("span", { class: "mark" }, label(level));
    mark.style.left = `${100 * Math.sqrt(level / TOP_ENERGY)}%`;
    return mark;
  });
  host.replaceChildren(strip, ...marks);
  setText(strip, "");
}

/** @param {Float32Array} positions @param {0 | 1} axis @returns {[number, number] | null} */
function range(positions, axis) {
  const own = [...positions].filter((value, index) => index % 2 === axis && Number.isFinite(value));
  return own.length > 0 ? [own.reduce((a, b) => Math.min(a, b)), own.reduce((a, b) => Math.max(a, b))] : null;
}

/** About five round numbers inside a range. @param {number} from @param {number} to */
function ticks(from, to) {
  const rough = (to - from) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.floor(to / step) - first + 1 }, (_, i) => (first + i) * step);
}

/** @param {number} value */
function label(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}
