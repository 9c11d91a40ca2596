//! Linear interpolation between the vertices of a grid, on 1 to 3 axes, from tables of rows of values.
//!
//! What an axis adds to a vertex' number, and the share of its upper neighbour, are kept per index of the axis, so that
//! a sample costs additions (or exclusive ors) and its table rows.

use crate::field::MAX_AXES;

/// The two vertices about an index on one axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    /// What they add to a vertex' number.
    pub(crate) keys: [u32; 2],
    /// Their weights.
    pub(crate) weights: [f32; 2],
}

/// All `2^D` vertices about a sample: `visit(combined key, weight)`, the last axis fastest.
#[inline]
pub(crate) fn corners<const D: usize>(
    axes: &[Vec<Pair>],
    at: [usize; MAX_AXES],
    combine: impl Fn(u32, u32) -> u32,
    mut visit: impl FnMut(u32, f32),
) {
    let pairs: [Pair; D] = std::array::from_fn(|axis| axes[axis][at[axis]]);
    for corner in 0..1usize << D {
        let (mut key, mut weight) = (0, 1.0);
        for (axis, pair) in pairs.iter().enumerate() {
            let side = corner >> (D - 1 - axis) & 1;
            key = combine(key, pair.keys[side]);
            weight *= pair.weights[side];
        }
        visit(key, weight);
    }
}

/// Multiply-adds of a sample's weights and of summing rows of `n_values`.
pub(crate) fn n_mac(n_axes: usize, n_values: usize) -> usize {
    let n_corners = 1 << n_axes;
    // Weights of prefixes are shared: 4 products for the 4 corners of 2 axes, 12 for the 8 of 3.
    let products: usize = (2..=n_axes).map(|axes| 1 << axes).sum();
    products + n_corners * n_values
}
