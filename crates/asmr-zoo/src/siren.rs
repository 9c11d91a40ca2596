//! A SIREN (Sitzmann et al., 2020, arXiv 2006.09661) on this project's own kernels: so that a comparison compares
//! methods and not libraries.
//!
//! Sine layers `z ← sin(omega_0 (W z + b))` over coordinates in [-1, 1], then a linear output layer. Every layer is
//! evaluated at every sample. Weights: layer after layer, `W` as `[out, in]`, then `b`.
//!
//! The first layer's factor is a setting of its own, as in the authors' code: 30 for pictures, 3000 for sound, whose axis is
//! longer. (The ASMR paper's code stretches the axis of sound to [-5, 5] instead, which is a factor of 150.)

use std::ops::ControlFlow;
use std::time::Duration;

use asmr::signal::{Samples, Signal};
use asmr_kernels::IsaLevel;
use serde::{Deserialize, Serialize};

use crate::axes::AxisTables;
use crate::draws::Draws;
use crate::field::{self, Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, within};
use crate::fit::{self, FitOptions, Recipe, Schedule, Stop};
use crate::mlp::{Activation, Mlp, MlpScratch, MlpShape};

/// A SIREN's settings. The default is the ASMR paper's for pictures: 4 layers of width 256.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SirenSettings {
    /// Neurons of each sine layer.
    pub width: usize,
    /// Linear layers, at least 2: one less sine layers, and the output layer.
    pub layers: usize,
    /// Factor inside every sine after the first layer's.
    pub omega_0: f32,
    /// Factor inside the first layer's sines.
    pub first_omega_0: f32,
    /// Whether the last layer gives values in \[-1, 1\], as the authors fit pictures and sound, and not in \[0, 1\], as the ASMR
    /// paper fits pictures.
    pub centred: bool,
}

impl Default for SirenSettings {
    fn default() -> Self {
        Self { width: 256, layers: 4, omega_0: 30.0, first_omega_0: 30.0, centred: false }
    }
}

/// A SIREN on a grid.
pub struct Siren {
    shape: Shape,
    mlp: MlpShape,
    settings: SirenSettings,
    coordinates: AxisTables,
}

/// A SIREN's weights made ready.
pub struct SirenModel(Mlp);

/// Buffers of one tile.
#[derive(Default)]
pub struct SirenScratch {
    inputs: Vec<f32>,
    mlp: MlpScratch,
}

impl Siren {
    /// A SIREN of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: SirenSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        within("the width", settings.width, 1..=1 << 16, "1 to 65536")?;
        within("the number of layers", settings.layers, 2..=64, "2 to 64")?;
        let activation = Activation::Sine { omega_0: settings.omega_0 };
        let first = Activation::Sine { omega_0: settings.first_omega_0 };
        activation.validate()?;
        first.validate()?;
        let mlp = MlpShape {
            inputs: shape.n_axes(),
            width: settings.width,
            layers: settings.layers,
            outputs: shape.channels,
            activation,
            first: Some(first),
            biased: true,
        };
        within("the number of weights", mlp.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        let coordinates = AxisTables::centred(&shape);
        Ok(Self { shape, mlp, settings, coordinates })
    }

    /// From the last layer's values to the signal's.
    fn placed(&self, outputs: &mut [f32]) {
        if self.settings.centred {
            for y in outputs {
                *y = 0.5 + 0.5 * *y;
            }
        }
    }
}

impl Field for Siren {
    type Model = SirenModel;
    type Scratch = SirenScratch;

