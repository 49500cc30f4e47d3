//! A bundle into a file: blobs at their places, whichever comes first.

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

use super::appetite::Appetite;
use super::blob::{self, Job};
use super::disk::{Disk, Pool};
use super::encode::Checksums;
use super::journal::Journal;
use super::part_file::PartFile;
use super::writer::{self, Order};
use super::{WriteOptions, stopped};
use crate::plan::{BundlePlan, Content};
use crate::read::frames::FramedFile;
use crate::{Error, frame};

/// Chunks on their way to the writer. With the chunks of the blobs this bounds the memory of a run.
const QUEUE: usize = 4;

/// What becomes of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Replaced,
    /// It is an error, also where it came meanwhile.
    Kept,
}

pub(crate) async fn write(
    plan: &BundlePlan,
    source: Arc<dyn ImageSource>,
    (path, existing): (&Path, Existing),
    options: &WriteOptions,
) -> Result<Digest, Error> {
    plan.require_bytes()?;
    let mut part = resume(path).await?;
    if existing == Existing::Kept {
        part.replace_nothing();
        // Somebody may have been faster, and holds it no longer.
        if path.symlink_metadata().is_ok() {
            part.keeper().keep(false);
            return Err(Error::AlreadyExists { path: path.display().to_string() });
        }
    }
    part.accompany(&Journal::path_beside(part.part()));
    let (journal, marks) = Journal::open(part.part(), plan)?;
    match marks.iter().sum() {
        0 => part.truncate()?,
        resumed => options.progress.resumed(resumed),
    }
    let file = part.handle()?;
    require_space(&file, part.part(), plan.size())?;
    file.set_len(plan.size()).map_err(Error::io("write", part.part()))?;

    options.progress.add_total(plan.size());
    let (orders, received) = mpsc::channel(QUEUE);
    let (pool, shown) = (Pool::default(), part.part().to_owned());
    let to_disk = DirectFile::new(part.handle()?, &shown);
    let journal = (journal, marks.clone());
    let disk = Disk::new(to_disk, journal, part.keeper(), pool.clone(), &shown);
    let read_back = part.handle()?;
    let writer = spawn_blocking(move || writer::run(&disk, read_back, received, &shown));
    let run = Run { plan, source, file: Arc::new(file), marks, orders, pool, options };
    let fed = run.feed().await;
    // The writer goes first: that it stopped is why the rest failed.
    let (size, digest) = writer.await.map_err(|_| stopped(path))??;
    fed?;
    if size != plan.size() {
        return Err(Error::damaged(format!("{} bytes were planned, {size} written", plan.size())));
    }
    if let Err(error) = require_fitting_configs(plan, part.handle()?).await {
        part.keeper().keep(false);
        return Err(error);
    }
    let file = part.handle()?;
    let synced = spawn_blocking(move || file.sync_all()).await;
    synced.map_err(|_| stopped(path))?.map_err(Error::io("write", part.part()))?;
    // From here on nothing waits: who gives up has a bundle with its checksum, or neither.
    part.show()?;
    Ok(digest)
}

/// Refuses images that no runtime unpacks: a proof of the bundle would call them damaged.
async fn require_fitting_configs(plan: &BundlePlan, file: File) -> Result<(), Error> {
    let file = Arc::new(file);
    let place = |blob: usize| plan.blobs()[blob].places[0];
    let configs = plan.configs().iter().map(|config| {
        (FramedFile::of(plan, place(config.blob), Arc::clone(&file)), config.clone())
    });
    let configs: Vec<_> = configs.collect();
    let checked = spawn_blocking(move || {
        configs.iter().try_for_each(|(file, config)| {
            config.require_small()?;
            config.require_fitting(&file.read(0..config.size)?)
        })
    });
    checked.await.map_err(|_| Error::damaged("a thread stopped"))?
}

/// How long a writer is waited for that may be on its way out: the thread of a write that was dropped
/// ends by itself.
const LEAVE: Duration = Duration::from_secs(3);

/// Goes on with an unfinished bundle, or begins one.
async fn resume(path: &Path) -> Result<PartFile, Error> {
    if path.is_dir() {
        return Err(Error::AlreadyExists { path: path.display().to_string() });
    }
    let until = Instant::now() + LEAVE;
    loop {
        match PartFile::resume(path) {
            Err(Error::Busy { .. }) if Instant::now() < until => sleep(LEAVE / 50).await,
            resumed => return resumed,
        }
    }
}

struct Run<'p> {
    plan: &'p BundlePlan,
    source: Arc<dyn ImageSource>,
    file: Arc<File>,
    marks: Vec<u64>,
    orders: mpsc::Sender<Order>,
    pool: Pool,
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
        let mut blobs = self.plan.blobs().iter().enumerate().peekable();
        let appetite = Arc::new(Appetite::new(self.options.jobs));
        loop {
            while appetite.is_there(jobs.len())
                && let Some((number, _)) = blobs.next()
            {
                jobs.spawn(blob::write(self.job(number, &appetite)));
            }
            let done = tokio::select! {
                done = jobs.join_next() => done,
                () = appetite.pause(), if blobs.peek().is_some() => continue,
            };
            let Some(done) = done else { return Ok(()) };
            let places = done.map_err(|_| self.gone())??;
            for (segment, sum) in places {
                sums.add(segment, sum);
            }
        }
    }

    fn job(&self, number: usize, appetite: &Arc<Appetite>) -> Job {
        Job::new(
            self.plan,
            number,
            Arc::clone(&self.source),
            (Arc::clone(&self.file), self.marks[number]),
            (self.orders.clone(), self.pool.clone()),
            (Arc::clone(&self.options.progress), Arc::clone(appetite)),
        )
    }

    async fn send(&self, offset: u64, bytes: Vec<u8>) -> Result<(), Error> {
        self.options.progress.advance(bytes.len() as u64);
        let order = Order::Write { offset, bytes: bytes.into(), settled: true, mark: None };
        self.orders.send(order).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> Error {
        stopped(Path::new(&self.plan.file_name()))
    }
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
