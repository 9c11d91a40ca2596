//! Licences of all dependencies against the list in deny.toml: works offline, with cargo alone.
//!
//! What is checked is what this machine builds: other platforms' dependencies need not even be downloaded here.
//! `cargo deny` sees those as well, where it is installed; both read one list.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::ci::cargo_command;
use crate::read;

/// Checks every package that the workspace builds, tests and build scripts included.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let allowed = allowed(&read(&root.join("deny.toml"))?)?;
    let output = cargo_command(root)
        .args(["tree", "--offline", "--workspace", "--edges", "normal,build,dev", "--prefix", "none"])
        .args(["--format", "{p}\t{l}"])
        .output()
        .map_err(|error| format!("cannot start cargo tree: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let packages: BTreeSet<(&str, &str)> = text
        .lines()
        .map(|line| line.strip_suffix(" (*)").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .map(|line| line.split_once('\t').unwrap_or((line, "")))
        .collect();
    let mut refused = String::new();
    for (package, licence) in &packages {
        match is_allowed(licence, &allowed) {
            Some(true) => {}
            Some(false) => {
                let _ = writeln!(refused, "{package}: licence {licence} is not among those of deny.toml");
            }
            None => {
                let _ = writeln!(refused, "{package}: \"{licence}\" is no licence expression");
            }
        }
    }
    if !refused.is_empty() {
        return Err(refused.trim_end().to_owned());
    }
    if packages.is_empty() {
        return Err("cargo tree listed no packages".to_owned());
    }
    println!("    {} packages, all under {}", packages.len(), allowed.join(", "));
    Ok(())
}

/// The list `allow` of the section `[licenses]`.
fn allowed(toml: &str) -> Result<Vec<String>, String> {
    toml.split_once("[licenses]")
        .and_then(|(_, section)| section.split_once("allow = ["))
        .and_then(|(_, list)| list.split_once(']'))
        .map(|(list, _)| list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
        .filter(|list: &Vec<String>| !list.is_empty())
        .ok_or_else(|| "deny.toml has no list `allow = [...]` under [licenses]".to_owned())
}

/// Whether an SPDX expression can be met with the allowed licences; `None` where it is no expression. The old
/// form `MIT/Apache-2.0` is read as a choice.
fn is_allowed(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allowed };
    let value = parser.any()?;
    parser.words.is_empty().then_some(value)
}

struct Parser<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl Parser<'_> {
    fn accept(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    /// Alternatives, joined by OR.
    fn any(&mut self) -> Option<bool> {
        let mut value = self.all()?;
        while self.accept("OR") {
            value |= self.all()?;
        }
        Some(value)
    }

    /// Requirements, joined by AND.
    fn all(&mut self) -> Option<bool> {
        let mut value = self.one()?;
        while self.accept("AND") {
            value &= self.one()?;
        }
        Some(value)
    }

    fn one(&mut self) -> Option<bool> {
        if self.accept("(") {
            let value = self.any()?;
            return self.accept(")").then_some(value);
        }
        let (&name, rest) = self.words.split_first()?;
        if [")", "OR", "AND", "WITH"].contains(&name) {
            return None;
        }
        self.words = rest;
        let mut name = name.to_owned();
        if self.accept("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        Some(self.allowed.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let list: Vec<String> = ["MIT", "Unicode-3.0", "A WITH E"].map(str::to_owned).to_vec();
        let cases = [
            ("MIT", Some(true)),
            ("GPL-3.0", Some(false)),
            ("GPL-3.0 OR MIT", Some(true)),
            ("GPL-3.0/MIT", Some(true)),
            ("GPL-3.0 AND MIT", Some(false)),
            ("(MIT OR X) AND Unicode-3.0", Some(true)),
            ("MIT OR X AND Y", Some(true)),
            ("A", Some(false)),
            ("A WITH E", Some(true)),
            ("", None),
            ("MIT OR", None),
            ("(MIT", None),
            ("MIT X", None),
        ];
        for (expression, expected) in cases {
            assert_eq!(is_allowed(expression, &list), expected, "{expression}");
        }
    }

    #[test]
    fn list_is_read() {
        let toml = "[bans]\nallow = [\"no\"]\n[licenses]\n# why\nallow = [\n  \"MIT\",\n  \"Zlib\",\n]\n";
        assert_eq!(allowed(toml), Ok(vec!["MIT".to_owned(), "Zlib".to_owned()]));
        assert!(allowed("[licenses]\n").is_err());
    }
}
