//! WIRE (Saragadam et al., 2023, arXiv 2301.05187): complex layers whose activation is a complex Gabor wavelet.
//!
//! ```text
//! ψ(z) = exp(j ω z - |s z|²)                                     equation 5
//! z_0 = ψ(W_0 x + b_0) with real W_0, b_0;   z_i = ψ(W_i z_{i-1} + b_i) with complex ones;   y = Re(W z + b)
//! ```
//!
//! x is in [-1, 1]. A hidden layer has floor(width / √2) complex neurons, so that it has about as many real weights as a
//! real layer of that width. Initial weights, real and imaginary parts alike: `U(±1/sqrt(fan_in))`, as the authors'
//! framework draws them. ω = s = 20 are the ASMR paper's. The optimiser is the authors': Adam at 5e-3 (they find 5e-3
//! to 2e-2 best), less where the signal has more than 256² samples, in batches of so many, exponential decay to a
//! tenth, 2,000 epochs.
//!
//! Layers are counted as a SIREN's: of four, one is real, two are complex and one is the output. The ASMR authors' program, told four,
//! has two complex ones more.
//!
//! Gradients are written by hand and complex products are real ones of twice the width, `[[Re, -Im], [Im, Re]]`, so
//! that all dense work runs on this project's kernels.
//!
//! Weights: `W_0` as `[out, in]`, `b_0`; per hidden layer `Re W`, `Im W`, `Re b`, `Im b`; of the output `Re W`, `Im W` and
//! `Re b` (the imaginary part reaches no value and is not stored).

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::sharing::add_column_sums;
use asmr_kernels::sincos::sincos_rows;
use serde::{Deserialize, Serialize};

use crate::axes::AxisTables;
use crate::draws::Draws;
use crate::field::{Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, refuse, within};
use crate::fit::{Recipe, Schedule};

/// Samples of the authors' batches.
const BATCH: usize = 256 * 256;

/// Settings of a WIRE network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WireSettings {
    /// Neurons of a hidden layer before they become complex; at least 2.
    pub width: usize,
    /// Linear layers, at least 2.
    pub layers: usize,
    /// ω: frequency of the wavelet.
    pub omega_0: f32,
    /// s: inverse width of its envelope.
    pub scale: f32,
}

impl Default for WireSettings {
    fn default() -> Self {
        Self { width: 256, layers: 4, omega_0: 20.0, scale: 20.0 }
    }
}

/// A WIRE network.
pub struct Wire {
    shape: Shape,
    settings: WireSettings,
    coordinates: AxisTables,
}

/// Weights made ready, as real matrices.
pub struct WireModel {
    isa: IsaLevel,
    forward: Vec<Packed>,
    backward: Vec<Packed>,
    biases: Vec<Vec<f32>>,
}

/// Buffers of one tile; a complex row is its real parts, then its imaginary ones.
#[derive(Default)]
pub struct WireScratch {
    inputs: Vec<f32>,
    /// Per hidden layer, z and ψ(z).
    linear: Vec<Vec<f32>>,
    wavelet: Vec<Vec<f32>>,
    angles: Vec<f32>,
    back: Vec<f32>,
    next: Vec<f32>,
    /// A hidden layer's gradient as a real matrix.
    folded: Vec<f32>,
    sums: Vec<f32>,
    transpose: TransposeScratch,
}

impl Wire {
    /// A network of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: WireSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        within("the width", settings.width, 2..=1 << 14, "2 to 16384")?;
        within("the number of layers", settings.layers, 2..=64, "2 to 64")?;
        for (name, factor) in [("omega_0", settings.omega_0), ("the scale", settings.scale)] {
            if !(factor.is_finite() && factor > 0.0) {
                return Err(refuse(name, factor, "a number above 0"));
            }
        }
        let coordinates = AxisTables::centred(&shape);
        let wire = Self { shape, settings, coordinates };
        within("the number of weights", wire.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        Ok(wire)
    }

    /// Complex neurons of a hidden layer.
    #[must_use]
    pub fn n_neurons(&self) -> usize {
        (self.settings.width as f64 / std::f64::consts::SQRT_2).floor() as usize
    }

