//! Exchange by `.safetensors`: golden vectors, round trips, and files that must be refused.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use asmr::interchange::{ImportError, export, import, imported_signal};
use asmr::network::{Modulator, Network, NetworkConfig, NetworkError};
use asmr::partition::{Partition, PartitionError};
use asmr::reference;
use asmr::signal::{ColorType, MAX_AXES, SampleType};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};

/// Expected values were rounded from f64 to f32, near 1 by at most 6e-8; everything else is f64.
const GOLDEN_TOLERANCE: f64 = 1e-6;

fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert_eq!(files.len(), 7, "golden vectors");
    files
}

#[test]
fn golden_vectors_import_and_give_their_expected_output() {
    let (mut n_files, mut n_values, mut worst) = (0, 0, 0f64);
    for (name, bytes) in golden() {
        let network = import(&bytes, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let config = network.config();
        assert_eq!(config.omega_0, 30.0);
        assert_eq!(config.modulator == Modulator::Nonlinear, name.contains("nonlinear"));
        assert!(name.starts_with(&format!("d{}", config.partition.n_axes())));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let expected = file.tensor("expected.output").unwrap();
        let mut shape = config.partition.extents().to_vec();
        shape.push(config.channels);
        assert_eq!(expected.shape(), shape, "{name}");
        let expected: Vec<f32> =
            expected.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();

        let params: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
        let n_samples: usize = config.partition.extents().iter().product();
        // An odd stride, and the last sample in any case.
        let stride = (n_samples / 3000).max(1) | 1;
        for (i, position) in reference::positions(config.partition.extents()).enumerate() {
            if i % stride != 0 && i + 1 != n_samples {
                continue;
            }
            let output = reference::evaluate(config, &params, &position);
            for (c, (&y, &e)) in output.iter().zip(&expected[i * config.channels..]).enumerate() {
                let error = (y - f64::from(e)).abs();
                assert!(
                    error <= GOLDEN_TOLERANCE,
                    "{name}: sample {i} channel {c} is {y}, expected {e}, differs by {error:e} > {GOLDEN_TOLERANCE:e}"
                );
                worst = worst.max(error);
                n_values += 1;
            }
        }
        n_files += 1;
    }
    assert_eq!(n_files, 7);
    assert!(n_values > 20_000, "{n_values}");
    println!("{n_values} values, largest difference {worst:e}");
}

fn assert_same_bits(a: &Network, b: &Network) {
    assert_eq!(a.config(), b.config());
    let bits = |n: &Network| n.params().iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(a), bits(b));
}

fn config(extents: &[usize], bases: &[Vec<usize>], channels: usize, modulator: Modulator) -> NetworkConfig {
    NetworkConfig {
        partition: Partition::new(extents, bases).unwrap(),
        channels,
        width: 7,
        omega_0: 17.3,
        modulator,
    }
}

#[test]
fn import_of_export_is_the_same_network_bit_for_bit() {
    let mut n = 0;
    for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
        for axes in 1..=MAX_AXES {
            for levels in [2, 3, 6] {
                for crop in 0..2 {
                    let bases: Vec<Vec<usize>> =
                        (0..axes).map(|a| (0..levels).map(|l| 1 + (a + 2 * l) % 3).collect()).collect();
                    let extents: Vec<usize> =
                        bases.iter().map(|list| (list.iter().product::<usize>() - crop).max(1)).collect();
                    let mut shape = config(&extents, &bases, 1 + n % 5, modulator);
                    shape.omega_0 = 0.1 + n as f32;
                    let network = Network::init(shape, n as u64, 1.0).unwrap();
                    let bytes = export(&network).unwrap();
                    assert_eq!(bytes, export(&network.clone()).unwrap(), "same network, same bytes");
                    assert_same_bits(&import(&bytes, None).unwrap(), &network);
                    assert_same_bits(&import(&bytes, Some(&bases)).unwrap(), &network);
                    // The format's own reader finds every tensor in its place.
                    let file = SafeTensors::deserialize(&bytes).unwrap();
                    let tensors = network.config().tensors();
                    assert_eq!(file.len(), tensors.len());
                    for t in &tensors {
                        let view = file.tensor(&t.name).unwrap();
                        let weights: Vec<u8> =
                            network.params()[t.range()].iter().flat_map(|w| w.to_le_bytes()).collect();
                        assert_eq!((view.shape(), view.data()), (&t.shape[..], &weights[..]));
                    }
                    n += 1;
                }
            }
        }
    }
    assert_eq!(n, 3 * 4 * 3 * 2);
}

