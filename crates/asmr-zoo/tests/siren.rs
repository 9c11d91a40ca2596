//! The SIREN baseline against its definition.

mod common;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use asmr_zoo::siren::{Siren, SirenConfig, SirenSettings};
use common::{Case, dense_layers, no_penalty, shape};

const EXTENTS: [usize; 2] = [19, 23];
/// f32 phases reach about 60 rad here; half a unit in the last place of that is 2e-6, and layers pass it on.
const OUTPUT_BOUND: f64 = 5e-5;
/// Of the largest entry of the gradient; differences of the definition are good to 1e-8 of it.
const GRADIENT_BOUND: f64 = 2e-4;

fn cases() -> Vec<(Shape, SirenSettings)> {
    // The last as for sound.
    [(1, 2, 5, 30.0, false), (3, 3, 16, 30.0, true), (3, 4, 24, 30.0, false), (1, 3, 9, 45.0, true)]
        .map(|(channels, layers, width, first_omega_0, centred)| {
            let settings = SirenSettings { width, layers, omega_0: 30.0, first_omega_0, centred };
            (shape(&EXTENTS, channels), settings)
        })
        .to_vec()
}

fn definition(shape: &Shape, settings: SirenSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let x = at.iter().zip(&shape.extents).map(|(&i, &n)| 2.0 * i as f64 / (n as f64 - 1.0) - 1.0).collect();
    let mut widths = vec![settings.width; settings.layers];
    widths[settings.layers - 1] = shape.channels;
    let (mut n_sines, omega_0) = (0, [settings.first_omega_0, settings.omega_0].map(f64::from));
    let values = dense_layers(params, x, &widths, true, |z| {
        n_sines += 1;
        (omega_0[usize::from(n_sines > settings.width)] * z).sin()
    });
    values.into_iter().map(|y| if settings.centred { f64::midpoint(y, 1.0) } else { y }).collect()
}

fn each(mut test: impl FnMut(&Case<'_, Siren>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Siren::new(shape.clone(), settings).unwrap();
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
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 19 * 23 * (1 + 3 + 3 + 1));
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, if case.params.len() < 100 { 1 } else { 7 }, GRADIENT_BOUND));
    assert!(n > 250, "{n} weights compared");
}

#[test]
fn cost_counted_by_hand() {
    let field = Siren::new(shape(&[512, 512], 1), SirenSettings::default()).unwrap();
    let expected = FieldCost {
        n_params: 3 * 256 + 2 * 257 * 256 + 257,
        // The ASMR paper's table: the SIREN beside 4 levels of width 256.
        mac_paper: 132_609.0,
        mac_exec: 2.0 * 256.0 + 2.0 * 65_536.0 + 256.0,
        sin_exec: 3.0 * 256.0,
        exp_exec: 0.0,
        table_reads: 0.0,
    };
    assert_eq!(field.cost(), expected);
    let config = SirenConfig { axes: 2, channels: 1, width: 256, layers: 4, omega_0: 30.0 };
    assert_eq!(config.n_params(), field.n_params());
    let mut n_params = 0;
    each(|case| {
        n_params += 1;
        assert_eq!(case.field.cost().n_params, case.params.len());
        0
    });
    assert_eq!(n_params, 4);
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 1e-4)), 4 * 6);
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases()[1].clone();
    let n_params = 3 * 16 + 17 * 16 + 17 * 3;
    assert!(common::stored(&Config { shape, method: Method::Siren(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 40);
    let default = SirenSettings::default();
    let bad = [
        (shape(&[], 1), default),
        (shape(&[2; 5], 1), default),
        (shape(&[1 << 20, 1 << 20], 1), default),
        (shape(&[0, 4], 1), default),
        (shape(&[4, 4], 0), default),
        (shape(&[4, 4], 1), SirenSettings { width: 0, ..default }),
        (shape(&[4, 4], 1), SirenSettings { layers: 1, ..default }),
        (shape(&[4, 4], 1), SirenSettings { omega_0: f32::NAN, ..default }),
        (shape(&[4, 4], 1), SirenSettings { first_omega_0: 0.0, ..default }),
        (shape(&[4, 4], 1), SirenSettings { width: 1 << 16, layers: 64, ..default }),
    ];
    assert_eq!(bad.len(), 10);
    for (shape, settings) in bad {
        assert!(matches!(Siren::new(shape, settings), Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
