//! Why a command ends badly: exit code, message, causes, and what to do.

use std::error::Error;
use std::fmt;

use compass_manifest::escape::escape_lines;
use compass_manifest::policy::PolicyError;
use serde_json::{Value, json};

/// What ends a command.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    pub(crate) exit: u8,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
    pub(crate) hint: Option<String>,
}

/// Findings, or not verified.
pub(crate) const CHECK_FAILED: u8 = 1;
/// Wrong usage or configuration.
const USAGE: u8 = 2;
impl CliError {
    /// The exit code where a registry, store or disk failed.
    pub(crate) const EXTERNAL: u8 = 3;

    fn new(exit: u8, message: impl fmt::Display) -> Self {
        Self { exit, message: lines(message), causes: Vec::new(), hint: None }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(USAGE, message)
    }

    pub(crate) fn check_failed(message: impl fmt::Display) -> Self {
        Self::new(CHECK_FAILED, message)
    }

    pub(crate) fn external(error: &dyn Error) -> Self {
        Self::new(Self::EXTERNAL, error).caused_by(error)
    }

    pub(crate) fn interrupted(exit: u8) -> Self {
        Self::new(exit, "interrupted")
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(lines(hint.into())), ..self }
    }

    /// The same, as one of how the tool is set up.
    pub(crate) fn as_config(self) -> Self {
        Self { exit: USAGE, ..self }
    }

    /// Says first what was being done.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Self {
        let message = std::mem::replace(&mut self.message, lines(what));
        // Some errors only name what failed.
        if !self.message.contains(&message) {
            self.causes.insert(0, message);
        }
        self
    }

    /// Adds a cause in the words of another program.
    pub(crate) fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(lines(cause));
        self
    }

    fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut next = error.source();
        while let Some(cause) = next {
            let text = lines(cause);
            // Some libraries repeat their causes in their own message.
            if !self.causes.contains(&text) && self.message != text {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// `warnings` is empty: [`Output`](crate::output::Output) adds those of the command.
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

/// A message as it may be shown. It may have several lines.
fn lines(message: impl fmt::Display) -> String {
    let text = message.to_string();
    escape_lines(&text).into_owned()
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, "\n  because: {cause}"))?;
        self.hint.iter().try_for_each(|hint| write!(f, "\n  help: {hint}"))
    }
}

impl From<compass_registry::Error> for CliError {
    fn from(error: compass_registry::Error) -> Self {
        of_registry(&error)
    }
}

impl From<compass_bundle::Error> for CliError {
    fn from(error: compass_bundle::Error) -> Self {
        let exit = match &error {
            compass_bundle::Error::InvalidChecksum { .. }
            | compass_bundle::Error::Damaged { .. }
            | compass_bundle::Error::NotABundle { .. }
            | compass_bundle::Error::InvalidInput(_) => CHECK_FAILED,
            compass_bundle::Error::InvalidAddress { .. }
            | compass_bundle::Error::AlreadyExists { .. }
            | compass_bundle::Error::WrongOwner { .. }
            | compass_bundle::Error::NoSuchFile { .. }
            | compass_bundle::Error::NoSuchImage { .. } => USAGE,
            compass_bundle::Error::Registry(error) => return of_registry(error),
            _ => CliError::EXTERNAL,
        };
        let failure = Self::new(exit, &error).caused_by(&error);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn of_registry(error: &compass_registry::Error) -> CliError {
    let failure = CliError::new(exit_of(error), error).caused_by(error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn exit_of(error: &compass_registry::Error) -> u8 {
    use compass_registry::Error as E;
    match error {
        E::Parse { .. } | E::NoSuchPlatform { .. } | E::AmbiguousPlatform { .. } => USAGE,
        E::TagExists { .. } => CHECK_FAILED,
        E::Image { source, .. } | E::Blob { source, .. } => exit_of(source),
        _ => CliError::EXTERNAL,
    }
}

impl From<PolicyError> for CliError {
    fn from(error: PolicyError) -> Self {
        let failure = Self::usage(&error);
        if error.help.is_empty() { failure } else { failure.hint(error.help) }
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
    fn while_doing_names_each_cause_once() {
        for (message, causes) in [
            ("cannot sync h/a:v1", vec![]),
            ("h/a:v1", vec![]),
            ("h/a:v1 cannot be reached", vec!["h/a:v1 cannot be reached"]),
        ] {
            let failure = CliError::usage(message).context("cannot sync h/a:v1");
            assert_eq!(failure.message, "cannot sync h/a:v1");
            assert_eq!(failure.causes, causes);
        }
    }
}
