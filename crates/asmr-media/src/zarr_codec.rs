//! How the chunks of a Zarr array (version 3) become values.
//!
//! Own code, because every buffer must be bounded by what the chunk may hold, whatever its bytes claim.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;

/// Why an array is not read.
pub(crate) enum Refusal {
    /// It breaks the rules of the format.
    Damaged(String),
    /// It is right, but not of a kind that is read.
    Unusable(String),
}

/// A transformation of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    /// Four bytes of checksum at the end.
    Crc32c,
}

#[derive(Clone, Debug)]
enum Serializer {
    /// Values one after another.
    Bytes { is_big_endian: bool },
    /// Smaller chunks with an index of where they are.
    Sharding { inner_shape: Vec<usize>, inner: Box<Chain>, index_has_checksum: bool, index_at_start: bool },
}

/// The codecs of an array, in the order of encoding.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    transposes: Vec<Vec<usize>>,
    serializer: Serializer,
    packings: Vec<Packing>,
}

impl Chain {
    /// Reads a list of codecs for chunks of as many axes as `chunk_shape` has.
    pub(crate) fn parse(codecs: &Value, chunk_shape: &[usize], width: usize) -> Result<Self, Refusal> {
        Self::parse_at(codecs, chunk_shape, width, false)
    }

    fn parse_at(
        codecs: &Value,
        chunk_shape: &[usize],
        width: usize,
        is_inner: bool,
    ) -> Result<Self, Refusal> {
        let codecs =
            codecs.as_array().ok_or_else(|| Refusal::Damaged("its codecs are no list".to_owned()))?;
        let mut transposes = Vec::new();
        let mut serializer = None;
        let mut packings = Vec::new();
        let mut shape = chunk_shape.to_vec();
        for codec in codecs {
            let name = codec.as_str().or_else(|| codec["name"].as_str()).unwrap_or_default();
            let configuration = &codec["configuration"];
            let packing = match name {
                "transpose" if serializer.is_none() => {
                    let order = transpose_order(&configuration["order"], shape.len())?;
                    shape = order.iter().map(|&axis| shape[axis]).collect();
                    transposes.push(order);
                    continue;
                }
                "bytes" if serializer.is_none() => {
                    let is_big_endian = match (&configuration["endian"], width) {
                        (Value::Null, 1) => false,
                        (endian, _) if endian == "little" => false,
                        (endian, _) if endian == "big" => width > 1,
                        (endian, _) => {
                            return Err(Refusal::Damaged(format!(
                                "the byte order of its values is {endian}; it is \"little\" or \"big\""
                            )));
                        }
                    };
                    serializer = Some(Serializer::Bytes { is_big_endian });
                    continue;
                }
                "sharding_indexed" if serializer.is_none() && !is_inner => {
                    serializer = Some(sharding(configuration, &shape, width)?);
                    continue;
                }
                "gzip" => Packing::Gzip,
                "zstd" => Packing::Zstd,
                "crc32c" => Packing::Crc32c,
                _ => {
                    return Err(Refusal::Unusable(format!(
                        "its chunks are encoded by {name:?} (in this place); accepted are transpose, sharding_indexed, bytes, gzip, zstd and crc32c, so write the array again with those"
                    )));
                }
            };
            if serializer.is_none() {
                return Err(Refusal::Damaged(format!(
                    "its codec {name:?} stands before the one that makes bytes"
                )));
            }
            packings.push(packing);
        }
        let serializer = serializer
            .ok_or_else(|| Refusal::Damaged("none of its codecs turns values into bytes".to_owned()))?;
        Ok(Self { transposes, serializer, packings })
    }

    /// Whether values have the high byte first.
    pub(crate) fn is_big_endian(&self) -> bool {
        match &self.serializer {
            Serializer::Bytes { is_big_endian } => *is_big_endian,
            Serializer::Sharding { inner, .. } => inner.is_big_endian(),
        }
    }

    /// The bytes of a chunk's values, row-major, in the array's byte order. `fill` is one value in that order.
    pub(crate) fn decode(&self, mut bytes: Vec<u8>, shape: &[usize], fill: &[u8]) -> Result<Vec<u8>, String> {
        let width = fill.len();
        let n_bytes = shape.iter().product::<usize>() * width;
        for (step, packing) in self.packings.iter().enumerate().rev() {
            // What only checksums are left to be taken from has a known length.
            let is_last = self.packings[..step].iter().all(|packing| matches!(packing, Packing::Crc32c));
            let limit = match self.serializer {
                Serializer::Bytes { .. } if is_last => n_bytes + step * CHECKSUM_LEN,
                _ => packed_limit(n_bytes),
            };
            bytes = unpack(*packing, bytes, limit)?;
        }
        let mut stored_shape = shape.to_vec();
        for order in &self.transposes {
            stored_shape = order.iter().map(|&axis| stored_shape[axis]).collect();
        }
        let mut values = match &self.serializer {
            Serializer::Bytes { .. } => bytes,
            Serializer::Sharding { inner_shape, inner, index_has_checksum, index_at_start } => {
                let index = Index { has_checksum: *index_has_checksum, is_at_start: *index_at_start };
                unshard(&bytes, &stored_shape, inner_shape, inner, index, fill)?
            }
        };
        if values.len() != n_bytes {
            return Err(format!(
                "it has {} bytes of values, and its shape {shape:?} needs {n_bytes}",
                values.len()
            ));
        }
        for order in self.transposes.iter().rev() {
            (values, stored_shape) = transposed_back(&values, &stored_shape, order, width);
        }
        Ok(values)
    }
}

