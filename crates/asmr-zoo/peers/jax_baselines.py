"""Fits the baselines of asmr-zoo in JAX, written from the papers' equations and differentiated automatically, and prints
the PSNR that each reaches.

    python jax_baselines.py .../image/camera.png [--starts FOLDER] [METHOD …]      # needs jax and pillow
    python jax_baselines.py .../image/camera.png --whole [METHOD …]

Without options: small settings on a square of camera.png, full batches; mean and deviation over seeds, what tests/independent.rs
compares the crate's own fits with. Initial weights are drawn here, from the same distributions; so figures agree to what seeds
change, not to the bit. With --starts they are those of the crate, METHOD-SEED.f32 in FOLDER as the test `write_starts` leaves them;
then a PSNR is printed for each seed, and fits agree but for rounding.

With --whole: the ASMR paper's sizes on all of camera.png, in batches drawn anew for each epoch; mean and deviation over three seeds,
what experiments/anchors.toml compares with.
"""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

STARTS = None
if "--starts" in sys.argv:
    at = sys.argv.index("--starts")
    STARTS = sys.argv[at + 1]
    del sys.argv[at:at + 2]
WHOLE = "--whole" in sys.argv
if WHOLE:
    sys.argv.remove("--whole")

picture = np.asarray(Image.open(sys.argv[1]).convert("L"), np.float32)
if WHOLE:
    TOP, LEFT, SIDE, STEPS, SEEDS, BATCH = 0, 0, 512, 500, 3, 1 << 14
    SIREN = dict(width=256, rate=1e-3)
    FFN = dict(n_frequencies=128, sigma=10.0, fans=[256, 256, 256, 256, 1], rate=1e-3)
    KILONERF = dict(cells=16, n_frequencies=10, rate=5e-3)
    LOE = dict(tiles=[8, 8, 8], n_frequencies=8, width=24, rate=1e-2)
    # A tenth of the published rate, which does not fall within 500 steps: with that one, where they end is chance (over 1 dB of deviation).
    NGP = dict(levels=8, size=1 << 15, coarsest=16, finest=256, width=64, rate=1e-3)
    WIRE = dict(width=256, layers=4, omega=20.0, scale=20.0, rate=1.25e-3)
    PLENOXELS = dict(vertices=171, tv=1e-5, rate=1e-2)
else:
    TOP, LEFT, SIDE, STEPS, SEEDS, BATCH = 120, 216, 48, 200, 20, None
    SIREN = dict(width=48, rate=5e-4)
    FFN = dict(n_frequencies=64, sigma=5.0, fans=[128, 64, 64, 1], rate=1e-3)
    KILONERF = dict(cells=4, n_frequencies=6, rate=2e-3)
    LOE = dict(tiles=[4, 4, 3], n_frequencies=5, width=16, rate=5e-3)
    NGP = dict(levels=6, size=1 << 9, coarsest=4, finest=32, width=16, rate=1e-2)
    WIRE = dict(width=48, layers=3, omega=10.0, scale=10.0, rate=5e-3)
    PLENOXELS = dict(vertices=20, tv=1e-4, rate=1e-2)

target = jnp.asarray(picture[TOP:TOP + SIDE, LEFT:LEFT + SIDE].reshape(-1, 1) / 255)
row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
index = np.stack([row, column], 1)
ends = jnp.asarray(2 * index / (SIDE - 1) - 1, jnp.float32)
share = index / SIDE


def uniform(key, shape, bound):
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def keys(seed):
    key = jax.random.PRNGKey(seed)
    while True:
        key, one = jax.random.split(key)
        yield one


class Start:
    """Weights in the order in which the crate keeps them."""

    def __init__(self, method, seed):
        self.rest = np.fromfile(f"{STARTS}/{method}-{seed}.f32", "<f4")

    def take(self, *shape):
        n = math.prod(shape)
        values, self.rest = self.rest[:n], self.rest[n:]
        return jnp.asarray(values.reshape(shape))

    def matrix(self, n, m):
        """Kept as outputs by inputs."""
        return self.take(m, n).T

    def end(self, params):
        assert len(self.rest) == 0, len(self.rest)
        return params


