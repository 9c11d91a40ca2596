//! Entropy coding of quantised weights, exact to the bit everywhere.
//!
//! A weight is `q · step`: a whole number times a quantisation step, its tensor's or, in a matrix, that of its row and column
//! ([`TensorSteps`]). The whole numbers are coded as a few binary decisions each, every decision by a range coder with an
//! adaptive probability (as in `DeepCABAC`, Wiedemann et al. 2020): first whether `q` is 0, then its sign, then the length of
//! `|q|` in bits, one by one, then the bits below the highest. Nothing about the distribution is stored, and the decoder
//! learns it as the encoder did. All of it is integer arithmetic; the only floating-point operation is the last one,
//! `q · step`, and that is exact ([`Step`]).
//!
//! The range coder is the one of the crate `constriction` (64 bits of state, words of 32), the bytes are specified in
//! docs/FORMAT.md.

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{DefaultRangeDecoder, DefaultRangeEncoder};
use constriction::stream::{Decode, Encode};
use std::borrow::Borrow;
use std::num::NonZeroU32;
use thiserror::Error;

use crate::network::{NetworkConfig, Role, Tensor};

/// Bits of a probability.
const PRECISION: usize = 16;
/// The largest magnitude of a quantised weight: `q · mantissa` then has at most 24 bits, which an `f32` holds.
pub const MAX_MAGNITUDE: i32 = (1 << 21) - 1;
/// Bits of [`MAX_MAGNITUDE`].
const MAX_LENGTH: usize = 21;

/// The most octaves by which passes may refine steps, all together.
pub const MAX_REFINED_BITS: u8 = 20;

/// The most weights that a byte of code can stand for: shorter codes are filled up with bytes of 0, so that a short file never
/// asks for much memory.
pub const MAX_WEIGHTS_PER_BYTE: usize = 32;

/// The shortest code of a network's weights, in bytes.
pub(crate) fn least_bytes(config: &NetworkConfig) -> usize {
    config.n_params().div_ceil(MAX_WEIGHTS_PER_BYTE)
}

/// A quantisation step: `(4 + code mod 4) · 2^(code div 4 - 42)`, so four steps to the octave, from 2^-40 to
/// 7 · 2^21.
///
/// Times a whole number of at most 21 bits it is an `f32` without rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    code: u8,
}

impl Step {
    /// The step with a code.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self { code }
    }

    /// The largest step that is at most `size`, or the smallest of all.
    #[must_use]
    pub fn at_most(size: f64) -> Self {
        let code = (0..=u8::MAX).rev().find(|&code| f64::from(Self { code }.size()) <= size).unwrap_or(0);
        Self { code }
    }

    /// The smallest step that is at least `size`, or the largest of all.
    #[must_use]
    pub fn at_least(size: f64) -> Self {
        let code = (0..=u8::MAX).find(|&code| f64::from(Self { code }.size()) >= size).unwrap_or(u8::MAX);
        Self { code }
    }

    /// Its code.
    #[must_use]
    pub fn code(self) -> u8 {
        self.code
    }

    /// Its size.
    #[must_use]
    pub fn size(self) -> f32 {
        self.weight(1)
    }

    /// `q` steps: exact for magnitudes up to [`MAX_MAGNITUDE`].
    #[must_use]
    pub fn weight(self, q: i32) -> f32 {
        let mantissa = 4 + i32::from(self.code % 4);
        // 2^-42 to 2^21, a power of two made of its exponent's bits.
        let power = f32::from_bits((127 - 42 + u32::from(self.code / 4)) << 23);
        (q * mantissa) as f32 * power
    }

    /// The number of steps nearest to a weight, within [`MAX_MAGNITUDE`].
    #[must_use]
    pub fn quantise(self, weight: f64) -> i32 {
        let q = (weight / f64::from(self.size())).round();
        q.clamp(f64::from(-MAX_MAGNITUDE), f64::from(MAX_MAGNITUDE)) as i32
    }
}

