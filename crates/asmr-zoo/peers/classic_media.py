"""Classic codecs of sound, films and volumes beside ASMR: `python classic_media.py KIND=FILE...` prints a row for each file,
codec and setting; KIND is sound, film or volume.

A row has the columns of COLUMNS, separated by tabs; bytes are those of the whole file, samples those of time, of pixels in all frames, or
voxels. What `measure` and `quality` are: SNR in dB of sound, at the delay where it is best; PSNR in dB of films over all values of RGB
frames; PSNR in dB of volumes with their own range as the peak; of lossless codecs `exact`. Needs ffmpeg with libmp3lame, libopus, libx264,
libx265 and libsvtav1 on the path.

SNR is no measure of codecs that are made for the ear: MP3 and Opus shape their noise so that it is not heard, and Opus keeps no waveform
at low rates; they sound far better than these figures say.
"""

import json
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
# As many frames as there are, none doubled or left out to meet a rate.
EVERY_FRAME = ["-fps_mode", "passthrough"]
# ffmpeg's names of whole numbers, each with the form that its values are compared in; FLAC has no others.
WHOLE_NUMBERS = {"u8": "u8", "s16": "s16le", "s32": "s32le"}
FLOATS = {"flt": "f32le", "dbl": "f64le"}
# General compressors of bytes.
PACKERS = [("deflate", lambda data: zlib.compress(data, 9)), ("LZMA", lambda data: lzma.compress(data, preset=9))]


def ffmpeg(*arguments, data=None):
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, input=data).stdout


