//! Compares the images that the YAML of a package names with those that the package contains.

use std::collections::HashMap;

use compass_bundle::Package;
use compass_bundle::store::open_source;
use compass_manifest::inventory;
use compass_registry::Reference;

use crate::built_in_policy::BUILT_IN_POLICY;
use crate::error::Result;
use crate::global_args::GlobalArgs;

/// Opens a bundle or a foreign package at a path or URL.
pub(crate) async fn open(address: &str, global: &GlobalArgs) -> Result<Package> {
    Ok(Package::read(open_source(address, &global.retry_policy()).await?).await?)
}

/// Problems with the images that the YAML of a package names.
#[derive(Default)]
pub(crate) struct ImageUsage {
    /// Files, and images they name that the package does not contain.
    pub(crate) missing: Vec<(String, String)>,
    /// Files whose images cannot be determined, and the reasons.
    pub(crate) unread: Vec<(String, String)>,
}

/// Finds problems with the images that the YAML of a package names. Damaged files are skipped; `verify` reports
/// them.
pub(crate) async fn referenced_images(package: &Package) -> ImageUsage {
    let (mut usage, images) = (ImageUsage::default(), package.images());
    let present = PresentImages::new(images.iter().map(|image| image.reference));
    for file in package.files().iter().filter(|file| is_yaml(&file.path)) {
        if let Ok(bytes) = package.file(&file.path).await {
            present.add_usage(&file.path, &bytes, &mut usage);
        }
    }
    usage
}

/// Whether a file has the extension of YAML.
pub(crate) fn is_yaml(path: &str) -> bool {
    [".yaml", ".yml"].iter().any(|extension| path.ends_with(extension))
}

/// The repository and the tag or digest of each image, by the last element of the repository.
struct PresentImages<'r> {
    images: HashMap<&'r str, Vec<(&'r str, String)>>,
}

impl<'r> PresentImages<'r> {
    fn new(references: impl Iterator<Item = &'r Reference>) -> Self {
        let mut images: HashMap<_, Vec<_>> = HashMap::new();
        for reference in references {
            let repository = reference.repository();
            let image = (repository.as_str(), reference.tag_or_digest().to_string());
            images.entry(repository.name()).or_default().push(image);
        }
        Self { images }
    }

    /// Adds the images that a YAML file names to `usage`.
    fn add_usage(&self, path: &str, yaml: &[u8], usage: &mut ImageUsage) {
        let images = match inventory::file_images(path, yaml, &BUILT_IN_POLICY) {
            Ok(images) => images,
            Err((line, error)) => {
                let reason = format!("line {line}: {}", error.message);
                return usage.unread.push((path.to_owned(), reason));
            }
        };
        for image in images {
            let written = &image.image_use.written;
            let is_present = match &image.image_use.image {
                Ok(used) => {
                    self.contains(&used.repository, used.tag.as_deref(), used.digest.as_deref())
                }
                // A template variable of another policy: compare the rest of the reference.
                Err(_) => match written.split_once("]]/") {
                    Some((_, name)) if !name.contains(['[', ' ']) => {
                        let (name, tag) = name.rsplit_once(':').unwrap_or((name, "latest"));
                        self.contains(name, Some(tag), None)
                    }
                    _ => continue,
                },
            };
            if !is_present {
                usage.missing.push((path.to_owned(), written.clone()));
            }
        }
    }

    /// Whether an image is present. Projects are named differently at each site, so a repository
    /// matches if it ends with `name`.
    fn contains(&self, name: &str, tag: Option<&str>, digest: Option<&str>) -> bool {
        let last = name.rsplit('/').next().unwrap_or(name);
        let images = self.images.get(last).map(Vec::as_slice).unwrap_or_default();
        images.iter().any(|(repository, version)| {
            let prefix = repository.strip_suffix(name);
            prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('/'))
                && (version == tag.unwrap_or("latest") || digest == Some(version))
        })
    }
}
