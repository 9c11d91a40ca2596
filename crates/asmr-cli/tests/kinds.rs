//! Sound, films, volumes and shapes through every verb.

mod common;

use std::path::Path;

use asmr::metadata::{Audio, AudioContainer, Media, Video, Volume, VolumeContainer};
use asmr::signal::{ColorType, SampleType, Samples, SignalInfo, ValueRange};
use asmr_media::{ReadOptions, compare_meshes, create_signal, open_signal, read_mesh, surface, write_mesh};
use common::{Folder, QUICK};

/// A wave with some detail, 0 to 1.
fn wave(i: usize) -> f64 {
    let x = i as f64;
    0.5 + 0.3 * (x * 0.05).sin() + 0.15 * (x * 0.31).cos()
}

fn write(path: &Path, info: &SignalInfo, samples: &Samples) {
    let mut writer = create_signal(path, info).unwrap();
    writer.write(samples).unwrap();
    writer.finish().unwrap();
}

/// A recording of `n` samples, two channels, 16 bits.
fn sound(path: &Path, n: usize) {
    let samples = Samples::I16((0..2 * n).map(|i| ((wave(i) - 0.5) * 20_000.0) as i16).collect());
    let (low, high) = samples.min_max().unwrap();
    let media = Media::Audio(Audio {
        sample_rate: 8000,
        bits_per_sample: 16,
        container: AudioContainer::Wav,
        start: 0,
    });
    let info = SignalInfo {
        value_range: Some(ValueRange::of(low, high)),
        media,
        ..SignalInfo::plain(vec![n], 2, SampleType::I16, None)
    };
    write(path, &info, &samples);
}

/// A grey film of `n` frames of 12 × 16.
fn film(path: &Path, n: usize) {
    let samples = Samples::U8((0..n * 12 * 16).map(|i| (wave(i) * 255.0) as u8).collect());
    let info = SignalInfo {
        media: Media::Video(Video { rate: [24_000, 1001], first_frame: 0 }),
        ..SignalInfo::plain(vec![n, 12, 16], 1, SampleType::U8, Some(ColorType::Gray))
    };
    write(path, &info, &samples);
}

/// A volume of 6 × 8 × 10 values in Hounsfield units.
fn volume(path: &Path, container: VolumeContainer) {
    let samples = Samples::I16((0..6 * 8 * 10).map(|i| (wave(i) * 3000.0 - 1000.0) as i16).collect());
    let (low, high) = samples.min_max().unwrap();
    let media = Media::Volume(Volume {
        container,
        spacing: vec![1.5, 0.75, 0.75],
        unit: "mm".to_owned(),
        header: String::new(),
        array: String::new(),
        big_endian: false,
    });
    let info = SignalInfo {
        value_range: Some(ValueRange::of(low, high)),
        media,
        ..SignalInfo::plain(vec![6, 8, 10], 1, SampleType::I16, None)
    };
    write(path, &info, &samples);
}

/// A tetrahedron.
const MESH: &str = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n";

/// Shape, type and metadata of a file's signal.
fn info_of(path: &Path) -> SignalInfo {
    open_signal(path, &ReadOptions::default()).unwrap().reader.info().clone()
}

/// Everything but the range of values, which a decode need not reach.
fn kind_of(path: &Path) -> SignalInfo {
    SignalInfo { value_range: None, ..info_of(path) }
}

