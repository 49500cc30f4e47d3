//! `compass sync`.

mod image_list;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ArgGroup;
use compass_registry::{Platform, Reference, RegistryPrefix};

use crate::error::{CliError, Result};
use crate::existing_tag::ExistingTagArgs;
use crate::fs;
use crate::global_args::GlobalArgs;
use crate::image_transfer::{ImageTransfer, Job, distinct};
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::Repository;
use crate::rule_gate::GateArgs;
use image_list::ImageList;

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("images").args(["target", "list"]).required(true).multiple(true)))]
pub(crate) struct Args {
    /// Targets whose images are copied: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`
    target: Vec<String>,
    /// An image list, a pattern of lists, or a report whose failed images are copied
    ///
    /// A list has one `PROJECT/NAME:TAG` in each line. A pattern is such as `'images-lists/*.list'`.
    #[arg(long, value_name = "FILE")]
    list: Vec<String>,
    /// The registry to copy from, as `HOST[/PROJECT]` [default: the policy's source registry]
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPrefix>,
    /// The registry to copy to, as `HOST[/PROJECT]` [default: the policy's release registry]
    #[arg(long, value_name = "PLACE")]
    to: Option<RegistryPrefix>,
    /// The platforms of image indexes to copy, separated by commas: one image for one platform, a
    /// smaller index for several [default: all]
    #[arg(long)]
    platform: Option<String>,
    /// Prints what would be copied without copying it
    #[arg(long)]
    dry_run: bool,
    /// Writes the result of each image to a JSON file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
    #[command(flatten)]
    gate: GateArgs,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let repository = repository(args, global)?;
    let registries = Registries::new(&repository, global);
    let (transfers, platforms) = requested(args, &repository)?;
    repository.require_no_errors(&source_files(args, &repository)?, &args.gate, output)?;
    if let Some(path) = &args.report {
        if path == Path::new("-") {
            let message = "cannot write the report to stdout";
            return Err(CliError::usage(message).hint("name a file, or use `--format json`"));
        }
        fs::require_writable(path)?;
    }
    let job = Job {
        transfers: &transfers,
        platforms: &platforms,
        report: args.report.as_deref(),
        on_existing_tag: args.existing_tag.action(),
        dry_run: args.dry_run,
    };
    let report = job.run(&registries, global, output).await?;
    for error in report.grouped_errors() {
        output.error(&error);
    }
    let saved = args.report.as_ref().map_or(Ok(()), |path| report.save(path));
    output.result(|| report.to_json(), || report.to_text());
    saved?;
    // An external error has the highest code, so it hides an existing tag.
    let code = report.errors().map(|error| error.exit).max();
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Opens the release repository. Without one, the policy is sufficient if the command line names
/// only lists and both registries.
fn repository(args: &Args, global: &GlobalArgs) -> Result<Repository> {
    let is_self_contained = args.target.is_empty() && args.from.is_some() && args.to.is_some();
    match global.repo {
        None if is_self_contained && !Repository::is_in_one() => Repository::policy_only(global),
        _ => Repository::open(global),
    }
}

/// The files of the repository that name the images.
fn source_files(args: &Args, repository: &Repository) -> Result<BTreeSet<String>> {
    let mut files = repository.target_files(&args.target)?;
    let root = repository.root.canonicalize().unwrap_or_default();
    for list in args.list.iter().flat_map(|list| image_list::files(list)).flatten() {
        let list = list.canonicalize().ok();
        let inside = list.as_deref().and_then(|list| list.strip_prefix(&root).ok()?.to_str());
        files.extend(inside.map(str::to_owned));
    }
    Ok(files)
}

/// The requested transfers, and the requested platforms; an empty list means all.
fn requested(args: &Args, repository: &Repository) -> Result<(Vec<ImageTransfer>, Vec<Platform>)> {
    let mut lists = Vec::new();
    if !args.target.is_empty() {
        let images = repository.target_images(&args.target).map_err(|error| {
            // If the shell expands the pattern of `--list`, the other files look like targets.
            match args.list.is_empty() {
                true => error,
                false => error.hint("use `--list` for each list, or quote the pattern"),
            }
        })?;
        let transfers = images.iter().map(ImageTransfer::of).collect();
        lists.push(ImageList { transfers, platforms: Vec::new(), is_report: false });
    }
    for list in &args.list {
        lists.extend(image_list::read(repository, list)?);
    }
    let platforms = match args.platform.as_deref() {
        None => listed_platforms(&lists)?,
        Some("all") => Vec::new(),
        Some(named) => named.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let transfers = lists.into_iter().flat_map(|list| list.transfers).collect();
    let transfers = distinct(rebase(transfers, args.from.as_ref(), args.to.as_ref())?)?;
    Ok((transfers, platforms))
}

/// The platforms of the reports of earlier runs.
fn listed_platforms(lists: &[ImageList]) -> Result<Vec<Platform>> {
    let Some(first) = lists.first() else { return Ok(Vec::new()) };
    if lists.iter().any(|list| list.platforms != first.platforms) {
        let message = "the lists and reports are for different platforms";
        return Err(CliError::usage(message).hint("choose with `--platform`"));
    }
    Ok(first.platforms.clone())
}

/// Replaces the registries of transfers with those of `--from` and `--to`.
pub(crate) fn rebase(
    transfers: Vec<ImageTransfer>,
    from: Option<&RegistryPrefix>,
    to: Option<&RegistryPrefix>,
) -> Result<Vec<ImageTransfer>> {
    let rebased = |transfer: ImageTransfer| {
        let place = |reference: &Reference, prefix: Option<&RegistryPrefix>| {
            prefix.map_or_else(|| Ok(reference.clone()), |prefix| transfer.release.rebase(prefix))
        };
        Ok(ImageTransfer {
            source: place(&transfer.source, from)?,
            release: place(&transfer.release, to)?,
        })
    };
    transfers.into_iter().map(rebased).collect()
}
