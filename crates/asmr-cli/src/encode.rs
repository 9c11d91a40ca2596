//! `asmr encode`: a signal in, a network (or one for each chunk of it) out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use asmr::cost::Cost;
use asmr::file::{AsmrFile, FileHeader};
use asmr::inference::Precision;
use asmr::network::Network;
use asmr::planner::{DEFAULT_WIDTH, chunk_extent};
use asmr_media::{FrameRange, Opened, ReadOptions, open_signal, reopen_signal};
use asmr_train::budget::width_for_time;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::Ending;
use serde::Serialize;

use crate::args::{Common, EncodeArgs, PartArgs};
use crate::choices::{
    Room, check_options, choose_network, encoding, fit_config, is_width_open, leaves_width_open,
    note_padding, refinements,
};
use crate::error::{FAILED, Failure, INTERRUPTED, OK, say};
use crate::files;
use crate::interrupt;
use crate::job::{Job, record};
use crate::meta;
use crate::partfile;
use crate::quality::{self, QualityReport, quality_lines};
use crate::report::{
    ChunkReport, CostReport, NetworkReport, SignalReport, chunk_line, describe, duration, network_lines,
    print, print_json, quote, rate_bpp, thousands,
};
use crate::resume;
use crate::target;
use crate::values::{Distances, Extents, FrameBounds};

/// What is told about an encode.
#[derive(Debug, Serialize)]
struct EncodeReport<'a> {
    input: String,
    output: String,
    #[serde(flatten)]
    quality: QualityReport,
    bytes: u64,
    rate_bpp: f64,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    #[serde(flatten)]
    network: NetworkReport<'a>,
    #[serde(flatten)]
    chunks: Option<ChunkReport>,
    #[serde(flatten)]
    cost: CostReport,
    preset: Preset,
    seed: u64,
    steps: u32,
    step_ms: f64,
    elapsed_s: f64,
    /// Samples visited per second of this run.
    fit_msamples_per_s: f64,
    ending: &'static str,
    recoveries: u32,
    target_bytes: Option<u64>,
    target_psnr_db: Option<f64>,
    missed_db: Option<f64>,
    fit: &'a FitConfig,
}

/// Runs the verb.
pub(crate) fn run(args: &EncodeArgs, common: &Common) -> Result<u8, Failure> {
    if let Some(base) = &args.base {
        return meta::encode(args, base, common);
    }
    check_options(args)?;
    if files::is_asmr(&args.input) {
        return Err(Failure::usage(format!(
            "{} is an .asmr file already; to get its signal back type: asmr decode {}",
            args.input.display(),
            quote(&args.input),
        )));
    }
    files::check_rereadable(&args.input)?;
    let Opened { mut reader, notes, .. } = open_signal(&args.input, &read_options(&args.part, common))?;
    for note in notes {
        say(&format!("note: {note}"));
    }
    // An .asmr file of that name the same input made and can make again: settings are tried one after the other.
    let output = files::output_path(args.output.as_ref(), &args.input, "asmr", files::is_asmr)?;
    files::check_name(&output, "asmr")?;
    files::check_rereadable(&output)?;
    let info = reader.info().clone();
    let chunk_extent = args.chunk.unwrap_or_else(|| chunk_extent(&info)).min(info.extents[0]);
    let n_chunks = info.extents[0].div_ceil(chunk_extent) as u32;
    let size = target::size(args, &info);
    let chunk_info = info.slices(chunk_extent);
    let max_error = target::max_error(args, &info)?;
    let room = match (size, max_error) {
        (Some(size), _) => Room::Weights(target::max_params(size, n_chunks)),
        (None, Some(_)) => Room::Weights(target::corrected_params(&chunk_info)),
        (None, None) => Room::Default,
    };
    let mut network = choose_network(args, &chunk_info, room, None)?;
    if size.is_none() && max_error.is_none() && n_chunks > 1 && is_width_open(args) {
        // Chunks share the work of a fit, and a wide network would see too little of its own.
        network.width = network.width.min(DEFAULT_WIDTH);
    }
    // The trial that finds a width is part of the time, but leaves half of the shortest.
    let trial_start = Instant::now();
    let chunk_time = args.time.map(|time| time / n_chunks);
    if let Some(time) = chunk_time
        && leaves_width_open(args)
    {
        // A fit that goes on has its width: a trial might find another today.
        network.width = match args.resume.then(|| resume::width(&output)).flatten() {
            Some(width) => width,
            None => width_for_time(&network, time).map_err(|error| Failure::usage(error.to_string()))?,
        };
    }
    let trial_time = trial_start.elapsed() / n_chunks;
    let config = fit_config(args, &network, n_chunks)?;
    files::check_output(&output)?;
    partfile::check_neighbours(&output)?;
    if !args.resume {
        resume::check_none(&output)?;
    }
    if args.bases.is_some() {
        note_padding(&network);
    }
    let header = FileHeader {
        signal: info.clone(),
        chunk_extent,
        network,
        encoding: encoding(args),
        max_error,
        refinements: refinements(args),
        // A sequence's steps in a given time are known at its end only.
        fit: record(&config, size, &output, n_chunks == 1 || chunk_time.is_none() || args.steps.is_some())?,
    };
    header.validate().map_err(|error| files::unmakeable(&output, &error))?;
    files::limits(common).check(&header).map_err(|error| files::unmakeable(&output, &error))?;
    check_storable(&header, &output, common)?;
    if let Some(size) = size {
        target::check_room(&header, size, &output)?;
    }
    let time = chunk_time.map(|time| time.saturating_sub(trial_time).max(time / 2));
    let mut job = Job::new(args, common, config, header, time, size, &output)?;

    let done = job.run(reader.as_mut());
    interrupt::end_fitting();
    let Some(done) = done? else {
        say("interrupted before the first step was done; nothing was written");
        return Ok(INTERRUPTED);
    };
    drop(reader);

    // From here on: what a reader of that file gets.
    let (quality, back, n_bytes) = measure(args, &output, common)?;
    let missed_db = missed(args.psnr, quality.psnr_db);
    let cost = Cost::of(&back.network);
    let psnr_db = quality.psnr_db;
    let report = EncodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        quality,
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, &back.signal),
        signal: SignalReport::new(&back.signal),
        network: NetworkReport::new(&back.network),
        chunks: ChunkReport::new(&back),
        cost: CostReport::new(&cost),
        preset: job.config.preset,
        seed: job.config.seed,
        steps: done.steps,
        step_ms: done.step_ms,
        elapsed_s: done.elapsed_s,
        fit_msamples_per_s: job.msamples_per_s(),
        ending: ending_name(done.ending),
        recoveries: done.recoveries,
        target_bytes: size,
        target_psnr_db: args.psnr,
        missed_db,
        fit: &job.config,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&summary(&report, &back, &cost))?;
    }
    if done.ending == Ending::Stopped {
        let what = if back.signal.extents[0] < info.extents[0] {
            format!("the first {} of {} slices are", back.signal.extents[0], info.extents[0])
        } else {
            "the best network so far is".to_owned()
        };
        let more = if job.kept.get() { "; --resume goes on from there" } else { "" };
        say(&format!("interrupted after {} steps; {what} in {}{more}", done.steps, output.display()));
        return Ok(INTERRUPTED);
    }
    if interrupt::is_stopping() {
        say(&format!("interrupted when the fit was done; all of it is in {}", output.display()));
        return Ok(INTERRUPTED);
    }
    if done.ending == Ending::Diverged && (args.psnr.is_none() || missed_db.is_some()) {
        say(&format!(
            "the fit diverged again and again, at lower and lower rates; what was best before that is in {}; for more, try a lower --lr or more --width",
            output.display()
        ));
        return Ok(FAILED);
    }
    if let (Some(missed), Some(target), Some(psnr_db)) = (missed_db, args.psnr, psnr_db) {
        say(&format!(
            "the target of {target} dB was missed by {missed:.2} dB: {} has {psnr_db:.2} dB after {} steps; for more, raise --steps, --time, --width or --levels, or take --preset best",
            output.display(),
            done.steps
        ));
        return Ok(FAILED);
    }
    Ok(OK)
}