fn encode(folder: &Folder, input: &str, options: &[&str]) {
    let call = ["encode", input, "-o", "n.asmr", "--quiet"];
    folder.run(call.iter().chain(options).chain(&QUICK)).expect(0);
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 700);
    sound(&folder.path("s.flac"), 700);
    film(&folder.path("f.y4m"), 5);
    volume(&folder.path("v.nii"), VolumeContainer::Nifti);
    volume(&folder.path("v.nii.gz"), VolumeContainer::Nifti);
    volume(&folder.path("v.npy"), VolumeContainer::Npy);
    volume(&folder.path("v.zarr"), VolumeContainer::Zarr);
    let cases = [
        ("s.wav", "out.wav", "snr_db"),
        ("s.flac", "out.flac", "lsd_db"),
        ("f.y4m", "out.y4m", "psnr_db_worst"),
        ("v.nii", "out.nii", "psnr_db"),
        ("v.nii.gz", "out.nii.gz", "psnr_db"),
        ("v.npy", "out.npy", "psnr_db"),
        ("v.zarr", "out.zarr", "psnr_db"),
    ];
    for (input, output, key) in cases {
        encode(&folder, input, &[]);
        folder.run(["decode", "n.asmr", "-o", output]).expect(0);
        assert_eq!(kind_of(&folder.path(output)), kind_of(&folder.path(input)), "{input}");
        let eval = folder.run(["eval", "n.asmr", input, "--reps", "1", "--json"]).expect(0).json();
        assert!(eval["psnr_db"].as_f64().unwrap() > 5.0, "{input}: {eval}");
        assert!(eval[key].is_number(), "{input}: {eval}");
        // What was decoded is what was compared: its largest error is the one told.
        let read = |name: &str| {
            let mut opened = open_signal(&folder.path(name), &ReadOptions::default()).unwrap();
            let n = opened.reader.info().extents[0];
            opened.reader.read(n).unwrap()
        };
        let largest = asmr_media::largest_difference(&read(input), &read(output));
        assert_eq!(eval["max_abs_error"].as_f64(), Some(largest), "{input}");
        let info = folder.run(["info", "n.asmr", "--json"]).expect(0).json();
        assert!(info["media"]["kind"].is_string(), "{info}");
    }
    assert_eq!(cases.len(), 7);
}

#[test]
fn shapes_become_meshes_again() {
    let folder = Folder::new();
    folder.write("m.obj", MESH.as_bytes());
    for (options, field) in [(&[][..], "occupancy"), (&["--field", "distance"][..], "distance")] {
        let mut call =
            vec!["encode", "m.obj", "-o", "n.asmr", "--quiet", "--resolution", "16", "--width", "48"];
        call.extend(options);
        folder.run(call.iter().chain(&["--steps", "400"])).expect(0);
        let info = folder.run(["info", "n.asmr", "--json"]).expect(0).json();
        assert_eq!(info["media"]["field"], field);
        let eval = folder.run(["eval", "n.asmr", "m.obj", "--reps", "1", "--json"]).expect(0).json();
        assert!(eval["iou"].as_f64().unwrap() > 0.8, "{eval}");
        // A sixteenth of the side is about a voxel.
        assert!(eval["chamfer"].as_f64().unwrap() < 0.07, "{eval}");
        assert!(eval["normal_consistency"].as_f64().unwrap() > 0.7, "{eval}");
        for output in ["out.ply", "out.obj", "out.stl"] {
            folder.run(["decode", "n.asmr", "-o", output]).expect(0);
            let mesh = asmr_media::read_mesh(&folder.path(output), &asmr_media::Limits::default()).unwrap();
            assert!(mesh.triangles.len() > 50, "{output}");
        }
    }
    folder.run(["decode", "n.asmr", "-o", "out.wav"]).refuses(2, &["out.wav"]);
}

