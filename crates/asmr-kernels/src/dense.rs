//! Matrix products, row-major, on right-hand sides packed beforehand.
//!
//! All products of the method have a small, reused right-hand side (weights, the last level's table P) and a
//! left-hand side that streams past (cells). So the right-hand side is packed once per network or per
//! optimiser step into panels of [`PANEL`] columns, and the left-hand side is read where it lies. Every output
//! value is one chain of multiply-adds in order of the inner index: blocking never changes a bit.

use crate::isa::{kernel, mul_add};

/// Columns of one packed panel: two AVX2 registers.
pub const PANEL: usize = 16;
/// Rows computed together: 6 × 2 accumulators, 2 panel registers and a broadcast fill 15 of 16 registers.
const ROWS: usize = 6;
/// Inner-index block: a panel of it (16 KiB) stays in the first-level cache while all rows pass.
const INNER_BLOCK: usize = 256;
/// Row block: its part of the left-hand side (at most 258 KiB) stays in the second-level cache, and a tile of 256
/// cells passes each panel once.
const ROW_BLOCK: usize = 258;

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
    pub fn matmul = matmul_body(
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
fn matmul_body<const FUSED: bool>(
    rows: usize,
    left: &[f32],
    left_stride: usize,
    right: &Packed,
    start: Start<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let (inner, columns) = (right.inner, right.columns);
    assert!(inner > 0, "a packed matrix has rows");
    for i0 in (0..rows).step_by(ROW_BLOCK) {
        let i1 = rows.min(i0 + ROW_BLOCK);
        for p0 in (0..inner).step_by(INNER_BLOCK) {
            let depth = INNER_BLOCK.min(inner - p0);
            for (panel, j0) in right.panels.chunks_exact(inner * PANEL).zip((0..columns).step_by(PANEL)) {
                let panel = &panel[p0 * PANEL..][..depth * PANEL];
                let n = PANEL.min(columns - j0);
                let mut first = [0.0; PANEL];
                if let Start::Bias(bias) = start {
                    first[..n].copy_from_slice(&bias[j0..j0 + n]);
                }
                let resume = p0 > 0 || matches!(start, Start::Output);
                let mut i = i0;
                while i < i1 {
                    macro_rules! rows_together {
                        ($r:literal) => {{
                            let lines: [&[f32]; $r] =
                                std::array::from_fn(|r| &left[(i + r) * left_stride + p0..][..depth]);
                            let mut sums = [first; $r];
                            if resume {
                                for (r, sum) in sums.iter_mut().enumerate() {
                                    sum[..n].copy_from_slice(&out[(i + r) * out_stride + j0..][..n]);
                                }
                            }
                            tile::<FUSED, $r>(&lines, panel, &mut sums);
                            for (r, sum) in sums.iter().enumerate() {
                                out[(i + r) * out_stride + j0..][..n].copy_from_slice(&sum[..n]);
                            }
                            i += $r;
                        }};
                    }
                    match i1 - i {
                        1 => rows_together!(1),
                        2 => rows_together!(2),
                        3 => rows_together!(3),
                        4 => rows_together!(4),
                        5 => rows_together!(5),
                        _ => rows_together!(6),
                    }
                }
            }
        }
    }
}

/// `sums[r][j] += Σ_p lines[r][p] · panel[p][j]`, all sums in registers.
#[allow(clippy::needless_range_loop, reason = "indices let the compiler keep all sums in registers")]
#[inline(always)]
fn tile<const FUSED: bool, const R: usize>(lines: &[&[f32]; R], panel: &[f32], sums: &mut [[f32; PANEL]; R]) {
    let depth = panel.len() / PANEL;
    let lines: [&[f32]; R] = std::array::from_fn(|r| &lines[r][..depth]);
    let mut s = *sums;
    for p in 0..depth {
        let b: &[f32; PANEL] = panel[p * PANEL..].first_chunk().expect("depth rows");
        for r in 0..R {
            let a = lines[r][p];
            for j in 0..PANEL {
                s[r][j] = mul_add::<FUSED>(a, b[j], s[r][j]);
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
    pub fn matmul_transposed = matmul_transposed_body(
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
fn matmul_transposed_body<const FUSED: bool>(
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
    for r0 in (0..rows).step_by(INNER_BLOCK) {
        let depth = INNER_BLOCK.min(rows - r0);
        // Both sides are walked down their columns: packed first, else a power-of-two stride would hit a
        // handful of cache sets.
        scratch.left.clear();
        scratch.left.resize(n_left.div_ceil(ROWS) * depth * ROWS, 0.0);
        for r in 0..depth {
            let row = &left[(r0 + r) * left_stride..][..n_left];
            for (b, from) in row.chunks(ROWS).enumerate() {
                scratch.left[(b * depth + r) * ROWS..][..from.len()].copy_from_slice(from);
            }
        }
        for j0 in (0..n_right).step_by(PANEL) {
            let n = PANEL.min(n_right - j0);
            scratch.right.clear();
            scratch.right.resize(depth * PANEL, 0.0);
            for (r, to) in scratch.right.chunks_exact_mut(PANEL).enumerate() {
                to[..n].copy_from_slice(&right[(r0 + r) * right_stride + j0..][..n]);
            }
            for (b, block) in scratch.left.chunks_exact(depth * ROWS).enumerate() {
                let m = ROWS.min(n_left - b * ROWS);
                let mut sums = [[0.0; PANEL]; ROWS];
                for (i, sum) in sums.iter_mut().enumerate().take(m) {
                    sum[..n].copy_from_slice(&out[(b * ROWS + i) * n_right + j0..][..n]);
                }
                outer_tile::<FUSED>(block, &scratch.right, &mut sums);
                for (i, sum) in sums.iter().enumerate().take(m) {
                    out[(b * ROWS + i) * n_right + j0..][..n].copy_from_slice(&sum[..n]);
                }
            }
        }
    }
}

/// `sums[i][j] += Σ_r left[r][i] · right[r][j]`, all sums in registers.
#[allow(clippy::needless_range_loop, reason = "as in `tile`")]
#[inline(always)]
fn outer_tile<const FUSED: bool>(left: &[f32], right: &[f32], sums: &mut [[f32; PANEL]; ROWS]) {
    let depth = left.len() / ROWS;
    let mut s = *sums;
    for r in 0..depth {
        let a: &[f32; ROWS] = left[r * ROWS..].first_chunk().expect("depth rows");
        let b: &[f32; PANEL] = right[r * PANEL..].first_chunk().expect("depth rows");
        for i in 0..ROWS {
            for j in 0..PANEL {
                s[i][j] = mul_add::<FUSED>(a[i], b[j], s[i][j]);
            }
        }
    }
    *sums = s;
}
