//! Decoding to the same bits on every machine, for corrections ([`crate::residual`]).
//!
//! It is the definition (docs/METHOD.md) in double precision with every operation and its order fixed: sums begin with the bias, or
//! 0, and take their terms in order; products and sums are rounded one by one; the sine is [`sine`]. IEEE 754 arithmetic leaves
//! nothing open then. Features are computed once for each cell, which changes no bit of them; the last level's are a sine for each
//! neuron and sample. So this suits narrow networks, and costs a wide one several times what [`crate::inference`] does.

use std::ops::Range;

use crate::coding::{CodingError, zeros};
use crate::network::{Modulator, Network, NetworkConfig};
use crate::partition::Partition;
use crate::signal::SignalInfo;

/// 2π: the part of it with 33 bits, and the rest.
const TAU: [f64; 2] = [6.283_185_306_936_502_5, 2.430_840_202_602_477e-10];
/// Added and taken away, 1.5 · 2^52 rounds to a whole number.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Taylor coefficients of x³, x⁵, … x¹⁷ in the sine.
const SINE: [f64; 8] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 355_687_428_096_000.0,
];

/// The sine, to about 1e-10 for angles up to 1e5, by operations that are the same everywhere.
#[must_use]
#[inline]
pub fn sine(x: f64) -> f64 {
    let turns = (x * (1.0 / std::f64::consts::TAU) + ROUND) - ROUND;
    let x = (x - turns * TAU[0]) - turns * TAU[1];
    // sin x = sin(π - x): to the middle half turn.
    let x = if x > std::f64::consts::FRAC_PI_2 {
        std::f64::consts::PI - x
    } else if x < -std::f64::consts::FRAC_PI_2 {
        -std::f64::consts::PI - x
    } else {
        x
    };
    let square = x * x;
    let mut sum = SINE[7];
    for coefficient in SINE[..7].iter().rev() {
        sum = sum * square + coefficient;
    }
    x + x * square * sum
}

/// A network prepared for exact decoding.
#[derive(Debug)]
pub struct ExactDecoder<'a> {
    config: &'a NetworkConfig,
    layers: Vec<Linear>,
    output: Linear,
    /// Modulations by level, of every digit tuple; none of level 0.
    modulations: Vec<Vec<f64>>,
}

/// `W x + b`, with the weights of an input beside each other.
#[derive(Debug)]
struct Linear {
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Linear {
    /// From `[out, in]`, row-major; a bias of 0 where there is none.
    fn new(weights: &[f32], n_inputs: usize, bias: Option<&[f32]>) -> Self {
        let n_outputs = weights.len() / n_inputs;
        let mut transposed = Vec::with_capacity(weights.len());
        for k in 0..n_inputs {
            transposed.extend((0..n_outputs).map(|j| f64::from(weights[j * n_inputs + k])));
        }
        let bias =
            bias.map_or_else(|| vec![0.0; n_outputs], |bias| bias.iter().map(|&b| f64::from(b)).collect());
        Self { weights: transposed, bias }
    }

    fn apply(&self, x: &[f64], out: &mut [f64]) {
        out.copy_from_slice(&self.bias);
        for (row, &x) in self.weights.chunks_exact(out.len()).zip(x) {
            for (sum, &w) in out.iter_mut().zip(row) {
                *sum += w * x;
            }
        }
    }
}

impl<'a> ExactDecoder<'a> {
    /// Prepares a network.
    #[must_use]
    pub fn new(network: &'a Network) -> Self {
        let (config, params) = (network.config(), network.params());
        let (layout, width) = (config.layout(), config.width);
        let layers = (0..config.n_sine_layers()).map(|i| {
            let n_inputs = if i == 0 { config.partition.n_axes() } else { width };
            let bias = &params[layout.layer_biases[i].clone()];
            Linear::new(&params[layout.layer_weights[i].clone()], n_inputs, Some(bias))
        });
        let bias = &params[layout.output_bias.clone()];
        let output = Linear::new(&params[layout.output_weight.clone()], width, Some(bias));
        let mut modulations = vec![Vec::new()];
        for level in 1..config.partition.n_levels() {
            let parts: Vec<&[f32]> = layout.modulators[level].iter().map(|r| &params[r.clone()]).collect();
            modulations.push(modulations_of(config, level, &parts));
        }
        Self { config, layers: layers.collect(), output, modulations }
    }

