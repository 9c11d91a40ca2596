//! Signals that are kept for a fit: in memory, or in a temporary file where they are too large for that.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use asmr::signal::{Samples, Signal, SignalInfo, Source};

use crate::error::MediaError;
use crate::stream::SliceReader;

/// A brick is about as large as a page, so that a few bricks hold the block of samples that a fit asks for.
const BRICK_BYTES: usize = 4096;
/// A signal is copied in pieces of about this many bytes.
const PIECE_BYTES: usize = 1 << 20;

/// A signal in a temporary file without a name, which is gone with the `Spool` (and with the process, however it ends).
///
/// A fit reads blocks of a few rows of a few samples each, from all threads at once. The file therefore holds *bricks*:
/// squares of the two fastest axes, of about 4 KiB, one after the other, so that such a block lies in few places. Each
/// thread keeps the bricks that it read last. What is read again and again the system keeps in its own cache, as far as
/// memory is free.
#[derive(Debug)]
pub struct Spool {
    info: SignalInfo,
    bricks: Bricks,
    file: PositionedFile,
    /// Tells the signals of one process apart.
    id: u64,
    failure: OnceLock<String>,
}

impl Spool {
    /// Copies what the reader has not handed out yet, which must be the whole signal, into a temporary file.
    ///
    /// `folder` is where the file lies; `None` is the system's folder for large temporary files (`$TMPDIR`, else
    /// `/var/tmp`). The file has the size of the signal's values, and up to a brick more on each side.
    ///
    /// # Errors
    /// The reader's; [`MediaError::Write`] when no file can be made there or the disk is full.
    pub fn of(reader: &mut dyn SliceReader, folder: Option<&Path>) -> Result<Self, MediaError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let info = reader.info().clone();
        let bricks = Bricks::of(&info);
        let folder = folder.map_or_else(temporary_folder, Path::to_path_buf);
        let failed = |error: io::Error| MediaError::Write {
            path: folder.clone(),
            error: io::Error::new(
                error.kind(),
                format!(
                    "a temporary copy of the signal ({} bytes) cannot be made there: {error}; name another folder",
                    bricks.n_bytes()
                ),
            ),
        };
        let mut file = tempfile::tempfile_in(&folder).map_err(failed)?;
        let n_slices = info.extents[0];
        let step = bricks.slices(&info);
        let mut packed = Vec::new();
        for start in (0..n_slices).step_by(step) {
            let bytes = reader.read(step.min(n_slices - start))?.to_le_bytes();
            for plane in bytes.chunks(bricks.rows * bricks.row_bytes) {
                for band in plane.chunks(bricks.brick_rows * bricks.row_bytes) {
                    bricks.pack(band, &mut packed);
                    file.write_all(&packed).map_err(failed)?;
                }
            }
        }
        Ok(Self {
            info,
            bricks,
            file: PositionedFile::new(file),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            failure: OnceLock::new(),
        })
    }

    /// The signal once more, from its beginning; for a comparison.
    #[must_use]
    pub fn slices(&self) -> Box<dyn SliceReader + '_> {
        Box::new(SpoolReader { spool: self, at: 0, span: Span::default() })
    }

    /// Calls `visit` with the bricks read into `span` and the values in them, for all of `start .. start + n_values`
    /// in order.
    fn visit(
        &self,
        start: u64,
        n_values: usize,
        span: &mut Span,
        mut visit: impl FnMut(&Span, Range<usize>),
    ) -> io::Result<()> {
        let b = &self.bricks;
        let (row_values, brick_row) = (b.row_bytes / b.value_bytes, b.brick_row_bytes / b.value_bytes);
        let (mut at, mut left) = (start, n_values);
        while left > 0 {
            let (row, x) = (at / row_values as u64, (at % row_values as u64) as usize);
            let end = row_values.min(x + left);
            let (plane, y) = (row / b.rows as u64, (row % b.rows as u64) as usize);
            let band = plane * b.n_down as u64 + (y / b.brick_rows) as u64;
            let first = band * b.n_across as u64;
            let wanted = first + (x / brick_row) as u64..first + ((end - 1) / brick_row) as u64 + 1;
            span.hold(self, wanted)?;
            let mut run = x;
            while run < end {
                let brick = run / brick_row;
                let run_end = end.min((brick + 1) * brick_row);
                let brick_at =
                    (first + brick as u64 - span.bricks.start) as usize * b.brick_rows + y % b.brick_rows;
                let from = brick_at * brick_row + run % brick_row;
                visit(span, from..from + run_end - run);
                run = run_end;
            }
            at += (end - x) as u64;
            left -= end - x;
        }
        Ok(())
    }
}

impl Source for Spool {
    fn info(&self) -> &SignalInfo {
        &self.info
    }

