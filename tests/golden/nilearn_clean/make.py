"""BOLD of one story as nilearn.signal.clean cleans it.

nilearn 0.12.1, NumPy 2.4.6, SciPy 1.17.1, pandas 3.1.1. `python make.py` in an environment with
them. `bold.npy` (f32, 90 TRs, 7 voxels) has a mean of 800, drifts, and a share of the confounds;
`confounds.tsv` is in fMRIPrep's form. Every case is a row of `cases.json`: what
voxelcast is asked for, and `CASE.npy` (f64) with what nilearn gives.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from nilearn.signal import clean

HERE = Path(__file__).parent
warnings.simplefilter("ignore")
rng = np.random.default_rng(19)
N, V, TR = 90, 7, 1.5
t = np.arange(N)

table = {}
for name in ["trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z"]:
    walk = np.cumsum(rng.standard_normal(N)) * (0.02 if name.startswith("trans") else 0.0005)
    table[name] = walk
    table[name + "_derivative1"] = np.concatenate([[np.nan], np.diff(walk)])
for i in range(6):
    table[f"a_comp_cor_{i:02}"] = rng.standard_normal(N)
table["global_signal"] = 5000 + 3 * rng.standard_normal(N)
table["framewise_displacement"] = np.concatenate(
    [[np.nan], sum(np.abs(np.diff(table[f"trans_{axis}"])) for axis in "xyz")]
)
for i, row in enumerate([11, 12, 40]):
    table[f"motion_outlier{i:02}"] = (t == row).astype(float)
table["scrub"] = np.isin(t, [0, 11, 12, 40, 41, 88]).astype(float)
# Columns that bring nothing: a constant, and twice another.
table["constant"] = np.full(N, 7.0)
table["again"] = 2 * table["trans_x"] + 1
for k in range(1, 3):
    table[f"cosine{k - 1:02}"] = np.sqrt(2 / N) * np.cos(np.pi / N * (t + 0.5) * k)
pd.DataFrame(table).to_csv(HERE / "confounds.tsv", sep="\t", na_rep="n/a", index=False)
table = pd.read_csv(HERE / "confounds.tsv", sep="\t").fillna(0.0)

motion = np.stack([table[c] / table[c].std() for c in ["trans_x", "rot_y", "a_comp_cor_02"]], 1)
drift = np.stack([t / N - 0.5, np.cos(np.pi / N * (t + 0.5) * 2)], 1)
bold = 800 + 4 * rng.standard_normal((N, V))
bold += motion @ rng.standard_normal((3, V)) * 6 + drift @ rng.standard_normal((2, V)) * 20
bold[:, 5] *= 1e-3
bold = bold.astype("f4")
np.save(HERE / "bold.npy", bold)

COLUMNS = ["trans_*", "rot_[xyz]", "*_derivative1", "a_comp_cor_0[0-3]"]
NAMES = [c for c in table if c.startswith("trans_") or c.startswith("rot_")]
NAMES += [f"a_comp_cor_{i:02}" for i in range(4)]
cases = []


def case(name, detrend="none", columns=(), names=(), zscore="none", censor=None, trim=(0, 0)):
    head, tail = trim
    rows = slice(head, N - tail)
    keep = None if censor is None else np.flatnonzero(table[censor].to_numpy()[rows] == 0)
    kind, _, hz = detrend.partition(":")
    out = clean(
        bold[rows].astype("f8"),
        confounds=table[list(names)].to_numpy()[rows] if names else None,
        detrend=kind == "linear",
        filter="cosine" if kind == "cosine" else False,
        high_pass=float(hz) if hz else None,
        t_r=TR,
        standardize="zscore" if zscore == "story" else False,
        sample_mask=keep,
    )
    np.save(HERE / f"{name}.npy", out)
    cases.append(
        {
            "name": name,
            "detrend": detrend,
            "confound_columns": list(columns),
            "zscore": zscore,
            "censor": censor,
            "trim": f"{head}:{tail}",
        }
    )


case("zscore", zscore="story")
case("cosine", "cosine:0.01")
case("cosine_high", "cosine:0.05", zscore="story")
case("linear", "linear")
case("confounds", columns=COLUMNS, names=NAMES)
case("both", "cosine:0.01", COLUMNS, NAMES, "story")
case("linear_both", "linear", COLUMNS, NAMES, "story")
case("censored", "cosine:0.01", COLUMNS, NAMES, "story", "scrub")
case("censored_linear", "linear", COLUMNS, NAMES, "none", "scrub")
case("trimmed", "cosine:0.02", COLUMNS, NAMES, "story", "scrub", (4, 3))
case("no_rank", "cosine:0.01", ["trans_x", "constant", "again"], ["trans_x", "constant", "again"])
# nilearn leaves its own cosines out where the confounds bring some.
case("own_cosines", "cosine:0.03", ["cosine*", "trans_y"], ["cosine00", "cosine01", "trans_y"])
(HERE / "cases.json").write_text(json.dumps({"tr_s": TR, "cases": cases}, indent=1) + "\n")
