//! Which rate and batch suit the SIREN baseline: one TSV row per fit of a picture.
//!
//!     cargo run --release -p asmr-zoo --example siren_rates -- picture.png 10

use std::time::Duration;

use asmr::signal::Signal;
use asmr_media::{Limits, psnr_db, read_image};
use asmr_zoo::siren::{SirenConfig, SirenFit, decode, fit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, seconds] = &arguments[..] else { return Err("usage: siren_rates PICTURE SECONDS".into()) };
    let signal = read_image(path.as_ref(), &Limits::default())?;
    let info = signal.info();
    let shape = SirenConfig {
        axes: info.extents.len(),
        channels: info.channels,
        width: 256,
        layers: 6,
        omega_0: 30.0,
    };
    println!("rate\tbatch\tsteps\tpsnr_db");
    for rate in [1e-4, 3e-4, 1e-3] {
        for batch in [512, 2048, 8192] {
            let limit = Duration::from_secs(seconds.parse()?);
            let (params, steps) = fit(shape, &signal, SirenFit { rate, batch, seed: 0, limit });
            let decoded = Signal::new(info.clone(), decode(shape, &params, &info.extents))?;
            let db = psnr_db(&decoded, &signal)?.unwrap_or(f64::INFINITY);
            println!("{rate:e}\t{batch}\t{steps}\t{db:.2}");
        }
    }
    Ok(())
}
