// Converts a file to a model's input: checks the format, decodes, crops to a square and averages
// down, and describes every change. The size in pixels is read from the file's first bytes, before
// decoding. All but `readImage` is pure.

import { Failure } from "../engine/failure.js";
import { integer, megabytes } from "../ui/format.js";

/** @typedef {[channels: number, height: number, width: number]} Shape */
/** @typedef {{ format: string, width: number, height: number }} Header */

/** Decoding takes four bytes per pixel, so this is 160 MB. */
export const MOST_PIXELS = 40e6;
/** A real image of 40 megapixels is smaller than this. */
export const MOST_BYTES = 160e6;
/** Luma of Rec. 601, as in torchvision and PIL. */
const LUMA = /** @type {const} */ ([0.299, 0.587, 0.114]);
/** The size is usually found within this many bytes. */
const FIRST = 2 ** 20;
/** Rows that are read back from the canvas at a time. */
const STRIP = 256;
const KINDS = "PNG, JPEG, WebP, GIF or AVIF";

/**
 * An image as a model takes it.
 * @typedef {object} Intake
 * @property {Uint8Array} pixels [C, H, W]
 * @property {string[]} changes changes made to it, in order, in words; empty: none
 * @property {string} name file name, or the source of the image
 * @property {Picture} original to show beside it
 */
/** A small picture for the screen. @typedef {{ width: number, height: number, rgba: Uint8ClampedArray<ArrayBuffer>, full: [width: number, height: number] }} Picture */

/** @param {string} message */
function refusal(message) {
  return new Failure("bad-image", message);
}

/**
 * Format and size from the first bytes.
 * @param {Uint8Array} bytes the whole file, or enough of its beginning to hold the size
 * @param {string} name
 * @returns {Header} of the image; throws a Failure if it is not an image, or has no or too many pixels
 */
export function checkedHeader(bytes, name) {
  const what = `“${name.slice(0, 60)}”`;
  if (bytes.length === 0) throw refusal(`${what} is empty: it has 0 bytes. Expected an image file (${KINDS}). It may not have been saved or copied completely; choose it again.`);
  const header = headerOf(bytes);
  if (!header) throw refusal(`${what} is not an image that this page can read. Expected ${KINDS}; the contents look like ${likeness(bytes)}, whatever the file name says. Choose another file, or save it as PNG.`);
  const { format, width, height } = header;
  if (width === 0 || height === 0) throw refusal(`${what} is a ${format} of ${integer(width)} × ${integer(height)} pixels, so it is empty. Choose an image of at least 1 × 1.`);
  if (width * height > MOST_PIXELS) {
    throw refusal(`${what} is a ${format} of ${integer(width)} × ${integer(height)} pixels, ${integer((width * height) / 1e6)} megapixels. The limit is ${integer(MOST_PIXELS / 1e6)}, so it was not opened. Make it smaller first; the model sees few pixels anyway.`);
  }
  return header;
}

/** @param {Uint8Array} bytes @returns {Header | null} null: not an image, or truncated before its size */
export function headerOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (/** @type {number} */ at, /** @type {number} */ length) => String.fromCharCode(...bytes.subarray(at, at + length));
  try {
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") return text(12, 4) === "IHDR" ? { format: "PNG", width: view.getUint32(16), height: view.getUint32(20) } : null;
    if (/^GIF8[79]a$/.test(text(0, 6))) return { format: "GIF", width: view.getUint16(6, true), height: view.getUint16(8, true) };
    if (view.getUint16(0) === 0xffd8) return jpegHeader(view);
    if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") return webpHeader(view, text(12, 4));
    if (text(4, 4) === "ftyp" && /avi[fs]/.test(text(8, 64))) return avifHeader(view, text);
  } catch (error) {
    // A read beyond the end: the header is truncated.
    if (!(error instanceof RangeError)) throw error;
  }
  return null;
}

/** The first frame header (SOF) has the size; earlier segments are skipped by their length. @param {DataView} view @returns {Header | null} */
function jpegHeader(view) {
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    // Fill bytes, and markers without a length.
    if (marker === 0xff) at += 1;
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd8)) at += 2;
    else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc) return { format: "JPEG", width: view.getUint16(at + 7), height: view.getUint16(at + 5) };
    else if (marker === 0xd9 || marker === 0xda) return null;
    else at += 2 + view.getUint16(at + 2);
  }
}

