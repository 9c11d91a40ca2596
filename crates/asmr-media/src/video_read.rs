//! Films in: Y4M, folders of PNG frames, and everything that `ffmpeg` reads.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use asmr::metadata::{Media, Video};
use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};
use image::ImageDecoder as _;

use crate::error::MediaError;
use crate::ffmpeg::FfmpegReader;
use crate::image_read::{Limits, read_image};
use crate::stream::SliceReader;
use crate::y4m::{self, Y4mReader};

/// The frame rate of films that do not tell theirs.
pub(crate) const DEFAULT_RATE: [u32; 2] = [25, 1];
/// Bytes at the start of a file by which its kind is known.
const N_START: usize = 1024;

/// Which frames of a film are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameRange {
    /// The first frame, counted from 0.
    pub start: u64,
    /// The first frame that is no more read; `None` for all to the end.
    pub end: Option<u64>,
    /// Frames per second, as a fraction, in place of what the film says. A film that says nothing (a folder of
    /// pictures) has 25.
    pub rate: Option<[u32; 2]>,
}

impl FrameRange {
    /// Refuses what is wrong with any film.
    fn check(&self, path: &Path) -> Result<(), MediaError> {
        let start = self.start;
        if let Some(end) = self.end.filter(|&end| end <= start) {
            return Err(unusable(
                path,
                format!(
                    "frames {start} to {end} are asked for, and that is none; the end must be above the start"
                ),
            ));
        }
        match self.rate {
            Some([over, under]) if over == 0 || under == 0 => Err(unusable(
                path,
                format!(
                    "its frame rate is to be {over}/{under}; it must be two whole numbers above 0, as in 30000/1001"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The frames of a film that has `n_frames`, if counting did not stop at the end of the range.
    pub(crate) fn within(&self, path: &Path, n_frames: u64) -> Result<Range<u64>, MediaError> {
        if n_frames == 0 {
            return Err(unusable(path, "it holds no frame; give a film".to_owned()));
        }
        let end = self.end.unwrap_or(n_frames);
        if self.start >= n_frames || end > n_frames {
            let to = self.end.map_or_else(|| "to the end".to_owned(), |end| format!("to {end}"));
            return Err(unusable(
                path,
                format!(
                    "frames {} {to} are asked for, and it has {n_frames}; accepted are starts from 0 to {} and ends up to \
                     {n_frames}",
                    self.start,
                    n_frames - 1
                ),
            ));
        }
        Ok(self.start..end)
    }
}

pub(crate) fn unusable(path: &Path, problem: String) -> MediaError {
    MediaError::Unusable { path: path.to_path_buf(), problem }
}

/// Refuses frames past the limits, before anything of their size is allocated.
pub(crate) fn check_frame_size(
    path: &Path,
    width: u64,
    height: u64,
    bytes_per_sample: usize,
    limits: &Limits,
) -> Result<(), MediaError> {
    let too_large = |actual, limit| MediaError::TooLarge { path: path.to_path_buf(), actual, limit };
    if width > u64::from(limits.max_width) || height > u64::from(limits.max_height) {
        return Err(too_large(
            format!("it claims frames of {width} x {height} pixels"),
            format!("{} x {}", limits.max_width, limits.max_height),
        ));
    }
    let bytes = width.saturating_mul(height).saturating_mul(bytes_per_sample as u64);
    if bytes > limits.max_alloc_bytes {
        return Err(too_large(
            format!("one frame of {width} x {height} pixels needs {bytes} bytes"),
            format!("{} bytes", limits.max_alloc_bytes),
        ));
    }
    Ok(())
}

/// What a film is: `sides` are rows and columns.
pub(crate) fn film_info(
    path: &Path,
    range: &Range<u64>,
    sides: [usize; 2],
    (color, sample_type): (ColorType, SampleType),
    rate: [u32; 2],
) -> Result<SignalInfo, MediaError> {
    let n_frames = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let info = SignalInfo {
        extents: vec![n_frames, sides[0], sides[1]],
        channels: color.n_channels(),
        sample_type,
        color: Some(color),
        value_range: None,
        media: Media::Video(Video { rate, first_frame: range.start }),
    };
    info.validate().map_err(|error| unusable(path, error.to_string()))?;
    Ok(info)
}

/// Whether there is a film at a path: a folder with a PNG in it, or a file that begins as films do (Y4M, MP4 and
/// `QuickTime`, Matroska and `WebM`, AVI, MPEG streams, Flash, Windows Media, IVF, Ogg with Theora). Pictures stay pictures,
/// animated ones too; that an MP4 holds moving pictures and not only sound is not looked at.
///
/// # Errors
/// What the operating system says when the path cannot be read.
pub fn is_video(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            if is_frame_name(&entry?.file_name()) {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    // Reading from a pipe would take away its beginning.
    Ok(metadata.is_file() && is_film_start(&start_of(path)?))
}

fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(N_START);
    File::open(path)?.take(N_START as u64).read_to_end(&mut start)?;
    Ok(start)
}

fn is_film_start(start: &[u8]) -> bool {
    let at = |offset: usize, bytes: &[u8]| start.get(offset..offset + bytes.len()) == Some(bytes);
    // A packet of a transport stream has 188 bytes, with four more before each on discs.
    let is_transport = |first: usize, step: usize| (0..3).all(|i| start.get(first + i * step) == Some(&0x47));
    let box_names: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"pnot"];
    // Brands of pictures (HEIF, AVIF and their sequences) and of sound.
    let others: [&[u8]; 12] = [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"M4A ",
        b"M4B ",
    ];
    at(0, y4m::MAGIC)
        || (box_names.iter().any(|name| at(4, name))
            && !(at(4, b"ftyp") && others.iter().any(|brand| at(8, brand))))
        || at(0, &[0x1A, 0x45, 0xDF, 0xA3])
        || (at(0, b"RIFF") && at(8, b"AVI "))
        || is_transport(0, 188)
        || is_transport(4, 192)
        // Pack header of a program stream, sequence header of bare MPEG-1 or MPEG-2.
        || at(0, &[0, 0, 1, 0xBA])
        || at(0, &[0, 0, 1, 0xB3])
        || at(0, b"FLV\x01")
        || at(0, &[0x30, 0x26, 0xB2, 0x75, 0x8E, 0x66, 0xCF, 0x11])
        || at(0, b"DKIF")
        || (at(0, b"OggS") && start.windows(7).any(|bytes| bytes == b"\x80theora"))
}

/// Opens a film as a signal of axes `[frame, row, column]`, to be read frame by frame: no more is held than is asked for.
///
/// * A **Y4M** file of 8 bits is RGB, by the matrix of BT.601 for limited range (full range if the file says so), its
///   chroma repeated for each pixel that it covers; Cmono is grey, as stored.
/// * A **folder** is a film of its `.png` pictures, in the order of their names (`frame2` before `frame10`; names that
///   begin with a dot are passed over), all of one size, colour and depth, 8 or 16 bits. It has 25 frames per second
///   unless `frames.rate` says otherwise.
/// * **Anything else** is decoded by the system's `ffmpeg` to 8-bit RGB, or to grey where the film is grey: the first
///   moving pictures in it, turned as the file asks, every frame once whatever its time. Deeper samples are cut to 8
///   bits, alpha is left out. Damage inside a stream is concealed by `ffmpeg` and not noticed here; files cut short are
///   refused where `ffmpeg` or the container's count of frames tells.
///
/// Frames are counted by a first pass over the file, up to the end of `frames`. `limits` are those of one frame.
///
/// # Errors
/// [`MediaError::Unusable`] when a range lies outside the film, `ffmpeg` is missing, or frames differ in size;
/// [`MediaError::Damaged`], [`MediaError::TooLarge`], [`MediaError::Read`].
pub fn open_video(
    path: &Path,
    frames: &FrameRange,
    limits: &Limits,
) -> Result<Box<dyn SliceReader>, MediaError> {
    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    frames.check(path)?;
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Ok(Box::new(FolderReader::open(path, frames, limits)?));
    }
    if !metadata.is_file() {
        return Err(unusable(
            path,
            "a film is read twice, which a pipe or a device does not allow; write it to a file first"
                .to_owned(),
        ));
    }
    let start = start_of(path).map_err(unreadable)?;
    if start.starts_with(y4m::MAGIC) {
        return Ok(Box::new(Y4mReader::open(path, frames, limits)?));
    }
    if start.is_empty() {
        return Err(unusable(path, "the file is empty; give a film".to_owned()));
    }
    if is_text(&start) {
        // Playlists name other files, and a film must be what it looks like.
        return Err(unusable(path, "it is a text, not a film; playlists are not followed".to_owned()));
    }
    Ok(Box::new(FfmpegReader::open(path, frames, limits)?))
}

fn is_text(start: &[u8]) -> bool {
    start.starts_with(b"#EXTM3U")
        || start.starts_with(b"ffconcat")
        || start.iter().all(|&byte| byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// A film of PNG pictures.
struct FolderReader {
    folder: PathBuf,
    names: Vec<PathBuf>,
    info: SignalInfo,
    limits: Limits,
    next: usize,
}

/// What all frames must have in common: columns, rows, and the kind of their values.
type Kind = (u32, u32, image::ColorType);

impl FolderReader {
    fn open(folder: &Path, frames: &FrameRange, limits: &Limits) -> Result<Self, MediaError> {
        let mut names = Vec::new();
        let unreadable = |error| MediaError::Read { path: folder.to_path_buf(), error };
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            if is_frame_name(&name) {
                names.push(PathBuf::from(name));
            }
        }
        if names.is_empty() {
            return Err(unusable(
                folder,
                "the folder has no .png picture; give a folder of frames, or a film".to_owned(),
            ));
        }
        names.sort_by(|a, b| natural_order(a.as_os_str(), b.as_os_str()));
        let range = frames.within(folder, names.len() as u64)?;
        let names = names[range.start as usize..range.end as usize].to_vec();
        let mut first: Option<Kind> = None;
        for name in &names {
            let kind = kind_of(&folder.join(name), limits)?;
            let expected = *first.get_or_insert(kind);
            if kind != expected {
                return Err(unusable(
                    folder,
                    format!(
                        "all frames must be alike, and {} has {}, where {} has {}",
                        name.display(),
                        describe(kind),
                        names[0].display(),
                        describe(expected)
                    ),
                ));
            }
        }
        // The reader knows best what it makes of a picture: it is asked for the first one.
        let path = folder.join(&names[0]);
        let picture = read_image(&path, limits)?;
        let picture = picture.info();
        let color = picture.color.ok_or_else(|| unusable(&path, "it has no colour type".to_owned()))?;
        let info = film_info(
            folder,
            &range,
            [picture.extents[0], picture.extents[1]],
            (color, picture.sample_type),
            frames.rate.unwrap_or(DEFAULT_RATE),
        )?;
        Ok(Self { folder: folder.to_path_buf(), names, info, limits: *limits, next: 0 })
    }
}

impl SliceReader for FolderReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let mut values = match self.info.sample_type {
            SampleType::U16 => Samples::U16(Vec::with_capacity(n_slices * self.info.slice_values())),
            _ => Samples::U8(Vec::with_capacity(n_slices * self.info.slice_values())),
        };
        for name in &self.names[self.next..self.next + n_slices] {
            let path = self.folder.join(name);
            let picture = read_image(&path, &self.limits)?;
            let is_like_first =
                picture.info().extents == self.info.extents[1..] && picture.info().color == self.info.color;
            match (&mut values, picture.samples()) {
                (Samples::U8(values), Samples::U8(frame)) if is_like_first => values.extend(frame),
                (Samples::U16(values), Samples::U16(frame)) if is_like_first => values.extend(frame),
                _ => {
                    return Err(unusable(
                        &path,
                        "its size, colour or depth is no more that of the first frame; leave the folder as it is while \
                         it is read"
                            .to_owned(),
                    ));
                }
            }
        }
        self.next += n_slices;
        Ok(values)
    }
}

/// What a PNG's header says it decodes to, turned as it asks.
fn kind_of(path: &Path, limits: &Limits) -> Result<Kind, MediaError> {
    use image::metadata::Orientation as O;

    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    let damaged = |error: image::ImageError| MediaError::Damaged {
        path: path.to_path_buf(),
        format: "PNG",
        detail: error.to_string(),
    };
    let start = start_of(path).map_err(unreadable)?;
    if !start.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Err(unusable(
            path,
            "its name ends in .png and its content is no PNG picture; convert it, or move it out of the folder"
                .to_owned(),
        ));
    }
    if let [b'I', b'H', b'D', b'R', a, b, c, d, e, f, g, h, ..] = start[12.min(start.len())..] {
        // The decoder asks for the memory of a row at once.
        let (width, height) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        check_frame_size(path, u64::from(width), u64::from(height), 1, limits)?;
    }
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut decoder = image::codecs::png::PngDecoder::new(file).map_err(damaged)?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    check_frame_size(
        path,
        u64::from(width),
        u64::from(height),
        usize::from(color.bytes_per_pixel()),
        limits,
    )?;
    let is_turned = matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH);
    Ok(if is_turned { (height, width, color) } else { (width, height, color) })
}

