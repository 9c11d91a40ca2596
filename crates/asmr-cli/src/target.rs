//! Targets of an encode: a size of the file, or a quality by the smallest file.

use std::path::Path;

use asmr::cost::Cost;
use asmr::file::{Encoding, FileHeader};
use asmr::network::NetworkConfig;
use asmr::planner::LARGE_WIDTH;
use asmr::residual::MaxError;
use asmr::signal::SignalInfo;
use asmr_train::config::MEDIUM_SAMPLES;

use crate::args::EncodeArgs;
use crate::corrections;
use crate::error::Failure;
use crate::files;
use crate::report::describe;

/// What rounding costs at least when a target leaves little to lose, in dB.
pub(crate) const LEAST_LOSS_DB: f64 = 0.01;

/// Bits for a weight that a size is planned with. A wider network would have to be rounded more coarsely, and each bit less makes
/// rounding cost four times as much; at about 6.5 bits the one outweighs the other (results/).
const BITS_PER_WEIGHT: f64 = 6.6;
/// Fewer bits than this say little about a weight.
const LEAST_BITS_PER_WEIGHT: f64 = 1.0;
/// Bits that a tensor's steps take in any case (docs/FORMAT.md): 8 of a vector's one step, one more of a matrix.
const BITS_PER_TENSOR: u64 = 9;
/// Bytes of the word that a code ends with.
const LAST_WORD_BYTES: u64 = 4;
/// Values of a corrected signal for each weight: predicting corrections from their neighbours leaves a network little to gain.
const VALUES_PER_CORRECTED_WEIGHT: u64 = 1024;
/// A file's bytes without its weights and the record of its fit, about.
const HEADER_BYTES: u64 = 420;
/// Those of the record.
const RECORD_BYTES: u64 = 300;
/// A file asked to be smaller than this has no room for the record: 2 %.
pub(crate) const RECORDED_SIZE: u64 = 16_384;

/// The bytes that the file may have.
pub(crate) fn size(args: &EncodeArgs, info: &SignalInfo) -> Option<u64> {
    let n_samples = info.extents.iter().map(|&extent| extent as f64).product::<f64>();
    args.bytes.or(args.bpp.map(|bpp| (bpp * n_samples / 8.0) as u64))
}

/// Weights of each network for a size.
pub(crate) fn max_params(size: u64, n_chunks: u32) -> u64 {
    let header = if size < RECORDED_SIZE { HEADER_BYTES } else { HEADER_BYTES + RECORD_BYTES };
    let bytes = size.saturating_sub(header) as f64 / f64::from(n_chunks);
    (bytes * 8.0 / BITS_PER_WEIGHT) as u64
}

/// The bound on errors that is asked for.
pub(crate) fn max_error(args: &EncodeArgs, info: &SignalInfo) -> Result<Option<MaxError>, Failure> {
    let Some(bound) = args.max_error.or(args.lossless.then_some(0.0)) else { return Ok(None) };
    let what = || format!("{} ({})", args.input.display(), describe(info));
    if info.sample_type.is_float() {
        if args.lossless {
            return Err(Failure::usage(format!(
                "--lossless is for whole numbers, and {} has floating-point ones; say how near they have to be by --max-error",
                what()
            )));
        }
        if bound == 0.0 {
            return Err(Failure::usage(format!(
                "--max-error 0 is for whole numbers, and {} has floating-point ones; give a number above 0",
                what()
            )));
        }
        corrections::check_bound(MaxError::Real(bound), info)?;
        return Ok(Some(MaxError::Real(bound)));
    }
    if bound.fract() != 0.0 || bound > f64::from(u32::MAX) {
        return Err(Failure::usage(format!(
            "--max-error {bound} does not suit {}, which has whole numbers; give a whole number, 0 to {}",
            what(),
            u32::MAX
        )));
    }
    Ok(Some(MaxError::Whole(bound as u32)))
}

/// Weights of a network whose errors are corrected: each has to save more bits of corrections than it takes.
pub(crate) fn corrected_params(info: &SignalInfo) -> u64 {
    (info.n_values().unwrap_or(u64::MAX) / VALUES_PER_CORRECTED_WEIGHT).max(1)
}

