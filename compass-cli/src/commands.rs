//! One module for each command: its arguments and its `run`.

pub(crate) mod bot;
pub(crate) mod bump;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod extract;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod install;
pub(crate) mod installed;
pub(crate) mod man;
pub(crate) mod package;
pub(crate) mod pr;
pub(crate) mod publish;
pub(crate) mod queue;
pub(crate) mod release;
pub(crate) mod review;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod verify;

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{Cli, Command};
use crate::error::{CliError, Result};
use crate::global_args::Format;
use crate::output::Output;

pub(crate) async fn run(cli: &Cli, output: &Output) -> Result<ExitCode> {
    let global = &cli.global;
    let only = match (global.format, &cli.command) {
        (Format::Human | Format::Json, _)
        | (Format::Sarif | Format::Github, Command::Check(_))
        | (Format::Markdown, Command::Diff(_)) => None,
        (Format::Sarif | Format::Github, _) => {
            Some("only `compass check` supports `--format sarif` and `--format github`")
        }
        (Format::Markdown, _) => Some("only `compass diff` supports `--format markdown`"),
    };
    if let Some(message) = only {
        return Err(CliError::usage(message).hint("use `--format human` or `--format json`"));
    }
    match &cli.command {
        Command::Init(args) => init::run(args, global, output),
        Command::Check(args) => check::run(args, global, output),
        Command::Bump(args) => bump::run(args, global, output),
        Command::Explain(args) => explain::run(args, output),
        Command::Images(args) => images::run(args, global, output),
        Command::Sync(args) => sync::run(args, global, output).await,
        Command::Package(args) => package::run(args, global, output).await,
        Command::Inspect(args) => inspect::run(args, global, output).await,
        Command::Extract(args) => extract::run(args, global, output).await,
        Command::Diff(args) => diff::run(args, global, output).await,
        Command::Verify(args) => verify::run(args, global, output).await,
        Command::Publish(args) => publish::run(args, global, output).await,
        Command::Release(args) => release::run(args, global, output).await,
        Command::Install(args) => install::run(args, global, output).await,
        Command::Installed(args) => installed::run(args, output),
        Command::Pr(args) => pr::run(args, global, output).await,
        Command::Queue(args) => queue::run(args, global, output).await,
        Command::Review(args) => review::run(args, global, output).await,
        Command::Bot(args) => bot::run(args, global, output).await,
        Command::Serve(args) => serve::run(args, global, output).await,
        Command::Store(args) => store::run(args, global, output).await,
        Command::Doctor(args) => doctor::run(args, global, output).await,
        Command::Demo(args) => demo::run(args, global, output).await,
        Command::Completions(args) => Ok(completions::run(args, output)),
        Command::Man(args) => man::run(args, output),
        Command::Version => {
            let version = env!("CARGO_PKG_VERSION");
            output.result(|| json!({"version": version}), || format!("compass {version}\n"));
            Ok(ExitCode::SUCCESS)
        }
    }
}
