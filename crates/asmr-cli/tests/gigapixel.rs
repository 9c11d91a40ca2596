//! A picture of 16384 × 16384 samples in 3 channels, 805 MB: what fitting, decoding and comparing it need of memory.
//!
//! It takes minutes, so it runs only where `ASMR_LARGE` is set; made of a picture below `ASMR_DATA`, laid out again and
//! again, each tile mirrored and darkened differently.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};
use asmr_media::{Limits, create_picture, read_image};
use common::Folder;

const SIDE: usize = 16_384;
/// What the project promises, in bytes.
const MOST_FITTING: u64 = 1_000_000_000;
const MOST_DECODING: u64 = 200_000_000;

fn write_mosaic(path: &Path, tile: &Path) {
    let tile = read_image(tile, &Limits::default()).unwrap();
    let &[rows, columns] = tile.info().extents.as_slice() else { panic!("two axes") };
    let Samples::U8(values) = tile.samples() else { panic!("8 bits") };
    assert_eq!(tile.info().channels, 3);
    let info = SignalInfo::plain(vec![SIDE, SIDE], 3, SampleType::U8, Some(ColorType::Rgb));
    let mut writer = create_picture(path, &info).unwrap();
    for y in 0..SIDE {
        let mut row = Vec::with_capacity(SIDE * 3);
        for x in 0..SIDE {
            let (tile_y, tile_x) = (y / rows, x / columns);
            let (mut y, mut x) = (y % rows, x % columns);
            if tile_y % 2 == 1 {
                y = rows - 1 - y;
            }
            if tile_x % 2 == 1 {
                x = columns - 1 - x;
            }
            let dark = (tile_y * 3 + tile_x * 5) as u8 % 40;
            row.extend(values[(y * columns + x) * 3..][..3].iter().map(|v| v.saturating_sub(dark)));
        }
        writer.write(&Samples::U8(row)).unwrap();
    }
    writer.finish().unwrap();
}

/// Runs a call to its end and gives the most resident memory that was seen, in bytes.
fn peak_of(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Ok(text) = std::fs::read_to_string(&status)
            && let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            let kib: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
            peak = peak.max(kib * 1024);
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{command:?}");
    peak
}

#[test]
fn memory_of_a_gigapixel_picture() {
    let data = std::env::var_os("ASMR_DATA").filter(|_| std::env::var_os("ASMR_LARGE").is_some());
    let Some(data) = data else {
        println!("skipped: set ASMR_LARGE, and ASMR_DATA to the folder of test signals");
        return;
    };
    let folder = Folder::new();
    write_mosaic(&folder.path("mosaic.png"), &Path::new(&data).join("megapixel/shadedrelief.jpg"));
    let fitting =
        peak_of(folder.command(["encode", "mosaic.png", "-o", "n.asmr", "--steps", "24", "--quiet"]));
    let decoding = peak_of(folder.command(["decode", "n.asmr", "-o", "back.png", "--quiet"]));
    println!("fitting and comparing: {} MB; decoding: {} MB", fitting / 1_000_000, decoding / 1_000_000);
    assert!(fitting > 0 && fitting < MOST_FITTING, "{fitting} bytes while fitting");
    assert!(decoding > 0 && decoding < MOST_DECODING, "{decoding} bytes while decoding");
}
