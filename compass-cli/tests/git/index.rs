//! Differences between the commit, the index and the work tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use super::{Clone, GPU, LOG, plugin};

/// A manifest with the port of the other plugin.
fn conflicting() -> String {
    plugin("log", "v0.1.0", 9001)
}

#[test]
fn check_touched_file_keeps_index() {
    let clone = Clone::new();
    let state = || {
        let index = fs::metadata(clone.directory.path().join(".git/index")).unwrap();
        (index.modified().unwrap(), fs::read(clone.directory.path().join(".git/index")).unwrap())
    };
    let before = state();
    fs::File::options()
        .append(true)
        .open(clone.root().join(LOG))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    assert!(clone.found(&["--base", "main"]).is_empty());
    assert!(state() == before, "the index was written");
    // Another git command may hold the lock.
    fs::write(clone.directory.path().join(".git/index.lock"), "").unwrap();
    assert!(clone.found(&["--base", "main"]).is_empty());
}

#[test]
fn check_staged_and_deleted_is_absent() {
    let clone = Clone::new();
    let path = "release-plugins/new.yaml";
    clone.write(path, &conflicting());
    clone.git(&["add", path]);
    assert!(!clone.found(&[]).is_empty());
    fs::remove_file(clone.root().join(path)).unwrap();
    assert!(clone.found(&[]).is_empty());
    assert!(clone.found(&["--base", "main"]).is_empty());
}

#[test]
fn check_staged_and_restored_is_committed() {
    let clone = Clone::new();
    clone.write(LOG, &conflicting());
    clone.git(&["add", LOG]);
    assert!(!clone.found(&[]).is_empty());
    clone.write(LOG, &plugin("log", "v0.1.0", 9002));
    assert!(clone.found(&[]).is_empty());
    assert!(clone.found(&["--base", "main"]).is_empty());
}

#[test]
fn check_sparse_checkout_reads_index() {
    let clone = Clone::new();
    clone.bump_gpu();
    clone.write(LOG, &plugin("log", "v0.1.1", 9001));
    clone.commit();
    let complete = (clone.found(&[]), clone.found(&["--base", "main"]));
    assert!(complete.0.iter().any(|one| one.starts_with("port-conflict")), "{complete:?}");
    clone.git(&["sparse-checkout", "set", "--no-cone", "/docs/", GPU]);
    // The index keeps the committed entries.
    clone.git(&["reset", "-q", "--soft", "main"]);
    assert!(!clone.root().join(LOG).exists());
    assert_eq!((clone.found(&[]), clone.found(&["--base", "main"])), complete);
}

#[test]
fn check_directory_link_is_not_followed() {
    let clone = Clone::new();
    clone.write("elsewhere/log.yaml", &conflicting());
    fs::rename(clone.root().join("release-plugins"), clone.root().join("moved")).unwrap();
    symlink("elsewhere", clone.root().join("release-plugins")).unwrap();
    assert_eq!(clone.found(&[]), ["not-regular-file release-plugins"]);
}

#[test]
fn check_directory_replaces_file() {
    let clone = Clone::new();
    fs::remove_file(clone.root().join(GPU)).unwrap();
    clone.write(&format!("{GPU}/inner.txt"), "");
    assert_eq!(clone.found(&[]), [format!("file-misplaced {GPU}/inner.txt")]);
}
