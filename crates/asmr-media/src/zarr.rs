//! Zarr arrays, version 3: a folder with `zarr.json` and a file per chunk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, Samples, SignalInfo};
use serde_json::Value;

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::linear::{Rewind, check_shape, check_slice, to_samples, with_value_range};
use crate::stream::SliceReader;
use crate::volume::VolumeOptions;
use crate::zarr_codec::{Chain, Corner, Refusal, copy_part, count_up, extents, packed_limit};

/// The name of the metadata in the folder of an array or a group.
pub(crate) const METADATA: &str = "zarr.json";
/// Metadata of a group may hold that of all below it.
const MAX_METADATA_BYTES: u64 = 16 << 20;
/// Slices kept decoded, so that a chunk is not decoded again for each of its slices.
const SLAB_BYTES: usize = 256 << 20;
/// Arrays of a group that are listed, and folders that are searched for them.
const MAX_LISTED: usize = 50;
const MAX_SEARCHED: usize = 10_000;
/// Folders below which no array is looked for.
const MAX_DEPTH: usize = 4;
/// Chunks of which no question is asked; where there are more, most of them must exist.
const FREE_CHUNKS: u64 = 100_000;

/// Whether a folder holds an array or a group, of this version or the one before it.
pub(crate) fn is_zarr(path: &Path) -> bool {
    [METADATA, ".zarray", ".zgroup"].iter().any(|name| path.join(name).is_file())
}

/// Opens an array, or the only one (or the named one) of a group.
pub(crate) fn open_zarr(
    path: &Path,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let unusable = |problem: String| MediaError::Unusable { path: path.to_path_buf(), problem };
    let mut folder = path.to_path_buf();
    let mut array = String::new();
    if let Some(name) = &options.array {
        let relative = Path::new(name);
        if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(unusable(format!("{name:?} is no path of an array within it")));
        }
        folder.push(relative);
        array.clone_from(name);
        if !is_zarr(&folder) {
            return Err(unusable(format!("it has no array {name:?}{}", list(path))));
        }
    }
    let mut metadata = read_metadata(path, &folder)?;
    if metadata["node_type"] == "group" {
        let names = array_names(&folder);
        let [name] = names.as_slice() else {
            return Err(unusable(format!("it is a group, not an array{}", list(path))));
        };
        folder.push(name);
        array = if array.is_empty() { name.clone() } else { format!("{array}/{name}") };
        metadata = read_metadata(path, &folder)?;
    }
    let meta = ArrayMetadata::parse(&metadata).map_err(|refusal| match refusal {
        Refusal::Damaged(detail) => MediaError::Damaged { path: path.to_path_buf(), format: "Zarr", detail },
        Refusal::Unusable(problem) => unusable(problem),
    })?;
    let spacing = options.spacing.clone().unwrap_or_else(|| meta.spacing.clone());
    let volume = Volume {
        container: VolumeContainer::Zarr,
        spacing,
        unit: meta.unit.clone(),
        header: String::new(),
        array,
        big_endian: meta.chain.is_big_endian(),
    };
    let info = SignalInfo {
        media: Media::Volume(volume),
        ..SignalInfo::plain(meta.shape.clone(), 1, meta.sample_type, None)
    };
    let n_bytes = check_shape(path, &info)?;
    meta.check_size(path, &folder, n_bytes, limits)?;
    check_slice(path, &info, n_bytes, limits)?;
    with_value_range(ZarrReader::new(path.to_path_buf(), folder, info, meta))
}

