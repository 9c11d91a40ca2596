//! Fitting as a stream of events.
//!
//! [`fit`] is all of it in one call. A [`Fit`] is one that can be left and gone on with, in this process or, by a
//! checkpoint ([`crate::checkpoint`]), in another.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::network::{Network, NetworkConfig, NetworkError};
use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use thiserror::Error;

use crate::checkpoint::{self, CheckpointError, Fingerprint, Header};
use crate::config::{Algorithm, ConfigError, FitConfig};
use crate::gradient::GradientEngine;
use crate::measure::{channel_means, decoded_mse, decoded_psnr_db, peak_gain_db};
use crate::state::{SECTIONS, State};

/// When to end a fit early.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control<'a> {
    /// End as soon as the decoded signal reaches this PSNR in dB.
    pub target_psnr_db: Option<f64>,
    /// End after this long, over all runs of a resumed fit, with the rate's decay planned for it.
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
        /// PSNR in dB of the network before this update, neither clamped nor rounded; in batches, over the last of them.
        psnr_db: f64,
        /// Share of the fit that is done, 0 to 1, by steps or by time.
        progress: f64,
        /// Real samples of the update's batch.
        n_samples: u64,
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
    /// It diverged once more after it was set back many times; the network is the best before that.
    Diverged,
}

/// A fitted network and how it came about.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The best network seen.
    pub network: Network,
    /// Updates made.
    pub steps: u32,
    /// Median milliseconds of a step, over the last [`TIMED_STEPS`] of this run; 0 where it made none.
    pub step_ms: f64,
    /// Seconds in all, over all runs of a resumed fit.
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
    /// A checkpoint that this fit cannot go on from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It diverged again and again, and was never in a good state.
    #[error("the fit diverged {0} times, each time at a lower rate; try a lower --lr or more --width")]
    Diverged(u32),
}

/// Steps whose median time is told.
pub const TIMED_STEPS: usize = 4096;

/// Steps between two copies of a good state.
const GOOD_STEPS: u32 = 25;
/// A fit whose PSNR stays this many dB under its best ...
const DIVERGED_DB: f64 = 3.0;
/// ... for this many steps in a row has diverged. (Single steps do spike and mend themselves.)
pub(crate) const DIVERGED_STEPS: u32 = 20;
/// In many batches too high a rate shows as a slow fall that never mends itself; their smoothed PSNR does not spike either. ...
pub(crate) const BATCHES_DIVERGED: (f64, u32) = (0.6, 50);
/// ... In fewer than this it is smoothed over a few steps only: it falls by a dB or two and mends itself as that of a full batch does,
/// and each set-back, which halves the rate, would cost the fit more (results/).
const MANY_BATCHES: u32 = 8;
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

/// Standard errors of the smoothed loss that a fall must exceed as well: most of a signal's error may lie in a few of its cells, and
/// then in few of its batches.
const CHANCE: f64 = 5.0;

/// Batches differ: their loss is smoothed over an epoch before it is compared with anything, but not over more than
/// this many, for a fit that diverges must be noticed.
const SMOOTHED_BATCHES: u32 = 50;

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

/// Values by which the best weights are found where time is up: decoding all of a large signal three times is no part of the time
/// that was given.
const TIMED_VALUES: u64 = 1 << 22;

/// A fit that can be left and gone on with.
///
/// ```text
/// let mut fit = Fit::new(..)?;            // or Fit::resume(.., checkpoint)?
/// let ending = loop {
///     match fit.run_for(minute, &control, &mut events)? {
///         Some(ending) => break ending,
///         None => fit.write_checkpoint(&mut file)?,
///     }
/// };
/// let fitted = fit.finish(ending)?;
/// ```
///
/// However often it is left, and whether it goes on in this process or from a checkpoint in another, the result is the
/// same to the bit on one machine (a time limit excepted).
pub struct Fit<'s> {
    signal: &'s dyn Source,
    network: NetworkConfig,
    config: FitConfig,
    engine: GradientEngine<'s>,
    gradient: Vec<f32>,
    state: State,
    /// When this run began, and seconds of the runs before.
    start: Instant,
    before_s: f64,
    step_times: VecDeque<f64>,
}

impl<'s> Fit<'s> {
    /// Prepares a fit from its beginning.
    ///
    /// # Errors
    /// [`FitError`] for settings or shapes that are refused, or a signal that cannot be read.
    pub fn new(
        signal: &'s dyn Source,
        network: &NetworkConfig,
        config: &FitConfig,
    ) -> Result<Self, FitError> {
        let start = Instant::now();
        let mut fit = Self::blank(signal, network, config, start)?;
        let initial = Network::init(network.clone(), config.seed, config.modulation_scale as f32)?;
        let mut params = initial.into_params();
        if config.mean_start {
            let range = network.layout().output_bias;
            params[range].copy_from_slice(&channel_means(signal)?);
        }
        let state = &mut fit.state;
        for copy in [&mut state.average, &mut state.best, &mut state.good.params] {
            copy.copy_from_slice(&params);
        }
        state.params = params;
        Ok(fit)
    }

