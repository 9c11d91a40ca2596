//! Fitting as a stream of events.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::inference::{Decoder, Request};
use asmr::network::{Network, NetworkConfig, NetworkError};
use asmr::signal::{SignalInfo, Source};
use asmr::walk::Region;
use asmr_kernels::IsaLevel;
use thiserror::Error;

use crate::config::{Algorithm, ConfigError, FitConfig};
use crate::gradient::GradientEngine;
use crate::optimiser::Optimiser;
use crate::sampler::Sampler;

/// When to end a fit early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// End as soon as the decoded signal reaches this PSNR in dB.
    pub target_psnr_db: Option<f64>,
    /// End after this long, with the rate's decay planned for it.
    pub time_limit: Option<Duration>,
    /// End at the next step once this is set (Ctrl-C).
    pub stop: Option<&'a AtomicBool>,
}

/// What happens during a fit.
#[derive(Clone, Debug, PartialEq)]
pub enum FitEvent {
    /// One optimiser update was made.
    Step {
        /// Updates so far.
        step: u32,
        /// PSNR in dB of the network before this update, over its batch, neither clamped nor rounded.
        psnr_db: f64,
        /// Share of the fit that is done, 0 to 1, by steps or by time.
        progress: f64,
    },
    /// The fit diverged and went back to a good state with a lower rate.
    Recovered {
        /// The update at which it was noticed.
        step: u32,
        /// What was seen.
        reason: String,
        /// Factor on all rates from here on.
        rate_factor: f64,
    },
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All steps were made.
    Finished,
    /// The target was reached.
    TargetReached,
    /// The time was up.
    TimeUp,
    /// It was told to stop.
    Stopped,
}

/// A fitted network and how it came about.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The best network seen.
    pub network: Network,
    /// Updates made.
    pub steps: u32,
    /// Median milliseconds of a step.
    pub step_ms: f64,
    /// Seconds in all.
    pub elapsed_s: f64,
    /// Why it ended.
    pub ending: Ending,
    /// How often it diverged and was set back.
    pub recoveries: u32,
}

/// Why there is no fit.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FitError {
    /// A setting outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A shape that is refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A network for another signal.
    #[error(
        "the network is for extents {network:?} with {network_channels} channels, the signal has {signal:?} with {signal_channels}"
    )]
    Shape {
        /// The network's extents.
        network: Vec<usize>,
        /// The network's channels.
        network_channels: usize,
        /// The signal's extents.
        signal: Vec<usize>,
        /// The signal's channels.
        signal_channels: usize,
    },
    /// The signal could not be read.
    #[error("{0}")]
    Read(String),
    /// It diverged again and again.
    #[error("the fit diverged {0} times, each time at a lower rate; try a lower --lr or more --width")]
    Diverged(u32),
}

/// Set-backs after which a fit gives up.
const MAX_RECOVERIES: u32 = 8;
/// Factor on all rates at a set-back.
const RECOVERY_FACTOR: f64 = 0.5;
/// Steps between two copies of a good state.
const CHECKPOINT_STEPS: u32 = 25;
/// A fit whose PSNR stays this many dB under its best ...
const DIVERGED_DB: f64 = 3.0;
/// ... for this many steps in a row has diverged. (Single steps do spike and mend themselves.)
const DIVERGED_STEPS: u32 = 20;
/// A step this many dB under the best is worth no patience.
const LOST_DB: f64 = 12.0;
/// Above this PSNR errors are far below what 8 bits show, and swings of many dB are no divergence.
const CEILING_DB: f64 = 50.0;

/// A loss this many dB above the least so far is a sign that the rate is too high; ...
const UNSTEADY_DB: f64 = 0.5;
/// ... each such step lowers it by this factor, ...
const STEADIER: f64 = 0.9;
/// ... but not to nothing: a loss that stays high needs a rate to fall again, ...
const STEADIEST: f64 = 0.05;
/// ... and each new best raises it again, up to the schedule's.
const BOLDER: f64 = 1.02;

