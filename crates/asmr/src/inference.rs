//! Decoding: whole signals, regions, thumbnails and lists of samples, by the angle-sum plan.
//!
//! | want | call |
//! |---|---|
//! | all samples, or a box of them | [`Decoder::decode`] with a [`Request`] |
//! | a box-filtered small version | [`Decoder::decode`] with [`Request::thumbnail`] |
//! | a few samples anywhere | [`Decoder::decode_samples`] |
//! | the definition, slow | [`crate::reference::evaluate`] |
//!
//! The first and the third give the same bits for the same sample at one ISA level, whatever the region, the tiling and the
//! number of threads: each output is one chain of multiply-adds in a fixed order. With the `threads` feature work is
//! spread over the current rayon pool.

use std::borrow::Cow;
use std::ops::Range;

use asmr_kernels::IsaLevel;
use thiserror::Error;

pub use crate::anglesum::Precision;
use crate::anglesum::{
    Activations, AngleSum, BlockOutputs, OutputTable, TupleChunk, output_rows, tile_cells,
};
use crate::modulation::is_mirrored;
use crate::network::Network;
use crate::partition::{Partition, PerAxis};
use crate::signal::MAX_AXES;
use crate::walk::{Region, Task, Tile, Walk, depth_first_key, fill_from_leaves};

/// Above this size (in values) P is built chunk by chunk inside each tile instead of once.
const WHOLE_TABLE_VALUES: u64 = 4 << 20;

/// The most runs of a part of a request ([`n_runs`]), which parts are decoded one after the other: a task's list of cells and the
/// places that it writes to need 16 to 200 bytes a run.
const MAX_RUNS: u128 = 1 << 18;

/// A type that decoded values can be stored in.
pub trait Value: Copy + Default + Send {
    /// From the network's value: \[0, 1\] is the type's whole range; floats are kept unclamped.
    fn from_network(value: f32) -> Self;
}

impl Value for f32 {
    #[inline]
    fn from_network(value: f32) -> Self {
        value
    }
}

impl Value for u8 {
    #[inline]
    fn from_network(value: f32) -> Self {
        nearest(value, 255.0) as Self
    }
}

impl Value for u16 {
    #[inline]
    fn from_network(value: f32) -> Self {
        nearest(value, 65535.0) as Self
    }
}

/// `value`, clamped to \[0, 1\] (NaN counts as 0), times `scale`, a whole number, rounded to the nearest integer (halves to even): as
/// [`SignalInfo::restored`](crate::signal::SignalInfo::restored) rounds. In double precision the product is exact.
#[allow(clippy::manual_clamp, reason = "clamp keeps NaN")]
#[inline]
fn nearest(value: f32, scale: f64) -> u32 {
    // Adding 2^52 rounds to an integer and leaves it in the low bits of the mantissa; unlike a cast it vectorises.
    const MAGIC: f64 = 4_503_599_627_370_496.0;
    (f64::from(value.max(0.0).min(1.0)) * scale + MAGIC).to_bits() as u32
}

/// What to decode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Samples wanted (in full resolution, without padding).
    pub region: Region,
    /// 1, or the factor of a thumbnail: each output is the mean of a box of `thumbnail` samples per axis.
    pub thumbnail: usize,
}

