//! ASMR without activation sharing: every layer at every sample, on the same kernels as all other baselines. What sharing saves is
//! the difference between this and ASMR itself; the weights are the same, and so are the values.
//!
//! ```text
//! φ_0 = ω (W_0 x̂_0 + b_0) + ω² M_1 x̂_1
//! φ_i = ω (W_i z_{i-1} + b_i) + ω² M_{i+1} x̂_{i+1},   z_i = sin φ_i,   y = W z_{L-2} + b
//! ```
//!
//! Linear modulators, as published. Weights: in the order of the network's tensors. By [`UnsharedSettings::backbone`] only the
//! modulators are fitted, and the layers stay as they were drawn (what modulators can do on random features) or as a SIREN's,
//! fitted to the same signal beforehand.

use std::ops::ControlFlow;

use asmr::network::{Layout, Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::sharing::add_column_sums;
use asmr_kernels::sincos::{sincos_rows, sines};
use serde::{Deserialize, Serialize};

use crate::axes::AxisTables;
use crate::field::{Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, refuse, within};
use crate::fit::{self, FitOptions, Recipe, Schedule, StepEvent, Stop};
use crate::mlp::{Activation, through};
use crate::siren::{Siren, SirenSettings};

/// Settings of an ASMR network whose activations are not shared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsharedSettings {
    /// As in `4,4,4,8;4,4,4,8`: bases per axis, coarsest level first.
    pub bases: String,
    /// Neurons of each sine layer.
    pub width: usize,
    /// Factor inside every sine.
    #[serde(default = "usual_omega_0")]
    pub omega_0: f32,
    /// What becomes of the layers between the modulators.
    #[serde(default)]
    pub backbone: Backbone,
}

/// All layers of a network but its modulators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backbone {
    /// They are fitted together with the modulators.
    #[default]
    Fitted,
    /// They stay as they were drawn.
    Drawn,
    /// They stay those of a SIREN of as many layers, as wide, that was fitted to the signal beforehand: in its published way for
    /// as many steps as the modulators get, on batches as large, or for half of a given time.
    Pretrained,
}

fn usual_omega_0() -> f32 {
    30.0
}

/// A network on a grid.
pub struct Unshared {
    shape: Shape,
    config: NetworkConfig,
    layout: Layout,
    backbone: Backbone,
    /// Coordinates of each level's digits; after the first, times `omega_0`.
    levels: Vec<AxisTables>,
}

/// Weights made ready.
pub struct UnsharedModel {
    isa: IsaLevel,
    /// `ω W_iᵀ`, and `W_outᵀ` last.
    forward: Vec<Packed>,
    /// `W_i`, and `W_out` last.
    backward: Vec<Packed>,
    /// `ω b_i`, and `b_out` last.
    biases: Vec<Vec<f32>>,
    /// `ω M_{i+1}ᵀ`: coordinates bring the other factor.
    modulators: Vec<Packed>,
}

/// Buffers of one tile.
#[derive(Default)]
pub struct UnsharedScratch {
    /// Per level, rows × axes.
    inputs: Vec<Vec<f32>>,
    /// Per sine layer, rows × sines, then cosines; of a decode, sines only.
    features: Vec<Vec<f32>>,
    back: Vec<f32>,
    next: Vec<f32>,
    transpose: TransposeScratch,
}

impl Unshared {
    /// A network of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: &UnsharedSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        within("the width", settings.width, 1..=1 << 14, "1 to 16384")?;
        Activation::Sine { omega_0: settings.omega_0 }.validate()?;
        let bases = parse_bases(&settings.bases)
            .map_err(|error| refuse("the bases", error.to_string(), "as in 4,4,4,8;4,4,4,8"))?;
        let partition = Partition::new(&shape.extents, &bases)
            .map_err(|error| refuse("the bases", error.to_string(), "those of a partition of the grid"))?;
        let config = NetworkConfig {
            partition,
            channels: shape.channels,
            width: settings.width,
            omega_0: settings.omega_0,
            modulator: Modulator::Linear,
        };
        config.validate().map_err(|error| refuse("the network", error.to_string(), "as ASMR's"))?;
        within("the number of weights", config.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        let partition = &config.partition;
        let level = |level: usize| {
            let scale = if level == 0 { 1.0 } else { f64::from(settings.omega_0) };
            let mut axis = 0;
            let mut last = None;
            AxisTables::new(&shape, 1, |index, _, out| {
                // Indices of an axis rise, and the next axis begins with 0.
                if last.is_some_and(|last| index <= last) {
                    axis += 1;
                }
                last = Some(index);
                let digit = partition.digit(axis, level, index as u64);
                out.push((scale * partition.coordinate(axis, level, digit)) as f32);
            })
        };
        let levels = (0..partition.n_levels()).map(level).collect();
        let layout = config.layout();
        Ok(Self { backbone: settings.backbone, levels, layout, config, shape })
    }