    /// Prepares a fit to go on from a checkpoint. The signal, network and settings are those that it began with.
    ///
    /// # Errors
    /// [`FitError::Checkpoint`] for a checkpoint that is damaged or another fit's; otherwise as [`Self::new`].
    pub fn resume(
        signal: &'s dyn Source,
        network: &NetworkConfig,
        config: &FitConfig,
        mut checkpoint: &mut dyn Read,
    ) -> Result<Self, FitError> {
        let mut fit = Self::blank(signal, network, config, Instant::now())?;
        Header::read(&mut checkpoint)?.check(&fit.header())?;
        for section in SECTIONS {
            let state = &mut fit.state;
            checkpoint::read_state(&mut checkpoint, section, &mut |archive| {
                state.archive(section, config, archive)
            })?;
        }
        checkpoint::read_end(&mut checkpoint)?;
        fit.before_s = fit.state.elapsed_s;
        Ok(fit)
    }

    /// Makes room for everything; all weights are zero.
    fn blank(
        signal: &'s dyn Source,
        network: &NetworkConfig,
        config: &FitConfig,
        start: Instant,
    ) -> Result<Self, FitError> {
        config.validate()?;
        network.validate()?;
        if network.partition.extents() != signal.info().extents || network.channels != signal.info().channels
        {
            return Err(FitError::Shape {
                network: network.partition.extents().to_vec(),
                network_channels: network.channels,
                signal: signal.info().extents.clone(),
                signal_channels: signal.info().channels,
            });
        }
        let isa = IsaLevel::detect();
        let state = State::new(network, config, isa);
        let mut engine = GradientEngine::new(network, signal, isa);
        engine.set_seam_weight(config.seam_weight);
        Ok(Self {
            signal,
            engine,
            gradient: vec![0.0; network.n_params()],
            network: network.clone(),
            config: config.clone(),
            state,
            start,
            before_s: 0.0,
            step_times: VecDeque::new(),
        })
    }

    fn header(&self) -> Header {
        Header {
            network: self.network.clone(),
            fit: self.config.clone(),
            signal: Fingerprint::of(self.signal),
        }
    }

