//! Films without `ffmpeg`: Y4M and folders of PNG frames, hostile ones too, and the scores of films.

use std::fs;
use std::path::{Path, PathBuf};

use asmr::metadata::{Media, Video};
use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{
    FrameRange, Limits, MediaError, VideoComparison, check_video_writable, create_video, is_video,
    open_video, psnr_db, ssim, write_image,
};

const COLORS: [ColorType; 4] = [ColorType::Gray, ColorType::GrayAlpha, ColorType::Rgb, ColorType::Rgba];

fn film_info(extents: [usize; 3], color: ColorType, sample_type: SampleType) -> SignalInfo {
    SignalInfo {
        extents: extents.to_vec(),
        channels: color.n_channels(),
        sample_type,
        color: Some(color),
        value_range: None,
        media: Media::Video(Video { rate: [30000, 1001], first_frame: 0 }),
    }
}

/// A film in which every value of every frame differs from its neighbours.
fn film(extents: [usize; 3], color: ColorType, sample_type: SampleType) -> (SignalInfo, Samples) {
    let info = film_info(extents, color, sample_type);
    let n = info.n_values().unwrap() as usize;
    let value = |i: usize| (i * i * 31 + i * 7919) % 65536;
    let samples = match sample_type {
        SampleType::U16 => Samples::U16((0..n).map(|i| value(i) as u16).collect()),
        _ => Samples::U8((0..n).map(|i| (value(i) / 97) as u8).collect()),
    };
    (info, samples)
}

fn write(path: &Path, info: &SignalInfo, samples: &Samples, frames_at_once: usize) {
    let mut writer = create_video(path, info).unwrap();
    let step = frames_at_once * info.slice_values();
    for start in (0..samples.len()).step_by(step) {
        writer.write(&samples.slice(start..samples.len().min(start + step))).unwrap();
    }
    writer.finish().unwrap();
}

fn range(start: u64, end: Option<u64>) -> FrameRange {
    FrameRange { start, end, rate: None }
}

fn read(path: &Path, frames: &FrameRange) -> Result<(SignalInfo, Samples), MediaError> {
    let mut reader = open_video(path, frames, &Limits::default())?;
    let info = reader.info().clone();
    let samples = reader.read(info.extents[0])?;
    assert_eq!(samples.len() as u64, info.n_values().unwrap());
    Ok((info, samples))
}

fn error_of(path: &Path, frames: &FrameRange) -> MediaError {
    match read(path, frames) {
        Ok((info, _)) => panic!("{} was read: {info:?}", path.display()),
        Err(error) => {
            assert!(error.is_bad_input(), "{error}");
            error
        }
    }
}

