//! Values that lie one after another in a file, packed or not: what NIfTI-1, `.npy` and plain values have in common.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use asmr::signal::{SampleType, Samples, SignalInfo};
use flate2::read::{DeflateDecoder, MultiGzDecoder};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::stream::SliceReader;

/// The most that deflate can shrink anything, about: its longest match costs two bits.
const DEFLATE_RATIO: u64 = 1032;
/// Bytes read at once; a slice may need more.
const BATCH_BYTES: usize = 4 << 20;
/// What a reader gathers at once where slices lie scattered through the file.
const BLOCK_BYTES: usize = 256 << 20;
/// What may follow the values in a packed file and is still read, for the checksum behind it.
const TRAILING_BYTES: u64 = 1 << 20;

/// How the file's bytes are packed.
#[derive(Clone, Debug)]
pub(crate) enum Packing {
    /// Not at all.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// An entry of a zip archive.
    ZipEntry {
        /// Where its bytes start.
        start: u64,
        /// How many there are.
        n_packed: u64,
        /// How many they become.
        n_bytes: u64,
        /// Whether they are deflated, or stored as they are.
        is_deflated: bool,
        /// Their checksum.
        crc: u32,
    },
}

/// Where values are.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The file that was asked for, for messages.
    pub(crate) path: PathBuf,
    /// The file with the values.
    pub(crate) file: PathBuf,
    /// The format's name, for messages.
    pub(crate) format: &'static str,
    /// How it is packed.
    pub(crate) packing: Packing,
    /// Bytes (unpacked) before the first value.
    pub(crate) offset: u64,
}

impl Stored {
    /// The unpacked bytes from the file's (or entry's) start.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(&self.file)?);
        Ok(match self.packing {
            Packing::None => Box::new(file),
            Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
            Packing::ZipEntry { start, n_packed, is_deflated, crc, .. } => {
                file.seek(SeekFrom::Start(start))?;
                let packed = file.take(n_packed);
                let bytes: Box<dyn Read + Send> =
                    if is_deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
                Box::new(Checked { bytes, hasher: crc32fast::Hasher::new(), expected: crc })
            }
        })
    }

    /// The unpacked bytes from the first value on.
    fn open_values(&self) -> Result<Box<dyn Read + Send>, MediaError> {
        if matches!(self.packing, Packing::None) {
            let mut file = File::open(&self.file).map_err(|error| self.explain(error))?;
            file.seek(SeekFrom::Start(self.offset)).map_err(|error| self.explain(error))?;
            return Ok(Box::new(BufReader::with_capacity(1 << 16, file)));
        }
        let mut bytes = self.open().map_err(|error| self.explain(error))?;
        let skipped = io::copy(&mut bytes.by_ref().take(self.offset), &mut io::sink())
            .map_err(|error| self.explain(error))?;
        if skipped < self.offset {
            return Err(
                self.damaged(format!("it ends before its values, which start at byte {}", self.offset))
            );
        }
        Ok(bytes)
    }

    /// Refuses a file that cannot hold `n_bytes` of values, and one that would unpack to more than the limit.
    pub(crate) fn check_size(&self, n_bytes: u64, limits: &Limits) -> Result<(), MediaError> {
        let length = fs::metadata(&self.file).map_err(|error| self.explain(error))?.len();
        let promised = self.offset.saturating_add(n_bytes);
        let holds = match self.packing {
            Packing::None => length,
            Packing::Gzip => length.saturating_mul(DEFLATE_RATIO),
            Packing::ZipEntry { n_packed, n_bytes, is_deflated, .. } => {
                let ratio = if is_deflated { DEFLATE_RATIO } else { 1 };
                n_bytes.min(n_packed.min(length).saturating_mul(ratio))
            }
        };
        if promised > holds {
            let at_most = if matches!(self.packing, Packing::None) { "" } else { " at most" };
            return Err(
                self.damaged(format!("its header promises {promised} bytes, and there are {holds}{at_most}"))
            );
        }
        if !matches!(self.packing, Packing::None) && promised > limits.max_alloc_bytes {
            return Err(self.unusable(format!(
                "it unpacks to {promised} bytes, and the limit for packed files is {}; unpack it first or raise the limit",
                limits.max_alloc_bytes
            )));
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, detail: String) -> MediaError {
        MediaError::Damaged { path: self.path.clone(), format: self.format, detail }
    }

    pub(crate) fn unusable(&self, problem: String) -> MediaError {
        MediaError::Unusable { path: self.path.clone(), problem }
    }

    /// An error of reading as one of ours: what comes from the unpacking is the content's fault.
    pub(crate) fn explain(&self, error: io::Error) -> MediaError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("the file ends too early".to_owned()),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                self.damaged(error.to_string())
            }
            _ => MediaError::Read { path: self.path.clone(), error },
        }
    }
}

