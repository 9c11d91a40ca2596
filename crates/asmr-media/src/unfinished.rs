//! Files and folders that are not finished yet, so that a program that a signal ends can remove them: destructors do
//! not run then.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static PATHS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A path that [`remove_unfinished`] removes while this is alive.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Of a file or folder that is about to be made, or was just made.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        paths().insert(path.to_path_buf());
        Self(path.to_path_buf())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        paths().remove(&self.0);
    }
}

/// Removes every unfinished file and folder; for a handler of signals, right before it ends the program. Whoever
/// begins or finishes a file after this waits for that end.
pub fn remove_unfinished() {
    let paths = paths();
    for path in paths.iter() {
        // What has got its name in this moment is finished.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    std::mem::forget(paths);
}

fn paths() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}
