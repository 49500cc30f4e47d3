//! The client of GitHub and GitHub Enterprise Server (REST, version 2022-11-28).

mod answer;
mod app;
mod cache;
mod deliveries;
mod git_answer;
mod limits;
mod rejection;
#[cfg(test)]
mod tests;
mod transport;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use compass_registry::http::HttpOptions;
use reqwest::{Method, Url};
use serde_json::json;
use tokio::sync::OnceCell;

use self::answer::{
    ActivityItem, CombinedStatus, CommentItem, IssueEvent, PullItem, RepositoryItem, ReviewItem,
    UserItem,
};
use self::git_answer::{CommitItem, Comparison, ReferenceItem, TreeItem};
use self::transport::Transport;
use super::error::ForgeError;
use super::{
    Account, Comment, Commit, CommitStatus, Forge, LabelEvent, MissedDelivery, NewPullRequest,
    PullRequest, Push, RepoName, Result, Review, TreeEntry,
};

pub(super) use self::app::Credentials;
pub(super) use self::limits::Pacing;

/// The settings of a client.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) repository: RepoName,
    pub(super) api: Url,
    pub(super) credentials: Credentials,
    pub(super) pacing: Pacing,
    pub(super) http: HttpOptions,
}

/// A client for one repository.
pub(super) struct GitHub {
    repository: RepoName,
    transport: Transport,
    /// The repository under its present name: writes to a former name are redirected, and lose their
    /// body.
    present: OnceCell<RepositoryItem>,
    identity: OnceCell<Account>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl GitHub {
    /// Creates a client. Sends no request.
    pub(super) fn new(settings: Settings) -> Result<Self> {
        let repository = settings.repository.clone();
        let transport = Transport::new(settings)?;
        Ok(Self { repository, transport, present: OnceCell::new(), identity: OnceCell::new() })
    }

    /// The repository as the forge names it now.
    async fn present(&self) -> Result<&RepositoryItem> {
        let RepoName { owner, name } = &self.repository;
        let action = format!("read the repository {}", self.repository);
        let read = || async {
            let url = self.transport.url(&["repos", owner, name], &[]);
            self.transport.get_json::<RepositoryItem>(&action, url).await
        };
        self.present.get_or_try_init(read).await
    }

    /// The URL of a resource of the repository.
    async fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let name = self.present().await?.name().unwrap_or_else(|| self.repository.clone());
        let start = ["repos", name.owner.as_str(), name.name.as_str()];
        let segments: Vec<&str> = start.into_iter().chain(path.iter().copied()).collect();
        Ok(self.transport.url(&segments, query))
    }

