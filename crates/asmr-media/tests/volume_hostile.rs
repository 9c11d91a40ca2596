//! Volumes that are cut, damaged, enormous or something else, and writers that fail: one sentence, no panic, no huge
//! allocation, no half a file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use asmr::metadata::{Media, Volume, VolumeContainer};
use asmr::signal::{SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{Limits, MediaError, VolumeOptions, create_volume, open_volume, volume_kind};
use flate2::{Compression, write::GzEncoder};

const SMALL: Limits = Limits { max_width: 1, max_height: 1, max_alloc_bytes: 1 << 20 };

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/volumes").join(name)
}

/// Opens and reads all.
fn read(path: &Path, options: &VolumeOptions, limits: &Limits) -> Result<Samples, MediaError> {
    let mut reader = open_volume(path, options, limits)?;
    let n = reader.info().extents[0];
    reader.read(n)
}

#[track_caller]
fn assert_refused(path: &Path, options: &VolumeOptions, limits: &Limits, words: &str) {
    let start = Instant::now();
    let error = read(path, options, limits).expect_err(&format!("{} {words}", path.display()));
    let message = error.to_string();
    println!("{message}");
    assert!(error.is_bad_input(), "{message}");
    assert!(matches!(error, MediaError::Unusable { .. } | MediaError::Damaged { .. }), "{message}");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
    // Zeroing what some of these ask for takes longer, if it ends at all.
    assert!(start.elapsed().as_secs() < 10, "{message}: {:?}", start.elapsed());
}

#[track_caller]
fn assert_fixture_refused(name: &str, words: &str) {
    assert_refused(&fixture(name), &VolumeOptions::default(), &Limits::default(), words);
}

#[test]
fn what_is_not_read_says_why() {
    for (name, words) in [
        ("i64.nii", "64-bit signed integers"),
        ("complex.nii", "complex numbers"),
        ("five_axes.nii", "5 axes; a signal has 1 to 4"),
        ("version2.nii", "NIfTI-2"),
        ("nan.nii", "value at [1, 2, 3] (axes slowest first, from 0) is NaN"),
        ("five_axes.npy", "5 axes; a signal has 1 to 4"),
        ("empty_axis.npy", "axis 1 is empty"),
        ("scalar.npy", "single number"),
        ("i64.npy", "type \"<i8\""),
        ("f16.npy", "type \"<f2\""),
        ("record.npy", "several fields"),
        ("infinite.npy", "value at [2, 1, 3] (axes slowest first, from 0) is -inf"),
        ("i64.zarr", "type \"int64\""),
        ("five_axes.zarr", "5 axes; a signal has 1 to 4"),
    ] {
        assert_fixture_refused(name, words);
    }
    let folder = tempfile::tempdir().unwrap();
    assert_refused(folder.path(), &VolumeOptions::default(), &Limits::default(), "without zarr.json");
    fs::write(folder.path().join(".zarray"), "{}").unwrap();
    assert_refused(folder.path(), &VolumeOptions::default(), &Limits::default(), "Zarr version 2");
    let text = folder.path().join("text.txt");
    fs::write(&text, "Dear reader").unwrap();
    assert_eq!(volume_kind(&text).unwrap(), None);
    assert_refused(&text, &VolumeOptions::default(), &Limits::default(), "give their shape and type");
    for name in ["text.nii", "text.nii.gz", "text.npy", "text.npz"] {
        let path = folder.path().join(name);
        fs::write(&path, "Dear reader").unwrap();
        assert_refused(&path, &VolumeOptions::default(), &Limits::default(), "damaged or truncated");
    }
    let missing = read(&folder.path().join("none.nii"), &VolumeOptions::default(), &Limits::default());
    assert!(matches!(missing, Err(MediaError::Read { .. })));
}

#[test]
fn options_that_do_not_fit() {
    let shape = VolumeOptions { shape: Some(vec![3, 4, 5]), ..VolumeOptions::default() };
    let dtype = VolumeOptions { dtype: Some(SampleType::I16), ..VolumeOptions::default() };
    let spacing = VolumeOptions { spacing: Some(vec![1.0; 3]), ..VolumeOptions::default() };
    let two = VolumeOptions { spacing: Some(vec![1.0; 2]), ..VolumeOptions::default() };
    let nan = VolumeOptions { spacing: Some(vec![1.0, f64::NAN, 1.0]), ..VolumeOptions::default() };
    let limits = Limits::default();
    assert_refused(&fixture("i16.nii"), &shape, &limits, "leave shape");
    assert_refused(&fixture("le_int16.npy"), &dtype, &limits, "leave shape");
    assert_refused(&fixture("i16.nii"), &spacing, &limits, "leave the spacing out");
    assert_refused(&fixture("le_int16.npy"), &two, &limits, "one finite number per axis");
    assert_refused(&fixture("zstd.zarr"), &nan, &limits, "one finite number per axis");
}

