"""Classic picture codecs beside ASMR: `python classic_codecs.py PICTURE...` prints a row for each picture, codec and setting.

A row has the columns of COLUMNS, separated by tabs. PSNR is that of all 8-bit values of the decoded picture against the original
(peak 255), bytes are those of the whole file; seconds and Mpx/s (the median of REPETITIONS decodes) are of one thread.
"""

import io
import statistics
import sys
import time
from pathlib import Path

import imagecodecs
import numpy
import PIL
from PIL import Image

REPETITIONS = 5
COLUMNS = ["codec", "picture", "setting", "n_samples", "bytes", "psnr_db", "seconds", "decode_msamples_s"]


def jpeg(picture, quality):
    # By Pillow: imagecodecs has no option for progressive order, which makes most files smaller and the least ones larger.
    files = []
    for progressive in (False, True):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=quality, optimize=True, progressive=progressive)
        files.append(out.getvalue())
    return min(files, key=len)


# These at the settings that give the smallest files in seconds.
def webp(picture, quality):
    return imagecodecs.webp_encode(picture, level=quality, method=6, lossless=False, numthreads=1)


def avif(picture, quality):
    return imagecodecs.avif_encode(picture, level=quality, speed=3, pixelformat="444", numthreads=1)


def jpeg_xl(picture, distance):
    return imagecodecs.jpegxl_encode(picture, distance=distance, effort=9, numthreads=1)


# What each is called, its encoder and decoder, what its setting is called, and settings from some 0.1 to 2 bits per sample.
CODECS = [
    ("JPEG", jpeg, imagecodecs.jpeg8_decode, "quality", [3, 6, 10, 20, 35, 55, 75, 88]),
    ("WebP", webp, imagecodecs.webp_decode, "quality", [0, 3, 10, 25, 50, 75, 88]),
    ("AVIF", avif, lambda data: imagecodecs.avif_decode(data, numthreads=1), "quality", [5, 15, 25, 35, 45, 55, 65, 75, 85]),
    (
        "JPEG XL",
        jpeg_xl,
        lambda data: imagecodecs.jpegxl_decode(data, numthreads=1),
        "distance",
        [25, 18, 14, 10, 7, 4.5, 3, 2, 1.2, 0.7],
    ),
]


def psnr_db(a, b):
    return -10 * numpy.log10(numpy.mean((a.astype(float) - b.astype(float)) ** 2) / 255**2)


def main(paths):
    versions = [getattr(imagecodecs, f"{name}_version")() for name in ("jpeg8", "webp", "avif", "jpegxl")]
    print(f"# imagecodecs {imagecodecs.__version__}: {', '.join(versions)}; Pillow {PIL.__version__}")
    print("\t".join(COLUMNS))
    for path in map(Path, paths):
        picture = imagecodecs.imread(path)
        n_samples = picture.shape[0] * picture.shape[1]
        for name, encode, decode, setting, values in CODECS:
            for value in values:
                start = time.perf_counter()
                data = encode(picture, value)
                seconds = time.perf_counter() - start
                times = []
                for _ in range(REPETITIONS):
                    start = time.perf_counter()
                    decoded = decode(data)
                    times.append(time.perf_counter() - start)
                assert decoded.shape == picture.shape
                speed = n_samples / statistics.median(times) / 1e6
                quality = psnr_db(picture, decoded)
                row = [name, path.stem, f"{setting} {value}", n_samples, len(data)]
                print("\t".join(map(str, row + [f"{quality:.4f}", f"{seconds:.4f}", f"{speed:.2f}"])), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
