//! Choosing a partition and a width: from extents, and optionally a depth, a width or a cost, to bases.
//!
//! Use [`plan`] whenever nobody has named bases; a partition made by hand goes straight to [`Partition::new`].
//!
//! The bases of each axis are found by a small search of their own against targets shared by all axes. Let `S_l`
//! be the wanted side of a cell of level l in samples (its logarithm, base 2), the same on every axis, and
//! `V(S) = Σ_axis min(S, log2 extent)` the logarithm of the samples in such a cell. [`block_samples_log2`] fixes
//! the last level's block, `V(S_{L-2})`; from there `V` climbs to the whole grid in equal steps, so that every
//! level but the last has about the same number of digit tuples. An axis much shorter than the others is one
//! cell wide at the coarse levels and gets base 1 there. Integer bases near these targets are then chosen
//! from the finest level to the coarsest, `rest ← ceil(rest / base)`, which never leaves a whole unused cell;
//! a bounded list of the best partial choices is kept. What decides, in this order: little padding (steep
//! past [`PADDING_KNEE`]), bases near their targets, larger bases at coarser levels. Where this leaves a level
//! with base 1 on every axis, the axes take turns instead: an axis makes up for the one before it.
//!
//! A picture with far fewer weights than values ([`NARROW_WEIGHTS_PER_VALUE`]) gets other bases: one fine grid of coordinates, as a
//! SIREN has, sine layers on its cells, and two small levels below them ([`SMOOTH_BASES`]). Networks so narrow cannot learn
//! how each of many cells goes on in the next; there it comes with the coordinates (results/).

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::cost::Cost;
use crate::network::{Modulator, NetworkConfig, NetworkError};
use crate::partition::{MAX_LEVELS, MIN_LEVELS, Partition, PartitionError};
use crate::signal::{MAX_AXES, MAX_EXTENT, Media, SignalInfo};

/// Width of a network when neither a width nor a cost is asked for and the signal is large enough for it.
pub const DEFAULT_WIDTH: usize = 256;
/// That of a signal of more than 2^22 and up to 2^26 samples: fitted with as many multiply-adds, a wider network is better
/// there although it sees each sample less often; of still larger signals it would see too little (results/).
pub const LARGE_WIDTH: usize = 512;
/// Samples of signals for [`LARGE_WIDTH`].
pub const LARGE_SAMPLES: RangeInclusive<u128> = (1 << 22) + 1..=1 << 26;
/// The smallest width chosen by default.
pub const MIN_DEFAULT_WIDTH: usize = 16;
/// The largest width chosen to use up a cost budget.
pub const MAX_BUDGET_WIDTH: usize = 4096;
/// Widths chosen here are multiples of this (the smallest width a cost budget can force, too).
pub const WIDTH_STEP: usize = 8;
/// The most levels chosen by default, unless digit tables need more.
pub const MAX_DEFAULT_LEVELS: usize = 12;
/// By number of axes minus one: bits (doublings of the number of cells) per level that the default depth aims at.
pub const BITS_PER_LEVEL: [f64; MAX_AXES] = [3.5, 2.5, 3.5, 4.0];
/// By number of axes minus one: samples of the last level's block that bases aim at, as bits. 20 samples of
/// audio, 8×8 of a picture, 4×4×4 of a video or a volume.
pub const BLOCK_BITS: [f64; MAX_AXES] = [4.32, 6.0, 6.0, 6.0];
/// The largest block, in bits, that a cost budget makes the planner try.
const MAX_BLOCK_BITS: f64 = 14.0;
/// Padding of one axis, as a part of its extent, up to which padding is cheap; beyond, it outweighs almost
/// everything. On more than 3 axes it is smaller, so that 3 % of the grid stays the aim.
pub const PADDING_KNEE: f64 = 0.01;

/// Padding of one axis of 64 samples or more stays within this part of its extent.
pub const PADDING_LIMIT: f64 = 0.03;

