//! Meshes to grids: inside or outside, or the distance to the surface.
//!
//! The work is done in slabs of a few slices, in units of the grid's spacing with the first sample at the origin.
//!
//! * Inside or outside: along each row of the grid the surface is crossed at places that follow from its triangles'
//!   sections with the row's slice. Crossings count +1 or −1; their sum up to a sample is the winding number.
//!   Whether an edge's section lies before or behind a row is decided from the edge alone, alike for all its
//!   triangles, so rounding opens no gap. Holes are closed for the count, and what closes them is subtracted again:
//!   [`crate::winding`].
//! * Distances: every triangle looks at the samples within the truncation of its box; each keeps its least.

use std::path::Path;

use asmr::metadata::{Media, Shape, ShapeField};
use asmr::signal::{Samples, SignalInfo, ValueRange};
use rayon::prelude::*;

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::mesh::{EdgeCounts, Mesh, mean};
use crate::mesh_read::read_mesh;
use crate::stream::{MemoryReader, SliceReader};
use crate::triangles::{Facet, Point, Triangle, cross, dot, norm, scaled, sub};
use crate::winding::{Closing, closing_triangles, reversed};

/// Slices of a slab, and the edge of the largest block that is decided at once.
const SLAB: usize = 8;
/// Margin around the mesh on each side, as a part of its longest side.
const MARGIN: f64 = 0.05;

/// How a mesh becomes a grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShapeOptions {
    /// Samples along each of the three axes, 2 to [`ShapeOptions::MAX_RESOLUTION`].
    pub resolution: usize,
    /// What the samples tell.
    pub field: ShapeField,
    /// Distances beyond this many times the spacing are cut to it; above 0, at most 10,000. Not used for occupancy.
    pub truncation_voxels: f64,
}

impl ShapeOptions {
    /// The finest grid: 2^30 samples.
    pub const MAX_RESOLUTION: usize = 1024;
}

impl Default for ShapeOptions {
    /// Occupancy, 256 samples along each axis; distances would be cut at 4 times the spacing.
    fn default() -> Self {
        Self { resolution: 256, field: ShapeField::Occupancy, truncation_voxels: 4.0 }
    }
}

/// What there is to say about a grid made of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeNotes {
    /// How the mesh's edges are used.
    pub edges: EdgeCounts,
    /// Whether every edge is passed as often one way as the other, so that the winding number is a whole number
    /// everywhere. Where not, what is inside is a guess: where the winding number is 0.5 or more.
    pub is_closed: bool,
    /// Whether the fronts looked inwards as a whole (the enclosed volume was negative), so that all were turned
    /// around.
    pub was_inverted: bool,
    /// Samples inside.
    pub n_inside: u64,
    /// Samples of winding number −0.5 or less: parts whose fronts look inwards alone. They count as outside.
    pub n_inverted: u64,
}

impl ShapeNotes {
    /// Sentences for people about what was guessed or looks wrong; none for a sound mesh.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let edges = self.edges;
        if !self.is_closed {
            remarks.push(format!(
                "the mesh is not closed ({} of {} edges bound a hole, {} join fronts to backs, {} have three faces or \
                 more), so what is inside is a guess: where the winding number is 0.5 or more",
                edges.n_boundary, edges.n_edges, edges.n_flipped, edges.n_crowded
            ));
        }
        if self.was_inverted {
            remarks.push("its faces look inwards as a whole and were turned around".to_owned());
        }
        if self.n_inverted > 0 {
            remarks.push(format!(
                "{} samples are enclosed by faces that look inwards and count as outside",
                self.n_inverted
            ));
        }
        if self.n_inside == 0 {
            remarks.push(
                "no sample lies inside; the surface encloses nothing, or less than the grid's spacing: raise the \
                 resolution, or fit distances"
                    .to_owned(),
            );
        }
        remarks
    }
}

