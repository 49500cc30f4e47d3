//! Parses the path of a hotfix with the patterns of the policy.

use regex::Captures;

use crate::policy::{HotfixPolicy, Policy, VersionFormat};
use crate::tree::below_any;
use crate::version::HotfixVersion;

/// The fields of a hotfix's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HotfixPath {
    /// The format of the version; `None` if no pattern of the policy matches the path.
    pub(crate) format: Option<VersionFormat>,
    /// The directory of the package, from the repository's root.
    pub(crate) package: String,
    pub(crate) addon: Option<String>,
    pub(crate) version: Option<String>,
    /// The product version.
    pub(crate) base: Option<String>,
    pub(crate) date: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) group: Option<String>,
    /// The addon's own directory.
    pub(crate) leaf: Option<String>,
    /// Whether the hotfix is in the directory of the plugins.
    pub(crate) among_plugins: bool,
}

impl HotfixPath {
    /// Parses the path of a hotfix.
    ///
    /// If no pattern matches, only `package` and `among_plugins` are known.
    pub(crate) fn of(path: &str, policy: &Policy) -> Self {
        let hotfixes = below_any(path, &policy.hotfixes.directories);
        let among_plugins = hotfixes.is_none();
        let rest = hotfixes.or_else(|| below_any(path, &policy.plugins.directories));
        let rest = rest.unwrap_or(path);
        let directory = &path[..path.len() - rest.len()];
        let mut parsed = Self::matched(rest, directory, &policy.hotfixes)
            .unwrap_or_else(|| Self::unmatched(rest, directory));
        parsed.among_plugins = among_plugins;
        parsed
    }

    fn matched(rest: &str, directory: &str, policy: &HotfixPolicy) -> Option<Self> {
        policy.patterns.iter().find_map(|pattern| {
            let captures = pattern.captures(rest)?;
            let group = |name| captures.name(name).map(|found| found.as_str().to_owned());
            let groups = ["package", "version", "addon"];
            let end = groups.iter().find_map(|name| captures.name(name)).map_or(0, |m| m.end());
            let length = rest[end..].find('/').map_or(rest.len(), |slash| end + slash);
            let (addon, version) = addon_and_version(rest, pattern.format, &captures);
            Some(Self {
                format: Some(pattern.format),
                package: format!("{directory}{}", &rest[..length]),
                addon,
                version,
                base: group("base"),
                date: group("date"),
                namespace: group("namespace"),
                group: group("group"),
                leaf: group("leaf"),
                among_plugins: false,
            })
        })
    }

    /// Returns the fields of a path that no pattern matches.
    ///
    /// The package is the first directory of the path.
    fn unmatched(rest: &str, directory: &str) -> Self {
        let package = rest.split_once('/').map_or(rest, |(first, _)| first);
        Self {
            format: None,
            package: format!("{directory}{package}"),
            addon: None,
            version: None,
            base: None,
            date: None,
            namespace: None,
            group: None,
            leaf: None,
            among_plugins: false,
        }
    }
}

/// Splits a path into addon and version.
///
/// Patterns split at the first `-v` and digit, but names of addons may contain them too, as in
/// `kube-dns-v2-v2.7.0-20180605-p1`. A split is correct if it gives a HOTFIXVERSION, or, for other
/// version formats, if the addon has the name of its directory. If the first split is not correct,
/// the first correct later split is used.
fn addon_and_version(
    path: &str,
    format: VersionFormat,
    captures: &Captures<'_>,
) -> (Option<String>, Option<String>) {
    let group = |name| captures.name(name);
    let owned = |found: regex::Match<'_>| found.as_str().to_owned();
    let (addon, version) = (group("addon"), group("version"));
    if let (Some(addon), Some(version)) = (addon, version)
        && path.get(addon.end()..version.start()) == Some("-")
    {
        let text = &path[addon.start()..version.end()];
        let first = addon.len();
        let is_directory = |name: &str| {
            let (leaf, group) = (group("leaf").map(owned), group("group").map(owned));
            let both =
                leaf.as_ref().zip(group.as_ref()).map(|(leaf, group)| format!("{group}-{leaf}"));
            [leaf, both].contains(&Some(name.to_owned()))
        };
        let fits = |at: usize| match format {
            VersionFormat::Hotfix => text[at + 1..].parse::<HotfixVersion>().is_ok(),
            _ => is_directory(&text[..at]),
        };
        let others = text.match_indices("-v").map(|(at, _)| at).filter(|at| *at > first);
        if !fits(first)
            && let Some(at) = others.into_iter().find(|at| fits(*at))
        {
            return (Some(text[..at].to_owned()), Some(text[at + 1..].to_owned()));
        }
    }
    (addon.map(owned), version.map(owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PathPattern;

    fn read(path: &str, policy: &Policy) -> (String, String) {
        let parsed = HotfixPath::of(path, policy);
        (parsed.addon.unwrap_or_default(), parsed.version.unwrap_or_default())
    }

    #[test]
    fn hotfix_path_addon_with_version_suffix() {
        let policy = Policy::default();
        for (package, leaf, addon, version) in [
            ("kube-dns-v2-v2.7.0-20180605-p1", "kube-dns-v2", "kube-dns-v2", "v2.7.0-20180605-p1"),
            ("dns-v2-v10-v2.7.0-20180605-p1", "dns-v2-v10", "dns-v2-v10", "v2.7.0-20180605-p1"),
            ("web-v2.7.0-20180605-p1", "web", "web", "v2.7.0-20180605-p1"),
            ("web-v2.7.0-v1-20180605-p1", "web", "web", "v2.7.0-v1-20180605-p1"),
            ("web-v2.7.0-20180631-p1", "web", "web", "v2.7.0-20180631-p1"),
        ] {
            let path =
                format!("release-hotfixes/v2.7.0/{package}/default/console/{leaf}/values.yaml");
            assert_eq!(read(&path, &policy), (addon.to_owned(), version.to_owned()), "{package}");
        }
    }

    #[test]
    fn component_path_addon_matches_directory() {
        let pattern = r"compass-hotfixes-(?P<addon>[^/]+?)-(?P<version>v\d[^/]*)/(?P<namespace>[^/]+)/(?P<group>[^/]+)/(?P<leaf>[^/]+)/values\.yaml";
        let mut policy = Policy::default();
        policy.hotfixes.patterns =
            vec![PathPattern::new(pattern, VersionFormat::Component).unwrap()];
        for (package, leaf, addon, version) in [
            ("kube-dns-v2-v1.0.3", "kube-dns-v2", "kube-dns-v2", "v1.0.3"),
            ("dns-kube-v2-v1.0.3", "kube-v2", "dns-kube-v2", "v1.0.3"),
            ("dns-web-v0.5.11-v2.7.0-20180615-p1", "web", "dns-web", "v0.5.11-v2.7.0-20180615-p1"),
            ("other-v1-v2", "web", "other", "v1-v2"),
        ] {
            let path = format!(
                "release-hotfixes/compass-hotfixes-{package}/default/dns/{leaf}/values.yaml"
            );
            assert_eq!(read(&path, &policy), (addon.to_owned(), version.to_owned()), "{package}");
        }
    }
}
