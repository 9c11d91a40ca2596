//! The file of a sequence while it grows: `OUTPUT.part` beside the output, renamed to it when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{Cursor, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use asmr::coding::{QuantisedWeights, TensorSteps};
use asmr::file::{AsmrReader, AsmrWriter, FileError, FileHeader, Limits, write_progressive};
use asmr::network::Network;
use asmr_media::{Unfinished, link_target};

use crate::error::Failure;
use crate::files;
use crate::interrupt;
use crate::resume::{self, DoneChunk, resume_path};

/// A file to which chunks are added. Dropped before it is finished it is removed, unless it is to be kept for a later run.
pub(crate) struct PartFile {
    path: PathBuf,
    output: PathBuf,
    /// Only none while it is being finished.
    writer: Option<AsmrWriter<File>>,
    /// Of each chunk so far, what tells its signal from others.
    signals: Vec<u32>,
    /// None when the file is to be kept for a later run.
    unfinished: Option<Unfinished>,
}

/// Where a sequence grows.
fn part_path(output: &Path) -> PathBuf {
    with_suffix(output, ".part")
}

/// The path with a suffix after its whole name: beside the file that a link leads to, where it can be renamed to it.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = link_target(path).into_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses an output beside which `OUTPUT.part` or `OUTPUT.resume` is no file of an earlier run: such a file would be lost.
pub(crate) fn check_neighbours(output: &Path) -> Result<(), Failure> {
    let neighbours =
        [(part_path(output), asmr::file::MAGIC.as_slice()), (resume_path(output), &resume::MAGIC[..7])];
    for (path, magic) in neighbours {
        let mut start = Vec::new();
        let is_ours =
            match File::open(&path).and_then(|file| file.take(magic.len() as u64).read_to_end(&mut start)) {
                // A run that was killed early left less.
                Ok(_) => magic.starts_with(&start),
                Err(error) => error.kind() == ErrorKind::NotFound,
            };
        if !is_ours {
            return Err(Failure::usage(format!(
                "{} is where a part of {} is kept while it is made, and it is another file; move it, or give another name with -o",
                path.display(),
                output.display()
            )));
        }
    }
    Ok(())
}

fn failed(path: &Path, error: &FileError) -> Failure {
    Failure::failed(format!("cannot write {}: {}", path.display(), files::file_error(error)))
}

impl PartFile {
    /// Begins a file.
    pub(crate) fn create(output: &Path, header: &FileHeader) -> Result<Self, Failure> {
        let path = part_path(output);
        let unfinished = Unfinished::new(&path);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file =
            file.map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
        let writer = AsmrWriter::new(file, header.clone()).map_err(|error| failed(&path, &error))?;
        let (output, signals) = (output.to_path_buf(), Vec::new());
        Ok(Self { path, output, writer: Some(writer), signals, unfinished: Some(unfinished) })
    }

