//! Levels of experts (Hao, Mallya, Belongie and Liu, `NeurIPS` 2022): one network whose layers choose their matrix by
//! position, from tiles that repeat over the signal, coarse ones in the first layers and fine ones in the last.
//!
//! ```text
//! tile of layer i on axis a:  floor(x_a · t_1 · … · t_i) mod t_i,   x in [0, 1), t_j = tiles of layer j on that axis
//! z_0 = γ(2x - 1)             [x, sin π x, cos π x, … sin 2^(F-1) π x, cos 2^(F-1) π x] per axis
//! z_i = rectifier(W_i[tile] z_{i-1} + b_i)          the bias is one for all tiles
//! y   = W z_L + b
//! ```
//!
//! Settings are those the ASMR paper compares with at ultra-low cost: width 24, F = 8, rectifiers of slope 0.2, tiles
//! that multiply to the extent, Adam at 1e-2 with cosine decay to 1e-5 over 10,000 full-batch steps. Initial matrices
//! are He's uniform ones, `U(±sqrt(6/fan_in))`, biases 0.
//!
//! Weights: layer after layer, the tiles' matrices (row-major over tiles) as `[out, in]`, then the bias; last the output
//! layer's matrix and bias.

use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, TransposeScratch, matmul, matmul_transposed};
use asmr_kernels::sharing::add_column_sums;
use serde::{Deserialize, Serialize};

use crate::axes::{AxisTables, encoding_sines};
use crate::draws::Draws;
use crate::field::{Field, FieldCost, FieldError, MAX_AXES, MAX_PARAMS, Shape, refuse, tiles_of, within};
use crate::fit::{Recipe, Schedule};
use crate::mlp::{Activation, through};

/// Samples evaluated together: some dozens for each of 64 matrices.
const ROWS: usize = 2048;

/// Settings of a network with position-dependent matrices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoeSettings {
    /// Tiles of each layer along each axis, `[layer][axis]`; an output layer without tiles follows.
    pub tiles: Vec<Vec<usize>>,
    /// Neurons of each layer.
    pub width: usize,
    /// F, at most 20.
    pub n_frequencies: usize,
    /// Slope of the rectifiers below zero.
    pub slope: f32,
}

impl Default for LoeSettings {
    /// Three layers for 512 × 512.
    fn default() -> Self {
        Self { tiles: vec![vec![8, 8]; 3], width: 24, n_frequencies: 8, slope: 0.2 }
    }
}

/// Tiles of three layers for a grid: 8, 8 and as many as reach the extent (8 for 512 samples, 12 for 768), so that no two samples
/// of an axis have all tiles in common; fewer where an axis is short, more where it is long.
#[must_use]
pub fn usual_tiles(extents: &[usize]) -> Vec<Vec<usize>> {
    let coarse: Vec<usize> = extents
        .iter()
        .map(|&extent| {
            let root = (1..=extent).take_while(|n| n.pow(3) <= extent).count();
            if extent <= 2048 { root.min(8) } else { root }
        })
        .collect();
    let last = extents.iter().zip(&coarse).map(|(extent, t)| extent.div_ceil(t * t)).collect();
    vec![coarse.clone(), coarse, last]
}

/// A network with position-dependent matrices.
pub struct Loe {
    shape: Shape,
    settings: LoeSettings,
    inputs: AxisTables,
    /// Per layer and axis, the tile of each index, times the tiles that one step along the axis skips.
    tile_of: Vec<Vec<Vec<u32>>>,
}

/// One matrix made ready.
#[derive(Clone, Default)]
struct Matrix {
    /// `Wᵀ`.
    forward: Packed,
    /// `W`.
    backward: Packed,
}

impl Matrix {
    fn load(&mut self, fan_in: usize, fan_out: usize, weights: &[f32]) {
        self.forward.pack(fan_in, fan_out, weights, 1, fan_in, 1.0);
        self.backward.pack(fan_out, fan_in, weights, fan_in, 1, 1.0);
    }
}

/// Weights made ready.
pub struct LoeModel {
    isa: IsaLevel,
    /// Per layer, its tiles' matrices; last the output layer's only one.
    matrices: Vec<Vec<Matrix>>,
    biases: Vec<Vec<f32>>,
}

