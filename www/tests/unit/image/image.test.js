// Image intake: headers, refusals, averaging, words. The decoding itself is in tests/browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AreaAverage, changesOf, checkedHeader, headerOf, imageOf, inverted, MOST_PIXELS, rgbaOf, shares, testImage } from "../../../image/image.js";

const ascii = (/** @type {string} */ text) => [...text].map((character) => character.charCodeAt(0));
const be32 = (/** @type {number} */ value) => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
const be16 = (/** @type {number} */ value) => [value >> 8, value & 255];
const le16 = (/** @type {number} */ value) => [value & 255, value >> 8];
const le24 = (/** @type {number} */ value) => [value & 255, (value >> 8) & 255, value >> 16];

const png = (/** @type {number} */ w, /** @type {number} */ h) => Uint8Array.from([0x89, ...ascii("PNG\r\n\x1a\n"), ...be32(13), ...ascii("IHDR"), ...be32(w), ...be32(h), 8, 6, 0, 0, 0]);
const gif = (/** @type {number} */ w, /** @type {number} */ h) => Uint8Array.from([...ascii("GIF89a"), ...le16(w), ...le16(h), 0, 0, 0]);
/** With an EXIF block, a table and fill bytes before the frame header. */
const jpeg = (/** @type {number} */ w, /** @type {number} */ h, sof = 0xc0) =>
  Uint8Array.from([0xff, 0xd8, 0xff, 0xe1, ...be16(10), ...ascii("Exif\0\0xx"), 0xff, 0xc4, ...be16(5), 1, 2, 3, 0xff, 0xff, 0xff, sof, ...be16(17), 8, ...be16(h), ...be16(w), 3]);
const riff = (/** @type {string} */ chunk, /** @type {number[]} */ body) => Uint8Array.from([...ascii("RIFF"), 0, 0, 0, 0, ...ascii("WEBP"), ...ascii(chunk), 10, 0, 0, 0, ...body]);
const webp = {
  extended: (/** @type {number} */ w, /** @type {number} */ h) => riff("VP8X", [0, 0, 0, 0, ...le24(w - 1), ...le24(h - 1)]),
  lossy: (/** @type {number} */ w, /** @type {number} */ h) => riff("VP8 ", [0, 0, 0, 0x9d, 0x01, 0x2a, ...le16(w), ...le16(h)]),
  lossless: (/** @type {number} */ w, /** @type {number} */ h) => {
    const bits = (w - 1) | ((h - 1) << 14);
    return riff("VP8L", [0x2f, bits & 255, (bits >> 8) & 255, (bits >> 16) & 255, (bits >>> 24) & 255]);
  },
};
const avif = (/** @type {number} */ w, /** @type {number} */ h) =>
  Uint8Array.from([...be32(24), ...ascii("ftypavif"), ...be32(0), ...ascii("avifmif1"), ...be32(20), ...ascii("ispe"), ...be32(0), ...be32(16), ...be32(16), ...be32(20), ...ascii("ispe"), ...be32(0), ...be32(w), ...be32(h), ...be32(0), ...be32(0), ...be32(0), ...be32(0)]);

test("sizes are read from the first bytes of each format", () => {
  for (const [bytes, format] of /** @type {const} */ ([[png(640, 480), "PNG"], [gif(640, 480), "GIF"], [jpeg(640, 480), "JPEG"], [jpeg(640, 480, 0xc2), "JPEG"], [webp.extended(640, 480), "WebP"], [webp.lossy(640, 480), "WebP"], [webp.lossless(640, 480), "WebP"], [avif(640, 480), "AVIF"]])) {
    assert.deepEqual(headerOf(bytes), { format, width: 640, height: 480 }, format);
  }
  assert.deepEqual(headerOf(webp.extended(10_000, 12_345)), { format: "WebP", width: 10_000, height: 12_345 });
  assert.deepEqual(headerOf(webp.lossless(16_384, 9)), { format: "WebP", width: 16_384, height: 9 });
  const view = new Uint8Array(100);
  view.set(png(3, 4), 20);
  assert.deepEqual(headerOf(view.subarray(20)), { format: "PNG", width: 3, height: 4 }, "a view into a larger buffer");
});

