//! Defines the commands in the body and the comments of a pull request.

use crate::image::ImageReference;

/// A command in a body or a comment, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Command {
    /// The line, from 1. For lists and release notes, this is the line of the heading.
    pub line: usize,
    /// The kind of command, with its arguments.
    pub kind: CommandKind,
}

/// The kind of a [`Command`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandKind {
    /// `/kind LABEL`: the label in lower case, without `kind/`.
    Kind(String),
    /// `/queue LABEL`: the label in lower case, without `queue/`.
    Queue(String),
    /// `/cc @a @b`: logins or `org/team`, without `@`.
    Cc(Vec<String>),
    /// `image(s) pushed to` and the images below it.
    Images(Vec<ListItem<ImageReference>>),
    /// `packages uploaded to` and the URLs below it.
    Packages(Vec<ListItem<String>>),
    /// A release note; `None` if only its heading or a placeholder exists.
    ReleaseNote(Option<String>),
    /// A command without a valid argument.
    Incomplete {
        /// The command, such as `/queue`.
        command: &'static str,
        /// The reason why the command is incomplete.
        reason: String,
    },
}

/// An item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListItem<T> {
    /// The line, from 1.
    pub line: usize,
    /// The text, shortened if it is very long.
    pub text: String,
    /// The value, or the reason why it is invalid.
    pub value: Result<T, String>,
}

impl<T> ListItem<T> {
    /// Returns whether the item is invalid.
    pub fn is_malformed(&self) -> bool {
        self.value.is_err()
    }
}
