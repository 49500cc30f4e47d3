//! The answers of the interface.
//!
//! Unknown fields are ignored, and missing ones are empty: the answers of github.com and of the
//! versions of Enterprise Server differ. Only what a caller cannot do without is required.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::super::error::ForgeError;
use super::super::{
    Account, Branch, Comment, CommitStatus, LabelEvent, PullRequest, PullState, Push, RepoName,
    Result, Review, ReviewState, StatusState,
};

/// Reads `null` as the default value.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

pub(super) fn missing(action: &str, field: &str) -> ForgeError {
    ForgeError::InvalidAnswer { action: action.to_owned(), reason: format!("it has no {field}") }
}

/// An account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UserItem {
    #[serde(deserialize_with = "or_default")]
    login: String,
    #[serde(deserialize_with = "or_default")]
    id: u64,
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: String,
}

impl UserItem {
    /// Converts the account. GitHub shows deleted accounts as `ghost`.
    pub(super) fn into_account(self) -> Account {
        let is_bot = self.kind.eq_ignore_ascii_case("bot") || self.login.ends_with("[bot]");
        match self.login.eq_ignore_ascii_case("ghost") {
            true => Account::default(),
            false => Account { login: self.login, id: self.id, is_bot },
        }
    }
}

fn account(user: Option<UserItem>) -> Account {
    user.map(UserItem::into_account).unwrap_or_default()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LabelItem {
    #[serde(deserialize_with = "or_default")]
    name: String,
}

/// A repository.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RepositoryItem {
    #[serde(deserialize_with = "or_default")]
    full_name: String,
    #[serde(deserialize_with = "or_default")]
    default_branch: String,
}

impl RepositoryItem {
    pub(super) fn name(&self) -> Option<RepoName> {
        self.full_name.parse().ok()
    }

    pub(super) fn default_branch(&self, action: &str) -> Result<String> {
        match self.default_branch.is_empty() {
            true => Err(missing(action, "default branch")),
            false => Ok(self.default_branch.clone()),
        }
    }
}

/// One side of a pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BranchItem {
    #[serde(rename = "ref", deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    sha: String,
    repo: Option<RepositoryItem>,
}

impl BranchItem {
    fn into_branch(self, action: &str) -> Result<Branch> {
        require_object(action, &self.sha)?;
        let repository = self.repo.and_then(|repo| repo.name());
        Ok(Branch { name: self.name, commit: self.sha, repository })
    }
}

/// Requires the name of a git object, which becomes an argument of git.
pub(super) fn require_object(action: &str, text: &str) -> Result<()> {
    let is_valid = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if is_valid { Ok(()) } else { Err(missing(action, "valid commit")) }
}

/// A pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullItem {
    number: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    title: String,
    #[serde(deserialize_with = "or_default")]
    body: String,
    user: Option<UserItem>,
    #[serde(deserialize_with = "or_default")]
    state: String,
    #[serde(deserialize_with = "or_default")]
    merged_at: String,
    #[serde(deserialize_with = "or_default")]
    draft: bool,
    #[serde(deserialize_with = "or_default")]
    labels: Vec<LabelItem>,
    #[serde(deserialize_with = "or_default")]
    head: BranchItem,
    #[serde(deserialize_with = "or_default")]
    base: BranchItem,
    #[serde(deserialize_with = "or_default")]
    created_at: String,
    #[serde(deserialize_with = "or_default")]
    updated_at: String,
    #[serde(deserialize_with = "or_default")]
    html_url: String,
}

impl PullItem {
    pub(super) fn into_pull(self, action: &str) -> Result<PullRequest> {
        let state = match self.state.as_str() {
            _ if !self.merged_at.is_empty() => PullState::Merged,
            "closed" => PullState::Closed,
            _ => PullState::Open,
        };
        Ok(PullRequest {
            number: self.number.ok_or_else(|| missing(action, "`number`"))?,
            title: self.title,
            body: self.body,
            author: account(self.user),
            state,
            is_draft: self.draft,
            labels: self.labels.into_iter().map(|label| label.name).collect(),
            head: self.head.into_branch(action)?,
            base: self.base.into_branch(action)?,
            created: time(&self.created_at),
            updated: time(&self.updated_at),
            url: self.html_url,
        })
    }
}

