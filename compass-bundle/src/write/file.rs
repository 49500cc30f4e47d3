//! Writes a bundle to a file, blobs in the order in which they arrive.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compass_registry::direct_io::DirectFile;
use compass_registry::{Digest, ImageSource};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::blob::{self, BlobTask, read_content};
use super::checkpoint::CheckpointFile;
use super::concurrency::AdaptiveConcurrency;
use super::io_pool::{BufferPool, WriterShared};
use super::part_file::PartFile;
use super::run::RunChunks;
use super::writer::{self, Command};
use super::{WriteOptions, writer_gone};
use crate::Error;
use crate::plan::BundlePlan;

/// Commands in the queue of the writer. Together with the chunks of the blobs, this limits the
/// memory of a run.
const QUEUE: usize = 4;

/// Whether a file of the same name is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overwrite {
    Yes,
    /// An existing file is an error, also if it appears while the bundle is written.
    No,
}

pub(crate) async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    (path, overwrite): (&Path, Overwrite),
    options: &WriteOptions,
) -> Result<Digest, Error> {
    plan.require_bytes()?;
    let part = open_part(path, overwrite).await?;
    let (checkpoints, written) = CheckpointFile::open(part.part(), plan)?;
    match written.iter().sum() {
        0 => part.truncate()?,
        resumed => options.progress.resumed(resumed),
    }
    let file = part.handle()?;
    require_space(&file, part.part(), plan.size())?;
    file.set_len(plan.size()).map_err(Error::io("write", part.part()))?;

    options.progress.add_total(plan.size());
    let (commands, received) = mpsc::channel(QUEUE);
    let (pool, part_path) = (BufferPool::default(), part.part().to_owned());
    let to_disk = DirectFile::new(part.handle()?, &part_path);
    let checkpoints = (checkpoints, written.clone());
    let shared =
        WriterShared::new(to_disk, checkpoints, part.keep_on_drop(), pool.clone(), &part_path);
    let read_back = part.handle()?;
    let writer = spawn_blocking(move || writer::run(&shared, read_back, received, &part_path));
    let shared = blob::Shared {
        source,
        file: Arc::new(file),
        commands,
        pool,
        progress: Arc::clone(&options.progress),
        concurrency: Arc::new(AdaptiveConcurrency::new(options.jobs)),
    };
    let run = Run { plan, written, shared };
    let fed = run.feed().await;
    // The error of the writer is the cause if both failed.
    let (size, digest) = writer.await.map_err(|_| writer_gone(path))??;
    fed?;
    if size != plan.size() {
        return Err(Error::damaged(format!("{} bytes were planned, {size} written", plan.size())));
    }
    commit(plan, part).await?;
    Ok(digest)
}

/// Opens the part file of an earlier run, or creates one.
async fn open_part(path: &Path, overwrite: Overwrite) -> Result<PartFile, Error> {
    let mut part = resume(path).await?;
    if overwrite == Overwrite::No {
        part.no_clobber();
        // Another process may have completed it before this one got the lock.
        if path.symlink_metadata().is_ok() {
            part.keep_on_drop().set(false);
            return Err(Error::AlreadyExists { path: path.display().to_string() });
        }
    }
    part.with_sidecar(&CheckpointFile::path_beside(part.part()));
    Ok(part)
}

/// Checks the configurations, syncs the file to the disk and renames it to its final name.
async fn commit(plan: &BundlePlan, part: PartFile) -> Result<(), Error> {
    if let Err(error) = require_fitting_configs(plan, part.handle()?).await {
        part.keep_on_drop().set(false);
        return Err(error);
    }
    let file = part.handle()?;
    let synced = spawn_blocking(move || file.sync_all()).await;
    let synced = synced.map_err(|_| writer_gone(part.part()))?;
    synced.map_err(Error::io("write", part.part()))?;
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
            config.check_layers(&read_content(&file, *place, 0..config.size)?)
        })
    });
    checked.await.map_err(|_| Error::damaged("a thread stopped"))?
}

/// How long to wait for the lock of another writer. The thread of a cancelled write releases it
/// soon.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// Resumes an unfinished bundle or begins a new one.
async fn resume(path: &Path) -> Result<PartFile, Error> {
    if path.is_dir() {
        return Err(Error::AlreadyExists { path: path.display().to_string() });
    }
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match PartFile::resume(path) {
            Err(Error::Busy { .. }) if Instant::now() < until => sleep(LOCK_TIMEOUT / 50).await,
            resumed => return resumed,
        }
    }
}

struct Run<'p> {
    plan: &'p BundlePlan,
    /// Number of bytes of each blob that an earlier run wrote.
    written: Vec<u64>,
    shared: blob::Shared,
}

impl Run<'_> {
    /// Sends every byte of the file to the writer. Returning closes the channel, which ends the
    /// writer.
    async fn feed(self) -> Result<(), Error> {
        for member in self.plan.members() {
            let mut offset = member.place.offset;
            for chunk in RunChunks::new(self.plan, member).into_iter().flatten() {
                let size = chunk.len() as u64;
                self.send(offset, chunk).await?;
                offset += size;
            }
        }
        self.blobs().await
    }

    async fn blobs(&self) -> Result<(), Error> {
        let mut tasks = JoinSet::new();
        let mut blobs = self.written.iter().copied().enumerate().peekable();
        let concurrency = &self.shared.concurrency;
        loop {
            while concurrency.may_start(tasks.len())
                && let Some((number, written)) = blobs.next()
            {
                let task = BlobTask::new(self.plan, number, written, self.shared.clone());
                tasks.spawn(blob::write(task));
            }
            let done = tokio::select! {
                done = tasks.join_next() => done,
                () = concurrency.next_sample(), if blobs.peek().is_some() => continue,
            };
            let Some(done) = done else { return Ok(()) };
            done.map_err(|_| self.gone())??;
        }
    }

    async fn send(&self, offset: u64, bytes: Vec<u8>) -> Result<(), Error> {
        self.shared.progress.advance(bytes.len() as u64);
        let write =
            Command::Write { offset, bytes: bytes.into(), is_final: true, checkpoint: None };
        self.shared.commands.send(write).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        writer_gone(Path::new(&self.plan.file_name()))
    }
}

/// Fails before a request is made if the disk is too small.
fn require_space(file: &File, path: &Path, size: u64) -> Result<(), Error> {
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    // `st_blocks` counts 512 bytes on every system.
    let needed = size.saturating_sub(metadata.blocks() * 512);
    // Some file systems do not report their free space.
    let Ok(system) = rustix::fs::fstatvfs(file) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if needed > free {
        return Err(Error::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}
