// Made-up models: their files, and the manifest that lists them.
import { createHash } from "node:crypto";

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
/** As in a manifest, with the content of the files. */
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

/** Content by path below models/. @type {[path: string, content: Buffer][]} */
export const files = models.flatMap(({ name, files: own }) => Object.entries(own).map(([path, content]) => /** @type {[string, Buffer]} */ ([`${name}/${path}`, content])));
