//! Signals in and out of files, and how close one signal is to another.
//!
//! When to use what:
//!
//! * [`read_image`] turns a picture file into a [`Signal`](asmr::signal::Signal), in the file's own sample type and
//!   channel count. It recognises the format from the content, applies the EXIF orientation, and stays inside
//!   [`Limits`]. [`read_image_from`] does the same from anything that can be read and sought (bytes in memory).
//! * [`check_writable`] says, before any long computation, whether a path's format can hold a signal;
//!   [`write_image`] writes it. Nothing is ever dropped or rounded to make a signal fit.
//! * [`write_npy`] writes any array of floats (volumes, audio, video, unclipped network outputs).
//! * [`open_volume`] reads NIfTI-1, `.npy`, `.npz`, Zarr and plain values slice by slice, [`create_volume`] writes them;
//!   [`resampled_volume`] keeps world coordinates right when a part is cut out.
//! * [`write_atomically`] is for every other file a program makes: the file is there whole, or not at all.
//! * [`mse`], [`psnr_db`], [`ssim`] and [`max_abs_error`] compare two signals of one shape.
//!
//! Every failure is a [`MediaError`] or [`MetricError`]: one sentence with the path, the actual value, what is
//! accepted and what to do. [`MediaError::is_write_failure`] separates "the disk failed" from "bad input".
#![forbid(unsafe_code)]

mod complete;
mod error;
mod image_read;
mod image_write;
mod linear;
mod linear_write;
mod metrics;
mod nifti;
mod npy;
mod npy_read;
mod raw;
mod stream;
mod volume;
mod write;
mod zarr;
mod zarr_codec;
mod zarr_write;

pub use error::MediaError;
pub use image_read::{Limits, read_image, read_image_from};
pub use image_write::{JPEG_QUALITY, PictureFormat, check_writable, write_image};
pub use metrics::{
    MetricError, largest_difference, max_abs_error, mse, psnr_db, psnr_db_of_mse, squared_error, ssim,
};
pub use npy::write_npy;
pub use stream::{MemoryReader, SliceReader, SliceWriter};
pub use volume::{VolumeOptions, create_volume, open_volume, resampled_volume, volume_kind};
pub use write::write_atomically;
