//! Is it sound, and is the whole of it there? Told from the content, before anything is decoded.
//!
//! Decoders of MP3 and Ogg skip what they cannot make sense of and call the rest a success; a recording with a hole or
//! without its end must not pass for a whole one, so the frames and pages are walked here first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::audio_vorbis::check_setup;

/// What a file of sound is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioFormat {
    /// RIFF WAVE.
    Wav,
    /// FLAC, from this byte on (tags may precede it).
    Flac(u64),
    /// MPEG audio, layer III, from this byte on.
    Mp3(u64),
    /// Ogg with a Vorbis stream.
    Vorbis,
    /// Sound that is not read: what it is.
    Other(&'static str),
}

/// Whether a file holds sound, told from its first bytes: RIFF WAVE, FLAC, Ogg without pictures, MP3 (with or without
/// ID3 tags before it). Kinds of sound that are not read ([`open_audio`](crate::open_audio) says why) count as sound.
///
/// A name plays no part. What is no regular file is not looked into.
///
/// # Errors
/// What the operating system says.
pub fn is_audio(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(false);
    }
    Ok(recognise(&mut BufReader::new(file), metadata.len())?.is_some())
}

/// What a file of `len` bytes is, if it is sound. Leaves the reader anywhere.
///
/// # Errors
/// Whatever the reader says.
pub(crate) fn recognise<R: BufRead + Seek>(reader: &mut R, len: u64) -> io::Result<Option<AudioFormat>> {
    let mut at = 0;
    // Tags may be stacked; each has at least ten bytes, and nobody stacks many.
    for _ in 0..8 {
        match id3_end(reader, at)? {
            Some(end) if end <= len => at = end,
            Some(_) => return Ok(None),
            None => break,
        }
    }
    let is_tagged = at > 0;
    let start = read_at(reader, at, 12)?;
    let format = match start.as_slice() {
        [b'f', b'L', b'a', b'C', ..] => Some(AudioFormat::Flac(at)),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E'] if !is_tagged => Some(AudioFormat::Wav),
        [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E'] => {
            Some(AudioFormat::Other("RF64, the WAV of more than 4 GiB"))
        }
        [b'R', b'I', b'F', b'X', _, _, _, _, b'W', b'A', b'V', b'E'] => {
            Some(AudioFormat::Other("RIFX, the big-endian WAV"))
        }
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C'] => {
            Some(AudioFormat::Other("AIFF"))
        }
        [b'O', b'g', b'g', b'S', ..] if !is_tagged => ogg_streams(reader)?,
        _ => None,
    };
    if format.is_some() {
        return Ok(format);
    }
    if is_tagged {
        at = skip_zeros(reader, at)?;
    }
    Ok(looks_like_mp3(reader, at, len)?.then_some(AudioFormat::Mp3(at)))
}

/// Where the ID3 tag that begins at `at` ends, if there is one.
fn id3_end<R: BufRead + Seek>(reader: &mut R, at: u64) -> io::Result<Option<u64>> {
    let header = read_at(reader, at, 10)?;
    let [b'I', b'D', b'3', version, revision, flags, a, b, c, d] = *header.as_slice() else {
        return Ok(None);
    };
    if version == 0xFF || revision == 0xFF || [a, b, c, d].iter().any(|&x| x >= 0x80) {
        return Ok(None);
    }
    let size = [a, b, c, d].iter().fold(0u64, |size, &x| size << 7 | u64::from(x));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    Ok(Some(at + 10 + size + footer))
}

/// Past the padding that some writers leave after a tag.
fn skip_zeros<R: BufRead + Seek>(reader: &mut R, at: u64) -> io::Result<u64> {
    const MOST: usize = 1 << 16;
    let bytes = read_at(reader, at, MOST)?;
    Ok(at + bytes.iter().position(|&x| x != 0).unwrap_or(0) as u64)
}

