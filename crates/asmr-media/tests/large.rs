//! Reading and writing by rows is reading and writing of the whole; and a signal on disk is the signal.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{
    Limits, MediaError, MemoryReader, PictureFormat, SliceReader, create_picture, open_picture, read_image,
    write_image,
};
use image::{ExtendedColorType, ImageFormat};
use tiff::encoder::{Compression, Predictor, TiffEncoder, colortype};

const COLORS: [ColorType; 4] = [ColorType::Gray, ColorType::GrayAlpha, ColorType::Rgb, ColorType::Rgba];
const EXTENSIONS: [&str; 11] = ["png", "jpg", "webp", "tif", "bmp", "ppm", "pgm", "pnm", "pam", "tga", "qoi"];

/// A picture in which both bytes of a value vary, not smooth.
fn picture(rows: usize, columns: usize, color: ColorType, sample_type: SampleType) -> Signal {
    let channels = color.n_channels();
    let n = rows * columns * channels;
    let value = |i: usize| (i.wrapping_mul(i).wrapping_mul(31) + i / 5 * 977) % 65536;
    let samples = match sample_type {
        SampleType::U16 => Samples::U16((0..n).map(|i| value(i) as u16).collect()),
        _ => Samples::U8((0..n).map(|i| (value(i) / 256) as u8).collect()),
    };
    let info = SignalInfo::plain(vec![rows, columns], channels, sample_type, Some(color));
    Signal::new(info, samples).unwrap()
}

fn append(to: &mut Samples, from: &Samples) {
    let mut bytes = to.to_le_bytes();
    bytes.extend(from.to_le_bytes());
    *to = Samples::from_le_bytes(to.sample_type(), &bytes);
}

/// All slices, in pieces of 1, 2, 3, ... of them.
fn read_all(reader: &mut dyn SliceReader) -> Result<Signal, MediaError> {
    let info = reader.info().clone();
    let mut samples = Samples::empty(info.sample_type);
    let (mut left, mut n) = (info.extents[0], 1);
    while left > 0 {
        append(&mut samples, &reader.read(n.min(left))?);
        left -= n.min(left);
        n += 1;
    }
    Ok(Signal::new(info, samples).unwrap())
}

fn by_rows(path: &Path, limits: &Limits) -> Result<Signal, MediaError> {
    read_all(&mut *open_picture(path, limits)?)
}

