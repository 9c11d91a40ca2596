//! Rounding a matrix so that errors of its weights cancel each other.
//!
//! Errors Δ of a matrix' weights raise the squared error by `tr(Δᵀ·L·Δ·R)` if its curvature is the Kronecker product of two
//! factors, L of the outputs' gradients and R of the inputs (as in K-FAC, Martens and Grosse 2015, and Shampoo). With
//! `L = A·D·Aᵀ` and `R = B·E·Bᵀ` (A, B unit lower triangular, D, E diagonal) that is `Σ D_i E_j ((Aᵀ·Δ·B)_ij)²`. Weights are
//! rounded one by one from the last row and column to the first; an element of `Aᵀ·Δ·B` is that weight's error plus what is
//! known by then, so rounding can make it at most half a step. This is OPTQ (Frantar et al., 2023) with feedback on both
//! sides (as in YAQA, Tseng et al., 2025); in lattices, Babai's nearest plane. Plain rounding has `Σ L_ii R_jj Δ_ij²` instead, and
//! D, E are smaller than the diagonals.

use asmr::coding::TensorSteps;

/// Added to a factor's diagonal, as a part of its mean: factors are estimates, and weights are not to run after their noise.
const DAMPING: f64 = 0.01;

/// A symmetric positive factor as `lower · diagonal · lowerᵀ`.
#[derive(Clone, Debug)]
pub struct Factor {
    n: usize,
    /// Unit lower triangular, row-major.
    lower: Vec<f64>,
    /// Above 0.
    diagonal: Vec<f64>,
}

impl Factor {
    /// Of a row-major `n × n` matrix, positive semidefinite but for rounding, with 1 % of its mean diagonal added to the
    /// diagonal. A matrix of zeros is taken for a tiny multiple of the identity.
    ///
    /// # Panics
    /// When `matrix` is not n × n.
    #[must_use]
    pub fn new(n: usize, matrix: &[f32]) -> Self {
        assert_eq!(matrix.len(), n * n, "a square matrix");
        let mean = (0..n).map(|i| f64::from(matrix[i * n + i])).sum::<f64>() / n as f64;
        let added = (DAMPING * mean).max(f64::from(f32::MIN_POSITIVE));
        let (mut lower, mut diagonal) = (vec![0.0; n * n], vec![0.0; n]);
        // Golub and Van Loan, section 4.1.2, by rows: row i of lower · diagonal first, then divided.
        for i in 0..n {
            let (done, row) = lower.split_at_mut(i * n);
            let row = &mut row[..n];
            for j in 0..i {
                let above = &done[j * n..j * n + j];
                let known: f64 = row[..j].iter().zip(above).map(|(a, b)| a * b).sum();
                row[j] = f64::from(matrix[i * n + j]) - known;
            }
            let mut rest = f64::from(matrix[i * n + i]) + added;
            for (x, d) in row[..i].iter_mut().zip(&diagonal) {
                let scaled = *x / d;
                rest -= *x * scaled;
                *x = scaled;
            }
            row[i] = 1.0;
            // What the last row adds is at least what was added to the diagonal, but for rounding.
            diagonal[i] = rest.max(added);
        }
        Self { n, lower, diagonal }
    }

    /// What an error of each row or column alone adds, once those behind it have made up for it as far as they can.
    #[must_use]
    pub fn diagonal(&self) -> &[f64] {
        &self.diagonal
    }

    /// The unit lower triangular matrix, row-major.
    #[must_use]
    pub fn lower(&self) -> &[f64] {
        &self.lower
    }
}

/// Multiples of their steps such that no element of `Aᵀ · Δ · B` is above half its weight's step, Δ being their differences from
/// `weights` (row-major). A and B are the lower triangles of `left` and `right`.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn round_with_feedback(weights: &[f32], left: &Factor, right: &Factor, steps: &TensorSteps) -> Vec<f32> {
    let (m, n) = (left.n, right.n);
    assert!(weights.len() == m * n, "a weight for each row and column");
    let mut rounded = vec![0.0; m * n];
    // Δ · B.
    let mut errors = vec![0.0f64; m * n];
    for i in (0..m).rev() {
        let (row, below) = errors[i * n..].split_at_mut(n);
        // What rows below add to this row of Aᵀ · Δ · B.
        let mut known = vec![0.0; n];
        for (k, below) in below.chunks_exact(n).enumerate() {
            let a = left.lower[(i + 1 + k) * left.n + i];
            for (x, e) in known.iter_mut().zip(below) {
                *x += a * e;
            }
        }
        for j in (0..n).rev() {
            let (weight, step) = (f64::from(weights[i * n + j]), steps.step(i, j));
            let wanted = weight - known[j] - row[j];
            let value = step.weight(step.quantise(wanted));
            rounded[i * n + j] = value;
            let error = f64::from(value) - weight;
            for (x, b) in row[..j].iter_mut().zip(&right.lower[j * n..]) {
                *x += error * b;
            }
            row[j] += error;
        }
    }
    rounded
}
