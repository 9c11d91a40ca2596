//! Volumes in and out of files. The files in `volumes/` were made by nibabel, numpy and zarr (`gen_volumes.py`), and what
//! is written is compared with theirs byte by byte.

use std::fs;
use std::path::{Path, PathBuf};

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{
    Limits, MediaError, VolumeOptions, create_volume, open_volume, resampled_volume, volume_kind,
};

const TYPES: [SampleType; 8] = [
    SampleType::U8,
    SampleType::I8,
    SampleType::U16,
    SampleType::I16,
    SampleType::U32,
    SampleType::I32,
    SampleType::F32,
    SampleType::F64,
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/volumes").join(name)
}

/// The values of `gen_volumes.py`.
fn values(n: usize, sample_type: SampleType) -> Samples {
    let value = |i: usize| i as i32 * 37 % 101 - 50;
    let index = 0..n;
    match sample_type {
        SampleType::U8 => Samples::U8(index.map(|i| (value(i) + 50) as u8).collect()),
        SampleType::U16 => Samples::U16(index.map(|i| (value(i) + 50) as u16).collect()),
        SampleType::U32 => Samples::U32(index.map(|i| (value(i) + 50) as u32).collect()),
        SampleType::I8 => Samples::I8(index.map(|i| value(i) as i8).collect()),
        SampleType::I16 => Samples::I16(index.map(|i| value(i) as i16).collect()),
        SampleType::I32 => Samples::I32(index.map(value).collect()),
        SampleType::F32 => Samples::F32(index.map(|i| value(i) as f32 / 8.0).collect()),
        SampleType::F64 => Samples::F64(index.map(|i| f64::from(value(i)) / 8.0).collect()),
    }
}

fn bytes(samples: &Samples) -> Vec<u8> {
    samples.to_le_bytes()
}

/// Reads all of a file, in pieces of 1, 2, 1, 2, … slices.
fn read_with(path: &Path, options: &VolumeOptions) -> Result<(SignalInfo, Samples), MediaError> {
    let mut reader = open_volume(path, options, &Limits::default())?;
    let info = reader.info().clone();
    let (mut at, mut all) = (0, Vec::new());
    while at < info.extents[0] {
        let n = (1 + at % 2).min(info.extents[0] - at);
        let samples = reader.read(n)?;
        assert_eq!(samples.sample_type(), info.sample_type);
        all.extend(bytes(&samples));
        at += n;
    }
    info.validate().unwrap();
    Ok((info.clone(), Samples::from_le_bytes(info.sample_type, &all)))
}

