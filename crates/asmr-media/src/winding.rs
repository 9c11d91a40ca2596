//! Inside or outside: generalised winding numbers (Jacobson, Kavan and Sorkine-Hornung 2013).
//!
//! The winding number of a mesh M at p is the sum of its triangles' signed solid angles seen from p, over 4π. Of a
//! mesh that is closed it is a whole number; with holes it goes smoothly from 1 to 0 through them.
//!
//! Let C be triangles that close the holes. M and C together have a whole winding number n(p), which counting
//! crossings along a line gives exactly, and M alone has n(p) − w(p) where w belongs to C. So only the few
//! triangles of C need solid angles, and of a closed mesh none do. Where C would be larger than M (a heap of loose
//! triangles), C is M turned around and n is 0.
//!
//! Inside is `n − w ≥ 0.5`. [`Closing::least_inside`] finds the n from which on that is so for a whole ball at
//! once, from an interval that certainly holds w: far triangles are taken together, by a Taylor series about their
//! middle as by Barill and others (2018), whose remainder is bounded.

use std::f64::consts::PI;

use crate::mesh::{Mesh, mean};
use crate::triangles::{Facet, Point, Tree, Triangle, add, cross, dot, norm, scaled, sub};

/// The signed solid angle of a triangle over 4π: positive where its back is seen, as from inside (van Oosterom and
/// Strackee 1983).
fn triangle_winding([a, b, c]: Triangle, p: Point) -> f64 {
    let (a, b, c) = (sub(a, p), sub(b, p), sub(c, p));
    let (la, lb, lc) = (norm(a), norm(b), norm(c));
    let volume = dot(a, cross(b, c));
    let denominator = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb;
    // In the plane of the triangle it is zero or a jump; of the jump's two ends neither is better.
    if volume == 0.0 { 0.0 } else { volume.atan2(denominator) / (2.0 * PI) }
}

/// The winding number of a mesh at a point: the plain sum over all its triangles.
///
/// # Panics
/// When an index of the mesh has no vertex.
#[must_use]
pub fn winding_number(mesh: &Mesh, point: [f64; 3]) -> f64 {
    mesh.triangles.iter().map(|&t| triangle_winding(mesh.corners(t), point)).sum()
}

