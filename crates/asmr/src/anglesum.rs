//! The angle-sum plan: activations of a tile's cells, and the output layer as one product per block.
//!
//! A child's phase is its parent's part u plus its digit tuple's part m, and
//! `sin(u + m) = sin u · cos m + cos u · sin m`. So sines and cosines are taken once per cell and once per digit
//! tuple, never per child; and the outputs of a whole block are linear in its cell's features:
//! `Y[c, (k, ch)] = [sin u_c , cos u_c] · P`, `P = [W_out[ch] ∘ cos m_k ; W_out[ch] ∘ sin m_k]`.

use std::ops::Range;

use asmr_kernels::dense::{Packed, Start, matmul};
use asmr_kernels::sharing::expand;
use asmr_kernels::sincos::sincos_rows;
use asmr_kernels::{IsaLevel, dense};

use crate::modulation;
use crate::network::{Layout, NetworkConfig};
use crate::walk::{Tile, TileLevel};

/// Cells of level L-2 in one tile for a given width: features of about 512 KiB.
#[must_use]
pub fn tile_cells(width: usize) -> usize {
    (65_536 / width).clamp(64, 1024)
}

/// A network's weights, prepared for evaluation: scaled by `omega_0`, packed, digit tables evaluated.
#[derive(Clone, Debug)]
pub struct AngleSum {
    isa: IsaLevel,
    config: NetworkConfig,
    layout: Layout,
    /// `omega_0 · W_0`, `[width, axes]`, and `omega_0 · b_0`.
    first_weight: Vec<f64>,
    first_bias: Vec<f64>,
    /// `omega_0 · W_iᵀ` packed and `omega_0 · b_i` for sine layers 1 to L-2 (entry 0 is empty).
    layers: Vec<(Packed, Vec<f32>)>,
    /// `[sin m | cos m]` of each digit tuple, levels 1 to L-1 (entry 0 is empty).
    tables: Vec<Vec<f32>>,
}

/// Activations of one tile. Reused from tile to tile: levels that are not fresh keep their content.
#[derive(Clone, Debug, Default)]
pub struct Activations {
    /// Per level i ≥ 1 the inputs `z_{i-1}` of its cells, cells × width.
    pub inputs: Vec<Vec<f32>>,
    /// Per level i the features `[sin u_i | cos u_i]` of its cells, cells × 2·width.
    pub features: Vec<Vec<f32>>,
}

impl AngleSum {
    /// Prepares weights (in the order of [`NetworkConfig::tensors`]) for evaluation.
    ///
    /// # Panics
    /// When `params` has not the length that the configuration needs.
    #[must_use]
    pub fn new(config: &NetworkConfig, params: &[f32], isa: IsaLevel) -> Self {
        let mut plan = Self {
            isa,
            config: config.clone(),
            layout: config.layout(),
            first_weight: Vec::new(),
            first_bias: Vec::new(),
            layers: vec![Default::default(); config.n_sine_layers()],
            tables: vec![Vec::new(); config.partition.n_levels()],
        };
        plan.update(params);
        plan
    }

    /// Prepares other weights of the same shape, reusing the memory.
    ///
    /// # Panics
    /// When `params` has not the length that the configuration needs.
    pub fn update(&mut self, params: &[f32]) {
        let (config, layout) = (&self.config, &self.layout);
        let (d, omega_0) = (config.width, config.omega_0);
        let scaled = |range: &Range<usize>| {
            params[range.clone()].iter().map(|&w| f64::from(omega_0) * f64::from(w)).collect()
        };
        self.first_weight = scaled(&layout.layer_weights[0]);
        self.first_bias = scaled(&layout.layer_biases[0]);
        for i in 1..config.n_sine_layers() {
            let (packed, bias) = &mut self.layers[i];
            packed.pack(d, d, &params[layout.layer_weights[i].clone()], 1, d, omega_0);
            bias.clear();
            bias.extend(params[layout.layer_biases[i].clone()].iter().map(|b| b * omega_0));
        }
        for level in 1..config.partition.n_levels() {
            let table = &mut self.tables[level];
            let phases = modulation::phases(config, layout, params, level);
            table.clear();
            table.resize(phases.len() * 2, 0.0);
            for (row, phases) in table.chunks_exact_mut(2 * d).zip(phases.chunks_exact(d)) {
                for (o, &m) in row.iter_mut().zip(phases) {
                    *o = reduce(m);
                }
            }
            sincos_rows(self.isa, phases.len() / d, d, table);
        }
    }

    /// The shape.
    #[must_use]
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// Where each tensor lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The instruction-set level in use.
    #[must_use]
    pub fn isa(&self) -> IsaLevel {
        self.isa
    }

    /// `[sin m | cos m]` of the digit tuples of a level (1 to L-1), K × 2·width.
    #[must_use]
    pub fn table(&self, level: usize) -> &[f32] {
        &self.tables[level]
    }

    /// Computes the features of all fresh levels of a tile.
    pub fn forward(&self, tile: &Tile, activations: &mut Activations) {
        let n = tile.levels.len();
        activations.inputs.resize_with(n, Vec::new);
        activations.features.resize_with(n, Vec::new);
        for (level, cells) in tile.levels.iter().enumerate() {
            if cells.fresh {
                self.forward_level(level, cells, activations);
            }
        }
    }

