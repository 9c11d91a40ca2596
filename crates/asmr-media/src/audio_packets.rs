//! FLAC, MP3 and Ogg Vorbis, decoded packet by packet.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use asmr::signal::{SampleType, Samples};
use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, Track};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;
use symphonia::default::formats::{FlacReader, MpaReader, OggReader};

use crate::audio_sniff::Mp3Extent;
use crate::error::MediaError;
use crate::guard::guarded;

/// Where the packets of a file lie.
pub(crate) struct PacketSource {
    path: PathBuf,
    codec: Codec,
    start: u64,
    end: u64,
    /// Whether a part is sought, or else everything before it decoded and dropped.
    is_sought: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Codec {
    Flac,
    Mp3(Mp3Extent),
    Vorbis,
}

/// What a file tells before anything is decoded.
pub(crate) struct PacketHeader {
    pub(crate) sample_rate: u32,
    pub(crate) channels: usize,
    pub(crate) sample_type: SampleType,
    pub(crate) bits: u8,
    /// Samples per channel, if that is certain.
    pub(crate) n_samples: Option<u64>,
}

impl PacketSource {
    /// FLAC in the bytes from `start` to `end`.
    pub(crate) fn flac(path: &Path, start: u64, end: u64) -> Self {
        Self { path: path.to_path_buf(), codec: Codec::Flac, start, end, is_sought: true }
    }

    /// MP3 whose frames were walked.
    pub(crate) fn mp3(path: &Path, start: u64, extent: Mp3Extent) -> Self {
        // A packet of the lossy ones needs what came before it.
        let (codec, end) = (Codec::Mp3(extent), extent.end);
        Self { path: path.to_path_buf(), codec, start, end, is_sought: false }
    }

    /// Ogg with one Vorbis stream.
    pub(crate) fn vorbis(path: &Path, end: u64) -> Self {
        Self { path: path.to_path_buf(), codec: Codec::Vorbis, start: 0, end, is_sought: false }
    }

    pub(crate) fn is_lossy(&self) -> bool {
        self.codec != Codec::Flac
    }

    pub(crate) fn format(&self) -> &'static str {
        match self.codec {
            Codec::Flac => "FLAC",
            Codec::Mp3(_) => "MP3",
            Codec::Vorbis => "Ogg Vorbis",
        }
    }

    /// Reads the headers.
    ///
    /// # Errors
    /// As [`open_audio`](crate::open_audio).
    pub(crate) fn header(&self) -> Result<PacketHeader, MediaError> {
        let format = self.format_reader()?;
        let track = self.track(format.as_ref())?;
        let parameters = self.parameters(track)?;
        let channels = parameters.channels.as_ref().map_or(0, symphonia::core::audio::Channels::count);
        let sample_rate = parameters.sample_rate.unwrap_or(0);
        if self.is_lossy() {
            self.check_promise(track)?;
            return Ok(PacketHeader {
                sample_rate,
                channels,
                sample_type: SampleType::F32,
                bits: 32,
                n_samples: None,
            });
        }
        let bits = parameters.bits_per_sample.unwrap_or(0);
        if !(8..=32).contains(&bits) {
            return Err(self.unusable(format!(
                "its samples have {bits} bits; FLAC is read with 8 to 32, so convert it first"
            )));
        }
        if bits == 32 && channels == 2 {
            // The difference of two such channels has 33 bits, which the decoder drops one of.
            return Err(self.unusable(
                "it is FLAC with two channels of 32 bits, which is not read; convert it to WAV first"
                    .to_owned(),
            ));
        }
        Ok(PacketHeader {
            sample_rate,
            channels,
            sample_type: if bits <= 16 { SampleType::I16 } else { SampleType::I32 },
            bits: bits as u8,
            n_samples: track.num_frames,
        })
    }

    /// From now on, parts are decoded from the file's start: to seek goes by the headers of packets alone, and may take for one what only
    /// looks like it. Whether they were sought until now.
    pub(crate) fn seek_no_more(&mut self) -> bool {
        std::mem::take(&mut self.is_sought)
    }

