//! `KiloNeRF` (Reiser et al., 2021, arXiv 2103.13744): a grid of tiny networks, each for its own cell of the signal.
//!
//! ```text
//! γ(x) = [x, sin π x, cos π x, … sin 2^(F-1) π x, cos 2^(F-1) π x]   per axis, x in [-1, 1) over the whole signal
//! y    = MLP_cell(γ(x))
//! ```
//!
//! The encoding is over the whole signal, as in the ASMR authors' program; that of Reiser et al. is over each cell's own [-1, 1].
//!
//! Settings are those the ASMR paper compares with at ultra-low cost: 16 × 16 cells, width 16, F = 10, its rate of
//! 5e-4 with cosine decay to 1e-5 over 10,000 full-batch steps. Its published code has rectifiers of slope 0.2 between
//! layers, which are the default here; sines are a setting. Initial matrices are He's uniform ones, `U(±sqrt(6/fan_in))`,
//! biases 0 (that code means the same and draws far smaller ones, since it takes a stack of matrices for a
//! convolution); with sines, a SIREN's `U(±sqrt(6/fan_in)/omega_0)` for both.
//!
//! Weights: cell after cell (row-major), of each layer after layer `W` as `[out, in]`, then `b`.

use std::ops::Range;

use asmr_kernels::IsaLevel;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::axes::{AxisTables, encoding_sines};
use crate::draws::Draws;
use crate::field::{Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, TILE, refuse, within};
use crate::fit::{Recipe, Schedule};
use crate::mlp::{Activation, Mlp, MlpScratch, MlpShape};

/// Settings of a grid of tiny networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KiloNerfSettings {
    /// Cells along each axis; at most the extent.
    pub cells: Vec<usize>,
    /// Neurons of each hidden layer.
    pub width: usize,
    /// Linear layers, at least 2.
    pub layers: usize,
    /// F, at most 20.
    pub n_frequencies: usize,
    /// What follows hidden layers.
    pub activation: Activation,
}

impl Default for KiloNerfSettings {
    fn default() -> Self {
        Self {
            cells: vec![16, 16],
            width: 16,
            layers: 4,
            n_frequencies: 10,
            activation: Activation::Rectifier { slope: 0.2 },
        }
    }
}

/// A grid of tiny networks.
pub struct KiloNerf {
    shape: Shape,
    settings: KiloNerfSettings,
    mlp: MlpShape,
    inputs: AxisTables,
    /// Per axis, the cell of each index, times the cells that one step along the axis skips.
    cell_of: Vec<Vec<u32>>,
}

/// Each cell's network made ready.
pub struct KiloNerfModel(Vec<Mlp>);

/// Buffers of one tile.
#[derive(Default)]
pub struct KiloNerfScratch {
    inputs: Vec<f32>,
    mlp: MlpScratch,
}

impl KiloNerf {
    /// A grid of networks of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: KiloNerfSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        let fits = settings.cells.iter().zip(&shape.extents).all(|(&n, &extent)| n >= 1 && n <= extent);
        if settings.cells.len() != shape.n_axes() || !fits {
            return Err(refuse("the grid of cells", &settings.cells, "1 to the extent, for each axis,"));
        }
        within("the width", settings.width, 1..=1 << 12, "1 to 4096")?;
        within("the number of layers", settings.layers, 2..=64, "2 to 64")?;
        within("the number of frequencies", settings.n_frequencies, 0..=20, "0 to 20")?;
        settings.activation.validate()?;
        let inputs = AxisTables::encoded(&shape, settings.n_frequencies, |index, extent| {
            2.0 * index as f64 / extent as f64 - 1.0
        });
        let mlp = MlpShape {
            inputs: inputs.n_values(),
            width: settings.width,
            layers: settings.layers,
            outputs: shape.channels,
            activation: settings.activation,
            first: None,
            biased: true,
        };
        let n_cells: usize = settings.cells.iter().product();
        let n_params = n_cells.saturating_mul(mlp.n_params());
        within("the number of weights", n_params, 1..=MAX_PARAMS, "at most 268435456")?;
        let cell_of = (0..shape.n_axes())
            .map(|axis| {
                let (n, extent) = (settings.cells[axis], shape.extents[axis]);
                let skipped: usize = settings.cells[axis + 1..].iter().product();
                (0..extent).map(|index| (index * n / extent * skipped) as u32).collect()
            })
            .collect();
        Ok(Self { shape, settings, mlp, inputs, cell_of })
    }

    fn n_cells(&self) -> usize {
        self.settings.cells.iter().product()
    }

    fn cell(&self, sample: u32) -> u32 {
        self.cell_of.iter().zip(self.shape.indices(sample)).map(|(axis, index)| axis[index]).sum()
    }
}