/// Reads the metadata of an array or a group; `path` is for messages.
fn read_metadata(path: &Path, folder: &Path) -> Result<Value, MediaError> {
    let damaged = |detail: String| MediaError::Damaged { path: path.to_path_buf(), format: "Zarr", detail };
    let file = folder.join(METADATA);
    if !file.is_file() {
        return Err(MediaError::Unusable {
            path: path.to_path_buf(),
            problem:
                "it is Zarr version 2, which is not read; convert it to version 3 first (zarr migrate v3)"
                    .to_owned(),
        });
    }
    let unreadable = |error| MediaError::Read { path: file.clone(), error };
    let mut bytes = Vec::new();
    File::open(&file)
        .and_then(|file| file.take(MAX_METADATA_BYTES + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_METADATA_BYTES {
        return Err(damaged(format!("its {METADATA} has more than {MAX_METADATA_BYTES} bytes")));
    }
    let metadata: Value = serde_json::from_slice(&bytes)
        .map_err(|error| damaged(format!("its {METADATA} is no JSON: {error}")))?;
    if metadata["zarr_format"] != 3 {
        return Err(damaged(format!("its {METADATA} tells format {}, not 3", metadata["zarr_format"])));
    }
    if metadata["node_type"] != "array" && metadata["node_type"] != "group" {
        return Err(damaged(format!("its {METADATA} tells of {}, no array or group", metadata["node_type"])));
    }
    Ok(metadata)
}

/// The arrays below a folder, by path.
fn array_names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![String::new()];
    let mut n_searched = 0;
    while let Some(name) = pending.pop() {
        let Ok(entries) = fs::read_dir(folder.join(&name)) else { continue };
        for entry in entries.flatten() {
            n_searched += 1;
            if n_searched > MAX_SEARCHED || names.len() >= MAX_LISTED {
                break;
            }
            let Ok(part) = entry.file_name().into_string() else { continue };
            let below = if name.is_empty() { part } else { format!("{name}/{part}") };
            match read_metadata(folder, &folder.join(&below)) {
                Ok(metadata) if metadata["node_type"] == "array" => names.push(below),
                Ok(_) if below.split('/').count() < MAX_DEPTH => pending.push(below),
                _ => {}
            }
        }
    }
    names.sort();
    names
}

/// The end of a sentence about a group.
fn list(path: &Path) -> String {
    let names = array_names(path);
    if names.is_empty() {
        return "; no array of version 3 is in it".to_owned();
    }
    format!("; its arrays are {}; name the one that is meant", names.join(", "))
}

/// What `zarr.json` tells of an array.
#[derive(Clone, Debug)]
struct ArrayMetadata {
    shape: Vec<usize>,
    sample_type: SampleType,
    chunk_shape: Vec<usize>,
    /// `c/0/1` as `("c", '/')`, `0.1` as `("", '.')`.
    key: (&'static str, char),
    /// A value where there is no chunk, in the array's byte order.
    fill: Vec<u8>,
    chain: Chain,
    spacing: Vec<f64>,
    unit: String,
}

impl ArrayMetadata {
    fn parse(metadata: &Value) -> Result<Self, Refusal> {
        let damaged = |detail: String| Refusal::Damaged(detail);
        let known = [
            "zarr_format",
            "node_type",
            "shape",
            "data_type",
            "chunk_grid",
            "chunk_key_encoding",
            "fill_value",
            "codecs",
            "attributes",
            "storage_transformers",
            "dimension_names",
        ];
        for (key, value) in metadata.as_object().into_iter().flatten() {
            if !known.contains(&key.as_str()) && value["must_understand"] != false {
                return Err(Refusal::Unusable(format!(
                    "its metadata has the entry {key:?}, which is not known"
                )));
            }
        }
        if metadata["storage_transformers"].as_array().is_some_and(|list| !list.is_empty()) {
            return Err(Refusal::Unusable("it has storage transformers, which are not known".to_owned()));
        }
        let shape = extents(&metadata["shape"])
            .ok_or_else(|| damaged(format!("its shape is {}", short(&metadata["shape"]))))?;
        let (sample_type, is_bool) = data_type(&metadata["data_type"])?;
        let grid = &metadata["chunk_grid"];
        if grid["name"] != "regular" {
            return Err(Refusal::Unusable(format!(
                "its chunk grid is {}; accepted is a regular one",
                short(&grid["name"])
            )));
        }
        let chunk_shape = extents(&grid["configuration"]["chunk_shape"])
            .filter(|chunk| chunk.len() == shape.len() && !chunk.contains(&0))
            .ok_or_else(|| {
                let chunk = short(&grid["configuration"]["chunk_shape"]);
                damaged(format!("its chunks have the shape {chunk}, and the array has {shape:?}"))
            })?;
        let encoding = &metadata["chunk_key_encoding"];
        let name = encoding.as_str().or_else(|| encoding["name"].as_str());
        let separator = match (&encoding["configuration"]["separator"], name) {
            (Value::Null, Some("v2")) => '.',
            (Value::Null, _) => '/',
            (separator, _) if separator == "/" => '/',
            (separator, _) if separator == "." => '.',
            (separator, _) => {
                return Err(damaged(format!("its chunks' names have the separator {}", short(separator))));
            }
        };
        let key = match name {
            Some("default") => ("c", separator),
            Some("v2") => ("", separator),
            _ => {
                return Err(Refusal::Unusable(format!(
                    "its chunks are named by {}, which is not known",
                    short(encoding)
                )));
            }
        };
        let chain = Chain::parse(&metadata["codecs"], &chunk_shape, sample_type.n_bytes())?;
        let mut fill = fill_value(&metadata["fill_value"], sample_type, is_bool)
            .ok_or_else(|| damaged(format!("its fill value is {}", short(&metadata["fill_value"]))))?;
        if chain.is_big_endian() {
            fill.reverse();
        }
        let attributes = &metadata["attributes"];
        let spacing: Option<Vec<f64>> =
            attributes["spacing"].as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        let spacing = spacing.filter(|spacing| spacing.len() == shape.len()).unwrap_or_default();
        let unit = attributes["unit"].as_str().filter(|unit| unit.len() <= 16 && !spacing.is_empty());
        let unit = unit.unwrap_or_default().to_owned();
        Ok(Self { shape, sample_type, chunk_shape, key, fill, chain, spacing, unit })
    }

    /// Refuses chunks past the limit, and an array that is far larger than what the folder holds: where chunks may be
    /// missing, nothing else bounds it.
    fn check_size(
        &self,
        path: &Path,
        folder: &Path,
        n_bytes: u64,
        limits: &Limits,
    ) -> Result<(), MediaError> {
        let unusable = |problem: String| MediaError::Unusable { path: path.to_path_buf(), problem };
        let chunk_bytes =
            self.chunk_shape.iter().try_fold(self.fill.len(), |n, &extent| n.checked_mul(extent));
        if chunk_bytes.is_none_or(|n| n as u64 > limits.max_alloc_bytes) {
            return Err(unusable(format!(
                "its chunks have the shape {:?} of type {}, and the limit for a chunk is {} bytes; write it with smaller chunks or raise the limit",
                self.chunk_shape,
                self.sample_type.name(),
                limits.max_alloc_bytes
            )));
        }
        let n_chunks =
            self.grid().iter().try_fold(1u64, |n, &extent| n.checked_mul(extent as u64)).unwrap_or(u64::MAX);
        if n_chunks <= FREE_CHUNKS && n_bytes <= limits.max_alloc_bytes {
            return Ok(());
        }
        let (n_files, n_stored) = folder_content(folder, MAX_DEPTH + 2);
        if n_chunks > n_files.saturating_mul(1000) || n_bytes > n_stored.saturating_mul(10_000) {
            return Err(unusable(format!(
                "its metadata promises {n_chunks} chunks and {n_bytes} bytes of values, and the folder has {n_files} files of {n_stored} bytes together; give a whole copy of it"
            )));
        }
        Ok(())
    }

    /// Chunks along each axis.
    fn grid(&self) -> Vec<usize> {
        self.shape.iter().zip(&self.chunk_shape).map(|(&s, &c)| s.div_ceil(c)).collect()
    }

    fn chunk_name(&self, place: &[usize]) -> String {
        let (prefix, separator) = self.key;
        let mut name = prefix.to_owned();
        for index in place {
            if !name.is_empty() {
                name.push(separator);
            }
            name.push_str(&index.to_string());
        }
        name
    }
}

/// A value in a sentence: metadata may be long.
fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain("…".chars()).collect() }
}

