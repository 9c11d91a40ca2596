//! Files with coded weights and corrections that are drawn from an input's bytes. Readers take one code of the decisions it holds,
//! so a changed code is refused nearly always; here the code is that of changed decisions, and what it decodes to is reached.

use std::io::Cursor;

use asmr::coding::{MAX_MAGNITUDE, QuantisedWeights, Step, TensorSteps};
use asmr::file::{AsmrReader, AsmrWriter, Chunk, Encoding, FileHeader, write_progressive};
use asmr::network::{Network, NetworkConfig};
use asmr::residual;

use crate::file::{LIMITS, OWN_LIMITS};

/// Of steps.
const CODES_PER_OCTAVE: u8 = 4;
const MAX: i64 = MAX_MAGNITUDE as i64;
/// The most weights of all passes together, and the most corrections: each is drawn and coded one by one.
const MAX_DRAWN: u64 = 1 << 14;

/// Bytes over and over; zeros if there are none.
struct Draw<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl<'a> Draw<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter().cycle())
    }

    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// Mostly of a byte, sometimes of three.
    fn number(&mut self) -> i32 {
        match self.byte() {
            byte @ ..240 => i32::from(byte) - 120,
            sign => {
                let low = u16::from_le_bytes([self.byte(), self.byte()]);
                let size = (i32::from(self.byte() % 32) << 16) | i32::from(low);
                if sign % 2 == 0 { size } else { -size }
            }
        }
    }

    /// Steps that fit a tensor, the finest with a code from `least` on.
    fn steps(&mut self, shape: &[usize], least: u8) -> TensorSteps {
        let uniform = TensorSteps::uniform(Step::from_code(self.byte().max(least)));
        let (&[n_rows, n_columns], 1) = (shape, self.byte() % 2) else { return uniform };
        let mut grades = |n| (0..n).map(|_| self.byte() % 33).collect();
        let graded = TensorSteps { rows: grades(n_rows), columns: grades(n_columns), ..uniform.clone() };
        if graded.fit(shape) { graded } else { uniform }
    }

    fn weights(&mut self, config: &NetworkConfig, octaves: u8) -> QuantisedWeights {
        let least = CODES_PER_OCTAVE * octaves;
        let steps = config.tensors().iter().map(|tensor| self.steps(&tensor.shape, least)).collect();
        let values = (0..config.n_params()).map(|_| self.number()).collect();
        QuantisedWeights { steps, values }
    }

    /// Weights of all passes.
    fn passes(&mut self, config: &NetworkConfig, refinements: &[u8]) -> Vec<QuantisedWeights> {
        let mut left: u8 = refinements.iter().sum();
        let mut weights = self.weights(config, left);
        // What later passes multiply by a power of two must have room for it.
        let in_room = |q: i64, left: u8| q.clamp(-(MAX >> left), MAX >> left) as i32;
        weights.values.iter_mut().for_each(|q| *q = in_room(i64::from(*q), left));
        let mut passes = vec![weights.clone()];
        for &octaves in refinements {
            left -= octaves;
            for q in &mut weights.values {
                *q = in_room((i64::from(*q) << octaves) + i64::from(self.number()), left);
            }
            for steps in &mut weights.steps {
                steps.finest = Step::from_code(steps.finest.code() - CODES_PER_OCTAVE * octaves);
            }
            passes.push(weights.clone());
        }
        passes
    }
}

/// The header of an assembled file with weights and corrections of `bytes`, as a file, and its chunks; `None` where they are not
/// coded, or too much to try. (Its header is written anew, and may be too long then.)
pub(crate) fn made(assembled: &[u8], bytes: &[u8]) -> Option<(Vec<u8>, Vec<Chunk>)> {
    let header = AsmrReader::open(Cursor::new(assembled), &LIMITS).ok()?.header().clone();
    let n_chunks = header.n_chunks();
    let n_weights = (n_chunks as u64).saturating_mul(header.network.n_params() as u64);
    let is_little = header.encoding == Encoding::Coded
        && n_weights.saturating_mul(1 + header.refinements.len() as u64) <= MAX_DRAWN
        && (header.max_error.is_none() || header.signal.n_values()? <= MAX_DRAWN);
    if !is_little {
        return None;
    }
    let mut draw = Draw::new(bytes);
    let mut all_passes = Vec::new();
    let mut chunks = Vec::new();
    for chunk in 0..n_chunks {
        let config = header.chunk_config(chunk);
        let passes = draw.passes(&config, &header.refinements);
        let last = passes.last()?.clone();
        all_passes.push(passes);
        let network =
            Network::new(config.clone(), last.weights(&config)).expect("products of steps are finite");
        let corrections = corrections(&header, chunk, &mut draw);
        chunks.push(Chunk { network, steps: Some(last.steps), corrections });
    }
    let unordered = FileHeader { refinements: Vec::new(), ..header.clone() };
    let mut writer = AsmrWriter::new(Cursor::new(Vec::new()), unordered).ok()?;
    for Chunk { network, steps, corrections } in &chunks {
        writer
            .push_corrected(network, steps.as_deref(), corrections.as_deref())
            .expect("they fit the header");
    }
    let file = writer.finish().expect("all chunks were written").0.into_inner();
    let is_short = |file: &[u8]| AsmrReader::open(Cursor::new(file), &LIMITS).is_ok();
    let mut reader = AsmrReader::open(Cursor::new(&file[..]), &OWN_LIMITS).expect("our own file");
    if header.refinements.is_empty() {
        return is_short(&file).then_some((file, chunks));
    }
    let mut passes = all_passes.into_iter();
    let (writer, _) = write_progressive(
        &mut reader,
        &header.refinements,
        &mut |_, _| passes.next(),
        Cursor::new(Vec::new()),
    )
    .expect("the passes lead to the weights");
    let file = writer.into_inner();
    is_short(&file).then_some((file, chunks))
}

/// Codes of a chunk's slabs.
fn corrections(header: &FileHeader, chunk: usize, draw: &mut Draw) -> Option<Vec<Vec<u8>>> {
    let (max_error, n_slabs) = (header.max_error?, header.n_slabs(chunk)?);
    let info = header.chunk_signal(chunk);
    let step = residual::slab_slices(&info);
    let slab = |slab: usize| {
        let n_slices = step.min(info.extents[0] - slab * step);
        let residuals: Vec<i64> =
            (0..n_slices * info.slice_values()).map(|_| i64::from(draw.number())).collect();
        residual::encode(&info, n_slices, &residuals, max_error.coded())
    };
    Some((0..n_slabs).map(slab).collect())
}
