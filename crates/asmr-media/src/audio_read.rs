//! Sound files as slices, one for each moment.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use asmr::metadata::{Audio, AudioContainer, Media};
use asmr::signal::{MAX_CHANNELS, MAX_EXTENT, SampleType, Samples, SignalInfo, ValueRange};

use crate::audio_packets::{PacketSource, Packets};
use crate::audio_sniff::{AudioFormat, Flaw, check_mp3, check_ogg, recognise};
use crate::audio_wav::WavLayout;
use crate::error::MediaError;
use crate::stream::{SliceReader, check_finite};

/// Which part of a recording is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AudioPart {
    /// Seconds that are skipped: 0 or more, rounded to the nearest sample.
    pub start_s: f64,
    /// Seconds that are read: above 0, rounded to the nearest sample; `None` for all that follow.
    pub duration_s: Option<f64>,
}

/// Opens a recording as a signal with one axis, time, and the file's channels.
///
/// WAV, FLAC, MP3 and Ogg Vorbis are recognised by their content. Values are those of the file: whole numbers of 8 bits
/// as `u8` (WAV, where they are unsigned), up to 16 bits as `i16`, up to 32 bits as `i32`, never scaled or shifted;
/// floats as they are, and what MP3 and Vorbis decode to as `f32`. Of a WAV sample whose container is wider than its
/// valid bits, the container is taken. MP3 without the encoder's delay and padding where the file tells them.
///
/// The part is read twice: now for the least and the greatest value, and as [`SliceReader`]. Memory stays the same
/// however long it is. WAV and FLAC go to the start at once; the other two must be decoded from their beginning.
///
/// # Errors
/// [`MediaError::Read`]; [`MediaError::Damaged`] for a file that is cut short, has a hole or whose checksums do not
/// match (of a part of a FLAC file, those of the part); [`MediaError::Unusable`] for a kind of sound that is not read, a
/// recording without samples, a sample that is not finite, and a part that does not lie within the recording.
pub fn open_audio(path: &Path, part: &AudioPart) -> Result<AudioReader, MediaError> {
    let source = Source::open(path)?;
    let rate = f64::from(source.sample_rate);
    let samples = |seconds: f64| (seconds * rate).round();
    if !(part.start_s >= 0.0 && samples(part.start_s) < 2f64.powi(62)) {
        return Err(source.unusable(format!(
            "the start is {} s; it is 0 or more seconds within the recording",
            part.start_s
        )));
    }
    let n = match part.duration_s {
        Some(duration) if samples(duration) >= 1.0 && samples(duration) < 2f64.powi(62) => {
            Some(samples(duration) as u64)
        }
        Some(duration) => {
            return Err(source.unusable(format!(
                "the duration is {duration} s; it is one sample (1/{rate} s) or more within the recording"
            )));
        }
        None => None,
    };
    AudioReader::new(source, samples(part.start_s) as u64, n)
}

/// [`open_audio`] with a part told in samples per channel: `n` from `start` on.
///
/// # Errors
/// As [`open_audio`].
pub fn open_audio_frames(path: &Path, start: u64, n: u64) -> Result<AudioReader, MediaError> {
    let source = Source::open(path)?;
    if n == 0 {
        return Err(source.unusable("a part of 0 samples was asked for; it is 1 or more".to_owned()));
    }
    AudioReader::new(source, start, Some(n))
}

/// A part of a recording, read from its beginning to its end.
pub struct AudioReader {
    source: Source,
    info: SignalInfo,
    start: u64,
    /// Moments that were read.
    at: u64,
    blocks: Blocks,
}

impl std::fmt::Debug for AudioReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioReader").field("info", &self.info).field("at", &self.at).finish_non_exhaustive()
    }
}

impl AudioReader {
    fn new(mut source: Source, start: u64, n: Option<u64>) -> Result<Self, MediaError> {
        let (n, range) = match source.survey(start, n) {
            // The whole, in which the part is, may be sound all the same.
            Err(MediaError::Damaged { .. }) if start > 0 && source.seek_no_more() => {
                source.survey(start, n)?
            }
            surveyed => surveyed?,
        };
        let info = SignalInfo {
            extents: vec![n as usize],
            channels: source.channels,
            sample_type: source.sample_type,
            color: None,
            value_range: Some(range),
            media: Media::Audio(Audio {
                sample_rate: source.sample_rate,
                bits_per_sample: source.bits,
                container: source.container,
                start,
            }),
        };
        info.validate().map_err(|error| source.unusable(error.to_string()))?;
        let blocks = source.blocks(start, false)?;
        Ok(Self { source, info, start, at: 0, blocks })
    }
}