impl Field for KiloNerf {
    type Model = KiloNerfModel;
    type Scratch = KiloNerfScratch;

    fn name(&self) -> &'static str {
        "kilonerf"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.n_cells() * self.mlp.n_params()
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        let (mut draws, mut params) = (Draws::new(seed), Vec::with_capacity(self.n_params()));
        for _ in 0..self.n_cells() {
            self.mlp.init(&mut params, |_, fan_in, _, is_bias| {
                let bound = (6.0 / fan_in as f64).sqrt();
                match self.settings.activation {
                    Activation::Sine { omega_0 } => draws.uniform(bound / f64::from(omega_0)),
                    Activation::Rectifier { .. } if is_bias => 0.0,
                    Activation::Rectifier { .. } => draws.uniform(bound),
                }
            });
        }
        params
    }

    fn cost(&self) -> FieldCost {
        let sines = match self.settings.activation {
            Activation::Sine { .. } => self.mlp.n_hidden(),
            Activation::Rectifier { .. } => 0,
        };
        FieldCost {
            n_params: self.n_params(),
            mac_paper: self.mlp.n_params() as f64,
            mac_exec: self.mlp.n_mac() as f64,
            sin_exec: sines as f64 + encoding_sines(&self.shape, self.settings.n_frequencies),
            exp_exec: 0.0,
            table_reads: 0.0,
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(5e-4, Schedule::Cosine { last: 0.02 }, 10_000)
    }

    fn model(&self, isa: IsaLevel) -> KiloNerfModel {
        KiloNerfModel((0..self.n_cells()).map(|_| Mlp::new(self.mlp, isa)).collect())
    }

    fn load(&self, model: &mut KiloNerfModel, params: &[f32]) {
        let cells = model.0.par_iter_mut().zip(params.par_chunks_exact(self.mlp.n_params()));
        cells.for_each(|(mlp, params)| mlp.load(params));
    }

    /// By cell; no tile holds two cells' samples.
    fn arrange(&self, samples: &mut [u32], ends: &mut Vec<usize>) {
        ends.clear();
        let mut counts = vec![0; self.n_cells()];
        let cells: Vec<u32> = samples.iter().map(|&sample| self.cell(sample)).collect();
        for &cell in &cells {
            counts[cell as usize] += 1;
        }
        let mut end = 0;
        for count in &mut counts {
            let begin = end;
            end += *count;
            ends.extend((begin..end).step_by(TILE).map(|at| end.min(at + TILE)));
            *count = begin;
        }
        let given = samples.to_vec();
        for (sample, cell) in given.into_iter().zip(cells) {
            let at = &mut counts[cell as usize];
            samples[*at] = sample;
            *at += 1;
        }
    }

    /// About as many slices of the slowest axis as a cell has, so that tiles are full.
    fn decode_chunk(&self) -> usize {
        let (extent, n_samples) = (self.shape.extents[0], self.shape.n_samples());
        let slices = extent / self.settings.cells[0];
        (slices * (n_samples / extent)).clamp(TILE, 1 << 18)
    }

    fn forward(
        &self,
        model: &KiloNerfModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut KiloNerfScratch,
        outputs: &mut [f32],
    ) {
        self.inputs.fill(&self.shape, samples, &mut scratch.inputs);
        model.0[self.cell(samples[0]) as usize].forward(&scratch.inputs, &mut scratch.mlp, outputs);
    }

    fn values(
        &self,
        model: &KiloNerfModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut KiloNerfScratch,
        outputs: &mut [f32],
    ) {
        self.inputs.fill(&self.shape, samples, &mut scratch.inputs);
        model.0[self.cell(samples[0]) as usize].values(&scratch.inputs, &mut scratch.mlp, outputs);
    }

    /// The cells from the first sample's to the last one's.
    fn reached(&self, samples: &[u32]) -> Range<usize> {
        let cell = |sample: Option<&u32>| sample.map_or(0, |&sample| self.cell(sample) as usize);
        let n = self.mlp.n_params();
        cell(samples.first()) * n..(cell(samples.last()) + 1) * n
    }

    fn backward(
        &self,
        model: &KiloNerfModel,
        samples: &[u32],
        scratch: &mut KiloNerfScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        let (cell, n) = (self.cell(samples[0]) as usize, self.mlp.n_params());
        let gradient = &mut gradient[cell * n..][..n];
        model.0[cell].backward(&scratch.inputs, &mut scratch.mlp, outputs, gradient, false);
    }
}
