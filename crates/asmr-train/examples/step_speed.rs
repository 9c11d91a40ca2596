//! Times one optimiser update by part.

use std::time::Instant;

use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::optimiser::Optimiser;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (extents, bases, channels, width) in [
        (vec![512, 512], "4,4,4,8;4,4,4,8", 1, 256),
        (vec![512, 512], "4,2,2,2,2,8;4,2,2,2,2,8", 1, 256),
        (vec![512, 768], "4,4,4,8;4,4,6,8", 3, 256),
        (vec![512, 768], "4,2,2,2,2,8;4,2,2,2,3,8", 3, 256),
        (vec![512, 768], "4,2,2,2,2,8;4,2,2,2,3,8", 3, 64),
    ] {
        let partition = Partition::new(&extents, &parse_bases(bases)?)?;
        let network =
            NetworkConfig { partition, channels, width, omega_0: 30.0, modulator: Modulator::Linear };
        let n: usize = extents.iter().product::<usize>() * channels;
        let info = SignalInfo::plain(extents.clone(), channels, SampleType::U8, None);
        let signal = Signal::new(info, Samples::U8((0..n).map(|i| (i * 7919 % 251) as u8).collect()))?;
        let isa = IsaLevel::detect();
        let mut params = Network::init(network.clone(), 1, 1.0)?.into_params();
        let mut engine = GradientEngine::new(&network, &signal, isa);
        let config = FitConfig::preset(Preset::Default, &network);
        let mut optimiser = Optimiser::new(&network, &config, isa);
        let mut gradient = vec![0.0; params.len()];
        let (mut gradient_ms, mut update_ms) = (Vec::new(), Vec::new());
        for _ in 0..21 {
            let start = Instant::now();
            engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
            gradient_ms.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            optimiser.step(&config, 1e-6, &gradient, &mut params);
            update_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        gradient_ms.sort_by(f64::total_cmp);
        let mean_update = update_ms.iter().sum::<f64>() / 21.0;
        println!(
            "{extents:?} {bases} C={channels} d={width}: gradient {:.1} ms, update {mean_update:.1} ms (median {:.1})",
            gradient_ms[10],
            {
                update_ms.sort_by(f64::total_cmp);
                update_ms[10]
            }
        );
    }
    Ok(())
}
