//! What every baseline is: a function of a place on the grid with weights, and how it is evaluated and differentiated.
//!
//! A [`Field`] evaluates one tile of samples at a time, forward and back. [`Engine`] makes losses and gradients of whole
//! batches of that, [`decode`] whole signals; both on all threads of the current pool, with the same bits on any number
//! of them. A comparison holds fields of several kinds as `Box<dyn Baseline>` ([`crate::baseline`]).

use std::ops::{ControlFlow, Range};

use asmr::signal::{SignalInfo, Source};
use asmr_kernels::IsaLevel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fit::{FitOptions, Recipe, StepEvent};

/// Samples evaluated together, unless a field says otherwise.
pub const TILE: usize = 256;
/// Shares of a batch with a gradient of their own, summed in order: the same bits on any number of threads.
const LANES: usize = 8;
/// The most weights of a field: what a file may ask for.
pub const MAX_PARAMS: usize = 1 << 28;
/// The most axes of a signal.
pub const MAX_AXES: usize = 4;

/// Why a field cannot be made, or cannot do what it was asked.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FieldError {
    /// A setting outside its range.
    #[error("{name} is {actual}; {accepted} is accepted")]
    Setting {
        /// Which.
        name: &'static str,
        /// What it is.
        actual: String,
        /// What it may be.
        accepted: &'static str,
    },
    /// A signal of another shape.
    #[error("the field is of shape {field:?} and the signal of {signal:?}; make a field for this signal")]
    Signal {
        /// The field's.
        field: Shape,
        /// The signal's.
        signal: Shape,
    },
    /// Another number of weights.
    #[error("{actual} weights are given; the field has {expected}")]
    Params {
        /// Weights given.
        actual: usize,
        /// The field's.
        expected: usize,
    },
    /// A sample outside the signal.
    #[error("sample {sample} lies outside the signal, which has {n_samples}")]
    Sample {
        /// Its row-major number.
        sample: u64,
        /// Samples of the signal.
        n_samples: usize,
    },
    /// No sample at all.
    #[error("the batch is empty; at least 1 sample is needed")]
    EmptyBatch,
    /// The loss or a weight is no number any more.
    #[error("the fit diverged at step {step}; a lower rate may help")]
    Diverged {
        /// At which.
        step: u32,
    },
    /// The signal could not be read.
    #[error("the signal cannot be read: {0}")]
    Source(String),
}

/// Shorthand for a setting outside its range.
pub(crate) fn refuse(name: &'static str, actual: impl std::fmt::Debug, accepted: &'static str) -> FieldError {
    FieldError::Setting { name, actual: format!("{actual:?}"), accepted }
}

/// Refuses `value` unless it lies in `range`.
pub(crate) fn within(
    name: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
    accepted: &'static str,
) -> Result<(), FieldError> {
    if range.contains(&value) { Ok(()) } else { Err(refuse(name, value, accepted)) }
}

/// The grid a field lives on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Samples along each axis, slowest first; 1 to 4 axes.
    pub extents: Vec<usize>,
    /// Values per sample.
    pub channels: usize,
}

impl Shape {
    /// The shape of a signal.
    #[must_use]
    pub fn of(info: &SignalInfo) -> Self {
        Self { extents: info.extents.clone(), channels: info.channels }
    }

    /// Axes.
    #[must_use]
    pub fn n_axes(&self) -> usize {
        self.extents.len()
    }

    /// Samples in total.
    #[must_use]
    pub fn n_samples(&self) -> usize {
        self.extents.iter().product()
    }

    /// Refuses shapes whose samples cannot be numbered in 32 bits, and more than `max_axes` axes.
    ///
    /// # Errors
    /// [`FieldError::Setting`].
    pub fn validate(&self, max_axes: usize) -> Result<(), FieldError> {
        const AXES: [&str; 5] = ["", "1 axis", "1 or 2 axes", "1 to 3 axes", "1 to 4 axes"];
        if self.extents.is_empty() || self.n_axes() > max_axes.min(MAX_AXES) {
            return Err(refuse("the number of axes", self.n_axes(), AXES[max_axes.min(MAX_AXES)]));
        }
        let n_samples = self.extents.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
        if n_samples.is_none_or(|n| n == 0 || n > u32::MAX as usize) {
            return Err(refuse("the grid's extents", &self.extents, "1 to 4294967295 samples"));
        }
        within("the number of channels", self.channels, 1..=64, "1 to 64")
    }

