//! Films out: Y4M, folders of PNG frames, and what `ffmpeg` writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use asmr::metadata::Media;
use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};

use crate::error::MediaError;
use crate::ffmpeg_write::{CONTAINERS, Container, FfmpegWriter};
use crate::image_write::{check_writable, png_bytes};
use crate::stream::SliceWriter;
use crate::video_read::unusable;
use crate::write::PendingFolder;
use crate::y4m::Y4mWriter;

/// How a film is stored.
#[derive(Clone, Copy)]
enum Format {
    Y4m,
    Container(&'static Container),
    Folder,
}

/// Whether [`create_video`] could write a film of this kind to this path: name, kind and extents are checked; whether
/// there is room and whether `ffmpeg` is installed is not.
///
/// # Errors
/// As [`create_video`].
pub fn check_video_writable(path: &Path, info: &SignalInfo) -> Result<(), MediaError> {
    plan(path, info).map(|_| ())
}

/// Begins a film. The path's extension names the format:
///
/// | path | holds | stored as |
/// |---|---|---|
/// | `.y4m` | 8-bit grey, RGB | Y4M: grey exactly; RGB as YCbCr 4:4:4 of 8 bits (BT.601, limited range), which costs a colour up to 2 of 255 |
/// | `.mp4`, `.mov`, `.mkv`, `.avi` | 8-bit grey, RGB | H.264 by the system's `ffmpeg` (libx264, CRF 12), lossy |
/// | `.webm` | 8-bit grey, RGB | VP9 by the system's `ffmpeg` (libvpx-vp9, CRF 12), lossy |
/// | ends in `/`, has no extension, or is an empty folder | 8 or 16 bits, grey or RGB, with or without alpha | a folder of PNG pictures `00000.png`, `00001.png`, …: exact, but without the frame rate |
///
/// What `ffmpeg` writes has chroma at half the size where both sides are even (4:2:0, which every player shows), and at
/// full size otherwise (4:4:4). Grey films get neutral chroma there, so that they are read back as RGB.
///
/// The film appears under its name when [`SliceWriter::finish`] returns, which takes all frames that `info` counts.
///
/// # Errors
/// [`MediaError::Unusable`] for a name of no format, a folder with something in it, a signal that is no film, or when
/// `ffmpeg` is missing; [`MediaError::CannotHold`]; [`MediaError::Write`].
pub fn create_video(path: &Path, info: &SignalInfo) -> Result<Box<dyn SliceWriter>, MediaError> {
    let (format, rate) = plan(path, info)?;
    let failed = |error| cannot_write(path, error);
    let sink = match format {
        Format::Y4m => Sink::Y4m(Y4mWriter::create(path, info, rate).map_err(failed)?),
        Format::Container(container) => Sink::Ffmpeg(FfmpegWriter::create(path, container, info, rate)?),
        Format::Folder => Sink::Folder(PendingFolder::begin(path).map_err(failed)?),
    };
    Ok(Box::new(FilmWriter { path: path.to_path_buf(), info: info.clone(), sink, n_written: 0 }))
}

fn plan(path: &Path, info: &SignalInfo) -> Result<(Format, [u32; 2]), MediaError> {
    let Media::Video(video) = &info.media else {
        return Err(unusable(
            path,
            format!("a {} signal is no film; write it in a format of its own", info.media.name()),
        ));
    };
    info.validate().map_err(|error| unusable(path, error.to_string()))?;
    let format = format_of(path)?;
    let color = info.color.unwrap_or(ColorType::Rgb);
    if let Format::Folder = format {
        // The frames' format has limits of its own.
        check_writable(&path.join(frame_name(0)), &frame_info(info))?;
        return Ok((format, video.rate));
    }
    if info.sample_type == SampleType::U8 && matches!(color, ColorType::Gray | ColorType::Rgb) {
        return Ok((format, video.rate));
    }
    let name = match color {
        ColorType::Gray => "grey",
        ColorType::GrayAlpha => "grey+alpha",
        ColorType::Rgb => "RGB",
        ColorType::Rgba => "RGBA",
    };
    Err(MediaError::CannotHold {
        path: path.to_path_buf(),
        format: match format {
            Format::Container(container) => container.extension,
            _ => "Y4M",
        },
        actual: format!("{}-bit {name}", info.sample_type.n_bytes() * 8),
        accepted: "8-bit grey, 8-bit RGB".to_owned(),
        remedy: "write it as a folder of PNG pictures, by a name that ends in /".to_owned(),
    })
}

fn format_of(path: &Path) -> Result<Format, MediaError> {
    let ends_in_separator = path
        .as_os_str()
        .as_encoded_bytes()
        .last()
        .is_some_and(|&byte| std::path::is_separator(char::from(byte)));
    let metadata = fs::metadata(path).ok();
    let is_folder = metadata.as_ref().is_some_and(fs::Metadata::is_dir);
    if ends_in_separator || is_folder || path.extension().is_none() {
        if metadata.is_some() && !is_folder {
            return Err(unusable(
                path,
                "it is a file, and its name has no film's extension; give a name that ends in .y4m or .mp4, or that of a \
                 new folder"
                    .to_owned(),
            ));
        }
        let is_empty = |mut entries: fs::ReadDir| entries.next().is_none();
        if is_folder && !fs::read_dir(path).is_ok_and(is_empty) {
            return Err(unusable(
                path,
                "the folder is not empty; give the name of a new folder, or empty it first".to_owned(),
            ));
        }
        return Ok(Format::Folder);
    }
    let extension = path.extension().unwrap_or_default();
    if extension.eq_ignore_ascii_case("y4m") {
        return Ok(Format::Y4m);
    }
    let container = CONTAINERS.iter().find(|container| extension.eq_ignore_ascii_case(container.extension));
    container.map(Format::Container).ok_or_else(|| {
        let known: Vec<_> = CONTAINERS.iter().map(|container| container.extension).collect();
        unusable(
            path,
            format!(
                ".{} is no format that films are written in; accepted are .y4m, .{}, and a folder of PNG pictures (a name \
                 that ends in /)",
                extension.display(),
                known.join(", .")
            ),
        )
    })
}

fn frame_name(frame: u64) -> String {
    format!("{frame:05}.png")
}

/// One frame as a picture.
fn frame_info(info: &SignalInfo) -> SignalInfo {
    SignalInfo::plain(info.extents[1..].to_vec(), info.channels, info.sample_type, info.color)
}

enum Sink {
    Y4m(Y4mWriter),
    Ffmpeg(FfmpegWriter),
    Folder(PendingFolder),
}

/// A film in the making.
struct FilmWriter {
    path: PathBuf,
    info: SignalInfo,
    sink: Sink,
    n_written: u64,
}

fn cannot_write(path: &Path, error: io::Error) -> MediaError {
    MediaError::Write { path: path.to_path_buf(), error }
}

impl SliceWriter for FilmWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        let n_values = self.info.slice_values();
        let n_frames = (samples.len() / n_values) as u64;
        let n_left = self.info.extents[0] as u64 - self.n_written;
        if samples.sample_type() != self.info.sample_type
            || !samples.len().is_multiple_of(n_values)
            || n_frames > n_left
        {
            let problem = format!(
                "{} values of type {} came where up to {n_left} frames of {n_values} values of type {} should",
                samples.len(),
                samples.sample_type().name(),
                self.info.sample_type.name()
            );
            return Err(cannot_write(&self.path, io::Error::new(io::ErrorKind::InvalidInput, problem)));
        }
        let result = match (&mut self.sink, samples) {
            (Sink::Y4m(writer), Samples::U8(values)) => writer.write(values),
            (Sink::Ffmpeg(writer), Samples::U8(values)) => writer.write(values),
            (Sink::Folder(folder), _) => {
                let info = frame_info(&self.info);
                for (i, start) in (0..samples.len()).step_by(n_values).enumerate() {
                    let frame = Signal::new(info.clone(), samples.slice(start..start + n_values))
                        .map_err(|error| unusable(&self.path, error.to_string()))?;
                    let name = frame_name(self.n_written + i as u64);
                    let bytes = png_bytes(&self.path.join(&name), &frame)?;
                    folder
                        .write(Path::new(&name), &bytes)
                        .map_err(|error| cannot_write(&self.path, error))?;
                }
                Ok(())
            }
            _ => unreachable!("only 8 bits are planned for"),
        };
        result.map_err(|error| cannot_write(&self.path, error))?;
        self.n_written += n_frames;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), MediaError> {
        let Self { path, info, sink, n_written } = *self;
        if n_written != info.extents[0] as u64 {
            return Err(cannot_write(
                &path,
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    format!("{n_written} of its {} frames were given", info.extents[0]),
                ),
            ));
        }
        match sink {
            Sink::Y4m(writer) => writer.finish(),
            Sink::Ffmpeg(writer) => writer.finish(),
            Sink::Folder(folder) => folder.commit(),
        }
        .map_err(|error| cannot_write(&path, error))
    }
}
