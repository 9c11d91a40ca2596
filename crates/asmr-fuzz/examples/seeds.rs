//! Writes the seeds of the fuzzers to a folder: `cargo run --release -p asmr-fuzz --example seeds -- fuzz/seeds`.
//!
//! All are made by this project's own writers, or are small files that its tests have anyway. What is there stays, except
//! files of the same names.

use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use asmr::coding::{QuantisedWeights, Step, TensorSteps};
use asmr::file::{
    AsmrFile, AsmrReader, AsmrWriter, Encoding, FileHeader, FitRecord, Limits, write_progressive,
};
use asmr::inference::thumbnail_factors;
use asmr::interchange::export;
use asmr::metadata::{Audio, AudioContainer, Media, Shape, ShapeField, Video, Volume, VolumeContainer};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::residual::{self, MaxError};
use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo, ValueRange};
use asmr_media::{Mesh, create_audio, create_video, write_image, write_mesh};
use image::{ExtendedColorType, ImageFormat};

struct Seeds(PathBuf);

impl Seeds {
    fn put(&self, target: &str, name: &str, bytes: &[u8]) {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }

    fn fixtures(&self, target: &str, folder: &str, names: &[&str]) {
        for name in names {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../asmr-media/tests").join(folder).join(name);
            self.put(target, name, &fs::read(path).unwrap());
        }
    }
}

fn main() {
    let seeds = Seeds(std::env::args_os().nth(1).expect("the folder to write to").into());
    files(&seeds);
    pictures(&seeds);
    sound(&seeds);
    films(&seeds);
    volumes(&seeds);
    meshes(&seeds);
    weights(&seeds);
    checkpoints(&seeds);
    options(&seeds);
}

fn config(
    extents: &[usize],
    bases: &str,
    channels: usize,
    width: usize,
    modulator: Modulator,
) -> NetworkConfig {
    let bases = asmr::partition::parse_bases(bases).unwrap();
    NetworkConfig {
        partition: Partition::new(extents, &bases).unwrap(),
        channels,
        width,
        omega_0: 30.0,
        modulator,
    }
}

/// A network of multiples of steps.
fn coded(config: &NetworkConfig, seed: u64) -> (Network, Vec<TensorSteps>) {
    let network = Network::init(config.clone(), seed, 1.0).unwrap();
    let steps: Vec<TensorSteps> = config
        .tensors()
        .iter()
        .enumerate()
        .map(|(i, tensor)| {
            let finest = Step::at_most(0.004 * (i + 1) as f64);
            let grades = |n: usize| (0..n).map(|k| (k * (i + 1) % 5) as u8).collect();
            match tensor.shape[..] {
                [m, n] => TensorSteps { finest, rows: grades(m), columns: grades(n) },
                _ => TensorSteps::uniform(finest),
            }
        })
        .collect();
    let weights = QuantisedWeights::nearest(config, steps.clone(), network.params());
    (Network::new(config.clone(), weights.weights(config)).unwrap(), steps)
}

/// A file with corrections of residuals that are as good as any.
fn corrected(header: &FileHeader) -> Vec<u8> {
    let bound = header.max_error.unwrap().coded();
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
    for chunk in 0..header.n_chunks() {
        let (network, steps) = coded(&header.chunk_config(chunk), 3);
        let info = header.chunk_signal(chunk);
        let residuals: Vec<i64> = (0..info.n_values().unwrap() as i64).map(|i| i * i % 13 - 6).collect();
        let slab = residual::encode(&info, info.extents[0], &residuals, bound);
        writer.push_corrected(&network, Some(&steps), Some(&[slab])).unwrap();
    }
    writer.finish().unwrap().0.into_inner()
}

/// The file in progressive order.
fn progressive(bytes: &[u8]) -> Vec<u8> {
    let mut reader = AsmrReader::open(Cursor::new(bytes), &Limits::default()).unwrap();
    let passes = &mut |network: &Network, weights: &QuantisedWeights| {
        weights.nearest_passes(network.config(), &[2, 1])
    };
    write_progressive(&mut reader, &[2, 1], passes, Cursor::new(Vec::new())).unwrap().0.into_inner()
}

