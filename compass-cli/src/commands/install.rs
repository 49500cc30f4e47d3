//! `compass install`.

mod installation;
mod preflight;
mod report;
mod rollback;
mod trial_uploads;

use std::path::PathBuf;
use std::process::ExitCode;

use compass_registry::RegistryPrefix;

use crate::error::{CliError, Result};
use crate::existing_tag::ExistingTagArgs;
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::site::hand_over::HandOverArgs;
use crate::site::values::ValueArgs;
use installation::{Installation, Site};
use trial_uploads::TrialUploads;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Bundles or other image packages: paths, or http, https, s3 or oss URLs
    #[arg(required_unless_present = "rollback", value_name = "BUNDLE")]
    bundles: Vec<String>,
    /// The site's registry, as `HOST[/PROJECT]`; without a project, images keep their own
    #[arg(long, value_name = "PLACE")]
    registry: RegistryPrefix,
    /// Connects to the registry without TLS
    #[arg(long, hide_short_help = true)]
    plain_http: bool,
    #[command(flatten)]
    existing_tag: ExistingTagArgs,
    /// Prints the plan and the differences from the current installation, and changes nothing
    #[arg(long)]
    dry_run: bool,
    /// The product version at the site [default: that of the latest receipt of a product]
    #[arg(long, value_name = "VERSION", hide_short_help = true)]
    product_version: Option<String>,
    #[command(flatten)]
    hand_over: HandOverArgs,
    /// The directory of the receipts [default: `$XDG_STATE_HOME/compass/receipts`]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    receipts: Option<PathBuf>,
    /// Hands over the files of the previous installation of this plugin, addon or product
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bundles", "product_version"])]
    rollback: Option<String>,
    #[command(flatten)]
    values: ValueArgs,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let site = Site::open(args, global)?;
    if let Some(name) = &args.rollback {
        return rollback::run(name, args, &site, output).await;
    }
    // Uploads that were opened and not used are cancelled when this is dropped.
    let mut trials = TrialUploads::new(&site);
    let installed = install(args, &mut trials, global, output).await;
    site.client.cancel_unused_uploads().await;
    installed
}

async fn install(
    args: &Args,
    trials: &mut TrialUploads<'_>,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ExitCode> {
    let site = trials.site;
    let progress = output.progress("install");
    let options =
        global.copy_options(progress.shared()).on_existing_tag(args.existing_tag.action());
    let mut installations = Vec::new();
    for bundle in &args.bundles {
        installations.push(Installation::open(bundle, args, site, global).await?);
    }
    preflight::refuse_duplicates(&installations)?;
    let plan = preflight::check(&installations, args, trials, &options).await?;
    plan.iter()
        .filter_map(|one| one.unchecked_requirement.as_ref())
        .for_each(|text| output.warn(text));
    if args.dry_run {
        drop((options, progress));
        report::warn(&installations, output).await;
        report::print_plan(&installations, &plan, site, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (installation, plan) in installations.iter_mut().zip(plan) {
        installation.rendered = plan.files;
    }
    progress.expect_images(installations.iter().map(|one| one.package.images().len()).sum());
    for installation in &mut installations {
        if let Err(error) = installation.install(site, &options, output).await {
            output.error(&error);
            installation.failure = Some(error);
        }
    }
    drop((options, progress));
    report::warn(&installations, output).await;
    report::print(&installations, site, output);
    let failures = installations.iter().filter_map(|installation| installation.failure.as_ref());
    Ok(failures.map(|error| error.exit).max().map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Returns the error for problems that were found before anything was pushed.
fn refused(what: &str, mut problems: Vec<CliError>) -> CliError {
    if problems.len() == 1 {
        return problems.remove(0).context(format!("cannot install {what}; nothing was pushed"));
    }
    let message = format!("cannot install {what}: {} problems; nothing was pushed", problems.len());
    let error = problems.iter().fold(CliError::check_failed(message), |error, problem| {
        let causes = problem.causes.iter().map(|cause| format!(": {cause}"));
        error.with_cause(problem.message.clone() + &causes.collect::<String>())
    });
    match problems.into_iter().find_map(|problem| problem.hint) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