/// Why a request cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A range that is empty or leaves the signal.
    #[error("range {start}..{end} on axis {axis}; it must be non-empty and within 0..{extent}")]
    Range {
        /// Which axis, slowest is 0.
        axis: usize,
        /// First sample.
        start: u64,
        /// One past the last.
        end: u64,
        /// The axis' extent.
        extent: usize,
    },
    /// A thumbnail factor that does not tile the last block.
    #[error(
        "thumbnail factor {factor} does not divide the last bases; exact factors of this network are {}",
        list(valid)
    )]
    Thumbnail {
        /// The refused factor.
        factor: usize,
        /// Factors that work.
        valid: Vec<usize>,
    },
    /// A thumbnail of a region that cuts through a box.
    #[error(
        "range {start}..{end} on axis {axis} cuts through the thumbnail's boxes; use multiples of {factor}"
    )]
    Misaligned {
        /// Which axis.
        axis: usize,
        /// First sample.
        start: u64,
        /// One past the last.
        end: u64,
        /// The thumbnail's factor.
        factor: usize,
    },
    /// An output slice of the wrong length.
    #[error("the output has room for {actual} values; this request gives {expected}")]
    OutputLength {
        /// Values the request gives.
        expected: u128,
        /// Values there is room for.
        actual: usize,
    },
    /// A sample outside the signal.
    #[error("sample {index} of the list is at {position:?}, outside extents {extents:?}")]
    Sample {
        /// Which entry of the list.
        index: usize,
        /// Its position.
        position: Vec<u64>,
        /// The signal's extents.
        extents: Vec<usize>,
    },
}

