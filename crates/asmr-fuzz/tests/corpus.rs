//! Every fuzzer's body over the inputs that are kept: seeds, and what once failed.

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use asmr_fuzz::{TARGETS, run};
use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The most memory that an input may take: a reader's limit is 1 MiB, decoders of pictures may take several times that,
/// and tables of symphonia have their size whatever the file.
const MAX_BYTES: usize = 64 << 20;
/// The most time, on a machine that does something else meanwhile. Inputs take milliseconds.
const MAX_TIME: Duration = Duration::from_secs(20);

fn inputs(kind: &str, target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(kind).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Runs a body within the limits; tells whether the input was taken, and how long that took.
fn run_within_limits(target: &str, bytes: &[u8], told: &dyn Fn() -> String) -> (bool, Duration) {
    let (begin, before) = (Instant::now(), ALLOCATOR.allocated());
    // More ends the process, which is what it should do.
    ALLOCATOR.set_limit(before + MAX_BYTES).unwrap();
    let is_taken = run(target, bytes);
    ALLOCATOR.set_limit(usize::MAX).unwrap();
    let time = begin.elapsed();
    assert!(time < MAX_TIME, "{}: {time:?}", told());
    (is_taken, time)
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn kept_inputs_hold() {
    // What is said of a panic may take more than an input is given.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let limit = ALLOCATOR.limit();
        ALLOCATOR.set_limit(usize::MAX).unwrap();
        tell(info);
        // Of no use where that is more by now.
        let _ = ALLOCATOR.set_limit(limit);
    }));
    let mut n_all = 0;
    for target in TARGETS {
        let (seeds, regressions) = (inputs("seeds", target.name), inputs("regressions", target.name));
        assert!(seeds.len() >= 4, "{}: {} seeds", target.name, seeds.len());
        let start = Instant::now();
        let (mut most, mut n_tried, mut n_taken) = (0, 0, 0);
        for path in seeds.iter().chain(&regressions) {
            let bytes = fs::read(path).unwrap();
            assert!(bytes.len() <= target.max_bytes, "{} would be passed over", path.display());
            println!("{}", path.display());
            let (is_taken, time) = run_within_limits(target.name, &bytes, &|| path.display().to_string());
            if !is_taken && n_tried < seeds.len() {
                println!("  refused");
            }
            n_taken += usize::from(is_taken && n_tried < seeds.len());
            n_tried += 1;
            most = most.max(time.as_millis());
            // Cut, and with a bit changed here and there: near to what is kept, on every run.
            for at in (0..bytes.len()).step_by(bytes.len().div_ceil(8).max(1)) {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << (at % 8);
                let near = |what: &str| format!("{}, {what} at byte {at}", path.display());
                let (_, time) = run_within_limits(target.name, &changed, &|| near("changed"));
                most = most.max(time.as_millis());
                let (_, time) = run_within_limits(target.name, &bytes[..at], &|| near("cut"));
                most = most.max(time.as_millis());
            }
            n_all += 1;
        }
        // A seed that is refused at once leads nowhere. Of the lines, one is no command.
        let n_refused = usize::from(target.name == "options");
        assert!(
            n_taken + n_refused >= seeds.len(),
            "{}: {n_taken} of {} seeds are taken",
            target.name,
            seeds.len()
        );
        println!(
            "{}: {n_taken} of {} seeds taken, {} regressions; {:.1} s, the slowest {most} ms",
            target.name,
            seeds.len(),
            regressions.len(),
            start.elapsed().as_secs_f64()
        );
    }
    assert_eq!(n_all, N_KEPT, "inputs were added or lost: change the number");
}

/// All inputs below `fuzz/seeds` and `fuzz/regressions`.
const N_KEPT: usize = 348;
