"""Ridge regression with one alpha per voxel, as himalaya computes it.

himalaya 0.4.11, NumPy 2.4.6, scikit-learn 1.9.1 (benches/peers/requirements.txt); NumPy backend, f64.
Run through scripts/golden, which fixes threads and BLAS kernels.
"""

from pathlib import Path

import numpy as np
from himalaya.backend import set_backend
from himalaya.ridge import solve_ridge_cv_svd
from himalaya.scoring import correlation_score, r2_score

HERE = Path(__file__).parent
SCORERS = {"correlation": correlation_score, "r2": r2_score}


def save(name, array):
    np.save(HERE / f"{name}.npy", np.ascontiguousarray(array))


def collinear_design(rng, n_trs, n_features):
    """Slow features of very different size with a mean, f32 values held in f64."""
    latent = rng.standard_normal((n_trs, n_features))
    for t in range(1, n_trs):
        latent[t] += 0.6 * latent[t - 1]
    mix = rng.standard_normal((n_features, n_features)) * np.logspace(0, -2, n_features)[:, None]
    x = latent @ mix + rng.standard_normal(n_features)
    return x.astype("f4").astype("f8")


def fit_every_way(case, x, y, fold_ids, alphas, x_test, y_test):
    """Writes best alphas, the whole table of CV scores, coefficients, test correlations."""
    cv = [(np.flatnonzero(fold_ids != k), np.flatnonzero(fold_ids == k)) for k in np.unique(fold_ids)]
    for scorer, score in SCORERS.items():
        for intercept in (True, False):
            settings = dict(cv=cv, score_func=score, fit_intercept=intercept, warn=False)
            fit = solve_ridge_cv_svd(x, y, alphas=alphas, **settings)
            best, coefs, best_scores = fit[:3]
            intercepts = fit[3] if intercept else np.zeros(y.shape[1])

            # himalaya keeps the score of the best alpha only: one call per alpha gives the table.
            # It adds 1e-10 log(alpha) to break ties; taken off again here.
            table = np.stack(
                [solve_ridge_cv_svd(x, y, alphas=np.array([a]), **settings)[2].ravel() for a in alphas]
            )
            slope = 1e-10 * np.log(alphas)[:, None]
            table -= slope

            # best is exp(-log(1/alpha)): back on the grid, where it must be the table's maximum.
            chosen = np.abs(np.log(alphas)[:, None] - np.log(best)).argmin(0)
            assert np.allclose(alphas[chosen], best, rtol=1e-12)
            assert (chosen == (table + slope).argmax(0)).all()
            assert np.allclose(table.max(0), best_scores.ravel(), atol=1e-8)

            name = f"{case}-{scorer}-{'intercept' if intercept else 'plain'}"
            save(f"{name}-best_alphas", alphas[chosen])
            save(f"{name}-cv_scores", table)
            save(f"{name}-coefs", coefs)
            if intercept:
                save(f"{name}-intercepts", intercepts)
            save(f"{name}-test_correlation", correlation_score(y_test, x_test @ coefs + intercepts))


def tall():
    rng = np.random.default_rng(20240311)
    n_trs, n_test, n_features, n_voxels = 240, 60, 30, 23
    x_all = collinear_design(rng, n_trs + n_test, n_features)
    weights = rng.standard_normal((n_features, n_voxels)) / np.sqrt(n_features)
    strength = np.linspace(0.0, 1.5, n_voxels)
    y_all = x_all @ weights * strength + rng.standard_normal((n_trs + n_test, n_voxels))
    y_all += rng.standard_normal(n_voxels)
    y_all[:, 20] = 3.0  # constant
    y_all[:, 21] = y_all[:, 12]  # the same voxel twice
    y_all[:, 22] = 40.0 - 0.125 * y_all[:, 12]  # and scaled, turned over and shifted
    y_all = y_all.astype("f4").astype("f8")

    # Five folds of unequal size under labels in no order, rows dealt at random.
    fold_ids = np.repeat([7, -2, 40, 3, 11], [72, 60, 48, 36, 24]).astype("i8")
    fold_ids = rng.permutation(fold_ids)
    alphas = np.logspace(0, 6, 13)

    x, x_test = x_all[:n_trs], x_all[n_trs:]
    y, y_test = y_all[:n_trs], y_all[n_trs:]
    save("tall-x_f32", x.astype("f4"))
    save("tall-x_f64", x)
    save("tall-y_f32", y.astype("f4"))
    save("tall-y_f64", y)
    save("tall-fold_ids", fold_ids)
    save("tall-alphas", alphas)
    save("tall-x_test", x_test.astype("f4"))
    save("tall-y_test", y_test.astype("f4"))
    fit_every_way("tall", x, y, fold_ids, alphas, x_test, y_test)


def wide():
    rng = np.random.default_rng(8)
    n_trs, n_test, n_features, n_voxels = 60, 20, 110, 7
    x_all = collinear_design(rng, n_trs + n_test, n_features)
    weights = rng.standard_normal((n_features, n_voxels)) / np.sqrt(n_features)
    y_all = x_all @ weights + rng.standard_normal((n_trs + n_test, n_voxels)) + 2.0
    y_all = y_all.astype("f4").astype("f8")
    fold_ids = rng.permutation(np.repeat([2, 0, 9], [26, 20, 14])).astype("i4")
    alphas = np.logspace(0, 5, 11)

    x, x_test = x_all[:n_trs], x_all[n_trs:]
    y, y_test = y_all[:n_trs], y_all[n_trs:]
    save("wide-x_f32", x.astype("f4"))
    save("wide-y_f32", y.astype("f4"))
    save("wide-fold_ids", fold_ids)
    save("wide-alphas", alphas)
    save("wide-x_test", x_test.astype("f4"))
    save("wide-y_test", y_test.astype("f4"))
    fit_every_way("wide", x, y, fold_ids, alphas, x_test, y_test)


def one():
    """One feature: r does not depend on alpha, so every alpha ties and the largest must win."""
    rng = np.random.default_rng(1)
    x_all = rng.standard_normal((64, 1)).astype("f4").astype("f8")
    y_all = x_all * np.array([1.0, -0.5, 0.1]) + rng.standard_normal((64, 3))
    y_all = y_all.astype("f4").astype("f8")
    fold_ids = rng.permutation(np.repeat([1, 2, 3], [20, 16, 12])).astype("i8")
    alphas = np.logspace(0, 4, 5)

    x, x_test = x_all[:48], x_all[48:]
    y, y_test = y_all[:48], y_all[48:]
    save("one-x_f32", x.astype("f4"))
    save("one-y_f32", y.astype("f4"))
    save("one-fold_ids", fold_ids)
    save("one-alphas", alphas)
    save("one-x_test", x_test.astype("f4"))
    save("one-y_test", y_test.astype("f4"))
    fit_every_way("one", x, y, fold_ids, alphas, x_test, y_test)


set_backend("numpy")
with np.errstate(divide="ignore", invalid="ignore"):  # himalaya's r2 divides by the variance of tall's voxel 20
    tall()
    wide()
    one()
