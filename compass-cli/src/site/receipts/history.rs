//! The receipts of one plugin, addon or product, and the journal of its hand-over.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use compass_registry::Digest;
use serde::{Deserialize, Serialize};

use super::{Receipt, number, read, receipt_names};
use crate::error::{CliError, Result};
use crate::fs as files;

/// The name of the journal of an unfinished hand-over.
const JOURNAL: &str = "unfinished.json";

/// The receipts of one plugin, addon or product, locked against other installations.
#[derive(Debug)]
pub(crate) struct History {
    directory: PathBuf,
    /// The file names, in order.
    names: Vec<String>,
    current: Option<Receipt>,
    _lock: File,
}

/// The applied files of an unfinished hand-over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// The digest of the command that applied them.
    pub(crate) command: Digest,
    /// The paths, with the digests of their contents.
    pub(crate) applied: Vec<(String, Digest)>,
}

impl History {
    /// Locks the receipts in a directory, and reads the latest one. Calls `wait` before it waits for
    /// another process. Blocks.
    pub(super) fn open(directory: PathBuf, wait: impl FnOnce()) -> Result<Self> {
        fs::create_dir_all(&directory).map_err(|error| files::write_error(&directory, &error))?;
        let path = directory.join(".lock");
        let lock = || {
            let file = File::options().create(true).write(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    wait();
                    file.lock()?;
                }
                locked => locked?,
            }
            Ok(file)
        };
        let lock = lock().map_err(|error| files::write_error(&path, &error))?;
        let names = receipt_names(&directory)?;
        let current = names.last().map(|name| read(&directory.join(name))).transpose()?;
        Ok(Self { directory, names, current, _lock: lock })
    }

    /// Returns the latest receipt.
    pub(crate) fn current(&self) -> Option<&Receipt> {
        self.current.as_ref()
    }

    /// Returns the latest receipt that has other images or files than the current one.
    pub(crate) fn before(&self) -> Result<Option<Receipt>> {
        let Some(current) = &self.current else { return Ok(None) };
        for name in self.names.iter().rev().skip(1) {
            let receipt = read(&self.directory.join(name))?;
            if !receipt.has_contents_of(current) {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }

    /// Writes a receipt as the latest one, and ends the journal. Returns the path.
    pub(crate) fn add(&self, mut receipt: Receipt) -> Result<PathBuf> {
        receipt.previous = self.names.last().cloned();
        let last = receipt.previous.as_deref().and_then(number).unwrap_or(0);
        let path = self.directory.join(format!("{:06}.json", last + 1));
        write_json(&path, &receipt)?;
        self.clear_journal()?;
        Ok(path)
    }

    /// Returns the journal of an unfinished hand-over.
    pub(crate) fn journal(&self) -> Option<Journal> {
        let text = fs::read(self.directory.join(JOURNAL)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes the journal.
    pub(crate) fn set_journal(&self, journal: &Journal) -> Result<()> {
        write_json(&self.directory.join(JOURNAL), journal)
    }

    pub(crate) fn clear_journal(&self) -> Result<()> {
        let path = self.directory.join(JOURNAL);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(files::write_error(&path, &error))
            }
            _ => Ok(()),
        }
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| CliError::external(&error))?;
    text.push(b'\n');
    files::write(path, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(directory: &Path) -> History {
        History::open(directory.to_owned(), || {}).unwrap()
    }

    fn add(directory: &Path, version: &str) -> PathBuf {
        let receipt = Receipt::new("plugin", "gpu", version, "site/x".to_owned());
        history(directory).add(receipt).unwrap()
    }

    #[test]
    fn history_receipts_are_numbered_and_linked() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["v1", "v2", "v3"].map(|version| add(directory.path(), version));
        assert!(paths[2].ends_with("000003.json"));
        let history = history(directory.path());
        let current = history.current().unwrap();
        assert_eq!(current.version, "v3");
        assert_eq!(current.previous.as_deref(), Some("000002.json"));
        assert_eq!(history.before().unwrap().unwrap().version, "v2");
    }

    #[test]
    fn history_before_skips_repeated_installations() {
        let directory = tempfile::tempdir().unwrap();
        for version in ["v1", "v2", "v2", "v2"] {
            add(directory.path(), version);
        }
        assert_eq!(history(directory.path()).before().unwrap().unwrap().version, "v1");
    }

    #[test]
    fn history_waits_for_other_installation() {
        let directory = tempfile::tempdir().unwrap();
        let first = history(directory.path());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let wait = move || sender.send(()).unwrap();
            let second = scope.spawn(|| History::open(directory.path().to_owned(), wait));
            receiver.recv().unwrap();
            drop(first);
            second.join().unwrap().unwrap();
        });
    }
}
