//! What is written is what is read, for every format, colour and depth; and what would lose something is refused.

use std::fs;
use std::path::Path;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{
    Limits, MediaError, PictureFormat, check_writable, psnr_db, read_image, write_image, write_npy,
};

const COLORS: [ColorType; 4] = [ColorType::Gray, ColorType::GrayAlpha, ColorType::Rgb, ColorType::Rgba];
const TYPES: [SampleType; 3] = [SampleType::U8, SampleType::U16, SampleType::F32];
const EXTENSIONS: [(&str, PictureFormat); 13] = [
    ("png", PictureFormat::Png),
    ("jpg", PictureFormat::Jpeg),
    ("JPEG", PictureFormat::Jpeg),
    ("webp", PictureFormat::WebP),
    ("tif", PictureFormat::Tiff),
    ("tiff", PictureFormat::Tiff),
    ("bmp", PictureFormat::Bmp),
    ("ppm", PictureFormat::Ppm),
    ("pgm", PictureFormat::Pgm),
    ("pnm", PictureFormat::Pnm),
    ("pam", PictureFormat::Pam),
    ("tga", PictureFormat::Tga),
    ("qoi", PictureFormat::Qoi),
];

/// A picture in which both bytes of a value vary; smooth enough for JPEG.
fn picture(rows: usize, columns: usize, color: ColorType, sample_type: SampleType) -> Signal {
    let channels = color.n_channels();
    let n = rows * columns * channels;
    let value = |i: usize| (i / channels * 7 + i % channels * 50) % (1 << 16);
    let samples = match sample_type {
        SampleType::U8 => Samples::U8((0..n).map(|i| (value(i) / 4 % 256) as u8).collect()),
        SampleType::U16 => Samples::U16((0..n).map(|i| (value(i) * 9 % 65536) as u16).collect()),
        _ => Samples::F32((0..n).map(|i| value(i) as f32 / 65536.0).collect()),
    };
    let info = SignalInfo::plain(vec![rows, columns], channels, sample_type, Some(color));
    Signal::new(info, samples).unwrap()
}

/// Grey with equal red, green and blue instead, for formats without a grey of their own.
fn as_rgb(signal: &Signal) -> Signal {
    let color = signal.info().color.unwrap();
    let (n, to) = match color {
        ColorType::Gray => (1, ColorType::Rgb),
        ColorType::GrayAlpha => (2, ColorType::Rgba),
        _ => return signal.clone(),
    };
    let Samples::U8(values) = signal.samples() else { panic!("8 bits") };
    let values = values.chunks(n).flat_map(|p| [&[p[0]; 3], &p[1..]].concat()).collect();
    let info = SignalInfo { channels: to.n_channels(), color: Some(to), ..signal.info().clone() };
    Signal::new(info, Samples::U8(values)).unwrap()
}

#[test]
fn every_format_color_and_depth_round_trips_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut n_written, mut n_refused) = (0, 0);
    for (extension, format) in EXTENSIONS {
        for color in COLORS {
            for sample_type in TYPES {
                for (rows, columns) in [(13, 37), (1, 1)] {
                    let signal = picture(rows, columns, color, sample_type);
                    let path = folder.path().join(format!("picture.{extension}"));
                    let case = format!("{extension} {color:?} {sample_type:?} {columns} x {rows}");
                    if !format.holds(color, sample_type) {
                        let error = write_image(&path, &signal).unwrap_err();
                        assert!(matches!(error, MediaError::CannotHold { .. }), "{case}: {error}");
                        assert!(error.is_bad_input(), "{case}");
                        assert!(check_writable(&path, signal.info()).is_err(), "{case}");
                        assert!(!path.exists(), "{case} left a file");
                        n_refused += 1;
                        continue;
                    }
                    check_writable(&path, signal.info()).unwrap();
                    write_image(&path, &signal).unwrap();
                    let read = read_image(&path, &Limits::default()).unwrap();
                    let expected = match format {
                        PictureFormat::WebP => as_rgb(&signal),
                        PictureFormat::Bmp if color == ColorType::Gray => as_rgb(&signal),
                        _ => signal,
                    };
                    assert_eq!(read.info(), expected.info(), "{case}");
                    if format == PictureFormat::Jpeg {
                        let psnr = psnr_db(&read, &expected).unwrap().unwrap_or(f64::INFINITY);
                        assert!(psnr > 35.0, "{case}: {psnr} dB");
                    } else {
                        assert!(read == expected, "{case}: values differ");
                    }
                    fs::remove_file(&path).unwrap();
                    n_written += 1;
                }
            }
        }
    }
    // Kinds per extension in the table of `PictureFormat`, times two extents.
    assert_eq!(n_written, 2 * (8 + 2 + 2 + 4 + 6 + 6 + 3 + 2 + 2 + 4 + 8 + 4 + 2));
    assert_eq!(n_written + n_refused, 2 * 13 * 4 * 3);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "temporary files are left");
}

