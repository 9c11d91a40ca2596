//! The angle-sum plan: activations of a tile's cells, and the output layer as one product per block.
//!
//! A child's phase is its parent's part u plus its digit tuple's part m, and
//! `sin(u + m) = sin u · cos m + cos u · sin m`. So sines and cosines are taken once per cell and once per digit
//! tuple, never per child; and the outputs of a whole block are linear in its cell's features:
//! `Y[c, (k, ch)] = [sin u_c , cos u_c] · P`, `P = [W_out[ch] ∘ cos m_k ; W_out[ch] ∘ sin m_k]`.
//!
//! A linear modulator's phases are counted from the middle of the block, whose own phase goes to the cell. Then tuples
//! k and K-1-k have opposite phases, `Y_k + Y_{K-1-k}` is due to sin u alone and `Y_k − Y_{K-1-k}` to cos u alone:
//! two products of d × half a block instead of one of 2d × a block.

use std::ops::Range;

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, matmul};
use asmr_kernels::fixed::{Bits, PackedFixed, amplitude, matmul_fixed, pairs, round_rows};
use asmr_kernels::sharing::{expand, join_mirrored};
use asmr_kernels::sincos::sincos_rows;

use crate::modulation;
use crate::network::{Layout, NetworkConfig};
use crate::walk::{Tile, TileLevel};

/// Cells of level L-2 in one tile for a given width: features of about 512 KiB.
#[must_use]
pub fn tile_cells(width: usize) -> usize {
    (65_536 / width).clamp(64, 1024)
}

/// The arithmetic of the matrix products. Phases, sines and expansions are single precision in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// 16-bit operands with 32-bit sums: quicker where the processor multiplies and adds pairs of them (x86), and the
    /// same sums everywhere.
    Int16,
    /// 8-bit operands with 32-bit sums, by the same kernel: for measuring what 8 bits cost.
    Int8,
    /// Operands rounded to bfloat16 (8 significant bits), sums in single precision: for measuring what it costs.
    Bf16,
}

/// A right-hand side packed for one precision, and the product with it.
#[derive(Clone, Debug)]
struct Weights {
    precision: Precision,
    float: Packed,
    fixed: PackedFixed,
}

/// Rounded left-hand sides. Reuse it between calls.
#[derive(Clone, Debug, Default)]
struct Rounded {
    pairs: Vec<u32>,
    values: Vec<f32>,
}

/// The nearest bfloat16 (halves to even), as single precision.
fn nearest_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
}

impl Weights {
    fn new(precision: Precision) -> Self {
        Self { precision, float: Packed::default(), fixed: PackedFixed::default() }
    }

    fn bits(&self) -> Option<Bits> {
        match self.precision {
            Precision::F32 | Precision::Bf16 => None,
            Precision::Int16 => Some(Bits::Sixteen),
            Precision::Int8 => Some(Bits::Eight),
        }
    }

    /// As [`Packed::pack`].
    fn pack(
        &mut self,
        inner: usize,
        columns: usize,
        source: &[f32],
        row_stride: usize,
        column_stride: usize,
        scale: f32,
    ) {
        if let Some(bits) = self.bits() {
            assert_eq!(row_stride, 1, "columns of weights and of P are contiguous");
            self.fixed.pack(inner, columns, source, column_stride, scale, bits);
        } else if self.precision == Precision::Bf16 {
            let rounded: Vec<f32> = source.iter().map(|&x| nearest_bf16(x * scale)).collect();
            self.float.pack(inner, columns, &rounded, row_stride, column_stride, 1.0);
        } else {
            self.float.pack(inner, columns, source, row_stride, column_stride, scale);
        }
    }

    /// As [`matmul`], with rows of `inner` activations.
    #[allow(clippy::too_many_arguments, reason = "matmul's own arguments")]
    fn multiply(
        &self,
        isa: IsaLevel,
        rows: usize,
        inner: usize,
        left: &[f32],
        stride: usize,
        start: Start<'_>,
        out: &mut [f32],
        out_stride: usize,
        rounded: &mut Rounded,
    ) {
        if let Some(bits) = self.bits() {
            rounded.pairs.resize(rows * pairs(inner), 0);
            round_rows(isa, rows, inner, left, stride, amplitude(inner, bits), &mut rounded.pairs);
            matmul_fixed(isa, rows, &rounded.pairs, &self.fixed, start, out, out_stride);
        } else if self.precision == Precision::Bf16 {
            rounded.values.clear();
            for row in left.chunks(stride).take(rows) {
                rounded.values.extend(row[..inner].iter().map(|&x| nearest_bf16(x)));
            }
            matmul(isa, rows, &rounded.values, inner, &self.float, start, out, out_stride);
        } else {
            matmul(isa, rows, left, stride, &self.float, start, out, out_stride);
        }
    }
}

