//! Values in their own type.

use crate::signal::{SampleType, ValueRange};

/// Values in their own type, row-major, channel last.
#[derive(Clone, Debug, PartialEq)]
pub enum Samples {
    /// 8-bit unsigned values.
    U8(Vec<u8>),
    /// 8-bit signed values.
    I8(Vec<i8>),
    /// 16-bit unsigned values.
    U16(Vec<u16>),
    /// 16-bit signed values.
    I16(Vec<i16>),
    /// 32-bit unsigned values.
    U32(Vec<u32>),
    /// 32-bit signed values.
    I32(Vec<i32>),
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
}

/// Evaluates an expression with `$values` bound to the typed vector (or slice) inside [`Samples`], whatever its type.
///
/// ```
/// use asmr::{signal::Samples, with_samples};
/// let samples = Samples::I16(vec![-3, 4]);
/// let sum: f64 = with_samples!(&samples, values => values.iter().map(|&v| f64::from(v)).sum());
/// assert_eq!(sum, 1.0);
/// ```
#[macro_export]
macro_rules! with_samples {
    ($samples:expr, $values:ident => $body:expr) => {{
        #[allow(
            clippy::useless_conversion,
            clippy::let_and_return,
            reason = "one of the types is f64 already"
        )]
        let result = match $samples {
            $crate::signal::Samples::U8($values) => $body,
            $crate::signal::Samples::I8($values) => $body,
            $crate::signal::Samples::U16($values) => $body,
            $crate::signal::Samples::I16($values) => $body,
            $crate::signal::Samples::U32($values) => $body,
            $crate::signal::Samples::I32($values) => $body,
            $crate::signal::Samples::F32($values) => $body,
            $crate::signal::Samples::F64($values) => $body,
        };
        result
    }};
}

impl Samples {
    /// No values, of a type.
    #[must_use]
    pub fn empty(sample_type: SampleType) -> Self {
        match sample_type {
            SampleType::U8 => Self::U8(Vec::new()),
            SampleType::I8 => Self::I8(Vec::new()),
            SampleType::U16 => Self::U16(Vec::new()),
            SampleType::I16 => Self::I16(Vec::new()),
            SampleType::U32 => Self::U32(Vec::new()),
            SampleType::I32 => Self::I32(Vec::new()),
            SampleType::F32 => Self::F32(Vec::new()),
            SampleType::F64 => Self::F64(Vec::new()),
        }
    }

    /// Values from their little-endian bytes.
    ///
    /// # Panics
    /// When the number of bytes is no multiple of a value's.
    #[must_use]
    pub fn from_le_bytes(sample_type: SampleType, bytes: &[u8]) -> Self {
        macro_rules! values {
            ($variant:ident, $type:ty) => {{
                let (chunks, rest) = bytes.as_chunks();
                assert!(rest.is_empty(), "whole values");
                Self::$variant(chunks.iter().map(|&b| <$type>::from_le_bytes(b)).collect())
            }};
        }
        match sample_type {
            SampleType::U8 => Self::U8(bytes.to_vec()),
            SampleType::I8 => values!(I8, i8),
            SampleType::U16 => values!(U16, u16),
            SampleType::I16 => values!(I16, i16),
            SampleType::U32 => values!(U32, u32),
            SampleType::I32 => values!(I32, i32),
            SampleType::F32 => values!(F32, f32),
            SampleType::F64 => values!(F64, f64),
        }
    }

