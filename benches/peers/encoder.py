"""A training step of the encoder, voxelcast and PyTorch in turn; see scripts/bench-encoder."""

import datetime
import json
import os
import statistics
import sys
from pathlib import Path

import machine
from machine import HEAP, measure

HERE = Path(__file__).parent
RECORDS = HERE.parent / "records"

# The paper's, and the ends of its sweep.
SIZES = {
    "paper": {},
    "4 heads, 6 layers": {"heads": 4, "layers": 6},
    "hidden 512": {"hidden": 512, "heads": 8, "intermediate": 2048},
    "vocabulary 8,000": {"vocab": 8000},
}
SMALL = {"small": {"vocab": 500, "hidden": 32, "batch": 2, "length": 32, "steps": 3}}


def main():
    program, small = sys.argv[1], "--small" in sys.argv
    threads = int(os.environ["THREADS"])
    contenders = {
        "voxelcast": ([program], HEAP),
        "PyTorch eager": ([sys.executable, str(HERE / "encoder_torch.py")], {}),
    }
    record = machine.header(
        "voxelcast.peers.encoder/1", "scripts/bench-encoder", threads, ("torch", "transformers", "numpy")
    )
    record["sizes"] = {}
    rounds = 1 if small else 3
    for name, size in (SMALL if small else SIZES).items():
        runs = {contender: [] for contender in contenders}
        for _ in range(rounds):
            for contender, (command, environment) in contenders.items():
                runs[contender].append(measure(command, {"steps": 6} | size, environment))
        seconds = {c: statistics.median(run["seconds_median"] for run in r) for c, r in runs.items()}
        ratio = seconds["PyTorch eager"] / seconds["voxelcast"]
        record["sizes"][name] = {"size": size, "seconds": seconds, "ratio": ratio, "runs": runs}
        tokens = {c: r[0]["batch"] * r[0]["length"] / seconds[c] for c, r in runs.items()}
        print(
            f"{name}: voxelcast {seconds['voxelcast']:.3f} s a step ({tokens['voxelcast']:,.0f} tokens/s), "
            f"PyTorch eager {seconds['PyTorch eager']:.3f} s ({tokens['PyTorch eager']:,.0f}): {ratio:.2f} x"
        )
    if not small:
        path = RECORDS / f"{datetime.date.today()}-cpu-encoder.json"
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(path)


main()
