//! Files of sound that are cut short, damaged or made to hurt: one sentence each, no panic, no silent cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use asmr::metadata::{Audio, AudioContainer, Media};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{AudioPart, MediaError, SliceReader, create_audio, open_audio, open_audio_frames};

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(name)).unwrap()
}

/// A small file of each format that is written.
fn written(name: &str, n: usize) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let samples =
        Samples::I16((0..n).map(|i| ((i as f64 * 0.1).sin() * 9000.0) as i16 + (i % 7) as i16).collect());
    let info = SignalInfo {
        extents: vec![n],
        channels: 1,
        sample_type: SampleType::I16,
        color: None,
        value_range: Some(ValueRange::of(-9000.0, 9006.0)),
        media: Media::Audio(Audio {
            sample_rate: 8000,
            bits_per_sample: 16,
            container: AudioContainer::Wav,
            start: 0,
        }),
    };
    let mut writer = create_audio(&path, &info).unwrap();
    writer.write(&samples).unwrap();
    writer.finish().unwrap();
    fs::read(path).unwrap()
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join("a");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, bytes: &[u8]) -> Result<Samples, MediaError> {
        let mut reader = open_audio(&self.file(bytes), &AudioPart::default())?;
        let n = reader.info().extents[0];
        let samples = reader.read(n)?;
        assert_eq!(samples.len(), n * reader.info().channels);
        Ok(samples)
    }

    /// The sentence with which it is refused.
    #[track_caller]
    fn refusal(&self, bytes: &[u8]) -> String {
        let error = self.read(bytes).unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        let sentence = error.to_string();
        assert!(!sentence.contains('\n') && sentence.len() < 400, "{sentence}");
        sentence
    }
}

/// A format chunk and a data chunk.
fn wav(format: &[u8], size: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"RIFF\xFF\xFF\xFF\x7FWAVEfmt ".to_vec();
    bytes.extend((format.len() as u32).to_le_bytes());
    bytes.extend(format);
    bytes.extend(b"data");
    bytes.extend(size.to_le_bytes());
    bytes.extend(data);
    bytes
}

fn format(tag: u16, channels: u16, rate: u32, block: u16, bits: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(tag.to_le_bytes());
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    bytes
}

