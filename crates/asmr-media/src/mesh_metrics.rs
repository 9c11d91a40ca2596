//! How close one shape is to another: as grids, and as surfaces.

use asmr::metadata::{Media, ShapeField};
use asmr::signal::{Samples, Signal, SignalInfo};
use asmr::with_samples;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::error::MediaError;
use crate::mesh::Mesh;
use crate::metrics::{MetricError, check};
use crate::triangles::{NearestTriangle, Point, Triangle, add, cross, dot, norm, scaled, sub};

/// Samples inside of two grids; adds up over parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Samples inside of both.
    pub n_both: u64,
    /// Samples inside of at least one.
    pub n_either: u64,
}

impl Overlap {
    /// Intersection over union, 0 to 1; `None` when neither grid has an inside.
    #[must_use]
    pub fn iou(self) -> Option<f64> {
        (self.n_either > 0).then(|| self.n_both as f64 / self.n_either as f64)
    }
}

impl std::ops::AddAssign for Overlap {
    fn add_assign(&mut self, other: Self) {
        self.n_both += other.n_both;
        self.n_either += other.n_either;
    }
}

/// Counts the inside of two arrays of one type and length, in stored values: distances of 0 or more where `info` is
/// a shape of distances, otherwise values in the upper half of the value range (of occupancy, 0.5 or more).
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn overlap(info: &SignalInfo, a: &Samples, b: &Samples) -> Overlap {
    let level = match &info.media {
        Media::Shape(shape) if shape.field == ShapeField::Distance => 0.0,
        _ => info.scale().low() + info.scale().span() / 2.0,
    };
    assert_eq!(a.len(), b.len(), "two grids of one shape are compared");
    let mut overlap = Overlap::default();
    for (a, b) in inside(a, level).into_iter().zip(inside(b, level)) {
        overlap.n_both += u64::from(a && b);
        overlap.n_either += u64::from(a || b);
    }
    overlap
}

fn inside(samples: &Samples, level: f64) -> Vec<bool> {
    fn at_least<T: Copy + Into<f64>>(values: &[T], level: f64) -> Vec<bool> {
        values.iter().map(|&v| v.into() >= level).collect()
    }
    with_samples!(samples, values => at_least(values, level))
}

/// Intersection over union of the insides of two grids, by [`overlap`]; `None` when neither has one.
///
/// # Errors
/// [`MetricError::Differ`].
pub fn iou(original: &Signal, decoded: &Signal) -> Result<Option<f64>, MetricError> {
    check(original, decoded)?;
    Ok(overlap(original.info(), original.samples(), decoded.samples()).iou())
}

/// How close two surfaces are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeshScores {
    /// The mean distance of points of the original from the decoded surface, in the meshes' units.
    pub to_decoded: f64,
    /// The mean distance of points of the decoded surface from the original, in the meshes' units.
    pub to_original: f64,
    /// The Chamfer distance: the mean of these two, in the meshes' units. Distances are not squared.
    pub chamfer: f64,
    /// The Chamfer distance over the diagonal of the original's box.
    pub relative_chamfer: f64,
    /// The mean of |n · n'| over the points of both surfaces (the mean of the two means), 0 to 1: n is the normal
    /// of the triangle that a point lies on, n' that of the nearest triangle of the other surface.
    pub normal_consistency: f64,
    /// Points on each surface.
    pub n_points: usize,
}