/// Both ways of reading a file; they must agree.
#[track_caller]
fn assert_same(path: &Path, what: &str) -> bool {
    let limits = Limits::default();
    match (by_rows(path, &limits), read_image(path, &limits)) {
        (Ok(rows), Ok(whole)) => {
            assert_eq!(rows.info(), whole.info(), "{what}");
            assert!(rows == whole, "{what}: values differ");
            true
        }
        (Err(rows), Err(whole)) => {
            assert_eq!(rows.to_string(), whole.to_string(), "{what}");
            println!("{what}: {whole}");
            false
        }
        (rows, whole) => {
            panic!("{what}: by rows {:?}, whole {:?}", rows.map(|_| "read"), whole.map(|_| "read"))
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// A PNG from its header, palette and raw scan lines, in one stored block of deflate.
fn png(width: u32, height: u32, header: [u8; 5], chunks: &[(&[u8; 4], &[u8])], lines: &[u8]) -> Vec<u8> {
    let chunk = |to: &mut Vec<u8>, name: &[u8], body: &[u8]| {
        to.extend((body.len() as u32).to_be_bytes());
        let all = [name, body].concat();
        to.extend(&all);
        to.extend(crc(&all).to_be_bytes());
    };
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut bytes, b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &header].concat());
    for (name, body) in chunks {
        chunk(&mut bytes, *name, body);
    }
    let length = lines.len() as u16;
    let (a, b) = lines.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    let mut data = vec![0x78, 1, 1];
    data.extend(length.to_le_bytes());
    data.extend((!length).to_le_bytes());
    data.extend(lines);
    data.extend((b << 16 | a).to_be_bytes());
    chunk(&mut bytes, b"IDAT", &data);
    chunk(&mut bytes, b"IEND", &[]);
    bytes
}

/// An uncompressed TIFF of 8-bit values, big-endian, from its tags; the chunks' data follow the header.
fn tiff(tags: &[(u16, Vec<u32>)], chunks: &[Vec<u8>], tiled: bool) -> Vec<u8> {
    let mut bytes = b"MM\0*\0\0\0\0".to_vec();
    let mut offsets = Vec::new();
    for chunk in chunks {
        offsets.push(bytes.len() as u32);
        bytes.extend(chunk);
    }
    let counts = chunks.iter().map(|chunk| chunk.len() as u32).collect();
    let mut tags = tags.to_vec();
    tags.push((if tiled { 324 } else { 273 }, offsets));
    tags.push((if tiled { 325 } else { 279 }, counts));
    tags.sort();
    let mut entries = (tags.len() as u16).to_be_bytes().to_vec();
    for (tag, values) in &tags {
        let values_bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
        entries.extend(tag.to_be_bytes());
        // All numbers of 32 bits, but the kind of an extra channel, which must be of 16.
        entries.extend(if *tag == 338 { 3u16 } else { 4 }.to_be_bytes());
        entries.extend((values.len() as u32).to_be_bytes());
        if values.len() == 1 {
            entries.extend(values_bytes);
        } else {
            entries.extend((bytes.len() as u32).to_be_bytes());
            bytes.extend(values_bytes);
        }
    }
    let directory = bytes.len() as u32;
    bytes[4..8].copy_from_slice(&directory.to_be_bytes());
    bytes.extend(entries);
    bytes.extend([0; 4]);
    bytes
}

/// Files of kinds that this crate does not write.
fn foreign_files() -> Vec<(String, Vec<u8>)> {
    let noise = |n: usize| -> Vec<u8> { (0..n).map(|i| (i * i * 7 / 3 % 251) as u8).collect() };
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut file = |name: &str, bytes: Vec<u8>| files.push((name.to_string(), bytes));

    // Palettes with and without transparency, 1 and 4 bits, a transparent colour, 7 passes (Adam7).
    let palette: (&[u8; 4], &[u8]) = (b"PLTE", &[1, 2, 3, 40, 50, 60, 7, 8, 9]);
    let transparent: (&[u8; 4], &[u8]) = (b"tRNS", &[255, 128]);
    file("palette.png", png(3, 2, [8, 3, 0, 0, 0], &[palette], &[0, 0, 1, 2, 0, 2, 1, 0]));
    file("palette-alpha.png", png(3, 2, [8, 3, 0, 0, 0], &[palette, transparent], &[0, 0, 1, 2, 0, 2, 1, 0]));
    file("bits.png", png(5, 2, [1, 0, 0, 0, 0], &[], &[0, 0b1011_0000, 0, 0b0100_1000]));
    file("nibbles.png", png(3, 2, [4, 0, 0, 0, 0], &[], &[0, 0x1f, 0xa0, 2, 0x10, 0x10]));
    file(
        "transparent.png",
        png(2, 1, [8, 2, 0, 0, 0], &[(b"tRNS", &[0, 1, 0, 2, 0, 3])], &[0, 1, 2, 3, 4, 5, 6]),
    );
    file("interlaced.png", png(5, 4, [8, 0, 0, 0, 1], &[], &interlaced(5, 4)));

    // Counting to less than the type can, in text, of 1 bit; values above the maximum.
    file("hundred.pgm", [b"P5\n# a comment\n4 3\n100\n", &noise(12)[..]].concat());
    file("thousand.ppm", [b"P6 2 2 1000\n", &[3, 232, 1, 0, 0, 7].repeat(4)[..]].concat());
    file(
        "deep.pam",
        [
            &b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 2\nMAXVAL 300\nTUPLTYPE GRAYSCALE_ALPHA\nENDHDR\n"[..],
            &[1, 4].repeat(12),
        ]
        .concat(),
    );
    file(
        "bits.pam",
        b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 1\nMAXVAL 1\nTUPLTYPE BLACKANDWHITE\nENDHDR\n\0\x01\x01\0".to_vec(),
    );
    file("text.ppm", b"P3\n2 1\n255\n1 2 3\n4 5 255\n".to_vec());
    file("bits.pbm", b"P4\n9 2\n\xa5\x80\x5a\x00".to_vec());
    file("zero.pgm", b"P5\n0 3\n255\n".to_vec());

    // Strips, one strip, tiles that reach over the edges, planes, white as 0, an extra channel, CMYK, turned.
    let base = |width: u32, height: u32, photometric: u32, samples: u32| {
        vec![
            (256, vec![width]),
            (257, vec![height]),
            (258, vec![8; samples as usize]),
            (259, vec![1]),
            (262, vec![photometric]),
            (277, vec![samples]),
        ]
    };
    let with = |mut tags: Vec<(u16, Vec<u32>)>, more: &[(u16, u32)]| {
        tags.extend(
            more.iter().map(|&(tag, value)| (tag, vec![if tag == 338 { value << 16 } else { value }])),
        );
        tags
    };
    let tiles = [noise(16 * 16 * 3), noise(16 * 16 * 3), noise(16 * 16 * 3 + 5)[5..].to_vec()];
    let tiles: Vec<_> = tiles.iter().cycle().take(6).cloned().collect();
    file("tiles.tif", tiff(&with(base(37, 19, 2, 3), &[(322, 16), (323, 16)]), &tiles, true));
    file("strips.tif", tiff(&with(base(7, 5, 1, 1), &[(278, 2)]), &[noise(14), noise(14), noise(7)], false));
    file("one-strip.tif", tiff(&base(7, 5, 2, 3), &[noise(105)], false));
    file("white.tif", tiff(&with(base(7, 5, 0, 1), &[(278, 5)]), &[noise(35)], false));
    file(
        "planes.tif",
        tiff(&with(base(4, 4, 2, 3), &[(284, 2)]), &[noise(16), noise(17)[1..].to_vec(), noise(16)], false),
    );
    file("extra.tif", tiff(&with(base(4, 4, 2, 4), &[(338, 0)]), &[noise(64)], false));
    file("cmyk.tif", tiff(&base(4, 4, 5, 4), &[noise(64)], false));
    file("turned.tif", tiff(&with(base(7, 5, 1, 1), &[(274, 6)]), &[noise(35)], false));
    file("short.tif", tiff(&with(base(7, 5, 1, 1), &[(278, 2)]), &[noise(14), noise(3)], false));
    for (name, compression, predictor) in [
        ("lzw.tif", Compression::Lzw, Predictor::Horizontal),
        ("deflate.tif", Compression::Deflate(tiff::encoder::DeflateLevel::Fast), Predictor::None),
        ("packbits.tif", Compression::Packbits, Predictor::None),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        let mut encoder =
            TiffEncoder::new_big(&mut bytes).unwrap().with_compression(compression).with_predictor(predictor);
        let values: Vec<u16> = (0..23 * 9 * 3).map(|i| (i * i % 60_013) as u16).collect();
        encoder.write_image::<colortype::RGB16>(23, 9, &values).unwrap();
        file(name, bytes.into_inner());
    }
    let mut bytes = Cursor::new(Vec::new());
    image::write_buffer_with_format(&mut bytes, &[0; 48], 2, 2, ExtendedColorType::Rgb32F, ImageFormat::Tiff)
        .unwrap();
    file("float.tif", bytes.into_inner());
    for (name, format) in [("a.gif", ImageFormat::Gif), ("a.ico", ImageFormat::Ico)] {
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(
            &mut bytes,
            &noise(19 * 23 * 4),
            23,
            19,
            ExtendedColorType::Rgba8,
            format,
        )
        .unwrap();
        file(name, bytes.into_inner());
    }
    file("text.png", b"no picture at all, but long enough".to_vec());
    file("empty.png", Vec::new());
    files
}

/// Scan lines of a grey picture in the seven passes of Adam7 (PNG, section 8): value 16 y + x.
fn interlaced(width: usize, height: usize) -> Vec<u8> {
    let passes =
        [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)];
    let mut lines = Vec::new();
    for (y_0, y_step, x_0, x_step) in passes {
        if x_0 >= width {
            continue;
        }
        for y in (y_0..height).step_by(y_step) {
            lines.push(0);
            lines.extend((x_0..width).step_by(x_step).map(|x| (16 * y + x) as u8));
        }
    }
    lines
}

