//! Pictures cut into tiles of one size: what many small pictures are made of.

use asmr::signal::{Samples, Signal, SignalError, SignalInfo};

/// The whole tiles of `rows` × `columns` samples of a picture, row by row; what is left over at its far edges is in none. Empty
/// where the picture is smaller than one, or has not two axes.
///
/// # Errors
/// [`SignalError`] for tiles that are no signals: of no rows or columns.
pub fn tiles(signal: &Signal, [rows, columns]: [usize; 2]) -> Result<Vec<Signal>, SignalError> {
    let info = signal.info();
    let part = SignalInfo::plain(vec![rows, columns], info.channels, info.sample_type, info.color);
    part.validate()?;
    let &[height, width] = info.extents.as_slice() else { return Ok(Vec::new()) };
    let (line, length) = (width * info.channels, columns * info.channels);
    let cut = |top: usize, left: usize| {
        let starts = (top..top + rows).map(|y| y * line + left * info.channels);
        Signal::new(part.clone(), picked(signal.samples(), starts, length))
    };
    let places = (0..height / rows).flat_map(|y| (0..width / columns).map(move |x| (y * rows, x * columns)));
    places.map(|(top, left)| cut(top, left)).collect()
}

/// Runs of `length` values from each of `starts`.
fn picked(samples: &Samples, starts: impl Iterator<Item = usize>, length: usize) -> Samples {
    fn take<T: Copy>(values: &[T], starts: impl Iterator<Item = usize>, length: usize) -> Vec<T> {
        starts.flat_map(|start| values[start..start + length].iter().copied()).collect()
    }
    match samples {
        Samples::U8(values) => Samples::U8(take(values, starts, length)),
        Samples::I8(values) => Samples::I8(take(values, starts, length)),
        Samples::U16(values) => Samples::U16(take(values, starts, length)),
        Samples::I16(values) => Samples::I16(take(values, starts, length)),
        Samples::U32(values) => Samples::U32(take(values, starts, length)),
        Samples::I32(values) => Samples::I32(take(values, starts, length)),
        Samples::F32(values) => Samples::F32(take(values, starts, length)),
        Samples::F64(values) => Samples::F64(take(values, starts, length)),
    }
}

#[cfg(test)]
mod tests {
    use asmr::signal::SampleType;

    use super::*;

    #[test]
    fn tiles_are_parts_of_the_picture() {
        // Row, column and channel are the digits of each value.
        let value = |y: usize, x: usize, c: usize| (100 * y + 10 * x + c) as u16;
        let values =
            (0..5).flat_map(|y| (0..7).flat_map(move |x| (0..2).map(move |c| value(y, x, c)))).collect();
        let info = SignalInfo::plain(vec![5, 7], 2, SampleType::U16, None);
        let signal = Signal::new(info, Samples::U16(values)).unwrap();
        let all = tiles(&signal, [2, 3]).unwrap();
        // Two rows of two; the last row and column are left over.
        let corners: Vec<Samples> = all.iter().map(|tile| tile.samples().clone()).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].info().extents, [2, 3]);
        let expected = [200, 201, 210, 211, 220, 221, 300, 301, 310, 311, 320, 321];
        assert_eq!(corners[2], Samples::U16(expected.to_vec()));
        let expected = [30, 31, 40, 41, 50, 51, 130, 131, 140, 141, 150, 151];
        assert_eq!(corners[1], Samples::U16(expected.to_vec()));
        assert!(tiles(&signal, [6, 3]).unwrap().is_empty());
        assert!(tiles(&signal, [0, 3]).is_err());
    }
}