/// By the identification packets of the streams that begin together (RFC 3533).
fn ogg_streams<R: BufRead + Seek>(reader: &mut R) -> io::Result<Option<AudioFormat>> {
    let (mut at, mut found) = (0, None);
    for _ in 0..16 {
        let Some(page) = OggPage::read(reader, at)? else { break };
        if !page.is_first {
            break;
        }
        let packet = read_at(reader, at + page.header_len, 8)?;
        let format = match packet.as_slice() {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => Some(AudioFormat::Vorbis),
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd'] => Some(AudioFormat::Other("Ogg Opus")),
            [0x7F, b'F', b'L', b'A', b'C', ..] => Some(AudioFormat::Other("FLAC inside Ogg")),
            [b'S', b'p', b'e', b'e', b'x', ..] => Some(AudioFormat::Other("Ogg Speex")),
            [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => return Ok(None),
            _ => None,
        };
        found = found.or(format);
        at += page.header_len + page.body_len;
    }
    Ok(found)
}

/// The header of an Ogg page.
struct OggPage {
    is_first: bool,
    is_last: bool,
    granule: i64,
    serial: u32,
    sequence: u32,
    header_len: u64,
    body_len: u64,
    /// The lengths of its segments; a packet ends with each that is below 255.
    lacing: Vec<u8>,
}

impl OggPage {
    /// The page at a place; `None` where there is none, or no whole header.
    fn read<R: BufRead + Seek>(reader: &mut R, at: u64) -> io::Result<Option<Self>> {
        const HEADER: usize = 27;
        seek(reader, at)?;
        let mut header = Vec::with_capacity(HEADER);
        reader.take(HEADER as u64).read_to_end(&mut header)?;
        let Ok(header) = <[u8; HEADER]>::try_from(header) else { return Ok(None) };
        if !header.starts_with(b"OggS\0") {
            return Ok(None);
        }
        let mut lacing = Vec::new();
        reader.take(u64::from(header[26])).read_to_end(&mut lacing)?;
        if lacing.len() != usize::from(header[26]) {
            return Ok(None);
        }
        let u32_at = |i: usize| u32::from_le_bytes([header[i], header[i + 1], header[i + 2], header[i + 3]]);
        Ok(Some(Self {
            is_first: header[5] & 2 != 0,
            is_last: header[5] & 4 != 0,
            granule: i64::from(u32_at(6)) | i64::from(u32_at(10)) << 32,
            serial: u32_at(14),
            sequence: u32_at(18),
            header_len: (HEADER + lacing.len()) as u64,
            body_len: lacing.iter().map(|&x| u64::from(x)).sum(),
            lacing,
        }))
    }
}

/// Bytes of a Vorbis setup header; real ones have some thousand.
const MAX_SETUP_BYTES: usize = 1 << 20;

/// The three packets with which a Vorbis stream begins; the third is kept.
#[derive(Default)]
struct Headers {
    n_whole: usize,
    setup: Vec<u8>,
}

impl Headers {
    fn are_whole(&self) -> bool {
        self.n_whole == 3
    }

    fn take(&mut self, page: &OggPage, body: &[u8]) {
        let mut rest = body;
        for &length in &page.lacing {
            let (segment, after) = rest.split_at(usize::from(length).min(rest.len()));
            rest = after;
            if self.n_whole == 2 {
                self.setup.extend_from_slice(segment);
            }
            if length < 255 && !self.are_whole() {
                self.n_whole += 1;
            }
        }
    }
}

/// Why a file cannot be taken for one whole recording.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// It is cut short or has a hole.
    Damaged(String),
    /// It is another kind of thing than is read.
    Unusable(String),
}

