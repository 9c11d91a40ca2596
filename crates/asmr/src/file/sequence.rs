//! Versions 2 to 4 of the file: a signal cut along its slowest axis into chunks, a network for each, and an index to find
//! them by; and readers of all versions that fetch one network at a time.
//!
//! ```text
//! 0      24  prefix, as in version 1 (version 2, 3 or 4)
//! 24     H   header: JSON
//! 24+H   24N index: per part its offset (8), its length in bytes (8), CRC-32 of its bytes (4), 0 (4)
//!        4   CRC-32 of the index
//!        4   0
//!            parts, one after the other without gaps
//! ```
//!
//! In versions 2 and 3 a part is a chunk. Version 4 is in progressive order: the first pass of every chunk, then the second of
//! every chunk, and so on, so that a file that is cut off decodes from its first passes, with coarser weights.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::header;
use super::reader::{AsmrReader, Chunk};
use super::{FileError, FitRecord, Input, MAX_HEADER_BYTES, PREFIX_LEN, VERSION, check};
use crate::coding::{MAX_REFINED_BITS, QuantisedWeights, TensorSteps};
use crate::network::{Network, NetworkConfig};
use crate::partition::Partition;
use crate::residual::{self, MaxError};
use crate::signal::SignalInfo;

/// The most chunks of a file.
pub const MAX_CHUNKS: usize = 1 << 20;
/// The most passes that refine weights.
pub const MAX_REFINEMENTS: usize = 8;

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
pub(super) const ENTRY_LEN: u64 = 24;

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
    pub max_error: Option<MaxError>,
    /// In progressive order, by how many octaves each pass after the first makes the weights' steps finer: 1 to
    /// [`MAX_REFINEMENTS`] of at least 1, together at most [`MAX_REFINED_BITS`]. Empty for files in the order of chunks.
    pub refinements: Vec<u8>,
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
            refinements: Vec::new(),
            fit,
        }
    }

    /// Number of chunks, 1 or more.
    #[must_use]
    pub fn n_chunks(&self) -> usize {
        self.signal.extents[0].div_ceil(self.chunk_extent)
    }

    /// Parts in which a chunk is stored: 1, or in progressive order its passes, corrections being the last.
    #[must_use]
    pub fn n_passes(&self) -> usize {
        match self.refinements.len() {
            0 => 1,
            n => 1 + n + usize::from(self.max_error.is_some()),
        }
    }

    fn corrects_floats(&self) -> bool {
        matches!(self.max_error, Some(MaxError::Real(_)))
    }

    /// Parts of the file that the index lists.
    pub(super) fn n_parts(&self) -> usize {
        self.n_chunks() * self.n_passes()
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
        if let Some(max_error) = self.max_error
            && (self.encoding != Encoding::Coded || !max_error.suits(self.signal.sample_type))
        {
            return Err(FileError::Inconsistent(format!(
                "corrections to within {max_error} of {:?}, of '{}' weights: they are for files whose weights are coded, to a whole \
                 number for whole numbers, and for others to a number above 0, twice which is a normal number",
                self.signal.sample_type,
                self.encoding.name()
            )));
        }
        let octaves: u32 = self.refinements.iter().map(|&bits| u32::from(bits)).sum();
        if self.refinements.len() > MAX_REFINEMENTS
            || self.refinements.contains(&0)
            || octaves > u32::from(MAX_REFINED_BITS)
            || (octaves > 0 && self.encoding != Encoding::Coded)
        {
            return Err(FileError::Inconsistent(format!(
                "progressive order has 1 to {MAX_REFINEMENTS} refinements of coded weights, each of 1 octave or more and all of \
                 {MAX_REFINED_BITS} or less, and these are {:?} of '{}'",
                self.refinements,
                self.encoding.name()
            )));
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
            Encoding::Coded if self.refinements.is_empty() && !self.corrects_floats() => 3,
            Encoding::Coded => VERSION,
        }
    }

    /// Bytes of a file of a version from 2 on before its chunks.
    ///
    /// # Errors
    /// As [`AsmrWriter::new`], but for [`FileError::Io`].
    pub fn n_bytes(&self) -> Result<u64, FileError> {
        Ok(PREFIX_LEN as u64 + self.to_bytes()?.len() as u64 + index_len(self.n_parts()))
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

/// One part's place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) offset: u64,
    pub(super) n_bytes: u64,
    pub(super) checksum: u32,
}

/// A chunk that was written: what [`AsmrWriter::resume`] needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenChunk {
    /// Bytes of its weights.
    pub n_bytes: u64,
    /// Their CRC-32.
    pub checksum: u32,
}

