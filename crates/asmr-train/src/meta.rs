//! Meta-learning: weights that the signals of a data set share, from which a few steps on a few of them fit another signal.
//!
//! ```text
//! modulation φ    biases, modulators and the output bias: a signal's own
//! shared θ        the matrices between neurons: the data set's
//! inner loop      φ_{k+1} = φ_k - α ∘ ∂L/∂φ (θ, φ_k),   k = 0 .. K-1, from a φ_0 that all signals share; α: one rate per tensor
//! outer loop      Adam on θ, φ_0 and ln α for the mean over signals of L(θ, φ_K)
//! ```
//!
//! Modulations as all that a signal keeps are CAVIA's (Zintgraf et al., 2019, arXiv 1810.03642) and functa's (Dupont et al., 2022,
//! arXiv 2201.12204), learned inner rates those of Meta-SGD (Li et al., 2017, arXiv 1707.09835).
//!
//! The outer gradient goes back through the inner steps (functa found that one that does not is much worse). That needs
//! products of the Hessian of L with a vector on φ, which are taken as central differences of gradients: two passes for each inner
//! step, exact up to the square of their distance (`DIFFERENCE`).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use asmr::network::{Modulator, Network, NetworkConfig, NetworkError, Role};
use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use asmr_kernels::optim::{AdamStep, adam};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use thiserror::Error;

use crate::gradient::{Batch, GradientEngine};
use crate::measure::channel_means;

/// Step of the central differences, as a multiple of an inner step: its square is their error, and its inverse magnifies the
/// rounding of gradients.
const DIFFERENCE: f32 = 0.02;
/// Inner rates that are tried before the first update, as powers of ten ([`initial_rates`]).
const RATE_POWERS: Range<i32> = -2..6;
/// Signals they are tried on.
const RATE_SIGNALS: usize = 8;
/// Updates in a row without a finite loss and gradient, each left out, after which learning gives up.
pub const MAX_BAD_STEPS: u32 = 10;
/// Signals whose gradients are held at the same time.
const GRADIENTS: usize = 16;
/// Factor on all inner rates after a step that made the loss no less.
const SHORTER: f32 = 0.5;
/// Rate of modulators and table rows in the outer loop, as a fraction of the others': `omega_0` acts on them twice.
const MODULATOR_RATE: f64 = 0.03;
/// Adam's moments in the outer loop.
const BETAS: (f64, f64) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// How a base is learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetaConfig {
    /// Seed of the initial weights and of the order of signals.
    pub seed: u64,
    /// Outer updates, 1 to 10^9.
    pub steps: u32,
    /// Signals an update is taken over, 1 to 4096.
    pub batch: usize,
    /// K, 1 to 100.
    pub inner_steps: u32,
    /// Adam's rate on θ and `φ_0` at its highest, above 0 and at most 1.
    pub rate: f64,
    /// Adam's rate on ln α, 0 to 1.
    pub rate_of_rates: f64,
    /// Both rates at the end of their cosine decay, as a fraction, 0 to 1.
    pub final_rate: f64,
    /// Factor on the modulators' initial output; 1 is the paper's.
    pub modulation_scale: f64,
}

impl Default for MetaConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            steps: 3000,
            batch: 16,
            inner_steps: 3,
            rate: 1e-3,
            rate_of_rates: 1e-2,
            final_rate: 0.05,
            modulation_scale: 0.1,
        }
    }
}

