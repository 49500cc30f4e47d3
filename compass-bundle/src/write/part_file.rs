//! A file that appears under its name only when it is complete.

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

/// `<name>.part` until [`PartFile::show`]; dropped before that, it is removed, unless it is worth
/// keeping.
#[derive(Debug)]
pub(crate) struct PartFile {
    file: Option<File>,
    part: PathBuf,
    path: PathBuf,
    /// What goes when the part goes.
    companion: Option<PathBuf>,
    keeper: Keeper,
    /// Whether what has the final name by then stays.
    is_first: bool,
}

/// What stood under the name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// What a run that was killed left: it begins as all of them do, or what it begins with was not
    /// written yet.
    Unfinished,
    /// A file that somebody keeps there.
    Foreign,
}

impl Left {
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

/// Decides that a part is worth keeping.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keeper(Arc<AtomicBool>);

impl Keeper {
    /// Leaves the part for a later process to go on with, or not.
    pub(crate) fn keep(&self, worth_it: bool) {
        self.0.store(worth_it, Ordering::Relaxed);
    }
}

impl PartFile {
    /// Begins a file. A part that a killed process left is taken over, empty.
    pub(crate) fn create(path: &Path) -> Result<Self, Error> {
        let part = Self::resume(path)?;
        part.truncate()?;
        part.keeper.keep(false);
        Ok(part)
    }

    /// Goes on with a file as an earlier process left it, or begins it.
    pub(crate) fn resume(path: &Path) -> Result<Self, Error> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = claim(&part, || Self::open(&part).map(Some))?;
        let left = Left::of(&file).map_err(Error::io("read", &part))?;
        if left == Left::Foreign {
            return Err(Error::AlreadyExists { path: part.display().to_string() });
        }
        let keeper = Keeper::default();
        // What fails before anybody has looked into it takes nothing away.
        keeper.keep(left == Left::Unfinished);
        let (path, file) = (path.to_owned(), Some(file));
        Ok(Self { file, part, path, companion: None, keeper, is_first: false })
    }

    fn open(part: &Path) -> Result<File, Error> {
        open_own(part)
    }

    /// Forgets what an earlier process wrote.
    pub(crate) fn truncate(&self) -> Result<(), Error> {
        let file = self.handle()?;
        let left = file.metadata().map_err(Error::io("read", &self.part))?.len();
        if left == 0 { Ok(()) } else { file.set_len(0).map_err(Error::io("write", &self.part)) }
    }

    /// Replaces nothing that has the final name when it is finished.
    pub(crate) fn replace_nothing(&mut self) {
        self.is_first = true;
    }

    /// Removes this file as well when the part is finished or removed.
    pub(crate) fn accompany(&mut self, companion: &Path) {
        self.companion = Some(companion.to_owned());
    }

    pub(crate) fn keeper(&self) -> Keeper {
        self.keeper.clone()
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

    /// Makes the file visible, after everything in it has reached the disk. This blocks.
    pub(crate) fn finish(self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(Error::io("write", &self.part))?;
        }
        self.show()
    }

    /// Gives the final name to a file whose content is on the disk.
    pub(crate) fn show(mut self) -> Result<(), Error> {
        let named = match self.is_first {
            true => rename_to_new(&self.part, &self.path),
            false => std::fs::rename(&self.part, &self.path),
        };
        named.map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                self.keeper.keep(false);
                Error::AlreadyExists { path: self.path.display().to_string() }
            }
            _ => Error::io("create", &self.path)(error),
        })?;
        self.file = None;
        self.remove_companion();
        sync_directory_of(&self.path)
    }

    fn remove_companion(&self) {
        if let Some(companion) = &self.companion {
            // A companion without its part says nothing.
            let _ = std::fs::remove_file(companion);
        }
    }
}

