//! All fits of a file: one, or one for each chunk, or a search; what is kept of them, and what is made of them.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;
use std::time::{Duration, Instant};

use asmr::coding::{QuantisedWeights, TensorSteps};
use asmr::file::{AsmrFile, AsmrReader, AsmrWriter, Encoding, FileHeader, FitRecord, write_progressive};
use asmr::network::{Network, NetworkConfig};
use asmr::signal::{Samples, Signal, Source};
use asmr_media::{SliceReader, hold, reopen_signal};
use asmr_train::checkpoint::Fingerprint;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, Ending, Fit, FitError, Fitted};
use asmr_train::measure::decoded_psnr_db;
use asmr_train::quantise::{self, Quantised, quantise, quantise_to_size};

use crate::args::{Common, EncodeArgs};
use crate::choices::{Room, choose_network, fit_config, other_bases};
use crate::corrections;
use crate::error::{Failure, say};
use crate::files;
use crate::interrupt;
use crate::partfile::{Order, PartFile};
use crate::progress::{Progress, showing};
use crate::report::{describe, duration, thousands};
use crate::resume::{self, Kept};
use crate::target::{self, Search};
use crate::values::MAX_TIME;

/// Factors on the steps of a fit where no width has the wanted quality.
const MORE_STEPS: [u32; 3] = [2, 4, 8];
/// ... and on those of the preset `fast` where its search would go far wider: about what the default has.
const LONGER: u32 = 4;

/// What rounding the weights costs unless something else is asked for, in dB: photographs take about a quarter of the floats'
/// bytes (results/).
const DEFAULT_LOSS_DB: f64 = 0.25;
/// ... in progressive order, whose first pass has coarser steps by far, and where corrections make up for every loss.
const FINE_LOSS_DB: f64 = 0.1;

/// What is shown while weights are rounded ...
const ROUNDING: &str = "rounding the weights";
/// ... while corrections are made ...
const CORRECTING: &str = "coding the corrections";
/// ... and while chunks are put into progressive order.
const ORDERING: &str = "making the passes";

/// Stored values of a signal that a fit holds in memory; a larger one is read from a temporary file.
const HELD_BYTES: u64 = 256 << 20;

/// All fits of a file.
pub(crate) struct Job<'a> {
    args: &'a EncodeArgs,
    common: &'a Common,
    /// Of the network that is kept.
    pub(crate) config: FitConfig,
    header: FileHeader,
    /// For each chunk.
    time: Option<Duration>,
    /// The most bytes of the file.
    size: Option<u64>,
    /// Whether the width is searched that reaches the PSNR.
    is_searched: bool,
    output: &'a Path,
    /// Whether the state was kept on the disk, by this run or by the one that it goes on from.
    pub(crate) kept: Cell<bool>,
    /// When it was, or was tried to be, or this run began.
    kept_at: Cell<Instant>,
    /// Whether it was said that it could not be.
    unkept: Cell<bool>,
    /// Samples that this run's fits visited, and the seconds they took.
    visited: Cell<(u64, f64)>,
}

/// How the fits went, all chunks together.
pub(crate) struct Done {
    pub(crate) steps: u32,
    /// Median of the chunks' medians.
    pub(crate) step_ms: f64,
    pub(crate) elapsed_s: f64,
    pub(crate) ending: Ending,
    pub(crate) recoveries: u32,
}

impl<'a> Job<'a> {
    /// Of a file of at most `size` bytes; each chunk's fit ends after `time`.
    ///
    /// # Errors
    /// Fails where a search is to be gone on with.
    pub(crate) fn new(
        args: &'a EncodeArgs,
        common: &'a Common,
        config: FitConfig,
        header: FileHeader,
        time: Option<Duration>,
        size: Option<u64>,
        output: &'a Path,
    ) -> Result<Self, Failure> {
        let is_searched = target::searches_width(args, &header);
        if is_searched && args.resume {
            return Err(Failure::usage(
                "--resume goes on with one fit, and --psnr alone makes several, of networks of different widths; give the --width that is to be gone on with, or leave --resume out",
            ));
        }
        Ok(Self {
            args,
            common,
            config,
            header,
            time,
            size,
            is_searched,
            output,
            kept: Cell::new(false),
            kept_at: Cell::new(Instant::now()),
            unkept: Cell::new(false),
            visited: Cell::new((0, 0.0)),
        })
    }

