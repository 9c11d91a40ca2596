//! The `.asmr` file: round trips, damage at every byte, and (in `attacks`) right checksums of wrong content.

mod attacks;

use std::collections::BTreeMap;
use std::io::{self, Read};

use asmr::file::{
    AsmrFile, FileError, FileHeader, FitRecord, Limits, MAGIC, MAX_FIT_DEPTH, MAX_HEADER_BYTES,
};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::signal::{ColorType, SampleType, SignalInfo};
use proptest::prelude::*;
use serde_json::json;

// ---------------------------------------------------------------------------------------------------------------
// Files written by hand, from docs/FORMAT.md and with nothing of the writer.

/// CRC-32 of ISO-HDLC (as in PNG), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
    })
}

/// Prefix and header with right checksums.
fn prefix_and_header(version: u16, flags: u16, header_len: u32, header: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xA5, 0x41, 0x53, 0x4D, 0x52, 0x0D, 0x0A, 0x0A];
    bytes.extend(version.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend(header_len.to_le_bytes());
    bytes.extend(crc32(header).to_le_bytes());
    bytes.extend(crc32(&bytes).to_le_bytes());
    bytes.extend(header);
    bytes
}

/// A file with any header and any bytes of weights, all checksums right.
fn frame(header: &str, weights: &[u8]) -> Vec<u8> {
    let mut header = header.as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = prefix_and_header(1, 0, header.len() as u32, &header);
    bytes.extend(weights);
    bytes.extend(crc32(&bytes).to_le_bytes());
    bytes
}

