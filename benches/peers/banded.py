"""Measures banded ridge against himalaya's random search on the same points and writes a record.

Started by scripts/bench-banded. Whole processes, interleaved, as compare.py runs them; the proof of
equal work is every point's CV score of some voxels against an f64 reference.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path

import compare  # first: sets threads and cores before NumPy

import numpy as np

import data as datasets
import machine

DATA = Path("target/banded-data")
SIZES = {
    "main": dict(trs=3000, features=512, voxels=4000, folds=5, stories=15, alphas=[0, 6, 20], points=20),
    "small": dict(trs=400, features=32, voxels=60, folds=5, stories=10, alphas=[0, 6, 20], points=3),
}
N_CHECKED = 64


def make_banded(folder, sizes):
    """The ridge comparison's data; two bands side by side, the second a third the size."""
    datasets.make_ridge(folder, sizes)
    rng = np.random.default_rng(119728)
    x = np.load(folder / "x.npy")
    bands = np.repeat([0, 1], [x.shape[1] // 2, x.shape[1] - x.shape[1] // 2])
    x[:, bands == 1] /= 3
    np.save(folder / "x.npy", x)
    np.save(folder / "bands.npy", bands)
    # As himalaya samples them: concentrations 0.1 and 1 in turn, the first point equal.
    points = np.stack([rng.dirichlet([c, c]) for c in np.resize([0.1, 1.0], sizes["points"])])
    points[0] = 0.5
    points = np.maximum(points, 1e-12)  # himalaya divides by their roots, in f32
    np.save(folder / "points.npy", points)


def scores_of(gram, xty, x, y, alphas):
    """Correlations of every alpha, (n_alphas, n_voxels), from an f64 eigenproblem."""
    values, vectors = np.linalg.eigh(gram)
    z, rotated = vectors.T @ xty, x @ vectors
    y = y - y.mean(0)
    found = np.empty((len(alphas), y.shape[1]))
    for i, alpha in enumerate(alphas):
        pred = rotated @ (z / (values + alpha)[:, None])
        pred -= pred.mean(0)
        found[i] = (pred * y).sum(0) / np.sqrt((pred**2).sum(0) * (y**2).sum(0))
    return found


def reference(folder):
    """(n_points, N_CHECKED) f64: each point's best mean score."""
    x, y = np.load(folder / "x.npy").astype("f8"), np.load(folder / "y.npy")[:, :N_CHECKED].astype("f8")
    bands, alphas = np.load(folder / "bands.npy"), np.load(folder / "alphas.npy")
    points, fold_ids = np.load(folder / "points.npy"), np.load(folder / "fold_ids.npy")
    found = np.zeros((len(points), len(alphas), y.shape[1]))
    folds = np.unique(fold_ids)
    for k in folds:
        train, val = fold_ids != k, fold_ids == k
        centred, y_train = x[train] - x[train].mean(0), y[train] - y[train].mean(0)
        gram, xty = centred.T @ centred, centred.T @ y_train
        for i, point in enumerate(points):
            d = np.sqrt(point)[bands]
            found[i] += scores_of(d[:, None] * gram * d, d[:, None] * xty, x[val] * d, y[val], alphas)
    return (found / len(folds)).max(1)


def checker(folder):
    expected = reference(folder)

    def check(out):
        scores = np.load(out / "point_scores.npy")[:, : expected.shape[1]]
        band_alphas = np.load(out / "band_alphas.npy")
        off = float(np.abs(scores - expected).max())
        # What a voxel loses by the point it chose, in the reference's scores.
        points = np.load(folder / "points.npy")
        gammas = (1 / band_alphas) / (1 / band_alphas).sum(0)
        chosen = np.abs(gammas[0][None] - points[:, :1] / points.sum(1, keepdims=True)).argmin(0)
        n = expected.shape[1]
        lost = float((expected.max(0) - expected[chosen[:n], np.arange(n)]).max())
        return {"largest_diff": off, "largest_score_lost": lost, "voxels_checked": n}

    return check


def voxelcast(folder, out):
    low, high, n = json.loads((folder / "problem.json").read_text())["alphas"]
    file = lambda name: folder / f"{name}.npy"
    return [
        compare.VOXELCAST, "ridge", "--x", file("x"), "--y", file("y"), "--fold-ids", file("fold_ids"),
        "--alphas", f"logspace({low},{high},{n})", "--band-ids", file("bands"),
        "--band-weights", file("points"), *compare.SAME_THREADS, "--out", out,
    ]  # fmt: skip


def himalaya(backend, batches=(None, None)):
    flags = ["--backend", backend]
    for flag, size in zip(("--n-targets-batch", "--n-alphas-batch"), batches):
        flags += [flag, str(size)] if size else []
    return compare.driver("banded_himalaya.py", *flags)


CONTENDERS = {
    "voxelcast": voxelcast,
    "himalaya-torch": himalaya("torch"),
    "himalaya-torch-batched": himalaya("torch", compare.BEST_KNOWN_BATCHES),
    "himalaya-numpy": himalaya("numpy"),
}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench-banded", description=__doc__)
    option = parser.add_argument
    option("--small", action="store_true", help="a second each, to see that they run; no record")
    option("--only", type=lambda t: t.split(","), default=list(CONTENDERS), metavar="NAME,…")
    option("--runs", type=int, metavar="N", help="runs of each; default 3 of ours, 1 of himalaya's")
    option("--points", type=int, metavar="N", help="search points, default 20")
    option("--timeout", type=float, default=3600, metavar="S", help="seconds for one run")
    args = parser.parse_args()
    problem = "small" if args.small else "main"
    if args.points:
        SIZES[problem] = SIZES[problem] | {"points": args.points}
    folder, small = DATA / f"{problem}-{SIZES[problem]['points']}", DATA / "small"
    datasets.ensure(small, make_banded, SIZES["small"])
    datasets.ensure(folder, make_banded, SIZES[problem])
    record = machine.header(
        "voxelcast.peers.banded/1", " ".join(["scripts/bench-banded", *sys.argv[1:]]), compare.N_THREADS, compare.PACKAGES
    ) | {
        "problem": {"name": problem, "bands": 2} | SIZES[problem],
        "how": "whole processes, files in the page cache to results on disk, interleaved, same cores and threads",
    }
    contenders = {name: CONTENDERS[name] for name in args.only}
    n_runs = lambda name: args.runs or (3 if name == "voxelcast" else 1)
    results = compare.measure(contenders, n_runs, folder, small, checker(folder), args.timeout)
    record["contenders"] = results
    record["machine"]["load_after"] = machine.load()
    path = Path("benches/records") / f"{datetime.date.today().isoformat()}-cpu-banded.json"
    if args.small:
        path = DATA / path.name
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(compare.table("banded", results))
    print(path)
    return not any("failed" in result for result in results.values())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