fn list(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// Factors by which an exact thumbnail can be made: those that divide the last base of every axis longer than one
/// sample.
#[must_use]
pub fn thumbnail_factors(partition: &Partition) -> Vec<usize> {
    let last = partition.n_levels() - 1;
    let largest = (0..partition.n_axes()).map(|a| partition.base(a, last)).max().unwrap_or(1);
    (1..=largest).filter(|&f| axis_factors(partition, f).is_some()).collect()
}

/// The factor per axis: `factor`, except 1 along an axis of a single sample, whose mean is itself.
fn axis_factors(partition: &Partition, factor: usize) -> Option<PerAxis> {
    let last = partition.n_levels() - 1;
    let mut factors = [1; MAX_AXES];
    for (axis, &extent) in partition.extents().iter().enumerate() {
        if extent > 1 {
            if factor == 0 || !partition.base(axis, last).is_multiple_of(factor) {
                return None;
            }
            factors[axis] = factor as u64;
        }
    }
    factors.contains(&(factor as u64)).then_some(factors)
}

impl Request {
    /// Everything, at full resolution.
    #[must_use]
    pub fn whole(partition: &Partition) -> Self {
        Self { region: Region::whole(partition.extents()), thumbnail: 1 }
    }

    /// Extents of the output, or why there is none.
    ///
    /// # Errors
    /// [`RequestError`] for a range or a factor that the network cannot serve.
    pub fn output_extents(&self, partition: &Partition) -> Result<Vec<usize>, RequestError> {
        self.output_extents_of(partition, partition.extents())
    }

    /// [`Self::output_extents`] of a signal of these extents, of which the partition is that of a chunk.
    ///
    /// # Errors
    /// As [`Self::output_extents`].
    pub fn output_extents_of(
        &self,
        partition: &Partition,
        extents: &[usize],
    ) -> Result<Vec<usize>, RequestError> {
        let factors = axis_factors(partition, self.thumbnail).ok_or_else(|| RequestError::Thumbnail {
            factor: self.thumbnail,
            valid: thumbnail_factors(partition),
        })?;
        (0..partition.n_axes())
            .map(|axis| {
                let (start, end, extent) = (self.region.start[axis], self.region.end[axis], extents[axis]);
                if start >= end || end > extent as u64 {
                    return Err(RequestError::Range { axis, start, end, extent });
                }
                let f = factors[axis];
                if start % f != 0 || (end % f != 0 && end != extent as u64) {
                    return Err(RequestError::Misaligned { axis, start, end, factor: self.thumbnail });
                }
                Ok((end.div_ceil(f) - start / f) as usize)
            })
            .collect()
    }
}

/// A network made ready to decode. Making one costs about as much as a few hundred samples; keep it.
#[derive(Clone, Debug)]
pub struct Decoder {
    plan: AngleSum,
    output_weight: Vec<f32>,
    output_bias: Vec<f32>,
    /// P for full resolution, unless it is too large to keep.
    table: Option<OutputTable>,
}

impl Decoder {
    /// Prepares a network for this machine.
    #[must_use]
    pub fn new(network: &Network) -> Self {
        Self::with(network, IsaLevel::detect(), Precision::F32)
    }

    /// Prepares a network for a given instruction-set level, in single precision.
    #[must_use]
    pub fn with_isa(network: &Network, isa: IsaLevel) -> Self {
        Self::with(network, isa, Precision::F32)
    }

    /// Prepares a network for this machine and a given arithmetic.
    #[must_use]
    pub fn with_precision(network: &Network, precision: Precision) -> Self {
        Self::with(network, IsaLevel::detect(), precision)
    }

    /// Prepares a network for a given instruction-set level and arithmetic.
    #[must_use]
    pub fn with(network: &Network, isa: IsaLevel, precision: Precision) -> Self {
        let plan = AngleSum::new(network.config(), network.params(), isa, precision);
        let output_weight = network.params()[plan.layout().output_weight.clone()].to_vec();
        let output_bias = network.params()[plan.layout().output_bias.clone()].to_vec();
        let mut decoder = Self { plan, output_weight, output_bias, table: None };
        let chunks = decoder.chunks();
        if decoder.is_small(&chunks) {
            decoder.table = Some(decoder.output_table(chunks));
        }
        decoder
    }

    /// Whether P of these chunks is small enough to be kept.
    fn is_small(&self, chunks: &[TupleChunk]) -> bool {
        // In 64 bits: an enormous table may have more values than there are addresses.
        let stored: u64 = chunks.iter().map(|chunk| chunk.low.len() as u64).sum();
        stored * self.output_weight.len() as u64 * 2 <= WHOLE_TABLE_VALUES
    }

    fn partition(&self) -> &Partition {
        &self.plan.config().partition
    }

    fn last_tuples(&self) -> usize {
        self.partition().n_tuples(self.partition().n_levels() - 1)
    }

    fn is_mirrored(&self) -> bool {
        is_mirrored(self.plan.config().modulator)
    }

    /// All outputs of a block, in the chunks in which they are computed.
    fn chunks(&self) -> Vec<TupleChunk> {
        TupleChunk::all(self.last_tuples(), self.plan.config().channels, self.is_mirrored())
    }

    /// P for some chunks of digit tuples.
    fn output_table(&self, chunks: Vec<TupleChunk>) -> OutputTable {
        let (width, precision) = (self.plan.config().width, self.plan.precision());
        OutputTable::new(width, &self.output_bias, precision, chunks, |tuples, out| {
            output_rows(&self.plan, &self.output_weight, tuples, out);
        })
    }

    /// Decodes a request into `out`: row-major over the request's output extents, channel last.
    ///
    /// # Errors
    /// [`RequestError`] when the request does not fit the network, or `out` the request.
    pub fn decode<T: Value>(&self, request: &Request, out: &mut [T]) -> Result<(), RequestError> {
        let partition = self.partition();
        let extents = request.output_extents(partition)?;
        let channels = self.plan.config().channels;
        let expected = extents.iter().map(|&e| e as u128).product::<u128>() * channels as u128;
        if expected != out.len() as u128 {
            return Err(RequestError::OutputLength { expected, actual: out.len() });
        }
        let factors = axis_factors(partition, request.thumbnail).unwrap_or([1; MAX_AXES]);
        let block = Block::new(self, factors, request.thumbnail > 1);
        let mut parts = vec![request.region];
        while let Some(part) = parts.pop() {
            let walk = Walk::new(partition, part, tile_cells(self.plan.config().width));
            if n_runs(partition, walk.node_level(), &part, &factors) > MAX_RUNS
                && let Some(halves) = part.halves(partition)
            {
                parts.extend(halves);
                continue;
            }
            let (box_level, tasks) = walk.tasks(4 * crate::parallel::n_threads());
            let whole = &request.region;
            let mut boxes = OutputBoxes::new(partition, box_level, &part, whole, &factors, channels, out);
            let work: Vec<_> = tasks.into_iter().map(|task| (boxes.take(&task), task)).collect();
            crate::parallel::for_each(work, Scratch::default, |scratch, (mut outputs, task)| {
                for nodes in task.tiles() {
                    walk.fill(nodes, &mut scratch.tile);
                    self.plan.forward(&scratch.tile, &mut scratch.activations);
                    block.write(self, scratch, &mut outputs);
                }
            });
        }
        Ok(())
    }

    /// Decodes single samples: `out` becomes `positions.len() × channels`, in the order of the list.
    ///
    /// # Errors
    /// [`RequestError`] when a position lies outside the signal or `out` has the wrong length.
    pub fn decode_samples(&self, positions: &[PerAxis], out: &mut [f32]) -> Result<(), RequestError> {
        let partition = self.partition();
        let channels = self.plan.config().channels;
        let n_axes = partition.n_axes();
        if out.len() != positions.len() * channels {
            let expected = positions.len() as u128 * channels as u128;
            return Err(RequestError::OutputLength { expected, actual: out.len() });
        }
        for (index, position) in positions.iter().enumerate() {
            if (0..n_axes).any(|a| position[a] >= partition.extents()[a] as u64) {
                return Err(RequestError::Sample {
                    index,
                    position: position[..n_axes].to_vec(),
                    extents: partition.extents().to_vec(),
                });
            }
        }
        // Neighbours in depth-first order share ancestors, and samples of one block share everything.
        let mut order: Vec<usize> = (0..positions.len()).collect();
        order.sort_by_cached_key(|&i| depth_first_key(partition, &positions[i]));
        let last = partition.n_levels() - 1;
        let chunks: Vec<&[usize]> = order.chunks(tile_cells(self.plan.config().width)).collect();
        let results = crate::parallel::map(chunks, Scratch::default, |scratch, chunk: &[usize]| {
            let mut leaves: Vec<PerAxis> = Vec::with_capacity(chunk.len());
            let mut rows = Vec::with_capacity(chunk.len());
            for &i in chunk {
                let leaf = partition.cell_origin(last - 1, &positions[i]);
                if leaves.last() != Some(&leaf) {
                    leaves.push(leaf);
                }
                rows.push(leaves.len() - 1);
            }
            fill_from_leaves(partition, &leaves, &mut scratch.tile);
            self.plan.forward(&scratch.tile, &mut scratch.activations);
            let features = &scratch.activations.features[last - 1];
            let mut values = vec![0.0; chunk.len() * channels];
            // One product per block that has samples, so that a sample has the same bits as in a full decode.
            let mut at = 0;
            while at < chunk.len() {
                let row = rows[at];
                let next = at + rows[at..].iter().take_while(|&&r| r == row).count();
                let features =
                    &features[row * 2 * self.plan.config().width..][..2 * self.plan.config().width];
                for s in at..next {
                    let tuple = partition.tuple_at(last, &positions[chunk[s]]);
                    let outputs = self.outputs_of(features, tuple, &mut scratch.outputs);
                    values[s * channels..][..channels].copy_from_slice(outputs);
                }
                at = next;
            }
            values
        });
        for (chunk, values) in order.chunks(tile_cells(self.plan.config().width)).zip(results) {
            for (&i, value) in chunk.iter().zip(values.chunks_exact(channels)) {
                out[i * channels..][..channels].copy_from_slice(value);
            }
        }
        Ok(())
    }

    /// One sample's outputs from its cell's features, with the bits of a full decode.
    fn outputs_of<'o>(&self, features: &[f32], tuple: usize, out: &'o mut BlockOutputs) -> &'o [f32] {
        let chunk = TupleChunk::single(tuple, self.last_tuples(), self.is_mirrored());
        let is_low = chunk.low.contains(&tuple);
        self.output_table(vec![chunk]).outputs(self.plan.isa(), 0, 1, features, out);
        if is_low { &out.low } else { &out.high }
    }

    /// All boxes of a block of a thumbnail, in the chunks in which they are computed.
    fn thumbnail_chunks(&self, factors: &PerAxis) -> Vec<TupleChunk> {
        let n_boxes = self.boxes(factors).iter().product::<u64>();
        TupleChunk::all(n_boxes as usize, self.plan.config().channels, false)
    }

    /// Boxes of a block along each axis.
    fn boxes(&self, factors: &PerAxis) -> PerAxis {
        let (partition, mut boxes) = (self.partition(), [1; MAX_AXES]);
        for axis in 0..partition.n_axes() {
            boxes[axis] = partition.base(axis, partition.n_levels() - 1) as u64 / factors[axis];
        }
        boxes
    }

    /// P averaged over some boxes of a thumbnail: columns (box of the block, channel).
    fn thumbnail_table(&self, factors: &PerAxis, chunks: Vec<TupleChunk>) -> OutputTable {
        let (partition, boxes) = (self.partition(), self.boxes(factors));
        let (width, n_axes) = (self.plan.config().width, partition.n_axes());
        let last = partition.n_levels() - 1;
        let size: Vec<usize> = factors[..n_axes].iter().map(|&factor| factor as usize).collect();
        let per_box = size.iter().product::<usize>() as f64;
        let (mut row, mut sums) = (Vec::new(), Vec::new());
        OutputTable::new(width, &self.output_bias, self.plan.precision(), chunks, |range, out| {
            out.clear();
            for index in range {
                let mut start = [0; MAX_AXES];
                let mut rest = index as u64;
                for axis in (0..n_axes).rev() {
                    start[axis] = rest % boxes[axis] * factors[axis];
                    rest /= boxes[axis];
                }
                sums.clear();
                sums.resize(self.output_weight.len() * 2, 0.0f64);
                for offset in crate::reference::positions(&size) {
                    let tuple = (0..n_axes).fold(0, |tuple, axis| {
                        tuple * partition.base(axis, last) + (start[axis] + offset[axis]) as usize
                    });
                    output_rows(&self.plan, &self.output_weight, tuple..tuple + 1, &mut row);
                    sums.iter_mut().zip(&row).for_each(|(sum, &x)| *sum += f64::from(x));
                }
                out.extend(sums.iter().map(|sum| (sum / per_box) as f32));
            }
        })
    }
}