/// Quantisation steps of a tensor.
///
/// Weights of a matrix may have finer and coarser steps by row and column: the code of `[i, j]` is `finest` and the grades of
/// both, `finest + rows[i] + columns[j]`, at most 255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSteps {
    /// The step of every weight where there are no grades.
    pub finest: Step,
    /// Grades by row: quarters of an octave. Empty where there are none.
    pub rows: Vec<u8>,
    /// Grades by column; empty where there are none.
    pub columns: Vec<u8>,
}

impl TensorSteps {
    /// One step for all weights.
    #[must_use]
    pub fn uniform(step: Step) -> Self {
        Self { finest: step, rows: Vec::new(), columns: Vec::new() }
    }

    /// The step of a weight of a matrix, or of any weight where there are no grades.
    ///
    /// # Panics
    /// When there are grades, but none for that row or column.
    #[must_use]
    pub fn step(&self, row: usize, column: usize) -> Step {
        if self.rows.is_empty() { self.finest } else { self.graded(row, column) }
    }

    /// Whether there are steps larger than these by so many octaves.
    fn are_within(&self, octaves: u8) -> bool {
        let largest = |grades: &[u8]| u32::from(grades.iter().copied().max().unwrap_or(0));
        let coarsest = u32::from(self.finest.code) + largest(&self.rows) + largest(&self.columns);
        u8::try_from(coarsest + 4 * u32::from(octaves)).is_ok()
    }

    fn graded(&self, row: usize, column: usize) -> Step {
        Step { code: self.finest.code.saturating_add(self.rows[row]).saturating_add(self.columns[column]) }
    }

    /// Whether they are steps of a tensor of this shape.
    #[must_use]
    pub fn fit(&self, shape: &[usize]) -> bool {
        if self.rows.is_empty() && self.columns.is_empty() {
            return true;
        }
        shape == [self.rows.len(), self.columns.len()] && self.are_within(0)
    }

    /// The step of each weight in the order of a flat array, for tensors whose last dimension is `n_columns`.
    fn all(&self, n_columns: usize) -> impl Iterator<Item = Step> {
        (0..).map(move |i| self.step(i / n_columns, i % n_columns))
    }
}

/// Quantised weights of a network: steps of each tensor, in the order of [`NetworkConfig::tensors`], and a whole number per
/// weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantisedWeights {
    /// By tensor.
    pub steps: Vec<TensorSteps>,
    /// By weight.
    pub values: Vec<i32>,
}

impl QuantisedWeights {
    /// The nearest to some weights.
    ///
    /// # Panics
    /// When there are not as many steps as tensors or weights as the configuration has, or steps do not fit their tensor.
    #[must_use]
    pub fn nearest(config: &NetworkConfig, steps: Vec<TensorSteps>, params: &[f32]) -> Self {
        let tensors = config.tensors();
        assert_eq!(
            (steps.len(), params.len()),
            (tensors.len(), config.n_params()),
            "one per tensor and weight"
        );
        let mut values = vec![0; params.len()];
        for (tensor, steps) in tensors.iter().zip(&steps) {
            assert!(steps.fit(&tensor.shape), "steps fit their tensor");
            let weights = &params[tensor.range()];
            for ((q, &w), step) in
                values[tensor.range()].iter_mut().zip(weights).zip(steps.all(n_columns(tensor)))
            {
                *q = step.quantise(f64::from(w));
            }
        }
        Self { steps, values }
    }

    /// Weights that are multiples of the steps already; `None` if one of them is not.
    ///
    /// # Panics
    /// As [`Self::nearest`].
    #[must_use]
    pub fn exact(config: &NetworkConfig, steps: Vec<TensorSteps>, params: &[f32]) -> Option<Self> {
        let quantised = Self::nearest(config, steps, params);
        // A weight of -0 is the same number as 0, which is what comes back.
        (quantised.weights(config) == params).then_some(quantised)
    }

