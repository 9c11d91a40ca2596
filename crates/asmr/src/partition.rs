//! Partitions: how a grid is cut, level by level, into cells that share activations.
//!
//! Each axis' extent is written as a product of bases, one per level, level 0 coarsest:
//! `N = B[0] · B[1] · … · B[L-1]`. An index has one *digit* per level, `floor(x / stride) mod B`, where a
//! level's stride is the product of the finer bases. A product above the extent pads the axis at its end; the
//! padding costs arithmetic and nothing else.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::signal::{MAX_AXES, MAX_EXTENT};

/// The fewest levels: one sine layer and the output layer.
pub const MIN_LEVELS: usize = 2;
/// The most levels. 31 bases of 2 reach the largest extent.
pub const MAX_LEVELS: usize = 32;
/// The most digit tuples one level may have; each costs a row of the digit table.
pub const MAX_TUPLES: usize = 1 << 24;

/// A position or size per axis; axes past the signal's own stay 0 (positions) or 1 (sizes).
pub type PerAxis = [u64; MAX_AXES];

/// Whether a position is the first or the last of its block along an axis: a seam, where the error of a network is
/// larger. `block` is the last level's base. Blocks of one or two positions have no inside, and so no edge: otherwise
/// everything would be one.
#[must_use]
pub fn is_block_edge(block: u64, position: u64) -> bool {
    block > 2 && (position.is_multiple_of(block) || position % block == block - 1)
}

/// A validated partition of a grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PartitionData", into = "PartitionData")]
pub struct Partition {
    extents: Vec<usize>,
    /// `[axis][level]`
    bases: Vec<Vec<usize>>,
    /// `[axis][level]`
    strides: Vec<Vec<u64>>,
}

/// The stored form of a partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionData {
    extents: Vec<usize>,
    bases: Vec<Vec<usize>>,
}

impl TryFrom<PartitionData> for Partition {
    type Error = PartitionError;
    fn try_from(data: PartitionData) -> Result<Self, PartitionError> {
        Self::new(&data.extents, &data.bases)
    }
}

impl From<Partition> for PartitionData {
    fn from(p: Partition) -> Self {
        Self { extents: p.extents, bases: p.bases }
    }
}

/// Why bases do not make a partition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartitionError {
    /// Not 1 to 4 axes.
    #[error("a partition has 1 to {MAX_AXES} axes, not {0}")]
    Axes(usize),
    /// One list of bases per axis is needed.
    #[error(
        "{given} lists of bases for a signal with {expected} axes; give one list per axis, separated by ';' \
         (slowest axis first)"
    )]
    AxisCount {
        /// Lists given.
        given: usize,
        /// Axes of the signal.
        expected: usize,
    },
    /// An extent outside its range.
    #[error("axis {axis} has extent {extent}; an extent is 1 to {MAX_EXTENT}")]
    Extent {
        /// Which axis, slowest is 0.
        axis: usize,
        /// The refused extent.
        extent: usize,
    },
    /// Too few or too many levels.
    #[error("axis {axis} has {levels} bases; a partition has {MIN_LEVELS} to {MAX_LEVELS} levels")]
    Levels {
        /// Which axis.
        axis: usize,
        /// Its number of bases.
        levels: usize,
    },
    /// Axes with different numbers of levels.
    #[error(
        "axis {axis} has {levels} bases and axis 0 has {expected}; all axes need the same number of levels"
    )]
    UnequalLevels {
        /// Which axis.
        axis: usize,
        /// Its number of bases.
        levels: usize,
        /// The first axis' number of bases.
        expected: usize,
    },
    /// A base of zero or past the largest extent.
    #[error("axis {axis} has base {base} at level {level}; a base is 1 to {MAX_EXTENT}")]
    Base {
        /// Which axis.
        axis: usize,
        /// Which level, coarsest is 0.
        level: usize,
        /// The refused base.
        base: usize,
    },
    /// The bases do not reach the extent.
    #[error(
        "the bases {bases:?} of axis {axis} reach {product} of its {extent} samples; their product must be at least the extent"
    )]
    TooShort {
        /// Which axis.
        axis: usize,
        /// Its bases.
        bases: Vec<usize>,
        /// Their product.
        product: u64,
        /// The axis' extent.
        extent: usize,
    },
    /// Padding past all reason.
    #[error("the bases {bases:?} of axis {axis} multiply to more than {}; use smaller ones (its extent is {extent})", 2 * MAX_EXTENT as u64)]
    TooLong {
        /// Which axis.
        axis: usize,
        /// Its bases.
        bases: Vec<usize>,
        /// The axis' extent.
        extent: usize,
    },
    /// A level with more digit tuples than a table may have rows.
    #[error(
        "level {level} has {tuples} digit tuples (the product of its bases over all axes); at most {MAX_TUPLES} are allowed, so spread the bases over more levels"
    )]
    Tuples {
        /// Which level.
        level: usize,
        /// Its digit tuples.
        tuples: u128,
    },
    /// Text that is not bases.
    #[error(
        "'{0}' is not a base; write bases as whole numbers, ',' between levels and ';' between axes, as in \"4,4,4,8;4,4,6,8\""
    )]
    Syntax(String),
}

