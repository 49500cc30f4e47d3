//! Files that are renamed to their final name when they are complete.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::Error;
use crate::format::gzip;

/// A file named `<name>.part` until [`PartFile::persist`]. If it is dropped before, it is removed unless
/// [`KeepOnDrop`] is set.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
    /// A file that is removed together with the part.
    sidecar: Option<PathBuf>,
    keep_on_drop: KeepOnDrop,
    /// Whether an existing file with the final name is an error.
    no_clobber: bool,
}

/// The file that already existed under the name of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Nothing,
    /// The part of a killed run: it begins with a gzip header, or with zeros if the header was not
    /// written yet.
    Unfinished,
    /// A file of another program.
    Foreign,
}

impl Leftover {
    fn of(file: &File) -> std::io::Result<Self> {
        let mut head = [0; gzip::HEADER.len()];
        if file.metadata()?.len() == 0 {
            return Ok(Self::Nothing);
        }
        match file.read_exact_at(&mut head, 0) {
            Ok(()) if head == gzip::HEADER || head == [0; gzip::HEADER.len()] => {
                Ok(Self::Unfinished)
            }
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(error),
            _ => Ok(Self::Foreign),
        }
    }
}

/// Whether a part is kept when it is dropped. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeepOnDrop(Arc<AtomicBool>);

impl KeepOnDrop {
    /// Sets whether the part is kept for a later run.
    pub(crate) fn set(&self, keep: bool) {
        self.0.store(keep, Ordering::Relaxed);
    }
}

impl PartFile {
    /// Creates a part. The part of a killed process is truncated.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let part = Self::resume(path)?;
        part.truncate()?;
        part.keep_on_drop.set(false);
        Ok(part)
    }

    /// Opens the part of an earlier process or creates one.
    pub(crate) fn resume(path: &Path) -> Result<Self, Error> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = lock_exclusive(&part, || Self::open(&part).map(Some))?;
        let left = Leftover::of(&file).map_err(Error::io("read", &part))?;
        if left == Leftover::Foreign {
            return Err(Error::AlreadyExists { path: part.display().to_string() });
        }
        let keep_on_drop = KeepOnDrop::default();
        // An error before the part is read must not remove it.
        keep_on_drop.set(left == Leftover::Unfinished);
        let (path, file) = (path.to_owned(), Some(file));
        Ok(Self { file, part, path, sidecar: None, keep_on_drop, no_clobber: false })
    }

    fn open(part: &Path) -> Result<File, Error> {
        open_own(part)
    }

    /// Removes the content that an earlier process wrote.
    pub(crate) fn truncate(&self) -> Result<(), Error> {
        let file = self.handle()?;
        let left = file.metadata().map_err(Error::io("read", &self.part))?.len();
        if left == 0 { Ok(()) } else { file.set_len(0).map_err(Error::io("write", &self.part)) }
    }

    /// Makes an existing file with the final name an error, even if it appears later.
    pub(crate) fn no_clobber(&mut self) {
        self.no_clobber = true;
    }

    /// Registers a file to remove when the part is renamed or removed.
    pub(crate) fn with_sidecar(&mut self, sidecar: &Path) {
        self.sidecar = Some(sidecar.to_owned());
    }

    pub(crate) fn keep_on_drop(&self) -> KeepOnDrop {
        self.keep_on_drop.clone()
    }

    /// Returns another handle of the file.
    pub(crate) fn handle(&self) -> Result<File, Error> {
        let gone = || Error::io("write", &self.part)(std::io::ErrorKind::NotFound.into());
        let file = self.file.as_ref().ok_or_else(gone)?;
        file.try_clone().map_err(Error::io("write", &self.part))
    }

    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Syncs the file to the disk and renames it to its final name. Blocks.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(Error::io("write", &self.part))?;
        }
        self.persist()
    }

    /// Renames a file that was synced to the disk to its final name.
    pub(crate) fn persist(mut self) -> Result<(), Error> {
        let named = match self.no_clobber {
            true => rename_to_new(&self.part, &self.path),
            false => std::fs::rename(&self.part, &self.path),
        };
        named.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                self.keep_on_drop.set(false);
                Error::AlreadyExists { path: self.path.display().to_string() }
            }
            _ => Error::io("create", &self.path)(error),
        })?;
        self.file = None;
        self.remove_sidecar();
        sync_directory_of(&self.path)
    }

    fn remove_sidecar(&self) {
        if let Some(sidecar) = &self.sidecar {
            // A sidecar without its part is ignored.
            let _ = std::fs::remove_file(sidecar);
        }
    }
}

/// Opens a file of an earlier run, or creates it.
pub(crate) fn open_own(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    // Do not follow links, and do not block on a pipe.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let opened = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = opened.map_err(Error::io("create", path))?;
    require_own(&file, path)?;
    Ok(file)
}