    /// The weights, `q · step`.
    #[must_use]
    pub fn weights(&self, config: &NetworkConfig) -> Vec<f32> {
        let mut weights = vec![0.0; self.values.len()];
        for (tensor, steps) in config.tensors().iter().zip(&self.steps) {
            let values = &self.values[tensor.range()];
            for ((w, &q), step) in
                weights[tensor.range()].iter_mut().zip(values).zip(steps.all(n_columns(tensor)))
            {
                *w = step.weight(q);
            }
        }
        weights
    }

    /// The coded bytes.
    ///
    /// # Panics
    /// When the numbers of steps or values are not the configuration's, steps do not fit their tensor, or a magnitude is
    /// above [`MAX_MAGNITUDE`].
    #[must_use]
    pub fn encode(&self, config: &NetworkConfig) -> Vec<u8> {
        assert!(self.values.iter().all(|q| q.abs() <= MAX_MAGNITUDE), "magnitudes are in range");
        let tensors = config.tensors();
        assert!(
            self.steps.len() == tensors.len()
                && self.steps.iter().zip(&tensors).all(|(s, t)| s.fit(&t.shape)),
            "steps fit their tensors"
        );
        let mut coded = self.clone();
        let mut bytes = encode_decisions(|coder| code(coder, &tensors, &mut coded));
        bytes.resize(bytes.len().max(least_bytes(config)), 0);
        bytes
    }

    /// Decodes the bytes of [`Self::encode`]; takes memory for 8 bytes per weight, and there are at most
    /// [`MAX_WEIGHTS_PER_BYTE`] weights for a byte.
    ///
    /// # Errors
    /// [`CodingError`] for bytes that nothing is coded as.
    pub fn decode(config: &NetworkConfig, bytes: &[u8]) -> Result<Self, CodingError> {
        // What is coded has one form: no bytes of 0 at its end beyond the least number.
        let least = least_bytes(config);
        if bytes.len() < least || (bytes.len() > least && bytes.last() == Some(&0)) {
            return Err(CodingError::Invalid);
        }
        let n = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let tensors = config.tensors();
        let steps = vec![TensorSteps::uniform(Step::from_code(0)); tensors.len()];
        let mut coded = Self { steps, values: vec![0; config.n_params()] };
        decode_decisions(&bytes[..n], |coder| code(coder, &tensors, &mut coded))?;
        Ok(coded)
    }

    /// The codes of passes, weights from the coarsest to the finest: the first as [`Self::encode`] gives it, of the others what
    /// they add to the one before.
    ///
    /// # Panics
    /// When there is no pass; when the steps of one are not all finer by the same whole number of octaves than those of the one
    /// before, or its magnitudes are out of range; and as [`Self::encode`].
    #[must_use]
    pub fn encode_passes(config: &NetworkConfig, passes: &[Self]) -> Vec<Vec<u8>> {
        let tensors = config.tensors();
        let mut codes = vec![passes[0].encode(config)];
        for (before, after) in passes.iter().zip(&passes[1..]) {
            let octaves = before.refinement(after).expect("all steps are finer by the same octaves");
            let added = |(&fine, &coarse): (&i32, &i32)| fine - (coarse << octaves);
            let mut added: Vec<i32> = after.values.iter().zip(&before.values).map(added).collect();
            let largest = after.values.iter().chain(&added).map(|q| q.abs()).max().unwrap_or(0);
            assert!(largest <= MAX_MAGNITUDE, "magnitudes are in range");
            codes.push(encode_decisions(|coder| code_refinement(coder, &tensors, before, &mut added)));
        }
        codes
    }

    /// By how many octaves all steps of `finer` are finer than these.
    #[must_use]
    pub fn refinement(&self, finer: &Self) -> Option<u8> {
        let code = |weights: &Self| weights.steps.first().map(|steps| steps.finest.code);
        let quarters = code(self)?.checked_sub(code(finer)?).filter(|quarters| quarters.is_multiple_of(4))?;
        let is_refined = |(coarse, fine): (&TensorSteps, &TensorSteps)| {
            fine.finest.code.checked_add(quarters) == Some(coarse.finest.code)
                && (&fine.rows, &fine.columns) == (&coarse.rows, &coarse.columns)
        };
        self.steps.iter().zip(&finer.steps).all(is_refined).then_some(quarters / 4)
    }