    /// The samples from the packet on that holds the moment `start` (or an earlier one), and that packet's first moment.
    ///
    /// # Errors
    /// As [`open_audio`](crate::open_audio).
    pub(crate) fn packets(&self, start: u64, verify: bool) -> Result<(Packets, u64), MediaError> {
        let mut sought = self.first_packets(verify)?;
        if !self.is_sought || start == 0 {
            return Ok((sought, 0));
        }
        let to = SeekTo::Timestamp { ts: Timestamp::new(start as i64), track_id: sought.track };
        if self.guarded(|| sought.format.seek(SeekMode::Accurate, to)).is_ok()
            && let Ok(Some(packet)) = self.guarded(|| sought.format.next_packet())
            && let Ok(first) = u64::try_from(packet.pts.get())
            && first <= start
        {
            sought.expected = Some(packet.pts.get());
            sought.pending = Some(packet);
            return Ok((sought, first));
        }
        Ok((self.first_packets(verify)?, 0))
    }

    fn first_packets(&self, verify: bool) -> Result<Packets, MediaError> {
        let format = self.format_reader()?;
        let track = self.track(format.as_ref())?;
        let id = track.id;
        // Without the encoder's delay, the number of frames is no reason to cut anything.
        let gapless = self.codec == Codec::Vorbis || track.delay.is_some();
        let options = AudioDecoderOptions::default().gapless(gapless).verify(verify);
        let parameters = self.parameters(track)?;
        let decoder =
            self.guarded(|| symphonia::default::get_codecs().make_audio_decoder(parameters, &options))?;
        let bits = self.parameters(track)?.bits_per_sample.unwrap_or(32);
        Ok(Packets {
            source: Self { path: self.path.clone(), ..*self },
            format,
            decoder,
            track: id,
            bits,
            expected: (self.codec == Codec::Flac).then_some(0),
            pending: None,
        })
    }

    fn format_reader(&self) -> Result<Box<dyn FormatReader>, MediaError> {
        let section = Section::open(&self.path, self.start, self.end, !matches!(self.codec, Codec::Mp3(_)))
            .map_err(|error| MediaError::Read { path: self.path.clone(), error })?;
        let stream = MediaSourceStream::new(
            Box::new(section),
            symphonia::core::io::MediaSourceStreamOptions::default(),
        );
        let options = FormatOptions::default();
        self.guarded(|| match self.codec {
            Codec::Flac => FlacReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
            Codec::Mp3(_) => MpaReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
            Codec::Vorbis => OggReader::try_new(stream, options).map(|reader| Box::new(reader) as _),
        })
    }

    /// Calls the decoder, which asserts what hostile files can break: that is a damaged file too. (What it was working
    /// on is not used again.)
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, MediaError> {
        guarded(work)
            .ok_or_else(|| self.damaged("its decoder cannot make sense of it".to_owned()))?
            .map_err(|error| self.error(error))
    }

    fn track<'a>(&self, format: &'a dyn FormatReader) -> Result<&'a Track, MediaError> {
        format.tracks().first().ok_or_else(|| self.damaged("it has no stream of sound".to_owned()))
    }

    fn parameters<'a>(&self, track: &'a Track) -> Result<&'a AudioCodecParameters, MediaError> {
        track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| self.damaged("its stream is no sound".to_owned()))
    }

    /// Compares the number of samples that an MP3's table of contents promises with that of its frames. Encoders that
    /// tell their delay count right; of the others, some count the frame of the table itself.
    fn check_promise(&self, track: &Track) -> Result<(), MediaError> {
        let (Codec::Mp3(extent), Some(n)) = (self.codec, track.num_frames) else { return Ok(()) };
        let promised = n + u64::from(track.delay.unwrap_or(0)) + u64::from(track.padding.unwrap_or(0));
        let there = extent.n_samples - extent.frame_samples;
        let is_exact = track.delay.is_some();
        let is_short = there + if is_exact { 0 } else { extent.frame_samples } < promised;
        // What lies beyond would be cut off as padding.
        let is_long = is_exact && there > promised;
        if is_short || is_long {
            return Err(self.damaged(format!(
                "its table of contents promises {promised} samples per channel, and its frames hold {there}"
            )));
        }
        Ok(())
    }

    fn unusable(&self, problem: String) -> MediaError {
        MediaError::Unusable { path: self.path.clone(), problem }
    }

    fn damaged(&self, detail: String) -> MediaError {
        MediaError::Damaged { path: self.path.clone(), format: self.format(), detail }
    }

    /// The crate's error as one of ours.
    fn error(&self, error: Error) -> MediaError {
        match error {
            Error::IoError(error) => match error.kind() {
                // These kinds come from the decoders: the content, not the disk, is at fault.
                io::ErrorKind::UnexpectedEof => self.damaged("it ends too early".to_owned()),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                    self.damaged(error.to_string())
                }
                _ => MediaError::Read { path: self.path.clone(), error },
            },
            Error::Unsupported(what) => self.unusable(format!(
                "it is a kind of {} that is not read ({what}); convert it to WAV or FLAC first",
                self.format()
            )),
            Error::DecodeError(what) | Error::LimitError(what) => self.damaged(what.to_owned()),
            other => self.damaged(other.to_string()),
        }
    }
}

