//! `asmr compare`: its table, JSON and page, and what it refuses.
#![cfg(feature = "compare")]

mod common;

use common::{Folder, GREY, RGB};

#[test]
fn a_table_json_and_a_page() {
    let folder = Folder::new();
    folder.picture("p.png", 24, 32, RGB);
    let line = "compare p.png --methods asmr,siren,ngp,kilonerf --budget params=4k --steps 20 --seed 5";
    let table = folder.asmr(line).expect(0);
    let head = table.stdout.lines().next().unwrap();
    for column in ["method", "psnr_db", "mac_paper", "mac_exec", "sines", "table_reads", "Ms/s_1", "Ms/s_2"] {
        assert!(head.split_whitespace().any(|word| word == column), "{table:#?}");
    }
    assert!(table.stderr.contains("asmr: siren (2 of 3): fitting"), "{table:#?}");
    assert_eq!(table.stdout.lines().count(), 5, "{table:#?}");
    assert!(table.stdout.contains("kilonerf: no row: "), "{table:#?}");
    assert_eq!(folder.names(), ["p.png"], "a page is written where it is asked for");

    let quiet = folder.asmr(&format!("{line} --json --quiet -o page.html")).expect(0);
    assert_eq!(quiet.stderr, "");
    let told = quiet.json();
    assert_eq!((&told["budget"], &told["length"]), (&"params=4000".into(), &"20 steps".into()));
    assert_eq!((&told["output"], &told["seed"]), (&"page.html".into(), &5.into()));
    let rows = told["rows"].as_array().unwrap();
    let mut n_cases = 0;
    for (row, (method, line)) in
        rows.iter().zip(["asmr", "siren", "ngp"].into_iter().zip(table.stdout.lines().skip(1)))
    {
        assert_eq!(row["method"], method);
        assert!(row["n_params"].as_u64().unwrap() <= 4000, "{row:#}");
        assert_eq!(row["steps"], 20);
        assert!(row["procedure"].is_object() && row["settings"].is_object(), "{row:#}");
        assert!(row["decode_msamples_s"]["2"].as_f64().unwrap() > 0.0, "{row:#}");
        // Fits of so many steps are the same again.
        let psnr_db = format!("{:.2}", row["psnr_db"].as_f64().unwrap());
        assert_eq!(line.split_whitespace().nth(1), Some(&psnr_db[..]), "{line}");
        n_cases += 1;
    }
    assert_eq!((n_cases, rows.len()), (3, 3));
    assert_eq!(told["refused"][0]["method"], "kilonerf");
    let page = String::from_utf8(folder.read("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert_eq!(page.matches("data:image/png;base64,").count(), 7);
}

#[test]
fn wrong_calls() {
    let folder = Folder::new();
    folder.picture("p.png", 16, 16, GREY);
    folder.write("text.png", b"no picture at all");
    folder.write("mesh.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n");
    folder.asmr("encode p.png -o n.asmr --width 8 --steps 2 --quiet").expect(0);
    let before = folder.names();
    let cases: [(&str, &[&str]); 19] = [
        (
            "p.png --methods asmr,nerf",
            &["--methods", "'nerf'", "asmr, siren, ffn, kilonerf, loe, ngp, wire, plenoxels"],
        ),
        ("p.png --methods ,", &["--methods", "no method"]),
        ("p.png --methods ngp,ngp", &["--methods", "twice"]),
        ("p.png --budget 134k", &["--budget", "params=N", "mac=2k"]),
        ("p.png --budget params=0", &["--budget", "1 to 1e9"]),
        ("p.png --budget params=many", &["--budget", "1 to 1e9"]),
        ("p.png --budget mac=-2k", &["--budget", "1 to 1e9"]),
        ("p.png --budget time=30", &["--budget", "unit"]),
        ("p.png --budget bytes=40k", &["--budget", "params=N"]),
        ("p.png --budget params=2 --methods siren,ngp", &["p.png", "siren", "ngp", "params=2", "raise"]),
        ("p.png --budget time=1s --steps 5", &["--budget time=1s", "--steps", "leave"]),
        ("p.png --budget time=1s --time 2s", &["--budget time=1s", "--time", "leave"]),
        ("p.png --budget params=4k --time 2s --steps 5", &["--steps", "--time"]),
        ("p.png --steps 0 --budget params=4k", &["--steps", "1 to 1000000000"]),
        ("p.png -o page.png --budget params=4k", &["page.png", "misnamed", "page.html"]),
        ("p.png -o nowhere/page.html --budget params=4k", &["nowhere"]),
        ("text.png", &["text.png", "not a picture"]),
        ("mesh.obj", &["mesh.obj", "mesh", "pictures of 1 to 4 channels"]),
        ("n.asmr", &["n.asmr", "already"]),
    ];
    let mut n_cases = 0;
    for (line, words) in cases {
        let outcome = folder.asmr(&format!("compare {line}"));
        // A folder that is not there is a failed write.
        let code = if line.contains("nowhere") { 1 } else { 2 };
        outcome.refuses(code, words);
        n_cases += 1;
    }
    assert_eq!(n_cases, 19);
    folder.run(["compare", "missing.png"]).refuses(2, &["missing.png"]);
    assert_eq!(folder.names(), before, "nothing was written");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::process::{Command, Stdio};

    let folder = Folder::new();
    folder.picture("p.png", 64, 64, RGB);
    let mut n_cases = 0;
    for method in ["asmr", "siren"] {
        let line =
            format!("compare p.png --methods {method} --budget params=4k --steps 100000000 -o page.html");
        let mut child =
            folder.command(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("fitting") {
            assert!(stderr.read_line(&mut text).unwrap() > 0, "{text}");
        }
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0), "{text}");
        assert!(text.contains("interrupted; nothing was written"), "{text}");
        assert_eq!(folder.names(), ["p.png"]);
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}
