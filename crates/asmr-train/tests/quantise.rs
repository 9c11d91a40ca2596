//! Quantised networks lose what was planned, and sensitivities are what the definition says.

use asmr::coding::QuantisedWeights;
use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::reference;
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_train::config::{FitConfig, Preset};
use asmr_train::fit::{Control, fit};
use asmr_train::gradient::{Batch, GradientEngine};
use asmr_train::measure::decoded_psnr_db;
use asmr_train::quantise::{Quantised, curvatures, passes, quantise};
use asmr_train::sampler::Sampler;

fn config(
    bases: &str,
    extents: &[usize],
    channels: usize,
    width: usize,
    modulator: Modulator,
) -> NetworkConfig {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels, width, omega_0: 30.0, modulator }
}

/// Waves and a disc: smooth and sharp parts.
fn picture(extents: &[usize], channels: usize) -> Signal {
    let n: usize = extents.iter().product::<usize>() * channels;
    let values = (0..n)
        .map(|i| {
            let (sample, channel) = (i / channels, i % channels);
            let (y, x) = ((sample / extents[1]) as f32, (sample % extents[1]) as f32);
            let wave = 0.25 * ((0.31 * x).sin() + (0.17 * y + channel as f32).cos());
            let disc = if (y - 20.0).hypot(x - 30.0) < 12.0 { 0.4 } else { 0.0 };
            (0.4 + wave + disc).clamp(0.0, 1.0)
        })
        .collect();
    let info = SignalInfo::plain(extents.to_vec(), channels, SampleType::F32, None);
    Signal::new(info, Samples::F32(values)).unwrap()
}

/// Against (∂y/∂w)² of the definition by central differences in double precision, every weight of every tensor.
#[test]
fn curvatures_are_those_of_the_definition() {
    let mut n_tensors = 0;
    for modulator in [Modulator::Linear, Modulator::Table] {
        let config = NetworkConfig { omega_0: 6.0, ..config("3,3,4;3,3,4", &[35, 36], 2, 6, modulator) };
        let network = Network::init(config.clone(), 3, 0.3).unwrap();
        let signal = picture(&[35, 36], 2);
        let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
        let mut sampler = Sampler::new(&config, 1.0, 0);
        let estimated = curvatures(&mut engine, network.params(), &mut sampler);
        let exact: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
        for (tensor, estimated) in config.tensors().iter().zip(estimated) {
            let mut sum = 0.0;
            for i in tensor.range() {
                let mut moved = exact.clone();
                moved[i] = exact[i] + 1e-5;
                let above = outputs(&config, &moved);
                moved[i] = exact[i] - 1e-5;
                let below = outputs(&config, &moved);
                sum += above.iter().zip(&below).map(|(a, b)| ((a - b) / 2e-5).powi(2)).sum::<f64>();
            }
            let n_values = f64::from(35 * 36 * 2);
            let expected = sum / n_values / tensor.len() as f64;
            // A mean of 16 random probes and a tensor of few weights: right to a factor.
            let ratio = estimated.mean / expected;
            assert!((0.5..2.0).contains(&ratio), "{}: {ratio} times {expected:e}", tensor.name);
            n_tensors += 1;
        }
    }
    assert_eq!(n_tensors, 8 + 10);
}

fn outputs(config: &NetworkConfig, params: &[f64]) -> Vec<f64> {
    reference::positions(config.partition.extents())
        .flat_map(|position| reference::evaluate(config, params, &position))
        .collect()
}

