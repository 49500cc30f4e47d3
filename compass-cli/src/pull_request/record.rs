//! The record in the comment of this program: the granted steps, and the last failure.
//!
//! Comments of other accounts are not read, so that only this program can write a record.

use std::fmt::Write as _;

use compass_manifest::review::{Grant, Status};
use serde::{Deserialize, Serialize};

use super::head_history::HeadHistory;
use crate::forge::{Account, Comment};

/// The first line of the comment of this program.
pub(super) const MARKER: &str = "<!-- compass:review -->";

/// The beginning of the line with the record.
const RECORD: &str = "<!-- compass:record ";

/// The maximum number of grants for other release files than those of the head.
const MAX_FORMER: usize = 20;

/// The record of a pull request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The granted steps, also those for release files that were at the head earlier.
    pub(crate) grants: Vec<Grant>,
    /// The base branch, whose policy granted the steps.
    pub(crate) base: String,
    /// The release files at the head.
    pub(crate) release_files: String,
    /// Requests up to this time, in seconds since 1970, are for other release files; 0 if the forge
    /// shows the pushes.
    pub(crate) valid_after: i64,
    /// The last failure of the work for this pull request.
    pub(crate) failure: Option<Failure>,
}

/// A failure of the work of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The label of the pull request, without `queue/`.
    pub(crate) state: String,
    /// The release files at the head.
    #[serde(rename = "releaseFiles")]
    pub(crate) release_files: String,
    /// What failed, why, and what to do.
    pub(crate) text: String,
}

/// The form of a record in a comment.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredRecord {
    grants: Vec<StoredGrant>,
    base: String,
    release_files: String,
    valid_after: i64,
    failure: Option<Failure>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StoredGrant {
    to: String,
    by: String,
    comment: Option<u64>,
    written: i64,
    release_files: String,
}

/// Finds the comment of an account with a record: the oldest, so that two programs that run at once
/// agree on it.
pub(super) fn find(comments: &[Comment], own: &Account) -> (Option<Comment>, Record) {
    match with_marker(comments, own).next() {
        Some(comment) => (Some(comment.clone()), Record::parse(&comment.body)),
        None => (None, Record::default()),
    }
}

/// Finds the other comments of an account with a record, which a second program wrote that ran at the
/// same time.
pub(super) fn duplicates(comments: &[Comment], own: &Account) -> Vec<u64> {
    with_marker(comments, own).skip(1).map(|comment| comment.id).collect()
}

fn with_marker<'c>(comments: &'c [Comment], own: &'c Account) -> impl Iterator<Item = &'c Comment> {
    comments.iter().filter(move |comment| has_record(comment, own))
}

/// Whether a comment is that of an account with a record.
pub(super) fn has_record(comment: &Comment, own: &Account) -> bool {
    own.id != 0 && comment.author.id == own.id && comment.body.starts_with(MARKER)
}

impl Record {
    /// Returns the record after an evaluation.
    pub(super) fn updated(
        &self,
        grants: Vec<Grant>,
        status: &Status,
        history: &HeadHistory<'_, '_>,
        base: &str,
    ) -> Self {
        let current = history.current();
        let mut former: Vec<Grant> =
            grants.into_iter().filter(|grant| grant.release_files != *current).collect();
        former.drain(..former.len().saturating_sub(MAX_FORMER));
        former.extend(status.grants.iter().cloned());
        let state = status.state.as_deref().unwrap_or_default();
        let is_current =
            |failure: &&Failure| failure.state == state && failure.release_files == *current;
        Self {
            grants: former,
            base: base.to_owned(),
            release_files: current.clone(),
            valid_after: history.valid_after(),
            failure: self.failure.as_ref().filter(is_current).cloned(),
        }
    }

    /// The granted steps that count for a base branch: those that its own policy granted. A record
    /// without a base is of an earlier version.
    pub(super) fn grants_for(&self, base: &str) -> Vec<Grant> {
        match self.base.is_empty() || self.base == base {
            true => self.grants.clone(),
            false => Vec::new(),
        }
    }

    /// Reads the record of a comment. Without a valid record, no step counts as granted.
    fn parse(comment: &str) -> Self {
        // The record is the last line; lines before it can contain texts of other people.
        let line = comment.lines().rev().find_map(|line| line.strip_prefix(RECORD));
        let json = line.and_then(|line| line.trim_end().strip_suffix("-->"));
        let stored = json.and_then(|json| serde_json::from_str::<StoredRecord>(json.trim()).ok());
        let StoredRecord { grants, base, release_files, valid_after, failure } =
            stored.unwrap_or_default();
        let grants = grants.into_iter().map(|stored| {
            let mut grant = Grant::new(stored.to, stored.by, stored.release_files);
            (grant.comment, grant.written) = (stored.comment, stored.written);
            grant
        });
        Self { grants: grants.collect(), base, release_files, valid_after, failure }
    }

