//! `NumPy`'s `.npy` files and the arrays of `.npz` archives.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, SignalInfo};
use zip::{CompressionMethod, ZipArchive};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::linear::{Layout, Packing, Stored, open_linear};
use crate::stream::SliceReader;
use crate::volume::VolumeOptions;

/// What a `.npy` file starts with.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";
/// What a zip archive starts with.
pub(crate) const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// A header tells three things; `NumPy` itself refuses more than 10,000 bytes.
const MAX_HEADER_BYTES: u32 = 1 << 16;

/// Opens a `.npy` file.
pub(crate) fn open_npy(
    path: &Path,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let stored = Stored {
        path: path.to_path_buf(),
        file: path.to_path_buf(),
        format: "NPY",
        packing: Packing::None,
        offset: 0,
    };
    open_array(stored, String::new(), options, limits)
}

/// Opens an array of an `.npz` archive.
pub(crate) fn open_npz(
    path: &Path,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let mut stored = Stored {
        path: path.to_path_buf(),
        file: path.to_path_buf(),
        format: "NPZ",
        packing: Packing::None,
        offset: 0,
    };
    let file = File::open(path).map_err(|error| stored.explain(error))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| zip_error(&stored, error))?;
    let mut names = array_names(&archive);
    names.sort_by(|a, b| a.1.cmp(&b.1));
    let list = || names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let (index, name) = match &options.array {
        Some(wanted) => names.iter().find(|(_, name)| name == wanted).ok_or_else(|| {
            stored.unusable(format!("it has no array named {wanted:?}; its arrays are {}", list()))
        })?,
        None if names.len() == 1 => &names[0],
        None if names.is_empty() => return Err(stored.unusable("it has no array (no .npy entry)".to_owned())),
        None => {
            return Err(stored.unusable(format!(
                "it has {} arrays: {}; name the one that is meant",
                names.len(),
                list()
            )));
        }
    };
    let entry = archive.by_index_raw(*index).map_err(|error| zip_error(&stored, error))?;
    let is_deflated = match entry.compression() {
        CompressionMethod::Stored => false,
        CompressionMethod::Deflated => true,
        other => {
            return Err(stored.unusable(format!(
                "array {name} is packed by {other:?}; accepted are numpy.savez and numpy.savez_compressed"
            )));
        }
    };
    if entry.encrypted() {
        return Err(stored.unusable(format!("array {name} is encrypted; save it without a password")));
    }
    let Some(start) = entry.data_start() else {
        return Err(stored.damaged(format!("the place of array {name} is not to be found")));
    };
    stored.packing = Packing::ZipEntry {
        start,
        n_packed: entry.compressed_size(),
        n_bytes: entry.size(),
        is_deflated,
        crc: entry.crc32(),
    };
    open_array(stored, name.clone(), options, limits)
}

/// Indices and names of the arrays, without `.npy`.
pub(crate) fn array_names<R: Read + Seek>(archive: &ZipArchive<R>) -> Vec<(usize, String)> {
    (0..archive.len())
        .filter_map(|i| Some((i, archive.name_for_index(i)?.strip_suffix(".npy")?.to_owned())))
        .collect()
}

fn zip_error(stored: &Stored, error: zip::result::ZipError) -> MediaError {
    match error {
        zip::result::ZipError::Io(error) => stored.explain(error),
        other => stored.damaged(other.to_string()),
    }
}

fn open_array(
    mut stored: Stored,
    array: String,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let mut bytes = stored.open().map_err(|error| stored.explain(error))?;
    let (header, n_bytes) = read_header(&mut bytes).map_err(|error| stored.explain(error))?;
    let header = Header::parse(&header).map_err(|problem| stored.damaged(problem))?;
    stored.offset = n_bytes;
    let (sample_type, is_big_endian) =
        sample_type(&header.descr).map_err(|problem| stored.unusable(problem))?;
    if header.shape.is_empty() {
        return Err(stored.unusable("it is a single number (shape ()); a signal has 1 to 4 axes".to_owned()));
    }
    let volume = Volume {
        container: VolumeContainer::Npy,
        spacing: options.spacing.clone().unwrap_or_default(),
        unit: String::new(),
        header: String::new(),
        array,
        big_endian: is_big_endian,
    };
    let info =
        SignalInfo { media: Media::Volume(volume), ..SignalInfo::plain(header.shape, 1, sample_type, None) };
    open_linear(info, stored, Layout { is_big_endian, is_fortran: header.is_fortran }, limits)
}

