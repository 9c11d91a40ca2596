//! Pages of docs/ that are made as a whole from files of results/ and never typed, and a table of one that is typed otherwise.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::readme::number;
use crate::{benchmarks, claims_page, fuzzing, rate_distortion, read, signals_page};

/// Results are kept by version of the project.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All pages.
const PAGES: [&Page; 4] =
    [&benchmarks::PAGE, &claims_page::PAGE, &signals_page::PAGE, &rate_distortion::PAGE];

/// All plots: below the root, the name of their file of results, and what makes them.
const PLOTS: [(&str, &str, Make); 1] =
    [("docs/rate-distortion.svg", rate_distortion::MEANS_FILE, rate_distortion::plot)];

type Make = fn(&Path) -> Result<String, String>;

/// A page: tables of result files, each with what it is about.
pub(crate) struct Page {
    /// Below the root.
    pub(crate) path: &'static str,
    /// What stands first; VERSION becomes the version.
    pub(crate) head: &'static str,
    pub(crate) sections: &'static [Section],
    /// What else stands after the sections of a file.
    pub(crate) further: Option<Further>,
}

/// A section's file and what makes the text after it.
type Further = (&'static str, fn(&Path) -> Result<String, String>);

/// A table of a page: one file's columns, or some of them.
pub(crate) struct Section {
    /// The name of `results/VERSION/NAME.tsv`.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) rows: Selection,
    pub(crate) columns: &'static [Column],
}

/// Which rows of a file a table shows, and in what order.
pub(crate) enum Selection {
    /// All, as they stand.
    All,
    /// All, by these columns, of which numbers count by their size: `3 s` before `10 s`.
    By(&'static [&'static str]),
    /// Of rows that agree in these columns the one with the most PSNR.
    Best(&'static [&'static str]),
}

/// How a column is shown.
pub(crate) struct Column {
    /// Its name in the file.
    name: &'static str,
    heading: &'static str,
    /// Decimals of a number; `None`: text, as it stands.
    decimals: Option<usize>,
    /// Whether what is no number is shown as it stands.
    has_words: bool,
}

pub(crate) const fn text(name: &'static str, heading: &'static str) -> Column {
    Column { name, heading, decimals: None, has_words: true }
}

pub(crate) const fn figure(name: &'static str, heading: &'static str, decimals: usize) -> Column {
    Column { name, heading, decimals: Some(decimals), has_words: false }
}

/// Numbers, and words such as `exact`.
pub(crate) const fn figure_or_words(name: &'static str, heading: &'static str, decimals: usize) -> Column {
    Column { name, heading, decimals: Some(decimals), has_words: true }
}

/// Whether all pages are what [`write()`] would make them.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    for (path, new) in all(root)? {
        if read(&root.join(path))? != new {
            return Err(format!(
                "{path} differs from results/; bring it up to date with: cargo xtask pages --write"
            ));
        }
    }
    Ok(())
}

/// What each page and plot is to be; there are none of what was never measured. And the document with a table of its own.
fn all(root: &Path) -> Result<Vec<(&'static str, String)>, String> {
    let is_measured = |name: &str| root.join(format!("results/{VERSION}/{name}.tsv")).is_file();
    let pages =
        PAGES.into_iter().filter(|page| page.sections.iter().any(|section| is_measured(section.file)));
    let plots = PLOTS.into_iter().filter(|(_, name, _)| is_measured(name));
    let pages = pages.map(|page| Ok((page.path, made(page, root)?)));
    let fuzzing = std::iter::once_with(|| Ok((fuzzing::DOCUMENT, fuzzing::document(root)?)));
    pages.chain(plots.map(|(path, _, make)| Ok((path, make(root)?)))).chain(fuzzing).collect()
}

/// Brings all pages up to date; the paths of those that changed.
pub(crate) fn write(root: &Path) -> Result<Vec<&'static str>, String> {
    let mut changed = Vec::new();
    for (below, new) in all(root)? {
        let path = root.join(below);
        if fs::read_to_string(&path).is_ok_and(|old| old == new) {
            continue;
        }
        fs::write(&path, new).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        changed.push(below);
    }
    Ok(changed)
}