    /// Writes the record as an HTML comment, which the forge does not show.
    pub(super) fn to_line(&self) -> String {
        let grants = self.grants.iter().map(|grant| StoredGrant {
            to: grant.to.clone(),
            by: grant.by.clone(),
            comment: grant.comment,
            written: grant.written,
            release_files: grant.release_files.clone(),
        });
        let stored = StoredRecord {
            grants: grants.collect(),
            base: self.base.clone(),
            release_files: self.release_files.clone(),
            valid_after: self.valid_after,
            failure: self.failure.clone(),
        };
        let json = serde_json::to_string(&stored).unwrap_or_default();
        let mut line = RECORD.to_owned();
        // `>` could end the HTML comment. In JSON, both characters occur only in strings.
        for c in json.chars() {
            let _ = match c {
                '<' | '>' => write!(line, "\\u{:04x}", u32::from(c)),
                c => write!(line, "{c}"),
            };
        }
        line + " -->"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comment(id: u64, author: u64, body: String) -> Comment {
        let author = Account { login: "robot".to_owned(), id: author, is_bot: false };
        Comment { id, author, body, created: None, updated: None }
    }

    #[test]
    fn record_round_trips_hostile_text() {
        let mut grant = Grant::new("need-queue", "--><b>\n\"", "files");
        (grant.comment, grant.written) = (Some(7), 12);
        let text = "--> <!-- compass:record {} -->\n\u{1f980}".to_owned();
        let failure = Failure { state: "s".to_owned(), release_files: "f".to_owned(), text };
        let record = Record {
            grants: vec![grant],
            base: "release/2.7".to_owned(),
            release_files: "f".to_owned(),
            valid_after: 3,
            failure: Some(failure),
        };
        let line = record.to_line();
        assert_eq!(line.matches("-->").count(), 1);
        assert_eq!(Record::parse(&format!("{MARKER}\ntext\n{line}\n")), record);
    }

    proptest! {
        #[test]
        fn record_any_text_round_trips(
            texts in prop::array::uniform5("\\PC{0,8}|-->|<!--|\n"),
            numbers in any::<(Option<u64>, i64, i64)>(),
        ) {
            let [to, by, release_files, state, text] = texts;
            let mut grant = Grant::new(to, by, release_files.clone());
            (grant.comment, grant.written) = (numbers.0, numbers.1);
            let failure = Some(Failure { state, release_files: release_files.clone(), text });
            let valid_after = numbers.2;
            let record = Record {
                grants: vec![grant], base: String::new(), release_files, valid_after, failure,
            };
            let line = record.to_line();
            prop_assert_eq!((line.matches("-->").count(), line.lines().count()), (1, 1));
            prop_assert_eq!(Record::parse(&line), record);
        }

        #[test]
        fn record_of_any_comment_is_read(body in any::<String>()) {
            prop_assert_eq!(Record::parse(&body), Record::default());
            Record::parse(&format!("{RECORD}{body} -->"));
        }
    }

    #[test]
    fn find_ignores_other_accounts() {
        let own = Account { login: "robot".to_owned(), id: 5, is_bot: false };
        let body = |to: &str| {
            let grants = vec![Grant::new(to, "a", "f")];
            format!("{MARKER}\n{}", Record { grants, ..Record::default() }.to_line())
        };
        let forged = comment(1, 6, body("forged"));
        let quoted = comment(2, 5, format!("> {}", body("quoted")));
        let comments = [forged, quoted, comment(3, 5, body("own")), comment(4, 5, body("second"))];
        let (found, record) = find(&comments, &own);
        assert_eq!((found.unwrap().id, record.grants[0].to.as_str()), (3, "own"));
        assert_eq!(duplicates(&comments, &own), [4]);
        assert_eq!(find(&comments, &Account::default()).0, None);
        assert_eq!(Record::parse("<!-- compass:record [1] -->"), Record::default());
        let in_text = Record { valid_after: 1, ..Record::default() }.to_line();
        let last = Record { valid_after: 2, ..Record::default() };
        let comment = format!("{MARKER}\n```\n{in_text}\n```\n{}\n", last.to_line());
        assert_eq!(Record::parse(&comment), last);
    }
}
