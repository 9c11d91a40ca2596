//! The multiresolution hash grid of Instant-NGP (Müller, Evans, Schied and Keller, 2022, arXiv 2201.05989) on 1 to 3
//! axes: tables of features at the vertices of finer and finer grids, interpolated linearly, then a small network.
//!
//! ```text
//! N_l = floor(N_min · b^l),  b = exp((ln N_max - ln N_min) / (L - 1))                              equations 2, 3
//! vertex v of level l is entry  row-major number of v        where (N_l + 1)^axes ≤ T, so that each has its own
//!                               (⊕_i v_i · π_i) mod T        otherwise; π = 1, 2654435761, 805459861     equation 4
//! features of level l: the multilinear mean of the 2^axes vertices about x · N_l
//! y = MLP(features of all levels),   rectifiers, no biases
//! ```
//!
//! x is in [0, 1], a sample at the middle of its share of the axis; `π_1` belongs to the fastest axis, whose
//! neighbours then lie beside each other. As published: features from `U(±1e-4)`, Glorot's uniform initial matrices, two
//! hidden layers of 64; Adam at 1e-2 with β₂ = 0.99 and ε = 1e-15, 1e-6 times the squares of the matrices' weights (not the
//! tables') as a penalty of half that sum, entries that a batch did not touch left alone, batches of 2^18 samples, the rate
//! times 0.33 after 20,000 steps and every 10,000 after. The default is the ASMR paper's for Kodak: 8
//! levels of 2 features, 2^15 entries, 16 to 256.
//!
//! Gradients are written by hand: lookups and their scatter have no matrix in them, and a tape would cost more than both.
//! Each level's table is added to by one thread, sample after sample, so no bit depends on their number.
//!
//! Weights: the network's layers `[out, in]`, then level after level the entries' features.

use asmr_kernels::IsaLevel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::draws::Draws;
use crate::field::{
    Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, TILE, refuse, tile, tiles_of, within,
};
use crate::fit::{Recipe, Schedule};
use crate::interpolation::{Pair, corners, n_mac};
use crate::mlp::{Activation, Mlp, MlpScratch, MlpShape};

/// Published factors of the hash, the fastest axis first.
const PRIMES: [u32; 3] = [1, 2_654_435_761, 805_459_861];
/// Published weight of the penalty.
const L2: f32 = 1e-6;
/// Published bound of initial features.
const FEATURE_BOUND: f64 = 1e-4;

/// Settings of a hash grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NgpSettings {
    /// L.
    pub n_levels: usize,
    /// Features per entry: 1, 2, 4 or 8.
    pub n_features: usize,
    /// T is 2 to this power, 4 to 24.
    pub log2_entries: u32,
    /// `N_min`: cells along each axis of the coarsest level.
    pub coarsest: usize,
    /// `N_max`: of the finest.
    pub finest: usize,
    /// Neurons of each hidden layer.
    pub width: usize,
    /// Hidden layers.
    pub hidden_layers: usize,
}

impl Default for NgpSettings {
    fn default() -> Self {
        Self {
            n_levels: 8,
            n_features: 2,
            log2_entries: 15,
            coarsest: 16,
            finest: 256,
            width: 64,
            hidden_layers: 2,
        }
    }
}

/// One resolution.
struct Level {
    /// Cells along each axis.
    cells: usize,
    /// Its entries among all levels'.
    first_entry: usize,
    n_entries: usize,
    hashed: bool,
    /// Per axis and index.
    axes: Vec<Vec<Pair>>,
}

/// A hash grid.
pub struct Ngp {
    shape: Shape,
    settings: NgpSettings,
    mlp: MlpShape,
    levels: Vec<Level>,
}

/// The network made ready; tables are read where they lie.
pub struct NgpModel(Mlp);

/// Buffers of one tile.
#[derive(Default)]
pub struct NgpScratch {
    indices: Vec<[usize; MAX_AXES]>,
    features: Vec<f32>,
    mlp: MlpScratch,
}

impl Ngp {
    /// A hash grid of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: NgpSettings) -> Result<Self, FieldError> {
        shape.validate(3)?;
        within("the number of levels", settings.n_levels, 1..=32, "1 to 32")?;
        if ![1, 2, 4, 8].contains(&settings.n_features) {
            return Err(refuse("the number of features", settings.n_features, "1, 2, 4 or 8"));
        }
        within("the logarithm of the entries", settings.log2_entries as usize, 4..=24, "4 to 24")?;
        within("the coarsest level's cells", settings.coarsest, 1..=1 << 20, "1 to 1048576")?;
        if settings.finest < settings.coarsest || settings.finest > 1 << 20 {
            return Err(refuse("the finest level's cells", settings.finest, "the coarsest's to 1048576"));
        }
        within("the width", settings.width, 1..=1 << 12, "1 to 4096")?;
        within("the number of hidden layers", settings.hidden_layers, 1..=16, "1 to 16")?;
        let mlp = MlpShape {
            inputs: settings.n_levels * settings.n_features,
            width: settings.width,
            layers: settings.hidden_layers + 1,
            outputs: shape.channels,
            activation: Activation::Rectifier { slope: 0.0 },
            first: None,
            biased: false,
        };
        let mut first_entry = 0;
        let mut levels = Vec::with_capacity(settings.n_levels);
        for level in 0..settings.n_levels {
            let level = Level::new(&shape, &settings, level, first_entry);
            first_entry += level.n_entries;
            levels.push(level);
        }
        let ngp = Self { shape, settings, mlp, levels };
        within("the number of weights", ngp.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        Ok(ngp)
    }

