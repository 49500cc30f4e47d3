//! `compass review`.

mod offline;
mod online;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::{CliError, Result};
use crate::forge::ForgeArgs;
use crate::global_args::GlobalArgs;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The targets of the pull request, without `--number`: `plugin NAME`, `hotfix
    /// ADDON-HOTFIXVERSION` or `product VERSION`
    #[arg(conflicts_with = "number")]
    target: Vec<String>,
    /// Reads this pull request from the forge, finds its targets, and asks the registries and the store
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    #[command(flatten)]
    forge: ForgeArgs,
    /// Writes the labels, a comment and the commit status of the pull request
    #[arg(long, requires = "number")]
    apply: bool,
    #[command(flatten)]
    files: FileArgs,
}

/// The files of a pull request, for a review without the forge.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Without the forge")]
struct FileArgs {
    /// The event of a workflow run, as JSON of the forge
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    event: Option<PathBuf>,
    /// The body of the pull request [default: that of the event]
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    body: Option<PathBuf>,
    /// The comments, as JSON of the forge's API, also in pages (`gh api --paginate --slurp`), or of `gh
    /// pr view --json comments,reviews`
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    comments: Option<PathBuf>,
    /// The labels, separated by commas [default: those of the event]
    #[arg(long, value_delimiter = ',', conflicts_with = "number")]
    labels: Option<Vec<String>>,
    /// The author [default: that of the event]
    #[arg(long, value_name = "LOGIN", conflicts_with = "number")]
    author: Option<String>,
    /// The contents of the registries and the store, as JSON
    ///
    /// `{"in_source": ["HOST/PATH:TAG"], "in_release": [], "bundle": true}`
    #[arg(long, value_name = "FILE", conflicts_with = "number")]
    facts: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    // An argument that `--number` excludes makes clap ignore `requires`.
    if args.apply && args.number.is_none() {
        let message = "`--apply` writes to a pull request of the forge";
        return Err(CliError::usage(message).hint("name it with `--number N`"));
    }
    match args.number {
        Some(number) => online::run(number, args, global, output).await,
        None => offline::run(args, global, output),
    }
}
