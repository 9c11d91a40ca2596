//! Versions 2 and 3 of the file: a signal cut along its slowest axis into chunks, a network for each, and an index to find
//! them by; and readers of all versions that fetch one network at a time.
//!
//! ```text
//! 0      24  prefix, as in version 1 (version 2 or 3)
//! 24     H   header: JSON
//! 24+H   24N index: per chunk its offset (8), its length in bytes (8), CRC-32 of its bytes (4), 0 (4)
//!        4   CRC-32 of the index
//!        4   0
//!            chunks, one after the other without gaps
//! ```

use std::cmp::Ordering;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::header::{self, Header};
use super::{
    AsmrFile, CHECKSUM_LEN, FileError, FitRecord, Input, Limits, MAX_HEADER_BYTES, PREFIX_LEN, check,
};
use crate::coding::{QuantisedWeights, TensorSteps};
use crate::network::{Network, NetworkConfig};
use crate::partition::Partition;
use crate::residual;
use crate::signal::SignalInfo;

/// The most chunks of a file.
pub const MAX_CHUNKS: usize = 1 << 20;
/// How weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As 32-bit floats.
    #[default]
    F32,
    /// As whole numbers of quantisation steps, entropy-coded ([`crate::coding`]).
    Coded,
}

impl Encoding {
    /// Its name in the header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Coded => "coded",
        }
    }
}

/// Bytes of one entry of the index.
const ENTRY_LEN: u64 = 24;

/// What a file says before its weights: everything that a reader needs to plan a decode.
#[derive(Clone, Debug, PartialEq)]
pub struct FileHeader {
    /// What a decode gives back.
    pub signal: SignalInfo,
    /// Samples of the slowest axis in a chunk; the last may have fewer. Equal to the axis' extent where there is one
    /// network for everything.
    pub chunk_extent: usize,
    /// The configuration of a whole chunk's network: its partition's extents are `chunk_extent` and the signal's
    /// other extents. The last chunk's has the same bases.
    pub network: NetworkConfig,
    /// How all networks' weights are stored.
    pub encoding: Encoding,
    /// The most by which a decoded value differs from its original, where corrections ([`crate::residual`]) make sure of it.
    pub max_error: Option<u32>,
    /// How the networks were fitted, if known.
    pub fit: Option<FitRecord>,
}

impl FileHeader {
    /// A signal with one network, its weights as 32-bit floats.
    #[must_use]
    pub fn single(signal: SignalInfo, network: NetworkConfig, fit: Option<FitRecord>) -> Self {
        Self {
            chunk_extent: signal.extents[0],
            signal,
            network,
            encoding: Encoding::F32,
            max_error: None,
            fit,
        }
    }

    /// Number of chunks, 1 or more.
    #[must_use]
    pub fn n_chunks(&self) -> usize {
        self.signal.extents[0].div_ceil(self.chunk_extent)
    }

    /// Samples of the slowest axis in a chunk.
    #[must_use]
    pub fn chunk_range(&self, chunk: usize) -> Range<u64> {
        let start = chunk as u64 * self.chunk_extent as u64;
        start..(start + self.chunk_extent as u64).min(self.signal.extents[0] as u64)
    }

    /// The configuration of a chunk's network.
    ///
    /// # Panics
    /// When there is no such chunk, or the header is not valid.
    #[must_use]
    pub fn chunk_config(&self, chunk: usize) -> NetworkConfig {
        let range = self.chunk_range(chunk);
        let mut extents = self.signal.extents.clone();
        extents[0] = (range.end - range.start) as usize;
        let partition = Partition::new(&extents, self.network.partition.bases());
        let partition = partition.expect("a shorter extent fits the bases of a longer one");
        NetworkConfig { partition, ..self.network.clone() }
    }