impl SliceReader for AudioReader {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        assert!(
            n_slices as u64 <= self.info.extents[0] as u64 - self.at,
            "{n_slices} slices of {} after {}",
            self.info.extents[0],
            self.at
        );
        let samples = self.blocks.read(&self.source, n_slices * self.source.channels)?;
        if samples.len() < n_slices * self.source.channels {
            return Err(self.source.damaged("it became shorter while it was read".to_owned()));
        }
        check_finite(&self.source.path, &samples, self.start + self.at, self.source.channels, "sample")?;
        self.at += n_slices as u64;
        Ok(samples)
    }
}

/// A file whose header was read and found good.
struct Source {
    path: PathBuf,
    sample_rate: u32,
    channels: usize,
    sample_type: SampleType,
    bits: u8,
    container: AudioContainer,
    /// Samples per channel, where the file tells.
    n_samples: Option<u64>,
    data: Data,
}

/// Where the samples come from.
enum Data {
    Wav(WavLayout),
    Packets(PacketSource),
}

impl Source {
    fn open(path: &Path) -> Result<Self, MediaError> {
        let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
        let metadata = fs::metadata(path).map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(io::Error::new(
                io::ErrorKind::IsADirectory,
                "it is a folder; give the name of a recording in it",
            )));
        }
        if !metadata.is_file() {
            return Err(MediaError::Unusable {
                path: path.to_path_buf(),
                problem: "it is a pipe or a device, and a recording is read twice; save it as a file first"
                    .to_owned(),
            });
        }
        let len = metadata.len();
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        let unusable = |problem: String| Err(MediaError::Unusable { path: path.to_path_buf(), problem });
        match recognise(&mut reader, len).map_err(unreadable)? {
            None => unusable(format!("its content is no recording of a known format; {FORMATS}")),
            Some(AudioFormat::Other(kind)) => {
                unusable(format!("it is {kind}, which is not read; {FORMATS}, so convert it first"))
            }
            Some(AudioFormat::Wav) => {
                let layout = WavLayout::read(&mut reader, len)
                    .map_err(unreadable)?
                    .map_err(|flaw| as_error(flaw, path, "WAV"))?;
                Self::checked(Self {
                    path: path.to_path_buf(),
                    sample_rate: layout.sample_rate,
                    channels: layout.channels,
                    sample_type: layout.sample_type,
                    bits: layout.bits,
                    container: AudioContainer::Wav,
                    n_samples: Some(layout.n_samples),
                    data: Data::Wav(layout),
                })
            }
            Some(format) => {
                let source = match format {
                    AudioFormat::Flac(start) => PacketSource::flac(path, start, len),
                    AudioFormat::Mp3(start) => {
                        let extent = check_mp3(&mut reader, start, len)
                            .map_err(unreadable)?
                            .map_err(|flaw| as_error(flaw, path, "MP3"))?;
                        PacketSource::mp3(path, start, extent)
                    }
                    _ => {
                        check_ogg(&mut reader, len)
                            .map_err(unreadable)?
                            .map_err(|flaw| as_error(flaw, path, "Ogg Vorbis"))?;
                        PacketSource::vorbis(path, len)
                    }
                };
                let header = source.header()?;
                Self::checked(Self {
                    path: path.to_path_buf(),
                    sample_rate: header.sample_rate,
                    channels: header.channels,
                    sample_type: header.sample_type,
                    bits: header.bits,
                    container: if source.is_lossy() { AudioContainer::Lossy } else { AudioContainer::Flac },
                    n_samples: header.n_samples,
                    data: Data::Packets(source),
                })
            }
        }
    }

    fn checked(self) -> Result<Self, MediaError> {
        if self.n_samples == Some(0) {
            return Err(self.unusable("it holds no samples".to_owned()));
        }
        if self.channels == 0 || self.sample_rate == 0 {
            return Err(self.damaged(format!(
                "its header says {} channels at {} samples per second; both are above 0",
                self.channels, self.sample_rate
            )));
        }
        if self.channels > MAX_CHANNELS {
            return Err(self.unusable(format!(
                "it has {} channels, and up to {MAX_CHANNELS} are read; split them over several files",
                self.channels
            )));
        }
        Ok(self)
    }

    /// See [`PacketSource::seek_no_more`].
    fn seek_no_more(&mut self) -> bool {
        match &mut self.data {
            Data::Wav(_) => false,
            Data::Packets(source) => source.seek_no_more(),
        }
    }

    /// Reads a part once: how many samples it has, and the range of its values.
    fn survey(&self, start: u64, n: Option<u64>) -> Result<(u64, ValueRange), MediaError> {
        if let Some(total) = self.n_samples {
            self.check_part(start, n, total)?;
        }
        if n.is_some_and(|n| n > MAX_EXTENT as u64) {
            return Err(self.too_long(n.unwrap_or(0)));
        }
        // The checksum of a whole file is of the whole file only.
        let is_whole = start == 0 && (n.is_none() || n == self.n_samples);
        let mut blocks = self.blocks(start, is_whole)?;
        let (mut at, mut low, mut high) = (start, f64::INFINITY, f64::NEG_INFINITY);
        loop {
            let left = n.map_or(u64::MAX, |n| n - (at - start));
            let most = left.min(SURVEY_SAMPLES as u64) as usize;
            let samples = blocks.read(self, most * self.channels)?;
            check_finite(&self.path, &samples, at, self.channels, "sample")?;
            let Some((block_low, block_high)) = samples.min_max() else { break };
            (low, high) = (low.min(block_low), high.max(block_high));
            at += (samples.len() / self.channels) as u64;
            if at - start > MAX_EXTENT as u64 {
                return Err(self.too_long(self.n_samples.unwrap_or(at) - start));
            }
        }
        if n.is_none_or(|n| at - start < n) {
            // The end of the file.
            if let Some(total) = self.n_samples
                && at != total
            {
                return Err(self.damaged(format!(
                    "its header promises {total} samples per channel, and {} are there",
                    blocks.n_decoded(start)
                )));
            }
            let total = blocks.n_decoded(start);
            if total == 0 {
                return Err(self.unusable("it holds no samples".to_owned()));
            }
            self.check_part(start, n, total)?;
        } else if is_whole {
            // Only now does the decoder learn that nothing follows, and compares its checksum.
            blocks.finish(self)?;
        }
        if !(high - low).is_finite() {
            return Err(self.unusable(format!(
                "its values reach from {low:e} to {high:e}, further than numbers do; scale them to −1 … 1 first"
            )));
        }
        Ok((at - start, ValueRange::of(low, high)))
    }

    /// Refuses a part that does not lie within the recording.
    fn check_part(&self, start: u64, n: Option<u64>, total: u64) -> Result<(), MediaError> {
        let rate = f64::from(self.sample_rate);
        let seconds = |samples: u64| samples as f64 / rate;
        if start >= total {
            return Err(self.unusable(format!(
                "the part begins at sample {start} ({:.3} s), and the recording ends after {total} ({:.3} s); begin earlier",
                seconds(start),
                seconds(total)
            )));
        }
        match n {
            Some(n) if n > total - start => Err(self.unusable(format!(
                "the part has {n} samples ({:.3} s), and {} ({:.3} s) are left where it begins; make it shorter, or leave \
                 the duration out for all of them",
                seconds(n),
                total - start,
                seconds(total - start)
            ))),
            _ => Ok(()),
        }
    }

    fn too_long(&self, n: u64) -> MediaError {
        self.unusable(format!(
            "the part has {n} samples per channel, and the limit is {MAX_EXTENT}; choose a shorter one by its start and \
             duration"
        ))
    }

    fn unusable(&self, problem: String) -> MediaError {
        MediaError::Unusable { path: self.path.clone(), problem }
    }

    fn damaged(&self, detail: String) -> MediaError {
        MediaError::Damaged { path: self.path.clone(), format: self.format(), detail }
    }

    fn format(&self) -> &'static str {
        match &self.data {
            Data::Wav(_) => "WAV",
            Data::Packets(source) => source.format(),
        }
    }

    /// The samples from a moment on; `verify`: the file's checksum is compared at the end.
    fn blocks(&self, start: u64, verify: bool) -> Result<Blocks, MediaError> {
        let (stream, skip) = match &self.data {
            Data::Wav(layout) => {
                let unreadable = |error| MediaError::Read { path: self.path.clone(), error };
                let mut file = File::open(&self.path).map_err(unreadable)?;
                let at = layout.start + start * layout.frame_bytes() as u64;
                file.seek(SeekFrom::Start(at)).map_err(unreadable)?;
                (Stream::Wav { file, n_left: layout.n_samples - start }, 0)
            }
            Data::Packets(source) => {
                let (packets, first) = source.packets(start, verify)?;
                (Stream::Packets(Box::new(packets)), start - first)
            }
        };
        Ok(Blocks { stream, skip, block: Samples::empty(self.sample_type), at: 0, n_read: 0 })
    }
}