fn data_type(value: &Value) -> Result<(SampleType, bool), Refusal> {
    Ok(match value.as_str() {
        Some("bool") => (SampleType::U8, true),
        Some("uint8") => (SampleType::U8, false),
        Some("int8") => (SampleType::I8, false),
        Some("uint16") => (SampleType::U16, false),
        Some("int16") => (SampleType::I16, false),
        Some("uint32") => (SampleType::U32, false),
        Some("int32") => (SampleType::I32, false),
        Some("float32") => (SampleType::F32, false),
        Some("float64") => (SampleType::F64, false),
        _ => {
            return Err(Refusal::Unusable(format!(
                "its values are of type {}; accepted are bool, (u)int8, (u)int16, (u)int32, float32 and float64, so convert it first",
                short(value)
            )));
        }
    })
}

/// The name of a type in `zarr.json`.
pub(crate) fn data_type_name(sample_type: SampleType) -> &'static str {
    match sample_type {
        SampleType::U8 => "uint8",
        SampleType::I8 => "int8",
        SampleType::U16 => "uint16",
        SampleType::I16 => "int16",
        SampleType::U32 => "uint32",
        SampleType::I32 => "int32",
        SampleType::F32 => "float32",
        SampleType::F64 => "float64",
    }
}

/// The little-endian bytes of a fill value.
fn fill_value(value: &Value, sample_type: SampleType, is_bool: bool) -> Option<Vec<u8>> {
    if is_bool {
        return value.as_bool().map(|value| vec![u8::from(value)]);
    }
    if !sample_type.is_float() {
        let (low, high) = sample_type.limits();
        let whole = value.as_i64().filter(|&whole| (low..=high).contains(&(whole as f64)))?;
        return Some(whole.to_le_bytes()[..sample_type.n_bytes()].to_vec());
    }
    let number = match value.as_str() {
        None => value.as_f64()?,
        Some("NaN") => f64::NAN,
        Some("Infinity") => f64::INFINITY,
        Some("-Infinity") => f64::NEG_INFINITY,
        Some(digits) => {
            let digits = digits.strip_prefix("0x")?;
            // All bits of a value: two digits a byte, and no sign.
            let is_whole =
                digits.len() == 2 * sample_type.n_bytes() && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let bits = u64::from_str_radix(digits, 16).ok().filter(|_| is_whole)?;
            return Some(bits.to_le_bytes()[..sample_type.n_bytes()].to_vec());
        }
    };
    Some(match sample_type {
        SampleType::F32 => (number as f32).to_le_bytes().to_vec(),
        _ => number.to_le_bytes().to_vec(),
    })
}

