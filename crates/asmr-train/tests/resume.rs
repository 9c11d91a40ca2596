//! Fits that are left and gone on with, in one process or through checkpoints.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use asmr::network::{Modulator, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo};
use asmr_train::checkpoint::{CheckpointError, Header};
use asmr_train::config::{Algorithm, FitConfig, Preset};
use asmr_train::fit::{Control, Ending, Fit, FitError, FitEvent, Fitted, fit};

fn picture(side: usize, channels: usize) -> Signal {
    let info = SignalInfo::plain(vec![side, side], channels, SampleType::U8, None);
    let value = |i: usize| {
        let (y, x, ch) = (i / channels / side, i / channels % side, i % channels);
        let wave = (y as f64 * 0.21 + ch as f64).sin() * (x as f64 * 0.13).cos();
        (127.5 + 90.0 * wave + ((x * 7 + y * 3) % 11) as f64) as u8
    };
    Signal::new(info, Samples::U8((0..side * side * channels).map(value).collect())).unwrap()
}

fn network(signal: &Signal, bases: &str, width: usize) -> NetworkConfig {
    let info = signal.info();
    let partition = Partition::new(&info.extents, &parse_bases(bases).unwrap()).unwrap();
    NetworkConfig { partition, channels: info.channels, width, omega_0: 30.0, modulator: Modulator::Linear }
}

/// Runs on until `stop_at` updates are made, or the end.
fn run_until(
    fit: &mut Fit<'_>,
    stop_at: u32,
    target_psnr_db: Option<f64>,
    events: &mut Vec<FitEvent>,
) -> Ending {
    let stop = AtomicBool::new(stop_at == fit.steps());
    let control = Control { stop: Some(&stop), target_psnr_db, ..Control::default() };
    fit.run(&control, &mut |event| {
        let (FitEvent::Step { step, .. } | FitEvent::Recovered { step, .. }) = event;
        stop.store(step == stop_at, Ordering::Relaxed);
        events.push(event);
    })
    .unwrap()
}

/// The fit, killed and resumed at each of `kills`; its events too.
fn interrupted(
    signal: &Signal,
    network: &NetworkConfig,
    config: &FitConfig,
    target: Option<f64>,
    kills: &[u32],
) -> (Fitted, Vec<FitEvent>) {
    let mut events = Vec::new();
    let mut checkpoint = Vec::new();
    let mut fit = Fit::new(signal, network, config).unwrap();
    for &kill in kills {
        run_until(&mut fit, kill, target, &mut events);
        checkpoint.clear();
        fit.write_checkpoint(&mut checkpoint).unwrap();
        fit = Fit::resume(signal, network, config, &mut &checkpoint[..]).unwrap();
    }
    let ending = run_until(&mut fit, u32::MAX, target, &mut events);
    (fit.finish(ending).unwrap(), events)
}

fn assert_same(a: &(Fitted, Vec<FitEvent>), b: &(Fitted, Vec<FitEvent>), what: &str) {
    let first = a.1.iter().zip(&b.1).find(|(a, b)| a != b);
    assert!(first.is_none() && a.1.len() == b.1.len(), "{what}: the first event that differs: {first:?}");
    let bits = |f: &Fitted| f.network.params().iter().map(|w| w.to_bits()).collect::<Vec<_>>();
    assert!(bits(&a.0) == bits(&b.0), "{what}: weights");
    assert_eq!((a.0.steps, a.0.ending, a.0.recoveries), (b.0.steps, b.0.ending, b.0.recoveries), "{what}");
}

#[test]
fn a_resumed_fit_is_the_same_to_the_bit() {
    let signal = picture(60, 3);
    let mut n_cases = 0;
    for modulator in [Modulator::Linear, Modulator::Nonlinear] {
        let network = NetworkConfig { modulator, ..network(&signal, "3,4,5;2,5,6", 24) };
        for algorithm in [Algorithm::Adam, Algorithm::Soap] {
            for batch in [1.0, 0.25, 0.1] {
                let base = FitConfig::preset(Preset::Default, &network);
                let config = FitConfig { algorithm, batch, steps: 60, warmup_steps: 16, seed: 4, ..base };
                let whole = interrupted(&signal, &network, &config, None, &[]);
                assert_eq!(whole.0.ending, Ending::Finished);
                assert_eq!(whole.0.steps, 60);
                // At the start, in the middle of epochs, about copies of good states and refreshed bases, at the end.
                for kills in [&[0][..], &[1], &[4, 7, 12], &[25], &[26, 41], &[59], &[60], &[60, 60]] {
                    let resumed = interrupted(&signal, &network, &config, None, kills);
                    assert_same(
                        &whole,
                        &resumed,
                        &format!("{algorithm:?}, batch {batch}, killed at {kills:?}"),
                    );
                    n_cases += 1;
                }
            }
        }
    }
    assert_eq!(n_cases, 2 * 2 * 3 * 8);
}

