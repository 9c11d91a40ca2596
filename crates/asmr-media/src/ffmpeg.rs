//! Films of every other format, through the system's `ffmpeg` and `ffprobe`, by pipes.
//!
//! Reading decodes a film twice: first to count frames and see their size, then for the values. Counting takes
//! `ffmpeg` too and not `ffprobe -count_frames`: it is as quick, it counts after rotation and by the same rules as the
//! second pass, and it shows where the size changes. Frames are passed through as they are, none doubled or left out to
//! meet a frame rate.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::stream::SliceReader;
use crate::video_read::{DEFAULT_RATE, FrameRange, check_frame_size, film_info, unusable};

/// What a film is called where its format is not known.
const FORMAT: &str = "film";
/// The longest line, and the longest answer of a short question, that is read.
const MAX_LINE: u64 = 4096;
const MAX_ANSWER: u64 = 1 << 16;
/// Nothing that a file names may be fetched from elsewhere.
const ONLY_FILES: [&str; 2] = ["-protocol_whitelist", "file"];

/// What a program said on its standard error.
#[derive(Default)]
pub(crate) struct Complaints {
    /// The last line that is not empty, or the one that says that the file is cut short.
    pub(crate) last: Option<String>,
    /// Whether it said that the file is cut short.
    is_cut: bool,
}

/// Where bytes flow between us and a program.
#[derive(Clone, Copy)]
pub(crate) enum Flow {
    /// Out of the program.
    Out,
    /// Into it.
    In,
}

/// A running program. Dropping it ends it.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) complaints: Receiver<Complaints>,
}

impl Process {
    pub(crate) fn start(
        path: &Path,
        program: &str,
        arguments: &[OsString],
        flow: Flow,
    ) -> Result<Self, MediaError> {
        let (stdin, stdout) = match flow {
            Flow::Out => (Stdio::null(), Stdio::piped()),
            Flow::In => (Stdio::piped(), Stdio::null()),
        };
        let mut command = Command::new(program);
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        #[cfg(unix)]
        {
            // Ctrl-C is for this program, which may want to end its work in order.
            use std::os::unix::process::CommandExt as _;
            command.process_group(0);
        }
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unusable(path, missing(program)),
            _ => unusable(path, format!("the program {program} cannot be started: {error}")),
        })?;
        let stderr = child.stderr.take();
        let (send, complaints) = mpsc::channel();
        // A program whose complaints nobody reads stops in the middle of one.
        std::thread::spawn(move || {
            let complaints = stderr.map(listen).unwrap_or_default();
            // The receiver may be gone, and then nobody wants to know.
            let _ = send.send(complaints);
        });
        Ok(Self { child, complaints })
    }

    /// Waits for the end; the program must have no reason to go on.
    pub(crate) fn finish(mut self) -> io::Result<(ExitStatus, Complaints)> {
        let status = self.child.wait()?;
        // A child of the program's own may keep the pipe open.
        let complaints = self.complaints.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
        Ok((status, complaints))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already. Without the wait it would stay as a zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stderr: impl Read) -> Complaints {
    let mut complaints = Complaints::default();
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    while matches!(reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line), Ok(1..)) {
        let text = String::from_utf8_lossy(&line);
        let is_cut = text.contains("partial file") || text.contains("ended prematurely");
        // `[h264 @ 0x5581…] ` says nothing to people.
        let text = match text.split_once("] ") {
            Some((_, rest)) if text.starts_with('[') => rest.trim(),
            _ => text.trim(),
        };
        // What follows from a missing end explains less than the end itself.
        if !text.is_empty() && !complaints.is_cut {
            complaints.last = Some(text.chars().take(300).collect());
        }
        complaints.is_cut |= is_cut;
        line.clear();
    }
    complaints
}