#[test]
fn wav_headers_that_lie() {
    let folder = Folder::new();
    let data = [0; 64];
    let pcm = |channels, rate, block, bits| wav(&format(1, channels, rate, block, bits), 64, &data);
    let extensible = |tag: &[u8; 16]| {
        let mut bytes = format(0xFFFE, 1, 8000, 2, 16);
        bytes.extend([22, 0, 16, 0, 0, 0, 0, 0]);
        bytes.extend(tag);
        wav(&bytes, 64, &data)
    };
    let known = *b"\x01\0\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71";
    assert_eq!(folder.read(&extensible(&known)).unwrap().len(), 32);
    let mut late = b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0fmt \x10\0\0\0".to_vec();
    late.extend(format(1, 1, 8000, 2, 16));
    let mut endless = b"RIFF\0\0\0\0WAVE".to_vec();
    endless.extend(b"none\0\0\0\0".repeat(5000));
    let cases = [
        (
            "data shorter than promised",
            wav(&format(1, 1, 8000, 2, 16), 66, &data),
            "promises 66 bytes of samples, and 64",
        ),
        ("data of 4 GiB", wav(&format(1, 1, 8000, 2, 16), u32::MAX - 1, &data), "promises 4294967294 bytes"),
        ("half a sample", wav(&format(1, 1, 8000, 2, 16), 63, &data), "no whole number of 2"),
        ("no samples", wav(&format(1, 1, 8000, 2, 16), 0, &[]), "holds no samples"),
        ("no channels", pcm(0, 8000, 0, 16), "0 channels"),
        ("no rate", pcm(1, 0, 2, 16), "at 0 samples per second"),
        ("65 channels", pcm(65, 8000, 130, 16), "65 channels, and up to 64"),
        ("65535 channels of 32 bits", pcm(65535, 8000, 65532, 32), "65535 channels"),
        ("block of nothing", pcm(1, 8000, 0, 16), "0 bytes for 1 samples of 16 bits"),
        ("24 bits in 4 bytes", pcm(1, 8000, 4, 24), "4 bytes for 1 samples of 24 bits"),
        ("12 bits", pcm(1, 8000, 2, 12), "whole numbers (format 0x0001) of 12 bits"),
        ("64-bit whole numbers", pcm(1, 8000, 8, 64), "of 64 bits"),
        ("0 bits", pcm(1, 8000, 0, 0), "of 0 bits"),
        ("16-bit floats", wav(&format(3, 1, 8000, 2, 16), 64, &data), "floats (format 0x0003) of 16 bits"),
        ("A-law", wav(&format(6, 1, 8000, 1, 8), 64, &data), "A-law"),
        ("MP3 in WAV", wav(&format(0x55, 1, 8000, 1, 0), 64, &data), "MP3"),
        ("a maker's own format", extensible(&[9; 16]), "a format of their own maker"),
        (
            "an extension that ends early",
            wav(&format(0xFFFE, 1, 8000, 2, 16), 64, &data),
            "a format of their own maker",
        ),
        ("a short format chunk", wav(&[1, 0, 1, 0], 64, &data), "its format chunk has 4 bytes"),
        ("samples before the format", late, "before the chunk that tells"),
        ("only a header", b"RIFF\0\0\0\0WAVE".to_vec(), "no data chunk"),
        ("an endless chain of chunks", endless, "still no samples"),
        ("a chunk of 4 GiB", b"RIFF\0\0\0\0WAVEjunk\xFF\xFF\xFF\xFF12".to_vec(), "no data chunk"),
        (
            "RF64",
            b"RF64\xFF\xFF\xFF\xFFWAVEds64".to_vec(),
            "RF64, the WAV of more than 4 GiB, which is not read",
        ),
        ("AIFF", b"FORM\0\0\0\x04AIFFCOMM".to_vec(), "AIFF, which is not read"),
    ];
    for (attack, bytes, words) in &cases {
        let sentence = folder.refusal(bytes);
        assert!(sentence.contains(words), "{attack}: {sentence}");
    }
    assert_eq!(cases.len(), 25);
}

#[test]
fn values_that_are_not_finite_are_named() {
    let folder = Folder::new();
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let mut values = vec![0.5f32; 2 * 40_000];
        values[2 * 33_333 + 1] = value;
        let data: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let bytes = wav(&format(3, 2, 8000, 8, 32), data.len() as u32, &data);
        let sentence = folder.refusal(&bytes);
        assert!(sentence.contains(&format!("sample 33333 holds the value {name}")), "{sentence}");
        // A part without it is fine, one with it counts from the recording's beginning.
        open_audio_frames(&folder.file(&bytes), 33_334, 100).unwrap();
        let error = open_audio_frames(&folder.file(&bytes), 33_000, 400).unwrap_err();
        assert!(error.to_string().contains("sample 33333"), "{error}");
    }
    // A range that no number can hold.
    let data: Vec<u8> = [f64::MAX, f64::MIN].iter().flat_map(|x| x.to_le_bytes()).collect();
    let sentence = folder.refusal(&wav(&format(3, 1, 8000, 8, 64), 16, &data));
    assert!(sentence.contains("further than numbers do"), "{sentence}");
}

