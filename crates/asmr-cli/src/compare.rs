//! `asmr compare`: this method and its rivals on one picture, on equal terms.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments of options are the help text, which shows backticks as they are"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use asmr::signal::Signal;
use asmr_media::{Kind, ReadOptions, read_image, recognise};
use asmr_zoo::budget::Budget;
use asmr_zoo::compare::{self, CompareError, Comparison, Event, Options, check_methods};
use asmr_zoo::fit::Stop;
use asmr_zoo::page::page;
use clap::Args;
use serde::Serialize;

use crate::args::Common;
use crate::error::{FAILED, Failure, INTERRUPTED, OK, say};
use crate::files::{self, has_extension};
use crate::interrupt;
use crate::report::{describe, duration, print, print_json, quote, thousands};
use crate::values::{number, seed, steps, time};

/// The most weights, or MAC/sample, of a budget.
const MAX_BUDGET: f64 = 1e9;

const COMPARE_EXAMPLES: &str = "\
Examples:
  asmr compare photo.png --budget time=30s -o photo.html      usual settings of each, 30 s each
  asmr compare photo.png --budget params=134k --time 1m       at most 134,000 weights each, fitted for a minute
  asmr compare photo.png --methods asmr,siren,kilonerf --budget mac=2k --steps 1000

Methods: asmr, siren, ffn, kilonerf, loe, ngp, wire, plenoxels.
In a given time rivals are fitted in random batches at the best of a few learning rates, each tried for a small part of that
time; with --steps as their authors publish. What was chosen is told with --json and on the page.";

/// Options of `compare`.
#[derive(Debug, Args)]
#[command(after_help = COMPARE_EXAMPLES)]
pub(crate) struct CompareArgs {
    /// A picture of 1 to 4 channels
    pub(crate) input: PathBuf,
    /// What is compared: names with commas between them
    #[arg(long, value_name = "METHOD,...", default_value = "asmr,siren,ffn,ngp", value_parser = methods)]
    pub(crate) methods: Methods,
    /// What all have equally much of: weights (params=134k), executed multiply-adds per sample (mac=2k), or time (time=30s)
    #[arg(long, value_name = "params=N|mac=N|time=TIME", default_value = "time=30s", allow_hyphen_values = true, value_parser = budget)]
    pub(crate) budget: Budget,
    /// Fit each method for this long where the budget is not a time [default: 30s]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Fit each method for so many steps of its published protocol, 1 to 1000000000; a step may be many times dearer than another's
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = steps, conflicts_with = "time")]
    pub(crate) steps: Option<u32>,
    /// Seed of weights and batches
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true, value_parser = seed)]
    pub(crate) seed: u64,
    /// The page to write (.html): the table, pictures and error maps, in one file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Names of methods.
#[derive(Clone, Debug)]
pub(crate) struct Methods(Vec<String>);

fn methods(text: &str) -> Result<Methods, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    let names: Vec<String> = names.collect();
    check_methods(&names).map_err(|error| error.to_string())?;
    Ok(Methods(names))
}

fn budget(text: &str) -> Result<Budget, String> {
    let accepted = "params=N, mac=N (numbers from 1 to 1e9, k and M allowed) or time=TIME, as in params=134k, mac=2k or time=30s";
    let wrong = || format!("it must be {accepted}");
    let (what, amount) = text.trim().split_once('=').ok_or_else(wrong)?;
    match what.trim() {
        "params" => count(amount).map(|n| Budget::Params(n as u64)).ok_or_else(wrong),
        "mac" => count(amount).map(Budget::Mac).ok_or_else(wrong),
        "time" => time(amount.trim()).map(Budget::Time),
        _ => Err(wrong()),
    }
}

/// A number with k or M.
fn count(text: &str) -> Option<f64> {
    let text = text.trim();
    let (value, factor) = match text.strip_suffix(['k', 'K']) {
        Some(value) => (value, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |value| (value, 1e6)),
    };
    number(value, "", |x| (1.0..=MAX_BUDGET).contains(&(x * factor))).ok().map(|x| x * factor)
}

/// What must hold of options that were accepted.
pub(crate) fn check(args: &CompareArgs) {
    let holds = match args.budget {
        Budget::Params(n) => n >= 1 && n as f64 <= MAX_BUDGET,
        Budget::Mac(mac) => (1.0..=MAX_BUDGET).contains(&mac),
        Budget::Time(time) => !time.is_zero(),
    };
    assert!(holds && check_methods(&args.methods.0).is_ok(), "{args:?}");
    assert!(args.steps.is_none_or(|n| (1..=1_000_000_000).contains(&n)), "{args:?}");
    assert!(args.steps.is_none() || args.time.is_none(), "{args:?}");
}

/// What is told about a comparison.
#[derive(Debug, Serialize)]
struct CompareReport<'a> {
    input: String,
    output: Option<String>,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

