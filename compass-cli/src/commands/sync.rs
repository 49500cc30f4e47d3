mod image_list;
mod report;
mod result_slots;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::ArgGroup;
use compass_registry::client::Client;
use compass_registry::{
    Copier, CopyOptions, CopyReport, ImageSource, Platform, Reference, RegistryPrefix,
    with_retry_counter,
};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::cli::Global;
use crate::error::CliError;
use crate::existing_tag::{self, ExistingTagArgs};
use crate::fs;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::{Repository, TargetImage};
use crate::rule_gate::GateArgs;
use image_list::ImageList;
use result_slots::ReportOnDrop;
pub(crate) use result_slots::ResultSlots;

/// Images that are worked on at once, for each blob that may move at once: while some move, others
/// are looked up.
const IMAGES_PER_JOB: usize = 2;

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("images").args(["target", "list"]).required(true).multiple(true)))]
pub(crate) struct Args {
    /// What to copy the images of: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product
    /// VERSION`, several times if wanted
    target: Vec<String>,
    /// Copies the images of a list, one `PROJECT/NAME:TAG` on a line, or of several, as
    /// `'images-lists/*.list'`; of a report, those that failed
    #[arg(long, value_name = "FILE")]
    list: Vec<String>,
    /// Copies from here, as `HOST[/PROJECT]`, and not from the policy's source registry
    #[arg(long, value_name = "PLACE")]
    from: Option<RegistryPrefix>,
    /// Copies to here, as `HOST[/PROJECT]`, and not to the policy's release registry
    #[arg(long, value_name = "PLACE")]
    to: Option<RegistryPrefix>,
    /// Of an image index, copies the image for one platform, or an index of those for several with
    /// commas between them; whole image indexes otherwise, or with `all`
    #[arg(long)]
    platform: Option<String>,
    /// Moves nothing, and says what would be moved
    #[arg(long)]
    dry_run: bool,
    /// Writes what became of each image, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
    #[command(flatten)]
    gate: GateArgs,
}

/// From where to where one image goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ImageTransfer {
    pub(crate) source: Reference,
    pub(crate) release: Reference,
}

impl ImageTransfer {
    /// From the source registry to the release registry.
    pub(crate) fn of(image: &TargetImage) -> Self {
        Self { source: image.source.clone(), release: image.release.clone() }
    }
}