    /// Stored numbers of a layer.
    fn n_layer_params(&self, layer: usize) -> usize {
        let (h, c) = (self.n_neurons(), self.shape.channels);
        match layer {
            0 => (self.shape.n_axes() + 1) * h,
            _ if layer + 1 < self.settings.layers => 2 * (h + 1) * h,
            _ => (2 * h + 1) * c,
        }
    }

    fn offset(&self, layer: usize) -> usize {
        (0..layer).map(|l| self.n_layer_params(l)).sum()
    }

    /// A layer as a real matrix `[out, in]` with its bias, both with real parts first.
    fn real(&self, layer: usize, params: &[f32]) -> (usize, Vec<f32>, Vec<f32>) {
        let (h, params) = (self.n_neurons(), &params[self.offset(layer)..][..self.n_layer_params(layer)]);
        if layer == 0 {
            let axes = self.shape.n_axes();
            let (mut weights, mut bias) = (params[..axes * h].to_vec(), params[axes * h..].to_vec());
            weights.resize(axes * 2 * h, 0.0);
            bias.resize(2 * h, 0.0);
            return (axes, weights, bias);
        }
        let last = layer + 1 == self.settings.layers;
        let n = if last { self.shape.channels } else { h };
        let (re, rest) = params.split_at(n * h);
        let (im, bias) = rest.split_at(n * h);
        let mut weights = Vec::with_capacity(if last { 2 * n * h } else { 4 * n * h });
        for (re, im) in re.chunks_exact(h).zip(im.chunks_exact(h)) {
            weights.extend_from_slice(re);
            weights.extend(im.iter().map(|w| -w));
        }
        if !last {
            for (re, im) in re.chunks_exact(h).zip(im.chunks_exact(h)) {
                weights.extend_from_slice(im);
                weights.extend_from_slice(re);
            }
        }
        (2 * h, weights, bias.to_vec())
    }

    /// ψ of a tile's rows.
    fn wavelets(&self, isa: IsaLevel, linear: &[f32], angles: &mut Vec<f32>, wavelet: &mut Vec<f32>) {
        let (h, omega) = (self.n_neurons(), self.settings.omega_0);
        let squared = self.settings.scale * self.settings.scale;
        angles.clear();
        angles.extend(linear.iter().map(|z| omega * z));
        sincos_rows(isa, linear.len() / (2 * h), h, angles);
        wavelet.resize(linear.len(), 0.0);
        let rows = linear.chunks_exact(2 * h).zip(angles.chunks_exact(2 * h));
        for (out, (z, waves)) in wavelet.chunks_exact_mut(2 * h).zip(rows) {
            let ((re, im), (sines, cosines)) = (z.split_at(h), waves.split_at(h));
            let (p, q) = out.split_at_mut(h);
            for j in 0..h {
                let envelope = exp(-omega * im[j] - squared * (re[j] * re[j] + im[j] * im[j]));
                p[j] = envelope * cosines[j];
                q[j] = envelope * sines[j];
            }
        }
    }

    /// ∂loss/∂ψ(z) into ∂loss/∂z: with ψ = p + jq and z = a + jb,
    /// `∂ψ/∂a = (jω - 2s²a) ψ` and `∂ψ/∂b = (-ω - 2s²b) ψ`.
    fn through(&self, linear: &[f32], wavelet: &[f32], back: &mut [f32]) {
        let (h, omega) = (self.n_neurons(), self.settings.omega_0);
        let twice = 2.0 * self.settings.scale * self.settings.scale;
        let rows = linear.chunks_exact(2 * h).zip(wavelet.chunks_exact(2 * h));
        for (d, (z, psi)) in back.chunks_exact_mut(2 * h).zip(rows) {
            let ((a, b), (p, q)) = (z.split_at(h), psi.split_at(h));
            let (dp, dq) = d.split_at_mut(h);
            for j in 0..h {
                let along = dp[j] * p[j] + dq[j] * q[j];
                let across = dq[j] * p[j] - dp[j] * q[j];
                dp[j] = omega * across - twice * a[j] * along;
                dq[j] = (-omega - twice * b[j]) * along;
            }
        }
    }
}

