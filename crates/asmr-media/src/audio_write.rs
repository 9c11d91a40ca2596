//! Slices to sound files.

use std::cell::RefCell;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use asmr::metadata::{Audio, Media};
use asmr::signal::{SampleType, Samples, SignalInfo};
use asmr::with_samples;
use flac_codec::encode::{FlacSampleWriter, Options};
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::error::MediaError;
use crate::stream::SliceWriter;
use crate::write::Pending;

/// Bytes of a WAV file beside its samples, and some to spare.
const WAV_HEADER_BYTES: u64 = 256;
/// Values that are converted at once.
const BLOCK_VALUES: usize = 1 << 16;
/// What FLAC's frames can count.
const FLAC_MAX_CHANNELS: usize = 8;
const FLAC_MAX_RATE: u32 = 655_350;
const WAV_HOLDS: &str = "whole numbers of 8, 16, 24 or 32 bits and floats of 32 bits, up to 4 GiB";
const FLAC_HOLDS: &str =
    "whole numbers of 8 to 24 bits in 1 to 8 channels, at up to 655350 samples per second";

/// Begins a sound file, `.wav` or `.flac` by the extension.
///
/// Samples are stored with the signal's own number of bits and are never scaled. Where a whole number does not fit in
/// these bits (a decoded value may lie one past the range of a constant signal), the nearest that does is written. Bits
/// of 8 are unsigned in WAV and signed in FLAC, whichever way the signal has them.
///
/// Nothing is kept in memory but one block. The file appears with [`SliceWriter::finish`].
///
/// # Errors
/// [`MediaError::Unusable`] for a signal that is no sound, an extension that names neither format, and a path that is
/// a pipe or a device; [`MediaError::CannotHold`] for what the format cannot store as it is (floats in FLAC, 64-bit
/// floats, odd numbers of bits in WAV, too many channels or samples); [`MediaError::Write`]. All but the last before
/// anything is written.
pub fn create_audio(path: &Path, info: &SignalInfo) -> Result<Box<dyn SliceWriter>, MediaError> {
    let unusable = |problem: String| MediaError::Unusable { path: path.to_path_buf(), problem };
    let unwritable = |error| MediaError::Write { path: path.to_path_buf(), error };
    let Media::Audio(audio) = &info.media else {
        return Err(unusable(format!(
            "a {} signal is no sound, and only sound is written here",
            info.media.name()
        )));
    };
    info.validate().map_err(|error| unusable(error.to_string()))?;
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let is_flac = match extension.as_deref() {
        Some("wav" | "wave") => false,
        Some("flac") => true,
        _ => {
            return Err(unusable(
                "its extension names no format of sound that is written; accepted are .wav and .flac"
                    .to_owned(),
            ));
        }
    };
    if is_flac {
        check_flac(path, info, audio)?;
    } else {
        check_wav(path, info, audio)?;
    }
    let file = SharedFile::create(path).map_err(unwritable)?.ok_or_else(|| {
        unusable(
            "it is a pipe or a device, and the header of a sound file is written last; name a file"
                .to_owned(),
        )
    })?;
    let encoder = if is_flac {
        let writer = FlacSampleWriter::new(
            file.clone(),
            Options::default(),
            audio.sample_rate,
            audio.bits_per_sample.into(),
            info.channels as u8,
            info.n_values(),
        );
        Encoder::Flac(Box::new(writer.map_err(|error| unwritable(error.into()))?))
    } else {
        let spec = WavSpec {
            channels: info.channels as u16,
            sample_rate: audio.sample_rate,
            bits_per_sample: audio.bits_per_sample.into(),
            sample_format: if info.sample_type.is_float() { SampleFormat::Float } else { SampleFormat::Int },
        };
        Encoder::Wav(WavWriter::new(file.clone(), spec).map_err(|error| unwritable(wav_error(error)))?)
    };
    Ok(Box::new(AudioWriter {
        path: path.to_path_buf(),
        encoder,
        file,
        sample_type: info.sample_type,
        bits: audio.bits_per_sample,
        n_left: info.n_values().unwrap_or(0),
    }))
}

fn check_wav(path: &Path, info: &SignalInfo, audio: &Audio) -> Result<(), MediaError> {
    let cannot = |actual: String, remedy: &str| cannot_hold(path, "WAV", actual, WAV_HOLDS, remedy);
    let bits = audio.bits_per_sample;
    match (info.sample_type, bits) {
        (SampleType::F64, _) => return Err(cannot("64-bit floats".to_owned(), "write .npy instead")),
        // Floats have their own width, whatever the original's samples had.
        (SampleType::F32, 32) => {}
        (SampleType::F32, _) => {
            return Err(cannot(format!("floats of {bits} bits"), "set 32 bits per sample"));
        }
        (_, 8 | 16 | 24 | 32) => {}
        _ => {
            return Err(cannot(
                format!("samples of {bits} bits"),
                "write .flac instead, or .npy beyond 24 bits",
            ));
        }
    }
    let frame_bytes = info.channels as u64 * u64::from(bits / 8);
    let bytes = (info.extents[0] as u64).checked_mul(frame_bytes);
    if bytes.is_none_or(|bytes| bytes > u64::from(u32::MAX) - WAV_HEADER_BYTES) {
        return Err(cannot(
            format!("{} samples of {frame_bytes} bytes", info.extents[0]),
            "write .flac instead, or a shorter part",
        ));
    }
    if u64::from(audio.sample_rate) * frame_bytes > u64::from(u32::MAX) {
        return Err(cannot(
            format!("{} samples of {frame_bytes} bytes per second", audio.sample_rate),
            "write .npy instead",
        ));
    }
    Ok(())
}