/// Weights per value of a picture below which a network is narrow ...
pub const NARROW_WEIGHTS_PER_VALUE: f64 = 0.07;
/// ... if it has at most this width.
pub const NARROW_WIDTH: usize = 128;
/// Smooth bases of narrow networks: of each axis below its first, which has the axis' cells.
pub const SMOOTH_BASES: [usize; 7] = [1, 1, 1, 1, 1, 2, 4];
/// The most samples of a picture that smooth bases are for: they take several times the multiply-adds of others.
const SMOOTH_SAMPLES: u128 = 1 << 22;

/// Partial choices of bases kept per level.
const BEAM: usize = 128;
/// Bases tried per partial choice where a range is wide (divisors of the rest are always tried).
const SAMPLED_BASES: usize = 16;
/// Bases tried lie within this many doublings of the target; the next reach is for axes that the one before pads
/// by more than [`PADDING_LIMIT`].
const REACH_BITS: [f64; 3] = [1.6, 3.0, 6.0];
/// The score counts whole millionths, so that ties are ties on every machine.
const UNIT: f64 = 1e6;
/// Score of one bit (a doubling) of padding below and above the knee; a squared bit of distance from a base's
/// target scores 1.
const PADDING_WEIGHT: [f64; 2] = [60.0, 1500.0];
/// Score of any padding at all.
const ANY_PADDING: f64 = 0.25;
/// Extents below this may be padded by [`SMALL_EXTENT_KNEE`] samples: a single one may be past any percentage.
const SMALL_EXTENT: u64 = 64;
/// The knee of small extents, in samples.
const SMALL_EXTENT_KNEE: f64 = 2.0;
/// Weight, per axis of the grid, of the last block's distance from its target.
const BLOCK_WEIGHT: f64 = 0.75;
/// Further weight of a last block below its target: it multiplies the costliest layer, a larger one does not.
const SMALL_BLOCK_WEIGHT: f64 = 3.0;
/// Preference for larger bases at coarser levels, as in the partitions published for pictures.
const COARSE_WEIGHT: f64 = 0.02;
/// Weight of the distance of cells' sides from what is wanted, where axes take turns.
const SIDE_WEIGHT: f64 = 0.25;
/// Shares of the axes before it that an axis makes up for, tried in order.
const TURN_SHARES: [f64; 3] = [0.25, 0.5, 1.0];

/// What a plan must fit.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRequest {
    /// Samples along each axis, slowest first; 1 to 4 axes of 1 to 2^31.
    pub extents: Vec<usize>,
    /// Values per sample, 1 to 64.
    pub channels: usize,
    /// Levels, 2 to 32; `None`: [`default_levels`].
    pub levels: Option<usize>,
    /// Width; `None`: [`DEFAULT_WIDTH`] or what the signal or the budget allows.
    pub width: Option<usize>,
    /// The most multiply-adds per sample a decode may execute ([`Cost::mac_exec`]); above 0.
    pub mac_budget: Option<f64>,
    /// The most weights of a network whose width is chosen; as wide a one as these allow is taken, whatever the defaults.
    pub max_params: Option<u64>,
    /// How digits modulate.
    pub modulator: Modulator,
    /// Factor inside every sine.
    pub omega_0: f32,
}

impl PlanRequest {
    /// A request that leaves everything to the defaults: linear modulator, `omega_0` 30.
    #[must_use]
    pub fn new(extents: &[usize], channels: usize) -> Self {
        Self {
            extents: extents.to_vec(),
            channels,
            levels: None,
            width: None,
            mac_budget: None,
            max_params: None,
            modulator: Modulator::Linear,
            omega_0: 30.0,
        }
    }

    /// The network that this request and a plan describe.
    fn config(&self, partition: Partition, width: usize) -> NetworkConfig {
        NetworkConfig {
            partition,
            channels: self.channels,
            width,
            omega_0: self.omega_0,
            modulator: self.modulator,
        }
    }
}

/// What was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The grid and its bases.
    pub partition: Partition,
    /// Neurons of each sine layer.
    pub width: usize,
}

