//! Collects the commands of a body and its comments, with their authors.

use crate::image::ImageReference;

use super::command::{Command, CommandKind, ListItem};
use super::facts::{Facts, Validity};
use super::parser::parse_commands;
use super::queue::Role;

/// The text of a pull request that contains a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// The body.
    Body,
    /// The comment with this index, from 0.
    Comment(usize),
    /// The record of the steps that were granted earlier; the text with the command was deleted or
    /// edited since.
    Record,
}

/// All commands of a pull request, oldest first.
pub(super) struct Conversation {
    texts: Vec<Text>,
}

/// The commands of one text.
pub(super) struct Text {
    pub(super) origin: Origin,
    pub(super) author: String,
    pub(super) validity: Validity,
    pub(super) commands: Vec<Command>,
}

impl Conversation {
    pub(super) fn new(facts: &Facts) -> Self {
        let body = Text {
            origin: Origin::Body,
            author: facts.author.clone(),
            validity: Validity::Valid,
            commands: parse_commands(&facts.body),
        };
        let comments = facts.comments.iter().enumerate().map(|(index, comment)| Text {
            origin: Origin::Comment(index),
            author: comment.author.clone(),
            validity: comment.validity,
            commands: parse_commands(&comment.text),
        });
        Self { texts: std::iter::once(body).chain(comments).collect() }
    }

    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    pub(super) fn body(&self) -> impl Iterator<Item = &CommandKind> {
        self.texts.iter().take(1).flat_map(|text| &text.commands).map(|command| &command.kind)
    }

    /// Returns the latest valid list of images, and an invalid item of a later list.
    ///
    /// A list is valid if all its items are. Only valid texts of accounts with one of the roles count.
    /// The lists of one text are joined.
    pub(super) fn image_lists(
        &self,
        facts: &Facts,
        who: &[Role],
    ) -> (Option<Vec<ImageReference>>, Option<ListItem<ImageReference>>) {
        let mut malformed = None;
        for text in self.by(facts, who).rev() {
            let items: Vec<&ListItem<ImageReference>> = text
                .commands
                .iter()
                .filter_map(|command| match &command.kind {
                    CommandKind::Images(items) => Some(items),
                    _ => None,
                })
                .flatten()
                .collect();
            if items.is_empty() {
                continue;
            }
            match items.iter().find(|item| item.is_malformed()) {
                Some(item) => malformed = malformed.or_else(|| Some((*item).clone())),
                None => {
                    let images = items.iter().filter_map(|item| item.value.as_ref().ok());
                    return (Some(images.cloned().collect()), malformed);
                }
            }
        }
        (None, malformed)
    }

    /// Returns the packages that the latest text with packages lists.
    ///
    /// Only valid texts of accounts with one of the roles count.
    pub(super) fn packages(&self, facts: &Facts, who: &[Role]) -> Vec<ListItem<String>> {
        let lists = self.by(facts, who).rev().map(|text| {
            let items = text.commands.iter().filter_map(|command| match &command.kind {
                CommandKind::Packages(items) => Some(items),
                _ => None,
            });
            items.flatten().cloned().collect::<Vec<_>>()
        });
        lists.into_iter().find(|items| !items.is_empty()).unwrap_or_default()
    }

    fn by(&self, facts: &Facts, who: &[Role]) -> impl DoubleEndedIterator<Item = &Text> {
        let valid = self.texts.iter().filter(|text| text.validity == Validity::Valid);
        valid.filter(|text| facts.has_role(&text.author, who))
    }
}