/// A layer's rows, sorted by tile.
#[derive(Default)]
struct Sorted {
    /// Which of the tile of samples stands at each place.
    order: Vec<u32>,
    /// Where each sample stands.
    place: Vec<u32>,
    /// Where each tile's rows end.
    ends: Vec<usize>,
    /// What goes in and what comes out, in that order.
    inputs: Vec<f32>,
    features: Vec<f32>,
}

/// Buffers of one tile of samples.
#[derive(Default)]
pub struct LoeScratch {
    inputs: Vec<f32>,
    layers: Vec<Sorted>,
    outputs: Vec<f32>,
    back: Vec<f32>,
    next: Vec<f32>,
    transpose: TransposeScratch,
}

impl Loe {
    /// A network of these settings.
    ///
    /// # Errors
    /// [`FieldError::Setting`] names the one out of range.
    pub fn new(shape: Shape, settings: LoeSettings) -> Result<Self, FieldError> {
        shape.validate(MAX_AXES)?;
        within("the number of layers with tiles", settings.tiles.len(), 1..=32, "1 to 32")?;
        for tiles in &settings.tiles {
            let n_tiles = tiles.iter().try_fold(1usize, |n, &t| n.checked_mul(t)).unwrap_or(0);
            if tiles.len() != shape.n_axes() || !(1..=1 << 16).contains(&n_tiles) {
                return Err(refuse(
                    "a layer's tiles",
                    tiles,
                    "one number for each axis, at most 65536 tiles,",
                ));
            }
        }
        for (axis, &extent) in shape.extents.iter().enumerate() {
            let n = settings.tiles.iter().try_fold(1usize, |n, tiles| n.checked_mul(tiles[axis]));
            if n.is_none_or(|n| n.checked_mul(extent).is_none()) {
                return Err(refuse("the number of tiles along an axis", n, "less than 2^64 over the extent"));
            }
        }
        within("the width", settings.width, 1..=1 << 12, "1 to 4096")?;
        within("the number of frequencies", settings.n_frequencies, 0..=20, "0 to 20")?;
        Activation::Rectifier { slope: settings.slope }.validate()?;
        let inputs = AxisTables::encoded(&shape, settings.n_frequencies, |index, extent| {
            2.0 * index as f64 / extent as f64 - 1.0
        });
        let mut finer = vec![1; shape.n_axes()];
        let tile_of = settings
            .tiles
            .iter()
            .map(|tiles| {
                let axis = |axis: usize| {
                    finer[axis] *= tiles[axis];
                    let (n, extent) = (finer[axis], shape.extents[axis]);
                    let skipped: usize = tiles[axis + 1..].iter().product();
                    (0..extent).map(|index| (index * n / extent % tiles[axis] * skipped) as u32).collect()
                };
                (0..shape.n_axes()).map(axis).collect()
            })
            .collect();
        let loe = Self { shape, settings, inputs, tile_of };
        within("the number of weights", loe.n_params(), 1..=MAX_PARAMS, "at most 268435456")?;
        Ok(loe)
    }

    /// Layers, the output layer included.
    fn n_layers(&self) -> usize {
        self.settings.tiles.len() + 1
    }

    fn n_tiles(&self, layer: usize) -> usize {
        self.settings.tiles.get(layer).map_or(1, |tiles| tiles.iter().product())
    }

    fn fans(&self, layer: usize) -> (usize, usize) {
        let fan_in = if layer == 0 { self.inputs.n_values() } else { self.settings.width };
        (fan_in, if layer + 1 == self.n_layers() { self.shape.channels } else { self.settings.width })
    }

    fn offset(&self, layer: usize) -> usize {
        (0..layer)
            .map(|l| {
                let (fan_in, fan_out) = self.fans(l);
                self.n_tiles(l) * fan_in * fan_out + fan_out
            })
            .sum()
    }

