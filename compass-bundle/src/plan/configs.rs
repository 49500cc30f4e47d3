//! The image configurations that are compared with the layers of their images.

use std::collections::HashMap;

use compass_registry::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest};

use super::PlannedBlob;
use super::image::ArchiveImage;
use crate::{Error, diff_ids};

/// The configuration of an image.
#[derive(Debug, Clone)]
pub(crate) struct PlannedConfig {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) layers: Vec<Descriptor>,
    /// Index of its blob in the plan.
    pub(crate) blob: usize,
    /// The reference of the image.
    pub(crate) reference: String,
}

/// Lists the configurations of all images whose layers can be compared.
pub(super) fn plan(
    images: &[ArchiveImage],
    blobs: &[PlannedBlob],
) -> Result<Vec<PlannedConfig>, Error> {
    let numbers = blobs.iter().enumerate().map(|(number, blob)| (blob.descriptor.digest, number));
    let numbers: HashMap<_, _> = numbers.collect();
    let mut found: HashMap<Digest, PlannedConfig> = HashMap::new();
    for image in images {
        for manifest in image.manifests() {
            let Manifest::Image { config, layers } = manifest.parse()? else { continue };
            let Some(blob) = numbers.get(&config.digest) else { continue };
            if diff_ids::are_compared(&config, &layers) {
                let (digest, size, blob) = (config.digest, config.size, *blob);
                let reference = image.reference.to_string();
                let planned = PlannedConfig { digest, size, layers, blob, reference };
                found.entry(manifest.digest()).or_insert(planned);
            }
        }
    }
    let mut configs: Vec<_> = found.into_values().collect();
    configs.sort_by(|one, other| (one.blob, &one.reference).cmp(&(other.blob, &other.reference)));
    Ok(configs)
}

impl PlannedConfig {
    /// Describes the problem if the configuration is too large to be read.
    pub(crate) fn size_problem(&self) -> Option<String> {
        let is_large = self.size > MAX_MANIFEST_BYTES;
        is_large.then(|| format!("a configuration of {} bytes is too large", self.size))
    }

    /// Describes the problem if the configuration contradicts the layers.
    pub(crate) fn problem(&self, bytes: &[u8]) -> Option<String> {
        diff_ids::problem(bytes, &self.layers)
    }

    /// Checks that the configuration is small enough to be read.
    pub(crate) fn check_size(&self) -> Result<(), Error> {
        self.size_problem().map_or(Ok(()), |what| Err(self.invalid(&what)))
    }

    /// Checks that the configuration matches the layers.
    pub(crate) fn check_layers(&self, bytes: &[u8]) -> Result<(), Error> {
        self.problem(bytes).map_or(Ok(()), |what| Err(self.invalid(&what)))
    }

    fn invalid(&self, what: &str) -> Error {
        Error::InvalidInput(format!("{}: {what}", self.reference))
    }
}