    fn read_scaled(&self, start: u64, out: &mut [f32]) {
        thread_local! {
            static SPAN: RefCell<Span> = RefCell::default();
        }
        assert!(
            start.checked_add(out.len() as u64).is_some_and(|end| Some(end) <= self.info.n_values()),
            "a range of {} values from {start} lies outside of the signal",
            out.len()
        );
        let read = SPAN.with_borrow_mut(|span| {
            let mut at = 0;
            self.visit(start, out.len(), span, |span, range| {
                let n = range.len();
                self.info.scaled(&span.samples, range.start, &mut out[at..at + n]);
                at += n;
            })
        });
        if let Err(error) = read {
            self.failure.get_or_init(|| format!("the temporary copy of the signal cannot be read: {error}"));
            out.fill(0.0);
        }
    }

    fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

/// Where values lie in the file. Bricks are whole also where they reach over an edge; what is beyond is zero.
#[derive(Debug)]
struct Bricks {
    value_bytes: usize,
    /// Rows of a plane of the two fastest axes; 1 if there is one axis.
    rows: usize,
    row_bytes: usize,
    brick_rows: usize,
    brick_row_bytes: usize,
    /// Bricks side by side, and below one another in a plane.
    n_across: usize,
    n_down: usize,
    n_planes: u64,
}

impl Bricks {
    fn of(info: &SignalInfo) -> Self {
        let value_bytes = info.sample_type.n_bytes();
        let sample_bytes = info.channels * value_bytes;
        let (slower, columns, rows) = match info.extents.as_slice() {
            [slower @ .., rows, columns] => (slower, *columns, *rows),
            [columns] => (&[][..], *columns, 1),
            [] => unreachable!("a signal has axes"),
        };
        let brick_samples = (BRICK_BYTES / sample_bytes).max(1);
        // The largest square of a power of two; along a single axis all samples in a row.
        let side = 1 << (brick_samples.ilog2() / 2);
        let (brick_rows, brick_columns) =
            if rows == 1 { (1, brick_samples) } else { (side.min(rows), side.min(columns)) };
        let (n_across, n_down) = (columns.div_ceil(brick_columns), rows.div_ceil(brick_rows));
        let n_planes: u64 = slower.iter().map(|&extent| extent as u64).product();
        Self {
            value_bytes,
            rows,
            row_bytes: columns * sample_bytes,
            brick_rows,
            brick_row_bytes: brick_columns * sample_bytes,
            n_across,
            n_down,
            n_planes,
        }
    }

    fn brick_bytes(&self) -> usize {
        self.brick_rows * self.brick_row_bytes
    }

    fn n_bytes(&self) -> u64 {
        self.n_planes * self.n_down as u64 * self.n_across as u64 * self.brick_bytes() as u64
    }

    /// Slices to copy at once: about [`PIECE_BYTES`] of them, and whole bricks.
    fn slices(&self, info: &SignalInfo) -> usize {
        let slice_bytes = info.slice_values() * self.value_bytes;
        let whole = match info.extents.len() {
            1 => self.brick_row_bytes / slice_bytes,
            2 => self.brick_rows,
            _ => 1,
        };
        (PIECE_BYTES / slice_bytes / whole).max(1) * whole
    }

    /// Some rows (or the last ones of a plane), or a part of a signal of one axis, as bricks.
    fn pack(&self, band: &[u8], packed: &mut Vec<u8>) {
        let n_across = band.len().min(self.row_bytes).div_ceil(self.brick_row_bytes);
        packed.clear();
        packed.resize(n_across * self.brick_bytes(), 0);
        for (y, row) in band.chunks(self.row_bytes).enumerate() {
            for (brick, run) in row.chunks(self.brick_row_bytes).enumerate() {
                let at = brick * self.brick_bytes() + y * self.brick_row_bytes;
                packed[at..at + run.len()].copy_from_slice(run);
            }
        }
    }
}

/// Bricks that lie one after the other in a file, read at once.
#[derive(Debug)]
struct Span {
    spool: u64,
    bricks: Range<u64>,
    bytes: Vec<u8>,
    samples: Samples,
}

impl Default for Span {
    /// No bricks of no signal.
    fn default() -> Self {
        Self { spool: 0, bricks: 0..0, bytes: Vec::new(), samples: Samples::U8(Vec::new()) }
    }
}

impl Span {
    /// Makes sure that these bricks are there.
    fn hold(&mut self, spool: &Spool, wanted: Range<u64>) -> io::Result<()> {
        if self.spool == spool.id && self.bricks.start <= wanted.start && wanted.end <= self.bricks.end {
            return Ok(());
        }
        // Nothing is held if reading fails.
        self.spool = 0;
        let brick_bytes = spool.bricks.brick_bytes();
        self.bytes.resize((wanted.end - wanted.start) as usize * brick_bytes, 0);
        spool.file.read_exact_at(&mut self.bytes, wanted.start * brick_bytes as u64)?;
        self.samples = Samples::from_le_bytes(spool.info.sample_type, &self.bytes);
        self.bricks = wanted;
        self.spool = spool.id;
        Ok(())
    }
}

struct SpoolReader<'a> {
    spool: &'a Spool,
    at: u64,
    span: Span,
}

