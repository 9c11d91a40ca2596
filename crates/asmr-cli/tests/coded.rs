//! Quantised, entropy-coded files through the command, and a second reader's view of them.

mod common;

use std::process::{Command, Output};

use asmr::signal::Samples;
use common::{Folder, GREY, RGB, read, read_npy};
use serde_json::Value;

fn number(report: &Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key}: {report:#}"))
}

#[test]
fn coded_weights_are_a_fraction_of_the_bytes() {
    let folder = Folder::new();
    folder.picture("p.png", 48, 64, RGB);
    let call = |options: &str| {
        let line = format!("encode p.png -o n.asmr --width 32 --steps 300 --json --quiet {options}");
        folder.asmr(&line).expect(0).json()
    };
    let floats = call("--weights f32");
    let mut n_cases = 0;
    for (loss, least, most) in [("0.05", 0.005, 0.1), ("0.1", 0.01, 0.2), ("1", 0.2, 1.6)] {
        let coded = call(&format!("--loss {loss}"));
        assert_eq!(coded["steps"], floats["steps"], "the same fit");
        let lost = number(&floats, "psnr_db") - number(&coded, "psnr_db");
        assert!((least..most).contains(&lost), "--loss {loss} lost {lost} dB");
        let share = number(&coded, "bytes") / number(&floats, "bytes");
        assert!(share < 0.45, "--loss {loss}: {share} of the bytes");
        assert_eq!(folder.read("n.asmr")[8], 3, "the file's version");
        let info = folder.asmr("info n.asmr --json").expect(0).json();
        assert_eq!((&info["encoding"], &info["bytes"]), (&"coded".into(), &coded["bytes"]));
        let bits = number(&info, "bits_per_weight");
        assert!(bits > 2.0 && bits < 16.0, "{bits} bits per weight");
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
    // A target is met with what rounding costs.
    let line = "encode p.png -o n.asmr --width 48 --steps 3000 --psnr 30 --loss 0.3 --json --quiet";
    assert!(number(&folder.asmr(line).expect(0).json(), "psnr_db") >= 30.0);
}

#[test]
fn wrong_losses_are_refused() {
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    folder.asmr("encode p.png --weights f32 --loss 0.1").refuses(2, &["--loss", "--weights f32"]);
    for loss in ["0", "-1", "21", "nan", "x"] {
        folder.asmr(&format!("encode p.png --loss {loss}")).refuses(2, &["--loss", "above 0 and at most 20"]);
    }
    assert_eq!(folder.names(), ["p.png"]);
}

/// Python with numpy, if there is one: `ASMR_NUMPY` or `python3`.
fn python() -> Option<String> {
    let python = std::env::var("ASMR_NUMPY").unwrap_or_else(|_| "python3".to_owned());
    let works = Command::new(&python).args(["-c", "import numpy"]).output();
    works.is_ok_and(|output| output.status.success()).then_some(python)
}

/// Calls the reader in plain Python in a folder.
fn reader(python: &str, folder: &Folder, arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/read_asmr.py");
    Command::new(python).arg(script).args(arguments).current_dir(folder.path("")).output().unwrap()
}

/// The reader in plain Python (`examples/read_asmr.py`) evaluates the definition in double precision: its values are ours within
/// single precision's rounding, its samples within one step of the type.
#[test]
fn the_reader_in_python_agrees() {
    let Some(python) = python() else {
        println!("skipped: no Python with numpy (python3, or ASMR_NUMPY)");
        return;
    };
    let folder = Folder::new();
    folder.picture("rgb.png", 30, 40, RGB);
    folder.picture("grey.png", 33, 35, GREY);
    let mut n_cases = 0;
    for options in [
        "rgb.png --weights f32",
        "rgb.png --weights coded",
        "grey.png --weights coded --modulator table --loss 1",
        "grey.png --weights f32 --modulator nonlinear",
        "grey.png --weights coded --modulator nonlinear --loss 3",
        "rgb.png --weights coded --chunk 12",
        "rgb.png --weights f32 --chunk 7",
        "rgb.png --weights coded --levels 5 --width 20",
        "rgb.png --lossless",
        "grey.png --max-error 2 --chunk 12 --modulator table",
        "rgb.png --max-error 1 --modulator nonlinear",
        "rgb.png --progressive",
        "grey.png --progressive --chunk 12 --lossless",
    ] {
        folder.asmr(&format!("encode {options} -o n.asmr --steps 60 --quiet")).expect(0);
        folder.asmr("decode n.asmr -o ours.npy --quiet").expect(0);
        folder.asmr("decode n.asmr -o ours.png --quiet").expect(0);
        for arguments in [&["n.asmr", "theirs.npy", "--raw"][..], &["n.asmr", "samples.npy"]] {
            let call = reader(&python, &folder, arguments);
            assert!(call.status.success(), "{options}: {}", String::from_utf8_lossy(&call.stderr));
        }
        let (shape, ours) = read_npy(&folder.read("ours.npy"));
        let theirs = folder.read("theirs.npy");
        let start = theirs.len() - 8 * ours.len();
        let mut worst = 0.0f64;
        for (value, bytes) in ours.iter().zip(theirs[start..].as_chunks::<8>().0) {
            let difference = (f64::from(*value) - f64::from_le_bytes(*bytes)).abs();
            assert!(!difference.is_nan());
            worst = worst.max(difference);
        }
        // NUMERICS.md's bound for outputs of order 1.
        assert!(worst <= 2e-5, "{options}, {shape:?}: {worst:e}");
        let Samples::U8(decoded) = read(&folder.path("ours.png")).samples().clone() else { panic!("8 bits") };
        let samples = folder.read("samples.npy");
        let theirs = &samples[samples.len() - decoded.len()..];
        // Corrected values are the same everywhere.
        let tolerance = u8::from(!options.contains("less") && !options.contains("--max-error"));
        assert!(decoded.iter().zip(theirs).all(|(a, b)| a.abs_diff(*b) <= tolerance), "{options}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 13);
    // The last file cut off behind its first passes: both decode it from those.
    let bytes = folder.read("n.asmr");
    let first: u64 = folder.asmr("info n.asmr --json").expect(0).json()["pass_bytes"][0].as_u64().unwrap();
    let index = 24 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let body = u64::from_le_bytes(bytes[index..index + 8].try_into().unwrap());
    folder.write("cut.asmr", &bytes[..(body + first) as usize]);
    folder.asmr("decode cut.asmr -o ours.npy --progressive --quiet").expect(0);
    assert!(reader(&python, &folder, &["n.asmr", "theirs.npy", "--raw", "--first"]).status.success());
    let (_, ours) = read_npy(&folder.read("ours.npy"));
    let theirs = folder.read("theirs.npy");
    let values = theirs[theirs.len() - 8 * ours.len()..].as_chunks::<8>().0;
    assert_eq!(values.len(), 33 * 35);
    for (value, bytes) in ours.iter().zip(values) {
        let theirs = f64::from_le_bytes(*bytes);
        assert!((f64::from(*value) - theirs).abs() <= 2e-5, "{value} and {theirs}");
    }
}

/// The reader in Python refuses what is damaged, too.
#[test]
fn the_reader_in_python_refuses_damage() {
    let Some(python) = python() else {
        println!("skipped: no Python with numpy (python3, or ASMR_NUMPY)");
        return;
    };
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    folder.asmr("encode p.png -o n.asmr --weights coded --width 16 --steps 20 --quiet").expect(0);
    let bytes = folder.read("n.asmr");
    let mut n_cases = 0;
    for at in [0, 9, 13, 30, 200, bytes.len() - 40, bytes.len() - 1] {
        for cut in [true, false] {
            let mut damaged = bytes.clone();
            if cut {
                damaged.truncate(at);
            } else {
                damaged[at] ^= 4;
            }
            folder.write("d.asmr", &damaged);
            let call = reader(&python, &folder, &["d.asmr", "d.npy"]);
            assert_eq!(call.status.code(), Some(1), "byte {at}, cut {cut}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 14);
}

/// Sizes are met from below, and nearly used up; qualities by a file smaller than a wider network's.
#[test]
fn targets_are_met() {
    let folder = Folder::new();
    folder.picture("p.png", 96, 120, RGB);
    let wave = |i: u32| ((f64::from(i) * 0.01).sin() * 9000.0) as i16;
    let sound: Vec<u8> = (0..20_000).flat_map(|i| wave(i).to_le_bytes()).collect();
    folder.write("s.raw", &sound);
    let mut n_cases = 0;
    for (input, options, size) in [
        ("p.png", "--bytes 2500", 2500),
        ("p.png", "--bytes 6k", 6000),
        ("p.png", "--bpp 2", 2 * 96 * 120 / 8),
        ("p.png", "--bytes 4k --chunk 50", 4000),
        ("p.png", "--bytes 1500 --width 20 --levels 3", 1500),
        ("s.raw --shape 20000 --dtype i16", "--bytes 1500", 1500),
    ] {
        let line = format!("encode {input} -o n.asmr --steps 60 --json --quiet {options}");
        let made = folder.asmr(&line).expect(0).json();
        let bytes = folder.read("n.asmr").len();
        assert_eq!(made["target_bytes"], size, "{options}");
        assert_eq!(made["bytes"], bytes, "{options}");
        assert!(bytes <= size && bytes * 100 >= size * 93, "{options}: {bytes} bytes");
        n_cases += 1;
    }
    for target in [24.0, 32.0] {
        let line = format!("encode p.png -o n.asmr --steps 300 --json --quiet --psnr {target}");
        let made = folder.asmr(&line).expect(0).json();
        let (psnr_db, bytes) = (number(&made, "psnr_db"), number(&made, "bytes"));
        assert!((target..target + 0.6).contains(&psnr_db), "{target} dB: {psnr_db}");
        let wide = format!("encode p.png -o w.asmr --steps 300 --width 64 --json --quiet --psnr {target}");
        assert!(bytes < number(&folder.asmr(&wide).expect(0).json(), "bytes"), "{target} dB");
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
    // One that no network of this picture reaches: the best is there, and how much is missing is said.
    let outcome = folder.asmr("encode p.png -o n.asmr --steps 20 --json --quiet --psnr 90").expect(1);
    assert!(outcome.stderr.contains("was missed by"), "{outcome:#?}");
    assert!(number(&outcome.json(), "missed_db") > 1.0);
    // Where nothing says how long to fit, it is tried longer before that.
    folder.picture("s.png", 14, 15, GREY);
    let plain = folder.asmr("encode s.png -o n.asmr --preset fast --json --quiet").expect(0).json();
    let made = folder.asmr("encode s.png -o n.asmr --preset fast --json --quiet --psnr 150").expect(1).json();
    assert!(number(&made, "steps") >= 2.0 * number(&plain, "steps"), "{made:#}");
}

#[test]
fn targets_that_contradict_are_refused() {
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    let mut n_cases = 0;
    for (options, words) in [
        ("--bytes 0", &["--bytes", "above 0"][..]),
        ("--bytes x", &["--bytes", "as in 40k"]),
        ("--bpp -1", &["--bpp", "above 0"]),
        ("--bytes 2k --bpp 1", &["--bytes", "--bpp"]),
        ("--bytes 2k --psnr 30", &["--bytes", "--psnr"]),
        ("--bytes 2k --loss 1", &["--bytes", "--loss"]),
        ("--bytes 2k --weights f32", &["--bytes", "--weights f32"]),
        ("--bytes 300", &["300 bytes is too small", "ask for"]),
        ("--bytes 1k --width 128", &["1000 bytes is too small", "less --width"]),
        ("--psnr 30 --resume", &["--resume", "--width"]),
    ] {
        folder.asmr(&format!("encode p.png {options}")).refuses(2, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 10);
    assert_eq!(folder.names(), ["p.png"]);
    // What is asked for instead can be had.
    let refused = folder.asmr("encode p.png --bytes 300").expect(2).stderr;
    let least = refused.split_once("ask for ").unwrap().1.split_once(' ').unwrap().0;
    folder.asmr(&format!("encode p.png --bytes {least} --steps 20 --quiet")).expect(0);
    assert!(folder.read("p.asmr").len() <= least.parse().unwrap(), "{least} bytes");
}

/// Errors stay within their bound, for every type of whole numbers, in chunks, and in regions.
#[test]
fn bounds_on_errors_are_kept() {
    let folder = Folder::new();
    folder.picture("p.png", 45, 70, RGB);
    let mut state = 3u32;
    // Waves and noise, over a type's whole range.
    let raw: Vec<u8> = (0..6000 * 4)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((f64::from(i) * 0.01).sin() * 100.0) as i8 as u8 ^ (state >> 29) as u8
        })
        .collect();
    folder.write("v.raw", &raw);
    let mut n_cases = 0;
    for bound in [0u32, 1, 3, 100] {
        let option = if bound == 0 { "--lossless".to_owned() } else { format!("--max-error {bound}") };
        let line = format!("encode p.png -o p.asmr --steps 40 --json --quiet {option}");
        let made = folder.asmr(&line).expect(0).json();
        assert!(number(&made, "max_abs_error") <= f64::from(bound), "{option}");
        let info = folder.asmr("info p.asmr --json").expect(0).json();
        assert_eq!(info["max_error"], bound);
        for (dtype, shape) in [
            ("u8", "30,40,20"),
            ("i16", "30,400"),
            ("u16", "12000"),
            ("i32", "6,10,10,10"),
            ("u32", "6000"),
            ("i8", "24000"),
        ] {
            let options = format!("--shape {shape} --dtype {dtype} --steps 10 --quiet {option}");
            for chunk in ["", "--chunk 5"].iter().take(if shape.contains(',') { 2 } else { 1 }) {
                folder.asmr(&format!("encode v.raw -o v.asmr {options} {chunk}")).expect(0);
                folder.asmr("verify v.asmr").expect(0);
                let eval = folder.asmr("eval v.asmr v.raw --json --quiet --reps 1").expect(0).json();
                assert!(number(&eval, "max_abs_error") <= f64::from(bound), "{option} {dtype} {chunk}");
                if bound == 0 {
                    folder.asmr("decode v.asmr -o back.raw --quiet").expect(0);
                    assert!(
                        folder.read("back.raw") == raw[..folder.read("back.raw").len()],
                        "{dtype} {chunk}"
                    );
                }
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 4 * 9);
    // A part is a part of the whole.
    folder.asmr("encode p.png -o p.asmr --steps 40 --quiet --lossless --chunk 20").expect(0);
    folder.asmr("decode p.asmr -o part.png --quiet --region 13..44,5..61").expect(0);
    let (whole, part) = (read(&folder.path("p.png")), read(&folder.path("part.png")));
    let (Samples::U8(whole), Samples::U8(part)) = (whole.samples(), part.samples()) else { panic!("8 bits") };
    let expected: Vec<u8> =
        (13..44).flat_map(|y| whole[(y * 70 + 5) * 3..(y * 70 + 61) * 3].to_vec()).collect();
    assert!(*part == expected);
}

/// The bound on errors of floating-point numbers, which no correction can be exact for; the second reader decodes the same bits.
#[test]
fn bounds_on_errors_of_floats_are_kept() {
    let folder = Folder::new();
    let python = python();
    let mut state = 5u32;
    let values: Vec<f64> = (0..6000)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(i) * 0.01).sin() * 1000.0 + f64::from(state >> 20) * 0.01 - 700.0
        })
        .collect();
    let single: Vec<u8> = values.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    folder.write("f32.raw", &single);
    folder.write("f64.raw", &double);
    let floats = |dtype: &str, bytes: &[u8]| -> Vec<f64> {
        match dtype {
            "f32" => bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
            _ => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
        }
    };
    let mut n_cases = 0;
    for dtype in ["f32", "f64"] {
        for (bound, options) in [
            (300.0, ""),
            (7.3, "--chunk 5"),
            (0.5, ""),
            (0.25, "--progressive"),
            (0.25, "--chunk 7 --progressive"),
        ] {
            let line = format!(
                "encode {dtype}.raw -o v.asmr --shape 20,15,20 --dtype {dtype} --steps 20 --quiet --max-error {bound} {options}"
            );
            folder.asmr(&line).expect(0);
            assert_eq!(folder.read("v.asmr")[8], 4, "the file's version");
            folder.asmr("verify v.asmr").expect(0);
            let eval =
                folder.asmr(&format!("eval v.asmr {dtype}.raw --json --quiet --reps 1")).expect(0).json();
            folder.asmr("decode v.asmr -o back.raw --quiet").expect(0);
            let back = folder.read("back.raw");
            let (wanted, given) =
                (floats(dtype, &folder.read(&format!("{dtype}.raw"))), floats(dtype, &back));
            assert_eq!(given.len(), 6000);
            let worst = wanted.iter().zip(&given).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst <= bound, "{dtype} {bound} {options}: off by {worst}");
            assert!((number(&eval, "max_abs_error") - worst).abs() <= 1e-9 * worst);
            let info = folder.asmr("info v.asmr --json").expect(0).json();
            assert_eq!(info["max_error"], bound);
            if let Some(python) = &python {
                assert!(reader(python, &folder, &["v.asmr", "theirs.npy"]).status.success());
                let theirs = folder.read("theirs.npy");
                assert!(theirs[theirs.len() - back.len()..] == back, "{dtype} {bound} {options}");
            }
            n_cases += 1;
        }
        // A part is a part of the whole.
        folder.asmr("decode v.asmr -o whole.raw --quiet").expect(0);
        folder.asmr("decode v.asmr -o part.raw --quiet --region 5..9,3..15,2..7").expect(0);
        let (whole, part) =
            (floats(dtype, &folder.read("whole.raw")), floats(dtype, &folder.read("part.raw")));
        let places =
            (5..9).flat_map(|z| (3..15).flat_map(move |y| (2..7).map(move |x| (z * 15 + y) * 20 + x)));
        assert!(part == places.map(|at| whole[at]).collect::<Vec<_>>());
    }
    assert_eq!(n_cases, 10);
    // Single precision of values of 1700 is not so fine, double precision is.
    let line = |dtype: &str| {
        format!(
            "encode {dtype}.raw -o n.asmr --shape 20,15,20 --dtype {dtype} --steps 3 --quiet --max-error 1e-5"
        )
    };
    folder.asmr(&line("f32")).refuses(2, &["--max-error 0.00001", "finer"]);
    folder.asmr(&line("f64")).expect(0);
}

#[test]
fn bounds_that_cannot_be_kept_are_refused() {
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    folder.write("f.raw", &[0; 400]);
    let mut n_cases = 0;
    for (line, words) in [
        ("encode p.png --max-error -1", &["--max-error", "at least 0"][..]),
        ("encode p.png --max-error x", &["--max-error", "a number"]),
        ("encode p.png --max-error nan", &["--max-error", "a number"]),
        ("encode p.png --max-error 0.5", &["--max-error 0.5", "p.png", "whole number"]),
        ("encode p.png --max-error 5e9", &["--max-error", "whole number, 0 to 4294967295"]),
        ("encode f.raw --shape 10,10 --dtype f32 --max-error 0", &["f.raw", "above 0"]),
        ("encode p.png --max-error 1 --lossless", &["--max-error", "--lossless"]),
        ("encode p.png --lossless --bytes 2k", &["--lossless", "--bytes"]),
        ("encode p.png --lossless --psnr 40", &["--lossless", "--psnr"]),
        ("encode p.png --lossless --weights f32", &["--lossless", "--weights f32"]),
        ("encode f.raw --shape 10,10 --dtype f32 --lossless", &["whole numbers", "floating-point"]),
    ] {
        folder.asmr(line).refuses(2, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 11);
    assert_eq!(folder.names(), ["f.raw", "p.png"]);
    folder.asmr("encode p.png --lossless --steps 5 --quiet").expect(0);
    folder.asmr("decode p.asmr --precision int16 -o x.png").refuses(2, &["--precision"]);
    folder.asmr("export p.asmr -o x.safetensors").refuses(2, &["corrects"]);
    // A slice that no reader takes unasked: known before the fit.
    std::fs::File::create(folder.path("wide.raw")).unwrap().set_len((1 << 26) + 64).unwrap();
    let wide = "encode wide.raw --shape 1,67108928 --dtype u8 --lossless --steps 1 --width 1";
    folder.asmr(wide).refuses(2, &["slab", "67108864", "--limits"]);
}
