"""Classic codecs of sound, films and volumes beside ASMR: `python classic_media.py KIND=FILE...` prints a row for each file,
codec and setting; KIND is sound, film or volume.

A row has the columns of COLUMNS, separated by tabs; bytes are those of the whole file, samples those of time, of pixels in all frames, or
voxels. What `measure` and `quality` are: SNR in dB of sound, at the delay where it is best; PSNR in dB of films over all values of RGB
frames; PSNR in dB of volumes with their own range as the peak; of lossless codecs `exact`. Needs ffmpeg with libmp3lame, libopus, libx264
and libsvtav1 on the path.
"""

import lzma
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import imagecodecs
import numpy

COLUMNS = ["signal", "codec", "setting", "n_samples", "bytes", "measure", "quality", "seconds"]
LONGEST_DELAY = 4000


def ffmpeg(*arguments):
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def row(path, codec, setting, n_samples, n_bytes, measure, quality, seconds):
    quality = quality if isinstance(quality, str) else f"{quality:.4f}"
    cells = [path.stem, codec, setting, n_samples, n_bytes, measure, quality, f"{seconds:.2f}"]
    print("\t".join(map(str, cells)), flush=True)


def samples_of(path, rate):
    data = ffmpeg("-i", path, "-ar", rate, "-f", "f32le", "-")
    return numpy.frombuffer(data, "<f4").astype(float)


def snr_db(original, decoded):
    """At the delay at which the decoded sound is most like the original."""
    n = 1 << (len(original) + LONGEST_DELAY).bit_length()
    spectrum = numpy.fft.rfft(decoded, n) * numpy.conj(numpy.fft.rfft(original, n))
    likeness = numpy.fft.irfft(spectrum, n)
    delays = numpy.concatenate([numpy.arange(LONGEST_DELAY), numpy.arange(-LONGEST_DELAY, 0)])
    delay = delays[numpy.argmax(likeness[delays])]
    shifted = numpy.roll(numpy.pad(decoded, (0, max(0, len(original) - len(decoded)))), -delay)[:len(original)]
    return 10 * numpy.log10(numpy.sum(original**2) / numpy.sum((original - shifted) ** 2))


def sound(path, folder):
    probe = ["ffprobe", "-v", "error", "-show_entries", "stream=sample_rate,channels", "-of", "csv=p=0", str(path)]
    rate, channels = subprocess.run(probe, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().split(",")[:2]
    original = samples_of(path, rate)
    n_samples = len(original) // int(channels)
    codecs = [("FLAC", "flac", "flac", [None])]
    codecs += [("MP3", "mp3", "libmp3lame", [16, 32, 64, 96, 128]), ("Opus", "opus", "libopus", [8, 16, 32, 64, 96])]
    for name, extension, encoder, settings in codecs:
        for kilobits in settings:
            out = folder / f"sound.{extension}"
            start = time.perf_counter()
            # ffmpeg leaves 8 KiB of room for tags in FLAC files otherwise.
            options = ["-metadata_header_padding", 0] if kilobits is None else ["-b:a", f"{kilobits}k"]
            ffmpeg("-i", path, "-c:a", encoder, *options, out)
            seconds = time.perf_counter() - start
            if kilobits is None:
                assert numpy.array_equal(samples_of(out, rate), original), "FLAC is lossless"
                row(path, name, "lossless", n_samples, out.stat().st_size, "snr_db", "exact", seconds)
                continue
            quality = snr_db(original, samples_of(out, rate))
            row(path, name, f"{kilobits} kbit/s", n_samples, out.stat().st_size, "snr_db", quality, seconds)


def film(path, folder):
    def frames(file):
        return numpy.frombuffer(ffmpeg("-i", file, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"), numpy.uint8)

    original = frames(path)
    # Streams without a container, whose tables would weigh as much as a film at the lowest rates.
    codecs = [
        ("H.264", "h264", ["-c:v", "libx264", "-preset", "slow"], [51, 45, 40, 35, 30, 25]),
        ("AV1", "obu", ["-c:v", "libsvtav1", "-preset", "5"], [63, 55, 48, 40, 32, 25]),
    ]
    for name, extension, options, settings in codecs:
        for crf in settings:
            out = folder / f"film.{extension}"
            start = time.perf_counter()
            ffmpeg("-i", path, "-an", *options, "-pix_fmt", "yuv420p", "-crf", crf, out)
            seconds = time.perf_counter() - start
            error = numpy.mean((original.astype(numpy.float32) - frames(out).astype(numpy.float32)) ** 2, dtype=float)
            quality = -10 * numpy.log10(error / 255**2)
            row(path, name, f"crf {crf}", len(original) // 3, out.stat().st_size, "psnr_db", quality, seconds)


def volume(path, folder):
    del folder
    archive = numpy.load(path)
    (name,) = archive.files
    values = archive[name]
    least, most = int(values.min()), int(values.max())
    # Whole numbers of 16 bits from 0 on, as these codecs take them.
    assert 0 < most - least < 1 << 16
    shifted = (values.astype(numpy.int32) - least).astype(numpy.uint16)
    for codec, pack in [("deflate", lambda b: zlib.compress(b, 9)), ("LZMA", lambda b: lzma.compress(b, preset=9))]:
        start = time.perf_counter()
        n_bytes = len(pack(values.tobytes()))
        row(path, codec, "lossless", values.size, n_bytes, "psnr_db", "exact", time.perf_counter() - start)
    for distance in [0, 0.5, 1, 2, 4, 8, 15]:
        # All 16 bits are of use: scaled to them, and back.
        scale = 1 if distance == 0 else 65535 // int(shifted.max())
        start = time.perf_counter()
        lossless = dict(lossless=True) if distance == 0 else dict(distance=distance)
        slices = [imagecodecs.jpegxl_encode(part * numpy.uint16(scale), effort=7, numthreads=1, **lossless) for part in shifted]
        seconds = time.perf_counter() - start
        decoded = numpy.stack([imagecodecs.jpegxl_decode(data) for data in slices]).astype(float)
        error = numpy.mean((numpy.clip(numpy.round(decoded / scale), 0, most - least) - shifted) ** 2)
        quality = "exact" if error == 0 else -10 * numpy.log10(error / (most - least) ** 2)
        setting = "lossless" if distance == 0 else f"distance {distance}"
        row(path, "JPEG XL by slice", setting, values.size, sum(map(len, slices)), "psnr_db", quality, seconds)


def main(signals):
    print(f"# imagecodecs {imagecodecs.__version__}, {subprocess.run(['ffmpeg', '-version'], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]}")
    print("\t".join(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        for signal in signals:
            kind, path = signal.split("=", 1)
            {"sound": sound, "film": film, "volume": volume}[kind](Path(path), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