/// Compares two surfaces by `n_points` points on each, drawn evenly by area from `seed`, and the truly nearest
/// point of the other surface for each. One seed gives one result, on any number of threads.
///
/// # Errors
/// [`MediaError::Shape`] when a mesh has no triangles, no area, an index without a vertex or a coordinate that is
/// not finite, or `n_points` is 0.
pub fn compare_meshes(
    original: &Mesh,
    decoded: &Mesh,
    n_points: usize,
    seed: u64,
) -> Result<MeshScores, MediaError> {
    let refused = |problem| MediaError::Shape { problem };
    if n_points == 0 {
        return Err(refused("0 points of a surface tell nothing; take 1 or more".to_owned()));
    }
    for (mesh, name) in [(original, "original"), (decoded, "decoded")] {
        mesh.check().map_err(|problem| refused(format!("the {name} surface: {problem}")))?;
    }
    let (low, high) = original.bounds().unwrap_or_default();
    let sides = sub(high, low);
    let longest = sides.into_iter().fold(0.0, f64::max);
    let no_area = |name| refused(format!("the {name} surface has no area"));
    if !(longest > 0.0 && longest.is_finite()) {
        return Err(no_area("original"));
    }
    // In units of the diagonal, so that squares neither overflow nor vanish.
    let diagonal = norm(sides.map(|x| x / longest)) * longest;
    let unit = |mesh: &Mesh| -> Vec<Triangle> {
        let place = |p: Point| sub(p, low).map(|x| x / diagonal);
        mesh.triangles.iter().map(|&t| mesh.corners(t).map(place)).collect()
    };
    let (a, b) = (unit(original), unit(decoded));
    let points_a = Points::draw(&a, n_points, seed, 0).ok_or_else(|| no_area("original"))?;
    let points_b = Points::draw(&b, n_points, seed, 1).ok_or_else(|| no_area("decoded"))?;
    let (to_decoded, consistency_a) = points_a.compare(&NearestTriangle::new(&b));
    let (to_original, consistency_b) = points_b.compare(&NearestTriangle::new(&a));
    let relative_chamfer = f64::midpoint(to_decoded, to_original);
    Ok(MeshScores {
        to_decoded: to_decoded * diagonal,
        to_original: to_original * diagonal,
        chamfer: relative_chamfer * diagonal,
        relative_chamfer,
        normal_consistency: f64::midpoint(consistency_a, consistency_b),
        n_points,
    })
}

/// Points on a surface, with its normals there.
struct Points(Vec<(Point, Point)>);

impl Points {
    /// Evenly by area; `None` where there is none. `stream` tells apart what one seed is used for.
    fn draw(triangles: &[Triangle], n: usize, seed: u64, stream: u64) -> Option<Self> {
        let mut total = 0.0;
        let ends: Vec<f64> = triangles
            .iter()
            .map(|&[a, b, c]| {
                total += norm(cross(sub(b, a), sub(c, a)));
                total
            })
            .collect();
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let mut uniform = || (rng.next_u64() >> 11) as f64 * (-53f64).exp2();
        let draw = |_| {
            let at = uniform() * total;
            // The first whose end is beyond: one without area is never that.
            let [a, b, c] = triangles[ends.partition_point(|&end| end <= at).min(ends.len() - 1)];
            let (from_a, along) = (uniform().sqrt(), uniform());
            let (ab, ac) = (sub(b, a), sub(c, a));
            let place = add(a, add(scaled(ab, from_a * (1.0 - along)), scaled(ac, from_a * along)));
            let normal = cross(ab, ac);
            (place, scaled(normal, 1.0 / norm(normal)))
        };
        Some(Self((0..n).map(draw).collect()))
    }

    /// The mean distance from a surface, and the mean |n · n'|.
    fn compare(&self, surface: &NearestTriangle) -> (f64, f64) {
        // In parts of a fixed length, so that sums are the same on any number of threads.
        let parts: Vec<(f64, f64)> = self
            .0
            .par_chunks(1 << 10)
            .map(|part| {
                part.iter().fold((0.0, 0.0), |(distance, consistency), &(place, normal)| {
                    let (square, facet) = surface.find(place);
                    (distance + square.sqrt(), consistency + dot(normal, facet.normal).abs().min(1.0))
                })
            })
            .collect();
        let n = self.0.len() as f64;
        let (distance, consistency) = parts.iter().fold((0.0, 0.0), |(a, b), &(c, d)| (a + c, b + d));
        (distance / n, consistency / n)
    }
}
