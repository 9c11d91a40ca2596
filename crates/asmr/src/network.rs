//! Networks: configuration, named tensors in one flat array of weights, and initialisation.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use thiserror::Error;

use crate::partition::Partition;
use crate::signal::{MAX_CHANNELS, shown};

/// The widest network.
pub const MAX_WIDTH: usize = 16_384;
/// The most weights of one network.
pub const MAX_PARAMS: usize = 1 << 30;
/// Hidden width of the nonlinear modulator.
pub const MODULATOR_WIDTH: usize = 32;

/// How a level's digits shift the phases of the layer before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modulator {
    /// `omega_0² · M x̂`: a matrix on the digit's coordinate, no bias (the paper's).
    Linear,
    /// `omega_0 ·` a 3-layer, 32-wide SIREN of the digit's coordinate (the paper's).
    Nonlinear,
    /// `omega_0 · Σ_axis T[axis][digit]`: one free vector per digit, looked up, no multiply-add.
    Table,
}

/// Everything that decides a network's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The grid and its bases.
    pub partition: Partition,
    /// Output values per sample.
    pub channels: usize,
    /// Neurons of each sine layer, d.
    pub width: usize,
    /// Factor inside every sine (30 in the paper).
    pub omega_0: f32,
    /// How digits modulate.
    pub modulator: Modulator,
}

/// Why a configuration or a set of weights is not a network.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NetworkError {
    /// A width outside its range.
    #[error("width {0}: a network's width is 1 to {MAX_WIDTH}")]
    Width(usize),
    /// A channel count outside its range.
    #[error("{0} channels: a network has 1 to {MAX_CHANNELS}")]
    Channels(usize),
    /// A frequency that is no positive number.
    #[error("omega_0 is {}; it must be finite and above 0, at most 10000", shown(.0))]
    Omega(f32),
    /// More weights than allowed.
    #[error("this shape has {0} weights; at most {MAX_PARAMS} are allowed")]
    TooManyParams(u128),
    /// The wrong number of weights.
    #[error("{actual} weights for a shape that needs {expected}")]
    ParamCount {
        /// Weights the shape needs.
        expected: usize,
        /// Weights there are.
        actual: usize,
    },
    /// A NaN or infinite weight.
    #[error("weight {index} of tensor '{tensor}' is {value}; every weight must be finite")]
    NotFinite {
        /// The tensor's name.
        tensor: String,
        /// Index inside the tensor.
        index: usize,
        /// The value.
        value: f32,
    },
}

/// What a tensor does in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `W_i` of sine layer i, `[out, in]`.
    LayerWeight(usize),
    /// `b_i` of sine layer i.
    LayerBias(usize),
    /// `W_out`.
    OutputWeight,
    /// `b_out`.
    OutputBias,
    /// Part of the modulator of a level (1 to L-1).
    Modulator(usize),
}

/// One named tensor inside the flat array of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Name, as in the authors' `PyTorch` models.
    pub name: String,
    /// Shape, `[out, in]` for matrices.
    pub shape: Vec<usize>,
    /// First weight in the flat array.
    pub offset: usize,
    /// What it does.
    pub role: Role,
}

