//! `Cost`'s executed figures are what the plan performs: a walk is carried out as `Decoder::decode` does, every
//! kernel's work is counted from the data it really gets, and the sums are compared with the formula.

use std::collections::HashSet;

use asmr::anglesum::{
    Activations, AngleSum, BlockOutputs, OutputTable, Precision, TupleChunk, output_rows, tile_cells,
};
use asmr::cost::Cost;
use asmr::network::{MODULATOR_WIDTH, Modulator, Network, NetworkConfig, Role, Tensor};
use asmr::partition::{Partition, parse_bases};
use asmr::walk::{Region, Tile, Walk};
use asmr_kernels::IsaLevel;

/// Relative tolerance between two sums of the same counts, one in integers and one in double precision.
const COUNT_TOLERANCE: f64 = 1e-9;
/// The most that evaluating ancestors once per task may add to a realistic decode, relative.
const OVERHEAD_TOLERANCE: f64 = 0.02;
/// Stands in buffers that a step must leave alone; no sine or cosine has this value.
const MARK: f32 = 2.5;

fn config(
    extents: &[usize],
    bases: &str,
    channels: usize,
    width: usize,
    modulator: Modulator,
) -> NetworkConfig {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels, width, omega_0: 30.0, modulator }
}

/// Multiply-adds and sines (and cosines, each one).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Work {
    macs: u128,
    sines: u128,
}

impl Work {
    fn add(&mut self, macs: usize, sines: usize) {
        self.macs += macs as u128;
        self.sines += sines as u128;
    }

    /// Fails unless both figures per real sample are those of `cost`.
    fn assert_is(&self, what: &str, config: &NetworkConfig, cost: &Cost) {
        let n = config.partition.n_samples() as f64;
        for (name, counted, formula) in [
            ("mac_exec", self.macs as f64 / n, cost.mac_exec),
            ("sin_exec", self.sines as f64 / n, cost.sin_exec),
        ] {
            let bound = COUNT_TOLERANCE * formula.abs();
            assert!(
                (counted - formula).abs() <= bound,
                "{what}: {name} is {formula} by the formula, {counted} was counted, bound {bound:e}"
            );
        }
    }
}

/// What one walk did.
#[derive(Default)]
struct Performed {
    work: Work,
    /// Cells evaluated per level, each time counted.
    evaluated: Vec<u128>,
    n_tasks: u128,
    n_tiles: usize,
    box_level: usize,
}

/// The work of preparing a network: digit tables and P, from the lengths of what is built.
fn prepare(network: &Network) -> (AngleSum, OutputTable, Work) {
    let config = network.config();
    let d = config.width;
    let plan = AngleSum::new(config, network.params(), IsaLevel::detect(), Precision::F32);
    let mut work = Work::default();
    for level in 1..config.partition.n_levels() {
        let values = plan.table(level).len();
        let n_tuples = values / (2 * d);
        work.add(0, values);
        match config.modulator {
            // Looked up.
            Modulator::Table => {}
            // Every matrix of the modulator once per tuple; a sine per hidden neuron.
            Modulator::Linear | Modulator::Nonlinear => {
                let matrices: usize = config
                    .tensors()
                    .iter()
                    .filter(|t| t.role == Role::Modulator(level) && t.shape.len() == 2)
                    .map(Tensor::len)
                    .sum();
                let hidden = if config.modulator == Modulator::Nonlinear { 2 * MODULATOR_WIDTH } else { 0 };
                // A linear modulator also gives the phases of the block's middle.
                let middle = usize::from(config.modulator == Modulator::Linear);
                work.add((n_tuples + middle) * matrices, n_tuples * hidden);
            }
        }
    }
    let weight = &network.params()[plan.layout().output_weight.clone()];
    let bias = &network.params()[plan.layout().output_bias.clone()];
    let n_tuples = config.partition.n_tuples(config.partition.n_levels() - 1);
    let chunks = TupleChunk::all(n_tuples, bias.len(), config.modulator == Modulator::Linear);
    let table = OutputTable::new(d, bias, Precision::F32, chunks, |tuples, out| {
        output_rows(&plan, weight, tuples, out);
        work.add(out.len(), 0);
    });
    (plan, table, work)
}

