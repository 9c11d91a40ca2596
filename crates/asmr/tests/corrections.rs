//! Corrections keep their bound, and what they correct is the definition's, the same whatever part is asked for.

use std::io::Cursor;

use asmr::coding::{CodingError, Step, TensorSteps};
use asmr::exact::{ExactDecoder, sine};
use asmr::file::{AsmrReader, AsmrWriter, Encoding, FileError, FileHeader, Limits};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::reference;
use asmr::residual::{MaxError, SLAB_VALUES, decode, encode, slab_slices};
use asmr::signal::{SampleType, SignalInfo};

/// A generator (Knuth's MMIX).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn info(extents: &[usize], channels: usize, sample_type: SampleType) -> SignalInfo {
    SignalInfo::plain(extents.to_vec(), channels, sample_type, None)
}

#[test]
fn no_correction_is_off_by_more_than_the_bound() {
    let mut state = 1;
    let mut n_cases = 0;
    for (extents, channels) in [
        (&[37][..], 1),
        (&[50], 2),
        (&[1], 3),
        (&[7, 9], 3),
        (&[1, 5], 1),
        (&[6, 1], 2),
        (&[3, 4, 5], 1),
        (&[2, 3, 4, 5], 2),
    ] {
        let info = info(extents, channels, SampleType::I16);
        for bound in [0u64, 1, 4, 1000] {
            // Small ones, large ones, all alike, and the largest that 32-bit numbers can need.
            for magnitude in [1u64, 20, 60_000, (1 << 33) - 1] {
                let n = extents.iter().product::<usize>() * channels;
                let residuals: Vec<i64> = (0..n)
                    .map(|_| (random(&mut state) << 3) as i64 % magnitude as i64 - magnitude as i64 / 2)
                    .collect();
                let code = encode(&info, extents[0], &residuals, bound);
                let back = decode(&info, extents[0], &code, bound).unwrap();
                assert_eq!(back.len(), n);
                assert!(
                    residuals.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= bound),
                    "{extents:?} {bound} {magnitude}"
                );
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 8 * 16);
}

/// The largest residuals that always have a code, and those that have none: they are not coded as others.
#[test]
fn residuals_out_of_range_are_not_coded() {
    const MOST: i64 = 1 << 32;
    let (sound, picture) = (info(&[5], 1, SampleType::U32), info(&[2, 2], 1, SampleType::U32));
    let mut n_coded = 0;
    for bound in [0, 1, u64::from(u32::MAX)] {
        // Sound's line through two of these is three times as far off.
        for (info, n, residuals) in
            [(&sound, 5, vec![MOST, -MOST, MOST, -MOST, MOST]), (&picture, 2, vec![MOST, -MOST, -MOST, MOST])]
        {
            let back = decode(info, n, &encode(info, n, &residuals, bound), bound).unwrap();
            assert!(residuals.iter().zip(&back).all(|(a, b)| a.abs_diff(*b) <= bound), "{bound}");
            n_coded += 1;
        }
    }
    assert_eq!(n_coded, 6);
    // 35 bits; a difference of 2^35 from what is predicted, though both are in range; and what no correction may be.
    assert_eq!(decode(&sound, 1, &encode(&sound, 1, &[(1 << 35) - 1], 0), 0), Ok(vec![(1 << 35) - 1]));
    let cases = [
        (vec![1 << 35], 0),
        (vec![1 << 34, -(1 << 34)], 0),
        (vec![1 << 40], 1 << 20),
        (vec![i64::MIN], 0),
        (vec![0], 1 << 32),
    ];
    for (residuals, bound) in &cases {
        let done = std::panic::catch_unwind(|| encode(&sound, residuals.len(), residuals, *bound));
        assert!(done.is_err(), "{residuals:?} within {bound}");
    }
    assert_eq!(cases.len(), 5);
}

/// Of smooth residuals little is left to code: a plane costs less than a bit for a value.
#[test]
fn what_neighbours_tell_is_not_coded() {
    let info = info(&[64, 64], 1, SampleType::U16);
    let plane: Vec<i64> = (0..64 * 64).map(|i| 3 * (i / 64) + 2 * (i % 64)).collect();
    assert!(encode(&info, 64, &plane, 0).len() < 64 * 64 / 8);
    let line = SignalInfo { extents: vec![4096], ..info };
    let values: Vec<i64> = (0..4096).map(|i| 7 * i - 900).collect();
    assert!(encode(&line, 4096, &values, 0).len() < 64);
}

#[test]
fn other_bytes_are_errors_or_corrections() {
    let info = info(&[8, 9], 2, SampleType::U8);
    let mut state = 5;
    let residuals: Vec<i64> = (0..144).map(|_| (random(&mut state) % 40) as i64 - 20).collect();
    let code = encode(&info, 8, &residuals, 0);
    let mut n_refused = 0;
    for i in 0..code.len() {
        for bit in 0..8 {
            let mut other = code.clone();
            other[i] ^= 1 << bit;
            match decode(&info, 8, &other, 0) {
                Ok(values) => {
                    assert_ne!(values, residuals, "byte {i}");
                    assert_eq!(encode(&info, 8, &values, 0), other, "the only code of its corrections");
                }
                Err(_) => n_refused += 1,
            }
        }
        n_refused += usize::from(decode(&info, 8, &code[..i], 0).is_err_and(|_| true));
    }
    assert!(n_refused > 0);
    let zero = [&code[..], &[0]].concat();
    assert!(decode(&info, 8, &zero, 0).is_err(), "a byte of 0 at the end");
    let more = [&code[..], &[1; 16]].concat();
    assert!(decode(&info, 8, &more, 0).is_err(), "bytes that nothing needs");
    for seed in 0..300u64 {
        let mut state = seed;
        let bytes: Vec<u8> = (0..seed % 60).map(|_| random(&mut state) as u8).collect();
        if let Ok(values) = decode(&info, 8, &bytes, seed % 3) {
            assert_eq!(encode(&info, 8, &values, seed % 3), bytes, "the only code of its corrections");
        }
    }
}

/// Of values that no memory holds none is asked for in a way that ends the process.
#[test]
fn memory_that_is_not_there_is_an_error() {
    let extents = [1, 1 << 31, 1 << 31];
    let info = info(&extents, 1, SampleType::U8);
    assert!(matches!(decode(&info, 1, &[], 0), Err(CodingError::Memory { .. })));
    let partition = Partition::new(&extents, &[vec![1; 31], vec![2; 31], vec![2; 31]]).unwrap();
    let config =
        NetworkConfig { partition, channels: 1, width: 1, omega_0: 30.0, modulator: Modulator::Linear };
    let network = Network::init(config, 1, 1.0).unwrap();
    let decoder = ExactDecoder::new(&network);
    assert!(matches!(decoder.try_whole_numbers(&info, 0..1), Err(CodingError::Memory { .. })));
    assert!(matches!(decoder.try_values(&info, 0..1), Err(CodingError::Memory { .. })));
}

/// A file of a chunk whose weights are 0 and whose slabs have the shortest code, of a signal of bytes.
fn file_of(extents: &[usize], bases: &str, channels: usize, width: usize) -> Vec<u8> {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    let config = NetworkConfig { partition, channels, width, omega_0: 30.0, modulator: Modulator::Linear };
    let header = FileHeader {
        encoding: Encoding::Coded,
        max_error: Some(MaxError::Whole(0)),
        ..FileHeader::single(info(extents, channels, SampleType::U8), config.clone(), None)
    };
    let steps = vec![TensorSteps::uniform(Step::from_code(0)); config.tensors().len()];
    let network = Network::new(config.clone(), vec![0.0; config.n_params()]).unwrap();
    let slabs = vec![Vec::new(); header.n_slabs(0).unwrap()];
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header).unwrap();
    writer.push_corrected(&network, Some(&steps), Some(&slabs)).unwrap();
    writer.finish().unwrap().0.into_inner()
}

