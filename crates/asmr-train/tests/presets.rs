//! What presets plan, by size and shape of the signal. Work is counted in multiply-adds: nothing here depends on a clock.

use asmr::network::NetworkConfig;
use asmr::planner::{PlanRequest, plan};
use asmr_train::config::{FULL_BATCH_SAMPLES, FitConfig, LARGE_FIT_MAC, Preset};
use asmr_train::sampler::Epoch;
use asmr_train::work::step_mac;

fn network(extents: &[usize], channels: usize, width: Option<usize>) -> NetworkConfig {
    let request = PlanRequest { width, ..PlanRequest::new(extents, channels) };
    plan(&request).unwrap().into_config(&request)
}

#[test]
fn signals_up_to_two_million_samples_keep_the_full_batch() {
    let mut n_cases = 0;
    for extents in [vec![512, 768], vec![1411, 1411], vec![485_000], vec![128, 128, 128], vec![2048, 1024]] {
        let network = network(&extents, 1, None);
        for (preset, steps) in [(Preset::Fast, 100), (Preset::Default, 300), (Preset::Best, 2000)] {
            let config = FitConfig::preset(preset, &network);
            assert_eq!((config.batch, config.steps), (1.0, steps), "{extents:?}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 15);
}

/// A step of a small signal is cheap: it gets as many as cost about a photograph's fit, up to a bound.
#[test]
fn small_signals_get_more_steps_for_the_same_work() {
    let mut n_cases = 0;
    for extents in [vec![1], vec![16, 16], vec![128, 128], vec![256, 256], vec![32_000], vec![32, 32, 32]] {
        let network = network(&extents, 1, None);
        for (preset, least, most) in
            [(Preset::Fast, 100, 700), (Preset::Default, 300, 2000), (Preset::Best, 2000, 6000)]
        {
            let config = FitConfig::preset(preset, &network);
            config.validate().unwrap();
            let work = f64::from(config.steps) * step_mac(&network, config.algorithm, config.batch);
            assert!((least..=most).contains(&config.steps), "{extents:?} {preset:?}: {}", config.steps);
            // A photograph's 300 steps are 0.35e12 multiply-adds.
            let allowed = 0.35e12 * f64::from(least) / 300.0;
            assert!(config.steps == least || work <= allowed, "{extents:?} {preset:?}: {work:e}");
            assert!(config.steps == most || work >= 0.99 * allowed, "{extents:?} {preset:?}: {work:e}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 18);
}

/// Narrow networks of pictures see a few tens of thousands of samples at a time, in fits whose work is bounded; wide ones of the same
/// picture keep the full batch.
#[test]
fn narrow_pictures_are_fitted_in_small_batches() {
    let mut n_cases = 0;
    for extents in [vec![512, 768], vec![768, 512], vec![1411, 1411]] {
        for width in [8, 38, 100] {
            let network = network(&extents, 3, Some(width));
            let (mut works, mut steps) = (Vec::new(), Vec::new());
            for preset in [Preset::Fast, Preset::Default, Preset::Best] {
                let config = FitConfig::preset(preset, &network);
                config.validate().unwrap();
                let epoch = Epoch::new(&network, config.batch);
                let batch = network.partition.n_samples() as f64 / f64::from(epoch.n_batches);
                assert!((5e4..2e5).contains(&batch), "{extents:?} width {width}: batches of {batch}");
                assert!(config.warmup_steps < config.steps / 2);
                works.push(f64::from(config.steps) * step_mac(&network, config.algorithm, config.batch));
                steps.push(config.steps);
                n_cases += 1;
            }
            assert!(works[1] <= 0.36e12 && works[0] < 0.25 * works[1], "{works:?}");
            // Seven times the default's work, but no more steps than pay.
            assert!(steps[2] <= 10_000 && (works[2] > 6.9 * works[1] || steps[2] == 10_000), "{steps:?}");
        }
        let wide = network(&extents, 3, Some(256));
        assert_eq!(FitConfig::preset(Preset::Default, &wide).batch, 1.0);
    }
    assert_eq!(n_cases, 27);
}

#[test]
fn larger_signals_are_fitted_in_batches_within_the_planned_work() {
    let mut n_cases = 0;
    for (extents, channels, width) in [
        (vec![2048, 1025], 3, None),
        (vec![4344, 4408], 1, None),
        (vec![5400, 10_800], 3, None),
        (vec![5400, 10_800], 3, Some(768)),
        (vec![16_384, 16_384], 3, Some(512)),
        (vec![132, 720, 1280], 3, None),
        (vec![256, 256, 256], 1, None),
        (vec![20_000_000], 2, None),
        (vec![1 << 20, 1 << 20], 1, Some(64)),
    ] {
        let network = network(&extents, channels, width);
        let n_samples = network.partition.n_samples();
        assert!(n_samples > FULL_BATCH_SAMPLES);
        let mut works = Vec::new();
        for (preset, length) in [(Preset::Fast, 0.25), (Preset::Default, 1.0), (Preset::Best, 4.0)] {
            let config = FitConfig::preset(preset, &network);
            config.validate().unwrap();
            let epoch = Epoch::new(&network, config.batch);
            assert!(epoch.n_batches > 1, "{extents:?}");
            let batch = n_samples as f64 / f64::from(epoch.n_batches);
            assert!(batch > 2e5, "{extents:?}: batches of {batch}");
            let work = f64::from(config.steps) * step_mac(&network, config.algorithm, config.batch);
            assert!(work <= length * LARGE_FIT_MAC * 1.01, "{extents:?} {preset:?}: {work:e} multiply-adds");
            assert!(config.warmup_steps < config.steps / 2);
            // The published protocol: 500 epochs of batches of 2^18 samples for large pictures, else 10,000 full batches.
            let paper = FitConfig::preset(Preset::Paper, &network);
            let steps = if extents.len() == 2 && n_samples >= 1 << 24 {
                500 * Epoch::new(&network, 262_144.0 / n_samples as f64).n_batches
            } else {
                assert_eq!(paper.batch, 1.0);
                10_000
            };
            assert_eq!((paper.steps, paper.rate), (steps, 1e-4), "{extents:?}");
            works.push(work);
            n_cases += 1;
        }
        assert!(
            (works[1] / works[0] - 4.0).abs() < 0.1 && (works[2] / works[1] - 4.0).abs() < 0.1,
            "{works:?}"
        );
    }
    assert_eq!(n_cases, 27);
}

#[test]
fn a_given_batch_changes_the_rate_with_its_root() {
    let network = network(&[5400, 10_800], 3, None);
    let config = FitConfig::preset(Preset::Default, &network);
    let mut other = config.clone();
    let n_batches = f64::from(Epoch::new(&network, config.batch).n_batches);
    other.set_batch(4.0 / n_batches, &network);
    let other_n = f64::from(Epoch::new(&network, other.batch).n_batches);
    assert!((other.rate / config.rate / (n_batches / other_n).sqrt() - 1.0).abs() < 1e-9);
}