fn check_flac(path: &Path, info: &SignalInfo, audio: &Audio) -> Result<(), MediaError> {
    let cannot = |actual: String, remedy: &str| cannot_hold(path, "FLAC", actual, FLAC_HOLDS, remedy);
    if info.sample_type.is_float() {
        return Err(cannot(
            "floats".to_owned(),
            if info.sample_type == SampleType::F32 { "write .wav instead" } else { "write .npy instead" },
        ));
    }
    if audio.bits_per_sample > 24 {
        return Err(cannot(format!("samples of {} bits", audio.bits_per_sample), "write .wav instead"));
    }
    if info.channels > FLAC_MAX_CHANNELS {
        return Err(cannot(format!("{} channels", info.channels), "write .wav instead"));
    }
    if audio.sample_rate > FLAC_MAX_RATE {
        return Err(cannot(format!("{} samples per second", audio.sample_rate), "write .wav instead"));
    }
    Ok(())
}

fn cannot_hold(
    path: &Path,
    format: &'static str,
    actual: String,
    accepted: &str,
    remedy: &str,
) -> MediaError {
    MediaError::CannotHold {
        path: path.to_path_buf(),
        format,
        actual,
        accepted: accepted.to_owned(),
        remedy: remedy.to_owned(),
    }
}

struct AudioWriter {
    path: PathBuf,
    encoder: Encoder,
    file: SharedFile,
    sample_type: SampleType,
    bits: u8,
    /// Values that are still to come.
    n_left: u64,
}

enum Encoder {
    Wav(WavWriter<SharedFile>),
    Flac(Box<FlacSampleWriter<SharedFile>>),
}

impl AudioWriter {
    fn failed(&self, error: io::Error) -> MediaError {
        MediaError::Write { path: self.path.clone(), error }
    }

    fn write_block(&mut self, samples: &Samples) -> io::Result<()> {
        if let (Encoder::Wav(writer), Samples::F32(values)) = (&mut self.encoder, samples) {
            return values.iter().try_for_each(|&x| writer.write_sample(x)).map_err(wav_error);
        }
        let values = whole_numbers(samples, self.bits);
        match &mut self.encoder {
            Encoder::Wav(writer) => {
                values.iter().try_for_each(|&x| writer.write_sample(x)).map_err(wav_error)
            }
            Encoder::Flac(writer) => writer.write(&values).map_err(Into::into),
        }
    }
}

impl SliceWriter for AudioWriter {
    fn write(&mut self, samples: &Samples) -> Result<(), MediaError> {
        assert_eq!(samples.sample_type(), self.sample_type, "the type that the writer was made for");
        self.n_left =
            self.n_left.checked_sub(samples.len() as u64).expect("no more slices than were announced");
        for start in (0..samples.len()).step_by(BLOCK_VALUES) {
            let end = samples.len().min(start + BLOCK_VALUES);
            self.write_block(&samples.slice(start..end)).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), MediaError> {
        let Self { path, encoder, file, n_left, .. } = *self;
        let failed = |error| MediaError::Write { path: path.clone(), error };
        if n_left > 0 {
            return Err(failed(io::Error::other(format!("{n_left} values of it were never written"))));
        }
        match encoder {
            Encoder::Wav(writer) => {
                writer.finalize().map_err(|error| failed(wav_error(error)))?;
                pad(file.clone()).map_err(failed)?;
            }
            Encoder::Flac(writer) => writer.finalize().map_err(|error| failed(error.into()))?,
        }
        file.commit().map_err(failed)
    }
}

/// Chunks of RIFF begin at even places, so an odd number of bytes has one more behind it, which hound leaves out. The
/// chunk's own length does not count it; that of the whole does.
fn pad(mut file: SharedFile) -> io::Result<()> {
    const LENGTH_AT: u64 = 4;
    const LENGTH_WITHOUT: u64 = 8;
    let length = file.seek(SeekFrom::End(0))?;
    if length.is_multiple_of(2) {
        return Ok(());
    }
    file.write_all(&[0])?;
    let length = u32::try_from(length + 1 - LENGTH_WITHOUT).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(LENGTH_AT))?;
    file.write_all(&length.to_le_bytes())
}

/// Signed whole numbers that fit in some bits; unsigned 8-bit ones lose their offset, which hound gives back to them.
#[allow(clippy::useless_conversion, reason = "one of the types is f64 already")]
fn whole_numbers(samples: &Samples, bits: u8) -> Vec<i32> {
    let half = 1i64 << (bits - 1);
    let offset = if matches!(samples, Samples::U8(_)) { half } else { 0 };
    with_samples!(samples, values => values
        .iter()
        .map(|&x| (f64::from(x) as i64 - offset).clamp(-half, half - 1) as i32)
        .collect())
}

fn wav_error(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::other(other.to_string()),
    }
}

/// A file that an encoder may own and drop: both encoders keep theirs, and this one must be put in its place after.
#[derive(Clone)]
struct SharedFile(Rc<RefCell<Option<Pending>>>);

impl SharedFile {
    fn create(path: &Path) -> io::Result<Option<Self>> {
        let pending = Pending::begin(path)?;
        let is_file = matches!(pending, Pending::File { .. });
        Ok(is_file.then(|| Self(Rc::new(RefCell::new(Some(pending))))))
    }

    fn commit(&self) -> io::Result<()> {
        self.0.borrow_mut().take().map_or_else(|| Err(closed()), Pending::commit)
    }
}

fn closed() -> io::Error {
    io::Error::other("the file is closed already")
}

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().as_mut().ok_or_else(closed)?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().as_mut().ok_or_else(closed)?.flush()
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().as_mut().ok_or_else(closed)?.seek(to)
    }
}
