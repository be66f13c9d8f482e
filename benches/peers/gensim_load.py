"""gensim's KeyedVectors.load_word2vec_format, then the rows of one story's words.

Words that the file lacks are rows of zeros.
"""

import common  # first: starts the clock

import csv
import time

import numpy as np

args = common.arguments(__doc__).parse_args()

from gensim.models import KeyedVectors

start = time.perf_counter()
vectors = KeyedVectors.load_word2vec_format(str(args.data / "vectors.bin"), binary=True)
inside = time.perf_counter() - start

with open(args.data / "story.tsv", newline="", encoding="utf-8") as file:
    words = [row["word"] for row in csv.DictReader(file, delimiter="\t")]
rows = np.zeros((len(words), vectors.vector_size), np.float32)
for row, word in zip(rows, words):
    if word in vectors:
        row[:] = vectors[word]
common.save(args.out, **{"peerstory.words": rows})
common.report(inside)
