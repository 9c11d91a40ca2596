//! `asmr decode`: a network in, a picture, a recording, a film, a volume, a mesh or an array out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use asmr::file::{FileError, FileHeader};
use asmr::inference::Request;
use asmr::signal::{MAX_AXES, Media, SampleType, SignalInfo};
use asmr::walk::Region;
use asmr_media::{
    MediaError, NpyWriter, SURFACE_LEVEL, SliceWriter, create_signal, resampled_volume, surface,
    value_scaling, write_mesh,
};
use serde::Serialize;

use crate::args::{Common, DecodeArgs};
use crate::error::{FAILED, Failure, OK, say};
use crate::files::{self, Reader};
use crate::meta;
use crate::pieces::{self, Tolerated, Wanted};
use crate::report::{SignalReport, describe, duration, print, print_json, times};
use crate::values::{FrameBounds, Place, Ranges};

/// What the length of a recording is rounded by at most where it is shown.
const SHOWN_SECONDS: f64 = 0.5;

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
    /// Slices that `--recover` could not give back, `[start, end]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<[u64; 2]>,
    /// The fewest passes that weights were decoded from, where some are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    n_passes: Option<usize>,
}

/// Runs the verb.
pub(crate) fn run(args: &DecodeArgs, common: &Common) -> Result<u8, Failure> {
    if let Some(base) = &args.base {
        return meta::decode(args, base, common);
    }
    let tolerated = match (args.recover, args.progressive) {
        (true, _) => Tolerated::Damage,
        (_, true) => Tolerated::MissingPasses,
        _ => Tolerated::Nothing,
    };
    let mut reader = match tolerated {
        Tolerated::Nothing => files::open_asmr(&args.input, common)?,
        _ => files::open_damaged(&args.input, common)?,
    };
    if tolerated == Tolerated::MissingPasses
        && let Err(error) = reader.check_length()
        && !matches!(error, FileError::Truncated { .. })
    {
        return Err(files::unusable(&args.input, &error));
    }
    let header = reader.header().clone();
    let request = request(args, &header)?;
    let option = if args.frames.is_some() { "--frames" } else { "--region" };
    let extents = pieces::output_extents(&header, &request, option)?;
    let output = output_path(args, &header)?;
    let info = output_info(&header.signal, &request, extents)?;
    let is_mesh = ["ply", "obj", "stl"].iter().any(|e| files::has_extension(&output, e));
    // A volume's .npy has its own values; of everything else, the network's.
    let is_raw =
        is_mesh || (files::has_extension(&output, "npy") && !matches!(header.signal.media, Media::Volume(_)));
    if is_mesh && !matches!(info.media, Media::Shape(_)) {
        return Err(Failure::usage(format!(
            "{} is a mesh's name, and {} is no shape; give another with -o",
            output.display(),
            args.input.display()
        )));
    }
    if matches!(info.media, Media::Shape(_)) && !is_raw {
        return Err(Failure::usage(format!(
            "{} names no format of shapes; accepted are .ply, .obj and .stl, and .npy for the network's own values",
            output.display()
        )));
    }
    if let Media::Volume(volume) = &header.signal.media
        && let Some([slope, intercept]) = value_scaling(volume)
        && !is_nifti(&output)
    {
        say(&format!(
            "note: values are written as they are stored; that they mean {slope} times that, plus {intercept}, is told by .nii files only"
        ));
    }
    if args.recover {
        check_recoverable(&mut reader, &args.input, &request)?;
    }
    if is_mesh {
        // Written at the end; all else is begun before the work.
        files::check_output(&output)?;
    }

    let start = Instant::now();
    let wanted =
        Wanted { request: request.clone(), raw: is_raw, precision: args.precision.into(), tolerated };
    let shown = if is_raw {
        SignalInfo { sample_type: SampleType::F32, color: None, value_range: None, ..info.clone() }
    } else {
        info.clone()
    };
    let decoded = if is_mesh {
        let (values, decoded) = pieces::shape_values(&mut reader, &args.input, &wanted)?;
        let mesh = surface(&info, &values, SURFACE_LEVEL)?;
        files::write_file(&output, || write_mesh(&output, &mesh))?;
        decoded
    } else {
        let mut writer: Box<dyn SliceWriter> = if is_raw {
            Box::new(NpyWriter::create(&output, &info.extents, info.channels)?)
        } else {
            create_signal(&output, &info).map_err(with_npy)?
        };
        let decoded =
            pieces::decode(&mut reader, &args.input, &wanted, |piece| Ok(writer.write(&piece.values)?))?;
        files::write_file(&output, || writer.finish())?;
        decoded
    };
    let all_ms = start.elapsed().as_secs_f64() * 1e3;
    let (prepare_ms, decode_s) = (decoded.prepare.as_secs_f64() * 1e3, decoded.decode.as_secs_f64());
    let n_samples = info.n_samples().unwrap_or(0) as f64;
    let report = DecodeReport {
        input: args.input.display().to_string(),
        output: output.display().to_string(),
        signal: SignalReport::new(&shown),
        region: (0..info.extents.len())
            .map(|axis| [request.region.start[axis], request.region.end[axis]])
            .collect(),
        thumbnail: request.thumbnail,
        precision: args.precision.name(),
        prepare_ms,
        decode_ms: decode_s * 1e3,
        msamples_per_s: n_samples / decode_s / 1e6,
        write_ms: (all_ms - prepare_ms - decode_s * 1e3).max(0.0),
        lost: decoded.lost.iter().map(|range| [range.start, range.end]).collect(),
        n_passes: decoded.n_passes,
    };
    if common.json {
        print_json(&report)?;
    } else {
        print(&format!(
            "{}: {}, decoded in {} ({:.1} Msamples/s)\n",
            report.output,
            describe(&shown),
            duration(decode_s),
            report.msamples_per_s
        ))?;
    }
    if let Some(n) = decoded.n_passes {
        say(&format!(
            "{} is not whole: {} decoded from the first {n} of its {} passes, coarser than it was made",
            args.input.display(),
            if header.n_chunks() == 1 { "it is" } else { "some of it is" },
            header.n_passes()
        ));
    }
    if decoded.lost.is_empty() {
        return Ok(if args.recover && decoded.n_passes.is_some() { FAILED } else { OK });
    }
    let lost: Vec<_> = decoded.lost.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
    say(&format!(
        "{} is damaged: of axis 0 (of {}) the samples {} are lost and 0 in {}",
        args.input.display(),
        header.signal.extents[0],
        lost.join(", "),
        output.display()
    ));
    Ok(FAILED)
}

