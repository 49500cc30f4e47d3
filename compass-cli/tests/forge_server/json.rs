//! The values of answers and webhooks, in the shapes of GitHub.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::REPOSITORY;
use super::world::{Comment, Event, Pull, Review, User, World};

pub(super) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().to_string()
}

/// Adds URLs `NAME_url` of an object to its fields.
fn with_urls(mut value: Value, base: &str, names: &[&str]) -> Value {
    for name in names {
        let key = if name.is_empty() { "url".to_owned() } else { format!("{name}_url") };
        let path = if name.is_empty() { String::new() } else { format!("/{name}") };
        value[key] = json!(format!("{base}{path}"));
    }
    value
}

pub(super) fn user(user: &User) -> Value {
    let User { login, id, is_bot, .. } = user;
    let value = json!({
        "login": login,
        "id": id,
        "node_id": format!("U_{id}"),
        "gravatar_id": "",
        "type": if *is_bot { "Bot" } else { "User" },
        "user_view_type": "public",
        "site_admin": false,
        "email": null,
    });
    let names = [
        "",
        "avatar",
        "html",
        "followers",
        "following",
        "gists",
        "starred",
        "subscriptions",
        "organizations",
        "repos",
        "events",
        "received_events",
    ];
    with_urls(value, &format!("https://forge.example/users/{login}"), &names)
}

/// A reference in an issue to a pull request.
const ISSUE_URLS: [&str; 4] = ["", "html", "diff", "patch"];

/// The names of the URLs of a repository.
const REPOSITORY_URLS: [&str; 42] = [
    "",
    "html",
    "forks",
    "keys",
    "collaborators",
    "teams",
    "hooks",
    "issue_events",
    "events",
    "assignees",
    "branches",
    "tags",
    "blobs",
    "git_tags",
    "git_refs",
    "trees",
    "statuses",
    "languages",
    "stargazers",
    "contributors",
    "subscribers",
    "subscription",
    "commits",
    "git_commits",
    "comments",
    "issue_comment",
    "contents",
    "compare",
    "merges",
    "archive",
    "downloads",
    "issues",
    "pulls",
    "milestones",
    "notifications",
    "labels",
    "releases",
    "deployments",
    "git",
    "ssh",
    "clone",
    "svn",
];

/// The names of the URLs of a pull request in the API.
const PULL_URLS: [&str; 10] = [
    "",
    "html",
    "diff",
    "patch",
    "issue",
    "commits",
    "review_comments",
    "review_comment",
    "comments",
    "statuses",
];

/// The names of the links of a pull request.
const PULL_LINKS: [&str; 8] = [
    "self",
    "html",
    "issue",
    "comments",
    "review_comments",
    "review_comment",
    "commits",
    "statuses",
];

impl World {
    /// The account of an author; `null` for one that was deleted.
    fn author_json(&mut self, login: &str) -> Value {
        if login == "ghost" { json!(null) } else { self.user_json(login) }
    }

    pub(super) fn user_json(&mut self, login: &str) -> Value {
        let account = self.user(login);
        user(&account)
    }

    fn api(&self, path: &str) -> String {
        format!("{}/repos/{REPOSITORY}{path}", self.url)
    }

    pub(super) fn repository_json(&mut self, full_name: &str) -> Value {
        let (owner, name) = full_name.split_once('/').unwrap();
        let value = json!({
            "id": 4242,
            "node_id": "R_4242",
            "name": name,
            "full_name": full_name,
            "private": false,
            "owner": self.user_json(owner),
            "description": null,
            "fork": full_name != REPOSITORY,
            "created_at": time(1_700_000_000),
            "updated_at": time(self.clock),
            "pushed_at": time(self.clock),
            "homepage": null,
            "size": 100,
            "stargazers_count": 0,
            "watchers_count": 0,
            "language": null,
            "has_issues": true,
            "has_projects": true,
            "has_downloads": true,
            "has_wiki": true,
            "has_pages": false,
            "has_discussions": false,
            "forks_count": 0,
            "mirror_url": null,
            "archived": false,
            "disabled": false,
            "open_issues_count": self.pulls.len(),
            "license": null,
            "allow_forking": true,
            "is_template": false,
            "web_commit_signoff_required": false,
            "topics": [],
            "visibility": "public",
            "forks": 0,
            "open_issues": self.pulls.len(),
            "watchers": 0,
            "default_branch": "main",
        });
        let base = format!("{}/repos/{full_name}", self.url);
        with_urls(value, &base, &REPOSITORY_URLS)
    }

