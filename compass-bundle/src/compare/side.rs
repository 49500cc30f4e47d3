//! The two sides of a comparison: packages, and bundles that are planned.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use compass_registry::{
    Descriptor, Digest, ImageSource, ImageSourceExt as _, Platform, Reference, Repository,
};

use crate::foreign::ForeignPackage;
use crate::format::document::BundleDocument;
use crate::package::{Image, PackageFile, layers_of};
use crate::plan::contents::{BundleContents, FileEntry};
use crate::plan::image::ArchiveImage;
use crate::{BundlePlan, Error, Package};

/// One side of a comparison.
pub(super) struct Side<'c> {
    pub(super) size: u64,
    /// `bundle.json`; `None` for a foreign package, and for nothing.
    pub(super) document: Option<&'c BundleDocument>,
    /// The small files by their paths below the package's directory.
    pub(super) files: BTreeMap<String, PackageFile>,
    pub(super) images: Vec<SideImage<'c>>,
    /// The sizes of all blobs.
    pub(super) blobs: BTreeMap<Digest, u64>,
    content: Content<'c>,
}

/// Where the files of a side are read from.
enum Content<'c> {
    Package(&'c Package),
    Files(&'c [FileEntry]),
}

/// An image of a side.
pub(super) struct SideImage<'c> {
    pub(super) reference: &'c Reference,
    pub(super) digest: Digest,
    pub(super) omitted_platforms: &'c [Platform],
    /// The layers of all platforms.
    pub(super) layers: Vec<Descriptor>,
    origin: ImageOrigin<'c>,
}

enum ImageOrigin<'c> {
    Packaged(Image<'c>),
    Planned { image: &'c ArchiveImage, platform: &'c Platform, source: Arc<dyn ImageSource> },
}

impl<'c> Side<'c> {
    /// Describes a package.
    pub(super) fn of_package(package: &'c Package) -> Result<Self, Error> {
        let directory = package.as_foreign().and_then(ForeignPackage::directory);
        let start = directory.map_or(0, |directory| directory.len() + 1);
        let files = package.files().into_iter().map(|file| (file.path[start..].to_owned(), file));
        let images = package.images().into_iter().map(|image| {
            Ok(SideImage {
                reference: image.reference,
                digest: image.digest(),
                omitted_platforms: image.omitted_platforms,
                layers: image.layers()?,
                origin: ImageOrigin::Packaged(image),
            })
        });
        let blobs = package.blobs()?.into_iter();
        Ok(Self {
            size: package.size(),
            document: package.as_bundle().map(crate::Bundle::document),
            files: files.collect(),
            images: images.collect::<Result<_, Error>>()?,
            blobs: blobs.map(|blob| (blob.descriptor.digest, blob.descriptor.size)).collect(),
            content: Content::Package(package),
        })
    }

    /// Describes a bundle that is planned.
    pub(super) fn of_plan(
        plan: &'c BundlePlan,
        contents: &'c BundleContents,
        source: &Arc<dyn ImageSource>,
    ) -> Result<Self, Error> {
        let file = |file: &FileEntry| PackageFile {
            path: file.path.clone(),
            size: file.size,
            digest: file.digest,
            mode: Some(file.mode),
        };
        let images = contents.images.iter().map(|image| {
            Ok(SideImage {
                reference: &image.reference,
                digest: image.root.digest(),
                omitted_platforms: &image.omitted_platforms,
                layers: layers_of(image.manifests())?,
                origin: ImageOrigin::Planned {
                    image,
                    platform: &contents.platform,
                    source: Arc::clone(source),
                },
            })
        });
        let blobs = plan.blobs().iter().map(|blob| &blob.descriptor);
        Ok(Self {
            size: plan.size(),
            document: Some(plan.document()),
            files: contents.files.iter().map(|one| (one.path.clone(), file(one))).collect(),
            images: images.collect::<Result<_, Error>>()?,
            blobs: blobs.map(|blob| (blob.digest, blob.size)).collect(),
            content: Content::Files(&contents.files),
        })
    }

    /// A side that contains nothing.
    pub(super) fn nothing() -> Self {
        Self {
            size: 0,
            document: None,
            files: BTreeMap::new(),
            images: Vec::new(),
            blobs: BTreeMap::new(),
            content: Content::Files(&[]),
        }
    }

    /// Reads a small file, by its path in [`PackageFile`].
    pub(super) async fn file(&self, path: &str) -> Result<Bytes, Error> {
        match self.content {
            Content::Package(package) => package.file(path).await,
            Content::Files(files) => {
                let file = files.iter().find(|file| file.path == path);
                let bytes = file.and_then(|file| file.bytes.clone());
                bytes.ok_or_else(|| Error::NoSuchFile { path: path.to_owned() })
            }
        }
    }
}

impl SideImage<'_> {
    /// Returns the configuration of the image that tools without index support load.
    pub(super) fn default_config(&self) -> Result<Descriptor, Error> {
        match &self.origin {
            ImageOrigin::Packaged(image) => image.default_config(),
            ImageOrigin::Planned { image, platform, .. } => Ok(image.default_image(platform)?.0),
        }
    }

    /// Reads a configuration of the image.
    pub(super) async fn read_config(&self, config: &Descriptor) -> Result<Bytes, Error> {
        let (source, repository): (_, &Repository) = match &self.origin {
            ImageOrigin::Packaged(image) => (image.image_source(), self.reference.repository()),
            ImageOrigin::Planned { image, source, .. } => (Arc::clone(source), &image.repository),
        };
        Ok(source.read(repository, config).await?)
    }
}
