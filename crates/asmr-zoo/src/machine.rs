//! What runs here, and how fast it could be: the multiply-add peak and the memory bandwidth, measured.

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use asmr_kernels::IsaLevel;
use asmr_kernels::peak::{CHAINS, LANES, multiply_adds};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::Outcome;
use crate::table::Table;
use crate::timing::{Quartiles, median};

/// CPU, cores and instruction-set level in words.
#[must_use]
pub fn describe() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{model}, {} cores, ISA level {}", n_cores(), IsaLevel::detect().name())
}

/// How many processes want to run, averaged over the last minute, in words: whether other work ran beside a bench.
#[must_use]
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", text.split_whitespace().next().unwrap_or("unknown"))
}

/// Cores this process may use.
#[must_use]
pub fn n_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The commit that is checked out, and whether sources differ from it.
#[must_use]
pub fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // What programs and experiments are made of; a text or results that are being written change nothing measured.
    let sources = ["crates", "experiments", "Cargo.toml", "Cargo.lock"];
    let status = [&["status", "--porcelain", "--untracked-files=no", "--"], &sources[..]].concat();
    let changed = git(&status).is_some_and(|s| !s.is_empty());
    let hash = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    if changed { format!("{hash} with changes") } else { hash }
}

/// A pool of so many threads.
///
/// # Errors
/// When the system refuses threads.
pub fn pool(n_threads: usize) -> Outcome<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build()
        .map_err(|error| format!("cannot start {n_threads} threads: {error}"))
}

/// The highest resident memory of this process so far, in MiB.
///
/// # Errors
/// Where the system does not tell (`VmHWM` of Linux).
pub fn peak_memory_mib() -> Outcome<f64> {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        })
        .map(|kib| kib / 1024.0)
        .ok_or_else(|| {
            "this system does not tell a process' peak memory (VmHWM in /proc/self/status)".to_owned()
        })
}

/// Seconds of one measurement of the peak: short beside a case, long beside a timer.
const PEAK_S: f64 = 0.02;

/// Measures the multiply-add peak again and again, because clocks and neighbours swing.
pub struct PeakMeter {
    isa: IsaLevel,
    chains: usize,
}

impl PeakMeter {
    /// Finds the number of chains that is quickest at this level.
    ///
    /// # Panics
    /// Never: there are chains to choose from.
    #[must_use]
    pub fn new(isa: IsaLevel) -> Self {
        let rate = |chains| {
            let rates: Vec<f64> = (0..5).map(|_| Self { isa, chains }.one_core_gflops()).collect();
            median(&rates)
        };
        let chains = CHAINS.into_iter().max_by(|&a, &b| rate(a).total_cmp(&rate(b))).expect("some chains");
        Self { isa, chains }
    }

    /// GFLOP/s of the calling thread (a multiply-add is two operations).
    #[must_use]
    pub fn one_core_gflops(&self) -> f64 {
        const ROUNDS: usize = 20_000;
        let start = Instant::now();
        let mut n_operations = 0.0;
        while start.elapsed().as_secs_f64() < PEAK_S {
            black_box(multiply_adds(self.isa, self.chains, ROUNDS));
            n_operations += (2 * self.chains * LANES * ROUNDS) as f64;
        }
        n_operations / start.elapsed().as_secs_f64() / 1e9
    }

    /// GFLOP/s of all threads of a pool together.
    #[must_use]
    pub fn gflops(&self, pool: &ThreadPool) -> f64 {
        pool.broadcast(|_| self.one_core_gflops()).iter().sum()
    }
}

/// GB/s (10^9 bytes) that all threads of a pool move in `a[i] = b[i] + s · c[i]` over arrays far larger than caches:
/// two reads and one write per value; the read that precedes a write is not counted.
#[must_use]
pub fn bandwidth_gb_s(pool: &ThreadPool) -> f64 {
    const VALUES: usize = 32 << 20;
    const CHUNK: usize = 1 << 16;
    let (b, c) = (vec![1.0f32; VALUES], vec![2.0f32; VALUES]);
    let mut a = vec![0.5f32; VALUES];
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let s = black_box(3.0f32);
            let start = Instant::now();
            pool.install(|| {
                a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).zip(c.par_chunks(CHUNK)).for_each(
                    |((a, b), c)| {
                        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
                            *a = b + s * c;
                        }
                    },
                );
            });
            black_box(&mut a);
            start.elapsed().as_secs_f64()
        })
        .collect();
    (3 * 4 * VALUES) as f64 / median(&times) / 1e9
}

/// Peaks at every level, and the bandwidth.
///
/// # Errors
/// When the system refuses threads.
pub fn run() -> Outcome<Table> {
    let mut table =
        Table::new("machine", "What this machine can do", &["what", "threads", "unit", "median", "q1", "q3"]);
    let mut counts = vec![1, n_cores()];
    counts.dedup();
    for n_threads in counts {
        let pool = pool(n_threads)?;
        let mut row = |what: String, unit: &str, values: &[f64]| {
            let q = Quartiles::of(values);
            let figures = [q.median, q.q1, q.q3].map(|value| format!("{value:.1}"));
            table.push(
                vec![what, n_threads.to_string(), unit.to_owned()].into_iter().chain(figures).collect(),
            );
        };
        for isa in IsaLevel::available() {
            let meter = PeakMeter::new(isa);
            let values: Vec<f64> = (0..25).map(|_| meter.gflops(&pool)).collect();
            row(format!("multiply-add peak, {}", isa.name()), "GFLOP/s", &values);
        }
        let values: Vec<f64> = (0..5).map(|_| bandwidth_gb_s(&pool)).collect();
        row("memory bandwidth, triad".to_owned(), "GB/s", &values);
    }
    Ok(table)
}
