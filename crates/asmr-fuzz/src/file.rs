//! The `.asmr` file: what is refused is refused by every way of reading; what is whole can be written again and decoded.

use std::io::Cursor;

use asmr::coding::QuantisedWeights;
use asmr::exact::ExactDecoder;
use asmr::file::{
    AsmrFile, AsmrReader, AsmrWriter, Chunk, Encoding, FileError, FileHeader, Limits, MAGIC,
    MAX_HEADER_BYTES, MAX_REFINEMENTS, write_progressive,
};
use asmr::inference::{Decoder, Precision, Request};
use asmr::network::{Network, NetworkConfig};
use asmr::residual;
use asmr::signal::{MAX_AXES, Samples, SignalInfo};
use asmr::walk::Region;

use crate::made::made;

/// Bytes before the header.
const PREFIX: usize = 24;
/// Bytes of an entry of the index.
const ENTRY: usize = 24;
/// The most values that are decoded of a file.
const MAX_DECODED: usize = 1 << 12;
/// The most samples that are computed for that.
const MAX_COMPUTED: u128 = 1 << 16;
/// The most values of a chunk whose corrections are decoded: two slabs.
pub(crate) const MAX_CORRECTED: u64 = 2 * residual::SLAB_VALUES as u64;
/// Bytes before the file itself in an input of `decoder`.
const REQUEST: usize = 20;

pub(crate) const LIMITS: Limits =
    Limits { max_header_bytes: 1 << 13, max_params: 1 << 14, max_values: 1 << 40, max_table_values: 1 << 17 };
/// Of files that are written here of what [`LIMITS`] let pass: only the header may be longer, since its numbers are written anew.
pub(crate) const OWN_LIMITS: Limits = Limits { max_header_bytes: MAX_HEADER_BYTES, ..LIMITS };
/// The most chunks of a file that is put together, ...
const MAX_PUT_CHUNKS: usize = 16;
/// ... and the most passes: the first one, refinements, and corrections.
const MAX_PUT_PASSES: usize = MAX_REFINEMENTS + 2;

/// A file as it is, and with its checksums made right, without which hardly any change is looked at.
pub(crate) fn reader(bytes: &[u8]) -> bool {
    let is_whole = check(bytes);
    let summed = summed(bytes);
    if summed == bytes { is_whole } else { check(&summed) }
}

/// A file put together around a header: see [`assembled`].
pub(crate) fn header(bytes: &[u8]) -> bool {
    check(&assembled(bytes))
}

/// A request (chunk, precision, thumbnail, and four ranges), then a file put together as [`assembled`] does, with weights as codes;
/// or with those that are coded drawn from the bytes ([`made`]), if the precision's highest bit is set. If the bit below that is, starts
/// are parts of the extent instead, and ends are lengths of a few samples: no more than 65,535 can be told otherwise.
pub(crate) fn decoder(bytes: &[u8]) -> bool {
    let Some((request, rest)) = bytes.split_at_checked(REQUEST) else { return false };
    let mut file = assembled(rest);
    if request[1] >= 128 {
        // The first byte is the version, and may be 0 too.
        let json = rest.get(1..).unwrap_or_default();
        let drawn = json.iter().position(|&byte| byte == 0).map_or(&[][..], |end| &json[end + 1..]);
        let Some((made, chunks)) = made(&file, drawn) else { return false };
        file = made;
        assert!(check(&file), "what was made is whole");
        let mut reader = AsmrReader::open(Cursor::new(&file[..]), &LIMITS).expect("our own file");
        for (i, chunk) in chunks.iter().enumerate() {
            assert!(reader.chunk(i).expect("our own chunk") == *chunk, "other weights than were written");
        }
    }
    let Ok(mut reader) = AsmrReader::open(Cursor::new(&file[..]), &LIMITS) else { return false };
    let header = reader.header().clone();
    let chunk = usize::from(request[0]) % header.n_chunks();
    let Ok(network) = reader.network(chunk) else { return false };
    let precisions = [Precision::F32, Precision::Int16, Precision::Int8, Precision::Bf16];
    let precision = precisions[usize::from(request[1]) % precisions.len()];
    let thumbnail = usize::from(u16::from_le_bytes([request[2], request[3]]));
    let info = header.chunk_signal(chunk);
    let place = |i: usize| u64::from(u16::from_le_bytes([request[4 + 2 * i], request[5 + 2 * i]]));
    let mut region = Region {
        start: std::array::from_fn(|axis| place(2 * axis)),
        end: std::array::from_fn(|axis| place(2 * axis + 1)),
    };
    if request[1] & 64 != 0 {
        for (axis, &extent) in info.extents.iter().enumerate() {
            let start = ((u128::from(region.start[axis]) * extent as u128) >> 16) as u64;
            // On a box's edge, where a thumbnail may begin.
            region.start[axis] = start - start % (thumbnail.max(1) as u64);
            region.end[axis] = region.start[axis] + region.end[axis] % 256;
        }
    }
    decode(&info, &network, precision, &Request { region, thumbnail })
}