#[test]
fn by_rows_is_read_image_for_every_format_color_and_depth() {
    let folder = tempfile::tempdir().unwrap();
    let (mut n_read, mut n_refused) = (0, 0);
    for extension in EXTENSIONS {
        let path = folder.path().join(format!("a.{extension}"));
        let format = PictureFormat::from_path(&path).unwrap();
        for color in COLORS {
            for sample_type in [SampleType::U8, SampleType::U16] {
                if format.holds(color, sample_type) {
                    for (rows, columns) in [(13, 37), (1, 1), (50, 2), (400, 700)] {
                        write_image(&path, &picture(rows, columns, color, sample_type)).unwrap();
                        assert!(assert_same(&path, &format!("{extension} {color:?} {sample_type:?}")));
                        n_read += 1;
                    }
                }
            }
        }
    }
    assert_eq!(n_read, 4 * (8 + 2 + 4 + 6 + 3 + 2 + 2 + 4 + 8 + 4 + 2));

    n_read = 0;
    for (name, bytes) in foreign_files() {
        let path = folder.path().join(&name);
        fs::write(&path, bytes).unwrap();
        let read = assert_same(&path, &name);
        println!("{name}: {}", if read { "read" } else { "refused" });
        if read { n_read += 1 } else { n_refused += 1 }
    }
    // Refused: no columns, a strip too few, floats, two that are no pictures.
    assert_eq!((n_read, n_refused), (25, 5));
}

