//! The unfinished file: writes framed bytes to it, and records which bytes of each blob it
//! contains, so that a later run can resume (bundle format, "Beside a bundle").

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

use super::frame::FramedChunk;
use crate::Error;
use crate::part_file::{KeepOnDrop, PartFile, open_own};
use crate::plan::BundlePlan;

/// Number of written bytes after which the page cache is written to the disk.
///
/// Otherwise the final sync would wait for all of them.
const SYNC_INTERVAL: u64 = 32 << 20;

/// Number of recorded bytes below which an interrupted run does not keep its file.
const MIN_RESUMABLE: u64 = 1 << 20;

/// The unfinished file. Tasks write blobs in any order; [`super::hash`] follows.
pub(super) struct Output {
    file: File,
    path: PathBuf,
    journal: Journal,
    state: Mutex<State>,
    changed: Condvar,
    keep_on_drop: KeepOnDrop,
    written: AtomicU64,
    /// Locked during a sync in the background. Holds its first error.
    sync_error: Mutex<Option<io::Error>>,
}

/// A chunk to write, for [`Output::write_chunks`].
pub(super) struct ChunkWrite {
    /// The number of the blob in the plan.
    pub(super) blob: usize,
    pub(super) chunk: FramedChunk,
    /// Receives the chunk after it was written.
    pub(super) done: oneshot::Sender<Result<FramedChunk, Error>>,
}

struct State {
    blobs: Vec<WrittenRanges>,
    is_stopped: bool,
}

/// The ranges of a blob that the file contains in all places.
#[derive(Debug, Clone, Default)]
struct WrittenRanges {
    /// Number of bytes from the start of the blob.
    prefix: u64,
    /// The ranges after the prefix, from start to end.
    later: BTreeMap<u64, u64>,
}

impl WrittenRanges {
    fn insert(&mut self, range: Range<u64>) {
        self.later.insert(range.start, range.end);
        while let Some(end) = self.later.remove(&self.prefix) {
            self.prefix = end;
        }
    }
}

impl Output {
    /// Opens the journal of the unfinished file.
    pub(super) fn open(part: &PartFile, plan: &BundlePlan) -> Result<Self, Error> {
        let (journal, prefixes) = Journal::open(part.part(), plan)?;
        let blobs =
            prefixes.into_iter().map(|prefix| WrittenRanges { prefix, ..Default::default() });
        let output = Self {
            file: part.handle()?,
            path: part.part().to_owned(),
            journal,
            state: Mutex::new(State { blobs: blobs.collect(), is_stopped: false }),
            changed: Condvar::new(),
            keep_on_drop: part.keep_on_drop(),
            written: AtomicU64::new(0),
            sync_error: Mutex::new(None),
        };
        output.update_keep_on_drop(&output.state());
        Ok(output)
    }

    /// Number of bytes from the start of each blob that the file contains.
    pub(super) fn prefixes(&self) -> Vec<u64> {
        self.state().blobs.iter().map(|blob| blob.prefix).collect()
    }

    /// Number of bytes from the start of a blob that the file contains.
    pub(super) fn prefix(&self, blob: usize) -> u64 {
        self.state().blobs[blob].prefix
    }

    /// Writes chunks until all senders are dropped. Blocks.
    ///
    /// One thread is as fast as the page cache; more would take memory.
    pub(super) fn write_chunks(self: Arc<Self>, mut writes: Receiver<ChunkWrite>) {
        while let Some(ChunkWrite { blob, chunk, done }) = writes.blocking_recv() {
            let written = self.write_chunk(blob, &chunk);
            // A cancelled fetch does not wait for the chunk.
            let _ = done.send(written.map(|()| chunk));
        }
    }