/// Walks a whole signal and evaluates it, tile after tile. `clear`: every task starts anew, as in the decoder.
fn perform(
    plan: &AngleSum,
    table: &OutputTable,
    tile_cells: usize,
    min_tasks: usize,
    clear: bool,
) -> Performed {
    let config = plan.config();
    let (partition, d) = (&config.partition, config.width);
    let leaf = partition.n_levels() - 2;
    let walk = Walk::new(partition, Region::whole(partition.extents()), tile_cells);
    let (box_level, tasks) = walk.tasks(min_tasks);
    let mut done = Performed {
        evaluated: vec![0; leaf + 1],
        n_tasks: tasks.len() as u128,
        box_level,
        ..Performed::default()
    };
    let mut tile = Tile::default();
    let mut activations = Activations::default();
    let mut outputs = BlockOutputs::default();
    let mut seen = HashSet::new();
    for task in &tasks {
        if clear {
            tile.levels.clear();
        }
        for nodes in task.tiles() {
            walk.fill(nodes, &mut tile);
            // Fresh levels start as NaN, none of which may be left; the others bear a mark that must stay.
            let mut kept = vec![0.0; leaf + 1];
            for (level, features) in activations.features.iter_mut().enumerate() {
                if tile.levels[level].fresh {
                    features.fill(f32::NAN);
                } else {
                    kept[level] = std::mem::replace(&mut features[0], MARK);
                }
            }
            plan.forward(&tile, &mut activations);
            for (level, cells) in tile.levels.iter().enumerate() {
                let features = &mut activations.features[level];
                if !cells.fresh {
                    assert_eq!(features[0], MARK, "level {level} was evaluated again");
                    features[0] = kept[level];
                    continue;
                }
                assert!(features.iter().all(|x| !x.is_nan()), "level {level} was not evaluated whole");
                let rows = features.len() / (2 * d);
                assert_eq!((rows, rows), (cells.origins.len(), cells.children.len()));
                done.evaluated[level] += rows as u128;
                // Sine and cosine of each neuron; the matrix once per cell.
                done.work.add(rows * plan.layout().layer_weights[level].len(), features.len());
                if level > 0 {
                    // Two multiply-adds per value of the expansion.
                    assert_eq!(activations.inputs[level].len(), rows * d);
                    done.work.add(2 * activations.inputs[level].len(), 0);
                }
                for origin in &cells.origins {
                    assert!(
                        seen.insert((level, *origin)) || clear,
                        "cell {origin:?} of level {level} was evaluated twice"
                    );
                }
            }
            for chunk in 0..table.n_chunks() {
                let leaves = tile.leaves().len();
                let tuples =
                    table.outputs(plan.isa(), chunk, leaves, &activations.features[leaf], &mut outputs);
                for (range, values) in [(&tuples.low, &outputs.low), (&tuples.high, &outputs.high)] {
                    assert_eq!(values.len(), leaves * range.len() * config.channels);
                }
                if tuples.is_mirrored() {
                    // d multiply-adds per value of the even part, and of the odd.
                    assert_eq!(outputs.low.len(), outputs.odd.len());
                    done.work.add((outputs.low.len() + outputs.odd.len()) * d, 0);
                } else {
                    // 2d per output.
                    done.work.add(outputs.low.len() * 2 * d, 0);
                }
            }
            done.n_tiles += 1;
        }
    }
    // Every cell that holds a real sample was there, and no other.
    for level in 0..=leaf {
        let n = seen.iter().filter(|(l, _)| *l == level).count() as u128;
        assert_eq!(n, partition.n_visible_cells(level), "cells of level {level}");
    }
    done
}