#[track_caller]
fn assert_says(error: &MediaError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(!message.contains('\n'), "{message:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn u8s(samples: &Samples) -> &[u8] {
    let Samples::U8(values) = samples else { panic!("8 bits") };
    values
}

#[test]
fn folders_round_trip_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for color in COLORS {
        for sample_type in [SampleType::U8, SampleType::U16] {
            for extents in [[12, 5, 7], [1, 1, 1]] {
                let (info, samples) = film(extents, color, sample_type);
                let path = folder.path().join(format!("film{n_cases}"));
                write(&path, &info, &samples, 5);
                assert!(is_video(&path).unwrap());
                // The rate is what a folder cannot keep.
                let (read_info, read_samples) = read(&path, &FrameRange::default()).unwrap();
                let Media::Video(video) = &read_info.media else { panic!("{read_info:?}") };
                assert_eq!((video.rate, video.first_frame), ([25, 1], 0));
                let (read_info, again) =
                    read(&path, &FrameRange { rate: Some([30000, 1001]), ..FrameRange::default() }).unwrap();
                assert_eq!(read_info, info, "{color:?} {sample_type:?}");
                assert!(read_samples == samples && again == samples, "{color:?} {sample_type:?} {extents:?}");
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 16);
    assert_eq!(names(folder.path()).len(), 16, "temporary folders are left");
    assert_eq!(names(&folder.path().join("film0"))[..2], ["00000.png", "00001.png"]);
}

#[test]
fn y4m_round_trips_up_to_its_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for (color, bound) in [(ColorType::Gray, 0), (ColorType::Rgb, 2)] {
        for extents in [[5, 6, 8], [3, 7, 5], [1, 1, 1], [40, 33, 65]] {
            let (info, samples) = film(extents, color, SampleType::U8);
            let path = folder.path().join("film.Y4M");
            write(&path, &info, &samples, 2);
            assert!(is_video(&path).unwrap());
            let (read_info, read_samples) = read(&path, &FrameRange::default()).unwrap();
            assert_eq!(read_info, info);
            let worst =
                u8s(&read_samples).iter().zip(u8s(&samples)).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
            assert!(worst <= bound, "{color:?} {extents:?}: off by {worst}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 8);
    assert_eq!(names(folder.path()), ["film.Y4M"]);
}

#[test]
fn any_range_in_any_steps_is_part_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (info, samples) = film([11, 4, 6], ColorType::Gray, SampleType::U8);
    let mut n_cases = 0;
    for name in ["film.y4m", "frames/"] {
        let path = folder.path().join(name);
        write(&path, &info, &samples, 11);
        for (start, end) in [(0, None), (0, Some(11)), (3, None), (10, None), (2, Some(9)), (0, Some(1))] {
            let mut reader = open_video(&path, &range(start, end), &Limits::default()).unwrap();
            let n_frames = (end.unwrap_or(11) - start) as usize;
            let Media::Video(video) = &reader.info().media else { panic!() };
            assert_eq!((reader.info().extents[0], video.first_frame), (n_frames, start));
            let mut values = Vec::new();
            let mut left = n_frames;
            for step in [1, 2, 3, 20] {
                let step = left.min(step);
                values.extend_from_slice(u8s(&reader.read(step).unwrap()));
                left -= step;
            }
            assert_eq!(left, 0);
            let frame = info.slice_values();
            assert_eq!(values, u8s(&samples)[start as usize * frame..][..n_frames * frame]);
            n_cases += 1;
        }
        for (start, end, words) in [
            (11, None, "frames 11 to the end are asked for, and it has 11; accepted are starts from 0 to 10"),
            (u64::MAX, None, "it has 11"),
            (0, Some(12), "frames 0 to 12 are asked for, and it has 11"),
            (3, Some(3), "frames 3 to 3 are asked for, and that is none; the end must be above the start"),
            (3, Some(1), "frames 3 to 1"),
        ] {
            let error = error_of(&path, &range(start, end));
            assert!(matches!(error, MediaError::Unusable { .. }));
            assert_says(&error, &[words]);
            n_cases += 1;
        }
        let no_rate = FrameRange { rate: Some([25, 0]), ..FrameRange::default() };
        assert_says(&error_of(&path, &no_rate), &["25/0", "above 0"]);
    }
    assert_eq!(n_cases, 2 * 11);
}

/// What is written, byte by byte; the YCbCr values are those of the 100 % colour bars in BT.601.
#[test]
fn y4m_bytes_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    let info = film_info([2, 1, 3], ColorType::Rgb, SampleType::U8);
    let values = vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 255, 0];
    write(&path, &info, &Samples::U8(values), 1);
    let mut expected = b"YUV4MPEG2 W3 H1 F30000:1001 Ip A1:1 C444\nFRAME\n".to_vec();
    expected.extend([81, 145, 41, 90, 54, 240, 240, 34, 110]);
    expected.extend(b"FRAME\n");
    expected.extend([235, 16, 210, 128, 128, 16, 128, 128, 146]);
    assert_eq!(fs::read(&path).unwrap(), expected);
    let info = film_info([1, 2, 1], ColorType::Gray, SampleType::U8);
    write(&path, &info, &Samples::U8(vec![7, 250]), 1);
    assert_eq!(fs::read(&path).unwrap(), b"YUV4MPEG2 W1 H2 F30000:1001 Ip A1:1 Cmono\nFRAME\n\x07\xfa");
}

/// RGB of YCbCr by inverting the matrix as the standard prints it, for R, G, B from 0 to 1. Its coefficients have three
/// decimals, which moves a result by up to 0.05 of 255.
fn rgb_by_the_standard(y: u8, cb: u8, cr: u8) -> [f64; 3] {
    let m = [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]];
    let v = [f64::from(y) - 16.0, f64::from(cb) - 128.0, f64::from(cr) - 128.0];
    let det = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    // Cramer's rule.
    std::array::from_fn(|column| {
        let mut replaced = m;
        for (row, value) in replaced.iter_mut().zip(v) {
            row[column] = value;
        }
        (255.0 * det(&replaced) / det(&m)).clamp(0.0, 255.0)
    })
}

