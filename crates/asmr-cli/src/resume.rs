//! What a long fit keeps beside its output (`OUTPUT.resume`) so that a killed process loses at most a minute.
//!
//! ```text
//! magic (8 bytes) · width of the networks (u32) · chunks that are in OUTPUT.part (u32) · of each its length (u64), its checksum (u32)
//! and the fingerprint of its signal (u32) · CRC-32 of all that (u32) · the checkpoint of the fit in progress (asmr-train's own format),
//! or nothing between two fits
//! ```

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use asmr::file::WrittenChunk;
use asmr_media::write_atomically;
use asmr_train::fit::Fit;

use crate::error::Failure;
use crate::files;
use crate::partfile::{PartFile, with_suffix};

pub(crate) const MAGIC: &[u8; 8] = b"ASMRRSM3";
/// Bytes before those of the chunks.
const START_LEN: usize = 16;
/// Bytes told of a chunk.
const ENTRY_LEN: usize = 16;
/// More chunks than any file has are damage.
const MAX_CHUNKS: u32 = 1 << 20;

/// Where the state is kept.
pub(crate) fn resume_path(output: &Path) -> PathBuf {
    with_suffix(output, ".resume")
}

/// A chunk that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DoneChunk {
    pub(crate) written: WrittenChunk,
    /// Tells its signal from others: the values of its [`asmr_train::checkpoint::Fingerprint`].
    pub(crate) signal: u32,
}

/// The state that an earlier run kept.
pub(crate) struct Kept {
    /// The width of its networks.
    width: usize,
    /// The chunks that are done.
    pub(crate) chunks: Vec<DoneChunk>,
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
            "{} is damaged or no state of a fit that this version keeps; remove it to begin again",
            path.display()
        ))
    };
    let mut input = BufReader::new(file);
    let mut start = vec![0; START_LEN];
    input.read_exact(&mut start).map_err(|_| damaged())?;
    let u32_at = |bytes: &[u8], at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let (width, n_done) = (u32_at(&start, 8) as usize, u32_at(&start, 12));
    let least = (START_LEN + 4) as u64 + u64::from(n_done) * ENTRY_LEN as u64;
    if start[..8] != *MAGIC || n_done > MAX_CHUNKS || least > n_bytes {
        return Err(damaged());
    }
    let mut entries = vec![0; n_done as usize * ENTRY_LEN + 4];
    input.read_exact(&mut entries).map_err(|_| damaged())?;
    start.extend(&entries);
    let (content, stored) = start.split_at(start.len() - 4);
    if crc32fast::hash(content).to_le_bytes() != stored {
        return Err(damaged());
    }
    let chunks = content[START_LEN..]
        .chunks_exact(ENTRY_LEN)
        .map(|entry| DoneChunk {
            written: WrittenChunk {
                n_bytes: u64::from(u32_at(entry, 0)) | u64::from(u32_at(entry, 4)) << 32,
                checksum: u32_at(entry, 8),
            },
            signal: u32_at(entry, 12),
        })
        .collect();
    let is_between = n_bytes == start.len() as u64;
    Ok(Some(Kept { width, chunks, checkpoint: (!is_between).then_some(input) }))
}

/// The width of the networks of an earlier run; `None` also where it cannot be read, of which [`read`] tells.
pub(crate) fn width(output: &Path) -> Option<usize> {
    Some(read(output).ok()??.width)
}

/// Refuses to begin anew where the state of an earlier fit would be lost.
pub(crate) fn check_none(output: &Path) -> Result<(), Failure> {
    let path = resume_path(output);
    if !path.exists() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is the state of an earlier fit that did not end; go on with it by --resume, or remove it to begin again",
        path.display()
    )))
}

/// Keeps the state: the old one or the new one is there, whatever happens, and `part`, which it tells of.
pub(crate) fn write(
    output: &Path,
    width: usize,
    part: Option<&mut PartFile>,
    fit: Option<&mut Fit<'_>>,
) -> Result<(), Failure> {
    let path = resume_path(output);
    let chunks = part.as_ref().map_or_else(Vec::new, |part| part.done());
    let mut start = MAGIC.to_vec();
    start.extend((width as u32).to_le_bytes());
    start.extend((chunks.len() as u32).to_le_bytes());
    for DoneChunk { written, signal } in chunks {
        start.extend(written.n_bytes.to_le_bytes());
        start.extend(written.checksum.to_le_bytes());
        start.extend(signal.to_le_bytes());
    }
    start.extend(crc32fast::hash(&start).to_le_bytes());
    files::write_file(&path, || {
        write_atomically(&path, |mut out| {
            out.write_all(&start)?;
            fit.map_or(Ok(()), |fit| fit.write_checkpoint(&mut out))
        })?;
        // Within the write: a signal right behind it removes what is not to be kept.
        if let Some(part) = part {
            part.keep();
        }
        Ok::<(), Failure>(())
    })
}

/// Removes what was kept: the fit is done.
pub(crate) fn remove(output: &Path) {
    let _ = fs::remove_file(resume_path(output));
}

#[cfg(test)]
mod tests {
    use super::*;
    use asmr::file::{Encoding, FileHeader};
    use asmr::network::{Modulator, Network, NetworkConfig};
    use asmr::partition::Partition;
    use asmr::signal::{SampleType, SignalInfo};

    fn header() -> FileHeader {
        let partition = Partition::new(&[4], &[vec![2, 2]]).unwrap();
        let network =
            NetworkConfig { partition, channels: 1, width: 3, omega_0: 30.0, modulator: Modulator::Linear };
        FileHeader {
            signal: SignalInfo::plain(vec![12], 1, SampleType::U8, None),
            chunk_extent: 4,
            network,
            encoding: Encoding::F32,
            max_error: None,
            refinements: Vec::new(),
            fit: None,
        }
    }

    /// Chunks go with an error before they are told of, and stay from then on, whatever comes.
    #[test]
    fn chunks_that_a_state_tells_of_stay() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("n.asmr");
        let (header, part_path) = (header(), folder.path().join("n.asmr.part"));
        let mut n_cases = 0;
        for n_chunks in 0..3 {
            for is_told in [false, true] {
                let mut part = PartFile::create(&output, &header).unwrap();
                for chunk in 0..n_chunks {
                    let network = Network::init(header.chunk_config(chunk), chunk as u64, 1.0).unwrap();
                    part.push(&network, None, None, 70 + chunk as u32).unwrap();
                }
                if is_told {
                    write(&output, 3, Some(&mut part), None).unwrap();
                }
                drop(part);
                assert_eq!(part_path.exists(), is_told, "{n_chunks} chunks");
                n_cases += 1;
            }
            let kept = read(&output).unwrap().unwrap();
            let signals: Vec<u32> = kept.chunks.iter().map(|chunk| chunk.signal).collect();
            assert_eq!(signals, (0..n_chunks as u32).map(|chunk| 70 + chunk).collect::<Vec<_>>());
            assert_eq!((width(&output), kept.checkpoint.is_none()), (Some(3), true));
            assert!(check_none(&output).is_err());
            let resumed = PartFile::resume(&output, &header, &kept.chunks).unwrap();
            assert_eq!(resumed.done().len(), n_chunks);
            drop(resumed);
            assert!(part_path.exists(), "an earlier run's stays");
            remove(&output);
            fs::remove_file(&part_path).unwrap();
            assert!(check_none(&output).is_ok());
        }
        assert_eq!(n_cases, 6);
    }
}
