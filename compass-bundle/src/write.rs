//! Executes a plan: to a file, in any order, or to a stream in order.

mod blob;
mod checkpoint;
mod concurrency;
pub(crate) mod file;
mod file_hasher;
mod inline_hasher;
mod io_pool;
pub(crate) mod part_file;
mod placements;
mod prefetch;
mod run;
mod stream;
mod writer;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compass_registry::{Digest, ImageSource, NoProgress, Progress};

pub(crate) use self::file::Overwrite;
pub use self::part_file::create_own_directory;
pub use self::stream::{stream, write_into};
use crate::Error;
use crate::plan::BundlePlan;

/// How a bundle is written.
#[derive(Clone)]
pub struct WriteOptions {
    /// How many blobs are fetched at once.
    pub jobs: usize,
    /// Hears how it goes on.
    pub progress: Arc<dyn Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { jobs: 8, progress: Arc::new(NoProgress) }
    }
}

/// A bundle that has been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Digest of the file.
    pub digest: Digest,
}

/// Writes a bundle into a directory, with its `.sha256` beside it.
///
/// Blobs go from the source to all their places in the file, fetched once, several at once, and
/// verified on the way; memory does not depend on their size. Nothing is visible under the final
/// name before everything has reached the disk. What an interrupted run has fetched stays in
/// `<name>.part`, with a journal beside it, and the next run goes on from there.
///
/// # Errors
/// The first error of the source, which names image and blob, or of the disk.
pub async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    directory: &Path,
    options: &WriteOptions,
) -> Result<Written, Error> {
    write_as(plan, source, &directory.join(plan.file_name()), options).await
}

/// Writes a bundle to a file of any name; see [`write()`].
///
/// # Errors
/// As [`write()`].
pub async fn write_as(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    path: &Path,
    options: &WriteOptions,
) -> Result<Written, Error> {
    write_with_checksum(plan, source, (path, Overwrite::Yes), options).await
}

/// Writes a bundle and its `.sha256`.
pub(crate) async fn write_with_checksum(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    (path, overwrite): (&Path, Overwrite),
    options: &WriteOptions,
) -> Result<Written, Error> {
    let digest = file::write(plan, source, (path, overwrite), options).await?;
    write_checksum(path, digest)?;
    Ok(Written { path: path.to_owned(), size: plan.size(), digest })
}

/// How the name of the checksum beside a bundle ends.
pub(crate) const CHECKSUM_END: &str = ".sha256";

/// The path of the checksum beside a bundle.
pub fn checksum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(CHECKSUM_END);
    name.into()
}

/// Writes what `sha256sum -c` reads.
pub(crate) fn write_checksum(path: &Path, digest: Digest) -> Result<(), Error> {
    let checksum = checksum_path(path);
    let failed = || Error::io("write", &checksum);
    let line = checksum_line(path, digest);
    let mut part = part_file::unnamed_beside(&checksum, 0o666).map_err(failed())?;
    let written = part.write_all(line.as_bytes()).and_then(|()| part.as_file().sync_all());
    written.map_err(failed())?;
    part.persist(&checksum).map_err(|error| failed()(error.error))?;
    part_file::sync_directory_of(&checksum)
}

pub(crate) fn checksum_line(path: &Path, digest: Digest) -> String {
    format!("{}  {}\n", digest.hex(), path.file_name().unwrap_or_default().to_string_lossy())
}

/// The error of a command that cannot be sent, because the writing thread ended. Its own error has
/// precedence.
fn writer_gone(path: &Path) -> Error {
    Error::io("write", path)(std::io::Error::other("the writing thread stopped"))
}
