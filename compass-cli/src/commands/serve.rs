//! `compass serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use compass_registry::Error;
use compass_registry::server::{BasicAuth, Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::error::{CliError, Result};
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The directory of the registry, which clients may push to
    #[arg(long, value_name = "DIR", required = true)]
    writable: Option<PathBuf>,
    /// The address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT", value_parser = address)]
    listen: String,
    /// The user that every client must log in as, with the password of --password-file
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file whose first line is the password of --user
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long the body of a request may pause before the request fails
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    body_idle_timeout: u64,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let Some(directory) = &args.writable else {
        return Err(CliError::usage("name a directory with `--writable DIR`"));
    };
    let basic_auth = match (&args.user, &args.password_file) {
        (Some(user), Some(file)) => Some(BasicAuth::new(user, &read_password(file)?)),
        _ => None,
    };
    let storage = DiskStorage::open_exclusive(directory).await.map_err(|error| {
        let is_foreign = matches!(error, Error::InvalidContent { .. });
        let error = CliError::from(error);
        if is_foreign { error.into_config() } else { error }
    })?;
    raise_open_file_limit();
    let is_open = basic_auth.is_none();
    let body_idle_timeout = Duration::from_secs(args.body_idle_timeout);
    let options =
        ServerOptions::default().basic_auth(basic_auth).body_idle_timeout(body_idle_timeout);
    let server = Server::start(storage, &args.listen, options).await?;
    let host = server.host();
    let is_local = host.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback());
    if is_open && !is_local {
        output.warn(
            "every client that can reach this address can push and delete: require a login with \
             `--user NAME --password-file FILE`, or listen on 127.0.0.1",
        );
    }
    output.result(
        || json!({"host": host, "directory": directory.display().to_string()}),
        || format!("{host} serves {}; stop it with Ctrl-C\n", directory.display()),
    );
    server.stopped().await?;
    Ok(ExitCode::SUCCESS)
}

/// Validates the form `HOST:PORT`. Listening fails later if the address is not available.
fn address(text: &str) -> Result<String, &'static str> {
    let parts = text.rsplit_once(':');
    let is_valid =
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    is_valid.then(|| text.to_owned()).ok_or("expected `HOST:PORT`, for example `0.0.0.0:5000`")
}

/// Raises the limit of open files to the maximum.
///
/// A connection needs one file, and another one while a blob is transferred. The default limit of
/// many systems is too low for that.
fn raise_open_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "cannot raise the limit of open files");
    }
}

fn read_password(file: &PathBuf) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::usage(format!("cannot read the password file {}: {error}", file.display()))
    })?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(CliError::usage(format!("the password file {} is empty", file.display())));
    }
    Ok(password.to_owned())
}
