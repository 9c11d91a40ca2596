//! ASMR and its rivals by one path: settings within a budget, a fit, a decode, and what they cost.
//!
//! With a number of steps each method is fitted as its authors publish (ASMR: preset `default`). In a given time the
//! published full batches would be a few steps, so rivals get random batches of a size with which about [`TARGET_STEPS`] steps fit
//! in, and the best of a few rates about the published one, each tried for [`TRIAL_SHARE`] of the time. ASMR takes its preset as
//! it is; where the budget is a time and not a size, its width follows from the time ([`width_for_time`]). Trials are
//! part of the time.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::cost::Cost;
use asmr::file::AsmrFile;
use asmr::inference::{Decoder, Request};
use asmr::network::{Network, NetworkConfig};
use asmr::planner::{MAX_BUDGET_WIDTH, PlanRequest, plan};
use asmr::signal::{Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_train::budget::width_for_time;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, Ending, FitEvent, fit};
use serde::Serialize;
use thiserror::Error;

use crate::baseline::{Baseline, Config, Method, WholeDecoder, store};
use crate::field::{FieldCost, FieldError, Shape};
use crate::fit::{FitOptions, Recipe, Schedule, Stop};
use crate::ngp::NgpSettings;

/// All methods that can be compared.
pub const METHODS: [&str; 8] = ["asmr", "siren", "ffn", "kilonerf", "loe", "ngp", "wire", "plenoxels"];

/// Steps of a rival that a time is meant for: its batch is chosen so.
pub const TARGET_STEPS: f64 = 1000.0;
/// Factors on the published rate that are tried; the first wins where they are equally good.
pub const RATE_FACTORS: [f64; 4] = [1.0, 0.3, 3.0, 10.0];
/// The most rates that are tried, higher ones where the highest is the best.
pub const MAX_TRIALS: usize = 6;
/// Share of the time that the trial of a rate takes.
pub const TRIAL_SHARE: f64 = 0.04;
/// Share of the time in which steps are timed, ...
const PROBE_SHARE: f64 = 0.01;
/// ... but no longer than this, ...
const LONGEST_PROBE: Duration = Duration::from_secs(1);
/// ... with batches of so many samples.
const PROBE_BATCH: usize = 4096;
/// Samples of a batch that a time leads to.
pub const BATCHES: RangeInclusive<usize> = 1 << 8..=1 << 18;
/// Factor on the rate of a fit that diverged, ...
const LOWER_RATE: f64 = 0.3;
/// ... while this share of the time is left.
const LEAST_SHARE: f64 = 0.25;
/// Steps of an ASMR fit that a time ends.
const UNTIL_TIME_IS_UP: u32 = 1_000_000_000;
/// Widths that a budget leads to.
const WIDTHS: RangeInclusive<usize> = 1..=1 << 12;
/// The widest network over hash tables when it is weights that are short: published ones have 16 to 128.
const MAX_NGP_WIDTH: usize = 128;

/// What all methods have equally much of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// At most so many stored numbers, and as near to it as the method can.
    Params(u64),
    /// At most so many MAC/sample as executed, and as near to it as the method can.
    Mac(f64),
    /// So long a fit, with the settings each method usually has (ASMR: in so long a fit).
    Time(Duration),
}

impl Budget {
    /// Whether a method is within it.
    #[must_use]
    pub fn holds(self, cost: &FieldCost) -> bool {
        match self {
            Self::Params(most) => cost.n_params as u64 <= most,
            Self::Mac(most) => cost.mac_exec <= most,
            Self::Time(_) => true,
        }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Params(n) => write!(f, "params={n}"),
            Self::Mac(mac) => write!(f, "mac={mac}"),
            Self::Time(time) => write!(f, "time={}s", time.as_secs_f64()),
        }
    }
}

impl Serialize for Budget {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a method has no row.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ContestantError {
    /// No settings are within the budget.
    #[error("{0}")]
    Budget(String),
    /// Settings that a baseline refuses, or a fit that failed.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Likewise of ASMR.
    #[error("{0}")]
    Asmr(String),
    /// The fit was told to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Takes ASMR's errors as they say themselves.
fn asmr_error(error: &dyn std::fmt::Display) -> ContestantError {
    ContestantError::Asmr(error.to_string())
}

/// A method with settings for one grid.
pub struct Contestant {
    name: &'static str,
    kind: Kind,
}

enum Kind {
    /// And how long it took to find a width that suits the time.
    Asmr(NetworkConfig, Duration),
    Baseline(Config, Box<dyn Baseline>),
}

/// The settings of a contestant, all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Settings {
    /// A network of this project.
    Asmr(NetworkConfig),
    /// A baseline: its method and settings.
    #[serde(untagged)]
    Baseline(Method),
}

/// How a contestant was fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Procedure {
    /// ASMR: the effective configuration.
    Asmr(FitConfig),
    /// A baseline's optimiser.
    Baseline(Recipe),
}

