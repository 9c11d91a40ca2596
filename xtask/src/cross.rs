//! `cargo xtask cross`: the kernels' tests, and that of files which must decode alike everywhere, on other architectures: `AArch64` under
//! qemu's user emulation, WebAssembly with 128-bit vectors under node. What came of it is kept in `results/VERSION/cross.tsv`. A target
//! whose tools are not here is a failure, but for `--partial`.
//!
//! The target's standard library comes with a toolchain that has the target installed; else it is built from its
//! sources, by cargo's unstable `-Zbuild-std`, with any toolchain here that has them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::pages::VERSION;
use crate::read;
use crate::results::{commit, machine, replace, run_command};

/// What a check needs: a folder, or a program on the search path, and who brings it.
enum Need {
    Program(&'static str, &'static str),
    Folder(&'static str, &'static str),
}

struct Target {
    triple: &'static str,
    about: &'static str,
    needs: &'static [Need],
    /// What is needed besides when the standard library is built here.
    needs_to_build: &'static [Need],
    /// What runs the tests.
    runner: &'static str,
    /// What follows `cargo test --release`.
    tests: &'static [&'static str],
    /// Cargo's settings of the target, as TOML, for an installed standard library or one built here.
    settings: fn(root: &Path, built: bool) -> Vec<String>,
}

const AARCH64_LIBRARIES: &str = "/usr/aarch64-linux-gnu";
const WASI_LIBRARIES: &str = "/usr/lib/wasm32-wasi";

