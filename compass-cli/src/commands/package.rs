//! `compass package`.

pub(crate) mod destination;
mod images;
mod recompress;
mod shard;

use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{BundleContents, BundlePlan, Platforms};
use compass_registry::{ImageSource, Platform, RegistryPrefix};
use serde_json::{Value, json};

use self::destination::Destination;
use self::recompress::{Changed, Compression, StagingDir};
use super::publish::{self, PublicationArgs};
use crate::display::human_bytes;
use crate::error::{CliError, Result};
use crate::git::{Change, Git, History};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::registries::Registries;
use crate::release_contents::ReleaseContents;
use crate::repository::Repository;
use crate::rule_gate::GateArgs;
use crate::source_date_epoch;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The target: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`
    #[arg(required = true, num_args = 2, value_names = ["KIND", "NAME"])]
    target: Vec<String>,
    /// A directory, a file name ending in `.tar.gz`, a store such as `s3://bucket`, `-` for stdout,
    /// or a pipe
    #[arg(short, long, default_value = ".", value_name = "PATH or URL")]
    output: String,
    /// Reads images from `HOST[/PROJECT]` instead of the registry that the manifest names
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPrefix>,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Adds an archive for each image to a product, for sites that only have `docker load`
    #[arg(long, hide_short_help = true)]
    include_archives: bool,
    /// Compresses layers that are uncompressed or zstd, for old container tools; this changes the
    /// digests of their images
    #[arg(long, value_name = "COMPRESSION", hide_short_help = true)]
    recompress: Option<Compression>,
    /// Prints the exact size and contents without reading layers or writing a package
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    publication: PublicationArgs,
    #[command(flatten)]
    shard: shard::ShardArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct PlatformArgs {
    /// The platforms to package, separated by commas, or `all` [default: the first of the policy]
    #[arg(long)]
    pub(super) platform: Option<String>,
    /// Packages images for other platforms, with a warning, instead of failing
    #[arg(long, hide_short_help = true)]
    allow_other_platform: bool,
}

impl PlatformArgs {
    /// Whether images for other platforms are packaged. `--platform all` accepts every platform.
    pub(super) fn allows_others(&self) -> bool {
        self.allow_other_platform || self.platform.as_deref() == Some("all")
    }
}

impl Args {
    /// Whether the package is written to stdout.
    pub(crate) fn writes_to_stdout(&self) -> bool {
        self.output == "-" && !self.dry_run
    }
}

/// The registry that the images of a package are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ImageOrigin<'o> {
    /// The release registry.
    Release,
    /// The source registry, before the images are synced.
    Source,
    /// The registry of `--from`.
    Other(&'o RegistryPrefix),
}

/// The options of [`plan`].
pub(crate) struct Options<'o> {
    pub(crate) origin: ImageOrigin<'o>,
    pub(crate) platforms: Platforms,
    pub(crate) allow_other_platform: bool,
    pub(crate) include_archives: bool,
    pub(crate) jobs: usize,
}

