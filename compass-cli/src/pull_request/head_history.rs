//! When the head of a pull request moved, and whether its release files changed then.

use jiff::Timestamp;

use super::record::Record;
use super::release_files::Reader;
use crate::error::Result;
use crate::forge::{Comment, Forge, PullRequest, Push};

/// The history of a head.
pub(super) struct HeadHistory<'h, 'r> {
    files: &'h Reader<'r>,
    current: String,
    head: String,
    moves: Moves,
}

/// The moves of the head, as far as the forge lists them.
enum Moves {
    /// The pushes by the forge's clock, oldest first.
    Pushes(Vec<Push>),
    /// The latest time at which other release files may have been at the head.
    Until(i64),
}

impl<'h, 'r> HeadHistory<'h, 'r> {
    /// Reads the pushes of the forge.
    ///
    /// If the forge does not show them, two times are used instead: that at which this program last saw
    /// other release files, and that of the newest commit. The author can choose the latter, so that it
    /// only adds to the former.
    pub(super) async fn read(
        forge: &dyn Forge,
        pull: &PullRequest,
        files: &'h Reader<'r>,
        own_comment: Option<&Comment>,
        record: &Record,
    ) -> Result<Self> {
        let (current, head) = (files.head()?, pull.head.commit.clone());
        let moves = match forge.pushes(pull).await? {
            Some(pushes) => Moves::Pushes(pushes),
            None => {
                let seen = own_comment.and_then(|comment| comment.updated).map(seconds);
                let is_other = !record.release_files.is_empty() && record.release_files != current;
                let seen = if is_other { seen.unwrap_or_default() } else { 0 };
                Moves::Until(seen.max(record.valid_after).max(files.newest_commit_time()?))
            }
        };
        Ok(Self { files, current, head, moves })
    }

    /// The release files at the head.
    pub(super) fn current(&self) -> &String {
        &self.current
    }

    /// The latest time at which other release files may have been at the head; 0 if the forge shows the
    /// pushes.
    pub(super) fn valid_after(&self) -> i64 {
        match &self.moves {
            Moves::Pushes(_) => 0,
            Moves::Until(time) => *time,
        }
    }

    /// Returns whether the release files changed at or after a time. A push in the same second counts.
    pub(super) async fn changed_since(&self, time: Option<Timestamp>) -> Result<bool> {
        Ok(match (&self.moves, time) {
            // The forge tells the time of every text that it shows.
            (_, None) => true,
            (Moves::Until(until), Some(time)) => seconds(time) <= *until,
            (Moves::Pushes(_), Some(time)) => match self.files_at(time).await? {
                Some(files) => files != self.current,
                None => true,
            },
        })
    }

    /// Returns whether a commit has other release files than the head.
    pub(super) async fn differs_from(&self, commit: &str) -> Result<bool> {
        Ok(self.files.at(commit).await?.is_none_or(|files| files != self.current))
    }

    /// Returns the release files at a time; `None` if they are not known.
    pub(super) async fn files_at(&self, time: Timestamp) -> Result<Option<String>> {
        let Moves::Pushes(pushes) = &self.moves else { return Ok(None) };
        let commit = match pushes.iter().find(|push| push.at >= time) {
            Some(next) => match &next.before {
                Some(before) => before,
                None => return Ok(None),
            },
            None => pushes.last().map_or(&self.head, |push| &push.after),
        };
        self.files.at(commit).await
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.as_second()
}
