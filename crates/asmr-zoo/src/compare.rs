//! Methods on one picture at equal parameters, equal executed multiply-adds or equal time: a row for each.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::metadata::Media;
use asmr::signal::{Signal, SignalError, SignalInfo};
use asmr_media::{AudioComparison, iou, psnr_db, ssim};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::budget::Budget;
use crate::contestant::{Contestant, ContestantError, Entry, METHODS, Procedure, Settings, Trial};
use crate::field::{FieldCost, FieldError, Shape};
use crate::fit::Stop;
use crate::machine;
use crate::timing::median;

/// Threads that decodes are timed on.
pub const THREADS: [usize; 2] = [1, 2];
/// The most decodes that are timed on so many threads, ...
const MAX_DECODES: usize = 15;
/// ... and after how many seconds no more are begun.
const DECODE_S: f64 = 0.4;
/// Decodes of each contestant at least, where they are timed in turns, ...
const LEAST_TURNS: usize = 3;
/// ... and after how many seconds no more turns begin.
const TURNS_S: f64 = 10.0;

/// What to compare, and on what terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Names among [`METHODS`], each once.
    pub methods: Vec<String>,
    /// What all have equally much of.
    pub budget: Budget,
    /// How long each is fitted; a budget of time says so itself.
    pub length: Stop,
    /// Seed of weights and batches.
    pub seed: u64,
}

impl Options {
    /// When each fit ends.
    #[must_use]
    pub fn stop(&self) -> Stop {
        if let Budget::Time(time) = self.budget { Stop::Time(time) } else { self.length }
    }
}

/// Why there is no comparison at all.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CompareError {
    /// A method nobody knows.
    #[error("'{0}' is not a method; known are {known}", known = METHODS.join(", "))]
    Unknown(String),
    /// A method that is named twice.
    #[error("'{0}' is named twice; name each method once")]
    Repeated(String),
    /// No method.
    #[error("no method is named; known are {known}", known = METHODS.join(", "))]
    NoMethod,
    /// No picture.
    #[error(
        "the signal has {n_axes} axes and {channels} channels; for now pictures of 1 to 4 channels can be compared, and nothing else"
    )]
    NoPicture {
        /// Its axes.
        n_axes: usize,
        /// Its channels.
        channels: usize,
    },
    /// A picture that is too large.
    #[error("the picture cannot be compared: {0}")]
    Picture(FieldError),
    /// No method is within the budget.
    #[error("no method is within the budget: {}; raise it", sentences(.0))]
    NoneFits(Vec<Refusal>),
    /// It was told to stop.
    #[error("interrupted")]
    Interrupted,
    /// Decodes cannot be timed.
    #[error("{0}")]
    Timing(String),
}

fn sentences(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| refusal.reason.clone()).collect::<Vec<_>>().join("; ")
}

/// A method that has no row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Refusal {
    /// Its name.
    pub method: String,
    /// Why.
    pub reason: String,
}

/// A method's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub method: &'static str,
    /// Of the decoded samples, rounded as in a file; none: they are exact.
    pub psnr_db: Option<f64>,
    /// Likewise; none where a picture is too small for it.
    pub ssim: Option<f64>,
    /// Likewise, of sound: signal-to-noise ratio in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<f64>,
    /// Likewise, of shapes: samples inside both over samples inside either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iou: Option<f64>,
    /// Samples that all of these, and the speed, are of.
    pub measured_samples: usize,
    /// Linear layers, the output layer included; 0 for a grid.
    pub layers: usize,
    /// Bytes of a file with weights as 32-bit floats.
    pub bytes: u64,
    /// Parameters, multiply-adds, sines and table reads.
    #[serde(flatten)]
    pub cost: FieldCost,
    /// Seconds of the fit, the search of its rate included unless that was free.
    pub fit_s: f64,
    /// Seconds of that search.
    pub search_s: f64,
    /// Steps of the fit, that search not included.
    pub steps: u32,
    /// Million samples a second that are decoded on one thread, and on two.
    #[serde(serialize_with = "by_threads")]
    pub decode_msamples_s: [f64; 2],
    /// Learning rate at its highest.
    pub rate: f64,
    /// Whether a lower and a higher rate were tried and were worse; none: no rate was tried.
    pub rate_is_inside: Option<bool>,
    /// Samples of a batch.
    pub batch: usize,
    /// All settings of the method.
    pub settings: Settings,
    /// All settings of its fit.
    pub procedure: Procedure,
    /// Rates and batches that were tried before.
    pub trials: Vec<Trial>,
    /// The weights, as [`Contestant::decoder`] takes them.
    #[serde(skip)]
    pub params: Vec<f32>,
    /// The decoded picture.
    #[serde(skip)]
    pub decoded: Signal,
}

