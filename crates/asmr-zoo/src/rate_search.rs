//! How a baseline is fitted in a comparison: as published, or in a given time with the batch and the rate that suit it.

use std::ops::{ControlFlow, RangeInclusive};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::signal::Signal;

use crate::baseline::{Baseline, Config, Method};
use crate::contestant::{ContestantError, Entry, Procedure, Trial};
use crate::field::{FieldError, refuse};
use crate::fit::{FitOptions, Fitted, Recipe, Schedule, StepEvent, Stop};
use crate::plenoxels::{Plenoxels, fit_coarse_to_fine};
use crate::timing::median;

/// Steps of a rival that a time is meant for: its batch is chosen so.
pub const TARGET_STEPS: f64 = 1000.0;
/// Factors on the published rate that are tried first; the first wins where they are equally good.
pub const RATE_FACTORS: [f64; 3] = [1.0, 0.3, 3.0];
/// Where the highest rate that was tried is the best, one higher by this factor is tried, ...
const HIGHER_RATE: f64 = 3.0;
/// ... and where it is the lowest, one lower by this one.
const LOWER_RATE: f64 = 0.3;
/// The most rates that are tried.
pub const MAX_RATES: usize = 7;
/// The best rate is tried with a batch smaller by this factor as well.
const BATCH_DIVISOR: usize = 4;
/// Share of the time that a trial takes, ...
pub const TRIAL_SHARE: f64 = 0.04;
/// ... but this long at least, for some dozens of steps, ...
const LEAST_TRIAL: Duration = Duration::from_millis(100);
/// ... and this share at most.
const MOST_TRIAL_SHARE: f64 = 0.08;
/// A trial that is not a part of the time is at least so long: a dozen steps tell little of a rate.
pub const LEAST_FREE_TRIAL: Duration = Duration::from_millis(400);
/// Where the search is a part of the time, no trial begins after this share.
const MOST_SEARCH_SHARE: f64 = 0.5;
/// Samples of the batches whose steps are timed: what a step takes grows linearly from something that no batch saves.
const PROBE_BATCHES: [usize; 2] = [512, 8192];
/// Share of the time in which each is timed, ...
const PROBE_SHARE: f64 = 0.01;
/// ... but at least so long, ...
const SHORTEST_PROBE: Duration = Duration::from_millis(10);
/// ... no longer than this, ...
const LONGEST_PROBE: Duration = Duration::from_millis(500);
/// ... and for so many steps after the first, which makes ready what the others find.
const PROBE_STEPS: usize = 3;
/// Factor on the rate meanwhile: what a step takes does not depend on it, and none diverges.
const PROBE_RATE: f64 = 1e-3;
/// Samples of a batch that a time leads to.
pub const BATCHES: RangeInclusive<usize> = 1 << 8..=1 << 18;
/// A fit that diverged is begun anew at a lower rate while this share of the time is left.
const LEAST_SHARE: f64 = 0.25;

/// A grid that is fitted coarse to fine ([`fit_coarse_to_fine`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stages {
    /// How many; the time, or the steps, are divided among them.
    pub n_stages: usize,
    /// Vertices so near to the background are dropped between them.
    pub threshold: f32,
}