/// Refuses a size that the file's networks have no room in.
pub(crate) fn check_room(header: &FileHeader, size: u64, path: &Path) -> Result<(), Failure> {
    let before = header.n_bytes().map_err(|error| files::unmakeable(path, &error))?;
    let n_params = Cost::of(&header.network).n_params as f64;
    let steps = (header.network.tensors().len() as u64 * BITS_PER_TENSOR).div_ceil(8) + LAST_WORD_BYTES;
    let weights = ((n_params * LEAST_BITS_PER_WEIGHT / 8.0).ceil() as u64 + steps) * header.n_chunks() as u64;
    let least = before + weights;
    if size >= least {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "a file of {size} bytes is too small: {before} bytes say what is decoded, and {n_params} weights (width {}) take {weights} or \
         more; ask for {least} bytes or more, or for less --width",
        header.network.width
    )))
}

/// Whether `--psnr` asks for the narrowest network with that quality: nothing else decides the network or the fit's length,
/// and a fit of the whole signal is a matter of seconds.
pub(crate) fn searches_width(args: &EncodeArgs, header: &FileHeader) -> bool {
    let is_open = args.width.is_none() && args.bases.is_none() && args.mac.is_none() && args.time.is_none();
    args.psnr.is_some()
        && is_open
        && header.encoding == Encoding::Coded
        && header.n_chunks() == 1
        && header.network.partition.n_samples() <= MEDIUM_SAMPLES
}

/// The width of the first fit.
const FIRST_WIDTH: usize = 96;
/// The most fits.
const MAX_TRIES: usize = 7;
/// PSNR above the target to aim at, for rounding to lose, ...
const AIM_DB: f64 = 0.2;
/// ... and what is near enough to that.
const NEAR_DB: std::ops::RangeInclusive<f64> = 0.03..=0.45;
/// How far between two known widths the next one may lie.
const SHARES: std::ops::Range<f64> = 0.2..0.8;
/// How far beyond them, in octaves: too wide a network takes far more time than one more fit.
const OCTAVES: std::ops::RangeInclusive<f64> = -2.0..=1.0;
/// What twice the width gains while nothing is known, in dB, ...
const GAIN_DB: f64 = 6.0;
/// ... and what is believed of it.
const GAINS_DB: std::ops::RangeInclusive<f64> = 1.5..=9.0;

/// A search for the least width with a PSNR.
#[derive(Debug)]
pub(crate) struct Search {
    target: f64,
    most: usize,
    next: Option<usize>,
    /// Widths and what they gave.
    tried: Vec<(usize, f64)>,
}

impl Search {
    /// For a PSNR in dB, up to the greatest width for which the network has no more weights than the signal has values.
    pub(crate) fn new(target: f64, network: &NetworkConfig) -> Self {
        let values = network.partition.n_samples().saturating_mul(network.channels as u128);
        let fits = |width: usize| Cost::of(&NetworkConfig { width, ..network.clone() }).n_params <= values;
        let most = (1..=LARGE_WIDTH).rev().find(|&width| fits(width)).unwrap_or(1);
        Self { target, most, next: Some(FIRST_WIDTH.min(most)), tried: Vec::new() }
    }

    /// The same search for fits of another length or with other bases, of which these say nothing, from this width on.
    pub(crate) fn anew(&self, width: usize) -> Self {
        Self { next: Some(width), tried: Vec::new(), ..*self }
    }

    /// The width to try next; `None` when the search is over.
    pub(crate) fn next_width(&self) -> Option<usize> {
        self.next
    }

    /// Whether none had the quality and the next one is an octave wider than all of them.
    pub(crate) fn goes_far_wider(&self) -> bool {
        let widest = self.below().map_or(0, |(width, _)| width);
        self.above().is_none() && self.next.is_some_and(|next| next >= 2 * widest)
    }

    /// Whether a PSNR reaches the target, with something left for rounding.
    fn reaches(&self, psnr_db: f64) -> bool {
        psnr_db >= self.target + NEAR_DB.start()
    }

