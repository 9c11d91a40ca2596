//! `asmr meta-train`, and `encode` and `decode` with `--base`: a network that the pictures of a data set share, and the few numbers
//! that each keeps.
//!
//! A base is an `.asmr` file like any other, of what all pictures begin with; how the numbers of another picture are
//! found from there stands in its record of the fit. Those numbers are kept in a NumPy file, a row for each picture.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments of options are the help text, which shows backticks as they are"
)]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use asmr::file::{AsmrFile, FitRecord};
use asmr::inference::{Decoder, Request};
use asmr::network::NetworkConfig;
use asmr::partition::Partition;
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_media::{
    PictureFolder, ReadOptions, SliceReader, check_writable, open_signal, psnr_db, read_image, tiles,
    write_image, write_npy,
};
use asmr_train::fit::FitEvent;
use asmr_train::meta::{Base, MetaConfig, MetaError, initial_base, meta_train, n_modulations};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::args::{Common, DecodeArgs, EncodeArgs, ModulatorName};
use crate::error::{Failure, INTERRUPTED, OK, say};
use crate::files::{self, has_extension, is_picture_name};
use crate::interrupt;
use crate::progress::Progress;
use crate::report::{describe, duration, print, print_json, quote, thousands, times};
use crate::values::{Bases, Extents, bases, omega_0, rate, seed, shape, steps, whole};

const META_EXAMPLES: &str = "\
Examples:
  asmr meta-train faces/ -o faces.base.asmr                    pictures of one size
  asmr meta-train photos/ --tile 32,32 -o tiles.base.asmr      cut into tiles of 32 x 32
  asmr encode face.png --base faces.base.asmr -o face.npy      fitted in milliseconds; some hundred numbers
  asmr encode more-faces/ --base faces.base.asmr -o set.npy    one array, a row for each picture
  asmr decode set.npy --base faces.base.asmr -o decoded/

Every tenth picture is kept from learning when there are 20 or more, and measured at the end, unless --unseen names others.";

/// Inner steps after which unseen pictures are measured.
const MEASURED_STEPS: [u32; 4] = [0, 1, 3, 10];
/// Where every tenth picture is kept from learning.
const MIN_HELD: usize = 20;
/// The most pictures that are measured at the end.
const MAX_MEASURED: usize = 200;
/// The name in the record of a fit under which a base keeps what it is.
const RECORD: &str = "meta";

/// Options of `meta-train`.
#[derive(Debug, Args)]
#[command(after_help = META_EXAMPLES)]
pub(crate) struct MetaTrainArgs {
    /// Folders of pictures, or pictures; all of one size and kind of color unless cut by --tile
    #[arg(required = true)]
    pub(crate) inputs: Vec<PathBuf>,
    /// The .asmr file to write
    #[arg(long, short, value_name = "FILE", required = true)]
    pub(crate) output: PathBuf,
    /// Cut every picture into tiles of so many rows and columns, as in 32,32; what is left over at its edges is not looked at
    #[arg(long, value_name = "ROWS,COLUMNS", allow_hyphen_values = true, value_parser = shape)]
    pub(crate) tile: Option<Extents>,
    /// Folders of pictures, or pictures, that are measured at the end and not learned from, in place of every tenth
    #[arg(long, value_name = "PATH")]
    pub(crate) unseen: Vec<PathBuf>,
    /// Levels of the network, 2 to 32 [default: by the pictures' extents]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole(2..=32))]
    pub(crate) levels: Option<usize>,
    /// Neurons of each layer, 1 to 4096
    #[arg(long, value_name = "N", default_value = "128", allow_hyphen_values = true, value_parser = whole(1..=4096))]
    pub(crate) width: usize,
    /// Bases per axis, coarsest level first, as in "4,4,4;4,4,4"
    #[arg(long, value_name = "BASES", allow_hyphen_values = true, value_parser = bases)]
    pub(crate) bases: Option<Bases>,
    /// How a level's digits act on the layer before it
    #[arg(long, value_enum, default_value_t = ModulatorName::Table)]
    pub(crate) modulator: ModulatorName,
    /// Factor inside every sine, above 0 and at most 10000
    #[arg(long = "omega-0", value_name = "X", default_value = "30", allow_hyphen_values = true, value_parser = omega_0)]
    pub(crate) omega_0: f32,
    /// Updates of what pictures share, 1 to 1000000000
    #[arg(long, value_name = "N", default_value = "10000", allow_hyphen_values = true, value_parser = steps)]
    pub(crate) steps: u32,
    /// Pictures an update looks at, 1 to 4096
    #[arg(long, value_name = "N", default_value = "16", allow_hyphen_values = true, value_parser = whole(1..=4096))]
    pub(crate) batch: usize,
    /// Steps to a picture's own numbers, 1 to 100
    #[arg(long, value_name = "N", default_value = "3", allow_hyphen_values = true, value_parser = whole(1..=100))]
    pub(crate) inner_steps: usize,
    /// Learning rate of what pictures share, above 0 and at most 1
    #[arg(long, value_name = "X", default_value = "5e-4", allow_hyphen_values = true, value_parser = rate)]
    pub(crate) lr: f64,
    /// Seed of the initial weights and of the order of pictures
    #[arg(long, value_name = "N", default_value = "0", allow_hyphen_values = true, value_parser = seed)]
    pub(crate) seed: u64,
}

