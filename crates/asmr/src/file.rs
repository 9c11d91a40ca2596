//! The `.asmr` file: one signal's shape, its network or networks and how they were fitted.
//!
//! `docs/FORMAT.md` is the normative description; this module is its only writer.
//!
//! | want | use |
//! |---|---|
//! | a file with one network, as one value | [`AsmrFile`] |
//! | any file, one network at a time | [`AsmrReader`] |
//! | to write a network for each chunk of a long signal | [`AsmrWriter`] |
//! | a file whose beginning decodes | [`write_progressive`], [`AsmrReader::whole_passes`] |
//!
//! Weights that were quantised are written entropy-coded, as version 3, or in progressive order as version 4. Of others, pictures and plain arrays with one network
//! are written as version 1, everything else as version 2 ([`FileHeader`]). A file of version 1 is a 24-byte prefix, a JSON header, the weights as little-endian `f32`, and a
//! checksum:
//!
//! ```text
//! 0   8  magic  A5 'A' 'S' 'M' 'R' 0D 0A 0A
//! 8   2  version, 1
//! 10  2  flags, 0
//! 12  4  header length H, a multiple of 8
//! 16  4  CRC-32 of the header
//! 20  4  CRC-32 of bytes 0..20
//! 24  H  header: JSON, padded with spaces
//! 24+H   weights: `weights.n_bytes` bytes
//! end-4  CRC-32 of all bytes before it
//! ```
//!
//! A length is believed only after its checksum, and memory grows only with bytes that have arrived or that the
//! caller says are there; so a damaged or hostile file costs no more than its own size. The same content always
//! gives the same bytes.
//!
//! ```
//! use asmr::file::{AsmrFile, Limits};
//! use asmr::network::{Modulator, Network, NetworkConfig};
//! use asmr::partition::Partition;
//! use asmr::signal::{ColorType, SampleType, SignalInfo};
//!
//! let config = NetworkConfig {
//!     partition: Partition::new(&[16, 24], &[vec![4, 4], vec![4, 6]])?,
//!     channels: 3,
//!     width: 8,
//!     omega_0: 30.0,
//!     modulator: Modulator::Linear,
//! };
//! let file = AsmrFile {
//!     signal: SignalInfo::plain(vec![16, 24], 3, SampleType::U8, Some(ColorType::Rgb)),
//!     network: Network::init(config, 1, 1.0)?,
//!     steps: None,
//!     fit: None,
//! };
//! let bytes = file.to_bytes()?;
//! assert_eq!(AsmrFile::read_from_bytes(&bytes, &Limits::default())?, file);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod fit;
mod header;
mod reader;
mod sequence;

use std::io::{self, Read, Write};

use thiserror::Error;

use crate::coding::TensorSteps;
use crate::exact::n_phases;
use crate::network::{MAX_PARAMS, Network, NetworkConfig, NetworkError};
use crate::partition::Partition;
use crate::residual;
use crate::signal::{SignalError, SignalInfo};
use header::Header;

pub use fit::{FitRecord, MAX_FIT_DEPTH};
pub use reader::{AsmrReader, Chunk};
pub use sequence::{
    AsmrWriter, Encoding, FileHeader, MAX_CHUNKS, MAX_REFINEMENTS, WrittenChunk, write_progressive,
};

/// The first 8 bytes of every `.asmr` file. `A5` shows 7-bit transfers and transcoding, `CR LF LF` shows every
/// conversion of line ends.
pub const MAGIC: [u8; 8] = [0xA5, b'A', b'S', b'M', b'R', b'\r', b'\n', b'\n'];
/// The newest version that this module reads and writes.
pub const VERSION: u16 = 4;
/// The longest header the writer makes, in bytes; also the reader's default limit.
pub const MAX_HEADER_BYTES: u32 = 1 << 16;

/// Bytes before the header.
const PREFIX_LEN: usize = 24;
/// Bytes of the final checksum.
const CHECKSUM_LEN: u64 = 4;
/// Bytes read or written at once.
const CHUNK: usize = 1 << 16;

/// How many more phases a slab may have than a table may have values: a frame of 3840 × 2160 in blocks of 4 × 4 has 518,400 cells, of
/// width 512 nearly 2^28 phases.
const PHASES_PER_TABLE_VALUE: u64 = 4;
/// Values that may be computed for each that may be decoded.
const COMPUTED_PER_VALUE: u64 = 4;

