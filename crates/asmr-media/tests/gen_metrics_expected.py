"""Records what NumPy and scikit-image say about pairs of pictures that tests/metrics.rs makes in the same way.

python3 gen_metrics_expected.py EXAMPLES_FOLDER DATA_FOLDER > metrics_expected.tsv
"""

import os
import sys

import numpy as np
import skimage
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def noise(v, top):
    i = np.arange(v.size, dtype=np.int64).reshape(v.shape)
    return np.clip(v + ((i * 7919 + i // 8 * 104729) % 31 - 15) * (top // 255), 0, top)


def blur(v, top):
    p = np.pad(v, ((1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = v.shape[:2]
    return (sum(p[y : y + h, x : x + w] for y in range(3) for x in range(3)) + 4) // 9


def requantise(v, top):
    step = (top + 1) // 16
    return v // step * step + step // 2


DISTORTIONS = {"equal": lambda v, top: v, "noise": noise, "blur": blur, "requantise": requantise}


def kinds(name, v):
    """The 8-bit picture `v` (rows, columns, channels) as every kind of signal it is tested as."""
    i = np.arange(v.size, dtype=np.int64).reshape(v.shape)
    pixel = np.arange(v.shape[0] * v.shape[1], dtype=np.int64).reshape(*v.shape[:2], 1)
    yield name, v, 255
    yield name + "-16", v * 256 + (i * 37 & 255), 65535
    yield name + "-alpha", np.concatenate([v, pixel * 5 % 256], axis=2), 255
    yield name + "-f32", v, 1


def row(picture, distortion, a, b, unit):
    """`a` and `b` are scaled to [0, 1] in f64; `unit` is what 1 is in the signal's own units."""
    mse = np.mean((a - b) ** 2)
    psnr = "none" if mse == 0 else repr(float(peak_signal_noise_ratio(a, b, data_range=1)))
    ssim = "none"
    if min(a.shape[:2]) >= 7:
        ssim = repr(float(structural_similarity(a, b, data_range=1, channel_axis=-1)))
    worst = np.max(np.abs(a - b)) * unit
    print(picture, distortion, repr(float(mse)), psnr, ssim, repr(float(worst)), sep="\t")


def record(name, v, all_kinds):
    for kind, values, top in kinds(name, v) if all_kinds else [(name, v, 255)]:
        for distortion, distort in DISTORTIONS.items():
            if top == 1:
                a = (values.astype(np.float32) / np.float32(255)).astype(np.float64)
                b = (distort(values, 255).astype(np.float32) / np.float32(255)).astype(np.float64)
            else:
                a, b = values / top, distort(values, top) / top
            row(kind, distortion, a, b, top)
        if top == 1:
            b = ((values * 3 - 80).astype(np.float32) / np.float32(510)).astype(np.float64)
            row(kind, "overshoot", a, b, top)


def load(folder, name):
    v = np.array(Image.open(os.path.join(folder, name)), dtype=np.int64)
    return v if v.ndim == 3 else v[..., None]


examples, data = sys.argv[1:]
print(f"# gen_metrics_expected.py with scikit-image {skimage.__version__}, numpy {np.__version__}")
print("# picture", "distortion", "mse", "psnr_db", "ssim", "max_abs_error", sep="\t")
camera = load(examples, "camera.png")
record("camera", camera, True)
record("astronaut", load(examples, "astronaut.png"), True)
record("camera-7x7", camera[:7, :7], False)
record("camera-9x8", camera[:9, :8], False)
record("camera-6x9", camera[:6, :9], False)
record("kodak/kodim23.png", load(data, "kodak/kodim23.png"), False)
record("image/chelsea.png", load(data, "image/chelsea.png"), False)