#[test]
fn counts_of_real_walks_are_the_formula() {
    let linear = Modulator::Linear;
    let configs = [
        config(&[1], "1,1", 1, 1, linear),
        config(&[360], "3,4,5,6", 1, 7, linear),
        config(&[1000], "4,4,4,4,4", 2, 5, linear),
        config(&[97], "2,2,2,2,2,2,2", 1, 4, Modulator::Table),
        config(&[24, 36], "2,3,4;3,3,4", 3, 8, linear),
        config(&[61, 67], "4,4,4;3,6,4", 1, 6, Modulator::Nonlinear),
        config(&[37, 41], "4,10;5,9", 3, 9, linear),
        config(&[33, 64], "1,3,1,12;4,1,4,4", 2, 6, Modulator::Table),
        config(&[11, 5], "3,2,2;3,2,2", 3, 8, linear),
        config(&[1, 300], "1,1,1;3,10,10", 3, 5, Modulator::Nonlinear),
        config(&[40, 24], "1,1,5,2,4;1,1,3,2,4", 1, 6, linear),
        config(&[7, 13, 30], "2,2,2;2,3,3;3,4,3", 3, 4, linear),
        config(&[6, 16, 16], "3,1,2;4,2,2;2,2,4", 1, 5, Modulator::Nonlinear),
        config(&[5, 7, 9, 4], "1,3,2;2,2,2;3,1,3;2,1,2", 2, 4, linear),
        config(&[3, 4, 5, 6], "1,2,2;2,1,2;5,1,1;2,3,1", 4, 3, Modulator::Table),
        // More than one chunk of P.
        config(&[64, 90], "2,32;3,30", 3, 4, linear),
    ];
    let n_configs = configs.len();
    let (mut n_walks, mut n_above, mut n_chunked) = (0, 0, 0);
    let mut largest = (0.0, String::new());
    for config in configs {
        let cost = Cost::of(&config);
        let partition = config.partition.clone();
        let network = Network::init(config.clone(), 5, 1.0).unwrap();
        let (plan, table, prepared) = prepare(&network);
        n_chunked += usize::from(table.n_chunks() > 1);
        let name = format!("{:?} {} {:?}", partition.extents(), partition.bases_text(), config.modulator);
        for tile_cells in [1, 2, 7, 16, 64, 250, 1024] {
            for min_tasks in [1, 3, 8, 64, 100_000] {
                let what = format!("{name}, tiles of {tile_cells}, {min_tasks} tasks");
                let total = |done: &Performed| Work {
                    macs: done.work.macs + prepared.macs,
                    sines: done.work.sines + prepared.sines,
                };
                // Tiles kept from task to task: every cell once, however the walk is cut.
                let done = perform(&plan, &table, tile_cells, min_tasks, false);
                total(&done).assert_is(&what, &config, &cost);

                // As the decoder does: ancestors above the boxes once per task, all other cells once.
                let done = perform(&plan, &table, tile_cells, min_tasks, true);
                for (level, &n) in done.evaluated.iter().enumerate() {
                    let expected =
                        if level < done.box_level { done.n_tasks } else { partition.n_visible_cells(level) };
                    assert_eq!(
                        n, expected,
                        "{what}: cells of level {level}, boxes of level {}",
                        done.box_level
                    );
                }
                if min_tasks == 1 {
                    total(&done).assert_is(&format!("{what}, anew"), &config, &cost);
                }
                let n = partition.n_samples() as f64;
                let above = total(&done).macs as f64 / n / cost.mac_exec - 1.0;
                assert!(above >= -COUNT_TOLERANCE, "{what}: {above:e} fewer than the formula");
                n_above += usize::from(above > COUNT_TOLERANCE);
                if above > largest.0 {
                    largest = (above, what);
                }
                n_walks += 2;
            }
        }
    }
    println!(
        "{n_above} of {} walks with tasks started anew are above the formula, at most by {:.1} %: {}",
        n_walks / 2,
        100.0 * largest.0,
        largest.1
    );
    assert!(n_above > 0, "sharing between tasks was tested");
    assert_eq!((n_configs, n_chunked), (16, 1));
    assert_eq!(n_walks, 16 * 7 * 5 * 2);
}

/// Above this size (in values) the decoder builds P anew in each tile (`WHOLE_TABLE_VALUES` in `inference.rs`).
const WHOLE_TABLE_VALUES: usize = 4 << 20;

/// Counts a decode's multiply-adds from the cells of its tiles alone, for networks too large to evaluate here (the
/// test above shows that cells are what decides). Returns the excess over `Cost` of shared ancestors evaluated
/// again, and of P built again, both relative.
fn overheads(config: &NetworkConfig, tile_cells: usize, min_tasks: usize) -> (f64, f64) {
    let (p, d) = (&config.partition, config.width as u128);
    let last = p.n_levels() - 1;
    let walk = Walk::new(p, Region::whole(p.extents()), tile_cells);
    let (_, tasks) = walk.tasks(min_tasks);
    let (mut macs, mut n_tiles, mut n_leaves) = (0, 0u128, 0u128);
    let mut tile = Tile::default();
    for task in &tasks {
        tile.levels.clear();
        for nodes in task.tiles() {
            walk.fill(nodes, &mut tile);
            for (level, cells) in tile.levels.iter().enumerate().filter(|(_, cells)| cells.fresh) {
                let row = if level == 0 { p.n_axes() as u128 * d } else { d * d + 2 * d };
                macs += cells.origins.len() as u128 * row;
            }
            n_leaves += tile.leaves().len() as u128;
            n_tiles += 1;
        }
    }
    assert_eq!(n_leaves, p.n_visible_cells(last - 1));
    assert_eq!(config.modulator, Modulator::Linear);
    let p_values = (p.n_tuples(last).div_ceil(2) * config.channels) as u128 * 2 * d;
    macs += n_leaves * p_values + p_values;
    for level in 1..=last {
        macs += (p.n_tuples(level) as u128 + 1) * p.n_axes() as u128 * d;
    }
    let formula = Cost::of(config).mac_exec * p.n_samples() as f64;
    let rebuilt = if p_values > WHOLE_TABLE_VALUES as u128 { (n_tiles - 1) * p_values } else { 0 };
    (macs as f64 / formula - 1.0, rebuilt as f64 / formula)
}