/// Why there is no base.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MetaError {
    /// A setting outside its range.
    #[error("{name} is {value}; it must be {range}")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        value: String,
        /// What is accepted.
        range: &'static str,
    },
    /// No signals.
    #[error("there are no signals to learn from; at least 1 is needed")]
    NoSignals,
    /// A signal of another shape.
    #[error(
        "signal {index} is {signal:?} with {signal_channels} channels; all must be {network:?} with {channels}"
    )]
    Shape {
        /// Which, from 0.
        index: usize,
        /// Its extents.
        signal: Vec<usize>,
        /// Its channels.
        signal_channels: usize,
        /// The network's extents.
        network: Vec<usize>,
        /// Its channels.
        channels: usize,
    },
    /// The network's shape is refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Loss or gradient were no numbers for [`MAX_BAD_STEPS`] updates in a row.
    #[error("learning diverged at step {0}; a lower rate may help")]
    Diverged(u32),
    /// A signal could not be read.
    #[error("a signal cannot be read: {0}")]
    Read(String),
    /// A number of inner rates that is not the network's.
    #[error(
        "there are {actual} inner rates; the network takes {expected}, one for each tensor of the modulation"
    )]
    Rates {
        /// How many there are.
        actual: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A number of modulation values that is not the network's.
    #[error("the modulation has {actual} values; the base takes {expected}")]
    Modulation {
        /// How many there are.
        actual: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// Where a signal's own weights lie in the flat array of a network's, in order.
#[must_use]
pub fn modulation_ranges(network: &NetworkConfig) -> Vec<Range<usize>> {
    let own = network
        .tensors()
        .into_iter()
        .filter(|tensor| matches!(tensor.role, Role::LayerBias(_) | Role::OutputBias | Role::Modulator(_)));
    own.map(|tensor| tensor.range()).collect()
}

/// Numbers that a signal keeps.
#[must_use]
pub fn n_modulations(network: &NetworkConfig) -> usize {
    modulation_ranges(network).iter().map(Range::len).sum()
}

/// A network to begin with, and the rates of the steps from there.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    network: Network,
    /// α, a rate for each tensor of the modulation.
    rates: Vec<f32>,
    /// K, the steps that they are for.
    inner_steps: u32,
}

/// A signal's modulation, and how near it comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// φ, in the order of [`modulation_ranges`].
    pub modulation: Vec<f32>,
    /// Mean squared error before each step, and after the last, of those that were taken back too; on the network's \[0, 1\] scale,
    /// values neither clamped nor rounded.
    pub mse: Vec<f64>,
}

impl Base {
    /// Puts a network, inner rates and the number of steps that they are for together.
    ///
    /// # Errors
    /// [`MetaError::Rates`] for another number of rates; [`MetaError::Setting`] for one that is not above 0, and for
    /// steps that are not 1 to 100.
    pub fn new(network: Network, rates: Vec<f32>, inner_steps: u32) -> Result<Self, MetaError> {
        let expected = modulation_ranges(network.config()).len();
        if rates.len() != expected {
            return Err(MetaError::Rates { actual: rates.len(), expected });
        }
        if let Some(rate) = rates.iter().find(|rate| !(rate.is_finite() && **rate > 0.0)) {
            let range = "above 0";
            return Err(MetaError::Setting { name: "an inner rate", value: rate.to_string(), range });
        }
        if !(1..=100).contains(&inner_steps) {
            let value = inner_steps.to_string();
            return Err(MetaError::Setting { name: "inner steps", value, range: "1 to 100" });
        }
        Ok(Self { network, rates, inner_steps })
    }

    /// The network with the modulation that all signals begin with.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// A rate for each tensor of the modulation.
    #[must_use]
    pub fn rates(&self) -> &[f32] {
        &self.rates
    }

    /// K, the steps that the rates are for.
    #[must_use]
    pub fn inner_steps(&self) -> u32 {
        self.inner_steps
    }

    /// A signal's network.
    ///
    /// # Errors
    /// [`MetaError`] for another number of values, or one that is not finite.
    pub fn with(&self, modulation: &[f32]) -> Result<Network, MetaError> {
        let expected = n_modulations(self.network.config());
        if modulation.len() != expected {
            return Err(MetaError::Modulation { actual: modulation.len(), expected });
        }
        let mut params = self.network.params().to_vec();
        put(&mut params, &modulation_ranges(self.network.config()), modulation);
        Ok(Network::new(self.network.config().clone(), params)?)
    }

    /// Fits a signal's modulation by so many inner steps; the best of those seen is kept. The first K are as they were learned; of
    /// the others, one that makes the loss no less is taken back, and the next are shorter.
    ///
    /// # Errors
    /// [`MetaError::Shape`] for a signal of another shape, [`MetaError::Read`] for one that cannot be read.
    pub fn adapt(&self, signal: &dyn Source, steps: u32) -> Result<Adapted, MetaError> {
        let config = self.network.config();
        check_shape(0, signal, config)?;
        let ranges = modulation_ranges(config);
        let mut engine = GradientEngine::new(config, signal, IsaLevel::detect());
        let mut params = self.network.params().to_vec();
        let mut gradient = vec![0.0; params.len()];
        let mut least = f64::INFINITY;
        let (mut best, mut best_gradient) = (params.clone(), gradient.clone());
        let mut rates = self.rates.clone();
        let mut mse = Vec::new();
        for step in 0..=steps {
            let loss = engine.loss_and_gradient(&params, Batch::Full, &mut gradient).mse;
            mse.push(loss);
            if loss < least {
                least = loss;
                best.copy_from_slice(&params);
                best_gradient.copy_from_slice(&gradient);
            } else if step >= self.inner_steps {
                params.copy_from_slice(&best);
                gradient.copy_from_slice(&best_gradient);
                for rate in &mut rates {
                    *rate *= SHORTER;
                }
            }
            if step < steps {
                inner_step(&mut params, &gradient, &ranges, &rates);
            }
        }
        read_well(signal)?;
        Ok(Adapted { modulation: taken(&best, &ranges), mse })
    }
}

