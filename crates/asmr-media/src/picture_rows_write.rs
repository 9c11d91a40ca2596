//! Pictures into files row by row.
//!
//! The encoders ask for the picture's values piece by piece. A [`SliceWriter`] is handed them the other way round, so
//! the encoder of a [`create_picture`] runs on a thread of its own; compression then takes no time from a decode.

use std::borrow::Cow;
use std::io::{self, Seek, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};
use tiff::TiffError;
use tiff::encoder::colortype::{ColorType as TiffColor, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use tiff::encoder::{TiffEncoder, TiffKind, TiffValue};

use crate::error::MediaError;
use crate::image_write::{Picture, encode, other_type, plan};
use crate::stream::SliceWriter;
use crate::write::write_to_sink;

/// Values on their way to the encoder are split into pieces of this many.
const PIECE_VALUES: usize = 1 << 20;
/// Values of 16 bits are turned to big-endian in pieces of this many bytes.
const SWAP_BYTES: usize = 1 << 16;
/// From this many bytes of values on, a TIFF has offsets of 64 bits: 4 GiB less a generous header.
const BIG_TIFF: u64 = (1 << 32) - (1 << 20);

/// The next values of a picture; `None` after the last ones. Pieces need not end where rows do.
pub(crate) type Pieces<'p, 's> = &'p mut dyn FnMut() -> io::Result<Option<Cow<'s, Samples>>>;

/// Starts a picture file that is written row by row, its format chosen by the extension
/// (see [`PictureFormat`](crate::PictureFormat)).
///
/// PNG, TIFF, PPM, PGM, PNM and PAM are written as the rows come, in a few megabytes of memory; a TIFF of more than
/// 4 GiB is a `BigTIFF`. JPEG, WebP, BMP, TGA and QOI gather all rows in memory and are written by
/// [`SliceWriter::finish`], and so is a TIFF that goes into a pipe. What is written is what
/// [`write_image`](crate::write_image) writes, and the file is there whole, or not at all.
///
/// # Errors
/// [`MediaError::UnknownExtension`], [`MediaError::CannotHold`], or [`MediaError::Write`] when no file can be made
/// there. The writer refuses too many rows, and a finish before the last one, by [`MediaError::Length`].
pub fn create_picture(path: &Path, info: &SignalInfo) -> Result<Box<dyn SliceWriter>, MediaError> {
    let (format, picture) = plan(path, info)?;
    // One piece waits while another is compressed.
    let (sender, receiver) = sync_channel(1);
    let (begun, has_begun) = sync_channel::<()>(1);
    let target = path.to_path_buf();
    let thread = Builder::new()
        .name("picture".to_string())
        .spawn(move || {
            write_to_sink(&target, |sink| {
                // There is a file to write into, so what could be refused at once has not been.
                let _ = begun.send(());
                encode(format, picture, &mut || next_piece(&receiver), sink)
            })
        })
        .map_err(|error| MediaError::Write { path: path.to_path_buf(), error })?;
    let mut writer = PictureWriter {
        path: path.to_path_buf(),
        info: info.clone(),
        n_values: 0,
        sender: Some(sender),
        thread: Some(thread),
    };
    if has_begun.recv().is_err() {
        return Err(writer.failure());
    }
    Ok(Box::new(writer))
}

enum Message {
    Values(Samples),
    Finish,
}

fn next_piece(receiver: &Receiver<Message>) -> io::Result<Option<Cow<'static, Samples>>> {
    match receiver.recv() {
        Ok(Message::Values(samples)) => Ok(Some(Cow::Owned(samples))),
        Ok(Message::Finish) => Ok(None),
        Err(_) => Err(io::Error::other("the picture was given up before its end")),
    }
}

struct PictureWriter {
    path: PathBuf,
    info: SignalInfo,
    n_values: u64,
    /// `None` once the thread has been told the end.
    sender: Option<SyncSender<Message>>,
    /// `None` once its outcome is known.
    thread: Option<JoinHandle<Result<(), MediaError>>>,
}

impl PictureWriter {
    /// Tells the thread that nothing follows, and waits for what it says.
    fn outcome(&mut self) -> Result<(), MediaError> {
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(self.write_error(io::Error::other("writing it has failed before"))),
        }
    }

    /// Why the thread has ended early.
    fn failure(&mut self) -> MediaError {
        match self.outcome() {
            Err(error) => error,
            Ok(()) => self.write_error(io::Error::other("it was ended too early")),
        }
    }

    fn write_error(&self, error: io::Error) -> MediaError {
        MediaError::Write { path: self.path.clone(), error }
    }

    fn length_error(&self) -> MediaError {
        MediaError::Length {
            path: self.path.clone(),
            extents: self.info.extents.clone(),
            channels: self.info.channels,
            expected: self.info.n_values().unwrap_or(u64::MAX).to_string(),
            actual: self.n_values as usize,
        }
    }
}

