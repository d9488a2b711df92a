// Serves the page with the mock in place of the two wasm builds and with made-up model files.
//   npm run mock            then open the printed address
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json" };
const www = new URL("../", import.meta.url);

const CLOTHES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/**
 * @param {string} name
 * @param {string} title
 * @param {number} bytes
 * @param {{ system?: string, spaces?: string[], data?: string, shape?: number[], classes?: string[], scores?: boolean }} [more]
 */
function model(name, title, bytes, { system = "flow-ebm", spaces = ["latent", "pixel"], data = "nothing at all", shape = [1, 28, 28], classes = [..."0123456789"], scores = false } = {}) {
  const card = {
    name,
    title,
    description: "Made-up weights for work on the page: the mock draws its digits itself.",
    system,
    data: { name: data, classes, shape },
    licence: "MIT",
    metrics: { bits_per_dimension: 1.234, parameters: 1234567 },
    known_failures: ["It is a mock: its chains are drawn, not sampled."],
  };
  const weights = Buffer.alloc(bytes, name);
  return { name, title, system, spaces, files: { "card.json": Buffer.from(JSON.stringify(card)), "weights.safetensors": weights, ...(scores ? { "scores.json": Buffer.from('{"mock":true}') } : {}) } };
}
const models = [
  model("flow-ebm-mnist", "MNIST digits (mock)", 5_400_000),
  model("flow-ebm-fashion", "Fashion (mock)", 6_200_000),
  model("flow-ebm-large", "Large (mock)", 20_000_000),
  model("clel-fashion-mnist", "Fashion-MNIST, CLEL (mock)", 3_100_000, { system: "clel", spaces: ["pixel"], data: "fashion-mnist", classes: CLOTHES, scores: true }),
  model("clel-colour", "Colour, CLEL (mock)", 4_100_000, { system: "clel", spaces: ["pixel"], data: "colour", shape: [3, 32, 32], classes: CLOTHES }),
  model("classifier-fashion-mnist", "Fashion-MNIST classifier (mock)", 400_000, { system: "classifier", spaces: [], data: "fashion-mnist", classes: CLOTHES }),
  model("latent-prior-mnist", "MNIST digits, latent prior (mock)", 900_000, { system: "latent-prior", spaces: ["latent"], data: "mnist", scores: true }),
  model("latent-prior-fashion-mnist", "Fashion-MNIST, latent prior (mock)", 1_100_000, { system: "latent-prior", spaces: ["latent"], data: "fashion-mnist", classes: CLOTHES }),
];
export const manifest = {
  version: 1,
  models: models.map(({ name, title, system, spaces, files }) => ({
    name,
    title,
    system,
    spaces,
    files: Object.entries(files).map(([path, content]) => ({ path, bytes: content.byteLength, sha256: createHash("sha256").update(content).digest("hex") })),
  })),
};

/** @param {string} path */
export async function find(path) {
  const [, name = "", file = ""] = /^\/models\/([^/]+)\/(.+)$/.exec(path) ?? [];
  if (path === "/models/manifest.json") return Buffer.from(JSON.stringify(manifest));
  if (name) return models.find((candidate) => candidate.name === name)?.files[file];
  if (/^\/mixwell-(webgpu|cpu)\.js$/.test(path)) return readFile(new URL("mock/mixwell-mock.js", www));
  if (path.startsWith("/vendor/")) return readFile(new URL(`node_modules/uplot/dist/${path.slice(8)}`, www));
  if (!/^\/(takeout\/|mock\/)?[a-z-]+\.(html|js|css|py|R)$/.test(path)) return undefined;
  return readFile(new URL(`.${path}`, www));
}

export const server = createServer(async (request, response) => {
  const path = new URL(request.url ?? "/", "http://localhost").pathname.replace(/\/$/, "/index.html");
  const content = await find(path).catch(() => undefined);
  if (!content) {
    response.writeHead(404).end("not found");
    return;
  }
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream", "cache-control": "no-store", "content-length": content.byteLength - from };
  if (from > 0) headers["content-range"] = `bytes ${from}-${content.byteLength - 1}/${content.byteLength}`;
  response.writeHead(from > 0 ? 206 : 200, headers).end(content.subarray(from));
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  server.listen(Number(process.env.PORT ?? 8080), () => console.log(`http://localhost:${server.address().port}/`));
}