#[test]
fn parts_outside_of_the_recording() {
    let folder = Folder::new();
    let files =
        [written("a.wav", 3000), written("a.flac", 3000), fixture("mono-16k.mp3"), fixture("mono.ogg")];
    let mut n_cases = 0;
    for bytes in &files {
        let path = folder.file(bytes);
        let n = open_audio(&path, &AudioPart::default()).unwrap().info().extents[0] as u64;
        let check = |result: Result<_, MediaError>, words: &str| {
            let error = result.map(|_: asmr_media::AudioReader| ()).unwrap_err();
            assert!(matches!(error, MediaError::Unusable { .. }), "{error}");
            assert!(error.to_string().contains(words), "{words:?} is not in {error}");
        };
        check(open_audio_frames(&path, n, 1), &format!("begins at sample {n}"));
        check(open_audio_frames(&path, u64::MAX, 1), &format!("the recording ends after {n}"));
        check(open_audio_frames(&path, 0, 0), "0 samples");
        check(open_audio_frames(&path, 1, n), &format!("{} ", n - 1));
        check(open_audio_frames(&path, 0, u64::MAX), "");
        check(open_audio_frames(&path, n - 1, 1 << 40), "");
        let part = |start_s, duration_s| open_audio(&path, &AudioPart { start_s, duration_s });
        check(part(1e9, None), "begins at sample");
        check(part(1e300, None), "the start is 1");
        check(part(-0.1, None), "the start is -0.1 s");
        check(part(f64::NAN, None), "the start is NaN s");
        check(part(f64::INFINITY, None), "the start is inf s");
        check(part(0.0, Some(0.0)), "the duration is 0 s");
        check(part(0.0, Some(-1.0)), "the duration is -1 s");
        check(part(0.0, Some(f64::NAN)), "the duration is NaN s");
        check(part(0.0, Some(1e9)), "");
        check(part(0.1, Some(60.0)), "are left where it begins; make it shorter");
        n_cases += 16;
    }
    assert_eq!(n_cases, 4 * 16);
}

/// However a file is cut, it must not pass for a shorter whole one.
#[test]
fn files_cut_anywhere_are_refused() {
    let folder = Folder::new();
    let files = [
        ("WAV", written("a.wav", 700)),
        ("FLAC", written("a.flac", 700)),
        ("long FLAC", written("a.flac", 9000)),
        ("MP3", fixture("mono-16k.mp3")),
        ("stereo MP3", fixture("stereo.mp3")),
        ("Ogg", fixture("mono.ogg")),
        ("stereo Ogg", fixture("stereo.ogg")),
    ];
    let mut n_cases = 0;
    for (name, bytes) in &files {
        folder.read(bytes).unwrap();
        let len = bytes.len();
        // Frames of MP3 begin anywhere; of the rest of long files, one cut in 29 will do.
        let is_tried = |n: &usize| *n < 100 || *n > len - 200 || n.is_multiple_of(29) || bytes[*n] == 0xFF;
        for n in (0..len).filter(is_tried) {
            let result = folder.read(&bytes[..n]);
            assert!(result.is_err(), "{name}: {n} of {len} bytes pass for {} values", result.unwrap().len());
            n_cases += 1;
        }
    }
    println!("{n_cases} cuts");
    assert!(n_cases > 2500, "{n_cases}");
}

