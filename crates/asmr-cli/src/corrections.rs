//! Corrections of what a network gives: made of an original, and taken from a file.

use asmr::coding::CodingError;
use asmr::exact::ExactDecoder;
use asmr::network::Network;
use asmr::residual::{self, slab_slices};
use asmr::signal::{Samples, SignalInfo};
use asmr::walk::Region;

use crate::error::Failure;

/// Codes the corrections of a chunk's network; `original` gives the next so many slices of what was encoded.
pub(crate) fn make(
    network: &Network,
    info: &SignalInfo,
    max_error: u32,
    mut original: impl FnMut(usize) -> Result<Samples, Failure>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let decoder = ExactDecoder::new(network);
    let step = slab_slices(info);
    let mut slabs = Vec::new();
    for start in (0..info.extents[0]).step_by(step) {
        let n_slices = step.min(info.extents[0] - start);
        let wanted = original(n_slices)?.whole_numbers();
        let wanted =
            wanted.ok_or_else(|| Failure::usage("only whole numbers can be corrected".to_owned()))?;
        let given = decoder.whole_numbers(info, start..start + n_slices);
        let residuals: Vec<i64> = wanted.iter().zip(&given).map(|(a, b)| a - b).collect();
        slabs.push(residual::encode(info, n_slices, &residuals, u64::from(max_error)));
    }
    Ok(slabs)
}

/// The corrections of a chunk, slab by slab.
pub(crate) struct Corrections {
    info: SignalInfo,
    slabs: Vec<Vec<u8>>,
    max_error: u32,
    /// The slab that was decoded last, and its values.
    last: Option<(usize, Vec<i64>)>,
}

impl Corrections {
    pub(crate) fn new(info: &SignalInfo, slabs: Vec<Vec<u8>>, max_error: u32) -> Self {
        Self { info: info.clone(), slabs, max_error, last: None }
    }

    /// All corrections of a slab.
    pub(crate) fn slab(&mut self, slab: usize) -> Result<&[i64], CodingError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != slab) {
            let step = slab_slices(&self.info);
            let n_slices = step.min(self.info.extents[0] - slab * step);
            let values =
                residual::decode(&self.info, n_slices, &self.slabs[slab], u64::from(self.max_error))?;
            self.last = Some((slab, values));
        }
        Ok(self.last.as_ref().map_or(&[], |(_, values)| values))
    }

    /// What a network gives in a box of samples, corrected: whole slices, a slab of them at a time, cut to the box.
    pub(crate) fn corrected(
        &mut self,
        decoder: &ExactDecoder<'_>,
        region: &Region,
    ) -> Result<Samples, CodingError> {
        let info = self.info.clone();
        let (step, slice) = (slab_slices(&info), info.slice_values());
        let (mut at, end) = (region.start[0] as usize, region.end[0] as usize);
        let mut out = Vec::new();
        while at < end {
            let next = ((at / step + 1) * step).min(end);
            let mut values = decoder.whole_numbers(&info, at..next);
            let corrections = &self.slab(at / step)?[at % step * slice..];
            for (x, correction) in values.iter_mut().zip(corrections) {
                *x += correction;
            }
            for values in values.chunks_exact(slice) {
                cut(values, &info.extents[1..], 1, region, &mut out);
            }
            at = next;
        }
        Ok(Samples::from_whole_numbers(info.sample_type, &out))
    }
}

/// The part of a slice (or a slice of it, and so on) that lies in a region.
fn cut(values: &[i64], extents: &[usize], axis: usize, region: &Region, out: &mut Vec<i64>) {
    let Some((&extent, rest)) = extents.split_first() else {
        out.extend_from_slice(values);
        return;
    };
    let length = values.len() / extent;
    for index in region.start[axis] as usize..region.end[axis] as usize {
        cut(&values[index * length..][..length], rest, axis + 1, region, out);
    }
}