    fn name(&self) -> &'static str {
        "siren"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.mlp.n_params()
    }

    /// `U(±1/axes)` in the first layer, `U(±sqrt(6/fan_in)/omega_0)` in the others; biases as their layer's matrix.
    fn init(&self, seed: u64) -> Vec<f32> {
        let (mut draws, mut params) = (Draws::new(seed), Vec::with_capacity(self.n_params()));
        self.mlp.init(&mut params, |layer, fan_in, _, _| {
            let bound = if layer == 0 {
                1.0 / fan_in as f64
            } else {
                (6.0 / fan_in as f64).sqrt() / f64::from(self.settings.omega_0)
            };
            draws.uniform(bound)
        });
        params
    }

    fn cost(&self) -> FieldCost {
        FieldCost {
            n_params: self.n_params(),
            mac_paper: self.n_params() as f64,
            mac_exec: self.mlp.n_mac() as f64,
            sin_exec: self.mlp.n_hidden() as f64,
            exp_exec: 0.0,
            table_reads: 0.0,
        }
    }

    /// The ASMR paper's for all its pictures: 1e-4 with cosine decay to 1e-5, full batch, 10,000 steps.
    fn recipe(&self) -> Recipe {
        Recipe::adam(1e-4, Schedule::Cosine { last: 0.1 }, 10_000)
    }

    fn model(&self, isa: IsaLevel) -> SirenModel {
        SirenModel(Mlp::new(self.mlp, isa))
    }

    fn load(&self, model: &mut SirenModel, params: &[f32]) {
        model.0.load(params);
    }

    fn forward(
        &self,
        model: &SirenModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut SirenScratch,
        outputs: &mut [f32],
    ) {
        self.coordinates.fill(&self.shape, samples, &mut scratch.inputs);
        model.0.forward(&scratch.inputs, &mut scratch.mlp, outputs);
        self.placed(outputs);
    }

    fn values(
        &self,
        model: &SirenModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut SirenScratch,
        outputs: &mut [f32],
    ) {
        self.coordinates.fill(&self.shape, samples, &mut scratch.inputs);
        model.0.values(&scratch.inputs, &mut scratch.mlp, outputs);
        self.placed(outputs);
    }

    fn backward(
        &self,
        model: &SirenModel,
        _samples: &[u32],
        scratch: &mut SirenScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        if self.settings.centred {
            for d in &mut *outputs {
                *d *= 0.5;
            }
        }
        model.0.backward(&scratch.inputs, &mut scratch.mlp, outputs, gradient, false);
    }
}

/// A SIREN's shape, without the grid: what benches name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SirenConfig {
    /// Axes of the signal.
    pub axes: usize,
    /// Values per sample.
    pub channels: usize,
    /// Neurons of each sine layer.
    pub width: usize,
    /// Linear layers, at least 2.
    pub layers: usize,
    /// Factor inside every sine.
    pub omega_0: f32,
}

impl SirenConfig {
    /// Number of weights.
    #[must_use]
    pub fn n_params(&self) -> usize {
        let hidden = self.layers.saturating_sub(2) * (self.width + 1) * self.width;
        (self.axes + 1) * self.width + hidden + (self.width + 1) * self.channels
    }

    fn on(&self, extents: &[usize]) -> Siren {
        let shape = Shape { extents: extents.to_vec(), channels: self.channels };
        let Self { width, layers, omega_0, .. } = *self;
        let settings =
            SirenSettings { width, layers, omega_0, first_omega_0: omega_0, ..SirenSettings::default() };
        Siren::new(shape, settings).expect("a SIREN's shape")
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
/// When the shape does not fit the signal, or the fit diverges.
#[must_use]
pub fn fit(config: SirenConfig, signal: &Signal, how: SirenFit) -> (Vec<f32>, u32) {
    let siren = config.on(&signal.info().extents);
    let recipe = Recipe { rate: how.rate, batch: Some(how.batch), ..siren.recipe() };
    let options = FitOptions { seed: how.seed, ..FitOptions::new(recipe, Stop::Time(how.limit)) };
    let fitted = fit::fit(&siren, signal, &options, &mut |_| ControlFlow::Continue(()));
    let fitted = fitted.unwrap_or_else(|error| panic!("a SIREN's fit: {error}"));
    (fitted.params, fitted.steps)
}

/// The signal that a SIREN gives, clamped and rounded to 8 bits.
///
/// # Panics
/// When the shapes do not fit.
#[must_use]
pub fn decode(config: SirenConfig, params: &[f32], extents: &[usize]) -> Samples {
    let siren = config.on(extents);
    let values = field::decode(&siren, params, 0..siren.shape.n_samples(), IsaLevel::detect());
    let values = values.unwrap_or_else(|error| panic!("a SIREN's decode: {error}"));
    Samples::U8(values.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect())
}
