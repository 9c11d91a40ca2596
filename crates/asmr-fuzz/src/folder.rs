//! A place for readers that take paths, and folders in one input.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// What stands before a file's name in an input that is a folder.
pub(crate) const MARK: &[u8] = b"\n==";
/// The most files of such a folder.
const MAX_FILES: usize = 24;

thread_local! {
    /// One folder for all inputs: making one costs more than most readers do.
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// A path of that name in this thread's temporary folder.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| TempDir::new().expect("a temporary folder can be made"));
        folder.path().join(name)
    })
}

/// Writes an input as a file of that name.
pub(crate) fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = path(name);
    fs::write(&path, bytes).expect("a temporary file can be written");
    path
}

/// The files of an input that is a folder: for each a line of `==` and its path, then its bytes. Paths that do not stay
/// in the folder are left out.
#[must_use]
pub fn unpack(bytes: &[u8]) -> Vec<(String, &[u8])> {
    let mut files = Vec::new();
    let mut starts: Vec<usize> =
        bytes.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK).map(|(at, _)| at).collect();
    starts.truncate(MAX_FILES);
    for (i, &start) in starts.iter().enumerate() {
        let part = &bytes[start + MARK.len()..starts.get(i + 1).copied().unwrap_or(bytes.len())];
        let end = part.iter().position(|&byte| byte == b'\n').unwrap_or(part.len());
        let Ok(name) = std::str::from_utf8(&part[..end]) else { continue };
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= 32
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
                && !part.bytes().all(|b| b == b'.')
        };
        if name.split('/').all(is_part) && name.split('/').count() <= 8 {
            files.push((name.to_owned(), part.get(end + 1..).unwrap_or_default()));
        }
    }
    files
}

/// A folder as an input: the reverse of [`unpack`].
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn pack(folder: &Path) -> Vec<u8> {
    fn add(folder: &Path, prefix: &str, bytes: &mut Vec<u8>) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        for entry in entries {
            let name = entry.file_name().and_then(|name| name.to_str()).expect("a plain name");
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            if entry.is_dir() {
                add(&entry, &name, bytes);
            } else {
                bytes.extend(MARK);
                bytes.extend(name.as_bytes());
                bytes.push(b'\n');
                bytes.extend(fs::read(&entry).expect("a file"));
            }
        }
    }
    let mut bytes = Vec::new();
    add(folder, "", &mut bytes);
    bytes
}
