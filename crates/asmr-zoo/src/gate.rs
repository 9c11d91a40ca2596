//! What the regression gate of `cargo xtask gate` measures: instructions of fixed pieces of work, which do not swing
//! as time does, and AVX-512 against AVX2, since no tool at hand counts AVX-512's instructions.

use std::hint::black_box;
use std::time::Instant;

use asmr::inference::{Decoder, Precision, Request};
use asmr_kernels::IsaLevel;
use asmr_kernels::dense::{Packed, Start, matmul};
use asmr_kernels::sincos::sincos_rows;
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::optimiser::Optimiser;

use crate::Outcome;
use crate::cases::Case;
use crate::machine::pool;
use crate::timing::median;

/// The first word of the command line that does a piece of work: its name and how often.
pub const WORK: &str = "work";
/// The first word of the command line that compares AVX-512 with AVX2.
pub const AVX512: &str = "avx512";

/// Small enough for a simulator, of the shape of real decodes: 3 levels, blocks of 8².
fn case() -> Case {
    Case::new("gate", &[256, 256], "4,8,8;4,8,8", 3, 128)
}

/// Does the named work so many times on one thread, at the level that `ASMR_CPU` names, and prints that level.
///
/// # Errors
/// For a work that does not exist.
pub fn work(arguments: &[String]) -> Outcome<()> {
    let [name, times] = arguments else { return Err(format!("{WORK} needs a name and a number")) };
    let times: usize = times.parse().map_err(|_| format!("{times} times"))?;
    let isa = IsaLevel::detect();
    println!("{}", isa.name());
    pool(1)?.install(|| match name.as_str() {
        "decode" => decode(Precision::F32, times),
        "decode-int16" => decode(Precision::Int16, times),
        "step" => step(isa, Algorithm::Adam, times),
        "step-soap" => step(isa, Algorithm::Soap, times),
        "sincos" => {
            let mut angles: Vec<f32> = (0..2 << 16).map(|i| i as f32 * 1e-2 - 300.0).collect();
            for _ in 0..times {
                sincos_rows(isa, 1 << 8, 1 << 8, black_box(&mut angles));
            }
            Ok(())
        }
        _ => Err(format!("no work called {name}")),
    })
}

fn decode(precision: Precision, times: usize) -> Outcome<()> {
    let network = case().network()?;
    let mut values = vec![0u8; case().n_samples() * case().channels];
    for _ in 0..times {
        Decoder::with_precision(&network, precision)
            .decode(&Request::whole(&network.config().partition), &mut values)
            .map_err(|error| error.to_string())?;
        black_box(&mut values);
    }
    Ok(())
}

fn step(isa: IsaLevel, algorithm: Algorithm, times: usize) -> Outcome<()> {
    let (network, signal) = (case().network()?, case().signal()?);
    let shape = network.config().clone();
    let config = FitConfig { algorithm, ..FitConfig::preset(Preset::Paper, &shape) };
    let mut engine = GradientEngine::new(&shape, &signal, isa);
    let mut optimiser = Optimiser::new(&shape, &config, isa);
    let mut params = network.into_params();
    let mut gradient = vec![0.0; params.len()];
    for _ in 0..times {
        engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
        optimiser.step(&config, 1e-6, &gradient, &mut params);
    }
    Ok(())
}

/// Prints how many times quicker AVX-512 multiplies matrices than AVX2 here, the two in turn, by medians; `none` where
/// there is no AVX-512.
///
/// # Errors
/// None yet.
#[cfg(target_arch = "x86_64")]
pub fn avx512() -> Outcome<()> {
    const SIDE: usize = 256;
    const ROUNDS: usize = 31;
    const PER_ROUND: usize = 20;
    if !IsaLevel::available().contains(&IsaLevel::Avx512) {
        println!("none");
        return Ok(());
    }
    let values: Vec<f32> = (0..SIDE * SIDE).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
    let mut out = vec![0.0f32; SIDE * SIDE];
    let mut packed = Packed::default();
    packed.pack(SIDE, SIDE, &values, SIDE, 1, 1.0);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (isa, seconds) in [IsaLevel::Avx2, IsaLevel::Avx512].into_iter().zip(&mut seconds) {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                matmul(isa, SIDE, &values, SIDE, &packed, Start::Zero, black_box(&mut out), SIDE);
            }
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    println!("{:.3}", median(&seconds[0]) / median(&seconds[1]));
    Ok(())
}

/// There is no AVX-512 on this architecture.
///
/// # Errors
/// None.
#[cfg(not(target_arch = "x86_64"))]
pub fn avx512() -> Outcome<()> {
    println!("none");
    Ok(())
}
