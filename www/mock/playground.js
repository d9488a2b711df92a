// A stand-in for the wasm Playground (contract/playground.d.ts), for development without the long
// Rust build: real random walks, Langevin and HMC on five plane densities, each number a function
// of (seed, chain, transition) so that seek() replays. Shortcuts: NUTS is HMC of random length,
// underdamped and tempering are HMC and MALA under other names, latent space is an independence
// sampler, and learning only blurs. Seed 666 panics after 20 transitions.

import { autocorrelation, nestedRhat, ranksOf, rhat, summarise } from "./diagnostics.js";
import { generator } from "./random.js";

const GRID = 128;

const mixture = (means, sd) => (x, y) => {
  const terms = means.map(([a, b]) => -((x - a) ** 2 + (y - b) ** 2) / (2 * sd * sd));
  const top = Math.max(...terms);
  return -top - Math.log(terms.reduce((sum, term) => sum + Math.exp(term - top), 0));
};
const ring = Array.from({ length: 8 }, (_, k) => [4 * Math.cos((k * Math.PI) / 4), 4 * Math.sin((k * Math.PI) / 4)]);

/** name → [title, description, bounds, energy, mode, step] */
const DENSITIES = {
  "eight-modes": ["Eight modes", "Eight equal Gaussians on a ring, with high ground between them: finding all of them is the whole task.", [-6, 6, -6, 6], mixture(ring, 0.5), [4, 0], 0.45],
  gaussian: ["Ill-conditioned Gaussian", "A Gaussian twenty times as long as wide: the step that fits the short side crawls along the long one.", [-6, 6, -6, 6], (x, y) => (x + y) ** 2 / 16 + (x - y) ** 2 / 0.04, [0, 0], 0.12],
  funnel: ["Neal’s funnel", "Its width grows by e for every two steps, so no single step size fits.", [-9, 9, -20, 20], (v, x) => (v * v) / 18 + (x * x) / (2 * Math.exp(v)) + v / 2, [3, 0], 0.5],
  "two-modes": ["Two modes", "70 % and 30 % of the mass, with a pass between.", [-5, 5, -4, 4], mixture([[-1.7, 0], [1.7, 0]], 0.6), [-1.7, 0], 0.8],
  banana: ["Banana", "Rosenbrock’s curved valley: flat along the bend, steep across it.", [-3, 3, -2, 7], (x, y) => (1 - x) ** 2 / 2 + 3 * (y - x * x) ** 2, [1, 1], 0.2],
  round: ["Round Gaussian", "The standard normal in the plane: everything works here, and every number can be checked.", [-4, 4, -4, 4], (x, y) => (x * x + y * y) / 2, [0, 0], 1],
};

const SAMPLERS = [
  ["rwm", "random-walk Metropolis", "A random step, accepted or rejected: needs no gradient, but explores slowly.", true, 0.234, ["step_size", "temperature", "adapt_mass"]],
  ["ula", "unadjusted Langevin", "A gradient step plus noise, always accepted: simple, with a bias that grows as the square of the step size.", false, null, ["step_size", "temperature", "adapt_mass"]],
  ["sgld", "SGLD as practised", "Langevin with a clipped gradient and independently chosen, usually tiny noise: it samples at a low effective temperature.", false, null, ["step_size", "noise", "clip"]],
  ["mala", "MALA", "A Langevin proposal with a Metropolis test, which removes the bias.", true, 0.574, ["step_size", "temperature", "adapt_mass"]],
  ["hmc", "HMC", "A random momentum, a fixed number of leapfrog steps along the energy, then accept or reject.", true, 0.65, ["step_size", "temperature", "leapfrog_steps", "adapt_mass"]],
  ["nuts", "NUTS", "HMC that ends each trajectory when it begins to turn back.", true, 0.8, ["step_size", "temperature", "max_tree_depth", "adapt_mass"]],
  ["underdamped", "underdamped Langevin", "Langevin with inertia: momenta persist and decay slowly, so a chain keeps its direction for a while.", true, 0.9, ["step_size", "temperature", "friction", "adapt_mass"]],
  ["tempering", "parallel tempering", "Each chain swaps states with replicas at higher temperatures: it crosses between modes, at the cost of running every replica.", true, 0.574, ["step_size", "temperature", "rungs", "hottest"]],
  ["gibbs", "Gibbs", "One coordinate at a time, drawn from its exact conditional distribution given the others; only for targets with known conditionals.", true, null, []],
].map(([name, title, description, tested, target_accept, settings]) => ({ name, title, description, tested, target_accept, settings }));

