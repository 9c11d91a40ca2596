//! What an experiment measured: a row for each fit, in a file of tab-separated values that a run adds to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::Outcome;
use crate::compare::Row;
use crate::fit::Stop;
use crate::table::{NONE, write_whole};

/// Columns of the file; the first five say which fit a row is of.
pub const COLUMNS: [&str; 24] = [
    "signal",
    "contestant",
    "length",
    "rate_factor",
    "seed",
    "settings",
    "psnr_db",
    "ssim",
    "n_params",
    "bytes",
    "mac_paper",
    "mac_exec",
    "sin_exec",
    "table_reads",
    "fit_s",
    "steps",
    "decode_msamples_s_1",
    "decode_msamples_s_2",
    "rate",
    "batch",
    "threads",
    "commit",
    "machine",
    "problem",
];
const N_KEYS: usize = 5;

/// Which fit: signal, contestant, length, rate factor, seed.
pub type Key = [String; N_KEYS];

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Record(Vec<String>);

/// `300 steps`, `10 s`.
#[must_use]
pub fn length(stop: Stop) -> String {
    crate::compare::length(stop)
}

impl Record {
    /// A fit's row; the fit ran on the threads of the current pool.
    #[must_use]
    pub fn new(
        key: &Key,
        settings: &str,
        measured: &Result<Row, String>,
        commit: &str,
        machine: &str,
    ) -> Self {
        let mut cells: Vec<String> = key.to_vec();
        cells.push(settings.to_owned());
        match measured {
            Ok(row) => {
                let [one, two] = row.decode_msamples_s;
                cells.extend([
                    row.psnr_db.map_or_else(|| "inf".to_owned(), |db| format!("{db:.4}")),
                    row.ssim.map_or_else(|| NONE.to_owned(), |ssim| format!("{ssim:.5}")),
                    row.cost.n_params.to_string(),
                    row.bytes.to_string(),
                    format!("{:.3}", row.cost.mac_paper),
                    format!("{:.3}", row.cost.mac_exec),
                    format!("{:.3}", row.cost.sin_exec),
                    row.cost.table_reads.to_string(),
                    format!("{:.3}", row.fit_s),
                    row.steps.to_string(),
                    format!("{one:.4}"),
                    format!("{two:.4}"),
                    format!("{:e}", row.rate),
                    row.batch.to_string(),
                ]);
            }
            Err(_) => cells.extend(std::iter::repeat_n(NONE.to_owned(), 14)),
        }
        cells.push(rayon::current_num_threads().to_string());
        cells.extend([commit.to_owned(), machine.to_owned()]);
        let problem = measured.as_ref().err().map_or(NONE, String::as_str);
        cells.push(problem.replace(['\t', '\n'], " "));
        Self(cells)
    }

    /// Which fit it is of.
    #[must_use]
    pub fn key(&self) -> Key {
        std::array::from_fn(|i| self.0[i].clone())
    }

    /// A column's text.
    ///
    /// # Panics
    /// For a name that is none of [`COLUMNS`].
    #[must_use]
    pub fn text(&self, column: &str) -> &str {
        let i = COLUMNS.iter().position(|known| *known == column).expect("a known column");
        &self.0[i]
    }

    /// A column's number, where it has one.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column).parse().ok().filter(|number: &f64| !number.is_nan())
    }
}

/// Rows by what they are of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(BTreeMap<Key, Record>);

impl Records {
    /// Reads a file; one that does not exist has no rows.
    ///
    /// # Errors
    /// When it cannot be read, or is no such file: what was measured is not to be replaced unseen.
    pub fn read(path: &Path) -> Outcome<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|problem| {
                format!("{}: {problem}; move it away, and all is measured anew", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    fn parse(text: &str) -> Outcome<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let heads = lines.next().unwrap_or_default();
        if !heads.split('\t').eq(COLUMNS) {
            return Err(format!("its columns are not {}", COLUMNS.join(", ")));
        }
        let mut records = Self::default();
        for line in lines {
            let cells: Vec<String> = line.split('\t').map(str::to_owned).collect();
            if cells.len() != COLUMNS.len() {
                return Err(format!("a row has {} cells, not {}: {line}", cells.len(), COLUMNS.len()));
            }
            records.insert(Record(cells));
        }
        Ok(records)
    }

    /// Writes a file as a whole, with what it is about first.
    ///
    /// # Errors
    /// When that fails; then the file is what it was.
    pub fn write(&self, path: &Path, about: &str) -> Outcome<()> {
        let mut text = format!("# {about}\n{}\n", COLUMNS.join("\t"));
        for row in self.0.values() {
            let _ = writeln!(text, "{}", row.0.join("\t"));
        }
        write_whole(path, &text)
    }

    /// Adds a row, in place of one of the same fit.
    pub fn insert(&mut self, row: Record) {
        self.0.insert(row.key(), row);
    }

    /// Leaves only rows for which `keep` holds; gives how many went.
    pub fn retain(&mut self, keep: impl Fn(&Record) -> bool) -> usize {
        let before = self.0.len();
        self.0.retain(|_, row| keep(row));
        before - self.0.len()
    }

    /// The row of a fit.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.0.get(key)
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.0.values()
    }
}

/// Rows of one contestant after one length, at the best of its rates for each signal.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Its rows with a figure.
    pub rows: Vec<&'a Record>,
    /// Fits at those rates that have none: they failed.
    pub n_failed: usize,
}

