//! Version 2 of the file: metadata, chunks, the index; damage at every byte.

use std::io::Cursor;

use asmr::file::{AsmrFile, AsmrReader, AsmrWriter, Encoding, FileError, FileHeader, FitRecord, Limits};
use asmr::inference::{Decoder, Request};
use asmr::metadata::{Audio, AudioContainer, Media, Shape, ShapeField, Video, Volume, VolumeContainer};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::signal::{ColorType, SampleType, SignalInfo, ValueRange};

fn audio() -> Media {
    Media::Audio(Audio { sample_rate: 44_100, bits_per_sample: 16, container: AudioContainer::Wav, start: 7 })
}

/// A recording of 50 samples in chunks of 24, with bases 4 and 6.
fn recording() -> (FileHeader, Vec<Network>) {
    let signal = SignalInfo {
        value_range: Some(ValueRange::of(-300.0, 500.0)),
        media: audio(),
        ..SignalInfo::plain(vec![50], 2, SampleType::I16, None)
    };
    let partition = Partition::new(&[24], &[vec![4, 6]]).unwrap();
    let network =
        NetworkConfig { partition, channels: 2, width: 5, omega_0: 30.0, modulator: Modulator::Linear };
    let mut fit = FitRecord::new();
    fit.insert("steps", 10);
    let header = FileHeader {
        signal,
        chunk_extent: 24,
        network,
        encoding: Encoding::F32,
        max_error: None,
        refinements: Vec::new(),
        fit: Some(fit),
    };
    let networks: Vec<_> =
        (0..3).map(|chunk| Network::init(header.chunk_config(chunk), chunk as u64, 1.0).unwrap()).collect();
    (header, networks)
}

fn written(header: &FileHeader, networks: &[Network]) -> Vec<u8> {
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    for network in networks {
        writer.push(network, None).unwrap();
    }
    let (cursor, n_bytes) = writer.finish().unwrap();
    assert_eq!(n_bytes, cursor.get_ref().len() as u64);
    cursor.into_inner()
}

fn open(bytes: &[u8]) -> Result<AsmrReader<Cursor<&[u8]>>, FileError> {
    AsmrReader::open(Cursor::new(bytes), &Limits::default())
}

/// Everything that a reader can get, or the first error.
fn read_all(bytes: &[u8]) -> Result<(FileHeader, Vec<Network>), FileError> {
    let mut reader = open(bytes)?;
    let header = reader.header().clone();
    let networks = (0..header.n_chunks()).map(|chunk| reader.network(chunk)).collect::<Result<_, _>>()?;
    Ok((header, networks))
}

/// The bytes, put together by hand from FORMAT.md.
#[test]
fn layout_is_that_of_the_format_page() {
    let (header, networks) = recording();
    let json = concat!(
        r#"{"signal":{"extents":[50],"channels":2,"sample_type":"i16","color":null,"value_range":[-300.0,500.0],"#,
        r#""media":{"kind":"audio","sample_rate":44100,"bits_per_sample":16,"container":"wav","start":7}},"#,
        r#""network":{"partition":{"extents":[24],"bases":[[4,6]]},"channels":2,"width":5,"omega_0":30.0,"modulator":"linear"},"#,
        r#""chunks":{"encoding":"f32","extent":24,"n":3},"fit":{"steps":10}}"#,
    );
    let mut json = json.as_bytes().to_vec();
    while !json.len().is_multiple_of(8) {
        json.push(b' ');
    }
    let mut expected = vec![0xA5, b'A', b'S', b'M', b'R', b'\r', b'\n', b'\n', 2, 0, 0, 0];
    expected.extend((json.len() as u32).to_le_bytes());
    expected.extend(crc32fast::hash(&json).to_le_bytes());
    expected.extend(crc32fast::hash(&expected).to_le_bytes());
    expected.extend(&json);
    // 5·1 + 5 of the layer, 5·1 of the modulator, 2·5 + 2 of the output.
    let n_bytes = 4 * (5 + 5 + 5 + 10 + 2);
    let first = expected.len() as u64 + 3 * 24 + 8;
    let chunks: Vec<Vec<u8>> =
        networks.iter().map(|n| n.params().iter().flat_map(|w| w.to_le_bytes()).collect()).collect();
    let mut index = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(chunk.len(), n_bytes);
        index.extend((first + (i * n_bytes) as u64).to_le_bytes());
        index.extend((n_bytes as u64).to_le_bytes());
        index.extend(crc32fast::hash(chunk).to_le_bytes());
        index.extend([0; 4]);
    }
    let checksum = crc32fast::hash(&index);
    expected.extend(index);
    expected.extend(checksum.to_le_bytes());
    expected.extend([0; 4]);
    expected.extend(chunks.concat());
    assert_eq!(written(&header, &networks), expected);
}