/// A comment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CommentItem {
    id: Option<u64>,
    user: Option<UserItem>,
    #[serde(deserialize_with = "or_default")]
    body: String,
    #[serde(deserialize_with = "or_default")]
    created_at: String,
    #[serde(deserialize_with = "or_default")]
    updated_at: String,
}

impl CommentItem {
    pub(super) fn into_comment(self, action: &str) -> Result<Comment> {
        let created = time(&self.created_at);
        Ok(Comment {
            id: self.id.ok_or_else(|| missing(action, "`id`"))?,
            author: account(self.user),
            body: self.body,
            created,
            updated: time(&self.updated_at).or(created),
        })
    }
}

/// A review.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReviewItem {
    #[serde(deserialize_with = "or_default")]
    id: u64,
    user: Option<UserItem>,
    #[serde(deserialize_with = "or_default")]
    body: String,
    #[serde(deserialize_with = "or_default")]
    state: String,
    #[serde(deserialize_with = "or_default")]
    submitted_at: String,
    #[serde(deserialize_with = "or_default")]
    commit_id: String,
}

impl ReviewItem {
    /// Converts the review; `None` if it is not submitted yet.
    pub(super) fn into_review(self) -> Option<Review> {
        let state = match self.state.to_ascii_lowercase().as_str() {
            "pending" => return None,
            "approved" => ReviewState::Approved,
            "changes_requested" => ReviewState::ChangesRequested,
            "dismissed" => ReviewState::Dismissed,
            _ => ReviewState::Commented,
        };
        Some(Review {
            id: self.id,
            author: account(self.user),
            body: self.body,
            state,
            submitted: time(&self.submitted_at),
            commit: self.commit_id,
        })
    }
}

/// An event of an issue or pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct IssueEvent {
    #[serde(deserialize_with = "or_default")]
    event: String,
    actor: Option<UserItem>,
    label: Option<LabelItem>,
    #[serde(deserialize_with = "or_default")]
    created_at: String,
}

impl IssueEvent {
    pub(super) fn changes_base(&self) -> bool {
        // The second follows the deletion of the base branch after its merge.
        matches!(self.event.as_str(), "base_ref_changed" | "automatic_base_change_succeeded")
    }

    pub(super) fn into_label_event(self) -> Option<LabelEvent> {
        let is_added = match self.event.as_str() {
            "labeled" => true,
            "unlabeled" => false,
            _ => return None,
        };
        let label = self.label?.name;
        Some(LabelEvent { label, is_added, by: account(self.actor), at: time(&self.created_at) })
    }
}

/// An entry of the activity of a repository.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ActivityItem {
    #[serde(deserialize_with = "or_default")]
    before: String,
    #[serde(deserialize_with = "or_default")]
    after: String,
    #[serde(deserialize_with = "or_default")]
    timestamp: String,
}

impl ActivityItem {
    pub(super) fn into_push(self, action: &str) -> Result<Push> {
        // Zeros stand for a branch that does not exist.
        let is_commit = |object: &String| object.bytes().any(|byte| byte != b'0');
        require_object(action, &self.after)?;
        require_object(action, &self.before)?;
        Ok(Push {
            before: Some(self.before).filter(is_commit),
            after: self.after,
            at: time(&self.timestamp).ok_or_else(|| missing(action, "`timestamp`"))?,
        })
    }
}

/// The latest statuses of a commit.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CombinedStatus {
    #[serde(deserialize_with = "or_default")]
    statuses: Vec<StatusItem>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StatusItem {
    #[serde(deserialize_with = "or_default")]
    context: String,
    #[serde(deserialize_with = "or_default")]
    state: String,
    #[serde(deserialize_with = "or_default")]
    description: String,
    target_url: Option<String>,
}

impl CombinedStatus {
    pub(super) fn status(self, context: &str) -> Option<CommitStatus> {
        let item = self.statuses.into_iter().find(|item| item.context == context)?;
        let states =
            [StatusState::Pending, StatusState::Success, StatusState::Failure, StatusState::Error];
        let state = states.into_iter().find(|state| status_name(*state) == item.state)?;
        let StatusItem { context, description, target_url: url, .. } = item;
        Some(CommitStatus { context, state, description, url })
    }
}

/// The name of a state in requests and answers.
pub(super) fn status_name(state: StatusState) -> &'static str {
    match state {
        StatusState::Pending => "pending",
        StatusState::Success => "success",
        StatusState::Failure => "failure",
        StatusState::Error => "error",
    }
}
