//! Signals to picture files.

use std::borrow::Cow;
use std::io::{self, Cursor, Write};
use std::path::Path;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use image::codecs::{bmp, jpeg, qoi, tga, webp};
use image::{EncodableLayout as _, ExtendedColorType, ImageEncoder, ImageError};

use crate::error::MediaError;
use crate::picture_rows_write::{Pieces, pam, png, pnm, tiff, whole};
use crate::write::{Sink, write_to_sink};

/// The quality of a written JPEG, 1 to 100. High, because the loss should be the network's, not the container's.
pub const JPEG_QUALITY: u8 = 95;

/// A format that [`write_image`] writes, chosen by extension.
///
/// | format | extension | 8-bit | 16-bit |
/// |---|---|---|---|
/// | PNG | png | grey, grey+alpha, RGB, RGBA | the same |
/// | JPEG (lossy) | jpg, jpeg | grey, RGB | |
/// | WebP (lossless) | webp | grey (as R=G=B), grey+alpha (likewise), RGB, RGBA | |
/// | TIFF | tif, tiff | grey, RGB, RGBA | the same |
/// | BMP | bmp | grey (as a grey palette), RGB, RGBA | |
/// | PPM | ppm | RGB | RGB |
/// | PGM | pgm | grey | grey |
/// | PNM | pnm | grey, RGB | the same |
/// | PAM | pam | grey, grey+alpha, RGB, RGBA | the same |
/// | TGA | tga | grey, grey+alpha, RGB, RGBA | |
/// | QOI | qoi | RGB, RGBA | |
///
/// TGA and QOI hold a second copy of the picture while they are written, and WebP more than that; the others stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureFormat {
    /// Portable Network Graphics, lossless.
    Png,
    /// JPEG at [`JPEG_QUALITY`] without chroma subsampling; the only lossy one.
    Jpeg,
    /// WebP, lossless.
    WebP,
    /// TIFF, uncompressed; above 4 GiB a `BigTIFF`.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// Portable pixmap (binary).
    Ppm,
    /// Portable greymap (binary).
    Pgm,
    /// A greymap or a pixmap, whichever the signal is.
    Pnm,
    /// Portable arbitrary map.
    Pam,
    /// Truevision TGA, run-length encoded.
    Tga,
    /// Quite OK Image.
    Qoi,
}

/// The pictures that one format may be asked to hold.
const KINDS: [(ColorType, SampleType); 8] = [
    (ColorType::Gray, SampleType::U8),
    (ColorType::GrayAlpha, SampleType::U8),
    (ColorType::Rgb, SampleType::U8),
    (ColorType::Rgba, SampleType::U8),
    (ColorType::Gray, SampleType::U16),
    (ColorType::GrayAlpha, SampleType::U16),
    (ColorType::Rgb, SampleType::U16),
    (ColorType::Rgba, SampleType::U16),
];

impl PictureFormat {
    /// Every format, lossless ones of both depths first: the order in which messages recommend them.
    pub const ALL: [Self; 11] = [
        Self::Png,
        Self::Tiff,
        Self::Pam,
        Self::Ppm,
        Self::Pgm,
        Self::Pnm,
        Self::WebP,
        Self::Bmp,
        Self::Tga,
        Self::Qoi,
        Self::Jpeg,
    ];

    /// The format that a file name's extension asks for, in upper or lower case.
    ///
    /// # Errors
    /// [`MediaError::UnknownExtension`].
    pub fn from_path(path: &Path) -> Result<Self, MediaError> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase();
        Ok(match extension.as_str() {
            "png" => Self::Png,
            "jpg" | "jpeg" => Self::Jpeg,
            "webp" => Self::WebP,
            "tif" | "tiff" => Self::Tiff,
            "bmp" => Self::Bmp,
            "ppm" => Self::Ppm,
            "pgm" => Self::Pgm,
            "pnm" => Self::Pnm,
            "pam" => Self::Pam,
            "tga" => Self::Tga,
            "qoi" => Self::Qoi,
            _ => return Err(MediaError::UnknownExtension { path: path.to_path_buf() }),
        })
    }

    /// The format's usual name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Bmp => "BMP",
            Self::Ppm => "PPM",
            Self::Pgm => "PGM",
            Self::Pnm => "PNM",
            Self::Pam => "PAM",
            Self::Tga => "TGA",
            Self::Qoi => "QOI",
        }
    }

    /// Whether the format holds pictures of this colour and sample type without losing a channel or a bit of depth.
    #[must_use]
    pub fn holds(self, color: ColorType, sample_type: SampleType) -> bool {
        use ColorType::{Gray, GrayAlpha, Rgb, Rgba};
        let deep = match sample_type {
            SampleType::U8 => false,
            SampleType::U16 => true,
            _ => return false,
        };
        match self {
            Self::Png | Self::Pam => true,
            Self::Tiff => color != GrayAlpha,
            Self::Ppm => color == Rgb,
            Self::Pgm => color == Gray,
            Self::Pnm => matches!(color, Gray | Rgb),
            Self::WebP | Self::Tga => !deep,
            Self::Bmp => !deep && color != GrayAlpha,
            Self::Jpeg => !deep && matches!(color, Gray | Rgb),
            Self::Qoi => !deep && matches!(color, Rgb | Rgba),
        }
    }

    /// The most rows or columns, and the most bytes of values, that the format's own fields can count.
    fn largest(self) -> (u64, u64) {
        // File offsets of 32 bits, less a generous header.
        const OFFSETS: u64 = (1 << 32) - (1 << 20);
        match self {
            Self::Png => ((1 << 31) - 1, u64::MAX),
            Self::Jpeg | Self::Tga => (65_535, u64::MAX),
            Self::WebP => (16_384, u64::MAX),
            Self::Bmp => ((1 << 31) - 1, OFFSETS),
            // The encoder refuses more than 400 million pixels, as the reference implementation does.
            Self::Qoi => (u64::from(u32::MAX), 400_000_000),
            Self::Tiff | Self::Ppm | Self::Pgm | Self::Pnm | Self::Pam => (u64::from(u32::MAX), u64::MAX),
        }
    }
}