    /// Whole numbers of some slices of the slowest axis, row-major, channel last, within their type's range.
    ///
    /// # Panics
    /// As [`Self::try_whole_numbers`], and when there is no memory for them.
    #[must_use]
    pub fn whole_numbers(&self, info: &SignalInfo, slices: Range<usize>) -> Vec<i64> {
        self.try_whole_numbers(info, slices).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`Self::whole_numbers`], where how many there are is a file's choice.
    ///
    /// # Errors
    /// [`CodingError::Memory`].
    ///
    /// # Panics
    /// When the signal has other extents or channels than the network, its values are floats, or the slices are none of its.
    pub fn try_whole_numbers(
        &self,
        info: &SignalInfo,
        slices: Range<usize>,
    ) -> Result<Vec<i64>, CodingError> {
        let Some((least, greatest)) = info.sample_type.whole_range() else { panic!("whole numbers") };
        self.decode(info, slices, |value| {
            (scaled(info, value).round_ties_even() as i64).clamp(least, greatest)
        })
    }

    /// Values of some slices of the slowest axis before they are rounded to the signal's type, row-major, channel last, within its
    /// value range; as the network gives them where there is none and the type is a float's (0 for NaN).
    ///
    /// # Panics
    /// As [`Self::try_values`], and when there is no memory for them.
    #[must_use]
    pub fn values(&self, info: &SignalInfo, slices: Range<usize>) -> Vec<f64> {
        self.try_values(info, slices).unwrap_or_else(|error| panic!("{error}"))
    }

    /// [`Self::values`], where how many there are is a file's choice.
    ///
    /// # Errors
    /// [`CodingError::Memory`].
    ///
    /// # Panics
    /// When the signal has other extents or channels than the network, or the slices are none of its.
    pub fn try_values(&self, info: &SignalInfo, slices: Range<usize>) -> Result<Vec<f64>, CodingError> {
        if info.value_range.is_none() && info.sample_type.is_float() {
            return self.decode(info, slices, |value| if value.is_nan() { 0.0 } else { value });
        }
        self.decode(info, slices, |value| scaled(info, value))
    }

    fn decode<T: Copy + Default + Send>(
        &self,
        info: &SignalInfo,
        slices: Range<usize>,
        stored: impl Fn(f64) -> T + Sync,
    ) -> Result<Vec<T>, CodingError> {
        let partition = &self.config.partition;
        assert!(info.extents == partition.extents() && info.channels == self.config.channels, "its signal");
        assert!(slices.start <= slices.end && slices.end <= info.extents[0], "its slices");
        let slice = info.slice_values();
        // Slices of one cell of the level before the last: on each level they are in one row of cells.
        let stride = partition.stride(0, partition.n_levels() - 2);
        let mut values: Vec<T> = zeros(slices.len() * slice)?;
        let mut parts = Vec::new();
        let (mut at, mut rest) = (slices.start, &mut values[..]);
        while at < slices.end {
            let next = ((at as u64 / stride + 1) * stride).min(slices.end as u64) as usize;
            let (part, after) = rest.split_at_mut((next - at) * slice);
            parts.push((at..next, part));
            (at, rest) = (next, after);
        }
        let decode = |(slices, out): (Range<usize>, &mut [T])| {
            self.row_of_cells(slices, &mut |i, v| out[i] = stored(v))
        };
        #[cfg(feature = "threads")]
        {
            use rayon::prelude::*;
            parts.into_par_iter().try_for_each(decode)?;
        }
        #[cfg(not(feature = "threads"))]
        parts.into_iter().try_for_each(decode)?;
        Ok(values)
    }