/// Refuses a file of which nothing that is asked for is left, with what is wrong with it.
fn check_recoverable(reader: &mut Reader, path: &Path, request: &Request) -> Result<(), Failure> {
    let header = reader.header().clone();
    let region = request.region;
    let mut first_error = None;
    for chunk in 0..header.n_chunks() {
        let range = header.chunk_range(chunk);
        if range.start.max(region.start[0]) < range.end.min(region.end[0]) {
            match reader.first_passes(chunk, 1) {
                Ok(_) => return Ok(()),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    first_error.map_or(Ok(()), |error| Err(files::unusable(path, &error)))
}

/// Where the result goes: by default beside the input, in a format that suits its kind.
fn output_path(args: &DecodeArgs, header: &FileHeader) -> Result<PathBuf, Failure> {
    let signal = &header.signal;
    let extension = match &signal.media {
        Media::Audio(_) => "wav",
        Media::Video(_) => "y4m",
        Media::Volume(volume) => match volume.container {
            asmr::metadata::VolumeContainer::Nifti => "nii",
            asmr::metadata::VolumeContainer::Npy => "npy",
            asmr::metadata::VolumeContainer::Raw => "raw",
            asmr::metadata::VolumeContainer::Zarr => "zarr",
        },
        Media::Shape(_) => "ply",
        // The colour type tells pictures from arrays; arrays of one to four channels on two axes are pictures, too.
        Media::Plain => {
            let is_picture = signal.extents.len() == 2
                && signal.channels <= 4
                && matches!(signal.sample_type, SampleType::U8 | SampleType::U16);
            if is_picture { "png" } else { "npy" }
        }
    };
    files::output_path(args.output.as_ref(), &args.input, extension, files::none_replaced)
}

/// Whether the name is one of NIfTI-1's, packed or not.
fn is_nifti(path: &Path) -> bool {
    let plain = if files::has_extension(path, "gz") { path.with_extension("") } else { path.to_path_buf() };
    files::has_extension(&plain, "nii")
}

/// Shape and metadata of what is decoded.
fn output_info(signal: &SignalInfo, request: &Request, extents: Vec<usize>) -> Result<SignalInfo, Failure> {
    let start = &request.region.start;
    // Along the first axis, which is the time of sounds and films; chunks of one slice keep all.
    let slower =
        if (extents[0] as u64) < request.region.end[0] - start[0] { request.thumbnail as u32 } else { 1 };
    let mut info = SignalInfo { extents, ..signal.clone() };
    let factor = |axis: usize| match axis {
        0 => f64::from(slower),
        _ if signal.extents[axis] > 1 => request.thumbnail as f64,
        _ => 1.0,
    };
    match &mut info.media {
        Media::Plain => {}
        Media::Audio(audio) => {
            if !audio.sample_rate.is_multiple_of(slower) {
                return Err(Failure::usage(format!(
                    "--thumbnail {slower} of sound at {} Hz has no whole number of samples a second; take a factor that divides its \
                     rate",
                    audio.sample_rate
                )));
            }
            audio.start += start[0];
            audio.sample_rate /= slower;
        }
        Media::Video(video) => {
            video.first_frame += start[0];
            video.rate = slower_rate(video.rate, slower).ok_or_else(|| {
                Failure::usage(format!(
                    "--thumbnail {slower} of a film with {}/{} frames a second has a rate that no film can have; take a smaller factor",
                    video.rate[0], video.rate[1]
                ))
            })?;
        }
        Media::Volume(volume) => {
            let axes = 0..signal.extents.len();
            let first: Vec<f64> =
                axes.clone().map(|axis| start[axis] as f64 + (factor(axis) - 1.0) / 2.0).collect();
            *volume = resampled_volume(volume, &first, &axes.map(factor).collect::<Vec<_>>());
        }
        Media::Shape(shape) => {
            if slower == 1 && request.thumbnail > 1 && info.extents[0] > 1 {
                return Err(Failure::usage(format!(
                    "--thumbnail {} of a shape in chunks of one slice would keep all slices, and a mesh needs samples as far apart along \
                     all axes; decode it without",
                    request.thumbnail
                )));
            }
            for axis in 0..3 {
                // A mean of samples lies in their middle.
                let middle = (factor(2 - axis) - 1.0) / 2.0;
                shape.origin[axis] += shape.spacing * (start[2 - axis] as f64 + middle);
            }
            shape.spacing *= request.thumbnail as f64;
        }
    }
    Ok(info)
}

/// A rate (numerator and denominator) divided by a factor, in lowest terms; none if it is too small to be told.
fn slower_rate([frames, seconds]: [u32; 2], factor: u32) -> Option<[u32; 2]> {
    if factor == 1 {
        return Some([frames, seconds]);
    }
    let seconds = u64::from(seconds) * u64::from(factor);
    let (mut divisor, mut rest) = (u64::from(frames), seconds);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    Some([(u64::from(frames) / divisor) as u32, u32::try_from(seconds / divisor).ok()?])
}

/// The region and the factor asked for; what is left out is the whole.
fn request(args: &DecodeArgs, header: &FileHeader) -> Result<Request, Failure> {
    let signal = &header.signal;
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
            if let Some(start) = start {
                region.start[axis] = sample_of(start, signal)?;
            }
            if let Some(end) = end {
                let extent = signal.extents[axis] as u64;
                region.end[axis] = match (end, &signal.media) {
                    // Its end may be given as it is shown, with a few digits only.
                    (Place::Second(end), Media::Audio(audio))
                        if end <= extent as f64 / f64::from(audio.sample_rate) + SHOWN_SECONDS =>
                    {
                        sample_of(Place::Second(end), signal)?.min(extent)
                    }
                    (end, _) => sample_of(end, signal)?,
                };
            }
        }
    }
    if let Some(FrameBounds(start, end)) = args.frames {
        if !matches!(signal.media, Media::Video(_)) {
            return Err(Failure::usage(format!(
                "--frames is for films, and {} is {}; use --region",
                args.input.display(),
                describe(signal)
            )));
        }
        if args.region.is_some() {
            return Err(Failure::usage(
                "--frames and --region contradict each other: the first range of --region is the frames; leave --frames out",
            ));
        }
        (region.start[0], region.end[0]) = (start, end.unwrap_or(region.end[0]));
    }
    Ok(Request { region, thumbnail: args.thumbnail.unwrap_or(1) })
}

/// A place as a sample's number.
fn sample_of(place: Place, signal: &SignalInfo) -> Result<u64, Failure> {
    match (place, &signal.media) {
        (Place::Sample(sample), _) => Ok(sample),
        (Place::Second(second), Media::Audio(audio)) => {
            Ok((second * f64::from(audio.sample_rate)).round() as u64)
        }
        (Place::Second(second), _) => Err(Failure::usage(format!(
            "--region has {second}s, and only sound is cut by seconds; this is {}: give the numbers of samples",
            describe(signal)
        ))),
    }
}

/// Says that there is also a way without any format's limits.
fn with_npy(error: MediaError) -> Failure {
    match error {
        MediaError::UnknownExtension { .. } => {
            Failure::usage(format!("{error}, and .npy for the network's own floats"))
        }
        other => other.into(),
    }
}
