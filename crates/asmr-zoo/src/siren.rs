//! A SIREN (Sitzmann et al., 2020) on this project's own kernels: so that a comparison compares methods and not
//! libraries.
//!
//! Sine layers `z ← sin(omega_0 (W z + b))` over coordinates in [-1, 1], then a linear output layer. Every layer is
//! evaluated at every sample, in tiles that fit the cache; a tile goes forward, meets its targets and comes back.

use asmr::signal::{Samples, Signal, Source};
use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::optim::{AdamStep, adam};
use asmr_kernels::sharing::add_column_sums;
use asmr_kernels::sincos::sincos_rows;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// Rows evaluated together.
const TILE: usize = 256;
/// Shares of a batch with a gradient of their own, summed in order: the same bits on any number of threads.
const LANES: usize = 8;

/// A SIREN's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SirenConfig {
    /// Axes of the signal.
    pub axes: usize,
    /// Values per sample.
    pub channels: usize,
    /// Neurons of each sine layer.
    pub width: usize,
    /// Linear layers, at least 2: one less sine layers, and the output layer.
    pub layers: usize,
    /// Factor inside every sine.
    pub omega_0: f32,
}

impl SirenConfig {
    /// Inputs and outputs of a linear layer.
    fn fans(&self, layer: usize) -> (usize, usize) {
        let fan_in = if layer == 0 { self.axes } else { self.width };
        (fan_in, if layer + 1 == self.layers { self.channels } else { self.width })
    }

    /// Where a layer's weights (`[out, in]`) begin; its biases follow them.
    fn offset(&self, layer: usize) -> usize {
        (0..layer).map(|l| self.fans(l)).map(|(fan_in, fan_out)| (fan_in + 1) * fan_out).sum()
    }

    /// Number of weights.
    #[must_use]
    pub fn n_params(&self) -> usize {
        self.offset(self.layers)
    }

    /// Initial weights: `U(±1/axes)` in the first layer, `U(±sqrt(6/fan_in)/omega_0)` in the others.
    #[must_use]
    pub fn init(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut params = Vec::with_capacity(self.n_params());
        for layer in 0..self.layers {
            let (fan_in, fan_out) = self.fans(layer);
            let bound = if layer == 0 {
                1.0 / self.axes as f64
            } else {
                (6.0 / fan_in as f64).sqrt() / f64::from(self.omega_0)
            };
            params.extend((0..(fan_in + 1) * fan_out).map(|_| {
                let unit = f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 24);
                ((2.0 * unit - 1.0) * bound) as f32
            }));
        }
        params
    }
}

/// A SIREN's weights made ready, forward and back.
pub struct Siren {
    config: SirenConfig,
    isa: IsaLevel,
    /// `omega_0 · Wᵀ` of sine layers, `Wᵀ` of the output layer.
    forward: Vec<Packed>,
    /// `W` likewise.
    backward: Vec<Packed>,
    biases: Vec<Vec<f32>>,
}

/// Buffers of one tile.
#[derive(Default)]
struct Scratch {
    /// Sines and cosines per sine layer, rows × 2·width.
    features: Vec<Vec<f32>>,
    inputs: Vec<f32>,
    outputs: Vec<f32>,
    /// ∂loss/∂ of a layer's output, then of its phase, rows × width.
    back: Vec<f32>,
    next: Vec<f32>,
    transpose: TransposeScratch,
}

/// One share of a batch.
#[derive(Default)]
struct Lane {
    scratch: Scratch,
    gradient: Vec<f32>,
    targets: Vec<f32>,
    squared_error: f64,
}

impl Siren {
    /// Prepares weights.
    ///
    /// # Panics
    /// When there are fewer than 2 layers or the number of weights is wrong.
    #[must_use]
    pub fn new(config: SirenConfig, params: &[f32], isa: IsaLevel) -> Self {
        assert!(config.layers >= 2, "a SIREN has a sine layer and an output layer");
        let empty = vec![Packed::default(); config.layers];
        let mut siren = Self {
            config,
            isa,
            forward: empty.clone(),
            backward: empty,
            biases: vec![Vec::new(); config.layers],
        };
        siren.load(params);
        siren
    }