/// Samples a mesh on a cubic grid of `resolution`³ samples, axes `[z, y, x]`, one channel.
///
/// The grid's centre is the centre of the mesh's box; its side is the box's longest side and 5 % of that on both
/// ends, from the first sample to the last. So with L the longest side the spacing is `1.1 L / (resolution − 1)`.
///
/// Occupancy is 0 or 1 (`u8`, value range 0 to 1), distances are `f32`, positive inside, cut at ±t, where t is
/// `truncation_voxels` times the spacing, rounded to 32 bits (value range −t to t). A sample is inside where the
/// winding number is 0.5 or more; [`ShapeNotes`] tells where that is a guess. Nothing here is approximate but for
/// rounding in 64 bits: a sample closer to the surface than that may fall on either side.
///
/// Memory: the grid, and about 250 bytes per triangle, 500 for distances or where a mesh falls apart into loose
/// triangles.
///
/// # Errors
/// [`MediaError::Shape`] for a mesh without triangles, with an index without a vertex, with coordinates that are
/// not finite, all in one point, or so far from the origin that the grid's places cannot be told apart; and for
/// options out of range.
pub fn voxelise(
    mesh: &Mesh,
    options: &ShapeOptions,
) -> Result<(SignalInfo, Samples, ShapeNotes), MediaError> {
    let refused = |problem| MediaError::Shape { problem };
    mesh.check().map_err(refused)?;
    let ShapeOptions { resolution, field, truncation_voxels } = *options;
    if !(2..=ShapeOptions::MAX_RESOLUTION).contains(&resolution) {
        return Err(refused(format!(
            "the resolution is {resolution}; it is 2 to {}",
            ShapeOptions::MAX_RESOLUTION
        )));
    }
    if field == ShapeField::Distance && !(truncation_voxels > 0.0 && truncation_voxels <= 1e4) {
        return Err(refused(format!(
            "distances are cut at {truncation_voxels} times the spacing; that is above 0 and at most 10000"
        )));
    }
    let (origin, spacing) = place(mesh, resolution).map_err(refused)?;
    let truncation = match field {
        ShapeField::Occupancy => 0.0,
        ShapeField::Distance => f64::from((truncation_voxels * spacing) as f32),
    };
    if field == ShapeField::Distance && !(truncation > 0.0 && truncation.is_finite()) {
        return Err(refused(format!(
            "distances up to {truncation_voxels} times {spacing} are no 32-bit floats; scale the mesh first"
        )));
    }

    let edges = mesh.edges();
    let to_grid = |t: Triangle| t.map(|p| scaled(sub(p, origin), 1.0 / spacing));
    let mut triangles: Vec<Triangle> = mesh.triangles.iter().map(|&t| to_grid(mesh.corners(t))).collect();
    let mut closing: Vec<Triangle> = closing_triangles(mesh).into_iter().map(to_grid).collect();
    let is_closed = closing.is_empty();
    // More triangles than the mesh itself: then the mesh turned around, which closes it as well.
    let is_heap = closing.len() >= triangles.len();
    // Fans over loose triangles enclose nothing; of a heap, what counts is where its fronts look as seen from the
    // middle.
    let middle = [(resolution - 1) as f64 / 2.0; 3];
    let volume = |t: &Triangle| {
        let [a, b, c] = t.map(|p| sub(p, middle));
        dot(a, cross(b, c))
    };
    let fans = if is_heap { &[][..] } else { &closing[..] };
    let was_inverted = triangles.iter().chain(fans).map(volume).sum::<f64>() < 0.0;
    if was_inverted {
        for triangle in triangles.iter_mut().chain(&mut closing) {
            *triangle = reversed(*triangle);
        }
    }
    if is_heap {
        closing = triangles.iter().map(|&t| reversed(t)).collect();
    }
    let crossed: Vec<Triangle> =
        if is_heap { Vec::new() } else { triangles.iter().chain(&closing).copied().collect() };
    let sides = Sides {
        resolution,
        by_slab: by_slab(&crossed, resolution, 0.0),
        crossed,
        closing: Closing::new(&closing),
    };

    let n = resolution.pow(3);
    let slab_values = SLAB * resolution * resolution;
    let count = |(a, b): (u64, u64), (c, d): (u64, u64)| (a + c, b + d);
    let (samples, (n_inside, n_inverted)) = match field {
        ShapeField::Occupancy => {
            let mut values = vec![0u8; n];
            let slabs = values.par_chunks_mut(slab_values).enumerate();
            let counts = slabs.map(|(slab, out)| sides.fill(slab, out)).reduce(|| (0, 0), count);
            (Samples::U8(values), counts)
        }
        ShapeField::Distance => {
            // In units of the spacing; the truncation as rounded above.
            let limit = truncation / spacing;
            let facets: Vec<Facet> = triangles.iter().map(|&t| Facet::new(t)).collect();
            let near = by_slab(&triangles, resolution, limit);
            let mut values = vec![0f32; n];
            let slabs = values.par_chunks_mut(slab_values).enumerate();
            let counts = slabs
                .map(|(slab, out)| {
                    let mut inside = vec![0u8; out.len()];
                    let counts = sides.fill(slab, &mut inside);
                    let mut squares = vec![limit * limit; out.len()];
                    for &i in &near[slab] {
                        spread(&facets[i as usize], limit, resolution, slab * SLAB, &mut squares);
                    }
                    for ((out, square), inside) in out.iter_mut().zip(squares).zip(inside) {
                        let distance = (square.sqrt() * spacing).min(truncation) as f32;
                        *out = if inside == 1 { distance } else { -distance };
                    }
                    counts
                })
                .reduce(|| (0, 0), count);
            (Samples::F32(values), counts)
        }
    };
    let info = SignalInfo {
        extents: vec![resolution; 3],
        channels: 1,
        sample_type: samples.sample_type(),
        color: None,
        value_range: Some(match field {
            ShapeField::Occupancy => ValueRange::of(0.0, 1.0),
            ShapeField::Distance => ValueRange::of(-truncation, truncation),
        }),
        media: Media::Shape(Shape { field, origin, spacing, truncation, is_closed }),
    };
    Ok((info, samples, ShapeNotes { edges, is_closed, was_inverted, n_inside, n_inverted }))
}

