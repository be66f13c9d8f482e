"""The engine. Use the functions and classes of `voxelcast` in place of these."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

_Floats = NDArray[np.float32] | NDArray[np.float64]
_Progress = Callable[[int, int, str | None], object] | None

def fit_ridge(
    x: _Floats,
    y: _Floats,
    folds: NDArray[np.int64],
    n_held_out: int | None,
    settings: Mapping[str, Any],
    progress: _Progress,
) -> dict[str, Any]: ...
def sum_moments(
    x: _Floats,
    y: _Floats,
    parts: Sequence[int],
    n_threads: int | None,
    progress: _Progress,
) -> dict[str, Any]: ...
def solve_moments(
    sums: Mapping[str, Any],
    folds: Sequence[int],
    settings: Mapping[str, Any],
    progress: _Progress,
) -> dict[str, Any]: ...
def deal_folds(groups: NDArray[np.int64], n_folds: int) -> NDArray[np.int64]: ...
def lanczos_resample(
    data: _Floats,
    old_times: NDArray[np.float64],
    new_times: NDArray[np.float64],
    window: int,
    cutoff_mult: float,
) -> NDArray[np.float64]: ...
def make_delayed(
    x: _Floats, delays: Sequence[int], groups: NDArray[np.int64] | None
) -> _Floats: ...
def correlation_score(y: _Floats, y_pred: _Floats) -> NDArray[np.float32]: ...
def load_vectors(
    path: str | PathLike[str], words: Sequence[str]
) -> tuple[NDArray[np.float32], list[str]]: ...
