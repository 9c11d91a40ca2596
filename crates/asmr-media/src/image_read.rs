//! Picture files to signals.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use asmr::signal::{ColorType, Samples, Signal, SignalInfo};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, error::LimitErrorKind};

use crate::complete::missing_end;
use crate::error::MediaError;
use crate::guard::guarded;

/// What a picture may ask for before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Columns, as stored in the file (before the EXIF orientation).
    pub max_width: u32,
    /// Rows, as stored in the file.
    pub max_height: u32,
    /// Bytes of the decoded values. Decoding itself may need as much again (a turned picture, a TIFF).
    pub max_alloc_bytes: u64,
}

impl Default for Limits {
    /// 100,000 by 100,000 and 4 GiB.
    fn default() -> Self {
        Self { max_width: 100_000, max_height: 100_000, max_alloc_bytes: 4 << 30 }
    }
}

/// Reads a picture as a signal of extents `[rows, columns]`.
///
/// PNG, JPEG, WebP, TIFF, PNM, BMP, GIF, QOI and ICO are recognised by their content, whatever the file is called;
/// TGA, which has no signature, by its extension. The values keep the file's own type (8 or 16 bits) and channels:
/// a grey picture has one, with or without alpha. What is not plain becomes plain the way the `image` crate does it:
/// a palette becomes RGB or RGBA, 1 to 4 bits become 8, CMYK becomes RGB, and WebP, GIF, BMP and QOI never give grey.
/// Of an animation the first frame is read, of an icon the best entry. The EXIF orientation is applied; colour
/// profiles are not. Pictures of 32-bit floats are refused.
///
/// A pipe is read into memory first, up to `limits.max_alloc_bytes`.
///
/// # Errors
/// [`MediaError::Read`], [`MediaError::UnknownFormat`], [`MediaError::UnsupportedKind`], [`MediaError::Damaged`] or
/// [`MediaError::TooLarge`]; the last comes from the header alone, before anything of that size is allocated.
/// A file cut short is [`MediaError::Damaged`], not a picture with grey at the bottom.
pub fn read_image(path: &Path, limits: &Limits) -> Result<Signal, MediaError> {
    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder; give the name of a picture in it",
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    if metadata.is_file() {
        return read_image_from(BufReader::with_capacity(1 << 16, file), path, limits);
    }
    let mut bytes = Vec::new();
    file.take(limits.max_alloc_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits.max_alloc_bytes {
        return Err(MediaError::TooLarge {
            path: path.to_path_buf(),
            actual: format!("it has more than {} bytes", limits.max_alloc_bytes),
            limit: format!("{} bytes", limits.max_alloc_bytes),
        });
    }
    read_image_from(Cursor::new(bytes), path, limits)
}

/// [`read_image`] from anything that can be read and sought, from its start.
///
/// `name` stands in messages, and its extension is what TGA is recognised by.
///
/// # Errors
/// As [`read_image`].
pub fn read_image_from<R: BufRead + Seek>(
    mut reader: R,
    name: &Path,
    limits: &Limits,
) -> Result<Signal, MediaError> {
    let unreadable = |error| MediaError::Read { path: name.to_path_buf(), error };
    let (format, start) = recognise(&mut reader, name)?;
    let failed = |error| explain(error, format, name, limits);
    let damaged =
        |detail| MediaError::Damaged { path: name.to_path_buf(), format: format_name(format), detail };
    if let (ImageFormat::Png, Some((width, height))) = (format, png_size(&start)) {
        // The PNG decoder asks for the memory of a row at once, and its error does not tell how wide the row is.
        check_size(width, height, 0, name, limits)?;
    }
    match missing_end(format, &mut reader) {
        Ok(None) => {}
        Ok(Some(detail)) => return Err(damaged(detail)),
        Err(error) => return Err(failed(ImageError::IoError(error))),
    }
    reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;

    // Width and height are checked below instead: the crate's own error tells neither number.
    let mut inner_limits = image::Limits::no_limits();
    inner_limits.max_alloc = Some(limits.max_alloc_bytes.saturating_mul(2));
    let mut image_reader = ImageReader::with_format(reader, format);
    image_reader.limits(inner_limits);
    let mut decoder = image_reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    // Some decoders ignore `max_alloc`, so nothing is asked of them before this.
    check_size(width, height, decoder.total_bytes(), name, limits)?;
    if let Some(detail) = refused_kind(decoder.color_type()) {
        return Err(MediaError::UnsupportedKind {
            path: name.to_path_buf(),
            format: format_name(format),
            detail,
        });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    // The decoder of JPEG asserts what hostile files can break: that is a damaged file too.
    let mut picture = guarded(|| DynamicImage::from_decoder(decoder))
        .ok_or_else(|| damaged("its decoder cannot make sense of it".to_owned()))?
        .map_err(failed)?;
    picture.apply_orientation(orientation);
    to_signal(picture).map_err(|detail| MediaError::UnsupportedKind {
        path: name.to_path_buf(),
        format: format_name(format),
        detail,
    })
}

/// The format by signature, or TGA by extension; and the first 24 bytes, in which a PNG has its width and height last.
pub(crate) fn recognise<R: BufRead + Seek>(
    reader: &mut R,
    name: &Path,
) -> Result<(ImageFormat, Vec<u8>), MediaError> {
    let unreadable = |error| MediaError::Read { path: name.to_path_buf(), error };
    let mut start = Vec::new();
    reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    reader.by_ref().take(24).read_to_end(&mut start).map_err(unreadable)?;
    let unknown = |found: String| MediaError::UnknownFormat { path: name.to_path_buf(), found };
    if start.is_empty() {
        return Err(unknown("the file is empty".to_string()));
    }
    let is_tga = name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tga"));
    // A TIFF of more than 4 GiB has a signature of its own, which the crate does not know.
    if start.starts_with(b"II+\0") || start.starts_with(b"MM\0+") {
        return Ok((ImageFormat::Tiff, start));
    }
    match image::guess_format(&start) {
        Ok(format) if format_name(format).is_empty() => {
            Err(unknown(format!("its content looks like {format:?}, which is not read")))
        }
        Ok(format) => Ok((format, start)),
        Err(_) if is_tga => Ok((ImageFormat::Tga, start)),
        Err(_) => Err(unknown("its content has no known signature".to_string())),
    }
}

/// Width and height from the first 24 bytes of a PNG.
pub(crate) fn png_size(start: &[u8]) -> Option<(u32, u32)> {
    match start {
        [.., b'I', b'H', b'D', b'R', a, b, c, d, e, f, g, h] if start.len() == 24 => {
            Some((u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h])))
        }
        _ => None,
    }
}

