//! A signal on disk is the signal: every value, wherever it is read, from any number of threads.

use std::thread;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo, Source, ValueRange};
use asmr_media::{Held, MediaError, MemoryReader, SliceReader, Spool, hold};

const TYPES: [SampleType; 8] = [
    SampleType::U8,
    SampleType::I8,
    SampleType::U16,
    SampleType::I16,
    SampleType::U32,
    SampleType::I32,
    SampleType::F32,
    SampleType::F64,
];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: usize) -> usize {
        self.next() as usize % n
    }
}

fn signal(extents: &[usize], channels: usize, sample_type: SampleType, random: &mut Random) -> Signal {
    let n = extents.iter().product::<usize>() * channels;
    let floats: Vec<f32> = (0..n).map(|_| random.below(1 << 24) as f32 / (1 << 24) as f32).collect();
    let (least, greatest) = sample_type.limits();
    // Floats and the wide types do not fill their types.
    let range = match sample_type {
        SampleType::U8 | SampleType::U16 => None,
        SampleType::F32 | SampleType::F64 => Some(ValueRange::of(-3.5, 1e4)),
        _ => Some(ValueRange::of(least / 2.0, greatest / 3.0)),
    };
    let mut info = SignalInfo::plain(extents.to_vec(), channels, sample_type, None);
    info.value_range = range;
    let samples = Samples::from_network(&floats, sample_type, info.scale());
    Signal::new(info, samples).unwrap()
}

fn spooled(signal: &Signal) -> Spool {
    let mut reader = MemoryReader::new(signal.info().clone(), signal.samples().clone());
    Spool::of(&mut reader, None).unwrap()
}

fn assert_run(spool: &dyn Source, signal: &Signal, start: usize, n: usize) {
    let (mut expected, mut actual) = (vec![0.0f32; n], vec![-1.0f32; n]);
    signal.read_scaled(start as u64, &mut expected);
    spool.read_scaled(start as u64, &mut actual);
    assert!(
        expected.iter().zip(&actual).all(|(e, a)| e.to_bits() == a.to_bits()),
        "{:?}: values {start} .. {}",
        signal.info(),
        start + n
    );
}

#[test]
fn every_value_of_every_type_and_shape_is_there() {
    let mut random = Random(1);
    let mut n_signals = 0;
    // Extents below, at and across a brick's; one axis to four.
    let shapes: [(&[usize], usize); 14] = [
        (&[1], 1),
        (&[4096], 1),
        (&[70_001], 2),
        (&[1, 9000], 3),
        (&[9000, 1], 3),
        (&[64, 64], 1),
        (&[65, 129], 1),
        (&[100, 77], 3),
        (&[33, 40], 64),
        (&[5, 31, 33], 3),
        (&[3, 1, 5000], 1),
        (&[2, 5000, 1], 1),
        (&[2, 3, 35, 34], 4),
        (&[700, 900], 3),
    ];
    for sample_type in TYPES {
        for (extents, channels) in shapes {
            let signal = signal(extents, channels, sample_type, &mut random);
            let spool = spooled(&signal);
            assert_eq!(spool.info(), signal.info());
            let n_values = signal.samples().len();
            assert_run(&spool, &signal, 0, n_values);
            for _ in 0..200 {
                let start = random.below(n_values);
                let n = random.below((n_values - start).min(60) + 1);
                assert_run(&spool, &signal, start, n);
            }
            // As slices, in pieces of 1, 2, 3, ... of them, twice at once.
            let (mut first, mut second) = (spool.slices(), spool.slices());
            let (mut left, mut n, slice) = (extents[0], 1, signal.info().slice_values());
            while left > 0 {
                let n_slices = n.min(left);
                let at = (extents[0] - left) * slice;
                let expected = signal.samples().slice(at..at + n_slices * slice);
                assert!(first.read(n_slices).unwrap() == expected);
                assert!(second.read(n_slices).unwrap() == expected);
                left -= n_slices;
                n += 1;
            }
            assert_eq!(spool.failure(), None);
            n_signals += 1;
        }
    }
    assert_eq!(n_signals, 8 * 14);
}

