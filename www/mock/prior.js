// A stand-in for the wasm Prior (contract/prior.d.ts), for development without the long Rust
// build: a latent space whose first two coordinates hold ten modes, stages that go from N(0, I) to
// them, chains that really sample these energies, and digits drawn from strokes. Every number is a
// function of (seed, transition, chain), so that runs replay. Seed 666 panics after 20 transitions.

import { summarise } from "./diagnostics.js";
import { generator } from "./random.js";

const LATENT = 8;
const STAGES = 4;
const VARIANCE = 0.16;
const CENTRES = Array.from({ length: 10 }, (_, digit) => {
  const angle = (2 * Math.PI * digit) / 7;
  const radius = digit < 7 ? 2.7 : 1.05;
  return digit < 7 ? [radius * Math.cos(angle), radius * Math.sin(angle)] : [radius * Math.cos((2 * Math.PI * digit) / 3), radius * Math.sin((2 * Math.PI * digit) / 3)];
});
const STROKES = [
  [[0.5, 0.15, 0.28, 0.35, 0.28, 0.65, 0.5, 0.85, 0.72, 0.65, 0.72, 0.35, 0.5, 0.15]],
  [[0.38, 0.27, 0.52, 0.15, 0.52, 0.85]],
  [[0.3, 0.3, 0.48, 0.15, 0.68, 0.3, 0.6, 0.52, 0.3, 0.85, 0.72, 0.85]],
  [[0.3, 0.18, 0.66, 0.2, 0.48, 0.46, 0.7, 0.66, 0.5, 0.85, 0.28, 0.78]],
  [[0.6, 0.85, 0.6, 0.15, 0.28, 0.62, 0.76, 0.62]],
  [[0.68, 0.16, 0.36, 0.16, 0.33, 0.46, 0.62, 0.46, 0.68, 0.68, 0.5, 0.85, 0.28, 0.8]],
  [[0.62, 0.15, 0.36, 0.45, 0.3, 0.7, 0.5, 0.86, 0.7, 0.7, 0.55, 0.52, 0.33, 0.64]],
  [[0.28, 0.17, 0.72, 0.17, 0.45, 0.85]],
  [[0.5, 0.15, 0.33, 0.3, 0.5, 0.48, 0.68, 0.3, 0.5, 0.15], [0.5, 0.48, 0.3, 0.68, 0.5, 0.86, 0.7, 0.68, 0.5, 0.48]],
  [[0.68, 0.32, 0.5, 0.16, 0.32, 0.33, 0.48, 0.5, 0.68, 0.32, 0.6, 0.85]],
];
const SETS = [
  { name: "mnist", title: "MNIST test (mock)", images: 10000, auroc: null, middle: 95 },
  { name: "fashion-mnist", title: "Fashion-MNIST (mock)", images: 10000, auroc: { value: 0.984, low: 0.981, high: 0.987 }, middle: 230 },
  { name: "noise", title: "Uniform noise (mock)", images: 2000, auroc: { value: 1, low: 0.999, high: 1 }, middle: 700 },
  { name: "flat", title: "Flat grey (mock)", images: 256, auroc: { value: 0.44, low: 0.39, high: 0.49 }, middle: 90 },
];
const wait = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The sum of all classifiers, and its gradient. */
function tilt(z) {
  const near = CENTRES.map(([x, y]) => -((z[0] - x) ** 2 + (z[1] - y) ** 2) / (2 * VARIANCE));
  const most = Math.max(...near);
  const weights = near.map((value) => Math.exp(value - most));
  const total = weights.reduce((a, b) => a + b, 0);
  const gradient = [z[0], z[1]];
  weights.forEach((weight, i) => [0, 1].forEach((axis) => (gradient[axis] -= ((weight / total) * (z[axis] - CENTRES[i][axis])) / VARIANCE)));
  return { value: most + Math.log(total / 10) + (z[0] ** 2 + z[1] ** 2) / 2 - Math.log(VARIANCE), gradient };
}

const ratio = (z) => tilt(z).value / STAGES;
const energy = (z, stage) => z.reduce((sum, value) => sum + value * value, 0) / 2 - (stage / STAGES) * tilt(z).value;
function gradient(z, stage) {
  const { gradient: more } = tilt(z);
  return z.map((value, i) => value - (i < 2 ? (stage / STAGES) * more[i] : 0));
}

