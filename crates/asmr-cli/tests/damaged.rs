//! `verify`, and `decode --recover`: what is left of damaged files.

mod common;

use common::{Folder, RGB, read};
use serde_json::json;

/// Three networks of ten rows each, with floats and with coded weights; the beginnings of the chunks.
fn sequence(folder: &Folder, options: &str) -> (Vec<u8>, Vec<usize>) {
    folder.picture("p.png", 30, 40, RGB);
    folder
        .asmr(&format!("encode p.png -o n.asmr --chunk 10 --width 16 --steps 20 --quiet {options}"))
        .expect(0);
    folder.asmr("decode n.asmr -o whole.png --quiet").expect(0);
    let bytes = folder.read("n.asmr");
    let index = 24 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let chunks = (0..3)
        .map(|chunk| {
            let entry = index + 24 * chunk;
            u64::from_le_bytes(bytes[entry..entry + 8].try_into().unwrap()) as usize
        })
        .collect();
    (bytes, chunks)
}

/// The rows of a decoded picture equal those of the whole one but for `lost`, which are black.
fn assert_rows(folder: &Folder, lost: std::ops::Range<usize>) {
    let (whole, recovered) = (read(&folder.path("whole.png")), read(&folder.path("out.png")));
    assert_eq!(whole.info(), recovered.info());
    let values = |signal: &asmr::signal::Signal| match signal.samples() {
        asmr::signal::Samples::U8(values) => values.clone(),
        other => panic!("{other:?}"),
    };
    let (whole, recovered) = (values(&whole), values(&recovered));
    for (i, (a, b)) in whole.iter().zip(&recovered).enumerate() {
        let row = i / 120;
        assert_eq!(if lost.contains(&row) { 0 } else { *a }, *b, "row {row}");
    }
}

#[test]
fn intact_chunks_are_recovered() {
    let mut n_cases = 0;
    for options in ["--weights f32", "--weights coded", "--lossless"] {
        let folder = Folder::new();
        let (bytes, chunks) = sequence(&folder, options);
        let whole = folder.asmr("verify n.asmr").expect(0);
        assert!(whole.stdout.contains("n.asmr: whole; 3 networks"), "{whole:#?}");
        let told = folder.asmr("verify n.asmr --json").expect(0).json();
        assert_eq!((&told["whole"], &told["lost"], &told["error"]), (&json!(true), &json!([]), &json!(null)));
        folder.asmr("decode n.asmr -o out.png --recover --quiet").expect(0);
        assert_rows(&folder, 0..0);

        let mut flipped = bytes.clone();
        flipped[chunks[1] + 5] ^= 16;
        let cut = bytes[..bytes.len() - 3].to_vec();
        for (damaged, lost, what) in [(flipped, 10..20, "damaged"), (cut, 20..30, "cut off")] {
            folder.write("d.asmr", &damaged);
            folder
                .asmr("verify d.asmr")
                .refuses(2, &["d.asmr", what, "2 of 3 networks are whole", "--recover"]);
            let told = folder.asmr("verify d.asmr --json").expect(2).json();
            assert_eq!((&told["whole"], &told["lost"]), (&json!(false), &json!([[lost.start, lost.end]])));
            folder.asmr("decode d.asmr -o out2.png --quiet").refuses(2, &["d.asmr", what]);
            assert!(!folder.path("out2.png").exists());
            let outcome = folder.asmr("decode d.asmr -o out.png --recover --json").expect(1);
            assert_eq!(outcome.json()["lost"], json!([[lost.start, lost.end]]));
            assert!(
                outcome.stderr.contains(&format!("{}..{} are lost", lost.start, lost.end)),
                "{outcome:#?}"
            );
            assert_rows(&folder, lost.clone());
            // Where nothing that is asked for is lost, nothing is to be said; where all is, there is no output.
            folder.asmr("decode d.asmr -o part.png --region 0..10,.. --recover --quiet").expect(0);
            let region = format!("--region {}..{},..", lost.start, lost.end);
            folder
                .asmr(&format!("decode d.asmr -o none.png --recover {region}"))
                .refuses(2, &["d.asmr", what]);
            assert!(!folder.path("none.png").exists());
            n_cases += 1;
        }

        folder.write("d.asmr", &[&bytes[..], b"more"].concat());
        folder.asmr("verify d.asmr").refuses(2, &["more bytes follow", "3 of 3 networks are whole"]);
        folder.asmr("decode d.asmr -o out.png --recover --quiet").expect(0);
        assert_rows(&folder, 0..0);
        let mut header = bytes.clone();
        header[60] ^= 1;
        folder.write("d.asmr", &header);
        folder.asmr("verify d.asmr").refuses(2, &["d.asmr", "checksum of its header"]);
        folder.asmr("decode d.asmr -o none.png --recover").refuses(2, &["checksum of its header"]);
    }
    assert_eq!(n_cases, 6);
}

