//! Plain values without any header: the caller says what they are.

use std::fs;
use std::path::Path;

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, SignalInfo};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::linear::{Layout, Packing, Stored, check_shape, open_linear};
use crate::stream::SliceReader;
use crate::volume::VolumeOptions;

/// Opens a file of plain values; `shape` is that of `options`.
pub(crate) fn open_raw(
    path: &Path,
    shape: &[usize],
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let stored = Stored {
        path: path.to_path_buf(),
        file: path.to_path_buf(),
        format: "raw",
        packing: Packing::None,
        offset: options.header_bytes,
    };
    let Some(sample_type) = options.dtype else {
        return Err(stored.unusable(
            "plain values need their type beside their shape: u8, i8, u16, i16, u32, i32, f32 or f64"
                .to_owned(),
        ));
    };
    let volume = Volume {
        container: VolumeContainer::Raw,
        spacing: options.spacing.clone().unwrap_or_default(),
        unit: String::new(),
        header: String::new(),
        array: String::new(),
        big_endian: options.big_endian && sample_type.n_bytes() > 1,
    };
    let is_big_endian = volume.big_endian;
    let info = SignalInfo {
        media: Media::Volume(volume),
        ..SignalInfo::plain(shape.to_vec(), 1, sample_type, None)
    };
    let needed = check_shape(path, &info)?;
    let length = fs::metadata(path).map_err(|error| stored.explain(error))?.len();
    if Some(length) != needed.checked_add(options.header_bytes) {
        let header = match options.header_bytes {
            0 => String::new(),
            n => format!(" after a header of {n}"),
        };
        let mut problem = format!(
            "it has {length} bytes, and shape {shape:?} of type {} needs {needed}{header}",
            sample_type.name()
        );
        if let Some(guess) = guess(length.saturating_sub(options.header_bytes), needed, shape, sample_type) {
            problem = format!("{problem}; {guess}");
        }
        return Err(stored.unusable(problem));
    }
    open_linear(info, stored, Layout { is_big_endian, is_fortran: false }, limits)
}

/// What is probably meant instead.
fn guess(length: u64, needed: u64, shape: &[usize], sample_type: SampleType) -> Option<String> {
    let n_values = needed / sample_type.n_bytes() as u64;
    let slice_bytes = needed / shape[0] as u64;
    if n_values > 0 && length.is_multiple_of(n_values) {
        let types = match length / n_values {
            1 => Some("u8 or i8"),
            2 => Some("u16 or i16"),
            4 => Some("u32, i32 or f32"),
            8 => Some("f64"),
            _ => None,
        };
        if let Some(types) = types {
            return Some(format!("that would fit values of type {types}"));
        }
    }
    if length > 0 && length.is_multiple_of(slice_bytes) {
        return Some(format!("that would fit {} along the first axis", length / slice_bytes));
    }
    (length > needed && length - needed <= 1 << 16)
        .then(|| format!("that would fit after a header of {} bytes", length - needed))
}
