//! YUV4MPEG2 films (`.y4m`): a line of text, then raw frames.
//!
//! Read are 8-bit films of the layouts C420 (also as C420jpeg, C420mpeg2 and C420paldv), C422, C444 and Cmono. A film of
//! Cmono is grey, its values as they are. The others become RGB by the matrix of [`ycbcr`](crate::ycbcr), of full range
//! if the header says `XCOLORRANGE=FULL`. Each chroma value counts for its 1, 2 or 4 samples of luma alike (nearest
//! neighbour): where exactly it was measured is ignored, and nothing is smoothed.
//!
//! Written are C444 for RGB, which costs a colour up to 2 of 255 (see [`ycbcr`](crate::ycbcr)), and Cmono for grey, which
//! costs nothing.
//!
//! Not by the crate `y4m`: it cannot go past frames without reading them, which counting needs, and its sizes of hostile
//! headers overflow.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::stream::SliceReader;
use crate::video_read::{DEFAULT_RATE, FrameRange, check_frame_size, film_info, unusable};
use crate::write::Pending;
use crate::ycbcr::Swing;

pub(crate) const MAGIC: &[u8] = b"YUV4MPEG2";
const FRAME: &[u8] = b"FRAME";
/// The longest header of a film or a frame.
const MAX_LINE: u64 = 4096;

/// How the planes lie in a frame: luma first, then both chroma planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Mono,
    C420,
    C422,
    C444,
}

impl Layout {
    /// Columns and rows of luma that one chroma value counts for.
    fn step(self) -> (usize, usize) {
        match self {
            Self::C420 => (2, 2),
            Self::C422 => (2, 1),
            Self::Mono | Self::C444 => (1, 1),
        }
    }
}

struct Header {
    width: u32,
    height: u32,
    rate: Option<[u32; 2]>,
    layout: Layout,
    swing: Swing,
}

impl Header {
    /// Reads the first line.
    fn read(path: &Path, reader: &mut impl BufRead, limits: &Limits) -> Result<Self, MediaError> {
        let line = read_line(path, reader)?.unwrap_or_default();
        let mut fields = line.split(|&byte| byte == b' ').filter(|field| !field.is_empty());
        if fields.next() != Some(MAGIC) {
            return Err(damaged(path, "its first line does not begin with YUV4MPEG2".to_owned()));
        }
        let (mut width, mut height, mut rate) = (None, None, None);
        let mut header =
            Self { width: 0, height: 0, rate: None, layout: Layout::C420, swing: Swing::LIMITED };
        for field in fields {
            let (&name, value) = field.split_first().expect("fields are not empty");
            let value = String::from_utf8_lossy(value);
            let number = |what: &str| {
                value.parse::<u32>().ok().filter(|&n| n > 0).ok_or_else(|| {
                    damaged(path, format!("its {what} is {value:?}, and it must be a whole number above 0"))
                })
            };
            match name {
                b'W' => width = Some(number("width")?),
                b'H' => height = Some(number("height")?),
                b'F' => rate = Some(parse_rate(path, &value)?),
                b'C' => header.layout = parse_layout(path, &value)?,
                b'X' if value.eq_ignore_ascii_case("COLORRANGE=FULL") => header.swing = Swing::FULL,
                // Interlacing, the samples' aspect and what others put there.
                _ => {}
            }
        }
        let missing = |what| damaged(path, format!("its header has no {what}"));
        header.width = width.ok_or_else(|| missing("width"))?;
        header.height = height.ok_or_else(|| missing("height"))?;
        header.rate = rate.flatten();
        check_frame_size(
            path,
            u64::from(header.width),
            u64::from(header.height),
            header.color().n_channels(),
            limits,
        )?;
        Ok(header)
    }

    fn color(&self) -> ColorType {
        if self.layout == Layout::Mono { ColorType::Gray } else { ColorType::Rgb }
    }

