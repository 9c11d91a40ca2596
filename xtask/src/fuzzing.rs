//! `cargo xtask fuzz SECONDS [NAME...]`: runs the fuzzers (docs/FUZZING.md) for so long each, as many at a time as there are cores. Each
//! run adds a row to `results/VERSION/fuzz.tsv` as soon as it ends: how long on the processor, how many executions, whether anything was
//! found. `results/VERSION/fuzz-summary.tsv` has the sums since the last mend; `cargo xtask fuzz summary` makes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pages::{Column, VERSION, figure, table, text};
use crate::read;
use crate::readme::replace_parts;
use crate::results::{commit, machine, replace, run_command};

/// The bodies, which say how long inputs are.
const BODIES: &str = "crates/asmr-fuzz/src/lib.rs";
/// What fuzzers are built of.
const SOURCES: [&str; 9] = [
    "crates/asmr-kernels/src",
    "crates/asmr/src",
    "crates/asmr-train/src",
    "crates/asmr-media/src",
    "crates/asmr-cli/src",
    "crates/asmr-fuzz/src",
    "fuzz/fuzz_targets",
    "fuzz/Cargo.toml",
    "fuzz/Cargo.lock",
];
/// The last commit that mended what a fuzzer, or a reader of the code, had found. To be changed with every mend: runs before it say
/// little about what is there now, whichever fuzzer they were of.
const LAST_MEND: &str = "8075255";
const COLUMNS: &str = "fuzzer\tcpu_minutes\texecutions\tinputs\tfindings\texit_code\tcommit";
const SUMMARY: &str = "fuzz-summary";
const SUMMARY_COLUMNS: &str = "fuzzer\tcpu_minutes\texecutions\tfindings\tmended_cpu_minutes\tmended_executions\tpresent_cpu_minutes\tpresent_executions";
/// The document that shows the summary.
pub(crate) const DOCUMENT: &str = "docs/FUZZING.md";

/// Exit codes by which libFuzzer tells that an input is too slow, takes too much memory, or makes the program end.
const FOUND: [i32; 3] = [70, 71, 77];

/// A run: its row, and what it printed if something was found.
struct Run {
    row: String,
    finding: Option<String>,
}

pub(crate) fn run(root: &Path, seconds: &str, names: &[&str]) -> Result<(), String> {
    let seconds: u32 = seconds.parse().map_err(|error| format!("{seconds} seconds: {error}"))?;
    let all = targets(&read(&root.join(BODIES))?)?;
    let targets = chosen(all, names)?;
    let path = root.join("results").join(VERSION).join("fuzz.tsv");
    check_columns(&path)?;
    // What is built, not what has been committed by the time that a run ends.
    let commit = commit(root);
    let binaries = build(root)?;
    let (next, told) = (AtomicUsize::new(0), Mutex::new((Vec::new(), Vec::new())));
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..n_cores.min(targets.len()) {
            scope.spawn(|| {
                while let Some((name, max_bytes)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = one(root, &binaries.join(name), (name, *max_bytes), seconds, &commit);
                    // One at a time, so that rows stay whole.
                    let Ok(mut told) = told.lock() else { return };
                    let (findings, errors) = &mut *told;
                    match run.and_then(|run| append(&path, &run.row).map(|()| run)) {
                        Ok(run) => findings.extend(run.finding),
                        Err(error) => errors.push(error),
                    }
                }
            });
        }
    });
    let (findings, errors) = told.into_inner().map_err(|error| error.to_string())?;
    summarise(root)?;
    let all: Vec<String> = findings.into_iter().chain(errors).collect();
    if all.is_empty() { Ok(()) } else { Err(all.join("\n")) }
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

/// The fuzzers of these names, or where there is none of a name those whose names contain it; all, if nothing is named.
fn chosen(mut all: Vec<(String, u32)>, names: &[&str]) -> Result<Vec<(String, u32)>, String> {
    if names.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::new();
    for name in names {
        let is_name = all.iter().any(|(target, _)| target == name);
        let found =
            all.iter().filter(|(target, _)| if is_name { target == name } else { target.contains(name) });
        let n_before = wanted.len();
        wanted.extend(found.map(|(target, _)| target.clone()));
        if wanted.len() == n_before {
            let all: Vec<&str> = all.iter().map(|(target, _)| target.as_str()).collect();
            return Err(format!("no fuzzer's name contains '{name}'; there are: {}", all.join(", ")));
        }
    }
    all.retain(|(target, _)| wanted.contains(target));
    Ok(all)
}

/// Builds the fuzzers; the folder that they are in.
fn build(root: &Path) -> Result<PathBuf, String> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("fuzz/target"), |t| root.join(t));
    let version = run_command(Command::new("rustc").arg("-vV").current_dir(root))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.ok_or_else(|| format!("rustc -vV names no host: {version}"))?;
    let mut cargo = Command::new("cargo");
    cargo.args(["fuzz", "build", "-s", "none", "--target", host, "--target-dir"]).arg(&target);
    run_command(cargo.current_dir(root))
        .map_err(|error| format!("{error}\nthe fuzzers need: cargo install cargo-fuzz --locked"))?;
    Ok(target.join(host).join("release"))
}