fn files(seeds: &Seeds) {
    let put = |name: &str, bytes: &[u8]| {
        seeds.put("reader", name, bytes);
        let parts = asmr_fuzz::parts(bytes).unwrap();
        seeds.put("header", name, &parts);
        // The first chunk as a thumbnail if it has one; then a part of the last one, with products in 16 bits.
        let limits = Limits { max_values: u64::MAX, ..Limits::default() };
        let header = AsmrReader::open(Cursor::new(bytes), &limits).unwrap().header().clone();
        let request = |chunk: usize, precision, factor: usize, is_part: bool| {
            let extents = header.chunk_signal(chunk).extents;
            let mut request = vec![chunk as u8, precision, factor as u8, 0];
            for axis in 0..4 {
                // Of a large one, not all.
                let extent = u8::try_from(extents.get(axis).copied().unwrap_or(1)).unwrap_or(50);
                let start = if is_part { extent / 3 } else { 0 };
                request.extend([start, 0, extent, 0]);
            }
            request
        };
        let factor = thumbnail_factors(&header.chunk_config(0).partition).pop().unwrap_or(1);
        let last = header.n_chunks() - 1;
        seeds.put("decoder", &format!("{name}-whole"), &[&request(0, 0, factor, false)[..], &parts].concat());
        seeds.put("decoder", &format!("{name}-part"), &[&request(last, 1, 1, true)[..], &parts].concat());
        if header.encoding == Encoding::Coded {
            // Its codes as bytes that weights are drawn from.
            seeds.put(
                "decoder",
                &format!("{name}-drawn"),
                &[&request(0, 128, 1, false)[..], &parts].concat(),
            );
        }
        // From the middle of each axis on, told as a part of its extent.
        let mut from_middle = vec![last as u8, 64, 1, 0];
        from_middle.extend([0, 128, 1, 0].repeat(4));
        seeds.put("decoder", &format!("{name}-scaled"), &[&from_middle[..], &parts].concat());
    };
    let mut fit = FitRecord::new();
    fit.insert("steps", 10);
    fit.insert("rate", 1e-3);
    let plain = |extents: &[usize], channels, sample_type, color| {
        SignalInfo::plain(extents.to_vec(), channels, sample_type, color)
    };
    let picture = plain(&[12, 10], 3, SampleType::U8, Some(ColorType::Rgb));
    for (name, modulator, fit) in [
        ("picture-linear", Modulator::Linear, Some(fit.clone())),
        ("picture-nonlinear", Modulator::Nonlinear, None),
        ("picture-table", Modulator::Table, None),
    ] {
        let config = config(&[12, 10], "3,4;2,6", 3, 4, modulator);
        let network = Network::init(config, 1, 1.0).unwrap();
        let file = AsmrFile { signal: picture.clone(), network, steps: None, fit };
        put(name, &file.to_bytes().unwrap());
    }
    let (network, steps) = coded(&config(&[12, 10], "3,2,2;2,2,3", 3, 5, Modulator::Linear), 2);
    let file = AsmrFile { signal: picture.clone(), network, steps: Some(steps), fit: Some(fit.clone()) };
    put("picture-coded", &file.to_bytes().unwrap());
    for (name, modulator) in [("nonlinear", Modulator::Nonlinear), ("table", Modulator::Table)] {
        let config = config(&[12, 10], "3,4;2,6", 3, 3, modulator);
        let (network, steps) = coded(&config, 4);
        let file = AsmrFile { signal: picture.clone(), network, steps: Some(steps), fit: None };
        put(&format!("picture-{name}-coded"), &file.to_bytes().unwrap());
        let header = FileHeader {
            encoding: Encoding::Coded,
            max_error: Some(MaxError::Whole(2)),
            ..FileHeader::single(picture.clone(), config, None)
        };
        put(&format!("picture-{name}-corrected"), &corrected(&header));
    }
    // A file of extents that no memory holds, whose weights are few.
    let large = config(&[100_000, 100_000], "20,20,25,10;20,20,25,10", 1, 3, Modulator::Linear);
    let signal = plain(&[100_000, 100_000], 1, SampleType::U8, Some(ColorType::Gray));
    let network = Network::init(large, 5, 1.0).unwrap();
    let file = AsmrFile { signal, network, steps: None, fit: None };
    put("picture-large", &file.to_bytes().unwrap());

    let volume = |container| {
        Media::Volume(Volume {
            container,
            spacing: vec![1.5, 0.5, 0.5],
            unit: "mm".to_owned(),
            header: String::new(),
            array: String::new(),
            big_endian: container == VolumeContainer::Raw,
        })
    };
    let audio = Audio { sample_rate: 44_100, bits_per_sample: 16, container: AudioContainer::Wav, start: 7 };
    let shape = Shape {
        field: ShapeField::Distance,
        origin: [0.0, -1.0, 0.5],
        spacing: 0.25,
        truncation: 1.0,
        is_closed: true,
    };
    let of = |info: SignalInfo, low, high, media| SignalInfo {
        value_range: Some(ValueRange::of(low, high)),
        media,
        ..info
    };
    let signals = [
        ("sound", of(plain(&[50], 2, SampleType::I16, None), -300.0, 500.0, Media::Audio(audio)), 24, "4,6"),
        (
            "film",
            of(
                plain(&[5, 4, 4], 1, SampleType::U8, Some(ColorType::Gray)),
                0.0,
                255.0,
                Media::Video(Video { rate: [25, 1], first_frame: 3 }),
            ),
            2,
            "1,2;2,2;2,2",
        ),
        (
            "film-without-range",
            SignalInfo {
                media: Media::Video(Video { rate: [30_000, 1001], first_frame: 0 }),
                ..plain(&[3, 4, 4], 3, SampleType::U8, Some(ColorType::Rgb))
            },
            2,
            "1,2;2,2;2,2",
        ),
        (
            "volume",
            of(plain(&[4, 4, 6], 1, SampleType::F64, None), -1e3, 1e3, volume(VolumeContainer::Raw)),
            4,
            "2,2;2,2;2,3",
        ),
        (
            "shape",
            of(plain(&[4, 4, 4], 1, SampleType::F32, None), -1.0, 1.0, Media::Shape(shape)),
            4,
            "2,2;2,2;2,2",
        ),
        (
            "four-axes",
            of(plain(&[2, 3, 2, 4], 2, SampleType::U32, None), 0.0, 4e9, Media::Plain),
            1,
            "1,1;1,3;1,2;2,2",
        ),
    ];
    for (name, signal, chunk_extent, bases) in signals {
        let network =
            config(&signal.slices(chunk_extent).extents, bases, signal.channels, 3, Modulator::Linear);
        for encoding in [Encoding::F32, Encoding::Coded] {
            let header = FileHeader {
                signal: signal.clone(),
                chunk_extent,
                network: network.clone(),
                encoding,
                max_error: None,
                refinements: Vec::new(),
                fit: Some(fit.clone()),
            };
            let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header.clone()).unwrap();
            for chunk in 0..header.n_chunks() {
                let (network, steps) = coded(&header.chunk_config(chunk), 3);
                let steps = (encoding == Encoding::Coded).then_some(steps);
                writer.push(&network, steps.as_deref()).unwrap();
            }
            let bytes = writer.finish().unwrap().0.into_inner();
            put(&format!("{name}-{}", encoding.name()), &bytes);
            if encoding == Encoding::Coded && ["sound", "film"].contains(&name) {
                put(&format!("{name}-progressive"), &progressive(&bytes));
            }
            let max_error = match name {
                "film" => MaxError::Whole(1),
                "sound" => MaxError::Whole(0),
                "volume" => MaxError::Real(0.5),
                "shape" => MaxError::Real(0.125),
                "four-axes" => MaxError::Whole(1000),
                _ => continue,
            };
            if encoding == Encoding::Coded {
                let header = FileHeader { max_error: Some(max_error), ..header };
                let bytes = corrected(&header);
                put(&format!("{name}-corrected"), &bytes);
                if ["film", "volume"].contains(&name) {
                    put(&format!("{name}-corrected-progressive"), &progressive(&bytes));
                }
            }
        }
    }
}