/// Whether a request is refused or served as promised.
fn decode(info: &SignalInfo, network: &Network, precision: Precision, request: &Request) -> bool {
    let partition = &network.config().partition;
    let extents = match request.output_extents(partition) {
        Ok(extents) => extents,
        Err(error) => {
            // A list of factors may be long; that of a kilobyte is not.
            assert!(!error.to_string().is_empty());
            let decoder = Decoder::with_precision(network, precision);
            assert!(decoder.decode::<f32>(request, &mut []).is_err(), "{error}, and yet it is decoded");
            return false;
        }
    };
    let n = extents.iter().map(|&e| e as u128).product::<u128>() * info.channels as u128;
    // A mean of many samples needs them all, and blocks are computed whole.
    let last = partition.n_levels() - 1;
    let of_axis = |axis| {
        let block = partition.stride(axis, last - 1);
        let n_blocks = request.region.end[axis].div_ceil(block) - request.region.start[axis] / block;
        u128::from(n_blocks) * u128::from(block)
    };
    let work = (0..partition.n_axes()).map(of_axis).product::<u128>();
    if n > MAX_DECODED as u128 || work > MAX_COMPUTED {
        return false;
    }
    let decoder = Decoder::with_precision(network, precision);
    let mut values = vec![0f32; n as usize];
    decoder.decode(request, &mut values).expect("its extents were told");
    let restored = info.restored(&values);
    assert_eq!(restored.len(), values.len());
    assert_eq!(restored.sample_type(), info.sample_type);
    if info.value_range.is_some() {
        assert_eq!(restored.first_not_finite(), None, "stored values are finite");
    }
    if matches!(info.sample_type, asmr::signal::SampleType::U8) && info.value_range.is_none() {
        let mut bytes = vec![0u8; n as usize];
        decoder.decode(request, &mut bytes).expect("its extents were told");
        assert!(restored == Samples::U8(bytes), "8-bit values differ from rounded floats");
    }
    if request.thumbnail == 1 {
        // The same bits sample by sample, first and last.
        let last: [u64; MAX_AXES] = std::array::from_fn(|axis| request.region.end[axis].saturating_sub(1));
        let mut one = vec![0f32; 2 * info.channels];
        decoder.decode_samples(&[request.region.start, last], &mut one).expect("they lie in the signal");
        let ends = [&values[..info.channels], &values[values.len() - info.channels..]].concat();
        for (a, b) in ends.iter().zip(&one) {
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "{a} in a region, {b} alone");
        }
    } else if work <= MAX_DECODED as u128 && precision == Precision::F32 {
        check_means(network, &decoder, request, &values);
    }
    true
}

