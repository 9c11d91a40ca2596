//! The SIREN baseline against its definition in double precision, and its gradient against finite differences of
//! that definition.

use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_zoo::siren::{Siren, SirenConfig, SirenEngine, push_coordinates};

const EXTENTS: [usize; 2] = [19, 23];
/// f32 phases reach about 60 rad here; half a unit in the last place of that is 2e-6, and layers pass it on.
const OUTPUT_BOUND: f64 = 5e-5;
/// Of the largest entry of the gradient; differences of the definition are good to 1e-8 of it.
const GRADIENT_BOUND: f64 = 2e-4;

fn shapes() -> Vec<SirenConfig> {
    [(1, 2, 5), (3, 3, 16), (3, 4, 24)]
        .map(|(channels, layers, width)| SirenConfig { axes: 2, channels, width, layers, omega_0: 30.0 })
        .to_vec()
}

/// The definition.
fn evaluate(config: &SirenConfig, params: &[f64], x: &[f32]) -> Vec<f64> {
    let mut z: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mut rest = params;
    for layer in 0..config.layers {
        let last = layer + 1 == config.layers;
        let n = if last { config.channels } else { config.width };
        let (weights, after) = rest.split_at(n * z.len());
        let (biases, after) = after.split_at(n);
        rest = after;
        z = weights
            .chunks_exact(z.len())
            .zip(biases)
            .map(|(row, bias)| {
                let sum = row.iter().zip(&z).map(|(w, z)| w * z).sum::<f64>() + bias;
                if last { sum } else { (f64::from(config.omega_0) * sum).sin() }
            })
            .collect();
    }
    assert!(rest.is_empty());
    z
}

fn coordinates(sample: usize) -> Vec<f32> {
    let mut x = Vec::new();
    push_coordinates(&EXTENTS, sample, &mut x);
    x
}

fn wide(params: &[f32]) -> Vec<f64> {
    params.iter().map(|&w| f64::from(w)).collect()
}

#[test]
fn coordinates_reach_both_ends() {
    assert_eq!(coordinates(0), [-1.0, -1.0]);
    assert_eq!(coordinates(22), [-1.0, 1.0]);
    assert_eq!(coordinates(19 * 23 - 1), [1.0, 1.0]);
    assert_eq!(coordinates(9 * 23 + 11), [0.0, 0.0]);
}

#[test]
fn forward_is_the_definition() {
    let n_samples = EXTENTS[0] * EXTENTS[1];
    let mut n_values = 0;
    for config in shapes() {
        let params = config.init(3);
        assert_eq!(params.len(), config.n_params());
        let x: Vec<f32> = (0..n_samples).flat_map(coordinates).collect();
        for isa in IsaLevel::available() {
            let mut out = vec![0.0; n_samples * config.channels];
            Siren::new(config, &params, isa).evaluate(&x, &mut out);
            for (sample, values) in out.chunks_exact(config.channels).enumerate() {
                let expected = evaluate(&config, &wide(&params), &coordinates(sample));
                for (channel, (&actual, expected)) in values.iter().zip(expected).enumerate() {
                    let error = (f64::from(actual) - expected).abs();
                    assert!(
                        error <= OUTPUT_BOUND,
                        "{config:?} {isa:?} sample {sample} channel {channel}: {actual}, not {expected}"
                    );
                    n_values += 1;
                }
            }
        }
    }
    assert_eq!(n_values, IsaLevel::available().len() * n_samples * (1 + 3 + 3));
}

#[test]
fn gradient_is_the_difference_quotient() {
    let n_samples = EXTENTS[0] * EXTENTS[1];
    let mut n_weights = 0;
    for config in shapes() {
        let bytes: Vec<u8> = (0..n_samples * config.channels).map(|i| (i * 7919 % 251) as u8).collect();
        let info = SignalInfo::plain(EXTENTS.to_vec(), config.channels, SampleType::U8, None);
        let signal = Signal::new(info, Samples::U8(bytes.clone())).unwrap();
        let params = config.init(4);
        // Out of order and not all of them, over more than one tile.
        let samples: Vec<u32> = (0..n_samples as u32).map(|i| i * 100 % n_samples as u32).take(300).collect();
        let mut gradient = vec![f32::NAN; params.len()];
        let loss = SirenEngine::new(config, &signal, IsaLevel::detect()).loss_and_gradient(
            &params,
            &samples,
            &mut gradient,
        );
        let definition = |params: &[f64]| {
            let mut sum = 0.0;
            for &sample in &samples {
                let at = sample as usize * config.channels;
                let values = evaluate(&config, params, &coordinates(sample as usize));
                sum += values
                    .iter()
                    .zip(&bytes[at..])
                    .map(|(v, &b)| (v - f64::from(b) / 255.0).powi(2))
                    .sum::<f64>();
            }
            sum / (samples.len() * config.channels) as f64
        };
        let mut shifted = wide(&params);
        let expected_loss = definition(&shifted);
        assert!((loss - expected_loss).abs() < 1e-5 * expected_loss, "{loss}, not {expected_loss}");
        let largest = gradient.iter().fold(0.0f64, |m, &g| m.max(f64::from(g).abs()));
        assert!(largest > 1e-4, "the test needs a gradient");
        // Every weight of the small network, every seventh of the others.
        for i in (0..params.len()).step_by(if config.width < 10 { 1 } else { 7 }) {
            let (at, h) = (shifted[i], 1e-5);
            shifted[i] = at + h;
            let above = definition(&shifted);
            shifted[i] = at - h;
            let below = definition(&shifted);
            shifted[i] = at;
            let expected = (above - below) / (2.0 * h);
            let error = (f64::from(gradient[i]) - expected).abs();
            assert!(
                error <= GRADIENT_BOUND * largest,
                "{config:?} weight {i}: {}, not {expected} (bound {})",
                gradient[i],
                GRADIENT_BOUND * largest
            );
            n_weights += 1;
        }
    }
    assert!(n_weights > 200, "{n_weights} weights compared");
}