#[test]
fn values_of_foreign_files_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let (_, bytes) = foreign_files().into_iter().find(|(other, _)| other == name).unwrap();
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        by_rows(&path, &Limits::default()).unwrap().into_samples()
    };
    let expected = (0..4).flat_map(|y| (0..5).map(move |x| 16 * y + x)).collect();
    assert_eq!(read("interlaced.png"), Samples::U8(expected));
    assert_eq!(
        read("palette-alpha.png"),
        Samples::U8(
            [
                [1, 2, 3, 255],
                [40, 50, 60, 128],
                [7, 8, 9, 255],
                [7, 8, 9, 255],
                [40, 50, 60, 128],
                [1, 2, 3, 255]
            ]
            .concat()
        )
    );
    // 1000 of 1000 is white; 256 of 1000 is 16776.96, 7 is 458.745.
    assert_eq!(read("thousand.ppm"), Samples::U16([65535, 16777, 459].repeat(4)));
    // The second row of tiles is the third, fourth, ... of them; a tile has 16 x 16 pixels.
    let Samples::U8(values) = read("tiles.tif") else { panic!("8 bits") };
    let noise = |i: usize| (i * i * 7 / 3 % 251) as u8;
    for (y, x, c) in [(0, 0, 0), (15, 15, 2), (3, 20, 1), (18, 36, 2), (17, 33, 0), (2, 35, 1)] {
        let tile = y / 16 * 3 + x / 16;
        let at = (y % 16 * 16 + x % 16) * 3 + c + if tile % 3 == 2 { 5 } else { 0 };
        assert_eq!(values[(y * 37 + x) * 3 + c], noise(at), "row {y}, column {x}, channel {c}");
    }
}

#[test]
fn a_picture_that_is_read_by_rows_needs_no_memory_of_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let signal = picture(1500, 700, ColorType::Rgb, SampleType::U8);
    // Strips of about a megabyte, of three.
    let limits = Limits { max_alloc_bytes: 1_100_000, ..Limits::default() };
    let mut n_rows = 0;
    for extension in ["png", "tif", "ppm", "pam", "jpg", "webp", "bmp", "tga", "qoi"] {
        let path = folder.path().join(format!("a.{extension}"));
        write_image(&path, &signal).unwrap();
        assert!(matches!(read_image(&path, &limits), Err(MediaError::TooLarge { .. })), "{extension}");
        match by_rows(&path, &limits) {
            Ok(read) => {
                assert!(read == signal, "{extension}: values differ");
                n_rows += 1;
            }
            Err(error) => {
                assert!(["jpg", "webp", "bmp", "tga", "qoi"].contains(&extension), "{extension}: {error}");
                assert!(matches!(error, MediaError::TooLarge { .. }), "{extension}: {error}");
            }
        }
        let limits = Limits { max_width: 699, ..limits };
        assert!(matches!(open_picture(&path, &limits), Err(MediaError::TooLarge { .. })), "{extension}");
    }
    assert_eq!(n_rows, 4);
    let limits = Limits { max_alloc_bytes: 2099, ..Limits::default() };
    let refused = open_picture(&folder.path().join("a.png"), &limits).err().map(|error| error.to_string());
    assert!(refused.unwrap().contains("2099 bytes"));
}

