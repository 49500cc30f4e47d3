//! A bundle or a package of any making, wherever it is.

use std::collections::HashMap;

use compass_bundle::Package;
use compass_bundle::store::open_source;
use compass_manifest::{Policy, inventory};
use compass_registry::Reference;

use crate::cli::Global;
use crate::error::CliError;

/// Opens a bundle, or a package of any making.
pub(crate) async fn open(address: &str, global: &Global) -> Result<Package, CliError> {
    Ok(Package::read(open_source(address, &global.retry()).await?).await?)
}

/// What the YAML of a bundle or a package names.
#[derive(Default)]
pub(crate) struct ImageUsage {
    /// Files, and images that they name and nobody packed.
    pub(crate) missing: Vec<(String, String)>,
    /// Files of which nobody can tell what they name, and why.
    pub(crate) unread: Vec<(String, String)>,
}

/// What the YAML of what was opened names. What is damaged of it is reported by a proof.
pub(crate) async fn referenced_images(opened: &Package) -> ImageUsage {
    let mut named = ImageUsage::default();
    match opened {
        Package::Bundle(bundle) => {
            let there = PresentImages::of(bundle.images().iter().map(|image| &image.reference));
            for entry in bundle.entries().filter(|entry| is_yaml(entry.path)) {
                if let Ok(bytes) = bundle.file(entry.path).await {
                    there.look_for(entry.path, &bytes, &mut named);
                }
            }
        }
        Package::Foreign(package) => {
            let there = PresentImages::of(package.images().iter().map(|image| &image.reference));
            for file in package.files() {
                if let Some(yaml) = &file.yaml {
                    there.look_for(&file.path, yaml, &mut named);
                }
            }
        }
    }
    named
}

fn is_yaml(path: &str) -> bool {
    [".yaml", ".yml"].iter().any(|end| path.ends_with(end))
}

/// The images of a bundle or a package, by the last element of their repositories.
struct PresentImages<'r> {
    images: HashMap<&'r str, Vec<(&'r str, String)>>,
    policy: Policy,
}

impl<'r> PresentImages<'r> {
    fn of(references: impl Iterator<Item = &'r Reference>) -> Self {
        let mut images: HashMap<_, Vec<_>> = HashMap::new();
        for reference in references {
            let repository = reference.repository();
            let image = (repository.as_str(), reference.tag_or_digest().to_string());
            images.entry(repository.name()).or_default().push(image);
        }
        Self { images, policy: Policy::default() }
    }

    /// Looks for the images that a YAML file names.
    fn look_for(&self, path: &str, yaml: &[u8], named: &mut ImageUsage) {
        let images = match inventory::file_images(path, yaml, &self.policy) {
            Ok(images) => images,
            Err((line, error)) => {
                let why = format!("line {line}: {}", error.message);
                return named.unread.push((path.to_owned(), why));
            }
        };
        for image in images {
            let written = &image.image_use.written;
            let is_there = match &image.image_use.image {
                Ok(used) => self.has(&used.repository, used.tag.as_deref(), used.digest.as_deref()),
                // A template of another policy; what stands behind it is as good a name.
                Err(_) => match written.split_once("]]/") {
                    Some((_, name)) if !name.contains(['[', ' ']) => {
                        let (name, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
                        self.has(name, Some(tag), None)
                    }
                    _ => continue,
                },
            };
            if !is_there {
                named.missing.push((path.to_owned(), written.clone()));
            }
        }
    }

    /// Whether an image is there under a name. Sites and teams name their projects as they like:
    /// what stands before the name does not count.
    fn has(&self, name: &str, tag: Option<&str>, digest: Option<&str>) -> bool {
        let last = name.rsplit('/').next().unwrap_or(name);
        let images = self.images.get(last).map(Vec::as_slice).unwrap_or_default();
        images.iter().any(|(repository, locator)| {
            let before = repository.strip_suffix(name);
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
                && (locator == tag.unwrap_or("latest") || digest == Some(locator))
        })
    }
}
