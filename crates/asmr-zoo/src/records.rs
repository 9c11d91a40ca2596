//! What an experiment measured: a row for each fit, in a file of tab-separated values that a run adds to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::Outcome;
use crate::baseline::Method;
use crate::compare::Row;
use crate::contestant::Settings;
use crate::fit::Stop;
use crate::table::{NONE, write_whole};

/// Columns of the file; the first five say which fit a row is of.
pub const COLUMNS: [&str; 31] = [
    "signal",
    "contestant",
    "length",
    "rate_factor",
    "seed",
    "fingerprint",
    "psnr_db",
    "ssim",
    "snr_db",
    "iou",
    "layers",
    "n_params",
    "bytes",
    "mac_paper",
    "mac_exec",
    "sin_exec",
    "table_reads",
    "fit_s",
    "search_s",
    "steps",
    "decode_msamples_s_1",
    "decode_msamples_s_2",
    "measured_samples",
    "rate",
    "rate_is_inside",
    "batch",
    "settings",
    "threads",
    "commit",
    "machine",
    "problem",
];
/// Those that a fit without figures has none in.
const N_FIGURES: usize = 21;
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
        fingerprint: &str,
        measured: &Result<Row, String>,
        commit: &str,
        machine: &str,
    ) -> Self {
        let mut cells: Vec<String> = key.to_vec();
        cells.push(fingerprint.to_owned());
        match measured {
            Ok(row) => cells.extend(figures(row)),
            Err(_) => cells.extend(std::iter::repeat_n(NONE.to_owned(), N_FIGURES)),
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
        &self.0[place(column)]
    }

    /// A column's number, where it has one.
    #[must_use]
    pub fn number(&self, column: &str) -> Option<f64> {
        self.text(column).parse().ok().filter(|number: &f64| !number.is_nan())
    }
}

/// What a fit measured, and by which settings.
fn figures(row: &Row) -> [String; N_FIGURES] {
    let [one, two] = row.decode_msamples_s;
    let some = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| NONE.to_owned(), |value| format!("{value:.decimals$}"))
    };
    [
        row.psnr_db.map_or_else(|| "inf".to_owned(), |db| format!("{db:.4}")),
        some(row.ssim, 5),
        some(row.snr_db, 4),
        some(row.iou, 5),
        row.layers.to_string(),
        row.cost.n_params.to_string(),
        row.bytes.to_string(),
        format!("{:.3}", row.cost.mac_paper),
        format!("{:.3}", row.cost.mac_exec),
        format!("{:.3}", row.cost.sin_exec),
        row.cost.table_reads.to_string(),
        format!("{:.3}", row.fit_s),
        format!("{:.3}", row.search_s),
        row.steps.to_string(),
        speed(one),
        speed(two),
        row.measured_samples.to_string(),
        // Six digits: the product of a rate and a factor is seldom the number that it is meant to be.
        format!("{:e}", format!("{:.5e}", row.rate).parse().unwrap_or(row.rate)),
        row.rate_is_inside.map_or(NONE, |is_inside| if is_inside { "yes" } else { "no" }).to_owned(),
        row.batch.to_string(),
        settings(row),
    ]
}

/// Where a column is.
fn place(column: &str) -> usize {
    COLUMNS.iter().position(|known| *known == column).expect("a known column")
}

/// Million samples a second.
fn speed(msamples_s: f64) -> String {
    format!("{msamples_s:.4}")
}

