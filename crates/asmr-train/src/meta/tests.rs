//! The outer gradient against differences of its definition, and what learning is for.

use asmr::partition::Partition;
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};

use super::*;

fn network(modulator: Modulator) -> NetworkConfig {
    let partition = Partition::new(&[8, 12], &[vec![2, 2, 2], vec![2, 3, 2]]).unwrap();
    NetworkConfig { partition, channels: 2, width: 24, omega_0: 30.0, modulator }
}

/// Smooth signals of one family.
fn signal(i: usize) -> Signal {
    let t = i as f64;
    let value = |y: usize, x: usize, c: usize| {
        let (y, x) = (y as f64 / 8.0, x as f64 / 12.0);
        0.5 + 0.3 * (4.0 * x + 2.0 * t + c as f64).sin() * (3.0 * y + 0.7 * t).cos()
    };
    let values = (0..8).flat_map(|y| (0..12).flat_map(move |x| (0..2).map(move |c| value(y, x, c) as f32)));
    Signal::new(SignalInfo::plain(vec![8, 12], 2, SampleType::F32, None), Samples::F32(values.collect()))
        .unwrap()
}

fn learned(signals: &[Signal], network: &NetworkConfig, config: &MetaConfig) -> Result<Base, MetaError> {
    let initial = initial_base(signals, network, config)?;
    meta_train(signals, &initial, config, &AtomicBool::new(false), &mut |_| {})
}

/// `L(θ, φ_K)` by its definition.
fn outer_loss(network: &NetworkConfig, params: &[f32], rates: &[f32], signal: &Signal, steps: u32) -> f64 {
    let mut engine = GradientEngine::new(network, signal, IsaLevel::detect());
    let (mut params, mut gradient) = (params.to_vec(), vec![0.0; params.len()]);
    for _ in 0..steps {
        engine.loss_and_gradient(&params, Batch::Full, &mut gradient);
        for (range, rate) in modulation_ranges(network).into_iter().zip(rates) {
            for i in range {
                params[i] -= rate * gradient[i];
            }
        }
    }
    engine.loss_and_gradient(&params, Batch::Full, &mut gradient).mse
}

/// By central differences over h and h/2, their error of h² taken out.
fn derivative(h: f64, moved: &dyn Fn(f64) -> f64) -> f64 {
    let central = |h: f64| (moved(h) - moved(-h)) / (2.0 * h);
    (4.0 * central(h / 2.0) - central(h)) / 3.0
}

/// The gradient through the inner steps is that of differences of the loss after them, along each tensor and along the rates.
#[test]
fn outer_gradients_are_differences_of_outer_losses() {
    let mut n_cases = 0;
    for modulator in [Modulator::Linear, Modulator::Table, Modulator::Nonlinear] {
        let network = network(modulator);
        let params = Network::init(network.clone(), 3, 0.1).unwrap().into_params();
        let signal = signal(1);
        let rates = initial_rates(std::slice::from_ref(&signal), &network, &params, 3);
        let found = meta_gradient(&signal, &network, &params, &rates, 3);
        assert!((found.mse - outer_loss(&network, &params, &rates, &signal, 3)).abs() < 1e-9);
        let whole = found.gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        for tensor in network.tensors() {
            // Along the gradient, where the difference stands out from rounding.
            let part = &found.gradient[tensor.range()];
            let norm = part.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            // So far that the loss moves by some thousandths: far above rounding, and still nearly straight.
            let h = 4e-3 * found.mse / norm;
            let moved = |by: f64| {
                let mut params = params.clone();
                for (w, g) in params[tensor.range()].iter_mut().zip(part) {
                    *w += (by * f64::from(*g) / norm) as f32;
                }
                outer_loss(&network, &params, &rates, &signal, 3)
            };
            let difference = derivative(h, &moved);
            // The output bias' inner step is Newton's: what its gradient is made of cancels, but for rounding.
            let scale = if tensor.role == Role::OutputBias { whole } else { norm };
            assert!(
                (difference - norm).abs() < 0.01 * scale,
                "{modulator:?} {}: {norm}, not {difference}",
                tensor.name
            );
            n_cases += 1;
        }
        let of_logs: Vec<f64> =
            found.of_rates.iter().zip(&rates).map(|(g, a)| f64::from(*g) * f64::from(*a)).collect();
        let norm = of_logs.iter().map(|g| g * g).sum::<f64>().sqrt();
        let h = 4e-3 * found.mse / norm;
        let moved = |by: f64| {
            let rates: Vec<f32> =
                rates.iter().zip(&of_logs).map(|(a, g)| a * (by * g / norm).exp() as f32).collect();
            outer_loss(&network, &params, &rates, &signal, 3)
        };
        let difference = derivative(h, &moved);
        assert!((difference - norm).abs() < 0.01 * norm, "{modulator:?} rates: {norm}, not {difference}");
    }
    // 2 layers and the output with weight and bias each; 2 linear modulators, 2 · 2 tables, 2 · 6 tensors of small networks.
    assert_eq!(n_cases, 3 * 6 + 2 + 4 + 12);
}

