//! The forge that hosts the pull requests: the trait [`Forge`], and its values.
//!
//! Every text in these values was written by other people. It is data, and is escaped before it is
//! shown.

mod error;
mod github;
mod settings;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

pub(crate) use self::error::ForgeError;
pub(crate) use self::settings::{ForgeArgs, open_forge};

pub(crate) type Result<T, E = ForgeError> = std::result::Result<T, E>;

/// A forge, for one of its repositories.
///
/// # Contract
/// - Lists are complete: the implementation reads all pages, or fails.
/// - Writes are sent one at a time, with a pause in between.
/// - Adding a label that the pull request has, and removing one that it does not have, succeed.
///
/// # Errors
/// [`ForgeError::NotFound`] if the object does not exist or is hidden from the account, and
/// [`ForgeError::Forbidden`] if the account may not do this. The implementation retries transient
/// failures, and waits if the forge asks for it; after a write whose answer was lost, it returns
/// [`ForgeError::Unconfirmed`], and the caller reads the state again.
#[async_trait]
pub(crate) trait Forge: fmt::Debug + Send + Sync {
    /// The repository.
    fn repository(&self) -> &RepoName;

    /// Returns the account that this client writes as.
    async fn identity(&self) -> Result<Account>;

    /// Reads a pull request.
    async fn pull_request(&self, number: u64) -> Result<PullRequest>;

    /// Lists the open pull requests that have all the labels, ordered by number. Upper and lower
    /// case of labels are equal.
    async fn open_pull_requests(&self, labels: &[String]) -> Result<Vec<PullRequest>>;

    /// Lists the comments of a pull request, oldest first, without comments on lines of the change.
    async fn comments(&self, number: u64) -> Result<Vec<Comment>>;

    /// Lists the submitted reviews of a pull request, oldest first.
    async fn reviews(&self, number: u64) -> Result<Vec<Review>>;

    /// Lists the additions and removals of labels since the base branch was chosen, oldest first.
    async fn label_events(&self, number: u64) -> Result<Vec<LabelEvent>>;

    /// Lists the pushes to the head branch, oldest first; `None` if the forge does not show them, for
    /// example because the repository of the head was deleted.
    async fn pushes(&self, pull: &PullRequest) -> Result<Option<Vec<Push>>>;

    /// Returns the commit where the change of `head` from `base` began.
    async fn merge_base(&self, base: &str, head: &str) -> Result<String>;

    /// Returns the commit of a branch.
    async fn branch_commit(&self, branch: &str) -> Result<String>;

    /// Reads a commit, without its files.
    async fn commit(&self, commit: &str) -> Result<Commit>;

    /// Lists the files of a commit.
    async fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>>;

    /// Reads the content of a file.
    async fn blob(&self, object: &str) -> Result<Bytes>;

    /// Returns the latest status of a commit with this context.
    async fn commit_status(&self, commit: &str, context: &str) -> Result<Option<CommitStatus>>;

    /// Writes a new comment.
    async fn create_comment(&self, number: u64, body: &str) -> Result<Comment>;

    /// Replaces the text of a comment.
    async fn update_comment(&self, id: u64, body: &str) -> Result<Comment>;

    /// Deletes a comment. It is no error if the comment does not exist.
    async fn delete_comment(&self, id: u64) -> Result<()>;

    /// Adds labels to a pull request; the forge creates those that the repository does not have.
    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<()>;

    /// Removes a label from a pull request.
    async fn remove_label(&self, number: u64, label: &str) -> Result<()>;

    /// Sets a status of a commit.
    async fn set_commit_status(&self, commit: &str, status: &CommitStatus) -> Result<()>;

    /// Lists the webhooks of these events that no attempt delivered, newest first; `None` if the forge
    /// does not show them to this account. The list is an exception: it is not complete.
    async fn missed_deliveries(&self, events: &[&str]) -> Result<Option<Vec<MissedDelivery>>>;

    /// Opens a pull request.
    async fn create_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest>;
}

/// A forge that tasks share.
pub(crate) type SharedForge = Arc<dyn Forge>;

/// The name of a repository on a forge: `OWNER/REPO`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RepoName {
    pub(crate) owner: String,
    pub(crate) name: String,
}

