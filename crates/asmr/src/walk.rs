//! Walking the cells of a grid, depth first, in tiles.
//!
//! A *tile* is a few hundred cells of the last sine layer (level L-2) with all their ancestors, small enough
//! for the cache. Tiles are whole subtrees under a common parent, so each cell of each level is evaluated
//! exactly once over a walk: neighbouring tiles that share an ancestor find it still in place ([`TileLevel::fresh`]
//! is false). Working memory is that of one tile, however large the signal.
//!
//! A walk may be restricted to chosen cells of one level ([`Walk::tasks_below`]): their subtrees and their ancestors are
//! all that it touches. Tiles are then made of subtrees without a common parent, and only an ancestor of cells on both
//! sides of a tile's edge is evaluated twice.

use std::ops::Range;

use asmr_kernels::sharing::Child;

use crate::partition::{Partition, PerAxis};
use crate::signal::MAX_AXES;

/// A box of samples, `start` inclusive, `end` exclusive; axes past the signal's own are 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First sample per axis.
    pub start: PerAxis,
    /// One past the last sample per axis.
    pub end: PerAxis,
}

impl Region {
    /// All samples of a grid, without padding.
    #[must_use]
    pub fn whole(extents: &[usize]) -> Self {
        let mut end = [1; MAX_AXES];
        for (e, &extent) in end.iter_mut().zip(extents) {
            *e = extent as u64;
        }
        Self { start: [0; MAX_AXES], end }
    }

    /// Samples along an axis.
    #[must_use]
    pub fn extent(&self, axis: usize) -> u64 {
        self.end[axis] - self.start[axis]
    }

    /// Cuts between two cells, of the coarsest level that has such a place, in the middle of the axis with most of them there. `None`
    /// within a cell of level L-2, which is computed whole.
    pub(crate) fn halves(&self, partition: &Partition) -> Option<[Self; 2]> {
        for level in 0..partition.n_levels() - 1 {
            let cells = |axis: usize| {
                let stride = partition.stride(axis, level);
                (self.start[axis] / stride, self.end[axis].div_ceil(stride))
            };
            let n_cells = |&axis: &usize| cells(axis).1 - cells(axis).0;
            let Some(axis) = (0..partition.n_axes()).max_by_key(n_cells).filter(|axis| n_cells(axis) > 1)
            else {
                continue;
            };
            let (first, end) = cells(axis);
            let middle = (first + (end - first) / 2) * partition.stride(axis, level);
            let mut halves = [*self; 2];
            (halves[0].end[axis], halves[1].start[axis]) = (middle, middle);
            return Some(halves);
        }
        None
    }
}

/// The cells of one level in a tile.
#[derive(Clone, Debug, Default)]
pub struct TileLevel {
    /// First sample of each cell.
    pub origins: Vec<PerAxis>,
    /// For each cell, its parent's row in the level above and its digit tuple (unused at level 0).
    pub children: Vec<Child>,
    /// Whether the cells differ from the previous tile's, so that their activations must be computed.
    pub fresh: bool,
}

/// Some cells of level L-2 and their ancestors: one entry per level 0 to L-2.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    /// The levels, coarsest first.
    pub levels: Vec<TileLevel>,
}

impl Tile {
    /// The cells of level L-2.
    ///
    /// # Panics
    /// Before the tile was first filled.
    #[must_use]
    pub fn leaves(&self) -> &[PerAxis] {
        &self.levels[self.levels.len() - 1].origins
    }
}

/// Consecutive tiles that one thread walks with one set of buffers.
#[derive(Clone, Debug, Default)]
pub struct Task {
    nodes: Vec<PerAxis>,
    tiles: Vec<Range<usize>>,
}

impl Task {
    /// One tile.
    fn single(nodes: &[PerAxis]) -> Self {
        Self { nodes: nodes.to_vec(), tiles: std::iter::once(0..nodes.len()).collect() }
    }

    /// The tiles, each as the cells of [`Walk::node_level`] it is made of.
    pub fn tiles(&self) -> impl Iterator<Item = &[PerAxis]> {
        self.tiles.iter().map(|r| &self.nodes[r.clone()])
    }
}

/// A depth-first walk over the cells of a region.
#[derive(Clone, Debug)]
pub struct Walk<'p> {
    partition: &'p Partition,
    region: Region,
    node_level: usize,
    nodes_per_tile: usize,
}

impl<'p> Walk<'p> {
    /// Plans a walk with at most about `tile_cells` cells of level L-2 in a tile.
    #[must_use]
    pub fn new(partition: &'p Partition, region: Region, tile_cells: usize) -> Self {
        Self::from_level(partition, region, tile_cells, 0)
    }