/// What was chosen: the method's settings, the fit's, and what was tried before.
fn settings(row: &Row) -> String {
    let mut method = row.settings.clone();
    if let Settings::Baseline(Method::Plenoxels(settings)) = &mut method {
        // Which vertices are stored is told by thousands of numbers.
        settings.runs.clear();
    }
    let all = json!({ "method": method, "fit": row.procedure, "trials": row.trials });
    all.to_string()
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

    /// Puts decoding speeds in place of those that a contestant's rows on a signal have.
    pub fn set_speeds(&mut self, signal: &str, contestant: &str, msamples_s: [f64; 2]) {
        let is_of = |row: &&mut Record| row.text("signal") == signal && row.text("contestant") == contestant;
        for row in self.0.values_mut().filter(|row| is_of(row) && row.number("decode_msamples_s_1").is_some())
        {
            for (column, value) in ["decode_msamples_s_1", "decode_msamples_s_2"].into_iter().zip(msamples_s)
            {
                row.0[place(column)] = speed(value);
            }
        }
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

/// Rows of one contestant after one length on one signal, by rate factor.
#[must_use]
pub fn by_rate<'a>(
    records: &'a Records,
    [signal, contestant, length]: [&str; 3],
) -> BTreeMap<&'a str, Vec<&'a Record>> {
    let mut rates: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for row in records.iter() {
        let of = ["signal", "contestant", "length"].map(|column| row.text(column));
        if of == [signal, contestant, length] {
            rates.entry(row.text("rate_factor")).or_default().push(row);
        }
    }
    rates
}

/// The best of some rates: at which most seeds have a PSNR, and of such rates the one with the highest mean over seeds. None
/// without a rate.
#[must_use]
pub fn best_rate<'a>(rates: &BTreeMap<&'a str, Vec<&Record>>) -> Option<&'a str> {
    let quality = |rows: &[&Record]| {
        let figures = numbers(rows, "psnr_db");
        (figures.len(), mean(&figures).unwrap_or(f64::NEG_INFINITY))
    };
    let best = rates.iter().max_by(|(_, a), (_, b)| {
        let (a, b) = (quality(a), quality(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    best.map(|(rate, _)| *rate)
}

/// Rows of one contestant after one length, at the best of its rates for each signal.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Its rows with a figure.
    pub rows: Vec<&'a Record>,
    /// Its rows at those rates that have none: fits that failed.
    pub failed: Vec<&'a Record>,
    /// Signals on which no better rate than the highest or the lowest that was tried is known.
    pub at_edge: Vec<&'a str>,
}

impl<'a> Summary<'a> {
    /// Of the rows of `contestant` after `length`, those of each signal's best rate ([`best_rate`]). None without a row.
    #[must_use]
    pub fn of(records: &'a Records, contestant: &str, length: &str) -> Option<Self> {
        let is_of = |row: &&Record| row.text("contestant") == contestant && row.text("length") == length;
        let mut signals: Vec<&str> = records.iter().filter(is_of).map(|row| row.text("signal")).collect();
        signals.dedup();
        let mut summary = Self { rows: Vec::new(), failed: Vec::new(), at_edge: Vec::new() };
        for signal in signals {
            let mut rates = by_rate(records, [signal, contestant, length]);
            let Some(best) = best_rate(&rates) else { continue };
            let factor = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
            let is_inside = rates.keys().any(|rate| factor(rate) < factor(best))
                && rates.keys().any(|rate| factor(rate) > factor(best));
            let rows = rates.remove(best).unwrap_or_default();
            let is_at_edge = if rates.is_empty() {
                // It was the fit's own search that found it.
                rows.iter().any(|row| row.text("rate_is_inside") == "no")
            } else {
                !is_inside
            };
            if is_at_edge {
                summary.at_edge.push(signal);
            }
            let (rows, failed): (Vec<_>, Vec<_>) =
                rows.into_iter().partition(|row| row.number("psnr_db").is_some());
            summary.rows.extend(rows);
            summary.failed.extend(failed);
        }
        (!summary.rows.is_empty() || !summary.failed.is_empty()).then_some(summary)
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
        let spreads = self.signals().into_iter().filter_map(|signal| self.spread_of_signal(signal, column));
        spreads.reduce(f64::max)
    }

    /// The distance of the highest and the lowest value of a column among the seeds of a signal; none for a single seed.
    #[must_use]
    pub fn spread_of_signal(&self, signal: &str, column: &str) -> Option<f64> {
        let rows: Vec<&Record> =
            self.rows.iter().copied().filter(|row| row.text("signal") == signal).collect();
        let values = numbers(&rows, column);
        let least = values.iter().copied().reduce(f64::min).filter(|_| values.len() > 1)?;
        Some(values.iter().copied().reduce(f64::max)? - least)
    }

    /// The standard deviation of a column's means over signals; none for a single signal.
    #[must_use]
    pub fn deviation(&self, column: &str) -> Option<f64> {
        let signals = self.signals();
        let values: Vec<f64> = signals.iter().filter_map(|signal| self.of_signal(signal, column)).collect();
        let mean = mean(&values).filter(|_| values.len() > 1)?;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some((squares / (values.len() - 1) as f64).sqrt())
    }

    /// Signals of rows with a figure, each once.
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
        // Of 30.5 and 24.
        let deviation = summary.deviation("psnr_db").expect("two signals");
        assert!((deviation - 6.5 / 2f64.sqrt()).abs() < 1e-12, "{deviation}");
        assert_eq!((summary.spread_of_signal("q", "psnr_db"), summary.deviation("ssim")), (None, None));
        // Of two rates each is the lowest or the highest.
        assert_eq!(summary.at_edge, ["p", "q"]);
        assert_eq!(summary.mean("bytes"), None);
        assert!(Summary::of(&records, "a", "8 steps").is_none());
    }

    #[test]
    fn rates_at_the_edge() {
        let mut records = records();
        for (factor, db) in [("0.3", 25.0), ("10", 31.0)] {
            records.insert(row("p", factor, 0, db));
        }
        // The best of p is now between others, and q has none but what its fit found.
        records.retain(|row| row.text("signal") == "p" || row.text("rate_factor") == "3");
        let mut own = row("q", "3", 0, 24.0);
        "no".clone_into(&mut own.0[24]);
        records.insert(own.clone());
        assert_eq!(Summary::of(&records, "a", "9 steps").expect("rows").at_edge, ["q"]);
        "yes".clone_into(&mut own.0[24]);
        records.insert(own);
        assert!(Summary::of(&records, "a", "9 steps").expect("rows").at_edge.is_empty());
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
        assert_eq!((summary.of_signal("q", "psnr_db"), summary.failed.len()), (Some(20.0), 2));
        let failed: Vec<&str> = summary.failed.iter().map(|row| row.text("signal")).collect();
        assert_eq!(failed, ["r", "s"]);
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
