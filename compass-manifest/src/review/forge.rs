//! Reads pull requests and comments from the JSON of GitHub.
//!
//! The JSON comes from webhooks, the REST API, or `gh`. Unknown fields are ignored. A value of an
//! unexpected type is an error.

use serde_json::Value;

use super::facts::Comment;

/// The pull request of an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PullRequest {
    /// The login of the author; empty for a deleted account.
    pub author: String,
    /// The body.
    pub body: String,
    /// The labels.
    pub labels: Vec<String>,
    /// The comment or review of the event; `None` if the event deletes or dismisses it.
    pub comment: Option<Comment>,
}

/// The error for a JSON value that is not a pull request or a list of comments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The event belongs to an issue.
    #[error("the event belongs to an issue instead of a pull request")]
    Issue,
    /// The event contains no pull request.
    #[error("the event contains no pull request")]
    NoPullRequest,
    /// A value is missing.
    #[error("`{path}` is missing")]
    Missing {
        /// The path of the value, such as `[3].body`.
        path: String,
    },
    /// A value has an unexpected type.
    #[error("`{path}` should be {expected}")]
    Malformed {
        /// The path of the value, such as `[3].body`.
        path: String,
        /// The expected type.
        expected: &'static str,
    },
}

impl PullRequest {
    /// Reads an event of a workflow run or a webhook.
    ///
    /// Supports the events `pull_request`, `issue_comment`, `pull_request_review` and
    /// `pull_request_review_comment`.
    ///
    /// ```
    /// use compass_manifest::review::forge::{PayloadError, PullRequest};
    /// use serde_json::json;
    ///
    /// let event = json!({
    ///     "action": "created",
    ///     "issue": {"user": {"login": "alice"}, "body": null, "labels": [], "pull_request": {}},
    ///     "comment": {"user": {"login": "bob"}, "body": "/queue need-queue"},
    /// });
    /// let pull = PullRequest::from_event(&event)?;
    /// assert_eq!(pull.comment.as_ref().map(|comment| comment.author.as_str()), Some("bob"));
    ///
    /// let issue = json!({"issue": {"user": {"login": "alice"}}});
    /// assert_eq!(PullRequest::from_event(&issue).unwrap_err(), PayloadError::Issue);
    /// # Ok::<(), PayloadError>(())
    /// ```
    ///
    /// # Errors
    /// - [`PayloadError::Issue`] if the event belongs to an issue.
    /// - [`PayloadError::NoPullRequest`] if the event contains no pull request.
    /// - [`PayloadError::Missing`] if a value is missing.
    /// - [`PayloadError::Malformed`] if a value has an unexpected type.
    pub fn from_event(event: &Value) -> Result<Self, PayloadError> {
        let (key, pull) = match (&event["pull_request"], &event["issue"]) {
            (pull, _) if pull.is_object() => ("pull_request", pull),
            (_, issue) if issue["pull_request"].is_object() => ("issue", issue),
            (_, issue) if issue.is_object() => return Err(PayloadError::Issue),
            _ => return Err(PayloadError::NoPullRequest),
        };
        Ok(Self {
            author: login(&pull["user"]),
            body: text(&pull["body"], || format!("{key}.body"))?,
            labels: labels(&pull["labels"], &format!("{key}.labels"))?,
            comment: comment_of_event(event)?,
        })
    }
}

/// Returns the comment or review of an event.
fn comment_of_event(event: &Value) -> Result<Option<Comment>, PayloadError> {
    let action = event["action"].as_str().unwrap_or_default();
    let key = ["comment", "review"].into_iter().find(|key| !event[*key].is_null());
    if let Some(key) = key.filter(|key| !event[*key].is_object()) {
        return Err(malformed(key, "an object with `user` and `body`"));
    }
    if event["comment"].is_object() {
        let is_deleted = action == "deleted";
        return (!is_deleted).then(|| comment(&event["comment"], "comment")).transpose();
    }
    if event["review"].is_object() && action != "dismissed" {
        return review(&event["review"], "review");
    }
    Ok(None)
}

