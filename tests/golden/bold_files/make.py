"""BOLD as labs keep it: files of pickle, joblib, NumPy, SciPy, h5py and nibabel.

NumPy 2.4.6, SciPy 1.17.1, joblib 1.6.0, h5py 3.16.0, nibabel 5.4.2. `python make.py` in an environment
with all five. Every file holds one of the matrices of `expected_*.npy`, which `expected.json` names.
"""

import decimal
import gzip
import json
import pickle
import sys
import zipfile
from pathlib import Path

import h5py
import joblib
import nibabel as nib
import numpy as np
import scipy.sparse
from nibabel import cifti2

HERE = Path(__file__).parent
rng = np.random.default_rng(23)
TRS, VOXELS, LEFT = 11, 14, 8
a = rng.standard_normal((TRS, VOXELS)).astype("f4")
a[3, 5] = np.nan
b = rng.standard_normal((9, VOXELS))
repeats = rng.standard_normal((3, TRS, VOXELS)).astype("f4")
mean = repeats.astype("f8").mean(0).astype("f4")
half = rng.standard_normal((TRS, VOXELS)).astype("f2")
half[0, :4] = [np.inf, -np.inf, 6e-8, -0.0]
integers = rng.integers(-30000, 30000, (TRS, VOXELS))
sparse = scipy.sparse.random(TRS, VOXELS, 0.2, random_state=5).toarray()
sparse[4] = 0
matrices = {"a": a, "b": b, "mean": mean, "half": half, "integers": integers, "sparse": sparse}
for name, values in matrices.items():
    np.save(HERE / f"expected_{name}.npy", values.astype("f8"))
expected = {}


def holds(file, matrix):
    expected[file] = matrix


# NumPy: halves and integers in both byte orders.
for order in "<>":
    name = {"<": "little", ">": "big"}[order]
    np.save(HERE / f"half_{name}.npy", half.astype(f"{order}f2"))
    holds(f"half_{name}.npy", "half")
    for kind in ["i2", "i4", "i8"]:
        np.save(HERE / f"{kind}_{name}.npy", integers.astype(f"{order}{kind}"))
        holds(f"{kind}_{name}.npy", "integers")
np.save(HERE / "half_fortran.npy", np.asfortranarray(half))
holds("half_fortran.npy", "half")
np.save(HERE / "repeats.npy", repeats)
holds("repeats.npy", "mean")

# Dictionaries of stories.
stories = {"a": a, "b": np.asfortranarray(b), "note": "z-scored", "n": 2, "repeated": repeats}


def dictionary(file):
    for story, matrix in [("a", "a"), ("b", "b"), ("repeated", "mean")]:
        holds(f"{file}:{story}", matrix)


for protocol in range(6):
    with open(HERE / f"protocol{protocol}.pkl", "wb") as file:
        pickle.dump(stories, file, protocol=protocol)
    dictionary(f"protocol{protocol}.pkl")
(HERE / "gzip.pkl.gz").write_bytes(gzip.compress(pickle.dumps(stories, 4), mtime=0))
dictionary("gzip.pkl.gz")
np.save(HERE / "saved_dict.npy", stories, allow_pickle=True)
dictionary("saved_dict.npy")
joblib.dump(stories, HERE / "plain.jbl")
dictionary("plain.jbl")
joblib.dump(stories, HERE / "zlib.jbl", compress=3)
dictionary("zlib.jbl")
joblib.dump(stories, HERE / "zlib.joblib", compress=("zlib", 9))
dictionary("zlib.joblib")
np.savez(HERE / "stories.npz", **{name: stories[name] for name in ["a", "b", "repeated"]})
np.savez_compressed(HERE / "packed.npz", **{name: stories[name] for name in ["a", "b", "repeated"]})
for name in ["stories.npz", "packed.npz"]:
    dictionary(name)
with open(HERE / "nested.pkl", "wb") as file:
    pickle.dump({"ses-01": {"a": a}, "ses-02": {"b": b}}, file)
holds("nested.pkl:ses-01/a", "a")
holds("nested.pkl:ses-02/b", "b")
joblib.dump(a, HERE / "array.joblib")
holds("array.joblib", "a")
with open(HERE / "refused_class.pkl", "wb") as file:
    pickle.dump({"a": a, "b": decimal.Decimal(1)}, file)
