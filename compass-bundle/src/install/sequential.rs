//! Pushes the blobs of a foreign package in the order of the file, so that the file is read only
//! once.

use std::collections::HashMap;
use std::sync::Arc;

use compass_registry::{
    Descriptor, Digest, Error as RegistryError, ImageSink, Progress, Reference, RegistryPrefix,
    Repository, VerifiedBlob,
};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::Error;
use crate::foreign::ForeignPackage;
use crate::foreign::reader::byte_stream;
use crate::foreign::sequential_blobs::SequentialBlobs;
use crate::package::Image;

/// A blob that images need, and the repository that receives it. Other repositories mount it from
/// there.
struct MissingBlob<'p> {
    image: &'p Reference,
    to: Repository,
    descriptor: Descriptor,
}

/// Pushes the blobs that images of a package need.
pub(super) struct SequentialPush<'i> {
    pub(super) package: &'i ForeignPackage,
    pub(super) sink: &'i dyn ImageSink,
    pub(super) place: &'i RegistryPrefix,
    pub(super) progress: &'i Arc<dyn Progress>,
}

/// Number of blobs and number of bytes that were pushed for each image.
pub(super) type Pushed = HashMap<Reference, (usize, u64)>;

impl SequentialPush<'_> {
    /// Pushes the blobs that the sink lacks. A read or push error ends the pass without an error: the
    /// copy of the images afterwards retries, and reports the cause.
    pub(super) async fn run(&self, images: &[&Image<'_>]) -> Result<Pushed, Error> {
        let mut missing = HashMap::new();
        for image in images {
            self.collect_missing(image, &mut missing)?;
        }
        let mut pushed = Pushed::new();
        if let Err(error) = self.push_blobs(missing, &mut pushed).await {
            tracing::debug!(%error, "the package is read again for missing blobs");
        }
        Ok(pushed)
    }

    fn collect_missing<'p>(
        &self,
        image: &Image<'p>,
        missing: &mut HashMap<Digest, MissingBlob<'p>>,
    ) -> Result<(), Error> {
        let to = image.reference.rebase(self.place)?;
        for manifest in image.manifests() {
            let manifest = manifest.parse()?;
            // Includes non-distributable layers that the package contains.
            let blobs = manifest.distributable_blobs().chain(manifest.nondistributable_layers());
            for descriptor in blobs.filter(|blob| self.package.holds(&blob.digest)) {
                missing.entry(descriptor.digest).or_insert_with(|| MissingBlob {
                    image: image.reference,
                    to: to.repository().clone(),
                    descriptor: descriptor.clone(),
                });
            }
        }
        Ok(())
    }

    async fn push_blobs(
        &self,
        mut missing: HashMap<Digest, MissingBlob<'_>>,
        pushed: &mut Pushed,
    ) -> Result<(), RegistryError> {
        if missing.is_empty() {
            return Ok(());
        }
        let Self { package, sink, progress, .. } = self;
        let failed = |error| RegistryError::io(format!("cannot read {}", package.name()), error);
        let mut blobs = SequentialBlobs::open(package).await.map_err(Error::into_registry)?;
        while !missing.is_empty()
            && let Some((digest, reader)) = blobs.next().await.map_err(failed)?
        {
            let Some(MissingBlob { image, to, descriptor }) = missing.remove(&digest) else {
                continue;
            };
            if sink.has_blob(&to, &descriptor).await? {
                continue;
            }
            let (what, size) = (format!("{to}@{digest} in {}", package.name()), descriptor.size);
            let passed = Arc::clone(*progress);
            let bytes = byte_stream(reader, what.clone());
            let bytes = bytes.inspect_ok(move |chunk| passed.advance(chunk.len() as u64)).boxed();
            progress.add_total(size);
            sink.put_blob(&to, VerifiedBlob::new(what, descriptor, bytes)).await?;
            let (blobs, bytes) = pushed.entry(image.clone()).or_default();
            *blobs += 1;
            *bytes += size;
        }
        Ok(())
    }
}
