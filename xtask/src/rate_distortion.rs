//! `cargo xtask results rate-distortion`: pictures at given rates, by the command and by classic codecs, into
//! `results/VERSION/rate-distortion.tsv` (a row for each picture, codec and setting) and `rate-distortion-means.tsv`; and
//! docs/RATE-DISTORTION.md with its plot, made from them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::pages::{Page, Section, Selection, VERSION, figure, figure_or_words, text};
use crate::plot::{Axis, Curve, Plot};
use crate::read;
use crate::results::{commit, machine, replace, run_command, value};
use crate::studies::Bench;

/// Bits per sample of the whole file that the command is asked for.
const RATES: [&str; 4] = ["0.15", "0.3", "0.6", "1.2"];
/// How.
pub(crate) const OPTIONS: [&str; 2] = ["--preset", "best"];
pub(crate) const ASMR: &str = "ASMR";
/// What is asked for instead of a rate to have the classic codecs only.
const CLASSIC: &str = "classic";

/// Kodak pictures of the test signals. Means over fewer of them are of other pictures, so they are not held beside others.
const N_PICTURES: usize = 12;

/// COIN (Dupont et al., 2021, arXiv 2103.03123), mean of all 24 Kodak pictures as published: bits per pixel of the weights, PSNR in dB,
/// and multiply-adds per pixel of its networks.
const COIN: [(f64, f64, f64); 4] =
    [(0.15, 24.47, 3900.0), (0.3, 26.32, 7500.0), (0.6, 28.34, 15_000.0), (1.2, 30.61, 29_700.0)];

/// Pictures as COIN's authors show them decoded: picture, rate, PSNR in dB.
const COIN_DECODES: &str = "coin-decodes";

const COLUMNS: [&str; 14] = [
    "codec",
    "picture",
    "setting",
    "n_samples",
    "bytes",
    "rate_bpp",
    "psnr_db",
    "width",
    "n_params",
    "mac_exec",
    "seconds",
    "fit_seconds",
    "decode_msamples_s",
    "commit",
];
const N_KEYS: usize = 3;
/// Where the quality stands.
const PSNR: usize = 6;

/// The means' file.
pub(crate) const MEANS_FILE: &str = "rate-distortion-means";

/// Columns of the means.
const MEANS: [&str; 9] = [
    "codec",
    "setting",
    "n_pictures",
    "rate_bpp",
    "psnr_db",
    "mac_exec",
    "seconds",
    "seconds_most",
    "decode_msamples_s",
];

const SCRIPT: &str = "crates/asmr-zoo/peers/classic_codecs.py";
const REQUIREMENTS: &str = "crates/asmr-zoo/peers/codec-requirements.txt";

/// Rows by codec, picture and setting.
type Rows = BTreeMap<[String; N_KEYS], Vec<String>>;

