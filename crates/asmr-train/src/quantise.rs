//! Choosing quantisation steps by what they cost, and rounding to them.
//!
//! A weight's error δ raises the mean squared error by `h · δ²`, where `h` is the mean of `(∂y/∂w)²` over all values
//! (Gauss-Newton), and rounding to a step of size Δ leaves errors of mean square `Δ² / 12`. A given number of bits does most
//! where all weights raise the error by the same D (reverse water-filling; Cover and Thomas, "Elements of information
//! theory", 10.3.3): `Δ = √(12 D / h)`. First-layer weights and modulators get the finest steps that way: `omega_0` acts on them
//! once and twice. Matrices between sine layers and the output layer are rounded with feedback ([`crate::rounding`]), which lowers
//! their `h`, by row and column differently; where that pays, their steps differ by row and column too.

use asmr::coding::{MAX_MAGNITUDE, QuantisedWeights, Step, TensorSteps};
use asmr::inference::{Decoder, Request};
use asmr::network::{Network, NetworkConfig, Role, Tensor};
use asmr::signal::{SignalInfo, Source};
use asmr::walk::Region;
use asmr_kernels::IsaLevel;
use rayon::prelude::*;

use crate::fit::FitError;
use crate::gradient::{Batch, GradientEngine};
use crate::measure::decoded_mse;
use crate::rounding::{Factor, round_with_feedback};
use crate::sampler::Sampler;
use crate::soap::{Scratch, add_products};

/// Passes over the signal (or a batch of it) that curvatures are averaged over.
const N_PROBES: u32 = 16;
/// The least mean squared error that a loss is a part of: exact fits are quantised as if they were off by this.
const LEAST_MSE: f64 = 1e-12;
/// The largest matrix that is rounded with feedback: its factors take 24 bytes for each square of a side.
const MAX_FEEDBACK: usize = 2048;
/// Bits that the grade of a row or column takes, about.
const GRADE_BITS: f64 = 3.0;
/// The largest grade of a row or column: 12 octaves.
const MAX_GRADE: f64 = 48.0;
/// The most values over which a loss is measured. What rounding changes of a shape is some voxels of its surface, so a small part of a
/// signal would tell little.
const MEASURED_VALUES: u64 = 1 << 25;
/// Tries to come near the loss that is asked for.
const N_TRIES: u32 = 6;
/// A loss this near to the one asked for is near enough.
const NEAR: f64 = 0.97;
/// A code shorter than what is asked for by so many bits a weight is near enough.
const NEAR_BITS: f64 = 0.02;
/// The part of [`MAX_MAGNITUDE`] that a tensor's largest weight may take; the rest is for feedback to move it.
const MAGNITUDE_SHARE: f64 = 0.99;
/// Samples over which coarse weights are compared.
const COMPARED_SAMPLES: f64 = 131_072.0;
/// What rounding to a size begins with.
const FIRST_LOSS_DB: f64 = 0.2;

/// What is rounded, and what the loss is measured on.
struct Job<'a> {
    network: &'a Network,
    signal: &'a dyn Source,
    curvatures: Vec<Curvature>,
}

impl<'a> Job<'a> {
    fn new(network: &'a Network, signal: &'a dyn Source, batch: f64, seed: u64) -> Self {
        let (config, params) = (network.config(), network.params());
        let mut engine = GradientEngine::new(config, signal, IsaLevel::detect());
        let curvatures = curvatures(&mut engine, params, &mut Sampler::new(config, batch, seed));
        Self { network, signal, curvatures }
    }

    /// Mean squared error of decoded values: what is lost is lost of those. A fit of black and white is far outside of both in many
    /// places, and a voxel is inside or outside of a shape. Not a number where weights are none.
    fn mse(&self, params: &[f32]) -> Result<f64, FitError> {
        let Ok(network) = Network::new(self.network.config().clone(), params.to_vec()) else {
            return Ok(f64::NAN);
        };
        decoded_mse(&network, self.signal, MEASURED_VALUES)
    }

    fn round(&self, distortion: f64) -> Rounded {
        round(&self.curvatures, self.network.params(), distortion)
    }

