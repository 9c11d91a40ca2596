//! Zarr arrays, version 3, into a new folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use asmr::metadata::Media;
use asmr::signal::{Samples, SignalInfo};
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};

use crate::error::MediaError;
use crate::linear::to_bytes;
use crate::linear_write::{Count, array_shape, is_big_endian};
use crate::stream::SliceWriter;
use crate::write::PendingFolder;
use crate::zarr::{METADATA, data_type_name};
use crate::zarr_codec::{Corner, copy_part, count_up};

/// The slices of one row of chunks are in memory at once.
const SLAB_BYTES: usize = 64 << 20;

/// Writes an array chunk by chunk, each packed by gzip, which every implementation reads.
pub(crate) struct ZarrWriter {
    path: PathBuf,
    folder: PendingFolder,
    shape: Vec<usize>,
    chunk_shape: Vec<usize>,
    width: usize,
    is_big_endian: bool,
    count: Count,
    /// The next slices, until they fill a row of chunks.
    slab: Vec<u8>,
    n_rows: usize,
}

impl ZarrWriter {
    pub(crate) fn create(path: &Path, info: &SignalInfo) -> Result<Self, MediaError> {
        let failed = |error| MediaError::Write { path: path.to_path_buf(), error };
        let folder = PendingFolder::begin(path).map_err(failed)?;
        let shape = array_shape(info);
        let width = info.sample_type.n_bytes();
        let chunk_shape = chunk_shape(info, &shape);
        let is_big_endian = is_big_endian(info);
        let metadata = metadata(info, &shape, &chunk_shape, is_big_endian);
        let text = serde_json::to_string_pretty(&metadata).map_err(io::Error::other).map_err(failed)?;
        folder.write(Path::new(METADATA), text.as_bytes()).map_err(failed)?;
        Ok(Self {
            path: path.to_path_buf(),
            folder,
            shape,
            chunk_shape,
            width,
            is_big_endian,
            count: Count::new(info),
            slab: Vec::new(),
            n_rows: 0,
        })
    }

    fn slice_bytes(&self) -> usize {
        self.shape[1..].iter().product::<usize>() * self.width
    }

    /// Appends slices, and writes rows of chunks as they fill.
    fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let row = self.chunk_shape[0] * self.slice_bytes();
        while !bytes.is_empty() {
            let n = (row - self.slab.len()).min(bytes.len());
            self.slab.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.slab.len() == row {
                self.write_row()?;
            }
        }
        Ok(())
    }

    fn write_row(&mut self) -> io::Result<()> {
        let mut slab_shape = self.shape.clone();
        slab_shape[0] = self.slab.len() / self.slice_bytes();
        let mut grid: Vec<usize> =
            self.shape.iter().zip(&self.chunk_shape).map(|(&s, &c)| s.div_ceil(c)).collect();
        grid[0] = 1;
        let mut place = vec![0; grid.len()];
        loop {
            // At the array's end a chunk is filled up with zeros.
            let mut chunk = vec![0; self.chunk_shape.iter().product::<usize>() * self.width];
            let from: Vec<usize> = place.iter().zip(&self.chunk_shape).map(|(&p, &c)| p * c).collect();
            let extents: Vec<usize> = (0..from.len())
                .map(|axis| (slab_shape[axis] - from[axis]).min(self.chunk_shape[axis]))
                .collect();
            let target = Corner { shape: &self.chunk_shape, at: &vec![0; from.len()] };
            let source = Corner { shape: &slab_shape, at: &from };
            copy_part(&self.slab, source, &mut chunk, target, &extents, self.width);
            let mut packed = GzBuilder::new().write(Vec::new(), Compression::default());
            packed.write_all(&chunk)?;
            let mut name = PathBuf::from("c");
            name.push(self.n_rows.to_string());
            name.extend(place[1..].iter().map(ToString::to_string));
            self.folder.write(&name, &packed.finish()?)?;
            if !count_up(&mut place, &grid) {
                break;
            }
        }
        self.slab.clear();
        self.n_rows += 1;
        Ok(())
    }
}

/// Chunks of about 2^18 values, fewer slices where these are large. Channels are not cut apart.
fn chunk_shape(info: &SignalInfo, shape: &[usize]) -> Vec<usize> {
    let mut chunk: Vec<usize> = match info.extents.len() {
        1 => vec![1 << 18],
        2 => vec![512; 2],
        3 => vec![64; 3],
        _ => vec![1, 64, 64, 64],
    };
    chunk.resize(shape.len(), usize::MAX);
    let mut chunk: Vec<usize> = chunk.iter().zip(shape).map(|(&chunk, &extent)| chunk.min(extent)).collect();
    let slice_bytes = info.slice_values() * info.sample_type.n_bytes();
    chunk[0] = chunk[0].min(SLAB_BYTES / slice_bytes).max(1);
    chunk
}

fn metadata(info: &SignalInfo, shape: &[usize], chunk_shape: &[usize], is_big_endian: bool) -> Value {
    let bytes = if info.sample_type.n_bytes() == 1 {
        json!({"name": "bytes"})
    } else {
        json!({"name": "bytes", "configuration": {"endian": if is_big_endian { "big" } else { "little" }}})
    };
    let mut attributes = Map::new();
    if let Media::Volume(volume) = &info.media
        && !volume.spacing.is_empty()
    {
        attributes.insert("spacing".to_owned(), json!(volume.spacing));
        if !volume.unit.is_empty() {
            attributes.insert("unit".to_owned(), json!(volume.unit));
        }
    }
    json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": data_type_name(info.sample_type),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk_shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": if info.sample_type.is_float() { json!(0.0) } else { json!(0) },
        "codecs": [bytes, {"name": "gzip", "configuration": {"level": 6}}],
        "attributes": attributes,
        "storage_transformers": [],
    })
}

impl SliceWriter for ZarrWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        let bytes = to_bytes(samples, self.is_big_endian);
        self.count
            .add(samples)
            .and_then(|()| self.append(&bytes))
            .map_err(|error| MediaError::Write { path: self.path.clone(), error })
    }

    fn finish(mut self: Box<Self>) -> Result<(), MediaError> {
        self.count.finish(&self.path)?;
        if !self.slab.is_empty() {
            self.write_row().map_err(|error| MediaError::Write { path: self.path.clone(), error })?;
        }
        let Self { path, folder, .. } = *self;
        folder.commit().map_err(|error| MediaError::Write { path, error })
    }
}