    /// Takes other weights of the same shape.
    ///
    /// # Panics
    /// When their number is wrong.
    pub fn load(&mut self, params: &[f32]) {
        assert_eq!(params.len(), self.config.n_params(), "one value per weight");
        for layer in 0..self.config.layers {
            let (fan_in, fan_out) = self.config.fans(layer);
            let scale = self.scale(layer);
            let (weights, rest) = params[self.config.offset(layer)..].split_at(fan_in * fan_out);
            self.forward[layer].pack(fan_in, fan_out, weights, 1, fan_in, scale);
            self.backward[layer].pack(fan_out, fan_in, weights, fan_in, 1, scale);
            self.biases[layer] = rest[..fan_out].iter().map(|b| b * scale).collect();
        }
    }

    /// Factor on a layer: `omega_0` inside sines.
    fn scale(&self, layer: usize) -> f32 {
        if layer + 1 == self.config.layers { 1.0 } else { self.config.omega_0 }
    }

    /// Values at coordinates (rows × axes, each in [-1, 1]), rows × channels.
    ///
    /// # Panics
    /// When the slices' lengths do not fit each other.
    pub fn evaluate(&self, coordinates: &[f32], out: &mut [f32]) {
        let (axes, channels) = (self.config.axes, self.config.channels);
        assert_eq!(coordinates.len() / axes, out.len() / channels, "as many rows in as out");
        coordinates.par_chunks(TILE * axes).zip(out.par_chunks_mut(TILE * channels)).for_each_init(
            Scratch::default,
            |scratch, (x, y)| {
                scratch.inputs.clear();
                scratch.inputs.extend_from_slice(x);
                self.forward_tile(scratch);
                y.copy_from_slice(&scratch.outputs);
            },
        );
    }

    /// From `inputs` to `outputs`, keeping what the way back needs.
    fn forward_tile(&self, scratch: &mut Scratch) {
        let SirenConfig { axes, channels, width, layers, .. } = self.config;
        let rows = scratch.inputs.len() / axes;
        scratch.features.resize(layers - 1, Vec::new());
        for layer in 0..layers - 1 {
            let (before, after) = scratch.features.split_at_mut(layer);
            let (left, stride) =
                before.last().map_or((&scratch.inputs, axes), |features| (features, 2 * width));
            after[0].resize(rows * 2 * width, 0.0);
            let bias = Start::Bias(&self.biases[layer]);
            matmul(self.isa, rows, left, stride, &self.forward[layer], bias, &mut after[0], 2 * width);
            sincos_rows(self.isa, rows, width, &mut after[0]);
        }
        let (left, last) = (&scratch.features[layers - 2], layers - 1);
        scratch.outputs.resize(rows * channels, 0.0);
        let bias = Start::Bias(&self.biases[last]);
        matmul(self.isa, rows, left, 2 * width, &self.forward[last], bias, &mut scratch.outputs, channels);
    }

