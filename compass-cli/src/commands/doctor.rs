//! `compass doctor`.

use std::process::ExitCode;
use std::str::FromStr;

use compass_bundle::store::{StoreCheck, redact_url};
use compass_registry::client::Check;
use compass_registry::{Hint, RegistryPrefix, Repository as Name};
use serde_json::json;

use super::store::open_bucket;
use crate::display::printable;
use crate::error::{CliError, Result, hint_text};
use crate::global_args::GlobalArgs;
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::Repository;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The registry, or a project whose login is tested: `HOST[:PORT][/PROJECT]`; or an object
    /// storage: `s3://bucket/prefix` or `oss://bucket/prefix`, below which small objects are written
    /// and deleted
    #[arg(value_name = "PLACE")]
    place: Place,
    /// A repository for the tests that write; its content is removed again, and that of
    /// `REPOSITORY/mounted`. Without it, these tests are skipped
    #[arg(long, value_name = "REPOSITORY")]
    scratch: Option<Name>,
    /// Connects without TLS
    #[arg(long)]
    plain_http: bool,
}

/// A registry or a storage to test.
#[derive(Debug, Clone)]
enum Place {
    Registry(RegistryPrefix),
    /// The URL of an object storage.
    Storage(String),
}

impl FromStr for Place {
    type Err = compass_registry::Error;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.starts_with("s3://") || text.starts_with("oss://") {
            true => Ok(Self::Storage(text.to_owned())),
            false => Ok(Self::Registry(text.parse()?)),
        }
    }
}

pub(crate) async fn run(args: &Args, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    match &args.place {
        Place::Registry(place) => test_registry(place, args, global, output).await,
        Place::Storage(_) if args.scratch.is_some() || args.plain_http => {
            let message = "`--scratch` and `--plain-http` have no effect: the place is no registry";
            Err(CliError::usage(message))
        }
        Place::Storage(url) => test_storage(url, global, output).await,
    }
}

/// Tests an object storage.
async fn test_storage(url: &str, global: &GlobalArgs, output: &Output) -> Result<ExitCode> {
    let checks = open_bucket(url, global)?.diagnose().await;
    let usable = checks.iter().all(|check| check.passed || !check.is_required);
    let to_json = |check: &StoreCheck| json!({"name": check.name, "works": check.passed, "detail": check.detail, "help": null});
    let to_line =
        |check: &StoreCheck| line(check.name, Some(check.passed), &printable(&check.detail));
    output.result(
        || {
            let trials: Vec<_> = checks.iter().map(to_json).collect();
            json!({"store": redact_url(url), "usable": usable, "trials": trials})
        },
        || checks.iter().map(to_line).collect(),
    );
    Ok(if usable { ExitCode::SUCCESS } else { CliError::EXTERNAL.into() })
}

async fn test_registry(
    place: &RegistryPrefix,
    args: &Args,
    global: &GlobalArgs,
    output: &Output,
) -> Result<ExitCode> {
    let registries = match Repository::is_in_one() {
        true => Registries::new(&Repository::open(global)?, global),
        false => Registries::at_site(global)?,
    };
    let project = match place.project.as_str() {
        "" => None,
        project => Some(project.parse::<Name>()?),
    };
    let client = registries.interactive().client(&place.host, args.plain_http)?;
    let checks = client.diagnose(project.as_ref(), args.scratch.as_ref()).await;
    let usable = checks.iter().all(|check| check.passed != Some(false) || !is_required(check));
    output.result(
        || json!({"registry": place.to_string(), "usable": usable, "trials": checks.iter().map(to_json).collect::<Vec<_>>()}),
        || checks.iter().map(registry_line).collect(),
    );
    Ok(if usable { ExitCode::SUCCESS } else { CliError::EXTERNAL.into() })
}

/// Whether a registry that fails this check is unusable.
fn is_required(check: &Check) -> bool {
    matches!(check.name, "reachable" | "login" | "project" | "upload" | "push")
}

fn registry_line(check: &Check) -> String {
    let help = help(check).map(|help| format!("{:<20} help: {help}\n", "")).unwrap_or_default();
    line(check.name, check.passed, &detail(check)) + &help
}

fn line(name: &str, passed: Option<bool>, detail: &str) -> String {
    let works = match passed {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    };
    format!("{name:<15} {works:<4} {detail}\n")
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
