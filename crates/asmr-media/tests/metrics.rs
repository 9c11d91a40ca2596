//! The metrics against values that `NumPy` and scikit-image gave for the same pairs (`gen_metrics_expected.py`).

use std::path::{Path, PathBuf};
use std::time::Instant;

use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_media::{Limits, MetricError, max_abs_error, mse, psnr_db, psnr_db_of_mse, read_image, ssim};

/// One picture in integers, row-major, channel last; `top` is its largest value, or 1 for floats.
#[derive(Clone)]
struct Picture {
    extents: [usize; 2],
    channels: usize,
    values: Vec<i64>,
    top: i64,
}

impl Picture {
    fn load(path: &Path) -> Self {
        let signal = read_image(path, &Limits::default()).unwrap();
        let &[rows, columns] = signal.info().extents.as_slice() else { panic!("two axes") };
        let Samples::U8(values) = signal.samples() else { panic!("8 bits") };
        Self {
            extents: [rows, columns],
            channels: signal.info().channels,
            values: values.iter().map(|&v| i64::from(v)).collect(),
            top: 255,
        }
    }

    fn crop(&self, rows: usize, columns: usize) -> Self {
        let stride = self.extents[1] * self.channels;
        let values =
            (0..rows).flat_map(|y| self.values[y * stride..][..columns * self.channels].to_vec()).collect();
        Self { extents: [rows, columns], values, ..self.clone() }
    }

    /// The same tricks as `kinds` in the generator.
    fn kind(&self, suffix: &str) -> Self {
        let mut picture = self.clone();
        match suffix {
            "" => {}
            "-16" => {
                picture.top = 65535;
                for (i, v) in picture.values.iter_mut().enumerate() {
                    *v = *v * 256 + ((i as i64 * 37) & 255);
                }
            }
            "-alpha" => {
                picture.channels += 1;
                picture.values.clear();
                for (i, pixel) in self.values.chunks(self.channels).enumerate() {
                    picture.values.extend(pixel);
                    picture.values.push(i as i64 * 5 % 256);
                }
            }
            "-f32" => picture.top = 1,
            other => panic!("unknown kind {other}"),
        }
        picture
    }

    fn distorted(&self, distortion: &str) -> Self {
        let top = if self.top == 1 { 255 } else { self.top };
        let mut picture = self.clone();
        match distortion {
            "equal" => {}
            "noise" => {
                for (i, v) in picture.values.iter_mut().enumerate() {
                    let i = i as i64;
                    *v = (*v + ((i * 7919 + i / 8 * 104_729) % 31 - 15) * (top / 255)).clamp(0, top);
                }
            }
            "requantise" => {
                let step = (top + 1) / 16;
                for v in &mut picture.values {
                    *v = *v / step * step + step / 2;
                }
            }
            "blur" => {
                let [rows, columns] = self.extents;
                let at = |y: usize, x: usize, c: usize| self.values[(y * columns + x) * self.channels + c];
                picture.values.clear();
                for y in 0..rows {
                    for x in 0..columns {
                        for c in 0..self.channels {
                            let mut sum = 4;
                            for dy in 0..3 {
                                for dx in 0..3 {
                                    let y = (y + dy).saturating_sub(1).min(rows - 1);
                                    let x = (x + dx).saturating_sub(1).min(columns - 1);
                                    sum += at(y, x, c);
                                }
                            }
                            picture.values.push(sum / 9);
                        }
                    }
                }
            }
            other => panic!("unknown distortion {other}"),
        }
        picture
    }

    fn signal(&self) -> Signal {
        let samples = match self.top {
            255 => Samples::U8(self.values.iter().map(|&v| v as u8).collect()),
            65535 => Samples::U16(self.values.iter().map(|&v| v as u16).collect()),
            _ => Samples::F32(self.values.iter().map(|&v| v as f32 / 255.0).collect()),
        };
        plain(&self.extents, self.channels, samples)
    }
}