/// An account of the forge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Empty for a deleted account.
    pub(crate) login: String,
    /// Stays the same if the account is renamed; 0 if it is not known.
    pub(crate) id: u64,
    /// Whether this is an app or another program.
    pub(crate) is_bot: bool,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequest {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) author: Account,
    pub(crate) state: PullState,
    pub(crate) is_draft: bool,
    pub(crate) labels: Vec<String>,
    pub(crate) head: Branch,
    pub(crate) base: Branch,
    pub(crate) created: Option<Timestamp>,
    pub(crate) updated: Option<Timestamp>,
    /// The page for people.
    pub(crate) url: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branch {
    /// The name of the branch, without `refs/heads/`.
    pub(crate) name: String,
    /// The commit. That of a base can be older than its branch.
    pub(crate) commit: String,
    /// The repository; `None` if it was deleted.
    pub(crate) repository: Option<RepoName>,
}

/// The state of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PullState {
    Open,
    Closed,
    Merged,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: Account,
    pub(crate) body: String,
    pub(crate) created: Option<Timestamp>,
    /// The time of the last edit, or that of the creation.
    pub(crate) updated: Option<Timestamp>,
}

/// A submitted review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Review {
    pub(crate) id: u64,
    pub(crate) author: Account,
    pub(crate) body: String,
    pub(crate) state: ReviewState,
    pub(crate) submitted: Option<Timestamp>,
    /// The head that was reviewed.
    pub(crate) commit: String,
}

/// The state of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReviewState {
    Approved,
    ChangesRequested,
    Commented,
    Dismissed,
}

/// The addition or the removal of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelEvent {
    /// The label under the name that it had then.
    pub(crate) label: String,
    pub(crate) is_added: bool,
    pub(crate) by: Account,
    pub(crate) at: Option<Timestamp>,
}

/// A push to a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    /// The commit before the push; `None` if the push created the branch.
    pub(crate) before: Option<String>,
    pub(crate) after: String,
    /// The time by the clock of the forge.
    pub(crate) at: Timestamp,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) tree: String,
    /// The time of the committer, in seconds since 1970. The author can choose it.
    pub(crate) seconds: i64,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeEntry {
    pub(crate) path: String,
    /// The mode as git prints it, such as `100644`.
    pub(crate) mode: String,
    /// The blob, or the commit of a submodule.
    pub(crate) object: String,
}

/// The status of a commit under one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitStatus {
    pub(crate) context: String,
    pub(crate) state: StatusState,
    /// One line of at most 140 characters.
    pub(crate) description: String,
    /// The page with the details.
    pub(crate) url: Option<String>,
}

/// The state of a [`CommitStatus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusState {
    Pending,
    Success,
    Failure,
    Error,
}

/// A webhook that did not arrive.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MissedDelivery {
    pub(crate) event: String,
    pub(crate) payload: serde_json::Value,
}

/// A pull request to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewPullRequest {
    pub(crate) title: String,
    pub(crate) body: String,
    /// The branch with the change: `BRANCH`, or `OWNER:BRANCH` of a fork.
    pub(crate) head: String,
    /// The branch to change; the default branch if `None`.
    pub(crate) base: Option<String>,
    pub(crate) is_draft: bool,
}

impl Comment {
    /// Whether the text was changed after the comment was written.
    pub(crate) fn is_edited(&self) -> bool {
        self.created.is_some() && self.updated > self.created
    }
}

impl PullRequest {
    /// Whether the pull request has a label; upper and lower case are equal.
    pub(crate) fn has_label(&self, label: &str) -> bool {
        self.labels.iter().any(|own| own.eq_ignore_ascii_case(label))
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepoName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "expected `OWNER/REPO`, for example `caicloud/compass-release`";
        let is_name = |name: &str| {
            let is_valid = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !name.is_empty() && name.len() <= 100 && name.chars().all(is_valid)
                // Would be a step in the path of a URL.
                && name.chars().any(|c| c != '.')
        };
        match text.split_once('/') {
            Some((owner, name)) if is_name(owner) && is_name(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(FORM),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repo_name_accepts_owner_and_repo() {
        for text in ["caicloud/compass-release", "a/b.c", "A_1/.github"] {
            assert_eq!(text.parse::<RepoName>().unwrap().to_string(), text);
        }
        for text in ["", "a", "a/", "/b", "a/b/c", "a/..", "a/b c", "a/b?x", "https://a/b"] {
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
    }

    #[test]
    fn comment_changed_later_is_edited() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let (author, created) = (Account::default(), at("2026-11-01T00:00:00Z"));
        let mut comment = Comment { id: 1, author, body: String::new(), created, updated: created };
        assert!(!comment.is_edited());
        comment.updated = at("2026-11-01T00:00:01Z");
        assert!(comment.is_edited());
    }
}