/// What every decoder of zstd should have for its window (RFC 8878, section 3.1.1.1.2).
const LEAST_WINDOW: usize = 8 << 20;
/// Bytes of a CRC-32C.
const CHECKSUM_LEN: usize = 4;

/// The most bytes that a chunk of `n_bytes` of values is believed to have in any stage of its encoding.
pub(crate) fn packed_limit(n_bytes: usize) -> usize {
    n_bytes.saturating_mul(2).saturating_add(1 << 20)
}

fn transpose_order(order: &Value, axes: usize) -> Result<Vec<usize>, Refusal> {
    let list = order.as_array().map(Vec::as_slice).unwrap_or_default();
    let order: Vec<usize> = list.iter().filter_map(Value::as_u64).map(|axis| axis as usize).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..axes) && list.len() == axes {
        return Ok(order);
    }
    Err(Refusal::Damaged(format!(
        "its transpose has the order {list:?}, which does not name its {axes} axes once each"
    )))
}

fn sharding(configuration: &Value, shape: &[usize], width: usize) -> Result<Serializer, Refusal> {
    let inner_shape = extents(&configuration["chunk_shape"]).filter(|inner| {
        inner.len() == shape.len() && inner.iter().zip(shape).all(|(&i, &s)| i > 0 && s % i == 0)
    });
    let Some(inner_shape) = inner_shape else {
        return Err(Refusal::Damaged(format!(
            "its shards of shape {shape:?} cannot be cut into chunks of shape {}",
            configuration["chunk_shape"]
        )));
    };
    let inner = Chain::parse_at(&configuration["codecs"], &inner_shape, width, true)?;
    let index = Chain::parse_at(&configuration["index_codecs"], &[1, 2], 8, true)?;
    let index_has_checksum = match index.packings.as_slice() {
        [] => false,
        [Packing::Crc32c] => true,
        _ => {
            return Err(Refusal::Unusable(
                "the index of its shards is packed; accepted are bytes and crc32c".to_owned(),
            ));
        }
    };
    if !index.transposes.is_empty() || index.is_big_endian() {
        return Err(Refusal::Unusable("the index of its shards is not little-endian and plain".to_owned()));
    }
    let index_at_start = match &configuration["index_location"] {
        Value::Null => false,
        location if location == "end" => false,
        location if location == "start" => true,
        location => return Err(Refusal::Damaged(format!("the index of its shards lies at {location}"))),
    };
    Ok(Serializer::Sharding { inner_shape, inner: Box::new(inner), index_has_checksum, index_at_start })
}

/// A list of whole numbers.
pub(crate) fn extents(value: &Value) -> Option<Vec<usize>> {
    value.as_array()?.iter().map(|extent| usize::try_from(extent.as_u64()?).ok()).collect()
}

fn unpack(packing: Packing, mut bytes: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    match packing {
        Packing::Gzip => read_at_most(&mut MultiGzDecoder::new(bytes.as_slice()), limit),
        Packing::Zstd => {
            let mut decoder =
                StreamingDecoder::new_with_max_window_size(bytes.as_slice(), limit.max(LEAST_WINDOW) as u64)
                    .map_err(|error| error.to_string())?;
            let unpacked = read_at_most(&mut decoder, limit)?;
            let (promised, actual) =
                (decoder.decoder.get_checksum_from_data(), decoder.decoder.get_calculated_checksum());
            if promised.is_some() && promised != actual {
                return Err("its zstd checksum does not fit its content".to_owned());
            }
            Ok(unpacked)
        }
        Packing::Crc32c => {
            let Some((content, checksum)) = bytes.split_last_chunk::<CHECKSUM_LEN>() else {
                return Err("it is too short for its checksum".to_owned());
            };
            if crc32c::crc32c(content) != u32::from_le_bytes(*checksum) {
                return Err("its CRC-32C does not fit its content".to_owned());
            }
            bytes.truncate(bytes.len() - CHECKSUM_LEN);
            Ok(bytes)
        }
    }
}

fn read_at_most(reader: &mut dyn Read, limit: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > limit { Err(format!("it unpacks to more than {limit} bytes")) } else { Ok(bytes) }
}

#[derive(Clone, Copy)]
struct Index {
    has_checksum: bool,
    is_at_start: bool,
}