fn read(path: &Path) -> (SignalInfo, Samples) {
    read_with(path, &VolumeOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn volume(info: &SignalInfo) -> &Volume {
    let Media::Volume(volume) = &info.media else { panic!("{:?}", info.media) };
    volume
}

fn write(path: &Path, info: &SignalInfo, samples: &Samples) {
    let mut writer = create_volume(path, info).unwrap();
    let n = info.slice_values();
    for start in (0..samples.len()).step_by(n * 2) {
        writer.write(&samples.slice(start..(start + 2 * n).min(samples.len()))).unwrap();
    }
    writer.finish().unwrap();
}

/// Name, extents, channels, type and big-endian of a file whose values are those of the definition.
type Case = (&'static str, &'static [usize], usize, SampleType, bool);

use SampleType::{F32, F64, I8, I16, I32, U8, U16, U32};

const NIFTI: [Case; 12] = [
    ("i16.nii", &[3, 4, 5], 1, I16, false),
    ("f32_be_time.nii", &[3, 2, 4, 3], 1, F32, true),
    ("f32_be_time.nii.gz", &[3, 2, 4, 3], 1, F32, true),
    ("uint8.nii", &[2, 3, 4], 1, U8, false),
    ("int8.nii", &[2, 3, 4], 1, I8, false),
    ("uint16.nii", &[2, 3, 4], 1, U16, false),
    ("int32.nii", &[2, 3, 4], 1, I32, false),
    ("uint32.nii", &[2, 3, 4], 1, U32, false),
    ("float64.nii", &[2, 3, 4], 1, F64, false),
    ("trailing.nii", &[3, 4], 1, U8, false),
    ("rgb.nii", &[2, 3, 4], 3, U8, false),
    ("pair.hdr", &[2, 3, 4], 1, I32, false),
];

const NPY: [Case; 21] = [
    ("le_uint8.npy", &[3, 4, 5], 1, U8, false),
    ("le_int8.npy", &[3, 4, 5], 1, I8, false),
    ("le_uint16.npy", &[3, 4, 5], 1, U16, false),
    ("le_int16.npy", &[3, 4, 5], 1, I16, false),
    ("le_uint32.npy", &[3, 4, 5], 1, U32, false),
    ("le_int32.npy", &[3, 4, 5], 1, I32, false),
    ("le_float32.npy", &[3, 4, 5], 1, F32, false),
    ("le_float64.npy", &[3, 4, 5], 1, F64, false),
    ("be_uint16.npy", &[3, 4, 5], 1, U16, true),
    ("be_int16.npy", &[3, 4, 5], 1, I16, true),
    ("be_uint32.npy", &[3, 4, 5], 1, U32, true),
    ("be_int32.npy", &[3, 4, 5], 1, I32, true),
    ("be_float32.npy", &[3, 4, 5], 1, F32, true),
    ("be_float64.npy", &[3, 4, 5], 1, F64, true),
    ("axes1.npy", &[7], 1, I16, false),
    ("axes2.npy", &[12, 2], 1, I16, false),
    ("axes4.npy", &[2, 3, 4, 5], 1, I16, false),
    ("fortran2.npy", &[3, 4], 1, U16, false),
    ("fortran3.npy", &[3, 4, 5], 1, F64, false),
    ("fortran4_be.npy", &[2, 3, 4, 5], 1, I16, true),
    ("stored.npz", &[3, 4, 5], 1, I16, false),
];

const ZARR: [Case; 6] = [
    ("zstd.zarr", &[3, 4, 5], 1, I16, false),
    ("gzip_be.zarr", &[3, 4, 5], 1, F32, true),
    ("checksum.zarr", &[7], 1, U8, false),
    ("transposed.zarr", &[2, 3, 4, 5], 1, U16, false),
    ("sharded.zarr", &[4, 6, 8], 1, I32, false),
    ("names.zarr", &[4, 6], 1, F64, false),
];

#[test]
fn values_and_types_are_those_that_other_programs_wrote() {
    let mut n_cases = 0;
    let of = |container, cases: &[Case]| cases.iter().map(|&case| (container, case)).collect::<Vec<_>>();
    let cases = [
        of(VolumeContainer::Nifti, &NIFTI),
        of(VolumeContainer::Npy, &NPY),
        of(VolumeContainer::Zarr, &ZARR),
    ];
    for (container, (name, extents, channels, sample_type, big_endian)) in cases.concat() {
        let path = fixture(name);
        assert_eq!(volume_kind(&path).unwrap(), Some(container), "{name}");
        let (info, samples) = read(&path);
        assert_eq!(
            (&*info.extents, info.channels, info.sample_type),
            (extents, channels, sample_type),
            "{name}"
        );
        let n = extents.iter().product::<usize>() * channels;
        let expected = values(n, sample_type);
        assert_eq!(samples, expected, "{name}");
        assert_eq!((volume(&info).container, volume(&info).big_endian), (container, big_endian), "{name}");
        let (low, high) = expected.min_max().unwrap();
        assert_eq!(info.value_range, Some(ValueRange::of(low, high)), "{name}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 39);
}

#[test]
fn special_arrays() {
    let (info, samples) = read(&fixture("bool.npy"));
    assert_eq!(info.extents, [3, 4]);
    let Samples::U8(expected) = values(12, U8) else { unreachable!() };
    let expected = Samples::U8(expected.iter().map(|v| v % 2).collect());
    assert_eq!(samples, expected);
    assert_eq!(read(&fixture("bool.zarr")).1, expected);

    let (info, samples) = read(&fixture("constant.npy"));
    assert_eq!(samples, Samples::I16(vec![-5; 24]));
    assert_eq!(info.value_range, Some(ValueRange::of(-5.0, -4.0)));

    // The first chunk is not there.
    let (_, samples) = read(&fixture("missing.zarr"));
    let Samples::I16(mut expected) = values(24, I16) else { unreachable!() };
    for i in [0, 1, 2, 6, 7, 8] {
        expected[i] = -7;
    }
    assert_eq!(samples, Samples::I16(expected));

    let spaced = VolumeOptions { spacing: Some(vec![3.0, 2.0, 0.5]), ..VolumeOptions::default() };
    for name in ["le_int16.npy", "stored.npz", "zstd.zarr"] {
        let (info, _) = read_with(&fixture(name), &spaced).unwrap();
        assert_eq!(volume(&info).spacing, [3.0, 2.0, 0.5], "{name}");
    }
}

#[test]
fn arrays_are_chosen_by_name() {
    let named = |name: &str| VolumeOptions { array: Some(name.to_owned()), ..VolumeOptions::default() };
    let (info, samples) = read_with(&fixture("two.npz"), &named("a")).unwrap();
    assert_eq!((samples, &*volume(&info).array), (values(60, U16), "a"));
    let (_, samples) = read_with(&fixture("two.npz"), &named("b")).unwrap();
    assert_eq!(samples, values(6, U8));
    let (info, samples) = read(&fixture("deflated.npz"));
    assert_eq!((samples, &*volume(&info).array), (values(60, F32), "field"));
    let (info, samples) = read_with(&fixture("group.zarr"), &named("level/b")).unwrap();
    assert_eq!((samples, &*volume(&info).array), (values(6, U16), "level/b"));
    // A group with one array is that array.
    let (info, _) = read_with(&fixture("group.zarr"), &named("level")).unwrap();
    assert_eq!(volume(&info).array, "level/b");

    let refused = [
        ("two.npz", None, "2 arrays: a, b"),
        ("two.npz", Some("c"), "no array named \"c\"; its arrays are a, b"),
        ("group.zarr", None, "its arrays are a, level/b"),
        ("group.zarr", Some("c"), "its arrays are a, level/b"),
        ("group.zarr", Some("../zstd.zarr"), "no path of an array"),
        ("group.zarr", Some("/etc"), "no path of an array"),
        ("le_int16.npy", Some("a"), "one array without a name"),
        ("i16.nii", Some("a"), "one array without a name"),
    ];
    for (name, array, words) in refused {
        let options = VolumeOptions { array: array.map(str::to_owned), ..VolumeOptions::default() };
        let error = read_with(&fixture(name), &options).unwrap_err();
        assert!(matches!(error, MediaError::Unusable { .. }), "{name}: {error}");
        assert!(error.to_string().contains(words), "{words:?} is not in {:?}", error.to_string());
    }
}

#[test]
fn metadata_of_nifti() {
    // As set in gen_volumes.py.
    let (info, _) = read(&fixture("i16.nii"));
    assert_eq!(volume(&info).spacing, [2.0, 0.957, 1.5]);
    assert_eq!(volume(&info).unit, "mm");
    assert_eq!(volume(&info).header.len(), 2 * 348);
    let (info, _) = read(&fixture("f32_be_time.nii"));
    assert_eq!(volume(&info).spacing, [2.5, 2.0, 0.957, 1.5]);
    let (info, _) = read(&fixture("transposed.zarr"));
    assert_eq!((&*volume(&info).spacing, &*volume(&info).unit), (&[2.5, 2.0, 1.0, 0.5][..], "mm"));
}

/// What was read from a file of nibabel's or numpy's and is written again has the same bytes: types, shape, orientation,
/// affine transforms, scaling and byte order.
#[test]
fn files_written_again_have_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for (name, ..) in NIFTI.iter().chain(&NPY) {
        // Packing differs from program to program, and numpy's own order from Fortran's.
        if name.ends_with("gz") || name.ends_with("npz") || name.starts_with("fortran") || *name == "pair.hdr"
        {
            continue;
        }
        let (info, samples) = read(&fixture(name));
        let path = folder.path().join(name);
        write(&path, &info, &samples);
        assert!(fs::read(&path).unwrap() == fs::read(fixture(name)).unwrap(), "{name}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 27);

    // Of the pair, whose values are in a file of their own, only the place of the values and the magic change.
    let (info, samples) = read(&fixture("pair.hdr"));
    let path = folder.path().join("pair.nii");
    write(&path, &info, &samples);
    let mut expected = fs::read(fixture("pair.hdr")).unwrap();
    expected[108..112].copy_from_slice(&352.0f32.to_le_bytes());
    expected[344..348].copy_from_slice(b"n+1\0");
    expected.extend([0; 4]);
    expected.extend(fs::read(fixture("pair.img")).unwrap());
    assert_eq!(fs::read(&path).unwrap(), expected);
}

/// The header of a part, against nibabel's: its own matrices, moved and put into fields again.
#[test]
fn a_part_keeps_its_place_in_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let (info, _) = read(&fixture("i16.nii"));
    let cases: [(&str, [f64; 3], f64); 2] =
        [("i16_cut.nii", [1.0, 2.0, 1.0], 1.0), ("i16_coarse.nii", [0.5; 3], 2.0)];
    for (name, first, step) in cases {
        let (expected, samples) = read(&fixture(name));
        let part = resampled_volume(volume(&info), &first, &[step; 3]);
        let part =
            SignalInfo { extents: expected.extents.clone(), media: Media::Volume(part), ..expected.clone() };
        let path = folder.path().join(name);
        write(&path, &part, &samples);
        let (ours, theirs) = (fs::read(&path).unwrap(), fs::read(fixture(name)).unwrap());
        let float = |bytes: &[u8], at: usize| f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let is_float = |at: usize| (76..108).contains(&at) || (256..328).contains(&at);
        let mut n_floats = 0;
        for at in (0..348).step_by(4) {
            if is_float(at) {
                // Its quaternion comes from a matrix, ours from the original header.
                let (a, b) = (float(&ours, at), float(&theirs, at));
                assert!((a - b).abs() < 2e-5, "{name} at byte {at}: {a}, and nibabel has {b}");
                n_floats += 1;
            } else {
                assert_eq!(ours[at..at + 4], theirs[at..at + 4], "{name} at byte {at}");
            }
        }
        assert_eq!(n_floats, 8 + 18);
        assert_eq!(ours[348..], theirs[348..], "{name}");
        assert_eq!(volume(&read(&path).0).spacing, [2.0 * step, 0.957 * step, 1.5 * step], "{name}");
    }
    // Time moves too.
    let (info, samples) = read(&fixture("f32_be_time.nii"));
    let part = resampled_volume(volume(&info), &[2.0, 0.0, 0.0, 0.0], &[1.0; 4]);
    let part = SignalInfo { extents: vec![1, 2, 4, 3], media: Media::Volume(part), ..info };
    let path = folder.path().join("time.nii");
    write(&path, &part, &samples.slice(48..72));
    let bytes = fs::read(&path).unwrap();
    assert_eq!(f32::from_be_bytes(bytes[136..140].try_into().unwrap()), 7.0 + 2.0 * 2.5);
}

/// An info as a decoder would make it.
fn plain(extents: &[usize], sample_type: SampleType, big_endian: bool) -> (SignalInfo, Samples) {
    let samples = values(extents.iter().product(), sample_type);
    let (low, high) = samples.min_max().unwrap();
    let volume = Volume {
        container: VolumeContainer::Npy,
        spacing: (1..=extents.len()).map(|i| i as f64 / 2.0).collect(),
        unit: "mm".to_owned(),
        header: String::new(),
        array: "field".to_owned(),
        big_endian: big_endian && sample_type.n_bytes() > 1,
    };
    let info = SignalInfo {
        value_range: Some(ValueRange::of(low, high)),
        media: Media::Volume(volume),
        ..SignalInfo::plain(extents.to_vec(), 1, sample_type, None)
    };
    (info, samples)
}

const SHAPES: [&[usize]; 4] = [&[9], &[70, 3], &[65, 3, 66], &[2, 3, 4, 5]];
const EXTENSIONS: [&str; 6] = ["nii", "nii.gz", "npy", "npz", "raw", "zarr"];

/// Every format, type, number of axes and byte order: read back here, and by nibabel, numpy and zarr where
/// `ASMR_PYTHON` names a Python that has them.
#[test]
fn everything_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for extents in SHAPES {
        for sample_type in TYPES {
            for big_endian in [false, true] {
                let (info, samples) = plain(extents, sample_type, big_endian);
                for extension in EXTENSIONS {
                    let axes: Vec<_> = extents.iter().map(ToString::to_string).collect();
                    let kind = match sample_type {
                        U8 | U16 | U32 => 'u',
                        I8 | I16 | I32 => 'i',
                        F32 | F64 => 'f',
                    };
                    let order = if big_endian { "be" } else { "le" };
                    let width = sample_type.n_bytes();
                    let name = format!("{kind}{width}_{}_{order}.{extension}", axes.join("x"));
                    let path = folder.path().join(&name);
                    write(&path, &info, &samples);
                    let options = if extension == "raw" {
                        VolumeOptions {
                            shape: Some(extents.to_vec()),
                            dtype: Some(sample_type),
                            big_endian,
                            ..VolumeOptions::default()
                        }
                    } else {
                        VolumeOptions::default()
                    };
                    let (again, values) =
                        read_with(&path, &options).unwrap_or_else(|error| panic!("{error}"));
                    assert!(values == samples, "{name}");
                    assert_eq!(again.extents, info.extents, "{name}");
                    assert_eq!(again.value_range, info.value_range, "{name}");
                    if matches!(extension, "nii" | "nii.gz" | "zarr") {
                        let (again, before) = (volume(&again), volume(&info));
                        assert_eq!((&again.spacing, &again.unit), (&before.spacing, &before.unit), "{name}");
                    }
                    if extension == "npz" {
                        assert_eq!(volume(&again).array, "field", "{name}");
                    }
                    if extension != "nii" && extension != "nii.gz" {
                        assert_eq!(volume(&again).big_endian, volume(&info).big_endian, "{name}");
                    }
                    n_cases += 1;
                }
            }
        }
    }
    assert_eq!(n_cases, 4 * 8 * 2 * 6);
    let Some(python) = std::env::var_os("ASMR_PYTHON") else {
        println!("skipped: ASMR_PYTHON names no Python with nibabel, numpy and zarr");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_volumes.py");
    let output =
        std::process::Command::new(python).arg("-B").arg(script).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), n_cases.to_string());
    println!("nibabel, numpy and zarr read {n_cases} files");
}

/// Plain arrays, and several channels.
#[test]
fn what_is_no_volume_is_written_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for extension in EXTENSIONS {
        for channels in [1, 3, 4] {
            let info = SignalInfo::plain(vec![3, 4], channels, U8, None);
            let samples = values(12 * channels, U8);
            let path = folder.path().join(format!("{channels}.{extension}"));
            write(&path, &info, &samples);
            let is_nifti = extension.starts_with("nii");
            let shape = if channels == 1 || is_nifti { vec![3, 4] } else { vec![3, 4, channels] };
            let options = match extension {
                "raw" => {
                    VolumeOptions { shape: Some(shape.clone()), dtype: Some(U8), ..VolumeOptions::default() }
                }
                _ => VolumeOptions::default(),
            };
            let (again, values) = read_with(&path, &options).unwrap();
            assert_eq!((again.extents, values), (shape, samples), "{channels} {extension}");
            assert_eq!(again.channels, if is_nifti { channels } else { 1 });
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 18);
    let refused = [
        ("a.nii", SignalInfo::plain(vec![3, 4], 2, U8, None), "2 channels of type u8"),
        ("a.nii", SignalInfo::plain(vec![3, 4], 3, U16, None), "3 channels of type u16"),
        ("a.nii.gz", SignalInfo::plain(vec![3, 32_768], 1, U8, None), "an extent of 32768"),
        ("a.gz", SignalInfo::plain(vec![3, 4], 1, U8, None), ".nii, .nii.gz, .npy"),
        ("a", SignalInfo::plain(vec![3, 4], 1, U8, None), ".nii, .nii.gz, .npy"),
    ];
    for (name, info, words) in refused {
        let error = create_volume(&folder.path().join(name), &info).err().unwrap();
        assert!(error.is_bad_input() && error.to_string().contains(words), "{error}");
    }
}

/// Path, options, extents, type, least and greatest value, sum and checksum.
type Real = (&'static str, VolumeOptions, [usize; 3], SampleType, (f64, f64), i64, u32);

/// Checksums (CRC-32 of the row-major little-endian values) and statistics by numpy and nibabel.
#[test]
fn real_volumes() {
    let Some(data) = std::env::var_os("ASMR_DATA").map(PathBuf::from) else {
        println!("skipped: ASMR_DATA is not set");
        return;
    };
    let raw = VolumeOptions {
        shape: Some(vec![108, 256, 256]),
        dtype: Some(I16),
        spacing: Some(vec![1.5, 0.957, 0.957]),
        ..VolumeOptions::default()
    };
    let cases: [Real; 3] = [
        (
            "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
            VolumeOptions::default(),
            [189, 233, 197],
            U8,
            (0.0, 255.0),
            333_468_829,
            0x39d9_66c3,
        ),
        (
            "imageio_stent.npz",
            VolumeOptions::default(),
            [256, 128, 128],
            I16,
            (0.0, 2000.0),
            148_470_906,
            0x7d4e_67eb,
        ),
        (
            "invesalius_cranium_ct_108x256x256_int16le.raw",
            raw,
            [108, 256, 256],
            I16,
            (-1024.0, 2986.0),
            -4_147_325_847,
            0xab70_a884,
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for (name, options, extents, sample_type, (low, high), sum, crc) in cases {
        let path = data.join("volume").join(name);
        let start = std::time::Instant::now();
        let mut reader = open_volume(&path, &options, &Limits::default()).unwrap();
        println!("{name}: range after {:.2} s", start.elapsed().as_secs_f64());
        let info = reader.info().clone();
        assert_eq!((&*info.extents, info.sample_type), (&extents[..], sample_type), "{name}");
        assert_eq!(info.value_range, Some(ValueRange::of(low, high)), "{name}");
        let samples = reader.read(extents[0]).unwrap();
        assert_eq!(crc32fast::hash(&bytes(&samples)), crc, "{name}");
        #[allow(clippy::useless_conversion, reason = "of one type in eight")]
        let total: f64 = asmr::with_samples!(&samples, v => v.iter().map(|&x| f64::from(x)).sum());
        assert_eq!(total as i64, sum, "{name}");
        // Out and in again, with the affine transform and all.
        let path = folder.path().join(name);
        write(&path, &info, &samples);
        let (again, values) = read_with(&path, &options).unwrap();
        assert!(values == samples, "{name}");
        // The place of the values may have been another.
        assert_eq!(volume(&again).spacing, volume(&info).spacing, "{name}");
        if volume(&info).container == VolumeContainer::Nifti {
            let (kept, original) = (&volume(&again).header, &volume(&info).header);
            assert_eq!((&kept[..216], &kept[224..688]), (&original[..216], &original[224..688]));
            // sform: [1 0 0 -98; 0 1 0 -134; 0 0 1 -72], big or little.
            assert!(original[560..656].contains(if volume(&info).big_endian {
                "c2c40000"
            } else {
                "0000c4c2"
            }));
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}
