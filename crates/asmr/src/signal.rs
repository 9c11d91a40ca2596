//! Signals: what is fitted and what a decode gives back.
//!
//! A signal is a regular grid of samples: 1 to 4 axes, slowest first (`[y, x]` for a picture), each with an
//! extent, and `channels` values per sample. Values are stored in their own type, row-major, channel last;
//! a network always sees them scaled to \[0, 1\].

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use crate::metadata::Media;
pub use crate::samples::Samples;
use crate::with_samples;

/// The largest number of axes a signal may have.
pub const MAX_AXES: usize = 4;
/// The largest extent of one axis.
pub const MAX_EXTENT: usize = 1 << 31;
/// The largest number of channels per sample.
pub const MAX_CHANNELS: usize = 64;

/// The type one value of a signal is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleType {
    /// 8-bit unsigned.
    U8,
    /// 8-bit signed.
    I8,
    /// 16-bit unsigned.
    U16,
    /// 16-bit signed.
    I16,
    /// 32-bit unsigned.
    U32,
    /// 32-bit signed; also sound of 24 bits, as whole numbers of 24 bits.
    I32,
    /// 32-bit float.
    F32,
    /// 64-bit float; a network keeps about 7 digits of it.
    F64,
}

impl SampleType {
    /// Bytes of one value.
    #[must_use]
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The least and the greatest whole number of the type; `None` for floats.
    #[must_use]
    pub fn whole_range(self) -> Option<(i64, i64)> {
        match self {
            Self::U8 => Some((0, i64::from(u8::MAX))),
            Self::I8 => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
            Self::U16 => Some((0, i64::from(u16::MAX))),
            Self::I16 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
            Self::U32 => Some((0, i64::from(u32::MAX))),
            Self::I32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            Self::F32 | Self::F64 => None,
        }
    }

    /// Whether values are floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// The least and the greatest value (of floats, the greatest finite ones).
    #[must_use]
    pub fn limits(self) -> (f64, f64) {
        match self {
            Self::U8 => (0.0, f64::from(u8::MAX)),
            Self::I8 => (f64::from(i8::MIN), f64::from(i8::MAX)),
            Self::U16 => (0.0, f64::from(u16::MAX)),
            Self::I16 => (f64::from(i16::MIN), f64::from(i16::MAX)),
            Self::U32 => (0.0, f64::from(u32::MAX)),
            Self::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
            Self::F32 => (f64::from(f32::MIN), f64::from(f32::MAX)),
            Self::F64 => (f64::MIN, f64::MAX),
        }
    }

    /// The name, as in files: `u8`, `i16`, `f32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// How stored values meet the network's scale: the network's 0 is `low`, its 1 is `high`. Decoded values are clamped
/// to this range, and whole numbers rounded to the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 2]", into = "[f64; 2]")]
pub struct ValueRange {
    low: f64,
    high: f64,
}

impl ValueRange {
    /// A range from the least to the greatest value of a signal. Where they are equal, one above is the end, so that a
    /// constant signal is the network's 0; above 2^53, where one more is no other number, the number next to it towards 0 is the other
    /// end, which every type has that has this one. A span is [`f64::MIN_POSITIVE`] at least, so that its reciprocal is finite.
    #[must_use]
    pub fn of(low: f64, high: f64) -> Self {
        if low < high {
            return Self { low, high: high.max(low + f64::MIN_POSITIVE) };
        }
        if low + 1.0 > low {
            return Self { low, high: low + 1.0 };
        }
        if low > 0.0 { Self { low: low.next_down(), high: low } } else { Self { low, high: low.next_up() } }
    }

    /// The stored value of the network's 0.
    #[must_use]
    pub fn low(self) -> f64 {
        self.low
    }

    /// The stored value of the network's 1.
    #[must_use]
    pub fn high(self) -> f64 {
        self.high
    }

