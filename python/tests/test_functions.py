"""Resampling, delays, scores, vectors: against plain NumPy and the command."""

import gzip

import numpy as np
import pytest

from voxelcast import FitWarning, correlation_score, lanczos_resample, load_vectors, make_delayed


def lanczos_formula(data, old, new, window, cutoff_mult):
    """DESIGN section 1.3, dense."""
    cutoff = cutoff_mult / np.mean(np.diff(new))
    t = (new[:, None] - old[None, :]) * cutoff
    with np.errstate(invalid="ignore", divide="ignore"):
        weights = window * np.sin(np.pi * t) * np.sin(np.pi * t / window) / (np.pi * t) ** 2
    weights[t == 0] = 1
    weights[np.abs(t) > window] = 0
    return weights @ data


@pytest.mark.parametrize(("window", "cutoff_mult"), [(3, 1.0), (2, 0.5), (5, 2.0)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_resampled_rows_are_the_formulas(window, cutoff_mult, dtype):
    rng = np.random.default_rng(0)
    old, new = np.sort(rng.uniform(0, 60, 90)), np.arange(1.0, 60, 2)
    data = rng.standard_normal((90, 7)).astype(dtype)
    found = lanczos_resample(data, old, new, window, cutoff_mult)
    expected = lanczos_formula(data.astype(np.float64), old, new, window, cutoff_mult)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-12)
    fortran = lanczos_resample(np.asfortranarray(data), old, new, window=window,
                               cutoff_mult=cutoff_mult)  # fmt: skip
    np.testing.assert_array_equal(fortran, found)
    column = lanczos_resample(data[:, 0], old, new, window, cutoff_mult)
    np.testing.assert_array_equal(column, found[:, 0])


def test_resampling_is_the_commands(command, tmp_path):
    rng = np.random.default_rng(1)
    arrays = {"d": rng.standard_normal((40, 3)), "old": rng.uniform(0, 30, 40),
              "new": np.arange(0.0, 30, 1.5)}  # fmt: skip
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    command("resample", "--data", tmp_path / "d.npy", "--old-times", tmp_path / "old.npy",
            "--new-times", tmp_path / "new.npy", "--out", tmp_path / "o.npy")  # fmt: skip
    found = lanczos_resample(*arrays.values())
    np.testing.assert_array_equal(found, np.load(tmp_path / "o.npy"))
    with pytest.raises(ValueError, match="one for each of 39 times"):
        lanczos_resample(arrays["d"], arrays["old"][1:], arrays["new"])


def test_delays_shift_rows_within_their_story(command, tmp_path):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((17, 3)).astype(np.float32)
    groups = np.repeat([5, 2, 9], [6, 1, 10])
    found = make_delayed(X, [1, 0, 4, -2], groups)
    expected = np.zeros((17, 12), np.float32)
    for d, delay in enumerate([1, 0, 4, -2]):
        for row in range(17):
            source = row - delay
            if 0 <= source < 17 and groups[source] == groups[row]:
                expected[row, 3 * d : 3 * d + 3] = X[source]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.save(tmp_path / "x.npy", X)
    command("delay", "--x", tmp_path / "x.npy", "--delays", "1,2", "--out", tmp_path / "o.npy")
    plain = make_delayed(X, [1, 2])
    np.testing.assert_array_equal(plain, np.load(tmp_path / "o.npy"))
    wide = make_delayed(np.asfortranarray(X, np.float64), range(1, 3))
    np.testing.assert_array_equal(wide, plain.astype(np.float64))
    with pytest.raises(ValueError, match="delay"):
        make_delayed(X, [1, 1])


def test_correlations_are_numpys_and_nan_where_there_is_none():
    rng = np.random.default_rng(4)
    Y = rng.standard_normal((50, 9)) + 100
    P = Y + rng.standard_normal((50, 9)) * np.arange(1, 10)
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(Y.T, P.T, strict=True)]
    # Values are rounded to f32 first: 100 is off by 4e-6, under sd 1.
    np.testing.assert_allclose(correlation_score(Y, P), r, atol=1e-5)
    assert isinstance(correlation_score(Y[:, 0], P[:, 0]), float)
    P[:, 2], P[4, 3] = 7, np.nan
    found = correlation_score(Y, P)
    assert np.flatnonzero(np.isnan(found)).tolist() == [2, 3]
    with pytest.raises(ValueError, match="expected the shape"):
        correlation_score(Y, P[1:])


def test_vectors_are_looked_up_as_by_the_command(tmp_path):
    path = tmp_path / "vectors.txt.gz"
    with gzip.open(path, "wt") as file:
        file.write("the 1 2 3\nParis -1 0.5 2\nhouse 4 5 6\nunused 9 9 9\n")
    words = ["The", "house", "nothing", "Paris", "house", "nothing"]
    with pytest.warns(FitWarning, match="2 of 6 words have no vector: nothing"):
        found = load_vectors(path, words)
    assert found.dtype == np.float32
    expected = [[1, 2, 3], [4, 5, 6], [0, 0, 0], [-1, 0.5, 2], [4, 5, 6], [0, 0, 0]]
    np.testing.assert_array_equal(found, expected)
    # word2vec's binary format: looked up capitalised too.
    binary = tmp_path / "vectors.bin"
    rows = {"Paris": [1, 2], "house": [3, 4]}
    body = b"".join(k.encode() + b" " + np.array(v, "<f4").tobytes() for k, v in rows.items())
    binary.write_bytes(b"2 2\n" + body)
    np.testing.assert_array_equal(load_vectors(binary, ["paris", "house"]), [[1, 2], [3, 4]])
    with pytest.raises(OSError, match="missing.bin"):
        load_vectors(tmp_path / "missing.bin", ["a"])
