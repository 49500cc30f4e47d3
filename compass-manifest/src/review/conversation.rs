//! What a body and its comments say, and who says it.

use crate::image::ImageReference;

use super::command::{Command, CommandKind, ListItem, parse};
use super::facts::Facts;
use super::queue::Role;

/// Where in a pull request something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// In its body.
    Body,
    /// In one of its comments, from 0.
    Comment(usize),
}

/// All commands of a pull request, oldest first.
pub(super) struct Conversation {
    texts: Vec<Text>,
}

/// What one text says.
pub(super) struct Text {
    pub(super) origin: Origin,
    pub(super) author: String,
    pub(super) commands: Vec<Command>,
}

impl Conversation {
    pub(super) fn new(facts: &Facts) -> Self {
        let body = Text {
            origin: Origin::Body,
            author: facts.author.clone(),
            commands: parse(&facts.body),
        };
        let comments = facts.comments.iter().enumerate().map(|(index, comment)| Text {
            origin: Origin::Comment(index),
            author: comment.author.clone(),
            commands: parse(&comment.text),
        });
        Self { texts: std::iter::once(body).chain(comments).collect() }
    }

    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    pub(super) fn body(&self) -> impl Iterator<Item = &CommandKind> {
        self.texts.iter().take(1).flat_map(|text| &text.commands).map(|command| &command.kind)
    }

    /// The latest complete list of images by somebody with one of some roles, and the latest item
    /// that cannot be read. Lists of one text belong together.
    pub(super) fn image_lists(
        &self,
        facts: &Facts,
        who: &[Role],
    ) -> (Option<Vec<ImageReference>>, Option<ListItem<ImageReference>>) {
        let mut broken = None;
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
                Some(item) => broken = broken.or_else(|| Some((*item).clone())),
                None => {
                    let images = items.iter().filter_map(|item| item.value.as_ref().ok());
                    return (Some(images.cloned().collect()), broken);
                }
            }
        }
        (None, broken)
    }

    /// The packages of the latest text by somebody with one of some roles that lists any.
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
        self.texts.iter().filter(|text| facts.may(&text.author, who))
    }
}
