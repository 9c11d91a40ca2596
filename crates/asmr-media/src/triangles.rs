//! Points, triangles, and a tree of boxes around triangles.

pub(crate) type Point = [f64; 3];
pub(crate) type Triangle = [Point; 3];

pub(crate) fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub(crate) fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(crate) fn scaled(a: Point, by: f64) -> Point {
    a.map(|x| x * by)
}

pub(crate) fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(crate) fn norm(a: Point) -> f64 {
    dot(a, a).sqrt()
}

/// A triangle prepared for distances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facet {
    pub(crate) corners: Triangle,
    /// To the next corner.
    edges: [Point; 3],
    /// 1 over the square of each edge's length; 0 for an edge of no length.
    inverse_squares: [f64; 3],
    /// Edge times normal: which side of an edge, in the plane, looks inwards.
    inwards: [Point; 3],
    /// Of length 1; zero for a triangle without area, which is then its edges alone.
    pub(crate) normal: Point,
}

impl Facet {
    pub(crate) fn new(corners: Triangle) -> Self {
        let [a, b, c] = corners;
        let edges = [sub(b, a), sub(c, b), sub(a, c)];
        let squares = edges.map(|e| dot(e, e));
        let normal = cross(edges[0], sub(c, a));
        let double_area = norm(normal);
        // Of a thinner needle the normal is rounding noise; its edges are as near as its inside.
        let is_flat = double_area <= 1e-12 * squares.into_iter().fold(0.0, f64::max);
        let normal = if is_flat { [0.0; 3] } else { scaled(normal, 1.0 / double_area) };
        Self {
            corners,
            edges,
            inverse_squares: squares.map(|s| if s > 0.0 { 1.0 / s } else { 0.0 }),
            inwards: edges.map(|e| cross(normal, e)),
            normal,
        }
    }

    /// The square of the distance of a point from the nearest point of the triangle.
    ///
    /// The nearest of the three edges and, over the inside, the plane: no choice between them rests on a difference
    /// that rounding could turn, as it may in needles.
    #[inline]
    pub(crate) fn squared_distance(&self, p: Point) -> f64 {
        let mut least = f64::INFINITY;
        let mut is_over = self.normal != [0.0; 3];
        for i in 0..3 {
            let to_p = sub(p, self.corners[i]);
            let along = (dot(to_p, self.edges[i]) * self.inverse_squares[i]).clamp(0.0, 1.0);
            let rest = sub(to_p, scaled(self.edges[i], along));
            least = least.min(dot(rest, rest));
            is_over &= dot(to_p, self.inwards[i]) >= 0.0;
        }
        let height = dot(sub(p, self.corners[0]), self.normal);
        if is_over { least.min(height * height) } else { least }
    }
}

/// A box around some triangles; its parts follow it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    low: Point,
    high: Point,
    /// The first triangle, in the tree's order.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// The second part; the first is the next node. 0: there are no parts.
    pub(crate) second: u32,
}

impl Node {
    /// The square of the distance of a point from the box.
    fn squared_distance(&self, p: Point) -> f64 {
        let outside = |axis: usize| (self.low[axis] - p[axis]).max(p[axis] - self.high[axis]).max(0.0);
        let d = [outside(0), outside(1), outside(2)];
        dot(d, d)
    }
}

/// A tree of boxes, each with half of its parent's triangles.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The root is the first.
    pub(crate) nodes: Vec<Node>,
    /// The triangles' positions in what the tree was made of.
    pub(crate) order: Vec<u32>,
}

impl Tree {
    /// A tree whose undivided boxes hold up to `leaf` triangles.
    pub(crate) fn new(triangles: &[Triangle], leaf: usize) -> Self {
        let mut tree =
            Self { nodes: Vec::with_capacity(triangles.len()), order: (0..triangles.len() as u32).collect() };
        let middles: Vec<Point> = triangles.iter().map(|&[a, b, c]| add(a, add(b, c))).collect();
        if !triangles.is_empty() {
            tree.split(triangles, &middles, 0, triangles.len(), leaf.max(1));
        }
        tree
    }

    fn split(&mut self, triangles: &[Triangle], middles: &[Point], first: usize, count: usize, leaf: usize) {
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        let (mut least, mut greatest) = (low, high);
        for &i in &self.order[first..first + count] {
            for axis in 0..3 {
                for corner in triangles[i as usize] {
                    low[axis] = low[axis].min(corner[axis]);
                    high[axis] = high[axis].max(corner[axis]);
                }
                least[axis] = least[axis].min(middles[i as usize][axis]);
                greatest[axis] = greatest[axis].max(middles[i as usize][axis]);
            }
        }
        let here = self.nodes.len();
        self.nodes.push(Node { low, high, first: first as u32, count: count as u32, second: 0 });
        if count <= leaf {
            return;
        }
        let spread = sub(greatest, least);
        let axis = (0..3).max_by(|&a, &b| spread[a].total_cmp(&spread[b])).unwrap_or(0);
        let half = count / 2;
        self.order[first..first + count].select_nth_unstable_by(half, |&a, &b| {
            middles[a as usize][axis].total_cmp(&middles[b as usize][axis]).then(a.cmp(&b))
        });
        self.split(triangles, middles, first, half, leaf);
        self.nodes[here].second = self.nodes.len() as u32;
        self.split(triangles, middles, first + half, count - half, leaf);
    }
}

