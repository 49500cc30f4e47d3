//! Everything that an image consists of.

use std::collections::HashSet;

use futures_util::FutureExt as _;

use super::at_once;
use crate::{
    Descriptor, Digest, Error, ImageSource, ImageSourceExt as _, Locator, Manifest, RawManifest,
    Repository,
};

/// An index may hold indexes; more levels than this are an attack.
const MAX_DEPTH: usize = 4;

/// Manifests that are read at once.
const AT_ONCE: usize = 8;

/// Everything that an image consists of.
#[derive(Default)]
pub(super) struct Tree {
    /// By how deep they stand: the root alone on the first level. What stands on several levels is
    /// on each of them, so that from the deepest up, everything comes after what it refers to.
    pub(super) levels: Vec<Vec<RawManifest>>,
    /// Each once.
    pub(super) blobs: Vec<Descriptor>,
}

impl Tree {
    /// Reads what stands beneath a manifest.
    pub(super) async fn read(
        source: &dyn ImageSource,
        repository: &Repository,
        root: RawManifest,
    ) -> Result<Self, Error> {
        let mut seen = HashSet::new();
        let mut tree = Self::default();
        let mut level = vec![root];
        while !level.is_empty() {
            let below = tree.add(level, &mut seen)?;
            let reads = below.iter().map(|digest| read(source, repository, *digest).boxed());
            level = at_once(AT_ONCE, reads.collect()).await?;
        }
        Ok(tree)
    }

    /// Takes a level in, and gives the manifests of the next one. `seen` are blobs.
    fn add(
        &mut self,
        level: Vec<RawManifest>,
        seen: &mut HashSet<Digest>,
    ) -> Result<Vec<Digest>, Error> {
        let (mut below, mut named) = (Vec::new(), HashSet::new());
        for manifest in &level {
            match manifest.parse()? {
                image @ Manifest::Image { .. } => {
                    let new = image.held_blobs().filter(|blob| seen.insert(blob.digest));
                    self.blobs.extend(new.cloned());
                }
                Manifest::Index(_) if self.levels.len() >= MAX_DEPTH => {
                    return Err(Error::BadContent {
                        what: format!("index {}", manifest.digest()),
                        reason: format!("indexes are nested more than {MAX_DEPTH} deep"),
                    });
                }
                Manifest::Index(images) => {
                    let digests = images.into_iter().map(|image| image.digest);
                    below.extend(digests.filter(|digest| named.insert(*digest)));
                }
            }
        }
        self.levels.push(level);
        Ok(below)
    }
}

async fn read(
    source: &dyn ImageSource,
    repository: &Repository,
    digest: Digest,
) -> Result<RawManifest, Error> {
    source.verified_manifest(repository, &Locator::Digest(digest)).await
}
