//! `cargo xtask cross`: the kernels' tests, and that of files which must decode alike everywhere, on other architectures, as far as
//! this machine has the tools: `AArch64` under qemu's user emulation, WebAssembly with 128-bit vectors under node.
//!
//! The target's standard library comes with a toolchain that has the target installed; else it is built from its
//! sources, by cargo's unstable `-Zbuild-std`, with any toolchain here that has them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

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

/// Runs the tests of every target whose tools are here; the error is what failed, or that nothing could run.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut n_run = 0;
    for target in &TARGETS {
        println!("\n==> {} ({})", target.triple, target.about);
        match find_toolchain(root, target) {
            Ok((sysroot, built)) => {
                let start = Instant::now();
                test(root, target, &sysroot, built)?;
                println!("    passed in {:.1} s", start.elapsed().as_secs_f64());
                n_run += 1;
            }
            Err(missing) => println!("    skipped: {missing}"),
        }
    }
    if n_run == 0 {
        return Err("\ncross: nothing was tested".to_owned());
    }
    println!("\ncross: the tests passed on {n_run} of {} targets", TARGETS.len());
    Ok(())
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

fn test(root: &Path, target: &Target, sysroot: &Path, built: bool) -> Result<(), String> {
    // Other flags and another toolchain: a folder of its own, so that the usual artefacts stay.
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("cross");
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
        let status = command.status().map_err(|error| format!("cannot start cargo: {error}"))?;
        if !status.success() {
            return Err(format!("\ncross: FAILED at {}: {tests}", target.triple));
        }
    }
    Ok(())
}