#[test]
fn a_base_fits_unseen_signals_in_a_few_steps() {
    let network = network(Modulator::Linear);
    let signals: Vec<Signal> = (0..24).map(signal).collect();
    let unseen: Vec<Signal> = (100..108).map(signal).collect();
    let learn = |steps| {
        let config = MetaConfig { steps, batch: 4, ..MetaConfig::default() };
        let mut n_events = 0;
        let stop = AtomicBool::new(false);
        let initial = initial_base(&signals, &network, &config).unwrap();
        let base = meta_train(&signals, &initial, &config, &stop, &mut |event| {
            n_events += 1;
            assert_eq!(event.step, n_events);
        });
        assert_eq!(n_events, steps);
        base.unwrap()
    };
    let loss = |base: &Base, steps| {
        let losses = unseen.iter().map(|signal| *base.adapt(signal, steps).unwrap().mse.last().unwrap());
        losses.sum::<f64>() / unseen.len() as f64
    };
    let (first, learned) = (learn(1), learn(600));
    // 2 dB.
    assert!(loss(&learned, 3) < 0.6 * loss(&first, 3), "{} {}", loss(&learned, 3), loss(&first, 3));
    assert!(loss(&learned, 3) < loss(&learned, 1) && loss(&learned, 1) < loss(&learned, 0));
    // A signal's network is the base with its modulation.
    let adapted = learned.adapt(&unseen[0], 3).unwrap();
    let network = learned.with(&adapted.modulation).unwrap();
    assert_eq!(network.params().len(), learned.network().params().len());
    let n_own: usize = modulation_ranges(network.config()).iter().map(Range::len).sum();
    assert_eq!(adapted.modulation.len(), n_own);
    // 2 · 24 biases of sine layers, 2 modulators of 24 · 2, 2 of the output.
    assert_eq!(n_own, 48 + 96 + 2);
}

#[test]
fn threads_do_not_matter() {
    let network = network(Modulator::Table);
    let signals: Vec<Signal> = (0..6).map(signal).collect();
    let config = MetaConfig { steps: 4, batch: 5, ..MetaConfig::default() };
    let on = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| learned(&signals, &network, &config)).unwrap()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn mistakes_are_told() {
    let network = network(Modulator::Linear);
    let run =
        |signals: &[Signal], config: MetaConfig| learned(signals, &network, &config).unwrap_err().to_string();
    let good = MetaConfig { steps: 1, batch: 1, ..MetaConfig::default() };
    let cases = [
        (run(&[], good), "at least 1"),
        (run(&[signal(0)], MetaConfig { steps: 0, ..good }), "steps is 0"),
        (run(&[signal(0)], MetaConfig { batch: 0, ..good }), "batch is 0"),
        (run(&[signal(0)], MetaConfig { inner_steps: 101, ..good }), "inner steps is 101"),
        (run(&[signal(0)], MetaConfig { rate: f64::NAN, ..good }), "NaN"),
        (run(&[signal(0)], MetaConfig { final_rate: 2.0, ..good }), "final rate is 2"),
    ];
    for (said, part) in cases {
        assert!(said.contains(part), "{said}");
    }
    let other =
        Signal::new(SignalInfo::plain(vec![8, 11], 2, SampleType::F32, None), Samples::F32(vec![0.5; 176]));
    let said = run(&[signal(0), other.unwrap()], good);
    assert!(said.contains("signal 1 is [8, 11]"), "{said}");
    let base = learned(&[signal(0)], &network, &good).unwrap();
    assert!(base.with(&[0.0]).unwrap_err().to_string().contains("has 1 values"));
    let n_rates = base.rates().len();
    for (rates, steps, says) in [
        (vec![0.0; n_rates], 3, "an inner rate is 0"),
        (vec![1.0; n_rates - 1], 3, "inner rates"),
        (vec![1.0; n_rates], 0, "inner steps is 0"),
    ] {
        let said = Base::new(base.network().clone(), rates, steps).unwrap_err().to_string();
        assert!(said.contains(says), "{said}");
    }
}
