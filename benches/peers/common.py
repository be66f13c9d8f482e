"""What every peer's driver shares: its arguments, the data it reads, the files and line it writes.

A driver is a whole program: .npy files in, results on disk, one JSON line on stdout with
`inside_s` (the peer's own work on arrays in memory) and `total_s` (from its first line to its last,
imports, reading and writing included). compare.py times the process from outside as well.
Import this first: it starts the clock.
"""

import time

STARTED = time.perf_counter()

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np


def arguments(doc):
    """Parser with the arguments all drivers take."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--data", type=Path, required=True, help="folder made by data.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    return parser


def n_threads():
    return int(os.environ["OMP_NUM_THREADS"])


def himalaya(doc):
    """Arguments of himalaya's drivers, and its backend on the CPU."""
    parser = arguments(doc)
    parser.add_argument("--backend", choices=["torch", "numpy"], required=True)
    parser.add_argument("--n-targets-batch", type=int, help="default: all voxels at once")
    parser.add_argument("--n-alphas-batch", type=int, help="default: all alphas at once")
    args = parser.parse_args()
    from himalaya.backend import set_backend

    backend = set_backend(args.backend)
    if args.backend == "torch":
        import torch

        torch.set_num_threads(n_threads())
    return args, backend


def load_ridge(data):
    """x (n_trs, n_features), y (n_trs, n_voxels) f32, alphas f64, list of (train, val) rows."""
    x, y = np.load(data / "x.npy"), np.load(data / "y.npy")
    fold_ids = np.load(data / "fold_ids.npy")
    cv = [(np.flatnonzero(fold_ids != k), np.flatnonzero(fold_ids == k)) for k in np.unique(fold_ids)]
    return x, y, np.load(data / "alphas.npy"), cv


def save(out, **arrays):
    out.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", array)


def threads_in_use():
    """The largest number of threads of any library that was loaded."""
    from threadpoolctl import threadpool_info

    counts = [pool["num_threads"] for pool in threadpool_info()]
    if "torch" in sys.modules:
        counts.append(sys.modules["torch"].get_num_threads())
    return max(counts, default=1)


def report(inside_s, **more):
    line = {"inside_s": round(inside_s, 4), "total_s": round(time.perf_counter() - STARTED, 4)}
    if os.environ.get("PEERS_COUNT_THREADS"):  # the warm-up only: it takes time
        line["threads"] = threads_in_use()
    print(json.dumps(line | more), flush=True)