/// Buffers of one thread.
#[derive(Default)]
struct Scratch {
    tile: Tile,
    activations: Activations,
    outputs: BlockOutputs,
}

/// How a block's outputs are laid out and where they go.
struct Block<'a> {
    partition: &'a Partition,
    channels: usize,
    /// Samples per output along each axis (1 unless a thumbnail).
    factors: PerAxis,
    /// Outputs per block along each axis.
    shape: PerAxis,
    /// P, unless it is too large to keep.
    table: Option<Cow<'a, OutputTable>>,
    is_thumbnail: bool,
}

impl<'a> Block<'a> {
    fn new(decoder: &'a Decoder, factors: PerAxis, is_thumbnail: bool) -> Self {
        let table = if is_thumbnail {
            let chunks = decoder.thumbnail_chunks(&factors);
            decoder.is_small(&chunks).then(|| Cow::Owned(decoder.thumbnail_table(&factors, chunks)))
        } else {
            decoder.table.as_ref().map(Cow::Borrowed)
        };
        Self {
            partition: decoder.partition(),
            channels: decoder.plan.config().channels,
            factors,
            shape: decoder.boxes(&factors),
            table,
            is_thumbnail,
        }
    }

    /// Writes all outputs of the tile's blocks.
    fn write<T: Value>(&self, decoder: &Decoder, scratch: &mut Scratch, outputs: &mut TaskOutputs<'_, T>) {
        let leaves = scratch.tile.leaves();
        let features = &scratch.activations.features[scratch.tile.levels.len() - 1];
        let isa = decoder.plan.isa();
        let mut product = |table: &OutputTable, i: usize| {
            let chunk = table.outputs(isa, i, leaves.len(), features, &mut scratch.outputs);
            self.scatter(leaves, &scratch.outputs.low, &chunk.low, outputs);
            self.scatter(leaves, &scratch.outputs.high, &chunk.high, outputs);
        };
        if let Some(table) = &self.table {
            for i in 0..table.n_chunks() {
                product(table, i);
            }
        } else if self.is_thumbnail {
            for chunk in decoder.thumbnail_chunks(&self.factors) {
                product(&decoder.thumbnail_table(&self.factors, vec![chunk]), 0);
            }
        } else {
            for chunk in decoder.chunks() {
                product(&decoder.output_table(vec![chunk]), 0);
            }
        }
        if self.is_thumbnail {
            self.mend_padded_boxes(decoder, leaves, features, outputs);
        }
    }

