//! Files that are cut, damaged, enormous or something else: an error that says so, no panic, no half a picture.

use std::fs;
use std::io::{Cursor, ErrorKind};
use std::path::Path;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{Limits, MediaError, read_image, read_image_from, write_image};
use image::{ExtendedColorType, ImageFormat};

fn read(bytes: &[u8], name: &str) -> Result<Signal, MediaError> {
    read_image_from(Cursor::new(bytes), Path::new(name), &Limits::default())
}

/// Not smooth, so that every part of a file carries something.
fn picture(color: ColorType, sample_type: SampleType) -> Signal {
    let channels = color.n_channels();
    let info = SignalInfo::plain(vec![19, 23], channels, sample_type, Some(color));
    let n = 19 * 23 * channels;
    let value = |i: usize| (i * i * 31 + i / 5 * 977) % 65536;
    let samples = match sample_type {
        SampleType::U16 => Samples::U16((0..n).map(|i| value(i) as u16).collect()),
        _ => Samples::U8((0..n).map(|i| (value(i) / 256) as u8).collect()),
    };
    Signal::new(info, samples).unwrap()
}

/// One whole file per format (and two of those with two very different layouts), made here.
fn whole_files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, color, sample_type) in [
        ("a.png", ColorType::Rgb, SampleType::U8),
        ("b.png", ColorType::GrayAlpha, SampleType::U16),
        ("a.jpg", ColorType::Rgb, SampleType::U8),
        ("b.jpg", ColorType::Gray, SampleType::U8),
        ("a.webp", ColorType::Rgba, SampleType::U8),
        ("a.tiff", ColorType::Rgb, SampleType::U16),
        ("a.bmp", ColorType::Rgb, SampleType::U8),
        ("a.ppm", ColorType::Rgb, SampleType::U16),
        ("a.pgm", ColorType::Gray, SampleType::U8),
        ("a.pam", ColorType::Rgba, SampleType::U8),
        ("a.tga", ColorType::Rgba, SampleType::U8),
        ("a.qoi", ColorType::Rgb, SampleType::U8),
    ] {
        let path = folder.path().join(name);
        write_image(&path, &picture(color, sample_type)).unwrap();
        files.push((name, fs::read(&path).unwrap()));
    }
    // Read, but not written by this crate.
    let signal = picture(ColorType::Rgba, SampleType::U8);
    let Samples::U8(values) = signal.samples() else { unreachable!() };
    for (name, format) in [("a.gif", ImageFormat::Gif), ("a.ico", ImageFormat::Ico)] {
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(&mut bytes, values, 23, 19, ExtendedColorType::Rgba8, format)
            .unwrap();
        files.push((name, bytes.into_inner()));
    }
    assert_eq!(files.len(), 14);
    files
}

