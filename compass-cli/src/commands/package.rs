pub(super) mod destination;
mod images;
mod recompress;

use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::document::BundleKind;
use compass_bundle::{BundleContents, BundlePlan, Platforms};
use compass_registry::{ImageSource, Platform, RegistryPrefix};
use serde_json::{Value, json};

use self::destination::Destination;
use self::recompress::{Changed, Compression, StagingDir};
use super::publish;
use crate::cli::Global;
use crate::error::CliError;
use crate::git::{Change, Git, History};
use crate::output::{Output, bytes};
use crate::registries::Registries;
use crate::release_contents::ReleaseContents;
use crate::repository::Repository;
use crate::rule_gate::GateArgs;
use crate::source_date_epoch;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to package: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`
    #[arg(required = true, num_args = 2, value_names = ["KIND", "NAME"])]
    target: Vec<String>,
    /// A directory, a file name that ends in `.tar.gz`, a store as `s3://bucket` or `oss://bucket`,
    /// `-` for standard output, or a pipe
    #[arg(short, long, default_value = ".", value_name = "PATH or URL")]
    output: String,
    /// Reads images from here, as `HOST[/PROJECT]`, and not from where the manifest names them
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPrefix>,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Gives a product an archive for each image as well, for sites that only know `docker load`
    #[arg(long)]
    include_archives: bool,
    /// Compresses layers that are zstd or not compressed, for sites whose tools cannot load them;
    /// their images get other digests
    #[arg(long, value_name = "COMPRESSION")]
    recompress: Option<Compression>,
    /// Says what would be written, to the byte, and reads no layer
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    gate: GateArgs,
    /// Publishes files that differ from the last commit, if the output is a store
    #[arg(long)]
    allow_uncommitted: bool,
}

#[derive(Debug, clap::Args)]
struct PlatformArgs {
    /// The platform that is packaged, several with commas between them, or `all`; otherwise the
    /// policy's first
    #[arg(long)]
    platform: Option<String>,
    /// Takes images that are not for the wanted platform, with a warning
    #[arg(long)]
    allow_other_platform: bool,
}

impl PlatformArgs {
    /// Of all platforms none can be another one.
    fn allows_others(&self) -> bool {
        self.allow_other_platform || self.platform.as_deref() == Some("all")
    }
}

impl Args {
    /// Whether the package goes to standard output.
    pub(crate) fn takes_stdout(&self) -> bool {
        self.output == "-" && !self.dry_run
    }
}

/// How a package is made.
pub(crate) struct Options<'o> {
    pub(crate) from: Option<&'o RegistryPrefix>,
    pub(crate) platforms: Platforms,
    pub(crate) allow_other_platform: bool,
    pub(crate) archives: bool,
    pub(crate) jobs: usize,
}

/// What a bundle is made of.
pub(crate) struct PlannedBundle {
    pub(crate) plan: BundlePlan,
    contents: BundleContents,
    images: Arc<dyn ImageSource>,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let repository = Repository::open(global)?;
    let package = repository.package(&args.target)?;
    repository.require_no_errors(&repository.below(&package.paths), &args.gate, output)?;
    let options = Options {
        from: args.from.as_ref(),
        platforms: platforms(&repository, args.platform.platform.as_deref())?,
        allow_other_platform: args.platform.allows_others(),
        archives: args.include_archives,
        jobs: global.jobs.into(),
    };
    if options.archives && package.kind != BundleKind::Product {
        output.warn("this kind of package has an archive for each image anyway");
    }
    let registries = Registries::of(&repository, global);
    let source = plan(&repository, package, &options, &registries, output).await?;
    if args.dry_run {
        if args.recompress.is_some() {
            recompress::require_none(&source)?;
        }
        warn_of_zstd(&source.plan, args.recompress.is_some(), output);
        output.result(|| dry_json(&source.plan), || dry_text(&source.plan));
        return Ok(ExitCode::SUCCESS);
    }
    let destination = Destination::of(&args.output, &source.plan)?;
    if destination.is_store() && !args.allow_uncommitted {
        publish::require_commit(source.plan.document())?;
    }
    let staging = args.recompress.map(|_| destination.staging()).transpose()?;
    let (source, changed) = prepare(source, staging.as_ref(), options.jobs, output).await?;
    let made = destination.take(source, options.jobs, output).await?;
    staging.map_or(Ok(()), StagingDir::remove)?;
    made.show(&changed, output);
    Ok(ExitCode::SUCCESS)
}

/// The images as they go into the bundle.
async fn prepare(
    source: PlannedBundle,
    staging: Option<&StagingDir>,
    jobs: usize,
    output: &Output,
) -> Result<(PlannedBundle, Vec<Changed>), CliError> {
    let (source, changed) = match staging {
        Some(staging) => recompress::gzip(source, staging, jobs, output).await?,
        None => (source, Vec::new()),
    };
    warn_of_zstd(&source.plan, staging.is_some(), output);
    Ok((source, changed))
}

/// Warns of layers that old Docker cannot load. Those that are left after a recompression are
/// non-distributable, and stay as their owner made them.
fn warn_of_zstd(plan: &BundlePlan, is_recompressed: bool, output: &Output) {
    let advice = match is_recompressed {
        true => "; it is non-distributable, and is not recompressed",
        false => " (`--recompress gzip`)",
    };
    for (image, layer) in plan.zstd_layers() {
        output.warn(&format!(
            "{image}: layer {layer} is zstd, which Docker before 23 cannot load{advice}"
        ));
    }
}

