//! Programs and rights that a test needs and a machine may lack.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Prints that a test is skipped, or fails if `COMPASS_INTEROP=required` is set, as in CI.
pub(crate) fn skip(missing: &str) {
    let required = std::env::var("COMPASS_INTEROP").is_ok_and(|value| value == "required");
    assert!(!required, "missing here: {missing}");
    eprintln!("SKIPPED: this needs {missing}, which this machine lacks");
}

/// Whether a program runs with these arguments. If not, the test must be skipped.
pub(crate) fn has(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    let runs = output.is_ok_and(|output| output.status.success());
    if !runs {
        skip(program);
    }
    runs
}

/// A small file system in a directory, until it is dropped.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system of `size` at `directory`. Without the right to mount, returns `None`, and the
    /// test must be skipped.
    pub(crate) fn mount(directory: &Path, size: &str) -> Option<Self> {
        let options = ["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(directory).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(directory.to_owned()));
        }
        eprintln!("SKIPPED: a full disk needs the right to mount a small one");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(&self.0).status();
        let is_unmounted = status.is_ok_and(|status| status.success());
        assert!(is_unmounted || std::thread::panicking(), "{} is in use", self.0.display());
    }
}
