"""Milliseconds that ArviZ takes for what `summarise` computes (R-hat, bulk and tail ESS, MCSE of the
mean), best of three, for chains × draws from the command line. Called by `cargo xtask bench`."""
import sys, time
import numpy as np
from arviz_stats.base import array_stats as A

chains, draws = map(int, sys.argv[1:3])
x = np.random.default_rng(1).normal(size=(chains, draws))
best = float("inf")
for _ in range(3):
    t = time.perf_counter()
    A.rhat(x, method="rank"); A.ess(x, method="bulk"); A.ess(x, method="tail", prob=(0.05, 0.95)); A.mcse(x, method="mean")
    best = min(best, time.perf_counter() - t)
print(1e3 * best)
