//! `cargo xtask gate`: does the code do more work than it did? Instructions of fixed pieces of work, counted by
//! callgrind, against the counts in `results/VERSION/instructions.tsv`; and AVX-512, which callgrind does not know,
//! against AVX2 by time, in one run. Wall time swings by half on a shared machine, instructions hardly at all.

use std::env::consts::ARCH;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ci::cargo_command;
use crate::read;

/// Pieces of work of `asmr-bench`, see `asmr_zoo::gate`, each with two numbers of times it is done: the difference
/// leaves out what starting the process takes. SOAP takes its covariances from every fourth gradient.
const WORKS: [(&str, [u32; 2]); 5] = [
    ("decode", [1, 3]),
    ("decode-int16", [1, 3]),
    ("step", [1, 3]),
    ("step-soap", [1, 5]),
    ("sincos", [1, 3]),
];
/// Levels that callgrind can run, of the architecture that counts are recorded for.
const LEVELS: [&str; 2] = ["scalar", "avx2"];

/// Counts may rise by this share: releases of the compiler differ by a percent or two, and a slow-down worth catching
/// is larger.
const MORE: f64 = 0.05;
/// Counts that fell by more should be recorded, or the gate lets that much be lost again.
const LESS: f64 = 0.05;
/// AVX-512 must be at least this many times as quick as AVX2. Half-width units (AMD until 2024) give little more
/// than 1; less than this is a kernel that has lost its registers.
const AVX512_RATIO: f64 = 0.9;

/// Checks; `Some` says why it did not.
pub(crate) fn check(root: &Path) -> Result<Option<String>, String> {
    if !has_valgrind() {
        return Ok(Some("valgrind is not installed".to_owned()));
    }
    let bench = build(root)?;
    let path = record(root);
    let tsv = read(&path)?;
    let recorded_here = tsv.lines().any(|line| line.starts_with('#') && line.ends_with(&format!(", {ARCH}")));
    if !recorded_here {
        return Ok(Some(format!("the counts recorded are not {ARCH}'s")));
    }
    let (mut worse, mut n_compared) = (Vec::new(), 0);
    for line in tsv.lines().filter(|line| !line.starts_with('#')).skip(1) {
        let [work, level, recorded] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("{}: a row has not three cells: {line}", path.display()));
        };
        let recorded: f64 =
            recorded.parse().map_err(|_| format!("{}: no number in {line}", path.display()))?;
        let Some(count) = instructions(&bench, work, level)? else {
            println!("    {work} at {level}: skipped, this machine has not that level");
            continue;
        };
        let change = count as f64 / recorded - 1.0;
        println!("    {work} at {level}: {count} instructions, {:+.2} % of the record", 100.0 * change);
        if change > MORE {
            worse.push(format!(
                "{work} at {level} takes {:.1} % more instructions than recorded",
                100.0 * change
            ));
        } else if change < -LESS {
            println!("    record that with `cargo xtask gate --write`");
        }
        n_compared += 1;
    }
    if n_compared == 0 {
        worse.push(format!("{} has nothing to compare with", path.display()));
    }
    match avx512_ratio(&bench)? {
        None => println!("    AVX-512 against AVX2: skipped, this machine has no AVX-512"),
        Some(ratio) => {
            println!("    AVX-512 is {ratio:.2} times as quick as AVX2");
            if ratio < AVX512_RATIO {
                worse.push(format!(
                    "AVX-512 is {ratio:.2} times as quick as AVX2; at least {AVX512_RATIO} is due"
                ));
            }
        }
    }
    if worse.is_empty() { Ok(None) } else { Err(worse.join("\n")) }
}

/// Records the counts of this machine's compiler.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    if !has_valgrind() {
        return Err("valgrind is not installed, and it is what counts".to_owned());
    }
    let bench = build(root)?;
    let mut text = format!(
        "# instructions of one repetition on one thread, by callgrind; made by `cargo xtask gate --write`\n# {}, {ARCH}\n",
        compiler()
    );
    text.push_str("work\tlevel\tinstructions\n");
    for level in LEVELS {
        for (work, _) in WORKS {
            if let Some(count) = instructions(&bench, work, level)? {
                println!("{work}\t{level}\t{count}");
                let _ = writeln!(text, "{work}\t{level}\t{count}");
            }
        }
    }
    let path = record(root);
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn record(root: &Path) -> PathBuf {
    root.join("results").join(env!("CARGO_PKG_VERSION")).join("instructions.tsv")
}

fn has_valgrind() -> bool {
    let silent =
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    silent.is_ok_and(|status| status.success())
}

fn compiler() -> String {
    let output =
        Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// Builds the benches and gives their path.
fn build(root: &Path) -> Result<PathBuf, String> {
    let status = cargo_command(root)
        .args(["build", "--release", "--quiet", "--package", "asmr-zoo", "--bin", "asmr-bench"])
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err("the benches cannot be built".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/asmr-bench"))
}

/// Instructions of one repetition; `None` where the machine has not the level.
fn instructions(bench: &Path, work: &str, level: &str) -> Result<Option<u64>, String> {
    let (_, times) = WORKS
        .into_iter()
        .find(|(name, _)| *name == work)
        .ok_or_else(|| format!("no work called {work}; record anew with `cargo xtask gate --write`"))?;
    let mut counts = [0u64; 2];
    for (count, times) in counts.iter_mut().zip(times) {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(bench)
            .args(["work", work, &times.to_string()])
            .env("ASMR_CPU", level)
            .output()
            .map_err(|error| format!("cannot start valgrind: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("{work} at {level} failed under valgrind:\n{said}"));
        }
        if String::from_utf8_lossy(&output.stdout).trim() != level {
            return Ok(None);
        }
        *count = collected(&said).ok_or_else(|| format!("callgrind told no count:\n{said}"))?;
    }
    let spent = counts[1].checked_sub(counts[0]).filter(|&spent| spent > 0);
    let spent = spent.ok_or_else(|| format!("{work} at {level}: more work took fewer instructions"))?;
    Ok(Some(spent / u64::from(times[1] - times[0])))
}

/// The number on callgrind's line "Collected : 123".
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

fn avx512_ratio(bench: &Path) -> Result<Option<f64>, String> {
    let output = Command::new(bench)
        .arg("avx512")
        .env_remove("ASMR_CPU")
        .output()
        .map_err(|error| format!("cannot start {}: {error}", bench.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim() {
        "none" => Ok(None),
        ratio => ratio.parse().map(Some).map_err(|_| format!("AVX-512 against AVX2 gave \"{said}\"")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn callgrinds_count() {
        let said = "==1== \n==1== Events    : Ir\n==1== Collected : 2138290\n==1== \n";
        assert_eq!(super::collected(said), Some(2_138_290));
        assert_eq!(super::collected("==1== Events : Ir"), None);
    }
}
