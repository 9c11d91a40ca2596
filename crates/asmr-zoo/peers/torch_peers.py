"""PyTorch peers of the benches, written from docs/METHOD.md alone: ASMR with activation sharing, and SIREN.

    python torch_peers.py serve [THREADS]    answers one JSON command per line of standard input with one JSON line
    python torch_peers.py check FOLDER       compares the models with the golden vectors of that folder

A command names its `work` and, where a network is meant, the shape (`extents`, `bases` as [axis][level], `channels`,
`width`) and the `peer`: "asmr-eager", "asmr-compile", "siren-eager" or "siren-compile".

    {"work": "info"}                          -> {"torch": ..., "threads": ...}
    {"work": "decode", "peer": ..., shape}    -> {"seconds": ...}      one decode of the whole signal, without gradients
    {"work": "step", "peer": ..., shape}      -> {"seconds": ...}      one full-batch step: MSE, gradient, Adam
    {"work": "fit", shape, "values": FILE, "limit_s": ..., "rate": ...} -> {"psnr_db": ..., "steps": ..., "seconds": ...}
    {"work": "memory"}                        -> {"peak_mib": ...}     of this process, so far

The first run of a peer on a shape is preceded by untimed ones: compilation and first allocations are not measured.
Everything is f32 on the CPU.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

OMEGA_0 = 30.0
# Width of the hidden layers of the nonlinear modulator.
MODULATOR_WIDTH = 32
WARM_UP_RUNS = 2


def uniform_(layer: nn.Linear, bound: float) -> nn.Linear:
    """Weights and bias drawn from U(-bound, bound)."""
    for tensor in layer.parameters():
        nn.init.uniform_(tensor, -bound, bound)
    return layer


def hidden(fan_in: int, fan_out: int) -> nn.Linear:
    """A layer with SIREN's initialisation of all layers but the first."""
    return uniform_(nn.Linear(fan_in, fan_out), math.sqrt(6 / fan_in) / OMEGA_0)


def grid(lines: list[torch.Tensor]) -> torch.Tensor:
    """All combinations of one value of each line: [*lengths, axes]."""
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)


def level_coordinates(bases: list[list[int]], level: int, dtype=torch.float32) -> torch.Tensor:
    """digit / (base - 1) of all digit tuples of a level, 0 where the base is 1: [*bases of the level, axes]."""
    return grid([torch.arange(b[level], dtype=dtype) / max(b[level] - 1, 1) for b in bases])


class LinearModulator(nn.Module):
    def __init__(self, axes: int, width: int):
        super().__init__()
        self.linear = uniform_(nn.Linear(axes, width, bias=False), 1 / math.sqrt(axes))

    def forward(self, x):
        return OMEGA_0 * self.linear(x)


class NonlinearModulator(nn.Module):
    def __init__(self, axes: int, width: int):
        super().__init__()
        h = MODULATOR_WIDTH
        self.layers = nn.ModuleList([uniform_(nn.Linear(axes, h), 1 / axes), hidden(h, h), hidden(h, width)])

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = torch.sin(OMEGA_0 * layer(x))
        return self.layers[-1](x)


class Asmr(nn.Module):
    """Activation sharing as published: a layer is evaluated once per cell of its level, each cell's row is spread
    over its children, the children's modulation is added, and then comes the sine."""

    def __init__(self, bases: list[list[int]], channels: int, width: int, nonlinear: bool = False):
        super().__init__()
        self.bases, self.axes, self.levels = bases, len(bases), len(bases[0])
        modulator = NonlinearModulator if nonlinear else LinearModulator
        self.net = nn.ModuleList(
            [uniform_(nn.Linear(self.axes, width), 1 / self.axes)]
            + [hidden(width, width) for _ in range(self.levels - 2)]
        )
        self.modulators = nn.ModuleList([modulator(self.axes, width) for _ in range(self.levels - 1)])
        self.last_layer = hidden(width, channels)
        for level in range(self.levels):
            self.register_buffer(f"x{level}", level_coordinates(bases, level))

    def forward(self):
        z = self.x0
        for i, layer in enumerate(self.net):
            # The factor omega_0 on the cells, where it is cheap; the modulation carries its own.
            u = OMEGA_0 * layer(z)
            m = OMEGA_0 * self.modulators[i](getattr(self, f"x{i + 1}"))
            # [g, 1, ..., width] + [1, base, ..., width]: adding broadcasts each cell over its children.
            cells, children, after = [], [], []
            for n, b in zip(u.shape[:-1], m.shape[:-1]):
                cells += [n, 1]
                children += [1, b]
                after.append(n * b)
            z = torch.sin(u.view(*cells, -1) + m.view(*children, -1)).view(*after, -1)
        return self.last_layer(z)

    def per_sample(self):
        """The definition: every layer at every sample."""
        extents = [math.prod(b) for b in self.bases]
        indices = grid([torch.arange(n) for n in extents])

        def at_samples(level):
            columns = []
            for axis, bases in enumerate(self.bases):
                digit = indices[..., axis] // math.prod(bases[level + 1 :]) % bases[level]
                columns.append(digit.to(self.x0.dtype) / max(bases[level] - 1, 1))
            return torch.stack(columns, dim=-1)

        z = at_samples(0)
        for i, layer in enumerate(self.net):
            z = torch.sin(OMEGA_0 * layer(z) + OMEGA_0 * self.modulators[i](at_samples(i + 1)))
        return self.last_layer(z)


