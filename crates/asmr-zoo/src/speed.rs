//! Decodes and fitting steps beside the peers, and the memory they need.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use asmr::cost::Cost;
use asmr::inference::{Decoder, Request, Value};
use asmr::network::Network;
use asmr_kernels::IsaLevel;
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::optimiser::Optimiser;

use crate::Outcome;
use crate::cases::Case;
use crate::machine::{PeakMeter, peak_memory_mib, pool};
use crate::peers::{Environment, Peers, request};
use crate::table::{NONE, Table};
use crate::timing::{Effort, Measured, Quartiles, Repetition, interleave};

/// What is done with a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A whole decode from weights to f32 values.
    Decode,
    /// A whole decode to 8-bit values, as a picture is written.
    DecodeBytes,
    /// A full-batch step: gradient and update.
    Step(Algorithm),
}

/// One row of the tables.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its network.
    pub case: Case,
    /// What is done with it.
    pub work: Work,
    /// The peers beside it.
    pub peers: &'static [&'static str],
}

const ALL: &[&str] = &["asmr-eager", "asmr-compile", "siren-eager", "siren-compile"];
const ASMR: &[&str] = &["asmr-eager", "asmr-compile"];

fn grey() -> Case {
    Case::new("grey-512", &[512, 512], "4,4,4,8;4,4,4,8", 1, 256)
}

fn kodak() -> Case {
    Case::new("kodak", &[512, 768], "4,4,4,8;4,4,6,8", 3, 256)
}

/// All rows of the table of decodes.
#[must_use]
pub fn decodes() -> Vec<Job> {
    let large = Case::new("rgb-8192", &[8192, 8192], "4,4,4,4,4,8;4,4,4,4,4,8", 3, 512);
    let audio = Case::new("audio", &[32_000], "10,10,16,20", 1, 128);
    let mut jobs = vec![
        Job { case: grey(), work: Work::Decode, peers: ALL },
        Job { case: kodak(), work: Work::Decode, peers: ALL },
        // The published plan would need more than 100 GB here.
        Job { case: large, work: Work::DecodeBytes, peers: &[] },
        Job { case: audio, work: Work::Decode, peers: ALL },
    ];
    for width in [16, 32, 64] {
        let case = Case { name: format!("grey-512-w{width}"), width, ..grey() };
        jobs.push(Job { case, work: Work::Decode, peers: ASMR });
    }
    jobs
}

/// All rows of the table of steps.
#[must_use]
pub fn steps() -> Vec<Job> {
    let with = |case: Case, algorithm| Job { case, work: Work::Step(algorithm), peers: ASMR };
    vec![
        with(grey(), Algorithm::Adam),
        with(grey(), Algorithm::Soap),
        with(kodak(), Algorithm::Adam),
        with(kodak(), Algorithm::Soap),
    ]
}

/// All rows of the table of kinds: grids of one to three axes with as many samples, and levels with as many digit tuples.
#[must_use]
pub fn kinds() -> Vec<Job> {
    const VOLUME: &str = "2,4,2,4;2,2,4,4;4,2,2,4";
    let cases = [
        Case::new("kind-picture", &[512, 512], "4,4,4,8;4,4,4,8", 1, 256),
        Case::new("kind-sound", &[262_144], "16,16,16,64", 1, 256),
        Case::new("kind-volume", &[64, 64, 64], VOLUME, 1, 256),
        Case::new("kind-picture-rgb", &[512, 512], "4,4,4,8;4,4,4,8", 3, 256),
        Case::new("kind-film-rgb", &[64, 64, 64], VOLUME, 3, 256),
    ];
    cases.into_iter().map(|case| Job { case, work: Work::Step(Algorithm::Soap), peers: &[] }).collect()
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// How long.
    pub effort: Effort,
    /// Threads of ours and of the peers.
    pub n_threads: usize,
    /// The peers, unless they are left out.
    pub environment: Option<&'a Environment>,
}

const COLUMNS: [&str; 34] = [
    "case",
    "signal",
    "bases",
    "width",
    "output",
    "optimiser",
    "threads",
    "mac_exec",
    "sin_exec",
    "repetitions",
    "median_ms",
    "q1_ms",
    "q3_ms",
    "msamples_s",
    "gflops",
    "peak_gflops",
    "peak_q1_gflops",
    "peak_q3_gflops",
    "peak_share",
    "memory_mib",
    "beyond_output_mib",
    "rounds",
    "asmr_eager_ms",
    "asmr_eager_ratio",
    "asmr_compile_ms",
    "asmr_compile_ratio",
    "siren_eager_ms",
    "siren_eager_ratio",
    "siren_compile_ms",
    "siren_compile_ratio",
    "asmr_eager_memory_mib",
    "asmr_eager_q1_ms",
    "asmr_eager_q3_ms",
    "asmr_eager_memory_ratio",
];

