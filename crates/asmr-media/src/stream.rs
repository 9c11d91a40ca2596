//! Signals piece by piece along their slowest axis, so that neither end needs the memory of the whole.
//!
//! A *slice* is one step along the slowest axis: a row of a picture, a frame of a film, the samples of one moment of a
//! recording, a slice of a volume.

use std::path::Path;

use asmr::signal::{Samples, SignalInfo};

use crate::error::MediaError;

/// A signal that is read from its beginning to its end.
pub trait SliceReader {
    /// The whole signal's shape and metadata; extents and value range are known before the first value is read.
    fn info(&self) -> &SignalInfo;

    /// The values of the next `n_slices` slices, in the signal's own type, all finite.
    ///
    /// # Errors
    /// [`MediaError`] when the file ends early, is damaged or holds a value that is not finite.
    ///
    /// # Panics
    /// When fewer than `n_slices` slices are left by [`Self::info`].
    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError>;
}

/// A signal that is written from its beginning to its end. Until [`SliceWriter::finish`] returns, the file of that name
/// is what it was before; dropping the writer leaves it so.
pub trait SliceWriter {
    /// Appends whole slices, in the type that the writer was made for.
    ///
    /// # Errors
    /// [`MediaError::Write`].
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError>;

    /// Completes the file.
    ///
    /// # Errors
    /// [`MediaError::Write`].
    fn finish(self: Box<Self>) -> Result<(), MediaError>;
}

/// A signal in memory as a [`SliceReader`].
#[derive(Debug)]
pub struct MemoryReader {
    info: SignalInfo,
    samples: Samples,
    at: usize,
}

impl MemoryReader {
    /// Reads what is there; the number of values must be what the shape needs.
    #[must_use]
    pub fn new(info: SignalInfo, samples: Samples) -> Self {
        Self { info, samples, at: 0 }
    }
}

impl SliceReader for MemoryReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let n = n_slices * self.info.slice_values();
        self.at += n;
        Ok(self.samples.slice(self.at - n..self.at))
    }
}

/// Refuses values that are not finite, naming the slice.
pub(crate) fn check_finite(
    path: &Path,
    samples: &Samples,
    first_slice: u64,
    slice_values: usize,
    slice: &str,
) -> Result<(), MediaError> {
    let Some((index, value)) = samples.first_not_finite() else { return Ok(()) };
    Err(MediaError::Unusable {
        path: path.to_path_buf(),
        problem: format!(
            "{slice} {} holds the value {value}; every value must be finite, so replace or cut it out first",
            first_slice + (index / slice_values.max(1)) as u64
        ),
    })
}