#[test]
fn a_single_network_is_whole_or_lost() {
    let folder = Folder::encoded(20, 20, RGB, "4,5;4,5");
    let outcome = folder.asmr("verify n.asmr").expect(0);
    assert!(outcome.stdout.contains("whole; 1 network, "), "{outcome:#?}");
    let mut bytes = folder.read("n.asmr");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    folder.write("d.asmr", &bytes);
    folder.asmr("verify d.asmr").refuses(2, &["d.asmr", "damaged"]);
    folder.asmr("decode d.asmr -o none.png --recover").refuses(2, &["d.asmr", "damaged"]);
    folder.asmr("verify p.png").refuses(2, &["p.png is a picture"]);
    folder.asmr("verify missing.asmr").refuses(2, &["cannot read missing.asmr"]);
    assert!(!folder.path("none.png").exists());
}

fn psnr(folder: &Folder, name: &str) -> f64 {
    let (whole, other) = (read(&folder.path("p.png")), read(&folder.path(name)));
    let values = |signal: &asmr::signal::Signal| match signal.samples() {
        asmr::signal::Samples::U8(values) => values.clone(),
        other => panic!("{other:?}"),
    };
    let (whole, other) = (values(&whole), values(&other));
    assert_eq!(whole.len(), other.len());
    let squares: f64 = whole.iter().zip(&other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * whole.len() as f64 / squares).log10()
}

