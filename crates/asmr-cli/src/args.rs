//! The command line: verbs, options, what each accepts, and what is said about a wrong call.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments here are the help text, which shows backticks as they are"
)]

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asmr::inference::Precision;
use asmr::metadata::ShapeField;
use asmr::network::{MAX_WIDTH, Modulator};
use asmr::partition::{MAX_LEVELS, MIN_LEVELS, parse_bases};
use asmr::signal::{MAX_AXES, MAX_EXTENT, SampleType};
use asmr_train::config::Preset;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::{OK, USAGE, say};
use crate::files::{has_extension, is_picture_name};
use crate::report::{print, quote};

/// The most threads that can be asked for.
const MAX_THREADS: u64 = 1024;
/// The longest time limit: 1000 hours.
const MAX_TIME_S: f64 = 3_600_000.0;
/// The most repetitions of a timing.
const MAX_REPS: u64 = 100_000;

const EXAMPLES: &str = "\
Examples:
  asmr encode photo.jpg                     writes photo.asmr, shows quality, size and cost
  asmr encode photo.jpg --time 20s -o p.asmr  the best quality that 20 seconds of fitting give
  asmr decode photo.asmr -o back.png        the whole picture
  asmr info photo.asmr                      what is inside, and what each part costs
  asmr eval photo.asmr photo.jpg            quality, size and speed against the original

Exit codes: 0 done; 1 a write failed or a target was missed; 2 wrong call or unusable input; 130 ended by Ctrl-C.";

const ENCODE_EXAMPLES: &str = "\
Examples:
  asmr encode photo.jpg                               defaults; writes photo.asmr beside it
  asmr encode song.flac --start 30 --duration 10
  asmr encode film.mp4 --frames 0..64
  asmr encode brain.nii.gz
  asmr encode ct.raw --shape 108,256,256 --dtype i16 --spacing 1.5,0.957,0.957
  asmr encode bunny.obj --resolution 128 --field distance
  asmr encode photo.jpg --preset best --levels 5 --width 192 --seed 7
  asmr encode photo.jpg --psnr 38                     stops as soon as 38 dB are reached
  asmr encode photo.jpg --time 20s                    the best quality within 20 seconds of fitting
  asmr encode photo.jpg --mac 1000                    a network that executes at most 1000 MAC/sample
  asmr encode photo.jpg --bases \"4,4,4,8;4,4,6,8\" --width 256 --preset paper --steps 1000 --lr 1e-3

Ctrl-C ends the fit and writes the best network so far (exit code 130); a second Ctrl-C ends at once.
A fit of more than a minute keeps its state beside the output (.asmr.resume) until it is done; --resume goes on from it.";

const DECODE_EXAMPLES: &str = "\
Examples:
  asmr decode photo.asmr -o out.png
  asmr decode photo.asmr -o part.png --region 100..228,64..192   rows 100 to 227, columns 64 to 191
  asmr decode photo.asmr -o part.png --region 100..,..192        an end left out is the signal's own
  asmr decode photo.asmr -o small.png --thumbnail 8              exact means of boxes of 8 x 8 samples
  asmr decode photo.asmr -o out.npy                              the network's own floats, unclamped

  asmr decode song.asmr -o part.wav --region 12.5s..14s
  asmr decode film.asmr -o part.mp4 --frames 10..20

Pictures: .png .jpg .webp .tif .bmp .ppm .pgm .pam .tga .qoi. Sound: .wav .flac. Films: .y4m .mp4 .mkv .webm .mov .avi or
a folder of .png frames. Volumes: .nii .nii.gz .npy .npz .raw .zarr. Shapes: .ply .obj .stl. Anything: .npy";

/// Small networks for pictures, sound, films, volumes and shapes: encode one, look at what it costs, get it back.
#[derive(Debug, Parser)]
#[command(name = "asmr", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Threads to use, 1 to 1024 [default: all cores]; results do not depend on it
    #[arg(
        long,
        global = true,
        value_name = "N",
        allow_hyphen_values = true, value_parser = whole(1..=MAX_THREADS)
    )]
    pub(crate) threads: Option<usize>,
    /// Show no progress (results, notes and errors are still told)
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print the result as one JSON object on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fit a network to a picture, a recording, a film, a volume or a mesh and write it as an .asmr file
    Encode(Box<EncodeArgs>),
    /// Get the signal (or a region, a thumbnail, the raw floats) back from an .asmr file
    Decode(DecodeArgs),
    /// Show what an .asmr file holds and what each part of its network costs
    Info(InfoArgs),
    /// Measure an .asmr file against the original: quality, size, decoding speed
    Eval(EvalArgs),
    /// Make an .asmr file of weights from PyTorch (.safetensors)
    Import(ImportArgs),
    /// Write the weights of an .asmr file for PyTorch (.safetensors)
    Export(ExportArgs),
}