def probe(path, stream, entries):
    command = ["ffprobe", "-v", "error", "-select_streams", stream, "-show_entries", f"stream={entries}", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["streams"][0]


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
    stream = probe(path, "a:0", "sample_rate,sample_fmt,channels")
    rate, channels, form = int(stream["sample_rate"]), stream["channels"], stream["sample_fmt"].removesuffix("p")
    original = samples_of(path, rate)
    n_samples = len(original) // channels
    if form in WHOLE_NUMBERS:
        out, plain = folder / "sound.flac", ["-f", WHOLE_NUMBERS[form], "-"]
        start = time.perf_counter()
        # ffmpeg leaves 8 KiB of room for tags in FLAC files otherwise.
        ffmpeg("-i", path, "-c:a", "flac", "-compression_level", 12, "-metadata_header_padding", 0, out)
        seconds = time.perf_counter() - start
        assert ffmpeg("-i", out, *plain) == ffmpeg("-i", path, *plain), "FLAC is lossless"
        row(path, "FLAC", "lossless", n_samples, out.stat().st_size, "snr_db", "exact", seconds)
    else:
        values = ffmpeg("-i", path, "-f", FLOATS[form], "-")
        for name, pack in PACKERS:
            start = time.perf_counter()
            n_bytes = len(pack(values))
            row(path, f"{name} of floats", "lossless", n_samples, n_bytes, "snr_db", "exact", time.perf_counter() - start)
    # MP3 has rates of its own for each rate of samples, and LAME takes the least of them for any below.
    is_wide = rate > 24000
    for name, extension, encoder, settings in [
        ("MP3", "mp3", "libmp3lame", [32, 64, 96, 128, 160, 192] if is_wide else [16, 32, 64, 96, 128]),
        # Of 48 kHz inside: of other rates ffmpeg makes that, and the original's again.
        ("Opus", "opus", "libopus", [8, 16, 32, 64, 96] + ([128, 160, 192] if is_wide else [])),
    ]:
        for kilobits in settings:
            out = folder / f"sound.{extension}"
            start = time.perf_counter()
            ffmpeg("-i", path, "-c:a", encoder, "-b:a", f"{kilobits}k", out)
            seconds = time.perf_counter() - start
            quality = snr_db(original, samples_of(out, rate))
            row(path, name, f"{kilobits} kbit/s", n_samples, out.stat().st_size, "snr_db", quality, seconds)


def film(path, folder):
    stream = probe(path, "v:0", "width,height")
    n_values = 3 * stream["width"] * stream["height"]

    def frames(file):
        data = ffmpeg("-i", file, *EVERY_FRAME, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
        return numpy.frombuffer(data, numpy.uint8).reshape(-1, n_values)

    original = frames(path)
    # Streams without a container, whose tables would weigh as much as a film at the lowest rates, and without x264's note on its settings (a
    # unit of type 6), which would too.
    no_note = ["-bsf:v", "filter_units=remove_types=6"]
    h264 = ["-preset", "slow", *no_note]
    codecs = [
        # The others keep colours at half the resolution.
        ("H.264 of RGB", "h264", ["-c:v", "libx264rgb", *h264, "-pix_fmt", "rgb24"], "qp", [0]),
        ("H.264", "h264", ["-c:v", "libx264", *h264, "-pix_fmt", "yuv420p"], "crf", [51, 45, 40, 35, 30, 25]),
        ("AV1", "obu", ["-c:v", "libsvtav1", "-preset", "5", "-pix_fmt", "yuv420p"], "crf", [63, 55, 48, 40, 32, 25]),
    ]
    for name, extension, options, setting, values in codecs:
        for value in values:
            out = folder / f"film.{extension}"
            start = time.perf_counter()
            ffmpeg("-i", path, "-an", *EVERY_FRAME, *options, f"-{setting}", value, out)
            seconds = time.perf_counter() - start
            decoded = frames(out)
            assert len(decoded) == len(original), f"{len(original)} frames became {len(decoded)}"
            n_bytes, n_samples = out.stat().st_size, original.size // 3
            if setting == "qp":
                assert numpy.array_equal(decoded, original), f"{name} is lossless"
                row(path, name, "lossless", n_samples, n_bytes, "psnr_db", "exact", seconds)
                continue
            error = numpy.mean((original.astype(numpy.float32) - decoded.astype(numpy.float32)) ** 2, dtype=float)
            quality = -10 * numpy.log10(error / 255**2)
            row(path, name, f"{setting} {value}", n_samples, n_bytes, "psnr_db", quality, seconds)


def to_linear(x):
    """Linear light of sRGB values, both from 0 to 1."""
    return numpy.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def from_linear(y):
    return numpy.where(y <= 0.0031308, y * 12.92, 1.055 * y ** (1 / 2.4) - 0.055)


def jpeg_xl_slices(shifted, most, distance):
    """Bytes of all slices, and the values that come back; losslessly for distance 0."""
    options = dict(effort=7, numthreads=1)
    if distance == 0:
        data = [imagecodecs.jpegxl_encode(part, lossless=True, **options) for part in shifted]
        return sum(map(len, data)), numpy.stack([imagecodecs.jpegxl_decode(part) for part in data])
    # imagecodecs says of 16 bits that they are linear light and has no option for it, so the codec would spend nearly everything on small
    # values; as linear light of sRGB values it treats all alike, which halves the bytes at these rates.
    light = numpy.round(to_linear(shifted / most) * 65535).astype(numpy.uint16)
    data = [imagecodecs.jpegxl_encode(part, distance=distance, **options) for part in light]
    decoded = numpy.stack([imagecodecs.jpegxl_decode(part) for part in data])
    return sum(map(len, data)), from_linear(decoded / 65535) * most


def x265_slices(shifted, most, crf, folder):
    """Slices as frames of a film, coded for the least squared error; bytes, and the values that come back."""
    # All 12 bits are of use.
    values = numpy.round(shifted * (4095 / most)).astype("<u2")
    _, height, width = values.shape
    raw = ["-f", "rawvideo", "-pix_fmt", "gray12le"]
    out = folder / "volume.hevc"
    # Without a note on its settings in the stream.
    coder = ["-c:v", "libx265", "-preset", "slow", "-tune", "psnr", "-x265-params", "info=0:log-level=error", "-crf", crf]
    ffmpeg(*raw, "-s", f"{width}x{height}", "-framerate", 25, "-i", "-", *coder, "-f", "hevc", out, data=values.tobytes())
    decoded = numpy.frombuffer(ffmpeg("-i", out, *EVERY_FRAME, *raw, "-"), "<u2")
    assert decoded.size == values.size, f"{values.size} voxels became {decoded.size}"
    return out.stat().st_size, decoded.reshape(values.shape) * (most / 4095)


def volume(path, folder):
    archive = numpy.load(path)
    (name,) = archive.files
    values = archive[name]
    least, most = int(values.min()), int(values.max()) - int(values.min())
    # Whole numbers of 16 bits from 0 on, as these codecs take them.
    assert 0 < most < 1 << 16
    shifted = (values.astype(numpy.int32) - least).astype(numpy.uint16)
    for codec, pack in PACKERS:
        start = time.perf_counter()
        n_bytes = len(pack(values.tobytes()))
        row(path, codec, "lossless", values.size, n_bytes, "psnr_db", "exact", time.perf_counter() - start)
    settings = [("JPEG XL by slice", "distance", value) for value in [0, 0.5, 1, 2, 4, 8, 15, 25]]
    settings += [("H.265, slices as frames", "crf", value) for value in [40, 32, 26, 20, 14, 8]]
    for codec, setting, value in settings:
        start = time.perf_counter()
        if setting == "distance":
            n_bytes, decoded = jpeg_xl_slices(shifted, most, value)
        else:
            n_bytes, decoded = x265_slices(shifted, most, value, folder)
        # With its decode, which is short beside it.
        seconds = time.perf_counter() - start
        error = numpy.mean((numpy.clip(numpy.round(decoded), 0, most) - shifted) ** 2)
        if value == 0:
            assert error == 0, f"{codec} is lossless"
        quality = "exact" if value == 0 else -10 * numpy.log10(error / most**2)
        setting = "lossless" if value == 0 else f"{setting} {value}"
        row(path, codec, setting, values.size, n_bytes, "psnr_db", quality, seconds)


def main(signals):
    print(f"# imagecodecs {imagecodecs.__version__}, {subprocess.run(['ffmpeg', '-version'], stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]}")
    print("\t".join(COLUMNS))
    with tempfile.TemporaryDirectory() as folder:
        for signal in signals:
            kind, path = signal.split("=", 1)
            {"sound": sound, "film": film, "volume": volume}[kind](Path(path), Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
