//! `compass doctor`.

use std::process::ExitCode;

use compass_registry::client::Check;
use compass_registry::{Hint, RegistryPrefix, Repository as Name};
use serde_json::json;

use crate::error::{CliError, Result, hint_text};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, or a project whose login is tested: `HOST[:PORT][/PROJECT]`
    #[arg(value_name = "PLACE")]
    registry: RegistryPrefix,
    /// A repository for the tests that write; its content is removed again, and that of
    /// `REPOSITORY/mounted`. Without it, these tests are skipped
    #[arg(long, value_name = "REPOSITORY")]
    scratch: Option<Name>,
    /// Connects without TLS
    #[arg(long)]
    plain_http: bool,
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let registries = match Repository::is_in_one() {
        true => Registries::new(&Repository::open(global)?, global),
        false => Registries::at_site(global)?,
    };
    let place = &args.registry;
    let project = match place.project.as_str() {
        "" => None,
        project => Some(project.parse::<Name>()?),
    };
    let client = registries.interactive().client(&place.host, args.plain_http)?;
    let checks = client.diagnose(project.as_ref(), args.scratch.as_ref()).await;
    let usable = checks.iter().all(|check| check.passed != Some(false) || !is_required(check));
    output.result(
        || json!({"registry": place.to_string(), "usable": usable, "trials": checks.iter().map(to_json).collect::<Vec<_>>()}),
        || checks.iter().map(line).collect(),
    );
    Ok(if usable { ExitCode::SUCCESS } else { CliError::EXTERNAL.into() })
}

/// Whether a registry that fails this check is unusable.
fn is_required(check: &Check) -> bool {
    matches!(check.name, "reachable" | "login" | "project" | "upload" | "push")
}

fn line(check: &Check) -> String {
    let works = match check.passed {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    let help = help(check).map(|help| format!("{:<20} help: {help}\n", "")).unwrap_or_default();
    format!("{:<15} {works:<4} {}\n{help}", check.name, detail(check))
}

fn detail(check: &Check) -> String {
    match check.help {
        Some(Hint::ScratchRepository) => format!("{} (`--scratch`)", check.detail),
        _ => check.detail.clone(),
    }
}

/// The help of a check, unless its detail contains it.
fn help(check: &Check) -> Option<String> {
    check.help.filter(|help| *help != Hint::ScratchRepository).map(hint_text)
}

fn to_json(check: &Check) -> serde_json::Value {
    json!({
        "name": check.name, "works": check.passed, "detail": detail(check), "help": help(check),
    })
}