/// A small file may describe a slab, which is a slice at least, of any number of values, and cells of any number of phases.
#[test]
fn slabs_have_limits() {
    let open = |bytes: &[u8], max_table_values| {
        AsmrReader::open(Cursor::new(bytes.to_vec()), &Limits { max_table_values, ..Limits::default() })
    };
    let mut n_cases = 0;
    for (extents, bases, width, has, most) in [
        (&[1, 1 << 31][..], "1,1;65536,32768", 1, 1u128 << 31, 1u64 << 26),
        (&[1, (1 << 26) + 1], "1,1;8192,8193", 1, (1 << 26) + 1, 1 << 26),
        (&[3, 1 << 24], "1,3;16777216,1", 512, 1 << 33, 1 << 28),
        // Two slices to a slab.
        (&[9, 1 << 16], "9,1;65536,1", 4096, 1 << 29, 1 << 28),
    ] {
        let bytes = file_of(extents, bases, 1, width);
        match open(&bytes, 1 << 26) {
            Err(FileError::Limit { actual, limit, field, .. }) => {
                assert_eq!((actual, limit, field), (has, most, "max_table_values"), "{extents:?}");
            }
            other => panic!("{extents:?}: {:?}", other.map(|reader| reader.n_bytes())),
        }
        assert!(open(&bytes, 1 << 31).is_ok(), "{extents:?}: it is the caller's");
        n_cases += 1;
    }
    // A scanned picture, frames of 3840 × 2160, a volume, sound of one wide network, and the slice that just passes.
    for (extents, bases, channels, width) in [
        (&[16_384, 16_384][..], "8,8,8,8,4;8,8,8,8,4", 3, 256),
        (&[4, 2160, 3840], "1,2,2;18,30,4;24,40,4", 3, 512),
        (&[64, 2048, 2048], "4,4,4;32,16,4;32,16,4", 1, 256),
        (&[1 << 19], "512,64,16", 2, 4096),
        (&[1, 1 << 26], "1,1;8192,8192", 1, 4),
    ] {
        let opened = open(&file_of(extents, bases, channels, width), Limits::default().max_table_values);
        assert!(opened.is_ok(), "{extents:?}: {:?}", opened.err());
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
}

/// The unit of floats' corrections is a normal number, and messages have no hundreds of digits.
#[test]
fn bounds_are_shown_short() {
    let mut n_cases = 0;
    for (bound, suits, shown) in [
        (0.25, true, "0.25"),
        (1e300, true, "1e300"),
        (2e-308, true, "2e-308"),
        (1e308, false, "1e308"),
        (1e-308, false, "1e-308"),
        (0.0, false, "0"),
        (123_456.5, true, "123456.5"),
    ] {
        let max_error = MaxError::Real(bound);
        assert_eq!((max_error.suits(SampleType::F64), max_error.to_string().as_str()), (suits, shown));
        n_cases += 1;
    }
    assert_eq!(n_cases, 7);
}

#[test]
fn slabs_hold_whole_slices() {
    assert_eq!(slab_slices(&info(&[10, SLAB_VALUES * 2], 1, SampleType::U8)), 1);
    assert_eq!(slab_slices(&info(&[10_000, 100], 3, SampleType::U8)), SLAB_VALUES / 300);
    assert_eq!(slab_slices(&info(&[5], 1, SampleType::U8)), SLAB_VALUES);
}

#[test]
fn the_sine_is_one() {
    let mut worst = 0.0f64;
    for i in -200_000..200_000i64 {
        let x = i as f64 * 0.5 + (i as f64 * 0.001).fract();
        worst = worst.max((sine(x) - x.sin()).abs());
    }
    for i in -10_000..10_000 {
        let x = f64::from(i) * 1e-3;
        worst = worst.max((sine(x) - x.sin()).abs());
    }
    assert!(worst < 2e-10, "{worst:e}");
    assert!(sine(f64::NAN).is_nan() && sine(f64::INFINITY).is_nan());
}

/// A cell of level 0 may be 2^32 samples long, of which an axis has at most half: on machines of 32 bits too.
#[test]
fn strides_beyond_32_bits() {
    let partition = Partition::new(&[3], &[vec![1, 65_536, 65_536]]).unwrap();
    assert_eq!(partition.stride(0, 0), 1 << 32);
    let config =
        NetworkConfig { partition, channels: 1, width: 2, omega_0: 30.0, modulator: Modulator::Linear };
    let network = Network::init(config.clone(), 4, 1.0).unwrap();
    let params: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
    let values = ExactDecoder::new(&network).values(&info(&[3], 1, SampleType::F32), 0..3);
    assert_eq!(values.len(), 3);
    for (value, position) in values.iter().zip(reference::positions(&[3])) {
        let expected = reference::evaluate(&config, &params, &position)[0];
        // The sine's error, in 3 layers.
        assert!((value - expected).abs() < 1e-7, "{value} {expected}");
    }
}

/// Against the definition, evaluated for every sample by itself.
#[test]
fn exact_values_are_those_of_the_definition() {
    let mut n_cases = 0;
    for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
        for (extents, bases) in [
            (vec![23], vec![vec![3, 2, 4]]),
            (vec![11, 14], vec![vec![2, 2, 3], vec![3, 1, 5]]),
            (vec![5, 7, 6], vec![vec![2, 3], vec![2, 4], vec![3, 2]]),
        ] {
            let config = NetworkConfig {
                partition: Partition::new(&extents, &bases).unwrap(),
                channels: 2,
                width: 9,
                omega_0: 30.0,
                modulator,
            };
            let network = Network::init(config.clone(), 4, 1.0).unwrap();
            let params: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
            let info = info(&extents, 2, SampleType::U16);
            let values = ExactDecoder::new(&network).whole_numbers(&info, 0..extents[0]);
            let expected =
                reference::positions(&extents).flat_map(|p| reference::evaluate(&config, &params, &p));
            let mut n_values = 0;
            for (value, expected) in values.iter().zip(expected) {
                let expected = (expected.clamp(0.0, 1.0) * 65535.0).round() as i64;
                assert!(value.abs_diff(expected) <= 1, "{value} {expected}");
                n_values += 1;
            }
            assert_eq!(n_values, extents.iter().product::<usize>() * 2);
            let slice = info.slice_values();
            for start in 0..extents[0] {
                let part = ExactDecoder::new(&network).whole_numbers(&info, start..extents[0].min(start + 3));
                assert_eq!(part, values[start * slice..][..part.len()], "from {start}");
            }
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 9);
}
