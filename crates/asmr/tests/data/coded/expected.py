#!/usr/bin/env python3
"""What the files of this folder decode to by the reader in plain Python: `python3 expected.py` (with numpy) writes it beside them.

Weights as the CRC-32 of their bytes, to be met to the bit, and so the samples of corrected files; the networks' own values, evaluated in double precision.
"""

import pathlib
import sys
import tempfile
import zlib

import numpy as np

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[4] / "examples"))
import read_asmr

rows = ["file\tn_chunks\tn_weights\tcrc32_of_weights\tcrc32_of_corrected_samples"]
for path in sorted(HERE.glob("*.asmr")):
    header, chunks = read_asmr.read(path)
    corrected = "-"
    if "max_error" in header["chunks"]:
        with tempfile.NamedTemporaryFile(suffix=".npy") as samples:
            read_asmr.main([str(path), samples.name])
            corrected = f"{zlib.crc32(np.load(samples.name).tobytes()):08x}"
        chunks = [weights for weights, _ in chunks]
    extents, extent = header["signal"]["extents"], header["chunks"]["extent"]
    shapes = [[min(extent, extents[0] - k * extent)] + extents[1:] for k in range(len(chunks))]
    parts = [read_asmr.evaluate(header["network"], w, shape) for w, shape in zip(chunks, shapes)]
    np.concatenate(parts).astype("<f4").tofile(path.with_suffix(".f32"))
    weights = np.concatenate(chunks).astype("<f4").tobytes()
    rows.append(f"{path.name}\t{len(chunks)}\t{len(weights) // 4}\t{zlib.crc32(weights):08x}\t{corrected}")
(HERE / "expected.tsv").write_text("\n".join(rows) + "\n")
