"""`RidgeCV`: the estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import (
    assert_all_finite,
    check_array,
    check_is_fitted,
    validate_data,
)

from . import _voxelcast
from ._checks import Folds, Progress, as_matrix, checked_cv, progress_of, warn_of
from ._functions import correlation_score, r2_score
from ._splits import fit_splits

#: 10^0 to 10^8, two a decade: the command's default grid.
DEFAULT_ALPHAS = tuple(10.0 ** (i / 2) for i in range(17))


class RidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with one alpha a voxel, chosen by cross-validation over folds of rows.

    Minimises ‖y_v − X w_v‖² + α_v ‖w_v‖² for every column of Y, as `voxelcast ridge` does, with
    the same numbers.

    Parameters
    ----------
    alphas : array of shape (n_alphas,)
        The grid, positive, in any order, each once. Equal scores go to the larger alpha.
    cv : int, splitter or list
        A number of folds: groups are dealt to them in order of first appearance; without groups,
        neighbouring rows are a fold. Or a splitter, a list of (training rows, validation rows), or
        a list of validation rows. Splits that hold out different rows and train on all others are
        one fit; any others are a fit each, and take that much longer.
    scoring : "correlation" or "r2"
        Validation score, and what `score` gives.
    solver : "auto", "gram", "dual" or "svd"
        `solver_` says which was taken and why.
    device : "auto", "cpu" or "cuda"
        Where voxels are solved.
    fit_intercept : bool
        Centre X and Y by their training means.
    alpha_tolerance : float
        Take the smallest alpha within this share of the best score.
    n_threads : int or None
        Threads; None: one a core.
    progress : bool or callable
        True: a bar on stderr. A function is called with (voxels done, voxels in all).

    Attributes
    ----------
    best_alphas_ : array of shape (n_targets,)
        NaN for a voxel that cannot be fitted: constant, or with NaN.
    coef_ : array of shape (n_features, n_targets), or (n_features,) for a one-dimensional Y
    intercept_ : array of shape (n_targets,), or a float
    cv_scores_ : array of shape (n_alphas, n_targets)
        Mean over folds, in the order of `alphas`.
    solver_ : str
    """

    def __init__(
        self,
        alphas: ArrayLike = DEFAULT_ALPHAS,
        cv: Any = 5,
        scoring: str = "correlation",
        solver: str = "auto",
        device: str = "auto",
        fit_intercept: bool = True,
        *,
        alpha_tolerance: float = 0.0,
        n_threads: int | None = None,
        progress: Progress = False,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.solver = solver
        self.device = device
        self.fit_intercept = fit_intercept
        self.alpha_tolerance = alpha_tolerance
        self.n_threads = n_threads
        self.progress = progress

    def fit(self, X: ArrayLike, Y: ArrayLike, groups: ArrayLike | None = None) -> RidgeCV:
        """Fits X (n_samples, n_features) to Y (n_samples,) or (n_samples, n_targets).

        groups : (n_samples,) labels of what is held out together, stories or runs; see `cv`.
        Y may be a memory map: it is read in tiles. A column of Y with NaN, or that is constant, is
        left out with a warning; NaN in X, or in a one-dimensional Y, is an error.
        """
        if Y is None:
            raise ValueError("RidgeCV requires y to be passed, but the target y is None")
        X = self._design(X, reset=True)
        Y, is_vector = _targets(Y, X.shape[0])
        cv, settings = checked_cv(self.cv, X, Y, groups), self._settings()
        progress = progress_of(self.progress)
        if isinstance(cv, Folds):
            fitted = _voxelcast.fit_ridge(X, Y, cv.of_rows, cv.n_held_out, settings, progress)
        else:
            fitted = fit_splits(X, Y, cv, settings, progress)
        self._take(fitted, is_vector)
        warn_of(fitted["warnings"])
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """(n_samples, n_targets), or (n_samples,) where Y had one dimension."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self._design(X, reset=False) @ self.coef_ + self.intercept_
        return predicted

    def score(self, X: ArrayLike, y: ArrayLike) -> Any:
        """The score that `scoring` names, of each column of y; NaN where it is not defined.

        A float where y has one dimension, as scikit-learn's searches need it.
        """
        predicted = self.predict(X)
        score = correlation_score if self.scoring == "correlation" else r2_score
        return score(y, predicted)

    def _design(self, X: ArrayLike, reset: bool) -> NDArray[Any]:
        least = 2 if reset else 1
        types = [np.float64, np.float32]
        X = validate_data(self, X, reset=reset, dtype=types, ensure_min_samples=least)
        return np.require(X, requirements="A")

    def _settings(self) -> dict[str, Any]:
        alphas = np.sort(np.asarray(self.alphas, np.float64).ravel())
        return {
            "alphas": alphas.tolist(),
            "scoring": self.scoring,
            "solver": self.solver,
            "device": self.device,
            "fit_intercept": bool(self.fit_intercept),
            "alpha_tolerance": self.alpha_tolerance,
            "n_threads": self.n_threads,
        }

    def _take(self, fitted: dict[str, Any], is_vector: bool) -> None:
        alphas = np.asarray(self.alphas, np.float64).ravel()
        scores = fitted["cv_scores"]
        if (np.diff(alphas) < 0).any():
            scores = scores[np.argsort(np.argsort(alphas))]
        self.cv_scores_ = scores
        self.best_alphas_ = fitted["best_alphas"]
        self.coef_ = fitted["coef"][:, 0] if is_vector else fitted["coef"]
        self.intercept_ = fitted["intercept"][0] if is_vector else fitted["intercept"]
        self.solver_ = fitted["solver"]


def _targets(Y: ArrayLike, n_rows: int) -> tuple[NDArray[Any], bool]:
    """Y as a matrix of floats, and whether it had one dimension."""
    numeric = getattr(getattr(Y, "dtype", None), "kind", "O") in "biuf"
    dtype = None if numeric else "numeric"
    checked: NDArray[Any] = check_array(
        Y, dtype=dtype, ensure_2d=False, ensure_all_finite=False, input_name="y"
    )
    is_vector = checked.ndim == 1
    if is_vector:
        assert_all_finite(checked, input_name="y")
    if checked.shape[0] != n_rows:
        raise ValueError(f"Y: expected {n_rows} rows as in X, got {checked.shape[0]}")
    return as_matrix("Y", checked), is_vector