    /// Samples visited per second of this run, in millions.
    pub(crate) fn msamples_per_s(&self) -> f64 {
        let (n_visited, seconds) = self.visited.get();
        n_visited as f64 / seconds / 1e6
    }

    /// Fits and writes the file; nothing if it was interrupted before there was something to write.
    pub(crate) fn run(&mut self, reader: &mut dyn SliceReader) -> Result<Option<Done>, Failure> {
        let kept = if self.args.resume { resume::read(self.output)? } else { None };
        if self.args.resume && kept.is_none() {
            say(&format!(
                "note: there is nothing to go on from ({} does not exist): the fit begins at its beginning",
                resume::resume_path(self.output).display()
            ));
        }
        let done = if self.header.n_chunks() == 1 {
            self.single(reader, kept)?
        } else {
            self.sequence(reader, kept)?
        };
        // Stopped by hand, it may be gone on with.
        if done.as_ref().is_some_and(|done| done.ending != Ending::Stopped) {
            resume::remove(self.output);
        }
        Ok(done)
    }

    /// One network for everything.
    fn single(&mut self, reader: &mut dyn SliceReader, kept: Option<Kept>) -> Result<Option<Done>, Failure> {
        if let Some(n_done) = kept.as_ref().map(|kept| kept.chunks.len()).filter(|&n_done| n_done > 0) {
            return Err(Failure::usage(format!(
                "{} is the state of a fit in chunks, of which {n_done} are done; give the --chunk that it began with, or remove the file to begin again",
                resume::resume_path(self.output).display()
            )));
        }
        // Beside the output there is room for it, or none for the output either.
        let source = hold(reader, HELD_BYTES, None)?;
        let checkpoint = kept.and_then(|kept| kept.checkpoint);
        let (mut fitted, psnr_db) = if self.is_searched {
            self.search(&source)?
        } else {
            (self.fit(&source, &self.header.chunk_config(0), "", checkpoint, None)?, None)
        };
        if fitted.ending == Ending::Stopped && fitted.steps == 0 {
            return Ok(None);
        }
        if self.args.time.is_some() && self.args.steps.is_none() {
            // The record tells what to ask for to get such a network again; a time would not.
            self.config.set_length(&self.header.network, fitted.steps);
            self.header.fit = record(&self.config, self.size, self.output, true)?;
        }
        // What is above the target may be lost by rounding.
        let spare = psnr_db.zip(self.args.psnr).map(|(psnr_db, target)| psnr_db - target);
        let room = self.room(0, 0)?;
        let spare = spare.filter(|&db| db > 0.0);
        let quiet = self.common.quiet;
        let steps = showing(ROUNDING, quiet, || self.quantise(&mut fitted, &source, spare, room))?;
        let done = Done::of(std::slice::from_ref(&fitted));
        if self.header.max_error.is_some() || self.args.progressive {
            let mut corrections = None;
            if self.header.max_error.is_some() {
                let (input, signal) = (&self.args.input, &self.header.signal);
                let mut original = reopen_signal(input, signal, &files::media_limits(self.common))?;
                corrections = showing(CORRECTING, quiet, || {
                    self.corrections(0, &fitted.network, |n_slices| Ok(original.reader.read(n_slices)?))
                })?;
            }
            let bytes = self.bytes(&fitted.network, steps.as_deref(), corrections.as_deref())?;
            files::write_bytes(self.output, &bytes)?;
            return Ok(Some(done));
        }
        let file = AsmrFile {
            signal: self.header.signal.clone(),
            network: fitted.network,
            steps,
            fit: self.header.fit.clone(),
        };
        let (bytes, _) = files::checked_bytes(&file, self.output, self.common)?;
        files::write_bytes(self.output, &bytes)?;
        Ok(Some(done))
    }

