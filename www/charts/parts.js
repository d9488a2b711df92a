// What all charts share: the font, the steps of their axes, and how they follow the width of the page.

import { colour } from "../ui/theme.js";

/** @import uPlot from "uplot" */

export const FONT = "12px system-ui, sans-serif";
/** Steps between labels where there is no half of a thing. */
export const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
/** Steps of the other axes. uPlot's own have 2.5 among them, whose ticks would need another decimal. */
export const ROUND = Array.from({ length: 17 }, (_, power) => [1, 2, 5].map((step) => Number(`${step}e${power - 7}`))).flat();

/** The font on a canvas whose unit is the device's pixel. */
export const scaledFont = () => FONT.replace("12px", `${12 * devicePixelRatio}px`);

/** Widths follow the layout. @param {HTMLElement} host @param {() => uPlot | null} plot @param {number} height */
export function fit(host, plot, height) {
  new ResizeObserver(() => {
    if (host.clientWidth > 0) plot()?.setSize({ width: host.clientWidth, height });
  }).observe(host);
}

export function axisStyle() {
  return { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
}

/** Calls back when the host has another width, also when it had none before. @param {HTMLElement} host @param {() => void} rebuild */
export function onWidth(host, rebuild) {
  let width = 0;
  new ResizeObserver(() => {
    if (host.clientWidth !== width) rebuild();
    width = host.clientWidth;
  }).observe(host);
}

/**
 * A canvas of so many CSS pixels, empty, its context in CSS pixels.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function cleared(canvas, width, height) {
  const context = canvas.getContext("2d");
  if (!context || width === 0) return null;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  canvas.style.height = `${height}px`;
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}
