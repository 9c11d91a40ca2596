//! `sincos_rows` and `sines` against double precision, over its whole input range and at every instruction-set level.

use std::f64::consts::FRAC_PI_4;

use asmr_kernels::IsaLevel;
use asmr_kernels::sincos::{REDUCED_UP_TO, sincos_rows, sines};

/// The documented absolute error of the quick reduction: half a unit in the last place of an angle below π/4
/// (3e-8), the polynomials' own 2e-8 or so, and a few roundings of values up to 1 (6e-8 each).
const QUICK_TOLERANCE: f64 = 2e-7;
/// Beyond the quick range results are double-precision values rounded once: half a unit in the last place below
/// 1 is 3e-8, and a wrong reduction is off by far more than this.
const BEYOND_TOLERANCE: f64 = 1e-7;
/// Angles per row in the sweeps: no multiple of the kernel's block of 64.
const WIDTH: usize = 1021;

/// Angles beyond the quick range with their sines and cosines, worked out in 60 digits (mpmath 1.3).
const KNOWN: [(f32, f64, f64); 7] = [
    (100_001.0, -0.821_617_964_837_152_5, -0.570_038_524_888_323_4),
    (123_456.79, -0.998_660_850_859_638_8, 0.051_734_949_118_582_68),
    (1e10, -0.487_506_025_087_510_7, 0.873_119_622_676_856),
    (1.152_921_5e18, -0.830_649_217_637_254_6, -0.556_796_082_276_641_7), // 2^60
    (1e22, -0.734_081_535_296_101_5, 0.679_061_337_095_051),
    (1.267_650_6e30, -0.872_183_605_418_267_3, 0.489_178_656_974_721_45), // 2^100
    (f32::MAX, -0.521_876_523_333_658_5, 0.853_021_039_830_304_2),
];

/// A level's largest error so far and the angle that has it.
#[derive(Clone, Copy)]
struct Worst {
    isa: IsaLevel,
    error: f64,
    angle: f32,
}

/// Sines alone.
fn sines_of(isa: IsaLevel, angles: &[f32]) -> Vec<f32> {
    let mut buffer = angles.to_vec();
    sines(isa, &mut buffer);
    buffer
}

/// Sines and cosines of any number of angles, in rows of `WIDTH` (the last one padded with zeros).
fn evaluate(isa: IsaLevel, angles: &[f32]) -> Vec<(f32, f32)> {
    let rows = angles.len().div_ceil(WIDTH);
    let mut buffer = vec![f32::NAN; rows * 2 * WIDTH];
    for (row, angles) in buffer.chunks_exact_mut(2 * WIDTH).zip(angles.chunks(WIDTH)) {
        row[..WIDTH].fill(0.0);
        row[..angles.len()].copy_from_slice(angles);
    }
    sincos_rows(isa, rows, WIDTH, &mut buffer);
    let pairs = buffer.chunks_exact(2 * WIDTH).flat_map(|row| row[..WIDTH].iter().zip(&row[WIDTH..]));
    pairs.take(angles.len()).map(|(&s, &c)| (s, c)).collect()
}

/// Compares all angles at all levels with the standard library's double precision; returns how many there were.
fn sweep(what: &str, tolerance: f64, angles: impl Iterator<Item = f32>) -> usize {
    let mut worst: Vec<Worst> =
        IsaLevel::available().into_iter().map(|isa| Worst { isa, error: 0.0, angle: 0.0 }).collect();
    let mut n = 0;
    let mut angles = angles.peekable();
    while angles.peek().is_some() {
        let batch: Vec<f32> = angles.by_ref().take(64 * WIDTH).collect();
        let expected: Vec<(f64, f64)> = batch.iter().map(|&x| f64::from(x).sin_cos()).collect();
        for worst in &mut worst {
            let alone = sines_of(worst.isa, &batch);
            for (i, (&(s, c), &(sine, cosine))) in
                evaluate(worst.isa, &batch).iter().zip(&expected).enumerate()
            {
                for (name, actual, expected) in
                    [("sine", s, sine), ("cosine", c, cosine), ("sine alone", alone[i], sine)]
                {
                    let error = (f64::from(actual) - expected).abs();
                    // A NaN is not within the tolerance either.
                    assert!(
                        error <= tolerance,
                        "{what} at {:?}: {name} of {:e} (value {}) is {actual:e}, expected {expected:e}, \
                         error {error:e}, tolerance {tolerance:e}",
                        worst.isa,
                        batch[i],
                        n + i,
                    );
                    if error > worst.error {
                        (worst.error, worst.angle) = (error, batch[i]);
                    }
                }
            }
        }
        n += batch.len();
    }
    for Worst { isa, error, angle } in worst {
        println!("{what} at {isa:?}: largest error {error:.3e} at {angle:e}, over {n} angles");
    }
    n
}

