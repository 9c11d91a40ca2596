//! One network, many ways to evaluate it: all must agree with the definition.

use std::path::Path;

use asmr::inference::{Decoder, Precision, Request, RequestError, thumbnail_factors};
use asmr::interchange::import;
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, PerAxis, parse_bases};
use asmr::reference;
use asmr::walk::Region;
use asmr_kernels::IsaLevel;
use proptest::prelude::*;

/// Absolute tolerance against double precision for outputs of order 1: phases up to 1,200 rad are formed in
/// double precision, the rest in single.
const OUTPUT_TOLERANCE: f32 = 2e-5;
/// Absolute tolerance of fixed point of about 13 bits, over up to five layers (golden vectors).
const INT16_TOLERANCE: f32 = 2e-4;
/// Absolute tolerance of operands of 8 bits.
const EIGHT_BIT_TOLERANCE: f32 = 2e-2;
/// Absolute tolerance between a thumbnail and the mean of full-resolution outputs.
const MEAN_TOLERANCE: f32 = 1e-5;

/// Fails on the first pair further apart than `tolerance`, or any NaN.
fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let close = (a - e).abs() <= tolerance;
        assert!(close, "{what}: value {i} is {a}, expected {e}, tolerance {tolerance:e}");
    }
}

fn exact(network: &Network) -> Vec<f64> {
    network.params().iter().map(|&w| f64::from(w)).collect()
}

fn full(network: &Network, isa: IsaLevel, precision: Precision) -> Vec<f32> {
    let partition = &network.config().partition;
    let mut out = vec![0.0; partition.n_samples() as usize * network.config().channels];
    Decoder::with(network, isa, precision).decode(&Request::whole(partition), &mut out).unwrap();
    out
}

/// Values of a box of the full output.
fn cut(values: &[f32], extents: &[usize], channels: usize, region: &Region) -> Vec<f32> {
    let mut out = Vec::new();
    for (i, position) in reference::positions(extents).enumerate() {
        if (0..extents.len()).all(|a| position[a] >= region.start[a] && position[a] < region.end[a]) {
            out.extend_from_slice(&values[i * channels..][..channels]);
        }
    }
    out
}

/// Means over boxes of `factor` samples per axis (axes of one sample excepted), padded samples left out.
fn box_means(values: &[f32], extents: &[usize], channels: usize, factor: usize) -> Vec<f32> {
    let factors: Vec<usize> = extents.iter().map(|&e| if e > 1 { factor } else { 1 }).collect();
    let small: Vec<usize> = extents.iter().zip(&factors).map(|(e, f)| e.div_ceil(*f)).collect();
    let mut sums = vec![0.0f64; small.iter().product::<usize>() * channels];
    let mut counts = vec![0.0f64; sums.len()];
    for (i, position) in reference::positions(extents).enumerate() {
        let index = (0..extents.len()).fold(0, |n, a| n * small[a] + position[a] as usize / factors[a]);
        for ch in 0..channels {
            sums[index * channels + ch] += f64::from(values[i * channels + ch]);
            counts[index * channels + ch] += 1.0;
        }
    }
    sums.iter().zip(&counts).map(|(s, n)| (s / n) as f32).collect()
}

