//! WIRE against its definition.

mod common;

use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Field, FieldCost, FieldError, Shape};
use asmr_zoo::wire::{Wire, WireSettings};
use common::{Case, no_penalty, shape};

/// Phases reach some 30 rad and envelopes exponents as large, whose f32 errors the layers pass on 20-fold each.
const OUTPUT_BOUND: f64 = 1e-4;
/// Of the largest entry of the gradient; as above.
const GRADIENT_BOUND: f64 = 5e-4;

fn cases() -> Vec<(Shape, WireSettings)> {
    vec![
        (shape(&[19, 23], 3), WireSettings { width: 12, layers: 3, omega_0: 10.0, scale: 5.0 }),
        (shape(&[311], 1), WireSettings { width: 23, layers: 2, omega_0: 20.0, scale: 20.0 }),
        (shape(&[7, 5, 9], 2), WireSettings { width: 10, layers: 4, omega_0: 6.0, scale: 3.0 }),
    ]
}

#[derive(Clone, Copy)]
struct Complex(f64, f64);

impl Complex {
    fn times(self, other: Self) -> Self {
        Self(self.0 * other.0 - self.1 * other.1, self.0 * other.1 + self.1 * other.0)
    }

    fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }

    /// exp(jωz - |sz|²).
    fn gabor(self, omega: f64, scale: f64) -> Self {
        let jwz = Self(0.0, omega).times(self);
        let modulus = (jwz.0 - scale.powi(2) * (self.0.powi(2) + self.1.powi(2))).exp();
        Self(modulus * jwz.1.cos(), modulus * jwz.1.sin())
    }
}

fn definition(shape: &Shape, settings: WireSettings, params: &[f64], at: &[usize]) -> Vec<f64> {
    let (omega, scale) = (f64::from(settings.omega_0), f64::from(settings.scale));
    let h = (settings.width as f64 / 2f64.sqrt()) as usize;
    let mut z: Vec<Complex> = at
        .iter()
        .zip(&shape.extents)
        .map(|(&i, &n)| Complex(2.0 * i as f64 / (n as f64 - 1.0) - 1.0, 0.0))
        .collect();
    let mut rest = params;
    let mut take = |n: usize| {
        let (part, after) = rest.split_at(n);
        rest = after;
        part
    };
    for layer in 0..settings.layers {
        let (first, last) = (layer == 0, layer + 1 == settings.layers);
        let n = if last { shape.channels } else { h };
        let nothing = vec![0.0; n * z.len()];
        let re = take(n * z.len());
        let im = if first { &nothing[..] } else { take(n * z.len()) };
        let bias_re = take(n);
        let bias_im = if first || last { &nothing[..n.min(nothing.len())] } else { take(n) };
        z = (0..n)
            .map(|k| {
                let row = k * z.len()..(k + 1) * z.len();
                let bias = Complex(bias_re[k], *bias_im.get(k).unwrap_or(&0.0));
                let weights = re[row.clone()].iter().zip(&im[row]).map(|(&re, &im)| Complex(re, im));
                let sum = weights.zip(&z).fold(bias, |sum, (w, &z)| sum.plus(w.times(z)));
                if last { sum } else { sum.gabor(omega, scale) }
            })
            .collect();
    }
    assert!(rest.is_empty());
    z.into_iter().map(|y| y.0).collect()
}

fn each(mut test: impl FnMut(&Case<'_, Wire>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Wire::new(shape.clone(), settings).unwrap();
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

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 3, GRADIENT_BOUND));
    assert!(n > 150, "{n} weights compared");
}

#[test]
fn cost_counted_by_hand() {
    let field = Wire::new(shape(&[512, 768], 3), WireSettings::default()).unwrap();
    assert_eq!(field.n_neurons(), 181);
    let expected = FieldCost {
        n_params: 3 * 181 + 2 * 2 * 182 * 181 + 363 * 3,
        mac_paper: f64::from(3 * 181 + 2 * (4 * 181 * 181 + 2 * 181) + 363 * 3),
        mac_exec: f64::from(4 * 181 + 2 * 4 * 181 * 181 + 362 * 3 + 5 * 3 * 181),
        sin_exec: 6.0 * 181.0,
        exp_exec: 3.0 * 181.0,
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
    let n_params = 3 * 8 + 2 * 9 * 8 + 17 * 3;
    assert!(common::stored(&Config { shape, method: Method::Wire(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let default = WireSettings::default();
    let bad = [
        WireSettings { width: 1, ..default },
        WireSettings { layers: 1, ..default },
        WireSettings { omega_0: 0.0, ..default },
        WireSettings { scale: f32::INFINITY, ..default },
        WireSettings { width: 1 << 14, layers: 64, ..default },
    ];
    assert_eq!(bad.len(), 5);
    for settings in bad {
        let refused = Wire::new(shape(&[32, 32], 1), settings);
        assert!(matches!(refused, Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