class Siren(nn.Module):
    """A SIREN with as many linear layers of the same width, over the coordinates of the whole grid."""

    def __init__(self, extents: list[int], layers: int, channels: int, width: int):
        super().__init__()
        axes = len(extents)
        self.net = nn.ModuleList(
            [uniform_(nn.Linear(axes, width), 1 / axes)] + [hidden(width, width) for _ in range(layers - 2)]
        )
        self.last_layer = hidden(width, channels)
        self.register_buffer("x", grid([torch.linspace(-1, 1, n) for n in extents]).reshape(-1, axes))

    def forward(self):
        z = self.x
        for layer in self.net:
            z = torch.sin(OMEGA_0 * layer(z))
        return self.last_layer(z)


class Prepared:
    """A model and, once it is to be fitted, its target and optimiser."""

    def __init__(self, command: dict):
        torch.manual_seed(0)
        kind, _, how = command["peer"].partition("-")
        bases, channels, width = command["bases"], command["channels"], command["width"]
        if kind == "asmr":
            model = Asmr(bases, channels, width)
        elif kind == "siren":
            model = Siren(command["extents"], len(bases[0]), channels, width)
        else:
            raise ValueError(f"no peer called {command['peer']}")
        self.model = model
        # One shape is asked for again and again, so the compiler may specialise on it.
        self.run = torch.compile(model, dynamic=False) if how == "compile" else model
        self.optimiser = None

    def fit_to(self, target: torch.Tensor | None, rate: float):
        if target is None:
            with torch.no_grad():
                target = torch.rand_like(self.model())
        self.target = target
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=rate)

    def step(self):
        loss = nn.functional.mse_loss(self.run(), self.target)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    def decode(self):
        with torch.no_grad():
            return self.run()


class Server:
    def __init__(self):
        self.shape, self.warm = None, {}

    def timed(self, command: dict) -> float:
        shape = [command[key] for key in ("work", "extents", "bases", "channels", "width")]
        if shape != self.shape:
            # One shape at a time, so that a model no longer asked for holds no memory.
            self.shape, self.warm = shape, {}
            torch.compiler.reset()
        is_step = command["work"] == "step"
        prepared = self.warm.get(command["peer"])
        if prepared is None:
            prepared = self.warm[command["peer"]] = Prepared(command)
            if is_step:
                prepared.fit_to(None, 1e-4)
            for _ in range(WARM_UP_RUNS):
                prepared.step() if is_step else prepared.decode()
        start = time.perf_counter()
        prepared.step() if is_step else prepared.decode()
        return time.perf_counter() - start

    def fit(self, command: dict) -> dict:
        """The paper's initialisation; Adam from `rate` down to a tenth of it by a cosine over the time given; full
        batch. The time begins before the target is read and the model is made; a step begun within it is finished."""
        # Parts of PyTorch are loaded when they are first used; that is no part of a fit.
        loading = Prepared({"peer": "asmr-eager", "bases": [[2, 2]], "channels": 1, "width": 4})
        loading.fit_to(None, 1e-4)
        loading.step()
        start = time.perf_counter()
        bytes_ = np.fromfile(command["values"], dtype=np.uint8)
        target = torch.from_numpy(bytes_).view(*command["extents"], command["channels"]).float() / 255
        prepared = Prepared(command | {"peer": "asmr-eager"})
        prepared.fit_to(target, command["rate"])
        steps = 0
        while (elapsed := time.perf_counter() - start) < command["limit_s"]:
            share = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * elapsed / command["limit_s"]))
            for group in prepared.optimiser.param_groups:
                group["lr"] = command["rate"] * share
            prepared.step()
            steps += 1
        seconds = time.perf_counter() - start
        decoded = (prepared.decode().clamp(0, 1) * 255).round() / 255
        mse = torch.mean((decoded.double() - target.double()) ** 2).item()
        return {"psnr_db": -10 * math.log10(max(mse, 1e-12)), "steps": steps, "seconds": seconds}

    def answer(self, command: dict) -> dict:
        match command["work"]:
            case "info":
                return {
                    "torch": torch.__version__,
                    "threads": torch.get_num_threads(),
                    "capability": torch.backends.cpu.get_cpu_capability(),
                }
            case "decode" | "step":
                return {"seconds": self.timed(command)}
            case "fit":
                return self.fit(command)
            case "memory":
                status = Path("/proc/self/status").read_text()
                kib = next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]
                return {"peak_mib": int(kib) / 1024}
        raise ValueError(f"no work called {command['work']}")


