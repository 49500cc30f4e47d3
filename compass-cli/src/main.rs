//! `compass`: checks releases, copies their images, and builds, verifies and installs offline packages.

mod board;
mod bot;
mod built_in_policy;
mod checkout;
mod cli;
mod commands;
mod demo;
mod display;
mod error;
mod existing_tag;
mod forge;
mod fs;
mod git;
mod global_args;
mod image_transfer;
mod image_usage;
mod output;
mod package_verification;
mod packaging;
mod preflight;
mod progress;
mod pull_request;
mod registries;
mod regular_file;
mod release_contents;
mod release_steps;
mod repository;
mod rule_files;
mod rule_gate;
mod signals;
mod site;
mod source_date_epoch;
mod temporary;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory as _, FromArgMatches as _};

use cli::{Cli, Command};
use error::CliError;
use output::Output;
use signals::Interruptions;

/// How long the process waits for background tasks before it exits.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// How long after a signal the process exits even if it is blocked.
const FORCED_EXIT: Duration = Duration::from_secs(7);

fn main() -> ExitCode {
    let cli = match parse_arguments() {
        Ok(cli) => cli,
        Err(error) => return report_usage_error(&error),
    };
    let output = Output::new(&cli.global).reserve_stdout(cli.command.reserves_stdout());
    start_log(&cli);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&CliError::external(&error)),
    };
    let (mut interruptions, forced) = runtime.block_on(async {
        signals::ignore_file_size_limit();
        (Interruptions::listen(), Interruptions::listen())
    });
    runtime.spawn(force_exit(forced, output.clone()));
    let is_server = cli.command.is_server();
    let result = runtime.block_on(async {
        if cli.command.handles_signals() {
            return commands::run(&cli, &output).await;
        }
        tokio::select! {
            result = commands::run(&cli, &output) => result,
            // A signal is the regular end of a server.
            error = interruptions.next() => match is_server {
                true => Ok(ExitCode::SUCCESS),
                false => Err(error),
            },
        }
    });
    let result = result.map_err(|error| match error.is_interruption() {
        true => error.hint(cli.command.interruption_hint()),
        false => error,
    });
    if result.is_err() {
        let ended = async { tokio::time::timeout(SHUTDOWN_GRACE, background_tasks_ended()).await };
        let _ = runtime.block_on(ended);
    }
    // Dropping the command's future has removed its unfinished files. A blocking thread, for example
    // one that reads from a pipe, does not keep the process alive.
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    output::exit_code(match result {
        Ok(code) => code,
        Err(error) => output.fail(&error),
    })
}

/// Waits for the tasks that a command has left, for example to cancel its uploads. The end of the
/// runtime would stop them.
async fn background_tasks_ended() {
    let runtime = tokio::runtime::Handle::current();
    // `force_exit` runs as long as the process.
    while runtime.metrics().num_alive_tasks() > 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Exits the process if it still runs some seconds after a signal, for example blocked on a disk.
async fn force_exit(mut interruptions: Interruptions, output: Output) {
    let error = interruptions.next().await;
    tokio::select! {
        () = tokio::time::sleep(FORCED_EXIT) => {}
        _ = interruptions.next() => tokio::time::sleep(2 * SHUTDOWN_GRACE).await,
    }
    output.fail(&error);
    std::process::exit(error.exit.into());
}

/// Parses the arguments. `--color` applies to help and errors, too.
fn parse_arguments() -> Result<Cli, clap::Error> {
    let color = [("always", ColorChoice::Always), ("never", ColorChoice::Never)];
    let color = color.into_iter().find(|(value, _)| is_given("--color", value));
    let command = Cli::command().color(color.map_or(ColorChoice::Auto, |(_, choice)| choice));
    Cli::from_arg_matches(&command.try_get_matches()?)
}

/// Whether the arguments contain an option with a value, also if they cannot be parsed.
fn is_given(option: &str, value: &str) -> bool {
    let mut pairs = std::env::args_os().zip(std::env::args_os().skip(1));
    pairs.any(|(name, given)| name == option && given == value)
        || std::env::args_os().any(|argument| argument == *format!("{option}={value}"))
}

/// Converts a message of clap, which ends with usage and hints.
fn usage_error(kind: ErrorKind, text: &str) -> CliError {
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CliError::usage("a subcommand is missing").hint("`--help` lists them");
    }
    let text = text.trim();
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    let error = CliError::usage(message.strip_prefix("error: ").unwrap_or(message));
    error.hint(tip.unwrap_or("`--help` shows the usage"))
}

/// Prints an error of the command line, the help or the version.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let is_json = is_given("--format", "json");
    let text = error.render().to_string();
    let shown = without_passwords(&text);
    if error.use_stderr() && is_json {
        return output::print_json_error(&usage_error(error.kind(), &shown));
    }
    // If printing fails, no stream is left to report that on.
    let _ = match shown == text {
        true => error.print(),
        false => std::io::stderr().write_all(shown.as_bytes()),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Replaces the passwords of URLs among the arguments in a text.
fn without_passwords(text: &str) -> String {
    let mut shown = text.to_owned();
    for argument in std::env::args_os() {
        if let Some(password) =
            argument.to_str().and_then(compass_registry::Reference::find_password)
        {
            shown = shown.replace(&format!(":{password}@"), ":…@");
        }
    }
    shown
}

/// Starts the log on stderr. Only the crates of this project log: those of other projects may log
/// headers, which contain credentials.
fn start_log(Cli { global, command }: &Cli) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    let level = match global.verbose {
        // The operator of a server needs its warnings, because its errors are sent to the clients.
        0 if matches!(command, Command::Serve(_) | Command::Bot(_)) => LevelFilter::WARN,
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let use_color = output::use_color(global.color, &std::io::stderr());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(use_color);
    let own = Targets::new().with_target("compass", level);
    log.with_max_level(level).finish().with(own).init();
}
