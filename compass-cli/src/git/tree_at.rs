//! The release repository at other commits: the base of a change, and tags of product versions.

use std::collections::{BTreeMap, BTreeSet};

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::review::Owners;
use compass_manifest::version::ProductVersion;
use compass_manifest::{EntryKind, Policy, Tree, rules};

use super::{Entry, Git, kind_at};
use crate::built_in_policy::BUILT_IN_POLICY;
use crate::error::{CliError, Result};
use crate::rule_files::{READ_LIMIT, read_rule_files};

/// The state before a change.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) tree: Tree,
    /// The paths that changed, according to git.
    pub(crate) changed: BTreeSet<String>,
    /// The policy of the base, or the built-in one; `None` if the base's policy does not apply.
    pub(crate) policy: Option<Policy>,
}

impl Git {
    /// Reads the merge base of `HEAD` and `revision`; with `with_policy` also its policy. `current`
    /// and `policy` are those of the work tree.
    pub(crate) fn base(
        &self,
        revision: &str,
        with_policy: bool,
        current: &Tree,
        policy: &Policy,
    ) -> Result<Base> {
        let commit = self.merge_base(revision)?;
        let entries = self.entries(&commit)?;
        let changed = self.changed_since(&commit)?;
        let base_policy =
            with_policy.then(|| self.policy_at(&commit, entries.get(POLICY_FILE))).transpose()?;
        let mut tree = list(&entries);
        for policy in base_policy.iter().chain([policy]) {
            read_rule_files(&mut tree, policy, |paths| {
                // Unchanged files are copied from the current tree.
                let known = |path: &str| current.get(path).filter(|_| !changed.contains(path));
                let (unchanged, others): (Vec<&str>, Vec<&str>) =
                    paths.iter().partition(|path| known(path).is_some());
                let mut contents: BTreeMap<&str, Vec<u8>> =
                    others.iter().copied().zip(self.contents(&entries, &others)?).collect();
                contents.extend(
                    unchanged.into_iter().filter_map(|path| Some((path, known(path)?.to_vec()))),
                );
                Ok(paths.iter().map(|path| contents.remove(path).unwrap_or_default()).collect())
            })?;
        }
        Ok(Base { tree, changed, policy: base_policy })
    }

    /// The policy of a commit, or the built-in one if it has no policy file.
    pub(crate) fn policy_of(&self, commit: &str) -> Result<Policy> {
        self.policy_at(commit, self.entries(commit)?.get(POLICY_FILE))
    }

    /// Reads a regular file of a commit, up to `limit` bytes; `None` if the commit does not have it.
    pub(crate) fn file_of(&self, commit: &str, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.entries(commit)?.get(path).filter(|entry| entry.kind == EntryKind::File) {
            Some(entry) => Ok(self.blobs([entry.object.as_str()], limit)?.pop()),
            None => Ok(None),
        }
    }

    /// Reads the OWNERS files of a commit that apply to a path.
    pub(crate) fn owners_files(&self, commit: &str, path: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut entries = self.entries(commit)?;
        entries.retain(|_, entry| entry.kind == EntryKind::File);
        let files = Owners::files_for(&list(&entries), path);
        let paths: Vec<&str> = files.iter().map(String::as_str).collect();
        let contents = self.contents(&entries, &paths)?;
        Ok(files.into_iter().zip(contents).collect())
    }

    /// Reads the files that `is_selected` accepts at the tag of a product version; `None` if there is
    /// no such tag.
    pub(crate) fn product_tree(
        &self,
        version: &ProductVersion,
        policy: &Policy,
        is_selected: impl Fn(&str) -> bool,
    ) -> Result<Option<Tree>> {
        let tags = self.tags()?;
        let is_same = |tag: &&String| {
            tag.parse::<ProductVersion>().is_ok_and(|tagged| tagged.is_same_release(version))
        };
        // A release may have several tags, such as `2.7.0` and `v2.7.0`: prefer the exact one.
        let tag = tags.iter().filter(is_same).max_by_key(|tag| *tag == version.as_str());
        let Some(tag) = tag else { return Ok(None) };
        let mut entries = self.entries(&format!("refs/tags/{tag}^{{commit}}"))?;
        entries.retain(|path, _| is_selected(path));
        let mut tree = list(&entries);
        read_rule_files(&mut tree, policy, |paths| self.contents(&entries, paths))?;
        Ok(Some(tree))
    }

    /// The contents of files of a commit, in the order of `paths`.
    fn contents(&self, entries: &BTreeMap<String, Entry>, paths: &[&str]) -> Result<Vec<Vec<u8>>> {
        let objects = paths.iter().filter_map(|path| Some(entries.get(*path)?.object.as_str()));
        self.blobs(objects, READ_LIMIT)
    }

    /// The policy of a commit, or the built-in one if it has no policy file.
    fn policy_at(&self, commit: &str, entry: Option<&Entry>) -> Result<Policy> {
        let Some(entry) = entry else { return Ok(BUILT_IN_POLICY.clone()) };
        let read = || {
            if entry.kind != EntryKind::File {
                return Err(CliError::usage(format!("{POLICY_FILE} is not a regular file")));
            }
            let bytes = self.blobs([entry.object.as_str()], READ_LIMIT)?.remove(0);
            let policy = BUILT_IN_POLICY.overlay(POLICY_FILE, &bytes)?;
            rules::verify_policy(&policy, &[])?;
            Ok(policy)
        };
        read().map_err(|error| {
            error
                .context(format!("cannot use the policy of the base, {commit}"))
                .hint("use another policy: `--policy FILE`")
        })
    }
}

/// The entries of a commit as a tree without contents.
fn list(entries: &BTreeMap<String, Entry>) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        tree.insert_entry(path.as_str(), kind_at(path, entry.kind), "");
    }
    tree
}
