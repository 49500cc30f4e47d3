//! Renders the pages as HTML.

mod condition;
mod elements;
mod frame;
mod overview;
mod packages;
mod pull;
mod style;

use jiff::Timestamp;
use maud::Markup;

use super::State;
use super::texts::Texts;

pub(super) use self::style::{ICON, STYLE};

/// What all pages need.
pub(super) struct Page<'p> {
    pub(super) texts: &'static Texts,
    pub(super) repository: &'p str,
    pub(super) state: &'p State,
    pub(super) now: Timestamp,
}

impl Page<'_> {
    /// The page at `/`.
    pub(super) fn overview(&self) -> Markup {
        self.frame(self.texts.queue, &overview::content(self))
    }

    /// The page of a pull request; `None` if it is not on the board.
    pub(super) fn pull(&self, number: u64) -> Option<Markup> {
        let release = self.state.pulls.get(&number)?;
        let title = format!("#{number} {}", release.pull.title);
        Some(self.frame(&title, &pull::content(self, release)))
    }

    /// A page of the packages of a kind; `None` if the kind or the page does not exist.
    pub(super) fn packages(&self, kind: &str, page: usize) -> Option<Markup> {
        let (title, content) = packages::content(self, kind, page)?;
        Some(self.frame(title, &content))
    }

    /// The page for other paths.
    pub(super) fn not_found(&self) -> Markup {
        self.frame(self.texts.not_found, &frame::not_found(self.texts))
    }
}