#[test]
fn every_layout_becomes_the_standards_rgb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    let (width, height) = (5, 3);
    let byte = |i: usize| (i * i * 31 + i * 101 + 16) as u8;
    let mut n_values = 0;
    for (layout, across, down) in [
        ("", 2, 2),
        (" C420", 2, 2),
        (" C420jpeg XYSCSS=420JPEG", 2, 2),
        (" C420mpeg2 XCOLORRANGE=LIMITED", 2, 2),
        (" C420paldv", 2, 2),
        (" C422", 2, 1),
        (" C444", 1, 1),
    ] {
        let (stride, rows) = (usize::div_ceil(width, across), usize::div_ceil(height, down));
        let frame: Vec<u8> = (0..width * height + 2 * stride * rows).map(byte).collect();
        let mut bytes = format!("YUV4MPEG2 W{width}  H{height} F25:1 It A0:0{layout}\n").into_bytes();
        for _ in 0..2 {
            bytes.extend(b"FRAME Ixyz\n");
            bytes.extend(&frame);
        }
        fs::write(&path, &bytes).unwrap();
        let (info, samples) = read(&path, &FrameRange::default()).unwrap();
        assert_eq!((info.extents.as_slice(), info.color), (&[2, height, width][..], Some(ColorType::Rgb)));
        let values = u8s(&samples);
        assert_eq!(values[..values.len() / 2], values[values.len() / 2..]);
        for y in 0..height {
            for x in 0..width {
                let chroma = width * height + y / down * stride + x / across;
                let (luma, cb, cr) = (frame[y * width + x], frame[chroma], frame[chroma + stride * rows]);
                for (channel, expected) in rgb_by_the_standard(luma, cb, cr).into_iter().enumerate() {
                    let actual = values[(y * width + x) * 3 + channel];
                    let off = (f64::from(actual) - expected).abs();
                    assert!(off <= 0.55, "{layout} ({x}, {y}) {channel}: {actual}, not {expected}");
                    n_values += 1;
                }
            }
        }
    }
    assert_eq!(n_values, 7 * 3 * width * height);
    // Full range, by JFIF's formula: Y 76, Cb 85, Cr 255 is red.
    fs::write(&path, b"YUV4MPEG2 W1 H1 C444 XCOLORRANGE=FULL\nFRAME\n\x4c\x55\xff").unwrap();
    let (info, samples) = read(&path, &FrameRange::default()).unwrap();
    assert_eq!(u8s(&samples), [254, 0, 0]);
    // No rate, and `0:0`, are 25 frames per second.
    let Media::Video(video) = info.media else { panic!() };
    assert_eq!(video.rate, [25, 1]);
    fs::write(&path, b"YUV4MPEG2 W1 H1 F0:0 Cmono\nFRAME\n\x4c").unwrap();
    assert_eq!(u8s(&read(&path, &FrameRange::default()).unwrap().1), [0x4c]);
}