/// Triangles that close the holes of a mesh: with them, every edge is passed as often one way as the other. Empty
/// if that is so already. Every connected piece of the rim gets a fan from its middle.
pub(crate) fn closing_triangles(mesh: &Mesh) -> Vec<Triangle> {
    let mut rim: Vec<[u32; 2]> = Vec::new();
    for uses in mesh.sorted_edges().chunk_by(|a, b| a.0 == b.0) {
        let [low, high] = uses[0].0;
        let down = uses.iter().filter(|(_, is_down)| *is_down).count();
        let up = uses.len() - down;
        // As often as it must be passed the other way.
        rim.extend(std::iter::repeat_n([high, low], up.saturating_sub(down)));
        rim.extend(std::iter::repeat_n([low, high], down.saturating_sub(up)));
    }
    let mut vertices: Vec<u32> = rim.as_flattened().to_vec();
    vertices.sort_unstable();
    vertices.dedup();
    let place = |v: u32| vertices.binary_search(&v).unwrap_or_default();
    let mut parents: Vec<usize> = (0..vertices.len()).collect();
    for &[a, b] in &rim {
        let (a, b) = (root(&mut parents, place(a)), root(&mut parents, place(b)));
        parents[a.max(b)] = a.min(b);
    }
    let mut pieces: Vec<(usize, usize)> = (0..vertices.len()).map(|i| (root(&mut parents, i), i)).collect();
    pieces.sort_unstable();
    let mut middles = vec![[0.0; 3]; vertices.len()];
    for piece in pieces.chunk_by(|a, b| a.0 == b.0) {
        middles[piece[0].0] = mean(piece.iter().map(|&(_, i)| mesh.vertices[vertices[i] as usize]));
    }
    rim.iter()
        .map(|&[a, b]| {
            let middle = middles[root(&mut parents, place(a))];
            [mesh.vertices[a as usize], mesh.vertices[b as usize], middle]
        })
        .collect()
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

/// A triangle's corners in the other order.
pub(crate) fn reversed([a, b, c]: Triangle) -> Triangle {
    [a, c, b]
}

/// What is known of the triangles of a tree's node.
#[derive(Clone, Copy, Debug)]
struct Moments {
    /// Their middle, weighted by area.
    middle: Point,
    /// No corner is farther from it.
    radius: f64,
    area: f64,
    /// The sum of area times normal.
    normal: Point,
    /// The sum of area times normal times place, relative to the middle: first index normal, second place.
    first: [Point; 3],
}

/// The triangles that close a mesh, ready for their winding number.
#[derive(Debug)]
pub(crate) struct Closing {
    tree: Tree,
    moments: Vec<Moments>,
    /// In the tree's order.
    facets: Vec<Facet>,
}

/// Triangles are taken together where that is off by at most this, then by less, at last one by one.
const TOLERANCES: [f64; 4] = [2e-3, 2e-4, 2e-5, 0.0];

impl Closing {
    pub(crate) fn new(triangles: &[Triangle]) -> Self {
        let tree = Tree::new(triangles, 4);
        let facets: Vec<Facet> = tree.order.iter().map(|&i| Facet::new(triangles[i as usize])).collect();
        let moments = tree
            .nodes
            .iter()
            .map(|node| Moments::of(&facets[node.first as usize..][..node.count as usize]))
            .collect();
        Self { tree, moments, facets }
    }

    /// The least whole n for which `n − w(p) ≥ 0.5`, if it is the same for every p within `radius` of `middle`.
    ///
    /// For a radius of 0 there is always an answer.
    pub(crate) fn least_inside(&self, middle: Point, radius: f64) -> Option<i32> {
        for tolerance in TOLERANCES {
            let Some((w, error)) = self.interval(middle, radius, tolerance) else {
                if radius > 0.0 {
                    return None;
                }
                continue;
            };
            let (low, high) = ((w - error + 0.5).floor(), (w + error + 0.5).floor());
            if low == high && (error > 0.0 || low < w + 0.5) {
                return Some(low as i32 + 1);
            }
            if radius > 0.0 {
                return None;
            }
        }
        let w = self.facets.iter().map(|f| triangle_winding(f.corners, middle)).sum::<f64>();
        (radius == 0.0).then(|| (w + 0.5).ceil() as i32)
    }

    /// The winding number, and how far off it may be anywhere in the ball; `None` if that is half or more.
    fn interval(&self, p: Point, radius: f64, tolerance: f64) -> Option<(f64, f64)> {
        let (mut w, mut error) = (0.0, 0.0);
        let mut at = 0;
        // Depth first; the nodes lie in that order, so the next after all parts of a node is found by its count.
        let mut waiting = Vec::with_capacity(32);
        while at < self.tree.nodes.len() {
            let (node, moments) = (&self.tree.nodes[at], &self.moments[at]);
            let to_middle = sub(moments.middle, p);
            let far = norm(to_middle);
            let gap = far - moments.radius - radius;
            let (remainder, change) =
                if gap > 0.0 { moments.error(far, gap, radius) } else { (f64::INFINITY, 0.0) };
            if remainder <= tolerance {
                w += moments.winding(to_middle, far);
                error += remainder + change;
            } else if node.second != 0 {
                waiting.push(node.second as usize);
                at += 1;
                continue;
            } else {
                for facet in &self.facets[node.first as usize..][..node.count as usize] {
                    w += triangle_winding(facet.corners, p);
                    if radius > 0.0 {
                        let gap = facet.squared_distance(p).sqrt() - radius;
                        // The solid angle's gradient is at most twice the area over the cube of the distance.
                        let area = norm(cross(
                            sub(facet.corners[1], facet.corners[0]),
                            sub(facet.corners[2], facet.corners[0]),
                        )) / 2.0;
                        let change = 2.0 * area * radius / (4.0 * PI * gap.powi(3));
                        error += if gap > 0.0 { change.min(1.0) } else { 1.0 };
                    }
                }
            }
            if error >= 0.5 {
                return None;
            }
            let Some(next) = waiting.pop() else { break };
            at = next;
        }
        Some((w, error))
    }
}

impl Moments {
    fn of(facets: &[Facet]) -> Self {
        let area_vector = |f: &Facet| {
            let [a, b, c] = f.corners;
            scaled(cross(sub(b, a), sub(c, a)), 0.5)
        };
        let centre = |f: &Facet| mean(f.corners.into_iter());
        let area: f64 = facets.iter().map(|f| norm(area_vector(f))).sum();
        let weighted =
            facets.iter().fold([0.0; 3], |sum, f| add(sum, scaled(centre(f), norm(area_vector(f)))));
        let middle = if area > 0.0 {
            scaled(weighted, 1.0 / area)
        } else {
            mean(facets.iter().flat_map(|f| f.corners))
        };
        let mut moments = Self { middle, radius: 0.0, area, normal: [0.0; 3], first: [[0.0; 3]; 3] };
        for facet in facets {
            let (vector, offset) = (area_vector(facet), sub(centre(facet), middle));
            moments.normal = add(moments.normal, vector);
            for (row, n) in moments.first.iter_mut().zip(vector) {
                *row = add(*row, scaled(offset, n));
            }
            for corner in facet.corners {
                moments.radius = moments.radius.max(norm(sub(corner, middle)));
            }
        }
        moments
    }

    /// The integral of `n · x / |x|³` over the triangles, x seen from the point, to first order about their middle
    /// `d`.
    fn winding(&self, d: Point, length: f64) -> f64 {
        let inverse = 1.0 / length;
        let inverse_cube = inverse.powi(3);
        let trace = self.first[0][0] + self.first[1][1] + self.first[2][2];
        let along = dot(d, [0, 1, 2].map(|i| dot(self.first[i], d)));
        (dot(self.normal, d) * inverse_cube + trace * inverse_cube
            - 3.0 * along * inverse_cube * inverse.powi(2))
            / (4.0 * PI)
    }

    /// How far off that may be: the Taylor remainder of second order at the middle of the ball (third derivatives
    /// of 1/x are at most 6/x⁴), and the change within the ball (second derivatives are at most 2/x³).
    fn error(&self, far: f64, gap: f64, ball: f64) -> (f64, f64) {
        let remainder = 3.0 * self.radius.powi(2) / (far - self.radius).powi(4);
        let change = 2.0 * ball / gap.powi(3);
        (self.area * remainder / (4.0 * PI), self.area * change / (4.0 * PI))
    }
}
