//! Experiments: their files are sound, runs go on where they ended, and the page shows what was measured.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use asmr::signal::Samples;
use asmr_zoo::claims::{Verdict, claims};
use asmr_zoo::experiment::{Experiment, SignalSpec};
use asmr_zoo::meta_study::{self, Measured, MetaExperiment};
use asmr_zoo::records::{COLUMNS, Records, Summary};
use asmr_zoo::report::{Section, page};
use asmr_zoo::runner::{Done, Event, Place, run};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package lies two folders below it")
}

/// A grey picture of 16 × 24 samples, in a folder of its own.
fn folder_with_picture() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("image")).unwrap();
    let file = std::fs::File::create(folder.path().join("image/small.png")).unwrap();
    let mut encoder = png::Encoder::new(file, 24, 16);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let values: Vec<u8> = (0..24 * 16).map(|i| (i % 24 * 9 + i / 24 * 3) as u8).collect();
    encoder.write_header().unwrap().write_image_data(&values).unwrap();
    folder
}

const SMALL: &str = r#"
title = "Small <fits>"
about = "Of a small picture."
files = ["image/small.png"]
seeds = [0, 1]
steps = [2, 3]
rate_factors = [1.0]

[quick]
seeds = [1]
steps = [1]
contestants = ["SIREN"]

[[contestant]]
name = "ASMR"
method.asmr = { levels = 3, width = 8 }

[[contestant]]
name = "SIREN"
method.siren = { width = 8, layers = 3 }
batch = 100
rate_factors = [1]

[[contestant]]
name = "Plenoxels"
method.plenoxels = { vertices = [4, 6] }
steps = [2]
rate_factors = [1, 1e30]

[[plot]]
title = "Quality against cost"
x = "mac_exec"
y = "psnr_db"
"#;

fn place(folder: &Path) -> Place {
    Place {
        root: root().to_path_buf(),
        signals: vec![folder.to_path_buf()],
        results: folder.join("results/small.tsv"),
        command: "a test".to_owned(),
    }
}

fn run_in(folder: &Path, text: &str) -> (Result<Done, String>, usize) {
    let experiment = Experiment::parse(text).unwrap();
    let mut n_begun = 0;
    let done = run(&experiment, &place(folder), &AtomicBool::new(false), &mut |event| {
        n_begun += usize::from(matches!(event, Event::Begun(..)));
    });
    (done, n_begun)
}

#[test]
fn every_file_is_an_experiment() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.file_stem().is_some_and(|name| name == "meta-learning") {
            let experiment = MetaExperiment::parse(&text).unwrap();
            assert_ne!(experiment.quick().updates, experiment.updates);
            continue;
        }
        let experiment =
            Experiment::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // What a quick run names is there: all else is refused.
        assert!(experiment.quick().contestants.len() <= experiment.contestants.len());
        names.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "against-siren",
            "anchors",
            "audio",
            "bases",
            "depth",
            "depth-large",
            "kodak",
            "megapixel",
            "modulators",
            "shapes",
            "sharing",
            "siren-batches",
            "ultra-low-mac",
            "video",
            "volumes",
            "wall-clock",
            "width-depth"
        ]
    );
}

