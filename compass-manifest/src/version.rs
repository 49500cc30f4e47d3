//! Parses, formats and orders the versions of plugins, products, hotfixes and components.
//!
//! A parsed version is formatted as the parsed text.

mod component;
mod hotfix;
mod plugin;
mod product;
mod requirement;

pub use component::ComponentVersion;
pub use hotfix::{Date, HotfixVersion};
pub use plugin::{BumpLevel, PluginVersion};
pub use product::ProductVersion;
pub use requirement::ProductRequirement;

use crate::escape::quote;

/// The error for a text that is not a version of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// A plugin version or HOTFIXVERSION does not begin with `v`.
    #[error("{} does not begin with `v`", quote(.0))]
    MissingPrefix(String),
    /// The text has another format.
    #[error("{} does not have the format `{format}`: {reason}", quote(text))]
    Format {
        /// The text.
        text: String,
        /// The expected format.
        format: &'static str,
        /// The problem.
        reason: String,
    },
    /// The date of a HOTFIXVERSION does not exist.
    #[error("{} in {} is not a calendar date (YYYYMMDD)", quote(date), quote(text))]
    Date {
        /// The whole version.
        text: String,
        /// The date part.
        date: String,
    },
    /// The patch number of a HOTFIXVERSION is not `p` and a number from 1 without leading zeros.
    #[error(
        "{} in {} is not a patch number: write `p1`, `p2` and so on, without leading zeros",
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

/// Parses `MAJOR.MINOR.PATCH[-PRE]`, which plugin and product versions share.
fn parse_core(
    text: &str,
    bare: &str,
    format: &'static str,
) -> Result<semver::Version, VersionError> {
    let error = |reason: String| VersionError::Format { text: text.to_owned(), format, reason };
    let version = semver::Version::parse(bare).map_err(|source| error(source.to_string()))?;
    if version.build.is_empty() {
        Ok(version)
    } else {
        Err(error(format!(
            "build metadata {} is not supported",
            quote(format!("+{}", version.build))
        )))
    }
}
