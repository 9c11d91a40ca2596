//! The hash grid against its definition.

mod common;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use asmr_zoo::ngp::{Ngp, NgpSettings};
use common::{Case, dense_layers, shape};

/// Positions are rounded to f32 within a cell, features are near 1.
const OUTPUT_BOUND: f64 = 1e-5;
/// Of the largest entry of the gradient: a rectifier's input that rounds across 0 changes single samples' shares.
const GRADIENT_BOUND: f64 = 1e-3;
/// Bound of the features in these tests: initial ones are too small for a network to show its slopes.
const SPREAD: f32 = 0.7;

fn cases() -> Vec<(Shape, NgpSettings)> {
    let settings = |n_levels, n_features, log2_entries, coarsest, finest, hidden_layers| NgpSettings {
        n_levels,
        n_features,
        log2_entries,
        coarsest,
        finest,
        width: 8,
        hidden_layers,
    };
    vec![
        // Levels of 3, 5, 9 and 16 cells: 16, 36 and 100 vertices fit 128 entries, 289 do not.
        (shape(&[19, 23], 3), settings(4, 2, 7, 3, 16, 2)),
        (shape(&[311], 1), settings(3, 1, 5, 4, 64, 1)),
        (shape(&[9, 11, 13], 2), settings(3, 4, 6, 2, 9, 1)),
        (shape(&[17, 31], 1), settings(1, 8, 10, 12, 12, 2)),
    ]
}

fn definition(shape: &Shape, settings: NgpSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let n_axes = at.len();
    let (f, table_size) = (settings.n_features, 1usize << settings.log2_entries);
    let mut widths = vec![settings.width; settings.hidden_layers + 1];
    widths[settings.hidden_layers] = shape.channels;
    let n_inputs = settings.n_levels * f;
    let n_mlp = widths.iter().fold((0, n_inputs), |(n, fan_in), &w| (n + fan_in * w, w)).0;
    let (mlp, mut tables) = params.split_at(n_mlp);
    let mut features = Vec::new();
    for level in 0..settings.n_levels {
        let exponent = level as f64 / (settings.n_levels.max(2) - 1) as f64;
        let ratio = settings.finest as f64 / settings.coarsest as f64;
        let n = (settings.coarsest as f64 * ratio.powf(exponent) + 1e-6).floor() as u64;
        let n_vertices = (n + 1).pow(n_axes as u32) as usize;
        let (table, after) = tables.split_at(n_vertices.min(table_size) * f);
        tables = after;
        let x: Vec<f64> =
            at.iter().zip(&shape.extents).map(|(&i, &e)| (i as f64 + 0.5) / e as f64 * n as f64).collect();
        let mut sum = vec![0.0; f];
        for corner in 0..1u64 << n_axes {
            let vertex: Vec<u64> = (0..n_axes).map(|a| x[a].floor() as u64 + (corner >> a & 1)).collect();
            let weight: f64 = (0..n_axes).map(|a| 1.0 - (x[a] - vertex[a] as f64).abs()).product();
            let entry = if n_vertices <= table_size {
                vertex.iter().fold(0, |number, v| number * (n + 1) + v) as usize
            } else {
                // The fastest axis has the first factor. Products beyond 32 bits leave the low bits as they are.
                let primes = [1u64, 2_654_435_761, 805_459_861];
                let hash = vertex.iter().rev().zip(primes).fold(0, |hash, (v, p)| hash ^ (v * p));
                (hash % table_size as u64) as usize
            };
            sum.iter_mut().zip(&table[entry * f..]).for_each(|(s, v)| *s += weight * v);
        }
        features.extend(sum);
    }
    assert!(tables.is_empty());
    dense_layers(mlp, features, &widths, false, |z| z.max(0.0))
}