    /// Entries of all levels.
    fn n_entries(&self) -> usize {
        self.levels.iter().map(|level| level.n_entries).sum()
    }

    /// Calls the copy that was compiled for as many axes and features.
    fn on_level(&self, level: &Level, work: Work<'_>, indices: impl Iterator<Item = [usize; MAX_AXES]>) {
        macro_rules! run {
            ($($axes:literal: $($features:literal)*;)*) => {
                match (self.shape.n_axes(), self.settings.n_features) {
                    $($(($axes, $features) => level.run::<$axes, $features>(work, indices),)*)*
                    _ => unreachable!("refused when it was made"),
                }
            };
        }
        run!(1: 1 2 4 8; 2: 1 2 4 8; 3: 1 2 4 8;);
    }
}

/// What is done at each sample of a level.
enum Work<'a> {
    /// Interpolated features into rows `stride` apart.
    Gather { table: &'a [f32], out: &'a mut [f32], stride: usize },
    /// Rows of ∂loss/∂features onto the table's gradient.
    Scatter { from: &'a [f32], gradient: &'a mut [f32] },
}

impl Level {
    fn new(shape: &Shape, settings: &NgpSettings, level: usize, first_entry: usize) -> Self {
        let (coarsest, finest) = (settings.coarsest as f64, settings.finest as f64);
        let growth = (finest / coarsest).ln() / (settings.n_levels.max(2) - 1) as f64;
        // Powers that should be whole are not always: 1e-9 keeps `floor` from taking one off.
        let cells = (coarsest * (growth * level as f64).exp() * (1.0 + 1e-9)).floor() as usize;
        let n_axes = shape.n_axes();
        let dense = (cells + 1).checked_pow(n_axes as u32).filter(|&n| n <= 1 << settings.log2_entries);
        let axes = shape
            .extents
            .iter()
            .enumerate()
            .map(|(axis, &extent)| {
                let slower = (n_axes - 1 - axis) as u32;
                let factor = if dense.is_some() {
                    ((cells + 1) as u32).wrapping_pow(slower)
                } else {
                    PRIMES[slower as usize]
                };
                let pair = |index: usize| {
                    let x = (index as f64 + 0.5) / extent as f64 * cells as f64;
                    let low = x.floor();
                    let key = |vertex: u32| vertex.wrapping_mul(factor);
                    let share = (x - low) as f32;
                    Pair { keys: [key(low as u32), key(low as u32 + 1)], weights: [1.0 - share, share] }
                };
                (0..extent).map(pair).collect()
            })
            .collect();
        let n_entries = dense.unwrap_or(1 << settings.log2_entries);
        Self { cells, first_entry, n_entries, hashed: dense.is_none(), axes }
    }

    fn run<const D: usize, const F: usize>(
        &self,
        work: Work<'_>,
        indices: impl Iterator<Item = [usize; MAX_AXES]>,
    ) {
        if self.hashed {
            let mask = self.n_entries as u32 - 1;
            self.run_with::<D, F>(work, indices, |a, b| a ^ b, |key| key & mask);
        } else {
            self.run_with::<D, F>(work, indices, |a, b| a + b, |key| key);
        }
    }

    #[inline]
    fn run_with<const D: usize, const F: usize>(
        &self,
        work: Work<'_>,
        indices: impl Iterator<Item = [usize; MAX_AXES]>,
        combine: impl Fn(u32, u32) -> u32,
        entry: impl Fn(u32) -> u32,
    ) {
        match work {
            Work::Gather { table, out, stride } => {
                let (rows, _) = table.as_chunks::<F>();
                for (at, out) in indices.zip(out.chunks_mut(stride)) {
                    let mut sum = [0.0; F];
                    corners::<D>(&self.axes, at, &combine, |key, weight| {
                        for (sum, value) in sum.iter_mut().zip(&rows[entry(key) as usize]) {
                            *sum += weight * value;
                        }
                    });
                    out[..F].copy_from_slice(&sum);
                }
            }
            Work::Scatter { from, gradient } => {
                let (rows, _) = gradient.as_chunks_mut::<F>();
                for (at, from) in indices.zip(from.as_chunks::<F>().0) {
                    corners::<D>(&self.axes, at, &combine, |key, weight| {
                        for (sum, value) in rows[entry(key) as usize].iter_mut().zip(from) {
                            *sum += weight * value;
                        }
                    });
                }
            }
        }
    }
}

impl Field for Ngp {
    type Model = NgpModel;
    type Scratch = NgpScratch;