/// Whether a thumbnail has the means of the samples that it stands for. Both are sums of the same features and the same weights, taken
/// in different order; on networks with outputs of order 1 they differ by less than 1e-5 (docs/NUMERICS.md, which gives no bound where
/// phases exceed 1e8 rad).
fn check_means(network: &Network, decoder: &Decoder, request: &Request, means: &[f32]) {
    let config = network.config();
    let layout = config.layout();
    let (extents, channels) = (config.partition.extents(), config.channels);
    let n_axes = extents.len();
    let Request { region, thumbnail } = *request;
    let full = Request { region, thumbnail: 1 };
    let sides = full.output_extents(&config.partition).expect("its thumbnail was decoded");
    let mut values = vec![0f32; sides.iter().product::<usize>() * channels];
    decoder.decode(&full, &mut values).expect("its extents were told");
    let inner = network.params().iter().take(layout.output_weight.start);
    let largest = inner.fold(0f64, |most, w| most.max(f64::from(w.abs())));
    let omega = f64::from(config.omega_0);
    let phase = omega * omega.max(1.0) * largest * (config.width + n_axes + 1) as f64;
    // Weights that no fit gives may exceed any number.
    let is_bounded = phase < 1e8 && network.params().iter().all(|w| w.is_finite());
    if !is_bounded || !values.iter().chain(means).all(|x| x.is_finite()) {
        return;
    }
    let small = request.output_extents(&config.partition).expect("as above");
    let mut sums = vec![(0f64, 0f64); means.len()];
    for (i, value) in values.iter().enumerate() {
        let (mut rest, mut place, mut step) = (i / channels, 0, 1);
        for axis in (0..n_axes).rev() {
            // An axis of one sample is its own mean.
            let side = if extents[axis] > 1 { thumbnail } else { 1 };
            place += rest % sides[axis] / side * step;
            rest /= sides[axis];
            step *= small[axis];
        }
        let (sum, n) = &mut sums[place * channels + i % channels];
        *sum += f64::from(*value);
        *n += 1.0;
    }
    // What an output can reach at most: features lie in [-1, 1].
    let weights = &network.params()[layout.output_weight.clone()];
    let biases = &network.params()[layout.output_bias.clone()];
    let most = |channel: usize| {
        let row = &weights[channel * config.width..][..config.width];
        f64::from(biases[channel].abs()) + row.iter().map(|w| f64::from(w.abs())).sum::<f64>()
    };
    // Of either chain, 2d + 4 roundings of terms up to that.
    let per_unit = 1e-5 + 2.0 * (2.0 * config.width as f64 + 4.0) * 2f64.powi(-24);
    for (i, (&mean, (sum, n))) in means.iter().zip(sums).enumerate() {
        // The smallest numbers have no relative error.
        let (expected, tolerance) = (sum / n, per_unit * most(i % channels) + 1e-36);
        let is_close = (f64::from(mean) - expected).abs() <= tolerance;
        assert!(
            is_close,
            "value {i} of a thumbnail is {mean}, and the mean {expected}, within {tolerance:e}"
        );
    }
}

