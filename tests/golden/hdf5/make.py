"""HDF5 files as h5py and PyTables write them, and NumPy's .npz.

h5py 3.16.0, PyTables 3.11.1, NumPy 2.4.6. `python make.py` in an environment with all three.
"""

import json
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import tables

HERE = Path(__file__).parent
ROWS, COLS = 13, 37
rng = np.random.default_rng(11)
data = rng.standard_normal((ROWS, COLS))
data[3, 5] = np.nan
expected = {}


def known(values):
    return [None if np.isnan(v) else float(v) for v in np.asarray(values, "f8").ravel()]


def h5(name, values, file_options=None, **options):
    with h5py.File(HERE / name, "w", **(file_options or {})) as file:
        file.create_dataset("data", data=values, **options)
    with h5py.File(HERE / name, "r") as file:
        expected[name] = known(file["data"][...])


h5("h5py_f8.hf5", data)
h5("h5py_f4.h5", data.astype("f4"))
h5("h5py_f8_big.h5", data.astype(">f8"))
h5("h5py_i2.h5", rng.integers(-3000, 3000, (ROWS, COLS)).astype("i2"))
h5("h5py_chunked.h5", data, chunks=(4, 10))
h5("h5py_gzip_shuffle.hdf5", data.astype("f4"), chunks=(5, 8), compression="gzip", shuffle=True)
h5("h5py_gzip_f8.h5", data, chunks=(13, 1), compression="gzip")
h5("h5py_lzf.h5", data, chunks=(6, 37), compression="lzf")
h5("h5py_fletcher32.h5", data, chunks=(6, 37), fletcher32=True)
h5("h5py_unlimited.h5", data, maxshape=(None, COLS), chunks=(4, 37), compression="gzip")
h5("h5py_gzip_big.h5", data.astype(">f4"), chunks=(5, 8), compression="gzip", shuffle=True)
h5("h5py_v110.h5", data, {"libver": ("v110", "v110")}, chunks=(4, 10), compression="gzip")
# HDF5 2.x writes a data layout that hdf5-pure 0.47 does not know: an error that names h5repack.
h5("refused_latest_chunked.h5", data, {"libver": "latest"}, chunks=(4, 10), compression="gzip")
del expected["refused_latest_chunked.h5"]
h5("h5py_latest_contiguous.h5", data, {"libver": "latest"})

repeats = rng.standard_normal((4, ROWS, COLS))
for name, options in [("repeats.hf5", {}), ("repeats_gzip.hf5", {"compression": "gzip"})]:
    with h5py.File(HERE / name, "w") as file:
        file.create_dataset("data", data=repeats.mean(0), **options)
        file.create_dataset("individual_repeats", data=repeats, **options)
    expected[name] = known(repeats.mean(0))
    expected[name + "/individual_repeats"] = known(repeats)

with tables.open_file(HERE / "pytables_array.hf5", "w") as file:
    file.create_array("/", "data", data, track_times=False)
with tables.open_file(HERE / "pytables_zlib.hf5", "w") as file:
    filters = tables.Filters(complevel=5, complib="zlib", shuffle=True)
    file.create_carray("/", "data", obj=data, filters=filters, chunkshape=(4, 16), track_times=False)
for name in ["pytables_array.hf5", "pytables_zlib.hf5"]:
    with tables.open_file(HERE / name) as file:
        expected[name] = known(file.root.data[...])
with tables.open_file(HERE / "refused_blosc.hf5", "w") as file:
    filters = tables.Filters(5, "blosc")
    file.create_carray("/", "data", obj=data, filters=filters, track_times=False)

with h5py.File(HERE / "refused_no_data.h5", "w") as file:
    file["bold"] = data
    file.create_group("more")["x"] = data
with h5py.File(HERE / "named.h5", "w") as file:
    file["runs/one/bold"] = data
expected["named.h5/runs/one/bold"] = known(data)
with h5py.File(HERE / "refused_text.h5", "w") as file:
    file["data"] = np.array([[b"a", b"b"]])
with h5py.File(HERE / "refused_complex.h5", "w") as file:
    file["data"] = data.astype("c16")
with h5py.File(HERE / "refused_3d.h5", "w") as file:
    file["data"] = repeats
with h5py.File(HERE / "refused_never_written.h5", "w") as file:
    file.create_dataset("data", shape=(ROWS, COLS), dtype="f8")


def npz(name, save, **arrays):
    save(HERE / name, **arrays)
    # The same bytes on another day.
    with zipfile.ZipFile(HERE / name) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(HERE / name, "w") as new:
        for info, content in members:
            fixed = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            fixed.compress_type = info.compress_type
            new.writestr(fixed, content)


npz("savez.npz", np.savez, data=data, other=np.arange(3))
npz("savez_only.npz", np.savez, bold=data.astype("f4"))
npz("savez_compressed.npz", np.savez_compressed, data=data)
npz("savez_fortran.npz", np.savez_compressed, data=np.asfortranarray(data))
npz("refused_two.npz", np.savez, a=data, b=data)
expected["savez.npz"] = expected["savez_compressed.npz"] = known(data)
expected["savez_fortran.npz"] = known(data)
expected["savez_only.npz"] = known(data.astype("f4"))

text = json.dumps({"shape": [ROWS, COLS], "values": expected}, separators=(",", ":"))
(HERE / "expected.json").write_text(text + "\n")
print(h5py.version.hdf5_version, sys.version, file=sys.stderr)