/// Runs one fuzzer over the inputs that it has found before. The error is that it did not run.
fn one(
    root: &Path,
    binary: &Path,
    (name, max_bytes): (&str, u32),
    seconds: u32,
    commit: &str,
) -> Result<Run, String> {
    let folder = root.join("fuzz");
    let (corpus, artifacts) = (folder.join("corpus").join(name), folder.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    }
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
    // Its numbers with a point, whatever the language.
    command.env("LC_ALL", "C").env("RAYON_NUM_THREADS", "1").current_dir(root);
    if Path::new("/dev/shm").is_dir() {
        command.env("TMPDIR", "/dev/shm");
    }
    let output = command.output().map_err(|error| format!("cannot run {name}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = printed.lines().rev().take(30).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    // 128 and more: ended by a signal, as by the system where memory is short.
    let code = output.status.code().unwrap_or(128);
    let is_found = FOUND.contains(&code) || code >= 128;
    if code != 0 && !is_found {
        return Err(format!("{name} did not run to its end (exit code {code}):\n{tail}"));
    }
    let after = |label: &str| printed.lines().rev().find_map(|line| line.strip_prefix(label));
    let cpu: f64 =
        after("cpu seconds: ").unwrap_or_default().split(' ').filter_map(|s| s.parse::<f64>().ok()).sum();
    let executions = after("stat::number_of_executed_units:").map_or("", str::trim);
    let row = [
        name.to_owned(),
        format!("{:.2}", cpu / 60.0),
        executions.to_owned(),
        std::fs::read_dir(&corpus).map_or(0, Iterator::count).to_string(),
        u32::from(is_found).to_string(),
        code.to_string(),
        commit.to_owned(),
    ]
    .join("\t");
    let finding =
        is_found.then(|| format!("{name} found something, kept in {}:\n{tail}", artifacts.display()));
    Ok(Run { row, finding })
}

/// Refuses to add rows to a table of other columns.
fn check_columns(path: &Path) -> Result<(), String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(()) };
    if text.lines().any(|line| line == COLUMNS) {
        return Ok(());
    }
    Err(format!("{} has other columns than rows have now; move it away", path.display()))
}

fn append(path: &Path, row: &str) -> Result<(), String> {
    println!("{row}");
    let mut text = String::new();
    if !path.is_file() {
        text = format!(
            "# The fuzzers of {DOCUMENT}, run after run; made by `cargo xtask fuzz`\n# {}\n{COLUMNS}\n",
            machine()
        );
    }
    let _ = writeln!(text, "{row}");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Writes the sums of all runs, and prints them.
pub(crate) fn summarise(root: &Path) -> Result<(), String> {
    let folder = root.join("results").join(VERSION);
    let runs = std::fs::read_to_string(folder.join("fuzz.tsv")).unwrap_or_default();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root).output();
        output.is_ok_and(|output| output.status.success())
    };
    // Asked once for each commit.
    let mut known = BTreeMap::new();
    let age = |commit: &str| {
        *known.entry(commit.to_owned()).or_insert_with(|| {
            // With changes that nobody can look up any more, it is not known.
            if commit.contains(' ') || !git(&["merge-base", "--is-ancestor", LAST_MEND, commit]) {
                Age::BeforeTheMend
            } else if git(&[["diff", "--quiet", commit, "--"].as_slice(), &SOURCES].concat()) {
                Age::Present
            } else {
                Age::Mended
            }
        })
    };
    let rows = sums(&runs, &targets(&read(&root.join(BODIES))?)?, age)?.join("\n");
    println!("{SUMMARY_COLUMNS}\n{rows}");
    let text = format!(
        "# Sums of results/{VERSION}/fuzz.tsv; made by `cargo xtask fuzz`\n# the last mend: commit {LAST_MEND}\n# present sources: those of commit {}\n{SUMMARY_COLUMNS}\n{rows}\n",
        commit(root)
    );
    replace(&folder.join(format!("{SUMMARY}.tsv")), &text)
}

/// How old the sources of a run are.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Age {
    BeforeTheMend,
    Mended,
    Present,
}

