//! The metrics of sound against values that `NumPy` and `SciPy` gave for the same pairs (`gen_audio_expected.py`).

use std::path::{Path, PathBuf};

use asmr::metadata::{Audio, AudioContainer, Media};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{AudioComparison, AudioPart, AudioScores, SliceReader, open_audio};

/// Both sides add up the same numbers in a different order.
const BOUND_DB: f64 = 1e-8;

fn half_scale(kind: &str) -> i64 {
    match kind {
        "u8" => 128,
        "i16" => 32768,
        "i24" => 1 << 23,
        "f32" => 2048,
        other => panic!("unknown kind {other}"),
    }
}

fn unit(kind: &str) -> i64 {
    match kind {
        "i16" => 24,
        "i24" => 6000,
        _ => 1,
    }
}

/// The same as in the generator.
fn recording(kind: &str, n: usize, channels: usize) -> Vec<i64> {
    let values = (0..n * channels).map(|i| {
        let (i, c) = (i as i64, channels as i64);
        let v = (i / c * 37 + i % c * 1001) % 2001 - 1000;
        v + (i * 7919 + i / 8 * 104_729) % 401 - 200
    });
    if kind == "u8" {
        values.map(|v| v.div_euclid(10)).collect()
    } else {
        values.map(|v| v * unit(kind)).collect()
    }
}

fn distorted(values: &[i64], kind: &str, distortion: &str) -> Vec<i64> {
    let (half, unit) = (half_scale(kind), unit(kind));
    let at = |(i, &v): (usize, &i64)| match distortion {
        "equal" => v,
        "noise" => {
            let i = i as i64;
            (v + ((i * 31 + i / 7 * 17) % 13 - 6) * unit).clamp(-half, half - 1)
        }
        "requantise" => v.div_euclid(32 * unit) * (32 * unit) + 16 * unit,
        "gain" => (v * 7).div_euclid(8),
        "silence" => 0,
        other => panic!("unknown distortion {other}"),
    };
    values.iter().enumerate().map(at).collect()
}

fn samples(values: &[i64], kind: &str) -> Samples {
    match kind {
        "u8" => Samples::U8(values.iter().map(|&v| (v + 128) as u8).collect()),
        "i16" => Samples::I16(values.iter().map(|&v| v as i16).collect()),
        "i24" => Samples::I32(values.iter().map(|&v| v as i32).collect()),
        _ => Samples::F32(values.iter().map(|&v| v as f32 / 2048.0).collect()),
    }
}

fn info(kind: &str, n: usize, channels: usize) -> SignalInfo {
    let (sample_type, bits_per_sample) = match kind {
        "u8" => (SampleType::U8, 8),
        "i16" => (SampleType::I16, 16),
        "i24" => (SampleType::I32, 24),
        _ => (SampleType::F32, 32),
    };
    let info = SignalInfo {
        extents: vec![n],
        channels,
        sample_type,
        color: None,
        value_range: Some(ValueRange::of(-1.0, 1.0)),
        media: Media::Audio(Audio {
            sample_rate: 44_100,
            bits_per_sample,
            container: AudioContainer::Wav,
            start: 0,
        }),
    };
    if kind != "u8" {
        info.validate().unwrap();
    }
    info
}

/// Compares in slices of changing length.
fn compare(info: &SignalInfo, original: &Samples, decoded: &Samples) -> AudioScores {
    let mut comparison = AudioComparison::new(info);
    let (mut at, mut part) = (0, 1);
    while at < original.len() {
        let end = original.len().min(at + part * info.channels);
        comparison.push(&original.slice(at..end), &decoded.slice(at..end));
        (at, part) = (end, part * 3 % 1999 + 1);
    }
    comparison.finish()
}

fn optional(text: &str) -> Option<f64> {
    (text != "none").then(|| text.parse().unwrap())
}