fn f32_bytes(weights: &[f32]) -> Vec<u8> {
    weights.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// 1 axis of 6, bases 2·3, 1 channel, width 2, linear modulator: 2·1 + 2 + 2·1 + 1·2 + 1 = 9 weights.
const SMALL: &str = r#"{"signal":{"extents":[6],"channels":1,"sample_type":"f32","color":null},"network":{"partition":{"extents":[6],"bases":[[2,3]]},"channels":1,"width":2,"omega_0":30.0,"modulator":"linear"},"weights":{"encoding":"f32","n_bytes":36}}"#;
const SMALL_WEIGHTS: [f32; 9] = [0.5, -0.25, 1.5, -2.0, 0.125, 3.0, -0.0, 1e-40, 7.5];

fn small() -> AsmrFile {
    let config = NetworkConfig {
        partition: Partition::new(&[6], &[vec![2, 3]]).unwrap(),
        channels: 1,
        width: 2,
        omega_0: 30.0,
        modulator: Modulator::Linear,
    };
    AsmrFile {
        signal: SignalInfo::plain(vec![6], 1, SampleType::F32, None),
        network: Network::new(config, SMALL_WEIGHTS.to_vec()).unwrap(),
        steps: None,
        fit: None,
    }
}

fn read(bytes: &[u8]) -> Result<AsmrFile, FileError> {
    AsmrFile::read_from_bytes(bytes, &Limits::default())
}

fn same_bits(a: &AsmrFile, b: &AsmrFile) -> bool {
    let bits = |f: &AsmrFile| f.network.params().iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    a == b && bits(a) == bits(b)
}

#[test]
fn file_written_by_hand_is_read_and_is_what_the_writer_writes() {
    assert_eq!(crc32(b"123456789"), 0xCBF4_3926, "the test's own CRC-32");
    let by_hand = frame(SMALL, &f32_bytes(&SMALL_WEIGHTS));
    assert_eq!(by_hand.len(), 24 + 232 + 36 + 4);
    assert_eq!(MAGIC, by_hand[..8]);
    let file = read(&by_hand).unwrap();
    assert!(same_bits(&file, &small()));
    assert_eq!(small().to_bytes().unwrap(), by_hand);
    assert_eq!(small().n_bytes().unwrap(), by_hand.len() as u64);
}

#[test]
fn other_writers_may_order_and_space_the_header_as_they_like() {
    let header = r#"
        {"weights": {"n_bytes": 36, "encoding": "f32"}, "fit": {"steps": 100},
         "network": {"modulator": "linear", "omega_0": 3e1, "width": 2, "channels": 1,
                     "partition": {"bases": [[2, 3]], "extents": [6]}},
         "signal": {"sample_type": "f32", "channels": 1, "extents": [6]}}"#;
    let file = read(&frame(header, &f32_bytes(&SMALL_WEIGHTS))).unwrap();
    assert_eq!(file.fit.as_ref().unwrap().get("steps"), Some(&json!(100)));
    assert!(same_bits(&AsmrFile { fit: None, ..file }, &small()));
}

// ---------------------------------------------------------------------------------------------------------------
// Round trips.

const SAMPLE_TYPES: [SampleType; 3] = [SampleType::U8, SampleType::U16, SampleType::F32];
const MODULATORS: [Modulator; 3] = [Modulator::Linear, Modulator::Nonlinear, Modulator::Table];

fn color_of(channels: usize) -> Option<ColorType> {
    [ColorType::Gray, ColorType::GrayAlpha, ColorType::Rgb, ColorType::Rgba].get(channels - 1).copied()
}

fn make(
    bases: &[Vec<usize>],
    crop: usize,
    channels: usize,
    width: usize,
    kind: (Modulator, SampleType),
    seed: u64,
) -> AsmrFile {
    let extents: Vec<usize> = bases
        .iter()
        .map(|list| {
            let product: usize = list.iter().product();
            product.saturating_sub(crop).max(1)
        })
        .collect();
    let config = NetworkConfig {
        partition: Partition::new(&extents, bases).unwrap(),
        channels,
        width,
        omega_0: 0.1 + (seed % 997) as f32 * 0.37,
        modulator: kind.0,
    };
    let color = if extents.len() == 2 && seed.is_multiple_of(2) { color_of(channels) } else { None };
    let mut fit = FitRecord::new();
    fit.insert("seed", seed);
    fit.insert("preset", "paper");
    fit.insert("lr", (seed % 4096) as f64 / 1024.0);
    fit.insert("stages", json!([{"z": 1, "a": [true, null]}, -3, "ü\"\\\n"]));
    AsmrFile {
        signal: SignalInfo::plain(extents, channels, kind.1, color),
        network: Network::init(config, seed, 1.0).unwrap(),
        steps: None,
        fit: (!seed.is_multiple_of(3)).then_some(fit),
    }
}

fn assert_round_trip(file: &AsmrFile) {
    // Grids of 6^24 samples cost nothing here.
    let limits = Limits { max_values: u64::MAX, ..Limits::default() };
    let bytes = file.to_bytes().unwrap();
    assert_eq!(bytes, file.clone().to_bytes().unwrap(), "same content, same bytes");
    assert_eq!(bytes.len() as u64, file.n_bytes().unwrap());
    let mut written = Vec::new();
    assert_eq!(file.write_to(&mut written).unwrap(), bytes.len() as u64);
    assert_eq!(written, bytes);
    let whole = AsmrFile::read_from_bytes(&bytes, &limits).unwrap();
    assert!(same_bits(&whole, file));
    let streamed =
        AsmrFile::read_from(&mut Dripping { rest: &bytes, interrupted: false }, None, &limits).unwrap();
    assert!(same_bits(&streamed, file));
    assert_eq!(whole.to_bytes().unwrap(), bytes, "reading and writing again changes nothing");
}

/// Gives at most 7 bytes at a time and is interrupted every second time.
struct Dripping<'a> {
    rest: &'a [u8],
    interrupted: bool,
}

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = buffer.len().min(7);
        self.rest.read(&mut buffer[..n])
    }
}