def encoded(x, n):
    columns = []
    for axis in range(2):
        columns.append(x[:, axis])
        for i in range(n):
            columns += [np.sin(2**i * np.pi * x[:, axis]), np.cos(2**i * np.pi * x[:, axis])]
    return jnp.asarray(np.stack(columns, 1), jnp.float32)


def cosine(last):
    return lambda p: last + (1 - last) * 0.5 * (1 + math.cos(math.pi * p))


def siren(key, start):
    fans, w = [2, *3 * [SIREN["width"]], 1], 30.0
    params = []
    for i, (n, m) in enumerate(zip(fans, fans[1:])):
        bound = 1 / n if i == 0 else math.sqrt(6 / n) / w
        params.append((uniform(next(key), (n, m), bound), uniform(next(key), (m,), bound)))
    if start:
        params = start.end([(start.matrix(n, m), start.take(m)) for n, m in zip(fans, fans[1:])])

    def f(params, rows):
        z = ends[rows]
        for a, b in params[:-1]:
            z = jnp.sin(w * (z @ a + b))
        return z @ params[-1][0] + params[-1][1]

    return params, f, None, dict(rate=SIREN["rate"], schedule=cosine(0.1))


def ffn(key, start):
    n, fans = FFN["n_frequencies"], FFN["fans"]
    frequencies = start.matrix(2, n) if start else FFN["sigma"] * jax.random.normal(next(key), (2, n))
    angles = 2 * jnp.pi * jnp.asarray(share, jnp.float32) @ frequencies
    # In the crate's order; the paper's is the other.
    features = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)
    params = [(math.sqrt(2 / (n + m)) * jax.random.normal(next(key), (n, m)), 0.01 * jax.random.normal(next(key), (m,)))
              for n, m in zip(fans, fans[1:])]
    if start:
        params = start.end([(start.matrix(n, m), start.take(m)) for n, m in zip(fans, fans[1:])])

    def f(params, rows):
        z = features[rows]
        for a, b in params[:-1]:
            z = jax.nn.relu(z @ a + b)
        return jax.nn.sigmoid(z @ params[-1][0] + params[-1][1])

    return params, f, None, dict(rate=FFN["rate"])


