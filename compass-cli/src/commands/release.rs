//! `compass release`: check, sync, package and publish of one target.

mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use compass_bundle::store::{Published, Store};
use compass_bundle::{Bundle, BundlePlan, checksum_path};

use self::summary::{Step, Summary};
use super::package::{PlatformArgs, warn_of_zstd};
use super::publish::{self, PublicationArgs, describe_transfer};
use crate::error::{CliError, Result};
use crate::existing_tag::ExistingTagArgs;
use crate::fs;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::packaging::{self, ImageOrigin, LastChange, Options, PlannedBundle, write_to_file};
use crate::release_contents::ReleaseContents;
use crate::release_steps::ReleaseSteps;
use crate::repository::{Repository, TargetArgs};
use crate::rule_gate::GateArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// The store: `s3://bucket`, `oss://bucket` or `file:///path` [default: the policy's]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Also keeps the package in this directory; without it, the package goes straight to the store
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Adds an archive for each image to a product, for sites that only have `docker load`
    #[arg(long)]
    include_archives: bool,
    /// Prints what each step would do, and changes nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    publication: PublicationArgs,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    if let Some(directory) = args.output.as_ref().filter(|path| is_url(path)) {
        let message = format!("{} is not a directory", directory.display());
        return Err(CliError::usage(message).hint("name the store with `--to URL`"));
    }
    let repository = Repository::open(global)?;
    let url = publish::store_url(args.to.as_deref(), &repository.policy)?;
    let store = args.publication.open_store(url, global)?;
    let mut release = Release {
        args,
        steps: ReleaseSteps::new(&repository, global, output),
        store: &*store,
        summary: Summary::new(args.target.words().join(" "), args.dry_run),
    };
    if let Err(error) = release.run_steps().await {
        return Err(release.summary.failed(error));
    }
    let summary = release.summary;
    output.result(|| summary.to_json(), || summary.to_text());
    Ok(ExitCode::SUCCESS)
}

fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://"))
}

/// A release in progress.
struct Release<'r> {
    args: &'r Args,
    steps: ReleaseSteps<'r>,
    store: &'r dyn Store,
    summary: Summary,
}

impl<'r> Release<'r> {
    async fn run_steps(&mut self) -> Result<()> {
        let (release, change) = self.check()?;
        let origin = self.sync().await?;
        self.summary.begin(Step::Package);
        let planned = self.plan(release, &change, origin).await?;
        let (bundle, published) = self.steps.find_published(self.store, planned).await?;
        self.summary.describe(&bundle.plan);
        if let Some(published) = published {
            self.summary.skip("the store has the bundle");
            self.summary.begin(Step::Publish);
            self.summary.skip(&format!("{} is already published", published.url));
            self.summary.publish(&published, self.queue_step());
            return Ok(());
        }
        if self.args.dry_run {
            self.describe_publication(&bundle.plan);
            return Ok(());
        }
        let published = match &self.args.output {
            Some(directory) => self.package_and_publish(bundle, directory).await?,
            None => {
                self.summary.skip("the package goes straight to the store (`-o DIR` keeps one)");
                self.summary.begin(Step::Publish);
                self.steps.publish(bundle, self.store).await?
            }
        };
        self.summary.done(&format!("{} ({})", published.url, describe_transfer(&published)));
        self.summary.publish(&published, self.queue_step());
        Ok(())
    }

    /// Applies the rules, and requires that the files are committed.
    fn check(&mut self) -> Result<(ReleaseContents, LastChange)> {
        let Args { target, gate, publication, .. } = self.args;
        self.summary.begin(Step::Check);
        let ReleaseSteps { repository, output, .. } = self.steps;
        let checked = self.steps.check(&target.words(), gate)?;
        let change = LastChange::read(repository, &checked.contents.paths, output)?;
        if !publication.allow_uncommitted {
            packaging::require_commit(change.commit.as_deref())?;
        }
        match gate.no_check {
            Some(_) => self.summary.skip("`--no-check`"),
            None => self.summary.done(&summary::describe_check(checked.files)),
        }
        Ok((checked.contents, change))
    }

    /// Copies the images that the release registry does not have. Returns the registry that has all of
    /// them.
    async fn sync(&mut self) -> Result<ImageOrigin<'static>> {
        self.summary.begin(Step::Sync);
        let dry_run = self.args.dry_run;
        let on_existing_tag = self.args.existing_tag.action();
        let sums = self.steps.sync(&self.args.target.words(), on_existing_tag, dry_run).await?;
        let text = summary::describe_sync(&sums, dry_run);
        match sums.copied {
            0 => self.summary.skip(&text),
            _ => self.summary.done(&text),
        }
        Ok(if dry_run && sums.copied > 0 { ImageOrigin::Source } else { ImageOrigin::Release })
    }

    async fn plan(
        &self,
        release: ReleaseContents,
        change: &LastChange,
        origin: ImageOrigin<'_>,
    ) -> Result<PlannedBundle> {
        let Args { platform, include_archives, .. } = self.args;
        let ReleaseSteps { repository, global, output, .. } = self.steps;
        let options = Options {
            origin,
            change: Some(change),
            platforms: packaging::platforms(repository, platform.platform.as_deref())?,
            allow_other_platform: platform.allows_others(),
            include_archives: *include_archives,
            jobs: global.write_jobs(),
        };
        let bundle = self.steps.plan(release, &options).await?;
        warn_of_zstd(&bundle.plan, false, output);
        Ok(bundle)
    }

    /// Writes the package to a directory, unless it exists, and publishes it.
    async fn package_and_publish(
        &mut self,
        bundle: PlannedBundle,
        directory: &Path,
    ) -> Result<Published> {
        let path = directory.join(bundle.plan.file_name());
        if is_packaged(&path, &bundle.plan).await {
            self.summary.skip(&format!("{} exists", path.display()));
        } else {
            std::fs::create_dir_all(directory)
                .map_err(|error| fs::write_error(directory, &error))?;
            let ReleaseSteps { global, output, .. } = self.steps;
            let written = write_to_file(bundle, &path, global.write_jobs(), output).await?;
            self.summary.done(&written.path.display().to_string());
        }
        self.summary.keep(&path);
        self.summary.begin(Step::Publish);
        publish::publish(&path, self.store, self.steps.output).await
    }

    /// Describes the last two steps of a dry run.
    fn describe_publication(&mut self, plan: &BundlePlan) {
        let package = match &self.args.output {
            Some(directory) => directory.join(plan.file_name()).display().to_string(),
            None => plan.file_name(),
        };
        self.summary.done(&format!("would build {package}, {} bytes", plan.size()));
        self.summary.begin(Step::Publish);
        self.summary.done(&format!("would publish it to {}", self.store.url()));
    }

    /// The label of the step that follows the publication of a bundle in the queue.
    fn queue_step(&self) -> Option<&'r str> {
        use compass_manifest::review::Guard;
        let steps = self.steps.repository.policy.review.queue.steps().iter();
        let mut last = steps.filter(|step| {
            step.guards.contains(&Guard::BundlePublished)
                || step.guards.contains(&Guard::PackagesListed)
        });
        last.next_back().map(|step| step.to.as_str())
    }
}

/// Whether a file is the complete bundle of a plan.
async fn is_packaged(path: &Path, plan: &BundlePlan) -> bool {
    // A bundle has its final name only if it is complete. `publish` compares it with its `.sha256`.
    let opened = Bundle::open(path).await;
    checksum_path(path).exists() && opened.is_ok_and(|bundle| bundle.digest() == plan.digest())
}
