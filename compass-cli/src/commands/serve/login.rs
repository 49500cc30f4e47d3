//! The login that a server requires.

use std::path::Path;

use compass_registry::server::BasicAuth;

use crate::error::{CliError, Result};

/// The environment variable with the password, which other users of the machine cannot see.
const PASSWORD: &str = "COMPASS_SERVE_PASSWORD";

/// Reads the password of a user from a file, or else from the environment.
pub(super) fn basic_auth(user: Option<&str>, file: Option<&Path>) -> Result<Option<BasicAuth>> {
    let Some(user) = user else { return Ok(None) };
    if user.is_empty() || user.contains(':') {
        return Err(CliError::usage("the user of `--user` must not be empty or contain `:`"));
    }
    let password = match file {
        Some(file) => read_password(file)?,
        None => std::env::var(PASSWORD).unwrap_or_default(),
    };
    if password.is_empty() {
        let hint = format!("use `--password-file FILE`, or set {PASSWORD}");
        return Err(CliError::usage(format!("the password of {user} is missing")).hint(hint));
    }
    Ok(Some(BasicAuth::new(user, &password)))
}

fn read_password(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        CliError::usage(format!("cannot read the password file {}: {error}", file.display()))
    })?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(CliError::usage(format!("the password file {} is empty", file.display())));
    }
    Ok(password.to_owned())
}
