//! Corrections of decoded values: what is left between the original and what the network gives, entropy-coded.
//!
//! With corrections no value of the decoded signal is off by more than a bound E ([`MaxError`]); of whole numbers, with E = 0, it is the
//! original. Floating-point numbers are corrected by multiples of a unit of about 2E, which are coded as whole numbers are with a
//! bound of 0.
//! What the network gives must be the same on every machine then: it is decoded by [`crate::exact`].
//!
//! A residual r is predicted by those beside and above it (the median edge detector of JPEG-LS; Weinberger, Seroussi and Sapiro,
//! "The LOCO-I lossless image compression algorithm", 2000), on one axis by the line through the two before it, and the prediction's error is rounded to a multiple of 2E + 1. The
//! multiples are coded by decisions as weights are ([`crate::coding`]), with contexts of the magnitudes beside, above and in the
//! channel before. Slices of the slowest axis are coded together in slabs of about [`SLAB_VALUES`] values, each by itself, so that
//! a region is decoded without what is far from it. The bytes are specified in docs/FORMAT.md.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::coding::{Coder, CodingError, NumberModel, decode_decisions, encode_decisions, number, zeros};
use crate::signal::{SampleType, SignalInfo, shown};

/// Values of a slab, if a slice is not larger.
pub const SLAB_VALUES: usize = 1 << 17;
/// The most bits of a coded magnitude: a difference of predictions of 32-bit numbers has 34.
const LONGEST: usize = 35;
/// The least magnitude that no correction has.
const MAX_CORRECTION: u64 = 1 << 40;
/// Contexts of magnitudes: by the number of bits of their sum, at most this less one.
const N_CONTEXTS: usize = 14;

/// How near decoded values are to their originals: a bound on their difference, in the signal's own units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxError {
    /// Of whole numbers; 0 for the originals themselves.
    Whole(u32),
    /// Of floating-point numbers: finite and above 0.
    Real(f64),
}

impl MaxError {
    /// The bound of coded numbers: of whole numbers, corrections are numbers of the signal's units; of others, of [`Self::unit`]s.
    #[must_use]
    pub fn coded(self) -> u64 {
        match self {
            Self::Whole(bound) => bound.into(),
            Self::Real(_) => 0,
        }
    }

    /// What corrections are multiples of: 1 of whole numbers; of others twice the bound, less a part in 1024 for rounding.
    #[must_use]
    pub fn unit(self) -> f64 {
        match self {
            Self::Whole(_) => 1.0,
            Self::Real(bound) => 2.0 * bound * (1023.0 / 1024.0),
        }
    }

    /// A floating-point value ([`crate::exact::ExactDecoder::values`]) with its correction, within the signal's value range if it has
    /// one; to be rounded to the signal's type.
    #[must_use]
    pub fn corrected(self, value: f64, correction: i64, info: &SignalInfo) -> f64 {
        let value = value + correction as f64 * self.unit();
        info.value_range.map_or(value, |range| value.clamp(range.low(), range.high()))
    }

    /// Whether it suits the type of values, and is within its range.
    #[must_use]
    pub fn suits(self, sample_type: SampleType) -> bool {
        match self {
            Self::Whole(_) => !sample_type.is_float(),
            Self::Real(bound) => sample_type.is_float() && bound > 0.0 && self.unit().is_normal(),
        }
    }
}

impl fmt::Display for MaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bound) => bound.fmt(f),
            Self::Real(bound) => f.write_str(&shown(bound)),
        }
    }
}

/// Slices of the slowest axis in a slab; the last may have fewer.
#[must_use]
pub fn slab_slices(info: &SignalInfo) -> usize {
    // Whatever a header says: a slice may have more values than there are numbers.
    let inner = info.extents[1..].iter().map(|&extent| extent as u128).product::<u128>();
    (SLAB_VALUES as u128 / inner.saturating_mul(info.channels as u128).max(1)).max(1) as usize
}

/// Shape of a slab's values for its coder: rows, samples of a row, channels. A sample's neighbours are the one before it in its
/// row and that of the row above; sound is one row.
fn shape(info: &SignalInfo, n_slices: usize) -> [usize; 3] {
    let inner = &info.extents[1..];
    match inner.split_last() {
        None => [1, n_slices, info.channels],
        Some((&row, rows)) => [n_slices * rows.iter().product::<usize>(), row, info.channels],
    }
}

/// Rows of a slice: prediction from above does not cross from one to the next, but for pictures, whose slices are rows.
fn rows_together(info: &SignalInfo) -> usize {
    match info.extents.len() {
        1 | 2 => usize::MAX,
        n => info.extents[1..n - 1].iter().product(),
    }
}