/// The place of the first sample, and the spacing.
fn place(mesh: &Mesh, resolution: usize) -> Result<(Point, f64), String> {
    let (low, high) = mesh.bounds().unwrap_or_default();
    let longest = (0..3).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
    let side = longest * (1.0 + 2.0 * MARGIN);
    let spacing = side / (resolution - 1) as f64;
    let farthest = low.into_iter().chain(high).map(f64::abs).fold(0.0, f64::max);
    if longest == 0.0 {
        return Err(format!("all its corners lie in one point, {low:?}; a shape needs an extent"));
    }
    // Below, rounding would move samples by a thousandth of the spacing.
    if !side.is_finite() || spacing < farthest * 1e-12 || spacing < 1e-150 || farthest > 1e150 {
        return Err(format!(
            "its box from {low:?} to {high:?} cannot be divided into {resolution} steps in 64-bit floats; move it to the \
             origin and scale it"
        ));
    }
    let origin = [0, 1, 2].map(|axis| low[axis] + (high[axis] - low[axis]) / 2.0 - side / 2.0);
    Ok((origin, spacing))
}

/// For each slab, which triangles come within `reach` of its slices.
fn by_slab(triangles: &[Triangle], resolution: usize, reach: f64) -> Vec<Vec<u32>> {
    let mut slabs = vec![Vec::new(); resolution.div_ceil(SLAB)];
    let last = (resolution - 1) as f64;
    for (i, t) in triangles.iter().enumerate() {
        let low = (t[0][2].min(t[1][2]).min(t[2][2]) - reach).ceil().max(0.0);
        let high = (t[0][2].max(t[1][2]).max(t[2][2]) + reach).floor().min(last);
        if low <= high {
            for slab in &mut slabs[low as usize / SLAB..=high as usize / SLAB] {
                slab.push(i as u32);
            }
        }
    }
    slabs
}

/// What tells inside from outside.
struct Sides {
    resolution: usize,
    /// The mesh and what closes it.
    crossed: Vec<Triangle>,
    by_slab: Vec<Vec<u32>>,
    closing: Closing,
}

