//! How baselines are fitted: Adam with each paper's rate and schedule, on the whole signal or on random batches.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use asmr_kernels::optim::{AdamStep, adam};
use rayon::prelude::*;
use serde::Serialize;

use crate::draws::Draws;
use crate::field::{Engine, Field, FieldError, Loss, check_params, refuse};

/// Weights that one thread updates at a time.
const CHUNK: usize = 1 << 15;
/// Separates the stream that deals out batches from that of the initial weights.
const BATCH_SEED: u64 = 0x5eed;

/// How the rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Half a cosine wave over the whole fit, from 1 to this share.
    Cosine {
        /// Share of the rate at the end.
        last: f64,
    },
    /// Exponentially over the whole fit, from 1 to this share.
    Exponential {
        /// Share of the rate at the end.
        last: f64,
    },
    /// By a factor at `start` and every `interval` steps after it.
    Staircase {
        /// Step of the first fall.
        start: u32,
        /// Steps between falls.
        interval: u32,
        /// Factor of each.
        factor: f64,
    },
}

impl Schedule {
    /// Share of the highest rate at a step (from 0), `progress` (0 to 1) into the fit.
    #[must_use]
    pub fn share(self, step: u32, progress: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { last } => {
                last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
            }
            Self::Exponential { last } => last.powf(progress),
            Self::Staircase { start, interval, factor } => match step.checked_sub(start) {
                None => 1.0,
                Some(after) => factor.powf(f64::from(1 + after / interval.max(1))),
            },
        }
    }
}

/// A method's optimiser, as published.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recipe {
    /// Learning rate at its highest.
    pub rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// Decay of the first moment; 0 makes `RMSProp` of Adam.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Whether weights after [`Field::n_dense`] with a gradient of exactly 0 are left alone, moments and step counts
    /// included (as Müller et al. do in section 4).
    pub skip_untouched: bool,
    /// Samples per batch; none: all.
    pub batch: Option<usize>,
    /// Steps of the published protocol.
    pub steps: u32,
}

impl Recipe {
    /// Adam as its authors set it, full batch.
    #[must_use]
    pub fn adam(rate: f64, schedule: Schedule, steps: u32) -> Self {
        Self {
            rate,
            schedule,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            skip_untouched: false,
            batch: None,
            steps,
        }
    }
}

/// When a fit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After so many steps.
    Steps(u32),
    /// When the time is up; schedules are planned for it.
    Time(Duration),
}

/// One fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// The optimiser; [`Field::recipe`] for the published one.
    pub recipe: Recipe,
    /// When to end.
    pub stop: Stop,
    /// Seed of the weights and batches.
    pub seed: u64,
    /// Instructions that may be used.
    pub isa: IsaLevel,
    /// Whether weights from before the end are taken where the loss was less there: fits of ASMR end with their best as well, and
    /// what papers publish is often the best of a fit. Otherwise the last.
    pub keeps_best: bool,
}

impl FitOptions {
    /// A recipe for so long, seed 0, all instructions of this machine, the last weights.
    #[must_use]
    pub fn new(recipe: Recipe, stop: Stop) -> Self {
        Self { recipe, stop, seed: 0, isa: IsaLevel::detect(), keeps_best: false }
    }
}

/// Parts of a fit, of which that with the least mean loss has the best weights at its end.
const STRETCHES: u32 = 50;
/// Steps of a stretch at least: the loss of one step is that of weights before it.
const LEAST_STRETCH: u32 = 4;
/// The last weights are taken unless the mean loss of their stretch is greater than the least by this factor: means of batches
/// differ by chance.
const WORSE: f64 = 1.02;

/// The best weights of a fit so far.
struct Kept {
    n_stretches: f64,
    /// The stretch that is going on, its losses, and how many.
    stretch: f64,
    sum: f64,
    n: u32,
    /// The mean loss of the last whole stretch, and the least of any.
    last: f64,
    least: f64,
    params: Vec<f32>,
}

impl Kept {
    fn new(stop: Stop) -> Self {
        let n_stretches = match stop {
            Stop::Steps(steps) => STRETCHES.min(steps / LEAST_STRETCH).max(1),
            Stop::Time(_) => STRETCHES,
        };
        Self {
            n_stretches: f64::from(n_stretches),
            stretch: 0.0,
            sum: 0.0,
            n: 0,
            last: f64::INFINITY,
            least: f64::INFINITY,
            params: Vec::new(),
        }
    }