const TARGETS: [Target; 2] = [
    Target {
        triple: "aarch64-unknown-linux-gnu",
        about: "level Neon, under qemu-aarch64",
        needs: &[
            Need::Program("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            Need::Folder("/usr/aarch64-linux-gnu/lib", "libc6-dev-arm64-cross"),
            Need::Program("qemu-aarch64", "qemu-user"),
        ],
        needs_to_build: &[],
        runner: "qemu-aarch64",
        tests: &["--package asmr-kernels --tests", "--package asmr --test everywhere"],
        settings: |_, _| {
            vec![
                "linker=\"aarch64-linux-gnu-gcc\"".to_owned(),
                format!("runner=[\"qemu-aarch64\", \"-L\", {AARCH64_LIBRARIES:?}]"),
            ]
        },
    },
    Target {
        triple: "wasm32-wasip1",
        about: "level Simd128, under node",
        needs: &[Need::Program("node", "nodejs, version 20 or newer")],
        needs_to_build: &[
            Need::Program("wasm-ld", "lld, or lld-19 or the like"),
            Need::Folder(WASI_LIBRARIES, "wasi-libc"),
        ],
        runner: "node",
        tests: &["--package asmr-kernels --tests", "--package asmr --test everywhere --no-default-features"],
        settings: |root, built| {
            let runner = root.join("xtask/src/wasi.mjs").to_string_lossy().into_owned();
            let mut flags = vec!["-Ctarget-feature=+simd128".to_owned()];
            let mut settings = vec![format!("runner=[\"node\", \"--no-warnings\", {runner:?}]")];
            if built {
                // Instead of the linker, start-up code and C library that come with an installed target. That
                // library may lack the thread functions that std names and never calls here: a call would trap.
                let linker = find_program("wasm-ld").unwrap_or_else(|| "wasm-ld".into());
                settings.push(format!("linker={:?}", linker.to_string_lossy()));
                flags.extend([
                    "-Clink-self-contained=no".to_owned(),
                    format!("-Lnative={WASI_LIBRARIES}"),
                    format!("-Clink-arg={WASI_LIBRARIES}/crt1-command.o"),
                    "-Clink-arg=--unresolved-symbols=ignore-all".to_owned(),
                ]);
            }
            settings.push(format!("rustflags={flags:?}"));
            settings
        },
    },
];

/// What brings everything that both targets need, where rustup and Debian's packages are used.
const INSTALL: &str = "\
    rustup target add aarch64-unknown-linux-gnu wasm32-wasip1\n\
    apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user nodejs";

/// Files that must decode alike everywhere, and the list of them.
const FILES: &str = "crates/asmr/tests/data/coded";

const COLUMNS: &str = "target\trunner\tfiles\tsamples\ttests\tverdict\tcommit";

/// Runs the tests of every target and records what came of it; the error is what failed, or that a target's tools are not here, unless
/// `is_partial`.
pub(crate) fn run(root: &Path, is_partial: bool) -> Result<(), String> {
    let path = root.join("results").join(VERSION).join("cross.tsv");
    let mut rows = kept(&path);
    let (mut failures, mut n_run) = (Vec::new(), 0);
    for target in &TARGETS {
        println!("\n==> {} ({})", target.triple, target.about);
        let (sysroot, built) = match find_toolchain(root, target) {
            Ok(found) => found,
            Err(missing) => {
                println!("    skipped: {missing}");
                if !is_partial {
                    failures.push(format!("{} was not tested: {missing}", target.triple));
                }
                continue;
            }
        };
        n_run += 1;
        let start = Instant::now();
        let tested = test(root, target, &sysroot, built);
        let (n_files, n_samples) = compared(root)?;
        let (n_tests, verdict) = match &tested {
            Ok(n) => (n.to_string(), "passed"),
            Err(_) => (String::new(), "FAILED"),
        };
        let row = [
            target.triple.to_owned(),
            version(target.runner)?,
            n_files.to_string(),
            n_samples.to_string(),
            n_tests,
            verdict.to_owned(),
            commit(root),
        ];
        rows.insert(target.triple.to_owned(), row.join("\t"));
        write(&path, &rows)?;
        match tested {
            Ok(n) => println!("    {n} tests passed in {:.1} s", start.elapsed().as_secs_f64()),
            Err(failure) => failures.push(failure),
        }
    }
    if n_run == 0 && is_partial {
        failures.push("nothing was tested".to_owned());
    }
    if n_run < TARGETS.len() {
        println!("\nWhat is missing may be installed by:\n{INSTALL}");
    }
    if !failures.is_empty() {
        return Err(format!("\ncross: {}", failures.join("\n")));
    }
    println!("\ncross: the tests passed on {n_run} of {} targets", TARGETS.len());
    Ok(())
}

/// The rows that are there, by target; those that are not tested now stay as they are.
fn kept(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let rows = text.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.filter_map(|row| Some((row.split('\t').next()?.to_owned(), row.to_owned()))).collect()
}

fn write(path: &Path, rows: &BTreeMap<String, String>) -> Result<(), String> {
    let rows: Vec<&str> = rows.values().map(String::as_str).collect();
    let text = format!(
        "# The kernels' tests, and files that must decode to the same weights and corrected samples to the bit and to values within the bound of docs/NUMERICS.md \
         (samples: how many were compared); made by `cargo xtask cross`\n# {}\n{COLUMNS}\n{}\n",
        machine(),
        rows.join("\n")
    );
    replace(path, &text)
}

/// How many files the test of files decodes, and how many samples it compares: it fails unless it has compared all of them.
fn compared(root: &Path) -> Result<(usize, u64), String> {
    let folder = root.join(FILES);
    let list = read(&folder.join("expected.tsv"))?;
    let mut n_values = 0;
    let mut n_files = 0;
    for line in list.lines().skip(1).filter(|line| !line.is_empty()) {
        let file = line.split('\t').next().unwrap_or_default();
        let values = folder.join(file).with_extension("f32");
        n_values += values.metadata().map_err(|e| format!("cannot see {}: {e}", values.display()))?.len() / 4;
        n_files += 1;
    }
    Ok((n_files, n_values))
}

/// The name and version of a program, from its first line.
fn version(program: &str) -> Result<String, String> {
    let printed = run_command(Command::new(program).arg("--version"))?;
    let first = printed.lines().next().unwrap_or_default();
    Ok(if first.contains(program) { first.to_owned() } else { format!("{program} {first}") })
}

/// The folder of a toolchain that can build for the target, and whether it has to build the standard library; or a
/// sentence with what is missing.
fn find_toolchain(root: &Path, target: &Target) -> Result<(PathBuf, bool), String> {
    let triple = target.triple;
    let mut missing = absent(target.needs);
    // This task's toolchain, then the distribution's.
    let mut toolchains: Vec<PathBuf> = sysroot(root).into_iter().collect();
    toolchains.push("/usr".into());
    toolchains.retain(|folder| folder.join("bin/cargo").is_file() && folder.join("bin/rustc").is_file());
    if let Some(folder) = toolchains.iter().find(|f| f.join("lib/rustlib").join(triple).join("lib").is_dir())
    {
        return if missing.is_empty() { Ok((folder.clone(), false)) } else { Err(missing.join("; ")) };
    }
    missing.extend(absent(target.needs_to_build));
    let sources = "lib/rustlib/src/rust/library/Cargo.lock";
    match toolchains.into_iter().find(|f| f.join(sources).is_file()) {
        Some(folder) if missing.is_empty() => Ok((folder, true)),
        found => {
            if found.is_none() {
                missing.push(
                    "the standard library's sources: rustup component add rust-src, or Debian's rustc-web, \
                     cargo-web and rust-web-src"
                        .to_owned(),
                );
            }
            Err(format!(
                "missing: {} (rustup target add {triple} brings a standard library, and all to link with it for \
                 WebAssembly)",
                missing.join("; ")
            ))
        }
    }
}

/// What of these is not here, each with the Debian package that brings it.
fn absent(needs: &[Need]) -> Vec<String> {
    let missing = |need: &Need| match *need {
        Need::Program(name, package) if find_program(name).is_none() => {
            Some(format!("{name} (Debian: {package})"))
        }
        Need::Folder(path, package) if !Path::new(path).is_dir() => {
            Some(format!("{path} (Debian: {package})"))
        }
        _ => None,
    };
    needs.iter().filter_map(missing).collect()
}

/// A program on the search path by its name, or by its name with a version behind it (`wasm-ld-19`).
fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let exact = folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    exact.or_else(|| {
        let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| {
            let version = path.file_name().and_then(|n| n.to_str()?.strip_prefix(name)?.strip_prefix('-'));
            version.is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()))
        })
    })
}

