"""The answer in f64 on a subset of voxels, by plain SVD and explicit predictions, and how far a
contender is from it."""

import numpy as np

N_VOXELS = 400


def ridge_reference(folder):
    """CV scores (n_alphas, n_subset) and what refits need; kept in reference.npz."""
    path = folder / "reference.npz"
    if path.exists():
        return dict(np.load(path))
    x = np.load(folder / "x.npy").astype("f8")
    y = np.load(folder / "y.npy", mmap_mode="r")
    voxels = np.linspace(0, y.shape[1] - 1, min(N_VOXELS, y.shape[1])).astype(int)
    y = y[:, voxels].astype("f8")
    fold_ids, alphas = np.load(folder / "fold_ids.npy"), np.load(folder / "alphas.npy")

    folds = np.unique(fold_ids)
    scores = np.zeros((len(alphas), len(voxels)))
    for k in folds:
        train, val = fold_ids != k, fold_ids == k
        x_mean, y_mean = x[train].mean(0), y[train].mean(0)
        u, s, vt = np.linalg.svd(x[train] - x_mean, full_matrices=False)
        uty, x_val = u.T @ (y[train] - y_mean), (x[val] - x_mean) @ vt.T
        y_val = y[val] - y[val].mean(0)
        for a, alpha in enumerate(alphas):
            pred = x_val @ (uty * (s / (s**2 + alpha))[:, None])
            pred -= pred.mean(0)
            norms = np.sqrt((pred**2).sum(0) * (y_val**2).sum(0))
            scores[a] += (pred * y_val).sum(0) / norms / len(folds)
    u, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    made = dict(
        voxels=voxels, alphas=alphas, scores=scores, s=s, vt=vt, uty=u.T @ (y - y.mean(0)),
        x_mean=x.mean(0), y_mean=y.mean(0),
    )
    np.savez(path, **made)
    return made


def on_grid(best_alpha, alphas):
    """Index of each chosen alpha; -1 where none of the grid is within 0.01 %."""
    index = np.abs(np.log(best_alpha)[None] - np.log(alphas)[:, None]).argmin(0)
    return np.where(np.abs(best_alpha / alphas[index] - 1) < 1e-4, index, -1)


def ridge_equal_work(out, reference):
    """Distances of one run's results from the reference, on its voxels.

    Coefficients and scores are compared at the alpha the contender chose, so that a near-tie
    broken the other way shows in `best_alpha_agreement` and `largest_score_lost` alone.
    """
    voxels, alphas, scores = reference["voxels"], reference["alphas"], reference["scores"]
    columns = np.arange(len(voxels))
    chosen = on_grid(np.load(out / "best_alpha.npy").ravel()[voxels], alphas)
    if (chosen < 0).any():
        raise ValueError(f"{(chosen < 0).sum()} chosen alphas are not in the grid")
    best = len(alphas) - 1 - scores[::-1].argmax(0)

    if (out / "cv_scores.npy").exists():
        table = np.load(out / "cv_scores.npy", mmap_mode="r")[:, voxels].astype("f8")
        score_diff, compared = np.abs(table - scores).max(), "every alpha"
    else:
        own = np.load(out / "cv_best.npy").ravel()[voxels]
        score_diff, compared = np.abs(own - scores[chosen, columns]).max(), "the chosen alpha"

    s, alpha = reference["s"][:, None], alphas[chosen]
    coef = reference["vt"].T @ (reference["uty"] * (s / (s**2 + alpha)))
    intercept = reference["y_mean"] - reference["x_mean"] @ coef
    own_coef = np.load(out / "coef.npy", mmap_mode="r")[:, voxels].astype("f8")
    own_intercept = np.load(out / "intercept.npy").ravel()[voxels]
    relative = np.linalg.norm(own_coef - coef, axis=0) / np.linalg.norm(coef, axis=0)
    return {
        "n_voxels_compared": len(voxels),
        "best_alpha_agreement": float((chosen == best).mean()),
        "largest_score_lost": float((scores.max(0) - scores[chosen, columns]).max()),
        "largest_cv_score_diff": float(score_diff),
        "cv_scores_compared_at": compared,
        "largest_coef_relative_diff": float(relative.max()),
        "largest_intercept_diff": float(np.abs(own_intercept - intercept).max()),
    }


def lanczos_reference(folder, window=3.0):
    """Up to 50 TRs spread over the recording: their indices and expected rows, f64.

    The same weight in another form: sinc(t) sinc(t / window).
    """
    data, old_times = np.load(folder / "data.npy"), np.load(folder / "old_times.npy")
    new_times = np.load(folder / "new_times.npy")
    trs = np.linspace(0, len(new_times) - 1, min(50, len(new_times))).astype(int)
    t = (new_times[trs, None] - old_times) / np.diff(new_times).mean()
    weights = np.where(np.abs(t) > window, 0.0, np.sinc(t) * np.sinc(t / window))
    return trs, weights @ data


def array_equal_work(path, expected, n_rows, rows=slice(None)):
    """Largest difference of some rows of one array from the expected ones."""
    own = np.load(path)
    if own.shape != (n_rows, expected.shape[1]):
        raise ValueError(f"{path.name} is {own.shape}, expected {(n_rows, expected.shape[1])}")
    return {
        "n_rows_compared": len(expected),
        "dtype": str(own.dtype),
        "largest_diff": float(np.abs(own[rows].astype("f8") - expected).max()),
        "largest_value": float(np.abs(expected).max()),
    }
