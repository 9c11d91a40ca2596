//! Pictures out of files row by row.
//!
//! A file is read row by row only where the header leaves no doubt that this gives what [`read_image`] gives. All
//! else, and every header that is refused, is `read_image`'s: one place decides what is accepted.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};
use image::codecs::png::PngDecoder;
use image::codecs::pnm::{PnmDecoder, SampleEncoding};
use image::codecs::tiff::TiffDecoder;
use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageFormat};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;

use crate::complete::missing_end;
use crate::error::MediaError;
use crate::image_read::{Limits, explain, png_size, read_image, recognise};
use crate::stream::{MemoryReader, SliceReader};

const BUFFER_BYTES: usize = 1 << 16;

/// Opens a picture for reading row by row: the same values and the same refusals as [`read_image`], but the values of
/// these need not fit into memory:
///
/// * PNG that is neither interlaced nor animated: one row at a time;
/// * binary PGM, PPM and PAM: one row at a time;
/// * TIFF with interleaved channels: one strip, or one row of tiles, at a time.
///
/// Everything else is decoded whole by [`read_image`] and then handed out: JPEG (its decoder has no rows), `WebP`, BMP,
/// TGA, GIF, QOI, ICO, the Netpbm formats in text or of 1 bit, a picture that its EXIF orientation turns, and a pipe.
///
/// `limits` bounds width and height of every picture. `limits.max_alloc_bytes` bounds what is held in memory: a row, a
/// strip or a row of tiles of the first kind, the whole picture of the second.
///
/// # Errors
/// As [`read_image`]; damage of a picture that is read row by row is found by [`SliceReader::read`], at the latest with
/// its last row.
pub fn open_picture(path: &Path, limits: &Limits) -> Result<Box<dyn SliceReader>, MediaError> {
    if let Some(rows) = rows(path, limits) {
        return Ok(rows);
    }
    let signal = read_image(path, limits)?;
    Ok(Box::new(MemoryReader::new(signal.info().clone(), signal.into_samples())))
}

/// What [`open_picture`] leaves out: all pages of a TIFF but the first, and the frames of an animated PNG. Nothing of what cannot be
/// read.
pub(crate) fn left_out(path: &Path) -> Option<String> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let (format, _) = recognise(&mut BufReader::new(&file), path).ok()?;
    file.rewind().ok()?;
    let file = BufReader::new(file);
    match format {
        ImageFormat::Png => {
            let reader = png::Decoder::new(file).read_info().ok()?;
            let n_frames = reader.info().animation_control()?.num_frames;
            (n_frames > 1).then(|| {
                format!("it is an animation of {n_frames} frames, and only the picture for programs that show none is read")
            })
        }
        ImageFormat::Tiff => {
            let decoder = Decoder::new(file).ok()?;
            decoder.more_images().then(|| {
                "it has more pages than one, and only the first is read; to encode another, save it to a file of its own"
                    .to_owned()
            })
        }
        _ => None,
    }
}

/// `None` where [`read_image`] must read the picture, or refuse it.
fn rows(path: &Path, limits: &Limits) -> Option<Box<dyn SliceReader>> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let (format, start) = recognise(&mut BufReader::new(&file), path).ok()?;
    file.rewind().ok()?;
    let source = Source { path: path.to_path_buf(), format, limits: *limits };
    match format {
        ImageFormat::Png => png_rows(source, file, &start),
        ImageFormat::Pnm => pnm_rows(source, file),
        ImageFormat::Tiff => tiff_rows(source, file),
        _ => None,
    }
}

/// What is needed to explain an error.
struct Source {
    path: PathBuf,
    format: ImageFormat,
    limits: Limits,
}

impl Source {
    fn failed(&self, error: ImageError) -> MediaError {
        explain(error, self.format, &self.path, &self.limits)
    }
}