    /// Passes for [`Self::encode_passes`] that end with these weights (with finer steps where there is no room for coarser ones),
    /// each of `refinements` making steps finer by that many octaves, of weights rounded to the nearest one by one.
    ///
    /// `None` where a tensor has weights too large, in steps, for the coarse ones to be steps.
    ///
    /// # Panics
    /// When the refinements have more than [`MAX_REFINED_BITS`] octaves together.
    #[must_use]
    pub fn nearest_passes(&self, config: &NetworkConfig, refinements: &[u8]) -> Option<Vec<Self>> {
        let mut left = all_octaves(refinements);
        let finest = self.with_room(config, left)?;
        let mut passes = vec![finest.coarser(left)];
        for &octaves in refinements {
            left -= octaves;
            passes.push(finest.coarser(left));
        }
        Some(passes)
    }

    /// Decodes the first passes of [`Self::encode_passes`], one or more: of a part of them the weights are coarser.
    ///
    /// # Errors
    /// [`CodingError`] for bytes that nothing is coded as.
    ///
    /// # Panics
    /// When there is no pass, or there are more than the refinements have, or these have more than [`MAX_REFINED_BITS`] octaves.
    pub fn decode_passes(
        config: &NetworkConfig,
        refinements: &[u8],
        passes: &[impl AsRef<[u8]>],
    ) -> Result<Self, CodingError> {
        let (first, others) = passes.split_first().expect("there is a first pass");
        assert!(others.len() <= refinements.len(), "a refinement for each further pass");
        all_octaves(refinements);
        let tensors = config.tensors();
        let mut weights = Self::decode(config, first.as_ref())?;
        for (&bits, code) in refinements.iter().zip(others) {
            let mut added = vec![0; weights.values.len()];
            decode_decisions(code.as_ref(), |coder| code_refinement(coder, &tensors, &weights, &mut added))?;
            for (q, added) in weights.values.iter_mut().zip(added) {
                let finer = (i64::from(*q) << bits) + i64::from(added);
                let is_small = finer.unsigned_abs() <= MAX_MAGNITUDE.unsigned_abs().into();
                *q = if is_small { finer as i32 } else { return Err(CodingError::Invalid) };
            }
            for steps in &mut weights.steps {
                steps.finest.code = steps.finest.code.checked_sub(4 * bits).ok_or(CodingError::Invalid)?;
            }
        }
        Ok(weights)
    }

    /// The same weights in steps of which there are some by so many octaves larger; `None` where that takes numbers out of range.
    #[must_use]
    pub fn with_room(&self, config: &NetworkConfig, octaves: u8) -> Option<Self> {
        let mut weights = self.clone();
        for (tensor, steps) in config.tensors().iter().zip(&mut weights.steps) {
            while !steps.are_within(octaves) {
                steps.finest.code = steps.finest.code.checked_sub(4)?;
                for q in &mut weights.values[tensor.range()] {
                    *q = Some(*q * 2).filter(|q| q.abs() <= MAX_MAGNITUDE)?;
                }
            }
        }
        Some(weights)
    }

    /// The nearest in steps larger by so many octaves, of which there have to be some ([`Self::with_room`]); of two equally near the
    /// one nearer to 0.
    #[must_use]
    pub fn coarser(&self, octaves: u8) -> Self {
        let mut weights = self.clone();
        let half = (1 << octaves) / 2;
        for q in &mut weights.values {
            let magnitude = (q.abs() + half - i32::from(octaves > 0)) >> octaves;
            *q = magnitude * q.signum();
        }
        for steps in &mut weights.steps {
            steps.finest.code += 4 * octaves;
        }
        weights
    }
}