fn pictures(seeds: &Seeds) {
    const ROWS: usize = 7;
    const COLUMNS: usize = 9;
    let folder = tempfile::tempdir().unwrap();
    let value = |i: usize| (i * i * 31 + i / 5 * 977) % 65536;
    let picture = |color: ColorType, sample_type| {
        let n = ROWS * COLUMNS * color.n_channels();
        let samples = match sample_type {
            SampleType::U16 => Samples::U16((0..n).map(|i| value(i) as u16).collect()),
            _ => Samples::U8((0..n).map(|i| (value(i) / 256) as u8).collect()),
        };
        let info = SignalInfo::plain(vec![ROWS, COLUMNS], color.n_channels(), sample_type, Some(color));
        Signal::new(info, samples).unwrap()
    };
    for (name, color, sample_type) in [
        ("rgb.png", ColorType::Rgb, SampleType::U8),
        ("gray-alpha-16.png", ColorType::GrayAlpha, SampleType::U16),
        ("rgb.jpg", ColorType::Rgb, SampleType::U8),
        ("gray.jpg", ColorType::Gray, SampleType::U8),
        ("rgba.webp", ColorType::Rgba, SampleType::U8),
        ("rgb-16.tiff", ColorType::Rgb, SampleType::U16),
        ("gray.tiff", ColorType::Gray, SampleType::U8),
        ("rgb.bmp", ColorType::Rgb, SampleType::U8),
        ("rgb-16.ppm", ColorType::Rgb, SampleType::U16),
        ("gray.pgm", ColorType::Gray, SampleType::U8),
        ("rgba.pam", ColorType::Rgba, SampleType::U8),
        ("rgba.tga", ColorType::Rgba, SampleType::U8),
        ("rgb.qoi", ColorType::Rgb, SampleType::U8),
    ] {
        let path = folder.path().join(name);
        write_image(&path, &picture(color, sample_type)).unwrap();
        seeds.put("pictures", name, &fs::read(&path).unwrap());
    }
    // Read, but not written by this project.
    let signal = picture(ColorType::Rgba, SampleType::U8);
    let Samples::U8(values) = signal.samples() else { unreachable!() };
    for (name, format) in [("rgba.gif", ImageFormat::Gif), ("rgba.ico", ImageFormat::Ico)] {
        let mut bytes = Cursor::new(Vec::new());
        image::write_buffer_with_format(
            &mut bytes,
            values,
            COLUMNS as u32,
            ROWS as u32,
            ExtendedColorType::Rgba8,
            format,
        )
        .unwrap();
        seeds.put("pictures", name, &bytes.into_inner());
    }
    seeds.put("pictures", "text.ppm", b"P3\n# a comment\n2 2\n15\n0 1 2 3 4 5 6 7 8 9 10 15\n");
    seeds.put("pictures", "text.pbm", b"P1\n3 2\n0 1 0\n1 0 1\n");
    seeds.put("pictures", "bits.pbm", b"P4\n9 2\n\x55\x80\xAA\x00");
}

