//! Arrays of floats as `NumPy` files.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use asmr::signal::Samples;
use ndarray::{ArrayViewD, IxDyn};
use ndarray_npy::{WriteNpyError, WriteNpyExt as _};

use crate::error::MediaError;
use crate::stream::SliceWriter;
use crate::write::{Pending, write_atomically};

/// Writes a `.npy` file: 32-bit floats of shape `[*extents, channels]`, row-major, in one pass without a copy.
///
/// `values` is row-major with the channel last, as everywhere in this project. The extension of `path` is not looked
/// at. The file is written by [`write_atomically`].
///
/// # Errors
/// [`MediaError::Length`] when `values` does not have `extents.product() * channels` entries, or
/// [`MediaError::Write`].
pub fn write_npy(path: &Path, extents: &[usize], channels: usize, values: &[f32]) -> Result<(), MediaError> {
    let mut shape = extents.to_vec();
    shape.push(channels);
    // Multiplied here first: the view's own error tells neither number.
    let expected = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    let view = ArrayViewD::from_shape(IxDyn(&shape), values).ok().filter(|_| expected == Some(values.len()));
    let Some(view) = view else {
        return Err(MediaError::Length {
            path: path.to_path_buf(),
            extents: extents.to_vec(),
            channels,
            expected: expected.map_or_else(|| "more than memory holds".to_string(), |n| n.to_string()),
            actual: values.len(),
        });
    };
    write_atomically(path, |writer| {
        view.write_npy(writer).map_err(|error| match error {
            WriteNpyError::Io(error) => error,
            other => io::Error::other(other),
        })
    })
}

/// [`write_npy`], slices at a time.
pub struct NpyWriter {
    path: PathBuf,
    pending: Pending,
    missing: u64,
}

impl NpyWriter {
    /// Begins a file of 32-bit floats of shape `[*extents, channels]`.
    ///
    /// # Errors
    /// [`MediaError::Write`].
    pub fn create(path: &Path, extents: &[usize], channels: usize) -> Result<Self, MediaError> {
        let mut shape = extents.to_vec();
        shape.push(channels);
        let begin = || {
            let mut pending = Pending::begin(path)?;
            pending.write_all(&npy_header("<f4", &shape))?;
            Ok(pending)
        };
        let pending = begin().map_err(|error| MediaError::Write { path: path.to_path_buf(), error })?;
        let missing = shape.iter().map(|&extent| extent as u64).product();
        Ok(Self { path: path.to_path_buf(), pending, missing })
    }
}

impl SliceWriter for NpyWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        let failed = |error| MediaError::Write { path: self.path.clone(), error };
        let Samples::F32(values) = samples else {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "values are 32-bit floats here")));
        };
        self.missing = self.missing.checked_sub(values.len() as u64).ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::InvalidInput, "there are more values than the shape has"))
        })?;
        for piece in values.chunks(1 << 14) {
            let bytes: Vec<u8> = piece.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.pending.write_all(&bytes).map_err(failed)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), MediaError> {
        let Self { path, pending, missing } = *self;
        let failed = |error| MediaError::Write { path: path.clone(), error };
        if missing > 0 {
            let problem = format!("{missing} values are missing");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, problem)));
        }
        pending.commit().map_err(failed)
    }
}

/// What stands before the values of a `.npy` file (version 1.0), in the words and with the padding that `NumPy` uses: the
/// same bytes as `numpy.save` writes.
pub(crate) fn npy_header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let mut extents = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if shape.len() == 1 {
        extents.push(',');
    }
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({extents}), }}");
    // Room for the first extent to grow to 21 digits, so that an array can be extended in place.
    let digits = shape.first().map_or(0, |extent| extent.to_string().len());
    text.push_str(&" ".repeat(21usize.saturating_sub(digits)));
    let n_start = 10;
    let length = ((n_start + text.len() + 1) / 64 + 1) * 64 - n_start;
    text.push_str(&" ".repeat(length - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((length as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}
