"""himalaya's solve_ridge_cv_svd on the CPU, torch or NumPy backend.

Defaults are himalaya's own: no batches. It keeps the CV score of the best alpha only.
"""

import common  # first: starts the clock

import time

import numpy as np

args, backend = common.himalaya(__doc__)

from himalaya.ridge import solve_ridge_cv_svd
from himalaya.scoring import correlation_score

x, y, alphas, cv = common.load_ridge(args.data)

start = time.perf_counter()
best_alphas, coefs, cv_best, intercept = solve_ridge_cv_svd(
    backend.asarray(x),
    backend.asarray(y),
    alphas=backend.asarray(alphas.astype(x.dtype)),
    cv=cv,
    score_func=correlation_score,
    fit_intercept=True,
    local_alpha=True,
    n_targets_batch=args.n_targets_batch,
    n_alphas_batch=args.n_alphas_batch,
    warn=False,
)
inside = time.perf_counter() - start

common.save(
    args.out,
    best_alpha=backend.to_numpy(best_alphas).astype(np.float64),
    coef=backend.to_numpy(coefs),
    cv_best=backend.to_numpy(cv_best).ravel(),
    intercept=backend.to_numpy(intercept),
)
common.report(inside)
