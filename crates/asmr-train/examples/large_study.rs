//! The study of large signals: fits a crop of a picture, or raw video, with the given settings and prints one TSV row.
//!
//!     cargo run --release -p asmr-train --example large_study -- SIGNAL crop=Y,X,HEIGHT,WIDTH tmac=2 samples=262144 rate=1e-3
//!     cargo run --release -p asmr-train --example large_study -- header
//!
//! `SIGNAL` is a picture, or `FILE.rgb` with `raw=FRAMES,HEIGHT,WIDTH` (what `ffmpeg -f rawvideo -pix_fmt rgb24` writes). A batch has
//! about `samples` samples (0: full); the fit has as many steps as `tmac` teramacs of work allow, or `steps`. The network is of a `width`
//! and of `bases` or `levels`, with an `omega_0`; `bytes=7000,8000` are sizes that its weights are rounded to, which `coded` tells the
//! PSNR of. Every other setting is a field of `FitConfig`.

use std::collections::BTreeMap;

use asmr::cost::Cost;
use asmr::inference::{Decoder, Request};
use asmr::network::NetworkConfig;
use asmr::partition::{Partition, parse_bases};
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::fit::{Control, FitEvent, fit};
use asmr_train::quantise::quantise_to_size;
use asmr_train::sampler::Epoch;
use asmr_train::work::step_mac;

const COLUMNS: &str = "signal\tbases\twidth\talgorithm\tbatch_samples\tn_batches\tsteps\tepochs\trate\tfinal_rate\twarmup_steps\tmodulator_rate\tmodulation_scale\tseed\ttmac\tseconds\tstep_ms\tpsnr_db\tset_backs\tmac_exec\tn_params\tcoded\tomega_0";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: large_study SIGNAL [setting=value ...]")?;
    if path == "header" {
        println!("{COLUMNS}");
        return Ok(());
    }
    let mut settings: BTreeMap<String, String> =
        arguments.filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let mut take = |name: &str| settings.remove(name);
    let (mut signal, mut name) = match take("raw") {
        Some(extents) => {
            let extents = numbers(&extents)?;
            let info = SignalInfo::plain(extents, 3, SampleType::U8, None);
            (Signal::new(info, Samples::U8(std::fs::read(&path)?))?, String::new())
        }
        None => (asmr_media::read_image(path.as_ref(), &asmr_media::Limits::default())?, String::new()),
    };
    if let Some(crop) = take("crop") {
        name = format!("@{crop}");
        signal = cropped(&signal, &numbers(&crop)?)?;
    }
    let info = signal.info().clone();
    let mut request = PlanRequest::new(&info.extents, info.channels);
    request.width = take("width").map(|w| w.parse()).transpose()?;
    request.levels = take("levels").map(|w| w.parse()).transpose()?;
    let mut network = plan(&request)?.into_config(&request);
    if let Some(text) = take("bases") {
        network.partition = Partition::new(&info.extents, &parse_bases(&text)?)?;
    }
    if let Some(omega_0) = take("omega_0") {
        network.omega_0 = omega_0.parse()?;
    }
    let mut config = match take("preset").as_deref() {
        Some("fast") => FitConfig::preset(Preset::Fast, &network),
        Some("best") => FitConfig::preset(Preset::Best, &network),
        _ => FitConfig::preset(Preset::Default, &network),
    };
    if let Some(algorithm) = take("algorithm") {
        config.algorithm = if algorithm == "adam" { Algorithm::Adam } else { Algorithm::Soap };
    }
    if let Some(samples) = take("samples") {
        let samples: f64 = samples.parse()?;
        config.batch =
            if samples == 0.0 { 1.0 } else { (samples / network.partition.n_samples() as f64).min(1.0) };
    }
    if let Some(tmac) = take("tmac") {
        let work: f64 = tmac.parse()?;
        config.steps = (work * 1e12 / step_mac(&network, config.algorithm, config.batch)) as u32;
    }
    for (name, field) in [("steps", &mut config.steps), ("warmup_steps", &mut config.warmup_steps)] {
        if let Some(value) = take(name) {
            *field = value.parse()?;
        }
    }
    for (name, field) in [
        ("rate", &mut config.rate),
        ("final_rate", &mut config.final_rate),
        ("modulator_rate", &mut config.modulator_rate),
        ("modulation_scale", &mut config.modulation_scale),
        ("beta1", &mut config.beta1),
        ("beta2", &mut config.beta2),
    ] {
        if let Some(value) = take(name) {
            *field = value.parse()?;
        }
    }
    if let Some(share) = take("warmup") {
        config.warmup_steps = (share.parse::<f64>()? * f64::from(config.steps)) as u32;
    }
    if let Some(seed) = take("seed") {
        config.seed = seed.parse()?;
    }
    let sizes = take("bytes").map(|list| numbers(&list)).transpose()?.unwrap_or_default();
    if !settings.is_empty() {
        return Err(format!("unknown settings: {settings:?}").into());
    }
    let log = std::env::var_os("LOG").is_some();
    let fitted = fit(&signal, &network, &config, &Control::default(), &mut |event| match event {
        FitEvent::Step { step, psnr_db, .. } if log && step % (config.steps / 20).max(1) == 0 => {
            eprintln!("{step} {psnr_db:.2}");
        }
        FitEvent::Recovered { step, reason, .. } if log => eprintln!("{step} set back: {reason}"),
        _ => {}
    })?;
    let epoch = Epoch::new(&network, config.batch);
    let mut coded = Vec::new();
    for n_bytes in sizes {
        let rounded =
            quantise_to_size(&fitted.network, &signal, config.batch, config.seed, n_bytes as u64, &[])?;
        let db = rounded.map(|rounded| psnr_db(&signal, &network, &rounded.network)).transpose()?;
        coded.push(format!("{n_bytes}:{:.3}", db.unwrap_or(f64::NAN)));
    }
    let stem = std::path::Path::new(&path).file_stem().map(|s| s.to_string_lossy().into_owned());
    println!(
        "{}{name}\t{}\t{}\t{:?}\t{:.0}\t{}\t{}\t{:.2}\t{}\t{}\t{}\t{}\t{}\t{}\t{:.3}\t{:.1}\t{:.1}\t{:.3}\t{}\t{:.1}\t{}\t{}\t{}",
        stem.unwrap_or_default(),
        network.partition.bases_text(),
        network.width,
        config.algorithm,
        network.partition.n_samples() as f64 / f64::from(epoch.n_batches),
        epoch.n_batches,
        fitted.steps,
        f64::from(fitted.steps) / f64::from(epoch.n_batches),
        config.rate,
        config.final_rate,
        config.warmup_steps,
        config.modulator_rate,
        config.modulation_scale,
        config.seed,
        f64::from(fitted.steps) * step_mac(&network, config.algorithm, config.batch) / 1e12,
        fitted.elapsed_s,
        fitted.step_ms,
        psnr_db(&signal, &network, &fitted.network)?,
        fitted.recoveries,
        Cost::of(&network).mac_exec,
        network.n_params(),
        coded.join(" "),
        network.omega_0,
    );
    Ok(())
}

