//! Drafts the policy of a release repository from its files.
//!
//! The draft contains the settings that differ from the defaults, each with a comment, and the most
//! important defaults as comments.

mod hotfix_paths;
mod image_lists;
mod sections;
mod survey;

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{POLICY_FILE, Policy};
use crate::tree::below_any;

use hotfix_paths::HotfixLayout;
use image_lists::ImageLists;
use sections::Section;
use survey::{Survey, SurveyedFile};

/// The maximum number of values that a list of the draft has.
const MAX_VALUES: usize = 200;

/// A draft of `.compass.yaml`.
///
/// ```
/// use compass_manifest::Policy;
/// use compass_manifest::policy_draft::PolicyDraft;
///
/// let plugin = "\
/// metadata: {name: gpu}
/// spec:
///   version: v0.1.0
///   service: {port: 9001, image: 'registry.example/team/compass-plugins-gpu:v0.1.0'}
///   modules: []
/// ";
/// let mut draft = PolicyDraft::default();
/// draft.add_file("plugins/gpu.yaml", plugin.as_bytes());
/// let text = draft.to_yaml(&Policy::default());
/// assert!(text.contains("directory: plugins\n"));
/// assert!(text.contains("release: registry.example/team\n"));
/// let policy = Policy::default().overlay(".compass.yaml", text.as_bytes())?;
/// assert_eq!(policy.plugins.directories, ["plugins"]);
/// # Ok::<(), compass_manifest::policy::PolicyError>(())
/// ```
#[derive(Debug, Default)]
pub struct PolicyDraft {
    survey: Survey,
}

impl PolicyDraft {
    /// Returns whether the content of a file may determine settings.
    ///
    /// These are YAML files, and text files that may be image lists.
    pub fn reads(path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending).to_ascii_lowercase();
        path != POLICY_FILE
            && !path.contains(char::is_control)
            && ["yaml", "yml", "list", "lst", "txt", "images"].contains(&ending.as_str())
    }

    /// Adds a file. Files that cannot be parsed are skipped.
    pub fn add_file(&mut self, path: &str, bytes: &[u8]) {
        if Self::reads(path) {
            self.survey.add(path, bytes);
        }
    }

    /// Returns the text of the policy file. `defaults` are the values that the file may omit.
    pub fn to_yaml(&self, defaults: &Policy) -> String {
        let plugins = self.directories_of(|file| matches!(file, SurveyedFile::Plugin(_)));
        let hotfixes = HotfixLayout::of(&self.survey, &plugins);
        let addons = Addons::of(&self.survey, &hotfixes);
        let sections = [
            self.registries(defaults),
            store(defaults),
            self.plugins(plugins, defaults),
            hotfixes.section(defaults),
            self.products(&addons, defaults),
            self.templates(defaults),
            review(defaults),
        ];
        let mut text = HEADER.to_owned();
        for section in sections {
            text.push('\n');
            text.push_str(&section.to_yaml());
        }
        text
    }

    /// The directories of the files of a kind.
    fn directories_of(&self, is_kind: impl Fn(&SurveyedFile) -> bool) -> BTreeSet<String> {
        let files = self.survey.files.iter().filter(|(_, file)| is_kind(file));
        files.filter_map(|(path, _)| Some(path.rsplit_once('/')?.0.to_owned())).collect()
    }

    fn registries(&self, defaults: &Policy) -> Section {
        let mut section = Section::new("registries");
        let (source, release) = (&defaults.registries.source, &defaults.registries.release);
        section.comment("Where the developers push images, as HOST/PROJECT.");
        section.default("source", source);
        section.comment("Where releases are kept.");
        match self.survey.release_registry() {
            Some(found) => section.found("release", &found, release),
            None => section.default("release", release),
        }
        section
    }

    fn plugins(&self, directories: BTreeSet<String>, defaults: &Policy) -> Section {
        let mut section = Section::new("plugins");
        section.comment("The directory of the plugin manifests, or a list.");
        section.found_list("directory", directories, &defaults.plugins.directories);
        section.comment("Slots and ports that several plugins may use.");
        section.found_list("shared_slots", self.survey.shared_slots(), &[]);
        section.found_ports("shared_ports", &self.survey.shared_ports());
        section
    }

    fn products(&self, addons: &Addons, defaults: &Policy) -> Section {
        let mut section = Section::new("products");
        section.comment("The directory of the product manifests, or a list.");
        let manifests = self.directories_of(|file| matches!(file, SurveyedFile::Product));
        section.found_list("directory", manifests, &defaults.products.directories);
        section.comment("The directory of the addons, or a list.");
        section.found_list("addons", addons.directories.clone(), &defaults.products.addons);
        section.comment("Directories of addons that replace others of the same name.");
        section.found_list("overlays", addons.overlays.clone(), &[]);
        let lists = ImageLists::of(&self.survey, addons);
        section.comment("The image lists; `*` matches any text.");
        let patterns = defaults.products.image_lists.iter().map(|one| one.as_str().to_owned());
        section.found_list("image_lists", lists.patterns, &patterns.collect::<Vec<_>>());
        section.comment("The lists that may only name images that addons and plugins use.");
        section.found_list("addon_lists", lists.of_addons, &["*".to_owned()]);
        let named = |kind: fn(&SurveyedFile) -> bool| -> BTreeSet<String> {
            let files = self.survey.files.iter().filter(|(_, file)| kind(file));
            files.map(|(path, _)| path.clone()).collect()
        };
        section.comment("Files that name the addons of an installation, or the sources of addons.");
        let descriptors = named(|file| matches!(file, SurveyedFile::Descriptor));
        section.found_list("descriptors", descriptors, &[]);
        let charts = named(|file| matches!(file, SurveyedFile::ChartList));
        section.found_list("chart_lists", charts, &[]);
        section
    }

    fn templates(&self, defaults: &Policy) -> Section {
        let mut section = Section::new("templates");
        section.comment(
            "Variables of `[[ name ]]`: \"{release}\" and \"{library}\" are projects of the",
        );
        section.comment("release registry, `~` is a value that is known only on site.");
        for (name, project) in &self.survey.variables {
            if defaults.templates.get(name).is_none() {
                section.variable(name, project.as_deref());
            }
        }
        if !section.has_values() {
            section.default("platform_name", "Compass");
        }
        section
    }
}