    /// Sorts a layer's rows by tile, keeping their order within one.
    fn sort(&self, layer: usize, samples: &[u32], sorted: &mut Sorted) {
        let tile_of = &self.tile_of[layer];
        let tile = |sample: u32| -> usize {
            let indices = self.shape.indices(sample);
            tile_of.iter().zip(indices).map(|(axis, index)| axis[index] as usize).sum()
        };
        sorted.ends.clear();
        sorted.ends.resize(self.n_tiles(layer), 0);
        sorted.place.clear();
        sorted.place.extend(samples.iter().map(|&sample| tile(sample) as u32));
        for &tile in &sorted.place {
            sorted.ends[tile as usize] += 1;
        }
        let mut end = 0;
        for count in &mut sorted.ends {
            end += std::mem::replace(count, end);
        }
        sorted.order.resize(samples.len(), 0);
        for (row, place) in sorted.place.iter_mut().enumerate() {
            let next = &mut sorted.ends[*place as usize];
            *place = *next as u32;
            sorted.order[*next] = row as u32;
            *next += 1;
        }
    }
}

/// Tiles that have rows: number, first row and past the last.
fn occupied(ends: &[usize]) -> impl Iterator<Item = (usize, usize, usize)> {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    begins.zip(ends).enumerate().map(|(tile, (begin, &end))| (tile, begin, end)).filter(|&(_, b, e)| b < e)
}

/// Rows of `from` at these places, one after the other; replaces `to`.
fn gather(from: &[f32], width: usize, places: impl Iterator<Item = usize>, to: &mut Vec<f32>) {
    to.clear();
    for place in places {
        to.extend_from_slice(&from[place * width..][..width]);
    }
}

impl Field for Loe {
    type Model = LoeModel;
    type Scratch = LoeScratch;

    fn name(&self) -> &'static str {
        "loe"
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn n_params(&self) -> usize {
        self.offset(self.n_layers())
    }

    fn init(&self, seed: u64) -> Vec<f32> {
        let (mut draws, mut params) = (Draws::new(seed), Vec::with_capacity(self.n_params()));
        for layer in 0..self.n_layers() {
            let (fan_in, fan_out) = self.fans(layer);
            let bound = (6.0 / fan_in as f64).sqrt();
            params.extend((0..self.n_tiles(layer) * fan_in * fan_out).map(|_| draws.uniform(bound)));
            params.resize(params.len() + fan_out, 0.0);
        }
        params
    }

    fn cost(&self) -> FieldCost {
        let layers = (0..self.n_layers()).map(|l| self.fans(l));
        let mac: usize = layers.clone().map(|(fan_in, fan_out)| fan_in * fan_out).sum();
        let biases: usize = layers.map(|(_, fan_out)| fan_out).sum();
        FieldCost {
            n_params: self.n_params(),
            mac_paper: (mac + biases) as f64,
            mac_exec: mac as f64,
            sin_exec: encoding_sines(&self.shape, self.settings.n_frequencies),
            exp_exec: 0.0,
            table_reads: 0.0,
        }
    }

    fn recipe(&self) -> Recipe {
        Recipe::adam(1e-2, Schedule::Cosine { last: 1e-3 }, 10_000)
    }

    fn model(&self, isa: IsaLevel) -> LoeModel {
        let layers = 0..self.n_layers();
        LoeModel {
            isa,
            matrices: layers.map(|l| vec![Matrix::default(); self.n_tiles(l)]).collect(),
            biases: vec![Vec::new(); self.n_layers()],
        }
    }

    fn load(&self, model: &mut LoeModel, params: &[f32]) {
        for layer in 0..self.n_layers() {
            let (fan_in, fan_out) = self.fans(layer);
            let (weights, rest) =
                params[self.offset(layer)..].split_at(self.n_tiles(layer) * fan_in * fan_out);
            for (matrix, weights) in
                model.matrices[layer].iter_mut().zip(weights.chunks_exact(fan_in * fan_out))
            {
                matrix.load(fan_in, fan_out, weights);
            }
            model.biases[layer] = rest[..fan_out].to_vec();
        }
    }

    fn arrange(&self, samples: &mut [u32], ends: &mut Vec<usize>) {
        tiles_of(ROWS, samples.len(), ends);
    }

