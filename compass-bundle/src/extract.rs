//! Takes things out of bundles and packages. Nothing is ever written beside the target, whatever
//! names, links or modes say.

mod pick;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use compass_registry::Progress;
use rustix::fs::OFlags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::package::walk::{Entries, Entry};
use crate::package::{Peeled, peel, reader_of};
use crate::read::BundleSource;
use crate::write::part_file::{self, rename_to_new, sync_directory_of, unnamed_beside};
use crate::{Error, naming};

/// Entries that are unpacked of one file.
const MAX_ENTRIES: usize = 1_000_000;

/// Bytes that are copied at once.
const CHUNK: usize = 256 << 10;

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// What stands at the top: of a bundle, one directory.
    pub paths: Vec<PathBuf>,
    /// The number of files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Unpacks everything into a directory, as `tar` does. What it unpacks appears when it is complete.
///
/// # Errors
/// [`Error::Exists`] where something of it is there; [`Error::Damaged`] for paths that lead
/// elsewhere, links, devices, and what is there twice.
pub async fn unpack(
    source: Arc<dyn BundleSource>,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Unpacked, Error> {
    let name = source.name();
    let last = name.rsplit('/').next().unwrap_or_default();
    let part = Part::create(directory.join(format!(".{last}.unpacking")))?;
    let damaged = |error: io::Error| Error::reading(&name, error);
    let Peeled::Tar(tar) = peel(reader_of(source)).await.map_err(damaged)? else {
        return Err(Error::not_a_bundle(&name, "it is no tar archive"));
    };
    let mut entries = Entries::of(tar).map_err(damaged)?;
    let (mut files, mut bytes, mut count) = (0, 0, 0);
    while let Some(entry) = entries.next().await.map_err(damaged)? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Error::damaged(format!("{name}: it holds too many files")));
        }
        if let Some(size) = part.take(&name, entry).await? {
            progress.expect(size);
            progress.advance(size);
            files += 1;
            bytes += size;
        }
    }
    Ok(Unpacked { paths: part.finish(directory)?, files, bytes })
}

/// Whether a name is longer than common file systems take, in bytes.
fn has_long_step(path: &str) -> bool {
    path.split('/').any(|step| step.len() > 255)
}

/// A directory that is being filled; dropped, it is removed.
struct Part {
    path: PathBuf,
    /// Locked as long as it is filled.
    _lock: File,
}

impl Part {
    fn create(path: PathBuf) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        let lock = part_file::claim(&path, || Self::open(&path))?;
        let part = Self { path, _lock: lock };
        part.empty()?;
        Ok(part)
    }

    /// The directory; nothing where it is gone again.
    fn open(path: &Path) -> Result<Option<File>, Error> {
        let failed = |error| Error::io("create", path)(error);
        if let Err(error) = fs::create_dir(path)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed(error));
        }
        let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Removes what a killed process left.
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

    /// Writes an entry, and says how many bytes it has.
    async fn take(&self, name: &str, entry: Entry) -> Result<Option<u64>, Error> {
        let refused = |reason: &str, path: &str| {
            Error::damaged(format!("{name}: `{}` {reason}", path.escape_debug()))
        };
        if entry.is_top() {
            return Ok(None);
        }
        if let Some(reason) = entry.refused() {
            return Err(refused(reason, &entry.path));
        }
        let (path, shown) = (self.path.join(&entry.path), entry.path.clone());
        // What the names in a package have to do with each other is no matter of the disk.
        let failed = |error: io::Error, at: &Path| match error.kind() {
            io::ErrorKind::AlreadyExists if at == path => refused("is there twice", &shown),
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                refused("stands below a file", &shown)
            }
            io::ErrorKind::InvalidFilename if has_long_step(&shown) => {
                refused("has a name that is too long", &shown)
            }
            _ => Error::io("create", at)(error),
        };
        if entry.is_directory {
            fs::create_dir_all(&path).map_err(|error| failed(error, &path))?;
            return Ok(None);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(error, parent))?;
        }
        let mode = entry.mode & 0o777 | 0o600;
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        let file = file.map_err(|error| failed(error, &path))?;
        let mut file = tokio::fs::File::from_std(file);
        let (mut content, mut chunk, mut size) =
            (entry.into_reader(), BytesMut::with_capacity(CHUNK), 0);
        let from = format!("{name}: `{}`", shown.escape_debug());
        while content.read_buf(&mut chunk).await.map_err(|error| Error::reading(&from, error))? > 0
        {
            size += chunk.len() as u64;
            file.write_all_buf(&mut chunk).await.map_err(Error::io("write", &path))?;
            chunk.clear();
            chunk.reserve(CHUNK);
        }
        file.flush().await.map_err(Error::io("write", &path))?;
        // Whoever runs this may have a mask that takes more away.
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(&path, permissions).map_err(Error::io("write", &path))?;
        Ok(Some(size))
    }

    fn finish(self, directory: &Path) -> Result<Vec<PathBuf>, Error> {
        let read = || -> io::Result<Vec<_>> {
            fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name())).collect()
        };
        let mut names = read().map_err(Error::io("read", &self.path))?;
        names.sort();
        let paths: Vec<_> = names.iter().map(|name| directory.join(name)).collect();
        if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(Error::Exists { path: there.display().to_string() });
        }
        for (name, path) in names.iter().zip(&paths) {
            fs::rename(self.path.join(name), path).map_err(Error::io("create", path))?;
        }
        Ok(paths)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing more can be done about what cannot be removed.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes bytes to a file that appears when it is complete, with these permissions.
///
/// # Errors
/// [`Error::Exists`] where something has the name.
pub fn write_file(path: &Path, bytes: &Bytes, mode: u32) -> Result<(), Error> {
    pick::require_free(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let part = unnamed_beside(path, 0o600).map_err(Error::io("create", path))?;
    let write = || {
        io::Write::write_all(&mut part.as_file(), bytes)?;
        part.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o777 | 0o600))?;
        part.as_file().sync_all()
    };
    write().map_err(Error::io("write", path))?;
    rename_to_new(part.path(), path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.display().to_string() },
        _ => Error::io("create", path)(error),
    })?;
    sync_directory_of(path)
}

/// As [`write_file`], to a path below a directory. Links that stand there are not followed.
///
/// # Errors
/// As [`write_file`], and where a link stands in the way.
pub fn write_file_below(
    directory: &Path,
    path: &str,
    bytes: &Bytes,
    mode: u32,
) -> Result<(), Error> {
    naming::require_inside(path)?;
    let target = directory.join(path);
    let above = target.ancestors().skip(1).take_while(|step| *step != directory);
    for step in above {
        if step.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            let link = io::Error::other("a link stands there, which may lead elsewhere");
            return Err(Error::io("write below", step)(link));
        }
    }
    write_file(&target, bytes, mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_filled_by_one_process_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gpu.part");
        let first = Part::create(path.clone()).unwrap();
        fs::write(path.join("file"), "half").unwrap();
        assert!(
            matches!(Part::create(path.clone()), Err(Error::Busy { path: busy }) if busy == path)
        );
        assert!(path.join("file").exists());
        drop(first);
        drop(Part::create(path.clone()).unwrap());
        assert!(!path.exists());
    }
}
