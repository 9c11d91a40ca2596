//! `cargo xtask results targets`: encodes signals of every kind to a size, a quality and a bound on errors, and records whether each
//! was met. `cargo xtask results targets unseen` does so with signals that no setting was chosen by.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::results::{run_command, value};
use crate::studies::{Bench, Rows};

/// Signals, and the table of what became of their targets.
struct Set {
    /// The table's name.
    table: &'static str,
    about: &'static str,
    /// The option that asks for a size.
    size: &'static str,
    inputs: &'static [Input],
}

/// A signal: its file below the folder of test signals, what is made of it first, what `encode` cuts of it, and a PSNR, a size and a bound on
/// errors to ask for.
type Input = (&'static str, Part, &'static str, f64, f64, f64);

/// What is made of a file where `encode` has no option to cut it.
#[derive(Clone, Copy)]
enum Part {
    All,
    /// A picture by a filter of ffmpeg.
    Picture(&'static str),
    /// A file of plain values: bytes from a place on, of what is unpacked if it is packed.
    Bytes {
        start: usize,
        n: usize,
    },
}

const TUNED: Set = Set {
    table: "targets",
    about: "signals of every kind",
    size: "--bpp",
    inputs: &[
        ("kodak/kodim01.png", Part::All, "", 25.0, 0.5, 8.0),
        ("kodak/kodim03.png", Part::All, "", 32.0, 0.3, 0.0),
        ("kodak/kodim08.png", Part::All, "", 22.0, 1.0, 1.0),
        ("kodak/kodim11.png", Part::All, "", 28.5, 0.15, 4.0),
        ("kodak/kodim19.png", Part::All, "", 27.0, 0.8, 0.0),
        ("kodak/kodim21.png", Part::All, "", 30.0, 2.0, 16.0),
        ("image/camera.png", Part::All, "", 30.0, 0.4, 2.0),
        ("image/chelsea.png", Part::All, "", 31.0, 0.6, 0.0),
        ("image/coffee.png", Part::All, "", 29.0, 0.25, 3.0),
        ("image/retina.jpg", Part::All, "", 34.0, 0.1, 5.0),
        ("audio/jfk.flac", Part::All, "--duration 2", 45.0, 1.5, 1000.0),
        ("audio/librispeech_61-70968-0000.wav", Part::All, "--duration 2", 50.0, 4.0, 0.0),
        ("audio/librispeech_1580-141084-0001.wav", Part::All, "--start 1 --duration 2", 48.0, 2.0, 30.0),
        ("audio/siren_gt_bach.wav", Part::All, "--duration 3", 45.0, 1.0, 0.01),
        ("audio/siren_gt_counting.wav", Part::All, "--duration 1", 40.0, 3.0, 0.002),
        ("video/carphone_pristine.mp4", Part::All, "--frames 0..24", 27.0, 0.2, 6.0),
        ("video/bikes.mp4", Part::All, "--frames 10..16", 24.0, 0.3, 0.0),
        (
            "volume/invesalius_cranium_ct_108x256x256_int16le.raw",
            slices(0, 24, 256 * 256 * 2),
            "--shape 24,256,256 --dtype i16",
            35.0,
            0.3,
            20.0,
        ),
        // 0 or 1, whole numbers.
        ("mesh/spot.obj", Part::All, "--resolution 64", 25.0, 0.2, 0.0),
        // Distances are cut at 0.5, four times that of samples.
        ("mesh/fandisk.obj", Part::All, "--resolution 48 --field distance", 33.0, 0.5, 0.02),
    ],
};

/// Bytes of the header of the volume in NIfTI-1, and in `.npy` of that in `.npz`.
const NIFTI: usize = 352;
const NPY: usize = 80;

/// Pictures, stretches of sound, frames, slices and shapes that are in no study by which settings were chosen (results/), and not in the other
/// set.
const UNSEEN: Set = Set {
    table: "targets-unseen",
    about: "signals of every kind that no setting was chosen by",
    size: "--bytes",
    inputs: &[
        ("kodak/kodim07.png", Part::All, "", 28.0, 20_000.0, 2.0),
        ("image/astronaut.png", Part::All, "", 27.0, 30_000.0, 0.0),
        ("megapixel/shadedrelief.jpg", Part::Picture("crop=512:512:3000:3200"), "", 26.0, 12_000.0, 10.0),
        (
            "megapixel/pluto_lorri_4408x4344.jpg",
            Part::Picture("crop=512:512:500:2800"),
            "",
            29.0,
            9_000.0,
            1.0,
        ),
        ("video/bigbuckbunny.mp4", Part::Picture("select=eq(n\\,100)"), "", 27.0, 40_000.0, 6.0),
        ("video/bikes.mp4", Part::Picture("select=eq(n\\,200)"), "", 26.0, 16_000.0, 0.0),
        (
            "video/bigbuckbunny.mp4",
            Part::Picture("select=eq(n\\,20),crop=320:240:480:360"),
            "",
            28.0,
            5_000.0,
            3.0,
        ),
        ("audio/jfk.flac", Part::All, "--start 6 --duration 2", 45.0, 20_000.0, 2000.0),
        ("audio/librispeech_61-70968-0000.wav", Part::All, "--start 2.5 --duration 2", 48.0, 6_000.0, 10.0),
        ("audio/librispeech_1580-141084-0001.wav", Part::All, "--duration 1", 45.0, 3_000.0, 0.0),
        ("audio/siren_gt_bach.wav", Part::All, "--start 4 --duration 2", 45.0, 8_000.0, 0.02),
        ("audio/siren_gt_counting.wav", Part::All, "--start 8 --duration 2", 42.0, 12_000.0, 0.005),
        ("video/bigbuckbunny.mp4", Part::All, "--frames 110..112", 27.0, 20_000.0, 8.0),
        ("video/bikes.mp4", Part::All, "--frames 160..166", 24.0, 25_000.0, 2.0),
        ("video/bigbuckbunny.mp4", Part::All, "--frames 30..32", 26.0, 50_000.0, 12.0),
        (
            "volume/invesalius_cranium_ct_108x256x256_int16le.raw",
            slices(70, 16, 256 * 256 * 2),
            "--shape 16,256,256 --dtype i16",
            33.0,
            40_000.0,
            30.0,
        ),
        (
            "volume/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
            Part::Bytes { start: NIFTI + 80 * 233 * 197, n: 24 * 233 * 197 },
            "--shape 24,233,197 --dtype u8",
            28.0,
            60_000.0,
            4.0,
        ),
        (
            "volume/imageio_stent.npz",
            Part::Bytes { start: NPY + 100 * 128 * 128 * 2, n: 48 * 128 * 128 * 2 },
            "--shape 48,128,128 --dtype i16",
            35.0,
            30_000.0,
            0.0,
        ),
        ("mesh/armadillo.obj", Part::All, "--resolution 64", 22.0, 10_000.0, 0.0),
        ("mesh/stanford-bunny.obj", Part::All, "--resolution 48 --field distance", 32.0, 6_000.0, 0.001),
    ],
};

/// Slices of a file of nothing but values.
const fn slices(first: usize, n: usize, slice_bytes: usize) -> Part {
    Part::Bytes { start: first * slice_bytes, n: n * slice_bytes }
}

/// Makes the table of one set.
pub(crate) fn run(root: &Path, is_unseen: bool) -> Result<(), String> {
    let set = if is_unseen { UNSEEN } else { TUNED };
    let bench = Bench::new(root)?;
    let about = format!(
        "{}, `asmr encode SIGNAL CUT --preset fast` with `--psnr`, `{}` and `--max-error`",
        set.about, set.size
    );
    let columns = ["signal", "cut", "target", "wanted", "reached", "met", "bytes", "width", "seconds"];
    let name = if is_unseen { "targets unseen" } else { "targets" };
    let mut rows = Rows::named(root, set.table, name, &about, &columns);
    let (mut n_met, mut n_asked) = (0, 0);
    for &(below, part, cut, psnr_db, size, max_error) in set.inputs {
        let (input, part) = prepared(&bench, below, part)?;
        let cell = format!("{part} {cut}").trim().to_owned();
        let cut: Vec<&str> = cut.split_whitespace().collect();
        for (option, wanted) in [("--psnr", psnr_db), (set.size, size), ("--max-error", max_error)] {
            let file = bench.work.join("target.asmr");
            let start = Instant::now();
            let mut encode = Command::new(&bench.asmr);
            encode
                .arg("encode")
                .arg(&input)
                .args(&cut)
                .args(["--preset", "fast", "--json", "--quiet", option]);
            let output =
                encode.arg(wanted.to_string()).arg("-o").arg(&file).output().map_err(|e| e.to_string())?;
            let printed = String::from_utf8(output.stdout).map_err(|e| e.to_string())?;
            // Of a missed quality the exit code is 1, and the best found is there.
            let (reached, met) = match option {
                _ if printed.trim().is_empty() => {
                    eprintln!("{encode:?}: {}", String::from_utf8_lossy(&output.stderr));
                    ("refused".to_owned(), false)
                }
                "--psnr" => at_least(&value(&printed, "psnr_db")?, wanted)?,
                "--bpp" => at_most(&value(&printed, "rate_bpp")?, wanted)?,
                "--bytes" => at_most(&value(&printed, "bytes")?, wanted)?,
                _ => at_most(&value(&printed, "max_abs_error")?, wanted)?,
            };
            n_met += u32::from(met);
            n_asked += 1;
            rows.push(&[
                below.to_owned(),
                cell.clone(),
                option.to_owned(),
                wanted.to_string(),
                reached,
                if met { "yes" } else { "NO" }.to_owned(),
                value(&printed, "bytes").unwrap_or_default(),
                value(&printed, "width").unwrap_or_default(),
                format!("{:.1}", start.elapsed().as_secs_f64()),
            ])?;
        }
    }
    println!("{n_met} of {n_asked} targets were met");
    rows.finish()
}

/// The file that is encoded, and what was made of the signal's own, in words.
fn prepared(bench: &Bench, below: &str, part: Part) -> Result<(PathBuf, String), String> {
    let source = bench.data.join(below);
    match part {
        Part::All => Ok((source, String::new())),
        Part::Picture(filter) => {
            let path = bench.work.join("part.png");
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-y", "-i"]).arg(&source).args(["-vf", filter, "-frames:v", "1"]);
            run_command(ffmpeg.arg(&path))?;
            Ok((path, filter.to_owned()))
        }
        Part::Bytes { start, n } => {
            let bytes = unpacked(&source)?;
            let part = bytes.get(start..start + n).ok_or_else(|| format!("{below} is too short"))?;
            let path = bench.work.join("part.raw");
            std::fs::write(&path, part).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            Ok((path, format!("bytes {start}..{}", start + n)))
        }
    }
}

/// A file's bytes; of `.gz` and `.npz` what is packed in them.
fn unpacked(path: &Path) -> Result<Vec<u8>, String> {
    let mut command = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Command::new("gzip"),
        Some("npz") => Command::new("unzip"),
        _ => return std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display())),
    };
    let to_output = if command.get_program() == "gzip" { "-dc" } else { "-p" };
    let output = command.arg(to_output).arg(path).output();
    let output = output.map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(output.stdout)
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
