//! ASMR without sharing against the definition of ASMR, and against ASMR with it.

mod common;

use std::ops::ControlFlow;

use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig, Role};
use asmr::partition::{Partition, parse_bases};
use asmr::reference::evaluate;
use asmr_kernels::IsaLevel;
use asmr_zoo::baseline::{Config, Method};
use asmr_zoo::field::{Engine, Field, FieldError, Shape, decode};
use asmr_zoo::fit::{FitOptions, StepEvent, Stop, fit};
use asmr_zoo::siren::{Siren, SirenSettings};
use asmr_zoo::unshared::{Backbone, Unshared, UnsharedSettings};
use common::{Case, no_penalty, shape};

/// Initial phases reach some 1,200 rad; half a unit in the last place of that is 6e-5, and the output layer's weights are small.
const OUTPUT_BOUND: f64 = 1e-4;
/// Of the largest entry of the gradient, as phases are good to 1e-4.
const GRADIENT_BOUND: f64 = 1e-3;

fn cases() -> Vec<(Shape, UnsharedSettings)> {
    [
        (vec![19, 23], 1, "2,5,2;4,3,2", 5),
        (vec![19, 23], 3, "19,1;1,23", 16),
        (vec![12, 5, 7], 2, "3,2,2;5,1,1;1,7,1", 9),
    ]
    .into_iter()
    .map(|(extents, channels, bases, width)| (shape(&extents, channels), settings(bases, width)))
    .collect()
}

fn settings(bases: &str, width: usize) -> UnsharedSettings {
    UnsharedSettings { bases: bases.to_owned(), width, omega_0: 30.0, backbone: Backbone::Fitted }
}

fn network(shape: &Shape, settings: &UnsharedSettings) -> NetworkConfig {
    NetworkConfig {
        partition: Partition::new(&shape.extents, &parse_bases(&settings.bases).unwrap()).unwrap(),
        channels: shape.channels,
        width: settings.width,
        omega_0: settings.omega_0,
        modulator: Modulator::Linear,
    }
}

