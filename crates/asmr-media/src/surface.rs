//! Grids to meshes: marching cubes (Lorensen and Cline 1987).
//!
//! A cell lies between eight samples. Each of its twelve edges with one end inside and one outside carries a
//! vertex. On a face of the cell, vertices are joined around each run of inside corners; where the two inside
//! corners of a face are opposite, each is cut off by itself. Both cells at the face see the same, so the lines
//! close to loops without gaps. A loop becomes triangles none of whose inner lines lies in a face of the cell, or,
//! where that cannot be, a fan around its middle: a line in the face could be the other cell's as well, and an edge
//! of four triangles is no manifold.

use std::sync::LazyLock;

use asmr::metadata::Media;
use asmr::signal::SignalInfo;

use crate::error::MediaError;
use crate::mesh::{Mesh, mean};

/// The level of the surface on the network's scale, of occupancy (0 to 1) as of distances (−t to t).
pub const SURFACE_LEVEL: f32 = 0.5;

/// A vertex keeps this distance from the samples at its edge's ends, in spacings: at a sample itself, several would
/// fall together.
const CLEARANCE: f64 = 1e-4;

/// Edges of a cell: 4 along x, 4 along y, 4 along z; see [`edge_number`].
const N_EDGES: usize = 12;

/// The surface where values pass `level`, its fronts looking to where they are below.
///
/// `values` are one per sample, slowest axis first: network values with [`SURFACE_LEVEL`] (unclamped they give the
/// smoothest surface), stored occupancy with 0.5, or stored distances with 0. A value of at least `level` is
/// inside, NaN is outside. What lies beyond the grid is outside: where the inside reaches the border, the surface
/// runs half a spacing beyond it. So the mesh is closed: every edge has two triangles that look to one side, every
/// vertex one ring of triangles. Without any inside the mesh is empty.
///
/// A vertex lies where linear interpolation between two neighbouring samples puts it, but at least 0.0001 spacings
/// from both. Vertices are in the units of [`Shape`](asmr::metadata::Shape) where `info` is a shape; of other grids
/// of three axes sample (k, j, i) lies at (i, j, k).
///
/// # Errors
/// [`MediaError::Shape`] when `info` has not three axes of one channel, the number of values is not theirs, or the
/// surface has more vertices than 32 bits count.
pub fn surface(info: &SignalInfo, values: &[f32], level: f32) -> Result<Mesh, MediaError> {
    let refused = |problem| Err(MediaError::Shape { problem });
    let &[depth, rows, columns] = info.extents.as_slice() else {
        return refused(format!("its grid has the extents {:?}; a shape has three", info.extents));
    };
    if info.channels != 1 || info.n_values() != Some(values.len() as u64) {
        return refused(format!(
            "a grid of extents {:?} with {} channels came with {} values; a shape has one channel and a value for each sample",
            info.extents,
            info.channels,
            values.len()
        ));
    }
    let (origin, spacing) = match &info.media {
        Media::Shape(shape) => (shape.origin, shape.spacing),
        _ => ([0.0; 3], 1.0),
    };
    let mut march = March::new(rows, columns, level);
    for k in 0..=depth {
        march.layer(values.get(k * rows * columns..(k + 1) * rows * columns));
        if march.mesh.vertices.len() >= u32::MAX as usize - 4 * march.width * march.height {
            return refused(format!("its surface has more than {} vertices", u32::MAX));
        }
    }
    let mut mesh = march.mesh;
    for vertex in &mut mesh.vertices {
        *vertex = [0, 1, 2].map(|axis| spacing.mul_add(vertex[axis], origin[axis]));
    }
    Ok(mesh)
}

/// Two slices of samples with a border of outside ones, and the vertices on the edges at them.
struct March {
    level: f32,
    width: usize,
    height: usize,
    /// The upper slice's number; the lower is before it.
    k: usize,
    /// Values of the lower and the upper slice.
    slices: [Vec<f32>; 2],
    /// Vertices on edges along x and y, of the lower and the upper slice.
    along_x: [Vec<u32>; 2],
    along_y: [Vec<u32>; 2],
    /// Between them.
    along_z: Vec<u32>,
    mesh: Mesh,
}