fn describe((width, height, color): Kind) -> String {
    use image::ColorType as C;
    let bits = u16::from(color.bytes_per_pixel()) * 8 / u16::from(color.channel_count());
    let color = match color {
        C::L8 | C::L16 => "grey",
        C::La8 | C::La16 => "grey+alpha",
        C::Rgb8 | C::Rgb16 => "RGB",
        _ => "RGBA",
    };
    format!("{width} x {height} pixels of {bits}-bit {color}")
}

/// Whether a file in a folder is one of its frames.
pub(crate) fn is_frame_name(name: &OsStr) -> bool {
    let is_hidden = name.as_encoded_bytes().first() == Some(&b'.');
    !is_hidden && Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("png"))
}

/// By name, with runs of digits compared as numbers: `frame2` before `frame10`.
fn natural_order(a: &OsStr, b: &OsStr) -> Ordering {
    let (whole_a, whole_b) = (a.as_encoded_bytes(), b.as_encoded_bytes());
    let (mut a, mut b) = (whole_a, whole_b);
    loop {
        let order = match (a.split_first(), b.split_first()) {
            (Some((x, _)), Some((y, _))) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let ((x, rest_a), (y, rest_b)) = (split_number(a), split_number(b));
                (a, b) = (rest_a, rest_b);
                x.len().cmp(&y.len()).then(x.cmp(y))
            }
            (Some((x, rest_a)), Some((y, rest_b))) => {
                (a, b) = (rest_a, rest_b);
                x.cmp(y)
            }
            // The same number may be written in two ways: then the bytes decide, so that the order is always the same.
            _ => return a.len().cmp(&b.len()).then(whole_a.cmp(whole_b)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// The digits at the start, without leading zeros, and the rest.
fn split_number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (number, rest) =
        bytes.split_at(bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len()));
    (&number[number.iter().position(|&digit| digit != b'0').unwrap_or(number.len())..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let sorted = [
            "0.png",
            "00.png",
            "1.png",
            "2.png",
            "010.png",
            "10.png",
            "11.png",
            "a.png",
            "a1b2.png",
            "a1b10.png",
            "a2b1.png",
            "a99999999999999999999998.png",
            "a99999999999999999999999.png",
            "a100000000000000000000000.png",
            "b.png",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.swap(3, 9);
        shuffled.sort_by(|a, b| natural_order(OsStr::new(a), OsStr::new(b)));
        assert_eq!(shuffled, sorted);
    }
}
