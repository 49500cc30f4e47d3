//! The option for tags that name another image already.

use compass_registry::OnExistingTag;

use crate::error::CliError;

#[derive(Debug, clap::Args)]
pub(crate) struct ExistingTagArgs {
    /// What to do if the destination has another image under the tag
    #[arg(long, value_enum, default_value_t = Choice::Error, value_name = "ACTION")]
    on_existing_tag: Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    /// The image fails; tags do not move by accident
    Error,
    /// The tag stays, and the image is not copied
    Keep,
    /// The tag names the new image
    Move,
}

impl ExistingTagArgs {
    pub(crate) fn choice(&self) -> OnExistingTag {
        match self.on_existing_tag {
            Choice::Error => OnExistingTag::Error,
            Choice::Keep => OnExistingTag::Keep,
            Choice::Move => OnExistingTag::Move,
        }
    }
}

/// Says which option would have let a failure pass.
pub(crate) fn with_options(error: compass_registry::Error) -> CliError {
    let is_about_tag = has_existing_tag(&error);
    let failure = CliError::from(error);
    let Some(advice) = failure.hint.clone().filter(|_| is_about_tag) else { return failure };
    failure.hint(format!(
        "{advice}; `--on-existing-tag keep` leaves it alone, and `--on-existing-tag move` moves it"
    ))
}

/// As [`with_options`], of an error in a bundle.
pub(crate) fn of_bundle(error: compass_bundle::Error) -> CliError {
    match error {
        compass_bundle::Error::Registry(error) => with_options(error),
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