/// Reads bytes in every way and holds the results against each other.
fn check(bytes: &[u8]) -> bool {
    let told = |error: &FileError| {
        let message = error.to_string();
        // The command makes one line of what is quoted from a file.
        assert!(!message.is_empty() && message.len() <= 1500, "{message}");
    };
    let whole = AsmrFile::read_from_bytes(bytes, &LIMITS);
    let mut stream = bytes;
    let streamed = AsmrFile::read_from(&mut stream, None, &LIMITS);
    match (&whole, &streamed) {
        (Ok(whole), Ok(streamed)) => assert_eq!(whole, streamed),
        (Err(error), Err(other)) => {
            told(error);
            told(other);
        }
        _ => panic!("with a length {:?}, without {:?}", whole.err(), streamed.err()),
    }
    let opened = AsmrReader::open(Cursor::new(bytes), &LIMITS);
    let damaged = AsmrReader::open_damaged(Cursor::new(bytes), &LIMITS);
    let mut damaged = match damaged {
        Ok(damaged) => damaged,
        Err(error) => {
            told(&error);
            assert!(opened.is_err() && whole.is_err(), "only its recovery fails: {error}");
            return false;
        }
    };
    let header = damaged.header().clone();
    assert_eq!(opened.is_ok(), damaged.check_length().is_ok());
    header.validate().expect("a header that was read is valid");
    let chunks: Vec<Option<Chunk>> =
        (0..header.n_chunks()).map(|chunk| damaged.chunk(chunk).map_err(|error| told(&error)).ok()).collect();
    // Of a file in progressive order the first passes may be whole where others are not.
    for (chunk, whole) in chunks.iter().enumerate() {
        match damaged.whole_passes(chunk) {
            Ok((read, n)) => {
                assert!(n <= damaged.n_passes_there(chunk) && n <= header.n_passes());
                assert_eq!(n == header.n_passes(), whole.is_some());
                assert!(whole.as_ref().is_none_or(|whole| *whole == read));
                assert_eq!(read.network.config(), &header.chunk_config(chunk));
            }
            Err(error) => {
                told(&error);
                assert!(whole.is_none(), "only its first passes fail: {error}");
            }
        }
    }
    for (chunk, read) in
        chunks.iter().enumerate().filter_map(|(chunk, read)| Some((chunk, read.as_ref()?))).take(2)
    {
        // What is whole decodes: its first samples.
        let info = header.chunk_signal(chunk);
        let mut region = Region::whole(&info.extents);
        let few = if info.extents.len() == 1 { 32 } else { 4 };
        region.end.iter_mut().for_each(|end| *end = (*end).min(few));
        decode(&info, &read.network, Precision::F32, &Request { region, thumbnail: 1 });
        correct(&header, &info, read);
    }
    let is_whole = opened.is_ok() && chunks.iter().all(Option::is_some);
    if header.max_error.is_some() {
        assert!(whole.is_err(), "a network alone is not what it decodes to");
    } else if header.n_chunks() == 1 {
        assert_eq!(whole.is_ok(), is_whole, "{:?}", whole.err());
    } else {
        assert!(matches!(
            whole,
            Err(FileError::Sequence { .. } | FileError::Truncated { .. } | FileError::TrailingBytes { .. })
        ));
    }
    if is_whole {
        let chunks: Vec<Chunk> = chunks.into_iter().flatten().collect();
        check_written(bytes, &header, &chunks);
    }
    is_whole
}

/// Corrections of a chunk are refused, or are coded as they were read; what they correct is kept to its type's range, and the same for
/// a part as for all. Gives the number of slabs that were decoded.
fn correct(header: &FileHeader, info: &SignalInfo, read: &Chunk) -> usize {
    let (Some(slabs), Some(max_error)) = (&read.corrections, header.max_error) else { return 0 };
    let n_values = info.n_values().unwrap_or(u64::MAX);
    if n_values > MAX_CORRECTED {
        return 0;
    }
    let (n_slices, step) = (info.extents[0], residual::slab_slices(info));
    assert_eq!(slabs.len(), n_slices.div_ceil(step));
    for (slab, code) in slabs.iter().enumerate() {
        let n = step.min(n_slices - slab * step);
        let Ok(corrections) = residual::decode(info, n, code, max_error.coded()) else { return slab };
        assert_eq!(corrections.len(), n * info.slice_values());
        let again = residual::encode(info, n, &corrections, max_error.coded());
        assert!(again == *code, "a code that is not the one of its corrections");
    }
    if n_values > MAX_DECODED as u64 {
        return slabs.len();
    }
    let decoder = ExactDecoder::new(&read.network);
    if info.sample_type.is_float() {
        let all = decoder.values(info, 0..n_slices);
        assert!(all.ends_with(&decoder.values(info, n_slices - 1..n_slices)));
        assert!(all.iter().all(|x| !x.is_nan()));
    } else {
        let all = decoder.whole_numbers(info, 0..n_slices);
        assert!(all.ends_with(&decoder.whole_numbers(info, n_slices - 1..n_slices)));
    }
    slabs.len()
}