/// Makes the rows of the pictures whose names contain `only` anew and leaves the others; of the classic codecs, or of the command
/// at the rates that contain `rate`.
pub(crate) fn run(root: &Path, only: &str, rate: &str) -> Result<(), String> {
    let bench = Bench::new(root)?;
    let path = root.join("results").join(VERSION).join("rate-distortion.tsv");
    let mut rows = kept(&path);
    let all = crate::results::kodak(&bench.data);
    let pictures: Vec<PathBuf> = all.iter().filter(|path| name(path).contains(only)).cloned().collect();
    if pictures.is_empty() {
        let names: Vec<String> = all.iter().map(|path| name(path)).collect();
        return Err(format!("no picture's name contains '{only}'; there are: {}", names.join(", ")));
    }
    let rates: Vec<&str> = RATES.into_iter().filter(|asked| asked.contains(rate)).collect();
    if rates.is_empty() && !CLASSIC.contains(rate) {
        return Err(format!("no rate contains '{rate}'; there are: {}, {CLASSIC}", RATES.join(", ")));
    }
    // Settings that are no longer among those of a codec must not stay in its means.
    let is_chosen = |row: &[String]| pictures.iter().any(|path| name(path) == row[1]);
    if CLASSIC.contains(rate) {
        let new = classic(root, &pictures)?;
        rows.retain(|_, row| row[0] == ASMR || !is_chosen(row));
        for row in new {
            insert(&mut rows, row);
        }
        write(root, &path, &rows)?;
    }
    rows.retain(|_, row| row[0] != ASMR || !is_chosen(row) || RATES.iter().any(|r| row[2] == setting(r)));
    for picture in &pictures {
        for asked in &rates {
            insert(&mut rows, encoded(&bench, picture, asked, &commit(root))?);
            write(root, &path, &rows)?;
        }
    }
    println!("wrote {}", path.display());
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a rate is called in a row of the command.
fn setting(asked: &str) -> String {
    format!("{asked} bits")
}

/// A row of the command.
fn encoded(bench: &Bench, picture: &Path, asked: &str, commit: &str) -> Result<Vec<String>, String> {
    let file = bench.work.join("picture.asmr");
    let start = Instant::now();
    let mut encode = Command::new(&bench.asmr);
    encode.arg("encode").arg(picture).args(OPTIONS).args(["--bpp", asked, "--json", "--quiet", "-o"]);
    let made = run_command(encode.arg(&file))?;
    let seconds = start.elapsed().as_secs_f64();
    let measured = run_command(
        Command::new(&bench.asmr)
            .arg("eval")
            .arg(&file)
            .arg(picture)
            .args(["--reps", "5", "--json", "--quiet"]),
    )?;
    let extents = value(&made, "extents")?;
    let n_samples = extents
        .trim_matches(['[', ']'])
        .split(',')
        .map(|extent| extent.trim().parse::<u64>().map_err(|error| format!("{extents}: {error}")))
        .product::<Result<u64, _>>()?;
    let row = vec![
        ASMR.to_owned(),
        name(picture),
        setting(asked),
        n_samples.to_string(),
        value(&measured, "bytes")?,
        value(&measured, "rate_bpp")?,
        value(&measured, "psnr_db")?,
        value(&made, "width")?,
        value(&made, "n_params")?,
        value(&made, "mac_exec")?,
        format!("{seconds:.1}"),
        value(&made, "elapsed_s")?,
        value(&measured, "msamples_per_s")?,
        commit.to_owned(),
    ];
    println!("{}", row.join("\t"));
    Ok(row)
}

/// A Python with the classic codecs, in an environment of its own below the target folder.
pub(crate) fn codecs_python(root: &Path) -> Result<PathBuf, String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let (folder, requirements) = (target.join("codecs-venv"), root.join(REQUIREMENTS));
    let python = folder.join("bin/python");
    if !python.is_file() {
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    run_command(Command::new(&python).args(pip).arg(&requirements))?;
    Ok(python)
}

/// Rows of the classic codecs.
fn classic(root: &Path, pictures: &[PathBuf]) -> Result<Vec<Vec<String>>, String> {
    let python = codecs_python(root)?;
    let printed = run_command(Command::new(&python).arg(root.join(SCRIPT)).args(pictures))?;
    let mut lines = printed.lines().filter(|line| !line.starts_with('#'));
    let names: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    lines
        .map(|line| {
            let cells: BTreeMap<&str, &str> = names.iter().copied().zip(line.split('\t')).collect();
            let number = |name: &str| cells.get(name).and_then(|cell| cell.parse::<f64>().ok());
            let bpp = number("bytes").zip(number("n_samples")).map(|(bytes, n)| 8.0 * bytes / n);
            let bpp = bpp.ok_or_else(|| format!("{SCRIPT} printed: {line}"))?;
            let cell = |column: &&str| match *column {
                "rate_bpp" => format!("{bpp:.5}"),
                "commit" => commit(root),
                column => cells.get(column).copied().unwrap_or_default().to_owned(),
            };
            Ok(COLUMNS.iter().map(cell).collect())
        })
        .collect()
}

fn insert(rows: &mut Rows, row: Vec<String>) {
    rows.insert([row[0].clone(), row[1].clone(), row[2].clone()], row);
}

fn kept(path: &Path) -> Rows {
    let mut rows = Rows::new();
    for row in table(&std::fs::read_to_string(path).unwrap_or_default()) {
        insert(&mut rows, row);
    }
    rows
}

/// The rows of a table without its head.
fn table(tsv: &str) -> Vec<Vec<String>> {
    let lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).skip(1);
    lines.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Writes both tables.
fn write(root: &Path, path: &Path, rows: &Rows) -> Result<(), String> {
    let about = format!(
        "# Kodak pictures: `asmr encode PICTURE {} --bpp RATE`, and JPEG, WebP, AVIF and JPEG XL by {SCRIPT}; made by `cargo xtask results rate-distortion`\n# {}\n",
        OPTIONS.join(" "),
        machine()
    );
    let all: Vec<String> = rows.values().map(|row| row.join("\t")).collect();
    let save = |path: &Path, columns: &[&str], lines: &[String]| {
        let text = format!("{about}{}\n{}\n", columns.join("\t"), lines.join("\n"));
        replace(path, &text)
    };
    save(path, &COLUMNS, &all)?;
    let means = root.join("results").join(VERSION).join(format!("{MEANS_FILE}.tsv"));
    save(&means, &MEANS, &of_settings(rows)?)
}

/// Means over pictures, by codec and setting, those with more bits later.
fn of_settings(rows: &Rows) -> Result<Vec<String>, String> {
    let mut groups: BTreeMap<(String, String), Vec<&Vec<String>>> = BTreeMap::new();
    for row in rows.values() {
        groups.entry((row[0].clone(), row[2].clone())).or_default().push(row);
    }
    let at = |name: &str| COLUMNS.iter().position(|column| *column == name).unwrap_or(0);
    let mut means = Vec::new();
    for ((codec, setting), rows) in groups {
        let column = |name: &str| -> Result<Vec<f64>, String> {
            let cells = rows.iter().map(|row| row[at(name)].as_str()).filter(|cell| !cell.is_empty());
            cells.map(|cell| cell.parse().map_err(|error| format!("{name} is {cell}: {error}"))).collect()
        };
        let mean = |name: &str| -> Result<String, String> {
            let values = column(name)?;
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            Ok(if values.is_empty() { String::new() } else { format!("{mean:.4}") })
        };
        let most = column("seconds")?.into_iter().fold(0.0, f64::max);
        let rate = mean("rate_bpp")?;
        let order: f64 = rate.parse().unwrap_or(0.0);
        let n = rows.len().to_string();
        let (psnr, mac, seconds) = (mean("psnr_db")?, mean("mac_exec")?, mean("seconds")?);
        let speed = mean("decode_msamples_s")?;
        let cells =
            [codec.clone(), setting, n, rate, psnr, mac, seconds, format!("{most:.2}"), speed].join("\t");
        means.push((codec, order, cells));
    }
    means.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Ok(means.into_iter().map(|(.., cells)| cells).collect())
}

pub(crate) const PAGE: Page = Page {
    path: "docs/RATE-DISTORTION.md",
    head: HEAD,
    sections: SECTIONS,
    further: Some((MEANS_FILE, compared)),
};

const HEAD: &str = "\
# Quality and size

Made from files of `results/VERSION/` by `cargo xtask pages --write`; never typed. How to choose a size or a quality is told by
`asmr encode --help` (`--bpp`, `--bytes`, `--psnr`).

![PSNR against bits per sample](rate-distortion.svg)
";

const SECTIONS: &[Section] = &[
    Section {
        file: MEANS_FILE,
        title: "Means over Kodak pictures",
        about: "Bits per sample are those of whole files. *Executed* multiply-adds are what a decode performs for each pixel; classic codecs\n\
                have no such count. *Encode* is the whole command's time on two threads, of classic codecs that of one; *decode* is on two\n\
                threads, of classic codecs on one.",
        rows: Selection::All,
        columns: &[
            text("codec", "codec"),
            text("setting", "setting"),
            figure("n_pictures", "pictures", 0),
            figure("rate_bpp", "bits/sample", 3),
            figure("psnr_db", "PSNR, dB", 2),
            figure("mac_exec", "executed MAC/pixel", 0),
            figure("seconds", "encode, s", 2),
            figure("seconds_most", "longest encode, s", 1),
            figure("decode_msamples_s", "decode, Msamples/s", 1),
        ],
    },
    Section {
        file: "rate-distortion-kinds",
        title: "Sound, a film and a volume",
        about: "Of sound the signal-to-noise ratio. It says how near the waveform is and nothing about what is heard: MP3 and Opus give up the\n\
                one for the other, and are better than their rows. H.264 and AV1 keep colours at half the resolution. Bits are those of whole\n\
                files, per moment of sound with all its channels, pixel or voxel.",
        rows: Selection::All,
        columns: &[
            text("signal", "signal"),
            text("codec", "codec"),
            text("setting", "setting"),
            figure("rate_bits", "bits/sample", 3),
            text("measure", "measure"),
            figure_or_words("quality", "quality", 2),
            figure("width", "width", 0),
            figure("mac_exec", "executed MAC/sample", 0),
            figure("seconds", "encode, s", 1),
            figure("decode_msamples_s", "decode, Msamples/s", 1),
            text("commit", "commit"),
        ],
    },
];

/// Our means beside those of other codecs.
fn compared(root: &Path) -> Result<String, String> {
    Ok(format!("{}{}", at_equal_bytes(root)?, beside_coin(root)?))
}

/// What classic codecs reach with as many bits as our files, between their settings.
fn at_equal_bytes(root: &Path) -> Result<String, String> {
    let mut points: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for row in of_all_pictures(root)? {
        points.entry(row[0].clone()).or_default().push((number(&row[3])?, number(&row[4])?));
    }
    let Some(ours) = points.remove(ASMR).filter(|_| !points.is_empty()) else { return Ok(String::new()) };
    let mut out = format!(
        "## At equal bytes\n\nPSNR in dB of means over the {N_PICTURES} pictures, of classic codecs between the two nearest settings, linearly in the logarithm \
         of the rate;\n*wins* names those that are better than ours. A small network is a costly way to keep a photograph small: what it \
         has to offer beside that\nis in the other documents.\n\n| bits/sample | {ASMR} |"
    );
    for codec in points.keys() {
        let _ = write!(out, " {codec} |");
    }
    out.push_str(" wins |\n|---:|---:|");
    out.push_str(&"---:|".repeat(points.len()));
    out.push_str("---|\n");
    for (rate, psnr_db) in ours {
        let _ = write!(out, "| {rate:.3} | {psnr_db:.2} |");
        let mut winners = Vec::new();
        for (codec, curve) in &points {
            match between(curve, rate) {
                Some(theirs) => {
                    let _ = write!(out, " {theirs:.2} |");
                    if theirs > psnr_db {
                        winners.push(codec.as_str());
                    }
                }
                None => out.push_str(" – |"),
            }
        }
        let winners = if winners.is_empty() { "none".to_owned() } else { winners.join(", ") };
        let _ = writeln!(out, " {winners} |");
    }
    out.push('\n');
    Ok(out)
}

/// A curve's quality at a rate between two of its points, which rise; `None` outside them.
fn between(curve: &[(f64, f64)], rate: f64) -> Option<f64> {
    let pair = curve.windows(2).find(|pair| pair[0].0 <= rate && rate <= pair[1].0)?;
    let share = (rate / pair[0].0).ln() / (pair[1].0 / pair[0].0).ln();
    Some(pair[0].1 + share * (pair[1].1 - pair[0].1))
}

/// COIN's published means beside ours, where ours are of all pictures that are here.
fn beside_coin(root: &Path) -> Result<String, String> {
    let mut out = format!(
        "## Beside COIN\n\nCOIN (Dupont et al., 2021) keeps a SIREN with 16-bit weights for each picture; its figures are published means of all 24 \
         Kodak\npictures and count weights only, ours are means of the {N_PICTURES} pictures that are measured here and count whole files. Rates at \
         which\nfewer pictures are measured are left out.\n\n"
    );
    let means = of_all_pictures(root)?;
    let mut lines = String::new();
    for (asked, (bpp, psnr_db, mac)) in RATES.into_iter().zip(COIN) {
        let row = means.iter().find(|row| row[0] == ASMR && row[1] == setting(asked));
        let Some(row) = row else { continue };
        let (ours, ours_mac) = (number(&row[4])?, number(&row[5])?);
        let fewer = mac / ours_mac;
        let _ =
            writeln!(lines, "| {bpp} | {psnr_db:.2} | {ours:.2} | {mac:.0} | {ours_mac:.0} | {fewer:.1} |");
    }
    if lines.is_empty() {
        out.push_str("*Not measured yet.*\n");
    } else {
        out.push_str(
            "| bits/pixel | COIN, dB | ours, dB | COIN, MAC/pixel | ours, executed | times fewer |\n",
        );
        out.push_str("|---:|---:|---:|---:|---:|---:|\n");
        out.push_str(&lines);
    }
    let folder = root.join("results").join(VERSION);
    let rows = kept(&folder.join("rate-distortion.tsv"));
    let shown = folder.join(format!("{COIN_DECODES}.tsv"));
    let shown = if shown.is_file() { table(&read(&shown)?) } else { Vec::new() };
    for row in shown {
        let [picture, asked, theirs, ..] = &row[..] else { return Err(format!("{COIN_DECODES}: {row:?}")) };
        let Some(ours) = rows.get(&[ASMR.to_owned(), picture.clone(), setting(asked)]) else { continue };
        let (theirs, ours) = (number(theirs)?, number(&ours[PSNR])?);
        let _ = write!(
            out,
            "\nOf {picture} at {asked} bits COIN's authors show the decoded picture, which has {theirs:.2} dB; ours has {ours:.2} dB.\n"
        );
    }
    Ok(out)
}

fn number(cell: &str) -> Result<f64, String> {
    cell.parse().map_err(|error| format!("{cell}: {error}"))
}

/// The means over all pictures, not those of settings that were tried on some.
fn of_all_pictures(root: &Path) -> Result<Vec<Vec<String>>, String> {
    let path = root.join("results").join(VERSION).join(format!("{MEANS_FILE}.tsv"));
    let mut means = if path.is_file() { table(&read(&path)?) } else { Vec::new() };
    means.retain(|row| row.len() == MEANS.len() && row[2] == N_PICTURES.to_string());
    Ok(means)
}

/// The page's plot.
pub(crate) fn plot(root: &Path) -> Result<String, String> {
    let mut curves: Vec<Curve> = Vec::new();
    for row in of_all_pictures(root)? {
        let point = (number(&row[3])?, number(&row[4])?);
        match curves.iter_mut().find(|curve| curve.name == row[0]) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name: row[0].clone(), points: vec![point] }),
        }
    }
    curves.push(Curve {
        name: "COIN (published)".to_owned(),
        points: COIN.map(|(bpp, psnr_db, _)| (bpp, psnr_db)).to_vec(),
    });
    Ok(Plot {
        title: "Kodak pictures, means".to_owned(),
        x: Axis::linear("bits per sample of the file", 0.0, 1.4, 0.2),
        y: Axis::linear("PSNR, dB", 20.0, 42.0, 2.0),
        curves,
    }
    .svg())
}

#[cfg(test)]
mod tests {
    #[test]
    fn curves_are_straight_in_the_logarithm_of_the_rate() {
        let curve = [(0.1, 20.0), (0.4, 26.0), (0.8, 30.0)];
        let near =
            |rate, expected: f64| super::between(&curve, rate).is_some_and(|db| (db - expected).abs() < 1e-9);
        assert!(near(0.2, 23.0) && near(0.1, 20.0) && near(0.8, 30.0));
        assert_eq!((super::between(&curve, 0.09), super::between(&curve, 0.9)), (None, None));
    }
}
