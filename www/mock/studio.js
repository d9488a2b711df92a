// A stand-in for the wasm Studio (contract/studio.d.ts), for development without the long Rust
// build: blobs that grow out of noise, each number a function of (seed, step, image), so that runs
// replay. Its "classes" are blobs at places of their own. Seed 666 panics after 20 steps.

import { generator } from "./random.js";

const CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
const SETS = [
  { name: "fashion-mnist", title: "Fashion-MNIST test", images: 10000, auroc: null, auroc_energy: null },
  { name: "mnist", title: "MNIST digits", images: 10000, auroc: { value: 0.953, low: 0.949, high: 0.957 }, auroc_energy: { value: 0.931, low: 0.926, high: 0.936 } },
  { name: "noise", title: "Uniform noise", images: 2000, auroc: { value: 1, low: 0.999, high: 1 }, auroc_energy: { value: 1, low: 0.999, high: 1 } },
  { name: "flat", title: "Flat grey", images: 256, auroc: { value: 0.212, low: 0.17, high: 0.255 }, auroc_energy: { value: 0.18, low: 0.14, high: 0.22 } },
];
const wait = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Studio {
  async load(card, weights, classifier, scores) {
    await wait(200);
    const { name, title, system, data, known_failures, licence } = JSON.parse(card);
    [this.channels, this.height, this.width] = data.shape;
    this.latents = system === "clel";
    this.classifier = classifier !== null;
    this.sets = scores === null ? [] : SETS;
    this.classes = data.classes;
    this.run = null;
    return {
      name,
      title,
      system,
      shape: data.shape,
      parameters: Math.round(weights.byteLength / 2),
      classes: data.classes,
      latents: this.latents,
      classifier: classifier ? { title: JSON.parse(classifier.card).title, accuracy: 0.919 } : null,
      sets: this.sets,
      defaults: { seed: 7, count: 64, steps: 60, rounds: this.latents ? 2 : 1, temperature: 1, truncation: 1, beta: 20, conditions: [], inpaint: null },
      augments: this.latents,
      method: this.latents ? "Each chain starts as noise. A round augments the images (crop, flip), then takes 60 Langevin steps with a = 0.05 and σ = 0.01, so that T = σ²/(2a) = 0.001: far colder than the model’s distribution." : "Latent MALA at T = 1.",
      self_test: { passed: true, max_relative_error: 1.4e-6, tolerance: 1e-4 },
      known_failures,
      licence,
    };
  }

  get size() {
    return this.channels * this.height * this.width;
  }

  /** The picture that a chain converges to. */
  #goal(seed, image, conditions, temperature) {
    const wanted = conditions.filter(({ role }) => role === "all").map(({ of }) => of);
    const any = conditions.filter(({ role }) => role === "any").map(({ of }) => of);
    const picks = [...wanted, ...(any.length > 0 ? [any[image % any.length]] : [])];
    if (picks.length === 0) picks.push({ class: Math.floor(generator(seed, image).uniform() * CLASSES.length) });
    const goals = picks.map((of) => ("class" in of ? this.#prototype(of.class, seed, image, temperature) : Float32Array.from(of.image, (value) => value / 255)));
    return Float32Array.from({ length: this.size }, (_, i) => goals.reduce((most, goal) => Math.max(most, goal[i]), 0));
  }

  #prototype(index, seed, image, temperature) {
    const { uniform } = generator(seed, image, 17);
    const jitter = () => (uniform() - 0.5) * 0.1 * Math.min(2, 0.5 + temperature);
    const boxes = [
      [[0.3, 0.15, 0.7, 0.9], [0.1, 0.15, 0.9, 0.4]],
      [[0.35, 0.08, 0.65, 0.25], [0.35, 0.2, 0.48, 0.95], [0.53, 0.2, 0.66, 0.95]],
      [[0.27, 0.12, 0.73, 0.9], [0.1, 0.15, 0.24, 0.85], [0.77, 0.15, 0.9, 0.85]],
      [[0.4, 0.06, 0.6, 0.5], [0.33, 0.45, 0.67, 0.95]],
      [[0.25, 0.08, 0.75, 0.95], [0.12, 0.12, 0.24, 0.9], [0.77, 0.12, 0.89, 0.9]],
      [[0.08, 0.62, 0.92, 0.72], [0.55, 0.4, 0.9, 0.48]],
      [[0.3, 0.1, 0.7, 0.92], [0.12, 0.12, 0.3, 0.6], [0.7, 0.12, 0.88, 0.6]],
      [[0.06, 0.5, 0.94, 0.72], [0.6, 0.38, 0.9, 0.52]],
      [[0.15, 0.38, 0.85, 0.85], [0.35, 0.22, 0.65, 0.28]],
      [[0.5, 0.12, 0.85, 0.8], [0.1, 0.6, 0.85, 0.82]],
    ][index % 10];
    const [dx, dy, tone] = [jitter(), jitter(), 0.6 + 0.4 * uniform()];
    const tint = Array.from({ length: this.channels }, () => (this.channels === 1 ? 1 : 0.35 + 0.65 * uniform()));
    const plane = this.height * this.width;
    return Float32Array.from({ length: this.size }, (_, i) => {
      const [channel, row, column] = [Math.floor(i / plane), Math.floor((i % plane) / this.width), i % this.width];
      const [x, y] = [(column + 0.5) / this.width - dx, (row + 0.5) / this.height - dy];
      const inside = boxes.some(([l, t, r, b]) => x > l && x < r && y > t && y < b);
      return inside ? tone * tint[channel] * (0.82 + 0.18 * Math.sin(9 * y + index)) : 0;
    });
  }

  async begin(config) {
    if (!(config.count >= 1 && config.count <= 256)) throw { kind: "bad-config", message: `count is ${config.count}; expected 1 to 256.`, detail: "" };
    if (config.conditions.length > 0 && config.conditions.every(({ role }) => role === "none")) throw { kind: "bad-config", message: "There is only what the images should not be: add a condition of another role.", detail: "" };
    const goals = Array.from({ length: config.count }, (_, image) => this.#goal(config.seed, image, config.conditions, config.temperature));
    this.run = { config: structuredClone(config), step: 0, goals };
    return this.#frame(0);
  }

  async advance(transitions) {
    const started = performance.now();
    const of = this.run.config.steps * this.run.config.rounds;
    const before = this.run.step;
    this.run.step = Math.min(of, before + transitions);
    if (this.run.config.seed === 666 && this.run.step > 20) {
      console.error("panicked at src/studio/run.rs:99:9:\nthe mock was asked to");
      throw new WebAssembly.RuntimeError("unreachable");
    }
    await wait(3 * (this.run.step - before));
    return this.#frame(performance.now() - started);
  }

  #frame(elapsed_ms) {
    const { config, step, goals } = this.run;
    const of = config.steps * config.rounds;
    const within = step === of ? config.steps : step % config.steps;
    const round = Math.min(config.rounds, Math.floor(step / config.steps) + 1);
    const share = (1 - Math.exp((-5 * within) / config.steps)) * (round > 1 ? 1 : 0.97);
    const rest = (step === 0 ? 1 : round > 1 ? Math.max(0.1, 1 - share) * 0.4 : 1 - share) + 0.05 * Math.sqrt(config.temperature);
    const { size } = this;
    const plane = this.height * this.width;
    const images = new Uint8Array(config.count * size);
    const energies = new Float32Array(config.count);
    goals.forEach((goal, image) => {
      const noise = generator(config.seed, image, step);
      for (let i = 0; i < size; i += 1) {
        const value = goal[i] * (1 - Math.min(1, rest) * 0.8) + rest * 0.35 * config.truncation * Math.abs(noise.normal());
        images[image * size + i] = Math.max(0, Math.min(255, Math.round(255 * value)));
        if (config.inpaint && config.inpaint.known[i % plane] === 1) images[image * size + i] = config.inpaint.image[i];
      }
      energies[image] = -31 + 40 * rest + generator(config.seed, image, 5).normal() * 2 + 0.2 * noise.normal();
    });
    const mean = energies.reduce((a, b) => a + b, 0) / config.count;
    const terms = [{ name: "model", role: "model", energy: mean, cosine: null }, ...config.conditions.map(({ of: what, role }, index) => ({ name: "class" in what ? `class ${what.class}: ${this.classes[what.class]}` : "image", role, energy: -config.beta * share * 0.7 + index, cosine: role === "none" ? -0.1 : 0.75 * share + 0.02 * index }))];
    const conflict = config.conditions.length === 0 ? new Float32Array() : Float32Array.from({ length: terms.length ** 2 }, (_, i) => {
      const [row, column] = [Math.floor(i / terms.length), i % terms.length];
      return row === column ? 1 : step === 0 ? NaN : Math.sin(3 * (row + column) + row * column) * 0.8;
    });
    const [drift, noise] = [0.05, 0.01 * Math.sqrt(config.temperature)];
    return {
      step,
      of,
      round,
      images,
      energies,
      terms,
      conflict,
      verdict: this.classifier ? this.#verdict(images, config.count) : null,
      drift,
      noise,
      temperature: noise ** 2 / (2 * drift),
      acceptance: step === 0 ? null : 0.9 - 0.3 * rest,
      tested: !this.latents,
      displacement: step === 0 ? 0 : 0.02 + 0.3 * rest,
      elapsed_ms,
    };
  }

  #verdict(images, count) {
    const classes = this.classes.length;
    const prototypes = Array.from({ length: classes }, (_, index) => this.#prototype(index, 1, 1, 0));
    const verdict = new Float32Array(count * classes);
    for (let image = 0; image < count; image += 1) {
      const cosines = prototypes.map((prototype) => cosine(prototype, images.subarray(image * this.size, (image + 1) * this.size)));
      const top = Math.max(...cosines);
      const weights = cosines.map((value) => Math.exp(30 * (value - top)));
      const total = weights.reduce((a, b) => a + b, 0);
      weights.forEach((weight, index) => (verdict[image * classes + index] = weight / total));
    }
    return verdict;
  }

  /** Lowest for blobs, low for flat images, high for noise. */
  #energy(image) {
    let rough = 0;
    for (let i = 1; i < image.length; i += 1) rough += Math.abs(image[i] - image[i - 1]);
    return -34 + (rough / image.length) * 0.9;
  }

  async score(image) {
    if (image.length !== this.size) throw { kind: "bad-config", message: `The image has ${image.length} values; expected ${this.size}.`, detail: "" };
    const started = performance.now();
    await wait(60);
    const energy = this.#energy(image);
    const below = 1 / (1 + Math.exp(-(energy + 27) / 2));
    const around = (/** @type {number} */ share, /** @type {number} */ n) => {
      const half = 1.96 * Math.sqrt((share * (1 - share)) / n + 1 / n ** 2);
      return { below: share, low: Math.max(0, share - half), high: Math.min(1, share + half) };
    };
    const percentiles = this.sets.map(({ images }, index) => ({ energy: around(Math.min(1, below * (1 - 0.2 * index)), images), ood: this.latents ? around(Math.min(1, below * (1 - 0.22 * index)), images) : null }));
    const goal = this.#prototype(0, 1, 1, 0);
    return {
      energy,
      ood: this.latents ? energy - 0.05 : null,
      percentiles,
      gradient: Float32Array.from(image, (value, i) => 0.4 * (value / 255 - goal[i])),
      class_cosines: this.latents ? Float32Array.from(this.classes, (_, index) => cosine(this.#prototype(index, 1, 1, 0), image)) : null,
      verdict: this.classifier ? this.#verdict(image, 1) : null,
      elapsed_ms: performance.now() - started,
    };
  }

  async descend(image, steps) {
    const started = performance.now();
    if (image) this.walk = { values: Float32Array.from(image), step: 0, best: Math.max(0, this.classes.map((_, index) => cosine(this.#prototype(index, 1, 1, 0), image)).reduce((best, value, index, all) => (value > all[best] ? index : best), 0)) };
    const goal = this.#prototype(this.walk.best, 1, 1, 0);
    for (let step = 0; step < steps; step += 1) this.walk.values = this.walk.values.map((value, i) => value + 0.02 * (255 * goal[i] - value));
    this.walk.step += steps;
    await wait(3 * steps);
    const shown = Uint8Array.from(this.walk.values, (value) => Math.max(0, Math.min(255, Math.round(value))));
    const gradient = Math.sqrt(this.walk.values.reduce((sum, value, i) => sum + (value / 255 - goal[i]) ** 2, 0) / this.size) * 0.4;
    return { step: this.walk.step, image: shown, energy: this.#energy(shown) - 3 + 3 * Math.exp(-this.walk.step / 80), gradient, elapsed_ms: performance.now() - started };
  }
}

function cosine(a, b) {
  let [dot, aa, bb] = [0, 1e-9, 1e-9];
  for (let i = 0; i < a.length; i += 1) [dot, aa, bb] = [dot + a[i] * b[i], aa + a[i] * a[i], bb + b[i] * b[i]];
  return dot / Math.sqrt(aa * bb);
}