const bad = (message) => ({ kind: "bad-config", message, detail: "" });

export class Playground {
  #extra = {};

  samplers() {
    return SAMPLERS;
  }

  #density(name) {
    const density = this.#extra[name] ?? DENSITIES[name];
    if (!density) throw bad(`target: expected ${Object.keys(DENSITIES).join(", ")}, found ${name}: choose one of these`);
    return density;
  }

  #info(name) {
    const [title, description, bounds, , mode, step] = this.#density(name);
    const steps = Object.fromEntries(["rwm", "ula", "sgld", "mala", "hmc", "nuts", "underdamped", "tempering"].map((sampler) => [sampler, step]));
    return { name, title, description, dim: 2, coordinates: ["x", "y"], bounds, conditionals: name === "round", steps, mode };
  }

  targets() {
    return Object.keys({ ...DENSITIES, ...this.#extra }).map((name) => this.#info(name));
  }

  defaults(target) {
    const sampler = (name) => ({ sampler: name, step_size: null, temperature: 1, leapfrog_steps: 10, max_tree_depth: 6, noise: null, clip: null, friction: 1, rungs: 5, hottest: 20, adapt_mass: false, warmup: 100, no_adapt: false, target_accept: null, groups: 1 });
    return { target, seed: 1, chains: 8, start: "dispersed", superchains: 4, sides: [{ sampler: sampler("mala"), space: "data" }, { sampler: sampler("hmc"), space: "data" }] };
  }

  draw(grid, side) {
    if (grid.every((value) => value === 0)) throw bad("drawing: expected at least one painted cell, found an empty drawing: paint something");
    const energy = (x, y) => {
      let sum = 1e-12;
      const [cx, cy] = [((x + 4) * side) / 8 - 0.5, ((y + 4) * side) / 8 - 0.5];
      for (let j = Math.max(0, Math.floor(cy) - 3); j <= Math.min(side - 1, cy + 4); j += 1) for (let i = Math.max(0, Math.floor(cx) - 3); i <= Math.min(side - 1, cx + 4); i += 1) sum += grid[j * side + i] * Math.exp(-((cx - i) ** 2 + (cy - j) ** 2) / 2);
      return -Math.log(sum) + 0.5 * Math.max(0, Math.hypot(x, y) - 4) ** 2;
    };
    const peak = grid.indexOf(Math.max(...grid));
    this.#extra.drawn = ["Your drawing", "The density that you painted, smoothed.", [-4, 4, -4, 4], energy, [((peak % side) + 0.5) / 4 - 4, (Math.floor(peak / side) + 0.5) / 4 - 4], 0.3];
    return this.#info("drawn");
  }

  #surface(name) {
    const [, , bounds, energy] = this.#density(name);
    const values = new Float32Array(GRID * GRID);
    for (let j = 0; j < GRID; j += 1) for (let i = 0; i < GRID; i += 1) values[j * GRID + i] = energy(bounds[0] + ((bounds[1] - bounds[0]) * i) / (GRID - 1), bounds[2] + ((bounds[3] - bounds[2]) * j) / (GRID - 1));
    const least = values.reduce((a, b) => Math.min(a, b));
    return { width: GRID, height: GRID, bounds, energy: values.map((value) => value - least) };
  }

  async configure(config) {
    this.#density(config.target);
    if (config.chains % config.superchains !== 0) throw bad(`superchains: expected a divisor of ${config.chains}, found ${config.superchains}: change one of them`);
    for (const { sampler } of config.sides) if (sampler.sampler === "gibbs" && config.target !== "round") throw bad(`Gibbs: expected a target with known conditionals, found ${config.target}: choose another sampler or target`);
    if (config.sides.some(({ sampler }) => sampler.step_size !== null && !(sampler.step_size > 0 && sampler.step_size <= 100))) throw bad("step size: expected a number in (0, 100]");
    const accepted = structuredClone(config);
    const [, , bounds, energy, mode, step] = this.#density(config.target);
    for (const { sampler } of accepted.sides) {
      sampler.step_size ??= step;
      sampler.noise ??= sampler.sampler === "sgld" ? sampler.step_size / 100 : null;
      sampler.target_accept ??= SAMPLERS.find(({ name }) => name === sampler.sampler).target_accept;
    }
    Object.assign(this, { config: accepted, bounds, energy, mode });
    this.#reset();
    const surface = this.#surface(config.target);
    const weight = surface.energy.map((value) => Math.exp(-value));
    const marginals = ["x", "y"].map((name, axis) => {
      const [from, to] = axis === 0 ? bounds.slice(0, 2) : bounds.slice(2);
      const cell = (to - from) / (GRID - 1);
      const grid = Float32Array.from({ length: GRID }, (_, i) => from + cell * i);
      const sums = Array.from({ length: GRID }, (_, i) => Array.from({ length: GRID }, (_, j) => weight[axis === 0 ? j * GRID + i : i * GRID + j]).reduce((a, b) => a + b, 0));
      const total = sums.reduce((a, b) => a + b, 0) * cell;
      const density = Float32Array.from(sums, (sum) => sum / total);
      const mean = density.reduce((sum, p, i) => sum + p * grid[i] * cell, 0);
      return { name, grid, density, mean, sd: Math.sqrt(density.reduce((sum, p, i) => sum + p * (grid[i] - mean) ** 2 * cell, 0)) };
    });
    return { config: accepted, target: this.#info(config.target), surface, marginals, traced: ["energy", "x", "y"] };
  }

  #reset() {
    const { config, bounds, mode } = this;
    const starts = Array.from({ length: config.chains }, (_, chain) => {
      if (config.start === "mode") return mode.slice();
      const group = config.start === "superchains" ? Math.floor((chain * config.superchains) / config.chains) : chain;
      const random = generator(config.seed, 1, group);
      return [bounds[0] + (bounds[1] - bounds[0]) * (0.1 + 0.8 * random.uniform()), bounds[2] + (bounds[3] - bounds[2]) * (0.1 + 0.8 * random.uniform())];
    });
    this.sides = config.sides.map(({ sampler }, index) => ({ index, sampler, step: sampler.step_size, states: structuredClone(starts).map((x) => x.map(Math.fround)), clock: 0, transitions: 0, history: [], clocks: [], accepted: 0, divergences: 0, sent: 0, paths: [] }));
  }

  #gradient(x, y) {
    const h = 1e-4;
    return [(this.energy(x + h, y) - this.energy(x - h, y)) / (2 * h), (this.energy(x, y + h) - this.energy(x, y - h)) / (2 * h)];
  }

  #transition(side) {
    const { config } = this;
    const { sampler } = side.sampler;
    const T = side.sampler.temperature;
    const warming = side.transitions < side.sampler.warmup;
    if (config.seed === 666 && side.transitions > 20) {
      console.error("panicked at src/play/run.rs:12:9:\nindex out of bounds: the len is 2 but the index is 2");
      throw new WebAssembly.RuntimeError("unreachable");
    }
    const glide = ["hmc", "nuts", "underdamped"].includes(sampler);
    const leaps = sampler === "hmc" ? side.sampler.leapfrog_steps : sampler === "nuts" ? 1 + Math.floor(14 * generator(config.seed, 9, side.transitions).uniform()) : 1;
    const e = side.step;
    let mean = 0;
    side.paths = [];
    side.states = side.states.map((from, chain) => {
      const random = generator(config.seed, 2, chain, side.transitions);
      let [x, y] = from;
      const E = this.energy(x, y);
      const points = [[x, y]];
      let log = 0;
      let to;
      if (config.sides[side.index].space === "latent") {
        to = [3.5 * random.normal(), 3.5 * random.normal()];
        const q = (p) => (p[0] ** 2 + p[1] ** 2) / (2 * 3.5 ** 2);
        log = E - this.energy(...to) + q(to) - q(from);
      } else if (glide) {
        let [p, q] = [random.normal(), random.normal()].map((n) => n * Math.sqrt(T));
        const start = E + (p * p + q * q) / 2;
        let g = this.#gradient(x, y);
        for (let leap = 0; leap < leaps; leap += 1) {
          [p, q] = [p - (e / 2) * g[0], q - (e / 2) * g[1]];
          [x, y] = [x + e * p, y + e * q];
          g = this.#gradient(x, y);
          [p, q] = [p - (e / 2) * g[0], q - (e / 2) * g[1]];
          if (leap + 1 < leaps) points.push([x, y]);
        }
        to = [x, y];
        log = (start - this.energy(x, y) - (p * p + q * q) / 2) / T;
        if (!warming && !(log > -1000)) side.divergences += 1;
      } else {
        const noise = sampler === "sgld" ? side.sampler.noise : e * Math.sqrt(T);
        const clip = side.sampler.clip ?? Infinity;
        const drift = (point) => (sampler === "rwm" ? [0, 0] : this.#gradient(...point).map((g) => ((e * e) / 2) * Math.max(-clip, Math.min(clip, g))));
        const a = drift(from);
        to = [x - a[0] + noise * random.normal(), y - a[1] + noise * random.normal()];
        const b = drift(to);
        const back = (u, v, d) => ((v[0] - u[0] + d[0]) ** 2 + (v[1] - u[1] + d[1]) ** 2) / (2 * noise * noise);
        log = (E - this.energy(...to)) / T + back(from, to, a) - back(to, from, b);
      }
      const chance = Math.min(1, Math.exp(log)) || 0;
      mean += chance / config.chains;
      const tested = SAMPLERS.find(({ name }) => name === sampler).tested;
      const moved = !tested || random.uniform() < chance;
      const end = (moved ? to : from).map(Math.fround);
      side.paths.push({ points: [...points, to], end, moved, acceptance: tested ? chance : null });
      return end;
    });
    if (warming && !side.sampler.no_adapt && side.sampler.target_accept) side.step *= Math.exp((mean - side.sampler.target_accept) / Math.sqrt(5 + side.transitions));
    else if (!warming) side.accepted += mean;
    side.transitions += 1;
    side.clock += glide ? leaps : 1;
    side.clocks.push(side.clock);
    side.history.push(side.states.map(([x, y]) => [Math.fround(this.energy(x, y)), x, y]));
  }

  #matrix(side, q) {
    return Array.from({ length: this.config.chains }, (_, chain) => side.history.slice(side.sampler.warmup).map((draw) => draw[chain][q]));
  }

  #statistics(side) {
    const draws = Math.max(0, side.transitions - side.sampler.warmup);
    const summaries = ["energy", "x", "y"].map((name, q) => summarise(name, this.#matrix(side, q)));
    const known = summaries.filter((summary) => summary.rhat !== null);
    const ess = known.length ? Math.min(...known.map((summary) => summary.ess_bulk)) : null;
    const gradients = side.clock - (side.clocks[side.sampler.warmup - 1] ?? 0);
    const hmc = ["hmc", "nuts"].includes(side.sampler.sampler);
    const enough = draws >= 10;
    return {
      summaries,
      rhat_max: known.length ? Math.max(...known.map((summary) => summary.rhat)) : null,
      ess_bulk_min: ess,
      ess_per_1000_gradients: ess && (1000 * ess) / (gradients * this.config.chains),
      ess_per_second: ess && ess / Math.max(1e-3, side.seconds ?? 0.1),
      nested_rhat: enough ? nestedRhat(this.#matrix(side, 1), this.config.superchains) : null,
      ksd: enough && side.sampler.temperature === 1 ? 0.02 + 1 / Math.sqrt(draws * this.config.chains) : null,
      ksd_exact: enough && side.sampler.temperature === 1 ? 1 / Math.sqrt(Math.min(400, draws * this.config.chains)) : null,
      acceptance: draws ? side.accepted / draws : null,
      divergences: side.divergences,
      clipped: side.sampler.sampler === "sgld" && side.sampler.clip !== null ? 0.12 : null,
      saturated: side.sampler.sampler === "nuts" ? 0.01 : null,
      e_bfmi: hmc && enough ? 0.92 : null,
      broken_chains: side.states.filter((state) => !state.every(Number.isFinite)).length,
    };
  }

  #frame(statistics, replayed, started) {
    const sides = this.sides.map((side) => {
      const from = replayed ? 0 : side.sent;
      const fresh = side.history.slice(from);
      side.sent = side.history.length;
      side.seconds = (side.seconds ?? 0) + (performance.now() - started) / 1000;
      const { step } = side;
      const T = side.sampler.temperature;
      const noise = side.sampler.sampler === "sgld" ? side.sampler.noise : step * Math.sqrt(T);
      return {
        clock: side.clock,
        transitions: side.transitions,
        warming_up: side.transitions < side.sampler.warmup,
        positions: Float32Array.from(side.states.flat()),
        energies: Float32Array.from(side.states, ([x, y]) => this.energy(x, y)),
        draws: fresh.length,
        clocks: Float32Array.from(side.clocks.slice(from)),
        warmup: Uint8Array.from(fresh, (_, i) => (from + i < side.sampler.warmup ? 1 : 0)),
        values: Object.fromEntries(["energy", "x", "y"].map((name, q) => [name, Float32Array.from(fresh.flatMap((draw) => draw.map((chain) => chain[q])))])),
        step_size: step,
        drift: (step * step) / 2,
        noise,
        temperature: (noise * noise) / (step * step),
        statistics: statistics ? this.#statistics(side) : null,
      };
    });
    return { sides, elapsed_ms: performance.now() - started, replayed };
  }

  async advance(gradients, statistics) {
    const started = performance.now();
    if (gradients > 0) {
      const target = Math.max(...this.sides.map((side) => side.clock)) + gradients;
      for (const side of this.sides) while (side.clock < target) this.#transition(side);
    }
    return this.#frame(statistics, false, started);
  }

  async seek(clock, statistics) {
    const started = performance.now();
    const reached = this.sides.map((side) => side.clock);
    this.#reset();
    for (const side of this.sides) {
      // Like the real one: a clock beyond the run does not extend the run.
      while (side.clock < Math.min(clock, reached[side.index])) {
        const before = { ...side };
        this.#transition(side);
        if (side.clock > clock) {
          // The mock runs one transition too far and takes it back.
          side.history.pop();
          side.clocks.pop();
          Object.assign(side, before);
          break;
        }
      }
    }
    return this.#frame(statistics, true, started);
  }

  async path(side, chain) {
    const own = this.sides[side];
    if (own.transitions === 0) throw bad("path: expected at least one transition, found none: take a step first");
    const { points, end, moved, acceptance } = own.paths[chain];
    return { points: Float32Array.from(points.flat()), energies: Float32Array.from(points, ([x, y]) => this.energy(x, y)), end, moved, acceptance, transition: own.transitions - 1 };
  }

  chart(side, kind, quantity) {
    const own = this.sides[side];
    const chains = this.#matrix(own, ["energy", "x", "y"].indexOf(quantity));
    const draws = chains[0]?.length ?? 0;
    if (kind === "ranks") {
      const bins = 20;
      const size = draws * chains.length;
      const counts = draws === 0 ? chains.map(() => Array(bins).fill(0)) : ranksOf(chains).map((row) => row.reduce((sum, rank) => (sum[Math.min(bins - 1, Math.floor(((rank - 0.5) * bins) / size))]++, sum), Array(bins).fill(0)));
      return { kind, bins, counts, expected: draws / bins };
    }
    if (kind === "running") {
      const at = Array.from({ length: 20 }, (_, i) => Math.round((draws * (i + 1)) / 20)).filter((n, i, all) => n >= 4 && n !== all[i - 1]);
      return { kind, draws: at, rhat: at.map((n) => rhat(chains.map((chain) => chain.slice(0, n)))), nested: at.map((n) => nestedRhat(chains.map((chain) => chain.slice(0, n)), this.config.superchains)) };
    }
    return { kind, lags: draws < 4 ? [] : chains.slice(0, 8).map((chain) => autocorrelation(chain, 60)) };
  }

  async learn(config) {
    this.#density(config.target);
    this.learning = { config, at: 0 };
    return this.#learned([]);
  }

  async learn_step(iterations) {
    const { config } = this.learning;
    const all = config.flow_iterations + config.tilt_iterations;
    const from = this.learning.at;
    this.learning.at = Math.min(all, from + iterations);
    await new Promise((resolve) => setTimeout(resolve, Math.min(200, iterations)));
    const losses = Array.from({ length: this.learning.at - from }, (_, i) => {
      const noise = 0.1 * generator(config.seed, 5, from + i).normal();
      return from + i < config.flow_iterations ? 3 + 2 * Math.exp(-(from + i) / 300) + noise : 0.4 * Math.exp(-(from + i - config.flow_iterations) / 300) + noise;
    });
    return this.#learned(losses);
  }

  #learned(losses) {
    const { config, at } = this.learning;
    const all = config.flow_iterations + config.tilt_iterations;
    const stage = at >= all ? "done" : at >= config.flow_iterations ? "tilt" : "flow";
    const blur = 0.1 + 1.5 * Math.exp(-at / 500);
    const [title, , bounds, energy, mode, step] = this.#density(config.target);
    const learned = (x, y) => -Math.log((Math.exp(-energy(x, y)) + blur * 0.03 * Math.exp(-(x * x + y * y) / 16)) || 1e-300);
    this.#extra.learned = [`Learned from ${title}`, "A flow with a tilt, learned here.", bounds, learned, mode, step];
    const surface = this.#surface("learned");
    if (stage !== "done") delete this.#extra.learned;
    const flow = Math.min(at, config.flow_iterations);
    return { stage, iteration: stage === "flow" ? at : at - config.flow_iterations, of: stage === "flow" ? config.flow_iterations : config.tilt_iterations, losses: Float32Array.from(losses), kl_flow: 0.15 + 1.4 * Math.exp(-flow / 400), kl_model: stage === "flow" ? null : 0.02 + 0.2 * Math.exp(-(at - config.flow_iterations) / 300), surface, elapsed_ms: 10 };
  }

  async drift() {
    return 0;
  }
}
