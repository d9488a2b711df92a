// A stand-in for the wasm module, for development without the long Rust build:
// two Ornstein–Uhlenbeck-like sides, the pixel one stuck near its starts. It draws digits with
// the canvas, follows contract/, and is served under both builds' names.
// Seed 666 panics after a few frames, seed 667 runs out of memory. The other rooms have a file each.

import { Playground } from "./playground.js";
import { Prior } from "./prior.js";
import { generator } from "./random.js";
import { Studio } from "./studio.js";

const SIZE = 28;
const TRACED = ["energy", "tilt", "pc1", "pc2"];

/** @type {Map<string, Uint8ClampedArray>} */
const glyphs = new Map();
function glyph(digit, tilt) {
  const key = `${digit}/${tilt}`;
  let alpha = glyphs.get(key);
  if (!alpha) {
    const context = new OffscreenCanvas(SIZE, SIZE).getContext("2d");
    context.translate(SIZE / 2, SIZE / 2);
    context.transform(1, 0, tilt / 12, 1, 0, 0);
    context.font = "24px serif";
    [context.textAlign, context.textBaseline, context.fillStyle] = ["center", "middle", "#fff"];
    context.fillText(String(digit), 0, 1.5);
    const rgba = context.getImageData(0, 0, SIZE, SIZE).data;
    alpha = new Uint8ClampedArray(SIZE * SIZE).map((_, i) => rgba[4 * i + 3]);
    glyphs.set(key, alpha);
  }
  return alpha;
}

function rhatOf(chains) {
  const halves = chains.flatMap((chain) => {
    const half = Math.floor(chain.length / 2);
    return [chain.slice(0, half), chain.slice(chain.length - half)];
  });
  const n = halves[0].length;
  const means = halves.map((half) => half.reduce((a, b) => a + b, 0) / n);
  const within = halves.map((half, i) => half.reduce((a, b) => a + (b - means[i]) ** 2, 0) / (n - 1)).reduce((a, b) => a + b, 0) / halves.length;
  const grand = means.reduce((a, b) => a + b, 0) / means.length;
  const between = means.reduce((a, b) => a + (b - grand) ** 2, 0) / (means.length - 1);
  return { rhat: Math.sqrt(between / within + (n - 1) / n), mean: grand, sd: Math.sqrt(within + between) };
}