test("a hundred megapixels are refused by the header alone", () => {
  for (const bytes of [png(10_000, 10_000), jpeg(10_000, 10_000), gif(10_000, 10_000), webp.extended(10_000, 10_000), webp.lossless(10_000, 10_000), avif(10_000, 10_000)]) {
    assert.throws(() => checkedHeader(bytes, "huge"), (/** @type {any} */ error) => error.kind === "bad-image" && /10,000 × 10,000 pixels, 100 megapixels. The limit is 40/.test(error.message) && /Make it smaller/.test(error.message));
  }
  assert.throws(() => checkedHeader(png(4_000_000_000, 4_000_000_000), "huge"), { kind: "bad-image" });
  assert.equal(checkedHeader(png(8000, MOST_PIXELS / 8000), "just").height, 5000);
});

test("what is no image is refused with what was found", () => {
  const refusals = /** @type {[Uint8Array, RegExp][]} */ ([
    [new Uint8Array(), /is empty: it has 0 bytes/],
    [Uint8Array.from(ascii("hello, this is text")), /is not an image.*PNG, JPEG, WebP, GIF or AVIF.*text \(“hello, this …”\)/],
    [Uint8Array.from(ascii("%PDF-1.7")), /a PDF/],
    [Uint8Array.from(ascii("PK\x03\x04")), /a ZIP archive/],
    [Uint8Array.from(ascii("<svg xmlns=")), /an SVG/],
    [Uint8Array.from(ascii("<!doctype html>")), /a web page/],
    [Uint8Array.from([0, 1, 2, 3]), /bytes 00 01 02 03/],
    [png(3, 4).subarray(0, 18), /cut off or damaged/],
    [Uint8Array.from([0xff, 0xd8, 0xff, 0xda, 0, 0]), /cut off or damaged/],
    [jpeg(3, 4).subarray(0, 20), /cut off or damaged/],
    [png(0, 7), /PNG of 0 × 7 pixels/],
    [gif(7, 0), /GIF of 7 × 0 pixels/],
  ]);
  for (const [bytes, message] of refusals) assert.throws(() => checkedHeader(bytes, "a.png"), { kind: "bad-image", message }, String(message));
  assert.throws(() => checkedHeader(new Uint8Array(), "x".repeat(500)), (/** @type {any} */ { message }) => message.length < 300);
});

/** @param {number} side @param {(row: number, column: number) => number[]} at */
const rgba = (side, at) => Uint8ClampedArray.from({ length: 4 * side * side }, (_, i) => at(Math.floor(i / 4 / side), Math.floor(i / 4) % side)[i % 4] ?? 255);

test("shares of the cells add up to one at every ratio", () => {
  for (const [from, to] of [[28, 28], [640, 28], [29, 28], [5, 28], [1, 28], [1000, 7]]) {
    const sums = new Float64Array(to);
    for (const parts of shares(from, to)) for (const [cell, share] of parts) sums[cell] = (sums[cell] ?? 0) + share;
    for (const sum of sums) assert.ok(Math.abs(sum - 1) < 1e-9, `${from} to ${to}: ${sum}`);
  }
});

test("an image of the model's size passes through untouched", () => {
  const average = new AreaAverage(28, 28, 28);
  const grey = Uint8Array.from({ length: 784 }, (_, i) => (i * 7) % 256);
  average.add(rgba(28, (row, column) => [grey[28 * row + column], grey[28 * row + column], grey[28 * row + column], 255]), 0);
  assert.deepEqual(average.finish(1), grey);
  assert.deepEqual(average.finish(3), Uint8Array.from([...grey, ...grey, ...grey]), "grey to colour by repetition");
});

