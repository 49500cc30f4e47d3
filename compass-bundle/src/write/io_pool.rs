//! The threads that write to the disk, so that neither downloading nor hashing waits for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use compass_registry::direct_io::{AlignedBuffer, DirectFile};

use super::checkpoint::{Checkpoint, CheckpointFile};
use super::part_file::KeepOnDrop;
use crate::Error;

/// Writes in flight at once. A write that bypasses the page cache waits for the disk.
const THREADS: usize = 3;

/// Number of bytes in the page cache after which they are written to the disk.
///
/// Otherwise the final sync would wait for all of them.
const FLUSH: u64 = 32 << 20;

/// Verified bytes below which an interrupted run does not keep its file.
const MIN_RESUMABLE: u64 = 1 << 20;

/// A write of bytes at an offset of the file.
pub(super) struct Write {
    /// The sequence number of the write.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) bytes: AlignedBuffer,
    /// The checkpoint to record when this write and all before it are complete.
    pub(super) checkpoint: Option<Checkpoint>,
    /// Whether to write through the page cache, because the bytes are read back soon.
    pub(super) via_page_cache: bool,
    /// Whether to hash the bytes after they are written.
    pub(super) needs_hashing: bool,
}

/// A complete write.
pub(super) struct Completion {
    pub(super) range: Range<u64>,
    pub(super) needs_hashing: bool,
}

/// Buffers of chunks that were written, for the next chunks.
#[derive(Debug, Clone, Default)]
pub(super) struct BufferPool(Arc<Mutex<Vec<AlignedBuffer>>>);

impl BufferPool {
    pub(super) fn take(&self) -> AlignedBuffer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, buffer: AlignedBuffer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// The state that all threads share.
pub(super) struct WriterShared {
    file: DirectFile,
    checkpoints: CheckpointFile,
    log: Mutex<CheckpointLog>,
    keep_on_drop: KeepOnDrop,
    pool: BufferPool,
    path: PathBuf,
    in_page_cache: AtomicU64,
}

/// The recorded checkpoints, and those that wait for earlier writes: writes complete out of order.
struct CheckpointLog {
    /// Verified bytes of each blob.
    written: Vec<u64>,
    /// The sequence number of the first incomplete write.
    first: u64,
    completed: BTreeMap<u64, Option<Checkpoint>>,
}

/// The running threads.
pub(super) struct WriterPool {
    writes: SyncSender<Write>,
    completions: Receiver<Result<Completion, Error>>,
    in_flight: usize,
    path: PathBuf,
}

impl WriterShared {
    pub(super) fn new(
        file: DirectFile,
        (checkpoints, written): (CheckpointFile, Vec<u64>),
        keep_on_drop: KeepOnDrop,
        pool: BufferPool,
        path: &Path,
    ) -> Self {
        keep_on_drop.set(is_resumable(&written));
        let log = Mutex::new(CheckpointLog { written, first: 0, completed: BTreeMap::new() });
        let (path, in_page_cache) = (path.to_owned(), AtomicU64::new(0));
        Self { file, checkpoints, log, keep_on_drop, pool, path, in_page_cache }
    }

    /// Starts the threads. They end when the pool is dropped.
    pub(super) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>) -> WriterPool {
        let (writes, queue) = mpsc::sync_channel(1);
        let (completed, completions) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..THREADS {
            let (queue, completed) = (Arc::clone(&queue), completed.clone());
            scope.spawn(move || self.run(&queue, &completed));
        }
        WriterPool { writes, completions, in_flight: 0, path: self.path.clone() }
    }

    fn run(&self, queue: &Mutex<Receiver<Write>>, completed: &Sender<Result<Completion, Error>>) {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(write) = next else { return };
            // This fails only if the pool was dropped.
            let _ = completed.send(self.perform(write));
        }
    }

    fn perform(&self, write: Write) -> Result<Completion, Error> {
        let Write { number, offset, bytes, checkpoint, via_page_cache, needs_hashing } = write;
        let range = offset..offset + bytes.len() as u64;
        let written = if via_page_cache || !self.file.uses_direct_io() {
            let written = self.file.file().write_all_at(bytes.bytes(), offset);
            written.and_then(|()| self.flush_if_due(bytes.len() as u64))
        } else {
            self.file.write_all_at(bytes.bytes(), offset)
        };
        written.map_err(Error::io("write", &self.path))?;
        // Buffers of the usual size only: those of prefetched parts are smaller, and such parts are
        // written through the page cache.
        if !via_page_cache {
            self.pool.put(bytes);
        }
        self.completed(number, checkpoint)?;
        Ok(Completion { range, needs_hashing })
    }

    fn flush_if_due(&self, written: u64) -> std::io::Result<()> {
        let before = self.in_page_cache.fetch_add(written, Ordering::Relaxed);
        if before / FLUSH == (before + written) / FLUSH {
            return Ok(());
        }
        self.file.file().sync_data()
    }

    /// Records the checkpoint of a write once all writes before it are complete.
    pub(super) fn completed(
        &self,
        number: u64,
        checkpoint: Option<Checkpoint>,
    ) -> Result<(), Error> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.completed.insert(number, checkpoint);
        loop {
            let first = log.first;
            let Some(checkpoint) = log.completed.remove(&first) else { return Ok(()) };
            log.first += 1;
            let Some(checkpoint) = checkpoint else { continue };
            self.checkpoints.record(checkpoint)?;
            log.written[checkpoint.blob] = checkpoint.written;
            self.keep_on_drop.set(is_resumable(&log.written));
        }
    }
}

impl WriterPool {
    /// Passes a write to a thread. Blocks while all threads are busy.
    pub(super) fn write(&mut self, write: Write) -> Result<(), Error> {
        self.in_flight += 1;
        self.writes.send(write).map_err(|_| super::writer_gone(&self.path))
    }

    /// Returns a complete write, if there is one.
    pub(super) fn try_complete(&mut self) -> Result<Option<Completion>, Error> {
        let Ok(completion) = self.completions.try_recv() else { return Ok(None) };
        self.in_flight -= 1;
        completion.map(Some)
    }

    /// Waits for a write to complete; `None` if none is in flight.
    pub(super) fn complete(&mut self) -> Result<Option<Completion>, Error> {
        if self.in_flight == 0 {
            return Ok(None);
        }
        self.in_flight -= 1;
        self.completions.recv().map_err(|_| super::writer_gone(&self.path))?.map(Some)
    }
}

/// Returns whether an unfinished file contains enough verified bytes to be kept for a later run.
fn is_resumable(written: &[u64]) -> bool {
    written.iter().sum::<u64>() >= MIN_RESUMABLE
}
