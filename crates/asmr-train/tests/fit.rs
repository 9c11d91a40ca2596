//! The fitting loop: determinism, endings, recovery, odd signals.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::planner::{PlanRequest, plan};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo, Source};
use asmr_train::config::{Algorithm, FitConfig, LARGE_FIT_MAC, Preset};
use asmr_train::fit::{Control, Ending, Fit, FitError, FitEvent, Fitted, fit};
use asmr_train::work::step_mac;

/// A smooth 8-bit picture with some texture.
fn picture(height: usize, width: usize, channels: usize) -> Signal {
    let info = SignalInfo::plain(vec![height, width], channels, SampleType::U8, None);
    let mut values = Vec::new();
    for y in 0..height {
        for x in 0..width {
            for ch in 0..channels {
                let wave = (y as f64 * 0.21 + ch as f64).sin() * (x as f64 * 0.13).cos();
                values.push((127.5 + 90.0 * wave + ((x * 7 + y * 3) % 11) as f64) as u8);
            }
        }
    }
    Signal::new(info, Samples::U8(values)).unwrap()
}

fn network(signal: &Signal, bases: &str, width: usize) -> NetworkConfig {
    let info = signal.info();
    let partition = Partition::new(&info.extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels: info.channels, width, omega_0: 30.0, modulator: Modulator::Linear }
}

fn config(network: &NetworkConfig, steps: u32) -> FitConfig {
    FitConfig { steps, ..FitConfig::preset(Preset::Default, network) }
}

fn run(signal: &Signal, network: &NetworkConfig, config: &FitConfig, control: &Control<'_>) -> Fitted {
    fit(signal, network, config, control, &mut |_| {}).unwrap()
}

/// PSNR of the decoded signal, from its definition.
fn psnr_db(signal: &Signal, network: &Network) -> f64 {
    let Samples::U8(original) = signal.samples() else { panic!("8 bit") };
    let mut decoded = vec![0u8; original.len()];
    Decoder::new(network).decode(&Request::whole(&network.config().partition), &mut decoded).unwrap();
    let sum: f64 = original.iter().zip(&decoded).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    -10.0 * (sum / original.len() as f64 / 255.0 / 255.0).log10()
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let signal = picture(60, 70, 3);
    let network = network(&signal, "3,4,5;2,5,7", 24);
    for batch in [1.0, 0.25] {
        let config = FitConfig { batch, seed: 5, ..config(&network, 40) };
        let results: Vec<Vec<f32>> = [1, 2, 3]
            .iter()
            .map(|&n| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
                pool.install(|| run(&signal, &network, &config, &Control::default())).network.into_params()
            })
            .collect();
        assert_eq!(results[0], results[1], "batch {batch}");
        assert_eq!(results[0], results[2], "batch {batch}");
        let other = FitConfig { seed: 6, ..config };
        assert_ne!(results[0], run(&signal, &network, &other, &Control::default()).network.into_params());
    }
}

