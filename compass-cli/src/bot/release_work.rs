//! Looks at release pull requests with the [`Reviewer`].

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use compass_bundle::store::open_store;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::work::{OpenPull, PullRequestWork, Update, WorkDone};
use crate::board::{Packages, ReleasePull};
use crate::error::{CliError, Result};
use crate::forge::{MissedDelivery, PullState};
use crate::pull_request::{DueStep, PullReview, Reviewer, WorkReport, Written};
use crate::repository::Repository;

/// Looks at the pull requests of a repository on the forge.
#[derive(Debug)]
pub(crate) struct ReleaseWork {
    reviewer: Arc<Reviewer>,
    /// The store of the policy that was read last.
    store: Mutex<Option<String>>,
    does_work: bool,
}

impl ReleaseWork {
    /// `does_work` is whether the bot also does the work of the teams.
    pub(crate) fn new(reviewer: Reviewer, does_work: bool) -> Self {
        Self { reviewer: Arc::new(reviewer), store: Mutex::default(), does_work }
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
        let updating = isolated(move || async move { update(&reviewer, number).await });
        let Some((review, written)) = updating.await? else {
            return Ok(Update { release: None, writes: 0, is_work_due: false });
        };
        let is_work_due =
            self.does_work && review.due_step().as_ref().is_some_and(DueStep::is_allowed);
        let release = Some(self.release_pull(review));
        Ok(Update { release, writes: written.len(), is_work_due })
    }

    async fn work(&self, number: u64) -> Result<WorkDone> {
        let reviewer = Arc::clone(&self.reviewer);
        // Steps of other teams are left to them.
        let working =
            isolated(move || async move { reviewer.work(number, DueStep::is_allowed).await });
        let WorkReport { review, done, failure } = working.await?;
        Ok(WorkDone { release: self.release_pull(review), steps: done.len(), failure })
    }

    async fn packages(&self) -> Result<Packages> {
        // Nothing is published, so that versions of objects do not matter.
        let options = self.reviewer.global.store_options().allow_versioned(true);
        let store = open_store(&self.store()?, &options)?;
        let bundles = store.list().await?;
        Ok(Packages { store: store.url(), bundles })
    }

    async fn missed_deliveries(&self, events: &[&str]) -> Result<Vec<MissedDelivery>> {
        let missed = self.reviewer.forge.missed_deliveries(events).await?;
        if missed.is_none() {
            tracing::info!("the forge does not show which webhooks failed");
        }
        Ok(missed.unwrap_or_default())
    }
}

/// Runs a future in a thread of its own, because git and the rules block their thread. A panic becomes an
/// error. If this future is dropped, so is that one.
async fn isolated<T, F>(make: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (is_wanted, dropped) = oneshot::channel::<()>();
    let task = spawn_blocking(move || {
        Handle::current().block_on(async {
            tokio::select! {
                result = make() => result,
                _ = dropped => Err(CliError::usage("the bot stops").into_external()),
            }
        })
    });
    let result = task.await?;
    drop(is_wanted);
    result
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
