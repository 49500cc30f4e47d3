//! The error of a forge.

use std::time::Duration;

use compass_manifest::escape::escape_lines;

use crate::error::CliError;

/// The error of a forge. No variant contains a token or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ForgeError {
    /// A setting of the environment or the command line is missing or invalid.
    #[error("{message}")]
    Settings { message: String, hint: String },
    /// The forge cannot be reached, or the connection broke.
    #[error("cannot reach the forge {host}: {cause}")]
    Unreachable { host: String, cause: String },
    /// The forge rejects the token.
    #[error("the forge {host} rejects the credentials: {message}")]
    Unauthorized { host: String, message: String },
    /// The account may not do this.
    #[error("the account may not {action}: {message}")]
    Forbidden {
        action: String,
        message: String,
        /// The permission that the forge names, such as `issues=write`.
        needs: Option<String>,
    },
    /// The object does not exist, or is hidden from the account.
    #[error("cannot {action}: not found")]
    NotFound { action: String },
    /// The forge rejects the values.
    #[error("cannot {action}: {message}")]
    Invalid { action: String, message: String },
    /// The forge asks for a longer pause than this client waits.
    #[error("cannot {action}: the {limit} of the forge is used up for {} s", wait.as_secs())]
    RateLimited {
        action: String,
        /// The limit, such as `hourly limit`.
        limit: &'static str,
        wait: Duration,
    },
    /// The connection broke after a write was sent, so that it may have been done or not.
    #[error("cannot tell whether the forge did this: {action}: {cause}")]
    Unconfirmed { action: String, cause: String },
    /// The forge answers with another status.
    #[error("cannot {action}: the forge answers {status}: {message}")]
    Status { action: String, status: u16, message: String },
    /// The answer is not what the interface promises.
    #[error("cannot {action}: the answer of the forge is not usable: {reason}")]
    InvalidAnswer { action: String, reason: String },
}

impl ForgeError {
    /// Whether the object does not exist, or is hidden from the account.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the state of the forge may differ from what the caller read, so that reading it again
    /// helps.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Invalid { .. } | Self::Unconfirmed { .. })
    }

    /// Returns how to solve the problem.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Settings { hint, .. } => hint.clone(),
            Self::Unreachable { .. } => {
                "check the network, the proxy settings and `GITHUB_API_URL`".to_owned()
            }
            Self::Unauthorized { .. } => {
                "set `GITHUB_TOKEN` to a valid token, or `GITHUB_APP_ID` and \
                                          `GITHUB_APP_PRIVATE_KEY` to those of an installed app"
                    .to_owned()
            }
            Self::Forbidden { needs, .. } => match needs {
                Some(needs) => format!("give the token or the app the permission {needs}"),
                None => {
                    "use a token with write access to pull requests, issues and commit statuses, \
                         or add these permissions to the app or the workflow"
                        .to_owned()
                }
            },
            Self::NotFound { .. } => "check the number and `--repo-name`; a private repository is \
                                      hidden from accounts without access"
                .to_owned(),
            Self::RateLimited { .. } => {
                "run the command again later: completed work is not repeated".to_owned()
            }
            Self::Unconfirmed { .. } => {
                "run the command again: it reads the state before it writes".to_owned()
            }
            Self::Status { status: 500.., .. } => {
                "the forge has a problem of its own: run the command again later".to_owned()
            }
            Self::Invalid { .. } | Self::Status { .. } | Self::InvalidAnswer { .. } => {
                "`-v` logs the requests".to_owned()
            }
        }
    }
}

impl From<ForgeError> for CliError {
    fn from(error: ForgeError) -> Self {
        let hint = error.hint();
        let shown = Self::usage(&error).hint(hint);
        match error {
            ForgeError::Settings { .. } | ForgeError::NotFound { .. } => shown,
            _ => shown.into_external(),
        }
    }
}

/// The maximum number of characters of a message of the forge.
const MAX_MESSAGE: usize = 300;

/// Shortens a message of the forge to one escaped line.
pub(super) fn message_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: String = line.chars().take(MAX_MESSAGE).collect();
    escape_lines(&shown).into_owned()
}
