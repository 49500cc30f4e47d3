//! The error that ends a command: exit code, message, causes and hint.

use std::error::Error;
use std::fmt;
use std::path::Path;

use compass_manifest::escape::{escape, escape_lines};
use compass_manifest::policy::PolicyError;
use compass_manifest::source::SourceFile;
use compass_registry::Hint;
use serde_json::{Value, json};

pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

#[derive(Debug, Clone)]
pub(crate) struct CliError {
    pub(crate) exit: u8,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

impl CliError {
    /// The exit code if a check or a verification failed.
    pub(crate) const CHECK_FAILED: u8 = 1;
    /// The exit code for an error in the arguments or the configuration.
    const USAGE: u8 = 2;
    /// The exit code if a registry, a store or the file system failed.
    pub(crate) const EXTERNAL: u8 = 3;

    fn new(exit: u8, message: impl fmt::Display) -> Self {
        Self { exit, message: escaped(message), causes: Vec::new(), hint: None }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Self::USAGE, message)
    }

    pub(crate) fn check_failed(message: impl fmt::Display) -> Self {
        Self::new(Self::CHECK_FAILED, message)
    }

    /// An error of a registry, a store or the file system, with its sources as causes.
    pub(crate) fn external(error: &dyn Error) -> Self {
        Self::new(Self::EXTERNAL, error).with_sources_of(error)
    }

    /// An error of a file operation, such as `read`.
    pub(crate) fn io(action: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::external(&error).context(format!("cannot {action} {}", path.display()))
    }

    /// An error in a file of the repository.
    pub(crate) fn invalid_file(source: &SourceFile, what: impl fmt::Display) -> Self {
        Self::check_failed(format!("{}: {what}", escape(source.path()))).with_check_hint()
    }

    /// The error of a command that a signal ends.
    pub(crate) fn interrupted(exit: u8) -> Self {
        Self::new(exit, "interrupted")
    }