    /// `high − low`, above 0.
    #[must_use]
    pub fn span(self) -> f64 {
        self.high - self.low
    }
}

impl From<[f64; 2]> for ValueRange {
    /// As stored in a file; [`SignalInfo::validate`] refuses what is no range.
    fn from([low, high]: [f64; 2]) -> Self {
        Self { low, high }
    }
}

impl From<ValueRange> for [f64; 2] {
    fn from(range: ValueRange) -> Self {
        [range.low, range.high]
    }
}

/// What the channels of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColorType {
    /// One channel: luminance.
    Gray,
    /// Luminance and alpha.
    GrayAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    Rgba,
}

impl ColorType {
    /// Number of channels: 1, 2, 3 or 4.
    #[must_use]
    pub fn n_channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

/// Everything about a signal but its values: what a decoder must know to give the same kind of thing back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalInfo {
    /// Samples along each axis, slowest axis first; 1 to [`MAX_AXES`] entries of 1 to [`MAX_EXTENT`].
    pub extents: Vec<usize>,
    /// Values per sample, 1 to [`MAX_CHANNELS`].
    pub channels: usize,
    /// How values are stored.
    pub sample_type: SampleType,
    /// `Some` for a picture (2 axes) or a film (3 axes, the first in time); `None` for anything else.
    pub color: Option<ColorType>,
    /// How values meet the network's scale. `None`: 8 and 16-bit unsigned values have their type's whole range, floats
    /// are the network's own values, neither scaled nor clamped; other types have no such default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_range: Option<ValueRange>,
    /// What the grid is a grid of.
    #[serde(default, skip_serializing_if = "Media::is_plain")]
    pub media: Media,
}

impl SignalInfo {
    /// A plain array or, with a colour type, a picture.
    #[must_use]
    pub fn plain(
        extents: Vec<usize>,
        channels: usize,
        sample_type: SampleType,
        color: Option<ColorType>,
    ) -> Self {
        Self { extents, channels, sample_type, color, value_range: None, media: Media::Plain }
    }

    /// Samples in the grid: the product of the extents (`None` past 2^63).
    #[must_use]
    pub fn n_samples(&self) -> Option<u64> {
        self.extents.iter().try_fold(1u64, |n, &e| n.checked_mul(e as u64)).filter(|&n| n < 1 << 63)
    }

    /// Values in the grid: samples times channels (`None` past 2^63).
    #[must_use]
    pub fn n_values(&self) -> Option<u64> {
        self.n_samples()?.checked_mul(self.channels as u64).filter(|&n| n < 1 << 63)
    }

    /// Refuses axes, extents, channels or a colour type that no signal may have.
    ///
    /// # Errors
    /// [`SignalError`] names the first rule that is broken.
    pub fn validate(&self) -> Result<(), SignalError> {
        if self.extents.is_empty() || self.extents.len() > MAX_AXES {
            return Err(SignalError::Axes(self.extents.len()));
        }
        for (axis, &extent) in self.extents.iter().enumerate() {
            if extent == 0 || extent > MAX_EXTENT {
                return Err(SignalError::Extent { axis, extent });
            }
        }
        if self.channels == 0 || self.channels > MAX_CHANNELS {
            return Err(SignalError::Channels(self.channels));
        }
        let color_axes = if matches!(self.media, Media::Video(_)) { 3 } else { 2 };
        if let Some(color) = self.color
            && (color.n_channels() != self.channels || self.extents.len() != color_axes)
        {
            return Err(SignalError::Color { color, channels: self.channels, axes: self.extents.len() });
        }
        if let Some(ValueRange { low, high }) = self.value_range {
            let (least, greatest) = self.sample_type.limits();
            // A constant at the end of its type reaches one past it. What is less than a normal number has no reciprocal.
            if !(low >= least
                && high <= greatest.max(greatest + 1.0)
                && (high - low) >= f64::MIN_POSITIVE
                && (high - low).is_finite())
            {
                return Err(SignalError::ValueRange { low, high, sample_type: self.sample_type });
            }
        } else if !matches!(self.sample_type, SampleType::U8 | SampleType::U16 | SampleType::F32) {
            return Err(SignalError::NoValueRange(self.sample_type));
        }
        self.media.validate(self)
    }