    /// Index along each axis of the sample of this row-major number; 0 past the last axis.
    #[must_use]
    pub fn indices(&self, sample: u32) -> [usize; MAX_AXES] {
        let mut indices = [0; MAX_AXES];
        let mut rest = sample;
        for (index, &extent) in indices.iter_mut().zip(&self.extents).rev() {
            // 32-bit divisions take a fraction of the time of 64-bit ones.
            let extent = extent as u32;
            *index = (rest % extent) as usize;
            rest /= extent;
        }
        indices
    }
}

/// What evaluating a field costs: per sample, for a decode of the whole grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FieldCost {
    /// Stored numbers.
    pub n_params: usize,
    /// MAC/sample as the ASMR paper counts: every layer at every sample, a bias is one multiply-add. What a table
    /// is read for counts nothing.
    pub mac_paper: f64,
    /// MAC/sample that the code performs: a bias is the start of a sum; interpolation counts.
    pub mac_exec: f64,
    /// Sines and cosines per sample that the code evaluates for the values, each counted.
    pub sin_exec: f64,
    /// Exponentials per sample that the code evaluates.
    pub exp_exec: f64,
    /// Rows of tables read per sample (a row holds an entry's features or channels): one memory access each.
    pub table_reads: f64,
}

impl FieldCost {
    /// Bytes of all stored numbers, 4 each.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        4 * self.n_params
    }
}

/// The loss of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Mean square error over samples and channels.
    pub mse: f64,
    /// What the field's regulariser adds.
    pub penalty: f64,
}

impl Loss {
    /// Both: what the gradient is of.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.mse + self.penalty
    }
}

/// A method's network or table for one grid.
///
/// Samples are named by their row-major numbers. Weights are one flat slice; what each method keeps where stands in its
/// module. The first [`Field::n_dense`] are differentiated lane by lane; tables, of which a batch touches a part, come
/// after and get their gradient from [`Field::scatter`].
pub trait Field: Send + Sync {
    /// Weights made ready for evaluation.
    type Model: Send + Sync;
    /// Buffers of one tile.
    type Scratch: Default + Send;

    /// The method's name, in lower case.
    fn name(&self) -> &'static str;

    /// The grid.
    fn shape(&self) -> &Shape;

    /// Stored numbers.
    fn n_params(&self) -> usize;

    /// Initial weights: the same seed, the same weights, on every machine (Fourier features, which are normal: but for rounding).
    fn init(&self, seed: u64) -> Vec<f32>;

    /// Weights that a fit begins with: [`Field::init`], or what is made of the signal before; `on_step` is told of that, and
    /// may end it early.
    ///
    /// # Errors
    /// [`FieldError`], as a fit.
    fn start(
        &self,
        _source: &dyn Source,
        options: &FitOptions,
        _on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
    ) -> Result<Vec<f32>, FieldError> {
        Ok(self.init(options.seed))
    }

    /// What evaluation costs.
    fn cost(&self) -> FieldCost;

    /// How the method's authors fit it.
    fn recipe(&self) -> Recipe;

    /// An empty model, to be loaded.
    fn model(&self, isa: IsaLevel) -> Self::Model;

    /// Takes weights, [`Field::n_params`] of them.
    fn load(&self, model: &mut Self::Model, params: &[f32]);

    /// Puts samples into the order in which they are evaluated and cuts them into tiles: `ends` gets where each ends.
    fn arrange(&self, samples: &mut [u32], ends: &mut Vec<usize>) {
        tiles_of(TILE, samples.len(), ends);
    }

    /// Neighbouring samples that one task of a decode takes.
    fn decode_chunk(&self) -> usize {
        16 * TILE
    }

    /// Values at a tile of samples: `outputs` is rows × channels. What the way back needs stays in `scratch`.
    fn forward(
        &self,
        model: &Self::Model,
        params: &[f32],
        samples: &[u32],
        scratch: &mut Self::Scratch,
        outputs: &mut [f32],
    );

    /// The same values for a decode, which has no way back.
    fn values(
        &self,
        model: &Self::Model,
        params: &[f32],
        samples: &[u32],
        scratch: &mut Self::Scratch,
        outputs: &mut [f32],
    ) {
        self.forward(model, params, samples, scratch, outputs);
    }