/// Options of `encode`.
#[derive(Debug, Args)]
#[command(after_help = ENCODE_EXAMPLES)]
pub(crate) struct EncodeArgs {
    /// A picture (PNG, JPEG, WebP, TIFF, PNM, BMP, TGA, GIF, QOI, ICO), sound (WAV, FLAC, MP3, Ogg Vorbis), a film (Y4M, a
    /// folder of PNG frames, anything that ffmpeg reads), a volume (NIfTI, NPY, NPZ, Zarr, plain values with --shape) or
    /// a mesh (OBJ, PLY, STL); told apart by content
    pub(crate) input: PathBuf,
    #[command(flatten)]
    pub(crate) part: PartArgs,
    /// The .asmr file to write [default: the input's name with .asmr, beside the input; replaces an .asmr file]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Settings to start from; other options override them
    #[arg(long, value_enum, default_value_t = PresetName::Default)]
    pub(crate) preset: PresetName,
    /// Levels of the network, 2 to 32 [default: by the picture's extents; paper: 4]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true, value_parser = whole(MIN_LEVELS as u64..=MAX_LEVELS as u64)
    )]
    pub(crate) levels: Option<usize>,
    /// Neurons of each layer, 1 to 16384 [default: up to 256, by the picture's extents; paper: 256]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true, value_parser = whole(1..=MAX_WIDTH as u64)
    )]
    pub(crate) width: Option<usize>,
    /// Bases per axis, coarsest level first, as in "4,4,4,8;4,4,6,8" (rows;columns); an axis' product must reach
    /// its extent, and a larger one pads
    #[arg(long, value_name = "BASES", allow_hyphen_values = true, value_parser = bases)]
    pub(crate) bases: Option<Bases>,
    /// The most multiply-adds a decode may execute per sample; bases (and the width, if not given) are chosen to fit
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = mac)]
    pub(crate) mac: Option<f64>,
    /// How a level's digits act on the layer before it
    #[arg(long, value_enum, default_value_t = ModulatorName::Linear)]
    pub(crate) modulator: ModulatorName,
    /// Factor inside every sine, above 0 and at most 10000
    #[arg(long = "omega-0", alias = "omega_0", value_name = "X", default_value = "30", allow_hyphen_values = true, value_parser = omega_0)]
    pub(crate) omega_0: f32,
    /// Seed of the initial weights [default: 0]; the same seed gives the same file, unless --time is given
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// Optimiser updates, 1 to 1000000000 [default: the preset's]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = steps)]
    pub(crate) steps: Option<u32>,
    /// Learning rate at its highest, above 0 and at most 1 [default: the preset's]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = rate)]
    pub(crate) lr: Option<f64>,
    /// Part of the cells in each step's batch: "full", or a fraction such as 0.25 or 1/4 [default: the preset's]
    #[arg(long, value_name = "full|FRACTION", allow_hyphen_values = true, value_parser = batch)]
    pub(crate) batch: Option<f64>,
    /// Stop as soon as the decoded picture reaches this PSNR; missing it gives exit code 1
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = psnr)]
    pub(crate) psnr: Option<f64>,
    /// Fit for this long, as in 500ms, 20s, 5m or 1h; without --steps, steps are as many as fit in, and a short
    /// time gets a narrower network unless --width, --bases or --mac is given
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Slices of the slowest axis in one network of a long signal (samples of sound, frames, slices of a volume)
    /// [default: all, or what suits one fit: some 12 s of sound, 16 frames of 1280 x 720]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole(1..=MAX_EXTENT as u64))]
    pub(crate) chunk: Option<usize>,
    /// Go on with a fit that was killed, from what it kept beside the output; from the beginning if there is nothing
    #[arg(long)]
    pub(crate) resume: bool,
    /// How often a long fit keeps its state
    #[arg(long, value_name = "TIME", default_value = "1m", allow_hyphen_values = true, value_parser = time)]
    pub(crate) checkpoint: Duration,
}

