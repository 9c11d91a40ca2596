//! `cargo xtask results rate-distortion-kinds`: sound, films and volumes at given rates, by the command and by classic codecs, into
//! `results/VERSION/rate-distortion-kinds.tsv`, a row for each signal, codec and setting.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::pages::VERSION;
use crate::rate_distortion::codecs_python;
use crate::results::{commit, machine, run_command, value};
use crate::studies::Bench;

/// A signal: its row's name, its kind, its file, the measure of its quality, and bits per sample that are asked for.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const ROWS: [Row; 5] = [
    ("librispeech_61-70968-0000", "sound", "audio/librispeech_61-70968-0000.wav", "snr_db", &["1", "2", "4"]),
    ("siren_gt_bach", "sound", "audio/siren_gt_bach.wav", "snr_db", &["1", "2", "4"]),
    ("siren_gt_counting", "sound", "audio/siren_gt_counting.wav", "snr_db", &["1", "2", "4"]),
    ("carphone_pristine", "film", "video/carphone_pristine.mp4", "psnr_db", &["0.05", "0.1", "0.2", "0.4"]),
    ("imageio_stent", "volume", "volume/imageio_stent.npz", "psnr_db", &["0.05", "0.1", "0.2", "0.4"]),
];

const COLUMNS: [&str; 11] = [
    "signal",
    "kind",
    "codec",
    "setting",
    "n_samples",
    "bytes",
    "rate_bits",
    "measure",
    "quality",
    "seconds",
    "commit",
];
const SCRIPT: &str = "crates/asmr-zoo/peers/classic_media.py";

/// Makes the rows of signals whose names contain `only` anew and leaves the others.
pub(crate) fn run(root: &Path, only: &str) -> Result<(), String> {
    let bench = Bench::new(root)?;
    let path = root.join("results").join(VERSION).join("rate-distortion-kinds.tsv");
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let insert = |rows: &mut BTreeMap<String, Vec<String>>, row: Vec<String>| {
        rows.insert([&row[0][..], &row[2], &row[3]].join("\t"), row);
    };
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(1) {
        let row: Vec<String> = line.split('\t').map(str::to_owned).collect();
        if row.len() != COLUMNS.len() {
            return Err(format!("{}: a row has not {} cells: {line}", path.display(), COLUMNS.len()));
        }
        insert(&mut rows, row);
    }
    let commit = commit(root);
    let chosen: Vec<&Row> = ROWS.iter().filter(|row| row.0.contains(only)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.0).collect();
        return Err(format!("no signal is called {only}; there are {}", names.join(", ")));
    }
    let python = codecs_python(root)?;
    for &&(_, kind, input, ..) in &chosen {
        let signal = format!("{kind}={}", bench.data.join(input).display());
        let printed = run_command(Command::new(&python).arg(root.join(SCRIPT)).arg(signal))?;
        for line in printed.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let cells: Vec<&str> = line.split('\t').collect();
            let [signal, codec, setting, n_samples, bytes, measure, quality, seconds] = cells[..] else {
                return Err(format!("{SCRIPT} printed: {line}"));
            };
            let rate = rate(bytes, n_samples)?;
            let row =
                [signal, kind, codec, setting, n_samples, bytes, &rate, measure, quality, seconds, &commit];
            insert(&mut rows, row.map(str::to_owned).to_vec());
        }
        save(&path, &rows)?;
    }
    let file = bench.work.join("signal.asmr");
    for &&(name, kind, input, measure, rates) in &chosen {
        let input = bench.data.join(input);
        for asked in rates {
            let start = Instant::now();
            let mut encode = Command::new(&bench.asmr);
            encode.arg("encode").arg(&input).args(["--bpp", asked, "--json", "--quiet", "-o"]).arg(&file);
            let made = run_command(&mut encode)?;
            let seconds = start.elapsed().as_secs_f64();
            let mut eval = Command::new(&bench.asmr);
            eval.arg("eval").arg(&file).arg(&input).args(["--reps", "1", "--json", "--quiet"]);
            let measured = run_command(&mut eval)?;
            let n_samples = n_samples(&value(&made, "extents")?)?.to_string();
            let bytes = value(&measured, "bytes")?;
            let row = vec![
                name.to_owned(),
                kind.to_owned(),
                "ASMR".to_owned(),
                format!("{asked} bits"),
                n_samples.clone(),
                bytes.clone(),
                rate(&bytes, &n_samples)?,
                measure.to_owned(),
                value(&measured, measure)?,
                format!("{seconds:.1}"),
                commit.clone(),
            ];
            println!("{}", row.join("\t"));
            insert(&mut rows, row);
            save(&path, &rows)?;
        }
    }
    println!("wrote {}", path.display());
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

fn save(path: &Path, rows: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    let lines: Vec<String> = rows.values().map(|row| row.join("\t")).collect();
    let text = format!(
        "# Sound, a film and a volume: `asmr encode SIGNAL --bpp RATE`, and classic codecs by {SCRIPT}; made by `cargo xtask results rate-distortion-kinds`\n# {}\n{}\n{}\n",
        machine(),
        COLUMNS.join("\t"),
        lines.join("\n")
    );
    let temporary = path.with_extension("tsv.new");
    std::fs::write(&temporary, text)
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
