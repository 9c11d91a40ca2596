//! The eight EXIF orientations (tag 0x0112) in every container that has one.

use std::io::Cursor;
use std::path::Path;

use asmr::signal::{Samples, Signal};
use asmr_media::{Limits, read_image_from};
use image::codecs::{jpeg::JpegEncoder, png::PngEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// Blocks of 8 x 8 pixels, so that JPEG keeps each block's grey.
const BLOCK: usize = 8;
const ROWS: usize = 2;
const COLUMNS: usize = 3;
const GREYS: [u8; ROWS * COLUMNS] = [10, 60, 110, 150, 200, 250];

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Top,
    Bottom,
    Left,
    Right,
}

/// EXIF 2.32, table 4: on which side of the picture as seen lie the stored row 0 and the stored column 0.
const ORIENTATIONS: [(Side, Side); 8] = [
    (Side::Top, Side::Left),
    (Side::Top, Side::Right),
    (Side::Bottom, Side::Right),
    (Side::Bottom, Side::Left),
    (Side::Left, Side::Top),
    (Side::Right, Side::Top),
    (Side::Right, Side::Bottom),
    (Side::Left, Side::Bottom),
];

/// The blocks as seen: rows, columns, greys.
fn seen((row_0, column_0): (Side, Side)) -> (usize, usize, Vec<u8>) {
    let turned = matches!(row_0, Side::Left | Side::Right);
    let (rows, columns) = if turned { (COLUMNS, ROWS) } else { (ROWS, COLUMNS) };
    let mut greys = vec![0; ROWS * COLUMNS];
    for r in 0..ROWS {
        for c in 0..COLUMNS {
            let along_rows = if matches!(row_0, Side::Bottom | Side::Right) { ROWS - 1 - r } else { r };
            let along_columns =
                if matches!(column_0, Side::Bottom | Side::Right) { COLUMNS - 1 - c } else { c };
            let (y, x) = if turned { (along_columns, along_rows) } else { (along_rows, along_columns) };
            greys[y * columns + x] = GREYS[r * COLUMNS + c];
        }
    }
    (rows, columns, greys)
}

/// The stored pixels, grey.
fn stored() -> Vec<u8> {
    let (height, width) = (ROWS * BLOCK, COLUMNS * BLOCK);
    (0..height * width).map(|i| GREYS[i / width / BLOCK * COLUMNS + i % width / BLOCK]).collect()
}

/// A TIFF header and one directory with the orientation alone: what an EXIF chunk is.
fn exif(orientation: u16) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    bytes.extend(orientation.to_le_bytes());
    bytes.extend([0; 6]);
    bytes
}

/// A whole uncompressed grey TIFF, little-endian.
fn tiff(orientation: u16) -> Vec<u8> {
    let pixels = stored();
    let (height, width) = ((ROWS * BLOCK) as u32, (COLUMNS * BLOCK) as u32);
    let entries: [(u16, u32); 9] = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (274, u32::from(orientation)),
        (278, height),
        (279, pixels.len() as u32),
    ];
    let mut bytes = b"II*\0".to_vec();
    bytes.extend((8 + pixels.len() as u32).to_le_bytes());
    bytes.extend(&pixels);
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        bytes.extend(tag.to_le_bytes());
        // Type 3 is a 16-bit, type 4 a 32-bit number; a little-endian short looks the same in its four bytes.
        bytes.extend(if tag == 274 { 3u16 } else { 4 }.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0; 4]);
    bytes
}

fn encoded<'a>(make: impl FnOnce(&'a mut Vec<u8>, Vec<u8>) + 'a, to: &'a mut Vec<u8>, orientation: u16) {
    make(to, exif(orientation));
}

fn write(mut encoder: impl ImageEncoder, exif: Vec<u8>) {
    encoder.set_exif_metadata(exif).unwrap();
    let (height, width) = ((ROWS * BLOCK) as u32, (COLUMNS * BLOCK) as u32);
    encoder.write_image(&stored(), width, height, ExtendedColorType::L8).unwrap();
}

fn read(bytes: &[u8], name: &str) -> Signal {
    read_image_from(Cursor::new(bytes), Path::new(name), &Limits::default()).unwrap()
}

/// The middle of every block, first channel.
fn blocks(signal: &Signal) -> (usize, usize, Vec<u8>) {
    let &[height, width] = signal.info().extents.as_slice() else { panic!("two axes") };
    let Samples::U8(values) = signal.samples() else { panic!("8 bits") };
    let mut greys = Vec::new();
    for y in (BLOCK / 2..height).step_by(BLOCK) {
        for x in (BLOCK / 2..width).step_by(BLOCK) {
            greys.push(values[(y * width + x) * signal.info().channels]);
        }
    }
    (height / BLOCK, width / BLOCK, greys)
}

#[test]
fn all_eight_orientations_in_png_jpeg_webp_and_tiff() {
    let mut n_cases = 0;
    for (value, sides) in (1u16..).zip(ORIENTATIONS) {
        let (rows, columns, expected) = seen(sides);
        for name in ["a.png", "a.jpg", "a.webp", "a.tiff"] {
            let mut bytes = Vec::new();
            match name {
                "a.png" => encoded(|to, exif| write(PngEncoder::new(to), exif), &mut bytes, value),
                "a.jpg" => {
                    encoded(|to, exif| write(JpegEncoder::new_with_quality(to, 95), exif), &mut bytes, value);
                }
                "a.webp" => encoded(|to, exif| write(WebPEncoder::new_lossless(to), exif), &mut bytes, value),
                _ => bytes = tiff(value),
            }
            let (actual_rows, actual_columns, actual) = blocks(&read(&bytes, name));
            assert_eq!((actual_rows, actual_columns), (rows, columns), "{name} orientation {value}");
            // JPEG rounds; neighbouring greys are 40 or more apart.
            let close = actual.iter().zip(&expected).all(|(a, e)| a.abs_diff(*e) <= 2);
            assert!(close, "{name} orientation {value}: {actual:?}, expected {expected:?}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 8 * 4);
}

#[test]
fn an_orientation_out_of_range_is_none() {
    for value in [0, 9, 255, 65535] {
        let mut bytes = Vec::new();
        encoded(|to, exif| write(PngEncoder::new(to), exif), &mut bytes, value);
        assert_eq!(blocks(&read(&bytes, "a.png")).2, GREYS);
        assert_eq!(blocks(&read(&tiff(value), "a.tiff")).2, GREYS);
    }
}