/// In refusals of anything else.
const FORMATS: &str = "WAV, FLAC, MP3 and Ogg Vorbis are read";
/// Samples per channel that are looked at together for the range of values.
const SURVEY_SAMPLES: usize = 1 << 14;
/// Bytes of a WAV file that are read at once.
const WAV_BYTES: usize = 1 << 16;

/// Samples in the order of time, in blocks as they are decoded.
struct Blocks {
    stream: Stream,
    /// Moments before the part that are decoded and dropped.
    skip: u64,
    block: Samples,
    /// Values of the block that were given out.
    at: usize,
    /// Values that were given out.
    n_read: u64,
}

enum Stream {
    Wav { file: File, n_left: u64 },
    Packets(Box<Packets>),
}

impl Blocks {
    /// The next `n` values, or as many as there are.
    fn read(&mut self, source: &Source, n: usize) -> Result<Samples, MediaError> {
        let mut samples = Samples::empty(source.sample_type);
        while samples.len() < n {
            if self.at == self.block.len() {
                let Some(block) = self.next(source)? else { break };
                let dropped = self.skip.min((block.len() / source.channels) as u64);
                self.skip -= dropped;
                (self.block, self.at) = (block, dropped as usize * source.channels);
                continue;
            }
            let part = (n - samples.len()).min(self.block.len() - self.at);
            append(&mut samples, &self.block, self.at..self.at + part);
            self.at += part;
        }
        self.n_read += (samples.len() / source.channels) as u64;
        Ok(samples)
    }