/// The files below a folder, and their bytes together.
fn folder_content(folder: &Path, depth: usize) -> (u64, u64) {
    let (mut n_files, mut n_bytes) = (0, 0);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth > 0 {
            let (files, bytes) = folder_content(&entry.path(), depth - 1);
            n_files += files;
            n_bytes += bytes;
        } else if metadata.is_file() {
            n_files += 1;
            n_bytes += metadata.len();
        }
    }
    (n_files, n_bytes)
}

/// Reads an array slab by slab: as many slices as lie in the same chunks.
struct ZarrReader {
    /// What was asked for, for messages.
    path: PathBuf,
    /// The array's own folder.
    folder: PathBuf,
    info: SignalInfo,
    meta: ArrayMetadata,
    /// Slices `start .. start + n`, bytes in the array's order; at most `slab_bytes`, or one slice.
    slab: Vec<u8>,
    slab_bytes: usize,
    start: usize,
    n: usize,
    at: usize,
}

impl ZarrReader {
    fn new(path: PathBuf, folder: PathBuf, info: SignalInfo, meta: ArrayMetadata) -> Self {
        Self { path, folder, info, meta, slab: Vec::new(), slab_bytes: SLAB_BYTES, start: 0, n: 0, at: 0 }
    }

    fn fill(&mut self) -> Result<(), MediaError> {
        let width = self.meta.fill.len();
        let n_chunk = self.meta.chunk_shape[0];
        let until = (self.at - self.at % n_chunk).saturating_add(n_chunk).min(self.info.extents[0]);
        self.start = self.at;
        self.n = (self.slab_bytes / (self.info.slice_values() * width)).clamp(1, until - self.at);
        let mut slab_shape = self.info.extents.clone();
        slab_shape[0] = self.n;
        self.slab.clear();
        self.slab.resize(slab_shape.iter().product::<usize>() * width, 0);
        let mut grid = self.meta.grid();
        grid[0] = 1;
        let mut place = vec![0; grid.len()];
        loop {
            let mut name = place.clone();
            name[0] = self.at / n_chunk;
            let chunk = self.chunk(&name)?;
            let mut from = vec![0; place.len()];
            from[0] = self.at % n_chunk;
            let to: Vec<usize> = place.iter().zip(&self.meta.chunk_shape).map(|(&p, &c)| p * c).collect();
            let extents: Vec<usize> = (0..to.len())
                .map(|axis| (slab_shape[axis] - to[axis]).min(self.meta.chunk_shape[axis] - from[axis]))
                .collect();
            let target = Corner { shape: &slab_shape, at: &to };
            match chunk {
                Some(values) => {
                    let source = Corner { shape: &self.meta.chunk_shape, at: &from };
                    copy_part(&values, source, &mut self.slab, target, &extents, width);
                }
                None if self.meta.fill.iter().any(|&byte| byte != 0) => {
                    let values = self.meta.fill.repeat(extents.iter().product());
                    let source = Corner { shape: &extents, at: &vec![0; extents.len()] };
                    copy_part(&values, source, &mut self.slab, target, &extents, width);
                }
                None => {}
            }
            if !count_up(&mut place, &grid) {
                return Ok(());
            }
        }
    }

