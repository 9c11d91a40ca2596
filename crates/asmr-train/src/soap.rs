//! SOAP: Adam in the eigenbasis of Shampoo's preconditioner (Vyas et al., 2024, arXiv 2409.11321).
//!
//! Deep activation-sharing networks sit at the edge of stability under Adam: the same rate that suits four levels
//! makes six crawl or diverge. The gradient of a sine layer has strongly correlated rows and columns; rotated into
//! the eigenbasis of its two covariances, Adam's per-weight scaling means something, and depth trains as steadily
//! as it evaluates cheaply.
//!
//! For a gradient G (m × n) two running covariances are kept, `L ← L + G·Gᵀ` and `R ← R + Gᵀ·G`, each with its
//! eigenbasis Q, refreshed now and then by one step of subspace iteration (`Q ← orth(L·Q)`). Adam's moments live in
//! the rotated space `Q_Lᵀ·G·Q_R`; its step is rotated back.

use std::io;

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::optim::{AdamStep, adam};
use asmr_kernels::orthogonal::orthonormalise;

use crate::checkpoint::Archive;

/// Steps between two updates of the covariances: their products are a third of a step's, and every fourth gradient
/// fits as well as all of them (results/0.1.0/optimiser-study.tsv).
const COVARIANCE_STEPS: u32 = 4;
/// Steps between two refreshes of the bases.
const REFRESH_STEPS: u32 = 20;
/// The first refreshes come at these steps: the bases start as the identity.
const EARLY_REFRESHES: [u32; 5] = [1, 2, 4, 7, 12];

/// Optimiser state of one matrix of weights.
#[derive(Clone, Debug)]
pub struct Soap {
    rows: usize,
    columns: usize,
    left: Side,
    right: Side,
    first: Vec<f32>,
    second: Vec<f32>,
    scratch: Scratch,
}

/// One side's covariance and basis.
#[derive(Clone, Debug)]
struct Side {
    n: usize,
    covariance: Vec<f32>,
    /// Basis vectors as columns, stored contiguously: vector j is `basis[j·n..]`, so this is Qᵀ row-major.
    basis: Vec<f32>,
}

/// Memory of products, kept from one to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    packed: Packed,
    transpose: TransposeScratch,
    a: Vec<f32>,
    b: Vec<f32>,
    update: Vec<f32>,
    householder: Vec<f32>,
}

impl Side {
    fn new(n: usize) -> Self {
        let mut basis = vec![0.0; n * n];
        for j in 0..n {
            basis[j * n + j] = 1.0;
        }
        Self { n, covariance: vec![0.0; n * n], basis }
    }

    /// `basis ← orth(covariance · basis)`.
    fn refresh(&mut self, isa: IsaLevel, scratch: &mut Scratch) {
        let n = self.n;
        // The covariance is symmetric: (C·Q)ᵀ = Qᵀ·C.
        scratch.packed.pack(n, n, &self.covariance, n, 1, 1.0);
        scratch.a.resize(n * n, 0.0);
        matmul(isa, n, &self.basis, n, &scratch.packed, Start::Zero, &mut scratch.a, n);
        // Gradients are tiny; squared twice they would leave single precision. Only directions matter.
        let largest = scratch.a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        if largest > 0.0 && largest.is_finite() {
            for (q, x) in self.basis.iter_mut().zip(&scratch.a) {
                *q = x / largest;
            }
            orthonormalise(isa, n, &mut self.basis, &mut scratch.householder);
        }
    }
}

