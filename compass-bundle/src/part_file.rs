//! A file that appears under its name only when it is complete.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::Error;

/// `<name>.part` until [`PartFile::finish`]; dropped before that, it is removed.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
}

impl PartFile {
    /// Begins a file. A part that a killed process left is taken over.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(&part);
        let file = open.map_err(Error::io("create", &part))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: part }),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &part)(error)),
        }
        let left = file.metadata().map_err(Error::io("read", &part))?.len();
        if left > 0 {
            file.set_len(0).map_err(Error::io("write", &part))?;
        }
        Ok(Self { file: Some(file), part, path: path.to_owned() })
    }

    /// A handle to write with.
    pub(crate) fn handle(&self) -> Result<File, Error> {
        let gone = || Error::io("write", &self.part)(std::io::ErrorKind::NotFound.into());
        let file = self.file.as_ref().ok_or_else(gone)?;
        file.try_clone().map_err(Error::io("write", &self.part))
    }

    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Makes the file visible, after everything in it has reached the disk.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(Error::io("write", &self.part))?;
        }
        std::fs::rename(&self.part, &self.path).map_err(Error::io("create", &self.path))?;
        self.file = None;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(Error::io("write", directory))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Nothing more can be done about a part that cannot be removed.
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
