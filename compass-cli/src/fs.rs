//! Writes files atomically: a file is either complete or not there.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use crate::error::{CliError, Result};

/// Writes or replaces a file; an existing file keeps its permissions.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<()> {
    let permissions = fs::metadata(target).map(|metadata| metadata.permissions());
    let publish = |temporary: &Path| {
        permissions.map_or(Ok(()), |permissions| fs::set_permissions(temporary, permissions))?;
        fs::rename(temporary, target)
    };
    write_sibling(target, bytes, publish).map_err(|error| write_error(target, &error))
}

/// Creates a new file below `root`, and its parent directories. `is_file` tells of every path of the
/// repository whether it is a file or a link, whose target may be outside of it.
pub(crate) fn create(
    root: &Path,
    path: &str,
    bytes: &[u8],
    is_file: impl Fn(&str) -> bool,
) -> Result<()> {
    let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    if let Some(file) = parents.into_iter().find(|parent| is_file(parent)) {
        return Err(CliError::usage(format!("{file} is not a directory")));
    }
    let target = root.join(path);
    let write = || {
        target.parent().map_or(Ok(()), fs::create_dir_all)?;
        write_sibling(&target, bytes, |temporary| rename_new(temporary, &target))
    };
    write().map_err(|error| write_error(&target, &error))
}

/// Writes the output file that a user named. The target of a link is replaced; a pipe or a device is
/// written to.
pub(crate) fn write_output(target: &Path, bytes: &[u8]) -> Result<()> {
    let target = follow_links(target);
    if !is_special(&target) {
        return write(&target, bytes);
    }
    let file = fs::OpenOptions::new().write(true).open(&target);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|error| write_error(&target, &error))
}

/// Returns an error if [`write_output`] would fail, before a command does its work.
pub(crate) fn require_writable(target: &Path) -> Result<()> {
    let target = follow_links(target);
    let access = if is_special(&target) {
        rustix::fs::access(&target, Access::WRITE_OK)
    } else if target.is_dir() {
        Err(rustix::io::Errno::ISDIR)
    } else {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        rustix::fs::access(parent.join("."), Access::WRITE_OK | Access::EXEC_OK)
    };
    access.map_err(|error| {
        let error = io::Error::from(error);
        CliError::usage(format!("cannot write {}: {error}", target.display()))
    })
}

/// Whether the path exists and is neither a regular file nor a directory.
pub(crate) fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

pub(crate) fn write_error(path: &Path, error: &io::Error) -> CliError {
    CliError::external(error).context(format!("cannot write {}", path.display()))
}

/// Follows a chain of symbolic links; the target may not exist.
fn follow_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..40 {
        match fs::read_link(&path) {
            // The links of `/proc`, such as `/dev/stdout`, may not contain a path.
            Ok(link) if !is_special(&path) => path = path.with_file_name("").join(link),
            _ => break,
        }
    }
    path
}

/// Renames a file unless the target exists. A hard link fails atomically in that case, and a rename
/// does not; some file systems have no hard links.
fn rename_new(temporary: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, target) {
        Ok(()) => fs::remove_file(temporary),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(temporary, target),
    }
}

/// Writes a temporary file in the directory of `target`, which `publish` renames.
fn write_sibling(
    target: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let temporary = target.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| publish(&temporary));
    if written.is_err() {
        // The caller reports the first error.
        let _ = fs::remove_file(&temporary);
    }
    written
}
