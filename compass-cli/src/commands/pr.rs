//! `compass pr`.

mod create;

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::ValueEnum;
use compass_manifest::finding::Severity;
use compass_manifest::pull_request_text::{PullRequestText, ReleaseChange};
use compass_manifest::review::TargetOwners;
use compass_manifest::{Check, ReleaseRepository};
use serde_json::json;

use crate::display::counted;
use crate::error::{CliError, Result};
use crate::forge::{ForgeArgs, PullRequest};
use crate::git::Git;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::repository::{Repository, Target};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The targets: `plugin NAME`, `hotfix ADDON-HOTFIXVERSION` or `product VERSION`
    #[arg(required = true)]
    target: Vec<String>,
    /// The branch that the pull request is for [default: `origin/HEAD`, `origin/main` or
    /// `origin/master`]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// A text for the release note, before the changed fields
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Prints only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Option<Part>,
    /// Opens the pull request from the current branch, which must be pushed
    #[arg(long, conflicts_with = "only")]
    create: bool,
    /// The branch with the change; `OWNER:BRANCH` of a fork [default: the current branch]
    #[arg(long, value_name = "BRANCH", requires = "create")]
    head: Option<String>,
    /// Opens it as a draft
    #[arg(long, requires = "create")]
    draft: bool,
    #[command(flatten)]
    forge: ForgeArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Title,
    Body,
    Comment,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let repository = Repository::open(global)?;
    let base = base(args, &repository, output)?;
    let releases = Target::parse_all(&args.target)?
        .into_iter()
        .map(|target| change(&repository, target, base.as_ref().map(|base| &base.repository)))
        .collect::<Result<Vec<_>>>()?;
    let owners = repository.owners(&args.target)?;
    let images = repository
        .target_images(&args.target)?
        .into_iter()
        .map(|image| image.source.to_string().parse().map_err(CliError::usage));
    let images = images.collect::<Result<Vec<_>>>()?;
    let queue = &repository.policy.review.queue;
    let text = PullRequestText::new(queue, &releases, &owners, &images, args.note.as_deref());
    let errors = check_errors(&repository, base.as_ref());
    warn(args, &owners, output);
    if errors > 0 {
        let errors = counted(errors, "error");
        let message = format!("`compass check` finds {errors}, which the queue refuses");
        match args.create {
            true => return Err(CliError::check_failed(message).with_check_hint()),
            false => output.warn(&message),
        }
    }
    let opened = match args.create {
        true => Some(create::run(args, &text, &repository, output).await?),
        false => None,
    };
    print(args, &text, &owners, opened.as_ref(), output);
    Ok(ExitCode::SUCCESS)
}

/// The repository where the change began, and the paths that it touches.
struct BaseState {
    repository: ReleaseRepository,
    changed: BTreeSet<String>,
}

/// The state of the repository where the change began; `None` if it is not known.
fn base(args: &Args, repository: &Repository, output: &Output) -> Result<Option<BaseState>> {
    let git = repository.checkout.git();
    let revision = match (&args.base, git) {
        (Some(_), None) => {
            let message = format!("{} is not in a git repository", repository.root.display());
            return Err(CliError::usage(message).hint("omit `--base`"));
        }
        (Some(revision), Some(_)) => Some(revision.clone()),
        (None, git) => git.map(Git::default_base).transpose()?.flatten(),
    };
    let (Some(revision), Some(git)) = (revision, git) else {
        output.warn("there is no base to compare with: the release note names no changed fields");
        return Ok(None);
    };
    let base = git.base(&revision, false, &repository.tree, &repository.policy)?;
    Ok(Some(BaseState { repository: repository.parse(base.tree), changed: base.changed }))
}

/// The number of errors that the change adds; of all errors if the base is not known.
fn check_errors(repository: &Repository, base: Option<&BaseState>) -> usize {
    let check = Check::new(repository.release());
    let check = match base {
        Some(base) => check.with_base(&base.repository).with_changed_paths(&base.changed),
        None => check,
    };
    check.run().count(Severity::Error)
}

/// Describes what a target releases.
fn change(
    repository: &Repository,
    target: Target<'_>,
    base: Option<&ReleaseRepository>,
) -> Result<ReleaseChange> {
    let current = repository.release();
    Ok(match target {
        Target::Plugin(name) => {
            let version = repository.plugin(name)?.version;
            let plugin = repository.plugin_manifest(name)?;
            ReleaseChange::of_plugin(&plugin, &version, current, base)
        }
        Target::Hotfix(name) => {
            let hotfixes = repository.hotfixes(name)?;
            let first =
                hotfixes.first().map(|hotfix| (hotfix.addon.clone(), hotfix.version.clone()));
            let (addon, version) = first.unwrap_or_default();
            let (Some(addon), Some(version)) = (addon, version) else {
                let message = format!("hotfix `{name}` has no addon or no version");
                return Err(CliError::check_failed(message).with_check_hint());
            };
            ReleaseChange::of_hotfix(&hotfixes, &addon, &version, current)
        }
        Target::Product(version) => {
            let product = repository.product(version)?;
            let name = product.manifest.name.as_ref().map_or("product", |name| &name.value);
            ReleaseChange::of_product(&product, name, version)
        }
    })
}

/// Warns of targets without an owner.
fn warn(args: &Args, owners: &[TargetOwners], output: &Output) {
    if owners.len() < args.target.len() / 2 {
        output.warn(
            "not every target has an owner: name one in an OWNERS file, or under `review.owners` in the \
             policy",
        );
    }
}

fn print(
    args: &Args,
    text: &PullRequestText,
    owners: &[TargetOwners],
    opened: Option<&PullRequest>,
    output: &Output,
) {
    if let Some(pull) = opened {
        let json = json!({
            "number": pull.number,
            "url": pull.url,
            "title": text.title,
            "comment": text.comment,
        });
        output.result(
            || json,
            || {
                format!(
                    "#{} {}\n\ncomment, when the images are pushed and an owner agrees:\n\n{}",
                    pull.number, pull.url, text.comment
                )
            },
        );
        return;
    }
    output.result(
        || {
            json!({
                "title": text.title,
                "body": text.body,
                "comment": text.comment,
                "owners": owners,
            })
        },
        || match args.only {
            Some(Part::Title) => format!("{}\n", text.title),
            Some(Part::Body) => text.body.clone(),
            Some(Part::Comment) => text.comment.clone(),
            None => format!(
                "title: {}\n\nbody:\n\n{}\ncomment, when the images are pushed and an owner agrees:\n\n{}",
                text.title, text.body, text.comment
            ),
        },
    );
}