fn plain(extents: &[usize], channels: usize, samples: Samples) -> Signal {
    let sample_type = samples.sample_type();
    Signal::new(SignalInfo::plain(extents.to_vec(), channels, sample_type, None), samples).unwrap()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn optional(text: &str) -> Option<f64> {
    (text != "none").then(|| text.parse().unwrap())
}

/// An absolute bound, since the two sides add up the same numbers in a different order.
#[track_caller]
fn assert_close(what: &str, actual: Option<f64>, expected: Option<f64>, bound: f64) {
    let close = match (actual, expected) {
        (None, None) => true,
        (Some(a), Some(e)) => (a - e).abs() <= bound,
        _ => false,
    };
    assert!(close, "{what}: {actual:?}, expected {expected:?} within {bound:e}");
}

/// Every recorded row whose picture `make` can make; returns their number.
fn compare(make: impl Fn(&str) -> Option<Picture>) -> usize {
    let mut n_cases = 0;
    for line in include_str!("metrics_expected.tsv").lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let &[name, distortion, expected_mse, expected_psnr, expected_ssim, expected_worst] =
            fields.as_slice()
        else {
            panic!("bad line {line}");
        };
        let Some(picture) = make(name) else { continue };
        let a = picture.signal();
        let b = if distortion == "overshoot" {
            let values = picture.values.iter().map(|&v| (v * 3 - 80) as f32 / 510.0).collect();
            plain(&picture.extents, picture.channels, Samples::F32(values))
        } else {
            picture.distorted(distortion).signal()
        };
        let case = format!("{name} {distortion}");
        let expected: f64 = expected_mse.parse().unwrap();
        let actual = mse(&a, &b).unwrap();
        assert_close(&format!("{case} mse"), Some(actual), Some(expected), expected * 1e-10);
        assert_close(&format!("{case} psnr_db"), psnr_db(&a, &b).unwrap(), optional(expected_psnr), 1e-8);
        assert_close(&format!("{case} ssim"), ssim(&a, &b).unwrap(), optional(expected_ssim), 1e-9);
        let worst = max_abs_error(&a, &b).unwrap();
        assert_close(&format!("{case} max_abs_error"), Some(worst), optional(expected_worst), 1e-9);
        n_cases += 1;
    }
    n_cases
}

#[test]
fn metrics_equal_scikit_image_on_example_pictures() {
    let camera = Picture::load(&examples().join("camera.png"));
    let astronaut = Picture::load(&examples().join("astronaut.png"));
    let n_cases = compare(|name| match name {
        "camera-7x7" => Some(camera.crop(7, 7)),
        "camera-9x8" => Some(camera.crop(9, 8)),
        "camera-6x9" => Some(camera.crop(6, 9)),
        _ => {
            if let Some(suffix) = name.strip_prefix("camera") {
                Some(camera.kind(suffix))
            } else {
                name.strip_prefix("astronaut").map(|suffix| astronaut.kind(suffix))
            }
        }
    });
    // 2 pictures as 4 kinds and 3 crops with 4 distortions each, and the float kinds' own distortion.
    assert_eq!(n_cases, (2 * 4 + 3) * 4 + 2);
}

#[test]
fn metrics_equal_scikit_image_on_data_set_pictures() {
    let Some(data) = std::env::var_os("ASMR_DATA").map(PathBuf::from) else {
        println!("skipped: ASMR_DATA is not set");
        return;
    };
    let n_cases = compare(|name| name.contains('/').then(|| Picture::load(&data.join(name))));
    assert_eq!(n_cases, 2 * 4);
}

#[test]
fn psnr_follows_its_definition() {
    let a = plain(&[2], 2, Samples::U8(vec![0, 10, 20, 30]));
    let b = plain(&[2], 2, Samples::U8(vec![0, 10, 20, 34]));
    assert_eq!(mse(&a, &b).unwrap(), 16.0 / (4.0 * 255.0 * 255.0));
    assert_eq!(max_abs_error(&a, &b).unwrap(), 4.0);
    assert_eq!(psnr_db(&a, &a).unwrap(), None);
    assert_eq!(psnr_db_of_mse(0.0), None);
    assert_eq!(psnr_db_of_mse(1e-3), Some(30.0));
    let full = plain(&[3], 1, Samples::U16(vec![u16::MAX; 3]));
    let none = plain(&[3], 1, Samples::U16(vec![0; 3]));
    assert_eq!(mse(&full, &none).unwrap(), 1.0);
    assert_eq!(psnr_db(&full, &none).unwrap(), Some(0.0));
}