/// What an outer update saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetaEvent {
    /// Updates so far.
    pub step: u32,
    /// Mean squared error before the inner steps, mean over the update's signals.
    pub mse_before: f64,
    /// After them.
    pub mse: f64,
    /// Share of the updates that are done.
    pub progress: f64,
}

/// The base that learning begins with: initial weights, and the inner rates that suit them best.
///
/// # Errors
/// [`MetaError`] for settings, shapes and signals that are refused.
pub fn initial_base<S: Source + Sync>(
    signals: &[S],
    network: &NetworkConfig,
    config: &MetaConfig,
) -> Result<Base, MetaError> {
    config.validate()?;
    let initial = Network::init(network.clone(), config.seed, config.modulation_scale as f32)?;
    if signals.is_empty() {
        return Err(MetaError::NoSignals);
    }
    for (index, signal) in signals.iter().enumerate() {
        check_shape(index, signal, network)?;
    }
    let mut params = initial.into_params();
    params[network.layout().output_bias].copy_from_slice(&mean_values(signals, network.channels)?);
    let rates = initial_rates(signals, network, &params, config.inner_steps);
    Base::new(Network::new(network.clone(), params)?, rates, config.inner_steps)
}

/// Learns a base from signals of one shape, beginning with [`initial_base`]. The result depends on the arguments alone, not on the
/// number of threads. Ends early, with what there is, once `stop` is set.
///
/// # Errors
/// [`MetaError`] for settings, shapes and signals that are refused, and when it diverges.
pub fn meta_train<S: Source + Sync>(
    signals: &[S],
    initial: &Base,
    config: &MetaConfig,
    stop: &AtomicBool,
    on_step: &mut dyn FnMut(&MetaEvent),
) -> Result<Base, MetaError> {
    config.validate()?;
    let network = initial.network.config();
    if signals.is_empty() {
        return Err(MetaError::NoSignals);
    }
    for (index, signal) in signals.iter().enumerate() {
        check_shape(index, signal, network)?;
    }
    let (mut params, mut rates) = (initial.network.params().to_vec(), initial.rates.clone());
    let mut log_rates: Vec<f32> = rates.iter().map(|rate| rate.ln()).collect();
    let mut outer = Outer::new(network, log_rates.len());
    let mut order = Order::new(signals.len(), config.seed);
    let mut bad_steps = 0;
    for step in 0..config.steps {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let tasks: Vec<usize> = (0..config.batch).map(|_| order.next()).collect();
        let mut mean = Found::zero(params.len(), rates.len());
        // Some at a time, for each brings a gradient of all weights; summed in their order.
        for tasks in tasks.chunks(GRADIENTS) {
            let found: Vec<Found> = tasks
                .par_iter()
                .map(|&i| meta_gradient(&signals[i], network, &params, &rates, initial.inner_steps))
                .collect();
            for one in &found {
                mean.add(one, 1.0 / config.batch as f32);
            }
        }
        for &i in &tasks {
            read_well(&signals[i])?;
        }
        let progress = f64::from(step) / f64::from(config.steps);
        if mean.is_finite() {
            bad_steps = 0;
            // ∂L/∂ln α = α ∂L/∂α.
            for (g, rate) in mean.of_rates.iter_mut().zip(&rates) {
                *g *= rate;
            }
            let share = config.final_rate
                + (1.0 - config.final_rate) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
            outer.step(
                config.rate * share,
                config.rate_of_rates * share,
                &mean.gradient,
                &mut params,
                &mean.of_rates,
                &mut log_rates,
            );
            for (rate, log) in rates.iter_mut().zip(&log_rates) {
                *rate = log.exp();
            }
        } else {
            bad_steps += 1;
            if bad_steps == MAX_BAD_STEPS {
                return Err(MetaError::Diverged(step + 1));
            }
        }
        on_step(&MetaEvent {
            step: step + 1,
            mse_before: mean.mse_before,
            mse: mean.mse,
            progress: f64::from(step + 1) / f64::from(config.steps),
        });
    }
    Base::new(Network::new(network.clone(), params)?, rates, initial.inner_steps)
}