#[test]
fn tasks_started_anew_add_little_to_realistic_decodes() {
    let linear = |extents: &[usize], bases: &str, channels, width| {
        config(extents, bases, channels, width, Modulator::Linear)
    };
    let two = |bases: &str| format!("{bases};{bases}");
    let configs = [
        linear(&[512, 512], &two("4,4,4,8"), 1, 256),
        linear(&[512, 512], &two("4,4,4,8"), 1, 1024),
        linear(&[512, 512], &two("8,8,8"), 1, 256),
        linear(&[512, 512], &two("8,2,2,2,8"), 1, 256),
        linear(&[512, 512], &two("2,2,2,2,2,2,8"), 1, 256),
        linear(&[512, 768], "4,4,4,8;4,4,6,8", 3, 256),
        linear(&[1411, 1411], &two("4,4,4,3,8"), 3, 256),
        linear(&[4096, 4096], &two("4,4,4,4,2,8"), 3, 512),
        linear(&[32_000], "10,10,16,20", 1, 128),
        linear(&[60, 270, 480], "2,1,1,5,1,1,3,1,1,2;5,1,3,1,3,1,3,1,2,1;5,3,2,2,1,2,1,2,1,2", 3, 512),
        // P of 6.3 million values, built in each tile.
        linear(&[2048, 2048], "4,8,64;4,8,64", 3, 256),
        linear(&[2048, 2048], "32,64;32,64", 3, 256),
    ];
    let n_configs = configs.len();
    let mut n_checked = 0;
    for config in configs {
        let p = &config.partition;
        for min_tasks in [8, 64] {
            let (ancestors, rebuilt) = overheads(&config, tile_cells(config.width), min_tasks);
            let what = format!("{:?} {} d={}, {min_tasks} tasks", p.extents(), p.bases_text(), config.width);
            println!("{what}: ancestors again {:.5} %, P again {:.5} %", 100.0 * ancestors, 100.0 * rebuilt);
            for (name, overhead) in [("ancestors evaluated", ancestors), ("P built", rebuilt)] {
                assert!(
                    (-COUNT_TOLERANCE..=OVERHEAD_TOLERANCE).contains(&overhead),
                    "{what}: {name} again add {overhead}, accepted up to {OVERHEAD_TOLERANCE}"
                );
            }
            n_checked += 1;
        }
    }
    assert_eq!((n_configs, n_checked), (12, 24));
}

/// The worst shape for tasks started anew: a chain of single cells at the top, and fewer coarse cells than tasks,
/// so that each tile is a task and evaluates the whole chain.
#[test]
fn long_chains_of_single_cells_cost_once_per_task() {
    let chain = config(&[128, 128], "1,1,1,1,1,1,1,4,4,8;1,1,1,1,1,1,1,4,4,8", 1, 1024, Modulator::Linear);
    let mut n_checked = 0;
    for min_tasks in [8, 64] {
        let (ancestors, _) = overheads(&chain, tile_cells(1024), min_tasks);
        println!("chain of 7, {min_tasks} tasks: ancestors again {:.3} %", 100.0 * ancestors);
        assert!((-COUNT_TOLERANCE..=0.1).contains(&ancestors), "{min_tasks} tasks: {ancestors}");
        n_checked += 1;
    }
    let (one, _) = overheads(&chain, tile_cells(1024), 1);
    assert!(one.abs() <= COUNT_TOLERANCE, "one task: {one}");
    assert_eq!(n_checked, 2);
}