#[test]
fn chunks_come_back_in_any_order() {
    let (header, networks) = recording();
    let bytes = written(&header, &networks);
    let mut reader = open(&bytes).unwrap();
    assert_eq!(*reader.header(), header);
    assert_eq!(reader.version(), 2);
    assert_eq!(header.n_chunks(), 3);
    assert_eq!(header.chunk_range(2), 48..50);
    assert_eq!(header.chunk_signal(2).extents, [2]);
    for chunk in [2, 0, 1, 2] {
        assert_eq!(reader.network(chunk).unwrap(), networks[chunk]);
    }
    // The last chunk's network decodes its own two samples only.
    let mut out = [0.0f32; 4];
    let whole = Request::whole(&networks[2].config().partition);
    Decoder::new(&networks[2]).decode(&whole, &mut out).unwrap();
    assert!(matches!(reader.into_file(), Err(FileError::Sequence { n_chunks: 3 })));
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (header, networks) = recording();
    let bytes = written(&header, &networks);
    assert_eq!(read_all(&bytes).unwrap(), (header, networks));
    let mut n_cases = 0;
    for at in 0..bytes.len() {
        assert!(read_all(&bytes[..at]).is_err(), "cut at byte {at}");
        for bit in [0, 3, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read_all(&damaged).is_err(), "bit {bit} of byte {at}");
            n_cases += 1;
        }
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(read_all(&longer), Err(FileError::TrailingBytes { .. })));
    assert_eq!(n_cases, 3 * bytes.len());
}

