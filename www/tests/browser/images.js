// Image files for the tests, made here: good ones, and some that promise too much.

import { deflateSync } from "node:zlib";

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k += 1) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** @param {string} type @param {Buffer} data */
export function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  let crc = 0xffffffff;
  for (const byte of body) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE((crc ^ 0xffffffff) >>> 0);
  return Buffer.concat([length, body, check]);
}

/** @param {number} width @param {number} height @param {(row: number, column: number) => number[]} rgba */
export function png(width, height, rgba) {
  const raw = Buffer.alloc(height * (1 + 4 * width));
  for (let row = 0; row < height; row += 1) for (let column = 0; column < width; column += 1) raw.set(rgba(row, column), row * (1 + 4 * width) + 1 + 4 * column);
  return Buffer.concat([header(width, height), chunk("IDAT", deflateSync(raw)), chunk("IEND", Buffer.alloc(0))]);
}

/** A PNG up to its first pixel. @param {number} width @param {number} height */
export function header(width, height) {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 6], 8);
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", head)]);
}

/** @param {string} name @param {Buffer} buffer @param {string} [mimeType] */
export const file = (name, buffer, mimeType = "image/png") => ({ name, mimeType, buffer });

export const hugePng = file("huge.png", Buffer.concat([header(10_000, 10_000), chunk("IDAT", Buffer.alloc(64))]));
export const hugeJpeg = file("huge.jpg", Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, 0xff, 0xc0, 0, 17, 8, 0x27, 0x10, 0x27, 0x10, 3, 1, 0x22, 0]), "image/jpeg");