impl March {
    fn new(rows: usize, columns: usize, level: f32) -> Self {
        let (width, height) = (columns + 2, rows + 2);
        let n = width * height;
        Self {
            level,
            width,
            height,
            k: 0,
            slices: [vec![f32::NEG_INFINITY; n], vec![f32::NEG_INFINITY; n]],
            along_x: [vec![0; n], vec![0; n]],
            along_y: [vec![0; n], vec![0; n]],
            along_z: vec![0; n],
            mesh: Mesh::default(),
        }
    }

    fn is_inside(&self, value: f32) -> bool {
        value >= self.level
    }

    /// Goes on to the next slice (`None`: the one beyond the last), and makes the cells below it.
    fn layer(&mut self, values: Option<&[f32]>) {
        self.slices.swap(0, 1);
        self.along_x.swap(0, 1);
        self.along_y.swap(0, 1);
        self.slices[1].fill(f32::NEG_INFINITY);
        if let Some(values) = values {
            let columns = self.width - 2;
            for (row, values) in self.slices[1].chunks_mut(self.width).skip(1).zip(values.chunks(columns)) {
                row[1..=columns].copy_from_slice(values);
            }
        }
        for j in 0..self.height {
            for i in 0..self.width {
                let at = j * self.width + i;
                let here = self.slices[1][at];
                if i + 1 < self.width
                    && let Some(t) = self.crossing(here, self.slices[1][at + 1])
                {
                    self.along_x[1][at] = self.vertex(i, j, [t, 0.0, 1.0]);
                }
                if j + 1 < self.height
                    && let Some(t) = self.crossing(here, self.slices[1][at + self.width])
                {
                    self.along_y[1][at] = self.vertex(i, j, [0.0, t, 1.0]);
                }
                if let Some(t) = self.crossing(self.slices[0][at], here) {
                    self.along_z[at] = self.vertex(i, j, [0.0, 0.0, t]);
                }
            }
        }
        for j in 0..self.height - 1 {
            for i in 0..self.width - 1 {
                self.cell(j * self.width + i);
            }
        }
        self.k += 1;
    }

    /// How far along an edge the surface is met, if it is.
    fn crossing(&self, a: f32, b: f32) -> Option<f64> {
        if self.is_inside(a) == self.is_inside(b) {
            return None;
        }
        let (a, b) = (f64::from(a), f64::from(b));
        let t = (f64::from(self.level) - a) / (b - a);
        // Beyond the grid there is no value to go by.
        let is_between = a.is_finite() && b.is_finite();
        Some(if is_between { t.clamp(CLEARANCE, 1.0 - CLEARANCE) } else { 0.5 })
    }

    /// A new vertex, relative to the sample (i, j) of the lower slice of the bordered grid.
    fn vertex(&mut self, i: usize, j: usize, [x, y, z]: [f64; 3]) -> u32 {
        // The border is one sample, and the lower slice is one before `k`.
        self.mesh.vertices.push([i as f64 + x - 1.0, j as f64 + y - 1.0, self.k as f64 + z - 1.0]);
        (self.mesh.vertices.len() - 1) as u32
    }

