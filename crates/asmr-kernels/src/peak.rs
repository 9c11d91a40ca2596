//! Multiply-adds in registers alone: what a machine can do at most, for benches to compare with.
//!
//! Each chain is one vector of [`LANES`] values, multiplied and added to itself again and again. How many chains keep
//! all units busy without leaving the registers depends on the instruction-set level: take the quickest of [`CHAINS`].

use std::hint::black_box;

use crate::isa::{kernel, mul_add};

/// Values of one chain.
pub const LANES: usize = 16;
/// Numbers of chains there are: for 128-bit, 256-bit and 512-bit registers.
pub const CHAINS: [usize; 3] = [3, 6, 12];

kernel! {
    /// Performs `chains · LANES · rounds` multiply-adds (two floating-point operations each) and gives a value that
    /// depends on all of them, near 1 for many rounds.
    ///
    /// # Panics
    /// When `chains` is none of [`CHAINS`].
    pub fn multiply_adds = multiply_adds_body(chains: usize, rounds: usize) -> f32
}

#[inline(always)]
fn multiply_adds_body<const FUSED: bool>(chains: usize, rounds: usize) -> f32 {
    match chains {
        3 => run::<FUSED, 3>(rounds),
        6 => run::<FUSED, 6>(rounds),
        12 => run::<FUSED, 12>(rounds),
        _ => panic!("{chains} chains; there are {CHAINS:?}"),
    }
}

#[allow(clippy::needless_range_loop, reason = "indices let the compiler keep all sums in registers")]
#[inline(always)]
fn run<const FUSED: bool, const N: usize>(rounds: usize) -> f32 {
    // Unknown to the compiler, and lanes that differ: nothing can be computed once for all or beforehand.
    let (factor, addend) = (black_box(0.999), black_box(0.001));
    let mut sums = [[0.0f32; LANES]; N];
    for (i, chain) in sums.iter_mut().enumerate() {
        for (j, value) in chain.iter_mut().enumerate() {
            *value = 1.0 + (i * LANES + j) as f32 * 1e-3;
        }
    }
    let mut s = black_box(sums);
    for _ in 0..rounds {
        for i in 0..N {
            for j in 0..LANES {
                s[i][j] = mul_add::<FUSED>(s[i][j], factor, addend);
            }
        }
    }
    // Through memory: summed up right here, the compiler would take the lanes apart.
    let sums = black_box(s);
    sums.iter().flatten().sum::<f32>() / (N * LANES) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IsaLevel;

    #[test]
    fn every_level_ends_near_one() {
        let mut n_cases = 0;
        for isa in IsaLevel::available() {
            for chains in CHAINS {
                let value = multiply_adds(isa, chains, 20_000);
                assert!((value - 1.0).abs() < 1e-3, "{isa:?}, {chains} chains: {value}");
                n_cases += 1;
            }
        }
        assert_eq!(n_cases, 3 * IsaLevel::available().len());
    }
}