#[test]
fn a_resumed_fit_reaches_its_target_at_the_same_step() {
    let signal = picture(64, 3);
    let network = network(&signal, "4,4,4;4,4,4", 48);
    let mut n_cases = 0;
    for batch in [1.0, 0.5] {
        let config = FitConfig { batch, steps: 2000, ..FitConfig::preset(Preset::Default, &network) };
        let whole = interrupted(&signal, &network, &config, Some(28.0), &[]);
        assert_eq!(whole.0.ending, Ending::TargetReached, "batch {batch}");
        let end = whole.0.steps;
        for kills in [&[10][..], &[10, end - 1], &[end], &[end, end]] {
            let resumed = interrupted(&signal, &network, &config, Some(28.0), kills);
            assert_same(&whole, &resumed, &format!("batch {batch}, killed at {kills:?}"));
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 8);
}

#[test]
fn a_resumed_fit_is_set_back_at_the_same_steps() {
    let signal = picture(64, 3);
    let network = network(&signal, "2,2,2,8;2,2,2,8", 64);
    let base = FitConfig::preset(Preset::Default, &network);
    let config = FitConfig { algorithm: Algorithm::Adam, rate: 0.03, warmup_steps: 300, steps: 400, ..base };
    let whole = interrupted(&signal, &network, &config, None, &[]);
    assert!(whole.0.recoveries > 0, "Adam at a rate of 0.03 diverges");
    let first = whole.1.iter().find_map(|event| match event {
        FitEvent::Recovered { step, .. } => Some(*step),
        FitEvent::Step { .. } => None,
    });
    let first = first.unwrap();
    let kills = [[first - 10, first - 1], [first, first + 1], [first + 5, first + 30]];
    for kills in &kills {
        let resumed = interrupted(&signal, &network, &config, None, kills);
        assert_same(&whole, &resumed, &format!("killed at {kills:?}, set back at {first}"));
    }
}

#[test]
fn an_exact_fit_stays_finished() {
    let info = SignalInfo::plain(vec![37, 1], 1, SampleType::U8, None);
    let signal = Signal::new(info, Samples::U8(vec![0; 37])).unwrap();
    let network = network(&signal, "4,10;1,1", 16);
    let base = FitConfig::preset(Preset::Default, &network);
    // Nothing to learn: all weights of an output layer that starts at the mean see no gradient but rounding's.
    let config = FitConfig { modulation_scale: 0.0, ..base };
    let whole = interrupted(&signal, &network, &config, None, &[]);
    assert_same(&whole, &interrupted(&signal, &network, &config, None, &[0, whole.0.steps]), "constant");
}

#[test]
fn leaving_and_going_on_in_one_process_changes_nothing() {
    let signal = picture(60, 3);
    let network = network(&signal, "3,4,5;2,5,6", 24);
    let config = FitConfig { batch: 0.25, steps: 40, ..FitConfig::preset(Preset::Default, &network) };
    let whole = fit(&signal, &network, &config, &Control::default(), &mut |_| {}).unwrap();
    let mut fit = Fit::new(&signal, &network, &config).unwrap();
    let mut n_pauses = 0;
    let ending = loop {
        match fit.run_for(Duration::ZERO, &Control::default(), &mut |_| {}).unwrap() {
            Some(ending) => break ending,
            None => n_pauses += 1,
        }
    };
    assert_eq!((ending, n_pauses), (Ending::Finished, 40));
    let fitted = fit.finish(ending).unwrap();
    assert_eq!(fitted.network.params(), whole.network.params());
}

#[test]
fn time_counts_over_all_runs() {
    let signal = picture(64, 1);
    let network = network(&signal, "4,4,4;4,4,4", 16);
    let config = FitConfig { steps: 1_000_000_000, ..FitConfig::preset(Preset::Default, &network) };
    let limit = Duration::from_millis(300);
    let control = Control { time_limit: Some(limit), ..Control::default() };
    let mut fit = Fit::new(&signal, &network, &config).unwrap();
    assert_eq!(fit.run(&control, &mut |_| {}), Ok(Ending::TimeUp));
    let mut checkpoint = Vec::new();
    fit.write_checkpoint(&mut checkpoint).unwrap();
    let steps = fit.steps();
    let mut resumed = Fit::resume(&signal, &network, &config, &mut &checkpoint[..]).unwrap();
    assert_eq!(resumed.run(&control, &mut |_| {}), Ok(Ending::TimeUp));
    assert_eq!(resumed.steps(), steps, "no time was left");
    assert!(resumed.elapsed_s() >= limit.as_secs_f64());
    // A longer limit goes on.
    let control = Control { time_limit: Some(2 * limit), ..Control::default() };
    assert_eq!(resumed.run(&control, &mut |_| {}), Ok(Ending::TimeUp));
    assert!(resumed.steps() > steps);
    let fitted = resumed.finish(Ending::TimeUp).unwrap();
    assert!((0.6..20.0).contains(&fitted.elapsed_s), "{}", fitted.elapsed_s);
}

/// A fit in its middle: signal, shape, settings and checkpoint.
fn middle() -> (Signal, NetworkConfig, FitConfig, Vec<u8>) {
    let signal = picture(30, 1);
    let network = network(&signal, "3,2,5;3,2,5", 6);
    let config = FitConfig { batch: 0.25, steps: 40, ..FitConfig::preset(Preset::Default, &network) };
    let mut fit = Fit::new(&signal, &network, &config).unwrap();
    run_until(&mut fit, 30, None, &mut Vec::new());
    let mut checkpoint = Vec::new();
    fit.write_checkpoint(&mut checkpoint).unwrap();
    (signal, network, config, checkpoint)
}

fn refusal(signal: &Signal, network: &NetworkConfig, config: &FitConfig, bytes: &[u8]) -> CheckpointError {
    match Fit::resume(signal, network, config, &mut &bytes[..]) {
        Err(FitError::Checkpoint(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the checkpoint was taken"),
    }
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let (signal, network, config, checkpoint) = middle();
    assert!(Fit::resume(&signal, &network, &config, &mut &checkpoint[..]).is_ok());
    let mut n_cases = 0;
    // Every bit of the first bytes, one bit of every later byte.
    for i in 0..checkpoint.len() {
        for bit in if i < 64 { 0..8 } else { i % 8..i % 8 + 1 } {
            let mut bytes = checkpoint.clone();
            bytes[i] ^= 1 << bit;
            let error = refusal(&signal, &network, &config, &bytes);
            let is_right = match error {
                CheckpointError::Magic => i < 8,
                CheckpointError::Version(_) => (8..12).contains(&i),
                CheckpointError::Damaged(_) | CheckpointError::Truncated(_) => i >= 12,
                _ => false,
            };
            assert!(is_right, "byte {i}: {error:?}");
            n_cases += 1;
        }
    }
    assert!(n_cases > 5000, "{n_cases}");
    for length in 0..checkpoint.len() {
        match (length, refusal(&signal, &network, &config, &checkpoint[..length])) {
            (0..8, CheckpointError::Magic) | (8.., CheckpointError::Truncated(_)) => {}
            (_, error) => panic!("{length} bytes: {error:?}"),
        }
    }
    let longer = [&checkpoint[..], &[0]].concat();
    assert!(matches!(refusal(&signal, &network, &config, &longer), CheckpointError::Damaged(_)));
}

#[test]
fn lengths_past_all_memory_are_refused() {
    let (signal, network, config, mut checkpoint) = middle();
    // The header's length, then that of the first section of the state.
    let header_len = u64::from_le_bytes(checkpoint[16..24].try_into().unwrap()) as usize;
    for place in [16, 24 + header_len + 4 + 4] {
        let right = checkpoint[place..place + 8].to_owned();
        checkpoint[place..place + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = refusal(&signal, &network, &config, &checkpoint);
        assert!(matches!(error, CheckpointError::Damaged(_)), "{error:?}");
        checkpoint[place..place + 8].copy_from_slice(&right);
    }
    assert!(Fit::resume(&signal, &network, &config, &mut &checkpoint[..]).is_ok());
}

#[test]
fn another_fits_checkpoint_is_refused() {
    let (signal, network, config, checkpoint) = middle();
    let wider = NetworkConfig { width: 7, ..network.clone() };
    let error = refusal(&signal, &wider, &config, &checkpoint);
    assert_eq!(error, CheckpointError::Foreign("another network"));
    for other in [
        FitConfig { seed: 1, ..config.clone() },
        FitConfig { rate: config.rate.next_up(), ..config.clone() },
        FitConfig { steps: 41, ..config.clone() },
        FitConfig { algorithm: Algorithm::Adam, ..config.clone() },
    ] {
        assert_eq!(
            refusal(&signal, &network, &other, &checkpoint),
            CheckpointError::Foreign("other settings")
        );
    }
    let Samples::U8(mut values) = signal.samples().clone() else { panic!("8 bit") };
    values.reverse();
    let other = Signal::new(signal.info().clone(), Samples::U8(values)).unwrap();
    assert_eq!(refusal(&other, &network, &config, &checkpoint), CheckpointError::Foreign("another signal"));
    assert_eq!(refusal(&signal, &network, &config, b"\x89PNG\r\n\x1a\n and more"), CheckpointError::Magic);
}

#[test]
fn a_header_tells_which_fit_it_is_to_the_bit() {
    let (_, network, mut config, _) = middle();
    let signal = picture(30, 1);
    // Values that only exact printing and reading bring back.
    config.rate = 0.1 + 0.2;
    config.final_rate = 1.0 / 3.0;
    let mut fit = Fit::new(&signal, &network, &config).unwrap();
    let mut checkpoint = Vec::new();
    fit.write_checkpoint(&mut checkpoint).unwrap();
    let header = Header::read(&mut &checkpoint[..]).unwrap();
    assert_eq!((header.network, header.fit), (network, config));
}