/// Bytes whose checksum is compared at their end.
struct Checked {
    bytes: Box<dyn Read + Send>,
    hasher: crc32fast::Hasher,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(out)?;
        self.hasher.update(&out[..n]);
        if n == 0 && !out.is_empty() && self.hasher.clone().finalize() != self.expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum does not fit the content"));
        }
        Ok(n)
    }
}

/// How the bytes of one value become it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Whether the high byte comes first.
    pub(crate) is_big_endian: bool,
    /// Whether the first axis is the fastest in the file.
    pub(crate) is_fortran: bool,
}

/// Values from their bytes.
pub(crate) fn to_samples(sample_type: SampleType, is_big_endian: bool, mut bytes: Vec<u8>) -> Samples {
    if is_big_endian {
        swap_bytes(sample_type, &mut bytes);
    }
    if sample_type == SampleType::U8 {
        return Samples::U8(bytes);
    }
    Samples::from_le_bytes(sample_type, &bytes)
}

/// The bytes of values.
pub(crate) fn to_bytes(samples: &Samples, is_big_endian: bool) -> Vec<u8> {
    let mut bytes = samples.to_le_bytes();
    if is_big_endian {
        swap_bytes(samples.sample_type(), &mut bytes);
    }
    bytes
}

fn swap_bytes(sample_type: SampleType, bytes: &mut [u8]) {
    let n = sample_type.n_bytes();
    if n > 1 {
        bytes.chunks_exact_mut(n).for_each(<[u8]>::reverse);
    }
}

/// A reader that can start again, which is what finding the value range needs.
pub(crate) trait Rewind: SliceReader {
    /// The file, for messages.
    fn path(&self) -> &Path;
    /// The next read starts at the first slice.
    fn rewind(&mut self) -> Result<(), MediaError>;
    /// After the last slice: refuses a file whose checksum does not fit.
    fn check_end(&mut self) -> Result<(), MediaError>;
    /// The shape and metadata.
    fn info_mut(&mut self) -> &mut SignalInfo;
}

/// Refuses a shape that no signal has; gives the bytes of all values.
pub(crate) fn check_shape(path: &Path, info: &SignalInfo) -> Result<u64, MediaError> {
    let unusable = |problem: String| MediaError::Unusable { path: path.to_path_buf(), problem };
    let axes = info.extents.len();
    if !(1..=asmr::signal::MAX_AXES).contains(&axes) {
        return Err(unusable(format!(
            "its shape {:?} has {axes} axes; a signal has 1 to {}, so cut out a part with fewer",
            info.extents,
            asmr::signal::MAX_AXES
        )));
    }
    if let Some(axis) = info.extents.iter().position(|&extent| extent == 0) {
        return Err(unusable(format!("its shape {:?} has no values: axis {axis} is empty", info.extents)));
    }
    // Types without a default range have none before the values are seen.
    let with_range = SignalInfo { value_range: Some(asmr::signal::ValueRange::of(0.0, 1.0)), ..info.clone() };
    with_range.validate().map_err(|error| unusable(error.to_string()))?;
    let n_bytes = info.n_values().and_then(|n| n.checked_mul(info.sample_type.n_bytes() as u64));
    let Some(n_bytes) = n_bytes else {
        return Err(unusable(format!("its shape {:?} has more values than can be counted", info.extents)));
    };
    Ok(n_bytes)
}

/// Refuses values of which one slice is past the limit.
pub(crate) fn check_slice(
    path: &Path,
    info: &SignalInfo,
    n_bytes: u64,
    limits: &Limits,
) -> Result<(), MediaError> {
    let slice_bytes = n_bytes / info.extents[0] as u64;
    if slice_bytes <= limits.max_alloc_bytes {
        return Ok(());
    }
    Err(MediaError::Unusable {
        path: path.to_path_buf(),
        problem: format!(
            "one step along its first axis has {slice_bytes} bytes (shape {:?}), and the limit is {}; cut it or raise the limit",
            info.extents, limits.max_alloc_bytes
        ),
    })
}