impl SliceWriter for PictureWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        if samples.sample_type() != self.info.sample_type {
            return Err(self.write_error(other_type()));
        }
        self.n_values += samples.len() as u64;
        if Some(self.n_values) > self.info.n_values() {
            return Err(self.length_error());
        }
        for start in (0..samples.len()).step_by(PIECE_VALUES) {
            let piece = samples.slice(start..samples.len().min(start + PIECE_VALUES));
            let sent = self.sender.as_ref().is_some_and(|sender| sender.send(Message::Values(piece)).is_ok());
            if !sent {
                return Err(self.failure());
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), MediaError> {
        if Some(self.n_values) != self.info.n_values() {
            return Err(self.length_error());
        }
        if let Some(sender) = &self.sender {
            // A thread that has ended already says why below.
            let _ = sender.send(Message::Finish);
        }
        self.outcome()
    }
}

impl Drop for PictureWriter {
    /// Without a finish the thread removes its temporary file before this returns.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// All values at once, without a copy where they came so.
pub(crate) fn whole<'s>(picture: Picture, pieces: Pieces<'_, 's>) -> io::Result<Cow<'s, Samples>> {
    let n = picture.n_values() as usize;
    let mut samples = pieces()?.unwrap_or_else(|| Cow::Owned(Samples::empty(picture.sample_type)));
    while let Some(piece) = pieces()? {
        match (samples.to_mut(), piece.as_ref()) {
            (Samples::U8(to), Samples::U8(from)) => append(to, from, n),
            (Samples::U16(to), Samples::U16(from)) => append(to, from, n),
            _ => return Err(other_type()),
        }
    }
    if samples.len() == n { Ok(samples) } else { Err(wrong_length()) }
}

fn append<T: Copy>(to: &mut Vec<T>, from: &[T], n: usize) {
    // Exactly the picture's memory, once: doubling could take twice of it.
    to.reserve_exact(n.saturating_sub(to.len()));
    to.extend_from_slice(from);
}

impl Picture {
    fn n_values(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height) * self.color.n_channels() as u64
    }
}

/// Through the `png` crate's streaming writer: the `image` crate's encoder keeps the whole compressed file in memory.
pub(crate) fn png(writer: &mut dyn Write, picture: Picture, pieces: Pieces<'_, '_>) -> io::Result<()> {
    let mut encoder = png::Encoder::new(writer, picture.width, picture.height);
    encoder.set_color(match picture.color {
        ColorType::Gray => png::ColorType::Grayscale,
        ColorType::GrayAlpha => png::ColorType::GrayscaleAlpha,
        ColorType::Rgb => png::ColorType::Rgb,
        ColorType::Rgba => png::ColorType::Rgba,
    });
    encoder.set_depth(match picture.sample_type {
        SampleType::U16 => png::BitDepth::Sixteen,
        _ => png::BitDepth::Eight,
    });
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    big_endian(&mut stream, picture, pieces)?;
    stream.finish()?;
    Ok(writer.finish()?)
}

/// The binary greymap (P5) or pixmap (P6).
pub(crate) fn pnm(writer: &mut dyn Write, picture: Picture, pieces: Pieces<'_, '_>) -> io::Result<()> {
    let magic = if picture.color == ColorType::Gray { "P5" } else { "P6" };
    write!(writer, "{magic}\n{} {}\n{}\n", picture.width, picture.height, max_value(picture))?;
    big_endian(writer, picture, pieces)
}

/// The arbitrary map (P7).
pub(crate) fn pam(writer: &mut dyn Write, picture: Picture, pieces: Pieces<'_, '_>) -> io::Result<()> {
    let tuple = match picture.color {
        ColorType::Gray => "GRAYSCALE",
        ColorType::GrayAlpha => "GRAYSCALE_ALPHA",
        ColorType::Rgb => "RGB",
        ColorType::Rgba => "RGB_ALPHA",
    };
    write!(
        writer,
        "P7\nWIDTH {}\nHEIGHT {}\nDEPTH {}\nMAXVAL {}\nTUPLTYPE {tuple}\nENDHDR\n",
        picture.width,
        picture.height,
        picture.color.n_channels(),
        max_value(picture)
    )?;
    big_endian(writer, picture, pieces)
}

