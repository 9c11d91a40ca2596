//! Fits baselines to a signal for so many seconds each; one TSV row per method.
//!
//!     cargo run --release -p asmr-zoo --example baselines -- picture.png 10 siren,ngp [rate [batch]]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use asmr::signal::{Samples, Signal};
use asmr_kernels::IsaLevel;
use asmr_media::{Limits, psnr_db, read_image};
use asmr_zoo::baseline::{Config, Method, store};
use asmr_zoo::field::Shape;
use asmr_zoo::fit::{FitOptions, Stop};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, seconds, names, rest @ ..] = &arguments[..] else {
        return Err("usage: baselines PICTURE SECONDS METHOD,METHOD,… [RATE [BATCH]]".into());
    };
    let signal = read_image(path.as_ref(), &Limits::default())?;
    let shape = Shape::of(signal.info());
    let limit = Duration::from_secs_f64(seconds.parse()?);
    println!(
        "method\tn_params\tmac_paper\tmac_exec\tsin_exec\ttable_reads\trate\tbatch\tsteps\tfit_s\tpsnr_db\tdecode_msamples_s\tbytes"
    );
    for name in names.split(',') {
        let method = Method::usual(name, &shape).ok_or_else(|| format!("no method {name}"))?;
        let config = Config { shape: shape.clone(), method };
        let field = config.build()?;
        let mut recipe = field.recipe();
        if let [rate, ..] = rest {
            recipe.rate = rate.parse()?;
        }
        if let [_, batch] = rest {
            recipe.batch = Some(batch.parse()?);
        }
        let options = FitOptions::new(recipe, Stop::Time(limit));
        let fitted = field.fit(&signal, &options, &mut |_| ControlFlow::Continue(()))?;
        let start = Instant::now();
        let values = field.decode(&fitted.params, 0..shape.n_samples(), IsaLevel::detect())?;
        let decode_s = start.elapsed().as_secs_f64();
        let decoded = Samples::from_network(&values, signal.info().sample_type, signal.info().scale());
        let db = psnr_db(&Signal::new(signal.info().clone(), decoded)?, &signal)?.unwrap_or(f64::INFINITY);
        let (cost, bytes) = (field.cost(), store(&config, &fitted.params)?.len());
        println!(
            "{name}\t{}\t{:.1}\t{:.1}\t{:.2}\t{}\t{:e}\t{}\t{}\t{:.2}\t{db:.2}\t{:.3}\t{bytes}",
            cost.n_params,
            cost.mac_paper,
            cost.mac_exec,
            cost.sin_exec,
            cost.table_reads,
            recipe.rate,
            recipe.batch.unwrap_or(shape.n_samples()).min(shape.n_samples()),
            fitted.steps,
            fitted.elapsed_s,
            shape.n_samples() as f64 / decode_s / 1e6,
        );
    }
    Ok(())
}
