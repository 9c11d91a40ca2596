//! `cargo xtask bench`: runs the benches of `asmr-zoo`, then brings docs/BENCHMARKS.md up to date.

use std::path::Path;

use crate::benchmarks;
use crate::ci::cargo_command;

/// Passes all arguments on; the error says what failed.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let status = cargo_command(root)
        .args(["run", "--release", "--quiet", "--package", "asmr-zoo", "--bin", "asmr-bench", "--"])
        .args(arguments)
        .status()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    if !status.success() {
        return Err("the benches failed".to_owned());
    }
    if benchmarks::write(root)? {
        println!("docs/BENCHMARKS.md updated");
    }
    Ok(())
}