function segment(px, py, ax, ay, bx, by) {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.max(0, Math.min(1, ((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(px - ax - t * dx, py - ay - t * dy);
}

/** @type {Map<string, Float32Array>} */
const glyphs = new Map();
function glyph(digit, slant, thick, height, width) {
  const key = [digit, slant, thick, height, width].join();
  let found = glyphs.get(key);
  if (!found) {
    found = Float32Array.from({ length: height * width }, (_, i) => {
      const y = (Math.floor(i / width) + 0.5) / height;
      const x = ((i % width) + 0.5) / width + (slant / 20) * (y - 0.5);
      let distance = 1;
      for (const line of STROKES[digit]) for (let at = 0; at + 3 < line.length; at += 2) distance = Math.min(distance, segment(x, y, line[at], line[at + 1], line[at + 2], line[at + 3]));
      return Math.max(0, Math.min(1, (0.05 + 0.012 * thick - distance) * 28 + 0.5));
    });
    glyphs.set(key, found);
  }
  return found;
}

export class Prior {
  async load(card, weights, scores) {
    await wait(200);
    const { name, title, data, known_failures, licence } = JSON.parse(card);
    this.shape = data.shape;
    this.sets = scores === null ? [] : SETS;
    this.run = null;
    const { normal } = generator(11);
    this.latents = Array.from({ length: 900 }, (_, i) => Array.from({ length: LATENT }, (__, axis) => (axis < 2 ? CENTRES[i % 10][axis] + Math.sqrt(VARIANCE) * normal() : normal())));
    return {
      name,
      title,
      shape: data.shape,
      latent: LATENT,
      sigma: 0.3,
      parameters: Math.round(weights.byteLength / 2),
      classes: data.classes,
      stages: Array.from({ length: STAGES + 1 }, (_, stage) => ({
        stage,
        iterations: stage === 0 ? 0 : 3000,
        ended: ["", "plateau", "plateau", "longest", "at chance"][stage],
        checks: stage === 0 ? [] : Array.from({ length: 6 }, (__, check) => ({ iteration: 500 * (check + 1), loss: 0.693 - (0.42 * (1 - Math.exp(-check / 1.4))) / stage ** 1.6, accuracy: 0.5 + (0.4 * (1 - Math.exp(-check / 1.4))) / stage ** 1.6 })),
      })),
      posterior: { plane: Float32Array.from(this.latents.flatMap((z) => [z[0], z[1]])), labels: Uint8Array.from(this.latents, (_, i) => i % 10) },
      explained: [0.31, 0.27],
      sets: this.sets.map(({ middle: _, ...set }) => set),
      defaults: { seed: 7, stage: STAGES, sampler: "mala", count: 64, step_size: null, warmup: 100, start_scale: 1.2, temperature: 1, proposals: 4096 },
      steps: 60,
      method: "A mock: digits drawn from strokes at ten places of the latent plane. Chains start from N(0, 1.2²) and sample E of the chosen stage.",
      self_test: { passed: true, max_relative_error: 1.1e-6, tolerance: 1e-4 },
      known_failures,
      licence,
    };
  }

  #decode(z, images, index) {
    const [channels, height, width] = this.shape;
    const near = CENTRES.map(([x, y], digit) => [((z[0] - x) ** 2 + (z[1] - y) ** 2) / (2 * VARIANCE), digit]).sort((a, b) => a[0] - b[0]);
    const [[a, one], [b, two]] = near;
    const share = 1 / (1 + Math.exp((a - b) / 3));
    const clear = Math.exp(-Math.max(0, a - 3) / 14);
    const slant = Math.round(Math.max(-6, Math.min(6, 3 * z[2])));
    const thick = Math.round(Math.max(-2, Math.min(3, z[3])));
    const [p, q] = [glyph(one, slant, thick, height, width), glyph(two, slant, thick, height, width)];
    for (let channel = 0; channel < channels; channel += 1) for (let i = 0; i < height * width; i += 1) images[(index * channels + channel) * height * width + i] = Math.round(255 * clear * (share * p[i] + (1 - share) * q[i]));
  }

  #images(latents) {
    const images = new Uint8Array(latents.length * this.shape.reduce((a, b) => a * b, 1));
    latents.forEach((z, index) => this.#decode(z, images, index));
    return images;
  }

  async begin(config) {
    const bad = (/** @type {string} */ message) => ({ kind: "bad-config", message, detail: "" });
    if (!(config.count >= 4 && config.count <= 256)) throw bad(`count is ${config.count}; expected 4 to 256.`);
    if (!(config.stage >= 0 && config.stage <= STAGES)) throw bad(`stage is ${config.stage}; this model has stages 0 to ${STAGES}.`);
    if (config.sampler === "sir" && config.proposals < config.count) throw bad(`proposals is ${config.proposals}; expected at least the ${config.count} samples that are taken of them.`);
    const { seed, count, start_scale } = config;
    const states = Array.from({ length: count }, (_, chain) => {
      const { normal } = generator(seed, 0, chain);
      return Array.from({ length: LATENT }, () => start_scale * normal());
    });
    this.run = { config: structuredClone(config), states, transitions: 0, accepted: 0, tried: 0, draws: states.map(() => /** @type {number[][]} */ ([])), sir: null };
    if (config.sampler === "sir") this.#resample();
    await wait(30);
    return this.#frame([], 0);
  }

  #resample() {
    const { config } = this.run;
    const { normal, uniform } = generator(config.seed, 3);
    const proposals = Array.from({ length: config.proposals }, () => Array.from({ length: LATENT }, normal));
    const logs = proposals.map((z) => (config.stage / STAGES) * tilt(z).value);
    const most = Math.max(...logs);
    const weights = logs.map((value) => Math.exp(value - most));
    const total = weights.reduce((a, b) => a + b, 0);
    const taken = new Set();
    let [at, sum] = [0, weights[0]];
    const first = uniform();
    this.run.states = Array.from({ length: config.count }, (_, i) => {
      const goal = ((i + first) / config.count) * total;
      while (sum < goal && at < weights.length - 1) sum += weights[(at += 1)];
      taken.add(at);
      return proposals[at];
    });
    this.run.sir = { ess: total ** 2 / weights.reduce((a, b) => a + b * b, 0), proposals: config.proposals, distinct: taken.size };
  }

  async advance(transitions) {
    const started = performance.now();
    const { run } = this;
    const { config } = run;
    if (config.sampler === "sir") return this.#frame([], 0);
    const path = [];
    [run.accepted, run.tried] = [0, 0];
    for (let step = 0; step < transitions; step += 1) {
      run.transitions += 1;
      if (config.seed === 666 && run.transitions > 20) {
        console.error("panicked at src/prior.rs:99:9:\nthe mock was asked to");
        throw new WebAssembly.RuntimeError("unreachable");
      }
      run.states.forEach((z, chain) => this.#move(z, chain));
      for (const z of run.states.slice(0, 8)) path.push(z[0], z[1]);
      if (run.transitions > config.warmup) run.states.forEach((z, chain) => run.draws[chain].push([energy(z, config.stage), ratio(z), z[0], z[1]]));
    }
    await wait(2 * transitions);
    return this.#frame(path, performance.now() - started);
  }

  #move(z, chain) {
    const { run } = this;
    const { stage, temperature, sampler } = run.config;
    const step = run.config.step_size ?? this.#own;
    const { normal, uniform } = generator(run.config.seed, run.transitions, chain);
    const [drift, noise] = [step ** 2 / 2, step * Math.sqrt(temperature)];
    const here = gradient(z, stage);
    const next = z.map((value, i) => value - drift * here[i] + noise * normal());
    const there = gradient(next, stage);
    const way = (from, to, slope) => from.reduce((sum, value, i) => sum + (to[i] - value + drift * slope[i]) ** 2, 0) / (2 * noise ** 2);
    const log = (energy(z, stage) - energy(next, stage)) / temperature + way(z, next, here) - way(next, z, there);
    run.tried += 1;
    run.accepted += Math.min(1, Math.exp(log));
    if (sampler === "ula" || Math.log(uniform()) < log) next.forEach((value, i) => (z[i] = value));
  }

  get #own() {
    return this.run.config.sampler === "ula" ? 0.25 : 0.45;
  }

  #frame(path, elapsed_ms) {
    const { config, states, transitions, draws, sir, accepted, tried } = this.run;
    const few = draws.slice(0, 16).map((chain) => chain.slice(-300));
    const counted = few[0].length;
    const diagnostics =
      counted < 8
        ? []
        : ["energy", "log ratio", "pc1", "pc2"].map((name, q) => {
            const { rhat, ess_bulk, ess_tail } = summarise(name, few.map((chain) => chain.map((draw) => draw[q])));
            return { name, rhat, bulk_ess: ess_bulk, tail_ess: ess_tail };
          });
    const edges = Float32Array.from({ length: 25 }, (_, bin) => -2 + 0.15 * bin);
    const shares = (latents) => {
      const counts = new Float32Array(24);
      for (const z of latents) counts[Math.max(0, Math.min(23, Math.floor((ratio(z) + 2) / 0.15)))] += 1 / latents.length;
      return counts;
    };
    const step = config.step_size ?? this.#own;
    return {
      stage: config.stage,
      sampler: config.sampler,
      transitions,
      warmup: sir === null && transitions < config.warmup,
      images: this.#images(states),
      plane: Float32Array.from(states.flatMap((z) => [z[0], z[1]])),
      path: { chains: sir ? 0 : Math.min(8, states.length), points: Float32Array.from(path) },
      energies: Float32Array.from(states, (z) => energy(z, config.stage)),
      diagnostics,
      converged: diagnostics.length > 0 && diagnostics.every(({ rhat, bulk_ess, tail_ess }) => rhat !== null && rhat <= 1.01 && Math.min(bulk_ess ?? 0, tail_ess ?? 0) >= 100 * few.length),
      ratio: config.stage === 0 ? null : { edges, prior: shares(states), posterior: shares(this.latents) },
      acceptance: sir || tried === 0 ? null : accepted / tried,
      tested: config.sampler === "mala" || config.sampler === "hmc",
      step_size: step,
      drift: step ** 2 / 2,
      noise: step * Math.sqrt(config.temperature),
      temperature: config.temperature,
      gradients: sir ? 0 : transitions * (config.sampler === "hmc" ? 5 : 1),
      sir,
      elapsed_ms,
    };
  }

  async reconstruct(image, steps) {
    const size = this.shape.reduce((a, b) => a * b, 1);
    if (image.length !== size) throw { kind: "bad-config", message: `The image has ${image.length} values; expected ${size}.`, detail: "" };
    const started = performance.now();
    await wait(5 * steps);
    const error = (z) => {
      const made = this.#images([z]);
      return image.reduce((sum, value, i) => sum + ((value - made[i]) / 255) ** 2, 0);
    };
    const tries = CENTRES.flatMap(([x, y]) => [-2, -1, 0, 1, 2].map((slant) => [x, y, slant, 0, 0, 0, 0, 0].map((value, i) => value * (1 - (i === 2 ? 0 : Math.exp(-steps / 12))))));
    const z = tries.reduce((best, candidate) => (error(candidate) < error(best) ? candidate : best));
    const lost = error(z);
    const reconstruction = lost / (2 * 0.3 ** 2);
    const gaussian = z.reduce((sum, value) => sum + value * value, 0) / 2;
    const ratios = new Float32Array(STAGES).fill(ratio(z));
    const score = reconstruction + gaussian - STAGES * ratio(z);
    const around = (/** @type {number} */ share, /** @type {number} */ n) => {
      const half = 1.96 * Math.sqrt((share * (1 - share)) / n + 1 / n ** 2);
      return { below: share, low: Math.max(0, share - half), high: Math.min(1, share + half) };
    };
    return {
      latent: Float32Array.from(z),
      plane: [z[0], z[1]],
      image: this.#images([z]),
      mse: lost / size,
      score,
      terms: { reconstruction, gaussian, ratios },
      percentiles: this.sets.map(({ middle, images }) => around(1 / (1 + Math.exp((middle - score) / 24)), images)),
      trace: Float32Array.from({ length: steps }, (_, step) => score + 260 * Math.exp(-step / 9)),
      elapsed_ms: performance.now() - started,
    };
  }

  async interpolate(from, to, frames, sphere) {
    const started = performance.now();
    await wait(60);
    const norm = (z) => Math.sqrt(z.reduce((sum, value) => sum + value * value, 0));
    const latents = Array.from({ length: frames }, (_, frame) => {
      const t = frame / (frames - 1);
      const line = Array.from(from, (value, i) => value * (1 - t) + to[i] * t);
      if (!sphere) return line;
      const scale = (norm(from) * (1 - t) + norm(to) * t) / Math.max(1e-6, norm(line));
      return line.map((value) => value * scale);
    });
    return { images: this.#images(latents), energies: Float32Array.from(latents, (z) => energy(z, STAGES)), plane: Float32Array.from(latents.flatMap((z) => [z[0], z[1]])), elapsed_ms: performance.now() - started };
  }
}
