//! Extraction of images as archives.

use std::path::Path;
use std::sync::Arc;

use compass_registry::{Platform, Progress};

use super::check_absent;
use crate::Error;
use crate::foreign::{ForeignImage, ForeignPackage};
use crate::package::{Backend, Image};
use crate::plan::BundlePlan;
use crate::plan::image::{ArchiveImage, entries_of};
use crate::plan::platforms::Platforms;
use crate::write::{OutputStream, Overwrite, Target, WriteOptions, write_file, write_into};

impl Image<'_> {
    /// Writes the image as an archive in the format of plugin bundles, which `docker load` reads.
    /// Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the path exists; [`Error::Damaged`] if the image has a problem;
    /// errors of reading and writing.
    pub async fn write_archive(&self, path: &Path, options: &WriteOptions) -> Result<u64, Error> {
        check_absent(path)?;
        let plan = self.archive_plan().await?;
        let mut options = options.clone();
        if let Backend::Foreign(..) = self.backend {
            // Each layer is read from the start of the file on: concurrent reads would slow each
            // other down.
            options.jobs = 1;
        }
        let target = Target { path, overwrite: Overwrite::No };
        write_file(&plan, self.image_source(), target, &options).await?;
        Ok(plan.size())
    }

    /// Writes the image as an archive to a stream. Returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the image has a problem; errors of reading and writing.
    pub async fn stream_archive(
        &self,
        output: OutputStream<'_>,
        progress: &dyn Progress,
    ) -> Result<u64, Error> {
        let plan = Arc::new(self.archive_plan().await?);
        write_into(&plan, self.image_source(), output, progress).await?;
        Ok(plan.size())
    }

    async fn archive_plan(&self) -> Result<BundlePlan, Error> {
        let (image, platform) = self.archived().await?;
        BundlePlan::archive(&image, &platform, self.modified())
    }

    /// The image as an archive describes it, and the platform that tools without index support load.
    pub(super) async fn archived(&self) -> Result<(ArchiveImage, Platform), Error> {
        self.check_problems()?;
        match self.backend {
            Backend::Bundle(bundle, image) => Ok((image.clone(), bundle.default_platform())),
            Backend::Foreign(package, image) => foreign_image(package, image).await,
        }
    }

    /// The modification time of the entries of an archive, in seconds since 1970.
    pub(super) fn modified(&self) -> u64 {
        match self.backend {
            Backend::Bundle(bundle, _) => bundle.document().modified,
            Backend::Foreign(..) => 0,
        }
    }
}

async fn foreign_image(
    package: &ForeignPackage,
    image: &ForeignImage,
) -> Result<(ArchiveImage, Platform), Error> {
    let (omitted_platforms, first) = platforms_of(image)?;
    let platforms = Platforms::All(first);
    let mut planned = ArchiveImage {
        platform: (!image.root.is_index()).then(|| platforms.default_platform().clone()),
        children: image.children.clone(),
        omitted_platforms,
        unavailable: image.unavailable.iter().map(|(layer, _)| *layer).collect(),
        ..ArchiveImage::new(image.reference.clone(), image.root.clone())
    };
    planned.detect_platform(Arc::new(package.clone()), &platforms).await?;
    let platform = planned.platform.as_ref().unwrap_or(platforms.default_platform()).clone();
    Ok((planned, platform))
}

/// Returns the platforms that the package omits from an index, and that of the first image.
///
/// Tools without index support load the first image.
fn platforms_of(image: &ForeignImage) -> Result<(Vec<Platform>, Platform), Error> {
    let (mut omitted_platforms, mut first) = (Vec::new(), None);
    for manifest in image.manifests() {
        for entry in entries_of(manifest)? {
            match image.children.iter().find(|child| child.digest() == entry.digest) {
                None => omitted_platforms.extend(entry.platform),
                Some(child) if child.is_index() => {}
                Some(_) => first = first.or(entry.platform),
            }
        }
    }
    let first = first.map_or_else(|| "linux/amd64".parse(), Ok)?;
    Ok((omitted_platforms, first))
}
