//! A base learned from pictures, and pictures kept as the few numbers that are their own.

mod common;

use asmr::file::{AsmrFile, Limits};
use asmr::network::Role;
use asmr::reference::{evaluate, positions};
use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{psnr_db, write_image};
use common::{Folder, read, read_npy};
use serde_json::Value;

/// Small pictures of one family in a folder.
fn pictures(folder: &Folder, name: &str, numbers: std::ops::Range<usize>) {
    std::fs::create_dir(folder.path(name)).unwrap();
    for i in numbers {
        let t = i as f64;
        let value = |j: usize| {
            let (y, x, c) = ((j / 48) as f64 / 12.0, (j / 3 % 16) as f64 / 16.0, (j % 3) as f64);
            0.5 + 0.3 * (4.0 * x + 2.0 * t + c).sin() * (3.0 * y + 0.7 * t).cos()
        };
        let values = (0..12 * 16 * 3).map(|j| (value(j) * 255.0) as u8).collect();
        let info = SignalInfo::plain(vec![12, 16], 3, SampleType::U8, Some(ColorType::Rgb));
        let signal = Signal::new(info, Samples::U8(values)).unwrap();
        write_image(&folder.path(&format!("{name}/{i:03}.png")), &signal).unwrap();
    }
}

fn json(folder: &Folder, line: &str) -> Value {
    folder.asmr(&format!("{line} --json --quiet")).expect(0).json()
}

#[track_caller]
fn number(json: &Value, name: &str) -> f64 {
    json[name].as_f64().unwrap_or_else(|| panic!("{name} in {json}"))
}

/// 27 pictures to learn from, and three others.
fn folder() -> (Folder, Value) {
    let folder = Folder::new();
    pictures(&folder, "some", 0..30);
    pictures(&folder, "others", 100..103);
    let learned = json(&folder, "meta-train some -o base.asmr --steps 300 --batch 4 --width 16");
    (folder, learned)
}

#[test]
fn pictures_keep_what_is_their_own() {
    let (folder, learned) = folder();
    // Every tenth is kept from learning.
    assert_eq!((number(&learned, "n_learned"), number(&learned, "n_unseen")), (27.0, 3.0));
    let unseen = learned["unseen"].as_array().unwrap();
    let after = |i: usize, name: &str| number(&unseen[i], name);
    assert_eq!(unseen.iter().map(|u| number(u, "steps")).collect::<Vec<_>>(), [0.0, 1.0, 3.0, 10.0]);
    assert!(
        after(2, "psnr_db") > after(1, "psnr_db") && after(1, "psnr_db") > after(0, "psnr_db"),
        "{learned}"
    );
    assert!(after(2, "psnr_db") > after(2, "untrained_psnr_db") + 1.0, "{learned}");

    // A base is an ordinary file: of what all pictures begin with.
    json(&folder, "info base.asmr");
    let base = AsmrFile::read_from_bytes(&folder.read("base.asmr"), &Limits::default()).unwrap();
    let config = base.network.config();

    let encoded = json(&folder, "encode others --base base.asmr -o set.npy");
    assert_eq!((number(&encoded, "n_signals"), number(&encoded, "steps")), (3.0, 3.0));
    let (shape, values) = read_npy(&folder.read("set.npy"));
    assert_eq!(shape, [3, number(&learned, "n_modulations") as usize]);

    json(&folder, "decode set.npy --base base.asmr -o back");
    let mut sum = 0.0;
    for (i, row) in values.chunks_exact(shape[1]).enumerate() {
        let original = read(&folder.path(&format!("others/{:03}.png", 100 + i)));
        let back = read(&folder.path(&format!("back/{i}.png")));
        sum += psnr_db(&back, &original).unwrap().unwrap();
        // A row holds biases, modulators and the output bias in the order of the network's tensors; the definition decodes them.
        let mut params: Vec<f64> = base.network.params().iter().map(|&weight| weight.into()).collect();
        let mut row = row.iter();
        for tensor in config.tensors() {
            if !matches!(tensor.role, Role::LayerWeight(_) | Role::OutputWeight) {
                for weight in &mut params[tensor.range()] {
                    *weight = f64::from(*row.next().unwrap());
                }
            }
        }
        assert!(row.next().is_none());
        let Samples::U8(back) = back.samples() else { panic!("bytes") };
        for (pixel, position) in back.chunks_exact(3).zip(positions(&[12, 16])) {
            for (actual, expected) in pixel.iter().zip(evaluate(config, &params, &position)) {
                let expected = expected.clamp(0.0, 1.0) * 255.0;
                // Half a step, and what single precision adds.
                assert!(
                    (f64::from(*actual) - expected).abs() < 0.51,
                    "{position:?}: {actual}, not {expected}"
                );
            }
        }
    }
    assert!((sum / 3.0 - number(&encoded, "psnr_db")).abs() < 1e-9, "{encoded}");

    // One picture, by more steps, under a name of its own.
    let one = json(&folder, "encode others/100.png --base base.asmr --steps 10");
    assert_eq!((number(&one, "n_signals"), number(&one, "steps")), (1.0, 10.0));
    json(&folder, "decode others/100.npy --base base.asmr -o one.png");
    let (original, back) = (read(&folder.path("others/100.png")), read(&folder.path("one.png")));
    assert!((psnr_db(&back, &original).unwrap().unwrap() - number(&one, "psnr_db")).abs() < 1e-9);
}