joblib.dump({"a": a, "b": decimal.Decimal(1)}, HERE / "refused_class.jbl")
joblib.dump(stories, HERE / "refused_lzma.jbl", compress=("lzma", 3))
joblib.dump(stories, HERE / "refused_bz2.jbl", compress=("bz2", 3))
np.save(HERE / "refused_objects.npy", np.array([a, "b"], dtype=object), allow_pickle=True)

# HDF5: a file per subject, groups, MATLAB.
with h5py.File(HERE / "subject.hdf", "w") as file:
    file["a"], file["b"], file["repeated"] = a, b, repeats
    file["voxels"] = np.arange(VOXELS)
with h5py.File(HERE / "groups.h5", "w") as file:
    file["ses-01/a"] = a
    file.create_dataset("ses-02/b", data=b, chunks=(4, 5), compression="gzip")
    file.create_dataset("ses-02/repeated", data=repeats, chunks=(3, 5, 5), compression="gzip")
holds("groups.h5:ses-01/a", "a")
holds("groups.h5:ses-02/b", "b")
holds("groups.h5:ses-02/repeated", "mean")
dictionary("subject.hdf")
with h5py.File(HERE / "half.h5", "w") as file:
    file["data"] = half
    file["big"] = half.astype(">f2")
    file.create_dataset("packed", data=half, chunks=(4, 5), compression="gzip", shuffle=True)
for name in ["half.h5:data", "half.h5:big", "half.h5:packed"]:
    holds(name, "half")
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Thu Jan  1 00:00:00 1970 HDF5 schema 1.00 ."
with h5py.File(HERE / "matlab.mat", "w", userblock_size=512) as file:
    # MATLAB's first index moves fastest, HDF5's last one.
    for name, values, options in [
        ("a", a, {}),
        ("b", b, {"chunks": (5, 4), "compression": "gzip"}),
        ("bold/a", a, {}),
    ]:
        file.create_dataset(name, data=values.T, **options).attrs["MATLAB_class"] = np.bytes_("double")
with open(HERE / "matlab.mat", "r+b") as file:
    file.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")
for name, matrix in [("a", "a"), ("b", "b"), ("bold/a", "a")]:
    holds(f"matlab.mat:{name}", matrix)
with h5py.File(HERE / "refused_links.h5", "w") as file:
    file["real"] = a
    file["data"] = h5py.SoftLink("/real")
with h5py.File(HERE / "refused_btree2.h5", "w", libver=("v110", "v110")) as file:
    options = {"chunks": (4, 5), "maxshape": (None, None), "compression": "gzip"}
    file.create_dataset("data", data=a, **options)
with h5py.File(HERE / "refused_virtual.h5", "w", libver=("v110", "v110")) as file:
    layout = h5py.VirtualLayout(a.shape, "f4")
    layout[...] = h5py.VirtualSource("subject.hdf", "a", a.shape)
    file.create_virtual_dataset("data", layout)
with h5py.File(HERE / "refused_external.h5", "w") as file:
    file.create_dataset("data", a.shape, "f4", external=[("raw.bin", 0, a.nbytes)])

# Sparse designs.
scipy.sparse.save_npz(HERE / "csr.npz", scipy.sparse.csr_matrix(sparse))
scipy.sparse.save_npz(HERE / "csr_array.npz", scipy.sparse.csr_array(sparse), compressed=False)
scipy.sparse.save_npz(HERE / "csc.npz", scipy.sparse.csc_matrix(sparse))
scipy.sparse.save_npz(HERE / "refused_coo.npz", scipy.sparse.coo_matrix(sparse))
for name in ["csr.npz", "csr_array.npz", "csc.npz"]:
    holds(name, "sparse")
for path in HERE.glob("*.npz"):
    # The same bytes on another day.
    with zipfile.ZipFile(path) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    with zipfile.ZipFile(path, "w") as new:
        for info, content in members:
            fixed = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            fixed.compress_type = info.compress_type
            new.writestr(fixed, content)

