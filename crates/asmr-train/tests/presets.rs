//! What presets plan, by size and shape of the signal. Work is counted in multiply-adds: nothing here depends on a clock.

use asmr::network::NetworkConfig;
use asmr::planner::{PlanRequest, plan};
use asmr_train::config::{FitConfig, LARGE_FIT_MAC, MEDIUM_SAMPLES, Preset, UNTIL_TIME_IS_UP};
use asmr_train::sampler::Epoch;
use asmr_train::work::step_mac;

fn network(extents: &[usize], channels: usize, width: Option<usize>) -> NetworkConfig {
    let request = PlanRequest { width, ..PlanRequest::new(extents, channels) };
    plan(&request).unwrap().into_config(&request)
}

#[test]
fn signals_up_to_half_a_million_samples_keep_the_full_batch() {
    let mut n_cases = 0;
    for extents in [vec![512, 768], vec![724, 724], vec![485_000], vec![80, 80, 80], vec![1024, 512]] {
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
        assert!(n_samples > MEDIUM_SAMPLES);
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

/// Between half a million and two million samples, short fits and those of volumes and shapes are in batches; three quarters of the
/// passes that full batches would have.
#[test]
fn medium_signals_are_fitted_in_batches_where_those_gain() {
    let mut n_cases = 0;
    for (extents, channels) in [
        (vec![1024, 513], 3),
        (vec![1411, 1411], 3),
        (vec![1_000_000], 1),
        (vec![128, 128, 128], 1),
        (vec![30, 144, 176], 3),
    ] {
        let network = network(&extents, channels, Some(256));
        let n_axes = extents.len();
        for (preset, passes) in [(Preset::Fast, 75), (Preset::Default, 225), (Preset::Best, 1500)] {
            let config = FitConfig::preset(preset, &network);
            config.validate().unwrap();
            n_cases += 1;
            if n_axes == 1 || (n_axes == 2 || channels > 1) && preset != Preset::Fast {
                assert_eq!((config.batch, config.steps), (1.0, passes * 4 / 3), "{extents:?}");
                continue;
            }
            let n_batches = Epoch::new(&network, config.batch).n_batches;
            assert!(
                (2..=8).contains(&n_batches) && config.steps.abs_diff(passes * n_batches) <= 1,
                "{config:?}"
            );
            assert!(config.warmup_steps < config.steps / 2);
            // The root of the batch's share of a picture, of its samples in 3e6 else; and of 200 over the steps.
            let samples = network.partition.n_samples() as f64;
            let whole = if n_axes < 3 { 1.0 } else { samples / 3e6 };
            let share = whole * (200.0 / f64::from(config.steps)).min(1.0) / f64::from(n_batches);
            let steady = 4e-3 * (4.0 / network.partition.n_levels() as f64).min(1.0).powf(1.7);
            assert!((config.rate / (steady * share.sqrt()) - 1.0).abs() < 1e-9, "{config:?}");
        }
    }
    assert_eq!(n_cases, 15);
}

/// Who gives a time gets steps while it lasts, of parts of a medium signal: the time may be short.
#[test]
fn fits_until_time_is_up_are_those_of_the_preset_or_in_batches() {
    let (mut n_cases, mut n_follow) = (0, 0);
    for (extents, width, is_medium) in [
        (vec![512, 768], 256, false),
        (vec![1411, 1411], 38, true),
        (vec![1411, 1411], 256, true),
        (vec![128, 128, 128], 256, true),
        (vec![256, 256, 256], 256, false),
    ] {
        let network = network(&extents, 1, Some(width));
        for preset in Preset::ALL {
            let config = FitConfig::preset_until_time(preset, &network, 1);
            let like = if is_medium && preset != Preset::Paper { Preset::Fast } else { preset };
            let like = FitConfig { preset, ..FitConfig::preset(like, &network) };
            // As long a fit has the same rate, whether its length was known before or not; but for narrow pictures.
            let mut known = config.clone();
            known.set_length(&network, like.steps);
            assert!((known.rate / like.rate - 1.0).abs() < 1e-12, "{known:?}");
            assert_eq!(FitConfig { rate: like.rate, ..known }, like, "{extents:?}");
            assert_eq!(config.steps, UNTIL_TIME_IS_UP);
            assert_eq!(
                FitConfig { rate: like.rate, steps: like.steps, ..config.clone() },
                like,
                "{extents:?}"
            );
            // And where the rate follows the length at all, a fit of four times as many steps has half of it.
            let factor = |steps| config.length_factor(&network, steps);
            let follows = like.batch < 1.0 && preset != Preset::Paper && width != 38;
            let expected = if follows { [1.0, 0.5, 0.25] } else { [1.0; 3] };
            assert_eq!([200.0, 800.0, 3200.0].map(factor), expected, "{extents:?}");
            assert!((like.length_factor(&network, 800.0) - 1.0).abs() < 1e-12, "its rate has that already");
            n_follow += usize::from(follows);
            n_cases += 1;
        }
    }
    assert_eq!((n_cases, n_follow), (20, 9));
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