/// What a reader accepts. The defaults take every file of a reasonable signal and bound what a decoder will later
/// be asked to do; set smaller ones for files from strangers, larger ones for very large signals.
///
/// Reading itself never allocates more than the input could fill, whatever the limits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of header. Default [`MAX_HEADER_BYTES`], 64 KiB (the header of a picture has about 400 bytes).
    pub max_header_bytes: u32,
    /// Most weights, 4 bytes each. Default [`MAX_PARAMS`], 2^30.
    pub max_params: u64,
    /// Most values (samples times channels) of the whole decoded signal. Default 2^32: 4 GiB as 8-bit values. A
    /// file of a few kilobytes may describe a grid of any extents, so this is what keeps a small file from
    /// filling a disk. A decode computes whole blocks of the last level's digits, padding included: of these values at most four times
    /// as many, so that a small grid is not days of work; and four times as many in the digit tables of all chunks together, which
    /// are made for each of them.
    pub max_values: u64,
    /// Most values in the digit tables of all levels together: digit tuples times the larger of width and channels.
    /// Default 2^26, half a GiB as sines and cosines. Decoders build such tables whole, and a small file may ask
    /// for 2^24 tuples a level.
    ///
    /// Where decoded values are corrected, also the most of them in a slab of corrections ([`crate::residual`]), which is a slice at
    /// least, and a quarter of the most phases of a level in it: cells times width. They are held whole too.
    pub max_table_values: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_header_bytes: MAX_HEADER_BYTES,
            max_params: MAX_PARAMS as u64,
            max_values: 1 << 32,
            max_table_values: 1 << 26,
        }
    }
}

impl Limits {
    /// Refuses a valid header that asks for more, as every reader does: to know before a fit that its result can be read.
    ///
    /// # Errors
    /// [`FileError::Limit`].
    pub fn check(&self, header: &FileHeader) -> Result<(), FileError> {
        let (signal, config) = (&header.signal, &header.network);
        let limit = |what, actual: u128, limit: u64, field| {
            if actual > u128::from(limit) {
                return Err(FileError::Limit { what, actual, limit, field });
            }
            Ok(())
        };
        limit("weights", config.n_params() as u128, self.max_params, "max_params")?;
        // At most 2^124 samples times 64 channels: saturate.
        let samples = signal.extents.iter().map(|&e| e as u128).product::<u128>();
        let values = samples.saturating_mul(signal.channels as u128);
        limit("decoded values", values, self.max_values, "max_values")?;
        let most = self.max_values.saturating_mul(COMPUTED_PER_VALUE);
        let computed =
            n_computed(&config.partition).saturating_mul((config.channels * header.n_chunks()) as u128);
        limit("values to compute, padding included", computed, most, "max_values")?;
        // Level 0 has no table.
        let tuples: u128 =
            (1..config.partition.n_levels()).map(|l| config.partition.n_tuples(l) as u128).sum();
        let tables = tuples * config.width.max(config.channels) as u128;
        limit("values in the levels' digit tables", tables, self.max_table_values, "max_table_values")?;
        // A decoder makes them anew for each chunk, of which a sample may be all.
        let all_tables = tables.saturating_mul(header.n_chunks() as u128);
        limit("values in the digit tables of all chunks", all_tables, most, "max_values")?;
        if header.max_error.is_some() {
            let n_slices = residual::slab_slices(signal).min(header.chunk_extent);
            let slab = samples / signal.extents[0] as u128 * (n_slices * signal.channels) as u128;
            limit("values in a slab of corrections", slab, self.max_table_values, "max_table_values")?;
            let phases = n_phases(config, n_slices);
            let most = self.max_table_values.saturating_mul(PHASES_PER_TABLE_VALUE);
            limit("phases in a slab of corrections", phases, most, "max_table_values")?;
        }
        Ok(())
    }
}

/// Samples of all blocks of the last level that have one within the extents.
fn n_computed(partition: &Partition) -> u128 {
    let last = partition.n_levels() - 1;
    let of_axis = |axis| {
        let blocks = (partition.extents()[axis] as u64).div_ceil(partition.stride(axis, last - 1));
        u128::from(blocks) * partition.base(axis, last) as u128
    };
    (0..partition.n_axes()).map(of_axis).fold(1, u128::saturating_mul)
}

