//! A plain network of dense layers on this project's kernels, forward and back, tile by tile: what SIREN, Fourier
//! features, `KiloNeRF`'s cells and the hash grid's head have in common.

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::sharing::add_column_sums;
use asmr_kernels::sincos::{sincos_rows, sines};
use serde::{Deserialize, Serialize};

use crate::field::{FieldError, refuse};

/// What follows a hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Activation {
    /// `sin(omega_0 · z)`.
    Sine {
        /// Factor inside the sine.
        omega_0: f32,
    },
    /// `max(z, slope · z)`.
    Rectifier {
        /// Slope below zero, in \[0, 1).
        slope: f32,
    },
}

impl Activation {
    /// Refuses factors that are no numbers, and slopes that make no rectifier.
    pub(crate) fn validate(self) -> Result<(), FieldError> {
        match self {
            Self::Sine { omega_0 } if !(omega_0.is_finite() && omega_0 > 0.0) => {
                Err(refuse("omega_0", omega_0, "a number above 0"))
            }
            Self::Rectifier { slope } if !(0.0..1.0).contains(&slope) => {
                Err(refuse("the rectifier's slope", slope, "0 or more and less than 1"))
            }
            _ => Ok(()),
        }
    }
}

/// A network's shape. Weights: layer after layer, a layer's matrix `[out, in]`, then its biases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MlpShape {
    pub(crate) inputs: usize,
    pub(crate) width: usize,
    /// Linear layers, at least 2.
    pub(crate) layers: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: Activation,
    /// What follows the first layer, where it is not as after the others; of the same kind.
    pub(crate) first: Option<Activation>,
    pub(crate) biased: bool,
}

impl MlpShape {
    /// Inputs and outputs of a layer.
    pub(crate) fn fans(&self, layer: usize) -> (usize, usize) {
        let fan_in = if layer == 0 { self.inputs } else { self.width };
        (fan_in, if layer + 1 == self.layers { self.outputs } else { self.width })
    }

    /// What follows a hidden layer.
    fn activation_of(&self, layer: usize) -> Activation {
        self.first.filter(|_| layer == 0).unwrap_or(self.activation)
    }

    fn n_biases(&self, layer: usize) -> usize {
        if self.biased { self.fans(layer).1 } else { 0 }
    }

    /// Where a layer's matrix begins.
    pub(crate) fn offset(&self, layer: usize) -> usize {
        (0..layer).map(|l| self.fans(l).0 * self.fans(l).1 + self.n_biases(l)).sum()
    }

    pub(crate) fn n_params(&self) -> usize {
        self.offset(self.layers)
    }

    /// Draws weights layer by layer: `draw(layer, fan_in, fan_out, is_bias)`.
    pub(crate) fn init(&self, params: &mut Vec<f32>, mut draw: impl FnMut(usize, usize, usize, bool) -> f32) {
        for layer in 0..self.layers {
            let (fan_in, fan_out) = self.fans(layer);
            params.extend((0..fan_in * fan_out).map(|_| draw(layer, fan_in, fan_out, false)));
            params.extend((0..self.n_biases(layer)).map(|_| draw(layer, fan_in, fan_out, true)));
        }
    }

    /// Multiply-adds of one row.
    pub(crate) fn n_mac(&self) -> usize {
        (0..self.layers).map(|l| self.fans(l).0 * self.fans(l).1).sum()
    }

    /// Hidden neurons of one row.
    pub(crate) fn n_hidden(&self) -> usize {
        self.width * (self.layers - 1)
    }

    /// Values per row of a hidden layer's features: a sine layer keeps its cosines beside its sines.
    fn stride(&self) -> usize {
        match self.activation {
            Activation::Sine { .. } => 2 * self.width,
            Activation::Rectifier { .. } => self.width,
        }
    }
}

/// Weights made ready.
pub(crate) struct Mlp {
    shape: MlpShape,
    isa: IsaLevel,
    /// `Wᵀ`, times `omega_0` inside sines.
    forward: Vec<Packed>,
    /// `W`.
    backward: Vec<Packed>,
    /// As `forward`.
    biases: Vec<Vec<f32>>,
}

/// Buffers of one tile.
#[derive(Default)]
pub(crate) struct MlpScratch {
    /// Per hidden layer, rows × [`MlpShape::stride`].
    features: Vec<Vec<f32>>,
    /// ∂loss/∂ of a layer's output, then of what its activation was given; rows × width.
    back: Vec<f32>,
    next: Vec<f32>,
    transpose: TransposeScratch,
}

impl MlpScratch {
    /// ∂loss/∂inputs, rows × inputs, after a backward pass that was asked for it.
    pub(crate) fn input_gradient(&self) -> &[f32] {
        &self.back
    }
}

impl Mlp {
    pub(crate) fn new(shape: MlpShape, isa: IsaLevel) -> Self {
        let empty = vec![Packed::default(); shape.layers];
        let biases = (0..shape.layers).map(|l| vec![0.0; shape.fans(l).1]).collect();
        Self { shape, isa, forward: empty.clone(), backward: empty, biases }
    }