/// Everything an encoder needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Picture {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) color: ColorType,
    pub(crate) sample_type: SampleType,
}

/// Whether [`write_image`] and [`create_picture`](crate::create_picture) could write a signal of this kind to this path: extension, kind and extents are checked,
/// the file system is not. For programs that decode for minutes before they write.
///
/// # Errors
/// [`MediaError::UnknownExtension`] or [`MediaError::CannotHold`].
pub fn check_writable(path: &Path, info: &SignalInfo) -> Result<(), MediaError> {
    plan(path, info).map(|_| ())
}

/// Writes a picture, its format chosen by the extension (see [`PictureFormat`]).
///
/// A signal with a colour type is a picture; so is a plain array of two axes and one to four channels (grey,
/// grey+alpha, RGB, RGBA). The file is written by [`write_atomically`](crate::write_atomically).
///
/// # Errors
/// [`MediaError::UnknownExtension`], [`MediaError::CannotHold`] (nothing is converted or dropped to make it fit), or
/// [`MediaError::Write`].
pub fn write_image(path: &Path, signal: &Signal) -> Result<(), MediaError> {
    let (format, picture) = plan(path, signal.info())?;
    let mut samples = Some(Cow::Borrowed(signal.samples()));
    write_to_sink(path, |sink| encode(format, picture, &mut || Ok(samples.take()), sink))
}

/// The bytes of a PNG file, for folders of pictures. `path` ends in `.png` and is otherwise only for messages.
pub(crate) fn png_bytes(path: &Path, signal: &Signal) -> Result<Vec<u8>, MediaError> {
    let (_, picture) = plan(path, signal.info())?;
    let mut bytes = Vec::new();
    let mut samples = Some(Cow::Borrowed(signal.samples()));
    png(&mut bytes, picture, &mut || Ok(samples.take()))
        .map_err(|error| MediaError::Write { path: path.to_path_buf(), error })?;
    Ok(bytes)
}

pub(crate) fn plan(path: &Path, info: &SignalInfo) -> Result<(PictureFormat, Picture), MediaError> {
    let format = PictureFormat::from_path(path)?;
    let refuse = |actual: String, accepted: String, remedy: String| MediaError::CannotHold {
        path: path.to_path_buf(),
        format: format.name(),
        actual,
        accepted,
        remedy,
    };
    let color = info.color.or(match info.channels {
        1 => Some(ColorType::Gray),
        2 => Some(ColorType::GrayAlpha),
        3 => Some(ColorType::Rgb),
        4 => Some(ColorType::Rgba),
        _ => None,
    });
    let (&[rows, columns], Some(color)) = (info.extents.as_slice(), color) else {
        return Err(refuse(
            format!("an array of extents {:?} with {} channels", info.extents, info.channels),
            "two axes with 1 to 4 channels".to_string(),
            "write it as .npy".to_string(),
        ));
    };
    if !format.holds(color, info.sample_type) {
        let able: Vec<_> = PictureFormat::ALL
            .iter()
            .filter(|other| other.holds(color, info.sample_type))
            .map(|other| other.name())
            .collect();
        let remedy = if able.is_empty() {
            "write it as .npy, or convert it to 8 or 16 bits".to_string()
        } else {
            format!("formats that can: {}", able.join(", "))
        };
        let accepted: Vec<_> = KINDS
            .iter()
            .filter(|(color, sample_type)| format.holds(*color, *sample_type))
            .map(|(color, sample_type)| kind(*color, *sample_type))
            .collect();
        return Err(refuse(kind(color, info.sample_type), accepted.join(", "), remedy));
    }
    let (side, mut bytes) = format.largest();
    let mut actual_bytes = info.n_values().unwrap_or(u64::MAX);
    if format == PictureFormat::Qoi {
        bytes = bytes.saturating_mul(info.channels as u64);
    } else {
        actual_bytes = actual_bytes.saturating_mul(info.sample_type.n_bytes() as u64);
    }
    if rows as u64 > side || columns as u64 > side || actual_bytes > bytes {
        return Err(refuse(
            format!("{columns} x {rows} pixels of {}", kind(color, info.sample_type)),
            if actual_bytes > bytes {
                format!("up to {bytes} bytes of values")
            } else {
                format!("up to {side} x {side} pixels")
            },
            "write it as .png".to_string(),
        ));
    }
    // Extents are at most 2^31, so both fit.
    Ok((format, Picture { width: columns as u32, height: rows as u32, color, sample_type: info.sample_type }))
}

