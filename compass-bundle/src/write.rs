//! Writes a planned bundle: to a file as a pipeline, or to a stream in order.
//!
//! The stages of the pipeline, which work at the same time:
//!
//! 1. `fetch`: fetches blobs in ranges, over as many connections as the source needs.
//! 2. `frame`: computes the bytes of the file from the bytes of a blob.
//! 3. `output`: writes them to their places, and records them for a later run.
//! 4. `hash`: follows in the order of the file, verifies each blob and hashes the file.
//!
//! At the end, the file is synced to the disk and gets its final name.

mod concurrency;
mod fetch;
mod frame;
mod hash;
mod output;
mod stream;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use compass_registry::{Digest, ImageSource, NoProgress, Progress, setters};
use rustix::fs::StatVfs;
use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use self::concurrency::AdaptiveConcurrency;
use self::fetch::FetchStage;
use self::hash::HashStage;
use self::output::{Output, journal_path};
#[cfg(feature = "store")]
pub(crate) use self::stream::stream_members;
pub use self::stream::{OutputStream, stream, write_into};
use crate::Error;
use crate::format::member::Member;
use crate::part_file::{self, PartFile};
use crate::plan::BundlePlan;

/// The options of [`write()`].
///
/// ```
/// let options = compass_bundle::WriteOptions::default().jobs(4);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct WriteOptions {
    /// The maximum number of blobs that are fetched at once.
    pub jobs: usize,
    /// Receives the progress.
    pub progress: Arc<dyn Progress>,
}

setters!(WriteOptions { jobs: usize, progress: Arc<dyn Progress> });

impl Default for WriteOptions {
    fn default() -> Self {
        Self { jobs: 8, progress: Arc::new(NoProgress) }
    }
}

/// A written bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The path of the file.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub size: u64,
    /// The digest of the file. That of `bundle.json` is [`BundlePlan::digest`].
    pub digest: Digest,
}

impl Written {
    /// Describes a file that was written.
    pub fn new(path: PathBuf, size: u64, digest: Digest) -> Self {
        Self { path, size, digest }
    }
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
    write_with_checksum(plan, source, Target { path, overwrite: Overwrite::Yes }, options).await
}

/// Whether a file of the same name is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    Yes,
    /// An existing file is an error, also if it appears while the bundle is written.
    No,
}

/// The file to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'t> {
    pub(crate) path: &'t Path,
    pub(crate) overwrite: Overwrite,
}

/// Writes a bundle and its `.sha256`.
pub(crate) async fn write_with_checksum(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    target: Target<'_>,
    options: &WriteOptions,
) -> Result<Written, Error> {
    let digest = write_file(plan, source, target, options).await?;
    write_checksum(target.path, digest)?;
    Ok(Written { path: target.path.to_owned(), size: plan.size(), digest })
}

/// Writes a bundle without its `.sha256`, and returns the digest of the file.
pub(crate) async fn write_file(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    target: Target<'_>,
    options: &WriteOptions,
) -> Result<Digest, Error> {
    plan.require_bytes()?;
    let part = open_part(target).await?;
    let output = Arc::new(Output::open(&part, plan)?);
    match output.prefixes().iter().sum() {
        0 => part.truncate()?,
        resumed => options.progress.resumed(resumed),
    }
    let file = part.handle()?;
    // `st_blocks` counts 512 bytes on every system.
    let written = file.metadata().map_err(Error::io("read", part.part()))?.blocks() * 512;
    let needed = plan.size().saturating_sub(written);
    require_space(rustix::fs::fstatvfs(&file), part.part(), needed)?;
    file.set_len(plan.size()).map_err(Error::io("write", part.part()))?;
    options.progress.add_total(plan.size());
    let digest = run_pipeline(plan, source, &output, options).await?;
    commit(plan, part, output).await?;
    Ok(digest)
}