/// Creates a directory that no other user can change, or opens one that this user created before.
/// Returns `None` if it was removed in between.
pub(crate) fn open_own_directory(path: &Path) -> Result<Option<File>, Error> {
    let failed = |error| Error::io("create", path)(error);
    if let Err(error) = DirBuilder::new().mode(0o700).create(path)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(failed(error));
    }
    let flags = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
    let directory = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    require_own(&directory, path)?;
    // An earlier version created it with the permissions of the umask.
    directory.set_permissions(Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(Some(directory))
}

/// Creates a directory for intermediate files that no other user can change.
///
/// Reuses a directory that this user created before.
///
/// # Errors
/// [`Error::WrongOwner`] if another user created it; [`Error::Io`].
pub(crate) fn create_own_directory(path: &Path) -> Result<(), Error> {
    match open_own_directory(path)? {
        Some(_) => Ok(()),
        None => Err(Error::io("create", path)(std::io::ErrorKind::NotFound.into())),
    }
}

/// Fails if another user owns the file or the file has several hard links. Otherwise another user
/// could change it after it was verified.
pub(crate) fn require_own(file: &File, path: &Path) -> Result<(), Error> {
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::WrongOwner { path: path.to_owned(), owner: metadata.uid() });
    }
    let is_alone = metadata.is_file() && metadata.nlink() == 1;
    if metadata.is_dir() || is_alone {
        return Ok(());
    }
    Err(Error::AlreadyExists { path: path.display().to_string() })
}

/// Renames a file unless the name exists. This is atomic if the file system supports it.
pub(crate) fn rename_to_new(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.symlink_metadata() {
            Ok(_) => Err(std::io::ErrorKind::AlreadyExists.into()),
            Err(_) => std::fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// Creates a temporary file with a random name in the directory of `path`. The umask applies to `mode`.
pub(crate) fn temp_sibling(path: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part").permissions(Permissions::from_mode(mode));
    builder.tempfile_in(directory_of(path))
}

/// The directory of a file.
fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// Syncs the directory of a file to the disk, so that its name is durable.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("write", directory))
}

/// Opens a file and locks it for as long as it is open. If another process has renamed or removed it
/// before the lock was acquired, it is opened again.
///
/// # Errors
/// [`Error::Busy`] if another process holds the lock, and the errors of `open`.
pub(crate) fn lock_exclusive(
    path: &Path,
    open: impl Fn() -> Result<Option<File>, Error>,
) -> Result<File, Error> {
    loop {
        let Some(file) = open()? else { continue };
        match file.try_lock() {
            Ok(()) if same_inode(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
}

/// Returns whether a path still names the open file.
fn same_inode(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(opened), Ok(there)) => (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.file.is_some() && !self.keep_on_drop.0.load(Ordering::Relaxed) {
            // There is no caller to report an error to.
            let _ = std::fs::remove_file(&self.part);
            self.remove_sidecar();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn create_locked_part_is_busy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        for finishes in [true, false] {
            let first = PartFile::create(&path).unwrap();
            let second = PartFile::create(&path).unwrap_err();
            let part = first.part().to_owned();
            assert!(matches!(second, Error::Busy { path } if path == part));
            if finishes {
                first.finish().unwrap();
            } else {
                drop(first);
            }
            assert!(!part.exists());
            PartFile::create(&path).unwrap();
        }
    }

    #[test]
    fn no_clobber_existing_file_is_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let mut part = PartFile::create(&path).unwrap();
        part.no_clobber();
        std::fs::write(&path, "first").unwrap();
        assert!(matches!(part.finish(), Err(Error::AlreadyExists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        std::fs::remove_file(&path).unwrap();
        let mut part = PartFile::create(&path).unwrap();
        part.no_clobber();
        part.finish().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn create_hard_linked_part_is_error() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mine) = (directory.path().join("bundle"), directory.path().join("mine"));
        std::fs::write(&mine, "").unwrap();
        std::fs::hard_link(&mine, directory.path().join("bundle.part")).unwrap();
        assert!(matches!(PartFile::create(&path), Err(Error::AlreadyExists { .. })));
        assert!(mine.exists());
    }

    #[test]
    fn create_part_of_other_user_is_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let part = directory.path().join("bundle.part");
        std::fs::write(&part, "").unwrap();
        // Only root can change the owner of a file.
        if std::os::unix::fs::chown(&part, Some(1), None).is_err() {
            return;
        }
        assert!(matches!(PartFile::create(&path), Err(Error::WrongOwner { owner: 1, .. })));
        assert!(part.exists());
        let theirs = directory.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        std::os::unix::fs::chown(&theirs, Some(1), None).unwrap();
        assert!(matches!(create_own_directory(&theirs), Err(Error::WrongOwner { owner: 1, .. })));
    }

    #[test]
    fn create_own_directory_removes_other_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layers");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        create_own_directory(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn create_linked_part_is_error() {
        let directory = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (directory.path().join("bundle"), directory.path().join("mine"));
        std::fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.path().join("bundle.part")).unwrap();
        assert!(PartFile::create(&path).is_err());
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"mine");
    }
}
