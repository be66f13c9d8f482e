"""TextGrids as the usual Python writers make them, and the words that those read again.

praatio 6.2.2, tgt 1.5, textgrid 1.6.1. `python make.py` in an environment with all three.
The chronological form, which none of them writes, follows Praat's manual; UTF-16 and Latin-1 are
recoded as Praat saves them.
"""

import json
from pathlib import Path

import textgrid
import tgt
from praatio import textgrid as praatio

HERE = Path(__file__).parent
END = 6.5
PHONES = [(0.0, 0.25, "sp"), (0.25, 0.5, "AY1"), (0.5, 1.0, "W AA0"), (1.0, END, "sp")]
WORDS = [
    (0.0, 0.25, "sp"),
    (0.25, 0.5, "I"),
    (0.5, 1.0, "WAS"),
    (1.0, 1.5, "{BR}"),
    (1.5, 2.125, 'SO-CALLED "friend"'),
    (2.125, 3.0, "ZÜRICH"),
    (3.0, 3.5, ""),
    (3.5, 4.0, "{ns}"),
    (4.0, 4.75, "don't"),
    (4.75, END, "{SENTENCE_END}"),
]
BAD = {"", "sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp"}

grid = praatio.Textgrid()
grid.addTier(praatio.IntervalTier("phone", PHONES, 0, END))
grid.addTier(praatio.IntervalTier("word", [w for w in WORDS if w[2]], 0, END))
grid.addTier(praatio.PointTier("bell", [(1.25, "ring")], 0, END))
for name, form in [("praatio_long.TextGrid", "long_textgrid"), ("praatio_short.TextGrid", "short_textgrid")]:
    grid.save(str(HERE / name), form, includeBlankSpaces=True)

grid = tgt.TextGrid()
for name, entries in [("phones", PHONES), ("words", WORDS)]:
    tier = tgt.IntervalTier(0, END, name)
    tier.add_annotations([tgt.Interval(a, b, t) for a, b, t in entries if t])
    grid.add_tier(tier)
tgt.write_to_file(grid, str(HERE / "tgt_long.TextGrid"), format="long", encoding="utf-8")
tgt.write_to_file(grid, str(HERE / "tgt_short.TextGrid"), format="short", encoding="utf-8")

grid = textgrid.TextGrid(maxTime=END)
for name, entries in [("phone", PHONES), ("word", WORDS)]:
    tier = textgrid.IntervalTier(name, 0, END)
    for a, b, t in entries:
        tier.add(a, b, t)
    grid.append(tier)
grid.write(str(HERE / "textgrid_long.TextGrid"))

lines = ['"Praat chronological TextGrid text file"', f"0 {END}   ! Time domain.", "2   ! Number of tiers."]
lines += [f'"IntervalTier" "{name}" 0 {END}' for name in ("phone", "word")]
entries = sorted([(a, 1, b, t) for a, b, t in PHONES] + [(a, 2, b, t) for a, b, t in WORDS])
for start, tier, end, text in entries:
    doubled = text.replace('"', '""')
    lines += ["", f"! {('phone', 'word')[tier - 1]}:", f"{tier} {start} {end}", f'"{doubled}"']
chronological = "\n".join(lines) + "\n"
(HERE / "chronological.TextGrid").write_bytes(b"\xef\xbb\xbf" + chronological.encode("utf-8"))

long = (HERE / "praatio_long.TextGrid").read_text(encoding="utf-8")
(HERE / "utf16_le.TextGrid").write_bytes(b"\xff\xfe" + long.encode("utf-16-le"))
(HERE / "utf16_be.TextGrid").write_bytes(b"\xfe\xff" + long.encode("utf-16-be"))
(HERE / "latin1.TextGrid").write_bytes(long.replace("\n", "\r\n").encode("latin-1"))

# What HuthLab's rules leave: DataSequence.from_grid lower-cases and takes the middle.
left = [(a, b, t.lower()) for a, b, t in WORDS if t.lower().strip("{}").strip() not in BAD]
(HERE / "expected.json").write_text(json.dumps({"words": left}) + "\n")

# The writers' own readers agree.
said = [w for w in WORDS if w[2]]
for name in ["praatio_long", "praatio_short"]:
    read = praatio.openTextgrid(str(HERE / f"{name}.TextGrid"), includeEmptyIntervals=False)
    assert [(e.start, e.end, e.label) for e in read.getTier("word").entries] == said, name
for name in ["tgt_long", "tgt_short"]:
    tier = tgt.read_textgrid(str(HERE / f"{name}.TextGrid")).get_tier_by_name("words")
    assert [(e.start_time, e.end_time, e.text) for e in tier] == said, name
tier = textgrid.TextGrid.fromFile(str(HERE / "textgrid_long.TextGrid")).getFirst("word")
assert [(e.minTime, e.maxTime, e.mark) for e in tier if e.mark] == said