/// The folder of the toolchain that runs this task.
fn sysroot(root: &Path) -> Option<PathBuf> {
    let output = Command::new("rustc").current_dir(root).args(["--print", "sysroot"]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().into())
}

/// How many tests passed.
fn test(root: &Path, target: &Target, sysroot: &Path, built: bool) -> Result<u32, String> {
    // Other flags and another toolchain: a folder of its own, so that the usual artefacts stay.
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("cross");
    let mut n_passed = 0;
    for tests in target.tests {
        let mut command = Command::new(sysroot.join("bin/cargo"));
        command
            .current_dir(root)
            .arg("test")
            .args(["--release", "--target", target.triple])
            .args(tests.split(' '));
        for setting in (target.settings)(root, built) {
            command.args(["--config", &format!("target.{}.{setting}", target.triple)]);
        }
        // Flags from outside would replace those of the target.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.env("CARGO_TARGET_DIR", &folder).env("RUSTC", sysroot.join("bin/rustc"));
        if built {
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        println!("    {} test --release {tests}", sysroot.join("bin/cargo").display());
        let failed = |why: String| format!("FAILED at {}: {tests}{why}", target.triple);
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("cannot start cargo: {error}"))?;
        let before = n_passed;
        for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).lines()) {
            let line = line.map_err(|error| failed(format!(": {error}")))?;
            println!("{line}");
            n_passed += passed(&line);
        }
        if !child.wait().map_err(|error| failed(format!(": {error}")))?.success() {
            return Err(failed(String::new()));
        }
        if n_passed == before {
            return Err(failed(": there was no test".to_owned()));
        }
    }
    Ok(n_passed)
}

/// Of a line such as `test result: ok. 7 passed; 0 failed`, otherwise 0.
fn passed(line: &str) -> u32 {
    let rest = line.strip_prefix("test result: ok. ").and_then(|rest| rest.split_once(" passed"));
    rest.and_then(|(n, _)| n.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tests_are_counted() {
        assert_eq!(super::passed("test result: ok. 17 passed; 0 failed; 1 ignored"), 17);
        assert_eq!(super::passed("test result: FAILED. 3 passed; 1 failed"), 0);
        assert_eq!(super::passed("running 17 tests"), 0);
    }

    #[test]
    fn compared_files_are_there() {
        let root = crate::root();
        let (n_files, n_samples) = super::compared(&root).unwrap();
        assert!(n_files >= 5 && n_samples >= 10_000, "{n_files} files, {n_samples} samples");
    }
}