/// What must hold of options that were accepted.
pub(crate) fn check(args: &MetaTrainArgs) {
    let holds = (1..=4096).contains(&args.width)
        && args.levels.is_none_or(|n| (2..=32).contains(&n))
        && args.omega_0 > 0.0
        && (1..=1_000_000_000).contains(&args.steps)
        && (1..=4096).contains(&args.batch)
        && (1..=100).contains(&args.inner_steps)
        && args.lr > 0.0
        && args.lr <= 1.0
        && !args.inputs.is_empty();
    assert!(holds, "{args:?}");
}

/// What a base's file says of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetaRecord {
    seed: u64,
    steps: u32,
    batch: usize,
    rate: f64,
    rate_of_rates: f64,
    final_rate: f64,
    modulation_scale: f64,
    inner_steps: u32,
    /// α of each tensor of the modulation.
    inner_rates: Vec<f32>,
}

/// PSNR of unseen pictures, mean in dB, after inner steps.
#[derive(Debug, Serialize)]
struct Unseen {
    steps: u32,
    /// From the base.
    psnr_db: f64,
    /// From the initial weights, by rates chosen for them.
    untrained_psnr_db: f64,
}

/// What is told about a base.
#[derive(Debug, Serialize)]
struct MetaReport {
    output: String,
    bytes: u64,
    extents: Vec<usize>,
    channels: usize,
    n_learned: usize,
    n_unseen: usize,
    n_params: usize,
    n_modulations: usize,
    steps: u32,
    inner_steps: u32,
    elapsed_s: f64,
    unseen: Vec<Unseen>,
}

/// What is told about pictures that were encoded by a base.
#[derive(Debug, Serialize)]
struct EncodeReport {
    input: String,
    output: String,
    base: String,
    n_signals: usize,
    n_modulations: usize,
    bytes: u64,
    steps: u32,
    /// Mean over pictures of the decoded values.
    psnr_db: f64,
    psnr_db_worst: f64,
    ms_per_signal: f64,
}

/// What is told about pictures that were decoded by a base.
#[derive(Debug, Serialize)]
struct DecodeReport {
    input: String,
    output: String,
    base: String,
    n_signals: usize,
    extents: Vec<usize>,
    channels: usize,
}