#[test]
fn cut_and_changed_files_are_refused_as_by_read_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut files = foreign_files();
    for extension in EXTENSIONS {
        let path = folder.path().join(format!("a.{extension}"));
        let format = PictureFormat::from_path(&path).unwrap();
        for (color, sample_type) in [(ColorType::Rgb, SampleType::U8), (ColorType::Gray, SampleType::U16)] {
            if format.holds(color, sample_type) {
                write_image(&path, &picture(19, 23, color, sample_type)).unwrap();
                files.push((format!("{extension} {sample_type:?}"), fs::read(&path).unwrap()));
            }
        }
    }
    let (mut n_cut, mut n_cut_read, mut n_changed, mut state) = (0, 0, 0, 1u64);
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    // A new file each time: some file systems wait for the disk when one is truncated and written anew.
    let replace = |bytes: &[u8]| {
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
    };
    for (name, bytes) in &files {
        for n in (0..bytes.len()).step_by(bytes.len() / 60 + 1) {
            replace(&bytes[..n]);
            n_cut_read +=
                usize::from(assert_same(&path, &format!("{name} cut to {n} of {} bytes", bytes.len())));
            n_cut += 1;
        }
        for round in 0..60 {
            let mut changed = bytes.clone();
            if !changed.is_empty() {
                let reach = if round % 2 == 0 { changed.len() } else { changed.len().min(64) };
                let at = random(reach);
                changed[at] = random(256) as u8;
                replace(&changed);
                let small = Limits { max_alloc_bytes: 1 << 20, ..Limits::default() };
                // A header that claims too much may be one that is read by rows.
                if !matches!(read_image(&path, &small), Err(MediaError::TooLarge { .. })) {
                    assert_same(&path, &format!("{name} with byte {at} changed to {}", changed[at]));
                    n_changed += 1;
                }
            }
        }
    }
    println!("{n_cut} cut ({n_cut_read} read), {n_changed} changed");
    assert!(n_cut > 1000 && n_changed > 1500 && n_cut_read < n_cut / 10);
}

#[test]
fn an_enormous_picture_is_opened_and_its_lack_of_rows_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let start = std::time::Instant::now();
    let line = vec![0; 60_001];
    fs::write(&path, png(60_000, 100_000, [8, 0, 0, 0, 0], &[], &line)).unwrap();
    let mut reader = open_picture(&path, &Limits::default()).unwrap();
    assert_eq!(reader.info().extents, [100_000, 60_000]);
    assert_eq!(reader.read(1).unwrap(), Samples::U8(vec![0; 60_000]));
    let error = reader.read(1).unwrap_err();
    assert!(matches!(error, MediaError::Damaged { .. }), "{error}");
    fs::write(&path, png(100_001, 1, [8, 0, 0, 0, 0], &[], &line)).unwrap();
    assert!(matches!(open_picture(&path, &Limits::default()), Err(MediaError::TooLarge { .. })));
    fs::write(&path, b"P6\n65000 65000\n255\n").unwrap();
    assert!(open_picture(&path, &Limits::default()).is_err_and(|error| error.is_bad_input()));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn missing_files_and_folders_are_refused_as_by_read_image() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("none.png")] {
        let whole = read_image(&path, &Limits::default()).unwrap_err().to_string();
        assert_eq!(open_picture(&path, &Limits::default()).err().unwrap().to_string(), whole);
    }
}

/// Writes the rows in pieces of 1, 2, 3, ... of them.
fn write_rows(path: &Path, signal: &Signal) -> Result<(), MediaError> {
    let mut writer = create_picture(path, signal.info())?;
    let mut rows = MemoryReader::new(signal.info().clone(), signal.samples().clone());
    let (mut left, mut n) = (signal.info().extents[0], 1);
    while left > 0 {
        writer.write(&rows.read(n.min(left))?)?;
        left -= n.min(left);
        n += 1;
    }
    writer.finish()
}

