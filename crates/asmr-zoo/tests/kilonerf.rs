//! The grid of tiny networks against its definition.

mod common;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use asmr_zoo::kilonerf::{KiloNerf, KiloNerfSettings};
use asmr_zoo::mlp::Activation;
use common::{Case, dense_layers, encoded, no_penalty, shape};

/// f32 values near 1 through a few narrow layers; with sines, phases of some 30 rad.
const OUTPUT_BOUND: f64 = 5e-5;
/// Of the largest entry of the gradient: a rectifier's input that rounds across 0 changes single samples' shares.
const GRADIENT_BOUND: f64 = 1e-3;

fn cases() -> Vec<(Shape, KiloNerfSettings)> {
    let settings = |cells: &[usize], width, layers, n_frequencies, activation| KiloNerfSettings {
        cells: cells.to_vec(),
        width,
        layers,
        n_frequencies,
        activation,
    };
    vec![
        // Cells of unequal numbers of samples.
        (shape(&[19, 23], 3), settings(&[3, 4], 5, 3, 4, Activation::Rectifier { slope: 0.2 })),
        (shape(&[40, 36], 1), settings(&[2, 2], 16, 4, 2, Activation::Sine { omega_0: 30.0 })),
        (shape(&[7, 5, 9], 2), settings(&[2, 1, 3], 4, 2, 0, Activation::Rectifier { slope: 0.0 })),
    ]
}

fn definition(shape: &Shape, settings: &KiloNerfSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let (mut cell, mut features) = (0, Vec::new());
    for ((&i, &n), &cells) in at.iter().zip(&shape.extents).zip(&settings.cells) {
        let share = i as f64 / n as f64;
        // 1e-9 mends quotients that should be whole.
        cell = cell * cells + (share * cells as f64 + 1e-9).floor() as usize;
        features.extend(encoded(2.0 * share - 1.0, settings.n_frequencies));
    }
    let mut widths = vec![settings.width; settings.layers];
    widths[settings.layers - 1] = shape.channels;
    let n_params = params.len() / settings.cells.iter().product::<usize>();
    dense_layers(&params[cell * n_params..][..n_params], features, &widths, true, |z| {
        match settings.activation {
            Activation::Sine { omega_0 } => (f64::from(omega_0) * z).sin(),
            Activation::Rectifier { slope } => z.max(f64::from(slope) * z),
        }
    })
}

fn each(mut test: impl FnMut(&Case<'_, KiloNerf>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = KiloNerf::new(shape.clone(), settings.clone()).unwrap();
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
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 19 * 23 * 3 + 40 * 36 + 7 * 5 * 9 * 2);
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 11, GRADIENT_BOUND));
    assert!(n > 300, "{n} weights compared");
}

#[test]
fn cost_counted_by_hand() {
    let settings = KiloNerfSettings::default();
    let field = KiloNerf::new(shape(&[512, 512], 1), settings).unwrap();
    let of_a_cell = 43 * 16 + 2 * 17 * 16 + 17;
    let expected = FieldCost {
        n_params: 256 * of_a_cell,
        mac_paper: of_a_cell as f64,
        mac_exec: f64::from(42 * 16 + 2 * 256 + 16),
        // 20 for each of 512 + 512 coordinates.
        sin_exec: 20.0 * 1024.0 / 262_144.0,
        exp_exec: 0.0,
        table_reads: 0.0,
    };
    assert_eq!(field.cost(), expected);
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 5e-4)), 3 * 6);
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases()[0].clone();
    let n_params = 12 * (19 * 5 + 6 * 5 + 6 * 3);
    assert!(common::stored(&Config { shape, method: Method::KiloNerf(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let default = KiloNerfSettings::default();
    let bad = [
        KiloNerfSettings { cells: vec![16], ..default.clone() },
        KiloNerfSettings { cells: vec![16, 0], ..default.clone() },
        KiloNerfSettings { cells: vec![16, 33], ..default.clone() },
        KiloNerfSettings { width: 0, ..default.clone() },
        KiloNerfSettings { layers: 1, ..default.clone() },
        KiloNerfSettings { n_frequencies: 21, ..default.clone() },
        KiloNerfSettings { activation: Activation::Rectifier { slope: 1.0 }, ..default.clone() },
        KiloNerfSettings { activation: Activation::Sine { omega_0: -1.0 }, ..default },
    ];
    assert_eq!(bad.len(), 8);
    for settings in bad {
        let refused = KiloNerf::new(shape(&[32, 32], 1), settings.clone());
        assert!(matches!(refused, Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