    /// What the network's scale is in stored values: [`Self::value_range`], or the type's default.
    #[must_use]
    pub fn scale(&self) -> ValueRange {
        self.value_range.unwrap_or(match self.sample_type {
            SampleType::U8 => ValueRange { low: 0.0, high: 255.0 },
            SampleType::U16 => ValueRange { low: 0.0, high: 65535.0 },
            _ => ValueRange { low: 0.0, high: 1.0 },
        })
    }

    /// The peak of the peak signal-to-noise ratio, in stored values: the type's whole range for pictures, films and
    /// plain arrays of 8 or 16 bits, the range from −full scale to full scale for sound (2 for floats), and the signal's own
    /// value range for everything else.
    #[must_use]
    pub fn peak(&self) -> f64 {
        match &self.media {
            Media::Audio(_) if self.sample_type.is_float() => 2.0,
            Media::Audio(audio) => f64::from(audio.bits_per_sample).exp2(),
            Media::Video(_) if self.sample_type == SampleType::U16 => 65535.0,
            Media::Video(_) => 255.0,
            _ => self.scale().span(),
        }
    }

    /// Copies `samples[start .. start + out.len()]` into `out`, scaled to the network's \[0, 1\] (floats without a value
    /// range as they are).
    ///
    /// # Panics
    /// When the range does not lie inside `samples`.
    pub fn scaled(&self, samples: &Samples, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        if self.value_range.is_none() {
            match samples {
                Samples::U8(v) => {
                    for (o, &x) in out.iter_mut().zip(&v[range]) {
                        *o = f32::from(x) * (1.0 / 255.0);
                    }
                    return;
                }
                Samples::U16(v) => {
                    for (o, &x) in out.iter_mut().zip(&v[range]) {
                        *o = f32::from(x) * (1.0 / 65535.0);
                    }
                    return;
                }
                Samples::F32(v) => {
                    out.copy_from_slice(&v[range]);
                    return;
                }
                _ => {}
            }
        }
        let scale = self.scale();
        let (low, gain) = (scale.low, 1.0 / scale.span());
        with_samples!(samples, v => {
            for (o, &x) in out.iter_mut().zip(&v[range]) {
                *o = ((f64::from(x) - low) * gain) as f32;
            }
        });
    }

    /// Network values to stored values, by [`Samples::from_network`]; floats without a value range stay as they are.
    #[must_use]
    pub fn restored(&self, values: &[f32]) -> Samples {
        if self.value_range.is_none() && self.sample_type == SampleType::F32 {
            return Samples::F32(values.to_vec());
        }
        Samples::from_network(values, self.sample_type, self.scale())
    }

    /// The same signal with another extent of the slowest axis.
    #[must_use]
    pub fn slices(&self, extent: usize) -> Self {
        let mut part = self.clone();
        part.extents[0] = extent;
        part
    }

    /// Values in one slice of the slowest axis.
    #[must_use]
    pub fn slice_values(&self) -> usize {
        self.extents[1..].iter().product::<usize>() * self.channels
    }
}

/// A number in a message: with an exponent where it would have many zeros.
pub(crate) fn shown<T: Copy + Into<f64> + fmt::Display + fmt::LowerExp>(number: &T) -> String {
    let magnitude: f64 = (*number).into().abs();
    if (1e-9..1e16).contains(&magnitude) || magnitude == 0.0 || !magnitude.is_finite() {
        return number.to_string();
    }
    format!("{number:e}")
}

