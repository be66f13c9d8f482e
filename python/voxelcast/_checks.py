"""What comes in, as the engine takes it: float matrices, groups, folds, progress."""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _voxelcast

Progress = bool | Callable[[int, int], object]


class FitWarning(UserWarning):
    """Doubtful but legal: voxels that cannot be fitted, alphas at the ends of the grid."""


def warn_of(sentences: list[str]) -> None:
    """Each sentence of the engine as a warning where `fit` was called."""
    for sentence in sentences:
        warnings.warn(sentence, FitWarning, stacklevel=3)


def as_floats(values: ArrayLike) -> NDArray[Any]:
    """The array as float32 or float64, in its own layout; a copy only of other types."""
    array = np.asarray(values)
    if array.dtype not in (np.float32, np.float64):
        wide = array.dtype.kind not in "biuf" or array.dtype.itemsize > 8
        array = array.astype(np.float64 if wide else np.result_type(array.dtype, np.float32))
    return np.require(array, requirements="A")


def as_matrix(name: str, values: ArrayLike) -> NDArray[Any]:
    """The same with two dimensions; one becomes one column."""
    array = as_floats(values)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name}: expected one or two dimensions, got {array.ndim}")
    return array


def as_groups(groups: ArrayLike, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The labels in order of first appearance, and the index of each row's label among them."""
    labels = np.asarray(groups)
    if labels.shape != (n_rows,):
        raise ValueError(
            f"groups: expected one label for each of {n_rows} rows, got {labels.shape}"
        )
    names, first, index = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return names[order], rank[index.reshape(-1)]


def _rows(rows: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    """Row indices from indices or a mask, sorted."""
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if rows.shape != (n_rows,):
            raise ValueError(f"cv: expected masks of {n_rows} rows, got {rows.shape}")
        return np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(f"cv: expected row indices, got {rows.dtype} with {rows.ndim} dimensions")
    found = np.unique(rows)
    if len(found) and not (-n_rows <= found[0] and found[-1] < n_rows):
        raise ValueError(f"cv: expected rows 0 to {n_rows - 1}, got {found[0]} to {found[-1]}")
    return np.unique(found % n_rows)


def _split(split: Any, n_rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Training and validation rows of (train, val), or of validation rows alone."""
    if isinstance(split, tuple | list) and len(split) == 2 and np.ndim(split[0]) == 1:
        return _rows(split[0], n_rows), _rows(split[1], n_rows)
    val = _rows(split, n_rows)
    return np.setdiff1d(np.arange(n_rows), val), val


@dataclass(frozen=True)
class Folds:
    """Folds that one fit solves: the fold of each row; the first `n_held_out` are held out."""

    of_rows: NDArray[np.int64]
    n_held_out: int


Splits = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def checked_cv(
    cv: Any, X: NDArray[Any], Y: NDArray[Any], groups: ArrayLike | None
) -> Folds | Splits:
    """What `RidgeCV` says of `cv`: folds, or splits that are no folds of one fit."""
    n_rows = X.shape[0]
    if cv is None:
        cv = 5
    if isinstance(cv, numbers.Integral):
        n_folds = int(cv)
        if n_folds < 2:
            raise ValueError(f"cv: expected at least 2 folds, got {n_folds}")
        if groups is not None:
            return Folds(_voxelcast.deal_folds(as_groups(groups, n_rows)[1], n_folds), n_folds)
        if n_rows < 2 * n_folds:
            raise ValueError(
                f"cv: expected at least {2 * n_folds} rows for {n_folds} folds, "
                f"got n_samples = {n_rows}; a correlation needs two rows"
            )
        parts = np.array_split(np.arange(n_rows), n_folds)
        return Folds(np.repeat(np.arange(n_folds), [len(part) for part in parts]), n_folds)
    splits = [_split(s, n_rows) for s in (cv.split(X, Y, groups) if hasattr(cv, "split") else cv)]
    if not splits:
        raise ValueError("cv: expected at least one split, got none")
    for index, (train, val) in enumerate(splits):
        if np.intersect1d(train, val, assume_unique=True).size:
            raise ValueError(f"cv: split {index} trains on rows that it holds out")
        if min(len(train), len(val)) < 2:
            raise ValueError(
                f"cv: expected at least 2 training and 2 validation rows, "
                f"got {len(train)} and {len(val)} in split {index}"
            )
    return _as_folds(splits, n_rows) or splits


def _as_folds(splits: Splits, n_rows: int) -> Folds | None:
    """Splits that hold out different rows and train on all others are one fit; those that no split
    holds out are a last fold."""
    folds = np.full(n_rows, len(splits), np.int64)
    for fold, (train, val) in enumerate(splits):
        if (folds[val] < len(splits)).any() or len(train) + len(val) != n_rows:
            return None
        folds[val] = fold
    n_always = (folds == len(splits)).sum()
    if n_always == 1 or len(splits) + (n_always > 0) < 2:
        return None
    return Folds(folds, len(splits))


def progress_of(progress: Progress) -> Callable[[int, int, str | None], object] | None:
    """What the engine calls: a bar on stderr, the caller's own function, or nothing."""
    if callable(progress):
        tell = progress

        def call(done: int, total: int, note: str | None) -> None:
            if note is None:
                tell(done, total)

        return call
    return _bar if progress else None


def _bar(done: int, total: int, note: str | None) -> None:
    if note is not None:
        print(note, file=sys.stderr)
        return
    share = done / max(total, 1)
    filled = "#" * int(30 * share)
    end = "\n" if done >= total else ""
    print(f"\r[{filled:<30}] {done} of {total} voxels", end=end, file=sys.stderr, flush=True)