/// The signal that a header promises, if its values come as they are stored, in rows from the top.
fn plain(decoder: &mut impl ImageDecoder, limits: &Limits) -> Option<SignalInfo> {
    use image::ColorType as C;
    let (width, height) = decoder.dimensions();
    let (color, sample_type) = match decoder.color_type() {
        C::L8 => (ColorType::Gray, SampleType::U8),
        C::La8 => (ColorType::GrayAlpha, SampleType::U8),
        C::Rgb8 => (ColorType::Rgb, SampleType::U8),
        C::Rgba8 => (ColorType::Rgba, SampleType::U8),
        C::L16 => (ColorType::Gray, SampleType::U16),
        C::La16 => (ColorType::GrayAlpha, SampleType::U16),
        C::Rgb16 => (ColorType::Rgb, SampleType::U16),
        C::Rgba16 => (ColorType::Rgba, SampleType::U16),
        _ => return None,
    };
    let row_bytes = u64::from(width) * (color.n_channels() * sample_type.n_bytes()) as u64;
    let accepted = width <= limits.max_width
        && height <= limits.max_height
        && row_bytes <= limits.max_alloc_bytes
        && decoder.original_color_type() == decoder.color_type().into()
        && decoder.orientation().ok()? == Orientation::NoTransforms;
    let info = SignalInfo::plain(
        vec![height as usize, width as usize],
        color.n_channels(),
        sample_type,
        Some(color),
    );
    (accepted && info.validate().is_ok()).then_some(info)
}

/// Rows still to be read, less `n_slices` of them.
///
/// # Panics
/// When there are fewer.
fn take_rows(left: &mut usize, n_slices: usize) {
    assert!(n_slices <= *left, "{n_slices} rows are asked for, {left} are left");
    *left -= n_slices;
}

/// Bytes of big-endian values.
fn from_big_endian(bytes: Vec<u8>, sample_type: SampleType) -> Samples {
    match sample_type {
        SampleType::U16 => Samples::U16(bytes.as_chunks().0.iter().map(|&b| u16::from_be_bytes(b)).collect()),
        _ => Samples::U8(bytes),
    }
}

struct PngRows {
    source: Source,
    info: SignalInfo,
    left: usize,
    reader: png::Reader<BufReader<File>>,
}

fn png_rows(source: Source, mut file: File, start: &[u8]) -> Option<Box<dyn SliceReader>> {
    // Before anything is asked of a decoder: it allocates a row.
    let (width, _) = png_size(start)?;
    if width > source.limits.max_width {
        return None;
    }
    // As in `read_image`, so that the same files are refused.
    let bytes = source.limits.max_alloc_bytes.saturating_mul(2);
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(bytes);
    let mut header = PngDecoder::with_limits(BufReader::with_capacity(BUFFER_BYTES, &file), limits).ok()?;
    let info = plain(&mut header, &source.limits)?;
    if header.is_apng().ok()? {
        return None;
    }
    drop(header);
    file.rewind().ok()?;
    let limits = png::Limits { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) };
    let mut decoder = png::Decoder::new_with_limits(BufReader::with_capacity(BUFFER_BYTES, file), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    let reader = decoder.read_info().ok()?;
    if reader.info().interlaced {
        return None;
    }
    Some(Box::new(PngRows { source, left: info.extents[0], info, reader }))
}

impl SliceReader for PngRows {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        take_rows(&mut self.left, n_slices);
        let failed = |error| self.source.failed(png_error(error));
        let row_bytes = self.info.slice_values() * self.info.sample_type.n_bytes();
        let mut bytes = vec![0; n_slices * row_bytes];
        for row in bytes.chunks_exact_mut(row_bytes) {
            self.reader.read_row(row).map_err(failed)?;
        }
        if self.left == 0 {
            // What follows the last row: the end of the compressed data and its checksums.
            self.reader.read_row(&mut []).map_err(failed)?;
        }
        Ok(from_big_endian(bytes, self.info.sample_type))
    }
}

/// As the `image` crate turns it into its own.
fn png_error(error: png::DecodingError) -> ImageError {
    match error {
        png::DecodingError::IoError(error) => ImageError::IoError(error),
        png::DecodingError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        other => ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Png), other)),
    }
}