/// Every `step`-th float from `from` to `to` (both positive), with both signs.
fn floats(from: f32, to: f32, step: usize) -> impl Iterator<Item = f32> {
    (from.to_bits()..=to.to_bits()).step_by(step).map(f32::from_bits).flat_map(|x| [x, -x])
}

#[test]
fn quick_range_by_float_spacing() {
    // Every 601st float of all 1.2 billion in the range, subnormals included.
    let n = sweep("floats up to 1e5", QUICK_TOLERANCE, floats(0.0, REDUCED_UP_TO, 601));
    assert_eq!(n, 4_006_598);
}

#[test]
fn quick_range_by_value() {
    // Evenly spaced, so that most angles are large and all quadrants occur alike.
    let n = 2_000_001u32;
    let angle = |i: u32| ((f64::from(i) / f64::from(n - 1) * 2.0 - 1.0) * f64::from(REDUCED_UP_TO)) as f32;
    assert_eq!(sweep("even steps up to 1e5", QUICK_TOLERANCE, (0..n).map(angle)), 2_000_001);
    // The phases that networks really have, densely.
    let n = 2_000_001u32;
    let angle = |i: u32| ((f64::from(i) / f64::from(n - 1) * 2.0 - 1.0) * 2000.0) as f32;
    assert_eq!(sweep("even steps up to 2000", QUICK_TOLERANCE, (0..n).map(angle)), 2_000_001);
}

#[test]
fn neighbours_of_multiples_of_a_quarter_pi() {
    // 127,323 multiples; the float nearest to each, and three on both sides.
    let multiples = (1..).map(|k| (f64::from(k) * FRAC_PI_4) as f32).take_while(|&x| x <= 99_999.9);
    let near = multiples.flat_map(|x| (0..7).map(move |i| f32::from_bits(x.to_bits() + i - 3)));
    let n = sweep("near multiples of π/4", QUICK_TOLERANCE, near.flat_map(|x| [x, -x]));
    assert_eq!(n, 127_323 * 14);
}

#[test]
fn zeros_subnormals_and_the_limit() {
    let limit = REDUCED_UP_TO.to_bits();
    let inside = [
        0.0,
        -0.0,
        f32::from_bits(1),
        -f32::from_bits(1),
        f32::from_bits(0x007f_ffff),
        f32::MIN_POSITIVE,
        -f32::MIN_POSITIVE,
        1e-30,
        f32::from_bits(limit - 1),
        REDUCED_UP_TO,
        -REDUCED_UP_TO,
    ];
    assert_eq!(sweep("special values inside", QUICK_TOLERANCE, inside.into_iter()), 11);
    for isa in IsaLevel::available() {
        // Small angles are their own sines, to the last bit; the sign of zero is not part of the contract.
        for (x, (s, c)) in inside.iter().zip(evaluate(isa, &inside)).take(8) {
            assert_eq!((s, c), (*x, 1.0), "{isa:?}: sine and cosine of {x:e}");
        }
        assert_eq!(sines_of(isa, &inside[..8]), inside[..8], "{isa:?}: sines alone");
    }
    let beyond = [f32::from_bits(limit + 1), -f32::from_bits(limit + 1), 1.1e5, 1e10, f32::MAX, f32::MIN];
    assert_eq!(sweep("special values beyond", BEYOND_TOLERANCE, beyond.into_iter()), 6);
}

#[test]
fn beyond_the_quick_range() {
    let over = f32::from_bits(REDUCED_UP_TO.to_bits() + 1);
    let n = sweep("floats beyond 1e5", BEYOND_TOLERANCE, floats(over, f32::MAX, 4099));
    assert_eq!(n, 456_264);
    // The sweep's expectation and the kernel ask the same library, so some values from elsewhere.
    let mut n_checked = 0;
    for isa in IsaLevel::available() {
        let angles = KNOWN.map(|(x, ..)| x);
        let alone = sines_of(isa, &angles);
        for (((s, c), alone), (x, sine, cosine)) in evaluate(isa, &angles).into_iter().zip(alone).zip(KNOWN) {
            for (name, actual, expected) in
                [("sine", s, sine), ("cosine", c, cosine), ("sine alone", alone, sine)]
            {
                assert!(
                    (f64::from(actual) - expected).abs() <= BEYOND_TOLERANCE,
                    "{isa:?}: {name} of {x:e} is {actual:e}, expected {expected:e}, tolerance {BEYOND_TOLERANCE:e}"
                );
                n_checked += 1;
            }
        }
    }
    assert_eq!(n_checked, 3 * 7 * IsaLevel::available().len());
}