impl Plan {
    /// The network this plan describes, with the request's channels, modulator and `omega_0`.
    #[must_use]
    pub fn into_config(self, request: &PlanRequest) -> NetworkConfig {
        request.config(self.partition, self.width)
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// The extents are no grid.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// The channels, width or `omega_0` are no network's, or the network has too many weights.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A number of levels no partition has.
    #[error(
        "{0} levels asked for; a partition has {MIN_LEVELS} to {MAX_LEVELS}; leave levels out to have them chosen"
    )]
    Levels(usize),
    /// Too few levels for so large a grid: a level's digit table would be too large.
    #[error(
        "{levels} levels are too few for extents {extents:?}: a level's digit table would be too large; use {needed} to {MAX_LEVELS} levels"
    )]
    TooFewLevels {
        /// Levels asked for.
        levels: usize,
        /// The fewest levels that work.
        needed: usize,
        /// The extents.
        extents: Vec<usize>,
    },
    /// A budget that is no positive number.
    #[error("a budget of {0} MAC/sample; it must be a finite number above 0")]
    Budget(f64),
    /// Nothing fits the budget.
    #[error(
        "a budget of {budget} MAC/sample cannot be met: the cheapest network found (width {width}, {levels} levels) \
         executes {:.1} MAC/sample; raise the budget to that, or allow a smaller width", (minimum * 10.0).ceil() / 10.0
    )]
    BudgetTooSmall {
        /// The budget, MAC/sample.
        budget: f64,
        /// What the cheapest network found executes, MAC/sample; as a budget it is met.
        minimum: f64,
        /// That network's width.
        width: usize,
        /// That network's levels.
        levels: usize,
    },
}

/// Chooses bases and a width. Deterministic, valid for any extents, and bounded: about a millisecond for a picture,
/// up to a quarter of a second to find that a budget cannot be met on four huge axes.
///
/// * **Levels** as asked for, or [`default_levels`] — more where a digit table would be too large.
/// * **Bases** as the module's documentation says; smooth ones where a picture's width or number of weights is asked for and
///   the network is narrow with them ([`is_narrow`]), and neither levels nor a budget are.
/// * **Width** as asked for. Otherwise, without a budget, the largest multiple of 16 up to [`DEFAULT_WIDTH`] or [`LARGE_WIDTH`]
///   with no more weights than the signal has values, and at least [`MIN_DEFAULT_WIDTH`]; with a number of weights, the largest up
///   to [`MAX_BUDGET_WIDTH`] within both.
/// * **Budget**: a ceiling on [`Cost::mac_exec`]. The preferred bases are kept and the width is the largest
///   multiple of [`WIDTH_STEP`] up to [`MAX_BUDGET_WIDTH`] within the budget and with no more weights than the
///   signal has values (up to [`MIN_DEFAULT_WIDTH`] the latter does not bind). If no width fits, or a width was
///   asked for and is too dear, the last block doubles (and doubles again), which divides the costliest layer's
///   share; then, if levels were not asked for, levels are dropped. The first that fits is the plan.
///
/// # Errors
/// [`PlanError`] for extents, channels, levels, width or `omega_0` outside their ranges, too few levels for the
/// grid, and a budget that cannot be met (with what could be).
pub fn plan(request: &PlanRequest) -> Result<Plan, PlanError> {
    check(request)?;
    let extents = &request.extents;
    let (partition, block_bits) = first_partition(extents, request.levels)?;

    let Some(budget) = request.mac_budget else {
        let smooth = smooth_partition(request)
            .map(|partition| free_plan(request, partition))
            .filter(|plan| is_narrow(&request.config(plan.partition.clone(), plan.width)));
        let plan = smooth.unwrap_or_else(|| free_plan(request, partition));
        let config = request.config(plan.partition, plan.width);
        config.validate()?;
        return Ok(Plan { partition: config.partition, width: plan.width });
    };

    let mut cheapest: Option<PlanError> = None;
    let levels = partition.n_levels();
    let fewest = if request.levels.is_some() { levels } else { MIN_LEVELS };
    let larger_blocks = (1..)
        .map(|n| block_bits + f64::from(n))
        .take_while(|&bits| bits <= MAX_BLOCK_BITS)
        .map(|bits| (levels, Some(bits)));
    let fewer_levels = (fewest..levels).rev().map(|levels| (levels, None));
    let others = larger_blocks
        .chain(fewer_levels)
        .filter_map(|(levels, bits)| partition_for(extents, levels, bits).ok());
    for partition in std::iter::once(partition).chain(others) {
        let mac = |width| Cost::of(&request.config(partition.clone(), width)).mac_exec;
        let fits = |width| mac(width) <= budget;
        let (smallest, width) = if let Some(width) = request.width {
            (width, fits(width).then_some(width))
        } else {
            let bound = |w| fits(w) && within_values(request, &partition, w);
            if request.max_params.is_some() {
                // As without a budget: none of the weights is left over for the sake of a round number.
                (1, widest(1, 1, MAX_BUDGET_WIDTH, bound).or(fits(1).then_some(1)))
            } else {
                let free = widest(WIDTH_STEP, WIDTH_STEP, MIN_DEFAULT_WIDTH, fits);
                (WIDTH_STEP, widest(WIDTH_STEP, MIN_DEFAULT_WIDTH, MAX_BUDGET_WIDTH, bound).or(free))
            }
        };
        if let Some(width) = width {
            let config = request.config(partition, width);
            config.validate()?;
            return Ok(Plan { partition: config.partition, width });
        }
        let minimum = mac(smallest);
        let better = match &cheapest {
            Some(PlanError::BudgetTooSmall { minimum: m, .. }) => minimum < *m,
            _ => true,
        };
        if better {
            let levels = partition.n_levels();
            cheapest = Some(PlanError::BudgetTooSmall { budget, minimum, width: smallest, levels });
        }
    }
    Err(cheapest.unwrap_or(PlanError::Budget(budget)))
}

