//! Classifies the files of a repository by their content.

use std::collections::{BTreeMap, BTreeSet};

use super::MAX_VALUES;
use crate::addon::AddonValues;
use crate::decode;
use crate::image::{ImageReference, is_repository, is_tag, split_suffix};
use crate::image_refs::{ImageUse, image_uses};
use crate::plugin::PluginManifest;
use crate::policy::Policy;
use crate::product::parse_image_list;
use crate::template::variables;
use crate::yaml::{self, Node};

/// What the draft needs of a file.
#[derive(Debug)]
pub(super) enum SurveyedFile {
    Plugin(PluginManifest),
    Values {
        name: String,
        /// The namespace in the values.
        namespace: Option<String>,
    },
    Product,
    /// A file that names the addons of an installation.
    Descriptor,
    /// A file that names the sources of addons.
    ChartList,
    ImageList {
        images: Vec<String>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The files by their paths.
    pub(super) files: BTreeMap<String, SurveyedFile>,
    /// The template variables, and the projects of those that begin image references.
    pub(super) variables: BTreeMap<String, Option<String>>,
    /// The images of addons and plugins, as `project/name:tag`.
    pub(super) used_images: BTreeSet<String>,
}

impl Survey {
    pub(super) fn add(&mut self, path: &str, bytes: &[u8]) {
        let is_yaml = [".yaml", ".yml"].iter().any(|end| path.to_ascii_lowercase().ends_with(end));
        let file = if is_yaml { self.yaml_file(path, bytes) } else { image_list(path, bytes) };
        if let Some(file) = file {
            self.files.insert(path.to_owned(), file);
        }
    }

    fn yaml_file(&mut self, path: &str, bytes: &[u8]) -> Option<SurveyedFile> {
        let (source, root) = yaml::read(path, bytes);
        let root = root.ok()?;
        let file = classify(&root)?;
        if matches!(file, SurveyedFile::Plugin(_) | SurveyedFile::Values { .. }) {
            self.add_variables(&root);
            let uses = image_uses(&source, &root, &Policy::default());
            self.used_images.extend(uses.into_iter().filter_map(list_entry));
        }
        Some(file)
    }

    fn add_variables(&mut self, root: &Node) {
        for text in root.values().filter_map(Node::text).filter(|text| text.contains("[[")) {
            for variable in variables(text).filter(|variable| variable.well_formed) {
                if self.variables.len() >= MAX_VALUES {
                    return;
                }
                let begins_image = variable.start == 0
                    && text[variable.end..].starts_with('/')
                    && text[variable.end..].contains(':');
                let project = begins_image.then(|| project_of(variable.name).to_owned());
                let known = self.variables.entry(variable.name.to_owned()).or_default();
                *known = known.take().or(project);
            }
        }
    }

    /// The registry and project that most images of plugins are in.
    pub(super) fn release_registry(&self) -> Option<String> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for manifest in self.plugins() {
            let image = manifest.image.as_ref().and_then(|image| {
                let image: ImageReference = image.value.parse().ok()?;
                let (project, _) = image.repository().rsplit_once('/')?;
                Some(format!("{}/{project}", image.host()))
            });
            if let Some(registry) = image {
                *counts.entry(registry).or_default() += 1;
            }
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(registry, _)| registry)
    }

    /// The slots that several plugins use.
    pub(super) fn shared_slots(&self) -> BTreeSet<String> {
        self.shared(|manifest| {
            let slots = manifest.modules.iter().flat_map(|module| &module.slots);
            slots.map(|slot| slot.value.clone()).collect()
        })
    }

    /// The ports that several plugins use.
    pub(super) fn shared_ports(&self) -> BTreeSet<u16> {
        self.shared(|manifest| manifest.port.iter().map(|port| port.value).collect())
    }

    /// The values that several plugins have.
    fn shared<T: Ord + Clone>(&self, of: impl Fn(&PluginManifest) -> BTreeSet<T>) -> BTreeSet<T> {
        let (mut seen, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for value in self.plugins().flat_map(of) {
            if !seen.insert(value.clone()) {
                shared.insert(value);
            }
        }
        shared
    }

    fn plugins(&self) -> impl Iterator<Item = &PluginManifest> {
        self.files.values().filter_map(|file| match file {
            SurveyedFile::Plugin(manifest) => Some(manifest),
            _ => None,
        })
    }
}

fn classify(root: &Node) -> Option<SurveyedFile> {
    if root.at(&["_config", "controllers"]).or_else(|| root.at(&["_config", "_metadata"])).is_some()
    {
        let values = AddonValues::read(root);
        let namespace = values.namespace.map(|namespace| namespace.value);
        return Some(SurveyedFile::Values {
            name: values.name.map(|name| name.value).unwrap_or_default(),
            namespace,
        });
    }
    let spec = root.get("spec")?;
    let is_named = root.at(&["metadata", "name"]).is_some();
    if is_named && spec.at(&["service", "image"]).is_some() {
        return Some(SurveyedFile::Plugin(PluginManifest::read(root)));
    }
    let is_product = spec.get("imageLists").or_else(|| spec.get("addons")).is_some();
    if is_named && spec.get("version").is_some() && is_product {
        return Some(SurveyedFile::Product);
    }
    if spec.get("systemAddons").is_some() {
        return Some(SurveyedFile::Descriptor);
    }
    let is_chart = |item: &Node| item.get("repositoryFullName").is_some();
    spec.items().iter().any(is_chart).then_some(SurveyedFile::ChartList)
}

/// Returns the line of an image list for an image.
///
/// The draft does not know the project of a variable, so it is guessed from its name.
fn list_entry(used: ImageUse) -> Option<String> {
    if let Ok(image) = used.image {
        return Some(image.list_entry());
    }
    let (name, rest) = used.written.strip_prefix("[[")?.split_once("]]/")?;
    Some(format!("{}/{rest}", project_of(name)))
}

/// The project that a variable such as `registry_library` stands for.
fn project_of(name: &str) -> &'static str {
    if name.to_ascii_lowercase().contains("library") { "library" } else { "release" }
}

/// Reads a file as an image list; `None` if a line is not `project/name:tag`.
fn image_list(path: &str, bytes: &[u8]) -> Option<SurveyedFile> {
    let (source, text) = decode::read(path, bytes);
    text.ok()?;
    let lines = parse_image_list(&source);
    let is_valid = !lines.is_empty() && lines.iter().all(|line| is_listed(&line.text));
    is_valid.then(|| SurveyedFile::ImageList {
        images: lines.into_iter().map(|line| line.text).collect(),
    })
}

fn is_listed(text: &str) -> bool {
    let (path, tag) = split_suffix(text, ':');
    path.contains('/') && is_repository(path) && tag.is_some_and(is_tag)
}
