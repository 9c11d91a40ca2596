//! What a network is told of a sample, kept per axis: coordinates, and their sines and cosines of rising frequency.
//! Each is computed once per index of an axis and copied to the samples.

use crate::field::Shape;

/// Per axis, a row of the same number of values for each index.
pub(crate) struct AxisTables {
    axes: Vec<Vec<f32>>,
    columns: usize,
}

impl AxisTables {
    /// `row(axis, index, extent)` appends `columns` values.
    pub(crate) fn new(
        shape: &Shape,
        columns: usize,
        mut row: impl FnMut(usize, usize, &mut Vec<f32>),
    ) -> Self {
        let axis = |&extent: &usize| {
            let mut values = Vec::with_capacity(extent * columns);
            (0..extent).for_each(|index| row(index, extent, &mut values));
            assert_eq!(values.len(), extent * columns, "rows of equal length");
            values
        };
        Self { axes: shape.extents.iter().map(axis).collect(), columns }
    }

    /// Coordinates in \[-1, 1\], both ends included.
    pub(crate) fn centred(shape: &Shape) -> Self {
        Self::new(shape, 1, |index, extent, out| out.push(centred(index, extent) as f32))
    }

    /// `x` of `coordinate(index, extent)`, then `sin(2^i π x)` and `cos(2^i π x)` for i below `n_frequencies`
    /// (Mildenhall et al. 2020, equation 4, with `x` itself).
    pub(crate) fn encoded(
        shape: &Shape,
        n_frequencies: usize,
        coordinate: impl Fn(usize, usize) -> f64,
    ) -> Self {
        Self::new(shape, 1 + 2 * n_frequencies, |index, extent, out| {
            let x = coordinate(index, extent);
            out.push(x as f32);
            for i in 0..n_frequencies {
                let (sine, cosine) = (std::f64::consts::PI * f64::from(1u32 << i) * x).sin_cos();
                out.extend([sine as f32, cosine as f32]);
            }
        })
    }

    /// Values per sample.
    pub(crate) fn n_values(&self) -> usize {
        self.axes.len() * self.columns
    }

    /// Samples' rows, all axes one after the other; replaces `out`.
    pub(crate) fn fill(&self, shape: &Shape, samples: &[u32], out: &mut Vec<f32>) {
        out.clear();
        for &sample in samples {
            let indices = shape.indices(sample);
            for (axis, index) in self.axes.iter().zip(indices) {
                out.extend_from_slice(&axis[index * self.columns..][..self.columns]);
            }
        }
    }
}

/// -1 at the first sample of an axis, 1 at the last.
pub(crate) fn centred(index: usize, extent: usize) -> f64 {
    2.0 * index as f64 / (extent.max(2) - 1) as f64 - 1.0
}

/// Sines and cosines per sample of [`AxisTables::encoded`].
pub(crate) fn encoding_sines(shape: &Shape, n_frequencies: usize) -> f64 {
    2.0 * n_frequencies as f64 * shape.extents.iter().sum::<usize>() as f64 / shape.n_samples() as f64
}
