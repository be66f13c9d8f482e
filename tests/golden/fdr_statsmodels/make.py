"""Significant p-values at a false discovery rate, as statsmodels finds them.

statsmodels 0.15.0, NumPy 2.4.6 (benches/peers/requirements.txt). Run through scripts/golden.
"""

import json
from pathlib import Path

import numpy as np
from statsmodels.stats.multitest import multipletests

HERE = Path(__file__).parent
rng = np.random.default_rng(7)


def permutation_p(n, n_planted, n_permutations):
    """p-values as a permutation test gives them: few levels, many ties, none zero."""
    counts = rng.integers(0, n_permutations + 1, n)
    counts[:n_planted] = rng.integers(0, max(n_permutations // 50, 1) + 1, n_planted)
    return rng.permutation((1 + counts) / (1 + n_permutations))


cases = {
    "one": np.array([0.04]),
    "none is small": 0.2 + 0.8 * rng.random(50),
    "all are equal": np.full(20, 0.05),
    "all are small": 0.01 * rng.random(33),
    "uniform": rng.random(500),
    "planted": np.concatenate([rng.random(400), 1e-3 * rng.random(100)]),
    "few levels": permutation_p(300, 100, 99),
    "1000 permutations": permutation_p(1000, 200, 1000),
}
out = []
for name, p in cases.items():
    for q in (0.01, 0.05, 0.2):
        reject = multipletests(p, alpha=q, method="fdr_bh")[0]
        out.append({"case": name, "q": q, "p": p.tolist(), "reject": reject.tolist()})
(HERE / "values.json").write_text(json.dumps(out) + "\n")