/// What is cut from the input, or how it is sampled.
#[derive(Debug, Default, Args)]
pub(crate) struct PartArgs {
    /// Of sound: where to start, in seconds
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = seconds)]
    pub(crate) start: Option<f64>,
    /// Of sound: how long, in seconds
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = seconds)]
    pub(crate) duration: Option<f64>,
    /// Of a film: these frames, END not included
    #[arg(long, value_name = "START..END", allow_hyphen_values = true, value_parser = frames)]
    pub(crate) frames: Option<FrameBounds>,
    /// Of plain values: the extents, slowest axis first, as in 108,256,256
    #[arg(long, value_name = "EXTENTS", allow_hyphen_values = true, value_parser = shape)]
    pub(crate) shape: Option<Extents>,
    /// Of plain values: their type
    #[arg(long, value_name = "TYPE", value_parser = sample_type)]
    pub(crate) dtype: Option<SampleType>,
    /// Of plain values: the high byte comes first
    #[arg(long)]
    pub(crate) big_endian: bool,
    /// Of plain values: distance of neighbouring samples along each axis, as in 1.5,0.957,0.957
    #[arg(long, value_name = "DISTANCES", allow_hyphen_values = true, value_parser = spacing)]
    pub(crate) spacing: Option<Distances>,
    /// Of a file with several arrays: the one to take
    #[arg(long, value_name = "NAME")]
    pub(crate) array: Option<String>,
    /// Of a mesh: samples along each side of its grid, 8 to 2048 [default: 256]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole(8..=2048))]
    pub(crate) resolution: Option<usize>,
    /// Of a mesh: what the grid tells [default: occupancy]
    #[arg(long, value_enum)]
    pub(crate) field: Option<FieldName>,
}

/// [`ShapeField`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FieldName {
    /// 1 inside, 0 outside
    Occupancy,
    /// Distance to the surface, truncated
    Distance,
}

impl From<FieldName> for ShapeField {
    fn from(name: FieldName) -> Self {
        match name {
            FieldName::Occupancy => Self::Occupancy,
            FieldName::Distance => Self::Distance,
        }
    }
}

/// First frame, and one past the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameBounds(pub(crate) u64, pub(crate) Option<u64>);

/// Extents, slowest axis first.
#[derive(Clone, Debug)]
pub(crate) struct Extents(pub(crate) Vec<usize>);

/// Distances of samples, slowest axis first.
#[derive(Clone, Debug)]
pub(crate) struct Distances(pub(crate) Vec<f64>);

/// Options of `decode`.
#[derive(Debug, Args)]
#[command(after_help = DECODE_EXAMPLES)]
pub(crate) struct DecodeArgs {
    /// The .asmr file
    pub(crate) input: PathBuf,
    /// The file to write, its format by its extension [default: the input's name with .png (.npy for what is no
    /// picture), beside the input, if that is free]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Only these samples: one range START..END per axis (END not included), slowest axis first (rows before columns),
    /// separated by commas; of sound also in seconds, as in 12.5s..14s
    #[arg(long, value_name = "Y0..Y1,X0..X1", allow_hyphen_values = true, value_parser = region)]
    pub(crate) region: Option<Ranges>,
    /// Of a film: only these frames, END not included
    #[arg(long, value_name = "START..END", allow_hyphen_values = true, value_parser = frames)]
    pub(crate) frames: Option<FrameBounds>,
    /// A picture smaller by this factor, exactly averaged; `asmr info` lists the factors of a file
    #[arg(long, value_name = "FACTOR", allow_hyphen_values = true, value_parser = whole(1..=u64::MAX))]
    pub(crate) thumbnail: Option<usize>,
    /// Arithmetic of the matrix products
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    pub(crate) precision: PrecisionName,
}

/// Options of `info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The .asmr file
    pub(crate) input: PathBuf,
}

/// Options of `eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The .asmr file
    pub(crate) input: PathBuf,
    /// What it was made of; the part that was cut from it is cut again
    pub(crate) original: PathBuf,
    /// Decodes to time, 1 to 100000; the median is told
    #[arg(
        long,
        value_name = "N",
        default_value = "20",
        allow_hyphen_values = true, value_parser = whole(1..=MAX_REPS)
    )]
    pub(crate) reps: usize,
    /// Arithmetic of the matrix products
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    pub(crate) precision: PrecisionName,
}