    /// Writes content of a blob to all its places, and records it.
    fn write_chunk(self: &Arc<Self>, blob: usize, chunk: &FramedChunk) -> Result<(), Error> {
        for (offset, bytes) in chunk.placements() {
            self.write(offset, bytes)?;
        }
        let mut state = self.state();
        let ranges = &mut state.blobs[blob];
        let before = ranges.prefix;
        ranges.insert(chunk.content());
        if ranges.prefix > before {
            self.journal.record(blob, ranges.prefix)?;
            self.update_keep_on_drop(&state);
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Writes bytes at an offset. Blocks.
    pub(super) fn write(self: &Arc<Self>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(Error::io("write", &self.path))?;
        let length = bytes.len() as u64;
        let before = self.written.fetch_add(length, Ordering::Relaxed);
        if before / SYNC_INTERVAL != (before + length) / SYNC_INTERVAL {
            self.sync_in_background();
        }
        Ok(())
    }

    /// Reads bytes at an offset. Blocks.
    pub(super) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(bytes, offset).map_err(Error::io("read", &self.path))
    }

    /// Waits until the file contains more than `known` bytes from the start of a blob, and returns
    /// their number; `None` after [`Self::stop`]. Blocks.
    pub(super) fn wait_for_more(&self, blob: usize, known: u64) -> Option<u64> {
        let is_waiting = |state: &mut State| !state.is_stopped && state.blobs[blob].prefix <= known;
        let state = self.changed.wait_while(self.state(), is_waiting);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        (!state.is_stopped).then(|| state.blobs[blob].prefix)
    }

    /// Forgets all bytes of a blob, because they are wrong.
    pub(super) fn discard(&self, blob: usize) -> Result<(), Error> {
        let mut state = self.state();
        state.blobs[blob] = WrittenRanges::default();
        self.update_keep_on_drop(&state);
        self.journal.record(blob, 0)
    }

    /// Ends all waits: no more bytes are written.
    pub(super) fn stop(&self) {
        self.state().is_stopped = true;
        self.changed.notify_all();
    }

    /// Syncs the file to the disk. Blocks.
    pub(super) fn sync(&self) -> Result<(), Error> {
        // Wait for a sync in the background: the system reports an error only once.
        let error = self.sync_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        let synced = error.map_or_else(|| self.file.sync_all(), Err);
        synced.map_err(Error::io("write", &self.path))
    }

    /// Syncs the written bytes in another thread, unless one does already.
    fn sync_in_background(self: &Arc<Self>) {
        let output = Arc::clone(self);
        let sync = move || {
            let mut error = match output.sync_error.try_lock() {
                Ok(error) => error,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if let Err(new) = output.file.sync_data() {
                error.get_or_insert(new);
            }
        };
        // Without a thread, the final sync takes longer.
        let _ = std::thread::Builder::new().name("sync".to_owned()).spawn(sync);
    }

    fn update_keep_on_drop(&self, state: &State) {
        let recorded: u64 = state.blobs.iter().map(|blob| blob.prefix).sum();
        self.keep_on_drop.set(recorded >= MIN_RESUMABLE);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of the header of a journal in bytes.
const HEADER: usize = 80;

/// A file with one number for each blob: how many of its bytes are written.
///
/// The numbers are only a hint: the digests of all blobs are compared.
struct Journal {
    file: File,
    path: PathBuf,
}

/// The path of the journal of an unfinished bundle.
pub(super) fn journal_path(part: &Path) -> PathBuf {
    let mut path = part.as_os_str().to_owned();
    path.push(".journal");
    path.into()
}

impl Journal {
    /// Opens the journal, or creates it. Returns the written bytes of all blobs; they are 0 if the
    /// file belongs to another plan.
    fn open(part: &Path, plan: &BundlePlan) -> Result<(Self, Vec<u64>), Error> {
        let path = journal_path(part);
        let mut file = open_own(&path)?;
        let header = header(plan);
        let limit = HEADER + 8 * plan.blobs().len();
        let mut bytes = Vec::new();
        let read = (&mut file).take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(Error::io("read", &path))?;
        let written = match bytes.strip_prefix(&header[..]) {
            Some(numbers) if bytes.len() == limit => parse(numbers, plan),
            _ => {
                let begin = file.set_len(0).and_then(|()| file.set_len(limit as u64));
                begin.map_err(Error::io("write", &path))?;
                file.write_all_at(&header, 0).map_err(Error::io("write", &path))?;
                vec![0; plan.blobs().len()]
            }
        };
        Ok((Self { file, path }, written))
    }

    /// Records how many bytes of a blob are written.
    fn record(&self, blob: usize, written: u64) -> Result<(), Error> {
        let offset = (HEADER + 8 * blob) as u64;
        let recorded = self.file.write_all_at(&written.to_le_bytes(), offset);
        recorded.map_err(Error::io("write", &self.path))
    }
}

fn header(plan: &BundlePlan) -> [u8; HEADER] {
    let mut header = [b' '; HEADER];
    header[..16].copy_from_slice(b"compass-journal1");
    header[16..].copy_from_slice(plan.digest().hex().as_bytes());
    header
}

fn parse(bytes: &[u8], plan: &BundlePlan) -> Vec<u64> {
    let numbers = bytes.chunks_exact(8).zip(plan.blobs()).map(|(bytes, blob)| {
        let written = bytes.try_into().map_or(0, u64::from_le_bytes);
        if written <= blob.descriptor.size { written } else { 0 }
    });
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_ranges_prefix_ends_at_first_gap() {
        let mut ranges = WrittenRanges::default();
        ranges.insert(10..20);
        ranges.insert(30..40);
        assert_eq!(ranges.prefix, 0);
        ranges.insert(0..10);
        assert_eq!(ranges.prefix, 20);
        ranges.insert(20..30);
        assert_eq!((ranges.prefix, ranges.later.len()), (40, 0));
    }

    #[test]
    fn written_ranges_after_resume_extend_prefix() {
        let mut ranges = WrittenRanges { prefix: 7, ..WrittenRanges::default() };
        ranges.insert(9..12);
        ranges.insert(7..9);
        assert_eq!(ranges.prefix, 12);
    }
}
