//! Activation sharing by the angle-sum identity, and its gradient.
//!
//! A cell's features are one row `[sin u | cos u]`; a digit tuple's are one row `[sin m | cos m]` of a table.
//! The child of both has the activation `sin(u + m) = sin u · cos m + cos u · sin m`: two multiply-adds per
//! neuron and no sine.

use crate::isa::{kernel, mul_add};

/// One child cell: which row of features it comes from and which row of the digit table it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Row of the parent's features.
    pub parent: u32,
    /// Row of the digit table.
    pub tuple: u32,
}

kernel! {
    /// `out[r] = sin u[parent] ∘ cos m[tuple] + cos u[parent] ∘ sin m[tuple]` for each child r.
    ///
    /// `features` is `n × 2·width` (`[sin u | cos u]`), `table` is `K × 2·width` (`[sin m | cos m]`), `out` is
    /// `children.len() × width`.
    ///
    /// # Panics
    /// When a slice is too short, or a child names a row that is not there.
    pub fn expand = expand_body(
        width: usize,
        children: &[Child],
        features: &[f32],
        table: &[f32],
        out: &mut [f32],
    )
}

#[inline(always)]
fn expand_body<const FUSED: bool>(
    width: usize,
    children: &[Child],
    features: &[f32],
    table: &[f32],
    out: &mut [f32],
) {
    assert!(out.len() >= children.len() * width, "one output row per child");
    for (child, out) in children.iter().zip(out.chunks_exact_mut(width)) {
        let (sin_u, cos_u) = features[child.parent as usize * 2 * width..][..2 * width].split_at(width);
        let (sin_m, cos_m) = table[child.tuple as usize * 2 * width..][..2 * width].split_at(width);
        for j in 0..width {
            out[j] = mul_add::<FUSED>(sin_u[j], cos_m[j], cos_u[j] * sin_m[j]);
        }
    }
}

kernel! {
    /// The gradient of [`expand`], folded back to parents and digit tuples: with
    /// `dphase = dz[r] ∘ (cos u ∘ cos m − sin u ∘ sin m)`, adds `dphase` to row `parent` of `d_phase` and to row
    /// `tuple` of `d_table`.
    ///
    /// `dz` is `children.len() × width`, `d_phase` is `n × width`, `d_table` is `K × width`.
    ///
    /// # Panics
    /// When a slice is too short, or a child names a row that is not there.
    pub fn fold = fold_body(
        width: usize,
        children: &[Child],
        features: &[f32],
        table: &[f32],
        dz: &[f32],
        d_phase: &mut [f32],
        d_table: &mut [f32],
    )
}

#[allow(clippy::too_many_arguments, reason = "the kernel's own arguments")]
#[inline(always)]
fn fold_body<const FUSED: bool>(
    width: usize,
    children: &[Child],
    features: &[f32],
    table: &[f32],
    dz: &[f32],
    d_phase: &mut [f32],
    d_table: &mut [f32],
) {
    assert!(dz.len() >= children.len() * width, "one gradient row per child");
    for (child, dz) in children.iter().zip(dz.chunks_exact(width)) {
        let (parent, tuple) = (child.parent as usize, child.tuple as usize);
        let (sin_u, cos_u) = features[parent * 2 * width..][..2 * width].split_at(width);
        let (sin_m, cos_m) = table[tuple * 2 * width..][..2 * width].split_at(width);
        let d_phase = &mut d_phase[parent * width..][..width];
        let d_table = &mut d_table[tuple * width..][..width];
        for j in 0..width {
            let cosine = mul_add::<FUSED>(cos_u[j], cos_m[j], -(sin_u[j] * sin_m[j]));
            let d = dz[j] * cosine;
            d_phase[j] += d;
            d_table[j] += d;
        }
    }
}

kernel! {
    /// The gradient of the features with respect to their phase: `d_phase[r] += d_sin ∘ cos u − d_cos ∘ sin u`.
    ///
    /// `features` and `d_features` are `rows × 2·width`, `d_phase` is `rows × width`.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn fold_features = fold_features_body(
        rows: usize,
        width: usize,
        features: &[f32],
        d_features: &[f32],
        d_phase: &mut [f32],
    )
}