/// Runs `meta-train`.
pub(crate) fn run(args: &MetaTrainArgs, common: &Common) -> Result<u8, Failure> {
    if !has_extension(&args.output, "asmr") {
        return Err(Failure::usage(format!(
            "a base is an .asmr file, so {} would be misnamed; type -o {}",
            args.output.display(),
            quote(&args.output.with_extension("asmr"))
        )));
    }
    files::check_output(&args.output)?;
    check_choices(args)?;
    let (held, learned) = inputs(args)?;
    let learned = signals(&learned, args.tile.as_ref(), common)?;
    let info = learned[0].info().clone();
    let held = if held.is_empty() { Vec::new() } else { signals(&held, args.tile.as_ref(), common)? };
    if let Some(first) = held.first() {
        check_picture(&args.unseen.first().unwrap_or(&args.inputs[0]).clone(), first.info(), &info)?;
    }
    let network = network(args, &info)?;
    let config = MetaConfig {
        seed: args.seed,
        steps: args.steps,
        batch: args.batch,
        inner_steps: args.inner_steps as u32,
        rate: args.lr,
        ..MetaConfig::default()
    };
    let heading = format!(
        "learning from {} of {} pictures ({}): bases {}, width {}, {} steps",
        thousands(learned.len() as u64),
        thousands((learned.len() + held.len()) as u64),
        describe(&info),
        base_text(&network),
        network.width,
        thousands(u64::from(args.steps))
    );
    let refuse = |error: MetaError| match error {
        MetaError::Diverged(_) => Failure::failed(error.to_string()),
        other => Failure::usage(other.to_string()),
    };
    let untrained = initial_base(&learned, &network, &config).map_err(refuse)?;
    // Whether a file can hold such a base is found out before the work.
    base_bytes(args, &config, &untrained, 0, &info, common)?;
    let start = Instant::now();
    let mut progress = Progress::start(&heading, common.quiet, None, &info);
    let n_samples = network.partition.n_samples() as u64 * args.batch as u64;
    let mut last_step = 0;
    let base = interrupt::while_fitting(|stop| {
        let base = meta_train(&learned, &untrained, &config, stop, &mut |event| {
            last_step = event.step;
            let psnr_db = -10.0 * event.mse.log10();
            progress.event(&FitEvent::Step {
                step: event.step,
                psnr_db,
                progress: event.progress,
                n_samples,
            });
        });
        base.map(|base| (base, stop.load(std::sync::atomic::Ordering::Relaxed)))
    });
    progress.finish();
    let (base, is_interrupted) = base.map_err(refuse)?;
    let elapsed_s = start.elapsed().as_secs_f64();
    let bytes = base_bytes(args, &config, &base, last_step, &info, common)?;
    files::write_bytes(&args.output, &bytes)?;
    if is_interrupted {
        say(&format!(
            "interrupted after {last_step} steps; {} is what was learned by then",
            args.output.display()
        ));
        return Ok(INTERRUPTED);
    }
    // Evenly among them.
    let step = held.len().div_ceil(MAX_MEASURED).max(1);
    let measured: Vec<&Signal> = held.iter().step_by(step).collect();
    let unseen = MEASURED_STEPS.map(|steps| {
        Ok(Unseen {
            steps,
            psnr_db: mean_db(&base, &measured, steps)?,
            untrained_psnr_db: mean_db(&untrained, &measured, steps)?,
        })
    });
    let unseen = unseen.into_iter().collect::<Result<Vec<_>, Failure>>()?;
    let report = MetaReport {
        output: args.output.display().to_string(),
        bytes: bytes.len() as u64,
        extents: info.extents.clone(),
        channels: info.channels,
        n_learned: learned.len(),
        n_unseen: measured.len(),
        n_params: network.n_params(),
        n_modulations: n_modulations(&network),
        steps: last_step,
        inner_steps: config.inner_steps,
        elapsed_s,
        unseen: if measured.is_empty() { Vec::new() } else { unseen },
    };
    tell(&report, common)?;
    Ok(OK)
}

/// The file of a base.
fn base_bytes(
    args: &MetaTrainArgs,
    config: &MetaConfig,
    base: &Base,
    steps: u32,
    info: &SignalInfo,
    common: &Common,
) -> Result<Vec<u8>, Failure> {
    let record = MetaRecord {
        seed: args.seed,
        steps,
        batch: args.batch,
        rate: config.rate,
        rate_of_rates: config.rate_of_rates,
        final_rate: config.final_rate,
        modulation_scale: config.modulation_scale,
        inner_steps: config.inner_steps,
        inner_rates: base.rates().to_vec(),
    };
    let mut fit = FitRecord::new();
    let record = serde_json::to_value(&record).map_err(|error| Failure::failed(error.to_string()))?;
    fit.insert(RECORD, record);
    let signal = SignalInfo::plain(info.extents.clone(), info.channels, info.sample_type, info.color);
    let file = AsmrFile { signal, network: base.network().clone(), steps: None, fit: Some(fit) };
    files::checked_bytes(&file, &args.output, common).map(|(bytes, _)| bytes)
}

fn check_choices(args: &MetaTrainArgs) -> Result<(), Failure> {
    if args.levels.is_some() && args.bases.is_some() {
        return Err(Failure::usage("--bases says how many levels there are; leave --levels out"));
    }
    Ok(())
}