#[test]
fn every_kind_of_network_learns() {
    let signal = picture(64, 64, 1);
    let constant_db = {
        // The constant picture at the mean: MSE is the variance.
        let Samples::U8(v) = signal.samples() else { panic!("8 bit") };
        let mean = v.iter().map(|&x| f64::from(x)).sum::<f64>() / v.len() as f64;
        let variance = v.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / v.len() as f64;
        -10.0 * (variance / 255.0 / 255.0).log10()
    };
    let mut n_cases = 0;
    for modulator in [Modulator::Linear, Modulator::Nonlinear, Modulator::Table] {
        for batch in [1.0, 0.5] {
            for bases in ["4,4,4;4,4,4", "2,2,2,8;2,2,2,8"] {
                let network = NetworkConfig { modulator, ..network(&signal, bases, 32) };
                let mut config = config(&network, 300);
                config.set_batch(batch, &network);
                let fitted = run(&signal, &network, &config, &Control::default());
                let db = psnr_db(&signal, &fitted.network);
                assert!(
                    db > constant_db + 5.0,
                    "{modulator:?} {bases} batch {batch}: {db:.1} dB, constant {constant_db:.1}"
                );
                assert_eq!((fitted.ending, fitted.steps), (Ending::Finished, 300));
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 12);
}

#[test]
fn a_target_ends_the_fit_once_the_decoded_picture_has_it() {
    let signal = picture(64, 64, 3);
    let network = network(&signal, "4,4,4;4,4,4", 48);
    let config = config(&network, 2000);
    let control = Control { target_psnr_db: Some(30.0), ..Control::default() };
    let fitted = run(&signal, &network, &config, &control);
    assert_eq!(fitted.ending, Ending::TargetReached);
    assert!(fitted.steps < 2000);
    let db = psnr_db(&signal, &fitted.network);
    assert!((30.0..36.0).contains(&db), "{db}");
}

#[test]
fn time_and_stop_end_the_fit() {
    let signal = picture(64, 64, 1);
    let network = network(&signal, "4,4,4;4,4,4", 16);
    let config = config(&network, 1_000_000_000);
    let start = Instant::now();
    let control = Control { time_limit: Some(Duration::from_millis(300)), ..Control::default() };
    let fitted = run(&signal, &network, &config, &control);
    assert_eq!(fitted.ending, Ending::TimeUp);
    assert!(fitted.steps > 0 && start.elapsed() < Duration::from_secs(20));
    let stop = AtomicBool::new(false);
    let mut seen = 0;
    let control = Control { stop: Some(&stop), ..Control::default() };
    let fitted = fit(&signal, &network, &config, &control, &mut |event| {
        if let FitEvent::Step { step, .. } = event {
            seen = step;
            if step == 30 {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        }
    })
    .unwrap();
    assert_eq!((fitted.ending, fitted.steps, seen), (Ending::Stopped, 30, 30));
}

#[test]
fn a_diverging_fit_is_set_back_and_says_so() {
    let signal = picture(64, 64, 3);
    let network = network(&signal, "2,2,2,8;2,2,2,8", 64);
    // Far past stability: without recovery this ends in noise. By Adam, since SOAP's rate gives way before that.
    for (batch, steps, rate) in [(1.0, 400, 0.03), (1.0 / 16.0, 1600, 0.3)] {
        let config = FitConfig {
            batch,
            algorithm: Algorithm::Adam,
            rate,
            warmup_steps: 300,
            ..config(&network, steps)
        };
        let recovered = recoveries_of(&signal, &network, &config);
        assert!(recovered.windows(2).all(|w| w[1] < w[0]), "each time at a lower rate: {recovered:?}");
        assert!(!recovered.is_empty(), "Adam at a rate of {rate} diverges in batches of {batch}");
    }
}

/// A picture whose values are no numbers any more once it is told so: no rate is low enough for that.
struct Spoilt {
    signal: Signal,
    is_spoilt: AtomicBool,
}

impl Source for Spoilt {
    fn info(&self) -> &SignalInfo {
        self.signal.info()
    }

    fn read_scaled(&self, start: u64, out: &mut [f32]) {
        self.signal.read_scaled(start, out);
        if self.is_spoilt.load(Ordering::Relaxed) {
            out.fill(f32::NAN);
        }
    }
}

#[test]
fn a_fit_that_diverges_again_and_again_keeps_its_best() {
    const GOOD: u32 = 60;
    let signal = picture(32, 32, 3);
    let source = Spoilt { signal, is_spoilt: AtomicBool::new(false) };
    let network = network(&source.signal, "2,2,8;2,2,8", 32);
    let mut fit = Fit::new(&source, &network, &config(&network, 1000)).unwrap();
    let (mut best_db, mut factors) = (f64::MIN, Vec::new());
    let ending = fit.run(&Control::default(), &mut |event| match event {
        FitEvent::Step { step, psnr_db, .. } => {
            best_db = best_db.max(psnr_db);
            source.is_spoilt.store(step >= GOOD, Ordering::Relaxed);
        }
        FitEvent::Recovered { rate_factor, .. } => factors.push(rate_factor),
    });
    assert_eq!(ending, Ok(Ending::Diverged));
    assert_eq!(factors, [1, 2, 3, 4, 5, 6, 7, 8].map(|n| 0.5f64.powi(n)));
    assert_eq!(fit.run(&Control::default(), &mut |_| {}), ending, "there is nothing to go on with");
    source.is_spoilt.store(false, Ordering::Relaxed);
    let fitted = fit.finish(Ending::Diverged).unwrap();
    assert_eq!((fitted.steps, fitted.recoveries), (GOOD + 8, 8));
    let db = psnr_db(&source.signal, &fitted.network);
    assert!(best_db > 20.0 && db > best_db - 0.1, "{db} is not the best, {best_db}");

    // Where there never was anything good there is nothing to keep.
    source.is_spoilt.store(true, Ordering::Relaxed);
    let mut fit = Fit::new(&source, &network, &config(&network, 1000)).unwrap();
    assert_eq!(fit.run(&Control::default(), &mut |_| {}), Err(FitError::Diverged(9)));
}

/// Factors on the rate after each set-back of a fit, which ends well.
fn recoveries_of(signal: &Signal, network: &NetworkConfig, config: &FitConfig) -> Vec<f64> {
    let mut recovered = Vec::new();
    let fitted = fit(signal, network, config, &Control::default(), &mut |event| {
        if let FitEvent::Recovered { rate_factor, reason, .. } = event {
            assert!(!reason.is_empty());
            recovered.push(rate_factor);
        }
    })
    .unwrap();
    assert_eq!(fitted.recoveries as usize, recovered.len());
    assert!(fitted.network.params().iter().all(|w| w.is_finite()));
    let db = psnr_db(signal, &fitted.network);
    assert!(db > 12.0, "{db}");
    recovered
}

/// Batches of one cell each, of which most are easy: what one of them has is no measure of what the whole had and lost.
#[test]
fn easy_batches_are_no_reference() {
    const SIDE: usize = 128;
    let info = SignalInfo::plain(vec![SIDE, SIDE], 1, SampleType::U8, None);
    // Every sixteenth cell of 8 × 8 samples has a check that no network of this size follows, the others are flat.
    let value = |i: usize| {
        let (y, x) = (i / SIDE, i % SIDE);
        if (y / 8 * 5 + x / 8 * 3).is_multiple_of(16) { 255 * ((x + y) % 2) as u8 } else { 120 }
    };
    let signal = Signal::new(info, Samples::U8((0..SIDE * SIDE).map(value).collect())).unwrap();
    let network = network(&signal, "4,4,8;4,4,8", 16);
    let mut n_fits = 0;
    for seed in 0..4 {
        let mut config = FitConfig { seed, ..config(&network, 1500) };
        config.set_batch(1.0 / 256.0, &network);
        let fitted = run(&signal, &network, &config, &Control::default());
        assert_eq!(fitted.recoveries, 0, "seed {seed}");
        n_fits += 1;
    }
    assert_eq!(n_fits, 4);
}

#[test]
fn odd_signals_fit() {
    let mut n_cases = 0;
    for (extents, bases, value) in [
        (vec![1, 1], "1,1;1,1", 200u8),
        (vec![3, 5], "3,1;1,5", 0),
        (vec![1, 300], "1,1,1;3,10,10", 255),
        (vec![37, 1], "4,10;1,1", 128),
        (vec![40], "2,4,5", 7),
        (vec![3, 4, 5, 2], "3,1;2,2;1,5;2,1", 99),
    ] {
        let n: usize = extents.iter().product();
        let info = SignalInfo::plain(extents, 1, SampleType::U8, None);
        let signal = Signal::new(info, Samples::U8(vec![value; n])).unwrap();
        let network = network(&signal, bases, 16);
        let fitted = run(&signal, &network, &config(&network, 60), &Control::default());
        // A constant signal, and the output bias starts at the mean.
        let mut out = vec![0u8; n];
        Decoder::new(&fitted.network).decode(&Request::whole(&network.partition), &mut out).unwrap();
        assert!(out.iter().all(|&v| v.abs_diff(value) <= 8), "{value}: {out:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 6);
}

#[test]
fn wrong_settings_and_shapes_are_refused() {
    let signal = picture(16, 16, 1);
    let right = network(&signal, "4,4;4,4", 8);
    let good = config(&right, 5);
    let bad = [
        FitConfig { steps: 0, ..good.clone() },
        FitConfig { rate: 0.0, ..good.clone() },
        FitConfig { rate: f64::NAN, ..good.clone() },
        FitConfig { batch: 0.0, ..good.clone() },
        FitConfig { batch: 1.5, ..good.clone() },
        FitConfig { beta2: 1.0, ..good.clone() },
        FitConfig { final_rate: -0.1, ..good.clone() },
        FitConfig { modulation_scale: f64::INFINITY, ..good.clone() },
    ];
    for config in &bad {
        let result = fit(&signal, &right, config, &Control::default(), &mut |_| {});
        assert!(matches!(result, Err(FitError::Config(_))), "{config:?}");
    }
    let other = network(&picture(16, 20, 1), "4,4;4,5", 8);
    let result = fit(&signal, &other, &good, &Control::default(), &mut |_| {});
    assert!(matches!(result, Err(FitError::Shape { .. })));
}

/// What a large signal's fit may execute is planned by count; chunks share it; small signals stay as they are.
#[test]
fn large_signals_are_planned_by_work() {
    let plan_of = |extents: &[usize], channels| {
        let request = PlanRequest::new(extents, channels);
        plan(&request).unwrap().into_config(&request)
    };
    let work_of = |config: &FitConfig, network: &NetworkConfig| {
        f64::from(config.steps) * step_mac(network, config.algorithm, config.batch)
    };
    let map = plan_of(&[5400, 10_800], 3);
    let mut n_cases = 0;
    for (preset, length) in [(Preset::Fast, 0.25), (Preset::Default, 1.0), (Preset::Best, 4.0)] {
        let config = FitConfig::preset(preset, &map);
        config.validate().unwrap();
        let work = work_of(&config, &map) / (length * LARGE_FIT_MAC);
        assert!(config.batch < 1.0 && work <= 1.0 && work > 0.98, "{preset:?}: {work}");
        n_cases += 1;
    }
    let film = plan_of(&[16, 720, 1280], 3);
    let config = FitConfig::preset_of_chunk(Preset::Default, &film, 9);
    assert!(config.batch < 1.0 && 9.0 * work_of(&config, &film) <= LARGE_FIT_MAC);
    // 300 full batches of a photograph are far from it; the paper's protocol has its own numbers.
    let photo = FitConfig::preset(Preset::Default, &plan_of(&[512, 768], 3));
    assert_eq!((photo.batch, photo.steps), (1.0, 300));
    let paper = FitConfig::preset(Preset::Paper, &plan_of(&[8192, 8192], 3));
    assert_eq!((paper.steps, paper.batch), (500 * 256, 1.0 / 256.0));
    assert_eq!(FitConfig::preset(Preset::Paper, &film).clip, 0.1);
    assert_eq!(n_cases, 3);
}
