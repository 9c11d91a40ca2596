//! `cargo xtask fuzz SECONDS [NAME]`: runs the fuzzers (docs/FUZZING.md) for so long each, as many at a time as there are cores, and
//! adds a row for each to `results/VERSION/fuzz.tsv`: how long on the processor, how many executions, whether anything was found.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pages::VERSION;
use crate::read;
use crate::results::{commit, machine, run_command};

/// The bodies, which say how long inputs are.
const BODIES: &str = "crates/asmr-fuzz/src/lib.rs";
const COLUMNS: &str = "fuzzer\tcpu_minutes\texecutions\tinputs\tfindings\tcommit";

/// A run: its row, and what it printed if something was found.
struct Run {
    row: String,
    finding: Option<String>,
}

pub(crate) fn run(root: &Path, seconds: &str, only: &str) -> Result<(), String> {
    let seconds: u32 = seconds.parse().map_err(|error| format!("{seconds} seconds: {error}"))?;
    let targets = targets(&read(&root.join(BODIES))?)?;
    let targets: Vec<_> = targets.into_iter().filter(|(name, _)| name.contains(only)).collect();
    if targets.is_empty() {
        return Err(format!("no fuzzer's name contains '{only}'"));
    }
    run_command(Command::new("cargo").args(["fuzz", "build", "-s", "none"]).current_dir(root))
        .map_err(|error| format!("{error}\nthe fuzzers need: cargo install cargo-fuzz --locked"))?;
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..n_cores.min(targets.len()) {
            scope.spawn(|| {
                while let Some((name, max_bytes)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = one(root, name, *max_bytes, seconds);
                    if let Ok(mut runs) = runs.lock() {
                        runs.push(run);
                    }
                }
            });
        }
    });
    let runs = runs.into_inner().map_err(|error| error.to_string())?;
    let path = root.join("results").join(VERSION).join("fuzz.tsv");
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|_| {
        format!(
            "# The fuzzers of docs/FUZZING.md, run after run; made by `cargo xtask fuzz`\n# {}\n{COLUMNS}\n",
            machine()
        )
    });
    let mut findings = String::new();
    for run in runs {
        let Run { row, finding } = run?;
        println!("{row}");
        let _ = writeln!(text, "{row}");
        findings.extend(finding);
    }
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    if findings.is_empty() { Ok(()) } else { Err(findings) }
}

/// Names and longest inputs, from the source that has them.
fn targets(source: &str) -> Result<Vec<(String, u32)>, String> {
    let lines = source.lines().filter_map(|line| line.trim().strip_prefix("Target { name: \""));
    lines
        .map(|line| {
            let (name, rest) = line.split_once('"').ok_or(line)?;
            let shift = rest.split_once("max_bytes: 1 << ").and_then(|(_, rest)| rest.split_once(','));
            let shift: u32 = shift.and_then(|(shift, _)| shift.parse().ok()).ok_or(line)?;
            Ok((name.to_owned(), 1 << shift))
        })
        .collect::<Result<_, &str>>()
        .map_err(|line| format!("{BODIES} has a fuzzer that is not understood: {line}"))
}

/// Runs one fuzzer over the inputs that it has found before.
fn one(root: &Path, name: &str, max_bytes: u32, seconds: u32) -> Result<Run, String> {
    let folder = root.join("fuzz");
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
    let binary = binary(&folder.join("target"), name)?;
    let mut command = Command::new("bash");
    // The shell's own clock counts the processor's time of the process.
    command.args(["-c", "TIMEFORMAT='cpu seconds: %U %S'; time \"$@\"", "fuzz"]).arg(binary);
    command.arg(&corpus).arg(folder.join("seeds").join(name)).args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={max_bytes}"),
        format!("-artifact_prefix={}/", artifacts.display()),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=1024".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    command.env("RAYON_NUM_THREADS", "1").current_dir(root);
    if Path::new("/dev/shm").is_dir() {
        command.env("TMPDIR", "/dev/shm");
    }
    let output = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let after = |label: &str| printed.lines().rev().find_map(|line| line.strip_prefix(label));
    let cpu: f64 =
        after("cpu seconds: ").unwrap_or_default().split(' ').filter_map(|s| s.parse::<f64>().ok()).sum();
    let executions = after("stat::number_of_executed_units:").map_or("", str::trim);
    let n_inputs = std::fs::read_dir(&corpus).map_or(0, Iterator::count);
    let is_clean = output.status.success();
    let row = [
        name.to_owned(),
        format!("{:.2}", cpu / 60.0),
        executions.to_owned(),
        n_inputs.to_string(),
        u32::from(!is_clean).to_string(),
        commit(root),
    ]
    .join("\t");
    let tail: Vec<&str> = printed.lines().rev().take(30).collect();
    let finding = (!is_clean).then(|| {
        format!("{name} found something:\n{}\n", tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    });
    Ok(Run { row, finding })
}

/// The fuzzer's program, below the folder of the machine's architecture.
fn binary(target: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    let entries = std::fs::read_dir(target).map_err(|e| format!("cannot read {}: {e}", target.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path().join("release").join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| format!("there is no fuzzer {name} below {}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list in the source, as it stands.
    #[test]
    fn all_fuzzers_are_found() {
        let targets = targets(include_str!("../../crates/asmr-fuzz/src/lib.rs")).unwrap();
        assert_eq!(targets.len(), 11);
        assert_eq!(targets[0], ("reader".to_owned(), 32_768));
        assert_eq!(targets[10], ("options".to_owned(), 2048));
        assert!(super::targets("    Target { name: \"x\", max_bytes: 7, body: y },").is_err());
    }
}
