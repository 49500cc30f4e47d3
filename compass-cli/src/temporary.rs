//! Temporary directories. A later process removes those that a killed process left.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;
use tempfile::TempDir;

use crate::error::{CliError, Result};

/// A directory that is removed when it is dropped. It is locked as long as it is in use.
#[derive(Debug)]
pub(crate) struct TemporaryDirectory {
    contents: PathBuf,
    directory: TempDir,
    _lock: File,
}

/// The file that is locked as long as a directory is in use. It contains the ID of the boot, because
/// a lock on a network file system may not be visible on other machines.
const LOCK: &str = "lock";

/// The directory beside the lock for the files of the user.
const CONTENTS: &str = "contents";

/// The number of letters and digits after the prefix of a name.
const RANDOM_CHARACTERS: usize = 6;

/// The minimum age of a directory that is removed. A younger one may belong to a process that is
/// about to lock it.
const MIN_AGE: Duration = Duration::from_mins(1);

/// The maximum size of a lock file in bytes.
const MAX_LOCK: u64 = 256;

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
        Self::create_in(&parent, prefix).map_err(|error| {
            let message = format!("cannot create a directory in {}", parent.display());
            CliError::external(&error).context(message)
        })
    }

    fn create_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(prefix)
            .rand_bytes(RANDOM_CHARACTERS)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let mut lock = File::create_new(directory.path().join(LOCK))?;
        // A file system may not support locks. The lock file stays empty there, so that no other
        // process removes the directory.
        if let (Ok(()), Some(boot)) = (lock.try_lock(), boot_id()) {
            lock.write_all(boot.as_bytes())?;
        }
        let contents = directory.path().join(CONTENTS);
        std::fs::create_dir(&contents)?;
        Ok(Self { contents, directory, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.contents
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // The lock file is removed last, so that a later process can continue.
        if std::fs::remove_dir_all(&self.contents).is_err() {
            self.directory.disable_cleanup(true);
        }
    }
}

/// Removes the directories that killed processes left. Skips a directory that cannot be removed.
fn remove_abandoned(parent: &Path, prefix: &str) {
    for entry in parent.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_name().to_str().is_some_and(|name| is_temporary(name, prefix)) {
            continue;
        }
        if let Some(_lock) = lock_abandoned(&path) {
            tracing::info!(path = %path.display(), "remove the directory of a killed process");
            let contents = path.join(CONTENTS);
            let _ = std::fs::remove_dir_all(&contents);
            if !contents.exists() {
                let _ = std::fs::remove_dir_all(path);
            }
        }
    }
}

/// Whether a name has the form that [`TemporaryDirectory::new`] chooses.
fn is_temporary(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|random| {
        random.len() == RANDOM_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Locks a directory that a process of this user created since the boot and does not use any more.
fn lock_abandoned(path: &Path) -> Option<File> {
    // Does not follow a link to a directory of another program.
    let found = path.symlink_metadata().ok()?;
    let age = SystemTime::now().duration_since(found.modified().ok()?).ok()?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !is_own || age < MIN_AGE {
        return None;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let lock = path.join(LOCK);
    let lock = OpenOptions::new().read(true).write(true).custom_flags(flags).open(lock).ok()?;
    lock.try_lock().ok()?;
    let mut boot = String::new();
    (&lock).take(MAX_LOCK).read_to_string(&mut boot).ok()?;
    (boot_id()? == boot).then_some(lock)
}

/// The ID that Linux chooses at each boot. `None` on other systems.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "compass-review-";

    /// A directory as a killed process of this boot leaves it.
    fn abandon(parent: &Path, name: &str) -> PathBuf {
        let path = parent.join(name);
        std::fs::create_dir_all(path.join(CONTENTS)).unwrap();
        std::fs::write(path.join(LOCK), boot_id().unwrap()).unwrap();
        std::fs::write(path.join(CONTENTS).join("file"), "text").unwrap();
        path
    }

    fn make_old(path: &Path) {
        let time = SystemTime::now() - MIN_AGE * 2;
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    fn names(parent: &Path) -> Vec<String> {
        let entries = parent.read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn abandoned_directory_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        make_old(&abandon(parent.path(), "compass-review-Abc123"));
        remove_abandoned(parent.path(), PREFIX);
        assert_eq!(names(parent.path()), [""; 0]);
    }

    #[test]
    fn directories_of_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path();
        for name in ["compass-index-Abc123", "compass-review-notes", "compass-review-Abc12-"] {
            make_old(&abandon(parent, name));
        }
        abandon(parent, "compass-review-young1");
        let unmarked = abandon(parent, "compass-review-nolock");
        std::fs::remove_file(unmarked.join(LOCK)).unwrap();
        make_old(&unmarked);
        let unlockable = abandon(parent, "compass-review-empty1");
        std::fs::write(unlockable.join(LOCK), "").unwrap();
        make_old(&unlockable);
        let other_boot = abandon(parent, "compass-review-other1");
        std::fs::write(other_boot.join(LOCK), "0d5c4a3e-0000-4000-8000-000000000000").unwrap();
        make_old(&other_boot);
        let linked = abandon(parent, "linked");
        make_old(&linked);
        std::os::unix::fs::symlink(&linked, parent.join("compass-review-link12")).unwrap();
        std::fs::write(parent.join("compass-review-file12"), "text").unwrap();
        let before = names(parent);
        remove_abandoned(parent, PREFIX);
        assert_eq!(names(parent), before);
        assert!(linked.join(CONTENTS).join("file").exists());
    }

    #[test]
    fn used_directory_stays_until_drop() {
        let parent = tempfile::tempdir().unwrap();
        let used = TemporaryDirectory::create_in(parent.path(), PREFIX).unwrap();
        std::fs::write(used.path().join("file"), "text").unwrap();
        make_old(used.path().parent().unwrap());
        remove_abandoned(parent.path(), PREFIX);
        assert!(used.path().join("file").exists());
        drop(used);
        assert_eq!(names(parent.path()), [""; 0]);
    }
}