/// Reads a list of comments, oldest first.
///
/// The value is a list, a list of lists (`gh api --paginate --slurp`), or an object with `comments`
/// and `reviews` (`gh pr view --json`). Comments without a date keep their order.
///
/// # Errors
/// Returns [`PayloadError::Missing`] or [`PayloadError::Malformed`] with the path of the value.
pub fn parse_comments(value: &Value) -> Result<Vec<Comment>, PayloadError> {
    let mut dated = Vec::new();
    match value {
        Value::Array(items) => read_list(items, "", &mut dated)?,
        Value::Object(fields) if fields.contains_key("comments") => {
            for key in ["comments", "reviews"] {
                match &value[key] {
                    Value::Array(items) => read_list(items, key, &mut dated)?,
                    Value::Null => {}
                    _ => return Err(malformed(key, "a list")),
                }
            }
        }
        _ => return Err(malformed("", "a list of comments")),
    }
    if dated.iter().all(|(date, _)| date.is_some()) {
        dated.sort_by_key(|(date, _)| *date);
    }
    Ok(dated.into_iter().map(|(_, comment)| comment).collect())
}

fn read_list<'v>(
    items: &'v [Value],
    path: &str,
    dated: &mut Vec<(Option<&'v str>, Comment)>,
) -> Result<(), PayloadError> {
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match item {
            // The item is a page of a paginated response.
            Value::Array(page) if !path.contains("][") => read_list(page, &path, dated)?,
            _ => {
                let dates = ["created_at", "createdAt", "submitted_at", "submittedAt"];
                let date = dates.iter().find_map(|key| item[*key].as_str());
                dated.extend(review(item, &path)?.map(|comment| (date, comment)));
            }
        }
    }
    Ok(())
}

/// Reads a comment or a review; `None` for a pending or dismissed review.
fn review(value: &Value, path: &str) -> Result<Option<Comment>, PayloadError> {
    let state = value["state"].as_str().unwrap_or_default();
    let is_withdrawn = ["dismissed", "pending"].iter().any(|one| one.eq_ignore_ascii_case(state));
    Ok(Some(comment(value, path)?).filter(|_| !is_withdrawn))
}

fn comment(value: &Value, path: &str) -> Result<Comment, PayloadError> {
    let Value::Object(fields) = value else {
        return Err(malformed(path, "an object with `user` and `body`"));
    };
    let Some(key) = ["body", "text"].into_iter().find(|key| fields.contains_key(*key)) else {
        return Err(PayloadError::Missing { path: format!("{path}.body") });
    };
    let author = [&value["user"], &value["author"]].into_iter().map(login);
    let author = author.into_iter().find(|author| !author.is_empty()).unwrap_or_default();
    Ok(Comment::new(author, text(&value[key], || format!("{path}.{key}"))?))
}

/// Reads the login from a JSON string or an account object.
///
/// Returns an empty text for a deleted account, which GitHub calls `ghost`.
fn login(value: &Value) -> String {
    let login = value.as_str().or_else(|| value["login"].as_str());
    let login = login.unwrap_or_default().trim();
    if login.eq_ignore_ascii_case("ghost") { String::new() } else { login.to_owned() }
}

fn labels(value: &Value, path: &str) -> Result<Vec<String>, PayloadError> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        _ => return Err(malformed(path, "a list")),
    };
    let read = items.iter().enumerate().map(|(index, label)| {
        let name = label.as_str().or_else(|| label["name"].as_str());
        name.map(str::to_owned).ok_or_else(|| malformed(&format!("{path}[{index}].name"), "text"))
    });
    read.collect()
}

fn text(value: &Value, path: impl Fn() -> String) -> Result<String, PayloadError> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(malformed(&path(), "text")),
    }
}