impl Tensor {
    /// Number of weights.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no tensor is empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Place in the flat array.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

impl NetworkConfig {
    /// Refuses a shape outside the limits. The partition is valid by its type.
    ///
    /// # Errors
    /// [`NetworkError`] with the actual value and the accepted range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        if self.width == 0 || self.width > MAX_WIDTH {
            return Err(NetworkError::Width(self.width));
        }
        if self.channels == 0 || self.channels > MAX_CHANNELS {
            return Err(NetworkError::Channels(self.channels));
        }
        if !(self.omega_0 > 0.0 && self.omega_0 <= 10_000.0) {
            return Err(NetworkError::Omega(self.omega_0));
        }
        let n: u128 =
            self.shapes().iter().map(|(_, s, _)| s.iter().map(|&x| x as u128).product::<u128>()).sum();
        if n > MAX_PARAMS as u128 {
            return Err(NetworkError::TooManyParams(n));
        }
        Ok(())
    }

    /// Number of sine layers: levels minus one.
    #[must_use]
    pub fn n_sine_layers(&self) -> usize {
        self.partition.n_levels() - 1
    }

    fn shapes(&self) -> Vec<(String, Vec<usize>, Role)> {
        let (d, axes) = (self.width, self.partition.n_axes());
        let mut shapes = Vec::new();
        for i in 0..self.n_sine_layers() {
            let fan_in = if i == 0 { axes } else { d };
            shapes.push((format!("net.{i}.linear.weight"), vec![d, fan_in], Role::LayerWeight(i)));
            shapes.push((format!("net.{i}.linear.bias"), vec![d], Role::LayerBias(i)));
        }
        for level in 1..self.partition.n_levels() {
            let (i, role) = (level - 1, Role::Modulator(level));
            match self.modulator {
                Modulator::Linear => {
                    shapes.push((format!("modulators.{i}.linear.weight"), vec![d, axes], role));
                }
                Modulator::Nonlinear => {
                    let h = MODULATOR_WIDTH;
                    for (j, fan_in) in [(0, axes), (1, h)] {
                        shapes.push((
                            format!("modulators.{i}.model.net.{j}.linear.weight"),
                            vec![h, fan_in],
                            role,
                        ));
                        shapes.push((format!("modulators.{i}.model.net.{j}.linear.bias"), vec![h], role));
                    }
                    shapes.push((format!("modulators.{i}.model.last_layer.linear.weight"), vec![d, h], role));
                    shapes.push((format!("modulators.{i}.model.last_layer.linear.bias"), vec![d], role));
                }
                Modulator::Table => {
                    for axis in 0..axes {
                        let base = self.partition.base(axis, level);
                        shapes.push((format!("modulators.{i}.table.{axis}"), vec![base, d], role));
                    }
                }
            }
        }
        shapes.push(("last_layer.linear.weight".to_owned(), vec![self.channels, d], Role::OutputWeight));
        shapes.push(("last_layer.linear.bias".to_owned(), vec![self.channels], Role::OutputBias));
        shapes
    }

    /// All tensors in the order of the flat array: sine layers, modulators, output layer.
    #[must_use]
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut offset = 0;
        self.shapes()
            .into_iter()
            .map(|(name, shape, role)| {
                let tensor = Tensor { name, shape, offset, role };
                offset += tensor.len();
                tensor
            })
            .collect()
    }

    /// Number of weights.
    #[must_use]
    pub fn n_params(&self) -> usize {
        self.shapes().iter().map(|(_, s, _)| s.iter().product::<usize>()).sum()
    }

    /// Where each part lies in the flat array.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let mut layout = Layout {
            layer_weights: Vec::new(),
            layer_biases: Vec::new(),
            modulators: vec![Vec::new(); self.partition.n_levels()],
            output_weight: 0..0,
            output_bias: 0..0,
        };
        for tensor in self.tensors() {
            let range = tensor.range();
            match tensor.role {
                Role::LayerWeight(_) => layout.layer_weights.push(range),
                Role::LayerBias(_) => layout.layer_biases.push(range),
                Role::Modulator(level) => layout.modulators[level].push(range),
                Role::OutputWeight => layout.output_weight = range,
                Role::OutputBias => layout.output_bias = range,
            }
        }
        layout
    }
}

/// Ranges of the flat array of weights, by role.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `W_i` per sine layer.
    pub layer_weights: Vec<Range<usize>>,
    /// `b_i` per sine layer.
    pub layer_biases: Vec<Range<usize>>,
    /// Tensors of each level's modulator in order; none at level 0.
    pub modulators: Vec<Vec<Range<usize>>>,
    /// `W_out`.
    pub output_weight: Range<usize>,
    /// `b_out`.
    pub output_bias: Range<usize>,
}

/// A configuration with its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    config: NetworkConfig,
    params: Vec<f32>,
}

