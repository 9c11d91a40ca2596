//! What all baselines are tested for, against a definition in double precision that each test writes from its paper.

#![allow(dead_code, reason = "each test file uses its share")]

use std::ops::ControlFlow;

use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_zoo::baseline::{Baseline, Config, StoreError, restore, store};
use asmr_zoo::field::{Engine, Field, FieldError, Shape, decode};
use asmr_zoo::fit::{FitOptions, Recipe, Stop, fit, fit_from};

/// Differences are taken this far apart: rounding of f64 sums then costs 1e-10 of a loss, curvature less.
const DIFFERENCE: f64 = 1e-6;
/// Of a loss: f32 values near 1 and sums of a few hundred of them.
const LOSS_BOUND: f64 = 1e-5;

/// From weights and a sample's indices to its values.
pub(crate) type Definition<'a> = dyn Fn(&[f64], &[usize]) -> Vec<f64> + 'a;

/// A baseline and its definition.
pub(crate) struct Case<'a, F: Field> {
    pub(crate) field: &'a F,
    pub(crate) params: Vec<f32>,
    /// Values of the sample at these indices.
    pub(crate) definition: &'a Definition<'a>,
    /// What the regulariser adds to the loss.
    pub(crate) penalty: &'a dyn Fn(&[f64]) -> f64,
}

pub(crate) fn no_penalty(_: &[f64]) -> f64 {
    0.0
}

pub(crate) fn shape(extents: &[usize], channels: usize) -> Shape {
    Shape { extents: extents.to_vec(), channels }
}

pub(crate) fn signal(shape: &Shape) -> Signal {
    let info = SignalInfo::plain(shape.extents.clone(), shape.channels, SampleType::U8, None);
    Signal::new(info, Samples::U8(bytes(shape))).unwrap()
}

fn bytes(shape: &Shape) -> Vec<u8> {
    (0..shape.n_samples() * shape.channels).map(|i| (i * 7919 % 251) as u8).collect()
}

/// Row-major, the last axis fastest; written anew here.
pub(crate) fn indices(extents: &[usize], sample: usize) -> Vec<usize> {
    let mut rest = sample;
    let mut out: Vec<usize> = extents
        .iter()
        .rev()
        .map(|&extent| {
            let index = rest % extent;
            rest /= extent;
            index
        })
        .collect();
    out.reverse();
    out
}

pub(crate) fn wide(params: &[f32]) -> Vec<f64> {
    params.iter().map(|&w| f64::from(w)).collect()
}

/// A whole decode at every level is the definition; gives the values compared.
pub(crate) fn outputs<F: Field>(case: &Case<'_, F>, bound: f64) -> usize {
    let shape = case.field.shape();
    assert_eq!(case.params.len(), case.field.n_params());
    let (params, mut n_values) = (wide(&case.params), 0);
    let expected: Vec<f64> = (0..shape.n_samples())
        .flat_map(|sample| (case.definition)(&params, &indices(&shape.extents, sample)))
        .collect();
    let spread = expected.iter().fold(0.0f64, |m, &v| m.max((v - expected[0]).abs()));
    assert!(spread > 1e-3, "the test needs values that differ");
    for isa in IsaLevel::available() {
        let values = decode(case.field, &case.params, 0..shape.n_samples(), isa).unwrap();
        assert_eq!(values.len(), expected.len());
        for (i, (&actual, &expected)) in values.iter().zip(&expected).enumerate() {
            let error = (f64::from(actual) - expected).abs();
            assert!(error <= bound, "{isa:?}, value {i}: {actual}, not {expected} (bound {bound})");
            n_values += 1;
        }
        // A range in the middle holds the same bits.
        let range = shape.n_samples() / 3..shape.n_samples() - 1;
        let part = decode(case.field, &case.params, range.clone(), isa).unwrap();
        assert_eq!(part, values[range.start * shape.channels..range.end * shape.channels]);
        // So do some samples of all.
        let some: Vec<u32> = (1..shape.n_samples() as u32).step_by(3).collect();
        let mut part = vec![f32::NAN; some.len() * shape.channels];
        Baseline::decoder_at(case.field, &case.params, some.clone(), isa).unwrap()(&mut part);
        for (sample, part) in some.into_iter().zip(part.chunks_exact(shape.channels)) {
            assert_eq!(
                part,
                &values[sample as usize * shape.channels..][..shape.channels],
                "sample {sample}"
            );
        }
    }
    n_values / IsaLevel::available().len()
}

