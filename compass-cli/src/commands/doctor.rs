use std::process::ExitCode;

use compass_registry::client::Check;
use compass_registry::{RegistryPrefix, Repository as Name};
use serde_json::json;

use crate::cli::Global;
use crate::error::CliError;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, as `HOST[:PORT]`, or a project of it, as `HOST[:PORT]/PROJECT`, whose login is
    /// then tried
    #[arg(value_name = "PLACE")]
    registry: RegistryPrefix,
    /// A repository that may be written, as `PROJECT/NAME`; without it, nothing that writes is
    /// tried. What is written there, and below it to `mounted`, is removed again
    #[arg(long, value_name = "REPOSITORY")]
    scratch: Option<Name>,
    /// Speaks with it without TLS
    #[arg(long)]
    plain_http: bool,
}

pub(crate) async fn run(
    args: &Args,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, CliError> {
    let registries = match Repository::is_around() {
        true => Registries::of(&Repository::open(global)?, global),
        false => Registries::at_site(global)?,
    };
    let place = &args.registry;
    let project = match place.project.as_str() {
        "" => None,
        project => Some(project.parse::<Name>()?),
    };
    let client = registries.interactive().client(&place.host, args.plain_http)?;
    let checks = client.diagnose(project.as_ref(), args.scratch.as_ref()).await;
    let enters = checks.iter().all(|one| one.passed != Some(false) || !is_needed(one));
    output.result(
        || json!({"registry": place.to_string(), "usable": enters, "trials": checks.iter().map(to_json).collect::<Vec<_>>()}),
        || checks.iter().map(line).collect(),
    );
    Ok(if enters { ExitCode::SUCCESS } else { CliError::EXTERNAL.into() })
}

/// What nothing goes without.
fn is_needed(check: &Check) -> bool {
    matches!(check.name, "reachable" | "login" | "project" | "upload" | "push")
}

fn line(check: &Check) -> String {
    let works = match check.passed {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let help = check.help.map(|help| format!("{:<20} help: {help}\n", "")).unwrap_or_default();
    format!("{:<15} {works:<4} {}\n{help}", check.name, check.detail)
}

fn to_json(check: &Check) -> serde_json::Value {
    json!({
        "name": check.name, "works": check.passed, "detail": check.detail, "help": check.help,
    })
}