fn sound(seeds: &Seeds) {
    let folder = tempfile::tempdir().unwrap();
    let wave = |i: usize| (i as f64 * 0.1).sin() * 90.0 + (i % 7) as f64;
    for (name, samples, channels, bits_per_sample) in [
        ("u8.wav", Samples::U8((0..90).map(|i| (128.0 + wave(i)) as u8).collect()), 1, 8),
        ("i16.wav", Samples::I16((0..90).map(|i| (wave(i) * 99.0) as i16).collect()), 2, 16),
        ("i24.wav", Samples::I32((0..90).map(|i| (wave(i) * 9999.0) as i32).collect()), 1, 24),
        ("i32.wav", Samples::I32((0..60).map(|i| (wave(i) * 9_999_999.0) as i32).collect()), 2, 32),
        ("f32.wav", Samples::F32((0..90).map(|i| wave(i) as f32 / 100.0).collect()), 1, 32),
        ("i16.flac", Samples::I16((0..900).map(|i| (wave(i) * 99.0) as i16).collect()), 2, 16),
        ("i24.flac", Samples::I32((0..300).map(|i| (wave(i) * 9999.0) as i32).collect()), 1, 24),
    ] {
        let (low, high) = samples.min_max().unwrap();
        let info = SignalInfo {
            value_range: Some(ValueRange::of(low, high)),
            media: Media::Audio(Audio {
                sample_rate: 8000,
                bits_per_sample,
                container: AudioContainer::Wav,
                start: 0,
            }),
            ..SignalInfo::plain(vec![samples.len() / channels], channels, samples.sample_type(), None)
        };
        let path = folder.path().join(name);
        let mut writer = create_audio(&path, &info).unwrap();
        writer.write(&samples).unwrap();
        writer.finish().unwrap();
        seeds.put("audio", name, &fs::read(&path).unwrap());
    }
    let names = ["mono-16k.mp3", "stereo.mp3", "mono.ogg", "stereo.ogg"];
    seeds.fixtures("audio", "audio", &names);
    // Tags before an MP3 and behind it.
    let mp3 = fs::read(seeds.0.join("audio").join(names[0])).unwrap();
    let before = [b"ID3\x03\0\0\0\0\0\x0A", &[0; 10][..]].concat();
    seeds.put("audio", "id3-before.mp3", &[&before[..], &mp3].concat());
    seeds.put("audio", "id3-behind.mp3", &[&mp3[..], b"TAG", &[0; 125]].concat());
    // Floats of 64 bits, which this project does not write.
    let values: Vec<u8> = (0..40).flat_map(|i| (wave(i) / 100.0).to_le_bytes()).collect();
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + values.len() as u32).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    wav.extend([8000u32, 64_000].map(u32::to_le_bytes).concat());
    wav.extend(b"\x08\0\x40\0data");
    wav.extend((values.len() as u32).to_le_bytes());
    seeds.put("audio", "f64.wav", &[wav, values].concat());
}

