//! The project's own tasks: `cargo xtask ci` runs every check, `cargo xtask cross` the kernels' tests on other
//! architectures, `cargo xtask readme` keeps the README's tables equal to the measured results, `cargo xtask results` and
//! `cargo xtask bench` measure. Plain standard library, so that it is built in seconds.
#![forbid(unsafe_code)]

mod bench;
mod benchmarks;
mod ci;
mod claims_page;
mod cross;
mod fuzzing;
mod gate;
mod house;
mod licences;
mod pages;
/// The baselines' plots: a file without dependencies, shared as it is so that this package has none either.
#[path = "../../crates/asmr-zoo/src/plot.rs"]
#[allow(dead_code, unreachable_pub, reason = "public there, and more than is used here")]
mod plot;
mod rate_distortion;
mod rate_distortion_kinds;
mod readme;
mod results;
mod signals;
mod signals_page;
mod studies;
mod targets;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

tasks:
  ci               run every check: format, lints, tests, documentation, house rules; stops at the first failure
  cross            run the kernels' tests for AArch64 and WebAssembly and record it in results/VERSION/cross.tsv
  cross --partial  the same where only one of the two has its tools installed
  gate             count the instructions of fixed work and compare them with results/ (needs valgrind)
  gate --write     record those counts
  readme           check that the README's tables are those of results/
  readme --write   bring the README's tables up to date
  results NAME     encode test pictures (ASMR_DATA) and write results/VERSION/NAME.tsv
  results signals [NAME]   encode signals of every kind, or those whose name contains NAME
  results seams            what weighting seams does, for each kind of signal
  results film-partitions STEPS   a film with the published bases and with the planner's
  results targets [unseen] sizes, qualities and bounds on errors asked for, and whether they are met; of signals that settings were
                           chosen by, or of others
  results rate-distortion [PICTURE [RATE]]   Kodak pictures at four rates and by classic codecs, or those whose names contain PICTURE, at
                           the rates that contain RATE ('classic': the codecs only)
  results rate-distortion-kinds [NAME]   sound, a film and a volume at given rates and by classic codecs (needs ffmpeg)
  results kills            a large picture's fit, killed and resumed again and again
  fuzz SECONDS [NAME...]   run each fuzzer, or those named (or whose names contain NAME), for so long; adds to results/VERSION/fuzz.tsv
  fuzz summary             sums of its rows since the last mend, in results/VERSION/fuzz-summary.tsv; also made after each run
  bench            time decodes and fits beside PyTorch (installed below target/) and write results/VERSION/bench-*.tsv;
                   bench --help lists its options
  report [--quick] [--fresh]   run all of experiments/ (days; quick: about an hour) and make one page of them in results/VERSION/experiments/;
                   goes on with a report that was stopped, and begins anew where one was done (fresh: always)
  pages            check that docs/BENCHMARKS.md, SIGNALS.md, RATE-DISTORTION.md and the table of FUZZING.md are what results/ gives
  pages --write    bring them up to date";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["ci"] => ci::run(&root()),
        ["cross"] => cross::run(&root(), false),
        ["cross", "--partial"] => cross::run(&root(), true),
        ["gate"] => gate::check(&root()).map(|skipped| match skipped {
            None => println!("no more instructions than recorded"),
            Some(why) => println!("skipped: {why}"),
        }),
        ["gate", "--write"] => gate::write(&root()),
        ["readme"] => readme::check(&root()).map(|()| println!("README.md agrees with results/")),
        ["readme", "--write"] => readme::write(&root()).map(|changed| {
            println!("README.md {}", if changed { "updated" } else { "was up to date" });
        }),
        ["fuzz", "summary"] => fuzzing::summarise(&root()),
        ["fuzz", seconds, ref names @ ..] => fuzzing::run(&root(), seconds, names),
        ["bench", ref options @ ..] => bench::run(&root(), options),
        ["report", ref options @ ..] => bench::report(&root(), options),
        ["pages"] => pages::check(&root()).map(|()| println!("the pages agree with results/")),
        ["pages", "--write"] => pages::write(&root()).map(|changed| {
            println!(
                "{}",
                if changed.is_empty() { "all were up to date".to_owned() } else { changed.join(", ") }
            );
        }),
        ["results", "signals"] => signals::run(&root(), ""),
        ["results", "signals", only] => signals::run(&root(), only),
        ["results", "seams"] => studies::seams(&root()),
        ["results", "targets"] => targets::run(&root(), false),
        ["results", "targets", "unseen"] => targets::run(&root(), true),
        ["results", "rate-distortion"] => rate_distortion::run(&root(), "", ""),
        ["results", "rate-distortion", only] => rate_distortion::run(&root(), only, ""),
        ["results", "rate-distortion", only, rate] => rate_distortion::run(&root(), only, rate),
        ["results", "rate-distortion-kinds"] => rate_distortion_kinds::run(&root(), ""),
        ["results", "rate-distortion-kinds", only] => rate_distortion_kinds::run(&root(), only),
        ["results", "kills"] => studies::kills(&root()),
        ["results", "film-partitions", steps] => studies::film_partitions(&root(), steps),
        ["results", name] => results::run(&root(), name),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root: the folder above this package. What Cargo says as it runs this goes first: clones that share a target folder
/// share the binary too, and the folder that it was built in is another clone's.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// A file's text, or a sentence that names the file.
fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