    /// Bytes of luma, and of one chroma plane. Both are below the limit on memory, checked before.
    fn planes(&self) -> (usize, usize) {
        let (width, height) = (self.width as usize, self.height as usize);
        let (across, down) = self.layout.step();
        let chroma = match self.layout {
            Layout::Mono => 0,
            _ => width.div_ceil(across) * height.div_ceil(down),
        };
        (width * height, chroma)
    }

    fn frame_bytes(&self) -> usize {
        let (luma, chroma) = self.planes();
        luma + 2 * chroma
    }

    /// Appends the samples of one frame.
    fn convert(&self, frame: &[u8], out: &mut Vec<u8>) {
        let (n_luma, n_chroma) = self.planes();
        let (luma, chroma) = frame.split_at(n_luma);
        if self.layout == Layout::Mono {
            out.extend_from_slice(luma);
            return;
        }
        let (cb, cr) = chroma.split_at(n_chroma);
        let width = self.width as usize;
        let (across, down) = self.layout.step();
        let stride = width.div_ceil(across);
        let start = out.len();
        out.resize(start + 3 * n_luma, 0);
        let rows = luma.chunks_exact(width).zip(out[start..].chunks_exact_mut(3 * width));
        for (y, (row, out)) in rows.enumerate() {
            let start = y / down * stride;
            let pairs = cb[start..start + stride].iter().zip(&cr[start..start + stride]);
            let samples = row.chunks(across).zip(out.as_chunks_mut::<3>().0.chunks_mut(across));
            for ((samples, out), (&cb, &cr)) in samples.zip(pairs) {
                let tint = self.swing.tint(cb, cr);
                for (&luma, out) in samples.iter().zip(out) {
                    *out = self.swing.rgb(luma, tint);
                }
            }
        }
    }
}

fn parse_layout(path: &Path, value: &str) -> Result<Layout, MediaError> {
    match value {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(Layout::C420),
        "422" => Ok(Layout::C422),
        "444" => Ok(Layout::C444),
        "mono" => Ok(Layout::Mono),
        other => Err(unusable(
            path,
            format!(
                "its frames are of the layout {:?}; of Y4M films C420, C420jpeg, C420mpeg2, C420paldv, C422, C444 and \
                 Cmono are read, so convert it first: ffmpeg -i film.y4m -pix_fmt yuv444p other.y4m",
                format!("C{other}")
            ),
        )),
    }
}

/// Frames per second; `None` for `0:0`, which stands for unknown.
fn parse_rate(path: &Path, value: &str) -> Result<Option<[u32; 2]>, MediaError> {
    let parsed = value
        .split_once(':')
        .and_then(|(over, under)| Some([over.parse::<u32>().ok()?, under.parse::<u32>().ok()?]));
    match parsed {
        Some([0, 0]) => Ok(None),
        Some(rate) if rate.iter().all(|&part| part > 0) => Ok(Some(rate)),
        _ => Err(damaged(
            path,
            format!(
                "its frame rate is {value:?}, and it must be two whole numbers above 0, as in 30000:1001"
            ),
        )),
    }
}

fn damaged(path: &Path, detail: String) -> MediaError {
    MediaError::Damaged { path: path.to_path_buf(), format: "Y4M", detail }
}

/// A line without its end; `None` at the end of the file.
fn read_line(path: &Path, reader: &mut impl BufRead) -> Result<Option<Vec<u8>>, MediaError> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut line)
        .map_err(|error| MediaError::Read { path: path.to_path_buf(), error })?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(damaged(path, format!("a header does not end within {MAX_LINE} bytes"))),
    }
}

/// Reads the line before a frame; `false` at the end of the film.
fn read_frame_header(path: &Path, reader: &mut impl BufRead, frame: u64) -> Result<bool, MediaError> {
    let Some(line) = read_line(path, reader)? else { return Ok(false) };
    if line.split(|&byte| byte == b' ').next() == Some(FRAME) {
        return Ok(true);
    }
    Err(damaged(path, format!("frame {frame} does not begin with FRAME")))
}

/// Frames of a Y4M file.
pub(crate) struct Y4mReader {
    path: PathBuf,
    reader: BufReader<File>,
    header: Header,
    info: SignalInfo,
    next_frame: u64,
}