/// Reads `"4,4,4,8;4,4,6,8"`: levels separated by commas, axes by semicolons.
///
/// # Errors
/// [`PartitionError::Syntax`] with the part that is not a number.
pub fn parse_bases(text: &str) -> Result<Vec<Vec<usize>>, PartitionError> {
    text.split(';')
        .map(|axis| {
            axis.split(',')
                .map(|b| b.trim().parse().map_err(|_| PartitionError::Syntax(b.trim().to_owned())))
                .collect()
        })
        .collect()
}

impl Partition {
    /// Validates `bases[axis][level]` against the extents (slowest axis first, coarsest level first).
    ///
    /// # Errors
    /// [`PartitionError`] names the axis, the actual value and what is accepted.
    pub fn new(extents: &[usize], bases: &[Vec<usize>]) -> Result<Self, PartitionError> {
        if extents.is_empty() || extents.len() > MAX_AXES {
            return Err(PartitionError::Axes(extents.len()));
        }
        if bases.len() != extents.len() {
            return Err(PartitionError::AxisCount { given: bases.len(), expected: extents.len() });
        }
        let n_levels = bases[0].len();
        let mut strides = Vec::with_capacity(bases.len());
        for (axis, (list, &extent)) in bases.iter().zip(extents).enumerate() {
            if extent == 0 || extent > MAX_EXTENT {
                return Err(PartitionError::Extent { axis, extent });
            }
            if list.len() < MIN_LEVELS || list.len() > MAX_LEVELS {
                return Err(PartitionError::Levels { axis, levels: list.len() });
            }
            if list.len() != n_levels {
                return Err(PartitionError::UnequalLevels { axis, levels: list.len(), expected: n_levels });
            }
            let mut stride = vec![0; n_levels];
            let mut product = 1u64;
            for level in (0..n_levels).rev() {
                let base = list[level];
                if base == 0 || base > MAX_EXTENT {
                    return Err(PartitionError::Base { axis, level, base });
                }
                stride[level] = product;
                // Each factor is at most 2^31 and the running product at most 2^32: no overflow.
                product *= base as u64;
                if product > 2 * MAX_EXTENT as u64 {
                    return Err(PartitionError::TooLong { axis, bases: list.clone(), extent });
                }
            }
            if product < extent as u64 {
                return Err(PartitionError::TooShort { axis, bases: list.clone(), product, extent });
            }
            strides.push(stride);
        }
        for level in 0..n_levels {
            let tuples: u128 = bases.iter().map(|list| list[level] as u128).product();
            if tuples > MAX_TUPLES as u128 {
                return Err(PartitionError::Tuples { level, tuples });
            }
        }
        Ok(Self { extents: extents.to_vec(), bases: bases.to_vec(), strides })
    }

    /// Number of axes, 1 to 4.
    #[must_use]
    pub fn n_axes(&self) -> usize {
        self.extents.len()
    }

    /// Number of levels, which is also the number of linear layers of a network.
    #[must_use]
    pub fn n_levels(&self) -> usize {
        self.bases[0].len()
    }

