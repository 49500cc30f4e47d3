//! Reads the image manifests of a bundle.

use std::collections::{HashMap, HashSet};

use compass_registry::{Descriptor, Digest, MAX_MANIFEST_BYTES, RawManifest, Reference};

use super::parser::{BundleParser, read_content};
use crate::Error;
use crate::format::document::{BundleDocument, BundleImage, MANIFEST, PlacedBlob};
use crate::format::gzip;
use crate::format::member::Member;
use crate::format::tar_entry;
use crate::plan::image::{ArchiveImage, manifests_below};

impl BundleParser<'_> {
    /// Reads the images of the store, if there is one.
    pub(super) async fn stored_images(
        &mut self,
        document: &BundleDocument,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let Some(store) = &document.store else { return Ok(Vec::new()) };
        let (manifests, _) = self.blobs(&store.blobs, false).await?;
        let placed = digests(&store.blobs);
        let mut images = Vec::new();
        for image in &store.images {
            let root = manifests.get(&image.digest);
            let root =
                root.ok_or_else(|| self.invalid(format!("{} is missing", image.reference)))?;
            // Images share the bytes of a manifest, but each image parses it.
            self.reserve_memory(root.descriptor().size)?;
            let children = manifests_below(root, &manifests)?;
            self.reserve_memory(children.len() as u64 * MANIFEST)?;
            images.push(archive_image(image, root.clone(), children, &placed)?);
        }
        Ok(images)
    }

    /// Reads the images of the image archives.
    pub(super) async fn archived_images(
        &mut self,
        document: &BundleDocument,
    ) -> Result<Vec<ArchiveImage>, Error> {
        let mut images = Vec::new();
        for file in document.archives() {
            let Some(image) = &file.image else { continue };
            self.skip_header(document, &file.path)?;
            let (manifests, size) = self.blobs(&image.blobs, true).await?;
            if size != file.size {
                let reason = format!("the size of {} does not match its blobs", file.path);
                return Err(self.invalid(reason));
            }
            self.skip_padding(size);
            let mut seen = HashSet::new();
            let once = image.blobs.iter().map(|blob| blob.descriptor.digest);
            let once = once.filter(|digest| seen.insert(*digest));
            let mut all = once.filter_map(|digest| manifests.get(&digest)).cloned();
            let missing = || self.invalid(format!("{} contains no image manifest", file.path));
            let root = all.next().ok_or_else(missing)?;
            let children = all.collect();
            images.push(archive_image(image, root, children, &digests(&image.blobs))?);
        }
        Ok(images)
    }

    /// Reads the manifests, which precede all other blobs of a tar. Also returns the size of the
    /// archive.
    async fn blobs(
        &mut self,
        blobs: &[PlacedBlob],
        nested: bool,
    ) -> Result<(HashMap<Digest, RawManifest>, u64), Error> {
        let (mut manifests, mut end, mut size, mut is_leading) = (HashMap::new(), 0, 0_u64, true);
        let framed = |bytes: u64| if nested { gzip::member_size(bytes) } else { bytes };
        for PlacedBlob { descriptor, offset } in blobs {
            let run = offset.checked_sub(end).filter(|run| *run >= tar_entry::BLOCK);
            let run = run.ok_or_else(|| self.invalid("its blobs are not in order"))?;
            self.cursor.extend_run(framed(run));
            self.cursor.end_run();
            let member = self.cursor.append(descriptor.size, nested);
            if member.file_range().end > self.file.source().size() {
                return Err(self.truncated());
            }
            // Cannot overflow, because the range of the member is within the file.
            size += framed(run) + framed(descriptor.size);
            end = offset + descriptor.size;
            is_leading &= RawManifest::is_manifest_type(&descriptor.media_type);
            if is_leading {
                let manifest = self.manifest(member, descriptor).await?;
                manifests.insert(descriptor.digest, manifest);
            }
        }
        let rest =
            tar_entry::padding(end).len() as u64 + if nested { tar_entry::END as u64 } else { 0 };
        self.cursor.extend_run(framed(rest));
        Ok((manifests, size + framed(rest)))
    }

    async fn manifest(
        &mut self,
        member: Member,
        descriptor: &Descriptor,
    ) -> Result<RawManifest, Error> {
        if descriptor.size > MAX_MANIFEST_BYTES {
            return Err(self.invalid("an image manifest is too large"));
        }
        self.reserve_memory(descriptor.size + MANIFEST)?;
        let bytes = read_content(self.file, member, 0..descriptor.size).await?;
        let (algorithm, kind) = (descriptor.digest.algorithm(), &descriptor.media_type);
        let manifest = RawManifest::with_algorithm(algorithm, kind, bytes);
        if manifest.digest() != descriptor.digest {
            return Err(Error::damaged(format!(
                "{}: an image manifest has digest {}, expected {}",
                self.file.source().name(),
                manifest.digest(),
                descriptor.digest
            )));
        }
        Ok(manifest)
    }
}

/// Creates an image whose blobs are at the places in `placed`, except for the non-distributable
/// layers that the bundle does not contain.
fn archive_image(
    described: &BundleImage,
    root: RawManifest,
    children: Vec<RawManifest>,
    placed: &HashSet<Digest>,
) -> Result<ArchiveImage, Error> {
    let reference: Result<Reference, _> = described.reference.parse();
    let reference = reference.map_err(|error| Error::damaged(format!("bundle.json: {error}")))?;
    let mut image = ArchiveImage {
        platform: described.platform.clone(),
        children,
        omitted_platforms: described.omitted_platforms.clone(),
        ..ArchiveImage::new(reference, root)
    };
    let layers = image.nondistributable_layers()?.into_iter().map(|layer| layer.digest);
    image.unavailable = layers.filter(|layer| !placed.contains(layer)).collect();
    Ok(image)
}

fn digests(blobs: &[PlacedBlob]) -> HashSet<Digest> {
    blobs.iter().map(|blob| blob.descriptor.digest).collect()
}
