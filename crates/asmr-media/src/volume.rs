//! Volumes and other arrays in and out of files: NIfTI-1, `NumPy`, Zarr and plain values.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, SignalInfo};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::linear_write::{Format, LinearWriter};
use crate::stream::{SliceReader, SliceWriter};
use crate::zarr_write::ZarrWriter;
use crate::{nifti, npy_read, raw, zarr};

/// What a volume's file does not tell, or which of its arrays is meant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VolumeOptions {
    /// Extents of plain values, slowest axis first. Only a file without a header of its own takes this and the next
    /// three.
    pub shape: Option<Vec<usize>>,
    /// Type of plain values.
    pub dtype: Option<SampleType>,
    /// Whether plain values have the high byte first.
    pub big_endian: bool,
    /// Bytes before the first of the plain values.
    pub header_bytes: u64,
    /// Distance of neighbouring samples along each axis, slowest first; for every format but NIfTI-1, which tells it.
    pub spacing: Option<Vec<f64>>,
    /// Name of the array: of an `.npz`, or the path within a Zarr hierarchy.
    pub array: Option<String>,
}

/// Which format of volumes a file or folder has, by its content; `None` for anything else, pipes included, which are
/// not read. Plain values have no content to go by and are never recognised.
///
/// A file too damaged to be recognised is what its name says (`.nii`, `.nii.gz`, `.npy`, `.npz`), so that opening it
/// tells what is wrong.
///
/// # Errors
/// What the operating system says.
pub fn volume_kind(path: &Path) -> io::Result<Option<VolumeContainer>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Ok(zarr::is_zarr(path).then_some(VolumeContainer::Zarr));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut start = Vec::new();
    File::open(path)?.take(nifti::HEADER_BYTES as u64).read_to_end(&mut start)?;
    if start.starts_with(npy_read::MAGIC) {
        return Ok(Some(VolumeContainer::Npy));
    }
    if start.starts_with(nifti::GZIP_MAGIC) {
        start = nifti::unpacked_start(path)?;
    }
    if nifti::recognise(&start).is_some() {
        return Ok(Some(VolumeContainer::Nifti));
    }
    if start.starts_with(npy_read::ZIP_MAGIC)
        && let Ok(archive) = zip::ZipArchive::new(BufReader::new(File::open(path)?))
        && !npy_read::array_names(&archive).is_empty()
    {
        return Ok(Some(VolumeContainer::Npy));
    }
    Ok(match Name::of(path) {
        Some(Name::Nifti { .. }) => Some(VolumeContainer::Nifti),
        Some(Name::Npy | Name::Npz) => Some(VolumeContainer::Npy),
        _ => None,
    })
}

/// Opens a volume, or another array of 1 to 4 axes: NIfTI-1, `.npy`, `.npz` and Zarr (version 3) by content, plain
/// values if `options` has their shape.
///
/// Values keep their type and are read slice by slice; a first pass finds the value range and refuses values that are
/// not finite. NIfTI-1 has x as its fastest axis, so its axes are `[z, y, x]`, or `[t, z, y, x]`; axes of 1 at the
/// slow end are dropped, and `scl_slope` and `scl_inter` stay in the header, not applied. An array in Fortran's order
/// is read in passes over the file of 256 MiB each. Truth values of `NumPy` become 0 and 1.
///
/// `limits.max_alloc_bytes` bounds one slice, one chunk, and what a packed file (gzip, zip) unpacks to.
///
/// # Errors
/// [`MediaError::Read`], [`MediaError::Damaged`] or [`MediaError::Unusable`].
pub fn open_volume(
    path: &Path,
    options: &VolumeOptions,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    let unusable =
        |problem: &str| MediaError::Unusable { path: path.to_path_buf(), problem: problem.to_owned() };
    let kind = volume_kind(path).map_err(unreadable)?;
    let Some(kind) = kind else {
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            return Err(unusable("it is a folder without zarr.json, so no Zarr array"));
        }
        let Some(shape) = &options.shape else {
            return Err(unusable(
                "its content is not NIfTI-1, .npy, .npz or Zarr; if it has plain values, give their shape and type",
            ));
        };
        if options.array.is_some() {
            return Err(unusable("plain values have no named arrays; leave the name out"));
        }
        return raw::open_raw(path, shape, options, limits);
    };
    if options.shape.is_some() || options.dtype.is_some() || options.big_endian || options.header_bytes > 0 {
        return Err(unusable(
            "it tells its shape and type itself; leave shape, type, byte order and header length out",
        ));
    }
    let has_arrays = match kind {
        VolumeContainer::Nifti | VolumeContainer::Raw => false,
        VolumeContainer::Npy => !is_npy(path).map_err(unreadable)?,
        VolumeContainer::Zarr => true,
    };
    if options.array.is_some() && !has_arrays {
        return Err(unusable("it holds one array without a name; leave the name out"));
    }
    match kind {
        VolumeContainer::Nifti | VolumeContainer::Raw => nifti::open_nifti(path, options, limits),
        VolumeContainer::Npy if has_arrays => npy_read::open_npz(path, options, limits),
        VolumeContainer::Npy => npy_read::open_npy(path, options, limits),
        VolumeContainer::Zarr => zarr::open_zarr(path, options, limits),
    }
}

