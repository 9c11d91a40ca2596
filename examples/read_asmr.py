#!/usr/bin/env python3
"""Reads an .asmr file and decodes it, in plain Python with numpy: a second reader, written from docs/FORMAT.md and docs/METHOD.md.

    python3 read_asmr.py FILE.asmr OUT.npy          the samples in the signal's own type
    python3 read_asmr.py FILE.asmr OUT.npy --raw    the networks' own values, before clamping and rounding

It evaluates every sample by the definition, in double precision: slow, and the truth.
"""

import json
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


def read(path):
    """The header, and one flat array of f32 weights for each chunk."""
    data = open(path, "rb").read()
    check(data[:8] == MAGIC, "this is not an .asmr file")
    check(len(data) >= 24, "the file is cut off")
    version, flags, n_header, header_crc, prefix_crc = struct.unpack_from("<HHIII", data, 8)
    check(zlib.crc32(data[:20]) == prefix_crc, "the prefix is damaged")
    check(version in (1, 2, 3), f"version {version} is not known")
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
    index = data[at : at + 24 * chunks["n"]]
    check(len(data) >= at + len(index) + 8 and len(index) == 24 * chunks["n"], "the file is cut off")
    check(struct.unpack_from("<II", data, at + len(index)) == (zlib.crc32(index), 0), "the index is damaged")
    end, weights = at + len(index) + 8, []
    for offset, n_bytes, crc, zero in struct.iter_unpack("<QQII", index):
        check(offset == end and zero == 0 and offset + n_bytes <= len(data), "the index is invalid, or the file is cut off")
        code = data[offset : offset + n_bytes]
        check(zlib.crc32(code) == crc, "a chunk is damaged")
        if version == 2:
            check(n_bytes == 4 * n_params, "a chunk has the wrong length")
            weights.append(np.frombuffer(code, "<f4"))
        else:
            weights.append(decode_weights(code, header["network"]))
        end = offset + n_bytes
    check(end == len(data), "more bytes follow the last chunk")
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


def decode_weights(code, network):
    shapes = tensors(network)
    n_params = sum(int(np.prod(shape)) for _, shape in shapes)
    least = -(-n_params // 32)
    check(len(code) >= least and (len(code) == least or code[-1] != 0), "the code has the wrong length")
    decisions, models, weights = Decisions(code), {}, []

    def decide(*key):
        return decisions.next(models.setdefault(key, [ONE // 2, 0]))

    def number(*key):
        if decide(*key, "zero"):
            return 0
        sign = -1 if decide(*key, "negative") else 1
        length = 1
        while length < 21 and decide(*key, "longer", length):
            length += 1
        m = 1
        for i in range(length - 1):
            bit = (
                decide(*key, "second", length) if i == 0
                else decide(*key, "third", length, m & 1) if i == 1
                else decisions.raw()
            )
            m = m << 1 | bit
        return sign * m

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
        for row in rows:
            for column in columns:
                step, octave = finest + row + column, min((row + column) // 4, 7)
                weights.append(number(kind, octave) * (4 + step % 4) * 2.0 ** (step // 4 - 42))
    return np.array(weights, dtype=np.float32)


def evaluate(network, weights, extents):
    """The network at every sample of a grid with these extents, in double precision: extents × channels."""
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
        z = np.sin(w * (named[f"net.{i}.linear.weight"] @ z + named[f"net.{i}.linear.bias"][:, None])
                   + modulation(network, named, i, w, coordinates[i + 1], digits[i + 1]))
    y = named["last_layer.linear.weight"] @ z + named["last_layer.linear.bias"][:, None]
    return y.T.reshape(*extents, network["channels"])


def modulation(network, named, i, w, x, digits):
    name = f"modulators.{i}."
    if network["modulator"] == "linear":
        return w * w * (named[name + "linear.weight"] @ x)
    if network["modulator"] == "table":
        return w * sum(named[f"{name}table.{axis}"][digit].T for axis, digit in enumerate(digits))
    for part in ("net.0.linear", "net.1.linear"):
        x = np.sin(w * (named[f"{name}model.{part}.weight"] @ x + named[f"{name}model.{part}.bias"][:, None]))
    part = name + "model.last_layer.linear"
    return w * (named[part + ".weight"] @ x + named[part + ".bias"][:, None])


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


def main(arguments):
    paths = [a for a in arguments if a != "--raw"]
    if len(paths) != 2:
        sys.exit(__doc__)
    header, weights = read(paths[0])
    signal, chunk = header["signal"], header["chunks"]["extent"]
    parts = []
    for k, flat in enumerate(weights):
        extents = [min(chunk, signal["extents"][0] - k * chunk)] + signal["extents"][1:]
        parts.append(evaluate(header["network"], flat, extents))
    values = np.concatenate(parts)
    np.save(paths[1], values if "--raw" in arguments else restore(values, signal))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (Bad, OSError, KeyError, ValueError, TypeError) as error:
        sys.exit(f"read_asmr: {sys.argv[1] if len(sys.argv) > 1 else ''}: {error}")