#[test]
fn every_modulator_sample_type_and_number_of_axes_round_trips() {
    let mut n = 0;
    for modulator in MODULATORS {
        for sample_type in SAMPLE_TYPES {
            for axes in 1..=4 {
                for levels in [2, 3, 5] {
                    let bases: Vec<Vec<usize>> =
                        (0..axes).map(|a| (0..levels).map(|l| 1 + (a + 2 * l) % 4).collect()).collect();
                    for channels in 1..=4 {
                        let seed = n as u64;
                        assert_round_trip(&make(
                            &bases,
                            n % 3,
                            channels,
                            3 + axes,
                            (modulator, sample_type),
                            seed,
                        ));
                        n += 1;
                    }
                }
            }
        }
    }
    assert_eq!(n, 3 * 3 * 4 * 3 * 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_configurations_round_trip(
        bases in (1usize..=4, 2usize..=6)
            .prop_flat_map(|(axes, levels)| prop::collection::vec(prop::collection::vec(1usize..=6, levels), axes)),
        crop in 0usize..3,
        channels in 1usize..=9,
        width in 1usize..=40,
        modulator in prop::sample::select(&MODULATORS[..]),
        sample_type in prop::sample::select(&SAMPLE_TYPES[..]),
        seed: u64,
    ) {
        assert_round_trip(&make(&bases, crop, channels, width, (modulator, sample_type), seed));
    }

    #[test]
    fn arbitrary_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_with_right_checksums_are_an_error(header in "[ -~]{0,200}", weights in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(read(&frame(&header, &weights)).is_err());
    }
}

#[test]
fn omega_0_comes_back_bit_for_bit() {
    let mut n = 0;
    // Every 50,021st float of the accepted range, subnormal ones included, and both ends.
    let bits = (1..=10_000f32.to_bits()).step_by(50_021).chain([10_000f32.to_bits()]);
    for omega_0 in bits.map(f32::from_bits) {
        let mut config = small().network.config().clone();
        config.omega_0 = omega_0;
        let file = AsmrFile { network: Network::new(config, SMALL_WEIGHTS.to_vec()).unwrap(), ..small() };
        let back = read(&file.to_bytes().unwrap()).unwrap();
        assert_eq!(back.network.config().omega_0.to_bits(), omega_0.to_bits(), "{omega_0:e}");
        n += 1;
    }
    assert!(n > 20_000, "{n}");
}

#[test]
fn weights_beyond_one_piece_round_trip() {
    // 240² weights of the second layer alone: more than three pieces of 64 KiB.
    let file = make(&[vec![4, 4, 4], vec![4, 4, 5]], 1, 3, 240, (Modulator::Linear, SampleType::U8), 4);
    assert!(file.network.params().len() * 4 > 3 << 16);
    assert_round_trip(&file);
}

#[test]
fn struct_as_fit_record_comes_back() {
    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    struct Fit {
        preset: String,
        steps: u32,
        lr: f32,
        betas: [f32; 2],
        schedule: BTreeMap<String, u8>,
    }
    let fit = Fit {
        preset: "paper".into(),
        steps: 10_000,
        lr: 1e-4,
        betas: [0.9, 0.999],
        schedule: BTreeMap::from([("b".into(), 1), ("a".into(), 2)]),
    };
    let mut file = small();
    file.fit = Some(FitRecord::from_serialize(&fit).unwrap());
    let bytes = file.to_bytes().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(
        r#""fit":{"betas":[0.9,0.999],"lr":0.0001,"preset":"paper","schedule":{"a":2,"b":1},"steps":10000}"#
    ));
    assert_eq!(read(&bytes).unwrap().fit.unwrap().deserialize::<Fit>().unwrap(), fit);
    assert!(matches!(FitRecord::from_serialize(&3), Err(FileError::Fit(_))));
}

#[test]
fn content_that_cannot_be_stored_is_refused_before_anything_is_written() {
    let mut cases: Vec<(&str, AsmrFile)> = Vec::new();
    let mut other_extents = small();
    other_extents.signal.extents = vec![5];
    cases.push(("extents", other_extents));
    let mut other_channels = small();
    other_channels.signal.channels = 3;
    cases.push(("channels", other_channels));
    let mut color = small();
    color.signal.color = Some(ColorType::Gray);
    cases.push(("color on 1 axis", color));
    let mut big = small();
    let mut record = FitRecord::new();
    record.insert("text", "x".repeat(MAX_HEADER_BYTES as usize));
    big.fit = Some(record);
    cases.push(("fit record too long", big));
    let mut deep = small();
    let mut record = FitRecord::new();
    record.insert("deep", (0..MAX_FIT_DEPTH).fold(json!(1), |v, _| json!([v])));
    deep.fit = Some(record);
    cases.push(("fit record too deep", deep));
    assert_eq!(cases.len(), 5);
    for (what, file) in &cases {
        let mut out = Vec::new();
        assert!(file.write_to(&mut out).is_err(), "{what}");
        assert!(out.is_empty(), "{what}");
        assert!(file.to_bytes().is_err() && file.n_bytes().is_err(), "{what}");
    }
    // One level less is stored and read.
    let mut record = FitRecord::new();
    record.insert("deep", (0..MAX_FIT_DEPTH - 1).fold(json!(1), |v, _| json!([v])));
    let file = AsmrFile { fit: Some(record), ..small() };
    assert!(same_bits(&read(&file.to_bytes().unwrap()).unwrap(), &file));
}

