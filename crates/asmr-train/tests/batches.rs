//! Batches of whole subtrees: unbiased, spread over the signal, and as cheap as planned.

use std::collections::HashSet;

use asmr::anglesum::tile_cells;
use asmr::cost::Cost;
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, PerAxis, parse_bases};
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo, Source};
use asmr::walk::{Region, Walk};
use asmr_kernels::IsaLevel;
use asmr_train::gradient::{Batch, GradientEngine, Part};
use asmr_train::sampler::{Epoch, MAX_BATCHES, MAX_EXTRA, MAX_SPLIT_CELLS, MIN_CELLS, Sampler};

/// A signal that is computed where it is read, however large.
struct Computed(SignalInfo);

impl Computed {
    fn new(extents: &[usize], channels: usize) -> Self {
        Self(SignalInfo::plain(extents.to_vec(), channels, SampleType::U8, None))
    }
}

impl Source for Computed {
    fn info(&self) -> &SignalInfo {
        &self.0
    }

    fn read_scaled(&self, start: u64, out: &mut [f32]) {
        for (i, value) in (start..).zip(out) {
            *value = (i.wrapping_mul(0x9e37_79b9) >> 8 & 255) as f32 / 255.0;
        }
    }
}

fn network(extents: &[usize], bases: &str, channels: usize, width: usize) -> NetworkConfig {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels, width, omega_0: 30.0, modulator: Modulator::Linear }
}

/// Cells of a level with real samples, in depth-first order.
fn cells(partition: &Partition, level: usize) -> Vec<PerAxis> {
    let walk = Walk::new(partition, Region::whole(partition.extents()), 1);
    let mut cells = Vec::new();
    walk.for_cells(level, &mut |origin| cells.push(*origin));
    assert_eq!(cells.len() as u128, partition.n_visible_cells(level));
    cells
}

fn relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, e)| f64::from(*a) - f64::from(*e)));
    difference / norm(&mut expected.iter().map(|e| f64::from(*e)))
}

/// Grids of 1 to 4 axes, most with padding; the larger ones take many tiles.
const GRIDS: [(&[usize], &str, usize, usize); 7] = [
    (&[1000], "3,4,5,17", 1, 12),
    (&[60, 70], "3,4,5;2,5,7", 3, 24),
    (&[128, 120], "4,4,4,2;4,4,4,2", 1, 4),
    (&[250, 250], "2,2,4,4,4;2,2,4,4,4", 1, 260),
    (&[19, 33, 30], "2,2,5;3,3,4;2,4,4", 2, 16),
    (&[40, 64, 64], "5,2,2,2;4,4,2,2;4,4,2,2", 1, 8),
    (&[3, 7, 11, 13], "1,3,1;2,2,2;3,2,2;2,2,4", 1, 9),
];