    fn n_sines(&self) -> usize {
        self.config.n_sine_layers()
    }

    /// Values at a tile, with the cosines that only the way back needs or without them.
    fn pass(
        &self,
        model: &UnsharedModel,
        samples: &[u32],
        scratch: &mut UnsharedScratch,
        outputs: &mut [f32],
        has_way_back: bool,
    ) {
        let (rows, width, n_sines) = (samples.len(), self.config.width, self.n_sines());
        let (axes, stride) = (self.shape.n_axes(), if has_way_back { 2 * width } else { width });
        scratch.inputs.resize(self.levels.len(), Vec::new());
        for (level, inputs) in self.levels.iter().zip(&mut scratch.inputs) {
            level.fill(&self.shape, samples, inputs);
        }
        scratch.features.resize(n_sines, Vec::new());
        for layer in 0..n_sines {
            let (before, after) = scratch.features.split_at_mut(layer);
            let (left, left_stride) =
                before.last().map_or((&scratch.inputs[0][..], axes), |features| (&features[..], stride));
            let features = &mut after[0];
            features.resize(rows * stride, 0.0);
            let bias = Start::Bias(&model.biases[layer]);
            matmul(model.isa, rows, left, left_stride, &model.forward[layer], bias, features, stride);
            let (digits, modulator) = (&scratch.inputs[layer + 1], &model.modulators[layer]);
            matmul(model.isa, rows, digits, axes, modulator, Start::Output, features, stride);
            if has_way_back {
                sincos_rows(model.isa, rows, width, features);
            } else {
                sines(model.isa, features);
            }
        }
        let bias = Start::Bias(&model.biases[n_sines]);
        let (right, n) = (&model.forward[n_sines], self.shape.channels);
        matmul(model.isa, rows, &scratch.features[n_sines - 1], stride, right, bias, outputs, n);
    }

    /// Inputs of a layer, the output layer being the last.
    fn fan_in(&self, layer: usize) -> usize {
        if layer == 0 { self.shape.n_axes() } else { self.config.width }
    }

    /// Where a layer's matrix and bias lie.
    fn layer(&self, layer: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        if layer == self.n_sines() {
            return (self.layout.output_weight.clone(), self.layout.output_bias.clone());
        }
        (self.layout.layer_weights[layer].clone(), self.layout.layer_biases[layer].clone())
    }
}

impl Field for Unshared {
    type Model = UnsharedModel;
    type Scratch = UnsharedScratch;

