//! Files that are there whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::MediaError;

const BUFFER_BYTES: usize = 1 << 18;

/// Something an encoder can write into and go back in.
pub(crate) trait WriteSeek: Write + Seek {}
impl<T: Write + Seek> WriteSeek for T {}

/// Where a write ends up.
pub(crate) enum Sink<'a> {
    /// A new regular file.
    File(&'a mut dyn WriteSeek),
    /// A pipe, a terminal or a device: it only goes forward.
    Stream(&'a mut dyn Write),
}

/// Writes a file so that `path` is either the whole new file or what it was before.
///
/// `write` fills a temporary file in the same folder (hidden, named `.asmr-….tmp`); it is flushed, synchronised with
/// the disk and renamed to `path`. An error, a panic or a full disk leaves `path` as it was and removes the temporary
/// file; a killed process may leave the temporary file. A symbolic link is followed. A new file gets the permissions
/// any new file gets (`umask`), a replaced one keeps its own. If `path` is a pipe or a device (`/dev/stdout`), the
/// bytes go straight into it.
///
/// # Errors
/// [`MediaError::Write`] when `path` is a folder, its folder is missing or may not be written, `path` itself may not
/// be written, or `write` fails.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("notes.txt");
/// asmr_media::write_atomically(&path, |w| w.write_all(b"whole or not at all"))?;
/// assert_eq!(std::fs::read(&path).unwrap(), b"whole or not at all");
/// # Ok::<(), asmr_media::MediaError>(())
/// ```
pub fn write_atomically<F>(path: &Path, write: F) -> Result<(), MediaError>
where
    F: FnOnce(&mut dyn Write) -> io::Result<()>,
{
    write_to_sink(path, |sink| match sink {
        Sink::File(mut file) => write(&mut file),
        Sink::Stream(stream) => write(stream),
    })
}

/// [`write_atomically`] for encoders that must go back in what they wrote.
pub(crate) fn write_to_sink<F>(path: &Path, write: F) -> Result<(), MediaError>
where
    F: FnOnce(Sink<'_>) -> io::Result<()>,
{
    write_inner(path, write).map_err(|error| MediaError::Write { path: path.to_path_buf(), error })
}

fn write_inner<F>(path: &Path, write: F) -> io::Result<()>
where
    F: FnOnce(Sink<'_>) -> io::Result<()>,
{
    let Some(mut file) = PendingFile::create(path)? else {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, OpenOptions::new().write(true).open(path)?);
        write(Sink::Stream(&mut file))?;
        return file.flush();
    };
    write(Sink::File(&mut file))?;
    file.commit()
}

/// A file that is not there yet: until [`PendingFile::commit`], its name is what it was. Dropped before, it leaves nothing.
pub(crate) struct PendingFile {
    writer: BufWriter<tempfile::NamedTempFile<File>>,
    target: PathBuf,
    permissions: Option<fs::Permissions>,
}

impl PendingFile {
    /// Begins a file; `None` if `path` is a pipe, a terminal or a device, which no file can take the place of.
    pub(crate) fn create(path: &Path) -> io::Result<Option<Self>> {
        let permissions = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a folder; give the name of a file in it",
                ));
            }
            Ok(metadata) if !metadata.is_file() => return Ok(None),
            Ok(metadata) => {
                // A rename would replace a write-protected file without asking; opening it (without truncation) asks.
                drop(OpenOptions::new().write(true).open(path)?);
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Renaming over a symbolic link would replace the link and leave its target as it was.
        let target = if permissions.is_some() { fs::canonicalize(path)? } else { path.to_path_buf() };
        let folder = parent(&target);
        match fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!("{} is not a folder", folder.display()),
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the folder {} does not exist; create it first", folder.display()),
                ));
            }
            Err(error) => return Err(error),
        }
        let temporary = new_temporary(&folder).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("no file can be made in the folder {}: {}", folder.display(), os_words(&error)),
            )
        })?;
        Ok(Some(Self { writer: BufWriter::with_capacity(BUFFER_BYTES, temporary), target, permissions }))
    }

    /// Puts the file in its place, whole and on the disk.
    pub(crate) fn commit(self) -> io::Result<()> {
        let temporary = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        if let Some(permissions) = self.permissions {
            temporary.as_file().set_permissions(permissions)?;
        }
        temporary.as_file().sync_all()?;
        temporary.persist(&self.target).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Write for PendingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Seek for PendingFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.writer.seek(to)
    }
}

fn new_temporary(folder: &Path) -> io::Result<tempfile::NamedTempFile<File>> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".asmr-").suffix(".tmp");
    #[cfg(unix)]
    {
        // Temporary files are private by default, and the rename would make that the result's permission. The
        // system subtracts the umask from this, as from every new file.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// The system's words alone: the temporary file's random name in the message would only confuse.
fn os_words(error: &io::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The folder a file lies in; `.` for a bare name.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
