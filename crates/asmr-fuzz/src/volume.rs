//! Volumes and other arrays.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use asmr::metadata::Media;
use asmr::signal::{SampleType, Samples};
use asmr_media::{ReadOptions, VolumeOptions, open_volume, recognise, volume_kind};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::folder;
use crate::media::{LIMITS, Whole, read, refused};

/// Bytes of a NIfTI-1 header, and where its magic is.
const NIFTI_HEADER: usize = 348;
const NIFTI_MAGIC: usize = 344;

/// Opens what may have several arrays, which is refused until one is named: the first one then. Distances that are given are taken.
fn open_array(path: &Path) -> Option<Whole> {
    let options = match open_volume(path, &VolumeOptions::default(), &LIMITS) {
        Err(error) if error.to_string().ends_with("; name the one that is meant") => {
            refused(&error);
            let message = error.to_string();
            let names = message.strip_suffix("; name the one that is meant")?;
            let (_, names) = names.rsplit_once(" arrays: ").or_else(|| names.rsplit_once(" arrays are "))?;
            let name = names.split(", ").next()?;
            VolumeOptions { array: Some(name.to_owned()), ..VolumeOptions::default() }
        }
        _ => VolumeOptions::default(),
    };
    let whole = read(open_volume(path, &options, &LIMITS))?;
    let spacing: Vec<f64> = (1..=whole.info.extents.len()).map(|axis| 0.5 * axis as f64).collect();
    let options = VolumeOptions { spacing: Some(spacing.clone()), ..options };
    let spaced = read(open_volume(path, &options, &LIMITS)).expect("what was read without distances");
    let Media::Volume(volume) = &spaced.info.media else { panic!("{:?} of a volume", spaced.info.media) };
    assert_eq!(volume.spacing, spacing);
    assert!(spaced.values == whole.values, "values differ with distances");
    Some(whole)
}

/// NIfTI-1, plain or packed, `.npy` and `.npz`. Of what is NIfTI-1, the packed form has the same values. What says that its values are in
/// a file of their own has those behind its header there.
pub(crate) fn volumes(bytes: &[u8]) -> bool {
    // By content where there is one; what is damaged beyond that goes by its name.
    let name = match bytes {
        [b'P', b'K', ..] => "a.npz",
        [0x93, ..] => "a.npy",
        [0x1F, 0x8B, ..] => "a.nii.gz",
        _ => "a.nii",
    };
    let path = folder::file(name, bytes);
    recognise(&path, &ReadOptions::default()).expect("a regular file can be looked at");
    volume_kind(&path).expect("as above").expect("its name tells if its content does not");
    if matches!(name, "a.npz" | "a.npy") {
        return open_array(&path).is_some();
    }
    let image = bytes.get(NIFTI_HEADER..).filter(|_| bytes[NIFTI_MAGIC..].starts_with(b"ni1\0"));
    let images = ["a.img", "packed.img"].map(folder::path);
    if let Some(image) = image {
        for path in &images {
            fs::write(path, image).expect("a temporary file can be written");
        }
    }
    let plain = read(open_volume(&path, &VolumeOptions::default(), &LIMITS));
    let is_taken = plain.is_some();
    if name == "a.nii" {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).expect("memory");
        let path = folder::file("packed.nii.gz", &packed.finish().expect("memory"));
        let packed = read(open_volume(&path, &VolumeOptions::default(), &LIMITS));
        match (plain, packed) {
            (Some(plain), Some(packed)) => {
                assert_eq!(plain.info, packed.info);
                assert!(plain.values == packed.values, "packed values differ");
            }
            (plain, packed) => assert_eq!(plain.is_some(), packed.is_some(), "plain, and packed"),
        }
    }
    if image.is_some() {
        // Not for the next input.
        for path in &images {
            fs::remove_file(path).expect("it was made here");
        }
    }
    is_taken
}

/// Plain values: a byte for type and byte order, one for the number of axes, the extents, then the file.
pub(crate) fn raw(bytes: &[u8]) -> bool {
    use SampleType::{F32, F64, I8, I16, I32, U8, U16, U32};
    let Some(([kind, n_axes], rest)) = bytes.split_first_chunk::<2>() else { return false };
    let n_axes = usize::from(n_axes % 6);
    let Some((extents, values)) = rest.split_at_checked(n_axes) else { return false };
    let dtype = [U8, I8, U16, I16, U32, I32, F32, F64][usize::from(kind % 8)];
    let big_endian = kind & 8 != 0;
    let header_bytes = u64::from(kind >> 4);
    let shape: Vec<usize> = extents.iter().map(|&extent| usize::from(extent)).collect();
    let path = folder::file("a.raw", values);
    let options = VolumeOptions {
        shape: Some(shape.clone()),
        dtype: Some(dtype),
        big_endian,
        header_bytes,
        ..VolumeOptions::default()
    };
    if volume_kind(&path).expect("a regular file can be looked at").is_some() {
        return false;
    }
    let opened = read(open_volume(&path, &options, &LIMITS));
    let needed = shape.iter().product::<usize>() * dtype.n_bytes() + header_bytes as usize;
    let has_room = (1..=4).contains(&n_axes) && !shape.contains(&0) && needed == values.len();
    let stored = values.get(header_bytes as usize..).unwrap_or_default();
    let mut stored = stored.to_vec();
    if big_endian {
        stored.chunks_exact_mut(dtype.n_bytes()).for_each(<[u8]>::reverse);
    }
    if !has_room {
        assert!(opened.is_none(), "{} bytes pass for {shape:?} of {dtype:?}", values.len());
        return false;
    }
    let expected = Samples::from_le_bytes(dtype, &stored);
    // A range of more than the greatest number has no width.
    let is_usable = expected.first_not_finite().is_none()
        && expected.min_max().is_some_and(|(low, high)| (high - low).is_finite());
    let is_taken = opened.is_some();
    match opened {
        Some(opened) => {
            assert_eq!(opened.info.extents, shape);
            assert!(opened.values == expected, "values differ");
        }
        None => assert!(!is_usable, "{shape:?} of {dtype:?} is refused"),
    }
    is_taken
}