impl SliceReader for SpoolReader<'_> {
    fn info(&self) -> &SignalInfo {
        &self.spool.info
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let info = &self.spool.info;
        let n_values = n_slices * info.slice_values();
        assert!(
            Some(self.at + n_values as u64) <= info.n_values(),
            "{n_slices} slices are more than are left"
        );
        let value_bytes = info.sample_type.n_bytes();
        let mut bytes = Vec::with_capacity(n_values * value_bytes);
        self.spool
            .visit(self.at, n_values, &mut self.span, |span, range| {
                bytes.extend_from_slice(&span.bytes[range.start * value_bytes..range.end * value_bytes]);
            })
            .map_err(|error| MediaError::Read {
                path: PathBuf::from("the temporary copy of the signal"),
                error,
            })?;
        self.at += n_values as u64;
        Ok(Samples::from_le_bytes(info.sample_type, &bytes))
    }
}

/// A file that is read at positions, by several threads at once.
#[derive(Debug)]
struct PositionedFile {
    #[cfg(any(unix, windows))]
    file: File,
    #[cfg(not(any(unix, windows)))]
    file: std::sync::Mutex<File>,
}

impl PositionedFile {
    fn new(file: File) -> Self {
        Self {
            #[cfg(any(unix, windows))]
            file,
            #[cfg(not(any(unix, windows)))]
            file: std::sync::Mutex::new(file),
        }
    }

    #[cfg(unix)]
    fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, bytes, position)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut bytes: &mut [u8], mut position: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(&self.file, bytes, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    bytes = &mut bytes[n..];
                    position += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    #[cfg(not(any(unix, windows)))]
    fn read_exact_at(&self, bytes: &mut [u8], position: u64) -> io::Result<()> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(bytes)
    }
}

/// Where large temporary files belong: `/tmp` may be memory.
fn temporary_folder() -> PathBuf {
    let large = Path::new("/var/tmp");
    if cfg!(unix) && std::env::var_os("TMPDIR").is_none() && large.is_dir() {
        return large.to_path_buf();
    }
    std::env::temp_dir()
}

/// A signal that is kept for a fit, wherever it has room.
#[derive(Debug)]
pub enum Held {
    /// In memory.
    Memory(Signal),
    /// In a temporary file.
    Disk(Spool),
}

/// Keeps a signal in memory if its values, as stored, take up to `limit_bytes`, and as a [`Spool`] in `folder` if they
/// take more.
///
/// # Errors
/// As [`Spool::of`].
pub fn hold(
    reader: &mut dyn SliceReader,
    limit_bytes: u64,
    folder: Option<&Path>,
) -> Result<Held, MediaError> {
    let info = reader.info().clone();
    let n_bytes = info.n_values().unwrap_or(u64::MAX).saturating_mul(info.sample_type.n_bytes() as u64);
    if n_bytes > limit_bytes {
        return Spool::of(reader, folder).map(Held::Disk);
    }
    let samples = reader.read(info.extents[0])?;
    Signal::new(info, samples).map(Held::Memory).map_err(|error| MediaError::Unusable {
        path: PathBuf::from("the signal"),
        problem: error.to_string(),
    })
}

impl Held {
    /// The signal once more, from its beginning; for a comparison.
    #[must_use]
    pub fn slices(&self) -> Box<dyn SliceReader + '_> {
        match self {
            Self::Memory(signal) => Box::new(SignalReader { signal, at: 0 }),
            Self::Disk(spool) => spool.slices(),
        }
    }
}

impl Source for Held {
    fn info(&self) -> &SignalInfo {
        match self {
            Self::Memory(signal) => signal.info(),
            Self::Disk(spool) => &spool.info,
        }
    }

    fn read_scaled(&self, start: u64, out: &mut [f32]) {
        match self {
            Self::Memory(signal) => signal.read_scaled(start, out),
            Self::Disk(spool) => spool.read_scaled(start, out),
        }
    }

    fn failure(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Disk(spool) => spool.failure(),
        }
    }
}

/// A `MemoryReader` of values that stay where they are.
struct SignalReader<'a> {
    signal: &'a Signal,
    at: usize,
}

impl SliceReader for SignalReader<'_> {
    fn info(&self) -> &SignalInfo {
        self.signal.info()
    }

    fn read(&mut self, n_slices: usize) -> Result<Samples, MediaError> {
        let start = self.at;
        self.at += n_slices * self.signal.info().slice_values();
        Ok(self.signal.samples().slice(start..self.at))
    }
}