/// The loss in dB is at most what may be lost, and most of it, from a hundredth to one dB; on batches about that.
#[test]
fn quantising_loses_what_it_may() {
    let signal = picture(&[64, 96], 3);
    let mut n_cases = 0;
    for (bases, width, modulator) in [
        ("4,4,4;4,4,6", 48, Modulator::Linear),
        ("2,4,8;3,4,8", 24, Modulator::Linear),
        ("2,2,4,4;2,3,4,4", 32, Modulator::Table),
    ] {
        let config = config(bases, &[64, 96], 3, width, modulator);
        let fit_config = FitConfig { steps: 300, ..FitConfig::preset(Preset::Default, &config) };
        let network = fit(&signal, &config, &fit_config, &Control::default(), &mut |_| {}).unwrap().network;
        let mse = |network: &Network| {
            let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
            let mut gradient = vec![0.0; network.params().len()];
            engine.loss_and_gradient(network.params(), Batch::Full, &mut gradient).mse
        };
        let before = mse(&network);
        let mut last = f64::INFINITY;
        for loss_db in [0.01, 0.1, 1.0] {
            for batch in [1.0, 0.25] {
                let Quantised { network: rounded, steps, loss_db: told } =
                    quantise(&network, &signal, batch, 1, loss_db).unwrap();
                assert_eq!(steps.len(), config.tensors().len());
                let lost = 10.0 * (mse(&rounded) / before).log10();
                // Four quarters are the whole, but for how sums are rounded.
                let most = if batch < 1.0 { 1.01 } else { 1.000_001 };
                assert!(
                    (0.5 * loss_db..most * loss_db).contains(&lost),
                    "{bases} {modulator:?} batch {batch}: lost {lost:.4} dB of {loss_db}"
                );
                assert!((told - lost).abs() < 0.01 * loss_db, "{told} dB is told, {lost} lost");
                n_cases += 1;
                let code = asmr::coding::QuantisedWeights::exact(&config, steps, rounded.params());
                let n_bytes = code.unwrap().encode(&config).len() as f64;
                if batch == 1.0 {
                    assert!(n_bytes < last, "a larger loss takes fewer bytes");
                    last = n_bytes;
                }
            }
        }
        // Well under a third of the floats' bytes for a dB.
        assert!(last < 0.33 * 4.0 * config.n_params() as f64, "{last} bytes");
    }
    assert_eq!(n_cases, 18);
}