fn made(page: &Page, root: &Path) -> Result<String, String> {
    let mut out = page.head.replace("VERSION", VERSION);
    for (i, section) in page.sections.iter().enumerate() {
        let file = format!("results/{VERSION}/{}.tsv", section.file);
        let _ = writeln!(out, "\n## {}\n", section.title);
        if !section.about.is_empty() {
            let _ = writeln!(out, "{}\n", section.about);
        }
        if root.join(&file).is_file() {
            let tsv = read(&root.join(&file))?;
            let shown = section.rows.of(&tsv).and_then(|tsv| table(&tsv, section.columns));
            out.push_str(&shown.map_err(|error| format!("{file}: {error}"))?);
            // Said once where several tables show one file.
            if page.sections.get(i + 1).is_none_or(|next| next.file != section.file) {
                let _ = writeln!(out, "\nMade from `{file}`:");
                for note in tsv.lines().filter_map(|line| line.strip_prefix('#')) {
                    let _ = writeln!(out, "* {}", note.trim());
                }
            }
        } else {
            let _ = writeln!(out, "*Not measured yet: there is no `{file}`.*");
        }
        if let Some((after, further)) = page.further
            && after == section.file
        {
            let _ = write!(out, "\n{}", further(root)?);
        }
    }
    Ok(out)
}

impl Selection {
    /// A result file with these rows only, in their order.
    fn of(&self, tsv: &str) -> Result<String, String> {
        let keys = match self {
            Self::All => return Ok(tsv.to_owned()),
            Self::By(keys) | Self::Best(keys) => *keys,
        };
        let mut lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let heading = lines.next().ok_or("it is empty")?;
        let place = |name: &str| {
            let found = heading.split('\t').position(|known| known == name);
            found.ok_or_else(|| format!("it has no column {name}"))
        };
        let places = keys.iter().map(|name| place(name)).collect::<Result<Vec<_>, _>>()?;
        let mut rows: Vec<Vec<&str>> = lines.map(|line| line.split('\t').collect()).collect();
        if let Some(row) = rows.iter().find(|row| row.len() != heading.split('\t').count()) {
            return Err(format!("a row has other cells than its heading: {}", row.join("\t")));
        }
        rows.sort_by(|a, b| {
            let by =
                |row: &[&str]| -> Vec<Natural> { places.iter().map(|&at| Natural::of(row[at])).collect() };
            by(a).partial_cmp(&by(b)).unwrap_or(Ordering::Equal)
        });
        if matches!(self, Self::Best(_)) {
            let quality = place("psnr_db")?;
            let quality = |row: &[&str]| row[quality].parse().unwrap_or(f64::NEG_INFINITY);
            rows.dedup_by(|next, best| {
                let is_same = places.iter().all(|&at| next[at] == best[at]);
                if is_same && quality(next) > quality(best) {
                    std::mem::swap(next, best);
                }
                is_same
            });
        }
        let rows = rows.into_iter().map(|row| row.join("\t"));
        Ok(std::iter::once(heading.to_owned()).chain(rows).collect::<Vec<_>>().join("\n"))
    }
}

/// A cell by which rows are ordered: by the number that it begins with, or as a word.
#[derive(PartialEq, PartialOrd)]
enum Natural {
    Number(f64, String),
    Word(String),
}

impl Natural {
    fn of(cell: &str) -> Self {
        let (first, rest) = cell.split_once(' ').unwrap_or((cell, ""));
        first
            .parse()
            .map_or_else(|_| Self::Word(cell.to_owned()), |number| Self::Number(number, rest.to_owned()))
    }
}