#[test]
fn written_by_rows_is_written_whole_for_every_format_color_and_depth() {
    let folder = tempfile::tempdir().unwrap();
    let (mut n_written, mut n_refused) = (0, 0);
    for extension in EXTENSIONS {
        let whole = folder.path().join(format!("whole.{extension}"));
        let rows = folder.path().join(format!("rows.{extension}"));
        let format = PictureFormat::from_path(&whole).unwrap();
        for color in COLORS {
            for sample_type in [SampleType::U8, SampleType::U16] {
                for (n_rows, n_columns) in [(13, 37), (1, 1), (500, 701)] {
                    let signal = picture(n_rows, n_columns, color, sample_type);
                    if format.holds(color, sample_type) {
                        write_image(&whole, &signal).unwrap();
                        write_rows(&rows, &signal).unwrap();
                        let case = format!("{extension} {color:?} {sample_type:?} {n_columns} x {n_rows}");
                        assert!(
                            fs::read(&whole).unwrap() == fs::read(&rows).unwrap(),
                            "{case}: files differ"
                        );
                        n_written += 1;
                    } else {
                        let error = create_picture(&rows, signal.info()).err().unwrap();
                        assert!(matches!(error, MediaError::CannotHold { .. }), "{error}");
                        n_refused += 1;
                    }
                }
            }
        }
        fs::remove_file(&whole).unwrap();
        fs::remove_file(&rows).unwrap();
    }
    assert_eq!(n_written, 3 * (8 + 2 + 4 + 6 + 3 + 2 + 2 + 4 + 8 + 4 + 2));
    assert_eq!(n_written + n_refused, 3 * 11 * 8);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "temporary files are left");
}

#[test]
fn a_picture_that_is_given_up_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = || fs::read_dir(folder.path()).unwrap().count();
    let signal = picture(40, 30, ColorType::Rgb, SampleType::U8);
    let row = signal.samples().slice(0..90);
    let mut n_cases = 0;
    for extension in ["png", "tif", "ppm", "pam", "jpg", "webp", "bmp", "tga", "qoi"] {
        let path = folder.path().join(format!("a.{extension}"));
        fs::write(&path, "before").unwrap();

        let mut writer = create_picture(&path, signal.info()).unwrap();
        writer.write(&row).unwrap();
        drop(writer);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"before".to_vec(), 1), "{extension}: part");

        let mut writer = create_picture(&path, signal.info()).unwrap();
        writer.write(signal.samples()).unwrap();
        drop(writer);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"before".to_vec(), 1), "{extension}: all rows");

        let mut writer = create_picture(&path, signal.info()).unwrap();
        writer.write(&row).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(error.to_string().contains("need 3600 values, not 90"), "{extension}: {error}");

        let mut writer = create_picture(&path, signal.info()).unwrap();
        writer.write(signal.samples()).unwrap();
        let error = writer.write(&row).unwrap_err();
        assert!(error.to_string().contains("need 3600 values, not 3690"), "{extension}: {error}");
        drop(writer);

        let mut writer = create_picture(&path, signal.info()).unwrap();
        assert!(writer.write(&Samples::U16(vec![0; 90])).is_err(), "{extension}: another type");
        drop(writer);
        assert_eq!((fs::read(&path).unwrap(), names()), (b"before".to_vec(), 1), "{extension}: refused");
        fs::remove_file(&path).unwrap();
        n_cases += 5;
    }
    assert_eq!(n_cases, 45);
    let error = create_picture(&folder.path().join("nowhere").join("a.png"), signal.info()).err().unwrap();
    assert!(error.is_write_failure() && error.to_string().contains("create it first"), "{error}");
    let error = create_picture(folder.path(), signal.info()).err().unwrap();
    assert!(matches!(error, MediaError::UnknownExtension { .. }), "{error}");
}

/// A full disk is told by the write or by the finish.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_write_failure() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        println!("skipped: there is no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for name in ["a.png", "a.tif", "a.ppm", "a.bmp"] {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink(full, &path).unwrap();
        let error = write_rows(&path, &picture(900, 700, ColorType::Rgb, SampleType::U8)).unwrap_err();
        assert!(error.is_write_failure(), "{name}: {error}");
        assert!(error.to_string().contains("No space left"), "{name}: {error}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}
