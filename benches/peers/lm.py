"""Hidden states of language models, voxelcast and transformers in turn; see scripts/bench-lm."""

import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
from machine import HEAP, measure

HERE = Path(__file__).parent
RECORDS = HERE.parent / "records"
TINY = HERE.parents[1] / "tests/golden/causal"


def shipped(script):
    done = subprocess.run([HERE.parents[1] / "scripts" / script], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def gpt2_sized(folder):
    """A model of GPT-2 small's shape with random weights, kept as bf16: 250 MB."""
    import torch
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(1)
    GPT2Model(GPT2Config()).to(torch.bfloat16).save_pretrained(folder)
    return folder


def main():
    program, small = sys.argv[1], "--small" in sys.argv
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    threads = int(os.environ["THREADS"])
    torch = [sys.executable, str(HERE / "lm_torch.py")]
    # The best of two rounds, each the median of its passes; whatever batch is the quicker one for
    # transformers is its rate.
    contenders = {
        "voxelcast": ([program], HEAP, {"batch": 1024}),
        "transformers, 1,024 pieces a batch": (torch, {}, {"batch": 1024}),
        "transformers, 4,096 pieces a batch": (torch, {}, {"batch": 4096}),
    }
    record = machine.header("voxelcast.peers.lm/1", "scripts/bench-lm", threads, ("torch", "transformers", "numpy"))
    record["models"], record["a_window_a_word"] = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        if small:
            models = {"llama": lambda: TINY / "llama", "gpt2": lambda: TINY / "gpt2"}
            cases = [{"length": 20, "rows": 4, "repeats": 1}]
        else:
            models = {
                "SmolLM2-135M": lambda: shipped("smollm2"),
                "MiniLM-L6": lambda: shipped("minilm"),
                "GPT-2 small, random": lambda: gpt2_sized(folder),
            }
            cases = [{"length": 512, "rows": 8, "repeats": 2}, {"length": 128, "rows": 32, "repeats": 2}]
        for name, path in models.items():
            if only not in name:
                continue
            path = path()
            for case in cases:
                compare(record, f"{name}, {case['length']}", contenders, case | {"model": path}, 1 if small else 2)
            if "MiniLM" not in name:  # which reads both ways
                a_window_a_word(record, name, contenders, cases[0] | {"model": path}, 4 if small else 64)
    if not small and not only:
        path = RECORDS / f"{datetime.date.today()}-cpu-lm.json"
        path.write_text(json.dumps(record, indent=1, default=str) + "\n")
        print(path)


def compare(record, name, contenders, settings, rounds):
    runs = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender, (command, environment, own) in contenders.items():
            runs[contender].append(measure(command, settings | own, environment))
    rates = {c: max(run["pieces_per_s"] for run in r) for c, r in runs.items()}
    ours = rates["voxelcast"]
    peer = max(rate for contender, rate in rates.items() if contender != "voxelcast")
    means = [r[0]["mean_of_last_state"] for r in runs.values()]
    off = max(abs(mean / means[0] - 1) for mean in means)
    own = {key: value for key, value in settings.items() if key != "model"}
    record["models"][name] = {"settings": own, "pieces_per_s": rates, "ratio": ours / peer, "means_differ_by": off, "runs": runs}
    print(
        f"{name}: voxelcast {ours:,.0f} pieces/s, transformers eager {peer:,.0f}: {ours / peer:.2f} x; "
        f"means of the last state differ by {off:.1e}", flush=True
    )


def a_window_a_word(record, name, contenders, settings, past):
    """Words of one piece a second: each from a window of its own with `past` pieces before it, as scripts do
    it (transformers; batched), and shared windows that begin their length less `past` apart (voxelcast)."""
    command, environment, own = contenders["transformers, 1,024 pieces a batch"]
    alone = measure(command, settings | own | {"length": past + 1, "rows": 32, "repeats": 1}, environment)
    length = settings["length"]
    ours = record["models"][f"{name}, {length}"]["pieces_per_s"]["voxelcast"] * (length - past) / length
    peer = alone["pieces_per_s"] / (past + 1)
    record["a_window_a_word"][name] = {"past": past, "words_per_s": {"voxelcast": ours, "transformers": peer},
                                       "ratio": ours / peer, "run": alone}
    print(f"{name}, {past} pieces before each word: voxelcast {ours:,.0f} words/s, a window a word "
          f"{peer:,.1f}: {ours / peer:.0f} x", flush=True)


main()