/// The bytes of decisions, without bytes of 0 at their end.
pub(crate) fn encode_decisions(decide: impl FnOnce(&mut Encoder<'_>) -> Result<(), CodingError>) -> Vec<u8> {
    let mut encoder = DefaultRangeEncoder::new();
    // An encoder never fails: every decision has a probability above 0, and its memory grows as needed.
    let done = decide(&mut Encoder(&mut encoder));
    debug_assert!(done.is_ok());
    let words = encoder.into_compressed().unwrap_or_default();
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    // Bytes that are missing at the end are read as 0.
    bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    bytes
}

/// Takes decisions from their bytes, which must have no byte of 0 at their end, nor more than was needed.
pub(crate) fn decode_decisions(
    bytes: &[u8],
    decide: impl FnOnce(&mut Decoder<'_>) -> Result<(), CodingError>,
) -> Result<(), CodingError> {
    if bytes.last() == Some(&0) {
        return Err(CodingError::Invalid);
    }
    let words: Vec<u32> = bytes
        .chunks(4)
        .map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_be_bytes(word)
        })
        .collect();
    let Ok(mut decoder) = DefaultRangeDecoder::from_compressed(words);
    decide(&mut Decoder(&mut decoder))?;
    // Of all numbers in the last interval an encoder writes one, the first multiple of a word in it, and nothing may follow it.
    let is_all = decoder.maybe_exhausted();
    let (_, interval, value) = decoder.into_raw_parts();
    let is_first = value.is_multiple_of(1 << 32) && value.wrapping_sub(interval.lower()) < 1 << 32;
    if is_all && is_first { Ok(()) } else { Err(CodingError::Invalid) }
}

/// Why weights or corrections are not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodingError {
    /// Bytes that are no code of any.
    #[error("the coded numbers are not what an encoder writes")]
    Invalid,
    /// Memory could not be had.
    #[error("not enough memory for {n_bytes} bytes of decoded values")]
    Memory {
        /// Bytes asked for.
        n_bytes: u64,
    },
}

/// Zeros, as many as a file says and there is memory for.
pub(crate) fn zeros<T: Clone + Default>(n: usize) -> Result<Vec<T>, CodingError> {
    let mut values = Vec::new();
    let n_bytes = (n as u64).saturating_mul(size_of::<T>() as u64);
    values.try_reserve_exact(n).map_err(|_| CodingError::Memory { n_bytes })?;
    values.resize(n, T::default());
    Ok(values)
}

/// One direction of the coder: both take the same decisions in the same order.
pub(crate) trait Coder {
    /// Codes a decision: an encoder takes `bit`, a decoder ignores it; both give what was coded.
    fn bit(&mut self, probability: &mut Probability, bit: bool) -> Result<bool, CodingError>;
}

pub(crate) struct Encoder<'a>(&'a mut DefaultRangeEncoder);

impl Coder for Encoder<'_> {
    fn bit(&mut self, probability: &mut Probability, bit: bool) -> Result<bool, CodingError> {
        self.0.encode_symbol(bit, *probability).map_err(|_| CodingError::Invalid)?;
        probability.update(bit);
        Ok(bit)
    }
}

pub(crate) struct Decoder<'a>(&'a mut DefaultRangeDecoder);

impl Coder for Decoder<'_> {
    fn bit(&mut self, probability: &mut Probability, _bit: bool) -> Result<bool, CodingError> {
        let bit = self.0.decode_symbol(*probability).map_err(|_| CodingError::Invalid)?;
        probability.update(bit);
        Ok(bit)
    }
}

/// The estimated probability that a decision is "no", learnt from those before it: a mean of all at first, of about
/// [`Self::MEMORY`] later.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probability {
    /// Of 2^[`PRECISION`].
    of_no: u16,
    n_seen: u8,
}

impl Probability {
    const MEMORY: u8 = 160;
    /// Neither answer is ever taken for impossible.
    const LEAST: i32 = 48;

    const fn new() -> Self {
        Self { of_no: 1 << (PRECISION - 1), n_seen: 0 }
    }

    fn update(&mut self, bit: bool) {
        let target = if bit { Self::LEAST } else { (1 << PRECISION) - Self::LEAST };
        let p = i32::from(self.of_no);
        // The first answer moves it two thirds of the way, as if one of each had been seen before by half.
        self.of_no = (p + (target - p) * 2 / (2 * i32::from(self.n_seen) + 3)) as u16;
        self.n_seen = (self.n_seen + 1).min(Self::MEMORY);
    }

