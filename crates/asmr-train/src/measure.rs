//! What a fit finds out about its signal by passes over all of it.

use asmr::inference::{Decoder, Request};
use asmr::network::Network;
use asmr::signal::{SignalInfo, Source};
use asmr::walk::Region;

use crate::fit::FitError;

/// Values of a signal that are looked at together.
const PIECE_VALUES: usize = 1 << 20;

/// Calls `visit` with every `of`-th piece of the signal: samples of the slowest axis, and their values on the network's scale.
fn for_pieces(
    signal: &dyn Source,
    of: u64,
    mut visit: impl FnMut(std::ops::Range<u64>, &[f32]) -> Result<(), FitError>,
) -> Result<(), FitError> {
    let info = signal.info();
    let (slice, n_slices) = (info.slice_values(), info.extents[0]);
    let step = (PIECE_VALUES / slice).max(1);
    let mut values = vec![0.0; step.min(n_slices) * slice];
    for start in (0..n_slices).step_by(step.saturating_mul(usize::try_from(of).unwrap_or(usize::MAX))) {
        let end = n_slices.min(start + step);
        let piece = &mut values[..(end - start) * slice];
        signal.read_scaled((start * slice) as u64, piece);
        visit(start as u64..end as u64, piece)?;
    }
    signal.failure().map_or(Ok(()), |reason| Err(FitError::Read(reason)))
}

/// Mean of each channel on the network's scale.
pub(crate) fn channel_means(signal: &dyn Source) -> Result<Vec<f32>, FitError> {
    let channels = signal.info().channels;
    let mut sums = vec![0.0f64; channels];
    for_pieces(signal, 1, |_, values| {
        for sample in values.chunks_exact(channels) {
            for (s, &x) in sums.iter_mut().zip(sample) {
                *s += f64::from(x);
            }
        }
        Ok(())
    })?;
    let n = signal.info().extents.iter().map(|&e| e as f64).product::<f64>();
    Ok(sums.iter().map(|s| (s / n) as f32).collect())
}

/// What turns a PSNR on the network's scale into one of the signal's [`SignalInfo::peak`], in dB.
pub(crate) fn peak_gain_db(info: &SignalInfo) -> f64 {
    20.0 * (info.peak() / info.scale().span()).log10()
}

/// PSNR in dB of the decoded signal (clamped and rounded as a decode is stored); infinite when exact.
///
/// # Errors
/// [`FitError::Read`] when the signal cannot be read.
///
/// # Panics
/// When the signal has other extents or channels than the network.
pub fn decoded_psnr_db(network: &Network, signal: &dyn Source) -> Result<f64, FitError> {
    let mse = decoded_mse(network, signal, u64::MAX)?;
    Ok(-10.0 * mse.log10() + peak_gain_db(signal.info()))
}

/// Mean squared error of the decoded signal (clamped and rounded as a decode is stored), on the network's scale; of a signal of more
/// than `most_values` over pieces of it, evenly spaced along the slowest axis, that have about so many.
///
/// # Errors
/// [`FitError::Read`] when the signal cannot be read.
///
/// # Panics
/// When the signal has other extents or channels than the network.
pub fn decoded_mse(network: &Network, signal: &dyn Source, most_values: u64) -> Result<f64, FitError> {
    let config = network.config();
    let decoder = Decoder::new(network);
    let info = signal.info();
    let n_values = info.n_values().unwrap_or(u64::MAX);
    let (mut decoded, mut stored) = (Vec::new(), Vec::new());
    let (mut sum, mut n) = (0.0, 0.0);
    for_pieces(signal, n_values.div_ceil(most_values), |slices, original| {
        let mut region = Region::whole(config.partition.extents());
        (region.start[0], region.end[0]) = (slices.start, slices.end);
        decoded.resize(original.len(), 0.0);
        stored.resize(original.len(), 0.0);
        // The request lies inside the signal and the output has its length: the decoder has nothing to refuse.
        decoder
            .decode(&Request { region, thumbnail: 1 }, &mut decoded)
            .expect("a decode fits its own signal");
        info.scaled(&info.restored(&decoded), 0, &mut stored);
        let squares = original.iter().zip(&stored).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        sum += squares.sum::<f64>();
        n += original.len() as f64;
        Ok(())
    })?;
    Ok(sum / n)
}