def serve():
    server = Server()
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:  # the other side shows it, with the case it belongs to
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def read_safetensors(path: Path) -> tuple[dict, dict]:
    """Metadata, and all tensors (f32)."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[begin:end], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return metadata, tensors


def own_name(name: str) -> str:
    """A golden vector's tensor name as this file's modules have it."""
    name = name.replace(".linear.", ".", 1)
    if name.startswith("modulators.") and ".model." not in name:
        return name.replace(".weight", ".linear.weight")
    return name.replace(".model.net.", ".layers.").replace(".model.last_layer.", ".layers.2.")


# f32 at phases of over 1,200 rad is off by up to half a unit in the last place of the phase, 6e-5 rad.
F32_BOUND = 1e-4
# The expected values are stored as f32.
F64_BOUND = 2e-6


def check(folder: Path):
    names = sorted(folder.glob("*.safetensors"))
    assert names, f"no golden vectors in {folder}"
    failures, n_tensors = 0, 0

    def compare(what, actual, expected, bound):
        nonlocal failures
        worst = (actual.double() - expected.double()).abs().max().item()
        bad = not worst <= bound
        failures += bad
        print(f"{'FAILED' if bad else 'ok':6} {what}: {worst:.2e}, at most {bound:.0e}")

    for path in names:
        metadata, tensors = read_safetensors(path)
        expected = tensors["expected.output"]
        model = Asmr(
            json.loads(metadata["bases"]), int(metadata["channels"]), int(metadata["width"]),
            nonlinear=metadata["modulator"] == "nonlinear",
        )
        assert float(metadata["omega_0"]) == OMEGA_0
        model.load_state_dict(
            {own_name(k): v for k, v in tensors.items() if k != "target" and not k.startswith("expected.")},
            strict=False,  # the coordinates are made here
        )
        loaded = {own_name(k) for k in tensors}
        missing = [name for name, _ in model.named_parameters() if name not in loaded]
        assert not missing, f"{path.stem} lacks {missing}"
        with torch.no_grad():
            compare(f"{path.stem}, shared, f32", model(), expected, F32_BOUND)
            compare(f"{path.stem}, compiled, f32", torch.compile(model, dynamic=False)(), expected, F32_BOUND)
            compare(f"{path.stem}, per sample, f32", model.per_sample(), expected, F32_BOUND)
        model.double()
        for level in range(model.levels):
            # Thirds and the like are not exact in f32, and the phases multiply their error: made anew.
            setattr(model, f"x{level}", level_coordinates(model.bases, level, torch.float64))
        output = model()
        compare(f"{path.stem}, shared, f64", output.detach(), expected, F64_BOUND)
        compare(f"{path.stem}, per sample, f64", model.per_sample().detach(), expected, F64_BOUND)
        nn.functional.mse_loss(output, tensors["target"].double()).backward()
        parameters = dict(model.named_parameters())
        for name, gradient in tensors.items():
            if name.startswith("expected.grad."):
                n_tensors += 1
                actual = parameters[own_name(name.removeprefix("expected.grad."))].grad
                largest = gradient.abs().max().item()
                compare(f"{path.stem}, {name}", actual, gradient, 1e-6 * max(largest, 1e-3))
    print(f"{len(names)} networks, {n_tensors} gradients, {failures} failures")
    assert n_tensors > len(names)
    sys.exit(failures > 0)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", *rest]:
            torch.set_num_threads(int(rest[0]) if rest else 2)
            serve()
        case ["check", folder]:
            check(Path(folder))
        case _:
            sys.exit(__doc__)
