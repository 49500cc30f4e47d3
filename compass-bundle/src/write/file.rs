//! A bundle into a file: blobs at their places, whichever comes first.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use compass_registry::{Digest, ImageSource};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};

use super::blob::{self, Job};
use super::encode::Checksums;
use super::frontier::Frontier;
use super::journal::Journal;
use super::part_file::{Keeper, PartFile};
use super::{WriteOptions, stopped};
use crate::plan::{BundlePlan, Content};
use crate::{Error, frame};

/// Chunks on their way to the disk. With the chunks of the blobs this bounds the memory of a run.
const QUEUE: usize = 8;

/// Bytes between two requests to the system to write what it holds back, so that the end of a run
/// does not wait for everything at once.
const FLUSH: u64 = 32 << 20;

/// Bytes of blobs that an interrupted run leaves for the next one; less is fetched again.
const WORTH_KEEPING: u64 = 1 << 20;

/// What the writing thread is asked to do.
pub(super) enum Order {
    /// Writes bytes; those that may still be replaced are not hashed yet.
    Write { offset: u64, bytes: Vec<u8>, settled: bool },
    /// Notes how many bytes of a blob have been written.
    Mark { blob: usize, written: u64 },
    /// What has been written here stays.
    Settled(std::ops::Range<u64>),
}

pub(crate) async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    path: &Path,
    options: &WriteOptions,
) -> Result<Digest, Error> {
    let mut part = PartFile::resume(path)?;
    let (journal, marks) = Journal::open(part.part(), plan)?;
    part.accompany(journal.path());
    if marks.iter().all(|mark| *mark == 0) {
        part.truncate()?;
    }
    part.keeper().keep(is_worth_keeping(&marks));
    let file = part.handle()?;
    require_space(&file, part.part(), plan.size())?;
    file.set_len(plan.size()).map_err(Error::io("write", part.part()))?;

    options.progress.expect(plan.size());
    let (orders, received) = mpsc::channel(QUEUE);
    let writer = Writer {
        frontier: Frontier::new(part.handle()?),
        file: part.handle()?,
        journal,
        marks: marks.clone(),
        keeper: part.keeper(),
    };
    let shown = part.part().to_owned();
    let writer = spawn_blocking(move || writer.run(received, &shown));
    let run = Run { plan, source, file: Arc::new(file), marks, orders, options };
    let fed = run.feed().await;
    // The writer goes first: that it stopped is why the rest failed.
    let (size, digest) = writer.await.map_err(|_| stopped(path))??;
    fed?;
    if size != plan.size() {
        return Err(Error::damaged(format!("{} bytes were planned, {size} written", plan.size())));
    }
    part.finish()?;
    Ok(digest)
}

struct Run<'p> {
    plan: &'p BundlePlan,
    source: Arc<dyn ImageSource>,
    file: Arc<File>,
    marks: Vec<u64>,
    orders: mpsc::Sender<Order>,
    options: &'p WriteOptions,
}

