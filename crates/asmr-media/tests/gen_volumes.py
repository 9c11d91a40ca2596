"""Writes the files in tests/volumes: made by nibabel, numpy and zarr, read by tests/volume.rs.

    pip install nibabel==5.4.2 numpy==2.4.6 zarr==3.1.6
    python gen_volumes.py

The value at the flat index i (row-major, slowest axis first) is (37 i mod 101) - 50, plus 50 where the type is
unsigned, divided by 8 where it is a float.
"""

import pathlib
import shutil

import nibabel as nib
import numpy as np
import zarr

FOLDER = pathlib.Path(__file__).parent / "volumes"


def values(shape, dtype):
    i = np.arange(np.prod(shape), dtype=np.int64)
    v = i * 37 % 101 - 50
    dtype = np.dtype(dtype)
    if dtype.kind == "u":
        v = v + 50
    if dtype.kind == "f":
        v = v / 8
    return v.reshape(shape).astype(dtype)


def header(array, endianness, affine=None):
    """`array` has its slowest axis first; NIfTI counts from the fastest."""
    h = nib.Nifti1Header(endianness=endianness)
    h.set_data_dtype(array.dtype)
    h.set_data_shape(array.shape[::-1])
    h["vox_offset"] = 352
    h["magic"] = b"n+1"
    h["descrip"] = b"made by gen_volumes.py"
    if affine is not None:
        h.set_xyzt_units("mm", "sec")
        h.set_sform(affine, code=2)
        h.set_qform(affine, code=1)
    return h


def nifti(name, h, array):
    if array.dtype.names is None:
        array = array.astype(array.dtype.newbyteorder(h.endianness))
    data = h.binaryblock + b"\0" * 4 + array.tobytes()
    if name.endswith(".gz"):
        import gzip

        data = gzip.compress(data, mtime=0)
    (FOLDER / name).write_bytes(data)
    if not name.endswith(".hdr"):
        image = nib.load(FOLDER / name)
        assert np.array_equal(image.dataobj.get_unscaled().T, array.reshape(h.get_data_shape()[::-1])), name


def affine():
    """Turned by 0.3 rad about z and 0.2 about x, with the first axis flipped, voxels of 1.5, 0.957 and 2 mm."""
    a, b = 0.3, 0.2
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    m = np.eye(4)
    m[:3, :3] = about_z @ about_x @ np.diag([-1.5, 0.957, 2.0])
    m[:3, 3] = [90.5, -126.25, -71.75]
    return m