/// Times jobs; `keep` says which, by name.
///
/// # Errors
/// When a network is refused, a peer fails or memory cannot be read.
pub fn run(
    name: &str,
    about: &str,
    jobs: &[Job],
    keep: impl Fn(&Job) -> bool,
    setting: Setting<'_>,
) -> Outcome<Table> {
    let mut table = Table::new(name, about, &COLUMNS);
    let pool = pool(setting.n_threads)?;
    let meter = PeakMeter::new(IsaLevel::detect());
    let mut peers = setting.environment.map(|e| e.start(setting.n_threads)).transpose()?;
    if let Some(peers) = &mut peers {
        let idle = peers.number(&serde_json::json!({"work": "memory"}), "peak_mib")?;
        table.note(format!("peers: {}; {idle:.0} MiB before any work", peers.describe()?));
    }
    for job in jobs.iter().filter(|job| keep(job)) {
        let measured = pool.install(|| time(job, setting.effort, &meter, &pool, peers.as_mut()))?;
        table.push(row(job, &measured, setting, peers.is_some())?);
    }
    Ok(table)
}

/// Times one job.
fn time(
    job: &Job,
    effort: Effort,
    meter: &PeakMeter,
    pool: &rayon::ThreadPool,
    peers: Option<&mut Peers>,
) -> Outcome<Measured> {
    let config = job.case.config()?;
    let work = if matches!(job.work, Work::Step(_)) { "step" } else { "decode" };
    // Peers share one process, so they take turns with it.
    let peers = std::cell::RefCell::new(peers);
    let mut repetitions: Vec<Repetition<'_>> = Vec::new();
    if peers.borrow().is_some() {
        for peer in job.peers {
            let request = request(work, peer, &config);
            let peers = &peers;
            repetitions.push(Box::new(move || match peers.borrow_mut().as_mut() {
                Some(peers) => peers.number(&request, "seconds"),
                None => Ok(0.0),
            }));
        }
    }
    with_work(job, |ours| interleave(effort, meter, pool, ours, &mut repetitions))
}

/// Steps of one repetition: SOAP refreshes its bases every 20 steps, so fewer would not be the same work each time.
const STEPS: u32 = 20;

/// Calls `then` with a function that does the job's work once and gives its seconds (of one step).
fn with_work<T>(job: &Job, then: impl FnOnce(&mut dyn FnMut() -> Outcome<f64>) -> Outcome<T>) -> Outcome<T> {
    match job.work {
        Work::Decode => decoding::<f32, T>(&job.case, then),
        Work::DecodeBytes => decoding::<u8, T>(&job.case, then),
        Work::Step(algorithm) => {
            let (network, signal) = (job.case.network()?, job.case.signal()?);
            let shape = network.config().clone();
            let isa = IsaLevel::detect();
            let config = FitConfig { algorithm, ..FitConfig::preset(Preset::Paper, &shape) };
            let mut engine = GradientEngine::new(&shape, &signal, isa);
            let mut optimiser = Optimiser::new(&shape, &config, isa);
            let mut params = network.into_params();
            let mut gradient = vec![0.0; params.len()];
            then(&mut || {
                let start = Instant::now();
                for _ in 0..STEPS {
                    engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
                    // Far below a rate that fits: weights keep their scale however many steps are made.
                    optimiser.step(&config, 1e-6, &gradient, &mut params);
                }
                Ok(start.elapsed().as_secs_f64() / f64::from(STEPS))
            })
        }
    }
}

fn decoding<V: Value, T>(
    case: &Case,
    then: impl FnOnce(&mut dyn FnMut() -> Outcome<f64>) -> Outcome<T>,
) -> Outcome<T> {
    let network = case.network()?;
    let mut out = vec![V::default(); case.n_samples() * case.channels];
    then(&mut || decode_once(&network, &mut out))
}