impl Sides {
    /// Writes 1 where a sample is inside; counts those and the inverted ones.
    fn fill(&self, slab: usize, out: &mut [u8]) -> (u64, u64) {
        let n = self.resolution;
        // Changes of the winding number at each sample of a row; one more for changes behind the last.
        let stride = n + 1;
        let mut changes = vec![0i32; n * stride];
        let mut least = vec![0i32; out.len()];
        self.thresholds(slab, out.len() / (n * n), &mut least);
        let (mut n_inside, mut n_inverted) = (0, 0);
        for (k, (slice, least)) in out.chunks_mut(n * n).zip(least.chunks(n * n)).enumerate() {
            changes.fill(0);
            let z = (slab * SLAB + k) as f64;
            for &i in &self.by_slab[slab] {
                cross_slice(&self.crossed[i as usize], z, n, &mut changes);
            }
            for ((row, least), changes) in
                slice.chunks_mut(n).zip(least.chunks(n)).zip(changes.chunks(stride))
            {
                let mut winding = 0;
                for ((out, &least), change) in row.iter_mut().zip(least).zip(changes) {
                    winding += change;
                    let is_inside = winding >= least;
                    *out = u8::from(is_inside);
                    n_inside += u64::from(is_inside);
                    n_inverted += u64::from(winding <= least - 2);
                }
            }
        }
        (n_inside, n_inverted)
    }

    /// For each sample of a slab, from which winding number on (what closes the mesh counted) it is inside.
    fn thresholds(&self, slab: usize, n_slices: usize, least: &mut [i32]) {
        let n = self.resolution;
        for y in (0..n).step_by(SLAB) {
            for x in (0..n).step_by(SLAB) {
                self.block([x, y, 0], SLAB, slab * SLAB, [n, n, n_slices], least);
            }
        }
    }

    /// Decides a block of `edge`³ samples, all at once or each eighth by itself. `extents` are those of the slab.
    fn block(&self, first: [usize; 3], edge: usize, z: usize, extents: [usize; 3], least: &mut [i32]) {
        let last = [0, 1, 2].map(|axis| (first[axis] + edge).min(extents[axis]));
        if (0..3).any(|axis| first[axis] >= last[axis]) {
            return;
        }
        let middle = [0, 1, 2].map(|axis| (first[axis] + last[axis] - 1) as f64 / 2.0);
        let reach = [0, 1, 2].map(|axis| (last[axis] - 1 - first[axis]) as f64 / 2.0);
        let middle = [middle[0], middle[1], middle[2] + z as f64];
        if let Some(threshold) = self.closing.least_inside(middle, dot(reach, reach).sqrt()) {
            for k in first[2]..last[2] {
                for j in first[1]..last[1] {
                    least[(k * extents[1] + j) * extents[0]..][first[0]..last[0]].fill(threshold);
                }
            }
            return;
        }
        let half = edge / 2;
        for part in 0..8 {
            let offset = [0, 1, 2].map(|axis| first[axis] + (part >> axis & 1) * half);
            self.block(offset, half, z, extents, least);
        }
    }
}

/// Adds a triangle's crossings with the rows of the slice at `z`.
fn cross_slice(triangle: &Triangle, z: f64, n: usize, changes: &mut [i32]) {
    // Where edges that rise through the slice meet it, and where those that fall do: one of each, or none.
    let (mut up, mut down) = (None, None);
    for i in 0..3 {
        let (a, b) = (triangle[i], triangle[(i + 1) % 3]);
        if (a[2] <= z) == (b[2] <= z) {
            continue;
        }
        // From the lower end, whichever triangle asks.
        let (low, high) = if a[2] < b[2] { (a, b) } else { (b, a) };
        let t = (z - low[2]) / (high[2] - low[2]);
        let section = [low[0] + t * (high[0] - low[0]), low[1] + t * (high[1] - low[1])];
        *(if a[2] < b[2] { &mut up } else { &mut down }) = Some(section);
    }
    let (Some(up), Some(down)) = (up, down) else { return };
    // Seen along the row, a triangle whose rising edge is on the greater y shows its back: the row leaves there.
    let (from, to, change) = if up[1] < down[1] { (up, down, 1) } else { (down, up, -1) };
    let first = from[1].ceil().max(0.0);
    let mut y = first;
    while y < to[1] && y < n as f64 {
        let x = from[0] + (y - from[1]) / (to[1] - from[1]) * (to[0] - from[0]);
        let x = x.clamp(from[0].min(to[0]), from[0].max(to[0])).ceil().clamp(0.0, n as f64);
        changes[y as usize * (n + 1) + x as usize] += change;
        y += 1.0;
    }
}

