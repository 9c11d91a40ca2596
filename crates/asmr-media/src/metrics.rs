//! How close one signal is to another.
//!
//! All of these compare values scaled to \[0, 1\] as the network sees them (8-bit values over 255, 16-bit values over
//! 65535, floats as they are), except [`max_abs_error`], which stays in the values' own units. Both signals must have
//! the same extents, channels and sample type. An alpha channel is a channel like any other.

use asmr::signal::{Samples, Signal, SignalInfo};
use thiserror::Error;

/// Rows and columns of the SSIM window.
const WINDOW: usize = 7;
/// Values in the window.
const WINDOW_AREA: f64 = (WINDOW * WINDOW) as f64;

/// Why two signals cannot be compared.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// Extents, channels or sample type differ.
    #[error("cannot compare {a} with {b}; extents, channels and sample type must be equal")]
    Differ {
        /// The first signal's shape and type.
        a: String,
        /// The second signal's.
        b: String,
    },
}

/// Calls a generic function with the typed slices of two [`Samples`] of one type.
macro_rules! pair {
    ($a:expr, $b:expr, $function:path $(, $more:expr)*) => {
        match ($a, $b) {
            (Samples::U8(a), Samples::U8(b)) => $function(a, b $(, $more)*),
            (Samples::I8(a), Samples::I8(b)) => $function(a, b $(, $more)*),
            (Samples::U16(a), Samples::U16(b)) => $function(a, b $(, $more)*),
            (Samples::I16(a), Samples::I16(b)) => $function(a, b $(, $more)*),
            (Samples::U32(a), Samples::U32(b)) => $function(a, b $(, $more)*),
            (Samples::I32(a), Samples::I32(b)) => $function(a, b $(, $more)*),
            (Samples::F32(a), Samples::F32(b)) => $function(a, b $(, $more)*),
            (Samples::F64(a), Samples::F64(b)) => $function(a, b $(, $more)*),
            _ => unreachable!("the sample types are equal"),
        }
    };
}

/// Mean squared error over all samples and channels, of values scaled to \[0, 1\]. Exact (one rounding) for 8-bit
/// signals.
///
/// # Errors
/// [`MetricError::Differ`].
pub fn mse(a: &Signal, b: &Signal) -> Result<f64, MetricError> {
    check(a, b)?;
    let n = a.samples().len() as f64;
    Ok(match (a.samples(), b.samples()) {
        (Samples::U8(a), Samples::U8(b)) => {
            let sum: u64 = a.iter().zip(b).map(|(&x, &y)| u64::from(x.abs_diff(y)).pow(2)).sum();
            sum as f64 / (n * 255.0 * 255.0)
        }
        (Samples::U16(a), Samples::U16(b)) => {
            // In parts: the sum of 2^32 squares of 65535 would pass 2^64.
            let sum: f64 = a.chunks(1 << 16).zip(b.chunks(1 << 16)).fold(0.0, |sum, (a, b)| {
                let part: u64 = a.iter().zip(b).map(|(&x, &y)| u64::from(x.abs_diff(y)).pow(2)).sum();
                sum + part as f64
            });
            sum / (n * 65535.0 * 65535.0)
        }
        _ => {
            let unit = unit_near(a.info().peak());
            squared_error_in(unit, a.samples(), b.samples()) / (n * (a.info().peak() * unit).powi(2))
        }
    })
}

/// The sum of squared differences of two arrays of one type and length, in stored values.
///
/// # Panics
/// When the types differ.
#[must_use]
pub fn squared_error(a: &Samples, b: &Samples) -> f64 {
    squared_error_in(1.0, a, b)
}

/// [`squared_error`] of differences multiplied by `factor`.
pub(crate) fn squared_error_in(factor: f64, a: &Samples, b: &Samples) -> f64 {
    // In parts, so that the rounding of a long sum stays that of a short one.
    fn sum<T: Copy + Into<f64>>(a: &[T], b: &[T], factor: f64) -> f64 {
        a.chunks(1 << 12).zip(b.chunks(1 << 12)).fold(0.0, |sum, (a, b)| {
            let part: f64 = a.iter().zip(b).map(|(&x, &y)| ((x.into() - y.into()) * factor).powi(2)).sum();
            sum + part
        })
    }
    pair!(a, b, sum, factor)
}

