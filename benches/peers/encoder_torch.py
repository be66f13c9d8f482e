"""Seconds of a training step of transformers' MegatronBertForMaskedLM in PyTorch, eager, f32,
with the head at masked positions only, on the CPU or with cuda=1 on a card. The same shapes and the same JSON as
benches/encoder_step.rs.

    python encoder_torch.py [NAME=VALUE ...]
"""

import json
import os
import sys
import time

import torch
from transformers import MegatronBertConfig, MegatronBertForMaskedLM

given = dict(arg.split("=") for arg in sys.argv[1:])
value = lambda name, default: int(given.get(name, default))
length, rows, steps = value("length", 256), value("batch", 32), value("steps", 10)
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
torch.manual_seed(1)
device = torch.device("cuda" if value("cuda", 0) else "cpu")
config = MegatronBertConfig(
    vocab_size=value("vocab", 30_522),
    hidden_size=value("hidden", 128),
    num_hidden_layers=value("layers", 2),
    num_attention_heads=value("heads", 2),
    intermediate_size=value("intermediate", 256),
    max_position_embeddings=length,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    attn_implementation="eager",
)
model = MegatronBertForMaskedLM(config).train().to(device)
decays = [p for p in model.parameters() if p.dim() > 1]
others = [p for p in model.parameters() if p.dim() == 1]
groups = [{"params": decays, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
optimiser = torch.optim.AdamW(groups, lr=1e-4)
n = rows * length
ids = torch.randint(0, config.vocab_size, (rows, length), device=device)
mask = torch.ones_like(ids)
n_targets = n * 15 // 100
positions = torch.randint(0, n, (n_targets,), device=device)
labels = torch.randint(0, config.vocab_size, (n_targets,), device=device)

seconds, losses, parts = [], [], [float("inf")] * 3
for _ in range(steps):
    start = time.perf_counter()
    optimiser.zero_grad()
    hidden = model.bert(ids, attention_mask=mask)[0].reshape(n, -1)
    loss = torch.nn.functional.cross_entropy(model.cls(hidden[positions]), labels)
    forward = time.perf_counter()
    loss.backward()
    backward = time.perf_counter()
    # As ours: the gradient's length is measured at every step.
    torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
    optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    end = time.perf_counter()
    times = [forward - start, backward - forward, end - backward]
    parts = [min(a, b) for a, b in zip(parts, times)]
    seconds.append(end - start)
    losses.append(loss.item())
seconds.sort()
median = seconds[len(seconds) // 2]
print(
    json.dumps(
        {
            "torch": torch.__version__,
            "device": device.type,
            "length": length,
            "batch": rows,
            "targets": n_targets,
            "threads": torch.get_num_threads(),
            "seconds_median": median,
            "seconds_min": seconds[0],
            "forward_backward_optimiser_min": parts,
            "tokens_per_s": n / median,
            "first_and_last_loss": [losses[0], losses[-1]],
        },
        indent=1,
    )
)
