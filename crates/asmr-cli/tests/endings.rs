//! How calls end: targets, time limits, signals, closed pipes.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Folder, GREY, RGB, assert_close, read};

#[test]
fn a_missed_target_keeps_the_file() {
    let folder = Folder::new();
    folder.picture("p.png", 24, 24, RGB);
    let line = "encode p.png -o n.asmr --width 8 --steps 5 --psnr 120 --json --quiet";
    let missed = folder.asmr(line).expect(1);
    let told = missed.json();
    let (psnr_db, by) = (told["psnr_db"].as_f64().unwrap(), told["missed_db"].as_f64().unwrap());
    assert!((psnr_db + by - 120.0).abs() < 1e-9, "{told:#}");
    assert!(missed.stderr.contains("120 dB was missed by"), "{missed:#?}");
    assert_eq!(missed.stderr.lines().count(), 1, "{missed:#?}");
    folder.asmr("decode n.asmr -o out.png").expect(0);
}

#[test]
fn a_reached_target_ends_the_fit() {
    let folder = Folder::new();
    folder.picture("p.png", 24, 24, GREY);
    let told = folder.asmr("encode p.png --width 32 --steps 4000 --psnr 20 --json --quiet").expect(0).json();
    assert!(told["psnr_db"].as_f64().unwrap() >= 20.0, "{told:#}");
    assert!(told["missed_db"].is_null(), "{told:#}");
    assert_eq!(told["ending"], "target-reached");
    assert!(told["steps"].as_u64().unwrap() < 4000, "{told:#}");
}

#[test]
fn a_time_limit_is_kept() {
    let folder = Folder::new();
    folder.picture("p.png", 64, 64, GREY);
    let start = Instant::now();
    let told = folder.asmr("encode p.png --width 16 --time 700ms --json --quiet").expect(0).json();
    let wall_s = start.elapsed().as_secs_f64();
    assert_eq!(told["ending"], "time-up");
    let elapsed_s = told["elapsed_s"].as_f64().unwrap();
    // The machine may be busy with other things.
    assert!((0.7..5.0).contains(&elapsed_s) && wall_s < 10.0, "{elapsed_s} s, {wall_s} s");
    assert_eq!(told["fit"]["steps"], told["steps"], "the file tells steps, not times");
    // Those of a sequence are known too late to be told.
    folder.asmr("encode p.png -o n.asmr --width 16 --time 100ms --chunk 40 --quiet").expect(0);
    let info = folder.asmr("info n.asmr --json").expect(0).json();
    assert!(info["fit"]["rate"].is_number() && info["fit"].get("steps").is_none(), "{info:#}");
    let told =
        folder.asmr("encode p.png -o n.asmr --width 8 --time 1h --steps 3 --json --quiet").expect(0).json();
    assert_eq!((&told["ending"], &told["steps"]), (&"finished".into(), &3.into()));
}

#[test]
fn a_short_time_gets_a_narrower_network() {
    let folder = Folder::new();
    folder.picture("p.png", 300, 300, RGB);
    let width = |options: &str| {
        let told = folder.asmr(&format!("encode p.png -o n.asmr {options} --json --quiet")).expect(0).json();
        std::fs::remove_file(folder.path("n.asmr")).unwrap();
        told["width"].as_u64().unwrap()
    };
    // No machine makes a hundred steps in a millisecond, and every one in an hour.
    assert_eq!(width("--time 1ms"), 64);
    assert_eq!(width("--time 1h --steps 1"), width("--steps 1"));
    assert_eq!(width("--time 1ms --width 80"), 80);
}