test("areas are averaged, in strips too, alpha lies on black, colour becomes luma", () => {
  // A checkerboard of single pixels: nearest neighbour would give 0 or 255.
  const board = rgba(100, (row, column) => ((row + column) % 2 === 0 ? [255, 255, 255, 255] : [0, 0, 0, 255]));
  const whole = new AreaAverage(100, 10, 10);
  whole.add(board, 0);
  assert.deepEqual(whole.finish(1), new Uint8Array(100).fill(128));
  const strips = new AreaAverage(100, 10, 10);
  for (const [from, to] of [[0, 37], [37, 74], [74, 100]]) strips.add(board.subarray(400 * from, 400 * to), from);
  assert.deepEqual(strips.finish(1), whole.finish(1));
  // Thirds: 10 to 3, each cell is 3⅓ pixels wide.
  const ramp = new AreaAverage(10, 3, 3);
  ramp.add(rgba(10, (_, column) => [column * 20, column * 20, column * 20, 255]), 0);
  assert.deepEqual([...ramp.finish(1)].slice(0, 3), [Math.round((0 + 20 + 40 + 60 / 3) * 0.3), 90, 180 - Math.round((0 + 20 + 40 + 60 / 3) * 0.3)]);
  const alpha = new AreaAverage(4, 1, 1);
  alpha.add(rgba(4, (_, column) => [255, 255, 255, column < 2 ? 255 : 0]), 0);
  assert.deepEqual([...alpha.finish(1)], [128], "half of it is transparent, on black");
  const colours = new AreaAverage(1, 1, 1);
  colours.add(Uint8ClampedArray.from([200, 100, 50, 255]), 0);
  assert.deepEqual([...colours.finish(1)], [Math.round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]);
  assert.deepEqual([...colours.finish(3)], [200, 100, 50]);
  const small = new AreaAverage(2, 4, 4);
  small.add(rgba(2, (row, column) => [100 * row + 50 * column, 0, 0, 255]), 0);
  assert.deepEqual([...small.finish(3)].slice(0, 16), [0, 0, 50, 50, 0, 0, 50, 50, 100, 100, 150, 150, 100, 100, 150, 150]);
});

test("every change has words", () => {
  const header = { format: "PNG", width: 640, height: 480 };
  const plain = { header, size: /** @type {[number, number]} */ ([640, 480]), shape: /** @type {[number, number, number]} */ ([1, 28, 28]), colour: true, transparent: true, grey: false };
  assert.deepEqual(changesOf(plain), ["transparent parts on black", "640×480 cut to its middle square and scaled to 28×28", "colour to grey"]);
  assert.deepEqual(changesOf({ ...plain, size: [28, 28], header: { ...header, width: 28, height: 28 }, colour: false, transparent: false, grey: true }), []);
  assert.deepEqual(changesOf({ ...plain, size: [480, 640], colour: false, transparent: false, grey: true, shape: [3, 32, 32] }), ["rotated upright, as the camera recorded", "480×640 cut to its middle square and scaled to 32×32", "grey to colour: the same value in red, green and blue"]);
  assert.deepEqual(changesOf({ ...plain, header: { format: "GIF", width: 4, height: 4 }, size: [4, 4], colour: false, transparent: false, grey: true }), ["only the first frame of the GIF", "4×4 scaled up to 28×28"]);
  assert.deepEqual(changesOf({ ...plain, size: [40, 28], colour: false, transparent: false, grey: true }), ["40×28 cut to its middle square, 28×28"]);
});

test("inverting, taking one of a batch, and showing", () => {
  assert.deepEqual([...inverted(Uint8Array.from([0, 1, 255]))], [255, 254, 0]);
  assert.deepEqual([...imageOf(Uint8Array.from([1, 2, 3, 4, 5, 6]), 1, [1, 1, 3])], [4, 5, 6]);
  assert.deepEqual([...rgbaOf(Uint8Array.from([9, 8, 7]), 0, [3, 1, 1])], [9, 8, 7, 255]);
  assert.deepEqual([...rgbaOf(Uint8Array.from([9, 5]), 1, [1, 1, 1])], [5, 5, 5, 255]);
});

test("test images are what they are called, and the same every time", () => {
  const shape = /** @type {[number, number, number]} */ ([1, 28, 28]);
  assert.ok(testImage("grey", shape).every((value) => value === 128));
  assert.ok(testImage("black", shape).every((value) => value === 0));
  assert.deepEqual(new Set(testImage("checks", shape)), new Set([0, 255]));
  const noise = testImage("noise", [3, 32, 32]);
  assert.deepEqual(noise, testImage("noise", [3, 32, 32]));
  const mean = noise.reduce((sum, value) => sum + value, 0) / noise.length;
  assert.ok(Math.abs(mean - 127.5) < 6, String(mean));
});