    /// Slabs in which a chunk's corrections are coded, where there are any.
    ///
    /// # Panics
    /// When there is no such chunk.
    #[must_use]
    pub fn n_slabs(&self, chunk: usize) -> Option<usize> {
        self.max_error?;
        let info = self.chunk_signal(chunk);
        Some(info.extents[0].div_ceil(residual::slab_slices(&info)))
    }

    /// Shape and metadata of a chunk as a signal of its own.
    #[must_use]
    pub fn chunk_signal(&self, chunk: usize) -> SignalInfo {
        let range = self.chunk_range(chunk);
        self.signal.slices((range.end - range.start) as usize)
    }

    /// Checks that the parts are valid and agree with each other.
    ///
    /// # Errors
    /// [`FileError::Signal`], [`FileError::Network`], [`FileError::Inconsistent`] or [`FileError::Fit`].
    pub fn validate(&self) -> Result<(), FileError> {
        self.signal.validate()?;
        self.network.validate()?;
        let extent = self.signal.extents[0];
        if self.chunk_extent == 0 || self.chunk_extent > extent {
            return Err(FileError::Inconsistent(format!(
                "chunks of {} samples along an axis of {extent}",
                self.chunk_extent
            )));
        }
        if self.n_chunks() > MAX_CHUNKS {
            return Err(FileError::Inconsistent(format!(
                "it has {} chunks, and at most {MAX_CHUNKS} are allowed",
                self.n_chunks()
            )));
        }
        let expected = self.signal.slices(self.chunk_extent).extents;
        if self.network.partition.extents() != expected {
            return Err(FileError::Inconsistent(format!(
                "a chunk of the signal has extents {expected:?} and the network's partition {:?}",
                self.network.partition.extents()
            )));
        }
        if self.network.channels != self.signal.channels {
            return Err(FileError::Inconsistent(format!(
                "the signal has {} channels and the network {}",
                self.signal.channels, self.network.channels
            )));
        }
        if self.max_error.is_some()
            && (self.encoding != Encoding::Coded || self.signal.sample_type.is_float())
        {
            return Err(FileError::Inconsistent(
                "corrections are for whole numbers, and for files whose weights are coded".to_owned(),
            ));
        }
        self.fit.as_ref().map_or(Ok(()), FitRecord::validate)
    }

    /// Whether version 1 can hold this.
    pub(super) fn fits_version_1(&self) -> bool {
        use crate::signal::SampleType::{F32, U8, U16};
        self.n_chunks() == 1
            && self.encoding == Encoding::F32
            && self.signal.value_range.is_none()
            && self.signal.media.is_plain()
            && matches!(self.signal.sample_type, U8 | U16 | F32)
    }

    /// The version it is written as, where that is not 1.
    fn chunked_version(&self) -> u16 {
        match self.encoding {
            Encoding::F32 => 2,
            Encoding::Coded => 3,
        }
    }

    /// Bytes of a file of version 2 or 3 before its chunks.
    ///
    /// # Errors
    /// As [`AsmrWriter::new`], but for [`FileError::Io`].
    pub fn n_bytes(&self) -> Result<u64, FileError> {
        Ok(PREFIX_LEN as u64 + self.to_bytes()?.len() as u64 + index_len(self.n_chunks()))
    }

    /// The JSON, padded to a multiple of 8 bytes.
    fn to_bytes(&self) -> Result<Vec<u8>, FileError> {
        self.validate()?;
        let mut bytes = header::write_chunked(self)?;
        bytes.resize(bytes.len().next_multiple_of(8), b' ');
        if bytes.len() > MAX_HEADER_BYTES as usize {
            return Err(FileError::Header(format!(
                "it is {} bytes long and at most {MAX_HEADER_BYTES} are allowed",
                bytes.len()
            )));
        }
        Ok(bytes)
    }
}

/// One chunk's place.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    offset: u64,
    n_bytes: u64,
    checksum: u32,
}

/// A chunk that was written: what [`AsmrWriter::resume`] needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenChunk {
    /// Bytes of its weights.
    pub n_bytes: u64,
    /// Their CRC-32.
    pub checksum: u32,
}

