//! Sine and cosine of the same angle, or the sine alone.
//!
//! Phases of this method exceed 1,200 rad (`omega_0` acts twice on a linear modulation), so range reduction
//! decides whether a result is right. Up to [`REDUCED_UP_TO`] the angle is reduced by multiples of π/2 held in
//! three parts (two in double precision where multiply-add does not fuse), then two short polynomials on
//! [-π/4, π/4] finish; beyond, and for NaN and infinities, the standard library's double-precision functions
//! answer. A sine alone is reduced by multiples of π and needs one polynomial, on [-π/2, π/2].

use crate::isa::{kernel, mul_add};

/// Largest |angle| in rad for which the quick reduction is used; absolute error there is at most 2e-7.
pub const REDUCED_UP_TO: f32 = 1.0e5;

/// Angles handled between two checks for out-of-range ones.
const BLOCK: usize = 64;

kernel! {
    /// For each of `rows` rows: takes `width` angles (rad) from the row's first half and leaves their sines there
    /// and their cosines in the second half. `angles` is `rows × 2·width`.
    ///
    /// Absolute error at most 2e-7 up to [`REDUCED_UP_TO`]; correctly reduced beyond; NaN for NaN and ±∞.
    ///
    /// # Panics
    /// When `angles` is shorter than `rows · 2 · width`.
    pub fn sincos_rows = sincos_rows_body(rows: usize, width: usize, angles: &mut [f32])
}

#[inline(always)]
fn sincos_rows_body<const FUSED: bool>(rows: usize, width: usize, angles: &mut [f32]) {
    if width == 0 {
        return;
    }
    for row in angles[..rows * 2 * width].chunks_exact_mut(2 * width) {
        let (sines, cosines) = row.split_at_mut(width);
        for (s, c) in sines.chunks_mut(BLOCK).zip(cosines.chunks_mut(BLOCK)) {
            if is_beyond(s) {
                for (s, c) in s.iter_mut().zip(c) {
                    let (sine, cosine) = f64::from(*s).sin_cos();
                    (*s, *c) = (sine as f32, cosine as f32);
                }
            } else {
                for (s, c) in s.iter_mut().zip(c) {
                    (*s, *c) = sincos_reduced::<FUSED>(*s);
                }
            }
        }
    }
}

kernel! {
    /// Replaces angles (rad) by their sines, with the accuracy of [`sincos_rows`].
    pub fn sines = sines_body(angles: &mut [f32])
}

#[inline(always)]
fn sines_body<const FUSED: bool>(angles: &mut [f32]) {
    for block in angles.chunks_mut(BLOCK) {
        if is_beyond(block) {
            // Each by itself: its neighbours are those of another sample where tiles are cut otherwise.
            for x in block {
                *x = if x.abs() <= REDUCED_UP_TO {
                    sine_reduced::<FUSED>(*x)
                } else {
                    f64::from(*x).sin() as f32
                };
            }
        } else {
            for x in block {
                *x = sine_reduced::<FUSED>(*x);
            }
        }
    }
}

/// Whether the quick reduction is not for all of these angles.
#[inline(always)]
fn is_beyond(angles: &[f32]) -> bool {
    let mut beyond = false;
    for x in angles {
        #[allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must count as beyond")]
        let outside = !(x.abs() <= REDUCED_UP_TO);
        beyond |= outside;
    }
    beyond
}