#[test]
fn plain_values_of_another_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.raw");
    let options = |shape: &[usize], dtype| VolumeOptions {
        shape: Some(shape.to_vec()),
        dtype,
        ..VolumeOptions::default()
    };
    let i16 = Some(SampleType::I16);
    fs::write(&path, [7; 240]).unwrap();
    let limits = Limits::default();
    read(&path, &options(&[4, 5, 6], i16), &limits).unwrap();
    let behind = VolumeOptions { header_bytes: 120, ..options(&[4, 5, 6], Some(SampleType::U8)) };
    read(&path, &behind, &limits).unwrap();
    let numbers = "it has 240 bytes, and shape [4, 5, 6] of type u8 needs 120";
    assert_refused(&path, &options(&[4, 5, 6], Some(SampleType::U8)), &limits, numbers);
    for (shape, dtype, words) in [
        (&[4, 5, 6][..], Some(SampleType::U8), "would fit values of type u16 or i16"),
        (&[4, 5, 6], Some(SampleType::F32), "would fit values of type u16 or i16"),
        (&[5, 5, 6], i16, "would fit 4 along the first axis"),
        (&[4, 5, 7], i16, "needs 280"),
        (&[7, 16], i16, "would fit after a header of 16 bytes"),
        (&[4, 5, 6], None, "need their type"),
        (&[4, 0, 6], i16, "axis 1 is empty"),
        (&[], i16, "0 axes"),
        (&[1, 1, 2, 3, 20], i16, "5 axes"),
        (&[1 << 31, 1 << 31, 1 << 31], i16, "more values than can be counted"),
        (&[usize::MAX], i16, "extent"),
    ] {
        assert_refused(&path, &options(shape, dtype), &limits, words);
    }
    let past = VolumeOptions { header_bytes: u64::MAX, ..options(&[4, 5, 6], i16) };
    assert_refused(&path, &past, &limits, "needs 240");
}

fn with(bytes: &[u8], changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for (at, new) in changes {
        changed[*at..at + new.len()].copy_from_slice(new);
    }
    changed
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn nifti_headers_that_promise_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(fixture("i16.nii")).unwrap();
    let dims = |n: i16, extents: [i16; 4]| -> Vec<u8> {
        [n].iter().chain(&extents).flat_map(|v| v.to_le_bytes()).collect()
    };
    let most = dims(4, [i16::MAX; 4]);
    let (no_axes, eight, none, negative) =
        (dims(0, [1; 4]), dims(8, [1; 4]), dims(3, [5, 0, 3, 1]), dims(3, [5, -4, 3, 1]));
    let mut n_cases = 0;
    for (changes, words) in [
        (&[(40, &most[..])][..], "its header promises"),
        (&[(40, &no_axes[..])], "0 axes"),
        (&[(40, &eight[..])], "8 axes"),
        (&[(40, &none[..])], "axis 2 has extent 0"),
        (&[(40, &negative[..])], "axis 2 has extent -4"),
        (&[(108, &1e30f32.to_le_bytes()[..])], "values start at byte"),
        (&[(108, &f32::NAN.to_le_bytes()[..])], "values start at byte NaN"),
        (&[(108, &(-1f32).to_le_bytes()[..])], "values start at byte -1"),
        (&[(108, &1e9f32.to_le_bytes()[..])], "its header promises"),
        (&[(0, &[0; 4][..])], "its own length"),
        (&[(344, &b"n+9\0"[..])], "magic"),
        (&[(70, &77i16.to_le_bytes()[..])], "datatype 77"),
    ] {
        let bytes = with(&whole, changes);
        for (name, bytes) in [("a.nii", bytes.clone()), ("a.nii.gz", gzip(&bytes))] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            assert_refused(&path, &VolumeOptions::default(), &Limits::default(), words);
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 24);
    // The values of a pair are not there.
    let path = folder.path().join("b.hdr");
    fs::copy(fixture("pair.hdr"), &path).unwrap();
    let error = read(&path, &VolumeOptions::default(), &Limits::default()).unwrap_err();
    assert!(matches!(error, MediaError::Read { .. }) && error.to_string().contains("b.img"), "{error}");
}