    fn name(&self) -> &'static str {
        "ngp"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.mlp.n_params() + self.n_entries() * self.settings.n_features
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        let (mut draws, mut params) = (Draws::new(seed), Vec::with_capacity(self.n_params()));
        self.mlp.init(&mut params, |_, fan_in, fan_out, _| {
            draws.uniform((6.0 / (fan_in + fan_out) as f64).sqrt())
        });
        let n_features = self.n_entries() * self.settings.n_features;
        params.extend((0..n_features).map(|_| draws.uniform(FEATURE_BOUND)));
        params
    }

    fn cost(&self) -> FieldCost {
        let n_interpolations = self.settings.n_levels * n_mac(self.shape.n_axes(), self.settings.n_features);
        FieldCost {
            n_params: self.n_params(),
            mac_paper: self.mlp.n_mac() as f64,
            mac_exec: (self.mlp.n_mac() + n_interpolations) as f64,
            sin_exec: 0.0,
            exp_exec: 0.0,
            table_reads: (self.settings.n_levels << self.shape.n_axes()) as f64,
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe {
            beta2: 0.99,
            epsilon: 1e-15,
            skip_untouched: true,
            batch: Some(1 << 18),
            ..Recipe::adam(
                1e-2,
                Schedule::Staircase { start: 20_000, interval: 10_000, factor: 0.33 },
                10_000,
            )
        }
    }

    fn model(&self, isa: IsaLevel) -> NgpModel {
        NgpModel(Mlp::new(self.mlp, isa))
    }

    fn load(&self, model: &mut NgpModel, params: &[f32]) {
        model.0.load(&params[..self.mlp.n_params()]);
    }

    fn forward(
        &self,
        model: &NgpModel,
        params: &[f32],
        samples: &[u32],
        scratch: &mut NgpScratch,
        outputs: &mut [f32],
    ) {
        let (tables, stride, n) = (&params[self.mlp.n_params()..], self.mlp.inputs, self.settings.n_features);
        let NgpScratch { indices, features, mlp } = scratch;
        indices.clear();
        indices.extend(samples.iter().map(|&sample| self.shape.indices(sample)));
        features.resize(samples.len() * stride, 0.0);
        for (i, level) in self.levels.iter().enumerate() {
            let table = &tables[level.first_entry * n..][..level.n_entries * n];
            let work = Work::Gather { table, out: &mut features[i * n..], stride };
            self.on_level(level, work, indices.iter().copied());
        }
        model.0.forward(features, mlp, outputs);
    }

    /// In the signal's order, so that neighbouring samples find their vertices in the cache.
    fn arrange(&self, samples: &mut [u32], ends: &mut Vec<usize>) {
        samples.sort_unstable();
        tiles_of(TILE, samples.len(), ends);
    }

    /// Leaves ∂loss/∂features level by level, so that each level's thread reads one piece per tile.
    fn backward(
        &self,
        model: &NgpModel,
        samples: &[u32],
        scratch: &mut NgpScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        deferred: &mut [f32],
    ) {
        model.0.backward(&scratch.features, &mut scratch.mlp, outputs, gradient, true);
        let n = self.settings.n_features;
        let rows = scratch.mlp.input_gradient().chunks_exact(self.mlp.inputs);
        for (row, from) in rows.enumerate() {
            for (level, from) in from.chunks_exact(n).enumerate() {
                deferred[(level * samples.len() + row) * n..][..n].copy_from_slice(from);
            }
        }
    }

    fn n_dense(&self) -> usize {
        self.mlp.n_params()
    }

    fn n_deferred(&self) -> usize {
        self.mlp.inputs
    }

    fn scatter(&self, samples: &[u32], ends: &[usize], deferred: &[f32], gradient: &mut [f32]) {
        let n = self.settings.n_features;
        let mut tables = Vec::with_capacity(self.levels.len());
        let mut rest = gradient;
        for level in &self.levels {
            let (table, after) = rest.split_at_mut(level.n_entries * n);
            rest = after;
            tables.push(table);
        }
        self.levels.par_iter().zip(tables).enumerate().with_max_len(1).for_each(|(i, (level, table))| {
            for t in 0..ends.len() {
                let rows = tile(ends, t);
                let from = &deferred[rows.start * self.mlp.inputs..][i * rows.len() * n..][..rows.len() * n];
                let indices = samples[rows].iter().map(|&sample| self.shape.indices(sample));
                self.on_level(level, Work::Scatter { from, gradient: &mut *table }, indices);
            }
        });
    }

    fn regularise(&self, params: &[f32], gradient: &mut [f32]) -> f64 {
        let mut squares = 0.0;
        for (g, &w) in gradient.iter_mut().zip(&params[..self.mlp.n_params()]) {
            squares += f64::from(w * w);
            *g += L2 * w;
        }
        0.5 * f64::from(L2) * squares
    }
}

impl Ngp {
    /// Cells along each axis, level by level.
    #[must_use]
    pub fn cells(&self) -> Vec<usize> {
        self.levels.iter().map(|level| level.cells).collect()
    }
}
