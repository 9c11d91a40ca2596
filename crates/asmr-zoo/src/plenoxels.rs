//! Plenoxels (Fridovich-Keil et al., 2022, arXiv 2112.05131) for a signal that is given itself: values at the vertices of a
//! grid on 1 to 3 axes, interpolated linearly; no network. Vertices of empty space are not stored.
//!
//! ```text
//! y(x)    = multilinear mean of the vertices about x;  x of 0 .. 1 spans the first to the last vertex of each axis
//! penalty = tv / |V| · Σ_v Σ_channel sqrt(Σ_a Δ_a² + 1e-9)                                            equation 6
//! Δ_a     = (V[v + e_a] - V[v]) · R_a / 256
//! ```
//!
//! R are the vertices of an axis, |V| the stored ones. A vertex without an upper neighbour on an axis, at the
//! grid's border, has no difference there; one that is not stored counts as `background`. The optimiser is the
//! authors' `RMSProp` with decay 0.95 and exponential decay of the rate to a hundredth; the rate of 1e-2 is theirs for
//! colours. What they call sparsity is done as they do it: fit a coarse grid, [drop](Plenoxels::pruned) vertices whose
//! whole neighbourhood is empty, [halve](Plenoxels::refined) the cells, go on ([`fit_coarse_to_fine`]).
//!
//! Gradients are written by hand: there is nothing but lookups. Each thread adds to its own slab of the grid, sample
//! after sample, so no bit depends on their number.
//!
//! Weights: stored vertices row-major, each with its channels.

use std::ops::ControlFlow;

use asmr::signal::Source;
use asmr_kernels::IsaLevel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::field::{Field, FieldCost, FieldError, MAX_PARAMS, Shape, TILE, refuse, tiles_of, within};
use crate::fit::{FitOptions, Fitted, Recipe, Schedule, StepEvent, fit_from};
use crate::interpolation::{Pair, corners, n_mac};

/// Keeps the root's slope finite.
const SMOOTHING: f32 = 1e-9;
/// Vertices along an axis for which differences are taken as they are.
const REFERENCE: f32 = 256.0;
/// Slabs with a thread's gradient of its own.
const SLABS: usize = 16;
/// Vertices whose penalty is summed together.
const CHUNK: usize = 4096;
/// A vertex that is not stored.
const ABSENT: u32 = u32::MAX;

/// Settings of an explicit grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlenoxelsSettings {
    /// Vertices along each axis, at least 2.
    pub vertices: Vec<usize>,
    /// Weight of total variation.
    #[serde(default = "usual_tv")]
    pub tv: f32,
    /// Value of vertices that are not stored.
    #[serde(default)]
    pub background: f32,
    /// Vertices in row-major order, in runs: so many absent, so many stored, and so on. Empty: all are stored.
    #[serde(default)]
    pub runs: Vec<u32>,
}

fn usual_tv() -> f32 {
    1e-5
}

impl PlenoxelsSettings {
    /// A whole grid of so many vertices, with a little total variation.
    #[must_use]
    pub fn dense(vertices: &[usize]) -> Self {
        Self { vertices: vertices.to_vec(), tv: usual_tv(), background: 0.0, runs: Vec::new() }
    }
}

/// An explicit grid.
pub struct Plenoxels {
    shape: Shape,
    settings: PlenoxelsSettings,
    /// Where each vertex is stored; empty: each at its own number.
    slots: Vec<u32>,
    /// The vertex of each slot; empty likewise.
    stored: Vec<u32>,
    n_stored: usize,
    axes: Vec<Vec<Pair>>,
    /// Vertices that a step along each axis skips.
    strides: Vec<usize>,
}

/// Nothing is made ready: vertices are read where they lie.
pub struct PlenoxelsModel;

/// Nothing is kept for the way back.
#[derive(Default)]
pub struct PlenoxelsScratch;

