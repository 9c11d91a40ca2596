//! Rounding with feedback against its definition.

use asmr::coding::{Step, TensorSteps};
use asmr_train::rounding::{Factor, round_with_feedback};

/// A generator of tests (splitmix64), uniform in -1 to 1.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// `x · xᵀ` of a random n × k matrix.
fn products(n: usize, k: usize, state: &mut u64) -> Vec<f32> {
    let x: Vec<f64> = (0..n * k).map(|_| uniform(state)).collect();
    let dot = |i: usize, j: usize| (0..k).map(|c| x[i * k + c] * x[j * k + c]).sum::<f64>();
    (0..n * n).map(|at| dot(at / n, at % n) as f32).collect()
}

/// The covariance of neighbours that resemble each other: `correlation^|i - j|`.
fn neighbours(n: usize, correlation: f64) -> Vec<f32> {
    (0..n * n).map(|at| correlation.powi((at / n).abs_diff(at % n) as i32) as f32).collect()
}

#[test]
fn a_factor_is_its_matrix() {
    let mut state = 1;
    let mut n_cases = 0;
    for (n, k) in [(1, 1), (2, 5), (7, 3), (20, 40), (33, 4)] {
        let matrix = products(n, k, &mut state);
        let factor = Factor::new(n, &matrix);
        let mean = (0..n).map(|i| f64::from(matrix[i * n + i])).sum::<f64>() / n as f64;
        let (l, d) = (factor.lower(), factor.diagonal());
        for i in 0..n {
            assert_eq!(l[i * n + i], 1.0);
            assert!(d[i] > 0.0 && l[i * n + i + 1..(i + 1) * n].iter().all(|&x| x == 0.0));
            for j in 0..n {
                let product: f64 = (0..n).map(|c| l[i * n + c] * d[c] * l[j * n + c]).sum();
                let expected = f64::from(matrix[i * n + j]) + if i == j { 0.01 * mean } else { 0.0 };
                assert!((product - expected).abs() < 1e-4 * mean, "{i}, {j}: {product} and {expected}");
            }
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 5);
    let nothing = Factor::new(3, &[0.0; 9]);
    assert!(nothing.diagonal().iter().all(|&d| d > 0.0));
}

fn errors(weights: &[f32], rounded: &[f32]) -> Vec<f64> {
    weights.iter().zip(rounded).map(|(w, r)| f64::from(*r) - f64::from(*w)).collect()
}

/// No element of Aᵀ · Δ · B is above half its step, with steps of tensors and of rows and columns; every weight is a multiple.
#[test]
fn errors_make_up_for_each_other() {
    let mut state = 2;
    let mut n_cases = 0;
    for (m, n, is_graded) in [(1, 9, false), (9, 1, true), (12, 17, false), (12, 17, true), (3, 40, true)] {
        let (left, right) =
            (Factor::new(m, &products(m, 3, &mut state)), Factor::new(n, &neighbours(n, 0.9)));
        let weights: Vec<f32> = (0..m * n).map(|_| uniform(&mut state) as f32).collect();
        let mut steps = TensorSteps::uniform(Step::at_most(0.02));
        if is_graded {
            steps.rows = (0..m).map(|i| (i * 3 % 7) as u8).collect();
            steps.columns = (0..n).map(|j| (j * 5 % 9) as u8).collect();
        }
        let rounded = round_with_feedback(&weights, &left, &right, &steps);
        let delta = errors(&weights, &rounded);
        let (a, b) = (left.lower(), right.lower());
        for i in 0..m {
            for j in 0..n {
                let mut element = 0.0;
                for k in i..m {
                    for l in j..n {
                        element += a[k * m + i] * delta[k * n + l] * b[l * n + j];
                    }
                }
                let step = steps.step(i, j);
                assert!(element.abs() <= 0.500_01 * f64::from(step.size()), "{i}, {j}: {element}");
                let weight = rounded[i * n + j];
                assert_eq!(weight, step.weight(step.quantise(f64::from(weight))));
                n_cases += 1;
            }
        }
    }
    assert_eq!(n_cases, 9 + 9 + 2 * 12 * 17 + 120);
}

/// Where nothing is correlated there is nothing to make up for.
#[test]
fn without_correlation_weights_are_rounded_to_the_nearest() {
    let mut state = 3;
    let weights: Vec<f32> = (0..6 * 8).map(|_| uniform(&mut state) as f32).collect();
    let (left, right) = (Factor::new(6, &neighbours(6, 0.0)), Factor::new(8, &neighbours(8, 0.0)));
    let step = Step::at_most(0.1);
    let rounded = round_with_feedback(&weights, &left, &right, &TensorSteps::uniform(step));
    let nearest: Vec<f32> = weights.iter().map(|&w| step.weight(step.quantise(f64::from(w)))).collect();
    assert_eq!(rounded, nearest);
}

/// Neighbours with a correlation of ρ leave 1 - ρ² of the error that rounding each by itself makes (the innovation of an
/// autoregressive process of order 1), on each side.
#[test]
fn correlated_weights_lose_less() {
    let (m, n) = (40, 60);
    let mut state = 4;
    let (l, r) = (neighbours(m, 0.6), neighbours(n, 0.9));
    let weights: Vec<f32> = (0..m * n).map(|_| uniform(&mut state) as f32).collect();
    let step = Step::at_most(0.01);
    // tr(Δᵀ · L · Δ · R)
    let loss = |rounded: &[f32]| {
        let delta = errors(&weights, rounded);
        let mut sum = 0.0;
        for i in 0..m {
            for k in 0..m {
                for j in 0..n {
                    let row: f64 = (0..n).map(|c| delta[k * n + c] * f64::from(r[c * n + j])).sum();
                    sum += f64::from(l[i * m + k]) * delta[i * n + j] * row;
                }
            }
        }
        sum
    };
    let nearest: Vec<f32> = weights.iter().map(|&w| step.weight(step.quantise(f64::from(w)))).collect();
    let fed_back =
        round_with_feedback(&weights, &Factor::new(m, &l), &Factor::new(n, &r), &TensorSteps::uniform(step));
    let (ratio, expected) = (loss(&fed_back) / loss(&nearest), (1.0 - 0.36) * (1.0 - 0.81));
    assert!((0.8..1.25).contains(&(ratio / expected)), "{ratio} instead of {expected}");
}