/// The fits of a baseline.
pub(crate) struct Run<'a> {
    config: &'a Config,
    field: &'a dyn Baseline,
    stages: Option<Stages>,
    signal: &'a Signal,
    seed: u64,
    interrupt: &'a AtomicBool,
    on_progress: &'a mut dyn FnMut(f64),
    trials: Vec<Trial>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        (config, field, stages): (&'a Config, &'a dyn Baseline, Option<Stages>),
        signal: &'a Signal,
        seed: u64,
        interrupt: &'a AtomicBool,
        on_progress: &'a mut dyn FnMut(f64),
    ) -> Self {
        Self { config, field, stages, signal, seed, interrupt, on_progress, trials: Vec::new() }
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
        let options = FitOptions { keeps_best: true, ..self.options(recipe, stop) };
        let (interrupt, on_progress) = (self.interrupt, &mut self.on_progress);
        let mut on_step = |event: &StepEvent| {
            on_progress(before + (1.0 - before) * event.progress);
            if interrupt.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (fitted, method) = match self.stages {
            None => (self.field.fit(self.signal, &options, &mut on_step)?, None),
            Some(stages) => {
                let (fitted, method) = staged(self.config, self.signal, stages, options, &mut on_step)?;
                (fitted, Some(method))
            }
        };
        if self.is_interrupted() {
            return Err(ContestantError::Interrupted);
        }
        let n_samples = self.field.shape().n_samples();
        Ok(Entry {
            params: fitted.params,
            method,
            steps: fitted.steps,
            elapsed_s: fitted.elapsed_s,
            search_s: 0.0,
            rate: recipe.rate,
            rate_is_inside: self.best_is_inside(),
            batch: recipe.batch.unwrap_or(n_samples).min(n_samples),
            procedure: Procedure::Baseline(recipe),
            trials: std::mem::take(&mut self.trials),
        })
    }

    /// Of what was tried, that with the least error; the first of those.
    fn best(&self) -> Option<&Trial> {
        let tried = self.trials.iter().filter_map(|trial| Some((trial, trial.mse?)));
        tried.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(trial, _)| trial)
    }

    /// The lowest and the highest rate that was tried.
    fn tried(&self) -> (f64, f64) {
        let rates = self.trials.iter().map(|trial| trial.rate);
        rates.fold((f64::INFINITY, 0.0), |(lowest, highest), rate| (lowest.min(rate), highest.max(rate)))
    }

    /// Whether both a lower and a higher rate than the best was tried; none: no rate was.
    fn best_is_inside(&self) -> Option<bool> {
        let (lowest, highest) = self.tried();
        let best = (!self.trials.is_empty()).then(|| self.best())?;
        Some(best.is_some_and(|best| lowest < best.rate && best.rate < highest))
    }

    /// What is best at the end of a range may be better beyond.
    fn rate_beyond(&self) -> Option<f64> {
        let (lowest, highest) = self.tried();
        match self.best() {
            Some(best) if best.rate >= highest => Some(HIGHER_RATE * highest),
            Some(best) if best.rate > lowest => None,
            // Or all diverged.
            _ => Some(LOWER_RATE * lowest),
        }
    }

    /// As its authors fit it, but for what was adjusted.
    pub(crate) fn published(&mut self, recipe: Recipe, stop: Stop) -> Result<Entry, ContestantError> {
        self.fit(recipe, stop, 0.0)
    }

    /// The best of what was tried for a while; the search is a part of the time, unless it `is_free`.
    pub(crate) fn timed(
        &mut self,
        recipe: Recipe,
        limit: Duration,
        is_free: bool,
    ) -> Result<Entry, ContestantError> {
        let begun = Instant::now();
        let mut recipe = self.found(recipe, limit, is_free)?;
        let search_s = begun.elapsed().as_secs_f64();
        let begun = if is_free { Instant::now() } else { begun };
        loop {
            let elapsed = begun.elapsed();
            let left = limit.saturating_sub(elapsed).max(limit.mul_f64(LEAST_SHARE));
            let before = (elapsed.as_secs_f64() / limit.as_secs_f64()).min(1.0 - LEAST_SHARE);
            match self.fit(recipe, Stop::Time(left), before) {
                Err(ContestantError::Field(FieldError::Diverged { .. }))
                    if begun.elapsed() < limit.mul_f64(1.0 - LEAST_SHARE) =>
                {
                    recipe.rate *= LOWER_RATE;
                }
                done => {
                    let elapsed_s = begun.elapsed().as_secs_f64();
                    return done.map(|entry| Entry { elapsed_s, search_s, ..entry });
                }
            }
        }
    }

    /// A recipe for a time: its schedule, batch and rate.
    fn found(
        &mut self,
        mut recipe: Recipe,
        limit: Duration,
        is_free: bool,
    ) -> Result<Recipe, ContestantError> {
        let begun = Instant::now();
        let goes_on = || is_free || begun.elapsed() < limit.mul_f64(MOST_SEARCH_SHARE);
        // A rate that stays high, or falls after so many steps only, ends a short fit in noise.
        if matches!(recipe.schedule, Schedule::Constant | Schedule::Staircase { .. }) {
            recipe.schedule = Schedule::Cosine { last: 0.01 };
        }
        recipe.batch = self.batch(recipe, limit)?;
        let time = limit.mul_f64(TRIAL_SHARE);
        let time = if is_free {
            time.max(LEAST_FREE_TRIAL)
        } else {
            time.max(LEAST_TRIAL).min(limit.mul_f64(MOST_TRIAL_SHARE))
        };
        for factor in RATE_FACTORS {
            self.trial(Recipe { rate: factor * recipe.rate, ..recipe }, time)?;
        }
        while self.trials.len() < MAX_RATES && goes_on() {
            let Some(rate) = self.rate_beyond() else { break };
            self.trial(Recipe { rate, ..recipe }, time)?;
        }
        if let Some(rate) = self.best().map(|best| best.rate)
            && goes_on()
        {
            let n_samples = self.field.shape().n_samples();
            let smaller = recipe.batch.unwrap_or(n_samples) / BATCH_DIVISOR;
            if smaller >= *BATCHES.start() {
                self.trial(Recipe { rate, batch: Some(smaller), ..recipe }, time)?;
            }
        }
        Ok(match self.best() {
            Some(best) => {
                let batch = Some(best.batch).filter(|&batch| batch < self.field.shape().n_samples());
                Recipe { rate: best.rate, batch, ..recipe }
            }
            None => Recipe { rate: LOWER_RATE * self.tried().0, ..recipe },
        })
    }

    /// Samples of a batch with which [`TARGET_STEPS`] steps take about `limit`: a power of two, or all.
    fn batch(&self, recipe: Recipe, limit: Duration) -> Result<Option<usize>, ContestantError> {
        let n_samples = self.field.shape().n_samples();
        let batches = PROBE_BATCHES.map(|batch| batch.min(n_samples));
        if batches[0] == batches[1] {
            return Ok(None);
        }
        let time = limit.mul_f64(PROBE_SHARE).clamp(SHORTEST_PROBE, LONGEST_PROBE);
        let seconds = [self.step_s(recipe, batches[0], time)?, self.step_s(recipe, batches[1], time)?];
        let wanted = batch_of(batches, seconds, limit.as_secs_f64() / TARGET_STEPS);
        let power = 1usize << wanted.max(1.0).log2().floor().min(40.0) as u32;
        let chosen = power.clamp(*BATCHES.start(), *BATCHES.end());
        Ok((chosen < n_samples).then_some(chosen))
    }

    /// Seconds of a step with so large a batch: the median over those after the first.
    fn step_s(&self, recipe: Recipe, batch: usize, time: Duration) -> Result<f64, ContestantError> {
        let probe = Recipe { rate: PROBE_RATE * recipe.rate, batch: Some(batch), ..recipe };
        let mut ends = Vec::new();
        let done = self.field.fit(self.signal, &self.options(probe, Stop::Steps(u32::MAX)), &mut |event| {
            ends.push(event.elapsed_s);
            let is_enough = ends.len() > PROBE_STEPS && event.elapsed_s - ends[0] >= time.as_secs_f64();
            if is_enough { ControlFlow::Break(()) } else { self.flow() }
        });
        if self.is_interrupted() {
            return Err(ContestantError::Interrupted);
        }
        done?;
        Ok(median(&ends.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()))
    }

    /// A fit for a short time.
    fn trial(&mut self, recipe: Recipe, time: Duration) -> Result<(), ContestantError> {
        let n_samples = self.field.shape().n_samples();
        let options = self.options(recipe, Stop::Time(time));
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
        let batch = recipe.batch.unwrap_or(n_samples);
        self.trials.push(Trial { rate: recipe.rate, batch, mse: mse.filter(|mse| mse.is_finite()), steps });
        Ok(())
    }
}