    /// Like [`Self::new`], with tiles made of cells of `level` (0 to L-2) or a finer one: for [`Self::tasks_below`].
    #[must_use]
    pub fn from_level(partition: &'p Partition, region: Region, tile_cells: usize, level: usize) -> Self {
        let leaf = partition.n_levels() - 2;
        // The coarsest level whose subtrees fit a tile.
        let (mut node_level, mut subtree) = (leaf, 1);
        while node_level > level && subtree * partition.n_tuples(node_level) <= tile_cells {
            subtree *= partition.n_tuples(node_level);
            node_level -= 1;
        }
        Self { partition, region, node_level, nodes_per_tile: (tile_cells / subtree).max(1) }
    }

    /// Level of the cells that tiles are made of.
    #[must_use]
    pub fn node_level(&self) -> usize {
        self.node_level
    }

    /// Cuts the walk into tasks, at least `min_tasks` where the region has that many nodes, and says which level's
    /// cells ("boxes") no two tasks share. Depends on its arguments alone, never on the number of threads.
    #[must_use]
    pub fn tasks(&self, min_tasks: usize) -> (usize, Vec<Task>) {
        let box_level = (0..self.node_level)
            .find(|&level| self.visible_cells(level) >= min_tasks as u128)
            .unwrap_or(self.node_level);
        let mut tasks = Vec::new();
        self.collect(0, &[0; MAX_AXES], box_level, &mut tasks);
        (box_level, tasks)
    }

    /// Tasks that visit the subtrees of some cells of `level` and their ancestors, and nothing else. The cells are
    /// distinct, meet the region and come in depth-first order; `level` is that of [`Self::from_level`]. Depends on
    /// its arguments alone, never on the number of threads.
    #[must_use]
    pub fn tasks_below(&self, level: usize, cells: &[PerAxis]) -> Vec<Task> {
        debug_assert!(level <= self.node_level, "tiles are made of cells of that level or finer");
        let mut tasks = Vec::new();
        if level == self.node_level {
            let n_tiles = cells.len().div_ceil(self.nodes_per_tile);
            for i in 0..n_tiles {
                let range = i * cells.len() / n_tiles..(i + 1) * cells.len() / n_tiles;
                tasks.push(Task::single(&cells[range]));
            }
        } else {
            for cell in cells {
                tasks.push(Task::default());
                self.collect(level + 1, cell, level, &mut tasks);
            }
        }
        tasks
    }

    /// Calls `visit` with the first sample of each cell of a level that meets the region, in depth-first order.
    pub fn for_cells(&self, level: usize, visit: &mut dyn FnMut(&PerAxis)) {
        self.descend(0, &[0; MAX_AXES], level, visit);
    }

    /// Visits the cells of level `to` below a cell of `level - 1`.
    fn descend(&self, level: usize, parent: &PerAxis, to: usize, visit: &mut dyn FnMut(&PerAxis)) {
        self.for_children(level, parent, |origin, _| {
            if level == to {
                visit(&origin);
            } else {
                self.descend(level + 1, &origin, to, visit);
            }
        });
    }

    /// Cells of a level that meet the region.
    #[must_use]
    pub fn visible_cells(&self, level: usize) -> u128 {
        (0..self.partition.n_axes())
            .map(|a| {
                let stride = self.partition.stride(a, level);
                u128::from(self.region.end[a].div_ceil(stride) - self.region.start[a] / stride)
            })
            .product()
    }

    /// Appends the tasks below one cell (of level `level - 1`; level 0 has the whole grid above it).
    fn collect(&self, level: usize, parent: &PerAxis, box_level: usize, tasks: &mut Vec<Task>) {
        if level == self.node_level {
            let mut nodes = Vec::new();
            self.for_children(level, parent, |origin, _| nodes.push(origin));
            let n_tiles = nodes.len().div_ceil(self.nodes_per_tile);
            // Balanced, so that no tile is left with a handful of cells.
            let tiles = (0..n_tiles).map(|i| i * nodes.len() / n_tiles..(i + 1) * nodes.len() / n_tiles);
            if box_level == self.node_level {
                tasks.extend(tiles.map(|r| Task::single(&nodes[r])));
            } else if let Some(task) = tasks.last_mut() {
                let offset = task.nodes.len();
                task.tiles.extend(tiles.map(|r| r.start + offset..r.end + offset));
                task.nodes.extend(nodes);
            }
            return;
        }
        self.for_children(level, parent, |origin, _| {
            if level == box_level {
                tasks.push(Task::default());
            }
            self.collect(level + 1, &origin, box_level, tasks);
        });
    }

    /// Calls `visit(origin, tuple)` for each child, of level `level`, of a cell that meets the region.
    fn for_children(&self, level: usize, parent: &PerAxis, mut visit: impl FnMut(PerAxis, usize)) {
        let p = self.partition;
        let n_axes = p.n_axes();
        let mut range = [(0, 1); MAX_AXES];
        for a in 0..n_axes {
            let stride = p.stride(a, level);
            let first = self.region.start[a].saturating_sub(parent[a]) / stride;
            let last =
                self.region.end[a].saturating_sub(parent[a]).div_ceil(stride).min(p.base(a, level) as u64);
            if first >= last {
                return;
            }
            range[a] = (first, last);
        }
        let mut digits = range.map(|(first, _)| first);
        loop {
            let mut origin = *parent;
            let mut tuple = 0;
            for a in 0..n_axes {
                origin[a] += digits[a] * p.stride(a, level);
                tuple = tuple * p.base(a, level) + digits[a] as usize;
            }
            visit(origin, tuple);
            // Count up, last axis fastest.
            let mut axis = n_axes;
            loop {
                if axis == 0 {
                    return;
                }
                axis -= 1;
                digits[axis] += 1;
                if digits[axis] < range[axis].1 {
                    break;
                }
                digits[axis] = range[axis].0;
            }
        }
    }

