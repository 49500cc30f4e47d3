//! Reads regular files only: a pipe or a device could block, or have no end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file of the repository. A symbolic link is an error: a pull request that commits
/// one could disclose any file of the machine.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let error = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    open_with(path, OFlags::NOFOLLOW | OFlags::NONBLOCK).map_err(|cause| {
        match cause.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => error("it is a symbolic link"),
            false => cause,
        }
    })
}

/// Opens a regular file that a user named; follows symbolic links.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    open_with(path, OFlags::NONBLOCK)
}

/// Reads up to `limit` bytes of a file as [`open`] does.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_up_to(open(path)?, limit)
}

/// Reads up to `limit` bytes of a file as [`open_named`] does.
pub(crate) fn read_named(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_up_to(open_named(path)?, limit)
}

/// Reads a file that a user named, or a pipe of the shell (`<(…)`).
///
/// # Errors
/// Also if there are more than `limit` bytes.
pub(crate) fn read_argument(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let is_shell_pipe = path.starts_with("/dev") || path.starts_with("/proc/self/fd");
    let file = if is_shell_pipe { File::open(path)? } else { open_named(path)? };
    let bytes = read_up_to(file, limit + 1)?;
    match bytes.len() as u64 <= limit {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {limit} bytes"),
        )),
    }
}

fn open_with(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

fn read_up_to(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_link_and_special_is_error() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(read(&at("file"), 2).unwrap(), b"te");
        assert!(read(&at("link"), 9).unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(read_named(&at("link"), 9).unwrap(), b"text");
        for refused in ["pipe", "."] {
            for read in [read_named, read_argument] {
                let error = read(&at(refused), 9).unwrap_err().to_string();
                assert!(error.contains("not a regular file"), "{refused}: {error}");
            }
        }
        assert_eq!(read_argument(&at("link"), 4).unwrap(), b"text");
        assert!(read_argument(&at("link"), 3).unwrap_err().to_string().contains("more than 3"));
    }
}