/// A lossy frame says its extents once more, and memory is taken by them.
#[test]
fn frames_of_webp_have_the_extents_of_their_canvas() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/pictures/lossy-alpha.webp");
    let whole = fs::read(path).unwrap();
    assert_eq!(read(&whole, "a.webp").unwrap().info().extents, [7, 20]);
    let frame = whole.windows(4).position(|name| name == b"VP8 ").unwrap() + 8;
    assert_eq!(whole[frame + 3..frame + 10], [0x9D, 0x01, 0x2A, 20, 0, 7, 0]);
    // Wider, higher, and both as large as may be.
    for (at, sides, says) in [
        (6, vec![21, 0], "21 × 7"),
        (8, vec![8, 0], "20 × 8"),
        (6, vec![0xFF, 0x3F, 0xFF, 0x3F], "16383 × 16383"),
    ] {
        let mut bytes = whole.clone();
        bytes[frame + at..][..sides.len()].copy_from_slice(&sides);
        let error = read(&bytes, "a.webp").unwrap_err();
        assert!(matches!(error, MediaError::Damaged { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains(&format!("a frame has {says} pixels where 20 × 7 are announced")), "{error}");
    }
}

#[test]
fn cut_files_are_errors_or_lack_nothing() {
    for (name, bytes) in whole_files() {
        let whole = read(&bytes, name).unwrap();
        let mut n_errors = 0;
        for n in 0..bytes.len() {
            match read(&bytes[..n], name) {
                Ok(signal) => assert!(signal == whole, "{name} cut to {n} of {} bytes differs", bytes.len()),
                Err(error) => {
                    assert!(error.is_bad_input(), "{name} cut to {n} bytes: {error}");
                    let clear = matches!(
                        error,
                        MediaError::Damaged { .. }
                            | MediaError::UnknownFormat { .. }
                            | MediaError::UnsupportedKind { .. }
                    );
                    assert!(clear, "{name} cut to {n} bytes: {error}");
                    n_errors += 1;
                }
            }
        }
        // What may be missing unnoticed is a trailer without pixels (TGA's footer is 26 bytes).
        assert!(n_errors + 26 >= bytes.len(), "{name}: only {n_errors} of {} cuts are errors", bytes.len());
    }
}

/// A decoder of JPEG fills the missing rest with grey and reports success; here that is an error, at every place.
#[test]
fn a_cut_jpeg_is_damaged() {
    for (name, bytes) in whole_files().into_iter().filter(|(name, _)| ["a.jpg", "b.jpg"].contains(name)) {
        for n in 3..bytes.len() {
            let error = read(&bytes[..n], name).unwrap_err();
            assert!(matches!(error, MediaError::Damaged { .. }), "{name} cut to {n} bytes: {error}");
        }
        let message = read(&bytes[..bytes.len() / 2], name).unwrap_err().to_string();
        assert!(
            message.contains("damaged or truncated JPEG") && message.contains("end-of-image"),
            "{message}"
        );
        // What follows the end is no part of the picture.
        let mut longer = bytes.clone();
        longer.extend(b"anything");
        assert_eq!(read(&longer, name).unwrap(), read(&bytes, name).unwrap());
    }
}

#[test]
fn changed_bytes_never_panic() {
    let limits = Limits { max_alloc_bytes: 1 << 26, ..Limits::default() };
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut n_cases = 0;
    for (name, bytes) in whole_files() {
        for round in 0..300 {
            let mut changed = bytes.clone();
            for _ in 0..=round % 4 {
                // Headers are where the trouble is: every other round stays in them.
                let reach = if round % 2 == 0 { changed.len() } else { changed.len().min(64) };
                changed[random(reach)] = random(256) as u8;
            }
            drop(read_image_from(Cursor::new(&changed), Path::new(name), &limits));
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 14 * 300);
}

/// A PNG of a signature and a header alone.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let start = bytes.len();
    bytes.extend(b"IHDR");
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 2, 0, 0, 0]);
    let crc = bytes[start..].iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    });
    bytes.extend((!crc).to_be_bytes());
    bytes.extend(b"\0\0\0\x04IDAT\0\0\0\0\0\0\0\0");
    bytes
}