/// Pictures that are kept from learning, and those that are not.
fn inputs(args: &MetaTrainArgs) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Failure> {
    let paths = pictures_in(&args.inputs)?;
    if args.unseen.is_empty() {
        // Whole pictures, before they are cut: a tile is too much like its neighbours to be unseen.
        let is_held = |i: usize| paths.len() >= MIN_HELD && i % 10 == 9;
        let (held, learned): (Vec<_>, Vec<_>) = paths.iter().enumerate().partition(|(i, _)| is_held(*i));
        let only = |paths: Vec<(usize, &PathBuf)>| paths.into_iter().map(|(_, path)| path.clone()).collect();
        return Ok((only(held), only(learned)));
    }
    let unseen = pictures_in(&args.unseen)?;
    let same = |path: &PathBuf| std::fs::canonicalize(path).ok();
    let learned: HashSet<PathBuf> = paths.iter().filter_map(same).collect();
    if let Some(both) = unseen.iter().find(|path| same(path).is_some_and(|path| learned.contains(&path))) {
        return Err(Failure::usage(format!(
            "{} is learned from and, by --unseen, not to be learned from; leave it out of one of them",
            both.display()
        )));
    }
    Ok((unseen, paths))
}

fn tell(report: &MetaReport, common: &Common) -> Result<(), Failure> {
    if common.json {
        return print_json(report);
    }
    let mut text = format!(
        "{}: {} weights, of which each picture has {} of its own; {} steps in {}\n",
        report.output,
        thousands(report.n_params as u64),
        thousands(report.n_modulations as u64),
        thousands(u64::from(report.steps)),
        duration(report.elapsed_s)
    );
    for Unseen { steps, psnr_db, untrained_psnr_db } in &report.unseen {
        let _ = writeln!(
            text,
            "  {} unseen pictures after {steps:2} steps: {psnr_db:.2} dB; from untrained weights {untrained_psnr_db:.2} dB",
            report.n_unseen
        );
    }
    print(&text)
}

/// `encode --base`.
pub(crate) fn encode(args: &EncodeArgs, base: &Path, common: &Common) -> Result<u8, Failure> {
    let (base, info) = read_base(base, common)?;
    let output = files::output_path(args.output.as_ref(), &args.input, "npy", files::none_replaced)?;
    if !has_extension(&output, "npy") {
        return Err(Failure::usage(format!(
            "with --base each picture keeps a row of numbers, so {} would be misnamed; type -o {}",
            output.display(),
            quote(&output.with_extension("npy"))
        )));
    }
    files::check_output(&output)?;
    let paths = pictures_in(std::slice::from_ref(&args.input))?;
    let steps = args.steps.unwrap_or(base.inner_steps());
    let (mut rows, mut qualities) = (Vec::new(), Vec::new());
    let mut fitted_s = 0.0;
    for path in &paths {
        let signal = picture(path, common)?;
        check_picture(path, signal.info(), &info)?;
        let start = Instant::now();
        let adapted = base.adapt(&signal, steps).map_err(|error| Failure::failed(error.to_string()))?;
        fitted_s += start.elapsed().as_secs_f64();
        qualities.push(quality_db(&base, &signal, &adapted.modulation)?);
        rows.extend(adapted.modulation);
    }
    let n_values = rows.len() / paths.len();
    files::write_file(&output, || write_npy(&output, &[paths.len()], n_values, &rows))?;
    let report = EncodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        base: args.base.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        n_signals: paths.len(),
        n_modulations: n_values,
        bytes: std::fs::metadata(&output).map_or(0, |m| m.len()),
        steps,
        psnr_db: qualities.iter().sum::<f64>() / qualities.len() as f64,
        psnr_db_worst: qualities.iter().copied().fold(f64::INFINITY, f64::min),
        ms_per_signal: 1e3 * fitted_s / paths.len() as f64,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&format!(
            "{}: {} of {} numbers each, {:.2} dB (worst {:.2}) after {steps} steps, {:.1} ms each\n",
            report.output,
            counted(paths.len()),
            thousands(n_values as u64),
            report.psnr_db,
            report.psnr_db_worst,
            report.ms_per_signal
        ))?;
    }
    Ok(OK)
}