impl<'a> Summary<'a> {
    /// Of the rows of `contestant` after `length`, those of each signal's best rate: at which most seeds have a PSNR, and of
    /// such rates with the highest mean over seeds. None without a row that has one.
    #[must_use]
    pub fn of(records: &'a Records, contestant: &str, length: &str) -> Option<Self> {
        let mut by_signal: BTreeMap<&str, BTreeMap<&str, Vec<&Record>>> = BTreeMap::new();
        for row in records.iter() {
            if row.text("contestant") == contestant && row.text("length") == length {
                let rates = by_signal.entry(row.text("signal")).or_default();
                rates.entry(row.text("rate_factor")).or_default().push(row);
            }
        }
        let quality = |rows: &Vec<&Record>| {
            let figures = numbers(rows, "psnr_db");
            (figures.len(), mean(&figures).unwrap_or(f64::NEG_INFINITY))
        };
        let best = by_signal.into_values().filter_map(|rates| {
            rates.into_values().max_by(|a, b| {
                let (a, b) = (quality(a), quality(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })
        });
        let (rows, failed): (Vec<_>, Vec<_>) =
            best.flatten().partition(|row: &&Record| row.number("psnr_db").is_some());
        (!rows.is_empty()).then_some(Self { rows, n_failed: failed.len() })
    }

    /// The mean of a column over seeds, then over signals.
    #[must_use]
    pub fn mean(&self, column: &str) -> Option<f64> {
        let by_signal: Vec<f64> =
            self.signals().iter().filter_map(|signal| self.of_signal(signal, column)).collect();
        mean(&by_signal)
    }

    /// The mean of a column over the seeds of a signal.
    #[must_use]
    pub fn of_signal(&self, signal: &str, column: &str) -> Option<f64> {
        let rows: Vec<&Record> =
            self.rows.iter().copied().filter(|row| row.text("signal") == signal).collect();
        mean(&numbers(&rows, column))
    }

    /// The largest distance, over signals, of the highest and the lowest value of a column among seeds.
    #[must_use]
    pub fn spread(&self, column: &str) -> Option<f64> {
        let spreads = self.signals().into_iter().filter_map(|signal| {
            let rows: Vec<&Record> =
                self.rows.iter().copied().filter(|row| row.text("signal") == signal).collect();
            let values = numbers(&rows, column);
            let least = values.iter().copied().reduce(f64::min)?;
            Some(values.iter().copied().reduce(f64::max)? - least)
        });
        spreads.reduce(f64::max)
    }

    /// Signals, each once.
    #[must_use]
    pub fn signals(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.text("signal")).collect();
        names.dedup();
        names
    }

    /// What stands in a text column: each once.
    #[must_use]
    pub fn texts(&self, column: &str) -> Vec<&'a str> {
        let mut texts: Vec<&str> = self.rows.iter().map(|row| row.text(column)).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}

fn numbers(rows: &[&Record], column: &str) -> Vec<f64> {
    rows.iter().filter_map(|row| row.number(column)).collect()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(signal: &str, factor: &str, seed: u64, psnr_db: f64) -> Record {
        let mut cells = vec![NONE.to_owned(); COLUMNS.len()];
        for (cell, text) in cells.iter_mut().zip([signal, "a", "9 steps", factor, &seed.to_string(), "0"]) {
            text.clone_into(cell);
        }
        cells[6] = psnr_db.to_string();
        Record(cells)
    }

    fn records() -> Records {
        let mut records = Records::default();
        // The best rate of the first signal is 1, though the best fit is at 3; of the second it is 3.
        let figures = [
            ("p", "1", 0, 30.0),
            ("p", "1", 1, 31.0),
            ("p", "3", 0, 28.0),
            ("p", "3", 1, 32.5),
            ("q", "1", 0, 20.0),
            ("q", "3", 0, 24.0),
        ];
        for (signal, factor, seed, db) in figures {
            records.insert(row(signal, factor, seed, db));
        }
        records
    }

    #[test]
    fn the_best_rate_of_each_signal() {
        let records = records();
        let summary = Summary::of(&records, "a", "9 steps").expect("rows");
        assert_eq!(summary.signals(), ["p", "q"]);
        assert_eq!(summary.of_signal("p", "psnr_db"), Some(30.5));
        assert_eq!(summary.mean("psnr_db"), Some(27.25));
        assert_eq!(summary.spread("psnr_db"), Some(1.0));
        assert_eq!(summary.mean("bytes"), None);
        assert!(Summary::of(&records, "a", "8 steps").is_none());
    }

    #[test]
    fn a_rate_at_which_fits_fail_is_not_the_best() {
        let mut records = records();
        // One seed of the better rate fails, and all of a third signal.
        let mut failed = row("q", "3", 0, 0.0);
        NONE.clone_into(&mut failed.0[6]);
        records.insert(failed.clone());
        "r".clone_into(&mut failed.0[0]);
        records.insert(failed);
        records.insert(row("s", "1", 0, f64::NAN));
        let summary = Summary::of(&records, "a", "9 steps").expect("rows");
        assert_eq!(summary.signals(), ["p", "q"]);
        assert_eq!((summary.of_signal("q", "psnr_db"), summary.n_failed), (Some(20.0), 2));
    }

    #[test]
    fn files_keep_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/x.tsv");
        assert_eq!(Records::read(&path), Ok(Records::default()));
        let records = records();
        records.write(&path, "a test").expect("it is written");
        assert_eq!(Records::read(&path), Ok(records.clone()));
        // Nothing else is taken for such a file, nor for none.
        let text = std::fs::read_to_string(&path).expect("it is there");
        for other in ["", "signal\tpsnr_db\np\t30\n", &(text + "p\ta\n")] {
            std::fs::write(&path, other).expect("it is written");
            assert!(Records::read(&path).is_err_and(|problem| problem.contains("move it away")), "{other}");
        }
    }
}
