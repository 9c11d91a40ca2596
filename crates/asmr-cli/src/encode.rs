//! `asmr encode`: a picture in, a network out.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use asmr::cost::Cost;
use asmr::file::{AsmrFile, FitRecord};
use asmr::inference::{Decoder, Request};
use asmr::network::{Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::planner::{DEFAULT_WIDTH, PlanRequest, plan};
use asmr::signal::{Signal, SignalInfo};
use asmr_media::{Limits, PictureFormat, psnr_db, read_image, ssim};
use asmr_train::budget::width_for_time;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, Ending, FitError, Fitted, fit};
use serde::Serialize;

use crate::args::{Bases, Common, EncodeArgs};
use crate::error::{FAILED, Failure, INTERRUPTED, OK, say};
use crate::files;
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{
    CostReport, NetworkReport, SignalReport, decibels, describe, duration, network_lines, print, print_json,
    quote, rate_bpp, similarity, thousands,
};

/// Levels of the published protocol.
const PAPER_LEVELS: usize = 4;
/// Steps of a fit that a time limit ends.
const UNTIL_TIME_IS_UP: u32 = 1_000_000_000;

/// What is told about an encode.
#[derive(Debug, Serialize)]
struct EncodeReport<'a> {
    input: String,
    output: String,
    psnr_db: Option<f64>,
    ssim: Option<f64>,
    bytes: u64,
    rate_bpp: f64,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    #[serde(flatten)]
    network: NetworkReport<'a>,
    #[serde(flatten)]
    cost: CostReport,
    preset: Preset,
    seed: u64,
    steps: u32,
    step_ms: f64,
    elapsed_s: f64,
    ending: &'static str,
    recoveries: u32,
    target_psnr_db: Option<f64>,
    missed_db: Option<f64>,
    fit: &'a FitConfig,
}

/// Runs the verb.
pub(crate) fn run(args: &EncodeArgs, common: &Common) -> Result<u8, Failure> {
    check_options(args)?;
    if files::is_asmr(&args.input) {
        return Err(Failure::usage(format!(
            "{} is an .asmr file already; to get its picture back type: asmr decode {} -o {}",
            args.input.display(),
            quote(&args.input),
            quote(&args.input.with_extension("png"))
        )));
    }
    let signal = read_image(&args.input, &Limits::default())?;
    let output = files::output_path(args.output.as_ref(), &args.input, "asmr")?;
    check_name(&output)?;
    let mut network = choose_network(args, signal.info())?;
    // The trial that finds a width is part of the time, but leaves half of the shortest.
    let trial_start = Instant::now();
    if let Some(time) = args.time
        && leaves_width_open(args)
    {
        network.width = width_for_time(&network, time).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let trial_time = trial_start.elapsed();
    let mut config = fit_config(args, &network)?;
    files::check_output(&output)?;
    check_storable(&signal, &network, &config, &output)?;
    if args.bases.is_some() {
        note_padding(&network);
    }

    let fitted = run_fit(&signal, &network, &config, trial_time, args, common)?;
    let stopped = fitted.ending == Ending::Stopped;
    if stopped && fitted.steps == 0 {
        say("interrupted before the first step was done; nothing was written");
        return Ok(INTERRUPTED);
    }
    if args.time.is_some() && args.steps.is_none() {
        // The record tells what to ask for to get such a network again; a time would not.
        config.steps = fitted.steps.max(1);
    }
    let file = AsmrFile {
        signal: signal.info().clone(),
        network: fitted.network.clone(),
        fit: Some(record(&config, &output)?),
    };
    let (bytes, back) = files::checked_bytes(&file, &output)?;
    files::write_bytes(&output, &bytes)?;

    // From here on: what a reader of that file gets.
    let whole = Request::whole(&back.network.config().partition);
    let decoded = files::decode_signal(&Decoder::new(&back.network), &whole, &back.signal)?;
    let compared = |error| Failure::failed(format!("the result cannot be compared with its input: {error}"));
    let psnr_db = psnr_db(&decoded, &signal).map_err(compared)?;
    let ssim = ssim(&decoded, &signal).map_err(compared)?;
    let missed_db = missed(args.psnr, psnr_db);
    let cost = Cost::of(back.network.config());
    let n_bytes = bytes.len() as u64;
    let report = EncodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        psnr_db,
        ssim,
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, back.network.config()),
        signal: SignalReport::new(&back.signal),
        network: NetworkReport::new(back.network.config()),
        cost: CostReport::new(&cost),
        preset: config.preset,
        seed: config.seed,
        steps: fitted.steps,
        step_ms: fitted.step_ms,
        elapsed_s: fitted.elapsed_s,
        ending: ending_name(fitted.ending),
        recoveries: fitted.recoveries,
        target_psnr_db: args.psnr,
        missed_db,
        fit: &config,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&summary(&report, &back, &cost))?;
    }
    if stopped {
        say(&format!(
            "interrupted after {} steps; the best network so far is in {}",
            fitted.steps,
            output.display()
        ));
        return Ok(INTERRUPTED);
    }
    if let (Some(missed), Some(target), Some(psnr_db)) = (missed_db, args.psnr, psnr_db) {
        say(&format!(
            "the target of {target} dB was missed by {missed:.2} dB: {} has {psnr_db:.2} dB after {} steps; for more, raise --steps, --time, --width or --levels, or take --preset best",
            output.display(),
            fitted.steps
        ));
        return Ok(FAILED);
    }
    Ok(OK)
}

