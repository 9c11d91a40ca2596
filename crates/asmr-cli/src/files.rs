//! Reading `.asmr` files, and where results may be written.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use asmr::file::{AsmrFile, AsmrReader, FileError, Limits, MAGIC};
use asmr::inference::{Decoder, Request, RequestError, Value};
use asmr::signal::{SampleType, Samples, SignalInfo};
use asmr_media::{MediaError, PictureFormat, write_atomically};

use crate::args::Common;
use crate::error::Failure;
use crate::interrupt;
use crate::report::quote;

/// Whether the extension is that of a picture that can be encoded.
pub(crate) fn is_picture_name(path: &Path) -> bool {
    PictureFormat::from_path(path).is_ok()
        || ["gif", "ico", "pbm"].iter().any(|extension| has_extension(path, extension))
}

/// Extensions of what is read or written beside pictures: of sound, films, volumes and other arrays, and meshes.
const MEDIA: [&str; 22] = [
    "wav",
    "flac",
    "mp3",
    "ogg",
    "y4m",
    "mp4",
    "mov",
    "mkv",
    "webm",
    "avi",
    "nii",
    "hdr",
    "img",
    "npy",
    "npz",
    "raw",
    "bin",
    "zarr",
    "ply",
    "obj",
    "stl",
    "safetensors",
];

/// Refuses a name under which an `.asmr` or `.safetensors` file would be taken for something else, and perhaps replace it. `own` is its
/// extension.
pub(crate) fn check_name(output: &Path, own: &str) -> Result<(), Failure> {
    // As in brain.nii.gz.
    let plain = if has_extension(output, "gz") { output.with_extension("") } else { output.to_path_buf() };
    let is_other = MEDIA.iter().chain(&["asmr"]).any(|&other| other != own && has_extension(&plain, other));
    if !is_other && !is_picture_name(&plain) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "what is written is an .{own} file, so {} would be misnamed; type -o {}{}",
        output.display(),
        quote(&plain.with_extension(own)),
        if own == "asmr" { ", and then asmr decode for a signal" } else { "" }
    )))
}

/// Whether the path has this extension, in upper or lower case.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own.eq_ignore_ascii_case(extension))
}

/// Whether the file begins as every `.asmr` file does.
pub(crate) fn is_asmr(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    fs::metadata(path).is_ok_and(|m| m.is_file())
        && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == MAGIC
}

/// Opens a file, refusing folders; with its length if it is a regular file.
pub(crate) fn open(path: &Path, kind: &str) -> Result<(File, Option<u64>), Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!(
            "cannot read {}: it is a folder; give the name of {kind} file in it",
            path.display()
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    Ok((file, metadata.is_file().then_some(metadata.len())))
}

/// Something that can be read and sought in.
pub(crate) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// An opened `.asmr` file.
pub(crate) type Reader = AsmrReader<Box<dyn ReadSeek>>;

/// The largest `.asmr` file that is taken from a pipe, into memory.
const MAX_PIPED_BYTES: u64 = 4 << 30;

/// What an `.asmr` file may ask for.
pub(crate) fn limits(common: &Common) -> Limits {
    let (usual, factor) = (Limits::default(), u64::from(common.limits));
    Limits {
        max_values: usual.max_values * factor,
        max_table_values: usual.max_table_values * factor,
        ..usual
    }
}

/// What a signal's file may ask for.
pub(crate) fn media_limits(common: &Common) -> asmr_media::Limits {
    let usual = asmr_media::Limits::default();
    let factor = u64::from(common.limits);
    let side = |usual: u32| usual.saturating_mul(common.limits);
    asmr_media::Limits {
        max_width: side(usual.max_width),
        max_height: side(usual.max_height),
        max_alloc_bytes: usual.max_alloc_bytes * factor,
    }
}

/// Opens an `.asmr` file within the limits; its weights are read later.
pub(crate) fn open_asmr(path: &Path, common: &Common) -> Result<Reader, Failure> {
    let reader = open_damaged(path, common)?;
    reader.check_length().map_err(|error| {
        let is_begun = (0..reader.header().n_chunks()).all(|chunk| reader.n_passes_there(chunk) > 0);
        if matches!(error, FileError::Truncated { .. }) && is_begun {
            return Failure::usage(format!(
                "{} cannot be used: {error}; what there is of it is coarser, and decoded by: asmr decode {} --progressive",
                path.display(),
                quote(path)
            ));
        }
        unusable(path, &error)
    })?;
    Ok(reader)
}

