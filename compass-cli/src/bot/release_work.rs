//! Looks at release pull requests with the [`Reviewer`].

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use compass_bundle::store::open_store;

use super::work::{OpenPull, PullRequestWork, Update};
use crate::board::{Packages, ReleasePull};
use crate::error::{CliError, Result};
use crate::forge::PullState;
use crate::pull_request::{PullReview, Reviewer, Written};
use crate::repository::Repository;

/// Looks at the pull requests of a repository on the forge.
#[derive(Debug)]
pub(crate) struct ReleaseWork {
    reviewer: Arc<Reviewer>,
    /// The store of the policy that was read last.
    store: Mutex<Option<String>>,
}

impl ReleaseWork {
    pub(crate) fn new(reviewer: Reviewer) -> Self {
        Self { reviewer: Arc::new(reviewer), store: Mutex::default() }
    }

    /// The store of the base branch that was read last. At first, that of the clone.
    fn store(&self) -> Result<String> {
        let known = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let store = match known {
            Some(store) => Some(store),
            None => Repository::open(&self.reviewer.global)?.policy.store.clone(),
        };
        store.ok_or_else(|| CliError::usage("the policy names no store"))
    }

    fn release_pull(&self, review: PullReview) -> ReleasePull {
        let policy = &review.source.repository.policy;
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&policy.store);
        let queue = policy.review.queue.labels().into_iter().map(str::to_owned).collect();
        let PullReview { mut pull, targets, remarks, status, record, .. } = review;
        pull.body = String::new();
        let failure = record.failure.map(|failure| failure.text);
        ReleasePull { pull, status, targets, remarks, failure, queue }
    }
}

#[async_trait]
impl PullRequestWork for ReleaseWork {
    async fn open_pull_requests(&self) -> Result<Vec<OpenPull>> {
        let open = self.reviewer.forge.open_pull_requests(&[]).await?;
        let open =
            open.into_iter().map(|pull| OpenPull { number: pull.number, base: pull.base.name });
        Ok(open.collect())
    }

    async fn update(&self, number: u64) -> Result<Update> {
        let reviewer = Arc::clone(&self.reviewer);
        // Git and the rules block their thread. A panic becomes an error of this pull request.
        let updating = tokio::task::spawn_blocking(move || {
            tokio::runtime::Handle::current().block_on(update(&reviewer, number))
        });
        let Some((review, written)) = updating.await?? else {
            return Ok(Update { release: None, writes: 0 });
        };
        Ok(Update { release: Some(self.release_pull(review)), writes: written.len() })
    }

    async fn packages(&self) -> Result<Packages> {
        // Nothing is published, so that versions of objects do not matter.
        let options = self.reviewer.global.store_options().allow_versioned(true);
        let store = open_store(&self.store()?, &options)?;
        let bundles = store.list().await?;
        Ok(Packages { store: store.url(), bundles })
    }
}

/// Looks at a pull request, and writes what differs; `None` if it is not an open release.
async fn update(reviewer: &Reviewer, number: u64) -> Result<Option<(PullReview, Vec<Written>)>> {
    match reviewer.forge.pull_request(number).await {
        Ok(pull) if pull.state == PullState::Open => {}
        Ok(_) => return Ok(None),
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let review = Box::pin(reviewer.look(number)).await?;
    if !is_release(&review) {
        return Ok(None);
    }
    reviewer.write_review(review).await.map(Some)
}

/// Whether a pull request releases something, or asks for a place in the queue. Nothing is written to
/// others.
fn is_release(review: &PullReview) -> bool {
    let status = &review.status;
    !review.targets.is_empty()
        || status.state.is_some()
        || !status.transitions.is_empty()
        || review.own_comment.is_some()
}