    /// Copies `values` (cells × tuples × channels) to their places.
    fn scatter<T: Value>(
        &self,
        leaves: &[PerAxis],
        values: &[f32],
        tuples: &Range<usize>,
        outputs: &mut TaskOutputs<'_, T>,
    ) {
        if tuples.is_empty() {
            return;
        }
        for (leaf, values) in leaves.iter().zip(values.chunks_exact(tuples.len() * self.channels)) {
            outputs.write_block(leaf, &self.shape, tuples.start, values);
        }
    }

    /// Boxes of a thumbnail that reach into the padding: the mean over their real samples only.
    fn mend_padded_boxes<T: Value>(
        &self,
        decoder: &Decoder,
        leaves: &[PerAxis],
        features: &[f32],
        outputs: &mut TaskOutputs<'_, T>,
    ) {
        let (p, d) = (self.partition, decoder.plan.config().width);
        let (last, n_axes) = (p.n_levels() - 1, p.n_axes());
        let n_boxes: u64 = self.shape.iter().product();
        let mut row = Vec::new();
        for (leaf, features) in leaves.iter().zip(features.chunks_exact(2 * d)) {
            let inside = (0..n_axes).all(|a| leaf[a] + p.base(a, last) as u64 <= p.extents()[a] as u64);
            if inside {
                continue;
            }
            for index in 0..n_boxes {
                let mut start = [0; MAX_AXES];
                let mut size = [1; MAX_AXES];
                let mut rest = index;
                for a in (0..n_axes).rev() {
                    start[a] = leaf[a] + rest % self.shape[a] * self.factors[a];
                    rest /= self.shape[a];
                    size[a] = self.factors[a].min((p.extents()[a] as u64).saturating_sub(start[a]));
                }
                let n: u64 = size.iter().product();
                if n == 0 || (0..n_axes).all(|a| size[a] == self.factors[a]) {
                    continue;
                }
                let mut sums = vec![0.0f64; self.channels];
                let size_list: Vec<usize> = size[..n_axes].iter().map(|&s| s as usize).collect();
                for offset in crate::reference::positions(&size_list) {
                    let mut position = start;
                    for a in 0..n_axes {
                        position[a] += offset[a];
                    }
                    let tuple = p.tuple_at(last, &position);
                    output_rows(&decoder.plan, &decoder.output_weight, tuple..tuple + 1, &mut row);
                    for (sum, row) in sums.iter_mut().zip(row.chunks_exact(2 * d)) {
                        *sum += row.iter().zip(features).map(|(p, f)| f64::from(p * f)).sum::<f64>();
                    }
                }
                let mean: Vec<f32> = sums
                    .iter()
                    .zip(&decoder.output_bias)
                    .map(|(s, &b)| (s / n as f64 + f64::from(b)) as f32)
                    .collect();
                outputs.write_block(leaf, &self.shape, index as usize, &mean);
            }
        }
    }
}