/// Writes a file of version 2 or 3, chunk after chunk, with the memory of one.
///
/// The index is written last, over the place kept for it: a file that was not finished has an index of zeros, which no
/// reader takes.
#[derive(Debug)]
pub struct AsmrWriter<W> {
    writer: W,
    header: FileHeader,
    /// Of the first byte of the index.
    index_at: u64,
    entries: Vec<Entry>,
}

impl<W: Write + Seek> AsmrWriter<W> {
    /// Begins a file at the writer's beginning.
    ///
    /// # Errors
    /// [`FileError`] for a header that is refused, and when writing fails.
    pub fn new(mut writer: W, header: FileHeader) -> Result<Self, FileError> {
        let bytes = header.to_bytes()?;
        writer.write_all(&super::prefix(header.chunked_version(), &bytes))?;
        writer.write_all(&bytes)?;
        let index_at = PREFIX_LEN as u64 + bytes.len() as u64;
        let index_len = index_len(header.n_chunks());
        std::io::copy(&mut std::io::repeat(0).take(index_len), &mut writer)?;
        Ok(Self { writer, header, index_at, entries: Vec::new() })
    }

    /// What was said at the beginning.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Chunks written so far.
    #[must_use]
    pub fn n_written(&self) -> usize {
        self.entries.len()
    }

    /// Appends the next chunk's network; `steps` are those of its tensors if the file's encoding is
    /// [`Encoding::Coded`], and all its weights are multiples of them.
    ///
    /// # Errors
    /// [`FileError::Inconsistent`] for a network of another shape or one too many, and for weights and steps that do not
    /// suit the encoding; [`FileError::Io`].
    pub fn push(&mut self, network: &Network, steps: Option<&[TensorSteps]>) -> Result<(), FileError> {
        self.push_corrected(network, steps, None)
    }

    /// Like [`Self::push`], with the corrections of the chunk's values if the file has a bound on their error, a code of
    /// [`crate::residual::encode`] for each slab.
    ///
    /// # Errors
    /// As [`Self::push`]; [`FileError::Inconsistent`] for corrections of another number of slabs.
    pub fn push_corrected(
        &mut self,
        network: &Network,
        steps: Option<&[TensorSteps]>,
        corrections: Option<&[Vec<u8>]>,
    ) -> Result<(), FileError> {
        let chunk = self.entries.len();
        if chunk >= self.header.n_chunks() || *network.config() != self.header.chunk_config(chunk) {
            return Err(FileError::Inconsistent(format!(
                "network {chunk} is not one of the {} that were announced",
                self.header.n_chunks()
            )));
        }
        if corrections.map(<[_]>::len) != self.header.n_slabs(chunk) {
            return Err(FileError::Inconsistent(format!(
                "chunk {chunk} has the wrong number of corrected slabs"
            )));
        }
        let offset = self.entries.last().map_or_else(
            || self.index_at + index_len(self.header.n_chunks()),
            |last| last.offset + last.n_bytes,
        );
        let (mut checksum, mut n_bytes) = (crc32fast::Hasher::new(), 0);
        let mut write = |piece: &[u8]| {
            checksum.update(piece);
            n_bytes += piece.len() as u64;
            self.writer.write_all(piece)
        };
        match (self.header.encoding, steps) {
            (Encoding::F32, None) => super::write_weights(network.params(), &mut write)?,
            (Encoding::Coded, Some(steps)) => {
                let code = coded(network, steps)?;
                if let Some(slabs) = corrections {
                    for bytes in std::iter::once(&code).chain(slabs) {
                        write(&(bytes.len() as u32).to_le_bytes())?;
                    }
                }
                write(&code)?;
                for slab in corrections.unwrap_or_default() {
                    write(slab)?;
                }
            }
            (encoding, _) => {
                return Err(FileError::Inconsistent(format!(
                    "weights with{} quantisation steps cannot be encoded as '{}'",
                    if steps.is_some() { "" } else { "out" },
                    encoding.name()
                )));
            }
        }
        self.entries.push(Entry { offset, n_bytes, checksum: checksum.finalize() });
        Ok(())
    }

