//! Writes a planned bundle: to a file in any order, or to a stream in order.

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

/// The options of [`write()`].
#[derive(Clone)]
pub struct WriteOptions {
    /// The maximum number of blobs that are fetched at once.
    pub jobs: usize,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { jobs: 8, progress: Arc::new(NoProgress) }
    }
}

/// A written bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The path of the file.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub size: u64,
    /// The digest of the file. That of `bundle.json` is [`BundlePlan::digest`].
    pub digest: Digest,
}

/// Writes a bundle and its `.sha256` to a directory.
///
/// Each blob is fetched once and written to all its places in the file. Several blobs are fetched
/// at once; memory does not depend on their size. The file gets its final name after all bytes were
/// verified and synced to the disk.
///
/// # Errors
/// The first error of the source, which names the image and the blob, or of the disk.
///
/// # Cancellation
/// A run that is dropped or killed keeps the fetched bytes in `<name>.part` and its checkpoints in
/// `<name>.part.journal`. The next run resumes from them. A dropped run with less than 1 MiB of
/// recorded bytes removes both files.
pub async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    directory: &Path,
    options: &WriteOptions,
) -> Result<Written, Error> {
    write_as(plan, source, &directory.join(plan.file_name()), options).await
}

/// Writes a bundle to a file with another name; see [`write()`].
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

/// The suffix of the checksum beside a bundle.
pub(crate) const CHECKSUM_END: &str = ".sha256";

/// The path of the checksum beside a bundle.
pub fn checksum_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(CHECKSUM_END);
    name.into()
}

/// Writes the checksum in the format of `sha256sum -c`.
pub(crate) fn write_checksum(path: &Path, digest: Digest) -> Result<(), Error> {
    let checksum = checksum_path(path);
    let failed = || Error::io("write", &checksum);
    let line = checksum_line(path, digest);
    let mut part = part_file::temp_sibling(&checksum, 0o666).map_err(failed())?;
    let written = part.write_all(line.as_bytes()).and_then(|()| part.as_file().sync_all());
    written.map_err(failed())?;
    part.persist(&checksum).map_err(|error| failed()(error.error))?;
    part_file::sync_directory_of(&checksum)
}

pub(crate) fn checksum_line(path: &Path, digest: Digest) -> String {
    format!("{}  {}\n", digest.hex(), path.file_name().unwrap_or_default().to_string_lossy())
}

/// The error for a command that cannot be sent because the writing thread has ended. If the thread
/// returned an error, callers report that one instead.
fn writer_gone(path: &Path) -> Error {
    Error::io("write", path)(std::io::Error::other("the writing thread stopped"))
}