/// Opens a file that may be left from an earlier run, or creates it.
pub(crate) fn open_own(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    // A link would lead to a file elsewhere, and a pipe would keep this waiting.
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    let opened = options.read(true).write(true).create(true).truncate(false).open(path);
    let file = opened.map_err(Error::io("create", path))?;
    require_own(&file, path)?;
    Ok(file)
}

/// Creates a directory that no other user may change, or opens one that this user created before;
/// nothing where it is gone again.
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
    // An earlier version left it as the mask of its user allowed.
    directory.set_permissions(Permissions::from_mode(0o700)).map_err(failed)?;
    Ok(Some(directory))
}

/// Creates a directory for intermediate files that no other user may change, or takes over one that
/// this user created before.
///
/// # Errors
/// [`Error::WrongOwner`] if another user created it; [`Error::Io`].
pub fn create_own_directory(path: &Path) -> Result<(), Error> {
    match open_own_directory(path)? {
        Some(_) => Ok(()),
        None => Err(Error::io("create", path)(std::io::ErrorKind::NotFound.into())),
    }
}

/// Refuses what another user created, who could change it after it was verified; and files that have
/// a second name elsewhere.
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

/// Gives a file a name that nobody has. File systems that cannot do that at once are asked first.
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

/// A file that nobody knows by name, beside the one that it is to become; the user's mask takes away
/// from its permissions.
pub(crate) fn unnamed_beside(path: &Path, mode: u32) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part").permissions(Permissions::from_mode(mode));
    builder.tempfile_in(directory_of(path))
}

/// The directory that a file is in.
fn directory_of(path: &Path) -> &Path {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// Lets the name of a file reach the disk.
pub(crate) fn sync_directory_of(path: &Path) -> Result<(), Error> {
    let directory = directory_of(path);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("write", directory))
}

/// Opens what a path leads to, and keeps other processes away as long as it is open. Where it is gone
/// again, or has its final name by now, because who had it before has finished, it is opened anew.
pub(crate) fn claim(
    path: &Path,
    open: impl Fn() -> Result<Option<File>, Error>,
) -> Result<File, Error> {
    loop {
        let Some(file) = open()? else { continue };
        match file.try_lock() {
            Ok(()) if is_at(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
        }
    }
}

/// Whether a path still leads to what was opened.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(opened), Ok(there)) => (opened.dev(), opened.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.file.is_some() && !self.keeper.0.load(Ordering::Relaxed) {
            // Nothing more can be done about a part that cannot be removed.
            let _ = std::fs::remove_file(&self.part);
            self.remove_companion();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_belongs_to_one_process_until_it_is_finished_or_given_up() {
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
    fn what_came_first_stays_where_nothing_is_to_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let mut part = PartFile::create(&path).unwrap();
        part.replace_nothing();
        std::fs::write(&path, "first").unwrap();
        assert!(matches!(part.finish(), Err(Error::AlreadyExists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        std::fs::remove_file(&path).unwrap();
        let mut part = PartFile::create(&path).unwrap();
        part.replace_nothing();
        part.finish().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn parts_with_a_second_name_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mine) = (directory.path().join("bundle"), directory.path().join("mine"));
        std::fs::write(&mine, "").unwrap();
        std::fs::hard_link(&mine, directory.path().join("bundle.part")).unwrap();
        assert!(matches!(PartFile::create(&path), Err(Error::AlreadyExists { .. })));
        assert!(mine.exists());
    }

    #[test]
    fn files_of_other_users_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bundle");
        let part = directory.path().join("bundle.part");
        std::fs::write(&part, "").unwrap();
        // Only root can give files away.
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
    fn own_directories_are_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("layers");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        create_own_directory(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_part_is_no_link_to_a_file_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (directory.path().join("bundle"), directory.path().join("mine"));
        std::fs::write(&elsewhere, "mine").unwrap();
        std::os::unix::fs::symlink(&elsewhere, directory.path().join("bundle.part")).unwrap();
        assert!(PartFile::create(&path).is_err());
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"mine");
    }
}
