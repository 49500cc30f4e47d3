//! Does the work of the teams for a pull request: copies its images, and publishes its packages.
//!
//! The work ends with the comment that a person would write. Finished steps are skipped, so that
//! interrupted work continues.

use compass_manifest::review::{Guard, NextStep, Outcome, Role, Verdict};

use super::publication;
use super::{PullReview, Reviewer, Written};
use crate::error::{CliError, Result};
use crate::forge::{ForgeError, PullState};

/// The work that a step needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Copies the images to the release registry.
    Sync,
    /// Builds the packages, and uploads them to the store.
    Publish,
}

/// The result of the work for a pull request.
#[derive(Debug)]
pub(crate) struct WorkReport {
    /// The state of the pull request at the end.
    pub(crate) review: PullReview,
    /// The finished steps, in words.
    pub(crate) done: Vec<String>,
    /// The error that ended the work early.
    pub(crate) failure: Option<CliError>,
}

/// A step whose work can be done.
#[derive(Debug, Clone)]
pub(crate) struct DueStep {
    pub(crate) work: Work,
    /// The label before the step, without `queue/`.
    pub(crate) from: String,
    /// The label after the step, without `queue/`.
    pub(crate) to: String,
    /// Whether the own account has a role of the step.
    is_allowed: bool,
    roles: String,
}

impl PullReview {
    /// The next step that needs work of a team.
    pub(crate) fn due_step(&self) -> Option<DueStep> {
        if self.pull.state != PullState::Open {
            return None;
        }
        let from = self.status.state.clone()?;
        let find = |next: &NextStep| {
            let has = |guard: Guard| next.guards.iter().any(|one| one.guard == guard.name());
            let work = match () {
                () if has(Guard::BundlePublished) || has(Guard::PackagesListed) => Work::Publish,
                () if has(Guard::ImagesInRelease) => Work::Sync,
                () => return None,
            };
            let is_own = |login: &String| login.eq_ignore_ascii_case(&self.own.login);
            let roles: Vec<&str> = next.who.iter().map(Role::as_str).collect();
            Some(DueStep {
                work,
                from: from.clone(),
                to: next.to.clone(),
                is_allowed: next.people.iter().any(is_own),
                roles: roles.join(" or "),
            })
        };
        self.status.next.iter().find_map(find)
    }

    /// Whether the own account requested a step, and the request still counts.
    fn has_own_request(&self, to: &str) -> bool {
        self.status.transitions.iter().any(|transition| {
            transition.to.eq_ignore_ascii_case(to)
                && transition.by.eq_ignore_ascii_case(&self.own.login)
                && transition.from == self.status.state
                && transition.outcome != Outcome::Outdated
        })
    }
}

/// The maximum number of steps in one run, in case a queue has a loop.
const MAX_STEPS: usize = 8;

impl Reviewer {
    /// Does the due work of a pull request, step by step. `is_wanted` selects steps.
    ///
    /// A failure of the work is written into the comment of the pull request.
    ///
    /// # Errors
    /// If the pull request cannot be read or written.
    pub(crate) async fn work(
        &self,
        number: u64,
        is_wanted: impl Fn(&DueStep) -> bool + Send + Sync,
    ) -> Result<WorkReport> {
        let (mut review, _) = self.look_and_write(number).await?;
        let mut done = Vec::new();
        for _ in 0..MAX_STEPS {
            let Some(step) = review.due_step().filter(|step| is_wanted(step)) else { break };
            if !step.is_allowed {
                let failure = Some(not_allowed(&review, &step));
                return Ok(WorkReport { review, done, failure });
            }
            let comment = match self.work_on(&review, &step).await {
                Ok(comment) => comment,
                Err(error) => {
                    let review = self.write_failure(review, &error).await?;
                    return Ok(WorkReport { review, done, failure: Some(error) });
                }
            };
            done.push(step.describe());
            let moved = self.request(number, &step, &comment).await?;
            let is_moved = moved.status.state.as_deref() != Some(step.from.as_str());
            review = moved;
            if !is_moved {
                let failure = Some(not_moved(&review, &step));
                return Ok(WorkReport { review, done, failure });
            }
        }
        Ok(WorkReport { review, done, failure: None })
    }

    /// Does the work of a step; returns the comment that requests it.
    async fn work_on(&self, review: &PullReview, step: &DueStep) -> Result<String> {
        let command = format!("/queue {}\n", step.to);
        match step.work {
            Work::Sync => {
                publication::sync(review, self).await?;
                Ok(command)
            }
            Work::Publish => {
                let urls = publication::publish(review, self).await?;
                Ok(format!("packages uploaded to\n{}\n\n{command}", urls.join("\n")))
            }
        }
    }

    /// Requests a step with a comment, unless it was requested, and looks at the pull request again.
    async fn request(&self, number: u64, step: &DueStep, comment: &str) -> Result<PullReview> {
        for _ in 0..2 {
            let (review, _) = self.look_and_write(number).await?;
            let is_due = review.status.state.as_deref() == Some(step.from.as_str());
            if !is_due || review.has_own_request(&step.to) {
                return Ok(review);
            }
            match self.forge.create_comment(number, comment).await {
                // Whether the comment exists is seen when the pull request is read again.
                Ok(_) | Err(ForgeError::Unconfirmed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.look_and_write(number).await?.0)
    }

    /// Writes a failure into the comment and the status.
    async fn write_failure(&self, mut review: PullReview, error: &CliError) -> Result<PullReview> {
        review.set_failure(&error.to_string());
        let _: Vec<Written> = self.write(&review).await?;
        Ok(review)
    }
}

impl DueStep {
    /// Whether the own account has a role of the step.
    pub(crate) fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Describes the work that is to be done.
    pub(crate) fn plan(&self) -> String {
        let what = match self.work {
            Work::Sync => "copy the images",
            Work::Publish => "publish the packages",
        };
        match self.is_allowed {
            true => format!("would {what}, and comment `/queue {}`", self.to),
            false => {
                format!("would not {what}: this account does not have the role {}", self.roles)
            }
        }
    }

    fn describe(&self) -> String {
        match self.work {
            Work::Sync => format!("copied the images: queue/{}", self.to),
            Work::Publish => format!("published the packages: queue/{}", self.to),
        }
    }
}

fn not_allowed(review: &PullReview, step: &DueStep) -> CliError {
    let DueStep { roles, to, .. } = step;
    CliError::usage(format!(
        "@{} does not have the role {roles}, which the step to queue/{to} needs",
        review.own.login
    ))
    .hint("add the account to `review.roles` in the policy of the base branch")
}

fn not_moved(review: &PullReview, step: &DueStep) -> CliError {
    let next = review.status.next.iter().find(|next| next.to == step.to);
    let guards = next.map(|next| next.guards.as_slice()).unwrap_or_default();
    let open = guards.iter().filter(|guard| guard.verdict != Verdict::Holds);
    let reasons: Vec<&str> = open.map(|guard| guard.explanation.as_str()).collect();
    let error = CliError::check_failed(format!(
        "#{} did not move to queue/{} although the work is done",
        review.pull.number, step.to
    ));
    match reasons.is_empty() {
        true => error.hint("`compass review --number N` shows why"),
        false => error.with_cause(reasons.join("; ")),
    }
}
