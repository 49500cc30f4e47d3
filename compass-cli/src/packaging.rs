//! Plans a package from a release repository and the registry, and writes it.

mod images;

use std::path::Path;
use std::sync::Arc;

use compass_bundle::store::{Published, Store};
use compass_bundle::{BundleContents, BundlePlan, Platforms, WriteOptions, Written, write_as};
use compass_registry::{ImageSource, Platform, RegistryPrefix};

use crate::error::{CliError, Result};
use crate::git::{Change, Git, History};
use crate::output::Output;
use crate::registries::Registries;
use crate::release_contents::ReleaseContents;
use crate::repository::Repository;
use crate::source_date_epoch;

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
    /// The last change of the files; `None` to read it.
    pub(crate) change: Option<&'o LastChange>,
    pub(crate) platforms: Platforms,
    pub(crate) allow_other_platform: bool,
    pub(crate) include_archives: bool,
    pub(crate) jobs: usize,
}

impl Options<'_> {
    /// Packages the images of the release registry for the default platform.
    pub(crate) fn new(repository: &Repository, jobs: usize) -> Result<Self> {
        Ok(Self {
            origin: ImageOrigin::Release,
            change: None,
            platforms: platforms(repository, None)?,
            allow_other_platform: false,
            include_archives: false,
            jobs,
        })
    }
}

/// A planned bundle, and the source of its blobs.
pub(crate) struct PlannedBundle {
    pub(crate) plan: BundlePlan,
    pub(crate) contents: BundleContents,
    pub(crate) images: Arc<dyn ImageSource>,
}

/// Reads the manifests of the images from the registry, and plans the bundle.
pub(crate) async fn plan(
    repository: &Repository,
    release: ReleaseContents,
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<PlannedBundle> {
    let change = match options.change {
        Some(change) => change,
        None => &LastChange::read(repository, &release.paths, output)?,
    };
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
pub(crate) struct LastChange {
    /// The commit; `None` if the files differ from it.
    pub(crate) commit: Option<String>,
    seconds: u64,
}

impl LastChange {
    /// Reads the last change of files. If it is not known, prints a warning with the reason.
    pub(crate) fn read(repository: &Repository, paths: &[String], output: &Output) -> Result<Self> {
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

/// Returns an error for a bundle that names no commit: the source of a published bundle must be known.
pub(crate) fn require_commit(commit: Option<&str>) -> Result<()> {
    if commit.is_some() {
        return Ok(());
    }
    Err(CliError::check_failed("the bundle names no commit: its files have uncommitted changes")
        .hint("commit the files and package again, or publish with `--allow-uncommitted`"))
}

/// Publishes a planned bundle without a local file.
pub(crate) async fn write_to_store(
    bundle: PlannedBundle,
    store: &dyn Store,
    jobs: usize,
    output: &Output,
) -> Result<Published> {
    let progress = output.progress("package");
    let options = WriteOptions::default().jobs(jobs).progress(progress.shared());
    Ok(store.write(&Arc::new(bundle.plan), bundle.images, &options).await?)
}

/// Writes a planned bundle to a file.
pub(crate) async fn write_to_file(
    bundle: PlannedBundle,
    path: &Path,
    jobs: usize,
    output: &Output,
) -> Result<Written> {
    let progress = output.progress("package");
    let options = WriteOptions::default().jobs(jobs).progress(progress.shared());
    let written = write_as(&bundle.plan, bundle.images, path, &options).await;
    written.map_err(|error| write_error(error, path))
}

/// Names the file in the error of a write.
pub(crate) fn write_error(error: compass_bundle::Error, path: &Path) -> CliError {
    CliError::from(error).context(format!("cannot write {}", path.display()))
}