fn by_threads<S: Serializer>(speeds: &[f64; 2], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(THREADS.iter().zip(speeds))
}

/// All rows, and what they are rows of.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The picture's grid.
    #[serde(flatten)]
    pub shape: Shape,
    /// What all have equally much of.
    pub budget: Budget,
    /// How long each was fitted.
    #[serde(serialize_with = "length_text")]
    pub length: Stop,
    /// Seed of weights and batches.
    pub seed: u64,
    /// What it ran on.
    pub machine: String,
    /// Threads of the fits.
    pub fit_threads: usize,
    /// A row for each method, in the order asked for.
    pub rows: Vec<Row>,
    /// Methods without a row.
    pub refused: Vec<Refusal>,
}

fn length_text<S: Serializer>(stop: &Stop, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&length(*stop))
}

/// `20 steps` or `30 s`.
#[must_use]
pub fn length(stop: Stop) -> String {
    match stop {
        Stop::Steps(steps) => format!("{steps} steps"),
        Stop::Time(time) => format!("{} s", time.as_secs_f64()),
    }
}

/// What happens during a comparison.
pub enum Event<'a> {
    /// A fit begins.
    Begun {
        /// The method.
        method: &'static str,
        /// Methods before it, and in all.
        place: (usize, usize),
        /// Its weights.
        n_params: usize,
    },
    /// This share of it is done.
    Progress(f64),
    /// A method is done.
    Done(&'a Row),
    /// A method has no row.
    Refused(&'a Refusal),
}

/// Refuses lists of methods with unknown names, repetitions or nothing.
///
/// # Errors
/// [`CompareError`].
pub fn check_methods(methods: &[String]) -> Result<(), CompareError> {
    if methods.is_empty() {
        return Err(CompareError::NoMethod);
    }
    for (i, method) in methods.iter().enumerate() {
        if !METHODS.contains(&method.as_str()) {
            return Err(CompareError::Unknown(method.clone()));
        }
        if methods[..i].contains(method) {
            return Err(CompareError::Repeated(method.clone()));
        }
    }
    Ok(())
}

/// The methods with their settings, and those that are not within the budget.
///
/// # Errors
/// [`CompareError`] for a signal that is no picture, wrong names, and when no method is within the budget.
pub fn contestants(
    info: &SignalInfo,
    options: &Options,
) -> Result<(Vec<Contestant>, Vec<Refusal>), CompareError> {
    check_methods(&options.methods)?;
    let shape = Shape::of(info);
    if shape.n_axes() != 2 || !(1..=4).contains(&shape.channels) {
        return Err(CompareError::NoPicture { n_axes: shape.n_axes(), channels: shape.channels });
    }
    shape.validate(2).map_err(CompareError::Picture)?;
    let (mut contestants, mut refused) = (Vec::new(), Vec::new());
    for method in &options.methods {
        match Contestant::within(method, &shape, options.budget) {
            None => return Err(CompareError::Unknown(method.clone())),
            Some(Ok(contestant)) => contestants.push(contestant),
            Some(Err(error)) => {
                refused.push(Refusal { method: method.clone(), reason: error.to_string() });
            }
        }
    }
    if contestants.is_empty() {
        return Err(CompareError::NoneFits(refused));
    }
    Ok((contestants, refused))
}

/// Fits and measures every method, one after the other. Fits use the threads of the current pool.
///
/// # Errors
/// As [`contestants`]; [`CompareError::Interrupted`] soon after `interrupt` is set; [`CompareError::Timing`] when there
/// can be no two threads. A method whose fit fails is among the refused.
pub fn compare(
    signal: &Signal,
    options: &Options,
    interrupt: &AtomicBool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Comparison, CompareError> {
    let (contestants, mut refused) = contestants(signal.info(), options)?;
    for refusal in &refused {
        on_event(Event::Refused(refusal));
    }
    let n = contestants.len();
    let mut rows = Vec::with_capacity(n);
    for (i, contestant) in contestants.iter().enumerate() {
        let (method, n_params) = (contestant.name(), contestant.cost().n_params);
        on_event(Event::Begun { method, place: (i, n), n_params });
        let entry = contestant.fit(signal, options.stop(), options.seed, interrupt, &mut |share| {
            on_event(Event::Progress(share));
        });
        match entry.and_then(|entry| measure(contestant, entry, signal, None, interrupt)) {
            Ok(row) => {
                on_event(Event::Done(&row));
                rows.push(row);
            }
            Err(ContestantError::Interrupted) => return Err(CompareError::Interrupted),
            Err(error) => {
                let refusal = Refusal { method: method.to_owned(), reason: format!("{method}: {error}") };
                on_event(Event::Refused(&refusal));
                refused.push(refusal);
            }
        }
    }
    Ok(Comparison {
        shape: Shape::of(signal.info()),
        budget: options.budget,
        length: options.stop(),
        seed: options.seed,
        machine: machine::describe(),
        fit_threads: rayon::current_num_threads(),
        rows,
        refused,
    })
}

/// A fitted method's row; of a signal with more than `most_samples` from that many at most, evenly among all.
pub(crate) fn measure(
    contestant: &Contestant,
    entry: Entry,
    signal: &Signal,
    most_samples: Option<usize>,
    interrupt: &AtomicBool,
) -> Result<Row, ContestantError> {
    let failed = |error: &dyn std::fmt::Display| ContestantError::Asmr(error.to_string());
    let settled = contestant.settled(&entry)?;
    let contestant = settled.as_ref().unwrap_or(contestant);
    let stride = stride(&signal.info().extents, most_samples);
    let part = (stride > 1).then(|| strided(signal, stride)).transpose().map_err(|e| failed(&e))?;
    let (signal, decode) = match &part {
        None => (signal, contestant.decoder(&entry.params)?),
        Some((part, samples)) => (part, contestant.decoder_at(&entry.params, samples.clone())?),
    };
    let info = signal.info();
    let n_samples = Shape::of(info).n_samples();
    // Written once, so that no decode is timed with the system's handing out of memory.
    let mut values = vec![f32::NAN; n_samples * info.channels];
    let mut decode_msamples_s = [0.0; THREADS.len()];
    for (speed, n_threads) in decode_msamples_s.iter_mut().zip(THREADS) {
        let pool = machine::pool(n_threads).map_err(|error| failed(&error))?;
        let mut seconds = Vec::new();
        let begun = Instant::now();
        while seconds.is_empty()
            || seconds.len() < MAX_DECODES && begun.elapsed() < Duration::from_secs_f64(DECODE_S)
        {
            if interrupt.load(Ordering::Relaxed) {
                return Err(ContestantError::Interrupted);
            }
            let start = Instant::now();
            pool.install(|| decode(&mut values));
            seconds.push(start.elapsed().as_secs_f64());
        }
        *speed = n_samples as f64 / median(&seconds) / 1e6;
    }
    let decoded = Signal::new(info.clone(), info.restored(&values)).map_err(|error| failed(&error))?;
    let bytes = contestant.n_bytes(info, &entry.params)?;
    let psnr_db = psnr_db(&decoded, signal).map_err(|error| failed(&error))?;
    let snr_db = matches!(info.media, Media::Audio(_)).then(|| {
        let mut comparison = AudioComparison::new(info);
        comparison.push(signal.samples(), decoded.samples());
        comparison.finish().snr_db
    });
    let iou = matches!(info.media, Media::Shape(_)).then(|| iou(signal, &decoded)).transpose();
    // Between neighbours of a part there is no structure.
    let ssim = if stride > 1 { None } else { ssim(&decoded, signal).map_err(|error| failed(&error))? };
    drop(decode);
    Ok(Row {
        method: contestant.name(),
        psnr_db,
        ssim,
        snr_db: snr_db.flatten(),
        iou: iou.map_err(|error| failed(&error))?.flatten(),
        measured_samples: n_samples,
        layers: contestant.n_layers(),
        bytes,
        cost: contestant.cost(),
        fit_s: entry.elapsed_s,
        search_s: entry.search_s,
        steps: entry.steps,
        decode_msamples_s,
        rate: entry.rate,
        rate_is_inside: entry.rate_is_inside,
        batch: entry.batch,
        settings: contestant.settings(),
        procedure: entry.procedure,
        trials: entry.trials,
        params: entry.params,
        decoded,
    })
}

/// Million samples a second that each contestant decodes, on one thread and on two, in turns: the clock of a shared machine swings by
/// half within minutes, and what is held beside each other is to run within the same seconds. Each comes with the most samples that it is
/// measured on. Weights are as they are drawn, for no decode takes longer with others; a contestant whose fit decides what it costs has
/// no figure.
///
/// # Errors
/// When a contestant cannot decode, or soon after `interrupt` is set.
pub(crate) fn speeds_in_turns(
    contestants: &[(Contestant, Option<usize>)],
    signal: &Signal,
    interrupt: &AtomicBool,
) -> Result<Vec<Option<[f64; THREADS.len()]>>, ContestantError> {
    let failed = |error: &dyn std::fmt::Display| ContestantError::Asmr(error.to_string());
    let (n_samples, channels) = (Shape::of(signal.info()).n_samples(), signal.info().channels);
    let drawn: Vec<Option<Vec<f32>>> =
        contestants.iter().map(|(contestant, _)| contestant.drawn(0)).collect();
    let mut timed = Vec::new();
    for (i, ((contestant, most), params)) in contestants.iter().zip(&drawn).enumerate() {
        let Some(params) = params else { continue };
        let stride = stride(&signal.info().extents, *most);
        timed.push(if stride > 1 {
            let (_, samples) = strided(signal, stride).map_err(|error| failed(&error))?;
            (i, samples.len(), contestant.decoder_at(params, samples)?)
        } else {
            (i, n_samples, contestant.decoder(params)?)
        });
    }
    let mut values = vec![f32::NAN; n_samples * channels];
    let mut speeds = vec![None; contestants.len()];
    for (place, n_threads) in THREADS.into_iter().enumerate() {
        let pool = machine::pool(n_threads).map_err(|error| failed(&error))?;
        let mut seconds = vec![Vec::new(); timed.len()];
        let (begun, mut n_turns) = (Instant::now(), 0);
        while n_turns < LEAST_TURNS || n_turns < MAX_DECODES && begun.elapsed().as_secs_f64() < TURNS_S {
            for ((_, n, decode), seconds) in timed.iter().zip(&mut seconds) {
                if interrupt.load(Ordering::Relaxed) {
                    return Err(ContestantError::Interrupted);
                }
                let start = Instant::now();
                pool.install(|| decode(&mut values[..n * channels]));
                seconds.push(start.elapsed().as_secs_f64());
            }
            n_turns += 1;
        }
        for ((i, n, _), seconds) in timed.iter().zip(&seconds) {
            speeds[*i].get_or_insert([0.0; THREADS.len()])[place] = *n as f64 / median(seconds) / 1e6;
        }
    }
    Ok(speeds)
}

/// Of every so manyeth sample along each axis there are no more than `most`.
fn stride(extents: &[usize], most: Option<usize>) -> usize {
    let n = |stride: usize| extents.iter().map(|extent| extent.div_ceil(stride)).product::<usize>();
    let longest = extents.iter().copied().max().unwrap_or(1);
    (1..=longest).find(|&stride| most.is_none_or(|most| n(stride) <= most)).unwrap_or(longest)
}

/// Every `stride`-th sample along each axis, from the middle of the first stretch on, and their numbers.
fn strided(signal: &Signal, stride: usize) -> Result<(Signal, Vec<u32>), SignalError> {
    let (info, shape) = (signal.info(), Shape::of(signal.info()));
    let along = |extent: usize| (extent.min(stride) / 2..extent).step_by(stride);
    let mut samples = vec![0];
    for &extent in &shape.extents {
        samples = samples.iter().flat_map(|&n| along(extent).map(move |i| n * extent + i)).collect();
    }
    let mut values = vec![0.0; samples.len() * shape.channels];
    for (sample, values) in samples.iter().zip(values.chunks_exact_mut(shape.channels)) {
        info.scaled(signal.samples(), sample * shape.channels, values);
    }
    let extents = shape.extents.iter().map(|&extent| along(extent).count()).collect();
    let info = SignalInfo { extents, ..info.clone() };
    let values = info.restored(&values);
    Ok((Signal::new(info, values)?, samples.into_iter().map(|sample| sample as u32).collect()))
}

/// Heads of the table's columns.
pub const COLUMNS: [&str; 15] = [
    "method",
    "psnr_db",
    "ssim",
    "params",
    "bytes",
    "mac_paper",
    "mac_exec",
    "sines",
    "table_reads",
    "fit_s",
    "steps",
    "Ms/s_1",
    "Ms/s_2",
    "rate",
    "batch",
];

impl Row {
    /// The row's cells, one for each of [`COLUMNS`].
    #[must_use]
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        let [one, two] = self.decode_msamples_s;
        [
            self.method.to_owned(),
            self.psnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.2}")),
            self.ssim.map_or_else(|| "-".to_owned(), |ssim| format!("{ssim:.4}")),
            self.cost.n_params.to_string(),
            self.bytes.to_string(),
            format!("{:.1}", self.cost.mac_paper),
            format!("{:.1}", self.cost.mac_exec),
            format!("{:.1}", self.cost.sin_exec),
            format!("{}", self.cost.table_reads),
            format!("{:.2}", self.fit_s),
            self.steps.to_string(),
            format!("{one:.3}"),
            format!("{two:.3}"),
            // Of three figures, in as few signs.
            format!("{:e}", format!("{:.2e}", self.rate).parse().unwrap_or(self.rate)),
            self.batch.to_string(),
        ]
    }
}

