//! How much a step of a fit computes: by count, so that plans made from it are the same on every machine.

use asmr::cost::Cost;
use asmr::network::NetworkConfig;

use crate::config::Algorithm;
use crate::sampler::Epoch;

/// Multiply-adds of a gradient beside those of a decode of the same samples: forward, to the inputs, to the weights.
const PASSES: f64 = 3.0;
/// Cubes of the width that SOAP executes a step for a matrix between sine layers: a gradient is turned and its step turned
/// back (4), covariances are taken of every fourth (0.5), and bases renewed every twentieth step (0.4).
const SOAP_CUBES: f64 = 5.0;

/// Multiply-adds of one step in batches of about `fraction` of the cells (1: full batch), optimiser included.
#[must_use]
pub fn step_mac(network: &NetworkConfig, algorithm: Algorithm, fraction: f64) -> f64 {
    let epoch = Epoch::new(network, fraction);
    let n_samples = network.partition.n_samples() as f64 / f64::from(epoch.n_batches);
    gradient_mac(network, n_samples) * (1.0 + epoch.extra) + optimiser_mac(network, algorithm)
}

/// Multiply-adds of a gradient over some samples.
pub(crate) fn gradient_mac(network: &NetworkConfig, n_samples: f64) -> f64 {
    PASSES * Cost::of(network).mac_exec * n_samples
}

/// Multiply-adds of an optimiser's update, those of SOAP's products of matrices alone.
pub(crate) fn optimiser_mac(network: &NetworkConfig, algorithm: Algorithm) -> f64 {
    match algorithm {
        Algorithm::Adam => 0.0,
        Algorithm::Soap => {
            let n_matrices = (network.n_sine_layers() - 1) as f64;
            SOAP_CUBES * n_matrices * (network.width as f64).powi(3)
        }
    }
}
