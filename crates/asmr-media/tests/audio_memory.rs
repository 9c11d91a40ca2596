//! Reading and writing sound needs the memory of a block. Alone in its file: the peak is the whole process's.

use std::fs;
use std::time::Instant;

use asmr::metadata::{Audio, AudioContainer, Media};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{AudioComparison, AudioPart, SliceReader, create_audio, open_audio};

/// The largest resident size so far, from the kernel.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn sound_streams_both_ways() {
    const N: usize = 1 << 22;
    const BLOCK: usize = 1 << 14;
    let Some(before) = peak_kib() else {
        println!("skipped: there is no /proc/self/status");
        return;
    };
    let info = SignalInfo {
        extents: vec![N],
        channels: 2,
        sample_type: SampleType::I16,
        color: None,
        value_range: Some(ValueRange::of(-32768.0, 32767.0)),
        media: Media::Audio(Audio {
            sample_rate: 44_100,
            bits_per_sample: 16,
            container: AudioContainer::Wav,
            start: 0,
        }),
    };
    let block = |at: usize| {
        let values =
            (2 * at..2 * (at + BLOCK)).map(|i| ((i / 2 * 37 % 20011) as i16) + (i * i / 7 % 13) as i16);
        Samples::I16(values.collect())
    };
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for name in ["a.wav", "a.flac"] {
        let path = folder.path().join(name);
        let start = Instant::now();
        let mut writer = create_audio(&path, &info).unwrap();
        for at in (0..N).step_by(BLOCK) {
            writer.write(&block(at)).unwrap();
        }
        writer.finish().unwrap();
        let written = start.elapsed().as_secs_f64();
        let mut reader = open_audio(&path, &AudioPart::default()).unwrap();
        let mut comparison = AudioComparison::new(reader.info());
        let opened = start.elapsed().as_secs_f64();
        for at in (0..N).step_by(BLOCK) {
            let samples = reader.read(BLOCK).unwrap();
            assert!(samples == block(at), "{name}: values differ from {at} on");
            if at < N / 8 {
                comparison.push(&samples, &samples);
            }
        }
        assert_eq!(comparison.finish().snr_db, None);
        let read = start.elapsed().as_secs_f64();
        let grown = peak_kib().unwrap() - before;
        println!(
            "{name}: {} bytes, written in {written:.2} s, surveyed in {:.2} s, read in {:.2} s, peak +{grown} KiB",
            fs::metadata(&path).unwrap().len(),
            opened - written,
            read - opened
        );
        // The recording has 16 MiB.
        assert!(grown < 4 << 10, "{name}: peak grew by {grown} KiB");
        fs::remove_file(&path).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}
