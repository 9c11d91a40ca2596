//! Fourier features (Tancik et al., 2020, arXiv 2006.10739): a network of rectifiers over sines and cosines of random
//! frequencies.
//!
//! ```text
//! γ(x) = [sin 2πBx, cos 2πBx],   B of n_frequencies × axes, each from N(0, sigma²), never fitted
//! y    = sigmoid(MLP(γ(x))),     x in [0, 1), the end excluded
//! ```
//!
//! Settings are those of the authors' picture regression (section 6.1, appendix; demo): 4 layers of width 256, sigmoid
//! output, Adam at 1e-3, full batch, 2,000 steps, sigma 10 on natural pictures; Glorot's normal initial matrices, biases from
//! N(0, 0.01²). 128 frequencies are the ASMR paper's. (The published code of that paper has no random matrix:
//! its 128 frequencies are powers of two, which no float can hold. The method itself is what is compared here.)
//!
//! Weights: `B` as `[frequency, axis]`, whose gradient is 0, then layer after layer `W` as `[out, in]` and `b`. (The paper has
//! cosines first; the order decides nothing but which weight is which.)

use std::f64::consts::TAU;

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, matmul};
use asmr_kernels::sincos::sincos_rows;
use serde::{Deserialize, Serialize};

use crate::axes::AxisTables;
use crate::draws::Draws;
use crate::field::{Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, refuse, within};
use crate::fit::{Recipe, Schedule};
use crate::mlp::{Activation, Mlp, MlpScratch, MlpShape};

/// Settings of a network over Fourier features.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FfnSettings {
    /// Rows of `B`: as many sines and as many cosines.
    pub n_frequencies: usize,
    /// Deviation of `B`'s entries, in cycles over the grid.
    pub sigma: f64,
    /// Neurons of each hidden layer.
    pub width: usize,
    /// Linear layers, at least 2.
    pub layers: usize,
}

impl Default for FfnSettings {
    fn default() -> Self {
        Self { n_frequencies: 128, sigma: 10.0, width: 256, layers: 4 }
    }
}

/// A network over Fourier features of a grid.
pub struct Ffn {
    shape: Shape,
    settings: FfnSettings,
    mlp: MlpShape,
    coordinates: AxisTables,
}

/// Weights made ready.
pub struct FfnModel {
    isa: IsaLevel,
    /// `2π Bᵀ`.
    frequencies: Packed,
    mlp: Mlp,
}

/// Buffers of one tile.
#[derive(Default)]
pub struct FfnScratch {
    coordinates: Vec<f32>,
    features: Vec<f32>,
    mlp: MlpScratch,
    /// The outputs, whose sigmoid's slope is made of them.
    outputs: Vec<f32>,
}

impl Ffn {
    /// A network of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: FfnSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        within("the number of frequencies", settings.n_frequencies, 1..=1 << 14, "1 to 16384")?;
        within("the width", settings.width, 1..=1 << 16, "1 to 65536")?;
        within("the number of layers", settings.layers, 2..=64, "2 to 64")?;
        if !(settings.sigma.is_finite() && settings.sigma > 0.0) {
            return Err(refuse("sigma", settings.sigma, "a number above 0"));
        }
        let mlp = MlpShape {
            inputs: 2 * settings.n_frequencies,
            width: settings.width,
            layers: settings.layers,
            outputs: shape.channels,
            activation: Activation::Rectifier { slope: 0.0 },
            first: None,
            biased: true,
        };
        within("the number of weights", mlp.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        let coordinates =
            AxisTables::new(&shape, 1, |index, extent, out| out.push((index as f64 / extent as f64) as f32));
        Ok(Self { shape, settings, mlp, coordinates })
    }

    /// Entries of `B`.
    fn n_frozen(&self) -> usize {
        self.settings.n_frequencies * self.shape.n_axes()
    }
}

impl Field for Ffn {
    type Model = FfnModel;
    type Scratch = FfnScratch;

    fn name(&self) -> &'static str {
        "ffn"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    /// `B` included: it is stored.
    fn n_params(&self) -> usize {
        self.n_frozen() + self.mlp.n_params()
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        let mut draws = Draws::new(seed);
        let mut params: Vec<f32> = (0..self.n_frozen()).map(|_| draws.normal(self.settings.sigma)).collect();
        self.mlp.init(&mut params, |_, fan_in, fan_out, is_bias| {
            draws.normal(if is_bias { 1e-2 } else { (2.0 / (fan_in + fan_out) as f64).sqrt() })
        });
        params
    }

    fn cost(&self) -> FieldCost {
        FieldCost {
            n_params: self.n_params(),
            mac_paper: self.n_params() as f64,
            mac_exec: (self.n_frozen() + self.mlp.n_mac()) as f64,
            sin_exec: 2.0 * self.settings.n_frequencies as f64,
            // One per sigmoid.
            exp_exec: self.shape.channels as f64,
            table_reads: 0.0,
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(1e-3, Schedule::Constant, 2_000)
    }

    fn model(&self, isa: IsaLevel) -> FfnModel {
        FfnModel { isa, frequencies: Packed::default(), mlp: Mlp::new(self.mlp, isa) }
    }

    fn load(&self, model: &mut FfnModel, params: &[f32]) {
        let (frozen, rest) = params.split_at(self.n_frozen());
        let axes = self.shape.n_axes();
        model.frequencies.pack(axes, self.settings.n_frequencies, frozen, 1, axes, TAU as f32);
        model.mlp.load(rest);
    }

    fn forward(
        &self,
        model: &FfnModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut FfnScratch,
        outputs: &mut [f32],
    ) {
        let (rows, n, axes) = (samples.len(), self.settings.n_frequencies, self.shape.n_axes());
        self.coordinates.fill(&self.shape, samples, &mut scratch.coordinates);
        scratch.features.resize(rows * 2 * n, 0.0);
        let FfnScratch { coordinates, features, mlp, outputs: kept } = scratch;
        matmul(model.isa, rows, coordinates, axes, &model.frequencies, Start::Zero, features, 2 * n);
        sincos_rows(model.isa, rows, n, features);
        model.mlp.forward(features, mlp, outputs);
        for y in outputs.iter_mut() {
            *y = 1.0 / (1.0 + (-*y).exp());
        }
        kept.clear();
        kept.extend_from_slice(outputs);
    }

    fn backward(
        &self,
        model: &FfnModel,
        _samples: &[u32],
        scratch: &mut FfnScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        for (d, y) in outputs.iter_mut().zip(&scratch.outputs) {
            *d *= y * (1.0 - y);
        }
        let gradient = &mut gradient[self.n_frozen()..];
        model.mlp.backward(&scratch.features, &mut scratch.mlp, outputs, gradient, false);
    }
}
