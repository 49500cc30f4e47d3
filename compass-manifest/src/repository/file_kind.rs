//! Classifies files by their paths.

use super::files::ProductFile;
use crate::policy::{Pattern, Policy};
use crate::tree::below_any;

/// The kind of a file, from its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    Plugin,
    Hotfix,
    Product,
    Addon {
        overlay: bool,
    },
    ImageList,
    Descriptor,
    ChartList,
    /// A README or a hidden file in a release directory.
    Readme,
    /// A file in a release directory that is of no other kind.
    Unexpected,
    /// A file that no rule checks.
    Other,
}

impl FileKind {
    pub(crate) fn of(path: &str, policy: &Policy, products: &[ProductFile]) -> Self {
        let kind = Self::in_release_directory(path, policy);
        let named = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path));
        let is_list = || {
            named(&policy.products.image_lists)
                || products.iter().any(|product| product.lists(path))
        };
        match kind {
            // Image lists are permitted in release directories.
            Some(Self::Unexpected) if is_list() => return Self::ImageList,
            Some(kind) => return kind,
            None => {}
        }
        if is_list() {
            return Self::ImageList;
        }
        if named(&policy.products.descriptors) {
            return Self::Descriptor;
        }
        if named(&policy.products.chart_lists) {
            return Self::ChartList;
        }
        let is_yaml = is_yaml(path);
        if is_yaml && policy.products.is_overlay(path) {
            return Self::Addon { overlay: true };
        }
        let is_addon = below_any(path, &policy.products.addons).is_some()
            || products.iter().any(|product| product.manifest.path_in_addons(path).is_some());
        if is_yaml && is_addon { Self::Addon { overlay: false } } else { Self::Other }
    }

    /// Classifies a file of a release directory: of plugins, hotfixes or products.
    ///
    /// Returns `None` for a file of another directory.
    fn in_release_directory(path: &str, policy: &Policy) -> Option<Self> {
        let named_hotfix = |rest: &str| {
            policy.hotfixes.patterns.iter().any(|pattern| pattern.captures(rest).is_some())
        };
        let is_yaml = is_yaml(path);
        if let Some(rest) = below_any(path, &policy.plugins.directories) {
            return Some(match is_yaml {
                _ if is_accompanying(path) => Self::Readme,
                true if !rest.contains('/') => Self::Plugin,
                // The description of the release process names `release-plugins` as the hotfix
                // directory in one place.
                true if named_hotfix(rest) => Self::Hotfix,
                _ => Self::Unexpected,
            });
        }
        if let Some(rest) = below_any(path, &policy.hotfixes.directories) {
            return Some(match is_yaml {
                _ if is_accompanying(path) => Self::Readme,
                true => Self::Hotfix,
                false if named_hotfix(rest) => Self::Hotfix,
                false => Self::Unexpected,
            });
        }
        let rest = below_any(path, &policy.products.directories)?;
        Some(match is_yaml {
            _ if is_accompanying(path) => Self::Readme,
            true if !rest.contains('/') => Self::Product,
            _ => Self::Unexpected,
        })
    }
}

/// Returns whether a file has a YAML extension, in upper or lower case.
fn is_yaml(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').is_some_and(|(stem, ending)| {
        !stem.is_empty() && ["yaml", "yml"].iter().any(|yaml| ending.eq_ignore_ascii_case(yaml))
    })
}

/// Returns whether a file is a README, an OWNERS file, or hidden like `.gitkeep`.
fn is_accompanying(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.starts_with('.') || name.starts_with("README") || name == "OWNERS"
}
