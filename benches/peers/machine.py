"""What every record says about where it was made: commit, machine, versions. Standard library only."""

import datetime
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VOXELCAST = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/voxelcast"

# A user's OpenBLAS tuning, made for another version of it, slows NumPy's own down.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# What voxelcast's commands on language models set for themselves (src/cli/heap.rs).
HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def measure(command, settings, environment):
    """The JSON line of a command that takes its settings as NAME=VALUE."""
    flags = [f"{name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [*command, *flags], stdout=subprocess.PIPE, text=True, check=True, env=os.environ | environment
    )
    return json.loads(done.stdout)


def unset_tuning():
    """Takes OpenBLAS's tuning out of the environment; returns what was set. Before NumPy is imported."""
    return {name: os.environ.pop(name) for name in UNSET if name in os.environ}


def output_of(*command):
    """A command's stdout; None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine(n_threads):
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    flags = next((line.split(":")[1].split() for line in info if line.startswith("flags")), [])
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "vector_units": [f for f in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile") if f in flags],
        "cores_online": os.cpu_count(),
        "threads_used": n_threads,
        "memory_gib": round(pages * page / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": load(),
    }


def load():
    return [round(x, 2) for x in os.getloadavg()]


def versions(packages=()):
    """Of voxelcast, the tools, and Python packages; None for what is not installed."""
    found = {
        "voxelcast": output_of(str(VOXELCAST), "--version"),
        "rustc": output_of("rustc", "--version"),
        "python": platform.python_version(),
    }
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def header(schema, command, n_threads, packages=()):
    """The first fields of a record."""
    return {
        "schema": schema,
        "command": command,
        "commit": output_of("git", "rev-parse", "HEAD"),
        "uncommitted_changes": bool(output_of("git", "status", "--porcelain")),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": machine(n_threads),
        "versions": versions(packages),
    }


def bench(n_threads, *, trs, features, voxels, folds, alphas, design="lagged", repeats=3):
    """`voxelcast bench --json` on a problem of these sizes. Raises CalledProcessError if it fails."""
    sizes = dict(trs=trs, features=features, voxels=voxels, folds=folds, alphas=alphas, design=design)
    flags = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    command = [VOXELCAST, "bench", "--json", "--device", "cpu", "--quiet", "--threads", str(n_threads)]
    done = subprocess.run(
        [*command, "--repeats", str(repeats), *flags], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)
