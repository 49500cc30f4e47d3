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

/// Returns the index of a text in [`Conversation::texts`]; `None` for a text that was deleted.
pub(super) fn text_index(origin: Origin) -> Option<usize> {
    match origin {
        Origin::Body => Some(0),
        Origin::Comment(index) => Some(index + 1),
        Origin::Record => None,
    }
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

    /// Returns the lists of images, oldest first, each with the index of its text.
    ///
    /// Only valid texts of accounts with one of the roles count. The lists of one text are joined.
    pub(super) fn image_lists<'t>(
        &'t self,
        facts: &Facts,
        who: &[Role],
    ) -> Vec<(usize, Vec<&'t ListItem<ImageReference>>)> {
        self.lists(facts, who, |kind| match kind {
            CommandKind::Images(items) => Some(items),
            _ => None,
        })
    }

    /// Returns the lists of packages, as [`Self::image_lists`] does for images.
    pub(super) fn packages<'t>(
        &'t self,
        facts: &Facts,
        who: &[Role],
    ) -> Vec<(usize, Vec<&'t ListItem<String>>)> {
        self.lists(facts, who, |kind| match kind {
            CommandKind::Packages(items) => Some(items),
            _ => None,
        })
    }

    fn lists<'t, T>(
        &'t self,
        facts: &Facts,
        who: &[Role],
        items_of: fn(&CommandKind) -> Option<&Vec<ListItem<T>>>,
    ) -> Vec<(usize, Vec<&'t ListItem<T>>)> {
        let texts = self.texts.iter().enumerate();
        let valid = texts.filter(|(_, text)| {
            text.validity == Validity::Valid && facts.has_role(&text.author, who)
        });
        let lists = valid.map(|(index, text)| {
            let commands = text.commands.iter();
            (index, commands.filter_map(|command| items_of(&command.kind)).flatten().collect())
        });
        lists.filter(|(_, items): &(usize, Vec<_>)| !items.is_empty()).collect()
    }
}
