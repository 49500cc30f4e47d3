//! Images of bundles and OCI layouts as a read-only storage, which a registry can serve.

mod layout;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use async_trait::async_trait;
use compass_registry::layout::OciLayout;
use compass_registry::storage::Storage;
use compass_registry::{
    ByteStream, Digest, Error as RegistryError, ImageSource as _, RawManifest, Repository, Tag,
    TagOrDigest,
};

use crate::Error;
use crate::read::{Bundle, file_descriptor};

/// The images of bundles and OCI layouts, under their names without the registry's host.
///
/// As a [`Storage`] it is read-only: [`ServerOptions::read_only`] rejects requests that would write.
/// Nothing is unpacked. Manifests are in memory, and blobs are read from the files at their offsets.
/// A blob of a bundle that is read as a whole is compared with the CRC-32 that gzip stores, and with its
/// digest if the bundle is remote, or was written to since it was opened.
///
/// ```no_run
/// use std::path::Path;
///
/// use compass_bundle::{Bundle, ImageCatalog};
///
/// # async fn example() -> Result<(), compass_bundle::Error> {
/// let mut catalog = ImageCatalog::default();
/// catalog.add_bundle(&Bundle::open(Path::new("compass-v2.7.0.tar.gz")).await?)?;
/// catalog.add_layout(Path::new("oci")).await?;
/// # Ok(())
/// # }
/// ```
///
/// [`ServerOptions::read_only`]: https://docs.rs/compass-registry/latest/compass_registry/server/struct.ServerOptions.html
#[derive(Debug, Default)]
pub struct ImageCatalog {
    sources: Vec<Source>,
    repositories: BTreeMap<Repository, RepositoryImages>,
    hosts: BTreeSet<String>,
}

/// A file or directory that contains images.
#[derive(Debug)]
enum Source {
    Bundle(Bundle),
    Layout(OciLayout, String),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::Bundle(bundle) => bundle.name(),
            Self::Layout(_, path) => path.clone(),
        }
    }
}

/// The content of a repository. Numbers are indexes of sources.
#[derive(Debug, Default)]
struct RepositoryImages {
    tags: BTreeMap<Tag, (Digest, usize)>,
    manifests: HashMap<Digest, RawManifest>,
    /// The sizes of the blobs.
    blobs: HashMap<Digest, (u64, usize)>,
    /// The manifests that have each manifest as their subject.
    referrers: HashMap<Digest, BTreeSet<Digest>>,
}

/// An image to add: its names, and its manifests with the root first.
struct NamedImage<'i> {
    repository: &'i Repository,
    tag: Option<&'i Tag>,
    manifests: Vec<&'i RawManifest>,
}

impl ImageCatalog {
    /// Adds the images of a bundle.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if another image has the same name; an error if a manifest is
    /// malformed.
    pub fn add_bundle(&mut self, bundle: &Bundle) -> Result<(), Error> {
        let number = self.sources.len();
        self.sources.push(Source::Bundle(bundle.clone()));
        for image in bundle.images() {
            let reference = image.reference.with_default_tag();
            self.hosts.insert(reference.host().to_owned());
            let manifests = image.manifests().collect();
            let named =
                NamedImage { repository: reference.repository(), tag: reference.tag(), manifests };
            self.add(&named, number, |digest| bundle.blob_size(digest))?;
        }
        Ok(())
    }

    /// The registry hosts in the names of the images. An OCI layout may not name a host.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(String::as_str)
    }

    /// The number of images that have a tag.
    pub fn tag_count(&self) -> usize {
        self.repositories.values().map(|repository| repository.tags.len()).sum()
    }

    /// The paths and URLs of the bundles and layouts, without secrets.
    pub fn source_names(&self) -> Vec<String> {
        self.sources.iter().map(Source::name).collect()
    }

    fn add(
        &mut self,
        image: &NamedImage<'_>,
        source: usize,
        size_of: impl Fn(&Digest) -> Option<u64>,
    ) -> Result<(), Error> {
        self.check_tag(image, source)?;
        let images = self.repositories.entry(image.repository.clone()).or_default();
        for manifest in &image.manifests {
            let content = manifest.parse()?;
            for blob in content.distributable_blobs().chain(content.nondistributable_layers()) {
                if let Some(size) = size_of(&blob.digest) {
                    images.blobs.entry(blob.digest).or_insert((size, source));
                }
            }
            if let Some(subject) = manifest.subject() {
                images.referrers.entry(subject).or_default().insert(manifest.digest());
            }
            images.manifests.entry(manifest.digest()).or_insert_with(|| (*manifest).clone());
        }
        if let (Some(tag), Some(root)) = (image.tag, image.manifests.first()) {
            images.tags.entry(tag.clone()).or_insert((root.digest(), source));
        }
        Ok(())
    }

    /// Checks that no other image has the name.
    fn check_tag(&self, image: &NamedImage<'_>, source: usize) -> Result<(), Error> {
        let (Some(tag), Some(root)) = (image.tag, image.manifests.first()) else { return Ok(()) };
        let present = self.repositories.get(image.repository);
        match present.and_then(|images| images.tags.get(tag)) {
            Some((digest, first)) if *digest != root.digest() => {
                let (one, other) = (self.sources[*first].name(), self.sources[source].name());
                Err(Error::InvalidInput(format!(
                    "{}:{tag} has digest {digest} in {one}, and {} in {other}: serve them \
                     separately",
                    image.repository,
                    root.digest()
                )))
            }
            _ => Ok(()),
        }
    }

    fn blob(&self, repository: &Repository, digest: &Digest) -> Option<(u64, usize)> {
        self.repositories.get(repository)?.blobs.get(digest).copied()
    }
}

#[async_trait]
impl Storage for ImageCatalog {
    async fn blob_size(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<u64>, RegistryError> {
        Ok(self.blob(repository, digest).map(|(size, _)| size))
    }

    async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<ByteStream, RegistryError> {
        let missing = || RegistryError::NotFound { what: format!("{repository}@{digest}") };
        let (size, source) = self.blob(repository, digest).ok_or_else(missing)?;
        match &self.sources[source] {
            Source::Bundle(bundle) => bundle.blob_stream(digest, range).ok_or_else(missing),
            Source::Layout(layout, _) => {
                layout.blob(repository, &file_descriptor(size, *digest), range).await
            }
        }
    }

    async fn manifest(
        &self,
        repository: &Repository,
        reference: &TagOrDigest,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let Some(images) = self.repositories.get(repository) else { return Ok(None) };
        let digest = match reference {
            TagOrDigest::Tag(tag) => images.tags.get(tag).map(|(digest, _)| digest),
            TagOrDigest::Digest(digest) => Some(digest),
        };
        Ok(digest.and_then(|digest| images.manifests.get(digest)).cloned())
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let images = self.repositories.get(repository);
        let referrers = images.and_then(|images| images.referrers.get(subject));
        Ok(referrers.into_iter().flatten().copied().collect())
    }

    async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, RegistryError> {
        let images = self.repositories.get(repository);
        Ok(images.map(|images| images.tags.keys().cloned().collect()))
    }

    async fn repositories(&self) -> Result<Vec<Repository>, RegistryError> {
        Ok(self.repositories.keys().cloned().collect())
    }
}