/** @param {DataView} view @param {string} chunk @returns {Header | null} */
function webpHeader(view, chunk) {
  const format = "WebP";
  if (chunk === "VP8X") return { format, width: 1 + (view.getUint32(24, true) & 0xffffff), height: 1 + ((view.getUint16(27, true) | (view.getUint8(29) << 16)) >>> 0) };
  if (chunk === "VP8L") {
    if (view.getUint8(20) !== 0x2f) return null;
    const bits = view.getUint32(21, true);
    return { format, width: 1 + (bits & 0x3fff), height: 1 + ((bits >>> 14) & 0x3fff) };
  }
  // A key frame begins with a start code, then width and height with 14 bits each.
  if (chunk === "VP8 " && view.getUint8(23) === 0x9d && view.getUint8(24) === 0x01 && view.getUint8(25) === 0x2a) return { format, width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  return null;
}

/** The largest "ispe" property: tiles and thumbnails have smaller ones. @param {DataView} view @param {(at: number, length: number) => string} text @returns {Header | null} */
function avifHeader(view, text) {
  let [width, height, found] = [0, 0, false];
  const end = Math.min(view.byteLength - 16, 2 ** 16);
  for (let at = 0; at < end; at += 1) {
    if (view.getUint8(at) !== 0x69 || text(at, 4) !== "ispe") continue;
    const [w, h] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (!found || w * h > width * height) [width, height] = [w, h];
    found = true;
  }
  return found ? { format: "AVIF", width, height } : null;
}

/** What the bytes look like, if not an image. @param {Uint8Array} bytes */
function likeness(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  if (head.startsWith("%PDF")) return "a PDF";
  if (head.startsWith("PK")) return "a ZIP archive";
  if (/^\s*<(svg|\?xml)/i.test(head)) return "an SVG or XML file";
  if (/^\s*<(!doctype|html)/i.test(head)) return "a web page";
  if (/^BM/.test(head)) return "a BMP";
  if (/^(II\*\0|MM\0\*)/.test(head)) return "a TIFF";
  if (head.startsWith("\x89PNG") || head.startsWith("\xff\xd8") || head.startsWith("GIF8") || head.startsWith("RIFF")) return "an image that is cut off or damaged";
  if (/^[\x09\x0a\x0d\x20-\x7e]*$/.test(head)) return `text (“${head.trim().slice(0, 12)}…”)`;
  return `other data (bytes ${[...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ")})`;
}

/**
 * Averages a source, which arrives in strips of rows, over each cell of a target grid. Transparent
 * parts are blended with black. Exact at every ratio: a source pixel shared by two cells counts in
 * both, weighted by area.
 */
export class AreaAverage {
  /**
   * @param {number} side of the square source
   * @param {number} width of the target
   * @param {number} height
   */
  constructor(side, width, height) {
    this.side = side;
    this.width = width;
    this.height = height;
    this.sums = new Float64Array(3 * width * height);
    this.across = shares(side, width);
    this.down = shares(side, height);
  }

  /**
   * @param {Uint8ClampedArray} rgba rows × side × 4, alpha not premultiplied
   * @param {number} first first source row of the strip
   */
  add(rgba, first) {
    const { side, width, height, sums } = this;
    const rows = rgba.length / (4 * side);
    // Averages one source row horizontally, then adds it to the target rows.
    const line = new Float64Array(3 * width);
    for (let row = 0; row < rows; row += 1) {
      line.fill(0);
      for (let x = 0; x < side; x += 1) {
        const at = 4 * (row * side + x);
        const alpha = (rgba[at + 3] ?? 0) / 255;
        if (alpha === 0) continue;
        const [red, green, blue] = [alpha * (rgba[at] ?? 0), alpha * (rgba[at + 1] ?? 0), alpha * (rgba[at + 2] ?? 0)];
        for (const [cell, share] of this.across[x] ?? []) {
          line[3 * cell] = (line[3 * cell] ?? 0) + share * red;
          line[3 * cell + 1] = (line[3 * cell + 1] ?? 0) + share * green;
          line[3 * cell + 2] = (line[3 * cell + 2] ?? 0) + share * blue;
        }
      }
      for (const [cell, share] of this.down[first + row] ?? []) {
        if (cell >= height) continue;
        const base = 3 * cell * width;
        for (let i = 0; i < 3 * width; i += 1) sums[base + i] = (sums[base + i] ?? 0) + share * (line[i] ?? 0);
      }
    }
  }

  /**
   * @param {number} channels 1: grey by luma. 3: as it is
   * @returns {Uint8Array} [C, H, W]
   */
  finish(channels) {
    const size = this.width * this.height;
    const pixels = new Uint8Array(channels * size);
    for (let i = 0; i < size; i += 1) {
      const rgb = [0, 1, 2].map((channel) => this.sums[3 * i + channel] ?? 0);
      if (channels === 1) pixels[i] = byte(LUMA.reduce((sum, weight, channel) => sum + weight * (rgb[channel] ?? 0), 0));
      else for (let channel = 0; channel < channels; channel += 1) pixels[channel * size + i] = byte(rgb[channel] ?? 0);
    }
    return pixels;
  }
}

/** @param {number} value */
function byte(value) {
  // Shares sum to 1 only up to rounding; without this, 127.5 could round down to 127.
  return Math.max(0, Math.min(255, Math.round(value + 1e-9)));
}

/**
 * For each source pixel, the target cells it overlaps and its share of each cell's length (one axis).
 * @param {number} from
 * @param {number} to
 * @returns {[cell: number, share: number][][]}
 */
export function shares(from, to) {
  const scale = to / from;
  return Array.from({ length: from }, (_, pixel) => {
    const [start, end] = [pixel * scale, (pixel + 1) * scale];
    /** @type {[number, number][]} */
    const parts = [];
    for (let cell = Math.floor(start + 1e-9); cell < to && cell < end - 1e-9; cell += 1) parts.push([cell, Math.min(end, cell + 1) - Math.max(start, cell)]);
    return parts;
  });
}

/**
 * The changes in words.
 * @param {object} facts
 * @param {Header} facts.header
 * @param {[width: number, height: number]} facts.size as decoded
 * @param {Shape} facts.shape
 * @param {boolean} facts.colour whether it has colour
 * @param {boolean} facts.transparent
 * @param {boolean} facts.grey whether it is grey throughout
 */
export function changesOf({ header, size: [width, height], shape: [channels, rows, columns], colour, transparent, grey }) {
  /** @type {string[]} */
  const changes = [];
  if (header.format === "GIF") changes.push("only the first frame of the GIF");
  if (width === header.height && height === header.width && width !== height) changes.push("rotated upright, as the camera recorded");
  if (transparent) changes.push("transparent parts on black");
  const side = Math.min(width, height);
  if (side !== columns || side !== rows) changes.push(`${width}×${height} ${width === height ? "" : "cut to its middle square and "}scaled ${side < columns ? "up " : ""}to ${columns}×${rows}`);
  else if (width !== height) changes.push(`${width}×${height} cut to its middle square, ${columns}×${rows}`);
  if (channels === 1 && colour) changes.push("colour to grey");
  if (channels === 3 && grey) changes.push("grey to colour: the same value in red, green and blue");
  return changes;
}

/**
 * @param {Uint8Array} pixels
 * @returns {Uint8Array} inverted values
 */
export function inverted(pixels) {
  return pixels.map((value) => 255 - value);
}

/**
 * Reads a file for a model. Throws a Failure of kind "bad-image" and changes nothing.
 * @param {Blob & { name?: string }} file
 * @param {Shape} shape
 * @returns {Promise<Intake>}
 */
export async function readImage(file, shape) {
  const name = file.name || "the pasted image";
  if (file.size > MOST_BYTES) throw refusal(`“${name.slice(0, 60)}” has ${megabytes(file.size)}; the limit is ${megabytes(MOST_BYTES)}. Save a smaller version.`);
  let head = new Uint8Array(await file.slice(0, FIRST).arrayBuffer());
  // Colour profiles and previews may come before the size.
  if (file.size > FIRST && !headerOf(head)) head = new Uint8Array(await file.arrayBuffer());
  const header = checkedHeader(head, name);
  /** @type {ImageBitmap} */
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch (error) {
    throw refusal(`“${name.slice(0, 60)}” claims to be a ${header.format} of ${header.width} × ${header.height} pixels, but this browser could not decode it (${error instanceof Error ? error.message : error}). It may be damaged; save it again as PNG.`);
  }
  try {
    // The header may be wrong, or may describe a camera's thumbnail.
    if (bitmap.width * bitmap.height > MOST_PIXELS) throw refusal(`“${name.slice(0, 60)}” has ${integer(bitmap.width)} × ${integer(bitmap.height)} pixels; the limit is ${integer(MOST_PIXELS / 1e6)} megapixels. Make it smaller first.`);
    return { ...reduced(bitmap, header, shape), name };
  } finally {
    bitmap.close();
  }
}

/** @param {ImageBitmap} bitmap @param {Header} header @param {Shape} shape @returns {Omit<Intake, "name">} */
function reduced(bitmap, header, shape) {
  const [channels, rows, columns] = shape;
  const { width, height } = bitmap;
  const side = Math.min(width, height);
  const [left, top] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  const average = new AreaAverage(side, columns, rows);
  const strip = new OffscreenCanvas(side, Math.min(STRIP, side));
  const context = strip.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Failure("out-of-memory", `There is not enough memory for a canvas of ${side} × ${strip.height} pixels.`);
  let [colour, transparent] = [false, false];
  for (let row = 0; row < side; row += strip.height) {
    const count = Math.min(strip.height, side - row);
    context.clearRect(0, 0, side, strip.height);
    context.drawImage(bitmap, left, top + row, side, count, 0, 0, side, count);
    const { data } = context.getImageData(0, 0, side, count);
    for (let i = 0; i < data.length && !(colour && transparent); i += 4) {
      colour ||= data[i] !== data[i + 1] || data[i] !== data[i + 2];
      transparent ||= data[i + 3] !== 255;
    }
    average.add(data, row);
  }
  return {
    pixels: average.finish(channels),
    changes: changesOf({ header, size: [width, height], shape, colour, transparent, grey: !colour }),
    original: thumbnail(bitmap),
  };
}

/** For display only, so the browser's scaling is good enough. @param {ImageBitmap} bitmap @returns {Picture} */
function thumbnail(bitmap) {
  const scale = Math.min(1, 320 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale))];
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (!context) throw new Failure("out-of-memory", "There is not enough memory for a small canvas.");
  [context.imageSmoothingEnabled, context.imageSmoothingQuality] = [scale < 1, "high"];
  context.drawImage(bitmap, 0, 0, width, height);
  return { width, height, rgba: context.getImageData(0, 0, width, height).data, full: [bitmap.width, bitmap.height] };
}