    /// After a step: its loss, how much of the fit is done, and the weights.
    fn step(&mut self, mse: f64, progress: f64, params: &[f32]) {
        (self.sum, self.n) = (self.sum + mse, self.n + 1);
        let stretch = (progress * self.n_stretches).floor();
        if stretch <= self.stretch || self.n < LEAST_STRETCH {
            return;
        }
        self.last = self.sum / f64::from(self.n);
        (self.stretch, self.sum, self.n) = (stretch, 0.0, 0);
        if self.last < self.least {
            self.least = self.last;
            params.clone_into(&mut self.params);
        }
    }

    /// The weights to take, of these at the end and the best before.
    fn chosen(self, params: Vec<f32>) -> Vec<f32> {
        if self.last > WORSE * self.least { self.params } else { params }
    }
}

/// What a fit tells after each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepEvent {
    /// Steps done.
    pub step: u32,
    /// Share of the fit that is done, 0 to 1.
    pub progress: f64,
    /// The loss before this step, on its batch.
    pub loss: Loss,
    /// Since the fit began.
    pub elapsed_s: f64,
}

/// A fitted field's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Weights.
    pub params: Vec<f32>,
    /// Steps that were made.
    pub steps: u32,
    /// How long it took.
    pub elapsed_s: f64,
    /// Mean square error on the last step's batch, before that step.
    pub last_mse: f64,
}

/// Fits a field to a signal from [`Field::start`], whose time is part of the fit's. With [`Stop::Steps`], the same bits on any
/// number of threads. `on_step` may end the fit early.
///
/// # Errors
/// [`FieldError`] when shapes differ, a setting is no good, or the fit diverges.
pub fn fit<F: Field>(
    field: &F,
    source: &dyn Source,
    options: &FitOptions,
    on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
) -> Result<Fitted, FieldError> {
    let begin = Instant::now();
    let params = field.start(source, options, on_step)?;
    let before = begin.elapsed();
    let stop = match options.stop {
        Stop::Time(limit) => Stop::Time(limit.saturating_sub(before)),
        stop @ Stop::Steps(_) => stop,
    };
    let fitted = fit_from(field, source, params, &FitOptions { stop, ..*options }, on_step)?;
    Ok(Fitted { elapsed_s: fitted.elapsed_s + before.as_secs_f64(), ..fitted })
}

/// As [`fit`], from given weights.
///
/// # Errors
/// As [`fit`], and [`FieldError::Params`].
pub fn fit_from<F: Field>(
    field: &F,
    source: &dyn Source,
    mut params: Vec<f32>,
    options: &FitOptions,
    on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
) -> Result<Fitted, FieldError> {
    let start = Instant::now();
    let recipe = &options.recipe;
    if !(recipe.rate.is_finite() && recipe.rate > 0.0) {
        return Err(refuse("the rate", recipe.rate, "a number above 0"));
    }
    if recipe.batch == Some(0) {
        return Err(refuse("the batch", 0, "1 sample or more"));
    }
    check_params(field, params.len())?;
    let mut engine = Engine::new(field, source, options.isa)?;
    let mut batches = Batches::new(field.shape().n_samples(), recipe.batch, options.seed);
    let mut gradient = vec![0.0; params.len()];
    let mut optimiser = Optimiser::new(options.isa, recipe, field.n_dense(), params.len());
    let (mut steps, mut last_mse) = (0, f64::NAN);
    let mut kept = options.keeps_best.then(|| Kept::new(options.stop));
    loop {
        let progress = match options.stop {
            Stop::Steps(n) => f64::from(steps) / f64::from(n.max(1)),
            Stop::Time(limit) => start.elapsed().as_secs_f64() / limit.as_secs_f64(),
        };
        if progress >= 1.0 || options.stop == Stop::Steps(0) {
            break;
        }
        let loss = engine.loss_and_gradient(&params, batches.next(), &mut gradient)?;
        if !loss.total().is_finite() {
            return Err(FieldError::Diverged { step: steps });
        }
        optimiser.step(recipe.rate * recipe.schedule.share(steps, progress), &gradient, &mut params);
        steps += 1;
        last_mse = loss.mse;
        let elapsed_s = start.elapsed().as_secs_f64();
        let progress = match options.stop {
            Stop::Steps(n) => f64::from(steps) / f64::from(n),
            Stop::Time(limit) => (elapsed_s / limit.as_secs_f64()).min(1.0),
        };
        if let Some(kept) = &mut kept {
            kept.step(loss.mse, progress, &params);
        }
        if on_step(&StepEvent { step: steps, progress, loss, elapsed_s }).is_break() {
            break;
        }
    }
    if params.iter().any(|weight| !weight.is_finite()) {
        return Err(FieldError::Diverged { step: steps });
    }
    if let Some(kept) = kept {
        params = kept.chosen(params);
    }
    Ok(Fitted { params, steps, elapsed_s: start.elapsed().as_secs_f64(), last_mse })
}

