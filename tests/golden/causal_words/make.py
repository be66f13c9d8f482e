"""Word vectors of a story by a tiny causal model, one forward pass a word.

transformers 5.24.0 (scripts/language-venv). Windows are put together here by their definition, word by
word, and not shared between words: what voxelcast reads with few passes must come out the same.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent
torch.manual_seed(21)
torch.set_num_threads(1)
tokenizer = Tokenizer.from_file(str(HERE / "../causal/bytes/tokenizer.json"))
config = LlamaConfig(
    vocab_size=tokenizer.get_vocab_size(),
    hidden_size=12,
    intermediate_size=20,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=40,
    initializer_range=0.4,
)
model = LlamaModel(config).eval()
folder = HERE / "model"
model.save_pretrained(folder)
PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
(folder / "tokenizer_config.json").unlink()

rng = np.random.default_rng(4)
letters = list("etaoinshrdlu")
words = ["".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(70)]
words[10], words[11], words[12] = "don't", "Zürich", "so-called"
text = " ".join(words)
ends, at = [], 0
for word in words:
    at += len(word) + (1 if at else 0)
    ends.append(at)
encoding = tokenizer.encode(text, add_special_tokens=False)
ids = encoding.ids
# Pieces of each word: those that end in it.
pieces = [[] for _ in words]
for piece, (_, end) in enumerate(encoding.offsets):
    pieces[next(w for w, word_end in enumerate(ends) if word_end >= end)].append(piece)
assert all(pieces)


def states(row):
    """(layers, pieces, width)."""
    with torch.no_grad():
        out = model(torch.tensor([row]), output_hidden_states=True)
    return torch.stack(out.hidden_states)[:, 0].numpy()


def pooled(all_states, own, pool):
    return all_states[:, own[-1]] if pool == "last" else all_states[:, own].mean(axis=1)


cases = []
for past, window, pool in [(5, 12, "last"), (8, 16, "mean"), (3, 40, "last"), (0, None, "last"), (0, None, "mean")]:
    rows = []
    for own, word in zip(pieces, words):
        if past == 0:
            before = tokenizer.encode("a", add_special_tokens=False).ids
            row = tokenizer.encode("a " + word, add_special_tokens=False).ids[len(before) :]
            # Behind the beginning of a text, whose state is the model's own.
            row = [tokenizer.token_to_id("<|endoftext|>")] + row
            rows.append(pooled(states(row), list(range(1, len(row))), pool))
            continue
        last, start = own[-1], 0
        while last >= start + window:
            start += window - past
        assert start == 0 or last - start >= past
        inside = [piece - start for piece in own if piece >= start]
        rows.append(pooled(states(ids[start : start + window]), inside, pool))
    cases.append({"past": past, "window": window, "pool": pool})
    np.save(HERE / f"{len(cases) - 1}.npy", np.stack(rows, axis=1).reshape(-1, 12))
(HERE / "words.json").write_text(json.dumps({"words": words, "cases": cases}, ensure_ascii=False) + "\n")
