//! Reads the files of a repository that the rules need.

use compass_manifest::{Policy, Tree, files_to_read};

use crate::error::Result;

/// Files are read up to this size; the rules report larger ones.
pub(crate) const READ_LIMIT: u64 = (compass_manifest::yaml::MAX_BYTES + 1) as u64;

/// Adds the contents of the files that the rules need under a policy.
pub(crate) fn read_rule_files(
    tree: &mut Tree,
    policy: &Policy,
    mut read: impl FnMut(&[&str]) -> Result<Vec<Vec<u8>>>,
) -> Result<()> {
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