    /// First quantile and width of an answer.
    fn interval(self, bit: bool) -> (u32, NonZeroU32) {
        let of_no = u32::from(self.of_no);
        let (start, width) = if bit { (of_no, (1 << PRECISION) - of_no) } else { (0, of_no) };
        (start, NonZeroU32::new(width).unwrap_or(NonZeroU32::MIN))
    }
}

impl EntropyModel<PRECISION> for Probability {
    type Symbol = bool;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Probability {
    fn left_cumulative_and_probability(&self, bit: impl Borrow<bool>) -> Option<(u32, NonZeroU32)> {
        Some(self.interval(*bit.borrow()))
    }
}

impl DecoderModel<PRECISION> for Probability {
    fn quantile_function(&self, quantile: u32) -> (bool, u32, NonZeroU32) {
        let bit = quantile >= u32::from(self.of_no);
        let (start, width) = self.interval(bit);
        (bit, start, width)
    }
}

/// What is learnt about numbers alike, of at most `LONGEST` bits. Neighbours of a weight say nothing about it: contexts of the
/// magnitudes beside and above it made trained networks' files longer.
#[derive(Clone, Debug)]
pub(crate) struct NumberModel<const LONGEST: usize> {
    is_zero: Probability,
    is_negative: Probability,
    /// Whether `|q|` has more than `i + 1` bits.
    is_longer: [Probability; LONGEST],
    /// By length less 1: the highest bit below the leading one, ...
    second: [Probability; LONGEST],
    /// ... and the next, by that one.
    third: [[Probability; 2]; LONGEST],
}

impl<const LONGEST: usize> NumberModel<LONGEST> {
    pub(crate) fn new() -> Self {
        let new = Probability::new();
        Self {
            is_zero: new,
            is_negative: new,
            is_longer: [new; LONGEST],
            second: [new; LONGEST],
            third: [[new; 2]; LONGEST],
        }
    }
}

/// Which tensors share what is learnt.
fn class(role: Role) -> usize {
    match role {
        Role::LayerWeight(0) => 0,
        Role::LayerWeight(_) => 1,
        Role::LayerBias(_) | Role::OutputBias => 2,
        Role::OutputWeight => 3,
        Role::Modulator(_) => 4,
    }
}
const N_CLASSES: usize = 5;

/// Weights of coarser steps are fewer steps: what is learnt about numbers is kept apart by whole octaves of grades, those from
/// the last one on together.
const N_OCTAVES: usize = 8;

/// Length of a tensor's rows in the flat array.
fn n_columns(tensor: &Tensor) -> usize {
    tensor.shape.last().copied().unwrap_or(1)
}

/// Codes everything, in either direction.
fn code(
    coder: &mut impl Coder,
    tensors: &[Tensor],
    weights: &mut QuantisedWeights,
) -> Result<(), CodingError> {
    let mut models: [[NumberModel<MAX_LENGTH>; N_OCTAVES]; N_CLASSES] =
        std::array::from_fn(|_| std::array::from_fn(|_| NumberModel::new()));
    let mut grade_model = NumberModel::new();
    for (tensor, steps) in tensors.iter().zip(&mut weights.steps) {
        code_steps(coder, &mut grade_model, &tensor.shape, steps)?;
        let models = &mut models[class(tensor.role)];
        for (q, step) in weights.values[tensor.range()].iter_mut().zip(steps.all(n_columns(tensor))) {
            *q = number(coder, &mut models[octave(steps, step)], i64::from(*q))? as i32;
        }
    }
    Ok(())
}

/// Sets of what is learnt about what a pass adds, by the number of bits, at most 2, of the weight so far: a weight of 0 may grow in
/// both directions, one of 1 is more often a little too large.
const N_LENGTHS: usize = 3;

/// Codes what a pass adds to weights, in either direction; positive away from 0.
fn code_refinement(
    coder: &mut impl Coder,
    tensors: &[Tensor],
    weights: &QuantisedWeights,
    added: &mut [i32],
) -> Result<(), CodingError> {
    let mut models: [[[NumberModel<MAX_LENGTH>; N_LENGTHS]; N_OCTAVES]; N_CLASSES] =
        std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| NumberModel::new())));
    for (tensor, steps) in tensors.iter().zip(&weights.steps) {
        let models = &mut models[class(tensor.role)];
        let values = weights.values[tensor.range()].iter().zip(&mut added[tensor.range()]);
        for ((&q, added), step) in values.zip(steps.all(n_columns(tensor))) {
            let models = &mut models[octave(steps, step)];
            let length = (u32::BITS - q.unsigned_abs().leading_zeros()) as usize;
            let sign = if q < 0 { -1 } else { 1 };
            *added = sign
                * number(coder, &mut models[length.min(N_LENGTHS - 1)], i64::from(sign * *added))? as i32;
        }
    }
    Ok(())
}

