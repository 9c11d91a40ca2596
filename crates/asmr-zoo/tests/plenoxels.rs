//! The explicit grid against its definition.

mod common;

use std::ops::ControlFlow;

use asmr_kernels::IsaLevel;
use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape, decode};
use asmr_zoo::fit::{FitOptions, Stop};
use asmr_zoo::plenoxels::{Plenoxels, PlenoxelsSettings, fit_coarse_to_fine};
use common::{Case, shape};

/// Positions are rounded to f32 within a cell; values are near 1.
const OUTPUT_BOUND: f64 = 2e-6;
/// Of the largest entry of the gradient: f32 sums of some hundred shares.
const GRADIENT_BOUND: f64 = 2e-4;

fn cases() -> Vec<(Shape, PlenoxelsSettings)> {
    let whole = |vertices: &[usize], tv| PlenoxelsSettings { tv, ..PlenoxelsSettings::dense(vertices) };
    vec![
        (shape(&[19, 23], 3), whole(&[7, 9], 0.1)),
        (shape(&[311], 1), whole(&[40], 0.0)),
        // More vertices than samples on one axis; every other run of 7 is absent.
        (
            shape(&[7, 11, 9], 2),
            PlenoxelsSettings {
                background: 0.25,
                runs: (0..72).map(|i| [7, 9][i % 2]).collect(),
                ..whole(&[8, 9, 8], 0.05)
            },
        ),
    ]
}

/// Values of all vertices, `channel` by `channel`; none where a vertex is not stored.
fn spread_out(shape: &Shape, settings: &PlenoxelsSettings, params: &[f64]) -> Vec<Option<Vec<f64>>> {
    let n: usize = settings.vertices.iter().product();
    let mut rows = params.chunks_exact(shape.channels);
    let mut is_stored = vec![settings.runs.is_empty(); n];
    let mut at = 0;
    for (i, &run) in settings.runs.iter().enumerate() {
        is_stored[at..at + run as usize].fill(i % 2 == 1);
        at += run as usize;
    }
    let vertices = is_stored.iter().map(|&stored| stored.then(|| rows.next().unwrap().to_vec())).collect();
    assert!(rows.next().is_none());
    vertices
}

fn definition(shape: &Shape, settings: &PlenoxelsSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let vertices = spread_out(shape, settings, params);
    let background = vec![f64::from(settings.background); shape.channels];
    let mut sum = vec![0.0; shape.channels];
    // All vertices' tents.
    for (number, values) in vertices.iter().enumerate() {
        let mut weight = 1.0;
        for (axis, index) in common::indices(&settings.vertices, number).into_iter().enumerate() {
            let n = (settings.vertices[axis] - 1) as f64;
            let x = at[axis] as f64 / (shape.extents[axis] - 1) as f64 * n;
            weight *= (1.0 - (x - index as f64).abs()).max(0.0);
        }
        let values = values.as_ref().unwrap_or(&background);
        sum.iter_mut().zip(values).for_each(|(s, v)| *s += weight * v);
    }
    sum
}

fn penalty(shape: &Shape, settings: &PlenoxelsSettings, params: &[f64]) -> f64 {
    let vertices = spread_out(shape, settings, params);
    let (mut sum, mut n_stored) = (0.0, 0);
    for (number, values) in vertices.iter().enumerate() {
        let Some(values) = values else { continue };
        n_stored += 1;
        let index = common::indices(&settings.vertices, number);
        for (channel, value) in values.iter().enumerate() {
            let mut squares = 1e-9;
            for (axis, &at) in index.iter().enumerate() {
                if at + 1 < settings.vertices[axis] {
                    let stride: usize = settings.vertices[axis + 1..].iter().product();
                    let upper = vertices[number + stride].as_ref();
                    let upper = upper.map_or(f64::from(settings.background), |v| v[channel]);
                    squares += ((upper - value) * settings.vertices[axis] as f64 / 256.0).powi(2);
                }
            }
            sum += squares.sqrt();
        }
    }
    f64::from(settings.tv) * sum / f64::from(n_stored)
}

fn each(mut test: impl FnMut(&Case<'_, Plenoxels>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Plenoxels::new(shape.clone(), settings.clone()).unwrap();
            let params = (0..field.n_params()).map(|i| (i * 7919 % 1009) as f32 / 1009.0).collect();
            let definition = |params: &[f64], at: &[usize]| definition(&shape, &settings, params, at);
            let penalty = |params: &[f64]| penalty(&shape, &settings, params);
            test(&Case { field: &field, params, definition: &definition, penalty: &penalty })
        })
        .sum()
}

#[test]
fn outputs_are_the_definition() {
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 19 * 23 * 3 + 311 + 7 * 11 * 9 * 2);
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 4, GRADIENT_BOUND));
    assert!(n > 200, "{n} weights compared");
}