/// The values of a shard. Its index has the place and the length of every chunk in it, or twice all ones.
fn unshard(
    bytes: &[u8],
    shape: &[usize],
    inner_shape: &[usize],
    inner: &Chain,
    index: Index,
    fill: &[u8],
) -> Result<Vec<u8>, String> {
    let grid: Vec<usize> = shape.iter().zip(inner_shape).map(|(&s, &i)| s / i).collect();
    let n_chunks: usize = grid.iter().product();
    let n_index = n_chunks.saturating_mul(16).saturating_add(if index.has_checksum { 4 } else { 0 });
    if n_index > bytes.len() {
        return Err(format!(
            "its index of {n_chunks} chunks needs {n_index} bytes, and it has {}",
            bytes.len()
        ));
    }
    let at = if index.is_at_start { 0 } else { bytes.len() - n_index };
    let mut entries = bytes[at..at + n_index].to_vec();
    if index.has_checksum {
        entries = unpack(Packing::Crc32c, entries, n_index)?;
    }
    let mut place = vec![0; grid.len()];
    let mut parts = Vec::new();
    for entry in entries.as_chunks::<16>().0 {
        let [start, length] = [0, 8].map(|i| u64::from_le_bytes(std::array::from_fn(|k| entry[i + k])));
        let part = if (start, length) == (u64::MAX, u64::MAX) {
            None
        } else {
            let part = usize::try_from(start)
                .ok()
                .and_then(|start| bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?))
                .ok_or_else(|| {
                    format!("its chunk {place:?} lies at {start} with {length} bytes, past its end")
                })?;
            Some(part)
        };
        parts.push(part);
        count_up(&mut place, &grid);
    }
    // Parts that overlap would make hours of work of a few bytes.
    let n_parts: usize = parts.iter().flatten().map(|part| part.len()).sum();
    if n_parts > bytes.len() - n_index {
        return Err(format!("its chunks have {n_parts} bytes together, more than it has, so some overlap"));
    }
    let mut values = fill.repeat(shape.iter().product());
    place.fill(0);
    for part in parts {
        if let Some(part) = part {
            let chunk = inner.decode(part.to_vec(), inner_shape, fill)?;
            let to: Vec<usize> = place.iter().zip(inner_shape).map(|(&p, &i)| p * i).collect();
            let source = Corner { shape: inner_shape, at: &vec![0; to.len()] };
            copy_part(&chunk, source, &mut values, Corner { shape, at: &to }, inner_shape, fill.len());
        }
        count_up(&mut place, &grid);
    }
    Ok(values)
}

/// Undoes a transposition: `stored` axis `i` is axis `order[i]` of the result.
fn transposed_back(values: &[u8], stored: &[usize], order: &[usize], width: usize) -> (Vec<u8>, Vec<usize>) {
    let mut shape = vec![0; stored.len()];
    let mut strides = vec![0; stored.len()];
    let mut stride = width;
    for (&extent, &axis) in stored.iter().zip(order).rev() {
        (shape[axis], strides[axis]) = (extent, stride);
        stride *= extent;
    }
    let mut result = Vec::with_capacity(values.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..values.len() / width {
        let at: usize = index.iter().zip(&strides).map(|(&i, &stride)| i * stride).sum();
        result.extend_from_slice(&values[at..at + width]);
        count_up(&mut index, &shape);
    }
    (result, shape)
}

/// The next index of an array, the last axis fastest; after the last one the first. Whether it went on.
pub(crate) fn count_up(index: &mut [usize], extents: &[usize]) -> bool {
    for (i, &extent) in index.iter_mut().zip(extents).rev() {
        *i += 1;
        if *i < extent {
            return true;
        }
        *i = 0;
    }
    false
}

/// A place in a row-major array: its shape, and the first index of a part.
#[derive(Clone, Copy)]
pub(crate) struct Corner<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) at: &'a [usize],
}

impl Corner<'_> {
    /// Where the value `index` of the part lies.
    fn flat(self, index: &[usize]) -> usize {
        let axes = self.at.iter().zip(index).zip(self.shape);
        axes.fold(0, |flat, ((&at, &i), &extent)| flat * extent + at + i)
    }
}

/// Copies a part of one array, of values of `width` bytes, into another.
pub(crate) fn copy_part(
    from: &[u8],
    source: Corner<'_>,
    to: &mut [u8],
    target: Corner<'_>,
    extents: &[usize],
    width: usize,
) {
    if extents.contains(&0) {
        return;
    }
    // Rows along the last axis lie together in both.
    let n = extents.last().map_or(1, |&n| n) * width;
    let mut rows = extents.to_vec();
    if let Some(last) = rows.last_mut() {
        *last = 1;
    }
    let mut index = vec![0; rows.len()];
    loop {
        let (a, b) = (source.flat(&index) * width, target.flat(&index) * width);
        to[b..b + n].copy_from_slice(&from[a..a + n]);
        if !count_up(&mut index, &rows) {
            return;
        }
    }
}
