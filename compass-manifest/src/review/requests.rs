//! Collects the `/queue` commands of a pull request, and the recorded grants of commands that were
//! deleted.

use super::command::CommandKind;
use super::conversation::{Conversation, Origin, Text};
use super::facts::{Comment, Facts, Grant, Validity};
use super::queue::same;
use super::statement::Statement;

/// A `/queue` command.
pub(super) struct Request<'t> {
    pub(super) origin: Origin,
    pub(super) line: usize,
    pub(super) by: &'t str,
    pub(super) to: &'t str,
    /// Whether the release files changed after the command was given.
    pub(super) is_outdated: bool,
    comment: Option<u64>,
    written: i64,
    grant: Option<&'t Grant>,
}

impl Request<'_> {
    /// Returns whether the record has a grant of this request for the contents of the head.
    pub(super) fn is_granted(&self, facts: &Facts) -> bool {
        self.grant.is_some_and(|grant| grant.release_files == facts.release_files)
    }

    /// Returns the grant of this request for the contents of the head.
    pub(super) fn grant(&self, to: &str, facts: &Facts) -> Grant {
        Grant {
            to: to.to_owned(),
            by: self.by.to_owned(),
            comment: self.comment,
            written: self.written,
            release_files: facts.release_files.clone(),
        }
    }
}

impl Conversation {
    /// Returns the commands in the order in which they were given.
    ///
    /// Commands in edited comments do not count. A grant in the record replaces a command that was
    /// deleted or edited later.
    pub(super) fn requests<'t>(&'t self, facts: &'t Facts) -> Vec<Request<'t>> {
        let grants = facts.granted.as_deref().unwrap_or_default();
        let mut requests = Vec::new();
        for text in self.texts().iter().filter(|text| text.validity != Validity::Edited) {
            for command in &text.commands {
                if let CommandKind::Queue(to) = &command.kind {
                    requests.push(request(text, command.line, to, facts));
                }
            }
        }
        for request in &mut requests {
            let matching = grants.iter().filter(|grant| request.is_of(grant));
            // Of several grants, that for the contents of the head decides.
            request.grant = matching.max_by_key(|grant| grant.release_files == facts.release_files);
        }
        let is_lost = |grant: &&Grant| {
            grant.release_files == facts.release_files
                && !requests.iter().any(|request| request.is_of(grant))
        };
        let lost: Vec<_> = grants.iter().filter(is_lost).collect();
        for grant in lost {
            let later = |request: &Request<'_>| {
                request.comment.is_some() && request.written > grant.written
            };
            let at = requests.iter().position(later).unwrap_or(requests.len());
            requests.insert(at, recorded(grant));
        }
        requests
    }

    /// Returns remarks about edited comments with commands.
    pub(super) fn edited(&self) -> Vec<Statement> {
        let edited = self.texts().iter().filter(|text| {
            text.validity == Validity::Edited && text.commands.iter().any(is_request)
        });
        let accounts = edited.take(MAX_EDITED).map(|text| text.author.clone());
        accounts.map(Statement::EditedComment).collect()
    }
}

/// The maximum number of edited comments in a status.
const MAX_EDITED: usize = 10;

fn is_request(command: &super::command::Command) -> bool {
    matches!(
        command.kind,
        CommandKind::Queue(_) | CommandKind::Images(_) | CommandKind::Packages(_)
    )
}

fn request<'t>(text: &'t Text, line: usize, to: &'t str, facts: &'t Facts) -> Request<'t> {
    let comment: Option<&Comment> = match text.origin {
        Origin::Comment(index) => facts.comments.get(index),
        Origin::Body | Origin::Record => None,
    };
    Request {
        origin: text.origin,
        line,
        by: &text.author,
        to,
        is_outdated: match comment {
            Some(comment) => comment.validity == Validity::Outdated,
            None => facts.is_body_outdated,
        },
        comment: comment.map(|comment| comment.id),
        written: comment.map_or(0, |comment| comment.written),
        grant: None,
    }
}

/// The request of a grant whose command was deleted or edited.
fn recorded(grant: &Grant) -> Request<'_> {
    Request {
        origin: Origin::Record,
        line: 0,
        by: &grant.by,
        to: &grant.to,
        is_outdated: false,
        comment: grant.comment,
        written: grant.written,
        grant: Some(grant),
    }
}

impl Request<'_> {
    fn is_of(&self, grant: &Grant) -> bool {
        self.comment == grant.comment && same(self.to, &grant.to)
    }
}
