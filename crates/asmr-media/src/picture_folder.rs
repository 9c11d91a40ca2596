//! A folder of pictures as PNG files, all of them or none.

use std::path::{Path, PathBuf};

use asmr::signal::Signal;

use crate::error::MediaError;
use crate::image_write::png_bytes;
use crate::write::PendingFolder;

/// A folder of pictures in the making; it appears under its name with [`Self::finish`], and not at all otherwise.
pub struct PictureFolder {
    path: PathBuf,
    folder: PendingFolder,
}

impl PictureFolder {
    /// Begins a folder where there is none, or an empty one.
    ///
    /// # Errors
    /// [`MediaError::Write`].
    pub fn create(path: &Path) -> Result<Self, MediaError> {
        let folder = PendingFolder::begin(path)
            .map_err(|error| MediaError::Write { path: path.to_path_buf(), error })?;
        Ok(Self { path: path.to_path_buf(), folder })
    }

    /// Adds a picture; `name` ends in `.png`.
    ///
    /// # Errors
    /// [`MediaError::CannotHold`] for what is no picture, [`MediaError::Write`].
    pub fn push(&self, name: &str, picture: &Signal) -> Result<(), MediaError> {
        let bytes = png_bytes(&self.path.join(name), picture)?;
        let failed = |error| MediaError::Write { path: self.path.clone(), error };
        self.folder.write(Path::new(name), &bytes).map_err(failed)
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// [`MediaError::Write`].
    pub fn finish(self) -> Result<(), MediaError> {
        let Self { path, folder } = self;
        folder.commit().map_err(|error| MediaError::Write { path, error })
    }
}
