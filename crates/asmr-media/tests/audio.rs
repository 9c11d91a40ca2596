//! What is written is what is read, and what independent readers read; parts; lossy files; recognition.

use std::fs;
use std::path::{Path, PathBuf};

use asmr::metadata::{Audio, AudioContainer, Media};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{AudioPart, MediaError, SliceReader, create_audio, is_audio, open_audio, open_audio_frames};

/// Whole numbers of some bits with both extremes among them, as the type they are kept in.
fn whole_numbers(sample_type: SampleType, bits: u8, n: usize) -> Samples {
    let half = 1i64 << (bits - 1);
    let value = |i: usize| match i % 50 {
        7 => half - 1,
        8 => -half,
        // A wave with grain, so that predictors have work.
        _ => ((i as f64 * 0.05).sin() * 0.7 * half as f64) as i64 + (i as i64 * 7919 % 13) - 6,
    };
    let values = (0..n).map(|i| value(i).clamp(-half, half - 1));
    match sample_type {
        SampleType::U8 => Samples::U8(values.map(|v| (v + 128) as u8).collect()),
        SampleType::I16 => Samples::I16(values.map(|v| v as i16).collect()),
        SampleType::I32 => Samples::I32(values.map(|v| v as i32).collect()),
        SampleType::F32 => Samples::F32(values.map(|v| v as f32 / half as f32).collect()),
        other => panic!("{other:?}"),
    }
}

fn info(samples: &Samples, channels: usize, bits: u8, container: AudioContainer) -> SignalInfo {
    let (low, high) = samples.min_max().unwrap();
    SignalInfo {
        extents: vec![samples.len() / channels],
        channels,
        sample_type: samples.sample_type(),
        color: None,
        value_range: Some(ValueRange::of(low, high)),
        media: Media::Audio(Audio { sample_rate: 44_100, bits_per_sample: bits, container, start: 0 }),
    }
}

fn write(path: &Path, info: &SignalInfo, samples: &Samples) {
    let mut writer = create_audio(path, info).unwrap();
    let (mut at, mut part) = (0, 1);
    while at < samples.len() {
        let end = samples.len().min(at + part * info.channels);
        writer.write(&samples.slice(at..end)).unwrap();
        (at, part) = (end, part * 5 % 4999 + 1);
    }
    writer.finish().unwrap();
}

fn read_all(reader: &mut dyn SliceReader) -> Samples {
    let n = reader.info().extents[0];
    let mut bytes = Vec::new();
    let (mut at, mut part) = (0, 1);
    while at < n {
        let slices = part.min(n - at);
        bytes.extend(reader.read(slices).unwrap().to_le_bytes());
        (at, part) = (at + slices, part * 5 % 4999 + 1);
    }
    Samples::from_le_bytes(reader.info().sample_type, &bytes)
}

fn read(path: &Path) -> (SignalInfo, Samples) {
    let mut reader = open_audio(path, &AudioPart::default()).unwrap();
    let samples = read_all(&mut reader);
    (reader.info().clone(), samples)
}

/// What hound or claxon makes of a file: whole numbers around 0.
fn independent(path: &Path) -> (u32, usize, u32, Vec<i64>) {
    if path.extension().unwrap() == "flac" {
        let mut reader = claxon::FlacReader::open(path).unwrap();
        let info = reader.streaminfo();
        let values = reader.samples().map(|x| i64::from(x.unwrap())).collect();
        return (info.sample_rate, info.channels as usize, info.bits_per_sample, values);
    }
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let values = match spec.sample_format {
        hound::SampleFormat::Int => reader.samples::<i32>().map(|x| i64::from(x.unwrap())).collect(),
        hound::SampleFormat::Float => {
            reader.samples::<f32>().map(|x| i64::from(x.unwrap().to_bits())).collect()
        }
    };
    (spec.sample_rate, spec.channels.into(), spec.bits_per_sample.into(), values)
}

