//! Quality in dB that a fit reaches in 1, 3, 10 and 30 seconds. Each time is a fit of its own whose rate's decay is
//! planned for it, as a user who has so much time would ask for.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::Partition;
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal};
use asmr_media::{Limits, psnr_db, read_image};
use asmr_train::budget::width_for_time;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, fit};
use serde_json::json;

use crate::Outcome;
use crate::machine::pool;
use crate::peers::{Environment, request};
use crate::siren::{self, SirenConfig, SirenFit};
use crate::table::Table;

/// Seconds of the fits.
const LIMITS_S: [u64; 4] = [1, 3, 10, 30];
/// The SIREN: as many weights as the planner's network for these pictures (267,000).
const SIREN_LAYERS: usize = 6;
const WIDTH: usize = 256;
/// Chosen with the example `siren_rates` on kodim05 at 10 s: 1e-4 is slower, 1e-3 unsteady; batches of 512 are as good
/// there where the machine is slow, 8,192 worse.
const SIREN_RATE: f64 = 3e-4;
const SIREN_BATCH: usize = 2048;
/// Ten times the paper's, which is meant for 10,000 steps.
const PEER_RATE: f64 = 1e-3;

const COLUMNS: [&str; 11] = [
    "picture",
    "method",
    "weights",
    "db_1s",
    "db_3s",
    "db_10s",
    "db_30s",
    "steps_1s",
    "steps_3s",
    "steps_10s",
    "steps_30s",
];

/// Fits pictures of the folder `kodak` of the test signals; the first two only if `quick`.
///
/// # Errors
/// When there are no pictures, one cannot be read, or a fit fails.
pub fn run(quick: bool, n_threads: usize, environment: Option<&Environment>) -> Outcome<Table> {
    let data =
        std::env::var("ASMR_DATA").map_err(|_| "set ASMR_DATA to the folder of test signals".to_owned())?;
    let mut pictures = pictures(&Path::new(&data).join("kodak"))?;
    if quick {
        pictures.truncate(2);
    }
    let mut table = Table::new("fit-time", "PSNR in dB after so many seconds of fitting", &COLUMNS);
    table.note(format!(
        "asmr: `asmr encode --time`, which takes a narrower network for a short time (weights are those of a long one); siren: {SIREN_LAYERS} linear layers of width {WIDTH} on the same kernels, \
         Adam at {SIREN_RATE:e}, batches of {SIREN_BATCH} samples; torch-asmr: PyTorch, bases 4,4,4,8 and 4,4,6,8, width \
         {WIDTH}, full batch, Adam at {PEER_RATE:e}, the paper's initialisation; all with cosine decay to a tenth by \
         time, {n_threads} threads, one seed"
    ));
    let mut peers = environment.map(|e| e.start(n_threads)).transpose()?;
    if let Some(peers) = &mut peers {
        table.note(format!("peers: {}", peers.describe()?));
    }
    let pool = pool(n_threads)?;
    for path in pictures {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let signal = read_image(&path, &Limits::default()).map_err(|e| format!("{}: {e}", path.display()))?;
        if signal.info().sample_type != SampleType::U8 {
            return Err(format!("{} has not 8 bits", path.display()));
        }
        let mut row = |method: &str, weights: usize, fits: &[(f64, u32)]| {
            let mut row = vec![name.clone(), method.to_owned(), weights.to_string()];
            row.extend(fits.iter().map(|(db, _)| format!("{db:.2}")));
            row.extend(fits.iter().map(|(_, steps)| steps.to_string()));
            table.push(row);
        };
        let network = planned(&signal)?;
        row("asmr", network.n_params(), &each_limit(|s| pool.install(|| ours(&signal, &network, s)))?);
        let shape = SirenConfig {
            axes: 2,
            channels: signal.info().channels,
            width: WIDTH,
            layers: SIREN_LAYERS,
            omega_0: 30.0,
        };
        row("siren", shape.n_params(), &each_limit(|s| pool.install(|| siren_fit(&signal, shape, s)))?);
        if let Some(peers) = &mut peers {
            let network = paper(&signal)?;
            let values = Values::write(&signal)?;
            let mut one = |seconds: u64| {
                let mut request = request("fit", "asmr-eager", &network);
                request["values"] = json!(values.0);
                request["limit_s"] = json!(seconds);
                request["rate"] = json!(PEER_RATE);
                let answer = peers.ask(&request)?;
                match (answer["psnr_db"].as_f64(), answer["steps"].as_u64()) {
                    (Some(db), Some(steps)) => Ok((db, steps as u32)),
                    _ => Err(format!("the peers' process answered {answer}")),
                }
            };
            row("torch-asmr", network.n_params(), &each_limit(&mut one)?);
        }
    }
    Ok(table)
}