/// Options of `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The .safetensors file, with tensors under the names of the authors' PyTorch models
    pub(crate) input: PathBuf,
    /// The .asmr file to write [default: the input's name with .asmr, beside the input, if that is free]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The bases the network was trained with, as in "4,4,4,8;4,4,6,8"; needed if the file does not tell
    #[arg(long, value_name = "BASES", allow_hyphen_values = true, value_parser = bases)]
    pub(crate) bases: Option<Bases>,
}

/// Options of `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The .asmr file
    pub(crate) input: PathBuf,
    /// The .safetensors file to write [default: the input's name with .safetensors, beside the input, if that is
    /// free]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// [`Preset`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PresetName {
    /// A look in a few seconds
    Fast,
    /// Good quality in well under a minute for a photograph
    Default,
    /// The best quality known, at several times the default's time
    Best,
    /// The published protocol: Adam at 1e-4, 10,000 full-batch steps, width 256, 4 levels
    Paper,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Fast => Self::Fast,
            PresetName::Default => Self::Default,
            PresetName::Best => Self::Best,
            PresetName::Paper => Self::Paper,
        }
    }
}

/// [`Modulator`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// Single precision
    F32,
    /// 16-bit fixed point: quicker on x86 with AVX2, about 13 bits at width 256
    Int16,
    /// 8-bit fixed point: as quick as int16, coarser
    Int8,
    /// bfloat16: not quicker here, to see what it costs
    Bf16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::Int16 => Self::Int16,
            PrecisionName::Int8 => Self::Int8,
            PrecisionName::Bf16 => Self::Bf16,
        }
    }
}

impl PrecisionName {
    /// As typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ModulatorName {
    /// A matrix on the digit's coordinate
    Linear,
    /// A small network of the digit's coordinate
    Nonlinear,
    /// One free vector per digit
    Table,
}

impl From<ModulatorName> for Modulator {
    fn from(name: ModulatorName) -> Self {
        match name {
            ModulatorName::Linear => Self::Linear,
            ModulatorName::Nonlinear => Self::Nonlinear,
            ModulatorName::Table => Self::Table,
        }
    }
}

/// Bases as `[axis][level]`.
#[derive(Clone, Debug)]
pub(crate) struct Bases(pub(crate) Vec<Vec<usize>>);

/// A range per axis, either end of which may be left out.
#[derive(Clone, Debug)]
pub(crate) struct Ranges(pub(crate) Vec<(Option<Place>, Option<Place>)>);

/// A place along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    /// A sample's number.
    Sample(u64),
    /// A time in seconds.
    Second(f64),
}

fn bases(text: &str) -> Result<Bases, String> {
    parse_bases(text).map(Bases).map_err(|error| error.to_string())
}

/// Takes whole numbers in a range.
fn whole(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| {
        let number = text.trim().parse().ok().filter(|n| range.contains(n));
        number.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| match *range.end() {
            u64::MAX => format!("it must be a whole number, at least {}", range.start()),
            end => format!("it must be a whole number, {} to {end}", range.start()),
        })
    }
}

fn steps(text: &str) -> Result<u32, String> {
    whole(1..=1_000_000_000)(text).map(|steps| steps as u32)
}

fn seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| format!("it must be a whole number, 0 to {}", u64::MAX))
}

/// A finite number in a range.
fn number(text: &str, range: &str, accepts: impl Fn(f64) -> bool) -> Result<f64, String> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|x| x.is_finite() && accepts(*x))
        .ok_or_else(|| format!("it must be {range}"))
}

fn mac(text: &str) -> Result<f64, String> {
    number(text, "a number above 0, in MAC/sample", |x| x > 0.0)
}

fn omega_0(text: &str) -> Result<f32, String> {
    number(text, "a number above 0 and at most 10000", |x| x as f32 > 0.0 && x <= 10_000.0).map(|x| x as f32)
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and at most 1, as in 1e-3", |x| x > 0.0 && x <= 1.0)
}

fn psnr(text: &str) -> Result<f64, String> {
    number(text, "a number above 0 and at most 200, in dB", |x| x > 0.0 && x <= 200.0)
}