/// Like [`open_asmr`], but with any length: chunks that are missing or damaged are errors when they are read.
pub(crate) fn open_damaged(path: &Path, common: &Common) -> Result<Reader, Failure> {
    AsmrReader::open_damaged(asmr_input(path)?, &limits(common)).map_err(|error| unusable(path, &error))
}

fn asmr_input(path: &Path) -> Result<Box<dyn ReadSeek>, Failure> {
    let (input, known_len) = open(path, "an .asmr")?;
    if known_len.is_some() {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, input)));
    }
    // Nobody can seek in a pipe. The first bytes decide whether the rest is worth its memory.
    let mut bytes = Vec::new();
    let mut input = input.take(MAX_PIPED_BYTES);
    let unreadable = |error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes == MAGIC {
        input.read_to_end(&mut bytes).map_err(unreadable)?;
    }
    Ok(Box::new(Cursor::new(bytes)))
}

/// Whether a chunk's network is lost, rather than out of reach for now.
pub(crate) fn is_lost(error: &FileError) -> bool {
    !matches!(error, FileError::Io(_) | FileError::Memory { .. })
}

/// Reads an `.asmr` file with one network.
pub(crate) fn read_asmr(path: &Path, common: &Common) -> Result<AsmrFile, Failure> {
    open_asmr(path, common)?.into_file().map_err(|error| unusable(path, &error))
}

/// The sentence for an `.asmr` file that cannot be used.
pub(crate) fn unusable(path: &Path, error: &FileError) -> Failure {
    let shown = path.display();
    let sentence = match error {
        FileError::Sequence { n_chunks } => {
            format!(
                "{shown} holds {n_chunks} networks, one for each chunk of its signal, and this takes one; encode with --chunk"
            )
        }
        FileError::NotAsmr if is_picture_name(path) => {
            format!(
                "{shown} is a picture, not an .asmr file; to make one of it type: asmr encode {}",
                quote(path)
            )
        }
        FileError::NotAsmr if has_extension(path, "safetensors") => {
            format!(
                "{shown} is a .safetensors file, not an .asmr file; to make one of it type: asmr import {}",
                quote(path)
            )
        }
        FileError::NotAsmr => {
            format!(
                "{shown} is not an .asmr file (its first bytes are another format's); `asmr encode` makes one of a signal"
            )
        }
        FileError::Truncated { .. } | FileError::TrailingBytes { .. } | FileError::Damaged { .. } => {
            format!("{shown} cannot be used: {error}; get a fresh copy of it")
        }
        FileError::Io(error) => format!("cannot read {shown}: {error}"),
        _ => format!("{shown} cannot be used: {}", file_error(error)),
    };
    Failure::usage(sentence)
}

/// The library's words, but no names of its types.
pub(crate) fn file_error(error: &FileError) -> String {
    match error {
        FileError::Limit { what, actual, limit, .. } => {
            format!(
                "it has {actual} {what}, and at most {limit} are accepted; if you trust it, raise that by --limits"
            )
        }
        other => other.to_string(),
    }
}

/// For [`output_path`]: no file is replaced by a name that nobody typed.
pub(crate) fn none_replaced(_: &Path) -> bool {
    false
}

/// Where a result goes: the path given, or the input's name with another extension. A name that nobody typed replaces
/// no file, but for those of which `is_replaced` says that it does.
pub(crate) fn output_path(
    given: Option<&PathBuf>,
    input: &Path,
    extension: &str,
    is_replaced: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Failure> {
    let Some(path) = given else {
        let path = input.with_extension(extension);
        if input.file_name().is_none() {
            return Err(Failure::usage(format!(
                "{} gives no name to the output; give one with -o (as in: -o signal.{extension})",
                input.display()
            )));
        }
        if fs::symlink_metadata(&path).is_ok() && !is_replaced(&path) {
            return Err(Failure::usage(format!(
                "{} exists already; to replace it, or to write another file, give -o (as in: -o {})",
                path.display(),
                quote(&path)
            )));
        }
        return Ok(path);
    };
    if let (Ok(a), Ok(b)) = (fs::canonicalize(path), fs::canonicalize(input))
        && a == b
        && fs::metadata(path).is_ok_and(|m| m.is_file())
    {
        return Err(Failure::usage(format!(
            "the output {} is the input itself; give another name with -o",
            path.display()
        )));
    }
    Ok(path.clone())
}

/// Whether a file could be written there, found out before the work; nothing is left behind.
pub(crate) fn check_output(path: &Path) -> Result<(), Failure> {
    if is_stream(path) {
        return Ok(());
    }
    // Everything that a write does, up to its first byte.
    let mut reached = false;
    let outcome = interrupt::while_writing(|| {
        write_atomically(path, |_| {
            reached = true;
            Err(io::ErrorKind::Interrupted.into())
        })
    });
    match outcome {
        Err(error) if !reached => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes the whole file or nothing, whatever signal arrives.
pub(crate) fn write_file<E: From<MediaError>>(
    path: &Path,
    write: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    // A pipe may block for ever; it has no half-written file to protect.
    if is_stream(path) { write() } else { interrupt::while_writing(write) }
}

/// Writes bytes to a file.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    Ok(write_file(path, || write_atomically(path, |writer| writer.write_all(bytes)))?)
}

/// Refuses an input that cannot be read twice, or an output that cannot be read back.
pub(crate) fn check_rereadable(path: &Path) -> Result<(), Failure> {
    if !is_stream(path) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is a pipe or a device, and encode reads its input and its output again behind the fit; give the name of a file",
        path.display()
    )))
}