/// Every path of one network against `expected` (row-major) and against each other, at every ISA level.
fn check_all_paths(
    what: &str,
    network: &Network,
    precision: Precision,
    expected: &[f32],
    tolerance: f32,
    mean_tolerance: f32,
) {
    let config = network.config();
    let (extents, channels) = (config.partition.extents().to_vec(), config.channels);
    for isa in IsaLevel::available() {
        let what = format!("{what} at {isa:?}, {precision:?}");
        let values = full(network, isa, precision);
        assert_close(&format!("{what}, full"), &values, expected, tolerance);
        let decoder = Decoder::with(network, isa, precision);

        // Regions: three boxes, bit for bit the full decode.
        for (numerator, denominator) in [(0, 2), (1, 3), (2, 5)] {
            let mut region = Region::whole(&extents);
            for (a, &e) in extents.iter().enumerate() {
                region.start[a] = (e * numerator / denominator) as u64;
                region.end[a] = (e - e * numerator / (2 * denominator)) as u64;
            }
            let expected = cut(&values, &extents, channels, &region);
            let mut out = vec![0.0; expected.len()];
            decoder.decode(&Request { region, thumbnail: 1 }, &mut out).unwrap();
            assert_eq!(out, expected, "{what}, region {region:?}");
        }

        // A list of samples in a scattered order, with repeats, bit for bit.
        let n: usize = extents.iter().product();
        let positions: Vec<PerAxis> = reference::positions(&extents).collect();
        let picks: Vec<usize> = (0..n.min(500)).map(|i| i * 7919 % n).chain([0, n - 1, 0]).collect();
        let list: Vec<PerAxis> = picks.iter().map(|&i| positions[i]).collect();
        let mut out = vec![0.0; list.len() * channels];
        decoder.decode_samples(&list, &mut out).unwrap();
        let expected: Vec<f32> =
            picks.iter().flat_map(|&i| &values[i * channels..][..channels]).copied().collect();
        assert_eq!(out, expected, "{what}, list of samples");

        // Thumbnails.
        for factor in thumbnail_factors(&config.partition) {
            let expected = box_means(&values, &extents, channels, factor);
            let mut out = vec![0.0; expected.len()];
            let request = Request { region: Region::whole(&extents), thumbnail: factor };
            decoder.decode(&request, &mut out).unwrap();
            assert_close(&format!("{what}, thumbnail {factor}"), &out, &expected, mean_tolerance);
        }
    }
}

#[test]
fn golden_vectors_by_every_path() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors");
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "safetensors") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let network = import(&bytes, None).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let expected: Vec<f32> = file
            .tensor("expected.output")
            .unwrap()
            .data()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // The definition itself, on a stride of samples.
        let (weights, channels) = (exact(&network), network.config().channels);
        let extents = network.config().partition.extents();
        for (i, position) in reference::positions(extents).enumerate().step_by(37) {
            let y = reference::evaluate(network.config(), &weights, &position);
            let y: Vec<f32> = y.iter().map(|&v| v as f32).collect();
            assert_close(
                &format!("{name}, per sample"),
                &y,
                &expected[i * channels..][..channels],
                OUTPUT_TOLERANCE,
            );
        }
        check_all_paths(&name, &network, Precision::F32, &expected, OUTPUT_TOLERANCE, MEAN_TOLERANCE);
        for (precision, tolerance) in [
            (Precision::Int16, INT16_TOLERANCE),
            (Precision::Int8, EIGHT_BIT_TOLERANCE),
            (Precision::Bf16, EIGHT_BIT_TOLERANCE),
        ] {
            check_all_paths(&name, &network, precision, &expected, tolerance, tolerance);
        }
        n_files += 1;
    }
    assert_eq!(n_files, 7, "all golden files were checked");
}

#[test]
fn widths_around_panels_and_large_blocks() {
    let mut n_cases = 0;
    for (extents, bases, channels, width) in [
        (vec![37, 41], "4,10;5,9", 3, 1),
        (vec![64, 64], "4,4,4;4,4,4", 1, 15),
        (vec![61, 67], "2,2,16;3,2,12", 4, 17),
        (vec![96, 80], "3,4,8;2,5,8", 3, 33),
        (vec![3000], "3,1024", 1, 32),
        (vec![1, 300], "1,1,1;3,10,10", 3, 20),
        (vec![1, 1], "1,1;1,1", 1, 5),
        (vec![5, 7, 9, 4], "1,3,2;2,2,2;3,1,3;2,1,2", 2, 24),
    ] {
        let partition = Partition::new(&extents, &parse_bases(bases).unwrap()).unwrap();
        for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
            let config =
                NetworkConfig { partition: partition.clone(), channels, width, omega_0: 30.0, modulator };
            let network = Network::init(config, 42, 1.0).unwrap();
            let weights = exact(&network);
            let expected: Vec<f32> = reference::positions(&extents)
                .flat_map(|p| reference::evaluate(network.config(), &weights, &p))
                .map(|v| v as f32)
                .collect();
            check_all_paths(
                &format!("{extents:?} {bases} d={width} {modulator:?}"),
                &network,
                Precision::F32,
                &expected,
                OUTPUT_TOLERANCE,
                MEAN_TOLERANCE,
            );
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 24);
}

