//! The optimiser study: fits one picture with the given settings and prints one TSV row.
//!
//!     cargo run --release -p asmr-train --example study -- picture.png bases=4,4,4,8 rate=2e-3 seeds=3
//!
//! Every field of `FitConfig` can be set by its name; `bases` for one axis serves all axes.

use std::collections::BTreeMap;

use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::planner::{PlanRequest, plan};
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::fit::{Control, FitEvent, fit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: study PICTURE [setting=value ...]")?;
    let mut settings: BTreeMap<String, String> =
        arguments.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let given = format!("{settings:?}");
    let mut take = |name: &str| settings.remove(name);
    let signal = asmr_media::read_image(path.as_ref(), &asmr_media::Limits::default())?;
    let info = signal.info().clone();
    let mut request = PlanRequest::new(&info.extents, info.channels);
    request.width = take("width").map(|w| w.parse()).transpose()?;
    request.levels = take("levels").map(|w| w.parse()).transpose()?;
    let planned = plan(&request)?;
    let partition = match take("bases") {
        Some(text) => {
            let mut bases = parse_bases(&text)?;
            if bases.len() == 1 {
                bases = vec![bases[0].clone(); info.extents.len()];
            }
            Partition::new(&info.extents, &bases)?
        }
        None => planned.partition,
    };
    let modulator = match take("modulator").as_deref() {
        Some("table") => Modulator::Table,
        Some("nonlinear") => Modulator::Nonlinear,
        _ => Modulator::Linear,
    };
    let network = NetworkConfig {
        partition,
        channels: info.channels,
        width: request.width.unwrap_or(planned.width),
        omega_0: 30.0,
        modulator,
    };
    let preset = match take("preset").as_deref() {
        Some("fast") => Preset::Fast,
        Some("best") => Preset::Best,
        Some("paper") => Preset::Paper,
        _ => Preset::Default,
    };
    let mut config = FitConfig::preset(preset, &network);
    let n_seeds: u64 = take("seeds").map_or(Ok(1), |s| s.parse())?;
    if let Some(name) = take("algorithm") {
        config.algorithm = if name == "adam" { Algorithm::Adam } else { Algorithm::Soap };
    }
    if let Some(steps) = take("steps") {
        config.steps = steps.parse()?;
    }
    if let Some(steps) = take("warmup_steps") {
        config.warmup_steps = steps.parse()?;
    }
    if let Some(flag) = take("mean_start") {
        config.mean_start = flag.parse()?;
    }
    for (name, field) in [
        ("rate", &mut config.rate),
        ("final_rate", &mut config.final_rate),
        ("modulator_rate", &mut config.modulator_rate),
        ("beta1", &mut config.beta1),
        ("beta2", &mut config.beta2),
        ("batch", &mut config.batch),
        ("modulation_scale", &mut config.modulation_scale),
    ] {
        if let Some(value) = take(name) {
            *field = value.parse()?;
        }
    }
    if !settings.is_empty() {
        return Err(format!("unknown settings: {settings:?}").into());
    }
    for seed in 0..n_seeds {
        config.seed = seed;
        let mut recovered = Vec::new();
        let (mut best, mut last) = (f64::MIN, f64::MIN);
        let fitted = fit(&signal, &network, &config, &Control::default(), &mut |event| match event {
            FitEvent::Step { psnr_db, .. } => {
                best = best.max(psnr_db);
                last = psnr_db;
            }
            FitEvent::Recovered { step, .. } => recovered.push(format!(" recovered@{step}")),
        })?;
        let name = std::path::Path::new(&path).file_stem().map(|s| s.to_string_lossy().into_owned());
        println!(
            "{}\t{}\td{}\t{}\tseed {seed}\tlast {last:.3} dB\tbest {best:.3} dB\t{:.1} ms/step\t{:.1} s{recovered}\t{given}",
            name.unwrap_or_default(),
            network.partition.bases_text(),
            network.width,
            fitted.steps,
            fitted.step_ms,
            fitted.elapsed_s,
            recovered = recovered.concat(),
        );
    }
    Ok(())
}
