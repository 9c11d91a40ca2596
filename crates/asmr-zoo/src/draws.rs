//! Random initial weights, the same on every machine but for normal ones, of which logarithms and cosines are the platform's.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers that a seed specifies for ever.
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in \[0, 1), 24 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        f64::from(self.0.next_u32() >> 8) / f64::from(1u32 << 24)
    }

    /// Uniform in ±bound.
    pub(crate) fn uniform(&mut self, bound: f64) -> f32 {
        ((2.0 * self.unit() - 1.0) * bound) as f32
    }

    /// Normal with mean 0 (Box and Muller).
    pub(crate) fn normal(&mut self, deviation: f64) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        (deviation * radius * (std::f64::consts::TAU * self.unit()).cos()) as f32
    }

    /// Uniform 32 bits.
    pub(crate) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }
}