    /// By how much the mean squared error may rise for a loss in dB.
    fn allowed(&self, loss_db: f64) -> Result<(f64, f64), FitError> {
        let before = self.mse(self.network.params())?;
        Ok((before, before.max(LEAST_MSE) * (10f64.powf(loss_db / 10.0) - 1.0)))
    }

    fn done(&self, (weights, steps): Rounded, mse: (f64, f64)) -> Result<Quantised, FitError> {
        let network = Network::new(self.network.config().clone(), weights)?;
        let loss_db = 10.0 * (mse.1.max(LEAST_MSE) / mse.0.max(LEAST_MSE)).log10();
        Ok(Quantised { network, steps, loss_db })
    }
}

/// A network with rounded weights.
#[derive(Clone, Debug)]
pub struct Quantised {
    /// The network.
    pub network: Network,
    /// The steps of each tensor, in the order of [`asmr::network::NetworkConfig::tensors`]; all weights are multiples of them.
    pub steps: Vec<TensorSteps>,
    /// What rounding cost, in dB of PSNR of decoded values over what was looked at.
    pub loss_db: f64,
}

/// Rounds a network's weights so that the decoded signal loses at most `loss_db` of PSNR, and about that; of signals of more than 2^25
/// values what is decoded are slabs of so many. How much weights matter is found out over `batch` of the signal's cells, above 0 and at
/// most 1. Steps are so large that whole numbers of
/// them reach the largest weight of a tensor ([`MAX_MAGNITUDE`]); where a fit is so near that even those lose more, the least
/// loss found is what it is.
///
/// # Errors
/// [`FitError::Read`] when the signal cannot be read.
///
/// # Panics
/// When the signal has other extents or channels than the network.
pub fn quantise(
    network: &Network,
    signal: &dyn Source,
    batch: f64,
    seed: u64,
    loss_db: f64,
) -> Result<Quantised, FitError> {
    let job = Job::new(network, signal, batch, seed);
    let (before, allowed) = job.allowed(loss_db)?;
    let mut distortion = allowed / network.params().len() as f64;
    // The curvature is a model: the loss is measured. The largest distortion known to lose little enough, with its result, and
    // the least known to lose too much, with the least that was lost.
    let mut kept: Option<(f64, Rounded, f64)> = None;
    let mut too_much = f64::INFINITY;
    let mut least: Option<(Rounded, f64)> = None;
    for tries in 1.. {
        let rounded = job.round(distortion);
        let mse = job.mse(&rounded.0)?;
        let share = (mse - before) / allowed;
        if share <= 1.0 {
            kept = Some((distortion, rounded, mse));
        } else {
            too_much = distortion;
            // Nothing is finer than the finest steps.
            let is_finest = least.as_ref().is_some_and(|(last, _)| last.1 == rounded.1);
            if least.as_ref().is_none_or(|(_, least)| least.is_nan() || mse < *least) {
                least = Some((rounded, mse));
            }
            if is_finest && kept.is_none() {
                break;
            }
        }
        if (NEAR..=1.0).contains(&share) || (tries >= N_TRIES && kept.is_some()) || tries == 4 * N_TRIES {
            break;
        }
        distortion = match &kept {
            Some((enough, ..)) if too_much.is_finite() => (enough * too_much).sqrt(),
            Some(_) => distortion / share.max(0.1),
            // A loss that is not a number is too much as well.
            None if share.is_nan() => distortion / 4.0,
            None => distortion / share.clamp(1.2, 4.0),
        };
    }
    let kept = kept.map(|(_, rounded, mse)| (rounded, mse)).or(least);
    let (rounded, mse) = kept.unwrap_or_else(|| (job.round(0.0), before));
    job.done(rounded, (before, mse))
}