/// A `.npy` file of one axis.
fn npy(descr: &str, values: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({},), }}", values.len());
    header += &" ".repeat(117 - header.len());
    header.push('\n');
    [b"\x93NUMPY\x01\x00", &118u16.to_le_bytes()[..], header.as_bytes(), values].concat()
}

#[test]
fn grey_pictures_of_16_bits_with_alpha() {
    let folder = Folder::new();
    for (i, kind) in common::KINDS.into_iter().enumerate() {
        folder.picture("p.png", 9, 11, kind);
        json(&folder, "meta-train p.png -o b.asmr --steps 3 --batch 1 --width 8");
        let encoded = json(&folder, "encode p.png --base b.asmr -o p.npy");
        json(&folder, "decode p.npy --base b.asmr -o back.png");
        let (original, back) = (read(&folder.path("p.png")), read(&folder.path("back.png")));
        assert_eq!(original.info(), back.info(), "kind {i}");
        let db = psnr_db(&back, &original).unwrap().unwrap();
        assert!((db - number(&encoded, "psnr_db")).abs() < 1e-9, "kind {i}");
    }
}

#[test]
fn larger_pictures_in_tiles() {
    let folder = Folder::new();
    pictures(&folder, "some", 0..3);
    let tiles = json(&folder, "meta-train some -o tiles.asmr --tile 6,7 --steps 2 --batch 2 --width 8");
    // Of 12 x 16 samples four tiles each, two columns being left over.
    assert_eq!((number(&tiles, "n_learned"), number(&tiles, "n_unseen")), (12.0, 0.0));
    assert_eq!(tiles["extents"], serde_json::json!([6, 7]));
    pictures(&folder, "others", 5..7);
    let line = "meta-train some -o tiles.asmr --tile 6,8 --steps 2 --batch 2 --width 8 --unseen others";
    let measured = json(&folder, line);
    assert_eq!((number(&measured, "n_learned"), number(&measured, "n_unseen")), (12.0, 8.0));
}

#[test]
fn what_does_not_fit_is_refused() {
    let (folder, _) = folder();
    std::fs::create_dir(folder.path("empty")).unwrap();
    json(&folder, "meta-train others -o tiles.asmr --tile 6,8 --steps 1 --batch 1 --width 8");
    json(&folder, "encode others --base base.asmr -o set.npy");
    json(&folder, "encode others/100.png -o plain.asmr --preset fast");
    folder.picture("large.png", 20, 20, common::RGB);
    folder.write("text.npy", b"\x93NUMPY and nothing more");
    folder.picture("grey.png", 12, 16, common::GREY);
    json(&folder, "encode others/100.png --base base.asmr -o one.npy");
    folder.write("bytes.npy", &npy("|u1", &[1, 2, 3]));
    let one = folder.read("one.npy");
    // The first value after the header.
    let at = one.len() - 4 * read_npy(&one).0[1];
    folder.write("nan.npy", &[&one[..at], &f32::NAN.to_le_bytes(), &one[at + 4..]].concat());
    let before = folder.names();
    folder.asmr("decode set.npy --base base.asmr -o some --quiet").refuses(1, &["replaces nothing"]);
    let cases = [
        ("meta-train some -o base.png", "would be misnamed"),
        ("meta-train none -o b.asmr", "none"),
        ("meta-train empty -o b.asmr", "no picture in the folder empty"),
        ("meta-train others large.png -o b.asmr", "must be alike"),
        ("meta-train others -o b.asmr --tile 6", "rows and columns"),
        ("meta-train others -o b.asmr --tile 60,8", "less than a tile"),
        ("meta-train others -o b.asmr --bases 2,2;2,2", "--bases"),
        ("encode others --base none.asmr -o x.npy", "none.asmr"),
        ("encode others --base plain.asmr -o x.npy", "is no base"),
        ("encode others/100.png --base tiles.asmr -o x.npy", "the base is for pictures like"),
        ("encode others --base base.asmr -o x.asmr", "would be misnamed"),
        ("encode others --base base.asmr --width 8 -o x.npy", "--width"),
        ("decode set.npy --base tiles.asmr -o x", "another base"),
        ("decode set.npy --base base.asmr -o x.png", "is the name of a file"),
        ("decode one.npy --base base.asmr -o x.mp3", "x.mp3"),
        ("decode bytes.npy --base base.asmr -o x", "32-bit floats"),
        ("decode nan.npy --base base.asmr -o x", "nan.npy"),
        ("meta-train some -o b.asmr --unseen some/001.png", "is learned from"),
        ("meta-train some -o b.asmr --unseen large.png", "is for pictures like"),
        ("meta-train some grey.png -o b.asmr", "must be alike"),
        ("meta-train some -o b.asmr --levels 3 --bases 2,2,3;2,2,4", "leave --levels out"),
        ("decode text.npy --base base.asmr -o x", "text.npy"),
        ("decode set.npy --base base.asmr --thumbnail 2 -o x", "--thumbnail"),
    ];
    for (line, says) in cases {
        folder.asmr(&format!("{line} --quiet")).refuses(2, &[says]);
    }
    assert_eq!((cases.len(), folder.names()), (23, before));
}
