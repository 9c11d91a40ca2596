//! Rules of this repository that no lint knows.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::read;

/// The only crate that may say `unsafe`.
const UNSAFE_CRATE: &str = "crates/asmr-kernels";
/// The longest file of Rust, in lines.
const MAX_LINES: usize = 1000;
const FORBID: &str = "#![forbid(unsafe_code)]";

/// Checks all rules; the error lists every breach.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let (mut breaches, mut n_files, mut n_packages) = (String::new(), 0, 0);
    for package in packages(root)? {
        n_packages += 1;
        let is_kernels = package == root.join(UNSAFE_CRATE);
        let manifest = read(&package.join("Cargo.toml"))?;
        if !manifest.contains("[lints]\nworkspace = true") {
            let _ = writeln!(breaches, "{}: the workspace's lints are not used", shown(root, &package));
        }
        let roots = ["src/lib.rs", "src/main.rs"].map(|name| package.join(name));
        let mut files = Vec::new();
        rust_files(&package, &mut files)?;
        for file in files {
            n_files += 1;
            let text = read(&file)?;
            let name = shown(root, &file);
            let n_lines = text.lines().count();
            if n_lines > MAX_LINES {
                let _ = writeln!(breaches, "{name}: {n_lines} lines, at most {MAX_LINES}; split it");
            }
            if is_kernels {
                continue;
            }
            if roots.contains(&file) && !text.lines().any(|line| line == FORBID) {
                let _ = writeln!(breaches, "{name}: {FORBID} is missing");
            }
            // Tests, examples and benches are crates of their own, which that line does not reach.
            for (i, line) in text.lines().enumerate().filter(|(_, line)| says_unsafe(line)) {
                let _ =
                    writeln!(breaches, "{name}:{}: unsafe outside {UNSAFE_CRATE}: {}", i + 1, line.trim());
            }
        }
    }
    if !breaches.is_empty() {
        return Err(breaches.trim_end().to_owned());
    }
    if n_files == 0 {
        return Err(format!("no Rust files found below {}", root.display()));
    }
    println!("    {n_packages} packages, {n_files} files of Rust");
    Ok(())
}

/// Folders of all packages of the workspace.
fn packages(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = entries(&root.join("crates"))?;
    found.push(root.join("xtask"));
    found.retain(|folder| folder.join("Cargo.toml").is_file());
    Ok(found)
}

/// Appends all files of Rust below a folder, in order of their names.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    for path in entries(folder)? {
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                rust_files(&path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// A folder's entries, sorted.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: std::io::Error| format!("cannot list {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A path as seen from the root.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Whether a line has an unsafe block, function, implementation, trait or attribute, outside strings and comments.
fn says_unsafe(line: &str) -> bool {
    const WORD: &str = "unsafe";
    let code = without_strings(line);
    let code = code.split("//").next().unwrap_or_default();
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(WORD).any(|(at, _)| {
        let rest = &code[at + WORD.len()..];
        let next = rest.trim_start();
        let keyword = rest != next
            && ["fn", "impl", "trait", "extern"]
                .iter()
                .any(|word| next.strip_prefix(word).is_some_and(|after| !after.starts_with(is_name)));
        (keyword || next.starts_with('{') || rest.starts_with('(')) && !code[..at].ends_with(is_name)
    })
}

/// A line with the contents of its string literals left out.
fn without_strings(line: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let mut keep = |c: char| {
        let quote = c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        inside ^= quote;
        !inside && !quote
    };
    line.chars().filter(|&c| keep(c)).collect()
}

#[cfg(test)]
mod tests {
    use super::says_unsafe;

    #[test]
    fn unsafe_is_found() {
        let blocks =
            ["let x = unsafe { f() };", "unsafe{", "pub unsafe fn f();", "unsafe impl Send for X {}"];
        for line in blocks.iter().chain(&["unsafe extern \"C\" {", "#[unsafe(no_mangle)]"]) {
            assert!(says_unsafe(line), "{line}");
        }
        for line in
            ["#![forbid(unsafe_code)]", "// unsafe { }", "not_unsafe fn", "no unsafe here", "unsafe_fn()"]
        {
            assert!(!says_unsafe(line), "{line}");
        }
    }
}