#[test]
fn parts_are_cut_alike_by_encode_and_eval() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 1000);
    encode(&folder, "s.wav", &["--start", "0.05", "--duration", "0.025"]);
    let info = folder.run(["info", "n.asmr", "--json"]).expect(0).json();
    assert_eq!((info["extents"][0].as_u64(), info["media"]["start"].as_u64()), (Some(200), Some(400)));
    folder.run(["eval", "n.asmr", "s.wav", "--reps", "1"]).expect(0);
    // The same samples by seconds and by numbers.
    folder.run(["decode", "n.asmr", "-o", "a.wav", "--region", "0.01s..0.02s"]).expect(0);
    folder.run(["decode", "n.asmr", "-o", "b.wav", "--region", "80..160"]).expect(0);
    // The end as it is shown, a sample or two too late.
    folder.run(["decode", "n.asmr", "-o", "end.wav", "--region", "0.02s..0.0251s"]).expect(0);
    assert_eq!(info_of(&folder.path("end.wav")).extents, [40]);
    let mut other = folder.read("s.wav");
    other[24..28].copy_from_slice(&16_000u32.to_le_bytes());
    folder.write("other.wav", &other);
    folder.run(["eval", "n.asmr", "other.wav"]).refuses(2, &["8000 Hz", "16000 Hz"]);
    assert_eq!(folder.read("a.wav"), folder.read("b.wav"));
    assert_eq!(info_of(&folder.path("a.wav")).extents, [80]);

    film(&folder.path("f.y4m"), 9);
    encode(&folder, "f.y4m", &["--frames", "2..7"]);
    let info = folder.run(["info", "n.asmr", "--json"]).expect(0).json();
    assert_eq!(info["extents"][0], 5);
    folder.run(["eval", "n.asmr", "f.y4m", "--reps", "1"]).expect(0);
    folder.run(["decode", "n.asmr", "-o", "part.y4m", "--frames", "1..3"]).expect(0);
    assert_eq!(info_of(&folder.path("part.y4m")).extents, [2, 12, 16]);
    folder
        .run(["decode", "n.asmr", "-o", "none.y4m", "--frames", "1..9"])
        .refuses(2, &["--frames has", "1..9"]);
    // A folder that is there and empty is as good as none.
    std::fs::create_dir(folder.path("frames")).unwrap();
    folder.run(["decode", "n.asmr", "-o", "frames"]).expect(0);
    assert_eq!(std::fs::read_dir(folder.path("frames")).unwrap().count(), 5);

    volume(&folder.path("v.npy"), VolumeContainer::Npy);
    let values = folder.read("v.npy");
    folder.write("v.raw", &values[values.len() - 960..]);
    encode(&folder, "v.raw", &["--shape", "6,8,10", "--dtype", "i16", "--spacing", "1.5,0.75,0.75"]);
    folder.run(["eval", "n.asmr", "v.raw", "--reps", "1"]).expect(0);
    // The same values in a file that tells its shape itself.
    folder.run(["eval", "n.asmr", "v.npy", "--reps", "1"]).expect(0);
    folder.run(["decode", "n.asmr", "-o", "slices.nii", "--region", "2..4,..,1..9"]).expect(0);
    let slices = info_of(&folder.path("slices.nii"));
    assert_eq!((slices.extents, slices.sample_type), (vec![2, 8, 8], SampleType::I16));
}

#[test]
fn long_signals_are_cut_into_chunks() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 900);
    encode(&folder, "s.wav", &["--chunk", "400"]);
    let info = folder.run(["info", "n.asmr", "--json"]).expect(0).json();
    assert_eq!((info["n_chunks"].as_u64(), info["chunk_extent"].as_u64()), (Some(3), Some(400)));
    folder.run(["eval", "n.asmr", "s.wav", "--reps", "1"]).expect(0);
    // A region over a border is what the whole has there.
    folder.run(["decode", "n.asmr", "-o", "all.npy"]).expect(0);
    folder.run(["decode", "n.asmr", "-o", "part.npy", "--region", "390..810"]).expect(0);
    let (all, part) = (folder.read("all.npy"), folder.read("part.npy"));
    let tail = |bytes: &[u8], n: usize| bytes[bytes.len() - n..].to_vec();
    assert_eq!(tail(&part, 420 * 8), tail(&all, 900 * 8)[390 * 8..810 * 8]);
    // A network at a time: what takes one says so.
    folder.run(["export", "n.asmr"]).refuses(2, &["3 networks", "--chunk"]);
    folder.run(["decode", "n.asmr", "-o", "t.wav", "--thumbnail", "3"]).refuses(2, &["--thumbnail"]);
    assert!(folder.names().iter().all(|name| !name.contains(".part") && !name.contains(".resume")));
}

