//! Files that are there whole, or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::failure::Failure;
use crate::repository::Repository;

/// Writes a file, or replaces it: one that is there keeps its permissions.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let permissions = fs::metadata(target).map(|there| there.permissions());
    let put = |part: &Path| {
        permissions.map_or(Ok(()), |permissions| fs::set_permissions(part, permissions))?;
        fs::rename(part, target)
    };
    beside(target, bytes, put).map_err(|error| not_written(target, &error))
}

/// Makes a file of the repository that is not there, and the directories it stands in.
pub(crate) fn create(repository: &Repository, path: &str, bytes: &[u8]) -> Result<(), Failure> {
    // What stands in the way is a file, or a link that may lead out of the repository.
    let in_the_way = path.match_indices('/').map(|(at, _)| &path[..at]);
    if let Some(file) = in_the_way.into_iter().find(|step| repository.tree.contains(step)) {
        return Err(Failure::usage(format!("{file} is not a directory")));
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

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::outside(error).while_doing(format!("cannot write {}", path.display()))
}