fn numbers(text: &str) -> Result<Vec<usize>, std::num::ParseIntError> {
    text.split(',').map(str::parse).collect()
}

/// Some rows and columns of an 8-bit picture.
fn cropped(signal: &Signal, crop: &[usize]) -> Result<Signal, Box<dyn std::error::Error>> {
    let (&[y, x, height, width], Samples::U8(values)) = (crop, signal.samples()) else {
        return Err("a crop is Y,X,HEIGHT,WIDTH of an 8-bit picture".into());
    };
    let (row, channels) = (signal.info().extents[1], signal.info().channels);
    let rows = (y..y + height).flat_map(|y| &values[(y * row + x) * channels..][..width * channels]);
    let info = SignalInfo::plain(vec![height, width], channels, SampleType::U8, None);
    Ok(Signal::new(info, Samples::U8(rows.copied().collect()))?)
}

/// PSNR of the decoded 8-bit signal.
fn psnr_db(
    signal: &Signal,
    config: &NetworkConfig,
    network: &asmr::network::Network,
) -> Result<f64, Box<dyn std::error::Error>> {
    let Samples::U8(original) = signal.samples() else { return Err("8 bit".into()) };
    let mut decoded = vec![0u8; original.len()];
    Decoder::new(network).decode(&Request::whole(&config.partition), &mut decoded)?;
    let squares = original.iter().zip(&decoded).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    Ok(-10.0 * (squares.sum::<f64>() / original.len() as f64 / 255.0 / 255.0).log10())
}
