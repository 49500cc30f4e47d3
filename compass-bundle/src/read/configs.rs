//! Compares the configurations of images with their layers, as far as that takes no decompression.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use compass_registry::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, media_type};

use super::frames::Frames;
use super::open::Bundle;
use super::proof::SegmentProof;
use super::verify::Damage;
use crate::plan::image::ArchiveImage;
use crate::plan::{BundlePlan, Content};
use crate::{Error, diff_ids};

/// Bytes of configurations that are kept while the bundle is read.
const MAX_KEPT: u64 = 16 << 20;

/// The configurations of a bundle, kept as they pass.
#[derive(Debug, Default)]
pub(super) struct Configs {
    wanted: HashSet<Digest>,
    bytes: Mutex<HashMap<Digest, Vec<u8>>>,
}

impl Configs {
    pub(super) fn of(bundle: &Bundle) -> Result<Self, Error> {
        let (mut wanted, mut kept) = (HashSet::new(), 0);
        for manifest in bundle.images().iter().flat_map(ArchiveImage::manifests) {
            let Manifest::Image { config, layers } = manifest.parse()? else { continue };
            let is_compared = diff_ids::are_compared(&config, &layers);
            if is_compared && config.size <= MAX_KEPT - kept && wanted.insert(config.digest) {
                kept += config.size;
            }
        }
        Ok(Self { wanted, bytes: Mutex::default() })
    }

    /// Whether a segment is a configuration that is to be kept.
    pub(super) fn wants(&self, plan: &BundlePlan, number: usize) -> bool {
        self.wanted_in(plan, number).is_some()
    }

    /// Takes what a proof kept of a configuration.
    pub(super) fn take(&self, plan: &BundlePlan, number: usize, proof: &mut SegmentProof<'_>) {
        if let Some((config, bytes)) = self.wanted_in(plan, number).zip(proof.take_collected()) {
            self.bytes.lock().unwrap_or_else(PoisonError::into_inner).insert(config, bytes);
        }
    }

    fn wanted_in(&self, plan: &BundlePlan, number: usize) -> Option<Digest> {
        let Content::Blob(blob) = plan.segments()[number].content else { return None };
        let digest = plan.blobs()[blob].descriptor.digest;
        self.wanted.contains(&digest).then_some(digest)
    }

    fn get(&self, config: &Digest) -> Option<Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).get(config).cloned()
    }
}

impl Bundle {
    /// What is wrong with the configurations of images: how many layers they name, and what those are
    /// that are not compressed. What compressed layers unpack to was decided where they were built;
    /// their digests say that nothing has changed since.
    pub(super) async fn verify_configs(&self, configs: &Configs) -> Result<Vec<Damage>, Error> {
        let (mut damages, mut seen) = (Vec::new(), HashSet::new());
        for image in self.images() {
            for manifest in image.manifests().filter(|manifest| seen.insert(manifest.digest())) {
                let Manifest::Image { config, layers } = manifest.parse()? else { continue };
                if diff_ids::are_compared(&config, &layers)
                    && let Some(what) = self.config_problem(configs, (&config, &layers)).await?
                {
                    damages.push(self.config_damage(image, config.digest, what));
                }
            }
        }
        Ok(damages)
    }

    async fn config_problem(
        &self,
        configs: &Configs,
        (config, layers): (&Descriptor, &[Descriptor]),
    ) -> Result<Option<String>, Error> {
        if config.size > MAX_MANIFEST_BYTES {
            return Ok(Some(format!("a configuration of {} bytes is too large", config.size)));
        }
        let bytes = match configs.get(&config.digest) {
            Some(bytes) => Bytes::from(bytes),
            None => match self.stored_blob(&config.digest).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            },
        };
        let is_intact = config.digest.algorithm().digest(&bytes) == config.digest;
        // The proof of the blob tells of one that is not.
        Ok(if is_intact { difference(&bytes, layers) } else { None })
    }

    fn config_damage(&self, image: &ArchiveImage, config: Digest, what: String) -> Damage {
        let plan = self.plan();
        let segment = self.segment_of(&config).map(|number| &plan.segments()[number]);
        let archive = segment.and_then(|segment| segment.archive);
        let range = segment.map_or(0..0, |segment| {
            let end = segment.position + segment.size;
            Frames::of(plan, segment.archive).file_range(segment.position..end)
        });
        Damage {
            file: archive.map(|archive| plan.archives()[archive].path.clone()),
            image: Some(image.reference.to_string()),
            blob: Some(config),
            range,
            what,
        }
    }
}

/// What layers have that a configuration does not say.
fn difference(config: &[u8], layers: &[Descriptor]) -> Option<String> {
    let expected = match diff_ids::read(config) {
        Ok(expected) => expected,
        Err(reason) => return Some(format!("the configuration is not readable: {reason}")),
    };
    if let Err(reason) = diff_ids::require_count(expected.len(), layers.len()) {
        return Some(format!("the configuration does not fit the image: {reason}"));
    }
    let is_plain = |layer: &Descriptor| {
        let plain = [media_type::OCI_LAYER, "application/vnd.docker.image.rootfs.diff.tar"];
        plain.contains(&layer.media_type.as_str())
    };
    let mut both = layers.iter().zip(&expected).filter(|(layer, _)| is_plain(layer));
    let (layer, id) = both.find(|(layer, id)| {
        let own = layer.digest.to_string();
        id.split(':').next() == own.split(':').next() && **id != own
    })?;
    let (id, own): (String, _) = (id.chars().take(140).collect(), layer.digest);
    Some(format!("the configuration names the layer {}, and not {own}", id.escape_debug()))
}