    /// Extents without padding, slowest axis first.
    #[must_use]
    pub fn extents(&self) -> &[usize] {
        &self.extents
    }

    /// Bases as `[axis][level]`.
    #[must_use]
    pub fn bases(&self) -> &[Vec<usize>] {
        &self.bases
    }

    /// Base of an axis at a level.
    #[must_use]
    pub fn base(&self, axis: usize, level: usize) -> usize {
        self.bases[axis][level]
    }

    /// Samples along an axis between neighbouring cells of a level: the product of the finer bases.
    #[must_use]
    pub fn stride(&self, axis: usize, level: usize) -> u64 {
        self.strides[axis][level]
    }

    /// Extent of an axis with its padding: the product of its bases.
    #[must_use]
    pub fn padded_extent(&self, axis: usize) -> u64 {
        self.strides[axis][0] * self.bases[axis][0] as u64
    }

    /// Samples of the grid without padding, N. At most 2^124.
    #[must_use]
    pub fn n_samples(&self) -> u128 {
        self.extents.iter().map(|&e| e as u128).product()
    }

    /// Samples of the grid with padding.
    #[must_use]
    pub fn n_padded_samples(&self) -> u128 {
        (0..self.n_axes()).map(|a| u128::from(self.padded_extent(a))).product()
    }

    /// Digit tuples of one level, K.
    #[must_use]
    pub fn n_tuples(&self, level: usize) -> usize {
        self.bases.iter().map(|list| list[level]).product()
    }

    /// Cells of the grid spanned by levels 0 to `level`, padding included: G.
    #[must_use]
    pub fn n_cells(&self, level: usize) -> u128 {
        (0..=level).map(|l| self.n_tuples(l) as u128).product()
    }

    /// Cells of that grid that hold at least one real sample.
    #[must_use]
    pub fn n_visible_cells(&self, level: usize) -> u128 {
        (0..self.n_axes())
            .map(|a| u128::from((self.extents[a] as u64).div_ceil(self.strides[a][level])))
            .product()
    }

    /// Digit of an index on an axis at a level.
    #[must_use]
    pub fn digit(&self, axis: usize, level: usize, index: u64) -> usize {
        ((index / self.strides[axis][level]) % self.bases[axis][level] as u64) as usize
    }

    /// A digit's coordinate in \[0, 1\]: `digit / (B - 1)`, and 0 where B = 1.
    #[must_use]
    pub fn coordinate(&self, axis: usize, level: usize, digit: usize) -> f64 {
        match self.bases[axis][level] {
            1 => 0.0,
            base => digit as f64 / (base - 1) as f64,
        }
    }

    /// Digits of tuple `tuple` of a level, row-major over the axes.
    #[must_use]
    pub fn tuple_digits(&self, level: usize, tuple: usize) -> [usize; MAX_AXES] {
        let mut digits = [0; MAX_AXES];
        let mut rest = tuple;
        for axis in (0..self.n_axes()).rev() {
            digits[axis] = rest % self.bases[axis][level];
            rest /= self.bases[axis][level];
        }
        digits
    }

    /// The tuple that a position belongs to at a level: the inverse of [`Self::tuple_digits`].
    #[must_use]
    pub fn tuple_at(&self, level: usize, position: &PerAxis) -> usize {
        (0..self.n_axes())
            .fold(0, |t, axis| t * self.bases[axis][level] + self.digit(axis, level, position[axis]))
    }

    /// First sample of the cell of `level` that holds `position`.
    #[must_use]
    pub fn cell_origin(&self, level: usize, position: &PerAxis) -> PerAxis {
        let mut origin = [0; MAX_AXES];
        for axis in 0..self.n_axes() {
            origin[axis] = position[axis] - position[axis] % self.strides[axis][level];
        }
        origin
    }

    /// The bases as text, as [`parse_bases`] reads it.
    #[must_use]
    pub fn bases_text(&self) -> String {
        let axes: Vec<String> = self
            .bases
            .iter()
            .map(|list| list.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
            .collect();
        axes.join(";")
    }
}
