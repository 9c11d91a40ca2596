//! The file of a sequence while it grows: `OUTPUT.part` beside the output, renamed to it when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Cursor};
use std::path::{Path, PathBuf};

use asmr::coding::{QuantisedWeights, TensorSteps};
use asmr::file::{AsmrWriter, FileError, FileHeader, WrittenChunk, write_progressive};
use asmr::network::Network;

use crate::args::Common;
use crate::error::Failure;
use crate::files;
use crate::interrupt;

/// A file to which chunks are added. Dropped before it is finished it is removed, unless it is to be kept for a later run.
pub(crate) struct PartFile {
    path: PathBuf,
    output: PathBuf,
    /// Only none while it is being finished.
    writer: Option<AsmrWriter<File>>,
    is_kept: bool,
}

/// Where a sequence grows.
pub(crate) fn part_path(output: &Path) -> PathBuf {
    with_suffix(output, ".part")
}

/// The path with a suffix after its whole name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn failed(path: &Path, error: &FileError) -> Failure {
    Failure::failed(format!("cannot write {}: {}", path.display(), files::file_error(error)))
}

impl PartFile {
    /// Begins a file.
    pub(crate) fn create(output: &Path, header: &FileHeader) -> Result<Self, Failure> {
        if fs::metadata(output).is_ok_and(|m| !m.is_file()) {
            return Err(Failure::usage(format!(
                "{} is no regular file, and a sequence of {} networks needs one: its index is written last; give another name with -o",
                output.display(),
                header.n_chunks()
            )));
        }
        let path = part_path(output);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file =
            file.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        let writer = AsmrWriter::new(file, header.clone()).map_err(|error| failed(&path, &error))?;
        Ok(Self { path, output: output.to_path_buf(), writer: Some(writer), is_kept: false })
    }

    /// Goes on with the file of an earlier run, whose first chunks are these.
    pub(crate) fn resume(
        output: &Path,
        header: &FileHeader,
        chunks: &[WrittenChunk],
    ) -> Result<Self, Failure> {
        let path = part_path(output);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file =
            file.map_err(|error| Failure::usage(format!("cannot go on with {}: {error}", path.display())))?;
        let writer = AsmrWriter::resume(file, header.clone(), chunks).map_err(|error| {
            Failure::usage(format!(
                "cannot go on with {}: {}; begin again without --resume",
                path.display(),
                files::file_error(&error)
            ))
        })?;
        Ok(Self { path, output: output.to_path_buf(), writer: Some(writer), is_kept: true })
    }

    /// Adds a chunk's network; it is on the disk afterwards.
    pub(crate) fn push(
        &mut self,
        network: &Network,
        steps: Option<&[TensorSteps]>,
        corrections: Option<&[Vec<u8>]>,
    ) -> Result<(), Failure> {
        let path = self.path.clone();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        interrupt::while_writing(|| {
            writer.push_corrected(network, steps, corrections)?;
            writer.flush()?.sync_data()?;
            Ok(())
        })
        .map_err(|error: FileError| failed(&path, &error))
    }

    /// The chunks so far.
    pub(crate) fn written(&self) -> Vec<WrittenChunk> {
        self.writer.as_ref().map_or_else(Vec::new, AsmrWriter::written)
    }

    /// From now on the file stays when the program ends: there is something to resume from.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Completes the file and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let (path, output) = (self.path.clone(), self.output.clone());
        interrupt::while_writing(|| {
            let (file, _) = writer.finish()?;
            file.sync_all()?;
            fs::rename(&path, &output)?;
            Ok(())
        })
        .map_err(|error: FileError| failed(&path, &error))?;
        self.is_kept = true;
        Ok(())
    }

    /// Completes the file with the chunks there are: the signal ends after `covered` slices.
    pub(crate) fn finish_early(mut self, covered: usize) -> Result<(), Failure> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let mut header = writer.header().clone();
        header.signal.extents[0] = covered;
        if header.chunk_extent > covered {
            header.chunk_extent = covered;
        }
        let n_chunks = header.n_chunks();
        let header =
            if n_chunks == 1 { FileHeader { network: header.chunk_config(0), ..header } } else { header };
        let result = asmr_media::write_with_seek(&self.output, |file| {
            let mut shorter = AsmrWriter::new(BufWriter::new(file), header).map_err(std::io::Error::other)?;
            for chunk in 0..n_chunks {
                let whole = writer.chunk(chunk).map_err(std::io::Error::other)?;
                shorter
                    .push_corrected(&whole.network, whole.steps.as_deref(), whole.corrections.as_deref())
                    .map_err(std::io::Error::other)?;
            }
            shorter.finish().map_err(std::io::Error::other)?;
            Ok(())
        });
        self.is_kept = false;
        Ok(result?)
    }
}

/// Puts the chunks of a whole file into progressive order. A file is small beside its signal: it is put together in memory.
pub(crate) fn put_in_order(
    output: &Path,
    refinements: &[u8],
    passes: &mut dyn FnMut(&Network, &QuantisedWeights) -> Option<Vec<QuantisedWeights>>,
    common: &Common,
) -> Result<(), Failure> {
    let mut reader = files::open_asmr(output, common)?;
    let ordered = write_progressive(&mut reader, refinements, passes, Cursor::new(Vec::new()));
    let (bytes, _) = ordered.map_err(|error| files::unmakeable(output, &error))?;
    files::write_bytes(output, bytes.get_ref())
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
