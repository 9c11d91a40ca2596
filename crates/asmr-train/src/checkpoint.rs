//! Checkpoints: a fit in the middle, written so that it can go on after its process has ended.
//!
//! ```text
//! file    = magic (8 bytes "ASMRCKPT") · version (u32) · section* (in the order of their tags below)
//! section = tag (4 bytes) · length (u64) · content · CRC-32 of tag, length and content (u32)
//! ```
//!
//! All numbers are little-endian. `HEAD` holds JSON: the network's shape, the fit's settings and a fingerprint of the
//! signal. The others hold a fit's state, whose lengths follow from the header: `PROG` counters, losses and rate factors,
//! `WGHT` weights, `AVRG` their running average, `BEST` the best so far, `OPTM` the optimiser, `GOOD` the state that a
//! diverging fit goes back to, `SMPL` the place in the stream of batches.
//!
//! A checkpoint belongs to the program that wrote it: another version of the format is refused, not converted.

use std::io::{self, Read, Write};

use asmr::network::NetworkConfig;
use asmr::signal::{SampleType, Source};
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::FitConfig;

/// First bytes of a checkpoint.
pub const MAGIC: [u8; 8] = *b"ASMRCKPT";
/// Version of the format and of what fits do: one that changes a fit's course changes it.
pub const VERSION: u32 = 2;
/// The longest header, in bytes.
const MAX_HEADER: u64 = 1 << 20;
/// Values converted together.
const PIECE: usize = 4096;

/// Why a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// It could not be read.
    #[error("the checkpoint cannot be read: {0}")]
    Read(String),
    /// Another kind of file.
    #[error("this is no checkpoint of a fit")]
    Magic,
    /// Another version of the format.
    #[error("the checkpoint has version {0} and this program reads version {VERSION}; begin the fit again")]
    Version(u32),
    /// It ends early.
    #[error("the checkpoint is cut off in its section {0}; begin the fit again")]
    Truncated(String),
    /// Its content is not what was written.
    #[error("the checkpoint is damaged in its section {0}; begin the fit again")]
    Damaged(String),
    /// It belongs to another fit.
    #[error(
        "the checkpoint is of a fit with {0}; resume it with the same signal and settings, or begin again"
    )]
    Foreign(&'static str),
}

/// Which fit a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The network's shape.
    pub network: NetworkConfig,
    /// The fit's settings.
    pub fit: FitConfig,
    /// What the signal was like.
    pub signal: Fingerprint,
}

/// Tells signals of one shape apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// How values are stored.
    pub sample_type: SampleType,
    /// CRC-32 of some values on the network's scale.
    pub values: u32,
}

/// Runs of values that a fingerprint looks at, spread evenly, ...
const RUNS: u64 = 64;
/// ... and their length.
const RUN_VALUES: u64 = 64;

impl Fingerprint {
    /// Reads some values of a signal.
    #[must_use]
    pub fn of(signal: &dyn Source) -> Self {
        let info = signal.info();
        let n_values = info.n_values().unwrap_or(u64::MAX);
        let mut run = vec![0.0; n_values.min(RUN_VALUES) as usize];
        let last = n_values - run.len() as u64;
        let mut checksum = Hasher::new();
        for i in 0..RUNS {
            let start = u128::from(last) * u128::from(i) / u128::from(RUNS - 1);
            signal.read_scaled(start as u64, &mut run);
            for value in &run {
                checksum.update(&value.to_le_bytes());
            }
        }
        Self { sample_type: info.sample_type, values: checksum.finalize() }
    }
}

impl Header {
    /// Reads the header alone: which fit this is a checkpoint of.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is no checkpoint, or its header is damaged.
    pub fn read(input: &mut dyn Read) -> Result<Self, CheckpointError> {
        let name = "HEAD".to_owned();
        let (mut magic, mut version) = ([0; 8], [0; 4]);
        match read_exact(input, &mut magic, "HEAD") {
            Ok(()) if magic == MAGIC => {}
            Ok(()) | Err(CheckpointError::Truncated(_)) => return Err(CheckpointError::Magic),
            Err(error) => return Err(error),
        }
        read_exact(input, &mut version, "HEAD")?;
        let version = u32::from_le_bytes(version);
        if version != VERSION {
            return Err(CheckpointError::Version(version));
        }
        let mut text = Vec::new();
        read_section(input, *b"HEAD", None, &mut |archive, length| {
            archive.check(length <= MAX_HEADER)?;
            text.resize(length as usize, 0);
            archive.bytes(&mut text)
        })?;
        serde_json::from_slice(&text).map_err(|_| CheckpointError::Damaged(name))
    }

    /// Writes what is before the state.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        let mut text = serde_json::to_vec(self).map_err(io::Error::other)?;
        write_section(out, *b"HEAD", &mut |archive| archive.bytes(&mut text))
    }

    /// Refuses a checkpoint of another fit than `wanted`.
    pub(crate) fn check(&self, wanted: &Self) -> Result<(), CheckpointError> {
        for (same, what) in [
            (self.network == wanted.network, "another network"),
            (self.fit == wanted.fit, "other settings"),
            (self.signal == wanted.signal, "another signal"),
        ] {
            if !same {
                return Err(CheckpointError::Foreign(what));
            }
        }
        Ok(())
    }
}

/// One pass over a state's content, the same for writing and for reading, so that the two cannot differ.
pub(crate) struct Archive<'a> {
    mode: Mode<'a>,
    checksum: Hasher,
    n_bytes: u64,
}

