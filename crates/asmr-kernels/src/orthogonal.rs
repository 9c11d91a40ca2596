//! An orthonormal basis of a square matrix's columns, for preconditioned optimisers.

use crate::isa::{kernel, mul_add};

/// Partial sums of a dot product: wide enough for two registers, in a fixed order.
const LANES: usize = 16;

kernel! {
    /// Replaces the `n` columns of a square matrix (each contiguous: column j is `columns[j·n ..]`) by the Q of its
    /// QR decomposition, by Householder reflections (Golub and Van Loan, section 5.2). Never fails: a rank-deficient
    /// matrix is completed to a full basis. `scratch` is resized to n² + n.
    ///
    /// # Panics
    /// When `columns` has fewer than n² values.
    pub fn orthonormalise = orthonormalise_body(n: usize, columns: &mut [f32], scratch: &mut Vec<f32>)
}

#[inline(always)]
fn orthonormalise_body<const FUSED: bool>(n: usize, columns: &mut [f32], scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.resize(n * n + n, 0.0);
    let (reflectors, factors) = scratch.split_at_mut(n * n);
    reflectors.copy_from_slice(&columns[..n * n]);
    for k in 0..n {
        let (done, later) = reflectors.split_at_mut((k + 1) * n);
        let v = &mut done[k * n + k..];
        scale_to_order_one(v);
        let norm = dot::<FUSED>(v, v).sqrt();
        // The sign that avoids cancellation.
        v[0] += if v[0] < 0.0 { -norm } else { norm };
        let square = dot::<FUSED>(v, v);
        factors[k] = if square > 0.0 && square.is_finite() { 2.0 / square } else { 0.0 };
        for column in later.chunks_exact_mut(n) {
            reflect::<FUSED>(factors[k], v, &mut column[k..]);
        }
    }
    for (j, column) in columns[..n * n].chunks_exact_mut(n).enumerate() {
        column.fill(0.0);
        column[j] = 1.0;
    }
    for k in (0..n).rev() {
        let v = &reflectors[k * n + k..(k + 1) * n];
        for column in columns[k * n..n * n].chunks_exact_mut(n) {
            reflect::<FUSED>(factors[k], v, &mut column[k..]);
        }
    }
}

/// Multiplies by the power of two that brings the largest value to [1, 2): no bit of a reflection changes, and no
/// square leaves single precision. What remains of a dependent column is rounding noise of rounding noise, of any
/// magnitude.
#[inline(always)]
fn scale_to_order_one(v: &mut [f32]) {
    const MAGNITUDE: u32 = 0x7fff_ffff;
    // As bits, magnitudes are ordered; the exponent of 1 is 127.
    let exponent = v.iter().fold(0, |m, x| m.max(x.to_bits() & MAGNITUDE)) >> 23;
    let scale = f32::from_bits((254 - exponent.clamp(1, 253)) << 23);
    for x in v.iter_mut() {
        *x *= scale;
    }
}

/// `x -= factor · (v·x) · v`
#[inline(always)]
fn reflect<const FUSED: bool>(factor: f32, v: &[f32], x: &mut [f32]) {
    let s = -factor * dot::<FUSED>(v, x);
    for (x, &v) in x.iter_mut().zip(v) {
        *x = mul_add::<FUSED>(s, v, *x);
    }
}

#[allow(clippy::needless_range_loop, reason = "indices let the compiler keep all sums in registers")]
#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a_rows, a_tail) = a.as_chunks::<LANES>();
    let (b_rows, b_tail) = b.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for (a, b) in a_rows.iter().zip(b_rows) {
        for j in 0..LANES {
            sums[j] = mul_add::<FUSED>(a[j], b[j], sums[j]);
        }
    }
    // Pairwise, so that the last additions are vectors too.
    for half in [LANES / 2, LANES / 4, LANES / 8, LANES / 16] {
        for j in 0..half {
            sums[j] += sums[j + half];
        }
    }
    a_tail.iter().zip(b_tail).fold(sums[0], |s, (a, b)| s + a * b)
}