/// Refuses the standard output, which what is told about the result goes to.
pub(crate) fn check_no_stdout(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let place = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        if is_stream(path) && place(path) == place(Path::new("/dev/stdout")) {
            return Err(Failure::usage(format!(
                "{} is the standard output, where the report goes; give the name of a file with -o",
                path.display()
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

/// A pipe, a terminal or a device.
fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// A file's bytes, and its content as any reader will see it: what cannot be read back is not written.
pub(crate) fn checked_bytes(
    file: &AsmrFile,
    path: &Path,
    common: &Common,
) -> Result<(Vec<u8>, AsmrFile), Failure> {
    file.to_bytes()
        .and_then(|bytes| {
            let back = AsmrFile::read_from_bytes(&bytes, &limits(common))?;
            Ok((bytes, back))
        })
        .map_err(|error| unmakeable(path, &error))
}

/// Content that no file can hold.
pub(crate) fn unmakeable(path: &Path, error: &FileError) -> Failure {
    Failure::usage(format!("{} cannot be made: {}", path.display(), file_error(error)))
}

/// Decodes into the given type.
///
/// # Errors
/// Requests the network cannot serve, and too little memory.
pub(crate) fn decode_values<T: Value>(
    decoder: &Decoder,
    request: &Request,
    info: &SignalInfo,
) -> Result<Vec<T>, Failure> {
    let mut values = Vec::new();
    let n = info.n_values().and_then(|n| usize::try_from(n).ok());
    let Some(n) = n.filter(|&n| values.try_reserve_exact(n).is_ok()) else {
        return Err(Failure::usage(format!(
            "there is not enough memory for the {} values of this decode; ask for a --region or a --thumbnail",
            info.n_values().map_or_else(|| "more than 2^63".to_owned(), |n| n.to_string())
        )));
    };
    values.resize(n, T::default());
    decoder.decode(request, &mut values).map_err(|error| refused(&error))?;
    Ok(values)
}

/// The sentence for a request that a network cannot serve.
pub(crate) fn refused(error: &RequestError) -> Failure {
    refused_by("--region", error)
}

/// [`refused`], where `option` gave the ranges.
pub(crate) fn refused_by(option: &str, error: &RequestError) -> Failure {
    Failure::usage(match error {
        RequestError::Range { .. } | RequestError::Misaligned { .. } => format!("{option} has the {error}"),
        RequestError::Thumbnail { .. } => format!("--thumbnail: {error}"),
        other => other.to_string(),
    })
}

/// Decodes into the signal's own type, by way of `buffer` where the type needs it.
pub(crate) fn decode_samples(
    decoder: &Decoder,
    request: &Request,
    info: &SignalInfo,
    buffer: &mut Vec<f32>,
) -> Result<Samples, Failure> {
    Ok(match info.sample_type {
        SampleType::U8 if info.value_range.is_none() => Samples::U8(decode_values(decoder, request, info)?),
        SampleType::U16 if info.value_range.is_none() => Samples::U16(decode_values(decoder, request, info)?),
        _ => {
            let n = info.n_values().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
            let missing = n.saturating_sub(buffer.len());
            if buffer.try_reserve_exact(missing).is_err() {
                return Err(Failure::usage(format!(
                    "there is not enough memory for the {n} values of this decode"
                )));
            }
            buffer.resize(n, 0.0);
            decoder.decode(request, buffer).map_err(|error| refused(&error))?;
            info.restored(buffer)
        }
    })
}