/// Walks the pages of an Ogg file: one stream, no page missing, the last marked as such, nothing after it.
///
/// # Errors
/// Whatever the reader says.
pub(crate) fn check_ogg<R: BufRead + Seek>(reader: &mut R, len: u64) -> io::Result<Result<(), Flaw>> {
    let damaged = |detail: String| Ok(Err(Flaw::Damaged(detail)));
    let (mut at, mut last) = (0, None::<OggPage>);
    let mut headers = Headers::default();
    loop {
        let Some(page) = OggPage::read(reader, at)? else {
            return damaged(format!("there is no page at byte {at} of {len}, where one should begin"));
        };
        let end = at + page.header_len + page.body_len;
        if end > len {
            return damaged(format!("it has {len} bytes, and its last page ends at byte {end}"));
        }
        if let Some(last) = &last {
            if page.is_first || page.serial != last.serial {
                return Ok(Err(Flaw::Unusable(
                    "it has several streams, and a recording has one; take one out into a file of its own"
                        .to_owned(),
                )));
            }
            if page.sequence != last.sequence.wrapping_add(1) {
                return damaged(format!(
                    "page {} is followed by page {}, so some are missing",
                    last.sequence, page.sequence
                ));
            }
            if page.granule != -1 && page.granule < last.granule {
                return damaged(format!("page {} is earlier than the one before it", page.sequence));
            }
        }
        if !headers.are_whole() {
            headers.take(&page, &read_at(reader, at + page.header_len, page.body_len as usize)?);
            if headers.setup.len() > MAX_SETUP_BYTES {
                return damaged(format!("its setup header has more than {MAX_SETUP_BYTES} bytes"));
            }
            if headers.are_whole()
                && let Err(detail) = check_setup(&headers.setup)
            {
                return damaged(detail);
            }
        }
        at = end;
        if page.is_last || at == len {
            if !page.is_last {
                return damaged("its last page is not marked as the last, so the end is missing".to_owned());
            }
            if !headers.are_whole() {
                return damaged("it ends before its samples begin".to_owned());
            }
            if at == len {
                return Ok(Ok(()));
            }
            let next = OggPage::read(reader, at)?;
            return Ok(Err(if next.is_some_and(|page| page.is_first) {
                Flaw::Unusable(
                    "it has several recordings one after another; take one out into a file of its own"
                        .to_owned(),
                )
            } else {
                Flaw::Damaged(format!("{} bytes follow its last page", len - at))
            }));
        }
        last = Some(page);
    }
}

/// The header of a frame of MPEG audio, layer III.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mp3Frame {
    /// 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5.
    version: u8,
    sample_rate: u32,
    is_mono: bool,
    /// Bytes from this header to the next.
    len: u64,
}

impl Mp3Frame {
    /// Bytes of the header.
    const HEADER: usize = 4;

    /// ISO/IEC 11172-3, 2.4.2.3, and 13818-3. Free formats, whose frames do not tell how long they are, are none here.
    fn parse(bytes: &[u8]) -> Option<Self> {
        const RATES: [u32; 3] = [44_100, 48_000, 32_000];
        const KBITS_1: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        const KBITS_2: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        const LAYER_3: u8 = 1;
        let &[0xFF, b, c, d] = bytes else { return None };
        let version = b >> 3 & 3;
        if b & 0xE0 != 0xE0 || version == 1 || b >> 1 & 3 != LAYER_3 {
            return None;
        }
        let is_mpeg_1 = version == 3;
        let kbits = *if is_mpeg_1 { &KBITS_1 } else { &KBITS_2 }.get(usize::from(c >> 4).checked_sub(1)?)?;
        let rate = *RATES.get(usize::from(c >> 2 & 3))?;
        let sample_rate = rate >> [2, 0, 1, 0][usize::from(version)];
        let per_bit = if is_mpeg_1 { 144_000 } else { 72_000 };
        let len = kbits * per_bit / u64::from(sample_rate) + u64::from(c >> 1 & 1);
        Some(Self { version, sample_rate, is_mono: d >> 6 == 3, len })
    }

    fn at<R: BufRead + Seek>(reader: &mut R, at: u64) -> io::Result<Option<Self>> {
        Ok(Self::parse(&read_at(reader, at, Self::HEADER)?))
    }

