"""himalaya's solve_group_ridge_random_search on the CPU, torch or NumPy backend, on given points.

Defaults are himalaya's own: no batches.
"""

import common  # first: starts the clock

import time

import numpy as np

args, backend = common.himalaya(__doc__)

from himalaya.ridge import solve_group_ridge_random_search
from himalaya.scoring import correlation_score

x, y, alphas, cv = common.load_ridge(args.data)
points, bands = np.load(args.data / "points.npy"), np.load(args.data / "bands.npy")

start = time.perf_counter()
deltas, coefs, scores, intercept = solve_group_ridge_random_search(
    [backend.asarray(x[:, bands == band]) for band in np.unique(bands)],
    backend.asarray(y),
    n_iter=backend.asarray(points.astype(x.dtype)),
    alphas=backend.asarray(alphas.astype(x.dtype)),
    cv=cv,
    score_func=correlation_score,
    fit_intercept=True,
    local_alpha=True,
    return_weights=True,
    n_targets_batch=args.n_targets_batch,
    n_alphas_batch=args.n_alphas_batch,
    progress_bar=False,
    warn=False,
)
inside = time.perf_counter() - start

band_alphas = np.exp(-backend.to_numpy(deltas).astype(np.float64))
common.save(
    args.out,
    best_alpha=1 / (1 / band_alphas).sum(0),
    band_alphas=band_alphas,
    point_scores=backend.to_numpy(scores),
    coef=backend.to_numpy(coefs),
    intercept=backend.to_numpy(intercept),
)
common.report(inside)
