"""Banded ridge by random search, and the product measure, as himalaya computes them.

himalaya 0.4.11, NumPy 2.4.6, scikit-learn 1.9.1 (benches/peers/requirements.txt); NumPy backend, f64.
Run through scripts/golden, which fixes threads and BLAS kernels.
"""

from pathlib import Path

import numpy as np
from himalaya.backend import set_backend
from himalaya.kernel_ridge import generate_dirichlet_samples
from himalaya.ridge import solve_group_ridge_random_search
from himalaya.scoring import correlation_score, correlation_score_split, r2_score, r2_score_split

HERE = Path(__file__).parent
SCORERS = {"correlation": correlation_score, "r2": r2_score}


def save(name, array):
    np.save(HERE / f"{name}.npy", np.ascontiguousarray(array))


def slow_design(rng, n_trs, n_features, size):
    """Slow, correlated columns with a mean, f32 values held in f64."""
    latent = rng.standard_normal((n_trs, n_features))
    for t in range(1, n_trs):
        latent[t] += 0.5 * latent[t - 1]
    x = size * latent @ rng.standard_normal((n_features, n_features)) / np.sqrt(n_features)
    x += rng.standard_normal(n_features)
    return x.astype("f4").astype("f8")


def fit(case, scorer, intercept, data):
    """One search, its weights and what they score on rows that no fit saw."""
    x, y, x_test, y_test, bands, fold_ids, alphas, points = data
    cv = [(np.flatnonzero(fold_ids != k), np.flatnonzero(fold_ids == k)) for k in np.unique(fold_ids)]
    columns = [np.flatnonzero(bands == band) for band in np.unique(bands)]
    found = solve_group_ridge_random_search(
        [x[:, own] for own in columns],
        y,
        n_iter=points,
        alphas=alphas,
        fit_intercept=intercept,
        score_func=SCORERS[scorer],
        cv=cv,
        return_weights=True,
        progress_bar=False,
        warn=False,
    )
    deltas, weights, scores = found[:3]
    coefs = np.empty_like(weights)
    coefs[np.concatenate(columns)] = weights  # in the order of x's columns
    name = f"{case}-{scorer}-{'intercept' if intercept else 'plain'}"
    save(f"{name}-band_alphas", np.exp(-deltas))
    save(f"{name}-point_scores", scores)
    save(f"{name}-coefs", coefs)
    if intercept:
        save(f"{name}-intercepts", found[3])
    parts = np.stack([x_test[:, own] @ coefs[own] for own in columns])
    save(f"{name}-band_correlation", correlation_score_split(y_test, parts))
    centred = parts - parts.mean(1, keepdims=True)
    save(f"{name}-band_r2", r2_score_split(y_test - y_test.mean(0), centred))


def case(name, seed, bands, sizes, n_trs, n_test, n_voxels, fold_sizes, alphas, n_points):
    rng = np.random.default_rng(seed)
    x_all = np.empty((n_trs + n_test, len(bands)))
    for band, size in enumerate(sizes):
        own = bands == np.unique(bands)[band]
        x_all[:, own] = slow_design(rng, n_trs + n_test, own.sum(), size)
    weights = rng.standard_normal((len(bands), n_voxels)) / np.sqrt(len(bands))
    # Voxels that need some bands more than others, and some that need none.
    for band in np.unique(bands):
        weights[bands == band] *= rng.choice([0.0, 0.3, 1.0], n_voxels)
    y_all = x_all @ weights + 1.5 * rng.standard_normal((n_trs + n_test, n_voxels))
    y_all = (y_all + rng.standard_normal(n_voxels)).astype("f4").astype("f8")
    fold_ids = rng.permutation(np.repeat(np.arange(len(fold_sizes)), fold_sizes))
    points = generate_dirichlet_samples(n_points, len(sizes), random_state=seed)
    points[0] = 1 / len(sizes)

    data = (x_all[:n_trs], y_all[:n_trs], x_all[n_trs:], y_all[n_trs:], bands, fold_ids, alphas, points)
    save(f"{name}-x", data[0].astype("f4"))
    save(f"{name}-y", data[1].astype("f4"))
    save(f"{name}-x_test", data[2].astype("f4"))
    save(f"{name}-y_test", data[3].astype("f4"))
    save(f"{name}-bands", bands)
    save(f"{name}-fold_ids", fold_ids)
    save(f"{name}-alphas", alphas)
    save(f"{name}-points", points)
    for scorer in SCORERS:
        for intercept in (True, False):
            fit(name, scorer, intercept, data)


set_backend("numpy")
case("two", 4, np.repeat([0, 1], [20, 12]), [1.0, 0.2], 240, 60, 23, [72, 60, 60, 48], np.logspace(0, 5, 11), 16)
mixed = np.random.default_rng(5).permutation(np.repeat([-3, 7, 40], [8, 1, 15]))
case("mixed", 5, mixed, [1.0, 3.0, 0.5], 150, 50, 17, [60, 50, 40], np.logspace(-1, 4, 6), 20)
