//! Signals in and out of files, and how close one signal is to another.
//!
//! When to use what:
//!
//! * [`read_image`] turns a picture file into a [`Signal`](asmr::signal::Signal), in the file's own sample type and
//!   channel count. It recognises the format from the content, applies the EXIF orientation, and stays inside
//!   [`Limits`]. [`read_image_from`] does the same from anything that can be read and sought (bytes in memory).
//! * [`check_writable`] says, before any long computation, whether a path's format can hold a signal;
//!   [`write_image`] writes it. Nothing is ever dropped or rounded to make a signal fit.
//! * [`open_picture`] and [`create_picture`] do the same row by row, for pictures that are too large for memory;
//!   [`hold`] keeps a signal for a fit, in memory or, as a [`Spool`], in a temporary file.
//! * [`is_video`] recognises films, [`open_video`] and [`create_video`] read and write them frame by frame, and
//!   [`VideoComparison`] compares two of them.
//! * [`write_npy`] writes any array of floats (volumes, audio, video, unclipped network outputs).
//! * [`open_volume`] reads NIfTI-1, `.npy`, `.npz`, Zarr and plain values slice by slice, [`create_volume`] writes them;
//!   [`resampled_volume`] keeps world coordinates right when a part is cut out.
//! * [`write_atomically`] is for every other file a program makes: the file is there whole, or not at all.
//! * [`read_mesh`] and [`write_mesh`] read and write triangle meshes, [`voxelise()`] makes a grid of one, [`surface()`] a mesh
//!   of a grid; [`iou`] and [`compare_meshes`] compare shapes.
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
mod compare;
mod complete;
mod error;
mod ffmpeg;
mod ffmpeg_write;
mod guard;
mod image_read;
mod image_write;
mod linear;
mod linear_write;
mod mesh;
mod mesh_metrics;
mod mesh_read;
mod metrics;
mod nifti;
mod npy;
mod npy_read;
mod open;
mod picture_folder;
mod picture_rows;
mod picture_rows_write;
mod raw;
mod spool;
mod stream;
mod surface;
mod tiles;
mod triangles;
mod unfinished;
mod video_metrics;
mod video_read;
mod video_write;
mod volume;
mod voxelise;
mod winding;
mod write;
mod y4m;
mod ycbcr;
mod zarr;
mod zarr_codec;
mod zarr_write;

pub use audio_metrics::{AudioComparison, AudioScores};
pub use audio_read::{AudioPart, AudioReader, open_audio, open_audio_frames};
pub use audio_sniff::is_audio;
pub use audio_write::create_audio;
pub use compare::{Comparison, Scores};
pub use error::MediaError;
pub use guard::is_guarded;
pub use image_read::{Limits, read_image, read_image_from};
pub use image_write::{JPEG_QUALITY, PictureFormat, check_writable, write_image};
pub use mesh::{EdgeCounts, Mesh, MeshFormat, write_mesh};
pub use mesh_metrics::{MeshScores, Overlap, compare_meshes, iou, overlap};
pub use mesh_read::{is_mesh, read_mesh};
pub use metrics::{
    MetricError, largest_difference, max_abs_error, mse, psnr_db, psnr_db_of_mse, squared_error, ssim,
};
pub use npy::{NpyWriter, write_npy};
pub use open::{Kind, Opened, ReadOptions, create_signal, open_signal, recognise, reopen_signal};
pub use picture_folder::PictureFolder;
pub use picture_rows::open_picture;
pub use picture_rows_write::create_picture;
pub use spool::{Held, Spool, hold};
pub use stream::{MemoryReader, SliceReader, SliceWriter};
pub use surface::{SURFACE_LEVEL, surface};
pub use tiles::tiles;
pub use unfinished::{Unfinished, remove_unfinished};
pub use video_metrics::{VideoComparison, VideoScores};
pub use video_read::{FrameRange, is_video, open_video};
pub use video_write::{check_video_writable, create_video};
pub use volume::{VolumeOptions, create_volume, open_volume, resampled_volume, value_scaling, volume_kind};
pub use voxelise::{ShapeNotes, ShapeOptions, ShapeReader, voxelise};
pub use winding::winding_number;
pub use write::{link_target, write_atomically, write_with_seek};
