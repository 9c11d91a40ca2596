//! What a fit pays for reading from disk: nanoseconds per block of 8 x 8 RGB pixels, from memory and from a spool, with
//! all threads at once. `cargo run --release -p asmr-media --example spool`

use std::thread;
use std::time::Instant;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo, Source};
use asmr_media::{MemoryReader, Spool};

const SIDE: usize = 8192;
const BLOCK: usize = 8;
const N_BLOCKS: usize = 200_000;

/// Row and column of the `i`-th block: near ones after one another (a walk along squares), or anywhere.
fn position(i: usize, near: bool) -> (usize, usize) {
    if near {
        let half = |mut bits: usize| {
            (0..20).fold(0, |to, place| {
                let bit = bits & 1;
                bits >>= 2;
                to | bit << place
            })
        };
        return (half(i >> 1) * BLOCK % (SIDE - BLOCK), half(i) * BLOCK % (SIDE - BLOCK));
    }
    let at = i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    (at % (SIDE - BLOCK), at / SIDE % (SIDE - BLOCK))
}

fn time(source: &dyn Source, n_threads: usize, near: bool) -> f64 {
    let start = Instant::now();
    thread::scope(|scope| {
        for thread in 0..n_threads {
            scope.spawn(move || {
                let mut values = [0.0; BLOCK * 3];
                let mut sum = 0.0;
                for i in 0..N_BLOCKS {
                    let (y, x) = position(i + thread * N_BLOCKS, near);
                    for row in y..y + BLOCK {
                        source.read_scaled(((row * SIDE + x) * 3) as u64, &mut values);
                        sum += values[0];
                    }
                }
                std::hint::black_box(sum);
            });
        }
    });
    start.elapsed().as_secs_f64() * 1e9 / N_BLOCKS as f64
}

fn main() {
    let info = SignalInfo::plain(vec![SIDE, SIDE], 3, SampleType::U8, Some(ColorType::Rgb));
    let samples = Samples::U8((0..SIDE * SIDE * 3).map(|i| (i * 7 / 5) as u8).collect());
    let signal = Signal::new(info.clone(), samples.clone()).expect("a signal");
    let spool = Spool::of(&mut MemoryReader::new(info, samples), None).expect("room for 192 MiB");
    let n_threads = thread::available_parallelism().map_or(1, usize::from);
    for (order, near) in [("near", true), ("far", false)] {
        for n in [1, n_threads] {
            println!(
                "{order} blocks, {n} threads: {:.0} ns from memory, {:.0} ns from a spool",
                time(&signal, n, near),
                time(&spool, n, near)
            );
        }
    }
    assert_eq!(spool.failure(), None, "the spool was read");
}
