#!/usr/bin/env python3
"""Reads an .asmr file and decodes it, in plain Python with numpy: a second reader, written from docs/FORMAT.md and docs/METHOD.md.

    python3 read_asmr.py FILE.asmr OUT.npy          the samples in the signal's own type
    python3 read_asmr.py FILE.asmr OUT.npy --raw    the networks' own values, before clamping and rounding
    python3 read_asmr.py FILE.asmr OUT.npy --first  of a file in progressive order, from the first passes alone

It evaluates every sample by the definition, in double precision and the order that docs/FORMAT.md fixes: slow, and the truth.
"""

import json
import math
import struct
import sys
import zlib

import numpy as np

MAGIC = bytes([0xA5]) + b"ASMR\r\n\n"
TYPES = {"u8": "u1", "i8": "i1", "u16": "<u2", "i16": "<i2", "u32": "<u4", "i32": "<i4", "f32": "<f4", "f64": "<f8"}
ONE, WORD, MASK = 1 << 16, 1 << 32, (1 << 64) - 1


class Bad(Exception):
    """A file that is not what docs/FORMAT.md says."""


def check(condition, sentence):
    if not condition:
        raise Bad(sentence)


def unique(pairs):
    check(len({k for k, _ in pairs}) == len(pairs), "a field of the header occurs twice")
    return dict(pairs)


def check_fields(part, fields):
    """Refuses what has other fields; those with a question mark may be left out, and but for the colour none is empty."""
    known = {name.rstrip("?"): name[-1] == "?" for name in fields.split()}
    check(isinstance(part, dict) and set(part) <= set(known), f"a part of the header has other fields than {', '.join(known)}")
    for name, is_optional in known.items():
        value = part.get(name, 0 if is_optional else None)
        check(name == "color" or value not in (None, "", []), f"the header's field {name} is missing or empty")


def check_header(header, version):
    """Refuses a header with other parts than its version has."""
    check_fields(header, f"signal network {'weights' if version == 1 else 'chunks'} fit?")
    signal, network = header["signal"], header["network"]
    check_fields(signal, "extents channels sample_type color?" + " value_range? media?" * (version > 1))
    is_old = signal["sample_type"] in ("u8", "u16", "f32")
    check(is_old or (signal["sample_type"] in list(TYPES) and "value_range" in signal), "the sample type is none, or needs a range")
    media = signal.get("media", {"kind": "audio"})
    check(isinstance(media, dict) and media.get("kind") in ("audio", "video", "volume", "shape"), "the kind of media is none")
    check_fields(network, "partition channels width omega_0 modulator")
    check_fields(network["partition"], "extents bases")
    check(network["modulator"] in ("linear", "nonlinear", "table"), "the modulator is none")
    if version > 1:
        check_fields(header["chunks"], "encoding extent n" + " max_error? refinements?" * (version > 2))


