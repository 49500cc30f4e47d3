//! A release repository at other revisions: what a change began from, and product versions.

use std::collections::{BTreeMap, BTreeSet};

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::version::ProductVersion;
use compass_manifest::{Policy, Tree};

use crate::checkout::is_undecodable;
use crate::error::CliError;
use crate::git::{Entry, EntryKind, Git};
use crate::repository::{READ_LIMIT, Repository, read_wanted};

/// What a change began from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) tree: Tree,
    /// The paths that git says are changed.
    pub(crate) changed: BTreeSet<String>,
    /// The policy there; the built-in one if the base has no file. `None` if the user names one.
    pub(crate) policy: Option<Policy>,
}

/// Reads the merge base of `HEAD` and `revision`, with its policy if that is to judge.
pub(crate) fn read(
    repository: &Repository,
    revision: &str,
    with_policy: bool,
) -> Result<Base, CliError> {
    let Some(git) = repository.checkout.git() else {
        let message = format!("{} is not in a git repository", repository.root.display());
        return Err(CliError::usage(message).hint("`--base` compares with a git revision"));
    };
    let commit = git.merge_base(revision)?;
    let entries = git.entries(&commit)?;
    let changed = git.changed_since(&commit)?;
    let policy =
        with_policy.then(|| policy_at(git, &commit, entries.get(POLICY_FILE))).transpose()?;
    let mut tree = list(&entries);
    for policy in policy.iter().chain([&repository.policy]) {
        read_wanted(&mut tree, policy, |paths| {
            // What did not change need not be read again.
            let known = |path: &str| repository.tree.get(path).filter(|_| !changed.contains(path));
            let (unchanged, wanted): (Vec<&str>, Vec<&str>) =
                paths.iter().partition(|path| known(path).is_some());
            let mut contents: BTreeMap<&str, Vec<u8>> =
                wanted.iter().copied().zip(blobs(git, &entries, &wanted)?).collect();
            contents.extend(
                unchanged.into_iter().filter_map(|path| Some((path, known(path)?.to_vec()))),
            );
            Ok(paths.iter().map(|path| contents.remove(path).unwrap_or_default()).collect())
        })?;
    }
    Ok(Base { tree, changed, policy })
}

/// The kinds of entries of a commit by path, without contents.
fn list(entries: &BTreeMap<String, Entry>) -> Tree {
    let mut tree = Tree::new();
    for (path, entry) in entries {
        let kind = match entry.kind {
            _ if is_undecodable(path) => compass_manifest::EntryKind::UndecodablePath,
            EntryKind::File => compass_manifest::EntryKind::File,
            EntryKind::Link => compass_manifest::EntryKind::Link,
            EntryKind::Submodule => compass_manifest::EntryKind::Submodule,
        };
        tree.insert_entry(path.as_str(), kind, "");
    }
    tree
}

/// The contents of files of a commit, in the order of `paths`.
fn blobs(
    git: &Git,
    entries: &BTreeMap<String, Entry>,
    paths: &[&str],
) -> Result<Vec<Vec<u8>>, CliError> {
    let objects = paths.iter().filter_map(|path| Some(entries.get(*path)?.object.as_str()));
    git.blobs(objects, READ_LIMIT)
}

/// The policy at a commit; the built-in one if it has no file.
fn policy_at(git: &Git, commit: &str, entry: Option<&Entry>) -> Result<Policy, CliError> {
    let Some(entry) = entry else { return Ok(Policy::default()) };
    let parse = || {
        if entry.kind != EntryKind::File {
            return Err(CliError::usage(format!("{POLICY_FILE} is not a regular file")));
        }
        let bytes = git.blobs([entry.object.as_str()], READ_LIMIT)?.remove(0);
        Ok(Policy::read(POLICY_FILE, &bytes)?)
    };
    parse().map_err(|failure| {
        failure
            .context(format!("cannot use the policy of the base, {commit}"))
            .hint("judge by another policy: `--policy FILE`")
    })
}

/// The repository at a product version's tag, as far as `wanted` takes its paths; `None` if there
/// is no such tag.
pub(crate) fn product(
    git: &Git,
    version: &ProductVersion,
    policy: &Policy,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<Tree>, CliError> {
    let tags = git.tags()?;
    let same = |tag: &&String| {
        tag.parse::<ProductVersion>().is_ok_and(|tagged| tagged.is_same_release(version))
    };
    // If a release has several tags, the one that is spelt as it was asked for.
    let Some(tag) = tags.iter().filter(same).max_by_key(|tag| *tag == version.as_str()) else {
        return Ok(None);
    };
    let mut entries = git.entries(&format!("refs/tags/{tag}^{{commit}}"))?;
    entries.retain(|path, _| wanted(path));
    let mut tree = list(&entries);
    read_wanted(&mut tree, policy, |paths| blobs(git, &entries, paths))?;
    Ok(Some(tree))
}
