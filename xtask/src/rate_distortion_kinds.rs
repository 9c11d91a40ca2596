//! `cargo xtask results rate-distortion-kinds`: sound, films and volumes at given rates and without loss, by the command and by classic
//! codecs, into `results/VERSION/rate-distortion-kinds.tsv`, a row for each signal, codec and setting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::pages::VERSION;
use crate::rate_distortion::{ASMR, OPTIONS, codecs_python};
use crate::results::{commit, machine, replace, run_command, value};
use crate::studies::Bench;

struct Input {
    /// Its row's name.
    name: &'static str,
    kind: &'static str,
    /// Below the folder of test signals.
    file: &'static str,
    /// How its quality is measured.
    measure: &'static str,
    /// Bits per sample that are asked for.
    rates: &'static [&'static str],
    /// Whether its values are whole numbers, which can be had back as they were.
    is_whole: bool,
}

const SOUND: Input =
    Input { name: "", kind: "sound", file: "", measure: "snr_db", rates: &["1", "2", "4"], is_whole: false };

const INPUTS: [Input; 5] = [
    Input {
        name: "librispeech_61-70968-0000",
        file: "audio/librispeech_61-70968-0000.wav",
        is_whole: true,
        ..SOUND
    },
    Input { name: "siren_gt_bach", file: "audio/siren_gt_bach.wav", ..SOUND },
    Input { name: "siren_gt_counting", file: "audio/siren_gt_counting.wav", ..SOUND },
    Input {
        name: "carphone_pristine",
        kind: "film",
        file: "video/carphone_pristine.mp4",
        measure: "psnr_db",
        rates: &["0.05", "0.1", "0.2", "0.4"],
        is_whole: true,
    },
    Input {
        name: "imageio_stent",
        kind: "volume",
        file: "volume/imageio_stent.npz",
        measure: "psnr_db",
        rates: &["0.05", "0.1", "0.2", "0.4"],
        is_whole: true,
    },
];

const COLUMNS: [&str; 14] = [
    "signal",
    "kind",
    "codec",
    "setting",
    "n_samples",
    "bytes",
    "rate_bits",
    "measure",
    "quality",
    "width",
    "mac_exec",
    "seconds",
    "decode_msamples_s",
    "commit",
];
/// Where the rate stands.
const RATE: usize = 6;
const SCRIPT: &str = "crates/asmr-zoo/peers/classic_media.py";
const LOSSLESS: &str = "lossless";

/// The table, written anew after each row.
struct Table {
    path: PathBuf,
    /// By signal, codec and setting; in the file those with more bits come later.
    rows: BTreeMap<String, Vec<String>>,
}

impl Table {
    fn open(path: PathBuf) -> Result<Self, String> {
        let mut table = Self { path, rows: BTreeMap::new() };
        let text = std::fs::read_to_string(&table.path).unwrap_or_default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(1) {
            let row: Vec<String> = line.split('\t').map(str::to_owned).collect();
            if row.len() != COLUMNS.len() {
                let (path, n) = (table.path.display(), COLUMNS.len());
                return Err(format!("{path}: a row has not {n} cells: {line}"));
            }
            table.insert(row);
        }
        Ok(table)
    }

    fn insert(&mut self, row: Vec<String>) {
        self.rows.insert([&row[0][..], &row[2], &row[3]].join("\t"), row);
    }

    fn save(&self) -> Result<(), String> {
        let mut rows: Vec<&Vec<String>> = self.rows.values().collect();
        let rate = |row: &[String]| row[RATE].parse().unwrap_or(f64::INFINITY);
        rows.sort_by(|a, b| (&a[0], &a[2]).cmp(&(&b[0], &b[2])).then(rate(a).total_cmp(&rate(b))));
        let lines: Vec<String> = rows.into_iter().map(|row| row.join("\t")).collect();
        let text = format!(
            "# Sound, a film and a volume: `asmr encode SIGNAL {} --bpp RATE` and `asmr encode SIGNAL --lossless`, and classic codecs by {SCRIPT}; made by `cargo xtask results rate-distortion-kinds`\n\
             # SNR compares waveforms, which MP3 and Opus do not keep: they are made for the ear, and it is no measure of them\n\
             # {}\n{}\n{}\n",
            OPTIONS.join(" "),
            machine(),
            COLUMNS.join("\t"),
            lines.join("\n")
        );
        replace(&self.path, &text)
    }
}

/// What all signals are measured with.
struct Study<'a> {
    root: &'a Path,
    bench: Bench,
    python: PathBuf,
    commit: String,
}

