"""Records what NumPy and SciPy say about pairs of recordings that tests/audio_metrics.rs makes in the same way, and what
libsndfile (with libmpg123 and libvorbis) decodes from the lossy files in tests/audio, which it makes first if they are missing.

python3 gen_audio_expected.py DATA_FOLDER > audio_expected.tsv
"""

import os
import sys

import numpy as np
import scipy
import scipy.signal
import soundfile

WINDOW, HOP = 2048, 512
HERE = os.path.dirname(os.path.abspath(__file__))
# Of each kind of sample: half of full scale, and a step of the synthetic recording.
KINDS = {"u8": (128, 0.1), "i16": (32768, 24), "i24": (1 << 23, 6000), "f32": (2048, 1)}


def recording(kind, n, channels):
    """Whole numbers around 0, channel last, flat."""
    i = np.arange(n * channels, dtype=np.int64)
    v = (i // channels * 37 + i % channels * 1001) % 2001 - 1000
    v += (i * 7919 + i // 8 * 104729) % 401 - 200
    step = KINDS[kind][1]
    return v // 10 if kind == "u8" else v * step


def noise(v, unit, half):
    i = np.arange(v.size, dtype=np.int64)
    return np.clip(v + ((i * 31 + i // 7 * 17) % 13 - 6) * unit, -half, half - 1)


DISTORTIONS = {
    "equal": lambda v, unit, half: v,
    "noise": noise,
    "requantise": lambda v, unit, half: v // (32 * unit) * (32 * unit) + 16 * unit,
    "gain": lambda v, unit, half: v * 7 // 8,
    "silence": lambda v, unit, half: v * 0,
}


def lsd(x, y):
    """x, y: (samples, channels) at full scale 1."""
    window = scipy.signal.get_window("hann", WINDOW)
    n_frames = 1 + max(0, -(-(len(x) - WINDOW) // HOP))
    pad = (n_frames - 1) * HOP + WINDOW - len(x)

    def levels(v):
        v = np.concatenate([v, np.zeros(pad)])
        frames = np.stack([v[m * HOP : m * HOP + WINDOW] * window for m in range(n_frames)])
        return 10 * np.log10(np.abs(np.fft.rfft(frames)) ** 2 + 1e-10)

    per_channel = [
        np.mean(np.sqrt(np.mean((levels(x[:, c]) - levels(y[:, c])) ** 2, axis=1))) for c in range(x.shape[1])
    ]
    return float(np.mean(per_channel))


def decibel(ratio):
    with np.errstate(divide="ignore"):
        return repr(float(10 * np.log10(ratio)))


def score(name, distortion, v, w, channels, half, unit):
    """v, w: whole numbers with full scale `half`; `unit` is what 1 of them is in stored values."""
    x, y = (np.reshape(a, (-1, channels)) / half for a in (v, w))
    error = np.sum((x - y) ** 2)
    snr = "none" if error == 0 else decibel(np.sum(x**2) / error)
    psnr = "none" if error == 0 else decibel(4 / np.mean((x - y) ** 2))
    worst = float(np.max(np.abs(v - w))) * unit
    print("score", name, distortion, snr, psnr, repr(lsd(x, y)), repr(worst), sep="\t")


def scores(name, kind, v, channels):
    half = KINDS[kind][0]
    unit = int(max(1, KINDS[kind][1]))
    for distortion, distort in DISTORTIONS.items():
        score(name, distortion, v, distort(v, unit, half), channels, half, 1 / half if kind == "f32" else 1)


def lossy(name, channels, rate, n, fmt, subtype):
    path = os.path.join(HERE, "audio", name)
    if not os.path.exists(path):
        t = np.arange(n)[:, None] / rate
        f = np.array([220.0, 331.0])[:channels]
        x = 0.4 * np.sin(2 * np.pi * f * t) + 0.2 * np.sin(2 * np.pi * 1000 * t * (1 + t))
        soundfile.write(path, x, rate, format=fmt, subtype=subtype)
    v, read_rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert read_rate == rate
    rows = " ".join(repr(float(s)) for s in v[::97].ravel())
    print("decoded", name, rate, v.shape[1], v.shape[0], rows, sep="\t")


(data,) = sys.argv[1:]
print(f"# gen_audio_expected.py with numpy {np.__version__}, scipy {scipy.__version__}, {soundfile.__libsndfile_version__}")
print("# score", "recording", "distortion", "snr_db", "psnr_db", "lsd_db", "max_abs_error", sep="\t")
for kind in KINDS:
    for n, channels in [(1, 1), (100, 2), (2048, 1), (2049, 3), (5000, 2), (20000, 1)]:
        scores(f"{kind}-{n}-{channels}", kind, recording(kind, n, channels), channels)
bits = {"jfk.flac": ("i24", 8), "librispeech_61-70968-0000.wav": ("i16", 16)}
for name, (kind, shift) in bits.items():
    v, _ = soundfile.read(os.path.join(data, "audio", name), dtype="int32", always_2d=True)
    scores("audio/" + name, kind, (v.astype(np.int64) >> shift).ravel(), v.shape[1])
print("# decoded", "file", "sample_rate", "channels", "samples", "every 97th", sep="\t")
lossy("stereo.mp3", 2, 44100, 20000, "MP3", "MPEG_LAYER_III")
lossy("mono-16k.mp3", 1, 16000, 9000, "MP3", "MPEG_LAYER_III")
lossy("stereo.ogg", 2, 44100, 20000, "OGG", "VORBIS")
lossy("mono.ogg", 1, 16000, 9000, "OGG", "VORBIS")