impl Y4mReader {
    /// Counts the frames, up to the end of the range, and goes to its start.
    pub(crate) fn open(path: &Path, frames: &FrameRange, limits: &Limits) -> Result<Self, MediaError> {
        let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
        let file = File::open(path).map_err(unreadable)?;
        let n_bytes = file.metadata().map_err(unreadable)?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let header = Header::read(path, &mut reader, limits)?;
        let frame_bytes = header.frame_bytes() as u64;
        let mut first = reader.stream_position().map_err(unreadable)?;
        let mut n_frames = 0;
        while frames.end.is_none_or(|end| n_frames < end) && read_frame_header(path, &mut reader, n_frames)? {
            let at = reader.stream_position().map_err(unreadable)?;
            let left = n_bytes.saturating_sub(at);
            if left < frame_bytes {
                return Err(damaged(path, format!("frame {n_frames} has {left} of its {frame_bytes} bytes")));
            }
            reader.seek_relative(frame_bytes as i64).map_err(unreadable)?;
            n_frames += 1;
            if n_frames == frames.start {
                first = at + frame_bytes;
            }
        }
        let range = frames.within(path, n_frames)?;
        let info = film_info(
            path,
            &range,
            [header.height as usize, header.width as usize],
            (header.color(), SampleType::U8),
            frames.rate.or(header.rate).unwrap_or(DEFAULT_RATE),
        )?;
        reader.seek(SeekFrom::Start(first)).map_err(unreadable)?;
        Ok(Self { path: path.to_path_buf(), reader, header, info, next_frame: range.start })
    }
}

impl SliceReader for Y4mReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let mut frame = vec![0; self.header.frame_bytes()];
        let mut values = Vec::with_capacity(n_slices * self.info.slice_values());
        for _ in 0..n_slices {
            let cut = || damaged(&self.path, format!("it ends in frame {}", self.next_frame));
            if !read_frame_header(&self.path, &mut self.reader, self.next_frame)? {
                return Err(cut());
            }
            self.reader.read_exact(&mut frame).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => cut(),
                _ => MediaError::Read { path: self.path.clone(), error },
            })?;
            self.header.convert(&frame, &mut values);
            self.next_frame += 1;
        }
        Ok(Samples::U8(values))
    }
}

/// A Y4M file in the making.
pub(crate) struct Y4mWriter {
    pending: Pending,
    color: ColorType,
    samples_per_frame: usize,
}

impl Y4mWriter {
    /// Begins a file for a film of 8-bit grey or RGB.
    pub(crate) fn create(path: &Path, info: &SignalInfo, rate: [u32; 2]) -> io::Result<Self> {
        let color = info.color.unwrap_or(ColorType::Rgb);
        let layout = if color == ColorType::Gray { "mono" } else { "444" };
        let (height, width) = (info.extents[1], info.extents[2]);
        let mut pending = Pending::begin(path)?;
        let [over, under] = rate;
        writeln!(pending, "YUV4MPEG2 W{width} H{height} F{over}:{under} Ip A1:1 C{layout}")?;
        Ok(Self { pending, color, samples_per_frame: height * width })
    }

    /// Appends whole frames.
    pub(crate) fn write(&mut self, values: &[u8]) -> io::Result<()> {
        let (color, n) = (self.color, self.samples_per_frame);
        let out = &mut self.pending;
        let mut frame = vec![0; n * color.n_channels()];
        for values in values.chunks_exact(n * color.n_channels()) {
            out.write_all(b"FRAME\n")?;
            if color == ColorType::Gray {
                out.write_all(values)?;
                continue;
            }
            for (i, rgb) in values.as_chunks::<3>().0.iter().enumerate() {
                let [luma, cb, cr] = Swing::LIMITED.ycbcr(*rgb);
                frame[i] = luma;
                frame[n + i] = cb;
                frame[2 * n + i] = cr;
            }
            out.write_all(&frame)?;
        }
        Ok(())
    }

    /// Completes the file.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.pending.commit()
    }
}
