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
    let floats = call("");
    let mut n_cases = 0;
    for (loss, least, most) in [("0.05", 0.005, 0.1), ("0.1", 0.01, 0.2), ("1", 0.2, 1.6)] {
        let coded = call(&format!("--weights coded --loss {loss}"));
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
    let line =
        "encode p.png -o n.asmr --width 48 --steps 3000 --psnr 30 --weights coded --loss 0.3 --json --quiet";
    assert!(number(&folder.asmr(line).expect(0).json(), "psnr_db") >= 30.0);
}

#[test]
fn wrong_losses_are_refused() {
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    folder.asmr("encode p.png --loss 0.1").refuses(2, &["--loss", "--weights coded"]);
    for loss in ["0", "-1", "21", "nan", "x"] {
        folder
            .asmr(&format!("encode p.png --weights coded --loss {loss}"))
            .refuses(2, &["--loss", "above 0 and at most 20"]);
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
        "rgb.png",
        "rgb.png --weights coded",
        "grey.png --weights coded --modulator table --loss 1",
        "grey.png --modulator nonlinear",
        "grey.png --weights coded --modulator nonlinear --loss 3",
        "rgb.png --weights coded --chunk 12",
        "rgb.png --chunk 7",
        "rgb.png --weights coded --levels 5 --width 20",
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
        assert!(decoded.iter().zip(theirs).all(|(a, b)| a.abs_diff(*b) <= 1), "{options}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
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
