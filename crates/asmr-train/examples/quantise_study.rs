//! What quantised weights cost and take: `quantise_study FILE.asmr PICTURE`.

use asmr::coding::QuantisedWeights;
use asmr::file::{AsmrFile, Limits};
use asmr_kernels::IsaLevel;
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::quantise::{Quantised, curvatures, quantise};
use asmr_train::sampler::Sampler;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (file, picture) = (arguments.next().ok_or("FILE")?, arguments.next().ok_or("PICTURE")?);
    let file = AsmrFile::read_from_bytes(&std::fs::read(file)?, &Limits::default())?;
    let signal = asmr_media::read_image(picture.as_ref(), &asmr_media::Limits::default())?;
    let config = file.network.config().clone();
    let params = file.network.params();
    let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
    let mut gradient = vec![0.0; params.len()];
    let loss = engine.loss_and_gradient(params, Batch::Full, &mut gradient);
    println!("{} weights, {:.3} dB", params.len(), -10.0 * loss.mse.log10());
    let h = curvatures(&mut engine, params, &mut Sampler::new(&config, 1.0, 0));
    for (tensor, h) in config.tensors().iter().zip(&h) {
        let w = &params[tensor.range()];
        let rms = (w.iter().map(|&w| f64::from(w).powi(2)).sum::<f64>() / w.len() as f64).sqrt();
        println!("{:40} {:?} rms {rms:.4} sqrt h {:.4}", tensor.name, tensor.shape, h.mean.sqrt());
    }
    for db in [0.01f64, 0.03, 0.1, 0.3, 1.0, 3.0] {
        let Quantised { network: rounded, steps, .. } = quantise(&file.network, &signal, 1.0, 0, db)?;
        let bytes = QuantisedWeights::exact(&config, steps, rounded.params())
            .ok_or("not exact")?
            .encode(&config)
            .len();
        let after = engine.loss_and_gradient(rounded.params(), Batch::Full, &mut gradient);
        println!(
            "planned {db} dB: lost {:.3} dB, {bytes} bytes, {:.3} bits per weight, {:.4} bpp",
            10.0 * (after.mse / loss.mse).log10(),
            8.0 * bytes as f64 / params.len() as f64,
            8.0 * bytes as f64 / config.partition.n_samples() as f64
        );
    }
    Ok(())
}