    /// The values' little-endian bytes.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Self::U8(v) => v.clone(),
            Self::I8(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::U32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::I32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        with_samples!(self, v => v.len())
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
            Self::I8(_) => SampleType::I8,
            Self::U16(_) => SampleType::U16,
            Self::I16(_) => SampleType::I16,
            Self::U32(_) => SampleType::U32,
            Self::I32(_) => SampleType::I32,
            Self::F32(_) => SampleType::F32,
            Self::F64(_) => SampleType::F64,
        }
    }

    /// Some of the values.
    ///
    /// # Panics
    /// When the range does not lie inside.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::U8(v) => Self::U8(v[range].to_vec()),
            Self::I8(v) => Self::I8(v[range].to_vec()),
            Self::U16(v) => Self::U16(v[range].to_vec()),
            Self::I16(v) => Self::I16(v[range].to_vec()),
            Self::U32(v) => Self::U32(v[range].to_vec()),
            Self::I32(v) => Self::I32(v[range].to_vec()),
            Self::F32(v) => Self::F32(v[range].to_vec()),
            Self::F64(v) => Self::F64(v[range].to_vec()),
        }
    }

    /// Values as doubles, which hold all of every type.
    #[must_use]
    pub fn doubles(&self) -> Vec<f64> {
        with_samples!(self, v => v.iter().map(|&x| f64::from(x)).collect())
    }

    /// Whole numbers as such; `None` for floats.
    #[must_use]
    pub fn whole_numbers(&self) -> Option<Vec<i64>> {
        // A double holds every whole number of 32 bits.
        let numbers = || with_samples!(self, v => v.iter().map(|&x| f64::from(x) as i64).collect());
        (!self.sample_type().is_float()).then(numbers)
    }

    /// Floats of a type from doubles, each rounded to the nearest.
    ///
    /// # Panics
    /// When the type is one of whole numbers.
    #[must_use]
    pub fn from_floats(sample_type: SampleType, values: Vec<f64>) -> Self {
        match sample_type {
            SampleType::F32 => Self::F32(values.into_iter().map(|x| x as f32).collect()),
            SampleType::F64 => Self::F64(values),
            other => panic!("floats, not {other:?}"),
        }
    }

    /// Values of a type from whole numbers, those outside its range as the nearest inside.
    #[must_use]
    pub fn from_whole_numbers(sample_type: SampleType, numbers: &[i64]) -> Self {
        macro_rules! whole {
            ($variant:ident, $type:ty) => {{
                let (low, high) = (i64::from(<$type>::MIN), i64::from(<$type>::MAX));
                Self::$variant(numbers.iter().map(|&x| x.clamp(low, high) as $type).collect())
            }};
        }
        match sample_type {
            SampleType::U8 => whole!(U8, u8),
            SampleType::I8 => whole!(I8, i8),
            SampleType::U16 => whole!(U16, u16),
            SampleType::I16 => whole!(I16, i16),
            SampleType::U32 => whole!(U32, u32),
            SampleType::I32 => whole!(I32, i32),
            SampleType::F32 => Self::F32(numbers.iter().map(|&x| x as f32).collect()),
            SampleType::F64 => Self::F64(numbers.iter().map(|&x| x as f64).collect()),
        }
    }

    /// The first value that is not finite, with its position.
    #[must_use]
    pub fn first_not_finite(&self) -> Option<(usize, f64)> {
        match self {
            Self::F32(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, f64::from(v[i]))),
            Self::F64(v) => v.iter().position(|x| !x.is_finite()).map(|i| (i, v[i])),
            _ => None,
        }
    }

    /// The least and the greatest value; `None` if there are none or one is NaN.
    #[must_use]
    pub fn min_max(&self) -> Option<(f64, f64)> {
        let (low, high) = with_samples!(self, v => v.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| {
            let x = f64::from(x);
            // NaN makes both NaN, and keeps them so.
            (if x < low || x.is_nan() { x } else { low }, if x > high || x.is_nan() { x } else { high })
        }));
        (low <= high).then_some((low, high))
    }

    /// Network values to stored values: clamped to the range, whole numbers rounded to the nearest (halves to even). NaN
    /// counts as the range's low end.
    #[must_use]
    pub fn from_network(values: &[f32], sample_type: SampleType, range: ValueRange) -> Self {
        #[allow(clippy::manual_clamp, reason = "clamp keeps NaN")]
        let restore = |v: f32| f64::from(v.max(0.0).min(1.0)).mul_add(range.span(), range.low());
        macro_rules! whole {
            ($variant:ident, $type:ty) => {
                // A cast saturates: the range's high end may be one past the type's.
                Self::$variant(values.iter().map(|&v| restore(v).round_ties_even() as $type).collect())
            };
        }
        match sample_type {
            SampleType::U8 => whole!(U8, u8),
            SampleType::I8 => whole!(I8, i8),
            SampleType::U16 => whole!(U16, u16),
            SampleType::I16 => whole!(I16, i16),
            SampleType::U32 => whole!(U32, u32),
            SampleType::I32 => whole!(I32, i32),
            SampleType::F32 => Self::F32(values.iter().map(|&v| restore(v) as f32).collect()),
            SampleType::F64 => Self::F64(values.iter().map(|&v| restore(v)).collect()),
        }
    }
}