/// Octaves of refinements together.
fn all_octaves(refinements: &[u8]) -> u8 {
    let sum: u32 = refinements.iter().map(|&bits| u32::from(bits)).sum();
    assert!(sum <= u32::from(MAX_REFINED_BITS), "steps have a range");
    sum as u8
}

/// Whole octaves of a weight's grades, as far as they are told apart.
fn octave(steps: &TensorSteps, step: Step) -> usize {
    usize::from((step.code - steps.finest.code) / 4).min(N_OCTAVES - 1)
}

/// Codes the steps of a tensor.
fn code_steps(
    coder: &mut impl Coder,
    model: &mut NumberModel<MAX_LENGTH>,
    shape: &[usize],
    steps: &mut TensorSteps,
) -> Result<(), CodingError> {
    steps.finest.code = raw_bits(coder, u32::from(steps.finest.code), 8)? as u8;
    let &[n_rows, n_columns] = shape else { return Ok(()) };
    if raw_bits(coder, u32::from(!steps.rows.is_empty()), 1)? == 1 {
        for (grades, n) in [(&mut steps.rows, n_rows), (&mut steps.columns, n_columns)] {
            grades.resize(n, 0);
            for grade in grades {
                *grade = u8::try_from(number(coder, model, i64::from(*grade))?)
                    .map_err(|_| CodingError::Invalid)?;
            }
        }
    }
    if steps.fit(shape) { Ok(()) } else { Err(CodingError::Invalid) }
}

/// Codes a whole number of at most `LONGEST` bits.
pub(crate) fn number<const LONGEST: usize>(
    coder: &mut impl Coder,
    model: &mut NumberModel<LONGEST>,
    q: i64,
) -> Result<i64, CodingError> {
    if coder.bit(&mut model.is_zero, q == 0)? {
        return Ok(0);
    }
    let negative = coder.bit(&mut model.is_negative, q < 0)?;
    let magnitude = q.unsigned_abs();
    let wanted = (u64::BITS - magnitude.leading_zeros()) as usize;
    let mut length = 1;
    while length < LONGEST && coder.bit(&mut model.is_longer[length - 1], wanted > length)? {
        length += 1;
    }
    let mut coded = 1;
    for left in (0..length - 1).rev() {
        let bit = magnitude >> left & 1;
        let bit = match length - 2 - left {
            0 => u64::from(coder.bit(&mut model.second[length - 1], bit == 1)?),
            1 => u64::from(coder.bit(&mut model.third[length - 1][(coded & 1) as usize], bit == 1)?),
            _ => u64::from(raw_bits(coder, bit as u32, 1)?),
        };
        coded = coded << 1 | bit;
    }
    Ok(if negative { -(coded as i64) } else { coded as i64 })
}

/// Codes bits that nothing is known about, the highest first.
fn raw_bits(coder: &mut impl Coder, value: u32, n: u32) -> Result<u32, CodingError> {
    let mut coded = 0;
    for left in (0..n).rev() {
        coded = coded << 1 | u32::from(coder.bit(&mut Probability::new(), value >> left & 1 == 1)?);
    }
    Ok(coded)
}