class Session {
  async load(card) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    return { card, shape: [1, SIZE, SIZE], parameters: 1234567, self_test: { passed: true, max_relative_error: 2.1e-6, tolerance: 1e-4 } };
  }

  async configure(config) {
    this.per = config.sampler === "hmc" ? config.leapfrog_steps : 1;
    const own = { ula: [0.02, 0.35], mala: [0.012, 0.42], hmc: [0.008, 0.16] }[config.sampler];
    this.config = structuredClone(config);
    this.config.pixel.step_size ??= own[0];
    this.config.latent.step_size ??= own[1];
    return { config: this.config, traced: TRACED, gradients_per_transition: this.per };
  }

  async reset(seed) {
    const { chains, start_scale: scale } = this.config;
    this.random = generator(seed);
    this.seed = seed;
    this.index = 0;
    this.transitions = 0;
    const start = Array.from({ length: chains }, () => ({ z: Array.from({ length: 4 }, () => scale * 1.6 * this.random.normal()), dirt: 40 * scale }));
    this.sides = ["pixel", "latent"].map((space) => ({ space, states: structuredClone(start), home: structuredClone(start), draws: TRACED.map(() => start.map(() => [])) }));
    return this.#frame(0, 0);
  }

  async advance(transitions) {
    if (this.seed === 666 && this.index > 3) {
      console.error("panicked at src/race.rs:123:9:\nindex out of bounds: the len is 16 but the index is 16");
      throw new WebAssembly.RuntimeError("unreachable");
    }
    if (this.seed === 667) throw { kind: "out-of-memory", message: "64 chains need 1.2 GB on this device.", detail: "" };
    const started = performance.now();
    this.index += 1;
    const fresh = this.sides.map(() => TRACED.map(() => []));
    for (let t = 0; t < transitions; t += 1) {
      this.transitions += 1;
      this.sides.forEach((side, s) => {
        side.states.forEach((state, chain) => {
          const home = side.home[chain];
          const rate = side.space === "latent" ? 0.08 : 0.05;
          state.z = state.z.map((z, i) => {
            const centre = side.space === "latent" ? 0 : home.z[i];
            const spread = side.space === "latent" ? 1 : 0.12;
            return centre + (z - centre) * (1 - rate) + spread * Math.sqrt(2 * rate) * this.random.normal();
          });
          state.dirt *= side.space === "latent" ? 0.95 : 0.9995;
          const energy = (side.space === "latent" ? 0 : -1180) + state.z.reduce((sum, z) => sum + z * z, 0) * 6 + state.dirt * 0.4 + 3 * this.random.normal();
          [energy, state.z[0] * 4 + state.z[1], state.z[2] * 2.1, state.z[3] * 1.7].forEach((value, q) => {
            fresh[s][q].push(value);
            if (this.transitions > this.config.warmup) side.draws[q][chain].push(value);
          });
        });
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 12 * transitions));
    return this.#frame(transitions, performance.now() - started, fresh);
  }

  checkpoint() {
    const { seed, index, transitions, sides } = this;
    return new TextEncoder().encode(JSON.stringify({ seed, index, transitions, sides }));
  }

  async restore(bytes) {
    Object.assign(this, JSON.parse(new TextDecoder().decode(bytes)));
    this.random = generator(this.seed + this.transitions);
    return this.#frame(0, 0);
  }

  async playground() {
    return new Playground();
  }

  async studio() {
    return new Studio();
  }

  async prior() {
    return new Prior();
  }

  free() {}

  #frame(draws, elapsed_ms, fresh) {
    const { config, per } = this;
    const sides = this.sides.map((side, s) => {
      const images = new Uint8Array(config.chains * SIZE * SIZE);
      side.states.forEach((state, chain) => {
        const [from, to] = [state.z[0], state.z[1]].map((z) => Math.abs(Math.floor(z * 3.1)) % 10);
        const mix = Math.max(0, Math.min(1, 0.5 + (state.z[2] - 0.4) * 2.5));
        const tilt = Math.round(Math.max(-3, Math.min(3, state.z[3] * 2)));
        const [a, b] = [glyph(from, tilt), glyph(to, tilt)];
        const speck = generator(chain * 7919 + (side.space === "latent" ? this.transitions : 1));
        for (let i = 0; i < SIZE * SIZE; i += 1) {
          images[chain * SIZE * SIZE + i] = Math.max(0, Math.min(255, a[i] * mix + b[i] * (1 - mix) + state.dirt * speck.normal()));
        }
      });
      const counted = Math.max(0, this.transitions - config.warmup);
      const summaries = TRACED.map((name, q) => {
        const base = { name, chains: config.chains, draws: counted, mean: null, sd: null, mcse_mean: null, rhat: null, ess_bulk: null, ess_tail: null, status: { kind: "too_short" } };
        if (counted < 10) return base;
        const { rhat, mean, sd } = rhatOf(side.draws[q]);
        const total = counted * config.chains;
        const ess = side.space === "latent" ? total / 24 : total / 900 + config.chains;
        return { ...base, mean, sd, rhat, mcse_mean: sd / Math.sqrt(ess), ess_bulk: ess, ess_tail: ess * 0.8, status: { kind: rhat <= 1.01 && ess >= 100 * config.chains ? "converged" : "not_converged" } };
      });
      const known = summaries.filter((summary) => summary.rhat !== null);
      const ess = known.length ? Math.min(...known.map((summary) => summary.ess_bulk)) : null;
      const { step_size, temperature } = config[side.space];
      return {
        space: side.space,
        gradients: this.transitions * per,
        transitions: this.transitions,
        warming_up: this.transitions < config.warmup || this.transitions === 0,
        images,
        traces: Object.fromEntries(TRACED.map((name, q) => [name, Float32Array.from(fresh?.[s][q] ?? [])])),
        trace_clock: Float32Array.from({ length: draws }, (_, draw) => (this.transitions - draws + draw + 1) * per),
        summaries,
        rhat_max: known.length ? Math.max(...known.map((summary) => summary.rhat)) : null,
        ess_bulk_min: ess,
        ess_per_1000_gradients: ess && (1000 * ess) / (counted * per * config.chains),
        acceptance: config.sampler === "ula" ? null : side.space === "latent" ? 0.61 : 0.56,
        e_bfmi: config.sampler === "hmc" ? 0.9 : null,
        step_size,
        drift: step_size ** 2 / 2,
        noise: step_size * Math.sqrt(temperature),
        temperature,
        broken_chains: 0,
      };
    });
    return { index: this.index, sides, elapsed_ms };
  }
}

/** Like the real glue: the build fails to start if its wasm is missing or may not be compiled. */
export default async function init({ module_or_path }) {
  const response = await fetch(module_or_path);
  if (!response.ok) throw new Error(`${module_or_path}: ${response.status}`);
  await WebAssembly.compile(await response.arrayBuffer());
}
export async function start() {
  // Like the real build, this one requests a device, so that tests can lose it.
  const adapter = await navigator.gpu?.requestAdapter();
  if (!import.meta.url.includes("cpu")) await adapter?.requestDevice();
  return new Session();
}
