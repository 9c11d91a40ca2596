//! Films out through the system's `ffmpeg`, by a pipe.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ChildStdin;
use std::time::Duration;

use asmr::signal::{ColorType, SignalInfo};

use crate::error::MediaError;
use crate::ffmpeg::{Complaints, Flow, Process, file_argument, pass_through, version, words};
use crate::video_read::unusable;
use crate::write::Pending;

/// A format that `ffmpeg` writes.
#[derive(Debug)]
pub(crate) struct Container {
    /// The extension, which is also what messages call it.
    pub(crate) extension: &'static str,
    /// What `ffmpeg` calls it.
    muxer: &'static str,
    encoder: &'static [&'static str],
}

const X264: &[&str] = &["-c:v", "libx264", "-crf", "12"];

/// The formats that are written.
pub(crate) const CONTAINERS: [Container; 5] = [
    Container {
        extension: "mp4",
        muxer: "mp4",
        encoder: &["-c:v", "libx264", "-crf", "12", "-movflags", "+faststart"],
    },
    Container {
        extension: "mov",
        muxer: "mov",
        encoder: &["-c:v", "libx264", "-crf", "12", "-movflags", "+faststart"],
    },
    Container { extension: "mkv", muxer: "matroska", encoder: X264 },
    // H.264 has no place in WebM.
    Container {
        extension: "webm",
        muxer: "webm",
        encoder: &["-c:v", "libvpx-vp9", "-crf", "12", "-b:v", "0", "-row-mt", "1", "-cpu-used", "4"],
    },
    // AVI has no times of its own to show frames in another order than they are stored in.
    Container { extension: "avi", muxer: "avi", encoder: &["-c:v", "libx264", "-crf", "12", "-bf", "0"] },
];

/// A film in the making, by `ffmpeg`.
pub(crate) struct FfmpegWriter {
    // Before the file, so that nothing writes into it when it is removed.
    process: Process,
    stdin: Option<ChildStdin>,
    pending: Pending,
}

impl FfmpegWriter {
    /// Starts `ffmpeg` on a temporary file, for a film of 8-bit grey or RGB.
    pub(crate) fn create(
        path: &Path,
        container: &Container,
        info: &SignalInfo,
        rate: [u32; 2],
    ) -> Result<Self, MediaError> {
        let version = version(path)?;
        let cannot_write = |error| MediaError::Write { path: path.to_path_buf(), error };
        let pending = Pending::begin(path).map_err(cannot_write)?;
        let Pending::File { writer, .. } = &pending else {
            return Err(unusable(
                path,
                format!(
                    "a .{} film cannot go into a pipe or a device; write it as .y4m",
                    container.extension
                ),
            ));
        };
        let (height, width) = (info.extents[1], info.extents[2]);
        let is_gray = info.color == Some(ColorType::Gray);
        // Chroma at half the size needs even sides.
        let is_even = width % 2 == 0 && height % 2 == 0;
        let mut arguments = words(&["-v", "error", "-y", "-f", "rawvideo"]);
        arguments.extend(words(&["-pix_fmt", if is_gray { "gray" } else { "rgb24" }]));
        arguments.extend(words(&["-video_size", &format!("{width}x{height}")]));
        arguments.extend(words(&["-framerate", &format!("{}/{}", rate[0], rate[1]), "-i", "pipe:0"]));
        arguments.extend(words(&pass_through(version)));
        // The matrix is what is said in the file too: players guess another one for large pictures.
        arguments.extend(words(&[
            "-vf",
            "scale=out_color_matrix=bt601:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int",
            "-colorspace",
            "smpte170m",
            "-color_range",
            "tv",
            "-pix_fmt",
            if is_even { "yuv420p" } else { "yuv444p" },
        ]));
        arguments.extend(words(container.encoder));
        arguments.extend(words(&["-f", container.muxer]));
        arguments.push(file_argument(writer.get_ref().path()));
        let mut process = Process::start(path, "ffmpeg", &arguments, Flow::In)?;
        let stdin = process.child.stdin.take();
        Ok(Self { process, stdin, pending })
    }

    /// Appends whole frames.
    pub(crate) fn write(&mut self, values: &[u8]) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let result = stdin.write_all(values);
        if result.is_err() {
            // It ended by itself, so it has something to say.
            self.stdin = None;
            self.process.child.wait()?;
            let complaints = self.process.complaints.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
            return Err(stopped(&complaints));
        }
        result
    }

    /// Completes the file.
    pub(crate) fn finish(self) -> io::Result<()> {
        let Self { process, stdin, pending } = self;
        drop(stdin);
        let (status, complaints) = process.finish()?;
        if !status.success() {
            return Err(stopped(&complaints));
        }
        if let Pending::File { writer, .. } = &pending
            && writer.get_ref().as_file().metadata()?.len() == 0
        {
            return Err(io::Error::other("ffmpeg stopped: it wrote nothing"));
        }
        pending.commit()
    }
}

fn stopped(complaints: &Complaints) -> io::Error {
    io::Error::other(format!(
        "ffmpeg stopped: {}",
        complaints.last.as_deref().unwrap_or("it does not say why")
    ))
}
