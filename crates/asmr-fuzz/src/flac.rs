//! The checksums of FLAC, which are those of what was encoded: hardly any change of a frame is decoded with them as they are.

/// What a file starts with.
pub(crate) const MAGIC: &[u8] = b"fLaC";
/// Bytes of a block of metadata before its content: its kind and its length.
const BLOCK: usize = 4;
/// Where the first block's content has the MD5 of all samples.
const MD5: usize = 18;
const MD5_BYTES: usize = 16;
/// The shortest header of a frame with its checksum.
const LEAST_HEADER: usize = 6;

/// The file with right checksums of frames, and without one of all samples. Where a frame ends is not told: it is taken to reach to what
/// looks like the next one's header.
pub(crate) fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let Some(first) = frames_at(bytes) else { return file };
    let md5 = MAGIC.len() + BLOCK + MD5;
    if let Some(md5) = file.get_mut(md5..md5 + MD5_BYTES) {
        md5.fill(0);
    }
    let starts: Vec<usize> = (first..file.len()).filter(|&at| is_header(&file[at..])).collect();
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(file.len());
        let frame = &mut file[start..end];
        // The next one may seem to begin within the header.
        if frame.len() < LEAST_HEADER {
            continue;
        }
        let n = header_bytes(frame);
        if n + 3 > frame.len() {
            continue;
        }
        frame[n] = crc(&frame[..n], 8, 0x07) as u8;
        let (content, sum) = frame.split_at_mut(frame.len() - 2);
        sum.copy_from_slice(&crc(content, 16, 0x8005).to_be_bytes());
    }
    file
}

/// Where the metadata ends.
fn frames_at(bytes: &[u8]) -> Option<usize> {
    let mut at = MAGIC.len();
    loop {
        let &[kind, high, middle, low] = bytes.get(at..)?.first_chunk::<BLOCK>()?;
        at += BLOCK + u32::from_be_bytes([0, high, middle, low]) as usize;
        if kind & 0x80 != 0 {
            return Some(at).filter(|&at| at < bytes.len());
        }
    }
}

/// Whether a frame may begin here: its sync code, and nothing that is reserved.
fn is_header(bytes: &[u8]) -> bool {
    let &[0xFF, 0xF8 | 0xF9, sizes, kind, ..] = bytes else { return false };
    bytes.len() >= LEAST_HEADER && sizes >> 4 != 0 && sizes & 15 != 15 && kind >> 4 < 11 && kind & 1 == 0
}

/// Bytes of a frame's header before its checksum.
fn header_bytes(frame: &[u8]) -> usize {
    // The frame's number, as UTF-8 would have it.
    let number = (frame[4].leading_ones() as usize).max(1);
    let size = match frame[2] >> 4 {
        6 => 1,
        7 => 2,
        _ => 0,
    };
    let rate = match frame[2] & 15 {
        12 => 1,
        13 | 14 => 2,
        _ => 0,
    };
    4 + number + size + rate
}

/// Not reflected, from 0.
fn crc(bytes: &[u8], n_bits: u32, polynomial: u16) -> u16 {
    let top = 1 << (n_bits - 1);
    bytes.iter().fold(0, |sum, &byte| {
        (0..8).fold(sum ^ u16::from(byte) << (n_bits - 8), |sum, _| {
            let next = sum << 1 ^ if sum & top != 0 { polynomial } else { 0 };
            if n_bits == 8 { next & 0xFF } else { next }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_an_encoder() {
        for name in ["frames.flac", "frames-stereo.flac"] {
            let path = format!("{}/../../fuzz/seeds/audio/{name}", env!("CARGO_MANIFEST_DIR"));
            let file = std::fs::read(path).unwrap();
            assert!(summed(&file) == file, "{name}");
            let first = frames_at(&file).unwrap();
            assert!(is_header(&file[first..]), "{name}");
            // Both checksums of the first frame.
            let mut broken = file.clone();
            broken[first + header_bytes(&file[first..])] ^= 1;
            assert!(summed(&broken) == file, "{name}");
            let end = (first + 1..file.len()).find(|&at| is_header(&file[at..])).unwrap();
            broken[end - 1] ^= 1;
            assert!(summed(&broken) == file, "{name}");
        }
    }
}