def kilonerf(key, start):
    side, n_frequencies = KILONERF["cells"], KILONERF["n_frequencies"]
    cell = jnp.asarray((row * side // SIDE) * side + column * side // SIDE)
    features = encoded(2 * share - 1, n_frequencies)
    fans, n_cells = [2 + 4 * n_frequencies, 16, 16, 16, 1], side**2
    params = [(uniform(next(key), (n_cells, n, m), math.sqrt(6 / n)), jnp.zeros((n_cells, m))) for n, m in zip(fans, fans[1:])]
    if start:
        cells = [[(start.matrix(n, m), start.take(m)) for n, m in zip(fans, fans[1:])] for _ in range(n_cells)]
        params = start.end([tuple(jnp.stack(part) for part in zip(*layer)) for layer in zip(*cells)])

    def f(params, rows):
        z = features[rows]
        for i, (a, b) in enumerate(params):
            z = jnp.einsum("rn,rnm->rm", z, a[cell[rows]]) + b[cell[rows]]
            z = z if i == 3 else jax.nn.leaky_relu(z, 0.2)
        return z

    return params, f, None, dict(rate=KILONERF["rate"], schedule=cosine(0.02))


def loe(key, start):
    tiles, width, n_frequencies, scale, ids = LOE["tiles"], LOE["width"], LOE["n_frequencies"], 1, []
    for t in tiles:
        scale *= t
        y, x = row * scale // SIDE % t, column * scale // SIDE % t
        ids.append(jnp.asarray(y * t + x))
    features = encoded(2 * share - 1, n_frequencies)
    fans = [2 + 4 * n_frequencies, width, width, width]
    params = [(uniform(next(key), (t * t, n, m), math.sqrt(6 / n)), jnp.zeros(m))
              for t, n, m in zip(tiles, fans, fans[1:])]
    params.append((uniform(next(key), (width, 1), math.sqrt(6 / width)), jnp.zeros(1)))
    if start:
        params = [(start.take(t * t, m, n).transpose(0, 2, 1), start.take(m)) for t, n, m in zip(tiles, fans, fans[1:])]
        params = start.end(params + [(start.matrix(width, 1), start.take(1))])

    def f(params, rows):
        z = features[rows]
        for (a, b), tile in zip(params, ids):
            z = jax.nn.leaky_relu(jnp.einsum("rn,rnm->rm", z, a[tile[rows]]) + b, 0.2)
        return z @ params[-1][0] + params[-1][1]

    return params, f, None, dict(rate=LOE["rate"], schedule=cosine(1e-3))


def ngp(key, start):
    levels, size, coarsest, width, tables, lookups = NGP["levels"], NGP["size"], NGP["coarsest"], NGP["width"], [], []
    for level in range(levels):
        n = math.floor(coarsest * (NGP["finest"] / coarsest) ** (level / (levels - 1)) + 1e-6)
        dense = (n + 1) ** 2 <= size
        tables.append(uniform(next(key), ((n + 1) ** 2 if dense else size, 2), 1e-4))
        x = (index + 0.5) / SIDE * n
        low = np.floor(x).astype(np.uint64)
        corners = []
        for dy in (0, 1):
            for dx in (0, 1):
                y, c = low[:, 0] + np.uint64(dy), low[:, 1] + np.uint64(dx)
                weight = np.abs(x[:, 0] - low[:, 0] - 1 + dy) * np.abs(x[:, 1] - low[:, 1] - 1 + dx)
                entry = y * np.uint64(n + 1) + c if dense else (c ^ (y * np.uint64(2654435761))) % np.uint64(size)
                corners.append((jnp.asarray(entry.astype(np.int32)), jnp.asarray(weight[:, None], jnp.float32)))
        lookups.append(corners)
    fans = [2 * levels, width, width, 1]
    mlp = [uniform(next(key), (n, m), math.sqrt(6 / (n + m))) for n, m in zip(fans, fans[1:])]
    if start:
        mlp = [start.matrix(n, m) for n, m in zip(fans, fans[1:])]
        tables = start.end([start.take(*table.shape) for table in tables])

    def f(params, rows):
        mlp, tables = params
        z = [sum(t[e[rows]] * w[rows] for e, w in corners) for t, corners in zip(tables, lookups)]
        z = jnp.concatenate(z, 1)
        for a in mlp[:-1]:
            z = jax.nn.relu(z @ a)
        return z @ mlp[-1]

    def penalty(params):
        return 0.5e-6 * sum((a**2).sum() for a in params[0])

    return (mlp, tables), f, penalty, dict(rate=NGP["rate"], beta2=0.99, epsilon=1e-15)


def wire(key, start):
    h, w, s = int(WIRE["width"] / math.sqrt(2)), WIRE["omega"], WIRE["scale"]

    def draw(n, m):
        bound = 1 / math.sqrt(n)
        return [uniform(next(key), (n, m), bound), uniform(next(key), (n, m), bound),
                uniform(next(key), (m,), bound), uniform(next(key), (m,), bound)]

    n_hidden = WIRE["layers"] - 2
    params = [draw(2, h), *(draw(h, h) for _ in range(n_hidden)), draw(h, 1)]
    # The first layer is real.
    params[0][1], params[0][3] = jnp.zeros((0,)), jnp.zeros((0,))
    if start:
        params[0][0], params[0][2] = start.matrix(2, h), start.take(h)
        for i in range(1, 1 + n_hidden):
            params[i] = [start.matrix(h, h), start.matrix(h, h), start.take(h), start.take(h)]
        params[-1] = start.end([start.matrix(h, 1), start.matrix(h, 1), start.take(1), jnp.zeros(1)])

    def gabor(z):
        return jnp.exp(1j * w * z - (s * jnp.abs(z)) ** 2)

    def f(params, rows):
        z = gabor((ends[rows] @ params[0][0] + params[0][2]).astype(jnp.complex64))
        for i, (a, b, c, d) in enumerate(params[1:]):
            z = z @ (a + 1j * b) + (c + 1j * d)
            z = z if i == n_hidden else gabor(z)
        return z.real

    return params, f, None, dict(rate=WIRE["rate"], schedule=lambda p: 0.1**p)


def plenoxels(key, start):
    n = PLENOXELS["vertices"]
    x = index / (SIDE - 1) * (n - 1)
    low = np.minimum(np.floor(x), n - 2).astype(np.int32)
    corners = [(jnp.asarray(low[:, 0] + dy), jnp.asarray(low[:, 1] + dx),
                jnp.asarray(np.abs(x[:, 0] - low[:, 0] - 1 + dy) * np.abs(x[:, 1] - low[:, 1] - 1 + dx), jnp.float32))
               for dy in (0, 1) for dx in (0, 1)]

    def f(grid, rows):
        return sum(grid[y[rows], c[rows]] * w[rows] for y, c, w in corners)[:, None]

    def penalty(grid):
        down = jnp.pad(grid[1:] - grid[:-1], ((0, 1), (0, 0)))
        right = jnp.pad(grid[:, 1:] - grid[:, :-1], ((0, 0), (0, 1)))
        return PLENOXELS["tv"] / n**2 * jnp.sqrt(((down**2 + right**2) * (n / 256) ** 2) + 1e-9).sum()

    schedule = dict(rate=PLENOXELS["rate"], beta1=0.0, beta2=0.95, schedule=lambda p: 0.01**p)
    return jnp.full((n, n), 0.5), f, penalty, schedule


def all_batches(seed):
    """Samples of each step: all, or so many of an order that is drawn anew when all have been taken."""
    draws = np.random.default_rng(seed)
    while True:
        order = np.arange(SIDE * SIDE) if BATCH is None else draws.permutation(SIDE * SIDE)
        for rows in np.split(order, SIDE * SIDE // (BATCH or SIDE * SIDE)):
            yield jnp.asarray(rows)


def fit(method, seed):
    start = Start(method.__name__, seed) if STARTS and method is not plenoxels else None
    params, f, penalty, how = method(keys(seed), start)
    beta1, beta2, epsilon = how.get("beta1", 0.9), how.get("beta2", 0.999), how.get("epsilon", 1e-8)

    def loss(params, rows):
        return ((f(params, rows) - target[rows]) ** 2).mean() + (penalty(params) if penalty else 0)

    # The hash grid leaves weights without a gradient alone, moments and step counts included.
    def moves(g):
        return g != 0 if method is ngp else jnp.ones_like(g, bool)

    @jax.jit
    def step(params, first, second, count, rate, rows):
        g = jax.grad(loss)(params, rows)
        first = jax.tree.map(lambda m, g: jnp.where(moves(g), beta1 * m + (1 - beta1) * g, m), first, g)
        second = jax.tree.map(lambda v, g: jnp.where(moves(g), beta2 * v + (1 - beta2) * g**2, v), second, g)
        count = jax.tree.map(lambda t, g: t + moves(g), count, g)

        def update(p, m, v, t, g):
            moved = p - rate * (m / (1 - beta1**t)) / (jnp.sqrt(v / (1 - beta2**t)) + epsilon)
            return jnp.where(moves(g), moved, p)

        return jax.tree.map(update, params, first, second, count, g), first, second, count

    zeros = jax.tree.map(jnp.zeros_like, params)
    first, second, count = zeros, zeros, zeros
    schedule, batches = how.get("schedule", lambda p: 1.0), all_batches(seed)
    for t in range(STEPS):
        rate = how["rate"] * schedule(t / STEPS)
        params, first, second, count = step(params, first, second, count, rate, next(batches))
    parts = np.array_split(np.arange(SIDE * SIDE), SIDE * SIDE // BATCH if BATCH else 1)
    values = np.concatenate([np.asarray(f(params, rows)) for rows in parts])
    return float(-10 * np.log10(((np.clip(values, 0, 1) - np.asarray(target)) ** 2).mean()))


for method in [siren, ffn, kilonerf, loe, ngp, wire, plenoxels]:
    if sys.argv[2:] and method.__name__ not in sys.argv[2:]:
        continue
    # Nothing is drawn for an explicit grid.
    values = [fit(method, seed) for seed in range(1 if method is plenoxels else 3 if STARTS else SEEDS)]
    if STARTS:
        print(method.__name__, *(f"{value:.3f}" for value in values), sep="\t", flush=True)
        continue
    print(f"{method.__name__}\t{np.mean(values):.3f}\t{np.std(values):.3f}", flush=True)