    pub(super) fn label_json(&self, name: &str) -> Value {
        let id: u64 = name.bytes().map(u64::from).sum();
        json!({
            "id": id,
            "node_id": format!("LA_{id}"),
            "url": self.api(&format!("/labels/{name}")),
            "name": name,
            "color": "ededed",
            "default": false,
            "description": null,
        })
    }

    fn labels_json(&self, pull: &Pull) -> Vec<Value> {
        pull.labels.iter().map(|label| self.label_json(label)).collect()
    }

    /// The branches of a pull request: its head and its base.
    fn branches_json(&mut self, pull: &Pull) -> (Value, Value) {
        let head_owner = pull.head_repository.as_deref().and_then(|name| name.split_once('/'));
        let head_owner = head_owner.map_or("ghost", |(owner, _)| owner).to_owned();
        let head_repository = pull.head_repository.clone();
        let head = json!({
            "label": format!("{head_owner}:{}", pull.branch),
            "ref": pull.branch,
            "sha": pull.head,
            "user": self.user_json(&head_owner),
            "repo": head_repository.map(|name| self.repository_json(&name)),
        });
        let base = json!({
            "label": format!("caicloud:{}", pull.base),
            "ref": pull.base,
            "sha": self.commit_of_base(&pull.base),
            "user": self.user_json("caicloud"),
            "repo": self.repository_json(REPOSITORY),
        });
        (head, base)
    }

    /// A pull request as the list of pull requests and webhooks show it.
    pub(super) fn pull_json(&mut self, number: u64) -> Value {
        let pull = self.pull(number).clone();
        let (head, base) = self.branches_json(&pull);
        let closed = (pull.state == "closed").then(|| time(pull.updated));
        let value = json!({
            "id": 9000 + number,
            "node_id": format!("PR_{number}"),
            "number": number,
            "state": pull.state,
            "locked": false,
            "title": pull.title,
            "user": self.author_json(&pull.author),
            "body": pull.body,
            "created_at": time(pull.created),
            "updated_at": time(pull.updated),
            "closed_at": closed,
            "merged_at": closed.clone().filter(|_| pull.is_merged),
            "merge_commit_sha": null,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": self.labels_json(&pull),
            "milestone": null,
            "draft": pull.is_draft,
            "head": head,
            "base": base,
            "author_association": "CONTRIBUTOR",
            "auto_merge": null,
            "active_lock_reason": null,
            "merged": pull.is_merged,
            "mergeable": null,
            "rebaseable": null,
            "mergeable_state": "unknown",
            "merged_by": null,
            "comments": pull.comments.len(),
            "review_comments": 0,
            "maintainer_can_modify": false,
            "commits": pull.pushes.len(),
            "additions": 1,
            "deletions": 1,
            "changed_files": 1,
        });
        let mut value = with_urls(value, &self.api(&format!("/pulls/{number}")), &PULL_URLS);
        for link in PULL_LINKS {
            value["_links"][link] = json!({"href": value["url"]});
        }
        value
    }