/// Starts a fit that would take for ever and waits until it is under way.
#[cfg(unix)]
fn long_fit(folder: &Folder) -> (std::process::Child, BufReader<std::process::ChildStderr>) {
    folder.picture("p.png", 64, 64, RGB);
    let line = "encode p.png -o n.asmr --width 16 --steps 100000000 --json";
    let mut child =
        folder.command(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    assert!(first.starts_with("asmr: fitting p.png"), "{first}");
    std::thread::sleep(Duration::from_millis(500));
    (child, stderr)
}

#[cfg(unix)]
fn signal(name: &str, child: &std::process::Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_the_best_network_so_far() {
    let mut n_cases = 0;
    for name in ["-INT", "-TERM"] {
        let folder = Folder::new();
        let (child, mut stderr) = long_fit(&folder);
        signal(name, &child);
        let output = child.wait_with_output().unwrap();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(output.status.code(), Some(130), "{text}");
        assert!(text.contains("best network so far is in n.asmr"), "{text}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["ending"], "stopped");
        assert!(told["steps"].as_u64().unwrap() > 0, "{told:#}");
        folder.asmr("decode n.asmr -o out.png").expect(0);
        let psnr_db =
            asmr_media::psnr_db(&read(&folder.path("p.png")), &read(&folder.path("out.png"))).unwrap();
        assert_close(&told["psnr_db"], psnr_db);
        assert_eq!(folder.names(), ["n.asmr", "out.png", "p.png"]);
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_leaves_nothing_half_written() {
    let folder = Folder::new();
    let (mut child, _stderr) = long_fit(&folder);
    signal("-INT", &child);
    signal("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // The first may have been done before the second arrived.
    let names = folder.names();
    if names == ["n.asmr", "p.png"] {
        folder.asmr("info n.asmr").expect(0);
    } else {
        assert_eq!(names, ["p.png"]);
    }
}

#[cfg(unix)]
fn wait_for(folder: &Folder, name: &str) {
    let start = Instant::now();
    while !folder.path(name).exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "{name} never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts a fit of a picture in two chunks that ends when `is_far` says so, by one signal or more.
#[cfg(unix)]
fn stopped_sequence(folder: &Folder, options: &str, is_far: &str, n_signals: usize) -> Option<i32> {
    folder.picture("p.png", 64, 64, RGB);
    let line = format!("encode p.png -o n.asmr --chunk 32 --quiet {options}");
    let mut child = folder.command(line.split_whitespace()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(folder, is_far);
    for _ in 0..n_signals {
        signal("-INT", &child);
    }
    child.wait().unwrap().code()
}

#[cfg(unix)]
#[test]
fn a_stopped_sequence_goes_on() {
    let folder = Folder::new();
    let options = "--width 16 --steps 3000 --checkpoint 50ms";
    let code = stopped_sequence(&folder, options, "n.asmr.resume", 1);
    assert_eq!(code, Some(130));
    assert_eq!(folder.names(), ["n.asmr", "n.asmr.part", "n.asmr.resume", "p.png"]);
    folder.asmr("verify n.asmr").expect(0);
    folder.asmr(&format!("encode p.png -o n.asmr --chunk 32 --quiet {options} --resume")).expect(0);
    folder.asmr(&format!("encode p.png -o expected.asmr --chunk 32 --quiet {options}")).expect(0);
    assert_eq!(folder.read("n.asmr"), folder.read("expected.asmr"));
    assert_eq!(folder.names(), ["expected.asmr", "n.asmr", "p.png"]);
}

/// The width of such a fit follows from the time; 1 ms alone would have the narrowest.
#[cfg(unix)]
#[test]
fn a_fit_with_a_time_goes_on_at_its_width() {
    let folder = Folder::new();
    folder.picture("p.png", 256, 256, RGB);
    let line = "encode p.png -o n.asmr --checkpoint 50ms --quiet --time";
    let mut child = folder.command(line.split(' ').chain(["60s"])).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&folder, "n.asmr.resume");
    signal("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(folder.names(), ["n.asmr", "n.asmr.resume", "p.png"]);
    folder
        .asmr("encode p.png -o n.asmr --chunk 64 --resume --quiet")
        .refuses(2, &["n.asmr.part", "leave --chunk out", "remove n.asmr.resume"]);
    let told = folder.asmr(&format!("{line} 1ms --resume --json")).expect(0).json();
    assert!(told["width"].as_u64().unwrap() > 100 && told["steps"].as_u64().unwrap() > 0, "{told:#}");
    let anew = folder.asmr(&format!("{line} 1ms --json")).expect(0).json();
    assert_eq!(anew["width"], 64);
    assert_eq!(folder.names(), ["n.asmr", "p.png"]);
}

#[cfg(unix)]
#[test]
fn a_twice_interrupted_sequence_leaves_no_part() {
    let folder = Folder::new();
    let code = stopped_sequence(&folder, "--width 16 --steps 100000000", "n.asmr.part", 2);
    assert_eq!(code, Some(130));
    // The first may have been done before the second arrived.
    let names = folder.names();
    assert!(names == ["p.png"] || names == ["n.asmr", "p.png"], "{names:?}");
}

/// Starts the call and waits until it says something with these words: the line, the call and what it says next.
#[cfg(unix)]
fn begun(
    folder: &Folder,
    line: &str,
    words: &str,
) -> (String, std::process::Child, BufReader<std::process::ChildStderr>) {
    let mut child = folder
        .command(line.split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(words) {
        said.clear();
        assert!(stderr.read_line(&mut said).unwrap() > 0, "'{words}' was never said");
    }
    (said, child, stderr)
}

/// What is left of a fit that a signal comes behind: here nearly all of the work is. When that is depends on the
/// machine and on what else it does, so that signals come earlier and earlier until one comes in time.
#[cfg(unix)]
#[test]
fn an_interrupt_behind_the_fit_loses_nothing() {
    let folder = Folder::new();
    folder.picture("p.png", 512, 512, RGB);
    let line = "encode p.png -o n.asmr --width 8 --steps 1 --lossless --progressive";
    let mut n_in_time = 0;
    for delay_ms in [400, 300, 200, 150, 100, 70, 50] {
        let (_, child, mut stderr) = begun(&folder, line, "fitting p.png");
        std::thread::sleep(Duration::from_millis(delay_ms));
        signal("-INT", &child);
        let code = child.wait_with_output().unwrap().status.code();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        match code {
            Some(130) if text.contains("is in n.asmr") => n_in_time += 1,
            Some(130) if text.contains("nothing was written") => {
                assert_eq!(folder.names(), ["p.png"]);
                continue;
            }
            // The file was there before; at most its quality was still to be told.
            Some(0 | 130) => {}
            other => panic!("{other:?}: {text}"),
        }
        folder.asmr("decode n.asmr -o out.png").expect(0);
        assert_eq!(read(&folder.path("p.png")), read(&folder.path("out.png")));
        assert_eq!(folder.names(), ["n.asmr", "out.png", "p.png"]);
        std::fs::remove_file(folder.path("n.asmr")).unwrap();
        std::fs::remove_file(folder.path("out.png")).unwrap();
        if n_in_time == 1 {
            break;
        }
    }
    assert_eq!(n_in_time, 1);
}

/// The best network of a search is kept whenever a signal comes, in a fit or between two.
#[cfg(unix)]
#[test]
fn an_interrupted_search_keeps_its_best() {
    let folder = Folder::new();
    folder.picture("p.png", 96, 96, RGB);
    let mut n_cases = 0;
    for delay_ms in [0, 40, 90, 150, 230] {
        let line = "encode p.png -o n.asmr --steps 3 --psnr 90";
        let (_, child, mut stderr) = begun(&folder, line, "try 2 for 90 dB");
        std::thread::sleep(Duration::from_millis(delay_ms));
        signal("-INT", &child);
        let code = child.wait_with_output().unwrap().status.code();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        // It may have ended before, without its target.
        assert!(code == Some(130) || (code == Some(1) && text.contains("was missed")), "{code:?}: {text}");
        folder.asmr("verify n.asmr").expect(0);
        assert_eq!(folder.names(), ["n.asmr", "p.png"]);
        std::fs::remove_file(folder.path("n.asmr")).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
}

/// Networks of a row each, whose fits are short.
#[cfg(unix)]
const SHORT: &str = "--chunk 1 --width 8 --steps 6 --quiet";

/// A fit of `p.png` in chunks, ended by a signal when a third of the bytes of `expected.asmr` are in the file that grows.
#[cfg(unix)]
fn ended_early(folder: &Folder, name: &str, options: &str) -> Option<i32> {
    let expected = folder.read("expected.asmr");
    let header_len = u32::from_le_bytes(expected[12..16].try_into().unwrap()) as usize;
    let body = 24 + header_len + 24 * 400 + 8;
    let enough = body + (expected.len() - body) / 3;
    let line = format!("encode p.png -o n.asmr {options}");
    let mut child = folder.command(line.split_whitespace()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(folder, if name == "-KILL" { "n.asmr.resume" } else { "n.asmr.part" });
    let start = Instant::now();
    while std::fs::metadata(folder.path("n.asmr.part")).unwrap().len() < enough as u64 {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not grow");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(name, &child);
    child.wait().unwrap().code()
}

/// A picture of 400 rows, and the file that [`SHORT`] makes of it.
#[cfg(unix)]
fn rows() -> Folder {
    let folder = Folder::new();
    folder.picture("p.png", 400, 32, RGB);
    folder.asmr(&format!("encode p.png -o expected.asmr {SHORT}")).expect(0);
    folder
}

#[cfg(unix)]
#[test]
fn short_chunks_stay_when_they_are_stopped() {
    let folder = rows();
    let code = ended_early(&folder, "-INT", SHORT);
    assert_eq!(code, Some(130));
    assert_eq!(folder.names(), ["expected.asmr", "n.asmr", "n.asmr.part", "n.asmr.resume", "p.png"]);
    folder.asmr("verify n.asmr").expect(0);
    let said = folder.asmr(&format!("encode p.png -o n.asmr {SHORT} --resume")).expect(0).stderr;
    assert!(!said.contains("nothing to go on from"), "{said}");
    assert_eq!(folder.read("n.asmr"), folder.read("expected.asmr"));
    assert_eq!(folder.names(), ["expected.asmr", "n.asmr", "p.png"]);
}

/// All fits together are longer than the time between two states, though each is shorter.
#[cfg(unix)]
#[test]
fn short_chunks_survive_a_kill() {
    let folder = rows();
    let code = ended_early(&folder, "-KILL", &format!("{SHORT} --checkpoint 20ms"));
    assert_eq!(code, None);
    // A kill in the middle of a write leaves its temporary file.
    let mut names = folder.names();
    names.retain(|name| !name.starts_with(".asmr-"));
    assert_eq!(names, ["expected.asmr", "n.asmr.part", "n.asmr.resume", "p.png"]);
    // Without --resume they would be lost.
    folder
        .asmr(&format!("encode p.png -o n.asmr {SHORT}"))
        .refuses(2, &["n.asmr.resume", "an earlier fit", "--resume", "remove it"]);
    let said = folder.asmr(&format!("encode p.png -o n.asmr {SHORT} --resume")).expect(0).stderr;
    assert!(!said.contains("nothing to go on from"), "{said}");
    assert_eq!(folder.read("n.asmr"), folder.read("expected.asmr"));
}

/// Leaves the state as it is between two fits: whole chunks, and no fit in progress.
#[cfg(unix)]
fn leave_chunks_alone(folder: &Folder) {
    let state = folder.read("n.asmr.resume");
    let n_done = u32::from_le_bytes(state[12..16].try_into().unwrap()) as usize;
    assert!(n_done > 0);
    folder.write("n.asmr.resume", &state[..16 + 16 * n_done + 4]);
}

#[cfg(unix)]
#[test]
fn other_fits_do_not_go_on_between_chunks() {
    let folder = rows();
    ended_early(&folder, "-INT", SHORT);
    leave_chunks_alone(&folder);
    folder.picture("q.png", 400, 32, RGB);
    let same = common::picture(400, 32, RGB);
    let asmr::signal::Samples::U8(mut values) = same.samples().clone() else { panic!("it has bytes") };
    values[0] ^= 1;
    let other = asmr::signal::Signal::new(same.info().clone(), asmr::signal::Samples::U8(values)).unwrap();
    asmr_media::write_image(&folder.path("other.png"), &other).unwrap();
    let before = folder.names();
    let (part, state) = (folder.read("n.asmr.part"), folder.read("n.asmr.resume"));
    let cases: [(&str, &[&str]); 5] = [
        ("other.png --chunk 1 --width 8 --steps 6", &["n.asmr.resume", "another signal than other.png"]),
        ("p.png --chunk 1 --width 9 --steps 6", &["n.asmr.part", "other settings"]),
        ("p.png --chunk 1 --width 8 --steps 3", &["n.asmr.part", "other settings"]),
        ("p.png --chunk 2 --width 8 --steps 6", &["n.asmr.part", "other settings"]),
        ("p.png --width 8 --steps 6", &["n.asmr.resume", "in chunks", "--chunk"]),
    ];
    let mut n_cases = 0;
    for (options, words) in cases {
        folder.asmr(&format!("encode {options} -o n.asmr --resume --quiet")).refuses(2, words);
        // Behind the chunks that are done there may have been the one that the signal came in.
        assert!(part.starts_with(&folder.read("n.asmr.part")), "{options}");
        assert!(folder.read("n.asmr.resume") == state, "{options}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
    assert_eq!(folder.names(), before);
    // A copy of the signal is the signal.
    folder.asmr(&format!("encode q.png -o n.asmr {SHORT} --resume")).expect(0);
    assert_eq!(folder.read("n.asmr"), folder.read("expected.asmr"));
}

/// The width of such a fit follows from the time, and between two chunks no fit in progress tells it.
#[cfg(unix)]
#[test]
fn chunks_with_a_time_go_on_at_their_width() {
    let folder = Folder::new();
    folder.picture("p.png", 2560, 256, RGB);
    // How wide a network a time allows is the machine's to say.
    let width = |said: &str| said.split_once(", width ").unwrap().1.split_once(',').unwrap().0.to_owned();
    let line = "encode p.png -o n.asmr --chunk 64";
    let (said, mut child, _stderr) = begun(&folder, &format!("{line} --time 1s"), "fitting p.png");
    let narrow = width(&said);
    wait_for(&folder, "n.asmr.part");
    let start = Instant::now();
    // More than all that is before the first network.
    while std::fs::metadata(folder.path("n.asmr.part")).unwrap().len() < 3000 {
        assert!(start.elapsed() < Duration::from_secs(60), "it does not grow");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    leave_chunks_alone(&folder);
    // An hour has time for more, but only one width fits the chunks that are done.
    for (line, is_narrow) in
        [("encode p.png -o other.asmr --chunk 64", false), (&format!("{line} --resume"), true)]
    {
        let (said, mut child, _stderr) = begun(&folder, &format!("{line} --time 1h"), "fitting p.png");
        signal("-INT", &child);
        assert_eq!(width(&said) == narrow, is_narrow, "{said}");
        assert_eq!(child.wait().unwrap().code(), Some(130));
    }
}

/// A state that cannot be kept costs the state, not the fit.
#[cfg(unix)]
#[test]
fn a_state_that_cannot_be_kept_is_said_once() {
    let mut n_cases = 0;
    for chunk in ["", "--chunk 40"] {
        let folder = Folder::new();
        folder.picture("p.png", 64, 64, RGB);
        let line = format!("encode p.png -o n.asmr --width 16 --steps 2000 --checkpoint 100ms {chunk}");
        let (_, child, mut stderr) = begun(&folder, &line, "fitting p.png");
        // No file takes the place of a folder.
        std::fs::create_dir(folder.path("n.asmr.resume")).unwrap();
        let code = child.wait_with_output().unwrap().status.code();
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(text.matches("could not be kept").count(), 1, "{text}");
        folder.asmr("verify n.asmr").expect(0);
        assert_eq!(folder.names(), ["n.asmr", "n.asmr.resume", "p.png"]);
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}

#[cfg(unix)]
#[test]
fn links_lead_to_the_output() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let folder = Folder::new();
    folder.picture("p.png", 24, 24, GREY);
    let quick = "--steps 2 --width 8 --quiet";
    let mut n_cases = 0;
    for chunk in ["", "--chunk 10"] {
        folder.write("real.asmr", b"");
        std::fs::set_permissions(folder.path("real.asmr"), std::fs::Permissions::from_mode(0o600)).unwrap();
        // One of a file, one of none yet.
        for (link, target) in [("a.asmr", "real.asmr"), ("b.asmr", "new.asmr")] {
            symlink(target, folder.path(link)).unwrap();
            folder.asmr(&format!("encode p.png -o {link} {quick} {chunk}")).expect(0);
            assert_eq!(std::fs::read_link(folder.path(link)).unwrap().to_str(), Some(target));
            folder.asmr(&format!("verify {target}")).expect(0);
            std::fs::remove_file(folder.path(link)).unwrap();
            n_cases += 1;
        }
        let mode = std::fs::metadata(folder.path("real.asmr")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_file(folder.path("new.asmr")).unwrap();
    }
    assert_eq!(n_cases, 4);
}

#[cfg(unix)]
#[test]
fn nobody_listens() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    let mut n_cases = 0;
    for line in ["info n.asmr", "info n.asmr --json", "--help", "eval n.asmr p.png --reps 1"] {
        let mut child =
            folder.command(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{line}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failed_write() {
    let folder = Folder::encoded(16, 16, GREY, "4,4;4,4");
    folder.asmr("export n.asmr -o /dev/full").refuses(1, &["/dev/full"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = folder.command(["info", "n.asmr"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to the standard output"));
}
