//! What a long fit keeps beside its output (`OUTPUT.resume`) so that a killed process loses at most a minute.
//!
//! ```text
//! magic (8 bytes) · chunks that are in OUTPUT.part (u32) · their lengths and checksums (u64 and u32 each) · CRC-32 of all that (u32)
//! · the checkpoint of the fit in progress (asmr-train's own format), or nothing between two fits
//! ```

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use asmr::file::WrittenChunk;
use asmr_media::write_atomically;
use asmr_train::checkpoint::Header;
use asmr_train::fit::Fit;

use crate::error::Failure;
use crate::files;
use crate::partfile::with_suffix;

pub(crate) const MAGIC: &[u8; 8] = b"ASMRRSM2";
/// Bytes told of a chunk.
const ENTRY_LEN: usize = 12;
/// More chunks than any file has are damage.
const MAX_CHUNKS: u32 = 1 << 20;

/// Where the state is kept.
pub(crate) fn resume_path(output: &Path) -> PathBuf {
    with_suffix(output, ".resume")
}

/// The state that an earlier run kept.
pub(crate) struct Kept {
    /// The chunks that are done.
    pub(crate) chunks: Vec<WrittenChunk>,
    /// The checkpoint of the fit in progress, if there was one.
    pub(crate) checkpoint: Option<BufReader<File>>,
}

/// Reads what an earlier run kept; `None` if there is nothing.
pub(crate) fn read(output: &Path) -> Result<Option<Kept>, Failure> {
    let path = resume_path(output);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    };
    let n_bytes = file.metadata().map_or(0, |m| m.len());
    let damaged = || {
        Failure::usage(format!(
            "{} is damaged or no state of a fit; remove it, or begin again without --resume",
            path.display()
        ))
    };
    let mut input = BufReader::new(file);
    let mut start = vec![0; 12];
    input.read_exact(&mut start).map_err(|_| damaged())?;
    let n_done = u32::from_le_bytes([start[8], start[9], start[10], start[11]]);
    if start[..8] != *MAGIC || n_done > MAX_CHUNKS || u64::from(n_done) * ENTRY_LEN as u64 + 16 > n_bytes {
        return Err(damaged());
    }
    let mut entries = vec![0; n_done as usize * ENTRY_LEN + 4];
    input.read_exact(&mut entries).map_err(|_| damaged())?;
    start.extend(&entries);
    let (content, stored) = start.split_at(start.len() - 4);
    if crc32fast::hash(content).to_le_bytes() != stored {
        return Err(damaged());
    }
    let (entries, _) = content[12..].as_chunks::<ENTRY_LEN>();
    let chunks = entries
        .iter()
        .map(|&[a, b, c, d, e, f, g, h, rest @ ..]| WrittenChunk {
            n_bytes: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            checksum: u32::from_le_bytes(rest),
        })
        .collect();
    let is_between = n_bytes == start.len() as u64;
    Ok(Some(Kept { chunks, checkpoint: (!is_between).then_some(input) }))
}

/// The width of the network whose fit an earlier run kept; `None` also where it cannot be read, of which [`read`] tells.
pub(crate) fn width(output: &Path) -> Option<usize> {
    let mut checkpoint = read(output).ok()??.checkpoint?;
    Some(Header::read(&mut checkpoint).ok()?.network.width)
}

/// Keeps the state: the old one or the new one is there, whatever happens.
pub(crate) fn write(
    output: &Path,
    chunks: &[WrittenChunk],
    fit: Option<&mut Fit<'_>>,
) -> Result<(), Failure> {
    let path = resume_path(output);
    let mut start = MAGIC.to_vec();
    start.extend((chunks.len() as u32).to_le_bytes());
    for chunk in chunks {
        start.extend(chunk.n_bytes.to_le_bytes());
        start.extend(chunk.checksum.to_le_bytes());
    }
    start.extend(crc32fast::hash(&start).to_le_bytes());
    files::write_file(&path, || {
        write_atomically(&path, |mut out| {
            out.write_all(&start)?;
            fit.map_or(Ok(()), |fit| fit.write_checkpoint(&mut out))
        })
    })?;
    Ok(())
}

/// Removes what was kept: the fit is done.
pub(crate) fn remove(output: &Path) {
    let _ = fs::remove_file(resume_path(output));
}