impl Plenoxels {
    /// A grid of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: PlenoxelsSettings) -> Result<Self, FieldError> {
        shape.validate(3)?;
        let n = settings.vertices.iter().try_fold(1usize, |n, &v| n.checked_mul(v)).unwrap_or(0);
        let per_axis = settings.vertices.len() == shape.n_axes() && settings.vertices.iter().all(|&v| v >= 2);
        if !per_axis || !(2..=MAX_PARAMS).contains(&n) {
            let accepted = "2 or more for each axis, at most 268435456 together,";
            return Err(refuse("the grid of vertices", &settings.vertices, accepted));
        }
        if !(settings.tv.is_finite() && settings.tv >= 0.0) {
            return Err(refuse("the weight of total variation", settings.tv, "0 or more"));
        }
        if !settings.background.is_finite() {
            return Err(refuse("the background", settings.background, "a number"));
        }
        let (mut slots, mut stored) = (Vec::new(), Vec::new());
        if !settings.runs.is_empty() {
            let total: u64 = settings.runs.iter().map(|&run| u64::from(run)).sum();
            if total != n as u64 {
                return Err(refuse("the sum of all runs", total, "the number of vertices"));
            }
            for (i, &run) in settings.runs.iter().enumerate() {
                for _ in 0..run {
                    let slot = if i % 2 == 1 { stored.len() as u32 } else { ABSENT };
                    if i % 2 == 1 {
                        stored.push(slots.len() as u32);
                    }
                    slots.push(slot);
                }
            }
        }
        let n_stored = if slots.is_empty() { n } else { stored.len() };
        within("the number of weights", n_stored * shape.channels, 1..=MAX_PARAMS, "1 to 268435456")?;
        let strides: Vec<usize> =
            (0..shape.n_axes()).map(|axis| settings.vertices[axis + 1..].iter().product()).collect();
        let axes = (0..shape.n_axes())
            .map(|axis| {
                let (extent, n) = (shape.extents[axis], settings.vertices[axis]);
                let pair = |index: usize| {
                    let x = index as f64 / (extent.max(2) - 1) as f64 * (n - 1) as f64;
                    // The last sample lies on the last vertex: it is the upper one of the last cell.
                    let low = x.floor().min((n - 2) as f64);
                    let share = (x - low) as f32;
                    let key = (low as usize * strides[axis]) as u32;
                    Pair { keys: [key, key + strides[axis] as u32], weights: [1.0 - share, share] }
                };
                (0..extent).map(pair).collect()
            })
            .collect();
        Ok(Self { shape, settings, slots, stored, n_stored, axes, strides })
    }

    /// Settings, with which vertices are stored.
    #[must_use]
    pub fn settings(&self) -> &PlenoxelsSettings {
        &self.settings
    }

    /// Vertices that are stored.
    #[must_use]
    pub fn n_stored(&self) -> usize {
        self.n_stored
    }

    fn n_vertices(&self) -> usize {
        self.settings.vertices.iter().product()
    }

    fn slot(&self, vertex: usize) -> Option<usize> {
        if self.slots.is_empty() {
            return Some(vertex);
        }
        let slot = self.slots[vertex];
        (slot != ABSENT).then_some(slot as usize)
    }

    fn vertex(&self, slot: usize) -> usize {
        if self.stored.is_empty() { slot } else { self.stored[slot] as usize }
    }

    /// Index of a vertex along an axis.
    fn index(&self, vertex: usize, axis: usize) -> usize {
        vertex / self.strides[axis] % self.settings.vertices[axis]
    }

    /// The number and weight of the vertices about a sample.
    fn visit(&self, sample: u32, visit: impl FnMut(u32, f32)) {
        let at = self.shape.indices(sample);
        match self.shape.n_axes() {
            1 => corners::<1>(&self.axes, at, |a, b| a + b, visit),
            2 => corners::<2>(&self.axes, at, |a, b| a + b, visit),
            _ => corners::<3>(&self.axes, at, |a, b| a + b, visit),
        }
    }

    /// The scaled difference to the upper neighbour of a stored vertex on an axis.
    fn difference(&self, params: &[f32], slot: usize, axis: usize, channel: usize) -> f32 {
        let (vertex, channels) = (self.vertex(slot), self.shape.channels);
        if self.index(vertex, axis) + 1 == self.settings.vertices[axis] {
            return 0.0;
        }
        let upper = self.slot(vertex + self.strides[axis]);
        let upper = upper.map_or(self.settings.background, |slot| params[slot * channels + channel]);
        (upper - params[slot * channels + channel]) * self.settings.vertices[axis] as f32 / REFERENCE
    }

    /// Runs of absent and stored vertices.
    fn runs(kept: &[bool]) -> Vec<u32> {
        let (mut runs, mut state) = (vec![0], false);
        for &kept in kept {
            if kept != state {
                runs.push(0);
                state = kept;
            }
            if let Some(run) = runs.last_mut() {
                *run += 1;
            }
        }
        runs
    }

    /// The grid without vertices that, with all their neighbours (diagonal ones too), are within `threshold` of the
    /// background, and its weights. Neighbours are kept since a sample beside a vertex reads them (section 3.5).
    ///
    /// # Errors
    /// [`FieldError::Params`], and [`FieldError::Setting`] when nothing is left.
    pub fn pruned(&self, params: &[f32], threshold: f32) -> Result<(Self, Vec<f32>), FieldError> {
        self.check(params)?;
        let channels = self.shape.channels;
        let mut kept = vec![false; self.n_vertices()];
        for (slot, values) in params.chunks_exact(channels).enumerate() {
            kept[self.vertex(slot)] = values.iter().any(|v| (v - self.settings.background).abs() > threshold);
        }
        // A box is grown axis by axis.
        for axis in 0..self.shape.n_axes() {
            let before = kept.clone();
            for vertex in (0..kept.len()).filter(|&vertex| before[vertex]) {
                let index = self.index(vertex, axis);
                if index > 0 {
                    kept[vertex - self.strides[axis]] = true;
                }
                if index + 1 < self.settings.vertices[axis] {
                    kept[vertex + self.strides[axis]] = true;
                }
            }
        }
        let field = self.with(self.settings.vertices.clone(), &kept)?;
        let values = |slot: usize| match self.slot(field.vertex(slot)) {
            Some(slot) => params[slot * channels..][..channels].to_vec(),
            None => vec![self.settings.background; channels],
        };
        let params = (0..field.n_stored).flat_map(values).collect();
        Ok((field, params))
    }

    /// The grid with cells halved along each axis (2R - 1 vertices), and its weights: the same function. A new vertex is
    /// stored if any it lies between is.
    ///
    /// # Errors
    /// [`FieldError::Params`], and [`FieldError::Setting`] for too many vertices.
    pub fn refined(&self, params: &[f32]) -> Result<(Self, Vec<f32>), FieldError> {
        self.check(params)?;
        let (n_axes, channels) = (self.shape.n_axes(), self.shape.channels);
        let fine: Vec<usize> = self.settings.vertices.iter().map(|&n| 2 * n - 1).collect();
        let n = fine.iter().try_fold(1usize, |n, &v| n.checked_mul(v)).unwrap_or(usize::MAX);
        within("the number of vertices", n, 1..=MAX_PARAMS, "at most 268435456")?;
        // The old vertices that a new one lies between: on each axis one, or two for odd indices.
        let between = |vertex: usize| {
            let mut around = vec![0];
            let mut rest = vertex;
            for axis in (0..n_axes).rev() {
                let index = rest % fine[axis];
                rest /= fine[axis];
                let both = around.iter().flat_map(|&old| {
                    let low = old + index / 2 * self.strides[axis];
                    [Some(low), (index % 2 == 1).then_some(low + self.strides[axis])]
                });
                around = both.flatten().collect();
            }
            around
        };
        let kept: Vec<bool> =
            (0..n).map(|vertex| between(vertex).into_iter().any(|old| self.slot(old).is_some())).collect();
        let field = self.with(fine.clone(), &kept)?;
        let mut refined = Vec::with_capacity(field.n_stored * channels);
        for slot in 0..field.n_stored {
            let around = between(field.vertex(slot));
            for channel in 0..channels {
                let value = |&old: &usize| {
                    self.slot(old).map_or(self.settings.background, |slot| params[slot * channels + channel])
                };
                refined.push(around.iter().map(value).sum::<f32>() / around.len() as f32);
            }
        }
        Ok((field, refined))
    }

    fn check(&self, params: &[f32]) -> Result<(), FieldError> {
        let (actual, expected) = (params.len(), self.n_params());
        if actual == expected { Ok(()) } else { Err(FieldError::Params { actual, expected }) }
    }

    fn with(&self, vertices: Vec<usize>, kept: &[bool]) -> Result<Self, FieldError> {
        let runs = if kept.iter().all(|&kept| kept) { Vec::new() } else { Self::runs(kept) };
        Self::new(self.shape.clone(), PlenoxelsSettings { vertices, runs, ..self.settings.clone() })
    }
}