    /// From `outputs`, which hold ∂loss/∂outputs, back to the weights' gradient, which is added to.
    fn backward_tile(&self, scratch: &mut Scratch, gradient: &mut [f32]) {
        let SirenConfig { axes, width, layers, .. } = self.config;
        let rows = scratch.inputs.len() / axes;
        scratch.back.clear();
        scratch.back.extend_from_slice(&scratch.outputs);
        for layer in (0..layers).rev() {
            let (fan_in, fan_out) = self.config.fans(layer);
            if layer + 1 < layers {
                // Of the sine's output → of its phase; the phase is omega_0 times the layer's output.
                let rows_of = scratch.features[layer].chunks_exact(2 * width);
                for (d, features) in scratch.back.chunks_exact_mut(width).zip(rows_of) {
                    for (d, cosine) in d.iter_mut().zip(&features[width..]) {
                        *d *= cosine;
                    }
                }
            }
            let (left, stride) = match layer.checked_sub(1) {
                Some(before) => (&scratch.features[before], 2 * width),
                None => (&scratch.inputs, axes),
            };
            let part = &mut gradient[self.config.offset(layer)..][..(fan_in + 1) * fan_out];
            let (weights, biases) = part.split_at_mut(fan_in * fan_out);
            matmul_transposed(
                self.isa,
                rows,
                &scratch.back,
                fan_out,
                fan_out,
                left,
                stride,
                fan_in,
                weights,
                &mut scratch.transpose,
            );
            add_column_sums(self.isa, &scratch.back, biases);
            if layer > 0 {
                scratch.next.resize(rows * fan_in, 0.0);
                let right = &self.backward[layer];
                matmul(self.isa, rows, &scratch.back, fan_out, right, Start::Zero, &mut scratch.next, fan_in);
                std::mem::swap(&mut scratch.back, &mut scratch.next);
            }
        }
    }

    /// Factors `omega_0` on the gradient: inside, phases are differentiated.
    fn scale_gradient(&self, gradient: &mut [f32]) {
        for layer in 0..self.config.layers {
            let (fan_in, fan_out) = self.config.fans(layer);
            let scale = self.scale(layer);
            for g in &mut gradient[self.config.offset(layer)..][..(fan_in + 1) * fan_out] {
                *g *= scale;
            }
        }
    }
}

/// Computes losses and gradients on samples of one signal.
pub struct SirenEngine<'s> {
    siren: Siren,
    signal: &'s Signal,
    lanes: Vec<Lane>,
}

impl<'s> SirenEngine<'s> {
    /// Prepares for a shape and a signal.
    ///
    /// # Panics
    /// When axes or channels differ.
    #[must_use]
    pub fn new(config: SirenConfig, signal: &'s Signal, isa: IsaLevel) -> Self {
        assert_eq!(config.axes, signal.info().extents.len(), "as many axes");
        assert_eq!(config.channels, signal.info().channels, "as many channels");
        let siren = Siren::new(config, &vec![0.0; config.n_params()], isa);
        Self { siren, signal, lanes: (0..LANES).map(|_| Lane::default()).collect() }
    }

    /// Mean square error over the samples of these row-major numbers; its gradient replaces `gradient`.
    ///
    /// # Panics
    /// When a slice has the wrong length or a number lies outside the signal.
    pub fn loss_and_gradient(&mut self, params: &[f32], samples: &[u32], gradient: &mut [f32]) -> f64 {
        self.siren.load(params);
        let (siren, signal) = (&self.siren, self.signal);
        let channels = siren.config.channels;
        let n_values = samples.len() * channels;
        let scale = 2.0 / n_values as f32;
        let tiles: Vec<&[u32]> = samples.chunks(TILE).collect();
        let n_lanes = self.lanes.len().min(tiles.len());
        self.lanes[..n_lanes].par_iter_mut().enumerate().for_each(|(i, lane)| {
            lane.gradient.clear();
            lane.gradient.resize(siren.config.n_params(), 0.0);
            lane.squared_error = 0.0;
            for tile in &tiles[i * tiles.len() / n_lanes..(i + 1) * tiles.len() / n_lanes] {
                lane.scratch.inputs.clear();
                lane.targets.resize(tile.len() * channels, 0.0);
                for (&sample, target) in tile.iter().zip(lane.targets.chunks_exact_mut(channels)) {
                    push_coordinates(&signal.info().extents, sample as usize, &mut lane.scratch.inputs);
                    signal.read_scaled((sample as usize * channels) as u64, target);
                }
                siren.forward_tile(&mut lane.scratch);
                for (y, target) in lane.scratch.outputs.iter_mut().zip(&lane.targets) {
                    *y -= target;
                    lane.squared_error += f64::from(*y * *y);
                    *y *= scale;
                }
                siren.backward_tile(&mut lane.scratch, &mut lane.gradient);
            }
        });
        gradient.fill(0.0);
        for lane in &self.lanes[..n_lanes] {
            for (g, part) in gradient.iter_mut().zip(&lane.gradient) {
                *g += part;
            }
        }
        siren.scale_gradient(gradient);
        self.lanes[..n_lanes].iter().map(|lane| lane.squared_error).sum::<f64>() / n_values as f64
    }
}