/// Corrections whose checksum is right and whose code is none: what they correct is left.
#[test]
fn false_corrections_leave_the_rest() {
    let folder = Folder::new();
    let (mut bytes, _) = sequence(&folder, "--lossless --progressive");
    let index = 24 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let (n_parts, part) = (9, 2 * 3 + 1);
    let entry = index + 24 * part;
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let (start, length) = (number(entry), number(entry + 8));
    bytes[start + length / 2] ^= 0x55;
    let sum = crc32fast::hash(&bytes[start..start + length]).to_le_bytes();
    bytes[entry + 16..entry + 20].copy_from_slice(&sum);
    let end = index + 24 * n_parts;
    let sum = crc32fast::hash(&bytes[index..end]).to_le_bytes();
    bytes[end..end + 4].copy_from_slice(&sum);
    folder.write("d.asmr", &bytes);
    folder.asmr("decode d.asmr -o out.png").refuses(2, &["d.asmr", "corrections"]);
    let told = folder.asmr("verify d.asmr --json").expect(2).json();
    assert_eq!((&told["lost"], &told["coarser"]), (&json!([]), &json!([[10, 20]])), "{told:#}");
    let told = folder.asmr("decode d.asmr -o out.png --recover --json").expect(1).json();
    assert_eq!(told["n_passes"], json!(2), "{told:#}");
    let rows = |name: &str| match read(&folder.path(name)).samples() {
        asmr::signal::Samples::U8(values) => values.chunks(10 * 120).map(<[u8]>::to_vec).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let (whole, recovered) = (rows("whole.png"), rows("out.png"));
    assert!(whole[0] == recovered[0] && whole[1] != recovered[1] && whole[2] == recovered[2]);
}

/// The beginning of a file in progressive order decodes: coarser, the shorter it is; nothing but `--progressive` and `--recover`
/// takes it.
#[test]
fn a_prefix_of_a_progressive_file_decodes() {
    let mut n_cases = 0;
    for (options, n_passes) in
        [("", 2), ("--chunk 10", 2), ("--chunk 10 --lossless", 3), ("--max-error 3", 3)]
    {
        let folder = Folder::new();
        folder.picture("p.png", 30, 40, RGB);
        folder
            .asmr(&format!("encode p.png -o n.asmr --progressive --width 24 --steps 200 --quiet {options}"))
            .expect(0);
        folder.asmr("verify n.asmr").expect(0);
        let info = folder.asmr("info n.asmr --json").expect(0).json();
        let lengths: Vec<usize> =
            info["pass_bytes"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect();
        assert_eq!(lengths.len(), n_passes, "{info:#}");
        let text = folder.asmr("info n.asmr").expect(0).stdout;
        assert!(text.contains(&format!("passes    {n_passes} of ")), "{text}");
        let bytes = folder.read("n.asmr");
        assert_eq!(bytes[8], 4, "its version");
        let body = bytes.len() - lengths.iter().sum::<usize>();
        folder.asmr("decode n.asmr -o whole.png --quiet").expect(0);
        let whole = psnr(&folder, "whole.png");
        let mut last = 0.0;
        for n in 1..n_passes {
            // Behind the last of these passes, and short of the next by a byte.
            let end = body + lengths[..n].iter().sum::<usize>();
            for end in [end, end + lengths[n] - 1] {
                folder.write("d.asmr", &bytes[..end]);
                folder.asmr("decode d.asmr -o none.png").refuses(2, &["d.asmr", "cut off", "--progressive"]);
                folder.asmr("info d.asmr").refuses(2, &["cut off"]);
                folder.asmr("eval d.asmr p.png").refuses(2, &["cut off"]);
                folder.asmr("verify d.asmr").refuses(2, &["cut off", "coarser", "--recover"]);
                let told = folder.asmr("decode d.asmr -o out.png --progressive --json").expect(0);
                // A cut in the middle of a pass leaves it to some chunks and not to others.
                assert_eq!(told.json()["n_passes"], json!(n), "{options}");
                assert!(
                    told.stderr.contains(&format!("the first {n} of its {n_passes} passes")),
                    "{told:#?}"
                );
                folder.asmr("decode d.asmr -o recovered.png --recover --quiet").expect(1);
                assert_eq!(folder.read("out.png"), folder.read("recovered.png"));
                n_cases += 1;
            }
            folder.write("d.asmr", &bytes[..end]);
            folder.asmr("decode d.asmr -o out.png --progressive --quiet").expect(0);
            let psnr_db = psnr(&folder, "out.png");
            assert!(last < psnr_db && psnr_db < whole, "{options}: {last}, {psnr_db}, {whole} dB");
            last = psnr_db;
        }
        assert_eq!(whole.is_infinite(), options.contains("lossless"));
        // Less than the first passes is nothing to see.
        folder.write("d.asmr", &bytes[..body + lengths[0] - 1]);
        folder.asmr("decode d.asmr -o none.png --progressive").refuses(2, &["d.asmr", "cut off"]);
        // Damage is not for --progressive.
        let mut damaged = bytes.clone();
        damaged[body + lengths[0] + 1] ^= 1;
        folder.write("d.asmr", &damaged);
        folder.asmr("decode d.asmr -o none.png --progressive").refuses(2, &["d.asmr", "damaged"]);
        folder.asmr("decode d.asmr -o out.png --recover --quiet").expect(1);
        // Nor are bytes after its end.
        folder.write("d.asmr", &[&bytes[..], b"0"].concat());
        folder.asmr("decode d.asmr -o none.png --progressive").refuses(2, &["d.asmr", "more bytes follow"]);
        assert!(!folder.path("none.png").exists());
    }
    assert_eq!(n_cases, 2 * (1 + 1 + 2 + 2));
    let folder = Folder::new();
    folder.picture("p.png", 30, 40, RGB);
    folder.asmr("encode p.png --progressive --weights f32").refuses(2, &["--progressive", "--weights f32"]);
    folder.asmr("decode p.asmr --progressive --recover").refuses(2, &["--progressive", "--recover"]);
    // A size holds for the whole file.
    folder.asmr("encode p.png -o n.asmr --progressive --bytes 2500 --steps 50 --chunk 15 --quiet").expect(0);
    let n_bytes = folder.read("n.asmr").len();
    assert!((2200..=2500).contains(&n_bytes), "{n_bytes} bytes");
}
