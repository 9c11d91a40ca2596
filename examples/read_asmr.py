#!/usr/bin/env python3
"""Reads an .asmr file and decodes it, in plain Python with numpy: a second reader, written from docs/FORMAT.md and docs/METHOD.md.

    python3 read_asmr.py FILE.asmr OUT.npy          the samples in the signal's own type
    python3 read_asmr.py FILE.asmr OUT.npy --raw    the networks' own values, before clamping and rounding
    python3 read_asmr.py FILE.asmr OUT.npy --first  of a file in progressive order, from the first passes alone

It evaluates every sample by the definition, in double precision, in the order that docs/FORMAT.md fixes for corrected files: slow,
and the truth.
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


def read(path, first_only=False):
    """The header, and for each chunk a flat array of f32 weights, or that and an array of corrections."""
    data = open(path, "rb").read()
    check(data[:8] == MAGIC, "this is not an .asmr file")
    check(len(data) >= 24, "the file is cut off")
    version, flags, n_header, header_crc, prefix_crc = struct.unpack_from("<HHIII", data, 8)
    check(zlib.crc32(data[:20]) == prefix_crc, "the prefix is damaged")
    check(version in (1, 2, 3, 4), f"version {version} is not known")
    check(flags == 0 and n_header % 8 == 0 and len(data) >= 24 + n_header, "the prefix is invalid, or the file is cut off")
    text = data[24 : 24 + n_header]
    check(zlib.crc32(text) == header_crc, "the header is damaged")
    header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    at = 24 + n_header
    n_params = sum(int(np.prod(shape)) for _, shape in tensors(header["network"]))
    if version == 1:
        check(header["weights"] == {"encoding": "f32", "n_bytes": 4 * n_params}, "the weights' length is wrong")
        check(len(data) == at + 4 * n_params + 4, "the file has the wrong length")
        check(zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0], "the contents are damaged")
        header["chunks"] = {"encoding": "f32", "extent": header["signal"]["extents"][0], "n": 1}
        return header, [np.frombuffer(data, "<f4", n_params, at)]
    chunks = header["chunks"]
    check(chunks["encoding"] == ("f32" if version == 2 else "coded"), "the encoding is not the version's")
    check(chunks["n"] == -(-header["signal"]["extents"][0] // chunks["extent"]), "the number of chunks is wrong")
    refinements = chunks.get("refinements", [])
    corrects_floats = "max_error" in chunks and header["signal"]["sample_type"][0] == "f"
    check((version == 4) == (bool(refinements) or corrects_floats), "what the file has is not the version's")
    n_passes = 1 + len(refinements) + ("max_error" in chunks) if refinements else 1
    n_parts = chunks["n"] * n_passes
    index = data[at : at + 24 * n_parts]
    check(len(data) >= at + len(index) + 8 and len(index) == 24 * n_parts, "the file is cut off")
    check(struct.unpack_from("<II", data, at + len(index)) == (zlib.crc32(index), 0), "the index is damaged")
    end, weights, parts = at + len(index) + 8, [], []
    for offset, n_bytes, crc, zero in struct.iter_unpack("<QQII", index):
        check(offset == end and zero == 0 and offset + n_bytes <= len(data), "the index is invalid, or the file is cut off")
        code = data[offset : offset + n_bytes]
        check(zlib.crc32(code) == crc, "a chunk is damaged")
        if version == 2:
            check(n_bytes == 4 * n_params, "a chunk has the wrong length")
            weights.append(np.frombuffer(code, "<f4"))
        elif not refinements:
            weights.append(decode_chunk(code, header, len(weights)))
        parts.append(code)
        end = offset + n_bytes
    check(end == len(data), "more bytes follow the last part")
    if refinements:
        passes = [parts[k :: chunks["n"]] for k in range(chunks["n"])]
        weights = [decode_passes(codes[:1] if first_only else codes, header, k) for k, codes in enumerate(passes)]
    return header, weights


def tensors(network):
    """Names and shapes, in the order of the file."""
    bases, d, c = network["partition"]["bases"], network["width"], network["channels"]
    axes, levels = len(bases), len(bases[0])
    layers = []
    for i in range(levels - 1):
        layers += [(f"net.{i}.linear.weight", (d, axes if i == 0 else d)), (f"net.{i}.linear.bias", (d,))]
    modulators = []
    for i in range(levels - 1):
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
        self.low, self.width, self.value = 0, MASK, self.word() << 32
        self.value |= self.word()

    def word(self):
        return next(self.words, 0)

    def next(self, model):
        """Decodes a decision by a model [P, n] and teaches it."""
        p, n = model
        r = self.width >> 16
        quotient = ((self.value - self.low) & MASK) // r
        check(quotient < ONE, "the code is invalid")
        yes = quotient >= p
        self.low = (self.low + r * p) & MASK if yes else self.low
        self.width = r * (ONE - p) if yes else r * p
        if self.width < WORD:
            self.low, self.width = (self.low << 32) & MASK, self.width << 32
            self.value = (self.value << 32) & MASK | self.word()
        target = 48 if yes else ONE - 48
        step = abs(target - p) * 2 // (2 * n + 3)
        model[:] = [p + step if target > p else p - step, min(n + 1, 160)]
        return int(yes)

    def raw(self):
        return self.next([ONE // 2, 0])


def chunk_extents(header, k):
    extents, chunk = header["signal"]["extents"], header["chunks"]["extent"]
    return [min(chunk, extents[0] - k * chunk)] + extents[1:]


def slabs(extents, channels):
    """Numbers of slices of a chunk's slabs of corrections."""
    step = max(2**17 // (int(np.prod(extents[1:])) * channels), 1)
    return [min(step, extents[0] - start) for start in range(0, extents[0], step)]


def decode_chunk(code, header, k):
    """The weights, or weights and corrections."""
    if "max_error" not in header["chunks"]:
        return decode_weights(code, header["network"])[0]
    bound = whole_bound(header)
    extents, channels = chunk_extents(header, k), header["signal"]["channels"]
    weights, *codes = separate(code, 1 + len(slabs(extents, channels)))
    return decode_weights(weights, header["network"])[0], decode_slabs(codes, extents, channels, bound)


def decode_passes(codes, header, k):
    """The weights of a chunk's passes, or weights and corrections."""
    refinements, network = header["chunks"]["refinements"], header["network"]
    weights, state = decode_weights(codes[0], network)
    for octaves, code in zip(refinements, codes[1:]):
        weights, state = refine(code, network, state, octaves)
    if len(codes) <= 1 + len(refinements):
        return weights
    extents, channels = chunk_extents(header, k), header["signal"]["channels"]
    codes = separate(codes[-1], len(slabs(extents, channels)))
    return weights, decode_slabs(codes, extents, channels, whole_bound(header))


def whole_bound(header):
    """The bound of coded corrections, which of floats are multiples of a unit."""
    return 0 if header["signal"]["sample_type"][0] == "f" else header["chunks"]["max_error"]


def separate(code, n):
    """Byte strings after their lengths."""
    lengths = struct.unpack_from(f"<{n}I", code)
    check(4 * n + sum(lengths) == len(code), "the lengths of a chunk's parts are wrong")
    parts, at = [], 4 * n
    for length in lengths:
        parts.append(code[at : at + length])
        at += length
    return parts


def decode_slabs(codes, extents, channels, bound):
    counts = slabs(extents, channels)
    return np.concatenate(
        [decode_corrections(code, [n] + extents[1:], channels, bound) for n, code in zip(counts, codes)]
    )


def decode_corrections(code, extents, channels, bound):
    check(not code or code[-1] != 0, "the code of corrections has the wrong length")
    decisions, models = Decisions(code), {}
    sound, row_length = len(extents) == 1, extents[-1]
    rows = 1 if sound else int(np.prod(extents[:-1]))
    together = rows if len(extents) < 3 else int(np.prod(extents[1:-1]))
    c = np.zeros((rows, row_length, channels), dtype=object)
    size = np.zeros_like(c)
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
    n_params = sum(int(np.prod(shape)) for _, shape in shapes)
    least = -(-n_params // 32)
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
        kind = (
            "modulator" if name.startswith("mod")
            else "bias" if name.endswith("bias")
            else "output" if name.startswith("last")
            else "first" if name == "net.0.linear.weight"
            else "hidden"
        )
        grades = [row + column for row in rows for column in columns]
        state.append((kind, finest, grades, [number(kind, min(grade // 4, 7)) for grade in grades]))
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
    return multiples(finer), finer


def multiples(state):
    weights = []
    for _, finest, grades, numbers in state:
        steps = [finest + grade for grade in grades]
        weights += [q * (4 + step % 4) * 2.0 ** (step // 4 - 42) for q, step in zip(numbers, steps)]
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
        n = int(np.prod(shape))
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


def restore(values, signal):
    """Values of the network's scale as stored ones."""
    kind = TYPES[signal["sample_type"]]
    is_float, value_range = kind[-2] == "f", signal.get("value_range")
    if value_range is None and is_float:
        return values.astype(kind)
    low, high = value_range or (0, np.iinfo(kind).max)
    values = low + np.clip(values, 0, 1) * (high - low)
    if is_float:
        return values.astype(kind)
    return np.clip(np.rint(values), np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)


def correct(values, corrections, header):
    """Exact values of the network's scale as stored ones, corrected."""
    signal = header["signal"]
    kind, value_range = TYPES[signal["sample_type"]], signal.get("value_range")
    if kind[-2] != "f":
        limits = np.iinfo(kind)
        corrected = np.array(restore(values, signal).astype(np.int64) + corrections, dtype=np.int64)
        return np.clip(corrected, limits.min, limits.max).astype(kind)
    unit = 2.0 * header["chunks"]["max_error"] * (1023.0 / 1024.0)
    low, high = value_range or (-np.inf, np.inf)
    values = low + np.clip(values, 0, 1) * (high - low) if value_range else values
    return np.clip(values + corrections.astype(np.float64) * unit, low, high).astype(kind)


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
    except (Bad, OSError, KeyError, ValueError, TypeError) as error:
        sys.exit(f"read_asmr: {sys.argv[1] if len(sys.argv) > 1 else ''}: {error}")
