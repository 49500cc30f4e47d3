//! `compass package`.

mod destination;
mod recompress;
mod shard;

use std::process::ExitCode;

use compass_bundle::BundlePlan;
use compass_bundle::document::BundleKind;
use compass_registry::RegistryPrefix;
use serde_json::{Value, json};

use self::destination::Destination;
use self::recompress::{Changed, Compression, StagingDir};
use super::publish::PublicationArgs;
use crate::display::{counted, human_bytes};
use crate::error::Result;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::packaging::{self, ImageOrigin, Options, PlannedBundle};
use crate::registries::Registries;
use crate::repository::{Repository, TargetArgs};
use crate::rule_gate::GateArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
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

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let bucket = args.shard.open_bucket(args, global)?;
    let repository = Repository::open(global)?;
    let release = repository.release_contents(&args.target.words())?;
    repository.require_no_errors(&repository.files_below(&release.paths), &args.gate, output)?;
    let options = Options {
        origin: args.from.as_ref().map_or(ImageOrigin::Release, ImageOrigin::Other),
        change: None,
        platforms: packaging::platforms(&repository, args.platform.platform.as_deref())?,
        allow_other_platform: args.platform.allows_others(),
        include_archives: args.include_archives,
        jobs: global.write_jobs(),
    };
    if options.include_archives && release.kind != BundleKind::Product {
        output.warn("`--include-archives` has no effect: only products have a shared image store");
    }
    let registries = Registries::new(&repository, global);
    let bundle = packaging::plan(&repository, release, &options, &registries, output).await?;
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
    if !destination.is_store() {
        for option in args.publication.given() {
            output
                .warn(&format!("`{option}` has no effect: the package is not written to a store"));
        }
    }
    if destination.is_store() && !args.publication.allow_uncommitted {
        packaging::require_commit(bundle.plan.document().commit.as_deref())?;
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
        format!("{bytes:>14}  {}/  {}\n", store.path, counted(store.images.len(), "image"))
    });
    let lines = lines.chain(stores);
    let size = plan.size();
    let (name, digest) = (plan.file_name(), plan.digest());
    let total = format!("{size:>14}  {name} ({})\ndigest {digest}\n", human_bytes(size));
    lines.chain(std::iter::once(total)).collect()
}
