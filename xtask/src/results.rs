//! `cargo xtask results NAME`: encodes test pictures with the command as a user would, and writes what it and
//! `asmr eval` measured to `results/VERSION/NAME.tsv`, with the command, commit and machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A table of pictures: its name, what it shows, the pictures below the folder of test signals, options of `encode`.
struct Table {
    name: &'static str,
    about: &'static str,
    pictures: fn(&Path) -> Vec<PathBuf>,
    options: &'static [&'static str],
}

const TABLES: [Table; 11] = [
    Table { name: "kodak", about: "Kodak pictures, no options", pictures: kodak, options: &[] },
    Table { name: "pictures", about: "other pictures, no options", pictures: others, options: &[] },
    Table {
        name: "kodak-fast",
        about: "Kodak pictures, preset fast",
        pictures: kodak,
        options: &["--preset", "fast"],
    },
    Table {
        name: "floats",
        about: "Kodak pictures, weights as floats",
        pictures: kodak,
        options: &["--weights", "f32"],
    },
    Table {
        name: "coded",
        about: "Kodak pictures, rounding may cost 0.1 dB",
        pictures: kodak,
        options: &["--loss", "0.1"],
    },
    Table {
        name: "kodak-30db",
        about: "Kodak pictures, until 30 dB",
        pictures: kodak,
        options: &["--psnr", "30", "--weights", "f32"],
    },
    Table {
        name: "camera-36db",
        about: "camera.png, until 36 dB, three seeds",
        pictures: seeds_of_camera,
        options: &["--psnr", "36", "--weights", "f32"],
    },
    Table { name: "best", about: "two pictures, preset best", pictures: two, options: &["--preset", "best"] },
    Table {
        name: "four-levels",
        about: "1,000 steps with 4,4,4,8 (kodim23: 4,4,4,8;4,4,6,8), width 256, three seeds",
        pictures: seeds_of_two,
        options: &["--steps", "1000", "--width", "256", "--weights", "f32"],
    },
    Table {
        name: "six-levels",
        about: "camera.png, 1,000 steps with 4,2,2,2,2,8, width 256, three seeds",
        pictures: seeds_of_camera,
        options: &["--steps", "1000", "--width", "256", "--weights", "f32"],
    },
    Table {
        name: "paper-protocol",
        about: "camera.png, the paper's protocol at 1,000 steps and rate 1e-3, three seeds",
        pictures: seeds_of_camera,
        options: &[
            "--preset",
            "paper",
            "--steps",
            "1000",
            "--lr",
            "1e-3",
            "--width",
            "256",
            "--weights",
            "f32",
        ],
    },
];

/// The files of a folder, sorted; none if it cannot be read.
fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

pub(crate) fn kodak(data: &Path) -> Vec<PathBuf> {
    listed(&data.join("kodak"))
}

fn others(data: &Path) -> Vec<PathBuf> {
    listed(&data.join("image"))
}

fn two(data: &Path) -> Vec<PathBuf> {
    vec![data.join("image/camera.png"), data.join("kodak/kodim23.png")]
}

fn seeds_of_two(data: &Path) -> Vec<PathBuf> {
    two(data).into_iter().flat_map(|p| [p.clone(), p.clone(), p]).collect()
}

fn seeds_of_camera(data: &Path) -> Vec<PathBuf> {
    vec![data.join("image/camera.png"); 3]
}

/// The table of decodes at each precision, of the networks of the table `kodak`.
const PRECISION: &str = "precision";

/// Makes one table; the error says what went wrong.
pub(crate) fn run(root: &Path, name: &str) -> Result<(), String> {
    let table = TABLES.iter().find(|t| t.name == name);
    if table.is_none() && name != PRECISION {
        let names = TABLES.map(|t| t.name).join(", ");
        return Err(format!("no results called '{name}'; there are: {names}, {PRECISION}"));
    }
    let data =
        std::env::var("ASMR_DATA").map_err(|_| "set ASMR_DATA to the folder of test signals".to_owned())?;
    let pictures = table.map_or(kodak as fn(&Path) -> Vec<PathBuf>, |t| t.pictures)(Path::new(&data));
    if pictures.is_empty() {
        return Err(format!("ASMR_DATA is {data}, which has no pictures for this table"));
    }
    run_command(
        Command::new("cargo").args(["build", "--release", "--package", "asmr-cli"]).current_dir(root),
    )?;
    let work = std::env::temp_dir().join(format!("asmr-results-{}", std::process::id()));
    std::fs::create_dir_all(&work).map_err(|e| format!("cannot make {}: {e}", work.display()))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let asmr = target.join("release/asmr");
    let file = work.join("network.asmr");
    let text = match table {
        Some(table) => quality(root, table, &pictures, &asmr, &file)?,
        None => precisions(root, &pictures, &asmr, &file)?,
    };
    let folder = root.join("results").join(env!("CARGO_PKG_VERSION"));
    let path = folder.join(format!("{name}.tsv"));
    std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    replace(&path, &text)?;
    let _ = std::fs::remove_dir_all(&work);
    println!("wrote {}", path.display());
    Ok(())
}