    /// Number of levels, from the coarsest, on which all of `nodes` lie in one cell.
    fn n_shared_levels(&self, nodes: &[PerAxis]) -> usize {
        // In depth-first order, what the first and the last share is shared by all between.
        let (first, last) = (&nodes[0], &nodes[nodes.len() - 1]);
        let p = self.partition;
        (0..self.node_level)
            .take_while(|&level| p.cell_origin(level, first) == p.cell_origin(level, last))
            .count()
    }

    /// The coarsest level at which the tile of `nodes` differs from what `tile` now holds.
    #[must_use]
    pub fn first_fresh_level(&self, nodes: &[PerAxis], tile: &Tile) -> usize {
        let n_shared = self.n_shared_levels(nodes);
        (0..n_shared)
            .find(|&level| {
                let origin = self.partition.cell_origin(level, &nodes[0]);
                tile.levels.get(level).is_none_or(|held| held.origins != [origin])
            })
            .unwrap_or(n_shared)
    }

    /// Fills `tile` with the subtrees of `nodes` as far as they meet the region, and with their ancestors. The tile's
    /// levels must be empty or hold this walk's previous tile.
    pub fn fill(&self, nodes: &[PerAxis], tile: &mut Tile) {
        let p = self.partition;
        let leaf = p.n_levels() - 2;
        let n_shared = self.n_shared_levels(nodes);
        let first_fresh = self.first_fresh_level(nodes, tile);
        tile.levels.resize_with(leaf + 1, TileLevel::default);
        for (level, entry) in tile.levels.iter_mut().enumerate().take(n_shared) {
            // Equal at one level means equal at every coarser one.
            entry.fresh = level >= first_fresh;
            if entry.fresh {
                let origin = p.cell_origin(level, &nodes[0]);
                entry.origins = vec![origin];
                entry.children = vec![Child { parent: 0, tuple: p.tuple_at(level, &origin) as u32 }];
            }
        }
        for entry in &mut tile.levels[n_shared..] {
            entry.fresh = true;
            entry.origins.clear();
            entry.children.clear();
        }
        tile.levels[self.node_level].origins.extend_from_slice(nodes);
        for level in (n_shared..=self.node_level).rev() {
            let (above, rest) = tile.levels.split_at_mut(level);
            let parents = if level > n_shared { above.last_mut() } else { None };
            add_parents(p, level, &mut rest[0], parents);
        }
        for level in self.node_level + 1..=leaf {
            let (above, rest) = tile.levels.split_at_mut(level);
            let entry = &mut rest[0];
            for (row, parent) in above[level - 1].origins.iter().enumerate() {
                self.for_children(level, parent, |origin, tuple| {
                    entry.origins.push(origin);
                    entry.children.push(Child { parent: row as u32, tuple: tuple as u32 });
                });
            }
        }
    }
}

/// Completes the cells of a level, whose origins are there, with their `children` entries, and adds their parents to the
/// level above; without one, all have the same parent.
fn add_parents(
    partition: &Partition,
    level: usize,
    entry: &mut TileLevel,
    mut parents: Option<&mut TileLevel>,
) {
    for origin in &entry.origins {
        let mut row = 0;
        if let Some(parents) = &mut parents {
            let parent = partition.cell_origin(level - 1, origin);
            if parents.origins.last() != Some(&parent) {
                parents.origins.push(parent);
            }
            row = parents.origins.len() - 1;
        }
        let tuple = partition.tuple_at(level, origin) as u32;
        entry.children.push(Child { parent: row as u32, tuple });
    }
}

/// Fills `tile` with the given cells of level L-2 (distinct, in depth-first order) and exactly their ancestors.
pub fn fill_from_leaves(partition: &Partition, leaves: &[PerAxis], tile: &mut Tile) {
    let leaf = partition.n_levels() - 2;
    tile.levels.clear();
    tile.levels.resize_with(leaf + 1, TileLevel::default);
    tile.levels[leaf].origins = leaves.to_vec();
    for level in (0..=leaf).rev() {
        let (above, rest) = tile.levels.split_at_mut(level);
        rest[0].fresh = true;
        add_parents(partition, level, &mut rest[0], above.last_mut());
    }
}

/// A key that sorts positions into depth-first order of the partition's cells.
#[must_use]
pub fn depth_first_key(partition: &Partition, position: &PerAxis) -> Vec<u32> {
    (0..partition.n_levels()).map(|level| partition.tuple_at(level, position) as u32).collect()
}