#[test]
fn files_that_unpack_to_too_much() {
    let folder = tempfile::tempdir().unwrap();
    // 64 slices of 64 KiB.
    let info = SignalInfo::plain(vec![64, 256, 256], 1, SampleType::U8, None);
    let mut n_cases = 0;
    for name in ["a.nii.gz", "a.npz"] {
        let path = folder.path().join(name);
        let mut writer = create_volume(&path, &info).unwrap();
        writer.write(&Samples::U8(vec![1; 1 << 22])).unwrap();
        writer.finish().unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 1 << 14);
        read(&path, &VolumeOptions::default(), &Limits { max_alloc_bytes: 5 << 20, ..SMALL }).unwrap();
        assert_refused(&path, &VolumeOptions::default(), &SMALL, "the limit for packed files is 1048576");
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
    // More than the header promises: what follows is not unpacked without end.
    let mut bytes = fs::read(fixture("i16.nii")).unwrap();
    bytes.resize(1 << 26, 0);
    let path = folder.path().join("b.nii.gz");
    fs::write(&path, gzip(&bytes)).unwrap();
    assert_eq!(read(&path, &VolumeOptions::default(), &SMALL).unwrap().len(), 60);
    // One slice past the limit, not packed.
    let path = folder.path().join("c.npy");
    let info = SignalInfo::plain(vec![1, 3 << 20], 1, SampleType::U8, None);
    let mut writer = create_volume(&path, &info).unwrap();
    writer.write(&Samples::U8(vec![1; 3 << 20])).unwrap();
    writer.finish().unwrap();
    assert_refused(&path, &VolumeOptions::default(), &SMALL, "the limit is 1048576");
}

fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

#[test]
fn npy_headers_that_are_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let mut n_cases = 0;
    let deep = format!("{{'shape': {}", "(".repeat(60_000));
    for (header, words) in [
        ("", "not understood"),
        ("{", "not understood"),
        ("{}", "missing"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4)", "not understood"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (3, -4)}", "no whole number"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (3, , 4)}", "no whole number"),
        ("{'descr': '<i2', 'fortran_order': Maybe, 'shape': (3, 4)}", "True or False"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': 3}", "tuple"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4), 'x': 1}", "\"x\" is not known"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (99999999999999999999,)}", "no whole number"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (2147483648, 1073741824)}", "promises"),
        ("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 1073741824, 1024)}", "promises"),
        ("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4)}", "promises 91 bytes"),
        ("{'descr': '|i2', 'fortran_order': False, 'shape': (3, 4)}", "byte order"),
        ("{'descr': 'é2', 'fortran_order': False, 'shape': (3, 4)}", "type \"é2\""),
        ("{'descr': '', 'fortran_order': False, 'shape': (3, 4)}", "type \"\""),
        (&deep, "does not end"),
    ] {
        fs::write(&path, npy(header, &[0; 10])).unwrap();
        assert_refused(&path, &VolumeOptions::default(), &Limits::default(), words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 17);
    fs::write(&path, b"\x93NUMPY\x02\0\xff\xff\xff\xff").unwrap();
    assert_refused(&path, &VolumeOptions::default(), &Limits::default(), "claims 4294967295 bytes");
    fs::write(&path, b"\x93NUMPY\x09\0\xff\xff").unwrap();
    assert_refused(&path, &VolumeOptions::default(), &Limits::default(), "version 9");
}

