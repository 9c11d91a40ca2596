//! Matrix products in fixed point: 16-bit operands, exact 32-bit sums.
//!
//! For decoding only. Left-hand sides are activations, which lie in [-1, 1], so they need no exponent: they are rounded
//! to steps of 1/[`amplitude`], and each column of the right-hand side to as fine a step as 32 bits of sum allow. One
//! x86 instruction multiplies and adds pairs of 16-bit values, so a product takes half the instructions of single
//! precision and half the memory. Sums are integers, exact in any order: every instruction-set level gives the same
//! bits.
//!
//! A *pair* is two values of a row half a row apart, packed in 32 bits: value p in the low half, value p + ⌈inner/2⌉
//! (0 past the end) in the high half.

use crate::IsaLevel;
use crate::dense::{PANEL, Start};
use crate::isa::{kernel, mul_add};

/// Rows computed together: 6 × 2 registers of sums, 2 of a panel, a broadcast and a product fill AVX2's 16.
const ROWS: usize = 6;
/// Sums stay within this, whatever the activations.
const LARGEST_SUM: f64 = (i32::MAX - 1) as f64;

/// How finely operands are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// 8 bits for both operands, -127 to 127.
    Eight,
    /// As many of 16 as the sums leave room for: about 13 for a width of 256.
    Sixteen,
}

/// The integer that stands for an activation of 1, for sums of `inner` products.
///
/// With 16 bits, sums hold `amplitude · Σ|w|`, so bits given to activations are taken from the weights. The errors of
/// both are balanced when `amplitude² = 2^31 · √2 / (0.8 · inner)`, for activations of mean square ½ and weights whose mean
/// magnitude is 0.8 of their root mean square (normal ones).
#[must_use]
pub fn amplitude(inner: usize, bits: Bits) -> f32 {
    match bits {
        Bits::Eight => 127.0,
        Bits::Sixteen => {
            (LARGEST_SUM * std::f64::consts::SQRT_2 / (0.8 * inner as f64)).sqrt().floor().min(32_767.0)
                as f32
        }
    }
}

/// Pairs in a row of `inner` values.
#[must_use]
pub fn pairs(inner: usize) -> usize {
    inner.div_ceil(2)
}

/// A right-hand side (`inner × columns`) laid out for [`matmul_fixed`].
#[derive(Clone, Debug, Default)]
pub struct PackedFixed {
    inner: usize,
    columns: usize,
    /// Panel after panel of [`PANEL`] columns; within one, a row of pairs after another, zero-filled past the last column.
    panels: Vec<[u32; PANEL]>,
    /// Value of one unit of a sum, per column, filled with zeros to whole panels.
    units: Vec<f32>,
}

impl PackedFixed {
    /// Packs the matrix whose column j is `source[j * column_stride..][..inner]` times `scale`, each column rounded to its
    /// own step. Columns that hold a value that is not finite become zero.
    ///
    /// # Panics
    /// When `source` is too short for the shape and stride.
    pub fn pack(
        &mut self,
        inner: usize,
        columns: usize,
        source: &[f32],
        column_stride: usize,
        scale: f32,
        bits: Bits,
    ) {
        let n_pairs = pairs(inner);
        (self.inner, self.columns) = (inner, columns);
        self.panels.clear();
        self.panels.resize(columns.div_ceil(PANEL) * n_pairs, [0; PANEL]);
        self.units.clear();
        self.units.resize(columns.next_multiple_of(PANEL), 0.0);
        let activation = f64::from(amplitude(inner, bits));
        let range = match bits {
            Bits::Eight => 127.0,
            Bits::Sixteen => 32_767.0,
        };
        let mut integers = vec![0; 2 * n_pairs];
        for j in 0..columns {
            let column = &source[j * column_stride..][..inner];
            let (largest, sum) = magnitudes(column);
            let scale = f64::from(scale);
            let (largest, sum) = (largest * scale.abs(), sum * scale.abs());
            if !(largest > 0.0 && sum.is_finite()) {
                continue;
            }
            // |round(w·s)| is at most |w|·s + ½, so sums of all of them stay in range (and 1 in 10,000 for `magnitudes`).
            let room = (LARGEST_SUM / activation - inner as f64) / (1.0001 * sum);
            let steps = room.min(range / largest);
            let factor = (steps * scale) as f32;
            for (o, w) in integers.iter_mut().zip(column) {
                *o = (w * factor + MAGIC).to_bits() & 0xffff;
            }
            let (low, high) = integers.split_at(n_pairs);
            let panel = &mut self.panels[j / PANEL * n_pairs..][..n_pairs];
            for ((pair, l), h) in panel.iter_mut().zip(low).zip(high) {
                pair[j % PANEL] = l | h << 16;
            }
            self.units[j] = (1.0 / (steps * activation)) as f32;
        }
    }

