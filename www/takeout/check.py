"""Recomputes mixwell's numbers with ArviZ:  pip install arviz-stats numpy;  python check.py FILE.json"""
import json, sys
import numpy as np
from arviz_stats.base import array_stats

run, gaps = json.load(open(sys.argv[1])), []
for name, ours in json.loads(run["attrs"]["numbers"]).items():
    x = np.array(run["posterior"][name], dtype=float)  # chains × draws
    theirs = {"rhat": array_stats.rhat(x, method="rank"), "ess_bulk": array_stats.ess(x, method="bulk"),
              "ess_tail": array_stats.ess(x, method="tail", prob=(0.05, 0.95)), "mcse_mean": array_stats.mcse(x, method="mean")}
    for what, value in theirs.items():
        if ours[what] is not None:
            gaps.append(abs(value - ours[what]) / abs(value))
            print(f"{name:>10} {what:<10} mixwell {ours[what]:<20.12g} ArviZ {float(value):<20.12g} relative difference {gaps[-1]:.1e}")
if not np.max(gaps or [np.inf]) <= 1e-6:
    sys.exit("The numbers differ, or there are none to compare.")
