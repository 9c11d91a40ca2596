//! A picture through every verb and back.

mod common;

use asmr::file::{AsmrFile, Limits};
use asmr::inference::{Decoder, Request};
use asmr::signal::Samples;
use common::{Folder, GREY, KINDS, QUICK, RGB, assert_close, picture, read, read_npy};
use serde_json::{Value, json};

/// Keys that every encode tells.
const ENCODE_KEYS: [&str; 18] = [
    "psnr_db",
    "ssim",
    "rate_bpp",
    "bytes",
    "n_params",
    "mac_paper",
    "mac_exec",
    "sin_exec",
    "steps",
    "step_ms",
    "elapsed_s",
    "extents",
    "channels",
    "bases",
    "width",
    "n_levels",
    "preset",
    "seed",
];

fn load(folder: &Folder, name: &str) -> AsmrFile {
    AsmrFile::read_from_bytes(&folder.read(name), &Limits::default()).unwrap()
}

/// The library's own decode of a file, as floats.
fn library_decode(file: &AsmrFile, request: &Request) -> Vec<f32> {
    let extents = request.output_extents(&file.network.config().partition).unwrap();
    let mut values = vec![0.0; extents.iter().product::<usize>() * file.signal.channels];
    Decoder::new(&file.network).decode(request, &mut values).unwrap();
    values
}