#[test]
fn an_unfinished_file_is_none_and_can_be_gone_on_with() {
    let (header, networks) = recording();
    let expected = written(&header, &networks);
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    writer.push(&networks[0], None).unwrap();
    writer.push(&networks[1], None).unwrap();
    let first = writer.chunk(0).unwrap();
    assert_eq!((first.network, first.steps), (networks[0].clone(), None));
    let chunks = writer.written();
    let mut unfinished = writer.flush().unwrap().get_ref().clone();
    assert!(read_all(&unfinished).is_err());
    // A kill in the middle of the third chunk leaves some bytes of it.
    unfinished.extend([1, 2, 3]);
    let mut resumed = AsmrWriter::resume(Cursor::new(unfinished.clone()), header.clone(), &chunks).unwrap();
    assert_eq!(resumed.n_written(), 2);
    resumed.push(&networks[2], None).unwrap();
    let (cursor, n_bytes) = resumed.finish().unwrap();
    assert_eq!(cursor.get_ref()[..n_bytes as usize], expected);

    let damaged = |at: usize| {
        let mut bytes = unfinished.clone();
        bytes[at] ^= 1;
        AsmrWriter::resume(Cursor::new(bytes), header.clone(), &chunks).map(|_| ())
    };
    assert!(matches!(damaged(30), Err(FileError::Damaged { .. })));
    assert!(matches!(damaged(unfinished.len() - 10), Err(FileError::Damaged { .. })));
    // What is begun otherwise is told from what is damaged, whether its header has the same length or not.
    let mut n_cases = 0;
    for width in [6, 100] {
        let mut other = header.clone();
        other.network.width = width;
        let refused = AsmrWriter::resume(Cursor::new(unfinished.clone()), other, &chunks).map(|_| ());
        assert!(matches!(refused, Err(FileError::Inconsistent(_))), "{width}: {refused:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}

#[test]
fn wrong_networks_are_refused() {
    let (header, networks) = recording();
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    // The last chunk's is shorter.
    assert!(writer.push(&networks[2], None).is_err());
    assert!(writer.finish().is_err());
    for extent in [0, 51] {
        let wrong = FileHeader { chunk_extent: extent, ..header.clone() };
        assert!(AsmrWriter::new(Cursor::new(Vec::new()), wrong).is_err(), "{extent}");
    }
}

/// One network with each kind of metadata, by way of `AsmrFile`.
#[test]
fn metadata_comes_back() {
    let video = Media::Video(Video { rate: [30_000, 1001], first_frame: 5 });
    let volume = Media::Volume(Volume {
        container: VolumeContainer::Nifti,
        spacing: vec![1.5, 0.957, 0.957],
        unit: "mm".to_owned(),
        header: "5c010000".to_owned() + &"0f".repeat(344),
        array: String::new(),
        big_endian: true,
    });
    let shape = Media::Shape(Shape {
        field: ShapeField::Distance,
        origin: [-1.25, 0.1, 3.0],
        spacing: 0.01,
        truncation: 0.04,
        is_closed: false,
    });
    let range = |low, high| Some(ValueRange::of(low, high));
    let cases = [
        (vec![9], 2, SampleType::F32, None, range(-1.0, 0.5), audio()),
        (vec![3, 4, 5], 3, SampleType::U8, Some(ColorType::Rgb), None, video),
        (vec![3, 4, 5], 1, SampleType::I16, None, range(-1024.0, 3071.0), volume),
        (vec![4, 4, 4], 1, SampleType::F32, None, range(-0.04, 0.04), shape),
        (vec![6, 6], 1, SampleType::F64, None, range(0.0, 1e-9), Media::Plain),
        (vec![6], 1, SampleType::U32, None, range(4e9, 4e9 + 5.0), Media::Plain),
    ];
    for (extents, channels, sample_type, color, value_range, media) in cases.clone() {
        let bases: Vec<_> = extents.iter().map(|_| vec![3, 3]).collect();
        let partition = Partition::new(&extents, &bases).unwrap();
        let config =
            NetworkConfig { partition, channels, width: 4, omega_0: 30.0, modulator: Modulator::Table };
        let signal =
            SignalInfo { value_range, media, ..SignalInfo::plain(extents, channels, sample_type, color) };
        let file =
            AsmrFile { signal, network: Network::init(config, 1, 1.0).unwrap(), steps: None, fit: None };
        let bytes = file.to_bytes().unwrap();
        assert_eq!(bytes[8], 2);
        assert_eq!(file.n_bytes().unwrap(), bytes.len() as u64);
        assert_eq!(AsmrFile::read_from_bytes(&bytes, &Limits::default()).unwrap(), file);
        assert_eq!(open(&bytes).unwrap().into_file().unwrap(), file);
        let mut stream = Vec::new();
        file.write_to(&mut stream).unwrap();
        assert_eq!(stream, bytes);
    }
    assert_eq!(cases.len(), 6);
}

#[test]
fn contradicting_metadata_is_refused() {
    let info = |extents: Vec<usize>, sample_type, media| SignalInfo {
        value_range: Some(ValueRange::of(0.0, 1.0)),
        media,
        ..SignalInfo::plain(extents, 1, sample_type, None)
    };
    let refused = [
        // Two axes of sound; a film without colour; a range past the type; a type without a range; NaN.
        info(vec![3, 3], SampleType::I16, audio()),
        info(vec![3, 3, 3], SampleType::U8, Media::Video(Video { rate: [25, 1], first_frame: 0 })),
        SignalInfo { value_range: Some([0.0, 300.0].into()), ..info(vec![3], SampleType::U8, Media::Plain) },
        SignalInfo { value_range: None, ..info(vec![3], SampleType::I16, Media::Plain) },
        SignalInfo {
            value_range: Some([f64::NAN, 1.0].into()),
            ..info(vec![3], SampleType::F32, Media::Plain)
        },
        SignalInfo { value_range: Some([1.0, 1.0].into()), ..info(vec![3], SampleType::F32, Media::Plain) },
    ];
    for info in &refused {
        assert!(info.validate().is_err(), "{info:?}");
    }
    assert_eq!(refused.len(), 6);
}

/// A range's span is a normal number, 2^-1022 at least: a smaller one may have no finite reciprocal, a larger one may be none.
#[test]
fn the_span_of_a_range_is_a_normal_number() {
    let info = |sample_type, low: f64, high: f64| SignalInfo {
        value_range: Some([low, high].into()),
        ..SignalInfo::plain(vec![3], 1, sample_type, None)
    };
    let least = 2f64.powi(-1022);
    let mut n_cases = 0;
    for (low, high) in [(0.0, least), (-least, 0.0), (least, 2.0 * least), (f64::MIN / 2.0, f64::MAX / 2.0)] {
        assert!(info(SampleType::F64, low, high).validate().is_ok(), "{low:e} to {high:e}");
        n_cases += 1;
    }
    for (low, high, shown) in [
        (0.0, least.next_down(), "0 to 2.225073858507201e-308"),
        (0.0, 5e-324, "0 to 5e-324"),
        (least, 1.5 * least, "2.2250738585072014e-308 to 3.337610787760802e-308"),
        (-1.7e308, 1.7e308, "-1.7e308 to 1.7e308"),
        (2.5, 0.5, "2.5 to 0.5"),
    ] {
        let error = info(SampleType::F64, low, high).validate().unwrap_err().to_string();
        assert!(error.contains(&format!("the value range is {shown};")), "{error}");
        n_cases += 1;
    }
    // What is subnormal as f32 is normal in double precision.
    assert!(info(SampleType::F32, 0.0, f64::from(f32::from_bits(1))).validate().is_ok());
    assert_eq!(n_cases, 9);
}

/// NIfTI-1's header has 348 bytes, or is not kept.
#[test]
fn a_nifti_header_has_its_length() {
    let info = |container, header: String| SignalInfo {
        media: Media::Volume(Volume {
            container,
            spacing: Vec::new(),
            unit: String::new(),
            header,
            array: String::new(),
            big_endian: false,
        }),
        ..SignalInfo::plain(vec![3, 4], 1, SampleType::U8, None)
    };
    for n_bytes in [0, 348] {
        assert!(info(VolumeContainer::Nifti, "a0".repeat(n_bytes)).validate().is_ok(), "{n_bytes}");
    }
    for n_bytes in [1, 4, 347, 349, 352, 540] {
        let error = info(VolumeContainer::Nifti, "a0".repeat(n_bytes)).validate().unwrap_err().to_string();
        assert!(error.contains(&format!("{n_bytes} bytes")) && error.contains("348"), "{error}");
    }
    assert!(info(VolumeContainer::Raw, "a0".to_owned()).validate().is_ok());
    assert!(info(VolumeContainer::Raw, "a0b".to_owned()).validate().is_err());
}

/// Version 1 still is what plain pictures are written as, and what it cannot hold is not read from it.
#[test]
fn version_1_has_no_metadata() {
    let partition = Partition::new(&[4], &[vec![2, 2]]).unwrap();
    let config =
        NetworkConfig { partition, channels: 1, width: 2, omega_0: 30.0, modulator: Modulator::Linear };
    let network = Network::init(config, 1, 1.0).unwrap();
    let file = AsmrFile {
        signal: SignalInfo::plain(vec![4], 1, SampleType::F32, None),
        network,
        steps: None,
        fit: None,
    };
    let bytes = file.to_bytes().unwrap();
    assert_eq!(bytes[8], 1);
    assert_eq!(open(&bytes).unwrap().into_file().unwrap(), file);
    let header_len = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[24..24 + header_len]).unwrap();
    let changed = text.replace(r#""color":null"#, r#""color":null,"value_range":[0.0,2.0]"#);
    let mut header = changed.trim_end().as_bytes().to_vec();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut other = bytes[..12].to_vec();
    other.extend((header.len() as u32).to_le_bytes());
    other.extend(crc32fast::hash(&header).to_le_bytes());
    other.extend(crc32fast::hash(&other).to_le_bytes());
    other.extend(header);
    other.extend(&bytes[24 + header_len..bytes.len() - 4]);
    other.extend(crc32fast::hash(&other).to_le_bytes());
    assert!(matches!(open(&other), Err(FileError::Header(_))));
}

/// Signals of one value have a range that their type has, up to its ends.
#[test]
fn constant_signals_have_ranges() {
    let f32_max = f64::from(f32::MAX);
    let cases = [
        (SampleType::F32, vec![0.0, -3.5, 1e30, f32_max, -f32_max]),
        (SampleType::F64, vec![0.0, 1e-300, 9_007_199_254_740_992.0, f64::MAX, -f64::MAX]),
        (SampleType::I32, vec![f64::from(i32::MAX), f64::from(i32::MIN)]),
        (SampleType::U32, vec![f64::from(u32::MAX)]),
    ];
    let mut n_values = 0;
    for (sample_type, values) in cases {
        for value in values {
            let range = ValueRange::of(value, value);
            let info =
                SignalInfo { value_range: Some(range), ..SignalInfo::plain(vec![3], 1, sample_type, None) };
            assert_eq!(info.validate().map_err(|error| error.to_string()), Ok(()), "{value:e}");
            assert!(range.low() == value || range.high() == value, "{value:e}");
            assert!(
                range.span() > 0.0 && range.span().is_finite() && range.span().recip().is_finite(),
                "{value:e}"
            );
            n_values += 1;
        }
    }
    assert_eq!(n_values, 13);
}
