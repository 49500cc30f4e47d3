//! Writes files atomically: a file is either complete or does not exist.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use compass_bundle::internal::require_space;
use rustix::fs::Access;

use crate::error::{CliError, Result};

/// Writes or replaces a file; an existing file keeps its permissions.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> Result<()> {
    let existing = fs::metadata(target).ok().map(|metadata| metadata.permissions());
    replace(target, bytes, 0o666, existing)
}

/// Writes or replaces a file that only its owner can read.
pub(crate) fn write_private(target: &Path, bytes: &[u8]) -> Result<()> {
    replace(target, bytes, 0o600, None)
}

/// Writes a file that is created with `mode`, less the umask, and then gets `permissions`.
fn replace(
    target: &Path,
    bytes: &[u8],
    mode: u32,
    permissions: Option<fs::Permissions>,
) -> Result<()> {
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".part").permissions(fs::Permissions::from_mode(mode));
        let mut file = builder.tempfile_in(directory_of(target))?;
        file.write_all(bytes)?;
        permissions.map_or(Ok(()), |permissions| file.as_file().set_permissions(permissions))?;
        file.as_file().sync_all()?;
        file.persist(target).map_err(|error| error.error)
    };
    write().map_err(|error| write_error(target, &error))?;
    Ok(())
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
        rustix::fs::access(directory_of(&target).join("."), Access::WRITE_OK | Access::EXEC_OK)
    };
    access.map_err(|error| {
        let error = io::Error::from(error);
        CliError::usage(format!("cannot write {}: {error}", target.display()))
    })
}

/// Returns an error if a directory, which may not exist yet, cannot get files of `size` bytes.
pub(crate) fn require_creatable(directory: &Path, size: u64) -> Result<()> {
    let existing = directory.ancestors().find(|path| path.symlink_metadata().is_ok());
    let existing = existing.unwrap_or(Path::new("."));
    let access = rustix::fs::access(existing.join("."), Access::WRITE_OK | Access::EXEC_OK);
    access.map_err(|error| {
        let error = io::Error::from(error);
        CliError::usage(format!("cannot write to {}: {error}", existing.display()))
    })?;
    Ok(require_space(rustix::fs::statvfs(existing), directory, size)?)
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

/// Returns the directory for files that last between runs; `None` if it is unknown (XDG Base Directory
/// Specification).
pub(crate) fn state_directory() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
    state.or_else(home).map(|state| state.join("compass"))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