/// `decode --base`.
pub(crate) fn decode(args: &DecodeArgs, base_path: &Path, common: &Common) -> Result<u8, Failure> {
    let (base, info) = read_base(base_path, common)?;
    let mut rows = Rows::open(&args.input, n_modulations(base.network().config()), common)?;
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| args.input.with_extension(if rows.n == 1 { "png" } else { "" }));
    if args.output.is_none() && output.exists() {
        return Err(Failure::usage(format!(
            "{} exists already; give another name with -o",
            output.display()
        )));
    }
    let n_rows = rows.n;
    if n_rows == 1 && output.extension().is_some() {
        check_writable(&output, &info)?;
        files::check_output(&output)?;
        for row in rows.next()? {
            let signal = decoded(&base, &info, &row)?;
            files::write_file(&output, || write_image(&output, &signal))?;
        }
    } else if output.extension().is_some() {
        return Err(Failure::usage(format!(
            "{} has {n_rows} pictures, and {} is the name of a file; give that of a folder with -o",
            args.input.display(),
            output.display()
        )));
    } else {
        let folder = PictureFolder::create(&output)?;
        let digits = n_rows.saturating_sub(1).to_string().len();
        let mut i = 0;
        while i < n_rows {
            for row in rows.next()? {
                folder.push(&format!("{i:0digits$}.png"), &decoded(&base, &info, &row)?)?;
                i += 1;
            }
        }
        interrupt::while_writing(|| folder.finish())?;
    }
    let report = DecodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        base: base_path.display().to_string(),
        n_signals: n_rows,
        extents: info.extents.clone(),
        channels: info.channels,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&format!("{}: {} ({})\n", report.output, counted(n_rows), describe(&info)))?;
    }
    Ok(OK)
}

fn counted(n: usize) -> String {
    format!("{} picture{}", thousands(n as u64), if n == 1 { "" } else { "s" })
}

/// Pictures, and those in folders, sorted by their names.
fn pictures_in(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            paths.push(input.clone());
            continue;
        }
        let unreadable = |error| Failure::usage(format!("cannot read {}: {error}", input.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(input).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() && is_picture_name(&path) {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err(Failure::usage(format!("there is no picture in the folder {}", input.display())));
        }
        found.sort();
        paths.extend(found);
    }
    Ok(paths)
}

fn picture(path: &Path, common: &Common) -> Result<Signal, Failure> {
    Ok(read_image(path, &files::media_limits(common))?)
}

fn check_picture(path: &Path, info: &SignalInfo, wanted: &SignalInfo) -> Result<(), Failure> {
    if (&info.extents, info.channels, info.sample_type)
        == (&wanted.extents, wanted.channels, wanted.sample_type)
    {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is {}, and the base is for pictures like {}; scale or convert it first",
        path.display(),
        describe(info),
        describe(wanted)
    )))
}

/// All pictures, or their tiles, of one shape.
fn signals(paths: &[PathBuf], tile: Option<&Extents>, common: &Common) -> Result<Vec<Signal>, Failure> {
    let mut all: Vec<Signal> = Vec::new();
    let (mut n_bytes, limit) = (0, files::media_limits(common).max_alloc_bytes);
    for path in paths {
        let signal = picture(path, common)?;
        let values = signal.info().n_values().unwrap_or(u64::MAX);
        n_bytes += values.saturating_mul(signal.info().sample_type.n_bytes() as u64);
        if n_bytes > limit {
            return Err(Failure::usage(format!(
                "up to {} the pictures have more than {} bytes of values, which are all held in memory; take fewer, or raise that by \
                 --limits",
                path.display(),
                thousands(limit)
            )));
        }
        let parts = match tile {
            Some(tile) => tiles_of(&signal, tile, path)?,
            None => vec![signal],
        };
        for part in parts {
            if let Some(first) = all.first() {
                let (a, b) = (first.info(), part.info());
                if (&a.extents, a.channels, a.sample_type) != (&b.extents, b.channels, b.sample_type) {
                    return Err(Failure::usage(format!(
                        "{} is {}, and {} is {}; all pictures must be alike (--tile cuts them to one size)",
                        path.display(),
                        describe(b),
                        paths[0].display(),
                        describe(a)
                    )));
                }
            }
            all.push(part);
        }
    }
    Ok(all)
}

/// A picture's tiles.
fn tiles_of(signal: &Signal, tile: &Extents, path: &Path) -> Result<Vec<Signal>, Failure> {
    let &[rows, columns] = tile.0.as_slice() else {
        return Err(Failure::usage("--tile takes rows and columns, as in 32,32"));
    };
    let all = tiles(signal, [rows, columns]).map_err(|error| Failure::usage(error.to_string()))?;
    if all.is_empty() {
        return Err(Failure::usage(format!(
            "{} is {}, less than a tile of {}; take smaller tiles or larger pictures",
            path.display(),
            describe(signal.info()),
            times(&tile.0)
        )));
    }
    Ok(all)
}

fn network(args: &MetaTrainArgs, info: &SignalInfo) -> Result<NetworkConfig, Failure> {
    let request = PlanRequest {
        levels: args.levels,
        width: Some(args.width),
        modulator: args.modulator.into(),
        omega_0: args.omega_0,
        ..PlanRequest::new(&info.extents, info.channels)
    };
    let planned = plan(&request).map_err(|error| Failure::usage(error.to_string()))?;
    let mut network = planned.into_config(&request);
    if let Some(bases) = &args.bases {
        let partition = Partition::new(&info.extents, &bases.0);
        network.partition = partition.map_err(|error| Failure::usage(format!("--bases: {error}")))?;
    }
    network.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(network)
}

