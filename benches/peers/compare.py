"""Runs voxelcast and its peers on the same problem, each as a whole process, and writes a record.

Started by scripts/bench-peers, which makes the Python environment and builds voxelcast.
Every contender first runs once on the small problem, untimed: that proves it works and brings its
code into the page cache. Then the runs, interleaved: a contender's only run falls in the middle of
the other's three. After each run its results are compared with the f64 reference.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

N_THREADS = int(os.environ["THREADS"])  # before NumPy: its BLAS reads the environment once
for name in ("OMP", "MKL", "OPENBLAS", "RAYON"):
    os.environ[f"{name}_NUM_THREADS"] = str(N_THREADS)
os.environ["CUDA_VISIBLE_DEVICES"] = ""
TUNING_UNSET = machine.unset_tuning()
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:N_THREADS])

import numpy as np

import data as datasets
import reference as truth

ROOT = machine.ROOT
PEERS = Path("benches/peers")
DATA = Path("target/peers-data")
SCRATCH = Path("target/peers-out")
VOXELCAST = machine.VOXELCAST
PACKAGES = ("himalaya", "torch", "numpy", "scikit-learn", "scipy", "gensim")

RIDGE = ("voxelcast", "himalaya-torch", "himalaya-torch-batched", "himalaya-numpy", "sklearn")
COMPARISONS = ("ridge", "loading", "lanczos")
# Batches tried by --sweep, beside none at all: (n_targets_batch, n_alphas_batch) for each problem.
SWEEP = {
    "main": ((None, 1), (4000, 2), (2000, 2), (2000, 5), (1000, 1), (1000, 5), (500, 20)),
    "himalaya": (
        (None, 1), (15000, 1), (10000, 2), (7500, 5), (4000, 2), (2000, 2), (2000, 5), (1000, 5), (500, 20),
    ),
    "small": ((None, 1), (30, 2), (30, 20)),
}
BEST_KNOWN_BATCHES = (2000, 2)


def note(text):
    print(f"bench-peers: {text}", file=sys.stderr, flush=True)


# --- what each contender is called with -------------------------------------------------------


def driver(script, *flags):
    """A command for one of our drivers, as a function of data and output folders."""
    return lambda data, out: [sys.executable, PEERS / script, "--data", data, "--out", out, *flags]


def himalaya(backend, batches=(None, None)):
    flags = ["--backend", backend]
    for flag, size in zip(("--n-targets-batch", "--n-alphas-batch"), batches):
        flags += [flag, str(size)] if size else []
    return driver("himalaya_ridge.py", *flags)


SAME_THREADS = ("--device", "cpu", "--threads", str(N_THREADS))


def voxelcast_ridge(data, out):
    low, high, n = json.loads((data / "problem.json").read_text())["alphas"]
    return [
        VOXELCAST, "ridge", "--x", data / "x.npy", "--y", data / "y.npy", "--fold-ids", data / "fold_ids.npy",
        "--alphas", f"logspace({low},{high},{n})", *SAME_THREADS, "--out", out,
    ]


def voxelcast_features(data, out):
    return [
        VOXELCAST, "features", "--stories", data / "story.tsv", "--kind", "word2vec",
        "--vectors", data / "vectors.bin", *SAME_THREADS, "--out", out,
    ]


def voxelcast_resample(data, out):
    out.mkdir(parents=True)
    return [
        VOXELCAST, "resample", "--data", data / "data.npy", "--old-times", data / "old_times.npy",
        "--new-times", data / "new_times.npy", *SAME_THREADS, "--out", out / "resampled.npy",
    ]


CONTENDERS = {
    "ridge": {
        "voxelcast": voxelcast_ridge,
        "himalaya-torch": himalaya("torch"),
        "himalaya-torch-batched": himalaya("torch", BEST_KNOWN_BATCHES),
        "himalaya-numpy": himalaya("numpy"),
        "sklearn": driver("sklearn_ridge.py"),
    },
    "loading": {"voxelcast": voxelcast_features, "gensim": driver("gensim_load.py")},
    "lanczos": {"voxelcast": voxelcast_resample, "numpy": driver("numpy_lanczos.py")},
}


def settings(name, batches):
    """What a record's reader must know about a contender beside its command."""
    if name == "sklearn":
        return "Ridge.fit per fold and alpha, scores by NumPy: scikit-learn has no such estimator"
    if name == "himalaya-torch-batched":
        return f"n_targets_batch {batches[0]}, n_alphas_batch {batches[1]}"
    return "its defaults"


