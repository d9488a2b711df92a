// The preset that each lesson starts from; the reader can then change it. The texts are in page.html.
// Pure data.

/** @import { LearnConfig, PlayConfig, PlaySampler, PlaySide, SamplerConfig } from "../contract/playground.js" */

/**
 * @typedef {Partial<Omit<PlayConfig, "sides">> & { sides: (Partial<Omit<SamplerConfig, "sampler">> & { sampler: PlaySampler, space?: PlaySide["space"] })[], learn?: Partial<LearnConfig>, pace?: number, quantity?: string }} Preset
 * @typedef {object} Lesson
 * @property {string} title
 * @property {Preset} preset
 */

/** @type {Lesson[]} */
export const LESSONS = [
  {
    title: "Why the chains do not mix",
    preset: { target: "eight-modes", chains: 16, start: "dispersed", pace: 60, quantity: "x", sides: [{ sampler: "mala", warmup: 50 }] },
  },
  {
    title: "What temperature hides",
    preset: { target: "eight-modes", chains: 16, start: "dispersed", pace: 60, quantity: "energy", sides: [{ sampler: "sgld", warmup: 50 }, { sampler: "ula", warmup: 50 }] },
  },
  {
    title: "What R-hat misses",
    preset: { target: "eight-modes", chains: 16, start: "mode", pace: 300, quantity: "x", sides: [{ sampler: "mala", warmup: 100 }] },
  },
  {
    title: "Step size and acceptance",
    preset: {
      target: "gaussian",
      chains: 8,
      start: "dispersed",
      pace: 60,
      quantity: "energy",
      sides: [{ sampler: "mala", warmup: 100, no_adapt: true }, { sampler: "ula", warmup: 100 }],
    },
  },
  {
    title: "The funnel",
    preset: { target: "funnel", chains: 8, start: "dispersed", pace: 300, quantity: "v", sides: [{ sampler: "hmc", warmup: 200, leapfrog_steps: 10 }, { sampler: "nuts", warmup: 200 }] },
  },
  {
    title: "Why latent space helps",
    preset: {
      target: "learned",
      chains: 12,
      start: "dispersed",
      pace: 60,
      quantity: "x",
      sides: [{ sampler: "mala", warmup: 100 }, { sampler: "mala", warmup: 100, space: "latent" }],
      learn: { target: "eight-modes", seed: 1, flow_iterations: 1500, tilt_iterations: 1500, steps: 6, hidden: 32 },
    },
  },
];