    /// The chunks written so far, to [`Self::resume`] with.
    #[must_use]
    pub fn written(&self) -> Vec<WrittenChunk> {
        let written = |entry: &Entry| WrittenChunk { n_bytes: entry.n_bytes, checksum: entry.checksum };
        self.entries.iter().map(written).collect()
    }

    /// Flushes what was written so far.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn flush(&mut self) -> Result<&mut W, FileError> {
        self.writer.flush()?;
        Ok(&mut self.writer)
    }

    /// Writes the index and flushes; gives the writer and the file's length in bytes.
    ///
    /// # Errors
    /// [`FileError::Inconsistent`] when chunks are missing; [`FileError::Io`].
    pub fn finish(mut self) -> Result<(W, u64), FileError> {
        if self.entries.len() != self.header.n_chunks() {
            return Err(FileError::Inconsistent(format!(
                "{} of {} chunks were written",
                self.entries.len(),
                self.header.n_chunks()
            )));
        }
        let mut index = Vec::with_capacity(self.entries.len() * ENTRY_LEN as usize);
        for entry in &self.entries {
            index.extend_from_slice(&entry.offset.to_le_bytes());
            index.extend_from_slice(&entry.n_bytes.to_le_bytes());
            index.extend_from_slice(&entry.checksum.to_le_bytes());
            index.extend_from_slice(&[0; 4]);
        }
        index.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        let end = self.entries.last().map_or(0, |last| last.offset + last.n_bytes);
        self.writer.seek(SeekFrom::Start(self.index_at))?;
        self.writer.write_all(&index)?;
        self.writer.seek(SeekFrom::Start(end))?;
        self.writer.flush()?;
        Ok((self.writer, end))
    }
}

impl<W: Read + Write + Seek> AsmrWriter<W> {
    /// Goes on with a file of which the first chunks were written before, as [`Self::written`] told; what follows
    /// them is written over.
    ///
    /// # Errors
    /// [`FileError::Damaged`] where a chunk is not what was written; otherwise as [`Self::new`].
    pub fn resume(mut writer: W, header: FileHeader, written: &[WrittenChunk]) -> Result<Self, FileError> {
        let bytes = header.to_bytes()?;
        if written.len() > header.n_chunks() {
            return Err(FileError::Inconsistent(format!(
                "{} chunks were written and the file has {}",
                written.len(),
                header.n_chunks()
            )));
        }
        let index_at = PREFIX_LEN as u64 + bytes.len() as u64;
        let mut offset = index_at + index_len(header.n_chunks());
        let mut expected = super::prefix(header.chunked_version(), &bytes).to_vec();
        expected.extend_from_slice(&bytes);
        writer.seek(SeekFrom::Start(0))?;
        let mut start = vec![0; expected.len()];
        if let Err(error) = writer.read_exact(&mut start)
            && error.kind() != std::io::ErrorKind::UnexpectedEof
        {
            return Err(error.into());
        }
        check("header", crc32fast::hash(&expected), crc32fast::hash(&start))?;
        let mut entries = Vec::new();
        for &WrittenChunk { n_bytes, checksum: stored } in written {
            writer.seek(SeekFrom::Start(offset))?;
            let mut input =
                Input { reader: &mut writer, position: offset, checksum: crc32fast::Hasher::new() };
            input.in_pieces(n_bytes, offset + n_bytes, |_| Ok(()))?;
            check("chunk", stored, input.checksum.finalize())?;
            entries.push(Entry { offset, n_bytes, checksum: stored });
            offset += n_bytes;
        }
        writer.seek(SeekFrom::Start(offset))?;
        Ok(Self { writer, header, index_at, entries })
    }