    /// From ∂loss/∂outputs (rows × channels, overwritten at will) of the tile that went forward last: adds to the
    /// gradient of the first [`Field::n_dense`] weights, and leaves rows × [`Field::n_deferred`] numbers, in any order,
    /// for [`Field::scatter`].
    fn backward(
        &self,
        model: &Self::Model,
        samples: &[u32],
        scratch: &mut Self::Scratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        deferred: &mut [f32],
    );

    /// Weights whose gradient [`Field::backward`] adds to.
    fn n_dense(&self) -> usize {
        self.n_params()
    }

    /// Of the weights whose gradient [`Field::backward`] adds to, those that it can reach from these samples, some of a
    /// batch in the order of [`Field::arrange`]. Only they are set to 0 before and summed after.
    fn reached(&self, _samples: &[u32]) -> Range<usize> {
        0..self.n_dense()
    }

    /// Numbers per sample that [`Field::backward`] leaves for [`Field::scatter`].
    fn n_deferred(&self) -> usize {
        0
    }

    /// Adds to the gradient of the weights after [`Field::n_dense`] (`gradient` begins there) what all tiles of a batch
    /// left. `ends` is as [`Field::arrange`] made it.
    fn scatter(&self, _samples: &[u32], _ends: &[usize], _deferred: &[f32], _gradient: &mut [f32]) {}

    /// Adds the regulariser's gradient; gives its value.
    fn regularise(&self, _params: &[f32], _gradient: &mut [f32]) -> f64 {
        0.0
    }
}

/// Ends of tiles of `tile` samples, the last one shorter; of a small batch two all the same, so that two threads have work.
pub(crate) fn tiles_of(tile: usize, n_samples: usize, ends: &mut Vec<usize>) {
    let tile = tile.min(n_samples.div_ceil(2)).max(1);
    ends.clear();
    ends.extend((1..=n_samples.div_ceil(tile)).map(|i| n_samples.min(i * tile)));
}

/// One share of a batch.
struct Lane<F: Field> {
    scratch: F::Scratch,
    /// Of all dense weights; nothing but `reached` is of this batch.
    gradient: Vec<f32>,
    reached: Range<usize>,
    outputs: Vec<f32>,
    targets: Vec<f32>,
    squared_error: f64,
}

/// Computes losses and gradients on samples of one signal.
pub struct Engine<'a, F: Field> {
    field: &'a F,
    source: &'a dyn Source,
    model: F::Model,
    lanes: Vec<Lane<F>>,
    samples: Vec<u32>,
    ends: Vec<usize>,
    deferred: Vec<f32>,
}

impl<'a, F: Field> Engine<'a, F> {
    /// Prepares for a field and a signal.
    ///
    /// # Errors
    /// [`FieldError::Signal`] when their shapes differ.
    pub fn new(field: &'a F, source: &'a dyn Source, isa: IsaLevel) -> Result<Self, FieldError> {
        let signal = Shape::of(source.info());
        if signal != *field.shape() {
            return Err(FieldError::Signal { field: field.shape().clone(), signal });
        }
        let lane = || Lane {
            scratch: F::Scratch::default(),
            gradient: Vec::new(),
            reached: 0..0,
            outputs: Vec::new(),
            targets: Vec::new(),
            squared_error: 0.0,
        };
        Ok(Self {
            field,
            source,
            model: field.model(isa),
            lanes: (0..LANES).map(|_| lane()).collect(),
            samples: Vec::new(),
            ends: Vec::new(),
            deferred: Vec::new(),
        })
    }

