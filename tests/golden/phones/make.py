"""Phones of TextGrids as PyPI's ridge-utils turns them into TR rows.

ridge-utils 0.2, NumPy 2.4.6. `python make.py` in an environment with both. The grids are ours: words
of random phones between pauses, the phones of which ridge-utils knows no column for among them.
"""

import json
from pathlib import Path

import numpy as np
from ridge_utils.dsutils import histogram_phonemes2, make_phoneme_ds, phonemes
from ridge_utils.stimulus_utils import TRFile
from ridge_utils.textgrid import TextGrid

HERE = Path(__file__).parent
TR, FIRST, N_TRS = 1.5, -6.0, 30
rng = np.random.default_rng(39)


def tier(name, intervals, end):
    lines = ["        class = \"IntervalTier\"", f"        name = \"{name}\"", "        xmin = 0.0"]
    lines += [f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
    for i, (start, stop, text) in enumerate(intervals, 1):
        lines += [f"        intervals [{i}]:", f"            xmin = {start}", f"            xmax = {stop}"]
        lines += [f"            text = \"{text}\""]
    return lines


def grid(seed_words):
    """Two tiers as HuthLab's grids have them: phone, word."""
    phones, words, now = [(0.0, 0.25, "sp")], [(0.0, 0.25, "sp")], 0.25
    for i in range(seed_words):
        start = now
        for _ in range(rng.integers(1, 6)):
            stop = round(now + rng.uniform(0.03, 0.2), 4)
            label = phonemes[rng.integers(len(phonemes))]
            phones.append((now, stop, f"{label}{rng.integers(3)}" if label[0] in "AEIOU" else label))
            now = stop
        words.append((start, now, f"WORD{i}"))
        if i % 7 == 3:
            mark = ["sp", "{BR}", "{NS}"][i % 3]
            stop = round(now + rng.uniform(0.1, 1.0), 4)
            phones.append((now, stop, "sp" if mark == "sp" else mark[1:-1].lower()))
            words.append((now, stop, mark))
            now = stop
    lines = ["File type = \"ooTextFile\"", "Object class = \"TextGrid\"", "", "xmin = 0.0", f"xmax = {now}"]
    lines += ["tiers? <exists> ", "size = 2", "item []:"]
    for i, (name, intervals) in enumerate([("phone", phones), ("word", words)], 1):
        lines += [f"    item [{i}]:", *tier(name, intervals, now)]
    return "\n".join(lines) + "\n"


trs = TRFile(None, TR)
trs.simulate(N_TRS)
# Their rows stand at trigger + TR/2 after the sound; ours at the middle of each TR, the first FIRST.
trs.soundstarttime = TR / 2 - FIRST
grids = {}
for story, n_words in [("walk", 60), ("talk", 85)]:
    text = grid(n_words)
    (HERE / f"{story}.TextGrid").write_text(text)
    grids[story] = TextGrid(text)
expected = {"phonemes": phonemes, "tr_s": TR, "first_tr_s": FIRST, "n_trs": N_TRS}
for story, ds in make_phoneme_ds(grids, {story: [trs] for story in grids}).items():
    rows = histogram_phonemes2(ds).chunksums("lanczos", window=3)
    expected[story] = rows.tolist()
(HERE / "expected.json").write_text(json.dumps(expected) + "\n")
