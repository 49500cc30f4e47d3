//! The steps that release a target, for `compass release` and the work of the queue.
//!
//! A step whose result exists is skipped, so that an interrupted release continues.

mod published;

use compass_bundle::store::{Published, Store, StoredFile};
use compass_registry::OnExistingTag;

pub(crate) use self::published::{PublishedBundle, find_bundle, is_same_release};
use crate::error::Result;
use crate::global_args::GlobalArgs;
use crate::image_transfer::{Job, Sums, transfers_of};
use crate::output::Output;
use crate::packaging::{self, Options, PlannedBundle, write_to_store};
use crate::registries::Registries;
use crate::release_contents::ReleaseContents;
use crate::repository::Repository;
use crate::rule_gate::GateArgs;

/// The steps, with what all of them need.
pub(crate) struct ReleaseSteps<'r> {
    pub(crate) repository: &'r Repository,
    pub(crate) global: &'r GlobalArgs,
    pub(crate) output: &'r Output,
    registries: Registries,
}

/// A target whose files the rules accept.
pub(crate) struct CheckedTarget {
    pub(crate) contents: ReleaseContents,
    /// The number of files that were checked.
    pub(crate) files: usize,
}

impl<'r> ReleaseSteps<'r> {
    pub(crate) fn new(
        repository: &'r Repository,
        global: &'r GlobalArgs,
        output: &'r Output,
    ) -> Self {
        Self { repository, global, output, registries: Registries::new(repository, global) }
    }

    /// Applies the rules to the files of a target.
    pub(crate) fn check(&self, target: &[String], gate: &GateArgs) -> Result<CheckedTarget> {
        let contents = self.repository.release_contents(target)?;
        let mut files = self.repository.files_below(&contents.paths);
        files.extend(self.repository.target_files(target)?);
        self.repository.require_no_errors(&files, gate, self.output)?;
        Ok(CheckedTarget { contents, files: files.len() })
    }

    /// Copies the images of targets that the release registry does not have; with `dry_run`, plans
    /// that.
    pub(crate) async fn sync(
        &self,
        targets: &[String],
        on_existing_tag: OnExistingTag,
        dry_run: bool,
    ) -> Result<Sums> {
        let transfers = transfers_of(self.repository, targets)?;
        let job =
            Job { transfers: &transfers, platforms: &[], report: None, on_existing_tag, dry_run };
        let report = job.run(&self.registries, self.global, self.output).await?;
        match report.combined_error() {
            Some(error) => Err(error),
            None => Ok(report.sums()),
        }
    }

    /// Plans the package of a target.
    pub(crate) async fn plan(
        &self,
        contents: ReleaseContents,
        options: &Options<'_>,
    ) -> Result<PlannedBundle> {
        let Self { repository, output, registries, .. } = self;
        packaging::plan(repository, contents, options, registries, output).await
    }

    /// Finds a planned bundle in the store. Returns it without [`Published`] if it is missing or has no
    /// `.sha256`; publishing it then completes it.
    ///
    /// After a rebase, the returned bundle has the commit and the time of the published one.
    ///
    /// # Errors
    /// If a bundle with other content is published under its name.
    pub(crate) async fn find_published(
        &self,
        store: &dyn Store,
        bundle: PlannedBundle,
    ) -> Result<(PlannedBundle, Option<Published>)> {
        let policy = self.global.retry_policy();
        let Some(found) = find_bundle(store, bundle.plan.document(), &policy).await? else {
            return Ok((bundle, None));
        };
        let adopted = found.adopt(bundle)?;
        let StoredFile { url, size, digest, .. } = found.stored;
        let Some(bundle) = adopted else {
            return Err(compass_bundle::Error::Conflict { path: url }.into());
        };
        Ok((bundle, digest.map(|digest| Published::new(url, size, digest, None))))
    }

    /// Publishes a planned bundle without a local file.
    pub(crate) async fn publish(
        &self,
        bundle: PlannedBundle,
        store: &dyn Store,
    ) -> Result<Published> {
        write_to_store(bundle, store, self.global.write_jobs(), self.output).await
    }
}
