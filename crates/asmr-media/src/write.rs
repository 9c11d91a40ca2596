//! Files that are there whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::MediaError;
use crate::unfinished::Unfinished;

const BUFFER_BYTES: usize = 1 << 18;

/// Something that can be written into and gone back in.
pub trait WriteSeek: Write + Seek {}
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
/// file; a killed process may leave the temporary file. A symbolic link is followed ([`link_target`]). A new file gets the permissions
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

/// [`write_atomically`] for writers that go back in what they wrote. A pipe or a device is refused.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_with_seek<F>(path: &Path, write: F) -> Result<(), MediaError>
where
    F: FnOnce(&mut dyn WriteSeek) -> io::Result<()>,
{
    write_to_sink(path, |sink| match sink {
        Sink::File(file) => write(file),
        Sink::Stream(_) => {
            Err(io::Error::new(io::ErrorKind::NotSeekable, "a pipe or a device only goes forward"))
        }
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
    let mut pending = Pending::begin(path)?;
    match &mut pending {
        Pending::File { writer, .. } => write(Sink::File(writer))?,
        Pending::Stream(writer) => write(Sink::Stream(writer))?,
    }
    pending.commit()
}

/// A file that is being written. Until [`Pending::commit`], its path is what it was before; dropping leaves it so.
pub(crate) enum Pending {
    /// A new regular file, still under another name.
    File {
        /// The temporary file.
        writer: BufWriter<tempfile::NamedTempFile<File>>,
        /// The name it will get.
        target: PathBuf,
        /// What a replaced file had.
        permissions: Option<fs::Permissions>,
        /// The temporary file's path.
        unfinished: Unfinished,
    },
    /// A pipe, a terminal or a device: bytes go straight into it, and it only goes forward.
    Stream(BufWriter<File>),
}

impl Pending {
    /// Looks whether `path` can be written, and makes the temporary file beside it.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let permissions = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(io::Error::new(
                    io::ErrorKind::IsADirectory,
                    "it is a folder; give the name of a file in it",
                ));
            }
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(path)?;
                return Ok(Self::Stream(BufWriter::with_capacity(BUFFER_BYTES, file)));
            }
            Ok(metadata) => {
                // A rename would replace a write-protected file without asking; opening it (without truncation) asks.
                drop(OpenOptions::new().write(true).open(path)?);
                Some(metadata.permissions())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Renaming over a symbolic link would replace the link and leave its target as it was.
        let target = link_target(path);
        let folder = writable_parent(&target)?;
        let temporary = new_temporary(&folder).map_err(|error| cannot_make(&folder, &error))?;
        let unfinished = Unfinished::new(temporary.path());
        let writer = BufWriter::with_capacity(BUFFER_BYTES, temporary);
        Ok(Self::File { writer, target, permissions, unfinished })
    }

    /// Gives the file its name, after its bytes are on the disk.
    pub(crate) fn commit(self) -> io::Result<()> {
        match self {
            Self::Stream(mut writer) => writer.flush(),
            Self::File { writer, target, permissions, unfinished } => {
                let temporary = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                if let Some(permissions) = permissions {
                    temporary.as_file().set_permissions(permissions)?;
                }
                temporary.as_file().sync_all()?;
                temporary.persist(&target).map_err(|error| error.error)?;
                drop(unfinished);
                Ok(())
            }
        }
    }
}

impl Write for Pending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { writer, .. } => writer.write(bytes),
            Self::Stream(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { writer, .. } => writer.flush(),
            Self::Stream(writer) => writer.flush(),
        }
    }
}

impl Seek for Pending {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File { writer, .. } => writer.seek(to),
            Self::Stream(_) => {
                Err(io::Error::new(io::ErrorKind::NotSeekable, "a pipe or a device only goes forward"))
            }
        }
    }
}

/// A folder that is being filled: the same promise as [`Pending`]'s, for formats of many files.
pub(crate) struct PendingFolder {
    temporary: tempfile::TempDir,
    target: PathBuf,
    _unfinished: Unfinished,
}

impl PendingFolder {
    /// Looks whether `path` is free (or an empty folder), and makes the temporary folder beside it.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() && fs::read_dir(path)?.next().is_none() => {}
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "it exists, and a folder replaces nothing; remove it first or give another name",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let folder = writable_parent(path)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".asmr-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let temporary = builder.tempdir_in(&folder).map_err(|error| cannot_make(&folder, &error))?;
        let unfinished = Unfinished::new(temporary.path());
        Ok(Self { temporary, target: path.to_path_buf(), _unfinished: unfinished })
    }

    /// Writes a file, with the folders above it; `name` is relative.
    pub(crate) fn write(&self, name: &Path, bytes: &[u8]) -> io::Result<()> {
        let path = self.temporary.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Gives the folder its name.
    pub(crate) fn commit(self) -> io::Result<()> {
        // Not every system renames over an empty folder.
        if self.target.is_dir() {
            fs::remove_dir(&self.target)?;
        }
        fs::rename(self.temporary.path(), &self.target)?;
        // It has another name now, so there is nothing left to remove.
        drop(self.temporary.keep());
        Ok(())
    }
}

/// Where a write to `path` ends up: symbolic links followed, also one whose target does not exist yet.
#[must_use]
pub fn link_target(path: &Path) -> PathBuf {
    // More links than any system follows are a circle; opening it says so.
    const MAX_LINKS: usize = 40;
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = parent(&target).join(next);
    }
    target
}

/// The folder that `path` is to lie in, if there is one.
fn writable_parent(path: &Path) -> io::Result<PathBuf> {
    let folder = parent(path);
    match fs::metadata(&folder) {
        Ok(metadata) if metadata.is_dir() => Ok(folder),
        Ok(_) => {
            Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is not a folder", folder.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the folder {} does not exist; create it first", folder.display()),
        )),
        Err(error) => Err(error),
    }
}

fn cannot_make(folder: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("no file can be made in the folder {}: {}", folder.display(), os_words(error)),
    )
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