/// Makes the rows of signals whose names contain `only` anew and leaves the others.
pub(crate) fn run(root: &Path, only: &str) -> Result<(), String> {
    let chosen: Vec<&Input> = INPUTS.iter().filter(|input| input.name.contains(only)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = INPUTS.iter().map(|input| input.name).collect();
        return Err(format!("no signal's name contains '{only}'; there are: {}", names.join(", ")));
    }
    let mut table = Table::open(root.join("results").join(VERSION).join("rate-distortion-kinds.tsv"))?;
    let bench = Bench::new(root)?;
    let study = Study { root, bench, python: codecs_python(root)?, commit: commit(root) };
    // Hours in all: what fails with one signal keeps no other from being measured.
    let mut failures = Vec::new();
    for input in chosen {
        for part in [classic, ours] {
            if let Err(error) = part(&study, input, &mut table) {
                eprintln!("{}: {error}", input.name);
                failures.push(format!("{}: {error}", input.name));
            }
        }
    }
    println!("wrote {}", table.path.display());
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Rows of the classic codecs, in place of those that are there.
fn classic(study: &Study<'_>, input: &Input, table: &mut Table) -> Result<(), String> {
    let signal = format!("{}={}", input.kind, study.bench.data.join(input.file).display());
    let printed = run_command(Command::new(&study.python).arg(study.root.join(SCRIPT)).arg(signal))?;
    let mut rows = Vec::new();
    for line in printed.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [signal, codec, setting, n_samples, bytes, measure, quality, seconds] = cells[..] else {
            return Err(format!("{SCRIPT} printed: {line}"));
        };
        let rate = rate(bytes, n_samples)?;
        // No width, no multiply-adds and no time of a decode, which for a program of its own is mostly that of starting it.
        let row = [
            signal,
            input.kind,
            codec,
            setting,
            n_samples,
            bytes,
            &rate,
            measure,
            quality,
            "",
            "",
            seconds,
            "",
            &study.commit,
        ];
        println!("{}", row.join("\t"));
        rows.push(row.map(str::to_owned).to_vec());
    }
    table.rows.retain(|_, row| row[0] != input.name || row[2] == ASMR);
    for row in rows {
        table.insert(row);
    }
    table.save()
}

/// Rows of the command.
fn ours(study: &Study<'_>, input: &Input, table: &mut Table) -> Result<(), String> {
    let rates =
        input.rates.iter().map(|&rate| (format!("{rate} bits"), [&OPTIONS[..], &["--bpp", rate]].concat()));
    // The lossless one is of the default preset: hardly any of its bytes are the network's.
    let lossless = input.is_whole.then(|| (LOSSLESS.to_owned(), vec!["--lossless"]));
    let settings: Vec<(String, Vec<&str>)> = lossless.into_iter().chain(rates).collect();
    table.rows.retain(|_, row| {
        row[0] != input.name || row[2] != ASMR || settings.iter().any(|(setting, _)| *setting == row[3])
    });
    let (original, file) = (study.bench.data.join(input.file), study.bench.work.join("signal.asmr"));
    for (setting, options) in settings {
        let start = Instant::now();
        let mut encode = Command::new(&study.bench.asmr);
        encode.arg("encode").arg(&original).args(options).args(["--json", "--quiet", "-o"]).arg(&file);
        let made = run_command(&mut encode)?;
        let seconds = start.elapsed().as_secs_f64();
        let mut eval = Command::new(&study.bench.asmr);
        eval.arg("eval").arg(&file).arg(&original).args(["--reps", "3", "--json", "--quiet"]);
        let measured = run_command(&mut eval)?;
        let quality = if setting == LOSSLESS {
            let error = value(&measured, "max_abs_error")?;
            if error.parse() != Ok(0.0) {
                return Err(format!("a lossless file is off by {error}"));
            }
            "exact".to_owned()
        } else {
            value(&measured, input.measure)?
        };
        let n_samples = n_samples(&value(&made, "extents")?)?.to_string();
        let bytes = value(&measured, "bytes")?;
        let row = vec![
            input.name.to_owned(),
            input.kind.to_owned(),
            ASMR.to_owned(),
            setting,
            n_samples.clone(),
            bytes.clone(),
            rate(&bytes, &n_samples)?,
            input.measure.to_owned(),
            quality,
            value(&made, "width")?,
            value(&made, "mac_exec")?,
            format!("{seconds:.1}"),
            value(&measured, "msamples_per_s")?,
            study.commit.clone(),
        ];
        println!("{}", row.join("\t"));
        table.insert(row);
        table.save()?;
    }
    Ok(())
}

fn rate(bytes: &str, n_samples: &str) -> Result<String, String> {
    let number = |text: &str| text.parse::<f64>().map_err(|error| format!("{text}: {error}"));
    Ok(format!("{:.4}", 8.0 * number(bytes)? / number(n_samples)?))
}

/// The product of `[189, 233, 197]`.
fn n_samples(extents: &str) -> Result<u64, String> {
    let each = extents.trim_matches(['[', ']']).split(',');
    each.map(|extent| extent.trim().parse::<u64>().map_err(|error| format!("{extents}: {error}"))).product()
}
