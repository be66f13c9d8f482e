"""Dense Lanczos resampling in NumPy: every TR against every word, then one matrix product.

The formula of HuthLab's lanczosinterp2D, written from DESIGN 1.3, and its way to do it: the weight
matrix is filled one TR at a time and exists in full.
"""

import common  # first: starts the clock

import time

import numpy as np

parser = common.arguments(__doc__)
parser.add_argument("--window", type=float, default=3.0)
args = parser.parse_args()


def weights_row(new_time, old_times, cutoff, window):
    t = (new_time - old_times) * cutoff
    with np.errstate(divide="ignore", invalid="ignore"):
        row = window * np.sin(np.pi * t) * np.sin(np.pi * t / window) / (np.pi**2 * t**2)
    row[t == 0] = 1.0
    row[np.abs(t) > window] = 0.0
    return row


data = np.load(args.data / "data.npy")
old_times = np.load(args.data / "old_times.npy")
new_times = np.load(args.data / "new_times.npy")

start = time.perf_counter()
cutoff = 1.0 / np.diff(new_times).mean()
weights = np.empty((len(new_times), len(old_times)))
for i, new_time in enumerate(new_times):
    weights[i] = weights_row(new_time, old_times, cutoff, args.window)
resampled = weights @ data
inside = time.perf_counter() - start

common.save(args.out, resampled=resampled)
common.report(inside)