const HEADER: &str = "\
# yaml-language-server: $schema=https://raw.githubusercontent.com/caicloud/compass-release/main/docs/policy.schema.json
#
# The settings of this release repository. Commented settings are defaults and examples.
# docs/policy.md describes every setting.
version: 1
";

fn store(defaults: &Policy) -> Section {
    let mut section = Section::single("store");
    section
        .comment("Where packages are published: file:///DIRECTORY, s3://BUCKET or oss://BUCKET.");
    section.default("store", defaults.store.as_deref().unwrap_or("file:///srv/releases"));
    section
}

fn review(defaults: &Policy) -> Section {
    let mut section = Section::new("review");
    section.comment("The accounts that each release pull request must `/cc`.");
    section.default_list("cc", &defaults.review.cc);
    section.comment("Who may request the steps of the queue.");
    let roles: Vec<String> = defaults
        .review
        .roles
        .iter()
        .map(|(role, accounts)| format!("{role}: {}", sections::flow_list(accounts)))
        .collect();
    section.raw_default("roles", &format!("{{{}}}", roles.join(", ")));
    section
}

/// The directories of the addons.
#[derive(Debug, Default)]
struct Addons {
    directories: BTreeSet<String>,
    overlays: BTreeSet<String>,
}

impl Addons {
    /// Finds the directories with addon values that are not hotfixes.
    ///
    /// A directory that repeats names of the largest one is an overlay.
    fn of(survey: &Survey, hotfixes: &HotfixLayout) -> Self {
        let mut named: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (path, file) in &survey.files {
            let SurveyedFile::Values { name, .. } = file else { continue };
            if below_any(path, &hotfixes.directories).is_some() {
                continue;
            }
            if let Some(directory) = addon_directory(path) {
                named.entry(directory.to_owned()).or_default().insert(name);
            }
        }
        // Other directories may have samples of values.
        if named.keys().any(|directory| is_named_addons(directory)) {
            named.retain(|directory, _| is_named_addons(directory));
        }
        let Some(main) = named.iter().max_by_key(|(_, names)| names.len()) else {
            return Self::default();
        };
        let repeats = |names: &BTreeSet<&str>| names.intersection(main.1).next().is_some();
        let (overlays, directories): (Vec<_>, Vec<_>) =
            named.iter().partition(|(directory, names)| *directory != main.0 && repeats(names));
        let collect = |all: Vec<(&String, _)>| all.into_iter().map(|(it, _)| it.clone()).collect();
        Self { directories: collect(directories), overlays: collect(overlays) }
    }
}

/// The directory of an addon: up to a directory named like `addons`, otherwise the first one.
fn addon_directory(path: &str) -> Option<&str> {
    let ends = path.match_indices('/').map(|(at, _)| at);
    let directories: Vec<&str> = ends.map(|end| &path[..end]).collect();
    let is_named = |directory: &&&str| is_named_addons(directory);
    directories.iter().find(is_named).or(directories.first()).copied()
}

fn is_named_addons(directory: &str) -> bool {
    directory.rsplit('/').next().is_some_and(|name| name.contains("addons"))
}
