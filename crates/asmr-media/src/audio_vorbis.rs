//! How much memory the codebooks of a Vorbis stream ask for, before a decoder believes them.
//!
//! A setup header of some bytes can ask for terabytes, and the decoder gives a failed request no chance to be an error.

/// Values of all codebooks together; libvorbis' own have some hundred thousand.
const MAX_VALUES: u64 = 1 << 22;

/// Walks the codebooks of a setup header (Vorbis I, 3.2.1 and 4.2.4), which come first in it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_setup(packet: &[u8]) -> Result<(), String> {
    let Some(body) = packet.strip_prefix(b"\x05vorbis") else {
        return Err("its third packet is no setup header".to_owned());
    };
    let ends = || "its setup header ends within a codebook".to_owned();
    let mut bits = Bits { bytes: body, at: 0 };
    let n_books = bits.take(8).ok_or_else(ends)? + 1;
    let mut n_values = 0;
    for book in 0..n_books {
        n_values +=
            codebook(&mut bits).ok_or_else(ends)?.map_err(|detail| format!("codebook {book} {detail}"))?;
        if n_values > MAX_VALUES {
            return Err(format!(
                "its first {} codebooks ask for {n_values} values; up to {MAX_VALUES} are read",
                book + 1
            ));
        }
    }
    Ok(())
}

/// Passes a codebook: the number of its values. `None` where the bits end.
fn codebook(bits: &mut Bits) -> Option<Result<u64, String>> {
    const SYNC: u32 = 0x56_4342;
    if bits.take(24)? != SYNC {
        return Some(Err("is not marked as one".to_owned()));
    }
    let (dimensions, entries) = (bits.take(16)?, bits.take(24)?);
    if dimensions == 0 || entries == 0 {
        return Some(Err(format!("has {entries} entries of {dimensions} dimensions; both are above 0")));
    }
    let is_ordered = bits.take(1)? == 1;
    if is_ordered {
        let (mut length, mut n) = (bits.take(5)? + 1, 0);
        while n < entries {
            n += bits.take(32 - (entries - n).leading_zeros())?;
            if n > entries || length > 32 {
                return Some(Err("has lengths of other than its entries".to_owned()));
            }
            length += 1;
        }
    } else {
        let is_sparse = bits.take(1)? == 1;
        for _ in 0..entries {
            if !is_sparse || bits.take(1)? == 1 {
                bits.take(5)?;
            }
        }
    }
    let n_values = u64::from(entries) * u64::from(dimensions);
    let lookup = bits.take(4)?;
    if lookup > 0 {
        // The least value and the step.
        bits.skip(64)?;
        let value_bits = bits.take(4)? + 1;
        bits.take(1)?;
        let n_stored = match lookup {
            1 => lattice_side(entries, dimensions),
            2 => n_values,
            _ => return Some(Err(format!("has values of the unknown kind {lookup}"))),
        };
        bits.skip(n_stored * u64::from(value_bits))?;
    }
    Some(Ok(n_values))
}

/// The greatest whole number whose `dimensions`-th power is within `entries`.
fn lattice_side(entries: u32, dimensions: u32) -> u64 {
    (1..=entries).take_while(|side| side.checked_pow(dimensions).is_some_and(|n| n <= entries)).count() as u64
}

/// Bits from the lowest of each byte on.
struct Bits<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl Bits<'_> {
    /// The next `n` bits, up to 32; `None` past the end.
    fn take(&mut self, n: u32) -> Option<u32> {
        let mut value = 0;
        for i in 0..n {
            let byte = self.bytes.get((self.at / 8) as usize)?;
            value |= u32::from(byte >> (self.at % 8) & 1) << i;
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, n: u64) -> Option<()> {
        self.at = self.at.checked_add(n).filter(|&at| at <= self.bytes.len() as u64 * 8)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of some bits each, packed from the lowest bit on, after the packet's name.
    fn setup(fields: &[(u32, u32)]) -> Vec<u8> {
        let bits: Vec<bool> =
            fields.iter().flat_map(|&(value, n)| (0..n).map(move |i| value >> i & 1 == 1)).collect();
        let bytes =
            bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |sum, &bit| sum << 1 | u8::from(bit)));
        b"\x05vorbis".iter().copied().chain(bytes).collect()
    }

    const SYNC: (u32, u32) = (0x56_4342, 24);

    #[test]
    fn a_few_bytes_that_ask_for_terabytes() {
        // One codebook of 65535 dimensions and 2^24 - 1 entries, all of one length.
        let packet =
            setup(&[(0, 8), SYNC, (0xFFFF, 16), (0xFF_FFFF, 24), (1, 1), (23, 5), (0xFF_FFFF, 24), (0, 4)]);
        assert!(packet.len() < 25);
        assert!(check_setup(&packet).unwrap_err().contains("ask for 1099494785025 values"));
        // 256 codebooks, each of which is small enough.
        let book = [SYNC, (1, 16), (1 << 16, 24), (1, 1), (15, 5), (1 << 16, 17), (0, 4)];
        let fields: Vec<_> = [(255, 8)].into_iter().chain(book.repeat(256)).collect();
        assert!(check_setup(&setup(&fields)).unwrap_err().contains("its first 65 codebooks"));
        let fields: Vec<_> = [(63, 8)].into_iter().chain(book.repeat(64)).collect();
        check_setup(&setup(&fields)).unwrap();
    }

    #[test]
    fn codebooks_that_are_none() {
        let refusal = |fields: &[(u32, u32)]| check_setup(&setup(fields)).unwrap_err();
        assert!(check_setup(b"\x03vorbis").unwrap_err().contains("no setup header"));
        assert!(refusal(&[]).contains("ends within a codebook"));
        assert!(refusal(&[(0, 8), (1, 24), (1, 16), (1, 24)]).contains("is not marked as one"));
        assert!(refusal(&[(0, 8), SYNC, (0, 16), (1, 24)]).contains("1 entries of 0 dimensions"));
        assert!(refusal(&[(0, 8), SYNC, (1, 16), (0, 24)]).contains("0 entries of 1 dimensions"));
        // Five of four entries; none of them for ever.
        assert!(
            refusal(&[(0, 8), SYNC, (1, 16), (4, 24), (1, 1), (0, 5), (5, 3)])
                .contains("other than its entries")
        );
        let mut fields = vec![(0, 8), SYNC, (1, 16), (4, 24), (1, 1), (0, 5)];
        fields.extend([(0, 3); 100]);
        assert!(refusal(&fields).contains("other than its entries"));
        assert!(
            refusal(&[
                (0, 8),
                SYNC,
                (1, 16),
                (1, 24),
                (0, 1),
                (0, 1),
                (0, 5),
                (3, 4),
                (0, 32),
                (0, 32),
                (0, 8)
            ])
            .contains("unknown kind 3")
        );
        // Values of 16 bits that are not there.
        assert!(
            refusal(&[
                (0, 8),
                SYNC,
                (2, 16),
                (1 << 20, 24),
                (1, 1),
                (0, 5),
                (1 << 20, 21),
                (2, 4),
                (0, 32),
                (0, 32),
                (15, 4),
                (0, 1)
            ])
            .contains("ends within a codebook")
        );
    }

    #[test]
    fn lattices_are_the_largest_that_fit() {
        for (entries, dimensions, side) in
            [(1, 5, 1), (81, 4, 3), (80, 4, 2), (125, 3, 5), (343, 3, 7), (7, 60_000, 1)]
        {
            assert_eq!(lattice_side(entries, dimensions), side, "{entries} {dimensions}");
        }
    }
}