    /// Reads back a chunk that was written; the writer goes on behind the last one.
    ///
    /// # Errors
    /// [`FileError`] as [`AsmrReader::network`].
    ///
    /// # Panics
    /// When it was not written yet.
    pub fn chunk(&mut self, chunk: usize) -> Result<Chunk, FileError> {
        let entry = self.entries[chunk];
        self.writer.seek(SeekFrom::Start(entry.offset))?;
        let end = entry.offset + entry.n_bytes;
        let mut input =
            Input { reader: &mut self.writer, position: entry.offset, checksum: crc32fast::Hasher::new() };
        let config = self.header.chunk_config(chunk);
        let weights = input.encoded(self.header.encoding, &config, entry.n_bytes, end)?;
        check("chunk", entry.checksum, input.checksum.finalize())?;
        let last = self.entries[self.entries.len() - 1];
        self.writer.seek(SeekFrom::Start(last.offset + last.n_bytes))?;
        weights.into_chunk(config, self.header.n_slabs(chunk))
    }
}

/// What a file holds of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its network.
    pub network: Network,
    /// The quantisation steps of its tensors, where weights are coded.
    pub steps: Option<Vec<TensorSteps>>,
    /// Where a bound on errors is kept, the code of each slab of corrections ([`residual::decode`]).
    pub corrections: Option<Vec<Vec<u8>>>,
}

/// The code of weights that are multiples of their steps.
fn coded(network: &Network, steps: &[TensorSteps]) -> Result<Vec<u8>, FileError> {
    let config = network.config();
    let tensors = config.tensors();
    if steps.len() != tensors.len() || !steps.iter().zip(&tensors).all(|(s, t)| s.fit(&t.shape)) {
        return Err(FileError::Inconsistent("the quantisation steps do not fit the tensors".to_owned()));
    }
    QuantisedWeights::exact(config, steps.to_vec(), network.params())
        .map(|weights| weights.encode(config))
        .ok_or_else(|| {
            FileError::Inconsistent("a weight is no multiple of its tensor's quantisation step".to_owned())
        })
}

/// A chunk's bytes, read and not yet checked.
enum Stored {
    Floats(Vec<f32>),
    Code(Vec<u8>),
}

impl Stored {
    /// What they are, once their checksum is known to be right.
    fn into_chunk(self, config: NetworkConfig, n_slabs: Option<usize>) -> Result<Chunk, FileError> {
        let bytes = match self {
            Self::Floats(params) => {
                return Ok(Chunk { network: Network::new(config, params)?, steps: None, corrections: None });
            }
            Self::Code(bytes) => bytes,
        };
        let (code, corrections) = match n_slabs {
            None => (&bytes[..], None),
            Some(n_slabs) => {
                let invalid =
                    || FileError::Inconsistent("the lengths of a chunk's parts are wrong".to_owned());
                let (lengths, mut rest) =
                    bytes.split_at_checked(4usize.saturating_mul(1 + n_slabs)).ok_or_else(invalid)?;
                let mut parts = Vec::with_capacity(1 + n_slabs);
                for &length in lengths.as_chunks().0 {
                    let length = u32::from_le_bytes(length) as usize;
                    let (part, after) = rest.split_at_checked(length).ok_or_else(invalid)?;
                    parts.push(part);
                    rest = after;
                }
                if !rest.is_empty() {
                    return Err(invalid());
                }
                (parts[0], Some(parts[1..].iter().map(|slab| slab.to_vec()).collect()))
            }
        };
        // The decoder's own memory, asked for in a way that can be refused.
        let n_bytes = config.n_params() as u64 * 8;
        Vec::<u64>::new().try_reserve_exact(config.n_params()).map_err(|_| FileError::Memory { n_bytes })?;
        let weights = QuantisedWeights::decode(&config, code)
            .map_err(|error| FileError::Inconsistent(error.to_string()))?;
        let network = Network::new(config.clone(), weights.weights(&config))?;
        Ok(Chunk { network, steps: Some(weights.steps), corrections })
    }
}