#[test]
fn every_verb() {
    let folder = Folder::new();
    folder.picture("p.png", 32, 48, RGB);
    let call = ["encode", "p.png", "--bases", "4,2,4;4,3,4", "--seed", "7", "--json", "--quiet"];
    let encoded = folder.run(call.iter().chain(&QUICK)).expect(0);
    assert_eq!(encoded.stderr, "", "--quiet with exact bases is silent");
    assert_eq!(folder.names(), ["p.asmr", "p.png"], "the default name is beside the input");
    let encoded = encoded.json();
    for key in ENCODE_KEYS {
        assert!(encoded.get(key).is_some(), "{key} is missing: {encoded:#}");
    }
    assert_eq!(encoded["extents"], json!([32, 48]));
    assert_eq!(encoded["channels"], 3);
    assert_eq!(encoded["bases"], json!([[4, 2, 4], [4, 3, 4]]));
    let shape = (&encoded["width"], &encoded["n_levels"], &encoded["seed"], &encoded["steps"]);
    assert_eq!(shape, (&json!(16), &json!(3), &json!(7), &json!(20)));
    assert_eq!(encoded["preset"], "default");
    assert_eq!(encoded["ending"], "finished");
    let n_bytes = folder.read("p.asmr").len();
    assert_eq!(encoded["bytes"], n_bytes);
    assert_close(&encoded["rate_bpp"], Some(8.0 * n_bytes as f64 / (32.0 * 48.0)));
    let file = load(&folder, "p.asmr");
    assert_eq!(encoded["n_params"], file.network.params().len());
    let fit = file.fit.unwrap();
    assert_eq!(fit.get("seed"), Some(&json!(7)));
    assert_eq!(fit.get("steps"), Some(&json!(20)));

    let info = folder.asmr("info p.asmr --json").expect(0).json();
    for key in ["n_params", "mac_paper", "mac_exec", "sin_exec", "bytes", "bases", "width", "rate_bpp"] {
        assert_eq!(info[key], encoded[key], "{key}");
    }
    assert_eq!(info["thumbnail_factors"], json!([1, 2, 4]));
    assert_eq!(info["fit"]["seed"], 7);
    let parts = info["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 5, "2 layers, 2 modulators, 1 output layer");
    let sum: f64 = parts.iter().map(|part| part["mac_exec"].as_f64().unwrap()).sum();
    assert!((sum - info["mac_exec"].as_f64().unwrap()).abs() < 1e-9);
    let text = folder.asmr("info p.asmr").expect(0).stdout;
    for words in ["32 x 48, 8-bit RGB", "4,2,4;4,3,4", "modulator 2", "SIREN", "1, 2, 4", "seed 7"] {
        assert!(text.contains(words), "'{words}' is not in:\n{text}");
    }

    folder.asmr("decode p.asmr -o out.png").expect(0);
    let (original, decoded) = (read(&folder.path("p.png")), read(&folder.path("out.png")));
    assert_eq!(original.info(), decoded.info());
    // The quality told is that of the decoded picture.
    assert_close(&encoded["psnr_db"], asmr_media::psnr_db(&original, &decoded).unwrap());

    let eval = folder.asmr("eval p.asmr p.png --reps 3 --json").expect(0).json();
    for key in ["psnr_db", "ssim", "rate_bpp", "bytes"] {
        assert_eq!(eval[key], encoded[key], "{key}");
    }
    assert_eq!(eval["max_abs_error"], asmr_media::max_abs_error(&original, &decoded).unwrap());
    assert!(eval["decode_ms"].as_f64().unwrap() > 0.0);
    assert!(eval["msamples_per_s"].as_f64().unwrap() > 0.0);
    folder.asmr("eval p.asmr p.png --reps 1").expect(0);

    let exported = folder.asmr("export p.asmr --json").expect(0).json();
    assert_eq!(exported["output"], "p.safetensors");
    folder.asmr("import p.safetensors -o back.asmr").expect(0);
    let (back, file) = (load(&folder, "back.asmr"), load(&folder, "p.asmr"));
    assert_eq!(back.network, file.network);
    assert_eq!(back.signal, file.signal);
    folder.asmr("decode back.asmr -o back.png").expect(0);
    assert_eq!(folder.read("back.png"), folder.read("out.png"));
    let imported =
        folder.asmr("import p.safetensors -o again.asmr --bases 4,2,4;4,3,4 --json").expect(0).json();
    assert_eq!(imported["bases"], encoded["bases"]);
}

#[test]
fn floats_regions_and_thumbnails_are_the_librarys() {
    let folder = Folder::encoded(30, 45, RGB, "4,2,4;4,3,4");
    let file = load(&folder, "n.asmr");
    let partition = &file.network.config().partition;
    let whole = Request::whole(partition);
    folder.asmr("decode n.asmr -o out.npy").expect(0);
    assert_eq!(read_npy(&folder.read("out.npy")), (vec![30, 45, 3], library_decode(&file, &whole)));

    let mut n_cases = 0;
    let cases = [
        ("--region 3..17,10..41", [3, 17], [10, 41], 1),
        ("--region ..17,10..", [0, 17], [10, 45], 1),
        ("--region ..,..", [0, 30], [0, 45], 1),
        ("--region 29..30,44..45", [29, 30], [44, 45], 1),
        ("--thumbnail 1", [0, 30], [0, 45], 1),
        ("--thumbnail 2", [0, 30], [0, 45], 2),
        ("--thumbnail 4", [0, 30], [0, 45], 4),
        ("--thumbnail 4 --region 8..,4..12", [8, 30], [4, 12], 4),
    ];
    for (options, rows, columns, thumbnail) in cases {
        let told = folder.asmr(&format!("decode n.asmr -o out.npy --json {options}")).expect(0).json();
        let mut request = whole.clone();
        (request.region.start[0], request.region.end[0]) = (rows[0], rows[1]);
        (request.region.start[1], request.region.end[1]) = (columns[0], columns[1]);
        request.thumbnail = thumbnail;
        let mut shape = request.output_extents(partition).unwrap();
        assert_eq!(told["extents"], json!(shape), "{options}");
        assert_eq!(told["region"], json!([rows, columns]), "{options}");
        shape.push(3);
        let (actual_shape, values) = read_npy(&folder.read("out.npy"));
        assert_eq!(actual_shape, shape, "{options}");
        assert_eq!(values, library_decode(&file, &request), "{options}");
        folder.asmr(&format!("decode n.asmr -o out.png {options}")).expect(0);
        assert_eq!(read(&folder.path("out.png")).info().extents, shape[..2], "{options}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
}

#[test]
fn arrays_go_to_npy_only() {
    let folder = Folder::new();
    let config = asmr::network::NetworkConfig {
        partition: asmr::partition::Partition::new(&[50], &[vec![5, 10]]).unwrap(),
        channels: 1,
        width: 8,
        omega_0: 30.0,
        modulator: asmr::network::Modulator::Linear,
    };
    let network = asmr::network::Network::init(config, 1, 1.0).unwrap();
    folder.write("w.safetensors", &asmr::interchange::export(&network).unwrap());
    folder.asmr("import w.safetensors").expect(0);
    let file = load(&folder, "w.asmr");
    assert_eq!(file.network, network);
    folder.asmr("decode w.asmr -o out.png").refuses(2, &["out.png", ".npy"]);
    folder.asmr("decode w.asmr").expect(0);
    let whole = Request::whole(&network.config().partition);
    assert_eq!(read_npy(&folder.read("w.npy")), (vec![50, 1], library_decode(&file, &whole)));
}

#[test]
fn every_kind_of_picture_comes_back_as_it_was() {
    let mut n_cases = 0;
    for kind in KINDS {
        let folder = Folder::encoded(16, 24, kind, "4,4;4,6");
        folder.asmr("decode n.asmr -o out.png").expect(0);
        let decoded = read(&folder.path("out.png"));
        assert_eq!(decoded.info(), picture(16, 24, kind).info(), "{kind:?}");
        let eval = folder.asmr("eval n.asmr p.png --reps 1 --json").expect(0).json();
        assert_close(&eval["psnr_db"], asmr_media::psnr_db(&decoded, &picture(16, 24, kind)).unwrap());
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
}

#[test]
fn tiny_pictures() {
    let mut n_cases = 0;
    for (rows, columns) in [(1, 1), (3, 5), (1, 300), (7, 7), (2, 1)] {
        for options in ["", " --width 8", " --modulator nonlinear", " --modulator table", " --batch 1/2"] {
            let folder = Folder::new();
            folder.picture("p.png", rows, columns, GREY);
            let told =
                folder.asmr(&format!("encode p.png --steps 15 --json --quiet{options}")).expect(0).json();
            assert_eq!(told["extents"], json!([rows, columns]), "{options}");
            assert_eq!(told["ssim"].is_null(), rows < 7 || columns < 7, "{told:#}");
            folder.asmr("decode p.asmr -o out.png").expect(0);
            assert_eq!(read(&folder.path("out.png")).info().extents, [rows, columns]);
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 25);
}

#[test]
fn same_seed_same_bytes() {
    let folder = Folder::new();
    folder.picture("p.png", 40, 52, RGB);
    let mut n_cases = 0;
    for options in ["", "--batch 1/4", "--modulator nonlinear"] {
        for (name, extra) in [
            ("a.asmr", "--threads 1 --seed 5"),
            ("b.asmr", "--threads 2 --seed 5"),
            ("c.asmr", "--threads 2 --seed 6"),
        ] {
            let line = format!("encode p.png -o {name} --quiet --width 16 --steps 12 {options} {extra}");
            folder.asmr(&line).expect(0);
        }
        assert!(folder.read("a.asmr") == folder.read("b.asmr"), "{options}: threads change the file");
        assert!(
            folder.read("a.asmr") != folder.read("c.asmr"),
            "{options}: the seed does not change the file"
        );
        folder.asmr("decode a.asmr -o 1.npy --threads 1").expect(0);
        folder.asmr("decode a.asmr -o 2.npy --threads 2").expect(0);
        assert!(folder.read("1.npy") == folder.read("2.npy"), "{options}: threads change the decode");
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}

#[test]
fn options_reach_the_network_and_the_fit() {
    let folder = Folder::new();
    folder.picture("p.png", 24, 36, RGB);
    let encode = |options: &str| {
        let line = format!("encode p.png -o n.asmr --json --quiet --steps 3 {options}");
        folder.asmr(&line).expect(0).json()
    };
    let told = encode("--levels 3 --width 24 --modulator table --omega-0 20 --lr 1e-4 --preset fast");
    assert_eq!((&told["n_levels"], &told["width"]), (&json!(3), &json!(24)));
    assert_eq!((&told["modulator"], &told["omega_0"]), (&json!("table"), &json!(20.0)));
    assert_eq!((&told["preset"], &told["fit"]["rate"]), (&json!("fast"), &json!(1e-4)));
    let told = encode("--batch 0.25");
    assert_eq!(told["fit"]["batch"], 0.25);
    let told = encode("--mac 300");
    assert!(told["mac_exec"].as_f64().unwrap() <= 300.0, "{told:#}");
    let told = encode("--mac 500 --width 16");
    assert!(told["mac_exec"].as_f64().unwrap() <= 500.0 && told["width"] == 16, "{told:#}");
    let told = encode("--preset paper");
    assert_eq!((&told["n_levels"], &told["width"]), (&json!(4), &json!(256)));
    let told = encode("--preset paper --levels 3 --width 32");
    assert_eq!((&told["n_levels"], &told["width"]), (&json!(3), &json!(32)));
    // Targets choose the width, not the published networks; what is given stays.
    let mut n_cases = 0;
    for target in ["--psnr 1", "--bytes 2000", "--bpp 20", "--lossless", "--max-error 9"] {
        let told = encode(&format!("--preset paper {target}"));
        assert_eq!((&told["preset"], &told["fit"]["rate"]), (&json!("paper"), &json!(1e-4)), "{target}");
        assert!(told["width"].as_u64().unwrap() < 100, "{target}: {told:#}");
        let told = encode(&format!("--preset paper --width 12 {target}"));
        assert_eq!((&told["n_levels"], &told["width"]), (&json!(4), &json!(12)), "{target}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);

    // A larger product pads, and says so.
    let padded = folder.run(
        ["encode", "p.png", "-o", "n.asmr", "--json", "--quiet", "--bases", "4,8;6,6"].iter().chain(&QUICK),
    );
    let padded = padded.expect(0);
    assert!(padded.stderr.contains("axis 0 from 24 to 32"), "{padded:#?}");
    assert_eq!(padded.json()["padded_extents"], json!([32, 36]));
    folder.asmr("decode n.asmr -o out.png").expect(0);
    assert_eq!(read(&folder.path("out.png")).info().extents, [24, 36]);
}

#[test]
fn results_are_told_whatever_else_is_silent() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    let mut n_cases = 0;
    for line in [
        "encode p.png -o x.asmr --steps 2 --width 8",
        "decode n.asmr -o x.png",
        "info n.asmr",
        "eval n.asmr p.png --reps 1",
        "export n.asmr -o x.safetensors",
        "import x.safetensors -o y.asmr",
    ] {
        let quiet = folder.asmr(&format!("{line} --quiet --json")).expect(0);
        assert_eq!(quiet.stderr, "", "{line}");
        assert!(matches!(quiet.json(), Value::Object(keys) if keys.len() >= 8), "{line}");
        let text = folder.asmr(&format!("--quiet {line}")).expect(0);
        assert!(text.stdout.lines().count() >= 1 && text.stderr.is_empty(), "{line}: {text:#?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 6);
}

#[test]
fn decoded_pictures_are_rounded_and_clamped_floats() {
    let folder = Folder::encoded(16, 24, GREY, "4,4;4,6");
    folder.asmr("decode n.asmr -o out.npy").expect(0);
    folder.asmr("decode n.asmr -o out.png").expect(0);
    let (_, floats) = read_npy(&folder.read("out.npy"));
    let Samples::U8(values) = read(&folder.path("out.png")).into_samples() else { panic!("not 8 bits") };
    assert_eq!(values.len(), 16 * 24);
    for (i, (&value, float)) in values.iter().zip(floats).enumerate() {
        let expected = (float.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        assert_eq!(value, expected, "sample {i}");
    }
}
