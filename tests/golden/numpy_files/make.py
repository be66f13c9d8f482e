"""Small .npy files as NumPy writes them, with their values as JSON.

NumPy 2.4.6. Run through scripts/golden.
"""

import json
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
expected = {}


def plain(value):
    """A JSON value: numbers and booleans as they are, NaN and infinities as words."""
    if isinstance(value, float) and not np.isfinite(value):
        return {"nan": "nan", "inf": "inf", "-inf": "-inf"}[str(value)]
    return value


def write(name, array, version=None):
    with open(HERE / f"{name}.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=version)
    with open(HERE / f"{name}.npy", "rb") as file:
        major, minor = np.lib.format.read_magic(file)
    expected[name] = {
        "descr": array.dtype.str,
        "shape": list(array.shape),
        "fortran_order": bool(array.flags.f_contiguous and not array.flags.c_contiguous),
        "version": [major, minor],
        "c_order_values": [plain(v) for v in array.ravel(order="C").tolist()],
    }


grid = np.arange(12).reshape(3, 4)
for dtype in ("<f4", "<f8", ">f8", ">f4"):
    name = dtype.replace("<", "le_").replace(">", "be_")
    values = (grid * 1.25 - 3.5).astype(dtype)
    write(f"{name}_c", np.ascontiguousarray(values))
    write(f"{name}_fortran", np.asfortranarray(values))

for dtype in ("<i2", "<i4", "<i8", ">i4", "<u2", "<u4", "<u8", "|i1", "|u1"):
    info = np.iinfo(dtype)
    name = dtype.replace("<", "le_").replace(">", "be_").replace("|", "")
    write(f"{name}_1d", np.array([0, 1, 5, info.min, info.max], dtype=dtype))
write("le_i2_fortran", np.asfortranarray((grid * 300 - 900).astype("<i2")))
write("bool_1d", np.array([True, False, False, True]))
write("bool_2d_fortran", np.asfortranarray(grid % 3 == 0))

write("le_f4_0d", np.array(2.5, dtype="<f4"))
write("le_f8_1d", np.array([0.1, -0.0, 1e300, 5e-324], dtype="<f8"))
write("le_f4_special", np.array([np.nan, np.inf, -np.inf, 1e-45, 3.4028235e38], dtype="<f4"))
write("le_f4_3d", np.arange(24, dtype="<f4").reshape(2, 3, 4))
write("le_f4_empty", np.zeros((0, 3), dtype="<f4"))
write("le_f4_one_column", np.arange(5, dtype="<f4").reshape(5, 1))
write("le_f8_version2", (grid * 0.5).astype("<f8"), version=(2, 0))
write("le_f4_version3", (grid * 0.5).astype("<f4"), version=(3, 0))
write("le_f4_version2_fortran", np.asfortranarray((grid * 0.5).astype("<f4")), version=(2, 0))

# Kinds that hold no numbers: a reader must refuse them by name.
write("refused_complex", np.array([1 + 2j]).view("<f8").view("<c16"))
expected["refused_complex"]["c_order_values"] = None
write("refused_text", np.array(["a", "bc"]))
expected["refused_text"]["c_order_values"] = None
write("refused_record", np.array([(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f8")]))
expected["refused_record"]["c_order_values"] = None

lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in expected.items())
(HERE / "expected.json").write_text("{\n" + lines + "\n}\n")