fn base_text(network: &NetworkConfig) -> String {
    let axis = |bases: &Vec<usize>| bases.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    network.partition.bases().iter().map(axis).collect::<Vec<_>>().join(";")
}

/// Mean PSNR of the decoded values after inner steps.
fn mean_db(base: &Base, signals: &[&Signal], steps: u32) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for signal in signals {
        let adapted = base.adapt(*signal, steps).map_err(|error| Failure::failed(error.to_string()))?;
        sum += quality_db(base, signal, &adapted.modulation)?;
    }
    Ok(sum / signals.len().max(1) as f64)
}

/// Of the decoded values; 100 dB for a picture that comes back exactly.
fn quality_db(base: &Base, signal: &Signal, modulation: &[f32]) -> Result<f64, Failure> {
    let decoded = decoded(base, signal.info(), modulation)?;
    let db = psnr_db(&decoded, signal).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(db.unwrap_or(100.0))
}

fn decoded(base: &Base, info: &SignalInfo, modulation: &[f32]) -> Result<Signal, Failure> {
    let network = base.with(modulation).map_err(|error| Failure::usage(error.to_string()))?;
    let request = Request::whole(&network.config().partition);
    let samples = files::decode_samples(&Decoder::new(&network), &request, info, &mut Vec::new())?;
    Signal::new(info.clone(), samples).map_err(|error| Failure::usage(error.to_string()))
}

fn read_base(path: &Path, common: &Common) -> Result<(Base, SignalInfo), Failure> {
    let file = files::read_asmr(path, common)?;
    let no_base = |why: String| {
        Failure::usage(format!("{} is no base ({why}); `asmr meta-train` makes one", path.display()))
    };
    let record = file.fit.as_ref().and_then(|fit| fit.get(RECORD));
    let record = record
        .ok_or_else(|| no_base("its record of the fit says nothing of pictures that share it".to_owned()))?;
    let record: MetaRecord =
        serde_json::from_value(record.clone()).map_err(|error| no_base(error.to_string()))?;
    let base = Base::new(file.network, record.inner_rates.clone(), record.inner_steps)
        .map_err(|error| no_base(error.to_string()))?;
    Ok((base, file.signal))
}

/// Values that are read at a time.
const PIECE_VALUES: usize = 1 << 22;

/// Rows of an array of 32-bit floats, read some at a time.
struct Rows {
    reader: Box<dyn SliceReader>,
    columns: usize,
    n: usize,
    /// Slices of the array that are left; a row by itself is an array of one axis.
    n_left: usize,
    is_one: bool,
}

impl Rows {
    /// An array with so many columns, or one row.
    fn open(path: &Path, expected: usize, common: &Common) -> Result<Self, Failure> {
        let options = ReadOptions { limits: files::media_limits(common), ..ReadOptions::default() };
        let reader = open_signal(path, &options)?.reader;
        let info = reader.info();
        if info.sample_type != SampleType::F32 {
            return Err(Failure::usage(format!(
                "{} has values of type {}, and what pictures keep are 32-bit floats",
                path.display(),
                info.sample_type.name()
            )));
        }
        let (n, columns) = match info.extents.as_slice() {
            [columns] if info.channels == 1 => (1, *columns),
            [n, columns] if info.channels == 1 => (*n, *columns),
            _ => (0, 0),
        };
        if columns != expected {
            return Err(Failure::usage(format!(
                "{} is no array with rows of {expected} numbers, which the base takes; is it of another base?",
                path.display()
            )));
        }
        let (n_left, is_one) = (info.extents[0], info.extents.len() == 1);
        Ok(Self { reader, columns, n, n_left, is_one })
    }

    /// The next rows.
    fn next(&mut self) -> Result<Vec<Vec<f32>>, Failure> {
        let most = if self.is_one { self.n_left } else { (PIECE_VALUES / self.columns).max(1) };
        let n = most.min(self.n_left);
        self.n_left -= n;
        let Samples::F32(values) = self.reader.read(n)? else {
            return Err(Failure::failed("the values changed while they were read"));
        };
        Ok(values.chunks_exact(self.columns).map(<[f32]>::to_vec).collect())
    }
}
