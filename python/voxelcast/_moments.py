"""`Moments`: what one pass over X and Y leaves of them."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _voxelcast
from ._checks import Progress, as_groups, as_matrix, progress_of, warn_of
from ._ridge import DEFAULT_ALPHAS, RidgeCV

_FORMAT = "voxelcast.moments/1"
#: Sums over the rows of each group, and what belongs to all of them.
_OF_GROUPS = ("n_rows", "x_sums", "gram", "y_sums", "y_squares", "xty")
_OF_ALL = ("x_shift", "y_shift", "not_finite", "varies")


class Moments:
    """Sums over the rows of each group: XᵀX, XᵀY, ΣX, ΣY, ΣY².

    They are all that cross-validated ridge needs of its data. Moments of other sessions or stories
    can be added, saved, and solved again with other alphas, folds or scores without the data.

    They take n_groups · n_features · (4 · n_targets + 8 · n_features) bytes: give the folds as
    groups, not the stories, where that is too much.
    """

    def __init__(self, groups: NDArray[Any], sums: dict[str, NDArray[Any]]) -> None:
        self.groups = groups
        self._sums = sums

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        Y: ArrayLike,
        groups: ArrayLike,
        *,
        n_threads: int | None = None,
        progress: Progress = False,
    ) -> Moments:
        """Sums X (n, n_features) and Y (n, n_targets); groups: (n,) labels, integers or text."""
        X, Y = as_matrix("X", X), as_matrix("Y", Y)
        if len(X) != len(Y):
            raise ValueError(f"Y: expected {len(X)} rows as in X, got {len(Y)}")
        if 0 in X.shape or 0 in Y.shape:
            raise ValueError(f"expected rows and columns, got X {X.shape} and Y {Y.shape}")
        labels, parts = as_groups(groups, len(X))
        sums = _voxelcast.sum_moments(X, Y, parts.tolist(), n_threads, progress_of(progress))
        sums["n_rows"] = np.bincount(parts)
        return cls(labels, sums)

    @property
    def n_features(self) -> int:
        """Columns of X."""
        return len(self._sums["x_shift"])

    @property
    def n_targets(self) -> int:
        """Columns of Y."""
        return len(self._sums["y_shift"])

    @property
    def n_rows(self) -> NDArray[np.int64]:
        """Rows of each of `groups`."""
        return self._sums["n_rows"]

    def __add__(self, other: Moments) -> Moments:
        """Sums of equal labels are added, other labels come after."""
        if not isinstance(other, Moments):
            return NotImplemented
        shape, got = (self.n_features, self.n_targets), (other.n_features, other.n_targets)
        if shape != got:
            raise ValueError(f"expected moments of {shape} features and targets, got {got}")
        mine, theirs = self._sums, other._shifted(self._sums["x_shift"], self._sums["y_shift"])
        labels = np.concatenate([self.groups, other.groups])
        groups, parts = as_groups(labels, len(labels))
        sums = {}
        for name in _OF_GROUPS:
            first, second = mine[name], theirs[name]
            total = np.zeros((len(groups), *first.shape[1:]), first.dtype)
            total[: len(first)] = first  # labels of one object are different ones
            for part, values in zip(parts[len(first) :], second, strict=True):
                total[part] += values
            sums[name] = total
        sums["x_shift"], sums["y_shift"] = mine["x_shift"], mine["y_shift"]
        sums["not_finite"] = mine["not_finite"] | other._sums["not_finite"]
        # A voxel that is constant in both varies where the constants, which are the shifts, differ.
        differ = mine["y_shift"] != other._sums["y_shift"]
        sums["varies"] = mine["varies"] | other._sums["varies"] | differ
        return Moments(groups, sums)

    def _shifted(
        self, x_shift: NDArray[np.float64], y_shift: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        """The sums as they would be with these shifts taken off X and Y."""
        sums = self._sums
        dx = sums["x_shift"] - x_shift
        dy = sums["y_shift"].astype(np.float64) - y_shift
        if not dx.any() and not dy.any():
            return sums
        made = {name: sums[name].copy() for name in _OF_GROUPS}
        for part, n in enumerate(sums["n_rows"]):
            x, y = sums["x_sums"][part], sums["y_sums"][part]
            made["x_sums"][part] += n * dx
            made["gram"][part] += np.outer(dx, x + n * dx) + np.outer(x, dx)
            made["y_sums"][part] += n * dy
            made["y_squares"][part] += dy * (2 * y + n * dy)
            for i, row in enumerate(made["xty"][part]):
                row += (dx[i] * (y + n * dy) + x[i] * dy).astype(np.float32)
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `.npz`, under a temporary name first."""
        path = os.fspath(path)
        folder = os.path.dirname(path) or "."
        handle, partial = tempfile.mkstemp(dir=folder, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, format=np.array(_FORMAT), groups=self.groups, **self._sums)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Moments:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            names = {"format", "groups", *_OF_GROUPS, *_OF_ALL}
            if set(file.files) != names or str(file["format"]) != _FORMAT:
                raise ValueError(
                    f"{os.fspath(path)}: expected {_FORMAT}, as Moments.save writes it"
                )
            return cls(file["groups"], {name: file[name] for name in _OF_GROUPS + _OF_ALL})

    def solve(
        self,
        alphas: ArrayLike = DEFAULT_ALPHAS,
        cv: int | None = None,
        scoring: str = "correlation",
        fit_intercept: bool = True,
        *,
        alpha_tolerance: float = 0.0,
        n_threads: int | None = None,
        progress: Progress = False,
    ) -> RidgeCV:
        """A fitted `RidgeCV`, as from the rows up to rounding in float32.

        cv: None: every group is a fold; a number: groups are dealt to that many folds in their
        order. Solved by gram on the CPU.
        """
        order = np.arange(len(self.groups))
        folds = order
        if cv is not None:
            # As if of two rows each: how many rows a fold has is checked by the engine.
            folds = _voxelcast.deal_folds(np.repeat(order, 2), int(cv))[::2]
        model = RidgeCV(
            alphas,
            cv if cv is not None else len(order),
            scoring,
            "gram",
            "cpu",
            fit_intercept,
            alpha_tolerance=alpha_tolerance,
            n_threads=n_threads,
            progress=progress,
        )
        sums = {**self._sums, "n_rows": self.n_rows.tolist()}
        fitted = _voxelcast.solve_moments(
            sums, folds.tolist(), model._settings(), progress_of(progress)
        )
        model.n_features_in_ = self.n_features
        model._take(fitted, is_vector=False)
        warn_of(fitted["warnings"])
        return model
