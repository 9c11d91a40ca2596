//! Matrix products against the chain of multiply-adds that defines them, and against double precision.

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};

/// Half a unit in the last place of 1: the relative error of one rounding.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Roundings a term of the sum meets besides one per later addition: its product, the scale in the packed
/// matrix, and one to spare for second order.
const EXTRA_ROUNDINGS: usize = 3;
/// What stands where nothing may be written.
const GUARD: f32 = -12345.0;

/// Bound on the error of a sum of `inner` products whose absolute values sum to `magnitude`: any order of summation
/// keeps within it (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
fn bound(inner: usize, magnitude: f64) -> f64 {
    (inner + EXTRA_ROUNDINGS) as f64 * UNIT * magnitude
}

/// Uniform values in [-1, 1): xorshift64*.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// `rows` rows of `width` values, `stride` apart; NaN between them, where no kernel may read.
    fn matrix(&mut self, rows: usize, width: usize, stride: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows * stride];
        for row in out.chunks_exact_mut(stride) {
            row[..width].fill_with(|| self.next());
        }
        out
    }
}

/// What a product must give: the exact value with its bound, and the chain in order of the inner index, with
/// products rounded and not.
struct Expected {
    exact: Vec<f64>,
    magnitude: Vec<f64>,
    rounded: Vec<f32>,
    fused: Vec<f32>,
}

impl Expected {
    /// `start[i, j] + Σ_p left(i, p) · right[p][j]`; `right` also in double precision, before its scale was
    /// rounded.
    fn new(
        (rows, inner, columns): (usize, usize, usize),
        left: impl Fn(usize, usize) -> f32,
        right: &[f32],
        right_exact: &[f64],
        start: &[f32],
    ) -> Self {
        let mut e = Self {
            exact: start.iter().map(|&x| f64::from(x)).collect(),
            magnitude: start.iter().map(|&x| f64::from(x).abs()).collect(),
            rounded: start.to_vec(),
            fused: start.to_vec(),
        };
        for i in 0..rows {
            let of_row = i * columns..(i + 1) * columns;
            let exact = &mut e.exact[of_row.clone()];
            let magnitude = &mut e.magnitude[of_row.clone()];
            let rounded = &mut e.rounded[of_row.clone()];
            let fused = &mut e.fused[of_row];
            for p in 0..inner {
                let a = left(i, p);
                for j in 0..columns {
                    let product = f64::from(a) * right_exact[p * columns + j];
                    let b = right[p * columns + j];
                    exact[j] += product;
                    magnitude[j] += product.abs();
                    rounded[j] += a * b;
                    fused[j] = a.mul_add(b, fused[j]);
                }
            }
        }
        e
    }

    /// Checks `rows × columns` values with rows `stride` apart.
    fn check(&self, what: &str, isa: IsaLevel, inner: usize, columns: usize, stride: usize, out: &[f32]) {
        let chain = if isa.fuses() { &self.fused } else { &self.rounded };
        for (index, &chain) in chain.iter().enumerate() {
            let (i, j) = (index / columns, index % columns);
            let actual = out[i * stride + j];
            let bound = bound(inner, self.magnitude[index]);
            let error = (f64::from(actual) - self.exact[index]).abs();
            assert!(
                error <= bound,
                "{what} at {isa:?}: value ({i}, {j}) is {actual}, expected {}, error {error:e}, bound {bound:e}",
                self.exact[index]
            );
            assert!(
                actual.to_bits() == chain.to_bits(),
                "{what} at {isa:?}: value ({i}, {j}) is {actual:e}, its chain of multiply-adds gives {chain:e}"
            );
        }
    }
}

/// Fails unless everything but the first `columns` values of the first `rows` rows is the guard.
fn assert_guards(what: &str, rows: usize, columns: usize, stride: usize, out: &[f32]) {
    for (i, &x) in out.iter().enumerate() {
        let inside = i / stride < rows && i % stride < columns;
        assert!(inside || x == GUARD, "{what}: {x} was written at {i}, outside {rows}×{columns}");
    }
}

