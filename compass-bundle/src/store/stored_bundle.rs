//! The bundles in a store, from their paths. No I/O.

use compass_registry::Digest;

use crate::format::document::BundleKind;

/// A published bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredBundle {
    /// The kind.
    pub kind: BundleKind,
    /// The name of the plugin, the addon or the product.
    pub name: String,
    /// The version, and the platforms if the file name contains them.
    pub version: String,
    /// The URL.
    pub url: String,
    /// The size in bytes.
    pub size: u64,
    /// The time of publication in the form of RFC 3339.
    pub published: String,
    /// The digest in the `.sha256` beside the bundle, if there is one.
    pub digest: Option<Digest>,
}

/// A published file that has the path of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredFile {
    /// The URL.
    pub url: String,
    /// The size in bytes.
    pub size: u64,
    /// The digest in the `.sha256` beside the file, if there is one.
    pub digest: Option<Digest>,
}

/// Reads kind, name and version from a path in a store (bundle format, "Store layout").
///
/// Returns `None` for other files.
pub(super) fn parse_path(path: &str) -> Option<(BundleKind, String, String)> {
    let parts: Vec<_> = path.split('/').collect();
    let stem = parts.last()?.strip_suffix(".tar.gz")?;
    let (kind, name, version) = match parts[..] {
        ["plugins", name, _] => {
            let rest = stem.strip_prefix("compass-plugins-")?.strip_prefix(name)?;
            (BundleKind::Plugin, name, rest.strip_prefix('-')?)
        }
        ["hotfixes", "compass", base, _] => {
            let rest = stem.strip_prefix("compass-hotfixes-")?;
            // The product version in the directory may be a prefix of the one of the hotfix only.
            let at = rest.find(&format!("-{base}")).or_else(|| rest.rfind("-v"))?;
            (BundleKind::Hotfix, &rest[..at], &rest[at + 1..])
        }
        ["products", name, _, _] => {
            (BundleKind::Product, name, stem.strip_prefix(name)?.strip_prefix('-')?)
        }
        _ => return None,
    };
    let is_valid = !name.is_empty() && !version.is_empty();
    is_valid.then(|| (kind, name.to_owned(), version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_path_inverts_layout() {
        for (path, kind, name, version) in [
            (
                "plugins/gpu-manager/compass-plugins-gpu-manager-v0.1.1.tar.gz",
                BundleKind::Plugin,
                "gpu-manager",
                "v0.1.1",
            ),
            (
                "hotfixes/compass/v2.7.0/compass-hotfixes-web-v2-v2.7.0-20180605-p1.tar.gz",
                BundleKind::Hotfix,
                "web-v2",
                "v2.7.0-20180605-p1",
            ),
            (
                "products/compass/v2.7.0/compass-v2.7.0.tar.gz",
                BundleKind::Product,
                "compass",
                "v2.7.0",
            ),
        ] {
            let parsed = parse_path(path).unwrap();
            assert_eq!(parsed, (kind, name.to_owned(), version.to_owned()), "{path}");
        }
    }

    #[test]
    fn parse_path_skips_other_files() {
        for path in [
            "",
            "plugins/a/compass-plugins-a-v1.tar.gz.sha256",
            "plugins/a/compass-plugins-b-v1.tar.gz",
            "plugins/a/compass-plugins-a-.tar.gz",
            "products/compass-v2.7.0.tar.gz",
            "other/a/b.tar.gz",
        ] {
            assert_eq!(parse_path(path), None, "{path}");
        }
    }
}
