"""Pieces per second of a language model in transformers, PyTorch eager, f32: all hidden states of
the rows of benches/lm.rs, and the same JSON.

    python lm_torch.py model=PATH [length=512] [rows=4] [batch=1024] [repeats=3]
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForCausalLM

given = dict(arg.split("=", 1) for arg in sys.argv[1:])
value = lambda name, default: int(given.get(name, default))
length, n_rows, batch = value("length", 512), value("rows", 4), value("batch", 1024)
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
path = Path(given["model"])
common = dict(dtype=torch.float32, attn_implementation="eager")
start = time.perf_counter()
if path.suffix == ".gguf":
    # Without the head, as everywhere here.
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, **common).model.eval()
else:
    model = AutoModel.from_pretrained(path, **common).eval()
load_s = time.perf_counter() - start
n_pieces = model.get_input_embeddings().weight.shape[0]
piece = lambda i: (i * 7919 + i * i % 10007) % n_pieces
rows = torch.tensor([[piece(row * length + i) for i in range(length)] for row in range(n_rows)])
batches = rows.split(max(batch // length, 1))
seconds = []
with torch.inference_mode():
    for _ in range(value("repeats", 3) + 1):
        start = time.perf_counter()
        means = []
        for ids in batches:
            settings = {} if "bert" in model.config.model_type else {"use_cache": False}
            found = model(input_ids=ids, output_hidden_states=True, **settings)
            means.append(found.hidden_states[-1].abs().mean().item())
        seconds.append(time.perf_counter() - start)
seconds = sorted(seconds[1:])
median = seconds[len(seconds) // 2]
print(json.dumps({
    "length": length, "rows": n_rows, "batch": batch, "threads": torch.get_num_threads(), "load_s": load_s,
    "seconds_median": median, "seconds_min": seconds[0], "pieces_per_s": n_rows * length / median,
    "mean_of_last_state": sum(means) / len(means),
}, indent=1))
