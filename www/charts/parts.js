// Shared by all charts: the font, the axis steps, and resizing with the page.

import { colour } from "../ui/theme.js";

/** @import uPlot from "uplot" */

export const FONT = "12px system-ui, sans-serif";
/** Axis steps for whole numbers. */
export const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
/** Steps of the other axes. uPlot's defaults include 2.5, whose ticks need another decimal. */
export const ROUND = Array.from({ length: 17 }, (_, power) => [1, 2, 5].map((step) => Number(`${step}e${power - 7}`))).flat();

/** The font on a canvas in device pixels. */
export const scaledFont = () => FONT.replace("12px", `${12 * devicePixelRatio}px`);

/** Resizes the plot with its host. @param {HTMLElement} host @param {() => uPlot | null} plot @param {number} height */
export function fit(host, plot, height) {
  new ResizeObserver(() => {
    if (host.clientWidth > 0) plot()?.setSize({ width: host.clientWidth, height });
  }).observe(host);
}

export function axisStyle() {
  return { stroke: colour("--muted"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
}

/** Calls back when the width of the host changes, also from 0. @param {HTMLElement} host @param {() => void} rebuild */
export function onWidth(host, rebuild) {
  let width = 0;
  new ResizeObserver(() => {
    if (host.clientWidth !== width) rebuild();
    width = host.clientWidth;
  }).observe(host);
}

/**
 * Clears a canvas of the given size in CSS pixels and returns its context, scaled to CSS pixels.
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