/// Samples as they are decoded.
pub(crate) struct Packets {
    source: PacketSource,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    bits: u32,
    /// The moment at which the next packet begins.
    expected: Option<i64>,
    /// A packet that was read ahead.
    pending: Option<Packet>,
}

impl Packets {
    /// The next block of whole moments, which may be empty; `None` at the end.
    ///
    /// # Errors
    /// [`MediaError::Damaged`] where the decoder cannot go on, packets are missing or the checksum differs.
    pub(crate) fn next(&mut self) -> Result<Option<Samples>, MediaError> {
        let source = &self.source;
        let packet = match self.pending.take() {
            Some(packet) => Some(packet),
            None => source.guarded(|| self.format.next_packet())?,
        };
        let Some(packet) = packet else {
            if self.decoder.finalize().verify_ok == Some(false) {
                return Err(
                    source.damaged("the checksum of its samples differs from the one it holds".to_owned())
                );
            }
            return Ok(None);
        };
        let begins = packet.pts.get();
        // The frames of an MP3 do not tell when they are; that none is missing was seen when they were walked.
        if let Some(expected) = self.expected
            && begins != expected
            && !matches!(source.codec, Codec::Mp3(_))
        {
            return Err(
                source.damaged(format!("where sample {expected} should follow, there is sample {begins}"))
            );
        }
        let parts = [packet.dur, packet.trim_start, packet.trim_end];
        self.expected = Some(parts.iter().fold(begins, |at, part| at.saturating_add_unsigned(part.get())));
        let decoded = source.guarded(|| self.decoder.decode(&packet))?;
        Ok(Some(match decoded {
            GenericAudioBufferRef::F32(buffer) => {
                let mut values = Vec::new();
                symphonia::core::audio::Audio::copy_to_vec_interleaved(buffer, &mut values);
                Samples::F32(values)
            }
            GenericAudioBufferRef::S32(buffer) => {
                // The decoder shifts samples up to 32 bits.
                let shift = 32 - self.bits;
                let mut values = Vec::<i32>::new();
                symphonia::core::audio::Audio::copy_to_vec_interleaved(buffer, &mut values);
                if self.bits <= 16 {
                    Samples::I16(values.iter().map(|&x| (x >> shift) as i16).collect())
                } else {
                    for x in &mut values {
                        *x >>= shift;
                    }
                    Samples::I32(values)
                }
            }
            _ => {
                return Err(source.unusable(format!(
                    "its samples are of a type that {} does not have; convert it to WAV first",
                    source.format()
                )));
            }
        }))
    }
}

/// Some of a file's bytes, as if they were all.
struct Section {
    file: File,
    start: u64,
    len: u64,
    at: u64,
    is_seekable: bool,
}

impl Section {
    /// `is_seekable`: where false, the MP3 reader does not guess a length from the first frames, nor cut what is beyond.
    fn open(path: &Path, start: u64, end: u64, is_seekable: bool) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self { file, start, len: end.saturating_sub(start), at: 0, is_seekable })
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (buffer.len() as u64).min(self.len - self.at) as usize;
        let n = self.file.read(&mut buffer[..most])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.len.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let at = at.filter(|&at| at <= self.len).ok_or(io::ErrorKind::InvalidInput)?;
        self.file.seek(SeekFrom::Start(self.start + at))?;
        self.at = at;
        Ok(at)
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        self.is_seekable
    }

    fn byte_len(&self) -> Option<u64> {
        self.is_seekable.then_some(self.len)
    }
}