/// What was read can be written, weights and corrections as the bytes that they were; what was written is read as the same, and written
/// again as the same bytes.
fn check_written(bytes: &[u8], header: &FileHeader, chunks: &[Chunk]) {
    let once = written(header, chunks);
    // Of passes the last weights alone are known here.
    if header.refinements.is_empty() {
        let n_parts = header.n_chunks();
        assert!(stored(&once, n_parts) == stored(bytes, n_parts), "the same weights as other bytes");
    }
    let mut reader = AsmrReader::open(Cursor::new(&once[..]), &OWN_LIMITS).expect("our own file");
    assert_eq!(reader.header(), header);
    let again: Vec<Chunk> =
        (0..chunks.len()).map(|chunk| reader.chunk(chunk).expect("our own chunk")).collect();
    assert!(again == chunks, "networks differ after writing");
    assert!(written(reader.header(), &again) == once, "the same content gives other bytes");
}

fn written(header: &FileHeader, chunks: &[Chunk]) -> Vec<u8> {
    if !header.refinements.is_empty() {
        let unordered = written_in_chunks(&FileHeader { refinements: Vec::new(), ..header.clone() }, chunks);
        let mut reader = AsmrReader::open(Cursor::new(&unordered[..]), &OWN_LIMITS).expect("our own file");
        let passes = &mut |network: &Network, weights: &QuantisedWeights| {
            weights.nearest_passes(network.config(), &header.refinements)
        };
        let into = Cursor::new(Vec::new());
        let ordered = write_progressive(&mut reader, &header.refinements, passes, into);
        return ordered.expect("what was read can be written").0.into_inner();
    }
    if let [Chunk { network, steps, corrections: None }] = chunks {
        let (network, steps) = (network.clone(), steps.clone());
        let file = AsmrFile { signal: header.signal.clone(), network, steps, fit: header.fit.clone() };
        let bytes = file.to_bytes().expect("what was read can be written");
        assert_eq!(file.n_bytes().expect("as above"), bytes.len() as u64);
        return bytes;
    }
    written_in_chunks(header, chunks)
}

fn written_in_chunks(header: &FileHeader, chunks: &[Chunk]) -> Vec<u8> {
    let mut writer =
        AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).expect("what was read can be written");
    for Chunk { network, steps, corrections } in chunks {
        let pushed = writer.push_corrected(network, steps.as_deref(), corrections.as_deref());
        pushed.expect("what was read can be written");
    }
    writer.finish().expect("all chunks were written").0.into_inner()
}

/// The length of the header, if it lies within the file.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?) as usize;
    Some(PREFIX + len).filter(|&end| end <= bytes.len())
}

/// Chunks and passes; the index lists a part for each of both.
fn number_of_parts(json: &[u8]) -> Option<(usize, usize)> {
    let value: serde_json::Value = serde_json::from_slice(json).ok()?;
    let chunks = &value["chunks"];
    let n_passes = match chunks["refinements"].as_array() {
        Some(refinements) => 1 + refinements.len() + usize::from(chunks["max_error"].is_number()),
        None => 1,
    };
    Some((chunks["n"].as_u64()? as usize, n_passes))
}

/// The file with right checksums, as far as it can be told where they are.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let Some(end) = header_end(&bytes).filter(|_| bytes.len() >= PREFIX) else { return bytes };
    let sum = crc32fast::hash(&bytes[PREFIX..end]);
    set(&mut bytes, 16, sum);
    let sum = crc32fast::hash(&bytes[..20]);
    set(&mut bytes, 20, sum);
    if bytes[8..10] == [1, 0] {
        if let Some(at) = bytes.len().checked_sub(4).filter(|&at| at >= end) {
            let sum = crc32fast::hash(&bytes[..at]);
            set(&mut bytes, at, sum);
        }
        return bytes;
    }
    let n = number_of_parts(&bytes[PREFIX..end]).and_then(|(n, n_passes)| n.checked_mul(n_passes));
    let Some(n) = n.filter(|&n| n <= bytes.len() / ENTRY) else { return bytes };
    if end + n * ENTRY + 8 > bytes.len() {
        return bytes;
    }
    for entry in (0..n).map(|chunk| end + chunk * ENTRY) {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let (at, len) = (number(entry) as usize, number(entry + 8) as usize);
        if let Some(chunk) = at.checked_add(len).and_then(|to| bytes.get(at..to)) {
            let sum = crc32fast::hash(chunk);
            set(&mut bytes, entry + 16, sum);
        }
    }
    let sum = crc32fast::hash(&bytes[end..end + n * ENTRY]);
    set(&mut bytes, end + n * ENTRY, sum);
    bytes
}