#[test]
fn mistakes_are_told() {
    let cases = [
        (SMALL.replace("files = [\"image/small.png\"]", ""), "no signal"),
        (
            SMALL.replace("\"image/small.png\"", "\"image/small.png\", \"other/small.jpg\""),
            "two signals are small",
        ),
        (SMALL.replace("name = \"SIREN\"", "name = \"ASMR\""), "two contestants are ASMR"),
        (SMALL.replace("seeds = [0, 1]", "seeds = []"), "no seed"),
        (SMALL.replace("steps = [2, 3]", ""), "neither steps nor seconds"),
        (SMALL.replace("rate_factors = [1.0]", "rate_factors = [1.0, -3]"), "numbers above 0"),
        (SMALL.replace("steps = [2, 3]", "seconds = [0]"), "seconds"),
        (SMALL.replace("x = \"mac_exec\"", "x = \"mac\""), "no column mac"),
        (SMALL.replace("width = 8, layers = 3", "widht = 8"), "widht"),
        (SMALL.replace("method.siren", "method.nerf"), "nerf"),
        (SMALL.replace("levels = 3, width = 8", "depth = 3"), "depth"),
        (SMALL.replace("[quick]", "[quick]\nfoo = 1"), "foo"),
        (SMALL.replace("contestants = [\"SIREN\"]", "contestants = [\"NGP\"]"), "names the contestant NGP"),
        (SMALL.replace("[quick]", "[quick]\nsignals = [\"smal\"]"), "names the signal smal"),
        (SMALL.replace("[quick]", "[quick]\nrate_factors = [0]"), "in a quick run"),
        (SMALL.replace("seeds = [0, 1]", "seeds = [1, 1]"), "two seeds are 1"),
        (SMALL.replace("steps = [2, 3]", "steps = [2, 0]"), "above 0"),
        (SMALL.replace("levels = 3, width = 8", "by_time = true"), "by_time"),
        (
            SMALL.replace(
                "levels = 3, width = 8 }",
                "levels = 3, width = 8 }\nelsewhere = [{ signal = \"big\", steps = 2, psnr_db = 9, source = \"a\" }]",
            ),
            "a figure for big",
        ),
        (
            SMALL.replace("levels = 3, width = 8 }", "levels = 3, width = 8 }\nmeasured_samples = 9"),
            "measured on all samples",
        ),
    ];
    for (i, (text, says)) in cases.iter().enumerate() {
        let error = Experiment::parse(text).expect_err(&format!("case {i}"));
        assert!(error.contains(says), "case {i}: {error}");
    }
    assert_eq!(cases.len(), 20);
}

#[test]
fn a_run_goes_on_where_it_ended() {
    let folder = folder_with_picture();
    let (done, n_begun) = run_in(folder.path(), SMALL);
    let done = done.unwrap();
    // ASMR: 2 lengths × 2 seeds; SIREN likewise; Plenoxels: 2 rates × 2 seeds, and the next rate below them, since the lower of
    // them is the better one.
    assert_eq!((done.n_fits, n_begun, done.records.iter().count()), (14, 14, 14));
    assert_eq!(Records::read(&place(folder.path()).results), Ok(done.records.clone()));

    let (again, n_begun) = run_in(folder.path(), SMALL);
    assert_eq!((again.as_ref().unwrap().n_fits, n_begun), (0, 0));
    assert_eq!(again.as_ref().unwrap().n_before, 14);
    assert_eq!(again.unwrap().records, done.records);

    // Other settings are fitted anew, and what is asked for no more goes.
    let wider = SMALL
        .replace("width = 8, layers = 3", "width = 9, layers = 3")
        .replace("seeds = [0, 1]", "seeds = [1]");
    let (third, _) = run_in(folder.path(), &wider);
    let third = third.unwrap();
    assert_eq!((third.n_fits, third.records.iter().count()), (2, 7));
    let old = place(folder.path()).results.with_extension("tsv.old");
    assert_eq!(Records::read(&old).unwrap(), done.records);

    // A fit that diverges has a row that says so, and the best rate is another.
    let failed = done.records.iter().filter(|row| row.number("psnr_db").is_none());
    let problems: Vec<&str> = failed.map(|row| row.text("problem")).collect();
    assert!(
        !problems.is_empty() && problems.iter().all(|problem| problem.contains("diverged")),
        "{problems:?}"
    );
    let best = Summary::of(&done.records, "Plenoxels", "2 steps").unwrap();
    assert_eq!((best.texts("rate_factor"), best.at_edge.len()), (vec!["1"], 0));
    assert!(done.records.iter().any(|row| row.text("rate_factor") == "0.3"));

    let asmr = Summary::of(&done.records, "ASMR", "3 steps").unwrap();
    assert_eq!(asmr.mean("steps"), Some(3.0));
    let siren = Summary::of(&done.records, "SIREN", "3 steps").unwrap();
    // 2·8 + 8 + 8·8 + 8 + 8·1 + 1 weights.
    assert_eq!((siren.mean("n_params"), siren.mean("batch")), (Some(105.0), Some(100.0)));

    let section = Section {
        name: "small".to_owned(),
        experiment: Experiment::parse(SMALL).unwrap(),
        records: done.records,
        missing: vec!["a & b".to_owned()],
        is_quick: false,
    };
    let plot = section.plot(&section.experiment.plots[0]).unwrap();
    let points: Vec<(&str, usize)> =
        plot.curves.iter().map(|curve| (curve.name.as_str(), curve.points.len())).collect();
    assert_eq!(points, [("ASMR", 2), ("SIREN", 2), ("Plenoxels", 1)]);
    let html = page(&[section.part()], &claims(&[], false), false);
    for there in [
        "Small &lt;fits&gt;",
        "a &amp; b",
        "<svg ",
        "diverged",
        "<td>105</td>",
        "not measured",
        "class=\"best\"",
    ] {
        assert!(html.contains(there), "{there}");
    }
    // One row for each contestant and length: 2 + 2 + 1; and one for each seed of these among the settings.
    assert_eq!(html.matches("<td>3 steps</td>").count() + html.matches("<td>2 steps</td>").count(), 5 + 10);
}