// ---------------------------------------------------------------------------------------------------------------
// Damage.

fn damaged_file() -> Vec<u8> {
    let mut file = small();
    let mut fit = FitRecord::new();
    fit.insert("seed", 7);
    file.fit = Some(fit);
    file.to_bytes().unwrap()
}

#[test]
fn file_cut_at_any_byte_is_truncated() {
    let bytes = damaged_file();
    let mut n = 0;
    for end in 0..bytes.len() {
        for known_len in [Some(end as u64), None, Some(bytes.len() as u64)] {
            match AsmrFile::read_from(&mut &bytes[..end], known_len, &Limits::default()) {
                Err(FileError::Truncated { actual, expected }) => {
                    assert_eq!(actual, end as u64);
                    assert!(expected > actual && expected <= bytes.len() as u64, "{end}: {expected}");
                }
                other => panic!("cut at {end}: {other:?}"),
            }
            n += 1;
        }
    }
    assert_eq!(n, 3 * bytes.len());
    assert!(n > 800);
}

#[test]
fn any_changed_byte_is_an_error() {
    let bytes = damaged_file();
    assert!(read(&bytes).is_ok());
    let mut n = 0;
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    for i in 0..bytes.len() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = ((random >> 56) as u8).max(1);
        for change in [1, 2, 4, 8, 16, 32, 64, 128, other] {
            let mut changed = bytes.clone();
            changed[i] ^= change;
            let error = read(&changed).expect_err("a changed byte");
            let as_expected = match error {
                FileError::NotAsmr | FileError::TextMode => i < 8,
                FileError::Damaged { part: "prefix", .. } => (8..24).contains(&i),
                FileError::Damaged { .. } => i >= 24,
                _ => false,
            };
            assert!(as_expected, "byte {i} xor {change}: {error}");
            assert!(AsmrFile::read_from(&mut &changed[..], None, &Limits::default()).is_err());
            n += 1;
        }
    }
    assert_eq!(n, 9 * bytes.len());
    assert!(n > 2500);
}

#[test]
fn bytes_after_the_end_are_an_error() {
    let mut bytes = damaged_file();
    let expected = bytes.len() as u64;
    bytes.push(0);
    for known_len in [Some(expected + 1), None, Some(expected)] {
        match AsmrFile::read_from(&mut &bytes[..], known_len, &Limits::default()) {
            Err(FileError::TrailingBytes { expected: e }) => assert_eq!(e, expected),
            other => panic!("{known_len:?}: {other:?}"),
        }
    }
}

#[test]
fn text_transfers_are_named() {
    let bytes = damaged_file();
    let body = &bytes[8..];
    let cases: [&[u8]; 7] = [
        b"\xA5ASMR\n\n",           // CR LF to LF
        b"\xA5ASMR\r\n\r\n",       // LF to CR LF
        b"\xA5ASMR\r\r\n\r\n",     // LF to CR LF, naively
        b"\xA5ASMR\r\r\r",         // LF to CR
        b"\x25ASMR\r\n\n",         // 7 bits
        b"\xC2\xA5ASMR\r\n\n",     // Latin-1 to UTF-8
        b"\xEF\xBF\xBDASMR\r\n\n", // replaced because it is no UTF-8
    ];
    for start in cases {
        assert!(matches!(read(&[start, body].concat()), Err(FileError::TextMode)), "{start:?}");
    }
    for other in [&b"\x89PNG\r\n\x1a\n"[..], b"{\"a\":1}", b"A", b"\0\0\0\0\0\0\0\0\0\0"] {
        assert!(matches!(read(other), Err(FileError::NotAsmr)), "{other:?}");
    }
    assert!(matches!(read(b""), Err(FileError::Truncated { actual: 0, expected: 28 })));
}

