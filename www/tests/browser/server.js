// A static server on 127.0.0.1 that can misbehave, one path at a time.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};

const CUT_AFTER_MS = 300;

/**
 * The strictest policy that the site works under: nothing from elsewhere, no script and no style in a
 * page, no eval; WebAssembly may be compiled.
 */
export const STRICT_POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; worker-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'";

/**
 * How a path misbehaves until `heal()`.
 * @typedef {{ kind: "missing" }
 *   | { kind: "corrupt" }
 *   | { kind: "cut", bytes: number }
 *   | { kind: "hold", bytes: number }
 *   | { kind: "preface", script: string }} Fault
 * missing: 404. corrupt: one byte in the middle is flipped. cut: the connection dies after so many
 * bytes of each answer. hold: so many bytes arrive, the rest when the server is healed. preface: a
 * script's first lines are these.
 */

/**
 * @param {string} root the folder to serve
 * @param {Record<string, string>} [headers] of every answer
 */
export async function startServer(root, headers = {}) {
  /** @type {{ path: string, range: string | null, status: number }[]} */
  const requests = [];
  /** @type {Map<string, Fault>} */
  const faults = new Map();
  /** @type {Set<() => void>} */
  const held = new Set();

  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname).replace(/\/$/, "/index.html");
    const range = request.headers.range ?? null;
    const file = normalize(join(root, path));
    const fault = faults.get(path);
    const found = file.startsWith(root + sep) && fault?.kind !== "missing" ? await readFile(file).catch(() => null) : null;
    if (!found) {
      requests.push({ path, range, status: 404 });
      response.writeHead(404, { "content-type": "text/plain" }).end("not found");
      return;
    }
    const content = fault?.kind === "preface" ? Buffer.concat([Buffer.from(fault.script), found]) : Buffer.from(found);
    if (fault?.kind === "corrupt") content[content.length >> 1] ^= 0x01;
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const partial = from > 0 && from < content.length;
    const body = partial ? content.subarray(from) : content;
    requests.push({ path, range, status: partial ? 206 : 200 });
    response.writeHead(partial ? 206 : 200, {
      ...headers,
      "content-type": TYPES[extname(path)] ?? "application/octet-stream",
      "content-length": body.length,
      "cache-control": "no-store",
      ...(partial ? { "content-range": `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
    });
    if (fault?.kind === "cut") {
      // A moment later: a reader that learns of the end forgets what it has not read yet.
      response.write(body.subarray(0, fault.bytes), () => setTimeout(() => response.destroy(), CUT_AFTER_MS));
    } else if (fault?.kind === "hold") {
      response.write(body.subarray(0, fault.bytes));
      const release = () => {
        held.delete(release);
        response.end(body.subarray(fault.bytes));
      };
      held.add(release);
      response.on("close", () => held.delete(release));
    } else {
      response.end(body);
    }
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());

  return {
    url: `http://127.0.0.1:${port}/`,
    requests,
    /** @param {string} path @param {Fault} fault */
    fault(path, fault) {
      faults.set(path, fault);
    },
    heal() {
      faults.clear();
      for (const release of held) release();
    },
    /** How often a path was asked for since `forget()`. @param {string} path */
    count: (path) => requests.filter((request) => request.path === path).length,
    forget() {
      requests.length = 0;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