/// Why bytes are not a file that can be used, or why content cannot be written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The first bytes are another format's.
    #[error("this is not an .asmr file (its first bytes are not the .asmr magic)")]
    NotAsmr,
    /// The magic shows that the file went through a text-mode or 7-bit transfer.
    #[error("this .asmr file was converted as if it were text; copy the original again in binary mode")]
    TextMode,
    /// A version this program does not know.
    #[error(
        "this file has format version {version}, and this program reads version {VERSION}; use a newer program"
    )]
    NewerVersion {
        /// The file's version.
        version: u16,
    },
    /// The file ends too early.
    #[error("the file is cut off: it ends at byte {actual} and needs at least {expected} bytes")]
    Truncated {
        /// Bytes there are.
        actual: u64,
        /// Bytes the file must have as far as it could be read.
        expected: u64,
    },
    /// Bytes follow the end of the file.
    #[error(
        "the file should end at byte {expected}, but more bytes follow; it was damaged or joined with another"
    )]
    TrailingBytes {
        /// The length that the header gives.
        expected: u64,
    },
    /// A checksum does not fit its bytes.
    #[error("the file is damaged: the checksum of its {part} is {computed:08x} and should be {stored:08x}")]
    Damaged {
        /// Which bytes: `prefix`, `header` or `contents`.
        part: &'static str,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A prefix or header that the format does not allow.
    #[error("the header is invalid: {}", short(.0))]
    Header(String),
    /// A shape that no signal may have.
    #[error("the signal is invalid: {}", short(&.0.to_string()))]
    Signal(#[from] SignalError),
    /// A configuration or weights that are no network.
    #[error("the network is invalid: {}", short(&.0.to_string()))]
    Network(#[from] NetworkError),
    /// Two parts that contradict each other.
    #[error("the file contradicts itself: {}", short(.0))]
    Inconsistent(String),
    /// More than the caller's [`Limits`] allow.
    #[error(
        "the file has {actual} {what}, more than the limit of {limit}; if you trust it, raise Limits::{field}"
    )]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How much the file has.
        actual: u128,
        /// How much is accepted.
        limit: u64,
        /// The field of [`Limits`] to raise.
        field: &'static str,
    },
    /// More networks than the caller can take.
    #[error("the file has {n_chunks} networks, one for each chunk of the signal, where one is expected")]
    Sequence {
        /// How many.
        n_chunks: usize,
    },
    /// Corrections where a network alone is expected.
    #[error("the file corrects what its network gives, and the network alone is not what it decodes to")]
    Corrections,
    /// A fit record that does not fit the header.
    #[error("the fit record cannot be stored: {0}")]
    Fit(String),
    /// Memory could not be had.
    #[error("not enough memory for {n_bytes} bytes of weights")]
    Memory {
        /// Bytes asked for.
        n_bytes: u64,
    },
    /// Reading or writing failed.
    #[error("reading or writing failed: {0}")]
    Io(#[from] io::Error),
}

/// Everything an `.asmr` file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct AsmrFile {
    /// What a decode gives back.
    pub signal: SignalInfo,
    /// The network; its partition has the signal's extents and it has the signal's channels.
    pub network: Network,
    /// The quantisation step of each tensor, if all weights are multiples of theirs: they are stored entropy-coded then.
    /// `None`: they are stored as 32-bit floats.
    pub steps: Option<Vec<TensorSteps>>,
    /// How the network was fitted, if known.
    pub fit: Option<FitRecord>,
}

impl AsmrFile {
    /// Checks that the parts are valid and agree with each other.
    ///
    /// # Errors
    /// [`FileError::Signal`], [`FileError::Inconsistent`] or [`FileError::Fit`]. (A [`Network`] is valid by its
    /// type.)
    pub fn validate(&self) -> Result<(), FileError> {
        check_agreement(&self.signal, self.network.config())?;
        self.fit.as_ref().map_or(Ok(()), FitRecord::validate)
    }

    /// What the file says before its weights.
    #[must_use]
    pub fn header(&self) -> FileHeader {
        let header = FileHeader::single(self.signal.clone(), self.network.config().clone(), self.fit.clone());
        let encoding = if self.steps.is_some() { Encoding::Coded } else { Encoding::F32 };
        FileHeader { encoding, ..header }
    }