    /// Whether a signal ended the command, or a program that it ran.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(self.exit, 129 | 130 | 143)
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(escaped(hint.into())), ..self }
    }

    /// Adds the hint to run `compass check`.
    pub(crate) fn with_check_hint(self) -> Self {
        self.hint("`compass check` shows the location")
    }

    /// Makes this an error of the configuration.
    pub(crate) fn into_config(self) -> Self {
        Self { exit: Self::USAGE, ..self }
    }

    /// Makes this an error of the environment.
    pub(crate) fn into_external(self) -> Self {
        Self { exit: Self::EXTERNAL, ..self }
    }

    /// Prepends the failed action to the message, which becomes the first cause.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        let message = std::mem::replace(&mut self.message, escaped(what));
        // The message of some errors is only the name that `what` contains.
        if !self.message.contains(&message) {
            self.causes.insert(0, message);
        }
        self
    }

    /// Adds the message of another program as a cause.
    pub(crate) fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(escaped(cause));
        self
    }

    fn with_sources_of(mut self, error: &dyn Error) -> Self {
        let mut next = error.source();
        while let Some(cause) = next {
            let text = escaped(cause);
            // Some libraries repeat their sources in their own message.
            if !self.causes.contains(&text) && self.message != text {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    fn with_hint_of(self, hint: Option<Hint>) -> Self {
        match hint {
            Some(hint) => self.hint(hint_text(hint)),
            None => self,
        }
    }

    /// The JSON form. [`Output`](crate::output::Output) fills in the warnings.
    pub(crate) fn to_json(&self) -> Value {
        let error = json!({
            "exit": self.exit,
            "message": self.message,
            "causes": self.causes,
            "hint": self.hint,
        });
        json!({"error": error, "warnings": []})
    }
}

/// Formats the hint of a library with the options of this program.
pub(crate) fn hint_text(hint: Hint) -> String {
    match hint {
        Hint::AllPlatforms => "copy the image with all its platforms: `--platform all`".to_owned(),
        Hint::SelectPlatform => "choose one of these platforms with `--platform`".to_owned(),
        Hint::ReduceConcurrency => "wait, use fewer `--jobs`, or log in with an account that has a \
                                    higher limit"
            .to_owned(),
        Hint::LowerMinSpeed => "check the connection, or lower `--min-speed`".to_owned(),
        Hint::UseTls => "the port requires TLS: omit `--plain-http` and `plain_http`; plain HTTP is \
                         always used for `localhost`, `127.0.0.1` and `[::1]`, so use another name of \
                         this machine"
            .to_owned(),
        Hint::UsePlainHttp => "the port does not support TLS: use `--plain-http`, or `plain_http: true` \
                               under `registries.hosts` in the policy"
            .to_owned(),
        Hint::CheckProtocol => "the port does not speak HTTP, or only with TLS: check the host and port; \
                                plain HTTP is used for `localhost`, `127.0.0.1` and with `--plain-http`"
            .to_owned(),
        Hint::TrustIssuer => "name a file with the certificate authority in `SSL_CERT_FILE`, or in the \
                              policy as `ca: FILE` under `registries.hosts`"
            .to_owned(),
        Hint::CheckNetwork => "check the host name, the network and the proxy settings; a registry without \
                               TLS needs `plain_http: true` in the policy, or `--plain-http` of `install` \
                               and `doctor`"
            .to_owned(),
        hint => hint.to_string(),
    }
}

/// Escapes control characters of a message, which may have several lines.
fn escaped(message: impl fmt::Display) -> String {
    let text = message.to_string();
    escape_lines(&text).into_owned()
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  because: {cause}"))?;
        // Further lines are indented as far as the first one.
        let hint = self.hint.as_ref().map(|hint| hint.replace('\n', "\n        "));
        hint.iter().try_for_each(|hint| write!(f, "\n  help: {hint}"))
    }
}

impl From<compass_registry::Error> for CliError {
    fn from(error: compass_registry::Error) -> Self {
        of_registry(&error)
    }
}

impl From<compass_bundle::Error> for CliError {
    fn from(error: compass_bundle::Error) -> Self {
        use compass_bundle::Error as E;
        let exit = match &error {
            E::InvalidChecksum { .. }
            | E::Damaged { .. }
            | E::NotABundle { .. }
            | E::InvalidInput(_) => Self::CHECK_FAILED,
            E::InvalidAddress { .. }
            | E::AlreadyExists { .. }
            | E::WrongOwner { .. }
            | E::NoSuchFile { .. }
            | E::NoSuchBlob { .. }
            | E::NoSuchImage { .. } => Self::USAGE,
            E::Registry(error) => return of_registry(error),
            _ => Self::EXTERNAL,
        };
        Self::new(exit, &error).with_sources_of(&error).with_hint_of(error.hint())
    }
}

fn of_registry(error: &compass_registry::Error) -> CliError {
    CliError::new(registry_exit(error), error).with_sources_of(error).with_hint_of(error.hint())
}

fn registry_exit(error: &compass_registry::Error) -> u8 {
    use compass_registry::Error as E;
    match error {
        E::Parse { .. }
        | E::InvalidOption { .. }
        | E::NoSuchPlatform { .. }
        | E::AmbiguousPlatform { .. } => CliError::USAGE,
        E::TagExists { .. } => CliError::CHECK_FAILED,
        E::Image { source, .. } | E::Blob { source, .. } => registry_exit(source),
        _ => CliError::EXTERNAL,
    }
}

impl From<PolicyError> for CliError {
    fn from(error: PolicyError) -> Self {
        let cli_error = Self::usage(&error);
        if error.help.is_empty() { cli_error } else { cli_error.hint(error.help) }
    }
}

impl From<tokio::task::JoinError> for CliError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::external(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_names_each_cause_once() {
        for (message, causes) in [
            ("cannot sync h/a:v1", vec![]),
            ("h/a:v1", vec![]),
            ("h/a:v1 cannot be reached", vec!["h/a:v1 cannot be reached"]),
        ] {
            let error = CliError::usage(message).context("cannot sync h/a:v1");
            assert_eq!(error.message, "cannot sync h/a:v1");
            assert_eq!(error.causes, causes);
        }
    }
}