#[test]
fn golden_vectors_survive_export() {
    for (_, bytes) in golden() {
        let network = import(&bytes, None).unwrap();
        assert_same_bits(&import(&export(&network).unwrap(), None).unwrap(), &network);
    }
}

#[test]
fn export_is_these_bytes() {
    let config = NetworkConfig {
        partition: Partition::new(&[5], &[vec![2, 3]]).unwrap(),
        channels: 1,
        width: 1,
        omega_0: 30.0,
        modulator: Modulator::Table,
    };
    let network = Network::new(config, (0u8..7).map(f32::from).collect()).unwrap();
    let bytes = export(&network).unwrap();
    let header = concat!(
        r#"{"__metadata__":{"axes":"1","bases":"[[2,3]]","channels":"1","extents":"[5]","levels":"2","#,
        r#""modulator":"table","omega_0":"30","width":"1"},"#,
        r#""net.0.linear.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"#,
        r#""net.0.linear.bias":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},"#,
        r#""modulators.0.table.0":{"dtype":"F32","shape":[3,1],"data_offsets":[8,20]},"#,
        r#""last_layer.linear.weight":{"dtype":"F32","shape":[1,1],"data_offsets":[20,24]},"#,
        r#""last_layer.linear.bias":{"dtype":"F32","shape":[1],"data_offsets":[24,28]}}"#,
    );
    assert!(bytes.starts_with(&(header.len().next_multiple_of(8) as u64).to_le_bytes()));
    assert_eq!(std::str::from_utf8(&bytes[8..8 + header.len()]).unwrap(), header);
    assert_eq!(bytes.len(), 8 + header.len().next_multiple_of(8) + 7 * 4);
}

