//! Brings the blobs of a package of any making in the order in which they stand in it, so that it is
//! read once and not once for each blob.

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::{
    Descriptor, Digest, Error as RegistryError, ImageSink, Progress, Reference, RegistryPrefix,
    Repository, VerifiedBlob,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::Error;
use crate::foreign::sequential_blobs::{SequentialBlobs, chunks_of};
use crate::foreign::{ForeignImage, ForeignPackage};

/// A blob that an image needs, and the repository that it goes to first. Others that need it take it
/// from there.
struct Wanted<'p> {
    image: &'p Reference,
    to: Repository,
    descriptor: Descriptor,
}

/// The blobs and bytes that were brought for each image.
pub(super) type Brought = HashMap<Reference, (usize, u64)>;

/// Pushes the blobs of images that the sink lacks. An error ends the pass without failing it: the copy of
/// the images that follows retries what is missing, and reports the cause.
pub(super) async fn bring(
    (package, images): (&ForeignPackage, &[&ForeignImage]),
    sink: &dyn ImageSink,
    place: &RegistryPrefix,
    progress: &Arc<dyn Progress>,
) -> Result<Brought, Error> {
    let mut wanted = HashMap::new();
    for image in images {
        want((package, image), place, &mut wanted)?;
    }
    let mut brought = Brought::new();
    if let Err(error) = bring_all(package, sink, wanted, progress, &mut brought).await {
        tracing::debug!(%error, "the package is read again for what is missing");
    }
    Ok(brought)
}

fn want<'p>(
    (package, image): (&ForeignPackage, &'p ForeignImage),
    place: &RegistryPrefix,
    wanted: &mut HashMap<Digest, Wanted<'p>>,
) -> Result<(), Error> {
    let to = image.reference.rebase(place)?;
    for manifest in image.manifests() {
        let manifest = manifest.parse()?;
        // Layers that registries need not hold come along if the package has them.
        let blobs = manifest.distributable_blobs().chain(manifest.nondistributable_layers());
        for descriptor in blobs.filter(|blob| package.holds(&blob.digest)) {
            wanted.entry(descriptor.digest).or_insert_with(|| Wanted {
                image: &image.reference,
                to: to.repository().clone(),
                descriptor: descriptor.clone(),
            });
        }
    }
    Ok(())
}

async fn bring_all(
    package: &ForeignPackage,
    sink: &dyn ImageSink,
    mut wanted: HashMap<Digest, Wanted<'_>>,
    progress: &Arc<dyn Progress>,
    brought: &mut Brought,
) -> Result<(), RegistryError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let failed = |error| RegistryError::io(format!("cannot read {}", package.name()), error);
    let Some(mut blobs) = SequentialBlobs::of(package).await.map_err(failed)? else {
        return Ok(());
    };
    while !wanted.is_empty()
        && let Some((digest, reader)) = blobs.next().await.map_err(failed)?
    {
        let Some(Wanted { image, to, descriptor }) = wanted.remove(&digest) else { continue };
        if sink.has_blob(&to, &descriptor).await? {
            continue;
        }
        let (what, size) = (format!("{to}@{digest} in {}", package.name()), descriptor.size);
        let passed = Arc::clone(progress);
        let bytes = chunks_of(reader, what.clone());
        let bytes = bytes.inspect_ok(move |chunk| passed.advance(chunk.len() as u64)).boxed();
        progress.add_total(size);
        sink.put_blob(&to, VerifiedBlob::new(what, descriptor, bytes)).await?;
        let (blobs, bytes) = brought.entry(image.clone()).or_default();
        *blobs += 1;
        *bytes += size;
    }
    Ok(())
}
