//! Converts comments and reviews of the forge to the facts of an evaluation.

use compass_manifest::Policy;
use compass_manifest::review::{CommandKind, Comment, Facts, Validity, parse_commands};
use jiff::Timestamp;

use super::head_history::HeadHistory;
use super::record;
use crate::error::Result;
use crate::forge::{self, Account, PullRequest, Review, ReviewState};

/// A comment or a review, in the order of the conversation.
#[derive(Debug, Clone)]
pub(super) struct ForgeText {
    /// The number of the comment; that of a review is negated, because both are counted apart.
    pub(super) id: i64,
    pub(super) author: Account,
    pub(super) body: String,
    pub(super) created: Option<Timestamp>,
    is_edited: bool,
    /// The commit that was reviewed.
    commit: Option<String>,
}

impl ForgeText {
    /// Identifies the text in a record.
    pub(super) fn key(&self) -> u64 {
        self.id.cast_unsigned()
    }
}

/// The comments and reviews that can have commands, oldest first, without those of this program that
/// have a record.
pub(super) fn texts(
    comments: &[forge::Comment],
    reviews: &[Review],
    own: &Account,
) -> Vec<ForgeText> {
    let comments = comments.iter().filter(|one| !record::has_record(one, own));
    let comments = comments.map(|one| ForgeText {
        id: i64::try_from(one.id).unwrap_or_default(),
        author: one.author.clone(),
        body: one.body.clone(),
        created: one.created,
        is_edited: one.is_edited(),
        commit: None,
    });
    let submitted = reviews
        .iter()
        .filter(|review| review.state != ReviewState::Dismissed && !review.body.trim().is_empty());
    let reviews = submitted.map(|review| ForgeText {
        id: -i64::try_from(review.id).unwrap_or_default(),
        author: review.author.clone(),
        body: review.body.clone(),
        created: review.submitted,
        is_edited: false,
        commit: Some(review.commit.clone()),
    });
    let mut texts: Vec<ForgeText> = comments.chain(reviews).collect();
    texts.sort_by_key(|text| (text.created, text.id));
    texts
}

/// Adds the texts to the facts. Texts of bots are left out, except of those that the policy names.
pub(super) async fn add(
    facts: &mut Facts,
    pull: &PullRequest,
    texts: &[ForgeText],
    history: &HeadHistory<'_, '_>,
    policy: &Policy,
) -> Result<()> {
    if is_ignored(&pull.author, policy) {
        facts.body.clear();
    }
    facts.is_body_outdated = history.changed_since(pull.created).await?;
    for text in texts {
        let mut comment = Comment::new(&text.author.login, "");
        comment.id = text.key();
        comment.written = text.created.map_or(0, Timestamp::as_second);
        // An empty comment keeps the place, so that the index of a comment is that of its text.
        if !is_ignored(&text.author, policy) {
            comment.text.clone_from(&text.body);
            comment.validity = validity(text, history).await?;
        }
        facts.comments.push(comment);
    }
    Ok(())
}

async fn validity(text: &ForgeText, history: &HeadHistory<'_, '_>) -> Result<Validity> {
    let has_command = || {
        let is_command = |kind: &CommandKind| {
            matches!(
                kind,
                CommandKind::Queue(_) | CommandKind::Images(_) | CommandKind::Packages(_)
            )
        };
        parse_commands(&text.body).iter().any(|command| is_command(&command.kind))
    };
    if text.is_edited {
        return Ok(Validity::Edited);
    }
    // Most comments have no command, and asking about other commits can need requests.
    if !has_command() {
        return Ok(Validity::Valid);
    }
    let is_outdated = match &text.commit {
        Some(commit) => history.differs_from(commit).await?,
        None => history.changed_since(text.created).await?,
    };
    Ok(if is_outdated { Validity::Outdated } else { Validity::Valid })
}

/// Whether the texts of an account do not count: it is a bot, and the policy does not name it.
fn is_ignored(account: &Account, policy: &Policy) -> bool {
    let is_named =
        |name: &String| name.trim_start_matches('@').eq_ignore_ascii_case(&account.login);
    account.is_bot && !policy.review.roles.values().flatten().any(is_named)
}

/// Whether a text has a command that requests a label.
pub(super) fn requests(text: &str, label: &str) -> bool {
    parse_commands(text).iter().any(
        |command| matches!(&command.kind, CommandKind::Queue(to) if to.eq_ignore_ascii_case(label)),
    )
}
