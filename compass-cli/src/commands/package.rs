use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use compass_bundle::{ArchiveImage, BundlePlan, Platforms, PluginContents, Written, write_as};
use compass_registry::client::Client;
use compass_registry::{Reference, RegistryPlace};
use serde_json::{Value, json};

use crate::cli::Global;
use crate::failure::Failure;
use crate::git::{self, Change, History};
use crate::output::{Output, bytes};
use crate::registries::Registries;
use crate::repository::{Plugin, Repository};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to package: `plugin NAME`
    #[arg(required = true, num_args = 2)]
    target: Vec<String>,
    /// A directory, or a file name that ends in `.tar.gz`
    #[arg(short, long, default_value = ".", value_name = "PATH")]
    output: PathBuf,
    /// Reads images from here, as `HOST[/PROJECT]`, and not from where the manifest names them
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPlace>,
    /// The platform that is packaged, or `all`; otherwise the policy's first
    #[arg(long)]
    platform: Option<String>,
    /// Says what would be written, to the byte, and reads no layer
    #[arg(long)]
    dry_run: bool,
}

/// What a bundle is made of.
pub(crate) struct Source {
    pub(crate) plan: BundlePlan,
    pub(crate) client: Client,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let repository = Repository::open(global)?;
    let plugins = repository.plugins(&args.target)?;
    let registries = Registries::of(&repository);
    let [plugin] = &plugins[..] else {
        return Err(Failure::usage("one target is packaged at a time"));
    };
    let platforms = platforms(&repository, args.platform.as_deref())?;
    let source =
        plan(&repository, plugin, args.from.as_ref(), &platforms, &registries, output).await?;
    for (image, layer) in source.plan.zstd_layers() {
        output.warn(&format!("{image}: layer {layer} is zstd, which Docker before 23 cannot load"));
    }
    if args.dry_run {
        output.result(|| dry_json(&source.plan), || dry_text(&source.plan));
        return Ok(ExitCode::SUCCESS);
    }
    let path = destination(&args.output, &source.plan)?;
    let written = execute(source, &path, output).await?;
    output.result(|| written_json(&written), || written_text(&written));
    Ok(ExitCode::SUCCESS)
}

/// Asks the registry what the images consist of, and plans the bundle.
pub(crate) async fn plan(
    repository: &Repository,
    plugin: &Plugin,
    from: Option<&RegistryPlace>,
    platforms: &Platforms,
    registries: &Registries,
    output: &Output,
) -> Result<Source, Failure> {
    let place = |release: &Reference| match from {
        Some(place) => release.moved_to(place),
        None => Ok(release.clone()),
    };
    let Some(first) = plugin.images.first() else {
        return Err(Failure::not_right(format!("{} has no image", plugin.name)));
    };
    let client = registries.client(place(&first.release)?.host(), false)?;
    let mut images = Vec::new();
    for image in &plugin.images {
        let source = place(&image.release)?;
        let from = (source.repository(), &source.locator());
        let gathered = ArchiveImage::gather(&client, from, image.release.clone(), platforms).await;
        images.push(gathered.map_err(|error| {
            Failure::from(error).while_doing(format!("cannot package {source}"))
        })?);
    }
    let (commit, modified) = last_change(repository, plugin, output)?;
    let platform = match platforms {
        Platforms::One(platform) | Platforms::All(platform) => platform.clone(),
    };
    let manifest = repository.tree.get(plugin.source.path()).unwrap_or_default().to_vec();
    let plan = BundlePlan::plugin(&PluginContents {
        name: plugin.name.clone(),
        version: plugin.version.clone(),
        commit,
        modified,
        manifest: manifest.into(),
        images,
        platform,
    })?;
    Ok(Source { plan, client })
}

/// Writes a planned bundle.
pub(crate) async fn execute(
    source: Source,
    path: &Path,
    output: &Output,
) -> Result<Written, Failure> {
    let bar = output.bar(&source.plan.file_name());
    let written = write_as(&source.plan, Arc::new(source.client), path, &bar).await;
    bar.done();
    written.map_err(|error| {
        Failure::from(error).while_doing(format!("cannot write {}", path.display()))
    })
}

pub(crate) fn platforms(
    repository: &Repository,
    wanted: Option<&str>,
) -> Result<Platforms, Failure> {
    let first = repository.policy.platforms.first().map_or("linux/amd64", String::as_str);
    Ok(match wanted {
        Some("all") => Platforms::All(first.parse()?),
        Some(platform) => Platforms::One(platform.parse()?),
        None => Platforms::One(first.parse()?),
    })
}

/// The commit and time that go into the bundle: those of the manifest's last change, so that
/// everyone who packages the same release gets the same bytes.
fn last_change(
    repository: &Repository,
    plugin: &Plugin,
    output: &Output,
) -> Result<(Option<String>, u64), Failure> {
    let file = Path::new(plugin.source.path());
    let change = match git::history(&repository.root, file) {
        History::Committed(Change { commit, seconds }) => Some((commit, seconds)),
        History::Changed => {
            output.warn(&format!("{} is not as it was committed", plugin.source.path()));
            None
        }
        History::Shallow => {
            output
                .warn("the clone is too shallow to know the last change: `git fetch --unshallow`");
            None
        }
        History::Unknown => None,
    };
    let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => Some(text.parse::<u64>().map_err(|_| {
            Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`, and not a number of seconds"))
        })?),
        Err(_) => None,
    };
    let (commit, seconds) = change.unzip();
    Ok((commit, epoch.or(seconds).unwrap_or(0)))
}

fn destination(output: &Path, plan: &BundlePlan) -> Result<PathBuf, Failure> {
    let text = output.to_string_lossy();
    if text.contains("://") {
        let message = format!("{text}: bundles are written to files");
        return Err(Failure::usage(message).hint("package to a directory, then `compass publish`"));
    }
    if text.ends_with(".tar.gz") && !output.is_dir() {
        return Ok(output.to_owned());
    }
    std::fs::create_dir_all(output).map_err(|error| {
        Failure::outside(&error).while_doing(format!("cannot create {}", output.display()))
    })?;
    Ok(output.join(plan.file_name()))
}

fn written_json(written: &Written) -> Value {
    json!({
        "bundle": written.path,
        "size": written.size,
        "sha256": written.digest.hex(),
        "dryRun": false,
    })
}

fn written_text(written: &Written) -> String {
    let (path, digest) = (written.path.display(), written.digest.hex());
    format!("{digest}  {path}\n{} bytes ({})\n", written.size, bytes(written.size))
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
    let files = plan.document().files.iter();
    let lines = files.map(|file| {
        let image = file.image.as_ref();
        let image = image.map(|image| format!("  {} {}", image.reference, image.digest));
        format!("{:>14}  {}{}\n", file.size, file.path, image.unwrap_or_default())
    });
    let size = plan.size();
    let total = format!("{size:>14}  {} ({})\n", plan.file_name(), bytes(size));
    lines.chain(std::iter::once(total)).collect()
}
