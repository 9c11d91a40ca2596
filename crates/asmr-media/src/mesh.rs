//! Triangle meshes: what they are, whether they are closed, and how they are written.

use std::io::{self, Write};
use std::path::Path;

use crate::error::MediaError;
use crate::triangles::{Point, Triangle, add, cross, dot, norm, scaled, sub};
use crate::write::write_atomically;

/// A surface made of triangles. A triangle's front, from which its corners run counterclockwise, looks outwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mesh {
    /// Places (x, y, z), in any unit.
    pub vertices: Vec<[f64; 3]>,
    /// Three positions in `vertices` each.
    pub triangles: Vec<[u32; 3]>,
}

/// How the edges of a mesh are used. Triangles with a corner twice have no edges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeCounts {
    /// Pairs of vertices that a triangle joins.
    pub n_edges: u64,
    /// Edges of one triangle only: the rims of holes.
    pub n_boundary: u64,
    /// Edges of two triangles that look to different sides.
    pub n_flipped: u64,
    /// Edges of three or more triangles.
    pub n_crowded: u64,
}

impl EdgeCounts {
    /// Whether there are edges and each is shared by exactly two triangles that look to one side.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.n_edges > 0 && self.n_boundary + self.n_flipped + self.n_crowded == 0
    }
}

impl Mesh {
    /// Counts edges. Vertices at one place are different vertices here; [`read_mesh`](crate::read_mesh) makes them
    /// one.
    #[must_use]
    pub fn edges(&self) -> EdgeCounts {
        let mut counts = EdgeCounts::default();
        for uses in self.sorted_edges().chunk_by(|a, b| a.0 == b.0) {
            counts.n_edges += 1;
            match uses {
                [_] => counts.n_boundary += 1,
                [a, b] if a.1 == b.1 => counts.n_flipped += 1,
                [_, _] => {}
                _ => counts.n_crowded += 1,
            }
        }
        counts
    }

    /// Every use of every edge: the two vertices, lower first, and whether it runs from the higher to the lower.
    pub(crate) fn sorted_edges(&self) -> Vec<([u32; 2], bool)> {
        let mut edges = Vec::with_capacity(self.triangles.len() * 3);
        for &[a, b, c] in &self.triangles {
            if a != b && b != c && c != a {
                edges.extend([[a, b], [b, c], [c, a]].map(|[a, b]| ([a.min(b), a.max(b)], a > b)));
            }
        }
        edges.sort_unstable();
        edges
    }

    /// The corners of a triangle.
    ///
    /// # Panics
    /// When there is no such triangle or vertex.
    pub(crate) fn corners(&self, triangle: [u32; 3]) -> Triangle {
        triangle.map(|i| self.vertices[i as usize])
    }

    /// The enclosed volume, in cubic units: the sum over triangles of `a · (b × c) / 6`. Positive where fronts look
    /// outwards; of an open mesh it depends on where the origin is.
    #[must_use]
    pub fn volume(&self) -> f64 {
        self.triangles.iter().map(|&t| self.corners(t)).map(|[a, b, c]| dot(a, cross(b, c)) / 6.0).sum()
    }

    /// The area of all triangles, in square units.
    #[must_use]
    pub fn area(&self) -> f64 {
        let area = |[a, b, c]: Triangle| norm(cross(sub(b, a), sub(c, a))) / 2.0;
        self.triangles.iter().map(|&t| area(self.corners(t))).sum()
    }

    /// The least and the greatest coordinates of all corners of triangles; `None` if there are none.
    #[must_use]
    pub fn bounds(&self) -> Option<([f64; 3], [f64; 3])> {
        let corners = self.triangles.iter().flat_map(|&t| self.corners(t));
        corners.fold(None, |bounds, p| {
            let (low, high) = bounds.unwrap_or((p, p));
            Some((
                [0, 1, 2].map(|axis| f64::min(low[axis], p[axis])),
                [0, 1, 2].map(|axis| f64::max(high[axis], p[axis])),
            ))
        })
    }

    /// Refuses what is no surface: no triangle, an index without a vertex, a coordinate that is not finite.
    ///
    /// # Errors
    /// The problem, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.triangles.is_empty() {
            return Err("it has no faces; a shape needs a surface made of triangles or polygons".to_owned());
        }
        let n = self.vertices.len();
        if u32::try_from(n).is_err() || u32::try_from(self.triangles.len()).is_err() {
            return Err(format!(
                "it has {n} vertices and {} triangles; at most {} of each are possible, so simplify it first",
                self.triangles.len(),
                u32::MAX
            ));
        }
        if let Some(i) = self.triangles.iter().position(|t| t.iter().any(|&v| v as usize >= n)) {
            return Err(format!(
                "face {i} has the corners {:?}, and there are {n} vertices only",
                self.triangles[i]
            ));
        }
        if let Some(i) = self.vertices.iter().position(|v| v.iter().any(|x| !x.is_finite())) {
            return Err(format!(
                "vertex {i} lies at {:?}; every coordinate must be a finite number",
                self.vertices[i]
            ));
        }
        Ok(())
    }

    /// Vertices at exactly one place become one (0 and −0 are one place), those of no triangle go, and triangles
    /// with a corner twice go. The order of what stays is kept.
    pub(crate) fn merge_vertices(&mut self) {
        let key = |v: Point| v.map(|x| (x + 0.0).to_bits());
        let mut order: Vec<u32> = (0..self.vertices.len() as u32).collect();
        order.sort_unstable_by_key(|&i| (key(self.vertices[i as usize]), i));
        let mut first = vec![0; order.len()];
        for same in order.chunk_by(|&a, &b| key(self.vertices[a as usize]) == key(self.vertices[b as usize]))
        {
            for &i in same {
                first[i as usize] = same[0];
            }
        }
        for corner in self.triangles.as_flattened_mut() {
            *corner = first[*corner as usize];
        }
        self.triangles.retain(|&[a, b, c]| a != b && b != c && c != a);
        let mut is_used = vec![false; self.vertices.len()];
        for &corner in self.triangles.as_flattened() {
            is_used[corner as usize] = true;
        }
        let mut n_used = 0;
        for (place, &is_used) in first.iter_mut().zip(&is_used) {
            *place = n_used;
            n_used += u32::from(is_used);
        }
        for corner in self.triangles.as_flattened_mut() {
            *corner = first[*corner as usize];
        }
        let mut used = is_used.iter();
        self.vertices.retain(|_| *used.next().unwrap_or(&false));
    }
}