impl<R: Read> Input<'_, R> {
    /// A chunk's bytes, which are known to be there.
    fn encoded(
        &mut self,
        encoding: Encoding,
        config: &NetworkConfig,
        n_bytes: u64,
        expected: u64,
    ) -> Result<Stored, FileError> {
        if encoding == Encoding::F32 {
            return Ok(Stored::Floats(self.weights(config.n_params(), n_bytes, expected, true)?));
        }
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(n_bytes).unwrap_or(usize::MAX))
            .map_err(|_| FileError::Memory { n_bytes })?;
        self.in_pieces(n_bytes, expected, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(Stored::Code(bytes))
    }
}

/// Bytes of the index and what follows it.
fn index_len(n_chunks: usize) -> u64 {
    n_chunks as u64 * ENTRY_LEN + 8
}

/// Reads a file of any version: the header at once, then the networks that are asked for.
#[derive(Debug)]
pub struct AsmrReader<R> {
    reader: R,
    version: u16,
    header: FileHeader,
    entries: Vec<Entry>,
    n_bytes: u64,
}

impl<R: Read + Seek> AsmrReader<R> {
    /// Reads the header and the index, from the reader's beginning, and checks that the length is right. The weights'
    /// checksums are checked when they are read.
    ///
    /// # Errors
    /// [`FileError`] for everything that is not the beginning of one valid file within the limits.
    pub fn open(reader: R, limits: &Limits) -> Result<Self, FileError> {
        let reader = Self::open_damaged(reader, limits)?;
        reader.check_length()?;
        Ok(reader)
    }

    /// Like [`Self::open`], but takes a file that is cut off behind its index or has other bytes after its end: networks of
    /// chunks that are whole can be read, the others are errors.
    ///
    /// # Errors
    /// [`FileError`] for a file whose header or index is not whole, or not within the limits.
    pub fn open_damaged(mut reader: R, limits: &Limits) -> Result<Self, FileError> {
        let n_bytes = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut input = Input { reader: &mut reader, position: 0, checksum: crc32fast::Hasher::new() };
        let prefix = input.prefix()?;
        let Header { header, version } = input.header(&prefix, Some(n_bytes), limits)?;
        let body = PREFIX_LEN as u64 + u64::from(prefix.header_len);
        if version == 1 {
            let weights = header::weight_bytes(&header.network);
            let entries = vec![Entry { offset: body, n_bytes: weights, checksum: 0 }];
            return Ok(Self { reader, version, header, entries, n_bytes });
        }
        let n_chunks = header.n_chunks();
        let first = body + index_len(n_chunks);
        if n_bytes < first {
            return Err(FileError::Truncated { actual: n_bytes, expected: first });
        }
        let mut index = Vec::new();
        input.in_pieces(index_len(n_chunks), first, |piece| {
            index.extend_from_slice(piece);
            Ok(())
        })?;
        let (table, rest) = index.split_at(n_chunks * ENTRY_LEN as usize);
        let u32_at =
            |bytes: &[u8], i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        check("index", u32_at(rest, 0), crc32fast::hash(table))?;
        let mut entries = Vec::with_capacity(n_chunks);
        let mut offset = first;
        for (chunk, bytes) in table.chunks_exact(ENTRY_LEN as usize).enumerate() {
            let u64_at = |i: usize| u64::from(u32_at(bytes, i)) | u64::from(u32_at(bytes, i + 4)) << 32;
            let entry = Entry { offset: u64_at(0), n_bytes: u64_at(8), checksum: u32_at(bytes, 16) };
            let expected = match header.encoding {
                Encoding::F32 => header::weight_bytes(&header.chunk_config(chunk)),
                // Of any length, within the file.
                Encoding::Coded => entry.n_bytes,
            };
            let end = offset.checked_add(expected);
            let (true, Some(end)) =
                (entry.offset == offset && entry.n_bytes == expected && u32_at(bytes, 20) == 0, end)
            else {
                return Err(FileError::Inconsistent(format!(
                    "the index has chunk {chunk} at byte {} with {} bytes; it should be at {offset} with {expected}",
                    entry.offset, entry.n_bytes
                )));
            };
            offset = end;
            entries.push(entry);
        }
        if u32_at(rest, 4) != 0 {
            return Err(FileError::Inconsistent("the 4 bytes after the index are not 0".to_owned()));
        }
        Ok(Self { reader, version, header, entries, n_bytes })
    }