#[test]
fn enormous_headers_fail_before_anything_is_allocated() {
    let start = std::time::Instant::now();
    let mut qoi = b"qoif".to_vec();
    qoi.extend([0, 1, 0x11, 0x70, 0, 1, 0x11, 0x70, 3, 0]);
    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend(65_000u32.to_le_bytes());
    bmp.extend(65_000u32.to_le_bytes());
    bmp.extend(b"\x01\0\x18\0");
    bmp.extend([0; 24]);
    let files: [(&str, Vec<u8>); 8] = [
        ("sides.png", png_header((1 << 31) - 1, (1 << 31) - 1)),
        ("past.png", png_header(1 << 31, 1 << 31)),
        ("row.png", png_header((1 << 31) - 1, 1)),
        ("area.png", png_header(65_000, 65_000)),
        ("area.ppm", b"P6\n65000 65000\n255\n".to_vec()),
        ("sides.pgm", b"P5\n4000000000 4000000000\n255\n".to_vec()),
        ("area.qoi", qoi),
        ("area.bmp", bmp),
    ];
    for (name, bytes) in &files {
        let error = read(bytes, name).unwrap_err();
        println!("{error}");
        assert!(error.is_bad_input(), "{name}: {error}");
        // Two decoders refuse such headers themselves.
        if *name != "area.qoi" && *name != "sides.pgm" {
            let MediaError::TooLarge { actual, limit, .. } = &error else { panic!("{name}: {error}") };
            assert!(actual.contains("pixels") && !limit.is_empty(), "{name}: {error}");
        }
    }
    // Zeroing 12 GB takes seconds.
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn limits_are_those_asked_for() {
    let (_, bytes) = whole_files().swap_remove(0);
    let with = |max_width, max_height, max_alloc_bytes| {
        let limits = Limits { max_width, max_height, max_alloc_bytes };
        read_image_from(Cursor::new(&bytes), Path::new("a.png"), &limits)
    };
    assert!(with(23, 19, 23 * 19 * 3).is_ok());
    for refused in [with(22, 19, 1 << 20), with(23, 18, 1 << 20), with(23, 19, 23 * 19 * 3 - 1)] {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("23 x 19") && message.contains("limit"), "{message}");
    }
}

#[test]
fn what_is_not_a_picture_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        read_image(&path, &Limits::default()).unwrap_err()
    };
    let contents: [(&str, &[u8], &str); 6] = [
        ("empty.png", b"", "empty"),
        ("empty.tga", b"", "empty"),
        ("text.png", b"Dear reader, this is no picture at all.", "no known signature"),
        ("short.png", b"a", "no known signature"),
        ("picture.avif", b"\0\0\0\x1cftypavif\0\0\0\0", "looks like Avif"),
        ("picture.png", b"#?RADIANCE\n", "looks like Hdr"),
    ];
    for (name, bytes, words) in contents {
        let error = file(name, bytes);
        assert!(matches!(error, MediaError::UnknownFormat { .. }), "{name}: {error}");
        assert!(error.is_bad_input());
        let message = error.to_string();
        for words in [name, words, "PNG, JPEG, WebP, TIFF, PNM, BMP, TGA, GIF, QOI and ICO"] {
            assert!(message.contains(words), "{words:?} is not in {message:?}");
        }
    }
    assert!(matches!(
        file("text.tga", b"Dear reader, this is no picture at all."),
        MediaError::Damaged { .. } | MediaError::UnsupportedKind { .. }
    ));

    let error = read_image(folder.path(), &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Read { .. }) && error.to_string().contains("folder"), "{error}");
    let missing = read_image(&folder.path().join("none.png"), &Limits::default()).unwrap_err();
    let MediaError::Read { error, .. } = &missing else { panic!("{missing}") };
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(missing.is_bad_input() && missing.to_string().contains("none.png"), "{missing}");
}

#[test]
fn content_counts_more_than_the_extension() {
    let (_, png) = whole_files().swap_remove(0);
    let expected = read(&png, "a.png").unwrap();
    for name in ["a.jpg", "a.tga", "a", "a.txt"] {
        assert_eq!(read(&png, name).unwrap(), expected, "{name}");
    }
}

#[test]
fn float_pictures_are_refused_in_words() {
    let mut bytes = Cursor::new(Vec::new());
    let values = [0u8; 2 * 2 * 3 * 4];
    image::write_buffer_with_format(&mut bytes, &values, 2, 2, ExtendedColorType::Rgb32F, ImageFormat::Tiff)
        .unwrap();
    let error = read(bytes.get_ref(), "a.tiff").unwrap_err();
    assert!(matches!(error, MediaError::UnsupportedKind { .. }), "{error}");
    assert!(error.to_string().contains("32-bit floats"), "{error}");
}