fn batch(text: &str) -> Result<f64, String> {
    if text.eq_ignore_ascii_case("full") {
        return Ok(1.0);
    }
    let range = "\"full\", or a fraction above 0 and at most 1, as in 0.25 or 1/4";
    let value = match text.split_once('/') {
        Some((over, under)) => number(over, range, |x| x > 0.0)? / number(under, range, |x| x > 0.0)?,
        None => number(text, range, |_| true)?,
    };
    if value > 0.0 && value <= 1.0 { Ok(value) } else { Err(format!("it must be {range}")) }
}

fn time(text: &str) -> Result<Duration, String> {
    let range = "a number and a unit (ms, s, m or h), more than 0 and at most 1000h, as in 20s";
    let split = text.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |i| i + 1);
    // The last character that is no letter may have several bytes; then it is no number either.
    let (value, unit) = text.split_at_checked(split).ok_or_else(|| format!("it must be {range}"))?;
    let seconds_per_unit = match unit {
        "ms" => 1e-3,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("it must be {range}")),
    };
    let seconds = number(value, range, |x| x > 0.0)? * seconds_per_unit;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| seconds <= MAX_TIME_S && !time.is_zero())
        .ok_or_else(|| format!("it must be {range}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text.strip_suffix('s').unwrap_or(text), "a number of seconds, 0 or more", |x| {
        (0.0..=1e9).contains(&x)
    })
}

fn frames(text: &str) -> Result<FrameBounds, String> {
    let wrong = || "write START..END, as in 0..64 (an end may be left out)".to_owned();
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let place = |text: &str, default: Option<u64>| match text.trim() {
        "" => Ok(default),
        text => text.parse().map(Some).map_err(|_| wrong()),
    };
    let (start, end) = (place(start, Some(0))?.unwrap_or(0), place(end, None)?);
    if end.is_some_and(|end| end <= start) {
        return Err(format!("there is no frame in it; {}", wrong()));
    }
    Ok(FrameBounds(start, end))
}

fn shape(text: &str) -> Result<Extents, String> {
    let extents: Result<Vec<usize>, _> = text.split(',').map(|e| e.trim().parse()).collect();
    extents
        .ok()
        .filter(|e| (1..=MAX_AXES).contains(&e.len()) && e.iter().all(|e| (1..=MAX_EXTENT).contains(e)))
        .map(Extents)
        .ok_or_else(|| {
            format!("it must be 1 to {MAX_AXES} whole numbers above 0, slowest axis first, as in 108,256,256")
        })
}

fn sample_type(text: &str) -> Result<SampleType, String> {
    use SampleType::{F32, F64, I8, I16, I32, U8, U16, U32};
    let all = [U8, I8, U16, I16, U32, I32, F32, F64];
    all.into_iter()
        .find(|t| t.name() == text)
        .ok_or_else(|| format!("it must be one of {}", all.map(SampleType::name).join(", ")))
}

fn spacing(text: &str) -> Result<Distances, String> {
    let distances: Result<Vec<f64>, _> = text.split(',').map(|d| d.trim().parse::<f64>()).collect();
    distances
        .ok()
        .filter(|d| d.iter().all(|d| d.is_finite() && *d > 0.0))
        .map(Distances)
        .ok_or_else(|| "it must be numbers above 0, one per axis, as in 1.5,0.957,0.957".to_owned())
}

fn region(text: &str) -> Result<Ranges, String> {
    let end = |text: &str| {
        let text = text.trim();
        if text.is_empty() {
            Some(None)
        } else if let Some(time) = text.strip_suffix('s') {
            let second: f64 = time.parse().ok()?;
            (0.0..=1e9).contains(&second).then_some(Some(Place::Second(second)))
        } else {
            text.parse().ok().map(|sample| Some(Place::Sample(sample)))
        }
    };
    text.split(',')
        .map(|range| {
            range.split_once("..").and_then(|(start, stop)| Some((end(start)?, end(stop)?))).ok_or_else(|| {
                format!(
                    "'{}' is not a range; write START..END for each axis, rows first, as in 0..128,64..192 (an end may be left out)",
                    range.trim()
                )
            })
        })
        .collect::<Result<_, _>>()
        .map(Ranges)
}