#[test]
fn threads_read_several_signals_at_once() {
    let mut random = Random(2);
    let signals: Vec<_> = [SampleType::U8, SampleType::U16]
        .map(|sample_type| signal(&[300, 500], 3, sample_type, &mut random))
        .into_iter()
        .map(|signal| (spooled(&signal), signal))
        .collect();
    let n_runs: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|seed| {
                let signals = &signals;
                scope.spawn(move || {
                    let mut random = Random(seed);
                    for i in 0..20_000 {
                        let (spool, signal) = &signals[random.below(2)];
                        assert_run(spool, signal, random.below(300 * 1500 - 24), 24);
                        if i % 5000 == 0 {
                            assert_run(spool, signal, 0, 300 * 1500);
                        }
                    }
                    20_000
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(n_runs, 80_000);
}

#[test]
fn small_signals_stay_in_memory() {
    let mut random = Random(3);
    let signal = signal(&[40, 50], 3, SampleType::U16, &mut random);
    let mut n_cases = 0;
    for (limit, in_memory) in [(u64::MAX, true), (12_000, true), (11_999, false), (0, false)] {
        let mut reader = MemoryReader::new(signal.info().clone(), signal.samples().clone());
        let held = hold(&mut reader, limit, None).unwrap();
        assert_eq!(matches!(held, Held::Memory(_)), in_memory, "{limit}");
        assert_eq!(held.info(), signal.info());
        assert_run(&held, &signal, 0, 6000);
        assert_run(&held, &signal, 1234, 99);
        let mut slices = held.slices();
        assert_eq!(slices.info(), signal.info());
        assert_eq!(slices.read(3).unwrap(), signal.samples().slice(0..450));
        assert_eq!(slices.read(37).unwrap(), signal.samples().slice(450..6000));
        assert_eq!(held.failure(), None);
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

/// A reader of a damaged file.
struct Broken(SignalInfo);

impl SliceReader for Broken {
    fn info(&self) -> &SignalInfo {
        &self.0
    }

    fn read(&mut self, _: usize) -> Result<Samples, MediaError> {
        Err(MediaError::Damaged { path: "a.png".into(), format: "PNG", detail: "it is cut".to_string() })
    }
}

#[test]
fn folders_without_room_and_readers_that_fail_are_told() {
    let mut random = Random(4);
    let signal = signal(&[40, 50], 3, SampleType::U8, &mut random);
    let folder = tempfile::tempdir().unwrap();
    let mut reader = MemoryReader::new(signal.info().clone(), signal.samples().clone());
    let error = Spool::of(&mut reader, Some(&folder.path().join("nowhere"))).unwrap_err();
    assert!(error.is_write_failure(), "{error}");
    let message = error.to_string();
    assert!(message.contains("nowhere") && message.contains("temporary copy"), "{message}");
    assert_eq!(message.matches("nowhere").count(), 1, "{message}");

    let info = SignalInfo::plain(vec![40, 50], 3, SampleType::U8, Some(ColorType::Rgb));
    for limit in [0, u64::MAX] {
        let error = hold(&mut Broken(info.clone()), limit, Some(folder.path())).unwrap_err();
        assert!(matches!(error, MediaError::Damaged { .. }), "{error}");
    }
    drop(Spool::of(&mut MemoryReader::new(info, signal.into_samples()), Some(folder.path())).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a temporary file is left");
}

#[test]
#[should_panic(expected = "outside of the signal")]
fn a_range_outside_is_a_mistake_of_the_caller() {
    let signal = signal(&[40, 50], 3, SampleType::U8, &mut Random(5));
    spooled(&signal).read_scaled(5990, &mut [0.0; 11]);
}

/// The file is cut behind the spool's back: zeros and a reason, not a panic in the middle of a sum.
#[cfg(target_os = "linux")]
#[test]
fn a_read_that_fails_gives_zeros_and_a_reason() {
    use std::fs;
    let signal = signal(&[40, 50], 3, SampleType::U8, &mut Random(6));
    let folder = tempfile::tempdir().unwrap();
    let mut reader = MemoryReader::new(signal.info().clone(), signal.samples().clone());
    let spool = Spool::of(&mut reader, Some(folder.path())).unwrap();
    let mut n_cut = 0;
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        // The listing's own descriptor is gone by now.
        if fs::read_link(&path).is_ok_and(|target| target.starts_with(folder.path())) {
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(5000).unwrap();
            n_cut += 1;
        }
    }
    assert_eq!(n_cut, 1);
    // The first brick, of 32 rows of 32 pixels, is still there.
    assert_run(&spool, &signal, 31 * 150, 96);
    assert_eq!(spool.failure(), None);
    let mut values = [1.0; 24];
    spool.read_scaled(39 * 150 + 100, &mut values);
    assert_eq!(values, [0.0; 24]);
    assert!(spool.failure().unwrap().contains("temporary copy of the signal cannot be read"));
    assert_run(&spool, &signal, 0, 96);
    assert!(spool.failure().is_some());
    assert!(matches!(spool.slices().read(40), Err(MediaError::Read { .. })));
}