    fn forward(
        &self,
        model: &LoeModel,
        _params: &[f32],
        samples: &[u32],
        scratch: &mut LoeScratch,
        outputs: &mut [f32],
    ) {
        let (rows, width, slope) = (samples.len(), self.settings.width, self.settings.slope);
        let LoeScratch { inputs, layers, outputs: sorted_outputs, .. } = scratch;
        self.inputs.fill(&self.shape, samples, inputs);
        layers.resize_with(self.n_layers() - 1, Sorted::default);
        for layer in 0..self.n_layers() - 1 {
            let (before, after) = layers.split_at_mut(layer);
            let sorted = &mut after[0];
            self.sort(layer, samples, sorted);
            let (fan_in, _) = self.fans(layer);
            let order = sorted.order.iter().map(|&row| row as usize);
            match before.last() {
                None => gather(inputs, fan_in, order, &mut sorted.inputs),
                Some(before) => {
                    let places = order.map(|row| before.place[row] as usize);
                    gather(&before.features, fan_in, places, &mut sorted.inputs);
                }
            }
            sorted.features.resize(rows * width, 0.0);
            for (tile, begin, end) in occupied(&sorted.ends) {
                let left = &sorted.inputs[begin * fan_in..];
                let out = &mut sorted.features[begin * width..];
                let (right, bias) = (&model.matrices[layer][tile].forward, Start::Bias(&model.biases[layer]));
                matmul(model.isa, end - begin, left, fan_in, right, bias, out, width);
            }
            for z in &mut sorted.features {
                *z = z.max(slope * *z);
            }
        }
        let (last, channels) = (self.n_layers() - 1, self.shape.channels);
        let sorted = &layers[last - 1];
        sorted_outputs.resize(rows * channels, 0.0);
        let (right, bias) = (&model.matrices[last][0].forward, Start::Bias(&model.biases[last]));
        matmul(model.isa, rows, &sorted.features, width, right, bias, sorted_outputs, channels);
        for (out, &place) in outputs.chunks_exact_mut(channels).zip(&sorted.place) {
            out.copy_from_slice(&sorted_outputs[place as usize * channels..][..channels]);
        }
    }

    fn backward(
        &self,
        model: &LoeModel,
        samples: &[u32],
        scratch: &mut LoeScratch,
        outputs: &mut [f32],
        gradient: &mut [f32],
        _deferred: &mut [f32],
    ) {
        let (rows, width, channels) = (samples.len(), self.settings.width, self.shape.channels);
        let (isa, last) = (model.isa, self.n_layers() - 1);
        let LoeScratch { layers, outputs: sorted_outputs, back, next, transpose, .. } = scratch;

        let sorted = &layers[last - 1];
        gather(outputs, channels, sorted.order.iter().map(|&row| row as usize), sorted_outputs);
        let (weights, bias) = gradient[self.offset(last)..].split_at_mut(channels * width);
        matmul_transposed(
            isa,
            rows,
            sorted_outputs,
            channels,
            channels,
            &sorted.features,
            width,
            width,
            weights,
            transpose,
        );
        add_column_sums(isa, sorted_outputs, bias);
        back.resize(rows * width, 0.0);
        let right = &model.matrices[last][0].backward;
        matmul(isa, rows, sorted_outputs, channels, right, Start::Zero, back, width);

        for layer in (0..last).rev() {
            let (before, after) = layers.split_at(layer);
            let (sorted, (fan_in, _)) = (&after[0], self.fans(layer));
            through(Activation::Rectifier { slope: self.settings.slope }, &sorted.features, back);
            let n_weights = fan_in * width;
            let (weights, rest) =
                gradient[self.offset(layer)..].split_at_mut(self.n_tiles(layer) * n_weights);
            add_column_sums(isa, back, &mut rest[..width]);
            next.resize(rows * fan_in, 0.0);
            for (tile, begin, end) in occupied(&sorted.ends) {
                let (n, back) = (end - begin, &back[begin * width..]);
                let weights = &mut weights[tile * n_weights..][..n_weights];
                let left = &sorted.inputs[begin * fan_in..];
                matmul_transposed(isa, n, back, width, width, left, fan_in, fan_in, weights, transpose);
                if layer > 0 {
                    let right = &model.matrices[layer][tile].backward;
                    matmul(isa, n, back, width, right, Start::Zero, &mut next[begin * fan_in..], fan_in);
                }
            }
            if let Some(before) = before.last() {
                let places = before.order.iter().map(|&row| sorted.place[row as usize] as usize);
                gather(next, fan_in, places, back);
            }
        }
    }
}