/// Finds the value range in a first pass, which also refuses values that are not finite.
pub(crate) fn with_value_range<R: Rewind + 'static>(
    mut reader: R,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let info = reader.info().clone();
    let slice_values = info.slice_values();
    let batch = (BATCH_BYTES / (slice_values * info.sample_type.n_bytes())).max(1);
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut at = 0;
    while at < info.extents[0] {
        let n = batch.min(info.extents[0] - at);
        let samples = reader.read(n)?;
        if let Some((index, value)) = samples.first_not_finite() {
            let index = (at as u64) * slice_values as u64 + index as u64;
            return Err(MediaError::Unusable {
                path: reader.path().to_path_buf(),
                problem: format!(
                    "its value at {:?} (axes slowest first, from 0) is {value}; every value must be finite, so replace or cut it out first",
                    position(index, &info)
                ),
            });
        }
        if let Some((least, greatest)) = samples.min_max() {
            (low, high) = (low.min(least), high.max(greatest));
        }
        at += n;
    }
    reader.check_end()?;
    let path = reader.path().to_path_buf();
    let info = reader.info_mut();
    info.value_range = Some(asmr::signal::ValueRange::of(low, high));
    info.validate().map_err(|error| MediaError::Unusable { path, problem: error.to_string() })?;
    reader.rewind()?;
    Ok(Box::new(reader))
}

/// Where a value of the flat array lies; the channel comes last if there are several.
fn position(index: u64, info: &SignalInfo) -> Vec<u64> {
    let mut extents: Vec<u64> = info.extents.iter().map(|&extent| extent as u64).collect();
    if info.channels > 1 {
        extents.push(info.channels as u64);
    }
    let mut rest = index;
    let mut position: Vec<u64> = extents
        .iter()
        .rev()
        .map(|&extent| {
            let at = rest % extent;
            rest /= extent;
            at
        })
        .collect();
    position.reverse();
    position
}

/// Reads values whose slices lie one after another.
pub(crate) struct LinearReader {
    info: SignalInfo,
    stored: Stored,
    is_big_endian: bool,
    bytes: Box<dyn Read + Send>,
    at: usize,
}

impl LinearReader {
    fn new(info: SignalInfo, stored: Stored, is_big_endian: bool) -> Result<Self, MediaError> {
        let bytes = stored.open_values()?;
        Ok(Self { info, stored, is_big_endian, bytes, at: 0 })
    }
}

impl SliceReader for LinearReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        assert!(n_slices <= self.info.extents[0] - self.at, "fewer slices are left");
        self.at += n_slices;
        let n = n_slices * self.info.slice_values() * self.info.sample_type.n_bytes();
        let bytes = read_bytes(&mut self.bytes, n).map_err(|error| self.stored.explain(error))?;
        Ok(to_samples(self.info.sample_type, self.is_big_endian, bytes))
    }
}

impl Rewind for LinearReader {
    fn path(&self) -> &Path {
        &self.stored.path
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.bytes = self.stored.open_values()?;
        self.at = 0;
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), MediaError> {
        check_end(&mut self.bytes, &self.stored)
    }

    fn info_mut(&mut self) -> &mut SignalInfo {
        &mut self.info
    }
}

