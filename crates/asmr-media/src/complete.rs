//! Is the whole file there, and as it says? For formats whose decoders fill a missing end with grey and call it a success, or take memory
//! for what is promised before they look whether it is there.

use std::io::{self, BufRead, Seek, SeekFrom};

use image::ImageFormat;

/// What is missing at the end of a file, if that can be told without decoding it. Leaves the reader anywhere.
///
/// # Errors
/// Whatever the reader says.
pub(crate) fn missing_end<R: BufRead + Seek>(
    format: ImageFormat,
    reader: &mut R,
) -> io::Result<Option<String>> {
    match format {
        ImageFormat::Jpeg => jpeg(reader),
        ImageFormat::WebP => webp(reader),
        ImageFormat::Tiff => tiff(reader),
        _ => Ok(None),
    }
}

/// Walks the segments (T.81, annex B) up to the end-of-image marker.
fn jpeg<R: BufRead + Seek>(reader: &mut R) -> io::Result<Option<String>> {
    const SOI: u8 = 0xD8;
    const EOI: u8 = 0xD9;
    const TEM: u8 = 0x01;
    let missing = Ok(Some("the end-of-image marker is missing".to_string()));
    reader.seek(SeekFrom::Start(0))?;
    loop {
        // Entropy-coded data and padding run up to the next 0xFF; any number of 0xFF may precede a marker's code.
        reader.skip_until(0xFF)?;
        let mut code = 0xFF;
        while code == 0xFF {
            let Some(byte) = next_byte(reader)? else { return missing };
            code = byte;
        }
        match code {
            EOI => return Ok(None),
            // A stuffed zero, a restart marker and these two stand alone; everything else carries a length.
            0 | TEM | SOI | 0xD0..=0xD7 => {}
            _ => {
                let (Some(high), Some(low)) = (next_byte(reader)?, next_byte(reader)?) else {
                    return missing;
                };
                let length = u16::from_be_bytes([high, low]);
                reader.seek_relative(i64::from(length.saturating_sub(2)))?;
            }
        }
    }
}

/// Compares the RIFF header's length with the file's, and the extents of a lossy frame with those of its canvas: the decoder takes
/// memory by the frame's own, up to 400 MB, before it compares them.
fn webp<R: BufRead + Seek>(reader: &mut R) -> io::Result<Option<String>> {
    let actual = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut header = [0; 8];
    reader.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    let promised = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    if actual < promised {
        return Ok(Some(format!("it has {actual} of the {promised} bytes its header promises")));
    }
    reader.seek(SeekFrom::Start(12))?;
    match webp_frames(reader, actual) {
        // The decoder says better what is wrong with the chunks.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    }
}

/// Walks the chunks (RFC 9649, section 2): each lossy frame of an extended file must have its canvas' extents, in an animation those of its
/// own `ANMF` chunk.
fn webp_frames<R: BufRead + Seek>(reader: &mut R, end: u64) -> io::Result<Option<String>> {
    let mut canvas: Option<[u32; 2]> = None;
    let mut at = 12;
    while at < end {
        reader.seek(SeekFrom::Start(at))?;
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [name @ .., a, b, c, d] = head;
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        // Chunks have even lengths; those of a frame of an animation lie within it.
        let mut next = at + 8 + length + length % 2;
        // Extents less one, in three bytes each, after 4 bytes of flags or 6 of a place.
        let mut less_one = |skipped: i64| -> io::Result<[u32; 2]> {
            let mut sides = [0; 6];
            reader.seek_relative(skipped)?;
            reader.read_exact(&mut sides)?;
            let [a, b, c, d, e, f] = sides;
            Ok([u32::from_le_bytes([a, b, c, 0]) + 1, u32::from_le_bytes([d, e, f, 0]) + 1])
        };
        match &name {
            b"VP8X" => canvas = Some(less_one(4)?),
            b"ANMF" => {
                canvas = Some(less_one(6)?);
                next = at + 8 + 16;
            }
            b"VP8 " => {
                let mut frame = [0; 10];
                reader.read_exact(&mut frame)?;
                let [.., a, b, c, d] = frame;
                let sides = [[a, b], [c, d]].map(|side| u32::from(u16::from_le_bytes(side) & 0x3FFF));
                if let Some([width, height]) = canvas.filter(|canvas| *canvas != sides) {
                    return Ok(Some(format!(
                        "a frame has {} × {} pixels where {width} × {height} are announced",
                        sides[0], sides[1]
                    )));
                }
            }
            _ => {}
        }
        at = next;
    }
    Ok(None)
}

/// Compares what the entries of the first directory point to with the file's length (TIFF 6.0, section 2; `BigTIFF` has
/// wider numbers). Up to 256 MiB are asked for otherwise, by a file of a hundred bytes.
fn tiff<R: BufRead + Seek>(reader: &mut R) -> io::Result<Option<String>> {
    let length = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    match tiff_directory(reader, length) {
        // The decoder says better what is missing of the directory itself.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    }
}

fn tiff_directory<R: BufRead + Seek>(reader: &mut R, length: u64) -> io::Result<Option<String>> {
    let mut start = [0; 4];
    reader.read_exact(&mut start)?;
    let is_big_endian = start[0] == b'M';
    let is_big = start.contains(&43);
    // Of up to 8 bytes.
    let number = |reader: &mut R, n: usize| {
        let mut bytes = [0; 8];
        reader.read_exact(&mut bytes[..n])?;
        if is_big_endian {
            bytes[..n].reverse();
        }
        Ok::<_, io::Error>(u64::from_le_bytes(bytes))
    };
    let word = if is_big { 8 } else { 4 };
    if is_big {
        // The size of an offset, and 0.
        number(reader, 4)?;
    }
    let place = number(reader, word)?;
    reader.seek(SeekFrom::Start(place))?;
    let n_entries = number(reader, if is_big { 8 } else { 2 })?;
    for _ in 0..n_entries {
        let (tag, kind, n_values) = (number(reader, 2)?, number(reader, 2)?, number(reader, word)?);
        number(reader, word)?;
        let n_bytes = match kind {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        let n_bytes = n_values.saturating_mul(n_bytes);
        if n_bytes > length {
            return Ok(Some(format!("its tag {tag} promises {n_bytes} bytes, and the file has {length}")));
        }
    }
    Ok(None)
}

fn next_byte<R: BufRead>(reader: &mut R) -> io::Result<Option<u8>> {
    let byte = reader.fill_buf()?.first().copied();
    if byte.is_some() {
        reader.consume(1);
    }
    Ok(byte)
}
