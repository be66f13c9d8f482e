"""NIfTI images as nibabel writes them, and what nibabel reads from them.

nibabel 5.4.2, NumPy 2.4.6. `python make.py` in an environment with both.
"""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).parent
SHAPE = (5, 4, 3)
N_VOLUMES = 6
AFFINE = np.array(
    [[-2.25, 0.01, 0.0, 90.5], [0.02, 2.5, 0.1, -126.25], [0.0, -0.1, 3.0, -72.75], [0, 0, 0, 1]]
)
rng = np.random.default_rng(7)


def save(image, name):
    """Bytes of the image; gzip without a time stamp."""
    data = image.to_bytes()
    if name.endswith(".gz"):
        data = gzip.compress(data, compresslevel=6, mtime=0)
    (HERE / name).write_bytes(data)


def known(values):
    return [None if np.isnan(v) else float(v) for v in np.asarray(values, "f8").ravel()]


def image(data, version=1, order="<", affine=AFFINE, scale=None):
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    made = kind(data.astype(data.dtype.newbyteorder(order)), affine, dtype=data.dtype)
    if order == ">":
        made = kind(data, affine, made.header.as_byteswapped(">"))
    if scale is not None:
        made.header.set_slope_inter(*scale)
    return made


def stored_with_scale(data, scale, version, order):
    """`data` are the stored integers; the image says slope and intercept."""
    made = image(data, version, order)
    header = made.header.copy()
    header["scl_slope"], header["scl_inter"] = scale
    header["vox_offset"] = 352 if version == 1 else 544
    out = header.binaryblock + b"\0" * 4
    return out + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")


mask = rng.random(SHAPE) < 0.4
mask[0, 0, 0] = mask[-1, -1, -1] = True
save(image(mask.astype("u1")), "mask.nii.gz")
save(image(mask.astype("f4"), version=2), "mask_nifti2.nii")

expected = {
    "mask": {
        "n_voxels": int(mask.sum()),
        "positions": np.argwhere(mask).tolist(),
        "affine": nib.load(HERE / "mask.nii.gz").affine[:3].tolist(),
        "affine_nifti2": nib.load(HERE / "mask_nifti2.nii").affine[:3].tolist(),
    },
    "bold": {},
    "affines": {},
}

CASES = [
    ("f4", 1, "<", ".nii"),
    ("f4", 2, ">", ".nii.gz"),
    ("f8", 1, ">", ".nii"),
    ("f8", 2, "<", ".nii.gz"),
    ("i2", 1, "<", ".nii.gz"),
    ("i2", 2, ">", ".nii"),
    ("u1", 1, "<", ".nii"),
    ("i1", 1, "<", ".nii"),
    ("u2", 1, ">", ".nii"),
    ("i4", 1, "<", ".nii"),
    ("u4", 2, "<", ".nii"),
    ("i8", 1, ">", ".nii"),
    ("u8", 2, "<", ".nii"),
]
for dtype, version, order, suffix in CASES:
    if dtype.startswith("f"):
        data = rng.standard_normal((*SHAPE, N_VOLUMES)).astype(dtype)
        data[2, 2, 1, 3] = np.nan
    else:
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        data = rng.integers(max(low, -(2**50)), min(high, 2**50), (*SHAPE, N_VOLUMES), dtype)
    name = f"{dtype}_v{version}_{'le' if order == '<' else 'be'}{suffix}"
    save(image(data, version, order), name)
    expected["bold"][name] = known(nib.load(HERE / name).get_fdata()[mask].T)

stored = rng.integers(-2000, 2000, (*SHAPE, N_VOLUMES)).astype("i2")
for name, scale, version, order in [
    ("scaled_v1.nii", (0.125, -3.5), 1, "<"),
    ("scaled_v2.nii", (-0.3, 100.0), 2, ">"),
    ("slope_zero.nii", (0.0, 5.0), 1, "<"),
    ("slope_nan.nii", (np.nan, 5.0), 1, "<"),
]:
    (HERE / name).write_bytes(stored_with_scale(stored, scale, version, order))
    expected["bold"][name] = known(nib.load(HERE / name).get_fdata()[mask].T)

# An extension between header and data.
made = image(rng.standard_normal((*SHAPE, N_VOLUMES)).astype("f4"))
made.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a note of 40 bytes" * 3))
save(made, "extension.nii")
expected["bold"]["extension.nii"] = known(nib.load(HERE / "extension.nii").get_fdata()[mask].T)

# Where the affine comes from: qform alone, qform with a flipped z, neither.
small = np.ones((2, 3, 4), "u1")
for name, flip in [("qform.nii", 1.0), ("qform_flipped.nii", -1.0)]:
    turned = nib.Nifti1Image(small, None)
    c, s = np.cos(0.4), np.sin(0.4)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, flip]])
    affine = np.eye(4)
    affine[:3, :3] = rotation * [2.0, 2.5, 3.0]
    affine[:3, 3] = [10.5, -20.25, 30.125]
    turned.header.set_qform(affine, code=1)
    turned.header["sform_code"] = 0
    save(nib.Nifti1Image(small, None, turned.header), name)
bare = nib.Nifti1Image(small, None)
bare.header["pixdim"][1:4] = [2.0, 2.5, 3.0]
bare.header["sform_code"] = bare.header["qform_code"] = 0
(HERE / "no_form.nii").write_bytes(
    bare.header.binaryblock + b"\0" * 4 + small.tobytes(order="F")
)
for name in ["qform.nii", "qform_flipped.nii", "no_form.nii"]:
    expected["affines"][name] = nib.load(HERE / name).affine[:3].tolist()

# Refused.
save(image(np.ones(SHAPE, "c8")), "refused_complex.nii")
save(image(np.ones((*SHAPE, 2, 2), "f4")), "refused_5d.nii")
pair = nib.Nifti1Pair(np.ones(SHAPE, "f4"), AFFINE)
pair.header["magic"] = b"ni1"
(HERE / "refused_pair.hdr").write_bytes(pair.header.binaryblock)

text = json.dumps(expected, indent=None, separators=(",", ":"))
(HERE / "expected.json").write_text(text + "\n")