/// A table in Markdown of a result file's named columns.
pub(crate) fn table(tsv: &str, columns: &[Column]) -> Result<String, String> {
    let mut lines = tsv.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let names: Vec<&str> = lines.next().ok_or("it is empty")?.split('\t').collect();
    let places = columns
        .iter()
        .map(|column| names.iter().position(|n| *n == column.name).ok_or(column.name))
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|name| format!("it has no column {name}"))?;
    let mut out = String::from("|");
    for column in columns {
        let _ = write!(out, " {} |", column.heading);
    }
    out.push_str("\n|");
    for column in columns {
        out.push_str(if column.decimals.is_some() { "---:|" } else { "---|" });
    }
    out.push('\n');
    let mut n_rows = 0;
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != names.len() {
            return Err(format!("a row has {} cells instead of {}: {line}", cells.len(), names.len()));
        }
        out.push('|');
        for (column, &at) in columns.iter().zip(&places) {
            let shown = match (cells[at], column.decimals) {
                ("" | "null", _) => "–".to_owned(),
                (cell, decimals) => {
                    let value = cell.parse().ok().filter(|value: &f64| value.is_finite());
                    match (decimals, value) {
                        (Some(decimals), Some(value)) => number(value, decimals),
                        _ if column.has_words => cell.replace('|', "\\|"),
                        _ => return Err(format!("{} is \"{cell}\", no number", column.name)),
                    }
                }
            };
            let _ = write!(out, " {shown} |");
        }
        out.push('\n');
        n_rows += 1;
    }
    if n_rows == 0 { Err("it has no rows".to_owned()) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[text("case", "case"), figure("median_ms", "ms", 1)];

    #[test]
    fn a_table() {
        let tsv = "# made by x\n# commit y\nmedian_ms\tother\tcase\n1234.56\tz\ta\nnull\t\tb|c\n";
        let expected = "| case | ms |\n|---|---:|\n| a | 1,234.6 |\n| b\\|c | – |\n";
        assert_eq!(table(tsv, COLUMNS).as_deref(), Ok(expected));
    }

    #[test]
    fn rows_in_order() {
        let tsv = "# x\nsignal\tlength\tpsnr_db\na\t10 s\t1\nb\t1 s\t2\na\t3 s\t9\na\t1 s\t7\n";
        let head = "signal\tlength\tpsnr_db\n";
        let all = Selection::By(&["length", "signal"]).of(tsv);
        assert_eq!(all, Ok(format!("{head}a\t1 s\t7\nb\t1 s\t2\na\t3 s\t9\na\t10 s\t1")));
        let best = Selection::Best(&["signal"]).of(tsv);
        assert_eq!(best, Ok(format!("{head}a\t3 s\t9\nb\t1 s\t2")));
        assert_eq!(Selection::All.of(tsv).as_deref(), Ok(tsv));
        let missing = Selection::By(&["rate"]).of(tsv);
        assert_eq!(missing, Err("it has no column rate".to_owned()));
        // A fit that failed is the best only where there is no other.
        let failed = Selection::Best(&["signal"]).of("signal\tpsnr_db\na\tnull\na\t3\nb\tnull\n");
        assert_eq!(failed.as_deref(), Ok("signal\tpsnr_db\na\t3\nb\tnull"));
    }

    #[test]
    fn numbers_and_words() {
        let columns = [figure_or_words("q", "quality", 2)];
        assert_eq!(
            table("q\n1.236\nexact\n", &columns).as_deref(),
            Ok("| quality |\n|---:|\n| 1.24 |\n| exact |\n")
        );
    }

    #[test]
    fn broken_files_are_refused() {
        let broken = [
            ("", "it is empty"),
            ("case\tmedian_ms\n", "it has no rows"),
            ("case\n", "it has no column median_ms"),
            ("case\tmedian_ms\na\n", "a row has 1 cells instead of 2: a"),
            ("case\tmedian_ms\na\tinf\n", "median_ms is \"inf\", no number"),
            ("case\tmedian_ms\na\tfast\n", "median_ms is \"fast\", no number"),
        ];
        for (tsv, message) in broken {
            assert_eq!(table(tsv, COLUMNS).as_ref().map_err(String::as_str), Err(message), "{tsv}");
        }
    }
}
