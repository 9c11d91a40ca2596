//! Repetitions, ours and the peers' in turn.
//!
//! A loop of our own instead of a benchmark library: those time one function at a time, while the clock of a shared
//! machine swings by half within minutes. Here each round holds the multiply-add peak, our repetitions, the peak
//! again, and one repetition of each peer, so that what is compared ran within the same seconds.

use std::time::{Duration, Instant};

use rayon::ThreadPool;

use crate::Outcome;
use crate::machine::PeakMeter;

/// Rest after a peer's repetition: its threads spin for a while before they sleep, and would take our cores.
const REST: Duration = Duration::from_millis(100);
/// Our repetitions of a round: as many as fit in this time, at most [`MAX_PER_ROUND`].
const ROUND_S: f64 = 0.1;
const MAX_PER_ROUND: usize = 10;

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds at least.
    pub min_rounds: usize,
    /// Rounds at most.
    pub max_rounds: usize,
    /// Seconds after which no round beyond `min_rounds` begins.
    pub seconds: f64,
}

impl Effort {
    /// For figures that are recorded.
    pub const FULL: Self = Self { min_rounds: 7, max_rounds: 25, seconds: 30.0 };
    /// For a look whether everything works.
    pub const QUICK: Self = Self { min_rounds: 2, max_rounds: 3, seconds: 2.0 };
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quartiles {
    /// The lower quartile.
    pub q1: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub q3: f64,
}

impl Quartiles {
    /// Of some values, interpolated between neighbours.
    ///
    /// # Panics
    /// When there are no values.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
            low + (high - low) * place.fract()
        };
        Self { q1: at(0.25), median: at(0.5), q3: at(0.75) }
    }
}

/// The median of some values.
///
/// # Panics
/// When there are no values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    Quartiles::of(values).median
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Seconds of our repetitions.
    pub ours_s: Vec<f64>,
    /// The multiply-add peak before and after each round's repetitions, in GFLOP/s.
    pub peaks_gflops: Vec<f64>,
    /// Seconds of each peer's repetitions.
    pub peers_s: Vec<Vec<f64>>,
}

/// One repetition, in seconds.
pub type Repetition<'a> = Box<dyn FnMut() -> Outcome<f64> + 'a>;

/// Runs rounds until there are enough. Ours has one untimed repetition before.
///
/// # Errors
/// What a repetition reports.
pub fn interleave(
    effort: Effort,
    meter: &PeakMeter,
    pool: &ThreadPool,
    mut ours: impl FnMut() -> Outcome<f64>,
    peers: &mut [Repetition<'_>],
) -> Outcome<Measured> {
    let mut measured = Measured { peers_s: vec![Vec::new(); peers.len()], ..Measured::default() };
    let first = ours()?;
    let per_round = ((ROUND_S / first) as usize).clamp(1, MAX_PER_ROUND);
    // Peers warm up on their first request; that takes seconds and is no part of the time allowed.
    for peer in &mut *peers {
        peer()?;
    }
    let start = Instant::now();
    for round in 0..effort.max_rounds {
        if round >= effort.min_rounds && start.elapsed().as_secs_f64() > effort.seconds {
            break;
        }
        if !peers.is_empty() {
            std::thread::sleep(REST);
        }
        measured.peaks_gflops.push(meter.gflops(pool));
        for _ in 0..per_round {
            measured.ours_s.push(ours()?);
        }
        measured.peaks_gflops.push(meter.gflops(pool));
        for (peer, seconds) in peers.iter_mut().zip(&mut measured.peers_s) {
            seconds.push(peer()?);
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::Quartiles;

    #[test]
    fn quartiles() {
        let of = |values: &[f64]| Quartiles::of(values);
        assert_eq!(of(&[3.0]), Quartiles { q1: 3.0, median: 3.0, q3: 3.0 });
        assert_eq!(of(&[5.0, 1.0, 2.0, 4.0, 3.0]), Quartiles { q1: 2.0, median: 3.0, q3: 4.0 });
        assert_eq!(of(&[4.0, 1.0, 3.0, 2.0]), Quartiles { q1: 1.75, median: 2.5, q3: 3.25 });
    }
}
