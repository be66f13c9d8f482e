"""Lanczos resampling of words to TRs, dense and in f64, from the formula alone.

    cutoff = cutoff_mult / mean(diff(new_times)),  t = (new - old) cutoff
    weight = window sin(pi t) sin(pi t / window) / (pi^2 t^2), 1 at t = 0, 0 for |t| > window
    out    = weights @ data, rows not renormalised

NumPy 2.4.6 for random numbers and files; sines and sums are the C library's and math.fsum's, so
that no vector instruction has a say in the last bit. Run through scripts/golden.
"""

import math
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def weight(t, window):
    if t == 0.0:
        return 1.0
    if abs(t) > window:
        return 0.0
    return window * math.sin(math.pi * t) * math.sin(math.pi * t / window) / (math.pi**2 * t**2)


def dense_lanczos(data, old_times, new_times, window, cutoff_mult):
    steps = [b - a for a, b in zip(new_times[:-1], new_times[1:])]
    cutoff = cutoff_mult / (math.fsum(steps) / len(steps))
    out = np.empty((len(new_times), data.shape[1]))
    for i, new in enumerate(new_times):
        weights = [weight((new - old) * cutoff, window) for old in old_times]
        for j, column in enumerate(data.T):
            out[i, j] = math.fsum(w * float(v) for w, v in zip(weights, column))
    return out


def case(name, data, old_times, new_times, settings):
    np.save(HERE / f"{name}-data.npy", data)
    np.save(HERE / f"{name}-old_times.npy", old_times)
    np.save(HERE / f"{name}-new_times.npy", new_times)
    for window, cutoff_mult in settings:
        out = dense_lanczos(data, old_times.tolist(), new_times.tolist(), window, cutoff_mult)
        np.save(HERE / f"{name}-window{window:g}-mult{cutoff_mult:g}.npy", out)


rng = np.random.default_rng(3)

# Words at speech rate with a pause of 12 s, the first before the first TR, one exactly on a TR.
gaps = np.round(rng.gamma(2.0, 0.17, 61), 6)
gaps[30] = 12.0
words = np.cumsum(gaps) - 6.2
words[20] = 1.0
words = np.sort(words)
case(
    "story",
    rng.standard_normal((61, 3)),
    words,
    np.arange(20) * 2.0 - 9.0,
    [(3, 1), (2, 1), (5, 1), (3, 0.5), (3, 2), (2.5, 0.75)],
)

# TRs that are not evenly spaced: the cutoff comes from their mean step. Two words at one time.
uneven = np.cumsum(np.round(rng.uniform(1.2, 1.8, 12), 6))
case("uneven", rng.standard_normal((9, 2)), np.array([0.5, 2, 2, 4.25, 7, 9, 11, 13, 15.0]), uneven, [(3, 1)])

# One word; and none within reach of any TR.
case("one", np.array([[2.0, -1.0]]), np.array([3.3]), np.arange(5) * 2.0, [(3, 1)])
case("far", np.array([[2.0]]), np.array([100.0]), np.arange(5) * 2.0, [(3, 1)])
