//! `asmr eval`: quality, size and speed against the original.

use std::fmt::Write as _;
use std::time::Instant;

use asmr::cost::Cost;
use asmr::inference::{Decoder, Request, Value};
use asmr::signal::{SampleType, SignalInfo};
use asmr_media::{Limits, max_abs_error, psnr_db, read_image, ssim};
use serde::Serialize;

use crate::args::{Common, EvalArgs};
use crate::error::{Failure, OK};
use crate::files::{self, Loaded};
use crate::report::{
    CostReport, NetworkReport, SignalReport, decibels, describe, network_lines, print, print_json, rate_bpp,
    similarity, thousands,
};

/// Decoders made to time that.
const PREPARE_REPS: usize = 5;

/// What is told about a comparison.
#[derive(Debug, Serialize)]
struct EvalReport<'a> {
    file: String,
    original: String,
    psnr_db: Option<f64>,
    ssim: Option<f64>,
    /// In the signal's own units: of 255, or of 65535.
    max_abs_error: f64,
    bytes: u64,
    rate_bpp: f64,
    /// Arithmetic of the decoder's matrix products.
    precision: &'static str,
    /// Median of whole decodes in memory by a prepared decoder.
    decode_ms: f64,
    /// Median of preparing a decoder.
    prepare_ms: f64,
    msamples_per_s: f64,
    reps: usize,
    threads: usize,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    #[serde(flatten)]
    network: NetworkReport<'a>,
    #[serde(flatten)]
    cost: CostReport,
}

/// Runs the verb.
pub(crate) fn run(args: &EvalArgs, common: &Common) -> Result<u8, Failure> {
    let Loaded { file, n_bytes } = files::read_asmr(&args.input)?;
    let original = read_image(&args.original, &Limits::default())?;
    let kind = |info: &SignalInfo| (info.extents.clone(), info.channels, info.sample_type);
    if kind(&file.signal) != kind(original.info()) {
        return Err(Failure::usage(format!(
            "{} decodes to {}, and {} is {}; only signals of the same extents, channels and sample type can be compared",
            args.input.display(),
            describe(&file.signal),
            args.original.display(),
            describe(original.info())
        )));
    }
    let config = file.network.config();
    let (whole, precision) = (Request::whole(&config.partition), args.precision.into());
    let prepare_ms = median_ms(args.reps.min(PREPARE_REPS), || {
        std::hint::black_box(Decoder::with_precision(&file.network, precision));
        Ok(())
    })?;
    let decoder = Decoder::with_precision(&file.network, precision);
    // This first decode also warms up; the timed ones follow.
    let decoded = files::decode_signal(&decoder, &whole, &file.signal)?;
    let differ = |error| Failure::usage(format!("{}: {error}", args.original.display()));
    let (psnr_db, ssim, max_abs_error) = (
        psnr_db(&decoded, &original).map_err(differ)?,
        ssim(&decoded, &original).map_err(differ)?,
        max_abs_error(&decoded, &original).map_err(differ)?,
    );
    drop((decoded, original));
    let decode_ms = match file.signal.sample_type {
        SampleType::U8 => time_decodes::<u8>(&decoder, &whole, &file.signal, args.reps),
        SampleType::U16 => time_decodes::<u16>(&decoder, &whole, &file.signal, args.reps),
        _ => time_decodes::<f32>(&decoder, &whole, &file.signal, args.reps),
    }?;

    let cost = Cost::of(config);
    let report = EvalReport {
        file: args.input.display().to_string(),
        original: args.original.display().to_string(),
        psnr_db,
        ssim,
        max_abs_error,
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, config),
        precision: args.precision.name(),
        decode_ms,
        prepare_ms,
        msamples_per_s: config.partition.n_samples() as f64 / decode_ms / 1e3,
        reps: args.reps,
        threads: rayon::current_num_threads(),
        signal: SignalReport::new(&file.signal),
        network: NetworkReport::new(config),
        cost: CostReport::new(&cost),
    };
    if common.json {
        print_json(&report)?;
        return Ok(OK);
    }
    let peak = if file.signal.sample_type == SampleType::U16 { 65535 } else { 255 };
    let mut text = format!("{} against {}: {}\n", report.file, report.original, describe(&file.signal));
    let _ = writeln!(
        text,
        "  quality   {}{}, largest error {} of {peak}",
        decibels(psnr_db),
        similarity(ssim),
        report.max_abs_error
    );
    let _ =
        writeln!(text, "  file      {} bytes, {:.3} bits per sample", thousands(n_bytes), report.rate_bpp);
    let _ = writeln!(
        text,
        "  decode    {decode_ms:.2} ms, {:.1} Msamples/s (median of {} whole decodes in memory, {} threads; preparing the decoder takes {prepare_ms:.2} ms more, once)",
        report.msamples_per_s, report.reps, report.threads
    );
    text += &network_lines(config, &cost);
    print(&text)?;
    Ok(OK)
}

/// Median milliseconds of a whole decode into memory that is there already.
fn time_decodes<T: Value>(
    decoder: &Decoder,
    whole: &Request,
    info: &SignalInfo,
    reps: usize,
) -> Result<f64, Failure> {
    let mut values: Vec<T> = files::decode_values(decoder, whole, info)?;
    median_ms(reps, || {
        decoder.decode(whole, &mut values).map_err(|error| files::refused(&error))?;
        std::hint::black_box(&mut values);
        Ok(())
    })
}

fn median_ms(reps: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut times = Vec::with_capacity(reps);
    for _ in 0..reps {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(f64::midpoint(times[(reps - 1) / 2], times[reps / 2]))
}