/// A planned bundle, and the source of its blobs.
pub(crate) struct PlannedBundle {
    pub(crate) plan: BundlePlan,
    pub(crate) contents: BundleContents,
    pub(crate) images: Arc<dyn ImageSource>,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let bucket = args.shard.open_bucket(args, global)?;
    let repository = Repository::open(global)?;
    let release = repository.release_contents(&args.target)?;
    repository.require_no_errors(&repository.files_below(&release.paths), &args.gate, output)?;
    let options = Options {
        origin: args.from.as_ref().map_or(ImageOrigin::Release, ImageOrigin::Other),
        platforms: platforms(&repository, args.platform.platform.as_deref())?,
        allow_other_platform: args.platform.allows_others(),
        include_archives: args.include_archives,
        jobs: global.write_jobs(),
    };
    if options.include_archives && release.kind != BundleKind::Product {
        output.warn("`--include-archives` has no effect: only products have a shared image store");
    }
    let registries = Registries::new(&repository, global);
    let bundle = plan(&repository, release, &options, &registries, output).await?;
    if args.dry_run {
        if args.recompress.is_some() {
            recompress::require_none(&bundle)?;
        }
        warn_of_zstd(&bundle.plan, args.recompress.is_some(), output);
        output.result(|| plan_json(&bundle.plan), || plan_text(&bundle.plan));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(bucket) = &bucket {
        return shard::send(args, bundle, bucket, output).await;
    }
    let destination = Destination::new(args, &bundle.plan, global)?;
    if destination.is_store() && !args.publication.allow_uncommitted {
        publish::require_commit(bundle.plan.document().commit.as_deref())?;
    }
    let staging = args.recompress.map(|_| destination.staging()).transpose()?;
    let (bundle, changed) = prepare(bundle, staging.as_ref(), options.jobs, output).await?;
    let digest = bundle.plan.digest();
    let result = destination.write(bundle, options.jobs, output).await?;
    staging.map_or(Ok(()), StagingDir::remove)?;
    result.print(digest, &changed, output);
    Ok(ExitCode::SUCCESS)
}

/// Recompresses the layers of a bundle if there is a staging directory.
async fn prepare(
    bundle: PlannedBundle,
    staging: Option<&StagingDir>,
    jobs: usize,
    output: &Output,
) -> Result<(PlannedBundle, Vec<Changed>)> {
    let (bundle, changed) = match staging {
        Some(staging) => recompress::gzip(bundle, staging, jobs, output).await?,
        None => (bundle, Vec::new()),
    };
    warn_of_zstd(&bundle.plan, staging.is_some(), output);
    Ok((bundle, changed))
}

/// Warns of layers that old Docker versions cannot load. Recompression leaves only non-distributable
/// ones, which only their owner may change.
pub(super) fn warn_of_zstd(plan: &BundlePlan, is_recompressed: bool, output: &Output) {
    let reason = match is_recompressed {
        true => "; it is non-distributable, so it was not recompressed",
        false => " (`package --recompress gzip` changes that)",
    };
    for (image, layer) in plan.zstd_layers() {
        output.warn(&format!(
            "{image}: layer {layer} is zstd, which Docker before 23 cannot load{reason}"
        ));
    }
}

/// Reads the manifests of the images from the registry, and plans the bundle.
pub(crate) async fn plan(
    repository: &Repository,
    release: ReleaseContents,
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<PlannedBundle> {
    let change = LastChange::read(repository, &release.paths, output)?;
    plan_at(&change, (repository, release), options, registries, output).await
}

/// As [`plan`], for files whose last change is known.
pub(super) async fn plan_at(
    change: &LastChange,
    (repository, release): (&Repository, ReleaseContents),
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<PlannedBundle> {
    if release.images.is_empty() {
        return Err(CliError::check_failed(format!("{} has no image", release.name)));
    }
    let images::ResolvedImages { source, images } =
        images::resolve(&release.images, options, registries, output).await?;
    let platform = options.platforms.default_platform().clone();
    let named = platforms_in_name(&options.platforms, &default_platform(repository)?);
    let contents = BundleContents::new(release.kind, release.name, release.version, platform)
        .base_version(release.base)
        .commit(change.commit.clone())
        .modified(change.seconds)
        .files(release.files)
        .images(images)
        .platforms(named)
        .include_archives(options.include_archives);
    let plan = BundlePlan::new(&contents)?;
    Ok(PlannedBundle { plan, contents, images: source })
}

/// The platform that is packaged without `--platform`.
fn default_platform(repository: &Repository) -> Result<Platform> {
    let first = repository.policy.platforms.first().map_or("linux/amd64", String::as_str);
    Ok(first.parse()?)
}

/// The platforms in the name of a bundle: those of the bundle, if the default is not one of them.
fn platforms_in_name(platforms: &Platforms, default: &Platform) -> Vec<Platform> {
    if matches!(platforms, Platforms::All(_)) {
        return Vec::new();
    }
    let listed = platforms.wanted();
    let is_default = |one: &Platform| one.satisfies(default) && default.satisfies(one);
    if listed.iter().any(is_default) { Vec::new() } else { listed.to_vec() }
}

/// Parses the value of `--platform`.
pub(crate) fn platforms(repository: &Repository, value: Option<&str>) -> Result<Platforms> {
    let default = default_platform(repository)?;
    let Some(value) = value else { return Ok(Platforms::One(default)) };
    if value == "all" {
        return Ok(Platforms::All(default));
    }
    let mut listed = value.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(match listed.len() {
        1 => Platforms::One(listed.remove(0)),
        _ => Platforms::Several(listed),
    })
}

/// The commit and time that a bundle names.
///
/// They are those of the last change of its files, so that the same release always has the same
/// bytes. `SOURCE_DATE_EPOCH` replaces the time; without either, it is 0.
pub(super) struct LastChange {
    /// The commit; `None` if the files differ from it.
    pub(super) commit: Option<String>,
    seconds: u64,
}

impl LastChange {
    /// Reads the last change of files. If it is not known, prints a warning with the reason.
    pub(super) fn read(repository: &Repository, paths: &[String], output: &Output) -> Result<Self> {
        let change = match repository.checkout.git() {
            Some(git) => committed_change(git, repository, paths, output)?,
            None => None,
        };
        let epoch = source_date_epoch::read()?;
        let (commit, seconds) = change.map(|change| (change.commit, change.seconds)).unzip();
        Ok(Self { commit, seconds: epoch.or(seconds).unwrap_or(0) })
    }
}

/// Returns the last change of files without uncommitted changes. If it is not known, prints a
/// warning with the reason.
fn committed_change(
    git: &Git,
    repository: &Repository,
    paths: &[String],
    output: &Output,
) -> Result<Option<Change>> {
    let others = |count: usize| match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    match git.history(paths)? {
        History::Committed(change) => {
            let unverified = repository.checkout.unverified_below(paths)?;
            let Some(first) = unverified.first() else { return Ok(Some(change)) };
            output.warn(&format!(
                "{first}{} has a git filter, which is not run: the bundle has its bytes in the work \
                 tree, and names no commit",
                others(unverified.len())
            ));
        }
        History::Changed(files) => output.warn(&format!(
            "{}{} has uncommitted changes: the bundle names no commit, and its files no time",
            files.first().map_or("a file", String::as_str),
            others(files.len())
        )),
        History::Shallow => output.warn(&format!(
            "the clone is too shallow to find the last change, so the bundle names no commit: run {}",
            git.command_hint("fetch --unshallow")
        )),
    }
    Ok(None)
}

fn plan_json(plan: &BundlePlan) -> Value {
    json!({
        "bundle": plan.file_name(),
        "size": plan.size(),
        "digest": plan.digest(),
        "blobBytes": plan.blob_bytes(),
        "dryRun": true,
        "contents": plan.document(),
    })
}

fn plan_text(plan: &BundlePlan) -> String {
    let document = plan.document();
    let lines = document.files.iter().map(|file| {
        let image = file.image.as_ref();
        let image = image.map(|image| format!("  {} {}", image.reference, image.digest));
        format!("{:>14}  {}{}\n", file.size, file.path, image.unwrap_or_default())
    });
    let stores = document.store.iter().map(|store| {
        let bytes: u64 = store.blobs.iter().map(|blob| blob.descriptor.size).sum();
        format!("{bytes:>14}  {}/  {} images\n", store.path, store.images.len())
    });
    let lines = lines.chain(stores);
    let size = plan.size();
    let (name, digest) = (plan.file_name(), plan.digest());
    let total = format!("{size:>14}  {name} ({})\ndigest {digest}\n", human_bytes(size));
    lines.chain(std::iter::once(total)).collect()
}