/// Triangles in a tree, for the nearest of them.
#[derive(Clone, Debug)]
pub(crate) struct NearestTriangle {
    tree: Tree,
    /// In the tree's order.
    facets: Vec<Facet>,
}

impl NearestTriangle {
    /// Needs at least one triangle.
    pub(crate) fn new(triangles: &[Triangle]) -> Self {
        let tree = Tree::new(triangles, 4);
        let facets = tree.order.iter().map(|&i| Facet::new(triangles[i as usize])).collect();
        Self { tree, facets }
    }

    /// The nearest triangle and the square of its distance.
    pub(crate) fn find(&self, p: Point) -> (f64, &Facet) {
        let nodes = &self.tree.nodes;
        let mut best = (f64::INFINITY, &self.facets[0]);
        // A box that is left waits with its distance.
        let mut waiting = vec![(nodes[0].squared_distance(p), 0usize)];
        while let Some((distance, mut at)) = waiting.pop() {
            if distance >= best.0 {
                continue;
            }
            while nodes[at].second != 0 {
                let (a, b) = (at + 1, nodes[at].second as usize);
                let (to_a, to_b) = (nodes[a].squared_distance(p), nodes[b].squared_distance(p));
                let ((near, _), far) =
                    if to_a <= to_b { ((a, to_a), (to_b, b)) } else { ((b, to_b), (to_a, a)) };
                if far.0 < best.0 {
                    waiting.push(far);
                }
                at = near;
            }
            let node = nodes[at];
            for facet in &self.facets[node.first as usize..][..node.count as usize] {
                let squared = facet.squared_distance(p);
                if squared < best.0 {
                    best = (squared, facet);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from 0 to 1, always the same.
    fn noise(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 * (-53f64).exp2()
    }

    #[test]
    fn the_tree_finds_the_nearest() {
        let mut state = 1;
        let mut n_cases = 0;
        for n in [1, 2, 5, 300] {
            let triangles: Vec<Triangle> = (0..n)
                .map(|i| {
                    let corner = [0; 3].map(|_| noise(&mut state));
                    // Small and large ones, needles, some without area and some twice.
                    let size = [0.02, 0.5, 0.0][i % 3];
                    let other = add(corner, [0; 3].map(|_| size * noise(&mut state)));
                    [corner, other, add(corner, [0.0, size * 1e-9, size * (i % 2) as f64])]
                })
                .collect();
            let nearest = NearestTriangle::new(&triangles);
            for _ in 0..300 {
                let p = [0; 3].map(|_| 3.0 * noise(&mut state) - 1.0);
                let expected = triangles
                    .iter()
                    .map(|&t| Facet::new(t).squared_distance(p))
                    .fold(f64::INFINITY, f64::min);
                let (found, facet) = nearest.find(p);
                assert_eq!(found, expected, "{p:?}");
                assert_eq!(facet.squared_distance(p), expected);
                n_cases += 1;
            }
        }
        assert_eq!(n_cases, 1200);
    }

    /// By the definition: no point of the triangle is nearer, and one of a fine mesh of points in it is nearly as
    /// near.
    #[test]
    fn the_distance_is_that_of_the_nearest_point() {
        let mut state = 2;
        let steps = 60;
        for case in 0..200 {
            let size = [1.0, 1e-3, 0.0][case % 3];
            let a = [0; 3].map(|_| noise(&mut state));
            let b = add(a, [0; 3].map(|_| noise(&mut state) - 0.5));
            let c = add(a, scaled([0; 3].map(|_| noise(&mut state) - 0.5), size));
            let p = [0; 3].map(|_| 2.0 * noise(&mut state) - 0.5);
            let mut least = f64::INFINITY;
            for i in 0..=steps {
                for j in 0..=steps - i {
                    let (v, w) = (f64::from(i) / f64::from(steps), f64::from(j) / f64::from(steps));
                    let q = add(a, add(scaled(sub(b, a), v), scaled(sub(c, a), w)));
                    least = least.min(norm(sub(p, q)));
                }
            }
            let distance = Facet::new([a, b, c]).squared_distance(p).sqrt();
            // The points are at most a step of the longer edge apart.
            let step = norm(sub(b, a)).max(norm(sub(c, a))) / f64::from(steps);
            assert!(
                distance <= least + 1e-12 && distance >= least - step,
                "case {case}: {distance}, {least}"
            );
        }
    }
}