/// Pieces into which cells of a level cut the rows (along the last axis) of a region's outputs: at least one for each cell.
fn n_runs(partition: &Partition, level: usize, region: &Region, factors: &PerAxis) -> u128 {
    let last = partition.n_axes() - 1;
    let length =
        |axis: usize, step: u64| u128::from(region.end[axis].div_ceil(step) - region.start[axis] / step);
    let rows = (0..last).map(|axis| length(axis, factors[axis])).product::<u128>();
    rows * length(last, partition.stride(last, level))
}

/// An output array cut into the boxes that tasks own, so that threads write side by side without locks: each box is
/// its runs along the last axis, as disjoint slices.
struct OutputBoxes<'o, T> {
    partition: Partition,
    level: usize,
    /// First box per axis, and boxes per axis.
    first: PerAxis,
    counts: PerAxis,
    geometry: Geometry,
    boxes: Vec<Vec<&'o mut [T]>>,
}

/// Numbers that place an output position inside its box.
#[derive(Clone, Copy)]
struct Geometry {
    n_axes: usize,
    channels: usize,
    /// The part of the output that is written: start and end per axis, in outputs.
    start: PerAxis,
    end: PerAxis,
    /// Outputs per task box along each axis.
    step: PerAxis,
    /// Samples per task box along each axis.
    stride: PerAxis,
    /// Samples per output along each axis.
    factors: PerAxis,
}