/// Asks the registry what the images consist of, and plans the bundle.
pub(crate) async fn plan(
    repository: &Repository,
    package: ReleaseContents,
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<PlannedBundle, CliError> {
    if package.images.is_empty() {
        return Err(CliError::check_failed(format!("{} has no image", package.name)));
    }
    let releases: Vec<_> = package.images.iter().map(|image| image.release.clone()).collect();
    let images::ResolvedImages { source, images } =
        images::resolve(&releases, options, registries, output).await?;
    let (commit, modified) = last_change(repository, &package.paths, output)?;
    let contents = BundleContents {
        kind: package.kind,
        name: package.name,
        version: package.version,
        base: package.base,
        commit,
        modified,
        files: package.files,
        images,
        platform: options.platforms.single().clone(),
        platforms: unusual(&options.platforms, &usual_platform(repository)?),
        archives: options.archives,
    };
    let plan = BundlePlan::new(&contents)?;
    Ok(PlannedBundle { plan, contents, images: source })
}

/// The platform that is packaged if the command line names none.
fn usual_platform(repository: &Repository) -> Result<Platform, CliError> {
    let first = repository.policy.platforms.first().map_or("linux/amd64", String::as_str);
    Ok(first.parse()?)
}

/// The platforms that a bundle is named by: those that it is for, if the usual one is not among
/// them.
fn unusual(platforms: &Platforms, usual: &Platform) -> Vec<Platform> {
    let listed = match platforms {
        Platforms::All(_) => return Vec::new(),
        Platforms::One(platform) => std::slice::from_ref(platform),
        Platforms::Several(platforms) => platforms,
    };
    let is_usual = |one: &Platform| one.satisfies(usual) && usual.satisfies(one);
    if listed.iter().any(is_usual) { Vec::new() } else { listed.to_vec() }
}

pub(crate) fn platforms(
    repository: &Repository,
    wanted: Option<&str>,
) -> Result<Platforms, CliError> {
    let usual = usual_platform(repository)?;
    let Some(wanted) = wanted else { return Ok(Platforms::One(usual)) };
    if wanted == "all" {
        return Ok(Platforms::All(usual));
    }
    let mut listed = wanted.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?;
    Ok(match listed.len() {
        1 => Platforms::One(listed.remove(0)),
        _ => Platforms::Several(listed),
    })
}

/// The commit and time that go into the bundle: those of the last change of what it is made of, so
/// that everyone who packages the same release gets the same bytes.
fn last_change(
    repository: &Repository,
    paths: &[String],
    output: &Output,
) -> Result<(Option<String>, u64), CliError> {
    let change = match repository.checkout.git() {
        Some(git) => committed(git, repository, paths, output)?,
        None => None,
    };
    let epoch = source_date_epoch::read()?;
    let (commit, seconds) = change.map(|change| (change.commit, change.seconds)).unzip();
    Ok((commit, epoch.or(seconds).unwrap_or(0)))
}

/// The last change of files that are as they were committed; otherwise says why there is none.
fn committed(
    git: &Git,
    repository: &Repository,
    paths: &[String],
    output: &Output,
) -> Result<Option<Change>, CliError> {
    let others = |count: usize| match count {
        0 | 1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    match git.history(paths)? {
        History::Committed(change) => {
            let unverified = repository.checkout.unverified_below(paths)?;
            let Some(first) = unverified.first() else { return Ok(Some(change)) };
            output.warn(&format!(
                "{first}{} passes a git filter, which is not run: its bytes are those of this work \
                 tree, and the bundle names no commit",
                others(unverified.len())
            ));
        }
        History::Changed(files) => output.warn(&format!(
            "{}{} differs from the last commit: the bundle names no commit, and its files have no \
             time",
            files.first().map_or("a file", String::as_str),
            others(files.len())
        )),
        History::Shallow => output.warn(&format!(
            "the clone is too shallow to know the last change, so the bundle names no commit: {}",
            git.command_hint("fetch --unshallow")
        )),
    }
    Ok(None)
}

fn dry_json(plan: &BundlePlan) -> Value {
    json!({
        "bundle": plan.file_name(),
        "size": plan.size(),
        "blobBytes": plan.blob_bytes(),
        "dryRun": true,
        "contents": plan.document(),
    })
}

fn dry_text(plan: &BundlePlan) -> String {
    let document = plan.document();
    let lines = document.files.iter().map(|file| {
        let image = file.image.as_ref();
        let image = image.map(|image| format!("  {} {}", image.reference, image.digest));
        format!("{:>14}  {}{}\n", file.size, file.path, image.unwrap_or_default())
    });
    let stored = document.store.iter().map(|store| {
        let bytes: u64 = store.blobs.iter().map(|blob| blob.descriptor.size).sum();
        format!("{bytes:>14}  {}/  {} images\n", store.path, store.images.len())
    });
    let lines = lines.chain(stored);
    let size = plan.size();
    let total = format!("{size:>14}  {} ({})\n", plan.file_name(), bytes(size));
    lines.chain(std::iter::once(total)).collect()
}