#[test]
fn matmul_is_its_chain_at_all_sizes_around_the_blocking() {
    const ROWS: [usize; 20] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 263, 264, 265, 529];
    const INNER: [usize; 9] = [1, 2, 15, 16, 17, 255, 256, 257, 513];
    const COLUMNS: [usize; 7] = [1, 15, 16, 17, 33, 64, 193];
    let mut random = Uniform(42);
    let (mut n_cases, mut n_runs, mut n_starts) = (0, 0, [0; 3]);
    for (x, rows) in ROWS.into_iter().enumerate() {
        for (y, inner) in INNER.into_iter().enumerate() {
            for (z, columns) in COLUMNS.into_iter().enumerate() {
                // A third of all combinations; every pair of sizes is in it.
                if !(x + y + z).is_multiple_of(3) {
                    continue;
                }
                let scale = [1.0, 30.0, 0.37][n_cases / 3 % 3];
                let left_stride = inner + [0, 3][n_cases % 2];
                let out_stride = columns + [0, 5][n_cases / 2 % 2];
                let left = random.matrix(rows, inner, left_stride);
                // Row-major or column-major source, with a gap.
                let row_major = n_cases % 4 < 2;
                let (source, row_stride, column_stride) = if row_major {
                    (random.matrix(inner, columns, columns + 2), columns + 2, 1)
                } else {
                    (random.matrix(columns, inner, inner + 1), 1, inner + 1)
                };
                let mut packed = Packed::default();
                // Packing over other content: nothing of it may remain.
                packed.pack(3, 40, &[1e30; 120], 40, 1, 1.0);
                packed.pack(inner, columns, &source, row_stride, column_stride, scale);
                assert_eq!((packed.inner(), packed.columns()), (inner, columns));
                let at = |p: usize, j: usize| source[p * row_stride + j * column_stride];
                let indices = || (0..inner).flat_map(|p| (0..columns).map(move |j| (p, j)));
                let right: Vec<f32> = indices().map(|(p, j)| at(p, j) * scale).collect();
                let right_exact: Vec<f64> =
                    indices().map(|(p, j)| f64::from(at(p, j)) * f64::from(scale)).collect();

                let bias: Vec<f32> = (0..columns).map(|_| random.next() * 4.0).collect();
                let before = random.matrix(rows, columns, columns);
                let which = n_cases % 3;
                let (start, values) = match which {
                    0 => (Start::Zero, vec![0.0; rows * columns]),
                    1 => (Start::Bias(&bias), bias.repeat(rows)),
                    _ => (Start::Output, before.clone()),
                };
                let e = Expected::new(
                    (rows, inner, columns),
                    |i, p| left[i * left_stride + p],
                    &right,
                    &right_exact,
                    &values,
                );
                // What is in the output matters only to `Start::Output`.
                let mut blank = vec![GUARD; (rows + 2) * out_stride];
                for i in 0..rows {
                    let row = &mut blank[i * out_stride..][..columns];
                    row.fill(f32::NAN);
                    if matches!(start, Start::Output) {
                        row.copy_from_slice(&before[i * columns..][..columns]);
                    }
                }
                let what = format!("matmul {rows}×{inner}×{columns}, start {which}, scale {scale}");
                for isa in IsaLevel::available() {
                    let mut out = blank.clone();
                    matmul(isa, rows, &left, left_stride, &packed, start, &mut out, out_stride);
                    e.check(&what, isa, inner, columns, out_stride, &out);
                    assert_guards(&what, rows, columns, out_stride, &out);
                    // In two calls, cut anywhere: the same bits.
                    let first = rows / 3;
                    let mut parts = blank.clone();
                    let (upper, lower) = parts.split_at_mut(first * out_stride);
                    matmul(isa, first, &left, left_stride, &packed, start, upper, out_stride);
                    let below = &left[first * left_stride..];
                    matmul(isa, rows - first, below, left_stride, &packed, start, lower, out_stride);
                    assert!(parts == out, "{what} at {isa:?}: the bits depend on the cut at row {first}");
                    n_runs += 1;
                }
                n_cases += 1;
                n_starts[which] += 1;
            }
        }
    }
    assert_eq!((n_cases, n_starts), (420, [140; 3]));
    assert_eq!(n_runs, 420 * IsaLevel::available().len());
}