/// Deals out samples: each epoch holds every sample once. What a batch costs depends on its own size, not on the signal's.
struct Batches {
    n_samples: usize,
    batch: usize,
    /// Samples of the present epoch that were dealt.
    next: usize,
    epoch: Shuffle,
    draws: Draws,
    dealt: Vec<u32>,
}

impl Batches {
    fn new(n_samples: usize, batch: Option<usize>, seed: u64) -> Self {
        let batch = batch.map_or(n_samples, |batch| batch.min(n_samples));
        let mut draws = Draws::new(seed ^ BATCH_SEED);
        let epoch = Shuffle::new(n_samples, &mut draws);
        let dealt = if batch == n_samples { (0..n_samples as u32).collect() } else { Vec::new() };
        Self { n_samples, batch, next: 0, epoch, draws, dealt }
    }

    fn next(&mut self) -> &[u32] {
        if self.batch == self.n_samples {
            return &self.dealt;
        }
        if self.next == self.n_samples {
            self.epoch = Shuffle::new(self.n_samples, &mut self.draws);
            self.next = 0;
        }
        let end = self.n_samples.min(self.next + self.batch);
        self.dealt.clear();
        self.dealt.extend((self.next..end).map(|i| self.epoch.at(i as u32)));
        self.next = end;
        &self.dealt
    }
}

/// A random order of the first `n` numbers that nothing is stored of: one of all numbers below the next power of two,
/// without those past the end (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
struct Shuffle {
    n: u32,
    mask: u32,
    shift: u32,
    /// An odd factor and a summand for each round.
    rounds: [[u32; 2]; 4],
}

impl Shuffle {
    fn new(n: usize, draws: &mut Draws) -> Self {
        let bits = usize::BITS - n.saturating_sub(1).leading_zeros();
        let rounds = std::array::from_fn(|_| [draws.word() | 1, draws.word()]);
        Self { n: n as u32, mask: u32::MAX >> (32 - bits.max(1)), shift: (bits / 2).max(1), rounds }
    }

    /// The number at place `i`.
    fn at(&self, i: u32) -> u32 {
        let mut x = i;
        loop {
            // Each of these is a bijection: the first carries what is in low bits up, the second what is in high ones down.
            for [factor, summand] in self.rounds {
                x = x.wrapping_mul(factor).wrapping_add(summand) & self.mask;
                x ^= x >> self.shift;
            }
            if x < self.n {
                return x;
            }
        }
    }
}

/// Adam on the dense weights, and on tables as the recipe says.
struct Optimiser {
    isa: IsaLevel,
    beta1: f64,
    beta2: f64,
    epsilon: f32,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u32,
    /// Weights that are always updated.
    n_dense: usize,
    /// Updates of each weight after them, where untouched ones are skipped.
    touched: Vec<u32>,
    /// `1 / (1 - beta^t)` of both moments, for t = 1, 2, …
    corrections: Vec<[f32; 2]>,
}

impl Optimiser {
    fn new(isa: IsaLevel, recipe: &Recipe, n_dense: usize, n_params: usize) -> Self {
        let n_dense = if recipe.skip_untouched { n_dense } else { n_params };
        Self {
            isa,
            beta1: recipe.beta1,
            beta2: recipe.beta2,
            epsilon: recipe.epsilon as f32,
            first: vec![0.0; n_params],
            second: vec![0.0; n_params],
            steps: 0,
            n_dense,
            touched: vec![0; n_params - n_dense],
            corrections: Vec::new(),
        }
    }