/// A plan with these bases and nothing said about its cost.
fn free_plan(request: &PlanRequest, partition: Partition) -> Plan {
    let width = request.width.unwrap_or_else(|| {
        let (step, least, most) = match request.max_params {
            // Weights are what is short: none is left over for the sake of a round number.
            Some(_) => (1, 1, MAX_BUDGET_WIDTH),
            None if LARGE_SAMPLES.contains(&partition.n_samples()) => (16, MIN_DEFAULT_WIDTH, LARGE_WIDTH),
            None => (16, MIN_DEFAULT_WIDTH, DEFAULT_WIDTH),
        };
        widest(step, least, most, |w| within_values(request, &partition, w)).unwrap_or(least)
    });
    Plan { partition, width }
}

/// Smooth bases, if the request is one that they are for: of a picture, with a width or a number of weights.
fn smooth_partition(request: &PlanRequest) -> Option<Partition> {
    let is_narrow = request.width.is_some() || request.max_params.is_some();
    if !is_narrow || request.levels.is_some() || request.extents.len() != 2 {
        return None;
    }
    let block: usize = SMOOTH_BASES.iter().product();
    let bases: Vec<Vec<usize>> = request
        .extents
        .iter()
        .map(|&extent| [&[extent.div_ceil(block)][..], &SMOOTH_BASES].concat())
        .collect();
    let partition = Partition::new(&request.extents, &bases).ok()?;
    let is_padded = |axis: usize| {
        partition.padded_extent(axis) as f64 > partition.extents()[axis] as f64 * (1.0 + PADDING_LIMIT)
    };
    (partition.n_samples() <= SMOOTH_SAMPLES && !(0..2).any(is_padded)).then_some(partition)
}

/// Whether a picture's network has so few weights that it wants a fit of many small batches (results/): at most
/// [`NARROW_WIDTH`], and fewer weights than [`NARROW_WEIGHTS_PER_VALUE`].
#[must_use]
pub fn is_narrow(network: &NetworkConfig) -> bool {
    let n_values = network.partition.n_samples() as f64 * network.channels as f64;
    network.partition.n_axes() == 2
        && network.width <= NARROW_WIDTH
        && (Cost::of(network).n_params as f64) < NARROW_WEIGHTS_PER_VALUE * n_values
}

/// By kind, the most samples of one network when a long signal is cut into chunks: about 12 s of music, ...
const AUDIO_CHUNK: u64 = 1 << 19;
/// ... 16 frames of 1280 × 720, ...
const VIDEO_CHUNK: u64 = 1 << 24;
/// ... a volume of 512 × 512 × 256.
const VOLUME_CHUNK: u64 = 1 << 26;
/// Chunks of films and volumes are multiples of this along the slowest axis, so that bases divide them.
const CHUNK_STEP: usize = 4;

