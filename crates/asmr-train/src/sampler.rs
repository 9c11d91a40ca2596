//! Mini-batches of whole cells, so that activation sharing survives.

use asmr::anglesum::tile_cells;
use asmr::network::NetworkConfig;
use asmr::walk::{Region, Tile, Walk};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::gradient::{Batch, CellGrid};

/// Deals the cells of level L-2 into batches: each epoch visits every cell once. Cells are taken in depth-first
/// order (neighbours in the picture are neighbours there) in groups as large as there are batches, and each
/// group is dealt out at random, one cell to each batch: so every batch is spread over the whole signal.
#[derive(Clone, Debug)]
pub struct Sampler {
    rng: ChaCha8Rng,
    /// Row-major cell numbers in depth-first order.
    order: Vec<u32>,
    assignment: Vec<u16>,
    n_batches: u16,
    next: u16,
}

/// The most batches of one epoch.
pub const MAX_BATCHES: u16 = 4096;

/// Batches of about `fraction` of the cells in an epoch: 1 to [`MAX_BATCHES`], and no more than there are cells.
#[must_use]
pub fn n_batches(config: &NetworkConfig, fraction: f64) -> u16 {
    let n_cells = CellGrid::new(&config.partition).len();
    (1.0 / fraction).round().clamp(1.0, f64::from(MAX_BATCHES).min(n_cells as f64)) as u16
}

impl Sampler {
    /// For batches of about `fraction` of the cells (1 is full batch).
    #[must_use]
    pub fn new(config: &NetworkConfig, fraction: f64, seed: u64) -> Self {
        let partition = &config.partition;
        let grid = CellGrid::new(partition);
        let n_batches = n_batches(config, fraction);
        let mut order = Vec::new();
        if n_batches > 1 {
            let walk = Walk::new(partition, Region::whole(partition.extents()), tile_cells(config.width));
            let mut tile = Tile::default();
            for task in walk.tasks(1).1 {
                for nodes in task.tiles() {
                    walk.fill(nodes, |_| true, &mut tile);
                    order.extend(tile.leaves().iter().map(|origin| grid.index(origin) as u32));
                }
            }
        }
        // Apart from the stream that draws initial weights.
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed_ba7c_4e5a_11e5);
        Self { rng, assignment: vec![0; order.len()], order, n_batches, next: 0 }
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn n_batches(&self) -> u16 {
        self.n_batches
    }

    /// The next batch; shuffles anew when an epoch begins.
    pub fn next_batch(&mut self) -> Batch<'_> {
        if self.n_batches == 1 {
            return Batch::Full;
        }
        if self.next == 0 {
            let n = usize::from(self.n_batches);
            let mut deal: Vec<u16> = (0..self.n_batches).collect();
            for group in self.order.chunks(n) {
                for i in (1..n).rev() {
                    // The bias of a remainder is below 2^-19 for 4,096 batches.
                    deal.swap(i, self.rng.next_u32() as usize % (i + 1));
                }
                for (&cell, &batch) in group.iter().zip(&deal) {
                    self.assignment[cell as usize] = batch;
                }
            }
        }
        let index = self.next;
        self.next = (self.next + 1) % self.n_batches;
        Batch::Part { assignment: &self.assignment, index, n: self.n_batches }
    }
}