/// A file cut anywhere is an error. (What numpy puts behind its values, and zip's own end, are part of the file.)
#[test]
fn cut_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for name in
        ["i16.nii", "f32_be_time.nii.gz", "le_int16.npy", "fortran3.npy", "stored.npz", "deflated.npz"]
    {
        let whole = fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name);
        for n in 0..whole.len() {
            fs::write(&path, &whole[..n]).unwrap();
            let error = read(&path, &VolumeOptions::default(), &Limits::default())
                .expect_err(&format!("{name} cut to {n} bytes"));
            assert!(matches!(error, MediaError::Damaged { .. }), "{name} cut to {n} bytes: {error}");
            n_cases += 1;
        }
    }
    println!("{n_cases} cuts");
    assert!(n_cases > 2000, "{n_cases}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn zarr_metadata_that_is_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &str, &str, &str); 24] = [
        ("zstd.zarr", "/shape", "[3, 4]", "its chunks have the shape [2,3,5]"),
        ("zstd.zarr", "/shape", "[3, 4, 0]", "axis 2 is empty"),
        ("zstd.zarr", "/shape", "[3, 4, -5]", "its shape is [3,4,-5]"),
        ("zstd.zarr", "/shape", "\"large\"", "its shape is \"large\""),
        ("zstd.zarr", "/shape", "[2147483648, 2147483648, 2147483648]", "more values than can be counted"),
        ("zstd.zarr", "/shape", "[2147483648, 4000, 5]", "its metadata promises"),
        ("zstd.zarr", "/shape", "[2147483647, 4, 5]", "its metadata promises"),
        (
            "zstd.zarr",
            "/chunk_grid/configuration/chunk_shape",
            "[0, 3, 5]",
            "its chunks have the shape [0,3,5]",
        ),
        (
            "zstd.zarr",
            "/chunk_grid/configuration/chunk_shape",
            "[18446744073709551615, 3, 5]",
            "the limit for a chunk",
        ),
        (
            "zstd.zarr",
            "/chunk_grid/configuration/chunk_shape",
            "[200000, 300000, 5]",
            "the limit for a chunk",
        ),
        ("zstd.zarr", "/chunk_grid/name", "\"irregular\"", "its chunk grid is \"irregular\""),
        ("zstd.zarr", "/fill_value", "99999", "its fill value is 99999"),
        ("gzip_be.zarr", "/fill_value", "\"0xffffffff3f800000\"", "its fill value is"),
        ("gzip_be.zarr", "/fill_value", "\"0x+3f80000\"", "its fill value is"),
        ("zstd.zarr", "/data_type", "\"complex64\"", "type \"complex64\""),
        ("zstd.zarr", "/data_type", "\"int32\"", "bytes of values"),
        ("zstd.zarr", "/zarr_format", "4", "format 4"),
        ("zstd.zarr", "/node_type", "7", "no array or group"),
        ("zstd.zarr", "/codecs", "[]", "none of its codecs"),
        ("zstd.zarr", "/codecs", "[{\"name\": \"blosc\"}]", "encoded by \"blosc\""),
        ("zstd.zarr", "/codecs", "[\"gzip\"]", "before the one that makes bytes"),
        ("transposed.zarr", "/codecs/0/configuration/order", "[0, 1, 1, 3]", "the order"),
        ("sharded.zarr", "/codecs/0/configuration/chunk_shape", "[3, 3, 2]", "cannot be cut"),
        ("zstd.zarr", "/chunk_key_encoding/name", "\"x\"", "which is not known"),
    ];
    for (i, (name, pointer, new, words)) in cases.into_iter().enumerate() {
        let path = folder.path().join(format!("{i}.zarr"));
        copy_folder(&fixture(name), &path);
        let file = path.join("zarr.json");
        let mut metadata: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        *metadata.pointer_mut(pointer).unwrap() = serde_json::from_str(new).unwrap();
        fs::write(&file, metadata.to_string()).unwrap();
        assert_refused(&path, &VolumeOptions::default(), &Limits::default(), words);
    }
    let path = folder.path().join("deep.zarr");
    fs::create_dir(&path).unwrap();
    for (text, words) in
        [("[".repeat(1 << 20), "no JSON"), ("{}".to_owned(), "format null"), (String::new(), "no JSON")]
    {
        fs::write(path.join("zarr.json"), text).unwrap();
        assert_refused(&path, &VolumeOptions::default(), &Limits::default(), words);
    }
}