#[track_caller]
fn assert_close(what: &str, actual: Option<f64>, expected: Option<f64>, bound: f64) {
    let close = match (actual, expected) {
        (None, None) => true,
        (Some(a), Some(e)) => a == e || (a - e).abs() <= bound,
        _ => false,
    };
    assert!(close, "{what}: {actual:?}, expected {expected:?} within {bound:e}");
}

/// Every recorded row whose recording `make` can make; returns their number.
fn check_rows(make: impl Fn(&str) -> Option<(String, SignalInfo, Vec<i64>)>) -> usize {
    let mut n_rows = 0;
    for row in include_str!("audio_expected.tsv").lines().filter(|row| row.starts_with("score\t")) {
        let [_, name, distortion, snr, psnr, lsd, worst] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let Some((kind, info, values)) = make(name) else { continue };
        let scores =
            compare(&info, &samples(&values, &kind), &samples(&distorted(&values, &kind, distortion), &kind));
        let case = format!("{name} {distortion}");
        assert_close(&format!("{case} snr"), scores.snr_db, optional(snr), BOUND_DB);
        assert_close(&format!("{case} psnr"), scores.psnr_db, optional(psnr), BOUND_DB);
        assert_close(&format!("{case} lsd"), Some(scores.lsd_db), optional(lsd), BOUND_DB);
        assert_eq!(scores.max_abs_error, worst.parse::<f64>().unwrap(), "{case}");
        n_rows += 1;
    }
    n_rows
}

#[test]
fn metrics_equal_scipy_on_synthetic_recordings() {
    let n_rows = check_rows(|name| {
        let [kind, n, channels] = name.split('-').collect::<Vec<_>>()[..] else { return None };
        if name.starts_with("audio/") {
            return None;
        }
        let (n, channels) = (n.parse().unwrap(), channels.parse().unwrap());
        Some((kind.to_owned(), info(kind, n, channels), recording(kind, n, channels)))
    });
    // Four kinds of sample, six lengths, five distortions.
    assert_eq!(n_rows, 4 * 6 * 5);
}

#[test]
fn metrics_equal_scipy_on_data_set_recordings() {
    let Some(data) = std::env::var_os("ASMR_DATA").map(PathBuf::from) else {
        println!("skipped: ASMR_DATA is not set");
        return;
    };
    let n_rows = check_rows(|name| {
        if !name.starts_with("audio/") {
            return None;
        }
        let mut reader = open_audio(&data.join(Path::new(name)), &AudioPart::default()).unwrap();
        let info = reader.info().clone();
        let (kind, values) = match reader.read(info.extents[0]).unwrap() {
            Samples::I16(v) => ("i16", v.iter().map(|&v| i64::from(v)).collect()),
            Samples::I32(v) => ("i24", v.iter().map(|&v| i64::from(v)).collect()),
            other => panic!("{:?}", other.sample_type()),
        };
        Some((kind.to_owned(), info, values))
    });
    assert_eq!(n_rows, 2 * 5);
}

/// A sine of amplitude 1 that is lost entirely: 0 dB of SNR, and mean square ½ against a peak of 2.
#[test]
fn the_peak_is_the_whole_range() {
    let n = 4000;
    let x: Vec<f32> = (0..n).map(|i| (std::f32::consts::TAU * i as f32 / 40.0).sin()).collect();
    let scores = compare(&info("f32", n, 1), &Samples::F32(x), &Samples::F32(vec![0.0; n]));
    assert_close("snr", scores.snr_db, Some(0.0), 1e-12);
    assert_close("psnr", scores.psnr_db, Some(10.0 * 8f64.log10()), 1e-5);
}

#[test]
fn a_silent_original_has_no_signal() {
    let scores = compare(&info("i16", 10, 1), &Samples::I16(vec![0; 10]), &Samples::I16(vec![3; 10]));
    assert_eq!(scores.snr_db, Some(f64::NEG_INFINITY));
    assert_eq!(scores.max_abs_error, 3.0);
    assert!(scores.lsd_db.is_finite() && scores.lsd_db > 0.0, "{scores:?}");
}
