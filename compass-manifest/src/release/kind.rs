//! What a file is, by its place.

use super::files::ProductFile;
use crate::policy::{Pattern, Policy};
use crate::tree::below_any;

/// What a file is, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plugin,
    Hotfix,
    Product,
    Addon {
        overlay: bool,
    },
    ImageList,
    Descriptor,
    ChartList,
    /// Words for people in a release directory.
    Readme,
    /// In a release directory, and nothing that belongs there.
    Stray,
    /// Not for the rules.
    Other,
}

pub(crate) fn of(path: &str, policy: &Policy, products: &[ProductFile]) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_yaml = is_yaml(name);
    if let Some(rest) = below_any(path, &policy.plugins.directories) {
        return match is_yaml {
            _ if is_accompanying(name) => Kind::Readme,
            true if !rest.contains('/') => Kind::Plugin,
            // The written process spells the hotfix directory so in one place.
            true if policy.hotfixes.patterns.iter().any(|p| p.captures(rest).is_some()) => {
                Kind::Hotfix
            }
            _ => Kind::Stray,
        };
    }
    if below_any(path, &policy.hotfixes.directories).is_some() {
        return match is_yaml {
            _ if is_accompanying(name) => Kind::Readme,
            true => Kind::Hotfix,
            false => Kind::Stray,
        };
    }
    if let Some(rest) = below_any(path, &policy.products.directories) {
        return match is_yaml {
            _ if is_accompanying(name) => Kind::Readme,
            true if !rest.contains('/') => Kind::Product,
            _ => Kind::Stray,
        };
    }
    let named = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path));
    if named(&policy.products.image_lists) || products.iter().any(|product| product.lists(path)) {
        return Kind::ImageList;
    }
    if named(&policy.products.descriptors) {
        return Kind::Descriptor;
    }
    if named(&policy.products.chart_lists) {
        return Kind::ChartList;
    }
    if is_yaml && policy.products.is_overlay(path) {
        return Kind::Addon { overlay: true };
    }
    let is_addon = below_any(path, &policy.products.addons).is_some()
        || products.iter().any(|product| product.manifest.below_addons(path).is_some());
    if is_yaml && is_addon { Kind::Addon { overlay: false } } else { Kind::Other }
}

fn is_yaml(name: &str) -> bool {
    matches!(name.rsplit_once('.'), Some((stem, "yaml" | "yml")) if !stem.is_empty())
}

/// A README, or a hidden file as `.gitkeep`.
fn is_accompanying(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("README")
}
