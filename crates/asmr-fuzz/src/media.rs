//! Pictures, sound and films.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use asmr::signal::{Samples, SignalInfo};
use asmr_media::{
    AudioPart, FrameRange, Limits, MediaError, ReadOptions, SliceReader, is_audio, open_audio,
    open_audio_frames, open_picture, open_video, read_image_from, recognise,
};

use crate::{check_message, flac, folder};

/// What a reader may hold: far more than an input of a few kilobytes needs.
pub(crate) const LIMITS: Limits =
    Limits { max_width: 1 << 12, max_height: 1 << 12, max_alloc_bytes: 1 << 20 };
/// The most values that are read of a signal.
const MAX_VALUES: usize = 1 << 21;

/// A signal that was read to its end.
pub(crate) struct Whole {
    pub(crate) info: SignalInfo,
    pub(crate) values: Samples,
}

/// The message of a refusal, which must say that the input is at fault.
pub(crate) fn refused(error: &MediaError) {
    assert!(error.is_bad_input(), "{error}");
    check_message(&error.to_string());
}

/// Reads a signal piece by piece and checks that it is what its reader promises. `None` if it is refused, or larger than
/// what is read here.
pub(crate) fn read(opened: Result<Box<dyn SliceReader + '_>, MediaError>) -> Option<Whole> {
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            refused(&error);
            return None;
        }
    };
    let info = reader.info().clone();
    info.validate().expect("a signal that was opened is valid");
    let n_values = info.n_values().and_then(|n| usize::try_from(n).ok()).filter(|&n| n <= MAX_VALUES);
    let slice = info.slice_values();
    let mut bytes = Vec::new();
    let (mut left, mut n_read, mut step) = (info.extents[0], 0, 1);
    while left > 0 && n_read <= MAX_VALUES {
        let n = step.min(left);
        let piece = match reader.read(n) {
            Ok(piece) => piece,
            Err(error) => {
                refused(&error);
                return None;
            }
        };
        assert_eq!(piece.len(), n * slice, "{n} slices of {info:?}");
        assert_eq!(piece.sample_type(), info.sample_type);
        assert_eq!(piece.first_not_finite(), None);
        if let (Some(range), Some((least, greatest))) = (info.value_range, piece.min_max()) {
            assert!(least >= range.low() && greatest <= range.high(), "{least} to {greatest} in {info:?}");
        }
        if n_values.is_some() {
            bytes.extend(piece.to_le_bytes());
        }
        left -= n;
        n_read += piece.len();
        // Pieces of 1, 3, 7, ... slices, so that they end anywhere; of few bytes, since a slice may have many.
        step = (2 * step + 1).min((1 << 16) / slice.max(1)).max(1);
    }
    n_values?;
    assert_eq!(reader.info(), &info, "what is known before the first value stays");
    Some(Whole { values: Samples::from_le_bytes(info.sample_type, &bytes), info })
}

fn is_recognised(path: &Path) {
    recognise(path, &ReadOptions::default()).expect("a regular file can be looked at");
}

/// A picture read whole and by rows is the same. What has no signature is read as TGA, which has none.
pub(crate) fn pictures(bytes: &[u8]) -> bool {
    let path = folder::file("a.tga", bytes);
    is_recognised(&path);
    let whole = read_image_from(Cursor::new(bytes), &path, &LIMITS);
    let rows = read(open_picture(&path, &LIMITS));
    match (whole, rows) {
        (Ok(whole), Some(rows)) => {
            assert_eq!(whole.info(), &rows.info);
            assert!(*whole.samples() == rows.values, "the rows of a picture of {:?} differ", rows.info);
            true
        }
        (Ok(whole), None) => {
            let n = whole.samples().len();
            assert!(n > MAX_VALUES, "a picture of {n} values is refused by rows only");
            false
        }
        (Err(error), rows) => {
            refused(&error);
            let is_too_large = matches!(error, MediaError::TooLarge { .. });
            assert!(rows.is_none() || is_too_large, "a picture is refused whole only: {error}");
            rows.is_some()
        }
    }
}