/// Reads the command line. What is answered at once (help, version, a wrong call) has been answered when this gives
/// an exit code.
pub(crate) fn parse() -> Result<Cli, u8> {
    Cli::try_parse().map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&error.render().to_string()).map_or_else(|failure| failure.report(), |()| OK)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            use std::io::Write as _;
            let _ = write!(std::io::stderr(), "{}", error.render());
            USAGE
        }
        _ => {
            say(&wrong_call(&error));
            USAGE
        }
    })
}

/// One sentence for a wrong call.
fn wrong_call(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        return unknown_verb(word, error);
    }
    let text = error.render().to_string();
    // The first paragraph is the error, later ones are tips and the usage.
    let mut paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let mut sentence = first.strip_prefix("error: ").unwrap_or(&first).trim_end_matches(':').to_owned();
    // "to pass '--x' as a value, use '-- --x'" helps nobody here.
    let tips = paragraphs.filter_map(|p| p.strip_prefix("tip: ").map(str::to_owned));
    for tip in tips.filter(|tip| !tip.starts_with("to pass")) {
        sentence = format!("{sentence} ({tip})");
    }
    let verb = std::env::args_os().skip(1).find_map(|word| verb_named(&word));
    sentence + &format!("; see: asmr {}--help", verb.map_or_else(String::new, |verb| verb + " "))
}

fn verb_named(word: &OsString) -> Option<String> {
    let verbs = ["encode", "decode", "info", "eval", "import", "export"];
    verbs.iter().find(|verb| word == *verb).map(|verb| (*verb).to_owned())
}

/// What to type instead of a word that is no verb: most often somebody names a file and nothing else.
fn unknown_verb(word: &str, error: &clap::Error) -> String {
    let path = Path::new(word);
    let name = quote(path);
    if has_extension(path, "asmr") {
        return format!(
            "'{word}' is not a command; to get its signal back type: asmr decode {name}; to look at it type: asmr info {name}"
        );
    }
    if has_extension(path, "safetensors") {
        return format!("'{word}' is not a command; to import it type: asmr import {name}");
    }
    if is_picture_name(path) || path.exists() {
        return format!("'{word}' is not a command; to encode it type: asmr encode {name}");
    }
    let similar = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(words)) if !words.is_empty() => {
            format!(" (did you mean {}?)", words.join(" or "))
        }
        _ => String::new(),
    };
    format!(
        "'{word}' is not a command{similar}; commands are encode, decode, info, eval, import and export; see: asmr --help"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        let accepted = [("20s", 20.0), ("1.5m", 90.0), ("250ms", 0.25), ("2h", 7200.0), ("1e1s", 10.0)];
        for (text, seconds) in accepted {
            assert_eq!(time(text).map(|t| t.as_secs_f64()), Ok(seconds), "{text}");
        }
        let refused =
            ["", "s", "20", "-1s", "0s", "nans", "infs", "1001h", "1e400h", "20 parsecs", "é", "é1s", "1é"];
        for text in refused {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batches() {
        let accepted = [("full", 1.0), ("FULL", 1.0), ("0.25", 0.25), ("1/4", 0.25), ("1", 1.0)];
        for (text, value) in accepted {
            assert_eq!(batch(text), Ok(value), "{text}");
        }
        for text in ["", "0", "-0.5", "1.5", "nan", "inf", "1/0", "0/1", "3/2", "1/nan", "half"] {
            assert!(batch(text).is_err(), "{text}");
        }
    }

    #[test]
    fn regions() {
        let sample = |i| Some(Place::Sample(i));
        assert_eq!(region("1..5,2..7").unwrap().0, [(sample(1), sample(5)), (sample(2), sample(7))]);
        assert_eq!(region("..,3..").unwrap().0, [(None, None), (sample(3), None)]);
        assert_eq!(region("..4").unwrap().0, [(None, sample(4))]);
        let second = |s| Some(Place::Second(s));
        assert_eq!(region("12.5s..14s").unwrap().0, [(second(12.5), second(14.0))]);
        for text in [
            "",
            "5",
            "1-5",
            "1..=5",
            "-1..5",
            "1...5",
            "a..b",
            "1..5;2..7",
            "1..5,",
            "1..99999999999999999999",
            "-1s..2s",
            "nans..2s",
            "1.5..2",
        ] {
            assert!(region(text).is_err(), "{text}");
        }
    }
}