/// Runs the verb.
pub(crate) fn run(args: &CompareArgs, common: &Common) -> Result<u8, Failure> {
    let is_time = matches!(args.budget, Budget::Time(_));
    if is_time && (args.time.is_some() || args.steps.is_some()) {
        return Err(Failure::usage(format!(
            "--budget {} says how long each fit is, and --time and --steps do so too; leave one of them out",
            args.budget
        )));
    }
    let length = args.steps.map_or(Stop::Time(args.time.unwrap_or(Duration::from_secs(30))), Stop::Steps);
    let options = Options { methods: args.methods.0.clone(), budget: args.budget, length, seed: args.seed };
    let signal = picture(&args.input, common)?;
    let output = args.output.as_ref().map(|path| page_path(path, &args.input)).transpose()?;
    let refuse = |error: CompareError| match error {
        CompareError::Timing(_) => Failure::failed(error.to_string()),
        other => Failure::usage(format!("{}: {other}", args.input.display())),
    };
    // What is refused is refused before anything is fitted.
    compare::contestants(signal.info(), &options).map_err(refuse)?;
    if !common.quiet {
        say(&format!(
            "comparing {} on {} ({}) at {}",
            args.methods.0.join(", "),
            args.input.display(),
            describe(signal.info()),
            args.budget
        ));
    }
    let mut told = |event: Event<'_>| tell(&event, options.stop(), common.quiet);
    let done = interrupt::while_fitting(|stop| compare::compare(&signal, &options, stop, &mut told));
    let comparison = match done {
        Err(CompareError::Interrupted) => {
            say("interrupted; nothing was written");
            return Ok(INTERRUPTED);
        }
        other => other.map_err(refuse)?,
    };
    if let Some(path) = &output {
        let name =
            args.input.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let page = page(&name, &signal, &comparison).map_err(Failure::failed)?;
        files::write_bytes(path, page.as_bytes())?;
    }
    if common.json {
        print_json(&CompareReport {
            input: args.input.display().to_string(),
            output: output.map(|path| path.display().to_string()),
            comparison: &comparison,
        })?;
    } else {
        print(&comparison.table())?;
    }
    Ok(if comparison.rows.is_empty() { FAILED } else { OK })
}

/// The input, if it is a picture.
fn picture(path: &Path, common: &Common) -> Result<Signal, Failure> {
    if files::is_asmr(path) {
        return Err(Failure::usage(format!(
            "{} is an .asmr file already; compare takes the picture that it was made of",
            path.display()
        )));
    }
    let limits = files::media_limits(common);
    match recognise(path, &ReadOptions { limits, ..ReadOptions::default() })? {
        Kind::Picture => Ok(read_image(path, &limits)?),
        other => Err(Failure::usage(format!(
            "{} is a {}; compare takes pictures of 1 to 4 channels, and nothing else for now",
            path.display(),
            other.name()
        ))),
    }
}

/// Where the page goes, if it can go there.
fn page_path(path: &PathBuf, input: &Path) -> Result<PathBuf, Failure> {
    if !["html", "htm"].iter().any(|extension| has_extension(path, extension)) {
        return Err(Failure::usage(format!(
            "compare writes a page of HTML, so {} would be misnamed; type -o {}",
            path.display(),
            quote(&path.with_extension("html"))
        )));
    }
    let path = files::output_path(Some(path), input, "html", files::none_replaced)?;
    files::check_output(&path)?;
    Ok(path)
}

/// Says how far it is.
fn tell(event: &Event<'_>, stop: Stop, quiet: bool) {
    match event {
        _ if quiet => {}
        Event::Progress(_) => {}
        Event::Begun { method, place: (i, n), n_params } => say(&format!(
            "{method} ({} of {n}): fitting {} weights for {}",
            i + 1,
            thousands(*n_params as u64),
            compare::length(stop)
        )),
        Event::Done(row) => {
            let quality = row.psnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.2} dB"));
            say(&format!("{}: {quality} in {}, {} steps", row.method, duration(row.fit_s), row.steps));
        }
        Event::Refused(refusal) => say(&format!("{} has no row: {}", refusal.method, refusal.reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let accepted = [
            ("params=134k", Budget::Params(134_000)),
            ("params=1", Budget::Params(1)),
            ("params=1.5M", Budget::Params(1_500_000)),
            ("mac=2k", Budget::Mac(2000.0)),
            ("mac=12.5", Budget::Mac(12.5)),
            (" time=30s ", Budget::Time(Duration::from_secs(30))),
            ("time=1.5m", Budget::Time(Duration::from_secs(90))),
        ];
        for (text, expected) in accepted {
            assert_eq!(budget(text), Ok(expected), "{text}");
        }
        let refused = [
            "",
            "params",
            "params=",
            "=5",
            "params=0",
            "params=-3",
            "params=nan",
            "params=2e9",
            "mac=0",
            "mac=inf",
            "mac=2kk",
            "time=30",
            "time=0s",
            "bytes=40k",
            "params=é",
            "params=1é",
            "mac=1=2",
        ];
        for text in refused {
            assert!(budget(text).is_err(), "{text}");
        }
        assert_eq!((accepted.len(), refused.len()), (7, 17));
    }

    #[test]
    fn lists_of_methods() {
        assert_eq!(methods("asmr, ngp ,siren").unwrap().0, ["asmr", "ngp", "siren"]);
        for (text, says) in
            [("asmr,nerf", "known are asmr"), ("", "no method"), ("ngp,ngp", "twice"), (",", "no")]
        {
            let error = methods(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