enum Mode<'a> {
    /// Only counts.
    Count,
    Write(&'a mut dyn Write),
    Read(&'a mut dyn Read),
}

impl<'a> Archive<'a> {
    fn new(mode: Mode<'a>) -> Self {
        Self { mode, checksum: Hasher::new(), n_bytes: 0 }
    }

    /// Whether values are replaced by what is read.
    pub(crate) fn is_reading(&self) -> bool {
        matches!(self.mode, Mode::Read(_))
    }

    /// Refuses content that was read and cannot be.
    #[allow(clippy::unused_self, reason = "reads as a question to the archive")]
    pub(crate) fn check(&self, is_right: bool) -> io::Result<()> {
        if is_right { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    pub(crate) fn bytes(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.n_bytes += bytes.len() as u64;
        match &mut self.mode {
            Mode::Count => return Ok(()),
            Mode::Write(out) => out.write_all(bytes)?,
            Mode::Read(input) => input.read_exact(bytes)?,
        }
        self.checksum.update(bytes);
        Ok(())
    }

    pub(crate) fn u32(&mut self, value: &mut u32) -> io::Result<()> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        *value = u32::from_le_bytes(bytes);
        Ok(())
    }

    pub(crate) fn u64(&mut self, value: &mut u64) -> io::Result<()> {
        let mut bytes = value.to_le_bytes();
        self.bytes(&mut bytes)?;
        *value = u64::from_le_bytes(bytes);
        Ok(())
    }

    pub(crate) fn f64(&mut self, value: &mut f64) -> io::Result<()> {
        let mut bits = value.to_bits();
        self.u64(&mut bits)?;
        *value = f64::from_bits(bits);
        Ok(())
    }

    /// A number that may be absent.
    pub(crate) fn optional_f64(&mut self, value: &mut Option<f64>) -> io::Result<()> {
        let (mut there, mut number) = (u32::from(value.is_some()), value.unwrap_or(0.0));
        self.u32(&mut there)?;
        self.f64(&mut number)?;
        self.check(there <= 1)?;
        *value = (there == 1).then_some(number);
        Ok(())
    }

    /// Values whose number both sides know.
    pub(crate) fn f32s(&mut self, values: &mut [f32]) -> io::Result<()> {
        if let Mode::Count = self.mode {
            self.n_bytes += 4 * values.len() as u64;
            return Ok(());
        }
        let mut bytes = [0; 4 * PIECE];
        for piece in values.chunks_mut(PIECE) {
            let bytes = &mut bytes[..4 * piece.len()];
            for (b, v) in bytes.chunks_exact_mut(4).zip(&*piece) {
                b.copy_from_slice(&v.to_le_bytes());
            }
            self.bytes(bytes)?;
            if self.is_reading() {
                for (b, v) in bytes.chunks_exact(4).zip(piece) {
                    *v = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
        }
        Ok(())
    }
}

/// What a section holds: passes it to an archive.
pub(crate) type Content<'c> = dyn FnMut(&mut Archive<'_>) -> io::Result<()> + 'c;

/// Writes one section.
pub(crate) fn write_section(out: &mut dyn Write, tag: [u8; 4], content: &mut Content<'_>) -> io::Result<()> {
    let mut counter = Archive::new(Mode::Count);
    content(&mut counter)?;
    let mut archive = Archive::new(Mode::Write(out));
    archive.bytes(&mut tag.clone())?;
    archive.u64(&mut counter.n_bytes)?;
    content(&mut archive)?;
    let checksum = archive.checksum.finalize();
    out.write_all(&checksum.to_le_bytes())
}

/// Reads one section; its length must be `length` where that is known beforehand.
fn read_section(
    input: &mut dyn Read,
    tag: [u8; 4],
    length: Option<u64>,
    content: &mut dyn FnMut(&mut Archive<'_>, u64) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let name = String::from_utf8_lossy(&tag).into_owned();
    let mut archive = Archive::new(Mode::Read(input));
    let mut read = || {
        let (mut found_tag, mut found_length) = ([0; 4], 0);
        archive.bytes(&mut found_tag)?;
        archive.u64(&mut found_length)?;
        archive.check(found_tag == tag && length.is_none_or(|length| length == found_length))?;
        content(&mut archive, found_length)
    };
    read().map_err(|error| refusal(&error, &name))?;
    let expected = archive.checksum.finalize();
    let mut checksum = [0; 4];
    read_exact(input, &mut checksum, &name)?;
    if u32::from_le_bytes(checksum) == expected { Ok(()) } else { Err(CheckpointError::Damaged(name)) }
}

/// Reads one section of a state; its length is known beforehand.
pub(crate) fn read_state(
    input: &mut dyn Read,
    tag: [u8; 4],
    content: &mut Content<'_>,
) -> Result<(), CheckpointError> {
    let mut counter = Archive::new(Mode::Count);
    // Counting reads nothing, so nothing can fail.
    content(&mut counter).map_err(|error| refusal(&error, "state"))?;
    read_section(input, tag, Some(counter.n_bytes), &mut |archive, _| content(archive))
}

/// Refuses bytes after the last section.
pub(crate) fn read_end(input: &mut dyn Read) -> Result<(), CheckpointError> {
    match input.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(CheckpointError::Damaged("after the last".to_owned())),
        Err(error) => Err(CheckpointError::Read(error.to_string())),
    }
}

fn read_exact(input: &mut dyn Read, bytes: &mut [u8], section: &str) -> Result<(), CheckpointError> {
    input.read_exact(bytes).map_err(|error| refusal(&error, section))
}

fn refusal(error: &io::Error, section: &str) -> CheckpointError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => CheckpointError::Truncated(section.to_owned()),
        io::ErrorKind::InvalidData => CheckpointError::Damaged(section.to_owned()),
        _ => CheckpointError::Read(error.to_string()),
    }
}