/// The gradient over a batch out of order is the difference quotient of the definition, for every `stride`-th weight;
/// gives the weights compared. `bound` is of the gradient's largest entry.
pub(crate) fn gradient<F: Field>(case: &Case<'_, F>, stride: usize, bound: f64) -> usize {
    let shape = case.field.shape();
    let (signal, bytes, n) = (signal(shape), bytes(shape), shape.n_samples() as u32);
    // Most of the samples, out of order, some of them twice: 101 shares no factor with the tests' extents.
    let samples: Vec<u32> = (0..n * 4 / 5).map(|i| i * 101 % n).chain([0, 5 % n]).collect();
    let mut gradient = vec![f32::NAN; case.params.len()];
    let mut engine = Engine::new(case.field, &signal, IsaLevel::detect()).unwrap();
    let loss = engine.loss_and_gradient(&case.params, &samples, &mut gradient).unwrap();
    let definition = |params: &[f64]| {
        let mut sum = 0.0;
        for &sample in &samples {
            let values = (case.definition)(params, &indices(&shape.extents, sample as usize));
            let targets = &bytes[sample as usize * shape.channels..];
            sum += values.iter().zip(targets).map(|(v, &b)| (v - f64::from(b) / 255.0).powi(2)).sum::<f64>();
        }
        sum / (samples.len() * shape.channels) as f64 + (case.penalty)(params)
    };
    let mut shifted = wide(&case.params);
    let expected = definition(&shifted);
    let error = (loss.total() - expected).abs();
    assert!(error <= LOSS_BOUND * expected, "loss {}, not {expected}", loss.total());
    let largest = gradient.iter().fold(0.0f64, |m, &g| m.max(f64::from(g).abs()));
    assert!(largest > 1e-5, "the test needs a gradient, not {largest}");
    let mut n_weights = 0;
    for i in (0..case.params.len()).step_by(stride) {
        let at = shifted[i];
        shifted[i] = at + DIFFERENCE;
        let above = definition(&shifted);
        shifted[i] = at - DIFFERENCE;
        let below = definition(&shifted);
        shifted[i] = at;
        let (expected, actual) = ((above - below) / (2.0 * DIFFERENCE), f64::from(gradient[i]));
        assert!(
            (actual - expected).abs() <= bound * largest,
            "weight {i}: {actual}, not {expected} (bound {})",
            bound * largest
        );
        n_weights += 1;
    }
    n_weights
}

/// Fits in batches and full, and decodes, give the same bits on 1, 2, 3 and 8 threads, and lower the loss; gives the
/// fits compared.
pub(crate) fn threads<F: Field>(field: &F, rate: f64) -> usize {
    let signal = signal(field.shape());
    let mut n_fits = 0;
    for batch in [None, Some(100)] {
        let recipe = Recipe { batch, rate, ..field.recipe() };
        let run = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| {
                let mut losses = Vec::new();
                let options = FitOptions { seed: 3, ..FitOptions::new(recipe, Stop::Steps(12)) };
                let fitted = fit(field, &signal, &options, &mut |event| {
                    losses.push(event.loss.mse);
                    ControlFlow::Continue(())
                })
                .unwrap();
                assert_eq!(fitted.steps, 12);
                let values =
                    decode(field, &fitted.params, 0..field.shape().n_samples(), options.isa).unwrap();
                (fitted.params, values, losses)
            })
        };
        let one = run(1);
        assert!(batch.is_some() || one.2[11] < one.2[0], "{:?} does not fall", one.2);
        for n_threads in [2, 3, 8] {
            assert!(run(n_threads) == one, "{n_threads} threads, batch {batch:?}");
            n_fits += 1;
        }
    }
    n_fits
}

