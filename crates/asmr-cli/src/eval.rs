//! `asmr eval`: quality, size and speed against the original.

use std::fmt::Write as _;
use std::io::{Read, Seek};
use std::time::Instant;

use asmr::cost::Cost;
use asmr::file::AsmrReader;
use asmr::inference::{Decoder, Request, Value};
use asmr::metadata::Media;
use asmr::signal::{SampleType, SignalInfo};
use asmr::walk::Region;
use asmr_media::reopen_signal;
use serde::Serialize;

use crate::args::{Common, EvalArgs};
use crate::error::{Failure, OK};
use crate::files;
use crate::pieces::{self, Tolerated, Wanted};
use crate::quality::{self, QualityReport, quality_lines};
use crate::report::{
    ChunkReport, CostReport, NetworkReport, SignalReport, chunk_line, describe, network_lines, print,
    print_json, rate_bpp, thousands,
};

/// Decoders made to time that.
const PREPARE_REPS: usize = 5;

/// What is told about a comparison.
#[derive(Debug, Serialize)]
struct EvalReport<'a> {
    file: String,
    original: String,
    #[serde(flatten)]
    scores: &'a QualityReport,
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
    chunks: Option<ChunkReport>,
    #[serde(flatten)]
    cost: CostReport,
}

/// Runs the verb.
pub(crate) fn run(args: &EvalArgs, common: &Common) -> Result<u8, Failure> {
    let mut reader = files::open_asmr(&args.input, common)?;
    let header = reader.header().clone();
    let n_bytes = reader.n_bytes();
    let limits = files::media_limits(common);
    let mut opened = reopen_signal(&args.original, &header.signal, &limits)?;
    check_same(args, &header.signal, opened.reader.info())?;
    let precision = args.precision.into();
    let scores = quality::measure(
        &mut reader,
        &args.input,
        opened.reader.as_mut(),
        Some((&args.original, limits)),
        precision,
    )?;
    drop(opened);
    let (prepare_ms, decode_ms) = if header.max_error.is_some() {
        // With its corrections, as it is decoded.
        let request = Request { region: Region::whole(&header.signal.extents), thumbnail: 1 };
        let wanted = Wanted { request, raw: false, precision, tolerated: Tolerated::Nothing };
        let decode = || pieces::decode(&mut reader, &args.input, &wanted, |_| Ok(())).map(|_| ());
        (0.0, median_ms(args.reps, decode)?)
    } else {
        time_networks(args, &mut reader)?
    };

    let config = &header.network;
    let cost = Cost::of(config);
    let report = EvalReport {
        file: args.input.display().to_string(),
        original: args.original.display().to_string(),
        scores: &scores,
        bytes: n_bytes,
        rate_bpp: rate_bpp(n_bytes, &header.signal),
        precision: args.precision.name(),
        decode_ms,
        prepare_ms,
        msamples_per_s: header.signal.n_samples().unwrap_or(0) as f64 / decode_ms / 1e3,
        reps: args.reps,
        threads: rayon::current_num_threads(),
        signal: SignalReport::new(&header.signal),
        network: NetworkReport::new(config),
        chunks: ChunkReport::new(&header),
        cost: CostReport::new(&cost),
    };
    if common.json {
        print_json(&report)?;
        return Ok(OK);
    }
    let mut text = format!("{} against {}: {}\n", report.file, report.original, describe(&header.signal));
    text += &quality_lines(&scores, &header.signal);
    let _ =
        writeln!(text, "  file      {} bytes, {:.3} bits per sample", thousands(n_bytes), report.rate_bpp);
    let _ = writeln!(
        text,
        "  decode    {decode_ms:.2} ms, {:.1} Msamples/s (median of {} whole decodes in memory, {} threads; preparing the decoder takes {prepare_ms:.2} ms more, once)",
        report.msamples_per_s, report.reps, report.threads
    );
    text += &chunk_line(&header);
    text += &network_lines(config, &cost);
    print(&text)?;
    Ok(OK)
}

/// Refuses an original that is not what the file was made of.
fn check_same(args: &EvalArgs, decoded: &SignalInfo, original: &SignalInfo) -> Result<(), Failure> {
    let rate = |info: &SignalInfo| match &info.media {
        Media::Audio(audio) => Some(audio.sample_rate),
        _ => None,
    };
    if let (Some(decoded), Some(original)) = (rate(decoded), rate(original))
        && decoded != original
    {
        return Err(Failure::usage(format!(
            "{} decodes to sound of {decoded} Hz, and {} is of {original} Hz; only sounds of one rate can be compared",
            args.input.display(),
            args.original.display()
        )));
    }
    let kind = |info: &SignalInfo| (info.extents.clone(), info.channels, info.sample_type);
    if kind(decoded) == kind(original) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} decodes to {}, and {} is {}; only signals of the same extents, channels and sample type can be compared",
        args.input.display(),
        describe(decoded),
        args.original.display(),
        describe(original)
    )))
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

/// Milliseconds for preparing the decoders of all networks, and for decoding with them.
fn time_networks<R: Read + Seek>(args: &EvalArgs, reader: &mut AsmrReader<R>) -> Result<(f64, f64), Failure> {
    let header = reader.header().clone();
    let precision = args.precision.into();
    let (mut decode_ms, mut prepare_ms) = (0.0, 0.0);
    for chunk in 0..header.n_chunks() {
        let network = reader.network(chunk).map_err(|error| files::unusable(&args.input, &error))?;
        prepare_ms += median_ms(args.reps.min(PREPARE_REPS), || {
            std::hint::black_box(Decoder::with_precision(&network, precision));
            Ok(())
        })?;
        let decoder = Decoder::with_precision(&network, precision);
        let whole = Request::whole(&network.config().partition);
        let info = header.chunk_signal(chunk);
        decode_ms += match info.sample_type {
            SampleType::U8 if info.value_range.is_none() => {
                time_decodes::<u8>(&decoder, &whole, &info, args.reps)
            }
            SampleType::U16 if info.value_range.is_none() => {
                time_decodes::<u16>(&decoder, &whole, &info, args.reps)
            }
            _ => time_decodes::<f32>(&decoder, &whole, &info, args.reps),
        }?;
    }
    Ok((prepare_ms, decode_ms))
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