/// Quality, time and size of each picture's network.
fn quality(
    root: &Path,
    table: &Table,
    pictures: &[PathBuf],
    asmr: &Path,
    file: &Path,
) -> Result<String, String> {
    let mut text =
        format!("# {}: `asmr encode PICTURE {}`, then `asmr eval`", table.about, table.options.join(" "));
    let _ = writeln!(text, " (median of 9 decodes); made by `cargo xtask results {}`", table.name);
    let _ = writeln!(text, "# commit {}; {}", commit(root), machine());
    text.push_str("picture\tpsnr_db\tssim\tseconds\tdecode_msamples_s\tbytes\trate_bpp\tsteps\twidth\tbases\tseed\trecoveries\n");
    let mut seed = 0;
    for (i, picture) in pictures.iter().enumerate() {
        seed = if i > 0 && pictures[i - 1] == *picture { seed + 1 } else { 0 };
        let stem = picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut encode = Command::new(asmr);
        encode.arg("encode").arg(picture).args(table.options).args(["--json", "--quiet", "--seed"]);
        encode.arg(seed.to_string()).arg("-o").arg(file);
        match table.name {
            "four-levels" | "paper-protocol" => {
                encode.arg("--bases").arg(if stem == "kodim23" {
                    "4,4,4,8;4,4,6,8"
                } else {
                    "4,4,4,8;4,4,4,8"
                });
            }
            "six-levels" => {
                encode.args(["--bases", "4,2,2,2,2,8;4,2,2,2,2,8"]);
            }
            _ => {}
        }
        let start = Instant::now();
        let made = run_command(&mut encode)?;
        let seconds = start.elapsed().as_secs_f64();
        let measured = run_command(
            Command::new(asmr).arg("eval").arg(file).arg(picture).args(["--reps", "9", "--json", "--quiet"]),
        )?;
        let row = [
            stem,
            value(&measured, "psnr_db")?,
            value(&measured, "ssim")?,
            format!("{seconds:.2}"),
            value(&measured, "msamples_per_s")?,
            value(&measured, "bytes")?,
            value(&measured, "rate_bpp")?,
            value(&made, "steps")?,
            value(&made, "width")?,
            value(&made, "bases")?,
            seed.to_string(),
            value(&made, "recoveries")?,
        ];
        println!("{}", row.join("\t"));
        let _ = writeln!(text, "{}", row.join("\t"));
    }
    Ok(text)
}

/// PSNR and speed of the same networks decoded at each precision.
fn precisions(root: &Path, pictures: &[PathBuf], asmr: &Path, file: &Path) -> Result<String, String> {
    const PRECISIONS: [&str; 4] = ["f32", "int16", "int8", "bf16"];
    let mut text = format!(
        "# Kodak pictures, no options, decoded at each precision: `asmr encode PICTURE`, then `asmr eval --precision P` \
         (median of 9 decodes); made by `cargo xtask results {PRECISION}`\n# commit {}; {}\n",
        commit(root),
        machine()
    );
    text.push_str("picture");
    for precision in PRECISIONS {
        let _ = write!(text, "\t{precision}_psnr_db\t{precision}_msamples_s");
    }
    text.push('\n');
    for picture in pictures {
        let mut encode = Command::new(asmr);
        run_command(encode.arg("encode").arg(picture).args(["--json", "--quiet", "-o"]).arg(file))?;
        let mut row = vec![picture.file_stem().unwrap_or_default().to_string_lossy().into_owned()];
        for precision in PRECISIONS {
            let mut eval = Command::new(asmr);
            eval.arg("eval").arg(file).arg(picture).args(["--reps", "9", "--json", "--quiet"]);
            let measured = run_command(eval.args(["--precision", precision]))?;
            row.extend([value(&measured, "psnr_db")?, value(&measured, "msamples_per_s")?]);
        }
        println!("{}", row.join("\t"));
        let _ = writeln!(text, "{}", row.join("\t"));
    }
    Ok(text)
}

/// Runs a command and gives its standard output.
pub(crate) fn run_command(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("cannot run {command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|e| e.to_string())
}

/// The value of a key of the command's own JSON object, as its text without white space. (The object is flat for
/// all keys asked for here, and no value contains a key's name in quotes.)
pub(crate) fn value(json: &str, key: &str) -> Result<String, String> {
    let missing = || format!("no {key} in {json}");
    let after = json.split_once(&format!("\"{key}\":")).ok_or_else(missing)?.1.trim_start();
    let mut depth = 0;
    let end = after
        .find(|c: char| {
            match c {
                '[' => depth += 1,
                ']' if depth > 0 => depth -= 1,
                ',' | '}' | '\n' if depth == 0 => return true,
                _ => {}
            }
            false
        })
        .ok_or_else(missing)?;
    Ok(after[..end].split_whitespace().collect())
}

/// Writes a table beside the one that is there and puts it in its place, so that there is always a whole one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), String> {
    let new = path.with_extension("tsv.new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// The present commit, and whether anything that is measured differs from it.
pub(crate) fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // What the command and the fuzzers are made of; a text that is being written changes nothing measured.
    let sources =
        ["status", "--porcelain", "--untracked-files=no", "--", "crates", "fuzz", "Cargo.toml", "Cargo.lock"];
    let changed = git(&sources).is_some_and(|s| !s.is_empty());
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if changed { format!("{hash} with changes") } else { hash }
}

pub(crate) fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("unknown CPU", |l| l.trim_start_matches([' ', '\t', ':']));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {threads} threads{}, shared machine", vector_units())
}

/// The widest vectors that kernels are written for, of what this processor has: the name of a processor that a virtual
/// machine tells hides whether figures are of its older or newer kind.
fn vector_units() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return ", AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            return ", AVX2";
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_of_json() {
        let json = "{\n  \"psnr_db\": 36.5,\n  \"bases\": [[4, 4],\n [2,8]],\n  \"ssim\": null\n}";
        assert_eq!(super::value(json, "psnr_db").unwrap(), "36.5");
        assert_eq!(super::value(json, "bases").unwrap(), "[[4,4],[2,8]]");
        assert_eq!(super::value(json, "ssim").unwrap(), "null");
        assert!(super::value(json, "bytes").is_err());
    }
}
