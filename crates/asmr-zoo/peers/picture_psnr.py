"""PSNR in dB of pictures against an original, over all channels of 8 bits.

    python picture_psnr.py ORIGINAL OTHER …      # needs numpy and pillow
"""

import sys

import numpy as np
from PIL import Image


def read(path):
    return np.asarray(Image.open(path).convert("RGB"), np.float64)


original = read(sys.argv[1])
for path in sys.argv[2:]:
    other = read(path)
    if other.shape != original.shape:
        sys.exit(f"{path} has shape {other.shape} and the original {original.shape}; they must be equal")
    print(f"{path.rsplit('/', 1)[-1]}\t{10 * np.log10(255**2 / ((other - original) ** 2).mean()):.4f}")