#[test]
fn refusals_name_what_can_hold_it() {
    let refusal = |name: &str, color, sample_type| {
        let signal = picture(2, 2, color, sample_type);
        check_writable(Path::new(name), signal.info()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("a.jpg", ColorType::Rgb, SampleType::U16),
        "a.jpg cannot be written: JPEG cannot hold 16-bit RGB; it holds 8-bit grey, 8-bit RGB; \
         formats that can: PNG, TIFF, PAM, PPM, PNM"
    );
    assert_eq!(
        refusal("a.jpg", ColorType::Rgba, SampleType::U8),
        "a.jpg cannot be written: JPEG cannot hold 8-bit RGBA; it holds 8-bit grey, 8-bit RGB; \
         formats that can: PNG, TIFF, PAM, WebP, BMP, TGA, QOI"
    );
    assert!(refusal("a.png", ColorType::Rgb, SampleType::F32).contains("write it as .npy"));
    for name in ["a.xyz", "a", "png", ".png", "a.npy"] {
        let error = refusal(name, ColorType::Rgb, SampleType::U8);
        assert!(error.contains("cannot tell the format") && error.contains(".png, .jpg"), "{error}");
    }
}

#[test]
fn arrays_and_extents_that_no_field_can_count_are_refused_early() {
    let info =
        |extents: &[usize], channels| SignalInfo::plain(extents.to_vec(), channels, SampleType::U8, None);
    let refused = [
        ("a.png", info(&[5], 1)),
        ("a.png", info(&[5, 6, 7], 1)),
        ("a.png", info(&[5, 6], 5)),
        ("a.png", info(&[1, 1 << 31], 1)),
        ("a.jpg", info(&[65_536, 1], 1)),
        ("a.tga", info(&[1, 65_536], 1)),
        ("a.webp", info(&[1, 16_385], 3)),
        ("a.bmp", info(&[40_000, 40_000], 3)),
        ("a.qoi", info(&[20_001, 20_000], 3)),
    ];
    for (name, info) in &refused {
        let error = check_writable(Path::new(name), info).unwrap_err();
        assert!(matches!(error, MediaError::CannotHold { .. }), "{name} {info:?}: {error}");
    }
    let accepted = [
        ("a.png", info(&[5, 6], 1)),
        ("a.png", info(&[5, 6], 2)),
        ("a.png", info(&[1, (1 << 31) - 1], 1)),
        ("a.jpg", info(&[65_535, 1], 1)),
        ("a.webp", info(&[1, 16_384], 3)),
        // A BigTIFF.
        ("a.tiff", info(&[40_000, 40_000], 3)),
        ("a.qoi", info(&[20_000, 20_000], 4)),
    ];
    for (name, info) in &accepted {
        check_writable(Path::new(name), info).unwrap();
    }
}

/// The Netpbm formats byte by byte, from their definition: big-endian, rows from the top.
#[test]
fn netpbm_bytes_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let signal = |color: ColorType, samples: Samples| {
        let info = SignalInfo::plain(vec![1, 2], color.n_channels(), samples.sample_type(), Some(color));
        Signal::new(info, samples).unwrap()
    };
    let cases: [(&str, Signal, &[u8]); 3] = [
        ("a.pgm", signal(ColorType::Gray, Samples::U16(vec![1, 0x0203])), b"P5\n2 1\n65535\n\0\x01\x02\x03"),
        ("a.pnm", signal(ColorType::Rgb, Samples::U8(b"abcdef".to_vec())), b"P6\n2 1\n255\nabcdef"),
        (
            "a.pam",
            signal(ColorType::GrayAlpha, Samples::U8(b"abcd".to_vec())),
            b"P7\nWIDTH 2\nHEIGHT 1\nDEPTH 2\nMAXVAL 255\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\nabcd",
        ),
    ];
    for (name, signal, expected) in cases {
        let path = folder.path().join(name);
        write_image(&path, &signal).unwrap();
        assert_eq!(fs::read(&path).unwrap(), expected, "{name}");
    }
}

/// The `NumPy` format, version 1.0: magic, version, header length, a Python literal padded to 64 bytes, raw values.
#[test]
fn npy_bytes_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for (extents, channels, shape) in [
        (&[2, 3][..], 1, "(2, 3, 1)"),
        (&[6], 4, "(6, 4)"),
        (&[2, 2, 2, 2], 3, "(2, 2, 2, 2, 3)"),
        (&[1], 1, "(1, 1)"),
    ] {
        let n = extents.iter().product::<usize>() * channels;
        let values: Vec<f32> = (0..n).map(|i| i as f32 - 0.5).collect();
        let path = folder.path().join("array.npy");
        write_npy(&path, extents, channels, &values).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        for part in ["'descr': '<f4'", "'fortran_order': False", &format!("'shape': {shape}")] {
            assert!(header.contains(part), "{part} is not in {header}");
        }
        let body: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(&bytes[10 + length..], body);
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
    let error = write_npy(&folder.path().join("b.npy"), &[2, 3], 2, &[0.0; 11]).unwrap_err();
    assert!(error.is_bad_input());
    assert!(error.to_string().contains("need 12 values, not 11"), "{error}");
    let error = write_npy(&folder.path().join("b.npy"), &[usize::MAX, 3], 2, &[0.0; 11]).unwrap_err();
    assert!(matches!(error, MediaError::Length { .. }), "{error}");
}
