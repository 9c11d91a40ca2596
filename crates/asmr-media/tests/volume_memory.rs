//! Volumes go slice by slice in both directions. Alone in its file: the peak is the whole process's.

use std::fs::{self, File};

use asmr::signal::SampleType;
use asmr_media::{Limits, VolumeOptions, create_volume, open_volume};

/// The largest resident size so far, from the kernel.
fn peak_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn volumes_stream() {
    let Some(_) = peak_kib() else {
        println!("skipped: there is no /proc/self/status");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // 64 MiB of zeros that take no room on the disk.
    let path = folder.path().join("a.raw");
    File::create(&path).unwrap().set_len(64 << 20).unwrap();
    let options = VolumeOptions {
        shape: Some(vec![128, 512, 512]),
        dtype: Some(SampleType::I16),
        ..VolumeOptions::default()
    };
    let mut n_cases = 0;
    for name in ["b.nii", "b.nii.gz", "b.npy", "b.npz", "b.zarr"] {
        let before = peak_kib().unwrap();
        let mut reader = open_volume(&path, &options, &Limits::default()).unwrap();
        let mut writer = create_volume(&folder.path().join(name), reader.info()).unwrap();
        for _ in 0..128 {
            writer.write(&reader.read(1).unwrap()).unwrap();
        }
        writer.finish().unwrap();
        let written =
            open_volume(&folder.path().join(name), &VolumeOptions::default(), &Limits::default()).unwrap();
        assert_eq!(written.info().extents, [128, 512, 512]);
        let grown = peak_kib().unwrap() - before;
        println!("{name}: peak +{grown} KiB");
        // A row of Zarr's chunks has 32 MiB; the others have slices of 512 KiB.
        let limit = if name == "b.zarr" { 48 << 10 } else { 24 << 10 };
        assert!(grown < limit, "{name}: peak grew by {grown} KiB");
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
}