#[test]
fn decodes_are_timed_in_turns() {
    let folder = folder_with_picture();
    let text = SMALL.replace("steps = [2, 3]", "steps = [2, 3]\ndecodes_in_turns = true");
    let records = run_in(folder.path(), &text).0.unwrap().records;
    for (contestant, n_rows) in [("ASMR", 4), ("SIREN", 4), ("Plenoxels", 4)] {
        let of = |row: &&asmr_zoo::records::Record| {
            row.text("contestant") == contestant && row.number("psnr_db").is_some()
        };
        for column in ["decode_msamples_s_1", "decode_msamples_s_2"] {
            // One figure for all fits, which each alone would never give.
            let speeds: Vec<f64> = records.iter().filter(of).filter_map(|row| row.number(column)).collect();
            assert_eq!(speeds.len(), n_rows, "{contestant}");
            assert!(
                speeds[0] > 0.0 && speeds.iter().all(|speed| *speed == speeds[0]),
                "{contestant}: {speeds:?}"
            );
        }
    }
    assert_eq!(Records::read(&place(folder.path()).results), Ok(records));
}

#[test]
fn what_is_missing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (done, _) = run_in(folder.path(), SMALL);
    let done = done.unwrap();
    let [problem] = &done.missing[..] else { panic!("{:?}", done.missing) };
    assert!(problem.contains("image/small.png is not there") && problem.contains("ASMR_DATA"), "{problem}");
    assert_eq!((done.n_fits, done.records.iter().count()), (0, 0));

    let folder = folder_with_picture();
    let more = SMALL.replace("\"image/small.png\"", "\"image/small.png\", \"image/none.png\"");
    let (done, _) = run_in(folder.path(), &more);
    let done = done.unwrap();
    assert_eq!((done.missing.len(), done.n_fits), (1, 14));
    // Settings that do not suit a grid are told in their rows.
    let wrong = SMALL.replace("vertices = [4, 6]", "vertices = [4, 6, 8]");
    let (done, _) = run_in(folder.path(), &wrong);
    let records = done.unwrap().records;
    let told = records.iter().filter(|row| row.text("problem").contains("vertices"));
    // Two rates and three below them, for two seeds.
    assert_eq!(told.count(), 10);
}

/// Settings that are left to the grid of a signal, and measures of a part of it.
#[test]
fn settings_follow_from_the_signal() {
    let folder = folder_with_picture();
    let text = r#"
title = "Grids"
about = "Of a small picture."
files = ["image/small.png"]
steps = [4]

[quick]

[[contestant]]
name = "sparse"
method.plenoxels = { share = 0.5, stages = 2, threshold = 0.01 }

[[contestant]]
name = "whole"
method.plenoxels = { share = 0.5 }

[[contestant]]
name = "neither"
method.plenoxels = { share = 0.5, vertices = [8, 12] }

[[contestant]]
name = "LoE"
method.loe = { tiles = [], width = 4 }

[[contestant]]
name = "SIREN"
method.siren = { width = 8, layers = 3 }
measured_samples = 24
"#;
    let (done, _) = run_in(folder.path(), text);
    let records = done.unwrap().records;
    let row = |name: &str| records.iter().find(|row| row.text("contestant") == name).unwrap();
    let number = |name: &str, column: &str| row(name).number(column).unwrap();
    assert_eq!(number("whole", "n_params"), 96.0);
    // 8 × 12 vertices and no fewer: 5 × 7 of which are 9 × 13 with halved cells, and nothing in the picture is empty.
    assert!(number("sparse", "n_params") > 96.0 && number("sparse", "n_params") <= 117.0);
    assert_eq!((number("sparse", "steps"), number("sparse", "layers")), (4.0, 0.0));
    assert!(row("sparse").text("settings").contains("[9,13]"), "{}", row("sparse").text("settings"));
    assert!(row("neither").text("problem").contains("one of them"), "{}", row("neither").text("problem"));
    assert!(row("LoE").text("settings").contains("[[2,2],[2,2],[4,6]]"), "{}", row("LoE").text("settings"));
    assert_eq!((number("LoE", "layers"), number("LoE", "measured_samples")), (4.0, 384.0));
    // Every fourth sample of 16 × 24.
    assert_eq!((number("SIREN", "layers"), number("SIREN", "measured_samples")), (3.0, 24.0));
    assert!(number("SIREN", "psnr_db").is_finite() && row("SIREN").number("ssim").is_none());
}