#[test]
fn hostile_y4m_headers_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    let long = format!("YUV4MPEG2 W2 H2 X{}\n", "x".repeat(1 << 16));
    let cases: [(&str, &str); 21] = [
        ("YUV4MPEG2", "does not end within"),
        ("YUV4MPEG2\n", "no width"),
        ("YUV4MPEG2 W2\n", "no height"),
        ("YUV4MPEG22 W2 H2\n", "does not begin with YUV4MPEG2"),
        ("YUV4MPEG2 W0 H2\n", "width is \"0\""),
        ("YUV4MPEG2 W2 H-2\n", "height is \"-2\""),
        ("YUV4MPEG2 W H2\n", "width is \"\""),
        ("YUV4MPEG2 W99999999999999999999 H2\n", "whole number above 0"),
        ("YUV4MPEG2 W4294967295 H4294967295\n", "limit is 100000 x 100000"),
        ("YUV4MPEG2 W100000 H100000 C444\n", "needs 30000000000 bytes, and the limit is 4294967296 bytes"),
        ("YUV4MPEG2 W30000 H30000 C444\n", "holds no frame"),
        ("YUV4MPEG2 W30000 H30000 C444\nFRAME\nx", "frame 0 has 1 of its 2700000000 bytes"),
        ("YUV4MPEG2 W2 H2 F25\n", "frame rate is \"25\""),
        ("YUV4MPEG2 W2 H2 F25:0\n", "frame rate is \"25:0\""),
        ("YUV4MPEG2 W2 H2 F99999999999:1\n", "as in 30000:1001"),
        ("YUV4MPEG2 W2 H2 C420p10\n", "layout \"C420p10\""),
        ("YUV4MPEG2 W2 H2 C411\n", "convert it first: ffmpeg"),
        ("YUV4MPEG2 W2 H2 Cmono16\n", "Cmono are read"),
        ("YUV4MPEG2 W1 H1 Cmono\nFRAME\nxFRAMES\nx", "frame 1 does not begin with FRAME"),
        ("YUV4MPEG2 W1 H1 Cmono\nFRAME\nxFRAME\n", "frame 1 has 0 of its 1 bytes"),
        (&long, "does not end within 4096 bytes"),
    ];
    for (bytes, words) in cases {
        fs::write(&path, bytes).unwrap();
        let error = error_of(&path, &FrameRange::default());
        assert_says(&error, &[words]);
        assert!(!matches!(error, MediaError::Read { .. }), "{error}");
    }
    // Only as much as is asked for is looked at.
    fs::write(&path, "YUV4MPEG2 W1 H1 Cmono\nFRAME\naFRAME\nbFRAME\n").unwrap();
    assert_eq!(u8s(&read(&path, &range(1, Some(2))).unwrap().1), b"b");
}

#[test]
fn cut_and_changed_y4m_films_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    let (info, samples) = film([3, 3, 4], ColorType::Rgb, SampleType::U8);
    write(&path, &info, &samples, 3);
    let bytes = fs::read(&path).unwrap();
    let frame = 6 + 36;
    let mut n_whole = 0;
    for n in 0..bytes.len() {
        fs::write(&path, &bytes[..n]).unwrap();
        match read(&path, &FrameRange::default()) {
            // Cut between two frames it is a shorter film.
            Ok((info, _)) => {
                assert_eq!((bytes.len() - n) % frame, 0, "cut to {n} bytes");
                assert_eq!(info.extents[0], 3 - (bytes.len() - n) / frame);
                n_whole += 1;
            }
            Err(error) => assert!(error.is_bad_input(), "{error}"),
        }
    }
    assert_eq!(n_whole, 2);
    let limits = Limits { max_alloc_bytes: 1 << 20, ..Limits::default() };
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..2000 {
        let mut changed = bytes.clone();
        for _ in 0..3 {
            let reach = if random(2) == 0 { changed.len() } else { 60 };
            changed[random(reach)] = random(256) as u8;
        }
        fs::write(&path, &changed).unwrap();
        if !changed.starts_with(b"YUV4MPEG2") {
            continue;
        }
        if let Ok(mut reader) = open_video(&path, &FrameRange::default(), &limits) {
            drop(reader.read(reader.info().extents[0]));
        }
    }
}

fn picture(path: &Path, rows: usize, columns: usize, color: ColorType, sample_type: SampleType) {
    let info = SignalInfo::plain(vec![rows, columns], color.n_channels(), sample_type, Some(color));
    let n = info.n_values().unwrap() as usize;
    let samples = match sample_type {
        SampleType::U16 => Samples::U16(vec![300; n]),
        _ => Samples::U8(vec![30; n]),
    };
    write_image(path, &Signal::new(info, samples).unwrap()).unwrap();
}