#[test]
fn results_do_not_depend_on_threads() {
    let partition = Partition::new(&[120, 150], &parse_bases("3,5,8;5,4,8").unwrap()).unwrap();
    let config =
        NetworkConfig { partition, channels: 3, width: 48, omega_0: 30.0, modulator: Modulator::Linear };
    let network = Network::init(config, 3, 1.0).unwrap();
    let outputs: Vec<Vec<f32>> = [1, 2, 5]
        .iter()
        .map(|&n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| full(&network, IsaLevel::detect(), Precision::F32))
        })
        .collect();
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn integer_outputs_are_clamped_and_rounded() {
    let partition = Partition::new(&[16, 16], &parse_bases("4,4;4,4").unwrap()).unwrap();
    let config =
        NetworkConfig { partition, channels: 1, width: 16, omega_0: 30.0, modulator: Modulator::Linear };
    let mut network = Network::init(config.clone(), 3, 1.0).unwrap();
    // Stretch the outputs over both ends of the range.
    let mut params = network.clone().into_params();
    for w in &mut params[config.layout().output_weight] {
        *w *= 20.0;
    }
    network = Network::new(config, params).unwrap();
    let floats = full(&network, IsaLevel::detect(), Precision::F32);
    assert!(floats.iter().any(|&v| v < 0.0) && floats.iter().any(|&v| v > 1.0), "both ends are passed");
    let request = Request::whole(&network.config().partition);
    let (mut bytes, mut words) = (vec![0u8; 256], vec![0u16; 256]);
    Decoder::new(&network).decode(&request, &mut bytes).unwrap();
    Decoder::new(&network).decode(&request, &mut words).unwrap();
    for ((&f, &b), &w) in floats.iter().zip(&bytes).zip(&words) {
        assert!((f64::from(f).clamp(0.0, 1.0) * 255.0 - f64::from(b)).abs() <= 0.5001, "{f} became {b}");
        assert!((f64::from(f).clamp(0.0, 1.0) * 65535.0 - f64::from(w)).abs() <= 0.51, "{f} became {w}");
    }
}

/// Values near halves, where a product in single precision would round to the half itself.
#[test]
fn whole_numbers_are_rounded_once() {
    let partition = Partition::new(&[1], &[vec![1, 1]]).unwrap();
    let config =
        NetworkConfig { partition, channels: 1, width: 1, omega_0: 30.0, modulator: Modulator::Linear };
    let n = config.n_params();
    let mut n_values = 0;
    for (most, step) in [(255u32, 1), (65_535, 97)] {
        for whole in (0..most).step_by(step) {
            let half = ((f64::from(whole) + 0.5) / f64::from(most)) as f32;
            for value in [half.next_down(), half, half.next_up()] {
                let mut params = vec![0.0; n];
                params[n - 1] = value;
                let decoder = Decoder::new(&Network::new(config.clone(), params).unwrap());
                let request = Request::whole(&config.partition);
                let (mut byte, mut word) = ([0u8], [0u16]);
                decoder.decode(&request, &mut byte).unwrap();
                decoder.decode(&request, &mut word).unwrap();
                // Exact: 24 bits times 16.
                let exact = |most: f64| (f64::from(value) * most).round_ties_even();
                assert_eq!(f64::from(byte[0]).to_bits(), exact(255.0).to_bits(), "{value:?}");
                assert_eq!(f64::from(word[0]).to_bits(), exact(65_535.0).to_bits(), "{value:?}");
                n_values += 1;
            }
        }
    }
    assert_eq!(n_values, 3 * (255 + 676));
}

