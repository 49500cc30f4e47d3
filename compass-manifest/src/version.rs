//! Versions of plugins, products and hotfixes: parsing, display and order.
//!
//! Every version remembers how it was written, so that displaying a parsed value gives back the
//! input.

mod component;
mod hotfix;
mod plugin;
mod product;

pub use component::ComponentVersion;
pub use hotfix::{Date, HotfixVersion};
pub use plugin::{BumpLevel, PluginVersion};
pub use product::ProductVersion;

use crate::escape::quote;

/// Why a text is not a version of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// A plugin or HOTFIXVERSION begins with `v`.
    #[error("{} does not begin with `v`", quote(.0))]
    MissingPrefix(String),
    /// The numeric part is not `MAJOR.MINOR.PATCH`.
    #[error("{} is not of the form `{form}`: {reason}", quote(text))]
    Form {
        /// What was read.
        text: String,
        /// What it should look like.
        form: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A HOTFIXVERSION names a day that no calendar has.
    #[error("{} in {} is not a calendar date (YYYYMMDD)", quote(date), quote(text))]
    Date {
        /// The whole version.
        text: String,
        /// The date part.
        date: String,
    },
    /// A HOTFIXVERSION's patch number is not `p` and a number from 1 without leading zeros.
    #[error(
        "{} in {} is not a patch number: write `p1`, `p2`, … without leading zeros",
        quote(patch),
        quote(text)
    )]
    Patch {
        /// The whole version.
        text: String,
        /// The patch part.
        patch: String,
    },
}

/// Parses the `MAJOR.MINOR.PATCH[-PRE]` that all three kinds share.
fn parse_core(text: &str, bare: &str, form: &'static str) -> Result<semver::Version, VersionError> {
    let error = |reason: String| VersionError::Form { text: text.to_owned(), form, reason };
    let version = semver::Version::parse(bare).map_err(|source| error(source.to_string()))?;
    if version.build.is_empty() {
        Ok(version)
    } else {
        Err(error(format!(
            "build metadata {} is not part of a version here",
            quote(format!("+{}", version.build))
        )))
    }
}
