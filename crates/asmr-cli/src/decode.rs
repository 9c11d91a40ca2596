//! `asmr decode`: a network in, a picture or an array out.

use std::path::Path;
use std::time::Instant;

use asmr::inference::{Decoder, Request};
use asmr::signal::{MAX_AXES, SampleType, SignalInfo};
use asmr::walk::Region;
use asmr_media::{MediaError, check_writable, write_image, write_npy};
use serde::Serialize;

use crate::args::{Common, DecodeArgs, Ranges};
use crate::error::{Failure, OK};
use crate::files;
use crate::report::{SignalReport, describe, duration, print, print_json, times};

/// What is told about a decode.
#[derive(Debug, Serialize)]
struct DecodeReport<'a> {
    input: String,
    output: String,
    #[serde(flatten)]
    signal: SignalReport<'a>,
    /// `[start, end]` per axis.
    region: Vec<[u64; 2]>,
    thumbnail: usize,
    precision: &'static str,
    prepare_ms: f64,
    decode_ms: f64,
    msamples_per_s: f64,
    write_ms: f64,
}

/// Runs the verb.
pub(crate) fn run(args: &DecodeArgs, common: &Common) -> Result<u8, Failure> {
    let file = files::read_asmr(&args.input)?.file;
    let signal = &file.signal;
    let request = request(args, signal)?;
    let partition = &file.network.config().partition;
    let extents = request.output_extents(partition).map_err(|error| files::refused(&error))?;
    // The colour type tells pictures from arrays; arrays of one to four channels on two axes are pictures, too.
    let is_picture =
        signal.extents.len() == 2 && signal.channels <= 4 && signal.sample_type != SampleType::F32;
    let output =
        files::output_path(args.output.as_ref(), &args.input, if is_picture { "png" } else { "npy" })?;
    let is_npy = files::has_extension(&output, "npy");
    let mut info = SignalInfo { extents, ..signal.clone() };
    if is_npy {
        (info.sample_type, info.color) = (SampleType::F32, None);
    } else {
        check_picture(&output, &info)?;
    }
    files::check_output(&output)?;

    let start = Instant::now();
    let decoder = Decoder::with_precision(&file.network, args.precision.into());
    let prepared = Instant::now();
    let decoded = files::decode_signal(&decoder, &request, &info)?;
    let done = Instant::now();
    files::write_file(&output, || match decoded.samples() {
        asmr::signal::Samples::F32(values) if is_npy => {
            write_npy(&output, &info.extents, info.channels, values)
        }
        _ => write_image(&output, &decoded),
    })?;
    let write_ms = done.elapsed().as_secs_f64() * 1e3;

    let decode_s = (done - prepared).as_secs_f64();
    let n_samples = info.n_samples().unwrap_or(0) as f64;
    let report = DecodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        signal: SignalReport::new(&info),
        region: (0..info.extents.len())
            .map(|axis| [request.region.start[axis], request.region.end[axis]])
            .collect(),
        thumbnail: request.thumbnail,
        precision: args.precision.name(),
        prepare_ms: (prepared - start).as_secs_f64() * 1e3,
        decode_ms: decode_s * 1e3,
        msamples_per_s: n_samples / decode_s / 1e6,
        write_ms,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&format!(
            "{}: {}, decoded in {} ({:.1} Msamples/s)\n",
            report.output,
            describe(&info),
            duration(decode_s),
            report.msamples_per_s
        ))?;
    }
    Ok(OK)
}

/// The region and the factor asked for; what is left out is the whole.
fn request(args: &DecodeArgs, signal: &SignalInfo) -> Result<Request, Failure> {
    let mut region = Region::whole(&signal.extents);
    if let Some(Ranges(ranges)) = &args.region {
        if ranges.len() != signal.extents.len() {
            return Err(Failure::usage(format!(
                "--region has {} ranges and {} has {} axes ({}); give one range per axis, as in {}",
                ranges.len(),
                args.input.display(),
                signal.extents.len(),
                times(&signal.extents),
                signal.extents.iter().map(|extent| format!("0..{extent}")).collect::<Vec<_>>().join(",")
            )));
        }
        for (axis, &(start, end)) in ranges.iter().enumerate().take(MAX_AXES) {
            region.start[axis] = start.unwrap_or(region.start[axis]);
            region.end[axis] = end.unwrap_or(region.end[axis]);
        }
    }
    Ok(Request { region, thumbnail: args.thumbnail.unwrap_or(1) })
}

/// Whether the output's format can hold the result, before it is computed.
fn check_picture(output: &Path, info: &SignalInfo) -> Result<(), Failure> {
    check_writable(output, info).map_err(|error| match error {
        MediaError::UnknownExtension { .. } => {
            Failure::usage(format!("{error}, and .npy for the network's own floats"))
        }
        other => other.into(),
    })
}