#[test]
fn the_mean_of_an_epochs_gradients_is_the_full_gradient_at_every_split_level() {
    let mut n_cases = 0;
    for (extents, bases, channels, width) in GRIDS {
        let config = network(extents, bases, channels, width);
        let partition = &config.partition;
        let signal = Computed::new(extents, channels);
        let params = Network::init(config.clone(), 1, 0.1).unwrap().into_params();
        let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
        let mut full = vec![0.0; params.len()];
        let full_loss = engine.loss_and_gradient(&params, Batch::Full, &mut full);
        let leaf = partition.n_levels() - 2;
        for level in 0..=leaf {
            let all = cells(partition, level);
            for n in [2, 5] {
                let n = n.min(all.len());
                let (mut sum, mut part) = (vec![0.0f64; params.len()], vec![0.0; params.len()]);
                let (mut squares, mut n_samples) = (0.0, 0);
                let mut dealt_cells = vec![0; leaf + 1];
                for i in 0..n {
                    // Any deal will do.
                    let chosen: Vec<PerAxis> = all
                        .iter()
                        .enumerate()
                        .filter(|(k, _)| (k * 7 + k / 3) % n == i)
                        .map(|(_, c)| *c)
                        .collect();
                    let batch = Part { level, cells: &chosen, n_batches: n as u32 };
                    let loss = engine.loss_and_gradient(&params, Batch::Part(batch), &mut part);
                    squares += loss.mse * loss.n_samples as f64;
                    n_samples += loss.n_samples;
                    for (s, p) in sum.iter_mut().zip(&part) {
                        *s += f64::from(*p) / n as f64;
                    }
                    // Every level: the chosen cells' ancestors once, but for those that a tile's edge runs through.
                    for (coarser, &evaluated) in engine.evaluated_cells()[..level].iter().enumerate() {
                        let needed: HashSet<PerAxis> =
                            chosen.iter().map(|c| partition.cell_origin(coarser, c)).collect();
                        let leaves = engine.evaluated_cells()[leaf] as usize;
                        let tiles = 2 * leaves.div_ceil(tile_cells(width)) + chosen.len();
                        assert!(
                            (needed.len()..=needed.len() + tiles).contains(&(evaluated as usize)),
                            "{extents:?}: {evaluated} cells of level {coarser}, {} needed",
                            needed.len()
                        );
                    }
                    for (total, evaluated) in dealt_cells.iter_mut().zip(engine.evaluated_cells()) {
                        *total += evaluated;
                    }
                }
                for (finer, &dealt) in dealt_cells.iter().enumerate().skip(level) {
                    assert_eq!(u128::from(dealt), partition.n_visible_cells(finer));
                }
                assert_eq!(u128::from(n_samples), partition.n_samples());
                let mse = squares / n_samples as f64;
                assert!((mse / full_loss.mse - 1.0).abs() < 1e-5, "{mse} {}", full_loss.mse);
                let sum: Vec<f32> = sum.iter().map(|&s| s as f32).collect();
                let error = relative_error(&sum, &full);
                // Single precision; sums in another order.
                assert!(error < 2e-5, "{extents:?} split at {level}, {n} batches: off by {error:e}");
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 2 * (3 + 2 + 3 + 4 + 2 + 3 + 2));
}

#[test]
fn an_epoch_deals_every_cell_once_and_spreads_each_batch() {
    let mut n_cases = 0;
    for (extents, bases, fraction) in [
        (vec![512, 512], "4,4,4,8;4,4,4,8", 0.25),
        (vec![500, 700], "2,2,2,2,4,8;2,2,2,3,4,8", 1.0 / 7.0),
        (vec![64, 96, 100], "2,2,2,2,4;3,2,2,2,4;2,2,2,4,4", 1.0 / 16.0),
        (vec![1 << 20], "8,8,8,8,16,16", 1.0 / 64.0),
    ] {
        let config = network(&extents, bases, 1, 16);
        let partition = &config.partition;
        let mut sampler = Sampler::new(&config, fraction, 3);
        let n = sampler.n_batches();
        assert_eq!(n, (1.0 / fraction).round() as u32);
        let level = sampler.split_level();
        let order = cells(partition, level);
        let mut epochs = Vec::new();
        for _ in 0..2 {
            let mut seen = Vec::new();
            for _ in 0..n {
                let Batch::Part(part) = sampler.next_batch() else { panic!("batches") };
                assert_eq!((part.level, part.n_batches), (level, n));
                // One cell of each group of n neighbours, in depth-first order.
                let places: Vec<usize> = part
                    .cells
                    .iter()
                    .map(|c| order.iter().position(|o| o == c).unwrap() / n as usize)
                    .collect();
                assert!(places.windows(2).all(|w| w[0] < w[1]));
                assert!(places.len() >= order.len() / n as usize);
                seen.push(part.cells.to_vec());
            }
            let distinct: HashSet<PerAxis> = seen.iter().flatten().copied().collect();
            assert_eq!(distinct.len(), seen.iter().map(Vec::len).sum::<usize>());
            assert_eq!(distinct, order.iter().copied().collect());
            epochs.push(seen);
        }
        assert_ne!(epochs[0], epochs[1], "each epoch is dealt anew");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

/// By the planner, batches of 2^18 samples.
#[test]
fn epochs_of_large_signals_are_cheap_and_well_spread() {
    let (mut n_cases, mut n_exceptions) = (0, 0);
    for (extents, channels) in [
        (vec![2048, 2048], 3),
        (vec![4344, 4408], 1),
        (vec![5400, 10_800], 3),
        (vec![16_384, 16_384], 3),
        (vec![65_536, 65_536], 1),
        (vec![132, 720, 1280], 3),
        (vec![512, 512, 512], 1),
        (vec![50, 64, 256, 256], 1),
        (vec![30_000_000], 2),
    ] {
        let request = PlanRequest::new(&extents, channels);
        let config = plan(&request).unwrap().into_config(&request);
        let partition = &config.partition;
        let fraction = (f64::from(1 << 18) / partition.n_samples() as f64).min(1.0);
        let epoch = Epoch::new(&config, fraction);
        assert_eq!(epoch.n_batches, ((1.0 / fraction).round() as u32).min(MAX_BATCHES));
        let n_cells = partition.n_visible_cells(epoch.split_level);
        assert!(n_cells <= MAX_SPLIT_CELLS, "{extents:?}: {n_cells} cells dealt");
        let is_spread = |level| partition.n_visible_cells(level) >= MIN_CELLS * u128::from(epoch.n_batches);
        // Where the two wishes contradict each other, spread wins, at the least price.
        let coarsest = !(0..epoch.split_level).any(is_spread);
        assert!(is_spread(epoch.split_level) || epoch.n_batches > 16_000, "{extents:?}: {epoch:?}");
        assert!(epoch.extra <= MAX_EXTRA || coarsest && epoch.extra < 0.2, "{extents:?}: {epoch:?}");
        n_exceptions += usize::from(epoch.extra > MAX_EXTRA);
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
    assert!(n_exceptions <= 2, "{n_exceptions}");
}

/// 2^28 samples, of which a batch touches one in 1,024: counted in multiply-adds of the cells that it evaluates.
#[test]
fn a_batch_of_a_gigapixel_grid_executes_what_was_planned() {
    let extents = [16_384, 16_384];
    let config = network(&extents, "4,4,4,4,2,4,8;4,4,4,4,2,4,8", 1, 16);
    let partition = &config.partition;
    let signal = Computed::new(&extents, 1);
    let mut sampler = Sampler::new(&config, 1.0 / 1024.0, 0);
    let epoch = Epoch::new(&config, 1.0 / 1024.0);
    let params = Network::init(config.clone(), 1, 0.1).unwrap().into_params();
    let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
    let mut gradient = vec![0.0; params.len()];
    let cost = Cost::of(&config);
    let per_cell: Vec<f64> = (0..partition.n_levels() - 1)
        .map(|l| cost.parts[l].mac_exec * partition.n_samples() as f64 / partition.n_visible_cells(l) as f64)
        .collect();
    let output = cost.parts.last().unwrap().mac_exec;
    for _ in 0..2 {
        let loss = engine.loss_and_gradient(&params, sampler.next_batch(), &mut gradient);
        assert_eq!(loss.n_samples, 1 << 18);
        let cells = engine.evaluated_cells();
        let layers: f64 = cells.iter().zip(&per_cell).map(|(&n, mac)| n as f64 * mac).sum();
        let executed = layers + output * loss.n_samples as f64;
        let share = cost.mac_exec * loss.n_samples as f64;
        assert!(
            executed <= share * (1.0 + epoch.extra) * 1.02,
            "{executed:e} instead of {share:e} and {} of it: {cells:?}",
            epoch.extra
        );
        assert_eq!(u128::from(cells[6 - 1]) * 1024, partition.n_visible_cells(5));
    }
}

#[test]
fn padding_is_never_dealt() {
    // Half of the padded grid holds nothing.
    let config = network(&[33, 33], "2,2,2,8;2,2,2,8", 1, 8);
    let mut sampler = Sampler::new(&config, 0.2, 0);
    let signal =
        Signal::new(SignalInfo::plain(vec![33, 33], 1, SampleType::U8, None), Samples::U8(vec![9; 33 * 33]));
    let signal = signal.unwrap();
    let params = Network::init(config.clone(), 1, 0.1).unwrap().into_params();
    let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
    let mut gradient = vec![0.0; params.len()];
    let mut n_samples = 0;
    for _ in 0..sampler.n_batches() {
        let Batch::Part(part) = sampler.next_batch() else { panic!("batches") };
        assert!(part.cells.iter().all(|c| c[0] < 33 && c[1] < 33));
        let loss = engine.loss_and_gradient(&params, Batch::Part(part), &mut gradient);
        assert!(loss.n_samples > 0, "every batch has real samples");
        n_samples += loss.n_samples;
    }
    assert_eq!(n_samples, 33 * 33);
}
