//! `cargo xtask results targets`: encodes signals of every kind to a size, a quality and a bound on errors, and records whether each
//! was met.

use std::path::Path;
use std::process::Command;

use crate::results::value;
use crate::studies::{Bench, Rows};

/// A signal: its file below the folder of test signals, what is cut of it, and a PSNR, bits per sample and a bound to ask for; no
/// bound for floats.
type Input = (&'static str, &'static str, f64, f64, Option<u32>);

const INPUTS: [Input; 20] = [
    ("kodak/kodim01.png", "", 25.0, 0.5, Some(8)),
    ("kodak/kodim03.png", "", 32.0, 0.3, Some(0)),
    ("kodak/kodim08.png", "", 22.0, 1.0, Some(1)),
    ("kodak/kodim11.png", "", 28.5, 0.15, Some(4)),
    ("kodak/kodim19.png", "", 27.0, 0.8, Some(0)),
    ("kodak/kodim21.png", "", 30.0, 2.0, Some(16)),
    ("image/camera.png", "", 30.0, 0.4, Some(2)),
    ("image/chelsea.png", "", 31.0, 0.6, Some(0)),
    ("image/coffee.png", "", 29.0, 0.25, Some(3)),
    ("image/retina.jpg", "", 34.0, 0.1, Some(5)),
    ("audio/jfk.flac", "--duration 2", 45.0, 1.5, Some(1000)),
    ("audio/librispeech_61-70968-0000.wav", "--duration 2", 50.0, 4.0, Some(0)),
    ("audio/librispeech_1580-141084-0001.wav", "--start 1 --duration 2", 48.0, 2.0, Some(30)),
    ("audio/siren_gt_bach.wav", "--duration 3", 45.0, 1.0, None),
    ("audio/siren_gt_counting.wav", "--duration 1", 40.0, 3.0, None),
    ("video/carphone_pristine.mp4", "--frames 0..24", 27.0, 0.2, Some(6)),
    ("video/bikes.mp4", "--frames 10..16", 24.0, 0.3, Some(0)),
    (
        "volume/invesalius_cranium_ct_108x256x256_int16le.raw",
        "--shape 24,256,256 --dtype i16",
        35.0,
        0.3,
        Some(20),
    ),
    ("mesh/spot.obj", "--resolution 64", 25.0, 0.2, None),
    ("mesh/fandisk.obj", "--resolution 48 --field distance", 33.0, 0.5, None),
];

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let bench = Bench::new(root)?;
    let about = "signals of every kind, `asmr encode SIGNAL CUT --preset fast` with `--psnr`, `--bpp` and `--max-error`";
    let columns = ["signal", "cut", "target", "wanted", "reached", "met", "bytes", "width", "seconds"];
    let mut rows = Rows::new(root, "targets", about, &columns);
    let (mut n_met, mut n_asked) = (0, 0);
    for (below, cut, psnr_db, bpp, max_error) in INPUTS {
        let input = bench.data.join(below);
        // The raw volume's shape is that of its first slices, and its file must have as many bytes.
        let input = if cut.starts_with("--shape 24") { first_slices(&bench.work, &input)? } else { input };
        let cut: Vec<&str> = cut.split_whitespace().collect();
        let mut targets = vec![("--psnr", psnr_db.to_string()), ("--bpp", bpp.to_string())];
        targets.extend(max_error.map(|error| ("--max-error", error.to_string())));
        for (option, wanted) in targets {
            let file = bench.work.join("target.asmr");
            let start = std::time::Instant::now();
            let mut encode = Command::new(&bench.asmr);
            encode
                .arg("encode")
                .arg(&input)
                .args(&cut)
                .args(["--preset", "fast", "--json", "--quiet", option]);
            let output = encode.arg(&wanted).arg("-o").arg(&file).output().map_err(|e| e.to_string())?;
            // Of a missed quality the exit code is 1, and the best found is there.
            if !matches!(output.status.code(), Some(0 | 1)) {
                return Err(format!("{encode:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
            }
            let made = String::from_utf8(output.stdout).map_err(|e| e.to_string())?;
            let (reached, met) = match option {
                "--psnr" => at_least(&value(&made, "psnr_db")?, psnr_db)?,
                "--bpp" => at_most(&value(&made, "rate_bpp")?, bpp)?,
                _ => at_most(&value(&made, "max_abs_error")?, f64::from(max_error.unwrap_or_default()))?,
            };
            n_met += u32::from(met);
            n_asked += 1;
            rows.push(&[
                below.to_owned(),
                cut.join(" "),
                option.to_owned(),
                wanted,
                reached,
                if met { "yes" } else { "NO" }.to_owned(),
                value(&made, "bytes")?,
                value(&made, "width")?,
                format!("{:.1}", start.elapsed().as_secs_f64()),
            ])?;
        }
    }
    println!("{n_met} of {n_asked} targets were met");
    Ok(())
}

/// A value, and whether it is as large as wanted; exact signals have no PSNR.
fn at_least(text: &str, wanted: f64) -> Result<(String, bool), String> {
    let value = if text == "null" { f64::INFINITY } else { number(text)? };
    Ok((text.to_owned(), value >= wanted))
}

fn at_most(text: &str, wanted: f64) -> Result<(String, bool), String> {
    Ok((text.to_owned(), number(text)? <= wanted))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|error| format!("{text}: {error}"))
}

/// The first 24 slices of 256 x 256 16-bit values.
fn first_slices(work: &Path, input: &Path) -> Result<std::path::PathBuf, String> {
    let bytes = std::fs::read(input).map_err(|e| format!("cannot read {}: {e}", input.display()))?;
    let path = work.join("slices.raw");
    let part = bytes.get(..24 * 256 * 256 * 2).ok_or("the volume is too short")?;
    std::fs::write(&path, part).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(path)
}