/// A Zarr array or hierarchy: a folder, as [`folder::unpack`] makes it of bytes. Chunks and indices of shards get right checksums.
pub(crate) fn zarr(bytes: &[u8]) -> bool {
    let path = folder::path("a.zarr");
    fs::create_dir(&path).expect("the last one was removed");
    let mut files: Vec<(String, Vec<u8>)> =
        folder::unpack(bytes).into_iter().map(|(name, content)| (name, content.to_vec())).collect();
    sum_arrays(&mut files);
    for (name, content) in files {
        let file = path.join(&name);
        // A file may lie where a folder is needed, and the other way round.
        let _ = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, content));
    }
    let kind = volume_kind(&path).expect("a folder can be looked at");
    let opened = open_array(&path);
    fs::remove_dir_all(&path).expect("it was made here");
    assert!(kind.is_some() || opened.is_none());
    opened.is_some()
}

/// Gives the chunks below each array's metadata the checksums that its codecs ask for.
fn sum_arrays(files: &mut [(String, Vec<u8>)]) {
    let arrays: Vec<(String, Value)> = files
        .iter()
        .filter_map(|(name, content)| {
            Some((name.strip_suffix("zarr.json")?.to_owned(), serde_json::from_slice(content).ok()?))
        })
        .collect();
    for (folder, metadata) in arrays {
        let chunk_shape = &metadata["chunk_grid"]["configuration"]["chunk_shape"];
        for (name, content) in files.iter_mut() {
            if name.starts_with(&folder) && !name.ends_with("zarr.json") {
                sum_chunk(content, &metadata["codecs"], chunk_shape);
            }
        }
    }
}

/// Whether the last of these codecs adds a CRC-32C. (What is packed after one is left as it is.)
fn has_sum(codecs: &Value) -> bool {
    let last = codecs.as_array().and_then(|codecs| codecs.last()).unwrap_or(&Value::Null);
    last == "crc32c" || last["name"] == "crc32c"
}

/// Puts the checksum of what is before it at the end.
fn sum(bytes: &mut [u8]) {
    if let Some((content, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = crc32c::crc32c(content).to_le_bytes();
    }
}

fn sum_chunk(bytes: &mut [u8], codecs: &Value, chunk_shape: &Value) {
    let sharding = codecs.as_array().into_iter().flatten().find(|codec| codec["name"] == "sharding_indexed");
    if let Some(sharding) = sharding {
        let n = bytes.len() - if has_sum(codecs) { 4.min(bytes.len()) } else { 0 };
        sum_shard(&mut bytes[..n], &sharding["configuration"], chunk_shape);
    }
    if has_sum(codecs) {
        sum(bytes);
    }
}

/// Sums of the chunks in a shard, by its index, and of the index.
fn sum_shard(bytes: &mut [u8], sharding: &Value, shape: &Value) {
    let n_values = |shape: &Value| {
        let extents = shape.as_array().into_iter().flatten().map(|extent| extent.as_u64().unwrap_or(0));
        extents.fold(1u64, u64::saturating_mul)
    };
    let Some(n_chunks) = n_values(shape).checked_div(n_values(&sharding["chunk_shape"])) else { return };
    let has_index_sum = has_sum(&sharding["index_codecs"]);
    let n_index = n_chunks.saturating_mul(16).saturating_add(if has_index_sum { 4 } else { 0 });
    let Some(rest) = usize::try_from(n_index).ok().and_then(|n| bytes.len().checked_sub(n)) else { return };
    let at = if sharding["index_location"] == "start" { 0 } else { rest };
    let index = at..at + n_index as usize;
    if has_sum(&sharding["codecs"]) {
        for entry in bytes[index.clone()].to_vec().as_chunks::<16>().0 {
            let [start, n] = [0, 8].map(|i| u64::from_le_bytes(std::array::from_fn(|k| entry[i + k])));
            let end = start.saturating_add(n);
            if end <= bytes.len() as u64 {
                sum(&mut bytes[start as usize..end as usize]);
            }
        }
    }
    if has_index_sum {
        sum(&mut bytes[index]);
    }
}