    /// A network for each chunk.
    fn sequence(
        &mut self,
        reader: &mut dyn SliceReader,
        kept: Option<Kept>,
    ) -> Result<Option<Done>, Failure> {
        let n_chunks = self.header.n_chunks();
        let (mut part, mut checkpoint) = match kept {
            Some(Kept { chunks, checkpoint, .. }) => {
                (PartFile::resume(self.output, &self.unordered(), &chunks)?, checkpoint)
            }
            None => (PartFile::create(self.output, &self.unordered())?, None),
        };
        let before = part.done();
        let mut all: Vec<Fitted> = Vec::new();
        for chunk in 0..n_chunks {
            let range = self.header.chunk_range(chunk);
            let samples = reader.read((range.end - range.start) as usize)?;
            let signal = Signal::new(self.header.chunk_signal(chunk), samples)
                .map_err(|error| Failure::usage(format!("{}: {error}", self.args.input.display())))?;
            let print = Fingerprint::of(&signal).values;
            if let Some(done) = before.get(chunk) {
                if done.signal != print {
                    return Err(Failure::usage(format!(
                        "{} is the state of a fit of another signal than {}; give the one that it began with, or remove the file to begin again",
                        resume::resume_path(self.output).display(),
                        self.args.input.display()
                    )));
                }
                self.kept.set(true);
                continue;
            }
            let network = self.header.chunk_config(chunk);
            let label = format!("chunk {} of {n_chunks}: ", chunk + 1);
            let used = part.done().iter().map(|chunk| chunk.written.n_bytes).sum();
            let mut fitted = self.fit(&signal, &network, &label, checkpoint.take(), Some(&mut part))?;
            let stopped = fitted.ending == Ending::Stopped;
            if !(stopped && fitted.steps == 0) {
                let (quiet, room) = (self.common.quiet, self.room(chunk, used)?);
                let steps = showing(ROUNDING, quiet, || self.quantise(&mut fitted, &signal, None, room))?;
                let (samples, slice) = (signal.samples(), signal.info().slice_values());
                let mut at = 0;
                let corrections = showing(CORRECTING, quiet, || {
                    self.corrections(chunk, &fitted.network, |n_slices| {
                        let start = at;
                        at += n_slices * slice;
                        Ok(samples.slice(start..at))
                    })
                })?;
                part.push(&fitted.network, steps.as_deref(), corrections.as_deref(), print)?;
                all.push(fitted);
            }
            // Chunks may be short, and many.
            if !stopped && self.until_kept().is_zero() {
                self.keep(Some(&mut part), None);
            }
            if stopped {
                let n_done = part.done().len();
                if n_done == 0 {
                    return Ok(None);
                }
                let covered = self.header.chunk_range(n_done - 1).end as usize;
                self.header.signal.extents[0] = covered;
                self.ordered(|order| part.finish_early(covered, order))?;
                return Ok(Some(Done { ending: Ending::Stopped, ..Done::of(&all) }));
            }
        }
        self.ordered(|order| part.finish(order))?;
        Ok(Some(Done::of(&all)))
    }