/// Ended by the system in the middle, a fit goes on and gives the same file.
#[cfg(unix)]
#[test]
fn a_killed_fit_goes_on() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 6000);
    let mut n_kills = 0;
    for options in [&[][..], &["--chunk", "2500"][..]] {
        let call = |output: &'static str| {
            let call = ["encode", "s.wav", "-o", output, "--quiet", "--width", "64", "--steps", "400"];
            [&call[..], options].concat()
        };
        folder.run(call("expected.asmr")).expect(0);
        for _ in 0..4 {
            let mut resumed = call("n.asmr");
            resumed.extend(["--checkpoint", "20ms", "--resume"]);
            let mut child = folder.command(resumed).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(120));
            child.kill().unwrap();
            child.wait().unwrap();
            n_kills += 1;
        }
        let mut last = call("n.asmr");
        last.push("--resume");
        folder.run(last).expect(0);
        assert_eq!(folder.read("n.asmr"), folder.read("expected.asmr"), "{options:?}");
        let left: Vec<_> = folder.names().into_iter().filter(|name| name.contains(".resume")).collect();
        assert!(left.is_empty(), "{left:?}");
        std::fs::remove_file(folder.path("n.asmr")).unwrap();
    }
    assert_eq!(n_kills, 8);
}

/// What values mean is kept, not applied: it is said where it matters.
#[test]
fn scales_of_nifti_are_told() {
    let folder = Folder::new();
    volume(&folder.path("v.nii"), VolumeContainer::Nifti);
    let plain = folder.read("v.nii");
    let mut n_cases = 0;
    // A slope of 0 says that there is none.
    for (slope, intercept, is_told) in
        [(1f32, 0f32, false), (0.0, 7.0, false), (2.5, 0.0, true), (1.0, -1024.0, true), (0.25, 8.5, true)]
    {
        let mut scaled = plain.clone();
        scaled[112..116].copy_from_slice(&slope.to_le_bytes());
        scaled[116..120].copy_from_slice(&intercept.to_le_bytes());
        folder.write("v.nii", &scaled);
        let words = format!("{slope} times");
        let notes = |line: &str, is_told: bool| {
            let said = folder.asmr(line).expect(0).stderr;
            let is_right = said.contains(&words) && said.contains(&intercept.to_string());
            assert_eq!((is_right, said.lines().count()), (is_told, usize::from(is_told)), "{line}: {said}");
        };
        notes("encode v.nii -o n.asmr --width 8 --steps 2 --quiet", is_told);
        notes("decode n.asmr -o out.npy --quiet", is_told);
        notes("decode n.asmr -o out.nii --quiet", false);
        notes("decode n.asmr -o out.nii.gz --quiet", false);
        assert_eq!(folder.read("out.nii")[112..120], scaled[112..120]);
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
}

/// Where values are corrected, the mesh is that of the corrected ones, and quality is told of that.
#[test]
fn corrected_shapes_are_meshes_of_what_is_corrected() {
    let folder = Folder::new();
    folder.write("m.obj", MESH.as_bytes());
    let options = ReadOptions { resolution: Some(16), ..ReadOptions::default() };
    let mut original = open_signal(&folder.path("m.obj"), &options).unwrap().reader;
    let info = original.info().clone();
    let Samples::U8(inside) = original.read(16).unwrap() else { panic!("occupancy is a byte") };
    let values: Vec<f32> = inside.iter().map(|&value| f32::from(value)).collect();
    let expected = surface(&info, &values, 0.5).unwrap();
    write_mesh(&folder.path("expected.ply"), &expected).unwrap();
    let whole = read_mesh(&folder.path("m.obj"), &options.limits).unwrap();
    let scores = compare_meshes(&whole, &expected, 100_000, 0).unwrap();

    let line = "m.obj -o n.asmr --resolution 16 --width 8 --steps 2 --quiet --json --lossless";
    let told = folder.asmr(&format!("encode {line}")).expect(0).json();
    assert_eq!(told["max_abs_error"], 0.0, "{told:#}");
    common::assert_close(&told["chamfer"], Some(scores.chamfer));
    folder.asmr("decode n.asmr -o out.ply").expect(0);
    assert_eq!(folder.read("out.ply"), folder.read("expected.ply"));
    folder.asmr("decode n.asmr -o out.obj --precision int16").refuses(2, &["n.asmr", "--precision"]);

    let before = folder.names();
    for output in ["b.nii", "b.png", "b"] {
        folder.run(["decode", "n.asmr", "-o", output]).refuses(2, &[output, ".ply, .obj and .stl", ".npy"]);
    }
    assert_eq!(folder.names(), before);
}

#[test]
fn damaged_states_are_refused() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 500);
    let call = ["encode", "s.wav", "-o", "n.asmr", "--resume", "--steps", "10", "--width", "8"];
    // Nonsense, and what an earlier version kept.
    for state in
        [b"ASMRRSM3 and something else entirely, long enough", &b"ASMRRSM2\0\0\0\0\x70\xbd\xce\x2c"[..]]
    {
        folder.write("n.asmr.resume", state);
        folder.run(call).refuses(2, &["n.asmr.resume", "damaged or no state", "remove it"]);
    }
    folder.run(&call[..4]).refuses(2, &["n.asmr.resume", "--resume", "remove it"]);
    let said = {
        std::fs::remove_file(folder.path("n.asmr.resume")).unwrap();
        folder.run(call).expect(0).stderr
    };
    assert!(said.contains("nothing to go on from"), "{said}");
}

