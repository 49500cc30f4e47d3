//! A release repository at other revisions: what a change began from, and product versions.

use std::collections::BTreeSet;

use compass_manifest::policy::POLICY_FILE;
use compass_manifest::version::ProductVersion;
use compass_manifest::{Policy, Tree};

use crate::failure::Failure;
use crate::git::{Entry, EntryKind, Git};
use crate::repository::{READ_LIMIT, Repository, is_read, parse_policy};

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
) -> Result<Base, Failure> {
    let Some(git) = repository.checkout.git() else {
        let message = format!("{} is not in a git repository", repository.root.display());
        return Err(Failure::usage(message).hint("`--base` compares with a git revision"));
    };
    let commit = git.merge_base(revision)?;
    let entries = git.entries(&commit)?;
    let changed = git.changed_since(&commit)?;
    let policy =
        with_policy.then(|| policy_at(git, &commit, entries.get(POLICY_FILE))).transpose()?;
    let mut tree = Tree::new();
    let (mut paths, mut objects) = (Vec::new(), Vec::new());
    for (path, entry) in &entries {
        let is_read = is_read(path) && entry.kind == EntryKind::File;
        match repository.tree.get(path) {
            // What did not change need not be read again.
            Some(bytes) if is_read && !changed.contains(path) => tree.insert(path.as_str(), bytes),
            _ if is_read => {
                paths.push(path.as_str());
                objects.push(entry.object.as_str());
            }
            _ => tree.insert_unread(path.as_str(), ""),
        }
    }
    for (path, bytes) in paths.into_iter().zip(git.blobs(objects, READ_LIMIT)?) {
        tree.insert(path, bytes);
    }
    Ok(Base { tree, changed, policy })
}

/// The policy at a commit; the built-in one if it has no file.
fn policy_at(git: &Git, commit: &str, entry: Option<&Entry>) -> Result<Policy, Failure> {
    let Some(entry) = entry else { return Ok(Policy::default()) };
    let parse = || {
        if entry.kind != EntryKind::File {
            return Err(Failure::usage(format!("{POLICY_FILE} is not a regular file")));
        }
        parse_policy(POLICY_FILE, git.blobs([entry.object.as_str()], READ_LIMIT)?.remove(0))
    };
    parse().map_err(|failure| {
        failure
            .while_doing(format!("cannot use the policy of the base, {commit}"))
            .hint("judge by another policy: `--policy FILE`")
    })
}

/// The repository at a product version's tag, as far as `wanted` takes its paths; `None` if there
/// is no such tag.
pub(crate) fn product(
    git: &Git,
    version: &ProductVersion,
    wanted: impl Fn(&str) -> bool,
) -> Result<Option<Tree>, Failure> {
    let tags = git.tags()?;
    let same = |tag: &&String| {
        tag.parse::<ProductVersion>().is_ok_and(|tagged| tagged.is_same_release(version))
    };
    // If a release has several tags, the one that is spelt as it was asked for.
    let Some(tag) = tags.iter().filter(same).max_by_key(|tag| *tag == version.as_str()) else {
        return Ok(None);
    };
    let entries = git.entries(&format!("refs/tags/{tag}^{{commit}}"))?;
    let is_wanted = |(path, entry): &(&String, &Entry)| {
        is_read(path) && entry.kind == EntryKind::File && wanted(path)
    };
    let (read, unread): (Vec<_>, Vec<_>) = entries.iter().partition(is_wanted);
    let mut tree = Tree::new();
    let contents = git.blobs(read.iter().map(|(_, entry)| entry.object.as_str()), READ_LIMIT)?;
    for ((path, _), bytes) in read.into_iter().zip(contents) {
        tree.insert(path.as_str(), bytes);
    }
    for (path, _) in unread {
        tree.insert_unread(path.as_str(), "");
    }
    Ok(Some(tree))
}