/// Why something is not a signal.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SignalError {
    /// Too few or too many axes.
    #[error("a signal has 1 to {MAX_AXES} axes, not {0}")]
    Axes(usize),
    /// An extent of zero, or one past the limit.
    #[error("axis {axis} has extent {extent}; an extent is 1 to {MAX_EXTENT}")]
    Extent {
        /// Which axis, slowest is 0.
        axis: usize,
        /// The refused extent.
        extent: usize,
    },
    /// Too few or too many channels.
    #[error("a signal has 1 to {MAX_CHANNELS} channels, not {0}")]
    Channels(usize),
    /// A picture's colour type that disagrees with its shape.
    #[error("{color:?} pictures have 2 axes and {} channels, not {axes} axes and {channels} channels", color.n_channels())]
    Color {
        /// The colour type.
        color: ColorType,
        /// The channels it came with.
        channels: usize,
        /// The axes it came with.
        axes: usize,
    },
    /// A value range that is none, or that the sample type cannot hold.
    #[error(
        "the value range is {} to {}; it must rise, by a normal number, and lie within what {} holds",
        shown(low), shown(high), sample_type.name()
    )]
    ValueRange {
        /// Its low end.
        low: f64,
        /// Its high end.
        high: f64,
        /// The sample type.
        sample_type: SampleType,
    },
    /// A sample type without a default range came without one.
    #[error("values of type {} need a value range", .0.name())]
    NoValueRange(SampleType),
    /// Metadata that does not fit the grid.
    #[error("{kind}: {problem}")]
    Media {
        /// What the grid is a grid of.
        kind: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// The number of values differs from what the shape needs.
    #[error("extents {extents:?} with {channels} channels need {expected} values, not {actual}")]
    Length {
        /// The extents.
        extents: Vec<usize>,
        /// The channels.
        channels: usize,
        /// Values the shape needs.
        expected: u64,
        /// Values there are.
        actual: usize,
    },
    /// A NaN or an infinity among float samples.
    #[error("value {index} is {value}; every value must be finite")]
    NotFinite {
        /// Position in the flat array.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// A signal whose values can be read anywhere, scaled for the network: what a fit needs of one.
pub trait Source: Sync {
    /// The shape and meaning of the values.
    fn info(&self) -> &SignalInfo;

    /// Copies the values `start .. start + out.len()` of the flat array into `out`, scaled to the network's
    /// \[0, 1\].
    ///
    /// A source that cannot read gives zeros and tells why by [`Source::failure`]: reading happens in the middle of sums
    /// over all threads, which are then worth nothing anyway.
    ///
    /// # Panics
    /// When the range does not lie inside the signal.
    fn read_scaled(&self, start: u64, out: &mut [f32]);

    /// Why reading failed, if it ever did.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// A whole signal in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    info: SignalInfo,
    samples: Samples,
}

impl Signal {
    /// Puts a shape and values together.
    ///
    /// # Errors
    /// [`SignalError`] when the shape is refused, the number of values is not what it needs, or a float is not
    /// finite. (`info.sample_type` is set to the values' own type.)
    pub fn new(mut info: SignalInfo, samples: Samples) -> Result<Self, SignalError> {
        info.sample_type = samples.sample_type();
        info.validate()?;
        let expected = info.n_values().unwrap_or(u64::MAX);
        if samples.len() as u64 != expected {
            return Err(SignalError::Length {
                extents: info.extents,
                channels: info.channels,
                expected,
                actual: samples.len(),
            });
        }
        if let Some((index, value)) = samples.first_not_finite() {
            return Err(SignalError::NotFinite { index, value });
        }
        Ok(Self { info, samples })
    }

    /// The shape and meaning of the values.
    #[must_use]
    pub fn info(&self) -> &SignalInfo {
        &self.info
    }

    /// The values in their own type.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// The values in their own type, by move.
    #[must_use]
    pub fn into_samples(self) -> Samples {
        self.samples
    }
}

impl Source for Signal {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read_scaled(&self, start: u64, out: &mut [f32]) {
        // What is in memory is within usize.
        self.info.scaled(&self.samples, start as usize, out);
    }
}