/// A thumbnail whose table is too large to be kept: 4,096 boxes of 5 channels of 240 numbers.
#[test]
fn thumbnails_of_large_blocks() {
    let extents = [130, 150];
    let partition = Partition::new(&extents, &[vec![2, 128], vec![2, 128]]).unwrap();
    let config =
        NetworkConfig { partition, channels: 5, width: 120, omega_0: 30.0, modulator: Modulator::Linear };
    let network = Network::init(config, 3, 1.0).unwrap();
    let values = full(&network, IsaLevel::detect(), Precision::F32);
    let decoder = Decoder::new(&network);
    let mut n_values = 0;
    for factor in [2, 64] {
        let expected = box_means(&values, &extents, 5, factor);
        let mut out = vec![0.0; expected.len()];
        let request = Request { region: Region::whole(&extents), thumbnail: factor };
        decoder.decode(&request, &mut out).unwrap();
        assert_close(&format!("thumbnail {factor}"), &out, &expected, MEAN_TOLERANCE);
        n_values += out.len();
    }
    assert_eq!(n_values, 5 * (65 * 75 + 3 * 3));
}

#[test]
fn impossible_requests_are_refused() {
    let partition = Partition::new(&[60, 48], &parse_bases("4,3,5;2,6,4").unwrap()).unwrap();
    let config =
        NetworkConfig { partition, channels: 1, width: 8, omega_0: 30.0, modulator: Modulator::Linear };
    let decoder = Decoder::new(&Network::init(config, 1, 1.0).unwrap());
    let whole = Region::whole(&[60, 48]);
    let mut out = vec![0.0f32; 60 * 48];
    // 5 and 4 share no factor but 1.
    let error = decoder.decode(&Request { region: whole, thumbnail: 2 }, &mut out).unwrap_err();
    assert_eq!(error, RequestError::Thumbnail { factor: 2, valid: vec![1] });
    assert!(decoder.decode(&Request { region: whole, thumbnail: 0 }, &mut out).is_err());
    let mut empty = whole;
    empty.end[1] = 0;
    assert!(matches!(
        decoder.decode(&Request { region: empty, thumbnail: 1 }, &mut out),
        Err(RequestError::Range { axis: 1, .. })
    ));
    let mut outside = whole;
    outside.end[0] = 61;
    assert!(matches!(
        decoder.decode(&Request { region: outside, thumbnail: 1 }, &mut out),
        Err(RequestError::Range { axis: 0, .. })
    ));
    assert!(matches!(
        decoder.decode(&Request { region: whole, thumbnail: 1 }, &mut out[1..]),
        Err(RequestError::OutputLength { expected: 2880, actual: 2879 })
    ));
    let error = decoder.decode_samples(&[[59, 47, 0, 0], [60, 0, 0, 0]], &mut [0.0; 2]).unwrap_err();
    assert!(matches!(error, RequestError::Sample { index: 1, .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_networks_by_every_path(
        axes in 1usize..=4,
        levels in 2usize..=4,
        channels in 1usize..=4,
        width in 1usize..=20,
        picks in prop::collection::vec(1usize..=4, 16),
        padding in prop::collection::vec(0usize..=3, 4),
        seed in any::<u64>(),
    ) {
        let bases: Vec<Vec<usize>> = (0..axes)
            .map(|a| (0..levels).map(|l| if axes > 2 { 1 + picks[a * 4 + l] % 2 } else { picks[a * 4 + l] }).collect())
            .collect();
        let extents: Vec<usize> = bases
            .iter()
            .zip(&padding)
            .map(|(list, p)| list.iter().product::<usize>().saturating_sub(*p).max(1))
            .collect();
        let partition = Partition::new(&extents, &bases).unwrap();
        let config = NetworkConfig { partition, channels, width, omega_0: 30.0, modulator: Modulator::Linear };
        let network = Network::init(config, seed, 1.0).unwrap();
        let weights = exact(&network);
        let expected: Vec<f32> = reference::positions(&extents)
            .flat_map(|p| reference::evaluate(network.config(), &weights, &p))
            .map(|v| v as f32)
            .collect();
        let what = format!("{extents:?} {bases:?} d={width}");
        check_all_paths(&what, &network, Precision::F32, &expected, OUTPUT_TOLERANCE, MEAN_TOLERANCE);
    }
}