#[test]
fn imported_signals_are_pictures_or_plain_arrays() {
    let signal = |axes: usize, channels| {
        let config = config(&vec![5; axes], &vec![vec![2, 3]; axes], channels, Modulator::Linear);
        let signal = imported_signal(&config);
        signal.validate().unwrap();
        assert_eq!((signal.extents, signal.channels), (vec![5; axes], channels));
        (signal.sample_type, signal.color)
    };
    let colors = [ColorType::Gray, ColorType::GrayAlpha, ColorType::Rgb, ColorType::Rgba];
    for (channels, color) in (1..).zip(colors) {
        assert_eq!(signal(2, channels), (SampleType::U8, Some(color)));
    }
    for (axes, channels) in [(1, 1), (2, 5), (3, 3), (4, 4)] {
        assert_eq!(signal(axes, channels), (SampleType::F32, None));
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Files made by the format's own writer, changed in one place.

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;
type Texts = BTreeMap<&'static str, String>;

fn parts(network: &Network) -> (Tensors, Texts) {
    let config = network.config();
    let tensors = config.tensors().into_iter().map(|t| {
        let data = network.params()[t.range()].iter().flat_map(|w| w.to_le_bytes()).collect();
        (t.name, (Dtype::F32, t.shape, data))
    });
    (tensors.collect(), Texts::from([("bases", format!("{:?}", config.partition.bases()))]))
}

fn build(tensors: &Tensors, texts: &Texts) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name.clone(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let texts: HashMap<String, String> = texts.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    serialize(views, Some(texts)).unwrap()
}

fn sample(modulator: Modulator) -> Network {
    Network::init(config(&[12, 10], &[vec![2, 3, 2], vec![5, 1, 2]], 2, modulator), 3, 1.0).unwrap()
}

#[test]
fn bases_come_from_the_file_or_the_argument_and_must_agree() {
    let network = sample(Modulator::Linear);
    let bases = network.config().partition.bases().to_vec();
    let (tensors, texts) = parts(&network);
    let none = Texts::new();
    let imported = import(&build(&tensors, &none), Some(&bases)).unwrap();
    assert_eq!(imported.config().omega_0, 30.0, "the default");
    assert_eq!(imported.params(), network.params());
    assert_eq!(import(&build(&tensors, &texts), None).unwrap(), imported);
    assert_eq!(import(&build(&tensors, &none), None), Err(ImportError::NoBases));
    let other = vec![vec![3, 2, 2], vec![5, 1, 2]];
    assert_eq!(
        import(&build(&tensors, &texts), Some(&other)),
        Err(ImportError::BasesDiffer { given: other.clone(), stored: bases.clone() })
    );
    // Other bases of the same shape are another network, and as valid as the first.
    assert_eq!(import(&build(&tensors, &none), Some(&other)).unwrap().config().partition.bases(), other);
    for wrong in [vec![vec![12, 10]], vec![vec![4, 3], vec![5, 2]], vec![vec![2, 3, 2]; 3], vec![]] {
        let result = import(&build(&tensors, &none), Some(&wrong));
        assert_eq!(result, Err(ImportError::BasesShape { bases: wrong, axes: 2, levels: 3 }));
    }
    let zero = import(&build(&tensors, &none), Some(&[vec![2, 0, 2], vec![5, 1, 2]]));
    assert!(matches!(
        zero,
        Err(ImportError::Partition(PartitionError::Extent { .. } | PartitionError::Base { .. }))
    ));
    let huge = import(&build(&tensors, &none), Some(&[vec![usize::MAX; 3], vec![5, 1, 2]]));
    assert!(matches!(huge, Err(ImportError::Partition(_))));
}

#[test]
fn metadata_is_checked_against_the_tensors() {
    let (tensors, texts) = parts(&sample(Modulator::Linear));
    let with = |key: &'static str, value: &str| {
        let mut texts = texts.clone();
        texts.insert(key, value.to_owned());
        import(&build(&tensors, &texts), None)
    };
    for (key, right, wrong) in [
        ("axes", "2", "3"),
        ("levels", "3", "4"),
        ("width", "7", "8"),
        ("channels", "2", "1"),
        ("modulator", "linear", "table"),
    ] {
        assert!(with(key, right).is_ok(), "{key}");
        match with(key, wrong) {
            Err(ImportError::Contradiction { key: k, metadata, tensors }) => {
                assert_eq!((k, &metadata[..], &tensors[..]), (key, wrong, right));
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    for (key, wrong) in [
        ("axes", "two"),
        ("levels", "-3"),
        ("width", "7.0"),
        ("channels", ""),
        ("omega_0", "thirty"),
        ("bases", "[[2,3,2],[5,1,2]"),
        ("bases", "[[2,3,2.0],[5,1,2]]"),
        ("bases", "[[2,3,-2],[5,1,2]]"),
        ("bases", "2,3,2;5,1,2"),
        ("extents", "12,10"),
        ("extents", "[12,1e1]"),
    ] {
        assert!(
            matches!(with(key, wrong), Err(ImportError::Metadata { key: k, .. }) if k == key),
            "{key} {wrong}"
        );
    }
    assert_eq!(with("extents", "[11,9]").unwrap().config().partition.extents(), [11, 9]);
    assert_eq!(with("omega_0", "10").unwrap().config().omega_0, 10.0);
    for (key, wrong) in
        [("extents", "[13,10]"), ("extents", "[12]"), ("extents", "[]"), ("extents", "[0,10]")]
    {
        assert!(matches!(with(key, wrong), Err(ImportError::Partition(_))), "{key} {wrong}");
    }
    for wrong in ["NaN", "inf", "-30", "0", "1e9"] {
        assert!(
            matches!(with("omega_0", wrong), Err(ImportError::Network(NetworkError::Omega(_)))),
            "{wrong}"
        );
    }
}

#[test]
fn tensors_missing_extra_or_of_another_shape_are_named() {
    let mut n = 0;
    for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
        let (tensors, texts) = parts(&sample(modulator));
        for name in tensors.keys() {
            let mut fewer = tensors.clone();
            fewer.remove(name);
            let error = import(&build(&fewer, &texts), None).unwrap_err();
            // Without its first modulator a network looks like another kind, without its last layer shorter.
            let says = error.to_string();
            assert!(
                says.contains("missing") || says.contains("no place") || says.contains("levels"),
                "{name}: {says}"
            );
            let mut longer = tensors.clone();
            let (dtype, shape, data) = longer.remove(name).unwrap();
            let mut more = shape.clone();
            more[0] += 1;
            let row = data.len() / shape[0];
            longer.insert(name.clone(), (dtype, more, [&data[..], &data[..row]].concat()));
            let error = import(&build(&longer, &texts), None).unwrap_err();
            let expected = matches!(error, ImportError::Shape { .. } | ImportError::ModulatorWidth { .. });
            assert!(expected, "{name}: {error}");
            let mut flat = tensors.clone();
            flat.insert(name.clone(), (dtype, vec![1, 1, data.len() / 4], data));
            let error = import(&build(&flat, &texts), None).unwrap_err();
            let expected = matches!(error, ImportError::Shape { .. } | ImportError::NotAMatrix { .. });
            assert!(expected, "{name}: {error}");
            n += 1;
        }
        for extra in
            ["net.2.linear.bias", "optimizer.state", "", "net.x.linear.weight", "net.99.linear.weight"]
        {
            let mut more = tensors.clone();
            more.insert(extra.to_owned(), (Dtype::F32, vec![1, 1], vec![0; 4]));
            let error = import(&build(&more, &texts), None).unwrap_err();
            assert_eq!(error, ImportError::UnexpectedTensor(extra.to_owned()));
        }
        for ignored in ["target", "expected.output", "expected."] {
            let mut more = tensors.clone();
            more.insert(ignored.to_owned(), (Dtype::I64, vec![1], vec![0; 8]));
            assert!(import(&build(&more, &texts), None).is_ok());
        }
    }
    // 4 of the layers, 2 of the output; then per level 1, 6 or 2 of the modulator.
    assert_eq!(n, 3 * 6 + 2 * (1 + 6 + 2));
    let (tensors, texts) = parts(&sample(Modulator::Linear));
    let mut wrong = tensors;
    wrong.get_mut("net.1.linear.weight").unwrap().1 = vec![49, 1];
    assert_eq!(
        import(&build(&wrong, &texts), None),
        Err(ImportError::Shape {
            tensor: "net.1.linear.weight".into(),
            actual: vec![49, 1],
            expected: vec![7, 7]
        })
    );
}

#[test]
fn nonlinear_modulators_of_another_width_are_refused() {
    let (mut tensors, texts) = parts(&sample(Modulator::Nonlinear));
    for (name, (_, shape, data)) in &mut tensors {
        if name.contains(".model.net.0.") {
            shape[0] = 64;
            *data = [&data[..], &data[..]].concat();
        }
    }
    let error = import(&build(&tensors, &texts), None).unwrap_err();
    assert!(matches!(error, ImportError::ModulatorWidth { actual: 64, .. }), "{error}");
}

#[test]
fn other_floats_are_converted_and_other_types_refused() {
    let network = sample(Modulator::Linear);
    let (tensors, texts) = parts(&network);
    let convert = |dtype: Dtype, f: &dyn Fn(f32) -> Vec<u8>| {
        let mut tensors = tensors.clone();
        for (t, _, data) in tensors.values_mut() {
            *data = data.as_chunks().0.iter().flat_map(|&b| f(f32::from_le_bytes(b))).collect();
            *t = dtype;
        }
        import(&build(&tensors, &texts), None)
    };
    let wide = convert(Dtype::F64, &|w| f64::from(w).to_le_bytes().to_vec()).unwrap();
    assert_eq!(wide.params(), network.params());
    let brain = convert(Dtype::BF16, &|w| w.to_le_bytes()[2..].to_vec()).unwrap();
    for (b, w) in brain.params().iter().zip(network.params()) {
        assert_eq!(b.to_bits(), w.to_bits() & 0xFFFF_0000);
    }
    // Half precision: powers of two from the smallest subnormal to the largest, and known neighbours of 1.
    for (bits, value) in [
        (0x0001u16, 2f32.powi(-24)),
        (0x03FF, 1023.0 * 2f32.powi(-24)),
        (0x0400, 2f32.powi(-14)),
        (0x3555, 0.333_251_95),
        (0x3C00, 1.0),
        (0x3C01, 1.000_976_6),
        (0xC000, -2.0),
        (0x7BFF, 65504.0),
        (0x8000, -0.0),
    ] {
        let half = convert(Dtype::F16, &|_| bits.to_le_bytes().to_vec()).unwrap();
        assert!(half.params().iter().all(|w| w.to_bits() == value.to_bits()), "{bits:04x}");
    }
    for bits in [0x7C00u16, 0xFC00, 0x7E00] {
        let half = convert(Dtype::F16, &|_| bits.to_le_bytes().to_vec());
        assert!(matches!(half, Err(ImportError::Network(NetworkError::NotFinite { .. }))), "{bits:04x}");
    }
    let overflow = convert(Dtype::F64, &|_| 1e300f64.to_le_bytes().to_vec());
    assert!(matches!(overflow, Err(ImportError::Network(NetworkError::NotFinite { .. }))));
    for (dtype, n) in [(Dtype::I32, 4), (Dtype::U8, 1), (Dtype::F8_E4M3, 1), (Dtype::C64, 8)] {
        assert!(matches!(convert(dtype, &|_| vec![0; n]), Err(ImportError::Dtype { .. })), "{dtype}");
    }
}

// ---------------------------------------------------------------------------------------------------------------
// Damage and attacks.

#[test]
fn cut_files_are_an_error() {
    let mut n = 0;
    for (name, bytes) in golden() {
        for end in (0..bytes.len()).step_by(97) {
            assert!(
                matches!(import(&bytes[..end], None), Err(ImportError::Format(_))),
                "{name} cut at {end}"
            );
            n += 1;
        }
    }
    assert!(n > 13_000, "{n}");
}

#[test]
fn changed_header_bytes_never_panic_and_never_change_weights_unnoticed() {
    let network = sample(Modulator::Table);
    let bytes = export(&network).unwrap();
    let header_len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let (mut n, mut errors) = (0, 0);
    for i in 0..8 + header_len {
        for change in [1, 2, 4, 8, 16, 32, 64, 128, 0x5A] {
            let mut changed = bytes.clone();
            changed[i] ^= change;
            match import(&changed, None) {
                // What the format cannot notice: another omega_0, extent or base, the name of an optional key,
                // white space. The weights are in their places all the same.
                Ok(other) => assert_eq!(other.params().len(), network.params().len()),
                Err(_) => errors += 1,
            }
            n += 1;
        }
    }
    assert_eq!(n, 9 * (8 + header_len));
    assert!(errors * 10 > n * 8, "{errors} of {n}");
}

#[test]
fn absurd_headers_are_refused() {
    let raw = |len: u64, header: &str, data: usize| {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        import(&bytes, Some(&[vec![2, 3]]))
    };
    let framed = |header: &str, data| raw(header.len() as u64, header, data);
    let tensor = |name: &str, shape: &str, from: u64, to: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let first = |shape: &str, to| framed(&format!("{{{}}}", tensor("net.0.linear.weight", shape, 0, to)), 4);
    let width = |d: u64| {
        // Tensors without elements cost nothing: a network of width d and 0 axes.
        let header = [
            tensor("last_layer.linear.weight", &format!("[0,{d}]"), 0, 0),
            tensor("net.0.linear.weight", &format!("[{d},0]"), 0, 0),
        ];
        framed(&format!("{{{}}}", header.join(",")), 0)
    };
    let cases = [
        ("empty", import(&[], None)),
        ("header length 2^64-1", raw(u64::MAX, "{}", 0)),
        ("header length 100 MB", raw(100_000_000, "{}", 0)),
        ("header length one past the end", raw(3, "{}", 0)),
        ("empty object", framed("{}", 0)),
        ("array", framed("[]", 0)),
        ("spaces", framed(&" ".repeat(100_000), 0)),
        ("open brackets", framed(&"[".repeat(100_000), 0)),
        ("open objects", framed(&"{\"a\":".repeat(100_000), 0)),
        ("shape whose product overflows", first("[4294967296,4294967296]", 4)),
        ("shape of 2^63 elements", first("[9223372036854775808]", 4)),
        ("negative shape", first("[-1,-1]", 4)),
        ("float as shape", first("[1.0,1]", 4)),
        ("shape larger than its bytes", first("[1000000,1000]", 4)),
        ("offsets past the end", first("[1000000,1000]", 4_000_000_000)),
        ("a thousand axes", first(&format!("[{}1]", "1,".repeat(999)), 4)),
        ("no axes", first("[]", 4)),
        (
            "bases of a megabyte",
            framed(
                &format!(
                    "{{\"__metadata__\":{{\"bases\":\"[[{}1]]\"}},{},{}}}",
                    "1,".repeat(500_000),
                    tensor("net.0.linear.weight", "[1,1]", 0, 4),
                    tensor("last_layer.linear.weight", "[1,1]", 4, 8)
                ),
                8,
            ),
        ),
        (
            "name of a megabyte",
            framed(
                &format!(
                    "{{{}}}",
                    tensor(&format!("net.{}.linear.weight", "1".repeat(1_000_000)), "[1,1]", 0, 4)
                ),
                4,
            ),
        ),
        ("width 0", width(0)),
        ("width 2^63 without elements", width(1 << 63)),
        ("width 2^64-1 without elements", width(u64::MAX)),
    ];
    assert_eq!(cases.len(), 22);
    for (attack, result) in cases {
        let error = result.expect_err(attack).to_string();
        assert!(!error.is_empty() && error.len() < 2000, "{attack}: {error}");
    }
}