/// Share of the newest weights in the running average that a fit by SOAP may end with. An average over about five steps
/// decodes 1 dB better than the weights of one step while rates are high, 0.1 to 0.3 dB better at the end.
const AVERAGE_SHARE: f32 = 0.2;
/// By how many dB a decode may be better than the present loss, and every how many steps it is worth a try then, which
/// costs a decode: by rounding and clamping a natural picture, ...
const ROUNDING: (f64, u32) = (0.25, 1);
/// ... by the average, ...
const AVERAGING: (f64, u32) = (1.5, 5);
/// ... by both where half of the error is past black and white.
const CLAMPING: (f64, u32) = (5.0, 20);

/// State to go back to.
#[derive(Clone)]
struct Checkpoint {
    params: Vec<f32>,
    optimiser: Optimiser,
    psnr_db: f64,
}

/// Fits a network to a signal.
///
/// The result depends on the arguments alone (a time limit and `stop` excepted), not on the number of threads.
/// Work is spread over the current rayon pool.
///
/// # Errors
/// [`FitError`] for settings or shapes that are refused, and when the fit keeps diverging.
pub fn fit(
    signal: &dyn Source,
    network: &NetworkConfig,
    config: &FitConfig,
    control: &Control<'_>,
    events: &mut dyn FnMut(FitEvent),
) -> Result<Fitted, FitError> {
    config.validate()?;
    if network.partition.extents() != signal.info().extents || network.channels != signal.info().channels {
        return Err(FitError::Shape {
            network: network.partition.extents().to_vec(),
            network_channels: network.channels,
            signal: signal.info().extents.clone(),
            signal_channels: signal.info().channels,
        });
    }
    let start = Instant::now();
    let initial = Network::init(network.clone(), config.seed, config.modulation_scale as f32)?;
    let mut params = initial.into_params();
    if config.mean_start {
        let range = network.layout().output_bias;
        params[range].copy_from_slice(&channel_means(signal)?);
    }
    let isa = IsaLevel::detect();
    let gain_db = peak_gain_db(signal.info());
    let mut engine = GradientEngine::new(network, signal, isa);
    let mut sampler = Sampler::new(network, config.batch, config.seed);
    let full_batch = sampler.n_batches() == 1;
    let mut optimiser = Optimiser::new(network, config, isa);
    let mut gradient = vec![0.0; params.len()];

    let mut checkpoint =
        Checkpoint { params: params.clone(), optimiser: optimiser.clone(), psnr_db: f64::MIN };
    let mut best = (f64::MIN, params.clone());
    let mut average = params.clone();
    // The published protocol ends with its last weights.
    let average_share = if config.algorithm == Algorithm::Soap { AVERAGE_SHARE } else { 1.0 };
    // Batches differ: their PSNR is smoothed over about an epoch before it is compared with anything.
    let smoothing = 1.0 / f64::from(sampler.n_batches());
    let mut smooth_mse = None;
    let (mut rate_factor, mut recoveries, mut bad_steps) = (1.0, 0, 0);
    // The best since the last set-back: the state gone back to may be well under the best of all.
    let mut reference_db = f64::MIN;
    let mut steadiness = 1.0;
    let mut step_times = Vec::new();
    let mut step = 0;
    let ending = 'fit: loop {
        let progress = progress(step, config, control, start);
        if control.stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
            break Ending::Stopped;
        }
        if control.time_limit.is_some_and(|limit| start.elapsed() >= limit) {
            break Ending::TimeUp;
        }
        if step >= config.steps {
            break Ending::Finished;
        }
        let step_start = Instant::now();
        let loss = engine.loss_and_gradient(&params, sampler.next_batch(), &mut gradient);
        let mse = smooth_mse.map_or(loss.mse, |s: f64| s + smoothing * (loss.mse - s));
        smooth_mse = Some(mse);
        if let Some(reason) = signal.failure() {
            return Err(FitError::Read(reason));
        }
        let psnr_db = -10.0 * mse.log10() + gain_db;

        let ceiling = reference_db.min(CEILING_DB);
        bad_steps = if psnr_db < ceiling - DIVERGED_DB { bad_steps + 1 } else { 0 };
        let lost = mse.is_nan() || mse.is_infinite() || psnr_db < ceiling - LOST_DB;
        if lost || bad_steps >= DIVERGED_STEPS {
            recoveries += 1;
            if recoveries > MAX_RECOVERIES {
                return Err(FitError::Diverged(recoveries));
            }
            rate_factor *= RECOVERY_FACTOR;
            let reason = if loss.mse.is_finite() {
                format!("PSNR fell from {reference_db:.1} to {psnr_db:.1} dB")
            } else {
                "the loss is not a number".to_owned()
            };
            params.copy_from_slice(&checkpoint.params);
            average.copy_from_slice(&checkpoint.params);
            optimiser.clone_from(&checkpoint.optimiser);
            (smooth_mse, bad_steps, reference_db) = (None, 0, f64::MIN);
            step += 1;
            events(FitEvent::Recovered { step, reason, rate_factor });
            continue;
        }
        // Losses of different batches differ by more than this without anything being wrong.
        if config.algorithm == Algorithm::Soap && full_batch {
            if psnr_db < reference_db - UNSTEADY_DB {
                steadiness = (steadiness * STEADIER).max(STEADIEST);
            } else if psnr_db > reference_db {
                steadiness = (steadiness * BOLDER).min(1.0);
            }
        }
        reference_db = reference_db.max(psnr_db);
        // With batches the weights have moved on since the smoothed loss was measured; near enough to rank them.
        if psnr_db > best.0 {
            best.0 = psnr_db;
            best.1.copy_from_slice(&params);
        }
        if step % CHECKPOINT_STEPS == 0
            && psnr_db >= checkpoint.psnr_db
            && gradient.iter().all(|g| g.is_finite())
        {
            checkpoint.params.copy_from_slice(&params);
            checkpoint.optimiser.clone_from(&optimiser);
            checkpoint.psnr_db = psnr_db;
        }
        if loss.mse == 0.0 && full_batch {
            // Exact: a constant signal, say. There is no gradient to follow.
            break Ending::Finished;
        }
        if let Some(target) = control.target_psnr_db
            && [ROUNDING, AVERAGING, CLAMPING]
                .into_iter()
                .any(|(gain_db, steps)| psnr_db > target - gain_db && step % steps == 0)
        {
            // Rounding costs a little, clamping gains a little: only a decode decides.
            for candidate in [&average, &params] {
                if decoded_psnr_db(network, candidate, signal)? >= target {
                    best.1.copy_from_slice(candidate);
                    break 'fit Ending::TargetReached;
                }
            }
        }
        let rate = rate(config, step, progress) * rate_factor * steadiness;
        optimiser.step(config, rate, &gradient, &mut params);
        for (a, &w) in average.iter_mut().zip(&params) {
            *a += average_share * (w - *a);
        }
        step += 1;
        step_times.push(step_start.elapsed().as_secs_f64() * 1e3);
        events(FitEvent::Step { step, psnr_db, progress: self::progress(step, config, control, start) });
    };
    // Neither the last update nor the average has been measured yet, and the best of a batched fit only on batches:
    // whichever decodes best is kept, the most averaged where they are equal.
    if ending != Ending::TargetReached && (step > 0 || !full_batch) {
        let mut kept_db = decoded_psnr_db(network, &best.1, signal)?;
        for candidate in [&params, &average] {
            if candidate.iter().all(|w| w.is_finite()) {
                let psnr_db = decoded_psnr_db(network, candidate, signal)?;
                if psnr_db >= kept_db {
                    kept_db = psnr_db;
                    best.1.copy_from_slice(candidate);
                }
            }
        }
    }
    step_times.sort_by(f64::total_cmp);
    Ok(Fitted {
        network: Network::new(network.clone(), best.1)?,
        steps: step,
        step_ms: step_times.get(step_times.len() / 2).copied().unwrap_or(0.0),
        elapsed_s: start.elapsed().as_secs_f64(),
        ending,
        recoveries,
    })
}