fn missing(program: &str) -> String {
    format!(
        "this takes the program {program}, which is not installed or not in PATH; install it (Debian and Ubuntu: \
         apt-get install ffmpeg; macOS: brew install ffmpeg; Windows: winget install ffmpeg), or use a .y4m file or a \
         folder of .png frames"
    )
}

pub(crate) fn words(parts: &[&str]) -> Vec<OsString> {
    parts.iter().map(OsString::from).collect()
}

/// `file:` keeps a name with a colon or a leading dash from being read as anything else.
pub(crate) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}

/// Runs a short question and gives its answer.
fn ask(
    path: &Path,
    program: &str,
    arguments: &[OsString],
) -> Result<(String, ExitStatus, Complaints), MediaError> {
    let mut process = Process::start(path, program, arguments, Flow::Out)?;
    let mut answer = Vec::new();
    if let Some(stdout) = process.child.stdout.take() {
        stdout.take(MAX_ANSWER).read_to_end(&mut answer).map_err(|error| broken(path, &error))?;
    }
    let (status, complaints) = process.finish().map_err(|error| broken(path, &error))?;
    Ok((String::from_utf8_lossy(&answer).into_owned(), status, complaints))
}

fn broken(path: &Path, error: &io::Error) -> MediaError {
    unusable(path, format!("the pipe from ffmpeg broke: {error}"))
}

fn damaged(path: &Path, detail: String) -> MediaError {
    MediaError::Damaged { path: path.to_path_buf(), format: FORMAT, detail }
}

/// ` (ffmpeg says: …)`, or nothing.
fn says(complaints: &Complaints) -> String {
    complaints.last.as_ref().map(|last| format!(" (ffmpeg says: {last})")).unwrap_or_default()
}

/// Major and minor version; `None` for a build between versions, which is newer than any that matters here.
pub(crate) fn version(path: &Path) -> Result<Option<(u32, u32)>, MediaError> {
    // Only an answer is kept: a program that is missing may be installed while this one runs.
    static KNOWN: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    if let Some(version) = KNOWN.get() {
        return Ok(*version);
    }
    let (answer, ..) = ask(path, "ffmpeg", &words(&["-version"]))?;
    let first = answer.lines().next().unwrap_or_default();
    let Some(name) = first.strip_prefix("ffmpeg version ") else {
        let first: String = first.chars().take(100).collect();
        return Err(unusable(
            path,
            format!(
                "the program ffmpeg in PATH is not ffmpeg: asked for its version, it answers {first:?}; install the real \
                 one, or put it first in PATH"
            ),
        ));
    };
    Ok(*KNOWN.get_or_init(|| parse_version(name)))
}

