//! The one error type of reading and writing.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Formats that are read, as the messages list them.
pub(crate) const READ_FORMATS: &str = "PNG, JPEG, WebP, TIFF, PNM, BMP, TGA, GIF, QOI and ICO";

/// Words that may quote a file: what would act on a terminal is escaped, and of a long text the middle is left out, so that
/// the remedy at its end stays.
fn shown(text: &str) -> String {
    const START: usize = 500;
    const END: usize = 300;
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let text: String = text.chars().map(escape).collect();
    if text.len() <= START + END {
        return text;
    }
    let boundary = |from: usize| (from..text.len()).find(|&i| text.is_char_boundary(i)).unwrap_or(text.len());
    format!("{}…{}", &text[..boundary(START)], &text[boundary(text.len() - END)..])
}

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
    #[error("{} is not a picture that can be read: {}; accepted formats are {READ_FORMATS}", path.display(), shown(found))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What there is instead.
        found: String,
    },
    /// The format is known, but not this kind of it.
    #[error("{} is a {format} picture of a kind that is not read: {}; convert it to an 8-bit or 16-bit PNG first", path.display(), shown(detail))]
    UnsupportedKind {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What about it.
        detail: String,
    },
    /// The file is truncated or breaks the rules of its format.
    #[error("{} is a damaged or truncated {format} file: {}; get a fresh copy of it", path.display(), shown(detail))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What the decoder said.
        detail: String,
    },
    /// The file, or what is asked of it, cannot be used; the problem says what is accepted and what to do.
    #[error("{} cannot be used: {}", path.display(), shown(problem))]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, what is accepted, what to do.
        problem: String,
    },
    /// A mesh, or a grid made of one, cannot be used; the problem says what is accepted and what to do.
    #[error("the shape cannot be used: {}", shown(problem))]
    Shape {
        /// What is wrong, what is accepted, what to do.
        problem: String,
    },
    /// A limit of [`Limits`](crate::Limits) is hit.
    #[error("{} is too large: {actual}, and the limit is {limit}; make the picture smaller or raise the limit (in the command: --limits)", path.display())]
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

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn words_of_a_file_do_not_reach_a_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(shown("é, ✓"), "é, ✓");
        let long = format!("it is {}; make it shorter", "é".repeat(5000));
        let short = shown(&long);
        assert!(
            short.len() < 900 && short.starts_with("it is é") && short.ends_with("é; make it shorter"),
            "{short}"
        );
    }
}
