//! How large a network a time allows.

use std::time::{Duration, Instant};

use asmr::cost::Cost;
use asmr::network::{Network, NetworkConfig, NetworkError};
use asmr::signal::Signal;
use asmr_kernels::IsaLevel;

use crate::gradient::GradientEngine;
use crate::sampler::Sampler;

/// Updates that a fit should have room for: with fewer, a narrower network gets further in the same time.
const STEPS: f64 = 100.0;
/// Widths tried are multiples of this, ...
const WIDTH_STEP: usize = 16;
/// ... and no narrower than this: below, steps hardly get quicker.
const MIN_WIDTH: usize = 64;
/// Samples that a trial takes the gradient of, about.
const TRIAL_SAMPLES: f64 = 131_072.0;
/// Trials; the first warms caches, the quickest counts.
const TRIALS: usize = 3;

/// The largest width, up to the network's own, at which about a hundred full-batch updates fit into `limit` on this
/// machine; 64, or the network's own where that is less, if none does.
///
/// Times a few small gradients, so that the answer is this machine's at this moment and takes some hundredths of a
/// second. Other widths are reckoned from executed multiply-adds.
///
/// # Errors
/// [`NetworkError`] for a shape that is refused.
///
/// # Panics
/// When extents or channels of signal and network differ.
pub fn width_for_time(
    signal: &Signal,
    network: &NetworkConfig,
    limit: Duration,
) -> Result<usize, NetworkError> {
    let fraction = (TRIAL_SAMPLES / network.partition.n_samples() as f64).min(1.0);
    let mut sampler = Sampler::new(network, fraction, 0);
    let share = 1.0 / f64::from(sampler.n_batches());
    let params = Network::init(network.clone(), 0, 1.0)?.into_params();
    let mut gradient = vec![0.0; params.len()];
    let mut engine = GradientEngine::new(network, signal, IsaLevel::detect());
    let seconds = (0..TRIALS)
        .map(|_| {
            let start = Instant::now();
            engine.loss_and_gradient(&params, sampler.next_batch(), &mut gradient);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    Ok(affordable_width(network, seconds / share, limit.as_secs_f64()))
}

/// The width from the seconds of a full-batch step at the network's own width.
fn affordable_width(network: &NetworkConfig, step_s: f64, limit_s: f64) -> usize {
    let mac = |width| Cost::of(&NetworkConfig { width, ..network.clone() }).mac_exec;
    let affordable = limit_s / STEPS / step_s * mac(network.width);
    let narrowest = MIN_WIDTH.min(network.width);
    std::iter::once(network.width)
        .chain((narrowest..network.width).rev().filter(|width| width % WIDTH_STEP == 0))
        .find(|&width| mac(width) <= affordable)
        .unwrap_or(narrowest)
}

#[cfg(test)]
mod tests {
    use asmr::network::Modulator;
    use asmr::partition::{Partition, parse_bases};

    use super::*;

    #[test]
    fn narrower_for_less_time() {
        let network = NetworkConfig {
            partition: Partition::new(&[512, 512], &parse_bases("4,4,4,8;4,4,4,8").unwrap()).unwrap(),
            channels: 1,
            width: 250,
            omega_0: 30.0,
            modulator: Modulator::Linear,
        };
        // A hundred steps of 20 ms fit into 2 s exactly; no step of any width fits into nothing.
        assert_eq!(affordable_width(&network, 0.02, 2.0), 250);
        assert_eq!(affordable_width(&network, 0.02, 1.999), 240);
        assert_eq!(affordable_width(&network, 0.02, 1e-9), 64);
        let narrow = NetworkConfig { width: 40, ..network.clone() };
        assert_eq!(affordable_width(&narrow, 0.02, 1e-9), 40);
        // A quarter of the time: the cost formula says where a quarter of the multiply-adds lies.
        let mac = |width| Cost::of(&NetworkConfig { width, ..network.clone() }).mac_exec;
        let width = affordable_width(&network, 0.02, 0.5);
        assert!(mac(width) <= mac(250) / 4.0 && mac(width + 16) > mac(250) / 4.0, "{width}");
    }
}
