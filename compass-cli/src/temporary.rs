//! Temporary directories, of which the next process removes those that a killed one left.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::error::{CliError, Result};

/// A directory that is removed when it is dropped. It is locked as long as it is in use.
#[derive(Debug)]
pub(crate) struct TemporaryDirectory {
    directory: TempDir,
    _lock: File,
}

/// How old a directory without a lock is at least when it is removed. A younger one can be that of a
/// process that is about to lock it.
const MIN_AGE: Duration = Duration::from_mins(1);

/// The prefixes whose directories this process has removed.
static CLEANED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

impl TemporaryDirectory {
    /// Creates a directory. The first time, also removes those with the prefix that killed processes
    /// of this user left.
    pub(crate) fn new(prefix: &'static str) -> Result<Self> {
        let parent = std::env::temp_dir();
        if CLEANED.lock().unwrap_or_else(PoisonError::into_inner).insert(prefix) {
            remove_abandoned(&parent, prefix);
        }
        let create = || -> io::Result<Self> {
            let directory = TempDir::with_prefix(prefix)?;
            let lock = File::open(directory.path())?;
            lock.try_lock()?;
            Ok(Self { directory, _lock: lock })
        };
        create().map_err(|error| {
            let message = format!("cannot create a directory in {}", parent.display());
            CliError::external(&error).context(message)
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Removes the directories of killed processes. What cannot be removed is left to its owner.
fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(prefix) && is_abandoned(&entry.path()) {
            tracing::info!(path = %entry.path().display(), "remove the directory of a killed process");
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a directory belongs to this user, is old enough, and no process has locked it.
fn is_abandoned(path: &Path) -> bool {
    // Links are not followed: only what a process of this program created is removed.
    let Ok(found) = path.symlink_metadata() else { return false };
    let age = found.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && age.is_some_and(|age| age >= MIN_AGE)
        && File::open(path).is_ok_and(|directory| directory.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_directories_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let create = |name: &str, age: u64| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("file"), "text").unwrap();
            let directory = File::open(path).unwrap();
            directory.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            directory
        };
        create("compass-review-old", 120);
        create("compass-review-young", 0);
        create("compass-index-old", 120);
        let locked = create("compass-review-locked", 120);
        locked.try_lock().unwrap();
        std::fs::write(parent.path().join("compass-review-file"), "text").unwrap();
        let link = parent.path().join("compass-review-link");
        std::os::unix::fs::symlink(parent.path().join("compass-index-old"), link).unwrap();
        remove_abandoned(parent.path(), "compass-review-");
        let left = parent.path().read_dir().unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(
            left,
            [
                "compass-index-old",
                "compass-review-file",
                "compass-review-link",
                "compass-review-locked",
                "compass-review-young"
            ]
        );
        assert!(parent.path().join("compass-index-old/file").exists());
    }
}
