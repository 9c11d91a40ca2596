//! Mini-batches of whole cells, so that activation sharing survives.
//!
//! The cells that are dealt out are those of the *split level*. Finer cells belong to one batch each; a coarser one is
//! evaluated in every batch that holds any of its cells. So the split level must be coarse enough that this costs
//! little, and fine enough that a batch has many cells, spread over the whole signal.

use std::io;

use asmr::cost::Cost;
use asmr::network::NetworkConfig;
use asmr::partition::{Partition, PerAxis};
use asmr::signal::MAX_AXES;
use asmr::walk::{Region, Walk};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::checkpoint::Archive;
use crate::gradient::{Batch, Part};

/// The most batches of one epoch.
pub const MAX_BATCHES: u32 = 65_536;
/// The most cells that are dealt out, which take 8 bytes each, and 32 more while in the present batch.
pub const MAX_SPLIT_CELLS: u128 = 1 << 20;
/// Cells of the split level that a batch should have, at least, so that it speaks for the whole signal.
pub const MIN_CELLS: u128 = 64;
/// The most multiply-adds an epoch in batches should execute beyond those of one pass over the whole signal, as a part
/// of them.
pub const MAX_EXTRA: f64 = 0.15;

/// How an epoch is cut into batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Batches of an epoch; 1 is the full batch.
    pub n_batches: u32,
    /// Level whose cells are dealt out.
    pub split_level: usize,
    /// Multiply-adds beyond those of one pass over the whole signal, as a part of them (an upper bound).
    pub extra: f64,
}

impl Epoch {
    /// For batches of about `fraction` of the cells: 1 to [`MAX_BATCHES`] of them, and no more than there are cells to
    /// deal.
    ///
    /// The split level is the finest that costs at most [`MAX_EXTRA`] and leaves a batch [`MIN_CELLS`] cells. Where none
    /// does, it is the coarsest with that many cells; where there is none either, the one with the most.
    #[must_use]
    pub fn new(config: &NetworkConfig, fraction: f64) -> Self {
        let partition = &config.partition;
        // The number of cells grows with the level.
        let n_levels = (0..partition.n_levels() - 1)
            .take_while(|&level| partition.n_visible_cells(level) <= MAX_SPLIT_CELLS)
            .count();
        let most = n_levels.checked_sub(1).map_or(1, |finest| partition.n_visible_cells(finest));
        let n_batches = (1.0 / fraction).round().clamp(1.0, f64::from(MAX_BATCHES).min(most as f64)) as u32;
        if n_batches == 1 {
            return Self { n_batches, split_level: 0, extra: 0.0 };
        }
        let cost = Cost::of(config);
        let extra = |level: usize| {
            let dealt = partition.n_visible_cells(level) as f64;
            let beyond = |coarser: usize| {
                let n_cells = partition.n_visible_cells(coarser) as f64;
                let evaluated = dealt.min(f64::from(n_batches) * n_cells);
                (evaluated / n_cells - 1.0) * cost.parts[coarser].mac_exec
            };
            (0..level).map(beyond).sum::<f64>() / cost.mac_exec
        };
        let is_spread = |level: usize| partition.n_visible_cells(level) >= MIN_CELLS * u128::from(n_batches);
        let split_level = (0..n_levels)
            .rev()
            .find(|&level| is_spread(level) && extra(level) <= MAX_EXTRA)
            .or_else(|| (0..n_levels).find(|&level| is_spread(level)))
            .unwrap_or(n_levels - 1);
        Self { n_batches, split_level, extra: extra(split_level) }
    }
}

/// Batches of about `fraction` of the cells in an epoch, as [`Epoch::new`] finds them.
#[must_use]
pub fn n_batches(config: &NetworkConfig, fraction: f64) -> u32 {
    Epoch::new(config, fraction).n_batches
}

/// Row-major numbers of the cells of a level that hold real samples.
#[derive(Clone, Debug)]
struct CellGrid {
    strides: Vec<u64>,
    counts: Vec<u64>,
}

impl CellGrid {
    fn new(partition: &Partition, level: usize) -> Self {
        let strides: Vec<u64> = (0..partition.n_axes()).map(|a| partition.stride(a, level)).collect();
        let counts = strides.iter().zip(partition.extents()).map(|(&s, &e)| (e as u64).div_ceil(s)).collect();
        Self { strides, counts }
    }

    /// Number of the cell that starts at `origin`.
    fn index(&self, origin: &PerAxis) -> u64 {
        self.strides.iter().zip(&self.counts).zip(origin).fold(0, |i, ((s, c), o)| i * c + o / s)
    }