/// Rounds a network's weights so that their code ([`QuantisedWeights::encode`], or with `refinements` that of all [`passes`]) has at most `n_bytes` bytes, and about that; the loss is what it is. `None` if nothing is
/// so short. Otherwise as [`quantise`].
///
/// # Errors
/// As [`quantise`].
///
/// # Panics
/// As [`quantise`].
pub fn quantise_to_size(
    network: &Network,
    signal: &dyn Source,
    batch: f64,
    seed: u64,
    n_bytes: u64,
    refinements: &[u8],
) -> Result<Option<Quantised>, FitError> {
    let config = network.config();
    let job = Job::new(network, signal, batch, seed);
    let n_params = network.params().len() as f64;
    // In bits of distortion (its logarithm, base 2); a bit less for each weight makes it two bits more.
    let (before, allowed) = job.allowed(FIRST_LOSS_DB)?;
    let mut bits = (allowed / n_params).log2();
    let mut kept: Option<(f64, Rounded)> = None;
    let mut too_long = f64::NEG_INFINITY;
    for tries in 1.. {
        let rounded = job.round(bits.exp2());
        let weights = QuantisedWeights::nearest(config, rounded.1.clone(), &rounded.0);
        let length: usize = if refinements.is_empty() {
            weights.encode(config).len()
        } else {
            let network = Network::new(config.clone(), rounded.0.clone())?;
            let passes = passes(&network, &weights, signal.info(), refinements, batch, seed);
            let codes = passes.map(|passes| QuantisedWeights::encode_passes(config, &passes));
            codes.unwrap_or_else(|| vec![weights.encode(config)]).iter().map(Vec::len).sum()
        };
        let excess = (length as f64 - n_bytes as f64) * 8.0 / n_params;
        if excess <= 0.0 {
            kept = Some((bits, rounded));
        } else {
            too_long = bits;
        }
        if (-NEAR_BITS..=0.0).contains(&excess)
            || (tries >= 2 * N_TRIES && kept.is_some())
            || tries == 4 * N_TRIES
        {
            break;
        }
        // A little shorter than what is asked for: then the next is near enough.
        let next = bits + 2.0 * (excess + NEAR_BITS / 2.0).clamp(-8.0, 8.0);
        bits = match &kept {
            Some((short, _)) if too_long.is_finite() && !(too_long..*short).contains(&next) => {
                f64::midpoint(too_long, *short)
            }
            _ => next,
        };
    }
    let Some((_, rounded)) = kept else { return Ok(None) };
    let mse = job.mse(&rounded.0)?;
    job.done(rounded, (before, mse)).map(Some)
}

/// Passes of a network's weights for [`QuantisedWeights::encode_passes`]: each of `refinements` makes steps finer by that many
/// octaves, and before it weights are rounded so that errors make up for each other, as [`quantise`] rounds them, or one by one:
/// whichever is nearer to what the network gives in the middle of its signal. That needs only the network: outputs are probed over
/// `batch` of the cells of a signal with this shape.
///
/// `None` as [`QuantisedWeights::nearest_passes`].
///
/// # Panics
/// When the network has another shape.
#[must_use]
pub fn passes(
    network: &Network,
    weights: &QuantisedWeights,
    info: &SignalInfo,
    refinements: &[u8],
    batch: f64,
    seed: u64,
) -> Option<Vec<QuantisedWeights>> {
    let (config, params) = (network.config(), network.params());
    let mut passes = weights.nearest_passes(config, refinements)?;
    let blank = Blank(info);
    let mut engine = GradientEngine::new(config, &blank, IsaLevel::detect());
    let curvatures = curvatures(&mut engine, params, &mut Sampler::new(config, batch, seed));
    let region = middle(config.partition.extents());
    let given = values(config, params, region);
    let distance = |params: &[f32]| -> f64 {
        let values = values(config, params, region);
        values.iter().zip(&given).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    let n_coarse = refinements.len();
    for pass in &mut passes[..n_coarse] {
        let rounded: Vec<f32> = curvatures
            .par_iter()
            .zip(&pass.steps)
            .flat_map(|(curvature, steps)| curvature.rounded(&params[curvature.tensor.range()], steps))
            .collect();
        let fed_back = QuantisedWeights::nearest(config, pass.steps.clone(), &rounded);
        // Far from the weights, errors do not add up as they do near them.
        if distance(&fed_back.weights(config)) < distance(&pass.weights(config)) {
            *pass = fed_back;
        }
    }
    Some(passes)
}

/// The middle of a grid, of at most about [`COMPARED_SAMPLES`].
fn middle(extents: &[usize]) -> Region {
    let n_samples: f64 = extents.iter().map(|&extent| extent as f64).product();
    let share = (COMPARED_SAMPLES / n_samples).min(1.0).powf(1.0 / extents.len() as f64);
    let mut region = Region::whole(extents);
    for (axis, &extent) in extents.iter().enumerate() {
        let length = ((extent as f64 * share) as u64).max(1);
        region.start[axis] = (extent as u64 - length) / 2;
        region.end[axis] = region.start[axis] + length;
    }
    region
}

/// What a network with some weights gives in a box of its samples.
fn values(config: &NetworkConfig, params: &[f32], region: Region) -> Vec<f32> {
    let n_samples: u64 =
        (0..config.partition.n_axes()).map(|axis| region.end[axis] - region.start[axis]).product();
    let mut values = vec![0.0; n_samples as usize * config.channels];
    let network = Network::new(config.clone(), params.to_vec()).expect("multiples of steps are weights");
    let decoded = Decoder::new(&network).decode(&Request { region, thumbnail: 1 }, &mut values);
    decoded.expect("a box of its samples");
    values
}

/// A signal of zeros: probes ask for none of its values.
struct Blank<'a>(&'a SignalInfo);

