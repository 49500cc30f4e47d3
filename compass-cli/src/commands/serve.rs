use std::path::PathBuf;
use std::process::ExitCode;

use compass_registry::server::{Server, ServerOptions};
use compass_registry::storage::DiskStorage;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps a registry in this directory, and lets clients push to it
    #[arg(long, value_name = "DIR", required = true)]
    writable: Option<PathBuf>,
    /// Where to listen; port 0 takes any free one
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "HOST:PORT")]
    listen: String,
    /// Asks every client for this user's name and password; the password is the first line of
    /// --password-file
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file with the user's password in its first line
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let Some(directory) = &args.writable else {
        return Err(Failure::usage("name a directory with `--writable DIR`"));
    };
    let basic_auth = match (&args.user, &args.password_file) {
        (Some(user), Some(file)) => Some((user.clone(), read_password(file)?)),
        _ => None,
    };
    let storage = DiskStorage::open_alone(directory).await?;
    let options = ServerOptions { basic_auth, ..ServerOptions::default() };
    let server = Server::start(storage, &args.listen, options).await?;
    let host = server.host();
    output.result(
        || json!({"host": host, "directory": directory}),
        || format!("{host} serves {}; stop it with Ctrl-C\n", directory.display()),
    );
    server.ended().await?;
    Ok(ExitCode::SUCCESS)
}

fn read_password(file: &PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read the password file {}: {error}", file.display()))
    })?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Failure::usage(format!("the password file {} is empty", file.display())));
    }
    Ok(password.to_owned())
}