fn films(seeds: &Seeds) {
    let folder = tempfile::tempdir().unwrap();
    for (name, color) in [("gray", ColorType::Gray), ("rgb", ColorType::Rgb)] {
        let channels = color.n_channels();
        let info = SignalInfo {
            media: Media::Video(Video { rate: [30000, 1001], first_frame: 0 }),
            ..SignalInfo::plain(vec![3, 4, 6], channels, SampleType::U8, Some(color))
        };
        let path = folder.path().join("a.y4m");
        let mut writer = create_video(&path, &info).unwrap();
        writer
            .write(&Samples::U8((0..3 * 4 * 6 * channels).map(|i| (i * 37 % 256) as u8).collect()))
            .unwrap();
        writer.finish().unwrap();
        seeds.put("y4m", name, &fs::read(&path).unwrap());
    }
    let film = |header: &str, n: usize| {
        let mut bytes = format!("YUV4MPEG2 {header}\n").into_bytes();
        for frame in 0..2 {
            bytes.extend(b"FRAME\n");
            bytes.extend((0..n).map(|i| (i * 29 + frame * 80) as u8));
        }
        bytes
    };
    seeds.put("y4m", "420", &film("W5 H3 F25:1 Ip A1:1 C420jpeg", 15 + 2 * 6));
    seeds.put("y4m", "422", &film("W5 H3 F25:1 C422 XYSCSS=422", 15 + 2 * 9));
    seeds.put("y4m", "444-full", &film("W5 H3 C444 XCOLORRANGE=FULL", 45));
    seeds.put("y4m", "default", &film("W2 H2", 6));
    for (name, color, sample_type) in
        [("frames", ColorType::Rgb, SampleType::U8), ("frames-16", ColorType::Gray, SampleType::U16)]
    {
        let channels = color.n_channels();
        let folder = tempfile::tempdir().unwrap();
        // In the order of numbers, not of letters.
        for frame in [2, 9, 10] {
            let n = 3 * 4 * channels;
            let samples = match sample_type {
                SampleType::U16 => Samples::U16((0..n).map(|i| (i * 2999 + frame) as u16).collect()),
                _ => Samples::U8((0..n).map(|i| (i * 7 + frame) as u8).collect()),
            };
            let info = SignalInfo::plain(vec![3, 4], channels, sample_type, Some(color));
            let path = folder.path().join(format!("frame{frame}.png"));
            write_image(&path, &Signal::new(info, samples).unwrap()).unwrap();
        }
        seeds.put("y4m", name, &asmr_fuzz::pack(folder.path()));
    }
}