    fn next(&mut self, source: &Source) -> Result<Option<Samples>, MediaError> {
        match (&mut self.stream, &source.data) {
            (Stream::Wav { file, n_left }, Data::Wav(layout)) => {
                let n = (*n_left).min((WAV_BYTES / layout.frame_bytes()).max(1) as u64);
                let mut bytes = vec![0; n as usize * layout.frame_bytes()];
                file.read_exact(&mut bytes).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        source.damaged("it became shorter while it was read".to_owned())
                    }
                    _ => MediaError::Read { path: source.path.clone(), error },
                })?;
                *n_left -= n;
                Ok((n > 0).then(|| layout.samples(&bytes)))
            }
            (Stream::Packets(packets), _) => packets.next(),
            (Stream::Wav { .. }, Data::Packets(_)) => unreachable!("made for this source"),
        }
    }

    /// Moments from the recording's beginning to its end, once that was reached.
    fn n_decoded(&self, start: u64) -> u64 {
        start - self.skip + self.n_read
    }

    /// Makes sure that nothing is left.
    fn finish(&mut self, source: &Source) -> Result<(), MediaError> {
        match self.next(source)? {
            None => Ok(()),
            Some(_) => Err(source.damaged("it has more samples than its header promises".to_owned())),
        }
    }
}

/// Appends a part of one array to another of the same type.
fn append(to: &mut Samples, from: &Samples, range: std::ops::Range<usize>) {
    macro_rules! by_type {
        ($($variant:ident),*) => {
            match (to, from) {
                $((Samples::$variant(to), Samples::$variant(from)) => to.extend_from_slice(&from[range]),)*
                _ => unreachable!("a recording has one type of sample"),
            }
        };
    }
    by_type!(U8, I8, U16, I16, U32, I32, F32, F64);
}

fn as_error(flaw: Flaw, path: &Path, format: &'static str) -> MediaError {
    let path = path.to_path_buf();
    match flaw {
        Flaw::Damaged(detail) => MediaError::Damaged { path, format, detail },
        Flaw::Unusable(problem) => MediaError::Unusable { path, problem },
    }
}
