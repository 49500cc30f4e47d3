//! The layout of a store. No I/O.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::format::document::{BundleDocument, BundleKind};
use crate::format::naming;

/// The path of a bundle in a store (bundle format, "Store layout").
///
/// # Errors
/// [`Error::InvalidInput`] if the name or version is not a valid path component.
pub fn store_path(document: &BundleDocument) -> Result<PathBuf, Error> {
    let (name, version) = (&document.name, &document.version);
    naming::validate_name("name", name)?;
    naming::validate_name("version", version)?;
    naming::validate_platforms(&document.platforms)?;
    let file = format!("{}.tar.gz", document.stem());
    let directory = match document.kind {
        BundleKind::Plugin => Path::new("plugins").join(name),
        BundleKind::Hotfix => {
            let base = document.base_version.as_deref().unwrap_or(base_version(version));
            naming::validate_name("product version", base)?;
            Path::new("hotfixes").join("compass").join(base)
        }
        BundleKind::Product => Path::new("products").join(name).join(version),
    };
    Ok(directory.join(file))
}

/// The directory below which a store has all bundles of the same plugin, addon or product.
#[cfg(feature = "store")]
pub(super) fn siblings(document: &BundleDocument) -> String {
    match document.kind {
        BundleKind::Plugin => format!("plugins/{}", document.name),
        BundleKind::Hotfix => "hotfixes/compass".to_owned(),
        BundleKind::Product => format!("products/{}", document.name),
    }
}

/// The product version in a HOTFIXVERSION: the part before its date.
fn base_version(version: &str) -> &str {
    let date = version.match_indices('-').find(|(at, _)| {
        let rest = &version[at + 1..];
        rest.len() >= 8 && rest.bytes().take(8).all(|byte| byte.is_ascii_digit())
    });
    date.map_or(version, |(at, _)| &version[..at])
}