/// A rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The rate.
    pub rate: f64,
    /// Mean square error over the last quarter of the trial; none: it diverged.
    pub mse: Option<f64>,
    /// Steps that were made.
    pub steps: u32,
}

/// A contestant's fit.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Weights.
    pub params: Vec<f32>,
    /// Steps of the last fit, trials not counted.
    pub steps: u32,
    /// Seconds in all, trials included.
    pub elapsed_s: f64,
    /// Learning rate at its highest.
    pub rate: f64,
    /// Samples of a batch.
    pub batch: usize,
    /// All settings of the fit.
    pub procedure: Procedure,
    /// Rates that were tried before.
    pub trials: Vec<Trial>,
}

impl Contestant {
    /// A method with the settings that use most of a budget. None: the name is none of [`METHODS`].
    ///
    /// # Errors
    /// [`ContestantError::Budget`] says what the method needs at least.
    #[must_use]
    pub fn within(name: &str, shape: &Shape, budget: Budget) -> Option<Result<Self, ContestantError>> {
        let name = METHODS.into_iter().find(|known| *known == name)?;
        let made = if name == "asmr" {
            let start = Instant::now();
            asmr_within(shape, budget).map(|config| Kind::Asmr(config, start.elapsed()))
        } else {
            baseline_within(name, shape, budget).and_then(|config| {
                let field = config.build()?;
                Ok(Kind::Baseline(config, field))
            })
        };
        Some(made.map(|kind| Self { name, kind }))
    }

    /// The method's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What evaluation costs.
    #[must_use]
    pub fn cost(&self) -> FieldCost {
        match &self.kind {
            Kind::Asmr(config, _) => asmr_cost(config),
            Kind::Baseline(_, field) => field.cost(),
        }
    }

    /// All settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        match &self.kind {
            Kind::Asmr(config, _) => Settings::Asmr(config.clone()),
            Kind::Baseline(config, _) => Settings::Baseline(config.method.clone()),
        }
    }

    /// Fits to a signal on the threads of the current pool. `on_progress` gets the share that is done.
    ///
    /// # Errors
    /// [`ContestantError`], also when `interrupt` is set meanwhile.
    pub fn fit(
        &self,
        signal: &Signal,
        stop: Stop,
        seed: u64,
        interrupt: &AtomicBool,
        on_progress: &mut dyn FnMut(f64),
    ) -> Result<Entry, ContestantError> {
        match &self.kind {
            Kind::Asmr(config, planned) => {
                // What was spent before the fit is part of its time.
                let stop = match stop {
                    Stop::Time(limit) => Stop::Time(limit.saturating_sub(*planned).max(limit / 2)),
                    stop @ Stop::Steps(_) => stop,
                };
                let entry = fit_asmr(config, signal, stop, seed, interrupt, on_progress)?;
                Ok(Entry { elapsed_s: entry.elapsed_s + planned.as_secs_f64(), ..entry })
            }
            Kind::Baseline(_, field) => {
                let mut run =
                    Run { field: field.as_ref(), signal, seed, interrupt, on_progress, trials: Vec::new() };
                match stop {
                    Stop::Steps(_) => run.published(stop),
                    Stop::Time(limit) => run.timed(limit),
                }
            }
        }
    }

    /// Makes weights ready to decode the whole grid.
    ///
    /// # Errors
    /// For weights of another number, or that are no numbers.
    ///
    /// # Panics
    /// What it gives does, when called with room for anything but the whole grid.
    pub fn decoder<'a>(&'a self, params: &'a [f32]) -> Result<WholeDecoder<'a>, ContestantError> {
        match &self.kind {
            Kind::Asmr(config, _) => {
                let network = Network::new(config.clone(), params.to_vec()).map_err(|e| asmr_error(&e))?;
                let (decoder, request) = (Decoder::new(&network), Request::whole(&config.partition));
                Ok(Box::new(move |out| {
                    let done = decoder.decode(&request, out);
                    assert!(done.is_ok(), "room for the whole grid");
                }))
            }
            Kind::Baseline(_, field) => Ok(field.decoder(params, IsaLevel::detect())?),
        }
    }

    /// Bytes of a file with these weights as 32-bit floats.
    ///
    /// # Errors
    /// For weights that no file can hold.
    pub fn n_bytes(&self, info: &SignalInfo, params: &[f32]) -> Result<u64, ContestantError> {
        match &self.kind {
            Kind::Asmr(config, _) => {
                let network = Network::new(config.clone(), params.to_vec()).map_err(|e| asmr_error(&e))?;
                let file = AsmrFile { signal: info.clone(), network, steps: None, fit: None };
                file.n_bytes().map_err(|e| asmr_error(&e))
            }
            Kind::Baseline(config, _) => Ok(store(config, params)?.len() as u64),
        }
    }
}

