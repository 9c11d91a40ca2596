//! Thumbnails of signals in chunks: as many slices as the chunks give, and where they lie.

mod common;

use asmr::metadata::{Audio, AudioContainer, Volume, VolumeContainer};
use asmr::signal::{Media, SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{ReadOptions, create_signal, open_signal};
use common::{Folder, QUICK};

/// Writes a signal of 16-bit values.
fn write(folder: &Folder, name: &str, extents: &[usize], media: Media) {
    let n = extents.iter().product::<usize>() as i16;
    let samples = Samples::I16((0..n).map(|i| i % 37 * 100).collect());
    let (low, high) = samples.min_max().unwrap();
    let info = SignalInfo {
        value_range: Some(ValueRange::of(low, high)),
        media,
        ..SignalInfo::plain(extents.to_vec(), 1, SampleType::I16, None)
    };
    let mut writer = create_signal(&folder.path(name), &info).unwrap();
    writer.write(&samples).unwrap();
    writer.finish().unwrap();
}

fn encode(folder: &Folder, input: &str, options: &[&str]) {
    let call = ["encode", input, "-o", "n.asmr", "--quiet"];
    folder.run(call.iter().chain(options).chain(&QUICK)).expect(0);
}

fn info_of(folder: &Folder, name: &str) -> SignalInfo {
    open_signal(&folder.path(name), &ReadOptions::default()).unwrap().reader.info().clone()
}

/// Byte of a NIfTI-1 header where the affine transform's rows begin: x, y, z, of four numbers each.
const AFFINE: usize = 280;

/// Numbers of a NIfTI-1 header from a byte on.
fn floats(volume: &Volume, start: usize, n: usize) -> Vec<f32> {
    let byte = |i: usize| u8::from_str_radix(&volume.header[2 * i..][..2], 16).unwrap();
    (0..n).map(|i| f32::from_le_bytes(std::array::from_fn(|k| byte(start + 4 * i + k)))).collect()
}

/// 145 samples in chunks of 72 leave a chunk of one, which is its own mean.
#[test]
fn a_last_chunk_of_one_sample() {
    let folder = Folder::new();
    let media = Media::Audio(Audio {
        sample_rate: 8000,
        bits_per_sample: 16,
        container: AudioContainer::Wav,
        start: 0,
    });
    write(&folder, "s.wav", &[145], media);
    encode(&folder, "s.wav", &["--chunk", "72", "--bases", "6,12"]);
    folder.run(["decode", "n.asmr", "-o", "t.wav", "--thumbnail", "4"]).expect(0);
    let info = info_of(&folder, "t.wav");
    let Media::Audio(audio) = &info.media else { panic!("{info:?}") };
    assert_eq!((info.extents[0], audio.sample_rate), (37, 2000));
    // The last one is the sample itself.
    folder.run(["decode", "n.asmr", "-o", "t.npy", "--thumbnail", "4"]).expect(0);
    folder.run(["decode", "n.asmr", "-o", "w.npy"]).expect(0);
    let [small, whole] = ["t.npy", "w.npy"].map(|name| common::read_npy(&folder.read(name)).1);
    assert_eq!((small.len(), whole.len()), (37, 145));
    assert_eq!(small[36].to_bits(), whole[144].to_bits());
}

/// The slowest axis keeps its samples where a chunk has one slice, and so their places.
#[test]
fn volumes_in_chunks_of_a_slice_keep_their_places() {
    let folder = Folder::new();
    let media = Media::Volume(Volume {
        container: VolumeContainer::Nifti,
        spacing: vec![1.5, 0.75, 0.5],
        unit: "mm".to_owned(),
        header: String::new(),
        array: String::new(),
        big_endian: false,
    });
    write(&folder, "v.nii", &[6, 8, 10], media);
    // An affine transform: its code, and where the first sample is.
    let mut bytes = folder.read("v.nii");
    bytes[254] = 1;
    for (i, x) in [0.5f32, 0.0, 0.0, 10.0, 0.0, 0.75, 0.0, 20.0, 0.0, 0.0, 1.5, 30.0].iter().enumerate() {
        bytes[AFFINE + 4 * i..][..4].copy_from_slice(&x.to_le_bytes());
    }
    folder.write("v.nii", &bytes);
    let mut n_cases = 0;
    for (options, slices, step, first) in [
        (&["--chunk", "1", "--bases", "1,1;4,2;5,2"][..], 6, 1.0, 30.0),
        // Of two samples the mean lies in the middle.
        (&["--chunk", "4", "--bases", "2,2;4,2;5,2"], 3, 2.0, 30.75),
        (&["--bases", "3,2;4,2;5,2"], 3, 2.0, 30.75),
    ] {
        encode(&folder, "v.nii", options);
        folder.run(["decode", "n.asmr", "-o", "t.nii", "--thumbnail", "2"]).expect(0);
        let info = info_of(&folder, "t.nii");
        let Media::Volume(volume) = &info.media else { panic!("{info:?}") };
        assert_eq!(info.extents, [slices, 4, 5], "{options:?}");
        assert_eq!(volume.spacing, [1.5 * step, 1.5, 1.0], "{options:?}");
        let affine = [1.0, 0.0, 0.0, 10.25, 0.0, 1.5, 0.0, 20.375, 0.0, 0.0, 1.5 * step as f32, first];
        assert_eq!(floats(volume, AFFINE, 12), affine, "{options:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}

/// A mesh's grid is as fine along all axes.
#[test]
fn shapes_in_chunks_of_a_slice_have_no_thumbnails() {
    let folder = Folder::new();
    folder.write("m.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n");
    for (chunk, bases, is_fine) in [("1", "1,1", false), ("8", "4,2", true)] {
        let bases = format!("{bases};8,2;8,2");
        encode(&folder, "m.obj", &["--resolution", "16", "--chunk", chunk, "--bases", &bases]);
        folder.run(["decode", "n.asmr", "-o", "whole.npy"]).expect(0);
        let told = folder.run(["decode", "n.asmr", "-o", "t.npy", "--thumbnail", "2"]);
        if is_fine {
            told.expect(0);
        } else {
            told.refuses(2, &["--thumbnail 2", "chunks of one slice"]);
        }
    }
}
