//! The command line: verbs, options, what each accepts, and what is said about a wrong call.

#![allow(
    clippy::doc_markdown,
    reason = "doc comments here are the help text, which shows backticks as they are"
)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use asmr::file::Encoding;
use asmr::inference::Precision;
use asmr::metadata::ShapeField;
use asmr::network::{MAX_WIDTH, Modulator};
use asmr::partition::{MAX_LEVELS, MIN_LEVELS};
use asmr::signal::{MAX_EXTENT, SampleType};
use asmr_media::ShapeOptions;
use asmr_train::config::Preset;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "compare")]
use crate::compare::CompareArgs;
use crate::error::{OK, USAGE, say};
use crate::files::{has_extension, is_picture_name};
use crate::meta::MetaTrainArgs;
use crate::report::{print, quote};
use crate::values::{
    Bases, Distances, Extents, FrameBounds, Ranges, bases, batch, bpp, bytes, factor, frames, loss, mac,
    max_error, omega_0, psnr, rate, region, sample_type, seam_weight, seconds, seed, shape, spacing, steps,
    time, whole,
};

/// The most threads that can be asked for.
const MAX_THREADS: u64 = 1024;
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
  asmr encode photo.jpg --bytes 40k                   the best quality in 40,000 bytes
  asmr encode photo.jpg --psnr 34                     the smallest file with 34 dB
  asmr encode photo.jpg --psnr 34 --width 256         stops as soon as 34 dB are reached
  asmr encode ct.nii.gz --max-error 4                 no value off by more than 4
  asmr encode scan.png --lossless                     every value as it was
  asmr encode photo.jpg --progressive                 a file whose beginning decodes, too
  asmr encode photo.jpg --time 20s                    the best quality within 20 seconds of fitting
  asmr encode photo.jpg --mac 1000                    a network that executes at most 1000 MAC/sample
  asmr encode photo.jpg --bases \"4,4,4,8;4,4,6,8\" --width 256 --preset paper --steps 1000 --lr 1e-3

Ctrl-C ends the fit and writes the best network so far (exit code 130); a second Ctrl-C ends at once.
A fit of more than a minute, and one in chunks that is stopped, keeps its state beside the output (.asmr.resume) until it is done;
--resume goes on from it.";

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
    /// Factor on what a file may ask for, 1 to 1024 (2^32 decoded values, 2^26 values of tables, 4 GiB of a picture): for large
    /// signals that you trust
    #[arg(
        long,
        global = true,
        value_name = "FACTOR",
        default_value_t = 1,
        hide_default_value = true,
        allow_hyphen_values = true, value_parser = factor
    )]
    pub(crate) limits: u32,
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
    /// Check a whole .asmr file, every byte, without decoding it
    Verify(VerifyArgs),
    /// Measure an .asmr file against the original: quality, size, decoding speed
    Eval(EvalArgs),
    /// Fit this method and its rivals to a picture on equal terms: one table, and a page with pictures and error maps
    #[cfg(feature = "compare")]
    Compare(CompareArgs),
    /// Learn from many small pictures a network that they share; others are then encoded in milliseconds (encode --base)
    MetaTrain(MetaTrainArgs),
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
    /// Levels of the network, 2 to 32 [default: by the signal's extents; paper: 4 for sound and pictures, 10 for films, 6 for large pictures]
    #[arg(
        long,
        value_name = "N",
        allow_hyphen_values = true, value_parser = whole(MIN_LEVELS as u64..=MAX_LEVELS as u64)
    )]
    pub(crate) levels: Option<usize>,
    /// Neurons of each layer, 1 to 16384 [default: up to 256, of large signals 512; paper: 128 for sound, 256 for pictures, 512 for films and large pictures]
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
    /// Learning rate at its highest, above 0 and at most 1; of a fit in batches that --time ends, that of 200 steps [default: the
    /// preset's]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = rate)]
    pub(crate) lr: Option<f64>,
    /// Part of the cells in each step's batch: "full", or a fraction such as 0.25 or 1/4 [default: the preset's]
    #[arg(long, value_name = "full|FRACTION", allow_hyphen_values = true, value_parser = batch)]
    pub(crate) batch: Option<f64>,
    /// Weight in the fit of samples at the edges of the network's blocks, 0.01 to 100 [default: 1, for long sounds 2]: 2 to 4
    /// make seams less visible or audible, at some cost inside the blocks
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = seam_weight)]
    pub(crate) seam_weight: Option<f64>,
    /// How weights are stored: 32-bit floats, or rounded and entropy-coded [default: coded]
    #[arg(long, value_enum)]
    pub(crate) weights: Option<WeightsName>,
    /// By how many dB of PSNR rounding the weights may lower the quality, above 0 and at most 20 [default: 0.25; with
    /// --progressive, --max-error and --lossless 0.1]
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = loss)]
    pub(crate) loss: Option<f64>,
    /// The size of the file: at most this, and about that, as in 40k (40,000 bytes), 1.5M or 64KiB; the width follows from it
    /// unless given; below 16 KiB without the record of the fit
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = bytes)]
    pub(crate) bytes: Option<u64>,
    /// The size of the file in bits per sample (pixel), at most and about; as --bytes
    #[arg(long, value_name = "BITS", allow_hyphen_values = true, value_parser = bpp, conflicts_with = "bytes")]
    pub(crate) bpp: Option<f64>,
    /// The quality of the decoded signal: the smallest network that reaches this PSNR is searched; with --width, --bases, --mac,
    /// --time or --weights f32, and for signals of more than 2^21 samples or of several chunks, that network's fit stops as soon as it
    /// does. Missing it gives exit code 1
    #[arg(long, value_name = "DB", allow_hyphen_values = true, value_parser = psnr)]
    pub(crate) psnr: Option<f64>,
    /// The most by which a decoded value may differ from its original, in the signal's own units (a whole number for whole numbers):
    /// what the network is off by more is corrected, in a part of the file that grows as this falls; a narrow network by default
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = max_error)]
    pub(crate) max_error: Option<f64>,
    /// Get every value back as it was (whole numbers only): --max-error 0
    #[arg(long, conflicts_with = "max_error")]
    pub(crate) lossless: bool,
    /// Write in progressive order: a file that is cut off decodes from what there is of it, with coarser weights (see decode
    /// --progressive); about a seventh larger
    #[arg(long)]
    pub(crate) progressive: bool,
    /// Fit for this long, as in 500ms, 20s, 5m or 1h; without --steps, steps are as many as fit in, and a short
    /// time gets a narrower network unless --width, --bases, --mac or --preset paper is given
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = time)]
    pub(crate) time: Option<Duration>,
    /// Slices of the slowest axis in one network of a long signal (samples of sound, frames, slices of a volume)
    /// [default: all, or what suits one fit: some 12 s of sound, 16 frames of 1280 x 720]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole(1..=MAX_EXTENT as u64))]
    pub(crate) chunk: Option<usize>,
    /// Go on with a fit that was killed or stopped, from what it kept beside the output; from the beginning if there is nothing. Without
    /// this, a fit that would replace what is kept is refused
    #[arg(long)]
    pub(crate) resume: bool,
    /// How often a long fit keeps its state; the search of --psnr keeps none
    #[arg(long, value_name = "TIME", default_value = "1m", allow_hyphen_values = true, value_parser = time)]
    pub(crate) checkpoint: Duration,
    /// A base (see asmr meta-train): the input, a picture or a folder of them, is fitted by a few steps from there (--steps), and only
    /// the numbers that are its own are written, as .npy, a row for each picture
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "start", "duration", "frames", "shape", "dtype", "big_endian", "spacing", "array", "resolution", "field", "preset", "levels",
        "width", "bases", "mac", "modulator", "omega_0", "seed", "lr", "batch", "seam_weight", "weights", "loss", "bytes", "bpp", "psnr",
        "max_error", "lossless", "progressive", "time", "chunk", "resume", "checkpoint",
    ])]
    pub(crate) base: Option<PathBuf>,
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
    /// Of a mesh: samples along each side of its grid, 8 to 1024 [default: 256]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = whole(8..=ShapeOptions::MAX_RESOLUTION as u64))]
    pub(crate) resolution: Option<usize>,
    /// Of a mesh: what the grid tells [default: occupancy]
    #[arg(long, value_enum)]
    pub(crate) field: Option<FieldName>,
}