    /// Rows of the packed matrix.
    #[must_use]
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Columns of the packed matrix.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }
}

/// The largest magnitude and the sum of all.
fn magnitudes(values: &[f32]) -> (f64, f64) {
    // Sixteen sums side by side, which the compiler keeps in vectors.
    const LANES: usize = 16;
    let (mut largest, mut sums) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for ((m, s), x) in largest.iter_mut().zip(&mut sums).zip(chunk) {
            *m = m.max(x.abs());
            *s += x.abs();
        }
    }
    for ((m, s), x) in largest.iter_mut().zip(&mut sums).zip(rest) {
        *m = m.max(x.abs());
        *s += x.abs();
    }
    (f64::from(largest.iter().fold(0.0, |a: f32, &b| a.max(b))), sums.iter().map(|&s| f64::from(s)).sum())
}

/// 1.5·2^23: adding it rounds to an integer (halves to even) and leaves its two's complement in the low bits.
const MAGIC: f32 = 12_582_912.0;

kernel! {
    /// Rounds `rows` rows of `inner` activations, [`pairs`]`(inner)` pairs each, for [`matmul_fixed`].
    ///
    /// `values` has rows `stride` apart; `amplitude` is [`amplitude`]`(inner, bits)`. Values are taken as within
    /// [-1, 1]; a NaN gives some number.
    ///
    /// # Panics
    /// When a slice is too short for its shape.
    pub fn round_rows = round_rows_body(
        rows: usize,
        inner: usize,
        values: &[f32],
        stride: usize,
        amplitude: f32,
        out: &mut [u32],
    )
}

#[inline(always)]
fn round_rows_body<const FUSED: bool>(
    rows: usize,
    inner: usize,
    values: &[f32],
    stride: usize,
    amplitude: f32,
    out: &mut [u32],
) {
    let n = pairs(inner);
    // Within the range even where the sum of two products left [-1, 1] by a rounding.
    let bits = |x: f32| mul_add::<false>(x.clamp(-1.0, 1.0), amplitude, MAGIC).to_bits();
    for r in 0..rows {
        let (low, high) = values[r * stride..][..inner].split_at(n);
        let out = &mut out[r * n..][..n];
        for ((o, &l), &h) in out.iter_mut().zip(low).zip(high) {
            *o = (bits(l) & 0xffff) | (bits(h) << 16);
        }
        if high.len() < n {
            out[n - 1] = bits(low[n - 1]) & 0xffff;
        }
    }
}