/// A format that meshes are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshFormat {
    /// Binary little-endian PLY; coordinates as 64-bit floats, so nothing is lost.
    Ply,
    /// Wavefront OBJ; coordinates with all their digits.
    Obj,
    /// Binary STL; coordinates as 32-bit floats, the vertices of each triangle by themselves.
    Stl,
}

impl MeshFormat {
    /// The format a file name's extension stands for, in either case.
    ///
    /// # Errors
    /// [`MediaError::Unusable`] when it is none of `.ply`, `.obj` and `.stl`.
    pub fn of_extension(path: &Path) -> Result<Self, MediaError> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match extension.as_str() {
            "ply" => Ok(Self::Ply),
            "obj" => Ok(Self::Obj),
            "stl" => Ok(Self::Stl),
            _ => Err(MediaError::Unusable {
                path: path.to_path_buf(),
                problem: "its extension names no format of meshes; accepted are .ply, .obj and .stl"
                    .to_owned(),
            }),
        }
    }

    /// The format's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ply => "PLY",
            Self::Obj => "OBJ",
            Self::Stl => "STL",
        }
    }
}

/// Writes a mesh in the format of the file name's extension; the file is there whole, or as it was before.
///
/// # Errors
/// [`MediaError::Unusable`] for another extension, [`MediaError::Shape`] for a mesh without triangles, with an index
/// without a vertex or a coordinate that is not finite (in STL: beyond what 32 bits hold), [`MediaError::Write`].
pub fn write_mesh(path: &Path, mesh: &Mesh) -> Result<(), MediaError> {
    let format = MeshFormat::of_extension(path)?;
    mesh.check().map_err(|problem| MediaError::Shape { problem })?;
    if format == MeshFormat::Stl
        && let Some(vertex) = mesh.vertices.iter().find(|v| v.iter().any(|&x| !(x as f32).is_finite()))
    {
        return Err(MediaError::Shape {
            problem: format!(
                "a vertex lies at {vertex:?}, and STL holds 32-bit floats; write it as .ply or .obj"
            ),
        });
    }
    write_atomically(path, |w| match format {
        MeshFormat::Ply => write_ply(w, mesh),
        MeshFormat::Obj => write_obj(w, mesh),
        MeshFormat::Stl => write_stl(w, mesh),
    })
}

fn write_ply(w: &mut dyn Write, mesh: &Mesh) -> io::Result<()> {
    write!(
        w,
        "ply\nformat binary_little_endian 1.0\nelement vertex {}\n\
         property double x\nproperty double y\nproperty double z\n\
         element face {}\nproperty list uchar uint vertex_indices\nend_header\n",
        mesh.vertices.len(),
        mesh.triangles.len()
    )?;
    for x in mesh.vertices.as_flattened() {
        w.write_all(&x.to_le_bytes())?;
    }
    for triangle in &mesh.triangles {
        w.write_all(&[3])?;
        for corner in triangle {
            w.write_all(&corner.to_le_bytes())?;
        }
    }
    Ok(())
}

fn write_obj(w: &mut dyn Write, mesh: &Mesh) -> io::Result<()> {
    for [x, y, z] in &mesh.vertices {
        writeln!(w, "v {x} {y} {z}")?;
    }
    for triangle in &mesh.triangles {
        let [a, b, c] = triangle.map(|i| u64::from(i) + 1);
        writeln!(w, "f {a} {b} {c}")?;
    }
    Ok(())
}

fn write_stl(w: &mut dyn Write, mesh: &Mesh) -> io::Result<()> {
    // Not "solid": that is how text begins.
    w.write_all(&[b' '; 80])?;
    w.write_all(&(mesh.triangles.len() as u32).to_le_bytes())?;
    for &triangle in &mesh.triangles {
        let [a, b, c] = mesh.corners(triangle);
        let normal = cross(sub(b, a), sub(c, a));
        let length = norm(normal);
        let normal = if length > 0.0 && length.is_finite() { scaled(normal, 1.0 / length) } else { [0.0; 3] };
        for x in [normal, a, b, c].as_flattened() {
            w.write_all(&(*x as f32).to_le_bytes())?;
        }
        w.write_all(&[0; 2])?;
    }
    Ok(())
}

/// The middle of some points; the origin if there are none.
pub(crate) fn mean(points: impl Iterator<Item = Point>) -> Point {
    let (sum, n) = points.fold(([0.0; 3], 0.0), |(sum, n), p| (add(sum, p), n + 1.0));
    if n > 0.0 { scaled(sum, 1.0 / n) } else { sum }
}