/// What the options say about the input.
fn read_options(part: &PartArgs, common: &Common) -> ReadOptions {
    ReadOptions {
        start_s: part.start,
        duration_s: part.duration,
        frames: part.frames.map(|FrameBounds(start, end)| FrameRange { start, end, rate: None }),
        shape: part.shape.clone().map(|Extents(shape)| shape),
        dtype: part.dtype,
        big_endian: part.big_endian,
        spacing: part.spacing.clone().map(|Distances(spacing)| spacing),
        array: part.array.clone(),
        resolution: part.resolution,
        field: part.field.map(Into::into),
        limits: files::media_limits(common),
    }
}

/// Reads the file back and compares it with its original.
fn measure(
    args: &EncodeArgs,
    output: &Path,
    common: &Common,
) -> Result<(QualityReport, FileHeader, u64), Failure> {
    let mut back = files::open_asmr(output, common)?;
    let header = back.header().clone();
    let limits = files::media_limits(common);
    let mut original = reopen_signal(&args.input, &header.signal, &limits)?;
    let quality = quality::measure(
        &mut back,
        output,
        original.reader.as_mut(),
        Some((&args.input, limits)),
        Precision::F32,
    )?;
    Ok((quality, header, back.n_bytes()))
}

/// Finds out before the fit whether its result can be written and read back.
fn check_storable(header: &FileHeader, output: &Path, common: &Common) -> Result<(), Failure> {
    let network =
        Network::init(header.network.clone(), 0, 1.0).map_err(|error| Failure::usage(error.to_string()))?;
    let signal = header.signal.slices(header.chunk_extent);
    let file = AsmrFile { signal, network, steps: None, fit: header.fit.clone() };
    files::checked_bytes(&file, output, common).map(|_| ())
}

/// By how much a target was missed; an exact result misses none.
fn missed(target: Option<f64>, psnr_db: Option<f64>) -> Option<f64> {
    Some(target? - psnr_db?).filter(|&missed| missed > 0.0)
}

fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Finished => "finished",
        Ending::TargetReached => "target-reached",
        Ending::TimeUp => "time-up",
        Ending::Stopped => "stopped",
        Ending::Diverged => "diverged",
    }
}

fn summary(report: &EncodeReport<'_>, header: &FileHeader, cost: &Cost) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", report.output, describe(&header.signal));
    text += &quality_lines(&report.quality, &header.signal);
    let _ = writeln!(
        text,
        "  file      {} bytes, {:.3} bits per sample",
        thousands(report.bytes),
        report.rate_bpp
    );
    text += &chunk_line(header);
    text += &network_lines(&header.network, cost);
    let _ = writeln!(
        text,
        "  fit       {} steps in {} ({} a step), preset {}, seed {}",
        report.steps,
        duration(report.elapsed_s),
        duration(report.step_ms / 1e3),
        report.preset.name(),
        report.seed
    );
    text
}
