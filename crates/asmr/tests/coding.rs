//! Quantised weights and their code.

use asmr::coding::{CodingError, MAX_MAGNITUDE, MAX_WEIGHTS_PER_BYTE, QuantisedWeights, Step, TensorSteps};
use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use proptest::prelude::*;

fn config(bases: &str, width: usize, channels: usize, modulator: Modulator) -> NetworkConfig {
    let bases = parse_bases(bases).unwrap();
    let extents: Vec<usize> = bases.iter().map(|axis| axis.iter().product()).collect();
    let partition = Partition::new(&extents, &bases).unwrap();
    NetworkConfig { partition, channels, width, omega_0: 30.0, modulator }
}

/// A generator of tests (splitmix64), uniform in 0 to 1.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn gaussian(state: &mut u64) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(state)).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(state)).cos()
}

/// Steps have four sizes to the octave, and a weight is the exact product.
#[test]
fn weights_are_exact_products() {
    let mut n_cases = 0;
    for code in 0..=u8::MAX {
        let step = Step::from_code(code);
        let exact = f64::from(4 + code % 4) * 2f64.powi(i32::from(code / 4) - 42);
        assert_eq!(f64::from(step.size()), exact, "{code}");
        for q in [0, 1, -1, 3, 1000, 123_457, MAX_MAGNITUDE, -MAX_MAGNITUDE] {
            // Both factors and the product are exact in f64.
            assert_eq!(f64::from(step.weight(q)), f64::from(q) * exact, "{q} steps of code {code}");
            assert_eq!(step.quantise(f64::from(step.weight(q))), q, "{q} steps of code {code}");
            n_cases += 1;
        }
        assert_eq!(Step::at_most(exact * 1.01), step);
        assert_eq!(Step::at_least(exact * 0.99), step);
    }
    assert_eq!(n_cases, 256 * 8);
    assert_eq!(Step::at_most(0.0).code(), 0);
    assert_eq!(Step::at_most(f64::INFINITY).code(), 255);
    assert_eq!(Step::at_least(0.0).code(), 0);
    assert_eq!(Step::at_least(f64::INFINITY).code(), 255);
    assert_eq!(Step::from_code(100).quantise(f64::MAX), MAX_MAGNITUDE);
}

#[test]
fn nearest_weights_are_within_half_a_step() {
    let config = config("4,4,4;4,4,4", 20, 3, Modulator::Linear);
    let mut state = 7;
    let params: Vec<f32> = (0..config.n_params()).map(|_| gaussian(&mut state) as f32).collect();
    let steps: Vec<TensorSteps> = config
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, tensor)| graded(Step::at_most(0.01 * (i + 1) as f64), &tensor.shape, i % 3, &mut state))
        .collect();
    let quantised = QuantisedWeights::nearest(&config, steps.clone(), &params);
    let weights = quantised.weights(&config);
    let mut n_graded = 0;
    for (tensor, steps) in config.tensors().iter().zip(steps) {
        for i in tensor.range() {
            let error = f64::from(weights[i]) - f64::from(params[i]);
            let mut code = steps.finest.code();
            if let (&[_, n_columns], false) = (&tensor.shape[..], steps.rows.is_empty()) {
                let place = i - tensor.offset;
                code += steps.rows[place / n_columns] + steps.columns[place % n_columns];
                n_graded += 1;
            }
            let size = f64::from(Step::from_code(code).size());
            assert!(error.abs() <= size * 0.500_001, "{}: {error}", tensor.name);
        }
    }
    assert!(n_graded > 400);
}

/// Steps of a tensor, of a matrix with grades up to `most` by row and column; none for 0.
fn graded(finest: Step, shape: &[usize], most: usize, state: &mut u64) -> TensorSteps {
    let mut grades = |n: usize| (0..n).map(|_| (uniform(state) * (most + 1) as f64) as u8).collect();
    match *shape {
        [n_rows, n_columns] if most > 0 => {
            TensorSteps { finest, rows: grades(n_rows), columns: grades(n_columns) }
        }
        _ => TensorSteps::uniform(finest),
    }
}