    /// Whether both can be of one recording.
    fn continues(self, other: Self) -> bool {
        let kind = |x: Self| (x.version, x.sample_rate, x.is_mono);
        kind(self) == kind(other)
    }

    /// Samples per channel.
    fn n_samples(self) -> u64 {
        if self.version == 3 { 1152 } else { 576 }
    }
}

/// Whether frames follow one another from here: two bytes of a header alone say nothing.
fn looks_like_mp3<R: BufRead + Seek>(reader: &mut R, start: u64, len: u64) -> io::Result<bool> {
    let Some(first) = Mp3Frame::at(reader, start)? else { return Ok(false) };
    let mut at = start + first.len;
    for n_whole in 0..3 {
        if at >= len {
            return Ok(at == len || n_whole > 0);
        }
        match Mp3Frame::at(reader, at)? {
            Some(frame) if frame.continues(first) => at += frame.len,
            // One frame and a tag.
            _ => return Ok(is_trailer(&read_at(reader, at, TRAILER)?)),
        }
    }
    Ok(true)
}

/// What the frames of an MP3 file amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mp3Extent {
    /// Where the last frame ends; tags may follow.
    pub(crate) end: u64,
    /// Samples per channel of all frames, one of which may hold a table of contents instead.
    pub(crate) n_samples: u64,
    /// Samples per channel of a frame.
    pub(crate) frame_samples: u64,
}

/// Walks the frames of an MP3 file that begins at `start`.
///
/// # Errors
/// Whatever the reader says.
pub(crate) fn check_mp3<R: BufRead + Seek>(
    reader: &mut R,
    start: u64,
    len: u64,
) -> io::Result<Result<Mp3Extent, Flaw>> {
    let (mut at, mut n_samples, mut first) = (start, 0, None);
    loop {
        let frame = Mp3Frame::at(reader, at)?;
        let (Some(frame), true) = (frame, at < len) else {
            let frame_samples = first.map_or(0, Mp3Frame::n_samples);
            let rest = read_at(reader, at, TRAILER)?;
            return Ok(if at == len || is_trailer(&rest) {
                Ok(Mp3Extent { end: at, n_samples, frame_samples })
            } else {
                Err(Flaw::Damaged(format!("there is no frame at byte {at} of {len}, where one should begin")))
            });
        };
        let first = *first.get_or_insert(frame);
        if !frame.continues(first) {
            return Ok(Err(Flaw::Unusable(format!(
                "the sample rate or the number of channels changes at byte {at}, and a recording has one; \
                 convert it to WAV or FLAC first"
            ))));
        }
        at += frame.len;
        n_samples += frame.n_samples();
        if at > len {
            return Ok(Err(Flaw::Damaged(format!(
                "it has {len} bytes, and its last frame ends at byte {at}"
            ))));
        }
    }
}

/// Bytes that tell what follows the last frame.
const TRAILER: usize = 64;

/// Tags of several kinds, or padding.
fn is_trailer(bytes: &[u8]) -> bool {
    let tags: [&[u8]; 4] = [b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3"];
    tags.iter().any(|tag| bytes.starts_with(tag)) || bytes.iter().all(|&x| x == 0)
}

/// Up to `n` bytes from a place on; fewer at the end.
fn read_at<R: BufRead + Seek>(reader: &mut R, at: u64, n: usize) -> io::Result<Vec<u8>> {
    seek(reader, at)?;
    let mut bytes = Vec::with_capacity(n);
    reader.take(n as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn seek<R: Seek>(reader: &mut R, to: u64) -> io::Result<()> {
    // Relative, so that a buffered reader keeps what it has.
    let at = reader.stream_position()?;
    match i64::try_from(i128::from(to) - i128::from(at)) {
        Ok(offset) => reader.seek_relative(offset),
        Err(_) => reader.seek(SeekFrom::Start(to)).map(drop),
    }
}