/// Share of the fit that is done: by steps, or by time where that runs out sooner.
fn progress(step: u32, config: &FitConfig, control: &Control<'_>, start: Instant) -> f64 {
    let by_steps = f64::from(step) / f64::from(config.steps);
    let by_time =
        control.time_limit.map_or(0.0, |limit| start.elapsed().as_secs_f64() / limit.as_secs_f64().max(1e-9));
    by_steps.max(by_time).min(1.0)
}

/// Most of a fit that warm-up takes where it is short or its end is a time: as much as of the default's 300 steps.
const WARMUP_SHARE: f64 = 0.27;

/// Linear warm-up, then cosine decay from `rate` to `final_rate · rate`.
fn rate(config: &FitConfig, step: u32, progress: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    let warmup = (f64::from(step + 1) / f64::from(config.warmup_steps.max(1))).max(progress / WARMUP_SHARE);
    config.rate * (config.final_rate + (1.0 - config.final_rate) * cosine) * warmup.min(1.0)
}

/// Values of a signal that are looked at together.
const PIECE_VALUES: usize = 1 << 20;

/// Calls `visit` with pieces of the signal: samples of the slowest axis, and their values on the network's scale.
fn for_pieces(
    signal: &dyn Source,
    mut visit: impl FnMut(std::ops::Range<u64>, &[f32]) -> Result<(), FitError>,
) -> Result<(), FitError> {
    let info = signal.info();
    let (slice, n_slices) = (info.slice_values(), info.extents[0]);
    let step = (PIECE_VALUES / slice).max(1);
    let mut values = vec![0.0; step.min(n_slices) * slice];
    for start in (0..n_slices).step_by(step) {
        let end = n_slices.min(start + step);
        let piece = &mut values[..(end - start) * slice];
        signal.read_scaled((start * slice) as u64, piece);
        visit(start as u64..end as u64, piece)?;
    }
    signal.failure().map_or(Ok(()), |reason| Err(FitError::Read(reason)))
}

