//! Writing must not hold a second copy of the picture. Alone in its file: the peak is the whole process's.

use std::fs;
use std::time::Instant;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{write_image, write_npy};

/// The largest resident size so far, from the kernel.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn writing_streams() {
    const SIDE: usize = 4096;
    let Some(_) = peak_kib() else {
        println!("skipped: there is no /proc/self/status");
        return;
    };
    let n = SIDE * SIDE * 3;
    // Smooth with grain, so that compression has to work and the compressed file is tens of megabytes.
    let values = (0..n).map(|i| ((i / 3 % SIDE / 16) as u8).wrapping_add((i * i / 7 % 13) as u8)).collect();
    let info = SignalInfo::plain(vec![SIDE, SIDE], 3, SampleType::U8, Some(ColorType::Rgb));
    let signal = Signal::new(info, Samples::U8(values)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for name in ["a.png", "a.tiff", "a.ppm", "a.bmp", "a.jpg"] {
        let path = folder.path().join(name);
        let before = peak_kib().unwrap();
        let start = Instant::now();
        write_image(&path, &signal).unwrap();
        let grown = peak_kib().unwrap() - before;
        let bytes = fs::metadata(&path).unwrap().len();
        println!("{name}: {bytes} bytes, {:.2} s, peak +{grown} KiB", start.elapsed().as_secs_f64());
        // The picture has 48 MiB.
        assert!(grown < 8 << 10, "{name}: peak grew by {grown} KiB");
        fs::remove_file(&path).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
    let floats = vec![0.5f32; 1 << 23];
    let before = peak_kib().unwrap();
    write_npy(&folder.path().join("a.npy"), &[1 << 23], 1, &floats).unwrap();
    let grown = peak_kib().unwrap() - before;
    assert!(grown < 8 << 10, "a.npy: peak grew by {grown} KiB");
}