    fn name(&self) -> &'static str {
        "unshared"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.config.n_params()
    }

    /// As published: [`Network::init`].
    fn init(&self, seed: u64) -> Vec<f32> {
        let network = Network::init(self.config.clone(), seed, 1.0);
        network.expect("the configuration was validated").into_params()
    }

    /// Of a pretrained backbone the SIREN's weights, with modulators as they are drawn.
    fn start(
        &self,
        source: &dyn Source,
        options: &FitOptions,
        on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
    ) -> Result<Vec<f32>, FieldError> {
        let mut params = self.init(options.seed);
        if self.backbone != Backbone::Pretrained {
            return Ok(params);
        }
        let omega_0 = self.config.omega_0;
        let layers = self.n_sines() + 1;
        let settings = SirenSettings {
            width: self.config.width,
            layers,
            omega_0,
            first_omega_0: omega_0,
            ..SirenSettings::default()
        };
        let siren = Siren::new(self.shape.clone(), settings)?;
        let stop = match options.stop {
            Stop::Time(limit) => Stop::Time(limit / 2),
            stop @ Stop::Steps(_) => stop,
        };
        // At its published rate times the same factor as the modulators', whose own is the same.
        let Recipe { batch, rate, .. } = options.recipe;
        let recipe =
            Recipe { batch, rate: siren.recipe().rate * rate / self.recipe().rate, ..siren.recipe() };
        let options = FitOptions { recipe, stop, ..*options };
        let fitted = fit::fit(&siren, source, &options, &mut |event| {
            // The fit itself has not begun.
            on_step(&StepEvent { progress: 0.0, step: 0, ..*event })
        })?;
        // Both have a layer's matrix, then its biases.
        let mut left = &fitted.params[..];
        for range in (0..layers).flat_map(|layer| <[_; 2]>::from(self.layer(layer))) {
            let weights;
            (weights, left) = left.split_at(range.len());
            params[range].copy_from_slice(weights);
        }
        Ok(params)
    }

    fn cost(&self) -> FieldCost {
        let (d, axes) = (self.config.width as f64, self.shape.n_axes() as f64);
        let (sines, channels) = (self.n_sines() as f64, self.shape.channels as f64);
        let layers = axes * d + (sines - 1.0) * d * d + d * channels;
        let modulators = sines * axes * d;
        FieldCost {
            n_params: self.n_params(),
            // Each bias, and each addition of a modulation, is one.
            mac_paper: layers + sines * d + channels + modulators + sines * d,
            mac_exec: layers + modulators,
            sin_exec: sines * d,
            exp_exec: 0.0,
            table_reads: 0.0,
        }
    }

    /// The ASMR paper's: 1e-4 with cosine decay to 1e-5, full batch, 10,000 steps.
    fn recipe(&self) -> Recipe {
        Recipe::adam(1e-4, Schedule::Cosine { last: 0.1 }, 10_000)
    }

    fn model(&self, isa: IsaLevel) -> UnsharedModel {
        let empty = |n: usize| vec![Packed::default(); n];
        let n = self.n_sines();
        let biases = vec![Vec::new(); n + 1];
        UnsharedModel { isa, forward: empty(n + 1), backward: empty(n + 1), biases, modulators: empty(n) }
    }

    fn load(&self, model: &mut UnsharedModel, params: &[f32]) {
        let (width, omega_0) = (self.config.width, self.config.omega_0);
        for layer in 0..=self.n_sines() {
            let is_output = layer == self.n_sines();
            let (fan_in, fan_out) = (self.fan_in(layer), if is_output { self.shape.channels } else { width });
            let scale = if is_output { 1.0 } else { omega_0 };
            let (weights, bias) = self.layer(layer);
            let weights = &params[weights];
            model.forward[layer].pack(fan_in, fan_out, weights, 1, fan_in, scale);
            model.backward[layer].pack(fan_out, fan_in, weights, fan_in, 1, 1.0);
            model.biases[layer] = params[bias].iter().map(|b| b * scale).collect();
            if !is_output {
                let axes = self.shape.n_axes();
                let modulator = &params[self.layout.modulators[layer + 1][0].clone()];
                model.modulators[layer].pack(axes, width, modulator, 1, axes, omega_0);
            }
        }
    }

    fn forward(
        &self,
        model: &UnsharedModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut UnsharedScratch,
        outputs: &mut [f32],
    ) {
        self.pass(model, samples, scratch, outputs, true);
    }

    fn values(
        &self,
        model: &UnsharedModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut UnsharedScratch,
        outputs: &mut [f32],
    ) {
        self.pass(model, samples, scratch, outputs, false);
    }

    fn backward(
        &self,
        model: &UnsharedModel,
        samples: &[u32],
        scratch: &mut UnsharedScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        let (rows, width, axes) = (samples.len(), self.config.width, self.shape.n_axes());
        let activation = Activation::Sine { omega_0: self.config.omega_0 };
        let UnsharedScratch { inputs, features, back, next, transpose } = scratch;
        back.clear();
        back.extend_from_slice(outputs);
        for layer in (0..=self.n_sines()).rev() {
            let fan_in = self.fan_in(layer);
            let fan_out = if layer == self.n_sines() { self.shape.channels } else { width };
            if layer < self.n_sines() {
                for (d, features) in back.chunks_exact_mut(width).zip(features[layer].chunks_exact(2 * width))
                {
                    through(activation, features, d);
                }
                let modulator = &mut gradient[self.layout.modulators[layer + 1][0].clone()];
                let digits = &inputs[layer + 1];
                matmul_transposed(
                    model.isa, rows, back, width, width, digits, axes, axes, modulator, transpose,
                );
            }
            let (weights, bias) = self.layer(layer);
            if self.backbone == Backbone::Fitted {
                let (left, left_stride) = match layer.checked_sub(1) {
                    Some(before) => (&features[before][..], 2 * width),
                    None => (&inputs[0][..], axes),
                };
                let d_weights = &mut gradient[weights];
                matmul_transposed(
                    model.isa,
                    rows,
                    back,
                    fan_out,
                    fan_out,
                    left,
                    left_stride,
                    fan_in,
                    d_weights,
                    transpose,
                );
                add_column_sums(model.isa, back, &mut gradient[bias]);
            }
            if layer > 0 {
                next.resize(rows * fan_in, 0.0);
                matmul(model.isa, rows, back, fan_out, &model.backward[layer], Start::Zero, next, fan_in);
                std::mem::swap(back, next);
            }
        }
    }
}