    /// A pull request as an issue.
    pub(super) fn issue_json(&mut self, number: u64) -> Value {
        let pull = self.pull(number).clone();
        let reference = format!("{}/pull/{number}", self.url);
        let mut pull_request = with_urls(json!({}), &reference, &ISSUE_URLS);
        pull_request["merged_at"] = json!(null);
        let api = self.api(&format!("/issues/{number}"));
        let value = json!({
            "id": 8000 + number,
            "node_id": format!("I_{number}"),
            "number": number,
            "title": pull.title,
            "user": self.author_json(&pull.author),
            "labels": self.labels_json(&pull),
            "state": pull.state,
            "locked": false,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "comments": pull.comments.len(),
            "created_at": time(pull.created),
            "updated_at": time(pull.updated),
            "closed_at": (pull.state == "closed").then(|| time(pull.updated)),
            "author_association": "CONTRIBUTOR",
            "active_lock_reason": null,
            "draft": pull.is_draft,
            "pull_request": pull_request,
            "body": pull.body,
            "reactions": reactions(&api),
            "timeline_url": format!("{api}/timeline"),
            "performed_via_github_app": null,
            "state_reason": null,
        });
        with_urls(value, &api, &["", "repository", "labels", "comments", "events", "html"])
    }

    pub(super) fn comment_json(&mut self, number: u64, comment: &Comment) -> Value {
        let api = self.api(&format!("/issues/comments/{}", comment.id));
        let value = json!({
            "id": comment.id,
            "node_id": format!("IC_{}", comment.id),
            "issue_url": self.api(&format!("/issues/{number}")),
            "user": self.author_json(&comment.author),
            "created_at": time(comment.created),
            "updated_at": time(comment.updated),
            "author_association": "CONTRIBUTOR",
            "body": comment.body,
            "reactions": reactions(&api),
            "performed_via_github_app": null,
        });
        with_urls(value, &api, &["", "html"])
    }

    pub(super) fn review_json(&mut self, number: u64, review: &Review) -> Value {
        let api = self.api(&format!("/pulls/{number}/reviews/{}", review.id));
        json!({
            "id": review.id,
            "node_id": format!("PRR_{}", review.id),
            "user": self.author_json(&review.author),
            "body": review.body,
            "state": review.state,
            "html_url": api,
            "pull_request_url": self.api(&format!("/pulls/{number}")),
            "author_association": "MEMBER",
            "_links": {"html": {"href": api}, "pull_request": {"href": api}},
            "submitted_at": time(review.submitted),
            "commit_id": review.commit,
        })
    }

    pub(super) fn event_json(&mut self, event: &Event) -> Value {
        let mut value = json!({
            "id": event.id,
            "node_id": format!("LE_{}", event.id),
            "url": self.api(&format!("/issues/events/{}", event.id)),
            "actor": self.user_json(&event.actor),
            "event": event.kind,
            "commit_id": null,
            "commit_url": null,
            "created_at": time(event.at),
        });
        if !event.label.is_empty() {
            value["label"] = json!({"name": event.label, "color": "ededed"});
        }
        value
    }

    pub(super) fn activity_json(&mut self, number: u64) -> Vec<Value> {
        let pull = self.pull(number).clone();
        let pushes = pull.pushes.iter().rev().enumerate().map(|(index, push)| {
            let kind = match (
                push.before.starts_with("0000") && index + 1 == pull.pushes.len(),
                push.is_forced,
            ) {
                (true, _) => "branch_creation",
                (false, true) => "force_push",
                (false, false) => "push",
            };
            json!({
                "id": number * 1000 + index as u64,
                "node_id": format!("PSH_{index}"),
                "before": push.before,
                "after": push.after,
                "ref": format!("refs/heads/{}", pull.branch),
                "timestamp": time(push.at),
                "activity_type": kind,
                "actor": {"login": pull.author},
            })
        });
        pushes.collect()
    }
}

fn reactions(api: &str) -> Value {
    let mut value = json!({"url": format!("{api}/reactions"), "total_count": 0});
    for name in ["+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"] {
        value[name] = json!(0);
    }
    value
}
