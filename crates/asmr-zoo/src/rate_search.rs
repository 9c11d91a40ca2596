//! How a baseline is fitted in a comparison: as published, or in a given time with the batch and the rate that suit it.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::signal::Signal;

use crate::baseline::Baseline;
use crate::contestant::{ContestantError, Entry, Procedure, Trial};
use crate::field::FieldError;
use crate::fit::{FitOptions, Recipe, Schedule, Stop};

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

/// The fits of a baseline.
pub(crate) struct Run<'a> {
    field: &'a dyn Baseline,
    signal: &'a Signal,
    seed: u64,
    interrupt: &'a AtomicBool,
    on_progress: &'a mut dyn FnMut(f64),
    trials: Vec<Trial>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        field: &'a dyn Baseline,
        signal: &'a Signal,
        seed: u64,
        interrupt: &'a AtomicBool,
        on_progress: &'a mut dyn FnMut(f64),
    ) -> Self {
        Self { field, signal, seed, interrupt, on_progress, trials: Vec::new() }
    }

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

    /// As its authors fit it, but for what was adjusted.
    pub(crate) fn published(&mut self, recipe: Recipe, stop: Stop) -> Result<Entry, ContestantError> {
        self.fit(recipe, stop, 0.0)
    }

    /// The best of what was tried for a while.
    pub(crate) fn timed(&mut self, mut recipe: Recipe, limit: Duration) -> Result<Entry, ContestantError> {
        let start = Instant::now();
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