/// What is stored comes back, and nothing damaged does; gives the damaged files tried.
pub(crate) fn stored(config: &Config, n_params: usize) -> usize {
    let field = config.build().unwrap();
    assert_eq!(field.n_params(), n_params);
    let params = field.init(7);
    assert_eq!(params, field.init(7));
    // An explicit grid begins the same for every seed.
    assert!(params != field.init(8) || params.iter().all(|&w| w == 0.5));
    let bytes = store(config, &params).unwrap();
    assert_eq!(restore(&bytes).unwrap(), (config.clone(), params.clone()));
    assert!(matches!(store(config, &params[1..]), Err(FieldError::Params { .. })));
    let mut n_damaged = 0;
    for end in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        assert!(restore(&bytes[..end]).is_err(), "cut at {end}");
        n_damaged += 1;
    }
    for at in (0..bytes.len()).step_by(bytes.len() / 50 + 1) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(restore(&damaged).is_err(), "byte {at}");
        n_damaged += 1;
    }
    // Sound checksums around settings of another field.
    let rewritten = |config: &Config| {
        let mut body = bytes[..8].to_vec();
        let json = serde_json::to_vec(config).unwrap();
        body.extend((json.len() as u32).to_le_bytes());
        body.extend(json);
        body.extend(params.iter().flat_map(|w| w.to_le_bytes()));
        body.extend(crc32fast::hash(&body).to_le_bytes());
        body
    };
    assert_eq!(rewritten(config), bytes);
    let mut other = config.clone();
    other.shape.extents = vec![1 << 40; 2];
    assert!(matches!(restore(&rewritten(&other)), Err(StoreError::Field(_))));
    n_damaged
}

/// Wrong calls are answered, not panicked at.
pub(crate) fn wrong_calls<F: Field>(field: &F) -> usize {
    let right = signal(field.shape());
    let wrong = signal(&shape(&[3, 3], field.shape().channels + 1));
    let isa = IsaLevel::detect();
    assert!(matches!(Engine::new(field, &wrong, isa), Err(FieldError::Signal { .. })));
    let mut engine = Engine::new(field, &right, isa).unwrap();
    let params = field.init(1);
    let mut gradient = vec![0.0; params.len()];
    let n_samples = field.shape().n_samples();
    let outside = engine.loss_and_gradient(&params, &[n_samples as u32], &mut gradient);
    assert!(matches!(outside, Err(FieldError::Sample { .. })));
    assert_eq!(engine.loss_and_gradient(&params, &[], &mut gradient), Err(FieldError::EmptyBatch));
    let short = engine.loss_and_gradient(&params[1..], &[0], &mut gradient);
    assert!(matches!(short, Err(FieldError::Params { .. })));
    assert!(matches!(decode(field, &params, 0..n_samples + 1, isa), Err(FieldError::Sample { .. })));
    assert!(matches!(decode(field, &params[1..], 0..1, isa), Err(FieldError::Params { .. })));
    let silent = &mut |_: &_| ControlFlow::Continue(());
    for (rate, batch) in [(f64::NAN, None), (0.0, None), (1e-3, Some(0))] {
        let recipe = Recipe { rate, batch, ..field.recipe() };
        let fitted = fit(field, &right, &FitOptions::new(recipe, Stop::Steps(1)), silent);
        assert!(matches!(fitted, Err(FieldError::Setting { .. })), "rate {rate}, batch {batch:?}");
    }
    let options = FitOptions::new(field.recipe(), Stop::Steps(1));
    let few = fit_from(field, &right, vec![0.0; 1], &options, silent);
    assert!(matches!(few, Err(FieldError::Params { .. })));
    7 + 3
}

/// Dense layers from a flat slice, `W` as `[out, in]` and then `b` if `biased`, in double precision.
pub(crate) fn dense_layers(
    params: &[f64],
    mut z: Vec<f64>,
    widths: &[usize],
    biased: bool,
    mut activation: impl FnMut(f64) -> f64,
) -> Vec<f64> {
    let mut rest = params;
    for (layer, &n) in widths.iter().enumerate() {
        let (weights, after) = rest.split_at(n * z.len());
        let (biases, after) = after.split_at(if biased { n } else { 0 });
        rest = after;
        z = weights
            .chunks_exact(z.len())
            .enumerate()
            .map(|(j, row)| {
                let sum: f64 = row.iter().zip(&z).map(|(w, z)| w * z).sum();
                let sum = sum + biases.get(j).unwrap_or(&0.0);
                if layer + 1 == widths.len() { sum } else { activation(sum) }
            })
            .collect();
    }
    assert!(rest.is_empty());
    z
}

/// `x` and the sines and cosines of `2^i π x`.
pub(crate) fn encoded(x: f64, n_frequencies: usize) -> Vec<f64> {
    let angle = |i: usize| 2f64.powi(i as i32) * std::f64::consts::PI * x;
    let waves = (0..n_frequencies).flat_map(|i| [angle(i).sin(), angle(i).cos()]);
    std::iter::once(x).chain(waves).collect()
}