/// [`Encoding`] on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    /// 32-bit floats
    F32,
    /// Multiples of quantisation steps, entropy-coded
    Coded,
}

impl From<WeightsName> for Encoding {
    fn from(name: WeightsName) -> Self {
        match name {
            WeightsName::F32 => Self::F32,
            WeightsName::Coded => Self::Coded,
        }
    }
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
    /// Decode what there is of a file in progressive order that is not all there, with the weights of its whole passes
    #[arg(long)]
    pub(crate) progressive: bool,
    /// Decode what is whole of a damaged or cut file: chunks, in progressive order with the weights of their whole passes; the rest
    /// is 0 (and the exit code 1)
    #[arg(long, conflicts_with = "progressive")]
    pub(crate) recover: bool,
    /// The base by which encode --base made the input, which is an .npy file then: a picture, or a folder of them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["region", "frames", "thumbnail", "precision", "progressive", "recover"])]
    pub(crate) base: Option<PathBuf>,
}

/// Options of `info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The .asmr file
    pub(crate) input: PathBuf,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
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
    /// The published protocol: Adam at 1e-4, 10,000 full-batch steps (large pictures: 500 epochs), its widths and bases where no size,
    /// quality or bound on errors chooses others
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

/// Reads the command line. What is answered at once (help, version, a wrong call) has been answered when this gives
/// an exit code.
pub(crate) fn parse() -> Result<Cli, u8> {
    let words: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print(&error.render().to_string()).map_or_else(|failure| failure.report(), |()| OK)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            use std::io::Write as _;
            let _ = write!(std::io::stderr(), "{}", error.render());
            USAGE
        }
        _ => {
            say(&wrong_call(&error, &words));
            USAGE
        }
    })
}

/// One sentence for a wrong call; `words` are its arguments, the program's name first.
pub(crate) fn wrong_call(error: &clap::Error, words: &[OsString]) -> String {
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
    let verb = words.iter().skip(1).find_map(verb_named);
    sentence + &format!("; see: asmr {}--help", verb.map_or_else(String::new, |verb| verb + " "))
}

/// All verbs.
const VERBS: &[&str] = &[
    "encode",
    "decode",
    "info",
    "verify",
    "eval",
    #[cfg(feature = "compare")]
    "compare",
    "meta-train",
    "import",
    "export",
];

fn verb_named(word: &OsString) -> Option<String> {
    VERBS.iter().find(|verb| word == *verb).map(|verb| (*verb).to_owned())
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
    let (last, others) = VERBS.split_last().unwrap_or((&"", &[]));
    format!(
        "'{word}' is not a command{similar}; commands are {} and {last}; see: asmr --help",
        others.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let command = Cli::command();
        let named: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(named, VERBS);
    }
}