# Images: a mask of 14 voxels, five axes with a single one, repetition times.
inside = np.zeros((4, 3, 2), bool)
inside.flat[1:15] = True
nib.Nifti1Image(inside.astype("u1"), np.eye(4)).to_filename(HERE / "mask.nii")
nib.Nifti1Image((2 * inside).astype("f4"), np.eye(4)).to_filename(HERE / "mask_of_twos.nii")
volume = np.zeros(inside.shape + (TRS,), "f4")
volume[inside] = a.T
five = nib.Nifti1Image(volume[..., None, :], np.eye(4))
five.to_filename(HERE / "five.nii")
holds("five.nii", "a")
trs = {}
for name, tr, unit in [
    ("s", 1.5, "sec"),
    ("ms", 1500.0, "msec"),
    ("us", 1.5e6, "usec"),
    ("none", 1.5, "unknown"),
    ("one_none", 1.0, "unknown"),
    ("zero", 0.0, "sec"),
    ("hz", 1.5, "hz"),
]:
    for image, version in [(nib.Nifti1Image, 1), (nib.Nifti2Image, 2)]:
        made = image(volume[..., :2], np.eye(4))
        made.header.set_xyzt_units("mm", unit)
        made.header["pixdim"][4] = tr
        made.to_filename(HERE / f"tr_{name}_{version}.nii")
        trs[f"tr_{name}_{version}.nii"] = 1.5 if name in ["s", "ms", "us", "none"] else None

# Surfaces: the first 8 columns are the left hemisphere.
ENCODINGS = {"ascii": "ASCII", "base64": "B64BIN", "gzip": "B64GZ"}


def gifti(file, arrays, encoding="B64GZ", intent="NIFTI_INTENT_TIME_SERIES"):
    data = [
        nib.gifti.GiftiDataArray(x, intent, nib.nifti1.data_type_codes.niistring[x.dtype], encoding=encoding)
        for x in arrays
    ]
    nib.save(nib.gifti.GiftiImage(darrays=data), HERE / file)


for name, code in ENCODINGS.items():
    for hemi, columns in [("L", slice(0, LEFT)), ("R", slice(LEFT, None))]:
        gifti(f"{name}_hemi-{hemi}.func.gii", a[:, columns], code)
gifti("lh.surface.gii", [np.ascontiguousarray(a[:, :LEFT].T)])
gifti("rh.surface.gii", [np.ascontiguousarray(a[:, LEFT:].T)])
gifti("lh.turned.gii", [np.ascontiguousarray(a[:, :LEFT])])
gifti("refused_geometry.surf.gii", [a[:, :3].copy()], intent="NIFTI_INTENT_POINTSET")
gifti("refused_label.gii", [np.arange(VOXELS, dtype="i4")], intent="NIFTI_INTENT_LABEL")

# Grayordinates and parcels.
series = cifti2.SeriesAxis(0, 1.5, TRS)
models = cifti2.BrainModelAxis.from_surface(np.arange(LEFT), LEFT, "CortexLeft")
models += cifti2.BrainModelAxis.from_surface(np.arange(VOXELS - LEFT), VOXELS - LEFT, "CortexRight")
cifti2.Cifti2Image(a, (series, models)).to_filename(HERE / "a.dtseries.nii")
names = [f"parcel {i}" for i in range(VOXELS)]
parcels = cifti2.ParcelsAxis.from_brain_models(
    [(name, models[i : i + 1]) for i, name in enumerate(names)]
)
cifti2.Cifti2Image(a, (series, parcels)).to_filename(HERE / "a.ptseries.nii")
scalars = cifti2.ScalarAxis(["x"])
cifti2.Cifti2Image(a[:1], (scalars, models)).to_filename(HERE / "refused.dscalar.nii")
packed = gzip.compress((HERE / "a.dtseries.nii").read_bytes(), mtime=0)
(HERE / "packed.dtseries.nii.gz").write_bytes(packed)
for name in ["a.dtseries.nii", "a.ptseries.nii", "packed.dtseries.nii.gz"]:
    holds(name, "a")
    trs[name] = 1.5

nib.freesurfer.MGHImage(volume[..., 0], np.eye(4)).to_filename(HERE / "refused.mgz")