    /// Length of the file in bytes, prefix, header and checksum included.
    ///
    /// # Errors
    /// As [`Self::to_bytes`].
    pub fn n_bytes(&self) -> Result<u64, FileError> {
        self.validate()?;
        if self.header().fits_version_1() {
            let weights = header::weight_bytes(self.network.config());
            return Ok(total_len(self.header_bytes()?.len() as u64, weights));
        }
        Ok(self.to_bytes()?.len() as u64)
    }

    /// The file as bytes. The same content gives the same bytes on every machine.
    ///
    /// # Errors
    /// [`FileError`] when [`Self::validate`] refuses the content, the header is longer than [`MAX_HEADER_BYTES`], or a
    /// weight is no multiple of its step.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        self.validate()?;
        let n_bytes = header::weight_bytes(self.network.config()) + (1 << 17);
        let mut bytes = Vec::new();
        let capacity = usize::try_from(n_bytes).map_err(|_| FileError::Memory { n_bytes })?;
        bytes.try_reserve_exact(capacity).map_err(|_| FileError::Memory { n_bytes })?;
        if self.header().fits_version_1() {
            self.write_version_1(&mut bytes)?;
            return Ok(bytes);
        }
        let mut writer = AsmrWriter::new(io::Cursor::new(bytes), self.header())?;
        writer.push(&self.network, self.steps.as_deref())?;
        Ok(writer.finish()?.0.into_inner())
    }

    /// Writes the file, in pieces of at most 64 KiB and without seeking; flushes; returns the bytes written.
    ///
    /// # Errors
    /// As [`Self::to_bytes`], before anything is written; [`FileError::Io`] when writing fails.
    pub fn write_to(&self, writer: &mut impl Write) -> Result<u64, FileError> {
        self.validate()?;
        if self.header().fits_version_1() {
            return self.write_version_1(writer);
        }
        let bytes = self.to_bytes()?;
        for piece in bytes.chunks(CHUNK) {
            writer.write_all(piece)?;
        }
        writer.flush()?;
        Ok(bytes.len() as u64)
    }

    fn write_version_1(&self, writer: &mut impl Write) -> Result<u64, FileError> {
        let header = self.header_bytes()?;
        let mut start = prefix(1, &header).to_vec();
        start.extend_from_slice(&header);
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&start);
        writer.write_all(&start)?;
        write_weights(self.network.params(), |piece| {
            checksum.update(piece);
            writer.write_all(piece)
        })?;
        writer.write_all(&checksum.finalize().to_le_bytes())?;
        writer.flush()?;
        Ok(total_len(header.len() as u64, header::weight_bytes(self.network.config())))
    }

    /// Reads a file that is in memory as a whole.
    ///
    /// # Errors
    /// [`FileError`] for everything that is not exactly one valid file within the limits.
    pub fn read_from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self, FileError> {
        let mut rest = bytes;
        Self::read_from(&mut rest, Some(bytes.len() as u64), limits)
    }

    /// Reads a file from its first byte to the reader's end.
    ///
    /// `known_len` is the length in bytes of all that the reader will give, where the caller knows it (a file's
    /// metadata); a file of another length is then refused before its weights are read, and memory is taken at
    /// once. With `None`, memory grows with the bytes that arrive. Give a buffered reader or a file: reads are of
    /// up to 64 KiB.
    ///
    /// # Errors
    /// As [`Self::read_from_bytes`]; [`FileError::Io`] when reading fails.
    pub fn read_from(
        reader: &mut impl Read,
        known_len: Option<u64>,
        limits: &Limits,
    ) -> Result<Self, FileError> {
        let mut input = Input { reader, position: 0, checksum: crc32fast::Hasher::new() };
        let prefix = input.prefix()?;
        if prefix.version > 1 {
            // Sought in by its reader: taken into memory first, as far as there are bytes.
            let mut bytes = prefix.bytes.to_vec();
            input.reader.read_to_end(&mut bytes)?;
            return AsmrReader::open(io::Cursor::new(bytes), limits)?.into_file();
        }
        let Header { header, .. } = input.header(&prefix, known_len, limits)?;
        let n_weight_bytes = header::weight_bytes(&header.network);
        let expected = total_len(u64::from(prefix.header_len), n_weight_bytes);
        if let Some(actual) = known_len {
            if actual < expected {
                return Err(FileError::Truncated { actual, expected });
            }
            if actual > expected {
                return Err(FileError::TrailingBytes { expected });
            }
        }
        let n_params = header.network.n_params();
        let params = input.weights(n_params, n_weight_bytes, expected, known_len.is_some())?;
        let computed = input.checksum.clone().finalize();
        let mut stored = [0; CHECKSUM_LEN as usize];
        input.fill(&mut stored, expected)?;
        check("contents", u32::from_le_bytes(stored), computed)?;
        if !input.is_at_end()? {
            return Err(FileError::TrailingBytes { expected });
        }
        let network = Network::new(header.network, params)?;
        Ok(Self { signal: header.signal, network, steps: None, fit: header.fit })
    }

    /// The header, padded to a multiple of 8 bytes.
    fn header_bytes(&self) -> Result<Vec<u8>, FileError> {
        self.validate()?;
        let mut bytes = header::write(&self.signal, self.network.config(), self.fit.as_ref())?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        if bytes.len() > MAX_HEADER_BYTES as usize {
            let without_fit = header::write(&self.signal, self.network.config(), None)?.len();
            return Err(FileError::Fit(format!(
                "it makes the header {} bytes long and at most {MAX_HEADER_BYTES} are allowed; \
                 store at most {} bytes of JSON",
                bytes.len(),
                MAX_HEADER_BYTES as usize - without_fit - 16
            )));
        }
        Ok(bytes)
    }
}

