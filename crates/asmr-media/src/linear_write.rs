//! Values one after another into a file: NIfTI-1, `.npy`, `.npz` and plain values.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use asmr::metadata::Media;
use asmr::signal::{SampleType, Samples, SignalInfo};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::error::MediaError;
use crate::linear::to_bytes;
use crate::nifti;
use crate::npy::npy_header;
use crate::stream::SliceWriter;
use crate::write::Pending;

/// What stands before the values, and how all is packed.
pub(crate) enum Format {
    /// A header, four zeros, values; packed by gzip or not.
    Nifti {
        /// The header.
        header: nifti::Header,
        /// Whether the file is packed.
        is_packed: bool,
    },
    /// A header and values.
    Npy,
    /// The same as the only entry of a zip archive.
    Npz,
    /// Values alone.
    Raw,
}

enum Out {
    Plain(Pending),
    Gzip(GzEncoder<Pending>),
    Zip(Box<ZipWriter<Pending>>),
}

impl Out {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out,
            Self::Zip(out) => out,
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.commit(),
            Self::Gzip(out) => out.finish()?.commit(),
            Self::Zip(out) => out.finish().map_err(zip_error)?.commit(),
        }
    }
}

fn zip_error(error: zip::result::ZipError) -> io::Error {
    match error {
        zip::result::ZipError::Io(error) => error,
        other => io::Error::other(other),
    }
}

/// Writes values in a file's order, which is the signal's.
pub(crate) struct LinearWriter {
    path: PathBuf,
    out: Out,
    is_big_endian: bool,
    count: Count,
}

/// What has been written, and what is to be.
pub(crate) struct Count {
    info: SignalInfo,
    n_written: u64,
}

impl Count {
    pub(crate) fn new(info: &SignalInfo) -> Self {
        Self { info: info.clone(), n_written: 0 }
    }

    /// Refuses values of another type, parts of slices, and more than the shape needs.
    pub(crate) fn add(&mut self, samples: &Samples) -> io::Result<()> {
        let n_after = self.n_written + samples.len() as u64;
        if samples.sample_type() != self.info.sample_type
            || !samples.len().is_multiple_of(self.info.slice_values())
            || n_after > self.info.n_values().unwrap_or(0)
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} values of type {} were given after {}; slices have {} of type {}, {} in all",
                    samples.len(),
                    samples.sample_type().name(),
                    self.n_written,
                    self.info.slice_values(),
                    self.info.sample_type.name(),
                    self.info.n_values().unwrap_or(0)
                ),
            ));
        }
        self.n_written = n_after;
        Ok(())
    }

    /// Refuses an end before the last value.
    pub(crate) fn finish(&self, path: &Path) -> Result<(), MediaError> {
        let expected = self.info.n_values().unwrap_or(0);
        if self.n_written == expected {
            return Ok(());
        }
        Err(MediaError::Length {
            path: path.to_path_buf(),
            extents: self.info.extents.clone(),
            channels: self.info.channels,
            expected: expected.to_string(),
            actual: self.n_written as usize,
        })
    }
}

/// The byte order of a signal's original.
pub(crate) fn is_big_endian(info: &SignalInfo) -> bool {
    matches!(&info.media, Media::Volume(volume) if volume.big_endian) && info.sample_type.n_bytes() > 1
}

/// The shape of a signal as an array: several channels are a last axis.
pub(crate) fn array_shape(info: &SignalInfo) -> Vec<usize> {
    let mut shape = info.extents.clone();
    if info.channels > 1 {
        shape.push(info.channels);
    }
    shape
}

impl LinearWriter {
    pub(crate) fn create(path: &Path, info: &SignalInfo, format: &Format) -> Result<Self, MediaError> {
        let failed = |error| MediaError::Write { path: path.to_path_buf(), error };
        let pending = Pending::begin(path).map_err(failed)?;
        let is_big_endian = match format {
            Format::Nifti { header, .. } => header.is_big_endian(),
            _ => is_big_endian(info),
        };
        let out = Self::start(pending, info, format, is_big_endian).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), out, is_big_endian, count: Count::new(info) })
    }

    fn start(pending: Pending, info: &SignalInfo, format: &Format, is_big_endian: bool) -> io::Result<Out> {
        let mut out = match format {
            // Without a time in its header, so that the same values give the same file.
            Format::Nifti { is_packed: true, .. } => {
                Out::Gzip(GzBuilder::new().write(pending, Compression::default()))
            }
            Format::Npz => {
                if let Pending::Stream(_) = pending {
                    return Err(io::Error::new(
                        io::ErrorKind::NotSeekable,
                        "an .npz goes into a regular file only; write .npy",
                    ));
                }
                let mut out = ZipWriter::new(pending);
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Deflated)
                    .last_modified_time(zip::DateTime::default())
                    .large_file(true);
                out.start_file(format!("{}.npy", entry_name(info)), options).map_err(zip_error)?;
                Out::Zip(Box::new(out))
            }
            _ => Out::Plain(pending),
        };
        match format {
            Format::Nifti { header, .. } => {
                out.writer().write_all(header.bytes())?;
                out.writer().write_all(&[0; nifti::VALUES_AT - nifti::HEADER_BYTES])?;
            }
            Format::Npy | Format::Npz => {
                out.writer()
                    .write_all(&npy_header(&descr(info.sample_type, is_big_endian), &array_shape(info)))?;
            }
            Format::Raw => {}
        }
        Ok(out)
    }
}

/// The name of the array in an archive: the original's, unless it would lead out of a folder when unpacked.
fn entry_name(info: &SignalInfo) -> &str {
    let Media::Volume(volume) = &info.media else { return "arr_0" };
    let name = volume.array.as_str();
    let is_safe = !name.is_empty()
        && name.len() <= 255
        && !name.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_safe { name } else { "arr_0" }
}

fn descr(sample_type: SampleType, is_big_endian: bool) -> String {
    let kind = match sample_type {
        SampleType::U8 | SampleType::U16 | SampleType::U32 => 'u',
        SampleType::I8 | SampleType::I16 | SampleType::I32 => 'i',
        SampleType::F32 | SampleType::F64 => 'f',
    };
    let order = match (sample_type.n_bytes(), is_big_endian) {
        (1, _) => '|',
        (_, false) => '<',
        (_, true) => '>',
    };
    format!("{order}{kind}{}", sample_type.n_bytes())
}

impl SliceWriter for LinearWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        let bytes = to_bytes(samples, self.is_big_endian);
        self.count
            .add(samples)
            .and_then(|()| self.out.writer().write_all(&bytes))
            .map_err(|error| MediaError::Write { path: self.path.clone(), error })
    }

    fn finish(self: Box<Self>) -> Result<(), MediaError> {
        let Self { path, out, count, .. } = *self;
        count.finish(&path)?;
        out.finish().map_err(|error| MediaError::Write { path, error })
    }
}
