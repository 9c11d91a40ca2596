//! RIFF WAVE: where the samples lie and what they are.
//!
//! Read here and not by a crate: those that are kept cut a file whose samples end early without a word, take the bits
//! of a sample for others than the file holds, refuse 64-bit floats or more than 32 channels.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use asmr::signal::{MAX_CHANNELS, SampleType, Samples};

use crate::audio_sniff::Flaw;

/// Chunks before the samples that are looked at; real files have a handful.
const MAX_CHUNKS: usize = 1000;
/// Bytes of a format chunk that mean something here.
const FORMAT_BYTES: u64 = 40;

/// What a WAV file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WavLayout {
    pub(crate) sample_rate: u32,
    pub(crate) channels: usize,
    pub(crate) sample_type: SampleType,
    /// Bits of a sample as stored: 8, 16, 24, 32 or 64.
    pub(crate) bits: u8,
    /// Where the first sample lies.
    pub(crate) start: u64,
    /// Samples per channel.
    pub(crate) n_samples: u64,
}

impl WavLayout {
    /// Bytes of one moment: a sample of each channel.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.channels * usize::from(self.bits / 8)
    }

    /// The values of whole moments.
    pub(crate) fn samples(&self, bytes: &[u8]) -> Samples {
        if self.bits != 24 {
            return Samples::from_le_bytes(self.sample_type, bytes);
        }
        let (triples, _) = bytes.as_chunks();
        Samples::I32(triples.iter().map(|&[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8).collect())
    }

    /// Reads the header of a file of `len` bytes.
    ///
    /// # Errors
    /// Whatever the reader says.
    pub(crate) fn read<R: BufRead + Seek>(reader: &mut R, len: u64) -> io::Result<Result<Self, Flaw>> {
        let damaged = |detail: String| Ok(Err(Flaw::Damaged(detail)));
        let mut format = None;
        // After "RIFF", its size and "WAVE". That size is wrong in many good files, and says nothing of interest.
        let mut at = 12;
        for _ in 0..MAX_CHUNKS {
            reader.seek(SeekFrom::Start(at))?;
            let mut header = Vec::new();
            reader.take(8).read_to_end(&mut header)?;
            let &[a, b, c, d, e, f, g, h] = header.as_slice() else {
                return damaged("it ends before its samples begin (there is no data chunk)".to_owned());
            };
            let size = u32::from_le_bytes([e, f, g, h]);
            match &[a, b, c, d] {
                b"fmt " => {
                    let mut bytes = Vec::new();
                    reader.take(FORMAT_BYTES.min(size.into())).read_to_end(&mut bytes)?;
                    match Format::parse(&bytes) {
                        Ok(found) => format = Some(found),
                        Err(flaw) => return Ok(Err(flaw)),
                    }
                }
                b"data" => {
                    let Some(format) = format else {
                        return damaged(
                            "its samples come before the chunk that tells what they are".to_owned(),
                        );
                    };
                    return Ok(format.layout(at + 8, size, len));
                }
                _ => {}
            }
            at += 8 + u64::from(size) + u64::from(size % 2);
        }
        damaged(format!("there are {MAX_CHUNKS} chunks and still no samples"))
    }
}

/// What the format chunk tells.
#[derive(Clone, Copy)]
struct Format {
    sample_rate: u32,
    channels: usize,
    sample_type: SampleType,
    bits: u8,
}

impl Format {
    fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        const PCM: u16 = 1;
        const FLOAT: u16 = 3;
        const EXTENSIBLE: u16 = 0xFFFE;
        /// What follows the format's number in the identifiers of an extensible format.
        const GUID_END: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71];
        let u16_at = |i: usize| bytes.get(i..i + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
        if bytes.len() < 16 {
            return Err(Flaw::Damaged(format!(
                "its format chunk has {} bytes; it takes 16 or more",
                bytes.len()
            )));
        }
        let (channels, sample_rate) = (u16_at(2), u32::from(u16_at(4)) | u32::from(u16_at(6)) << 16);
        let (block_bytes, bits) = (u16_at(12), u16_at(14));
        let mut tag = u16_at(0);
        if tag == EXTENSIBLE {
            if bytes.get(26..40) != Some(&GUID_END) {
                return Err(Flaw::Unusable(
                    "its samples are in a format of their own maker; convert it to WAV of whole numbers or floats first"
                        .to_owned(),
                ));
            }
            tag = u16_at(24);
        }
        let sample_type = match (tag, bits) {
            (PCM, 8) => SampleType::U8,
            (PCM, 16) => SampleType::I16,
            (PCM, 24 | 32) => SampleType::I32,
            (FLOAT, 32) => SampleType::F32,
            (FLOAT, 64) => SampleType::F64,
            _ => {
                let kind = match tag {
                    PCM => "whole numbers",
                    FLOAT => "floats",
                    2 | 0x11 => "ADPCM",
                    6 => "A-law",
                    7 => "µ-law",
                    0x55 => "MP3",
                    _ => "an unknown format",
                };
                return Err(Flaw::Unusable(format!(
                    "its samples are {kind} (format {tag:#06x}) of {bits} bits; WAV is read with whole numbers of 8, 16, \
                     24 or 32 bits and floats of 32 or 64, so convert it first"
                )));
            }
        };
        if channels == 0 || sample_rate == 0 {
            return Err(Flaw::Damaged(format!(
                "its header says {channels} channels at {sample_rate} samples per second; both are above 0"
            )));
        }
        let channels = usize::from(channels);
        if channels > MAX_CHANNELS {
            return Err(Flaw::Unusable(format!(
                "it has {channels} channels, and up to {MAX_CHANNELS} are read; split them over several files"
            )));
        }
        if usize::from(block_bytes) != channels * usize::from(bits / 8) {
            return Err(Flaw::Damaged(format!(
                "its header says {block_bytes} bytes for {channels} samples of {bits} bits"
            )));
        }
        Ok(Self { sample_rate, channels, sample_type, bits: bits as u8 })
    }

    fn layout(self, start: u64, size: u32, len: u64) -> Result<WavLayout, Flaw> {
        let there = len.saturating_sub(start);
        // Programs that write into a pipe cannot go back to fill the size in; the samples run to the end then.
        let bytes = if size == u32::MAX { there } else { size.into() };
        if bytes > there {
            return Err(Flaw::Damaged(format!(
                "its header promises {bytes} bytes of samples, and {there} are there"
            )));
        }
        let Self { sample_rate, channels, sample_type, bits } = self;
        let mut layout = WavLayout { sample_rate, channels, sample_type, bits, start, n_samples: 0 };
        let frame_bytes = layout.frame_bytes() as u64;
        if bytes % frame_bytes != 0 {
            return Err(Flaw::Damaged(format!(
                "its samples take {bytes} bytes, which is no whole number of {frame_bytes}, one sample of every channel"
            )));
        }
        layout.n_samples = bytes / frame_bytes;
        Ok(layout)
    }
}
