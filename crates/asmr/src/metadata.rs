//! What a grid is a grid of: enough to give the same kind of thing back.
//!
//! A picture needs no more than its colour type ([`SignalInfo::color`]); everything else has its struct here. What was
//! cut from the input (a part of a recording, some frames) is kept too, so that a comparison with the original needs no
//! options.

use serde::{Deserialize, Serialize};

use crate::signal::{SampleType, SignalError, SignalInfo};

/// Bytes of the header of a NIfTI-1 file.
const NIFTI_HEADER_BYTES: usize = 348;

/// The kind of a signal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Media {
    /// A picture, or an array of which nothing more is known.
    #[default]
    Plain,
    /// Sound: one axis, time.
    Audio(Audio),
    /// Moving pictures: axes time, rows, columns.
    Video(Video),
    /// A volume: axes slices, rows, columns, with time before them where there are four.
    Volume(Volume),
    /// A shape, as a field on a cubic grid: axes z, y, x.
    Shape(Shape),
}

/// Where a recording came from, as far as its format is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AudioContainer {
    /// RIFF WAVE.
    Wav,
    /// Free Lossless Audio Codec.
    Flac,
    /// A lossy format (MP3, Vorbis): decoded to floats, given back as floats.
    Lossy,
}

/// A recording. Integer samples are whole numbers of `bits_per_sample` bits, floats have full scale 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Bits of a sample as stored in the original, 8 to 32; 64 for `f64`.
    pub bits_per_sample: u8,
    /// The original's format.
    pub container: AudioContainer,
    /// The first sample in the original; the extent of the axis tells how many there are.
    pub start: u64,
}

/// A film.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    /// Frames per second, as a fraction.
    pub rate: [u32; 2],
    /// The first frame in the original; the extent of the first axis tells how many there are.
    pub first_frame: u64,
}

/// Where a volume came from, as far as its format is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeContainer {
    /// NIfTI-1.
    Nifti,
    /// `NumPy`'s `.npy`, or an array of an `.npz`.
    Npy,
    /// Plain values.
    Raw,
    /// Zarr, version 3.
    Zarr,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The original's format.
    pub container: VolumeContainer,
    /// Distance of neighbouring samples along each axis, in `unit`; empty if unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spacing: Vec<f64>,
    /// The unit of `spacing`: `mm`, `m`, `um`; empty if unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What the format keeps beside the values, in hexadecimal digits: of NIfTI-1 the 348 bytes of its header, with
    /// the affine transforms and the orientation. Empty for the others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub header: String,
    /// The name of the array in its container (of an `.npz`, or within a Zarr hierarchy); empty if there is one only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub array: String,
    /// Whether the values are big-endian in the original.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub big_endian: bool,
}

/// What the samples of a shape tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShapeField {
    /// 1 inside, 0 outside.
    Occupancy,
    /// Distance to the surface, positive inside, truncated.
    Distance,
}

/// A shape: sample (k, j, i) lies at `origin + spacing · (i, j, k)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// What the samples tell.
    pub field: ShapeField,
    /// The place of the first sample, (x, y, z), in the mesh's units.
    pub origin: [f64; 3],
    /// Distance of neighbouring samples, in the mesh's units.
    pub spacing: f64,
    /// Distances beyond this are cut to it; 0 for occupancy.
    pub truncation: f64,
    /// Whether the mesh was closed; what is inside an open one is a guess.
    pub is_closed: bool,
}

impl Media {
    /// Whether there is nothing more to tell.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// The kind's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Audio(_) => "audio",
            Self::Video(_) => "video",
            Self::Volume(_) => "volume",
            Self::Shape(_) => "shape",
        }
    }

    /// Refuses what does not fit the grid.
    ///
    /// # Errors
    /// [`SignalError::Media`].
    pub(crate) fn validate(&self, info: &SignalInfo) -> Result<(), SignalError> {
        let check = |ok: bool, problem: &dyn Fn() -> String| {
            if ok { Ok(()) } else { Err(SignalError::Media { kind: self.name(), problem: problem() }) }
        };
        let axes = info.extents.len();
        let n_axes = |accepted: std::ops::RangeInclusive<usize>| {
            check(accepted.contains(&axes), &|| format!("{axes} axes; it has {accepted:?}"))
        };
        match self {
            Self::Plain => Ok(()),
            Self::Audio(audio) => {
                n_axes(1..=1)?;
                check(audio.sample_rate > 0, &|| "0 samples per second".to_owned())?;
                let is_double = info.sample_type == SampleType::F64 && audio.bits_per_sample == 64;
                check((8..=32).contains(&audio.bits_per_sample) || is_double, &|| {
                    format!("{} bits per sample; it has 8 to 32, or 64 of f64", audio.bits_per_sample)
                })?;
                check(
                    matches!(info.sample_type, SampleType::U8 | SampleType::I16 | SampleType::I32)
                        || info.sample_type.is_float(),
                    &|| {
                        format!(
                            "samples of type {}; they are u8, i16, i32, f32 or f64",
                            info.sample_type.name()
                        )
                    },
                )
            }
            Self::Video(video) => {
                n_axes(3..=3)?;
                check(info.color.is_some(), &|| "no colour type".to_owned())?;
                check(matches!(info.sample_type, SampleType::U8 | SampleType::U16), &|| {
                    format!("samples of type {}; they are u8 or u16", info.sample_type.name())
                })?;
                check(video.rate.iter().all(|&r| r > 0), &|| format!("frame rate {:?}", video.rate))
            }
            Self::Volume(volume) => {
                n_axes(1..=4)?;
                let spacing = &volume.spacing;
                check(
                    spacing.is_empty() || (spacing.len() == axes && spacing.iter().all(|s| s.is_finite())),
                    &|| format!("spacing {spacing:?}; it has one finite number per axis"),
                )?;
                check(
                    volume.header.len() % 2 == 0 && volume.header.bytes().all(|b| b.is_ascii_hexdigit()),
                    &|| "a header that is not made of hexadecimal digits".to_owned(),
                )?;
                let n_bytes = volume.header.len() / 2;
                let is_whole = matches!(n_bytes, 0 | NIFTI_HEADER_BYTES);
                check(volume.container != VolumeContainer::Nifti || is_whole, &|| {
                    format!(
                        "a header of {n_bytes} bytes, which is not one of NIfTI-1; that has {NIFTI_HEADER_BYTES}"
                    )
                })
            }
            Self::Shape(shape) => {
                n_axes(3..=3)?;
                check(info.channels == 1, &|| format!("{} channels; it has 1", info.channels))?;
                check(
                    shape.spacing > 0.0
                        && shape.spacing.is_finite()
                        && shape.origin.iter().all(|x| x.is_finite())
                        && shape.truncation >= 0.0
                        && shape.truncation.is_finite(),
                    &|| "a spacing, an origin or a truncation that is no finite number".to_owned(),
                )
            }
        }
    }
}
