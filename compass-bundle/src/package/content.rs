//! Lists the blobs of a package, and streams single blobs and files.

use std::collections::HashMap;
use std::ops::Range;

use async_trait::async_trait;
use compass_registry::{
    ByteStream, Descriptor, Digest, Error as RegistryError, ImageSource, RawManifest, Reference,
    Repository, TagOrDigest, VerifiedBlob, open_blob,
};

use super::Package;
use crate::Error;

/// A blob of a package: the configuration or a layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PackageBlob {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The references of the images that use it, in the order of the package.
    pub images: Vec<Reference>,
}

impl Package {
    /// Lists the configurations and layers that the package contains, each once.
    ///
    /// The order is that of the images that use them. [`Image::manifests`](super::Image::manifests)
    /// has the image manifests, which are in memory. No layer is read.
    ///
    /// # Errors
    /// If a manifest cannot be parsed.
    pub fn blobs(&self) -> Result<Vec<PackageBlob>, Error> {
        let (mut blobs, mut indexes) = (Vec::<PackageBlob>::new(), HashMap::new());
        for image in self.images() {
            for manifest in image.manifests() {
                let manifest = manifest.parse()?;
                let all = manifest.distributable_blobs().chain(manifest.nondistributable_layers());
                for descriptor in all.filter(|blob| self.holds(&blob.digest)) {
                    let index = *indexes.entry(descriptor.digest).or_insert(blobs.len());
                    if index == blobs.len() {
                        let (descriptor, images) = (descriptor.clone(), Vec::new());
                        blobs.push(PackageBlob { descriptor, images });
                    }
                    if blobs[index].images.last() != Some(image.reference) {
                        blobs[index].images.push(image.reference.clone());
                    }
                }
            }
        }
        Ok(blobs)
    }

    /// Opens a configuration or layer as a stream that verifies size and digest.
    ///
    /// Nothing is unpacked. A bundle is read at the offset of the blob; a foreign package is read
    /// and decompressed from its start up to the blob. Reading starts when the stream is polled.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] if the package does not contain the blob. The stream yields the errors
    /// of reading, and an error for which
    /// [`is_mismatch`](compass_registry::Error::is_mismatch) is true if the content is wrong.
    ///
    /// # Cancellation
    /// Dropping the stream stops reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<VerifiedBlob, Error> {
        let missing = || Error::NoSuchBlob { digest: *digest };
        let blob = self.blobs()?.into_iter().find(|blob| blob.descriptor.digest == *digest);
        let blob = blob.ok_or_else(missing)?;
        let image = blob.images.first().ok_or_else(missing)?;
        Ok(open_blob(self.image_source(), image.repository(), &blob.descriptor))
    }

    /// Opens a file of [`Self::files`], or `bundle.json`, as a stream that verifies size and digest.
    ///
    /// The package is read as by [`Self::open_blob`]; [`Self::file`] reads a small file into memory.
    ///
    /// # Errors
    /// [`Error::NoSuchFile`]. The stream has the errors of [`Self::open_blob`].
    ///
    /// # Cancellation
    /// Dropping the stream stops reading.
    pub fn open_file(&self, path: &str) -> Result<VerifiedBlob, Error> {
        match self {
            Self::Bundle(bundle) => bundle.open_file(path),
            Self::Foreign(package) => package.open_file(path),
        }
    }

    fn holds(&self, digest: &Digest) -> bool {
        match self {
            Self::Bundle(bundle) => bundle.blob_member(digest).is_some(),
            Self::Foreign(package) => package.holds(digest),
        }
    }

    fn as_source(&self) -> &dyn ImageSource {
        match self {
            Self::Bundle(bundle) => bundle,
            Self::Foreign(package) => package,
        }
    }
}

/// A package is a source of its images, under their references.
#[async_trait]
impl ImageSource for Package {
    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<RawManifest, RegistryError> {
        self.as_source().manifest(repository, reference).await
    }

    async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        self.as_source().blob(repository, descriptor, range).await
    }

    async fn holds_blob(&self, _: &Repository, blob: &Descriptor) -> Result<bool, RegistryError> {
        Ok(self.holds(&blob.digest))
    }
}
