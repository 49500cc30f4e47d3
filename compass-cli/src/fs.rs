//! Files that are there whole, or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::error::CliError;
use crate::repository::Repository;

/// Writes a file, or replaces it: one that is there keeps its permissions.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let permissions = fs::metadata(target).map(|there| there.permissions());
    let put = |part: &Path| {
        permissions.map_or(Ok(()), |permissions| fs::set_permissions(part, permissions))?;
        fs::rename(part, target)
    };
    beside(target, bytes, put).map_err(|error| not_written(target, &error))
}

/// Whether [`output`] can write there, before what is to be written has been worked for.
pub(crate) fn require_writable(target: &Path) -> Result<(), CliError> {
    let target = behind_links(target);
    let access = if is_special(&target) {
        rustix::fs::access(&target, Access::WRITE_OK)
    } else if target.is_dir() {
        Err(rustix::io::Errno::ISDIR)
    } else {
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        rustix::fs::access(directory.join("."), Access::WRITE_OK | Access::EXEC_OK)
    };
    access.map_err(|error| {
        let message = format!("cannot write {}: {}", target.display(), io::Error::from(error));
        CliError::usage(message)
    })
}

/// Writes where a user wants it: a file is replaced when it is complete, what a link leads to as
/// well; a pipe or a device is written into.
pub(crate) fn output(target: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let target = behind_links(target);
    if !is_special(&target) {
        return write(&target, bytes);
    }
    let opened = fs::OpenOptions::new().write(true).open(&target);
    opened
        .and_then(|mut special| special.write_all(bytes))
        .map_err(|error| not_written(&target, &error))
}

/// The file that a chain of links leads to, which need not be there.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // Links of `/proc`, as `/dev/stdout`, name what is not in a file system.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(link) if !is_special(&path) => path = path.with_file_name("").join(link),
            _ => break,
        }
    }
    path
}

/// Whether something is there that is neither a file nor a directory.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// Makes a file of the repository that is not there, and the directories it stands in.
pub(crate) fn create(repository: &Repository, path: &str, bytes: &[u8]) -> Result<(), CliError> {
    // What stands in the way is a file, or a link that may lead out of the repository.
    let in_the_way = path.match_indices('/').map(|(at, _)| &path[..at]);
    if let Some(file) = in_the_way.into_iter().find(|step| repository.tree.contains(step)) {
        return Err(CliError::usage(format!("{file} is not a directory")));
    }
    let target = repository.root.join(path);
    let write = || {
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        beside(&target, bytes, |part| put_new(part, &target))
    };
    write().map_err(|error| not_written(&target, &error))
}

/// Gives a file its name where nothing has it. Unlike a rename, a link fails where somebody else
/// was faster; not every file system knows links.
fn put_new(part: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(part, target) {
        Ok(()) => fs::remove_file(part),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(part, target),
    }
}

/// Writes a file under another name in the same directory, and puts it in its place.
fn beside(
    target: &Path,
    bytes: &[u8],
    put: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let part = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| put(&part));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&part);
    }
    written
}

pub(crate) fn not_written(path: &Path, error: &io::Error) -> CliError {
    CliError::external(error).context(format!("cannot write {}", path.display()))
}
