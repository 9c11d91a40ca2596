//! Runs an experiment: every fit that its file of results does not have yet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asmr::signal::Signal;

use crate::Outcome;
use crate::compare::measure;
use crate::contestant::ContestantError;
use crate::experiment::{ContestantSpec, Experiment, SignalSpec};
use crate::fit::Stop;
use crate::machine;
use crate::records::{Key, Record, Records, length};

/// Where an experiment finds and leaves things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The project.
    pub root: PathBuf,
    /// Folders of signals.
    pub signals: Vec<PathBuf>,
    /// The file of results.
    pub results: PathBuf,
    /// The command, as results name it.
    pub command: String,
}

/// What became of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// All rows of the experiment.
    pub records: Records,
    /// Fits that were made now.
    pub n_fits: usize,
    /// Signals that are not there, each with what is wrong.
    pub missing: Vec<String>,
}

/// What happens.
pub enum Event<'a> {
    /// A fit begins: of how many, the how manyeth (from 1).
    Begun(&'a Key, usize, usize),
    /// Its row.
    Ended(&'a Record),
    /// A signal is left out.
    Missing(&'a str),
}

/// One fit of an experiment.
struct Planned<'a> {
    key: Key,
    contestant: &'a ContestantSpec,
    stop: Stop,
    rate_factor: f64,
    seed: u64,
}

/// How long a contestant is fitted.
#[must_use]
pub fn lengths(experiment: &Experiment, contestant: &ContestantSpec) -> Vec<Stop> {
    let steps = contestant.steps.as_ref().unwrap_or(&experiment.steps).iter().copied().map(Stop::Steps);
    let seconds = experiment.seconds.iter().map(|&s| Stop::Time(Duration::from_secs_f64(s)));
    steps.chain(seconds).collect()
}

/// The fits of one signal.
fn planned<'a>(experiment: &'a Experiment, signal: &SignalSpec) -> Vec<Planned<'a>> {
    let mut fits = Vec::new();
    for contestant in &experiment.contestants {
        for stop in lengths(experiment, contestant) {
            for &rate_factor in contestant.rate_factors.as_ref().unwrap_or(&experiment.rate_factors) {
                for &seed in &experiment.seeds {
                    let key = [
                        signal.name(),
                        contestant.name.clone(),
                        length(stop),
                        rate_factor.to_string(),
                        seed.to_string(),
                    ];
                    fits.push(Planned { key, contestant, stop, rate_factor, seed });
                }
            }
        }
    }
    fits
}

/// What a row depends on besides its key, as a number: rows of other settings, or made on other threads, are made anew.
fn fingerprint(signal: &SignalSpec, contestant: &ContestantSpec) -> String {
    let settings = (signal, &contestant.method, contestant.batch, rayon::current_num_threads());
    format!("{:08x}", crc32fast::hash(format!("{settings:?}").as_bytes()))
}

/// Leaves the rows that an experiment, as it is, would have on the threads of the current pool; gives how many went.
pub fn keep_current(experiment: &Experiment, records: &mut Records) -> usize {
    let signals = experiment.all_signals();
    let wanted: HashSet<(Key, String)> = signals
        .iter()
        .flat_map(|signal| {
            planned(experiment, signal).into_iter().map(|fit| (fit.key, fingerprint(signal, fit.contestant)))
        })
        .collect();
    records.retain(|row| wanted.contains(&(row.key(), row.text("settings").to_owned())))
}

/// Makes the fits that are missing, one after the other on the threads of the current pool, and keeps each as soon as it is
/// measured, so that an interrupted run is gone on with by the next.
///
/// # Errors
/// When results cannot be read or written, or it was interrupted.
pub fn run(
    experiment: &Experiment,
    place: &Place,
    interrupt: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Outcome<Done> {
    let signals = experiment.all_signals();
    let all: Vec<(&SignalSpec, Vec<Planned<'_>>)> =
        signals.iter().map(|signal| (signal, planned(experiment, signal))).collect();
    let about = format!("{}; made by `{}`", experiment.title, place.command);
    let mut records = Records::read(&place.results)?;
    let before = records.clone();
    if keep_current(experiment, &mut records) > 0 {
        // What took hours is not thrown away for a change that may be taken back.
        before.write(&place.results.with_extension("tsv.old"), &about)?;
        records.write(&place.results, &about)?;
    }
    let n_missing = |fits: &[Planned<'_>]| fits.iter().filter(|fit| records.get(&fit.key).is_none()).count();
    let n = all.iter().map(|(_, fits)| n_missing(fits)).sum();
    let (commit, machine) = (machine::commit(&place.root), machine::describe());
    let mut done = Done::default();
    let mut n_begun = 0;
    for (spec, fits) in &all {
        let fits: Vec<&Planned<'_>> = fits.iter().filter(|fit| records.get(&fit.key).is_none()).collect();
        if fits.is_empty() {
            continue;
        }
        let signal = match spec.open(&place.signals) {
            Ok(signal) => signal,
            Err(problem) => {
                on_event(Event::Missing(&problem));
                done.missing.push(problem);
                n_begun += fits.len();
                continue;
            }
        };
        for fit in fits {
            n_begun += 1;
            on_event(Event::Begun(&fit.key, n_begun, n));
            let measured = made(fit, &signal, interrupt)?;
            let print = fingerprint(spec, fit.contestant);
            let row = Record::new(&fit.key, &print, &measured, &commit, &machine);
            on_event(Event::Ended(&row));
            records.insert(row);
            records.write(&place.results, &about)?;
            done.n_fits += 1;
        }
    }
    done.records = records;
    Ok(done)
}

/// A fit's figures, or why it has none; an error when all is to end.
fn made(
    fit: &Planned<'_>,
    signal: &Signal,
    interrupt: &AtomicBool,
) -> Outcome<Result<crate::compare::Row, String>> {
    let contestant = match fit.contestant.build(signal.info(), fit.stop, fit.rate_factor) {
        Ok(contestant) => contestant,
        Err(problem) => return Ok(Err(problem)),
    };
    let entry = contestant.fit(signal, fit.stop, fit.seed, interrupt, &mut |_| {});
    let measured = entry.and_then(|entry| measure(&contestant, entry, signal, interrupt));
    if interrupt.load(Ordering::Relaxed) {
        return Err("interrupted; what was measured is kept, and the same command goes on".to_owned());
    }
    match measured {
        Ok(row) => Ok(Ok(row)),
        Err(ContestantError::Interrupted) => Err("interrupted".to_owned()),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The file of results of an experiment: below the project for its own, beside the experiment's file for others.
#[must_use]
pub fn results_path(root: &Path, experiment: &Path, quick: bool) -> PathBuf {
    let name = experiment.file_stem().unwrap_or_default().to_string_lossy();
    let is_own = experiment.parent().is_some_and(|folder| folder == root.join("experiments"));
    if !is_own {
        return experiment.with_file_name(format!("{name}{}.tsv", if quick { "-quick" } else { "" }));
    }
    let folder = root.join("results").join(env!("CARGO_PKG_VERSION")).join("experiments");
    let folder = if quick { folder.join("quick") } else { folder };
    folder.join(format!("{name}.tsv"))
}
