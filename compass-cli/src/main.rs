//! `compass`: checks releases, moves their images, and builds, proves and installs offline packages.

mod base;
mod checkout;
mod cli;
mod commands;
mod demo;
mod error;
mod existing_tag;
mod fs;
mod git;
mod image_usage;
mod output;
mod preflight;
mod progress;
mod registries;
mod regular_file;
mod release_contents;
mod repository;
mod rule_gate;
mod signals;
mod source_date_epoch;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use cli::{Cli, Command};
use error::CliError;
use output::Output;
use signals::interruption;

/// How long those who still work are waited for.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// How long a store is waited for that is told to forget an upload.
const UPLOAD_ABORT_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return report_usage_error(&error),
    };
    let takes_stdout = match &cli.command {
        Command::Package(args) => args.takes_stdout(),
        Command::Extract(args) => args.takes_stdout(),
        _ => false,
    };
    let output = Output::new(&cli.global).reserve_stdout(takes_stdout);
    start_log(&cli);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&CliError::external(&error)),
    };
    runtime.block_on(async { signals::ignore_file_size_limit() });
    runtime.spawn(force_exit(output.clone()));
    let is_server = cli.command.is_server();
    let result = runtime.block_on(async {
        tokio::select! {
            result = commands::run(&cli, &output) => result,
            // A server ends when it is told to.
            failure = interruption() => match is_server {
                true => Ok(ExitCode::SUCCESS),
                false => Err(failure.hint(cli.command.when_interrupted())),
            },
        }
    });
    if result.is_err() && compass_bundle::store::has_pending_uploads() {
        runtime.block_on(abort_uploads(&output));
    }
    // Everything unfinished is removed by whoever made it; a thread that waits for a pipe is not
    // waited for.
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    output::exit_code(match result {
        Ok(code) => code,
        Err(failure) => output.fail(&failure),
    })
}

/// Lets stores forget unfinished uploads, and says of which they do not.
async fn abort_uploads(output: &Output) {
    let left = tokio::select! {
        left = tokio::time::timeout(UPLOAD_ABORT_TIMEOUT, compass_bundle::store::wait_for_pending_uploads()) => left,
        // Asked twice, this ends now.
        _ = interruption() => Ok(vec!["the interrupted object".to_owned()]),
    };
    let left = left.unwrap_or_else(|_| vec!["an object, and does not answer in time".to_owned()]);
    for object in left {
        output.warn(&format!(
            "the store may keep parts of {object}: a lifecycle rule of the bucket \
             (`AbortIncompleteMultipartUpload`) removes them"
        ));
    }
}

/// Ends the process where an interruption does not: something waits for a file or a disk.
async fn force_exit(output: Output) {
    let failure = interruption().await;
    tokio::select! {
        () = tokio::time::sleep(UPLOAD_ABORT_TIMEOUT + 2 * SHUTDOWN_GRACE) => {}
        _ = interruption() => tokio::time::sleep(2 * SHUTDOWN_GRACE).await,
    }
    output.fail(&failure);
    std::process::exit(failure.exit.into());
}

/// Wrong arguments; also help and version, which are none.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().zip(std::env::args_os().skip(1));
    let wants_json = json.into_iter().any(|(name, value)| name == "--format" && value == "json");
    let plain = error.render().to_string();
    let shown = without_passwords(&plain);
    if error.use_stderr() && (wants_json || std::env::args_os().any(|one| one == "--format=json")) {
        return output::print_json_failure(&CliError::usage(shown.trim()));
    }
    // Nobody is left to tell where even this cannot be printed.
    let _ = match shown == plain {
        true => error.print(),
        false => std::io::stderr().write_all(shown.as_bytes()),
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What is said about the arguments, without the passwords that stand in them.
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

fn start_log(Cli { global, command }: &Cli) {
    use tracing_subscriber::filter::LevelFilter;
    let level = match global.verbose {
        // Who runs a server is told what goes wrong in it.
        0 if matches!(command, Command::Serve(_)) => LevelFilter::WARN,
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let use_color = output::use_color(global.color, &std::io::stderr());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(use_color);
    log.with_max_level(level).init();
}