/// Gives the pages of an Ogg file the checksums of what they hold (RFC 3533: CRC-32 by 0x04C11DB7, not reflected).
fn sum_pages(bytes: &mut [u8]) {
    let starts: Vec<usize> =
        (0..bytes.len().saturating_sub(26)).filter(|&i| bytes[i..].starts_with(b"OggS")).collect();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(bytes.len());
        let page = &mut bytes[start..end];
        // Ones that follow too closely have no checksum.
        if page.len() < 26 {
            continue;
        }
        page[22..26].fill(0);
        let sum = page.iter().fold(0u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
                sum << 1 ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
    }
}

/// A part of a recording is that part of the whole. Ogg pages get right checksums; FLAC is read as it is, and with those of its frames
/// made right and none of its samples.
pub(crate) fn audio(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"OggS") {
        let mut bytes = bytes.to_vec();
        sum_pages(&mut bytes);
        return recording(&bytes);
    }
    let is_taken = recording(bytes);
    if !bytes.starts_with(flac::MAGIC) {
        return is_taken;
    }
    let summed = flac::summed(bytes);
    if summed == bytes { is_taken } else { recording(&summed) || is_taken }
}

fn recording(bytes: &[u8]) -> bool {
    let path = folder::file("a", bytes);
    is_recognised(&path);
    let is_sound = is_audio(&path).expect("a regular file can be looked at");
    let opened = open_audio(&path, &AudioPart::default());
    let Some(whole) = read(opened.map(|reader| Box::new(reader) as _)) else { return false };
    assert!(is_sound, "it is read, and not known as sound");
    let n = whole.info.extents[0];
    let (start, len) = (n / 3, (n / 2).max(1));
    let part = read(open_audio_frames(&path, start as u64, len as u64).map(|reader| Box::new(reader) as _))
        .expect("a part of what was read whole");
    let values = start * whole.info.channels..(start + len) * whole.info.channels;
    assert!(part.values == whole.values.slice(values), "samples {start} to {} differ", start + len);
    true
}

/// A part of a film is that part of the whole. Never anything but Y4M and folders of frames ([`folder::unpack`]), which are read here
/// and by no other program.
pub(crate) fn y4m(bytes: &[u8]) -> bool {
    const MAGIC: &[u8] = b"YUV4MPEG2";
    if bytes.starts_with(folder::MARK) {
        let path = folder::path("frames");
        fs::create_dir(&path).expect("the last one was removed");
        for (name, content) in folder::unpack(bytes) {
            // Folders in the folder are not looked into.
            if !name.contains('/') {
                fs::write(path.join(&name), content).expect("a temporary file can be written");
            }
        }
        let is_taken = film(&path);
        fs::remove_dir_all(&path).expect("it was made here");
        return is_taken;
    }
    let bytes = if bytes.starts_with(MAGIC) { bytes.to_vec() } else { [MAGIC, b" ", bytes].concat() };
    film(&folder::file("a.y4m", &bytes))
}

fn film(path: &Path) -> bool {
    // A folder may have no frames in it.
    assert!(
        recognise(path, &ReadOptions::default()).is_ok() || path.is_dir(),
        "what is there can be looked at"
    );
    let Some(whole) = read(open_video(path, &FrameRange::default(), &LIMITS)) else { return false };
    let n = whole.info.extents[0];
    let (start, end) = (n / 3, n / 3 + (n / 2).max(1));
    let frames = FrameRange { start: start as u64, end: Some(end as u64), rate: None };
    let part = read(open_video(path, &frames, &LIMITS)).expect("a part of what was read whole");
    let slice = whole.info.slice_values();
    assert!(part.values == whole.values.slice(start * slice..end * slice), "frames {start} to {end} differ");
    true
}