impl Source for Blank<'_> {
    fn info(&self) -> &SignalInfo {
        self.0
    }

    fn read_scaled(&self, _start: u64, out: &mut [f32]) {
        out.fill(0.0);
    }
}

/// Weights and the steps that they are multiples of.
type Rounded = (Vec<f32>, Vec<TensorSteps>);

/// How much the outputs move with the weights of a tensor.
#[derive(Clone, Debug)]
pub struct Curvature {
    tensor: Tensor,
    /// Mean over the tensor's weights of the mean over all values of `(∂y/∂w)²`.
    pub mean: f64,
    /// Of matrices that are rounded with feedback: factors of rows and columns, whose product is the curvature.
    factors: Option<(Factor, Factor)>,
}

/// What is summed over probes.
struct Products {
    left: Vec<f32>,
    right: Vec<f32>,
}

/// Curvatures of all tensors in the order of [`asmr::network::NetworkConfig::tensors`], estimated on batches.
#[must_use]
pub fn curvatures(engine: &mut GradientEngine<'_>, params: &[f32], sampler: &mut Sampler) -> Vec<Curvature> {
    let (config, isa) = (engine.config().clone(), IsaLevel::detect());
    let n_values = config.partition.n_samples() as f64 * config.channels as f64;
    let tensors = config.tensors();
    let mut squares = vec![0.0; tensors.len()];
    let mut products: Vec<Option<Products>> = tensors.iter().map(Products::of).collect();
    let mut gradient = vec![0.0; params.len()];
    for probe in 0..N_PROBES {
        let batch = sampler.next_batch();
        let n_values = match batch {
            Batch::Full => n_values,
            Batch::Part(part) => n_values / f64::from(part.n_batches),
        };
        engine.probe(params, batch, u64::from(probe) << 40, &mut gradient);
        // A probe's squares have the mean (2 / n)² · Σ (∂y/∂w)².
        let factor = (n_values / 4.0 / f64::from(N_PROBES)).sqrt() as f32;
        for g in &mut gradient {
            *g *= factor;
        }
        let work: Vec<_> = tensors.iter().zip(squares.iter_mut().zip(&mut products)).collect();
        work.into_par_iter().for_each(|(tensor, (squares, products))| {
            let gradient = &gradient[tensor.range()];
            *squares += gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
            if let (Some(Products { left, right }), &[m, n]) = (products, &tensor.shape[..]) {
                add_products(isa, (m, n), gradient, left, right, &mut Scratch::default());
            }
        });
    }
    let work: Vec<_> = tensors.into_iter().zip(squares.into_iter().zip(products)).collect();
    work.into_par_iter()
        .map(|(tensor, (squares, products))| {
            let mean = squares / tensor.len() as f64;
            let factors = products.map(|products| products.factors(&tensor.shape, squares));
            Curvature { tensor, mean, factors }
        })
        .collect()
}

