//! Decoding a file piece by piece along the slowest axis, with the memory of one network and one piece.

use std::io::{Read, Seek};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use asmr::exact::ExactDecoder;
use asmr::file::{AsmrReader, FileHeader};
use asmr::inference::{Decoder, Precision, Request};
use asmr::partition::Partition;
use asmr::signal::{Samples, SignalInfo};
use asmr::walk::Region;

use crate::corrections::{self, Corrections};
use crate::error::Failure;
use crate::files;

/// Values that are decoded together, if the blocks allow it.
const PIECE_VALUES: u64 = 1 << 22;

/// What to decode of a file.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// In the whole signal.
    pub(crate) request: Request,
    /// The network's own floats instead of stored values.
    pub(crate) raw: bool,
    /// Arithmetic of the matrix products.
    pub(crate) precision: Precision,
    /// What may be wrong with the file.
    pub(crate) tolerated: Tolerated,
}

/// What may be wrong with a file that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerated {
    Nothing,
    /// It may be cut off behind the first pass of every chunk.
    MissingPasses,
    /// Chunks may be damaged or missing, and become zeros; passes likewise, which makes weights coarser.
    Damage,
}

/// Some decoded slices.
pub(crate) struct Piece {
    /// The place of the first in its chunk (of a thumbnail: in its own slices).
    pub(crate) first: u64,
    /// Their values.
    pub(crate) values: Samples,
}

/// How a decode went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoded {
    /// Time for preparing decoders.
    pub(crate) prepare: Duration,
    /// Time for decoding, without reading and writing.
    pub(crate) decode: Duration,
    /// Slices that are zeros because their chunk is lost, as ranges of the signal's.
    pub(crate) lost: Vec<Range<u64>>,
    /// The fewest passes that a chunk was decoded from, where some were missing.
    pub(crate) n_passes: Option<usize>,
}

/// Extents of what is decoded; `option` gave its ranges.
pub(crate) fn output_extents(
    header: &FileHeader,
    wanted: &Request,
    option: &str,
) -> Result<Vec<usize>, Failure> {
    // Blocks of a chunk are blocks of the whole.
    let extents = wanted
        .output_extents_of(&header.network.partition, &header.signal.extents)
        .map_err(|error| files::refused_by(option, &error))?;
    if wanted.thumbnail > 1
        && header.n_chunks() > 1
        && extents[0] < (wanted.region.end[0] - wanted.region.start[0]) as usize
        && !header.chunk_extent.is_multiple_of(wanted.thumbnail)
    {
        return Err(Failure::usage(format!(
            "--thumbnail {} cuts through the signal's chunks of {} slices; take a factor that divides it",
            wanted.thumbnail, header.chunk_extent
        )));
    }
    Ok(extents)
}