#[test]
fn limits_are_the_callers() {
    let bytes = small().to_bytes().unwrap();
    let limits = Limits::default();
    let exact = Limits { max_header_bytes: 232, max_params: 9, max_values: 6, max_table_values: 6 };
    assert!(AsmrFile::read_from_bytes(&bytes, &exact).is_ok());
    let tight = [
        ("max_header_bytes", Limits { max_header_bytes: 231, ..limits }, 232),
        ("max_params", Limits { max_params: 8, ..limits }, 9),
        ("max_values", Limits { max_values: 5, ..limits }, 6),
        ("max_table_values", Limits { max_table_values: 5, ..limits }, 6),
    ];
    assert_eq!(tight.len(), 4);
    for (name, limits, has) in tight {
        match AsmrFile::read_from_bytes(&bytes, &limits) {
            Err(FileError::Limit { actual, limit, field, .. }) => {
                assert_eq!((field, actual, u128::from(limit)), (name, has, has - 1));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Padding is not decoded, but computed: 16,777,216 samples of 25 weights could ask for 2^48.
#[test]
fn padding_has_limits() {
    let header = |extents: &[usize], bases: &[Vec<usize>]| {
        let partition = Partition::new(extents, bases).unwrap();
        let network =
            NetworkConfig { partition, channels: 1, width: 2, omega_0: 30.0, modulator: Modulator::Linear };
        FileHeader::single(SignalInfo::plain(extents.to_vec(), 1, SampleType::U8, None), network, None)
    };
    let cases = [
        (header(&[1 << 24, 1], &[vec![1 << 24, 1], vec![1, 1 << 24]]), Some(1u128 << 48)),
        // Three of four samples are padding; then a little more.
        (header(&[1 << 16, 1 << 16], &[vec![1 << 11, 1 << 5], vec![1 << 12, 1 << 6]]), None),
        (header(&[3 << 10, 1], &[vec![3, 1 << 10], vec![1, 1 << 14]]), None),
        (
            header(&[(1 << 20) + 1, 1], &[vec![(1 << 10) + 1, 1 << 10], vec![1, 1 << 14]]),
            Some(((1 << 20) + 1024) << 14),
        ),
    ];
    for (header, computed) in &cases {
        match (Limits::default().check(header), computed) {
            (Ok(()), None) => {}
            (Err(FileError::Limit { actual, limit, field, .. }), Some(computed)) => {
                assert_eq!((actual, limit, field), (*computed, 1 << 34, "max_values"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cases.len(), 4);
}

/// Digit tables are made for each chunk: those of 16,384 samples in as many chunks could be hours of work.
#[test]
fn tables_of_all_chunks_have_limits() {
    let header = |n_chunks: usize, tuples: usize, width: usize| {
        let partition = Partition::new(&[1], &[vec![1, tuples, 1]]).unwrap();
        let network =
            NetworkConfig { partition, channels: 1, width, omega_0: 30.0, modulator: Modulator::Linear };
        let signal = SignalInfo::plain(vec![n_chunks], 1, SampleType::U8, None);
        FileHeader { chunk_extent: 1, ..FileHeader::single(signal, network, None) }
    };
    // Of levels 1 and 2: `tuples` and 1 of them, times the width.
    let cases = [
        (header(1 << 14, 1 << 24, 3), Some((((1u128 << 24) + 1) * 3) << 14)),
        (header(1, 1 << 24, 3), None),
        // 2^34, and a little more.
        (header(1 << 14, (1 << 20) - 1, 1), None),
        (header(1 << 14, 1 << 20, 1), Some(((1 << 20) + 1) << 14)),
    ];
    for (header, tables) in &cases {
        header.validate().unwrap();
        match (Limits::default().check(header), tables) {
            (Ok(()), None) => {}
            (Err(FileError::Limit { actual, limit, field, .. }), Some(tables)) => {
                assert_eq!((actual, limit, field), (*tables, 1 << 34, "max_values"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cases.len(), 4);
}

#[test]
fn messages_stay_short() {
    let long = FileError::Inconsistent("refinements ".repeat(5000)).to_string();
    assert!(long.len() < 400 && long.ends_with("(60000 bytes)"), "{long}");
}

#[test]
fn failing_readers_and_writers_give_their_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let read = AsmrFile::read_from(&mut Broken, None, &Limits::default());
    assert!(matches!(read, Err(FileError::Io(e)) if e.kind() == io::ErrorKind::PermissionDenied));
    let written = small().write_to(&mut Broken);
    assert!(matches!(written, Err(FileError::Io(e)) if e.kind() == io::ErrorKind::StorageFull));
}
