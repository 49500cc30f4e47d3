//! Adds the images of OCI layouts.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use compass_registry::layout::{LayoutImage, OciLayout};
use compass_registry::{
    ANNOTATION_REF_NAME, Descriptor, Digest, ImageSourceExt as _, Manifest, RawManifest, Reference,
    Repository, Tag,
};

use super::{ImageCatalog, NamedImage, Source};
use crate::Error;
use crate::foreign::images::names::{Name, read_name, read_ref_name, unnamed_reference};
use crate::format::document::MAX_MANIFESTS;

/// The annotation with the whole name of an image, which containerd writes.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image of a layout.
struct FoundImage {
    repository: Repository,
    tag: Option<Tag>,
    /// The root manifest, and those below it that the layout contains.
    manifests: Vec<RawManifest>,
}

impl ImageCatalog {
    /// Adds the images of an OCI layout directory, of which only the manifests are read.
    ///
    /// An image has the name in its annotations. An image with a tag only, or without a name, is in
    /// a repository with the name of the directory.
    ///
    /// # Errors
    /// [`Error::NotABundle`] if the directory has no `index.json`; [`Error::Damaged`] if a blob of an
    /// image is missing or has another size; [`Error::InvalidInput`] if another image has the same
    /// name.
    pub async fn add_layout(&mut self, path: &Path) -> Result<(), Error> {
        let shown = path.display().to_string();
        let layout = OciLayout::new(path);
        let listed = layout.images().await.map_err(|error| match error.is_not_found() {
            true => Error::not_a_bundle(&shown, "it is a directory without `index.json`"),
            false => Error::from(error),
        })?;
        let mut reader = LayoutReader { layout: &layout, path, bytes: 0, sizes: HashMap::new() };
        let mut images = Vec::new();
        for entry in &listed {
            let (reference, tag) = reader.name_of(entry)?;
            if is_host_written(entry, &reference) {
                self.hosts.insert(reference.host().to_owned());
            }
            let repository = reference.repository().clone();
            let manifests = reader.manifests(&repository, &entry.descriptor).await?;
            images.push(FoundImage { repository, tag, manifests });
        }
        let sizes = reader.sizes;
        let number = self.sources.len();
        self.sources.push(Source::Layout(layout, shown));
        for FoundImage { repository, tag, manifests } in &images {
            let manifests = manifests.iter().collect();
            let named = NamedImage { repository, tag: tag.as_ref(), manifests };
            self.add(&named, number, |digest| sizes.get(digest).copied())?;
        }
        Ok(())
    }
}

/// Reads the manifests of a layout.
struct LayoutReader<'l> {
    layout: &'l OciLayout,
    path: &'l Path,
    /// The size of the manifests so far.
    bytes: u64,
    /// The sizes of the blobs that exist.
    sizes: HashMap<Digest, u64>,
}

impl LayoutReader<'_> {
    /// The reference and the tag of an image.
    fn name_of(&self, entry: &LayoutImage) -> Result<(Reference, Option<Tag>), Error> {
        let digest = &entry.descriptor.digest;
        let absolute = std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_owned());
        let directory = absolute.file_name().unwrap_or_default().to_string_lossy();
        let in_directory = |tag: Option<Tag>| {
            let unnamed = unnamed_reference(&directory, None, digest)?;
            let name: Repository = unnamed.repository().name().parse()?;
            Ok((Reference::new(unnamed.host(), name, tag.clone()), tag))
        };
        let annotation = |key| entry.annotations.get(key).map(String::as_str);
        let name = match annotation(CONTAINERD_NAME) {
            Some(name) => read_name(name),
            None => annotation(ANNOTATION_REF_NAME).map_or(Name::None, read_ref_name),
        };
        match name {
            Name::Full(reference) => {
                let tag = reference.with_default_tag().tag().cloned();
                Ok((reference, tag))
            }
            Name::Tag(tag) => in_directory(Some(tag)),
            Name::None => in_directory(None),
            Name::Invalid => Err(self.damaged(&format!("the name of image {digest} is not valid"))),
        }
    }

    /// The manifest of an image, and those below it that the layout contains.
    async fn manifests(
        &mut self,
        repository: &Repository,
        root: &Descriptor,
    ) -> Result<Vec<RawManifest>, Error> {
        let (mut manifests, mut seen, mut next) =
            (Vec::new(), HashSet::new(), vec![(root.digest, true)]);
        while let Some((digest, is_root)) = next.pop() {
            if !seen.insert(digest) {
                continue;
            }
            // An index may list images that the layout does not contain.
            let Some(size) = self.layout.blob_size(&digest).await? else {
                if is_root {
                    return Err(self.damaged(&format!("image {digest} is missing")));
                }
                continue;
            };
            self.bytes = self.bytes.saturating_add(size);
            if self.bytes > MAX_MANIFESTS {
                return Err(self.damaged("its manifests are too large"));
            }
            let manifest = self.layout.verified_manifest(repository, &digest.into()).await?;
            let content = manifest.parse()?;
            if let Manifest::Index(entries) = &content {
                let below = entries.iter().filter(|entry| entry.is_manifest());
                next.extend(below.map(|entry| (entry.digest, false)));
            }
            self.check_blobs(&digest, &content).await?;
            manifests.push(manifest);
        }
        Ok(manifests)
    }

    /// Checks that the blobs of a manifest exist, and notes their sizes.
    async fn check_blobs(&mut self, image: &Digest, content: &Manifest) -> Result<(), Error> {
        for blob in content.distributable_blobs().chain(content.nondistributable_layers()) {
            match self.layout.blob_size(&blob.digest).await? {
                Some(size) if size == blob.size => {
                    self.sizes.insert(blob.digest, size);
                }
                None if blob.is_nondistributable() => {}
                found => {
                    let found = found.map_or("is missing".to_owned(), |size| {
                        format!("has {size} bytes instead of {}", blob.size)
                    });
                    let what = format!("blob {} of image {image} {found}", blob.digest);
                    return Err(self.damaged(&what));
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(format!("{}: {what}", self.path.display()))
    }
}

/// Whether the name of an image starts with the host of its reference. Other names imply one.
fn is_host_written(entry: &LayoutImage, reference: &Reference) -> bool {
    let mut names = entry.annotations.iter();
    names.any(|(key, name)| {
        [CONTAINERD_NAME, ANNOTATION_REF_NAME].contains(&key.as_str())
            && name.strip_prefix(reference.host()).is_some_and(|rest| rest.starts_with('/'))
    })
}
