// Statistics of chains, as the wasm module reports them (src/diagnostics).

/** A statistic that may be undefined (too few draws, constant or non-finite chains) is null. */
export type Stat = number | null;

/** Convergence diagnostics of one traced quantity (src/diagnostics). */
export interface Summary {
  /** "energy", "tilt", "pc1", "pc2", … */
  name: string;
  chains: number;
  draws: number;
  mean: Stat;
  sd: Stat;
  mcse_mean: Stat;
  /** null beside "not_converged" is ∞: every half chain is stuck, at different values. */
  rhat: Stat;
  ess_bulk: Stat;
  ess_tail: Stat;
  status: { kind: "converged" | "not_converged" | "too_short" | "constant" | "non_finite" };
}