/// The most slices that a last chunk may have less than others, for that: one in so many of all.
const MOST_MISSING: usize = 8;

/// Slices of the slowest axis that one network of a signal holds: all of a picture, a shape or a plain array; of long
/// recordings, films and volumes as many as suit one fit, evenly, so that the last chunk is not left with a few.
///
/// The bound is on samples, not on memory: a network has few weights for a long signal, and chunks give it more of them at
/// no cost per sample.
///
/// # Panics
/// When the signal has no axes.
#[must_use]
pub fn chunk_extent(info: &SignalInfo) -> usize {
    let extent = info.extents[0];
    let (most, step) = match info.media {
        Media::Plain | Media::Shape(_) => return extent,
        Media::Audio(_) => (AUDIO_CHUNK, 1),
        Media::Video(_) => (VIDEO_CHUNK, CHUNK_STEP),
        Media::Volume(_) => (VOLUME_CHUNK, CHUNK_STEP),
    };
    let slice: u64 = info.extents[1..].iter().map(|&e| e as u64).product();
    let slices = (most / slice).max(1) as usize;
    if extent <= slices {
        return extent;
    }
    let even = extent.div_ceil(extent.div_ceil(slices));
    // So that bases divide it, where that is within the bound and the last chunk does not have a network for a few slices.
    let whole = even.next_multiple_of(step);
    let n_missing = whole - 1 - (extent - 1) % whole;
    if whole <= slices && n_missing <= extent / MOST_MISSING { whole } else { even }
}

/// The default number of levels: one for the block (of [`BLOCK_BITS`], or half of a tiny signal's samples) and
/// one for each [`BITS_PER_LEVEL`] bits of the number of blocks, rounded; [`MIN_LEVELS`] to
/// [`MAX_DEFAULT_LEVELS`]. A 512² picture: 18 bits of samples, 6 of the block, 12 / 2.5 ≈ 5 above it: 6 levels.
///
/// # Panics
/// When there are no axes, or more than a signal may have.
#[must_use]
pub fn default_levels(extents: &[usize]) -> usize {
    let bits: f64 = extents.iter().map(|&e| (e as f64).log2()).sum();
    let block = BLOCK_BITS[extents.len() - 1].min(bits / 2.0);
    let above = ((bits - block) / BITS_PER_LEVEL[extents.len() - 1]).round();
    (1 + above as usize).clamp(MIN_LEVELS, MAX_DEFAULT_LEVELS)
}

/// Samples of the last level's block that bases aim at, in bits, for a grid of `bits` bits: [`BLOCK_BITS`], but
/// at most half of a tiny grid's bits, and at least an equal share per level where levels are few.
///
/// # Panics
/// When `n_axes` is not 1 to 4.
#[must_use]
pub fn block_samples_log2(n_axes: usize, bits: f64, levels: usize) -> f64 {
    BLOCK_BITS[n_axes - 1].min(bits / 2.0).max(bits / levels as f64)
}

/// Refuses what no plan can be made for, whatever the bases.
fn check(request: &PlanRequest) -> Result<(), PlanError> {
    let extents = &request.extents;
    if extents.is_empty() || extents.len() > MAX_AXES {
        return Err(PartitionError::Axes(extents.len()).into());
    }
    for (axis, &extent) in extents.iter().enumerate() {
        if extent == 0 || extent > MAX_EXTENT {
            return Err(PartitionError::Extent { axis, extent }.into());
        }
    }
    if let Some(levels) = request.levels
        && !(MIN_LEVELS..=MAX_LEVELS).contains(&levels)
    {
        return Err(PlanError::Levels(levels));
    }
    if let Some(budget) = request.mac_budget
        && !(budget.is_finite() && budget > 0.0)
    {
        return Err(PlanError::Budget(budget));
    }
    // The smallest partition there is, to have the network's own limits checked once.
    let one = Partition::new(&[1], &[vec![1; MIN_LEVELS]])?;
    request.config(one, request.width.unwrap_or(1)).validate()?;
    Ok(())
}