#[test]
fn zarr_chunks_that_lie() {
    let folder = tempfile::tempdir().unwrap();
    let chunk = |name: &str, chunk: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        copy_folder(&fixture(name), &path);
        fs::write(path.join(chunk), bytes).unwrap();
        path
    };
    let refused = |path: &Path, words: &str| {
        assert_refused(path, &VolumeOptions::default(), &Limits::default(), words);
        fs::remove_dir_all(path).unwrap();
    };
    // 64 MiB of zeros; the second with a checksum.
    refused(&chunk("names.zarr", "0.0", &vec![0; 1 << 26]), "it has more than");
    let mut bomb = gzip(&vec![0; 1 << 26]);
    let checksum = crc32c::crc32c(&bomb).to_le_bytes();
    bomb.extend(checksum);
    refused(&chunk("gzip_be.zarr", "c/0/0/0", &bomb), "it unpacks to more than");
    // Frame headers of zstd that promise 2^62 bytes, and a window of 2^41.
    refused(
        &chunk("zstd.zarr", "c/0/0/0", b"\x28\xb5\x2f\xfd\xe0\0\0\0\0\0\0\0\x40\x01\0\0"),
        "chunk c/0/0/0",
    );
    refused(&chunk("zstd.zarr", "c/0/0/0", b"\x28\xb5\x2f\xfd\x00\xf8\x01\0\0"), "chunk c/0/0/0");
    refused(&chunk("zstd.zarr", "c/1/0/0", b""), "chunk c/1/0/0");
    let mut whole = fs::read(fixture("checksum.zarr/c/0")).unwrap();
    let n = whole.len();
    whole[n - 1] ^= 1;
    refused(&chunk("checksum.zarr", "c/0", &whole), "checksum does not fit");
    // A shard's index that points past its end, with and without a checksum that fits.
    let mut shard = fs::read(fixture("sharded.zarr/c/0/0/0")).unwrap();
    let n = shard.len();
    shard[n - 5] ^= 0x40;
    refused(&chunk("sharded.zarr", "c/0/0/0", &shard), "CRC-32C does not fit");
    let n_index = 8 * 16;
    let checksum = crc32c::crc32c(&shard[n - 4 - n_index..n - 4]).to_le_bytes();
    shard[n - 4..].copy_from_slice(&checksum);
    refused(&chunk("sharded.zarr", "c/0/0/0", &shard), "past its end");
    // Every chunk with a byte more than it has.
    let mut overlapping = fs::read(fixture("sharded.zarr/c/0/0/0")).unwrap();
    let n = overlapping.len();
    for entry in overlapping[n - 4 - n_index..n - 4].chunks_exact_mut(16) {
        entry[8] += 1;
    }
    let checksum = crc32c::crc32c(&overlapping[n - 4 - n_index..n - 4]).to_le_bytes();
    overlapping[n - 4..].copy_from_slice(&checksum);
    refused(&chunk("sharded.zarr", "c/0/0/0", &overlapping), "so some overlap");
    refused(&chunk("sharded.zarr", "c/0/0/0", b"short"), "its index of 8 chunks needs 132 bytes");
}

#[test]
fn changed_bytes_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_alloc_bytes: 1 << 26, ..Limits::default() };
    let mut state = 1u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut n_cases = 0;
    let copies = ["zstd.zarr", "gzip_be.zarr", "sharded.zarr", "transposed.zarr"];
    for name in copies {
        copy_folder(&fixture(name), &folder.path().join(name));
    }
    for name in [
        "i16.nii",
        "f32_be_time.nii.gz",
        "le_int16.npy",
        "fortran4_be.npy",
        "stored.npz",
        "deflated.npz",
        "zstd.zarr/zarr.json",
        "zstd.zarr/c/0/0/0",
        "gzip_be.zarr/c/0/0/0",
        "sharded.zarr/zarr.json",
        "sharded.zarr/c/0/0/0",
        "transposed.zarr/zarr.json",
    ] {
        let whole = fs::read(fixture(name)).unwrap();
        let path = folder.path().join(name);
        let opened = folder.path().join(name.split('/').next().unwrap());
        for round in 0..200 {
            let mut changed = whole.clone();
            for _ in 0..=round % 4 {
                let at = random(changed.len());
                changed[at] = random(256) as u8;
            }
            fs::write(&path, &changed).unwrap();
            if let Err(error) = read(&opened, &VolumeOptions::default(), &limits) {
                assert!(error.is_bad_input(), "{name}: {error}");
            }
            n_cases += 1;
        }
        fs::write(&path, &whole).unwrap();
        read(&opened, &VolumeOptions::default(), &limits).unwrap();
    }
    assert_eq!(n_cases, 12 * 200);
}