/// `out[i, j] = start + unit[j] · Σ_p left[i, p] · right[p, j]` for `rows` rows of pairs by [`round_rows`].
///
/// `out` has rows `out_stride` apart, of which the first `right.columns()` values are written. All levels give the same
/// bits.
///
/// # Panics
/// When a slice is too short for its shape, or `isa` names a level that this machine has not.
pub fn matmul_fixed(
    isa: IsaLevel,
    rows: usize,
    left: &[u32],
    right: &PackedFixed,
    start: Start<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if isa >= IsaLevel::Avx2 {
        assert!(isa.is_supported(), "{isa:?} on a machine without its instructions");
        // SAFETY: the assertion above established that the CPU has avx2, all that `matmul_avx2` is compiled for.
        unsafe { matmul_avx2(rows, left, right, start, out, out_stride) };
        return;
    }
    let _ = isa;
    matmul_body::<PlainTile>(rows, left, right, start, out, out_stride);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn matmul_avx2(
    rows: usize,
    left: &[u32],
    right: &PackedFixed,
    start: Start<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    matmul_body::<Avx2Tile>(rows, left, right, start, out, out_stride);
}

/// The innermost loop.
trait Tile {
    /// `Σ_p lines[r][p] · panel[p][j]`, the two products of a pair added.
    fn sums<const R: usize>(lines: &[&[u32]; R], panel: &[[u32; PANEL]]) -> [[i32; PANEL]; R];
}

struct PlainTile;

impl Tile for PlainTile {
    #[inline(always)]
    fn sums<const R: usize>(lines: &[&[u32]; R], panel: &[[u32; PANEL]]) -> [[i32; PANEL]; R] {
        let low = |pair: u32| i32::from(pair as u16 as i16);
        let high = |pair: u32| i32::from((pair >> 16) as u16 as i16);
        let mut sums = [[0; PANEL]; R];
        for (sum, line) in sums.iter_mut().zip(lines) {
            for (&a, b) in line.iter().zip(panel) {
                for (s, &b) in sum.iter_mut().zip(b) {
                    *s += low(a) * low(b) + high(a) * high(b);
                }
            }
        }
        sums
    }
}

#[cfg(target_arch = "x86_64")]
struct Avx2Tile;

#[cfg(target_arch = "x86_64")]
impl Tile for Avx2Tile {
    /// By hand: the compiler does not find the pairwise multiply-add (`vpmaddwd`) in the plain loop, which is
    /// several times slower.
    #[allow(clippy::cast_ptr_alignment, reason = "the loads and stores are unaligned ones")]
    #[inline(always)]
    fn sums<const R: usize>(lines: &[&[u32]; R], panel: &[[u32; PANEL]]) -> [[i32; PANEL]; R] {
        use std::arch::x86_64::{
            __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_set1_epi32,
            _mm256_setzero_si256, _mm256_storeu_si256,
        };
        let lines: [&[u32]; R] = std::array::from_fn(|r| &lines[r][..panel.len()]);
        let mut sums = [[0; PANEL]; R];
        // SAFETY: only `matmul_avx2` uses this type, so the CPU has avx2. Loads and stores are unaligned, of 8 values
        // each, at the start and the middle of arrays of 16.
        unsafe {
            let mut s = [[_mm256_setzero_si256(); 2]; R];
            for (p, b) in panel.iter().enumerate() {
                let b0 = _mm256_loadu_si256(b.as_ptr().cast::<__m256i>());
                let b1 = _mm256_loadu_si256(b.as_ptr().add(PANEL / 2).cast::<__m256i>());
                for r in 0..R {
                    let a = _mm256_set1_epi32(lines[r][p].cast_signed());
                    s[r][0] = _mm256_add_epi32(s[r][0], _mm256_madd_epi16(a, b0));
                    s[r][1] = _mm256_add_epi32(s[r][1], _mm256_madd_epi16(a, b1));
                }
            }
            for (sum, s) in sums.iter_mut().zip(s) {
                _mm256_storeu_si256(sum.as_mut_ptr().cast::<__m256i>(), s[0]);
                _mm256_storeu_si256(sum.as_mut_ptr().add(PANEL / 2).cast::<__m256i>(), s[1]);
            }
        }
        sums
    }
}

#[inline(always)]
fn matmul_body<T: Tile>(
    rows: usize,
    left: &[u32],
    right: &PackedFixed,
    start: Start<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let (n_pairs, columns) = (pairs(right.inner), right.columns);
    assert!(n_pairs > 0, "a packed matrix has rows");
    for ((panel, units), j0) in right
        .panels
        .chunks_exact(n_pairs)
        .zip(right.units.as_chunks::<PANEL>().0)
        .zip((0..columns).step_by(PANEL))
    {
        let n = PANEL.min(columns - j0);
        let mut first = [0.0; PANEL];
        if let Start::Bias(bias) = start {
            first[..n].copy_from_slice(&bias[j0..j0 + n]);
        }
        let mut i = 0;
        while i < rows {
            macro_rules! rows_together {
                ($r:literal) => {{
                    let lines: [&[u32]; $r] = std::array::from_fn(|r| &left[(i + r) * n_pairs..][..n_pairs]);
                    let sums = T::sums::<$r>(&lines, panel);
                    for (r, sum) in sums.iter().enumerate() {
                        let line = &mut out[(i + r) * out_stride + j0..][..n];
                        if matches!(start, Start::Output) {
                            first[..n].copy_from_slice(line);
                        }
                        let values: [f32; PANEL] =
                            std::array::from_fn(|j| sum[j] as f32 * units[j] + first[j]);
                        if let Some(line) = line.first_chunk_mut() {
                            *line = values;
                        } else {
                            line.copy_from_slice(&values[..n]);
                        }
                    }
                    i += $r;
                }};
            }
            match rows - i {
                1 => rows_together!(1),
                2 => rows_together!(2),
                3 => rows_together!(3),
                4 => rows_together!(4),
                5 => rows_together!(5),
                _ => rows_together!(6),
            }
        }
    }
    const { assert!(ROWS == 6) };
}
