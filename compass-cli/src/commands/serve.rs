use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use compass_registry::Error;
use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps a registry in this directory, and lets clients push to it
    #[arg(long, value_name = "DIR", required = true)]
    writable: Option<PathBuf>,
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT", value_parser = address)]
    listen: String,
    /// Asks every client for this user's name and password; the password is the first line of
    /// --password-file
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file with the user's password in its first line
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Ends a request whose body is silent for so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    body_idle_timeout: u64,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode, CliError> {
    let Some(directory) = &args.writable else {
        return Err(CliError::usage("name a directory with `--writable DIR`"));
    };
    let basic_auth = match (&args.user, &args.password_file) {
        (Some(user), Some(file)) => Some((user.clone(), read_password(file)?)),
        _ => None,
    };
    let storage = DiskStorage::open_exclusive(directory).await.map_err(|error| {
        let is_of_others = matches!(error, Error::InvalidContent { .. });
        let failure = CliError::from(error);
        if is_of_others { failure.as_config() } else { failure }
    })?;
    allow_many_files();
    let is_open = basic_auth.is_none();
    let body_idle_timeout = Duration::from_secs(args.body_idle_timeout);
    let options = ServerOptions { basic_auth, body_idle_timeout, ..ServerOptions::default() };
    let server = Server::start(storage, &args.listen, options).await?;
    let host = server.host();
    let is_local = host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    if is_open && !is_local {
        output.warn(
            "every machine that reaches this address can push and delete: ask for a login with \
             `--user NAME --password-file FILE`, or listen at 127.0.0.1",
        );
    }
    output.result(
        || json!({"host": host, "directory": directory.display().to_string()}),
        || format!("{host} serves {}; stop it with Ctrl-C\n", directory.display()),
    );
    server.stopped().await?;
    Ok(ExitCode::SUCCESS)
}

/// Whether a text has the form of an address; whether it can be had shows later.
fn address(text: &str) -> Result<String, &'static str> {
    let parts = text.rsplit_once(':');
    let is_one = parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    is_one.then(|| text.to_owned()).ok_or("expected `HOST:PORT`, as `0.0.0.0:5000`")
}

/// Lets the process open as many files as the system lets it: each connection takes one, and one
/// more for the blob that passes. Systems begin with a number that suits older programs.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}

fn read_password(file: &PathBuf) -> Result<String, CliError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::usage(format!("cannot read the password file {}: {error}", file.display()))
    })?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(CliError::usage(format!("the password file {} is empty", file.display())));
    }
    Ok(password.to_owned())
}
