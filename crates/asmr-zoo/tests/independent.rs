//! Whole fits against the same fits in JAX (`peers/jax_baselines.py`), where equations are written once more and
//! differentiated automatically: same square of camera.png, same settings, seeds of its own.

use std::ops::ControlFlow;
use std::path::Path;

use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_media::{Limits, read_image};
use asmr_zoo::baseline::{Baseline, Config, Method};
use asmr_zoo::ffn::FfnSettings;
use asmr_zoo::field::Shape;
use asmr_zoo::fit::{FitOptions, Recipe, Schedule, Stop};
use asmr_zoo::kilonerf::KiloNerfSettings;
use asmr_zoo::loe::LoeSettings;
use asmr_zoo::ngp::NgpSettings;
use asmr_zoo::plenoxels::PlenoxelsSettings;
use asmr_zoo::siren::SirenSettings;
use asmr_zoo::wire::WireSettings;

const TOP: usize = 120;
const LEFT: usize = 216;
const SIDE: usize = 48;
const STEPS: u32 = 200;
const SEEDS: u64 = 5;
/// Seeds in JAX.
const SEEDS_IN_JAX: u64 = 20;
/// Deviations of the difference of two means, beyond which they are different.
const DEVIATIONS: f64 = 3.0;
/// In dB: where nothing is drawn, what the order of sums in f32 changes in 200 steps.
const LEAST_BOUND: f64 = 0.02;

/// Method, rate, schedule where the method's own is not used, and what JAX reaches: mean and deviation in dB.
fn cases() -> Vec<(Method, f64, Option<Schedule>, [f64; 2])> {
    let cosine = |last| Some(Schedule::Cosine { last });
    vec![
        (
            Method::Siren(SirenSettings { width: 48, ..SirenSettings::default() }),
            5e-4,
            cosine(0.1),
            [33.245, 0.680],
        ),
        (
            Method::Ffn(FfnSettings { n_frequencies: 64, sigma: 5.0, width: 64, layers: 3 }),
            1e-3,
            None,
            [36.059, 1.507],
        ),
        (
            Method::KiloNerf(KiloNerfSettings {
                cells: vec![4, 4],
                n_frequencies: 6,
                ..KiloNerfSettings::default()
            }),
            2e-3,
            None,
            [20.900, 0.750],
        ),
        (
            Method::Loe(LoeSettings {
                tiles: vec![vec![4, 4], vec![4, 4], vec![3, 3]],
                width: 16,
                n_frequencies: 5,
                slope: 0.2,
            }),
            5e-3,
            None,
            [22.009, 2.123],
        ),
        (
            Method::Ngp(NgpSettings {
                n_levels: 6,
                n_features: 2,
                log2_entries: 9,
                coarsest: 4,
                finest: 32,
                width: 16,
                hidden_layers: 2,
            }),
            1e-2,
            None,
            [35.000, 0.844],
        ),
        (
            Method::Wire(WireSettings { width: 48, layers: 3, omega_0: 10.0, scale: 10.0 }),
            5e-3,
            None,
            [27.938, 0.931],
        ),
        (
            Method::Plenoxels(PlenoxelsSettings { tv: 1e-4, ..PlenoxelsSettings::dense(&[20, 20]) }),
            1e-2,
            None,
            [25.977, 0.0],
        ),
    ]
}

/// The square, or none without the folder of test signals.
fn square() -> Option<Signal> {
    let path = Path::new(&std::env::var_os("ASMR_DATA")?).join("image/camera.png");
    let picture = read_image(&path, &Limits::default()).unwrap();
    let Samples::U8(bytes) = picture.samples() else { panic!("camera.png has 8 bits") };
    let width = picture.info().extents[1];
    let rows = (TOP..TOP + SIDE).flat_map(|y| &bytes[y * width + LEFT..][..SIDE]).copied().collect();
    let info = SignalInfo::plain(vec![SIDE, SIDE], 1, SampleType::U8, None);
    Some(Signal::new(info, Samples::U8(rows)).unwrap())
}

fn psnr_db(values: &[f32], signal: &Signal) -> f64 {
    let Samples::U8(bytes) = signal.samples() else { unreachable!("as above") };
    let squares = values
        .iter()
        .zip(bytes)
        .map(|(&v, &b)| (f64::from(v.clamp(0.0, 1.0)) - f64::from(b) / 255.0).powi(2));
    -10.0 * (squares.sum::<f64>() / bytes.len() as f64).log10()
}