    /// Writes all that [`Self::resume`] needs: some 16 to 60 bytes per weight. Write it to a new file and rename that,
    /// so that a process killed meanwhile leaves the checkpoint before.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_checkpoint(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.state.elapsed_s = self.elapsed_s();
        self.header().write(out)?;
        for section in SECTIONS {
            let (state, config) = (&mut self.state, &self.config);
            checkpoint::write_section(out, section, &mut |archive| state.archive(section, config, archive))?;
        }
        Ok(())
    }

    /// Updates made.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.state.step
    }

    /// Seconds over all runs.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        self.before_s + self.start.elapsed().as_secs_f64()
    }

    /// Goes on until the fit ends. One that ended because it was told to stop, or by a time limit, can go on again.
    ///
    /// # Errors
    /// [`FitError`] when the signal cannot be read or the fit keeps diverging; nothing can go on from there.
    pub fn run(
        &mut self,
        control: &Control<'_>,
        events: &mut dyn FnMut(FitEvent),
    ) -> Result<Ending, FitError> {
        loop {
            if let Some(ending) = self.advance(control, events)? {
                return Ok(ending);
            }
        }
    }

    /// Like [`Self::run`], but for about `limit` only: `None` when the fit has not ended by then. Makes at least one
    /// update.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_for(
        &mut self,
        limit: Duration,
        control: &Control<'_>,
        events: &mut dyn FnMut(FitEvent),
    ) -> Result<Option<Ending>, FitError> {
        let start = Instant::now();
        loop {
            let ending = self.advance(control, events)?;
            if ending.is_some() || start.elapsed() >= limit {
                return Ok(ending);
            }
        }
    }

    /// One update, or why there is none.
    fn advance(
        &mut self,
        control: &Control<'_>,
        events: &mut dyn FnMut(FitEvent),
    ) -> Result<Option<Ending>, FitError> {
        let (config, progress) = (&self.config, self.progress(control));
        if self.state.ended.is_some() {
            return Ok(self.state.ended);
        }
        if control.stop.is_some_and(|s| s.load(Ordering::Relaxed)) {
            return Ok(Some(Ending::Stopped));
        }
        if control.time_limit.is_some_and(|limit| self.elapsed_s() >= limit.as_secs_f64()) {
            return Ok(Some(Ending::TimeUp));
        }
        let state = &mut self.state;
        if state.step >= config.steps {
            return Ok(Some(Ending::Finished));
        }
        let step_start = Instant::now();
        let n_batches = state.sampler.n_batches();
        let full_batch = n_batches == 1;
        let loss =
            self.engine.loss_and_gradient(&state.params, state.sampler.next_batch(), &mut self.gradient);
        clip(&mut self.gradient, config.clip);
        // At the beginning and after a set-back the smoothed loss is the mean of the batches so far: until they are a window, cells that
        // happen to be easy may make it less than the whole signal ever has, and it is no reference, no best and no fall.
        let window = n_batches.min(SMOOTHED_BATCHES);
        let is_filling = state.reference_db == f64::MIN;
        let n_seen = if is_filling { (state.bad_steps + 1).min(window) } else { window };
        let is_whole = n_seen == window;
        let smoothing = 1.0 / f64::from(n_seen);
        let mse = state.smooth_mse.map_or(loss.mse, |s: f64| s + smoothing * (loss.mse - s));
        state.smooth_mse = Some(mse);
        state.smooth_square += smoothing * (loss.mse.powi(2) - state.smooth_square);
        if let Some(reason) = self.signal.failure() {
            return Err(FitError::Read(reason));
        }
        let in_db = |mse: f64| -10.0 * mse.log10() + peak_gain_db(self.signal.info());
        let psnr_db = in_db(mse);
        // Batches differ. How far the smoothed loss may be from that of the whole by chance follows from how much they do: the mean of
        // them that weighs the newest by 1/n has 1/(2n - 1) of their variance.
        let variance = if full_batch { 0.0 } else { (state.smooth_square - mse * mse).max(0.0) };
        let variance = variance / f64::from(2 * window - 1);
        let surely_db = in_db((mse - CHANCE * variance.sqrt()).max(0.0));

        let ceiling = state.reference_db.min(CEILING_DB);
        let (fall_db, patience) = match n_batches {
            1 => (DIVERGED_DB, DIVERGED_STEPS),
            2..MANY_BATCHES => (DIVERGED_DB, BATCHES_DIVERGED.1),
            _ => BATCHES_DIVERGED,
        };
        let is_bad = surely_db < ceiling - fall_db;
        state.bad_steps = match (is_filling, is_bad) {
            (true, _) if !is_whole => n_seen,
            (false, true) => state.bad_steps.saturating_add(1),
            _ => 0,
        };
        let lost = mse.is_nan() || mse.is_infinite() || surely_db < ceiling - LOST_DB;
        if lost || !is_filling && state.bad_steps >= patience {
            let reason = if loss.mse.is_finite() {
                format!("PSNR fell from {:.1} to {psnr_db:.1} dB", state.reference_db)
            } else {
                "the loss is not a number".to_owned()
            };
            let ending = state.set_back()?;
            if ending.is_some() {
                return Ok(ending);
            }
            events(FitEvent::Recovered { step: state.step, reason, rate_factor: state.rate_factor });
            return Ok(None);
        }
        // Losses of different batches differ by more than this without anything being wrong.
        if config.algorithm == Algorithm::Soap && full_batch {
            if psnr_db < state.reference_db - UNSTEADY_DB {
                state.steadiness = (state.steadiness * STEADIER).max(STEADIEST);
            } else if psnr_db > state.reference_db {
                state.steadiness = (state.steadiness * BOLDER).min(1.0);
            }
        }
        if is_whole {
            state.reference_db = state.reference_db.max(psnr_db);
        }
        // With batches the weights have moved on since the smoothed loss was measured; near enough to rank them.
        if is_whole && psnr_db > state.best_db {
            state.best_db = psnr_db;
            state.best.copy_from_slice(&state.params);
        }
        if is_whole
            && state.step.is_multiple_of(GOOD_STEPS)
            && psnr_db >= state.good.psnr_db
            && self.gradient.iter().all(|g| g.is_finite())
        {
            state.good.params.copy_from_slice(&state.params);
            state.good.optimiser.clone_from(&state.optimiser);
            state.good.psnr_db = psnr_db;
        }
        if loss.mse == 0.0 && full_batch {
            // Exact: a constant signal, say. There is no gradient to follow.
            state.ended = Some(Ending::Finished);
            return Ok(state.ended);
        }
        if let Some(target) = control.target_psnr_db
            && [ROUNDING, AVERAGING, CLAMPING].into_iter().any(|(gain_db, steps)| {
                psnr_db > target - gain_db && state.step.is_multiple_of(decode_interval(steps, n_batches))
            })
        {
            // Rounding costs a little, clamping gains a little: only a decode decides.
            for candidate in [&state.average, &state.params] {
                if decoded_psnr_db(&with(&self.network, candidate)?, self.signal)? >= target {
                    state.best.copy_from_slice(candidate);
                    state.ended = Some(Ending::TargetReached);
                    return Ok(state.ended);
                }
            }
        }
        // As many steps as there will be if the rest are as long as those so far. At the first, nothing is known and the rate still rises.
        let length =
            f64::from(state.step) / if control.time_limit.is_some() { progress.max(1e-9) } else { 1.0 };
        let factors = config.length_factor(&self.network, length) * state.rate_factor * state.steadiness;
        let rate = rate(config, state.step, progress) * factors;
        state.optimiser.step(config, rate, &self.gradient, &mut state.params);
        let share = average_share(config);
        for (a, &w) in state.average.iter_mut().zip(&state.params) {
            *a += share * (w - *a);
        }
        state.step += 1;
        if self.step_times.len() == TIMED_STEPS {
            self.step_times.pop_front();
        }
        self.step_times.push_back(step_start.elapsed().as_secs_f64() * 1e3);
        let (step, n_samples) = (state.step, loss.n_samples);
        events(FitEvent::Step { step, psnr_db, progress: self.progress(control), n_samples });
        Ok(None)
    }

    /// The best network so far, decoded to find it out, of a fit whose time is up on a part of a large signal; `ending` is what
    /// [`Self::run`] said.
    ///
    /// # Errors
    /// [`FitError`] when the signal cannot be read.
    pub fn finish(&self, ending: Ending) -> Result<Fitted, FitError> {
        let state = &self.state;
        let mut best = &state.best;
        // Neither the last update nor the average has been measured yet, and the best of a batched fit only on batches:
        // whichever decodes best is kept, the most averaged where they are equal.
        if ending != Ending::TargetReached && (state.step > 0 || state.sampler.n_batches() > 1) {
            let most_values = if ending == Ending::TimeUp { TIMED_VALUES } else { u64::MAX };
            let mse = |weights: &[f32]| decoded_mse(&with(&self.network, weights)?, self.signal, most_values);
            let mut kept_mse = mse(best)?;
            for candidate in [&state.params, &state.average] {
                if candidate.iter().all(|w| w.is_finite()) {
                    let mse = mse(candidate)?;
                    if mse <= kept_mse {
                        kept_mse = mse;
                        best = candidate;
                    }
                }
            }
        }
        let mut step_times: Vec<f64> = self.step_times.iter().copied().collect();
        step_times.sort_by(f64::total_cmp);
        Ok(Fitted {
            network: with(&self.network, best)?,
            steps: state.step,
            step_ms: step_times.get(step_times.len() / 2).copied().unwrap_or(0.0),
            elapsed_s: self.elapsed_s(),
            ending,
            recoveries: state.recoveries,
        })
    }

    /// Share of the fit that is done: by steps, or by time where that runs out sooner.
    fn progress(&self, control: &Control<'_>) -> f64 {
        let by_steps = f64::from(self.state.step) / f64::from(self.config.steps);
        let by_time =
            control.time_limit.map_or(0.0, |limit| self.elapsed_s() / limit.as_secs_f64().max(1e-9));
        by_steps.max(by_time).min(1.0)
    }
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
    let mut fit = Fit::new(signal, network, config)?;
    let ending = fit.run(control, events)?;
    fit.finish(ending)
}