    /// Values of slices that lie in one cell of every level but the last along the slowest axis.
    fn row_of_cells(
        &self,
        slices: Range<usize>,
        take: &mut dyn FnMut(usize, f64),
    ) -> Result<(), CodingError> {
        let (partition, width, channels) = (&self.config.partition, self.config.width, self.config.channels);
        let (omega_0, last) = (f64::from(self.config.omega_0), partition.n_levels() - 1);
        let inner = partition.n_axes() - 1;
        // Cells of a level along the other axes.
        let extents =
            |level: usize| -> Vec<usize> { (1..=inner).map(|axis| cells(partition, axis, level)).collect() };
        // Inner phases of the level before, by cell.
        let mut phases: Vec<f64> = Vec::new();
        let mut before: Vec<usize> = Vec::new();
        for level in 0..=last {
            let here = extents(level);
            let rows = if level == last {
                slices.clone()
            } else {
                // A stride may be 2^32, which is 0 as a 32-bit number.
                let row = (slices.start as u64 / partition.stride(0, level)) as usize;
                row..row + 1
            };
            let (n, n_inputs) = (here.iter().product::<usize>(), if level == 0 { inner + 1 } else { width });
            let mut next: Vec<f64> = zeros(if level == last { 0 } else { n * width })?;
            let (mut z, mut y) = (vec![0.0; n_inputs], vec![0.0; channels]);
            let mut place = vec![0usize; inner + 1];
            for row in rows {
                for cell in 0..n {
                    let mut rest = cell;
                    for axis in (1..=inner).rev() {
                        place[axis] = rest % here[axis - 1];
                        rest /= here[axis - 1];
                    }
                    place[0] = row;
                    let digit = |axis: usize| place[axis] % partition.base(axis, level);
                    if level == 0 {
                        for (axis, z) in z.iter_mut().enumerate() {
                            *z = partition.coordinate(axis, 0, digit(axis));
                        }
                    } else {
                        let (mut tuple, mut parent) = (0, 0);
                        for axis in 0..=inner {
                            tuple = tuple * partition.base(axis, level) + digit(axis);
                            if axis > 0 {
                                parent =
                                    parent * before[axis - 1] + place[axis] / partition.base(axis, level);
                            }
                        }
                        let modulation = &self.modulations[level][tuple * width..][..width];
                        let hidden = &phases[parent * width..][..width];
                        for ((z, &u), &m) in z.iter_mut().zip(hidden).zip(modulation) {
                            *z = sine(u + m);
                        }
                    }
                    if level == last {
                        self.output.apply(&z, &mut y);
                        let at = ((row - slices.start) * n + cell) * channels;
                        for (channel, &y) in y.iter().enumerate() {
                            take(at + channel, y);
                        }
                    } else {
                        let out = &mut next[cell * width..][..width];
                        self.layers[level].apply(&z, out);
                        for u in out {
                            *u *= omega_0;
                        }
                    }
                }
            }
            (phases, before) = (next, here);
        }
        Ok(())
    }
}

/// Phases that decoding a slab of `n_slices` holds of one level: for all its cells, the threads' together.
pub(crate) fn n_phases(config: &NetworkConfig, n_slices: usize) -> u128 {
    // Coarser levels have no more cells than the last with phases.
    let (partition, leaf) = (&config.partition, config.partition.n_levels() - 2);
    let inner = (1..partition.n_axes()).map(|axis| cells(partition, axis, leaf) as u128).product::<u128>();
    inner * u128::from((n_slices as u64).div_ceil(partition.stride(0, leaf))) * config.width as u128
}

/// A network's value on the signal's scale.
fn scaled(info: &SignalInfo, value: f64) -> f64 {
    // NaN counts as the low end.
    let value = if value > 0.0 { value.min(1.0) } else { 0.0 };
    let scale = info.scale();
    scale.low() + value * scale.span()
}

/// Cells of a level along an axis that hold samples.
fn cells(partition: &Partition, axis: usize, level: usize) -> usize {
    (partition.extents()[axis] as u64).div_ceil(partition.stride(axis, level)) as usize
}

/// Modulations of a level by digit tuple.
fn modulations_of(config: &NetworkConfig, level: usize, parts: &[&[f32]]) -> Vec<f64> {
    let (partition, width, omega_0) = (&config.partition, config.width, f64::from(config.omega_0));
    let n_axes = partition.n_axes();
    let mut out = vec![0.0; partition.n_tuples(level) * width];
    let linear: Vec<Linear> = match config.modulator {
        Modulator::Linear => vec![Linear::new(parts[0], n_axes, None)],
        Modulator::Nonlinear => parts
            .chunks_exact(2)
            .map(|part| Linear::new(part[0], part[0].len() / part[1].len(), Some(part[1])))
            .collect(),
        Modulator::Table => Vec::new(),
    };
    for (tuple, modulation) in out.chunks_exact_mut(width).enumerate() {
        let digits = partition.tuple_digits(level, tuple);
        if config.modulator == Modulator::Table {
            for (axis, table) in parts.iter().enumerate() {
                for (m, &t) in modulation.iter_mut().zip(&table[digits[axis] * width..]) {
                    *m += f64::from(t);
                }
            }
        } else {
            let mut x: Vec<f64> =
                (0..n_axes).map(|axis| partition.coordinate(axis, level, digits[axis])).collect();
            for (i, layer) in linear.iter().enumerate() {
                let mut u = vec![0.0; layer.bias.len()];
                layer.apply(&x, &mut u);
                if i + 1 < linear.len() {
                    for u in &mut u {
                        *u = sine(omega_0 * *u);
                    }
                }
                x = u;
            }
            modulation.copy_from_slice(&x);
        }
        let factor = if config.modulator == Modulator::Linear { omega_0 * omega_0 } else { omega_0 };
        for m in modulation {
            *m *= factor;
        }
    }
    out
}