    /// The loss over these samples, in which each counts as often as it is named; its gradient replaces `gradient`.
    ///
    /// # Errors
    /// [`FieldError::Params`], [`FieldError::Sample`], [`FieldError::EmptyBatch`], and [`FieldError::Source`] when the
    /// signal cannot be read.
    pub fn loss_and_gradient(
        &mut self,
        params: &[f32],
        samples: &[u32],
        gradient: &mut [f32],
    ) -> Result<Loss, FieldError> {
        let field = self.field;
        for n in [params.len(), gradient.len()] {
            check_params(field, n)?;
        }
        let n_samples = field.shape().n_samples();
        if let Some(&sample) = samples.iter().find(|&&sample| sample as usize >= n_samples) {
            return Err(FieldError::Sample { sample: sample.into(), n_samples });
        }
        if samples.is_empty() {
            return Err(FieldError::EmptyBatch);
        }
        let channels = field.shape().channels;
        let n_values = samples.len() * channels;
        let scale = 2.0 / n_values as f32;
        field.load(&mut self.model, params);
        self.samples.clear();
        self.samples.extend_from_slice(samples);
        field.arrange(&mut self.samples, &mut self.ends);
        self.deferred.resize(samples.len() * field.n_deferred(), 0.0);

        let (samples, ends) = (&self.samples[..], &self.ends[..]);
        let n_lanes = LANES.min(ends.len());
        // Each lane's tiles, and their part of what is deferred.
        let mut shares = Vec::with_capacity(n_lanes);
        let mut rest = &mut self.deferred[..];
        for i in 0..n_lanes {
            let tiles = i * ends.len() / n_lanes..(i + 1) * ends.len() / n_lanes;
            let rows = tile(ends, tiles.start).start..ends[tiles.end - 1];
            let (part, after) = rest.split_at_mut(rows.len() * field.n_deferred());
            rest = after;
            self.lanes[i].reached = field.reached(&samples[rows]);
            shares.push((tiles, part));
        }
        let (model, source) = (&self.model, self.source);
        self.lanes[..n_lanes].par_iter_mut().zip(shares).for_each(|(lane, (tiles, mut deferred))| {
            lane.gradient.resize(field.n_dense(), 0.0);
            lane.gradient[lane.reached.clone()].fill(0.0);
            lane.squared_error = 0.0;
            for i in tiles {
                let samples = &samples[tile(ends, i)];
                lane.outputs.resize(samples.len() * channels, 0.0);
                field.forward(model, params, samples, &mut lane.scratch, &mut lane.outputs);
                lane.targets.resize(samples.len() * channels, 0.0);
                read_targets(source, samples, &mut lane.targets);
                for (y, target) in lane.outputs.iter_mut().zip(&lane.targets) {
                    *y -= target;
                    lane.squared_error += f64::from(*y * *y);
                    *y *= scale;
                }
                let (part, after) =
                    std::mem::take(&mut deferred).split_at_mut(samples.len() * field.n_deferred());
                deferred = after;
                field.backward(
                    model,
                    samples,
                    &mut lane.scratch,
                    &mut lane.outputs,
                    &mut lane.gradient,
                    part,
                );
            }
        });
        if let Some(why) = self.source.failure() {
            return Err(FieldError::Source(why));
        }
        gradient.fill(0.0);
        let (dense, sparse) = gradient.split_at_mut(field.n_dense());
        for lane in &self.lanes[..n_lanes] {
            let reached = lane.reached.clone();
            for (g, part) in dense[reached.clone()].iter_mut().zip(&lane.gradient[reached]) {
                *g += part;
            }
        }
        field.scatter(samples, ends, &self.deferred, sparse);
        let penalty = field.regularise(params, gradient);
        let squared_error: f64 = self.lanes[..n_lanes].iter().map(|lane| lane.squared_error).sum();
        Ok(Loss { mse: squared_error / n_values as f64, penalty })
    }
}

/// The signal's values at these samples: neighbours in one go.
fn read_targets(source: &dyn Source, samples: &[u32], out: &mut [f32]) {
    let channels = out.len() / samples.len();
    let mut rest = out;
    for run in samples.chunk_by(|a, b| a.wrapping_add(1) == *b) {
        let (values, after) = rest.split_at_mut(run.len() * channels);
        rest = after;
        source.read_scaled(u64::from(run[0]) * channels as u64, values);
    }
}

/// Tile `i` of those that end at `ends`.
pub(crate) fn tile(ends: &[usize], i: usize) -> Range<usize> {
    i.checked_sub(1).map_or(0, |before| ends[before])..ends[i]
}

pub(crate) fn check_params<F: Field>(field: &F, actual: usize) -> Result<(), FieldError> {
    let expected = field.n_params();
    if actual == expected { Ok(()) } else { Err(FieldError::Params { actual, expected }) }
}