/// The header's text, and the bytes up to the first value.
fn read_header(reader: &mut dyn Read) -> io::Result<(String, u64)> {
    let bad = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let mut start = [0; 8];
    reader.read_exact(&mut start)?;
    if !start.starts_with(MAGIC) {
        return Err(bad("the array does not start with NumPy's magic".to_owned()));
    }
    let (length, n_start) = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length)?;
            (u32::from(u16::from_le_bytes(length)), 10)
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length)?;
            (u32::from_le_bytes(length), 12)
        }
        version => return Err(bad(format!("version {version} of the format is not known; 1 to 3 are"))),
    };
    if length > MAX_HEADER_BYTES {
        return Err(bad(format!("its header claims {length} bytes; at most {MAX_HEADER_BYTES} are read")));
    }
    let mut text = vec![0; length as usize];
    reader.read_exact(&mut text)?;
    let text = String::from_utf8(text).map_err(|_| bad("its header is no text".to_owned()))?;
    Ok((text, u64::from(n_start + length)))
}

/// The type of a description such as `<i2`, and whether it is big-endian.
fn sample_type(descr: &str) -> Result<(SampleType, bool), String> {
    let (order, kind) = descr.split_at_checked(1).unwrap_or(("", descr));
    let sample_type = match kind {
        // Truth values are bytes of 0 and 1.
        "u1" | "b1" => SampleType::U8,
        "i1" => SampleType::I8,
        "u2" => SampleType::U16,
        "i2" => SampleType::I16,
        "u4" => SampleType::U32,
        "i4" => SampleType::I32,
        "f4" => SampleType::F32,
        "f8" => SampleType::F64,
        _ => {
            return Err(format!(
                "its values are of type {descr:?}; accepted are bool, (u)int8, (u)int16, (u)int32, float32 and float64, so convert it with .astype first"
            ));
        }
    };
    match order {
        "<" => Ok((sample_type, false)),
        ">" => Ok((sample_type, sample_type.n_bytes() > 1)),
        "|" | "=" if sample_type.n_bytes() == 1 => Ok((sample_type, false)),
        _ => Err(format!("its values have the byte order {order:?}; it is '<' or '>'")),
    }
}

/// The three entries of a header.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    descr: String,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Parses the dictionary (a literal of Python's), of which only what `NumPy` writes is understood.
    fn parse(text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("its header {:?} is not understood: {what}", text.trim_end());
        let (mut descr, mut is_fortran, mut shape) = (None, None, None);
        let mut rest =
            text.trim().strip_prefix('{').ok_or_else(|| bad("it does not start with {"))?.trim_start();
        while !rest.starts_with('}') {
            let (key, after) = quoted(rest).ok_or_else(|| bad("a key is expected"))?;
            rest =
                after.trim_start().strip_prefix(':').ok_or_else(|| bad("a colon is expected"))?.trim_start();
            match key {
                "descr" => {
                    let (value, after) = quoted(rest).ok_or_else(|| {
                        bad("records with several fields are not read; save one field alone")
                    })?;
                    descr = Some(value.to_owned());
                    rest = after;
                }
                "fortran_order" => {
                    let (value, after) = if let Some(after) = rest.strip_prefix("True") {
                        (true, after)
                    } else if let Some(after) = rest.strip_prefix("False") {
                        (false, after)
                    } else {
                        return Err(bad("fortran_order is True or False"));
                    };
                    is_fortran = Some(value);
                    rest = after;
                }
                "shape" => {
                    let inner = rest.strip_prefix('(').ok_or_else(|| bad("the shape is a tuple"))?;
                    let (inner, after) =
                        inner.split_once(')').ok_or_else(|| bad("the shape does not end"))?;
                    let extents = inner.split(',').map(str::trim);
                    let n = inner.split(',').count();
                    let extents: Option<Vec<usize>> = extents
                        .enumerate()
                        // A comma may end the tuple.
                        .filter(|(i, extent)| !(extent.is_empty() && i + 1 == n))
                        .map(|(_, extent)| extent.strip_suffix('L').unwrap_or(extent).parse().ok())
                        .collect();
                    shape = Some(extents.ok_or_else(|| bad("an extent is no whole number"))?);
                    rest = after;
                }
                _ => return Err(bad(&format!("the key {key:?} is not known"))),
            }
            rest = rest.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return Err(bad("it does not end")),
            }
        }
        match (descr, is_fortran, shape) {
            (Some(descr), Some(is_fortran), Some(shape)) => Ok(Self { descr, is_fortran, shape }),
            _ => Err(bad("one of descr, fortran_order and shape is missing")),
        }
    }
}

/// A string between single or double quotes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|&c| c == '\'' || c == '"')?;
    text[1..].split_once(quote)
}