fn parse_version(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.trim_start_matches('n').split(|c: char| !c.is_ascii_digit());
    let major = numbers.next()?.parse().ok()?;
    Some((major, numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// Options of the output that neither double nor drop frames, nor scale them to the size of the first.
pub(crate) fn pass_through(version: Option<(u32, u32)>) -> Vec<&'static str> {
    let is_before = |limit| version.is_some_and(|version| version < limit);
    if is_before((5, 1)) { vec!["-vsync", "passthrough"] } else { vec!["-fps_mode", "passthrough"] }
}

/// What `ffprobe` knows without decoding.
struct Stream {
    width: u64,
    height: u64,
    is_gray: bool,
    rate: Option<[u32; 2]>,
    /// Frames that the container promises, if it does.
    promised: Option<u64>,
}

fn probe(path: &Path) -> Result<Stream, MediaError> {
    let mut arguments = words(&["-v", "error"]);
    arguments.extend(words(&ONLY_FILES));
    arguments.extend(words(&[
        // A capital letter leaves out the covers of recordings.
        "-select_streams",
        "V:0",
        "-show_entries",
        "stream=width,height,pix_fmt,r_frame_rate,avg_frame_rate,nb_frames",
        "-of",
        "default=noprint_wrappers=1",
    ]));
    arguments.push(file_argument(path));
    let (answer, status, complaints) = ask(path, "ffprobe", &arguments)?;
    if !status.success() {
        let detail = complaints.last.unwrap_or_else(|| format!("ffprobe ended with {status}"));
        return Err(damaged(path, detail));
    }
    let value = |key: &str| answer.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
    let side = |key| value(key).and_then(|text| text.parse::<u64>().ok()).filter(|&side| side > 0);
    let (Some(width), Some(height)) = (side("width"), side("height")) else {
        return Err(unusable(path, format!("it has no moving pictures{}; give a film", says(&complaints))));
    };
    let format = value("pix_fmt").unwrap_or_default();
    Ok(Stream {
        width,
        height,
        is_gray: format.starts_with("gray") || format.starts_with("mono"),
        rate: frame_rate(value("r_frame_rate"), value("avg_frame_rate")),
        promised: value("nb_frames").and_then(|text| text.parse().ok()),
    })
}

/// The rate at which all moments of frames are whole numbers, unless frames are much sparser than that on average, as
/// where their distances vary.
fn frame_rate(exact: Option<&str>, average: Option<&str>) -> Option<[u32; 2]> {
    let parse = |text: Option<&str>| {
        let (over, under) = text?.trim().split_once('/')?;
        let rate = [over.parse::<u32>().ok()?, under.parse::<u32>().ok()?];
        rate.iter().all(|&part| part > 0).then_some(rate)
    };
    let per_second = |rate: [u32; 2]| f64::from(rate[0]) / f64::from(rate[1]);
    match (parse(exact), parse(average)) {
        (Some(exact), Some(average)) if per_second(exact) > 1.01 * per_second(average) => Some(average),
        (exact, average) => exact.or(average),
    }
}

/// Frames of a film, by `ffmpeg`.
pub(crate) struct FfmpegReader {
    path: PathBuf,
    info: SignalInfo,
    arguments: Vec<OsString>,
    running: Option<(Process, ChildStdout)>,
    n_read: u64,
}

impl FfmpegReader {
    /// Decodes the film once, up to the end of the range, to count its frames.
    pub(crate) fn open(path: &Path, frames: &FrameRange, limits: &Limits) -> Result<Self, MediaError> {
        let version = version(path)?;
        let stream = probe(path)?;
        let (color, pixels) =
            if stream.is_gray { (ColorType::Gray, "gray") } else { (ColorType::Rgb, "rgb24") };
        check_frame_size(path, stream.width, stream.height, color.n_channels(), limits)?;

        let mut input = words(&["-nostdin", "-v", "error"]);
        input.extend(words(&ONLY_FILES));
        input.push("-i".into());
        input.push(file_argument(path));
        input.extend(words(&["-map", "0:V:0"]));
        input.extend(words(&pass_through(version)));

        let counted = count(path, &input, version, frames.end)?;
        if counted.n_frames == 0 {
            return Err(damaged(path, format!("it holds no frame{}", says(&counted.complaints))));
        }
        let is_short = stream.promised.is_some_and(|promised| {
            counted.n_frames < promised.min(frames.end.unwrap_or(u64::MAX))
                && counted.complaints.last.is_some()
        });
        if counted.complaints.is_cut || is_short {
            return Err(damaged(
                path,
                format!(
                    "it breaks off after {} of its frames{}",
                    counted.n_frames,
                    says(&counted.complaints)
                ),
            ));
        }
        let [height, width] = counted.sides;
        // Rotation turns one into the other, and the stream may say otherwise than its container.
        check_frame_size(path, width, height, color.n_channels(), limits)?;
        let range = frames.within(path, counted.n_frames)?;
        let info = film_info(
            path,
            &range,
            counted.sides.map(|side| side as usize),
            (color, SampleType::U8),
            frames.rate.or(stream.rate).unwrap_or(DEFAULT_RATE),
        )?;
        let mut arguments = input;
        if range.start > 0 {
            let filter = format!("trim=start_frame={}:end_frame={}", range.start, range.end);
            arguments.extend(words(&["-vf", &filter]));
        }
        let n_frames = (range.end - range.start).to_string();
        arguments.extend(words(&["-frames:v", &n_frames, "-f", "rawvideo", "-pix_fmt", pixels, "-"]));
        Ok(Self { path: path.to_path_buf(), info, arguments, running: None, n_read: 0 })
    }

    /// Why the pipe ended before its time.
    fn explain(&self, process: Process) -> MediaError {
        let n_frames = self.info.extents[0];
        match process.finish() {
            Ok((status, complaints)) => {
                let said = complaints.last.unwrap_or_else(|| format!("it ended with {status}"));
                damaged(
                    &self.path,
                    format!("ffmpeg gave {} of {n_frames} frames, then stopped: {said}", self.n_read),
                )
            }
            Err(error) => broken(&self.path, &error),
        }
    }
}

impl SliceReader for FfmpegReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let frame = self.info.slice_values();
        let mut values = vec![0; n_slices * frame];
        let (mut process, mut stdout) = match self.running.take() {
            Some(running) => running,
            None if self.n_read > 0 => {
                return Err(damaged(&self.path, "it ended before, and no more can be read".to_owned()));
            }
            None => {
                let mut process = Process::start(&self.path, "ffmpeg", &self.arguments, Flow::Out)?;
                let stdout = process.child.stdout.take().expect("it is a pipe");
                (process, stdout)
            }
        };
        for frame in values.chunks_exact_mut(frame) {
            if let Err(error) = stdout.read_exact(frame) {
                return Err(match error.kind() {
                    io::ErrorKind::UnexpectedEof => self.explain(process),
                    _ => broken(&self.path, &error),
                });
            }
            self.n_read += 1;
        }
        let n_frames = self.info.extents[0] as u64;
        if self.n_read < n_frames {
            self.running = Some((process, stdout));
            return Ok(Samples::U8(values));
        }
        // All is here; a program that goes on or complains now read another film than was counted.
        let more = stdout.read(&mut [0; 1]).map_err(|error| broken(&self.path, &error))?;
        if more > 0 {
            let _ = process.child.kill();
            return Err(damaged(
                &self.path,
                format!("ffmpeg gives more than the {n_frames} frames that it counted before"),
            ));
        }
        let (status, complaints) = process.finish().map_err(|error| broken(&self.path, &error))?;
        if !status.success() {
            return Err(damaged(
                &self.path,
                format!("ffmpeg ended with {status} after the last frame{}", says(&complaints)),
            ));
        }
        Ok(Samples::U8(values))
    }
}

