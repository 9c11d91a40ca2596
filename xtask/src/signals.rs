//! `cargo xtask results signals`: real signals of every kind through the command, with its defaults, into
//! `results/VERSION/signals.tsv`. A row per signal, each with the commit it was made at; a name after `signals` makes the rows
//! that contain it anew and leaves the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::results::{commit, machine, replace, run_command, value};

/// A signal: its row's name, its kind, its file below the folder of test signals, and options of `encode`.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str]);

const RAW: &[&str] = &["--shape", "108,256,256", "--dtype", "i16", "--spacing", "1.5,0.957,0.957"];
const PAPER_AUDIO: &[&str] =
    &["--duration", "2", "--preset", "paper", "--bases", "10,10,16,20", "--width", "128"];

const ROWS: &[Row] = &[
    ("librispeech-61-2s", "sound", "audio/librispeech_61-70968-0000.wav", &["--duration", "2"]),
    ("librispeech-61-2s-paper", "sound", "audio/librispeech_61-70968-0000.wav", PAPER_AUDIO),
    ("librispeech-1580-2s", "sound", "audio/librispeech_1580-141084-0001.wav", &["--duration", "2"]),
    ("librispeech-1580-2s-paper", "sound", "audio/librispeech_1580-141084-0001.wav", PAPER_AUDIO),
    ("jfk", "sound", "audio/jfk.flac", &[]),
    ("bach", "sound", "audio/siren_gt_bach.wav", &[]),
    ("counting", "sound", "audio/siren_gt_counting.wav", &[]),
    ("carphone", "film", "video/carphone_pristine.mp4", &[]),
    ("bikes", "film", "video/bikes.mp4", &[]),
    ("bigbuckbunny", "film", "video/bigbuckbunny.mp4", &[]),
    ("mni-t1", "volume", "volume/mni", &[]),
    ("stent", "volume", "volume/imageio_stent.npz", &[]),
    ("cranium", "volume", "volume/invesalius_cranium_ct_108x256x256_int16le.raw", RAW),
    ("spot", "shape", "mesh/spot.obj", &[]),
    ("spot-distance", "shape", "mesh/spot.obj", &["--field", "distance"]),
    ("fandisk", "shape", "mesh/fandisk.obj", &[]),
    ("fandisk-distance", "shape", "mesh/fandisk.obj", &["--field", "distance"]),
    ("armadillo", "shape", "mesh/armadillo.obj", &[]),
    ("stanford-bunny", "shape", "mesh/stanford-bunny.obj", &[]),
    ("pluto", "picture", "megapixel/pluto_lorri_4408x4344.jpg", &[]),
    ("shadedrelief", "picture", "megapixel/shadedrelief.jpg", &[]),
];

/// Columns that are keys of `encode`'s object, ...
const OF_ENCODE: [&str; 10] = [
    "extents",
    "channels",
    "n_chunks",
    "width",
    "bases",
    "n_params",
    "steps",
    "fit_msamples_per_s",
    "mac_exec",
    "mac_paper",
];
/// ... and of `eval`'s.
const OF_EVAL: [&str; 13] = [
    "psnr_db",
    "ssim",
    "snr_db",
    "lsd_db",
    "psnr_db_worst",
    "ssim_worst",
    "iou",
    "chamfer",
    "normal_consistency",
    "seam_db",
    "msamples_per_s",
    "bytes",
    "rate_bpp",
];

/// Makes the row named `only`, or if there is none those whose name contains it.
pub(crate) fn run(root: &Path, only: &str) -> Result<(), String> {
    let data =
        std::env::var("ASMR_DATA").map_err(|_| "set ASMR_DATA to the folder of test signals".to_owned())?;
    let data = Path::new(&data);
    run_command(
        Command::new("cargo").args(["build", "--release", "--package", "asmr-cli"]).current_dir(root),
    )?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let asmr = target.join("release/asmr");
    let path = root.join("results").join(env!("CARGO_PKG_VERSION")).join("signals.tsv");
    let mut lines = kept(&path);
    let work = std::env::temp_dir().join(format!("asmr-signals-{}", std::process::id()));
    std::fs::create_dir_all(&work).map_err(|e| format!("cannot make {}: {e}", work.display()))?;
    let file = work.join("signal.asmr");
    let is_name = ROWS.iter().any(|row| row.0 == only);
    let asked = |row: &&Row| if is_name { row.0 == only } else { row.0.contains(only) };
    for &(name, kind, below, options) in ROWS.iter().filter(asked) {
        let input = find(&data.join(below))?;
        let mut encode = Command::new(&asmr);
        encode.arg("encode").arg(&input).args(options);
        encode.args(["--json", "--quiet", "-o"]).arg(&file);
        let start = Instant::now();
        let made = run_command(&mut encode)?;
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let measured = run_command(
            Command::new(&asmr).arg("eval").arg(&file).arg(&input).args(["--reps", "3", "--json", "--quiet"]),
        )?;
        let mut row = vec![name.to_owned(), kind.to_owned(), format!("{minutes:.2}")];
        // A key that a kind does not have is an empty cell.
        row.extend(OF_ENCODE.map(|key| value(&made, key).unwrap_or_default()));
        row.extend(OF_EVAL.map(|key| value(&measured, key).unwrap_or_default()));
        row.extend([options.join(" "), commit(root)]);
        println!("{}", row.join("\t"));
        lines.insert(name.to_owned(), row.join("\t"));
        write(&path, &lines)?;
    }
    let _ = std::fs::remove_dir_all(&work);
    println!("wrote {}", path.display());
    Ok(())
}

/// A file, or the only one whose path begins so.
fn find(start: &Path) -> Result<PathBuf, String> {
    if start.is_file() {
        return Ok(start.to_owned());
    }
    let prefix = start.file_name().unwrap_or_default().to_string_lossy().into_owned();
    std::fs::read_dir(start.parent().unwrap_or(start))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
        .ok_or_else(|| format!("{} is not there", start.display()))
}

/// The rows of the file, by name.
fn kept(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.filter_map(|line| Some((line.split('\t').next()?.to_owned(), line.to_owned()))).collect()
}

fn write(path: &Path, rows: &BTreeMap<String, String>) -> Result<(), String> {
    let mut text = format!(
        "# Signals of every kind, defaults but for the options given: `asmr encode SIGNAL OPTIONS`, then `asmr eval` (median of 3 decodes); made by `cargo xtask results signals`\n# {}\n",
        machine()
    );
    let mut names = vec!["signal", "kind", "minutes"];
    names.extend(OF_ENCODE);
    names.extend(OF_EVAL);
    names.extend(["options", "commit"]);
    text += &names.join("\t");
    text.push('\n');
    for row in ROWS.iter().filter_map(|row| rows.get(row.0)) {
        text += row;
        text.push('\n');
    }
    replace(path, &text)
}