#[test]
fn matmul_transposed_is_its_chain_at_all_sizes_around_the_blocking() {
    const ROWS: [usize; 8] = [0, 1, 2, 15, 255, 256, 257, 513];
    const LEFT: [usize; 8] = [1, 5, 6, 7, 12, 13, 19, 33];
    const RIGHT: [usize; 7] = [1, 15, 16, 17, 33, 64, 193];
    let mut random = Uniform(7);
    let mut scratch = TransposeScratch::default();
    let (mut n_cases, mut n_runs) = (0, 0);
    for rows in ROWS {
        for n_left in LEFT {
            for n_right in RIGHT {
                let left_stride = n_left + [0, 3][n_cases % 2];
                let right_stride = n_right + [0, 5][n_cases / 2 % 2];
                let left = random.matrix(rows, n_left, left_stride);
                let right = random.matrix(rows, n_right, right_stride);
                let start = random.matrix(n_left, n_right, n_right);
                let dense: Vec<f32> =
                    (0..rows).flat_map(|r| &right[r * right_stride..][..n_right]).copied().collect();
                let exact: Vec<f64> = dense.iter().map(|&x| f64::from(x)).collect();
                let left_at = |i: usize, r: usize| left[r * left_stride + i];
                let e = Expected::new((n_left, rows, n_right), left_at, &dense, &exact, &start);
                let what = format!("matmul_transposed of {rows} rows, {n_left}×{n_right}");
                for isa in IsaLevel::available() {
                    let mut run = |from: usize, rows: usize, out: &mut [f32]| {
                        let left = &left[from * left_stride..];
                        let right = &right[from * right_stride..];
                        matmul_transposed(
                            isa,
                            rows,
                            left,
                            left_stride,
                            n_left,
                            right,
                            right_stride,
                            n_right,
                            out,
                            &mut scratch,
                        );
                    };
                    let mut out = start.clone();
                    out.extend([GUARD; 40]);
                    run(0, rows, &mut out);
                    e.check(&what, isa, rows, n_right, n_right, &out);
                    assert_guards(&what, n_left, n_right, n_right, &out);
                    // Rows in two calls: the chain goes on where it was.
                    let mut parts = start.clone();
                    run(0, rows / 3, &mut parts);
                    run(rows / 3, rows - rows / 3, &mut parts);
                    assert!(parts == out[..parts.len()], "{what} at {isa:?}: the bits depend on the cut");
                    n_runs += 1;
                }
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 8 * 8 * 7);
    assert_eq!(n_runs, n_cases * IsaLevel::available().len());
}

/// Zero times NaN is NaN: no shortcut may hide one, and none may spread to other rows or columns.
#[test]
fn nan_reaches_its_row_and_column_only() {
    let (rows, inner, columns) = (13, 300, 33);
    let mut random = Uniform(3);
    let mut n_checked = 0;
    for isa in IsaLevel::available() {
        let mut left = random.matrix(rows, inner, inner);
        let mut source = random.matrix(inner, columns, columns);
        left[7 * inner + 299] = f32::NAN;
        source[columns + 20] = f32::NAN;
        left[inner + 1] = 0.0;
        let mut packed = Packed::default();
        packed.pack(inner, columns, &source, columns, 1, 1.0);
        let mut out = vec![0.0; rows * columns];
        matmul(isa, rows, &left, inner, &packed, Start::Zero, &mut out, columns);
        for (index, x) in out.iter().enumerate() {
            let (i, j) = (index / columns, index % columns);
            assert_eq!(x.is_nan(), i == 7 || j == 20, "{isa:?}: value ({i}, {j}) is {x}");
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, rows * columns * IsaLevel::available().len());
}

#[test]
#[should_panic(expected = "range end index")]
fn a_left_side_that_is_too_short_is_refused() {
    let mut packed = Packed::default();
    packed.pack(4, 4, &[1.0; 16], 4, 1, 1.0);
    matmul(IsaLevel::Scalar, 2, &[1.0; 7], 4, &packed, Start::Zero, &mut [0.0; 8], 4);
}

#[test]
#[should_panic(expected = "range end index")]
fn an_output_that_is_too_short_is_refused() {
    let mut packed = Packed::default();
    packed.pack(4, 4, &[1.0; 16], 4, 1, 1.0);
    matmul(IsaLevel::Scalar, 2, &[1.0; 8], 4, &packed, Start::Zero, &mut [0.0; 7], 4);
}
