//! A temporary directory that an archive is unpacked to.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::Error;
use crate::foreign::tar_entries::{EntryKind, NOT_A_FILE, TarEntry};
use crate::part_file;

/// Bytes per read and write.
const CHUNK: usize = 256 << 10;

/// Maximum total length of the paths of all links.
const MAX_LINK_PATHS: usize = 32 << 20;

/// Maximum length of a chain of links.
const MAX_LINKS: usize = 8;

const EXISTS_TWICE: &str = "exists twice";
const BELOW_A_FILE: &str = "is below a file";

/// A temporary directory, which is removed on drop.
pub(super) struct UnpackDir {
    path: PathBuf,
    /// An exclusive lock on the directory.
    _lock: File,
    /// Targets of links, by the path of the link.
    links: HashMap<PathBuf, PathBuf>,
    link_bytes: usize,
}

impl UnpackDir {
    pub(super) fn create(path: PathBuf) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let lock = part_file::lock_exclusive(&path, || part_file::open_own_directory(&path))?;
        let target_dir = Self { path, _lock: lock, links: HashMap::new(), link_bytes: 0 };
        target_dir.empty()?;
        Ok(target_dir)
    }

    /// Removes leftovers of a killed process.
    fn empty(&self) -> Result<(), Error> {
        for left in fs::read_dir(&self.path).map_err(Error::io("read", &self.path))? {
            let left = left.map_err(Error::io("read", &self.path))?;
            let is_directory = left.file_type().is_ok_and(|kind| kind.is_dir());
            let left = left.path();
            let removed =
                if is_directory { fs::remove_dir_all(&left) } else { fs::remove_file(&left) };
            removed.map_err(Error::io("remove", &left))?;
        }
        Ok(())
    }

    /// Writes an entry. Returns its size in bytes if it is a file.
    pub(super) async fn add(&mut self, name: &str, entry: TarEntry) -> Result<Option<u64>, Error> {
        if entry.path.is_top() {
            return Ok(None);
        }
        let shown = entry.path.text.clone();
        if let Some(reason) = entry.unsafe_reason() {
            return Err(invalid_entry(name, &shown, reason));
        }
        let path = self.path.join(OsStr::from_bytes(&entry.path.bytes));
        match &entry.kind {
            EntryKind::Directory => {
                fs::create_dir_all(&path).map_err(creation_error(name, &shown, &path))?;
                Ok(None)
            }
            EntryKind::Link(target) => {
                let target = target.as_ref().map_or(&[][..], |target| &target.bytes);
                let target = self.path.join(OsStr::from_bytes(target));
                self.link_bytes += path.as_os_str().len() + target.as_os_str().len();
                if self.link_bytes > MAX_LINK_PATHS {
                    return Err(Error::damaged(format!("{name}: it contains too many links")));
                }
                self.links.insert(path, target);
                Ok(None)
            }
            EntryKind::File | EntryKind::Device => self.write(name, entry, &path).await.map(Some),
        }
    }

    async fn write(&self, name: &str, entry: TarEntry, path: &Path) -> Result<u64, Error> {
        let shown = entry.path.text.clone();
        let mode = entry.mode & 0o777 | 0o600;
        create_parent(name, &shown, path)?;
        let file = match create_new(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_file(path) => {
                return self.check_identical(name, entry, path).await;
            }
            created => created.map_err(creation_error(name, &shown, path))?,
        };
        let mut file = tokio::fs::File::from_std(file);
        let (mut content, mut chunk, mut size) =
            (entry.into_reader(), BytesMut::with_capacity(CHUNK), 0);
        let from = format!("{name}: `{}`", shown.escape_debug());
        while content.read_buf(&mut chunk).await.map_err(|error| Error::reading(&from, error))? > 0
        {
            size += chunk.len() as u64;
            file.write_all_buf(&mut chunk).await.map_err(Error::io("write", path))?;
            chunk.clear();
            chunk.reserve(CHUNK);
        }
        file.flush().await.map_err(Error::io("write", path))?;
        // The umask of the process may have removed bits.
        let set = file.set_permissions(Permissions::from_mode(mode)).await;
        set.map_err(Error::io("write", path))?;
        Ok(size)
    }

    /// Accepts a duplicate entry with identical content.
    async fn check_identical(
        &self,
        name: &str,
        entry: TarEntry,
        path: &Path,
    ) -> Result<u64, Error> {
        let shown = entry.path.text.clone();
        let mut present = tokio::fs::File::open(path).await.map_err(Error::io("read", path))?;
        let (mut chunk, mut own) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut content = entry.into_reader();
        loop {
            let read = content.read(&mut chunk).await;
            let read = read.map_err(|error| Error::reading(name, error))?;
            let same = match read {
                0 => present.read(&mut own).await.is_ok_and(|more| more == 0),
                _ => {
                    let filled = present.read_exact(&mut own[..read]).await;
                    filled.is_ok() && own[..read] == chunk[..read]
                }
            };
            match (same, read) {
                (false, _) => return Err(invalid_entry(name, &shown, EXISTS_TWICE)),
                (true, 0) => return Ok(0),
                (true, _) => {}
            }
        }
    }

    /// Creates all links as hard links, and returns their number. Symbolic links are not created,
    /// because their targets could change later.
    pub(super) fn link_files(&self, name: &str) -> Result<usize, Error> {
        for (link, target) in &self.links {
            let shown = link.strip_prefix(&self.path).unwrap_or(link).to_string_lossy();
            let mut file = target;
            for _ in 0..MAX_LINKS {
                file = self.links.get(file).unwrap_or(file);
            }
            if !is_file(file) {
                return Err(invalid_entry(name, &shown, NOT_A_FILE));
            }
            create_parent(name, &shown, link)?;
            fs::hard_link(file, link).map_err(creation_error(name, &shown, link))?;
        }
        Ok(self.links.len())
    }

    pub(super) fn finish(self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let read = || -> io::Result<Vec<_>> {
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let mut names = read().map_err(Error::io("read", &self.path))?;
        names.sort();
        let paths: Vec<_> = names.iter().map(|name| directory.join(name)).collect();
        if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(Error::AlreadyExists { path: there.display().to_string() });
        }
        for (name, path) in names.iter().zip(&paths) {
            fs::rename(self.path.join(name), path).map_err(Error::io("create", path))?;
        }
        Ok(paths)
    }
}