def read(path, first_only=False):
    """The header, and for each chunk a flat array of f32 weights, or that and an array of corrections."""
    data = open(path, "rb").read()
    check(data[:8] == MAGIC and len(data) >= 24, "this is not an .asmr file, or not even its first 24 bytes")
    version, flags, n_header, header_crc, prefix_crc = struct.unpack_from("<HHIII", data, 8)
    check(zlib.crc32(data[:20]) == prefix_crc, "the prefix is damaged")
    check(version in (1, 2, 3, 4), f"version {version} is not known")
    check(flags == 0 and n_header % 8 == 0 and len(data) >= 24 + n_header, "the prefix is invalid, or the file is cut off")
    text = data[24 : 24 + n_header]
    check(zlib.crc32(text) == header_crc, "the header is damaged")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    check_header(header, version)
    at, n_params = 24 + n_header, sum(math.prod(shape) for _, shape in tensors(header["network"]))
    if version == 1:
        check(header["weights"] == {"encoding": "f32", "n_bytes": 4 * n_params}, "the weights' length is wrong")
        check(len(data) == at + 4 * n_params + 4, "the file has the wrong length")
        check(zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0], "the contents are damaged")
        header["chunks"] = {"encoding": "f32", "extent": header["signal"]["extents"][0], "n": 1}
        return header, [floats(data[at : at + 4 * n_params])]
    chunks = header["chunks"]
    check(chunks["encoding"] == ("f32" if version == 2 else "coded"), "the encoding is not the version's")
    check(chunks["n"] == -(-header["signal"]["extents"][0] // chunks["extent"]), "the number of chunks is wrong")
    refinements, is_float = chunks.get("refinements", []), header["signal"]["sample_type"][0] == "f"
    check((version == 4) == bool(refinements or (is_float and "max_error" in chunks)), "what the file has is not the version's")
    size = 24 * chunks["n"] * (1 + len(refinements) + ("max_error" in chunks) if refinements else 1)
    check(len(data) >= at + size + 8, "the file is cut off")
    index = data[at : at + size]
    check(struct.unpack_from("<II", data, at + size) == (zlib.crc32(index), 0), "the index is damaged")
    end, parts = at + size + 8, []
    for offset, n_bytes, crc, zero in struct.iter_unpack("<QQII", index):
        check(offset == end and zero == 0 and offset + n_bytes <= len(data), "the index is invalid, or the file is cut off")
        parts.append(data[offset : offset + n_bytes])
        check(zlib.crc32(parts[-1]) == crc, "a chunk is damaged")
        check(version > 2 or n_bytes == 4 * n_params, "a chunk has the wrong length")
        end = offset + n_bytes
    check(end == len(data), "more bytes follow the last part")
    if version == 2:
        return header, [floats(part) for part in parts]
    passes = [parts[k :: chunks["n"]] for k in range(chunks["n"])]
    return header, [decode_chunk(codes[:1] if first_only else codes, header, k) for k, codes in enumerate(passes)]


def floats(data):
    weights = np.frombuffer(data, "<f4")
    check(np.isfinite(weights).all(), "a weight is not finite")
    return weights


def tensors(network):
    """Names and shapes, in the order of the file."""
    bases, d, c = network["partition"]["bases"], network["width"], network["channels"]
    axes, levels = len(bases), len(bases[0])
    layers, modulators = [], []
    for i in range(levels - 1):
        layers += [(f"net.{i}.linear.weight", (d, axes if i == 0 else d)), (f"net.{i}.linear.bias", (d,))]
        name = f"modulators.{i}."
        if network["modulator"] == "linear":
            modulators += [(name + "linear.weight", (d, axes))]
        elif network["modulator"] == "nonlinear":
            for part, shape in [("net.0.linear", (32, axes)), ("net.1.linear", (32, 32)), ("last_layer.linear", (d, 32))]:
                modulators += [(f"{name}model.{part}.weight", shape), (f"{name}model.{part}.bias", shape[:1])]
        else:
            modulators += [(f"{name}table.{a}", (bases[a][i + 1], d)) for a in range(axes)]
    return layers + modulators + [("last_layer.linear.weight", (c, d)), ("last_layer.linear.bias", (c,))]


class Decisions:
    """The range decoder."""

    def __init__(self, code):
        self.words = iter(struct.unpack(f">{(len(code) + 3) // 4}I", code + bytes(-len(code) % 4)))
        self.low, self.width, self.value = 0, MASK, next(self.words, 0) << 32 | next(self.words, 0)

    def next(self, model):
        """Decodes a decision by a model [P, n] and teaches it."""
        p, n = model
        r = self.width >> 16
        quotient = ((self.value - self.low) & MASK) // r
        check(quotient < ONE, "the code is invalid")
        yes = quotient >= p
        self.low, self.width = ((self.low + r * p) & MASK, r * (ONE - p)) if yes else (self.low, r * p)
        if self.width < WORD:
            self.low, self.width = (self.low << 32) & MASK, self.width << 32
            self.value = (self.value << 32) & MASK | next(self.words, 0)
        target = 48 if yes else ONE - 48
        step = abs(target - p) * 2 // (2 * n + 3)
        model[:] = [p + step if target > p else p - step, min(n + 1, 160)]
        return int(yes)

    def raw(self):
        return self.next([ONE // 2, 0])

    def end(self):
        """Refuses every code but the one that is written of these decisions."""
        is_first = self.value % WORD == 0 and (self.value - self.low) & MASK < WORD
        check(is_first and not any(self.words), "the code is not the one of its decisions")


def chunk_extents(header, k):
    extents, chunk = header["signal"]["extents"], header["chunks"]["extent"]
    return [min(chunk, extents[0] - k * chunk)] + extents[1:]


def slabs(header, k):
    """Numbers of slices of a chunk's slabs of corrections."""
    extents = chunk_extents(header, k)
    step = max(2**17 // (math.prod(extents[1:]) * header["signal"]["channels"]), 1)
    return [min(step, extents[0] - start) for start in range(0, extents[0], step)]


def decode_chunk(parts, header, k):
    """The weights of a chunk's first parts, or weights and corrections."""
    network, refinements = header["network"], header["chunks"].get("refinements", [])
    n_slabs, corrections = len(slabs(header, k)) if "max_error" in header["chunks"] else 0, None
    if n_slabs and not refinements:
        code, *corrections = separate(parts[0], 1 + n_slabs)
        parts = [code]
    weights, state = decode_weights(parts[0], network)
    for octaves, code in zip(refinements, parts[1:]):
        weights, state = refine(code, network, state, octaves)
    if len(parts) > 1 + len(refinements):
        corrections = separate(parts[-1], n_slabs)
    if corrections is None:
        return weights
    # Of floats, multiples of a unit.
    bound = 0 if header["signal"]["sample_type"][0] == "f" else header["chunks"]["max_error"]
    inner, channels, codes = chunk_extents(header, k)[1:], header["signal"]["channels"], zip(slabs(header, k), corrections)
    return weights, np.concatenate([decode_corrections(code, [n, *inner], channels, bound) for n, code in codes])


def separate(code, n):
    """Byte strings after their lengths."""
    lengths = struct.unpack_from(f"<{n}I", code) if len(code) >= 4 * n else ()
    check(len(lengths) == n and 4 * n + sum(lengths) == len(code), "the lengths of a chunk's parts are wrong")
    ends = 4 * n + np.cumsum((0, *lengths))
    return [code[start:end] for start, end in zip(ends, ends[1:])]


def decode_corrections(code, extents, channels, bound):
    check(not code or code[-1] != 0, "the code of corrections has the wrong length")
    decisions, models = Decisions(code), {}
    sound, row_length, rows = len(extents) == 1, extents[-1], math.prod(extents[:-1])
    together = rows if len(extents) < 3 else math.prod(extents[1:-1])
    c, size = (np.zeros((rows, row_length, channels), dtype=object) for _ in range(2))
    for row in range(rows):
        above = row % together > 0
        for x in range(row_length):
            for channel in range(channels):
                a = c[row, x - 1, channel] if x else 0
                b = c[row - 1, x, channel] if above else 0
                if sound:
                    p = 2 * a - c[row, x - 2, channel] if x > 1 else a
                elif above and x:
                    p = min(max(a + b - c[row - 1, x - 1, channel], min(a, b)), max(a, b))
                else:
                    p = b if above else a
                near = (size[row, x - 1, channel] if x else 0) + (size[row - 1, x, channel] if above else 0)
                near += 2 * size[row, x, channel - 1] if channel else 0
                q = decode_number(decisions, models, (channel > 0, min(int(near).bit_length(), 13)), 35)
                c[row, x, channel], size[row, x, channel] = p + q * (2 * bound + 1), abs(q)
                check(abs(c[row, x, channel]) < 2**40, "a correction is out of range")
    decisions.end()
    return c.reshape(*extents, channels)


def decode_number(decisions, models, key, longest):
    def decide(*what):
        return decisions.next(models.setdefault((*key, *what), [ONE // 2, 0]))

    if decide("zero"):
        return 0
    sign = -1 if decide("negative") else 1
    length = 1
    while length < longest and decide("longer", length):
        length += 1
    m = 1
    for i in range(length - 1):
        bit = decide("second", length) if i == 0 else decide("third", length, m & 1) if i == 1 else decisions.raw()
        m = m << 1 | bit
    return sign * m


def decode_weights(code, network):
    """The weights, and for each tensor its class, the code of its finest step, its grades and its whole numbers."""
    shapes = tensors(network)
    least = -(-sum(math.prod(shape) for _, shape in shapes) // 32)
    check(len(code) >= least and (len(code) == least or code[-1] != 0), "the code has the wrong length")
    decisions, models, state = Decisions(code), {}, []

    def number(*key):
        return decode_number(decisions, models, key, 21)

    for name, shape in shapes:
        finest = 0
        for _ in range(8):
            finest = finest << 1 | decisions.raw()
        rows, columns = [0] * (shape[0] if len(shape) == 2 else 1), [0] * shape[-1]
        if len(shape) == 2 and decisions.raw():
            rows, columns = ([number("grade") for _ in range(n)] for n in shape)
            check(min(rows + columns) >= 0 and finest + max(rows) + max(columns) <= 255, "the steps are out of range")
        kind = next(kind for kind in ("modulators", "bias", "last_layer", "net.0.", "net.") if kind in name)
        grades = [row + column for row in rows for column in columns]
        state.append((kind, finest, grades, [number(kind, min(grade // 4, 7)) for grade in grades]))
    decisions.end()
    return multiples(state), state


def refine(code, network, state, octaves):
    """The same after a pass that makes steps finer."""
    check(not code or code[-1] != 0, "the code of a pass has the wrong length")
    decisions, models, finer = Decisions(code), {}, []
    for kind, finest, grades, numbers in state:
        after = []
        for grade, q in zip(grades, numbers):
            a = decode_number(decisions, models, (kind, min(grade // 4, 7), min(abs(q).bit_length(), 2)), 21)
            after.append((q << octaves) + (-a if q < 0 else a))
        finest -= 4 * octaves
        check(finest >= 0 and max(map(abs, after)) < 1 << 21, "a weight is out of range")
        finer.append((kind, finest, grades, after))
    decisions.end()
    return multiples(finer), finer


def multiples(state):
    weights = []
    for _, finest, grades, numbers in state:
        for q, step in zip(numbers, (finest + grade for grade in grades)):
            weights.append(q * (4 + step % 4) * 2.0 ** (step // 4 - 42))
    return np.array(weights, dtype=np.float32)


def sine(x):
    """The sine of exact values."""
    t = (x * (1 / (2 * np.pi)) + 1.5 * 2.0**52) - 1.5 * 2.0**52
    r = (x - t * 6.2831853069365025) - t * 2.430840202602477e-10
    r = np.where(r > np.pi / 2, np.pi - r, np.where(r < -np.pi / 2, -np.pi - r, r))
    y, s = r * r, 1 / math.factorial(17)
    for i in range(7, 0, -1):
        s = s * y + (-1) ** i / math.factorial(2 * i + 1)
    return r + (r * y) * s


def linear(weight, x, bias=None):
    """W x + b: each sum begins with b, or 0, and takes its terms in order."""
    out = np.zeros((len(weight), x.shape[1])) if bias is None else np.repeat(bias[:, None], x.shape[1], axis=1)
    for k in range(len(x)):
        out = out + weight[:, k, None] * x[k]
    return out


def evaluate(network, weights, extents):
    """The network at every sample of a grid with these extents, as FORMAT.md's exact values: extents × channels."""
    w, at, named = float(np.float32(network["omega_0"])), 0, {}
    for name, shape in tensors(network):
        n = math.prod(shape)
        named[name] = weights[at : at + n].astype(np.float64).reshape(shape)
        at += n
    bases = network["partition"]["bases"]
    levels = len(bases[0])
    positions = np.indices(extents).reshape(len(extents), -1)
    digits = np.zeros((levels, len(extents), positions.shape[1]), dtype=np.int64)
    for axis, base in enumerate(bases):
        stride = 1
        for level in reversed(range(levels)):
            digits[level, axis] = positions[axis] // stride % base[level]
            stride *= base[level]
    largest = np.array([[max(b - 1, 1) for b in level] for level in zip(*bases)], dtype=np.float64)
    coordinates = digits / largest[:, :, None]
    z = coordinates[0]
    for i in range(levels - 1):
        u = w * linear(named[f"net.{i}.linear.weight"], z, named[f"net.{i}.linear.bias"])
        z = sine(u + modulation(network, named, i, w, coordinates[i + 1], digits[i + 1]))
    y = linear(named["last_layer.linear.weight"], z, named["last_layer.linear.bias"])
    return y.T.reshape(*extents, network["channels"])


def modulation(network, named, i, w, x, digits):
    name = f"modulators.{i}."
    if network["modulator"] == "linear":
        return linear(named[name + "linear.weight"], x) * (w * w)
    if network["modulator"] == "table":
        return sum(named[f"{name}table.{axis}"][digit].T for axis, digit in enumerate(digits)) * w
    for part in ("net.0.linear", "net.1.linear"):
        x = sine(w * linear(named[f"{name}model.{part}.weight"], x, named[f"{name}model.{part}.bias"]))
    part = name + "model.last_layer.linear"
    return linear(named[part + ".weight"], x, named[part + ".bias"]) * w


def scale(values, signal):
    """Values of the network's scale on the signal's, before they are rounded to its type; NaN counts as 0."""
    kind, values = TYPES[signal["sample_type"]], np.where(np.isnan(values), 0.0, values)
    if kind[-2] == "f" and "value_range" not in signal:
        return values
    low, high = map(float, signal["value_range"] if "value_range" in signal else (0, np.iinfo(kind).max))
    return low + np.clip(values, 0, 1) * (high - low)


def restore(values, signal):
    """Values of the network's scale as stored ones."""
    kind = TYPES[signal["sample_type"]]
    if kind[-2] == "f":
        return (scale(values, signal) if "value_range" in signal else values).astype(kind)
    return np.clip(np.rint(scale(values, signal)), np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def correct(values, corrections, header):
    """Exact values of the network's scale as stored ones, corrected."""
    signal = header["signal"]
    kind = TYPES[signal["sample_type"]]
    if kind[-2] != "f":
        corrected = restore(values, signal).astype(np.int64) + corrections.astype(np.int64)
        return np.clip(corrected, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    unit = 2.0 * header["chunks"]["max_error"] * (1023.0 / 1024.0)
    low, high = map(float, signal.get("value_range", (-np.inf, np.inf)))
    return np.clip(scale(values, signal) + corrections.astype(np.float64) * unit, low, high).astype(kind)


def main(arguments):
    paths = [a for a in arguments if a not in ("--raw", "--first")]
    if len(paths) != 2:
        sys.exit(__doc__)
    header, weights = read(paths[0], "--first" in arguments)
    signal, parts, raw = header["signal"], [], "--raw" in arguments
    for k, flat in enumerate(weights):
        flat, corrections = flat if isinstance(flat, tuple) else (flat, None)
        values = evaluate(header["network"], flat, chunk_extents(header, k))
        if not raw:
            values = restore(values, signal) if corrections is None else correct(values, corrections, header)
        parts.append(values)
    np.save(paths[1], np.concatenate(parts))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Bad, OSError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
        sys.exit(f"read_asmr: {sys.argv[1] if len(sys.argv) > 1 else ''}: {error}")
