//! How large a network a time allows.

use std::time::{Duration, Instant};

use asmr::cost::Cost;
use asmr::network::{Network, NetworkConfig};
use asmr::planner::{PlanError, PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalError, SignalInfo};
use asmr_kernels::IsaLevel;
use thiserror::Error;

use crate::config::MEDIUM_SAMPLES;
use crate::gradient::{Batch, GradientEngine};

/// Gradients that a fit should have room for: with fewer, a narrower network gets further in the same time.
const STEPS: f64 = 100.0;
/// ... of 2^21 samples of a larger signal, which is fitted in batches: those gain from more of them (results/, `time-study.tsv`).
const LARGE_STEPS: f64 = 200.0;
/// Widths tried are multiples of this, ...
const WIDTH_STEP: usize = 16;
/// ... and no narrower than this: below, steps hardly get quicker.
const MIN_WIDTH: usize = 64;
/// By number of axes minus one: the most samples along an axis of the trial, some 2^16 in all.
const TRIAL_EXTENT: [usize; 4] = [65_536, 256, 40, 16];
/// Trials; the first warms caches, the quickest counts.
const TRIALS: usize = 3;

/// Why there is no trial.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BudgetError {
    /// No network for the trial.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// No signal for the trial.
    #[error(transparent)]
    Signal(#[from] SignalError),
}

/// The largest width, up to the network's own, at which about a hundred full-batch gradients (of a signal of more than 2^21
/// samples: as many samples as two hundred of 2^21) fit into `limit` on this machine; 64, or the network's own where that is
/// less, if none does.
///
/// Times a few gradients of a small network of the same width and channels, some hundredths of a second whatever the size
/// of the grid, and reckons the rest from executed multiply-adds. So the answer is this machine's at this moment.
///
/// # Errors
/// [`BudgetError`] for a width, channels or an `omega_0` that are no network's.
pub fn width_for_time(network: &NetworkConfig, limit: Duration) -> Result<usize, BudgetError> {
    let extents = network.partition.extents();
    let most = TRIAL_EXTENT[extents.len() - 1];
    let extents: Vec<usize> = extents.iter().map(|&extent| extent.min(most)).collect();
    let request = PlanRequest {
        width: Some(network.width),
        modulator: network.modulator,
        omega_0: network.omega_0,
        ..PlanRequest::new(&extents, network.channels)
    };
    let trial = plan(&request)?.into_config(&request);
    // Time does not depend on what is in a signal.
    let n_values = extents.iter().product::<usize>() * network.channels;
    let info = SignalInfo::plain(extents, network.channels, SampleType::U8, None);
    let signal = Signal::new(info, Samples::U8(vec![128; n_values]))?;
    let params = Network::init(trial.clone(), 0, 1.0).map_err(PlanError::from)?.into_params();
    let mut gradient = vec![0.0; params.len()];
    let mut engine = GradientEngine::new(&trial, &signal, IsaLevel::detect());
    let seconds = (0..TRIALS)
        .map(|_| {
            let start = Instant::now();
            engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    Ok(affordable_width(network, seconds * mac(network) / mac(&trial), limit.as_secs_f64()))
}

/// Multiply-adds of a decode of the whole signal, or of a part of a large one; a gradient's are three times as many.
fn mac(network: &NetworkConfig) -> f64 {
    Cost::of(network).mac_exec * network.partition.n_samples().min(MEDIUM_SAMPLES) as f64
}

/// The width from the seconds of a gradient at the network's own width.
fn affordable_width(network: &NetworkConfig, step_s: f64, limit_s: f64) -> usize {
    let with = |width| mac(&NetworkConfig { width, ..network.clone() });
    let is_large = network.partition.n_samples() > MEDIUM_SAMPLES;
    let affordable = limit_s / if is_large { LARGE_STEPS } else { STEPS } / step_s * mac(network);
    let narrowest = MIN_WIDTH.min(network.width);
    std::iter::once(network.width)
        .chain((narrowest..network.width).rev().filter(|width| width % WIDTH_STEP == 0))
        .find(|&width| with(width) <= affordable)
        .unwrap_or(narrowest)
}

#[cfg(test)]
mod tests {
    use asmr::network::Modulator;
    use asmr::partition::{Partition, parse_bases};

    use super::*;

    fn network(extents: &[usize], bases: &str, width: usize) -> NetworkConfig {
        let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
        NetworkConfig { partition, channels: 1, width, omega_0: 30.0, modulator: Modulator::Linear }
    }

    #[test]
    fn narrower_for_less_time() {
        let network = network(&[512, 512], "4,4,4,8;4,4,4,8", 250);
        // A hundred steps of 20 ms fit into 2 s exactly; no step of any width fits into nothing.
        assert_eq!(affordable_width(&network, 0.02, 2.0), 250);
        assert_eq!(affordable_width(&network, 0.02, 1.999), 240);
        assert_eq!(affordable_width(&network, 0.02, 1e-9), 64);
        let narrow = NetworkConfig { width: 40, ..network.clone() };
        assert_eq!(affordable_width(&narrow, 0.02, 1e-9), 40);
        // A quarter of the time: the cost formula says where a quarter of the multiply-adds lies.
        let of = |width| Cost::of(&NetworkConfig { width, ..network.clone() }).mac_exec;
        let width = affordable_width(&network, 0.02, 0.5);
        assert!(of(width) <= of(250) / 4.0 && of(width + 16) > of(250) / 4.0, "{width}");
    }

    #[test]
    fn large_signals_get_twice_the_steps() {
        let network = network(&[2048, 2048], "4,8,8,8;4,8,8,8", 250);
        assert_eq!(affordable_width(&network, 0.02, 4.0), 250);
        assert_eq!(affordable_width(&network, 0.02, 3.999), 240);
    }

    #[test]
    fn any_grid_has_a_width() {
        let mut n_cases = 0;
        for (extents, bases) in [
            (vec![1], "1,1"),
            (vec![1, 1], "1,1;1,1"),
            (vec![37, 1], "4,10;1,1"),
            (vec![3, 4, 5, 2], "3,1;2,2;1,5;2,1"),
            // Far larger than the trial: its 2^40 samples must not be touched.
            (vec![1 << 20, 1 << 20], "32,32,32,32;32,32,32,32"),
        ] {
            let network = network(&extents, bases, 72);
            let none = width_for_time(&network, Duration::from_nanos(1));
            assert_eq!(none, Ok(64), "{extents:?}");
            let plenty = width_for_time(&network, Duration::from_secs(1 << 40));
            assert_eq!(plenty, Ok(72), "{extents:?}");
            n_cases += 1;
        }
        assert_eq!(n_cases, 5);
    }
}