    fn forward_level(&self, level: usize, cells: &TileLevel, activations: &mut Activations) {
        let d = self.config.width;
        let n = cells.origins.len();
        let (above, rest) = activations.features.split_at_mut(level);
        let features = &mut rest[0];
        // Every value is overwritten below; only growth costs.
        features.resize(n * 2 * d, 0.0);
        if level == 0 {
            for (origin, row) in cells.origins.iter().zip(features.chunks_exact_mut(2 * d)) {
                let p = &self.config.partition;
                let axes = p.n_axes();
                let x: Vec<f64> = (0..axes).map(|a| p.coordinate(a, 0, p.digit(a, 0, origin[a]))).collect();
                let neurons = self.first_weight.chunks_exact(axes).zip(&self.first_bias);
                for (o, (weights, bias)) in row.iter_mut().zip(neurons) {
                    *o = reduce(weights.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>() + bias);
                }
            }
        } else {
            let z = &mut activations.inputs[level];
            z.resize(n * d, 0.0);
            expand(self.isa, d, &cells.children, &above[level - 1], &self.tables[level], z);
            let (weight, bias) = &self.layers[level];
            matmul(self.isa, n, z, d, weight, Start::Bias(bias), features, 2 * d);
        }
        sincos_rows(self.isa, n, d, features);
    }
}

/// An angle brought near [-π, π] in double precision, so that single precision keeps it to 2e-7 rad.
fn reduce(angle: f64) -> f32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52: adding and subtracting rounds to an integer
    const LARGEST: f64 = 1e9;
    if angle.abs() > LARGEST {
        return (angle % std::f64::consts::TAU) as f32;
    }
    let turns = (angle * (1.0 / std::f64::consts::TAU) + MAGIC) - MAGIC;
    (angle - turns * std::f64::consts::TAU) as f32
}

/// The output layer with the last level's digits folded in: P, in column chunks of whole digit tuples.
#[derive(Clone, Debug)]
pub struct OutputTable {
    width: usize,
    channels: usize,
    /// `Pᵀ` rows of each chunk, and the tuples they belong to.
    chunks: Vec<(Range<usize>, Packed)>,
    /// `b_out` repeated for the largest chunk.
    bias: Vec<f32>,
}

/// Columns of P computed together, at most (unless one digit tuple has more channels).
const CHUNK_COLUMNS: usize = 512;

/// Digit tuples per column chunk of P.
#[must_use]
pub fn chunk_tuples(channels: usize) -> usize {
    (CHUNK_COLUMNS / channels).max(1)
}

/// Rows of `Pᵀ` for digit tuples `tuples` of the last level: row (k, ch) is
/// `[W_out[ch] ∘ cos m_k | W_out[ch] ∘ sin m_k]`.
pub fn output_rows(plan: &AngleSum, output_weight: &[f32], tuples: Range<usize>, out: &mut Vec<f32>) {
    let d = plan.config.width;
    let table = plan.table(plan.config.partition.n_levels() - 1);
    out.clear();
    out.reserve(tuples.len() * plan.config.channels * 2 * d);
    for row in table[tuples.start * 2 * d..tuples.end * 2 * d].chunks_exact(2 * d) {
        let (sin_m, cos_m) = row.split_at(d);
        for weight in output_weight.chunks_exact(d) {
            out.extend(weight.iter().zip(cos_m).map(|(w, c)| w * c));
            out.extend(weight.iter().zip(sin_m).map(|(w, s)| w * s));
        }
    }
}

impl OutputTable {
    /// Packs rows of `Pᵀ` for `n_tuples` tuples, got chunk by chunk from `rows(tuples, buffer)`.
    pub fn new(
        width: usize,
        n_tuples: usize,
        bias: &[f32],
        mut rows: impl FnMut(Range<usize>, &mut Vec<f32>),
    ) -> Self {
        let channels = bias.len();
        let step = chunk_tuples(channels);
        let mut buffer = Vec::new();
        let chunks = (0..n_tuples)
            .step_by(step)
            .map(|start| {
                let tuples = start..n_tuples.min(start + step);
                rows(tuples.clone(), &mut buffer);
                let mut packed = Packed::default();
                packed.pack(2 * width, tuples.len() * channels, &buffer, 1, 2 * width, 1.0);
                (tuples, packed)
            })
            .collect();
        Self { width, channels, chunks, bias: bias.repeat(step.min(n_tuples)) }
    }

    /// Number of column chunks.
    #[must_use]
    pub fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Outputs of `n` cells for one chunk of digit tuples: `out` becomes n × (tuples · channels); the tuples are
    /// returned.
    pub fn outputs(
        &self,
        isa: IsaLevel,
        chunk: usize,
        n: usize,
        features: &[f32],
        out: &mut Vec<f32>,
    ) -> Range<usize> {
        let (tuples, packed) = &self.chunks[chunk];
        let columns = tuples.len() * self.channels;
        out.resize(n * columns, 0.0);
        let start = dense::Start::Bias(&self.bias[..columns]);
        matmul(isa, n, features, 2 * self.width, packed, start, out, columns);
        tuples.clone()
    }
}