# --- one run ----------------------------------------------------------------------------------


def run(make_command, data, timeout_s, **environment):
    """One whole process. Returns (its measures, output folder); raises RuntimeError if it fails."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    out, stdout, stderr, result = (SCRATCH / name for name in ("run", "stdout", "stderr", "measures.json"))
    command = [str(part) for part in make_command(data, out)]
    launch = [sys.executable, "-I", "-S", PEERS / "launch.py", result, str(timeout_s), stdout, stderr]
    launched = subprocess.run(
        [*launch, *command], stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    if launched.returncode != 0:
        raise RuntimeError((launched.stderr.strip().splitlines() or ["the launcher was killed"])[-1])
    measures = json.loads(result.read_text())
    code = measures.pop("exit")
    if code != 0:
        why = f"killed after {timeout_s:g} s" if measures["seconds"] >= timeout_s else f"exit {code}"
        last = (stderr.read_text().strip().splitlines() or ["nothing on stderr"])[-1]
        raise RuntimeError(f"{why}: {last}".replace(f"{ROOT}/", ""))
    if command[0] == sys.executable:
        measures |= json.loads(stdout.read_text().strip().splitlines()[-1])
    return measures, out


def checker(comparison, folder):
    """A function from an output folder to the proof of equal work."""
    if comparison == "ridge":
        note(f"f64 reference on {truth.N_VOXELS} voxels")
        expected = truth.ridge_reference(folder)
        return lambda out: truth.ridge_equal_work(out, expected)
    if comparison == "loading":
        expected = np.load(folder / "expected.npy")
        return lambda out: truth.array_equal_work(out / "peerstory.words.npy", expected, len(expected))
    n_trs = len(np.load(folder / "new_times.npy"))
    trs, expected = truth.lanczos_reference(folder)
    return lambda out: truth.array_equal_work(out / "resampled.npy", expected, n_trs, trs)


def into_page_cache(folder):
    for path in folder.iterdir():
        with open(path, "rb") as file:
            while file.read(1 << 24):
                pass


def best_alphas(out):
    """Kept from every ridge contender, to compare them with each other over all voxels."""
    path = out / "best_alpha.npy"
    return np.load(path).ravel() if path.exists() else None


def measure(contenders, n_runs, data, small, check, timeout_s):
    """All runs of all contenders, interleaved. Returns name → result for the record."""
    results = {name: {"runs": []} for name in contenders}
    chosen = {}
    for name, make_command in contenders.items():
        try:
            note(f"{name}: warm-up on the small problem")
            measures, _ = run(make_command, small, timeout_s, PEERS_COUNT_THREADS="1")
            # A driver counts what its libraries really have; voxelcast is told with --threads.
            threads = measures.get("threads", N_THREADS)
            if threads != N_THREADS:
                raise RuntimeError(f"it has {threads} threads, the others {N_THREADS}")
            results[name]["threads"] = threads
        except RuntimeError as error:
            results[name]["failed"] = f"small problem: {error}"
    plan = [((i + 0.5) / n_runs(name), name) for name in contenders for i in range(n_runs(name))]
    for _, name in sorted(plan, key=lambda entry: entry[0]):
        if "failed" in results[name]:
            continue
        into_page_cache(data)
        try:
            measures, out = run(contenders[name], data, timeout_s)
            results[name]["equal_work"] = check(out)
            chosen[name] = best_alphas(out)
        except FileNotFoundError as error:
            results[name]["failed"] = f"exit 0, but it wrote no {Path(error.filename).name}"
            continue
        except (RuntimeError, ValueError) as error:
            results[name]["failed"] = str(error)
            continue
        results[name]["runs"].append(measures)
        note(f"{name}: {measures['seconds']:.2f} s, {measures['peak_rss_mib']:.0f} MiB")
    ours = chosen.get("voxelcast")
    for name, result in results.items():
        if "failed" in result:
            note(f"{name}: FAILED, {result['failed']}")
        if result["runs"]:
            seconds = [r["seconds"] for r in result["runs"]]
            result["median_s"] = statistics.median(seconds)
            result["min_s"], result["max_s"] = min(seconds), max(seconds)
        if ours is not None and chosen.get(name) is not None:
            same = np.abs(chosen[name] / ours - 1) < 1e-4
            result["best_alpha_same_as_voxelcast_all_voxels"] = float(same.mean())
    base = results.get("voxelcast", {}).get("median_s")
    for result in results.values():
        if base and "median_s" in result:
            result["ratio_to_voxelcast"] = round(result["median_s"] / base, 3)
    return results


# --- the record -------------------------------------------------------------------------------


def gemm_yardstick(data):
    """Best of five f32 XᵀY by NumPy's BLAS, in this process, arrays in memory."""
    x, y = np.load(data / "x.npy"), np.load(data / "y.npy")
    x.T @ y
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        x.T @ y
        seconds.append(time.perf_counter() - start)
    best = min(seconds)
    flop = 2 * x.shape[0] * x.shape[1] * y.shape[1]
    return {"seconds": round(best, 5), "gflop_per_s": round(flop / best / 1e9, 1)}


