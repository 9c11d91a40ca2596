//! Does any picture make the default settings diverge? Fits every picture of the test data for several depths and
//! widths, 300 steps each, and prints one TSV row per fit.
//!
//!     ASMR_DATA=... cargo run --release -p asmr-train --example stability -- levels=3,5,7 widths=16,64 steps=300
//!
//! Columns: the mean square error of the last step, the best step and the constant picture at its mean, all as PSNR in
//! dB; steps at which the fit was set back; median milliseconds per step.

use std::collections::BTreeMap;
use std::path::PathBuf;

use asmr::planner::{PlanRequest, plan};
use asmr::signal::{Signal, Source};
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, FitEvent, fit};

fn list(text: &str) -> Result<Vec<usize>, std::num::ParseIntError> {
    text.split(',').map(str::parse).collect()
}

/// PSNR in dB of the best constant picture.
fn constant_db(signal: &Signal) -> f64 {
    let (n, channels) = (signal.samples().len(), signal.info().channels);
    let mut values = vec![0.0; n];
    signal.read_scaled(0, &mut values);
    let mut square = 0.0;
    for channel in 0..channels {
        let values = || values.iter().skip(channel).step_by(channels).map(|&v| f64::from(v));
        let mean = values().sum::<f64>() * channels as f64 / n as f64;
        square += values().map(|v| (v - mean).powi(2)).sum::<f64>();
    }
    -10.0 * (square / n as f64).log10()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings: BTreeMap<String, String> = std::env::args()
        .skip(1)
        .filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect();
    let mut take = |name: &str, default: &str| settings.remove(name).unwrap_or_else(|| default.to_owned());
    let levels = list(&take("levels", "3,4,5,6,7"))?;
    let widths = list(&take("widths", "16,64,256,512"))?;
    let steps: u32 = take("steps", "300").parse()?;
    let only = take("only", "");
    let folder =
        PathBuf::from(std::env::var("ASMR_DATA").map_err(|_| "set ASMR_DATA to the folder of test signals")?);
    let mut pictures = Vec::new();
    for part in ["kodak", "image"] {
        for entry in std::fs::read_dir(folder.join(part))? {
            pictures.push(entry?.path());
        }
    }
    pictures.retain(|p| p.to_string_lossy().contains(&only));
    pictures.sort();
    println!("picture\tbases\tlevels\twidth\tsteps\tlast_db\tbest_db\tconstant_db\trecoveries\tstep_ms");
    for &width in &widths {
        for path in &pictures {
            let signal = asmr_media::read_image(path, &asmr_media::Limits::default())?;
            let constant = constant_db(&signal);
            for &n_levels in &levels {
                let mut request = PlanRequest::new(&signal.info().extents, signal.info().channels);
                (request.width, request.levels) = (Some(width), Some(n_levels));
                let network = plan(&request)?.into_config(&request);
                let config = FitConfig { steps, ..FitConfig::preset(Preset::Default, &network) };
                let (mut last, mut best, mut recoveries) = (f64::MIN, f64::MIN, Vec::new());
                let fitted =
                    fit(&signal, &network, &config, &Control::default(), &mut |event| match event {
                        FitEvent::Step { psnr_db, .. } => {
                            last = psnr_db;
                            best = best.max(psnr_db);
                        }
                        FitEvent::Recovered { step, .. } => recoveries.push(step.to_string()),
                    })?;
                println!(
                    "{}\t{}\t{n_levels}\t{width}\t{}\t{last:.2}\t{best:.2}\t{constant:.2}\t{}\t{:.1}",
                    path.file_stem().unwrap_or_default().to_string_lossy(),
                    network.partition.bases_text(),
                    fitted.steps,
                    if recoveries.is_empty() { "none".to_owned() } else { recoveries.join(",") },
                    fitted.step_ms,
                );
            }
        }
    }
    Ok(())
}