/// The first bytes of a file.
fn prefix(version: u16, header: &[u8]) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    bytes[12..16].copy_from_slice(&(header.len() as u32).to_le_bytes());
    bytes[16..20].copy_from_slice(&crc32fast::hash(header).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Weights as little-endian bytes, in pieces of at most [`CHUNK`].
fn write_weights(params: &[f32], mut write: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut piece = Vec::with_capacity(CHUNK);
    for weights in params.chunks(CHUNK / 4) {
        piece.clear();
        piece.extend(weights.iter().flat_map(|w| w.to_le_bytes()));
        write(&piece)?;
    }
    Ok(())
}

fn total_len(header_len: u64, n_weight_bytes: u64) -> u64 {
    PREFIX_LEN as u64 + header_len + n_weight_bytes + CHECKSUM_LEN
}

fn check(part: &'static str, stored: u32, computed: u32) -> Result<(), FileError> {
    if stored == computed { Ok(()) } else { Err(FileError::Damaged { part, stored, computed }) }
}

/// The signal and the configuration are valid and mean the same grid.
fn check_agreement(signal: &SignalInfo, config: &NetworkConfig) -> Result<(), FileError> {
    signal.validate()?;
    config.validate()?;
    if config.partition.extents() != signal.extents {
        return Err(FileError::Inconsistent(format!(
            "the signal has extents {:?} and the network's partition {:?}",
            signal.extents,
            config.partition.extents()
        )));
    }
    if config.channels != signal.channels {
        return Err(FileError::Inconsistent(format!(
            "the signal has {} channels and the network {}",
            signal.channels, config.channels
        )));
    }
    Ok(())
}

struct Prefix {
    bytes: [u8; PREFIX_LEN],
    version: u16,
    header_len: u32,
    header_crc: u32,
}

/// A reader that knows where it is and sums what it has read.
struct Input<'r, R> {
    reader: &'r mut R,
    position: u64,
    checksum: crc32fast::Hasher,
}