#[test]
fn nan_and_infinities_give_nan_and_spoil_nothing_else() {
    let mut n_checked = 0;
    for isa in IsaLevel::available() {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 63, 64, 70, 129] {
                let mut angles: Vec<f32> = (0..130).map(|i| i as f32 * 7.7 - 400.0).collect();
                angles[at] = bad;
                let alone = sines_of(isa, &angles);
                for (i, (s, c)) in evaluate(isa, &angles).into_iter().enumerate() {
                    if i == at {
                        let all_nan = s.is_nan() && c.is_nan() && alone[i].is_nan();
                        assert!(all_nan, "{isa:?}: {bad} at {at} gives {s}, {c}, {}, not NaN", alone[i]);
                        continue;
                    }
                    let (sine, cosine) = f64::from(angles[i]).sin_cos();
                    let close = (f64::from(s) - sine).abs() <= QUICK_TOLERANCE
                        && (f64::from(alone[i]) - sine).abs() <= QUICK_TOLERANCE
                        && (f64::from(c) - cosine).abs() <= QUICK_TOLERANCE;
                    assert!(
                        close,
                        "{isa:?}: beside {bad} at {at}, value {i} is {s}, {c}, expected {sine}, {cosine}, \
                         tolerance {QUICK_TOLERANCE:e}"
                    );
                }
                n_checked += 1;
            }
        }
    }
    assert_eq!(n_checked, 20 * IsaLevel::available().len());
}

/// Widths around the block, several rows, one element of one row beyond the quick range: each row has the bits it
/// has alone, and nothing past the rows is touched.
#[test]
fn sines_are_independent_of_their_neighbours() {
    let mut n_checked = 0;
    for isa in IsaLevel::available() {
        let mut angles: Vec<f32> = (0..200).map(|i| (i as f32 * 0.37).sin() * 1500.0).collect();
        angles[100] = 1e10;
        let mut together = angles.clone();
        sines(isa, &mut together);
        for (x, together) in angles.iter().zip(together) {
            let mut alone = [*x];
            sines(isa, &mut alone);
            assert_eq!(alone[0].to_bits(), together.to_bits(), "sin {x} at {isa:?}");
            n_checked += 1;
        }
    }
    assert_eq!(n_checked, 200 * IsaLevel::available().len());
}

#[test]
fn rows_are_independent_and_stay_in_bounds() {
    const GUARD: f32 = 77.0;
    let mut n_checked = 0;
    for isa in IsaLevel::available() {
        for width in [1, 2, 7, 8, 31, 63, 64, 65, 100, 127, 128, 129, 200] {
            for rows in [1, 2, 5] {
                for outlier in [None, Some(1e10), Some(f32::from_bits(REDUCED_UP_TO.to_bits() + 1))] {
                    let mut angles: Vec<Vec<f32>> = (0..rows)
                        .map(|r| (0..width).map(|j| ((r * width + j) as f32 * 0.37).sin() * 1500.0).collect())
                        .collect();
                    if let Some(x) = outlier {
                        angles[rows / 2][width * 2 / 3] = x;
                    }
                    let mut together = vec![GUARD; rows * 2 * width + 70];
                    for (row, angles) in together.chunks_exact_mut(2 * width).zip(&angles) {
                        row[..width].copy_from_slice(angles);
                    }
                    sincos_rows(isa, rows, width, &mut together);
                    assert!(
                        together[rows * 2 * width..].iter().all(|&x| x == GUARD),
                        "{isa:?} {rows}×{width}"
                    );
                    for (r, angles) in angles.iter().enumerate() {
                        let mut alone = vec![0.0; 2 * width];
                        alone[..width].copy_from_slice(angles);
                        sincos_rows(isa, 1, width, &mut alone);
                        let row = &together[r * 2 * width..][..2 * width];
                        assert_eq!(
                            row, alone,
                            "{isa:?} {rows}×{width}, outlier {outlier:?}: row {r} and alone"
                        );
                        for (j, &x) in angles.iter().enumerate() {
                            let (sine, cosine) = f64::from(x).sin_cos();
                            for (actual, expected) in [(row[j], sine), (row[width + j], cosine)] {
                                assert!(
                                    (f64::from(actual) - expected).abs() <= QUICK_TOLERANCE,
                                    "{isa:?} {rows}×{width}, outlier {outlier:?}: row {r}, value {j} ({x:e}) is \
                                     {actual}, expected {expected}, tolerance {QUICK_TOLERANCE:e}"
                                );
                            }
                        }
                    }
                    n_checked += 1;
                }
            }
        }
        // Nothing to do is no error.
        sincos_rows(isa, 0, 8, &mut []);
        sincos_rows(isa, 3, 0, &mut []);
        sines(isa, &mut []);
    }
    assert_eq!(n_checked, 13 * 3 * 3 * IsaLevel::available().len());
}

#[test]
#[should_panic(expected = "out of range")]
fn too_few_angles_are_refused() {
    sincos_rows(IsaLevel::Scalar, 2, 4, &mut [0.0; 15]);
}
