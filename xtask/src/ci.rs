//! `cargo xtask ci`: every check in order, each with its seconds, up to the first that fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{gate, house, licences, pages, readme};

/// What cargo is asked, with the environment variable set for it. All in the release profile: tests fit real
/// networks, and one set of artefacts serves the command and the tests.
const CARGO_CHECKS: [(Option<(&str, &str)>, &str); 5] = [
    (None, "fmt --all --check"),
    (None, "clippy --release --workspace --all-targets -- -D warnings"),
    (None, "clippy --release --package asmr --no-default-features -- -D warnings"),
    (None, "test --release --workspace"),
    (Some(("RUSTDOCFLAGS", "-D warnings")), "doc --no-deps --release --workspace"),
];

/// A check written here: its name and what it does.
type OwnCheck = (&'static str, fn(&Path) -> Result<(), String>);

const OWN_CHECKS: [OwnCheck; 4] = [
    ("house rules", house::check),
    ("licences of all dependencies", licences::check),
    ("README tables", readme::check),
    ("pages of results", pages::check),
];

/// Runs every check; the error is what failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let start = Instant::now();
    let mut n_passed = 0;
    let failed = |what: &str| format!("\nci: FAILED after {:.1} s at: {what}", seconds(start));
    match std::env::var("ASMR_DATA") {
        Ok(folder) => println!("ci: ASMR_DATA is {folder}"),
        Err(_) => {
            println!("ci: ASMR_DATA is not set: tests on the full set of pictures say that they are skipped");
        }
    }
    for (variable, arguments) in CARGO_CHECKS {
        let assignment = variable.map_or_else(String::new, |(name, value)| format!("{name}=\"{value}\" "));
        let shown = format!("{assignment}cargo {arguments}");
        let now = begin(&shown);
        if !cargo(root, variable, arguments)? {
            return Err(failed(&shown));
        }
        end(now);
        n_passed += 1;
    }
    for (name, check) in OWN_CHECKS {
        let now = begin(name);
        if let Err(message) = check(root) {
            eprintln!("{message}");
            return Err(failed(name));
        }
        end(now);
        n_passed += 1;
    }
    let now = begin("instructions of fixed work");
    match gate::check(root) {
        Ok(None) => {
            end(now);
            n_passed += 1;
        }
        Ok(Some(why)) => println!("    skipped: {why}"),
        Err(message) => {
            eprintln!("{message}");
            return Err(failed("instructions of fixed work"));
        }
    }
    let deny = "deny --offline check licenses bans sources";
    let now = begin(&format!("cargo {deny}"));
    if is_installed("deny") {
        if !cargo(root, None, deny)? {
            return Err(failed(&format!("cargo {deny}")));
        }
        end(now);
        n_passed += 1;
    } else {
        println!("    skipped: cargo-deny is not installed");
    }
    println!("\nci: all {n_passed} checks passed in {:.1} s", seconds(start));
    Ok(())
}

fn begin(what: &str) -> Instant {
    println!("\n==> {what}");
    Instant::now()
}

fn end(start: Instant) {
    println!("    passed in {:.1} s", seconds(start));
}

fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// The cargo that runs this task.
pub(crate) fn cargo_command(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// Runs cargo, its output going where ours goes; whether it succeeded.
fn cargo(root: &Path, variable: Option<(&str, &str)>, arguments: &str) -> Result<bool, String> {
    let mut command = cargo_command(root);
    command.envs(variable);
    // "-D warnings" stays two words: no argument used here holds a space.
    command.args(arguments.split(' '));
    command.status().map(|status| status.success()).map_err(|error| format!("cannot start cargo: {error}"))
}

/// Whether cargo has this subcommand.
fn is_installed(subcommand: &str) -> bool {
    Command::new("cargo")
        .args([subcommand, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