/// Appends a sample's coordinates: -1 at the first sample of an axis, 1 at the last.
pub fn push_coordinates(extents: &[usize], sample: usize, out: &mut Vec<f32>) {
    let mut stride: usize = extents.iter().product();
    for &extent in extents {
        stride /= extent;
        let index = sample / stride % extent;
        out.push((2.0 * index as f64 / (extent.max(2) - 1) as f64 - 1.0) as f32);
    }
}

/// How a SIREN is fitted: Adam, batches of samples drawn without replacement, cosine decay to a tenth by time.
#[derive(Clone, Copy, Debug)]
pub struct SirenFit {
    /// Learning rate at its highest.
    pub rate: f64,
    /// Samples per batch.
    pub batch: usize,
    /// Seed of the weights and batches.
    pub seed: u64,
    /// When to stop; the decay is planned for it.
    pub limit: Duration,
}

/// Fits a SIREN; gives its weights and the number of steps.
///
/// # Panics
/// When the shape does not fit the signal.
#[must_use]
pub fn fit(config: SirenConfig, signal: &Signal, fit: SirenFit) -> (Vec<f32>, u32) {
    let start = Instant::now();
    let isa = IsaLevel::detect();
    let mut params = config.init(fit.seed);
    let mut engine = SirenEngine::new(config, signal, isa);
    let mut rng = ChaCha8Rng::seed_from_u64(fit.seed ^ 0x5eed);
    let n_samples: usize = signal.info().extents.iter().product();
    let mut order: Vec<u32> = (0..n_samples as u32).collect();
    let mut next = n_samples;
    let mut gradient = vec![0.0; params.len()];
    let (mut first, mut second) = (gradient.clone(), gradient.clone());
    let (beta1, beta2) = (0.9f64, 0.999f64);
    let mut steps = 0;
    loop {
        let progress = start.elapsed().as_secs_f64() / fit.limit.as_secs_f64();
        if progress >= 1.0 {
            return (params, steps);
        }
        if next >= n_samples {
            for i in (1..n_samples).rev() {
                order.swap(i, ((u64::from(rng.next_u32()) * (i as u64 + 1)) >> 32) as usize);
            }
            next = 0;
        }
        let end = n_samples.min(next + fit.batch);
        let loss = engine.loss_and_gradient(&params, &order[next..end], &mut gradient);
        assert!(loss.is_finite(), "a SIREN's fit diverged at step {steps}");
        next = end;
        steps += 1;
        let share = 0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        let step = AdamStep {
            rate: (fit.rate * share) as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: 1e-8,
            correction1: (1.0 / (1.0 - beta1.powi(steps as i32))) as f32,
            correction2: (1.0 / (1.0 - beta2.powi(steps as i32))) as f32,
            gradient_scale: 1.0,
        };
        adam(isa, step, &gradient, &mut first, &mut second, &mut params);
    }
}

/// The signal that a SIREN gives, clamped and rounded to 8 bits.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn decode(config: SirenConfig, params: &[f32], extents: &[usize]) -> Samples {
    let n_samples: usize = extents.iter().product();
    let siren = Siren::new(config, params, IsaLevel::detect());
    let mut coordinates = Vec::with_capacity(n_samples * config.axes);
    for sample in 0..n_samples {
        push_coordinates(extents, sample, &mut coordinates);
    }
    let mut values = vec![0.0; n_samples * config.channels];
    siren.evaluate(&coordinates, &mut values);
    Samples::U8(values.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect())
}