/// Gives the pages of an Ogg file the checksums of what they hold now (RFC 3533: CRC-32 by 0x04C11DB7, not reflected).
fn sum_pages(bytes: &mut [u8]) {
    let starts: Vec<usize> =
        (0..bytes.len().saturating_sub(26)).filter(|&i| bytes[i..].starts_with(b"OggS")).collect();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(bytes.len());
        let page = &mut bytes[start..end];
        page[22..26].fill(0);
        let sum = page.iter().fold(0u32, |sum, &byte| {
            (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| {
                sum << 1 ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 }
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Bytes changed at random: an error, or a signal of the announced shape; where there are checksums, the right one.
#[test]
fn files_with_changed_bytes_neither_panic_nor_hang() {
    let folder = Folder::new();
    let files = [
        ("WAV", written("a.wav", 700)),
        ("FLAC", written("a.flac", 5000)),
        ("MP3", fixture("mono-16k.mp3")),
        ("stereo MP3", fixture("stereo.mp3")),
        ("Ogg", fixture("mono.ogg")),
        ("stereo Ogg", fixture("stereo.ogg")),
        ("Ogg with new checksums", fixture("mono.ogg")),
    ];
    let mut random = 0x2545_F491_4F6C_DD1Du64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let start = Instant::now();
    for (name, bytes) in &files {
        let mut same = bytes.clone();
        sum_pages(&mut same);
        assert!(
            name.starts_with("Ogg") <= (same == *bytes),
            "{name}: checksums are computed as the file's are"
        );
        let expected = folder.read(bytes).unwrap();
        let (mut n_refused, mut n_cases) = (0, 0);
        for case in 0..400 {
            let mut changed = bytes.clone();
            // Headers matter most.
            let reach = if case % 2 == 0 { changed.len() } else { changed.len().min(200) };
            for _ in 0..=next(4) {
                changed[next(reach)] ^= 1 << next(8);
            }
            if *name == "Ogg with new checksums" {
                sum_pages(&mut changed);
            }
            let begin = Instant::now();
            match folder.read(&changed) {
                Ok(samples) if *name == "FLAC" || name.ends_with("Ogg") => {
                    assert!(samples == expected, "{name}: case {case} passes with other values");
                }
                Ok(samples) => {
                    assert!(samples.len() <= 100 * expected.len(), "{name}: {} values", samples.len());
                }
                Err(error) => {
                    assert!(error.is_bad_input(), "{name}: {error}");
                    n_refused += 1;
                }
            }
            assert!(begin.elapsed() < Duration::from_secs(60), "{name}: case {case} takes long");
            n_cases += 1;
        }
        println!("{name}: {n_refused} of {n_cases} refused");
        assert_eq!(n_cases, 400);
    }
    println!("{:.1} s", start.elapsed().as_secs_f64());
}

#[test]
fn flac_samples_that_differ_from_their_checksum() {
    let folder = Folder::new();
    let mut bytes = written("a.flac", 700);
    // The last byte of STREAMINFO is the last of the MD5 sum.
    bytes[4 + 4 + 33] ^= 1;
    assert!(folder.refusal(&bytes).contains("the checksum of its samples differs"));
    // A part has no checksum of its own, but its frames have.
    open_audio_frames(&folder.file(&bytes), 1, 10).unwrap();
    // More frames than the header promises.
    let mut bytes = written("a.flac", 700);
    bytes[4 + 4 + 17] -= 1;
    let sentence = folder.refusal(&bytes);
    assert!(sentence.contains("header promises"), "{sentence}");
}

#[test]
fn ogg_files_that_are_not_one_whole_recording() {
    let folder = Folder::new();
    let (mono, stereo) = (fixture("mono.ogg"), fixture("stereo.ogg"));
    let pages: Vec<usize> = (0..stereo.len()).filter(|&i| stereo[i..].starts_with(b"OggS")).collect();
    assert!(pages.len() >= 3, "{} pages", pages.len());
    let chained = [mono.clone(), mono.clone()].concat();
    assert!(folder.refusal(&chained).contains("several recordings one after another"));
    let trailing = [mono.clone(), vec![1; 40]].concat();
    assert!(folder.refusal(&trailing).contains("40 bytes follow its last page"));
    let hole = [&stereo[..pages[1]], &stereo[pages[2]..]].concat();
    assert!(folder.refusal(&hole).contains("so some are missing"));
    let last = *pages.last().unwrap();
    assert!(folder.refusal(&stereo[..last]).contains("not marked as the last"));
    let two = [&stereo[..pages[1]], &mono[..]].concat();
    assert!(folder.refusal(&two).contains("several streams"));
    let opus = [&b"OggS\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x08"[..], b"OpusHead"].concat();
    assert!(folder.refusal(&opus).contains("Ogg Opus, which is not read"));
}

#[test]
fn mp3_files_with_junk_or_changing_frames() {
    let folder = Folder::new();
    let (mono, stereo) = (fixture("mono-16k.mp3"), fixture("stereo.mp3"));
    let sentence = folder.refusal(&[stereo.clone(), mono.clone()].concat());
    assert!(sentence.contains("changes at byte"), "{sentence}");
    let sentence = folder.refusal(&[stereo.clone(), b"junk".repeat(40)].concat());
    assert!(sentence.contains("there is no frame at byte"), "{sentence}");
    // Two recordings one after another: the second would be cut off as padding.
    let sentence = folder.refusal(&[stereo.clone(), stereo.clone()].concat());
    assert!(sentence.contains("its table of contents promises"), "{sentence}");
}

#[cfg(unix)]
#[test]
fn pipes_folders_and_missing_files_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| open_audio(path, &AudioPart::default()).map(|_| ()).unwrap_err().to_string();
    assert!(open(Path::new("/dev/null")).contains("a pipe or a device"));
    assert!(open(folder.path()).contains("it is a folder"));
    assert!(open(&folder.path().join("a.wav")).contains("cannot read"));
}
