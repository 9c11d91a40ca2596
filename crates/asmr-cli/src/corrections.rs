//! Corrections of what a network gives: made of an original, and taken from a file.

use std::io::{Read, Seek};

use asmr::coding::CodingError;
use asmr::exact::ExactDecoder;
use asmr::file::{AsmrReader, Chunk, FileError, FileHeader};
use asmr::network::Network;
use asmr::residual::{self, MaxError, slab_slices};
use asmr::signal::{SampleType, Samples, SignalInfo};
use asmr::walk::Region;

use crate::error::Failure;
use crate::files;

/// Codes the corrections of a chunk's network; `original` gives the next so many slices of what was encoded.
pub(crate) fn make(
    network: &Network,
    info: &SignalInfo,
    max_error: MaxError,
    mut original: impl FnMut(usize) -> Result<Samples, Failure>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let decoder = ExactDecoder::new(network);
    let step = slab_slices(info);
    let mut slabs = Vec::new();
    for start in (0..info.extents[0]).step_by(step) {
        let n_slices = step.min(info.extents[0] - start);
        let (wanted, slices) = (original(n_slices)?, start..start + n_slices);
        let residuals: Vec<i64> = if let Some(wanted) = wanted.whole_numbers() {
            let given = decoder.try_whole_numbers(info, slices).map_err(without_memory)?;
            wanted.iter().zip(&given).map(|(a, b)| a - b).collect()
        } else {
            let given = decoder.try_values(info, slices).map_err(without_memory)?;
            float_residuals(&wanted, &given, info, max_error)?
        };
        slabs.push(residual::encode(info, n_slices, &residuals, max_error.coded()));
    }
    Ok(slabs)
}

/// Multiples of the unit that bring given values to within the bound of the wanted ones.
fn float_residuals(
    wanted: &Samples,
    given: &[f64],
    info: &SignalInfo,
    max_error: MaxError,
) -> Result<Vec<i64>, Failure> {
    let MaxError::Real(bound) = max_error else {
        return Err(Failure::usage("a whole number bounds the error of whole numbers only".to_owned()));
    };
    let unit = max_error.unit();
    let wanted = wanted.doubles();
    let mut residuals = Vec::with_capacity(given.len());
    for (&x, &v) in wanted.iter().zip(given) {
        let multiple = ((x - v) / unit).round();
        let residual = multiple as i64;
        let corrected = max_error.corrected(v, residual, info);
        let corrected = Samples::from_floats(info.sample_type, vec![corrected]).doubles()[0];
        if multiple.abs() > MAX_MULTIPLE || (x - corrected).abs() > bound {
            return Err(too_fine(max_error));
        }
        residuals.push(residual);
    }
    Ok(residuals)
}

/// Multiples are coded with at most 35 bits, and so are their differences from what is predicted.
const MAX_MULTIPLE: f64 = (1u64 << 32) as f64;

/// Refuses a bound that values of a signal, in its range, cannot be kept to: before the fit, where the range is known.
pub(crate) fn check_bound(max_error: MaxError, info: &SignalInfo) -> Result<(), Failure> {
    let (MaxError::Real(bound), Some(range)) = (max_error, info.value_range) else { return Ok(()) };
    let epsilon = if info.sample_type == SampleType::F32 { f64::from(f32::EPSILON) } else { f64::EPSILON };
    let largest = range.low().abs().max(range.high().abs());
    // The unit leaves a part in 1024 of the bound for rounding.
    if bound < 1024.0 * epsilon * largest || range.span() / max_error.unit() > MAX_MULTIPLE {
        return Err(too_fine(max_error));
    }
    Ok(())
}

fn without_memory(error: CodingError) -> Failure {
    Failure::usage(format!(
        "a slab of corrections: {error}; give --chunk, or leave --max-error or --lossless out"
    ))
}

/// What is whole of a chunk.
pub(crate) struct WholePasses {
    pub(crate) read: Chunk,
    pub(crate) n_passes: usize,
    /// What is wrong with the corrections, where only they are.
    pub(crate) error: Option<FileError>,
}

/// Reads the passes of a chunk that are whole, the last with corrections that are what an encoder writes.
pub(crate) fn whole_passes<R: Read + Seek>(
    reader: &mut AsmrReader<R>,
    chunk: usize,
) -> Result<WholePasses, FileError> {
    let (read, n_passes) = reader.whole_passes(chunk)?;
    match check(reader.header(), chunk, &read) {
        Ok(()) => Ok(WholePasses { read, n_passes, error: None }),
        // In progressive order they are a pass of their own. For want of memory they are not damaged.
        Err(error) if n_passes > 1 && files::is_lost(&error) => {
            let read = reader.first_passes(chunk, n_passes - 1)?;
            Ok(WholePasses { read, n_passes: n_passes - 1, error: Some(error) })
        }
        Err(error) => Err(error),
    }
}

/// Whether a chunk's corrections are what an encoder writes.
fn check(header: &FileHeader, chunk: usize, read: &Chunk) -> Result<(), FileError> {
    let (Some(slabs), Some(max_error)) = (&read.corrections, header.max_error) else { return Ok(()) };
    let info = header.chunk_signal(chunk);
    let step = slab_slices(&info);
    slabs.iter().enumerate().try_for_each(|(slab, code)| {
        let n_slices = step.min(info.extents[0] - slab * step);
        let decoded = residual::decode(&info, n_slices, code, max_error.coded());
        decoded.map(|_| ()).map_err(|error| match error {
            CodingError::Memory { n_bytes } => FileError::Memory { n_bytes },
            CodingError::Invalid => FileError::Inconsistent(format!("the corrections: {error}")),
        })
    })
}