fn kind(color: ColorType, sample_type: SampleType) -> String {
    let depth = match sample_type {
        SampleType::U8 => "8-bit",
        SampleType::U16 => "16-bit",
        SampleType::F32 => "32-bit float",
        other => other.name(),
    };
    let color = match color {
        ColorType::Gray => "grey",
        ColorType::GrayAlpha => "grey+alpha",
        ColorType::Rgb => "RGB",
        ColorType::Rgba => "RGBA",
    };
    format!("{depth} {color}")
}

/// Writes a picture whose values come in pieces; formats that cannot take them so get the whole.
pub(crate) fn encode(
    format: PictureFormat,
    picture: Picture,
    pieces: Pieces<'_, '_>,
    mut sink: Sink<'_>,
) -> io::Result<()> {
    if format == PictureFormat::Tiff {
        return match &mut sink {
            Sink::File(file) => tiff(file, picture, pieces),
            Sink::Stream(stream) => {
                // TIFF puts lengths in front of what it has written; a pipe cannot go back.
                let mut bytes = Cursor::new(Vec::new());
                tiff(&mut bytes, picture, pieces)?;
                stream.write_all(bytes.get_ref())
            }
        };
    }
    let mut writer: &mut dyn Write = match &mut sink {
        Sink::File(file) => file,
        Sink::Stream(stream) => stream,
    };
    match format {
        PictureFormat::Png => return png(writer, picture, pieces),
        PictureFormat::Ppm | PictureFormat::Pgm | PictureFormat::Pnm => return pnm(writer, picture, pieces),
        PictureFormat::Pam => return pam(writer, picture, pieces),
        _ => {}
    }
    let samples = whole(picture, pieces)?;
    let samples = samples.as_ref();
    match format {
        PictureFormat::Jpeg => {
            with_image(jpeg::JpegEncoder::new_with_quality(writer, JPEG_QUALITY), picture, samples)
        }
        PictureFormat::WebP => with_image(webp::WebPEncoder::new_lossless(writer), picture, samples),
        PictureFormat::Bmp => with_image(bmp::BmpEncoder::new(&mut writer), picture, samples),
        PictureFormat::Tga => with_image(tga::TgaEncoder::new(writer), picture, samples),
        PictureFormat::Qoi => with_image(qoi::QoiEncoder::new(writer), picture, samples),
        _ => unreachable!("handled above"),
    }
}

/// One of the `image` crate's encoders.
fn with_image(encoder: impl ImageEncoder, picture: Picture, samples: &Samples) -> io::Result<()> {
    use ExtendedColorType as E;
    let (bytes, color) = match (samples, picture.color) {
        (Samples::U8(v), ColorType::Gray) => (v.as_slice(), E::L8),
        (Samples::U8(v), ColorType::GrayAlpha) => (v.as_slice(), E::La8),
        (Samples::U8(v), ColorType::Rgb) => (v.as_slice(), E::Rgb8),
        (Samples::U8(v), ColorType::Rgba) => (v.as_slice(), E::Rgba8),
        (Samples::U16(v), ColorType::Gray) => (v.as_bytes(), E::L16),
        (Samples::U16(v), ColorType::GrayAlpha) => (v.as_bytes(), E::La16),
        (Samples::U16(v), ColorType::Rgb) => (v.as_bytes(), E::Rgb16),
        (Samples::U16(v), ColorType::Rgba) => (v.as_bytes(), E::Rgba16),
        _ => return Err(other_type()),
    };
    encoder.write_image(bytes, picture.width, picture.height, color).map_err(|error| match error {
        ImageError::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    })
}

/// `plan` has refused other types already; this keeps the encoders total.
pub(crate) fn other_type() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "pictures have unsigned values of 8 or 16 bits")
}