/// An error if a signal could not be read meanwhile.
fn read_well(signal: &dyn Source) -> Result<(), MetaError> {
    signal.failure().map_or(Ok(()), |reason| Err(MetaError::Read(reason)))
}

impl MetaConfig {
    fn validate(&self) -> Result<(), MetaError> {
        let check = |ok: bool, name, value: String, range| {
            if ok { Ok(()) } else { Err(MetaError::Setting { name, value, range }) }
        };
        check((1..=1_000_000_000).contains(&self.steps), "steps", self.steps.to_string(), "1 to 1000000000")?;
        check((1..=4096).contains(&self.batch), "the batch", self.batch.to_string(), "1 to 4096 signals")?;
        check(
            (1..=100).contains(&self.inner_steps),
            "inner steps",
            self.inner_steps.to_string(),
            "1 to 100",
        )?;
        let rates = [
            (self.rate > 0.0 && self.rate <= 1.0, "the learning rate", self.rate, "above 0 and at most 1"),
            ((0.0..=1.0).contains(&self.rate_of_rates), "the rate of rates", self.rate_of_rates, "0 to 1"),
            ((0.0..=1.0).contains(&self.final_rate), "the final rate", self.final_rate, "0 to 1"),
            (
                (0.0..=10.0).contains(&self.modulation_scale),
                "the modulation scale",
                self.modulation_scale,
                "0 to 10",
            ),
        ];
        rates.into_iter().try_for_each(|(ok, name, value, range)| check(ok, name, value.to_string(), range))
    }
}

/// The mean of each channel over all signals, on the network's scale.
fn mean_values<S: Source>(signals: &[S], channels: usize) -> Result<Vec<f32>, MetaError> {
    let mut sums = vec![0.0; channels];
    for signal in signals {
        let means = channel_means(signal).map_err(|error| MetaError::Read(error.to_string()))?;
        for (sum, mean) in sums.iter_mut().zip(means) {
            *sum += f64::from(mean);
        }
    }
    Ok(sums.iter().map(|sum| (sum / signals.len() as f64) as f32).collect())
}

fn check_shape(index: usize, signal: &dyn Source, network: &NetworkConfig) -> Result<(), MetaError> {
    let info = signal.info();
    if info.extents == network.partition.extents() && info.channels == network.channels {
        return Ok(());
    }
    Err(MetaError::Shape {
        index,
        signal: info.extents.clone(),
        signal_channels: info.channels,
        network: network.partition.extents().to_vec(),
        channels: network.channels,
    })
}

/// The values at some ranges, one after the other.
fn taken(params: &[f32], ranges: &[Range<usize>]) -> Vec<f32> {
    ranges.iter().flat_map(|range| params[range.clone()].iter().copied()).collect()
}

/// Puts values back where [`taken`] took them.
fn put(params: &mut [f32], ranges: &[Range<usize>], values: &[f32]) {
    let mut rest = values;
    for range in ranges {
        let (values, later) = rest.split_at(range.len());
        params[range.clone()].copy_from_slice(values);
        rest = later;
    }
}

/// φ ← φ - α ∘ ∂L/∂φ.
fn inner_step(params: &mut [f32], gradient: &[f32], ranges: &[Range<usize>], rates: &[f32]) {
    for (range, rate) in ranges.iter().zip(rates) {
        for (weight, g) in params[range.clone()].iter_mut().zip(&gradient[range.clone()]) {
            *weight -= rate * g;
        }
    }
}

