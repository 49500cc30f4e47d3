//! `--on-existing-tag`: what happens to a tag that names another image at the destination.

use compass_registry::OnExistingTag;

use crate::error::CliError;

#[derive(Debug, clap::Args)]
pub(crate) struct ExistingTagArgs {
    /// What to do if the tag names another image at the destination
    #[arg(long, value_enum, default_value_t = Action::Error, value_name = "ACTION",
          hide_short_help = true)]
    on_existing_tag: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// Fails for this image
    Error,
    /// Keeps the tag, and does not copy the image
    Keep,
    /// Moves the tag to the new image
    Move,
}

impl ExistingTagArgs {
    pub(crate) fn action(&self) -> OnExistingTag {
        match self.on_existing_tag {
            Action::Error => OnExistingTag::Error,
            Action::Keep => OnExistingTag::Keep,
            Action::Move => OnExistingTag::Move,
        }
    }
}

/// Converts an error of a copy; if a tag exists, the hint names the options.
pub(crate) fn registry_error(error: compass_registry::Error) -> CliError {
    let is_about_tag = has_existing_tag(&error);
    let error = CliError::from(error);
    let Some(hint) = error.hint.clone().filter(|_| is_about_tag) else { return error };
    error.hint(format!(
        "{hint}; `--on-existing-tag keep` skips the image, and `--on-existing-tag move` moves the tag"
    ))
}

/// As [`registry_error`], for an error of an installation.
pub(crate) fn bundle_error(error: compass_bundle::Error) -> CliError {
    match error {
        compass_bundle::Error::Registry(error) => registry_error(error),
        error => error.into(),
    }
}

fn has_existing_tag(error: &compass_registry::Error) -> bool {
    use compass_registry::Error as E;
    match error {
        E::TagExists { .. } => true,
        E::Image { source, .. } | E::Blob { source, .. } => has_existing_tag(source),
        _ => false,
    }
}