#[test]
fn bad_signals() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 500);
    film(&folder.path("f.y4m"), 4);
    let wav = folder.read("s.wav");
    folder.write("cut.wav", &wav[..wav.len() / 2]);
    folder.write("silent.wav", &wav[..44]);
    let y4m = folder.read("f.y4m");
    folder.write("cut.y4m", &y4m[..y4m.len() - 10]);
    folder.write("none.y4m", &y4m[..=y4m.iter().position(|&b| b == b'\n').unwrap()]);
    folder.write("v.raw", &[0; 480]);
    folder.write("points.obj", b"v 0 0 0\nv 1 0 0\n");
    let nan: Vec<u8> = [1.0f32, f32::NAN, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    folder.write("nan.raw", &nan);
    let before = folder.names();
    let cases: [(&str, &[&str]); 17] = [
        ("cut.wav", &["cut.wav"]),
        ("silent.wav", &["silent.wav"]),
        ("cut.y4m", &["cut.y4m"]),
        ("none.y4m", &["none.y4m"]),
        ("s.wav --start 1", &["s.wav"]),
        ("s.wav --duration 0", &["s.wav"]),
        ("s.wav --frames 0..2", &["--frames", "film"]),
        ("f.y4m --frames 4..9", &["f.y4m"]),
        ("f.y4m --start 1", &["--start", "recording"]),
        ("v.raw", &["v.raw"]),
        ("v.raw --shape 6,8,11 --dtype i16", &["v.raw", "480"]),
        ("v.raw --shape 1,2,2,3,4 --dtype i16", &["--shape"]),
        ("v.raw --shape 6,8,5", &["--dtype"]),
        ("v.raw --shape 6,8,5 --dtype i24", &["--dtype"]),
        ("nan.raw --shape 4 --dtype f32", &["NaN"]),
        ("points.obj", &["points.obj"]),
        ("s.wav --resolution 64", &["--resolution", "mesh"]),
    ];
    for (line, words) in cases {
        let call = format!("encode {line} -o n.asmr --steps 2 --width 8");
        folder.asmr(&call).refuses(2, words);
    }
    assert_eq!(cases.len(), 17);
    folder.run(["encode", ".", "-o", "n.asmr"]).refuses(2, &["folder"]);
    assert_eq!(folder.names(), before, "nothing was written");
}