/// The power of two that brings a peak to 1 to 2: multiplied by it, differences of the smallest and largest 64-bit
/// floats have squares, and nothing else changes.
pub(crate) fn unit_near(peak: f64) -> f64 {
    let exponent = (peak.to_bits() >> 52 & 0x7ff).clamp(1, 2045);
    f64::from_bits((2046 - exponent) << 52)
}

/// The largest difference of two arrays of one type and length, in stored values.
///
/// # Panics
/// When the types differ.
#[must_use]
pub fn largest_difference(a: &Samples, b: &Samples) -> f64 {
    fn largest<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> f64 {
        a.iter().zip(b).map(|(&x, &y)| (x.into() - y.into()).abs()).fold(0.0, f64::max)
    }
    pair!(a, b, largest)
}

/// Peak signal-to-noise ratio in dB: `-10 log10(mse)`, the peak being 1. `None` when the signals are equal.
///
/// # Errors
/// [`MetricError::Differ`].
pub fn psnr_db(a: &Signal, b: &Signal) -> Result<Option<f64>, MetricError> {
    mse(a, b).map(psnr_db_of_mse)
}

/// `-10 log10(mse)`; `None` for an error of exactly zero, whose ratio is infinite.
#[must_use]
pub fn psnr_db_of_mse(mse: f64) -> Option<f64> {
    (mse != 0.0).then(|| -10.0 * mse.log10())
}

/// The largest absolute difference of two values, in the signal's own units: 0 to 255 for 8-bit pictures, 0 to 65535
/// for 16-bit ones.
///
/// # Errors
/// [`MetricError::Differ`].
pub fn max_abs_error(a: &Signal, b: &Signal) -> Result<f64, MetricError> {
    check(a, b)?;
    Ok(largest_difference(a.samples(), b.samples()))
}

/// Structural similarity (Wang et al. 2004) of two pictures, at most 1; 1 when they are equal. `None` when the signal
/// does not have two axes of 7 or more.
///
/// The definition is that of scikit-image's `structural_similarity` with its defaults, `data_range = 1` and the
/// channels last: a uniform 7 x 7 window, sample covariance (divided by 48), K1 = 0.01, K2 = 0.03, the mean over all
/// places where the window lies inside the picture, and over channels.
///
/// Memory: ten rows of `f64`.
///
/// # Errors
/// [`MetricError::Differ`].
pub fn ssim(a: &Signal, b: &Signal) -> Result<Option<f64>, MetricError> {
    check(a, b)?;
    let &[rows, columns] = a.info().extents.as_slice() else { return Ok(None) };
    if rows < WINDOW || columns < WINDOW {
        return Ok(None);
    }
    let channels = a.info().channels;
    Ok(Some(match (a.samples(), b.samples()) {
        (Samples::U8(a), Samples::U8(b)) => ssim_of(a, b, columns, channels, 255.0, true),
        (Samples::U16(a), Samples::U16(b)) => ssim_of(a, b, columns, channels, 65535.0, true),
        (Samples::F32(a), Samples::F32(b)) => ssim_of(a, b, columns, channels, 1.0, false),
        _ => return Ok(None),
    }))
}

/// [`ssim`] of rows of `columns * channels` values with peak `peak`.
///
/// Values stay in their own units (the index is invariant if its two constants are scaled along). Sums of integers
/// are then exact in `f64` (49 * 2 * 65535^2 < 2^53), so the window may slide down by adding a row and taking one
/// away; with `exact` unset every window is summed anew, since what cancels in floats leaves a residue.
fn ssim_of<T: Copy + Into<f64>>(
    a: &[T],
    b: &[T],
    columns: usize,
    channels: usize,
    peak: f64,
    exact: bool,
) -> f64 {
    let stride = columns * channels;
    let rows = a.len() / stride;
    let n_out = stride - (WINDOW - 1) * channels;
    let (c1, c2) = ((0.01 * peak).powi(2), (0.03 * peak).powi(2));
    let row = |y: usize| (&a[y * stride..][..stride], &b[y * stride..][..stride]);
    let mut sums = ColumnSums::new(stride);
    let mut windows = ColumnSums::new(n_out);
    let mut total = 0.0;
    for y in 0..=rows - WINDOW {
        if y == 0 || !exact {
            sums.clear();
            for inside in y..y + WINDOW {
                sums.add(row(inside), 1.0);
            }
        } else {
            sums.add(row(y - 1), -1.0);
            sums.add(row(y + WINDOW - 1), 1.0);
        }
        windows.slide(&sums, channels);
        total += windows.similarity(c1, c2);
    }
    total / ((rows - WINDOW + 1) * n_out) as f64
}

