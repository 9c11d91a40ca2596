//! Levels of experts against their definition.

mod common;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use asmr_zoo::loe::{Loe, LoeSettings};
use common::{Case, encoded, no_penalty, shape};

/// f32 values near 1 through a few narrow layers.
const OUTPUT_BOUND: f64 = 2e-5;
/// Of the largest entry of the gradient: a rectifier's input that rounds across 0 changes single samples' shares.
const GRADIENT_BOUND: f64 = 1e-3;

fn cases() -> Vec<(Shape, LoeSettings)> {
    let settings = |tiles: &[&[usize]], width, n_frequencies, slope| LoeSettings {
        tiles: tiles.iter().map(|layer| layer.to_vec()).collect(),
        width,
        n_frequencies,
        slope,
    };
    vec![
        // Tiles that do not divide the extents, more samples than are evaluated together.
        (shape(&[49, 53], 3), settings(&[&[2, 3], &[4, 2], &[2, 2]], 6, 3, 0.2)),
        (shape(&[311], 1), settings(&[&[5], &[7]], 9, 5, 0.0)),
        (shape(&[7, 5, 9], 2), settings(&[&[2, 1, 3]], 5, 0, 0.2)),
    ]
}

fn definition(shape: &Shape, settings: &LoeSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let x: Vec<f64> = at.iter().zip(&shape.extents).map(|(&i, &n)| i as f64 / n as f64).collect();
    let mut z: Vec<f64> = x.iter().flat_map(|x| encoded(2.0 * x - 1.0, settings.n_frequencies)).collect();
    let (mut rest, mut scale) = (params, vec![1.0; x.len()]);
    for tiles in &settings.tiles {
        let mut tile = 0;
        for axis in 0..x.len() {
            let t = tiles[axis];
            scale[axis] *= t as f64;
            // 1e-9 mends products that should be whole.
            tile = tile * t + (x[axis] * scale[axis] + 1e-9).floor() as usize % t;
        }
        let n = settings.width * z.len();
        let (weights, after) = rest.split_at(tiles.iter().product::<usize>() * n);
        let (bias, after) = after.split_at(settings.width);
        rest = after;
        z = weights[tile * n..][..n]
            .chunks_exact(z.len())
            .zip(bias)
            .map(|(row, b)| row.iter().zip(&z).map(|(w, z)| w * z).sum::<f64>() + b)
            .map(|sum| sum.max(f64::from(settings.slope) * sum))
            .collect();
    }
    common::dense_layers(rest, z, &[shape.channels], true, |z| z)
}

fn each(mut test: impl FnMut(&Case<'_, Loe>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Loe::new(shape.clone(), settings.clone()).unwrap();
            let definition = |params: &[f64], at: &[usize]| definition(&shape, &settings, params, at);
            test(&Case {
                field: &field,
                params: field.init(3),
                definition: &definition,
                penalty: &no_penalty,
            })
        })
        .sum()
}

#[test]
fn outputs_are_the_definition() {
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 49 * 53 * 3 + 311 + 7 * 5 * 9 * 2);
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 7, GRADIENT_BOUND));
    assert!(n > 150, "{n} weights compared");
}

#[test]
fn cost_counted_by_hand() {
    let field = Loe::new(shape(&[512, 512], 1), LoeSettings::default()).unwrap();
    let expected = FieldCost {
        n_params: 64 * (34 * 24 + 2 * 24 * 24) + 3 * 24 + 25,
        mac_paper: f64::from(35 * 24 + 2 * 25 * 24 + 25),
        mac_exec: f64::from(34 * 24 + 2 * 24 * 24 + 24),
        // 16 for each of 512 + 512 coordinates.
        sin_exec: 16.0 * 1024.0 / 262_144.0,
        exp_exec: 0.0,
        table_reads: 0.0,
    };
    assert_eq!(field.cost(), expected);
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 1e-3)), 3 * 6);
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases()[0].clone();
    let n_params = 6 * 14 * 6 + 8 * 36 + 4 * 36 + 3 * 6 + 7 * 3;
    assert!(common::stored(&Config { shape, method: Method::Loe(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let default = LoeSettings::default();
    let bad = [
        LoeSettings { tiles: vec![], ..default.clone() },
        LoeSettings { tiles: vec![vec![8]], ..default.clone() },
        LoeSettings { tiles: vec![vec![8, 0]], ..default.clone() },
        LoeSettings { tiles: vec![vec![1 << 40, 1 << 40]], ..default.clone() },
        LoeSettings { tiles: vec![vec![1 << 16, 1]; 5], ..default.clone() },
        LoeSettings { width: 0, ..default.clone() },
        LoeSettings { n_frequencies: 21, ..default.clone() },
        LoeSettings { slope: f32::NAN, ..default },
    ];
    assert_eq!(bad.len(), 8);
    for settings in bad {
        let refused = Loe::new(shape(&[32, 32], 1), settings.clone());
        assert!(matches!(refused, Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
