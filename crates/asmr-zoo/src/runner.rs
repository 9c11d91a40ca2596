//! Runs an experiment: every fit that its file of results does not have yet.
//!
//! Where a contestant has two rate factors or more and the best on a signal is the highest or the lowest of them, the next of
//! 1, 3, 10, 30, … beyond is tried as well, for the same seeds, and so on [`MAX_BEYOND`] times in each direction.
//!
//! Where an experiment says so, decodes are timed in turns when the fits of a signal are done, in place of those after each fit.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asmr::signal::Signal;

use crate::Outcome;
use crate::compare::{measure, speeds_in_turns};
use crate::contestant::ContestantError;
use crate::experiment::{ContestantSpec, Experiment, SignalSpec};
use crate::field::Shape;
use crate::fit::Stop;
use crate::machine;
use crate::records::{Key, Record, Records, best_rate, by_rate, length};

/// The most rate factors that are tried beyond an experiment's highest, and as many below its lowest.
pub const MAX_BEYOND: usize = 3;

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
    /// Fits that had been made before.
    pub n_before: usize,
    /// Signals that are not there, each with what is wrong.
    pub missing: Vec<String>,
}

/// What happens.
pub enum Event<'a> {
    /// A fit begins: the how manyeth (from 1), and of how many so far.
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

impl<'a> Planned<'a> {
    fn new(signal: &str, contestant: &'a ContestantSpec, stop: Stop, rate_factor: f64, seed: u64) -> Self {
        let key = [
            signal.to_owned(),
            contestant.name.clone(),
            length(stop),
            rate_factor.to_string(),
            seed.to_string(),
        ];
        Self { key, contestant, stop, rate_factor, seed }
    }
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
    let name = signal.name();
    let mut fits = Vec::new();
    for contestant in &experiment.contestants {
        for stop in lengths(experiment, contestant) {
            for factor in contestant.factors(experiment, stop) {
                for &seed in &experiment.seeds {
                    fits.push(Planned::new(&name, contestant, stop, factor, seed));
                }
            }
        }
    }
    fits
}

/// The next of …, 0.1, 0.3, 1, 3, 10, … above a factor, or below it.
fn next_factor(factor: f64, is_above: bool) -> f64 {
    // 1e-9 mends logarithms that should be whole, and factors that stand on the ladder.
    let power = (factor.log10() + 1e-9).floor();
    let mantissa = factor / 10f64.powf(power);
    let (digit, power) = match is_above {
        true if mantissa < 3.0 - 1e-9 => (3, power),
        true => (1, power + 1.0),
        false if mantissa > 3.0 + 1e-9 => (3, power),
        false if mantissa > 1.0 + 1e-9 => (1, power),
        false => (3, power - 1.0),
    };
    // The decimal number, not a product of rounded ones.
    format!("{digit}e{power}").parse().unwrap_or(factor)
}

/// Factors beyond the highest of some, or below the lowest, nearest first.
fn beyond(factors: &[f64], is_above: bool) -> Vec<f64> {
    let end = factors.iter().copied().reduce(if is_above { f64::max } else { f64::min });
    let first = end.map(|end| next_factor(end, is_above));
    std::iter::successors(first, |&factor| Some(next_factor(factor, is_above))).take(MAX_BEYOND).collect()
}

/// The fits that the best rates so far ask for.
fn asked_for<'a>(experiment: &'a Experiment, signal: &SignalSpec, records: &Records) -> Vec<Planned<'a>> {
    let name = signal.name();
    let mut fits = Vec::new();
    for contestant in &experiment.contestants {
        for stop in lengths(experiment, contestant) {
            let factors = contestant.factors(experiment, stop);
            if factors.len() < 2 {
                continue;
            }
            let rates = by_rate(records, [&name, &contestant.name, &length(stop)]);
            let tried = || rates.keys().filter_map(|rate| rate.parse::<f64>().ok());
            let has_figure = rates.values().flatten().any(|row| row.number("psnr_db").is_some());
            let best = best_rate(&rates).and_then(|best| best.parse::<f64>().ok());
            // Where all diverged, a lower rate may not.
            let Some(best) = (if has_figure { best } else { tried().reduce(f64::min) }) else { continue };
            for is_above in [false, true] {
                let is_end = if is_above {
                    has_figure && tried().all(|factor| factor <= best)
                } else {
                    tried().all(|factor| factor >= best)
                };
                let next = beyond(&factors, is_above)
                    .into_iter()
                    .find(|&factor| if is_above { factor > best } else { factor < best });
                if let Some(factor) = next.filter(|_| is_end) {
                    let seeds = experiment.seeds.iter();
                    fits.extend(seeds.map(|&seed| Planned::new(&name, contestant, stop, factor, seed)));
                }
            }
        }
    }
    fits
}

/// How many of a contestant's fits of a length are there, those that its best rates ask for included, and how many are to be.
#[must_use]
pub fn progress(
    experiment: &Experiment,
    records: &Records,
    contestant: &ContestantSpec,
    stop: Stop,
) -> (usize, usize) {
    let is_of = |fit: &Planned<'_>| fit.contestant.name == contestant.name && fit.stop == stop;
    let signals = experiment.all_signals();
    let wanted = signals.iter().flat_map(|signal| {
        let asked_for = asked_for(experiment, signal, records);
        planned(experiment, signal).into_iter().chain(asked_for).filter(is_of).collect::<Vec<_>>()
    });
    let are_there: Vec<bool> = wanted.map(|fit| records.get(&fit.key).is_some()).collect();
    (are_there.iter().filter(|is_there| **is_there).count(), are_there.len())
}

