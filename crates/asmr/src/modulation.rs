//! Modulators: the phase shift that each digit tuple of a level adds, and its gradient.
//!
//! All functions work on one level's whole table at once: K digit tuples × width d. Phases are formed in double
//! precision, because a linear modulator multiplies by `omega_0²` (900) and its phases exceed 1,200 rad, where
//! single precision has steps of 1e-4 rad.

use crate::network::{Layout, MODULATOR_WIDTH, Modulator, NetworkConfig};

/// Whether the phases of a level's digit tuples lie mirrored about their middle: tuple K-1-k (all digits reversed)
/// has minus the phases of tuple k. A linear modulator's do, and the plan uses it (method, section 3).
#[must_use]
pub fn is_mirrored(modulator: Modulator) -> bool {
    modulator == Modulator::Linear
}

/// The coordinate from which a mirrored level's phases are counted: the middle of its digits.
fn middle_coordinate(config: &NetworkConfig, axis: usize, level: usize) -> f64 {
    let partition = &config.partition;
    partition.coordinate(axis, level, partition.base(axis, level) - 1) / 2.0
}

/// Phases (rad) at the middle of the digits of `level`, which every child has besides those of [`phases`]: `width`
/// values of a mirrored modulator, none of another.
///
/// # Panics
/// When `params` has not the length that the configuration needs.
#[must_use]
pub fn middle_phases(
    config: &NetworkConfig,
    layout: &Layout,
    params: &[f32],
    level: usize,
) -> Option<Vec<f64>> {
    let axes = config.partition.n_axes();
    let square = f64::from(config.omega_0) * f64::from(config.omega_0);
    is_mirrored(config.modulator).then(|| {
        let middle: Vec<f64> = (0..axes).map(|a| square * middle_coordinate(config, a, level)).collect();
        params[layout.modulators[level][0].clone()].chunks_exact(axes).map(|row| dot(row, &middle)).collect()
    })
}

/// Phases `m` (rad) of all digit tuples of `level` (1 to L-1), K rows of `width`: counted from [`middle_phases`] where
/// the modulator is mirrored.
///
/// # Panics
/// When `params` has not the length that the configuration needs.
#[must_use]
pub fn phases(config: &NetworkConfig, layout: &Layout, params: &[f32], level: usize) -> Vec<f64> {
    let (d, partition) = (config.width, &config.partition);
    let omega_0 = f64::from(config.omega_0);
    let parts: Vec<&[f32]> = layout.modulators[level].iter().map(|r| &params[r.clone()]).collect();
    let n_tuples = partition.n_tuples(level);
    let mut out = vec![0.0; n_tuples * d];
    match config.modulator {
        Modulator::Linear => {
            // One column of M per axis, contiguous, so that the inner loop runs over neurons.
            let axes = partition.n_axes();
            let columns: Vec<Vec<f64>> = (0..axes)
                .map(|a| {
                    parts[0].chunks_exact(axes).map(|row| omega_0 * omega_0 * f64::from(row[a])).collect()
                })
                .collect();
            for (tuple, row) in out.chunks_exact_mut(d).enumerate() {
                let digits = partition.tuple_digits(level, tuple);
                for (axis, column) in columns.iter().enumerate() {
                    let x = partition.coordinate(axis, level, digits[axis])
                        - middle_coordinate(config, axis, level);
                    for (o, c) in row.iter_mut().zip(column) {
                        *o += x * c;
                    }
                }
            }
        }
        Modulator::Table => {
            for (tuple, row) in out.chunks_exact_mut(d).enumerate() {
                let digits = partition.tuple_digits(level, tuple);
                for (axis, table) in parts.iter().enumerate() {
                    for (o, &t) in row.iter_mut().zip(&table[digits[axis] * d..]) {
                        *o += omega_0 * f64::from(t);
                    }
                }
            }
        }
        Modulator::Nonlinear => {
            let siren = SmallSiren::new(&parts, omega_0);
            for (tuple, row) in out.chunks_exact_mut(d).enumerate() {
                let h2 = siren.hidden(&coordinates(config, level, tuple)).1;
                for (o, (weights, &bias)) in
                    row.iter_mut().zip(parts[4].chunks_exact(MODULATOR_WIDTH).zip(parts[5]))
                {
                    *o = omega_0 * (dot(weights, &h2) + f64::from(bias));
                }
            }
        }
    }
    out
}

