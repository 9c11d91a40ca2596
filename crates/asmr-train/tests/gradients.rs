//! Gradients of the angle-sum plan against golden vectors and against finite differences of the definition.

use std::path::Path;

use asmr::interchange::import;
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, PerAxis};
use asmr::reference;
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::sampler::Sampler;
use proptest::prelude::*;

/// Relative tolerance of a tensor's gradient, in the Euclidean norm: single precision over sums of at most some
/// 10^5 terms.
const GRADIENT_TOLERANCE: f64 = 2e-4;

fn float_signal(extents: &[usize], channels: usize, values: Vec<f32>) -> Signal {
    let info = SignalInfo::plain(extents.to_vec(), channels, SampleType::F32, None);
    Signal::new(info, Samples::F32(values)).unwrap()
}

/// Norm of the difference relative to the norm of `expected`.
fn relative_error(actual: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, e)| f64::from(*a) - f64::from(*e)));
    difference / norm(&mut expected.iter().map(|e| f64::from(*e))).max(1e-30)
}

fn floats(view: &safetensors::tensor::TensorView<'_>) -> Vec<f32> {
    view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn golden_gradients_and_losses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../asmr/tests/data/vectors");
    let (mut n_files, mut n_tensors) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "safetensors") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let network = import(&bytes, None).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let expected_loss: f64 = metadata.metadata().as_ref().unwrap()["loss"].parse().unwrap();
        let target = floats(&file.tensor("target").unwrap());
        let config = network.config();
        let signal = float_signal(config.partition.extents(), config.channels, target);
        for isa in IsaLevel::available() {
            let mut engine = GradientEngine::new(config, &signal, isa);
            let mut gradient = vec![0.0; network.params().len()];
            let loss = engine.loss_and_gradient(network.params(), Batch::Full, &mut gradient);
            assert!(
                (loss.mse / expected_loss - 1.0).abs() < 1e-4,
                "{}: loss {} instead of {expected_loss}",
                path.display(),
                loss.mse
            );
            for tensor in config.tensors() {
                let expected = floats(&file.tensor(&format!("expected.grad.{}", tensor.name)).unwrap());
                let error = relative_error(&gradient[tensor.range()], &expected);
                assert!(
                    error <= GRADIENT_TOLERANCE,
                    "{} {} at {isa:?}: relative error {error:e} above {GRADIENT_TOLERANCE:e}",
                    path.display(),
                    tensor.name
                );
                n_tensors += 1;
            }
        }
        n_files += 1;
    }
    assert_eq!(n_files, 7, "all golden files were checked");
    assert!(n_tensors >= 7 * 8, "{n_tensors} tensors");
}

/// Random shapes of 1 to 4 axes with up to 2 samples of padding per axis.
fn shapes() -> impl Strategy<Value = (Vec<usize>, Vec<Vec<usize>>, usize, usize, Modulator, u64)> {
    let modulator = prop_oneof![Just(Modulator::Linear), Just(Modulator::Nonlinear), Just(Modulator::Table)];
    (1usize..=4, 2usize..=4, 1usize..=3, 1usize..=9, modulator, any::<u64>()).prop_flat_map(
        |(axes, levels, channels, width, modulator, seed)| {
            let largest = if axes > 2 { 2 } else { 4 };
            let bases = prop::collection::vec(prop::collection::vec(1usize..=largest, levels), axes);
            (bases, prop::collection::vec(0usize..=2, axes)).prop_map(move |(bases, padding)| {
                let extents = bases
                    .iter()
                    .zip(padding)
                    .map(|(list, p)| list.iter().product::<usize>().saturating_sub(p).max(1))
                    .collect();
                (extents, bases, channels, width, modulator, seed)
            })
        },
    )
}