/// Lowers the squared distances of samples near a triangle.
fn spread(facet: &Facet, limit: f64, n: usize, first_slice: usize, squares: &mut [f64]) {
    let range = |axis: usize, first: usize, extent: usize| {
        let corners = facet.corners.map(|c| c[axis]);
        let low = corners.into_iter().fold(f64::INFINITY, f64::min) - limit;
        let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max) + limit;
        let low = low.ceil().max(first as f64);
        let high = high.floor().min((first + extent) as f64 - 1.0);
        if low <= high { low as usize..high as usize + 1 } else { 0..0 }
    };
    let n_slices = squares.len() / (n * n);
    let (slices, rows, columns) = (range(2, first_slice, n_slices), range(1, 0, n), range(0, 0, n));
    let normal = facet.normal;
    let middle = mean(facet.corners.into_iter());
    let radius = facet.corners.iter().map(|&c| norm(sub(c, middle))).fold(0.0, f64::max);
    for k in slices {
        for j in rows.clone() {
            // Of the row, only what is within the limit of the ball around the triangle, and of its plane.
            let start = [0.0, j as f64, k as f64];
            let from_middle = sub(start, middle);
            let chord = (radius + limit).powi(2) - from_middle[1].powi(2) - from_middle[2].powi(2);
            if chord < 0.0 {
                continue;
            }
            let half = chord.sqrt() + 1e-6;
            let mut first = (columns.start as f64).max((middle[0] - half).ceil());
            let mut last = (columns.end as f64 - 1.0).min((middle[0] + half).floor());
            let height = dot(sub(start, facet.corners[0]), normal);
            if normal[0].abs() > 1e-6 {
                let (a, b) = ((-limit - height) / normal[0], (limit - height) / normal[0]);
                first = first.max((a.min(b) - 1e-6).ceil());
                last = last.min((a.max(b) + 1e-6).floor());
            } else if normal != [0.0; 3] && height.abs() > limit + 1e-6 * n as f64 + 1e-6 {
                continue;
            }
            if first > last {
                continue;
            }
            let row = &mut squares[((k - first_slice) * n + j) * n..][..n];
            for (i, square) in row.iter_mut().enumerate().take(last as usize + 1).skip(first as usize) {
                *square = square.min(facet.squared_distance([i as f64, j as f64, k as f64]));
            }
        }
    }
}

/// A mesh file as slices of a grid, from z's least to its greatest.
#[derive(Debug)]
pub struct ShapeReader {
    reader: MemoryReader,
    notes: ShapeNotes,
    mesh: Mesh,
}

impl ShapeReader {
    /// Reads a mesh and makes the whole grid.
    ///
    /// # Errors
    /// As [`read_mesh`]; as [`voxelise()`], naming the file.
    pub fn open(path: &Path, options: &ShapeOptions, limits: &Limits) -> Result<Self, MediaError> {
        let mesh = read_mesh(path, limits)?;
        let (info, samples, notes) = voxelise(&mesh, options).map_err(|error| match error {
            MediaError::Shape { problem } => MediaError::Unusable { path: path.to_path_buf(), problem },
            other => other,
        })?;
        Ok(Self { reader: MemoryReader::new(info, samples), notes, mesh })
    }

    /// What there is to say about the grid.
    #[must_use]
    pub fn notes(&self) -> &ShapeNotes {
        &self.notes
    }

    /// The mesh that the grid was made of.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }
}

impl SliceReader for ShapeReader {
    fn info(&self) -> &SignalInfo {
        self.reader.info()
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        self.reader.read(n_slices)
    }
}