#[test]
fn signals_go_on_as_in_mirrors() {
    let folder = folder_with_picture();
    let spec = |extents: &[usize]| SignalSpec {
        file: "image/small.png".to_owned(),
        mirrored: Some(extents.to_vec()),
        ..SignalSpec::default()
    };
    let folders: Vec<PathBuf> = vec![folder.path().to_path_buf()];
    let signal = spec(&[34, 50]).open(&folders).unwrap();
    let Samples::U8(values) = signal.samples() else { panic!("bytes") };
    let original = |y: usize, x: usize| (x * 9 + y * 3) as u8;
    // Row 15 is the last, 16 the same again, 31 the first and 32 too.
    for (at, from) in [(0, 0), (15, 15), (16, 15), (17, 14), (31, 0), (32, 0), (33, 1)] {
        assert_eq!(values[at * 50], original(from, 0), "row {at}");
    }
    for (at, from) in [(23, 23), (24, 23), (47, 0), (48, 0), (49, 1)] {
        assert_eq!(values[at], original(0, from), "column {at}");
    }
    let cut = spec(&[3, 5]).open(&folders).unwrap();
    assert_eq!((cut.info().extents.as_slice(), cut.samples().len()), ([3, 5].as_slice(), 15));
}

#[test]
fn the_largest_saving_is_the_published_one() {
    let all = claims(&[], true);
    assert_eq!(all.len(), 10);
    assert!(all[0].figure.starts_with("508.2 times"), "{}", all[0].figure);
    assert_ne!(all[0].verdict, Verdict::Unmeasured);
    assert!(all.iter().all(|claim| claim.command.ends_with("--quick")));
    assert!(all[1..].iter().all(|claim| claim.verdict == Verdict::Unmeasured));
}

/// A comparison on two pictures and two seeds; a quick run on one.
const PAIR: &str = r#"
title = "Pair"
about = "Of small pictures."
files = ["image/p.png", "image/q.png"]
seeds = [0, 1]
steps = [9]

[quick]
signals = ["p"]

[[contestant]]
name = "ASMR"
method.asmr = { levels = 3, width = 8 }

[[contestant]]
name = "SIREN"
method.siren = { width = 8, layers = 3 }
"#;

/// Rows of that, by picture, contestant, seed and PSNR.
fn pair(rows: &[(&str, &str, &str, &str)]) -> Records {
    pair_in_batches(rows, |_| "null")
}