    /// Whether the file is as long as its header and index say.
    ///
    /// # Errors
    /// [`FileError::Truncated`] or [`FileError::TrailingBytes`].
    pub fn check_length(&self) -> Result<(), FileError> {
        let last = self.entries[self.entries.len() - 1];
        let checksum = if self.version == 1 { CHECKSUM_LEN } else { 0 };
        let (actual, expected) = (self.n_bytes, last.offset + last.n_bytes + checksum);
        match actual.cmp(&expected) {
            Ordering::Less => Err(FileError::Truncated { actual, expected }),
            Ordering::Greater => Err(FileError::TrailingBytes { expected }),
            Ordering::Equal => Ok(()),
        }
    }

    /// What the file says before its weights.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The file's version.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The file's length in bytes.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Reads and checks one chunk's network.
    ///
    /// # Errors
    /// [`FileError::Damaged`], [`FileError::Truncated`], [`FileError::Network`], [`FileError::Inconsistent`],
    /// [`FileError::Memory`] or [`FileError::Io`].
    ///
    /// # Panics
    /// When there is no such chunk.
    pub fn network(&mut self, chunk: usize) -> Result<Network, FileError> {
        Ok(self.chunk(chunk)?.network)
    }

    /// Reads and checks one chunk.
    ///
    /// # Errors
    /// As [`Self::network`].
    ///
    /// # Panics
    /// When there is no such chunk.
    pub fn chunk(&mut self, chunk: usize) -> Result<Chunk, FileError> {
        let entry = self.entries[chunk];
        let end = entry.offset + entry.n_bytes;
        if end > self.n_bytes {
            return Err(FileError::Truncated { actual: self.n_bytes, expected: end });
        }
        // Version 1 has one checksum, of everything before it.
        let start = if self.version == 1 { 0 } else { entry.offset };
        self.reader.seek(SeekFrom::Start(start))?;
        let mut input =
            Input { reader: &mut self.reader, position: start, checksum: crc32fast::Hasher::new() };
        input.in_pieces(entry.offset - start, self.n_bytes, |_| Ok(()))?;
        let config = self.header.chunk_config(chunk);
        let weights = input.encoded(self.header.encoding, &config, entry.n_bytes, self.n_bytes)?;
        let computed = input.checksum.clone().finalize();
        if self.version == 1 {
            let mut stored = [0; CHECKSUM_LEN as usize];
            input.fill(&mut stored, end + CHECKSUM_LEN)?;
            check("contents", u32::from_le_bytes(stored), computed)?;
        } else {
            check("chunk", entry.checksum, computed)?;
        }
        weights.into_chunk(config, self.header.n_slabs(chunk))
    }

    /// Bytes of all chunks' weights, and corrections.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.n_bytes).sum()
    }

    /// The whole content of a file with one network.
    ///
    /// # Errors
    /// As [`Self::network`]; [`FileError::Sequence`] for a file with several, [`FileError::Corrections`] for one with corrections.
    pub fn into_file(mut self) -> Result<AsmrFile, FileError> {
        let n_chunks = self.header.n_chunks();
        if n_chunks > 1 {
            return Err(FileError::Sequence { n_chunks });
        }
        if self.header.max_error.is_some() {
            return Err(FileError::Corrections);
        }
        let Chunk { network, steps, .. } = self.chunk(0)?;
        Ok(AsmrFile { signal: self.header.signal, network, steps, fit: self.header.fit })
    }
}
