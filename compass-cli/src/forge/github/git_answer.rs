//! The answers about git objects.

use serde::Deserialize;

use super::super::error::ForgeError;
use super::super::{Commit, Result, TreeEntry};
use super::answer::{missing, or_default, require_object, time};

/// A comparison of two commits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comparison {
    #[serde(deserialize_with = "or_default")]
    merge_base_commit: ObjectItem,
}

impl Comparison {
    pub(super) fn merge_base(self, action: &str) -> Result<String> {
        self.merge_base_commit.into_name(action)
    }
}

/// A reference of git.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReferenceItem {
    #[serde(deserialize_with = "or_default")]
    object: ObjectItem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ObjectItem {
    #[serde(deserialize_with = "or_default")]
    sha: String,
}

impl ObjectItem {
    /// The name of the object.
    fn into_name(self, action: &str) -> Result<String> {
        require_object(action, &self.sha)?;
        Ok(self.sha)
    }
}

impl ReferenceItem {
    pub(super) fn into_commit(self, action: &str) -> Result<String> {
        self.object.into_name(action)
    }
}

/// A commit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CommitItem {
    #[serde(deserialize_with = "or_default")]
    tree: ObjectItem,
    #[serde(deserialize_with = "or_default")]
    committer: SignatureItem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SignatureItem {
    #[serde(deserialize_with = "or_default")]
    date: String,
}

impl CommitItem {
    pub(super) fn into_commit(self, action: &str) -> Result<Commit> {
        let tree = self.tree.into_name(action)?;
        let date = time(&self.committer.date).ok_or_else(|| missing(action, "`date`"))?;
        Ok(Commit { tree, seconds: date.as_second() })
    }
}

/// The files of a commit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TreeItem {
    #[serde(deserialize_with = "or_default")]
    tree: Vec<TreeFile>,
    #[serde(deserialize_with = "or_default")]
    truncated: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TreeFile {
    path: String,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    sha: String,
}

impl TreeItem {
    pub(super) fn into_entries(self, action: &str) -> Result<Vec<TreeEntry>> {
        if self.truncated {
            let reason = "the repository has too many files for one answer".to_owned();
            return Err(ForgeError::InvalidAnswer { action: action.to_owned(), reason });
        }
        let files = self.tree.into_iter().filter(|file| file.kind != "tree");
        let entries = files.map(|TreeFile { path, mode, sha, .. }| {
            require_object(action, &sha)?;
            Ok(TreeEntry { path, mode, object: sha })
        });
        entries.collect()
    }
}
