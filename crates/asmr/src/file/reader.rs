//! Reading files of all versions: the header at once, then one network at a time.

use std::cmp::Ordering;
use std::io::{Read, Seek, SeekFrom};

use super::header::{self, Header};
use super::sequence::{ENTRY_LEN, Encoding, Entry, FileHeader, index_len};
use super::{AsmrFile, CHECKSUM_LEN, FileError, Input, Limits, PREFIX_LEN, check};
use crate::coding::{CodingError, QuantisedWeights, TensorSteps, least_bytes};
use crate::network::{Network, NetworkConfig};

/// What a file holds of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its network.
    pub network: Network,
    /// The quantisation steps of its tensors, where weights are coded.
    pub steps: Option<Vec<TensorSteps>>,
    /// Where a bound on errors is kept, the code of each slab of corrections ([`crate::residual::decode`]).
    pub corrections: Option<Vec<Vec<u8>>>,
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
        let n_parts = header.n_parts();
        let first = body + index_len(n_parts);
        if n_bytes < first {
            return Err(FileError::Truncated { actual: n_bytes, expected: first });
        }
        let mut index = Vec::new();
        input.in_pieces(index_len(n_parts), first, |piece| {
            index.extend_from_slice(piece);
            Ok(())
        })?;
        let (table, rest) = index.split_at(n_parts * ENTRY_LEN as usize);
        let u32_at =
            |bytes: &[u8], i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        check("index", u32_at(rest, 0), crc32fast::hash(table))?;
        let mut entries = Vec::with_capacity(n_parts);
        // All chunks have equally many weights, the last one too.
        let weight_bytes = header::weight_bytes(&header.network);
        let mut offset = first;
        for (part, bytes) in table.chunks_exact(ENTRY_LEN as usize).enumerate() {
            let u64_at = |i: usize| u64::from(u32_at(bytes, i)) | u64::from(u32_at(bytes, i + 4)) << 32;
            let entry = Entry { offset: u64_at(0), n_bytes: u64_at(8), checksum: u32_at(bytes, 16) };
            let expected = match header.encoding {
                Encoding::F32 => weight_bytes,
                // Of any length, within the file.
                Encoding::Coded => entry.n_bytes,
            };
            let end = offset.checked_add(expected);
            let (true, Some(end)) =
                (entry.offset == offset && entry.n_bytes == expected && u32_at(bytes, 20) == 0, end)
            else {
                return Err(FileError::Inconsistent(format!(
                    "the index has part {part} at byte {} with {} bytes; it should be at {offset} with {expected}",
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
        if !self.header.refinements.is_empty() {
            return self.first_passes(chunk, self.header.n_passes());
        }
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

    /// How many of a chunk's passes, from the first on, lie within a file that may have been cut off: at most
    /// [`FileHeader::n_passes`]. They are not checked.
    ///
    /// # Panics
    /// When there is no such chunk.
    #[must_use]
    pub fn n_passes_there(&self, chunk: usize) -> usize {
        let entries = self.entries[chunk..].iter().step_by(self.header.n_chunks());
        entries.take_while(|entry| entry.offset + entry.n_bytes <= self.n_bytes).count()
    }

    /// Reads and checks the first `n` passes of a chunk, whose weights are coarser than those of all passes.
    ///
    /// # Errors
    /// As [`Self::network`].
    ///
    /// # Panics
    /// When there is no such chunk, or `n` is 0 or more than [`FileHeader::n_passes`].
    pub fn first_passes(&mut self, chunk: usize, n: usize) -> Result<Chunk, FileError> {
        assert!((1..=self.header.n_passes()).contains(&n), "one pass or more, of those there are");
        if self.header.refinements.is_empty() {
            return self.chunk(chunk);
        }
        let n_chunks = self.header.n_chunks();
        let mut codes =
            (0..n).map(|pass| self.part(pass * n_chunks + chunk)).collect::<Result<Vec<_>, _>>()?;
        let corrections = match (self.header.n_slabs(chunk), n > 1 + self.header.refinements.len()) {
            (Some(n_slabs), true) => Some(separated(&codes.pop().unwrap_or_default(), n_slabs)?),
            _ => None,
        };
        decoded(&self.header.chunk_config(chunk), &self.header.refinements, &codes, corrections)
    }

    /// Reads as many of a chunk's first passes as are whole, and gives their number too.
    ///
    /// # Errors
    /// As [`Self::network`], where not even the first is whole.
    ///
    /// # Panics
    /// When there is no such chunk.
    pub fn whole_passes(&mut self, chunk: usize) -> Result<(Chunk, usize), FileError> {
        let mut n = self.header.n_passes();
        loop {
            match self.first_passes(chunk, n) {
                Ok(chunk) => return Ok((chunk, n)),
                Err(error) if n == 1 || matches!(error, FileError::Io(_) | FileError::Memory { .. }) => {
                    return Err(error);
                }
                Err(_) => n -= 1,
            }
        }
    }

    /// Reads and checks the bytes of a part.
    fn part(&mut self, part: usize) -> Result<Vec<u8>, FileError> {
        let entry = self.entries[part];
        let end = entry.offset + entry.n_bytes;
        if end > self.n_bytes {
            return Err(FileError::Truncated { actual: self.n_bytes, expected: end });
        }
        self.reader.seek(SeekFrom::Start(entry.offset))?;
        let mut input =
            Input { reader: &mut self.reader, position: entry.offset, checksum: crc32fast::Hasher::new() };
        let bytes = input.bytes(entry.n_bytes, end)?;
        check("pass", entry.checksum, input.checksum.finalize())?;
        Ok(bytes)
    }

    /// Bytes of each pass of all chunks together; one number where the file is not in progressive order.
    #[must_use]
    pub fn pass_bytes(&self) -> Vec<u64> {
        let parts = self.entries.chunks(self.header.n_chunks());
        parts.map(|pass| pass.iter().map(|entry| entry.n_bytes).sum()).collect()
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
/// A chunk's bytes, read and not yet checked.
pub(super) enum Stored {
    Floats(Vec<f32>),
    Code(Vec<u8>),
}

impl Stored {
    /// What they are, once their checksum is known to be right.
    pub(super) fn into_chunk(
        self,
        config: NetworkConfig,
        n_slabs: Option<usize>,
    ) -> Result<Chunk, FileError> {
        let bytes = match self {
            Self::Floats(params) => {
                return Ok(Chunk { network: Network::new(config, params)?, steps: None, corrections: None });
            }
            Self::Code(bytes) => bytes,
        };
        let (code, corrections) = match n_slabs {
            None => (bytes, None),
            Some(n_slabs) => {
                let mut parts = separated(&bytes, 1 + n_slabs)?;
                let slabs = parts.split_off(1);
                (parts.swap_remove(0), Some(slabs))
            }
        };
        decoded(&config, &[], &[code], corrections)
    }
}

/// A chunk of the first passes of its weights, or all of them.
fn decoded(
    config: &NetworkConfig,
    refinements: &[u8],
    passes: &[Vec<u8>],
    corrections: Option<Vec<Vec<u8>>>,
) -> Result<Chunk, FileError> {
    let file_error = |error| match error {
        CodingError::Memory { n_bytes } => FileError::Memory { n_bytes },
        CodingError::Invalid => FileError::Inconsistent(CodingError::Invalid.to_string()),
    };
    // Before memory is taken for as many weights as the header announces.
    if passes[0].len() < least_bytes(config) {
        return Err(file_error(CodingError::Invalid));
    }
    // The decoder's own memory, asked for in a way that can be refused.
    let n_bytes = config.n_params() as u64 * 8;
    Vec::<u64>::new().try_reserve_exact(config.n_params()).map_err(|_| FileError::Memory { n_bytes })?;
    let weights = QuantisedWeights::decode_passes(config, refinements, passes).map_err(file_error)?;
    let network = Network::new(config.clone(), weights.weights(config))?;
    Ok(Chunk { network, steps: Some(weights.steps), corrections })
}

impl<R: Read> Input<'_, R> {
    /// A chunk's bytes, which are known to be there.
    pub(super) fn encoded(
        &mut self,
        encoding: Encoding,
        config: &NetworkConfig,
        n_bytes: u64,
        expected: u64,
    ) -> Result<Stored, FileError> {
        if encoding == Encoding::F32 {
            return Ok(Stored::Floats(self.weights(config.n_params(), n_bytes, expected, true)?));
        }
        Ok(Stored::Code(self.bytes(n_bytes, expected)?))
    }

    /// Bytes that are known to be there.
    fn bytes(&mut self, n_bytes: u64, expected: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(usize::try_from(n_bytes).unwrap_or(usize::MAX))
            .map_err(|_| FileError::Memory { n_bytes })?;
        self.in_pieces(n_bytes, expected, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }
}

/// The `n` byte strings that were [`joined`].
fn separated(bytes: &[u8], n: usize) -> Result<Vec<Vec<u8>>, FileError> {
    let invalid = || FileError::Inconsistent("the lengths of a chunk's parts are wrong".to_owned());
    let (lengths, mut rest) = bytes.split_at_checked(4usize.saturating_mul(n)).ok_or_else(invalid)?;
    let mut parts = Vec::with_capacity(n);
    for &length in lengths.as_chunks().0 {
        let (part, after) = rest.split_at_checked(u32::from_le_bytes(length) as usize).ok_or_else(invalid)?;
        parts.push(part.to_vec());
        rest = after;
    }
    if rest.is_empty() { Ok(parts) } else { Err(invalid()) }
}