/// What became of one image.
#[derive(Debug)]
pub(crate) struct TransferResult {
    pub(crate) transfer: ImageTransfer,
    pub(crate) result: Result<Outcome, CliError>,
    pub(crate) retries: u32,
    pub(crate) seconds: f64,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Copied(CopyReport),
    Planned(CopyReport),
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let repository = repository(args, global)?;
    let registries = Registries::of(&repository, global);
    let (transfers, platforms) = requested(args, &repository)?;
    repository.require_no_errors(&source_files(args, &repository)?, &args.gate, output)?;
    if let Some(path) = &args.report {
        if path == Path::new("-") {
            let message = "a report goes to a file";
            return Err(CliError::usage(message).hint("`--format json` prints it"));
        }
        fs::require_writable(path)?;
    }
    let bar = output.bar("sync");
    bar.expect_images(transfers.len());
    let options = CopyOptions {
        platforms: platforms.clone(),
        jobs: global.jobs.into(),
        progress: bar.shared(),
        on_existing_tag: args.existing_tag.choice(),
        ..CopyOptions::default()
    };
    let results = ResultSlots::of(&transfers);
    let mut run = ReportOnDrop {
        results: &results,
        report: args.report.as_deref(),
        platforms: &platforms,
        dry_run: args.dry_run,
        began: Instant::now(),
        is_over: false,
    };
    let done = sync(&results, &registries, &options, args.dry_run).await;
    run.is_over = true;
    bar.done();
    done?;
    let report = run.to_report();
    for warning in report.warnings() {
        output.warn(&warning);
    }
    for failure in report.grouped_failures() {
        output.error(&failure);
    }
    let saved = args.report.as_ref().map_or(Ok(()), |path| report.save(path));
    output.result(|| report.to_json(), || report.to_text());
    saved?;
    // The outside world weighs more than a tag that must not move.
    let code = report.failures().map(|failure| failure.exit).max();
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// The release repository; nothing of it is needed where all is said on the command line.
fn repository(args: &Args, global: &Global) -> Result<Repository, CliError> {
    let all_is_said = args.target.is_empty() && args.from.is_some() && args.to.is_some();
    match global.repo {
        None if all_is_said && !Repository::is_around() => Repository::none(global),
        _ => Repository::open(global),
    }
}

/// The files of the repository that say which images are copied.
fn source_files(args: &Args, repository: &Repository) -> Result<BTreeSet<String>, CliError> {
    let mut files = repository.target_files(&args.target)?;
    let root = repository.root.canonicalize().unwrap_or_default();
    for list in args.list.iter().flat_map(|list| image_list::files(list)).flatten() {
        let inside = list.canonicalize().ok();
        let inside = inside.as_deref().and_then(|list| list.strip_prefix(&root).ok()?.to_str());
        files.extend(inside.map(str::to_owned));
    }
    Ok(files)
}

/// What the arguments ask for: what goes where, and of which platforms; none are all.
fn requested(
    args: &Args,
    repository: &Repository,
) -> Result<(Vec<ImageTransfer>, Vec<Platform>), CliError> {
    let mut wanted = Vec::new();
    if !args.target.is_empty() {
        let images = repository.target_images(&args.target).map_err(|failure| {
            // A pattern that the shell has resolved looks like targets.
            match args.list.is_empty() {
                true => failure,
                false => {
                    failure.hint("each list has a `--list` of its own; quote a pattern of them")
                }
            }
        })?;
        let transfers = images.iter().map(ImageTransfer::of).collect();
        wanted.push(ImageList { transfers, platforms: Vec::new(), is_report: false });
    }
    for list in &args.list {
        wanted.extend(image_list::read(repository, list)?);
    }
    let platforms = match args.platform.as_deref() {
        None => listed_platforms(&wanted)?,
        Some("all") => Vec::new(),
        Some(named) => named.split(',').map(str::parse).collect::<Result<_, _>>()?,
    };
    let transfers = wanted.into_iter().flat_map(|one| one.transfers).collect();
    let transfers = dedup(rebase(transfers, (args.from.as_ref(), args.to.as_ref()))?);
    require_own_tags(&transfers)?;
    Ok((transfers, platforms))
}

/// The platforms that earlier runs were of, where nothing else is said.
fn listed_platforms(wanted: &[ImageList]) -> Result<Vec<Platform>, CliError> {
    let Some(first) = wanted.first() else { return Ok(Vec::new()) };
    if wanted.iter().any(|one| one.platforms != first.platforms) {
        let message =
            "the reports are of runs for different platforms, or one is and a list is not";
        return Err(CliError::usage(message).hint("say which you want, with `--platform`"));
    }
    Ok(first.platforms.clone())
}

/// Two images under one tag would be one that is lost.
fn require_own_tags(transfers: &[ImageTransfer]) -> Result<(), CliError> {
    let mut taken = HashMap::new();
    for ImageTransfer { source, release } in transfers {
        if release.tag().is_none() {
            continue;
        }
        if let Some(other) = taken.insert(release, source) {
            let message = format!("{other} and {source} would both become {release}");
            let hint = "copy them to different projects: leave the project of `--to` out";
            return Err(CliError::usage(message).hint(hint));
        }
    }
    Ok(())
}

/// Where images go; a place replaces the policy's.
pub(crate) fn rebase(
    transfers: Vec<ImageTransfer>,
    (from, to): (Option<&RegistryPrefix>, Option<&RegistryPrefix>),
) -> Result<Vec<ImageTransfer>, CliError> {
    let rebased = |transfer: ImageTransfer| {
        let place = |written: &Reference, place: Option<&RegistryPrefix>| {
            place.map_or_else(|| Ok(written.clone()), |place| transfer.release.rebase(place))
        };
        Ok(ImageTransfer {
            source: place(&transfer.source, from)?,
            release: place(&transfer.release, to)?,
        })
    };
    transfers.into_iter().map(rebased).collect()
}

/// Each transfer once, however its tags are written.
fn dedup(transfers: Vec<ImageTransfer>) -> Vec<ImageTransfer> {
    let mut seen = HashSet::new();
    let explicit = transfers.into_iter().map(|ImageTransfer { source, release }| ImageTransfer {
        source: source.with_default_tag(),
        release: release.with_default_tag(),
    });
    explicit.filter(|transfer| seen.insert(transfer.clone())).collect()
}

/// Copies images, or plans that. One that fails does not stop the others.
pub(crate) async fn sync(
    results: &ResultSlots<'_>,
    registries: &Registries,
    options: &CopyOptions,
    dry_run: bool,
) -> Result<(), CliError> {
    let transfers = results.transfers();
    let mut clients: BTreeMap<&str, Client> = BTreeMap::new();
    let both = || transfers.iter().flat_map(|transfer| [&transfer.source, &transfer.release]);
    for host in both().map(Reference::host) {
        if !clients.contains_key(host) {
            clients.insert(host, registries.client(host, false)?);
        }
    }
    for (host, client) in &clients {
        client.prefetch_pull_tokens(
            both().filter(|one| one.host() == *host).map(Reference::repository),
        );
    }
    let releases = transfers.iter().map(|transfer| transfer.release.host());
    let copiers: BTreeMap<&str, Copier<'_>> =
        releases.map(|host| (host, Copier::new(&clients[host], options.clone()))).collect();
    let work = transfers.iter().enumerate().map(|(number, transfer)| {
        let source: Arc<dyn ImageSource> = Arc::new(clients[transfer.source.host()].clone());
        let one = sync_one(transfer, source, &copiers[transfer.release.host()], dry_run);
        one.map(move |synced| {
            options.progress.image_done();
            results.put(number, synced);
        })
    });
    let work = stream::iter(work).buffer_unordered(options.jobs * IMAGES_PER_JOB);
    work.collect::<()>().await;
    Ok(())
}

async fn sync_one(
    transfer: &ImageTransfer,
    source: Arc<dyn ImageSource>,
    copier: &Copier<'_>,
    dry_run: bool,
) -> TransferResult {
    let (from, to) = (&transfer.source, &transfer.release);
    let began = Instant::now();
    let work = async {
        let locator = from.tag_or_digest();
        let (from, to) = ((from.repository(), &locator), (to.repository(), to.tag()));
        if dry_run {
            copier.plan(&source, from, to).await.map(Outcome::Planned)
        } else {
            copier.copy(&source, from, to).await.map(Outcome::Copied)
        }
    };
    let (result, retries) = with_retry_counter(work).await;
    let result = result
        .map_err(existing_tag::with_options)
        .map_err(|failure| failure.context(format!("cannot copy {from} to {to}")));
    // An index of some platforms only is not what a digest in the name says.
    let release = result.as_ref().map_or_else(|_| to.clone(), |done| to.with_digest(done.digest()));
    let transfer = ImageTransfer { source: from.clone(), release };
    TransferResult { transfer, result, retries, seconds: began.elapsed().as_secs_f64() }
}