/// Runs the stages until all bytes are written and hashed.
async fn run_pipeline(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    output: &Arc<Output>,
    options: &WriteOptions,
) -> Result<Digest, Error> {
    let (plan, progress) = (Arc::new(plan.clone()), &options.progress);
    let (refetch, refetched) = unbounded_channel();
    let (writes, chunks) = channel(1);
    let hash = HashStage::new(Arc::clone(&plan), Arc::clone(output), Arc::clone(progress), refetch);
    let fetch = Arc::new(FetchStage {
        plan: Arc::clone(&plan),
        source,
        output: Arc::clone(output),
        progress: Arc::clone(progress),
        concurrency: AdaptiveConcurrency::new(options.jobs),
        writes,
        unrequested: Mutex::default(),
        unrequested_bytes: AtomicU64::default(),
        released: AtomicUsize::default(),
    });
    let writer = Arc::clone(output);
    spawn_blocking(move || writer.write_chunks(chunks));
    let _stop = StopOnDrop(output);
    let mut hashing = spawn_blocking(move || hash.run());
    let gone = |_| writer_gone(Path::new(&plan.file_name()));
    let mut fetching = std::pin::pin!(fetch.run(refetched));
    tokio::select! {
        hashed = &mut hashing => {
            let digest = hashed.map_err(gone)??;
            // Empty blobs may still be requested.
            fetching.await?;
            Ok(digest)
        }
        fetched = &mut fetching => {
            if fetched.is_err() {
                output.stop();
            }
            let hashed = hashing.await.map_err(gone)?;
            fetched.and(hashed)
        }
    }
}

/// Ends the hash stage on drop, so that a cancelled run does not wait for bytes.
struct StopOnDrop<'o>(&'o Output);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// How long to wait for the lock of another writer. The threads of a cancelled run release it
/// soon.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens the unfinished file of an earlier run, or creates one.
async fn open_part(Target { path, overwrite }: Target<'_>) -> Result<PartFile, Error> {
    if path.is_dir() {
        return Err(Error::AlreadyExists { path: path.display().to_string() });
    }
    let until = Instant::now() + LOCK_TIMEOUT;
    let mut part = loop {
        match PartFile::resume(path) {
            Err(Error::Busy { .. }) if Instant::now() < until => sleep(LOCK_TIMEOUT / 50).await,
            resumed => break resumed?,
        }
    };
    if overwrite == Overwrite::No {
        part.no_clobber();
        // Another process may have completed it before this one got the lock.
        if path.symlink_metadata().is_ok() {
            part.keep_on_drop().set(false);
            return Err(Error::AlreadyExists { path: path.display().to_string() });
        }
    }
    part.with_sidecar(&journal_path(part.part()));
    Ok(part)
}

/// Fails if the file system at a path has less than `needed` free bytes.
///
/// # Errors
/// [`Error::NoSpace`], except on file systems that do not report their free space.
pub fn require_space(
    system: rustix::io::Result<StatVfs>,
    path: &Path,
    needed: u64,
) -> Result<(), Error> {
    let free = system.map_or(u64::MAX, |system| system.f_bavail.saturating_mul(system.f_frsize));
    match needed > free {
        true => Err(Error::NoSpace { path: path.to_owned(), needed, free }),
        false => Ok(()),
    }
}

/// Checks the configurations, syncs the file to the disk and renames it to its final name.
async fn commit(plan: &BundlePlan, part: PartFile, output: Arc<Output>) -> Result<(), Error> {
    if let Err(error) = require_fitting_configs(plan, part.handle()?).await {
        part.keep_on_drop().set(false);
        return Err(error);
    }
    let synced = spawn_blocking(move || output.sync()).await;
    synced.map_err(|_| writer_gone(part.part()))??;
    // Do not await below: cancellation must leave either both the bundle and its checksum or
    // neither.
    part.persist()
}

/// Rejects images that no runtime can unpack: verifying the bundle would report them as damaged.
async fn require_fitting_configs(plan: &BundlePlan, file: File) -> Result<(), Error> {
    let place = |blob: usize| plan.members()[plan.blobs()[blob].places[0]].place;
    let configs: Vec<_> =
        plan.configs().iter().map(|config| (place(config.blob), config.clone())).collect();
    let checked = spawn_blocking(move || {
        configs.iter().try_for_each(|(place, config)| {
            config.check_size()?;
            config.check_layers(&read_content(&file, *place)?)
        })
    });
    checked.await.map_err(|_| Error::damaged("a thread stopped"))?
}

/// Reads the content of a member from a file. Blocks.
fn read_content(file: &File, member: Member) -> Result<Vec<u8>, Error> {
    let bytes = member.content_range(0..member.size);
    let mut framed = vec![0; usize::try_from(bytes.end - bytes.start).unwrap_or_default()];
    let read = file.read_exact_at(&mut framed, bytes.start);
    read.map_err(|error| Error::damaged(format!("a configuration cannot be read: {error}")))?;
    member.decode(0, &framed)
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

/// The error for a stage that ended without a result. If another stage returned an error, callers
/// report that one instead.
fn writer_gone(path: &Path) -> Error {
    Error::io("write", path)(std::io::Error::other("a writing thread stopped"))
}