/// Sine for |x| up to [`REDUCED_UP_TO`].
#[allow(clippy::excessive_precision, reason = "the constants are given as in their derivation")]
#[inline(always)]
fn sine_reduced<const FUSED: bool>(x: f32) -> f32 {
    // As below, with multiples of π: twice the parts of π/2, which doubling leaves exact.
    let (r, multiple) = if FUSED {
        const MAGIC: f32 = 12_582_912.0;
        let shifted = x.mul_add(std::f32::consts::FRAC_1_PI, MAGIC);
        let n = shifted - MAGIC;
        let r = n.mul_add(-2.0 * 1.570_796_37, x);
        let r = n.mul_add(2.0 * 4.371_139_00e-8, r);
        (n.mul_add(2.0 * 1.715_124_51e-15, r), shifted.to_bits())
    } else {
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let x = f64::from(x);
        let shifted = x * std::f64::consts::FRAC_1_PI + MAGIC;
        let n = shifted - MAGIC;
        let r = (x - n * (2.0 * 1.570_796_326_734_125_6)) - n * (2.0 * 6.077_100_506_506_192e-11);
        (r as f32, shifted.to_bits() as u32)
    };
    let r2 = r * r;
    // The odd polynomial of degree 9 with the least absolute error on [-π/2, π/2], 4.7e-9 (Remez' algorithm).
    let s = mul_add::<FUSED>(r2, 2.600_054_793_7e-6, -1.980_661_521_44e-4);
    let s = mul_add::<FUSED>(r2, s, 8.333_017_291_77e-3);
    let s = mul_add::<FUSED>(r2, s, -1.666_665_709_65e-1);
    let s = mul_add::<FUSED>(r2 * r, s, r);
    // Odd multiples negate.
    f32::from_bits(s.to_bits() ^ (multiple << 31))
}

/// Sine and cosine for |x| up to [`REDUCED_UP_TO`].
#[allow(clippy::excessive_precision, reason = "the constants are given as in their derivation")]
#[inline(always)]
fn sincos_reduced<const FUSED: bool>(x: f32) -> (f32, f32) {
    // Adding and subtracting 1.5·2^23 (2^52) rounds to the nearest integer and leaves it in the low mantissa
    // bits: the quadrant without a float-to-integer conversion.
    let (r, quadrant) = if FUSED {
        const MAGIC: f32 = 12_582_912.0;
        let shifted = x.mul_add(std::f32::consts::FRAC_2_PI, MAGIC);
        let n = shifted - MAGIC;
        // π/2 in three parts; fused, n·part is exact inside each step.
        let r = n.mul_add(-1.570_796_37, x);
        let r = n.mul_add(4.371_139_00e-8, r);
        (n.mul_add(1.715_124_51e-15, r), shifted.to_bits())
    } else {
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let x = f64::from(x);
        let shifted = x * std::f64::consts::FRAC_2_PI + MAGIC;
        let n = shifted - MAGIC;
        // The first part has 33 significant bits, so its product with n is exact.
        let r = (x - n * 1.570_796_326_734_125_6) - n * 6.077_100_506_506_192e-11;
        (r as f32, shifted.to_bits() as u32)
    };
    let r2 = r * r;
    // Cephes' minimax polynomials (Moshier, sinf.c and cosf.c) on [-π/4, π/4].
    let s = mul_add::<FUSED>(r2, -1.951_529_589_1e-4, 8.332_160_873_6e-3);
    let s = mul_add::<FUSED>(r2, s, -1.666_665_461_1e-1);
    let s = mul_add::<FUSED>(r2 * r, s, r);
    let c = mul_add::<FUSED>(r2, 2.443_315_711_809_948e-5, -1.388_731_625_493_765e-3);
    let c = mul_add::<FUSED>(r2, c, 4.166_664_568_298_827e-2);
    let c = mul_add::<FUSED>(r2 * r2, c, mul_add::<FUSED>(r2, -0.5, 1.0));
    // Odd quadrants swap the two; quadrants 2, 3 negate the sine, 1, 2 the cosine.
    let swap = (quadrant & 1).wrapping_neg();
    let (s, c) = (s.to_bits(), c.to_bits());
    let sine = ((s & !swap) | (c & swap)) ^ ((quadrant & 2) << 30);
    let cosine = ((c & !swap) | (s & swap)) ^ ((quadrant.wrapping_add(1) & 2) << 30);
    (f32::from_bits(sine), f32::from_bits(cosine))
}