/**
 * A model's image for the screen.
 * @param {Uint8Array} images [n, C, H, W]
 * @param {number} index
 * @param {Shape} shape
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA
 */
export function rgbaOf(images, index, [channels, height, width]) {
  const size = height * width;
  const rgba = new Uint8ClampedArray(4 * size);
  const base = index * channels * size;
  for (let i = 0; i < size; i += 1) {
    for (let channel = 0; channel < 3; channel += 1) rgba[4 * i + channel] = images[base + Math.min(channel, channels - 1) * size + i] ?? 0;
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}

/**
 * One image of a batch.
 * @param {Uint8Array} images
 * @param {number} index
 * @param {Shape} shape
 */
export function imageOf(images, index, [channels, height, width]) {
  const size = channels * height * width;
  return images.slice(index * size, (index + 1) * size);
}

/**
 * The border between kept and other pixels, as line segments in pixels.
 * @param {Uint8Array} known
 * @param {number} height
 * @param {number} width
 * @returns {[x0: number, y0: number, x1: number, y1: number][]}
 */
export function outline(known, height, width) {
  /** @type {[number, number, number, number][]} */
  const lines = [];
  const at = (/** @type {number} */ row, /** @type {number} */ column) => known[row * width + column];
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      if (column + 1 < width && at(row, column) !== at(row, column + 1)) lines.push([column + 1, row, column + 1, row + 1]);
      if (row + 1 < height && at(row, column) !== at(row + 1, column)) lines.push([column, row + 1, column + 1, row + 1]);
    }
  }
  return lines;
}

/** Built-in test images. @typedef {"grey" | "black" | "white" | "noise" | "checks"} Test */

/**
 * @param {Test} kind
 * @param {Shape} shape
 * @returns {Uint8Array}
 */
export function testImage(kind, [channels, height, width]) {
  const pixels = new Uint8Array(channels * height * width);
  if (kind === "grey") pixels.fill(128);
  else if (kind === "white") pixels.fill(255);
  else if (kind === "noise") {
    // mulberry32: the same noise every time.
    let state = 7;
    for (let i = 0; i < pixels.length; i += 1) {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      pixels[i] = ((mixed ^ (mixed >>> 14)) >>> 0) >>> 24;
    }
  } else if (kind === "checks") {
    const cell = Math.max(1, Math.round(width / 7));
    for (let i = 0; i < pixels.length; i += 1) {
      const [row, column] = [Math.floor((i % (height * width)) / width), i % width];
      pixels[i] = (Math.floor(row / cell) + Math.floor(column / cell)) % 2 === 0 ? 255 : 0;
    }
  }
  return pixels;
}