/// Seconds from weights to values, preparation included.
///
/// # Errors
/// When `out` has not the signal's length.
pub fn decode_once<V: Value>(network: &Network, out: &mut [V]) -> Outcome<f64> {
    let start = Instant::now();
    let decoder = Decoder::new(network);
    decoder
        .decode(&Request::whole(&network.config().partition), out)
        .map_err(|error| format!("cannot decode: {error}"))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Multiply-adds per sample that the rate is reckoned from: a step counts as three passes forward, the optimiser not.
fn counted_mac(job: &Job, cost: &Cost) -> f64 {
    if matches!(job.work, Work::Step(_)) { 3.0 * cost.mac_exec } else { cost.mac_exec }
}

fn row(job: &Job, measured: &Measured, setting: Setting<'_>, with_peers: bool) -> Outcome<Vec<String>> {
    let case = &job.case;
    let cost = Cost::of(&case.config()?);
    let ours = Quartiles::of(&measured.ours_s);
    let gflops = 2.0 * counted_mac(job, &cost) * case.n_samples() as f64 / ours.median / 1e9;
    let peak = Quartiles::of(&measured.peaks_gflops);
    let (output, value_bytes) = match job.work {
        Work::Decode => ("f32", 4),
        Work::DecodeBytes => ("u8", 1),
        Work::Step(_) => ("", 0),
    };
    let optimiser = match job.work {
        Work::Step(Algorithm::Adam) => "adam",
        Work::Step(Algorithm::Soap) => "soap",
        _ => "",
    };
    let memory = memory_of_child(job, setting.n_threads)?;
    let output_mib = (case.n_samples() * case.channels * value_bytes) as f64 / f64::from(1 << 20);
    let ms = |seconds: f64| format!("{:.3}", seconds * 1e3);
    let mut row = vec![
        case.name.clone(),
        case.shown(),
        case.bases.clone(),
        case.width.to_string(),
        output.to_owned(),
        optimiser.to_owned(),
        setting.n_threads.to_string(),
        format!("{:.1}", cost.mac_exec),
        format!("{:.2}", cost.sin_exec),
        measured.ours_s.len().to_string(),
        ms(ours.median),
        ms(ours.q1),
        ms(ours.q3),
        format!("{:.3}", case.n_samples() as f64 / ours.median / 1e6),
        format!("{gflops:.2}"),
        format!("{:.2}", peak.median),
        format!("{:.2}", peak.q1),
        format!("{:.2}", peak.q3),
        format!("{:.3}", gflops / peak.median),
        format!("{memory:.1}"),
        format!("{:.1}", memory - output_mib),
        (measured.peaks_gflops.len() / 2).to_string(),
    ];
    let of_peer = |peer: &str| {
        let at = job.peers.iter().position(|p| *p == peer)?;
        measured.peers_s.get(at).map(|seconds| Quartiles::of(seconds))
    };
    let or_none = |value: Option<String>| value.unwrap_or_else(|| NONE.to_owned());
    for peer in ALL {
        let theirs = of_peer(peer);
        row.push(or_none(theirs.map(|q| ms(q.median))));
        row.push(or_none(theirs.map(|q| format!("{:.1}", q.median / ours.median))));
    }
    let eager = of_peer(ALL[0]);
    let their_memory = match (eager, setting.environment) {
        (Some(_), Some(environment)) if with_peers => {
            Some(memory_of_peer(job, environment, setting.n_threads)?)
        }
        _ => None,
    };
    row.push(or_none(their_memory.map(|mib| format!("{mib:.1}"))));
    row.push(or_none(eager.map(|q| ms(q.q1))));
    row.push(or_none(eager.map(|q| ms(q.q3))));
    row.push(or_none(their_memory.map(|mib| format!("{:.1}", mib / memory))));
    Ok(row)
}

/// The first word of the command line by which this program measures memory in a child process.
pub const MEMORY: &str = "memory-of";

/// Highest resident memory of a process that does the job once: it is a figure of a whole process, so each job has one.
fn memory_of_child(job: &Job, n_threads: usize) -> Outcome<f64> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let work = format!("{:?}", job.work);
    let output = Command::new(program)
        .args([MEMORY, &job.case.name, &work, &n_threads.to_string()])
        .output()
        .map_err(|error| format!("cannot measure memory: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| {
        format!(
            "cannot measure memory of {}: {text}{}",
            job.case.name,
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// What [`MEMORY`] does: the job named on the command line, then the figure on standard output.
///
/// # Errors
/// When there is no such job or it fails.
pub fn print_memory(arguments: &[String]) -> Outcome<()> {
    let [name, work, n_threads] = arguments else {
        return Err(format!("{MEMORY} needs a case, its work and the threads"));
    };
    let job = decodes()
        .into_iter()
        .chain(steps())
        .chain(kinds())
        .find(|job| job.case.name == *name && format!("{:?}", job.work) == *work)
        .ok_or_else(|| format!("no case called {name} with {work}"))?;
    let n_threads = n_threads.parse().map_err(|_| format!("{n_threads} threads"))?;
    pool(n_threads)?.install(|| with_work(&job, |once| once()))?;
    println!("{:.3}", peak_memory_mib()?);
    Ok(())
}

/// The same of a peers' process that does nothing else. Its two untimed runs are the same work.
fn memory_of_peer(job: &Job, environment: &Environment, n_threads: usize) -> Outcome<f64> {
    let work = if matches!(job.work, Work::Step(_)) { "step" } else { "decode" };
    let mut peers = environment.start(n_threads)?;
    peers.ask(&request(work, ALL[0], &job.case.config()?))?;
    peers.number(&serde_json::json!({"work": "memory"}), "peak_mib")
}

/// The folder of result files of this version.
#[must_use]
pub fn results_folder(root: &Path) -> std::path::PathBuf {
    root.join("results").join(env!("CARGO_PKG_VERSION"))
}
