//! The file of a journal.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Pending, Task};
use crate::error::{CliError, Result};
use crate::fs::write_error;

/// The name of the file in its directory.
const NAME: &str = "deliveries.jsonl";

/// The size in bytes from which the file is rewritten without finished lines.
const REWRITE_SIZE: u64 = 1 << 20;

/// The maximum number of pull requests that are pending one by one. Beyond it, all open pull requests
/// are.
const MAX_PENDING: usize = 10_000;

/// How long the start waits for the lock of a bot that ends.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum size of the file when it is read. A file of this program is smaller.
const MAX_SIZE: u64 = 64 << 20;

/// The open file, and its unfinished tasks.
#[derive(Debug)]
pub(super) struct JournalFile {
    directory: PathBuf,
    /// `None` after a write failed and the file could not be restored.
    file: Option<File>,
    /// The size of the complete lines.
    size: u64,
    /// The size from which the file is rewritten.
    rewrite_size: u64,
    /// The lines that are not written yet.
    unwritten: Vec<u8>,
    is_sync_needed: bool,
    last_number: u64,
    pending: BTreeMap<Task, Received>,
    /// Keeps other processes from using the directory.
    _lock: File,
}

/// The last delivery for a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Received {
    number: u64,
    /// The identifier of the forge.
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Received {
        task: Task,
        #[serde(flatten)]
        delivery: Received,
    },
    Finished {
        task: Task,
        /// The number of the last delivery that is finished.
        number: u64,
    },
}

impl JournalFile {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let failed = |error: io::Error| write_error(directory, &error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // A directory that is new is on disk before the first delivery.
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
        }
        let lock = lock(directory)?;
        let mut journal = Self {
            directory: directory.to_owned(),
            file: None,
            size: 0,
            rewrite_size: REWRITE_SIZE,
            unwritten: Vec::new(),
            is_sync_needed: false,
            last_number: 0,
            pending: BTreeMap::new(),
            _lock: lock,
        };
        journal.read().map_err(failed)?;
        journal.rewrite().map_err(failed)?;
        Ok(journal)
    }

    /// The unfinished tasks.
    pub(super) fn pending(&self) -> Vec<Pending> {
        let pending = self.pending.iter();
        pending.map(|(&task, received)| Pending { task, delivery: received.number }).collect()
    }

    /// Adds a delivery; returns its number. [`Self::write`] writes it.
    pub(super) fn add_received(&mut self, id: &str, task: Task) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let delivery = Received { number, id: id.to_owned() };
        self.is_sync_needed = true;
        self.add_line(&Line::Received { task, delivery: delivery.clone() });
        self.apply_received(task, delivery);
        number
    }

    /// Adds the end of a task. [`Self::write`] writes it.
    pub(super) fn add_finished(&mut self, done: Pending) {
        let Pending { task, delivery } = done;
        if self.apply_finished(task, delivery) {
            self.add_line(&Line::Finished { task, number: delivery });
        }
    }

    /// Writes the added lines.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let written = self.append();
        if written.is_err() {
            // Half a line must not stay before the next one.
            let size = self.size;
            let restore = |mut file: File| {
                file.set_len(size).and_then(|()| file.seek(SeekFrom::Start(size))).ok()?;
                Some(file)
            };
            self.file = self.file.take().and_then(restore);
        }
        self.unwritten.clear();
        self.is_sync_needed = false;
        written
    }

    fn append(&mut self) -> io::Result<()> {
        if self.file.is_none() || self.size >= self.rewrite_size {
            // The rewritten file has the new lines too.
            return self.rewrite();
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(&self.unwritten)?;
        // If a finished line is lost, its task is done again.
        if self.is_sync_needed {
            file.sync_data()?;
        }
        self.size += self.unwritten.len() as u64;
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        match File::open(self.directory.join(NAME)) {
            Ok(file) => file.take(MAX_SIZE).read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // A crash can leave half a line at the end. Its delivery was not acknowledged.
        let complete = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in text[..complete].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(Line::Received { task, delivery }) => {
                    self.last_number = self.last_number.max(delivery.number);
                    self.apply_received(task, delivery);
                }
                Ok(Line::Finished { task, number }) => drop(self.apply_finished(task, number)),
                Err(error) => {
                    tracing::warn!(%error, "a line of the journal is damaged: all open pull \
                                            requests are looked at instead");
                }
            }
        }
        Ok(())
    }

    fn apply_received(&mut self, task: Task, delivery: Received) {
        let is_new = !self.pending.contains_key(&task);
        let task = if is_new && self.pending.len() >= MAX_PENDING { Task::Scan } else { task };
        self.pending.insert(task, delivery);
    }

    /// Removes a task that has no later delivery; returns whether it did.
    fn apply_finished(&mut self, task: Task, number: u64) -> bool {
        let is_done = self.pending.get(&task).is_some_and(|received| received.number <= number);
        is_done && self.pending.remove(&task).is_some()
    }

    fn add_line(&mut self, line: &Line) {
        // Serializing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.unwritten, line);
        self.unwritten.push(b'\n');
    }

    /// Replaces the file by one with the unfinished tasks.
    fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        self.unwritten.clear();
        for (task, delivery) in self.pending.clone() {
            self.add_line(&Line::Received { task, delivery });
        }
        let path = self.directory.join(NAME);
        let mut builder = tempfile::Builder::new();
        let mut file = builder.prefix(".").suffix(".part").tempfile_in(&self.directory)?;
        file.write_all(&self.unwritten)?;
        file.as_file().sync_all()?;
        let file = file.persist(&path).map_err(|error| error.error)?;
        File::open(&self.directory)?.sync_all()?;
        self.size = self.unwritten.len() as u64;
        self.rewrite_size = REWRITE_SIZE.max(2 * self.size);
        self.unwritten.clear();
        self.file = Some(file);
        Ok(())
    }
}