#[test]
fn frames_of_a_folder_are_alike_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert_says(&error_of(path, &FrameRange::default()), &["no .png picture"]);
    assert!(!is_video(path).unwrap());
    // Frame n holds the value n.
    for (name, value) in [("f1.png", 1), ("f2.PNG", 2), ("f010.png", 10), ("f11.png", 11), ("f100.png", 100)]
    {
        let info = SignalInfo::plain(vec![1, 1], 1, SampleType::U8, Some(ColorType::Gray));
        let lower = path.join("picture.png");
        write_image(&lower, &Signal::new(info, Samples::U8(vec![value])).unwrap()).unwrap();
        fs::rename(lower, path.join(name)).unwrap();
    }
    // Neither of these is a frame.
    fs::write(path.join("._f1.png"), "x").unwrap();
    fs::write(path.join("readme.txt"), "x").unwrap();
    assert_eq!(u8s(&read(path, &FrameRange::default()).unwrap().1), [1, 2, 10, 11, 100]);
    assert_eq!(u8s(&read(path, &range(2, Some(4))).unwrap().1), [10, 11]);

    let mut n_cases = 0;
    for (rows, columns, color, sample_type, words) in [
        (
            2,
            1,
            ColorType::Gray,
            SampleType::U8,
            "f99.png has 1 x 2 pixels of 8-bit grey, where f1.png has 1 x 1",
        ),
        (1, 1, ColorType::Rgb, SampleType::U8, "f99.png has 1 x 1 pixels of 8-bit RGB, where f1.png has"),
        (1, 1, ColorType::GrayAlpha, SampleType::U8, "8-bit grey+alpha"),
        (1, 1, ColorType::Gray, SampleType::U16, "f99.png has 1 x 1 pixels of 16-bit grey"),
    ] {
        picture(&path.join("f99.png"), rows, columns, color, sample_type);
        assert_says(&error_of(path, &FrameRange::default()), &[words]);
        // It lies outside this range.
        read(path, &range(0, Some(4))).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
    fs::write(path.join("f99.png"), "no picture").unwrap();
    assert_says(&error_of(path, &FrameRange::default()), &["f99.png", "content is no PNG"]);
    let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\x7f\xff\xff\xff\0\0\0\x01\x08\x02\0\0\0".to_vec();
    header.extend([0; 20]);
    fs::write(path.join("f99.png"), header).unwrap();
    let error = error_of(path, &FrameRange::default());
    assert!(matches!(error, MediaError::TooLarge { .. }), "{error}");
    fs::write(path.join("f99.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    let error = error_of(path, &FrameRange::default());
    assert!(matches!(error, MediaError::Damaged { .. }), "{error}");
    let missing = error_of(&path.join("nowhere"), &FrameRange::default());
    assert!(matches!(missing, MediaError::Read { .. }), "{missing}");
}

#[test]
fn films_are_recognised_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let transport = |first: usize, step: usize| {
        let mut bytes = vec![0; 1000];
        for i in 0..4 {
            bytes[first + i * step] = 0x47;
        }
        bytes
    };
    let ogg = |codec: &[u8]| [b"OggS\0\x02", &[0; 22][..], codec].concat();
    let cases: Vec<(bool, Vec<u8>)> = vec![
        (true, b"YUV4MPEG2 W1 H1\n".to_vec()),
        (true, b"\0\0\0\x20ftypisom\0\0\x02\0".to_vec()),
        (true, b"\0\0\0\x14ftypqt  ".to_vec()),
        (true, b"\0\0\x10\x20moov".to_vec()),
        (true, b"\x1a\x45\xdf\xa3\x01\0\0\0".to_vec()),
        (true, b"RIFF\0\0\0\0AVI LIST".to_vec()),
        (true, transport(0, 188)),
        (true, transport(4, 192)),
        (true, b"\0\0\x01\xba\x44".to_vec()),
        (true, b"FLV\x01\x05".to_vec()),
        (true, ogg(b"\x80theora\x03")),
        (false, ogg(b"\x01vorbis")),
        (false, b"\0\0\0\x20ftypavif\0\0\0\0".to_vec()),
        (false, b"\0\0\0\x20ftypheic\0\0\0\0".to_vec()),
        (false, b"\0\0\0\x20ftypM4A \0\0\0\0".to_vec()),
        (false, b"GIF89a\x01\0\x01\0".to_vec()),
        (false, b"\x89PNG\r\n\x1a\n".to_vec()),
        (false, b"RIFF\0\0\0\0WAVEfmt ".to_vec()),
        (false, b"RIFF\0\0\0\0WEBPVP8 ".to_vec()),
        (false, b"G".to_vec()),
        (false, Vec::new()),
    ];
    assert_eq!(cases.len(), 21);
    for (expected, bytes) in cases {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(is_video(&path).unwrap(), expected, "{:?}", String::from_utf8_lossy(&bytes));
    }
    assert!(is_video(&folder.path().join("nowhere")).is_err());
    fs::write(&path, "").unwrap();
    assert_says(&error_of(&path, &FrameRange::default()), &["the file is empty"]);
    // Lists of other files are not followed, whatever they name.
    for list in
        ["#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "ffconcat version 1.0\nfile a\x01.mp4\n", "hello"]
    {
        fs::write(&path, list).unwrap();
        assert_says(&error_of(&path, &FrameRange::default()), &["a text, not a film"]);
    }
}

#[test]
fn a_film_is_there_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (info, samples) = film([3, 2, 2], ColorType::Rgb, SampleType::U8);
    let old = folder.path().join("old.y4m");
    fs::write(&old, "before").unwrap();
    let empty = folder.path().join("empty.v1");
    fs::create_dir(&empty).unwrap();
    let frame = samples.slice(0..info.slice_values());
    let mut n_cases = 0;
    for path in [old.clone(), folder.path().join("new.y4m"), folder.path().join("frames"), empty.clone()] {
        let mut writer = create_video(&path, &info).unwrap();
        writer.write(&frame).unwrap();
        drop(writer);
        assert_eq!(names(folder.path()), ["empty.v1", "old.y4m"]);
        // Too few, too many, half a frame, another type.
        let mut writer = create_video(&path, &info).unwrap();
        writer.write(&frame).unwrap();
        assert_says(&writer.finish().unwrap_err(), &["1 of its 3 frames were given"]);
        let mut writer = create_video(&path, &info).unwrap();
        writer.write(&frame).unwrap();
        for wrong in [
            samples.clone(),
            samples.slice(0..info.slice_values() + 1),
            Samples::U16(vec![0; info.slice_values()]),
        ] {
            let error = writer.write(&wrong).unwrap_err();
            assert_says(&error, &["came where up to 2 frames of 12 values of type u8 should"]);
            n_cases += 1;
        }
        drop(writer);
        assert_eq!(fs::read(&old).unwrap(), b"before");
        assert_eq!(names(folder.path()), ["empty.v1", "old.y4m"]);
        assert!(names(&empty).is_empty());
    }
    assert_eq!(n_cases, 12);
    write(&old, &info, &samples, 3);
    write(&empty, &info, &samples, 1);
    assert_eq!(names(folder.path()), ["empty.v1", "old.y4m"]);
    assert_eq!(names(&empty), ["00000.png", "00001.png", "00002.png"]);
    assert_eq!(read(&empty, &FrameRange::default()).unwrap().1, samples);
}

#[test]
fn what_cannot_be_written_is_refused_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("x"), "").unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let rgb = film_info([1, 2, 2], ColorType::Rgb, SampleType::U8);
    let deep = film_info([1, 2, 2], ColorType::Gray, SampleType::U16);
    let alpha = film_info([1, 2, 2], ColorType::Rgba, SampleType::U8);
    let plain = SignalInfo::plain(vec![1, 2, 2], 1, SampleType::U8, None);
    let at = |name: &str| folder.path().join(name);
    let cases: [(PathBuf, &SignalInfo, &str); 9] = [
        (full.clone(), &rgb, "the folder is not empty"),
        (full.join(""), &rgb, "the folder is not empty"),
        (file.clone(), &rgb, "has no film's extension"),
        (at("a.xyz"), &rgb, "accepted are .y4m, .mp4, .mov, .mkv, .webm, .avi, and a folder of PNG"),
        (at("a.y4m"), &deep, "Y4M cannot hold 16-bit grey; it holds 8-bit grey, 8-bit RGB"),
        (at("a.y4m"), &alpha, "8-bit RGBA"),
        (at("a.mp4"), &deep, "mp4 cannot hold 16-bit grey"),
        (at("a.mp4"), &plain, "a plain signal is no film"),
        (at("a"), &plain, "a plain signal is no film"),
    ];
    for (path, info, words) in &cases {
        assert_says(&check_video_writable(path, info).unwrap_err(), &[words]);
        let error = create_video(path, info).err().unwrap();
        assert!(error.is_bad_input(), "{error}");
        assert_says(&error, &[words]);
    }
    let missing = create_video(&at("nowhere/a.y4m"), &rgb).err().unwrap();
    assert!(missing.is_write_failure());
    assert_says(&missing, &["nowhere does not exist; create it first"]);
    assert!(create_video(&at("nowhere/frames/"), &rgb).err().unwrap().is_write_failure());
    assert_eq!(names(folder.path()), ["file", "full"]);
}