#[test]
fn steps_that_do_not_fit_their_tensor() {
    let steps = |finest: u8, rows: &[u8], columns: &[u8]| TensorSteps {
        finest: Step::from_code(finest),
        rows: rows.to_vec(),
        columns: columns.to_vec(),
    };
    for (good, shape) in [
        (steps(255, &[], &[]), &[3][..]),
        (steps(255, &[], &[]), &[3, 2]),
        (steps(0, &[0, 0, 200], &[55, 0]), &[3, 2]),
    ] {
        assert!(good.fit(shape), "{good:?}");
    }
    for (bad, shape) in [
        (steps(0, &[1, 2, 3], &[]), &[3, 2][..]),
        (steps(0, &[], &[1, 2]), &[3, 2]),
        (steps(0, &[1, 2], &[1, 2]), &[3, 2]),
        (steps(0, &[1, 2, 3], &[1, 2]), &[6]),
        (steps(1, &[0, 0, 200], &[55, 0]), &[3, 2]),
    ] {
        assert!(!bad.fit(shape), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_coded_comes_back(
        width in 1usize..24, channels in 1usize..4, seed in any::<u64>(), spread in -2.0f64..21.5,
        modulator in prop_oneof![Just(Modulator::Linear), Just(Modulator::Nonlinear), Just(Modulator::Table)],
    ) {
        let config = config("3,4;2,5", width, channels, modulator);
        let mut state = seed;
        let largest = f64::from(MAX_MAGNITUDE);
        let values = (0..config.n_params())
            .map(|_| (gaussian(&mut state) * spread.exp2()).round().clamp(-largest, largest) as i32)
            .collect();
        let steps = config
            .tensors()
            .iter()
            .map(|tensor| {
                let most = (uniform(&mut state) * 3.0) as usize * 20;
                let finest = Step::from_code((uniform(&mut state) * (256 - 2 * most) as f64) as u8);
                graded(finest, &tensor.shape, most, &mut state)
            })
            .collect();
        let weights = QuantisedWeights { steps, values };
        let bytes = weights.encode(&config);
        prop_assert_eq!(QuantisedWeights::decode(&config, &bytes), Ok(weights.clone()));
        prop_assert_eq!(QuantisedWeights::exact(&config, weights.steps.clone(), &weights.weights(&config)), Some(weights.clone()));
        // One form: a longer or shorter one is refused, or is something else.
        let longer = [&bytes[..], &[0]].concat();
        prop_assert!(QuantisedWeights::decode(&config, &longer).is_err());
        let longer = [&bytes[..], &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        prop_assert!(QuantisedWeights::decode(&config, &longer).is_err());
        let shorter = &bytes[..bytes.len() / 2];
        prop_assert_ne!(QuantisedWeights::decode(&config, shorter), Ok(weights));
    }

    /// Any bytes end without a panic.
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let config = config("3,4;2,5", 6, 2, Modulator::Linear);
        if let Ok(weights) = QuantisedWeights::decode(&config, &bytes) {
            prop_assert_eq!(weights.values.len(), config.n_params());
            prop_assert!(weights.values.iter().all(|q| q.abs() <= MAX_MAGNITUDE));
            prop_assert_eq!(weights.encode(&config), bytes);
        }
    }
}

/// Weights have one code: whatever bytes are taken, they are what is written of the weights they stand for.
#[test]
fn a_code_is_the_only_one_of_its_weights() {
    let config = config("2,2", 1, 1, Modulator::Linear);
    assert_eq!(config.n_params(), 5, "a byte is the shortest code");
    let all_of = |n: u32| (0..1u32 << (8 * n)).map(move |code| code.to_be_bytes()[4 - n as usize..].to_vec());
    let longer = (1..12).flat_map(|n| [1, 0x80, 0xFF].map(|last| [&vec![0; n][..], &[last]].concat()));
    let (mut n_taken, mut n_refused) = (0, 0);
    for code in all_of(1).chain(all_of(2)).chain(longer) {
        match QuantisedWeights::decode(&config, &code) {
            Ok(weights) => {
                assert_eq!(weights.encode(&config), code);
                n_taken += 1;
            }
            Err(error) => {
                assert_eq!(error, CodingError::Invalid);
                n_refused += 1;
            }
        }
    }
    assert_eq!(n_taken + n_refused, 256 + 65536 + 33);
    assert!(n_taken > 256 && n_refused > 256, "{n_taken} taken, {n_refused} refused");
    // All decisions are "no" of a code of zeros, and of that with a bit after it that none of them needs.
    assert!(QuantisedWeights::decode(&config, &[0]).is_ok());
    assert!(QuantisedWeights::decode(&config, &[0, 0, 0, 0, 0, 0, 0, 1]).is_err());
}

/// A network of zeros takes the fewest bytes that are allowed, and fewer are refused: memory is bounded by the file's length.
#[test]
fn a_byte_stands_for_a_bounded_number_of_weights() {
    let config = config("4,4,4,8;4,4,4,8", 64, 3, Modulator::Linear);
    let steps = vec![TensorSteps::uniform(Step::from_code(0)); config.tensors().len()];
    let weights = QuantisedWeights { steps, values: vec![0; config.n_params()] };
    let bytes = weights.encode(&config);
    assert_eq!(bytes.len(), config.n_params().div_ceil(MAX_WEIGHTS_PER_BYTE));
    assert!(QuantisedWeights::decode(&config, &bytes) == Ok(weights));
    assert!(QuantisedWeights::decode(&config, &bytes[..bytes.len() - 1]).is_err());
    assert!(QuantisedWeights::decode(&config, &[]).is_err());
}

/// Gaussian weights cost little more than their entropy, at every fineness: the model has nothing but what it sees.
#[test]
fn code_length_is_near_the_entropy() {
    let config = config("4,4,4,8;4,4,4,8", 64, 3, Modulator::Linear);
    let mut n_cases = 0;
    for spread in [0.4, 1.0, 4.0, 20.0, 300.0] {
        let mut state = 5;
        let values: Vec<i32> =
            (0..config.n_params()).map(|_| (gaussian(&mut state) * spread).round() as i32).collect();
        // The empirical entropy: what a code could reach that knew how often each number comes.
        let mut counts = std::collections::BTreeMap::new();
        for q in &values {
            *counts.entry(q).or_insert(0u32) += 1;
        }
        let n = values.len() as f64;
        let entropy: f64 = counts.values().map(|&c| -f64::from(c) * (f64::from(c) / n).log2()).sum();
        let steps = vec![TensorSteps::uniform(Step::from_code(120)); config.tensors().len()];
        let bits = 8.0 * QuantisedWeights { steps, values }.encode(&config).len() as f64;
        assert!(bits < 1.03 * entropy + 2_000.0, "spread {spread}: {bits} bits, entropy {entropy}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
}
