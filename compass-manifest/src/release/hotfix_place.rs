//! What the path of a hotfix says.

use crate::policy::{HotfixPolicy, Policy, VersionForm};
use crate::tree::below_any;

/// What the path of a hotfix says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HotfixPlace {
    /// The form of the version; `None` where no pattern of the policy fits the path.
    pub(crate) form: Option<VersionForm>,
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
    /// Whether it stands in the directory of the plugins.
    pub(crate) among_plugins: bool,
}

impl HotfixPlace {
    pub(super) fn of(path: &str, policy: &Policy) -> Self {
        let hotfixes = below_any(path, &policy.hotfixes.directories);
        let among_plugins = hotfixes.is_none();
        let rest = hotfixes.or_else(|| below_any(path, &policy.plugins.directories));
        let rest = rest.unwrap_or(path);
        let directory = &path[..path.len() - rest.len()];
        let mut place = Self::matched(rest, directory, &policy.hotfixes)
            .unwrap_or_else(|| Self::unmatched(rest, directory));
        place.among_plugins = among_plugins;
        place
    }

    fn matched(rest: &str, directory: &str, policy: &HotfixPolicy) -> Option<Self> {
        policy.patterns.iter().find_map(|pattern| {
            let captures = pattern.captures(rest)?;
            let group = |name| captures.name(name).map(|found| found.as_str().to_owned());
            let deciding = ["package", "version", "addon"];
            let end = deciding.iter().find_map(|name| captures.name(name)).map_or(0, |m| m.end());
            let length = rest[end..].find('/').map_or(rest.len(), |slash| end + slash);
            Some(Self {
                form: Some(pattern.form),
                package: format!("{directory}{}", &rest[..length]),
                addon: group("addon"),
                version: group("version"),
                base: group("base"),
                date: group("date"),
                namespace: group("namespace"),
                group: group("group"),
                leaf: group("leaf"),
                among_plugins: false,
            })
        })
    }

    /// Without a pattern that fits, the first directory stands for the package.
    fn unmatched(rest: &str, directory: &str) -> Self {
        let package = rest.split_once('/').map_or(rest, |(first, _)| first);
        Self {
            form: None,
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