impl Comparison {
    /// The table as text, its columns aligned, and a line for each method without a row.
    #[must_use]
    pub fn table(&self) -> String {
        let cells: Vec<[String; COLUMNS.len()]> =
            std::iter::once(COLUMNS.map(str::to_owned)).chain(self.rows.iter().map(Row::cells)).collect();
        let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        let mut text = String::new();
        for row in &cells {
            let mut line = format!("{:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(line, "  {cell:>width$}");
            }
            text += &(line + "\n");
        }
        for refusal in &self.refused {
            let _ = writeln!(text, "{}: no row: {}", refusal.method, refusal.reason);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use asmr::signal::{SampleType, Samples};

    use super::*;

    #[test]
    fn a_part_is_spread_over_the_whole() {
        assert_eq!(stride(&[8192, 8192], None), 1);
        assert_eq!(stride(&[8192, 8192], Some(1 << 20)), 8);
        assert_eq!(stride(&[7, 5], Some(35)), 1);
        // 4 × 3.
        assert_eq!(stride(&[7, 5], Some(34)), 2);
        assert_eq!(stride(&[7, 5], Some(0)), 7);

        let info = SignalInfo::plain(vec![7, 5], 2, SampleType::U8, None);
        let signal = Signal::new(info, Samples::U8((0..70).collect())).expect("a signal");
        let (part, samples) = strided(&signal, 3).expect("a part");
        // Rows 1 and 4, columns 1 and 4.
        assert_eq!(samples, [6, 9, 21, 24]);
        assert_eq!(part.info().extents, [2, 2]);
        assert_eq!(part.samples(), &Samples::U8(vec![12, 13, 18, 19, 42, 43, 48, 49]));
        let (part, samples) = strided(&signal, 7).expect("a part");
        assert_eq!(
            (part.info().extents.as_slice(), samples.as_slice()),
            ([1, 1].as_slice(), [17].as_slice())
        );
    }
}