fn each(mut test: impl FnMut(&Case<'_, Unshared>) -> usize) -> usize {
    cases()
        .into_iter()
        .map(|(shape, settings)| {
            let field = Unshared::new(shape.clone(), &settings).unwrap();
            let network = network(&shape, &settings);
            let definition = |params: &[f64], at: &[usize]| {
                let mut position = [0; 4];
                for (to, &index) in position.iter_mut().zip(at) {
                    *to = index as u64;
                }
                evaluate(&network, params, &position)
            };
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
    assert_eq!(each(|case| common::outputs(case, OUTPUT_BOUND)), 19 * 23 * (1 + 3) + 12 * 5 * 7 * 2);
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n = each(|case| common::gradient(case, 1, GRADIENT_BOUND));
    // W and b of each layer, and modulators.
    let expected =
        (5 * 3 + 5 * 6 + 2 * 5 * 2 + 6) + (16 * 3 + 16 * 2 + 17 * 3) + (9 * 4 + 9 * 10 + 2 * 9 * 3 + 20);
    assert_eq!(n, expected);
}

#[test]
fn values_are_those_with_sharing() {
    let mut n_values = 0;
    for (shape, settings) in cases() {
        let field = Unshared::new(shape.clone(), &settings).unwrap();
        let params = field.init(5);
        let unshared = decode(&field, &params, 0..shape.n_samples(), IsaLevel::detect()).unwrap();
        let network = Network::new(network(&shape, &settings), params).unwrap();
        let mut shared = vec![0.0f32; unshared.len()];
        Decoder::new(&network).decode(&Request::whole(&network.config().partition), &mut shared).unwrap();
        for (a, b) in unshared.iter().zip(&shared) {
            assert!(f64::from(a - b).abs() <= 2.0 * OUTPUT_BOUND, "{a} and {b}");
            n_values += 1;
        }
    }
    assert_eq!(n_values, 19 * 23 * (1 + 3) + 12 * 5 * 7 * 2);
}

#[test]
fn frozen_layers_have_no_gradient() {
    let (shape, settings) = cases().remove(0);
    let field =
        Unshared::new(shape.clone(), &UnsharedSettings { backbone: Backbone::Drawn, ..settings.clone() })
            .unwrap();
    let all = Unshared::new(shape.clone(), &settings).unwrap();
    let signal = common::signal(&shape);
    let params = field.init(1);
    let gradient = |field: &Unshared| {
        let mut gradient = vec![f32::NAN; params.len()];
        let mut engine = Engine::new(field, &signal, IsaLevel::detect()).unwrap();
        let samples: Vec<u32> = (0..shape.n_samples() as u32).collect();
        engine.loss_and_gradient(&params, &samples, &mut gradient).unwrap();
        gradient
    };
    let (frozen, whole) = (gradient(&field), gradient(&all));
    let mut n_modulators = 0;
    for tensor in network(&shape, &settings).tensors() {
        let (frozen, whole) = (&frozen[tensor.range()], &whole[tensor.range()]);
        if matches!(tensor.role, Role::Modulator(_)) {
            assert_eq!(frozen, whole, "{}", tensor.name);
            n_modulators += 1;
        } else {
            assert!(frozen.iter().all(|g| *g == 0.0) && whole.iter().any(|g| *g != 0.0), "{}", tensor.name);
        }
    }
    assert_eq!(n_modulators, 2);
}

#[test]
fn a_pretrained_backbone_is_a_siren() {
    let (shape, settings) = cases().remove(0);
    let settings = UnsharedSettings { backbone: Backbone::Pretrained, ..settings };
    let field = Unshared::new(shape.clone(), &settings).unwrap();
    let signal = common::signal(&shape);
    let options = FitOptions::new(field.recipe(), Stop::Steps(7));
    let mut n_told = 0;
    let mut on_step = |_: &StepEvent| {
        n_told += 1;
        ControlFlow::Continue(())
    };
    let fitted = fit(&field, &signal, &options, &mut on_step).unwrap();
    assert_eq!((fitted.steps, n_told), (7, 14));
    let siren = SirenSettings { width: settings.width, layers: 3, ..SirenSettings::default() };
    let siren = Siren::new(shape.clone(), siren).unwrap();
    let before = fit(&siren, &signal, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    let (drawn, mut layers, mut n_modulators) = (field.init(0), Vec::new(), 0);
    for tensor in network(&shape, &settings).tensors() {
        let weights = &fitted.params[tensor.range()];
        if matches!(tensor.role, Role::Modulator(_)) {
            assert_ne!(weights, &drawn[tensor.range()], "{}", tensor.name);
            n_modulators += 1;
        } else {
            layers.extend_from_slice(weights);
        }
    }
    assert_eq!(n_modulators, 2);
    assert_eq!(layers, before.params);
}

#[test]
fn cost_counted_by_hand() {
    let field = Unshared::new(shape(&[512, 512], 1), &settings("4,4,4,8;4,4,4,8", 256)).unwrap();
    let cost = field.cost();
    // 2 · 256 + 2 · 256² + 256 and three modulators of 2 · 256.
    assert_eq!(cost.mac_exec, 131_840.0 + 1536.0);
    // A SIREN's 132,609 of the paper's table, three modulators, and three times 256 additions of them.
    assert_eq!(cost.mac_paper, 132_609.0 + 1536.0 + 768.0);
    assert_eq!((cost.n_params, cost.sin_exec), (132_609 + 1536, 768.0));
}

#[test]
fn the_same_on_any_number_of_threads() {
    assert_eq!(each(|case| common::threads(case.field, 1e-5)), 3 * 6);
}

#[test]
fn what_is_stored_comes_back() {
    let (shape, settings) = cases().remove(0);
    let n_params = 5 * 3 + 5 * 6 + 2 * 5 * 2 + 6;
    assert!(common::stored(&Config { shape, method: Method::Unshared(settings) }, n_params) > 80);
}

#[test]
fn bad_input_is_an_error() {
    assert_eq!(each(|case| common::wrong_calls(case.field)), 30);
    let good = settings("2,2;2,2", 4);
    let with = |bases: &str| UnsharedSettings { bases: bases.to_owned(), ..good.clone() };
    let bad = [
        (shape(&[], 1), good.clone()),
        (shape(&[4, 4], 0), good.clone()),
        (shape(&[4, 4], 1), UnsharedSettings { width: 0, ..good.clone() }),
        (shape(&[4, 4], 1), UnsharedSettings { omega_0: f32::NAN, ..good.clone() }),
        (shape(&[4, 4], 1), with("2,2")),
        (shape(&[4, 4], 1), with("2,x;2,2")),
        (shape(&[4, 4], 1), with("2,1;2,2")),
        (shape(&[4, 4], 1), with("4;4")),
    ];
    assert_eq!(bad.len(), 8);
    for (shape, settings) in bad {
        assert!(matches!(Unshared::new(shape, &settings), Err(FieldError::Setting { .. })), "{settings:?}");
    }
}