/// The same of our values.
fn comparable(samples: &Samples) -> Vec<i64> {
    match samples {
        Samples::U8(v) => v.iter().map(|&x| i64::from(x) - 128).collect(),
        Samples::I16(v) => v.iter().map(|&x| i64::from(x)).collect(),
        Samples::I32(v) => v.iter().map(|&x| i64::from(x)).collect(),
        Samples::F32(v) => v.iter().map(|&x| i64::from(x.to_bits())).collect(),
        other => panic!("{:?}", other.sample_type()),
    }
}

#[test]
fn every_kind_of_sample_round_trips_and_independent_readers_agree() {
    use SampleType::{F32, I16, I32, U8};
    let folder = tempfile::tempdir().unwrap();
    // Extension, the type and bits that are written, the type that is read, channels.
    let cases: [(&str, SampleType, u8, SampleType, &[usize]); 12] = [
        ("wav", U8, 8, U8, &[1, 2, 64]),
        ("wav", I16, 8, U8, &[1, 3]),
        ("WAV", I16, 16, I16, &[1, 2, 3, 8, 64]),
        ("wav", I32, 24, I32, &[1, 2, 5]),
        ("wav", I32, 32, I32, &[1, 2, 64]),
        ("wave", F32, 32, F32, &[1, 2, 64]),
        ("flac", U8, 8, I16, &[1, 2]),
        ("flac", I16, 8, I16, &[1, 2]),
        ("flac", I16, 12, I16, &[1, 2, 8]),
        ("flac", I16, 16, I16, &[1, 2, 8]),
        ("flac", I32, 20, I32, &[1, 2]),
        ("FLAC", I32, 24, I32, &[1, 2, 8]),
    ];
    let mut n_cases = 0;
    for (extension, written, bits, expected_type, channels) in cases {
        for &channels in channels {
            for n in [1, 2, 17, 4096, 9001] {
                let path = folder.path().join(format!("a.{extension}"));
                let case = format!("{extension} {written:?} {bits} bits, {n} x {channels}");
                let samples = whole_numbers(written, bits, n * channels);
                let is_flac = extension.eq_ignore_ascii_case("flac");
                let container = if is_flac { AudioContainer::Flac } else { AudioContainer::Wav };
                let info = info(&samples, channels, bits, container);
                write(&path, &info, &samples);
                let (read_info, read) = read(&path);
                assert_eq!(read.sample_type(), expected_type, "{case}");
                assert!(comparable(&read) == comparable(&samples), "{case}: values differ");
                assert_eq!(read_info.media, info.media, "{case}");
                assert_eq!((read_info.extents, read_info.channels), (info.extents, channels), "{case}");
                let (low, high) = read.min_max().unwrap();
                assert_eq!(read_info.value_range, Some(ValueRange::of(low, high)), "{case}");
                let lower = path.with_extension(extension.to_lowercase());
                fs::rename(&path, &lower).unwrap();
                let (rate, its_channels, its_bits, values) = independent(&lower);
                assert_eq!((rate, its_channels, its_bits), (44_100, channels, bits.into()), "{case}");
                assert!(values == comparable(&samples), "{case}: the independent reader differs");
                fs::remove_file(&lower).unwrap();
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 5 * (3 + 2 + 5 + 3 + 3 + 3 + 2 + 2 + 3 + 3 + 2 + 3));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "temporary files are left");
}

/// What a network may give back: one past the range of a constant signal.
/// Chunks of RIFF begin at even places ("Multimedia Programming Interface and Data Specifications 1.0", chapter 2): the byte
/// between is in the length of the whole, not in the chunk's.
#[test]
fn odd_numbers_of_bytes_are_padded() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for (sample_type, bits, n) in
        [(SampleType::U8, 8, 63), (SampleType::I32, 24, 21), (SampleType::U8, 8, 64)]
    {
        let path = folder.path().join("odd.wav");
        let samples = whole_numbers(sample_type, bits, n);
        write(&path, &info(&samples, 1, bits, AudioContainer::Wav), &samples);
        let bytes = fs::read(&path).unwrap();
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((bytes.len() % 2, number(4)), (0, bytes.len() - 8));
        let data = bytes.windows(4).position(|word| word == b"data").unwrap();
        assert_eq!(number(data + 4), n * usize::from(bits) / 8);
        assert_eq!(read(&path).1, samples);
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}

#[test]
fn a_value_beyond_its_bits_becomes_the_nearest() {
    let folder = tempfile::tempdir().unwrap();
    let samples = Samples::I32(vec![1 << 23, -(1 << 23) - 1, 5]);
    for name in ["a.wav", "a.flac"] {
        let path = folder.path().join(name);
        write(&path, &info(&samples, 1, 24, AudioContainer::Wav), &samples);
        assert_eq!(read(&path).1, Samples::I32(vec![(1 << 23) - 1, -(1 << 23), 5]), "{name}");
    }
}

#[test]
fn odd_sample_rates_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let samples = whole_numbers(SampleType::I16, 16, 5000);
    let mut n_cases = 0;
    for (name, rate) in [
        ("a.wav", 1),
        ("a.wav", 2_000_000_000),
        ("a.flac", 1),
        ("a.flac", 7),
        ("a.flac", 11_025),
        ("a.flac", 44_101),
        ("a.flac", 96_000),
        ("a.flac", 255_000),
        ("a.flac", 655_350),
    ] {
        let mut info = info(&samples, 1, 16, AudioContainer::Wav);
        let Media::Audio(audio) = &mut info.media else { panic!() };
        audio.sample_rate = rate;
        let path = folder.path().join(name);
        write(&path, &info, &samples);
        let (read_info, read) = read(&path);
        let Media::Audio(audio) = read_info.media else { panic!() };
        assert_eq!(audio.sample_rate, rate, "{name}");
        assert_eq!(read, samples, "{name} {rate}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
}

#[test]
fn what_a_format_cannot_hold_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |name: &str, sample_type, bits: u8, channels: usize, n: usize, rate: u32| {
        let info = SignalInfo {
            extents: vec![n],
            channels,
            sample_type,
            color: None,
            value_range: Some(ValueRange::of(0.0, 1.0)),
            media: Media::Audio(Audio {
                sample_rate: rate,
                bits_per_sample: bits,
                container: AudioContainer::Wav,
                start: 0,
            }),
        };
        let error = create_audio(&folder.path().join(name), &info).err().expect(name);
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let cases = [
        (refusal("a.wav", SampleType::F64, 64, 1, 9, 8000), "WAV cannot hold 64-bit floats", "write .npy"),
        (refusal("a.flac", SampleType::F64, 64, 1, 9, 8000), "FLAC cannot hold floats", "write .npy"),
        (refusal("a.flac", SampleType::F32, 32, 1, 9, 8000), "FLAC cannot hold floats", "write .wav"),
        (refusal("a.flac", SampleType::I32, 32, 1, 9, 8000), "samples of 32 bits", "write .wav"),
        (refusal("a.flac", SampleType::I16, 16, 9, 9, 8000), "9 channels", "write .wav"),
        (refusal("a.flac", SampleType::I16, 16, 1, 9, 700_000), "700000 samples per second", "write .wav"),
        (refusal("a.wav", SampleType::I16, 12, 1, 9, 8000), "samples of 12 bits", "write .flac"),
        (
            refusal("a.wav", SampleType::I16, 16, 2, 1 << 30, 8000),
            "1073741824 samples of 4 bytes",
            "write .flac",
        ),
        (
            refusal("a.wav", SampleType::I16, 16, 64, 9, 1 << 31),
            "2147483648 samples of 128 bytes",
            "write .npy",
        ),
        (
            refusal("a.mp3", SampleType::I16, 16, 1, 9, 8000),
            "its extension names no format",
            ".wav and .flac",
        ),
        (refusal("wav", SampleType::I16, 16, 1, 9, 8000), "its extension names no format", ".wav and .flac"),
    ];
    for (error, problem, remedy) in &cases {
        assert!(error.contains(problem) && error.contains(remedy), "{error}");
    }
    let plain = SignalInfo::plain(vec![9], 1, SampleType::U8, None);
    let error = create_audio(&folder.path().join("a.wav"), &plain).err().unwrap();
    assert!(error.to_string().contains("a plain signal is no sound"), "{error}");
    assert_eq!(cases.len(), 11);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_writer_that_is_dropped_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let samples = whole_numbers(SampleType::I16, 16, 9000);
    let info = info(&samples, 1, 16, AudioContainer::Wav);
    for name in ["a.wav", "a.flac"] {
        let path = folder.path().join(name);
        fs::write(&path, "before").unwrap();
        let mut writer = create_audio(&path, &info).unwrap();
        writer.write(&samples.slice(0..5000)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before");
        drop(writer);
        assert_eq!(fs::read(&path).unwrap(), b"before");
        // Nor is a file with fewer samples than announced put there.
        let mut writer = create_audio(&path, &info).unwrap();
        writer.write(&samples.slice(0..5000)).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(error.to_string().contains("4000 values"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"before");
        let error = create_audio(&folder.path().join("none").join(name), &info).err().unwrap();
        assert!(error.is_write_failure() && error.to_string().contains("does not exist"), "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "temporary files are left");
}

/// A WAV file byte by byte.
fn wav(tag: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    let block = channels * bits.div_ceil(8);
    let mut bytes = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0".to_vec();
    for field in [tag, channels] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(8000u32.to_le_bytes());
    bytes.extend((8000 * u32::from(block)).to_le_bytes());
    bytes.extend(block.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    // A chunk of odd length, which is padded.
    bytes.extend(b"junk\x03\0\0\0abc\0");
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn wav_values_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let doubles = [0.1f64, -1.5, f64::MIN_POSITIVE, 1e300];
    let mut as_bytes = Vec::new();
    as_bytes.extend(doubles.iter().flat_map(|x| x.to_le_bytes()));
    let cases = [
        (wav(1, 1, 8, &[0, 128, 255]), Samples::U8(vec![0, 128, 255]), 8),
        (wav(1, 2, 16, &[1, 0, 0, 0x80]), Samples::I16(vec![1, i16::MIN]), 16),
        (
            wav(1, 1, 24, &[1, 2, 3, 0, 0, 0x80, 0xFF, 0xFF, 0xFF]),
            Samples::I32(vec![0x03_02_01, -(1 << 23), -1]),
            24,
        ),
        (wav(1, 1, 32, &[1, 2, 3, 0x84]), Samples::I32(vec![i32::from_le_bytes([1, 2, 3, 0x84])]), 32),
        (wav(3, 1, 32, &1.5f32.to_le_bytes()), Samples::F32(vec![1.5]), 32),
        (wav(3, 2, 64, &as_bytes), Samples::F64(doubles.to_vec()), 64),
    ];
    for (bytes, expected, bits) in &cases {
        fs::write(&path, bytes).unwrap();
        let (info, samples) = read(&path);
        assert_eq!(samples, *expected);
        let Media::Audio(audio) = &info.media else { panic!() };
        let expected =
            Audio { sample_rate: 8000, bits_per_sample: *bits, container: AudioContainer::Wav, start: 0 };
        assert_eq!(*audio, expected);
    }
    assert_eq!(cases.len(), 6);
}

/// A program that writes into a pipe cannot fill the size in.
#[test]
fn a_streamed_wav_runs_to_the_end_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let mut bytes = wav(1, 1, 16, &[1, 0, 2, 0, 3, 0]);
    let size_at = bytes.len() - 10;
    bytes[size_at..size_at + 4].fill(0xFF);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&path).1, Samples::I16(vec![1, 2, 3]));
    bytes.pop();
    fs::write(&path, &bytes).unwrap();
    let error = open_audio(&path, &AudioPart::default()).unwrap_err();
    assert!(error.to_string().contains("no whole number of 2"), "{error}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio").join(name)
}

/// Decoders sum in different orders; the standards allow far more.
const LOSSY_BOUND: f32 = 2e-6;

#[test]
fn lossy_files_decode_to_what_libsndfile_decodes() {
    let mut n_files = 0;
    for row in include_str!("audio_expected.tsv").lines().filter(|row| row.starts_with("decoded\t")) {
        let [_, name, rate, channels, n, values] = row.split('\t').collect::<Vec<_>>()[..] else { panic!() };
        let channels: usize = channels.parse().unwrap();
        let (info, samples) = read(&fixture(name));
        assert_eq!(info.extents, [n.parse::<usize>().unwrap()], "{name}");
        assert_eq!(info.channels, channels, "{name}");
        let expected = Audio {
            sample_rate: rate.parse().unwrap(),
            bits_per_sample: 32,
            container: AudioContainer::Lossy,
            start: 0,
        };
        assert_eq!(info.media, Media::Audio(expected), "{name}");
        let Samples::F32(actual) = samples else { panic!("floats") };
        let expected: Vec<f32> = values.split(' ').map(|x| x.parse().unwrap()).collect();
        let actual: Vec<f32> = actual.chunks(channels).step_by(97).flatten().copied().collect();
        assert_eq!(actual.len(), expected.len(), "{name}");
        let worst = actual.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
        println!("{name}: largest difference {worst:e}");
        assert!(worst <= LOSSY_BOUND, "{name}: {worst:e} > {LOSSY_BOUND:e}");
        n_files += 1;
    }
    assert_eq!(n_files, 4);
}

#[test]
fn a_part_is_that_part_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let samples = whole_numbers(SampleType::I16, 16, 100_000);
    let info = info(&samples, 2, 16, AudioContainer::Wav);
    let mut paths =
        vec![fixture("stereo.mp3"), fixture("stereo.ogg"), fixture("mono-16k.mp3"), fixture("mono.ogg")];
    for name in ["a.wav", "a.flac"] {
        paths.push(folder.path().join(name));
        write(paths.last().unwrap(), &info, &samples);
    }
    let mut n_cases = 0;
    for path in &paths {
        let (whole_info, whole) = read(path);
        let (n, channels) = (whole_info.extents[0], whole_info.channels);
        for (start, length) in
            [(0, n), (0, 1), (n - 1, 1), (1, n - 1), (1151, 2), (1152, 1), (4095, 1), (4096, 1), (5000, 3000)]
        {
            let mut reader = open_audio_frames(path, start as u64, length as u64).unwrap();
            let case = format!("{} {start} {length}", path.display());
            assert!(
                read_all(&mut reader) == whole.slice(start * channels..(start + length) * channels),
                "{case}: values differ"
            );
            let Media::Audio(audio) = &reader.info().media else { panic!() };
            assert_eq!((audio.start, reader.info().extents[0]), (start as u64, length), "{case}");
            n_cases += 1;
        }
        let Media::Audio(audio) = whole_info.media else { panic!() };
        let part = AudioPart { start_s: 0.1, duration_s: Some(0.05) };
        let mut reader = open_audio(path, &part).unwrap();
        let start = (f64::from(audio.sample_rate) * 0.1).round() as usize;
        let length = (f64::from(audio.sample_rate) * 0.05).round() as usize;
        assert!(read_all(&mut reader) == whole.slice(start * channels..(start + length) * channels));
        let mut reader = open_audio(path, &AudioPart { start_s: 0.1, duration_s: None }).unwrap();
        assert!(read_all(&mut reader) == whole.slice(start * channels..whole.len()));
    }
    assert_eq!(n_cases, 6 * 9);
}

#[test]
fn data_set_recordings_equal_an_independent_reading() {
    let Some(data) = std::env::var_os("ASMR_DATA").map(PathBuf::from) else {
        println!("skipped: ASMR_DATA is not set");
        return;
    };
    let mut n_files = 0;
    for entry in fs::read_dir(data.join("audio")).unwrap() {
        let path = entry.unwrap().path();
        let start = std::time::Instant::now();
        let (info, samples) = read(&path);
        println!("{}: {:.1} ms", path.display(), start.elapsed().as_secs_f64() * 1e3);
        let (rate, channels, bits, values) = independent(&path);
        let Media::Audio(audio) = &info.media else { panic!() };
        assert_eq!((audio.sample_rate, info.channels), (rate, channels), "{}", path.display());
        assert_eq!(u32::from(audio.bits_per_sample), bits, "{}", path.display());
        assert!(comparable(&samples) == values, "{}: values differ", path.display());
        n_files += 1;
    }
    assert!(n_files >= 5, "{n_files} recordings");
}

#[test]
fn sound_is_recognised_by_content_and_pictures_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    let tag = |size: usize| {
        let mut tag = b"ID3\x04\0\0\0\0\0\0".to_vec();
        (tag[8], tag[9]) = ((size >> 7) as u8, (size & 0x7F) as u8);
        tag.resize(10 + size, b'x');
        tag
    };
    let samples = whole_numbers(SampleType::I16, 16, 3000);
    let flac = folder.path().join("a.flac");
    write(&flac, &info(&samples, 1, 16, AudioContainer::Flac), &samples);
    let [flac, mp3, ogg] =
        [flac, fixture("mono-16k.mp3"), fixture("mono.ogg")].map(|path| fs::read(path).unwrap());
    let sound = [
        wav(1, 1, 8, &[1]),
        flac.clone(),
        mp3.clone(),
        ogg,
        [tag(0), mp3.clone()].concat(),
        [tag(300), tag(20), mp3.clone()].concat(),
        [tag(300), vec![0; 900], mp3.clone()].concat(),
        [mp3.clone(), b"TAG".to_vec(), vec![b' '; 125]].concat(),
        [tag(300), flac].concat(),
    ];
    for (i, bytes) in sound.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert!(is_audio(&path).unwrap(), "case {i}");
        open_audio(&path, &AudioPart::default()).unwrap();
    }
    let mp3_header = &mp3[..4];
    let none: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"\xFF\xD8\xFF\xE0\0\x10JFIF\0\x01".repeat(200),
        b"\xFF\xFE\xFF\xFB".repeat(500),
        b"\xFF\xFB\x90\x00".repeat(500),
        b"\xFF\xF1\x50\x80".repeat(500),
        [mp3_header, &[7; 4000]].concat(),
        mp3_header.to_vec(),
        b"RIFF\x04\0\0\0WEBPVP8 ".to_vec(),
        b"RIFF\x04\0\0\0AVI LIST".to_vec(),
        [tag(300), vec![1; 4000]].concat(),
        tag(300)[..200].to_vec(),
        b"OggS\0\x02".to_vec(),
        vec![0; 4000],
        vec![0xFF; 4000],
    ];
    for (i, bytes) in none.iter().enumerate() {
        fs::write(&path, bytes).unwrap();
        assert!(!is_audio(&path).unwrap(), "case {i}");
        let error = open_audio(&path, &AudioPart::default()).unwrap_err();
        assert!(matches!(error, MediaError::Unusable { .. }), "case {i}: {error}");
        assert!(error.to_string().contains("WAV, FLAC, MP3 and Ogg Vorbis are read"), "case {i}: {error}");
    }
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut n_pictures = 0;
    for entry in fs::read_dir(examples).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
        assert!(!is_audio(&entry.path()).unwrap(), "{}", entry.path().display());
        n_pictures += 1;
    }
    assert!(n_pictures >= 2, "{n_pictures} examples");
    assert!(!is_audio(folder.path()).unwrap(), "a folder");
    assert!(is_audio(&folder.path().join("missing")).is_err());
}