/// Mean of each channel on the network's scale.
fn channel_means(signal: &dyn Source) -> Result<Vec<f32>, FitError> {
    let channels = signal.info().channels;
    let mut sums = vec![0.0f64; channels];
    for_pieces(signal, |_, values| {
        for sample in values.chunks_exact(channels) {
            for (s, &x) in sums.iter_mut().zip(sample) {
                *s += f64::from(x);
            }
        }
        Ok(())
    })?;
    let n = signal.info().extents.iter().map(|&e| e as f64).product::<f64>();
    Ok(sums.iter().map(|s| (s / n) as f32).collect())
}

/// What turns a PSNR on the network's scale into one of the signal's [`SignalInfo::peak`], in dB.
fn peak_gain_db(info: &SignalInfo) -> f64 {
    20.0 * (info.peak() / info.scale().span()).log10()
}

/// PSNR in dB of the decoded signal (clamped and rounded as a decode is stored); infinite when exact.
fn decoded_psnr_db(config: &NetworkConfig, params: &[f32], signal: &dyn Source) -> Result<f64, FitError> {
    let network = Network::new(config.clone(), params.to_vec())?;
    let decoder = Decoder::new(&network);
    let info = signal.info();
    let (mut decoded, mut stored) = (Vec::new(), Vec::new());
    let (mut sum, mut n) = (0.0, 0.0);
    for_pieces(signal, |slices, original| {
        let mut region = Region::whole(config.partition.extents());
        (region.start[0], region.end[0]) = (slices.start, slices.end);
        decoded.resize(original.len(), 0.0);
        stored.resize(original.len(), 0.0);
        // The request lies inside the signal and the output has its length: the decoder has nothing to refuse.
        decoder
            .decode(&Request { region, thumbnail: 1 }, &mut decoded)
            .expect("a decode fits its own signal");
        info.scaled(&info.restored(&decoded), 0, &mut stored);
        let squares = original.iter().zip(&stored).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        sum += squares.sum::<f64>();
        n += original.len() as f64;
        Ok(())
    })?;
    Ok(-10.0 * (sum / n).log10() + peak_gain_db(info))
}
