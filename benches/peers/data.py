"""The data of the comparisons, made once under target/peers-data, the same on every machine that
has the same NumPy. Each maker takes a folder and a dict of sizes."""

import csv
import json
import shutil

import numpy as np
from scipy.signal import lfilter

VERSION = 1  # raise it when a maker changes: old folders are made again

RIDGE = {
    "main": dict(trs=8000, features=512, voxels=8000, folds=5, stories=25, alphas=[0, 6, 20]),
    "himalaya": dict(trs=3000, features=1000, voxels=30000, folds=3, stories=15, alphas=[0, 6, 20]),
    "small": dict(trs=400, features=32, voxels=60, folds=5, stories=10, alphas=[0, 6, 20]),
}
LOADING = {"main": dict(words=300_000, dims=300, story_words=2000), "small": dict(words=3000, dims=20, story_words=200)}
LANCZOS = {"main": dict(words=30_000, dims=300, trs=5000), "small": dict(words=600, dims=10, trs=100)}


def make_ridge(folder, sizes):
    """Lagged features of stories, dealt to folds, and voxels that follow them more or less."""
    rng = np.random.default_rng(214)
    n_trs, p, n_stories = sizes["trs"], sizes["features"], sizes["stories"]
    delays = (1, 2, 3, 4)
    n_base, story_trs = p // len(delays), n_trs // n_stories
    # Slow word features with two decades between their largest and smallest direction.
    mix = rng.standard_normal((n_base, n_base)) * np.logspace(0, -2, n_base)[:, None]
    x = np.zeros((n_trs, p), np.float32)
    fold_ids = np.empty(n_trs, np.int64)
    for story in range(n_stories):
        rows = slice(story * story_trs, (story + 1) * story_trs)
        fold_ids[rows] = story % sizes["folds"]
        base = lfilter([1.0], [1.0, -0.7], rng.standard_normal((story_trs, n_base)), axis=0) @ mix
        base = (base - base.mean(0)) / base.std(0)
        for i, delay in enumerate(delays):  # within the story, zeros in front
            x[rows.start + delay : rows.stop, i * n_base : (i + 1) * n_base] = base[:-delay]
    weights = rng.standard_normal((p, sizes["voxels"]), dtype=np.float32) / np.float32(np.sqrt(p))
    strength = rng.uniform(0.0, 0.5, sizes["voxels"]).astype(np.float32)
    y = (x @ weights) * strength
    y += rng.standard_normal(y.shape, dtype=np.float32)
    y += rng.standard_normal(sizes["voxels"], dtype=np.float32)  # voxels have a mean
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    np.save(folder / "fold_ids.npy", fold_ids)
    np.save(folder / "alphas.npy", np.logspace(*sizes["alphas"]))


def make_loading(folder, sizes):
    """A word2vec file as GoogleNews is laid out, and a story told in its words."""
    rng = np.random.default_rng(300)
    words = [f"word{i}" for i in range(sizes["words"])]
    vectors = rng.standard_normal((sizes["words"], sizes["dims"]), dtype=np.float32)
    with open(folder / "vectors.bin", "wb") as file:
        file.write(f"{sizes['words']} {sizes['dims']}\n".encode())
        for word, vector in zip(words, vectors):
            file.write(word.encode() + b" " + vector.tobytes())
    expected = np.zeros((sizes["story_words"], sizes["dims"]), np.float32)
    with open(folder / "story.tsv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(["story", "onset", "offset", "word"])
        for i in range(sizes["story_words"]):
            unknown = i % 50 == 7
            word = f"unheard{i}" if unknown else words[rng.integers(len(words))]
            table.writerow(["peerstory", f"{i * 0.3:.2f}", f"{i * 0.3 + 0.25:.2f}", word])
            if not unknown:
                expected[i] = vectors[int(word.removeprefix("word"))]
    np.save(folder / "expected.npy", expected)


def make_lanczos(folder, sizes):
    """Words at even random times over a recording with one TR every 2 s."""
    rng = np.random.default_rng(30)
    new_times = np.arange(sizes["trs"]) * 2.0 + 1.0
    np.save(folder / "data.npy", rng.standard_normal((sizes["words"], sizes["dims"])))
    np.save(folder / "old_times.npy", np.sort(rng.uniform(0, new_times[-1] + 1, sizes["words"])))
    np.save(folder / "new_times.npy", new_times)


def ensure(folder, make, sizes):
    """Makes the folder's data, unless it holds them already."""
    wanted = {"maker": make.__name__, "version": VERSION, "numpy": np.__version__} | sizes
    note = folder / "problem.json"
    if note.exists() and json.loads(note.read_text()) == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make(folder, sizes)
    note.write_text(json.dumps(wanted))