def own_yardstick(sizes):
    """`voxelcast bench` on the same sizes, arrays in memory: its own GEMM ratio, stage by stage."""
    note("voxelcast bench: the GEMM ratio")
    names = ("trs", "features", "voxels", "folds")
    try:
        found = machine.bench(
            N_THREADS, **{name: sizes[name] for name in names}, alphas=sizes["alphas"][2], design="formed"
        )
    except (OSError, subprocess.CalledProcessError) as error:
        note(f"voxelcast bench: FAILED, {error}")
        return {"failed": str(error)}
    note(f"voxelcast bench: {found['seconds']:.2f} s, GEMM ratio {found['gemm_ratio']:.2f}")
    return found


def table(comparison, results):
    """The record for a person: one line a contender, with the column that proves equal work."""
    lines = [f"{comparison:<24}{'median s':>10}{'min':>9}{'max':>9}{'x voxelcast':>13}{'MiB':>8}  equal work"]
    for name, r in results.items():
        if not r["runs"]:
            lines.append(f"{name:<24}  failed: {r['failed']}")
            continue
        work = r["equal_work"]
        proof = f"largest diff {work['largest_diff']:.1e}" if "largest_diff" in work else (
            f"alphas {100 * work['best_alpha_agreement']:.2f} %, lost {work['largest_score_lost']:.0e}, "
            f"scores {work['largest_cv_score_diff']:.1e}, coef {work['largest_coef_relative_diff']:.1e}"
        )
        ratio = r.get("ratio_to_voxelcast", "-")
        peak = max(run["peak_rss_mib"] for run in r["runs"])
        lines.append(
            f"{name:<24}{r['median_s']:>10.3f}{r['min_s']:>9.3f}{r['max_s']:>9.3f}{ratio:>13}{peak:>8.0f}  {proof}"
            + (f"  (then failed: {r['failed']})" if "failed" in r else "")
        )
    return "\n".join(lines)


def sweep(tried, data, small, check, timeout_s):
    """himalaya on torch with every pair of batch sizes, once. Returns (best batches, results)."""
    contenders = {f"{t}/{a}": himalaya("torch", (t, a)) for t, a in tried}
    results = measure(contenders, lambda _: 1, data, small, check, timeout_s)
    timed = {name: r["median_s"] for name, r in results.items() if "median_s" in r}
    best = min(timed, key=timed.get) if timed else None
    note(f"sweep: best n_targets_batch/n_alphas_batch is {best}")
    return (dict(zip(results, tried))[best] if best else BEST_KNOWN_BATCHES), results