impl Field for Plenoxels {
    type Model = PlenoxelsModel;
    type Scratch = PlenoxelsScratch;

    fn name(&self) -> &'static str {
        "plenoxels"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.n_stored * self.shape.channels
    }

    /// 1/2 everywhere, whatever the seed.
    fn init(&self, _seed: u64) -> Vec<f32> {
        vec![0.5; self.n_params()]
    }

    fn cost(&self) -> FieldCost {
        FieldCost {
            n_params: self.n_params(),
            mac_paper: 0.0,
            mac_exec: n_mac(self.shape.n_axes(), self.shape.channels) as f64,
            sin_exec: 0.0,
            exp_exec: 0.0,
            // Where vertices are sparse, the table of slots is read too.
            table_reads: f64::from(1 << self.shape.n_axes()) * if self.slots.is_empty() { 1.0 } else { 2.0 },
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe { beta1: 0.0, beta2: 0.95, ..Recipe::adam(1e-2, Schedule::Exponential { last: 1e-2 }, 1_000) }
    }

    fn model(&self, _isa: IsaLevel) -> PlenoxelsModel {
        PlenoxelsModel
    }

    fn load(&self, _model: &mut PlenoxelsModel, _params: &[f32]) {}

    fn forward(
        &self,
        _model: &PlenoxelsModel,
        params: &[f32],
        samples: &[u32],
        _scratch: &mut PlenoxelsScratch,
        outputs: &mut [f32],
    ) {
        let channels = self.shape.channels;
        outputs.fill(0.0);
        for (&sample, out) in samples.iter().zip(outputs.chunks_exact_mut(channels)) {
            self.visit(sample, |vertex, weight| match self.slot(vertex as usize) {
                Some(slot) => {
                    for (y, value) in out.iter_mut().zip(&params[slot * channels..][..channels]) {
                        *y += weight * value;
                    }
                }
                None => out.iter_mut().for_each(|y| *y += weight * self.settings.background),
            });
        }
    }

    /// In the signal's order, so that neighbouring samples find their vertices in the cache.
    fn arrange(&self, samples: &mut [u32], ends: &mut Vec<usize>) {
        samples.sort_unstable();
        tiles_of(TILE, samples.len(), ends);
    }

    fn backward(
        &self,
        _model: &PlenoxelsModel,
        _samples: &[u32],
        _scratch: &mut PlenoxelsScratch,
        outputs: &mut [f32],
        _gradient: &mut [f32],
        deferred: &mut [f32],
    ) {
        deferred.copy_from_slice(outputs);
    }

    fn n_dense(&self) -> usize {
        0
    }

    fn n_deferred(&self) -> usize {
        self.shape.channels
    }

    fn scatter(&self, samples: &[u32], _ends: &[usize], deferred: &[f32], gradient: &mut [f32]) {
        let (channels, planes) = (self.shape.channels, self.settings.vertices[0]);
        let n_slabs = SLABS.min(planes);
        // Slots before a plane of the slowest axis.
        let slots_before = |plane: usize| {
            let vertex = plane * self.strides[0];
            if self.stored.is_empty() {
                vertex
            } else {
                self.stored.partition_point(|&stored| (stored as usize) < vertex)
            }
        };
        let mut slabs = Vec::with_capacity(n_slabs);
        let mut rest = gradient;
        for slab in 0..n_slabs {
            let (first, last) = (slab * planes / n_slabs, (slab + 1) * planes / n_slabs);
            let (begin, end) = (slots_before(first), slots_before(last));
            let (part, after) = rest.split_at_mut((end - begin) * channels);
            rest = after;
            slabs.push((first * self.strides[0]..last * self.strides[0], begin, part));
        }
        let per_index: usize = self.shape.extents[1..].iter().product();
        let axis = &self.axes[0];
        slabs.into_par_iter().with_max_len(1).for_each(|(vertices, begin, gradient)| {
            // Both vertices about an index rise with it, and samples are in the signal's order.
            let first = axis.partition_point(|pair| (pair.keys[1] as usize) < vertices.start);
            let last = axis.partition_point(|pair| (pair.keys[0] as usize) < vertices.end);
            let place =
                |index: usize| samples.partition_point(|&sample| (sample as usize) < index * per_index);
            let rows = place(first)..place(last);
            let from = &deferred[rows.start * channels..rows.end * channels];
            for (&sample, from) in samples[rows].iter().zip(from.chunks_exact(channels)) {
                self.visit(sample, |vertex, weight| {
                    if vertices.contains(&(vertex as usize))
                        && let Some(slot) = self.slot(vertex as usize)
                    {
                        for (g, d) in gradient[(slot - begin) * channels..][..channels].iter_mut().zip(from) {
                            *g += weight * d;
                        }
                    }
                });
            }
        });
    }

    fn regularise(&self, params: &[f32], gradient: &mut [f32]) -> f64 {
        if self.settings.tv == 0.0 {
            return 0.0;
        }
        let (n_axes, channels) = (self.shape.n_axes(), self.shape.channels);
        let share = self.settings.tv / self.n_stored as f32;
        let mut roots = vec![0.0f32; params.len()];
        let sums: Vec<f64> = roots
            .par_chunks_mut(CHUNK * channels)
            .enumerate()
            .map(|(chunk, roots)| {
                let mut sum = 0.0;
                for (i, root) in roots.iter_mut().enumerate() {
                    let (slot, channel) = (chunk * CHUNK + i / channels, i % channels);
                    let squares: f32 =
                        (0..n_axes).map(|axis| self.difference(params, slot, axis, channel).powi(2)).sum();
                    *root = (squares + SMOOTHING).sqrt();
                    sum += f64::from(*root);
                }
                sum
            })
            .collect();
        gradient.par_chunks_mut(CHUNK * channels).enumerate().for_each(|(chunk, gradient)| {
            for (i, g) in gradient.iter_mut().enumerate() {
                let (slot, channel) = (chunk * CHUNK + i / channels, i % channels);
                let vertex = self.vertex(slot);
                let mut slope = 0.0;
                for axis in 0..n_axes {
                    let factor = self.settings.vertices[axis] as f32 / REFERENCE;
                    slope -= self.difference(params, slot, axis, channel) * factor
                        / roots[slot * channels + channel];
                    if self.index(vertex, axis) > 0
                        && let Some(lower) = self.slot(vertex - self.strides[axis])
                    {
                        slope += self.difference(params, lower, axis, channel) * factor
                            / roots[lower * channels + channel];
                    }
                }
                *g += share * slope;
            }
        });
        f64::from(share) * sums.iter().sum::<f64>()
    }
}