/// For each fuzzer what all its runs come to, those without a finding since the last mend, and of these those of the present sources.
fn sums(
    runs: &str,
    targets: &[(String, u32)],
    mut age: impl FnMut(&str) -> Age,
) -> Result<Vec<String>, String> {
    #[derive(Clone, Copy, Default)]
    struct Sum {
        minutes: f64,
        executions: u64,
    }
    let mut rows = Vec::new();
    for (target, _) in targets {
        let (mut all, mut mended, mut present) = (Sum::default(), Sum::default(), Sum::default());
        let mut n_findings = 0;
        for line in runs.lines() {
            let cells: Vec<&str> = line.split('\t').collect();
            let [name, minutes, executions, _, findings, _, commit] = cells[..] else { continue };
            if name != target {
                continue;
            }
            let minutes: f64 = minutes.parse().map_err(|error| format!("fuzz.tsv: {line}: {error}"))?;
            // Of a run that was killed it is not known.
            let executions = executions.parse::<u64>().unwrap_or(0);
            let add = |sum: &mut Sum| {
                sum.minutes += minutes;
                sum.executions += executions;
            };
            add(&mut all);
            if findings == "0" {
                let age = age(commit);
                if age >= Age::Mended {
                    add(&mut mended);
                }
                if age >= Age::Present {
                    add(&mut present);
                }
            } else {
                n_findings += 1;
                (mended, present) = (Sum::default(), Sum::default());
            }
        }
        let of = |sum: Sum| format!("{:.2}\t{}", sum.minutes, sum.executions);
        rows.push(format!("{target}\t{}\t{n_findings}\t{}\t{}", of(all), of(mended), of(present)));
    }
    Ok(rows)
}

const SHOWN: &[Column] = &[
    text("fuzzer", "fuzzer"),
    figure("cpu_minutes", "CPU minutes in all", 1),
    figure("executions", "executions", 0),
    figure("findings", "runs that found something", 0),
    figure("mended_cpu_minutes", "CPU minutes without a finding after the last mend", 1),
    figure("mended_executions", "executions after it", 0),
    figure("present_cpu_minutes", "of these on the present sources, CPU minutes", 1),
    figure("present_executions", "executions", 0),
];

/// The document with its table made anew.
pub(crate) fn document(root: &Path) -> Result<String, String> {
    replace_parts(DOCUMENT, &read(&root.join(DOCUMENT))?, |name| {
        if name != SUMMARY {
            return Err(format!("{DOCUMENT}: the only results shown here are {SUMMARY}, not {name}"));
        }
        let file = format!("results/{VERSION}/{SUMMARY}.tsv");
        if !root.join(&file).is_file() {
            return Ok(format!("*Not recorded yet: there is no `{file}`.*\n"));
        }
        let tsv = read(&root.join(&file))?;
        let mut out = table(&tsv, SHOWN).map_err(|error| format!("{file}: {error}"))?;
        let _ = writeln!(out, "\nMade from `{file}`:");
        for note in tsv.lines().filter_map(|line| line.strip_prefix('#')) {
            let _ = writeln!(out, "* {}", note.trim());
        }
        Ok(out)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list in the source, as it stands.
    #[test]
    fn all_fuzzers_are_found() {
        let targets = targets(include_str!("../../crates/asmr-fuzz/src/lib.rs")).unwrap();
        assert_eq!(targets.len(), 13);
        assert_eq!(targets[0], ("reader".to_owned(), 32_768));
        assert_eq!(targets[12], ("options".to_owned(), 2048));
        assert!(super::targets("    Target { name: \"x\", max_bytes: 7, body: y },").is_err());
    }

    #[test]
    fn names_choose() {
        let all = || ["reader", "header", "raw"].map(|name| (name.to_owned(), 1)).to_vec();
        let names =
            |names: &[&str]| chosen(all(), names).map(|c| c.into_iter().map(|(n, _)| n).collect::<Vec<_>>());
        assert_eq!(names(&[]).unwrap().len(), 3);
        assert_eq!(names(&["raw", "reader"]).unwrap(), ["reader", "raw"]);
        assert_eq!(names(&["ader"]).unwrap(), ["reader", "header"]);
        assert!(names(&["raw", "none"]).is_err());
    }

    #[test]
    fn sums_begin_after_a_mend_and_after_a_finding() {
        let runs = "# made by x\n\
                    fuzzer\tcpu_minutes\texecutions\tinputs\tfindings\texit_code\tcommit\n\
                    a\t9\t900\t3\t0\t0\told\n\
                    a\t1\t\t3\t1\t77\told\n\
                    b\t8\t80\t1\t0\t0\told\n\
                    b\t4\t40\t1\t0\t0\tnew\n\
                    a\t2\t20\t3\t0\t0\tmended\n\
                    a\t3\t30\t3\t0\t0\tnew\n\
                    c\t5\t50\t1\t0\t0\tmended\n\
                    c\t1\t10\t1\t1\t77\tmended\n\
                    c\t6\t60\t1\t0\t0\tmended\n";
        let targets = [("a".to_owned(), 1), ("b".to_owned(), 1), ("c".to_owned(), 1), ("d".to_owned(), 1)];
        let age = |commit: &str| match commit {
            "old" => Age::BeforeTheMend,
            "mended" => Age::Mended,
            _ => Age::Present,
        };
        let rows = sums(runs, &targets, age).unwrap();
        assert_eq!(rows[0], "a\t15.00\t950\t1\t5.00\t50\t3.00\t30");
        assert_eq!(rows[1], "b\t12.00\t120\t0\t4.00\t40\t4.00\t40");
        assert_eq!(rows[2], "c\t12.00\t120\t1\t6.00\t60\t0.00\t0");
        assert_eq!(rows[3], "d\t0.00\t0\t0\t0.00\t0\t0.00\t0");
    }
}
