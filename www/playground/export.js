// Exports the draws of one side for other tools. Pure functions.

/** @import { PlayConfig, PlayStatistics } from "../contract/playground.js" */

/**
 * @typedef {object} Run
 * @property {PlayConfig} config as accepted
 * @property {number} side
 * @property {string} device for example "cpu"
 * @property {number} clock ∇E per chain
 * @property {string[]} names "energy", then the coordinates
 * @property {(name: string) => number[][]} draws after warm-up, a row for each chain
 * @property {PlayStatistics} statistics of exactly these draws
 */

/**
 * One line per draw. Chains and draws count from 1, as in R.
 * @param {Run} run
 */
export function toCsv({ names, draws }) {
  const columns = names.map(draws);
  const lines = [["chain", "draw", ...names].join(",")];
  columns[0]?.forEach((row, chain) => {
    for (let draw = 0; draw < row.length; draw += 1) lines.push([chain + 1, draw + 1, ...columns.map((column) => column[chain]?.[draw] ?? NaN)].join(","));
  });
  return `${lines.join("\n")}\n`;
}

/**
 * The format of arviz.from_json: groups of variables, chains × draws each. Attributes are strings, so
 * that they can be stored as netCDF.
 * @param {Run} run
 */
export function toArviz({ config, side, device, clock, names, draws, statistics }) {
  const energies = draws("energy");
  const temperature = config.sides[side]?.sampler.temperature ?? 1;
  const numbers = Object.fromEntries(
    statistics.summaries.map(({ name, mean, sd, mcse_mean, rhat, ess_bulk, ess_tail }) => [name, { mean, sd, mcse_mean, rhat, ess_bulk, ess_tail }]),
  );
  return JSON.stringify({
    posterior: Object.fromEntries(names.map((name) => [name, draws(name)])),
    sample_stats: { lp: energies.map((row) => row.map((energy) => -energy / temperature)) },
    attrs: {
      created_by: "mixwell, Playground",
      device,
      side: String(side),
      seed: String(config.seed),
      gradients_per_chain: String(clock),
      config: JSON.stringify(config),
      numbers: JSON.stringify(numbers),
    },
  });
}

/**
 * A file name that distinguishes several runs.
 * @param {Pick<Run, "config" | "side">} run
 * @param {string} ending
 */
export function fileName({ config, side }, ending) {
  return `mixwell-${config.target}-${config.sides[side]?.sampler.sampler}-${config.seed}.${ending}`;
}
