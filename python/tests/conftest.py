"""Data that all tests share, and the command to compare with."""

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def command():
    """Runs `voxelcast`, the program of this checkout; returns its stdout."""
    default = ROOT / "target" / "release" / "voxelcast"
    program = Path(os.environ.get("VOXELCAST_BIN", default))
    assert program.exists(), f"{program} is missing: cargo build --release, or set VOXELCAST_BIN"

    def run(*args):
        line = [str(program), "--quiet", *map(str, args)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def planted(seed, n_rows, n_features, n_targets, dtype=np.float32):
    """X, Y that follows it with noise, and stories of different length, some in two pieces."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features)) + 0.3
    W = rng.standard_normal((n_features, n_targets)) / np.sqrt(n_features)
    noise = rng.standard_normal((n_rows, n_targets)) * np.linspace(0.5, 4, n_targets)
    Y = X @ W + noise + 3
    groups = rng.integers(0, 11, -(-n_rows // 5)).repeat(5)[:n_rows]
    return SimpleNamespace(X=X.astype(dtype), Y=Y.astype(dtype), groups=groups)


@pytest.fixture(scope="session")
def data():
    """220 rows in 11 stories, 23 features, 70 voxels."""
    return planted(1, 220, 23, 70)
