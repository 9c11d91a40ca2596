//! Wrong calls and unusable input: one sentence, exit code 2, nothing left behind.

mod common;

use asmr::file::AsmrFile;
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::signal::{SampleType, SignalInfo};
use common::{Folder, GREY, RGB};

#[test]
fn unusable_pictures() {
    let folder = Folder::new();
    folder.picture("good.png", 20, 20, RGB);
    let png = folder.read("good.png");
    folder.write("cut.png", &png[..png.len() * 2 / 3]);
    folder.write("header.png", &png[..20]);
    folder.write("empty.png", b"");
    folder.write("text.png", b"This is not a picture.\n");
    folder.write("zero.ppm", b"P6\n0 0\n255\n");
    folder.write("huge.ppm", b"P6\n99999 99999\n255\nabc");
    let mut huge = png.clone();
    huge[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
    folder.write("huge.png", &huge);
    std::fs::create_dir(folder.path("folder.png")).unwrap();
    let before = folder.names();
    let cases: [(&str, &[&str]); 9] = [
        ("missing.png", &["cannot read missing.png"]),
        ("cut.png", &["cut.png", "damaged or truncated"]),
        ("header.png", &["header.png"]),
        ("empty.png", &["empty.png", "empty"]),
        ("text.png", &["text.png", "not a picture", "PNG"]),
        ("zero.ppm", &["zero.ppm"]),
        ("huge.ppm", &["huge.ppm", "limit"]),
        ("huge.png", &["huge.png", "2147483647", "limit"]),
        ("folder.png", &["folder.png", "folder"]),
    ];
    let mut n_cases = 0;
    for (name, words) in cases {
        folder.run(["encode", name, "-o", "out.asmr", "--steps", "2"]).refuses(2, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
    assert_eq!(folder.names(), before, "nothing was written");
}

/// Where a decoder panics, all that is said is our sentence. (This one does with AVX2 only.)
#[test]
#[cfg(target_arch = "x86_64")]
fn panics_of_decoders_are_not_told() {
    if !is_x86_feature_detected!("avx2") {
        println!("skipped: this processor has no AVX2");
        return;
    }
    let folder = Folder::new();
    let jpeg = include_bytes!("../../../fuzz/regressions/pictures/jpeg-that-its-decoder-panics-on");
    std::fs::write(folder.path("p.jpg"), jpeg).unwrap();
    folder
        .run(["encode", "p.jpg", "-o", "out.asmr", "--steps", "2"])
        .refuses(2, &["p.jpg", "JPEG", "damaged"]);
    assert_eq!(folder.names(), ["p.jpg"]);
}

/// A small file may describe any extents; what it asks for is refused until `--limits` allows it.
#[test]
fn limits_are_raised_by_hand() {
    let folder = Folder::new();
    let extents = vec![1 << 17, 1 << 16];
    let bases = vec![vec![1 << 9, 1 << 8], vec![1 << 8, 1 << 8]];
    let config = NetworkConfig {
        partition: Partition::new(&extents, &bases).unwrap(),
        channels: 1,
        width: 4,
        omega_0: 30.0,
        modulator: Modulator::Linear,
    };
    let signal = SignalInfo::plain(extents, 1, SampleType::U8, None);
    let network = Network::init(config, 1, 1.0).unwrap();
    let file = AsmrFile { signal, network, steps: None, fit: None };
    folder.write("large.asmr", &file.to_bytes().unwrap());
    folder.run(["info", "large.asmr"]).refuses(2, &["large.asmr", "8589934592 decoded values", "--limits"]);
    folder.run(["info", "large.asmr", "--limits", "2"]).expect(0);
    folder.run(["verify", "large.asmr", "--limits", "2"]).expect(0);
    for wrong in ["0", "1025", "-1", "2.5"] {
        folder.run(["info", "large.asmr", "--limits", wrong]).refuses(2, &["--limits", "1 to 1024"]);
    }
}

#[test]
fn wrong_options() {
    let folder = Folder::new();
    folder.picture("p.png", 20, 30, RGB);
    let before = folder.names();
    let cases: [(&str, &[&str]); 38] = [
        ("--bases 4,4;4,8", &["axis 0", "16", "20", "at least"]),
        ("--bases 4,5", &["1 lists", "2 axes"]),
        ("--bases 4,5;5,6;2,2", &["3 lists", "2 axes"]),
        ("--bases 4,5;5,3,2", &["same number of levels"]),
        ("--bases 20;30", &["2 to 32 levels"]),
        ("--bases 4,x;5,6", &["'x'", "4,4,4,8;4,4,6,8"]),
        ("--bases 0,20;5,6", &["base 0"]),
        ("--bases -4,5;5,6", &["'-4'"]),
        ("--bases 99999999,99999999;5,6", &["multiply to more than"]),
        ("--bases 4,5;5,6 --levels 3", &["--levels 3", "2 levels", "contradict"]),
        ("--bases 4,5;5,6 --mac 100", &["--mac and --bases contradict"]),
        ("--levels 1", &["--levels", "2 to 32"]),
        ("--levels 33", &["--levels", "2 to 32"]),
        ("--levels four", &["--levels", "2 to 32"]),
        ("--width 0", &["--width", "1 to 16384"]),
        ("--width -3", &["--width", "1 to 16384"]),
        ("--width 99999", &["--width", "1 to 16384"]),
        ("--steps 0", &["--steps", "1 to 1000000000"]),
        ("--seed -1", &["--seed", "0 to"]),
        ("--lr nan", &["--lr", "above 0 and at most 1"]),
        ("--lr 0", &["--lr", "above 0 and at most 1"]),
        ("--lr -1e-3", &["--lr", "above 0 and at most 1"]),
        ("--lr 2", &["--lr", "above 0 and at most 1"]),
        ("--psnr inf", &["--psnr", "at most 200"]),
        ("--psnr nan", &["--psnr", "at most 200"]),
        ("--psnr -3", &["--psnr", "at most 200"]),
        ("--time -1s", &["--time", "20s"]),
        ("--time 20", &["--time", "unit"]),
        ("--time nans", &["--time", "20s"]),
        ("--mac 0", &["--mac", "above 0"]),
        ("--mac inf", &["--mac", "above 0"]),
        ("--mac 0.001", &["cannot be met", "raise the budget"]),
        ("--batch 0", &["--batch", "full", "above 0"]),
        ("--batch 3/2", &["--batch", "full", "at most 1"]),
        ("--omega-0 0", &["--omega-0", "above 0"]),
        ("--omega-0 nan", &["--omega-0", "above 0"]),
        ("--preset bst", &["bst", "fast, default, best, paper"]),
        ("--modulator cubic", &["cubic", "linear, nonlinear, table"]),
    ];
    let mut n_cases = 0;
    for (options, words) in cases {
        folder.asmr(&format!("encode p.png -o n.asmr {options}")).refuses(2, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 38);
    for threads in ["0", "-1", "1025", "two"] {
        folder.run(["encode", "p.png", "--threads", threads]).refuses(2, &["--threads", "1 to 1024"]);
    }
    folder.asmr("encode p.png --steps 1 --steps 2").refuses(2, &["--steps", "multiple times"]);
    folder.asmr("encode p.png --frobnicate").refuses(2, &["--frobnicate", "asmr encode --help"]);
    folder.asmr("encode").refuses(2, &["INPUT", "asmr encode --help"]);
    assert_eq!(folder.names(), before, "nothing was written");
}

#[test]
fn verbs() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    folder.asmr("p.png").refuses(2, &["asmr encode p.png"]);
    folder.asmr("missing.jpg --preset best").refuses(2, &["asmr encode missing.jpg"]);
    folder.run(["my photo.png"]).refuses(2, &["asmr encode 'my photo.png'"]);
    folder.asmr("n.asmr").refuses(2, &["asmr decode n.asmr;", "asmr info n.asmr"]);
    folder.asmr("w.safetensors").refuses(2, &["asmr import w.safetensors"]);
    folder.asmr("encod").refuses(2, &["did you mean", "encode"]);
    folder
        .asmr("frobnicate")
        .refuses(2, &["encode, decode, info, verify, eval, compare, meta-train, import and export"]);
    let help = folder.asmr("").expect(2);
    assert!(help.stderr.contains("Usage: asmr") && help.stdout.is_empty(), "{help:#?}");
    let mut n_cases = 0;
    for verb in ["encode", "decode", "info", "verify", "eval", "compare", "meta-train", "import", "export"] {
        let help = folder.run([verb, "--help"]).expect(0);
        assert!(help.stdout.contains("--threads") && help.stdout.contains("--json"), "{help:#?}");
        assert!(!help.stdout.contains('`') || verb == "decode", "{help:#?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
    assert!(folder.asmr("--version").expect(0).stdout.starts_with("asmr "));
    folder.asmr("decode p.png").refuses(2, &["p.png is a picture", "asmr encode p.png"]);
    folder.asmr("info p.png").refuses(2, &["p.png is a picture", "asmr encode p.png"]);
    folder.asmr("encode n.asmr").refuses(2, &["n.asmr is an .asmr file", "asmr decode n.asmr"]);
    folder.asmr("import n.asmr").refuses(2, &["n.asmr is an .asmr file"]);
    folder.asmr("info missing.asmr").refuses(2, &["cannot read missing.asmr"]);
    folder.asmr("info .").refuses(2, &["folder"]);
}

#[test]
fn damaged_files() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    let whole = folder.read("n.asmr");
    let before = folder.names();
    let mut n_cases = 0;
    // Every byte of prefix and some of the rest.
    let places = (0..32).chain((32..whole.len()).step_by(whole.len() / 24)).chain([whole.len() - 1]);
    for place in places {
        folder.write("bad.asmr", &whole[..place]);
        folder.asmr("decode bad.asmr -o out.png").refuses(2, &["bad.asmr"]);
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 8);
        folder.write("bad.asmr", &flipped);
        folder.asmr("decode bad.asmr -o out.png").refuses(2, &["bad.asmr"]);
        n_cases += 1;
    }
    assert!(n_cases > 50, "{n_cases}");
    let joined = [whole.as_slice(), &whole].concat();
    folder.write("bad.asmr", &joined);
    folder.asmr("info bad.asmr").refuses(2, &["bad.asmr", "more bytes follow"]);
    folder.write("bad.asmr", &whole[..whole.len() - 1]);
    folder.asmr("info bad.asmr").refuses(2, &["cut off", "fresh copy"]);
    folder.asmr("eval bad.asmr p.png").refuses(2, &["cut off"]);
    folder.asmr("export bad.asmr -o w.safetensors").refuses(2, &["cut off"]);
    // A sparse file of 100 GB is refused by its first bytes.
    let file = std::fs::File::create(folder.path("bad.asmr")).unwrap();
    if file.set_len(100 << 30).is_ok() {
        folder.asmr("info bad.asmr").refuses(2, &["not an .asmr file"]);
        folder.asmr("import bad.asmr").refuses(2, &["at most"]);
    }
    std::fs::remove_file(folder.path("bad.asmr")).unwrap();
    assert_eq!(folder.names(), before, "nothing was written");
}

#[test]
fn wrong_decodes() {
    let folder = Folder::encoded(30, 40, RGB, "4,2,4;5,2,4");
    let before = folder.names();
    let cases: [(&str, &[&str]); 20] = [
        ("--thumbnail 3", &["3", "1, 2, 4"]),
        ("--thumbnail 8", &["8", "1, 2, 4"]),
        ("--thumbnail 0", &["--thumbnail", "at least 1"]),
        ("--thumbnail -2", &["--thumbnail", "at least 1"]),
        ("--thumbnail 4 --region 2..10,0..8", &["2..10", "axis 0", "multiples of 4"]),
        ("--region 0..31,0..40", &["0..31", "axis 0", "0..30"]),
        ("--region 0..30,0..41", &["0..41", "axis 1", "0..40"]),
        ("--region 5..5,0..40", &["5..5", "non-empty"]),
        ("--region 9..5,0..40", &["9..5", "non-empty"]),
        ("--region 30..,..", &["30..30", "axis 0"]),
        ("--region 0..10", &["1 ranges", "2 axes", "0..30,0..40"]),
        ("--region 0..1,0..1,0..1", &["3 ranges", "2 axes"]),
        ("--region 0-10,0-10", &["'0-10'", "START..END"]),
        ("--region -1..5,0..5", &["'-1..5'", "START..END"]),
        ("--region 0..=5,0..5", &["'0..=5'", "START..END"]),
        ("-o out", &["extension", ".png", ".npy"]),
        ("-o out.txt", &["extension", ".png", ".npy"]),
        ("-o out.pgm", &["PGM", "cannot hold", "PNG"]),
        ("-o n.asmr", &["input itself"]),
        ("-o ./n.asmr", &["input itself"]),
    ];
    let mut n_cases = 0;
    for (options, words) in cases {
        let output = if options.contains("-o") { "" } else { " -o out.png" };
        folder.asmr(&format!("decode n.asmr{output} {options}")).refuses(2, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 20);
    assert_eq!(folder.names(), before, "nothing was written");
}

#[test]
fn wrong_comparisons() {
    let folder = Folder::encoded(16, 20, GREY, "4,4;4,5");
    folder.picture("turned.png", 20, 16, GREY);
    folder.picture("rgb.png", 16, 20, RGB);
    folder.picture("deep.png", 16, 20, common::KINDS[4]);
    folder.asmr("eval n.asmr turned.png").refuses(2, &["16 x 20", "20 x 16"]);
    folder.asmr("eval n.asmr rgb.png").refuses(2, &["grey", "RGB"]);
    folder.asmr("eval n.asmr deep.png").refuses(2, &["8-bit", "16-bit"]);
    folder.asmr("eval n.asmr missing.png").refuses(2, &["missing.png"]);
    folder.asmr("eval p.png n.asmr").refuses(2, &["p.png is a picture"]);
    folder.asmr("eval n.asmr p.png --reps 0").refuses(2, &["--reps", "1 to 100000"]);
}

#[test]
fn wrong_imports() {
    let folder = Folder::encoded(16, 20, GREY, "4,4;4,5");
    folder.asmr("export n.asmr -o w.safetensors").expect(0);
    let whole = folder.read("w.safetensors");
    folder
        .asmr("import w.safetensors -o x.asmr --bases 4,4;5,4")
        .refuses(2, &["w.safetensors", "the file's own"]);
    folder.write("cut.safetensors", &whole[..whole.len() - 5]);
    folder.asmr("import cut.safetensors").refuses(2, &["cut.safetensors", "not a valid .safetensors"]);
    folder.write("empty.safetensors", b"");
    folder.asmr("import empty.safetensors").refuses(2, &["empty.safetensors"]);
    folder.write("huge.safetensors", &u64::MAX.to_le_bytes());
    folder.asmr("import huge.safetensors").refuses(2, &["huge.safetensors", "at most"]);
    folder.asmr("import p.png").refuses(2, &["p.png"]);
    folder.asmr("import missing.safetensors").refuses(2, &["cannot read missing.safetensors"]);
    // The same file without its metadata does not tell its bases.
    let text = String::from_utf8_lossy(&whole[8..]).into_owned();
    let start = text.find("\"bases\"").unwrap() + 8;
    let mut nameless = whole.clone();
    nameless[start + 1..start + 6].copy_from_slice(b"sesab");
    folder.write("nameless.safetensors", &nameless);
    folder.asmr("import nameless.safetensors").refuses(2, &["no metadata key 'bases'", "--bases"]);
    folder.asmr("import nameless.safetensors --bases 4,4;4,5").expect(0);
    assert_eq!(
        folder.read("nameless.asmr").len() as u64,
        folder.path("nameless.asmr").metadata().unwrap().len()
    );
    folder.asmr("decode w.safetensors -o x.png").refuses(2, &["asmr import w.safetensors"]);
}

#[test]
fn names_of_outputs() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    let before = folder.names();
    let original = folder.read("p.png");
    let quick = "--steps 2 --width 8 --quiet";
    folder.asmr(&format!("encode p.png -o p.png {quick}")).refuses(2, &["p.png is the input itself"]);
    folder.asmr(&format!("encode p.png -o other.png {quick}")).refuses(2, &["other.png", "-o other.asmr"]);
    folder
        .asmr(&format!("encode p.png -o missing/n.asmr {quick}"))
        .refuses(1, &["missing", "does not exist"]);
    folder.asmr(&format!("encode p.png -o p.png/n.asmr {quick}")).refuses(1, &["p.png"]);
    folder.asmr("decode n.asmr -o missing/out.png").refuses(1, &["missing", "does not exist"]);
    folder.asmr("export n.asmr -o missing/w.safetensors").refuses(1, &["missing", "does not exist"]);
    assert_eq!(folder.names(), before, "nothing was written");

    // A name that nobody typed replaces nothing but a network, which the input can make again; a typed one does.
    std::fs::write(folder.path("p.asmr"), b"notes of mine").unwrap();
    folder.asmr(&format!("encode p.png {quick}")).refuses(2, &["p.asmr exists already", "-o p.asmr"]);
    assert!(folder.read("p.asmr") == b"notes of mine");
    std::fs::rename(folder.path("n.asmr"), folder.path("p.asmr")).unwrap();
    let network = folder.read("p.asmr");
    folder.asmr("decode p.asmr").refuses(2, &["p.png exists already", "-o p.png"]);
    assert!(folder.read("p.asmr") == network && folder.read("p.png") == original);
    folder.asmr(&format!("encode p.png {quick}")).expect(0);
    assert!(folder.read("p.asmr") != network);
    folder.run(["encode", "."]).refuses(2, &["-o"]);
    // Weights from elsewhere do not make what an encode made.
    let network = folder.read("p.asmr");
    folder.asmr("export p.asmr").expect(0);
    folder.asmr("import p.safetensors").refuses(2, &["p.asmr exists already", "-o p.asmr"]);
    assert!(folder.read("p.asmr") == network);
    folder.asmr("import p.safetensors -o p.asmr").expect(0);
    assert!(folder.read("p.asmr") != network);
    // A name of another kind of file is not taken, whoever writes.
    let media = [
        "wav", "flac", "mp3", "ogg", "y4m", "mp4", "mov", "mkv", "webm", "avi", "nii", "nii.gz", "hdr",
        "hdr.gz", "img", "img.gz", "npy", "npz", "raw", "bin", "zarr", "ply", "obj", "stl", "gif", "ico",
        "png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "ppm", "pgm", "pbm", "pnm", "pam", "tga", "qoi",
        "PNG",
    ];
    let mut n_cases = 0;
    for extension in media {
        let name = format!("x.{extension}");
        folder.write(&name, b"mine");
        folder.asmr(&format!("encode p.png -o {name} {quick}")).refuses(2, &[&name, "-o x.asmr"]);
        folder.asmr(&format!("import p.safetensors -o {name}")).refuses(2, &[&name, "-o x.asmr"]);
        folder.asmr(&format!("export p.asmr -o {name}")).refuses(2, &[&name, "-o x.safetensors"]);
        assert!(folder.read(&name) == b"mine");
        std::fs::remove_file(folder.path(&name)).unwrap();
        n_cases += 3;
    }
    assert_eq!(n_cases, 3 * 41);
    folder.asmr("export p.asmr -o x.asmr").refuses(2, &["x.asmr", "-o x.safetensors"]);
    folder.asmr(&format!("encode p.png -o x.safetensors {quick}")).refuses(2, &["-o x.asmr"]);
    // What is kept beside an output while it is made takes nobody's place.
    for name in ["x.asmr.part", "x.asmr.resume"] {
        std::fs::write(folder.path(name), b"notes of mine").unwrap();
        for chunk in ["", "--chunk 8"] {
            folder
                .asmr(&format!("encode p.png -o x.asmr {quick} {chunk}"))
                .refuses(2, &[name, "another file"]);
        }
        assert!(folder.read(name) == b"notes of mine");
        std::fs::remove_file(folder.path(name)).unwrap();
    }
    std::fs::create_dir(folder.path("d.asmr")).unwrap();
    folder.asmr(&format!("encode p.png -o d.asmr {quick}")).refuses(1, &["d.asmr", "folder"]);
}

/// Inputs and outputs of encode are read twice, and a report is no part of a file.
#[cfg(unix)]
#[test]
fn pipes_and_devices() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    folder.asmr("export n.asmr -o w.safetensors").expect(0);
    let pipe = std::process::Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap();
    assert!(pipe.success());
    let quick = "--steps 2 --width 8 --quiet";
    let mut n_cases = 0;
    for chunk in ["", "--chunk 8"] {
        for (line, name) in [
            ("encode pipe -o x.asmr", "pipe"),
            ("encode /dev/stdin -o x.asmr", "/dev/stdin"),
            ("encode p.png -o pipe", "pipe"),
            ("encode p.png -o /dev/null", "/dev/null"),
            ("encode p.png -o /dev/stdout", "/dev/stdout"),
        ] {
            folder.asmr(&format!("{line} {quick} {chunk}")).refuses(2, &[name, "a pipe or a device"]);
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 10);
    folder.asmr("export n.asmr -o /dev/stdout").refuses(2, &["/dev/stdout", "standard output"]);
    folder.asmr("import w.safetensors -o /dev/stdout").refuses(2, &["/dev/stdout", "standard output"]);
}