def moved(h, array, first, step):
    """The header of array[first + step * i], x first; nibabel turns its own matrices into fields."""
    m = np.diag([*step, 1.0])
    m[:3, 3] = first
    h = h.copy()
    sform, qform = h.get_sform(), h.get_qform()
    h.set_data_shape(array.shape[::-1])
    h.set_sform(sform @ m, code=2)
    h.set_qform(qform @ m, code=1)
    return h


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()

    a = values((3, 4, 5), "i2")
    h = header(a, "<", affine())
    h["scl_slope"], h["scl_inter"] = 2, -1
    nifti("i16.nii", h, a)
    part = np.ascontiguousarray(a[1:3, 2:4, 1:4])
    # What nibabel says of such a part.
    sliced = nib.load(FOLDER / "i16.nii").slicer[1:4, 2:4, 1:3]
    cut = moved(h, part, [1, 2, 1], [1, 1, 1])
    assert np.allclose(sliced.affine, cut.get_sform(), atol=1e-4)
    assert np.allclose(sliced.affine, cut.get_qform(), atol=1e-4)
    nifti("i16_cut.nii", cut, part)
    coarse = np.ascontiguousarray(a[:2, :2, :2])
    nifti("i16_coarse.nii", moved(h, coarse, [0.5, 0.5, 0.5], [2, 2, 2]), coarse)

    a = values((3, 2, 4, 3), "f4")
    h = header(a, ">", affine())
    h["pixdim"][4] = 2.5
    h["toffset"] = 7
    nifti("f32_be_time.nii.gz", h, a)
    nifti("f32_be_time.nii", h, a)
    for dtype in ["u1", "i1", "u2", "i4", "u4", "f8"]:
        a = values((2, 3, 4), dtype)
        nifti(f"{a.dtype.name}.nii", header(a, "<"), a)
    h = header(values((3, 4), "u1"), "<")
    h.set_data_shape((4, 3, 1, 1))
    nifti("trailing.nii", h, values((3, 4), "u1"))
    rgb = values((2, 3, 4, 3), "u1").view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nifti("rgb.nii", header(rgb, "<"), rgb)
    a = values((2, 3, 4), "i4")
    h = header(a, "<")
    h["magic"], h["vox_offset"] = b"ni1", 0
    (FOLDER / "pair.hdr").write_bytes(h.binaryblock)
    (FOLDER / "pair.img").write_bytes(a.tobytes())
    assert np.array_equal(np.asarray(nib.load(FOLDER / "pair.hdr").dataobj).T, a)
    a = values((2, 3, 4), "i2")
    nib.save(nib.Nifti2Image(a.T, np.eye(4)), FOLDER / "version2.nii")
    for name, a in {
        "i64.nii": values((2, 3, 4), "i8"),
        "complex.nii": values((2, 3, 4), "f4").astype("c8"),
        "five_axes.nii": values((2, 2, 2, 2, 2), "u1"),
    }.items():
        nifti(name, header(a, "<"), a)
    a = values((2, 3, 4), "f4")
    a[1, 2, 3] = np.nan
    (FOLDER / "nan.nii").write_bytes(header(a, "<").binaryblock + b"\0" * 4 + a.tobytes())

    def npy(name, a):
        np.save(FOLDER / name, a)

    for dtype in ["u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8", ">u2", ">i2", ">u4", ">i4", ">f4", ">f8"]:
        a = values((3, 4, 5), dtype)
        order = "be" if dtype[0] == ">" else "le"
        npy(f"{order}_{a.dtype.name}.npy", a)
    npy("axes1.npy", values((7,), "<i2"))
    npy("axes2.npy", values((12, 2), "<i2"))
    npy("axes4.npy", values((2, 3, 4, 5), "<i2"))
    npy("fortran2.npy", np.asfortranarray(values((3, 4), "<u2")))
    npy("fortran3.npy", np.asfortranarray(values((3, 4, 5), "<f8")))
    npy("fortran4_be.npy", np.asfortranarray(values((2, 3, 4, 5), ">i2")))
    npy("bool.npy", values((3, 4), "u1") % 2 == 1)
    npy("constant.npy", np.full((2, 3, 4), -5, "<i2"))
    npy("five_axes.npy", values((1, 2, 1, 2, 2), "u1"))
    npy("empty_axis.npy", np.zeros((3, 0, 2), "u1"))
    npy("scalar.npy", np.float32(3))
    npy("i64.npy", values((3, 4), "<i8"))
    npy("f16.npy", values((3, 4), "<f2"))
    npy("record.npy", np.zeros(3, [("a", "<i2"), ("b", "<f4")]))
    a = values((3, 4, 5), "<f4")
    a[2, 1, 3] = -np.inf
    npy("infinite.npy", a)
    np.savez(FOLDER / "stored.npz", values((3, 4, 5), "<i2"))
    np.savez_compressed(FOLDER / "deflated.npz", field=np.asfortranarray(values((3, 4, 5), ">f4")))
    np.savez_compressed(FOLDER / "two.npz", b=values((2, 3), "u1"), a=values((3, 4, 5), "<u2"))

    def array(name, a, **options):
        z = zarr.create_array(FOLDER / name, shape=a.shape, dtype=a.dtype, **options)
        z[:] = a
        assert np.array_equal(zarr.open_array(FOLDER / name, mode="r")[:], a)

    from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    array("zstd.zarr", values((3, 4, 5), "<i2"), chunks=(2, 3, 5))
    array(
        "gzip_be.zarr",
        values((3, 4, 5), ">f4"),
        chunks=(2, 4, 3),
        serializer=BytesCodec(endian="big"),
        compressors=[GzipCodec(), Crc32cCodec()],
    )
    array("checksum.zarr", values((7,), "u1"), chunks=(3,), compressors=[ZstdCodec(checksum=True)])
    array(
        "transposed.zarr",
        values((2, 3, 4, 5), "<u2"),
        chunks=(2, 2, 3, 4),
        filters=[TransposeCodec(order=(2, 0, 3, 1))],
        compressors=[],
        attributes={"spacing": [2.5, 2, 1, 0.5], "unit": "mm"},
    )
    array("sharded.zarr", values((4, 6, 8), "<i4"), chunks=(2, 3, 2), shards=(4, 6, 4))
    array(
        "names.zarr",
        values((4, 6), "<f8"),
        chunks=(3, 3),
        chunk_key_encoding={"name": "v2", "separator": "."},
        compressors=[],
    )
    a = values((4, 6), "<i2")
    a[:2, :3] = -7
    array("missing.zarr", a, chunks=(2, 3), fill_value=-7)
    assert not (FOLDER / "missing.zarr/c/0/0").exists()
    array("bool.zarr", values((3, 4), "u1") % 2 == 1, chunks=(3, 4))
    array("i64.zarr", values((3, 4), "<i8"), chunks=(3, 4))
    array("five_axes.zarr", values((1, 2, 1, 2, 2), "u1"), chunks=(1, 2, 1, 2, 2))
    group = zarr.create_group(FOLDER / "group.zarr")
    inner = group.create_group("level")
    for name, where in [("a", group), ("b", inner)]:
        z = where.create_array(name, shape=(2, 3), dtype="<u2", chunks=(2, 3), compressors=[])
        z[:] = values((2, 3), "<u2")

    for path in FOLDER.rglob("*"):
        assert path.is_dir() or path.stat().st_size < 4096, path


if __name__ == "__main__":
    main()
