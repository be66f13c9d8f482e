"""Voxelwise encoding models: the engine of the command `voxelcast` on NumPy arrays."""

from ._checks import FitWarning
from ._functions import correlation_score, lanczos_resample, load_vectors, make_delayed
from ._moments import Moments
from ._ridge import RidgeCV
from ._voxelcast import __version__

__all__ = [
    "FitWarning",
    "Moments",
    "RidgeCV",
    "__version__",
    "correlation_score",
    "lanczos_resample",
    "load_vectors",
    "make_delayed",
]