    fn cell(&mut self, at: usize) {
        let width = self.width;
        let mut inside = 0;
        for corner in 0..8 {
            let value = self.slices[corner >> 2][at + (corner & 1) + (corner >> 1 & 1) * width];
            inside |= usize::from(self.is_inside(value)) << corner;
        }
        if inside == 0 || inside == 255 {
            return;
        }
        let vertices: [u32; N_EDGES] = std::array::from_fn(|edge| {
            let (a, b) = (edge & 1, edge >> 1 & 1);
            match edge >> 2 {
                0 => self.along_x[b][at + a * width],
                1 => self.along_y[b][at + a],
                _ => self.along_z[at + a + b * width],
            }
        });
        for part in &CELLS[inside] {
            match part {
                Part::Triangle(edges) => self.mesh.triangles.push(edges.map(|e| vertices[e as usize])),
                Part::Fan(edges) => {
                    let ring = edges.iter().map(|&e| self.mesh.vertices[vertices[e as usize] as usize]);
                    let middle = mean(ring);
                    self.mesh.vertices.push(middle);
                    let middle = (self.mesh.vertices.len() - 1) as u32;
                    for (i, &edge) in edges.iter().enumerate() {
                        let next = edges[(i + 1) % edges.len()];
                        self.mesh.triangles.push([vertices[edge as usize], vertices[next as usize], middle]);
                    }
                }
            }
        }
    }
}

/// A piece of the surface in a cell, by the edges its corners are on.
#[derive(Debug)]
enum Part {
    Triangle([u8; 3]),
    /// Around the middle of these.
    Fan(Vec<u8>),
}

/// The surface in a cell, for each set of inside corners: bit x + 2 y + 4 z.
static CELLS: LazyLock<Vec<Vec<Part>>> = LazyLock::new(|| (0..256).map(cell_parts).collect());

/// The corners of each face, counterclockwise as seen from outside the cell.
const FACES: [[usize; 4]; 6] =
    [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];

/// The number of the edge between two neighbouring corners: 4 times its axis, and the lower corner's other two
/// coordinates.
fn edge_number(a: usize, b: usize) -> u8 {
    let low = a & b;
    (match a ^ b {
        1 => low >> 1,
        2 => 4 + (low & 1) + (low >> 2 << 1),
        _ => 8 + (low & 3),
    }) as u8
}

fn cell_parts(inside: usize) -> Vec<Part> {
    let is_inside = |corner: usize| inside >> corner & 1 == 1;
    // From each edge, where the line across a face leads: from where the walk around the face enters the inside to
    // where it leaves it.
    let mut next = [None; N_EDGES];
    for face in FACES {
        for start in 0..4 {
            if is_inside(face[start]) || !is_inside(face[(start + 1) % 4]) {
                continue;
            }
            let mut end = start + 1;
            while is_inside(face[(end + 1) % 4]) {
                end += 1;
            }
            let enters = edge_number(face[start], face[(start + 1) % 4]);
            next[enters as usize] = Some(edge_number(face[end % 4], face[(end + 1) % 4]));
        }
    }
    let mut parts = Vec::new();
    for start in 0..N_EDGES {
        let mut ring = Vec::new();
        let mut at = start as u8;
        while let Some(following) = next[at as usize].take() {
            ring.push(at);
            at = following;
        }
        if ring.is_empty() {
            continue;
        }
        match divide(&ring) {
            Some(triangles) => parts.extend(triangles.into_iter().map(Part::Triangle)),
            None => parts.push(Part::Fan(ring)),
        }
    }
    parts
}

/// Whether two edges of a cell lie in one of its faces.
fn share_a_face(a: u8, b: u8) -> bool {
    FACES.iter().any(|face| {
        let edges = [0, 1, 2, 3].map(|i| edge_number(face[i], face[(i + 1) % 4]));
        edges.contains(&a) && edges.contains(&b)
    })
}

/// Triangles of a ring, without a line between two of its edges in one face except those of the ring itself.
fn divide(ring: &[u8]) -> Option<Vec<[u8; 3]>> {
    let &[first, .., last] = ring else { return None };
    if ring.len() == 2 {
        return Some(Vec::new());
    }
    (1..ring.len() - 1).find_map(|apex| {
        let is_free = |part: &[u8]| part.len() == 2 || !share_a_face(part[0], part[part.len() - 1]);
        let (before, after) = (&ring[..=apex], &ring[apex..]);
        if !is_free(before) || !is_free(after) {
            return None;
        }
        let mut triangles = divide(before)?;
        triangles.extend(divide(after)?);
        triangles.push([first, ring[apex], last]);
        Some(triangles)
    })
}