def compare(comparison, names, args, record_path):
    problem = args.problem if comparison == "ridge" or args.problem == "small" else "main"
    maker, sizes = {
        "ridge": (datasets.make_ridge, datasets.RIDGE),
        "loading": (datasets.make_loading, datasets.LOADING),
        "lanczos": (datasets.make_lanczos, datasets.LANCZOS),
    }[comparison]
    data, small = DATA / f"{comparison}-{problem}", DATA / f"{comparison}-small"
    note(f"{comparison}: data of problem {problem}")
    datasets.ensure(small, maker, sizes["small"])
    datasets.ensure(data, maker, sizes[problem])
    command = " ".join(["scripts/bench-peers", *sys.argv[1:]])
    record = machine.header(f"voxelcast.peers.{comparison}/1", command, N_THREADS, PACKAGES) | {
        "problem": {"name": problem} | sizes[problem],
        "how": "whole processes, files in the page cache to results on disk, interleaved, same cores and threads",
        "environment_unset": TUNING_UNSET,
    }
    check = checker(comparison, data)
    contenders = {n: c for n, c in CONTENDERS[comparison].items() if comparison != "ridge" or n in names}
    batches = BEST_KNOWN_BATCHES
    if comparison == "ridge":
        record["gemm"] = gemm_yardstick(data)
        record["voxelcast_bench"] = own_yardstick(sizes[problem])
        if args.sweep and "himalaya-torch-batched" in contenders:
            batches, record["sweep"] = sweep(SWEEP[problem], data, small, check, args.timeout)
            contenders["himalaya-torch-batched"] = himalaya("torch", batches)

    def n_runs(name):
        return args.runs or (3 if name == "voxelcast" or comparison != "ridge" else 1)

    results = measure(contenders, n_runs, data, small, check, args.timeout)
    for name, result in results.items():
        result["settings"] = settings(name, batches)
    ours = results.get("voxelcast", {}).get("median_s")
    if comparison == "ridge" and ours:
        record["gemm"]["voxelcast_ratio_whole_process"] = round(ours / record["gemm"]["seconds"], 2)
    record["contenders"] = results
    record["machine"]["load_after"] = machine.load()
    record_path.parent.mkdir(parents=True, exist_ok=True)
    record_path.write_text(json.dumps(record, indent=1) + "\n")
    print(table(comparison, results))
    print(record_path)
    return not any("failed" in r for r in results.values())


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-peers", description="Measures voxelcast against its peers and writes records.",
        epilog="THREADS=N in the environment: threads and cores for every contender (default 2). "
        "PYTHON=python3.11: the interpreter that target/peers-venv is made from.",
    )
    names = f"comparisons ({', '.join(COMPARISONS)}) or contenders of ridge ({', '.join(RIDGE)})"
    option = parser.add_argument
    option("--only", type=lambda t: t.split(","), default=list(COMPARISONS), metavar="NAME,…", help=names)
    option("--problem", choices=list(datasets.RIDGE), default="main", help="default main; small is quick")
    option("--runs", type=int, metavar="N", help="runs of each; default 3, and 1 for ridge's peers")
    option("--sweep", action="store_true", help="try pairs of batch sizes of himalaya on torch")
    option("--timeout", type=float, default=3600, metavar="S", help="seconds for one run, default 3600")
    option("--out", type=Path, metavar="DIR", help="default benches/records; small: target/peers-data")
    option("--force", action="store_true", help="replace a record of the same day")
    args = parser.parse_args()
    for name in args.only:
        if name not in COMPARISONS + RIDGE:
            parser.error(f"--only: {name} is none of {', '.join(COMPARISONS + RIDGE)}")
    if args.runs is not None and args.runs < 1:
        parser.error("--runs: at least 1")
    return parser, args


def main():
    os.chdir(ROOT)
    parser, args = parse()
    chosen = [n for n in RIDGE if n in args.only] or list(RIDGE)
    todo = [c for c in COMPARISONS if c in args.only or (c == "ridge" and set(RIDGE) & set(args.only))]
    folder = args.out or (DATA if args.problem == "small" else Path("benches/records"))
    today = datetime.date.today().isoformat()
    tail = "" if args.problem == "main" else f"-{args.problem}"
    records = {}
    for comparison in todo:  # loading and lanczos have no himalaya problem
        named = tail if comparison == "ridge" or args.problem == "small" else ""
        records[comparison] = folder / f"{today}-cpu-{comparison}{named}.json"
    taken = [str(path) for path in records.values() if path.exists()]
    if taken and not args.force and args.problem != "small":
        parser.error(f"{', '.join(taken)} exists: --force replaces it, --out writes elsewhere")
    worked = [compare(c, chosen, args, records[c]) for c in todo]
    shutil.rmtree(SCRATCH, ignore_errors=True)
    sys.exit(0 if all(worked) else 1)


if __name__ == "__main__":
    main()