struct PnmRows {
    source: Source,
    info: SignalInfo,
    left: usize,
    max_value: u32,
    reader: BufReader<File>,
}

fn pnm_rows(source: Source, file: File) -> Option<Box<dyn SliceReader>> {
    let mut decoder = PnmDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file)).ok()?;
    let info = plain(&mut decoder, &source.limits)?;
    if !matches!(decoder.subtype().sample_encoding(), SampleEncoding::Binary) {
        return None;
    }
    let (mut reader, header) = decoder.into_inner();
    let n_bytes = info.n_values()?.checked_mul(info.sample_type.n_bytes() as u64)?;
    if reader.get_ref().metadata().ok()?.len() < reader.stream_position().ok()?.checked_add(n_bytes)? {
        return None;
    }
    let max_value = header.maximal_sample();
    Some(Box::new(PnmRows { source, left: info.extents[0], info, max_value, reader }))
}

impl SliceReader for PnmRows {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        take_rows(&mut self.left, n_slices);
        let mut bytes = vec![0; n_slices * self.info.slice_values() * self.info.sample_type.n_bytes()];
        self.reader.read_exact(&mut bytes).map_err(|error| self.source.failed(ImageError::IoError(error)))?;
        let mut samples = from_big_endian(bytes, self.info.sample_type);
        // A file may count to less than its type can; what it calls white is white. In the `image` crate's words.
        match &mut samples {
            Samples::U8(values) if self.max_value != 255 => {
                let factor = 255.0 / self.max_value as f32;
                for v in values {
                    *v = (f32::from(*v) * factor).round() as u8;
                }
            }
            Samples::U16(values) if self.max_value != 65535 => {
                let factor = 65535.0 / self.max_value as f32;
                for v in values {
                    *v = (f32::from(*v) * factor).round() as u16;
                }
            }
            _ => {}
        }
        Ok(samples)
    }
}

struct TiffRows {
    source: Source,
    info: SignalInfo,
    left: usize,
    /// Strips or tiles side by side.
    n_across: u32,
    next_chunk: u32,
    /// The rows of the last strip or row of tiles that were not handed out yet start at this value.
    at: usize,
    band: Samples,
    decoder: Decoder<BufReader<File>>,
}

fn tiff_rows(source: Source, mut file: File) -> Option<Box<dyn SliceReader>> {
    if missing_end(source.format, &mut BufReader::new(&file)).ok()?.is_some() {
        return None;
    }
    file.rewind().ok()?;
    let mut header = TiffDecoder::new(BufReader::with_capacity(BUFFER_BYTES, &file)).ok()?;
    let info = plain(&mut header, &source.limits)?;
    drop(header);
    file.rewind().ok()?;
    let mut limits = tiff::decoder::Limits::default();
    let bytes = usize::try_from(source.limits.max_alloc_bytes).unwrap_or(usize::MAX);
    limits.decoding_buffer_size = bytes;
    // A strip may promise more bytes than it needs; whole pictures are read with as much.
    limits.intermediate_buffer_size = bytes.saturating_mul(2);
    let mut decoder = Decoder::new(BufReader::with_capacity(BUFFER_BYTES, file)).ok()?.with_limits(limits);
    let planes = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration).ok()?.unwrap_or(1);
    let channels = decoder.find_tag_unsigned::<u16>(Tag::SamplesPerPixel).ok()?.unwrap_or(1);
    // Planes of one channel each, and channels that are left out, are rare enough.
    if planes != 1 || usize::from(channels) != info.channels {
        return None;
    }
    let (chunk_columns, chunk_rows) = decoder.chunk_dimensions();
    let bytes_of = |rows: u64, columns: u64| {
        rows.saturating_mul(columns).saturating_mul((info.channels * info.sample_type.n_bytes()) as u64)
    };
    let (rows, columns) = (info.extents[0] as u64, info.extents[1] as u64);
    let band_bytes = bytes_of(rows.min(u64::from(chunk_rows)), columns);
    if band_bytes.max(bytes_of(1, u64::from(chunk_columns))) > source.limits.max_alloc_bytes {
        return None;
    }
    Some(Box::new(TiffRows {
        source,
        left: info.extents[0],
        n_across: (columns as u32).div_ceil(chunk_columns),
        next_chunk: 0,
        at: 0,
        band: Samples::empty(info.sample_type),
        info,
        decoder,
    }))
}

