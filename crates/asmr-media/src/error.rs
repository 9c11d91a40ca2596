//! The one error type of reading and writing.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Formats that are read, as the messages list them.
pub(crate) const READ_FORMATS: &str = "PNG, JPEG, WebP, TIFF, PNM, BMP, TGA, GIF, QOI and ICO";

/// Why a file was not read or not written.
///
/// The message is complete by itself (it includes what the operating system or the decoder said), so `source()` is
/// always `None` and nothing is printed twice.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The file is missing, is a folder, or may not be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The content is not of any format that is read.
    #[error("{} is not a picture that can be read: {found}; accepted formats are {READ_FORMATS}", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What there is instead.
        found: String,
    },
    /// The format is known, but not this kind of it.
    #[error("{} is a {format} picture of a kind that is not read: {detail}; convert it to an 8-bit or 16-bit PNG first", path.display())]
    UnsupportedKind {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What about it.
        detail: String,
    },
    /// The file is truncated or breaks the rules of its format.
    #[error("{} is a damaged or truncated {format} file: {detail}; get a fresh copy of it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// The file, or what is asked of it, cannot be used; the problem says what is accepted and what to do.
    #[error("{} cannot be used: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, what is accepted, what to do.
        problem: String,
    },
    /// A mesh, or a grid made of one, cannot be used; the problem says what is accepted and what to do.
    #[error("the shape cannot be used: {problem}")]
    Shape {
        /// What is wrong, what is accepted, what to do.
        problem: String,
    },
    /// A limit of [`Limits`](crate::Limits) is hit.
    #[error("{} is too large: {actual}, and the limit is {limit}; make the picture smaller or raise the limit", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What the file's header asks for.
        actual: String,
        /// What is allowed.
        limit: String,
    },
    /// The file name's extension names no format that is written.
    #[error(
        "cannot tell the format of {} from its extension; accepted are .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp, .ppm, .pgm, .pnm, .pam, .tga and .qoi", path.display()
    )]
    UnknownExtension {
        /// The file.
        path: PathBuf,
    },
    /// The format cannot hold this signal as it is.
    #[error("{} cannot be written: {format} cannot hold {actual}; it holds {accepted}; {remedy}", path.display())]
    CannotHold {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// The signal's kind.
        actual: String,
        /// What the format holds.
        accepted: String,
        /// What to do instead.
        remedy: String,
    },
    /// An array's number of values differs from what its shape needs.
    #[error("{} cannot be written: extents {extents:?} with {channels} channels need {expected} values, not {actual}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// The extents.
        extents: Vec<usize>,
        /// The channels.
        channels: usize,
        /// Values the shape needs.
        expected: String,
        /// Values there are.
        actual: usize,
    },
    /// The operating system refused to write, or ran out of space.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
}

impl MediaError {
    /// Whether writing failed for a reason outside the input: folder, permission, full disk.
    #[must_use]
    pub fn is_write_failure(&self) -> bool {
        matches!(self, Self::Write { .. })
    }

    /// Whether the input is at fault: a missing, foreign, damaged or too large file, or a format that cannot hold
    /// the signal. The opposite of [`is_write_failure`](Self::is_write_failure).
    #[must_use]
    pub fn is_bad_input(&self) -> bool {
        !self.is_write_failure()
    }
}