impl Soap {
    /// A fresh state for a `rows × columns` matrix.
    #[must_use]
    pub fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            left: Side::new(rows),
            right: Side::new(columns),
            first: vec![0.0; rows * columns],
            second: vec![0.0; rows * columns],
            scratch: Scratch::default(),
        }
    }

    /// Writes or reads the moments, covariances and bases.
    pub(crate) fn archive(&mut self, archive: &mut Archive<'_>) -> io::Result<()> {
        for side in [&mut self.left, &mut self.right] {
            archive.f32s(&mut side.covariance)?;
            archive.f32s(&mut side.basis)?;
        }
        archive.f32s(&mut self.first)?;
        archive.f32s(&mut self.second)
    }

    /// One update in place. `step` counts from 1; `covariance_decay` is the covariances' own decay a step.
    ///
    /// # Panics
    /// When `gradient` or `weights` is not rows × columns long.
    pub fn update(
        &mut self,
        isa: IsaLevel,
        step: u32,
        adam_step: AdamStep,
        covariance_decay: f32,
        gradient: &[f32],
        weights: &mut [f32],
    ) {
        let (m, n) = (self.rows, self.columns);
        assert!(gradient.len() == m * n && weights.len() == m * n, "one gradient per weight");
        if step == 1 || step.is_multiple_of(COVARIANCE_STEPS) {
            let keep = if step == 1 { 0.0 } else { covariance_decay.powi(COVARIANCE_STEPS as i32) };
            self.add_covariances(isa, keep, gradient);
        }
        if step.is_multiple_of(REFRESH_STEPS) || EARLY_REFRESHES.contains(&step) {
            // The first moment turns with the bases; the second stays, as in the paper.
            let mut moment = std::mem::take(&mut self.first);
            self.rotate_back(isa, &mut moment);
            self.left.refresh(isa, &mut self.scratch);
            self.right.refresh(isa, &mut self.scratch);
            self.rotate(isa, &mut moment);
            self.first = moment;
        }
        let mut rotated = std::mem::take(&mut self.scratch.update);
        rotated.clear();
        rotated.extend_from_slice(gradient);
        self.rotate(isa, &mut rotated);
        // Adam on zeros gives the negated step in the rotated space.
        let mut delta = vec![0.0; m * n];
        adam(isa, adam_step, &rotated, &mut self.first, &mut self.second, &mut delta);
        self.rotate_back(isa, &mut delta);
        for (w, d) in weights.iter_mut().zip(&delta) {
            *w += d;
        }
        self.scratch.update = rotated;
    }

    /// `L ← keep·L + (1 − keep)·G·Gᵀ`, `R ← keep·R + (1 − keep)·Gᵀ·G`
    fn add_covariances(&mut self, isa: IsaLevel, keep: f32, gradient: &[f32]) {
        // The square root on both factors makes a running mean.
        let share = (1.0 - keep).sqrt();
        let mut scaled = std::mem::take(&mut self.scratch.b);
        scaled.clear();
        scaled.extend(gradient.iter().map(|g| g * share));
        for side in [&mut self.left, &mut self.right] {
            scale(&mut side.covariance, keep);
        }
        let (left, right) = (&mut self.left.covariance, &mut self.right.covariance);
        add_products(isa, (self.rows, self.columns), &scaled, left, right, &mut self.scratch);
        self.scratch.b = scaled;
    }

    /// `x ← Q_Lᵀ · x · Q_R`
    fn rotate(&mut self, isa: IsaLevel, x: &mut [f32]) {
        let (m, n, s) = (self.rows, self.columns, &mut self.scratch);
        s.packed.pack(m, n, x, n, 1, 1.0);
        s.a.resize(m * n, 0.0);
        matmul(isa, m, &self.left.basis, m, &s.packed, Start::Zero, &mut s.a, n);
        s.packed.pack(n, n, &self.right.basis, 1, n, 1.0);
        matmul(isa, m, &s.a[..m * n], n, &s.packed, Start::Zero, x, n);
    }

    /// `x ← Q_L · x · Q_Rᵀ`
    fn rotate_back(&mut self, isa: IsaLevel, x: &mut [f32]) {
        let (m, n, s) = (self.rows, self.columns, &mut self.scratch);
        s.a.clear();
        s.a.resize(m * n, 0.0);
        matmul_transposed(isa, m, &self.left.basis, m, m, x, n, n, &mut s.a, &mut s.transpose);
        s.packed.pack(n, n, &self.right.basis, n, 1, 1.0);
        matmul(isa, m, &s.a, n, &s.packed, Start::Zero, x, n);
    }
}

/// `left += x·xᵀ`, `right += xᵀ·x` for a matrix `x` of so many rows and columns.
pub(crate) fn add_products(
    isa: IsaLevel,
    (m, n): (usize, usize),
    x: &[f32],
    left: &mut [f32],
    right: &mut [f32],
    scratch: &mut Scratch,
) {
    matmul_transposed(isa, m, x, n, n, x, n, n, right, &mut scratch.transpose);
    scratch.packed.pack(n, m, x, 1, n, 1.0);
    matmul(isa, m, x, n, &scratch.packed, Start::Output, left, m);
}

fn scale(values: &mut [f32], factor: f32) {
    for v in values {
        *v *= factor;
    }
}