#[inline(always)]
fn fold_features_body<const FUSED: bool>(
    rows: usize,
    width: usize,
    features: &[f32],
    d_features: &[f32],
    d_phase: &mut [f32],
) {
    for r in 0..rows {
        let (sin_u, cos_u) = features[r * 2 * width..][..2 * width].split_at(width);
        let (d_sin, d_cos) = d_features[r * 2 * width..][..2 * width].split_at(width);
        let d_phase = &mut d_phase[r * width..][..width];
        for j in 0..width {
            d_phase[j] += mul_add::<FUSED>(d_sin[j], cos_u[j], -(d_cos[j] * sin_u[j]));
        }
    }
}

kernel! {
    /// Outputs of mirrored digit tuples from their even and odd parts: with n tuples per row in `low`,
    /// `low[t] = even[t] + odd[t]` and `high[m-1-t] = even[t] − odd[t]`, for m = n mirrored tuples or n - 1 (then the
    /// last one is its own mirror image).
    ///
    /// `low` holds `even` on entry. `low` and `odd` are `rows × n·channels`, `high` is `rows × m·channels`.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn join_mirrored = join_mirrored_body(
        rows: usize,
        channels: usize,
        n: usize,
        m: usize,
        low: &mut [f32],
        odd: &[f32],
        high: &mut [f32],
    )
}

#[inline(always)]
fn join_mirrored_body<const FUSED: bool>(
    rows: usize,
    channels: usize,
    n: usize,
    m: usize,
    low: &mut [f32],
    odd: &[f32],
    high: &mut [f32],
) {
    for r in 0..rows {
        let low = &mut low[r * n * channels..][..n * channels];
        let odd = &odd[r * n * channels..][..n * channels];
        let high = &mut high[r * m * channels..][..m * channels];
        if channels == 1 {
            for ((h, e), o) in high.iter_mut().rev().zip(&*low).zip(odd) {
                *h = e - o;
            }
        } else {
            let tuples = low.chunks_exact(channels).zip(odd.chunks_exact(channels));
            for (high, (even, odd)) in high.chunks_exact_mut(channels).rev().zip(tuples) {
                for ((h, e), o) in high.iter_mut().zip(even).zip(odd) {
                    *h = e - o;
                }
            }
        }
        for (l, o) in low.iter_mut().zip(odd) {
            *l += o;
        }
    }
}

kernel! {
    /// The transpose of [`join_mirrored`]: gradients of the even and odd parts from those of the outputs,
    /// `even[t] = low[t] + high[m-1-t]` (left in `low`) and `odd[t] = low[t] − high[m-1-t]`, `high` counting as 0 for a
    /// tuple that is its own mirror image. Shapes as there.
    ///
    /// # Panics
    /// When a slice is too short.
    pub fn split_mirrored = split_mirrored_body(
        rows: usize,
        channels: usize,
        n: usize,
        m: usize,
        low: &mut [f32],
        odd: &mut [f32],
        high: &[f32],
    )
}

#[inline(always)]
fn split_mirrored_body<const FUSED: bool>(
    rows: usize,
    channels: usize,
    n: usize,
    m: usize,
    low: &mut [f32],
    odd: &mut [f32],
    high: &[f32],
) {
    for r in 0..rows {
        let low = &mut low[r * n * channels..][..n * channels];
        let odd = &mut odd[r * n * channels..][..n * channels];
        let high = &high[r * m * channels..][..m * channels];
        odd.copy_from_slice(low);
        if channels == 1 {
            for ((h, l), o) in high.iter().rev().zip(low).zip(odd) {
                *l += h;
                *o -= h;
            }
        } else {
            let tuples = low.chunks_exact_mut(channels).zip(odd.chunks_exact_mut(channels));
            for (high, (low, odd)) in high.chunks_exact(channels).rev().zip(tuples) {
                for ((h, l), o) in high.iter().zip(low).zip(odd) {
                    *l += h;
                    *o -= h;
                }
            }
        }
    }
}

kernel! {
    /// `sums[j] += Σ_r rows[r, j]`, rows in order.
    ///
    /// # Panics
    /// When `rows` is not a whole number of rows of `sums.len()`.
    pub fn add_column_sums = add_column_sums_body(rows: &[f32], sums: &mut [f32])
}

#[inline(always)]
fn add_column_sums_body<const FUSED: bool>(rows: &[f32], sums: &mut [f32]) {
    assert!(rows.len().is_multiple_of(sums.len()), "whole rows");
    for row in rows.chunks_exact(sums.len()) {
        for (s, &x) in sums.iter_mut().zip(row) {
            *s += x;
        }
    }
}