/// Refuses options that contradict each other.
fn check_options(args: &EncodeArgs) -> Result<(), Failure> {
    let Some(Bases(bases)) = &args.bases else { return Ok(()) };
    if args.mac.is_some() {
        return Err(Failure::usage(
            "--mac and --bases contradict each other: --mac chooses bases within a budget; leave one of them out",
        ));
    }
    if let Some(levels) = args.levels
        && bases.iter().any(|list| list.len() != levels)
    {
        let mut counts: Vec<_> = bases.iter().map(|list| list.len().to_string()).collect();
        counts.dedup();
        return Err(Failure::usage(format!(
            "--levels {levels} and --bases contradict each other: the bases have {} levels; leave --levels out",
            counts.join(" and ")
        )));
    }
    Ok(())
}

/// Refuses a name under which a network would be taken for something else.
fn check_name(output: &Path) -> Result<(), Failure> {
    if PictureFormat::from_path(output).is_err()
        && !["npy", "safetensors"].iter().any(|other| files::has_extension(output, other))
    {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "encode writes .asmr files, so {} would be misnamed; type -o {}, and then asmr decode for a picture",
        output.display(),
        quote(&output.with_extension("asmr"))
    )))
}

/// Whether the width is to follow from the time: nothing else says or implies one, and the time is what ends the fit.
fn leaves_width_open(args: &EncodeArgs) -> bool {
    let shape_given = args.width.is_some() || args.bases.is_some() || args.mac.is_some();
    !shape_given && args.steps.is_none() && Preset::from(args.preset) != Preset::Paper
}

/// Bases and width: those given, the planner's for the rest.
fn choose_network(args: &EncodeArgs, info: &SignalInfo) -> Result<NetworkConfig, Failure> {
    let is_paper = Preset::from(args.preset) == Preset::Paper;
    let mut request = PlanRequest {
        levels: args.levels.or(is_paper.then_some(PAPER_LEVELS)),
        width: args.width.or((is_paper && args.mac.is_none()).then_some(DEFAULT_WIDTH)),
        mac_budget: args.mac,
        modulator: args.modulator.into(),
        omega_0: args.omega_0,
        ..PlanRequest::new(&info.extents, info.channels)
    };
    let refuse = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{} ({}): {error}", args.input.display(), describe(info)))
    };
    let Some(Bases(bases)) = &args.bases else {
        let chosen = plan(&request).map_err(|error| refuse(&error))?;
        return Ok(chosen.into_config(&request));
    };
    let partition = Partition::new(&info.extents, bases).map_err(|error| refuse(&error))?;
    // The planner's width for that many levels.
    request.levels = Some(partition.n_levels());
    let width = request.width.or_else(|| plan(&request).ok().map(|plan| plan.width)).unwrap_or(DEFAULT_WIDTH);
    let network = NetworkConfig {
        partition,
        channels: info.channels,
        width,
        omega_0: request.omega_0,
        modulator: request.modulator,
    };
    network.validate().map_err(|error| refuse(&error))?;
    Ok(network)
}