fn set(bytes: &mut [u8], at: usize, sum: u32) {
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Makes a file of its parts: a byte for the version, the JSON of the header up to a byte of 0, and weights. Lengths,
/// checksums and the index are added. Weights are repeated, or cut, to what the header's network needs, if that is not
/// much; coded ones have, before each part but the last, its length (2 bytes).
#[must_use]
pub fn assembled(bytes: &[u8]) -> Vec<u8> {
    let (&version, rest) = bytes.split_first().unwrap_or((&1, &[]));
    let version = 1 + version.wrapping_sub(1) % 4;
    let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
    let (json, weights) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let mut header = json.to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = MAGIC.to_vec();
    file.extend([version, 0, 0, 0]);
    file.extend((header.len() as u32).to_le_bytes());
    file.extend([0; 8]);
    file.extend(&header);
    let sum = crc32fast::hash(&header);
    set(&mut file, 16, sum);
    let sum = crc32fast::hash(&file[..20]);
    set(&mut file, 20, sum);

    let needed = weight_bytes(json);
    if version == 1 {
        file.extend(weights.iter().chain(&[0; 4]).cycle().take(needed));
        let sum = crc32fast::hash(&file);
        file.extend(sum.to_le_bytes());
        return file;
    }
    let is_put =
        |&(n, n_passes): &(usize, usize)| (1..=MAX_PUT_CHUNKS).contains(&n) && n_passes <= MAX_PUT_PASSES;
    let n = number_of_parts(json).filter(is_put).map_or(1, |(n, n_passes)| n * n_passes);
    let chunks: Vec<Vec<u8>> = if version == 2 {
        vec![weights.iter().chain(&[0; 4]).cycle().take(needed).copied().collect(); n]
    } else {
        let mut rest = weights;
        let part = |i: usize| {
            let (length, after) = match rest.split_first_chunk() {
                Some((&length, after)) if i + 1 < n => (u16::from_le_bytes(length).into(), after),
                _ => (usize::MAX, rest),
            };
            let part;
            (part, rest) = after.split_at(length.min(after.len()));
            part.to_vec()
        };
        (0..n).map(part).collect()
    };
    let mut at = (file.len() + n * ENTRY + 8) as u64;
    let mut index = Vec::new();
    for chunk in &chunks {
        index.extend(at.to_le_bytes());
        index.extend((chunk.len() as u64).to_le_bytes());
        index.extend(crc32fast::hash(chunk).to_le_bytes());
        index.extend([0; 4]);
        at += chunk.len() as u64;
    }
    let sum = crc32fast::hash(&index);
    file.extend(index);
    file.extend(sum.to_le_bytes());
    file.extend([0; 4]);
    file.extend(chunks.concat());
    file
}

/// Bytes of the weights of a header's network, if they are few.
fn weight_bytes(json: &[u8]) -> usize {
    let network = serde_json::from_slice::<serde_json::Value>(json)
        .ok()
        .and_then(|value| serde_json::from_value::<NetworkConfig>(value["network"].clone()).ok());
    network
        .filter(|network| network.validate().is_ok() && network.n_params() as u64 <= LIMITS.max_params)
        .map_or(0, |network| network.n_params() * 4)
}

/// What follows the header and the index of a whole file, but for the last checksum of version 1.
fn stored(file: &[u8], n_parts: usize) -> &[u8] {
    let end = header_end(file).expect("it was opened");
    if file[8..10] == [1, 0] { &file[end..file.len() - 4] } else { &file[end + n_parts * ENTRY + 8..] }
}

/// The parts of a whole file with one kind of chunk, as [`assembled`] takes them.
///
/// # Errors
/// [`FileError`] for what is no file.
///
/// # Panics
/// When the file is not within its own lengths, which an opened one is.
pub fn parts(file: &[u8]) -> Result<Vec<u8>, FileError> {
    let reader = AsmrReader::open(Cursor::new(file), &OWN_LIMITS)?;
    let end = header_end(file).expect("it was opened");
    let json = file[PREFIX..end].trim_ascii_end();
    let n_parts = reader.header().n_chunks() * reader.header().n_passes();
    let mut weights = stored(file, n_parts);
    let mut content = [&[reader.version() as u8], json, &[0]].concat();
    if reader.header().encoding == Encoding::F32 {
        content.extend(&weights[..weights.len().min(512)]);
        return Ok(content);
    }
    for part in 0..n_parts - 1 {
        let at = end + part * ENTRY + 8;
        let length = u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes")) as usize;
        content.extend((length as u16).to_le_bytes());
        content.extend(&weights[..length]);
        weights = &weights[length..];
    }
    content.extend(weights);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use asmr::coding::{Step, TensorSteps};
    use asmr::network::Modulator;
    use asmr::partition::Partition;
    use asmr::residual::MaxError;
    use asmr::signal::SampleType;

    use super::*;

    #[test]
    fn an_assembled_file_is_a_file() {
        let json = br#"{"signal":{"extents":[6],"channels":1,"sample_type":"f32","color":null},"network":{"partition":{"extents":[6],"bases":[[2,3]]},"channels":1,"width":2,"omega_0":30.0,"modulator":"linear"},"weights":{"encoding":"f32","n_bytes":36}}"#;
        let bytes = assembled(&[&[1], &json[..], &[0, 0, 0, 128, 63]].concat());
        let file = AsmrFile::read_from_bytes(&bytes, &LIMITS).unwrap();
        assert_eq!(file.network.params().len(), 9);
        assert_eq!(file.network.params()[0], 1.0);
        assert_eq!(assembled(&parts(&bytes).unwrap()), bytes);
        let mut broken = bytes.clone();
        broken[30] ^= 1;
        broken[17] ^= 1;
        assert_eq!(summed(&broken)[30], broken[30]);
        broken[30] ^= 1;
        assert_eq!(summed(&broken), bytes);
    }

    /// Corrections of two slices that are too large for one slab.
    #[test]
    fn all_slabs_are_looked_at() {
        let extents = [2, 70_000];
        let partition = Partition::new(&extents, &[vec![1, 2], vec![280, 250]]).unwrap();
        let network =
            NetworkConfig { partition, channels: 1, width: 1, omega_0: 30.0, modulator: Modulator::Linear };
        let signal = SignalInfo::plain(extents.to_vec(), 1, SampleType::U8, None);
        let header = FileHeader {
            encoding: Encoding::Coded,
            max_error: Some(MaxError::Whole(1)),
            ..FileHeader::single(signal.clone(), network.clone(), None)
        };
        let steps = vec![TensorSteps::uniform(Step::from_code(0)); network.tensors().len()];
        let network = Network::new(network.clone(), vec![0.0; network.n_params()]).unwrap();
        let slab = |modulus: i64| {
            let residuals: Vec<i64> = (0..70_000).map(|i| i * i % modulus - 3).collect();
            residual::encode(&signal, 1, &residuals, 1)
        };
        // No code ends with a byte of 0.
        for (slabs, n_good) in [([slab(7), slab(11)], 2), ([slab(7), vec![0]], 1)] {
            let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
            writer.push_corrected(&network, Some(&steps), Some(&slabs)).unwrap();
            let file = writer.finish().unwrap().0.into_inner();
            assert!(reader(&file));
            let chunk = AsmrReader::open(Cursor::new(&file[..]), &LIMITS).unwrap().chunk(0).unwrap();
            assert_eq!(correct(&header, &signal, &chunk), n_good);
        }
    }
}