impl<R: Read> Input<'_, R> {
    /// Reads until `buffer` is full or nothing is left; gives the number of bytes read.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        let mut n = 0;
        while n < buffer.len() {
            match self.reader.read(&mut buffer[n..]) {
                Ok(0) => break,
                Ok(read) => n += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.position += n as u64;
        self.checksum.update(&buffer[..n]);
        Ok(n)
    }

    fn fill(&mut self, buffer: &mut [u8], expected: u64) -> Result<(), FileError> {
        if self.read_some(buffer)? < buffer.len() {
            return Err(FileError::Truncated { actual: self.position, expected });
        }
        Ok(())
    }

    /// Hands `n_bytes` to `take` in pieces of at most [`CHUNK`] bytes, all but the last a multiple of 4 long.
    fn in_pieces(
        &mut self,
        n_bytes: u64,
        expected: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let mut buffer = vec![0; n_bytes.min(CHUNK as u64) as usize];
        let mut left = n_bytes;
        while left > 0 {
            let n = left.min(CHUNK as u64) as usize;
            self.fill(&mut buffer[..n], expected)?;
            take(&buffer[..n])?;
            left -= n as u64;
        }
        Ok(())
    }

    fn is_at_end(&mut self) -> Result<bool, FileError> {
        Ok(self.read_some(&mut [0])? == 0)
    }

    fn prefix(&mut self) -> Result<Prefix, FileError> {
        let expected = total_len(0, 0);
        let mut prefix = [0; PREFIX_LEN];
        let n = self.read_some(&mut prefix)?;
        let n_magic = n.min(MAGIC.len());
        if prefix[..n_magic] != MAGIC[..n_magic] {
            return Err(if looks_like_text_transfer(&prefix[..n]) {
                FileError::TextMode
            } else {
                FileError::NotAsmr
            });
        }
        if n < PREFIX_LEN {
            return Err(FileError::Truncated { actual: self.position, expected });
        }
        let u32_at = |i: usize| u32::from_le_bytes([prefix[i], prefix[i + 1], prefix[i + 2], prefix[i + 3]]);
        let u16_at = |i: usize| u16::from_le_bytes([prefix[i], prefix[i + 1]]);
        check("prefix", u32_at(20), crc32fast::hash(&prefix[..20]))?;
        let (version, flags, header_len) = (u16_at(8), u16_at(10), u32_at(12));
        if version > VERSION {
            return Err(FileError::NewerVersion { version });
        }
        if version == 0 {
            return Err(FileError::Header("version 0 does not exist".to_owned()));
        }
        if flags != 0 {
            return Err(FileError::Header(format!(
                "flags are {flags:#06x}; versions 1 to {VERSION} have none"
            )));
        }
        if header_len % 8 != 0 {
            return Err(FileError::Header(format!("its length is {header_len}, not a multiple of 8")));
        }
        Ok(Prefix { bytes: prefix, version, header_len, header_crc: u32_at(16) })
    }

    /// What follows the prefix, checked as far as it can be without the rest.
    fn header(
        &mut self,
        prefix: &Prefix,
        known_len: Option<u64>,
        limits: &Limits,
    ) -> Result<Header, FileError> {
        if prefix.header_len > limits.max_header_bytes {
            return Err(FileError::Limit {
                what: "bytes of header",
                actual: u128::from(prefix.header_len),
                limit: u64::from(limits.max_header_bytes),
                field: "max_header_bytes",
            });
        }
        let header_len = u64::from(prefix.header_len);
        let at_least = total_len(header_len, 0);
        if let Some(actual) = known_len.filter(|&len| len < at_least) {
            return Err(FileError::Truncated { actual, expected: at_least });
        }
        let mut bytes = Vec::new();
        self.in_pieces(header_len, at_least, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        check("header", prefix.header_crc, crc32fast::hash(&bytes))?;
        let header = header::parse(&bytes, prefix.version)?;
        header.validate()?;
        limits.check(&header)?;
        Ok(Header { header, version: prefix.version })
    }

    /// Weights; memory for all of them is taken at once if they are known to be there.
    fn weights(
        &mut self,
        n_params: usize,
        n_bytes: u64,
        expected: u64,
        is_there: bool,
    ) -> Result<Vec<f32>, FileError> {
        let mut params: Vec<f32> = Vec::new();
        if is_there {
            params.try_reserve_exact(n_params).map_err(|_| FileError::Memory { n_bytes })?;
        }
        self.in_pieces(n_bytes, expected, |piece| {
            params.try_reserve(piece.len() / 4).map_err(|_| FileError::Memory { n_bytes })?;
            params.extend(piece.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)));
            Ok(())
        })?;
        Ok(params)
    }
}

/// The beginning of a text that may hold whatever a stranger wrote: at most 300 bytes and a mark.
pub(crate) fn short(text: &str) -> String {
    const MAX: usize = 300;
    if text.len() <= MAX {
        return text.to_owned();
    }
    let end = (0..=MAX).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    format!("{}… ({} bytes)", &text[..end], text.len())
}

/// Whether bytes that are not the magic are what a text conversion makes of it.
fn looks_like_text_transfer(bytes: &[u8]) -> bool {
    let name = &MAGIC[1..5];
    // As it is but for the line ends, with 7 bits, as Latin-1 made UTF-8, with the replacement character.
    [&[0xA5][..], &[0x25], &[0xC2, 0xA5], &[0xEF, 0xBF, 0xBD]]
        .iter()
        .any(|first| bytes.strip_prefix(*first).is_some_and(|rest| rest.starts_with(name)))
}