/// Codes a slab of residuals so that none is off by more than `max_error`. Residuals of magnitudes up to 2^32, all that 32-bit numbers
/// can need, always have a code.
///
/// # Panics
/// When there are not as many residuals as `n_slices` have values, `max_error` is 2^32 or more, and when there is no code: for a
/// residual of a magnitude of 2^40 or more, and one whose difference from what is predicted has more than 35 bits.
#[must_use]
pub fn encode(info: &SignalInfo, n_slices: usize, residuals: &[i64], max_error: u64) -> Vec<u8> {
    assert_eq!(residuals.len(), n_slices * info.slice_values(), "whole slices");
    assert!(u32::try_from(max_error).is_ok(), "a bound of 32 bits");
    assert!(residuals.iter().all(|r| r.unsigned_abs() < MAX_CORRECTION), "residuals are in range");
    let mut values = residuals.to_vec();
    let length = row_length(info, n_slices);
    let rows = [vec![0; length], vec![0; length]];
    let mut done = Ok(());
    let bytes = encode_decisions(|coder| {
        done = code(coder, info, n_slices, max_error, &mut values, rows);
        done
    });
    // A number that is too long was coded as another.
    let is_kept = residuals.iter().zip(&values).all(|(r, c)| r.abs_diff(*c) <= max_error);
    assert!(done.is_ok() && is_kept, "differences from what is predicted are in range");
    bytes
}

/// Decodes a slab: corrections to be added to what the network gives.
///
/// # Errors
/// [`CodingError`] for bytes that nothing is coded as, and where there is no memory for a slab.
pub fn decode(
    info: &SignalInfo,
    n_slices: usize,
    bytes: &[u8],
    max_error: u64,
) -> Result<Vec<i64>, CodingError> {
    let mut values = zeros(n_slices * info.slice_values())?;
    let length = row_length(info, n_slices);
    let rows = [zeros(length)?, zeros(length)?];
    decode_decisions(bytes, |coder| code(coder, info, n_slices, max_error, &mut values, rows))?;
    Ok(values)
}

/// Values of a row, which may be a whole slice or slab.
fn row_length(info: &SignalInfo, n_slices: usize) -> usize {
    let [_, n_samples, channels] = shape(info, n_slices);
    n_samples * channels
}

/// Either direction: an encoder is given residuals, a decoder ignores them; both leave corrections. Magnitudes of what was coded in
/// the row above and in this one are 0 at first.
fn code(
    coder: &mut impl Coder,
    info: &SignalInfo,
    n_slices: usize,
    max_error: u64,
    values: &mut [i64],
    [mut above, mut here]: [Vec<u64>; 2],
) -> Result<(), CodingError> {
    let [n_rows, n_samples, channels] = shape(info, n_slices);
    let together = rows_together(info);
    let (bound, step) = (max_error as i64, 2 * max_error as i64 + 1);
    let mut models: Vec<NumberModel<LONGEST>> = vec![NumberModel::new(); 2 * N_CONTEXTS];
    let (length, is_sound) = (n_samples * channels, info.extents.len() == 1);
    for row in 0..n_rows {
        let has_above = row % together > 0;
        if !has_above {
            above.fill(0);
        }
        for i in 0..length {
            let at = row * length + i;
            let (sample, channel) = (i / channels, i % channels);
            let left = if sample > 0 { values[at - channels] } else { 0 };
            let predicted = if is_sound {
                // The line through the two before it.
                if sample > 1 { 2 * left - values[at - 2 * channels] } else { left }
            } else if has_above && sample > 0 {
                median(left, values[at - length], values[at - length - channels])
            } else if has_above {
                values[at - length]
            } else {
                left
            };
            let beside = if sample > 0 { here[i - channels] } else { 0 };
            let before = if channel > 0 { here[i - 1] } else { 0 };
            let sum = beside.saturating_add(above[i]).saturating_add(before.saturating_mul(2));
            let context = (u64::BITS - sum.leading_zeros()) as usize;
            let model = &mut models[(channel.min(1) * N_CONTEXTS) + context.min(N_CONTEXTS - 1)];
            let error = values[at].wrapping_sub(predicted);
            // To the nearest multiple: it is within the bound.
            let wanted = error.signum() * ((error.abs() + bound) / step);
            let q = number(coder, model, wanted)?;
            here[i] = q.unsigned_abs();
            values[at] = q
                .checked_mul(step)
                .and_then(|error| predicted.checked_add(error))
                .filter(|value| value.unsigned_abs() < MAX_CORRECTION)
                .ok_or(CodingError::Invalid)?;
        }
        std::mem::swap(&mut above, &mut here);
    }
    Ok(())
}

/// The median of the left, the upper and the plane through all three neighbours.
fn median(left: i64, up: i64, corner: i64) -> i64 {
    let (low, high) = (left.min(up), left.max(up));
    (left + up - corner).clamp(low, high)
}