/// A network of these weights.
fn with(config: &NetworkConfig, params: &[f32]) -> Result<Network, FitError> {
    Ok(Network::new(config.clone(), params.to_vec())?)
}

/// Shortens a gradient to `longest` if it is longer; 0 leaves all as they are.
fn clip(gradient: &mut [f32], longest: f64) {
    if longest <= 0.0 {
        return;
    }
    let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    if norm > longest {
        let factor = (longest / norm) as f32;
        for g in gradient {
            *g *= factor;
        }
    }
}

/// Share of the newest weights in the running average.
fn average_share(config: &FitConfig) -> f32 {
    // The published protocol ends with its last weights.
    if config.algorithm == Algorithm::Soap { AVERAGE_SHARE } else { 1.0 }
}

/// Steps from one decode of a fit's target to the next: a decode takes a third of an epoch.
fn decode_interval(steps: u32, n_batches: u32) -> u32 {
    if n_batches == 1 { steps } else { steps.min(2) * n_batches }
}

/// Most of a fit that warm-up takes where it is short or its end is a time: as much as of the default's 300 steps.
const WARMUP_SHARE: f64 = 0.27;

/// Linear warm-up, then cosine decay from `rate` to `final_rate · rate`.
fn rate(config: &FitConfig, step: u32, progress: f64) -> f64 {
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
    let warmup = (f64::from(step + 1) / f64::from(config.warmup_steps.max(1))).max(progress / WARMUP_SHARE);
    config.rate * (config.final_rate + (1.0 - config.final_rate) * cosine) * warmup.min(1.0)
}
