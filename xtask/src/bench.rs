//! `cargo xtask bench`: runs the benches of `asmr-zoo`, then brings the pages made of results up to date.

use std::path::Path;

use crate::ci::cargo_command;
use crate::pages;

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
    for page in pages::write(root)? {
        println!("{page} updated");
    }
    Ok(())
}