# One small study in every form. Its values are halves, so that no form rounds them.
STUDY = HERE / "study"
lengths = {"adventure": 30, "breakfast": 34, "my_breakfast": 32, "sea": 36}
N = 10
bold = {name: rng.standard_normal((n, N)).astype("f2").astype("f4") for name, n in lengths.items()}
lines = ["story\tonset\toffset\tword"]
for name, n in lengths.items():
    at = 0.2
    while at < 2.0 * n - 1:
        word = ["the", "boat", "went", "out", "again"][rng.integers(5)]
        lines.append(f"{name}\t{at:.2f}\t{at + 0.3:.2f}\t{word}")
        at += 0.4 + rng.random() * 2
for folder in ["npy", "half", "turned", "hemi", "sessions/ses-1", "sessions/ses-2", "repeats",
               "surface", "grayordinates", "parcels", "images"]:
    (STUDY / folder).mkdir(parents=True, exist_ok=True)
(STUDY / "words.tsv").write_text("\n".join(lines) + "\n")
mask = np.zeros((3, 2, 2), bool)
mask.flat[1 : 1 + N] = True
nib.Nifti1Image(mask.astype("u1"), np.eye(4)).to_filename(STUDY / "images/mask.nii.gz")
(STUDY / "images/mask.nii.gz").write_bytes(
    gzip.compress(gzip.decompress((STUDY / "images/mask.nii.gz").read_bytes()), mtime=0)
)
HERE_WAS, HERE = HERE, STUDY
for index, (name, x) in enumerate(bold.items()):
    np.save(STUDY / f"npy/{name}.npy", x)
    np.save(STUDY / f"half/{name}.npy", x.astype(">f2"))
    np.save(STUDY / f"turned/{name}.npy", np.ascontiguousarray(x.T))
    np.save(STUDY / f"hemi/{name}_lh.npy", x[:, :4])
    np.save(STUDY / f"hemi/{name}_rh.npy", x[:, 4:])
    np.save(STUDY / f"sessions/ses-{1 + index % 2}/ses-{1 + index % 2}_{name}.npy", x)
    np.save(STUDY / f"repeats/{name}.npy", np.stack([x, x + 1, x - 1]))
    gifti(f"surface/{name}_hemi-L.func.gii", np.ascontiguousarray(x[:, :4]))
    gifti(f"surface/{name}_hemi-R.func.gii", np.ascontiguousarray(x[:, 4:]), "B64BIN")
    axis = cifti2.SeriesAxis(0, 2.0, len(x))
    gray = cifti2.BrainModelAxis.from_surface(np.arange(N), N, "CortexLeft")
    cifti2.Cifti2Image(x, (axis, gray)).to_filename(STUDY / f"grayordinates/{name}.dtseries.nii")
    named = cifti2.ParcelsAxis.from_brain_models([(f"area {i}", gray[i : i + 1]) for i in range(N)])
    cifti2.Cifti2Image(x, (axis, named)).to_filename(STUDY / f"parcels/{name}.ptseries.nii")
    volume = np.zeros(mask.shape + (len(x),), "f4")
    volume[mask] = x.T
    image = nib.Nifti1Image(volume[..., None, :], np.eye(4))
    image.header["pixdim"][4] = 2.0
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(STUDY / f"images/{name}.nii")
with h5py.File(STUDY / "subject.hdf", "w") as file:
    for name, x in bold.items():
        file[name] = x
    file["voxels"] = np.arange(N)
with h5py.File(STUDY / "groups.h5", "w") as file:
    for index, (name, x) in enumerate(bold.items()):
        file.create_dataset(f"ses-{index % 2}/ses-{index % 2}_{name}", data=x, chunks=(7, 4), compression="gzip")
with h5py.File(STUDY / "matlab.mat", "w", userblock_size=512) as file:
    for name, x in bold.items():
        file[name] = x.T
with open(STUDY / "matlab.mat", "r+b") as file:
    file.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")
with open(STUDY / "subject.pkl", "wb") as file:
    pickle.dump(bold, file)
joblib.dump(bold, STUDY / "subject.jbl")
joblib.dump(bold, STUDY / "packed.joblib", compress=3)
np.save(STUDY / "dict.npy", bold, allow_pickle=True)
with zipfile.ZipFile(STUDY / "subject.npz", "w") as archive:
    for name in bold:
        member = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
        archive.writestr(member, (STUDY / f"npy/{name}.npy").read_bytes())
HERE = HERE_WAS

document = {"files": expected, "tr_s": trs, "parcels": names}
(HERE / "expected.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
print(sys.version, file=sys.stderr)
