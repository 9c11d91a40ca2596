//! The Fourier-feature baseline against its definition.

mod common;

use std::f64::consts::TAU;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::ffn::{Ffn, FfnSettings};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use common::{Case, dense_layers, no_penalty, shape};

/// f32 phases reach about 200 rad, whose units in the last place are 1.5e-5, and 2πB is rounded before it meets x.
const OUTPUT_BOUND: f64 = 1e-4;
/// Of the largest entry of the gradient: a rectifier's input that rounds across 0 changes single samples' shares.
const GRADIENT_BOUND: f64 = 1e-3;

fn cases() -> Vec<(Shape, FfnSettings)> {
    vec![
        (shape(&[19, 23], 3), FfnSettings { n_frequencies: 6, sigma: 10.0, width: 9, layers: 3 }),
        (shape(&[311], 1), FfnSettings { n_frequencies: 16, sigma: 3.0, width: 16, layers: 2 }),
        (shape(&[7, 5, 9], 2), FfnSettings { n_frequencies: 5, sigma: 2.0, width: 8, layers: 4 }),
    ]
}

fn definition(shape: &Shape, settings: FfnSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let x: Vec<f64> = at.iter().zip(&shape.extents).map(|(&i, &n)| i as f64 / n as f64).collect();
    let (frequencies, rest) = params.split_at(settings.n_frequencies * x.len());
    let angles: Vec<f64> = frequencies
        .chunks_exact(x.len())
        .map(|row| TAU * row.iter().zip(&x).map(|(b, x)| b * x).sum::<f64>())
        .collect();
    let features = angles.iter().map(|a| a.sin()).chain(angles.iter().map(|a| a.cos())).collect();
    let mut widths = vec![settings.width; settings.layers];
    widths[settings.layers - 1] = shape.channels;
    let y = dense_layers(rest, features, &widths, true, |z| z.max(0.0));
    y.into_iter().map(|y| 1.0 / (1.0 + (-y).exp())).collect()
}

fn each(mut test: impl FnMut(&Case<'_, Ffn>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Ffn::new(shape.clone(), settings).unwrap();
            let definition = |params: &[f64], at: &[usize]| definition(&shape, settings, params, at);
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
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 19 * 23 * 3 + 311 + 7 * 5 * 9 * 2);
}

/// The frequencies' gradient is left at 0, since they stay as they are drawn: they are not compared.
#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| {
        let n_frozen = match case.field.shape().n_axes() {
            2 => 12,
            1 => 16,
            _ => 15,
        };
        let frozen = wide(&case.params[..n_frozen]);
        let held = |params: &[f64], at: &[usize]| {
            let params: Vec<f64> = frozen.iter().chain(&params[n_frozen..]).copied().collect();
            (case.definition)(&params, at)
        };
        let held =
            Case { field: case.field, params: case.params.clone(), definition: &held, penalty: &no_penalty };
        common::gradient(&held, 3, GRADIENT_BOUND)
    });
    assert!(n > 250, "{n} weights compared");
}

use common::wide;

#[test]
fn frequencies_stay_as_they_are_drawn() {
    let field = Ffn::new(shape(&[64, 64], 1), FfnSettings { n_frequencies: 4096, ..FfnSettings::default() });
    let field = field.unwrap();
    let drawn = &field.init(5)[..8192];
    let deviation = (drawn.iter().map(|&b| f64::from(b).powi(2)).sum::<f64>() / 8192.0).sqrt();
    // 4 deviations of the mean of 8,192 squares.
    assert!((deviation - 10.0).abs() < 0.32, "{deviation}");
}

#[test]
fn cost_counted_by_hand() {
    let field = Ffn::new(shape(&[512, 768], 3), FfnSettings::default()).unwrap();
    let n_params = 128 * 2 + 257 * 256 + 2 * 257 * 256 + 257 * 3;
    let expected = FieldCost {
        n_params,
        mac_paper: n_params as f64,
        mac_exec: f64::from(256 + 3 * 65_536 + 768),
        sin_exec: 256.0,
        exp_exec: 3.0,
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
    let n_params = 12 + 13 * 9 + 10 * 9 + 10 * 3;
    assert!(common::stored(&Config { shape, method: Method::Ffn(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let default = FfnSettings::default();
    let bad = [
        FfnSettings { n_frequencies: 0, ..default },
        FfnSettings { sigma: 0.0, ..default },
        FfnSettings { sigma: f64::INFINITY, ..default },
        FfnSettings { width: 0, ..default },
        FfnSettings { layers: 1, ..default },
    ];
    assert_eq!(bad.len(), 5);
    for settings in bad {
        assert!(matches!(Ffn::new(shape(&[4, 4], 1), settings), Err(FieldError::Setting { .. })));
    }
}
