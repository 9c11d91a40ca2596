//! Matrix products, row-major, on right-hand sides packed beforehand.
//!
//! All products of the method have a small, reused right-hand side (weights, the last level's table P) and a
//! left-hand side that streams past (cells). So the right-hand side is packed once per network or per
//! optimiser step into panels of [`PANEL`] columns, and the left-hand side is read where it lies. Every output
//! value is one chain of multiply-adds in order of the inner index: blocking never changes a bit.

use crate::isa::{kernel, mul_add};

/// Columns of one packed panel: two AVX2 registers, one of AVX-512.
pub const PANEL: usize = 16;

// A tile is the rows and panels computed together, all their sums in registers. Processors with wide registers start
// two multiply-adds a cycle, finish each after 4 and make two loads a cycle. So a tile needs 8 independent sums or
// more, and a step of the inner index should load no more often than it multiplies.

/// Rows of a tile: with one panel, 6 × 2 sums, 2 registers of the panel and a broadcast fill 15 of AVX2's 16
/// registers; 8 loads feed 12 products. Of NEON's 32 registers it takes 24, 4 and a broadcast.
#[allow(dead_code, reason = "not every architecture has a level that wants it")]
const ROWS: usize = 6;
/// Rows of a product's tile with AVX-512. A panel is one register there, so a tile of one panel would make a load per
/// product and one for the panel, at any height. Two panels side by side share the rows' broadcasts: 10 loads feed 16
/// products. 6 rows × 2 would also be free of waits for results and loads; with 8 the whole step is 31 instructions
/// (a compare and its jump are one) in the 8 cycles of its products, which is what processors of 4 a cycle can
/// decode, and tiles of 256 or 64 cells divide evenly. The two panels' block is 32 KiB: where that is the whole
/// first-level cache it streams from the second at 16 bytes a cycle, which that can give several times over.
#[allow(dead_code, reason = "not every architecture has a level that wants it")]
const ROWS_512: usize = 8;
/// Rows of a tile without wide registers and multiply-add, where 16 registers of 4 values hold 2 × 4 sums, a panel's
/// 4, a broadcast and a product. 6 rows spill: 2 measure a third faster on x86-64, two fifths under WebAssembly.
const ROWS_BASELINE: usize = 2;
/// Inner-index block: a panel of it (16 KiB) stays in the first-level cache while all rows pass.
const INNER_BLOCK: usize = 256;
/// Row block: its part of the left-hand side (at most 264 KiB) stays in the second-level cache, and a tile of 256
/// cells passes each panel once. A multiple of every level's `ROWS`.
const ROW_BLOCK: usize = 264;

/// A right-hand side (`inner × columns`) laid out for [`matmul`].
#[derive(Clone, Debug, Default)]
pub struct Packed {
    inner: usize,
    columns: usize,
    /// Panel after panel; within one, `inner` rows of `PANEL` values, zero-filled past the last column.
    panels: Vec<f32>,
}

