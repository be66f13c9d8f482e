#!/usr/bin/env python3
"""Makes assets/demo/vectors.32d.{glove.txt.gz,word2vec.bin} from assets/demo/stories/*.txt.

    python3 -m venv target/venv && target/venv/bin/pip install numpy==2.4.6
    target/venv/bin/python scripts/make-demo-vectors.py [--neighbours]

Count-based vectors (Levy, Goldberg, Dagan 2015, TACL 3: 211-225): positive pointwise mutual
information of a word with its contexts, context counts to the power 0.75, then an SVD. Contexts
are of three kinds, side by side in one matrix: the words within +-8 (near words weigh more), the
paragraph and the story. Seven thousand words are far too few for windows alone; paragraphs and
stories bring the words of one topic together.

Both files hold the same vectors: 32 numbers with 4 decimals, standard deviation 1 over all of
them, mean 0 over the tokens of the stories. A few words that occur once (2 % of all tokens) are
left out on purpose, so that the demo shows what happens to words without a vector.
"""

import argparse
import gzip
import re
import zlib
from collections import Counter
from pathlib import Path

import numpy as np

DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo"
DIM = 32
WINDOW = 8
SMOOTHING = 0.75  # power of the context counts in the PPMI
PARAGRAPH_WEIGHT = 0.7
STORY_WEIGHT = 0.3
SINGULAR_POWER = 0.5  # vectors are U S^0.5: the large components do not drown the small ones
LEFT_OUT_SHARE = 0.02  # of all tokens


def words_of(text):
    """The words as src/simulate/speech.rs speaks them: lower case, inner apostrophes kept."""
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def ppmi(counts):
    """max(0, log p(w, c) / (p(w) p(c)^0.75)) of a (n_words, n_contexts) count matrix."""
    total = counts.sum()
    p_word = counts.sum(axis=1, keepdims=True) / total
    smoothed = counts.sum(axis=0, keepdims=True) ** SMOOTHING
    p_context = smoothed / smoothed.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        pmi = np.log(counts / total) - np.log(p_word) - np.log(p_context)
    return np.where(counts > 0, np.maximum(pmi, 0.0), 0.0)


def balanced(matrix, weight):
    """The matrix with Frobenius norm `weight`: its share among the kinds of context."""
    return matrix * (weight / np.linalg.norm(matrix))


def make_vectors(stories):
    """(words by falling count, (n_words, DIM) float64 vectors rounded to 4 decimals)."""
    tokens = Counter(word for story in stories for par in story for word in par)
    words = sorted(tokens, key=lambda word: (-tokens[word], word))
    index = {word: i for i, word in enumerate(words)}
    n_paragraphs = sum(len(story) for story in stories)
    near = np.zeros((len(words), len(words)))
    paragraphs = np.zeros((len(words), n_paragraphs))
    in_story = np.zeros((len(words), len(stories)))
    p = 0
    for s, story in enumerate(stories):
        row = [index[word] for par in story for word in par]
        for i, word in enumerate(row):
            in_story[word, s] += 1
            for distance in range(1, min(WINDOW, len(row) - 1 - i) + 1):
                weight = (WINDOW + 1 - distance) / WINDOW
                near[word, row[i + distance]] += weight
                near[row[i + distance], word] += weight
        for par in story:
            for word in par:
                paragraphs[index[word], p] += 1
            p += 1

    contexts = np.hstack([
        balanced(ppmi(near), 1.0),
        balanced(ppmi(paragraphs), PARAGRAPH_WEIGHT),
        balanced(ppmi(in_story), STORY_WEIGHT),
    ])
    u, s, _ = np.linalg.svd(contexts, full_matrices=False)
    # An SVD leaves signs open: the largest entry of each column is made positive.
    u = u[:, :DIM]
    u *= np.sign(u[np.abs(u).argmax(axis=0), np.arange(DIM)])
    vectors = u * s[:DIM] ** SINGULAR_POWER
    counts = np.array([tokens[word] for word in words], dtype=float)
    vectors -= counts @ vectors / counts.sum()
    vectors /= vectors.std()
    return words, counts, np.round(vectors, 4) + 0.0


def left_out(words, counts):
    """Words said once, in a fixed arbitrary order (CRC-32), up to their share of the tokens."""
    once = [word for word, count in zip(words, counts) if count == 1]
    once.sort(key=lambda word: zlib.crc32(word.encode()))
    return set(once[: round(LEFT_OUT_SHARE * counts.sum())])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neighbours", action="store_true", help="print nearest words, to look at")
    args = parser.parse_args()

    texts = [path.read_text() for path in sorted((DEMO / "stories").glob("*.txt"))]
    stories = [[words_of(par) for par in text.split("\n\n")] for text in texts]
    words, counts, vectors = make_vectors(stories)
    out = left_out(words, counts)
    kept = [i for i, word in enumerate(words) if word not in out]

    lines = [" ".join([words[i], *(f"{x:.4f}" for x in vectors[i])]) + "\n" for i in kept]
    glove = DEMO / f"vectors.{DIM}d.glove.txt.gz"
    with glove.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write("".join(lines).encode())
    word2vec = DEMO / f"vectors.{DIM}d.word2vec.bin"
    with word2vec.open("wb") as file:
        file.write(f"{len(kept)} {DIM}\n".encode())
        for i in kept:
            file.write(words[i].encode() + b" " + vectors[i].astype("<f4").tobytes())

    covered = counts[kept].sum() / counts.sum()
    print(f"{len(kept)} of {len(words)} words, {covered:.1%} of {int(counts.sum())} tokens")
    for path in (glove, word2vec):
        print(f"{path.name}: {path.stat().st_size} bytes")
    if args.neighbours:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for word in "sea bread dog water chess engine money night mother heart road house".split():
            near = np.argsort(-(unit @ unit[words.index(word)]))[1:9]
            print(f"{word:>8}: {' '.join(words[i] for i in near)}")


if __name__ == "__main__":
    main()