impl Drop for UnpackDir {
    fn drop(&mut self) {
        // There is no way to report an error here.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

fn create_parent(name: &str, shown: &str, path: &Path) -> Result<(), Error> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => invalid_entry(name, shown, BELOW_A_FILE),
        _ => creation_error(name, shown, parent)(error),
    })
}

fn invalid_entry(name: &str, shown: &str, reason: &str) -> Error {
    Error::damaged(format!("{name}: `{}` {reason}", shown.escape_debug()))
}

/// Reports conflicting paths of an archive as damage instead of as an I/O error.
fn creation_error(name: &str, shown: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.kind() {
        io::ErrorKind::AlreadyExists => invalid_entry(name, shown, EXISTS_TWICE),
        io::ErrorKind::NotADirectory => invalid_entry(name, shown, BELOW_A_FILE),
        _ => Error::io("create", path)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_dir_in_use_is_busy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gpu.target_dir");
        let first = UnpackDir::create(path.clone()).unwrap();
        fs::write(path.join("file"), "half").unwrap();
        assert!(
            matches!(UnpackDir::create(path.clone()), Err(Error::Busy { path: busy }) if busy == path)
        );
        assert!(path.join("file").exists());
        drop(first);
        drop(UnpackDir::create(path.clone()).unwrap());
        assert!(!path.exists());
    }
}
