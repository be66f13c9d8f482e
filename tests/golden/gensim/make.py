"""Word vectors in word2vec's and GloVe's formats, the former as gensim writes them.

gensim 4.4.0, NumPy 2.4.6 (benches/peers/requirements.txt). Run through scripts/golden.
"""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from gensim.models import KeyedVectors

HERE = Path(__file__).parent
DIMS = 8

WORDS = """the of and to in i said New_York_City New_York The PARIS Paris paris naïve Zürich 東京 😀 ß
don't U.S. O'Brien </s> <user> ### 100_% e-mail a b c d story stories walked walking Walked house
home mother father brother sister school street river winter summer ﬁne Ångström _start end_""".split()
assert len(WORDS) == 50 == len(set(WORDS))


def dump(name, table):
    lines = ",\n".join(f"  {json.dumps(w, ensure_ascii=False)}: {json.dumps(v)}" for w, v in table)
    (HERE / name).write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def gz(data):
    """gzip without a time stamp."""
    return gzip.compress(data, compresslevel=6, mtime=0)


rng = np.random.default_rng(50)
vectors = rng.standard_normal((len(WORDS), DIMS)).astype("<f4")
# Bytes that look like the format's own marks: newline and space as first bytes of a vector.
vectors[3].view("u1")[:4] = list(b"\n\n\n\n")
vectors[4].view("u1")[:4] = list(b" \n  ")
vectors[5] = 0.0

keyed = KeyedVectors(DIMS)
keyed.add_vectors(WORDS, vectors)
keyed.save_word2vec_format(str(HERE / "words.bin"), binary=True, sort_attr=None)
keyed.save_word2vec_format(str(HERE / "words.txt"), binary=False, sort_attr=None)
binary = (HERE / "words.bin").read_bytes()
(HERE / "words.bin.gz").write_bytes(gz(binary))

# The original word2vec.c ends every vector with a newline.
with open(HERE / "words_newline.bin", "wb") as file:
    file.write(f"{len(WORDS)} {DIMS}\n".encode())
    for word, vector in zip(WORDS, vectors):
        file.write(word.encode() + b" " + vector.tobytes() + b"\n")

for name in ("words.bin", "words.bin.gz", "words.txt"):
    back = KeyedVectors.load_word2vec_format(str(HERE / name), binary=".bin" in name)
    assert back.index_to_key == WORDS and (back.vectors == vectors).all(), name
# gensim strips newlines in front of the *word*, so it reads word2vec.c's files too.
back = KeyedVectors.load_word2vec_format(str(HERE / "words_newline.bin"), binary=True)
assert back.index_to_key == WORDS and (back.vectors == vectors).all()
dump("words.json", [(w, v.tolist()) for w, v in zip(WORDS, vectors)])

# GloVe: no header, tokens may hold spaces, so the last DIMS fields are the vector. The token of
# one line is empty, as in some copies of the Twitter files.
TOKENS = ["the", ",", "<user>", ". . .", "at name@domain.com", "東京", "new_york", "", "0.5", "- 1", "the end"]
values = np.round(rng.standard_normal((len(TOKENS), DIMS)), 5)
text = "".join(t + " " + " ".join(f"{v:g}" for v in row) + "\n" for t, row in zip(TOKENS, values))
(HERE / "glove.txt").write_bytes(text.encode())
(HERE / "glove.txt.gz").write_bytes(gz(text.encode()))
stream = io.BytesIO()
with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
    member = zipfile.ZipInfo("glove.twitter.8d.txt", date_time=(2020, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, text)
(HERE / "glove.zip").write_bytes(stream.getvalue())
dump("glove.json", [(t, [float(f"{v:g}") for v in row]) for t, row in zip(TOKENS, values)])