impl Packed {
    /// Packs the matrix whose element (p, j) is `source[p * row_stride + j * column_stride] * scale`.
    ///
    /// # Panics
    /// When `source` is too short for the shape and strides.
    pub fn pack(
        &mut self,
        inner: usize,
        columns: usize,
        source: &[f32],
        row_stride: usize,
        column_stride: usize,
        scale: f32,
    ) {
        self.inner = inner;
        self.columns = columns;
        self.panels.clear();
        self.panels.resize(columns.div_ceil(PANEL) * inner * PANEL, 0.0);
        for (panel, j0) in
            self.panels.chunks_exact_mut((inner * PANEL).max(1)).zip((0..columns).step_by(PANEL))
        {
            let n = PANEL.min(columns - j0);
            if column_stride == 1 {
                for (p, row) in panel.chunks_exact_mut(PANEL).enumerate() {
                    let from = &source[p * row_stride + j0..][..n];
                    for (o, &x) in row.iter_mut().zip(from) {
                        *o = x * scale;
                    }
                }
            } else {
                for j in 0..n {
                    let from = &source[(j0 + j) * column_stride..];
                    for (p, row) in panel.chunks_exact_mut(PANEL).enumerate() {
                        row[j] = from[p * row_stride] * scale;
                    }
                }
            }
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

/// What a product adds to.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Nothing: the output is overwritten.
    Zero,
    /// One value per column, the same for all rows.
    Bias(&'a [f32]),
    /// The output's present content.
    Output,
}

kernel! {
    /// `out[i, j] = start + Σ_p left[i, p] · right[p, j]` for `rows` rows.
    ///
    /// `left` has rows `left_stride` apart and `right.inner()` wide; `out` has rows `out_stride` apart, of which
    /// the first `right.columns()` values are written.
    ///
    /// # Panics
    /// When a slice is too short for its shape, or `right` has no rows.
    pub fn matmul = matmul_body[ROWS, 1; avx512: ROWS_512, 2; baseline: ROWS_BASELINE, 1](
        rows: usize,
        left: &[f32],
        left_stride: usize,
        right: &Packed,
        start: Start<'_>,
        out: &mut [f32],
        out_stride: usize,
    )
}

#[allow(clippy::too_many_arguments, reason = "the kernel's own arguments")]
#[inline(always)]
fn matmul_body<const FUSED: bool, const R: usize, const P: usize>(
    rows: usize,
    left: &[f32],
    left_stride: usize,
    right: &Packed,
    start: Start<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    const { assert!(P <= 2 && ROW_BLOCK.is_multiple_of(R)) };
    let (inner, columns) = (right.inner, right.columns);
    assert!(inner > 0, "a packed matrix has rows");
    for i0 in (0..rows).step_by(ROW_BLOCK) {
        let i1 = rows.min(i0 + ROW_BLOCK);
        for p0 in (0..inner).step_by(INNER_BLOCK) {
            let depth = INNER_BLOCK.min(inner - p0);
            let resume = p0 > 0 || matches!(start, Start::Output);
            for j0 in (0..columns).step_by(P * PANEL) {
                let panels = &right.panels[(j0 * inner + p0 * PANEL)..];
                macro_rules! strip {
                    ($p:literal) => {{
                        let n = ($p * PANEL).min(columns - j0);
                        let mut first = [[0.0; PANEL]; $p];
                        if let Start::Bias(bias) = start {
                            first.as_flattened_mut()[..n].copy_from_slice(&bias[j0..j0 + n]);
                        }
                        let panels: [&[[f32; PANEL]]; $p] = std::array::from_fn(|q| {
                            panels[q * inner * PANEL..][..depth * PANEL].as_chunks().0
                        });
                        let strip = Strip { left, left_stride, p0, panels, first, resume, j0, n };
                        strip.run::<FUSED, R>(i0, i1, out, out_stride);
                    }};
                }
                // A last panel without a neighbour goes alone.
                if P == 2 && columns - j0 > PANEL {
                    strip!(2);
                } else {
                    strip!(1);
                }
            }
        }
    }
}

/// A block of the inner index of `P` panels side by side, and what it is multiplied by and starts with.
struct Strip<'a, const P: usize> {
    left: &'a [f32],
    left_stride: usize,
    /// First inner index.
    p0: usize,
    panels: [&'a [[f32; PANEL]]; P],
    /// Start of every row's sums, unless they resume from the output.
    first: [[f32; PANEL]; P],
    resume: bool,
    /// First column, and how many.
    j0: usize,
    n: usize,
}

impl<const P: usize> Strip<'_, P> {
    /// Rows `i0..i1`, in tiles of up to `R`.
    #[inline(always)]
    fn run<const FUSED: bool, const R: usize>(&self, i0: usize, i1: usize, out: &mut [f32], stride: usize) {
        const { assert!(R <= 8) };
        let mut i = i0;
        while i < i1 {
            macro_rules! rows_together {
                ($r:expr) => {{
                    self.tile::<FUSED, { $r }>(i, out, stride);
                    i += $r;
                }};
            }
            match i1 - i {
                n if n >= R => rows_together!(R),
                7 => rows_together!(7),
                6 => rows_together!(6),
                5 => rows_together!(5),
                4 => rows_together!(4),
                3 => rows_together!(3),
                2 => rows_together!(2),
                _ => rows_together!(1),
            }
        }
    }

    /// `R` rows from row `i` on.
    #[inline(always)]
    fn tile<const FUSED: bool, const R: usize>(&self, i: usize, out: &mut [f32], stride: usize) {
        let depth = self.panels[0].len();
        let mut lines: [&[f32]; R] = [&[]; R];
        for (r, line) in lines.iter_mut().enumerate() {
            *line = &self.left[(i + r) * self.left_stride + self.p0..][..depth];
        }
        let mut sums = [self.first; R];
        if self.resume {
            for (r, sum) in sums.iter_mut().enumerate() {
                load(&out[(i + r) * stride + self.j0..][..self.n], sum);
            }
        }
        tile::<FUSED, R, P>(&lines, &self.panels, &mut sums);
        for (r, sum) in sums.iter().enumerate() {
            store(sum, &mut out[(i + r) * stride + self.j0..][..self.n]);
        }
    }
}

/// Fills panels with a row's values, as many as there are. Whole panels have a known length: no call to copy them.
#[inline(always)]
fn load<const P: usize>(from: &[f32], to: &mut [[f32; PANEL]; P]) {
    if from.len() == P * PANEL {
        for (to, from) in to.iter_mut().zip(from.as_chunks().0) {
            *to = *from;
        }
    } else {
        to.as_flattened_mut()[..from.len()].copy_from_slice(from);
    }
}

/// The reverse of [`load`].
#[inline(always)]
fn store<const P: usize>(from: &[[f32; PANEL]; P], to: &mut [f32]) {
    if to.len() == P * PANEL {
        for (to, from) in to.as_chunks_mut().0.iter_mut().zip(from) {
            *to = *from;
        }
    } else {
        to.copy_from_slice(&from.as_flattened()[..to.len()]);
    }
}

/// `sums[r][q][j] += Σ_p lines[r][p] · panels[q][p][j]`, all sums in registers.
#[allow(clippy::needless_range_loop, reason = "indices let the compiler keep all sums in registers")]
#[inline(always)]
fn tile<const FUSED: bool, const R: usize, const P: usize>(
    lines: &[&[f32]; R],
    panels: &[&[[f32; PANEL]]; P],
    sums: &mut [[[f32; PANEL]; P]; R],
) {
    // With two panels the compiler would find each row's address from the one before, an instruction per row and
    // step that some processors cannot decode in time; it shall not know that rows are evenly spaced.
    let (lines, panels) = if P == 2 { std::hint::black_box((lines, panels)) } else { (lines, panels) };
    let depth = panels[0].len();
    let lines: [&[f32]; R] = std::array::from_fn(|r| &lines[r][..depth]);
    let panels: [&[[f32; PANEL]]; P] = std::array::from_fn(|q| &panels[q][..depth]);
    let mut s = *sums;
    for p in 0..depth {
        let b: [&[f32; PANEL]; P] = std::array::from_fn(|q| &panels[q][p]);
        for r in 0..R {
            let a = lines[r][p];
            for q in 0..P {
                for j in 0..PANEL {
                    s[r][q][j] = mul_add::<FUSED>(a, b[q][j], s[r][q][j]);
                }
            }
        }
    }
    *sums = s;
}

/// Scratch of [`matmul_transposed`]; reuse it between calls.
#[derive(Clone, Debug, Default)]
pub struct TransposeScratch {
    left: Vec<f32>,
    right: Vec<f32>,
}

kernel! {
    /// `out[i, j] += Σ_r left[r, i] · right[r, j]`: the weight gradient of `rows` cells.
    ///
    /// `left` is `rows × n_left` with rows `left_stride` apart, `right` is `rows × n_right` with rows
    /// `right_stride` apart, `out` is `n_left × n_right`, dense.
    ///
    /// # Panics
    /// When a slice is too short for its shape.
    pub fn matmul_transposed = matmul_transposed_body[ROWS, 1; avx512: ROWS, 2; baseline: ROWS_BASELINE, 1](
        rows: usize,
        left: &[f32],
        left_stride: usize,
        n_left: usize,
        right: &[f32],
        right_stride: usize,
        n_right: usize,
        out: &mut [f32],
        scratch: &mut TransposeScratch,
    )
}

#[allow(clippy::too_many_arguments, reason = "the kernel's own arguments")]
#[inline(always)]
fn matmul_transposed_body<const FUSED: bool, const R: usize, const P: usize>(
    rows: usize,
    left: &[f32],
    left_stride: usize,
    n_left: usize,
    right: &[f32],
    right_stride: usize,
    n_right: usize,
    out: &mut [f32],
    scratch: &mut TransposeScratch,
) {
    const { assert!(P <= 2) };
    for r0 in (0..rows).step_by(INNER_BLOCK) {
        let depth = INNER_BLOCK.min(rows - r0);
        // Both sides are walked down their columns: packed first, else a power-of-two stride would hit a
        // handful of cache sets.
        // What stands past the last column of either side gives sums that nobody reads.
        scratch.left.resize(n_left.div_ceil(R) * depth * R, 0.0);
        let (blocks, _) = scratch.left.as_chunks_mut::<R>();
        for r in 0..depth {
            let row = &left[(r0 + r) * left_stride..][..n_left];
            let (whole, rest) = row.as_chunks::<R>();
            for (b, from) in whole.iter().enumerate() {
                blocks[b * depth + r] = *from;
            }
            if !rest.is_empty() {
                blocks[whole.len() * depth + r][..rest.len()].copy_from_slice(rest);
            }
        }
        for j0 in (0..n_right).step_by(P * PANEL) {
            macro_rules! strip {
                ($p:literal) => {{
                    let n = ($p * PANEL).min(n_right - j0);
                    scratch.right.resize(depth * $p * PANEL, 0.0);
                    let (panels, _) = scratch.right.as_chunks_mut::<PANEL>();
                    let (rows, _) = panels.as_chunks_mut::<$p>();
                    for (r, to) in rows.iter_mut().enumerate() {
                        load(&right[(r0 + r) * right_stride + j0..][..n], to);
                    }
                    for (b, block) in scratch.left.chunks_exact(depth * R).enumerate() {
                        let m = R.min(n_left - b * R);
                        let mut sums = [[[0.0; PANEL]; $p]; R];
                        for (i, sum) in sums.iter_mut().enumerate().take(m) {
                            load(&out[(b * R + i) * n_right + j0..][..n], sum);
                        }
                        outer_tile::<FUSED, R, $p>(block, &scratch.right, &mut sums);
                        for (i, sum) in sums.iter().enumerate().take(m) {
                            store(sum, &mut out[(b * R + i) * n_right + j0..][..n]);
                        }
                    }
                }};
            }
            if P == 2 && n_right - j0 > PANEL {
                strip!(2);
            } else {
                strip!(1);
            }
        }
    }
}

/// `sums[i][q][j] += Σ_r left[r][i] · right[r][q][j]`, all sums in registers.
///
/// `R` is not 8, whose `left[r]` is a whole vector: the compiler would take that as the direction of its vectors, and
/// then the sums are too many.
#[allow(clippy::needless_range_loop, reason = "as in `tile`")]
#[inline(always)]
fn outer_tile<const FUSED: bool, const R: usize, const P: usize>(
    left: &[f32],
    right: &[f32],
    sums: &mut [[[f32; PANEL]; P]; R],
) {
    let left = left.as_chunks::<R>().0;
    let right = right.as_chunks::<PANEL>().0.as_chunks::<P>().0;
    let mut s = *sums;
    for (a, b) in left.iter().zip(right) {
        for i in 0..R {
            for q in 0..P {
                for j in 0..PANEL {
                    s[i][q][j] = mul_add::<FUSED>(a[i], b[q][j], s[i][q][j]);
                }
            }
        }
    }
    *sums = s;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every level's tile on whatever machine this is, compiled for its baseline: the sums are the same chains.
    #[test]
    #[allow(clippy::type_complexity, reason = "the kernels' own arguments")]
    fn tiles_do_not_change_a_bit() {
        let value = |i: usize| ((i * 7919) % 1009) as f32 / 500.0 - 1.0;
        let left: Vec<f32> = (0..300 * 300).map(value).collect();
        let right: Vec<f32> = (0..300 * 80).map(|i| value(i + 17)).collect();
        let mut n_cases = 0;
        for rows in (0..=17).chain([265]) {
            for columns in [1, 15, 16, 17, 31, 32, 33, 48, 64, 65] {
                for inner in [1, 7, 256, 257] {
                    let mut packed = Packed::default();
                    packed.pack(inner, columns, &right, columns, 1, 1.0);
                    let bias = &right[..columns];
                    let product = |body: fn(usize, &[f32], usize, &Packed, Start<'_>, &mut [f32], usize)| {
                        let mut out = vec![-1.0; rows * columns];
                        body(rows, &left, inner, &packed, Start::Bias(bias), &mut out, columns);
                        body(rows, &left, inner, &packed, Start::Output, &mut out, columns);
                        out
                    };
                    let expected = product(matmul_body::<false, ROWS, 1>);
                    assert_eq!(product(matmul_body::<false, ROWS_512, 2>), expected);
                    assert_eq!(product(matmul_body::<false, ROWS_BASELINE, 1>), expected);
                    n_cases += 1;
                }
                let mut scratch = TransposeScratch::default();
                let mut outer = |body: fn(
                    usize,
                    &[f32],
                    usize,
                    usize,
                    &[f32],
                    usize,
                    usize,
                    &mut [f32],
                    &mut TransposeScratch,
                )| {
                    let n_left = rows.min(17);
                    let mut out: Vec<f32> = (0..n_left * columns).map(value).collect();
                    body(rows, &left, 29, n_left, &right, columns, columns, &mut out, &mut scratch);
                    out
                };
                let expected = outer(matmul_transposed_body::<false, ROWS, 1>);
                assert_eq!(outer(matmul_transposed_body::<false, ROWS, 2>), expected);
                assert_eq!(outer(matmul_transposed_body::<false, ROWS_BASELINE, 1>), expected);
                n_cases += 1;
            }
        }
        assert_eq!(n_cases, 19 * 10 * 5);
    }
}