fn too_fine(max_error: MaxError) -> Failure {
    Failure::usage(format!(
        "--max-error {max_error} is finer than the type of these values, or corrections, can tell; give a larger one"
    ))
}

/// The corrections of a chunk, slab by slab.
pub(crate) struct Corrections {
    info: SignalInfo,
    slabs: Vec<Vec<u8>>,
    max_error: MaxError,
    /// The slab that was decoded last, and its values.
    last: Option<(usize, Vec<i64>)>,
}

impl Corrections {
    pub(crate) fn new(info: &SignalInfo, slabs: Vec<Vec<u8>>, max_error: MaxError) -> Self {
        Self { info: info.clone(), slabs, max_error, last: None }
    }

    /// All corrections of a slab.
    pub(crate) fn slab(&mut self, slab: usize) -> Result<&[i64], CodingError> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != slab) {
            let step = slab_slices(&self.info);
            let n_slices = step.min(self.info.extents[0] - slab * step);
            let values = residual::decode(&self.info, n_slices, &self.slabs[slab], self.max_error.coded())?;
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
        let (max_error, is_float) = (self.max_error, info.sample_type.is_float());
        let (mut numbers, mut floats) = (Vec::new(), Vec::new());
        while at < end {
            let next = ((at / step + 1) * step).min(end);
            let corrections = &self.slab(at / step)?[at % step * slice..];
            if is_float {
                let mut values = decoder.try_values(&info, at..next)?;
                for (x, &correction) in values.iter_mut().zip(corrections) {
                    *x = max_error.corrected(*x, correction, &info);
                }
                cut_slices(&values, &info, region, &mut floats);
            } else {
                let mut values = decoder.try_whole_numbers(&info, at..next)?;
                for (x, correction) in values.iter_mut().zip(corrections) {
                    *x += correction;
                }
                cut_slices(&values, &info, region, &mut numbers);
            }
            at = next;
        }
        Ok(if is_float {
            Samples::from_floats(info.sample_type, floats)
        } else {
            Samples::from_whole_numbers(info.sample_type, &numbers)
        })
    }
}

/// The parts of whole slices that lie in a region.
fn cut_slices<T: Copy>(values: &[T], info: &SignalInfo, region: &Region, out: &mut Vec<T>) {
    for values in values.chunks_exact(info.slice_values()) {
        cut(values, &info.extents[1..], 1, region, out);
    }
}

/// The part of a slice (or a slice of it, and so on) that lies in a region.
fn cut<T: Copy>(values: &[T], extents: &[usize], axis: usize, region: &Region, out: &mut Vec<T>) {
    let Some((&extent, rest)) = extents.split_first() else {
        out.extend_from_slice(values);
        return;
    };
    let length = values.len() / extent;
    for index in region.start[axis] as usize..region.end[axis] as usize {
        cut(&values[index * length..][..length], rest, axis + 1, region, out);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use asmr::coding::{Step, TensorSteps};
    use asmr::file::{AsmrWriter, Encoding, Limits, write_progressive};
    use asmr::network::{Modulator, NetworkConfig};
    use asmr::partition::{Partition, parse_bases};

    use super::*;

    /// A slab that no memory holds is not damage, which would be passed over in silence.
    #[test]
    fn want_of_memory_is_no_damage() {
        let extents = [1, 1 << 31, 1 << 26];
        let bases = "1,1,1,1;256,256,256,128;128,128,64,64";
        let partition = Partition::new(&extents, &parse_bases(bases).unwrap()).unwrap();
        let config =
            NetworkConfig { partition, channels: 1, width: 1, omega_0: 30.0, modulator: Modulator::Linear };
        let signal = SignalInfo::plain(extents.to_vec(), 1, SampleType::U8, None);
        let header = FileHeader {
            encoding: Encoding::Coded,
            max_error: Some(MaxError::Whole(0)),
            ..FileHeader::single(signal, config.clone(), None)
        };
        let steps = vec![TensorSteps::uniform(Step::from_code(100)); config.tensors().len()];
        let network = Network::new(config.clone(), vec![0.0; config.n_params()]).unwrap();
        let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), header).unwrap();
        writer.push_corrected(&network, Some(&steps), Some(&[Vec::new()])).unwrap();
        let (file, _) = writer.finish().unwrap();
        let limits = Limits { max_values: u64::MAX, max_table_values: u64::MAX, ..Limits::default() };
        let mut reader = AsmrReader::open(file, &limits).unwrap();
        let (file, _) = write_progressive(
            &mut reader,
            &[1],
            &mut |_, weights| weights.nearest_passes(&config, &[1]),
            Cursor::new(Vec::new()),
        )
        .unwrap();
        let mut reader = AsmrReader::open(file, &limits).unwrap();
        assert_eq!(reader.header().n_passes(), 3);
        let told = whole_passes(&mut reader, 0).map(|whole| whole.n_passes);
        // 8 bytes for each of 2^57 values.
        assert!(matches!(told, Err(FileError::Memory { n_bytes }) if n_bytes == 1 << 60), "{told:?}");
    }
}