/// One rate for each tensor of the modulation. A step of `a / c²` on a weight that enters a phase with the factor c moves that phase
/// as one of `a` on the phase itself would; of some powers of ten for `a`, the one that leaves the least loss after the inner steps. The
/// output is linear in its bias, so that the step to the best one is known.
fn initial_rates<S: Source + Sync>(
    signals: &[S],
    network: &NetworkConfig,
    params: &[f32],
    inner_steps: u32,
) -> Vec<f32> {
    let omega_0 = network.omega_0;
    let rates_of = |a: f32| -> Vec<f32> {
        let own = network.tensors().into_iter().filter_map(|tensor| {
            let rate = match tensor.role {
                Role::Modulator(_) if network.modulator == Modulator::Linear => a / omega_0.powi(4),
                Role::LayerBias(_) | Role::Modulator(_) => a / omega_0.powi(2),
                Role::OutputBias => 0.5 * network.channels as f32,
                Role::LayerWeight(_) | Role::OutputWeight => return None,
            };
            Some(rate)
        });
        own.collect()
    };
    // Evenly among the signals: neighbours may be tiles of one picture's sky.
    let chosen: Vec<&S> = signals.iter().step_by(signals.len().div_ceil(RATE_SIGNALS)).collect();
    let loss = |rates: &[f32]| -> f64 {
        let losses = chosen.par_iter().map(|signal| plain_loss(*signal, network, params, rates, inner_steps));
        // Added in their order, whatever the number of threads.
        losses.collect::<Vec<f64>>().into_iter().sum()
    };
    let tried = RATE_POWERS.map(|power| rates_of(10f32.powi(power)));
    let tried = tried.map(|rates| (loss(&rates), rates)).filter(|(loss, _)| loss.is_finite());
    tried.min_by(|a, b| a.0.total_cmp(&b.0)).map_or_else(|| rates_of(1.0), |(_, rates)| rates)
}

/// The loss after so many inner steps.
fn plain_loss(
    signal: &dyn Source,
    network: &NetworkConfig,
    params: &[f32],
    rates: &[f32],
    inner_steps: u32,
) -> f64 {
    let ranges = modulation_ranges(network);
    let mut engine = GradientEngine::new(network, signal, IsaLevel::detect());
    let (mut params, mut gradient) = (params.to_vec(), vec![0.0; params.len()]);
    for _ in 0..inner_steps {
        engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
        inner_step(&mut params, &gradient, &ranges, rates);
    }
    engine.loss_and_gradient(&params, Batch::Full, &mut gradient).mse
}

/// A signal's part of an outer gradient.
struct Found {
    mse_before: f64,
    mse: f64,
    /// With respect to θ and `φ_0`, in the network's order.
    gradient: Vec<f32>,
    /// With respect to α.
    of_rates: Vec<f32>,
}

impl Found {
    fn zero(n_params: usize, n_rates: usize) -> Self {
        Self { mse_before: 0.0, mse: 0.0, gradient: vec![0.0; n_params], of_rates: vec![0.0; n_rates] }
    }

    fn add(&mut self, other: &Self, share: f32) {
        self.mse_before += f64::from(share) * other.mse_before;
        self.mse += f64::from(share) * other.mse;
        let sums = self.gradient.iter_mut().chain(&mut self.of_rates);
        for (sum, value) in sums.zip(other.gradient.iter().chain(&other.of_rates)) {
            *sum += share * value;
        }
    }

    fn is_finite(&self) -> bool {
        self.mse.is_finite() && self.gradient.iter().chain(&self.of_rates).all(|value| value.is_finite())
    }
}