#[test]
fn cost_counted_by_hand() {
    let of = |vertices: &[usize], extents: &[usize], channels| {
        Plenoxels::new(shape(extents, channels), PlenoxelsSettings::dense(vertices)).unwrap().cost()
    };
    let flat = FieldCost {
        n_params: 128 * 192 * 3,
        mac_paper: 0.0,
        // 4 weights of two factors, 4 vertices of 3 channels.
        mac_exec: 4.0 + 12.0,
        sin_exec: 0.0,
        exp_exec: 0.0,
        table_reads: 4.0,
    };
    assert_eq!(of(&[128, 192], &[512, 768], 3), flat);
    // 4 products of two factors and 8 of them with a third; 8 vertices.
    let solid = FieldCost { n_params: 1000, mac_exec: 12.0 + 8.0, table_reads: 8.0, ..flat };
    assert_eq!(of(&[10, 10, 10], &[64, 64, 64], 1), solid);
    let (shape, sparse) = cases()[2].clone();
    let sparse = Plenoxels::new(shape, sparse).unwrap().cost();
    assert_eq!((sparse.n_params, sparse.table_reads), (36 * 9 * 2, 16.0));
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 1e-2)), 3 * 6);
}

/// A grid with halved cells is the same function, and so is a pruned one where nothing but background was dropped.
#[test]
fn refined_and_pruned_are_the_same_function() {
    let mut n_values = 0;
    each(|case| {
        let (fine, params) = case.field.refined(&case.params).unwrap();
        let n = case.field.shape().n_samples();
        let isa = IsaLevel::detect();
        let before = decode(case.field, &case.params, 0..n, isa).unwrap();
        let after = decode(&fine, &params, 0..n, isa).unwrap();
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-5, "{a} and {b}");
            n_values += 1;
        }
        0
    });
    assert_eq!(n_values, 19 * 23 * 3 + 311 + 7 * 11 * 9 * 2);

    // A ball's worth of ones around vertex (5, 5, 5).
    let field = Plenoxels::new(shape(&[17, 17, 17], 1), PlenoxelsSettings::dense(&[12, 12, 12])).unwrap();
    let params: Vec<f32> = (0..1728).map(|v| if v == 5 * 144 + 5 * 12 + 5 { 1.0 } else { 1e-3 }).collect();
    let (pruned, left) = field.pruned(&params, 0.5).unwrap();
    assert_eq!((pruned.n_stored(), left.len()), (27, 27));
    assert_eq!(left.iter().filter(|&&v| v == 1.0).count(), 1);
    assert!(matches!(field.pruned(&params, 2.0), Err(FieldError::Setting { .. })));
}

/// A ball in empty space: fitted coarse to fine it is found, and stored in a part of the vertices.
#[test]
fn coarse_to_fine_is_sparse() {
    use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
    let info = SignalInfo::plain(vec![33, 33, 33], 1, SampleType::U8, None);
    let inside = |i: usize| {
        let at = common::indices(&[33, 33, 33], i);
        at.iter().map(|&x| (x as f64 - 16.0).powi(2)).sum::<f64>() < 64.0
    };
    let bytes = (0..33 * 33 * 33).map(|i| if inside(i) { 255 } else { 0 }).collect();
    let signal = Signal::new(info, Samples::U8(bytes)).unwrap();
    let coarse = Plenoxels::new(shape(&[33, 33, 33], 1), PlenoxelsSettings::dense(&[9, 9, 9])).unwrap();
    let options = FitOptions::new(coarse.recipe(), Stop::Steps(150));
    let silent = &mut |_: &_| ControlFlow::Continue(());
    let (fine, fitted) = fit_coarse_to_fine(coarse, &signal, 3, 0.05, &options, silent).unwrap();
    assert_eq!(fine.settings().vertices, [33, 33, 33]);
    assert_eq!((fitted.steps, fitted.params.len()), (450, fine.n_stored()));
    assert!(fine.n_stored() < 33 * 33 * 33 / 3, "{} stored", fine.n_stored());
    assert!(fitted.last_mse < 1e-3, "{}", fitted.last_mse);
    // What is absent survives being stored.
    let config = Config { shape: fine.shape().clone(), method: Method::Plenoxels(fine.settings().clone()) };
    let bytes = asmr_zoo::baseline::store(&config, &fitted.params).unwrap();
    assert_eq!(asmr_zoo::baseline::restore(&bytes).unwrap(), (config, fitted.params));
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases()[2].clone();
    assert!(common::stored(&Config { shape, method: Method::Plenoxels(settings) }, 36 * 9 * 2) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let default = PlenoxelsSettings::dense(&[8, 8]);
    let bad = [
        PlenoxelsSettings { vertices: vec![8], ..default.clone() },
        PlenoxelsSettings { vertices: vec![8, 1], ..default.clone() },
        PlenoxelsSettings { vertices: vec![1 << 40, 1 << 40], ..default.clone() },
        PlenoxelsSettings { tv: -1.0, ..default.clone() },
        PlenoxelsSettings { background: f32::NAN, ..default.clone() },
        PlenoxelsSettings { runs: vec![1, 2], ..default.clone() },
        PlenoxelsSettings { runs: vec![u32::MAX; 3], ..default.clone() },
        PlenoxelsSettings { runs: vec![64], ..default },
    ];
    assert_eq!(bad.len(), 8);
    for settings in bad {
        let refused = Plenoxels::new(shape(&[32, 32], 1), settings.clone());
        assert!(matches!(refused, Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
