"""Reads what tests/volume.rs wrote with nibabel, numpy and zarr, and compares it with the definition of its values.

    python check_volumes.py FOLDER

A file's name is TYPE_AXES_ORDER.EXTENSION with the axes as 3x4x5 and the order le or be; prints how many were right.
"""

import pathlib
import sys

import nibabel as nib
import numpy as np
import zarr

from gen_volumes import values

n = 0
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    kind, _, extension = path.name.partition(".")
    dtype, axes, order = kind.split("_")
    shape = tuple(int(x) for x in axes.split("x"))
    dtype = np.dtype({"le": "<", "be": ">"}[order] + dtype)
    spacing = [0.5 * (i + 1) for i in range(len(shape))]
    if extension in ("nii", "nii.gz"):
        image = nib.load(path)
        a = np.asarray(image.dataobj.get_unscaled()).T
        assert image.header.get_zooms()[::-1] == tuple(spacing), path
        assert image.header.get_xyzt_units()[0] == "mm", path
    elif extension == "npy":
        a = np.load(path)
    elif extension == "npz":
        archive = np.load(path)
        assert archive.files == ["field"], archive.files
        a = archive["field"]
    elif extension == "raw":
        a = np.fromfile(path, dtype).reshape(shape)
    else:
        z = zarr.open_array(path, mode="r")
        a = z[:]
        # zarr gives the machine's own byte order; the array's is in its codec.
        assert dtype.itemsize == 1 or z.metadata.codecs[0].endian.value == {"le": "little", "be": "big"}[order], path
        assert z.attrs["spacing"] == spacing and z.attrs["unit"] == "mm", path
        dtype = dtype.newbyteorder("=")
    assert a.dtype == dtype, (path, a.dtype, dtype)
    assert np.array_equal(a, values(shape, dtype)), path
    n += 1
print(n)