/// What a pass over the frames finds.
struct Counted {
    n_frames: u64,
    /// Rows and columns, after rotation.
    sides: [u64; 2],
    complaints: Complaints,
}

/// Counts frames without converting them: a checksum of each is all that comes through the pipe.
fn count(
    path: &Path,
    input: &[OsString],
    version: Option<(u32, u32)>,
    end: Option<u64>,
) -> Result<Counted, MediaError> {
    let mut arguments = input.to_vec();
    if version.is_none_or(|version| version >= (4, 4)) {
        // Otherwise every frame would be scaled to the size of the first, and nobody would know.
        arguments.extend(words(&["-autoscale", "0"]));
    }
    if let Some(end) = end {
        arguments.extend(words(&["-frames:v", &end.to_string()]));
    }
    arguments.extend(words(&["-c:v", "rawvideo", "-f", "framecrc", "-"]));
    let mut process = Process::start(path, "ffmpeg", &arguments, Flow::Out)?;
    let mut lines = BufReader::new(process.child.stdout.take().expect("it is a pipe"));
    let strange = |line: &str| {
        let line: String = line.trim_end().chars().take(100).collect();
        unusable(
            path,
            format!(
                "the program ffmpeg answers {line:?} where a frame's checksum should be; install the real one"
            ),
        )
    };
    let (mut n_frames, mut sides, mut first_bytes) = (0, None, None);
    let mut line = Vec::new();
    loop {
        line.clear();
        let n = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if n.map_err(|error| broken(path, &error))? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(comment) = text.strip_prefix('#') {
            if let Some(text) = comment.strip_prefix("dimensions 0:") {
                sides = text
                    .trim()
                    .split_once('x')
                    .and_then(|(width, height)| Some([height.parse().ok()?, width.parse().ok()?]));
            }
            continue;
        }
        // Stream, two times, duration, bytes, checksum.
        let fields: Vec<_> = text.split(',').collect();
        let bytes = fields.get(4).and_then(|bytes| bytes.trim().parse::<u64>().ok());
        let (6.., Some(bytes)) = (fields.len(), bytes) else { return Err(strange(&text)) };
        if *first_bytes.get_or_insert(bytes) != bytes {
            return Err(unusable(
                path,
                format!(
                    "its frames change their size or kind at frame {n_frames}; cut it there, or convert it to one size \
                     first: ffmpeg -i film -vf scale=W:H other.mp4"
                ),
            ));
        }
        n_frames += 1;
    }
    let (status, complaints) = process.finish().map_err(|error| broken(path, &error))?;
    if !status.success() {
        let said = complaints.last.unwrap_or_else(|| format!("ffmpeg ended with {status}"));
        return Err(damaged(path, format!("after {n_frames} of its frames: {said}")));
    }
    match sides {
        Some(sides) => Ok(Counted { n_frames, sides, complaints }),
        None if n_frames == 0 => Ok(Counted { n_frames, sides: [1, 1], complaints }),
        None => Err(strange("no size")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        let cases = [
            ("5.1.9-0+deb12u1 Copyright (c) 2000-2026", Some((5, 1))),
            ("4.4.2-0ubuntu0.22.04.1", Some((4, 4))),
            ("n7.0", Some((7, 0))),
            ("8", Some((8, 0))),
            ("N-109542-g1bf1a9a", None),
            ("git-2023-01-01", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_version(name), expected, "{name}");
        }
        assert_eq!(pass_through(Some((5, 0)))[0], "-vsync");
        assert_eq!(pass_through(Some((5, 1)))[0], "-fps_mode");
        assert_eq!(pass_through(None)[0], "-fps_mode");
    }

    #[test]
    fn frame_rates_are_those_of_the_frames() {
        let cases = [
            ("25/1", "25/1", Some([25, 1])),
            ("30000/1001", "30000/1001", Some([30000, 1001])),
            // A rounded average; fields counted as frames; an average that is missing; distances that vary.
            ("24/1", "2401/100", Some([24, 1])),
            ("25/1", "50/1", Some([25, 1])),
            ("24/1", "0/0", Some([24, 1])),
            ("90000/1", "2497/100", Some([2497, 100])),
            ("0/0", "12/1", Some([12, 1])),
            ("0/0", "0/0", None),
            ("x", "", None),
        ];
        for (exact, average, expected) in cases {
            assert_eq!(frame_rate(Some(exact), Some(average)), expected, "{exact} {average}");
        }
    }

    #[test]
    fn the_last_complaint_is_kept_without_addresses() {
        let text =
            "[h264 @ 0x55] first\n\n[mov,mp4 @ 0x1] stream 0, offset 0x3: partial file\nlast of all\n\n";
        let complaints = listen(text.as_bytes());
        assert_eq!(complaints.last.as_deref(), Some("stream 0, offset 0x3: partial file"));
        assert!(complaints.is_cut);
        let complaints = listen(&b"first\nlast of all\n\n"[..]);
        assert_eq!(complaints.last.as_deref(), Some("last of all"));
        assert!(!complaints.is_cut);
        assert_eq!(listen(&b"[a @ 0x1] b"[..]).last.as_deref(), Some("b"));
        assert!(listen(&b"\n \n"[..]).last.is_none());
    }
}