impl Network {
    /// Puts a shape and its weights (in the order of [`NetworkConfig::tensors`]) together.
    ///
    /// # Errors
    /// [`NetworkError`] when the shape is refused, the number of weights is wrong, or one is not finite.
    pub fn new(config: NetworkConfig, params: Vec<f32>) -> Result<Self, NetworkError> {
        config.validate()?;
        let expected = config.n_params();
        if params.len() != expected {
            return Err(NetworkError::ParamCount { expected, actual: params.len() });
        }
        if let Some(i) = params.iter().position(|w| !w.is_finite()) {
            let tensor = config.tensors().into_iter().find(|t| t.range().contains(&i));
            let (tensor, offset) = tensor.map_or((String::new(), 0), |t| (t.name, t.offset));
            return Err(NetworkError::NotFinite { tensor, index: i - offset, value: params[i] });
        }
        Ok(Self { config, params })
    }

    /// A network with the paper's initialisation: `W_0, b_0 ~ U(±1/D)`; other weights and biases
    /// `U(±sqrt(6/fan_in)/omega_0)`; linear modulators `U(±1/sqrt(D))`; nonlinear modulators as a SIREN.
    /// Table modulators start where a linear modulator would: each axis' row of a digit is the digit's
    /// coordinate times a column drawn as above.
    ///
    /// The same seed gives the same weights on every machine. `modulation_scale` multiplies the output of every
    /// modulator (its last matrix and bias): 1 is the paper's.
    ///
    /// # Errors
    /// [`NetworkError`] when the shape is refused.
    pub fn init(config: NetworkConfig, seed: u64, modulation_scale: f32) -> Result<Self, NetworkError> {
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = |bound: f64| {
            // 24 bits: every value is exact in f32 before scaling.
            let unit = f64::from(rng.next_u32() >> 8) / f64::from(1u32 << 24);
            (2.0 * unit - 1.0) * bound
        };
        let mut params = vec![0.0; config.n_params()];
        let axes = config.partition.n_axes() as f64;
        let omega_0 = f64::from(config.omega_0);
        let scale = f64::from(modulation_scale);
        let hidden = |fan_in: usize| (6.0 / fan_in as f64).sqrt() / omega_0;
        let mut table_axis = 0;
        let mut table_level = 0;
        for tensor in config.tensors() {
            let out = &mut params[tensor.range()];
            let bound = match tensor.role {
                Role::LayerWeight(0) | Role::LayerBias(0) => 1.0 / axes,
                Role::LayerWeight(_) | Role::LayerBias(_) | Role::OutputWeight | Role::OutputBias => {
                    hidden(config.width)
                }
                Role::Modulator(level) => match config.modulator {
                    Modulator::Linear => scale / axes.sqrt(),
                    Modulator::Nonlinear => {
                        if tensor.name.contains(".net.0.") {
                            1.0 / axes
                        } else if tensor.name.contains(".net.1.") {
                            hidden(MODULATOR_WIDTH)
                        } else {
                            scale * hidden(MODULATOR_WIDTH)
                        }
                    }
                    Modulator::Table => {
                        if level != table_level {
                            (table_level, table_axis) = (level, 0);
                        }
                        let bound = omega_0 * scale / axes.sqrt();
                        let column: Vec<f64> = (0..config.width).map(|_| uniform(bound)).collect();
                        for (digit, row) in out.chunks_exact_mut(config.width).enumerate() {
                            let x = config.partition.coordinate(table_axis, level, digit);
                            for (o, c) in row.iter_mut().zip(&column) {
                                *o = (x * c) as f32;
                            }
                        }
                        table_axis += 1;
                        continue;
                    }
                },
            };
            for o in out {
                *o = uniform(bound) as f32;
            }
        }
        Self::new(config, params)
    }

    /// The shape.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// All weights, in the order of [`NetworkConfig::tensors`].
    #[must_use]
    pub fn params(&self) -> &[f32] {
        &self.params
    }

    /// All weights, by move.
    #[must_use]
    pub fn into_params(self) -> Vec<f32> {
        self.params
    }
}