/// Decodes what is wanted, chunk after chunk and piece after piece in order. `path` is for messages.
pub(crate) fn decode<R: Read + Seek>(
    reader: &mut AsmrReader<R>,
    path: &Path,
    wanted: &Wanted,
    mut take: impl FnMut(Piece) -> Result<(), Failure>,
) -> Result<Decoded, Failure> {
    let header = reader.header().clone();
    let mut done = Decoded::default();
    let region = wanted.request.region;
    for chunk in 0..header.n_chunks() {
        let range = header.chunk_range(chunk);
        let start = region.start[0].max(range.start);
        let end = region.end[0].min(range.end);
        if start >= end {
            continue;
        }
        let n_all = header.n_passes();
        let read = match wanted.tolerated {
            Tolerated::Nothing => reader.chunk(chunk).map(|read| (read, n_all)),
            // All that are there have to be whole; the first has to be there.
            Tolerated::MissingPasses => {
                let n = reader.n_passes_there(chunk).max(1);
                reader.first_passes(chunk, n).map(|read| (read, n))
            }
            Tolerated::Damage => {
                corrections::whole_passes(reader, chunk).map(|whole| (whole.read, whole.n_passes))
            }
        };
        let read = match read {
            Err(error) if wanted.tolerated == Tolerated::Damage && files::is_lost(&error) => {
                // Its shape is known, and its place is to be filled.
                done.lost.push(start..end);
                None
            }
            read => Some(read.map_err(|error| files::unusable(path, &error))?),
        };
        if let Some((_, n)) = read.as_ref().filter(|(_, n)| *n < n_all) {
            done.n_passes = Some(done.n_passes.map_or(*n, |least| least.min(*n)));
        }
        let partition = &header.chunk_config(chunk).partition;
        let info = header.chunk_signal(chunk);
        // Floats are the network's own, and a thumbnail is one of what the network gives.
        let is_corrected = header.max_error.is_some() && !wanted.raw && wanted.request.thumbnail == 1;
        if is_corrected && wanted.precision != Precision::F32 {
            return Err(Failure::usage(format!(
                "{} corrects what its network gives in 32-bit floats; leave --precision out",
                path.display()
            )));
        }
        let clock = Instant::now();
        let (network, corrections) = read.map_or((None, None), |(read, _)| {
            (Some(read.network), read.corrections.filter(|_| is_corrected))
        });
        let corrections = header.max_error.zip(corrections);
        let mut exact = network.as_ref().zip(corrections).map(|(network, (max_error, slabs))| {
            let corrections = Corrections::new(&info, slabs, max_error);
            (ExactDecoder::new(network), corrections)
        });
        let decoder = network
            .as_ref()
            .filter(|_| exact.is_none())
            .map(|network| Decoder::with_precision(network, wanted.precision));
        done.prepare += clock.elapsed();
        let step = piece_slices(partition, &info, &region);
        let mut at = start - range.start;
        let end = end - range.start;
        let mut buffer: Vec<f32> = Vec::new();
        while at < end {
            // Pieces end where blocks end.
            let next = ((at / step + 1) * step).min(end);
            let mut part = Region { start: region.start, end: region.end };
            (part.start[0], part.end[0]) = (at, next);
            // What is left for the last chunk may be a single sample, its own mean.
            let is_single = partition.extents().iter().all(|&extent| extent == 1);
            let thumbnail = if is_single { 1 } else { wanted.request.thumbnail };
            let request = Request { region: part, thumbnail };
            let extents = request.output_extents(partition).map_err(|error| files::refused(&error))?;
            let shape = SignalInfo { extents, ..info.clone() };
            let clock = Instant::now();
            let values = match (&mut exact, &decoder) {
                (Some((decoder, corrections)), _) => {
                    corrections.corrected(decoder, &part).map_err(|error| {
                        Failure::usage(format!("{}: the corrections: {error}", path.display()))
                    })?
                }
                (None, None) => zeros(&shape, wanted.raw),
                (None, Some(decoder)) if wanted.raw => {
                    Samples::F32(files::decode_values(decoder, &request, &shape)?)
                }
                (None, Some(decoder)) => files::decode_samples(decoder, &request, &shape, &mut buffer)?,
            };
            done.decode += clock.elapsed();
            let first = at / if partition.extents()[0] > 1 { wanted.request.thumbnail as u64 } else { 1 };
            take(Piece { first, values })?;
            at = next;
        }
    }
    Ok(done)
}

/// All values of a shape on the network's scale, of which its surface is made: the network's own, which are smoother than what is stored
/// of them, unless those are corrected.
pub(crate) fn shape_values<R: Read + Seek>(
    reader: &mut AsmrReader<R>,
    path: &Path,
    wanted: &Wanted,
) -> Result<(Vec<f32>, Decoded), Failure> {
    let header = reader.header();
    let info = header.signal.clone();
    // A thumbnail is one of what the network gives.
    let raw = header.max_error.is_none() || wanted.request.thumbnail > 1;
    let mut values = Vec::new();
    let decoded = decode(reader, path, &Wanted { raw, ..wanted.clone() }, |piece| {
        match piece.values {
            Samples::F32(own) if raw => values.extend(own),
            stored => {
                let start = values.len();
                values.resize(start + stored.len(), 0.0);
                info.scaled(&stored, 0, &mut values[start..]);
            }
        }
        Ok(())
    })?;
    Ok((values, decoded))
}

/// The value 0 everywhere (black, silence), or the one of the range that is nearest to it.
fn zeros(info: &SignalInfo, raw: bool) -> Samples {
    // A piece, whose values are few.
    let n = info.n_values().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    if raw {
        return Samples::F32(vec![0.0; n]);
    }
    let scale = info.scale();
    let zero = (-scale.low() / scale.span()).clamp(0.0, 1.0) as f32;
    info.restored(&vec![zero; n])
}

/// Slices of a piece: those of a cell of the coarsest level that gives about [`PIECE_VALUES`] values.
fn piece_slices(partition: &Partition, info: &SignalInfo, region: &Region) -> u64 {
    let per_slice: u64 =
        (1..info.extents.len()).map(|axis| region.end[axis] - region.start[axis]).product::<u64>()
            * info.channels as u64;
    let leaf = partition.n_levels() - 2;
    let stride = (0..=leaf).map(|level| partition.stride(0, level)).find(|s| s * per_slice <= PIECE_VALUES);
    let stride = stride.unwrap_or_else(|| partition.stride(0, leaf)).max(1);
    // Whole cells, as many as fit.
    stride * (PIECE_VALUES / (stride * per_slice).max(1)).max(1)
}
