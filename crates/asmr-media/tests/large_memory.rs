//! A picture that is larger than the memory it is given: written, read, spooled and read again by rows. Alone in its
//! file: the peak is the whole process's.

use std::fs;
use std::io::Read as _;
use std::time::Instant;

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo, Source as _};
use asmr_media::{Limits, SliceReader, Spool, create_picture, open_picture};

/// The largest resident size so far, from the kernel.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Rows that differ: a pattern, smooth with grain so that compression has something to do, from another place on each.
struct Rows {
    pattern: Vec<u8>,
    side: usize,
}

impl Rows {
    fn new(side: usize) -> Self {
        let value = |i: usize| ((i / 48) as u8).wrapping_add((i * i / 7 % 13) as u8);
        Self { pattern: (0..side * 3 + 4096).map(value).collect(), side }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.pattern[y * 37 % 4096..][..self.side * 3]
    }
}

/// FNV-1a, of 64 bits, over words of 8 bytes.
fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    words.iter().fold(sum, |sum, &word| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3))
}

fn sum_of(reader: &mut dyn SliceReader, side: usize) -> u64 {
    const ROWS: usize = 32;
    (0..side / ROWS).fold(0, |sum, _| match reader.read(ROWS).unwrap() {
        Samples::U8(values) => values.chunks(side * 3).fold(sum, checksum),
        other => panic!("{:?}", other.sample_type()),
    })
}

#[test]
fn a_large_picture_takes_little_memory() {
    if peak_kib().is_none() {
        println!("skipped: there is no /proc/self/status");
        return;
    }
    let large = std::env::var_os("ASMR_LARGE").is_some();
    if !large {
        println!("skipped: 16384 x 16384 pixels; ASMR_LARGE is not set, so it is 8192 x 8192");
    }
    let side = if large { 16384 } else { 8192 };
    let info = SignalInfo::plain(vec![side, side], 3, SampleType::U8, Some(ColorType::Rgb));
    let folder = tempfile::tempdir().unwrap();
    let rows = Rows::new(side);
    let expected = (0..side).fold(0, |sum, y| checksum(sum, rows.row(y)));
    let mut n_cases = 0;
    for name in ["a.png", "a.tif", "a.ppm"] {
        let path = folder.path().join(name);
        let start = Instant::now();
        let mut writer = create_picture(&path, &info).unwrap();
        for y in 0..side {
            writer.write(&Samples::U8(rows.row(y).to_vec())).unwrap();
        }
        writer.finish().unwrap();
        let written = start.elapsed().as_secs_f64();

        let start = Instant::now();
        // What is allowed to be held is far less than the picture.
        let limits = Limits { max_alloc_bytes: 8 << 20, ..Limits::default() };
        assert_eq!(sum_of(&mut *open_picture(&path, &limits).unwrap(), side), expected, "{name}");
        let read = start.elapsed().as_secs_f64();
        println!(
            "{name}: {} bytes; written in {written:.2} s, read in {read:.2} s; peak {} KiB",
            fs::metadata(&path).unwrap().len(),
            peak_kib().unwrap()
        );
        if name == "a.png" {
            let start = Instant::now();
            let spool = Spool::of(&mut *open_picture(&path, &limits).unwrap(), Some(folder.path())).unwrap();
            let spooled = start.elapsed().as_secs_f64();
            let start = Instant::now();
            assert_eq!(sum_of(&mut *spool.slices(), side), expected, "spool");
            println!("spooled in {spooled:.2} s, read in {:.2} s", start.elapsed().as_secs_f64());
            let mut values = [0.0; 24];
            for (y, x) in [(0, 0), (side / 2, side - 8), (side - 1, side - 8)] {
                spool.read_scaled(((y * side + x) * 3) as u64, &mut values);
                let row = rows.row(y);
                let expected: Vec<f32> =
                    row[x * 3..x * 3 + 24].iter().map(|&v| f32::from(v) / 255.0).collect();
                assert!(
                    values.iter().zip(&expected).all(|(v, e)| (v - e).abs() < 1e-6),
                    "row {y}, column {x}"
                );
            }
        }
        fs::remove_file(&path).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
    if large {
        let (side, start) = (38_000, Instant::now());
        let path = folder.path().join("big.tif");
        let info = SignalInfo::plain(vec![side, side], 3, SampleType::U8, Some(ColorType::Rgb));
        let mut writer = create_picture(&path, &info).unwrap();
        for y in 0..side {
            writer.write(&Samples::U8(vec![(y * y / 7) as u8; side * 3])).unwrap();
        }
        writer.finish().unwrap();
        // Version 43, offsets of 8 bytes (the BigTIFF design): no other has room for it.
        let mut header = [0; 8];
        fs::File::open(&path).unwrap().read_exact(&mut header).unwrap();
        #[cfg(target_endian = "little")]
        assert_eq!(header, *b"II+\0\x08\0\0\0");
        let mut reader =
            open_picture(&path, &Limits { max_alloc_bytes: 8 << 20, ..Limits::default() }).unwrap();
        for y in 0..side {
            assert!(reader.read(1).unwrap() == Samples::U8(vec![(y * y / 7) as u8; side * 3]), "row {y}");
        }
        println!("big.tif: {:.2} s", start.elapsed().as_secs_f64());
    } else {
        println!("skipped: a TIFF of more than 4 GiB; ASMR_LARGE is not set");
    }
    let peak = peak_kib().unwrap();
    // The picture has 192 MiB, or 768.
    assert!(peak < 100 << 10, "the peak is {peak} KiB");
}
