"""Records what trimesh and libigl say about meshes: some that tests/shapes.rs makes in the same way, some from files.

python3 gen_mesh_expected.py DATA_FOLDER > mesh_expected.tsv

The grid is the one that `voxelise` documents, with 16 samples along each axis. `occupancy` has a bit for each sample, slowest
axis first, most significant bit first, in hexadecimal: libigl's exact winding number is at least 0.5. `mean_distance` is the mean over
all samples of the unsigned distance cut at 4 spacings, `distances` every 400th of these.
"""

import os
import sys
from importlib.metadata import version

import igl
import numpy as np
import trimesh

N = 16


def torus(n_around, n_tube):
    """Radii 1 and 0.4."""
    u, v = np.meshgrid(np.arange(n_around), np.arange(n_tube), indexing="ij")
    a, b = 2 * np.pi * u / n_around, 2 * np.pi * v / n_tube
    ring = 1 + 0.4 * np.cos(b)
    vertices = np.stack([ring * np.cos(a), ring * np.sin(a), 0.4 * np.sin(b)], axis=-1).reshape(-1, 3)
    at = lambda u, v: (u % n_around) * n_tube + v % n_tube
    p, q, r, s = at(u, v), at(u + 1, v), at(u + 1, v + 1), at(u, v + 1)
    faces = np.stack([np.stack([p, q, r], -1), np.stack([p, r, s], -1)], axis=-2)
    return vertices, faces.reshape(-1, 3)


def cut(mesh, keep):
    """The triangles whose corners' sum of z is at least `keep`."""
    vertices, faces = mesh
    return vertices, faces[vertices[faces][:, :, 2].sum(axis=1) >= keep]


def flip(mesh, step):
    """Every so many triangles turned around."""
    vertices, faces = mesh
    faces = faces.copy()
    faces[::step] = faces[::step][:, [0, 2, 1]]
    return vertices, faces


def load(path):
    mesh = trimesh.load(path, process=False, maintain_order=True)
    merged = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    merged.merge_vertices(merge_tex=True, merge_norm=True, digits_vertex=12)
    return np.asarray(merged.vertices), np.asarray(merged.faces)


def record(name, mesh):
    vertices, faces = mesh
    vertices = np.asfortranarray(vertices, dtype=np.float64)
    faces = np.asfortranarray(faces, dtype=np.int64)
    tri = trimesh.Trimesh(vertices, faces, process=False)
    n_boundary = len(trimesh.grouping.group_rows(tri.edges_sorted, require_count=1))
    used = vertices[np.unique(faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    longest = (high - low).max()
    spacing = 1.1 * longest / (N - 1)
    origin = (low + high) / 2 - 0.55 * longest
    k, j, i = np.meshgrid(*[np.arange(N)] * 3, indexing="ij")
    points = np.asfortranarray(origin + spacing * np.stack([i, j, k], axis=-1).reshape(-1, 3))
    winding = igl.winding_number(vertices, faces, points)
    print(name, "least distance of a winding number from 0.5:", np.abs(winding - 0.5).min(), file=sys.stderr)
    squares = igl.point_mesh_squared_distance(points, vertices, faces)[0]
    distances = np.minimum(np.sqrt(squares), 4 * spacing)
    print(
        name,
        len(faces),
        "closed" if tri.is_watertight and tri.is_winding_consistent else "open",
        n_boundary,
        repr(float(tri.area)),
        repr(float(tri.volume)) if tri.is_watertight and tri.is_winding_consistent else "none",
        np.packbits(winding >= 0.5).tobytes().hex(),
        repr(float(distances.mean())),
        " ".join(repr(float(d)) for d in distances[::400]),
        sep="\t",
    )


(data,) = sys.argv[1:]
print(f"# gen_mesh_expected.py with trimesh {trimesh.__version__}, libigl {version('libigl')}, numpy {np.__version__}")
print("# mesh", "triangles", "closed", "boundary_edges", "area", "volume", "occupancy", "mean_distance", "distances", sep="\t")
record("torus", torus(40, 20))
record("cut-torus", cut(torus(40, 20), 0.1))
record("patched-torus", flip(torus(40, 20), 7))
record("cut-patched-torus", flip(cut(torus(40, 20), -0.3), 5))
for name in ["armadillo", "fandisk", "spot", "stanford-bunny"]:
    record(f"mesh/{name}.obj", load(os.path.join(data, f"mesh/{name}.obj")))
