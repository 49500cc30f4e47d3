//! Writes what differs: the comment, the labels and the status.
//!
//! The comment is written first, because it has the record of the granted steps. Labels are added before
//! others are removed, so that the pull request is in some list at any time.

use super::{PullReview, Reviewer, record};
use crate::forge::{ForgeError, PullState};

/// Something that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    CommentCreated,
    CommentUpdated,
    DuplicateDeleted,
    LabelAdded(String),
    LabelRemoved(String),
    StatusSet,
}

impl Written {
    /// Returns the words for the output.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::CommentCreated => "created the comment".to_owned(),
            Self::CommentUpdated => "updated the comment".to_owned(),
            Self::DuplicateDeleted => "deleted a second comment".to_owned(),
            Self::LabelAdded(label) => format!("added the label {label}"),
            Self::LabelRemoved(label) => format!("removed the label {label}"),
            Self::StatusSet => "set the commit status".to_owned(),
        }
    }
}

impl Reviewer {
    /// Writes the comment, the labels and the status of an open pull request, where they differ.
    ///
    /// # Errors
    /// [`ForgeError::is_stale`] is true if the pull request should be looked at again.
    pub(super) async fn write(&self, review: &PullReview) -> Result<Vec<Written>, ForgeError> {
        let mut written = Vec::new();
        if review.pull.state != PullState::Open {
            return Ok(written);
        }
        written.extend(self.write_comment(review).await?);
        for id in &review.duplicates {
            self.forge.delete_comment(*id).await?;
            written.push(Written::DuplicateDeleted);
        }
        self.write_labels(review, &mut written).await?;
        written.extend(self.write_status(review).await?);
        Ok(written)
    }

    /// Sets the status of the head. If several open pull requests have the same head, the status is that
    /// of the first one: otherwise each would replace that of the others again and again.
    async fn write_status(&self, review: &PullReview) -> Result<Option<Written>, ForgeError> {
        let PullReview { pull, commit_status: status, .. } = review;
        let commit = &pull.head.commit;
        if self.forge.commit_status(commit, &status.context).await?.as_ref() == Some(status) {
            return Ok(None);
        }
        let open = self.forge.open_pull_requests(&[]).await?;
        if open.iter().any(|other| other.head.commit == *commit && other.number < pull.number) {
            return Ok(None);
        }
        self.forge.set_commit_status(commit, status).await?;
        Ok(Some(Written::StatusSet))
    }

    async fn write_labels(
        &self,
        review: &PullReview,
        written: &mut Vec<Written>,
    ) -> Result<(), ForgeError> {
        let number = review.pull.number;
        let (add, remove) = (&review.status.add_labels, &review.status.remove_labels);
        if !add.is_empty() {
            self.forge.add_labels(number, add).await?;
            written.extend(add.iter().cloned().map(Written::LabelAdded));
        }
        for label in remove {
            self.forge.remove_label(number, label).await?;
            written.push(Written::LabelRemoved(label.clone()));
        }
        Ok(())
    }

    async fn write_comment(&self, review: &PullReview) -> Result<Option<Written>, ForgeError> {
        let Some(known) = &review.own_comment else {
            return self.create_comment(review).await.map(Some);
        };
        if is_same_text(&known.body, &review.comment) {
            return Ok(None);
        }
        match self.forge.update_comment(known.id, &review.comment).await {
            Ok(_) => Ok(Some(Written::CommentUpdated)),
            // The comment was deleted in the meantime.
            Err(error) if error.is_not_found() => self.create_comment(review).await.map(Some),
            Err(error) => Err(error),
        }
    }

    /// Creates the comment. If the answer was lost, looks whether the comment exists.
    async fn create_comment(&self, review: &PullReview) -> Result<Written, ForgeError> {
        let number = review.pull.number;
        match self.forge.create_comment(number, &review.comment).await {
            Ok(_) => Ok(Written::CommentCreated),
            Err(error @ ForgeError::Unconfirmed { .. }) => {
                let comments = self.forge.comments(number).await?;
                match record::find(&comments, &review.own) {
                    (Some(found), _) if is_same_text(&found.body, &review.comment) => {
                        Ok(Written::CommentCreated)
                    }
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether two texts are equal apart from line endings, which forges change.
fn is_same_text(one: &str, other: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(str::to_owned).collect::<Vec<_>>();
    lines(one) == lines(other)
}