fn max_value(picture: Picture) -> u16 {
    match picture.sample_type {
        SampleType::U16 => u16::MAX,
        _ => u16::from(u8::MAX),
    }
}

/// All values, 16-bit ones with the high byte first.
fn big_endian(
    writer: &mut (impl Write + ?Sized),
    picture: Picture,
    pieces: Pieces<'_, '_>,
) -> io::Result<()> {
    let mut left = picture.n_values();
    let mut swapped = Vec::new();
    while let Some(samples) = pieces()? {
        left = left.checked_sub(samples.len() as u64).ok_or_else(wrong_length)?;
        match samples.as_ref() {
            Samples::U8(values) => writer.write_all(values)?,
            Samples::U16(values) => {
                for part in values.chunks(SWAP_BYTES / 2) {
                    swapped.clear();
                    swapped.extend(part.iter().flat_map(|value| value.to_be_bytes()));
                    writer.write_all(&swapped)?;
                }
            }
            _ => return Err(other_type()),
        }
    }
    if left == 0 { Ok(()) } else { Err(wrong_length()) }
}

/// Uncompressed, in strips of about a megabyte.
pub(crate) fn tiff(
    file: &mut (impl Write + Seek),
    picture: Picture,
    pieces: Pieces<'_, '_>,
) -> io::Result<()> {
    if picture.n_values().saturating_mul(picture.sample_type.n_bytes() as u64) >= BIG_TIFF {
        tiff_of(TiffEncoder::new_big(file).map_err(tiff_error)?, picture, pieces)
    } else {
        tiff_of(TiffEncoder::new(file).map_err(tiff_error)?, picture, pieces)
    }
}

fn tiff_of<W: Write + Seek, K: TiffKind>(
    encoder: TiffEncoder<W, K>,
    picture: Picture,
    pieces: Pieces<'_, '_>,
) -> io::Result<()> {
    match (picture.color, picture.sample_type) {
        (ColorType::Gray, SampleType::U8) => strips::<Gray8, _, _>(encoder, picture, pieces),
        (ColorType::Rgb, SampleType::U8) => strips::<RGB8, _, _>(encoder, picture, pieces),
        (ColorType::Rgba, SampleType::U8) => strips::<RGBA8, _, _>(encoder, picture, pieces),
        (ColorType::Gray, SampleType::U16) => strips::<Gray16, _, _>(encoder, picture, pieces),
        (ColorType::Rgb, SampleType::U16) => strips::<RGB16, _, _>(encoder, picture, pieces),
        (ColorType::Rgba, SampleType::U16) => strips::<RGBA16, _, _>(encoder, picture, pieces),
        _ => Err(other_type()),
    }
}

fn strips<C: TiffColor<Inner: Value>, W: Write + Seek, K: TiffKind>(
    mut encoder: TiffEncoder<W, K>,
    picture: Picture,
    pieces: Pieces<'_, '_>,
) -> io::Result<()>
where
    [C::Inner]: TiffValue,
{
    let mut image = encoder.new_image::<C>(picture.width, picture.height).map_err(tiff_error)?;
    let mut strip: Vec<C::Inner> = Vec::new();
    while let Some(samples) = pieces()? {
        let mut values = C::Inner::of(&samples).ok_or_else(other_type)?;
        while !values.is_empty() {
            let n = image.next_strip_sample_count() as usize;
            if n == 0 {
                return Err(wrong_length());
            }
            let (now, rest) = values.split_at(values.len().min(n - strip.len()));
            strip.extend_from_slice(now);
            values = rest;
            if strip.len() == n {
                image.write_strip(&strip).map_err(tiff_error)?;
                strip.clear();
            }
        }
    }
    if !strip.is_empty() || image.next_strip_sample_count() > 0 {
        return Err(wrong_length());
    }
    image.finish().map_err(tiff_error)
}

/// The two types of a picture's values.
trait Value: Copy {
    fn of(samples: &Samples) -> Option<&[Self]>;
}

impl Value for u8 {
    fn of(samples: &Samples) -> Option<&[Self]> {
        if let Samples::U8(values) = samples { Some(values) } else { None }
    }
}

impl Value for u16 {
    fn of(samples: &Samples) -> Option<&[Self]> {
        if let Samples::U16(values) = samples { Some(values) } else { None }
    }
}

fn tiff_error(error: TiffError) -> io::Error {
    match error {
        TiffError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// The callers count already; this keeps the encoders total.
fn wrong_length() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "its rows are not as many as its header says")
}