/// Whether a file of `NumPy`'s is a single array. One that is damaged beyond recognition goes by its name.
pub(crate) fn is_npy(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(npy_read::MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(start == npy_read::MAGIC
        || (!start.starts_with(npy_read::ZIP_MAGIC) && matches!(Name::of(path), Some(Name::Npy))))
}

/// What a name's extension stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Nifti { is_packed: bool },
    Npy,
    Npz,
    Raw,
    Zarr,
}

impl Name {
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
        match extension.as_str() {
            "nii" => Some(Self::Nifti { is_packed: false }),
            "gz" => {
                let inner = Path::new(path.file_stem()?).extension()?;
                inner.eq_ignore_ascii_case("nii").then_some(Self::Nifti { is_packed: true })
            }
            "npy" => Some(Self::Npy),
            "npz" => Some(Self::Npz),
            "raw" | "bin" => Some(Self::Raw),
            "zarr" => Some(Self::Zarr),
            _ => None,
        }
    }
}

/// Starts a file (for `.zarr` a folder) of the signal's own type: `.nii`, `.nii.gz`, `.npy`, `.npz`, `.raw`, `.bin`
/// or `.zarr`.
///
/// Any signal can be written. Several channels are a last axis of the array; NIfTI-1 has RGB and RGBA of 8 bits
/// instead and no other. NIfTI-1 gets the header that a [`Volume`] keeps, with extents and type from `info`, or a new
/// one of its spacing (1 if unknown) without orientation; extensions behind a header are not kept. The byte order is the
/// original's.
///
/// The file is there whole after [`SliceWriter::finish`], or not at all. A Zarr folder replaces nothing.
///
/// # Errors
/// [`MediaError::CannotHold`], [`MediaError::Unusable`] for another extension or a header that is none, or
/// [`MediaError::Write`].
pub fn create_volume(path: &Path, info: &SignalInfo) -> Result<Box<dyn SliceWriter>, MediaError> {
    let unusable = |problem: String| MediaError::Unusable { path: path.to_path_buf(), problem };
    let Some(name) = Name::of(path) else {
        return Err(unusable(
            "its extension names no format of volumes; accepted are .nii, .nii.gz, .npy, .npz, .raw, .bin and .zarr"
                .to_owned(),
        ));
    };
    info.validate().map_err(|error| unusable(error.to_string()))?;
    let format = match name {
        Name::Nifti { is_packed } => Format::Nifti { header: nifti_header(path, info)?, is_packed },
        Name::Npy => Format::Npy,
        Name::Npz => Format::Npz,
        Name::Raw => Format::Raw,
        Name::Zarr => return Ok(Box::new(ZarrWriter::create(path, info)?)),
    };
    Ok(Box::new(LinearWriter::create(path, info, &format)?))
}

fn nifti_header(path: &Path, info: &SignalInfo) -> Result<nifti::Header, MediaError> {
    let cannot_hold = |actual: String, accepted: String| MediaError::CannotHold {
        path: path.to_path_buf(),
        format: "NIfTI-1",
        actual,
        accepted,
        remedy: "write .npy instead".to_owned(),
    };
    if !(info.channels == 1 || (info.sample_type == SampleType::U8 && matches!(info.channels, 3 | 4))) {
        return Err(cannot_hold(
            format!("{} channels of type {}", info.channels, info.sample_type.name()),
            "1 channel, or 3 or 4 of 8 bits".to_owned(),
        ));
    }
    if let Some(extent) = info.extents.iter().find(|&&extent| extent > nifti::MAX_EXTENT) {
        return Err(cannot_hold(
            format!("an extent of {extent}"),
            format!("extents up to {}", nifti::MAX_EXTENT),
        ));
    }
    let mut header = match &info.media {
        Media::Volume(volume) if volume.header.is_empty() => {
            nifti::Header::fresh(&volume.spacing, &volume.unit, volume.big_endian)
        }
        Media::Volume(volume) => nifti::kept_header(volume).ok_or_else(|| MediaError::Unusable {
            path: path.to_path_buf(),
            problem: "the header kept with the signal is not one of NIfTI-1; write .npy instead".to_owned(),
        })?,
        _ => nifti::Header::fresh(&[], "", false),
    };
    header.describe(info);
    Ok(header)
}

/// What a stored value is multiplied by and what is added then, to have what it means, where the original tells it: NIfTI-1's
/// `scl_slope` and `scl_inter`. They are kept, not applied. `None` if values are what they mean.
#[must_use]
pub fn value_scaling(volume: &Volume) -> Option<[f32; 2]> {
    nifti::kept_header(volume)?.scaling()
}

/// The volume whose sample `i` lies where sample `first + i · step` of `volume` does, along each axis, slowest first:
/// what must be told of a part that is cut from it (`step` 1), or of means of blocks of `k` samples (`first`
/// `(k − 1) / 2`, `step` `k`). World coordinates stay right: spacing, and NIfTI-1's affine transforms, are those of the
/// part.
///
/// # Panics
/// When `first` and `step` differ in length.
#[must_use]
pub fn resampled_volume(volume: &Volume, first: &[f64], step: &[f64]) -> Volume {
    assert_eq!(first.len(), step.len(), "one of each per axis");
    let mut part = volume.clone();
    for (spacing, step) in part.spacing.iter_mut().zip(step) {
        *spacing *= step;
    }
    if let Some(header) = nifti::resampled_header(volume, first, step) {
        part.header = header;
    }
    part
}