/// Adds to `gradient` (flat, as the weights) what `d_phases` (∂loss/∂m, K × width) and `d_middle` (∂loss/∂
/// [`middle_phases`], used where there are any) mean for the modulator's tensors.
///
/// Of a mirrored modulator `d_phases` may hold the first half of the tuples only, each with its mirror image's share.
///
/// # Panics
/// When a slice has not the length that the configuration needs.
pub fn add_gradient(
    config: &NetworkConfig,
    layout: &Layout,
    params: &[f32],
    level: usize,
    d_phases: &[f32],
    d_middle: &[f32],
    gradient: &mut [f32],
) {
    let (d, partition) = (config.width, &config.partition);
    let omega_0 = f64::from(config.omega_0);
    let ranges = &layout.modulators[level];
    match config.modulator {
        Modulator::Linear => {
            let axes = partition.n_axes();
            let mut sums = vec![0.0f64; axes * d];
            for (axis, sum) in sums.chunks_exact_mut(d).enumerate() {
                let x = middle_coordinate(config, axis, level);
                for (s, &g) in sum.iter_mut().zip(d_middle) {
                    *s = x * f64::from(g);
                }
            }
            for (tuple, row) in d_phases.chunks_exact(d).enumerate() {
                let digits = partition.tuple_digits(level, tuple);
                for (axis, sum) in sums.chunks_exact_mut(d).enumerate() {
                    let x = partition.coordinate(axis, level, digits[axis])
                        - middle_coordinate(config, axis, level);
                    for (s, &g) in sum.iter_mut().zip(row) {
                        *s += x * f64::from(g);
                    }
                }
            }
            let out = &mut gradient[ranges[0].clone()];
            for (j, row) in out.chunks_exact_mut(axes).enumerate() {
                for (axis, o) in row.iter_mut().enumerate() {
                    *o += (omega_0 * omega_0 * sums[axis * d + j]) as f32;
                }
            }
        }
        Modulator::Table => {
            for (tuple, row) in d_phases.chunks_exact(d).enumerate() {
                let digits = partition.tuple_digits(level, tuple);
                for (axis, range) in ranges.iter().enumerate() {
                    let out = &mut gradient[range.clone()][digits[axis] * d..][..d];
                    for (o, &g) in out.iter_mut().zip(row) {
                        *o += config.omega_0 * g;
                    }
                }
            }
        }
        Modulator::Nonlinear => add_siren_gradient(config, layout, params, level, d_phases, gradient),
    }
}

/// Back-propagation through the nonlinear modulator: three linear layers with a sine after the first two.
fn add_siren_gradient(
    config: &NetworkConfig,
    layout: &Layout,
    params: &[f32],
    level: usize,
    d_phases: &[f32],
    gradient: &mut [f32],
) {
    const H: usize = MODULATOR_WIDTH;
    let omega_0 = f64::from(config.omega_0);
    let ranges = &layout.modulators[level];
    let parts: Vec<&[f32]> = ranges.iter().map(|r| &params[r.clone()]).collect();
    let siren = SmallSiren::new(&parts, omega_0);
    let mut sums: Vec<Vec<f64>> = parts.iter().map(|p| vec![0.0; p.len()]).collect();
    for (tuple, row) in d_phases.chunks_exact(config.width).enumerate() {
        let x = coordinates(config, level, tuple);
        let (h1, h2, slope1, slope2) = {
            let u1 = siren.first(&x);
            let h1 = u1.map(|u| (omega_0 * u).sin());
            let u2 = siren.second(&h1);
            let h2 = u2.map(|u| (omega_0 * u).sin());
            (h1, h2, u1.map(|u| omega_0 * (omega_0 * u).cos()), u2.map(|u| omega_0 * (omega_0 * u).cos()))
        };
        let mut dh2 = [0.0; H];
        for (j, &g) in row.iter().enumerate() {
            let g = omega_0 * f64::from(g);
            sums[5][j] += g;
            for i in 0..H {
                sums[4][j * H + i] += g * h2[i];
                dh2[i] += g * f64::from(parts[4][j * H + i]);
            }
        }
        let mut dh1 = [0.0; H];
        for j in 0..H {
            let g = dh2[j] * slope2[j];
            sums[3][j] += g;
            for i in 0..H {
                sums[2][j * H + i] += g * h1[i];
                dh1[i] += g * f64::from(parts[2][j * H + i]);
            }
        }
        for j in 0..H {
            let g = dh1[j] * slope1[j];
            sums[1][j] += g;
            for (i, x) in x.iter().enumerate() {
                sums[0][j * x_len(&parts) + i] += g * x;
            }
        }
    }
    for (range, sum) in ranges.iter().zip(&sums) {
        for (o, s) in gradient[range.clone()].iter_mut().zip(sum) {
            *o += *s as f32;
        }
    }
}

/// Inputs of the small SIREN: its first matrix has 32 rows.
fn x_len(parts: &[&[f32]]) -> usize {
    parts[0].len() / MODULATOR_WIDTH
}

/// A digit tuple's coordinates, one per axis.
fn coordinates(config: &NetworkConfig, level: usize, tuple: usize) -> Vec<f64> {
    let digits = config.partition.tuple_digits(level, tuple);
    (0..config.partition.n_axes()).map(|a| config.partition.coordinate(a, level, digits[a])).collect()
}

fn dot(weights: &[f32], x: &[f64]) -> f64 {
    weights.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum()
}

/// The two hidden layers of the nonlinear modulator.
struct SmallSiren<'a> {
    parts: &'a [&'a [f32]],
    omega_0: f64,
}

impl<'a> SmallSiren<'a> {
    fn new(parts: &'a [&'a [f32]], omega_0: f64) -> Self {
        Self { parts, omega_0 }
    }

    fn layer(&self, index: usize, x: &[f64]) -> [f64; MODULATOR_WIDTH] {
        let (weights, bias) = (self.parts[2 * index], self.parts[2 * index + 1]);
        std::array::from_fn(|j| dot(&weights[j * x.len()..][..x.len()], x) + f64::from(bias[j]))
    }

    fn first(&self, x: &[f64]) -> [f64; MODULATOR_WIDTH] {
        self.layer(0, x)
    }

    fn second(&self, h1: &[f64; MODULATOR_WIDTH]) -> [f64; MODULATOR_WIDTH] {
        self.layer(1, h1)
    }

    fn hidden(&self, x: &[f64]) -> ([f64; MODULATOR_WIDTH], [f64; MODULATOR_WIDTH]) {
        let h1 = self.first(x).map(|u| (self.omega_0 * u).sin());
        let h2 = self.second(&h1).map(|u| (self.omega_0 * u).sin());
        (h1, h2)
    }
}