impl TiffRows {
    /// The next strip or row of tiles.
    fn next_band(&mut self) -> Result<(), TiffError> {
        self.at = 0;
        if self.n_across == 1 {
            self.band = self.next_chunk()?.1;
            return Ok(());
        }
        self.band = Samples::empty(self.info.sample_type);
        let (mut column, channels, row) = (0, self.info.channels, self.info.slice_values());
        for _ in 0..self.n_across {
            let (n_columns, tile) = self.next_chunk()?;
            let run = n_columns * channels;
            match (&mut self.band, &tile) {
                (Samples::U8(band), Samples::U8(tile)) => place(band, tile, run, column * channels, row),
                (Samples::U16(band), Samples::U16(tile)) => place(band, tile, run, column * channels, row),
                _ => return Err(other_samples()),
            }
            column += n_columns;
        }
        Ok(())
    }

    /// The next strip or tile: its columns, and its values without what reaches over the picture's edges.
    fn next_chunk(&mut self) -> Result<(usize, Samples), TiffError> {
        let samples = match self.decoder.read_chunk(self.next_chunk)? {
            DecodingResult::U8(values) => Samples::U8(values),
            DecodingResult::U16(values) => Samples::U16(values),
            _ => return Err(other_samples()),
        };
        if samples.sample_type() != self.info.sample_type {
            return Err(other_samples());
        }
        let columns = self.decoder.chunk_data_dimensions(self.next_chunk).0;
        self.next_chunk += 1;
        Ok((columns as usize, samples))
    }
}

/// Puts a tile of rows of `run` values into rows of `row` values, from value `start` on.
fn place<T: Copy + Default>(band: &mut Vec<T>, tile: &[T], run: usize, start: usize, row: usize) {
    band.resize(tile.len() / run * row, T::default());
    for (to, from) in band.chunks_exact_mut(row).zip(tile.chunks_exact(run)) {
        to[start..start + run].copy_from_slice(from);
    }
}

/// The header has promised other ones.
fn other_samples() -> TiffError {
    TiffError::UnsupportedError(tiff::TiffUnsupportedError::UnknownInterpretation)
}

impl SliceReader for TiffRows {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        take_rows(&mut self.left, n_slices);
        let mut n_values = n_slices * self.info.slice_values();
        let mut samples = Samples::empty(self.info.sample_type);
        while n_values > 0 {
            if self.at == self.band.len() {
                self.next_band().map_err(|error| self.source.failed(tiff_error(error)))?;
            }
            let now = self.at..self.band.len().min(self.at + n_values);
            self.at = now.end;
            n_values -= now.len();
            match (&mut samples, &self.band) {
                (Samples::U8(to), Samples::U8(band)) => to.extend_from_slice(&band[now]),
                (Samples::U16(to), Samples::U16(band)) => to.extend_from_slice(&band[now]),
                _ => return Err(self.source.failed(tiff_error(other_samples()))),
            }
        }
        Ok(samples)
    }
}

/// As the `image` crate turns it into its own.
fn tiff_error(error: TiffError) -> ImageError {
    let hint = ImageFormatHint::Exact(ImageFormat::Tiff);
    match error {
        TiffError::IoError(error) => ImageError::IoError(error),
        TiffError::UnsupportedError(what) => ImageError::Unsupported(UnsupportedError::from_format_and_kind(
            hint,
            UnsupportedErrorKind::GenericFeature(what.to_string()),
        )),
        TiffError::LimitsExceeded => {
            ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory))
        }
        other => ImageError::Decoding(DecodingError::new(hint, other)),
    }
}
