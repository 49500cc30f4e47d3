//! The threads that bring bytes to the disk, so that neither the network nor a hash waits for it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use compass_registry::direct_io::{AlignedBuffer, DirectFile};

use super::journal::Journal;
use super::part_file::Keeper;
use crate::Error;

/// Writes that are under way at once. Past the cache, each waits for the disk.
const THREADS: usize = 3;

/// Bytes in the cache between two requests to the system to write what it holds back, so that the
/// end of a run does not wait for everything at once.
const FLUSH: u64 = 32 << 20;

/// Bytes of blobs that an interrupted run leaves for the next one; less is fetched again.
const WORTH_KEEPING: u64 = 1 << 20;

/// Bytes for one place in the file.
pub(super) struct Write {
    /// Writes are numbered in their order.
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) bytes: AlignedBuffer,
    /// What can be noted when they are written.
    pub(super) mark: Option<Mark>,
    /// Whether somebody reads them back soon.
    pub(super) cached: bool,
    /// Whether they are to be hashed when they are written.
    pub(super) early: bool,
}

/// Bytes that have been written.
pub(super) struct Done {
    pub(super) range: Range<u64>,
    /// Whether they are to be hashed now.
    pub(super) early: bool,
}

/// How many bytes of a blob have been written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) blob: usize,
    pub(super) written: u64,
}

/// Memory of chunks that have been written, for the next ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<AlignedBuffer>>>);

impl Pool {
    pub(super) fn take(&self) -> AlignedBuffer {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, buffer: AlignedBuffer) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// What all threads share.
pub(super) struct Disk {
    file: DirectFile,
    journal: Journal,
    notes: Mutex<Notes>,
    keeper: Keeper,
    pool: Pool,
    path: PathBuf,
    in_cache: AtomicU64,
}

/// What the journal says, and what it may say as soon as everything before has ended: threads do not
/// end in the order of their writes.
struct Notes {
    marks: Vec<u64>,
    /// The first write that has not ended.
    first: u64,
    ended: BTreeMap<u64, Option<Mark>>,
}

/// The threads at work.
pub(super) struct Disks {
    writes: SyncSender<Write>,
    done: Receiver<Result<Done, Error>>,
    under_way: usize,
    path: PathBuf,
}

impl Disk {
    pub(super) fn new(
        file: DirectFile,
        (journal, marks): (Journal, Vec<u64>),
        keeper: Keeper,
        pool: Pool,
        path: &Path,
    ) -> Self {
        keeper.keep(is_worth_keeping(&marks));
        let notes = Mutex::new(Notes { marks, first: 0, ended: BTreeMap::new() });
        let (path, in_cache) = (path.to_owned(), AtomicU64::new(0));
        Self { file, journal, notes, keeper, pool, path, in_cache }
    }

    /// Starts the threads. They end when nobody gives them anything more.
    pub(super) fn start<'s>(&'s self, scope: &'s Scope<'s, '_>) -> Disks {
        let (writes, given) = mpsc::sync_channel(1);
        let (finished, done) = mpsc::channel();
        let given = Arc::new(Mutex::new(given));
        for _ in 0..THREADS {
            let (given, finished) = (Arc::clone(&given), finished.clone());
            scope.spawn(move || self.work(&given, &finished));
        }
        Disks { writes, done, under_way: 0, path: self.path.clone() }
    }

    fn work(&self, given: &Mutex<Receiver<Write>>, finished: &Sender<Result<Done, Error>>) {
        loop {
            let next = given.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(write) = next else { return };
            // Nobody is interested any more where this fails.
            let _ = finished.send(self.carry_out(write));
        }
    }

    fn carry_out(&self, write: Write) -> Result<Done, Error> {
        let Write { number, offset, bytes, mark, cached, early } = write;
        let range = offset..offset + bytes.len() as u64;
        let written = if cached || !self.file.uses_direct_io() {
            let written = self.file.file().write_all_at(bytes.bytes(), offset);
            written.and_then(|()| self.flush_when_due(bytes.len() as u64))
        } else {
            self.file.write_all_at(bytes.bytes(), offset)
        };
        written.map_err(Error::io("write", &self.path))?;
        // What comes early comes in other sizes.
        if !cached {
            self.pool.put(bytes);
        }
        self.ended(number, mark)?;
        Ok(Done { range, early })
    }

    fn flush_when_due(&self, written: u64) -> std::io::Result<()> {
        let before = self.in_cache.fetch_add(written, Ordering::Relaxed);
        if before / FLUSH == (before + written) / FLUSH {
            return Ok(());
        }
        self.file.file().sync_data()
    }

    /// A write has ended, or what is to be noted needs none. It is noted when everything before it
    /// stands in the file as well.
    pub(super) fn ended(&self, number: u64, mark: Option<Mark>) -> Result<(), Error> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.ended.insert(number, mark);
        loop {
            let first = notes.first;
            let Some(mark) = notes.ended.remove(&first) else { return Ok(()) };
            notes.first += 1;
            let Some(Mark { blob, written }) = mark else { continue };
            self.journal.mark(blob, written)?;
            notes.marks[blob] = written;
            self.keeper.keep(is_worth_keeping(&notes.marks));
        }
    }
}

impl Disks {
    /// Gives bytes to a thread. This waits while all are busy.
    pub(super) fn write(&mut self, write: Write) -> Result<(), Error> {
        self.under_way += 1;
        self.writes.send(write).map_err(|_| super::stopped(&self.path))
    }

    /// A write that has come to its end, if there is one.
    pub(super) fn done(&mut self) -> Result<Option<Done>, Error> {
        let Ok(done) = self.done.try_recv() else { return Ok(None) };
        self.under_way -= 1;
        done.map(Some)
    }

    /// Waits for the end of a write; nothing where none is under way.
    pub(super) fn wait(&mut self) -> Result<Option<Done>, Error> {
        if self.under_way == 0 {
            return Ok(None);
        }
        self.under_way -= 1;
        self.done.recv().map_err(|_| super::stopped(&self.path))?.map(Some)
    }
}

/// Whether an unfinished file spares a later run more than it is in the way.
fn is_worth_keeping(marks: &[u64]) -> bool {
    marks.iter().sum::<u64>() >= WORTH_KEEPING
}