impl<'o, T> OutputBoxes<'o, T> {
    /// Of a part of the region that `out` is decoded for.
    fn new(
        partition: &Partition,
        level: usize,
        part: &Region,
        whole: &Region,
        factors: &PerAxis,
        channels: usize,
        out: &'o mut [T],
    ) -> Self {
        let n_axes = partition.n_axes();
        let mut g = Geometry {
            n_axes,
            channels,
            start: [0; MAX_AXES],
            end: [1; MAX_AXES],
            step: [1; MAX_AXES],
            stride: [1; MAX_AXES],
            factors: *factors,
        };
        let (mut first, mut counts) = ([0; MAX_AXES], [1; MAX_AXES]);
        let (mut origin, mut lengths) = ([0; MAX_AXES], [1; MAX_AXES]);
        for a in 0..n_axes {
            g.stride[a] = partition.stride(a, level);
            g.step[a] = g.stride[a] / factors[a];
            g.start[a] = part.start[a] / factors[a];
            g.end[a] = part.end[a].div_ceil(factors[a]);
            first[a] = part.start[a] / g.stride[a];
            counts[a] = part.end[a].div_ceil(g.stride[a]) - first[a];
            origin[a] = whole.start[a] / factors[a];
            lengths[a] = whole.end[a].div_ceil(factors[a]) - origin[a];
        }
        let mut boxes: Vec<Vec<&mut [T]>> = Vec::new();
        boxes.resize_with(counts.iter().product::<u64>() as usize, Vec::new);
        let last = n_axes - 1;
        let mut rows = out.chunks_mut(lengths[last] as usize * channels);
        let (mut position, mut n_passed) = (g.start, 0);
        loop {
            let index = (0..last).fold(0, |i, a| i * lengths[a] + (position[a] - origin[a])) as usize;
            let Some(row) = rows.nth(index - n_passed) else { break };
            n_passed = index + 1;
            let mut row = &mut row[(g.start[last] - origin[last]) as usize * channels..];
            let base = (0..last).fold(0, |i, a| i * counts[a] + (position[a] / g.step[a] - first[a]));
            for column in 0..counts[last] {
                let from = g.start[last].max((first[last] + column) * g.step[last]);
                let to = g.end[last].min((first[last] + column + 1) * g.step[last]);
                let (run, rest) = row.split_at_mut((to - from) as usize * channels);
                boxes[(base * counts[last] + column) as usize].push(run);
                row = rest;
            }
            let Some(a) = (0..last).rev().find(|&a| position[a] + 1 < g.end[a]) else { break };
            position[a] += 1;
            position[a + 1..last].copy_from_slice(&g.start[a + 1..last]);
        }
        Self { partition: partition.clone(), level, first, counts, geometry: g, boxes }
    }