    /// The widest network that did not reach the target, and its PSNR.
    fn below(&self) -> Option<(usize, f64)> {
        self.tried
            .iter()
            .filter(|(_, psnr_db)| !self.reaches(*psnr_db))
            .max_by_key(|(width, _)| *width)
            .copied()
    }

    /// The narrowest that did.
    fn above(&self) -> Option<(usize, f64)> {
        self.tried
            .iter()
            .filter(|(_, psnr_db)| self.reaches(*psnr_db))
            .min_by_key(|(width, _)| *width)
            .copied()
    }

    /// Takes in what a width gave; whether it is the best so far.
    pub(crate) fn tried(&mut self, width: usize, psnr_db: f64) -> bool {
        let is_better = match self.above() {
            Some((narrowest, _)) => self.reaches(psnr_db) && width < narrowest,
            None => self.reaches(psnr_db) || self.tried.iter().all(|(_, other)| psnr_db > *other),
        };
        self.tried.push((width, psnr_db));
        let is_near = NEAR_DB.contains(&(psnr_db - self.target));
        self.next = if is_near || self.tried.len() == MAX_TRIES { None } else { self.guess() };
        is_better
    }

    /// A width between the widest that was too narrow and the narrowest that was not, or beyond the one that there is, by what twice
    /// the width gains.
    fn guess(&self) -> Option<usize> {
        let aim = self.target + AIM_DB;
        let (below, above) = (self.below(), self.above());
        let octaves_between = |from: usize, to: usize| (to as f64 / from as f64).log2();
        let (from, octaves) = match (below, above) {
            (Some((narrow, narrow_db)), Some((wide, wide_db))) => {
                // Never next to what is known: quality rises neither evenly nor always, and a step of one width says nothing.
                let share = ((aim - narrow_db) / (wide_db - narrow_db)).clamp(SHARES.start, SHARES.end);
                (narrow, share * octaves_between(narrow, wide))
            }
            (Some(end), None) | (None, Some(end)) => {
                let (width, psnr_db) = end;
                // Of the others the nearest in width.
                let others = self.tried.iter().filter(|(other, _)| *other != width);
                let gain = others
                    .min_by_key(|(other, _)| other.abs_diff(width))
                    .map_or(GAIN_DB, |&(other, other_db)| {
                        (other_db - psnr_db) / octaves_between(width, other)
                    });
                let octaves = (aim - psnr_db) / gain.clamp(*GAINS_DB.start(), *GAINS_DB.end());
                (width, octaves.clamp(*OCTAVES.start(), *OCTAVES.end()))
            }
            (None, None) => return None,
        };
        let next = (from as f64 * octaves.exp2()).round() as usize;
        // Where wider was not better, only widths between are left to the search, or none.
        let least = below.map_or(1, |(widest, _)| widest + 1);
        let most = above.map_or(self.most, |(narrowest, _)| narrowest - 1);
        (least <= most).then(|| next.clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use asmr::partition::{Partition, parse_bases};

    fn network(extent: usize) -> NetworkConfig {
        let partition = Partition::new(&[extent], &parse_bases(&format!("{extent},1,1")).unwrap()).unwrap();
        NetworkConfig {
            partition,
            channels: 1,
            width: 8,
            omega_0: 30.0,
            modulator: asmr::network::Modulator::Linear,
        }
    }

    /// Where quality rises with the width by a law that the search does not know, it ends with a width that reaches the target, and
    /// hardly more.
    #[test]
    fn the_least_width_is_found() {
        let mut n_cases = 0;
        for (gain, at_64) in [(2.0, 24.0), (4.0, 30.0), (6.0, 28.0), (8.5, 35.0)] {
            let psnr = |width: usize| at_64 + gain * (width as f64 / 64.0).log2();
            for target in [psnr(20) + 0.01, psnr(64) - 0.2, psnr(96) + 0.9, psnr(300)] {
                let mut search = Search::new(target, &network(1 << 20));
                let mut kept = None;
                while let Some(width) = search.next_width() {
                    if search.tried(width, psnr(width)) {
                        kept = Some(width);
                    }
                }
                let kept = kept.unwrap();
                // Narrow networks cannot come nearer.
                let is_least = psnr(kept) >= target && psnr(kept - 1) < target;
                let is_near = (target..target + 0.5).contains(&psnr(kept));
                assert!(is_least || is_near, "{gain} dB, {target} dB: {kept}");
                n_cases += 1;
            }
        }
        assert_eq!(n_cases, 16);
    }

    /// Between a width that is too narrow and one that is wide enough, the next one is next to neither, whatever else was tried;
    /// what leaves nothing for rounding counts as too narrow.
    #[test]
    fn a_bracket_is_divided() {
        let at = |tried: &[(usize, f64)]| {
            let mut search = Search::new(30.0, &network(1 << 20));
            for &(width, psnr_db) in tried {
                search.tried(width, psnr_db);
            }
            search.next_width()
        };
        // Half of the way in octaves: the aim, 30.2, is half of that in decibels.
        assert_eq!(at(&[(100, 29.2), (196, 31.2)]), Some(140));
        // Two that are nearer to the aim, and both too narrow, do not lead past the middle.
        assert_eq!(
            at(&[(90, 29.8), (100, 29.9), (196, 31.2)]),
            Some((100.0 * 1.96f64.powf(0.3 / 1.3)).round() as usize)
        );
        // A fifth of the way at the least, and at the most.
        assert_eq!(at(&[(100, 30.02), (196, 60.0)]), Some((100.0 * 1.96f64.powf(0.2)).round() as usize));
        assert_eq!(at(&[(100, 0.0), (196, 30.5)]), Some((100.0 * 1.96f64.powf(0.8)).round() as usize));
        // Narrower was better, or nothing lies between.
        assert_eq!(at(&[(150, 29.0), (100, 30.6)]), None);
        assert_eq!(at(&[(100, 29.0), (101, 30.6)]), None);
    }

    /// Anew it knows of no width, and begins with the one that it is told.
    #[test]
    fn a_search_begins_anew() {
        let mut search = Search::new(30.0, &network(1 << 20));
        search.tried(96, 20.0);
        assert_eq!(search.next_width(), Some(192), "10.2 dB at 6 dB an octave are more than an octave");
        assert!(search.goes_far_wider());
        let mut anew = search.anew(96);
        assert_eq!(anew.next_width(), Some(96));
        assert!(anew.tried(96, 29.0));
        assert_eq!(anew.next_width(), Some((96.0 * (1.2f64 / 6.0).exp2()).round() as usize));
        assert!(!anew.goes_far_wider());
        // A width that is wide enough is a bound, however far below it the last one was.
        let mut search = Search::new(30.0, &network(1 << 20));
        search.tried(96, 42.0);
        search.tried(24, 12.0);
        assert_eq!(search.next_width(), Some((24.0 * 4f64.powf(18.2 / 30.0)).round() as usize));
        assert!(!search.goes_far_wider());
    }

    /// What no width reaches ends with the best that was seen, and soon.
    #[test]
    fn too_much_is_given_up() {
        let mut search = Search::new(90.0, &network(1 << 20));
        let mut widths = Vec::new();
        while let Some(width) = search.next_width() {
            widths.push(width);
            assert!(search.tried(width, 20.0 + 0.01 * width as f64), "wider is better here");
        }
        assert_eq!(widths.last(), Some(&LARGE_WIDTH));
        assert!(widths.len() <= 4, "{widths:?}");
    }

    /// Rising and falling at random, it ends.
    #[test]
    fn noise_ends() {
        for seed in 0..200u64 {
            let mut random = seed;
            let mut search = Search::new(30.0, &network(4096));
            let mut n = 0;
            while let Some(width) = search.next_width() {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                search.tried(width, 28.0 + (random >> 40) as f64 / (1u64 << 24) as f64 * 4.0);
                n += 1;
            }
            assert!((1..=MAX_TRIES).contains(&n));
        }
    }
}