impl Run<'_> {
    /// Gives every byte of the file to the writer. The orders end with it.
    async fn feed(self) -> Result<(), Error> {
        let plan = self.plan;
        let mut sums = Checksums::new(plan);
        self.send(0, frame::HEADER.to_vec()).await?;
        for (number, segment) in plan.segments().iter().enumerate() {
            if let Content::Bytes(_) | Content::File(_) = segment.content {
                self.known(number, &mut sums).await?;
            }
        }
        self.blobs(&mut sums).await?;
        for (number, segment) in plan.segments().iter().enumerate() {
            if let Content::Trailer(_) = segment.content {
                self.known(number, &mut sums).await?;
            }
        }
        self.send(plan.size() - frame::TRAILER, sums.file_trailer().to_vec()).await
    }

    async fn known(&self, number: usize, sums: &mut Checksums<&BundlePlan>) -> Result<(), Error> {
        let offset = self.plan.file_range(&self.plan.segments()[number]).start;
        match sums.encode_known(number) {
            Some(bytes) => self.send(offset, bytes).await,
            None => Ok(()),
        }
    }

    async fn blobs(&self, sums: &mut Checksums<&BundlePlan>) -> Result<(), Error> {
        let mut jobs = JoinSet::new();
        let mut blobs = 0..self.plan.blobs().len();
        loop {
            while jobs.len() < self.options.jobs.max(1)
                && let Some(number) = blobs.next()
            {
                jobs.spawn(blob::write(self.job(number)));
            }
            let Some(done) = jobs.join_next().await else { return Ok(()) };
            let places = done.map_err(|_| self.gone())??;
            for (segment, sum) in places {
                sums.add(segment, sum);
            }
        }
    }

    fn job(&self, number: usize) -> Job {
        Job::new(
            self.plan,
            number,
            Arc::clone(&self.source),
            (Arc::clone(&self.file), self.marks[number]),
            self.orders.clone(),
            Arc::clone(&self.options.progress),
        )
    }

    async fn send(&self, offset: u64, bytes: Vec<u8>) -> Result<(), Error> {
        self.options.progress.advance(bytes.len() as u64);
        let order = Order::Write { offset, bytes, settled: true };
        self.orders.send(order).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        stopped(Path::new(&self.plan.file_name()))
    }
}

/// The thread that writes.
struct Writer {
    frontier: Frontier,
    file: File,
    journal: Journal,
    marks: Vec<u64>,
    keeper: Keeper,
}

impl Writer {
    fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        path: &Path,
    ) -> Result<(u64, Digest), Error> {
        let flushing = self.file.try_clone().map_err(Error::io("write", path))?;
        std::thread::scope(|scope| {
            let (due, flushes) = std::sync::mpsc::sync_channel(1);
            let flusher = scope.spawn(move || flush(&flushing, &flushes));
            let (mut written, mut flushed) = (0, 0);
            while let Some(order) = orders.blocking_recv() {
                written += self.execute(order, path)?;
                if written - flushed >= FLUSH {
                    flushed = written;
                    // Where a flush waits already, that one will do.
                    let _ = due.try_send(());
                }
            }
            drop(due);
            match flusher.join() {
                Ok(flushed) => flushed.map_err(Error::io("write", path))?,
                Err(_) => return Err(stopped(path)),
            }
            Ok(self.frontier.finish())
        })
    }

    fn execute(&mut self, order: Order, path: &Path) -> Result<u64, Error> {
        match order {
            Order::Write { offset, bytes, settled } => {
                let size = bytes.len() as u64;
                let written = self.file.write_all_at(&bytes, offset).and_then(|()| match settled {
                    true => self.frontier.written(offset, &bytes),
                    false => Ok(()),
                });
                written.map_err(Error::io("write", path))?;
                Ok(size)
            }
            Order::Mark { blob, written } => {
                self.journal.mark(blob, written)?;
                self.marks[blob] = written;
                self.keeper.keep(is_worth_keeping(&self.marks));
                Ok(0)
            }
            Order::Settled(range) => {
                self.frontier.settled(range).map_err(Error::io("read", path))?;
                Ok(0)
            }
        }
    }
}

/// Whether an unfinished file spares a later run more than it is in the way.
fn is_worth_keeping(marks: &[u64]) -> bool {
    marks.iter().sum::<u64>() >= WORTH_KEEPING
}

/// Writes what the system holds back, each time it is due, beside the writing itself.
fn flush(file: &File, due: &std::sync::mpsc::Receiver<()>) -> std::io::Result<()> {
    due.iter().try_for_each(|()| file.sync_data())
}

/// Says before anything is fetched that the disk is too small.
fn require_space(file: &File, path: &Path, size: u64) -> Result<(), Error> {
    let metadata = file.metadata().map_err(Error::io("read", path))?;
    // `st_blocks` counts 512 bytes on every system.
    let needed = size.saturating_sub(metadata.blocks() * 512);
    // A file system that does not tell is tried.
    let Ok(system) = rustix::fs::fstatvfs(file) else { return Ok(()) };
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if needed > free {
        return Err(Error::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}