#[test]
fn scores_are_those_of_the_definition() {
    let info = film_info([4, 8, 9], ColorType::Gray, SampleType::U8);
    let n = info.slice_values();
    let (_, original) = film([4, 8, 9], ColorType::Gray, SampleType::U8);
    let mut changed = u8s(&original).to_vec();
    // Frame 0 is exact. One value of frame 1 is off by 10, all of frame 2 by 3, two of frame 3 by 10.
    let shift = |value: u8, by: u8| if value < 128 { value + by } else { value - by };
    changed[n] = shift(changed[n], 10);
    for value in &mut changed[2 * n..3 * n] {
        *value = shift(*value, 3);
    }
    for value in &mut changed[3 * n..3 * n + 2] {
        *value = shift(*value, 10);
    }
    let decoded = Samples::U8(changed);
    let mut comparison = VideoComparison::new(&info);
    comparison.push(&original.slice(0..n), &decoded.slice(0..n));
    comparison.push(&original.slice(n..4 * n), &decoded.slice(n..4 * n));
    let scores = comparison.finish();

    let db = |squares: f64, n: usize| 10.0 * (255.0 * 255.0 * n as f64 / squares).log10();
    let frames = [db(100.0, n), db(9.0 * n as f64, n), db(200.0, n)];
    let close = |a: Option<f64>, b: f64| assert!((a.unwrap() - b).abs() < 1e-9, "{a:?} is not {b}");
    close(scores.psnr_db, db(300.0 + 9.0 * n as f64, 4 * n));
    close(scores.psnr_db_mean, frames.iter().sum::<f64>() / 3.0);
    close(scores.psnr_db_worst, frames[1]);
    assert_eq!((scores.worst_frame, scores.max_abs_error), (Some(2), 10.0));
    assert_eq!((scores.n_frames, scores.n_exact_frames), (4, 1));
    let picture = |samples: &Samples, frame: usize| {
        let info = SignalInfo::plain(vec![8, 9], 1, SampleType::U8, Some(ColorType::Gray));
        Signal::new(info, samples.slice(frame * n..(frame + 1) * n)).unwrap()
    };
    let similarities: Vec<f64> =
        (0..4).map(|i| ssim(&picture(&original, i), &picture(&decoded, i)).unwrap().unwrap()).collect();
    close(scores.ssim_mean, similarities.iter().sum::<f64>() / 4.0);
    close(scores.ssim_worst, similarities.iter().copied().fold(1.0, f64::min));
    let third = psnr_db(&picture(&original, 3), &picture(&decoded, 3)).unwrap();
    close(third, frames[2]);

    // All exact; and frames too small for a window.
    let mut comparison = VideoComparison::new(&info);
    comparison.push(&original, &original);
    let scores = comparison.finish();
    assert_eq!(
        (scores.psnr_db, scores.psnr_db_mean, scores.psnr_db_worst, scores.worst_frame),
        (None, None, None, None)
    );
    assert_eq!((scores.ssim_mean, scores.ssim_worst, scores.n_exact_frames), (Some(1.0), Some(1.0), 4));
    let (info, small) = film([2, 6, 9], ColorType::Rgba, SampleType::U16);
    let mut comparison = VideoComparison::new(&info);
    comparison.push(&small, &Samples::U16(vec![0; small.len()]));
    let scores = comparison.finish();
    let (Samples::U16(values), None) = (&small, scores.ssim_mean) else { panic!("{scores:?}") };
    let squares: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
    close(scores.psnr_db, 10.0 * (65535.0f64.powi(2) * values.len() as f64 / squares).log10());
    assert_eq!(VideoComparison::new(&info).finish().n_frames, 0);
}
