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