/// The largest multiple of `step` (from `min` to `max`, both multiples) that passes; passing must be monotone.
fn widest(step: usize, min: usize, max: usize, passes: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut below, mut above) = (min / step, max / step + 1);
    if !passes(min) {
        return None;
    }
    while above - below > 1 {
        let middle = usize::midpoint(below, above);
        if passes(middle * step) { below = middle } else { above = middle }
    }
    Some(below * step)
}

/// Whether a network has no more weights than the signal has values, and than are allowed.
fn within_values(request: &PlanRequest, partition: &Partition, width: usize) -> bool {
    let config = request.config(partition.clone(), width);
    // At most 2^124 samples of 64 channels would pass u128: saturate.
    let n_values = partition.n_samples().saturating_mul(request.channels as u128);
    Cost::of(&config).n_params <= n_values.min(request.max_params.map_or(u128::MAX, u128::from))
}

/// The preferred partition and its block in bits; with more levels than the default where tables need it.
fn first_partition(extents: &[usize], levels: Option<usize>) -> Result<(Partition, f64), PlanError> {
    let wanted = levels.unwrap_or_else(|| default_levels(extents));
    let mut found = None;
    for n in wanted..=MAX_LEVELS {
        match partition_for(extents, n, None) {
            Ok(partition) => {
                found = Some((n, partition));
                break;
            }
            Err(PartitionError::Tuples { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match found {
        Some((n, partition)) if n == wanted || levels.is_none() => {
            let bits = grid_bits(extents).iter().sum();
            Ok((partition, block_samples_log2(extents.len(), bits, n)))
        }
        Some((needed, _)) => {
            Err(PlanError::TooFewLevels { levels: wanted, needed, extents: extents.to_vec() })
        }
        // 32 levels leave at most 4 bits a level: this is not reached.
        None => Err(PlanError::Levels(wanted)),
    }
}

/// Logarithms of the extents, base 2.
fn grid_bits(extents: &[usize]) -> Vec<f64> {
    extents.iter().map(|&e| (e as f64).log2()).collect()
}

/// Bases for exactly `levels` levels and a last block of about `block_bits` bits (`None`: the preferred one).
fn partition_for(
    extents: &[usize],
    levels: usize,
    block_bits: Option<f64>,
) -> Result<Partition, PartitionError> {
    let axis_bits = grid_bits(extents);
    let total: f64 = axis_bits.iter().sum();
    let block = block_bits.unwrap_or_else(|| block_samples_log2(extents.len(), total, levels)).min(total);
    let step = (total - block) / (levels - 1) as f64;
    // sides[l]: log2 of the wanted side of a cell of level l; of one sample at the finest level.
    let mut sides: Vec<f64> =
        (0..levels - 1).map(|l| side_of(&axis_bits, block + step * (levels - 2 - l) as f64)).collect();
    sides.push(0.0);
    let targets: Vec<Vec<f64>> = axis_bits
        .iter()
        .map(|&bits| {
            (0..levels)
                .map(|l| if l == 0 { bits } else { sides[l - 1].min(bits) } - sides[l].min(bits))
                .collect()
        })
        .collect();

    let mut bases = bases_for(extents, &targets, 0.0);
    if empty_levels(&bases) > 0 && extents.len() > 1 {
        let rank = |bases: &[Vec<usize>]| (empty_levels(bases), imbalance(bases, &targets));
        for share in TURN_SHARES {
            let others = bases_for(extents, &targets, share);
            if rank(&others) < rank(&bases) && Partition::new(extents, &others).is_ok() {
                bases = others;
            }
        }
    }
    Partition::new(extents, &bases)
}

/// Levels of which all bases are 1: layers that add depth and cost but no detail.
fn empty_levels(bases: &[Vec<usize>]) -> usize {
    (0..bases[0].len()).filter(|&l| bases.iter().all(|list| list[l] == 1)).count()
}

/// How far the levels' digit tuples and the cells' sides are from their targets, in millionths of a squared bit.
fn imbalance(bases: &[Vec<usize>], targets: &[Vec<f64>]) -> i64 {
    let mut sum = 0.0;
    let mut ahead = vec![0.0; bases.len()];
    for l in (0..bases[0].len()).rev() {
        let mut tuples = 0.0;
        for (axis, ahead) in ahead.iter_mut().enumerate() {
            let off = (bases[axis][l] as f64).log2() - targets[axis][l];
            tuples += off;
            *ahead += off;
            sum += SIDE_WEIGHT * *ahead * *ahead;
        }
        sum += tuples * tuples;
    }
    (sum * UNIT).round() as i64
}

/// Bases of all axes near `targets[axis][level]`. An axis makes up for a `share` of what the axes before it are
/// past their targets, so that bases of 1 fall on different levels; 0 leaves the axes independent.
fn bases_for(extents: &[usize], targets: &[Vec<f64>], share: f64) -> Vec<Vec<usize>> {
    let in_turn = share > 0.0;
    let last = targets[0].len() - 1;
    let mut ahead = vec![0.0; last];
    let mut bases: Vec<Vec<usize>> = Vec::with_capacity(extents.len());
    for (axis, &extent) in extents.iter().enumerate() {
        if !in_turn && let Some(same) = extents[..axis].iter().position(|&e| e == extent) {
            bases.push(bases[same].clone());
            continue;
        }
        let mut targets = targets[axis].clone();
        if in_turn {
            for (target, ahead) in targets.iter_mut().zip(&ahead) {
                *target = (*target - share * ahead).max(0.0);
            }
        }
        let search = AxisSearch { extent: extent as u64, n_axes: extents.len(), targets, in_turn };
        let list = search.bases_within_limit();
        for (l, ahead) in ahead.iter_mut().enumerate() {
            *ahead = (list[l] as f64).log2() - search.targets[l];
        }
        bases.push(list);
    }
    bases
}

/// The S with `Σ_axis min(S, axis_bits)` = `volume`.
fn side_of(axis_bits: &[f64], volume: f64) -> f64 {
    let mut sorted = axis_bits.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut rest = volume;
    for (i, &bits) in sorted.iter().enumerate() {
        let side = rest / (sorted.len() - i) as f64;
        if side <= bits {
            return side;
        }
        rest -= bits;
    }
    sorted[sorted.len() - 1]
}

/// A partial choice of one axis' bases, from the finest level on.
#[derive(Clone, Copy)]
struct Choice {
    /// Distance from the targets so far, in units of the score.
    distance: i64,
    /// Score that this choice is kept for: distance, padding, and the least distance still to come.
    score: i64,
    /// Product of the bases chosen.
    side: u64,
    /// Cells left for the coarser levels.
    rest: u64,
    /// Base chosen last.
    base: u64,
    /// Index of the choice this one extends.
    parent: usize,
}

/// The search for one axis' bases.
struct AxisSearch {
    /// Samples along the axis.
    extent: u64,
    /// Axes of the grid.
    n_axes: usize,
    /// Wanted logarithm (base 2) of each level's base, coarsest first.
    targets: Vec<f64>,
    /// Whether cells keep near their wanted sides instead of larger bases coming first.
    in_turn: bool,
}

impl AxisSearch {
    /// Score of padding the axis to `padded` samples.
    fn padding(&self, padded: u64) -> f64 {
        if padded == self.extent {
            return 0.0;
        }
        let bits = (padded as f64 / self.extent as f64).log2();
        let knee = if self.extent < SMALL_EXTENT {
            SMALL_EXTENT_KNEE / self.extent as f64
        } else {
            PADDING_KNEE.min(0.03 / self.n_axes as f64)
        };
        let knee = (1.0 + knee).log2();
        ANY_PADDING + PADDING_WEIGHT[0] * bits.min(knee) + PADDING_WEIGHT[1] * (bits - knee).max(0.0)
    }

    /// Score of a base at a level, with `side` the product of it and all finer ones.
    fn distance(&self, level: usize, base: u64, side: u64) -> f64 {
        let off = (base as f64).log2() - self.targets[level];
        let side = (side as f64).log2();
        let weight = if level + 1 < self.targets.len() {
            1.0
        } else {
            BLOCK_WEIGHT * self.n_axes as f64 * if off < 0.0 { SMALL_BLOCK_WEIGHT } else { 1.0 }
        };
        let order = if self.in_turn {
            let wanted: f64 = self.targets[level..].iter().sum();
            SIDE_WEIGHT * (side - wanted) * (side - wanted)
        } else {
            COARSE_WEIGHT * side
        };
        weight * off * off + order
    }

    /// The bases, coarsest first, from as near the targets as the padding limit allows.
    fn bases_within_limit(&self) -> Vec<usize> {
        let limit = self.extent as f64 * (1.0 + PADDING_LIMIT);
        let [near @ .., far] = REACH_BITS;
        for reach in near {
            let bases = self.bases(reach);
            let padded: u64 = bases.iter().map(|&b| b as u64).product();
            if padded as f64 <= limit || self.extent < SMALL_EXTENT {
                return bases;
            }
        }
        self.bases(far)
    }

    /// The bases, coarsest first, by a search over partial choices with bases within `reach` of the targets.
    fn bases(&self, reach: f64) -> Vec<usize> {
        let units = |score: f64| (score * UNIT).round() as i64;
        let start = Choice { distance: 0, score: 0, side: 1, rest: self.extent, base: 1, parent: 0 };
        let mut kept = vec![vec![start]];
        let mut candidates = Vec::new();
        for level in (0..self.targets.len()).rev() {
            let to_come: f64 = self.targets[..level].iter().sum();
            let mut next: Vec<Choice> = Vec::new();
            for (parent, choice) in kept[kept.len() - 1].iter().enumerate() {
                candidates.clear();
                if level == 0 {
                    candidates.push(choice.rest);
                } else {
                    candidate_bases(choice.rest, self.targets[level], reach, &mut candidates);
                }
                for &base in &candidates {
                    let (side, rest) = (choice.side * base, choice.rest.div_ceil(base));
                    let distance = choice.distance + units(self.distance(level, base, side));
                    // Whatever the coarser bases, they are off by this in sum: equal shares are the least.
                    let excess = (rest as f64).log2() - to_come;
                    let least = if level == 0 { 0.0 } else { excess * excess / level as f64 };
                    let score = distance + units(self.padding(side * rest) + least);
                    next.push(Choice { distance, score, side, rest, base, parent });
                }
            }
            // The best of those that leave the same rest, then the best of all; every tie has one order.
            next.sort_unstable_by_key(|c| (c.rest, c.score, c.side, c.base, c.parent));
            next.dedup_by_key(|c| c.rest);
            next.sort_unstable_by_key(|c| (c.score, c.rest));
            next.truncate(BEAM);
            kept.push(next);
        }
        // At level 0 the rest is 1: one choice, the best, is left.
        let mut bases = Vec::with_capacity(self.targets.len());
        let mut at = 0;
        for choices in kept[1..].iter().rev() {
            bases.push(choices[at].base as usize);
            at = choices[at].parent;
        }
        bases
    }
}

/// Bases to try for a level with this target on an axis with `rest` cells left: all near the target where these
/// are few, otherwise a geometric sample and the divisors of the rest.
fn candidate_bases(rest: u64, target: f64, reach: f64, out: &mut Vec<u64>) {
    let low = ((target - reach).exp2().floor() as u64).clamp(1, rest);
    let high = ((target + reach).exp2().ceil() as u64).clamp(low, rest);
    if high - low < 24 {
        out.extend(low..=high);
        return;
    }
    let ratio = (high as f64 / low as f64).ln() / (SAMPLED_BASES - 1) as f64;
    out.extend((0..SAMPLED_BASES).map(|i| ((low as f64 * (ratio * i as f64).exp()) as u64).clamp(low, high)));
    let centre = (target.exp2() as u64).clamp(low, high);
    let scan = 2048;
    out.extend(
        (low.max(centre.saturating_sub(scan))..=high.min(centre + scan)).filter(|&b| rest.is_multiple_of(b)),
    );
    out.sort_unstable();
    out.dedup();
}
