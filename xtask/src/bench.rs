//! `cargo xtask bench`: runs the benches of `asmr-zoo`, then brings the pages made of results up to date; `cargo xtask
//! report`: its experiments.

use std::path::Path;

use crate::ci::cargo_command;
use crate::pages;

/// Passes all arguments on; the error says what failed.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    zoo(root, "asmr-bench", arguments)?;
    for page in pages::write(root)? {
        println!("{page} updated");
    }
    Ok(())
}

/// Runs all experiments and makes their page.
pub(crate) fn report(root: &Path, arguments: &[&str]) -> Result<(), String> {
    zoo(root, "asmr-zoo", &[&["report"], arguments].concat())
}

fn zoo(root: &Path, binary: &str, arguments: &[&str]) -> Result<(), String> {
    let status = cargo_command(root)
        .args(["run", "--release", "--quiet", "--package", "asmr-zoo", "--bin", binary, "--"])
        .args(arguments)
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{binary} failed")) }
}