/// What is the same everywhere has nothing to learn, and comes back exactly.
#[test]
fn constant_signals() {
    let folder = Folder::new();
    let values = vec![0u8; 2 * 480];
    folder.write("zero.raw", &values);
    for dtype in ["i16", "u16", "i8", "f32", "f64", "u32"] {
        let n = 960 / bytes_of(dtype);
        let shape = n.to_string();
        encode(&folder, "zero.raw", &["--shape", &shape, "--dtype", dtype]);
        let eval = folder.run(["eval", "n.asmr", "zero.raw", "--reps", "1", "--json"]).expect(0).json();
        assert!(eval["max_abs_error"].as_f64().unwrap() < 0.1, "{dtype}: {eval}");
        folder.run(["decode", "n.asmr", "-o", "out.raw"]).expect(0);
        assert_eq!(folder.read("out.raw").len(), values.len());
    }
}

/// Bytes of a type by its name on the command line.
fn bytes_of(dtype: &str) -> usize {
    match dtype {
        "i8" => 1,
        "i16" | "u16" => 2,
        "f64" => 8,
        _ => 4,
    }
}

/// Fewer samples of the same seconds.
#[test]
fn thumbnails_last_as_long() {
    let folder = Folder::new();
    sound(&folder.path("s.wav"), 72);
    encode(&folder, "s.wav", &["--bases", "6,12"]);
    folder.run(["decode", "n.asmr", "-o", "t.wav", "--thumbnail", "4"]).expect(0);
    let info = info_of(&folder.path("t.wav"));
    let Media::Audio(audio) = &info.media else { panic!("{info:?}") };
    assert_eq!((info.extents[0], audio.sample_rate), (18, 2000));
    folder.run(["decode", "n.asmr", "-o", "none.wav", "--thumbnail", "3"]).refuses(2, &["8000 Hz", "factor"]);

    film(&folder.path("f.y4m"), 8);
    encode(&folder, "f.y4m", &["--bases", "2,4;3,4;4,4"]);
    folder.run(["decode", "n.asmr", "-o", "t.y4m", "--thumbnail", "4"]).expect(0);
    let info = info_of(&folder.path("t.y4m"));
    let Media::Video(video) = &info.media else { panic!("{info:?}") };
    assert_eq!((info.extents.as_slice(), video.rate), (&[2, 3, 4][..], [6000, 1001]));
    // Time keeps its samples where a chunk has one.
    encode(&folder, "f.y4m", &["--bases", "1,1;3,4;4,4", "--chunk", "1"]);
    folder.run(["decode", "n.asmr", "-o", "t.y4m", "--thumbnail", "4"]).expect(0);
    let info = info_of(&folder.path("t.y4m"));
    let Media::Video(video) = &info.media else { panic!("{info:?}") };
    assert_eq!((info.extents.as_slice(), video.rate), (&[8, 3, 4][..], [24_000, 1001]));
}

/// All chunks together have more digits than one network may have.
#[test]
fn many_chunks_of_large_bases() {
    let folder = Folder::new();
    let values: Vec<u8> = (0..128).flat_map(|i| (wave(i) as f32).to_le_bytes()).collect();
    folder.write("v.raw", &values);
    let call =
        "encode v.raw --shape 64,2 --dtype f32 --chunk 1 --bases 262144,4;2,1 --width 1 --steps 1 --quiet";
    folder.asmr(&format!("{call} -o n.asmr")).expect(0);
    folder.asmr("decode n.asmr -o out.raw").expect(0);
    assert_eq!(folder.read("out.raw").len(), values.len());
}

/// The measures do not depend on the unit that values are in.
#[test]
fn smallest_and_largest_doubles() {
    let folder = Folder::new();
    let mut n_cases = 0;
    for scale in [1e-310, 1e-170, 1e170, 1e300] {
        let values: Vec<u8> = (0..144).flat_map(|i| (wave(i) * scale).to_le_bytes()).collect();
        folder.write("v.raw", &values);
        encode(&folder, "v.raw", &["--shape", "12,12", "--dtype", "f64"]);
        let eval = folder.run(["eval", "n.asmr", "v.raw", "--reps", "1", "--json"]).expect(0).json();
        assert!((5.0..300.0).contains(&eval["psnr_db"].as_f64().unwrap()), "{scale}: {eval}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}
