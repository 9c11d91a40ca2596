//! Decode time against samples, depth, threads and width.

use asmr::cost::Cost;
use asmr_kernels::IsaLevel;

use crate::Outcome;
use crate::cases::{Case, square};
use crate::machine::{PeakMeter, n_cores, pool};
use crate::speed::decode_once;
use crate::table::Table;
use crate::timing::{Effort, Quartiles, interleave};

const COLUMNS: [&str; 20] = [
    "case",
    "signal",
    "samples",
    "levels",
    "bases",
    "width",
    "threads",
    "mac_paper",
    "mac_exec",
    "mac_siren",
    "sin_exec",
    "median_ms",
    "q1_ms",
    "q3_ms",
    "msamples_s",
    "gflops",
    "peak_gflops",
    "peak_q1_gflops",
    "peak_q3_gflops",
    "peak_share",
];

/// Decode time against the number of samples, 2^12 to 2^26: width 256, 4 levels.
///
/// # Errors
/// When a network is refused or there are no threads.
pub fn samples(effort: Effort, n_threads: usize) -> Outcome<Table> {
    let cases: Vec<_> = (6..=13)
        .map(|bits| Case { name: format!("2^{} samples", 2 * bits), ..square(bits, 4, 256) })
        .map(|case| (case, n_threads))
        .collect();
    run("scaling-samples", "Decode time against samples", &cases, effort)
}

/// Against depth, 2 to 10 levels of width 256 on 4096²: large enough that ten levels still end in blocks of 8².
///
/// # Errors
/// As [`samples`].
pub fn depth(effort: Effort, n_threads: usize) -> Outcome<Table> {
    let cases: Vec<_> = (2..=10).map(|levels| (square(12, levels, 256), n_threads)).collect();
    run("scaling-depth", "Decode time against depth", &cases, effort)
}

/// Against threads, on a small and a large picture.
///
/// # Errors
/// As [`samples`].
pub fn threads(effort: Effort) -> Outcome<Table> {
    let mut counts: Vec<usize> =
        std::iter::successors(Some(1), |n| Some(2 * n)).take_while(|&n| n < n_cores()).collect();
    counts.push(n_cores());
    let mut cases = Vec::new();
    for case in [
        Case::new("kodak", &[512, 768], "4,4,4,8;4,4,6,8", 3, 256),
        Case::new("grey-4096", &[4096, 4096], "8,8,8,8;8,8,8,8", 1, 256),
    ] {
        cases.extend(counts.iter().map(|&n| (case.clone(), n)));
    }
    run("scaling-threads", "Decode time against threads", &cases, effort)
}

/// Against width, 16 to 1024, on 512² with 4,4,4,8.
///
/// # Errors
/// As [`samples`].
pub fn width(effort: Effort, n_threads: usize) -> Outcome<Table> {
    let cases: Vec<_> = (4..=10)
        .map(|bits| 1usize << bits)
        .map(|width| (Case { name: format!("width {width}"), ..square(9, 4, width) }, n_threads))
        .collect();
    run("scaling-width", "Decode time against width", &cases, effort)
}

fn run(name: &str, about: &str, cases: &[(Case, usize)], effort: Effort) -> Outcome<Table> {
    let mut table = Table::new(name, about, &COLUMNS);
    let meter = PeakMeter::new(IsaLevel::detect());
    for (case, n_threads) in cases {
        let pool = pool(*n_threads)?;
        let network = case.network()?;
        let mut out = vec![0.0f32; case.n_samples() * case.channels];
        let measured =
            pool.install(|| interleave(effort, &meter, &pool, || decode_once(&network, &mut out), &mut []))?;
        let cost = Cost::of(network.config());
        let ours = Quartiles::of(&measured.ours_s);
        let n_samples = case.n_samples() as f64;
        let gflops = 2.0 * cost.mac_exec * n_samples / ours.median / 1e9;
        let peak = Quartiles::of(&measured.peaks_gflops);
        table.push(vec![
            case.name.clone(),
            case.shown(),
            case.n_samples().to_string(),
            network.config().partition.n_levels().to_string(),
            case.bases.clone(),
            case.width.to_string(),
            n_threads.to_string(),
            format!("{:.1}", cost.mac_paper),
            format!("{:.1}", cost.mac_exec),
            format!("{:.0}", cost.mac_siren),
            format!("{:.2}", cost.sin_exec),
            format!("{:.3}", ours.median * 1e3),
            format!("{:.3}", ours.q1 * 1e3),
            format!("{:.3}", ours.q3 * 1e3),
            format!("{:.3}", n_samples / ours.median / 1e6),
            format!("{gflops:.2}"),
            format!("{:.2}", peak.median),
            format!("{:.2}", peak.q1),
            format!("{:.2}", peak.q3),
            format!("{:.3}", gflops / peak.median),
        ]);
    }
    Ok(table)
}