/// `L(θ, φ_K)` and its gradient with respect to θ, `φ_0` and α.
///
/// Going back from `λ = ∂L/∂φ_K`: a step `φ_{k+1} = φ_k - α ∘ g_k` gives `∂α -= λ ∘ g_k`, `∂θ -= (∂²L/∂θ∂φ) v` and
/// `λ -= (∂²L/∂φ²) v` with `v = α ∘ λ`, both at `φ_k`.
fn meta_gradient(
    signal: &dyn Source,
    network: &NetworkConfig,
    params: &[f32],
    rates: &[f32],
    inner_steps: u32,
) -> Found {
    let ranges = modulation_ranges(network);
    let mut engine = GradientEngine::new(network, signal, IsaLevel::detect());
    let mut here = params.to_vec();
    let mut gradient = vec![0.0; params.len()];
    // φ_k and g_k of each step.
    let mut path: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
    let mut mse_before = 0.0;
    for step in 0..inner_steps {
        let loss = engine.loss_and_gradient(&here, Batch::Full, &mut gradient);
        if step == 0 {
            mse_before = loss.mse;
        }
        path.push((taken(&here, &ranges), taken(&gradient, &ranges)));
        inner_step(&mut here, &gradient, &ranges, rates);
    }
    // ∂L/∂θ at φ_K, and λ in the modulation's places.
    let mse = engine.loss_and_gradient(&here, Batch::Full, &mut gradient).mse;
    let mut of_rates = vec![0.0; rates.len()];
    let (mut above, mut below) = (vec![0.0; params.len()], vec![0.0; params.len()]);
    for (phi, g) in path.into_iter().rev() {
        let lambda = taken(&gradient, &ranges);
        let rate_of_each =
            ranges.iter().zip(rates).flat_map(|(range, rate)| std::iter::repeat_n(*rate, range.len()));
        let v: Vec<f32> = rate_of_each.zip(&lambda).map(|(rate, l)| rate * l).collect();
        let mut moved = |by: f32, out: &mut [f32]| {
            let values: Vec<f32> = phi.iter().zip(&v).map(|(p, v)| p + by * v).collect();
            put(&mut here, &ranges, &values);
            engine.loss_and_gradient(&here, Batch::Full, out);
        };
        moved(DIFFERENCE, &mut above);
        moved(-DIFFERENCE, &mut below);
        for ((total, a), b) in gradient.iter_mut().zip(&above).zip(&below) {
            *total -= (a - b) / (2.0 * DIFFERENCE);
        }
        let mut products = lambda.iter().zip(&g).map(|(l, g)| l * g);
        for (of_rate, range) in of_rates.iter_mut().zip(&ranges) {
            *of_rate -= products.by_ref().take(range.len()).sum::<f32>();
        }
    }
    Found { mse_before, mse, gradient, of_rates }
}

/// Adam on the shared weights and on the logarithms of inner rates.
struct Outer {
    isa: IsaLevel,
    tensors: Vec<(Range<usize>, f64)>,
    moments: [Vec<f32>; 2],
    of_rates: [Vec<f32>; 2],
    steps: i32,
}

impl Outer {
    fn new(network: &NetworkConfig, n_rates: usize) -> Self {
        let tensors = network.tensors().into_iter().map(|tensor| {
            let is_modulator = matches!(tensor.role, Role::Modulator(_));
            (tensor.range(), if is_modulator { MODULATOR_RATE } else { 1.0 })
        });
        Self {
            isa: IsaLevel::detect(),
            tensors: tensors.collect(),
            moments: [vec![0.0; network.n_params()], vec![0.0; network.n_params()]],
            of_rates: [vec![0.0; n_rates], vec![0.0; n_rates]],
            steps: 0,
        }
    }

    fn step(
        &mut self,
        rate: f64,
        rate_of_rates: f64,
        gradient: &[f32],
        params: &mut [f32],
        of_rates: &[f32],
        log_rates: &mut [f32],
    ) {
        self.steps += 1;
        let (beta1, beta2) = BETAS;
        let step = |rate: f64| AdamStep {
            rate: rate as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            epsilon: EPSILON,
            correction1: (1.0 / (1.0 - beta1.powi(self.steps))) as f32,
            correction2: (1.0 / (1.0 - beta2.powi(self.steps))) as f32,
            gradient_scale: 1.0,
        };
        let [first, second] = &mut self.moments;
        for (range, factor) in &self.tensors {
            let part = range.clone();
            adam(
                self.isa,
                step(rate * factor),
                &gradient[part.clone()],
                &mut first[part.clone()],
                &mut second[part.clone()],
                &mut params[part],
            );
        }
        let [first, second] = &mut self.of_rates;
        adam(self.isa, step(rate_of_rates), of_rates, first, second, log_rates);
    }
}

/// Deals out signals: each epoch has every one once.
struct Order {
    all: Vec<usize>,
    next: usize,
    rng: ChaCha8Rng,
}

impl Order {
    fn new(n: usize, seed: u64) -> Self {
        // Apart from the stream of the initial weights.
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6d65_7461);
        Self { all: (0..n).collect(), next: n, rng }
    }

    fn next(&mut self) -> usize {
        if self.next == self.all.len() {
            for i in (1..self.all.len()).rev() {
                self.all.swap(i, (self.rng.next_u64() % (i as u64 + 1)) as usize);
            }
            self.next = 0;
        }
        self.next += 1;
        self.all[self.next - 1]
    }
}

#[cfg(test)]
mod tests;