/// The batch whose steps take `step_s`, from what steps of two batches take; at least that whose samples take as long as what
/// no batch saves: with fewer, most of a step would be that.
fn batch_of(batches: [usize; 2], seconds: [f64; 2], step_s: f64) -> f64 {
    let [few, many] = batches.map(|batch| batch as f64);
    // By chance the larger batch can be the quicker one.
    let per_sample = ((seconds[1] - seconds[0]) / (many - few)).max(1e-3 * seconds[1] / many);
    let fixed = (seconds[0] - few * per_sample).max(0.0);
    (step_s - fixed).max(fixed) / per_sample
}

/// A fit coarse to fine, and the settings of the grid that it ends with.
fn staged(
    config: &Config,
    signal: &Signal,
    Stages { n_stages, threshold }: Stages,
    options: FitOptions,
    on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
) -> Result<(Fitted, Method), FieldError> {
    let Method::Plenoxels(settings) = &config.method else {
        return Err(refuse("stages", n_stages, "an explicit grid"));
    };
    let n = n_stages.max(1) as u32;
    let stop = match options.stop {
        Stop::Steps(steps) => Stop::Steps((steps / n).max(1)),
        Stop::Time(time) => Stop::Time(time / n),
    };
    let coarse = Plenoxels::new(config.shape.clone(), settings.clone())?;
    let options = FitOptions { stop, ..options };
    let (field, fitted) = fit_coarse_to_fine(coarse, signal, n_stages, threshold, &options, on_step)?;
    Ok((fitted, Method::Plenoxels(field.settings().clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_for_steps_that_grow_linearly() {
        let of = |fixed: f64, per_sample: f64, step_s| {
            batch_of([512, 8192], [fixed + 512.0 * per_sample, fixed + 8192.0 * per_sample], step_s)
        };
        for (actual, expected) in [
            (of(0.0, 1e-6, 1e-3), 1000.0),
            (of(1e-3, 1e-6, 5e-3), 4000.0),
            // What no batch saves takes longer than a step should: as much again is spent on samples.
            (of(5e-3, 1e-6, 6e-3), 5000.0),
            (of(5e-3, 1e-6, 1e-3), 5000.0),
        ] {
            assert!((actual - expected).abs() < 1e-6 * expected, "{actual}, not {expected}");
        }
        // Noise gives no batch that is none.
        let odd = batch_of([512, 8192], [2e-3, 1e-3], 1e-2);
        assert!(odd.is_finite() && odd >= 8192.0, "{odd}");
    }
}