/// A network's weights, prepared for evaluation: scaled by `omega_0`, packed, digit tables evaluated.
#[derive(Clone, Debug)]
pub struct AngleSum {
    isa: IsaLevel,
    precision: Precision,
    config: NetworkConfig,
    layout: Layout,
    /// `omega_0 · W_0`, `[width, axes]`, and `omega_0 · b_0`, with the middle phases of level 1.
    first_weight: Vec<f64>,
    first_bias: Vec<f64>,
    /// `omega_0 · W_iᵀ` packed and `omega_0 · b_i`, with the middle phases of level i+1, for sine layers 1 to L-2
    /// (entry 0 is empty).
    layers: Vec<(Weights, Vec<f32>)>,
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
    rounded: Rounded,
}

impl AngleSum {
    /// Prepares weights (in the order of [`NetworkConfig::tensors`]) for evaluation.
    ///
    /// # Panics
    /// When `params` has not the length that the configuration needs.
    #[must_use]
    pub fn new(config: &NetworkConfig, params: &[f32], isa: IsaLevel, precision: Precision) -> Self {
        let mut plan = Self {
            isa,
            config: config.clone(),
            layout: config.layout(),
            first_weight: Vec::new(),
            first_bias: Vec::new(),
            precision,
            layers: vec![(Weights::new(precision), Vec::new()); config.n_sine_layers()],
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
        if let Some(middle) = modulation::middle_phases(config, layout, params, 1) {
            for (b, m) in self.first_bias.iter_mut().zip(middle) {
                *b += m;
            }
        }
        for i in 1..config.n_sine_layers() {
            let (packed, bias) = &mut self.layers[i];
            packed.pack(d, d, &params[layout.layer_weights[i].clone()], 1, d, omega_0);
            bias.clear();
            let values = &params[layout.layer_biases[i].clone()];
            if let Some(middle) = modulation::middle_phases(config, layout, params, i + 1) {
                let phases = values.iter().zip(middle).map(|(&b, m)| f64::from(b) * f64::from(omega_0) + m);
                bias.extend(phases.map(reduce));
            } else {
                bias.extend(values.iter().map(|b| b * omega_0));
            }
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

    /// The arithmetic of the matrix products.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
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
            let start = Start::Bias(bias);
            weight.multiply(self.isa, n, d, z, d, start, features, 2 * d, &mut activations.rounded);
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

/// Outputs of a block that share one column chunk of P, computed together: at most (unless one digit tuple has more).
const CHUNK_COLUMNS: usize = 512;

/// Some digit tuples of the last level whose outputs are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleChunk {
    /// Tuples whose rows of `Pᵀ` are stored.
    pub low: Range<usize>,
    /// Their mirror images, in ascending order; empty when outputs are not folded.
    pub high: Range<usize>,
    mirrored: bool,
}

impl TupleChunk {
    /// All chunks of a level of `n_tuples` tuples; `mirrored` folds the block about its middle.
    #[must_use]
    pub fn all(n_tuples: usize, channels: usize, mirrored: bool) -> Vec<Self> {
        let (stored, columns) =
            if mirrored { (n_tuples.div_ceil(2), CHUNK_COLUMNS / 2) } else { (n_tuples, CHUNK_COLUMNS) };
        let step = (columns / channels).max(1);
        (0..stored)
            .step_by(step)
            .map(|start| Self::new(start..stored.min(start + step), n_tuples, mirrored))
            .collect()
    }

    /// The chunk that holds one tuple's outputs and nothing it does not need.
    #[must_use]
    pub fn single(tuple: usize, n_tuples: usize, mirrored: bool) -> Self {
        let stored = if mirrored { tuple.min(n_tuples - 1 - tuple) } else { tuple };
        Self::new(stored..stored + 1, n_tuples, mirrored)
    }

    fn new(low: Range<usize>, n_tuples: usize, mirrored: bool) -> Self {
        // A tuple in the very middle of an odd number is its own mirror image and belongs to `low`.
        let high = if mirrored {
            let end = n_tuples - low.start;
            (n_tuples - low.end).max(n_tuples.div_ceil(2)).min(end)..end
        } else {
            low.end..low.end
        };
        Self { low, high, mirrored }
    }

    /// The products that this chunk's outputs consist of, as parts of a row of features and of `Pᵀ`: all of it, or
    /// the sines (even part) and the cosines (odd part).
    #[must_use]
    pub fn parts(&self, width: usize) -> Vec<Range<usize>> {
        if self.mirrored { vec![0..width, width..2 * width] } else { std::iter::once(0..2 * width).collect() }
    }

    /// Whether the outputs are folded about the middle of the block.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored
    }
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

/// Outputs of some cells for one chunk of digit tuples. Reuse it between calls.
#[derive(Clone, Debug, Default)]
pub struct BlockOutputs {
    /// Cells × (tuples of `low` · channels).
    pub low: Vec<f32>,
    /// Cells × (tuples of `high` · channels).
    pub high: Vec<f32>,
    /// Cells × (tuples of `low` · channels): the odd part, while it is needed.
    pub odd: Vec<f32>,
    rounded: Rounded,
}

/// A chunk's columns of P, packed for the product with features.
#[derive(Clone, Debug)]
pub struct PackedChunk {
    chunk: TupleChunk,
    width: usize,
    channels: usize,
    /// By [`TupleChunk::parts`].
    parts: Vec<Weights>,
}

impl PackedChunk {
    /// Makes room for a chunk's columns.
    #[must_use]
    pub fn new(chunk: TupleChunk, width: usize, channels: usize, precision: Precision) -> Self {
        let parts = vec![Weights::new(precision); chunk.parts(width).len()];
        Self { chunk, width, channels, parts }
    }

    /// The digit tuples.
    #[must_use]
    pub fn chunk(&self) -> &TupleChunk {
        &self.chunk
    }

    /// Columns of each product.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.chunk.low.len() * self.channels
    }

    /// Packs the chunk's rows of `Pᵀ` ([`output_rows`] of `low`).
    pub fn pack(&mut self, rows: &[f32]) {
        let columns = self.columns();
        for (part, packed) in self.chunk.parts(self.width).into_iter().zip(&mut self.parts) {
            packed.pack(part.len(), columns, &rows[part.start..], 1, 2 * self.width, 1.0);
        }
    }

    /// Outputs of `n` cells from their features; the products add to `start`.
    pub fn outputs(
        &self,
        isa: IsaLevel,
        n: usize,
        features: &[f32],
        start: Start<'_>,
        out: &mut BlockOutputs,
    ) {
        let (d, columns) = (self.width, self.columns());
        let BlockOutputs { low, high, odd, rounded } = out;
        let (n_low, n_high) = (self.chunk.low.len(), self.chunk.high.len());
        low.resize(n * columns, 0.0);
        high.resize(n * n_high * self.channels, 0.0);
        if let [even_part, odd_part] = &self.parts[..] {
            even_part.multiply(isa, n, d, features, 2 * d, start, low, columns, rounded);
            odd.resize(n * columns, 0.0);
            odd_part.multiply(isa, n, d, &features[d..], 2 * d, Start::Zero, odd, columns, rounded);
            join_mirrored(isa, n, self.channels, n_low, n_high, low, odd, high);
        } else {
            self.parts[0].multiply(isa, n, 2 * d, features, 2 * d, start, low, columns, rounded);
        }
    }
}

/// P for some digit tuples.
#[derive(Clone, Debug)]
pub struct OutputTable {
    chunks: Vec<PackedChunk>,
    /// `b_out` repeated for the largest chunk.
    bias: Vec<f32>,
}

impl OutputTable {
    /// Packs the columns of P for `chunks`, whose rows of `Pᵀ` are got chunk by chunk from `rows(tuples, buffer)`.
    pub fn new(
        width: usize,
        bias: &[f32],
        precision: Precision,
        chunks: Vec<TupleChunk>,
        mut rows: impl FnMut(Range<usize>, &mut Vec<f32>),
    ) -> Self {
        let most = chunks.iter().map(|c| c.low.len()).max().unwrap_or(0);
        let mut buffer = Vec::new();
        let pack = |chunk: TupleChunk| {
            rows(chunk.low.clone(), &mut buffer);
            let mut packed = PackedChunk::new(chunk, width, bias.len(), precision);
            packed.pack(&buffer);
            packed
        };
        Self { chunks: chunks.into_iter().map(pack).collect(), bias: bias.repeat(most) }
    }

    /// Number of chunks.
    #[must_use]
    pub fn n_chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Outputs of `n` cells for one chunk of digit tuples, which is returned.
    pub fn outputs(
        &self,
        isa: IsaLevel,
        chunk: usize,
        n: usize,
        features: &[f32],
        out: &mut BlockOutputs,
    ) -> &TupleChunk {
        let chunk = &self.chunks[chunk];
        chunk.outputs(isa, n, features, Start::Bias(&self.bias[..chunk.columns()]), out);
        chunk.chunk()
    }
}