/// Exactly `n` bytes. What a packed file promises is believed only as it comes.
fn read_bytes(reader: &mut dyn Read, n: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(n.min(BATCH_BYTES));
    reader.take(n as u64).read_to_end(&mut bytes)?;
    if bytes.len() < n { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

fn skip(reader: &mut dyn Read, n: usize) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(n as u64), &mut io::sink())?;
    if skipped < n as u64 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Reads what follows the values of a packed file, so that its checksum is compared.
fn check_end(bytes: &mut dyn Read, stored: &Stored) -> Result<(), MediaError> {
    if !matches!(stored.packing, Packing::None) {
        io::copy(&mut bytes.take(TRAILING_BYTES), &mut io::sink()).map_err(|error| stored.explain(error))?;
    }
    Ok(())
}

/// Reads values whose first axis is the fastest (Fortran's order): every slice is scattered through the whole file,
/// so each pass over it gathers as many slices as a block holds.
pub(crate) struct FortranReader {
    info: SignalInfo,
    stored: Stored,
    is_big_endian: bool,
    /// Slices `start .. start + n` of the signal, row-major, bytes as in the file; at most `block_bytes`, or one slice.
    block: Vec<u8>,
    block_bytes: usize,
    start: usize,
    n: usize,
    at: usize,
}

impl FortranReader {
    fn new(info: SignalInfo, stored: Stored, is_big_endian: bool) -> Self {
        Self {
            info,
            stored,
            is_big_endian,
            block: Vec::new(),
            block_bytes: BLOCK_BYTES,
            start: 0,
            n: 0,
            at: 0,
        }
    }

    fn fill(&mut self) -> Result<(), MediaError> {
        let width = self.info.sample_type.n_bytes();
        let n_first = self.info.extents[0];
        let slice_values = self.info.slice_values();
        self.start = self.at;
        self.n = (self.block_bytes / (slice_values * width)).clamp(1, n_first - self.at);
        self.block.clear();
        self.block.resize(self.n * slice_values * width, 0);
        let mut bytes = self.stored.open_values()?;
        // A run is what lies along the first axis; the other axes count up in the file's order, the second fastest.
        let others = &self.info.extents[1..];
        let mut index = vec![0; others.len()];
        let mut part = vec![0; self.n * width];
        let (before, after) = (self.start * width, (n_first - self.start - self.n) * width);
        for _ in 0..slice_values {
            skip(&mut bytes, before)
                .and_then(|()| bytes.read_exact(&mut part))
                .and_then(|()| skip(&mut bytes, after))
                .map_err(|error| self.stored.explain(error))?;
            let to = index.iter().zip(others).fold(0, |flat, (&i, &extent)| flat * extent + i);
            for (slice, value) in part.chunks_exact(width).enumerate() {
                let to = (slice * slice_values + to) * width;
                self.block[to..to + width].copy_from_slice(value);
            }
            for (i, &extent) in index.iter_mut().zip(others) {
                *i += 1;
                if *i < extent {
                    break;
                }
                *i = 0;
            }
        }
        check_end(&mut bytes, &self.stored)
    }
}

impl SliceReader for FortranReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        assert!(n_slices <= self.info.extents[0] - self.at, "fewer slices are left");
        let slice_bytes = self.info.slice_values() * self.info.sample_type.n_bytes();
        let mut bytes = Vec::with_capacity(n_slices * slice_bytes);
        let end = self.at + n_slices;
        while self.at < end {
            if self.at >= self.start + self.n {
                self.fill()?;
            }
            let from = self.at - self.start;
            let n = (self.n - from).min(end - self.at);
            bytes.extend_from_slice(&self.block[from * slice_bytes..(from + n) * slice_bytes]);
            self.at += n;
        }
        Ok(to_samples(self.info.sample_type, self.is_big_endian, bytes))
    }
}

impl Rewind for FortranReader {
    fn path(&self) -> &Path {
        &self.stored.path
    }

    fn rewind(&mut self) -> Result<(), MediaError> {
        self.at = 0;
        if self.start > 0 {
            (self.start, self.n) = (0, 0);
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), MediaError> {
        Ok(())
    }

    fn info_mut(&mut self) -> &mut SignalInfo {
        &mut self.info
    }
}

/// Opens values that lie as `layout` says, after every check that needs no value.
pub(crate) fn open_linear(
    info: SignalInfo,
    stored: Stored,
    layout: Layout,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let n_bytes = check_shape(&stored.path, &info)?;
    stored.check_size(n_bytes, limits)?;
    check_slice(&stored.path, &info, n_bytes, limits)?;
    if layout.is_fortran && info.extents.len() > 1 {
        return with_value_range(FortranReader::new(info, stored, layout.is_big_endian));
    }
    with_value_range(LinearReader::new(info, stored, layout.is_big_endian)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of a file in Fortran's order, of one slice, of some, and of all: the same values.
    #[test]
    fn blocks_of_any_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values");
        let (a, b, c) = (5usize, 3, 4);
        // The value at (i, j, k) is 100 i + 10 j + k; the first axis is the fastest.
        let stored: Vec<u8> = (0..c)
            .flat_map(|k| (0..b).flat_map(move |j| (0..a).map(move |i| 100 * i + 10 * j + k)))
            .flat_map(|value| (value as u16).to_le_bytes())
            .collect();
        fs::write(&path, [&[9; 7], stored.as_slice()].concat()).unwrap();
        let expected: Vec<u16> =
            (0..a * b * c).map(|i| (100 * (i / 12) + 10 * (i / 4 % 3) + i % 4) as u16).collect();
        let mut n_cases = 0;
        for slices_of_block in [0, 1, 2, 3, 5, 9] {
            let stored = Stored {
                path: path.clone(),
                file: path.clone(),
                format: "test",
                packing: Packing::None,
                offset: 7,
            };
            let info = SignalInfo::plain(vec![a, b, c], 1, SampleType::U16, None);
            let mut reader = FortranReader::new(info, stored, false);
            reader.block_bytes = slices_of_block * b * c * 2;
            for _ in 0..2 {
                for (start, n) in [(0, 2), (2, 1), (3, 2)] {
                    let Samples::U16(values) = reader.read(n).unwrap() else { panic!("another type") };
                    assert_eq!(values, expected[start * 12..(start + n) * 12], "{slices_of_block} {start}");
                    n_cases += 1;
                }
                reader.rewind().unwrap();
            }
        }
        assert_eq!(n_cases, 36);
    }
}