/// Likewise with the batch of each contestant.
fn pair_in_batches(rows: &[(&str, &str, &str, &str)], batch: fn(&str) -> &str) -> Records {
    let mut text = format!("{}\n", COLUMNS.join("\t"));
    for &(signal, contestant, seed, db) in rows {
        let cells = COLUMNS.map(|column| match column {
            "signal" => signal,
            "contestant" => contestant,
            "length" => "9 steps",
            "rate_factor" => "1",
            "seed" => seed,
            "psnr_db" => db,
            "mac_exec" | "decode_msamples_s_1" => "2",
            "commit" => "abc",
            "batch" => batch(contestant),
            _ => "null",
        });
        text += &(cells.join("\t") + "\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pair.tsv");
    std::fs::write(&path, text).unwrap();
    Records::read(&path).unwrap()
}

#[test]
fn fits_are_held_beside_those_elsewhere() {
    let there = |db: f64| {
        format!("elsewhere = [{{ signal = \"q\", steps = 9, psnr_db = {db:?}, source = \"a <paper>\" }}]\n")
    };
    let asmr = "levels = 3, width = 8 }\n";
    let text = PAIR.replace(asmr, &format!("{asmr}{}", there(24.6))) + &there(30.0);
    let text = text.replace("signals = [\"p\"]", "");
    let rows = |siren| {
        let of = |signal, contestant, db| [(signal, contestant, "0", db), (signal, contestant, "1", db)];
        [of("p", "ASMR", "9.0"), of("q", "ASMR", "25.0"), of("p", "SIREN", "9.0"), of("q", "SIREN", siren)]
            .concat()
    };
    let section = |siren| Section {
        name: "anchors".to_owned(),
        experiment: Experiment::parse(&text).unwrap(),
        records: pair(&rows(siren)),
        missing: Vec::new(),
        is_quick: false,
    };
    for (siren, verdict, says) in [
        ("29.5", Verdict::Holds, "ASMR +0.40, SIREN -0.50"),
        ("29.4", Verdict::Partly, "ASMR +0.40, SIREN -0.60"),
    ] {
        let claim = claims(&[section(siren)], false).pop().unwrap();
        assert_eq!(claim.verdict, verdict, "{}", claim.figure);
        assert!(claim.figure.contains(says), "{}", claim.figure);
    }
    // What is not known elsewhere proves nothing.
    let mut unknown = section("29.5");
    unknown.experiment.contestants[1].elsewhere.clear();
    let claim = claims(&[unknown], false).pop().unwrap();
    assert_eq!(
        (claim.verdict, claim.figure.as_str()),
        (Verdict::Unmeasured, "there is no figure from elsewhere for SIREN")
    );
    let html = section("29.4").part().tables;
    assert!(html.contains("<td>29.40</td><td>30.00</td><td>-0.60</td><td>a &lt;paper&gt;</td>"), "{html}");
}

#[test]
fn verdicts_need_all_fits_and_say_what_failed() {
    let whole = Experiment::parse(PAIR).unwrap();
    let quick = whole.quick();
    let judged = |experiment: &Experiment, rows: &[(&str, &str, &str, &str)]| {
        let section = Section {
            name: "against-siren".to_owned(),
            experiment: experiment.clone(),
            records: pair(rows),
            missing: Vec::new(),
            is_quick: false,
        };
        let all = claims(&[section], false);
        let claim = all.into_iter().find(|claim| claim.claim.starts_with("better quality")).unwrap();
        assert_eq!(claim.commit, "abc");
        (claim.verdict, claim.figure)
    };
    let p = [
        ("p", "ASMR", "0", "30.0"),
        ("p", "ASMR", "1", "30.2"),
        ("p", "SIREN", "0", "29.0"),
        ("p", "SIREN", "1", "29.1"),
    ];
    let q = |asmr, siren| {
        [
            ("q", "ASMR", "0", asmr),
            ("q", "ASMR", "1", asmr),
            ("q", "SIREN", "0", siren),
            ("q", "SIREN", "1", siren),
        ]
    };
    let both = |q: &[(&'static str, &'static str, &'static str, &'static str)]| [&p[..], q].concat();

    // Half of the fits is no verdict, but what a quick run asks for is.
    let (verdict, figure) = judged(&whole, &p);
    assert_eq!((verdict, figure.as_str()), (Verdict::Unmeasured, "2 of 4 fits of ASMR are there"));
    assert_eq!(judged(&quick, &p).0, Verdict::HoldsOn(1, 2));
    assert_eq!(judged(&quick, &p).0.to_string(), "holds, on 1 of 2");

    let (verdict, figure) = judged(&whole, &both(&q("25.0", "20.0")));
    assert_eq!(verdict, Verdict::Holds);
    // 1.05 and 5 dB; seeds of ASMR on p differ by 0.2.
    assert!(figure.contains("+3.03 dB") || figure.contains("+3.02 dB"), "{figure}");
    assert!(figure.contains("up to 0.20 dB"), "{figure}");
    // Equal is not better, and worse is worse.
    assert_eq!(judged(&whole, &both(&q("20.0", "20.0"))).0, Verdict::Partly);
    assert_eq!(judged(&whole, &both(&q("19.0", "20.0"))).0, Verdict::Partly);
    let (verdict, figure) = judged(&whole, &both(&q("25.0", "null")));
    assert_eq!(verdict, Verdict::Partly);
    assert!(figure.contains("failed: SIREN on q, seed 0, SIREN on q, seed 1"), "{figure}");
    let mut one_failed = both(&q("25.0", "20.0"));
    one_failed[1].3 = "null";
    let (verdict, figure) = judged(&whole, &one_failed);
    assert_eq!(verdict, Verdict::Partly);
    assert!(figure.ends_with("failed: ASMR on p, seed 1"), "{figure}");
}

/// A claim of an experiment of this name.
fn judged(name: &str, text: &str, records: Records, claim: &str) -> (Verdict, String) {
    let section = Section {
        name: name.to_owned(),
        experiment: Experiment::parse(text).unwrap(),
        records,
        missing: Vec::new(),
        is_quick: false,
    };
    let all = claims(&[section], false);
    let claim = all.into_iter().find(|known| known.claim.starts_with(claim)).unwrap();
    (claim.verdict, claim.figure)
}

#[test]
fn what_equal_batches_say_is_told() {
    let text = format!(
        "{PAIR}\n[[contestant]]\nname = \"ASMR, in batches\"\nmethod.asmr = {{ levels = 3, width = 8 }}\n"
    )
    .replace("seeds = [0, 1]", "seeds = [0]");
    let rows = |in_batches| {
        [("ASMR", "30.0"), ("SIREN", "29.0"), ("ASMR, in batches", in_batches)]
            .into_iter()
            .flat_map(|(contestant, db)| ["p", "q"].map(|signal| (signal, contestant, "0", db)))
            .collect::<Vec<_>>()
    };
    let batch: fn(&str) -> &str = |contestant| if contestant == "ASMR" { "384" } else { "64" };
    let (verdict, figure) =
        judged("against-siren", &text, pair_in_batches(&rows("25.0"), batch), "better quality");
    assert_eq!(verdict, Verdict::Partly);
    for says in [
        "better on 2 and worse on 0 of 2",
        "a step of ASMR has 384",
        "better on 0 and worse on 2 of 2 signals, -4.00 dB",
    ] {
        assert!(figure.contains(says), "{figure}");
    }
    // As many samples in all leave nothing to tell.
    let (verdict, figure) =
        judged("against-siren", &text, pair_in_batches(&rows("25.0"), |_| "64"), "better quality");
    assert_eq!(verdict, Verdict::Holds);
    assert!(!figure.contains("a step of ASMR"), "{figure}");
}

#[test]
fn depth_is_judged_by_both_optimisers() {
    let contestant = |name: &str, series: &str, layers| {
        format!(
            "\n[[contestant]]\nname = \"{name}\"\nseries = \"{series}\"\nmethod.asmr = {{ levels = {layers}, width = 8 }}\n"
        )
    };
    let names = ["a", "b", "c", "d"];
    let text = PAIR.split("[[contestant]]").next().unwrap().to_owned()
        + &contestant("a", "ASMR", 2)
        + &contestant("b", "ASMR", 3)
        + &contestant("c", "ASMR, as published", 2)
        + &contestant("d", "ASMR, as published", 3);
    let text = text.replace("seeds = [0, 1]", "seeds = [0]");
    let cases = [
        (["30.0", "31.0", "20.0", "21.0"], Verdict::Holds),
        (["30.0", "31.0", "20.0", "19.0"], Verdict::Partly),
        (["30.0", "29.0", "20.0", "21.0"], Verdict::Partly),
        (["30.0", "29.0", "20.0", "20.05"], Verdict::Fails),
    ];
    for (quality, expected) in cases {
        let rows: Vec<_> = names
            .iter()
            .zip(quality)
            .flat_map(|(name, db)| ["p", "q"].map(|s| (s, *name, "0", db)))
            .collect();
        let (verdict, figure) = judged("ultra-low-mac", &text, pair(&rows), "more layers");
        assert_eq!(verdict, expected, "{figure}");
        assert!(
            figure.contains(&format!("published one: {:.2}", quality[2].parse::<f64>().unwrap())),
            "{figure}"
        );
    }
}

#[test]
fn the_best_of_several_stands_for_them() {
    let text = PAIR
        .replace("name = \"SIREN\"", "name = \"SIREN\"\nbest_of = \"rival\"")
        .replace("name = \"ASMR\"", "name = \"ASMR\"\nbest_of = \"rival\"")
        + "\n[[plot]]\ntitle = \"x\"\nx = \"mac_exec\"\ny = \"psnr_db\"\n";
    let section = Section {
        name: "pair".to_owned(),
        experiment: Experiment::parse(&text).unwrap(),
        records: pair(&[("p", "ASMR", "0", "30.0"), ("p", "SIREN", "0", "31.0")]),
        missing: Vec::new(),
        is_quick: true,
    };
    let plot = section.plot(&section.experiment.plots[0]).unwrap();
    assert_eq!(plot.curves.len(), 1);
    assert_eq!((plot.curves[0].name.as_str(), &plot.curves[0].points[..]), ("rival", &[(2.0, 31.0)][..]));
    let part = section.part();
    assert!(part.tables.contains("<td>SIREN (the best rival)</td>") && part.tables.contains("<td>ASMR</td>"));
    assert!(part.tables.contains("<td class=\"best\">31.00</td>"), "{}", part.tables);
    assert_eq!(part.note, "quick run; seeds 0; commit abc");
}

const META: &str = r#"
title = "Small"
about = "Of small tiles."
learned_from = ["image/small.png"]
unseen = ["image/other.png"]
tile = [8, 8]
levels = 3
width = 8
modulator = "table"
updates = [2]
batch = 2
inner_steps = 2
rate = 5e-4
measured_steps = [0, 1]

[[plot]]
title = "Steps"
x = "steps"
y = "psnr_db"

[quick]
updates = [1]
"#;

#[test]
fn meta_learning_is_measured() {
    let folder = folder_with_picture();
    std::fs::copy(folder.path().join("image/small.png"), folder.path().join("image/other.png")).unwrap();
    let spec = MetaExperiment::parse(META).unwrap();
    let path = folder.path().join("new/meta.tsv");
    let run = |spec: &MetaExperiment| {
        let mut n_lines = 0;
        let folders = [folder.path().to_path_buf()];
        let measured = spec.run(&path, root(), &folders, "a test", &mut |_| n_lines += 1);
        (measured, n_lines)
    };
    let (measured, n_lines) = run(&spec);
    let measured = measured.unwrap();
    // Two steps from what was learned, two from what was not, one of all weights.
    assert_eq!((measured.rows.len(), n_lines), (5, 6));
    // 16 × 24 samples are 2 × 3 tiles.
    let is_right = |row: &Vec<String>| row[2] == "6" && row[5].parse::<f64>().unwrap() > 5.0;
    assert!(measured.rows.iter().all(is_right), "{:?}", measured.rows);
    assert_eq!(Measured::read(&path).as_ref(), Some(&measured));
    // It is not measured again, unless something else is asked for.
    assert_eq!(run(&spec), (Ok(measured.clone()), 0));
    assert_eq!(run(&MetaExperiment { width: 9, ..spec.clone() }).1, 6);
    let part = meta_study::part("small", &spec, Some(&measured), Some("a < b"));
    assert_eq!(part.plots[0].curves.iter().map(|curve| curve.points.len()).collect::<Vec<_>>(), [2, 2, 1]);
    assert!(part.tables.contains("learned base") && part.tables.contains("a &lt; b"));
    let cases = [
        (
            META.replace("unseen = [\"image/other.png\"]", "unseen = [\"image/small.png\"]"),
            "said to be unseen",
        ),
        (META.replace("updates = [2]", "updates = [0]"), "above 0"),
        (META.replace("learned_from = [\"image/small.png\"]", "learned_from = []"), "at least"),
        (META.replace("width = 8", "width = 8\nheight = 8"), "height"),
        (META.replace("x = \"steps\"", "x = \"step\""), "no column step"),
    ];
    for (text, says) in cases {
        let error = MetaExperiment::parse(&text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
