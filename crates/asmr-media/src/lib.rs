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
//! * [`read_mesh`] and [`write_mesh`] read and write triangle meshes, [`voxelise()`] makes a grid of one, [`surface()`] a mesh
//!   of a grid; [`iou`] and [`compare_meshes`] compare shapes.
//! * [`mse`], [`psnr_db`], [`ssim`] and [`max_abs_error`] compare two signals of one shape.
//!
//! Every failure is a [`MediaError`] or [`MetricError`]: one sentence with the path, the actual value, what is
//! accepted and what to do. [`MediaError::is_write_failure`] separates "the disk failed" from "bad input".
#![forbid(unsafe_code)]

mod complete;
mod error;
mod image_read;
mod image_write;
mod mesh;
mod mesh_metrics;
mod mesh_read;
mod metrics;
mod npy;
mod stream;
mod surface;
mod triangles;
mod voxelise;
mod winding;
mod write;

pub use error::MediaError;
pub use image_read::{Limits, read_image, read_image_from};
pub use image_write::{JPEG_QUALITY, PictureFormat, check_writable, write_image};
pub use mesh::{EdgeCounts, Mesh, MeshFormat, write_mesh};
pub use mesh_metrics::{MeshScores, Overlap, compare_meshes, iou, overlap};
pub use mesh_read::{is_mesh, read_mesh};
pub use metrics::{
    MetricError, largest_difference, max_abs_error, mse, psnr_db, psnr_db_of_mse, squared_error, ssim,
};
pub use npy::write_npy;
pub use stream::{MemoryReader, SliceReader, SliceWriter};
pub use surface::{SURFACE_LEVEL, surface};
pub use voxelise::{ShapeNotes, ShapeOptions, ShapeReader, voxelise};
pub use winding::winding_number;
pub use write::write_atomically;