/// What a row depends on besides its key, as a number: rows of other settings, or made on other threads, are made anew.
fn fingerprint(signal: &SignalSpec, contestant: &ContestantSpec) -> String {
    let ContestantSpec { method, batch, measured_samples, .. } = contestant;
    let settings = (signal, method, batch, measured_samples, rayon::current_num_threads());
    format!("{:08x}", crc32fast::hash(format!("{settings:?}").as_bytes()))
}

/// Leaves the rows that an experiment, as it is, would have on the threads of the current pool; gives how many went.
pub fn keep_current(experiment: &Experiment, records: &mut Records) -> usize {
    let signals = experiment.all_signals();
    let mut wanted: HashSet<(Key, String)> = HashSet::new();
    for signal in &signals {
        for fit in planned(experiment, signal) {
            let factors = fit.contestant.factors(experiment, fit.stop);
            let print = fingerprint(signal, fit.contestant);
            if factors.len() > 1 {
                for factor in [false, true].into_iter().flat_map(|is_above| beyond(&factors, is_above)) {
                    let fit = Planned::new(&fit.key[0], fit.contestant, fit.stop, factor, fit.seed);
                    wanted.insert((fit.key, print.clone()));
                }
            }
            wanted.insert((fit.key, print));
        }
    }
    records.retain(|row| wanted.contains(&(row.key(), row.text("fingerprint").to_owned())))
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
    let mut n: usize = all.iter().map(|(_, fits)| n_missing(fits)).sum();
    let (commit, machine) = (machine::commit(&place.root), machine::describe());
    let mut done = Done { n_before: records.iter().count(), ..Done::default() };
    let (mut n_begun, mut timed) = (0, Vec::new());
    for (spec, fits) in all {
        let mut signal = None;
        let mut waiting = fits;
        loop {
            waiting.retain(|fit| records.get(&fit.key).is_none());
            if waiting.is_empty() {
                // What the best of them asks for.
                waiting = asked_for(experiment, spec, &records);
                waiting.retain(|fit| records.get(&fit.key).is_none());
                n += waiting.len();
            }
            if waiting.is_empty() {
                break;
            }
            if signal.is_none() {
                match spec.open(&place.signals) {
                    Ok(opened) => signal = Some(opened),
                    Err(problem) => {
                        on_event(Event::Missing(&problem));
                        done.missing.push(problem);
                        n_begun += waiting.len();
                        break;
                    }
                }
            }
            let Some(signal) = &signal else { break };
            for fit in &waiting {
                n_begun += 1;
                on_event(Event::Begun(&fit.key, n_begun, n));
                let measured = made(fit, signal, interrupt)?;
                let print = fingerprint(spec, fit.contestant);
                let row = Record::new(&fit.key, &print, &measured, &commit, &machine);
                on_event(Event::Ended(&row));
                records.insert(row);
                records.write(&place.results, &about)?;
                done.n_fits += 1;
            }
        }
        if let Some(signal) = signal.filter(|_| experiment.decodes_in_turns) {
            let speeds = in_turns(experiment, spec, &signal, &mut timed, interrupt)?;
            for (contestant, msamples_s) in speeds {
                records.set_speeds(&spec.name(), contestant, msamples_s);
            }
            records.write(&place.results, &about)?;
        }
    }
    done.records = records;
    Ok(done)
}

/// Decoding speeds by contestant.
type Speeds<'a> = Vec<(&'a str, [f64; 2])>;

/// Decoding speeds of all contestants on a grid, timed in turns; once for all signals of this grid.
fn in_turns<'a>(
    experiment: &'a Experiment,
    spec: &SignalSpec,
    signal: &Signal,
    timed: &mut Vec<(Shape, Speeds<'a>)>,
    interrupt: &AtomicBool,
) -> Outcome<Speeds<'a>> {
    let shape = Shape::of(signal.info());
    if let Some((_, speeds)) = timed.iter().find(|(known, _)| *known == shape) {
        return Ok(speeds.clone());
    }
    let (mut names, mut contestants) = (Vec::new(), Vec::new());
    for contestant in experiment.contestants.iter().filter(|contestant| !contestant.is_by_time()) {
        let Some(&stop) = lengths(experiment, contestant).first() else { continue };
        // Those that do not suit the signal have no rows with a speed.
        if let Ok(built) = contestant.build(signal.info(), stop, 1.0) {
            names.push(contestant.name.as_str());
            contestants.push((built, contestant.measured_samples));
        }
    }
    let speeds = speeds_in_turns(&contestants, signal, interrupt)
        .map_err(|error| format!("decodes of {} cannot be timed: {error}", spec.name()))?;
    let speeds: Speeds<'a> =
        names.into_iter().zip(speeds).filter_map(|(name, speed)| Some((name, speed?))).collect();
    timed.push((shape, speeds.clone()));
    Ok(speeds)
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
    let most = fit.contestant.measured_samples;
    let measured = entry.and_then(|entry| measure(&contestant, entry, signal, most, interrupt));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_go_on_as_they_began() {
        assert_eq!(beyond(&[1.0, 3.0, 10.0], true), [30.0, 100.0, 300.0]);
        assert_eq!(beyond(&[1.0, 3.0, 10.0], false), [0.3, 0.1, 0.03]);
        assert_eq!(beyond(&[0.3, 1.0], true), [3.0, 10.0, 30.0]);
        assert_eq!(beyond(&[0.3, 1.0], false), [0.1, 0.03, 0.01]);
        // From beside the ladder onto it.
        assert_eq!(beyond(&[2.0, 5.0], true), [10.0, 30.0, 100.0]);
        assert_eq!(beyond(&[2.0, 5.0], false), [1.0, 0.3, 0.1]);
        assert_eq!(beyond(&[1000.0], true)[0], 3000.0);
        assert_eq!(0.3.to_string(), beyond(&[1.0], false)[0].to_string());
    }
}