    /// First sample of a cell.
    fn origin(&self, index: u64) -> PerAxis {
        let (mut origin, mut rest) = ([0; MAX_AXES], index);
        for axis in (0..self.strides.len()).rev() {
            origin[axis] = rest % self.counts[axis] * self.strides[axis];
            rest /= self.counts[axis];
        }
        origin
    }
}

/// No cell: what a batch has from a last group with fewer cells than batches. (No cell has this number.)
const NONE: u32 = u32::MAX;

/// Deals the cells of the split level into batches: each epoch visits every cell once. Cells are taken in depth-first
/// order (neighbours in the picture are neighbours there) in groups as large as there are batches, and each
/// group is dealt out at random, one cell to each batch: so every batch is spread over the whole signal. Cells of
/// padding alone are never dealt.
#[derive(Clone, Debug)]
pub struct Sampler {
    epoch: Epoch,
    grid: CellGrid,
    rng: ChaCha8Rng,
    /// Where the generator stood before the present epoch was dealt.
    epoch_start: u64,
    /// Row-major cell numbers in depth-first order.
    order: Vec<u32>,
    /// Group by group, the cell of each batch.
    dealt: Vec<u32>,
    /// First samples of the present batch's cells.
    cells: Vec<PerAxis>,
    next: u32,
}

impl Sampler {
    /// For batches of about `fraction` of the cells (1 is full batch).
    #[must_use]
    pub fn new(config: &NetworkConfig, fraction: f64, seed: u64) -> Self {
        let partition = &config.partition;
        let epoch = Epoch::new(config, fraction);
        let grid = CellGrid::new(partition, epoch.split_level);
        let mut order = Vec::new();
        if epoch.n_batches > 1 {
            order.reserve_exact(partition.n_visible_cells(epoch.split_level) as usize);
            let walk = Walk::new(partition, Region::whole(partition.extents()), 1);
            walk.for_cells(epoch.split_level, &mut |origin| order.push(grid.index(origin) as u32));
        }
        let dealt = vec![NONE; order.len().next_multiple_of(epoch.n_batches as usize)];
        // Apart from the stream that draws initial weights.
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_ba7c_4e5a_11e5);
        Self { epoch, grid, rng, epoch_start: 0, order, dealt, cells: Vec::new(), next: 0 }
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn n_batches(&self) -> u32 {
        self.epoch.n_batches
    }

    /// Level whose cells are dealt out.
    #[must_use]
    pub fn split_level(&self) -> usize {
        self.epoch.split_level
    }

    /// The next batch; shuffles anew when an epoch begins.
    pub fn next_batch(&mut self) -> Batch<'_> {
        let n = self.epoch.n_batches;
        if n == 1 {
            return Batch::Full;
        }
        if self.next == 0 {
            // A group costs some words: 64 bits of position last for ever.
            self.epoch_start = self.rng.get_word_pos() as u64;
            self.deal();
        }
        self.cells.clear();
        for group in self.dealt.chunks_exact(n as usize) {
            let cell = group[self.next as usize];
            if cell != NONE {
                self.cells.push(self.grid.origin(u64::from(cell)));
            }
        }
        self.next = (self.next + 1) % n;
        Batch::Part(Part { level: self.epoch.split_level, cells: &self.cells, n_batches: n })
    }

    fn deal(&mut self) {
        let n = self.epoch.n_batches as usize;
        let mut batches: Vec<u32> = (0..self.epoch.n_batches).collect();
        for (group, dealt) in self.order.chunks(n).zip(self.dealt.chunks_exact_mut(n)) {
            for i in (1..n).rev() {
                // The bias of a remainder is below 2^-15 for 65,536 batches.
                batches.swap(i, self.rng.next_u32() as usize % (i + 1));
            }
            dealt.fill(NONE);
            for (&cell, &batch) in group.iter().zip(&batches) {
                dealt[batch as usize] = cell;
            }
        }
    }

    /// Writes or reads the place in the stream of batches.
    pub(crate) fn archive(&mut self, archive: &mut Archive<'_>) -> io::Result<()> {
        if self.next == 0 && !archive.is_reading() {
            // The next epoch is still to be dealt.
            self.epoch_start = self.rng.get_word_pos() as u64;
        }
        archive.u64(&mut self.epoch_start)?;
        archive.u32(&mut self.next)?;
        if archive.is_reading() {
            archive.check(self.next < self.epoch.n_batches)?;
            self.rng.set_word_pos(u128::from(self.epoch_start));
            if self.next > 0 {
                self.deal();
            }
        }
        Ok(())
    }
}
