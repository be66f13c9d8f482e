"""Functions that need no fit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _voxelcast
from ._checks import FitWarning, as_floats, as_groups, as_matrix


def lanczos_resample(
    data: ArrayLike,
    old_times: ArrayLike,
    new_times: ArrayLike,
    window: int = 3,
    cutoff_mult: float = 1.0,
) -> NDArray[np.float64]:
    """Rows of `data` (n_old, n_features), at `old_times`, resampled to `new_times`, in seconds.

    HuthLab's `lanczosinterp2D`: cutoff = cutoff_mult / mean(diff(new_times)), t = (new − old) ·
    cutoff, weight = w sin(πt) sin(πt/w) / (π²t²) for |t| ≤ window. (n_new, n_features).
    """
    rows = as_floats(data)
    old = np.ascontiguousarray(old_times, np.float64)
    new = np.ascontiguousarray(new_times, np.float64)
    made = _voxelcast.lanczos_resample(
        as_matrix("data", rows), old, new, int(window), float(cutoff_mult)
    )
    return made[:, 0] if rows.ndim == 1 else made


def make_delayed(
    X: ArrayLike, delays: Sequence[int], groups: ArrayLike | None = None
) -> NDArray[Any]:
    """(n, n_delays · n_features): the rows of X at each delay, delay-major, in the dtype of X.

    A positive delay puts a row's features that many rows later. Rows without a source are zero.
    With `groups`, (n,) labels of stories, no delay crosses from one label to another.
    """
    X = as_matrix("X", X)
    codes = None if groups is None else as_groups(groups, X.shape[0])[1]
    return _voxelcast.make_delayed(X, [int(delay) for delay in delays], codes)


def correlation_score(Y: ArrayLike, Y_pred: ArrayLike) -> Any:
    """Pearson r of each column, (n_targets,) float32; a float for one-dimensional arrays.

    NaN for a column that is constant, or has NaN (himalaya gives 0).
    """
    Y, Y_pred = as_floats(Y), as_floats(Y_pred)
    if Y.shape != Y_pred.shape:
        raise ValueError(f"Y_pred: expected the shape {Y.shape} of Y, got {Y_pred.shape}")
    r = _voxelcast.correlation_score(as_matrix("Y", Y), as_matrix("Y_pred", Y_pred))
    return float(r[0]) if Y.ndim == 1 else r


def r2_score(Y: ArrayLike, Y_pred: ArrayLike) -> Any:
    """1 − Σ(y − ŷ)²/Σ(y − ȳ)² of each column; NaN for a column that is constant or has NaN."""
    Y, Y_pred = as_floats(Y), as_floats(Y_pred)
    with np.errstate(invalid="ignore", divide="ignore"):
        residual = np.square(np.subtract(Y, Y_pred, dtype=np.float64)).sum(axis=0)
        total = np.square(Y - Y.mean(axis=0, dtype=np.float64)).sum(axis=0)
        r2 = np.where(total > 0, 1 - residual / total, np.nan)
    return float(r2) if Y.ndim == 1 else r2


def load_vectors(path: str | os.PathLike[str], words: Iterable[str]) -> NDArray[np.float32]:
    """One vector a word, (n_words, dim), from word2vec (binary, text) or GloVe, plain, gzip or zip.

    One pass over the file keeps what is needed. Words are looked up as in the command: exact, lower
    case, and for word2vec capitalised. A word that is not there is a row of zeros; a warning counts
    them.
    """
    words = list(words)
    rows, missing = _voxelcast.load_vectors(path, words)
    if missing:
        some = ", ".join(sorted(set(missing))[:5])
        warnings.warn(
            f"{os.fspath(path)}: {len(missing)} of {len(words)} words have no vector: {some}",
            FitWarning,
            stacklevel=2,
        )
    return rows
