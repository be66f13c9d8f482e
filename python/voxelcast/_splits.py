"""Splits that are no folds of one fit: bootstraps, repeated folds, growing windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _voxelcast
from ._checks import Splits


def fit_splits(
    X: NDArray[Any],
    Y: NDArray[Any],
    splits: Splits,
    settings: dict[str, Any],
    progress: Callable[[int, int, str | None], object] | None,
) -> dict[str, Any]:
    """What `fit_ridge` gives, from a fit for each split and one for each alpha that was chosen.

    Columns of Y that chose the same alpha are copied for their fit. On the CPU.
    """
    scored = np.zeros((len(settings["alphas"]), Y.shape[1]))
    total = np.zeros_like(scored)
    for train, val in splits:
        folds = np.full(len(X), -1, np.int64)
        folds[val], folds[train] = 0, 1
        of_split = _voxelcast.fit_ridge(X, Y, folds, 1, settings, progress)["cv_scores"]
        is_scored = ~np.isnan(of_split)
        scored += is_scored
        total += np.where(is_scored, of_split, 0)
    with np.errstate(invalid="ignore"):
        scores = (total / scored).astype(np.float32)
    best = _best(scores, settings["alpha_tolerance"])

    n_targets = Y.shape[1]
    coef = np.zeros((X.shape[1], n_targets), np.float32)
    intercept, best_alphas = np.zeros(n_targets, np.float32), np.full(n_targets, np.nan)
    said, solver = [], ""
    # Any folds will do: with one alpha there is nothing to choose.
    halves = (np.arange(len(X)) * 2 // len(X)).astype(np.int64)
    for index in np.unique(best):
        columns = np.flatnonzero(best == index)
        alpha = settings["alphas"][max(index, 0)]
        one = {**settings, "alphas": [alpha]}
        fitted = _voxelcast.fit_ridge(X, Y[:, columns], halves, None, one, progress)
        is_live = ~np.isnan(fitted["best_alphas"]) & (index >= 0)
        live = columns[is_live]
        coef[:, live] = fitted["coef"][:, is_live]
        intercept[live], best_alphas[live] = fitted["intercept"][is_live], alpha
        said += fitted["warnings"]
        solver = fitted["solver"]
    scores[:, np.isnan(best_alphas)] = np.nan
    return {
        "cv_scores": scores,
        "coef": coef,
        "intercept": intercept,
        "best_alphas": best_alphas,
        "solver": f"{solver}; {len(splits)} splits, a fit each",
        "warnings": said,
    }


def _best(scores: NDArray[np.float32], tolerance: float) -> NDArray[np.int64]:
    """The index of each voxel's alpha, −1 without a score; as the engine's `best_index`."""
    is_nan = np.isnan(scores)
    filled = np.where(is_nan, -np.inf, scores)
    best = len(scores) - 1 - np.argmax(filled[::-1], axis=0)
    if tolerance > 0:
        top = filled.max(axis=0).astype(np.float64)
        best = np.argmax(filled >= top - tolerance * np.abs(top), axis=0)
    return np.where(is_nan.all(axis=0), -1, best)