    /// The output boxes of one task's cells.
    fn take(&mut self, task: &Task) -> TaskOutputs<'o, T> {
        let mut origins: Vec<PerAxis> = Vec::new();
        for nodes in task.tiles() {
            for node in nodes {
                let origin = self.partition.cell_origin(self.level, node);
                if origins.last() != Some(&origin) {
                    origins.push(origin);
                }
            }
        }
        let runs = origins
            .iter()
            .map(|origin| {
                let index = (0..self.geometry.n_axes).fold(0, |i, a| {
                    i * self.counts[a] + (origin[a] / self.geometry.stride[a] - self.first[a])
                });
                std::mem::take(&mut self.boxes[index as usize])
            })
            .collect();
        TaskOutputs { geometry: self.geometry, origins, runs, current: 0 }
    }
}

/// The part of the output that one task writes.
struct TaskOutputs<'o, T> {
    geometry: Geometry,
    origins: Vec<PerAxis>,
    runs: Vec<Vec<&'o mut [T]>>,
    /// The box written last: cells come in order, so the next write is there or soon after.
    current: usize,
}

impl<T: Value> TaskOutputs<'_, T> {
    /// Writes outputs of one cell's block, from its output number `first` on (row-major over `shape`), clipped to
    /// the request.
    fn write_block(&mut self, leaf: &PerAxis, shape: &PerAxis, first: usize, values: &[f32]) {
        let g = &self.geometry;
        let last = g.n_axes - 1;
        // The whole block lies in one task box: its place there is worked out once.
        let mut origin = *leaf;
        let (mut base, mut start, mut end) = ([0; MAX_AXES], [0; MAX_AXES], [1; MAX_AXES]);
        let mut digits = [0; MAX_AXES];
        let mut rest = first as u64;
        for a in (0..g.n_axes).rev() {
            origin[a] -= leaf[a] % g.stride[a];
            base[a] = leaf[a] / g.factors[a];
            let box_start = origin[a] / g.factors[a];
            start[a] = g.start[a].max(box_start);
            end[a] = g.end[a].min(box_start + g.step[a]);
            digits[a] = rest % shape[a];
            rest /= shape[a];
        }
        let n = self.origins.len();
        let Some(current) = (0..n).map(|i| (self.current + i) % n).find(|&i| self.origins[i] == origin)
        else {
            return;
        };
        self.current = current;
        let runs = &mut self.runs[current];
        let mut values = values;
        while !values.is_empty() {
            let run = ((shape[last] - digits[last]) as usize).min(values.len() / g.channels);
            let (now, later) = values.split_at(run * g.channels);
            values = later;
            // The box's runs are its rows in order: row-major over all axes but the last.
            let mut row = Some(0);
            for a in 0..last {
                let position = base[a] + digits[a];
                row = row
                    .filter(|_| position >= start[a] && position < end[a])
                    .map(|row| row * (end[a] - start[a]) + (position - start[a]));
            }
            let run_start = base[last] + digits[last];
            let from = run_start.max(start[last]);
            let to = (run_start + run as u64).min(end[last]);
            if let Some(row) = row
                && from < to
            {
                let out = &mut runs[row as usize][(from - start[last]) as usize * g.channels..];
                let now =
                    &now[(from - run_start) as usize * g.channels..][..(to - from) as usize * g.channels];
                for (o, &v) in out.iter_mut().zip(now) {
                    *o = T::from_network(v);
                }
            }
            digits[last] = 0;
            for a in (0..last).rev() {
                digits[a] += 1;
                if digits[a] < shape[a] {
                    break;
                }
                digits[a] = 0;
            }
        }
    }
}
