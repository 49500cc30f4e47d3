mod hotfix;
mod plugin;

use std::process::ExitCode;

use compass_manifest::bump::BumpError;

use crate::cli::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    /// Counts up the version of a plugin, and the tags of its images with it
    Plugin(plugin::Args),
    /// Begins the next hotfix of an addon, from the addon's values in the base product version
    Hotfix(hotfix::Args),
}

pub(crate) fn run(args: &Args, global: &Global, output: &Output) -> Result<ExitCode, CliError> {
    let repository = Repository::open(global)?;
    match &args.target {
        Target::Plugin(args) => plugin::run(args, &repository, output)?,
        Target::Hotfix(args) => hotfix::run(args, &repository, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What a dry run says instead of the deed.
fn not_written(output: &Output, dry_run: bool) {
    if dry_run {
        output.status("dry run: nothing was written");
    }
}

fn failure(error: &BumpError) -> CliError {
    let failure = match error.is_in_manifest() {
        true => CliError::check_failed(error),
        false => CliError::usage(error),
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