/// The preset's settings with the options' changes.
fn fit_config(args: &EncodeArgs, network: &NetworkConfig) -> Result<FitConfig, Failure> {
    let mut config = FitConfig::preset(args.preset.into(), network);
    config.seed = args.seed.unwrap_or(config.seed);
    if let Some(batch) = args.batch {
        config.set_batch(batch, network);
    }
    config.rate = args.lr.unwrap_or(config.rate);
    config.steps = match (args.steps, args.time) {
        (Some(steps), _) => steps,
        (None, Some(_)) => UNTIL_TIME_IS_UP,
        (None, None) => config.steps,
    };
    config.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(config)
}

fn record(config: &FitConfig, output: &Path) -> Result<FitRecord, Failure> {
    FitRecord::from_serialize(config).map_err(|error| {
        Failure::usage(format!("{} cannot be made: {}", output.display(), files::file_error(&error)))
    })
}

/// Finds out before the fit whether its result can be written and read back.
fn check_storable(
    signal: &Signal,
    network: &NetworkConfig,
    config: &FitConfig,
    output: &Path,
) -> Result<(), Failure> {
    let network =
        Network::init(network.clone(), 0, 1.0).map_err(|error| Failure::usage(error.to_string()))?;
    let file = AsmrFile { signal: signal.info().clone(), network, fit: Some(record(config, output)?) };
    files::checked_bytes(&file, output).map(|_| ())
}

/// Says that bases reach past the picture.
fn note_padding(network: &NetworkConfig) {
    let partition = &network.partition;
    let padded: Vec<_> = (0..partition.n_axes())
        .filter(|&axis| partition.padded_extent(axis) > partition.extents()[axis] as u64)
        .map(|axis| {
            format!("axis {axis} from {} to {}", partition.extents()[axis], partition.padded_extent(axis))
        })
        .collect();
    if !padded.is_empty() {
        say(&format!(
            "note: the bases reach past the signal and pad {}; the padding has no weight in the fit and is cut off on decode",
            padded.join(" and ")
        ));
    }
}

fn run_fit(
    signal: &Signal,
    network: &NetworkConfig,
    config: &FitConfig,
    time_spent: Duration,
    args: &EncodeArgs,
    common: &Common,
) -> Result<Fitted, Failure> {
    let length = match (args.time, args.steps) {
        (Some(time), None) => duration(time.as_secs_f64()),
        (Some(time), Some(steps)) => format!("{steps} steps or {}", duration(time.as_secs_f64())),
        (None, _) => format!("{} steps", config.steps),
    };
    let heading = format!(
        "fitting {} ({}): bases {}, width {}, {length}",
        args.input.display(),
        describe(signal.info()),
        network.partition.bases_text(),
        network.width
    );
    let result = interrupt::while_fitting(|stop| {
        let mut progress = Progress::start(&heading, common.quiet, args.psnr);
        let control = Control {
            target_psnr_db: args.psnr,
            time_limit: args.time.map(|time| time.saturating_sub(time_spent).max(time / 2)),
            stop: Some(stop),
        };
        let result = fit(signal, network, config, &control, &mut |event| progress.event(&event));
        progress.finish();
        result
    });
    result.map_err(|error| match error {
        FitError::Diverged(_) => Failure::failed(error.to_string()),
        other => Failure::usage(other.to_string()),
    })
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
    }
}

fn summary(report: &EncodeReport<'_>, file: &AsmrFile, cost: &Cost) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}: {}", report.output, describe(&file.signal));
    let _ = writeln!(text, "  quality   {}{}", decibels(report.psnr_db), similarity(report.ssim));
    let _ = writeln!(
        text,
        "  file      {} bytes, {:.3} bits per sample",
        thousands(report.bytes),
        report.rate_bpp
    );
    text += &network_lines(file.network.config(), cost);
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