fn each(mut test: impl FnMut(&Case<'_, Ngp>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Ngp::new(shape.clone(), settings).unwrap();
            let n_mlp = field.n_dense();
            let mut params = field.init(3);
            assert!(params[n_mlp..].iter().all(|v| v.abs() <= 1e-4));
            params[n_mlp..].iter_mut().for_each(|v| *v *= 1e4 * SPREAD);
            let definition = |params: &[f64], at: &[usize]| definition(&shape, settings, params, at);
            let penalty = |params: &[f64]| 0.5e-6 * params[..n_mlp].iter().map(|w| w * w).sum::<f64>();
            test(&Case { field: &field, params, definition: &definition, penalty: &penalty })
        })
        .sum()
}

#[test]
fn outputs_are_the_definition() {
    let n = each(|case| common::outputs(case, OUTPUT_BOUND));
    assert_eq!(n, 19 * 23 * 3 + 311 + 9 * 11 * 13 * 2 + 17 * 31);
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 5, GRADIENT_BOUND));
    assert!(n > 500, "{n} weights compared");
}

#[test]
fn levels_grow_as_published() {
    let kodak = Ngp::new(shape(&[512, 768], 3), NgpSettings::default()).unwrap();
    // 16 · (256/16)^(l/7).
    assert_eq!(kodak.cells(), [16, 23, 35, 52, 78, 115, 172, 256]);
    let n_dense: usize = [17, 24, 36, 53, 79, 116, 173usize].iter().map(|n| n * n).sum();
    assert_eq!(kodak.n_params(), 16 * 64 + 64 * 64 + 64 * 3 + 2 * (n_dense + (1 << 15)));
}

#[test]
fn cost_counted_by_hand() {
    let field = Ngp::new(shape(&[512, 768], 3), NgpSettings::default()).unwrap();
    let mlp = 16 * 64 + 64 * 64 + 64 * 3;
    let expected = FieldCost {
        n_params: field.n_params(),
        mac_paper: f64::from(mlp),
        // A level: 4 weights of two factors, 4 vertices of 2 features.
        mac_exec: f64::from(mlp + 8 * (4 + 4 * 2)),
        sin_exec: 0.0,
        exp_exec: 0.0,
        table_reads: 32.0,
    };
    assert_eq!(field.cost(), expected);
}

/// Adam leaves what no sample reads: with one sample a step, all but its vertices.
#[test]
fn what_is_not_touched_stays() {
    use asmr_zoo::fit::{FitOptions, Recipe, Stop, fit};
    let shape = shape(&[8, 8], 1);
    let field = Ngp::new(shape.clone(), cases()[0].1).unwrap();
    let recipe = Recipe { batch: Some(1), ..field.recipe() };
    let options = FitOptions::new(recipe, Stop::Steps(1));
    let fitted =
        fit(&field, &common::signal(&shape), &options, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let before = field.init(0);
    let n_changed = fitted.params[field.n_dense()..]
        .iter()
        .zip(&before[field.n_dense()..])
        .filter(|(a, b)| a != b)
        .count();
    assert!((1..=4 * 4 * 2).contains(&n_changed), "{n_changed} features changed");
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 1e-2)), 4 * 6);
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases()[0].clone();
    let n_params = 8 * 8 + 8 * 8 + 8 * 3 + 2 * (16 + 36 + 100 + 128);
    assert!(common::stored(&Config { shape, method: Method::Ngp(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 4 * 10);
    let default = NgpSettings::default();
    let bad = [
        NgpSettings { n_levels: 0, ..default },
        NgpSettings { n_features: 3, ..default },
        NgpSettings { log2_entries: 3, ..default },
        NgpSettings { log2_entries: 60, ..default },
        NgpSettings { coarsest: 0, ..default },
        NgpSettings { finest: 15, ..default },
        NgpSettings { width: 0, ..default },
        NgpSettings { hidden_layers: 0, ..default },
        NgpSettings { n_levels: 32, log2_entries: 24, n_features: 8, finest: 1 << 20, ..default },
    ];
    assert_eq!(bad.len(), 9);
    for settings in bad {
        let refused = Ngp::new(shape(&[32, 32], 1), settings);
        assert!(matches!(refused, Err(FieldError::Setting { .. })), "{settings:?}");
    }
    assert!(matches!(Ngp::new(shape(&[4; 4], 1), default), Err(FieldError::Setting { .. })));
}