    /// The values of a chunk; `None` if all are the fill value.
    fn chunk(&self, place: &[usize]) -> Result<Option<Vec<u8>>, MediaError> {
        let name = self.meta.chunk_name(place);
        let damaged = |detail: String| MediaError::Damaged {
            path: self.path.clone(),
            format: "Zarr",
            detail: format!("chunk {name}: {detail}"),
        };
        let file = self.folder.join(&name);
        let unreadable = |error| MediaError::Read { path: file.clone(), error };
        let open = match File::open(&file) {
            Ok(open) => open,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let shape = &self.meta.chunk_shape;
        let limit = packed_limit(shape.iter().product::<usize>() * self.meta.fill.len());
        let mut bytes = Vec::new();
        open.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > limit {
            return Err(damaged(format!("it has more than {limit} bytes, for a shape of {shape:?}")));
        }
        self.meta.chain.decode(bytes, shape, &self.meta.fill).map(Some).map_err(damaged)
    }
}

impl SliceReader for ZarrReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        assert!(n_slices <= self.info.extents[0] - self.at, "fewer slices are left");
        let slice_bytes = self.info.slice_values() * self.meta.fill.len();
        let mut bytes = Vec::with_capacity(n_slices * slice_bytes);
        let end = self.at + n_slices;
        while self.at < end {
            if self.at >= self.start + self.n {
                self.fill()?;
            }
            let from = self.at - self.start;
            let n = (self.n - from).min(end - self.at);
            bytes.extend_from_slice(&self.slab[from * slice_bytes..(from + n) * slice_bytes]);
            self.at += n;
        }
        Ok(to_samples(self.meta.sample_type, self.meta.chain.is_big_endian(), bytes))
    }
}

impl Rewind for ZarrReader {
    fn path(&self) -> &Path {
        &self.path
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Slabs of fewer slices than a chunk has: the same values.
    #[test]
    fn slabs_of_any_size() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/volumes/sharded.zarr");
        let Ok(meta) = ArrayMetadata::parse(&read_metadata(&folder, &folder).unwrap()) else {
            panic!("it is read")
        };
        let info = SignalInfo::plain(meta.shape.clone(), 1, meta.sample_type, None);
        let mut n_cases = 0;
        for slices_of_slab in [0, 1, 3, 4, 9] {
            let mut reader = ZarrReader::new(folder.clone(), folder.clone(), info.clone(), meta.clone());
            reader.slab_bytes = slices_of_slab * 6 * 8 * 4;
            for _ in 0..2 {
                for (start, n) in [(0, 1), (1, 3)] {
                    let Samples::I32(values) = reader.read(n).unwrap() else { panic!("another type") };
                    // By gen_volumes.py.
                    let expected: Vec<i32> =
                        (start * 48..(start + n) * 48).map(|i| i as i32 * 37 % 101 - 50).collect();
                    assert_eq!(values, expected, "{slices_of_slab} {start}");
                    n_cases += 1;
                }
                reader.rewind().unwrap();
            }
        }
        assert_eq!(n_cases, 20);
    }
}