/// A fit's PSNR.
fn fitted_db(field: &dyn Baseline, signal: &Signal, rate: f64, schedule: Option<Schedule>, seed: u64) -> f64 {
    let published = field.recipe();
    let recipe = Recipe { rate, schedule: schedule.unwrap_or(published.schedule), batch: None, ..published };
    let options = FitOptions { seed, ..FitOptions::new(recipe, Stop::Steps(STEPS)) };
    let fitted = field.fit(signal, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    let values = field.decode(&fitted.params, 0..SIDE * SIDE, IsaLevel::detect()).unwrap();
    psnr_db(&values, signal)
}

#[test]
fn fits_reach_what_they_reach_in_jax() {
    let Some(signal) = square() else {
        eprintln!("skipped: set ASMR_DATA to the folder of test signals");
        return;
    };
    let (mut n_fits, mut failures) = (0, Vec::new());
    for (method, rate, schedule, [expected, deviation]) in cases() {
        let config = Config { shape: Shape::of(signal.info()), method };
        let field = config.build().unwrap();
        let fits: Vec<f64> = (0..SEEDS)
            .map(|seed| {
                n_fits += 1;
                fitted_db(field.as_ref(), &signal, rate, schedule, seed)
            })
            .collect();
        let mean = fits.iter().sum::<f64>() / fits.len() as f64;
        let share = 1.0 / SEEDS as f64 + 1.0 / SEEDS_IN_JAX as f64;
        let bound = LEAST_BOUND.max(DEVIATIONS * deviation * share.sqrt());
        println!("{}: {mean:.2} dB, in JAX {expected:.2} dB; {fits:.2?}", field.name());
        let off = (mean - expected).abs();
        // NaN must count as off.
        if off.is_nan() || off > bound {
            failures.push(format!("{}: {mean:.3} dB, not {expected:.3} dB (bound {bound:.3})", field.name()));
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(n_fits, 7 * SEEDS);
}

/// Seeds of the fits from the same weights.
const STARTS: u64 = 3;

/// What JAX reaches from those, in dB, in the order of [`cases`] (`jax_baselines.py --starts`).
const FROM_STARTS: [&[f64]; 7] = [
    &[32.860, 32.757, 34.422],
    &[36.245, 37.460, 35.371],
    &[19.682, 22.093, 21.481],
    &[23.227, 22.514, 20.004],
    &[36.342, 37.036, 35.093],
    &[27.388, 30.265, 27.476],
    &[25.977],
];
/// In dB: what the order of sums in f32 may change in 200 steps, which magnify it.
const SAME_START_BOUND: f64 = 0.2;

/// From the same weights the same fit, but for rounding.
#[test]
fn fits_from_the_same_weights_end_where_they_do_in_jax() {
    let Some(signal) = square() else {
        eprintln!("skipped: set ASMR_DATA to the folder of test signals");
        return;
    };
    let (mut n_fits, mut failures) = (0, Vec::new());
    for ((method, rate, schedule, _), expected) in cases().into_iter().zip(FROM_STARTS) {
        let field = Config { shape: Shape::of(signal.info()), method }.build().unwrap();
        for (seed, expected) in expected.iter().enumerate() {
            let actual = fitted_db(field.as_ref(), &signal, rate, schedule, seed as u64);
            println!("{}, seed {seed}: {actual:.3} dB, in JAX {expected:.3} dB", field.name());
            let off = (actual - expected).abs();
            // NaN must count as off.
            if off.is_nan() || off > SAME_START_BOUND {
                failures.push(format!("{}, seed {seed}: {actual:.3} dB, not {expected:.3} dB", field.name()));
            }
            n_fits += 1;
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(n_fits, 6 * STARTS + 1);
}

/// Leaves initial weights for `jax_baselines.py --starts` in the folder `ASMR_STARTS`.
#[test]
#[ignore = "writes what a program in Python reads"]
fn write_starts() {
    let folder = std::env::var_os("ASMR_STARTS").expect("ASMR_STARTS names a folder");
    for (method, ..) in cases() {
        let shape = Shape { extents: vec![SIDE, SIDE], channels: 1 };
        let field = Config { shape, method }.build().unwrap();
        for seed in 0..STARTS {
            let bytes: Vec<u8> = field.init(seed).iter().flat_map(|weight| weight.to_le_bytes()).collect();
            std::fs::write(Path::new(&folder).join(format!("{}-{seed}.f32", field.name())), bytes).unwrap();
        }
    }
}