fn pictures(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    if paths.is_empty() { Err(format!("{} has no pictures", folder.display())) } else { Ok(paths) }
}

fn each_limit(mut fit: impl FnMut(u64) -> Outcome<(f64, u32)>) -> Outcome<Vec<(f64, u32)>> {
    LIMITS_S.into_iter().map(&mut fit).collect()
}

/// The network that `asmr encode` would choose, its width for a long fit.
fn planned(signal: &Signal) -> Outcome<NetworkConfig> {
    let request = PlanRequest::new(&signal.info().extents, signal.info().channels);
    plan(&request).map(|plan| plan.into_config(&request)).map_err(|error| error.to_string())
}

/// The paper's network for a Kodak picture, upright or not.
fn paper(signal: &Signal) -> Outcome<NetworkConfig> {
    let extents = &signal.info().extents;
    let bases: Vec<Vec<usize>> =
        extents.iter().map(|&e| if e == 768 { vec![4, 4, 6, 8] } else { vec![4, 4, 4, 8] }).collect();
    let partition = Partition::new(extents, &bases).map_err(|error| error.to_string())?;
    Ok(NetworkConfig {
        partition,
        channels: signal.info().channels,
        width: WIDTH,
        omega_0: 30.0,
        modulator: Modulator::Linear,
    })
}

fn ours(signal: &Signal, planned: &NetworkConfig, seconds: u64) -> Outcome<(f64, u32)> {
    let start = Instant::now();
    let limit = Duration::from_secs(seconds);
    let width = width_for_time(planned, limit).map_err(|error| error.to_string())?;
    let network = NetworkConfig { width, ..planned.clone() };
    let config = FitConfig::preset_until_time(Preset::Default, &network, 1);
    let control = Control { time_limit: Some(limit.saturating_sub(start.elapsed())), ..Control::default() };
    let fitted = fit(signal, &network, &config, &control, &mut |_| {}).map_err(|error| error.to_string())?;
    Ok((decoded_db(&fitted.network, signal)?, fitted.steps))
}

fn decoded_db(network: &Network, signal: &Signal) -> Outcome<f64> {
    let mut values = vec![0u8; signal.samples().len()];
    Decoder::new(network)
        .decode(&Request::whole(&network.config().partition), &mut values)
        .map_err(|error| error.to_string())?;
    compared(Samples::U8(values), signal)
}

fn siren_fit(signal: &Signal, shape: SirenConfig, seconds: u64) -> Outcome<(f64, u32)> {
    let limit = Duration::from_secs(seconds);
    let how = SirenFit { rate: SIREN_RATE, batch: SIREN_BATCH, seed: 0, limit };
    let (params, steps) = siren::fit(shape, signal, how);
    Ok((compared(siren::decode(shape, &params, &signal.info().extents), signal)?, steps))
}

fn compared(samples: Samples, signal: &Signal) -> Outcome<f64> {
    let decoded = Signal::new(signal.info().clone(), samples).map_err(|error| error.to_string())?;
    let db = psnr_db(&decoded, signal).map_err(|error| error.to_string())?;
    Ok(db.unwrap_or(f64::INFINITY))
}

/// A picture's values as a file for the peers' process; removed with this value.
struct Values(PathBuf);

impl Values {
    fn write(signal: &Signal) -> Outcome<Self> {
        let Samples::U8(values) = signal.samples() else {
            return Err("the picture has not 8 bits".to_owned());
        };
        let path = std::env::temp_dir().join(format!("asmr-bench-{}.u8", std::process::id()));
        std::fs::write(&path, values).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Values {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