    pub(crate) fn load(&mut self, params: &[f32]) {
        assert_eq!(params.len(), self.shape.n_params(), "one value per weight");
        for layer in 0..self.shape.layers {
            let (fan_in, fan_out) = self.shape.fans(layer);
            let scale = match self.shape.activation_of(layer) {
                Activation::Sine { omega_0 } if layer + 1 < self.shape.layers => omega_0,
                _ => 1.0,
            };
            let (weights, rest) = params[self.shape.offset(layer)..].split_at(fan_in * fan_out);
            self.forward[layer].pack(fan_in, fan_out, weights, 1, fan_in, scale);
            self.backward[layer].pack(fan_out, fan_in, weights, fan_in, 1, 1.0);
            for (to, bias) in self.biases[layer].iter_mut().zip(&rest[..self.shape.n_biases(layer)]) {
                *to = bias * scale;
            }
        }
    }

    /// From `inputs` (rows × inputs) to `outputs` (rows × outputs), keeping what the way back needs.
    pub(crate) fn forward(&self, inputs: &[f32], scratch: &mut MlpScratch, outputs: &mut [f32]) {
        self.pass(inputs, scratch, outputs, true);
    }

    /// The same values, without the cosines that only the way back needs.
    pub(crate) fn values(&self, inputs: &[f32], scratch: &mut MlpScratch, outputs: &mut [f32]) {
        self.pass(inputs, scratch, outputs, false);
    }

    fn pass(&self, inputs: &[f32], scratch: &mut MlpScratch, outputs: &mut [f32], has_way_back: bool) {
        let MlpShape { width, layers, activation, .. } = self.shape;
        let rows = inputs.len() / self.shape.inputs;
        let stride = if has_way_back { self.shape.stride() } else { width };
        scratch.features.resize(layers - 1, Vec::new());
        for layer in 0..layers - 1 {
            let (before, after) = scratch.features.split_at_mut(layer);
            let (left, left_stride) =
                before.last().map_or((inputs, self.shape.inputs), |features| (&features[..], stride));
            let features = &mut after[0];
            features.resize(rows * stride, 0.0);
            let bias = Start::Bias(&self.biases[layer]);
            matmul(self.isa, rows, left, left_stride, &self.forward[layer], bias, features, stride);
            match activation {
                Activation::Sine { .. } if has_way_back => sincos_rows(self.isa, rows, width, features),
                Activation::Sine { .. } => sines(self.isa, features),
                Activation::Rectifier { slope } => {
                    for z in features.iter_mut() {
                        *z = z.max(slope * *z);
                    }
                }
            }
        }
        let bias = Start::Bias(&self.biases[layers - 1]);
        let (right, n) = (&self.forward[layers - 1], self.shape.outputs);
        matmul(self.isa, rows, &scratch.features[layers - 2], stride, right, bias, outputs, n);
    }

    /// From ∂loss/∂outputs back to the weights' gradient, which is added to, and to
    /// [`MlpScratch::input_gradient`] if `to_inputs`.
    pub(crate) fn backward(
        &self,
        inputs: &[f32],
        scratch: &mut MlpScratch,
        outputs: &[f32],
        gradient: &mut [f32],
        to_inputs: bool,
    ) {
        let MlpShape { width, layers, .. } = self.shape;
        let (rows, stride) = (inputs.len() / self.shape.inputs, self.shape.stride());
        let MlpScratch { features, back, next, transpose } = scratch;
        back.clear();
        back.extend_from_slice(outputs);
        for layer in (0..layers).rev() {
            let (fan_in, fan_out) = self.shape.fans(layer);
            if layer + 1 < layers {
                let rows_of = features[layer].chunks_exact(stride);
                for (d, features) in back.chunks_exact_mut(width).zip(rows_of) {
                    through(self.shape.activation_of(layer), features, d);
                }
            }
            let (left, left_stride) = match layer.checked_sub(1) {
                Some(before) => (&features[before][..], stride),
                None => (inputs, self.shape.inputs),
            };
            let part = &mut gradient[self.shape.offset(layer)..];
            let (weights, rest) = part.split_at_mut(fan_in * fan_out);
            matmul_transposed(
                self.isa,
                rows,
                back,
                fan_out,
                fan_out,
                left,
                left_stride,
                fan_in,
                weights,
                transpose,
            );
            if self.shape.biased {
                add_column_sums(self.isa, back, &mut rest[..fan_out]);
            }
            if layer > 0 || to_inputs {
                next.resize(rows * fan_in, 0.0);
                let right = &self.backward[layer];
                matmul(self.isa, rows, back, fan_out, right, Start::Zero, next, fan_in);
                std::mem::swap(back, next);
            }
        }
    }
}

/// One row's ∂loss/∂ of an activation's outputs into that of its inputs.
pub(crate) fn through(activation: Activation, features: &[f32], back: &mut [f32]) {
    match activation {
        Activation::Sine { omega_0 } => {
            let width = back.len();
            for (d, cosine) in back.iter_mut().zip(&features[width..]) {
                *d *= omega_0 * cosine;
            }
        }
        Activation::Rectifier { slope } => {
            for (d, &z) in back.iter_mut().zip(features) {
                *d *= if z > 0.0 { 1.0 } else { slope };
            }
        }
    }
}