/// More than 2^32 squares of 65535 pass 2^64; the parts must not.
/// Not by one bit do ratios depend on the unit of the values, also where squares of them are no numbers.
#[test]
fn psnr_has_no_unit() {
    let values = |scale: f64| (0..60).map(move |i| f64::from(i * i % 37) * scale).collect::<Vec<_>>();
    let signal = |values: Vec<f64>, high: f64| {
        let range = asmr::signal::ValueRange::of(0.0, high);
        let volume =
            SignalInfo { value_range: Some(range), ..SignalInfo::plain(vec![60], 1, SampleType::F64, None) };
        Signal::new(volume, Samples::F64(values)).unwrap()
    };
    let psnr = |scale: f64| {
        let b = values(scale).iter().map(|x| x * 0.75).collect();
        psnr_db(&signal(values(scale), 36.0 * scale), &signal(b, 36.0 * scale)).unwrap()
    };
    let expected = psnr(1.0);
    for exponent in [-1000, -600, 3, 600, 1017] {
        assert_eq!(psnr(f64::from(exponent).exp2()), expected, "2^{exponent}");
    }
}

#[test]
fn mse_of_large_16_bit_signals_does_not_overflow() {
    let n = (1 << 16) + 5;
    let full = plain(&[n], 1, Samples::U16(vec![u16::MAX; n]));
    let none = plain(&[n], 1, Samples::U16(vec![0; n]));
    assert_close("mse", Some(mse(&full, &none).unwrap()), Some(1.0), 1e-15);
}

#[test]
fn ssim_needs_two_axes_of_seven() {
    for extents in [vec![6, 7], vec![7, 6], vec![49], vec![7, 7, 7], vec![1, 1]] {
        let n = extents.iter().product();
        let signal = plain(&extents, 1, Samples::U8(vec![3; n]));
        assert_eq!(ssim(&signal, &signal).unwrap(), None, "{extents:?}");
    }
    let flat = plain(&[7, 7], 1, Samples::F32(vec![0.0; 49]));
    assert_eq!(ssim(&flat, &flat).unwrap(), Some(1.0));
}

/// A bright float area must leave nothing behind in windows below it.
#[test]
fn ssim_of_floats_has_no_residue() {
    let mut values = vec![0.25f32; 32 * 16];
    values[..16].fill(1e15);
    let a = plain(&[32, 16], 1, Samples::F32(values.clone()));
    values[20 * 16 + 8] = 0.75;
    let b = plain(&[32, 16], 1, Samples::F32(values));
    let below = |signal: &Signal| {
        let Samples::F32(v) = signal.samples() else { unreachable!() };
        plain(&[31, 16], 1, Samples::F32(v[16..].to_vec()))
    };
    let expected = ssim(&below(&a), &below(&b)).unwrap().unwrap();
    // 26 rows of windows, the first of which sees the bright row and is equal in both.
    let actual = ssim(&a, &b).unwrap().unwrap();
    assert_close("ssim", Some(actual), Some((expected * 25.0 + 1.0) / 26.0), 1e-12);
}

#[test]
fn unequal_signals_are_refused_with_both_shapes() {
    let a = plain(&[8, 9], 1, Samples::U8(vec![0; 72]));
    let others = [
        plain(&[9, 8], 1, Samples::U8(vec![0; 72])),
        plain(&[8, 3], 3, Samples::U8(vec![0; 72])),
        plain(&[8, 9], 1, Samples::U16(vec![0; 72])),
        plain(&[72], 1, Samples::U8(vec![0; 72])),
    ];
    for b in &others {
        let error = mse(&a, b).unwrap_err();
        let MetricError::Differ { a: first, b: second } = &error else { panic!("{error}") };
        assert!(first.contains("[8, 9] with 1 channels of U8"), "{first}");
        assert!(second.contains(&format!("{:?}", b.info().extents)), "{second}");
        assert_eq!(ssim(&a, b).unwrap_err(), error);
        assert_eq!(psnr_db(&a, b).unwrap_err(), error);
        assert_eq!(max_abs_error(&a, b).unwrap_err(), error);
    }
    // What the channels mean does not matter.
    let mut info = a.info().clone();
    info.color = Some(asmr::signal::ColorType::Gray);
    info.sample_type = SampleType::U8;
    assert_eq!(mse(&a, &Signal::new(info, a.samples().clone()).unwrap()), Ok(0.0));
}

/// Printed rather than asserted: a wall clock on a shared machine proves nothing.
#[test]
fn ssim_time_is_printed() {
    let n = 512 * 768 * 3;
    let a = plain(&[512, 768], 3, Samples::U8((0..n).map(|i| (i * 31 % 251) as u8).collect()));
    let b = plain(&[512, 768], 3, Samples::U8((0..n).map(|i| (i * 17 % 241) as u8).collect()));
    let start = Instant::now();
    let value = ssim(&a, &b).unwrap();
    println!("ssim of 512 x 768 RGB: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    assert!(value.is_some());
}