/// Networks near to their signals need steps that are tiny beside their largest weights: no weight may be cut off where whole
/// numbers of steps end.
#[test]
fn near_fits_keep_their_quality() {
    let mut n_cases = 0;
    // Signals that are what a network gives, and noise at so many dB under their range.
    for (noise_db, modulator) in [
        (60.0, Modulator::Linear),
        (75.0, Modulator::Linear),
        (90.0, Modulator::Linear),
        (75.0, Modulator::Table),
        (200.0, Modulator::Linear),
    ] {
        let config = config("10,10,16,20", &[32_000], 1, 32, modulator);
        // The published scale: modulators up to 1, and omega_0 acts on them twice.
        let network = Network::init(config.clone(), 5, 1.0).unwrap();
        let params: Vec<f64> = network.params().iter().map(|&w| f64::from(w)).collect();
        let noise = 3f64.sqrt() * 10f64.powf(-noise_db / 20.0);
        let mut random = 1u64;
        let values = outputs(&config, &params)
            .into_iter()
            .map(|y| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (y + noise * ((random >> 11) as f64 / (1u64 << 52) as f64 - 1.0)) as f32
            })
            .collect();
        let info = SignalInfo::plain(vec![32_000], 1, SampleType::F32, None);
        let signal = Signal::new(info, Samples::F32(values)).unwrap();
        let mse = |network: &Network| {
            let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
            let mut gradient = vec![0.0; network.params().len()];
            engine.loss_and_gradient(network.params(), Batch::Full, &mut gradient).mse
        };
        let before = mse(&network);
        assert!(
            noise_db > 100.0 || (-10.0 * before.log10() - noise_db).abs() < 0.5,
            "{before:e} at {noise_db} dB"
        );
        let Quantised { network: rounded, loss_db, .. } = quantise(&network, &signal, 1.0, 1, 0.1).unwrap();
        let after = mse(&rounded);
        let lost = 10.0 * (after / before).log10();
        if noise_db > 100.0 {
            // Not even floats are this good: what is lost is told, and the signal is still as near as single precision is.
            assert!(loss_db > 0.1 && after < 1e-8, "{loss_db} dB, {after:e}");
        } else {
            assert!(
                lost <= 0.1 && loss_db <= 0.1,
                "{modulator:?} {noise_db} dB: lost {lost} dB, told {loss_db}"
            );
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
}

/// A fit of black and white is outside of both in many places, which no decoded value shows: what is lost is lost of decoded values.
#[test]
fn what_is_lost_is_lost_of_decoded_values() {
    let values: Vec<u8> = (0..64 * 96)
        .map(|i| if ((i / 96) as f32 - 20.0).hypot((i % 96) as f32 - 40.0) < 15.0 { 255 } else { 0 })
        .collect();
    let info = SignalInfo::plain(vec![64, 96], 1, SampleType::U8, None);
    let signal = Signal::new(info, Samples::U8(values)).unwrap();
    let config = config("4,4,4;4,4,6", &[64, 96], 1, 24, Modulator::Linear);
    let fit_config = FitConfig { steps: 200, ..FitConfig::preset(Preset::Default, &config) };
    let network = fit(&signal, &config, &fit_config, &Control::default(), &mut |_| {}).unwrap().network;
    let before = decoded_psnr_db(&network, &signal).unwrap();
    let mut n_cases = 0;
    for loss_db in [0.1, 0.5] {
        let rounded = quantise(&network, &signal, 1.0, 1, loss_db).unwrap().network;
        let lost = before - decoded_psnr_db(&rounded, &signal).unwrap();
        // Rounding to whole numbers of 255 moves both a little.
        assert!(
            (0.4 * loss_db..1.1 * loss_db).contains(&lost),
            "lost {lost} dB of {loss_db}, at {before} dB"
        );
        n_cases += 1;
    }
    assert_eq!(n_cases, 2);
}

/// Passes end with the network's own weights, and none of them is farther from what it gives than weights rounded one by one.
#[test]
fn coarse_passes_are_no_worse_than_the_nearest_weights() {
    let signal = picture(&[64, 96], 3);
    let (mut n_cases, mut n_better) = (0, 0);
    for (bases, width, modulator) in
        [("4,4,4;4,4,6", 48, Modulator::Linear), ("2,4,8;3,4,8", 24, Modulator::Linear)]
    {
        let config = config(bases, &[64, 96], 3, width, modulator);
        let fit_config = FitConfig { steps: 300, ..FitConfig::preset(Preset::Default, &config) };
        let network = fit(&signal, &config, &fit_config, &Control::default(), &mut |_| {}).unwrap().network;
        let Quantised { network, steps, .. } = quantise(&network, &signal, 1.0, 1, 0.1).unwrap();
        let weights = QuantisedWeights::exact(&config, steps, network.params()).unwrap();
        // Of floats, what is decoded is what the network gives.
        let whole = Request::whole(&config.partition);
        let mut given = vec![0.0; 64 * 96 * 3];
        Decoder::new(&network).decode(&whole, &mut given).unwrap();
        let given = Signal::new(signal.info().clone(), Samples::F32(given)).unwrap();
        let db = |weights: &QuantisedWeights| {
            let network = Network::new(config.clone(), weights.weights(&config)).unwrap();
            decoded_psnr_db(&network, &given).unwrap()
        };
        for refinements in [&[2][..], &[3], &[1, 2]] {
            let made = passes(&network, &weights, signal.info(), refinements, 1.0, 1).unwrap();
            let nearest = weights.nearest_passes(&config, refinements).unwrap();
            assert_eq!(made.len(), 1 + refinements.len());
            assert_eq!(made.last(), nearest.last());
            let mut last = f64::NEG_INFINITY;
            for (made, nearest) in made.iter().zip(&nearest) {
                assert_eq!(made.steps, nearest.steps);
                let (made, nearest) = (db(made), db(nearest));
                assert!(made > last && made >= nearest, "{bases} {refinements:?}: {made}, {nearest} dB");
                n_better += usize::from(made > nearest);
                last = made;
            }
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 6);
    assert!(n_better > 0, "errors make up for each other in some");
}

/// Of a fit in batches, too, what is lost is lost of the whole signal: a few batches have too few of a shape's surface to tell.
#[test]
fn what_is_lost_is_lost_of_the_whole() {
    let inside = |i: usize| {
        let (z, y, x) = (i / 32 / 32, i / 32 % 32, i % 32);
        let r = [z, y, x].map(|v| (v as f32 - 15.5).powi(2)).iter().sum::<f32>().sqrt();
        r < 9.0 + 2.0 * (x as f32 * 0.9).sin()
    };
    let values: Vec<u8> = (0..32 * 32 * 32).map(|i| u8::from(inside(i)) * 255).collect();
    let info = SignalInfo::plain(vec![32, 32, 32], 1, SampleType::U8, None);
    let signal = Signal::new(info, Samples::U8(values)).unwrap();
    let config = config("8,2,2;8,2,2;8,2,2", &[32, 32, 32], 1, 24, Modulator::Linear);
    let fit_config = FitConfig { steps: 200, ..FitConfig::preset(Preset::Default, &config) };
    let network = fit(&signal, &config, &fit_config, &Control::default(), &mut |_| {}).unwrap().network;
    let before = decoded_psnr_db(&network, &signal).unwrap();
    let mut n_cases = 0;
    for seed in 0..8 {
        let rounded = quantise(&network, &signal, 1.0 / 64.0, seed, 0.1).unwrap();
        let lost = before - decoded_psnr_db(&rounded.network, &signal).unwrap();
        assert!(
            lost <= 0.1 && (lost - rounded.loss_db).abs() < 1e-6,
            "seed {seed}: lost {lost} dB at {before} dB"
        );
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
}