/// The values (in the signal's \[0, 1\]) of consecutive samples, rows × channels.
///
/// # Errors
/// [`FieldError::Params`], and [`FieldError::Sample`] for a range that ends outside the signal.
pub fn decode<F: Field>(
    field: &F,
    params: &[f32],
    samples: Range<usize>,
    isa: IsaLevel,
) -> Result<Vec<f32>, FieldError> {
    check_params(field, params.len())?;
    let n_samples = field.shape().n_samples();
    if samples.start > samples.end || samples.end > n_samples {
        return Err(FieldError::Sample { sample: samples.start.max(samples.end) as u64, n_samples });
    }
    let mut model = field.model(isa);
    field.load(&mut model, params);
    let mut out = vec![0.0; samples.len() * field.shape().channels];
    evaluate(field, &model, params, samples.start, &mut out);
    Ok(out)
}

/// Buffers of a decode's task.
struct Task<S> {
    scratch: S,
    /// In the order in which their values are wanted.
    wanted: Vec<u32>,
    /// In the order of [`Field::arrange`].
    samples: Vec<u32>,
    ends: Vec<usize>,
    outputs: Vec<f32>,
}

impl<S: Default> Task<S> {
    fn new() -> Self {
        Self {
            scratch: S::default(),
            wanted: Vec::new(),
            samples: Vec::new(),
            ends: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Values of the samples that are wanted, which rise.
    fn evaluate<F: Field<Scratch = S>>(
        &mut self,
        field: &F,
        model: &F::Model,
        params: &[f32],
        out: &mut [f32],
    ) {
        let channels = field.shape().channels;
        let Self { scratch, wanted, samples, ends, outputs } = self;
        samples.clone_from(wanted);
        field.arrange(samples, ends);
        // Of neighbours it is clear where each stands.
        let are_neighbours = wanted[wanted.len() - 1] - wanted[0] == wanted.len() as u32 - 1;
        let place = |sample: u32| {
            if are_neighbours {
                (sample - wanted[0]) as usize
            } else {
                wanted.partition_point(|&other| other < sample)
            }
        };
        for i in 0..ends.len() {
            let samples = &samples[tile(ends, i)];
            let begin = place(samples[0]);
            if wanted.get(begin..begin + samples.len()) == Some(samples) {
                let out = &mut out[begin * channels..(begin + samples.len()) * channels];
                field.values(model, params, samples, scratch, out);
                continue;
            }
            outputs.resize(samples.len() * channels, 0.0);
            field.values(model, params, samples, scratch, outputs);
            for (&sample, values) in samples.iter().zip(outputs.chunks_exact(channels)) {
                out[place(sample) * channels..][..channels].copy_from_slice(values);
            }
        }
    }
}

/// The values of the samples from `first` on into `out`, rows × channels, with a model at hand: what is timed as a decode.
///
/// # Panics
/// When `out` is no whole number of samples, or reaches past the signal.
pub fn evaluate<F: Field>(field: &F, model: &F::Model, params: &[f32], first: usize, out: &mut [f32]) {
    let channels = field.shape().channels;
    assert!(out.len().is_multiple_of(channels), "whole samples");
    assert!(first + out.len() / channels <= field.shape().n_samples(), "samples inside the signal");
    let chunk = field.decode_chunk();
    out.par_chunks_mut(chunk * channels).enumerate().for_each_init(Task::new, |task, (i, out)| {
        let from = (first + i * chunk) as u32;
        task.wanted.clear();
        task.wanted.extend(from..from + (out.len() / channels) as u32);
        task.evaluate(field, model, params, out);
    });
}

/// As [`evaluate`], of samples that rise, each once.
///
/// # Panics
/// When `out` has not the values of so many samples, or they do not rise, or one is outside the signal.
pub fn evaluate_at<F: Field>(field: &F, model: &F::Model, params: &[f32], samples: &[u32], out: &mut [f32]) {
    let channels = field.shape().channels;
    assert_eq!(out.len(), samples.len() * channels, "room for all samples");
    assert!(samples.is_sorted_by(|a, b| a < b), "samples that rise");
    assert!(
        samples.last().is_none_or(|&last| (last as usize) < field.shape().n_samples()),
        "samples inside the signal"
    );
    let chunk = field.decode_chunk();
    let chunks = out.par_chunks_mut(chunk * channels).zip(samples.par_chunks(chunk));
    chunks.for_each_init(Task::new, |task, (out, samples)| {
        task.wanted.clear();
        task.wanted.extend_from_slice(samples);
        task.evaluate(field, model, params, out);
    });
}