fn check_size(width: u32, height: u32, bytes: u64, name: &Path, limits: &Limits) -> Result<(), MediaError> {
    let too_large = |actual, limit| MediaError::TooLarge { path: name.to_path_buf(), actual, limit };
    if width > limits.max_width || height > limits.max_height {
        return Err(too_large(
            format!("it claims {width} x {height} pixels"),
            format!("{} x {}", limits.max_width, limits.max_height),
        ));
    }
    if bytes > limits.max_alloc_bytes {
        return Err(too_large(
            format!("{width} x {height} pixels need {bytes} bytes"),
            format!("{} bytes", limits.max_alloc_bytes),
        ));
    }
    Ok(())
}

fn refused_kind(color: image::ColorType) -> Option<String> {
    use image::ColorType as C;
    match color {
        C::L8 | C::La8 | C::Rgb8 | C::Rgba8 | C::L16 | C::La16 | C::Rgb16 | C::Rgba16 => None,
        C::Rgb32F | C::Rgba32F => Some("its samples are 32-bit floats".to_string()),
        other => Some(format!("its samples are {other:?}")),
    }
}

fn to_signal(picture: DynamicImage) -> Result<Signal, String> {
    use DynamicImage as D;
    let extents = vec![picture.height() as usize, picture.width() as usize];
    let (color, samples) = match picture {
        D::ImageLuma8(p) => (ColorType::Gray, Samples::U8(p.into_raw())),
        D::ImageLumaA8(p) => (ColorType::GrayAlpha, Samples::U8(p.into_raw())),
        D::ImageRgb8(p) => (ColorType::Rgb, Samples::U8(p.into_raw())),
        D::ImageRgba8(p) => (ColorType::Rgba, Samples::U8(p.into_raw())),
        D::ImageLuma16(p) => (ColorType::Gray, Samples::U16(p.into_raw())),
        D::ImageLumaA16(p) => (ColorType::GrayAlpha, Samples::U16(p.into_raw())),
        D::ImageRgb16(p) => (ColorType::Rgb, Samples::U16(p.into_raw())),
        D::ImageRgba16(p) => (ColorType::Rgba, Samples::U16(p.into_raw())),
        other => return Err(format!("its samples are {:?}", other.color())),
    };
    let info = SignalInfo::plain(extents, color.n_channels(), samples.sample_type(), Some(color));
    Signal::new(info, samples).map_err(|error| error.to_string())
}

/// The crate's error as one of ours.
pub(crate) fn explain(error: ImageError, format: ImageFormat, name: &Path, limits: &Limits) -> MediaError {
    let path = name.to_path_buf();
    let format = format_name(format);
    match error {
        ImageError::IoError(error) => match error.kind() {
            // These kinds come from the decoders: the content, not the disk, is at fault.
            io::ErrorKind::UnexpectedEof => {
                MediaError::Damaged { path, format, detail: "the file ends too early".to_string() }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                MediaError::Damaged { path, format, detail: one_line(&error.to_string()) }
            }
            _ => MediaError::Read { path, error },
        },
        ImageError::Limits(error) => match error.kind() {
            LimitErrorKind::DimensionError => MediaError::TooLarge {
                path,
                actual: "its header claims more pixels than that".to_string(),
                limit: format!("{} x {}", limits.max_width, limits.max_height),
            },
            _ => MediaError::TooLarge {
                path,
                actual: "its header asks for more memory than that".to_string(),
                limit: format!("{} bytes", limits.max_alloc_bytes),
            },
        },
        ImageError::Unsupported(error) => {
            MediaError::UnsupportedKind { path, format, detail: one_line(&error.to_string()) }
        }
        other => {
            let detail =
                std::error::Error::source(&other).map_or_else(|| other.to_string(), ToString::to_string);
            MediaError::Damaged { path, format, detail: one_line(&detail) }
        }
    }
}

/// Decoders' messages may have several lines or end in a full stop; ours is one sentence.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches('.').to_string()
}

/// A format's usual name; empty if it is not read.
fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Gif => "GIF",
        ImageFormat::WebP => "WebP",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Tga => "TGA",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Ico => "ICO",
        ImageFormat::Qoi => "QOI",
        _ => "",
    }
}
