//! Resolves the images of a package for the requested platforms.

use std::sync::Arc;

use compass_bundle::{ArchiveImage, Error, Platforms};
use compass_registry::client::Client;
use compass_registry::{
    CachingSource, Error as RegistryError, ImageSource, ImageSourceExt as _, Platform, Reference,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{ImageOrigin, Options};
use crate::error::{CliError, Result};
use crate::output::Output;
use crate::registries::Registries;
use crate::repository::TargetImage;

/// The images of a package, and the source of their blobs.
pub(super) struct ResolvedImages {
    pub(super) source: Arc<dyn ImageSource>,
    pub(super) images: Vec<ArchiveImage>,
}

/// Reads the manifests of images from the registry. The bundle names them by their release references.
pub(super) async fn resolve(
    images: &[TargetImage],
    options: &Options<'_>,
    registries: &Registries,
    output: &Output,
) -> Result<ResolvedImages> {
    let source_of = |image: &TargetImage| match options.origin {
        ImageOrigin::Release => Ok(image.release.clone()),
        ImageOrigin::Source => Ok(image.source.clone()),
        ImageOrigin::Other(place) => image.release.rebase(place),
    };
    let references = images.iter().map(source_of).collect::<Result<Vec<_>, _>>()?;
    let client = shared_client(&references, registries).await?;
    // Image configurations are read for the plan, and again for the bundle.
    let source: Arc<dyn ImageSource> = Arc::new(CachingSource::new(Arc::new(client)));
    let resolver = Resolver { source: &source, options };
    let pairs = references.iter().zip(images);
    let pending = pairs.map(|(reference, image)| resolver.resolve(reference, &image.release));
    let pending = stream::iter(pending).buffered(options.jobs.max(1));
    let resolved: Vec<_> = pending.try_collect().await?;
    for warning in resolved.iter().flat_map(|(_, warnings)| warnings) {
        output.warn(warning);
    }
    Ok(ResolvedImages { images: resolved.into_iter().map(|(image, _)| image).collect(), source })
}

/// A client for the registry of all images.
async fn shared_client(references: &[Reference], registries: &Registries) -> Result<Client> {
    let Some(host) = references.first().map(Reference::host) else {
        return Err(CliError::check_failed("the package has no image"));
    };
    if let Some(other) = references.iter().find(|reference| reference.host() != host) {
        let message = format!("{other} is not in {host}, the registry of the first image");
        return Err(CliError::usage(message).hint("choose one registry with `--from`"));
    }
    let client = registries.client(host, false)?;
    client.prefetch_pull_tokens(references.iter().map(Reference::repository)).await?;
    Ok(client)
}

struct Resolver<'r> {
    source: &'r Arc<dyn ImageSource>,
    options: &'r Options<'r>,
}

impl Resolver<'_> {
    /// Resolves one image; also returns warnings about it.
    async fn resolve(
        &self,
        reference: &Reference,
        release: &Reference,
    ) -> Result<(ArchiveImage, Vec<String>)> {
        let resolved = self.resolve_platform(reference, release).await;
        let (image, warnings) =
            resolved.map_err(|error| error.context(format!("cannot package {reference}")))?;
        let unavailable = image.unavailable.iter().map(|layer| {
            format!(
                "{release}: the registry does not have its non-distributable layer {layer}; the \
                 package omits it"
            )
        });
        let warnings = warnings.into_iter().chain(unavailable).collect();
        Ok((image, warnings))
    }

    /// Resolves an image, and compares its platforms with the requested ones.
    async fn resolve_platform(
        &self,
        reference: &Reference,
        release: &Reference,
    ) -> Result<(ArchiveImage, Vec<String>)> {
        let (image, is_other) = self.image(reference, release).await?;
        let offered = image.offered(self.source.clone()).await?;
        let missing = self.options.platforms.missing_from(&offered);
        if missing.is_empty() {
            return Ok((image, Vec::new()));
        }
        let is_listed = !is_other && self.is_listed(reference, &image).await?;
        if !is_listed && !self.options.allow_other_platform {
            return Err(platform_error(release, &missing, &offered));
        }
        let warnings = platform_warnings(release, &missing, is_listed.then_some(&offered));
        Ok((image, warnings))
    }

    /// Whether an image is from an index that lists it for the requested platform.
    async fn is_listed(&self, reference: &Reference, image: &ArchiveImage) -> Result<bool, Error> {
        if !matches!(self.options.platforms, Platforms::One(_)) {
            return Ok(false);
        }
        let named = self
            .source
            .verified_manifest(reference.repository(), &reference.tag_or_digest())
            .await?;
        Ok(named.digest() != image.root.digest())
    }

    /// Returns the image for the requested platform.
    ///
    /// With `--allow-other-platform`, returns the only image of an index for another platform as
    /// well; then the second value is `true`.
    async fn image(
        &self,
        reference: &Reference,
        release: &Reference,
    ) -> Result<(ArchiveImage, bool), Error> {
        let platforms = &self.options.platforms;
        match self.image_for(reference, release, platforms).await {
            Err(error) if self.options.allow_other_platform && lacks_platform(&error) => {
                match self.only_platform(reference).await? {
                    Some(other) => {
                        let other = Platforms::One(other);
                        Ok((self.image_for(reference, release, &other).await?, true))
                    }
                    None => Err(error),
                }
            }
            image => Ok((image?, false)),
        }
    }

    async fn image_for(
        &self,
        place: &Reference,
        release: &Reference,
        platforms: &Platforms,
    ) -> Result<ArchiveImage, Error> {
        let from = place.into();
        let mut image =
            ArchiveImage::resolve(self.source.clone(), &from, release.clone(), platforms).await?;
        image.detect_platform(self.source.clone(), platforms).await?;
        Ok(image)
    }

    /// The platform of an index that has an image for one only.
    async fn only_platform(&self, place: &Reference) -> Result<Option<Platform>, Error> {
        let repository = place.repository();
        let index = self.source.verified_manifest(repository, &place.tag_or_digest()).await?;
        let images = self.source.images_of(repository, &index).await?;
        let mut platforms: Vec<_> = images.into_iter().filter_map(|image| image.platform).collect();
        platforms.dedup();
        Ok(platforms.pop().filter(|_| platforms.is_empty()))
    }
}

/// The error for an image without the requested platforms.
fn platform_error(release: &Reference, missing: &[Platform], offered: &[Platform]) -> CliError {
    let (missing, offered) = (list(missing), list(offered));
    CliError::usage(format!("{release} is not for {missing}, but for {offered}"))
        .hint("choose one of its platforms with `--platform`, or use `--allow-other-platform`")
}

/// The warnings about an image that is packaged although it is for other platforms. `configured` is
/// set if its index and its configuration disagree.
fn platform_warnings(
    release: &Reference,
    missing: &[Platform],
    configured: Option<&Vec<Platform>>,
) -> Vec<String> {
    let warning = |platform: &Platform| match configured {
        Some(configured) => format!(
            "{release}: its index lists it for {platform}, but its configuration is for {}",
            list(configured)
        ),
        None => format!("{release} is not for {platform}"),
    };
    missing.iter().map(warning).collect()
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ")
}

fn lacks_platform(error: &Error) -> bool {
    let Error::Registry(error) = error else { return false };
    match error {
        RegistryError::Image { source, .. } => {
            matches!(**source, RegistryError::NoSuchPlatform { .. })
        }
        other => matches!(other, RegistryError::NoSuchPlatform { .. }),
    }
}