    /// Deletes an object, which may be deleted already.
    async fn delete(&self, action: &str, url: Url) -> Result<()> {
        match self.transport.write(action, Method::DELETE, url, &json!(null)).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Finds the account of a token that belongs to no user: that of the workflow run.
    async fn workflow_identity(&self) -> Result<Account> {
        let url = self.transport.url(&["users", "github-actions[bot]"], &[]);
        let user: UserItem = self.transport.get_json("read the account of workflows", url).await?;
        Ok(user.into_account())
    }

    async fn read_identity(&self) -> Result<Account> {
        let action = "read the account of the token";
        if let Some(login) = self.transport.app_login().await? {
            let url = self.transport.url(&["users", &login], &[]);
            return Ok(self.transport.get_json::<UserItem>(action, url).await?.into_account());
        }
        let url = self.transport.url(&["user"], &[]);
        match self.transport.get_json::<UserItem>(action, url).await {
            Ok(user) => Ok(user.into_account()),
            Err(ForgeError::Forbidden { .. } | ForgeError::NotFound { .. }) => {
                self.workflow_identity().await
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Forge for GitHub {
    fn repository(&self) -> &RepoName {
        &self.repository
    }

    async fn identity(&self) -> Result<Account> {
        self.identity.get_or_try_init(|| self.read_identity()).await.cloned()
    }

    async fn pull_request(&self, number: u64) -> Result<PullRequest> {
        let action = format!("read the pull request #{number}");
        let url = self.url(&["pulls", &number.to_string()], &[]).await?;
        self.transport.get_json::<PullItem>(&action, url).await?.into_pull(&action)
    }

    async fn open_pull_requests(&self, labels: &[String]) -> Result<Vec<PullRequest>> {
        let action = "list the open pull requests";
        let query = [("state", "open"), ("sort", "created"), ("direction", "asc")];
        let url = self.url(&["pulls"], &query).await?;
        let items: Vec<PullItem> = self.transport.get_pages(action, url).await?;
        let pulls = items.into_iter().map(|item| item.into_pull(action));
        let mut pulls: Vec<PullRequest> = pulls.collect::<Result<_>>()?;
        pulls.retain(|pull| labels.iter().all(|label| pull.has_label(label)));
        pulls.sort_by_key(|pull| pull.number);
        pulls.dedup_by_key(|pull| pull.number);
        Ok(pulls)
    }

    async fn comments(&self, number: u64) -> Result<Vec<Comment>> {
        let action = format!("read the comments of #{number}");
        let url = self.url(&["issues", &number.to_string(), "comments"], &[]).await?;
        let items: Vec<CommentItem> = self.transport.get_pages(&action, url).await?;
        let comments = items.into_iter().map(|item| item.into_comment(&action));
        let mut comments: Vec<Comment> = comments.collect::<Result<_>>()?;
        comments.sort_by_key(|comment| (comment.created, comment.id));
        // A comment that is deleted while the pages are read moves others to an earlier page.
        comments.dedup_by_key(|comment| comment.id);
        Ok(comments)
    }

    async fn reviews(&self, number: u64) -> Result<Vec<Review>> {
        let action = format!("read the reviews of #{number}");
        let url = self.url(&["pulls", &number.to_string(), "reviews"], &[]).await?;
        let items: Vec<ReviewItem> = self.transport.get_pages(&action, url).await?;
        let mut reviews: Vec<Review> =
            items.into_iter().filter_map(ReviewItem::into_review).collect();
        reviews.sort_by_key(|review| (review.submitted, review.id));
        reviews.dedup_by_key(|review| review.id);
        Ok(reviews)
    }

    async fn label_events(&self, number: u64) -> Result<Vec<LabelEvent>> {
        let action = format!("read the label history of #{number}");
        let url = self.url(&["issues", &number.to_string(), "events"], &[]).await?;
        let mut items: Vec<IssueEvent> = self.transport.get_pages(&action, url).await?;
        let other_base = items.iter().rposition(IssueEvent::changes_base);
        let own_base = items.split_off(other_base.map_or(0, |last| last + 1));
        Ok(own_base.into_iter().filter_map(IssueEvent::into_label_event).collect())
    }

    async fn pushes(&self, pull: &PullRequest) -> Result<Option<Vec<Push>>> {
        let Some(RepoName { owner, name }) = &pull.head.repository else { return Ok(None) };
        let action = format!("read the pushes to the head of #{}", pull.number);
        let branch = format!("refs/heads/{}", pull.head.name);
        let url = self.transport.url(&["repos", owner, name, "activity"], &[("ref", &branch)]);
        // Older servers do not have this list, and a fork may hide it.
        let items = self.transport.get_pages::<ActivityItem>(&action, url).await;
        let Some(items) = if_available(items)? else { return Ok(None) };
        let pushes = items.into_iter().map(|item| item.into_push(&action));
        let mut pushes: Vec<Push> = pushes.collect::<Result<_>>()?;
        // The forge lists the newest first.
        pushes.reverse();
        pushes.sort_by_key(|push| push.at);
        Ok(Some(pushes))
    }

    async fn merge_base(&self, base: &str, head: &str) -> Result<String> {
        let action = "find the commit where the pull request began";
        // The commits, of which the answer has a page, are not needed.
        let url = self.url(&["compare", &format!("{base}...{head}")], &[("per_page", "1")]).await?;
        self.transport.get_json::<Comparison>(action, url).await?.merge_base(action)
    }

    async fn branch_commit(&self, branch: &str) -> Result<String> {
        let action = format!("read the branch {branch}");
        let path: Vec<&str> =
            ["git", "ref", "heads"].into_iter().chain(branch.split('/')).collect();
        let url = self.url(&path, &[]).await?;
        self.transport.get_json::<ReferenceItem>(&action, url).await?.into_commit(&action)
    }

    async fn commit(&self, commit: &str) -> Result<Commit> {
        let action = format!("read the commit {commit}");
        let url = self.url(&["git", "commits", commit], &[]).await?;
        self.transport.get_json::<CommitItem>(&action, url).await?.into_commit(&action)
    }

    async fn tree(&self, commit: &str) -> Result<Vec<TreeEntry>> {
        let action = format!("read the files of {commit}");
        let url = self.url(&["git", "trees", commit], &[("recursive", "1")]).await?;
        self.transport.get_json::<TreeItem>(&action, url).await?.into_entries(&action)
    }

    async fn blob(&self, object: &str) -> Result<Bytes> {
        let action = format!("read the file {object}");
        let url = self.url(&["git", "blobs", object], &[]).await?;
        self.transport.get_raw(&action, url).await
    }

    async fn commit_status(&self, commit: &str, context: &str) -> Result<Option<CommitStatus>> {
        let action = format!("read the statuses of {commit}");
        let url = self.url(&["commits", commit, "status"], &[("per_page", "100")]).await?;
        let mut next = Some(url);
        while let Some(url) = next {
            let (page, more) = self.transport.get_page::<CombinedStatus>(&action, url).await?;
            if let Some(status) = page.status(context) {
                return Ok(Some(status));
            }
            next = more;
        }
        Ok(None)
    }

    async fn create_comment(&self, number: u64, body: &str) -> Result<Comment> {
        let action = format!("comment on #{number}");
        let url = self.url(&["issues", &number.to_string(), "comments"], &[]).await?;
        let item: CommentItem =
            self.transport.write_once(&action, url, &json!({"body": body})).await?;
        item.into_comment(&action)
    }

    async fn update_comment(&self, id: u64, body: &str) -> Result<Comment> {
        let action = format!("update the comment {id}");
        let url = self.url(&["issues", "comments", &id.to_string()], &[]).await?;
        let body = json!({"body": body});
        let answer = self.transport.write(&action, Method::PATCH, url, &body).await?;
        answer.json::<CommentItem>(&action)?.into_comment(&action)
    }

    async fn delete_comment(&self, id: u64) -> Result<()> {
        let action = format!("delete the comment {id}");
        let url = self.url(&["issues", "comments", &id.to_string()], &[]).await?;
        self.delete(&action, url).await
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<()> {
        let action = format!("add labels to #{number}");
        let url = self.url(&["issues", &number.to_string(), "labels"], &[]).await?;
        let body = json!({"labels": labels});
        self.transport.write(&action, Method::POST, url, &body).await.map(drop)
    }

    async fn remove_label(&self, number: u64, label: &str) -> Result<()> {
        let action = format!("remove a label from #{number}");
        if matches!(label, "." | "..") {
            // The URL standard removes such a segment, so that the request would remove all labels.
            let message = format!("the name `{label}` cannot be part of a URL");
            return Err(ForgeError::Invalid { action, message });
        }
        let url = self.url(&["issues", &number.to_string(), "labels", label], &[]).await?;
        self.delete(&action, url).await
    }

    async fn set_commit_status(&self, commit: &str, status: &CommitStatus) -> Result<()> {
        let action = format!("set the status of {commit}");
        let url = self.url(&["statuses", commit], &[]).await?;
        let body = json!({
            "state": answer::status_name(status.state),
            "context": status.context,
            "description": status.description,
            "target_url": status.url,
        });
        self.transport.write(&action, Method::POST, url, &body).await.map(drop)
    }

    async fn missed_deliveries(&self, events: &[&str]) -> Result<Option<Vec<MissedDelivery>>> {
        // The account may not read webhooks, or there is none.
        if_available(self.failed_deliveries(events).await)
    }

    async fn create_pull_request(&self, new: &NewPullRequest) -> Result<PullRequest> {
        let action = "open the pull request";
        let base = match &new.base {
            Some(base) => base.clone(),
            None => self.present().await?.default_branch(action)?,
        };
        let body = json!({
            "title": new.title,
            "body": new.body,
            "head": new.head,
            "base": base,
            "draft": new.is_draft,
        });
        let url = self.url(&["pulls"], &[]).await?;
        self.transport.write_once::<PullItem>(action, url, &body).await?.into_pull(action)
    }
}

/// Returns `None` for something that this account or server does not have.
fn if_available<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(
            ForgeError::Forbidden { .. } | ForgeError::NotFound { .. } | ForgeError::Invalid { .. },
        ) => Ok(None),
        Err(error) => Err(error),
    }
}
