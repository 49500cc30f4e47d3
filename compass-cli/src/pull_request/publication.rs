//! Copies the images of a pull request, and publishes its packages.

use compass_bundle::store::open_store;
use compass_registry::OnExistingTag;

use super::{PullReview, Reviewer, TargetFacts, holds};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::packaging::{LastChange, Options, require_commit};
use crate::release_steps::{CheckedTarget, ReleaseSteps};
use crate::rule_gate::GateArgs;

/// Copies the images that the release registry does not have.
///
/// # Errors
/// If a tag of the release registry has another image: a release is not replaced without a person.
pub(super) async fn sync(review: &PullReview, reviewer: &Reviewer) -> Result<()> {
    let output = reviewer.output.silenced();
    let steps = steps(review, reviewer, &output);
    let mut targets = Vec::new();
    for facts in &review.targets {
        check(facts, &steps)?;
        targets.extend(facts.target.arguments());
    }
    steps.sync(&targets, OnExistingTag::Error, false).await.map(drop)
}

/// Publishes the packages that the store does not have, and writes the missing `.sha256` of others.
/// Returns the URLs of all of them.
pub(super) async fn publish(review: &PullReview, reviewer: &Reviewer) -> Result<Vec<String>> {
    let output = reviewer.output.silenced();
    let steps = steps(review, reviewer, &output);
    let mut urls = Vec::new();
    for facts in &review.targets {
        let is_complete = holds(&facts.bundle.published) && facts.bundle.has_checksum;
        let known = facts.bundle.url.clone().filter(|_| is_complete);
        urls.push(match known {
            Some(url) => url,
            None => publish_one(review, facts, &steps).await?,
        });
    }
    Ok(urls)
}

fn steps<'r>(
    review: &'r PullReview,
    reviewer: &'r Reviewer,
    output: &'r Output,
) -> ReleaseSteps<'r> {
    ReleaseSteps::new(&review.source.repository, &reviewer.global, output)
}

async fn publish_one(
    review: &PullReview,
    facts: &TargetFacts,
    steps: &ReleaseSteps<'_>,
) -> Result<String> {
    let ReleaseSteps { repository, global, output, .. } = *steps;
    let CheckedTarget { contents, .. } = check(facts, steps)?;
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
    let change = LastChange::read(repository, &contents.paths, output)?;
    require_commit(change.commit.as_deref())?;
    let options =
        Options { change: Some(&change), ..Options::new(repository, global.write_jobs())? };
    let published = async {
        let bundle = steps.plan(contents, &options).await?;
        match steps.find_published(&*store, bundle).await? {
            (_, Some(published)) => Ok(published),
            (bundle, None) => steps.publish(bundle, &*store).await,
        }
    };
    let failed = |error: CliError| error.context(format!("cannot publish {}", facts.target));
    Ok(published.await.map_err(failed)?.url)
}

/// Returns an error if the target is not complete, or the rules find errors in its files.
fn check(facts: &TargetFacts, steps: &ReleaseSteps<'_>) -> Result<CheckedTarget> {
    match &facts.error {
        Some(error) => Err(error.clone()),
        None => steps.check(&facts.target.arguments(), &GateArgs { no_check: None }),
    }
}