    /// Finishes a file that was written chunk by chunk, in progressive order if it is to be.
    fn ordered(&self, finish: impl FnOnce(Option<Order<'_>>) -> Result<(), Failure>) -> Result<(), Failure> {
        if !self.args.progressive {
            return finish(None);
        }
        let (refinements, limits) = (&self.header.refinements, files::limits(self.common));
        let mut passes = self.passes();
        showing(ORDERING, self.common.quiet, || {
            finish(Some(Order { refinements, passes: &mut passes, limits }))
        })
    }

    /// What makes the passes of a chunk's weights.
    fn passes(&self) -> impl FnMut(&Network, &QuantisedWeights) -> Option<Vec<QuantisedWeights>> {
        let Self { config: FitConfig { batch, seed, .. }, header, .. } = self;
        move |network, weights| {
            let info = header.signal.slices(network.config().partition.extents()[0]);
            quantise::passes(network, weights, &info, &header.refinements, *batch, *seed)
        }
    }

    /// The corrections of a chunk, if errors are bounded.
    fn corrections(
        &self,
        chunk: usize,
        network: &Network,
        original: impl FnMut(usize) -> Result<Samples, Failure>,
    ) -> Result<Option<Vec<Vec<u8>>>, Failure> {
        let Some(max_error) = self.header.max_error else { return Ok(None) };
        corrections::make(network, &self.header.chunk_signal(chunk), max_error, original).map(Some)
    }

    /// What is written chunk by chunk: progressive order is made of it at the end.
    fn unordered(&self) -> FileHeader {
        FileHeader { refinements: Vec::new(), ..self.header.clone() }
    }

    /// A file with one network and corrections, or in progressive order.
    fn bytes(
        &self,
        network: &Network,
        steps: Option<&[TensorSteps]>,
        corrections: Option<&[Vec<u8>]>,
    ) -> Result<Vec<u8>, Failure> {
        let write = || {
            let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), self.unordered())?;
            writer.push_corrected(network, steps, corrections)?;
            let file = writer.finish()?.0;
            if !self.args.progressive {
                return Ok(file.into_inner());
            }
            let mut reader = AsmrReader::open(file, &files::limits(self.common))?;
            let passes = &mut self.passes();
            let into = Cursor::new(Vec::new());
            let ordered = write_progressive(&mut reader, &self.header.refinements, passes, into)?;
            Ok(ordered.0.into_inner())
        };
        write().map_err(|error| files::unmakeable(self.output, &error))
    }

    /// Bytes for the code of a chunk's weights when those before it take `used`.
    fn room(&self, chunk: usize, used: u64) -> Result<Option<u64>, Failure> {
        let Some(size) = self.size else { return Ok(None) };
        let before = self.header.n_bytes().map_err(|error| files::unmakeable(self.output, &error))?;
        // In progressive order chunks take more than they were written with so far: each has its share.
        let (used, chunk) = if self.args.progressive { (0, 0) } else { (used, chunk) };
        Ok(Some(size.saturating_sub(before + used) / (self.header.n_chunks() - chunk) as u64))
    }

    /// Rounds a fitted network's weights, if they are to be coded, and gives the steps: to `room` bytes, or so that the loss is
    /// what was asked for, or `spare` dB.
    fn quantise(
        &self,
        fitted: &mut Fitted,
        source: &dyn Source,
        spare: Option<f64>,
        room: Option<u64>,
    ) -> Result<Option<Vec<TensorSteps>>, Failure> {
        let Some(mut loss_db) = self.loss_db() else { return Ok(None) };
        let (batch, seed) = (self.config.batch, self.config.seed);
        let failed = |error: FitError| Failure::usage(error.to_string());
        if let Some(room) = room {
            let rounded =
                quantise_to_size(&fitted.network, source, batch, seed, room, &self.header.refinements)
                    .map_err(failed)?;
            let Quantised { network, steps, .. } = rounded.ok_or_else(|| {
                Failure::failed(format!(
                    "the {} weights of a network of width {} cannot be rounded to {room} bytes; give more --bytes, or less --width",
                    thousands(fitted.network.params().len() as u64),
                    fitted.network.config().width
                ))
            })?;
            fitted.network = network;
            return Ok(Some(steps));
        }
        loss_db = self.args.loss.or(spare).unwrap_or(loss_db);
        loop {
            let rounded = quantise(&fitted.network, source, batch, seed, loss_db).map_err(failed)?;
            let network = rounded.network;
            // The loss is one of slabs where a signal is very large; the target is one of the whole.
            if let Some(target) = self.args.psnr.filter(|_| loss_db > target::LEAST_LOSS_DB) {
                let excess = decoded_psnr_db(&network, source).map_err(failed)? - target;
                let reached = decoded_psnr_db(&fitted.network, source).map_err(failed)? >= target;
                if excess < 0.0 && reached {
                    loss_db = (0.9 * (loss_db + excess)).max(target::LEAST_LOSS_DB);
                    continue;
                }
            }
            if rounded.loss_db > loss_db {
                say(&format!(
                    "note: no rounding of the weights lowers the quality by {loss_db} dB or less; this one costs {:.2} dB (--weights f32 \
                     keeps all of it)",
                    rounded.loss_db
                ));
            }
            fitted.network = network;
            return Ok(Some(rounded.steps));
        }
    }

    /// Fits networks of different widths until one has the wanted PSNR and little more, and then those of other bases if they are
    /// better with as many weights; where none has it, the best again with more steps. Gives the one that is kept, with its PSNR.
    fn search(&mut self, source: &dyn Source) -> Result<(Fitted, Option<f64>), Failure> {
        let target = self.args.psnr.unwrap_or_default();
        let mut search = Search::new(target, &self.header.network);
        let mut best: Option<(Fitted, f64, FitConfig, FileHeader)> = None;
        let (mut n_tries, mut elapsed_s) = (0, 0.0);
        let mut factors = MORE_STEPS.into_iter();
        // A longer fit is one that the preset makes short, and nothing says how long.
        let mut is_short = Preset::from(self.args.preset) == Preset::Fast && self.args.steps.is_none();
        let mut length = 1;
        let (mut levels, mut tries_other) = (None, true);
        loop {
            if interrupt::is_stopping()
                && let Some((fitted, ..)) = &mut best
            {
                fitted.ending = Ending::Stopped;
                break;
            }
            let mut other = None;
            let (network, factor) = match (search.next_width(), &best) {
                (Some(width), _) => {
                    (choose_network(self.args, &self.header.signal, Room::Width(width), levels)?, 1)
                }
                (None, None) => break,
                // More width was no help.
                (None, Some((fitted, psnr_db, ..))) if *psnr_db < target => {
                    let Some(factor) = factors.next().filter(|_| self.args.steps.is_none()) else { break };
                    tries_other = false;
                    (fitted.network.config().clone(), factor)
                }
                // Other bases may need fewer weights.
                (None, Some((fitted, ..))) => {
                    if std::mem::take(&mut tries_other) {
                        other = other_bases(self.args, &self.header.signal, fitted.network.config());
                    }
                    let Some((network, _)) = &other else { break };
                    (network.clone(), 1)
                }
            };
            let width = network.width;
            self.config = fit_config(self.args, &network, 1)?;
            self.config.set_steps(self.config.steps.saturating_mul(length * factor));
            self.header.fit = record(&self.config, self.size, self.output, true)?;
            self.header.network = network.clone();
            n_tries += 1;
            let label = format!("try {n_tries} for {target} dB: ");
            let fitted = self.fit(source, &network, &label, None, None)?;
            elapsed_s += fitted.elapsed_s;
            let psnr_db = decoded_psnr_db(&fitted.network, source)
                .map_err(|error| Failure::usage(error.to_string()))?;
            let is_highest = best.as_ref().is_none_or(|(_, best_db, ..)| psnr_db > *best_db);
            if let Some((_, other_levels)) = other {
                if !is_highest {
                    continue;
                }
                levels = other_levels;
                search = search.anew(width);
            }
            let is_better = match factor {
                1 => search.tried(width, psnr_db) && (psnr_db >= target || is_highest),
                _ => is_highest,
            };
            if is_better || best.is_none() {
                best = Some((fitted, psnr_db, self.config.clone(), self.header.clone()));
            }
            // Twice the width costs as much time as four times the steps, and four times the bytes.
            if is_short && search.goes_far_wider() {
                (is_short, length) = (false, LONGER);
                search = search.anew(width);
            }
        }
        let (mut fitted, psnr_db, config, header) =
            best.ok_or_else(|| Failure::usage("no network fits this signal".to_owned()))?;
        (self.config, self.header) = (config, header);
        fitted.elapsed_s = elapsed_s;
        Ok((fitted, Some(psnr_db)))
    }

    /// What rounding the weights may cost, where they are rounded.
    fn loss_db(&self) -> Option<f64> {
        let is_fine = self.args.progressive || self.header.max_error.is_some();
        let default_db = if is_fine { FINE_LOSS_DB } else { DEFAULT_LOSS_DB };
        (self.header.encoding == Encoding::Coded).then(|| self.args.loss.unwrap_or(default_db))
    }

    /// The PSNR at which a fit ends: what is asked for, and what rounding will cost.
    fn fit_target(&self) -> Option<f64> {
        let target = self.args.psnr.filter(|_| !self.is_searched)?;
        Some(target + self.loss_db().unwrap_or(0.0))
    }

    /// How long it is until the state is to be kept again.
    fn until_kept(&self) -> Duration {
        // A search begins anew: there would be nothing to go on with.
        let interval = if self.is_searched { MAX_TIME } else { self.args.checkpoint };
        interval.saturating_sub(self.kept_at.get().elapsed())
    }

    /// Keeps the state. Where that fails, the fit goes on without: its result is worth more.
    fn keep(&self, part: Option<&mut PartFile>, fit: Option<&mut Fit<'_>>) {
        self.kept_at.set(Instant::now());
        match resume::write(self.output, self.header.network.width, part, fit) {
            Ok(()) => self.kept.set(true),
            Err(failure) if !self.unkept.replace(true) => say(&format!(
                "the state of the fit could not be kept, and the fit goes on without: {}",
                failure.sentence()
            )),
            Err(_) => {}
        }
    }

    /// Fits one network, from its beginning or from a checkpoint; keeps the state every minute. `part` has the chunks before it.
    fn fit(
        &self,
        source: &dyn Source,
        network: &NetworkConfig,
        label: &str,
        checkpoint: Option<BufReader<File>>,
        mut part: Option<&mut PartFile>,
    ) -> Result<Fitted, Failure> {
        let (args, config) = (self.args, &self.config);
        let length = match (self.time, args.steps) {
            (Some(time), None) => duration(time.as_secs_f64()),
            (Some(time), Some(steps)) => format!("{steps} steps or {}", duration(time.as_secs_f64())),
            (None, _) => format!("{} steps", config.steps),
        };
        let heading = format!(
            "{label}fitting {} ({}): bases {}, width {}, {length}",
            args.input.display(),
            describe(source.info()),
            network.partition.bases_text(),
            network.width
        );
        let failed = |error: FitError| match error {
            FitError::Diverged(_) => Failure::failed(error.to_string()),
            FitError::Checkpoint(error) => {
                let path = resume::resume_path(self.output);
                Failure::usage(format!("{}: {error} (for which the file is to be removed)", path.display()))
            }
            other => Failure::usage(other.to_string()),
        };
        let mut fit = match checkpoint {
            Some(mut checkpoint) => {
                let fit = Fit::resume(source, network, config, &mut checkpoint).map_err(failed)?;
                self.kept.set(true);
                say(&format!("{label}going on at step {}", fit.steps()));
                fit
            }
            None => Fit::new(source, network, config).map_err(failed)?,
        };
        // From the first fit on there is something to lose, also between two fits and behind the last.
        let stop = Some(interrupt::begin_fitting());
        let mut progress = Progress::start(&heading, self.common.quiet, args.psnr, source.info());
        let control = Control { target_psnr_db: self.fit_target(), time_limit: self.time, stop };
        let ending = loop {
            match fit.run_for(self.until_kept(), &control, &mut |event| progress.event(&event)) {
                Ok(None) => self.keep(part.as_deref_mut(), Some(&mut fit)),
                Ok(Some(ending)) => break Ok(ending),
                Err(error) => break Err(failed(error)),
            }
        };
        let (n_visited, seconds) = self.visited.get();
        let (n, time) = progress.finish();
        self.visited.set((n_visited + n, seconds + time.as_secs_f64()));
        let ending = ending?;
        // Chunks that are done are worth keeping, however short they took.
        let has_chunks = part.as_ref().is_some_and(|part| !part.done().is_empty());
        if ending == Ending::Stopped && (self.kept.get() || has_chunks) {
            self.keep(part, Some(&mut fit));
        }
        fit.finish(ending).map_err(failed)
    }
}

