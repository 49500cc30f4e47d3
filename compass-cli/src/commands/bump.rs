//! `compass bump`.

mod hotfix;
mod plugin;

use std::process::ExitCode;

use compass_manifest::bump::BumpError;

use crate::error::{CliError, Result};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    /// Increments the version of a plugin, and the tags of its images
    Plugin(plugin::Args),
    /// Creates the next hotfix of an addon, from the previous one or from the addon
    Hotfix(hotfix::Args),
}

pub(crate) fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let repository = Repository::open(global)?;
    match &args.target {
        Target::Plugin(args) => plugin::run(args, &repository, output)?,
        Target::Hotfix(args) => hotfix::run(args, &repository, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints that a dry run wrote nothing.
fn print_dry_run(output: &Output, dry_run: bool) {
    if dry_run {
        output.status("dry run: nothing was written");
    }
}

fn bump_error(error: &BumpError) -> CliError {
    let cli_error = match error.is_in_manifest() {
        true => CliError::check_failed(error),
        false => CliError::usage(error),
    };
    match error.hint() {
        Some(hint) => cli_error.hint(hint),
        None => cli_error,
    }
}