fn malformed(path: &str, expected: &'static str) -> PayloadError {
    let path = if path.is_empty() { "the file" } else { path };
    PayloadError::Malformed { path: path.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Vec<String>, String> {
        let comments = parse_comments(value).map_err(|error| error.to_string())?;
        Ok(comments.into_iter().map(|one| format!("{}: {}", one.author, one.text)).collect())
    }

    fn event(value: &Value) -> Result<Option<String>, String> {
        let pull = PullRequest::from_event(value).map_err(|error| error.to_string())?;
        Ok(pull.comment.map(|comment| comment.text))
    }

    #[test]
    fn parse_comments_accepts_known_formats() {
        let rest = json!({"user": {"login": "alice"}, "body": "x", "id": 1});
        let graphql = json!({"author": {"login": "alice"}, "body": "x", "isMinimized": false});
        for value in [
            json!([rest]),
            json!([[rest], []]),
            json!([graphql]),
            json!({"comments": [graphql], "title": "t"}),
            json!([{"author": "alice", "text": "x"}]),
        ] {
            assert_eq!(read(&value).unwrap(), ["alice: x"], "{value}");
        }
        assert_eq!(read(&json!([])).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn parse_comments_other_formats_are_errors() {
        for (value, says) in [
            (json!("x"), "`the file` should be a list"),
            (json!({}), "`the file` should be a list"),
            (json!({"comments": "x"}), "`comments` should be a list"),
            (json!(["x"]), "`[0]` should be an object"),
            (json!([[["x"]]]), "`[0][0]` should be an object"),
            (json!([{"user": {"login": "a"}}]), "`[0].body` is missing"),
            (json!([{"user": {"login": "a"}, "body": 1}]), "`[0].body` should be text"),
            (json!({"comments": [1]}), "`comments[0]` should be an object"),
        ] {
            assert!(read(&value).unwrap_err().contains(says), "{value}: {:?}", read(&value));
        }
    }

    #[test]
    fn comment_without_account_has_no_author() {
        for comment in [
            json!({"user": null, "body": "x"}),
            json!({"user": {"login": ""}, "body": "x"}),
            json!({"author": {"login": " "}, "body": "x"}),
            json!({"author": {}, "body": "x"}),
            json!({"user": {"login": "ghost"}, "body": "x"}),
            json!({"body": "x"}),
        ] {
            assert_eq!(read(&json!([comment])).unwrap(), [": x"], "{comment}");
        }
    }

    #[test]
    fn parse_comments_sorts_by_date() {
        let value = json!({
            "comments": [
                {"author": {"login": "a"}, "body": "3", "createdAt": "2026-11-03T00:00:00Z"},
                {"author": {"login": "a"}, "body": "1", "createdAt": "2026-11-01T00:00:00Z"},
            ],
            "reviews": [
                {"author": {"login": "b"}, "body": "2", "submittedAt": "2026-11-02T00:00:00Z"},
                {"author": {"login": "b"}, "body": "0", "state": "DISMISSED", "submittedAt": "2026"},
            ],
        });
        assert_eq!(read(&value).unwrap(), ["a: 1", "b: 2", "a: 3"]);
        let undated = json!([{"user": "a", "body": "2"}, {"user": "a", "body": "1"}]);
        assert_eq!(read(&undated).unwrap(), ["a: 2", "a: 1"]);
    }

    #[test]
    fn event_withdrawn_comment_is_ignored() {
        let pull = json!({"user": {"login": "alice"}, "body": "b", "labels": [{"name": "l"}]});
        let mut issue = pull.clone();
        issue["pull_request"] = json!({"url": "u"});
        let comment = json!({"user": {"login": "bob"}, "body": "x"});
        for (value, expected) in [
            (json!({"action": "created", "issue": issue, "comment": comment}), Some("x")),
            (json!({"action": "edited", "issue": issue, "comment": comment}), Some("x")),
            (json!({"action": "deleted", "issue": issue, "comment": comment}), None),
            (json!({"action": "submitted", "pull_request": pull, "review": comment}), Some("x")),
            (json!({"action": "dismissed", "pull_request": pull, "review": comment}), None),
            (json!({"action": "deleted", "pull_request": pull, "comment": comment}), None),
            (json!({"action": "opened", "pull_request": pull}), None),
            (json!({"pull_request": {}}), None),
        ] {
            assert_eq!(event(&value).unwrap().as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn event_of_other_kind_is_error() {
        for (value, says) in [
            (json!({"issue": {"body": "b"}, "comment": {"body": "x"}}), "an issue"),
            (json!({"issue": {"body": "b", "pull_request": null}}), "an issue"),
            (json!({"ref": "refs/heads/main"}), "no pull request"),
            (json!([]), "no pull request"),
            (json!({"pull_request": {"body": 1}}), "`pull_request.body` should be text"),
            (json!({"pull_request": {"labels": [1]}}), "`pull_request.labels[0].name`"),
            (json!({"pull_request": {"labels": "l"}}), "`pull_request.labels` should be a list"),
            (json!({"pull_request": {}, "comment": {"user": "a"}}), "`comment.body`"),
            (json!({"pull_request": {}, "comment": "x"}), "`comment` should be an object"),
            (json!({"pull_request": {}, "review": ["x"]}), "`review` should be an object"),
        ] {
            assert!(event(&value).unwrap_err().contains(says), "{value}: {:?}", event(&value));
        }
    }
}
