//! Reads the policy and the files of a release repository.

use std::path::Path;

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{
    EntryKind, MAX_POINTER_BYTES, Policy, Tree, files_to_read, is_lfs_pointer, unread_packed_files,
};

use super::READ_LIMIT;
use crate::checkout::{Checkout, FileKind};
use crate::error::CliError;
use crate::regular_file;

pub(super) fn read_policy(
    root: &Path,
    named: Option<&Path>,
    checkout: &Checkout,
) -> Result<Policy, CliError> {
    if named.is_none() {
        refuse_other_spelling(checkout)?;
    }
    let (path, bytes) = match named {
        Some(path) => (path.to_owned(), regular_file::read_named(path, READ_LIMIT)),
        // A sparse checkout may have left it out.
        None if checkout.is_committed(POLICY_FILE) => {
            let bytes = checkout.read(&[POLICY_FILE], READ_LIMIT)?.remove(0);
            (root.join(POLICY_FILE), Ok(bytes))
        }
        None => (root.join(POLICY_FILE), regular_file::read(&root.join(POLICY_FILE), READ_LIMIT)),
    };
    match bytes {
        Ok(bytes) => {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            Ok(Policy::read(&shown, &bytes)?)
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(Policy::default())
        }
        Err(error) => {
            let failure = CliError::usage(format!("cannot read {}: {error}", path.display()));
            Err(match named {
                Some(_) => failure,
                None => failure.hint("put the file itself there, or name another: `--policy FILE`"),
            })
        }
    }
}

/// Refuses a file that was meant as the policy and would not be read.
fn refuse_other_spelling(checkout: &Checkout) -> Result<(), CliError> {
    let is_meant = |path: &&str| {
        *path != POLICY_FILE
            && [".compass.yaml", ".compass.yml"].iter().any(|name| name.eq_ignore_ascii_case(path))
    };
    match checkout.files().map(|(path, _)| path).find(is_meant) {
        None => Ok(()),
        Some(path) => {
            Err(CliError::usage(format!("the policy is `{POLICY_FILE}`, and not `{path}`"))
                .hint(format!("rename it: `mv {path} {POLICY_FILE}`")))
        }
    }
}

/// Lists all files of the repository, and reads those that the rules read.
pub(super) fn read_tree(checkout: &Checkout, policy: &Policy) -> Result<Tree, CliError> {
    let mut tree = Tree::new();
    for (path, kind) in checkout.files() {
        tree.insert_entry(path, entry_kind(kind), "");
    }
    read_wanted(&mut tree, policy, |paths| checkout.read(paths, READ_LIMIT))?;
    let packed = unread_packed_files(&tree, policy);
    let paths: Vec<&str> = packed.iter().map(String::as_str).collect();
    for (path, beginning) in paths.iter().zip(checkout.read(&paths, MAX_POINTER_BYTES as u64)?) {
        if is_lfs_pointer(&beginning) {
            tree.insert_entry(*path, EntryKind::LfsPointer, "");
        }
    }
    Ok(tree)
}

/// Adds the contents of the files that the rules read by a policy.
pub(crate) fn read_wanted(
    tree: &mut Tree,
    policy: &Policy,
    mut read: impl FnMut(&[&str]) -> Result<Vec<Vec<u8>>, CliError>,
) -> Result<(), CliError> {
    loop {
        let unread = files_to_read(tree, policy);
        if unread.is_empty() {
            return Ok(());
        }
        let paths: Vec<&str> = unread.iter().map(String::as_str).collect();
        for (path, bytes) in paths.iter().zip(read(&paths)?) {
            tree.insert(*path, bytes);
        }
    }
}

fn entry_kind(kind: FileKind) -> EntryKind {
    match kind {
        FileKind::Regular => EntryKind::File,
        FileKind::Link => EntryKind::Link,
        FileKind::Submodule => EntryKind::Submodule,
        FileKind::Special => EntryKind::Special,
        FileKind::UndecodablePath => EntryKind::UndecodablePath,
    }
}
