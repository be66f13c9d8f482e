"""HuthLab's english1000 layout as h5py and PyTables write it, and NumPy's own position columns.

h5py 3.16.0, PyTables 3.11.1, NumPy 2.4.6. `python make.py` in an environment with all three.
"""

import json
from pathlib import Path

import h5py
import numpy as np
import tables

HERE = Path(__file__).parent
rng = np.random.default_rng(1000)

# english1000sm.hf5: data (dimensions, words), vocab (words). Words of the study bench, one in capitals,
# one twice (the first counts), one that is no word of the bench.
vocab = [f"word{i}" for i in range(0, 40, 2)] + ["Word1", "word0", "zebra"]
data = rng.standard_normal((7, len(vocab)))
options = {"compression": "gzip", "chunks": (3, 5)}
with h5py.File(HERE / "bytes.hf5", "w") as file:
    file["data"] = data
    file["vocab"] = np.array(vocab, "S10")
with h5py.File(HERE / "text.hf5", "w") as file:
    file.create_dataset("data", data=data.astype("f4"), **options)
    file.create_dataset("vocab", data=vocab, dtype=h5py.string_dtype())
with tables.open_file(HERE / "pytables.hf5", "w") as file:
    file.create_array("/", "data", data, track_times=False)
    file.create_array("/", "vocab", np.array(vocab, "S10"), track_times=False)

n = 37
t = np.arange(n)
position = np.stack(
    [np.exp(-t / tau) for tau in (5, 10, 20, 40, 80)]
    + [np.exp(-(n - 1 - t) / tau) for tau in (5, 10, 20)]
    + [t / n, (t / n) ** 2],
    axis=1,
)
expected = {"vocab": vocab, "data": data.tolist(), "position": position.tolist()}
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
