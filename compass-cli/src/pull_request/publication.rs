//! Copies the images of a pull request, and publishes its packages.

use compass_bundle::store::open_store;
use compass_registry::OnExistingTag;

use super::{PullReview, ReleaseTarget, Reviewer, TargetFacts, holds};
use crate::error::{CliError, Result};
use crate::image_transfer::{ImageTransfer, ResultSlots, sync as sync_images};
use crate::packaging::{self, ImageOrigin, Options, require_commit, write_to_store};
use crate::registries::Registries;
use crate::repository::Repository;
use crate::rule_gate::GateArgs;

/// Copies the images that the release registry does not have.
///
/// # Errors
/// If a tag of the release registry has another image: a release is not replaced without a person.
pub(super) async fn sync(review: &PullReview, reviewer: &Reviewer) -> Result<()> {
    let Reviewer { global, .. } = reviewer;
    let repository = &review.source.repository;
    let mut transfers = Vec::new();
    for facts in &review.targets {
        require_releasable(facts, repository, reviewer)?;
        let images = repository.target_images(&facts.target.arguments())?;
        transfers.extend(images.iter().map(ImageTransfer::of));
    }
    let registries = Registries::new(repository, global);
    let output = reviewer.output.silenced();
    let progress = output.progress("sync");
    let options = global.copy_options(progress.shared()).on_existing_tag(OnExistingTag::Error);
    let results = ResultSlots::new(&transfers);
    sync_images(&results, &registries, &options, false).await?;
    let failed = results.take().into_iter().filter_map(|result| result.result.err());
    match failed.reduce(|first, other| first.with_cause(other.message)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Publishes the packages that the store does not have; returns the URLs of all of them.
pub(super) async fn publish(review: &PullReview, reviewer: &Reviewer) -> Result<Vec<String>> {
    let mut urls = Vec::new();
    for facts in &review.targets {
        let known = facts.bundle.url.clone().filter(|_| holds(&facts.bundle.published));
        urls.push(match known {
            Some(url) => url,
            None => publish_one(review, facts, reviewer).await?,
        });
    }
    Ok(urls)
}

async fn publish_one(
    review: &PullReview,
    facts: &TargetFacts,
    reviewer: &Reviewer,
) -> Result<String> {
    let Reviewer { global, .. } = reviewer;
    let repository = &review.source.repository;
    require_releasable(facts, repository, reviewer)?;
    if !review.source.clone.has_history {
        return Err(CliError::usage(
            "the commits were read through the interface of the forge, so that it is not known which \
             commit last changed the files",
        )
        .hint("add the repository as the remote: `git remote add origin URL`"));
    }
    let Some(url) = &repository.policy.store else {
        return Err(CliError::usage("the policy names no store"));
    };
    let store = open_store(url, &global.store_options())?;
    let contents = repository.release_contents(&facts.target.arguments())?;
    let options = Options {
        origin: ImageOrigin::Release,
        platforms: packaging::platforms(repository, None)?,
        allow_other_platform: false,
        include_archives: false,
        jobs: global.write_jobs(),
    };
    let registries = Registries::new(repository, global);
    let output = reviewer.output.silenced();
    let bundle = packaging::plan(repository, contents, &options, &registries, &output).await?;
    require_commit(bundle.plan.document().commit.as_deref())?;
    let published = write_to_store(bundle, &*store, options.jobs, &output).await;
    let failed = |error: CliError| error.context(format!("cannot publish {}", facts.target));
    Ok(published.map_err(failed)?.url)
}

/// Returns an error if the target is not complete, or the rules find errors in its files.
fn require_releasable(
    facts: &TargetFacts,
    repository: &Repository,
    reviewer: &Reviewer,
) -> Result<()> {
    if let Some(error) = &facts.error {
        return Err(error.clone());
    }
    let target: &ReleaseTarget = &facts.target;
    let files = repository.target_files(&target.arguments())?;
    repository.require_no_errors(&files, &GateArgs { no_check: None }, &reviewer.output.silenced())
}