impl Products {
    /// For tensors that are rounded with feedback: a few weights for an input or a level are not worth it.
    fn of(tensor: &Tensor) -> Option<Self> {
        let &[m, n] = &tensor.shape[..] else { return None };
        (matches!(tensor.role, Role::LayerWeight(1..) | Role::OutputWeight) && m.max(n) <= MAX_FEEDBACK)
            .then(|| Self { left: vec![0.0; m * m], right: vec![0.0; n * n] })
    }

    /// Their traces are both the sum of all squares; the curvature is their product over it.
    fn factors(mut self, shape: &[usize], squares: f64) -> (Factor, Factor) {
        // Products that are all 0 stay so: no factor is infinite.
        let scale = squares.sqrt().recip().min(f64::from(f32::MAX)) as f32;
        for x in self.left.iter_mut().chain(&mut self.right) {
            *x *= scale;
        }
        (Factor::new(shape[0], &self.left), Factor::new(shape[1], &self.right))
    }
}

/// All weights, rounded so that each raises the mean squared error by about `distortion`, and their steps.
fn round(curvatures: &[Curvature], params: &[f32], distortion: f64) -> Rounded {
    let rounded: Vec<(Vec<f32>, TensorSteps)> = curvatures
        .par_iter()
        .map(|curvature| {
            let weights = &params[curvature.tensor.range()];
            let largest = weights.iter().fold(0.0f32, |most, w| most.max(w.abs()));
            let steps = curvature.steps(distortion, f64::from(largest));
            (curvature.rounded(weights, &steps), steps)
        })
        .collect();
    let (weights, steps): (Vec<_>, _) = rounded.into_iter().unzip();
    (weights.concat(), steps)
}

impl Curvature {
    /// The tensor's weights as multiples of steps: with feedback where there are factors, to the nearest otherwise.
    fn rounded(&self, weights: &[f32], steps: &TensorSteps) -> Vec<f32> {
        if let Some((left, right)) = &self.factors {
            return round_with_feedback(weights, left, right, steps);
        }
        let step = steps.finest;
        weights.iter().map(|&w| step.weight(step.quantise(f64::from(w)))).collect()
    }

    /// Steps such that each weight raises the mean squared error by about `distortion`, if they can be that small and reach the
    /// `largest` weight.
    fn steps(&self, distortion: f64, largest: f64) -> TensorSteps {
        let least = Step::at_least(largest / (MAGNITUDE_SHARE * f64::from(MAX_MAGNITUDE)));
        // A tensor that moves nothing (of a constant signal) may have the largest step there is.
        let step = |h: f64| Step::at_most((12.0 * distortion / h.max(f64::MIN_POSITIVE)).sqrt()).max(least);
        let Some((left, right)) = &self.factors else { return TensorSteps::uniform(step(self.mean)) };
        let (d, e) = (left.diagonal(), right.diagonal());
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        // Bits by which each row's and column's own steps are better than one for all.
        let saved = |values: &[f64]| {
            0.5 * (mean(values).log2() - values.iter().map(|x| x.log2()).sum::<f64>() / values.len() as f64)
        };
        let cost = GRADE_BITS * (d.len() + e.len()) as f64;
        if (saved(d) + saved(e)) * (self.tensor.len() as f64) < cost {
            return TensorSteps::uniform(step(mean(d) * mean(e)));
        }
        let (d_most, rows) = grades(d);
        let (e_most, columns) = grades(e);
        let mut steps = TensorSteps { finest: step(d_most * e_most), rows, columns };
        // At the end of the range of steps there is no room for coarser ones.
        while !steps.fit(&self.tensor.shape) {
            for grade in steps.rows.iter_mut().chain(&mut steps.columns) {
                *grade = grade.saturating_sub(1);
            }
        }
        steps
    }
}

/// The largest value, and by how many quarters of an octave the step of each is larger than the largest's.
fn grades(values: &[f64]) -> (f64, Vec<u8>) {
    let most = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let grade = |x: &f64| (2.0 * (most / x).log2()).round().clamp(0.0, MAX_GRADE) as u8;
    (most, values.iter().map(grade).collect())
}