/// Sums over rows (then over windows) of `a`, `b`, `a² + b²` and `ab`, one entry per value of a row.
struct ColumnSums {
    a: Vec<f64>,
    b: Vec<f64>,
    squares: Vec<f64>,
    products: Vec<f64>,
}

impl ColumnSums {
    fn new(n: usize) -> Self {
        Self { a: vec![0.0; n], b: vec![0.0; n], squares: vec![0.0; n], products: vec![0.0; n] }
    }

    fn clear(&mut self) {
        for sums in [&mut self.a, &mut self.b, &mut self.squares, &mut self.products] {
            sums.fill(0.0);
        }
    }

    /// Adds a row (`sign` 1) or takes it away (-1).
    fn add<T: Copy + Into<f64>>(&mut self, (a, b): (&[T], &[T]), sign: f64) {
        let sums = self.a.iter_mut().zip(&mut self.b).zip(self.squares.iter_mut().zip(&mut self.products));
        for ((&x, &y), ((sum_a, sum_b), (squares, products))) in a.iter().zip(b).zip(sums) {
            let (x, y): (f64, f64) = (x.into(), y.into());
            *sum_a += sign * x;
            *sum_b += sign * y;
            *squares += sign * (x * x + y * y);
            *products += sign * (x * y);
        }
    }

    /// Sums of seven columns of `from`, each channel by itself. No running sum: neighbours are independent, so the
    /// loop vectorises.
    fn slide(&mut self, from: &Self, channels: usize) {
        let pairs = [
            (&mut self.a, &from.a),
            (&mut self.b, &from.b),
            (&mut self.squares, &from.squares),
            (&mut self.products, &from.products),
        ];
        for (to, from) in pairs {
            let n = to.len();
            let column = |k: usize| &from[k * channels..][..n];
            let (c0, c1, c2, c3) = (column(0), column(1), column(2), column(3));
            let (c4, c5, c6) = (column(4), column(5), column(6));
            for i in 0..n {
                to[i] = c0[i] + c1[i] + c2[i] + c3[i] + c4[i] + c5[i] + c6[i];
            }
        }
    }

    /// The sum of the index over these windows.
    fn similarity(&self, c1: f64, c2: f64) -> f64 {
        // Independent partial sums, so that the divisions vectorise.
        const LANES: usize = 8;
        let index = |a: f64, b: f64, squares: f64, products: f64| {
            let sample = WINDOW_AREA / (WINDOW_AREA - 1.0);
            let (mean_a, mean_b) = (a * (1.0 / WINDOW_AREA), b * (1.0 / WINDOW_AREA));
            let product = mean_a * mean_b;
            let square = mean_a * mean_a + mean_b * mean_b;
            let covariance = sample * (products * (1.0 / WINDOW_AREA) - product);
            let variances = sample * (squares * (1.0 / WINDOW_AREA) - square);
            ((2.0 * product + c1) * (2.0 * covariance + c2)) / ((square + c1) * (variances + c2))
        };
        let (a, a_rest) = self.a.as_chunks::<LANES>();
        let (b, b_rest) = self.b.as_chunks::<LANES>();
        let (squares, squares_rest) = self.squares.as_chunks::<LANES>();
        let (products, products_rest) = self.products.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (((a, b), squares), products) in a.iter().zip(b).zip(squares).zip(products) {
            for lane in 0..LANES {
                sums[lane] += index(a[lane], b[lane], squares[lane], products[lane]);
            }
        }
        let rest: f64 =
            (0..a_rest.len()).map(|i| index(a_rest[i], b_rest[i], squares_rest[i], products_rest[i])).sum();
        sums.iter().sum::<f64>() + rest
    }
}

pub(crate) fn check(a: &Signal, b: &Signal) -> Result<(), MetricError> {
    let shape = |info: &SignalInfo| (info.extents.clone(), info.channels, info.sample_type);
    if shape(a.info()) == shape(b.info()) {
        return Ok(());
    }
    Err(MetricError::Differ { a: describe(a.info()), b: describe(b.info()) })
}

fn describe(info: &SignalInfo) -> String {
    format!("extents {:?} with {} channels of {:?}", info.extents, info.channels, info.sample_type)
}