fn volumes(seeds: &Seeds) {
    seeds.fixtures(
        "volumes",
        "volumes",
        &[
            "i16.nii",
            "rgb.nii",
            "f32_be_time.nii",
            "f32_be_time.nii.gz",
            "float64.nii",
            "trailing.nii",
            "uint32.nii",
            "le_int16.npy",
            "be_float64.npy",
            "bool.npy",
            "fortran3.npy",
            "fortran4_be.npy",
            "axes1.npy",
            "stored.npz",
            "deflated.npz",
            "two.npz",
        ],
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../asmr-media/tests/volumes");
    // A header and its values, which are put apart again.
    let pair = ["pair.hdr", "pair.img"].map(|name| fs::read(folder.join(name)).unwrap()).concat();
    seeds.put("volumes", "pair.nii", &pair);
    let header = "{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }";
    let mut version_2 = b"\x93NUMPY\x02\0".to_vec();
    // As long as it takes for the values to begin at a multiple of 64.
    version_2.extend(116u32.to_le_bytes());
    version_2.extend(format!("{header:115}\n").into_bytes());
    version_2.extend((0..6u16).flat_map(|x| (x * 999).to_le_bytes()));
    seeds.put("volumes", "version_2.npy", &version_2);
    for name in ["bool", "checksum", "group", "gzip_be", "missing", "names", "sharded", "transposed", "zstd"]
    {
        seeds.put("zarr", name, &asmr_fuzz::pack(&folder.join(format!("{name}.zarr"))));
    }
    // Chunks with checksums, which are made right when they are read; plain, and in a shard.
    let checksum = r#"{"name": "crc32c"}"#;
    let bytes = r#"{"name": "bytes", "configuration": {"endian": "little"}}"#;
    let sharding = format!(
        r#"{{"name": "sharding_indexed", "configuration": {{"chunk_shape": [2], "codecs": [{bytes}, {checksum}], "index_codecs": [{bytes}, {checksum}]}}}}"#
    );
    let plain = [1u8, 2, 3, 4, 0, 0, 0, 0];
    // Two chunks of two values and a checksum, and where they are.
    let index: Vec<u8> = [0u64, 6, 6, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    let shard = [&[1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0], &index[..], &[0; 4]].concat();
    for (name, codecs, chunk) in [
        ("crc32c", format!("{bytes}, {checksum}"), &plain[..]),
        ("sharded-crc32c", sharding.clone(), &shard),
        ("crc32c-of-a-shard", format!("{sharding}, {checksum}"), &[&shard[..], &[0; 4]].concat()),
    ] {
        let metadata = format!(
            r#"{{"zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "uint8", "chunk_grid": {{"name": "regular", "configuration": {{"chunk_shape": [4]}}}}, "chunk_key_encoding": {{"name": "default"}}, "fill_value": 0, "codecs": [{codecs}]}}"#
        );
        let folder = [b"\n==zarr.json\n", metadata.as_bytes(), b"\n==c/0\n", chunk].concat();
        seeds.put("zarr", name, &folder);
    }
    // The index of a shard before its chunks.
    let at_start = sharding.replace(r#""index_codecs""#, r#""index_location": "start", "index_codecs""#);
    let index: Vec<u8> = [36u64, 6, 42, 6].iter().flat_map(|x| x.to_le_bytes()).collect();
    let shard = [&index[..], &[0; 4], &[1, 2, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0]].concat();
    // Two chunks of two floats, of which the second one is not there; codecs as plain strings (of bytes, which
    // have no order).
    let floats: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let summed = vec![1, 2, 0, 0, 0, 0];
    for (name, data_type, chunk_shape, fill, codecs, chunk) in [
        ("index-at-start", "uint8", 4, "0", at_start, &shard),
        ("fill-infinite", "float32", 2, r#""-Infinity""#, bytes.to_owned(), &floats),
        ("fill-not-a-number", "float32", 2, r#""NaN""#, bytes.to_owned(), &floats),
        ("fill-hexadecimal", "float32", 2, r#""0x3f800000""#, bytes.to_owned(), &floats),
        ("codecs-as-strings", "uint8", 2, "7", r#""bytes", "crc32c""#.to_owned(), &summed),
    ] {
        let metadata = format!(
            r#"{{"zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "{data_type}", "chunk_grid": {{"name": "regular", "configuration": {{"chunk_shape": [{chunk_shape}]}}}}, "chunk_key_encoding": "default", "fill_value": {fill}, "codecs": [{codecs}]}}"#
        );
        // What is not finite may be a fill value where no chunk is missing.
        let last = if fill.contains('N') || fill.contains("Inf") { chunk } else { &Vec::new() };
        let mut folder = [b"\n==zarr.json\n", metadata.as_bytes(), b"\n==c/0\n", chunk].concat();
        if !last.is_empty() {
            folder.extend([b"\n==c/1\n", &last[..]].concat());
        }
        seeds.put("zarr", name, &folder);
    }
    // Type and byte order, axes, extents; then values.
    seeds.put("raw", "u8", &[0, 2, 2, 3, 1, 2, 3, 4, 5, 6]);
    seeds.put("raw", "i16-big", &[3 | 8, 1, 3, 0, 1, 0x80, 0, 1, 0]);
    let floats: Vec<u8> = [1.5f32, -2.0, 3e9, 0.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    seeds.put("raw", "f32", &[&[6, 3, 1, 2, 2], &floats[..]].concat());
    let behind = [&[7 | 1 << 4, 1, 1, 99], &2.5f64.to_le_bytes()[..]].concat();
    seeds.put("raw", "f64-behind-a-header", &behind);
}

fn meshes(seeds: &Seeds) {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh {
        vertices: vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.5, 0.0], [0.0, 0.0, 2.0]],
        triangles: vec![[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]],
    };
    for name in ["a.ply", "a.obj", "a.stl"] {
        let path = folder.path().join(name);
        write_mesh(&path, &mesh).unwrap();
        seeds.put("meshes", name, &fs::read(&path).unwrap());
    }
    let mut text = "solid a\n".to_owned();
    for &triangle in &mesh.triangles {
        text += "facet normal 0 0 0\nouter loop\n";
        for [x, y, z] in triangle.map(|corner| mesh.vertices[corner as usize]) {
            let _ = writeln!(text, "vertex {x} {y} {z}");
        }
        text += "endloop\nendfacet\n";
    }
    seeds.put("meshes", "text.stl", (text + "endsolid a\n").as_bytes());
    seeds.put(
        "meshes",
        "groups.obj",
        b"# a pyramid\no one\nv 0 0 0\nv 1 0 0 1.0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nvt 0 0\ng base\nusemtl x\nf 4/1/1 3/1/1 2/1/1 1/1/1\nv .5 .5 1e0\ns off\nf -1 1 2\nf 5 2 3\nf 5//1 3//1 4//1\nf 5 4 1\nl 1 2\n",
    );
    seeds.put(
        "meshes",
        "text.ply",
        b"ply\nformat ascii 1.0\ncomment a square\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nproperty uchar red\nelement face 1\nproperty list uchar int vertex_indices\nelement edge 1\nproperty int a\nend_header\n0 0 0 1\n1 0 0 2\n1 1 0.5 3\n0 1 0 4\n4 0 1 2 3\n7\n",
    );
    let mut big = b"ply\nformat binary_big_endian 1.0\nelement vertex 3\nproperty short x\nproperty short y\nproperty short z\nelement face 1\nproperty list uchar ushort vertex_index\nend_header\n".to_vec();
    big.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 3, 0, 0, 0, 1, 0, 2]);
    seeds.put("meshes", "big.ply", &big);
}

fn weights(seeds: &Seeds) {
    for (name, modulator) in
        [("linear", Modulator::Linear), ("nonlinear", Modulator::Nonlinear), ("table", Modulator::Table)]
    {
        let network = Network::init(config(&[12, 10], "3,4;2,6", 3, 3, modulator), 1, 1.0).unwrap();
        let bytes = export(&network).unwrap();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let (json, weights) = rest.split_at(u64::from_le_bytes(*length) as usize);
        seeds.put("weights", &format!("{name}-whole"), &bytes);
        seeds.put("weights", &format!("{name}-parts"), &[json, &[0], weights].concat());
    }
    // Other types of numbers, all 1, and without metadata, as from elsewhere.
    let tensors = config(&[4, 4], "2,2;2,2", 1, 3, Modulator::Linear).tensors();
    for (dtype, one) in
        [("F16", &[0x00, 0x3C][..]), ("BF16", &[0x80, 0x3F]), ("F64", &[0, 0, 0, 0, 0, 0, 0xF0, 0x3F])]
    {
        let fields: Vec<String> = tensors
            .iter()
            .map(|tensor| {
                let (start, end) = (tensor.offset * one.len(), (tensor.offset + tensor.len()) * one.len());
                format!(
                    r#""{}":{{"dtype":"{dtype}","shape":{:?},"data_offsets":[{start},{end}]}}"#,
                    tensor.name, tensor.shape
                )
            })
            .collect();
        let parts = [format!("{{{}}}", fields.join(",")).as_bytes(), &[0], one].concat();
        seeds.put("weights", &dtype.to_lowercase(), &parts);
    }
}

fn checkpoints(seeds: &Seeds) {
    for (name, kind, steps) in [
        ("soap-beginning", 0, 0),
        ("soap-middle", 0, 3),
        ("soap-end", 0, 6),
        ("adam-middle", 1, 3),
        ("batches-beginning", 2, 0),
        ("batches-middle", 2, 3),
    ] {
        seeds.put("checkpoint", name, &asmr_fuzz::kept_fit(kind, steps));
        if steps > 0 {
            // With the header left out: any of the rest may change without its being another fit's.
            let state = asmr_fuzz::kept_fit(128 + kind, steps);
            seeds.put("checkpoint", &format!("{name}-state"), &state);
        }
    }
}

fn options(seeds: &Seeds) {
    for (i, line) in [
        "encode photo.jpg",
        "encode song.flac --start 30 --duration 10",
        "encode film.mp4 --frames 0..64 --chunk 16 --resume --checkpoint 5m",
        "encode ct.raw --shape 108,256,256 --dtype i16 --spacing 1.5,0.957,0.957 --big-endian",
        "encode bunny.obj --resolution 128 --field distance",
        "encode photo.jpg --preset best --levels 5 --width 192 --seed 7 -o p.asmr",
        "encode photo.jpg --psnr 38 --time 20s --mac 1000 --modulator table --omega-0 20.5",
        "encode photo.jpg --bases 4,4,4,8;4,4,6,8 --width 256 --preset paper --steps 1000 --lr 1e-3",
        "encode photo.jpg --batch 1/4 --seam-weight 2 --weights coded --loss 0.2 --array a/b",
        "decode photo.asmr -o part.png --region 100..228,64..192 --precision int16",
        "decode photo.asmr --region 100..,..192 --thumbnail 8 --recover --threads 4 --quiet",
        "decode song.asmr -o part.wav --region 12.5s..14s --json",
        "info photo.asmr",
        "verify photo.asmr --json",
        "eval photo.asmr photo.jpg --reps 5",
        "import a.safetensors --bases 4,8;4,8",
        "export a.asmr -o a.safetensors",
        "help encode",
        "photo.jpg",
        "--version",
        "encode photo.jpg --bytes 40k --progressive --max-error 2",
        "encode scan.png --lossless --bpp 1.5",
        "encode face.png --base faces.base.asmr -o face.npy --steps 3",
        "decode set.npy --base faces.base.asmr -o decoded/",
        "decode film.asmr --frames 3..9 --progressive",
        "meta-train faces/ -o faces.base.asmr --tile 32,32 --unseen more/ --levels 3 --width 64 --batch 8",
        "meta-train faces/ -o faces.base.asmr --bases 4,4,4;4,4,4 --modulator linear --omega-0 20 --steps 100 --inner-steps 2 --lr 1e-4 --seed 1",
        "info photo.asmr --limits 4",
    ]
    .iter()
    .enumerate()
    {
        seeds.put("options", &format!("line-{i:02}"), line.replace(' ', "\n").as_bytes());
    }
    for (option, value) in [
        ("bases", "4,4,4,8;4,4,6,8"),
        ("batch", "1/4"),
        ("bpp", "1.5"),
        ("bytes", "40KiB"),
        ("dtype", "f64"),
        ("frames", "10..20"),
        ("limits", "16"),
        ("loss", "0.1"),
        ("lr", "1e-3"),
        ("mac", "1000"),
        ("max-error", "0.5"),
        ("omega-0", "30"),
        ("psnr", "38"),
        ("region", "100..228,1.5s..,.."),
        ("seam-weight", "2"),
        ("seed", "18446744073709551615"),
        ("shape", "108, 256,256"),
        ("spacing", "1.5,0.957"),
        ("start", "12.5s"),
        ("steps", "1000"),
        ("threads", "4"),
        ("time", "500ms"),
        ("width", "256"),
    ] {
        seeds.put("options", &format!("value-{option}"), format!("={option}={value}").as_bytes());
    }
}