/// Locks a directory.
///
/// A git process that a killed bot has just forked has the lock for a moment, until it runs its program.
fn lock(directory: &Path) -> Result<File> {
    let failed = |error: io::Error| write_error(directory, &error);
    let mut options = File::options();
    options.create(true).write(true).truncate(false);
    let lock = options.open(directory.join(".lock")).map_err(failed)?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_TIMEOUT / 50);
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!("another bot uses the directory {}", directory.display());
                return Err(CliError::usage(message)
                    .hint("stop it, or name another directory with `--state`"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(journal: &mut JournalFile, task: Task) -> u64 {
        let number = journal.add_received("id", task);
        journal.write().unwrap();
        number
    }

    #[test]
    fn journal_torn_line_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        add(&mut journal, Task::Pull(1));
        add(&mut journal, Task::Pull(2));
        drop(journal);
        let path = directory.path().join(NAME);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 3]).unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        assert_eq!(journal.pending(), [Pending { task: Task::Pull(1), delivery: 1 }]);
        add(&mut journal, Task::Pull(3));
        drop(journal);
        assert_eq!(JournalFile::open(directory.path()).unwrap().pending().len(), 2);
    }

    #[test]
    fn journal_is_rewritten_when_large() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        add(&mut journal, Task::Pull(1));
        for number in 0..20_000_u64 {
            let task = Task::Pull(2 + number % 5);
            let delivery = journal.add_received("72d3162e-cc78-11e3-81ab-4c9367dc0958", task);
            journal.add_finished(Pending { task, delivery });
            if number % 100 == 0 {
                journal.write().unwrap();
            }
        }
        journal.write().unwrap();
        let size = std::fs::metadata(directory.path().join(NAME)).unwrap().len();
        assert!(size < REWRITE_SIZE + (100 << 10), "{size}");
        assert_eq!(journal.pending(), [Pending { task: Task::Pull(1), delivery: 1 }]);
    }

    #[test]
    fn journal_numbers_continue_after_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        add(&mut journal, Task::Pull(1));
        let last = add(&mut journal, Task::Pull(2));
        drop(journal);
        let mut journal = JournalFile::open(directory.path()).unwrap();
        assert!(add(&mut journal, Task::Pull(2)) > last);
    }

    #[test]
    fn journal_second_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let _journal = JournalFile::open(directory.path()).unwrap();
        let error = JournalFile::open(directory.path()).unwrap_err();
        assert!(error.message.contains("another bot"), "{error}");
    }

    #[test]
    fn journal_many_tasks_become_scan() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::open(directory.path()).unwrap();
        for number in 0..MAX_PENDING as u64 + 5 {
            journal.add_received("id", Task::Pull(number));
        }
        journal.write().unwrap();
        let pending = journal.pending();
        assert_eq!(pending.len(), MAX_PENDING + 1);
        assert_eq!(pending.last().unwrap().task, Task::Scan);
    }
}