/// The mean squared error with a weight on samples at seams: those whose last digit along some axis is 0 or base - 1,
/// where that base is above 2. Weights have a mean of 1 over a block.
fn weighted_mse(config: &NetworkConfig, params: &[f64], target: &[f32], seam_weight: f64) -> f64 {
    let partition = &config.partition;
    let bases: Vec<usize> = partition.bases().iter().map(|list| list[list.len() - 1]).collect();
    let is_seam = |position: &PerAxis| {
        bases.iter().zip(position).any(|(&base, &p)| base > 2 && [0, base - 1].contains(&(p as usize % base)))
    };
    let n_block = bases.iter().product::<usize>() as f64;
    let n_seams = reference::positions(&bases).filter(is_seam).count() as f64;
    let mean = (n_block - n_seams + seam_weight * n_seams) / n_block;
    let mut sum = 0.0;
    for (position, target) in
        reference::positions(partition.extents()).zip(target.chunks_exact(config.channels))
    {
        let weight = if is_seam(&position) { seam_weight / mean } else { 1.0 / mean };
        for (y, &t) in reference::evaluate(config, params, &position).iter().zip(target) {
            sum += weight * (y - f64::from(t)).powi(2);
        }
    }
    sum / target.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn finite_differences_agree(
        (extents, bases, channels, width, modulator, seed) in shapes(),
        seam_weight in prop_oneof![Just(1.0), Just(0.25), Just(4.0)],
    ) {
        let partition = Partition::new(&extents, &bases).unwrap();
        let n: usize = extents.iter().product::<usize>() * channels;
        prop_assume!(n <= 4096);
        // A small omega_0 keeps phases moderate, so that differences of step 1e-5 are in the linear range.
        let config = NetworkConfig { partition, channels, width, omega_0: 3.0, modulator };
        let network = Network::init(config.clone(), seed, 0.5).unwrap();
        let target: Vec<f32> = (0..n).map(|i| ((i * 37 + 11) % 101) as f32 / 100.0).collect();
        let signal = float_signal(&extents, channels, target.clone());
        let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
        engine.set_seam_weight(seam_weight);
        let mut gradient = vec![0.0; network.params().len()];
        let loss = engine.loss_and_gradient(network.params(), Batch::Full, &mut gradient);
        let exact: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
        let expected_loss = reference::mse(&config, &exact, &target);
        prop_assert!(
            (loss.mse - expected_loss).abs() <= 1e-5 * expected_loss.max(1e-3),
            "loss {} instead of {expected_loss}", loss.mse
        );
        let scale = gradient.iter().fold(0.0f32, |m, g| m.max(g.abs())).max(1e-3);
        // One weight of each tensor per case.
        for tensor in config.tensors() {
            let i = tensor.offset + seed as usize % tensor.len();
            let step = 1e-5;
            let mut moved = exact.clone();
            moved[i] = exact[i] + step;
            let above = weighted_mse(&config, &moved, &target, seam_weight);
            moved[i] = exact[i] - step;
            let below = weighted_mse(&config, &moved, &target, seam_weight);
            let expected = (above - below) / (2.0 * step);
            let error = (f64::from(gradient[i]) - expected).abs();
            prop_assert!(
                error <= 1e-3 * f64::from(scale),
                "{} [{i}]: gradient {} instead of {expected}", tensor.name, gradient[i]
            );
        }
    }

    /// The batches of an epoch share out all cells, and their mean gradient is the full one.
    #[test]
    fn batches_add_up((extents, bases, channels, width, modulator, seed) in shapes(), parts in 2u16..=5) {
        let partition = Partition::new(&extents, &bases).unwrap();
        let n: usize = extents.iter().product::<usize>() * channels;
        prop_assume!(n <= 4096);
        let config = NetworkConfig { partition, channels, width, omega_0: 3.0, modulator };
        let params = Network::init(config.clone(), seed, 0.5).unwrap().into_params();
        let target = (0..n).map(|i| ((i * 37) % 101) as f32 / 100.0).collect();
        let signal = float_signal(&extents, channels, target);
        let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
        let mut full = vec![0.0; params.len()];
        engine.loss_and_gradient(&params, Batch::Full, &mut full);
        let mut sampler = Sampler::new(&config, 1.0 / f64::from(parts), seed);
        let n_batches = sampler.n_batches();
        let leaf = config.partition.n_levels() - 2;
        prop_assert!(u128::from(n_batches) <= config.partition.n_visible_cells(leaf));
        let mut sum = vec![0.0f32; params.len()];
        let mut part = vec![0.0; params.len()];
        for _ in 0..n_batches {
            engine.loss_and_gradient(&params, sampler.next_batch(), &mut part);
            for (s, p) in sum.iter_mut().zip(&part) {
                *s += p / n_batches as f32;
            }
        }
        let error = relative_error(&sum, &full);
        prop_assert!(error < 1e-3, "the batches' mean gradient is off by {error:e}");
    }
}