/// What a decoder hands over may come from a hostile `.asmr` file.
#[test]
fn metadata_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let info = |header: &str, array: &str| SignalInfo {
        value_range: Some(ValueRange::of(0.0, 1.0)),
        media: Media::Volume(Volume {
            container: VolumeContainer::Nifti,
            spacing: Vec::new(),
            unit: String::new(),
            header: header.to_owned(),
            array: array.to_owned(),
            big_endian: false,
        }),
        ..SignalInfo::plain(vec![2, 3], 1, SampleType::U8, None)
    };
    for header in ["00", &"00".repeat(348), &"ff".repeat(349)] {
        let error = create_volume(&folder.path().join("a.nii"), &info(header, "")).err().unwrap();
        assert!(error.to_string().contains("not one of NIfTI-1"), "{error}");
    }
    assert!(create_volume(&folder.path().join("a.nii"), &info("0g", "")).is_err());
    for name in ["../../a", "/etc/a", "a/../b", "a\\b", "C:a", "a\nb", "a//b", "."] {
        let path = folder.path().join("a.npz");
        let mut writer = create_volume(&path, &info("", name)).unwrap();
        writer.write(&Samples::U8(vec![0; 6])).unwrap();
        writer.finish().unwrap();
        let archive = zip::ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(archive.file_names().collect::<Vec<_>>(), ["arr_0.npy"], "{name:?}");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn unfinished_writers_leave_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let info = SignalInfo::plain(vec![4, 3], 1, SampleType::U8, None);
    let all = ["a.nii", "a.nii.gz", "a.npy", "a.npz", "a.raw", "a.bin", "a.zarr"];
    for name in all {
        let path = folder.path().join(name);
        if name != "a.zarr" {
            fs::write(&path, "before").unwrap();
        }
        // Dropped; finished too early; wrong types; parts of slices; too many.
        let mut writer = create_volume(&path, &info).unwrap();
        writer.write(&Samples::U8(vec![1; 6])).unwrap();
        drop(writer);
        let mut writer = create_volume(&path, &info).unwrap();
        writer.write(&Samples::U8(vec![1; 6])).unwrap();
        let error = writer.finish().unwrap_err();
        assert!(error.to_string().contains("need 12 values, not 6"), "{error}");
        let mut writer = create_volume(&path, &info).unwrap();
        for refused in [Samples::I8(vec![1; 3]), Samples::U8(vec![1; 4]), Samples::U8(vec![1; 15])] {
            assert!(writer.write(&refused).unwrap_err().is_write_failure());
        }
        drop(writer);
        if name != "a.zarr" {
            assert_eq!(fs::read(&path).unwrap(), b"before", "{name}");
            fs::remove_file(&path).unwrap();
        }
        assert!(names(folder.path()).is_empty(), "{name}: {:?}", names(folder.path()));
    }

    // A Zarr folder replaces nothing but an empty folder.
    let path = folder.path().join("b.zarr");
    let create = || {
        let mut writer = create_volume(&path, &info)?;
        writer.write(&Samples::U8((0..12).collect()))?;
        writer.finish()
    };
    fs::create_dir(&path).unwrap();
    create().unwrap();
    assert_eq!(names(&path), ["c", "zarr.json"]);
    let error = create().unwrap_err();
    assert!(error.is_write_failure() && error.to_string().contains("replaces nothing"), "{error}");
    fs::remove_dir_all(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    assert!(create().unwrap_err().to_string().contains("replaces nothing"));
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    fs::remove_file(&path).unwrap();
    create().unwrap();
    assert_eq!(names(folder.path()), ["b.zarr"]);
    let nowhere = folder.path().join("none/b.zarr");
    let error = create_volume(&nowhere, &info).err().unwrap();
    assert!(error.to_string().contains("does not exist; create it first"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let info = SignalInfo::plain(vec![4, 3], 1, SampleType::U8, None);
    let pipe = folder.path().join("pipe.npy");
    if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        // Looking into a pipe would take its bytes away.
        assert_eq!(volume_kind(&pipe).unwrap(), None);
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        let mut writer = create_volume(&pipe, &info).unwrap();
        writer.write(&Samples::U8((0..12).collect())).unwrap();
        writer.finish().unwrap();
        assert!(reader.join().unwrap().ends_with(&[9, 10, 11]));
    } else {
        println!("skipped: mkfifo is missing");
    }
    let (plain, ours) = (folder.path().join("plain"), folder.path().join("a.zarr"));
    fs::create_dir(&plain).unwrap();
    let mut writer = create_volume(&ours, &info).unwrap();
    writer.write(&Samples::U8((0..12).collect())).unwrap();
    writer.finish().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&ours), mode(&plain));
}
