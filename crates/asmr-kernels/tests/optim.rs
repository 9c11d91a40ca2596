//! Adam against its paper's formula, and orthonormal bases against their definition, in double precision.

use asmr_kernels::IsaLevel;
use asmr_kernels::optim::{AdamStep, adam};
use asmr_kernels::orthogonal::orthonormalise;

/// Half a unit in the last place of 1: the relative error of one rounding.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;
/// Roundings of one step's update besides those that the moments have gathered: the corrections (as `f32`), two
/// products, a root, a sum, a quotient and the rate's product, doubled because the moments may cancel.
const STEP_ROUNDINGS: f64 = 16.0;
/// Largest `|QᵀQ − I|`. A Householder basis is orthonormal to a small multiple of n·UNIT (Higham, section 19.3);
/// n = 128 gives 8e-6.
const ORTHONORMAL_TOLERANCE: f64 = 1e-5;
/// Largest value below the diagonal of `R = QᵀA`, relative to its column of A: the same n·UNIT.
const TRIANGULAR_TOLERANCE: f64 = 1e-5;

/// Uniform values in [-1, 1): xorshift64*.
struct Uniform(u64);

impl Uniform {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    fn vector(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// Algorithm 1 of Kingma and Ba (2015) in double precision, for one weight.
#[derive(Clone, Copy, Default)]
struct Exact {
    first: f64,
    second: f64,
    weight: f64,
    /// Bound on the weight's error in single precision so far.
    bound: f64,
    /// Bounds on the moments' errors.
    first_bound: f64,
    second_bound: f64,
}

impl Exact {
    fn step(&mut self, step: &AdamStep, t: i32, gradient: f32) {
        let (beta1, beta2) = (f64::from(step.beta1), f64::from(step.beta2));
        let g = f64::from(gradient) * f64::from(step.gradient_scale);
        self.first = beta1 * self.first + (1.0 - beta1) * g;
        self.second = beta2 * self.second + (1.0 - beta2) * g * g;
        let (first, second) = (self.first / (1.0 - beta1.powi(t)), self.second / (1.0 - beta2.powi(t)));
        let denominator = second.sqrt() + f64::from(step.epsilon);
        let update = f64::from(step.rate) * first / denominator;
        self.weight -= update;

        // Each moment keeps beta of its error and gains at most five roundings of its largest term.
        self.first_bound =
            beta1 * self.first_bound + 5.0 * UNIT * (self.first.abs() + (1.0 - beta1) * g.abs());
        self.second_bound = beta2 * self.second_bound + 5.0 * UNIT * self.second;
        let of_first = f64::from(step.rate) * self.first_bound
            / (1.0 - beta1.powi(t))
            / denominator.max(f64::MIN_POSITIVE);
        let of_second = update.abs() * self.second_bound / self.second.max(f64::MIN_POSITIVE);
        self.bound += of_first + of_second + STEP_ROUNDINGS * UNIT * update.abs() + UNIT * self.weight.abs();
    }
}

#[test]
fn adam_follows_its_formula_over_many_steps() {
    const STEPS: i32 = 60;
    let mut random = Uniform(42);
    let (mut n_cases, mut n_values) = (0, 0);
    for n in [1, 7, 8, 16, 67, 300] {
        for (rate, beta1, beta2, epsilon, gradient_scale) in [
            (1e-4, 0.9, 0.999, 1e-8, 1.0),
            (3e-3, 0.95, 0.95, 1e-8, 0.25),
            (1e-2, 0.0, 0.99, 1e-3, 1.0),
            (1e-3, 0.9, 0.999, 1e-8, 1e-6),
        ] {
            let start = random.vector(n);
            // Value 0 never has a gradient; value 1 only at first; the others differ in size by up to 1e12.
            let gradients: Vec<Vec<f32>> = (0..STEPS)
                .map(|t| {
                    (0..n)
                        .map(|i| {
                            let silent = (i == 0 && n > 1) || (i == 1 && t > 0);
                            let size = 10f32.powi(-(i as i32 % 13));
                            if silent { 0.0 } else { (random.next() + 0.5) * size }
                        })
                        .collect()
                })
                .collect();
            for isa in IsaLevel::available() {
                let mut exact: Vec<Exact> =
                    start.iter().map(|&w| Exact { weight: f64::from(w), ..Exact::default() }).collect();
                let (mut first, mut second, mut weights) = (vec![0.0; n], vec![0.0; n], start.clone());
                for (t, gradient) in (1..).zip(&gradients) {
                    let step = AdamStep {
                        rate,
                        beta1,
                        beta2,
                        epsilon,
                        correction1: (1.0 / (1.0 - f64::from(beta1).powi(t))) as f32,
                        correction2: (1.0 / (1.0 - f64::from(beta2).powi(t))) as f32,
                        gradient_scale,
                    };
                    adam(isa, step, gradient, &mut first, &mut second, &mut weights);
                    for (i, e) in exact.iter_mut().enumerate() {
                        e.step(&step, t, gradient[i]);
                        for (name, actual, expected, bound) in [
                            ("weight", weights[i], e.weight, e.bound),
                            // Squares of the smallest gradients leave the normal range of single precision.
                            ("first moment", first[i], e.first, e.first_bound + 1e-44),
                            ("second moment", second[i], e.second, e.second_bound + 1e-44),
                        ] {
                            let error = (f64::from(actual) - expected).abs();
                            assert!(
                                error <= bound,
                                "{isa:?}, n {n}, rate {rate}, step {t}: {name} {i} is {actual:e}, expected \
                                 {expected:e}, error {error:e}, bound {bound:e}"
                            );
                            n_values += 1;
                        }
                    }
                }
                if n > 1 {
                    assert_eq!(weights[0], start[0], "{isa:?}: a weight without gradient stays");
                }
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 6 * 4 * IsaLevel::available().len());
    assert_eq!(n_values, 3 * 60 * 4 * (1 + 7 + 8 + 16 + 67 + 300) * IsaLevel::available().len());
}

#[test]
#[should_panic(expected = "one moment and gradient per weight")]
fn adam_refuses_slices_of_different_lengths() {
    let step = AdamStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        correction1: 10.0,
        correction2: 1000.0,
        gradient_scale: 1.0,
    };
    adam(IsaLevel::Scalar, step, &[1.0; 3], &mut [0.0; 3], &mut [0.0; 2], &mut [0.0; 3]);
}

/// Column j of a matrix whose columns are contiguous, in double precision.
fn column(n: usize, matrix: &[f32], j: usize) -> impl Iterator<Item = f64> + '_ {
    matrix[j * n..(j + 1) * n].iter().map(|&x| f64::from(x))
}

fn dot(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> f64 {
    a.zip(b).map(|(a, b)| a * b).sum()
}

/// Q's columns are orthonormal, and `QᵀA` is upper triangular: the first k columns of Q span those of A, for each k.
fn assert_basis(what: &str, n: usize, a: &[f32], q: &[f32]) {
    for i in 0..n {
        for j in 0..=i {
            let expected = if i == j { 1.0 } else { 0.0 };
            let product = dot(column(n, q, i), column(n, q, j));
            assert!(
                (product - expected).abs() <= ORTHONORMAL_TOLERANCE,
                "{what}: columns {i} and {j} of Q have the product {product:e}, expected {expected}, tolerance \
                 {ORTHONORMAL_TOLERANCE:e}"
            );
        }
    }
    for j in 0..n {
        let norm = dot(column(n, a, j), column(n, a, j)).sqrt();
        for i in j + 1..n {
            let r = dot(column(n, q, i), column(n, a, j));
            let bound = TRIANGULAR_TOLERANCE * norm;
            assert!(r.abs() <= bound, "{what}: R({i}, {j}) is {r:e}, expected 0, bound {bound:e}");
        }
    }
}

fn basis_of(isa: IsaLevel, n: usize, a: &[f32]) -> Vec<f32> {
    const GUARD: f32 = -12345.0;
    let mut q = a.to_vec();
    q.extend([GUARD; 20]);
    let mut scratch = vec![f32::NAN; 3];
    orthonormalise(isa, n, &mut q, &mut scratch);
    assert!(q[n * n..].iter().all(|&x| x == GUARD), "{isa:?}, n {n}: written past the matrix");
    q.truncate(n * n);
    q
}

const SIZES: [usize; 11] = [1, 2, 3, 5, 15, 16, 17, 33, 64, 100, 128];

#[test]
fn bases_of_matrices_of_full_rank() {
    let mut random = Uniform(42);
    let mut n_cases = 0;
    for n in SIZES {
        let dense = random.vector(n * n);
        // A covariance times a basis, as the optimiser has it: columns that differ in size by 1e6.
        let graded: Vec<f32> =
            dense.iter().enumerate().map(|(i, x)| x * 10f32.powf(-6.0 * (i / n) as f32 / n as f32)).collect();
        let negative: Vec<f32> = (0..n * n).map(|i| if i % (n + 1) == 0 { -2.0 } else { 0.0 }).collect();
        let upper: Vec<f32> =
            dense.iter().enumerate().map(|(i, &x)| if i % n <= i / n { x + 2.0 } else { 0.0 }).collect();
        for isa in IsaLevel::available() {
            for (name, a) in
                [("dense", &dense), ("graded", &graded), ("negative diagonal", &negative), ("upper", &upper)]
            {
                assert_basis(&format!("{name} {n}×{n} at {isa:?}"), n, a, &basis_of(isa, n, a));
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 11 * 4 * IsaLevel::available().len());
}

#[test]
fn bases_of_deficient_matrices_are_completed() {
    let mut random = Uniform(7);
    let mut n_cases = 0;
    for n in SIZES {
        let dense = random.vector(n * n);
        let zero = vec![0.0; n * n];
        let one_column: Vec<f32> = (0..n * n).map(|i| if i < n { dense[i] } else { 0.0 }).collect();
        let last_column: Vec<f32> = (0..n * n).map(|i| if i < n * n - n { 0.0 } else { dense[i] }).collect();
        let equal_columns: Vec<f32> = (0..n * n).map(|i| dense[i % n]).collect();
        // Rank 2, as an outer product.
        let (u, v) = (random.vector(2 * n), random.vector(2 * n));
        let rank_two: Vec<f32> =
            (0..n * n).map(|i| u[i % n] * v[i / n] + u[n + i % n] * v[n + i / n]).collect();
        let some_zero: Vec<f32> =
            (0..n * n).map(|i| if (i / n).is_multiple_of(3) { 0.0 } else { dense[i] }).collect();
        let zero_rows: Vec<f32> =
            (0..n * n).map(|i| if (i % n).is_multiple_of(2) { 0.0 } else { dense[i] }).collect();
        for isa in IsaLevel::available() {
            for (name, a) in [
                ("zero", &zero),
                ("one column", &one_column),
                ("last column", &last_column),
                ("equal columns", &equal_columns),
                ("rank two", &rank_two),
                ("some zero columns", &some_zero),
                ("zero rows", &zero_rows),
            ] {
                assert_basis(&format!("{name} {n}×{n} at {isa:?}"), n, a, &basis_of(isa, n, a));
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 11 * 7 * IsaLevel::available().len());
}

/// A basis has no scale: matrices of any magnitude, and of columns whose magnitudes lie far apart, have one.
/// Covariances of small gradients are such matrices, and their squares leave single precision.
#[test]
fn bases_do_not_depend_on_scale() {
    let mut random = Uniform(11);
    let mut n_cases = 0;
    for n in SIZES {
        let dense = random.vector(n * n);
        let (u, v) = (random.vector(n), random.vector(n));
        for isa in IsaLevel::available() {
            for scale in [1e-35f32, 1e-30, 1e-25, 1e-21, 1e-19, 1e-12, 1e6, 1e15, 1e20, 1e30, 1e35] {
                let what = |name: &str| format!("{name} {n}×{n} times {scale:e} at {isa:?}");
                let whole: Vec<f32> = dense.iter().map(|x| x * scale).collect();
                assert_basis(&what("dense"), n, &whole, &basis_of(isa, n, &whole));
                // Rank one: what remains of the other columns is rounding noise.
                let outer: Vec<f32> = (0..n * n).map(|i| u[i % n] * v[i / n] * scale).collect();
                assert_basis(&what("outer product"), n, &outer, &basis_of(isa, n, &outer));
                // One direction far from the others: exact zeros beside it, so that no noise hides it.
                let diagonal: Vec<f32> = (0..n * n)
                    .map(|i| {
                        if i % (n + 1) > 0 {
                            0.0
                        } else if i == n * n / 2 {
                            1.0
                        } else {
                            scale
                        }
                    })
                    .collect();
                assert_basis(&what("diagonal"), n, &diagonal, &basis_of(isa, n, &diagonal));
                n_cases += 3;
            }
        }
    }
    assert_eq!(n_cases, 11 * 11 * 3 * IsaLevel::available().len());
}
