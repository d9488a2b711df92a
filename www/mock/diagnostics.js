// R-hat, ESS and MCSE for the mock, plain and slow, after Vehtari et al. (2021), so that the page's
// export can be checked against ArviZ without the wasm. The real ones are in src/diagnostics.

/** Wichura's AS 241. @param {number} p */
function normalQuantile(p) {
  const poly = (x, coefficients) => coefficients.reduceRight((sum, c) => sum * x + c, 0);
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * poly(r, [3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125, 45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727])) / poly(r, [1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867, 39307.89580009271061, 28729.085735721942674, 5226.495278852854561]);
  }
  let r = Math.sqrt(-Math.log(q < 0 ? p : 1 - p));
  let value;
  if (r <= 5) {
    r -= 1.6;
    value = poly(r, [1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504, 1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4]) / poly(r, [1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459, 0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9]);
  } else {
    r -= 5;
    value = poly(r, [6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123, 0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5, 2.01033439929228813265e-7]) / poly(r, [1, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525, 7.868691311456132591e-4, 1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15]);
  }
  return q < 0 ? -value : value;
}

const mean = (xs) => xs.reduce((a, b) => a + b, 0) / xs.length;
const variance = (xs) => {
  const m = mean(xs);
  return xs.reduce((a, b) => a + (b - m) ** 2, 0) / (xs.length - 1);
};

function split(chains) {
  const half = Math.floor(chains[0].length / 2);
  return chains.flatMap((chain) => [chain.slice(0, half), chain.slice(chain.length - half)]);
}

export function ranksOf(chains) {
  const all = chains.flatMap((chain, c) => chain.map((value, draw) => ({ value, c, draw }))).sort((a, b) => a.value - b.value);
  const ranks = chains.map((chain) => chain.slice());
  for (let from = 0; from < all.length; ) {
    let to = from + 1;
    while (to < all.length && all[to].value === all[from].value) to += 1;
    for (let i = from; i < to; i += 1) ranks[all[i].c][all[i].draw] = (from + to + 1) / 2;
    from = to;
  }
  return ranks;
}

function normalScores(chains) {
  const size = chains.length * chains[0].length;
  return ranksOf(chains).map((row) => row.map((rank) => normalQuantile((rank - 0.375) / (size + 0.25))));
}

function scaleReduction(chains) {
  const n = chains[0].length;
  const between = n * variance(chains.map(mean));
  return Math.sqrt((between / mean(chains.map(variance)) + n - 1) / n);
}

function quantile(sorted, p) {
  const position = p * (sorted.length - 1);
  const low = Math.floor(position);
  return sorted[low] + ((sorted[low + 1] ?? sorted[low]) - sorted[low]) * (position - low);
}

function effective(chains) {
  const n = chains[0].length;
  const means = chains.map(mean);
  const lag = (k) => mean(chains.map((chain, c) => {
    let sum = 0;
    for (let i = 0; i + k < n; i += 1) sum += (chain[i] - means[c]) * (chain[i + k] - means[c]);
    return sum / n;
  }));
  const biased = lag(0);
  if (biased === 0) return n * chains.length;
  const within = (biased * n) / (n - 1);
  const total = biased + (chains.length > 1 ? variance(means) : 0);
  const rho = (k) => 1 - (within - lag(k)) / total;
  let pair = [1, rho(1)];
  let [sum, lowest, k] = [0, Infinity, 2];
  while (k + 2 < n && pair[0] + pair[1] > 0) {
    lowest = Math.min(lowest, pair[0] + pair[1]);
    sum += lowest;
    pair = [rho(k), rho(k + 1)];
    k += 2;
  }
  const size = n * chains.length;
  const even = pair[0] > 0 || pair[0] + pair[1] >= 0 ? pair[0] : 0;
  return size / Math.max(-1 + 2 * sum + even, 1 / Math.log10(size));
}

export function rhat(chains) {
  const halves = split(chains);
  const sorted = halves.flat().sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const folded = halves.map((chain) => chain.map((x) => Math.abs(x - median)));
  return Math.max(scaleReduction(normalScores(halves)), scaleReduction(normalScores(folded)));
}

/** Nested R-hat of chains in equal groups, of the ranks (Margossian et al. 2024). */
export function nestedRhat(chains, groups) {
  const size = chains.length / groups;
  if (groups < 2) return null;
  const scores = normalScores(chains);
  const supers = Array.from({ length: groups }, (_, g) => scores.slice(g * size, (g + 1) * size));
  const between = variance(supers.map((group) => mean(group.map(mean))));
  const within = mean(supers.map((group) => (group.length > 1 ? variance(group.map(mean)) : 0) + mean(group.map(variance))));
  return Math.sqrt(1 + between / within);
}

export function autocorrelation(chain, lags) {
  const m = mean(chain);
  const lag = (k) => chain.reduce((sum, x, i) => (i + k < chain.length ? sum + (x - m) * (chain[i + k] - m) : sum), 0);
  const zero = lag(0);
  return Array.from({ length: Math.min(lags, chain.length) }, (_, k) => (zero > 0 ? lag(k) / zero : 1));
}

export function summarise(name, chains) {
  const draws = chains[0]?.length ?? 0;
  const base = { name, chains: chains.length, draws, mean: null, sd: null, mcse_mean: null, rhat: null, ess_bulk: null, ess_tail: null };
  const all = chains.flat();
  if (!all.every(Number.isFinite)) return { ...base, status: { kind: "non_finite" } };
  if (draws < 4) return { ...base, status: { kind: "too_short" } };
  const [m, sd] = [mean(all), Math.sqrt(variance(all))];
  if (sd === 0) return { ...base, mean: m, sd, status: { kind: "constant" } };
  const halves = split(chains);
  const sorted = all.toSorted((a, b) => a - b);
  const below = (p) => {
    const limit = quantile(sorted, p);
    return effective(halves.map((chain) => chain.map((x) => (x <= limit ? 1 : 0))));
  };
  const r = rhat(chains);
  const bulk = effective(normalScores(halves));
  const tail = Math.min(below(0.05), below(0.95));
  const finite = (x) => (Number.isFinite(x) ? x : null);
  const good = r <= 1.01 && Math.min(bulk, tail) >= 100 * chains.length;
  return { ...base, mean: m, sd, mcse_mean: finite(sd / Math.sqrt(effective(halves))), rhat: finite(r), ess_bulk: finite(bulk), ess_tail: finite(tail), status: { kind: good ? "converged" : "not_converged" } };
}
