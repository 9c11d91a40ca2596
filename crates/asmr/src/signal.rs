//! Signals: what is fitted and what a decode gives back.
//!
//! A signal is a regular grid of samples: 1 to 4 axes, slowest first (`[y, x]` for a picture), each with an
//! extent, and `channels` values per sample. Values are stored in their own type, row-major, channel last;
//! a network always sees them scaled to \[0, 1\].

use serde::{Deserialize, Serialize};
use thiserror::Error;

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
    /// 8-bit unsigned; 255 is the network's 1.0.
    U8,
    /// 16-bit unsigned; 65535 is the network's 1.0.
    U16,
    /// 32-bit float, unscaled: the network's own value.
    F32,
}

impl SampleType {
    /// Bytes of one value.
    #[must_use]
    pub fn n_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalInfo {
    /// Samples along each axis, slowest axis first; 1 to [`MAX_AXES`] entries of 1 to [`MAX_EXTENT`].
    pub extents: Vec<usize>,
    /// Values per sample, 1 to [`MAX_CHANNELS`].
    pub channels: usize,
    /// How values are stored.
    pub sample_type: SampleType,
    /// `Some` for a picture; `None` for a plain array.
    pub color: Option<ColorType>,
}

impl SignalInfo {
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
        if let Some(color) = self.color
            && (color.n_channels() != self.channels || self.extents.len() != 2)
        {
            return Err(SignalError::Color { color, channels: self.channels, axes: self.extents.len() });
        }
        Ok(())
    }
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
        value: f32,
    },
}

/// Values in their own type, row-major, channel last.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8-bit values.
    U8(Vec<u8>),
    /// 16-bit values.
    U16(Vec<u16>),
    /// Float values.
    F32(Vec<f32>),
}

impl Samples {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::U16(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// Whether there is no value at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the values.
    #[must_use]
    pub fn sample_type(&self) -> SampleType {
        match self {
            Self::U8(_) => SampleType::U8,
            Self::U16(_) => SampleType::U16,
            Self::F32(_) => SampleType::F32,
        }
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
        if let Samples::F32(values) = &samples
            && let Some(index) = values.iter().position(|v| !v.is_finite())
        {
            return Err(SignalError::NotFinite { index, value: values[index] });
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

    /// Copies the values `start .. start + out.len()` of the flat array into `out`, scaled to the network's
    /// \[0, 1\] (floats as they are).
    ///
    /// # Panics
    /// When the range does not lie inside the signal.
    pub fn read_scaled(&self, start: usize, out: &mut [f32]) {
        let range = start..start + out.len();
        match &self.samples {
            Samples::U8(v) => {
                for (o, &x) in out.iter_mut().zip(&v[range]) {
                    *o = f32::from(x) * (1.0 / 255.0);
                }
            }
            Samples::U16(v) => {
                for (o, &x) in out.iter_mut().zip(&v[range]) {
                    *o = f32::from(x) * (1.0 / 65535.0);
                }
            }
            Samples::F32(v) => out.copy_from_slice(&v[range]),
        }
    }
}