/// The largest of a range that fits, where all below it fit too.
fn largest(range: RangeInclusive<usize>, fits: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (*range.start(), *range.end());
    if !fits(low) {
        return None;
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    Some(low)
}

/// A network's cost in the words of baselines.
fn asmr_cost(config: &NetworkConfig) -> FieldCost {
    let cost = Cost::of(config);
    FieldCost {
        n_params: config.n_params(),
        mac_paper: cost.mac_paper,
        mac_exec: cost.mac_exec,
        sin_exec: cost.sin_exec,
        exp_exec: 0.0,
        table_reads: 0.0,
    }
}

/// The planner's bases within a budget, and the widest network of them that is.
fn asmr_within(shape: &Shape, budget: Budget) -> Result<NetworkConfig, ContestantError> {
    let mut request = PlanRequest::new(&shape.extents, shape.channels);
    match budget {
        Budget::Params(most) => request.max_params = Some(most),
        Budget::Mac(most) => request.mac_budget = Some(most),
        Budget::Time(_) => {}
    }
    let planned = plan(&request).map_err(|error| ContestantError::Budget(error.to_string()))?;
    let config = planned.into_config(&request);
    if let Budget::Time(time) = budget {
        // As a fit with a time limit has it: a hundred full-batch steps at least.
        let width = width_for_time(&config, time).map_err(|e| asmr_error(&e))?;
        return Ok(NetworkConfig { width, ..config });
    }
    let with = |width| NetworkConfig { width, ..config.clone() };
    let fits = |width| with(width).validate().is_ok() && budget.holds(&asmr_cost(&with(width)));
    // The planner likes round widths, and none with more weights than the signal has values.
    match largest(1..=MAX_BUDGET_WIDTH, fits) {
        Some(width) => Ok(with(width)),
        None => Err(too_small("asmr", budget, &asmr_cost(&with(1)))),
    }
}

fn too_small(name: &str, budget: Budget, least: &FieldCost) -> ContestantError {
    let needs = match budget {
        Budget::Params(_) => format!("has {} weights", least.n_params),
        _ => format!("executes {:.1} MAC/sample", least.mac_exec),
    };
    ContestantError::Budget(format!("the smallest {name} on this grid {needs}; the budget is {budget}"))
}

/// A method's usual settings on a grid.
fn usual(name: &str, shape: &Shape) -> Result<Config, ContestantError> {
    let mut method = Method::usual(name, shape)
        .ok_or_else(|| ContestantError::Budget(format!("there is no method {name}")))?;
    if let Method::KiloNerf(settings) = &mut method {
        // A cell holds a sample at least.
        settings.cells = shape.extents.iter().map(|&extent| extent.min(16)).collect();
    }
    Ok(Config { shape: shape.clone(), method })
}

/// As usual, but for what makes it larger or smaller: the width, or the vertices of the longest axis.
fn scaled(config: &Config, size: usize) -> Config {
    let mut config = config.clone();
    match &mut config.method {
        Method::Siren(settings) => settings.width = size,
        Method::Ffn(settings) => {
            settings.width = size;
            // As many features as neurons, as usual.
            settings.n_frequencies = (size / 2).max(1);
        }
        Method::KiloNerf(settings) => settings.width = size,
        Method::Loe(settings) => settings.width = size,
        Method::Ngp(settings) => settings.width = size,
        Method::Wire(settings) => settings.width = size,
        Method::Plenoxels(settings) => {
            let longest = config.shape.extents.iter().copied().max().unwrap_or(1);
            settings.vertices =
                config.shape.extents.iter().map(|extent| (extent * size / longest).max(2)).collect();
        }
    }
    config
}

fn baseline_within(name: &str, shape: &Shape, budget: Budget) -> Result<Config, ContestantError> {
    let mut config = usual(name, shape)?;
    let mut sizes = WIDTHS;
    match (&mut config.method, budget) {
        (_, Budget::Time(_)) => return Ok(config),
        (Method::Wire(_), _) => sizes = 2..=*WIDTHS.end(),
        (Method::Plenoxels(_), Budget::Params(_)) => {
            // More vertices than samples have nothing to hold.
            sizes = 2..=shape.extents.iter().copied().max().unwrap_or(2).max(2);
        }
        (Method::Plenoxels(_), _) => {
            // Its cost does not depend on how many there are.
            let cost = config.build()?.cost();
            return if budget.holds(&cost) { Ok(config) } else { Err(too_small(name, budget, &cost)) };
        }
        (Method::Ngp(settings), Budget::Params(_)) => {
            let usual = *settings;
            let log2_entries = largest(4..=24, |log2_entries| {
                let log2_entries = log2_entries as u32;
                let method = Method::Ngp(NgpSettings { log2_entries, ..usual });
                let config = Config { shape: shape.clone(), method };
                config.build().is_ok_and(|field| budget.holds(&field.cost()))
            });
            settings.log2_entries = log2_entries.unwrap_or(4) as u32;
            sizes = 1..=MAX_NGP_WIDTH;
        }
        _ => {}
    }
    let least = *sizes.start();
    let fits = |size| scaled(&config, size).build().is_ok_and(|field| budget.holds(&field.cost()));
    match largest(sizes, fits) {
        Some(size) => Ok(scaled(&config, size)),
        None => Err(too_small(name, budget, &scaled(&config, least).build()?.cost())),
    }
}

fn fit_asmr(
    network: &NetworkConfig,
    signal: &Signal,
    stop: Stop,
    seed: u64,
    interrupt: &AtomicBool,
    on_progress: &mut dyn FnMut(f64),
) -> Result<Entry, ContestantError> {
    let mut config = FitConfig { seed, ..FitConfig::preset(Preset::Default, network) };
    let mut control = Control { stop: Some(interrupt), ..Control::default() };
    match stop {
        Stop::Steps(steps) => config.set_steps(steps),
        Stop::Time(limit) => {
            config.steps = UNTIL_TIME_IS_UP;
            control.time_limit = Some(limit);
        }
    }
    let mut events = |event| {
        if let FitEvent::Step { progress, .. } = event {
            on_progress(progress);
        }
    };
    let fitted = fit(signal, network, &config, &control, &mut events).map_err(|e| asmr_error(&e))?;
    if fitted.ending == Ending::Stopped {
        return Err(ContestantError::Interrupted);
    }
    let n_samples = Shape::of(signal.info()).n_samples();
    Ok(Entry {
        params: fitted.network.into_params(),
        steps: fitted.steps,
        elapsed_s: fitted.elapsed_s,
        rate: config.rate,
        batch: ((config.batch * n_samples as f64).round() as usize).max(1),
        procedure: Procedure::Asmr(config),
        trials: Vec::new(),
    })
}

/// The fits of a baseline.
struct Run<'a> {
    field: &'a dyn Baseline,
    signal: &'a Signal,
    seed: u64,
    interrupt: &'a AtomicBool,
    on_progress: &'a mut dyn FnMut(f64),
    trials: Vec<Trial>,
}

