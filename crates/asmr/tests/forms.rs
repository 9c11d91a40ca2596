//! Forms of headers: what docs/FORMAT.md allows is read, and nothing else, by the library and by the reader in plain Python
//! (`examples/read_asmr.py`). The files are put together by hand.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::Command;

use asmr::coding::{MAX_MAGNITUDE, QuantisedWeights, Step, TensorSteps};
use asmr::exact::ExactDecoder;
use asmr::file::{AsmrReader, FileError, FileHeader, Limits};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::residual;
use asmr::signal::{SampleType, SignalInfo};

/// Of a signal of one axis; 1·1 + 1 weights of the layer, 1·1 of the modulator, 1·1 + 1 of the output: a byte of code, or 20 of floats.
const CODED: &str = r#"{"signal":{"extents":[4],"channels":1,"sample_type":"u8","color":null},"network":{"partition":{"extents":[4],"bases":[[2,2]]},"channels":1,"width":1,"omega_0":30.0,"modulator":"linear"},"chunks":{"encoding":"coded","extent":4,"n":1}}"#;
/// Of one on two axes, which may be a volume.
const VOLUME: &str = r#"{"signal":{"extents":[4,1],"channels":1,"sample_type":"u8","color":null,"media":{"kind":"volume","container":"npy"}},"network":{"partition":{"extents":[4,1],"bases":[[2,2],[1,1]]},"channels":1,"width":1,"omega_0":30.0,"modulator":"linear"},"chunks":{"encoding":"coded","extent":4,"n":1}}"#;