impl Done {
    fn of(fits: &[Fitted]) -> Self {
        let mut step_ms: Vec<f64> = fits.iter().map(|fit| fit.step_ms).collect();
        step_ms.sort_by(f64::total_cmp);
        Self {
            steps: fits.iter().map(|fit| fit.steps).sum(),
            step_ms: step_ms.get(step_ms.len() / 2).copied().unwrap_or(0.0),
            elapsed_s: fits.iter().map(|fit| fit.elapsed_s).sum(),
            ending: if fits.iter().any(|fit| fit.ending == Ending::Diverged) {
                Ending::Diverged
            } else {
                fits.last().map_or(Ending::Finished, |fit| fit.ending)
            },
            recoveries: fits.iter().map(|fit| fit.recoveries).sum(),
        }
    }
}

/// What the file tells about its fit, with its steps if they are known; nothing where a `size` is asked for that it would take much
/// of.
pub(crate) fn record(
    config: &FitConfig,
    size: Option<u64>,
    output: &Path,
    has_steps: bool,
) -> Result<Option<FitRecord>, Failure> {
    if size.is_some_and(|size| size < target::RECORDED_SIZE) {
        return Ok(None);
    }
    let record = if has_steps {
        FitRecord::from_serialize(config)
    } else {
        let mut settings = serde_json::to_value(config).expect("settings are JSON");
        if let Some(settings) = settings.as_object_mut() {
            settings.remove("steps");
        }
        FitRecord::from_serialize(&settings)
    };
    record.map(Some).map_err(|error| files::unmakeable(output, &error))
}
