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
//! * [`write_atomically`] is for every other file a program makes: the file is there whole, or not at all.
//! * [`open_audio`] reads a recording (WAV, FLAC, MP3, Ogg Vorbis) or a part of one, slice by slice; [`create_audio`]
//!   writes WAV and FLAC; [`AudioComparison`] compares two as they go by. [`is_audio`] tells sound from anything else.
//! * [`mse`], [`psnr_db`], [`ssim`] and [`max_abs_error`] compare two signals of one shape.
//!
//! Every failure is a [`MediaError`] or [`MetricError`]: one sentence with the path, the actual value, what is
//! accepted and what to do. [`MediaError::is_write_failure`] separates "the disk failed" from "bad input".
#![forbid(unsafe_code)]

mod audio_metrics;
mod audio_packets;
mod audio_read;
mod audio_sniff;
mod audio_vorbis;
mod audio_wav;
mod audio_write;
mod complete;
mod error;
mod image_read;
mod image_write;
mod metrics;
mod npy;
mod stream;
mod write;

pub use audio_metrics::{AudioComparison, AudioScores};
pub use audio_read::{AudioPart, AudioReader, open_audio, open_audio_frames};
pub use audio_sniff::is_audio;
pub use audio_write::create_audio;
pub use error::MediaError;
pub use image_read::{Limits, read_image, read_image_from};
pub use image_write::{JPEG_QUALITY, PictureFormat, check_writable, write_image};
pub use metrics::{
    MetricError, largest_difference, max_abs_error, mse, psnr_db, psnr_db_of_mse, squared_error, ssim,
};
pub use npy::write_npy;
pub use stream::{MemoryReader, SliceReader, SliceWriter};
pub use write::write_atomically;