/// A file of one part.
fn file(version: u16, header: &str, part: &[u8]) -> Vec<u8> {
    let mut header = header.as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = b"\xA5ASMR\r\n\n".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend((header.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&header).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(header);
    if version == 1 {
        bytes.extend(part);
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        return bytes;
    }
    let mut index = (bytes.len() as u64 + 24 + 8).to_le_bytes().to_vec();
    index.extend((part.len() as u64).to_le_bytes());
    index.extend(crc32fast::hash(part).to_le_bytes());
    index.extend([0; 4]);
    bytes.extend(&index);
    bytes.extend(crc32fast::hash(&index).to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(part);
    bytes
}

/// One part of a header as another.
fn with(header: &str, old: &str, new: &str) -> String {
    assert_eq!(header.matches(old).count(), 1, "{old}");
    header.replace(old, new)
}

/// The code of weights and of one slab of corrections.
fn joined(weights: &[u8], slab: &[u8]) -> Vec<u8> {
    [&(weights.len() as u32).to_le_bytes()[..], &(slab.len() as u32).to_le_bytes(), weights, slab].concat()
}

fn read(bytes: &[u8]) -> Result<(FileHeader, Network), FileError> {
    let mut reader = AsmrReader::open(Cursor::new(bytes), &Limits::default())?;
    Ok((reader.header().clone(), reader.network(0)?))
}

/// Forms that are valid: name, and the file.
fn allowed() -> Vec<(&'static str, Vec<u8>)> {
    let coded = |old: &str, new: &str| file(3, &with(CODED, old, new), &[0]);
    let volume = |new: &str| {
        file(3, &with(VOLUME, r#""container":"npy""#, &format!(r#""container":"npy",{new}"#)), &[0])
    };
    let corrected = |bound: &str| with(CODED, r#""n":1"#, &format!(r#""n":1,"max_error":{bound}"#));
    let floats = with(&corrected("1"), r#""u8""#, r#""f32""#);
    vec![
        ("as it is written", file(3, CODED, &[0])),
        ("no color", coded(r#","color":null"#, "")),
        ("a whole number as omega_0", coded("30.0", "30")),
        ("an exponent in omega_0", coded("30.0", "3e1")),
        ("an omega_0 that is no f32", coded("30.0", "30.0000001")),
        ("an omega_0 above 10000 that is 10000 as f32", coded("30.0", "10000.0001")),
        ("whole numbers as a value range", coded(r#""color":null"#, r#""color":null,"value_range":[0,200]"#)),
        ("fields in another order", {
            let text = with(CODED, r#""extents":[4],"channels":1"#, r#""channels":1,"extents":[4]"#);
            file(3, &with(&text, r#""extent":4,"n":1"#, r#""n": 1, "extent":4"#), &[0])
        }),
        ("a fit with anything in it", coded(r#""n":1}"#, r#""n":1},"fit":{"a":null,"b":[],"c":{"d":""}}"#)),
        ("a volume", file(3, VOLUME, &[0])),
        ("a volume with everything", {
            volume(r#""spacing":[1,0.5],"unit":"mm","header":"0aF0","array":"a/b","big_endian":true"#)
        }),
        ("whole numbers corrected", file(3, &corrected("0"), &joined(&[0], &[]))),
        ("floats corrected to within a whole number", file(4, &floats, &joined(&[0], &[]))),
    ]
}

/// Forms that are not: name, the file, and what the refusal must say.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let coded = |old: &str, new: &str| file(3, &with(CODED, old, new), &[0]);
    let media = |media: &str| coded(r#""color":null"#, &format!(r#""color":null,"media":{media}"#));
    let volume = |new: &str| {
        file(3, &with(VOLUME, r#""container":"npy""#, &format!(r#""container":"npy",{new}"#)), &[0])
    };
    let plain = with(
        &with(
            CODED,
            r#""chunks":{"encoding":"coded","extent":4,"n":1}"#,
            r#""weights":{"encoding":"f32","n_bytes":20}"#,
        ),
        r#""u8""#,
        r#""f32""#,
    );
    let version_1 = |old: &str, new: &str| file(1, &with(&plain, old, new), &[0; 20]);
    assert!(read(&file(1, &plain, &[0; 20])).is_ok(), "but for what is changed");
    let audio = r#""sample_rate":8000,"bits_per_sample":8,"container":"wav","start":0"#;
    assert!(read(&media(&format!(r#"{{"kind":"audio",{audio}}}"#))).is_ok(), "as an object");
    let floats = with(&with(CODED, r#""u8""#, r#""f32""#), r#""n":1"#, r#""n":1,"max_error":"BOUND""#);
    let bound = |bound: &str| file(4, &with(&floats, r#""BOUND""#, bound), &joined(&[0], &[]));
    let doubles = |range: &str| {
        let text = with(CODED, r#""u8""#, r#""f64""#);
        file(3, &with(&text, r#""color":null"#, &format!(r#""color":null,"value_range":{range}"#)), &[0])
    };
    let many_zeros = format!("0.{}1", "0".repeat(320));
    vec![
        (
            "version 1 with a value range",
            version_1(r#""color":null"#, r#""color":null,"value_range":null"#),
            "value_range",
        ),
        (
            "version 1 with media",
            version_1(r#""color":null"#, r#""color":null,"media":{"kind":"plain"}"#),
            "media",
        ),
        ("an object as sample type", version_1(r#""f32","color""#, r#"{"f32":null},"color""#), "sample_type"),
        ("an object as encoding", coded(r#""coded""#, r#"{"coded":null}"#), "chunks.encoding"),
        ("an object as modulator", coded(r#""linear""#, r#"{"linear":null}"#), "network.modulator"),
        ("a color object", coded("\"color\":null", r#""color":{"gray":null}"#), "color"),
        ("max_error null", coded(r#""n":1"#, r#""n":1,"max_error":null"#), "chunks.max_error"),
        ("no refinements", coded(r#""n":1"#, r#""n":1,"refinements":[]"#), "chunks.refinements"),
        (
            "chunks as an array",
            coded(r#"{"encoding":"coded","extent":4,"n":1}"#, r#"["coded",4,1]"#),
            "'chunks'",
        ),
        (
            "a network as an array",
            {
                let network = r#"{"partition":{"extents":[4],"bases":[[2,2]]},"channels":1,"width":1,"omega_0":30.0,"modulator":"linear"}"#;
                coded(network, r#"[{"extents":[4],"bases":[[2,2]]},1,1,30.0,"linear"]"#)
            },
            "'network'",
        ),
        ("media of no kind", media(r#"{"kind":"plain"}"#), "signal.media"),
        ("media null", media("null"), "signal"),
        ("media as an array", media(r#"["audio",8000,8,"wav",0]"#), "signal"),
        ("media as an array of kind and object", media(&format!(r#"["audio",{{{audio}}}]"#)), "signal"),
        ("a kind by its number", media(&format!(r#"{{"kind":1,{audio}}}"#)), "signal"),
        ("a unit that is none", volume(r#""unit":"""#), "signal.media.unit"),
        ("a spacing of nothing", volume(r#""spacing":[]"#), "signal.media.spacing"),
        ("a header of nothing", volume(r#""header":"""#), "signal.media.header"),
        ("an array without name", volume(r#""array":"""#), "signal.media.array"),
        ("not big-endian", volume(r#""big_endian":false"#), "signal.media.big_endian"),
        ("fit null", coded(r#""n":1}"#, r#""n":1},"fit":null"#), "fit"),
        ("omega_0 that is 0 as f32", coded("30.0", &many_zeros), "omega_0"),
        ("a bound whose unit is infinite", bound("1e308"), "1e308 of F32"),
        ("a bound whose unit is subnormal", bound("1e-308"), "1e-308 of F32"),
        ("a range wider than a number", doubles("[-1.7e308,1.7e308]"), "-1.7e308 to 1.7e308;"),
        ("a range narrower than a normal number", doubles("[0,1e-308]"), "0 to 1e-308;"),
    ]
}

#[test]
fn forms_of_the_format_are_read() {
    let cases = allowed();
    assert_eq!(cases.len(), 13);
    let (header, network) = read(&cases[0].1).unwrap();
    for (name, bytes) in &cases {
        match read(bytes) {
            Ok((read, _)) => assert_eq!(read.chunk_extent, 4, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    for name in ["no color", "a whole number as omega_0", "fields in another order"] {
        let (_, bytes) = cases.iter().find(|case| case.0 == name).unwrap();
        assert_eq!(read(bytes).unwrap(), (header.clone(), network.clone()), "{name}");
    }
}

#[test]
fn other_forms_are_refused() {
    let cases = refused();
    assert_eq!(cases.len(), 26);
    for (name, bytes, reason) in &cases {
        match read(bytes) {
            Ok(_) => panic!("{name}: accepted"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(reason), "{name}: '{text}' does not say '{reason}'");
                assert!(text.len() < 300, "{name}: a message of {} bytes", text.len());
            }
        }
    }
}

/// Python with numpy, if there is one: `ASMR_NUMPY` or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("ASMR_NUMPY").unwrap_or_else(|_| "python3".to_owned());
    let works = Command::new(&python).args(["-c", "import numpy"]).output();
    works.is_ok_and(|output| output.status.success()).then_some(python)
}

/// What the reader in Python makes of files: the path of an `.npy`, or a sentence. Anything but its own refusal of a file is a failure.
fn by_python(python: &str, folder: &str, files: &[Vec<u8>]) -> Vec<Result<PathBuf, String>> {
    const CALL: &str = "
import sys
sys.path.insert(0, sys.argv[1])
import numpy, read_asmr
numpy.seterr(all='ignore')
for path in sys.argv[2:]:
    try:
        read_asmr.main([path, path + '.npy'])
        print('read')
    except read_asmr.Bad as error:
        print(error)
";
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    let paths: Vec<PathBuf> = (0..files.len()).map(|i| folder.join(format!("{i}.asmr"))).collect();
    for (path, bytes) in paths.iter().zip(files) {
        fs::write(path, bytes).unwrap();
    }
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let output = Command::new(python).args(["-c", CALL, examples]).args(&paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), files.len(), "{text}");
    let npy = |path: &PathBuf| PathBuf::from(format!("{}.npy", path.display()));
    let result =
        |(line, path): (&str, &PathBuf)| if line == "read" { Ok(npy(path)) } else { Err(line.to_owned()) };
    text.lines().zip(&paths).map(result).collect()
}

/// Names of cases that the second reader does not judge: metadata, which it has no use for, and the values of numbers.
const NOT_JUDGED: [&str; 9] = [
    "a color",
    "a unit",
    "a spacing",
    "a header",
    "an array without",
    "not big",
    "omega_0",
    "a bound",
    "a range",
];

/// The second reader takes what is valid, and of what is not only what it does not look at.
#[test]
fn the_second_reader_knows_the_forms() {
    let Some(python) = python() else {
        println!("skipped: no Python with numpy (python3, or ASMR_NUMPY)");
        return;
    };
    let (allowed, refused) = (allowed(), refused());
    let files: Vec<Vec<u8>> =
        allowed.iter().map(|case| case.1.clone()).chain(refused.iter().map(|case| case.1.clone())).collect();
    let results = by_python(&python, "forms", &files);
    for ((name, _), result) in allowed.iter().zip(&results) {
        assert!(result.is_ok(), "{name}: {result:?}");
    }
    let mut n_refused = 0;
    for ((name, ..), result) in refused.iter().zip(&results[allowed.len()..]) {
        let is_judged = !NOT_JUDGED.iter().any(|start| name.starts_with(start));
        if is_judged {
            assert!(result.is_err(), "{name}");
            n_refused += 1;
        }
    }
    assert_eq!(n_refused, 15);
}

/// Damage with fitting checksums, which only the rules of codes and weights can tell: no second reader takes it.
#[test]
fn the_second_reader_knows_the_rules_of_codes() {
    let Some(python) = python() else {
        println!("skipped: no Python with numpy (python3, or ASMR_NUMPY)");
        return;
    };
    let corrected = with(CODED, r#""n":1"#, r#""n":1,"max_error":0"#);
    let floats = with(CODED, r#""coded""#, r#""f32""#);
    let mut weights = [0; 20];
    weights[16..].copy_from_slice(&f32::NAN.to_le_bytes());
    let cases = [
        ("a bit after the last decision", file(3, CODED, &[0, 0, 0, 0, 0, 0, 0, 1]), "code"),
        ("words after the last decision", file(3, CODED, &[[0; 30], [1; 30]].concat()), "code"),
        (
            "bits after the last correction",
            file(3, &corrected, &joined(&[0], &[0, 0, 0, 0, 0, 0, 0, 1])),
            "code",
        ),
        ("a byte of 0 after the last correction", file(3, &corrected, &joined(&[0], &[0])), "code"),
        ("no room for lengths", file(3, &corrected, &[0; 7]), "lengths"),
        ("no bytes at all", file(3, &corrected, &[]), "lengths"),
        ("lengths past the end", file(3, &corrected, &[1, 0, 0, 0, 255, 255, 255, 255, 0]), "lengths"),
        ("a weight that is no number", file(2, &floats, &weights), "finite"),
    ];
    let files: Vec<Vec<u8>> = cases.iter().map(|case| case.1.clone()).collect();
    let results = by_python(&python, "codes", &files);
    assert_eq!(results.len(), 8);
    for ((name, bytes, reason), result) in cases.iter().zip(results) {
        let sentence = result.expect_err(name);
        assert!(sentence.contains(reason), "{name}: '{sentence}' does not say '{reason}'");
        // The library says so where the part is decoded: of corrections it is their decoder that does.
        let slab = AsmrReader::open(Cursor::new(bytes), &Limits::default()).unwrap().chunk(0).map(|chunk| {
            let info = SignalInfo::plain(vec![4], 1, SampleType::U8, None);
            residual::decode(&info, 4, &chunk.corrections.unwrap()[0], 0).is_ok()
        });
        assert!(!slab.unwrap_or(false), "{name}: accepted");
    }
}

/// A network whose values are no numbers: they count as the scale's 0, and are corrected from there, in both readers.
#[test]
fn values_that_are_no_numbers_are_corrected_alike() {
    let corrections = [3, 1, 4, 2];
    let text = |kind: &str, bound: &str, range: &str| {
        let text = with(CODED, r#""u8""#, &format!("\"{kind}\""));
        let text = with(&text, "[[2,2]]", "[[1,2,2,1,1,1]]");
        let text = with(&text, r#""color":null"#, &format!(r#""color":null{range}"#));
        let text = with(&text, "30.0", "10000.0");
        with(&text, r#""n":1"#, &format!(r#""n":1,"max_error":{bound}"#))
    };
    let config = NetworkConfig {
        partition: Partition::new(&[4], &[vec![1, 2, 2, 1, 1, 1]]).unwrap(),
        channels: 1,
        width: 1,
        omega_0: 10_000.0,
        modulator: Modulator::Linear,
    };
    // The largest weights there are: sines of such angles are larger from layer to layer, then infinite, then no numbers.
    let steps = vec![TensorSteps::uniform(Step::from_code(255)); config.tensors().len()];
    let weights = QuantisedWeights { steps, values: vec![MAX_MAGNITUDE; config.n_params()] };
    let code = weights.encode(&config);
    let unit = 2.0 * 0.25 * (1023.0 / 1024.0);
    let range = r#","value_range":[-1,2]"#;
    // The kind, its version, the bound, the range and the values by the definition.
    let cases = [
        ("u8", 3, "0", "", corrections.map(f64::from)),
        ("i16", 3, "0", r#","value_range":[-7,9]"#, corrections.map(|c| f64::from(c) - 7.0)),
        ("f32", 4, "0.25", "", corrections.map(|c| f64::from(c) * unit)),
        ("f64", 4, "0.25", range, corrections.map(|c| f64::from(c) * unit - 1.0)),
    ];
    let mut files = Vec::new();
    for (kind, version, bound, range, expected) in &cases {
        let info = SignalInfo::plain(vec![4], 1, SampleType::U8, None);
        let slab = residual::encode(&info, 4, &corrections.map(i64::from), 0);
        let bytes = file(*version, &text(kind, bound, range), &joined(&code, &slab));
        let mut reader = AsmrReader::open(Cursor::new(&bytes[..]), &Limits::default()).unwrap();
        let header = reader.header().clone();
        let chunk = reader.chunk(0).unwrap();
        let decoder = ExactDecoder::new(&chunk.network);
        let max_error = header.max_error.unwrap();
        let decoded =
            residual::decode(&header.signal, 4, &chunk.corrections.unwrap()[0], max_error.coded()).unwrap();
        let values: Vec<f64> = if header.signal.sample_type.is_float() {
            let values = decoder.values(&header.signal, 0..4);
            values.iter().zip(&decoded).map(|(&v, &c)| max_error.corrected(v, c, &header.signal)).collect()
        } else {
            let values = decoder.whole_numbers(&header.signal, 0..4);
            values.iter().zip(&decoded).map(|(v, c)| (v + c) as f64).collect()
        };
        assert_eq!(values, expected, "{kind}");
        files.push(bytes);
    }
    let Some(python) = python() else {
        println!("skipped: no Python with numpy (python3, or ASMR_NUMPY)");
        return;
    };
    let results = by_python(&python, "numbers", &files);
    for ((kind, .., expected), path) in cases.iter().zip(results) {
        let bytes = fs::read(path.unwrap()).unwrap();
        // The values are the end of the file.
        let stored: Vec<u8> = match *kind {
            "u8" => expected.iter().map(|&x| x as u8).collect(),
            "i16" => expected.iter().flat_map(|&x| (x as i16).to_le_bytes()).collect(),
            "f32" => expected.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            _ => expected.iter().flat_map(|&x| x.to_le_bytes()).collect(),
        };
        assert!(bytes.ends_with(&stored), "{kind}");
    }
    assert_eq!(cases.len(), 4);
}