    fn step(&mut self, rate: f64, gradient: &[f32], params: &mut [f32]) {
        self.steps += 1;
        let steps = self.steps as i32;
        let correction = |beta: f64| (1.0 / (1.0 - beta.powi(steps))) as f32;
        let corrections = [correction(self.beta1), correction(self.beta2)];
        self.corrections.push(corrections);
        let step = AdamStep {
            rate: rate as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            epsilon: self.epsilon,
            correction1: corrections[0],
            correction2: corrections[1],
            gradient_scale: 1.0,
        };
        let (gradient, table_gradient) = gradient.split_at(self.n_dense);
        let (params, table) = params.split_at_mut(self.n_dense);
        let (first, table_first) = self.first.split_at_mut(self.n_dense);
        let (second, table_second) = self.second.split_at_mut(self.n_dense);
        let isa = self.isa;
        (gradient.par_chunks(CHUNK), first.par_chunks_mut(CHUNK))
            .into_par_iter()
            .zip((second.par_chunks_mut(CHUNK), params.par_chunks_mut(CHUNK)))
            .for_each(|((gradient, first), (second, params))| {
                adam(isa, step, gradient, first, second, params);
            });
        let corrections = &self.corrections[..];
        (
            table_gradient.par_chunks(CHUNK),
            table_first.par_chunks_mut(CHUNK),
            table_second.par_chunks_mut(CHUNK),
        )
            .into_par_iter()
            .zip((table.par_chunks_mut(CHUNK), self.touched.par_chunks_mut(CHUNK)))
            .for_each(|((gradient, first, second), (weights, touched))| {
                for i in 0..gradient.len() {
                    let g = gradient[i];
                    if g == 0.0 {
                        continue;
                    }
                    let [correction1, correction2] = corrections[touched[i] as usize];
                    touched[i] += 1;
                    first[i] = step.beta1 * first[i] + (1.0 - step.beta1) * g;
                    second[i] = step.beta2 * second[i] + (1.0 - step.beta2) * (g * g);
                    weights[i] -= step.rate * (first[i] * correction1)
                        / ((second[i] * correction2).sqrt() + step.epsilon);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use asmr::signal::{SampleType, Samples, Signal, SignalInfo};

    use super::*;
    use crate::field::Shape;
    use crate::siren::{Siren, SirenSettings};

    #[test]
    fn schedules_at_their_ends() {
        let share = |schedule: Schedule, step, progress| schedule.share(step, progress);
        let stairs = Schedule::Staircase { start: 20_000, interval: 10_000, factor: 0.33 };
        let cases = [
            (share(Schedule::Constant, 7, 0.5), 1.0),
            (share(Schedule::Cosine { last: 0.1 }, 0, 0.0), 1.0),
            (share(Schedule::Cosine { last: 0.1 }, 0, 0.5), 0.55),
            (share(Schedule::Cosine { last: 0.1 }, 0, 1.0), 0.1),
            (share(Schedule::Exponential { last: 0.01 }, 0, 0.5), 0.1),
            (share(stairs, 19_999, 0.9), 1.0),
            (share(stairs, 20_000, 0.9), 0.33),
            (share(stairs, 29_999, 0.9), 0.33),
            (share(stairs, 30_000, 0.9), 0.33 * 0.33),
        ];
        for (i, (actual, expected)) in cases.into_iter().enumerate() {
            assert!((actual - expected).abs() < 1e-12, "case {i}: {actual}, not {expected}");
        }
    }

    #[test]
    fn the_best_weights_are_kept() {
        let ends_with = |losses: &[f64]| {
            let n = losses.len() as u32;
            let mut kept = Kept::new(Stop::Steps(n));
            for (step, &mse) in (1..).zip(losses) {
                kept.step(mse, f64::from(step) / f64::from(n), &[step as f32]);
            }
            kept.chosen(vec![losses.len() as f32])[0]
        };
        // Two stretches of four steps: the second is better, as good but for chance, and worse.
        assert_eq!(ends_with(&[4.0, 3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 8.0);
        assert_eq!(ends_with(&[1.0, 1.0, 1.0, 1.0, 1.01, 1.01, 1.01, 1.01]), 8.0);
        assert_eq!(ends_with(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0]), 4.0);
        // One step is no stretch, and so are three.
        assert_eq!(ends_with(&[1.0, 9.0, 9.0]), 3.0);
        // 50 stretches of 6 steps, the tenth of which is the best; what follows rises slowly.
        let losses: Vec<f64> = (0..300).map(|step| (f64::from(step) - 59.0).abs() + 1.0).collect();
        assert_eq!(ends_with(&losses), 60.0);
    }

    #[test]
    fn an_epoch_holds_every_sample_once() {
        let mut batches = Batches::new(103, Some(20), 1);
        let mut orders = Vec::new();
        for _ in 0..3 {
            let mut epoch: Vec<u32> = (0..6).flat_map(|_| batches.next().to_vec()).collect();
            orders.push(epoch.clone());
            epoch.sort_unstable();
            assert!(epoch.iter().copied().eq(0..103));
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        assert_eq!(Batches::new(103, Some(103), 1).next().len(), 103);
        for n in 1..70 {
            let mut batches = Batches::new(n, Some(1), 2);
            let mut epoch: Vec<u32> = (0..n).flat_map(|_| batches.next().to_vec()).collect();
            epoch.sort_unstable();
            assert!(epoch.into_iter().eq(0..n as u32), "{n} samples");
        }
    }

    #[test]
    fn a_batch_is_spread_over_the_signal() {
        let (n, batch) = (1_000_003, 10_000);
        let mut batches = Batches::new(n, Some(batch), 5);
        for _ in 0..20 {
            let mut samples = batches.next().to_vec();
            let mean = samples.iter().map(|&sample| f64::from(sample)).sum::<f64>() / batch as f64;
            // Of uniform numbers the mean deviates by n / √(12 · batch) = 2887; five times that, once in a million.
            assert!((mean - n as f64 / 2.0).abs() < 5.0 * 2887.0, "mean {mean}");
            samples.sort_unstable();
            let neighbours = samples.windows(2).filter(|pair| pair[1] == pair[0] + 1).count();
            // batch² / n = 100 are expected, give or take 10.
            assert!((50..150).contains(&neighbours), "{neighbours} neighbours");
        }
    }

    #[test]
    fn a_batch_of_the_largest_signal_costs_no_more() {
        // Numbers of all samples would take 16 GiB.
        let mut batches = Batches::new(u32::MAX as usize, Some(4), 1);
        let mut samples = [batches.next().to_vec(), batches.next().to_vec()].concat();
        samples.sort_unstable();
        samples.dedup();
        assert_eq!(samples.len(), 8);
    }

    #[test]
    fn fits_end_when_they_should() {
        let info = SignalInfo::plain(vec![8, 8], 1, SampleType::U8, None);
        let signal = Signal::new(info, Samples::U8((0..64).collect())).expect("a signal");
        let siren =
            Siren::new(Shape::of(signal.info()), SirenSettings { width: 8, ..SirenSettings::default() });
        let siren = siren.expect("a SIREN");
        let recipe = siren.recipe();
        let run = |recipe, stop, until: u32| {
            let mut n_events = 0;
            let fitted = fit(&siren, &signal, &FitOptions::new(recipe, stop), &mut |event| {
                n_events += 1;
                assert_eq!(event.step, n_events);
                if event.step == until { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            fitted.inspect(|fitted| assert_eq!(fitted.steps, n_events))
        };
        assert_eq!(run(recipe, Stop::Steps(5), 0).expect("a fit").steps, 5);
        assert_eq!(run(recipe, Stop::Steps(5), 3).expect("a fit").steps, 3);
        let none = run(recipe, Stop::Steps(0), 0).expect("a fit");
        assert_eq!((none.steps, none.params), (0, siren.init(0)));
        let timed = run(recipe, Stop::Time(Duration::from_millis(50)), 0).expect("a fit");
        assert!(timed.steps >= 1 && timed.elapsed_s >= 0.05);
        let wild = Recipe { rate: 1e38, ..recipe };
        assert!(matches!(run(wild, Stop::Steps(50), 0), Err(FieldError::Diverged { .. })));
    }
}