    /// Goes on with the file of an earlier run, whose first chunks are these.
    pub(crate) fn resume(output: &Path, header: &FileHeader, chunks: &[DoneChunk]) -> Result<Self, Failure> {
        let path = part_path(output);
        let refuse = |problem: &str| {
            Failure::usage(format!(
                "cannot go on with {}: {problem}, or remove {} to begin again",
                path.display(),
                resume_path(output).display()
            ))
        };
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::NotFound if chunks.is_empty() => {
                refuse("it is not there, so the fit was one of all in one network; leave --chunk out")
            }
            _ => refuse(&format!("{error}; mend that")),
        })?;
        let written: Vec<_> = chunks.iter().map(|chunk| chunk.written).collect();
        let resumed = AsmrWriter::resume(file, header.clone(), &written).and_then(|mut writer| {
            // What an interrupted run wrote behind the last whole chunk goes.
            let file = writer.flush()?;
            let end = file.stream_position()?;
            file.set_len(end)?;
            Ok(writer)
        });
        let writer = resumed.map_err(|error| match error {
            FileError::Inconsistent(_) => refuse(
                "it is of a fit with other settings, or of another part of the signal; give the options that it began with",
            ),
            error => refuse(&format!("{}; get the file back that it was", files::file_error(&error))),
        })?;
        let (output, signals) = (output.to_path_buf(), chunks.iter().map(|chunk| chunk.signal).collect());
        Ok(Self { path, output, writer: Some(writer), signals, unfinished: None })
    }

    /// Adds a chunk's network; it is on the disk afterwards. `signal` is as in [`DoneChunk`].
    pub(crate) fn push(
        &mut self,
        network: &Network,
        steps: Option<&[TensorSteps]>,
        corrections: Option<&[Vec<u8>]>,
        signal: u32,
    ) -> Result<(), Failure> {
        let path = self.path.clone();
        let Some(writer) = &mut self.writer else { return Ok(()) };
        self.signals.push(signal);
        interrupt::while_writing(|| {
            writer.push_corrected(network, steps, corrections)?;
            writer.flush()?.sync_data()?;
            Ok(())
        })
        .map_err(|error: FileError| failed(&path, &error))
    }

    /// The chunks so far.
    pub(crate) fn done(&self) -> Vec<DoneChunk> {
        let written = self.writer.as_ref().map_or_else(Vec::new, AsmrWriter::written);
        written
            .into_iter()
            .zip(&self.signals)
            .map(|(written, &signal)| DoneChunk { written, signal })
            .collect()
    }

    /// From now on the file stays when the program ends: there is something to resume from.
    pub(crate) fn keep(&mut self) {
        self.unfinished = None;
    }

    /// Completes the file and gives it its name, or writes its chunks to the output in another order.
    pub(crate) fn finish(mut self, order: Option<Order<'_>>) -> Result<(), Failure> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let (path, output) = (self.path.clone(), link_target(&self.output));
        if let Some(order) = order {
            let (file, _) = writer.finish().map_err(|error| failed(&path, &error))?;
            order.write(file, &self.output)?;
            // What was kept for a later run is in the output now.
            self.unfinished = Some(Unfinished::new(&path));
            return Ok(());
        }
        interrupt::while_writing(|| {
            let (file, _) = writer.finish()?;
            if let Ok(replaced) = fs::metadata(&output) {
                file.set_permissions(replaced.permissions())?;
            }
            file.sync_all()?;
            fs::rename(&path, &output)?;
            Ok(())
        })
        .map_err(|error: FileError| failed(&path, &error))?;
        self.unfinished = None;
        Ok(())
    }

    /// Writes the chunks there are to the output: the signal ends after `covered` slices. What is kept for a later run stays.
    pub(crate) fn finish_early(mut self, covered: usize, order: Option<Order<'_>>) -> Result<(), Failure> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let mut header = writer.header().clone();
        header.signal.extents[0] = covered;
        if header.chunk_extent > covered {
            header.chunk_extent = covered;
        }
        let n_chunks = header.n_chunks();
        let header =
            if n_chunks == 1 { FileHeader { network: header.chunk_config(0), ..header } } else { header };
        // A file is small beside its signal.
        let shorter = AsmrWriter::new(Cursor::new(Vec::new()), header).and_then(|mut shorter| {
            for chunk in 0..n_chunks {
                let whole = writer.chunk(chunk)?;
                shorter.push_corrected(
                    &whole.network,
                    whole.steps.as_deref(),
                    whole.corrections.as_deref(),
                )?;
            }
            Ok(shorter.finish()?.0)
        });
        let shorter = shorter.map_err(|error| failed(&self.path, &error))?;
        match order {
            Some(order) => order.write(shorter, &self.output),
            None => files::write_bytes(&self.output, shorter.get_ref()),
        }
    }
}

/// Makes the passes of a chunk's weights, the coarsest first; none where that cannot be.
type Passes<'a> = dyn FnMut(&Network, &QuantisedWeights) -> Option<Vec<QuantisedWeights>> + 'a;

/// Progressive order, which is made of a whole file.
pub(crate) struct Order<'a> {
    pub(crate) refinements: &'a [u8],
    pub(crate) passes: &'a mut Passes<'a>,
    pub(crate) limits: Limits,
}

impl Order<'_> {
    /// Writes a whole file's chunks to the output. A file is small beside its signal: it is put together in memory.
    fn write(self, mut file: impl Read + Seek, output: &Path) -> Result<(), Failure> {
        let ordered = file.rewind().map_err(FileError::Io).and_then(|()| {
            let mut reader = AsmrReader::open(file, &self.limits)?;
            write_progressive(&mut reader, self.refinements, self.passes, Cursor::new(Vec::new()))
        });
        let (bytes, _) = ordered.map_err(|error| files::unmakeable(output, &error))?;
        files::write_bytes(output, bytes.get_ref())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.unfinished.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
