//! Tables of README.md that are made from results/, never typed.
//!
//! Between `<!-- results:NAME -->` and `<!-- /results -->` stands what `results/VERSION/NAME.tsv` gives: one row
//! per row of the file and a row of means. Lines of the file that begin with `#` tell how it was made (command,
//! commit, machine) and are repeated below the table. A file that does not exist yet gives a sentence that says so.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::read;

const BEGIN: &str = "<!-- results:";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- /results -->";
/// Results are kept by version of the project.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Column names of result files, what the README calls them, and the decimals shown.
const COLUMNS: [(&str, &str, usize); 6] = [
    ("psnr_db", "PSNR, dB", 2),
    ("ssim", "SSIM", 4),
    ("seconds", "encode, s", 1),
    ("decode_msamples_s", "decode, Msamples/s", 1),
    ("bytes", "file, bytes", 0),
    ("rate_bpp", "bits/sample", 2),
];

/// Whether README.md is what [`write()`] would make it.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let text = read(&root.join("README.md"))?;
    if updated(root, &text)? == text {
        return Ok(());
    }
    Err("README.md differs from results/; bring it up to date with: cargo xtask readme --write".to_owned())
}

/// Brings README.md up to date; whether anything changed.
pub(crate) fn write(root: &Path) -> Result<bool, String> {
    let path = root.join("README.md");
    let text = read(&path)?;
    let new = updated(root, &text)?;
    if new == text {
        return Ok(false);
    }
    fs::write(&path, new).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(true)
}

/// The text with all generated parts made anew.
fn updated(root: &Path, text: &str) -> Result<String, String> {
    replace_parts("README.md", text, |name| {
        let file = format!("results/{VERSION}/{name}.tsv");
        if root.join(&file).is_file() {
            table(&read(&root.join(&file))?, &file).map_err(|error| format!("{file}: {error}"))
        } else {
            Ok(format!("*Not measured yet: there is no `{file}`.*\n"))
        }
    })
}

/// Replaces each marked part of a document by what `content` gives for its name.
pub(crate) fn replace_parts(
    document: &str,
    text: &str,
    content: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after
            .split_once(BEGIN_END)
            .filter(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            })
            .ok_or_else(|| format!("{document}: a marker must read {BEGIN}NAME{BEGIN_END}"))?;
        let (_, after) = after
            .split_once(END)
            .ok_or_else(|| format!("{document}: {BEGIN}{name}{BEGIN_END} has no {END}"))?;
        let _ = write!(out, "{before}{BEGIN}{name}{BEGIN_END}\n{}{END}", content(name)?);
        rest = after;
    }
    if out.is_empty() {
        return Err(format!("{document} has no marker {BEGIN}NAME{BEGIN_END}"));
    }
    out.push_str(rest);
    Ok(out)
}

/// A table in Markdown of a result file: its first column, the known ones of [`COLUMNS`] that it has, and means.
fn table(tsv: &str, file: &str) -> Result<String, String> {
    let notes: Vec<&str> = tsv.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim).collect();
    let mut lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let names: Vec<&str> = lines.next().ok_or("it is empty")?.split('\t').map(str::trim).collect();
    let columns: Vec<(usize, &str, usize)> = COLUMNS
        .iter()
        .filter_map(|&(name, heading, decimals)| {
            names.iter().position(|n| *n == name).map(|at| (at, heading, decimals))
        })
        .collect();
    let mut out = format!("| {} |", names[0]);
    for (_, heading, _) in &columns {
        let _ = write!(out, " {heading} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---:|".repeat(columns.len()));
    let mut sums = vec![(0.0, 0u32); columns.len()];
    let mut n_rows = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').map(str::trim).collect();
        if cells.len() != names.len() {
            return Err(format!("a row has {} cells instead of {}: {line}", cells.len(), names.len()));
        }
        let _ = write!(out, "| {} |", cells[0]);
        for (&(at, heading, decimals), sum) in columns.iter().zip(&mut sums) {
            if ["", "null"].contains(&cells[at]) {
                out.push_str(" – |");
                continue;
            }
            let value: f64 = cells[at]
                .parse()
                .ok()
                .filter(|value: &f64| value.is_finite())
                .ok_or_else(|| format!("{heading} of {} is \"{}\", no number", cells[0], cells[at]))?;
            *sum = (sum.0 + value, sum.1 + 1);
            let _ = write!(out, " {} |", number(value, decimals));
        }
        out.push('\n');
        n_rows += 1;
    }
    if n_rows == 0 {
        return Err("it has no rows".to_owned());
    }
    out.push_str("| **mean** |");
    for (&(_, _, decimals), &(sum, n)) in columns.iter().zip(&sums) {
        let mean = if n > 0 { number(sum / f64::from(n), decimals) } else { "–".to_owned() };
        let _ = write!(out, " {mean} |");
    }
    let _ = writeln!(out, "\n\nMade from `{file}` by `cargo xtask readme --write`.");
    for note in notes {
        let _ = writeln!(out, "* {note}");
    }
    Ok(out)
}

/// A number with so many decimals, thousands separated by commas.
pub(crate) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut out = sign.to_owned();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(538_636.0, 0), "538,636");
        assert_eq!(number(-1234.567, 2), "-1,234.57");
        assert_eq!(number(0.5, 1), "0.5");
    }

    #[test]
    fn a_table() {
        let tsv = "# machine: a box\npicture\tpsnr_db\tssim\tother\tbytes\nk1\t30.5\tnull\tx\t1000\nk2\t31.5\t0.9\ty\t3000\n";
        let expected = "\
| picture | PSNR, dB | SSIM | file, bytes |
|---|---:|---:|---:|
| k1 | 30.50 | – | 1,000 |
| k2 | 31.50 | 0.9000 | 3,000 |
| **mean** | 31.00 | 0.9000 | 2,000 |

Made from `r.tsv` by `cargo xtask readme --write`.
* machine: a box
";
        assert_eq!(table(tsv, "r.tsv").as_deref(), Ok(expected));
        assert!(table("picture\tpsnr_db\nk1\tgood\n", "r").is_err());
        assert!(table("picture\tpsnr_db\nk1\n", "r").is_err());
        assert!(table("picture\tpsnr_db\n", "r").is_err());
    }

    #[test]
    fn parts() {
        let text = "a\n<!-- results:x -->\nold\n<!-- /results -->\nb\n";
        let new = replace_parts("x", text, |name| Ok(format!("[{name}]\n"))).unwrap();
        assert_eq!(new, "a\n<!-- results:x -->\n[x]\n<!-- /results -->\nb\n");
        assert_eq!(replace_parts("x", &new, |name| Ok(format!("[{name}]\n"))), Ok(new.clone()));
        for broken in ["", "<!-- results:x -->", "<!-- results: -->\n<!-- /results -->"] {
            assert!(replace_parts("x", broken, |_| Ok(String::new())).is_err(), "{broken}");
        }
    }
}
