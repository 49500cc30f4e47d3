//! Extraction from packages. Files are only created inside the target directory, whatever paths,
//! links and modes an archive contains.

mod files;
mod image_archive;
mod image_set;
mod unpack_dir;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::Progress;

pub use self::image_set::{stream_images, write_images};
use self::unpack_dir::UnpackDir;
use crate::foreign::decompress::decompress;
use crate::foreign::limits::Limits;
use crate::foreign::reader::reader_of;
use crate::foreign::tar_entries::TarEntries;
use crate::format::naming;
use crate::part_file::{rename_to_new, sync_directory_of, temp_sibling};
use crate::read::BundleSource;
use crate::{Error, Package};

/// Maximum number of entries to unpack.
const MAX_ENTRIES: usize = 1_000_000;

/// The result of unpacking.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unpacked {
    /// Paths of the top-level entries. A bundle has one directory.
    pub paths: Vec<PathBuf>,
    /// Number of files.
    pub files: usize,
    /// Total size of the files in bytes.
    pub bytes: u64,
}

/// Unpacks everything into a directory.
///
/// Entries appear in the directory when all of them are complete. Links to files of the archive
/// become hard links; other links are rejected.
///
/// # Errors
/// [`Error::AlreadyExists`] if a top-level entry exists; [`Error::Damaged`] for paths outside the
/// archive, links to anything but files, devices, and duplicates with different content;
/// [`Error::WrongOwner`] if another user created the temporary directory.
pub async fn unpack(
    source: Arc<dyn BundleSource>,
    directory: &Path,
    progress: &dyn Progress,
) -> Result<Unpacked, Error> {
    let name = source.name();
    let last = name.rsplit('/').next().unwrap_or_default();
    let mut target_dir = UnpackDir::create(directory.join(format!(".{last}.unpacking")))?;
    let damaged = |error: io::Error| Error::reading(&name, error);
    let limits = Limits::for_package();
    let reader = limits.count_input_of(reader_of(source));
    let tar = decompress(reader, &limits).await.map_err(damaged)?.into_tar(&name)?;
    let mut entries = TarEntries::new(tar, &limits).await.map_err(damaged)?;
    let (mut files, mut bytes, mut count) = (0, 0, 0);
    while let Some(entry) = entries.next().await.map_err(damaged)? {
        count += 1;
        if count > MAX_ENTRIES {
            return Err(Error::damaged(format!("{name}: it contains too many files")));
        }
        if let Some(size) = target_dir.add(&name, entry).await? {
            progress.add_total(size);
            progress.advance(size);
            files += 1;
            bytes += size;
        }
    }
    files += target_dir.link_files(&name)?;
    Ok(Unpacked { paths: target_dir.finish(directory)?, files, bytes })
}

impl Package {
    /// Unpacks everything, as [`unpack()`] does.
    ///
    /// # Errors
    /// As [`unpack()`]; [`Error::Damaged`] if a foreign package has problems.
    pub async fn unpack(
        &self,
        directory: &Path,
        progress: &dyn Progress,
    ) -> Result<Unpacked, Error> {
        if let Self::Foreign(package) = self {
            package.require_whole()?;
        }
        unpack(self.source(), directory, progress).await
    }
}

/// Writes a file atomically, with the permissions `mode`.
///
/// # Errors
/// [`Error::AlreadyExists`] if the path exists.
pub fn write_file(path: &Path, bytes: &Bytes, mode: u32) -> Result<(), Error> {
    check_absent(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let target_dir = temp_sibling(path, 0o600).map_err(Error::io("create", path))?;
    let write = || {
        io::Write::write_all(&mut target_dir.as_file(), bytes)?;
        target_dir.as_file().set_permissions(fs::Permissions::from_mode(mode & 0o777 | 0o600))?;
        target_dir.as_file().sync_all()
    };
    write().map_err(Error::io("write", path))?;
    rename_to_new(target_dir.path(), path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path: path.display().to_string() },
        _ => Error::io("create", path)(error),
    })?;
    sync_directory_of(path)
}

/// As [`write_file`], to a path below a directory. Does not follow symbolic links below it.
///
/// # Errors
/// As [`write_file`]; [`Error::Io`] if a component of the path is a symbolic link.
pub fn write_file_below(
    directory: &Path,
    path: &str,
    bytes: &Bytes,
    mode: u32,
) -> Result<(), Error> {
    naming::validate_path(path)?;
    write_below(directory, Path::new(path), bytes, mode)
}

/// As [`write_file_below`], for a path that is known to be safe.
fn write_below(directory: &Path, path: &Path, bytes: &Bytes, mode: u32) -> Result<(), Error> {
    let target = directory.join(path);
    let above = target.ancestors().skip(1).take_while(|step| *step != directory);
    for step in above {
        if step.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            let link =
                io::Error::other("it is a symbolic link, which may point outside the directory");
            return Err(Error::io("write below", step)(link));
        }
    }
    write_file(&target, bytes, mode)
}

fn check_absent(path: &Path) -> Result<(), Error> {
    match path.symlink_metadata() {
        Ok(_) => Err(Error::AlreadyExists { path: path.display().to_string() }),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_file_keeps_similar_names() {
        let directory = tempfile::tempdir().unwrap();
        let (path, neighbour) = (directory.path().join("b"), directory.path().join("b.part"));
        std::fs::write(&neighbour, "mine").unwrap();
        write_file(&path, &Bytes::from("x"), 0o640).unwrap();
        assert_eq!(std::fs::read(&neighbour).unwrap(), b"mine");
        assert_eq!(
            std::fs::read_dir(directory.path()).unwrap().count(),
            2,
            "no temporary file remains"
        );
        let again = write_file(&path, &Bytes::from("y"), 0o640);
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    }
}
