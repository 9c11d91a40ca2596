//! Is the whole file there? For formats whose decoders fill a missing end with grey and call it a success.

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

/// Compares the RIFF header's length with the file's.
fn webp<R: BufRead + Seek>(reader: &mut R) -> io::Result<Option<String>> {
    let actual = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let mut header = [0; 8];
    reader.read_exact(&mut header)?;
    let [.., a, b, c, d] = header;
    let promised = u64::from(u32::from_le_bytes([a, b, c, d])) + 8;
    Ok((actual < promised).then(|| format!("it has {actual} of the {promised} bytes its header promises")))
}

fn next_byte<R: BufRead>(reader: &mut R) -> io::Result<Option<u8>> {
    let byte = reader.fill_buf()?.first().copied();
    if byte.is_some() {
        reader.consume(1);
    }
    Ok(byte)
}