/// Writes a file of version 2 or 3, chunk after chunk, with the memory of one. ([`write_progressive`] makes files of version 4 of
/// those.)
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
        let index_len = index_len(header.n_parts());
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
        if !self.header.refinements.is_empty() {
            return Err(FileError::Inconsistent(
                "in progressive order chunks are not written one by one".to_owned(),
            ));
        }
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
        let offset = self.end();
        let (mut checksum, mut n_bytes) = (crc32fast::Hasher::new(), 0);
        let mut write = |piece: &[u8]| {
            checksum.update(piece);
            n_bytes += piece.len() as u64;
            self.writer.write_all(piece)
        };
        match (self.header.encoding, steps) {
            (Encoding::F32, None) => super::write_weights(network.params(), &mut write)?,
            (Encoding::Coded, Some(steps)) => {
                let code = multiples(network, steps)?.encode(network.config());
                match corrections {
                    None => write(&code)?,
                    Some(slabs) => write(&joined(std::iter::once(&code).chain(slabs)))?,
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

    /// Where the next part goes.
    fn end(&self) -> u64 {
        let first = self.index_at + index_len(self.header.n_parts());
        self.entries.last().map_or(first, |last| last.offset + last.n_bytes)
    }

    /// Appends a part of a file in progressive order.
    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let entry =
            Entry { offset: self.end(), n_bytes: bytes.len() as u64, checksum: crc32fast::hash(bytes) };
        self.writer.write_all(bytes)?;
        self.entries.push(entry);
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
        if self.entries.len() != self.header.n_parts() {
            return Err(FileError::Inconsistent(format!(
                "{} of {} chunks were written",
                self.entries.len() / self.header.n_passes(),
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
        let end = self.end();
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
    /// [`FileError::Damaged`] where the header or a chunk is not what was written; [`FileError::Inconsistent`] where all of a header
    /// is there, but another one; otherwise as [`Self::new`].
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
        writer.seek(SeekFrom::Start(0))?;
        let mut input = Input { reader: &mut writer, position: 0, checksum: crc32fast::Hasher::new() };
        let prefix = input.prefix()?;
        let mut found = Vec::new();
        let header_len = u64::from(prefix.header_len);
        input.in_pieces(header_len, PREFIX_LEN as u64 + header_len, |piece| {
            found.extend_from_slice(piece);
            Ok(())
        })?;
        check("header", prefix.header_crc, crc32fast::hash(&found))?;
        if prefix.bytes != super::prefix(header.chunked_version(), &bytes) || found != bytes {
            return Err(FileError::Inconsistent("it was begun with another header".to_owned()));
        }
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
        self.writer.seek(SeekFrom::Start(self.end()))?;
        weights.into_chunk(config, self.header.n_slabs(chunk))
    }
}

/// Writes what a file with coded weights holds as a file in progressive order, with `refinements` as in
/// [`FileHeader::refinements`]. `passes` gives the weights of each pass, the last being the chunk's own:
/// [`QuantisedWeights::nearest_passes`], or better ones. Takes the memory of one chunk and of all codes. Gives the writer and the
/// file's length in bytes.
///
/// # Errors
/// [`FileError`] as [`AsmrReader::chunk`] and [`AsmrWriter::new`]; [`FileError::Inconsistent`] for weights that are not coded, and
/// where `passes` gives none or others.
pub fn write_progressive<R: Read + Seek, W: Write + Seek>(
    reader: &mut AsmrReader<R>,
    refinements: &[u8],
    passes: &mut dyn FnMut(&Network, &QuantisedWeights) -> Option<Vec<QuantisedWeights>>,
    writer: W,
) -> Result<(W, u64), FileError> {
    let header = FileHeader { refinements: refinements.to_vec(), ..reader.header().clone() };
    if refinements.is_empty() {
        return Err(FileError::Inconsistent("progressive order needs refinements".to_owned()));
    }
    let (n_chunks, is_corrected) = (header.n_chunks(), header.max_error.is_some());
    let mut writer = AsmrWriter::new(writer, header)?;
    let mut codes: Vec<Vec<Vec<u8>>> = vec![Vec::with_capacity(n_chunks); 1 + refinements.len()];
    for chunk in 0..n_chunks {
        let Chunk { network, steps, .. } = reader.chunk(chunk)?;
        let (weights, config) = (multiples(&network, &steps.unwrap_or_default())?, network.config());
        let passes = passes(&network, &weights).ok_or_else(|| {
            FileError::Inconsistent("weights have too many steps to have coarser ones".to_owned())
        })?;
        let are_refined = passes.len() == 1 + refinements.len()
            && passes.windows(2).zip(refinements).all(|(pair, &n)| pair[0].refinement(&pair[1]) == Some(n))
            && passes.last().is_some_and(|last| last.weights(config) == network.params());
        if !are_refined {
            return Err(FileError::Inconsistent("the passes do not lead to the weights".to_owned()));
        }
        for (codes, code) in codes.iter_mut().zip(QuantisedWeights::encode_passes(config, &passes)) {
            codes.push(code);
        }
    }
    for code in codes.iter().flatten() {
        writer.append(code)?;
    }
    for chunk in (0..n_chunks).filter(|_| is_corrected) {
        writer.append(&joined(&reader.chunk(chunk)?.corrections.unwrap_or_default()))?;
    }
    writer.finish()
}

/// Weights that are multiples of their steps.
fn multiples(network: &Network, steps: &[TensorSteps]) -> Result<QuantisedWeights, FileError> {
    let config = network.config();
    let tensors = config.tensors();
    if steps.len() != tensors.len() || !steps.iter().zip(&tensors).all(|(s, t)| s.fit(&t.shape)) {
        return Err(FileError::Inconsistent("the quantisation steps do not fit the tensors".to_owned()));
    }
    QuantisedWeights::exact(config, steps.to_vec(), network.params()).ok_or_else(|| {
        FileError::Inconsistent("a weight is no multiple of its tensor's quantisation step".to_owned())
    })
}

/// Byte strings together: their lengths, then they.
fn joined<'a>(parts: impl IntoIterator<Item = &'a Vec<u8>> + Clone) -> Vec<u8> {
    let lengths = parts.clone().into_iter().flat_map(|part| (part.len() as u32).to_le_bytes());
    lengths.chain(parts.into_iter().flatten().copied()).collect()
}

/// Bytes of the index and what follows it.
pub(super) fn index_len(n_parts: usize) -> u64 {
    n_parts as u64 * ENTRY_LEN + 8
}
