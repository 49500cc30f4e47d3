//! Reads the policy and the files of a release repository.

use std::path::Path;

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::{
    EntryKind, MAX_POINTER_BYTES, Policy, Tree, is_lfs_pointer, rules, unread_packed_files,
};

use crate::built_in_policy::BUILT_IN_POLICY;
use crate::checkout::Checkout;
use crate::error::{CliError, Result};
use crate::regular_file;
use crate::rule_files::{READ_LIMIT, read_rule_files};

/// Reads the policy file `named`, or the one of the repository; the built-in policy if there is none.
pub(super) fn read_policy(
    root: &Path,
    named: Option<&Path>,
    checkout: &Checkout,
) -> Result<Policy> {
    if named.is_none() {
        check_spelling(checkout)?;
    }
    let (path, bytes) = match named {
        Some(path) => (path.to_owned(), regular_file::read_named(path, READ_LIMIT)),
        // A sparse checkout may have omitted the file.
        None if checkout.is_committed(POLICY_FILE) => {
            let bytes = checkout.read(&[POLICY_FILE], READ_LIMIT)?.remove(0);
            (root.join(POLICY_FILE), Ok(bytes))
        }
        None => (root.join(POLICY_FILE), regular_file::read(&root.join(POLICY_FILE), READ_LIMIT)),
    };
    match bytes {
        Ok(bytes) => {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let policy = BUILT_IN_POLICY.overlay(&shown, &bytes)?;
            rules::verify_policy(&policy, &[])?;
            Ok(policy)
        }
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok(BUILT_IN_POLICY.clone())
        }
        Err(error) => {
            let error = CliError::usage(format!("cannot read {}: {error}", path.display()));
            Err(match named {
                Some(_) => error,
                None => error.hint("replace it with a regular file, or use `--policy FILE`"),
            })
        }
    }
}

/// Returns an error if a file is meant as the policy, but has another name.
fn check_spelling(checkout: &Checkout) -> Result<()> {
    let is_misspelled = |path: &&str| {
        *path != POLICY_FILE
            && [".compass.yaml", ".compass.yml"].iter().any(|name| name.eq_ignore_ascii_case(path))
    };
    match checkout.files().map(|(path, _)| path).find(is_misspelled) {
        None => Ok(()),
        Some(path) => {
            Err(CliError::usage(format!("`{path}` is not read: the policy is `{POLICY_FILE}`"))
                .hint(format!("rename it: `mv {path} {POLICY_FILE}`")))
        }
    }
}

/// Lists all files of the repository, and reads those that the rules need.
pub(super) fn read_tree(checkout: &Checkout, policy: &Policy) -> Result<Tree> {
    let mut tree = Tree::new();
    for (path, kind) in checkout.files() {
        tree.insert_entry(path, kind, "");
    }
    read_rule_files(&mut tree, policy, |paths| checkout.read(paths, READ_LIMIT))?;
    let packed = unread_packed_files(&tree, policy);
    let paths: Vec<&str> = packed.iter().map(String::as_str).collect();
    for (path, start) in paths.iter().zip(checkout.read(&paths, MAX_POINTER_BYTES as u64)?) {
        if is_lfs_pointer(&start) {
            tree.insert_entry(*path, EntryKind::LfsPointer, "");
        }
    }
    Ok(tree)
}
