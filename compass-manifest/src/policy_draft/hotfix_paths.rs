//! Finds the directories of hotfixes, and the patterns of their paths.

use std::collections::BTreeSet;

use super::sections::Section;
use super::survey::{Survey, SurveyedFile};
use crate::policy::{HotfixPolicy, PathPattern, Policy, VersionFormat};

/// The paths of hotfixes that teams use, in addition to that of the release process.
const KNOWN: &[(&str, VersionFormat, &str)] = &[
    (
        r"(?:(?P<base>v?\d+\.\d+\.\d+[^/]*)/(?P<date>\d{8})/)?(?P<package>compass-hotfixes-(?:(?:feat|bug)\d+-)?(?P<addon>[^/]+?)-(?P<version>v\d[^/]*))/(?P<namespace>[^/]+)/(?P<group>[^/]+)/(?P<leaf>[^/]+)/values\.yaml",
        VersionFormat::Component,
        "compass-hotfixes-ADDON-VERSION/NAMESPACE/GROUP/ADDON/values.yaml",
    ),
    (
        r"(?P<base>v?\d+\.\d+\.\d+[^/]*)/(?P<date>\d{8})/(?P<package>compass-hotfixes-(?:(?:feat|bug)\d+-)?(?P<addon>[^/]+?)-(?P<version>v\d[^/]*))/(?:(?P<group>[^/]+)/)?[^/]+\.yaml",
        VersionFormat::Component,
        "PRODUCT/DATE/compass-hotfixes-ADDON-VERSION/GROUP/ADDON.yaml",
    ),
    (
        r"(?P<base>v?\d+\.\d+\.\d+[^/]*)/(?P<date>\d{8})/(?P<package>compass-hotfixes-[^/]+)/(?P<group>[^/]+)/[^/]+\.yaml",
        VersionFormat::None,
        "PRODUCT/DATE/compass-hotfixes-NAME/GROUP/ADDON.yaml, without a version",
    ),
];

/// The directories of hotfixes, and the patterns of their paths.
#[derive(Debug, Default)]
pub(super) struct HotfixLayout {
    pub(super) directories: Vec<String>,
    /// The indexes of the patterns that match a path, 0 for the default pattern.
    patterns: BTreeSet<usize>,
    namespaces: BTreeSet<String>,
}

impl HotfixLayout {
    /// Finds the hotfixes among the values files. `plugins` are the directories of the plugins.
    pub(super) fn of(survey: &Survey, plugins: &BTreeSet<String>) -> Self {
        let patterns = known_patterns();
        let mut layout = Self::default();
        let mut directories: BTreeSet<&str> = BTreeSet::new();
        for (path, file) in &survey.files {
            let SurveyedFile::Values { namespace, .. } = file else { continue };
            let Some(place) = Place::of(path, &patterns, plugins) else { continue };
            directories.insert(place.directory);
            layout.patterns.extend(place.pattern);
            let in_path = place.pattern.and_then(|index| {
                let rest = &path[place.directory.len() + 1..];
                Some(patterns[index].captures(rest)?.name("namespace")?.as_str().to_owned())
            });
            layout.namespaces.extend(in_path.or_else(|| namespace.clone()));
        }
        layout.directories = directories.into_iter().map(str::to_owned).collect();
        layout
    }

    pub(super) fn section(&self, defaults: &Policy) -> Section {
        let mut section = Section::new("hotfixes");
        section.comment("The directory of the hotfixes, or a list.");
        let directories = self.directories.iter().cloned().collect();
        section.found_list("directory", directories, &defaults.hotfixes.directories);
        section.comment("The namespaces that addons may be installed in.");
        let mut namespaces: BTreeSet<String> =
            defaults.hotfixes.namespaces.iter().cloned().collect();
        namespaces.extend(self.namespaces.iter().cloned());
        section.found_list("namespaces", namespaces, &defaults.hotfixes.namespaces);
        section.comment("The paths below the directory, as regular expressions.");
        if self.patterns.iter().all(|index| *index == 0) {
            section.raw_default(
                "patterns",
                "[]   # PRODUCT/ADDON-HOTFIXVERSION/NAMESPACE/GROUP/ADDON/values.yaml",
            );
            return section;
        }
        section.raw_found("patterns", "");
        for index in &self.patterns {
            match index.checked_sub(1).and_then(|known| KNOWN.get(known)) {
                Some((path, format, form)) => section.pattern(form, path, format.name()),
                None => {
                    let [pattern] = &HotfixPolicy::default().patterns[..] else { continue };
                    let form = "PRODUCT/ADDON-HOTFIXVERSION/NAMESPACE/GROUP/ADDON/values.yaml";
                    section.pattern(form, pattern.as_str(), pattern.format.name());
                }
            }
        }
        section
    }
}

/// The default pattern, and then those of [`KNOWN`].
fn known_patterns() -> Vec<PathPattern> {
    let known = KNOWN.iter().filter_map(|(path, format, _)| PathPattern::new(path, *format).ok());
    HotfixPolicy::default().patterns.into_iter().chain(known).collect()
}

/// The hotfix directory of a values file, and the pattern of the rest of its path.
struct Place<'p> {
    directory: &'p str,
    pattern: Option<usize>,
}

impl<'p> Place<'p> {
    /// Returns `None` for the values of an addon.
    fn of(path: &'p str, patterns: &[PathPattern], plugins: &BTreeSet<String>) -> Option<Self> {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let directories: Vec<&str> = ends.map(|end| &path[..end]).collect();
        let matching = |directory: &&'p str| {
            let rest = &path[directory.len() + 1..];
            let pattern = patterns.iter().position(|pattern| pattern.captures(rest).is_some())?;
            Some(Self { directory, pattern: Some(pattern) })
        };
        let candidates = directories.iter().filter(|one| !plugins.contains(**one));
        if let Some(place) = candidates.clone().find_map(matching) {
            return Some(place);
        }
        // A path that no pattern matches is a hotfix if its directory says so.
        let names_hotfixes =
            |one: &&&str| one.rsplit('/').next().is_some_and(|name| name.contains("hotfix"));
        let directory = candidates.into_iter().find(names_hotfixes)?;
        Some(Self { directory, pattern: None })
    }
}
