//! The definition: per-sample inference in double precision, layer by layer, nothing shared.
//!
//! Slow on purpose and simple on purpose. Every quicker path is tested against it, and finite differences of
//! its loss check every gradient.

use crate::network::{MODULATOR_WIDTH, Modulator, NetworkConfig};
use crate::partition::PerAxis;

/// Output of one sample, `channels` values, from double-precision weights.
///
/// # Panics
/// When `params` has not the length the configuration needs, or `position` lies outside the padded grid.
#[must_use]
pub fn evaluate(config: &NetworkConfig, params: &[f64], position: &PerAxis) -> Vec<f64> {
    let partition = &config.partition;
    let layout = config.layout();
    let omega_0 = f64::from(config.omega_0);
    let coordinates = |level: usize| -> Vec<f64> {
        (0..partition.n_axes())
            .map(|a| partition.coordinate(a, level, partition.digit(a, level, position[a])))
            .collect()
    };
    let mut z = coordinates(0);
    for i in 0..config.n_sine_layers() {
        let hidden =
            linear(&params[layout.layer_weights[i].clone()], &params[layout.layer_biases[i].clone()], &z);
        let level = i + 1;
        let parts: Vec<&[f64]> = layout.modulators[level].iter().map(|r| &params[r.clone()]).collect();
        let modulation: Vec<f64> = match config.modulator {
            Modulator::Linear => {
                let zero = vec![0.0; config.width];
                linear(parts[0], &zero, &coordinates(level)).iter().map(|m| omega_0 * omega_0 * m).collect()
            }
            Modulator::Nonlinear => {
                debug_assert_eq!(parts[1].len(), MODULATOR_WIDTH);
                let mut h = coordinates(level);
                for layer in 0..2 {
                    h = linear(parts[2 * layer], parts[2 * layer + 1], &h)
                        .iter()
                        .map(|u| (omega_0 * u).sin())
                        .collect();
                }
                linear(parts[4], parts[5], &h).iter().map(|m| omega_0 * m).collect()
            }
            Modulator::Table => {
                let mut sum = vec![0.0; config.width];
                for (axis, table) in parts.iter().enumerate() {
                    let digit = partition.digit(axis, level, position[axis]);
                    for (s, t) in sum.iter_mut().zip(&table[digit * config.width..]) {
                        *s += omega_0 * t;
                    }
                }
                sum
            }
        };
        z = hidden.iter().zip(&modulation).map(|(u, m)| (omega_0 * u + m).sin()).collect();
    }
    linear(&params[layout.output_weight.clone()], &params[layout.output_bias.clone()], &z)
}

/// `W x + b` with `weight` as `[out, in]`, row-major.
fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    weight
        .chunks_exact(x.len())
        .zip(bias)
        .map(|(row, b)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b)
        .collect()
}

/// All positions of the grid without padding, row-major.
pub fn positions(extents: &[usize]) -> impl Iterator<Item = PerAxis> + '_ {
    let n: usize = extents.iter().product();
    (0..n).map(move |flat| {
        let mut position = PerAxis::default();
        let mut rest = flat;
        for axis in (0..extents.len()).rev() {
            position[axis] = (rest % extents[axis]) as u64;
            rest /= extents[axis];
        }
        position
    })
}

/// Mean squared error over all real samples and channels; `target` is row-major, channel last.
#[must_use]
pub fn mse(config: &NetworkConfig, params: &[f64], target: &[f32]) -> f64 {
    let mut sum = 0.0;
    for (position, target) in positions(config.partition.extents()).zip(target.chunks_exact(config.channels))
    {
        for (y, &t) in evaluate(config, params, &position).iter().zip(target) {
            sum += (y - f64::from(t)).powi(2);
        }
    }
    sum / target.len() as f64
}
