//! Choosing quantisation steps by what they cost.
//!
//! A weight's error δ raises the mean squared error by `h · δ²`, where `h` is the mean of `(∂y/∂w)²` over all values
//! (Gauss-Newton), and rounding to a step of size Δ leaves errors of mean square `Δ² / 12`. A given number of bits does most
//! where all weights raise the error by the same D (reverse water-filling; Cover and Thomas, "Elements of information
//! theory", 10.3.3): `Δ = √(12 D / h)`, with one `h` and one step for each tensor. First-layer weights and modulators get the
//! finest steps that way: `omega_0` acts on them once and twice.

use asmr::coding::{QuantisedWeights, Step};
use asmr::network::Network;
use asmr::signal::Source;
use asmr_kernels::IsaLevel;

use crate::fit::FitError;
use crate::gradient::{Batch, GradientEngine};
use crate::sampler::Sampler;

/// Passes over the signal (or a batch of it) that sensitivities are averaged over. Each tensor's is a mean over its many
/// weights already.
const N_PROBES: u32 = 4;
/// The least mean squared error that a loss is a part of: exact fits are quantised as if they were off by this.
const LEAST_MSE: f64 = 1e-12;

/// Rounds a network's weights so that the decoded signal loses about `loss_db` of PSNR: the rounded network and the step of
/// each tensor, in the order of [`asmr::network::NetworkConfig::tensors`]. Looks at `batch` of the signal's cells, above 0
/// and at most 1.
///
/// # Errors
/// [`FitError::Read`] when the signal cannot be read.
///
/// # Panics
/// When the signal has other extents or channels than the network.
pub fn quantise(
    network: &Network,
    signal: &dyn Source,
    batch: f64,
    seed: u64,
    loss_db: f64,
) -> Result<(Network, Vec<Step>), FitError> {
    let (config, params) = (network.config(), network.params());
    let mut engine = GradientEngine::new(config, signal, IsaLevel::detect());
    let mut sampler = Sampler::new(config, batch, seed);
    let mut gradient = vec![0.0; params.len()];
    let mse = engine.loss_and_gradient(params, sampler.next_batch(), &mut gradient).mse;
    if let Some(reason) = signal.failure() {
        return Err(FitError::Read(reason));
    }
    let sensitivities = sensitivities(&mut engine, params, &mut sampler);
    let steps = steps(&sensitivities, params.len(), mse.max(LEAST_MSE) * (10f64.powf(loss_db / 10.0) - 1.0));
    let quantised = QuantisedWeights::nearest(config, steps, params);
    Ok((Network::new(config.clone(), quantised.weights(config))?, quantised.steps))
}

/// How much each tensor's weights move the outputs: the mean over its weights of the mean over all values of `(∂y/∂w)²`, in
/// the order of [`asmr::network::NetworkConfig::tensors`]; estimated on batches.
#[must_use]
pub fn sensitivities(engine: &mut GradientEngine<'_>, params: &[f32], sampler: &mut Sampler) -> Vec<f64> {
    let config = engine.config().clone();
    let n_values = config.partition.n_samples() as f64 * config.channels as f64;
    let tensors = config.tensors();
    let mut sums = vec![0.0; tensors.len()];
    let mut gradient = vec![0.0; params.len()];
    for probe in 0..N_PROBES {
        let batch = sampler.next_batch();
        let n_values = match batch {
            Batch::Full => n_values,
            Batch::Part(part) => n_values / f64::from(part.n_batches),
        };
        engine.probe(params, batch, u64::from(probe) << 40, &mut gradient);
        for (sum, tensor) in sums.iter_mut().zip(&tensors) {
            let squares: f64 = gradient[tensor.range()].iter().map(|&g| f64::from(g).powi(2)).sum();
            // Each has the mean (2 / n)² · Σ (∂y/∂w)².
            *sum += squares * n_values / 4.0 / tensor.len() as f64 / f64::from(N_PROBES);
        }
    }
    sums
}

/// Steps that together raise the mean squared error (on the network's \[0, 1\] scale) by about `mse`.
#[must_use]
pub fn steps(sensitivities: &[f64], n_params: usize, mse: f64) -> Vec<Step> {
    let distortion = mse / n_params as f64;
    // A tensor that moves nothing (of a constant signal) may have the largest step there is.
    sensitivities
        .iter()
        .map(|h| Step::at_most((12.0 * distortion / h.max(f64::MIN_POSITIVE)).sqrt()))
        .collect()
}