impl Run<'_> {
    fn options(&self, recipe: Recipe, stop: Stop) -> FitOptions {
        FitOptions { seed: self.seed, ..FitOptions::new(recipe, stop) }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// What a fit does after a step.
    fn flow(&self) -> ControlFlow<()> {
        if self.is_interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// A fit, whose progress counts from `before` (0 to 1) on.
    fn fit(&mut self, recipe: Recipe, stop: Stop, before: f64) -> Result<Entry, ContestantError> {
        let options = self.options(recipe, stop);
        let (interrupt, on_progress) = (self.interrupt, &mut self.on_progress);
        let fitted = self.field.fit(self.signal, &options, &mut |event| {
            on_progress(before + (1.0 - before) * event.progress);
            if interrupt.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if self.is_interrupted() {
            return Err(ContestantError::Interrupted);
        }
        let n_samples = self.field.shape().n_samples();
        Ok(Entry {
            params: fitted.params,
            steps: fitted.steps,
            elapsed_s: fitted.elapsed_s,
            rate: recipe.rate,
            batch: recipe.batch.unwrap_or(n_samples).min(n_samples),
            procedure: Procedure::Baseline(recipe),
            trials: std::mem::take(&mut self.trials),
        })
    }

    /// Of the rates tried, the one with the least error; the first of those.
    fn best_rate(&self) -> Option<f64> {
        let tried = self.trials.iter().filter_map(|trial| Some((trial.rate, trial.mse?)));
        tried.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(rate, _)| rate)
    }

    /// As its authors fit it, but for the number of steps.
    fn published(&mut self, stop: Stop) -> Result<Entry, ContestantError> {
        self.fit(self.field.recipe(), stop, 0.0)
    }

    /// The best of what was tried for a while.
    fn timed(&mut self, limit: Duration) -> Result<Entry, ContestantError> {
        let start = Instant::now();
        let mut recipe = self.field.recipe();
        // A rate that stays high, or falls after so many steps only, ends a short fit in noise.
        if matches!(recipe.schedule, Schedule::Constant | Schedule::Staircase { .. }) {
            recipe.schedule = Schedule::Cosine { last: 0.01 };
        }
        recipe.batch = self.batch(recipe, limit)?;
        let published = recipe.rate;
        let mut factors = RATE_FACTORS.to_vec();
        while let Some(factor) = factors.get(self.trials.len()) {
            let rate = factor * published;
            let trial = self.trial(Recipe { rate, ..recipe }, limit.mul_f64(TRIAL_SHARE))?;
            self.trials.push(trial);
            (self.on_progress)(PROBE_SHARE + TRIAL_SHARE * self.trials.len() as f64);
            let highest = factors.iter().copied().fold(0.0, f64::max);
            let is_last = self.trials.len() == factors.len() && factors.len() < MAX_TRIALS;
            if is_last && self.best_rate() == Some(highest * published) {
                // What is best at the end of a range may be better beyond.
                factors.push(3.0 * highest);
            }
        }
        let best = self.best_rate();
        recipe.rate = best.unwrap_or(published * LOWER_RATE * LOWER_RATE);
        loop {
            let elapsed = start.elapsed();
            let left = limit.saturating_sub(elapsed).max(limit.mul_f64(LEAST_SHARE));
            let before = (elapsed.as_secs_f64() / limit.as_secs_f64()).min(1.0 - LEAST_SHARE);
            match self.fit(recipe, Stop::Time(left), before) {
                Err(ContestantError::Field(FieldError::Diverged { .. }))
                    if start.elapsed() < limit.mul_f64(1.0 - LEAST_SHARE) =>
                {
                    recipe.rate *= LOWER_RATE;
                }
                done => return done.map(|entry| Entry { elapsed_s: start.elapsed().as_secs_f64(), ..entry }),
            }
        }
    }

    /// Samples of a batch with which [`TARGET_STEPS`] steps take about `limit`: a power of two, or all.
    fn batch(&self, recipe: Recipe, limit: Duration) -> Result<Option<usize>, ContestantError> {
        let n_samples = self.field.shape().n_samples();
        let batch = PROBE_BATCH.min(n_samples);
        let trial = Recipe { batch: Some(batch), ..recipe };
        let options = self.options(trial, Stop::Time(limit.mul_f64(PROBE_SHARE).min(LONGEST_PROBE)));
        let (mut steps, mut elapsed_s) = (0, f64::INFINITY);
        let done = self.field.fit(self.signal, &options, &mut |event| {
            (steps, elapsed_s) = (event.step, event.elapsed_s);
            self.flow()
        });
        if self.is_interrupted() {
            return Err(ContestantError::Interrupted);
        }
        match done {
            // How quick its steps are is known all the same.
            Ok(_) | Err(FieldError::Diverged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let per_step = f64::from(steps) * batch as f64 / elapsed_s * limit.as_secs_f64() / TARGET_STEPS;
        let power = 1usize << per_step.max(1.0).log2().floor().min(40.0) as u32;
        let chosen = power.clamp(*BATCHES.start(), *BATCHES.end());
        Ok((chosen < n_samples).then_some(chosen))
    }

    fn trial(&self, recipe: Recipe, limit: Duration) -> Result<Trial, ContestantError> {
        let options = self.options(recipe, Stop::Time(limit));
        let (mut sum, mut n, mut last, mut steps) = (0.0, 0u32, None, 0);
        let done = self.field.fit(self.signal, &options, &mut |event| {
            (last, steps) = (Some(event.loss.mse), event.step);
            if event.progress >= 0.75 {
                sum += event.loss.mse;
                n += 1;
            }
            self.flow()
        });
        if self.is_interrupted() {
            return Err(ContestantError::Interrupted);
        }
        let mse = match done {
            Ok(_) if n > 0 => Some(sum / f64::from(n)),
            Ok(_) => last,
            Err(FieldError::Diverged { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Trial { rate: recipe.rate, mse: mse.filter(|mse| mse.is_finite()), steps })
    }
}