/// e^x, relative error at most 2e-7; 0 below -87, infinite above 88; NaN for NaN. Written so that loops over it become vector code.
#[inline]
fn exp(exponent: f32) -> f32 {
    // 1.5·2^23: adding and subtracting it rounds to a whole number and leaves that in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let x = exponent.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    // ln 2 in two parts; the first has 15 bits, so its product with n is exact.
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    // Cephes' minimax polynomial (Moshier, expf.c) on ±ln 2 / 2.
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let beyond = if exponent > 0.0 { f32::INFINITY } else { 0.0 };
    let factor = if exponent <= -87.0 || exponent > 88.0 { beyond } else { power };
    (p * r * r + r + 1.0) * factor
}

impl Field for Wire {
    type Model = WireModel;
    type Scratch = WireScratch;

    fn name(&self) -> &'static str {
        "wire"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.offset(self.settings.layers)
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        let (mut draws, mut params) = (Draws::new(seed), Vec::with_capacity(self.n_params()));
        for layer in 0..self.settings.layers {
            let fan_in = if layer == 0 { self.shape.n_axes() } else { self.n_neurons() };
            let bound = 1.0 / (fan_in as f64).sqrt();
            params.extend((0..self.n_layer_params(layer)).map(|_| draws.uniform(bound)));
        }
        params
    }

    /// A complex multiply-add counts as the 4 real ones it is made of.
    fn cost(&self) -> FieldCost {
        let (h, axes, c) = (self.n_neurons(), self.shape.n_axes(), self.shape.channels);
        let n_hidden = self.settings.layers - 2;
        FieldCost {
            n_params: self.n_params(),
            mac_paper: ((axes + 1) * h + n_hidden * (4 * h * h + 2 * h) + (2 * h + 1) * c) as f64,
            // The first layer's imaginary half is a product with zeros; 5 more make the wavelet of a neuron.
            mac_exec: (2 * axes * h + n_hidden * 4 * h * h + 2 * h * c + 5 * h * (n_hidden + 1)) as f64,
            sin_exec: (2 * h * (n_hidden + 1)) as f64,
            exp_exec: (h * (n_hidden + 1)) as f64,
            table_reads: 0.0,
        }
    }

    fn recipe(&self) -> Recipe {
        let n_samples = self.shape.n_samples();
        let rate = 5e-3 * (BATCH as f64 / n_samples as f64).min(1.0);
        let n_batches = n_samples.div_ceil(BATCH).min(1 << 16) as u32;
        Recipe {
            batch: Some(BATCH),
            ..Recipe::adam(rate, Schedule::Exponential { last: 0.1 }, 2_000 * n_batches)
        }
    }

    fn model(&self, isa: IsaLevel) -> WireModel {
        let empty = vec![Packed::default(); self.settings.layers];
        WireModel {
            isa,
            forward: empty.clone(),
            backward: empty,
            biases: vec![Vec::new(); self.settings.layers],
        }
    }

    fn load(&self, model: &mut WireModel, params: &[f32]) {
        for layer in 0..self.settings.layers {
            let (fan_in, weights, bias) = self.real(layer, params);
            let fan_out = bias.len();
            model.forward[layer].pack(fan_in, fan_out, &weights, 1, fan_in, 1.0);
            model.backward[layer].pack(fan_out, fan_in, &weights, fan_in, 1, 1.0);
            model.biases[layer] = bias;
        }
    }

    fn forward(
        &self,
        model: &WireModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut WireScratch,
        outputs: &mut [f32],
    ) {
        let (rows, h, last) = (samples.len(), self.n_neurons(), self.settings.layers - 1);
        self.coordinates.fill(&self.shape, samples, &mut scratch.inputs);
        let WireScratch { inputs, linear, wavelet, angles, .. } = scratch;
        linear.resize(last, Vec::new());
        wavelet.resize(last, Vec::new());
        for layer in 0..last {
            let (left, stride) = match layer.checked_sub(1) {
                None => (&inputs[..], self.shape.n_axes()),
                Some(before) => (&wavelet[before][..], 2 * h),
            };
            linear[layer].resize(rows * 2 * h, 0.0);
            let bias = Start::Bias(&model.biases[layer]);
            matmul(model.isa, rows, left, stride, &model.forward[layer], bias, &mut linear[layer], 2 * h);
            self.wavelets(model.isa, &linear[layer], angles, &mut wavelet[layer]);
        }
        let (left, bias) = (&wavelet[last - 1], Start::Bias(&model.biases[last]));
        matmul(model.isa, rows, left, 2 * h, &model.forward[last], bias, outputs, self.shape.channels);
    }

    fn backward(
        &self,
        model: &WireModel,
        samples: &[u32],
        scratch: &mut WireScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        let (isa, rows, h) = (model.isa, samples.len(), self.n_neurons());
        let (axes, channels, last) = (self.shape.n_axes(), self.shape.channels, self.settings.layers - 1);
        let WireScratch { inputs, linear, wavelet, back, next, folded, sums, transpose, .. } = scratch;
        back.clear();
        back.extend_from_slice(outputs);
        for layer in (0..=last).rev() {
            let n = if layer == last { channels } else { 2 * h };
            let gradient = &mut gradient[self.offset(layer)..][..self.n_layer_params(layer)];
            if layer < last {
                self.through(&linear[layer], &wavelet[layer], back);
            }
            sums.clear();
            sums.resize(n, 0.0);
            add_column_sums(isa, back, sums);
            let Some(before) = layer.checked_sub(1) else {
                let (weights, bias) = gradient.split_at_mut(axes * h);
                matmul_transposed(isa, rows, back, 2 * h, h, inputs, axes, axes, weights, transpose);
                add(bias, &sums[..h]);
                break;
            };
            folded.clear();
            folded.resize(n * 2 * h, 0.0);
            matmul_transposed(isa, rows, back, n, n, &wavelet[before], 2 * h, 2 * h, folded, transpose);
            // Re W stands at (Re, Re) and (Im, Im), Im W at (Im, Re) and, negated, at (Re, Im).
            let n_out = if layer == last { channels } else { h };
            let (re, rest) = gradient.split_at_mut(n_out * h);
            let (im, bias) = rest.split_at_mut(n_out * h);
            for (k, row) in folded.chunks_exact(2 * h).enumerate() {
                let (from_re, from_im) = row.split_at(h);
                if k < n_out {
                    add(&mut re[k * h..][..h], from_re);
                    im[k * h..][..h].iter_mut().zip(from_im).for_each(|(g, x)| *g -= x);
                } else {
                    add(&mut im[(k - h) * h..][..h], from_re);
                    add(&mut re[(k - h) * h..][..h], from_im);
                }
            }
            add(bias, sums);
            next.resize(rows * 2 * h, 0.0);
            matmul(isa, rows, back, n, &model.backward[layer], Start::Zero, next, 2 * h);
            std::mem::swap(back, next);
        }
    }
}

fn add(to: &mut [f32], from: &[f32]) {
    for (to, x) in to.iter_mut().zip(from) {
        *to += x;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn exponentials() {
        let mut n_compared = 0;
        for i in -8600..=800 {
            let x = i as f32 / 100.0;
            let (actual, expected) = (f64::from(super::exp(x)), f64::from(x).exp());
            // Two units in the last place: the polynomial's error, and rounding.
            assert!((actual - expected).abs() <= 2.4e-7 * expected, "exp({x}): {actual}, not {expected}");
            n_compared += 1;
        }
        assert_eq!(n_compared, 9401);
        assert_eq!([-1e30, -88.0, f32::NEG_INFINITY].map(super::exp), [0.0; 3]);
        assert_eq!([88.1, 89.2, 100.0, 225.0, f32::INFINITY].map(super::exp), [f32::INFINITY; 5]);
        assert!(super::exp(f32::NAN).is_nan());
    }
}