/// Fits a grid as its authors do: `options` for each stage, of which there are `n_stages`; after each but the last,
/// vertices within `threshold` of the background are dropped and cells halved. `field` is the coarsest grid.
///
/// # Errors
/// As [`crate::fit::fit`], [`Plenoxels::pruned`] and [`Plenoxels::refined`].
pub fn fit_coarse_to_fine(
    field: Plenoxels,
    source: &dyn Source,
    n_stages: usize,
    threshold: f32,
    options: &FitOptions,
    on_step: &mut dyn FnMut(&StepEvent) -> ControlFlow<()>,
) -> Result<(Plenoxels, Fitted), FieldError> {
    let params = field.init(options.seed);
    let mut field = field;
    let mut fitted = Fitted { params, steps: 0, elapsed_s: 0.0, last_mse: f64::NAN };
    for stage in 0..n_stages.max(1) {
        if stage > 0 {
            let (pruned, params) = field.pruned(&fitted.params, threshold)?;
            let (refined, params) = pruned.refined(&params)?;
            (field, fitted.params) = (refined, params);
        }
        let before = (fitted.steps, fitted.elapsed_s);
        fitted = fit_from(&field, source, fitted.params, options, on_step)?;
        fitted.steps += before.0;
        fitted.elapsed_s += before.1;
    }
    Ok((field, fitted))
}
